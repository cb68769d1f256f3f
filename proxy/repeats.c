#include "proxy/repeats.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/xalloc.h"

/* A slot: the upper bits of a fingerprint, and when it was noted, in ticks that come round. */
enum { TICK_BITS = 20, TICK_S = 8 };
#define TICK_MASK ((UINT64_C(1) << TICK_BITS) - 1)

struct repeats {
    _Atomic uint64_t slot[REPEATS_SLOTS];
};

struct repeats *repeats_new(void)
{
    return xcalloc(1, sizeof(struct repeats));
}

void repeats_free(struct repeats *r)
{
    free(r);
}

bool repeats_seen(struct repeats *r, uint64_t fingerprint, int64_t now_s, int64_t within_s)
{
    uint64_t tick = (uint64_t)(now_s / TICK_S) & TICK_MASK;
    uint64_t mark = fingerprint & ~TICK_MASK, old;
    _Atomic uint64_t *slot = &r->slot[fingerprint >> TICK_BITS & (REPEATS_SLOTS - 1)];

    old = atomic_exchange_explicit(slot, mark | tick, memory_order_relaxed);
    return (old & ~TICK_MASK) == mark && mark != 0 &&
           ((tick - (old & TICK_MASK)) & TICK_MASK) * TICK_S <= (uint64_t)within_s;
}
