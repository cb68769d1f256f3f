#include "proxy/sigv4.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/datetime.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

enum { DAY_BYTES = 8, MAC_HEX = SHA256_HEX - 1 };

void sigv4_date(int64_t wall_us, char out[SIGV4_DATE])
{
    char text[DATETIME_TEXT];
    size_t n = 0;

    datetime_format_s(wall_us, text);
    for (const char *p = text; *p != '\0' && n < SIGV4_DATE - 1; p++) {
        if (*p != '-' && *p != ':')
            out[n++] = *p;
    }
    out[n] = '\0';
}

/* ---- the canonical request --------------------------------------------------------------- */

/* RFC 3986 section 2.3. */
static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

static enum rc put_encoded(struct buf *out, struct strv text, bool keep_slash)
{
    static const char HEX[] = "0123456789ABCDEF";
    enum rc rc = buf_reserve(out, 3 * text.n);
    char *to;

    if (rc != RC_OK)
        return rc;
    to = buf_tail(out);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (is_unreserved(text.p[i]) || (keep_slash && c == '/')) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = HEX[c >> 4];
            *to++ = HEX[c & 15];
        }
    }
    buf_commit(out, (size_t)(to - buf_tail(out)));
    return RC_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Text as sent, each byte of it encoded as AWS does. */
static enum rc put_normal(struct buf *out, struct strv text)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < text.n && rc == RC_OK; i++) {
        int high = text.p[i] == '%' && text.n - i > 2 ? hex_digit(text.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.p[i + 2]) : -1;
        char c = text.p[i];

        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        }
        rc = put_encoded(out, strv_make(&c, 1), false);
    }
    return rc;
}

/* A parameter's place in a buffer, so that growing does not move it. */
struct parameter {
    const char *base;
    size_t name, name_n, value, value_n;
};

static int compare_views(struct strv a, struct strv b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_parameters(const void *a, const void *b)
{
    const struct parameter *x = a, *y = b;
    int order = compare_views(strv_make(x->base + x->name, x->name_n),
                              strv_make(y->base + y->name, y->name_n));

    return order != 0 ? order
                      : compare_views(strv_make(x->base + x->value, x->value_n),
                                      strv_make(y->base + y->value, y->value_n));
}

static enum rc put_query(struct buf *out, struct strv query)
{
    struct parameter all[SIGV4_PARAMETERS_MAX];
    struct strv part;
    struct buf texts;
    size_t n = 0;
    enum rc rc = RC_OK;

    buf_init(&texts, SIGV4_CANONICAL_BYTES);
    while (rc == RC_OK && strv_split(&query, '&', &part)) {
        size_t equals = strv_find(part, '=');
        struct parameter *p = &all[n];

        if (part.n == 0)
            continue;
        if (n++ == SIGV4_PARAMETERS_MAX) {
            rc = RC_LIMIT;
            break;
        }
        p->name = buf_len(&texts);
        rc = put_normal(&texts, strv_head(part, equals));
        p->name_n = buf_len(&texts) - p->name;
        p->value = buf_len(&texts);
        if (rc == RC_OK)
            rc = put_normal(&texts, strv_skip(part, equals + 1));
        p->value_n = buf_len(&texts) - p->value;
    }
    for (size_t i = 0; i < n && rc == RC_OK; i++)
        all[i].base = buf_view(&texts).p;
    if (rc == RC_OK && n > 1)
        qsort(all, n, sizeof(all[0]), compare_parameters);
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        const struct parameter *p = &all[i];

        if (i > 0)
            rc = buf_append(out, "&", 1);
        if (rc == RC_OK)
            rc = buf_append(out, p->base + p->name, p->name_n);
        if (rc == RC_OK)
            rc = buf_append(out, "=", 1);
        if (rc == RC_OK)
            rc = buf_append(out, p->base + p->value, p->value_n);
    }
    buf_release(&texts);
    return rc;
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static int compare_names(struct strv a, struct strv b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        int order = (unsigned char)lower(a.p[i]) - (unsigned char)lower(b.p[i]);

        if (order != 0)
            return order;
    }
    return (a.n > b.n) - (a.n < b.n);
}

/* By name; those of one name stay in order: their values are joined so. */
static size_t sort_headers(const struct sigv4_request *request,
                           const struct http1_header *sorted[SIGV4_HEADERS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < request->n_headers; i++) {
        size_t at = n++;

        for (; at > 0 && compare_names(sorted[at - 1]->name, request->headers[i].name) > 0;
             at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = &request->headers[i];
    }
    return n;
}

static enum rc put_name(struct buf *out, struct strv name)
{
    enum rc rc = buf_reserve(out, name.n);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < name.n; i++)
        buf_tail(out)[i] = lower(name.p[i]);
    buf_commit(out, name.n);
    return RC_OK;
}

/* Without blanks around it, runs of them inside as one. */
static enum rc put_value(struct buf *out, struct strv value)
{
    enum rc rc;
    char *to;

