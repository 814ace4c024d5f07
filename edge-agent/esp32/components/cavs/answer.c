#include "cavs/answer.h"

#include <string.h>

enum state { STATUS_LINE, HEADERS, BODY, TO_THE_END, CHUNK_SIZE, CHUNK, CHUNK_END, CHUNK_TRAILERS, DONE };

/* Longest pause that is believed, in milliseconds: an hour. */
enum { PAUSE_MOST = 3600000 };

static bool same(const char *text, size_t length, const char *name) {
    for (; length > 0 && *name != 0; length--, text++, name++) {
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text + 32) : *text;
        if (c != *name) {
            return false;
        }
    }
    return length == 0 && *name == 0;
}

/* A number of digits and nothing else, up to `most`; -1 where it is none. */
static int64_t number(const char *text, size_t length, uint32_t most) {
    uint64_t value = 0;
    if (length == 0) {
        return -1;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
        if (value > most) {
            value = (uint64_t)most + 1;
        }
    }
    return (int64_t)value;
}

/* A line "name: value" of headers or trailers. */
static void take_field(cavs_answer *a, const char *line, size_t length) {
    const char *colon = memchr(line, ':', length);
    if (colon == NULL) {
        return;
    }
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t left = length - name - 1;
    while (left > 0 && (*value == ' ' || *value == '\t')) {
        value++, left--;
    }
    while (left > 0 && (value[left - 1] == ' ' || value[left - 1] == '\t')) {
        left--;
    }
    if (same(line, name, "grpc-status")) {
        int64_t status = number(value, left, 16);
        a->grpc_status = (int16_t)(status < 0 || status > 16 ? 2 : status);
    } else if (same(line, name, "retry-after-ms")) {
        int64_t millis = number(value, left, PAUSE_MOST);
        a->retry_after_ms = millis < 0 ? a->retry_after_ms : (uint32_t)(millis > PAUSE_MOST ? PAUSE_MOST : millis);
    } else if (same(line, name, "retry-after") && a->retry_after_ms == 0) {
        int64_t seconds = number(value, left, PAUSE_MOST / 1000);
        a->retry_after_ms = seconds < 0 ? 0 : (uint32_t)(seconds > PAUSE_MOST / 1000 ? PAUSE_MOST : seconds * 1000);
    } else if (a->state != HEADERS) {
        return; /* What follows belongs to the head only. */
    } else if (same(line, name, "content-length")) {
        int64_t bytes = number(value, left, CAVS_ANSWER_MOST);
        a->failed |= bytes < 0 || bytes > (int64_t)CAVS_ANSWER_MOST || (a->sized && a->left != (uint32_t)bytes);
        a->sized = true;
        a->left = (uint32_t)bytes;
    } else if (same(line, name, "transfer-encoding")) {
        a->chunked = same(value, left, "chunked");
        a->failed |= !a->chunked;
    } else if (same(line, name, "connection")) {
        a->close |= same(value, left, "close");
    }
}

/* The body, without what HTTP puts around it: frames of gRPC-Web. */
static void take_body(cavs_answer *a, const uint8_t *bytes, size_t length) {
    a->body += (uint32_t)length;
    if (a->body > CAVS_ANSWER_MOST) {
        a->failed = true;
        return;
    }
    for (size_t i = 0; a->web && i < length; i++) {
        if (a->frame_head_used < sizeof a->frame_head) {
            a->frame_head[a->frame_head_used++] = bytes[i];
            if (a->frame_head_used == sizeof a->frame_head) {
                const uint8_t *head = a->frame_head;
                a->frame_left = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
                a->has_message |= (head[0] & 0x80) == 0;
                a->failed |= (head[0] & 0x7f) != 0; /* Compressed: nobody asked for that. */
            }
        } else {
            a->frame_left--;
            if ((a->frame_head[0] & 0x80) == 0) {
                if (a->message_used < sizeof a->message) {
                    a->message[a->message_used++] = bytes[i];
                }
            } else if (bytes[i] == '\n') {
                size_t used = a->trailer_used;
                take_field(a, a->trailer, used > 0 && a->trailer[used - 1] == '\r' ? used - 1 : used);
                a->trailer_used = 0;
            } else if (a->trailer_used < sizeof a->trailer) {
                a->trailer[a->trailer_used++] = (char)bytes[i];
            }
        }
        if (a->frame_head_used == sizeof a->frame_head && a->frame_left == 0) {
            if ((a->frame_head[0] & 0x80) != 0 && a->trailer_used > 0) {
                take_field(a, a->trailer, a->trailer_used); /* The last line may have no end. */
                a->trailer_used = 0;
            }
            a->frame_head_used = 0;
        }
    }
}

