#include "proxy/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/addresses.h"
#include "proxy/h2.h"
#include "proxy/peer.h"
#include "proxy/server.h"
#include "proxy/tls_context.h"
#include "proxy/xchg.h"

enum {
    LINGER_MAX_BYTES = 1 << 20,
    READ_TURNS = 4,
    ROOM_LOOK = 64,        /* connections that are looked at for one that rests */
    ROOM_A_TICK = 1 << 10, /* closed in one tick while memory is tight */
};

static const struct bounds_config *bounds_of(const struct conn *c)
{
    return &c->worker->pools->generation->config->bounds;
}

static size_t in_bytes_max(const struct conn *c)
{
    return bounds_of(c)->head_bytes + 2 * (size_t)SCRATCH_BYTES + 2 * (size_t)CONN_AHEAD_BYTES;
}

void conn_close(struct conn *c)
{
    ASSERT(c->magic == CONN_MAGIC);
    if (c->closed)
        return;
    c->closed = true;
    if (c->h2)
        h2_close(c);
    deadline_fini(&c->deadline);
    io_close(&c->io);
    list_remove(&c->again);
    list_remove(&c->node);
    list_push_back(&c->worker->dead_conns, &c->node);
    if (c->inner)
        return;
    server_connections_sub(c->worker->server);
    addresses_sub(server_addresses(c->worker->server), c->address);
    stat_sub(&c->worker->stats.connections_open, 1);
}

void conn_reap(struct worker *w)
{
    LIST_FOREACH_SAFE (at, &w->dead_conns) {
        struct conn *c = LIST_OBJECT(at, struct conn, node);

        ASSERT(c->xchg == NULL);
        list_remove(at);
        buf_release(&c->in);
        peer_unref(c->peer);
        c->peer = NULL;
        c->magic = 0;
        held_sub(sizeof(*c));
        free(c);
    }
}

/* Nothing runs on it, and nothing that came waits. */
static bool rests(const struct conn *c)
{
    return c->h2 ? h2_is_idle(c) : !c->xchg && buf_len(&c->in) == 0;
}

bool conn_make_room(struct worker *w, bool rested)
{
    for (int i = 0; i < ROOM_LOOK && !list_is_empty(&w->conns); i++) {
        struct conn *c = LIST_OBJECT(w->conns.next, struct conn, node);

        if (rests(c) && (c->rested || !rested)) {
            stat_add(&w->stats.abuse_idle_closed, 1);
            if (c->h2)
                h2_deadline(c); /* says GOAWAY */
            else
                conn_close(c);
            return true;
        }
        list_remove(&c->node); /* it is at work: others are looked at first next time */
        list_push_back(&w->conns, &c->node);
    }
    return false;
}

/* Near the bound of memory whoever rests goes first. */
static void relieve(struct worker *w)
{
    for (int i = 0; i < ROOM_A_TICK && worker_memory(w) >= MEMORY_TIGHT; i++) {
        if (!conn_make_room(w, true))
            break;
    }
}

/* Its TLS buffers go back, and are taken anew by the next request. */
static void slim(struct conn *c)
{
    io_free_buffers(&c->io);
    c->slim = true;
}

/* Few connections keep what the next request takes anew; a crowd's buffers would be what the heap
 * never gives back. */
static void rest(struct conn *c)
{
    if (stat_get(&c->worker->stats.connections_open) <= CONN_CROWD || c->slim || !c->handshaken)
        return;
    if (buf_len(&c->in) == 0)
        buf_release(&c->in);
    slim(c);
}

/*
 * While nothing is read no event tells that the client has left: its end stands behind bytes that
 * nobody takes, and an event for both would come in each turn.
 */
static void look_for_end(struct conn *c)
{
    struct pollfd look = {.fd = c->io.fd, .events = POLLRDHUP};

    if (c->io.want_read || c->eof || !xchg_minds_client(c->xchg) || poll(&look, 1, 0) != 1)
        return;
    c->eof = true;
    list_remove(&c->again);
    list_push_back(&c->worker->conns_ready, &c->again); /* to end it here would change the list */
}

void conn_tick(struct worker *w)
{
    relieve(w);
    LIST_FOREACH (at, &w->conns) {
        struct conn *c = LIST_OBJECT(at, struct conn, node);

        if (c->xchg)
            look_for_end(c);
        if (buf_len(&c->in) == 0)
            buf_release(&c->in); /* kept from one request to the next while they follow closely */
        if (c->h2)
            h2_tick(c);
        if (c->h2 && w->stopping)
            h2_drain(c); /* once more: it may not have been over */
        if (c->xchg || c->slim || (c->h2 && !h2_is_idle(c)))
            continue;
        if (c->rested && c->handshaken)
            slim(c);
        c->rested = true;
    }
}

