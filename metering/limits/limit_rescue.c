/*
 * limit_rescue.c - what runs in this process, for whoever makes lost counters anew.
 *
 * Redis lost what was reserved.  Each worker tells it again, but only at its next call; by then
 * another gateway might have been admitted to the room that it holds.  So whoever sets this
 * ledger's part (limit_rebuild.c) reserves for all that runs before it says that the part is in
 * order: workers leave here what they have, and find it reserved when they tell it themselves.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/limits/limit_redis.h"

struct limit_op *op_alone(enum op_type type, const struct uuid *id, const struct claim_ref *claims,
                          size_t n)
{
    struct limit_op *op = xcalloc(1, sizeof(*op) + n * sizeof(op->claims[0]));

    list_init(&op->node);
    op->type = type;
    op->id = *id;
    op->n = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        struct counter_key *key = xcalloc(1, sizeof(*key) + claims[i].key.n);

        key->shape = claims[i].shape;
        key->n = claims[i].key.n;
        memcpy(key->text, claims[i].key.p, claims[i].key.n);
        op->claims[i] = (struct op_claim){
            .key = key, .amount = claims[i].amount, .limit = claims[i].limit, .unit = claims[i].unit};
    }
    return op;
}

void op_alone_free(struct limit_op *op)
{
    list_remove(&op->node);
    for (unsigned i = 0; i < op->n; i++)
        free(op->claims[i].key);
    free(op);
}

void rescue_init(struct rescue *r)
{
    pthread_mutex_init(&r->lock, NULL);
    list_init(&r->ops);
}

void rescue_fini(struct rescue *r)
{
    rescue_clear(r);
    pthread_mutex_destroy(&r->lock);
}

void rescue_add(struct rescue *r, const struct uuid *id, const struct claim_ref *claims, size_t n,
                int64_t started_us, int64_t lasts_us)
{
    struct limit_op *op = op_alone(OP_FORCE, id, claims, n);

    op->started_us = started_us;
    op->lasts_us = lasts_us;
    pthread_mutex_lock(&r->lock);
    list_push_back(&r->ops, &op->node);
    pthread_mutex_unlock(&r->lock);
}

void rescue_take(struct rescue *r, struct list_node *out)
{
    pthread_mutex_lock(&r->lock);
    list_move(&r->ops, out);
    pthread_mutex_unlock(&r->lock);
}

void rescue_clear(struct rescue *r)
{
    struct list_node ops;

    rescue_take(r, &ops);
    LIST_FOREACH_SAFE (at, &ops)
        op_alone_free(LIST_OBJECT(at, struct limit_op, node));
}
