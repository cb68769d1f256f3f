#include "tests/provider/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum chunk_state {
    CHUNK_SIZE = 0,
    CHUNK_DATA,
    CHUNK_DATA_END, /* the line end behind the data */
    CHUNK_TRAILER,
};

enum {
    CHUNK_LINE_MAX = 8192,
    SIM_NUMBER_BITS = 40,
};

void request_init(struct request *r)
{
    memset(r, 0, sizeof(*r));
    buf_init(&r->head, REQUEST_HEAD_MAX_BYTES);
    buf_init(&r->line, CHUNK_LINE_MAX);
    buf_init(&r->body, REQUEST_BODY_MAX_BYTES);
}

void request_clear(struct request *r)
{
    cJSON_Delete(r->json);
    r->json = NULL;
    buf_clear(&r->head);
    buf_clear(&r->line);
    if (r->body.cap > 1U << 20)
        buf_release(&r->body);
    else
        buf_clear(&r->body);
    r->n_headers = 0;
    r->has_sim = false;
    r->framing = REQUEST_NO_BODY;
    r->left = 0;
    r->chunk_state = CHUNK_SIZE;
    r->problem = NULL;
}

void request_free(struct request *r)
{
    request_clear(r);
    buf_release(&r->head);
    buf_release(&r->line);
    buf_release(&r->body);
}

static enum request_status bad(struct request *r, const char *problem)
{
    r->problem = problem;
    return REQUEST_BAD;
}

static bool is_token_byte(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-')
        return true;
    return c != 0 && strchr("!#$%&'*+.^_`|~", c) != NULL;
}