    value = strv_trim(value);
    rc = buf_reserve(out, value.n);
    if (rc != RC_OK)
        return rc;
    to = buf_tail(out);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] != ' ' || value.p[i - 1] != ' ')
            *to++ = value.p[i];
    }
    buf_commit(out, (size_t)(to - buf_tail(out)));
    return RC_OK;
}

static bool same_name(const struct http1_header *a, const struct http1_header *b)
{
    return strv_eq_nocase(a->name, b->name);
}

/* "name:value\n" for each, values of one name joined by commas. */
static enum rc put_headers(struct buf *out, const struct http1_header *const *sorted, size_t n)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        bool again = i > 0 && same_name(sorted[i], sorted[i - 1]);

        if (!again)
            rc = put_name(out, sorted[i]->name);
        if (rc == RC_OK)
            rc = buf_append(out, again ? "," : ":", 1);
        if (rc == RC_OK)
            rc = put_value(out, sorted[i]->value);
        if (rc == RC_OK && (i + 1 == n || !same_name(sorted[i], sorted[i + 1])))
            rc = buf_append(out, "\n", 1);
    }
    return rc;
}

static enum rc put_names(struct buf *out, const struct http1_header *const *sorted, size_t n)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        if (i > 0 && same_name(sorted[i], sorted[i - 1]))
            continue;
        if (i > 0)
            rc = buf_append(out, ";", 1);
        if (rc == RC_OK)
            rc = put_name(out, sorted[i]->name);
    }
    return rc;
}

/* The canonical request; signed_names: where the list of names stands in it. */
static enum rc put_canonical(struct buf *out, const struct sigv4_request *request,
                             size_t *names_at, size_t *names_n)
{
    const struct http1_header *sorted[SIGV4_HEADERS_MAX];
    char hash[SHA256_HEX];
    enum rc rc;
    size_t n;

    if (request->n_headers > SIGV4_HEADERS_MAX)
        return RC_LIMIT;
    n = sort_headers(request, sorted);
    rc = buf_append_strv(out, request->method);
    if (rc == RC_OK)
        rc = buf_append(out, "\n", 1);
    if (rc == RC_OK)
        rc = put_encoded(out, request->path.n > 0 ? request->path : STRV("/"), true);
    if (rc == RC_OK)
        rc = buf_append(out, "\n", 1);
    if (rc == RC_OK)
        rc = put_query(out, request->query);
    if (rc == RC_OK)
        rc = buf_append(out, "\n", 1);
    if (rc == RC_OK)
        rc = put_headers(out, sorted, n);
    if (rc == RC_OK)
        rc = buf_append(out, "\n", 1);
    *names_at = buf_len(out);
    if (rc == RC_OK)
        rc = put_names(out, sorted, n);
    *names_n = buf_len(out) - *names_at;
    if (rc == RC_OK)
        rc = buf_append(out, "\n", 1);
    if (rc == RC_OK && request->body_word)
        return buf_append_strv(out, strv_z(request->body_word));
    digest_hex(request->body_sha256, SHA256_BYTES, hash);
    return rc == RC_OK ? buf_append(out, hash, MAC_HEX) : rc;
}

/* ---- the signature -------------------------------------------------------------------------
 */

/* The key of one day, region and service. */
static void derive_key(const struct sigv4_key *key, struct strv day,
                       unsigned char out[SHA256_BYTES])
{
    char first[4 + SIGV4_SECRET_MAX_BYTES] = "AWS4";
    const struct strv steps[] = {day, key->region, key->service, STRV("aws4_request")};
    struct strv secret;

    memcpy(first + 4, key->secret.p, key->secret.n);
    secret = strv_make(first, 4 + key->secret.n);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned char next[SHA256_BYTES];

        digest_hmac_sha256(secret, steps[i], next);
        memcpy(out, next, SHA256_BYTES);
        secret = strv_make((const char *)out, SHA256_BYTES);
        explicit_bzero(next, sizeof(next));
    }
    explicit_bzero(first, sizeof(first));
}

/* "DAY/REGION/SERVICE/aws4_request" */
static enum rc put_scope(struct buf *out, const struct sigv4_key *key, struct strv day)
{
    const struct strv parts[] = {day,          STRV("/"), key->region,         STRV("/"),
                                 key->service, STRV("/"), STRV("aws4_request")};
    enum rc rc = RC_OK;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == RC_OK; i++)
        rc = buf_append_strv(out, parts[i]);
    return rc;
}

