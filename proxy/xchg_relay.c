/*
 * xchg_relay.c - CONNECT, RELAY and DRAIN: the request goes up while the answer comes down.
 *
 * Two pumps share the worker's scratch buffer, one read at a time.  Back-pressure is
 * by pull: an upstream is not read while the client has not taken what was read
 * before, a client is not read while the upstream has not.
 */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "proxy/auth.h"
#include "proxy/base_path.h"
#include "proxy/field_traits.h"
#include "proxy/h2_client.h"
#include "proxy/xchg_socket.h"

enum {
    UP_EXTRA_BYTES = 512, /* of a head: what we add to the client's, as a first guess */
    DRAINS_MAX = 256,     /* answers that a worker reads on for nobody, at the same time */
};

/* ---- the request that goes up ---------------------------------------------------------------- */

static bool drop_header(void *arg, const struct http1_header *field)
{
    const struct xchg *x = arg;

    return !auth_header_travels(field, x->upstream->credentials);
}

/* Builds the upstream's head before the held body, or alone into up_buf. RC_DENIED: there is no
 * credential for it now. */
static enum rc prepare(struct xchg *x)
{
    struct http1_header add[CREDENTIAL_HEADERS_MAX + 1 + SOCKET_HEADERS_MAX] UNCLEARED;
    struct credential credential;
    struct http_request_rewrite rw = {.base_path = base_path_before(
                                          strv_z(x->upstream->base_path), x->target.rest),
                                      .rest = x->target.rest,
                                      .host = strv_z(x->upstream->host_header),
                                      .drop = drop_header,
                                      .drop_arg = x,
                                      .add = add,
                                      .body = x->framing.body,
                                      .length = x->framing.length};
    struct strv baggage = http1_value(&x->head, STRV("baggage"));
    enum rc rc;

    rc = auth_clean_query(x->target.query, x->upstream->credentials, &x->arena, &rw.query);
    if (rc == RC_OK)
        rc = links_prepare(x);
    if (rc != RC_OK)
        return rc;
    rw.identity = x->asked_usage || x->link_to.n > 0;
    if (x->socket)
        socket_headers(x->socket, add, &rw.n_add);
    rc = credential_make(x, &rw, &credential);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < credential.n; i++)
        add[rw.n_add++] = credential.headers[i];
    if (baggage.n > 0 && !field_holds_key(baggage)) {
        add[rw.n_add] = (struct http1_header){.name = STRV("baggage")};
        rc = auth_clean_baggage(baggage, &x->arena, &add[rw.n_add].value);
        if (rc != RC_OK)
            return rc;
        rw.n_add++;
    }
    if (x->duplex)
        rw.body = BODY_CHUNKED;
    if (x->hold_body && x->framing.body != BODY_NONE) {
        rw.body = BODY_LENGTH;
        rw.length = x->body.len;
        if (x->asked_usage)
            rw.length += x->facts.edit_text.n - x->facts.edit_cut;
    }
    rc = buf_reserve(&x->up_buf, x->head.bytes + UP_EXTRA_BYTES);
    if (rc == RC_OK)
        rc = http_build_request(&x->head, &rw, &x->up_buf);
    if (rc != RC_OK || !x->hold_body || x->framing.body == BODY_NONE)
        return rc;
    hold_compose(&x->body, buf_view(&x->up_buf), x->asked_usage ? x->facts.edit_at : 0,
                 x->asked_usage ? x->facts.edit_cut : 0,
                 x->asked_usage ? x->facts.edit_text : STRV_NONE, &x->up_pending);
    buf_clear(&x->up_buf);
    return RC_OK;
}

/* ---- CONNECT ------------------------------------------------------------------------------------ */

static void on_pool(void *arg)
{
    xchg_wake(arg, WAKE_POOL);
}

