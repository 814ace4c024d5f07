/* The radio and the time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cavs/sender.h"
#include "esp_err.h"

/* Joins a network and stays in it: a lost one is joined again, for ever. `time_server` may be empty. */
esp_err_t network_start(const char *name, const char *password, const char *time_server);

/* Waits until there is an address; false when the time is over. */
bool network_wait(uint32_t milliseconds);

/* The time by both clocks. The wall clock counts from 1970 until a time server has answered: it is sent all the same,
 * since the proxy compares it with its own. */
cavs_now network_now(void);
