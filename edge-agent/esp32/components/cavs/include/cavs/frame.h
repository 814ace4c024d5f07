/* A frame's request: everything that stands before the picture. No allocation, no I/O.
 * docs/ESP32.md, "The wire", and proto/cavs/v1/capture.proto describe it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest id, name or frame id, in bytes. */
#define CAVS_ID_MOST 64
/* Room for what precedes the picture in gRPC-Web, with all fields at their longest. */
#define CAVS_HEAD_MOST 256
/* Room for a frame id with its NUL. */
#define CAVS_FRAME_ID_SIZE 27

/* A moment by the camera's clock, since 1970. */
typedef struct {
    bool known;
    int64_t seconds;
    int32_t nanos; /* 0 to 999,999,999, also before 1970 */
} cavs_time;

/* A picture and what is said of it. Nothing is owned. */
typedef struct {
    const char *device_id; /* id or name; may be empty */
    const char *frame_id;  /* 1 to 64 printable ASCII characters, never used for another picture */
    cavs_time captured_at;
    cavs_time sent_at;
    const uint8_t *image;
    size_t image_length;
} cavs_frame;

/* Writes the prefix of gRPC-Web and the fields before the picture's own bytes; the picture follows as it is.
 * Returns the length written, or 0 where the frame is not valid or `capacity` does not suffice. */
size_t cavs_frame_head(const cavs_frame *frame, uint8_t *out, size_t capacity);

/* Writes a frame id that this camera has never used: `salt` is a random number that is as old as the boot counter,
 * so that a counter that was erased does not bring old ids back. */
void cavs_frame_id(char out[CAVS_FRAME_ID_SIZE], uint32_t salt, uint32_t boot, uint32_t counter);

/* The moment so many microseconds before another; unknown stays unknown. */
cavs_time cavs_time_before(cavs_time moment, int64_t microseconds);

/* Seconds since 1970 with three decimals, for a header: milliseconds of a clock that was never set would be taken for
 * seconds. Returns the length without NUL, or 0 where it does not fit or is before 1970. */
size_t cavs_time_text(cavs_time moment, char *out, size_t capacity);

/* Length of the JPEG at the start of a buffer: up to its end mark, without what a camera leaves behind it. 0 where the
 * begin or the end is missing: the picture was cut off. */
size_t cavs_jpeg_length(const uint8_t *bytes, size_t length);

/* Whether a text can stand in a header or a frame id: 1 to `most` printable ASCII characters without a blank. */
bool cavs_is_plain(const char *text, size_t most);
