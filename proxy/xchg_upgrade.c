/*
 * xchg_upgrade.c - the handshake by which an exchange becomes a WebSocket (RFC 6455 section 4).
 *
 * Each hop has its own key and answer; extensions are neither offered nor taken, subprotocols
 * are checked against the offer.  What follows the handshake is xchg_socket.c.
 */
#include "proxy/xchg_socket.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/check.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/auth.h"

void socket_free(struct socket *s)
{
    if (!s)
        return;
    ASSERT(list_is_empty(&s->turns));
    live_free(s->live);
    buf_release(&s->in);
    buf_release(&s->notes);
    free(s);
}

static struct socket *socket_new(struct xchg *x)
{
    struct socket *s = xcalloc(1, sizeof(*s));

    s->x = x;
    s->protocol = live_protocol(x->route.endpoint);
    s->call = x->route;
    s->call.endpoint = s->protocol->answer;
    list_init(&s->turns);
    buf_init(&s->in, 2 * SCRATCH_BYTES);
    buf_init(&s->notes, SOCKET_NOTES_BYTES);
    ws_reader_init(&s->from_client, true, x->config->bounds.body_bytes);
    ws_reader_init(&s->from_upstream, false, SOCKET_MESSAGE_MAX_BYTES);
    idle_frames_init(&s->idle_client, clock_mono_us());
    s->idle_upstream = s->idle_client;
    s->live = live_new(s->protocol->kind, x->upstream->protocol, &s->call);
    x->socket = s;
    return s;
}

enum step socket_begin(struct xchg *x)
{
    const char *fault = ws_request_fault(&x->head);
    struct strv model;
    char key[WS_KEY_TEXT];
    struct socket *s;

    if (fault || x->framing.body != BODY_NONE) {
        x->close_client = true;
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "malformed WebSocket handshake: %s",
                           fault ? fault : "it has a body");
    }
    s = socket_new(x);
    if (ws_offer(&x->head, x->upstream->credentials, &x->arena, &s->offered) != RC_OK ||
        !live_query_model(x->target.query, s->model, &model))
        return xchg_refuse(x, REFUSE_BAD_REQUEST,
                           "malformed WebSocket handshake: its subprotocols or its model");
    s->model[model.n < sizeof(s->model) ? model.n : sizeof(s->model) - 1] = '\0';
    if (model.n > 0 && !key_allows_model(x->key, model))
        return xchg_refuse(x, REFUSE_MODEL_NOT_ALLOWED,
                           "this key may not use the model \"%s\"", s->model);
    x->facts.model = x->model = strv_z(s->model);
    x->facts.stream = true;
    x->tags.subject.dim[DIM_MODEL] = x->model;
    ws_key_make(key);
    ws_accept_make(strv_z(key), s->accept);
    s->key = arena_strv(&x->arena, strv_z(key));
    if (!s->key.p)
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "the request head is too large");
    /* Nothing is reserved for it: each call is, on its own. */
    return xchg_go(x, &S_BEGIN);
}

void socket_headers(const struct socket *s, struct http1_header *add, size_t *n)
{
    add[(*n)++] = (struct http1_header){.name = STRV("Connection"), .value = STRV("Upgrade")};
    add[(*n)++] = (struct http1_header){.name = STRV("Upgrade"), .value = STRV("websocket")};
    add[(*n)++] = (struct http1_header){.name = STRV("Sec-WebSocket-Version"), .value = STRV("13")};
    add[(*n)++] = (struct http1_header){.name = STRV("Sec-WebSocket-Key"), .value = s->key};
    if (s->offered.n > 0)
        add[(*n)++] = (struct http1_header){.name = STRV("Sec-WebSocket-Protocol"), .value = s->offered};
}

static bool drop_handshake(void *arg, const struct http1_header *field)
{
    (void)arg;
    return ws_is_handshake_header(field->name);
}

enum rc socket_accept(struct xchg *x)
{
    struct socket *s = x->socket;
    const struct http1_head *head = &x->answer.head;
    const char *fault = ws_response_fault(head, s->accept, s->offered, &s->chosen);
    struct http_response_rewrite rw = {
        .body = BODY_NONE, .client_minor = 1, .keep_alive = true, .drop = drop_handshake};
    char accept[WS_ACCEPT_TEXT];
    struct buf lines;
    enum rc rc;

    if (fault) {
        log_line(LOG_WARN, "upstream", "not a WebSocket", "id=%s upstream=%s reason=\"%s\"",
                 x->id_text, x->upstream->name, fault);
        return RC_BAD;
    }
    ws_accept_make(strv_trim(http1_value(&x->head, STRV("sec-websocket-key"))), accept);
    buf_init(&lines, SOCKET_NOTES_BYTES);
    rc = buf_printf(&lines,
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n"
                    "X-Tollgate-Request-Id: %s\r\n",
                    accept, x->id_text);
    if (rc == RC_OK && s->chosen.n > 0)
        rc = buf_printf(&lines, "Sec-WebSocket-Protocol: " STRV_FMT "\r\n", STRV_ARG(s->chosen));
    rw.add = buf_view(&lines);
    if (rc == RC_OK)
        rc = http_build_response(head, &rw, &x->out);
    buf_release(&lines);
    if (rc != RC_OK)
        return rc;
    x->status = x->upstream_status = head->status;
    x->answer.has_head = x->answer.head_sent = true;
    x->close_client = true; /* no request follows on it */
    x->up_reusable = false;
    s->is_open = true;
    io_save_memory(&x->conn->io, true);
    io_save_memory(&x->up->io, true);
    stat_response(&x->worker->stats, x->status);
    stat_add(&x->worker->stats.websockets, 1);
    stat_add(&x->worker->stats.websockets_open, 1);
    return RC_OK;
}
