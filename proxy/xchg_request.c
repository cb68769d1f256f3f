/*
 * xchg_request.c - HEAD and BODY: who asks, for what, and the bytes of the request.
 */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "metering/usage/inflate.h"
#include "metering/usage/route_memo.h"
#include "proxy/auth.h"
#include "proxy/peer.h"
#include "proxy/tls_context.h"
#include "proxy/xchg_socket.h"

enum {
    TIER_MAX_BYTES = 32, /* of a service tier's name in a header */
    OWN_BODY_MAX_BYTES = 16 << 10, /* of a request on the gateway's own path, parsed into many times as much */
};

/* ---- HEAD ------------------------------------------------------------------------------ */

bool xchg_keep_head(struct xchg *x, struct http1_head *head, const char *bytes)
{
    struct http1_header *lines = arena_take(&x->arena, head->n_headers * sizeof(*lines));
    struct strv copy = arena_strv(&x->arena, strv_make(bytes, head->bytes));

    if (!lines || !copy.p) {
        head->n_headers = 0;
        return false;
    }
    http1_rebase(head, bytes, copy.p, lines);
    return true;
}

static enum step refuse_head(struct xchg *x)
{
    x->close_client = true;
    stat_add(&x->worker->stats.http_faults[x->head.fault], 1);
    if (x->head.fault == HTTP1_TOO_LARGE || x->head.fault == HTTP1_TOO_MANY_HEADERS) {
        stat_add(&x->worker->stats.abuse_headers, 1);
        return xchg_refuse(x, REFUSE_HEADERS_TOO_LARGE,
                           "the request head is larger than %zu bytes or %zu lines",
                           x->config->bounds.head_bytes, x->config->bounds.headers);
    }
    return xchg_refuse(x, REFUSE_BAD_REQUEST, "malformed request: %s",
                       http1_fault_text(x->head.fault));
}

/* All clients together hold what they may. */
static enum step refuse_memory(struct xchg *x)
{
    x->close_client = x->close_client || !x->body_done;
    stat_add(&x->worker->stats.abuse_memory, 1);
    return xchg_refuse(x, REFUSE_OVERLOADED,
                       "the gateway holds as much for its clients as it may");
}

/* Of a body that is held. */
static uint64_t body_max(const struct xchg *x)
{
    uint64_t most = x->config->bounds.body_bytes;

    return x->own && most > OWN_BODY_MAX_BYTES ? OWN_BODY_MAX_BYTES : most;
}

static enum step refuse_large(struct xchg *x)
{
    stat_add(&x->worker->stats.abuse_body, 1);
    return xchg_refuse(x, REFUSE_BODY_TOO_LARGE, "the request body is larger than %llu bytes",
                       (unsigned long long)body_max(x));
}

static enum step route_request(struct xchg *x);

static enum step st_head(struct xchg *x)
{
    struct conn *c = x->conn;
    const struct bounds_config *bounds = &x->config->bounds;

    x->head.headers = x->worker->lines;
    x->head.known = x->worker->known_lines;
    for (int turn = 0; turn < TURN_READS; turn++) {
        struct strv bytes = buf_view(&c->in);
        enum parse_status status = http1_parse_request(bytes, bounds->head_bytes,
                                                       bounds->headers, &x->head);
        size_t got = 0;
        enum rc rc;

        if (status == PARSE_BAD)
            return refuse_head(x);
        if (status == PARSE_DONE) {
            if (!xchg_keep_head(x, &x->head, bytes.p))
                return refuse_head(x);
            conn_consume(c, x->head.bytes);
            return route_request(x);
        }
        if (x->deadline_us == INT64_MAX)
            xchg_within(x, bounds->head_timeout_ms);
        if (c->eof)
            return xchg_end(x, END_CLIENT_GONE);
        io_want_read(&c->io, true);
        rc = io_read(&c->io, x->worker->scratch, SCRATCH_BYTES, &got);
        if (rc == RC_AGAIN)
            return STEP_WAIT;
        if (rc != RC_OK) {
            c->eof = true;
            return xchg_end(x, END_CLIENT_GONE);
        }
        stat_add(&x->worker->stats.bytes_in_client, got);
        if (got > buf_room(&c->in) && worker_memory(x->worker) == MEMORY_FULL) {
            x->close_client = true;
            return refuse_memory(x);
        }
        if (buf_append(&c->in, x->worker->scratch, got) != RC_OK)
            return refuse_head(x);
    }
    xchg_again(x);
    return STEP_WAIT;
}

