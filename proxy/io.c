#include "proxy/io.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "proxy/memory.h"
#include "proxy/tls_stream.h"
#include "proxy/tls_takeover.h"

static void arm(struct io *io)
{
    bool reading = io->want_read || io->write_needs_read;
    bool writing = io->want_write || (io->read_needs_write && io->want_read);

    if (io->inner_ops) {
        io->inner_ops->wants(io->inner);
        return;
    }
    if (io->fd < 0)
        return;
    if (reading != io->reading) {
        io->reading = reading;
        if (reading)
            event_add(&io->read_event, NULL);
        else
            event_del(&io->read_event);
    }
    if (writing != io->writing) {
        io->writing = writing;
        if (writing)
            event_add(&io->write_event, NULL);
        else
            event_del(&io->write_event);
    }
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct io *io = arg;
    unsigned ready = 0;

    (void)fd;
    if (what & EV_READ) {
        ready |= io->want_read ? IO_READABLE : 0;
        ready |= io->write_needs_read ? IO_WRITABLE : 0;
    }
    if (what & EV_WRITE) {
        ready |= io->want_write ? IO_WRITABLE : 0;
        ready |= io->read_needs_write ? IO_READABLE : 0;
    }
    if (ready)
        io->on_ready(io->arg, ready);
}

/* ---- the socket under TLS (BIO_meth_new(3)) -------------------------------------------------- */

static BIO_METHOD *socket_method;
static pthread_once_t socket_once = PTHREAD_ONCE_INIT;

static void drop_ahead(struct io *io)
{
    free(io->ahead.bytes);
    io->ahead = (struct io_ahead){.bytes = NULL};
}

static ssize_t take_ahead(struct io *io, char *to, size_t size)
{
    struct io_ahead *a = &io->ahead;
    size_t n = a->n - a->at < size ? a->n - a->at : size;

    memcpy(to, a->bytes + a->at, n);
    a->at += n;
    if (a->at == a->n)
        drop_ahead(io);
    return (ssize_t)n;
}

