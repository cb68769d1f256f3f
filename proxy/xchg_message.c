/*
 * xchg_message.c - a client's messages on a WebSocket.
 *
 * They are held until they are whole, since what they ask must be known before they go on; they
 * leave as one frame, masked anew.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "proxy/xchg_socket.h"

enum {
    SMALL_BYTES = 16 << 10, /* messages up to here are collected for one write */
    UP_BATCH_BYTES = 64 << 10,
};

/* The message in x->body goes upstream, as one frame. */
static enum rc forward(struct xchg *x)
{
    struct socket *s = x->socket;
    struct strv message = hold_view(&x->body);
    unsigned char mask[WS_MASK_BYTES];
    char head[WS_HEAD_MAX_BYTES];
    enum rc rc;

    s->gate = GATE_NONE;
    if (message.n <= SMALL_BYTES) {
        rc = socket_put_up(x, s->opcode, message);
        hold_clear(&x->body);
        return rc;
    }
    ASSERT(RAND_bytes(mask, sizeof(mask)) == 1);
    rc = buf_append(&x->up_buf, head, ws_head(s->opcode, message.n, mask, head));
    if (rc != RC_OK)
        return rc;
    ws_mask(x->body.data + x->body.start, message.n, mask, 0);
    hold_compose(&x->body, buf_view(&x->up_buf), 0, 0, STRV_NONE, &x->up_pending);
    buf_clear(&x->up_buf);
    s->gate = GATE_SENDING;
    return RC_OK;
}

static void drop(struct xchg *x)
{
    x->socket->gate = GATE_NONE;
    hold_clear(&x->body);
}

/* Models that a message names may be ones that the key must not use. */
static bool names_allowed(struct xchg *x, const struct live_ask *ask)
{
    struct strv model = strv_z(ask->model), transcriber = strv_z(ask->transcriber);
    const struct strv *bad = NULL;
    char message[MESSAGE_MAX_BYTES];

    if (x->socket->protocol->kind == LIVE_GOOGLE) {
        const char *slash = memrchr(model.p, '/', model.n);

        model = slash ? strv_z(slash + 1) : model;
    }
    if (model.n > 0 && !key_allows_model(x->key, model))
        bad = &model;
    else if (transcriber.n > 0 && !key_allows_model(x->key, transcriber))
        bad = &transcriber;
    if (bad) {
        snprintf(message, sizeof(message), "this key may not use the model \"" STRV_FMT "\"",
                 STRV_ARG(*bad));
        socket_refuse(x->socket, REFUSE_MODEL_NOT_ALLOWED, strv_z(message), x->id_text,
                      ask->event_id, ask->lane);
        stat_add(&x->worker->stats.refused[REFUSE_MODEL_NOT_ALLOWED], 1);
        return false;
    }
    if (model.n > 0 && x->socket->protocol->kind != LIVE_RESPONSES)
        memcpy(x->socket->model, model.p, model.n + 1);
    return true;
}

/* A message of the client's is whole, in x->body. */
static enum rc take_message(struct xchg *x)
{
    struct socket *s = x->socket;
    struct strv message = hold_view(&x->body);
    struct live_ask ask;

    live_read_ask(s->protocol->kind, message, &ask);
    x->bytes_in += message.n;
    if (ask.kind == LIVE_STRANGE) {
        socket_refuse(s, REFUSE_BAD_REQUEST, STRV("the message is not one of this protocol"),
                      x->id_text, "", "");
        stat_add(&x->worker->stats.refused[REFUSE_BAD_REQUEST], 1);
        drop(x);
        return RC_OK;
    }
    if (s->stale) {
        socket_refuse(s, REFUSE_INVALID_KEY, STRV(SOCKET_STALE), x->id_text, ask.event_id,
                      ask.lane);
        stat_add(&x->worker->stats.refused[REFUSE_INVALID_KEY], 1);
        drop(x);
        return RC_OK;
    }
    if (!names_allowed(x, &ask)) {
        drop(x);
        return RC_OK;
    }
    if (ask.kind != LIVE_CREATES && ask.hears.is_said)
        s->hears = ask.hears;
    if (ask.kind != LIVE_CREATES && ask.speaks.is_said)
        s->speaks = ask.speaks;
    if (ask.has_session_max)
        s->session_max = ask.session_max;
    if (ask.kind == LIVE_CREATES) {
        turn_open(s, &ask, message);
    } else if (ask.kind == LIVE_FEEDS && clock_mono_us() < s->shut_until_us) {
        drop(x);
        return RC_OK;
    } else if (ask.kind == LIVE_FEEDS && !s->spare) {
        turn_open_spare(s);
    } else if (ask.kind == LIVE_FEEDS && s->spare->admitted) {
        xchg_within(s->spare->x, SOCKET_SPARE_MS);
    }
    s->text_bytes += ask.text_bytes;
    s->audio_bytes += live_sound_bytes(&s->hears, ask.audio_bytes);
    return s->gate == GATE_NONE ? forward(x) : RC_OK;
}

