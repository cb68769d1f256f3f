/*
 * http_msg.c - messages written anew from parsed heads.
 *
 * Each builder adds up what it may need at most, reserves that once and then only
 * copies; so a buffer that is too small is left as it was.
 */
#include "proxy/http_msg.h"

#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/datetime.h"
#include "proxy/field_traits.h"
#include "proxy/http1_chars.h"

/* Room for what a builder writes besides its arguments: start line, framing, Connection, Date.
 */
enum { OWN_LINES_BYTES = 320 };

struct writer {
    char *p;
    char *end;
};

static inline void put(struct writer *w, struct strv s)
{
    ASSERT(s.n <= (size_t)(w->end - w->p));
    if (s.n > 0)
        memcpy(w->p, s.p, s.n);
    w->p += s.n;
}

static void put_number(struct writer *w, uint64_t n)
{
    ASSERT(w->end - w->p >= STRV_U64_BYTES);
    w->p = strv_put_u64(w->p, n);
}

static void put_field(struct writer *w, struct strv name, struct strv value)
{
    char *p = w->p;

    ASSERT(name.n + value.n + 4 <= (size_t)(w->end - p));
    p = strv_copy(p, name);
    memcpy(p, ": ", 2);
    p = strv_copy(p + 2, value);
    memcpy(p, "\r\n", 2);
    w->p = p + 2;
}

static enum rc writer_start(struct writer *w, struct buf *out, size_t most)
{
    enum rc rc = buf_reserve(out, most);

    if (rc != RC_OK)
        return rc;
    w->p = buf_tail(out);
    w->end = w->p + most;
    return RC_OK;
}

static void writer_finish(const struct writer *w, struct buf *out)
{
    buf_commit(out, (size_t)(w->p - buf_tail(out)));
}

/* Bytes of all fields as they would be written. */
static size_t fields_bytes(const struct http1_header *fields, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += fields[i].name.n + fields[i].value.n + 4;
    return bytes;
}

static bool fields_valid(const struct http1_header *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!http1_is_name(fields[i].name) || !http1_all_value(fields[i].value))
            return false;
    }
    return true;
}

/* True where the block is nothing or whole "Name: value" lines. */
static bool lines_valid(struct strv lines)
{
    const char *p = lines.p, *end;

    if (lines.n == 0)
        return true;
    end = lines.p + lines.n;
    while (p < end) {
        const char *name = p;

        p = http1_skip_token(p, end);
        if (p == name || p == end || *p != ':')
            return false;
        p = http1_skip_value(p + 1, end);
        if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
            return false;
        p += 2;
    }
    return true;
}

/* ---- which fields pass ------------------------------------------------------- */

/*
 * RC_OK with *any where the head nominates more as hop-by-hop than close and
 * keep-alive.  The list is asked for every field, so a long one is refused before it
 * costs its length times theirs.
 */
static enum rc find_nominations(const struct http1_head *head, bool *any)
{
    size_t parts = 0;

    *any = false;
    if (!http1_may_have(head, STRV("connection")))
        return RC_OK;
    for (size_t i = 0; i < head->n_headers; i++) {
        struct strv rest = head->headers[i].value, part;

        if (!strv_eq_nocase(head->headers[i].name, STRV("connection")))
            continue;
        while (strv_split(&rest, ',', &part)) {
            if (++parts > HTTP_CONNECTION_PARTS_MAX)
                return RC_BAD;
            part = strv_trim(part);
            if (!strv_eq_nocase(part, STRV("keep-alive")) &&
                !strv_eq_nocase(part, STRV("close")))
                *any = true;
        }
    }
    return RC_OK;
}

static bool request_drops(const struct http1_head *client,
                          const struct http_request_rewrite *rw, bool nominations,
                          const struct http1_header *field)
{
    unsigned dropped = FIELD_OF_HOP | FIELD_OURS | FIELD_HOST | FIELD_EXPECT |
                       (rw->identity ? FIELD_ACCEPT_ENCODING : 0);

    if ((field_traits(field) & dropped) || (rw->drop != NULL && rw->drop(rw->drop_arg, field)))
        return true;
    for (size_t i = 0; i < rw->n_add; i++) {
        if (strv_eq_nocase(field->name, rw->add[i].name))
            return true;
    }
    return nominations && http1_is_hop_by_hop(client, field->name);
}

