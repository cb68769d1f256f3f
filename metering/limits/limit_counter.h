/*
 * limit_counter.h - one counter of the memory engine: spent, reserved, and how they age.
 *
 * Not locked: limit_memory.c owns the locks.  Times are clock_mono_us but for the
 * ends of calendar windows.  A rolling window is cut into LIMIT_BUCKETS parts; what
 * is taken stands in the bucket of its admission, as reserved, then as spent, and
 * leaves with it.  The window counts the whole of its oldest bucket, so in any span
 * of its length there is never more than the limit.
 */
#ifndef METERING_LIMITS_LIMIT_COUNTER_H
#define METERING_LIMITS_LIMIT_COUNTER_H

#include "metering/limits/limit_int.h"

struct bucket {
    uint64_t spent, reserved;
};

struct counter {
    struct counter *next;   /* hash chain */
    struct list_node place; /* in the shard's list, the least recently checked first */
    uint64_t hash;
    struct counter_shape shape;
    uint64_t spent, reserved;
    uint64_t mirror; /* taken in Redis when last seen */
    int64_t mirror_us;
    int64_t mirror_at_us; /* by Redis' clock */
    int64_t head;        /* ROLLING: number of the newest bucket */
    struct bucket *ring; /* ROLLING: the buckets head - buckets .. head, by number */
    unsigned refs;       /* reservations that point here */
    unsigned noted;      /* memory_noted when it was marked last: see limit_look.c */
    int64_t due_us; /* WINDOW: not over before, whatever becomes of the wall clock */
    size_t n;
    char key[];
};

/* wall_us: of the clock that windows go by. */
struct counter *counter_new(struct strv key, uint64_t hash, const struct counter_shape *shape,
                            int64_t now_us, int64_t wall_us);
void counter_free(struct counter *c);
/* What left a rolling window by now_us is no longer counted. */
void counter_roll(struct counter *c, int64_t now_us);
/* started_us: of the admission; what is older than a rolling window is not counted. */
void counter_reserve(struct counter *c, uint64_t amount, int64_t started_us);
void counter_release(struct counter *c, uint64_t amount, int64_t started_us);
void counter_spend(struct counter *c, uint64_t amount, int64_t started_us);
void counter_unspend(struct counter *c, uint64_t amount, int64_t started_us);
void counter_set_spent(struct counter *c, uint64_t spent, int64_t now_us);
/* Until a rolling window has room for amount; 0 where it never has, or has no window. */
int64_t counter_resets_in(const struct counter *c, uint64_t amount, uint64_t limit,
                          int64_t now_us);
/* Taken in Redis as last seen, unless it has left the window since. */
uint64_t counter_mirror(const struct counter *c, int64_t now_us);
/*
 * Holds nothing that will be asked for again. A window's end must have passed by both clocks: one
 * that is set far ahead for a moment must not make what was spent forgotten.
 */
bool counter_is_over(struct counter *c, int64_t mono_us, int64_t wall_us);

#endif
