/*
 * http_msg.h - making HTTP/1.1 messages: what goes upstream, what goes back, own answers.
 *
 * The other half of http1.h.  A head that was parsed there is written anew here,
 * never copied as text: start line and framing are the gateway's own, only
 * end-to-end fields pass, in order and in the letter case they came in.  Nothing
 * here reads sockets, knows keys or decides routes.
 *
 * All builders append to out and change nothing where they fail.
 */
#ifndef PROXY_HTTP_MSG_H
#define PROXY_HTTP_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"
#include "proxy/http1.h"

/* ---- request target ---------------------------------------------------------- */

struct http_target {
    struct strv path;     /* up to the question mark */
    struct strv query;    /* behind it; p is NULL where there is no question mark */
    struct strv upstream; /* first segment: "openai"; empty for the path "/" alone */
    struct strv rest;     /* from the next slash on: "/v1/chat/completions", or empty */
};

/*
 * Takes an origin-form target apart (http1_head.origin).  RC_BAD for whatever a
 * provider may read as another path than the gateway does: an empty first segment,
 * any percent-encoding in the first segment, dot segments ("..", "..;x", also
 * between encoded slashes or backslashes), percent-encoded letters, digits and "-._",
 * encoded or plain control characters, a broken percent-encoding, a backslash, a
 * fragment, blanks, bytes that are not ASCII; and for "*" and absolute forms.
 * Encoded slashes behind the first segment are legal: Bedrock model ARNs hold them.
 * Views point into target.
 */
enum rc http_split_target(struct strv target, struct http_target *out) RC_MUST;

/* ---- messages ---------------------------------------------------------------- */

/* Members of all Connection lines together; RC_BAD beyond. */
enum { HTTP_CONNECTION_PARTS_MAX = 32 };

/* True where the field shall not pass; asked of each, as sent. */
typedef bool http_drop_fn(void *arg, const struct http1_header *field);

struct http_request_rewrite {
    struct strv base_path; /* "" or "/v1": upstream_config.base_path */
    struct strv rest;      /* http_target.rest; "/" is written where both are empty */
    struct strv query;     /* p NULL: none */
    struct strv host;      /* Host of the upstream */
    http_drop_fn *drop;    /* credential and internal fields; NULL: none */
    void *drop_arg;
    const struct http1_header *add; /* fields of the gateway: the provider's credential, ... */
    size_t n_add;                   /* a client's field of the same name is dropped */
    bool identity;                  /* replace the client's Accept-Encoding by "identity" */
    bool close;                     /* ask the upstream to close after its response */
    enum body_framing body;         /* BODY_NONE, BODY_LENGTH or BODY_CHUNKED */
    uint64_t length;                /* BODY_LENGTH */
};

/*
 * The request that goes upstream: HTTP/1.1, Host first, the client's end-to-end
 * fields without those that are hop-by-hop, dropped, added below, or X-Tollgate-*, Host,
 * Content-Length, Transfer-Encoding, Trailer and Expect (also where spelt with
 * underscores, which CGI-like servers read as the same), then rw->add, then framing.
 * RC_LIMIT where out is full; RC_BAD where a view of rw holds what cannot stand in
 * its place (a line break in a credential, a blank in the path), and for a Connection
 * list that is too long.
 */
enum rc http_build_request(const struct http1_head *client,
                           const struct http_request_rewrite *rw, struct buf *out) RC_MUST;

struct http_response_rewrite {
    enum body_framing body; /* as the client gets it; any of them */
    uint64_t length;        /* BODY_LENGTH */
    bool to_head;           /* answers a HEAD: the provider's Content-Length stays as sent */
    int client_minor;       /* version of the request that is answered: HTTP/1.minor */
    bool keep_alive;        /* false writes "connection: close" */
    http_drop_fn *drop;     /* NULL: none */
    void *drop_arg;
    struct strv add; /* whole lines, each ended by CRLF: "X-Tollgate-Request-Id: ...\r\n" */
};

/*
 * The head that goes back to the client: the provider's status and reason, its
 * end-to-end fields as they are, without hop-by-hop, dropped and X-Tollgate-*
 * fields; then framing, rw->add, and Connection where it must be said (close; or
 * keep-alive to a HTTP/1.0 client).  A HTTP/1.0 client cannot read BODY_CHUNKED and
 * BODY_CLOSE ends the connection: RC_STATE where rw contradicts that.  1xx heads
 * take BODY_NONE and carry no Connection.  RC_LIMIT where out is full.
 */
enum rc http_build_response(const struct http1_head *upstream,
                            const struct http_response_rewrite *rw, struct buf *out) RC_MUST;

/*
 * An answer of the gateway's own, with Date and Content-Length.  content_type may be
 * empty where there is no body; lines is a block of whole lines as rw->add above.
 * head_only: Content-Length says what a GET would get, the body is left out.
 * Keep-alive to a HTTP/1.0 client: give false, or add "connection: keep-alive".
 * RC_LIMIT where out is full.
 */
enum rc http_build_simple(int status, struct strv content_type, struct strv lines,
                          struct strv body, bool keep_alive, bool head_only,
                          struct buf *out) RC_MUST;

/* Standard reason phrase (RFC 9110 section 15), "" for unknown ones. */
const char *http_reason(int status);
/* False for 1xx, 204 and 304, whose messages end with the head (RFC 9112 6.3). */
bool http_status_has_body(int status);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) of a wall clock time, years 0..9999. */
enum { HTTP_DATE_BYTES = 30 };
void http_date(int64_t us, char out[HTTP_DATE_BYTES]);

#endif
