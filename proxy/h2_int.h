/*
 * h2_int.h - the inside of a HTTP/2 connection, for the files named h2*.c alone.
 */
#ifndef PROXY_H2_INT_H
#define PROXY_H2_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/list.h"
#include "proxy/conn.h"
#include "proxy/h2.h"
#include "proxy/http1.h"
#include "proxy/idle_frames.h"

enum {
    HEAD_MAX_BYTES = 160 << 10, /* of an answer: what the relay takes from a provider, and ours */
    HEAD_BLOCK_MAX_BYTES = 2 * HEAD_MAX_BYTES, /* of the same, packed, as nghttp2 fears it at the worst */
};

struct h2 {
    struct conn *conn; /* the socket's */
    nghttp2_session *session;
    struct list_node streams; /* open ones */
    struct list_node dirty;   /* of worker->h2_dirty: frames may wait */
    struct buf out;           /* frames that the socket has not taken */
    struct h2_walk walk;      /* through what was read */
    struct idle_frames idle;  /* of the client */
    unsigned lost;         /* streams that were taken back, less those that time forgave */
    int64_t lost_since_us; /* until then */
    size_t block_bytes;    /* of the header block that comes, unpacked */
    bool blamed;   /* its frames are in the counter of abuse */
    bool in_head;  /* a header block is on its way: it has a deadline, */
    int64_t head_since_us; /* from then on, however it dribbles */
    bool draining; /* GOAWAY comes with the end of the last stream: some clients take nothing
                      more after it */
    bool reading;  /* nghttp2 is on the stack: it may not be ended now */
};

/* The answer's HTTP/1.1, as far as it has been read. */
enum h2_answer { H2_ANSWER_HEAD = 0, H2_ANSWER_BODY, H2_ANSWER_DONE };

struct h2_stream {
    struct h2 *h2; /* NULL: the connection is gone */
    struct conn *conn; /* the exchange's end; NULL: it has let go */
    struct worker *worker;
    int32_t id;
    struct list_node node; /* of h2->streams */
    struct list_node told; /* of worker->h2_told */
    bool closed;           /* nghttp2 has closed it */

    /* the request, see h2_request.c */
    struct buf fields; /* "name: value" lines while the header block comes */
    char *method, *path, *authority;
    struct buf cookies;
    bool has_length, too_large, malformed;
    bool has_request; /* the header block is complete */
    bool chunked;     /* its body is handed on in chunks: its length was not said */
    bool all_in;      /* END_STREAM */
    bool is_head;     /* HEAD: no answer has a body */
    struct buf in;    /* HTTP/1.1 for the exchange */
    size_t owed;      /* payload in `in`, for which the client gets window when it is read */

    /* the answer, see h2_response.c */
    enum h2_answer answer;
    struct buf head; /* bytes of a head that has not come whole */
    struct http1_framing framing;
    struct http1_chunked chunks;
    uint64_t left;
    struct buf out; /* payload that waits for the client's window */
    bool paused;    /* nghttp2 waits for more payload */
    int64_t rest_us; /* since when the client has taken nothing of it, clock_mono_us; 0: the exchange is not over */
};

/* ---- h2_stream.c: its face towards the exchange ---- */
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id);
/* The request is complete up to its body: begins the exchange. */
void h2_stream_begin(struct h2_stream *s);
/* Something changed that the exchange may wait for; told at the end of the turn. */
void h2_stream_tell(struct h2_stream *s);
/* nghttp2 (or the connection) is done with it. Frees it once the exchange is too. */
void h2_stream_close(struct h2_stream *s);

/* ---- h2_request.c: header fields and data, as HTTP/1.1 ---- */
/* RC_LIMIT: more than a head may have; the exchange will be told a head that is too large.
 * RC_BAD: it says something else than the pseudo fields, or another scheme than HTTP's. */
enum rc h2_request_field(struct h2_stream *s, struct strv name, struct strv value) RC_MUST;
/* The header block ended; ended: no body follows. */
enum rc h2_request_head(struct h2_stream *s, bool ended) RC_MUST;
enum rc h2_request_data(struct h2_stream *s, struct strv data) RC_MUST;
/* END_STREAM. */
enum rc h2_request_end(struct h2_stream *s) RC_MUST;
void h2_request_release(struct h2_stream *s);

/* ---- h2_response.c: an HTTP/1.1 answer, as frames ---- */
/*
 * Takes *put of the exchange's bytes.  RC_OK: all; RC_AGAIN: H2_STREAM_OUT_BYTES wait for
 * the client's window; RC_IO: the stream is closed; RC_BAD: that was no HTTP/1.1.
 */
enum rc h2_response_write(struct h2_stream *s, const char *from, size_t size,
                          size_t *put) RC_MUST;

/* ---- h2.c ---- */
/* Frames may wait: they are written at the end of the turn. */
void h2_is_dirty(struct h2 *h2);
size_t h2_head_bytes_max(const struct h2_stream *s);

#endif
