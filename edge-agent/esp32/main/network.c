#include "network.h"

#include <string.h>
#include <sys/time.h>

#include "esp_event.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "esp_netif_sntp.h"
#include "esp_timer.h"
#include "esp_wifi.h"
#include "freertos/FreeRTOS.h"
#include "freertos/event_groups.h"

static const char *const TAG = "network";

/* Quarters of a dBm: 13 dBm instead of 20 halves the peak of current that weak supplies break down under. */
enum { POWER = 52 };
enum { JOINED = BIT0 };

static EventGroupHandle_t state;
static esp_timer_handle_t again;

static void join(void *unused) {
    (void)unused;
    esp_wifi_connect();
}

static void changed(void *unused, esp_event_base_t base, int32_t event, void *data) {
    (void)unused;
    (void)data;
    if (base == IP_EVENT && event == IP_EVENT_STA_GOT_IP) {
        xEventGroupSetBits(state, JOINED);
        ESP_LOGI(TAG, "joined");
    } else if (base == WIFI_EVENT && event == WIFI_EVENT_STA_START) {
        esp_wifi_connect();
    } else if (base == WIFI_EVENT && event == WIFI_EVENT_STA_DISCONNECTED) {
        xEventGroupClearBits(state, JOINED);
        ESP_LOGW(TAG, "not joined; again in a moment");
        esp_timer_stop(again);
        esp_timer_start_once(again, 2 * 1000 * 1000);
    }
}

esp_err_t network_start(const char *name, const char *password, const char *time_server) {
    state = xEventGroupCreate();
    if (state == NULL) {
        return ESP_ERR_NO_MEM;
    }
    const esp_timer_create_args_t timer = {.callback = join, .name = "join"};
    const wifi_init_config_t defaults = WIFI_INIT_CONFIG_DEFAULT();
    wifi_config_t station = {.sta = {.scan_method = WIFI_ALL_CHANNEL_SCAN, .sort_method = WIFI_CONNECT_AP_BY_SIGNAL}};
    /* Full lengths have no NUL: that is right for this structure. */
    memcpy(station.sta.ssid, name, strnlen(name, sizeof station.sta.ssid));
    memcpy(station.sta.password, password, strnlen(password, sizeof station.sta.password));
    station.sta.threshold.authmode = password[0] == 0 ? WIFI_AUTH_OPEN : WIFI_AUTH_WPA2_PSK;

    ESP_ERROR_CHECK(esp_netif_init());
    ESP_ERROR_CHECK(esp_event_loop_create_default());
    esp_netif_create_default_wifi_sta();
    esp_err_t done = esp_timer_create(&timer, &again);
    done = done == ESP_OK ? esp_wifi_init(&defaults) : done;
    done = done == ESP_OK ? esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, changed, NULL) : done;
    done = done == ESP_OK ? esp_event_handler_register(IP_EVENT, IP_EVENT_STA_GOT_IP, changed, NULL) : done;
    done = done == ESP_OK ? esp_wifi_set_storage(WIFI_STORAGE_RAM) : done;
    done = done == ESP_OK ? esp_wifi_set_mode(WIFI_MODE_STA) : done;
    done = done == ESP_OK ? esp_wifi_set_config(WIFI_IF_STA, &station) : done;
    done = done == ESP_OK ? esp_wifi_start() : done;
    done = done == ESP_OK ? esp_wifi_set_max_tx_power(POWER) : done;
    if (done == ESP_OK && time_server[0] != 0) {
        esp_sntp_config_t sntp = ESP_NETIF_SNTP_DEFAULT_CONFIG(time_server);
        done = esp_netif_sntp_init(&sntp);
    }
    return done;
}

bool network_wait(uint32_t milliseconds) {
    return (xEventGroupWaitBits(state, JOINED, pdFALSE, pdTRUE, pdMS_TO_TICKS(milliseconds)) & JOINED) != 0;
}

cavs_now network_now(void) {
    struct timeval wall;
    gettimeofday(&wall, NULL);
    return (cavs_now){
        .wall = {.known = true, .seconds = wall.tv_sec, .nanos = (int32_t)wall.tv_usec * 1000},
        .monotonic = esp_timer_get_time(),
    };
}
