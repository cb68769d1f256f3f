/*
 * xchg_answer.c - the answer on its way to the client: body, framing, and the tap.
 *
 * A plain answer passes in the upstream's own framing, byte for byte, but for trailers,
 * which end here; streams and rewritten answers are framed anew, payload byte for byte.  An answer of a metered
 * endpoint that is no stream and short is held whole, so that its head can say what it
 * cost; one that takes long to arrive, or begins with white space to keep the
 * connection alive, is not.
 */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "proxy/xchg_socket.h"

enum { DIRECT_WRITE_BYTES = 8 << 10, INTERIM_HEADS_MAX = 100 };

/* ---- towards the client ---------------------------------------------------------------------- */

static enum rc write_client(struct xchg *x, const char *p, size_t n, size_t *put)
{
    enum rc rc = io_write(&x->conn->io, p, n, put);

    stat_add(&x->worker->stats.bytes_out_client, *put);
    x->progress = x->progress || *put > 0;
    if (*put > 0 && x->first_byte_us < 0)
        x->first_byte_us = x->worker->now_us;
    return rc == RC_OK || rc == RC_AGAIN ? rc : RC_EOF;
}

enum rc client_put(struct xchg *x, const char *p, size_t n)
{
    size_t put = 0;

    if (x->client_gone || !x->conn || n == 0)
        return RC_OK;
    if (buf_len(&x->out) == 0 && n >= DIRECT_WRITE_BYTES) {
        enum rc rc = write_client(x, p, n, &put);

        if (rc == RC_EOF)
            return RC_EOF;
    }
    if (x->out.cap == 0)
        (void)buf_lend(&x->worker->spare_out, &x->out);
    return buf_append(&x->out, p + put, n - put);
}

/* Nothing waits.  Streams rest between events: one buffer serves them all. */
static void rest_out(struct xchg *x)
{
    struct buf *spare = &x->worker->spare_out;

    if (x->answer.is_stream && spare->cap == 0 && buf_lend(&x->out, spare))
        return;
    if (x->answer.is_stream || x->out.cap > KEEP_BYTES)
        buf_release(&x->out);
}

enum rc client_flush(struct xchg *x)
{
    struct strv bytes = buf_view(&x->out);
    size_t put = 0;
    enum rc rc;

    if (bytes.n == 0 || x->client_gone || !x->conn)
        return RC_OK;
    rc = write_client(x, bytes.p, bytes.n, &put);
    if (rc == RC_EOF)
        return RC_EOF;
    buf_consume(&x->out, put);
    if (rc == RC_OK)
        rest_out(x);
    return rc;
}

/* Where framed bytes go: to the client, or aside while the answer is held. */
static enum rc put(struct xchg *x, const char *p, size_t n)
{
    struct answer *a = &x->answer;

    return a->holding ? buf_append(&a->held, p, n) : client_put(x, p, n);
}

/* Payload in the answer's mode. */
static enum rc put_payload(struct xchg *x, struct strv data)
{
    struct answer *a = &x->answer;
    char head[CHUNK_HEAD_MAX_BYTES];
    enum rc rc = RC_OK;

    if (data.n == 0)
        return RC_OK;
    x->bytes_out += data.n;
    if (data.n >= 2) {
        a->last[0] = data.p[data.n - 2];
        a->last[1] = data.p[data.n - 1];
    } else {
        a->last[0] = a->last[1];
        a->last[1] = data.p[0];
    }
    if (a->mode == OUT_CHUNKED)
        rc = put(x, head, http1_chunk_head(data.n, head));
    if (rc == RC_OK)
        rc = put(x, data.p, data.n);
    if (rc == RC_OK && a->mode == OUT_CHUNKED)
        rc = put(x, "\r\n", 2);
    return rc;
}

/* ---- the head --------------------------------------------------------------------------------- */

/* The provider's own id of the request, by the names that providers use. */
static struct strv provider_id(const struct http1_head *head)
{
    static const struct strv names[] = {{"x-request-id", 12},
                                        {"request-id", 10},
                                        {"dg-request-id", 13},
                                        {"apim-request-id", 15},
                                        {"x-amzn-requestid", 16},
                                        {"x-generation-id", 15}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct strv value = http1_value(head, names[i]);

        if (value.n > 0)
            return value;
    }
    return STRV_NONE;
}

static struct strv header_of(void *arg, struct strv name)
{
    return http1_value(arg, name);
}

/* The client's payload is not the provider's, byte for byte. */
static bool rewrites(const struct xchg *x)
{
    return x->links || (x->tap && tap_rewrites(x->tap));
}

