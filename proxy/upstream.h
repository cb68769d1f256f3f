/*
 * upstream.h - connections to providers: one pool a worker and upstream.
 *
 * An exchange acquires a connection (an idle one, or a new one: name, TCP, TLS
 * verified by name and CA), owns it while the request runs, and releases it.  Idle
 * connections are kept newest first and watched: one that the provider closes is
 * dropped at once.  Where the upstream has a bound on connections, waiters queue in
 * order.
 *
 * Acquiring is asynchronous: upstream_acquire, then upstream_poll when woken,
 * upstream_cancel at any time; after a cancel no wake comes.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include <stdbool.h>

#include <event2/dns.h>
#include <openssl/ssl.h>

#include "base/list.h"
#include "base/rc.h"
#include "proxy/config.h"
#include "proxy/deadline.h"
#include "proxy/io.h"
#include "proxy/metrics.h"

enum {
    UPSTREAM_IDLE_MS = 30000,     /* an idle connection is closed after this */
    UPSTREAM_IDLE_MAX = 512,      /* idle connections kept a pool */
    UPSTREAM_CROWD = 128,         /* a pool with more that rest: their TLS buffers go back at once */
    UPSTREAM_ADDRESSES_MAX = 16,  /* of one name, tried in turn */
    UPSTREAM_NAME_TTL_MS = 30000, /* how long a resolved name is believed */
    UPSTREAM_WHY_BYTES = 256,
};

struct upstream_pool;

/* A connection in use by one exchange, or idle in its pool. */
struct upconn {
    struct io io;
    struct upstream_pool *pool;
    struct list_node node; /* of the pool's idle list, or unlinked */
    struct deadline deadline;
    struct upstream_wait *wait; /* while it is being made */
    io_ready_fn *on_ready;      /* the exchange's, while in use */
    void *arg;
    bool rested; /* idle since the last tick */
    bool slim;   /* its TLS buffers are given back */
    bool handshaking;
    bool http2; /* the upstream has agreed on it: for one request */
    size_t address; /* which of the pool's addresses is tried */
    struct list_node later;
};

typedef void upstream_wake_fn(void *arg);

/* Embedded in the exchange. */
struct upstream_wait {
    struct upstream_pool *pool;
    struct list_node node; /* of the pool's queue or of those that wait for its name */
    struct upconn *conn;
    upstream_wake_fn *wake;
    void *arg;
    enum rc rc; /* RC_AGAIN while pending */
    bool http2;
    char why[UPSTREAM_WHY_BYTES]; /* where it failed: "could not connect: ..." */
    bool active;
};

/* What a pool borrows from its worker. */
struct upstream_env {
    struct event_base *base;
    struct evdns_base *dns;
    struct worker_stats *stats;
    struct list_node *later; /* upconns to be freed at the end of the loop turn */
};

/* Makes a client context fit for pools: sessions are kept by the pool that got them. Once. */
void upstream_context(SSL_CTX *ctx);

/* ctx (see upstream_context) may be NULL where the upstream is plain; config and ctx must outlive the pool. */
struct upstream_pool *upstream_pool_new(const struct upstream_config *config, SSL_CTX *ctx,
                                        const struct upstream_env *env);
/* Closes idle connections. Legal only when none is in use and nobody waits. */
void upstream_pool_free(struct upstream_pool *pool);
/* Closes idle connections now and keeps no more: the pool is being replaced. */
void upstream_pool_retire(struct upstream_pool *pool);

/* Once a second: connections that rest give their TLS buffers back, or are closed. */
void upstream_pool_tick(struct upstream_pool *pool, bool close);

void upstream_acquire(struct upstream_pool *pool, struct upstream_wait *wait,
                      upstream_wake_fn *wake, void *arg);
/*
 * The same for a connection that speaks HTTP/2 (by ALPN; by itself where the upstream is plain):
 * always a new one, which is never kept.
 */
void upstream_acquire_http2(struct upstream_pool *pool, struct upstream_wait *wait,
                            upstream_wake_fn *wake, void *arg);
/*
 * RC_AGAIN: pending.  RC_OK: *conn is the caller's, its io calls on_ready.  Else
 * wait->why says why (RC_TIMEOUT is the caller's to decide by cancelling).
 */
enum rc upstream_poll(struct upstream_wait *wait, io_ready_fn *on_ready, void *arg,
                      struct upconn **conn) RC_MUST;
void upstream_cancel(struct upstream_wait *wait);

/* Gives a connection back; reusable: its last exchange ended in good order on both sides. */
void upstream_release(struct upconn *conn, bool reusable);
/* Frees what was put on a `later` list. */
void upstream_reap(struct list_node *later);

#endif
