/*
 * read_dearest.c - the dearest lines, by their costs in columns: what is sorted is hardly more
 * than what is asked for, and most blocks hold nothing of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_cube.h"

enum { DEAREST_MAX = 20000 }; /* lines; for more of them all are sorted */

struct dear {
    bool is_priced;
    money_int cost;
    int64_t end_us, seq;
};

struct dearest {
    struct dear *at; /* twice as many as are wanted */
    size_t n, wanted;
    bool is_full;      /* as many as are wanted were found */
    struct dear least; /* of them, then */
};

/* Dearest first, those without a price last; then the earliest. */
static int compare(const void *one, const void *other)
{
    const struct dear *a = one, *b = other;

    if (a->is_priced != b->is_priced)
        return a->is_priced ? -1 : 1;
    if (a->cost != b->cost)
        return a->cost > b->cost ? -1 : 1;
    if (a->end_us != b->end_us)
        return a->end_us < b->end_us ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

static void cut(struct dearest *d)
{
    qsort(d->at, d->n, sizeof(*d->at), compare);
    if (d->n < d->wanted)
        return;
    d->n = d->wanted;
    d->is_full = true;
    d->least = d->at[d->n - 1];
}

static void offer(struct dearest *d, const struct dear *one)
{
    if (d->is_full && compare(one, &d->least) > 0)
        return;
    d->at[d->n++] = *one;
    if (d->n == 2 * d->wanted)
        cut(d);
}

/* Some request of the block at hand may be among them. */
static bool may_hold(struct facts *f, const struct dearest *d)
{
    const money_int *cost;
    money_int most = 0;

    if (!d->is_full || !d->least.is_priced)
        return true;
    cost = facts_amount(f, FACT_COST);
    for (size_t i = 0; cost && i < f->n; i++)
        most = cost[i] > most ? cost[i] : most;
    return most >= d->least.cost;
}

/* Some request that is picked may be among them. */
static bool may_hold_picked(struct fact_pick *p, const struct dearest *d)
{
    const money_int *cost = facts_amount(&p->facts, FACT_COST);
    bool any = false;

    if (!d->is_full || !d->least.is_priced)
        return true;
    for (size_t i = 0; i < p->facts.n; i++)
        any |= p->row[i] != PICK_NONE && (cost ? cost[i] : 0) >= d->least.cost;
    return any;
}

static void take_block(struct fact_pick *p, struct dearest *d)
{
    struct facts *f = &p->facts;
    const int64_t *end = facts_number(f, FACT_END), *seq = facts_number(f, FACT_SEQ);
    const int64_t *flags = facts_number(f, FACT_FLAGS);
    const money_int *cost = facts_amount(f, FACT_COST);

    for (size_t i = 0; f->rc == RC_OK && i < f->n; i++) {
        const struct dear one = {.is_priced = flags && (flags[i] & FACT_IS_PRICED),
                                 .cost = cost ? cost[i] : 0,
                                 .end_us = end ? end[i] : 0,
                                 .seq = (seq ? seq[i] : 0) + (int64_t)i};

        if (p->row[i] != PICK_NONE)
            offer(d, &one);
    }
}

static enum rc find(struct answer *a, struct dearest *d, struct fail *fail)
{
    const struct ledger_filter *f = &a->q->filter;
    struct fact_pick *p = pick_open(a, f->from_us, f->to_us, true, fail);

    if (!p)
        return fail->rc;
    p->spares_combo = true;
    /* Conditions leave little: what they leave is looked at. Else the costs say more. */
    while (facts_next(&p->facts)) {
        if ((f->n_where || may_hold(&p->facts, d)) && pick_here(p) && may_hold_picked(p, d))
            take_block(p, d);
    }
    return pick_finish(p, RC_OK, fail);
}

bool read_dearest_can(const struct ledger_filter *f, uint64_t limit, uint64_t offset)
{
    bool can =
        limit > 0 && limit <= DEAREST_MAX && offset <= DEAREST_MAX - limit && !f->by_start;

    for (size_t i = 0; i < f->n_where; i++)
        can &= pick_knows(&f->where[i].field);
    return can;
}

enum rc read_dearest(struct ledger_reader *r, const struct ledger_filter *f, uint64_t limit,
                     uint64_t offset, ledger_line_fn *fn, void *arg, struct fail *fail)
{
    struct ledger_question q = {.filter = *f, .grain = PERIOD_TOTAL};
    struct dearest d = {.wanted = (size_t)(limit + offset)};
    struct answer a;
    enum rc rc = read_kept(r, f, f->from_us, f->to_us, fail);

    if (rc != RC_OK)
        return rc;
    d.at = xcalloc_wide(2 * d.wanted, sizeof(*d.at));
    answer_init(&a, r, &q);
    rc = answer_make_periods(&a, fail);
    if (rc == RC_OK && a.n_periods > 0)
        rc = find(&a, &d, fail);
    cut(&d);
    for (size_t i = (size_t)offset; rc == RC_OK && i < d.n; i++) {
        struct record record;

        rc = read_body(r, d.at[i].seq, &record, fail);
        if (rc == RC_OK && !fn((uint64_t)d.at[i].seq, &record, arg))
            break;
    }
    answer_free(&a);
    free(d.at);
    return rc;
}