/* The upstream, key and tags that the head names. */
static enum step identify(struct xchg *x)
{
    const struct config *config = x->config;
    const unsigned char *trust = tls_trust(x->pools->generation->server);
    struct tags_refusal refusal UNCLEARED;
    enum auth_result auth;

    x->upstream = config_upstream(config, x->target.upstream);
    if (!x->own && x->upstream)
        route_memo_find(x->worker->routes, x->upstream->protocol, x->head.method,
                        x->target.rest, x->target.query, &x->route);
    auth = auth_find(x->pools->keys, x->upstream ? x->upstream->credentials : CREDENTIALS_PROXY, &x->head,
                     x->target.query, x->start_wall_us, &x->key);
    if (x->conn && peer_is_good(x->conn->peer, trust, x->start_wall_us))
        auth = auth_certificate(config, auth, &x->head, x->target.query, x->conn->peer,
                                x->start_wall_us, &x->key);
    else if (config->proxy.client_certificates == CLIENT_CERTIFICATES_REQUIRED)
        auth = AUTH_NO_CERTIFICATE;
    if (auth != AUTH_OK) {
        log_line(LOG_INFO, "auth", "refused", "id=%s reason=%s key=%s", x->id_text,
                 auth_result_name(auth), x->key ? x->key->name : "");
        return xchg_refuse(x, REFUSE_INVALID_KEY, STRV_FMT, STRV_ARG(auth_message()));
    }
    if (!x->own && !x->upstream && auth_is_virtual(x->target.upstream))
        return xchg_refuse(x, REFUSE_UNKNOWN_UPSTREAM, "the path begins with a key, not with the "
                                                       "name of an upstream");
    if (!x->own && !x->upstream)
        return xchg_refuse(x, REFUSE_UNKNOWN_UPSTREAM, "no upstream is named \"%.*s\"",
                           (int)(x->target.upstream.n < 64 ? x->target.upstream.n : 64),
                           x->target.upstream.n ? x->target.upstream.p : "");
    if (!tags_read(config, x->key, &x->head, &x->arena, &x->tags, &refusal))
        return xchg_refuse(x, refusal.code, "%s", refusal.message);
    if (x->own)
        return STEP_AGAIN;
    x->tags.subject.dim[DIM_UPSTREAM] = strv_z(x->upstream->name);
    if (!key_allows_upstream(x->key, strv_z(x->upstream->name)))
        return xchg_refuse(x, REFUSE_ENDPOINT_NOT_ALLOWED,
                           "this key may not use the upstream \"%s\"", x->upstream->name);
    if (x->route.endpoint->kind == ENDPOINT_SOCKET && ws_is_upgrade(&x->head) && x->conn &&
        !x->conn->inner)
        return worker_memory(x->worker) >= MEMORY_SHED ? refuse_memory(x) : socket_begin(x);
    if (x->route.endpoint->kind == ENDPOINT_SOCKET && !x->upstream->allow_unknown_endpoints)
        return xchg_refuse(x, REFUSE_ENDPOINT_NOT_ALLOWED,
                           "this endpoint of \"%s\" opens a WebSocket: it takes an upgrade of "
                           "HTTP/1.1 alone",
                           x->upstream->name);
    if (x->route.is_duplex && (!x->conn || !x->conn->inner))
        return xchg_refuse(x, REFUSE_ENDPOINT_NOT_ALLOWED,
                           "both sides of this endpoint of \"%s\" speak at once: it takes HTTP/2 "
                           "alone",
                           x->upstream->name);
    if (x->route.endpoint->kind == ENDPOINT_UNKNOWN && !x->upstream->allow_unknown_endpoints)
        return xchg_refuse(x, REFUSE_ENDPOINT_NOT_ALLOWED,
                           "nothing here can meter this endpoint of \"%s\"", x->upstream->name);
    return STEP_AGAIN;
}

static enum step route_request(struct xchg *x)
{
    enum http1_fault fault = http1_frame(&x->head, true, STRV_NONE, &x->framing);
    const struct xchg_state *before = x->state;

