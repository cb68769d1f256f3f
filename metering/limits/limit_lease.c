#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "metering/limits/limit_redis.h"

enum { LARGEST_FADES = 8 }; /* part of the largest request that is forgotten in a tick */

/*
 * What Redis has reserved for a lease is held + free + spent, whatever happens here: a
 * request moves its worst case from free to held, its end moves that from held to spent
 * and free.  Each message tells the sums anew (not what changed), so that a lease which
 * expired or was forgotten is whole again with the next one.
 */
struct lease {
    struct list_node node; /* in engine.leases */
    struct counter_key *key;
    struct uuid id;
    struct limit_op *op; /* queued or on its way; one at a time */
    enum limit_unit unit;
    bool enforce;
    bool is_open;    /* Redis had room at the last answer */
    bool has_record; /* Redis holds something for it */
    bool is_untold;  /* Redis lost what it held for what runs: see limit_untold.c */
    bool is_low;     /* it ran low: asks for more before its time */
    bool is_stale;   /* what Redis has of it is not what it is, though nothing was settled */
    uint64_t limit;
    uint64_t free;    /* to be taken */
    uint64_t held;    /* worst cases of requests that run */
    uint64_t spent;   /* settled, and not told yet */
    uint64_t n_spent; /* settlements in it */
    uint64_t most;    /* that it may hold free, by the last answer */
    uint64_t goal;    /* that it asked for last */
    unsigned running; /* requests that point here */
    unsigned uses;    /* requests since it was told last, those that it had no room for too */
    uint64_t demand;  /* their worst cases */
    uint64_t largest; /* of them */
    unsigned idle;    /* ticks in a row without any */
    int64_t told_us, tick_us;
};

/* Version 4 (RFC 9562 section 5.4): of version 8 are the ids of work that goes on, which a
 * process that comes back leaves alone. */
static void id_make(struct uuid *id)
{
    digest_random(id->b, UUID_BYTES);
    id->b[6] = (unsigned char)((id->b[6] & 0x0f) | 0x40);
    id->b[8] = (unsigned char)((id->b[8] & 0x3f) | 0x80);
}

static struct lease *lease_new(struct redis_engine *e, const struct claim_ref *claim)
{
    struct lease *l = xcalloc(1, sizeof(*l));

    list_init(&l->node);
    l->key = key_ref(e, claim);
    l->key->lease = l;
    id_make(&l->id);
    l->unit = claim->unit;
    l->tick_us = l->told_us = clock_mono_us();
    list_push_back(&e->leases, &l->node);
    e->n_leases++;
    if (e->lease_us == INT64_MAX)
        e->lease_us = l->tick_us + LEASE_TICK_MS * 1000;
    return l;
}

static void lease_free(struct redis_engine *e, struct lease *l)
{
    if (l->op)
        l->op->order.lease = NULL;
    if (l->is_untold)
        untold_done(e);
    l->key->lease = NULL;
    key_unref(e, l->key);
    list_remove(&l->node);
    e->n_leases--;
    free(l);
}

void lease_free_all(struct redis_engine *e)
{
    LIST_FOREACH_SAFE (at, &e->leases)
        lease_free(e, LIST_OBJECT(at, struct lease, node));
}

static void set_record(struct redis_engine *e, struct lease *l, bool has_record)
{
    if (l->has_record != has_record)
        stat_add(&e->leases_held, has_record ? 1 : (uint64_t)-1);
    l->has_record = has_record;
}

/* ---- telling ----------------------------------------------------------------------- */

static uint64_t least_of(const struct lease *l)
{
    return l->largest < LIMIT_VALUE_MAX / LEASE_LEAST_USES ? l->largest * LEASE_LEAST_USES
                                                           : LIMIT_VALUE_MAX;
}

