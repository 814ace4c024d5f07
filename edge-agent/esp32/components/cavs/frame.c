#include "cavs/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Tags of SubmitFrameRequest: field number times eight, plus wire type 2 (length-delimited). */
enum { TAG_DEVICE_ID = 0x0a, TAG_FRAME_ID = 0x12, TAG_CAPTURED_AT = 0x1a, TAG_SENT_AT = 0x22, TAG_IMAGE = 0x7a };
/* Tags of google.protobuf.Timestamp: varints. */
enum { TAG_SECONDS = 0x08, TAG_NANOS = 0x10 };
/* Flag byte and length. */
enum { PREFIX = 5 };

/* A buffer that remembers that it was too small. */
typedef struct {
    uint8_t *bytes;
    size_t used, capacity;
    bool full;
} writer;

static void put(writer *w, uint8_t byte) {
    if (w->used < w->capacity) {
        w->bytes[w->used++] = byte;
    } else {
        w->full = true;
    }
}

static void put_varint(writer *w, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        put(w, (uint8_t)(value | 0x80));
    }
    put(w, (uint8_t)value);
}

static void put_text(writer *w, uint8_t tag, const char *text) {
    size_t length = strlen(text);
    if (length == 0) {
        return; /* The default is not written. */
    }
    put(w, tag);
    put_varint(w, length);
    for (size_t i = 0; i < length; i++) {
        put(w, (uint8_t)text[i]);
    }
}

static void put_time(writer *w, uint8_t tag, cavs_time moment) {
    if (!moment.known) {
        return;
    }
    uint8_t bytes[32];
    writer inner = {.bytes = bytes, .capacity = sizeof bytes};
    if (moment.seconds != 0) {
        put(&inner, TAG_SECONDS);
        put_varint(&inner, (uint64_t)moment.seconds);
    }
    if (moment.nanos != 0) {
        put(&inner, TAG_NANOS);
        put_varint(&inner, (uint64_t)(int64_t)moment.nanos);
    }
    put(w, tag);
    put_varint(w, inner.used);
    for (size_t i = 0; i < inner.used; i++) {
        put(w, bytes[i]);
    }
}

size_t cavs_frame_head(const cavs_frame *frame, uint8_t *out, size_t capacity) {
    if (frame->image_length == 0 || frame->image_length > UINT32_MAX / 2 || !cavs_is_plain(frame->frame_id, CAVS_ID_MOST) ||
        memchr(frame->device_id, 0, CAVS_ID_MOST + 1) == NULL || capacity < PREFIX) {
        return 0;
    }
    writer w = {.bytes = out, .used = PREFIX, .capacity = capacity};
    put_text(&w, TAG_DEVICE_ID, frame->device_id);
    put_text(&w, TAG_FRAME_ID, frame->frame_id);
    put_time(&w, TAG_CAPTURED_AT, frame->captured_at);
    put_time(&w, TAG_SENT_AT, frame->sent_at);
    put(&w, TAG_IMAGE);
    put_varint(&w, frame->image_length);
    if (w.full) {
        return 0;
    }
    uint32_t message = (uint32_t)(w.used - PREFIX + frame->image_length);
    out[0] = 0; /* Not compressed. */
    for (size_t i = 0; i < 4; i++) {
        out[1 + i] = (uint8_t)(message >> (24 - 8 * i));
    }
    return w.used;
}

void cavs_frame_id(char out[CAVS_FRAME_ID_SIZE], uint32_t salt, uint32_t boot, uint32_t counter) {
    snprintf(out, CAVS_FRAME_ID_SIZE, "%08" PRIx32 "-%08" PRIx32 "-%08" PRIx32, salt, boot, counter);
}

cavs_time cavs_time_before(cavs_time moment, int64_t microseconds) {
    int64_t seconds = microseconds / 1000000;
    int64_t nanos = moment.nanos - microseconds % 1000000 * 1000;
    if (nanos < 0) {
        nanos += 1000000000;
        seconds += 1;
    } else if (nanos >= 1000000000) {
        nanos -= 1000000000;
        seconds -= 1;
    }
    return (cavs_time){.known = moment.known, .seconds = moment.seconds - seconds, .nanos = (int32_t)nanos};
}

size_t cavs_time_text(cavs_time moment, char *out, size_t capacity) {
    int length = snprintf(out, capacity, "%" PRId64 ".%03" PRId32, moment.seconds, moment.nanos / 1000000);
    return moment.seconds < 0 || length < 0 || (size_t)length >= capacity ? 0 : (size_t)length;
}

size_t cavs_jpeg_length(const uint8_t *bytes, size_t length) {
    if (length < 4 || bytes[0] != 0xff || bytes[1] != 0xd8) {
        return 0;
    }
    /* The driver leaves padding behind the end mark: less than a block of DMA. */
    size_t least = length > 4096 ? length - 4096 : 2;
    for (size_t end = length; end >= least + 2; end--) {
        if (bytes[end - 2] == 0xff && bytes[end - 1] == 0xd9) {
            return end;
        }
    }
    return 0;
}

bool cavs_is_plain(const char *text, size_t most) {
    size_t length = 0;
    for (; text[length] != 0; length++) {
        if (length == most || text[length] <= ' ' || text[length] > '~') {
            return false;
        }
    }
    return length > 0;
}
