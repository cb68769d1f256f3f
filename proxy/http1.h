/*
 * http1.h - HTTP/1.1 message syntax (RFC 9112): strict, incremental, without allocation.
 *
 * A gateway must read framing exactly as its neighbours do, so what is ambiguous is
 * refused: bare CR or LF, obsolete folding, white space before a colon or around a
 * field name, control characters, both Content-Length and Transfer-Encoding, differing
 * or malformed lengths, unknown or misplaced codings, HTTP/1.0 with chunked.
 *
 * The head parser is asked again with more bytes of the same buffer (PARSE_MORE
 * publishes nothing but how far it has looked); views point into that buffer and
 * are published with PARSE_DONE only.
 */
#ifndef PROXY_HTTP1_H
#define PROXY_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum parse_status { PARSE_DONE = 0, PARSE_MORE, PARSE_BAD };

enum {
    HTTP1_HEADERS_MAX = 128, /* of a peer's head */
    HTTP1_LINES_MAX = HTTP1_HEADERS_MAX + 16, /* of one that was written here: a peer's, and our own */
};

/* Why a message was refused, for the log and the counter. */
#define HTTP1_FAULTS(X)                                                                        \
    X(HTTP1_OK, "ok")                                                                          \
    X(HTTP1_BAD_LINE, "malformed start line")                                                  \
    X(HTTP1_BAD_METHOD, "malformed method")                                                    \
    X(HTTP1_BAD_TARGET, "malformed target")                                                    \
    X(HTTP1_BAD_VERSION, "unsupported version")                                                \
    X(HTTP1_BAD_STATUS, "malformed status")                                                    \
    X(HTTP1_BAD_NAME, "malformed field name")                                                  \
    X(HTTP1_BAD_VALUE, "malformed field value")                                                \
    X(HTTP1_BAD_NEWLINE, "bare CR or LF")                                                      \
    X(HTTP1_FOLDED, "obsolete line folding")                                                   \
    X(HTTP1_TOO_MANY_HEADERS, "too many header lines")                                         \
    X(HTTP1_TOO_LARGE, "head too large")                                                       \
    X(HTTP1_BAD_HOST, "missing, repeated or malformed Host")                                   \
    X(HTTP1_OTHER_HOST, "Host is not the target's host")                                       \
    X(HTTP1_BAD_LENGTH, "malformed or differing Content-Length")                               \
    X(HTTP1_BAD_CODING, "unsupported transfer coding")                                         \
    X(HTTP1_BOTH_FRAMINGS, "both Content-Length and Transfer-Encoding")                        \
    X(HTTP1_BAD_CHUNK, "malformed chunk")                                                      \
    X(HTTP1_BAD_TRAILER, "malformed trailer")

enum http1_fault {
#define HTTP1_FAULT_ID(id, text) id,
    HTTP1_FAULTS(HTTP1_FAULT_ID)
#undef HTTP1_FAULT_ID
};
const char *http1_fault_text(enum http1_fault fault);

struct http1_header {
    struct strv name;  /* as sent */
    struct strv value; /* without surrounding white space */
    unsigned traits;   /* what it means (field_traits.h); 0: nobody has looked */
};

struct http1_lines;

struct http1_head {
    /* requests */
    struct strv method;
    struct strv target;    /* as sent; origin form, or "*" with OPTIONS, or absolute form */
    struct strv origin;    /* the same in origin form ("/a?b", or "*"): what is routed */
    struct strv authority; /* of the absolute form, else Host; empty only with HTTP/1.0 */
    /* responses */
    int status;
    struct strv reason;

    int minor;      /* HTTP/1.minor: 0 or 1 */
    uint64_t names; /* which there may be: see http1_may_have; 0: not told */
    struct http1_header *headers; /* the caller's, to be filled */
    struct http1_lines *known;    /* lines read before (http1_lines.h), the caller's; NULL: none */
    size_t n_headers;
    size_t bytes; /* length of the head, empty line included */
    enum http1_fault fault;
    size_t looked; /* between calls: how far has been searched; 0 before the first */
    size_t lines;  /* between calls: how many lines have been checked */
};

/*
 * Parses a request or status head at the start of bytes.  One empty line before a
 * request line is passed over (RFC 9112 2.2).  max_bytes bounds the head: beyond it
 * PARSE_BAD with HTTP1_TOO_LARGE.  max_headers is at most HTTP1_LINES_MAX (more is
 * read as that).  Set out->looked to zero before the first call, and out->headers to room for
 * max_headers, which may be another's between calls; between calls bytes
 * may move and grow but not change.  A peer that sends byte by byte costs linear time,
 * and is refused for the same reason as if it had sent all at once: a fault is told
 * when its line is complete, or by the first byte, or when the maximum is reached.
 * A request's method, target (CONNECT, TRACE and authority form are refused) and Host
 * are checked here: with HTTP/1.1 exactly one, host[:port] of letters, digits and "-._~",
 * or an IPv6 address in brackets, and the host that an absolute form names.  Framing is
 * http1_frame's.
 */
