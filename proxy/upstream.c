#include "proxy/upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/util.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/memory.h"
#include "proxy/tls_context.h"

struct address {
    struct sockaddr_storage addr;
    socklen_t len;
};

/* A question to the resolver; outlives its pool where that goes first. */
struct lookup {
    struct upstream_pool *pool;
    struct evdns_getaddrinfo_request *request;
};

struct upstream_pool {
    const struct upstream_config *config;
    SSL_CTX *ctx;
    struct upstream_env env;
    SSL_SESSION *session; /* the newest ticket, for resumption */
    struct list_node idle;  /* newest first */
    struct list_node queue; /* waits for a connection below the bound */
    struct list_node named; /* waits for the name */
    size_t n_idle;
    size_t n_open; /* connecting, in use and idle */
    struct address addresses[UPSTREAM_ADDRESSES_MAX];
    size_t n_addresses;
    int64_t resolved_us; /* 0: never */
    struct lookup *lookup; /* under way */
    bool retired;
};

/* It is used: its TLS buffers are taken anew. */
static void wake_buffers(struct upconn *conn)
{
    conn->rested = conn->slim = false;
}

static void connect_next(struct upconn *conn);
static void start(struct upstream_wait *wait);

/* ---- sessions ----------------------------------------------------------------- */

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct upconn *conn = SSL_get_app_data(ssl);

    if (!conn || !conn->pool)
        return 0;
    SSL_SESSION_free(conn->pool->session);
    conn->pool->session = session;
    return 1; /* the reference is ours now */
}

void upstream_context(SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
}

/* ---- the pool ------------------------------------------------------------------- */

struct upstream_pool *upstream_pool_new(const struct upstream_config *config, SSL_CTX *ctx,
                                        const struct upstream_env *env)
{
    struct upstream_pool *pool = xcalloc(1, sizeof(*pool));

    pool->config = config;
    pool->ctx = ctx;
    pool->env = *env;
    list_init(&pool->idle);
    list_init(&pool->queue);
    list_init(&pool->named);
    return pool;
}

static void destroy(struct upconn *conn)
{
    struct upstream_pool *pool = conn->pool;

    ASSERT(conn->wait == NULL);
    list_remove(&conn->node);
    deadline_fini(&conn->deadline);
    io_close(&conn->io);
    pool->n_open--;
    held_sub(sizeof(*conn));
    list_push_back(pool->env.later, &conn->later);
}

void upstream_reap(struct list_node *later)
{
    LIST_FOREACH_SAFE (at, later) {
        struct upconn *conn = LIST_OBJECT(at, struct upconn, later);

        list_remove(at);
        free(conn);
    }
}

static void close_idle(struct upstream_pool *pool)
{
    LIST_FOREACH_SAFE (at, &pool->idle) {
        pool->n_idle--;
        destroy(LIST_OBJECT(at, struct upconn, node));
    }
}

static void slim(struct upconn *conn)
{
    io_free_buffers(&conn->io);
    conn->slim = true;
}

void upstream_pool_tick(struct upstream_pool *pool, bool close)
{
    if (close)
        close_idle(pool);
    LIST_FOREACH (at, &pool->idle) {
        struct upconn *conn = LIST_OBJECT(at, struct upconn, node);

        if (conn->slim)
            continue;
        if (conn->rested)
            slim(conn);
        conn->rested = true;
    }
}

void upstream_pool_retire(struct upstream_pool *pool)
{
    pool->retired = true;
    close_idle(pool);
}

void upstream_pool_free(struct upstream_pool *pool)
{
    if (!pool)
        return;
    close_idle(pool);
    ASSERT(pool->n_open == 0 && list_is_empty(&pool->queue) && list_is_empty(&pool->named));
    if (pool->lookup) { /* its callback still comes, and frees it */
        pool->lookup->pool = NULL;
        if (pool->lookup->request)
            evdns_getaddrinfo_cancel(pool->lookup->request);
    }
    SSL_SESSION_free(pool->session);
    free(pool);
}

/* ---- waits ---------------------------------------------------------------------- */

static void resolve_wait(struct upstream_wait *wait, enum rc rc)
{
    list_remove(&wait->node);
    wait->rc = rc;
    wait->wake(wait->arg);
}

/* ssl: of the connection that failed, or NULL. */
static void fail_wait(struct upstream_wait *wait, const struct fail *fail, const SSL *ssl)
{
    tls_fail_text(ssl, fail, wait->why, sizeof(wait->why));
    resolve_wait(wait, fail->rc);
}

/* True where the provider closed an idle connection, or said something out of turn. */
static bool idle_has_ended(struct upconn *conn)
{
    char byte;
    size_t got;

    /* TLS 1.3 session tickets may come at any time: they are no data (RFC 8446 4.6.1). */
    return io_read(&conn->io, &byte, 1, &got) != RC_AGAIN;
}

