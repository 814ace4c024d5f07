/* Sends frames over a connection that somebody else provides: gRPC-Web, or else a plain POST. The picture is written
 * from where it lies. One frame at a time; no allocation. */
#pragma once

#include "cavs/answer.h"
#include "cavs/frame.h"

/* Failures of gRPC-Web after which a plain POST is tried, and for how many frames. */
#define CAVS_WEB_FAILURES 3u
#define CAVS_PLAIN_FRAMES 256u

/* A connection to the proxy, encrypted or not. Every call returns within a time of its own. */
typedef struct {
    bool (*open)(void *context);
    bool (*write)(void *context, const uint8_t *bytes, size_t length); /* all of them, or false */
    long (*read)(void *context, uint8_t *bytes, size_t length);        /* 0 at the end, -1 where it failed */
    void (*close)(void *context);                                      /* also of one that is not open */
    void *context;
} cavs_link;

/* Two clocks, read together. */
typedef struct {
    cavs_time wall;
    int64_t monotonic; /* microseconds since the start */
} cavs_now;

typedef struct {
    cavs_link link;
    cavs_now (*now)(void);
    const char *host;      /* name of the proxy */
    const char *device_id; /* may be empty */
    const char *token;     /* empty where the certificate says who this is */
    bool connected;
    uint8_t web_failures;
    uint16_t plain_left; /* frames that still go by plain POST */
} cavs_sender;

/* A picture that waits to be sent. */
typedef struct {
    const char *frame_id;
    int64_t captured; /* cavs_now.monotonic */
    const uint8_t *image;
    size_t image_length;
} cavs_picture;

/* Sends a picture once, and says what to do next. A connection that was closed while it was idle is opened again. */
cavs_result cavs_send(cavs_sender *sender, const cavs_picture *picture);

/* Closes the connection, if there is one. */
void cavs_sender_close(cavs_sender *sender);