static bool response_drops(const struct http1_head *upstream,
                           const struct http_response_rewrite *rw, bool nominations,
                           const struct http1_header *field)
{
    return (field_traits(field) & (FIELD_OF_HOP | FIELD_OURS)) ||
           (rw->drop != NULL && rw->drop(rw->drop_arg, field)) ||
           (nominations && http1_is_hop_by_hop(upstream, field->name));
}

/* ---- builders ---------------------------------------------------------------- */

static bool request_valid(const struct http1_head *client,
                          const struct http_request_rewrite *rw)
{
    return http1_is_name(client->method) && rw->host.n > 0 && http1_all_target(rw->host) &&
           http1_all_target(rw->base_path) && http1_all_target(rw->rest) &&
           http1_all_target(rw->query) && (rw->base_path.n == 0 || rw->base_path.p[0] == '/') &&
           (rw->rest.n == 0 || rw->rest.p[0] == '/') && fields_valid(rw->add, rw->n_add) &&
           rw->body != BODY_CLOSE;
}

enum rc http_build_request(const struct http1_head *client,
                           const struct http_request_rewrite *rw, struct buf *out)
{
    struct writer w;
    bool nominations;
    enum rc rc = find_nominations(client, &nominations);

    if (rc != RC_OK || !request_valid(client, rw))
        return RC_BAD;
    rc = writer_start(&w, out,
                      client->method.n + rw->base_path.n + rw->rest.n + rw->query.n +
                          rw->host.n + fields_bytes(client->headers, client->n_headers) +
                          fields_bytes(rw->add, rw->n_add) + OWN_LINES_BYTES);
    if (rc != RC_OK)
        return rc;
    put(&w, client->method);
    put(&w, STRV(" "));
    put(&w, rw->base_path);
    put(&w, rw->rest);
    if (rw->base_path.n == 0 && rw->rest.n == 0)
        put(&w, STRV("/"));
    if (rw->query.p != NULL) {
        put(&w, STRV("?"));
        put(&w, rw->query);
    }
    put(&w, STRV(" HTTP/1.1\r\n"));
    put_field(&w, STRV("Host"), rw->host);
    for (size_t i = 0; i < client->n_headers; i++) {
        const struct http1_header *h = &client->headers[i];

        if (!request_drops(client, rw, nominations, h))
            put_field(&w, h->name, h->value);
    }
    for (size_t i = 0; i < rw->n_add; i++)
        put_field(&w, rw->add[i].name, rw->add[i].value);
    if (rw->identity)
        put(&w, STRV("Accept-Encoding: identity\r\n"));
    if (rw->close)
        put(&w, STRV("Connection: close\r\n"));
    if (rw->body == BODY_LENGTH) {
        put(&w, STRV("Content-Length: "));
        put_number(&w, rw->length);
        put(&w, STRV("\r\n"));
    } else if (rw->body == BODY_CHUNKED) {
        put(&w, STRV("Transfer-Encoding: chunked\r\n"));
    }
    put(&w, STRV("\r\n"));
    writer_finish(&w, out);
    return RC_OK;
}

static void put_status(struct writer *w, int status, struct strv reason)
{
    put(w, STRV("HTTP/1.1 "));
    put_number(w, (uint64_t)status);
    put(w, STRV(" "));
    put(w, reason);
    put(w, STRV("\r\n"));
}

/* The provider's own statement of length, where the message has no body but speaks of one. */
static void put_sent_length(struct writer *w, const struct http1_head *upstream)
{
    uint64_t length;
    const struct http1_header *h = http1_find(upstream, STRV("content-length"));

    if (h != NULL && strv_parse_u64(h->value, INT64_MAX, &length))
        put_field(w, h->name, h->value);
}

