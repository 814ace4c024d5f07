/* An ESP32-CAM that sends pictures to `cavs-edge-agent proxy`. docs/ESP32.md describes the wire, README.md the rest. */
#include <inttypes.h>

#include "board.h"
#include "cavs/pause.h"
#include "cavs/sender.h"
#include "esp_log.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "link.h"
#include "network.h"
#include "settings.h"

static const char *const TAG = "camera";

/* Tries of one picture, and pictures in a row that the sensor may fail to give. */
enum { ATTEMPTS = 5, SENSOR_FAILURES = 10 };
/* Longest time with one picture, in microseconds: what is older is of no use to anybody. */
enum { PICTURE_US = 60 * 1000 * 1000 };
/* After so long without an answer the board starts anew, in microseconds: drivers of radios get stuck. */
static const int64_t SILENCE_US = 15LL * 60 * 1000 * 1000;
/* Where a person has to help, in milliseconds; a token may be given again. */
enum { PERSON_MS = 60000 };

typedef struct {
    settings settings;
    cavs_sender sender;
    cavs_pause pause;
    uint32_t salt, boot, counter;
    int64_t heard; /* when the proxy last answered */
} camera;

/* Waits without being taken for dead. */
static void rest(uint32_t milliseconds) {
    for (; milliseconds > 1000; milliseconds -= 1000) {
        vTaskDelay(pdMS_TO_TICKS(1000));
        esp_task_wdt_reset();
    }
    vTaskDelay(pdMS_TO_TICKS(milliseconds));
    esp_task_wdt_reset();
}

static void next_id(camera *c, char id[CAVS_FRAME_ID_SIZE]) {
    if (++c->counter == 0) {
        c->salt = esp_random(); /* All ids of this boot are used up. */
    }
    cavs_frame_id(id, c->salt, c->boot, c->counter);
}

/* Sends a picture until it arrives or is not worth it any more. */
static void deliver(camera *c, const cavs_picture *picture) {
    for (int attempt = 1; attempt <= ATTEMPTS; attempt++) {
        if (!network_wait(5000)) {
            esp_task_wdt_reset();
            cavs_sender_close(&c->sender);
            return; /* The next picture will be a newer one. */
        }
        cavs_result result = cavs_send(&c->sender, picture);
        int64_t now = network_now().monotonic;
        if (result.http_status != 0) {
            c->heard = now;
        }
        ESP_LOGI(TAG, "%s try %d: http %u grpc %d, %" PRIu32 " faces", picture->frame_id, attempt, result.http_status,
                 result.grpc_status, result.faces);
        switch (result.next) {
        case CAVS_NEXT_FRAME:
            cavs_pause_reset(&c->pause);
            return;
        case CAVS_SMALLER_PICTURE:
            board_shrink();
            return;
        case CAVS_ASK_A_PERSON:
            ESP_LOGE(TAG, "the proxy refuses this camera: look at its token, certificate and registration");
            rest(PERSON_MS);
            return;
        case CAVS_SAME_FRAME:
        case CAVS_OTHER_PATH:
            rest(cavs_pause_after(&c->pause, result.retry_after_ms, esp_random()));
            break;
        }
        if (network_now().monotonic - picture->captured > PICTURE_US) {
            return;
        }
    }
}

/* One picture; whether the sensor gave one. */
static bool take_and_deliver(camera *c) {
    camera_fb_t *buffer = esp_camera_fb_get();
    if (buffer == NULL) {
        return false;
    }
    char id[CAVS_FRAME_ID_SIZE];
    cavs_picture picture = {
        .frame_id = id,
        .captured = network_now().monotonic,
        .image = buffer->buf,
        .image_length = cavs_jpeg_length(buffer->buf, buffer->len),
    };
    /* A picture that the sensor did not finish never leaves the board. */
    bool whole = picture.image_length > 0;
    if (whole) {
        next_id(c, id);
        deliver(c, &picture);
    }
    esp_camera_fb_return(buffer);
    return whole;
}

void app_main(void) {
    static camera c;
    ESP_ERROR_CHECK(esp_task_wdt_add(NULL));
    if (esp_reset_reason() == ESP_RST_BROWNOUT) {
        /* The supply gave in, most likely under the radio: let it recover, or this goes round and round. */
        ESP_LOGE(TAG, "the supply was too weak: use 5 V and at least 1 A, and short wires");
        rest(20000);
    }
    if (settings_load(&c.settings) != ESP_OK) {
        rest(PERSON_MS);
        esp_restart();
    }
    if (settings_count_boot(&c.salt, &c.boot) != ESP_OK) {
        c.salt = esp_random(); /* The flash fails: ids are unlike others by chance only. */
        c.boot = 0;
    }
    ESP_ERROR_CHECK(network_start(c.settings.wifi_name, c.settings.wifi_password, c.settings.time_server));
    ESP_ERROR_CHECK(board_start(c.settings.size, c.settings.quality));
    c.sender = (cavs_sender){
        .link = link_to_proxy(&c.settings),
        .now = network_now,
        .host = c.settings.host,
        .device_id = c.settings.device_id,
        .token = c.settings.token,
    };
    ESP_LOGI(TAG, "start %" PRIu32 ", %" PRIu32 " bytes free", c.boot, esp_get_free_heap_size());

    c.heard = network_now().monotonic;
    TickType_t last = xTaskGetTickCount();
    for (int failures = 0;;) {
        esp_task_wdt_reset();
        failures = take_and_deliver(&c) ? 0 : failures + 1;
        if (failures >= SENSOR_FAILURES || network_now().monotonic - c.heard > SILENCE_US) {
            ESP_LOGE(TAG, "nothing from the %s: starting anew", failures >= SENSOR_FAILURES ? "sensor" : "proxy");
            esp_restart();
        }
        /* Pictures keep their interval where sending is fast enough, and follow at once where it is not. */
        TickType_t passed = xTaskGetTickCount() - last, interval = pdMS_TO_TICKS(c.settings.interval_ms);
        if (passed < interval) {
            rest((uint32_t)((interval - passed) * portTICK_PERIOD_MS));
        }
        last = xTaskGetTickCount();
    }
}