enum parse_status http1_parse_request(struct strv bytes, size_t max_bytes, size_t max_headers,
                                      struct http1_head *out);
enum parse_status http1_parse_response(struct strv bytes, size_t max_bytes, size_t max_headers,
                                       struct http1_head *out);

/* The bit of a name (not empty, any case) in http1_head.names: by its length and first letter. */
static inline uint64_t http1_name_bit(struct strv name)
{
    return UINT64_C(1) << ((name.n * 7 + ((unsigned char)name.p[0] | 0x20)) & 63);
}

/*
 * False where no header has that name.  Most questions are for names that a head has not, and
 * this spares them the look at each line; true says nothing.
 */
static inline bool http1_may_have(const struct http1_head *head, struct strv name)
{
    return head->names == 0 || (head->names & http1_name_bit(name)) != 0;
}

/* First header of that name (any case), or NULL. */
const struct http1_header *http1_find_line(const struct http1_head *head, struct strv name);
static inline const struct http1_header *http1_find(const struct http1_head *head,
                                                    struct strv name)
{
    return http1_may_have(head, name) ? http1_find_line(head, name) : NULL;
}
/* Its value, or the empty view. */
static inline struct strv http1_value(const struct http1_head *head, struct strv name)
{
    const struct http1_header *found = http1_find(head, name);

    return found != NULL ? found->value : STRV_NONE;
}
/*
 * The views of a parsed head, whose bytes were copied from `from` to `to`, follow them; its lines
 * go to `lines`, which has room for them (their own place will do).
 */
void http1_rebase(struct http1_head *head, const char *from, const char *to,
                  struct http1_header *lines);
/* True where a comma-separated list header holds the token (any case), over all its lines. */
bool http1_has_token(const struct http1_head *head, struct strv name, struct strv token);

enum body_framing {
    BODY_NONE = 0,
    BODY_LENGTH,
    BODY_CHUNKED,
    BODY_CLOSE, /* responses: until the connection ends */
};

struct http1_framing {
    enum body_framing body;
    uint64_t length; /* BODY_LENGTH */
    bool keep_alive; /* the connection may carry another message after this one */
};

/*
 * The one function that decides framing (RFC 9112 section 6.3), for both directions.
 * request_method: empty for a request; for a response, of the request that it answers
 * (HEAD and CONNECT change its body).  HTTP1_OK or the fault; *out is written only with
 * HTTP1_OK.  keep_alive of a 1xx head counts for the connection as well: it is false
 * for 101, and where a head that may have no body speaks of one.
 */
enum http1_fault http1_frame(const struct http1_head *head, bool is_request,
                             struct strv request_method, struct http1_framing *out);

/* Hop-by-hop by RFC 9110 7.6.1, or named by the head's own Connection header. */
bool http1_is_hop_by_hop(const struct http1_head *head, struct strv name);

/* ---- chunked coding, RFC 9112 section 7.1 -------------------------------------- */

struct http1_chunked {
    int state;              /* 0 at the start of a body */
    uint64_t left;          /* of the current chunk */
    uint32_t line;          /* bytes of the current size or trailer line */
    uint32_t trailer;       /* bytes of all trailers */
    uint32_t idle;          /* bytes of all size lines that say nothing here: extensions, needless zeros */
    uint32_t names;         /* framing fields that the current trailer's name may still be */
    enum http1_fault fault; /* with PARSE_BAD: HTTP1_BAD_CHUNK or HTTP1_BAD_TRAILER */
};

enum {
    CHUNK_LINE_MAX_BYTES = 4096, /* size line with extensions */
    CHUNK_TRAILER_MAX_BYTES = 16384,
    CHUNK_IDLE_MAX_BYTES = 16384, /* extensions of all chunks, and zeros before their sizes */
    CHUNK_DIGITS = 16,            /* of a size; more are zeros before it */
};

/*
 * Reads from bytes: *used of them were consumed, and *data views the payload
 * found in them, if any (one run a call, also with the call that says PARSE_DONE).
 * PARSE_MORE: call again with the rest (or with more); PARSE_DONE: the body and its
 * trailers have ended, what follows in bytes is the next message's; trailers are
 * checked and dropped, those that would change framing refused.  Extensions are
 * passed over, up to a maximum.  PARSE_BAD never carries data: what came before it was given before.
 * A reader that said PARSE_DONE or PARSE_BAD says it again, and uses nothing.
 */
enum parse_status http1_chunked_read(struct http1_chunked *c, struct strv bytes, size_t *used,
                                     struct strv *data);

/* Writes "1a2b\r\n"; returns its length. Data, then "\r\n", are the caller's. */
enum { CHUNK_HEAD_MAX_BYTES = 20 };
size_t http1_chunk_head(uint64_t n, char out[CHUNK_HEAD_MAX_BYTES]);

#endif
