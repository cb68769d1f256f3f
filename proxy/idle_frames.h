/*
 * idle_frames.h - frames that are allowed one by one, and do nothing (RFC 9113 10.5): pings, empty
 * frames, those of types that nobody knows.  Each costs its reader work and its sender a few bytes.
 *
 * Every frame counts, and what carries a request or a body pays for itself and for some others, so
 * that who works is never at the bound, however small his pieces are.  For HTTP/2 and WebSockets,
 * whoever the peer is.  No I/O, no clock of its own.
 */
#ifndef PROXY_IDLE_FRAMES_H
#define PROXY_IDLE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum {
    IDLE_FRAMES_MAX = 10000,  /* that nothing has paid for, within */
    IDLE_FRAMES_SECONDS = 60, /* this time */
    IDLE_FRAMES_PAID = 4,     /* so many by one that did something, or went the other way */
};

struct idle_frames {
    size_t n;         /* not paid for, since */
    int64_t since_us; /* then (clock_mono_us) */
};

void idle_frames_init(struct idle_frames *f, int64_t now_us);
/* n frames came, of any kind. */
void idle_frames_count(struct idle_frames *f, size_t n);
/* One of them did something. */
void idle_frames_pay(struct idle_frames *f);
/* False: too many, in too short a time.  To be asked after counting; reads no clock of its own. */
bool idle_frames_good(struct idle_frames *f, int64_t now_us);

/* A place in the bytes of one side of an HTTP/2 connection; all 0 at a frame's beginning. */
struct h2_walk {
    size_t skip;   /* bytes to the next frame's head */
    size_t head_n; /* of the head, seen */
    size_t length; /* of its payload, as far as the head tells */
};

/*
 * How many frame heads end in bytes.  nghttp2 tells of frames that it takes, and passes over the others without
 * a word: unknown types, extensions, streams that were closed.
 */
size_t h2_walk(struct h2_walk *w, struct strv bytes);

#endif