/* What it should hold free: as much as the pace of late takes in LEASE_SPAN_MS. */
static uint64_t goal_of(const struct redis_engine *e, const struct lease *l, int64_t now_us)
{
    uint64_t ms = (uint64_t)((now_us - l->tick_us) / 1000), pace, goal;

    if (e->is_draining || l->idle >= LEASE_IDLE_TICKS || !e->with_leases || untold_by_others(e))
        return 0;
    if (l->uses == 0)
        return l->free < l->goal ? l->free : l->goal;
    if (ms < LEASE_EARLY_MS)
        ms = LEASE_EARLY_MS;
    pace = l->demand < LIMIT_VALUE_MAX / LEASE_SPAN_MS ? l->demand * LEASE_SPAN_MS / ms
                                                       : LIMIT_VALUE_MAX;
    goal = pace > l->goal / 2 ? pace : l->goal / 2;
    return goal > least_of(l) ? goal : least_of(l);
}

static struct claim_ref claim_of(const struct lease *l)
{
    return (struct claim_ref){
        .key = strv_make(l->key->text, l->key->n),
        .shape = l->key->shape,
        .unit = l->unit,
        .enforce = l->enforce,
        .limit = l->limit,
    };
}

static void tell(struct redis_engine *e, struct lease *l, uint64_t goal, int64_t now_us)
{
    uint64_t most = !l->enforce ? goal : l->is_open ? l->most : 0;
    struct claim_ref claim = claim_of(l);
    struct limit_op *op;

    if (l->free > goal)
        l->free = goal;
    if (l->free > most)
        l->free = most;
    claim.amount = value_add(l->held, l->free);
    op = op_new(e, OP_LEASE, &l->id, &claim, 1);
    op->settled_us = clock_steady_us();
    op->order = (struct lease_order){
        .lease = l,
        .want = goal,
        .keep = l->free,
        .least = least_of(l),
        .spent = l->spent,
        .n_spent = l->n_spent,
    };
    l->op = op;
    l->goal = goal;
    l->spent = l->n_spent = 0;
    l->told_us = now_us;
    l->is_stale = false;
    set_record(e, l, true);
    list_push_back(&e->queue, &op->node);
}

/* ---- taking --------------------------------------------------------------------- */

/* Sooner than at the next tick. */
static void want_early(struct redis_engine *e, struct lease *l)
{
    int64_t early_us = l->told_us + LEASE_EARLY_MS * 1000;

    if (l->is_low || l->op)
        return;
    l->is_low = true;
    if (early_us < e->lease_us)
        e->lease_us = early_us;
}

/*
 * What is too little for a request must not stand in its way: it goes back in the call that
 * the request is asked in, before it.  So does the first question of a lease that is worth its
 * calls: until a tick all would ask Redis.
 */
static void change(struct redis_engine *e, struct lease *l)
{
    bool is_due = l->goal == 0 && l->uses >= LEASE_START_USES;
    int64_t now_us;
    uint64_t goal;

    if (l->free == 0 && !is_due)
        return;
    now_us = clock_mono_us();
    goal = goal_of(e, l, now_us);
    if (l->free == 0 && goal == 0)
        return;
    l->free = 0;
    tell(e, l, goal, now_us);
}

static void note(struct lease *l, const struct limit_def *def, uint64_t amount, int64_t at_us)
{
    l->uses++;
    l->demand = value_add(l->demand, amount);
    if (amount > l->largest)
        l->largest = amount;
    l->limit = limit_at(def, at_us);
    l->enforce = def->mode == LIMIT_ENFORCE;
}

/* The request has to ask Redis: many such are worth a lease. */
static void note_miss(struct redis_engine *e, struct admission *a)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];

    limit_claims(a, claims);
    for (size_t i = 0; i < a->n_claims; i++) {
        struct lease *l = a->claims[i].lease;

        a->claims[i].lease = NULL;
        if (!l) {
            if (e->n_leases >= LEASES_MAX)
                continue;
            l = lease_new(e, &claims[i]);
        }
        note(l, limit_set_at(a->set, a->claims[i].limit), claims[i].amount, a->at_us);
        if (l->op || (l->is_open && l->free >= claims[i].amount))
            continue;
        change(e, l);
        if (l->is_open)
            want_early(e, l);
    }
}