static enum rc take_data(struct xchg *x, const struct ws_piece *piece)
{
    if (worker_memory(x->worker) == MEMORY_FULL)
        return RC_LIMIT;
    if (piece->bytes.n > 0) {
        hold_reserve(&x->body, piece->bytes.n, 0);
        memcpy(hold_tail(&x->body), piece->bytes.p, piece->bytes.n);
        x->body.len += piece->bytes.n;
    }
    if (!piece->ends_message)
        return RC_OK;
    /* RFC 6455 8.1: who reads on may read another text than the one before him did. */
    if (x->socket->opcode == WS_TEXT && !utf8_is_text(hold_view(&x->body))) {
        x->socket->from_client.fault = WS_BAD_TEXT;
        return RC_BAD;
    }
    return take_message(x);
}

/* Looks at bytes of the client's until a message waits; moves behind what was looked at. */
static enum rc take_client(struct xchg *x, char **p, size_t *n)
{
    struct socket *s = x->socket;
    struct ws_piece piece;
    enum rc rc = RC_OK;

    while (rc == RC_OK && s->gate == GATE_NONE && !s->client_closes &&
           buf_len(&x->up_buf) < UP_BATCH_BYTES) {
        enum ws_found found = ws_read(&s->from_client, p, n, &piece);

        if (!socket_frame_good(&s->idle_client, &s->from_client, found, &piece))
            return RC_BAD;
        switch (found) {
        case WS_MORE:
            return RC_OK;
        case WS_FRAME:
            s->opcode = piece.opcode;
            break;
        case WS_DATA:
            rc = take_data(x, &piece);
            break;
        case WS_CONTROL:
            s->client_closes = piece.opcode == WS_CLOSE;
            rc = socket_put_up(x, piece.opcode, piece.bytes);
            break;
        case WS_FAULTY:
            return RC_BAD;
        }
    }
    return rc;
}

/* The gate was decided, or what it let through has gone. */
static enum rc pass_gate(struct xchg *x)
{
    struct socket *s = x->socket;
    struct turn *t = s->gated;

    if (s->gate == GATE_SENDING && x->up_pending.n == 0) {
        s->gate = GATE_NONE;
        if (x->body.cap > KEEP_BYTES + HOLD_FRONT_BYTES)
            hold_release(&x->body);
        else
            hold_clear(&x->body);
    } else if (s->gate == GATE_SHUT) {
        drop(x);
    } else if (s->gate == GATE_OPEN) {
        s->gated = NULL;
        if (t && !t->spare)
            turn_sent(t);
        return forward(x);
    }
    return RC_OK;
}

/* One round of what the client sent. RC_AGAIN: nothing more for now; RC_EOF: it is gone. */
static enum rc read_client(struct xchg *x)
{
    struct socket *s = x->socket;
    char *p = x->worker->scratch;
    size_t n = 0;
    enum rc rc;

    if (buf_len(&s->in) > 0) {
        size_t before = buf_len(&s->in);

        p = s->in.data + s->in.head;
        n = before;
        rc = take_client(x, &p, &n);
        buf_consume(&s->in, before - n);
        if (buf_len(&s->in) == 0)
            buf_release(&s->in);
        return rc;
    }
    rc = conn_read(x->conn, p, SCRATCH_BYTES, &n);
    if (rc != RC_OK)
        return rc;
    x->progress = true;
    rc = take_client(x, &p, &n);
    return rc == RC_OK && n > 0 ? buf_append(&s->in, p, n) : rc;
}

enum side socket_pump_up(struct xchg *x)
{
    struct socket *s = x->socket;

    for (int turn = 0; turn < TURN_READS; turn++) {
        enum rc rc;

        do
            rc = relay_flush_up(x);
        while (rc == RC_OK && (x->up_pending.n > 0 || buf_len(&x->up_buf) > 0));
        if (rc == RC_OK)
            rc = pass_gate(x);
        else if (rc != RC_AGAIN)
            return SIDE_OTHER_GONE;
        if (rc == RC_OK && (x->up_pending.n > 0 || buf_len(&x->up_buf) > 0))
            continue;
        if (rc != RC_OK || s->gate != GATE_NONE || s->client_closes ||
            buf_len(&s->notes) > SOCKET_NOTES_BYTES / 2) {
            io_want_read(&x->conn->io, false);
            return rc == RC_OK || rc == RC_AGAIN ? SIDE_WAITS : SIDE_BAD;
        }
        if (turn == 0 && !(x->woken & (WAKE_CLIENT_IN | WAKE_UPSTREAM_OUT | WAKE_RUN)) &&
            buf_len(&s->in) == 0 && buf_len(&x->conn->in) == 0 && !io_has_buffered(&x->conn->io))
            rc = RC_AGAIN; /* nothing can be here: the event will tell */
        else
            rc = read_client(x);
        if (rc == RC_AGAIN) {
            io_want_read(&x->conn->io, true);
            return SIDE_WAITS;
        }
        if (rc != RC_OK)
            return rc == RC_EOF ? SIDE_GONE : SIDE_BAD;
    }
    return SIDE_MORE;
}
