/* The AI-Thinker ESP32-CAM: its sensor and its bright lamp. */
#pragma once

#include "esp_camera.h"
#include "esp_err.h"

/* Starts the sensor for JPEG of a size (`qvga`, `vga`, `svga`, `xga`, `sxga`, `uxga`), and keeps the lamp dark. */
esp_err_t board_start(const char *size, uint8_t quality);

/* The next smaller size; false at the smallest. */
bool board_shrink(void);