static void on_upstream(void *arg, unsigned ready)
{
    xchg_wake(arg, (ready & IO_READABLE ? WAKE_UPSTREAM_IN : 0) |
                       (ready & IO_WRITABLE ? WAKE_UPSTREAM_OUT : 0));
}

static enum step no_connection(struct xchg *x, enum refusal refusal)
{
    const char *why = refusal == REFUSE_UPSTREAM_TIMEOUT ? "no connection in time" : x->wait.why;

    log_line(LOG_WARN, "upstream", "no connection", "id=%s upstream=%s reason=\"%s\"",
             x->id_text, x->upstream->name, why);
    x->end = END_CONNECT_FAILED;
    return xchg_refuse(x, refusal, "the upstream \"%s\" cannot be reached: %s",
                       x->upstream->name, why);
}

static enum step no_credential(struct xchg *x)
{
    log_line(LOG_WARN, "upstream", "no credential", "id=%s upstream=%s", x->id_text,
             x->upstream->name);
    x->end = END_CONNECT_FAILED;
    return xchg_refuse(x, REFUSE_UPSTREAM_UNREACHABLE,
                       "the gateway has no access token for the upstream \"%s\" now",
                       x->upstream->name);
}

static enum step st_connect(struct xchg *x)
{
    size_t index = (size_t)(x->upstream - x->config->upstreams);
    enum rc rc;

    if (!x->wait.active) {
        rc = prepare(x);
        if (rc == RC_DENIED)
            return no_credential(x);
        if (rc != RC_OK)
            return xchg_refuse(x, REFUSE_BAD_REQUEST,
                               "the request cannot be passed on: its head is too large");
        (x->duplex ? upstream_acquire_http2 : upstream_acquire)(x->pools->at[index], &x->wait,
                                                               on_pool, x);
    }
    rc = upstream_poll(&x->wait, on_upstream, x, &x->up);
    if (rc == RC_OK) {
        x->upstream_tried = true;
        if (x->up->http2)
            h2_client_open(x->worker, &x->up->io);
        return xchg_go(x, &S_RELAY);
    }
    if (rc != RC_AGAIN)
        return no_connection(x, rc == RC_TIMEOUT ? REFUSE_UPSTREAM_TIMEOUT
                                                 : REFUSE_UPSTREAM_UNREACHABLE);
    if (xchg_client_left(x))
        return xchg_end(x, END_CLIENT_GONE);
    if (x->deadline_us == INT64_MAX) /* the pool bounds each step; this bounds the queue */
        xchg_within(x, 2 * (int64_t)x->upstream->connect_timeout_ms);
    return STEP_WAIT;
}

static enum step connect_timeout(struct xchg *x)
{
    upstream_cancel(&x->wait);
    return no_connection(x, REFUSE_UPSTREAM_TIMEOUT);
}

/* ---- the way up ------------------------------------------------------------------------------------ */

enum rc relay_flush_up(struct xchg *x)
{
    struct strv *pending = &x->up_pending;
    size_t put = 0;
    enum rc rc;

    if (pending->n > 0) {
        rc = io_write(&x->up->io, pending->p, pending->n, &put);
        *pending = strv_skip(*pending, put);
    } else if (buf_len(&x->up_buf) > 0) {
        struct strv bytes = buf_view(&x->up_buf);

        rc = io_write(&x->up->io, bytes.p, bytes.n, &put);
        buf_consume(&x->up_buf, put);
    } else {
        return RC_OK;
    }
    stat_add(&x->worker->stats.bytes_out_upstream, put);
    x->progress = x->progress || put > 0;
    return rc;
}

static enum rc frame_chunks(struct xchg *x, struct strv bytes)
{
    char head[CHUNK_HEAD_MAX_BYTES];

