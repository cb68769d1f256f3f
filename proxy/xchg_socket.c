/*
 * xchg_socket.c - SOCKET: frames between a client and an upstream, both ways at once.
 *
 * A server's frames pass as they come, byte for byte, and are read as they pass; a client's
 * messages are xchg_message.c.  Back-pressure is by pull, as in RELAY: a side is not read while
 * the other has not taken what was read before.
 *
 * Whoever breaks the rules of the protocol is told so, and the other side that the connection
 * has ended.  A gateway's own words stand where a frame of the server's has ended.
 */
#include "proxy/xchg_socket.h"

#include <string.h>

#include <openssl/rand.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

/* ---- words of our own ---------------------------------------------------------------------- */

enum rc socket_put_up(struct xchg *x, enum ws_opcode opcode, struct strv payload)
{
    unsigned char mask[WS_MASK_BYTES];
    char head[WS_HEAD_MAX_BYTES];
    enum rc rc;

    ASSERT(RAND_bytes(mask, sizeof(mask)) == 1);
    rc = buf_append(&x->up_buf, head, ws_head(opcode, payload.n, mask, head));
    if (rc == RC_OK)
        rc = buf_reserve(&x->up_buf, payload.n);
    if (rc != RC_OK || payload.n == 0)
        return rc;
    memcpy(buf_tail(&x->up_buf), payload.p, payload.n);
    ws_mask(buf_tail(&x->up_buf), payload.n, mask, 0);
    buf_commit(&x->up_buf, payload.n);
    return RC_OK;
}

static enum rc put_note(struct buf *out, enum ws_opcode opcode, struct strv payload)
{
    char head[WS_HEAD_MAX_BYTES];
    enum rc rc = buf_append(out, head, ws_head(opcode, payload.n, NULL, head));

    return rc == RC_OK ? buf_append_strv(out, payload) : rc;
}

static void give_up(struct socket *s, struct strv why)
{
    why = strv_head(why, sizeof(s->why) - 3);
    if (!s->hopeless && why.n > 0)
        memcpy(s->why, why.p, why.n);
    s->hopeless = true;
}

void socket_refuse(struct socket *s, enum refusal refusal, struct strv message,
                   const char *request_id, const char *event_id, const char *lane)
{
    struct buf event;

    buf_init(&event, SOCKET_NOTES_BYTES);
    if (live_refusal(s->protocol->kind, refusal, message, strv_z(request_id), event_id, lane,
                     &event) != RC_OK ||
        put_note(&s->notes, WS_TEXT, buf_view(&event)) != RC_OK)
        give_up(s, strv_z(refusal_code(refusal)));
    buf_release(&event);
    xchg_again(s->x);
}

void socket_say(struct socket *s, struct strv message)
{
    if (socket_put_up(s->x, WS_TEXT, message) != RC_OK)
        give_up(s, STRV("overloaded"));
    xchg_again(s->x);
}

/* Our frames go out where the server's message has ended. */
static enum rc flush_notes(struct xchg *x)
{
    struct socket *s = x->socket;
    enum rc rc;

    if (buf_len(&s->notes) == 0 || !ws_is_between_messages(&s->from_upstream) ||
        s->upstream_closes)
        return RC_OK;
    rc = client_put(x, buf_view(&s->notes).p, buf_len(&s->notes));
    buf_release(&s->notes);
    return rc;
}

/* ---- the end ---------------------------------------------------------------------------------- */

static size_t close_payload(enum ws_code code, struct strv why, char out[WS_CONTROL_MAX_BYTES])
{
    out[0] = (char)((unsigned)code >> 8);
    out[1] = (char)((unsigned)code & 0xff);
    why = strv_head(why, WS_CONTROL_MAX_BYTES - 2);
    if (why.n > 0)
        memcpy(out + 2, why.p, why.n);
    return 2 + why.n;
}

static enum step finish(struct xchg *x)
{
    enum rc rc = client_flush(x);

    if (rc == RC_AGAIN)
        return STEP_WAIT;
    if (rc != RC_OK)
        x->client_gone = true;
    return xchg_end(x, END_OK);
}

/* The gateway ends it: with code to the client and up_code to the upstream, as far as either
 * can still be told. */