static void choose_mode(struct xchg *x)
{
    struct answer *a = &x->answer;
    bool anew = a->is_stream || rewrites(x);
    bool old_client = x->head.minor == 0;

    a->mode = OUT_RAW;
    switch (a->framing.body) {
    case BODY_NONE:
        break;
    case BODY_LENGTH:
        if (rewrites(x))
            a->mode = old_client ? OUT_PLAIN : OUT_CHUNKED;
        break;
    case BODY_CHUNKED:
        if (old_client)
            a->mode = OUT_PLAIN;
        else if (anew)
            a->mode = OUT_CHUNKED;
        break;
    case BODY_CLOSE:
        a->mode = old_client ? OUT_PLAIN : OUT_CHUNKED;
        break;
    }
}

/* A final head was parsed from bytes: how will the answer be read and passed on? */
static enum rc begin_answer(struct xchg *x, const char *bytes)
{
    struct answer *a = &x->answer;
    struct strv id = provider_id(&a->head);

    a->head.fault = http1_frame(&a->head, false, x->head.method, &a->framing);
    if (a->head.fault != HTTP1_OK) {
        stat_add(&x->worker->stats.http_faults[a->head.fault], 1);
        return RC_BAD;
    }
    a->has_head = true;
    a->encoded = http1_find(&a->head, STRV("content-encoding")) != NULL;
    a->left = a->framing.length;
    a->body_done = a->framing.body == BODY_NONE ||
                   (a->framing.body == BODY_LENGTH && a->framing.length == 0);
    x->upstream_status = a->head.status;
    x->deployed = config_deployment(
        x->upstream, http1_value(&a->head, STRV("x-ms-deployment-name")));
    x->up_reusable = a->framing.keep_alive && !a->is_last;
    id = strv_head(id, sizeof(x->provider_request_id) - 1);
    if (id.n > 0)
        memcpy(x->provider_request_id, id.p, id.n);
    if ((x->route.endpoint->kind == ENDPOINT_METERED ||
         x->route.endpoint->kind == ENDPOINT_FETCHED) &&
        a->framing.body != BODY_NONE) {
        x->tap = tap_renew(x->used_tap, x->upstream->protocol, &x->route, x->asked_usage);
        x->used_tap = NULL;
        tap_know(x->tap, x->worker->shapes);
        count_answers(x);
        count_text(x);
        tap_head(x->tap, &(struct tap_response){
                             .status = a->head.status,
                             .content_type = http1_value(&a->head, STRV("content-type")),
                             .content_encoding = http1_value(&a->head, STRV("content-encoding")),
                             .request_id = id,
                             .header = header_of,
                             .header_arg = &a->head});
        a->is_stream = tap_result(x->tap)->framing != FRAMING_NONE;
        if (a->is_stream) {
            if (x->conn) {
                io_save_memory(&x->conn->io, true);
                io_free_buffers(&x->conn->io); /* the request's */
            }
            io_save_memory(&x->up->io, true);
        }
        a->holding = !a->is_stream && worker_memory(x->worker) < MEMORY_TIGHT &&
                     (a->framing.body != BODY_LENGTH ||
                      a->framing.length <= x->config->bounds.hold_bytes);
    }
    links_begin(x);
    choose_mode(x);
    if (!a->holding)
        return answer_send_head(x, false);
    return xchg_keep_head(x, &a->head, bytes) ? RC_OK : RC_LIMIT;
}

/* ---- the body ------------------------------------------------------------------------------------ */

enum rc answer_release(struct xchg *x)
{
    struct answer *a = &x->answer;
    struct strv held = buf_view(&a->held);
    enum rc rc;

    if (!a->holding)
        return RC_OK;
    a->holding = false;
    rc = answer_send_head(x, a->body_done);
    if (rc == RC_OK)
        rc = client_put(x, held.p, held.n);
    buf_clear(&a->held);
    return rc;
}

/* Payload as it came: to the tap, then on, unless it passes in the upstream's own framing. */
static enum rc take_payload(struct xchg *x, struct strv data)
{
    struct answer *a = &x->answer;
    enum rc rc = RC_OK;

    if (data.n == 0)
        return RC_OK;
    if (a->holding && a->sent_payload == 0 && strchr(" \t\r\n", data.p[0]) && data.p[0] != '\0')
        rc = answer_release(x);
    a->sent_payload += data.n;
    if (rc == RC_OK && x->tap)
        rc = tap_feed(x->tap, data, &a->pass);
    if (rc != RC_OK || a->mode == OUT_RAW)
        return rc;
    if (!rewrites(x))
        return put_payload(x, data);
    if (x->links)
        rc = links_feed(x->links, data, &a->pass);
    if (rc != RC_OK)
        return rc;
    rc = put_payload(x, buf_view(&a->pass));
    buf_clear(&a->pass);
    return rc;
}

