/*
 * limit_work.c - what was counted of a work whose result several requests may tell.
 *
 * A claim travels like a settlement: queued in order, kept until Redis has it.  Who waits
 * for its verdict waits at most the time of an admission; whoever gave up is told nothing,
 * but where the late verdict says that another process has counted too, that is logged.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/limits/limit_redis.h"

/* The claim's owner hears of it; the operation stays where it is. */
static void tell(struct work_claim *c, enum work_verdict verdict)
{
    list_remove(&c->queued);
    if (c->op)
        c->op->claim = NULL;
    c->op = NULL;
    c->verdict = verdict;
    if (c->wake)
        c->wake(c->arg);
}

void work_ask(struct redis_engine *e, struct work_claim *c)
{
    struct limit_op *op;

    if (!redis_engine_can_wait(e)) {
        c->verdict = WORK_AWAY;
        if (c->to == 0)
            return;
    }
    op = op_new(e, OP_CLAIM, &c->work, NULL, 0);
    op->from = c->from;
    op->to = c->to;
    if (!op_keep(e, op)) {
        c->verdict = WORK_AWAY;
        return;
    }
    if (c->verdict != WORK_PENDING)
        return;
    op->claim = c;
    c->op = op;
    list_push_back(&e->asking, &c->queued);
}

void work_answer(struct limit_op *op, bool is_mine)
{
    struct work_claim *c = op->claim;
    char id[UUID_TEXT];

    if (c) {
        c->known = op->known;
        c->others = op->others;
        tell(c, is_mine ? WORK_MINE : WORK_OTHERS);
    } else if (op->to > 0 && !is_mine) {
        uuid_format(&op->id, id);
        log_line(LOG_WARN, "limits", "an answer was counted by two nodes: redis was away",
                 "work=%s", id);
    }
}

void work_all_away(struct redis_engine *e)
{
    while (!list_is_empty(&e->asking))
        tell(LIST_OBJECT(e->asking.next, struct work_claim, queued), WORK_AWAY);
}

int64_t work_end_waits(struct redis_engine *e, int64_t now_us)
{
    while (!list_is_empty(&e->asking)) {
        struct work_claim *c = LIST_OBJECT(e->asking.next, struct work_claim, queued);

        if (now_us - c->started_us < e->timeout_us)
            return c->started_us + e->timeout_us;
        if (e->link.state == LINK_UP && e->replied_us < c->started_us)
            e->is_stalled = true; /* who asks next need not wait */
        stat_add(&e->timeouts, 1);
        tell(c, WORK_AWAY);
    }
    return INT64_MAX;
}

void limiter_claim_cancel(struct work_claim *c)
{
    if (c->verdict != WORK_PENDING)
        return;
    list_remove(&c->queued);
    if (c->op)
        c->op->claim = NULL;
    c->op = NULL;
    c->verdict = WORK_AWAY;
}
