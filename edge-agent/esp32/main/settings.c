#include "settings.h"

#include <stdlib.h>
#include <string.h>

#include "cavs/frame.h"
#include "esp_log.h"
#include "esp_random.h"
#include "nvs.h"
#include "nvs_flash.h"

static const char *const TAG = "settings";
static const char *const PARTITION = "settings";
static const char *const SPACE = "cavs";

/* Pictures are not taken more often, nor less often, than this. */
enum { INTERVAL_LEAST_MS = 100, INTERVAL_MOST_MS = 3600000 };

static bool text(nvs_handle_t nvs, const char *key, char *out, size_t size, bool needed) {
    esp_err_t found = nvs_get_str(nvs, key, out, &size);
    if (found != ESP_OK) {
        out[0] = 0;
    }
    if (found == ESP_OK ? needed && out[0] == 0 : needed || found != ESP_ERR_NVS_NOT_FOUND) {
        ESP_LOGE(TAG, "%s is missing or too long", key);
        return false;
    }
    return true;
}

static char *pem(nvs_handle_t nvs, const char *key) {
    size_t size = 0;
    if (nvs_get_str(nvs, key, NULL, &size) != ESP_OK || size < 2 || size > SETTING_PEM_MOST) {
        return NULL;
    }
    char *bytes = malloc(size);
    if (bytes != NULL && nvs_get_str(nvs, key, bytes, &size) != ESP_OK) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

/* What stands in a header must not end the line. */
static bool header_safe(const char *key, const char *value, size_t most) {
    if (value[0] != 0 && !cavs_is_plain(value, most)) {
        ESP_LOGE(TAG, "%s has a blank or a character beyond ASCII", key);
        return false;
    }
    return true;
}

static bool read_all(nvs_handle_t nvs, settings *out) {
    bool good = text(nvs, "wifi_name", out->wifi_name, sizeof out->wifi_name, true);
    good &= text(nvs, "wifi_pass", out->wifi_password, sizeof out->wifi_password, false);
    good &= text(nvs, "host", out->host, sizeof out->host, true);
    good &= text(nvs, "device_id", out->device_id, sizeof out->device_id, false);
    good &= text(nvs, "token", out->token, sizeof out->token, false);
    good &= text(nvs, "size", out->size, sizeof out->size, false);
    good &= text(nvs, "time_server", out->time_server, sizeof out->time_server, false);
    good &= header_safe("host", out->host, sizeof out->host);
    good &= header_safe("device_id", out->device_id, CAVS_ID_MOST);
    good &= header_safe("token", out->token, sizeof out->token);
    out->port = 7446;
    out->interval_ms = 1000;
    out->quality = 12;
    /* What is absent keeps its default. */
    (void)nvs_get_u16(nvs, "port", &out->port);
    (void)nvs_get_u32(nvs, "interval_ms", &out->interval_ms);
    (void)nvs_get_u8(nvs, "quality", &out->quality);
    if (out->interval_ms < INTERVAL_LEAST_MS || out->interval_ms > INTERVAL_MOST_MS || out->quality < 4 || out->quality > 63) {
        ESP_LOGE(TAG, "interval_ms must be %d to %d, quality 4 to 63", INTERVAL_LEAST_MS, INTERVAL_MOST_MS);
        good = false;
    }
    out->authority = pem(nvs, "ca");
    out->certificate = pem(nvs, "cert");
    out->key = pem(nvs, "key");
    if (out->authority == NULL) {
        ESP_LOGE(TAG, "ca is missing: the proxy could be anybody");
        good = false;
    }
    if (out->token[0] == 0 && (out->certificate == NULL || out->key == NULL)) {
        ESP_LOGE(TAG, "neither a token nor cert and key: the proxy could not know who this is");
        good = false;
    }
    return good;
}

esp_err_t settings_load(settings *out) {
    memset(out, 0, sizeof *out);
    nvs_handle_t nvs;
    esp_err_t opened = nvs_flash_init_partition(PARTITION);
    if (opened == ESP_OK) {
        opened = nvs_open_from_partition(PARTITION, SPACE, NVS_READONLY, &nvs);
    }
    if (opened != ESP_OK) {
        ESP_LOGE(TAG, "the board was not provisioned: %s", esp_err_to_name(opened));
        return opened;
    }
    bool good = read_all(nvs, out);
    nvs_close(nvs);
    return good ? ESP_OK : ESP_ERR_INVALID_STATE;
}

esp_err_t settings_count_boot(uint32_t *salt, uint32_t *boot) {
    esp_err_t done = nvs_flash_init();
    if (done == ESP_ERR_NVS_NO_FREE_PAGES || done == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        nvs_flash_erase(); /* A new salt follows, so that no frame id comes again. */
        done = nvs_flash_init();
    }
    nvs_handle_t nvs;
    if (done != ESP_OK || (done = nvs_open(SPACE, NVS_READWRITE, &nvs)) != ESP_OK) {
        return done;
    }
    if (nvs_get_u32(nvs, "salt", salt) != ESP_OK || nvs_get_u32(nvs, "boot", boot) != ESP_OK) {
        *salt = esp_random();
        *boot = 0;
    }
    *boot += 1;
    done = nvs_set_u32(nvs, "salt", *salt);
    if (done == ESP_OK) {
        done = nvs_set_u32(nvs, "boot", *boot);
    }
    if (done == ESP_OK) {
        done = nvs_commit(nvs);
    }
    nvs_close(nvs);
    return done;
}
