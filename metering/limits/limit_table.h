/*
 * limit_table.h - the memory engine's counters by key, in shards with a lock each.
 *
 * Callers lock: table_lock takes a set of shards in rising order, so that all claims
 * of a request change together.  A shard is bounded; counters whose windows are over
 * are dropped as new ones come.
 */
#ifndef METERING_LIMITS_LIMIT_TABLE_H
#define METERING_LIMITS_LIMIT_TABLE_H

#include <pthread.h>

#include "metering/limits/limit_counter.h"

enum {
    TABLE_SHARDS = 64, /* bits of a shard set */
    COUNTERS_PER_SHARD = LIMIT_COUNTERS_MAX / TABLE_SHARDS,
    MIRRORS_PER_SHARD = LIMIT_MIRROR_MAX / TABLE_SHARDS,
    CHECKS_PER_INSERT = 4, /* old counters looked at for each new one */
    FULL_SWEEP_MS = 1000,  /* how often all of a full shard are looked at */
};

struct table_shard {
    pthread_mutex_t lock;
    struct counter **slots;
    size_t size, n;
    struct list_node all; /* the least recently checked first */
    int64_t sweep_us;     /* not before, all of a full shard are looked at */
};

struct table {
    struct table_shard shards[TABLE_SHARDS];
};

void table_init(struct table *t);
void table_fini(struct table *t);
/* A set has bit shard_of(hash) for each counter wanted. */
void table_lock(struct table *t, uint64_t set);
void table_unlock(struct table *t, uint64_t set);

static inline unsigned shard_of(uint64_t hash)
{
    return (unsigned)(hash >> 58); /* a slot's number is made of the low bits */
}

/* The rest wants the counter's shard locked. NULL: there is none. */
struct counter *table_find(struct table *t, struct strv key, uint64_t hash);
/* Found or made, and rolled to now_us; NULL where the shard is full of counters in use. */
struct counter *table_get(struct table *t, const struct claim_ref *claim, uint64_t hash,
                          int64_t now_us);
void table_remove(struct table *t, struct counter *c);
/* Found or made for a value of Redis' counter; NULL where there is no room for mirrors. */
struct counter *table_get_mirror(struct table *t, const struct claim_ref *claim, uint64_t hash,
                                 int64_t now_us);

/* The memory engine's counters; its reservations past their deadline expire. */
struct table *memory_counters(struct limit_memory *m);
void memory_sweep(struct limit_memory *m, int64_t now_us);

#endif