static bool is_token(struct strv s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_byte((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

/* One line of *rest without its CRLF; false where there is no whole line or a bare LF. */
static bool take_line(struct strv *rest, struct strv *line)
{
    size_t at = strv_find(*rest, '\n');
    if (at == rest->n || at == 0 || rest->p[at - 1] != '\r')
        return false;
    *line = strv_make(rest->p, at - 1);
    *rest = strv_skip(*rest, at + 1);
    return memchr(line->p, '\r', line->n) == NULL && memchr(line->p, 0, line->n) == NULL;
}

static bool read_request_line(struct request *r, struct strv line)
{
    size_t a = strv_find(line, ' ');
    r->method = strv_head(line, a);
    struct strv rest = strv_skip(line, a + 1);
    size_t b = strv_find(rest, ' ');
    r->target = strv_head(rest, b);
    struct strv version = strv_skip(rest, b + 1);
    if (strv_eq(version, STRV("HTTP/1.1")))
        r->minor = 1;
    else if (strv_eq(version, STRV("HTTP/1.0")))
        r->minor = 0;
    else
        return false;
    if (!is_token(r->method) || r->target.n == 0 ||
        (r->target.p[0] != '/' && r->target.p[0] != '*'))
        return false;
    size_t q = strv_find(r->target, '?');
    r->path = strv_head(r->target, q);
    r->query = strv_skip(r->target, q + 1);
    return true;
}

static bool read_header(struct request *r, struct strv line)
{
    size_t colon = strv_find(line, ':');
    struct strv name = strv_head(line, colon);
    if (colon == line.n || !is_token(name) || r->n_headers == REQUEST_HEADERS_MAX)
        return false;
    if (strv_starts_nocase(name, STRV("x-sim-")))
        r->has_sim = true;
    r->headers[r->n_headers++] =
        (struct request_header){name, strv_trim(strv_skip(line, colon + 1))};
    return true;
}

/* Decides how the body is framed; NULL, or what is wrong. */
static const char *read_framing(struct request *r)
{
    bool has_length = false;
    bool has_coding = false;
    size_t hosts = 0;
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct request_header *h = &r->headers[i];
        if (strv_eq_nocase(h->name, STRV("host")))
            hosts++;
        if (strv_eq_nocase(h->name, STRV("content-length"))) {
            uint64_t n;
            if (!strv_parse_u64(h->value, REQUEST_BODY_MAX_BYTES, &n))
                return "bad Content-Length";
            if (has_length)
                return "Content-Length twice";
            has_length = true;
            r->left = n;
        }
        if (strv_eq_nocase(h->name, STRV("transfer-encoding"))) {
            if (has_coding || !strv_eq_nocase(h->value, STRV("chunked")))
                return "unknown transfer coding";
            has_coding = true;
        }
    }
    if (hosts != 1 && r->minor == 1)
        return "not one Host";
    if (has_length && has_coding)
        return "both Content-Length and Transfer-Encoding";
    if (has_coding)
        r->framing = REQUEST_CHUNKED;
    else if (has_length && r->left > 0)
        r->framing = REQUEST_LENGTH;
    return NULL;
}

enum request_status request_read_head(struct request *r, struct buf *in)
{
    struct strv bytes = buf_view(in);
    const char *end = bytes.n ? memmem(bytes.p, bytes.n, "\r\n\r\n", 4) : NULL;
    if (end == NULL)
        return bytes.n > REQUEST_HEAD_MAX_BYTES ? bad(r, "head too large") : REQUEST_MORE;
    size_t n = (size_t)(end - bytes.p) + 4;
    if (buf_append(&r->head, bytes.p, n) != RC_OK)
        return bad(r, "head too large");
    buf_consume(in, n);
    struct strv rest = strv_head(buf_view(&r->head), n - 2);
    struct strv line;
    if (!take_line(&rest, &line) || !read_request_line(r, line))
        return bad(r, "malformed request line");
    while (rest.n > 0)
        if (!take_line(&rest, &line) || !read_header(r, line))
            return bad(r, "malformed header");
    const char *problem = read_framing(r);
    return problem ? bad(r, problem) : REQUEST_DONE;
}

static enum request_status take_data(struct request *r, struct buf *in)
{
    size_t n = buf_len(in);
    if (n > r->left)
        n = (size_t)r->left;
    if (n > 0 && buf_append(&r->body, buf_view(in).p, n) != RC_OK)
        return bad(r, "body too large");
    buf_consume(in, n);
    r->left -= n;
    return r->left == 0 ? REQUEST_DONE : REQUEST_MORE;
}

/* Moves bytes into r->line up to and with LF. */
static enum request_status take_chunk_line(struct request *r, struct buf *in)
{
    struct strv v = buf_view(in);
    size_t at = strv_find(v, '\n');
    size_t n = at < v.n ? at + 1 : v.n;
    if (n > 0 && buf_append(&r->line, v.p, n) != RC_OK)
        return bad(r, "chunk line too long");
    buf_consume(in, n);
    if (at == v.n)
        return REQUEST_MORE;
    struct strv line = buf_view(&r->line);
    if (line.n < 2 || line.p[line.n - 2] != '\r')
        return bad(r, "bare LF in chunked body");
    return REQUEST_DONE;
}

static bool parse_chunk_size(struct strv line, uint64_t *size)
{
    uint64_t n = 0;
    size_t digits = 0;
    for (; digits < line.n; digits++) {
        char c = line.p[digits];
        unsigned value;
        if (c >= '0' && c <= '9')
            value = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            value = (unsigned)(c - 'A') + 10;
        else
            break;
        n = n * 16 + value;
        if (n > REQUEST_BODY_MAX_BYTES)
            return false;
    }
    *size = n;
    return digits > 0 && (digits == line.n || line.p[digits] == ';');
}

/* The line of a chunked body that was just read whole. */
static enum request_status chunk_line_done(struct request *r)
{
    struct strv line = strv_head(buf_view(&r->line), buf_len(&r->line) - 2);
    enum request_status status = REQUEST_MORE;
    switch ((enum chunk_state)r->chunk_state) {
    case CHUNK_SIZE:
        if (!parse_chunk_size(line, &r->left))
            status = bad(r, "bad chunk size");
        r->chunk_state = r->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        break;
    case CHUNK_DATA_END:
        if (line.n != 0)
            status = bad(r, "chunk longer than its size");
        r->chunk_state = CHUNK_SIZE;
        break;
    case CHUNK_TRAILER:
        if (line.n == 0)
            status = REQUEST_DONE;
        break;
    case CHUNK_DATA:
        break;
    }
    buf_clear(&r->line);
    return status;
}

static enum request_status read_chunked(struct request *r, struct buf *in)
{
    while (buf_len(in) > 0) {
        if (r->chunk_state == CHUNK_DATA) {
            enum request_status status = take_data(r, in);
            if (status == REQUEST_BAD)
                return status;
            if (status == REQUEST_DONE)
                r->chunk_state = CHUNK_DATA_END;
            continue;
        }
        enum request_status status = take_chunk_line(r, in);
        if (status == REQUEST_DONE)
            status = chunk_line_done(r);
        else if (status == REQUEST_MORE)
            return status;
        if (status != REQUEST_MORE)
            return status;
    }
    return REQUEST_MORE;
}

enum request_status request_read_body(struct request *r, struct buf *in)
{
    switch (r->framing) {
    case REQUEST_NO_BODY:
        return REQUEST_DONE;
    case REQUEST_LENGTH:
        return take_data(r, in);
    case REQUEST_CHUNKED:
        return read_chunked(r, in);
    }
    return REQUEST_BAD;
}

struct strv request_header(const struct request *r, struct strv name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strv_eq_nocase(r->headers[i].name, name))
            return r->headers[i].value;
    return STRV_NONE;
}

bool request_mentions(const struct request *r, struct strv text)
{
    struct strv head = buf_view(&r->head);
    for (size_t i = 0; i + text.n <= head.n; i++)
        if (strv_eq_nocase(strv_make(head.p + i, text.n), text))
            return true;
    return false;
}

struct strv request_parameter(const struct request *r, struct strv name)
{
    struct strv rest = r->query;
    struct strv part;
    while (strv_split(&rest, '&', &part)) {
        size_t at = strv_find(part, '=');
        if (strv_eq(strv_head(part, at), name))
            return strv_skip(part, at + 1);
    }
    return STRV_NONE;
}

const cJSON *request_json(struct request *r)
{
    struct strv body = buf_view(&r->body);
    if (r->json == NULL && body.n > 0)
        r->json = cJSON_ParseWithLength(body.p, body.n);
    return r->json;
}

static const struct request_header *sim_find(const struct request *r, const char *name)
{
    if (!r->has_sim)
        return NULL;
    struct strv wanted = strv_z(name);
    struct strv prefix = STRV("x-sim-");
    for (size_t i = 0; i < r->n_headers; i++) {
        struct strv have = r->headers[i].name;
        if (strv_starts_nocase(have, prefix) &&
            strv_eq_nocase(strv_skip(have, prefix.n), wanted))
            return &r->headers[i];
    }
    return NULL;
}

struct strv sim_text(const struct request *r, const char *name)
{
    const struct request_header *h = sim_find(r, name);
    return h ? h->value : STRV_NONE;
}

bool sim_has(const struct request *r, const char *name)
{
    return sim_find(r, name) != NULL;
}

uint64_t sim_number(const struct request *r, const char *name, uint64_t otherwise)
{
    const struct request_header *h = sim_find(r, name);
    uint64_t n;
    if (h == NULL || !strv_parse_u64(h->value, UINT64_C(1) << SIM_NUMBER_BITS, &n))
        return otherwise;
    return n;
}
