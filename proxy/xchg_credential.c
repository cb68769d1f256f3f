/*
 * xchg_credential.c - what the provider is shown instead of the caller's key: a key, a token,
 * or a signature over the request as it will be sent.
 */
#include <string.h>

#include "base/clock.h"
#include "proxy/auth.h"
#include "proxy/sigv4.h"
#include "proxy/xchg_int.h"

static enum rc add_text(struct xchg *x, struct strv name, struct strv prefix, struct strv text,
                        struct credential *out)
{
    char *value = arena_alloc(&x->arena, prefix.n + text.n + 1);

    if (!value)
        return RC_LIMIT;
    if (prefix.n > 0)
        memcpy(value, prefix.p, prefix.n);
    memcpy(value + prefix.n, text.p, text.n);
    out->headers[out->n++] =
        (struct http1_header){.name = name, .value = strv_make(value, prefix.n + text.n)};
    return RC_OK;
}

static enum rc add_token(struct xchg *x, struct credential *out)
{
    size_t index = (size_t)(x->upstream - x->config->upstreams);
    const struct upstream_token *token = &x->pools->tokens[index];

    if (!token->text || token->expires_us <= clock_mono_us())
        return RC_DENIED;
    return add_text(x, x->upstream->key_header, x->upstream->key_prefix, strv_z(token->text),
                    out);
}

/* ---- AWS ------------------------------------------------------------------------------------
 */

/* The hash of the body as it will be sent. */
static void hash_body(struct xchg *x, unsigned char out[SHA256_BYTES])
{
    struct strv body = x->framing.body == BODY_NONE ? STRV_NONE : hold_view(&x->body);
    struct strv parts[3] = {body};

    if (x->asked_usage) {
        parts[0] = strv_head(body, x->facts.edit_at);
        parts[1] = x->facts.edit_text;
        parts[2] = strv_skip(body, x->facts.edit_at + x->facts.edit_cut);
    }
    digest_sha256_parts(parts, x->asked_usage ? 3 : 1, out);
}

/* Does AWS want a signature over a client's field that passes? */
static bool is_signed(const struct xchg *x, const struct http1_header *field)
{
    return (strv_eq_nocase(field->name, STRV("content-type")) ||
            strv_starts_nocase(field->name, STRV("x-amz"))) &&
           auth_header_travels(field, x->upstream->credentials);
}

/* Everything that is signed, in signed; RC_LIMIT where that is too much. */
static enum rc collect(const struct xchg *x, const struct http_request_rewrite *rw,
                       const struct credential *own,
                       struct http1_header signed_[SIGV4_HEADERS_MAX], size_t *n)
{
    *n = 0;
    signed_[(*n)++] = (struct http1_header){.name = STRV("host"), .value = rw->host};
    for (size_t i = 0; i < own->n; i++)
        signed_[(*n)++] = own->headers[i];
    for (size_t i = 0; i < x->head.n_headers; i++) {
        if (!is_signed(x, &x->head.headers[i]))
            continue;
        if (*n == SIGV4_HEADERS_MAX)
            return RC_LIMIT;
        signed_[(*n)++] = x->head.headers[i];
    }
    return RC_OK;
}

/* base_path and rest, as they will stand in the request line. */
static struct strv whole_path(struct xchg *x, const struct http_request_rewrite *rw)
{
    size_t n = rw->base_path.n + rw->rest.n;
    char *path = arena_alloc(&x->arena, n + 1);

    if (!path)
        return STRV_NONE;
    if (rw->base_path.n > 0)
        memcpy(path, rw->base_path.p, rw->base_path.n);
    if (rw->rest.n > 0)
        memcpy(path + rw->base_path.n, rw->rest.p, rw->rest.n);
    return strv_make(path, n);
}

static enum rc add_signature(struct xchg *x, const struct http_request_rewrite *rw,
                             struct credential *out)
{
    const struct aws_config *aws = &x->upstream->aws;
    const struct sigv4_key key = {strv_z(aws->access_key_id), strv_z(aws->secret_access_key),
                                  strv_z(aws->region), strv_z(aws->service)};
    struct http1_header headers[SIGV4_HEADERS_MAX];
    unsigned char hash[SHA256_BYTES];
    char date[SIGV4_DATE];
    struct sigv4_request request = {.method = x->head.method,
                                    .path = whole_path(x, rw),
                                    .query = rw->query,
                                    .headers = headers,
                                    .body_sha256 = hash,
                                    .date = date};
    struct strv authorization;
    enum rc rc;

    sigv4_date(clock_wall_us(), date);
    if (x->duplex)
        request.body_word = SIGV4_EVENTS;
    else
        hash_body(x, hash);
    rc = request.path.p ? add_text(x, STRV("x-amz-date"), STRV_NONE, strv_z(date), out)
                        : RC_LIMIT;
    if (rc == RC_OK && aws->session_token)
        rc = add_text(x, STRV("x-amz-security-token"), STRV_NONE, strv_z(aws->session_token),
                      out);
    if (rc == RC_OK && x->duplex)
        rc = add_text(x, STRV("x-amz-content-sha256"), STRV_NONE, STRV(SIGV4_EVENTS), out);
    if (rc == RC_OK)
        rc = collect(x, rw, out, headers, &request.n_headers);
    if (rc == RC_OK)
        rc = sigv4_sign(&key, &request, &x->arena, &authorization);
    if (rc == RC_OK)
        out->headers[out->n++] =
            (struct http1_header){.name = STRV("authorization"), .value = authorization};
    if (rc == RC_OK && x->duplex)
        duplex_sign(x, authorization);
    return rc;
}

enum rc credential_make(struct xchg *x, const struct http_request_rewrite *rw,
                        struct credential *out)
{
    const struct upstream_config *up = x->upstream;

    out->n = 0;
    if (up->credentials == CREDENTIALS_CLIENT)
        return RC_OK;
    if (up->aws.access_key_id)
        return add_signature(x, rw, out);
    if (upstream_takes_token(up))
        return add_token(x, out);
    if (!up->api_key || up->api_key[0] == '\0')
        return RC_OK;
    return add_text(x, up->key_header, up->key_prefix, strv_z(up->api_key), out);
}
