/*
 * conn.h - a client's connection: a stream, what it has sent and not been read, one exchange.
 *
 * Requests on one connection are answered in order, one exchange at a time; bytes of
 * the next wait in `in`.  An idle connection holds no buffer.
 */
#ifndef PROXY_CONN_H
#define PROXY_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "proxy/deadline.h"
#include "proxy/io.h"
#include "proxy/worker.h"

struct h2;
struct peer;
struct xchg;

enum {
    CONN_MAGIC = 0x636f6e6e,
    CONN_AHEAD_BYTES = 64 << 10, /* while a request runs no more is read than one read beyond this */
    CONN_CROWD = 128,       /* a worker with more open ones gives back at once what one that rests does not need */
    CONN_KEEP_BYTES = 4096, /* an empty buffer up to here is kept until the next tick */
};

struct conn {
    uint32_t magic;
    struct worker *worker;
    struct io io;
    struct buf in;      /* received, not yet read by an exchange */
    struct xchg *xchg;  /* the one that runs, NULL while idle */
    struct h2 *h2;      /* the client speaks HTTP/2: its streams are conns of their own */
    bool inner;         /* such a stream: one request, no socket */
    struct peer *peer;  /* who the client's certificate says it is; NULL: it has shown none */
    uint64_t address;   /* whose it is (addresses.h) */
    struct deadline deadline; /* idle, TLS handshake, or lingering */
    struct list_node node;    /* of worker->conns, or of dead_conns */
    struct list_node again;   /* of worker->conns_ready */
    bool handshaken;
    bool wants_h2;  /* agreed on in the handshake; h2 is made with the first bytes */
    bool eof;       /* the client has ended its side, or broke */
    bool lingering; /* our last answer is out: only waiting for the client's end */
    bool closed;
    bool rested; /* idle since the last tick: its buffers are given back at the next */
    bool slim;   /* they were */
    bool served; /* a request has begun here */
    uint64_t linger_bytes;
};

/* Takes the socket, of the client that addresses.h calls so. */
void conn_accept(struct worker *w, evutil_socket_t fd, uint64_t address);
/*
 * The same with a stream that is made: ssl (taken) before its handshake; NULL: plain, of tests
 * alone.  Both count towards the process's bound, and that address's, which the caller has asked.
 */
struct conn *conn_open(struct worker *w, evutil_socket_t fd, SSL *ssl, uint64_t address);
/*
 * Closes the connection that has rested longest, as far as a short look tells; rested: one that
 * was not used since the last tick at least.  False: there is none.
 */
bool conn_make_room(struct worker *w, bool rested);
/* A stream of another connection, for one request.  Lives until it closes itself. */
struct conn *conn_open_inner(struct conn *outer, const struct io_inner_ops *ops, void *inner);
/*
 * Reads at most size bytes of the request, buffered ones first.  RC_OK, RC_AGAIN, RC_EOF
 * (the client is gone, in whatever way).
 */
enum rc conn_read(struct conn *c, char *to, size_t size, size_t *got) RC_MUST;
/* n bytes of `in` have been read. */
void conn_consume(struct conn *c, size_t n);
/* Puts back what one conn_read read too far: there is room for a read. RC_LIMIT: there is not. */
enum rc conn_unread(struct conn *c, struct strv bytes) RC_MUST;
/* While a request is being worked on: keeps what the client sends ahead, notices that it left. */
bool conn_is_gone(struct conn *c);

/* The exchange is over. keep: another may follow; else what is sent is flushed and closed. */
void conn_exchange_done(struct conn *c, bool keep);
/* Reads once from each connection of worker->conns_ready, or tells its exchange that the client has left. */
void conn_run_ready(struct worker *w);
/* Closes now, without a word. Freed at the end of the turn. */
void conn_close(struct conn *c);
/* Once a second: connections that rest give their TLS buffers back; of those that are not read it
 * is seen whether their clients have left. */
void conn_tick(struct worker *w);
/* Frees those on w->dead_conns. */
void conn_reap(struct worker *w);

#endif
