/*
 * limit_reply.c - what the script answered to a batch that it applied: verdicts, counters, and
 * who is told.
 */
#include "metering/limits/limit_redis.h"

#include <hiredis/hiredis.h>

int64_t reply_number(struct reply_numbers *n)
{
    const struct redisReply *element;

    if (n->at >= n->reply->elements) {
        n->is_bad = true;
        return 0;
    }
    element = n->reply->element[n->at++];
    if (element->type != REDIS_REPLY_INTEGER)
        n->is_bad = true;
    return element->integer;
}

static uint64_t next_amount(struct reply_numbers *n)
{
    int64_t billions = reply_number(n), rest = reply_number(n);

    if (billions < 0 || rest < 0)
        return 0;
    return value_add((uint64_t)billions * UINT64_C(1000000000), (uint64_t)rest);
}

/* Notes what the reply says of each reservation.  Those that nobody waits for any more and Redis
 * never had go to gone: they hold the batch's keys until it was read. */
static void read_verdicts(struct redis_engine *e, struct batch *b, struct reply_numbers *n,
                          struct list_node *gone)
{
    LIST_FOREACH_SAFE (at, &b->ops) {
        struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);
        int64_t code;

        if (op->type == OP_LEASE) {
            op->order.granted = next_amount(n);
            op->order.most = next_amount(n);
            continue;
        }
        if (op->type == OP_CLAIM) {
            op->answer = reply_number(n) == 1 ? REDIS_ADMITTED : REDIS_DENIED;
            op->known = (uint64_t)reply_number(n);
            op->others = (uint64_t)reply_number(n);
            continue;
        }
        if (op->type != OP_RESERVE)
            continue;
        code = reply_number(n);
        if (code == 0) {
            op->answer = REDIS_ADMITTED;
            op->warned = (unsigned)reply_number(n);
        } else if (code > 0 && code <= (int64_t)op->n) {
            op->answer = REDIS_DENIED;
            op->refusal.claim = (unsigned)code - 1;
            op->refusal.spent = next_amount(n);
            op->refusal.reserved = next_amount(n);
            op->refusal.resets_in_us = reply_number(n);
        } else if (code == -1) {
            /* The reply of the first time was lost, and it was not admitted then. */
            list_remove(&op->node);
            op->is_sent = false;
            if (op->a)
                list_push_front(&e->queue, &op->node);
            else
                list_push_back(gone, &op->node);
            continue;
        } else {
            n->is_bad = true;
        }
        if (n->is_bad)
            op->answer = REDIS_AWAY;
    }
}

void reply_counters(struct limit_memory *m, const struct batch *b, struct reply_numbers *n,
                    int64_t at_us, memory_mirror_fn *mirror)
{
    for (unsigned i = 0; i < b->n_keys && !n->is_bad; i++) {
        const struct counter_key *key = b->keys[i];
        int64_t billions = reply_number(n), rest = reply_number(n);

        if (billions >= 0 && rest >= 0)
            mirror(m, strv_make(key->text, key->n), &key->shape,
                   value_add((uint64_t)billions * UINT64_C(1000000000), (uint64_t)rest), at_us);
    }
}

/* Redis has what was counted here meanwhile. */
static void forget_local(struct redis_engine *e, const struct limit_op *op)
{
    if (op->type == OP_FORCE)
        memory_told(e->memory, &op->id);
    for (unsigned i = 0; op->type == OP_SETTLE && op->is_local && i < op->n; i++) {
        const struct counter_key *key = op->claims[i].key;

        memory_unspend(e->memory, strv_make(key->text, key->n),
                       value_settled(&op->actual, op->claims[i].unit), op->started_us);
    }
}

void reply_finish(struct redis_engine *e, struct batch *b, struct reply_numbers *n,
                  int64_t at_us)
{
    struct list_node gone;

    list_init(&gone);
    read_verdicts(e, b, n, &gone);
    reply_counters(e->memory, b, n, at_us, memory_mirror);
    LIST_FOREACH_SAFE (at, &gone)
        op_free(e, LIST_OBJECT(at, struct limit_op, node));
    list_remove(&b->node);
    LIST_FOREACH (at, &b->ops) {
        struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);

        op_unkeep(e, op);
        forget_local(e, op);
        if (op->type == OP_LEASE && !n->is_bad)
            lease_answer(e, op);
    }
    LIST_FOREACH (at, &b->ops) {
        struct limit_op *op = LIST_OBJECT(at, struct limit_op, node);
        struct admission *a = op->a;

        if (op->type == OP_CLAIM && !n->is_bad)
            work_answer(op, op->answer == REDIS_ADMITTED);
        if (!a)
            continue;
        op->a = NULL;
        a->op = NULL;
        list_remove(&a->queued);
        if (op->answer == REDIS_AWAY)
            op_push_return(e, &a->id);
        e->answer(e->arg, a, op->answer, op->warned, &op->refusal);
    }
    batch_free(e, b);
}
