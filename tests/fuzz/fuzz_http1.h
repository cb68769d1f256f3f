/*
 * fuzz_http1.h - what the targets of HTTP heads share: parsing in pieces, comparing heads.
 */
#ifndef TESTS_FUZZ_FUZZ_HTTP1_H
#define TESTS_FUZZ_FUZZ_HTTP1_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/xalloc.h"
#include "proxy/field_traits.h"
#include "proxy/http1_lines.h"

enum { FUZZ_OUT_MAX_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

typedef enum parse_status fuzz_parse_fn(struct strv bytes, size_t max_bytes, size_t max_headers,
                                        struct http1_head *out);

/* Where a view lies in its message; views of static text ("/" of an absolute form) by content.
 */
static inline bool fuzz_same_view(struct strv a, const char *base_a, struct strv b,
                                  const char *base_b, size_t n)
{
    bool inside = a.n > 0 && a.p >= base_a && a.p + a.n <= base_a + n;

    return strv_eq(a, b) && (!inside || a.p - base_a == b.p - base_b);
}

/* The same head, read from two copies of the same n bytes. */
static inline void fuzz_same_head(const struct http1_head *a, const char *base_a,
                                  const struct http1_head *b, const char *base_b, size_t n)
{
    ASSERT(a->n_headers == b->n_headers && a->bytes == b->bytes && a->minor == b->minor);
    ASSERT(fuzz_same_view(a->method, base_a, b->method, base_b, n));
    ASSERT(fuzz_same_view(a->target, base_a, b->target, base_b, n));
    ASSERT(fuzz_same_view(a->origin, base_a, b->origin, base_b, n));
    ASSERT(fuzz_same_view(a->authority, base_a, b->authority, base_b, n));
    ASSERT(a->status == b->status && fuzz_same_view(a->reason, base_a, b->reason, base_b, n));
    for (size_t i = 0; i < a->n_headers; i++) {
        ASSERT(fuzz_same_view(a->headers[i].name, base_a, b->headers[i].name, base_b, n));
        ASSERT(fuzz_same_view(a->headers[i].value, base_a, b->headers[i].value, base_b, n));
    }
}

/*
 * Parses pieces of the size given, each time from a copy of exact size at a new
 * place; the copy of the last call is left in *copy for the caller to free.
 */
static inline enum parse_status fuzz_parse_in_pieces(fuzz_parse_fn *parse, struct strv bytes,
                                                     size_t piece, size_t max_bytes,
                                                     size_t max_headers, struct http1_head *out,
                                                     char **copy)
{
    enum parse_status status = PARSE_MORE;

    *out = (struct http1_head){.headers = out->headers};
    *copy = NULL;
    for (size_t at = 0; status == PARSE_MORE && at < bytes.n;) {
        at = piece < bytes.n - at ? at + piece : bytes.n;
        free(*copy);
        *copy = xmalloc(at);
        memcpy(*copy, bytes.p, at);
        status = parse(strv_make(*copy, at), max_bytes, max_headers, out);
        ASSERT(status != PARSE_MORE || out->looked == at);
        ASSERT(status == PARSE_DONE ||
               (out->n_headers == 0 && !out->method.p && !out->target.p && !out->origin.p &&
                !out->authority.p && !out->reason.p));
    }
    return status;
}

/* What a line that was read among others means: what it does alone. */
static inline void fuzz_traits(const struct http1_header *line, bool is_request)
{
    struct http1_header alone = {.name = line->name, .value = line->value};

    ASSERT(line->traits == (is_request ? field_judge_line(&alone) : field_judge(line->name)));
}

/* With its own lines known from a first reading: the same answer, and each name's traits. */
static inline void fuzz_parse_known(fuzz_parse_fn *parse, struct strv bytes, size_t max_bytes,
                                    size_t max_headers, enum parse_status status,
                                    const struct http1_head *plain)
{
    struct http1_lines *known = http1_lines_new();
    struct http1_header lines[HTTP1_HEADERS_MAX];

    for (int time = 0; time < 2; time++) {
        struct http1_head head = {.headers = lines, .known = known};

        ASSERT(parse(bytes, max_bytes, max_headers, &head) == status);
        ASSERT(head.fault == plain->fault);
        if (status != PARSE_DONE)
            continue;
        fuzz_same_head(&head, bytes.p, plain, bytes.p, plain->bytes);
        ASSERT(head.names == plain->names);
        for (size_t i = 0; i < head.n_headers; i++)
            fuzz_traits(&head.headers[i], parse == http1_parse_request);
    }
    http1_lines_free(known);
}

/* Whole and in pieces: the same answer. */
static inline enum parse_status fuzz_parse(fuzz_parse_fn *parse, struct strv bytes,
                                           size_t piece, size_t max_bytes, size_t max_headers,
                                           struct http1_head *out)
{
    struct http1_header lines[HTTP1_HEADERS_MAX];
    struct http1_head pieces = {.headers = lines};
    char *copy;
    enum parse_status in_pieces =
        fuzz_parse_in_pieces(parse, bytes, piece, max_bytes, max_headers, &pieces, &copy);
    enum parse_status whole;

    *out = (struct http1_head){.headers = out->headers};
    whole = bytes.n > 0 ? parse(bytes, max_bytes, max_headers, out) : PARSE_MORE;
    ASSERT(whole == in_pieces);
    if (bytes.n > 0)
        fuzz_parse_known(parse, bytes, max_bytes, max_headers, whole, out);
    ASSERT(whole != PARSE_BAD || (out->fault == pieces.fault && out->fault != HTTP1_OK));
    if (whole == PARSE_DONE) {
        ASSERT(out->bytes <= max_bytes && out->n_headers <= max_headers);
        fuzz_same_head(out, bytes.p, &pieces, copy, out->bytes);
    }
    free(copy);
    return whole;
}

static inline void fuzz_put(struct buf *out, struct strv s)
{
    ASSERT(buf_append_strv(out, s) == RC_OK);
}

/* Fields and the empty line, as they were read. */
static inline void fuzz_put_fields(struct buf *out, const struct http1_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        fuzz_put(out, head->headers[i].name);
        fuzz_put(out, STRV(":"));
        fuzz_put(out, head->headers[i].value);
        fuzz_put(out, STRV("\r\n"));
    }
    fuzz_put(out, STRV("\r\n"));
}

static inline size_t fuzz_count(const struct http1_head *head, struct strv name)
{
    size_t n = 0;

    for (size_t i = 0; i < head->n_headers; i++)
        n += strv_eq_nocase(head->headers[i].name, name) ? 1 : 0;
    return n;
}

#endif
