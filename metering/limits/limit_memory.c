#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "metering/limits/limit_redis.h"
#include "metering/limits/limit_table.h"

/*
 * Locks: that of an id's shard first, then those of counters' shards in rising
 * order.  Each is held for a few hundred instructions, and no system call.
 */
enum {
    HELD_SHARDS = 64,
    SLOTS_FIRST = 16,
    NODE_TEXT = 33,
};

struct held_claim {
    struct counter *counter;
    uint64_t amount;
    enum limit_unit unit;
};

struct held {
    struct held *next;    /* hash chain */
    struct list_node due; /* in a list of its shard, the first to end first */
    struct uuid id;
    int64_t ends_us, started_us;
    bool is_expired;
    bool is_kept; /* by memory_hold */
    unsigned warned;
    size_t n;
    struct held_claim claims[];
};

struct held_shard {
    pthread_mutex_t lock;
    struct held **table;
    size_t size, n;
    struct list_node live, kept, expired; /* each with one length of life, so in order */
};

struct limit_memory {
    struct table counters;
    struct held_shard held[HELD_SHARDS];
    _Atomic int64_t earliest_us; /* no reservation ends before */
    _Atomic unsigned untold, goods, noted; /* see memory_untold, memory_goods, memory_noted */
    atomic_bool is_blind;           /* see limit_memory_set_blind */
    struct rescue rescue;
    char node[NODE_TEXT];
};

struct limit_memory *limit_memory_new(void)
{
    struct limit_memory *m = xcalloc(1, sizeof(*m));
    unsigned char random[(NODE_TEXT - 1) / 2];

    table_init(&m->counters);
    rescue_init(&m->rescue);
    for (int i = 0; i < HELD_SHARDS; i++) {
        struct held_shard *s = &m->held[i];

        pthread_mutex_init(&s->lock, NULL);
        s->size = SLOTS_FIRST;
        s->table = xcalloc(SLOTS_FIRST, sizeof(struct held *));
        list_init(&s->live);
        list_init(&s->kept);
        list_init(&s->expired);
    }
    atomic_init(&m->earliest_us, INT64_MAX);
    digest_random(random, sizeof(random));
    digest_hex(random, sizeof(random), m->node);
    return m;
}

void limit_memory_free(struct limit_memory *m)
{
    if (!m)
        return;
    for (int i = 0; i < HELD_SHARDS; i++) {
        struct held_shard *s = &m->held[i];

        LIST_FOREACH_SAFE (at, &s->live)
            free(LIST_OBJECT(at, struct held, due));
        LIST_FOREACH_SAFE (at, &s->kept)
            free(LIST_OBJECT(at, struct held, due));
        LIST_FOREACH_SAFE (at, &s->expired)
            free(LIST_OBJECT(at, struct held, due));
        free(s->table);
        pthread_mutex_destroy(&s->lock);
    }
    table_fini(&m->counters);
    rescue_fini(&m->rescue);
    free(m);
}

struct table *memory_counters(struct limit_memory *m)
{
    return &m->counters;
}

const char *memory_node(const struct limit_memory *m)
{
    return m->node;
}

struct rescue *memory_rescue(struct limit_memory *m)
{
    return &m->rescue;
}

void limit_memory_set_blind(struct limit_memory *m, bool is_blind)
{
    atomic_store(&m->is_blind, is_blind);
}

bool memory_is_blind(const struct limit_memory *m)
{
    return atomic_load_explicit(&m->is_blind, memory_order_relaxed);
}

_Atomic unsigned *memory_untold(struct limit_memory *m)
{
    return &m->untold;
}

_Atomic unsigned *memory_goods(struct limit_memory *m)
{
    return &m->goods;
}

_Atomic unsigned *memory_noted(struct limit_memory *m)
{
    return &m->noted;
}

static uint64_t shards_of_held(const struct held *h)
{
    uint64_t set = 0;

    for (size_t i = 0; i < h->n; i++)
        set |= UINT64_C(1) << shard_of(h->claims[i].counter->hash);
    return set;
}

/* Hashes of the claims' keys, and the shards that they live in. */
static uint64_t shards_of_claims(const struct claim_ref *claims, size_t n, uint64_t *hashes)
{
    uint64_t set = 0;

    for (size_t i = 0; i < n; i++) {
        hashes[i] = limit_hash(claims[i].key);
        set |= UINT64_C(1) << shard_of(hashes[i]);
    }
    return set;
}

/* A running counter at zero is gone at once: its scopes are the clients' to choose. */
static void counter_unref(struct limit_memory *m, struct counter *c)
{
    c->refs--;
    if (c->refs == 0 && c->shape.kind == COUNTER_RUNNING && c->reserved == 0 && c->mirror == 0)
        table_remove(&m->counters, c);
}

