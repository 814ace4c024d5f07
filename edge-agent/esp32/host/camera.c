/* The firmware's own protocol code as a program of the host, for tests and for trying a proxy without a board:
 *   camera cases                                      one case a line on standard input, one answer a line
 *   camera fuzz SEED COUNT                            damaged answers to the reader of answers
 *   camera send ADDRESS PORT DEVICE TOKEN SALT FILE... each file as a picture, over a plain connection
 * tests/esp32-emulator compiles and runs it. */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cavs/pause.h"
#include "cavs/sender.h"

/* Largest picture, in bytes. */
enum { PICTURE_MOST = 2 * 1024 * 1024 };

static const char *const NEXT[] = {"next-frame", "same-frame", "smaller-picture", "other-path", "ask-a-person"};

static const char *text(const char *word) {
    return strcmp(word, "-") == 0 ? "" : word;
}

static cavs_time moment(const char *seconds, const char *nanos) {
    cavs_time time = {.known = strcmp(seconds, "-") != 0};
    if (time.known) {
        time.seconds = strtoll(seconds, NULL, 10);
        time.nanos = (int32_t)strtol(nanos, NULL, 10);
    }
    return time;
}

static void print_result(cavs_result r) {
    printf("%s %s http=%u grpc=%d faces=%" PRIu32 " retry=%" PRIu32 "\n", NEXT[r.next], r.arrived ? "arrived" : "not-arrived",
           r.http_status, r.grpc_status, r.faces, r.retry_after_ms);
}

static size_t unhex(const char *hex, uint8_t *out, size_t capacity) {
    size_t length = 0;
    for (unsigned byte; length < capacity && sscanf(hex + 2 * length, "%2x", &byte) == 1; length++) {
        out[length] = (uint8_t)byte;
    }
    return length;
}

/* head DEVICE FRAME SECONDS NANOS SECONDS NANOS LENGTH: the bytes before the picture */
static void case_head(char **words) {
    cavs_frame frame = {
        .device_id = text(words[1]),
        .frame_id = text(words[2]),
        .captured_at = moment(words[3], words[4]),
        .sent_at = moment(words[5], words[6]),
        .image_length = strtoul(words[7], NULL, 10),
    };
    /* On the heap, where a byte too much is noticed. */
    uint8_t *head = malloc(CAVS_HEAD_MOST);
    size_t length = cavs_frame_head(&frame, head, CAVS_HEAD_MOST);
    for (size_t i = 0; i < length; i++) {
        printf("%02x", head[i]);
    }
    printf(length == 0 ? "none\n" : "\n");
    free(head);
}

/* answer web|plain PIECE HEX: what an answer means that comes in pieces of so many bytes, then ends */
static void case_answer(char **words) {
    size_t piece = strtoul(words[2], NULL, 10), capacity = strlen(words[3]) / 2 + 1, at = 0;
    uint8_t *bytes = malloc(capacity);
    size_t length = unhex(words[3], bytes, capacity - 1);
    cavs_answer answer;
    cavs_answer_begin(&answer, strcmp(words[1], "web") == 0);
    bool more = true;
    for (; more && at < length; at += piece) {
        more = cavs_answer_feed(&answer, bytes + at, length - at < piece ? length - at : piece);
    }
    if (more) {
        cavs_answer_eof(&answer);
    }
    printf("%s ", cavs_answer_keeps_alive(&answer) ? "keep" : "close");
    print_result(cavs_answer_result(&answer));
    free(bytes);
}

static int cases(void) {
    static char line[1 << 20];
    cavs_pause pause = {0};
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *words[9] = {0};
        size_t count = 0;
        for (char *word = strtok(line, " \n"); word != NULL && count < 8; word = strtok(NULL, " \n")) {
            words[count++] = word;
        }
        if (count == 8 && strcmp(words[0], "head") == 0) {
            case_head(words);
        } else if (count == 4 && strcmp(words[0], "answer") == 0) {
            case_answer(words);
        } else if (count == 4 && strcmp(words[0], "id") == 0) {
            char id[CAVS_FRAME_ID_SIZE];
            cavs_frame_id(id, (uint32_t)strtoul(words[1], NULL, 10), (uint32_t)strtoul(words[2], NULL, 10),
                          (uint32_t)strtoul(words[3], NULL, 10));
            printf("%s\n", id);
        } else if (count == 4 && strcmp(words[0], "before") == 0) {
            cavs_time time = cavs_time_before(moment(words[1], words[2]), strtoll(words[3], NULL, 10));
            printf("%" PRId64 " %" PRId32 "\n", time.seconds, time.nanos);
        } else if (count == 3 && strcmp(words[0], "pause") == 0) {
            printf("%" PRIu32 "\n", cavs_pause_after(&pause, (uint32_t)strtoul(words[1], NULL, 10), (uint32_t)strtoul(words[2], NULL, 10)));
        } else if (count == 1 && strcmp(words[0], "reset") == 0) {
            cavs_pause_reset(&pause);
            printf("reset\n");
        } else if (count == 2 && strcmp(words[0], "jpeg") == 0) {
            size_t capacity = strlen(words[1]) / 2;
            uint8_t *bytes = malloc(capacity + 1);
            printf("%zu\n", cavs_jpeg_length(bytes, unhex(words[1], bytes, capacity)));
            free(bytes);
        } else {
            printf("unknown case\n");
            return 2;
        }
    }
    return 0;
}

