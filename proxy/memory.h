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
#include <stdbool.h>
#include <stdint.h>

#include "base/held.h"

enum {
    MEMORY_STEP_BYTES = 256 << 10,
    /* When a worker gives back the holes that a crowd has left: memory_due. */
    MEMORY_CROWD_BYTES = 4 << 20, /* less held than before by so much */
    MEMORY_CALM_TICKS = 3,        /* seconds, for so long */
    MEMORY_CALM_SHARE = 2,        /* part of the time that the worker may be at work meanwhile */
    MEMORY_TRIM_PAUSE_US = 10000000, /* from one to the next, of any worker */
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
    _Atomic int64_t trimmed_us; /* when holes were last given back; 0: never */
    atomic_bool asked;          /* to give them back whatever was held: see memory_ask */
};

/* A worker's part; for its thread alone. */
struct memory_share {
    struct memory *of;
    int64_t told;   /* what the process has of it */
    int64_t lately; /* the most of it since the last tick */
    int64_t most;   /* the most of it since holes were given back */
    int64_t ticked_us, used_us; /* at the last tick: the time, the thread's CPU */
    unsigned calm;              /* ticks */
};

/* At the end of a turn. */
static inline void memory_tell(struct memory_share *s)
{
    int64_t more = held_now() - s->told;

    if (more > MEMORY_STEP_BYTES || more < -MEMORY_STEP_BYTES) {
        s->told += more;
        s->lately = s->told > s->lately ? s->told : s->lately;
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
 * What malloc has given out, and what it keeps free, in bytes.  Looks at every free block of every
 * arena under its lock, for up to milliseconds (4 with 14,000 holes): for the admin's thread, not a worker's.
 */
void memory_heap(uint64_t *used, uint64_t *kept);
/* How malloc deals with large blocks; once, before there are threads. */
void memory_setup(void);
/* Gives the pages of free blocks back.  Locks one arena of malloc after the other, for about
 * 0.2 ms a MiB that it gives back and 0.1 ms for 1,000 free blocks that it looks at. */
void memory_trim(void);
/*
 * A worker's tick: true where what it has given back is worth memory_trim.  Then the most that it
 * held since the last time is MEMORY_CROWD_BYTES more than at any moment of MEMORY_CALM_TICKS
 * ticks (or memory_ask was called), during none of which it was at work for more than a part of
 * the time; and MEMORY_TRIM_PAUSE_US have passed since any worker had this answer.  Holes that a
 * crowd left are kept while there is another, which takes them anew.  now_us: clock_mono_us;
 * used_us: the thread's CPU time.
 */
bool memory_due(struct memory_share *s, int64_t now_us, int64_t used_us);
/* Something large that is nobody's has gone, a configuration: the next calm worker gives it back. */
static inline void memory_ask(struct memory *m)
{
    atomic_store(&m->asked, true);
}

/* memory_due with the thread's clocks, and memory_trim where it is due. */
void memory_tick(struct memory_share *s);

#endif