static ssize_t receive(const struct io *io, char *to, size_t size)
{
    ssize_t n;

    do
        n = recv(io->fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

/*
 * While a connection may yet be taken over OpenSSL asks for the head of each record and then for
 * its rest, so that it never has what it does not open.  What it asks for comes from here: one read
 * for all that has come, and none to see that no more has.
 */
static ssize_t receive_ahead(struct io *io, char *to, size_t size)
{
    static _Thread_local char come[IO_AHEAD_BYTES];
    ssize_t n;

    if (io->ahead.bytes)
        return take_ahead(io, to, size);
    if (size >= sizeof(come))
        return receive(io, to, size);
    if (io->dry) {
        errno = EAGAIN;
        return -1;
    }
    n = receive(io, come, sizeof(come));
    if (n <= 0)
        return n;
    io->dry = (size_t)n < sizeof(come);
    if ((size_t)n <= size) {
        memcpy(to, come, (size_t)n);
        return n;
    }
    memcpy(to, come, size);
    io->ahead.n = (size_t)n - size;
    io->ahead.bytes = xmalloc(io->ahead.n);
    memcpy(io->ahead.bytes, come + size, io->ahead.n);
    return (ssize_t)size;
}

static int socket_read(BIO *bio, char *to, int size)
{
    struct io *io = BIO_get_data(bio);
    ssize_t n = io->takeover || io->ahead.bytes ? receive_ahead(io, to, (size_t)size)
                                                : receive(io, to, (size_t)size);

    BIO_clear_retry_flags(bio);
    if (n < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    else if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    else if (n > 0 && io->takeover)
        tls_takeover_read(io->takeover, to, (size_t)n);
    return (int)n;
}

/* Records of one long text wait for each other in the kernel: it builds segments as large as it
 * can, instead of one for each record.  The last one sends them all, as a full socket does. */
static int socket_write(BIO *bio, const char *from, int size)
{
    const struct io *io = BIO_get_data(bio);
    ssize_t n;

    do
        n = send(io->fd, from, (size_t)size, MSG_NOSIGNAL | (io->more_follows ? MSG_MORE : 0));
    while (n < 0 && errno == EINTR);
    BIO_clear_retry_flags(bio);
    if (n < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    else if (n > 0 && io->takeover)
        tls_takeover_wrote(io->takeover, from, (size_t)n);
    return (int)n;
}

static long socket_control(BIO *bio, int what, long number, void *p)
{
    (void)number;
    (void)p;
    switch (what) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static void make_socket_method(void)
{
    socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tollgate socket");
    ASSERT(socket_method && BIO_meth_set_read(socket_method, socket_read) == 1 &&
           BIO_meth_set_write(socket_method, socket_write) == 1 &&
           BIO_meth_set_ctrl(socket_method, socket_control) == 1);
}

/* The SSL owns it; it reads and writes io's descriptor. */
static void put_socket_under(SSL *ssl, struct io *io)
{
    BIO *bio;

    pthread_once(&socket_once, make_socket_method);
    bio = BIO_new(socket_method);
    ASSERT(bio);
    BIO_set_data(bio, io);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
}

/* TLS takes so much from now on. */
static void account(struct io *io, uint32_t bytes)
{
    if (io->held == bytes)
        return;
    held_add(bytes);
    held_sub(io->held);
    io->held = bytes;
}

/* OpenSSL's buffers are taken with the first byte that goes through them. */
static void account_ssl(struct io *io)
{
    account(io, MEMORY_TLS_BYTES + MEMORY_TLS_BUFFERS_BYTES);
}

/* ---- opened, moved, closed -------------------------------------------------------------------- */

void io_open(struct io *io, struct event_base *base, evutil_socket_t fd, SSL *ssl,
             io_ready_fn *on_ready, void *arg)
{
    *io = (struct io){.fd = fd, .ssl = ssl, .base = base, .on_ready = on_ready, .arg = arg};
    event_assign(&io->read_event, base, fd, EV_READ | EV_PERSIST, on_event, io);
    event_assign(&io->write_event, base, fd, EV_WRITE | EV_PERSIST, on_event, io);
    if (ssl) {
        put_socket_under(ssl, io);
        io->takeover = tls_takeover_new(ssl);
        account_ssl(io);
    }
}

void io_move(struct io *to, struct io *from, io_ready_fn *on_ready, void *arg)
{
    ASSERT(from->fd >= 0 && !from->inner_ops);
    event_del(&from->read_event);
    event_del(&from->write_event);
    *to = (struct io){.fd = from->fd,
                      .ssl = from->ssl,
                      .takeover = from->takeover,
                      .tls = from->tls,
                      .ahead = from->ahead,
                      .held = from->held,
                      .base = from->base,
                      .on_ready = on_ready,
                      .arg = arg,
                      .broken = from->broken};
    if (to->ssl)
        BIO_set_data(SSL_get_rbio(to->ssl), to);
    event_assign(&to->read_event, to->base, to->fd, EV_READ | EV_PERSIST, on_event, to);
    event_assign(&to->write_event, to->base, to->fd, EV_WRITE | EV_PERSIST, on_event, to);
    from->fd = -1;
    from->ssl = NULL;
    from->takeover = NULL;
    from->tls = NULL;
    from->ahead = (struct io_ahead){.bytes = NULL};
    from->held = 0;
    from->reading = from->writing = from->want_read = from->want_write = false;
}

void io_open_inner(struct io *io, const struct io_inner_ops *ops, void *inner,
                   io_ready_fn *on_ready, void *arg)
{
    *io = (struct io){
        .fd = -1, .inner_ops = ops, .inner = inner, .on_ready = on_ready, .arg = arg};
}

/* Our end of the TLS connection. */
static void say_goodbye(struct io *io)
{
    if (io->broken)
        return;
    if (io->tls) {
        tls_stream_shutdown(io->tls, io->fd);
    } else if (io->ssl && SSL_is_init_finished(io->ssl)) {
        ERR_clear_error();
        SSL_shutdown(io->ssl);
        ERR_clear_error();
    }
}

/* OpenSSL has done its part.  That the connection goes on without it must not spoil its session. */
static void free_ssl(struct io *io)
{
    SSL_set_shutdown(io->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(io->ssl);
    io->ssl = NULL;
    ERR_clear_error();
    account(io, MEMORY_TLS_STREAM_BYTES);
}

void io_close(struct io *io)
{
    if (io->inner_ops) {
        const struct io_inner_ops *ops = io->inner_ops;

        io->inner_ops = NULL;
        ops->close(io->inner);
        io->inner = NULL;
        return;
    }
    if (io->fd < 0)
        return;
    event_del(&io->read_event);
    event_del(&io->write_event);
    say_goodbye(io);
    tls_takeover_free(io->takeover);
    io->takeover = NULL;
    tls_stream_free(io->tls);
    io->tls = NULL;
    drop_ahead(io);
    SSL_free(io->ssl);
    ERR_clear_error();
    account(io, 0);
    close(io->fd);
    io->fd = -1;
    io->ssl = NULL;
    io->reading = io->writing = false;
}

void io_want_read(struct io *io, bool want)
{
    if (io->want_read == want)
        return;
    io->want_read = want;
    arm(io);
}

static enum rc failed(struct io *io, enum rc rc, int sys, const char *doing)
{
    io->broken = true;
    io->fail = (struct fail){.rc = rc, .sys = sys, .tls = ERR_peek_error(), .doing = doing};
    ERR_clear_error();
    return rc;
}

/* What a non-positive result of an SSL call means; sets the flag of the side it waits for. */
static enum rc ssl_result(struct io *io, int result, bool is_read, const char *doing)
{
    int sys = errno;

    switch (SSL_get_error(io->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        if (!is_read)
            io->write_needs_read = true;
        return RC_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        if (is_read)
            io->read_needs_write = true;
        return RC_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return RC_EOF;
    case SSL_ERROR_SYSCALL:
        return failed(io, sys ? RC_IO : RC_TLS, sys, doing);
    default:
        return failed(io, RC_TLS, 0, doing);
    }
}

static enum rc read_plain(struct io *io, char *to, size_t size, size_t *got)
{
    ssize_t n;

    do
        n = recv(io->fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = (size_t)n;
        return RC_OK;
    }
    if (n == 0)
        return RC_EOF;
    if (errno == EAGAIN)
        return RC_AGAIN;
    return failed(io, RC_IO, errno, "read");
}

/* Of a stream: what went wrong is in io->fail, but for what was being done. */
static enum rc stream_result(struct io *io, enum rc rc, const char *doing)
{
    if (rc == RC_IO || rc == RC_TLS) {
        io->broken = true;
        io->fail.doing = doing;
        ERR_clear_error();
    }
    return rc;
}

static enum rc read_stream(struct io *io, char *to, size_t size, size_t *got)
{
    if (io->ssl)
        free_ssl(io);
    return stream_result(io, tls_stream_read(io->tls, io->fd, to, size, got, &io->fail), "read");
}

/* Data was read: can the connection go on without OpenSSL? */
static void take_over(struct io *io)
{
    if (io->want_write || tls_takeover_try(io->takeover, io->ssl, &io->tls) == TAKEOVER_LATER)
        return;
    if (io->tls && io->ahead.bytes) {
        tls_stream_give(io->tls, io->ahead.bytes + io->ahead.at, io->ahead.n - io->ahead.at);
        drop_ahead(io);
    }
    tls_takeover_free(io->takeover);
    io->takeover = NULL;
}

static enum rc shake_hands(struct io *io)
{
    int result;
    enum rc rc;

    if (!io->ssl || io->tls)
        return RC_OK;
    errno = 0;
    io->read_needs_write = false;
    result = io->takeover ? tls_takeover_shake(io->takeover, io->ssl) : SSL_do_handshake(io->ssl);
    if (result == 1) {
        if (io->takeover && !tls_takeover_has_begun(io->takeover))
            tls_takeover_begin(io->takeover, io->ssl);
        io->want_write = false;
        arm(io);
        return RC_OK;
    }
    rc = ssl_result(io, result, true, "finish the TLS handshake");
    arm(io);
    return rc == RC_EOF ? failed(io, RC_TLS, 0, "finish the TLS handshake") : rc;
}

static enum rc read_ssl(struct io *io, char *to, size_t size, size_t *got)
{
    enum rc rc;

    if (io->takeover && !tls_takeover_has_begun(io->takeover)) {
        rc = shake_hands(io); /* by itself, so that it is known which records were the first */
        if (rc != RC_OK)
            return rc;
    }
    account_ssl(io);
    errno = 0;
    io->read_needs_write = false;
    if (SSL_read_ex(io->ssl, to, size, got) == 1) {
        if (io->takeover)
            take_over(io);
        if (io->writing != (io->want_write || io->read_needs_write))
            arm(io);
        return RC_OK;
    }
    rc = ssl_result(io, 0, true, "read");
    arm(io);
    return rc;
}

enum rc io_read(struct io *io, char *to, size_t size, size_t *got)
{
    ASSERT(io_is_open(io) && size > 0);
    io->dry = false;
    if (io->tls)
        return read_stream(io, to, size, got);
    if (io->ssl)
        return read_ssl(io, to, size, got);
    if (io->inner_ops)
        return io->inner_ops->read(io->inner, to, size, got);
    return read_plain(io, to, size, got);
}

bool io_has_buffered(const struct io *io)
{
    if (io->tls)
        return tls_stream_has_buffered(io->tls);
    return io->ahead.bytes || (io->ssl && SSL_has_pending(io->ssl));
}

static enum rc write_plain(struct io *io, const char *from, size_t size, size_t *put)
{
    while (*put < size) {
        ssize_t n = send(io->fd, from + *put, size - *put, MSG_NOSIGNAL);

        if (n > 0) {
            *put += (size_t)n;
        } else if (errno == EAGAIN) {
            return RC_AGAIN;
        } else if (errno != EINTR) {
            return failed(io, RC_IO, errno, "write");
        }
    }
    return RC_OK;
}

static enum rc write_tls(struct io *io, const char *from, size_t size, size_t *put)
{
    io->write_needs_read = false;
    account_ssl(io);
    while (*put < size) {
        size_t n = 0;

        errno = 0;
        io->more_follows = size - *put > SSL3_RT_MAX_PLAIN_LENGTH;
        if (SSL_write_ex(io->ssl, from + *put, size - *put, &n) == 1) {
            *put += n;
        } else {
            enum rc rc = ssl_result(io, 0, false, "write");

            io->more_follows = false;
            return rc == RC_EOF ? failed(io, RC_TLS, EPIPE, "write") : rc;
        }
    }
    return RC_OK;
}

static enum rc write_stream(struct io *io, const char *from, size_t size, size_t *put)
{
    if (io->ssl)
        free_ssl(io);
    return stream_result(io, tls_stream_write(io->tls, io->fd, from, size, put, &io->fail), "write");
}

enum rc io_write(struct io *io, const char *from, size_t size, size_t *put)
{
    enum rc rc;

    ASSERT(io_is_open(io));
    *put = 0;
    if (io->inner_ops)
        rc = io->inner_ops->write(io->inner, from, size, put);
    else if (io->tls)
        rc = write_stream(io, from, size, put);
    else
        rc = io->ssl ? write_tls(io, from, size, put) : write_plain(io, from, size, put);
    io->want_write = rc == RC_AGAIN && !io->write_needs_read;
    arm(io);
    return rc;
}

void io_write_done(struct io *io)
{
    io->want_write = false;
    io->write_needs_read = false;
    arm(io);
}

void io_save_memory(struct io *io, bool save)
{
    if (!io->ssl || io->tls)
        return;
    if (save)
        SSL_set_mode(io->ssl, SSL_MODE_RELEASE_BUFFERS);
    else
        SSL_clear_mode(io->ssl, SSL_MODE_RELEASE_BUFFERS);
}

void io_free_buffers(struct io *io)
{
    if (io->tls)
        tls_stream_rest(io->tls);
    /* Refused where bytes are in them: then they stay. */
    if (io->ssl && !io->tls && SSL_is_init_finished(io->ssl) && !SSL_has_pending(io->ssl) &&
        SSL_free_buffers(io->ssl) == 1)
        account(io, MEMORY_TLS_BYTES);
}

enum rc io_handshake(struct io *io)
{
    io->dry = false;
    return shake_hands(io);
}

void io_shutdown_write(struct io *io)
{
    if (io->fd < 0)
        return;
    say_goodbye(io);
    shutdown(io->fd, SHUT_WR);
}