static void put_response_framing(struct writer *w, const struct http1_head *upstream,
                                 const struct http_response_rewrite *rw)
{
    switch (rw->body) {
    case BODY_NONE:
        /* RFC 9110 8.6: never in 1xx and 204. */
        if ((rw->to_head && http_status_has_body(upstream->status)) || upstream->status == 304)
            put_sent_length(w, upstream);
        return;
    case BODY_LENGTH:
        put(w, STRV("Content-Length: "));
        put_number(w, rw->length);
        put(w, STRV("\r\n"));
        return;
    case BODY_CHUNKED:
        put(w, STRV("Transfer-Encoding: chunked\r\n"));
        return;
    case BODY_CLOSE:
        return;
    }
}

enum rc http_build_response(const struct http1_head *upstream,
                            const struct http_response_rewrite *rw, struct buf *out)
{
    struct writer w;
    bool interim = upstream->status >= 100 && upstream->status <= 199;
    bool bodiless = rw->to_head || !http_status_has_body(upstream->status);
    bool nominations;
    enum rc rc = find_nominations(upstream, &nominations);

    if (rc != RC_OK || upstream->status < 100 || upstream->status > 999 ||
        !http1_all_value(upstream->reason) || !lines_valid(rw->add))
        return RC_BAD;
    if ((bodiless != (rw->body == BODY_NONE)) || (rw->body == BODY_CLOSE && rw->keep_alive) ||
        (rw->body == BODY_CHUNKED && rw->client_minor == 0))
        return RC_STATE;
    rc =
        writer_start(&w, out,
                     upstream->reason.n + fields_bytes(upstream->headers, upstream->n_headers) +
                         rw->add.n + OWN_LINES_BYTES);
    if (rc != RC_OK)
        return rc;
    put_status(&w, upstream->status, upstream->reason);
    for (size_t i = 0; i < upstream->n_headers; i++) {
        const struct http1_header *h = &upstream->headers[i];

        if (!response_drops(upstream, rw, nominations, h))
            put_field(&w, h->name, h->value);
    }
    put_response_framing(&w, upstream, rw);
    put(&w, rw->add);
    if (!interim && !rw->keep_alive)
        put(&w, STRV("Connection: close\r\n"));
    else if (!interim && rw->client_minor == 0)
        put(&w, STRV("Connection: keep-alive\r\n"));
    put(&w, STRV("\r\n"));
    writer_finish(&w, out);
    return RC_OK;
}

enum rc http_build_simple(int status, struct strv content_type, struct strv lines,
                          struct strv body, bool keep_alive, bool head_only, struct buf *out)
{
    struct writer w;
    struct strv reason = strv_z(http_reason(status));
    bool interim = status >= 100 && status <= 199;
    bool has_body = http_status_has_body(status);
    char date[HTTP_DATE_BYTES];
    enum rc rc;

    if (status < 100 || status > 999 || !http1_all_value(content_type) || !lines_valid(lines))
        return RC_BAD;
    rc = writer_start(&w, out, content_type.n + lines.n + body.n + reason.n + OWN_LINES_BYTES);
    if (rc != RC_OK)
        return rc;
    put_status(&w, status, reason);
    if (!interim) {
        http_date(clock_wall_us(), date);
        put_field(&w, STRV("Date"), strv_make(date, sizeof(date) - 1));
    }
    if (has_body) {
        if (content_type.n > 0)
            put_field(&w, STRV("Content-Type"), content_type);
        put(&w, STRV("Content-Length: "));
        put_number(&w, body.n);
        put(&w, STRV("\r\n"));
    }
    put(&w, lines);
    if (!interim && !keep_alive)
        put(&w, STRV("Connection: close\r\n"));
    put(&w, STRV("\r\n"));
    if (has_body && !head_only)
        put(&w, body);
    writer_finish(&w, out);
    return RC_OK;
}

/* ---- statuses and dates ------------------------------------------------------ */

bool http_status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "";
}

