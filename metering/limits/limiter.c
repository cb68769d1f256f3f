#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/limits/limit_redis.h"

struct limiter {
    enum on_failure on_failure;
    struct limit_memory *memory;
    bool owns_memory;
    bool is_closing;
    struct redis_engine *redis; /* NULL: memory is the engine */
    _Atomic uint64_t reserves, denials, settles, local_admissions;
};

static void on_answer(void *arg, struct admission *a, enum redis_answer answer, unsigned warned,
                      const struct refusal *refusal);

struct limiter *limiter_new(const struct limiter_options *options, struct limit_memory *memory)
{
    struct limiter_options filled = *options;
    struct redis_target target;
    struct limiter *l;

    if (options->redis_url && redis_target_open(options, &target))
        return NULL;
    if (!filled.name_space)
        filled.name_space = "tollgate";
    if (filled.timeout_ms <= 0)
        filled.timeout_ms = LIMIT_TIMEOUT_DEFAULT_MS;
    l = xcalloc(1, sizeof(*l));
    l->on_failure = options->on_failure;
    l->memory = memory ? memory : limit_memory_new();
    l->owns_memory = !memory;
    if (options->redis_url)
        l->redis = redis_engine_new(&filled, &target, l->memory, on_answer, l);
    return l;
}

void limiter_free(struct limiter *l)
{
    if (!l)
        return;
    l->is_closing = true;
    redis_engine_free(l->redis);
    if (l->owns_memory)
        limit_memory_free(l->memory);
    free(l);
}

void limiter_secure(struct limiter *l, void *arg)
{
    if (l->redis)
        l->redis->link.target.secure.arg = arg;
}

void limiter_own(struct limiter *l, const char *owner, int64_t start)
{
    if (l->redis)
        redis_engine_own(l->redis, owner, start);
}

struct redis_engine *limiter_redis(struct limiter *l)
{
    return l->redis;
}

/* ---- verdicts ------------------------------------------------------------------- */

static void deny(struct limiter *l, struct admission *a, const struct claim_ref *claims,
                 const struct refusal *refusal)
{
    const struct limit_claim *claim = &a->claims[refusal->claim];
    int64_t resets_us = 0;

    switch (claims[refusal->claim].shape.kind) {
    case COUNTER_WINDOW:
        resets_us = claim->end_us == INT64_MAX ? 0 : claim->end_us;
        break;
    case COUNTER_ROLLING:
        if (refusal->resets_in_us > 0)
            resets_us = clock_wall_us() + refusal->resets_in_us;
        break;
    case COUNTER_RUNNING:
        break;
    }
    a->verdict = LIMIT_DENIED;
    a->denial = (struct limit_denial){
        .def = limit_set_at(a->set, claim->limit),
        .scope = claim->scope,
        .limit = claims[refusal->claim].limit,
        .spent = refusal->spent,
        .reserved = refusal->reserved,
        .wanted = claims[refusal->claim].amount,
        .resets_us = resets_us,
    };
    stat_add(&l->denials, 1);
}

/* A limit's own rule, where it has one, goes before the counters'. */
static enum on_failure rule_of(const struct limiter *l, const struct admission *a, size_t i)
{
    enum on_failure own = limit_set_at(a->set, a->claims[i].limit)->on_failure;

    return own != ON_FAILURE_LOCAL ? own : l->on_failure;
}

/*
 * What on_failure makes of the claims: those that it allows are not enforced.  False: one may not
 * be admitted.  *all_allow: none of them is asked.
 */
static bool apply_rules(const struct limiter *l, const struct admission *a,
                        struct claim_ref *claims, bool *all_allow)
{
    const bool is_blind = memory_is_blind(l->memory);

    *all_allow = true;
    for (size_t i = 0; i < a->n_claims; i++) {
        if (!claims[i].enforce || claims[i].amount == 0)
            continue;
        switch (rule_of(l, a, i)) {
        case ON_FAILURE_REFUSE:
            return false;
        case ON_FAILURE_ALLOW:
            claims[i].enforce = false;
            break;
        case ON_FAILURE_LOCAL:
            if (is_blind)
                return false;
            *all_allow = false;
            break;
        }
    }
    return true;
}

/* The verdict without the counters; share as for memory_reserve. */
static void decide_alone(struct limiter *l, struct admission *a, unsigned share)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX], asked[LIMIT_CLAIMS_MAX];
    struct refusal refusal;
    bool all_allow;

    limit_claims(a, claims);
    memcpy(asked, claims, a->n_claims * sizeof(claims[0]));
    if (!apply_rules(l, a, asked, &all_allow)) {
        a->verdict = LIMIT_UNAVAILABLE;
        return;
    }
    a->verdict = memory_reserve(l->memory, &a->id, asked, a->n_claims, share, &a->warned, &refusal);
    if (a->verdict == LIMIT_UNAVAILABLE && all_allow)
        a->verdict = LIMIT_OK;
    if (a->verdict == LIMIT_DENIED)
        deny(l, a, claims, &refusal);
    if (a->verdict != LIMIT_OK)
        return;
    stat_add(&l->local_admissions, 1);
    if (!l->redis)
        return;
    a->local = true;
    redis_engine_force(l->redis, a, claims, a->n_claims);
}