static enum step hang_up(struct xchg *x, enum end_reason end, enum ws_code code,
                         enum ws_code up_code, struct strv why)
{
    struct socket *s = x->socket;
    char payload[WS_CONTROL_MAX_BYTES];
    size_t n;

    turns_end(s, end);
    if (x->end == END_NONE)
        x->end = end;
    s->ending = true;
    io_want_read(&x->conn->io, false);
    io_want_read(&x->up->io, false);
    n = close_payload(code, why, payload);
    if (!s->upstream_closes && ws_is_between_frames(&s->from_upstream)) {
        if (flush_notes(x) != RC_OK ||
            put_note(&x->out, WS_CLOSE, strv_make(payload, n)) != RC_OK)
            x->client_gone = true;
    }
    n = close_payload(up_code, STRV_NONE, payload);
    if (!s->client_closes && (x->up_pending.n == 0 || s->gate == GATE_SENDING) &&
        socket_put_up(x, WS_CLOSE, strv_make(payload, n)) == RC_OK) {
        for (int turn = 0; turn < 2; turn++) { /* a message's rest, then this */
            if (relay_flush_up(x) != RC_OK)
                break;
        }
    }
    io_write_done(&x->up->io); /* more it is not told */
    if (x->client_gone)
        return xchg_end(x, end);
    xchg_within(x, SOCKET_CLOSE_MS);
    return finish(x);
}

static enum step fault_of(struct xchg *x, bool of_client)
{
    struct socket *s = x->socket;
    enum ws_fault fault = of_client ? s->from_client.fault : s->from_upstream.fault;
    enum ws_code code = fault == WS_TOO_LARGE  ? WS_CODE_TOO_LARGE
                        : fault == WS_BAD_TEXT ? WS_CODE_NO_TEXT
                        : fault == WS_TOO_MANY ? WS_CODE_POLICY
                                               : WS_CODE_PROTOCOL;

    if (fault == WS_TOO_MANY)
        stat_add(&x->worker->stats.abuse_socket, 1);
    stat_add(&x->worker->stats.websocket_faults, 1);
    log_line(LOG_INFO, "socket", "broken rules", "id=%s side=%s reason=\"%s\"", x->id_text,
             of_client ? "client" : "upstream", ws_fault_text(fault));
    if (of_client)
        return hang_up(x, END_CLIENT_GONE, code, WS_CODE_GOING_AWAY,
                       strv_z(ws_fault_text(fault)));
    return hang_up(x, END_UPSTREAM_BAD, WS_CODE_BAD_GATEWAY, code,
                   STRV("the upstream broke the protocol"));
}

void socket_settle(struct xchg *x)
{
    struct socket *s = x->socket;

    turns_end(s, x->end);
    if (s->is_open)
        stat_sub(&x->worker->stats.websockets_open, 1);
    s->is_open = false;
}

enum step socket_stop(struct xchg *x)
{
    if (!x->socket->ending)
        (void)hang_up(x, END_STOPPED, WS_CODE_GOING_AWAY, WS_CODE_GOING_AWAY,
                      STRV("the gateway is shutting down"));
    else if (client_flush(x) == RC_EOF)
        x->client_gone = true;
    return xchg_end(x, END_STOPPED);
}

bool socket_frame_good(struct idle_frames *f, struct ws_reader *r, enum ws_found found,
                       const struct ws_piece *piece)
{
    if (found == WS_DATA && piece->bytes.n > 0)
        idle_frames_pay(f);
    if (found != WS_FRAME && found != WS_CONTROL)
        return true;
    idle_frames_count(f, 1);
    if (f->n < IDLE_FRAMES_MAX || idle_frames_good(f, clock_mono_us()))
        return true;
    r->fault = WS_TOO_MANY;
    return false;
}

/* ---- down ------------------------------------------------------------------------------------- */

static enum rc end_message(struct xchg *x)
{
    turn_word(x->socket, live_end(x->socket->live));
    return flush_notes(x);
}

static enum rc take_control(struct xchg *x, const struct ws_piece *piece)
{
    char head[WS_HEAD_MAX_BYTES];
    enum rc rc = client_put(x, head, ws_head(piece->opcode, piece->bytes.n, NULL, head));

    x->socket->upstream_closes = piece->opcode == WS_CLOSE;
    return rc == RC_OK ? client_put(x, piece->bytes.p, piece->bytes.n) : rc;
}