static void head_ended(cavs_answer *a) {
    if (a->status < 200) { /* 100 Continue and its kind precede the answer. */
        bool web = a->web;
        cavs_answer_begin(a, web);
    } else if (a->status == 204 || a->status == 304) {
        a->state = DONE;
    } else if (a->chunked) {
        a->state = CHUNK_SIZE;
    } else if (a->sized) {
        a->state = a->left == 0 ? DONE : BODY;
    } else {
        a->close = true;
        a->state = TO_THE_END;
    }
}

/* A size in hexadecimal, up to an extension. */
static void take_chunk_size(cavs_answer *a, size_t length) {
    uint32_t size = 0;
    size_t digits = 0;
    for (; digits < length && a->line[digits] != ';' && a->line[digits] != ' '; digits++) {
        char c = a->line[digits];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16 || size > CAVS_ANSWER_MOST) {
            a->failed = true;
            return;
        }
        size = size * 16 + digit;
    }
    a->failed |= digits == 0 || size > CAVS_ANSWER_MOST;
    a->left = size;
    a->state = size == 0 ? CHUNK_TRAILERS : CHUNK;
}

static void take_line(cavs_answer *a) {
    size_t length = a->line_used;
    if (length > 0 && a->line[length - 1] == '\r') {
        length--;
    }
    a->line_used = 0;
    switch (a->state) {
    case STATUS_LINE: {
        int64_t status = length >= 12 && memcmp(a->line, "HTTP/1.", 7) == 0 && a->line[8] == ' ' ? number(a->line + 9, 3, 999) : -1;
        a->failed |= status < 100 || (length > 12 && a->line[12] != ' ');
        a->status = (uint16_t)(status < 0 ? 0 : status);
        a->close = a->line[7] == '0'; /* HTTP/1.0 */
        a->state = HEADERS;
        break;
    }
    case HEADERS:
        if (length == 0) {
            head_ended(a);
        } else {
            take_field(a, a->line, length);
        }
        break;
    case CHUNK_SIZE:
        take_chunk_size(a, length);
        break;
    case CHUNK_END:
        a->failed |= length != 0;
        a->state = CHUNK_SIZE;
        break;
    case CHUNK_TRAILERS:
        if (length == 0) {
            a->state = DONE;
        } else {
            take_field(a, a->line, length);
        }
        break;
    default:
        break;
    }
}

void cavs_answer_begin(cavs_answer *answer, bool web) {
    memset(answer, 0, sizeof *answer);
    answer->web = web;
    answer->grpc_status = -1;
}

bool cavs_answer_feed(cavs_answer *a, const uint8_t *bytes, size_t length) {
    while (length > 0 && !a->failed && a->state != DONE) {
        if (a->state == BODY || a->state == CHUNK || a->state == TO_THE_END) {
            size_t piece = a->state != TO_THE_END && length > a->left ? a->left : length;
            take_body(a, bytes, piece);
            bytes += piece, length -= piece;
            if (a->state != TO_THE_END) {
                a->left -= (uint32_t)piece;
                if (a->left == 0) {
                    a->state = a->state == BODY ? DONE : CHUNK_END;
                }
            }
            continue;
        }
        uint8_t byte = *bytes++;
        length--;
        if (byte == '\n') {
            take_line(a);
        } else if (a->line_used < sizeof a->line) {
            a->line[a->line_used++] = (char)byte;
        }
    }
    /* Nothing may follow an answer: no other one was asked for. */
    a->close |= length > 0;
    return !a->failed && a->state != DONE;
}

void cavs_answer_eof(cavs_answer *a) {
    if (a->state == TO_THE_END && !a->failed) {
        a->state = DONE;
    }
}