static void decide_without_redis(struct limiter *l, struct admission *a)
{
    unsigned nodes = atomic_load(&l->redis->nodes);

    decide_alone(l, a, nodes > 0 ? nodes : 1);
}

static void on_answer(void *arg, struct admission *a, enum redis_answer answer, unsigned warned,
                      const struct refusal *refusal)
{
    struct limiter *l = arg;
    struct claim_ref claims[LIMIT_CLAIMS_MAX];

    if (l->is_closing) {
        a->verdict = LIMIT_UNAVAILABLE;
        return;
    }
    switch (answer) {
    case REDIS_ADMITTED:
        a->verdict = LIMIT_OK;
        a->warned = warned;
        break;
    case REDIS_DENIED:
        limit_claims(a, claims);
        deny(l, a, claims, refusal);
        break;
    case REDIS_AWAY:
        decide_without_redis(l, a);
        break;
    }
    if (a->wake)
        a->wake(a->arg);
}

/* ---- the calls --------------------------------------------------------------------- */

static void reserve_each(struct limiter *l, struct admission *a)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];
    struct refusal refusal;

    limit_claims(a, claims);
    if (l->redis) {
        if (!redis_engine_reserve(l->redis, a, claims, a->n_claims))
            decide_without_redis(l, a);
        return;
    }
    if (memory_is_blind(l->memory)) {
        decide_alone(l, a, 0);
        return;
    }
    a->verdict =
        memory_reserve(l->memory, &a->id, claims, a->n_claims, 0, &a->warned, &refusal);
    if (a->verdict == LIMIT_DENIED)
        deny(l, a, claims, &refusal);
}

/* Limits whose counters are not told yet: the verdict, or none where they ask for nothing. */
static bool decide_unknown(struct limiter *l, struct admission *a)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];
    enum limit_state state = admission_state(a);

    if (state == LIMIT_KNOWN)
        return false;
    limit_claims(a, claims);
    for (size_t i = 0; i < a->n_claims; i++) {
        const struct limit_def *def = limit_set_at(a->set, a->claims[i].limit);

        if (!limit_is_unknown(a, i) || claims[i].amount == 0 || !limit_enforces(a, def) ||
            rule_of(l, a, i) == ON_FAILURE_ALLOW)
            continue;
        a->verdict = LIMIT_UNAVAILABLE;
        return true;
    }
    if (!l->redis || state == LIMIT_UNKNOWN)
        return false;
    decide_without_redis(l, a);
    return true;
}

void limiter_reserve_at(struct limiter *l, struct admission *a, int64_t now_us)
{
    if (a->op || a->verdict != LIMIT_PENDING)
        return;
    a->started_us = now_us;
    stat_add(&l->reserves, 1);
    if (decide_unknown(l, a))
        return;
    if (a->n_claims == 0 || (l->redis && lease_take(l->redis, a)))
        a->verdict = LIMIT_OK;
    else
        reserve_each(l, a);
}

void limiter_reserve(struct limiter *l, struct admission *a)
{
    limiter_reserve_at(l, a, clock_mono_us());
}

void limiter_cancel(struct limiter *l, struct admission *a)
{
    static const struct limit_amounts nothing;

    if (a->verdict != LIMIT_PENDING) {
        limiter_settle(l, a, &nothing);
        return;
    }
    a->settled = true;
    if (l->redis)
        redis_engine_cancel(l->redis, a);
}

static void mirror_settle(struct limiter *l, const struct admission *a,
                          const struct limit_amounts *actual)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];

    limit_claims(a, claims);
    memory_mirror_settle(l->memory, claims, a->n_claims, actual);
}

static void settle_each(struct limiter *l, struct admission *a,
                        const struct limit_amounts *actual)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];
    bool is_local = false;

    limit_claims(a, claims);
    if (!l->redis) {
        memory_settle(l->memory, &a->id, claims, a->n_claims, actual, a->started_us);
        return;
    }
    if (a->local)
        is_local = memory_settle(l->memory, &a->id, NULL, 0, actual, a->started_us);
    else if (!redis_engine_is_up(l->redis))
        mirror_settle(l, a, actual);
    redis_engine_settle(l->redis, a, claims, a->n_claims, actual, is_local);
}

