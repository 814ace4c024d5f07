#include "cavs/pause.h"

uint32_t cavs_pause_after(cavs_pause *pause, uint32_t named, uint32_t random) {
    uint32_t wait = pause->next == 0 ? CAVS_PAUSE_FIRST : pause->next;
    pause->next = wait > CAVS_PAUSE_MOST / 2 ? CAVS_PAUSE_MOST : wait * 2;
    if (named != 0) {
        wait = named;
    }
    return wait + (uint32_t)((uint64_t)(wait / 4) * random / UINT32_MAX);
}

void cavs_pause_reset(cavs_pause *pause) {
    pause->next = 0;
}