/* The hex of the signature over a canonical request. */
static enum rc make_signature(const struct sigv4_key *key, struct strv canonical,
                              const char *date, char out[SHA256_HEX])
{
    unsigned char hash[SHA256_BYTES], mac[SHA256_BYTES], derived[SHA256_BYTES];
    struct strv day = strv_make(date, DAY_BYTES);
    char hex[SHA256_HEX];
    struct buf text;
    enum rc rc;

    buf_init(&text, SIGV4_CANONICAL_BYTES);
    digest_sha256(canonical, hash);
    digest_hex(hash, SHA256_BYTES, hex);
    rc = buf_append_strv(&text, STRV(ALGORITHM "\n"));
    if (rc == RC_OK)
        rc = buf_append_strv(&text, strv_z(date));
    if (rc == RC_OK)
        rc = buf_append(&text, "\n", 1);
    if (rc == RC_OK)
        rc = put_scope(&text, key, day);
    if (rc == RC_OK)
        rc = buf_append(&text, "\n", 1);
    if (rc == RC_OK)
        rc = buf_append(&text, hex, MAC_HEX);
    if (rc == RC_OK) {
        derive_key(key, day, derived);
        digest_hmac_sha256(strv_make((const char *)derived, SHA256_BYTES), buf_view(&text),
                           mac);
        explicit_bzero(derived, sizeof(derived));
        digest_hex(mac, SHA256_BYTES, out);
    }
    buf_release(&text);
    return rc;
}

static enum rc put_authorization(struct buf *out, const struct sigv4_key *key, const char *date,
                                 struct strv names, const char *signature)
{
    enum rc rc = buf_append_strv(out, STRV(ALGORITHM " Credential="));

    if (rc == RC_OK)
        rc = buf_append_strv(out, key->access_key_id);
    if (rc == RC_OK)
        rc = buf_append(out, "/", 1);
    if (rc == RC_OK)
        rc = put_scope(out, key, strv_make(date, DAY_BYTES));
    if (rc == RC_OK)
        rc = buf_append_strv(out, STRV(", SignedHeaders="));
    if (rc == RC_OK)
        rc = buf_append_strv(out, names);
    if (rc == RC_OK)
        rc = buf_append_strv(out, STRV(", Signature="));
    return rc == RC_OK ? buf_append(out, signature, MAC_HEX) : rc;
}

enum rc sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *request,
                   struct arena *arena, struct strv *out)
{
    char signature[SHA256_HEX];
    struct buf canonical, value;
    size_t names_at, names_n;
    enum rc rc;

    if (key->secret.n == 0 || key->secret.n > SIGV4_SECRET_MAX_BYTES)
        return RC_LIMIT;
    buf_init(&canonical, SIGV4_CANONICAL_BYTES);
    buf_init(&value, SIGV4_CANONICAL_BYTES);
    rc = put_canonical(&canonical, request, &names_at, &names_n);
    if (rc == RC_OK)
        rc = make_signature(key, buf_view(&canonical), request->date, signature);
    if (rc == RC_OK)
        rc =
            put_authorization(&value, key, request->date,
                              strv_make(buf_view(&canonical).p + names_at, names_n), signature);
    if (rc == RC_OK) {
        *out = arena_strv(arena, buf_view(&value));
        rc = out->p != NULL ? RC_OK : RC_LIMIT;
    }
    buf_release(&value);
    buf_release(&canonical);
    return rc;
}

/* ---- messages of a stream ---------------------------------------------------------------- */

void sigv4_chain_start(struct sigv4_chain *chain, struct strv authorization)
{
    ASSERT(authorization.n > MAC_HEX);
    memcpy(chain->prior, authorization.p + authorization.n - MAC_HEX, MAC_HEX);
    chain->prior[MAC_HEX] = '\0';
}

enum rc sigv4_chain_sign(struct sigv4_chain *chain, const struct sigv4_key *key,
                         int64_t wall_us, struct strv header, struct strv payload,
                         unsigned char out[SHA256_BYTES])
{
    unsigned char hash[SHA256_BYTES], derived[SHA256_BYTES];
    char date[SIGV4_DATE], header_hash[SHA256_HEX], payload_hash[SHA256_HEX];
    struct strv day = strv_make(date, DAY_BYTES);
    struct buf text;
    enum rc rc;

    if (key->secret.n == 0 || key->secret.n > SIGV4_SECRET_MAX_BYTES)
        return RC_LIMIT;
    sigv4_date(wall_us, date);
    digest_sha256(header, hash);
    digest_hex(hash, SHA256_BYTES, header_hash);
    digest_sha256(payload, hash);
    digest_hex(hash, SHA256_BYTES, payload_hash);
    buf_init(&text, SIGV4_CANONICAL_BYTES);
    rc = buf_printf(&text, ALGORITHM "-PAYLOAD\n%s\n", date);
    if (rc == RC_OK)
        rc = put_scope(&text, key, day);
    if (rc == RC_OK)
        rc = buf_printf(&text, "\n%s\n%s\n%s", chain->prior, header_hash, payload_hash);
    if (rc == RC_OK) {
        derive_key(key, day, derived);
        digest_hmac_sha256(strv_make((const char *)derived, SHA256_BYTES), buf_view(&text),
                           out);
        explicit_bzero(derived, sizeof(derived));
        digest_hex(out, SHA256_BYTES, chain->prior);
    }
    buf_release(&text);
    return rc;
}