void limiter_settle(struct limiter *l, struct admission *a, const struct limit_amounts *actual)
{
    if (a->verdict == LIMIT_PENDING) {
        limiter_cancel(l, a);
        return;
    }
    if (a->settled || a->verdict != LIMIT_OK)
        return;
    a->settled = true;
    stat_add(&l->settles, 1);
    if (a->n_claims == 0)
        return;
    if (!a->leased) {
        settle_each(l, a, actual);
        return;
    }
    if (!redis_engine_is_up(l->redis))
        mirror_settle(l, a, actual);
    lease_settle(l->redis, a, actual);
}

void limiter_extend(struct limiter *l, const struct admission *a)
{
    if (a->verdict != LIMIT_OK || a->settled || a->n_claims == 0)
        return;
    if (!l->redis || a->local)
        memory_extend(l->memory, &a->id);
    if (l->redis && !a->leased) /* a lease is renewed as long as something runs on it */
        redis_engine_extend(l->redis, &a->id);
}

void limiter_restore(struct limiter *l, const struct admission *a)
{
    struct claim_ref claims[LIMIT_CLAIMS_MAX];

    if (!l->redis || a->verdict != LIMIT_OK || a->settled || a->n_claims == 0 || a->leased)
        return;
    limit_claims(a, claims);
    rescue_add(memory_rescue(l->memory), &a->id, claims, a->n_claims, a->started_us,
               LIMIT_DEADLINE_S * US_PER_SECOND);
    if (!a->op) /* it is to be told anyway */
        redis_engine_restore(l->redis, a, claims, a->n_claims);
}

void limiter_settle_id(struct limiter *l, const struct uuid *id,
                       const struct limit_amounts *actual)
{
    stat_add(&l->settles, 1);
    if (l->redis)
        redis_engine_settle_id(l->redis, id, actual);
    else
        memory_settle(l->memory, id, NULL, 0, actual, 0);
}

void limiter_hold(struct limiter *l, struct admission *a, const struct uuid *work)
{
    static const struct limit_amounts one = {.n = {[UNIT_REQUESTS] = 1}};
    struct claim_ref claims[LIMIT_CLAIMS_MAX];

    if (a->settled || a->verdict != LIMIT_OK)
        return;
    limit_claims(a, claims);
    for (size_t i = 0; i < a->n_claims; i++) {
        claims[i].enforce = false;
        if (claims[i].unit == UNIT_CONCURRENT || claims[i].unit == UNIT_REQUESTS)
            claims[i].amount = 0;
    }
    if (a->n_claims > 0 && (!l->redis || !redis_engine_is_up(l->redis)))
        memory_hold(l->memory, work, claims, a->n_claims, a->started_us);
    if (a->n_claims > 0 && l->redis)
        redis_engine_hold(l->redis, work, claims, a->n_claims, a->started_us);
    limiter_settle(l, a, &one);
}

void limiter_claim(struct limiter *l, struct work_claim *c)
{
    c->verdict = WORK_PENDING;
    c->known = c->others = c->to;
    c->op = NULL;
    c->started_us = clock_mono_us();
    list_init(&c->queued);
    if (l->redis)
        work_ask(l->redis, c);
    else
        c->verdict = WORK_MINE;
}

int64_t limiter_run(struct limiter *l)
{
    return l->redis ? redis_engine_run(l->redis) : INT64_MAX;
}

void limiter_itemize(struct limiter *l)
{
    if (!l->redis)
        return;
    lease_itemize(l->redis);
    lease_rescue(l->redis);
    l->redis->heartbeat_us = 0; /* who has nothing to say hears at once that all is to be told */
}

void limiter_by_item(struct limiter *l, bool is_on)
{
    if (l->redis)
        lease_by_item(l->redis, is_on);
}

void limiter_drain(struct limiter *l)
{
    if (!l->redis)
        return;
    l->redis->is_draining = true;
    if (!list_is_empty(&l->redis->leases))
        l->redis->lease_us = 0;
}

void limiter_stats(const struct limiter *l, struct limiter_stats *out)
{
    const struct redis_engine *e = l->redis;

    *out = (struct limiter_stats){
        .reserves = stat_get(&l->reserves),
        .denials = stat_get(&l->denials),
        .settles = stat_get(&l->settles),
        .local_admissions = stat_get(&l->local_admissions),
        .nodes = 1,
        .connected = true,
    };
    if (!e)
        return;
    out->timeouts = stat_get(&e->timeouts);
    out->reconnects = stat_get(&e->reconnects);
    out->script_calls = stat_get(&e->script_calls);
    out->leased = stat_get(&e->leased);
    out->unsettled = stat_get(&e->unsettled);
    if (e->is_draining)
        out->unsettled += stat_get(&e->leases_held);
    out->lost = stat_get(&e->lost);
    out->nodes = atomic_load(&e->nodes);
    out->connected = atomic_load(&e->is_up);
    out->empty = atomic_load(&e->is_empty);
}
