/*
 * limit_look.c - the counters in memory, looked at and set from outside: by reports, by a
 * rebuild, and by the Redis engine, which keeps here what Redis last said of them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/limits/limit_table.h"

/* ---- Redis' counters as last seen ------------------------------------------------ */

/*
 * Workers hear of one counter in another order than Redis said it in: what it said later stands.
 * Where its clock was set back, or another one took over, that is for so long at the most.
 */
static bool is_late(const struct counter *c, int64_t at_us)
{
    enum { LATE_US = 5000000 }; /* more than a reply may take */

    return at_us < c->mirror_at_us && c->mirror_at_us - at_us < LATE_US;
}

/*
 * Of a limit that is new, Redis has a part until limit_part_add: it is LIMIT_NOTED, and workers admit
 * to it here.  So its counters go by what was noted and what was admitted since, told or not, and
 * Redis' word of them counts for nothing.  They bear the number of the noting, so that all
 * go by Redis again at once when it stops.
 */
bool memory_is_noted(struct limit_memory *m, const struct counter *c)
{
    unsigned noted = atomic_load(memory_noted(m));

    return noted % 2 != 0 && c->noted == noted;
}

void limit_note_start(struct limit_memory *m)
{
    unsigned noted = atomic_load(memory_noted(m));

    atomic_store(memory_noted(m), noted + (noted % 2 != 0 ? 2 : 1));
}

void limit_note_stop(struct limit_memory *m)
{
    unsigned noted = atomic_load(memory_noted(m));

    atomic_store(memory_noted(m), noted + noted % 2);
}

static void mirror(struct limit_memory *m, struct strv key, const struct counter_shape *shape,
                   uint64_t taken, int64_t at_us, bool is_whole)
{
    struct claim_ref claim = {.key = key, .shape = *shape};
    uint64_t hash = limit_hash(key), set = UINT64_C(1) << shard_of(hash);
    int64_t now_us = clock_mono_us();
    bool is_noted;
    struct counter *c;

    table_lock(memory_counters(m), set);
    if (taken > 0)
        c = table_get_mirror(memory_counters(m), &claim, hash, now_us);
    else
        c = table_find(memory_counters(m), key, hash);
    is_noted = c && memory_is_noted(m, c);
    if (c && !is_late(c, at_us) && (!is_noted || is_whole)) {
        c->mirror = is_noted && c->mirror > taken ? c->mirror : taken;
        c->mirror_us = now_us;
        c->mirror_at_us = at_us;
    }
    table_unlock(memory_counters(m), set);
}

void memory_mirror(struct limit_memory *m, struct strv key, const struct counter_shape *shape,
                   uint64_t taken, int64_t at_us)
{
    mirror(m, key, shape, taken, at_us, false);
}

void memory_mirror_whole(struct limit_memory *m, struct strv key,
                         const struct counter_shape *shape, uint64_t taken, int64_t at_us)
{
    mirror(m, key, shape, taken, at_us, true);
}

void memory_note(struct limit_memory *m, const struct claim_ref *claim, uint64_t taken)
{
    uint64_t hash = limit_hash(claim->key), set = UINT64_C(1) << shard_of(hash);
    int64_t now_us = clock_mono_us();
    struct counter *c;

    table_lock(memory_counters(m), set);
    c = table_get_mirror(memory_counters(m), claim, hash, now_us);
    if (c && claim->is_new)
        c->noted = atomic_load(memory_noted(m));
    if (c && (c->mirror_at_us == 0 || memory_is_noted(m, c)) && c->mirror < taken) {
        c->mirror = taken;
        c->mirror_us = now_us;
    }
    table_unlock(memory_counters(m), set);
}

/* What is told and was counted here: it stays with what is noted, where the counter goes by that. */
void memory_keep(struct limit_memory *m, struct counter *c, uint64_t amount)
{
    if (!memory_is_noted(m, c))
        return;
    c->mirror = value_add(c->mirror, amount);
    c->mirror_us = clock_mono_us();
}

void memory_mirror_settle(struct limit_memory *m, const struct claim_ref *claims, size_t n,
                          const struct limit_amounts *actual)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = limit_hash(claims[i].key), set = UINT64_C(1) << shard_of(hash);
        struct counter *c;

        table_lock(memory_counters(m), set);
        c = table_find(memory_counters(m), claims[i].key, hash);
        if (c)
            c->mirror = value_add(value_sub(c->mirror, claims[i].amount),
                                  value_settled(actual, claims[i].unit));
        table_unlock(memory_counters(m), set);
    }
}

