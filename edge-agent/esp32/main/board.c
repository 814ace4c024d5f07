#include "board.h"

#include <string.h>

#include "driver/gpio.h"
#include "esp_log.h"

static const char *const TAG = "board";

/* The lamp takes more current than the camera and the radio together. */
static const gpio_num_t LAMP = GPIO_NUM_4;

static const struct {
    const char *name;
    framesize_t size;
} SIZES[] = {
    {"qvga", FRAMESIZE_QVGA}, {"vga", FRAMESIZE_VGA},   {"svga", FRAMESIZE_SVGA},
    {"xga", FRAMESIZE_XGA},   {"sxga", FRAMESIZE_SXGA}, {"uxga", FRAMESIZE_UXGA},
};
/* Index of SIZES. */
static size_t size_now = 2;

esp_err_t board_start(const char *size, uint8_t quality) {
    gpio_reset_pin(LAMP);
    gpio_set_direction(LAMP, GPIO_MODE_OUTPUT);
    gpio_set_level(LAMP, 0);
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        if (strcmp(SIZES[i].name, size) == 0) {
            size_now = i;
        }
    }
    const camera_config_t config = {
        .pin_pwdn = 32,
        .pin_reset = -1,
        .pin_xclk = 0,
        .pin_sccb_sda = 26,
        .pin_sccb_scl = 27,
        .pin_d7 = 35,
        .pin_d6 = 34,
        .pin_d5 = 39,
        .pin_d4 = 36,
        .pin_d3 = 21,
        .pin_d2 = 19,
        .pin_d1 = 18,
        .pin_d0 = 5,
        .pin_vsync = 25,
        .pin_href = 23,
        .pin_pclk = 22,
        .xclk_freq_hz = 20000000,
        .ledc_timer = LEDC_TIMER_0,
        .ledc_channel = LEDC_CHANNEL_0,
        .pixel_format = PIXFORMAT_JPEG,
        .frame_size = SIZES[size_now].size,
        .jpeg_quality = quality,
        /* One is filled while the other is sent: no picture is ever copied. */
        .fb_count = 2,
        .fb_location = CAMERA_FB_IN_PSRAM,
        .grab_mode = CAMERA_GRAB_LATEST,
    };
    ESP_LOGI(TAG, "pictures are %s", SIZES[size_now].name);
    return esp_camera_init(&config);
}

bool board_shrink(void) {
    sensor_t *sensor = esp_camera_sensor_get();
    if (size_now == 0 || sensor == NULL || sensor->set_framesize(sensor, SIZES[size_now - 1].size) != 0) {
        return false;
    }
    size_now--;
    ESP_LOGW(TAG, "pictures are %s from now on", SIZES[size_now].name);
    return true;
}