/* Waits for the client to close after our last answer, so that a reset cannot destroy it. */
static void linger(struct conn *c)
{
    c->lingering = true;
    buf_release(&c->in);
    if (c->inner) {
        conn_close(c); /* a stream ends without a word */
        return;
    }
    io_shutdown_write(&c->io);
    if (c->eof || c->io.broken) {
        conn_close(c);
        return;
    }
    io_want_read(&c->io, true);
    deadline_set(&c->deadline, clock_mono_us(), LINGER_MS);
}

static void read_lingering(struct conn *c)
{
    for (int turn = 0; turn < READ_TURNS; turn++) {
        size_t got = 0;
        enum rc rc = io_read(&c->io, c->worker->scratch, SCRATCH_BYTES, &got);

        if (rc == RC_AGAIN)
            return;
        c->linger_bytes += got;
        if (rc != RC_OK || c->linger_bytes > LINGER_MAX_BYTES) {
            conn_close(c);
            return;
        }
    }
}

static void note_handshake(struct conn *c)
{
    const unsigned char *protocol;
    unsigned int n;

    if (c->handshaken || !SSL_is_init_finished(c->io.ssl))
        return;
    c->handshaken = true;
    stat_add(&c->worker->stats.tls_handshakes, 1);
    c->peer = peer_new(c->io.ssl, tls_trust(SSL_get_SSL_CTX(c->io.ssl)));
    SSL_get0_alpn_selected(c->io.ssl, &protocol, &n);
    c->wants_h2 = n == 2 && protocol[0] == 'h' && protocol[1] == '2';
}

/* One read from the socket into `in`. */
static enum rc fill(struct conn *c)
{
    size_t got = 0;
    enum rc rc = io_read(&c->io, c->worker->scratch, SCRATCH_BYTES, &got);

    note_handshake(c);
    if (rc == RC_AGAIN)
        return RC_AGAIN;
    if (rc != RC_OK) {
        if (!c->handshaken) {
            stat_add(&c->worker->stats.tls_failures, 1);
            if (log_wants(LOG_DEBUG))
                log_line(LOG_DEBUG, "conn", "TLS handshake failed", "reason=\"%s\"",
                         c->io.fail.tls ? ERR_reason_error_string(c->io.fail.tls) : "closed");
        }
        c->eof = true;
        return RC_EOF;
    }
    stat_add(&c->worker->stats.bytes_in_client, got);
    return buf_append(&c->in, c->worker->scratch, got);
}

/* It is used: its TLS buffers are taken anew. */
static void wake_buffers(struct conn *c)
{
    c->rested = c->slim = false;
}

/* The first bytes of a request are here. */
static void begin_exchange(struct conn *c, bool now)
{
    deadline_clear(&c->deadline);
    if (!c->inner)
        wake_buffers(c);
    c->served = true;
    xchg_start(c, now);
}

/* Nothing runs here: what comes begins it. */
static void read_first(struct conn *c)
{
    enum rc rc;

    if (!c->handshaken)
        worker_took(c->worker, HANDSHAKE_TOOK);
    rc = fill(c);

    if (rc == RC_OK && c->wants_h2) {
        c->wants_h2 = false;
        deadline_clear(&c->deadline);
        h2_open(c, (unsigned)bounds_of(c)->http2_streams);
    } else if (rc == RC_OK) {
        begin_exchange(c, true);
    } else if (rc == RC_AGAIN) {
        rest(c);
    } else {
        conn_close(c);
    }
}

static void on_ready(void *arg, unsigned ready)
{
    struct conn *c = arg;

    ASSERT(c->magic == CONN_MAGIC);
    list_remove(&c->again);
    if (c->closed)
        return;
    if (c->h2) {
        wake_buffers(c);
        h2_ready(c, ready);
    } else if (c->lingering) {
        read_lingering(c);
    } else if (c->xchg) {
        xchg_wake(c->xchg, (ready & IO_READABLE ? WAKE_CLIENT_IN : 0) |
                               (ready & IO_WRITABLE ? WAKE_CLIENT_OUT : 0));
    } else if (c->inner && c->io.broken) {
        conn_close(c);
    } else {
        read_first(c);
    }
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;

    if (c->h2) {
        h2_deadline(c);
    } else if (!c->xchg) {
        if (!c->served)
            stat_add(&c->worker->stats.abuse_silent, 1);
        conn_close(c);
    }
}

struct conn *conn_open_inner(struct conn *outer, const struct io_inner_ops *ops, void *inner)
{
    struct worker *w = outer->worker;
    struct conn *c = xcalloc(1, sizeof(*c));