static void on_ready(void *arg, unsigned ready)
{
    struct upconn *conn = arg;

    if (conn->wait) { /* connecting or shaking hands */
        connect_next(conn);
    } else if (conn->on_ready) {
        conn->on_ready(conn->arg, ready);
    } else if (idle_has_ended(conn)) {
        conn->pool->n_idle--;
        destroy(conn);
    }
}

/* A connection is free or gone: the next in the queue may have its turn. */
static void serve_queue(struct upstream_pool *pool)
{
    if (!list_is_empty(&pool->queue)) {
        struct upstream_wait *wait = LIST_OBJECT(pool->queue.next, struct upstream_wait, node);

        list_remove(&wait->node);
        start(wait);
    }
}

static void on_deadline(void *arg)
{
    struct upconn *conn = arg;

    if (conn->wait) {
        struct upstream_wait *wait = conn->wait;
        struct upstream_pool *pool = conn->pool;
        size_t next = conn->address + 1;

        if (next < pool->n_addresses) { /* this address took its share of the time */
            io_close(&conn->io);
            conn->address = next;
            conn->handshaking = false;
            connect_next(conn);
            return;
        }
        conn->wait = NULL;
        wait->conn = NULL;
        destroy(conn);
        fail_wait(wait, &(struct fail){.rc = RC_TIMEOUT, .sys = ETIMEDOUT, .doing = "connect"},
                  NULL);
        serve_queue(pool);
    } else if (!conn->on_ready) {
        conn->pool->n_idle--;
        destroy(conn);
    }
}

/* ---- connecting ------------------------------------------------------------------ */

static void connect_failed(struct upconn *conn, const struct fail *fail)
{
    struct upstream_wait *wait = conn->wait;
    struct upstream_pool *pool = conn->pool;

    if (!conn->handshaking && conn->address + 1 < pool->n_addresses) {
        io_close(&conn->io);
        conn->address++;
        connect_next(conn);
        return;
    }
    stat_add(&pool->env.stats->upstream_connect_failures, 1);
    pool->resolved_us = 0; /* ask again before the next attempt */
    conn->wait = NULL;
    wait->conn = NULL;
    fail_wait(wait, fail, conn->io.ssl);
    destroy(conn);
    serve_queue(pool);
}

static const unsigned char ALPN_HTTP2[] = {2, 'h', '2'};

static bool has_agreed_on_http2(const struct upconn *conn)
{
    const unsigned char *name;
    unsigned n;

    if (!conn->io.ssl)
        return true;
    SSL_get0_alpn_selected(conn->io.ssl, &name, &n);
    return n == ALPN_HTTP2[0] && memcmp(name, ALPN_HTTP2 + 1, n) == 0;
}

static bool open_socket(struct upconn *conn)
{
    struct upstream_pool *pool = conn->pool;
    const struct address *address = &pool->addresses[conn->address];
    int share = pool->config->connect_timeout_ms / (int)pool->n_addresses;
    int one = 1;
    int fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    SSL *ssl = NULL;

    if (fd < 0)
        return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (connect(fd, (const struct sockaddr *)&address->addr, address->len) != 0 &&
        errno != EINPROGRESS) {
        int saved = errno;

        close(fd);
        errno = saved;
        return false;
    }
    if (pool->ctx) {
        ssl = SSL_new(pool->ctx);
        ASSERT(ssl != NULL);
        SSL_set_app_data(ssl, conn);
        if (tls_client_prepare(ssl, pool->config->host, pool->config->tls_verify) != RC_OK) {
            SSL_free(ssl);
            close(fd);
            errno = EINVAL;
            return false;
        }
        SSL_set_connect_state(ssl);
        if (conn->wait->http2)
            ASSERT(SSL_set_alpn_protos(ssl, ALPN_HTTP2, sizeof(ALPN_HTTP2)) == 0);
        if (pool->session)
            SSL_set_session(ssl, pool->session);
    }
    io_open(&conn->io, pool->env.base, fd, ssl, on_ready, conn);
    deadline_set(&conn->deadline, clock_mono_us(), share > 250 ? share : 250);
    stat_add(&pool->env.stats->upstream_connects, 1);
    /* Writable when connected: asked for without writing. */
    conn->io.want_write = true;
    conn->io.writing = true;
    event_add(&conn->io.write_event, NULL);
    return true;
}