static void take(struct redis_engine *e, struct lease *l, const struct limit_def *def,
                 uint64_t amount, int64_t at_us)
{
    l->free -= amount;
    l->held += amount;
    l->running++;
    note(l, def, amount, at_us);
    if (l->free < l->goal / 4)
        want_early(e, l);
}

/* What was given under a higher limit, or by one that only warned, is not to be taken. */
static bool is_overtaken(const struct lease *l, const struct limit_def *def, int64_t at_us)
{
    return def->mode == LIMIT_ENFORCE && (!l->enforce || limit_at(def, at_us) < l->limit);
}

bool lease_take(struct redis_engine *e, struct admission *a)
{
    bool has_all = true;

    if (!e->with_leases || e->is_draining || !redis_engine_can_wait(e))
        return false;
    for (size_t i = 0; i < a->n_claims; i++) {
        if (limit_set_shape(a->set, a->claims[i].limit)->kind != COUNTER_WINDOW)
            return false;
    }
    for (size_t i = 0; i < a->n_claims; i++) {
        struct limit_claim *claim = &a->claims[i];
        const struct counter_key *key = key_find(e, claim->key, limit_hash(claim->key));
        struct lease *l = key ? key->lease : NULL;

        claim->lease = l;
        if (l && is_overtaken(l, limit_set_at(a->set, claim->limit), a->at_us))
            l->is_open = false;
        has_all = has_all && l && l->is_open && l->free >= a->amounts.n[l->unit];
    }
    if (!has_all) {
        note_miss(e, a);
        return false;
    }
    for (size_t i = 0; i < a->n_claims; i++) {
        struct lease *l = a->claims[i].lease;

        take(e, l, limit_set_at(a->set, a->claims[i].limit), a->amounts.n[l->unit], a->at_us);
    }
    a->leased = true;
    stat_add(&e->leased, 1);
    return true;
}

/* By itself, with its own time: Redis knows no such id, and adds it to the claims. */
static void settle_item(struct redis_engine *e, struct admission *a,
                        const struct limit_amounts *actual)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];

    for (size_t i = 0; i < a->n_claims; i++) {
        struct lease *l = a->claims[i].lease;

        a->claims[i].lease = NULL;
        l->running--;
        l->held -= a->amounts.n[l->unit];
        l->is_stale = true;
    }
    limit_claims(a, claims);
    redis_engine_settle(e, a, claims, a->n_claims, actual, false);
}

void lease_settle(struct redis_engine *e, struct admission *a,
                  const struct limit_amounts *actual)
{
    if (e->is_draining)
        e->lease_us = 0;
    if (e->itemize_seq > 0 || e->by_item) {
        settle_item(e, a, actual);
        return;
    }
    for (size_t i = 0; i < a->n_claims; i++) {
        struct lease *l = a->claims[i].lease;
        uint64_t worst = a->amounts.n[l->unit], took = value_settled(actual, l->unit);

        a->claims[i].lease = NULL;
        ASSERT(l->running > 0 && l->held >= worst);
        l->running--;
        l->held -= worst;
        l->spent = value_add(l->spent, took);
        l->free = took <= worst ? value_add(l->free, worst - took)
                                : value_sub(l->free, took - worst);
        l->n_spent++;
        stat_add(&e->unsettled, 1);
    }
}

/* ---- ticks ------------------------------------------------------------------------- */

/* At a tick. False: it is over. */
static bool look(struct redis_engine *e, struct lease *l, int64_t now_us)
{
    bool is_tick = e->is_draining || now_us >= l->tick_us + LEASE_TICK_MS * 1000;
    uint64_t goal;

    if (l->op || (!is_tick && !l->is_low))
        return true;
    l->idle = l->uses > 0 ? 0 : l->idle + 1;
    if (!l->has_record && l->n_spent == 0 && l->uses < LEASE_START_USES && !l->is_low) {
        /* not worth its calls, or not any more */
        l->uses = 0;
        l->demand = l->largest = 0;
        l->tick_us = now_us;
        return l->running > 0 || l->idle < LEASE_IDLE_TICKS;
    }
    goal = goal_of(e, l, now_us);
    if (l->n_spent > 0 || l->is_stale || l->free > goal || goal > l->free + goal / 4 ||
        (l->has_record && now_us - l->told_us >= LEASE_RENEW_MS * 1000))
        tell(e, l, goal, now_us);
    l->uses = 0;
    l->demand = 0;
    l->largest -= l->largest / LARGEST_FADES;
    l->is_low = false;
    l->tick_us = now_us;
    return true;
}