    stat_add(&x->worker->stats.requests, 1);
    x->deadline_us = INT64_MAX;
    if (fault != HTTP1_OK) {
        x->head.fault = fault;
        return refuse_head(x);
    }
    x->body_left = x->framing.body == BODY_LENGTH ? x->framing.length : 0;
    x->body_done = x->framing.body == BODY_NONE ||
                   (x->framing.body == BODY_LENGTH && x->framing.length == 0);
    x->close_client = !x->framing.keep_alive || x->worker->draining;
    if (http_split_target(x->head.origin, &x->target) != RC_OK) {
        x->close_client = true;
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "malformed request: target not understood");
    }
    if (strv_eq(x->target.upstream, STRV("_tollgate")))
        x->own = own_route_of(x->head.method, x->target.path);
    if (x->own == OWN_HEALTH && x->body_done)
        return xchg_answer_own(x);
    if (x->worker->draining)
        return xchg_refuse(x, REFUSE_DRAINING, "the gateway is shutting down");
    (void)identify(x);
    if (x->state != before)
        return STEP_AGAIN; /* refused, or a WebSocket */
    if (worker_memory(x->worker) >= MEMORY_SHED)
        return refuse_memory(x);
    if (!x->own && x->route.is_duplex)
        return duplex_begin(x);
    x->hold_body = x->own || x->route.endpoint->kind == ENDPOINT_METERED ||
                   x->upstream->aws.access_key_id; /* what is signed must be here */
    if (x->hold_body && x->framing.body == BODY_LENGTH && x->framing.length > body_max(x))
        return refuse_large(x);
    /* Of what is fetched the path may name the model, and the answer not. */
    if (!x->own && x->route.endpoint->kind == ENDPOINT_FETCHED && x->route.path_model.n > 0 &&
        protocol_path_facts(&x->route, &x->facts) == RC_OK)
        request_keep_facts(x);
    return xchg_go(x, x->hold_body ? &S_BODY : &S_ADMIT);
}

/* ---- BODY --------------------------------------------------------------------------------- */

static enum rc take_chunked(struct xchg *x, struct strv bytes)
{
    while (bytes.n > 0) {
        struct strv data = STRV_NONE;
        size_t used = 0;
        enum parse_status status = http1_chunked_read(&x->chunked, bytes, &used, &data);

        if (status == PARSE_BAD)
            return RC_BAD;
        if (x->body.len + data.n > body_max(x))
            return RC_LIMIT;
        if (data.n > 0) {
            hold_reserve(&x->body, data.n, 0);
            memcpy(hold_tail(&x->body), data.p, data.n);
            x->body.len += data.n;
        }
        bytes = strv_skip(bytes, used);
        if (status == PARSE_DONE) {
            enum rc rc = conn_unread(x->conn, bytes);

            x->body_done = true;
            if (rc != RC_OK) /* what follows is lost: no request begins behind it */
                x->close_client = true;
            return rc;
        }
    }
    return RC_OK;
}

/* One read of the body into x->body. */
static enum rc take_body(struct xchg *x)
{
    size_t got = 0;
    enum rc rc;

    if (x->framing.body == BODY_CHUNKED) {
        rc = conn_read(x->conn, x->worker->scratch, SCRATCH_BYTES, &got);
        if (rc != RC_OK)
            return rc;
        return take_chunked(x, strv_make(x->worker->scratch, got));
    }
    /* Growing with what arrives: a length alone takes no memory. */
    hold_reserve(&x->body, HOLD_STEP_BYTES < x->body_left ? HOLD_STEP_BYTES : x->body_left,
                 x->framing.length < 8 * x->body.len + (1 << 20) ? x->framing.length : 0);
    rc = conn_read(x->conn, hold_tail(&x->body),
                   hold_room(&x->body) < x->body_left ? hold_room(&x->body)
                                                      : (size_t)x->body_left,
                   &got);
    if (rc != RC_OK)
        return rc;
    x->body.len += got;
    x->body_left -= got;
    x->body_done = x->body_left == 0;
    return RC_OK;
}

/* A turn of the loop unpacks it all: some 20 ms at the most. */
enum rc request_unpack(struct xchg *x, struct buf *out, struct strv *body, bool *packed)
{
    struct strv coding = strv_trim(http1_value(&x->head, STRV("content-encoding")));
    enum rc rc;

    *body = hold_view(&x->body);
    *packed = coding.n > 0 && !strv_eq_nocase(coding, STRV("identity"));
    if (!*packed)
        return RC_OK;
    rc = inflate_body(coding, *body, out);
    *body = buf_view(out);
    return rc;
}

