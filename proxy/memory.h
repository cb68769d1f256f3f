/*
 * memory.h - how much all workers hold for their peers, against its bound.
 *
 * Each worker counts for itself (base/held.h) and tells the process when its count has moved by
 * MEMORY_STEP_BYTES, so that what is read here lags by that much a worker and costs a request
 * one load.  What happens near the bound, in this order (docs/design.md, "Memory"):
 *
 *   TIGHT   idle connections are closed, answers are no longer held whole
 *   SHED    new requests get 503 `overloaded`, new connections and streams wait or are refused
 *   FULL    what is here and wants more is refused: heads, bodies
 *
 * What runs has the room between SHED and FULL for its answers.
 */
#ifndef PROXY_MEMORY_H
#define PROXY_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/held.h"

enum {
    MEMORY_STEP_BYTES = 256 << 10,
    /*
     * What stands behind an object beside its own storage, as measured: OpenSSL's for a
     * connection that rests (10,000 of them), its two buffers, a connection that goes on without
     * OpenSSL (tls_stream.h), and nghttp2's session and stream.
     */
    MEMORY_TLS_BYTES = 15 << 10,
    MEMORY_TLS_BUFFERS_BYTES = 36 << 10,
    MEMORY_TLS_STREAM_BYTES = 3 << 10,
    MEMORY_H2_SESSION_BYTES = 16 << 10,
    MEMORY_H2_STREAM_BYTES = 2 << 10,
};

enum memory_level { MEMORY_FREE = 0, MEMORY_TIGHT, MEMORY_SHED, MEMORY_FULL };

/* The process's; zeroed. */
struct memory {
    _Atomic int64_t told;
};

/* A worker's part; for its thread alone. */
struct memory_share {
    struct memory *of;
    int64_t told; /* what the process has of it */
};

/* At the end of a turn. */
static inline void memory_tell(struct memory_share *s)
{
    int64_t more = held_now() - s->told;

    if (more > MEMORY_STEP_BYTES || more < -MEMORY_STEP_BYTES) {
        s->told += more;
        atomic_fetch_add_explicit(&s->of->told, more, memory_order_relaxed);
    }
}

/* The worker is over: it holds nothing. */
void memory_leave(struct memory_share *s);

/* What is held against bound. */
static inline enum memory_level memory_level(const struct memory_share *s, uint64_t bound)
{
    int64_t told = atomic_load_explicit(&s->of->told, memory_order_relaxed);
    int64_t held = told + held_now() - s->told;
    uint64_t n = held > 0 ? (uint64_t)held : 0;

    if (n < bound - bound / 4)
        return MEMORY_FREE;
    if (n < bound - bound / 8)
        return MEMORY_TIGHT;
    return n < bound ? MEMORY_SHED : MEMORY_FULL;
}

/* For who configures none: half of what the machine, or this process's group of it, has. */
uint64_t memory_preset(void);
/*
 * What malloc has given out, and what it keeps free, in bytes.  Looks at every arena under its
 * lock, for microseconds: for the admin's thread, not a worker's.
 */
void memory_heap(uint64_t *used, uint64_t *kept);
/* How malloc deals with large blocks; once, before there are threads. */
void memory_setup(void);
/* Gives the pages of free blocks back.  Every arena is locked meanwhile, for some µs a hole. */
void memory_trim(void);

#endif