static uint64_t seed;

static uint32_t dice(uint32_t below) { /* SplitMix64 */
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) % below);
}

static int fuzz(uint64_t count) {
#define WHOLE(text) {text, sizeof text - 1}
    static const struct {
        const char *bytes;
        size_t length;
    } GOOD[] = {
        WHOLE("HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n\0\0\0\0\2\b\1\200\0\0\0\x10grpc-status: 0\r\n"),
        WHOLE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\0\0\0\0\2\b\1\r\n"
              "15\r\n\200\0\0\0\x10grpc-status: 0\r\n\r\n0\r\n\r\n"),
        WHOLE("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}"),
    };
    uint64_t arrived = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t which = dice(3);
        size_t length = GOOD[which].length;
        uint8_t *bytes = malloc(length);
        memcpy(bytes, GOOD[which].bytes, length);
        for (uint32_t times = dice(6); times > 0; times--) {
            bytes[dice((uint32_t)length)] = (uint8_t)dice(256);
        }
        cavs_answer answer;
        cavs_answer_begin(&answer, dice(2) == 0);
        size_t at = 0, piece;
        do {
            piece = 1 + dice((uint32_t)(length - at));
        } while (cavs_answer_feed(&answer, bytes + at, piece) && (at += piece) < length);
        cavs_answer_eof(&answer);
        cavs_result result = cavs_answer_result(&answer);
        if (result.arrived && !cavs_answer_complete(&answer)) {
            printf("arrived without an answer\n");
            return 1;
        }
        arrived += result.arrived;
        free(bytes);
    }
    printf("%" PRIu64 " answers, %" PRIu64 " arrived\n", count, arrived);
    return 0;
}

/* A plain connection of the host. */
typedef struct {
    struct sockaddr_in address;
    int socket;
    unsigned opened;
} tcp;

static void tcp_close(void *context) {
    tcp *link = context;
    if (link->socket >= 0) {
        close(link->socket);
    }
    link->socket = -1;
}

static bool tcp_open(void *context) {
    tcp *link = context;
    tcp_close(link);
    link->socket = socket(AF_INET, SOCK_STREAM, 0);
    link->opened++;
    struct timeval limit = {.tv_sec = 30};
    return link->socket >= 0 && setsockopt(link->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
           connect(link->socket, (struct sockaddr *)&link->address, sizeof link->address) == 0;
}

static bool tcp_write(void *context, const uint8_t *bytes, size_t length) {
    tcp *link = context;
    while (length > 0) {
        ssize_t written = write(link->socket, bytes, length);
        if (written <= 0) {
            return false;
        }
        bytes += written, length -= (size_t)written;
    }
    return true;
}

static long tcp_read(void *context, uint8_t *bytes, size_t length) {
    return (long)read(((tcp *)context)->socket, bytes, length);
}

static cavs_now now(void) {
    struct timespec wall, monotonic;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return (cavs_now){
        .wall = {.known = true, .seconds = wall.tv_sec, .nanos = (int32_t)wall.tv_nsec},
        .monotonic = (int64_t)monotonic.tv_sec * 1000000 + monotonic.tv_nsec / 1000,
    };
}

static int send_files(int count, char **words) {
    static uint8_t picture[PICTURE_MOST];
    tcp link = {.socket = -1, .address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1]))}};
    if (count < 6 || inet_pton(AF_INET, words[0], &link.address.sin_addr) != 1) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    cavs_sender sender = {
        .link = {tcp_open, tcp_write, tcp_read, tcp_close, &link},
        .now = now,
        .host = words[0],
        .device_id = text(words[2]),
        .token = text(words[3]),
    };
    for (int i = 5; i < count; i++) {
        FILE *file = fopen(words[i], "rb");
        if (file == NULL) {
            return 2;
        }
        size_t length = fread(picture, 1, sizeof picture, file);
        fclose(file);
        char id[CAVS_FRAME_ID_SIZE];
        cavs_frame_id(id, (uint32_t)strtoul(words[4], NULL, 10), 1, (uint32_t)i);
        cavs_picture shot = {.frame_id = id, .captured = now().monotonic, .image = picture, .image_length = length};
        print_result(cavs_send(&sender, &shot));
        fflush(stdout);
    }
    cavs_sender_close(&sender);
    printf("connections=%u\n", link.opened);
    return 0;
}

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "cases") == 0) {
        return cases();
    }
    if (count == 4 && strcmp(words[1], "fuzz") == 0) {
        seed = strtoull(words[2], NULL, 10);
        return fuzz(strtoull(words[3], NULL, 10));
    }
    if (count > 7 && strcmp(words[1], "send") == 0) {
        return send_files(count - 2, words + 2);
    }
    fprintf(stderr, "camera cases | fuzz SEED COUNT | send ADDRESS PORT DEVICE TOKEN SALT FILE...\n");
    return 2;
}