void memory_unspend(struct limit_memory *m, struct strv key, uint64_t amount,
                    int64_t started_us)
{
    uint64_t hash = limit_hash(key), set = UINT64_C(1) << shard_of(hash);
    struct counter *c;

    table_lock(memory_counters(m), set);
    c = table_find(memory_counters(m), key, hash);
    if (c) {
        counter_roll(c, clock_mono_us());
        counter_unspend(c, amount, started_us);
        memory_keep(m, c, amount);
    }
    table_unlock(memory_counters(m), set);
}

/* ---- reading and setting ---------------------------------------------------------- */

struct seen {
    struct limit_counter counter;
    char *key;
};

static size_t shard_copy(struct table_shard *s, const struct limit_set *set, int64_t now_us,
                         struct seen **out)
{
    int64_t mono = clock_mono_us();
    struct seen *seen;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    seen = xcalloc(s->n, sizeof(*seen));
    LIST_FOREACH (at, &s->all) {
        struct counter *c = LIST_OBJECT(at, struct counter, place);
        char *key = xmemdupz(c->key, c->n);

        counter_roll(c, mono);
        if (!limit_key_match(set, strv_make(key, c->n), now_us, &seen[n].counter) ||
            (c->spent == 0 && c->reserved == 0)) {
            free(key);
            continue;
        }
        seen[n].counter.spent = seen[n].counter.own = c->spent;
        seen[n].counter.reserved = c->reserved;
        seen[n++].key = key;
    }
    pthread_mutex_unlock(&s->lock);
    *out = seen;
    return n;
}

void memory_read(struct limit_memory *m, const struct limit_set *set, int64_t now_us,
                 limit_counter_fn *fn, void *arg)
{
    memory_sweep(m, clock_mono_us());
    for (int i = 0; i < TABLE_SHARDS; i++) {
        struct seen *seen;
        size_t n = shard_copy(&memory_counters(m)->shards[i], set, now_us, &seen);

        for (size_t k = 0; k < n; k++) {
            fn(&seen[k].counter, arg);
            free(seen[k].key);
        }
        free(seen);
    }
}

void memory_look(struct limit_memory *m, const struct claim_ref *claim, uint64_t *spent,
                 uint64_t *reserved)
{
    uint64_t hash = limit_hash(claim->key), set = UINT64_C(1) << shard_of(hash);
    struct counter *c;

    *spent = *reserved = 0;
    memory_sweep(m, clock_mono_us());
    table_lock(memory_counters(m), set);
    c = table_find(memory_counters(m), claim->key, hash);
    if (c) {
        counter_roll(c, clock_mono_us());
        *spent = c->spent;
        *reserved = c->reserved;
    }
    table_unlock(memory_counters(m), set);
}

static bool put(struct limit_memory *m, const struct claim_ref *claim, uint64_t spent,
                bool is_more)
{
    uint64_t hash = limit_hash(claim->key), set = UINT64_C(1) << shard_of(hash);
    int64_t now_us = clock_mono_us();
    struct counter *c;

    table_lock(memory_counters(m), set);
    c = table_get(memory_counters(m), claim, hash, now_us);
    if (c && is_more)
        counter_spend(c, spent, now_us);
    else if (c)
        counter_set_spent(c, spent, now_us);
    table_unlock(memory_counters(m), set);
    return c != NULL;
}

bool memory_write(struct limit_memory *m, const struct claim_ref *claim, uint64_t spent)
{
    return put(m, claim, spent, false);
}

bool memory_add(struct limit_memory *m, const struct claim_ref *claim, uint64_t spent)
{
    return put(m, claim, spent, true);
}

/* ---- counters of limits that are gone ------------------------------------------------ */

/* The first n of a shard's list, of which those that stay go behind. */
static void forget_run(struct table *t, struct table_shard *s, const struct limit_set *set,
                       size_t n)
{
    pthread_mutex_lock(&s->lock);
    for (; n > 0 && !list_is_empty(&s->all); n--) {
        struct counter *c = LIST_OBJECT(s->all.next, struct counter, place);

        if (c->refs == 0 && !limit_key_is_of(set, strv_make(c->key, c->n))) {
            table_remove(t, c);
        } else {
            list_remove(&c->place);
            list_push_back(&s->all, &c->place);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void limit_forget(struct limit_memory *m, const struct limit_set *set)
{
    struct table *t = memory_counters(m);

    for (int i = 0; i < TABLE_SHARDS; i++) {
        struct table_shard *s = &t->shards[i];
        size_t left;

        pthread_mutex_lock(&s->lock);
        left = s->n;
        pthread_mutex_unlock(&s->lock);
        while (left > 0) {
            size_t run = left < LIMIT_FORGET_RUN ? left : LIMIT_FORGET_RUN;

            forget_run(t, s, set, run);
            left -= run;
        }
    }
}