/* Bytes of the upstream's: to the client as they are, and looked at. */
static enum rc take_upstream(struct xchg *x, char *p, size_t n)
{
    struct socket *s = x->socket;
    struct ws_piece piece;
    enum rc rc = RC_OK;

    while (rc == RC_OK && !s->upstream_closes) {
        enum ws_found found = ws_read(&s->from_upstream, &p, &n, &piece);

        if (!socket_frame_good(&s->idle_upstream, &s->from_upstream, found, &piece))
            return RC_BAD;
        switch (found) {
        case WS_MORE:
            return RC_OK;
        case WS_FRAME:
            if (piece.begins_message) {
                live_begin(s->live);
                s->message_bytes = 0;
            }
            rc = client_put(x, piece.bytes.p, piece.bytes.n);
            break;
        case WS_DATA:
            x->bytes_out += piece.bytes.n;
            s->message_bytes += piece.bytes.n;
            rc = client_put(x, piece.bytes.p, piece.bytes.n);
            live_feed(s->live, piece.bytes);
            if (rc == RC_OK && piece.ends_message)
                rc = end_message(x);
            break;
        case WS_CONTROL:
            rc = take_control(x, &piece);
            break;
        case WS_FAULTY:
            return RC_BAD;
        }
    }
    return rc;
}

enum rc socket_take_early(struct xchg *x, char *bytes, size_t n)
{
    return take_upstream(x, bytes, n);
}

static enum side pump_down(struct xchg *x)
{
    struct socket *s = x->socket;
    struct io *io = &x->up->io;
    char *scratch = x->worker->scratch;

    if (flush_notes(x) != RC_OK)
        return SIDE_OTHER_GONE;
    for (int turn = 0; turn < TURN_READS; turn++) {
        size_t got = 0;
        /* What is here already leaves together: one write, not one each. */
        bool more = turn > 0 && !s->upstream_closes && io_has_buffered(io) &&
                    buf_len(&x->out) < OUT_BATCH_BYTES;
        enum rc rc = more ? RC_OK : client_flush(x);

        if (rc == RC_AGAIN) { /* back-pressure: the client has the last word on speed */
            io_want_read(io, false);
            return SIDE_WAITS;
        }
        if (rc != RC_OK)
            return SIDE_OTHER_GONE;
        if (s->upstream_closes) {
            io_want_read(io, false);
            return SIDE_WAITS;
        }
        if (!io_has_buffered(io) &&
            (turn > 0 || !(x->woken & (WAKE_UPSTREAM_IN | WAKE_CLIENT_OUT | WAKE_RUN)))) {
            io_want_read(io, true); /* reading just to see EAGAIN is dear */
            return SIDE_WAITS;
        }
        rc = io_read(io, scratch, SCRATCH_BYTES, &got);
        if (rc == RC_AGAIN) { /* of a record that is here in part */
            io_want_read(io, true);
            return client_flush(x) == RC_EOF ? SIDE_OTHER_GONE : SIDE_WAITS;
        }
        if (rc != RC_OK)
            return SIDE_GONE;
        x->progress = true;
        stat_add(&x->worker->stats.bytes_in_upstream, got);
        rc = take_upstream(x, scratch, got);
        if (rc != RC_OK)
            return rc == RC_EOF ? SIDE_OTHER_GONE : SIDE_BAD;
    }
    return SIDE_MORE;
}

/* ---- SOCKET ----------------------------------------------------------------------------------- */

static void renew_deadline(struct xchg *x)
{
    const struct socket *s = x->socket;
    enum relay_wait waiting = WAIT_IDLE;
    int64_t ms = x->config->bounds.websocket_idle_ms;

    if (buf_len(&x->out) > 0) {
        waiting = WAIT_CLIENT_WRITE;
        ms = x->config->bounds.write_timeout_ms;
    } else if (s->client_closes || s->upstream_closes) {
        waiting = WAIT_CLOSE;
        ms = SOCKET_CLOSE_MS;
    }
    if (waiting != x->waiting || (x->progress && waiting != WAIT_CLOSE))
        xchg_within(x, ms);
    x->waiting = waiting;
    x->progress = false;
}

static enum step client_gone(struct xchg *x)
{
    x->client_gone = true;
    return hang_up(x, x->socket->client_closes || x->socket->upstream_closes ? END_OK
                                                                             : END_CLIENT_GONE,
                   WS_CODE_GOING_AWAY, WS_CODE_GOING_AWAY, STRV_NONE);
}