/* Starts or goes on: socket, then handshake, then the wait is over. */
static void connect_next(struct upconn *conn)
{
    struct upstream_wait *wait = conn->wait;
    int sys = 0;
    socklen_t size = sizeof(sys);
    enum rc rc;

    if (!io_is_open(&conn->io)) {
        if (!open_socket(conn))
            connect_failed(conn,
                           &(struct fail){.rc = RC_IO, .sys = errno, .doing = "connect"});
        return;
    }
    if (!conn->handshaking) {
        getsockopt(conn->io.fd, SOL_SOCKET, SO_ERROR, &sys, &size);
        if (sys != 0) {
            connect_failed(conn, &(struct fail){.rc = RC_IO, .sys = sys, .doing = "connect"});
            return;
        }
        io_write_done(&conn->io);
        conn->handshaking = true;
        /* A handshake may take what the whole connection may, not an address's share. */
        deadline_set(&conn->deadline, clock_mono_us(), conn->pool->config->connect_timeout_ms);
    }
    rc = io_handshake(&conn->io);
    if (rc == RC_AGAIN) {
        io_want_read(&conn->io, true);
        return;
    }
    if (rc != RC_OK) {
        connect_failed(conn, &conn->io.fail);
        return;
    }
    if (wait->http2 && !has_agreed_on_http2(conn)) {
        connect_failed(conn, &(struct fail){.rc = RC_TLS,
                                            .sys = EPROTONOSUPPORT,
                                            .doing = "agree on HTTP/2"});
        return;
    }
    conn->http2 = wait->http2;
    deadline_clear(&conn->deadline);
    io_want_read(&conn->io, false);
    resolve_wait(wait, RC_OK);
}

/* ---- names ------------------------------------------------------------------------- */

static void keep_address(struct upstream_pool *pool, const struct sockaddr *addr, socklen_t len)
{
    struct address *to;

    if (pool->n_addresses == UPSTREAM_ADDRESSES_MAX || len > sizeof(to->addr))
        return;
    to = &pool->addresses[pool->n_addresses++];
    memcpy(&to->addr, addr, len);
    to->len = len;
}

static void new_connection(struct upstream_wait *wait)
{
    struct upstream_pool *pool = wait->pool;
    struct upconn *conn = xcalloc(1, sizeof(*conn));

    held_add(sizeof(*conn));
    conn->pool = pool;
    conn->io.fd = -1;
    conn->wait = wait;
    wait->conn = conn;
    list_init(&conn->node);
    list_init(&conn->later);
    deadline_init(&conn->deadline, pool->env.base, on_deadline, conn);
    pool->n_open++;
    connect_next(conn);
}

static bool is_at_bound(const struct upstream_pool *pool)
{
    return pool->config->max_connections > 0 &&
           pool->n_open >= (size_t)pool->config->max_connections;
}

/* True where it may have a new connection; else it has an idle one, or stands in the queue. */
static bool takes_its_turn(struct upstream_wait *wait)
{
    struct upstream_pool *pool = wait->pool;

    if (wait->http2 && is_at_bound(pool) && !list_is_empty(&pool->idle)) { /* its place */
        pool->n_idle--;
        destroy(LIST_OBJECT(pool->idle.prev, struct upconn, node));
    } else if (!wait->http2 && !list_is_empty(&pool->idle)) {
        struct upconn *conn = LIST_OBJECT(pool->idle.next, struct upconn, node);

        list_remove(&conn->node);
        pool->n_idle--;
        deadline_clear(&conn->deadline);
        wake_buffers(conn);
        wait->conn = conn;
        stat_add(&pool->env.stats->upstream_reused, 1);
        resolve_wait(wait, RC_OK);
        return false;
    }
    if (!is_at_bound(pool))
        return true;
    list_push_back(&pool->queue, &wait->node);
    return false;
}

static void on_resolved(int result, struct evutil_addrinfo *found, void *arg)
{
    struct lookup *lookup = arg;
    struct upstream_pool *pool = lookup->pool;
    struct list_node waiting;

    free(lookup);
    if (!pool) {
        if (result == 0)
            evutil_freeaddrinfo(found);
        return;
    }
    pool->lookup = NULL;
    if (result == 0) {
        pool->n_addresses = 0;
        for (struct evutil_addrinfo *at = found; at; at = at->ai_next)
            keep_address(pool, at->ai_addr, (socklen_t)at->ai_addrlen);
        evutil_freeaddrinfo(found);
        pool->resolved_us = clock_mono_us();
    } else {
        log_line(LOG_WARN, "upstream", "could not resolve name", "upstream=%s host=%s reason=\"%s\"",
                 pool->config->name, pool->config->host, evutil_gai_strerror(result));
    }
    /* Take the list as it stands: a wait that fails may queue again. */
    list_init(&waiting);
    while (!list_is_empty(&pool->named)) {
        struct list_node *at = pool->named.next;

        list_remove(at);
        list_push_back(&waiting, at);
    }
    while (!list_is_empty(&waiting)) {
        struct upstream_wait *wait = LIST_OBJECT(waiting.next, struct upstream_wait, node);

        list_remove(&wait->node);
        if (pool->n_addresses == 0)
            fail_wait(wait, &(struct fail){.rc = RC_STATE, .doing = "resolve the name"}, NULL);
        else if (takes_its_turn(wait)) /* those before it have opened some meanwhile */
            new_connection(wait);
    }
}

