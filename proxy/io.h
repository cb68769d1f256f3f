/*
 * io.h - one non-blocking byte stream: a socket, plain or under TLS, or one that another
 * connection carries (a stream of HTTP/2).
 *
 * Reads and writes are tried at once; events only say when to try again.  The read
 * event is persistent, the write event is armed only while a write would block:
 * both were measured to matter (docs/design.md, "Speed").  Under TLS a read may
 * want the socket writable and the other way round; that is hidden here.
 *
 * The callback only wakes somebody.  It may not free the stream.
 */
#ifndef PROXY_IO_H
#define PROXY_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "base/rc.h"

enum io_ready {
    IO_READABLE = 1,
    IO_WRITABLE = 2,
};

typedef void io_ready_fn(void *arg, unsigned ready);

/*
 * A stream inside another connection.  read and write mean what io_read and io_write say.
 * wants: io->want_read or io->want_write has changed; it must not call on_ready itself.
 * close: nobody uses the stream again.
 */
struct io_inner_ops {
    enum rc (*read)(void *inner, char *to, size_t size, size_t *got);
    enum rc (*write)(void *inner, const char *from, size_t size, size_t *put);
    void (*wants)(void *inner);
    void (*close)(void *inner);
};

enum { IO_AHEAD_BYTES = 4096 };

struct tls_stream;
struct tls_takeover;

/* Bytes that wait, at most IO_AHEAD_BYTES; counted with OpenSSL's buffers (memory.h). */
struct io_ahead {
    char *bytes; /* NULL: none */
    size_t n, at;
};

struct io {
    evutil_socket_t fd; /* -1: closed, or no socket of its own */
    SSL *ssl;           /* NULL: plain, or not needed any more */
    struct tls_takeover *takeover; /* NULL: not watched, or over */
    struct tls_stream *tls;        /* NULL: plain, or OpenSSL's */
    struct io_ahead ahead;         /* read of a socket whose takeover is open, not asked for yet */
    const struct io_inner_ops *inner_ops; /* NULL: a socket, or closed */
    void *inner;
    uint32_t held;                 /* what TLS takes, as accounted for (memory.h) */
    struct event_base *base;
    struct event read_event;
    struct event write_event;
    io_ready_fn *on_ready;
    void *arg;
    bool reading;         /* read event is armed */
    bool writing;         /* write event is armed */
    bool want_read;       /* the owner wants bytes */
    bool want_write;      /* the owner has bytes that would block */
    bool read_needs_write; /* TLS: the last read waits for the socket to be writable */
    bool write_needs_read; /* TLS: the last write waits for the socket to be readable */
    bool broken;          /* a fatal TLS or socket error: no close_notify is sent */
    bool dry;             /* the socket had less than it was asked for, in this call */
    bool more_follows;    /* what is written now is followed by more at once */
    struct fail fail;     /* of the last RC_IO or RC_TLS */
};

/*
 * Takes fd and ssl (may be NULL); starts without wanting to read.  ssl may be asked until the read
 * or write after the first data that was read: by then it may be gone.
 */
void io_open(struct io *io, struct event_base *base, evutil_socket_t fd, SSL *ssl,
             io_ready_fn *on_ready, void *arg);
/* The same over another connection's stream; whoever carries it tells on_ready. */
void io_open_inner(struct io *io, const struct io_inner_ops *ops, void *inner,
                   io_ready_fn *on_ready, void *arg);
/* The socket of from, and its TLS, are to's from now on; from is as if it had been closed. */
void io_move(struct io *to, struct io *from, io_ready_fn *on_ready, void *arg);
/* Frees SSL and closes the socket, after a close_notify where the stream is healthy. */
void io_close(struct io *io);
static inline bool io_is_open(const struct io *io)
{
    return io->fd >= 0 || io->inner_ops != NULL;
}

static inline bool io_is_tls(const struct io *io)
{
    return io->ssl || io->tls;
}

/* Whether readiness to read is told. Stopping is how back-pressure is made. */
void io_want_read(struct io *io, bool want);

/*
 * Reads at most size bytes.  RC_OK: *got of them, at least one; RC_AGAIN; RC_EOF: the
 * peer ended in good order (TLS: close_notify); RC_IO, RC_TLS: see io->fail (a TCP end
 * without close_notify is RC_TLS).
 */
enum rc io_read(struct io *io, char *to, size_t size, size_t *got) RC_MUST;
/* True where bytes are already here that no socket event will tell of. */
bool io_has_buffered(const struct io *io);

/*
 * Writes as much as goes.  RC_OK: all of it; RC_AGAIN: *put of it, the rest would
 * block and IO_WRITABLE will be told; RC_IO, RC_TLS.  *put is set in every case.
 */
enum rc io_write(struct io *io, const char *from, size_t size, size_t *put) RC_MUST;
/* The owner has nothing more to write: no IO_WRITABLE. */
void io_write_done(struct io *io);

/*
 * Memory against speed: taking and giving back TLS buffers (two of 17 KiB) for each read
 * and write costs some 5 % of a small request, holding them some 34 KiB a connection.
 * Streams, which rest between events, save memory; others do not.
 */
void io_save_memory(struct io *io, bool save);
/* For a connection that rests: its buffers and ciphers go, until it is used again. */
void io_free_buffers(struct io *io);

/* One step of a TLS handshake: RC_OK when complete (or plain), RC_AGAIN, RC_IO, RC_TLS. */
enum rc io_handshake(struct io *io) RC_MUST;
/* Says that we send no more: close_notify and FIN. Reading goes on. */
void io_shutdown_write(struct io *io);

#endif
