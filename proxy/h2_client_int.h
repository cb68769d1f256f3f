/*
 * h2_client_int.h - the inside of such a connection, for the files named h2_client*.c alone.
 */
#ifndef PROXY_H2_CLIENT_INT_H
#define PROXY_H2_CLIENT_INT_H

#include <stdbool.h>

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/list.h"
#include "proxy/h2_client.h"
#include "proxy/http1.h"
#include "proxy/idle_frames.h"

/* How far a message has come. */
enum h2_part { H2_PART_HEAD = 0, H2_PART_BODY, H2_PART_DONE };

struct h2_client {
    struct worker *worker;
    struct io *io;    /* the exchange's end */
    struct io socket;
    nghttp2_session *session;
    struct list_node soon; /* of worker->h2_clients: to be looked at in this turn */
    struct buf frames;     /* that the socket has not taken */
    int32_t stream;        /* 0: not begun */
    struct h2_walk walk;     /* through what was read */
    struct idle_frames idle; /* of the upstream */
    bool gone;             /* the socket or the session has ended */
    bool closed;           /* the stream has */

    /* the request, read as HTTP/1.1 */
    enum h2_part asked;
    struct buf head; /* bytes of a head that has not come whole */
    struct http1_framing framing;
    struct http1_chunked chunks;
    uint64_t left;
    struct buf out; /* payload that waits for the upstream's window */
    bool paused;    /* nghttp2 waits for more payload */

    /* the answer, written as HTTP/1.1 */
    enum h2_part answered;
    char status[4]; /* terminated; "" before it came */
    struct buf fields;
    bool has_length, malformed;
    bool chunked;
    struct buf in; /* for the exchange */
    size_t owed;   /* payload in `in`, for which the upstream gets window when it is read */
};

/* ---- h2_client_message.c ---- */
/* Takes *put of the request's bytes; as io_write. */
enum rc h2_client_ask(struct h2_client *c, const char *from, size_t size, size_t *put) RC_MUST;
/* A field of the answer's head; false where that is none, or too much. */
bool h2_client_field(struct h2_client *c, struct strv name, struct strv value);
/* The head is complete; ended: no body follows. False: it is none. */
bool h2_client_head(struct h2_client *c, bool ended);
bool h2_client_data(struct h2_client *c, struct strv data);
/* END_STREAM. */
bool h2_client_end(struct h2_client *c);

/* ---- h2_client.c ---- */
/* Frames may wait, or the exchange may have something to do. */
void h2_client_soon(struct h2_client *c);

#endif