    while (bytes.n > 0) {
        struct strv data = STRV_NONE;
        size_t used = 0;
        enum parse_status status = http1_chunked_read(&x->chunked, bytes, &used, &data);
        enum rc rc = RC_OK;

        if (status == PARSE_BAD)
            return RC_BAD;
        if (data.n > 0 && x->duplex) {
            x->bytes_in += data.n;
            rc = duplex_take(x, data);
        } else if (data.n > 0) {
            x->bytes_in += data.n;
            upload_feed(x, data);
            rc = buf_append(&x->up_buf, head, http1_chunk_head(data.n, head));
            if (rc == RC_OK)
                rc = buf_append_strv(&x->up_buf, data);
            if (rc == RC_OK)
                rc = buf_append(&x->up_buf, "\r\n", 2);
        }
        bytes = strv_skip(bytes, used);
        if (rc == RC_OK && status == PARSE_DONE) {
            x->body_done = true;
            rc = x->duplex ? duplex_end(x) : buf_append(&x->up_buf, "0\r\n\r\n", 5);
            return rc == RC_OK ? conn_unread(x->conn, bytes) : rc;
        }
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* Streams the upload: one read of the client. */
static enum rc read_upload(struct xchg *x)
{
    char *scratch = x->worker->scratch;
    size_t size = SCRATCH_BYTES, got = 0;
    enum rc rc;

    if (x->framing.body == BODY_LENGTH && x->body_left < size)
        size = (size_t)x->body_left;
    rc = conn_read(x->conn, scratch, size, &got);
    if (rc != RC_OK)
        return rc;
    x->progress = true;
    if (x->framing.body == BODY_CHUNKED)
        return frame_chunks(x, strv_make(scratch, got));
    x->bytes_in += got;
    x->body_left -= got;
    x->body_done = x->body_left == 0;
    if (x->duplex) {
        rc = duplex_take(x, strv_make(scratch, got));
        return rc == RC_OK && x->body_done ? duplex_end(x) : rc;
    }
    upload_feed(x, strv_make(scratch, got));
    return buf_append(&x->up_buf, scratch, got);
}

/* RC_OK: done or waiting; RC_EOF: the client is gone; RC_BAD: its framing is. */
static enum rc pump_up(struct xchg *x)
{
    if (x->up_done || x->up_broken || x->client_gone)
        return RC_OK;
    for (int turn = 0; turn < TURN_READS; turn++) {
        enum rc rc = relay_flush_up(x);

        if (rc == RC_AGAIN) { /* the client's bytes wait in its socket: see conn_tick */
            if ((x->woken & WAKE_CLIENT_IN) && !x->body_done)
                io_want_read(&x->conn->io, false);
            return RC_OK;
        }
        if (rc != RC_OK) { /* an answer may be there all the same */
            x->up_broken = true;
            io_write_done(&x->up->io);
            return RC_OK;
        }
        if (x->body_done) {
            x->up_done = true;
            io_want_read(&x->conn->io, true);
            if (x->body.cap > KEEP_BYTES + HOLD_FRONT_BYTES)
                hold_release(&x->body);
            return RC_OK;
        }
        rc = read_upload(x);
        if (rc == RC_AGAIN) {
            io_want_read(&x->conn->io, true);
            return request_continue(x) == RC_EOF ? RC_EOF : RC_OK;
        }
        if (rc != RC_OK)
            return rc;
    }
    xchg_again(x);
    return RC_OK;
}

/* ---- the way down ------------------------------------------------------------------------------------- */

enum down {
    DOWN_WAIT = 0,
    DOWN_DONE,   /* all of the answer is with the client */
    DOWN_GONE,   /* the client is */
    DOWN_BROKEN, /* the upstream broke off */
    DOWN_BAD,    /* it does not speak HTTP, or more than may be held */
};

static enum down read_answer(struct xchg *x)
{
    struct io *io = &x->up->io;
    char *scratch = x->worker->scratch;
    size_t got = 0;
    enum rc rc = io_read(io, scratch, SCRATCH_BYTES, &got);

    if (rc == RC_AGAIN) {
        io_want_read(io, true);
        return DOWN_WAIT;
    }
    if (rc != RC_OK) {
        x->up_reusable = false;
        return answer_eof(x, rc == RC_EOF) ? DOWN_DONE : DOWN_BROKEN;
    }
    x->progress = true;
    stat_add(&x->worker->stats.bytes_in_upstream, got);
    rc = answer_feed(x, scratch, got);
    if (rc == RC_EOF)
        return DOWN_GONE;
    return rc == RC_OK ? DOWN_DONE : DOWN_BAD;
}

/* Writes what waits for the client. DOWN_DONE: nothing is left. */
static enum down flush_down(struct xchg *x)
{
    enum rc rc = client_flush(x);

    if (rc == RC_AGAIN) { /* back-pressure: the client has the last word on speed */
        io_want_read(&x->up->io, false);
        return DOWN_WAIT;
    }
    return rc == RC_OK ? DOWN_DONE : DOWN_GONE;
}

/* A stream's pauses are long: what the request's way up took goes back in the first of them. */
static enum down await_more(struct xchg *x)
{
    struct io *io = &x->up->io;

    io_want_read(io, true);
    if (x->answer.is_stream && !x->answer.is_slim && x->up_done) {
        x->answer.is_slim = true;
        io_free_buffers(io);
        hold_release(&x->body);
        buf_release(&x->up_buf);
    }
    return DOWN_WAIT;
}

static enum down pump_down(struct xchg *x)
{
    struct io *io = &x->up->io;
    enum down down = flush_down(x);

    if (down == DOWN_DONE && !x->answer.body_done &&
        !(x->woken & (WAKE_UPSTREAM_IN | WAKE_CLIENT_OUT | WAKE_RUN)) && !io_has_buffered(io)) { /* no answer can be here yet: the event will tell */
        io_want_read(io, true);
        return DOWN_WAIT;
    }
    for (int turn = 0; turn < TURN_READS && down == DOWN_DONE && !x->answer.body_done; turn++) {
        enum down flushed;

        down = read_answer(x);
        if (down == DOWN_GONE || down == DOWN_BROKEN || down == DOWN_BAD)
            return down;
        /* Records that are here already leave together: one write, not one each. */
        if (down == DOWN_DONE && io_has_buffered(io) && buf_len(&x->out) < OUT_BATCH_BYTES)
            continue;
        flushed = flush_down(x);
        if (flushed != DOWN_DONE || down == DOWN_WAIT)
            return flushed == DOWN_DONE ? DOWN_WAIT : flushed;
        if (!x->answer.body_done && !io_has_buffered(io)) {
            /* Reading once more just to see EAGAIN is dear: the event will tell. */
            return await_more(x);
        }
    }
    if (down == DOWN_DONE)
        down = flush_down(x);
    if (down == DOWN_DONE && !x->answer.body_done) {
        xchg_again(x);
        return DOWN_WAIT;
    }
    return down;
}

/* ---- RELAY ------------------------------------------------------------------------------------------------ */

static void renew_deadline(struct xchg *x)
{
    const struct bounds_config *bounds = &x->config->bounds;
    enum relay_wait waiting;
    int64_t ms;

    if (buf_len(&x->out) > 0) {
        waiting = WAIT_CLIENT_WRITE;
        ms = bounds->write_timeout_ms;
    } else if (!x->answer.has_head && !x->body_done && !x->duplex &&
               buf_len(&x->up_buf) == 0) {
        waiting = WAIT_CLIENT_BODY;
        ms = bounds->body_timeout_ms;
    } else if (!x->answer.has_head) {
        waiting = WAIT_FIRST_BYTE;
        ms = x->upstream->first_byte_timeout_ms;
    } else if (x->answer.holding) {
        waiting = WAIT_HELD; /* from the head on, however much comes */
        ms = HOLD_RELEASE_MS;
    } else {
        waiting = WAIT_MORE;
        ms = x->upstream->idle_timeout_ms;
    }
    /* Whoever goes on speaking does not wait longer for the first word. */
    if (waiting != x->waiting || (x->progress && waiting != WAIT_HELD &&
                                  !(x->duplex && waiting == WAIT_FIRST_BYTE)))
        xchg_within(x, ms);
    x->waiting = waiting;
    x->progress = false;
}

/* The provider failed us: what the client may still be told depends on what it has seen. */
static enum step upstream_failed(struct xchg *x, enum end_reason end, enum refusal refusal,
                                 const char *what)
{
    x->end = end;
    x->up_reusable = false;
    answer_abandon(x);
    log_line(LOG_WARN, "upstream", what, "id=%s upstream=%s end=%s", x->id_text, x->upstream->name,
             end_reason_name(end));
    if (!x->answer.head_sent)
        return xchg_refuse(x, refusal, "the upstream \"%s\": %s", x->upstream->name, what);
    answer_cut(x, refusal, what);
    return xchg_go(x, &S_REPLY);
}

/* The provider bills what nobody waits for any more: its word is worth the reading. */
static bool should_drain(const struct xchg *x)
{
    bool is_stream = x->facts.stream || x->route.path_stream || x->answer.is_stream;
    bool is_told = x->route.endpoint->kind == ENDPOINT_METERED ||
                   x->route.endpoint->kind == ENDPOINT_FETCHED;

    if (!x->up_done || !is_told || x->worker->n_draining >= DRAINS_MAX)
        return false;
    switch (x->upstream->on_client_gone) {
    case CLIENT_GONE_ABORT:
        return false;
    case CLIENT_GONE_DRAIN:
        return true;
    case CLIENT_GONE_AUTO:
        break;
    }
    return !is_stream || protocol_goes_on(x->upstream->protocol, x->upstream->provider);
}

/* Client gone: is the rest of the answer worth reading for its usage? */
static enum step client_left(struct xchg *x)
{
    const struct tap_result *seen = x->tap ? tap_result(x->tap) : NULL;

    x->client_gone = true;
    x->client_had_all = x->answer.is_stream && seen && seen->usage_is_final;
    if (x->answer.body_done || (seen && seen->usage_is_final)) /* nothing more is to be learnt */
        return xchg_end(x, END_CLIENT_GONE);
    if (should_drain(x))
        return xchg_go(x, &S_DRAIN);
    return xchg_end(x, END_CLIENT_GONE);
}

static enum step st_relay(struct xchg *x)
{
    enum down down;
    enum rc rc;

    if ((x->woken & WAKE_CLIENT_IN) && (x->body_done || x->up_broken) && conn_is_gone(x->conn))
        return client_left(x);
    if (x->conn->eof || x->conn->io.broken) /* while the upstream takes nothing, nothing is read */
        return client_left(x);
    if (x->duplex && duplex_is_stale(x))
        return duplex_cut(x);
    rc = pump_up(x);
    if (x->duplex && (rc == RC_LIMIT || (rc == RC_BAD && x->chunked.fault == HTTP1_OK)))
        return duplex_refuse(x, rc);
    if (rc == RC_BAD) {
        x->close_client = true;
        stat_add(&x->worker->stats.http_faults[x->chunked.fault], 1);
        if (!x->answer.head_sent)
            return xchg_refuse(x, REFUSE_BAD_REQUEST, "malformed request: %s",
                               http1_fault_text(x->chunked.fault));
        return xchg_end(x, END_CLIENT_GONE);
    }
    if (rc != RC_OK)
        return client_left(x);
    down = pump_down(x);
    if (x->socket && x->socket->is_open && down != DOWN_GONE)
        return xchg_go(x, &S_SOCKET);
    switch (down) {
    case DOWN_WAIT:
        if (!grow_check(x))
            return grow_cut(x);
        renew_deadline(x);
        return STEP_WAIT;
    case DOWN_DONE:
        return x->answer.holding ? xchg_go(x, &S_COLLECT) : xchg_end(x, END_OK);
    case DOWN_GONE:
        return client_left(x);
    case DOWN_BROKEN:
        return upstream_failed(x, END_UPSTREAM_GONE, REFUSE_UPSTREAM_UNREACHABLE,
                               "it broke off its answer");
    case DOWN_BAD:
        break;
    }
    return upstream_failed(x, END_UPSTREAM_BAD, REFUSE_UPSTREAM_UNREACHABLE,
                           "its answer is not valid HTTP");
}

static enum step relay_timeout(struct xchg *x)
{
    switch (x->waiting) {
    case WAIT_HELD:
        if (answer_release(x) != RC_OK)
            return xchg_end(x, END_CLIENT_GONE);
        return st_relay(x);
    case WAIT_CLIENT_WRITE:
        stat_add(&x->worker->stats.abuse_slow_reader, 1);
        x->client_gone = true;
        return xchg_end(x, END_CLIENT_SLOW);
    case WAIT_CLIENT_BODY:
        stat_add(&x->worker->stats.abuse_slow_body, 1);
        x->close_client = true;
        x->end = END_CLIENT_SLOW;
        return xchg_refuse(x, REFUSE_REQUEST_TIMEOUT, "the request did not arrive in time");
    case WAIT_NOTHING:
    case WAIT_FIRST_BYTE:
    case WAIT_MORE:
    case WAIT_CLOSE:
    case WAIT_IDLE:
        break;
    }
    return upstream_failed(x, END_UPSTREAM_TIMEOUT, REFUSE_UPSTREAM_TIMEOUT,
                           "it did not answer in time");
}

/* ---- DRAIN ----------------------------------------------------------------------------------------------------- */

static enum step st_drain(struct xchg *x)
{
    int64_t now_us = x->worker->now_us;

    if (x->drain_until_us == 0) {
        struct conn *c = x->conn;

        x->drain_until_us = now_us + x->upstream->drain_ms * INT64_C(1000);
        x->drain_left = x->upstream->drain_max_bytes;
        x->worker->n_draining++;
        x->end = END_CLIENT_GONE;
        x->conn = NULL;
        c->xchg = NULL;
        conn_close(c);
        buf_release(&x->out);
        xchg_within(x, x->upstream->drain_ms);
    }
    for (int turn = 0; turn < TURN_READS; turn++) {
        uint64_t before = stat_get(&x->worker->stats.bytes_in_upstream);
        uint64_t took;

        switch (read_answer(x)) {
        case DOWN_WAIT:
            return STEP_WAIT;
        case DOWN_DONE:
            if (x->answer.body_done)
                return xchg_end(x, END_CLIENT_GONE);
            break;
        case DOWN_GONE:
        case DOWN_BROKEN:
        case DOWN_BAD:
            return xchg_end(x, END_CLIENT_GONE);
        }
        took = stat_get(&x->worker->stats.bytes_in_upstream) - before;
        if (took > x->drain_left)
            return xchg_end(x, END_CLIENT_GONE);
        x->drain_left -= took;
    }
    xchg_again(x);
    return STEP_WAIT;
}

static enum step drain_timeout(struct xchg *x)
{
    return xchg_end(x, END_CLIENT_GONE);
}

const struct xchg_state S_CONNECT = {"connect", st_connect, WAKE_POOL | WAKE_CLIENT_IN,
                                     connect_timeout};
const struct xchg_state S_RELAY = {"relay", st_relay,
                                   WAKE_CLIENT_IN | WAKE_CLIENT_OUT | WAKE_UPSTREAM_IN |
                                       WAKE_UPSTREAM_OUT | WAKE_RUN | WAKE_LIMIT,
                                   relay_timeout};
const struct xchg_state S_DRAIN = {"drain", st_drain, WAKE_UPSTREAM_IN | WAKE_RUN,
                                   drain_timeout};
