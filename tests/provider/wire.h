/*
 * wire.h - a reply as the bytes that go out, cut into timed steps, mischief included.
 *
 * Does no I/O: conn.h plays the steps.
 */
#ifndef PROVIDER_WIRE_H
#define PROVIDER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "tests/provider/reply.h"
#include "tests/provider/request.h"

/* Where "X-Sim-Stamp" wants the time of writing: nanoseconds of CLOCK_MONOTONIC. */
#define WIRE_STAMP "@ns=0000000000000000000"

/* How an answer ends. */
enum wire_end {
    WIRE_KEEP = 0, /* the connection waits for another request */
    WIRE_CLOSE,    /* TLS close_notify, FIN */
    WIRE_CUT,      /* FIN without close_notify: a truncated stream */
    WIRE_RESET,    /* RST */
    WIRE_STALL,    /* nothing more, ever */
};

/* Written at once, after the ones before it were taken by the network. */
struct wire_step {
    size_t end; /* in bytes */
    uint32_t delay_ms;
    uint32_t output; /* tokens billed once it was written */
};

struct wire {
    struct buf bytes;
    struct wire_step *steps;
    size_t n_steps;
    size_t cap_steps;
    enum wire_end end;
    bool whole;   /* nothing was cut off */
    bool stamped; /* steps hold places for the time of their writing */
};

void wire_init(struct wire *w);
void wire_clear(struct wire *w);
void wire_free(struct wire *w);

/* Everything appended to bytes since the last step becomes one. */
void wire_step(struct wire *w, uint32_t delay_ms, uint32_t output);

/* Where stamps were asked for: writes the time into those from that byte to that one. */
void wire_stamp(struct wire *w, size_t from, size_t to);

/*
 * Makes the wire for a reply to a request.  close: the connection ends after it (the
 * client asked, or the request was not read whole).
 */
void wire_make(struct wire *w, const struct request *r, struct reply *reply, bool close);

#endif
