/*
 * h2.h - a client connection that speaks HTTP/2 (RFC 9113, by nghttp2).
 *
 * Every stream is given to the exchanges as what they know: a connection of its own that
 * carries one HTTP/1.1 request and takes one HTTP/1.1 answer (struct io's inner streams).
 * So there is one reader of requests, whatever the client speaks: what HTTP/1.1 refuses is
 * refused here, and metering and limits cannot tell the difference.
 *
 * Nothing here knows of upstreams, keys or limits.
 */
#ifndef PROXY_H2_H
#define PROXY_H2_H

#include <stdbool.h>

struct conn;
struct h2;
struct worker;

enum {
    H2_STREAM_WINDOW_BYTES = 256 << 10, /* of a request body, on its way */
    H2_CONNECTION_WINDOW_BYTES = 1 << 20,
    H2_STREAM_OUT_BYTES = 32 << 10, /* of an answer that waits for the client's window */
    H2_RESETS_BURST = 200, /* streams that a client may take back, or break, at once, */
    H2_RESETS_A_SECOND = 50, /* and in the long run: beyond it the connection is ended */
    H2_BLOCK_FACTOR = 4, /* times bounds.head_bytes a header block may unpack to */
    H2_SETTINGS_MAX = 32,    /* entries of one SETTINGS frame */
    H2_ACKS_MAX = 1000,      /* answers to PING and SETTINGS that a client does not take */
};

/*
 * c has agreed on "h2" and holds the first bytes; streams is the most that may be open at
 * once (RFC 9113 5.1.2).  The session belongs to c, which must call h2_close.  Bytes in c->in
 * are read at once; where they end the connection c is closed when this returns.
 */
void h2_open(struct conn *c, unsigned streams);
/* c's socket is ready (enum io_ready), or holds bytes that no event tells of. */
void h2_ready(struct conn *c, unsigned ready);
/* c's deadline has passed: idle, or a client that does not read. */
void h2_deadline(struct conn *c);
/*
 * Once a second: takes back streams whose exchange is over and of whose answer the client has taken
 * nothing for bounds.write_timeout_ms.  c stays open.
 */
void h2_tick(struct conn *c);
/* Says GOAWAY and closes c once the last stream has ended; new ones are refused by answers. */
void h2_drain(struct conn *c);
/* True where no stream is open. */
bool h2_is_idle(const struct conn *c);
/* c is being closed: its streams end as if each client had hung up. */
void h2_close(struct conn *c);

/* At the end of a loop turn: streams that have something for their exchanges. */
void h2_tell(struct worker *w);
/* Frames that wait are written, one write a connection. */
void h2_flush(struct worker *w);

#endif
