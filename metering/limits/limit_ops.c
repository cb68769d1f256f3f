#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/limits/limit_redis.h"

enum { KEY_SLOTS_FIRST = 64 };

static void keys_grow(struct redis_engine *e)
{
    size_t size = e->keys_size ? e->keys_size * 2 : KEY_SLOTS_FIRST;
    struct counter_key **slots = xcalloc(size, sizeof(*slots));

    for (size_t i = 0; i < e->keys_size; i++) {
        while (e->keys[i]) {
            struct counter_key *key = e->keys[i];

            e->keys[i] = key->next;
            key->next = slots[key->hash & (size - 1)];
            slots[key->hash & (size - 1)] = key;
        }
    }
    free(e->keys);
    e->keys = slots;
    e->keys_size = size;
}

struct counter_key *key_find(struct redis_engine *e, struct strv text, uint64_t hash)
{
    struct counter_key *key;

    if (e->keys_size == 0)
        return NULL;
    for (key = e->keys[hash & (e->keys_size - 1)]; key; key = key->next) {
        if (key->hash == hash && strv_eq(strv_make(key->text, key->n), text))
            return key;
    }
    return NULL;
}

struct counter_key *key_ref(struct redis_engine *e, const struct claim_ref *claim)
{
    uint64_t hash = limit_hash(claim->key);
    struct counter_key *key = key_find(e, claim->key, hash);

    if (key) {
        key->refs++;
        return key;
    }
    if (e->n_keys >= e->keys_size)
        keys_grow(e);
    key = xcalloc(1, sizeof(*key) + claim->key.n);
    key->hash = hash;
    key->refs = 1;
    key->shape = claim->shape;
    key->n = claim->key.n;
    memcpy(key->text, claim->key.p, claim->key.n);
    key->next = e->keys[hash & (e->keys_size - 1)];
    e->keys[hash & (e->keys_size - 1)] = key;
    e->n_keys++;
    return key;
}

void key_unref(struct redis_engine *e, struct counter_key *key)
{
    struct counter_key **at = &e->keys[key->hash & (e->keys_size - 1)];

    if (--key->refs > 0)
        return;
    while (*at != key)
        at = &(*at)->next;
    *at = key->next;
    e->n_keys--;
    free(key);
}

struct limit_op *op_new(struct redis_engine *e, enum op_type type, const struct uuid *id,
                        const struct claim_ref *claims, size_t n)
{
    struct limit_op *op = xcalloc(1, sizeof(*op) + n * sizeof(op->claims[0]));

    list_init(&op->node);
    op->type = type;
    op->id = *id;
    op->started_us = clock_mono_us();
    op->n = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        op->claims[i] = (struct op_claim){
            .key = key_ref(e, &claims[i]),
            .amount = claims[i].amount,
            .limit = claims[i].limit,
            .unit = claims[i].unit,
            .enforce = claims[i].enforce,
        };
    }
    return op;
}

void op_free(struct redis_engine *e, struct limit_op *op)
{
    if (op->a)
        op->a->op = NULL;
    if (op->type == OP_LEASE)
        lease_forget_op(op);
    if (op->claim)
        op->claim->op = NULL;
    if (op->is_untold)
        untold_done(e);
    list_remove(&op->node);
    for (unsigned i = 0; i < op->n; i++)
        key_unref(e, op->claims[i].key);
    free(op);
}

/* What an operation holds at most; keys are shared, so it may be less. */
static size_t op_size(const struct limit_op *op)
{
    size_t n = sizeof(*op) + op->n * sizeof(op->claims[0]);

    for (unsigned i = 0; i < op->n; i++)
        n += sizeof(struct counter_key) + op->claims[i].key->n;
    return n;
}

bool op_keep(struct redis_engine *e, struct limit_op *op)
{
    if (e->unsettled_bytes + op_size(op) > LIMIT_UNSETTLED_MAX_BYTES) {
        stat_add(&e->lost, 1);
        op_free(e, op);
        return false;
    }
    e->unsettled_bytes += op_size(op);
    stat_add(&e->unsettled, 1);
    list_push_back(&e->queue, &op->node);
    return true;
}

void op_unkeep(struct redis_engine *e, const struct limit_op *op)
{
    if (op->type == OP_LEASE)
        stat_add(&e->unsettled, 0 - op->order.n_spent);
    if (op->type != OP_SETTLE && op->type != OP_FORCE && op->type != OP_CLAIM)
        return;
    ASSERT(e->unsettled_bytes >= op_size(op));
    e->unsettled_bytes -= op_size(op);
    stat_add(&e->unsettled, (uint64_t)-1);
}

struct batch *batch_new(struct redis_engine *e)
{
    struct batch *b = xcalloc(1, sizeof(*b));

    b->seq = e->next_seq++;
    list_init(&b->ops);
    while (b->n_ops < e->batch_max && !list_is_empty(&e->queue)) {
        struct limit_op *op = LIST_OBJECT(e->queue.next, struct limit_op, node);

        list_remove(&op->node);
        list_push_back(&b->ops, &op->node);
        op->is_sent = true;
        if (op->type == OP_FORCE && op->a) {
            op->a->op = NULL;
            op->a = NULL;
        }
        b->n_ops++;
        b->keys_max += op->n;
    }
    b->keys = xcalloc(b->keys_max, sizeof(struct counter_key *));
    list_push_back(&e->batches, &b->node);
    return b;
}

void batch_free(struct redis_engine *e, struct batch *b)
{
    LIST_FOREACH_SAFE (at, &b->ops)
        op_free(e, LIST_OBJECT(at, struct limit_op, node));
    list_remove(&b->node);
    free(b->keys);
    free(b);
}

void op_push_return(struct redis_engine *e, const struct uuid *id)
{
    struct limit_op *op = op_new(e, OP_SETTLE, id, NULL, 0);

    op->settled_us = clock_steady_us();
    op_keep(e, op);
}
