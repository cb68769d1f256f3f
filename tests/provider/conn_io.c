/*
 * Bytes of a connection in and out, in TLS or clear, and its timer.
 */
#include <errno.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "tests/provider/conn_int.h"

void arm_timer(struct conn *c, uint64_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
                         .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(c->timer, &tv);
}

void set_reading(struct conn *c, bool on)
{
    if (on == c->reading)
        return;
    c->reading = on;
    if (on)
        event_add(c->readable, NULL);
    else
        event_del(c->readable);
}

enum io tls_result(struct conn *c, int rc)
{
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return IO_BLOCKED;
    case SSL_ERROR_WANT_WRITE:
        event_add(c->writable, NULL);
        return IO_BLOCKED;
    default:
        ERR_clear_error();
        return IO_END;
    }
}

enum io read_some(struct conn *c, size_t most, size_t *n)
{
    if (most > READ_BYTES)
        most = READ_BYTES;
    if (buf_reserve(&c->in, most) != RC_OK)
        return IO_BLOCKED;
    if (c->ssl != NULL) {
        int rc = SSL_read(c->ssl, buf_tail(&c->in), (int)most);
        if (rc <= 0)
            return tls_result(c, rc);
        *n = (size_t)rc;
    } else {
        ssize_t rc = recv(c->fd, buf_tail(&c->in), most, 0);
        if (rc <= 0)
            return rc < 0 && (errno == EAGAIN || errno == EINTR) ? IO_BLOCKED : IO_END;
        *n = (size_t)rc;
    }
    buf_commit(&c->in, *n);
    return IO_DONE;
}

enum io write_some(struct conn *c, struct strv bytes, size_t *n)
{
    if (c->ssl != NULL) {
        int rc = SSL_write(c->ssl, bytes.p, (int)bytes.n);
        if (rc <= 0)
            return tls_result(c, rc);
        *n = (size_t)rc;
        return IO_DONE;
    }
    ssize_t rc = send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (rc < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return IO_END;
        event_add(c->writable, NULL);
        return IO_BLOCKED;
    }
    *n = (size_t)rc;
    return IO_DONE;
}
