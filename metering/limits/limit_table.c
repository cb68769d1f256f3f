#include "metering/limits/limit_table.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"

enum { SLOTS_FIRST = 16 };

void table_init(struct table *t)
{
    for (int i = 0; i < TABLE_SHARDS; i++) {
        struct table_shard *s = &t->shards[i];

        pthread_mutex_init(&s->lock, NULL);
        s->size = SLOTS_FIRST;
        s->n = 0;
        s->sweep_us = INT64_MIN;
        s->slots = xcalloc(SLOTS_FIRST, sizeof(struct counter *));
        list_init(&s->all);
    }
}

void table_fini(struct table *t)
{
    for (int i = 0; i < TABLE_SHARDS; i++) {
        struct table_shard *s = &t->shards[i];

        LIST_FOREACH_SAFE (at, &s->all)
            counter_free(LIST_OBJECT(at, struct counter, place));
        free(s->slots);
        pthread_mutex_destroy(&s->lock);
    }
}

void table_lock(struct table *t, uint64_t set)
{
    for (; set; set &= set - 1)
        pthread_mutex_lock(&t->shards[__builtin_ctzll(set)].lock);
}

void table_unlock(struct table *t, uint64_t set)
{
    for (; set; set &= set - 1)
        pthread_mutex_unlock(&t->shards[__builtin_ctzll(set)].lock);
}

static struct counter **slot_find(struct table_shard *s, struct strv key, uint64_t hash)
{
    struct counter **at = &s->slots[hash & (s->size - 1)];

    while (*at && !((*at)->hash == hash && strv_eq(strv_make((*at)->key, (*at)->n), key)))
        at = &(*at)->next;
    return at;
}

static void slot_link(struct table_shard *s, struct counter *c)
{
    struct counter **slot = &s->slots[c->hash & (s->size - 1)];

    c->next = *slot;
    *slot = c;
}

static void shard_grow(struct table_shard *s)
{
    free(s->slots);
    s->size *= 2;
    s->slots = xcalloc(s->size, sizeof(struct counter *));
    LIST_FOREACH (at, &s->all)
        slot_link(s, LIST_OBJECT(at, struct counter, place));
}

static void shard_remove(struct table_shard *s, struct counter *c)
{
    struct counter **at = slot_find(s, strv_make(c->key, c->n), c->hash);

    ASSERT(*at == c);
    *at = c->next;
    list_remove(&c->place);
    s->n--;
    counter_free(c);
}

void table_remove(struct table *t, struct counter *c)
{
    shard_remove(&t->shards[shard_of(c->hash)], c);
}

/* Looks at up to n counters, the least recently looked at first. */
static void shard_sweep(struct table_shard *s, size_t n)
{
    int64_t mono = clock_mono_us(), wall = clock_wall_us();

    for (; n > 0 && !list_is_empty(&s->all); n--) {
        struct counter *c = LIST_OBJECT(s->all.next, struct counter, place);

        if (counter_is_over(c, mono, wall)) {
            shard_remove(s, c);
        } else {
            list_remove(&c->place);
            list_push_back(&s->all, &c->place);
        }
    }
}

struct counter *table_find(struct table *t, struct strv key, uint64_t hash)
{
    return *slot_find(&t->shards[shard_of(hash)], key, hash);
}

struct counter *table_get(struct table *t, const struct claim_ref *claim, uint64_t hash,
                          int64_t now_us)
{
    struct table_shard *s = &t->shards[shard_of(hash)];
    struct counter *c = *slot_find(s, claim->key, hash);

    if (c) {
        counter_roll(c, now_us);
        return c;
    }
    if (s->n >= COUNTERS_PER_SHARD && now_us >= s->sweep_us) {
        s->sweep_us = now_us + FULL_SWEEP_MS * 1000;
        shard_sweep(s, s->n);
    } else {
        shard_sweep(s, CHECKS_PER_INSERT);
    }
    if (s->n >= COUNTERS_PER_SHARD)
        return NULL;
    if (s->n >= s->size)
        shard_grow(s);
    c = counter_new(claim->key, hash, &claim->shape, now_us, clock_wall_us());
    slot_link(s, c);
    list_push_back(&s->all, &c->place);
    s->n++;
    return c;
}

/* A counter that holds nothing but a mirror can be forgotten, the oldest first. */
static bool mirror_evict(struct table_shard *s)
{
    struct counter *c;

    shard_sweep(s, CHECKS_PER_INSERT);
    if (s->n < MIRRORS_PER_SHARD)
        return true;
    c = LIST_OBJECT(s->all.next, struct counter, place);
    if (c->refs > 0 || c->spent > 0 || c->reserved > 0) {
        list_remove(&c->place);
        list_push_back(&s->all, &c->place);
        return false;
    }
    shard_remove(s, c);
    return true;
}

struct counter *table_get_mirror(struct table *t, const struct claim_ref *claim, uint64_t hash,
                                 int64_t now_us)
{
    struct table_shard *s = &t->shards[shard_of(hash)];
    struct counter *c = *slot_find(s, claim->key, hash);

    if (!c && (s->n < MIRRORS_PER_SHARD || mirror_evict(s)))
        c = table_get(t, claim, hash, now_us);
    if (c) {
        list_remove(&c->place);
        list_push_back(&s->all, &c->place);
    }
    return c;
}
