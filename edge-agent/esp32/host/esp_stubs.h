/* As much of ESP-IDF 5 and of esp32-camera as main/ names, so that a desk's compiler can check its syntax and types.
 * These are not the real headers, and nothing is proved about linking or running: only a build with ESP-IDF does that.
 * tests/esp32-emulator writes a header of each name that main/ includes, all of which include this one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef int esp_err_t;
enum { ESP_OK, ESP_ERR_NO_MEM, ESP_ERR_INVALID_STATE, ESP_ERR_NVS_NOT_FOUND, ESP_ERR_NVS_NO_FREE_PAGES, ESP_ERR_NVS_NEW_VERSION_FOUND };
const char *esp_err_to_name(esp_err_t code);
#define ESP_ERROR_CHECK(call) ((void)(call))
void esp_log(const char *tag, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define ESP_LOGE(tag, ...) esp_log(tag, __VA_ARGS__)
#define ESP_LOGW(tag, ...) esp_log(tag, __VA_ARGS__)
#define ESP_LOGI(tag, ...) esp_log(tag, __VA_ARGS__)
uint32_t esp_random(void);
void esp_restart(void);
typedef enum { ESP_RST_BROWNOUT } esp_reset_reason_t;
esp_reset_reason_t esp_reset_reason(void);
uint32_t esp_get_free_heap_size(void);
esp_err_t esp_task_wdt_add(void *task);
esp_err_t esp_task_wdt_reset(void);

typedef uint32_t nvs_handle_t;
typedef enum { NVS_READONLY, NVS_READWRITE } nvs_open_mode_t;
esp_err_t nvs_flash_init(void), nvs_flash_erase(void), nvs_flash_init_partition(const char *name);
esp_err_t nvs_open(const char *space, nvs_open_mode_t mode, nvs_handle_t *out);
esp_err_t nvs_open_from_partition(const char *partition, const char *space, nvs_open_mode_t mode, nvs_handle_t *out);
void nvs_close(nvs_handle_t handle);
esp_err_t nvs_commit(nvs_handle_t handle);
esp_err_t nvs_get_str(nvs_handle_t handle, const char *key, char *out, size_t *length);
esp_err_t nvs_get_u8(nvs_handle_t handle, const char *key, uint8_t *out);
esp_err_t nvs_get_u16(nvs_handle_t handle, const char *key, uint16_t *out);
esp_err_t nvs_get_u32(nvs_handle_t handle, const char *key, uint32_t *out);
esp_err_t nvs_set_u32(nvs_handle_t handle, const char *key, uint32_t value);

typedef uint32_t TickType_t;
#define portTICK_PERIOD_MS ((TickType_t)10)
#define pdMS_TO_TICKS(ms) ((TickType_t)((ms) / portTICK_PERIOD_MS))
enum { pdFALSE, pdTRUE };
void vTaskDelay(TickType_t ticks);
TickType_t xTaskGetTickCount(void);
typedef void *EventGroupHandle_t;
typedef TickType_t EventBits_t;
#define BIT0 1
EventGroupHandle_t xEventGroupCreate(void);
EventBits_t xEventGroupSetBits(EventGroupHandle_t group, EventBits_t bits);
EventBits_t xEventGroupClearBits(EventGroupHandle_t group, EventBits_t bits);
EventBits_t xEventGroupWaitBits(EventGroupHandle_t group, EventBits_t bits, int clear, int all, TickType_t ticks);

int64_t esp_timer_get_time(void);
typedef struct esp_timer *esp_timer_handle_t;
typedef struct {
    void (*callback)(void *argument);
    const char *name;
} esp_timer_create_args_t;
esp_err_t esp_timer_create(const esp_timer_create_args_t *arguments, esp_timer_handle_t *out);
esp_err_t esp_timer_start_once(esp_timer_handle_t timer, uint64_t microseconds);
esp_err_t esp_timer_stop(esp_timer_handle_t timer);

typedef const char *esp_event_base_t;
extern esp_event_base_t WIFI_EVENT, IP_EVENT;
enum { ESP_EVENT_ANY_ID = -1, IP_EVENT_STA_GOT_IP, WIFI_EVENT_STA_START, WIFI_EVENT_STA_DISCONNECTED };
typedef void (*esp_event_handler_t)(void *argument, esp_event_base_t base, int32_t id, void *data);
esp_err_t esp_event_loop_create_default(void);
esp_err_t esp_event_handler_register(esp_event_base_t base, int32_t id, esp_event_handler_t handler, void *argument);
esp_err_t esp_netif_init(void);
struct esp_netif *esp_netif_create_default_wifi_sta(void);
typedef struct {
    const char *servers[1];
} esp_sntp_config_t;
#define ESP_NETIF_SNTP_DEFAULT_CONFIG(server) {.servers = {server}}
esp_err_t esp_netif_sntp_init(const esp_sntp_config_t *config);

typedef struct {
    int unused;
} wifi_init_config_t;
#define WIFI_INIT_CONFIG_DEFAULT() {0}
enum { WIFI_ALL_CHANNEL_SCAN, WIFI_CONNECT_AP_BY_SIGNAL, WIFI_AUTH_OPEN, WIFI_AUTH_WPA2_PSK, WIFI_STORAGE_RAM, WIFI_MODE_STA, WIFI_IF_STA };
typedef struct {
    struct {
        uint8_t ssid[32], password[64];
        int scan_method, sort_method;
        struct {
            int authmode;
        } threshold;
    } sta;
} wifi_config_t;
esp_err_t esp_wifi_init(const wifi_init_config_t *config), esp_wifi_start(void), esp_wifi_connect(void);
esp_err_t esp_wifi_set_storage(int storage), esp_wifi_set_mode(int mode), esp_wifi_set_max_tx_power(int8_t power);
esp_err_t esp_wifi_set_config(int interface, wifi_config_t *config);

typedef struct esp_tls esp_tls_t;
enum { ESP_TLS_ERR_SSL_WANT_READ = -0x6900, ESP_TLS_ERR_SSL_WANT_WRITE = -0x6880 };
typedef struct {
    const char **alpn_protos;
    const unsigned char *cacert_buf, *clientcert_buf, *clientkey_buf;
    unsigned int cacert_bytes, clientcert_bytes, clientkey_bytes;
    int timeout_ms;
} esp_tls_cfg_t;
esp_tls_t *esp_tls_init(void);
int esp_tls_conn_new_sync(const char *host, int length, int port, const esp_tls_cfg_t *config, esp_tls_t *tls);
ssize_t esp_tls_conn_write(esp_tls_t *tls, const void *bytes, size_t length);
ssize_t esp_tls_conn_read(esp_tls_t *tls, void *bytes, size_t length);
int esp_tls_conn_destroy(esp_tls_t *tls);

typedef enum { GPIO_NUM_4 = 4 } gpio_num_t;
enum { GPIO_MODE_OUTPUT, LEDC_TIMER_0, LEDC_CHANNEL_0, PIXFORMAT_JPEG, CAMERA_FB_IN_PSRAM, CAMERA_GRAB_LATEST };
esp_err_t gpio_reset_pin(gpio_num_t pin), gpio_set_direction(gpio_num_t pin, int mode), gpio_set_level(gpio_num_t pin, uint32_t level);
typedef enum { FRAMESIZE_QVGA, FRAMESIZE_VGA, FRAMESIZE_SVGA, FRAMESIZE_XGA, FRAMESIZE_SXGA, FRAMESIZE_UXGA } framesize_t;
typedef struct {
    int pin_pwdn, pin_reset, pin_xclk, pin_sccb_sda, pin_sccb_scl;
    int pin_d7, pin_d6, pin_d5, pin_d4, pin_d3, pin_d2, pin_d1, pin_d0, pin_vsync, pin_href, pin_pclk;
    int xclk_freq_hz, ledc_timer, ledc_channel, pixel_format;
    framesize_t frame_size;
    int jpeg_quality;
    size_t fb_count;
    int fb_location, grab_mode;
} camera_config_t;
typedef struct {
    uint8_t *buf;
    size_t len;
} camera_fb_t;
typedef struct sensor {
    int (*set_framesize)(struct sensor *sensor, framesize_t size);
} sensor_t;
esp_err_t esp_camera_init(const camera_config_t *config);
camera_fb_t *esp_camera_fb_get(void);
void esp_camera_fb_return(camera_fb_t *buffer);
sensor_t *esp_camera_sensor_get(void);
