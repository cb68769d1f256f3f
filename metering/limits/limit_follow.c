/*
 * limit_follow.c - a set that takes another's place: which of its limits are new, what they are
 * told before they hold, and what requests admitted under an earlier set still owe them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "metering/limits/limit_set.h"

/* ---- which are new ------------------------------------------------------------------ */

static bool same_per(const struct limit_rule *a, const struct limit_rule *b)
{
    if (a->def.n_per != b->def.n_per)
        return false;
    for (size_t i = 0; i < a->def.n_per; i++) {
        if (!strv_eq(a->per[i].name, b->per[i].name))
            return false;
    }
    return true;
}

/* base has name, unit, window and match; the zone tells in when the window begins. */
static const struct limit_rule *same_in(const struct limit_set *before,
                                        const struct limit_set *set, const struct limit_rule *r,
                                        int64_t now_us)
{
    for (size_t i = 0; i < before->n; i++) {
        const struct limit_rule *old = &before->rules[i];
        int64_t start_us, end_us, old_start_us, old_end_us;

        if (!strv_eq(old->base, r->base) || !same_per(old, r))
            continue;
        set_window(set, r, now_us, &start_us, &end_us);
        set_window(before, old, now_us, &old_start_us, &old_end_us);
        return start_us == old_start_us ? old : NULL;
    }
    return NULL;
}

/* The name's number keeps its counters apart from all that were called so before. */
static void set_apart(struct limit_set *set, struct limit_rule *r, uint64_t apart)
{
    char text[LIMIT_PREFIX_MAX_BYTES];
    int n;

    r->apart = apart;
    if (apart == 0)
        return;
    n = snprintf(text, sizeof(text), "%.*s=i%" PRIu64 "%s", (int)r->base_name, r->base.p, apart,
                 r->base.p + r->base_name);
    ASSERT(n > 0 && (size_t)n < sizeof(text));
    r->prefix = set_keep(set, strv_make(text, (size_t)n));
}

size_t limit_set_follow(struct limit_set *set, const struct limit_set *before, int64_t now_us,
                        uint64_t apart)
{
    size_t n = 0;

    for (size_t i = 0; i < set->n; i++) {
        struct limit_rule *r = &set->rules[i];
        const struct limit_rule *old = same_in(before, set, r, now_us);

        if (old && rule_state(old) == LIMIT_KNOWN) {
            set_apart(set, r, old->apart);
            atomic_store(&r->since_us, atomic_load(&old->since_us));
            continue;
        }
        set_apart(set, r, apart);
        if (r->shape.kind == COUNTER_RUNNING) /* nothing of it is ever spent */
            continue;
        r->is_new = true;
        atomic_store(&r->since_us, INT64_MAX);
        atomic_store(&r->state, LIMIT_UNKNOWN);
        n++;
    }
    atomic_store(&set->n_unknown, (unsigned)n);
    return n;
}

bool limit_set_is_new(const struct limit_set *set, size_t i)
{
    return set->rules[i].is_new;
}

struct strv limit_set_prefix(const struct limit_set *set, size_t i)
{
    return set->rules[i].prefix;
}

enum limit_state limit_set_state(const struct limit_set *set, size_t i)
{
    return rule_state(&set->rules[i]);
}

void limit_set_since(struct limit_set *set, int64_t since_us)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->rules[i].is_new)
            atomic_store(&set->rules[i].since_us, since_us);
    }
}

void limit_set_tell(struct limit_set *set, enum limit_state state)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->rules[i].is_new)
            atomic_store_explicit(&set->rules[i].state, (int)state, memory_order_release);
    }
    if (state == LIMIT_KNOWN)
        atomic_store(&set->n_unknown, 0);
}

/* ---- admissions --------------------------------------------------------------------- */

enum limit_state admission_state(const struct admission *a)
{
    enum limit_state least = LIMIT_KNOWN;

    if (atomic_load_explicit(&a->set->n_unknown, memory_order_relaxed) == 0)
        return LIMIT_KNOWN;
    for (size_t i = 0; i < a->n_claims; i++) {
        enum limit_state state = rule_state(&a->set->rules[a->claims[i].limit]);

        if (state == LIMIT_UNKNOWN)
            return state;
        least = state == LIMIT_NOTED ? state : least;
    }
    return least;
}

bool limit_is_unknown(const struct admission *a, size_t claim)
{
    return rule_state(&a->set->rules[a->claims[claim].limit]) == LIMIT_UNKNOWN;
}

static bool has_claim(const struct admission *a, struct strv key)
{
    for (size_t i = 0; i < a->n_claims; i++) {
        if (strv_eq(a->claims[i].key, key))
            return true;
    }
    return false;
}

bool admission_late(struct admission *late, const struct limit_set *set,
                    const struct subject *subject, const struct late_request *request,
                    struct arena *arena)
{
    static const struct limit_amounts nothing;
    size_t n = 0;

    /* More than it can touch: those that it has. */
    enum rc rc = admission_init(late, set, subject, &nothing, &request->id, request->start_us,
                                arena);

    (void)rc;
    for (size_t i = 0; i < late->n_claims; i++) {
        const struct limit_claim *c = &late->claims[i];
        bool is_charged = request->ended_us < atomic_load(&set->rules[c->limit].since_us);

        for (size_t k = 0; k < request->n_charged; k++)
            is_charged = is_charged || has_claim(request->charged[k], c->key);
        if (!is_charged)
            late->claims[n++] = *c;
    }
    late->n_claims = n;
    late->verdict = LIMIT_OK;
    late->started_us = request->started_us;
    late->ended_us = request->ended_us;
    return n > 0;
}