bool cavs_answer_complete(const cavs_answer *a) {
    return a->state == DONE && !a->failed && (!a->web || a->frame_head_used == 0);
}

bool cavs_answer_keeps_alive(const cavs_answer *a) {
    return cavs_answer_complete(a) && !a->close;
}

/* A varint; `*at` moves behind it, or past the end where there is no whole one. */
static uint64_t varint(const uint8_t *bytes, size_t length, size_t *at) {
    uint64_t value = 0;
    for (unsigned shift = 0; *at < length && shift < 64; shift += 7) {
        uint8_t byte = bytes[(*at)++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    *at = length + 1;
    return 0;
}

/* Reads SubmitFrameResponse.status (1) and .faces_detected (4) from what was kept of the message. */
static void read_verdict(const cavs_answer *a, uint64_t *status, uint32_t *faces) {
    size_t at = 0;
    while (at < a->message_used) {
        uint64_t tag = varint(a->message, a->message_used, &at);
        uint64_t value = varint(a->message, a->message_used, &at);
        if (at > a->message_used) {
            return;
        }
        switch (tag & 7) {
        case 0:
            if (tag == 0x08) {
                *status = value;
            } else if (tag == 0x20) {
                *faces = (uint32_t)value;
            }
            break;
        case 2: /* A text or a message: the value is its length. */
            if (value > a->message_used - at) {
                return;
            }
            at += (size_t)value;
            break;
        default: /* The verdict has no others. */
            return;
        }
    }
}

static cavs_next after_http(unsigned status) {
    switch (status) {
    case 200:
    case 202:
    case 400:
        return CAVS_NEXT_FRAME;
    case 401:
    case 403:
        return CAVS_ASK_A_PERSON;
    case 404:
    case 405:
    case 415:
    case 501:
        return CAVS_OTHER_PATH;
    case 408:
    case 413:
        return CAVS_SMALLER_PICTURE;
    default: /* 429, 500, 503, and whatever a proxy of somebody else's says. */
        return CAVS_SAME_FRAME;
    }
}

static cavs_next after_grpc(int status) {
    switch (status) {
    case 0:
    case 3: /* INVALID_ARGUMENT */
        return CAVS_NEXT_FRAME;
    case 4:  /* DEADLINE_EXCEEDED */
    case 11: /* OUT_OF_RANGE */
        return CAVS_SMALLER_PICTURE;
    case 7:  /* PERMISSION_DENIED */
    case 16: /* UNAUTHENTICATED */
        return CAVS_ASK_A_PERSON;
    case 12: /* UNIMPLEMENTED */
        return CAVS_OTHER_PATH;
    default: /* RESOURCE_EXHAUSTED, UNAVAILABLE, INTERNAL, and what is not in the table. */
        return CAVS_SAME_FRAME;
    }
}

cavs_result cavs_answer_result(const cavs_answer *a) {
    cavs_result result = {
        .next = CAVS_SAME_FRAME,
        .http_status = a->status,
        .grpc_status = a->grpc_status,
        .retry_after_ms = a->retry_after_ms,
    };
    if (!cavs_answer_complete(a)) {
        /* Who refuses a picture before it was read closes, and the rest of the answer may be lost: its head is enough. */
        if (a->state > HEADERS && a->status >= 400) {
            result.next = after_http(a->status);
        }
        return result;
    }
    if (a->web && a->grpc_status >= 0) {
        uint64_t status = 0;
        read_verdict(a, &status, &result.faces);
        result.next = after_grpc(a->grpc_status);
        /* RECORDED and STORED: without one of them, nothing says that the proxy has it. */
        result.arrived = a->grpc_status == 0 && a->has_message && (status == 1 || status == 2);
        if (a->grpc_status == 0 && !result.arrived) {
            result.next = CAVS_SAME_FRAME;
        }
    } else if (a->web && a->status < 300) {
        result.next = CAVS_OTHER_PATH; /* A page of something that is no proxy of ours. */
    } else {
        result.next = after_http(a->status);
        result.arrived = !a->web && (a->status == 200 || a->status == 202);
    }
    return result;
}