static enum rc take_chunked(struct xchg *x, char *bytes, size_t n)
{
    struct answer *a = &x->answer;
    struct strv rest = strv_make(bytes, n);
    uint32_t before = a->chunked.trailer;
    size_t pass;
    enum rc rc = RC_OK;

    while (rest.n > 0 && !a->body_done) {
        struct strv data = STRV_NONE;
        size_t used = 0;
        enum parse_status status = http1_chunked_read(&a->chunked, rest, &used, &data);

        if (status == PARSE_BAD) {
            stat_add(&x->worker->stats.http_faults[a->chunked.fault], 1);
            return RC_BAD;
        }
        rc = take_payload(x, data);
        if (rc != RC_OK)
            return rc;
        rest = strv_skip(rest, used);
        a->body_done = status == PARSE_DONE;
    }
    if (rest.n > 0)
        x->up_reusable = false; /* it says more than it was asked */
    if (a->mode != OUT_RAW)
        return RC_OK;
    /* Trailers stay here, whatever they are called: the end that is written is ours. */
    pass = n - rest.n - (a->chunked.trailer - before);
    x->bytes_out += pass;
    rc = put(x, bytes, pass);
    return rc == RC_OK && a->body_done ? put(x, "\r\n", 2) : rc;
}

static enum rc take_body(struct xchg *x, char *bytes, size_t n)
{
    struct answer *a = &x->answer;
    size_t take = n;
    enum rc rc;

    if (a->framing.body == BODY_CHUNKED)
        return take_chunked(x, bytes, n);
    if (a->framing.body == BODY_LENGTH && a->left < take)
        take = (size_t)a->left;
    if (a->framing.body == BODY_NONE)
        take = 0;
    if (take < n)
        x->up_reusable = false;
    rc = take_payload(x, strv_make(bytes, take));
    if (rc == RC_OK && a->mode == OUT_RAW) {
        x->bytes_out += take;
        rc = put(x, bytes, take);
    }
    if (a->framing.body == BODY_LENGTH) {
        a->left -= take;
        a->body_done = a->left == 0;
    }
    return rc;
}

/* What was kept back of a body whose addresses are changed. */
static enum rc end_links(struct xchg *x)
{
    struct answer *a = &x->answer;
    enum rc rc;

    if (!x->links)
        return RC_OK;
    rc = links_finish(x->links, &a->pass);
    if (rc == RC_OK)
        rc = put_payload(x, buf_view(&a->pass));
    buf_release(&a->pass);
    return rc;
}

/* The body has ended as it should: what was kept back goes out, then the end itself. */
static enum rc complete(struct xchg *x)
{
    struct answer *a = &x->answer;
    enum rc rc = RC_OK;

    if (x->tap && !x->tap_done) {
        x->tap_done = true;
        rc = tap_finish(x->tap, true, &a->pass);
        if (rc == RC_OK && tap_rewrites(x->tap))
            rc = put_payload(x, buf_view(&a->pass));
        buf_release(&a->pass);
    }
    if (rc == RC_OK)
        rc = end_links(x);
    if (rc == RC_OK && a->mode == OUT_CHUNKED)
        rc = put(x, "0\r\n\r\n", 5);
    if (rc == RC_OK && a->holding && collect_claim(x))
        return RC_OK; /* S_COLLECT goes on */
    return rc == RC_OK ? answer_release(x) : rc;
}

/* ---- from the upstream --------------------------------------------------------------------------------- */

/* Heads before the final one: 100 is ours to send, the others are the client's to see. */
static enum rc pass_interim(struct xchg *x)
{
    const struct http1_head *head = &x->answer.head;
    struct http_response_rewrite rw = {
        .body = BODY_NONE, .client_minor = x->head.minor, .keep_alive = true};
    struct http1_framing framing;

    if (head->status == SWITCHING_PROTOCOLS || ++x->answer.interim > INTERIM_HEADS_MAX)
        return RC_BAD; /* nobody asked for an upgrade; and each one renews the deadline */
    x->answer.head.fault = http1_frame(head, false, x->head.method, &framing);
    if (head->fault != HTTP1_OK) {
        stat_add(&x->worker->stats.http_faults[head->fault], 1);
        return RC_BAD;
    }
    x->answer.is_last = x->answer.is_last || !framing.keep_alive;
    if (head->status == 100 || x->head.minor == 0 || x->client_gone)
        return RC_OK;
    return http_build_response(head, &rw, &x->out);
}

/* Parses heads at the start of bytes; *used of them are done with. RC_AGAIN: not whole yet. */
static enum rc take_heads(struct xchg *x, struct strv bytes, size_t *used)
{
    struct answer *a = &x->answer;

