/* What provisioning wrote: the partition `settings`, namespace `cavs`. README.md lists the keys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "esp_err.h"

/* Longest certificate or key that is taken, in bytes with NUL: what NVS stores as one text. */
#define SETTING_PEM_MOST 4000

typedef struct {
    char wifi_name[33];
    char wifi_password[65];
    char host[128];
    uint16_t port;
    char device_id[65];
    char token[160];
    char *authority;   /* PEM */
    char *certificate; /* PEM, or NULL */
    char *key;         /* PEM, or NULL */
    uint32_t interval_ms;
    char size[8];
    uint8_t quality; /* 4 (best) to 63 */
    char time_server[128];
} settings;

/* Reads and checks them; says in the log what is missing. */
esp_err_t settings_load(settings *out);

/* The number of this start, from 1, and the random number that is as old as the counter. Both are on the flash before
 * this returns. */
esp_err_t settings_count_boot(uint32_t *salt, uint32_t *boot);