static bool name_is_known(struct upstream_pool *pool)
{
    struct sockaddr_storage numeric;
    int len = sizeof(numeric);
    char text[80];

    if (pool->n_addresses > 0 && pool->resolved_us != 0 &&
        clock_mono_us() - pool->resolved_us < UPSTREAM_NAME_TTL_MS * INT64_C(1000))
        return true;
    snprintf(text, sizeof(text), strchr(pool->config->host, ':') ? "[%s]:%d" : "%s:%d",
             pool->config->host, pool->config->port);
    if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&numeric, &len) == 0) {
        pool->n_addresses = 0;
        keep_address(pool, (const struct sockaddr *)&numeric, (socklen_t)len);
        pool->resolved_us = clock_mono_us();
        return true;
    }
    return false;
}

static void resolve_name(struct upstream_wait *wait)
{
    struct upstream_pool *pool = wait->pool;
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_protocol = IPPROTO_TCP,
                                    .ai_flags = EVUTIL_AI_ADDRCONFIG};
    struct evdns_getaddrinfo_request *request;
    struct lookup *lookup;
    char port[8];

    list_push_back(&pool->named, &wait->node);
    if (pool->lookup)
        return;
    snprintf(port, sizeof(port), "%d", pool->config->port);
    lookup = xcalloc(1, sizeof(*lookup));
    lookup->pool = pool;
    pool->lookup = lookup;
    request = evdns_getaddrinfo(pool->env.dns, pool->config->host, port, &hints, on_resolved,
                                lookup);
    /* For names in the hosts file it has called back by now, and the lookup is gone. */
    if (request && pool->lookup == lookup)
        lookup->request = request;
}

/* ---- acquire and release ---------------------------------------------------------------- */

static void start(struct upstream_wait *wait)
{
    struct upstream_pool *pool = wait->pool;

    if (!takes_its_turn(wait))
        return;
    if (name_is_known(pool))
        new_connection(wait);
    else
        resolve_name(wait);
}

static void acquire(struct upstream_pool *pool, struct upstream_wait *wait, bool http2,
                    upstream_wake_fn *wake, void *arg)
{
    *wait = (struct upstream_wait){
        .pool = pool, .wake = wake, .arg = arg, .rc = RC_AGAIN, .active = true, .http2 = http2};
    list_init(&wait->node);
    start(wait);
}

void upstream_acquire(struct upstream_pool *pool, struct upstream_wait *wait,
                      upstream_wake_fn *wake, void *arg)
{
    acquire(pool, wait, false, wake, arg);
}

void upstream_acquire_http2(struct upstream_pool *pool, struct upstream_wait *wait,
                            upstream_wake_fn *wake, void *arg)
{
    acquire(pool, wait, true, wake, arg);
}

enum rc upstream_poll(struct upstream_wait *wait, io_ready_fn *ready, void *arg,
                      struct upconn **conn)
{
    if (wait->rc == RC_AGAIN)
        return RC_AGAIN;
    wait->active = false;
    if (wait->rc != RC_OK)
        return wait->rc;
    wait->conn->wait = NULL;
    wait->conn->on_ready = ready;
    wait->conn->arg = arg;
    *conn = wait->conn;
    wait->conn = NULL;
    return RC_OK;
}

void upstream_cancel(struct upstream_wait *wait)
{
    if (!wait->active)
        return;
    wait->active = false;
    list_remove(&wait->node);
    if (wait->conn) {
        struct upconn *conn = wait->conn;
        struct upstream_pool *pool = conn->pool;

        wait->conn = NULL;
        conn->wait = NULL;
        destroy(conn);
        serve_queue(pool);
    }
}

void upstream_release(struct upconn *conn, bool reusable)
{
    struct upstream_pool *pool = conn->pool;

    conn->on_ready = NULL;
    conn->arg = NULL;
    conn->rested = false;
    if (!reusable || conn->http2 || pool->retired || pool->n_idle >= UPSTREAM_IDLE_MAX || conn->io.broken ||
        io_has_buffered(&conn->io)) {
        destroy(conn);
        serve_queue(pool);
        return;
    }
    io_write_done(&conn->io);
    io_want_read(&conn->io, true);
    list_push_front(&pool->idle, &conn->node);
    pool->n_idle++;
    if (pool->n_idle > UPSTREAM_CROWD)
        slim(conn);
    deadline_set(&conn->deadline, clock_mono_us(), UPSTREAM_IDLE_MS);
    serve_queue(pool);
}