    *used = 0;
    a->head.headers = x->worker->lines;
    a->head.known = x->worker->known_lines;
    while (!a->has_head) {
        struct strv rest = strv_skip(bytes, *used);
        enum rc rc;

        switch (http1_parse_response(rest, RESPONSE_HEAD_BYTES, HTTP1_HEADERS_MAX, &a->head)) {
        case PARSE_MORE:
            return RC_AGAIN;
        case PARSE_BAD:
            stat_add(&x->worker->stats.http_faults[a->head.fault], 1);
            return RC_BAD;
        case PARSE_DONE:
            break;
        }
        *used += a->head.bytes;
        if (a->head.status == SWITCHING_PROTOCOLS && x->socket) {
            rc = socket_accept(x);
        } else if (a->head.status >= 200) {
            rc = begin_answer(x, rest.p);
        } else {
            rc = pass_interim(x);
            a->head = (struct http1_head){.headers = x->worker->lines,
                                          .known = x->worker->known_lines};
        }
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* Moves *bytes and *n behind the head. */
static enum rc feed_head(struct xchg *x, char **bytes, size_t *n)
{
    struct answer *a = &x->answer;
    bool direct = buf_len(&a->head_in) == 0;
    struct strv all;
    size_t used;
    enum rc rc;

    if (!direct && buf_append(&a->head_in, *bytes, *n) != RC_OK)
        return RC_LIMIT;
    all = direct ? strv_make(*bytes, *n) : buf_view(&a->head_in);
    rc = take_heads(x, all, &used);
    if (!a->holding)
        a->head.n_headers = 0; /* they were the worker's */
    if (rc == RC_AGAIN) {
        struct strv rest = strv_skip(all, used);

        *n = 0;
        if (direct)
            return buf_append_strv(&a->head_in, rest);
        buf_consume(&a->head_in, used);
        return RC_OK;
    }
    if (rc != RC_OK)
        return rc;
    ASSERT(all.n - used <= *n); /* what followed the head came with this read */
    *bytes += *n - (all.n - used);
    *n = all.n - used;
    buf_release(&a->head_in);
    return RC_OK;
}

enum rc answer_feed(struct xchg *x, char *bytes, size_t n)
{
    struct answer *a = &x->answer;
    enum rc rc = RC_OK;

    if (!a->has_head) {
        rc = feed_head(x, &bytes, &n);
        if (rc != RC_OK || !a->has_head)
            return rc;
    }
    if (a->head.status == SWITCHING_PROTOCOLS)
        return socket_take_early(x, bytes, n);
    if (n > 0)
        rc = take_body(x, bytes, n);
    if (rc == RC_OK && a->holding && buf_len(&a->held) > x->config->bounds.hold_bytes)
        rc = answer_release(x);
    if (rc == RC_OK && a->body_done)
        rc = complete(x);
    return rc;
}

bool answer_eof(struct xchg *x, bool clean)
{
    struct answer *a = &x->answer;

    x->up_reusable = false;
    if (!a->has_head || a->framing.body != BODY_CLOSE || !clean)
        return false;
    a->body_done = true;
    return complete(x) == RC_OK;
}

void answer_abandon(struct xchg *x)
{
    if (x->answer.head_sent && end_links(x) != RC_OK)
        x->client_gone = true;
    if (!x->tap || x->tap_done)
        return;
    x->tap_done = true;
    if (tap_finish(x->tap, false, &x->answer.pass) == RC_OK && x->answer.head_sent &&
        tap_rewrites(x->tap) && put_payload(x, buf_view(&x->answer.pass)) != RC_OK)
        x->client_gone = true;
    buf_release(&x->answer.pass);
}

void answer_cut(struct xchg *x, enum refusal refusal, const char *message)
{
    struct answer *a = &x->answer;
    enum stream_framing framing = x->tap ? tap_result(x->tap)->framing : FRAMING_NONE;
    struct buf event;
    enum rc rc;

    x->close_client = true;
    if (!a->head_sent || framing == FRAMING_NONE || a->mode == OUT_RAW || a->encoded ||
        !tap_is_between(x->tap))
        return; /* the missing end of the framing is the only word left */
    buf_init(&event, 16 << 10);
    rc = RC_OK;
    if (framing == FRAMING_SSE && x->bytes_out > 0 && a->last[1] != '\n')
        rc = buf_append(&event, "\n\n", 2); /* an event was under way: it must not swallow ours */
    if (rc == RC_OK)
        rc = protocol_stream_error(x->upstream->protocol, &x->route, framing, refusal,
                                   strv_z(message), &event);
    if (rc == RC_OK)
        rc = put_payload(x, buf_view(&event));
    if (rc == RC_OK && a->mode == OUT_CHUNKED)
        rc = put(x, "0\r\n\r\n", 5);
    if (rc != RC_OK)
        buf_release(&x->out);
    buf_release(&event);
}