static enum step refuse_packed(struct xchg *x, enum rc rc)
{
    if (rc == RC_LIMIT) {
        stat_add(&x->worker->stats.abuse_bomb, 1);
        return xchg_refuse(x, REFUSE_BODY_TOO_LARGE,
                           "the request body unpacks to more than %d bytes",
                           REQUEST_UNPACKED_MAX_BYTES);
    }
    return xchg_refuse(x, REFUSE_BAD_REQUEST, "%s",
                       rc == RC_STATE ? "the request's Content-Encoding is not understood here"
                                      : "the request body is not what its Content-Encoding says");
}

/* The body goes once it is sent; what it said is kept. */
void request_keep_facts(struct xchg *x)
{
    struct request_facts *f = &x->facts;

    f->model = arena_strv(&x->arena, f->model);
    f->service_tier = arena_strv(&x->arena, f->service_tier);
    f->size = arena_strv(&x->arena, f->size);
    f->quality = arena_strv(&x->arena, f->quality);
    f->search_ctx = arena_strv(&x->arena, f->search_ctx);
    f->input_file = arena_strv(&x->arena, f->input_file);
    f->agent = arena_strv(&x->arena, f->agent);
    f->sound = arena_strv(&x->arena, f->sound);
    for (size_t i = 0; i < f->n_others; i++) {
        char text[REQUEST_MODEL_MAX_BYTES];
        struct strv name = STRV_NONE;

        if (protocol_other_model(&f->others[i], text, &name))
            name = arena_strv(&x->arena, name);
        f->others[i] = (struct request_other){.text = name, .kind = f->others[i].kind};
    }
    x->model = config_deployment(x->upstream, f->model);
    if (x->model.n == 0)
        x->model = f->model;
    x->tags.subject.dim[DIM_MODEL] = x->model;
}

/* Reads what admission must know; *unpacks false where its coding is the trouble. */
static enum rc read_body(struct xchg *x, bool *packed, bool *unpacks)
{
    struct strv type = http1_value(&x->head, STRV("content-type")), body;
    const struct protocol *p = x->upstream->protocol;
    struct buf unpacked;
    enum rc rc;

    buf_init(&unpacked, REQUEST_UNPACKED_MAX_BYTES);
    rc = request_unpack(x, &unpacked, &body, packed);
    *unpacks = rc == RC_OK;
    if (rc == RC_OK)
        rc = protocol_is_sound(&x->route, type) ? protocol_scan_sound(&x->route, body, &x->facts)
             : protocol_is_form(type)           ? protocol_scan_form(p, &x->route, type, body,
                                                                     &x->facts)
                                                : protocol_scan_request(p, &x->route, body,
                                                                        x->worker->shapes,
                                                                        &x->facts);
    if (rc == RC_OK)
        request_keep_facts(x);
    if (rc == RC_OK && !protocol_is_form(type) && !protocol_is_sound(&x->route, type))
        upload_read_body(x, body);
    buf_release(&unpacked);
    if (*packed) /* it travels as it came: nothing can be put into it */
        x->facts.can_ask_usage = false;
    return rc;
}

/* What the body says of a service tier goes before what a header does. */
static void read_tier(struct xchg *x)
{
    struct strv header = protocol_tier_header(x->upstream->protocol), value;

    if (header.n == 0 || x->facts.service_tier.n > 0)
        return;
    value = http1_value(&x->head, header);
    if (value.n <= TIER_MAX_BYTES)
        x->facts.service_tier = value;
}

/* The models that the request names beside its own are the key's too. */
static bool others_are_allowed(const struct xchg *x, struct strv *other)
{
    const struct request_facts *f = &x->facts;

    *other = STRV_NONE;
    if (x->key->n_models == 0)
        return true;
    for (size_t i = 0; i < f->n_others; i++) {
        *other = f->others[i].text;
        if (!key_allows_model(x->key, *other))
            return false;
    }
    return !f->others_untold;
}

static enum step scan_request(struct xchg *x)
{
    bool packed, unpacks;
    struct strv other;
    enum rc rc;

