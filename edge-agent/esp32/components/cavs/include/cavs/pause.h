/* How long to wait after a failure. No clock of its own. */
#pragma once

#include <stdint.h>

/* First pause and longest one, in milliseconds. */
#define CAVS_PAUSE_FIRST 500u
#define CAVS_PAUSE_MOST 60000u

typedef struct {
    uint32_t next; /* 0: nothing has failed yet */
} cavs_pause;

/* The next pause in milliseconds: what the proxy named, or else twice the last one; and up to a quarter more by
 * `random`, so that cameras that failed together do not come back together. */
uint32_t cavs_pause_after(cavs_pause *pause, uint32_t named, uint32_t random);

/* Something succeeded. */
void cavs_pause_reset(cavs_pause *pause);