/* ---- reservations ------------------------------------------------------------- */

static uint64_t id_hash(const struct uuid *id)
{
    return limit_hash(strv_make((const char *)id->b, UUID_BYTES));
}

static struct held **held_place(struct held_shard *s, const struct uuid *id, uint64_t hash)
{
    struct held **at = &s->table[hash & (s->size - 1)];

    while (*at && memcmp((*at)->id.b, id->b, UUID_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static void held_insert(struct held_shard *s, struct held *h, uint64_t hash)
{
    struct held **bucket;

    if (s->n >= s->size) {
        struct list_node *lists[] = {&s->live, &s->kept, &s->expired};

        free(s->table);
        s->size *= 2;
        s->table = xcalloc(s->size, sizeof(struct held *));
        for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
            LIST_FOREACH (at, lists[l]) {
                struct held *old = LIST_OBJECT(at, struct held, due);

                bucket = &s->table[id_hash(&old->id) & (s->size - 1)];
                old->next = *bucket;
                *bucket = old;
            }
        }
    }
    bucket = &s->table[hash & (s->size - 1)];
    h->next = *bucket;
    *bucket = h;
    list_push_back(h->is_kept ? &s->kept : &s->live, &h->due);
    s->n++;
}

static void held_remove(struct held_shard *s, struct held **at)
{
    struct held *h = *at;

    ASSERT(h != NULL);
    *at = h->next;
    list_remove(&h->due);
    s->n--;
    free(h);
}

static void earliest_lower(struct limit_memory *m, int64_t us)
{
    int64_t now = atomic_load(&m->earliest_us);

    while (us < now && !atomic_compare_exchange_weak(&m->earliest_us, &now, us))
        ;
}

/* Past its deadline: what was reserved counts as spent; what runs no more is given back. */
static void held_expire(struct limit_memory *m, struct held *h, int64_t now_us)
{
    uint64_t set = shards_of_held(h);

    table_lock(&m->counters, set);
    for (size_t i = 0; i < h->n; i++) {
        struct held_claim *c = &h->claims[i];

        counter_roll(c->counter, now_us);
        counter_release(c->counter, c->amount, h->started_us);
        if (c->unit != UNIT_CONCURRENT)
            counter_spend(c->counter, c->amount, h->started_us);
    }
    table_unlock(&m->counters, set);
    h->is_expired = true;
    h->ends_us += LIMIT_EXPIRED_KEEP_S * US_PER_SECOND;
}

static void held_drop(struct limit_memory *m, struct held_shard *s, struct held *h)
{
    uint64_t set = shards_of_held(h);

    table_lock(&m->counters, set);
    for (size_t i = 0; i < h->n; i++)
        counter_unref(m, h->claims[i].counter);
    table_unlock(&m->counters, set);
    held_remove(s, held_place(s, &h->id, id_hash(&h->id)));
}

/* Those of a list that are past their deadline. */
static void expire_list(struct limit_memory *m, struct held_shard *s, struct list_node *list,
                        int64_t now_us)
{
    LIST_FOREACH_SAFE (at, list) {
        struct held *h = LIST_OBJECT(at, struct held, due);

        if (h->ends_us > now_us) {
            earliest_lower(m, h->ends_us);
            break;
        }
        held_expire(m, h, now_us);
        list_remove(&h->due);
        list_push_back(&s->expired, &h->due);
    }
}

/* Ends what is past its time; costs one load where nothing is. */
void memory_sweep(struct limit_memory *m, int64_t now_us)
{
    if (now_us < atomic_load(&m->earliest_us))
        return;
    atomic_store(&m->earliest_us, INT64_MAX);
    for (int i = 0; i < HELD_SHARDS; i++) {
        struct held_shard *s = &m->held[i];

        pthread_mutex_lock(&s->lock);
        expire_list(m, s, &s->live, now_us);
        expire_list(m, s, &s->kept, now_us);
        LIST_FOREACH_SAFE (at, &s->expired) {
            struct held *h = LIST_OBJECT(at, struct held, due);

            if (h->ends_us > now_us) {
                earliest_lower(m, h->ends_us);
                break;
            }
            held_drop(m, s, h);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* ---- the engine ----------------------------------------------------------------- */

/* What a claim may take: the limit, or this process' share of what Redis had left. */
static uint64_t effective_limit(const struct counter *c, uint64_t limit, unsigned share,
                                int64_t now_us)
{
    return share == 0 ? limit : value_sub(limit, counter_mirror(c, now_us)) / share;
}

static enum limit_verdict claims_check(struct counter **counters,
                                       const struct claim_ref *claims, size_t n, unsigned share,
                                       int64_t now_us, unsigned *warned,
                                       struct refusal *refusal)
{
    *warned = 0;
    for (size_t i = 0; i < n; i++) {
        struct counter *c = counters[i];
        uint64_t limit = effective_limit(c, claims[i].limit, share, now_us);

        if (value_fits(c->spent, c->reserved, claims[i].amount, limit))
            continue;
        if (!claims[i].enforce) {
            *warned |= 1U << i;
            continue;
        }
        *warned = 0;
        *refusal = (struct refusal){
            .claim = (unsigned)i,
            .spent = share == 0 ? c->spent : value_add(c->spent, counter_mirror(c, now_us)),
            .reserved = c->reserved,
            .resets_in_us = counter_resets_in(c, claims[i].amount, limit, now_us),
        };
        return LIMIT_DENIED;
    }
    return LIMIT_OK;
}

static enum limit_verdict reserve_locked(struct limit_memory *m, const struct claim_ref *claims,
                                         size_t n, const uint64_t *hashes, unsigned share,
                                         int64_t now_us, struct held *h,
                                         struct refusal *refusal)
{
    struct counter *counters[LIMIT_CLAIMS_MAX];
    enum limit_verdict verdict = LIMIT_OK;
    size_t got = 0;

    while (got < n) {
        struct counter *c = table_get(&m->counters, &claims[got], hashes[got], now_us);

        if (!c) {
            verdict = LIMIT_UNAVAILABLE;
            break;
        }
        c->refs++; /* a later claim's sweep must not take it */
        if (claims[got].is_new)
            c->noted = atomic_load(&m->noted);
        counters[got++] = c;
    }
    if (verdict == LIMIT_OK)
        verdict = claims_check(counters, claims, n, share, now_us, &h->warned, refusal);
    if (verdict != LIMIT_OK) {
        while (got-- > 0)
            counter_unref(m, counters[got]);
        return verdict;
    }
    for (size_t i = 0; i < n; i++) {
        counter_reserve(counters[i], claims[i].amount, h->started_us);
        h->claims[i] = (struct held_claim){counters[i], claims[i].amount, claims[i].unit};
    }
    return LIMIT_OK;
}

/* started_us 0: now, until LIMIT_DEADLINE_S; else the start of what is kept LIMIT_HOLD_S. */
static enum limit_verdict reserve_from(struct limit_memory *m, const struct uuid *id,
                                       const struct claim_ref *claims, size_t n, unsigned share,
                                       int64_t started_us, unsigned *warned,
                                       struct refusal *refusal)
{
    int64_t now_us = clock_mono_us();
    uint64_t hashes[LIMIT_CLAIMS_MAX], hash = id_hash(id), set;
    struct held_shard *s = &m->held[shard_of(hash)];
    enum limit_verdict verdict = LIMIT_OK;
    struct held *h;

    memory_sweep(m, now_us);
    set = shards_of_claims(claims, n, hashes);
    pthread_mutex_lock(&s->lock);
    h = *held_place(s, id, hash);
    if (h) {
        *warned = h->warned;
        goto out;
    }
    h = xcalloc(1, sizeof(*h) + n * sizeof(h->claims[0]));
    list_init(&h->due);
    h->id = *id;
    h->n = n;
    h->is_kept = started_us > 0;
    h->started_us = h->is_kept ? started_us : now_us;
    h->ends_us = now_us + (h->is_kept ? LIMIT_HOLD_S : LIMIT_DEADLINE_S) * US_PER_SECOND;
    table_lock(&m->counters, set);
    verdict = reserve_locked(m, claims, n, hashes, share, now_us, h, refusal);
    table_unlock(&m->counters, set);
    *warned = h->warned;
    if (verdict == LIMIT_OK) {
        held_insert(s, h, hash);
        earliest_lower(m, h->ends_us);
    } else {
        free(h);
    }
out:
    pthread_mutex_unlock(&s->lock);
    return verdict;
}

enum limit_verdict memory_reserve(struct limit_memory *m, const struct uuid *id,
                                  const struct claim_ref *claims, size_t n, unsigned share,
                                  unsigned *warned, struct refusal *refusal)
{
    return reserve_from(m, id, claims, n, share, 0, warned, refusal);
}

void memory_hold(struct limit_memory *m, const struct uuid *id, const struct claim_ref *claims,
                 size_t n, int64_t started_us)
{
    struct refusal refusal;
    unsigned warned;

    (void)reserve_from(m, id, claims, n, 0, started_us, &warned, &refusal);
}

/* Nothing is held: the claims themselves say where it is spent. */
static void settle_unknown(struct limit_memory *m, const struct claim_ref *claims, size_t n,
                           const struct limit_amounts *actual, int64_t started_us,
                           int64_t now_us)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = limit_hash(claims[i].key),
                 amount = value_settled(actual, claims[i].unit);
        uint64_t set = UINT64_C(1) << shard_of(hash);
        struct counter *c;

        if (amount == 0)
            continue;
        table_lock(&m->counters, set);
        c = table_get(&m->counters, &claims[i], hash, now_us);
        if (c)
            counter_spend(c, amount, started_us);
        table_unlock(&m->counters, set);
    }
}

static void settle_held(struct limit_memory *m, struct held *h,
                        const struct limit_amounts *actual, int64_t now_us)
{
    uint64_t set = shards_of_held(h);

    table_lock(&m->counters, set);
    for (size_t i = 0; i < h->n; i++) {
        struct held_claim *c = &h->claims[i];

        counter_roll(c->counter, now_us);
        if (!h->is_expired)
            counter_release(c->counter, c->amount, h->started_us);
        else if (c->unit != UNIT_CONCURRENT)
            counter_unspend(c->counter, c->amount, h->started_us);
        counter_spend(c->counter, value_settled(actual, c->unit), h->started_us);
        counter_unref(m, c->counter);
    }
    table_unlock(&m->counters, set);
}

bool memory_settle(struct limit_memory *m, const struct uuid *id,
                   const struct claim_ref *claims, size_t n, const struct limit_amounts *actual,
                   int64_t started_us)
{
    int64_t now_us = clock_mono_us();
    uint64_t hash = id_hash(id);
    struct held_shard *s = &m->held[shard_of(hash)];
    struct held **at;
    bool is_held;

    memory_sweep(m, now_us);
    pthread_mutex_lock(&s->lock);
    at = held_place(s, id, hash);
    is_held = *at != NULL;
    if (is_held) {
        settle_held(m, *at, actual, now_us);
        held_remove(s, at);
    } else {
        settle_unknown(m, claims, n, actual, started_us, now_us);
    }
    pthread_mutex_unlock(&s->lock);
    return is_held;
}

static void keep_claim(struct limit_memory *m, const struct held_claim *c)
{
    uint64_t set = UINT64_C(1) << shard_of(c->counter->hash);

    table_lock(&m->counters, set);
    memory_keep(m, c->counter, c->amount);
    table_unlock(&m->counters, set);
}

static bool goes_by_redis(struct limit_memory *m, const struct held *h)
{
    uint64_t set = shards_of_held(h);
    bool is_noted = false;

    table_lock(&m->counters, set);
    for (size_t i = 0; i < h->n; i++)
        is_noted = is_noted || memory_is_noted(m, h->claims[i].counter);
    table_unlock(&m->counters, set);
    return !is_noted;
}

/* A work is not settled here: its worst case is kept. */
void memory_told(struct limit_memory *m, const struct uuid *id)
{
    static const struct limit_amounts nothing;
    uint64_t hash = id_hash(id);
    struct held_shard *s = &m->held[shard_of(hash)];
    int64_t now_us = clock_mono_us();
    struct held **at;

    memory_sweep(m, now_us);
    pthread_mutex_lock(&s->lock);
    at = held_place(s, id, hash);
    if (*at && (goes_by_redis(m, *at) || (*at)->is_kept)) {
        for (size_t i = 0; i < (*at)->n; i++)
            keep_claim(m, &(*at)->claims[i]);
        settle_held(m, *at, &nothing, now_us);
        held_remove(s, at);
    }
    pthread_mutex_unlock(&s->lock);
}

void memory_extend(struct limit_memory *m, const struct uuid *id)
{
    int64_t now_us = clock_mono_us();
    uint64_t hash = id_hash(id);
    struct held_shard *s = &m->held[shard_of(hash)];
    struct held *h;

    memory_sweep(m, now_us);
    pthread_mutex_lock(&s->lock);
    h = *held_place(s, id, hash);
    if (h && !h->is_expired && !h->is_kept) {
        h->ends_us = now_us + LIMIT_DEADLINE_S * US_PER_SECOND;
        list_remove(&h->due);
        list_push_back(&s->live, &h->due);
    }
    pthread_mutex_unlock(&s->lock);
}

void memory_size(struct limit_memory *m, size_t *counters, size_t *reservations)
{
    *counters = 0;
    *reservations = 0;
    for (int i = 0; i < HELD_SHARDS; i++) {
        pthread_mutex_lock(&m->held[i].lock);
        *reservations += m->held[i].n;
        pthread_mutex_unlock(&m->held[i].lock);
    }
    for (int i = 0; i < TABLE_SHARDS; i++) {
        pthread_mutex_lock(&m->counters.shards[i].lock);
        *counters += m->counters.shards[i].n;
        pthread_mutex_unlock(&m->counters.shards[i].lock);
    }
}