    if (x->own)
        return xchg_answer_own(x);
    if (x->route.endpoint->kind != ENDPOINT_METERED)
        return xchg_go(x, &S_ADMIT);
    rc = read_body(x, &packed, &unpacks);
    if (!unpacks)
        return refuse_packed(x, rc);
    if (rc != RC_OK)
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "%s",
                           rc == RC_LIMIT ? "the request body is nested too deeply"
                                          : "the request body is not what this endpoint takes");
    read_tier(x);
    /* Of a session the model is to be learnt first. */
    if (!x->route.is_session && !key_allows_model(x->key, x->model) &&
        !key_allows_model(x->key, x->facts.model))
        return xchg_refuse(x, REFUSE_MODEL_NOT_ALLOWED,
                           "this key may not use the model \"%.*s\"",
                           (int)(x->facts.model.n < 128 ? x->facts.model.n : 128),
                           x->facts.model.n ? x->facts.model.p : "");
    if (!others_are_allowed(x, &other))
        return xchg_refuse(x, REFUSE_MODEL_NOT_ALLOWED,
                           "this key may not use the model \"%.*s\", which the request names beside "
                           "its own",
                           (int)(other.n < 128 ? other.n : 128), other.n ? other.p : "");
    if (x->body.len <= PROMPT_HASHED_BYTES)
        x->prompt_hash = fingerprint(&x->config->prompt_key, hold_view(&x->body),
                                     strv_hash(x->target.rest));
    if (x->body.len > PROMPT_PREFIX_BYTES)
        x->prefix_hash =
            fingerprint(&x->config->prompt_key,
                        strv_head(hold_view(&x->body), PROMPT_PREFIX_BYTES),
                        strv_hash(x->facts.model));
    x->asked_usage = x->upstream->inject_usage && x->facts.can_ask_usage;
    return xchg_go(x, &S_ADMIT);
}

enum rc request_continue(struct xchg *x)
{
    enum rc rc;

    if (x->continue_sent || x->answer.head_sent || x->bytes_in > 0 || x->body.len > 0 ||
        x->head.minor == 0 || !http1_has_token(&x->head, STRV("expect"), STRV("100-continue")))
        return RC_OK;
    x->continue_sent = true;
    rc = client_put(x, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return rc == RC_OK ? client_flush(x) : rc;
}

/* Nothing more is here yet: the client may be waiting for our word to go on. */
static enum step wait_for_body(struct xchg *x)
{
    if (request_continue(x) == RC_EOF || client_flush(x) == RC_EOF)
        return xchg_end(x, END_CLIENT_GONE);
    if (x->deadline_us == INT64_MAX)
        xchg_within(x, x->config->bounds.body_timeout_ms);
    io_want_read(&x->conn->io, true);
    return STEP_WAIT;
}

/* Would the next read make the body's storage larger? */
static bool must_grow(const struct xchg *x)
{
    uint64_t next = SCRATCH_BYTES;

    if (x->framing.body == BODY_LENGTH)
        next = x->body_left < HOLD_STEP_BYTES ? x->body_left : HOLD_STEP_BYTES;
    return hold_room(&x->body) < next;
}

static enum step st_body(struct xchg *x)
{
    for (int turn = 0; !x->body_done; turn++) {
        enum rc rc;

        if (turn == TURN_READS) {
            xchg_again(x);
            return STEP_WAIT;
        }
        if (must_grow(x) && worker_memory(x->worker) == MEMORY_FULL)
            return refuse_memory(x);
        rc = take_body(x);

        if (rc == RC_AGAIN)
            return wait_for_body(x);
        if (rc == RC_BAD) {
            x->close_client = true;
            stat_add(&x->worker->stats.http_faults[x->chunked.fault], 1);
            return xchg_refuse(x, REFUSE_BAD_REQUEST, "malformed request: %s",
                               http1_fault_text(x->chunked.fault));
        }
        if (rc == RC_LIMIT)
            return refuse_large(x);
        if (rc != RC_OK)
            return xchg_end(x, END_CLIENT_GONE);
        xchg_within(x, x->config->bounds.body_timeout_ms);
    }
    x->bytes_in = x->body.len;
    return scan_request(x);
}

static enum step too_slow(struct xchg *x)
{
    x->close_client = true;
    return xchg_refuse(x, REFUSE_REQUEST_TIMEOUT, "the request did not arrive in time");
}

static enum step head_too_slow(struct xchg *x)
{
    stat_add(&x->worker->stats.abuse_slow_head, 1);
    return too_slow(x);
}

static enum step body_too_slow(struct xchg *x)
{
    stat_add(&x->worker->stats.abuse_slow_body, 1);
    return too_slow(x);
}

const struct xchg_state S_HEAD = {"read-head", st_head, WAKE_CLIENT_IN | WAKE_RUN,
                                  head_too_slow};
const struct xchg_state S_BODY = {"read-body", st_body,
                                  WAKE_CLIENT_IN | WAKE_CLIENT_OUT | WAKE_RUN, body_too_slow};
