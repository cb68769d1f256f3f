/*
 * A connection of the load's: TCP, TLS, the request out and the answer in.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/check.h"
#include "base/strv.h"
#include "tests/bench/load_int.h"

void client_close(struct client *c)
{
    /* A reset, or the ports would run out: thousands a second would wait for a minute. */
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (c->state == CLIENT_NONE)
        return;
    event_free(c->readable);
    event_free(c->writable);
    tls_stream_free(c->tls);
    c->tls = NULL;
    SSL_free(c->ssl);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(c->fd);
    c->state = CLIENT_NONE;
}

/* True where it was only early. */
static bool must_wait(struct client *c, int rc)
{
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return true;
    case SSL_ERROR_WANT_WRITE:
        event_add(c->writable, NULL);
        return true;
    default:
        ERR_clear_error();
        return false;
    }
}

/* How many bytes were taken of those; 0: it has to wait; -1: it failed. */
static int write_some(struct client *c, const char *from, size_t size)
{
    struct fail fail;
    size_t n = 0;
    if (c->tls == NULL) {
        int rc = SSL_write(c->ssl, from, (int)size);
        return rc > 0 ? rc : must_wait(c, rc) ? 0 : -1;
    }
    enum rc rc = tls_stream_write(c->tls, c->fd, from, size, &n, &fail);
    if (rc == RC_AGAIN)
        event_add(c->writable, NULL);
    return rc == RC_OK || rc == RC_AGAIN ? (int)n : -1;
}

/* The same of bytes that have come. */
static int read_some(struct client *c, char *to, size_t size)
{
    struct fail fail;
    size_t n = 0;
    if (c->tls == NULL) {
        int rc = SSL_read(c->ssl, to, (int)size);
        return rc > 0 ? rc : must_wait(c, rc) ? 0 : -1;
    }
    enum rc rc = tls_stream_read(c->tls, c->fd, to, size, &n, &fail);
    return rc == RC_OK ? (int)n : rc == RC_AGAIN ? 0 : -1;
}

static void run_send(struct client *c)
{
    struct strv all = buf_view(&c->load->options.request);
    while (c->sent < all.n) {
        int n = write_some(c, all.p + c->sent, all.n - c->sent);
        if (n < 0)
            client_failed(c, "writing a request");
        if (n <= 0)
            return;
        c->sent += (size_t)n;
    }
    c->state = CLIENT_READ;
}

static void run_read(struct client *c)
{
    static char bytes[READ_BYTES];
    struct load *l = c->load;
    for (;;) {
        int n = read_some(c, bytes, sizeof(bytes));
        if (l->options.mode == MODE_HANDSHAKES && c->state == CLIENT_REST) {
            client_close(c);
            client_connect(c);
            return;
        }
        if (n < 0)
            client_failed(c, "reading an answer");
        if (n <= 0)
            return;
        if (c->state != CLIENT_READ) {
            client_failed(c, "resting");
            return;
        }
        bool waited = !c->reader.in_body;
        enum read_result result = reader_feed(&c->reader, bytes, (size_t)n);
        if (waited && c->reader.in_body)
            client_first_byte(c);
        if (result == READ_BAD) {
            client_failed(c, "an answer");
            return;
        }
        if (result == READ_DONE) {
            client_answered(c);
            return;
        }
    }
}

void client_run(struct client *c)
{
    int rc, error = 0;
    socklen_t size = sizeof(error);
    switch (c->state) {
    case CLIENT_NONE:
        break;
    case CLIENT_CONNECT:
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
            errno = error;
            client_failed(c, "connecting");
            break;
        }
        c->state = CLIENT_HANDSHAKE;
        __attribute__((fallthrough));
    case CLIENT_HANDSHAKE:
        rc = SSL_connect(c->ssl);
        if (rc == 1) {
            if (c->load->options.mode == MODE_CLOSED)
                c->tls = load_tls_take(c->ssl);
            client_opened(c);
        } else if (!must_wait(c, rc))
            client_failed(c, "a handshake");
        break;
    case CLIENT_SEND:
        run_send(c);
        break;
    case CLIENT_TICKET:
    case CLIENT_REST:
    case CLIENT_READ:
        run_read(c);
        break;
    }
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    client_run(arg);
}

void client_connect(struct client *c)
{
    struct load *l = c->load;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)l->options.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->due_ns = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->ssl = SSL_new(l->tls);
    if (c->fd < 0 || c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
        SSL_set_tlsext_host_name(c->ssl, l->options.host) != 1) {
        perror("load: a connection");
        exit(EXIT_FAILURE);
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    SSL_set_app_data(c->ssl, c);
    if (l->session != NULL) { /* a copy: OpenSSL marks a session of TLS 1.3 as used */
        SSL_SESSION *copy = SSL_SESSION_dup(l->session);
        ASSERT(copy != NULL && SSL_set_session(c->ssl, copy) == 1);
        SSL_SESSION_free(copy);
    }
    c->readable = event_new(l->base, c->fd, EV_READ | EV_PERSIST, on_ready, c);
    c->writable = event_new(l->base, c->fd, EV_WRITE, on_ready, c);
    ASSERT(c->readable != NULL && c->writable != NULL);
    c->state = CLIENT_CONNECT;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
        perror("load: connect");
        exit(EXIT_FAILURE);
    }
    event_add(c->readable, NULL);
    event_add(c->writable, NULL);
}
