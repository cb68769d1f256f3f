/*
 * http1.c - request and status heads.
 *
 * A head that is there as a whole is read in one pass.  One that is not is checked
 * line by line as its lines become complete (http1_head.looked, .lines), and read
 * when its last line has come: each byte is looked at twice at most, however small
 * the pieces.  A fault is reported when its line is complete, or the maximum reached;
 * so the same bytes are refused for the same reason however they were cut.  Framing is
 * http1_frame.c, the chunked coding http1_chunked.c.
 */
#include "proxy/http1.h"

#include <arpa/inet.h>

#include "base/check.h"
#include "proxy/http1_chars.h"
#include "proxy/http1_lines.h"

/* What is to be read, and by which bounds. */
struct task {
    struct strv bytes; /* within the maximum */
    bool is_request;
    bool is_full; /* the maximum is reached */
    size_t max_headers;
};

struct scan {
    const char *p;   /* next byte */
    const char *end; /* of what has arrived, or of what is allowed */
    enum http1_fault fault;
};

const char *http1_fault_text(enum http1_fault fault)
{
    static const char *const text[] = {
#define HTTP1_FAULT_TEXT(id, text) [(id)] = (text),
        HTTP1_FAULTS(HTTP1_FAULT_TEXT)
#undef HTTP1_FAULT_TEXT
    };

    return (size_t)fault < sizeof(text) / sizeof(text[0]) ? text[fault] : "unknown fault";
}

COLD static enum parse_status bad(struct scan *s, enum http1_fault fault)
{
    s->fault = fault;
    return PARSE_BAD;
}

/*
 * The byte at s->p may not stand there, or there is none yet.  A CR may turn out
 * to be half a line end: both halves decide.
 */
COLD static enum parse_status unexpected(struct scan *s, enum http1_fault fault)
{
    if (s->p == s->end)
        return PARSE_MORE;
    if (*s->p == '\n')
        return bad(s, HTTP1_BAD_NEWLINE);
    if (*s->p == '\r') {
        if (s->p + 1 == s->end)
            return PARSE_MORE;
        if (s->p[1] != '\n')
            return bad(s, HTTP1_BAD_NEWLINE);
    }
    return bad(s, fault);
}

/* CRLF, or the fault that what stands there instead is. */
static inline enum parse_status line_end(struct scan *s, enum http1_fault fault)
{
    if (s->end - s->p >= 2 && s->p[0] == '\r' && s->p[1] == '\n') {
        s->p += 2;
        return PARSE_DONE;
    }
    return unexpected(s, fault);
}

static inline enum parse_status literal(struct scan *s, struct strv text,
                                        enum http1_fault fault)
{
    if ((size_t)(s->end - s->p) >= text.n && memcmp(s->p, text.p, text.n) == 0) {
        s->p += text.n;
        return PARSE_DONE;
    }
    for (size_t i = 0; i < text.n; i++, s->p++) {
        if (s->p == s->end || *s->p != text.p[i])
            return unexpected(s, fault);
    }
    return PARSE_DONE;
}

/* "HTTP/1.0" or "HTTP/1.1".  Other minor versions do not exist, whoever sends one errs or
 * probes. */
static enum parse_status version(struct scan *s, int *minor)
{
    enum parse_status status = literal(s, STRV("HTTP/1."), HTTP1_BAD_VERSION);

    if (status != PARSE_DONE)
        return status;
    if (s->p == s->end || (*s->p != '0' && *s->p != '1'))
        return unexpected(s, HTTP1_BAD_VERSION);
    *minor = *s->p++ - '0';
    return PARSE_DONE;
}

static enum parse_status request_line(struct scan *s, struct http1_head *out)
{
    const char *from = s->p;
    enum parse_status status;

    s->p = http1_skip_token(s->p, s->end);
    if (s->p == s->end || *s->p != ' ' || s->p == from)
        return unexpected(s, HTTP1_BAD_METHOD);
    out->method = strv_make(from, (size_t)(s->p - from));

    from = ++s->p;
    s->p = http1_skip_target(s->p, s->end);
    if (s->p == s->end || *s->p != ' ')
        return unexpected(s,
                          s->p < s->end && *s->p == '\r' ? HTTP1_BAD_LINE : HTTP1_BAD_TARGET);
    if (s->p == from)
        return bad(s, HTTP1_BAD_TARGET);
    out->target = strv_make(from, (size_t)(s->p - from));

