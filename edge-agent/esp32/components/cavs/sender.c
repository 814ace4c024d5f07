#include "cavs/sender.h"

#include <stdio.h>
#include <string.h>

/* Room for a request's head: its longest values are a token and two ids. */
enum { REQUEST_MOST = 768 };

void cavs_sender_close(cavs_sender *sender) {
    sender->link.close(sender->link.context);
    sender->connected = false;
}

/* Appends to the head of a request; false where it does not fit. */
static bool add(char *head, size_t *used, const char *before, const char *value, const char *after) {
    int length = snprintf(head + *used, REQUEST_MOST - *used, "%s%s%s", before, value, after);
    if (length < 0 || (size_t)length >= REQUEST_MOST - *used) {
        return false;
    }
    *used += (size_t)length;
    return true;
}

static bool add_time(char *head, size_t *used, const char *before, cavs_time moment) {
    char text[24];
    return !moment.known || cavs_time_text(moment, text, sizeof text) == 0 || add(head, used, before, text, "\r\n");
}

/* The head of the request; 0 where it does not fit. */
static size_t request_head(const cavs_sender *sender, const cavs_frame *frame, bool web, size_t length, char *head) {
    char digits[24];
    size_t used = 0;
    snprintf(digits, sizeof digits, "%lu", (unsigned long)length);
    bool fits = add(head, &used, "POST ", web ? "/cavs.v1.CaptureService/SubmitFrame" : "/v1/capture", " HTTP/1.1\r\n") &&
                add(head, &used, "Host: ", sender->host, "\r\n") &&
                add(head, &used, "Content-Type: ", web ? "application/grpc-web+proto" : "image/jpeg", "\r\n") &&
                add(head, &used, "Content-Length: ", digits, "\r\n");
    if (sender->token[0] != 0) {
        fits = fits && add(head, &used, "Authorization: Bearer ", sender->token, "\r\n");
    }
    if (web) {
        fits = fits && add(head, &used, "X-Grpc-Web: 1", "", "\r\n");
    } else {
        fits = fits && add(head, &used, "Idempotency-Key: ", frame->frame_id, "\r\n") &&
               add_time(head, &used, "X-Captured-At: ", frame->captured_at) && add_time(head, &used, "X-Sent-At: ", frame->sent_at);
        if (sender->device_id[0] != 0) {
            fits = fits && add(head, &used, "X-Device-Id: ", sender->device_id, "\r\n");
        }
    }
    return fits && add(head, &used, "", "", "\r\n") ? used : 0;
}

/* Writes a request and reads its answer; whether any byte of one came. */
static bool exchange(cavs_sender *sender, const cavs_picture *picture, bool web, cavs_answer *answer) {
    cavs_link *link = &sender->link;
    cavs_answer_begin(answer, web);
    /* The times are taken now: a handshake may have taken seconds. */
    cavs_now now = sender->now();
    cavs_frame frame = {
        .device_id = sender->device_id,
        .frame_id = picture->frame_id,
        .captured_at = cavs_time_before(now.wall, now.monotonic - picture->captured),
        .sent_at = now.wall,
        .image = picture->image,
        .image_length = picture->image_length,
    };
    uint8_t before[CAVS_HEAD_MOST];
    size_t before_length = web ? cavs_frame_head(&frame, before, sizeof before) : 0;
    char head[REQUEST_MOST];
    size_t head_length = request_head(sender, &frame, web, before_length + frame.image_length, head);
    if (head_length == 0 || (web && before_length == 0)) {
        return false;
    }
    bool written = link->write(link->context, (const uint8_t *)head, head_length) &&
                   (before_length == 0 || link->write(link->context, before, before_length)) &&
                   link->write(link->context, frame.image, frame.image_length);
    /* What was refused early may not have been read to its end: the answer counts all the same. */
    (void)written;
    uint8_t piece[256];
    bool any = false;
    for (;;) {
        long count = link->read(link->context, piece, sizeof piece);
        if (count <= 0) {
            if (count == 0) {
                cavs_answer_eof(answer);
            }
            return any;
        }
        any = true;
        if (!cavs_answer_feed(answer, piece, (size_t)count)) {
            return true;
        }
    }
}

/* Sends on one path; `reached` tells whether there was a connection. */
static cavs_result send_on(cavs_sender *sender, const cavs_picture *picture, bool web, bool *reached) {
    cavs_answer answer;
    cavs_answer_begin(&answer, web);
    bool reused = sender->connected;
    for (;;) {
        if (!sender->connected) {
            sender->connected = sender->link.open(sender->link.context);
        }
        if (!sender->connected) {
            cavs_sender_close(sender);
            break;
        }
        *reached = true;
        bool any = exchange(sender, picture, web, &answer);
        if (!cavs_answer_keeps_alive(&answer)) {
            cavs_sender_close(sender);
        }
        if (any || !reused) {
            break;
        }
        reused = false; /* It was closed while it was idle: once more on a new one. */
    }
    return cavs_answer_result(&answer);
}

cavs_result cavs_send(cavs_sender *sender, const cavs_picture *picture) {
    bool reached = false;
    if (sender->plain_left == 0) {
        cavs_result result = send_on(sender, picture, true, &reached);
        if (!reached) {
            return result; /* No network, or no proxy: that is no fault of the path. */
        }
        bool understood = result.grpc_status >= 0 || (result.http_status != 0 && result.next != CAVS_SAME_FRAME);
        sender->web_failures = understood ? 0 : (uint8_t)(sender->web_failures + 1);
        if (result.next != CAVS_OTHER_PATH && sender->web_failures < CAVS_WEB_FAILURES) {
            return result;
        }
        sender->web_failures = 0;
        sender->plain_left = CAVS_PLAIN_FRAMES;
    }
    sender->plain_left--;
    cavs_result result = send_on(sender, picture, false, &reached);
    if (result.next == CAVS_OTHER_PATH) {
        /* Neither is known here: the address is wrong, or something stands between. */
        result.next = CAVS_ASK_A_PERSON;
        sender->plain_left = 0;
    }
    return result;
}