static char *put_digits(char *p, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        p[i] = (char)('0' + value % 10);
    return p + digits;
}

void http_date(int64_t us, char out[HTTP_DATE_BYTES])
{
    static const char *const days_of_week[] = {"Thu, ", "Fri, ", "Sat, ", "Sun, ",
                                               "Mon, ", "Tue, ", "Wed, "};
    static const char *const months[] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                         " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    int64_t days = us / US_PER_DAY - (us % US_PER_DAY < 0 ? 1 : 0);
    int second = (int)((us - days * US_PER_DAY) / US_PER_SECOND);
    int year, month, day;
    char *p = out;

    date_from_days(days, &year, &month, &day);
    memcpy(p, days_of_week[(days % 7 + 7) % 7], 5); /* 1970-01-01 was a Thursday */
    p = put_digits(p + 5, day, 2);
    memcpy(p, months[month - 1], 5);
    p = put_digits(p + 5, year, 4);
    *p++ = ' ';
    p = put_digits(p, second / 3600, 2);
    *p++ = ':';
    p = put_digits(p, second / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, second % 60, 2);
    memcpy(p, " GMT", 5);
}

/* ---- request target ---------------------------------------------------------- */

/* A path segment as it is read: its length, and whether it is made of dots alone so far. */
struct segment {
    size_t n;
    bool dots;
};

/* True where the segment that ends here names a place instead of a thing. */
static bool is_dot_segment(const struct segment *s)
{
    return s->dots && (s->n == 1 || s->n == 2);
}

/*
 * Reads the character of a path at *at, decoded, and moves behind it.  False for what
 * two readers may take differently: broken percent-encodings, and those of characters
 * that need none (RFC 3986 6.2.2.2 calls both spellings equal) or may not come at all.
 */
static bool path_character(struct strv path, size_t *at, char *out)
{
    int high, low, value;

    if (path.p[*at] != '%') {
        *out = path.p[(*at)++];
        return *out != '\\';
    }
    if (*at + 2 >= path.n)
        return false;
    high = http1_hex(path.p[*at + 1]);
    low = http1_hex(path.p[*at + 2]);
    if (high < 0 || low < 0)
        return false;
    value = high * 16 + low;
    *at += 3;
    *out = (char)value;
    return value > 0x1f && value != 0x7f && (*out == '~' || !http1_is_unreserved(*out));
}

/* False where a segment is "." or "..", with parameters (";x") or without, or the path is
 * unclear. */
static bool path_valid(struct strv path)
{
    struct segment segment = {.dots = true};
    size_t at = 0;

    /* Of nothing else can there be two readings. */
    if (strv_find(path, '.') == path.n && strv_find(path, '%') == path.n &&
        strv_find(path, '\\') == path.n)
        return true;
    while (at < path.n) {
        char c;

        if (!path_character(path, &at, &c))
            return false;
        if (c == '/' || c == '\\' || c == ';') {
            if (is_dot_segment(&segment))
                return false;
            segment = (struct segment){.dots = c != ';'};
            continue;
        }
        segment.dots = segment.dots && c == '.';
        segment.n++;
    }
    return !is_dot_segment(&segment);
}

enum rc http_split_target(struct strv target, struct http_target *out)
{
    struct http_target t = {.query = STRV_NONE};
    size_t question = strv_find(target, '?');
    struct strv path = strv_head(target, question);
    size_t slash;

    if (path.n == 0 || path.p[0] != '/' || !http1_all_target(target) || !path_valid(path))
        return RC_BAD;
    t.path = path;
    if (question < target.n)
        t.query = strv_skip(target, question + 1);
    slash = strv_find(strv_skip(path, 1), '/');
    t.upstream = strv_head(strv_skip(path, 1), slash);
    t.rest = strv_skip(path, 1 + slash);
    if ((t.upstream.n == 0 && path.n > 1) || strv_find(t.upstream, '%') < t.upstream.n)
        return RC_BAD;
    *out = t;
    return RC_OK;
}