static enum step upstream_gone(struct xchg *x)
{
    if (x->socket->upstream_closes || x->socket->client_closes)
        return hang_up(x, END_OK, WS_CODE_NORMAL, WS_CODE_NORMAL, STRV_NONE);
    return hang_up(x, END_UPSTREAM_GONE, WS_CODE_BAD_GATEWAY, WS_CODE_NORMAL,
                   STRV("the upstream broke off"));
}

/* What the rounds of both directions came to. */
static enum step after_rounds(struct xchg *x, enum side up, enum side down)
{
    struct socket *s = x->socket;

    if (up == SIDE_BAD || down == SIDE_BAD)
        return s->from_client.fault != WS_OK || s->from_upstream.fault != WS_OK
                   ? fault_of(x, s->from_client.fault != WS_OK)
                   : hang_up(x, END_CLIENT_SLOW, WS_CODE_POLICY, WS_CODE_GOING_AWAY,
                             STRV("too much waits to be read"));
    if (down == SIDE_GONE || up == SIDE_OTHER_GONE)
        return upstream_gone(x);
    if (up == SIDE_GONE || down == SIDE_OTHER_GONE)
        return client_gone(x);
    if (s->upstream_closes && s->client_closes && buf_len(&x->out) == 0 &&
        buf_len(&x->up_buf) == 0) {
        turns_end(s, END_CLIENT_GONE);
        return xchg_end(x, END_OK);
    }
    if (s->upstream_closes)
        turns_end(s, END_UPSTREAM_GONE);
    if (s->hopeless)
        return hang_up(x, END_REFUSED, WS_CODE_POLICY, WS_CODE_GOING_AWAY, strv_z(s->why));
    if (s->stale && !turns_run(s))
        return hang_up(x, END_OK, WS_CODE_POLICY, WS_CODE_GOING_AWAY, STRV(SOCKET_STALE));
    if (x->worker->draining && !turns_run(s))
        return hang_up(x, END_OK, WS_CODE_GOING_AWAY, WS_CODE_GOING_AWAY,
                       STRV("the gateway is shutting down"));
    if (up == SIDE_MORE || down == SIDE_MORE)
        xchg_again(x);
    renew_deadline(x);
    return STEP_WAIT;
}

static void check_key(struct xchg *x)
{
    struct socket *s = x->socket;
    const struct upstream_config *upstream;
    const struct key_config *key;
    int64_t now_us = clock_wall_us();

    if (s->is_checked && (s->stale || now_us < s->good_until_us))
        return;
    key = socket_key(x, x->worker->pools->generation->config, now_us, &upstream);
    s->is_checked = true;
    s->stale = key == NULL;
    s->good_until_us = key ? key->expires_us : 0;
}

static enum step st_socket(struct xchg *x)
{
    enum side up, down;

    if (x->socket->ending)
        return finish(x);
    check_key(x);
    if (x->socket->from_upstream.fault != WS_OK) /* behind the head of its handshake */
        return fault_of(x, false);
    up = socket_pump_up(x);
    down = pump_down(x);
    return after_rounds(x, up, down);
}

static enum step socket_timeout(struct xchg *x)
{
    if (x->socket->ending || x->waiting == WAIT_CLOSE || x->waiting == WAIT_CLIENT_WRITE) {
        x->client_gone = x->client_gone || x->waiting == WAIT_CLIENT_WRITE;
        turns_end(x->socket, END_CLIENT_GONE);
        return xchg_end(x, x->waiting == WAIT_CLIENT_WRITE ? END_CLIENT_SLOW : END_OK);
    }
    if (turns_run(x->socket)) { /* each of them has a deadline of its own */
        xchg_within(x, x->config->bounds.websocket_idle_ms);
        return STEP_WAIT;
    }
    return hang_up(x, END_OK, WS_CODE_GOING_AWAY, WS_CODE_GOING_AWAY,
                   STRV("nothing was said for a long time"));
}

const struct xchg_state S_SOCKET = {"socket", st_socket,
                                    WAKE_CLIENT_IN | WAKE_CLIENT_OUT | WAKE_UPSTREAM_IN |
                                        WAKE_UPSTREAM_OUT | WAKE_RUN,
                                    socket_timeout};