int64_t lease_run(struct redis_engine *e, int64_t now_us)
{
    if (now_us < e->lease_us)
        return e->lease_us;
    e->lease_us = INT64_MAX;
    LIST_FOREACH_SAFE (at, &e->leases) {
        struct lease *l = LIST_OBJECT(at, struct lease, node);
        int64_t next_us;

        if (!look(e, l, now_us)) {
            lease_free(e, l);
            continue;
        }
        next_us = (l->op ? now_us : l->tick_us) + LEASE_TICK_MS * 1000;
        if (next_us < e->lease_us)
            e->lease_us = next_us;
    }
    return e->lease_us;
}

/* The limit is stricter than the one that was asked under: the next message asks anew. */
static bool is_outdated(const struct lease *l, const struct op_claim *asked)
{
    return l->enforce && (!asked->enforce || l->limit < asked->limit);
}

void lease_answer(struct redis_engine *e, struct limit_op *op)
{
    const struct lease_order *order = &op->order;
    struct lease *l = order->lease;

    if (!l)
        return;
    lease_forget_op(op);
    if (l->is_untold)
        untold_done(e);
    l->is_untold = false;
    l->free = value_add(l->free, order->granted);
    l->most = order->most;
    l->is_open = order->most >= order->least && !is_outdated(l, &op->claims[0]);
    set_record(e, l, op->claims[0].amount > 0 || order->granted > 0);
    if (e->is_draining)
        e->lease_us = 0;
}

void lease_forget_op(struct limit_op *op)
{
    if (op->order.lease)
        op->order.lease->op = NULL;
    op->order.lease = NULL;
}

/* What was settled until now, as one settlement of now. */
static void tell_spent(struct redis_engine *e, struct lease *l)
{
    struct claim_ref claim = claim_of(l);
    struct limit_op *op;
    struct uuid id = {.b = {0}};

    id_make(&id);
    op = op_new(e, OP_SETTLE, &id, &claim, 1);
    op->settled_us = clock_steady_us();
    op->actual.n[l->unit] = l->spent;
    stat_add(&e->unsettled, 0 - l->n_spent);
    l->spent = l->n_spent = 0;
    op_keep(e, op);
}

void lease_rescue(struct redis_engine *e)
{
    LIST_FOREACH (at, &e->leases) {
        const struct lease *l = LIST_OBJECT(at, struct lease, node);
        const struct claim_ref claim = {.key = strv_make(l->key->text, l->key->n),
                                        .shape = l->key->shape,
                                        .unit = l->unit,
                                        .amount = l->held};

        if (l->held > 0)
            rescue_add(memory_rescue(e->memory), &l->id, &claim, 1, clock_mono_us(),
                       LEASE_DEADLINE_S * US_PER_SECOND);
    }
}

/* What runs stays held: the next message reserves for it again, and gives back the rest. */
void lease_itemize(struct redis_engine *e)
{
    e->itemize_seq = e->next_seq;
    LIST_FOREACH (at, &e->leases) {
        struct lease *l = LIST_OBJECT(at, struct lease, node);

        l->free = 0;
        l->is_open = false;
        l->is_stale = l->has_record;
        if (l->has_record && l->held > 0 && !l->is_untold) {
            untold_begin(e);
            l->is_untold = l->is_low = true;
            e->lease_us = 0;
        }
        if (l->n_spent > 0)
            tell_spent(e, l);
    }
}

void lease_by_item(struct redis_engine *e, bool is_on)
{
    e->by_item = is_on;
    LIST_FOREACH (at, &e->leases) {
        struct lease *l = LIST_OBJECT(at, struct lease, node);

        if (is_on && l->n_spent > 0) {
            l->is_stale = true;
            tell_spent(e, l);
        }
    }
}
