/*
 * h2_client.h - one request to an upstream over HTTP/2 (RFC 9113, by nghttp2), on a connection
 * of its own.
 *
 * The exchange sees what it knows: a stream that takes one HTTP/1.1 request and gives one
 * HTTP/1.1 answer (struct io's inner streams), both at once where the two sides speak so.
 * h2.h does the same for clients, the other way round.  For endpoints that nobody can speak to
 * otherwise; all others go over HTTP/1.1 and pools.
 *
 * Flow control holds from end to end: what the exchange has not read opens no window, and what
 * the upstream's window does not take is not taken from the exchange beyond H2_CLIENT_OUT_BYTES.
 * The exchange's deadlines are all that there are.
 */
#ifndef PROXY_H2_CLIENT_H
#define PROXY_H2_CLIENT_H

#include "proxy/io.h"

struct worker;

enum {
    H2_CLIENT_WINDOW_BYTES = 256 << 10, /* of an answer, on its way */
    H2_CLIENT_OUT_BYTES = 32 << 10,     /* of a request body that waits for a window */
    H2_CLIENT_HEAD_MAX_BYTES = 64 << 10, /* of an answer: its fields together */
    H2_CLIENT_REQUEST_HEAD_BYTES = 1 << 20, /* ours: what a client's may be, and more */
};

/*
 * io is a connected socket, whose peer has agreed on HTTP/2.  From now on it is the stream;
 * whom it wakes stays.  io_close ends the connection too.
 */
void h2_client_open(struct worker *w, struct io *io);

/* At the end of a loop turn: frames are written, and exchanges told what they may wait for. */
void h2_client_flush(struct worker *w);

#endif
