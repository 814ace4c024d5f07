#include "link.h"

#include <string.h>

#include "esp_log.h"
#include "esp_task_wdt.h"
#include "esp_timer.h"
#include "esp_tls.h"

static const char *const TAG = "link";

/* Longest wait of one call of the network, in milliseconds: below the watchdog's. */
enum { CALL_MS = 10000 };
/* Longest wait for an answer, in microseconds; and for a picture to be written: the proxy gives up after 12 s. */
enum { ANSWER_US = 20 * 1000 * 1000, WRITE_US = 15 * 1000 * 1000 };
/* Most bytes at once: one record of TLS. */
enum { PIECE = 4096 };

static struct {
    const settings *settings;
    esp_tls_t *tls;
} proxy;

static void close_link(void *unused) {
    (void)unused;
    if (proxy.tls != NULL) {
        esp_tls_conn_destroy(proxy.tls);
        proxy.tls = NULL;
    }
}

static const unsigned char *bytes_of(const char *pem) {
    return (const unsigned char *)pem;
}

/* PEM is counted with its NUL. */
static unsigned int size_of(const char *pem) {
    return pem == NULL ? 0 : (unsigned int)strlen(pem) + 1;
}

static bool open_link(void *unused) {
    close_link(unused);
    const settings *s = proxy.settings;
    static const char *protocols[] = {"http/1.1", NULL};
    const esp_tls_cfg_t config = {
        .alpn_protos = protocols,
        .cacert_buf = bytes_of(s->authority),
        .cacert_bytes = size_of(s->authority),
        .clientcert_buf = bytes_of(s->certificate),
        .clientcert_bytes = size_of(s->certificate),
        .clientkey_buf = bytes_of(s->key),
        .clientkey_bytes = size_of(s->key),
        .timeout_ms = CALL_MS,
    };
    esp_task_wdt_reset();
    proxy.tls = esp_tls_init();
    int opened = proxy.tls == NULL ? -1 : esp_tls_conn_new_sync(s->host, (int)strlen(s->host), s->port, &config, proxy.tls);
    esp_task_wdt_reset();
    if (opened != 1) {
        ESP_LOGW(TAG, "no connection to %s:%u", s->host, s->port);
        close_link(unused);
    }
    return opened == 1;
}

static bool write_link(void *unused, const uint8_t *bytes, size_t length) {
    (void)unused;
    int64_t end = esp_timer_get_time() + WRITE_US;
    while (length > 0 && proxy.tls != NULL) {
        ssize_t written = esp_tls_conn_write(proxy.tls, bytes, length < PIECE ? length : PIECE);
        esp_task_wdt_reset();
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        } else if (written != ESP_TLS_ERR_SSL_WANT_READ && written != ESP_TLS_ERR_SSL_WANT_WRITE) {
            return false;
        }
        if (esp_timer_get_time() > end) {
            return false;
        }
    }
    return length == 0;
}

static long read_link(void *unused, uint8_t *bytes, size_t length) {
    (void)unused;
    int64_t end = esp_timer_get_time() + ANSWER_US;
    while (proxy.tls != NULL && esp_timer_get_time() < end) {
        ssize_t count = esp_tls_conn_read(proxy.tls, bytes, length);
        esp_task_wdt_reset();
        if (count != ESP_TLS_ERR_SSL_WANT_READ && count != ESP_TLS_ERR_SSL_WANT_WRITE) {
            return count < 0 ? -1 : (long)count;
        }
    }
    return -1;
}

cavs_link link_to_proxy(const settings *whose) {
    proxy.settings = whose;
    return (cavs_link){.open = open_link, .write = write_link, .read = read_link, .close = close_link};
}
