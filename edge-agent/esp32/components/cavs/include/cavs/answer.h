/* Reads an answer of HTTP/1.1 in any pieces, in bounded memory, and says what to do next. No allocation, no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest answer that is read at all, in bytes of its body. */
#define CAVS_ANSWER_MOST (64u * 1024u)

/* What to do after an answer. */
typedef enum {
    CAVS_NEXT_FRAME,      /* It arrived; or it never will. Take a new picture. */
    CAVS_SAME_FRAME,      /* Send it again, with the same id, later. */
    CAVS_SMALLER_PICTURE, /* It was too large or too slow. */
    CAVS_OTHER_PATH,      /* What answers does not know this path. */
    CAVS_ASK_A_PERSON,    /* The camera is not (or no more) allowed to speak. */
} cavs_next;

typedef struct {
    cavs_next next;
    bool arrived;            /* The proxy has it. */
    uint16_t http_status;    /* 0 where there was no answer */
    int16_t grpc_status;     /* -1 where there was none */
    uint32_t faces;          /* found in the picture; gRPC-Web only */
    uint32_t retry_after_ms; /* 0 where none was named */
} cavs_result;

/* Everything between the pieces of an answer. Private. */
typedef struct {
    uint8_t state;
    bool web, failed, close, chunked, sized, keep_alive;
    uint16_t status;
    uint32_t left;       /* bytes of the body, or of its chunk, still to come */
    uint32_t body;       /* bytes of the body so far */
    char line[160];      /* of the head, or of trailers; longer ones are cut off */
    uint16_t line_used;
    uint8_t frame_head[5];
    uint8_t frame_head_used;
    uint32_t frame_left;
    uint8_t message[160]; /* the beginning of the message */
    uint16_t message_used;
    bool has_message;
    char trailer[96];
    uint16_t trailer_used;
    int16_t grpc_status;
    uint32_t retry_after_ms;
} cavs_answer;

/* Begins to read an answer; `web`: it is to be gRPC-Web. */
void cavs_answer_begin(cavs_answer *answer, bool web);

/* Takes the next bytes. Returns whether more are wanted: false at the end, and where it is no answer. */
bool cavs_answer_feed(cavs_answer *answer, const uint8_t *bytes, size_t length);

/* The connection has ended: some answers end so. */
void cavs_answer_eof(cavs_answer *answer);

/* Whether a whole answer was read. */
bool cavs_answer_complete(const cavs_answer *answer);

/* Whether another request may follow on the connection. */
bool cavs_answer_keeps_alive(const cavs_answer *answer);

/* What the answer means; of an incomplete one: the same frame again. */
cavs_result cavs_answer_result(const cavs_answer *answer);