    s->p++;
    status = version(s, &out->minor);
    return status == PARSE_DONE ? line_end(s, HTTP1_BAD_LINE) : status;
}

static enum parse_status status_line(struct scan *s, struct http1_head *out)
{
    const char *from;
    enum parse_status status = version(s, &out->minor);

    if (status == PARSE_DONE)
        status = literal(s, STRV(" "), HTTP1_BAD_LINE);
    if (status != PARSE_DONE)
        return status;
    out->status = 0;
    for (int i = 0; i < 3; i++, s->p++) {
        if (s->p == s->end || *s->p < (i == 0 ? '1' : '0') || *s->p > '9')
            return unexpected(s, HTTP1_BAD_STATUS);
        out->status = out->status * 10 + (*s->p - '0');
    }
    if (s->p == s->end)
        return PARSE_MORE;
    /* Servers without a reason phrase leave out the blank too; nothing is ambiguous in that. */
    if (*s->p == ' ')
        s->p++;
    else if (*s->p != '\r')
        return unexpected(s, HTTP1_BAD_STATUS);
    from = s->p;
    s->p = http1_skip_value(s->p, s->end);
    out->reason = strv_make(from, (size_t)(s->p - from));
    return line_end(s, HTTP1_BAD_LINE);
}

/* One field line; *last where it was the empty line that ends the head. */
static enum parse_status field_line(struct scan *s, struct http1_header *out, bool *last)
{
    const char *from = s->p;

    if (s->p == s->end)
        return PARSE_MORE;
    *last = *s->p == '\r';
    if (*last)
        return line_end(s, HTTP1_BAD_NEWLINE);
    if (*s->p == ' ' || *s->p == '\t')
        return bad(s, HTTP1_FOLDED);
    s->p = http1_skip_token(s->p, s->end);
    if (s->p == s->end || *s->p != ':' || s->p == from)
        return unexpected(s, HTTP1_BAD_NAME);
    out->name = strv_make(from, (size_t)(s->p - from));
    from = ++s->p;
    s->p = http1_skip_value(s->p, s->end);
    out->value = strv_trim(strv_make(from, (size_t)(s->p - from)));
    out->traits = 0;
    return line_end(s, HTTP1_BAD_VALUE);
}

/* The field line after n others, if it may still come. */
static enum parse_status next_field(struct scan *s, size_t n, size_t max_headers,
                                    struct http1_header *out, bool *last)
{
    if (n >= max_headers && s->p < s->end && *s->p != '\r')
        return unexpected(s, HTTP1_TOO_MANY_HEADERS);
    return field_line(s, out, last);
}

/*
 * The same, into its place among out->headers, by the bytes of an earlier one where it is the
 * same; its bit is added to *names.  The line after the last field has no place, and writes none.
 */
static inline enum parse_status take_field(struct scan *s, size_t n, const struct task *t,
                                           const struct http1_head *out, uint64_t *names,
                                           bool *last)
{
    size_t index = http1_line_index(t->is_request, n);
    struct http1_header *h = &out->headers[n];
    const struct http1_line *line =
        out->known != NULL && n < t->max_headers
            ? http1_line_find(out->known, s->p, (size_t)(s->end - s->p), index)
            : NULL;
    const char *from = s->p;
    enum parse_status status;

    if (line != NULL) {
        h->name = strv_make(from, line->name_n);
        h->value = strv_make(from + line->value_at, line->value_n);
        h->traits = line->traits;
        *names |= line->name_bit;
        s->p += line->n;
        return PARSE_DONE;
    }
    status = next_field(s, n, t->max_headers, h, last);
    if (status != PARSE_DONE || *last)
        return status;
    *names |= out->known != NULL ? http1_line_keep(out->known, from, (size_t)(s->p - from), index, h)
                                 : http1_name_bit(h->name);
    return PARSE_DONE;
}

static enum parse_status start_line(struct scan *s, bool is_request, struct http1_head *out)
{
    return is_request ? request_line(s, out) : status_line(s, out);
}