    held_add(sizeof(*c));
    c->magic = CONN_MAGIC;
    c->worker = w;
    c->peer = peer_ref(outer->peer);
    c->inner = c->handshaken = true;
    list_init(&c->node);
    list_init(&c->again);
    buf_init(&c->in, in_bytes_max(c));
    io_open_inner(&c->io, ops, inner, on_ready, c);
    deadline_init(&c->deadline, w->base, on_deadline, c);
    io_want_read(&c->io, true);
    return c;
}

void conn_accept(struct worker *w, evutil_socket_t fd, uint64_t address)
{
    SSL *ssl = SSL_new(w->pools->generation->server);
    int one = 1;

    ASSERT(ssl != NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    SSL_set_accept_state(ssl);
    (void)conn_open(w, fd, ssl, address);
}

struct conn *conn_open(struct worker *w, evutil_socket_t fd, SSL *ssl, uint64_t address)
{
    struct conn *c = xcalloc(1, sizeof(*c));

    held_add(sizeof(*c));
    c->magic = CONN_MAGIC;
    c->worker = w;
    c->address = address;
    c->handshaken = ssl == NULL;
    list_init(&c->node);
    list_init(&c->again);
    buf_init(&c->in, in_bytes_max(c));
    io_open(&c->io, w->base, fd, ssl, on_ready, c);
    deadline_init(&c->deadline, w->base, on_deadline, c);
    deadline_set(&c->deadline, clock_mono_us(), bounds_of(c)->head_timeout_ms);
    list_push_back(&w->conns, &c->node);
    stat_add(&w->stats.connections_accepted, 1);
    stat_add(&w->stats.connections_open, 1);
    io_want_read(&c->io, true);
    return c;
}

void conn_consume(struct conn *c, size_t n)
{
    buf_consume(&c->in, n);
    if (buf_len(&c->in) == 0 && c->in.cap > CONN_KEEP_BYTES)
        buf_release(&c->in);
}

enum rc conn_read(struct conn *c, char *to, size_t size, size_t *got)
{
    struct strv ahead = buf_view(&c->in);
    enum rc rc;

    if (ahead.n > 0) {
        *got = ahead.n < size ? ahead.n : size;
        memcpy(to, ahead.p, *got);
        conn_consume(c, *got);
        return RC_OK;
    }
    if (c->eof)
        return RC_EOF;
    rc = io_read(&c->io, to, size, got);
    if (rc == RC_OK) {
        stat_add(&c->worker->stats.bytes_in_client, *got);
        return RC_OK;
    }
    if (rc == RC_AGAIN)
        return RC_AGAIN;
    c->eof = true;
    return RC_EOF;
}

enum rc conn_unread(struct conn *c, struct strv bytes)
{
    struct buf joined;
    enum rc rc;

    if (bytes.n == 0)
        return RC_OK;
    buf_init(&joined, c->in.max);
    rc = buf_append_strv(&joined, bytes);
    if (rc == RC_OK)
        rc = buf_append_strv(&joined, buf_view(&c->in));
    buf_release(&c->in);
    c->in = joined;
    return rc;
}

bool conn_is_gone(struct conn *c)
{
    if (c->eof || c->io.broken)
        return true;
    if (!c->io.want_read)
        return false;
    if (buf_len(&c->in) >= CONN_AHEAD_BYTES || worker_memory(c->worker) == MEMORY_FULL) {
        io_want_read(&c->io, false);
        return false;
    }
    return fill(c) == RC_EOF;
}

void conn_exchange_done(struct conn *c, bool keep)
{
    const struct bounds_config *bounds = bounds_of(c);

    c->xchg = NULL;
    if (c->closed)
        return;
    if (!keep || c->eof || c->worker->stopping || c->inner) {
        linger(c);
        return;
    }
    if (buf_len(&c->in) > 0) { /* pipelined: the next request is here already */
        io_want_read(&c->io, true);
        begin_exchange(c, false); /* later in this turn: no recursion however many there are */
        return;
    }
    if (c->worker->draining) {
        linger(c);
        return;
    }
    io_want_read(&c->io, true);
    deadline_set(&c->deadline, c->worker->now_us, bounds->keepalive_timeout_ms);
    /* Bytes that the TLS layer holds make no event; one request a round, or others never had a turn. */
    if (io_has_buffered(&c->io))
        list_push_back(&c->worker->conns_ready, &c->again);
    else
        rest(c);
}

void conn_run_ready(struct worker *w)
{
    struct list_node now;

    list_move(&w->conns_ready, &now);
    while (!list_is_empty(&now)) {
        struct conn *c = LIST_OBJECT(now.next, struct conn, again);

        list_remove(&c->again);
        on_ready(c, IO_READABLE);
    }
}
