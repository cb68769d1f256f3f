/*
 * xchg_duplex.c - a call whose request goes on while its answer comes: AWS event streams both
 * ways (Bedrock's InvokeModelWithBidirectionalStream, which Nova Sonic speaks).
 *
 * It is one exchange: admitted by its path alone, then relayed as any other, but for the body.
 * That is read message by message: each goes on when it is whole and its checksums fit, out of
 * the envelope in which the client signed it, if it did, and into one of ours where AWS is to
 * see who sends it.  Nothing else is held.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/usage/eventstream_body.h"
#include "metering/usage/eventstream_write.h"
#include "proxy/sigv4.h"
#include "proxy/xchg_socket.h"

enum {
    ENVELOPE_HEADERS_BYTES = 128,
    /* What one read may become beside a message that waited: small ones, in envelopes. */
    UP_SLACK_BYTES = 1 << 20,
};

struct duplex {
    struct eventstream_body body;
    /* Its key, by the configuration in force: looked up after each reload and when it expires. */
    bool is_checked, stale;
    int64_t good_until_us;
    bool signs;
    struct sigv4_chain chain;
};

enum step duplex_begin(struct xchg *x)
{
    if (protocol_path_facts(&x->route, &x->facts) != RC_OK)
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "the path names no model");
    request_keep_facts(x);
    if (!key_allows_model(x->key, x->model) && !key_allows_model(x->key, x->facts.model))
        return xchg_refuse(x, REFUSE_MODEL_NOT_ALLOWED,
                           "this key may not use the model \"%.*s\"",
                           (int)(x->facts.model.n < 128 ? x->facts.model.n : 128),
                           x->facts.model.n ? x->facts.model.p : "");
    x->duplex = arena_alloc(&x->arena, sizeof(*x->duplex));
    if (!x->duplex)
        return xchg_refuse(x, REFUSE_BAD_REQUEST, "the request head is too large");
    *x->duplex = (struct duplex){.signs = false};
    eventstream_body_init(&x->duplex->body, DUPLEX_MESSAGE_MAX_BYTES);
    x->up_buf.max = DUPLEX_MESSAGE_MAX_BYTES + UP_SLACK_BYTES;
    return xchg_go(x, &S_ADMIT);
}

void duplex_release(struct xchg *x)
{
    if (x->duplex)
        eventstream_body_release(&x->duplex->body);
    x->duplex = NULL;
}

void duplex_sign(struct xchg *x, struct strv authorization)
{
    x->duplex->signs = true;
    sigv4_chain_start(&x->duplex->chain, authorization);
}

/* The headers of the envelope that the message, or the empty last one, goes in. */
static enum rc put_envelope(struct xchg *x, struct strv message, struct buf *headers)
{
    const struct aws_config *aws = &x->upstream->aws;
    const struct sigv4_key key = {strv_z(aws->access_key_id), strv_z(aws->secret_access_key),
                                  strv_z(aws->region), strv_z(aws->service)};
    unsigned char signature[SHA256_BYTES];
    int64_t now_us = clock_wall_us();
    enum rc rc = eventstream_put_time(headers, STRV(":date"), now_us / 1000);

    if (rc == RC_OK)
        rc = sigv4_chain_sign(&x->duplex->chain, &key, now_us, buf_view(headers), message,
                              signature);
    return rc == RC_OK ? eventstream_put_bytes(
                             headers, STRV(":chunk-signature"),
                             strv_make((const char *)signature, sizeof(signature)))
                       : rc;
}

static enum rc put_chunk_head(struct xchg *x, size_t n)
{
    char head[CHUNK_HEAD_MAX_BYTES];

    return buf_append(&x->up_buf, head, http1_chunk_head(n, head));
}

static enum rc put_up(struct xchg *x, struct strv message)
{
    struct buf headers;
    enum rc rc = RC_OK;

    buf_init(&headers, ENVELOPE_HEADERS_BYTES);
    if (!x->duplex->signs) {
        rc = put_chunk_head(x, message.n);
        if (rc == RC_OK)
            rc = buf_append_strv(&x->up_buf, message);
    } else {
        rc = put_envelope(x, message, &headers);
        if (rc == RC_OK)
            rc = put_chunk_head(x, EVENTSTREAM_FRAME_BYTES + buf_len(&headers) + message.n);
        if (rc == RC_OK)
            rc = eventstream_put_message(&x->up_buf, buf_view(&headers), message);
    }
    buf_release(&headers);
    return rc == RC_OK ? buf_append(&x->up_buf, "\r\n", 2) : rc;
}

enum rc duplex_take(struct xchg *x, struct strv data)
{
    struct strv message;
    enum rc rc;

    do {
        rc = eventstream_body_next(&x->duplex->body, &data, &message);
        if (rc == RC_OK)
            rc = put_up(x, message);
    } while (rc == RC_OK);
    return rc == RC_AGAIN ? RC_OK : rc;
}

enum rc duplex_end(struct xchg *x)
{
    enum rc rc = RC_OK;

    if (!eventstream_body_may_end(&x->duplex->body))
        return RC_BAD;
    if (x->duplex->signs)
        rc = put_up(x, STRV_NONE);
    return rc == RC_OK ? buf_append(&x->up_buf, "0\r\n\r\n", 5) : rc;
}

enum step duplex_refuse(struct xchg *x, enum rc why)
{
    bool is_large = why == RC_LIMIT;
    enum refusal refusal = is_large ? REFUSE_BODY_TOO_LARGE : REFUSE_BAD_REQUEST;

    stat_add(is_large ? &x->worker->stats.abuse_body : &x->worker->stats.abuse_frames, 1);
    x->close_client = true;
    x->up_reusable = false;
    x->end = END_REFUSED;
    if (!x->answer.head_sent)
        return is_large ? xchg_refuse(x, refusal, "a message is larger than %d bytes",
                                      DUPLEX_MESSAGE_MAX_BYTES)
                        : xchg_refuse(x, refusal, "the body is no stream of AWS event messages");
    answer_abandon(x);
    answer_cut(x, refusal, is_large ? "a message is too large"
                                    : "the body is no stream of AWS event messages");
    return xchg_go(x, &S_REPLY);
}

void duplex_look(struct xchg *x)
{
    x->duplex->is_checked = false;
}

bool duplex_is_stale(struct xchg *x)
{
    struct duplex *d = x->duplex;
    int64_t now_us = clock_wall_us();

    if (!d->stale && (!d->is_checked || now_us >= d->good_until_us)) {
        const struct upstream_config *upstream;
        const struct key_config *key =
            socket_key(x, x->worker->pools->generation->config, now_us, &upstream);

        d->is_checked = true;
        d->stale = key == NULL;
        d->good_until_us = key ? key->expires_us : 0;
    }
    return d->stale && (!x->tap || tap_is_between(x->tap));
}

enum step duplex_cut(struct xchg *x)
{
    x->end = END_CUT;
    x->up_reusable = false;
    log_line(LOG_INFO, "auth", "a stream was cut", "id=%s key=%s", x->id_text, x->key->name);
    if (!x->answer.head_sent)
        return xchg_refuse(x, REFUSE_INVALID_KEY, SOCKET_STALE);
    answer_abandon(x);
    answer_cut(x, REFUSE_INVALID_KEY, SOCKET_STALE);
    return xchg_go(x, &S_REPLY);
}