/* RFC 9112 2.2: one empty line before the request line is passed over. */
static bool is_empty_line(const char *p, const char *end)
{
    return end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

/* "[v6 address]", nothing else in brackets. */
static bool is_ipv6(struct strv host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (host.n < 2 || host.n - 2 >= sizeof(text))
        return false;
    memcpy(text, host.p + 1, host.n - 2);
    text[host.n - 2] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* host[:port] of RFC 9110 7.2; without sub-delims and percent-encoding, which no host name has.
 */
static bool is_authority(struct strv s)
{
    size_t n = 0;
    uint64_t port;

    if (s.n > 0 && s.p[0] == '[') {
        n = strv_find(s, ']');
        if (n == s.n || !is_ipv6(strv_head(s, n + 1)))
            return false;
        n++;
    } else {
        if (s.n == 0)
            return false;
        n = (size_t)(http1_skip_unreserved(s.p, s.p + s.n) - s.p);
        if (n == 0)
            return false;
    }
    if (n == s.n || (s.p[n] == ':' && n + 1 == s.n))
        return true; /* RFC 3986 3.2.3: the port may be empty */
    return s.p[n] == ':' && strv_parse_u64(strv_skip(s, n + 1), UINT16_MAX, &port);
}

/* The forms of RFC 9112 3.2; gives origin, and authority of the absolute form. */
static enum http1_fault check_target(struct http1_head *head)
{
    struct strv rest;
    size_t n;

    /* A tunnel; and an echo, which would show the provider's credential to the client. */
    if (strv_eq(head->method, STRV("CONNECT")) || strv_eq(head->method, STRV("TRACE")))
        return HTTP1_BAD_METHOD;
    head->authority = STRV_NONE;
    head->origin = head->target;
    if (head->target.p[0] == '/')
        return HTTP1_OK;
    if (strv_eq(head->target, STRV("*")))
        return strv_eq(head->method, STRV("OPTIONS")) ? HTTP1_OK : HTTP1_BAD_TARGET;
    if (strv_starts_nocase(head->target, STRV("https://")))
        rest = strv_skip(head->target, STRV("https://").n);
    else if (strv_starts_nocase(head->target, STRV("http://")))
        rest = strv_skip(head->target, STRV("http://").n);
    else
        return HTTP1_BAD_TARGET;
    n = strv_find(rest, '/');
    head->authority = strv_head(rest, n);
    head->origin = strv_skip(rest, n);
    if (head->origin.n == 0) /* RFC 9112 3.2.4: the server as a whole */
        head->origin = strv_eq(head->method, STRV("OPTIONS")) ? STRV("*") : STRV("/");
    return is_authority(head->authority) ? HTTP1_OK : HTTP1_BAD_TARGET;
}

/* Without a port that says no more than the scheme does. */
static struct strv without_port(struct strv authority)
{
    static const struct strv ports[] = {{":443", 4}, {":80", 3}, {":", 1}};

    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        if (strv_ends(authority, ports[i]))
            return strv_head(authority, authority.n - ports[i].n);
    }
    return authority;
}

/*
 * RFC 9112 3.2: one Host, and a valid one.  3.2.2 lets the absolute form overrule it; one
 * that names another host is read in two ways along the path, and nobody means that.
 */
static enum http1_fault check_host(struct http1_head *head)
{
    const struct http1_header *host = NULL;

    for (size_t i = 0; i < head->n_headers; i++) {
        if (!strv_eq_nocase(head->headers[i].name, STRV("host")))
            continue;
        if (host != NULL)
            return HTTP1_BAD_HOST;
        host = &head->headers[i];
    }
    if (host == NULL)
        return head->minor == 0 ? HTTP1_OK : HTTP1_BAD_HOST;
    if (!is_authority(host->value))
        return HTTP1_BAD_HOST;
    if (head->authority.n == 0)
        head->authority = host->value;
    else if (!strv_eq_nocase(without_port(head->authority), without_port(host->value)))
        return HTTP1_OTHER_HOST;
    return HTTP1_OK;
}

static enum parse_status bad_head(struct http1_head *out, enum http1_fault fault)
{
    out->n_headers = 0;
    out->fault = fault;
    return PARSE_BAD;
}

/* The whole head from its first byte. */
static enum parse_status parse_all(const struct task *t, struct http1_head *out)
{
    struct scan s = {.p = t->bytes.p, .end = t->bytes.p + t->bytes.n};
    enum parse_status status;
    bool last = false;
    uint64_t names = 0;
    size_t n = 0;

    if (t->is_request && is_empty_line(s.p, s.end))
        s.p += 2;
    status = start_line(&s, t->is_request, out);
    while (status == PARSE_DONE) {
        status = take_field(&s, n, t, out, &names, &last);
        if (status != PARSE_DONE || last)
            break;
        n++;
    }
    if (status == PARSE_MORE)
        return PARSE_MORE;
    if (status == PARSE_BAD)
        return bad_head(out, s.fault);
    out->n_headers = n;
    out->names = names;
    if (t->is_request) {
        enum http1_fault fault = check_target(out);

        if (fault == HTTP1_OK)
            fault = check_host(out);
        if (fault != HTTP1_OK)
            return bad_head(out, fault);
    }
    out->bytes = (size_t)(s.p - t->bytes.p);
    return PARSE_DONE;
}

/* The complete line that ends at out->looked; *last where it ends the head. */
static enum parse_status check_line(const struct task *t, struct http1_head *out, bool *last)
{
    struct scan s = {.end = t->bytes.p + out->looked};
    const char *before = memrchr(t->bytes.p, '\n', out->looked - 1);
    struct http1_header field;
    enum parse_status status;

    s.p = before != NULL ? before + 1 : t->bytes.p;
    if (t->is_request && s.p == t->bytes.p && is_empty_line(s.p, s.end))
        return PARSE_DONE;
    if (out->lines == 0)
        status = start_line(&s, t->is_request, out);
    else
        status = next_field(&s, out->lines - 1, t->max_headers, &field, last);
    out->lines++;
    return status == PARSE_BAD ? bad_head(out, s.fault) : PARSE_DONE;
}

/* Checks the lines that have become complete, and reads the head when its last one has. */
static enum parse_status parse_lines(const struct task *t, struct http1_head *out)
{
    while (out->looked < t->bytes.n) {
        struct strv rest = strv_skip(t->bytes, out->looked);
        size_t at = strv_find(rest, '\n');
        bool last = false;

        out->looked += at < rest.n ? at + 1 : at;
        if (at == rest.n)
            break;
        if (check_line(t, out, &last) == PARSE_BAD)
            return PARSE_BAD;
        if (last)
            return parse_all(t, out);
    }
    if (!t->is_full)
        return PARSE_MORE;
    return parse_all(t, out) == PARSE_BAD ? PARSE_BAD : bad_head(out, HTTP1_TOO_LARGE);
}

/* What cannot begin any head is told by its first byte: a TLS handshake never sends a line. */
static bool is_alien(const struct task *t)
{
    char c = t->bytes.p[0];

    return c != '\r' && c != '\n' && (t->is_request ? !http1_is_token(c) : c != 'H');
}

static enum parse_status parse_some(struct strv bytes, size_t max_bytes, size_t max_headers,
                                    bool is_request, struct http1_head *out)
{
    struct task t = {.bytes = strv_head(bytes, max_bytes),
                     .is_request = is_request,
                     .is_full = bytes.n >= max_bytes,
                     .max_headers =
                         max_headers < HTTP1_LINES_MAX ? max_headers : HTTP1_LINES_MAX};

    out->fault = HTTP1_OK;
    out->n_headers = 0;
    if (t.bytes.n == 0)
        return t.is_full ? bad_head(out, HTTP1_TOO_LARGE) : PARSE_MORE;
    if (out->looked == 0) {
        out->lines = 0;
        if (is_alien(&t))
            return bad_head(out, is_request ? HTTP1_BAD_METHOD : HTTP1_BAD_VERSION);
        if (parse_all(&t, out) == PARSE_DONE) {
            out->looked = out->bytes;
            return PARSE_DONE;
        }
        out->fault = HTTP1_OK;
    }
    return parse_lines(&t, out);
}

static enum parse_status parse(struct strv bytes, size_t max_bytes, size_t max_headers,
                               bool is_request, struct http1_head *out)
{
    enum parse_status status = parse_some(bytes, max_bytes, max_headers, is_request, out);

    /* The bytes move before more are read: a view that stayed would look where they were. */
    if (status != PARSE_DONE) {
        out->method = out->target = out->origin = out->authority = out->reason = STRV_NONE;
        out->n_headers = 0;
    }
    return status;
}

enum parse_status http1_parse_request(struct strv bytes, size_t max_bytes, size_t max_headers,
                                      struct http1_head *out)
{
    return parse(bytes, max_bytes, max_headers, true, out);
}

enum parse_status http1_parse_response(struct strv bytes, size_t max_bytes, size_t max_headers,
                                       struct http1_head *out)
{
    return parse(bytes, max_bytes, max_headers, false, out);
}
