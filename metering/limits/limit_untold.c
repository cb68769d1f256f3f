/*
 * limit_untold.c - what one worker has not told Redis yet, others do not admit in ignorance of.
 *
 * Redis was away, or lost its counters, and is back.  Each worker then tells what it admitted
 * by itself and what of its requests still runs, but not all at the same moment: their
 * connections come back one after the other.  Whoever is first would find room that is taken.
 * So while another worker of the process has something to tell, reservations wait here, as
 * they would for a slow answer; what tells never waits, so all is told soon.  What
 * other gateways find of it: limit_rescue.c.
 */
#include "base/clock.h"
#include "metering/limits/limit_redis.h"

void untold_begin(struct redis_engine *e)
{
    if (e->n_untold++ == 0)
        atomic_fetch_add(memory_untold(e->memory), 1);
}

void untold_done(struct redis_engine *e)
{
    if (--e->n_untold == 0)
        atomic_fetch_sub(memory_untold(e->memory), 1);
}

bool untold_by_others(const struct redis_engine *e)
{
    return atomic_load(memory_untold(e->memory)) > (e->n_untold > 0 ? 1u : 0u);
}

bool untold_park(struct redis_engine *e, struct limit_op *op)
{
    if (list_is_empty(&e->parked) && !untold_by_others(e))
        return false;
    op->is_parked = true;
    list_push_back(&e->parked, &op->node);
    return true;
}

int64_t untold_run(struct redis_engine *e, int64_t now_us)
{
    if (list_is_empty(&e->parked))
        return INT64_MAX;
    if (untold_by_others(e))
        return now_us + UNTOLD_LOOK_MS * 1000;
    LIST_FOREACH_SAFE (at, &e->parked) {
        struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);

        list_remove(&op->node);
        op->is_parked = false;
        list_push_back(&e->queue, &op->node);
    }
    return INT64_MAX;
}
