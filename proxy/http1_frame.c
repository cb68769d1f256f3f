/*
 * http1_frame.c - what a head says about its message: fields, framing, the connection.
 *
 * http1_frame is the only place that decides where a message ends (RFC 9112 6.3).
 */
#include "proxy/http1.h"

const struct http1_header *http1_find_line(const struct http1_head *head, struct strv name)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        if (strv_eq_nocase(head->headers[i].name, name))
            return &head->headers[i];
    }
    return NULL;
}

static void rebase(struct strv *view, const struct http1_head *head, const char *from,
                   const char *to)
{
    if (view->n > 0 && view->p >= from && view->p < from + head->bytes)
        view->p = to + (view->p - from);
}

void http1_rebase(struct http1_head *head, const char *from, const char *to,
                  struct http1_header *lines)
{
    rebase(&head->method, head, from, to);
    rebase(&head->target, head, from, to);
    rebase(&head->origin, head, from, to); /* may be a text of ours */
    rebase(&head->authority, head, from, to);
    rebase(&head->reason, head, from, to);
    for (size_t i = 0; i < head->n_headers; i++) {
        struct http1_header h = head->headers[i];

        h.name.p = to + (h.name.p - from);
        h.value.p = to + (h.value.p - from);
        lines[i] = h;
    }
    head->headers = lines;
}

bool http1_has_token(const struct http1_head *head, struct strv name, struct strv token)
{
    if (!http1_may_have(head, name))
        return false;
    for (size_t i = 0; i < head->n_headers; i++) {
        struct strv rest, part;

        if (!strv_eq_nocase(head->headers[i].name, name))
            continue;
        rest = head->headers[i].value;
        while (strv_split(&rest, ',', &part)) {
            if (strv_eq_nocase(strv_trim(part), token))
                return true;
        }
    }
    return false;
}

/* How many lines of that name there are, and the first one's value. */
static size_t lines_of(const struct http1_head *head, struct strv name, struct strv *value)
{
    size_t n = 0;

    if (!http1_may_have(head, name))
        return 0;
    for (size_t i = 0; i < head->n_headers; i++) {
        if (!strv_eq_nocase(head->headers[i].name, name))
            continue;
        if (n++ == 0)
            *value = head->headers[i].value;
    }
    return n;
}

/* RFC 9112 9.3. */
static bool wants_keep_alive(const struct http1_head *head)
{
    if (http1_has_token(head, STRV("connection"), STRV("close")))
        return false;
    return head->minor >= 1 || http1_has_token(head, STRV("connection"), STRV("keep-alive"));
}

/*
 * True where a response ends with its head, whatever the head says (RFC 9112 6.3, rules
 * 1 and 2).  Takes keep_alive away where what follows may be something else all the same.
 */
static bool ends_with_head(int status, struct strv request_method, bool speaks_of_body,
                           struct http1_framing *framing)
{
    bool interim = status >= 100 && status <= 199;

    if (strv_eq(request_method, STRV("CONNECT")) && status >= 200 && status <= 299) {
        framing->keep_alive = false; /* a tunnel */
        return true;
    }
    if (status == 101)
        framing->keep_alive = false; /* from here on it speaks something else */
    if ((interim || status == 204) && speaks_of_body)
        framing->keep_alive = false; /* RFC 9110 8.6: it may not say so, and may mean it */
    return interim || status == 204 || status == 304 || strv_eq(request_method, STRV("HEAD"));
}

enum http1_fault http1_frame(const struct http1_head *head, bool is_request,
                             struct strv request_method, struct http1_framing *out)
{
    struct strv coding = STRV_NONE, text = STRV_NONE;
    size_t codings = lines_of(head, STRV("transfer-encoding"), &coding);
    size_t lengths = lines_of(head, STRV("content-length"), &text);
    struct http1_framing framing = {.keep_alive = wants_keep_alive(head)};

    if (codings > 0 && lengths > 0)
        return HTTP1_BOTH_FRAMINGS;
    /*
     * RFC 9112 6.3 lets equal lengths pass as one and other codings stand before
     * chunked; nobody sends either but to be read in two ways.
     */
    if (lengths > 1 || (lengths == 1 && !strv_parse_u64(text, INT64_MAX, &framing.length)))
        return HTTP1_BAD_LENGTH;
    if (codings > 1 ||
        (codings == 1 && (head->minor == 0 || !strv_eq_nocase(coding, STRV("chunked")))))
        return HTTP1_BAD_CODING;

    if (!is_request && ends_with_head(head->status, request_method,
                                      codings > 0 || framing.length > 0, &framing)) {
        framing.length = 0;
    } else if (codings > 0) {
        framing.body = BODY_CHUNKED;
    } else if (lengths > 0) {
        framing.body = BODY_LENGTH;
    } else if (!is_request) {
        framing.body = BODY_CLOSE;
        framing.keep_alive = false;
    }
    *out = framing;
    return HTTP1_OK;
}

/*
 * Fields whose loss changes what a message means: a Connection header may not
 * nominate them away, or the gateway would act on what the other side never sees.
 */
static bool is_kept(struct strv name)
{
    return strv_starts_nocase(name, STRV("content-")) || strv_eq_nocase(name, STRV("host")) ||
           strv_eq_nocase(name, STRV("authorization")) ||
           strv_eq_nocase(name, STRV("cache-control"));
}

bool http1_is_hop_by_hop(const struct http1_head *head, struct strv name)
{
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "proxy-authorization",
                                        "proxy-authenticate",
                                        "proxy-authentication-info",
                                        "http2-settings"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strv_eq_nocase(name, strv_z(names[i])))
            return true;
    }
    return http1_has_token(head, STRV("connection"), name) && !is_kept(name);
}
