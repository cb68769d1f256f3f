/*
 * read_held.c - see read_held.h.
 *
 * How many requests each row has is known, and how many of these have a cost: so each row has its
 * part of one array of costs, and of one of milliseconds, in which its ranks are found.
 */
#include "metering/ledger/read_held.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_latency.h"

static const unsigned percents[LEDGER_PERCENTILES] = {
    [LEDGER_P50] = 50, [LEDGER_P90] = 90, [LEDGER_P95] = 95, [LEDGER_P99] = 99};

/* A row's part of the arrays. */
struct part {
    size_t cost, next_cost, end_cost;
    size_t ms, next_ms, end_ms;
};

struct holding {
    struct answer *a;
    bool has_times, has_corrections;
    struct part *parts;
    struct money *cost;
    uint32_t *ms;
    /* Of the block at hand: places of the requests in rows, and their values. */
    uint16_t at[FACT_BLOCK];
    int64_t number[FACT_BLOCK], attempt[FACT_BLOCK];
    money_int amount[FACT_BLOCK];
};

/* False where they are more than may be held. */
static bool make_room(struct holding *h)
{
    const struct answer *a = h->a;
    uint64_t costs = 0, times = 0;

    h->parts = xcalloc(a->n_rows + 1, sizeof(*h->parts));
    for (size_t i = 0; i < a->n_rows; i++) {
        const struct ledger_sums *s = &a->rows[i].sums;
        struct part *p = &h->parts[i];

        p->cost = p->next_cost = (size_t)costs;
        p->ms = p->next_ms = (size_t)times;
        if (s->priced > LEDGER_VALUES_MAX - costs || s->requests > LEDGER_LATENCIES_MAX - times)
            return false;
        costs += s->priced;
        times += h->has_times ? s->requests : 0;
        p->end_cost = (size_t)costs;
        p->end_ms = (size_t)times;
    }
    h->cost = xmalloc((size_t)(costs + 1) * sizeof(*h->cost));
    h->ms = xmalloc((size_t)(times + 1) * sizeof(*h->ms));
    return true;
}

/* ---- taking ------------------------------------------------------------------------------- */

static void damaged(struct fact_pick *p)
{
    p->facts.rc = read_damaged(&p->facts.fail);
}

/* Places of the requests that have a bucket: those with a cost. */
static size_t with_cost(struct holding *h, struct fact_pick *p, size_t n, uint16_t *out)
{
    size_t found = 0;

    facts_pick_number(&p->facts, FACT_BUCKET, h->at, n, h->number);
    for (size_t k = 0; k < n; k++) {
        out[found] = h->at[k];
        found += h->number[k] > 0;
    }
    return found;
}

static void take_costs(struct holding *h, struct fact_pick *p, size_t n_picked)
{
    uint16_t at[FACT_BLOCK];
    size_t n = with_cost(h, p, n_picked, at);

    if (n > 0)
        facts_pick_amount(&p->facts, FACT_COST, at, n, h->amount);
    for (size_t k = 0; p->facts.rc == RC_OK && k < n; k++) {
        struct part *part = &h->parts[p->row[at[k]]];

        if (part->next_cost == part->end_cost)
            damaged(p);
        else
            h->cost[part->next_cost++].atto = h->amount[k];
    }
}

/* Corrections have none. */
static void take_times(struct holding *h, struct fact_pick *p, size_t n)
{
    if (h->has_corrections)
        facts_pick_number(&p->facts, FACT_ATTEMPT, h->at, n, h->attempt);
    facts_pick_number(&p->facts, FACT_LATENCY, h->at, n, h->number);
    for (size_t k = 0; p->facts.rc == RC_OK && k < n; k++) {
        struct part *part = &h->parts[p->row[h->at[k]]];

        if (h->has_corrections && h->attempt[k] < 0)
            continue;
        if (part->next_ms == part->end_ms)
            damaged(p);
        else
            h->ms[part->next_ms++] = latency_ms(h->number[k]);
    }
}

static void take_block(struct holding *h, struct fact_pick *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->facts.n; i++) {
        h->at[n] = (uint16_t)i;
        n += p->row[i] != PICK_NONE;
    }
    h->a->fact_rows += n;
    take_costs(h, p, n);
    if (h->has_times)
        take_times(h, p, n);
}

static enum rc take_all(struct holding *h, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct fact_pick *p = pick_open(h->a, from_us, to_us, false, fail);

    if (!p)
        return fail->rc;
    p->spares_combo = true;
    while (p->facts.rc == RC_OK && pick_next(p))
        take_block(h, p);
    return pick_finish(p, RC_OK, fail);
}

/* ---- choosing ----------------------------------------------------------------------------- */

static void choose_costs(struct money *cost, size_t n, struct ledger_row *row)
{
    enum { FEW = 1024 };
    size_t places[LEDGER_PERCENTILES];

    _Static_assert((int)LEDGER_PERCENTILES <= (int)MONEY_PLACES_MAX, "all at once");
    for (unsigned p = 0; n > 0 && p < LEDGER_PERCENTILES; p++) {
        places[p] = (size_t)(((uint64_t)n * percents[p] + 99) / 100 - 1);
        if (n <= FEW)
            row->percentile[p] = ledger_money_nth(cost, n, places[p]);
    }
    if (n > FEW)
        ledger_money_places(cost, n, places, LEDGER_PERCENTILES, row->percentile);
}

static void choose_time(uint32_t *ms, size_t n, struct ledger_row *row)
{
    row->has_latency = n > 0;
    if (n > 0)
        row->p95_latency_ms = latency_nth(ms, n, ((uint64_t)n * 95 + 99) / 100 - 1);
}

static enum rc choose_all(struct holding *h, struct fail *fail)
{
    struct answer *a = h->a;
    const struct part *last = a->n_rows ? &h->parts[a->n_rows - 1] : &h->parts[0];

    for (size_t i = 0; i < a->n_rows; i++) {
        const struct part *p = &h->parts[i];

        if (p->next_cost != p->end_cost || p->next_ms != p->end_ms)
            return read_damaged(fail);
        choose_costs(h->cost + p->cost, p->end_cost - p->cost, &a->rows[i]);
        choose_time(h->ms + p->ms, p->end_ms - p->ms, &a->rows[i]);
    }
    if (a->n_rest > 0)
        return RC_OK;
    choose_costs(h->cost, last->end_cost, &a->total);
    choose_time(h->ms, last->end_ms, &a->total);
    return RC_OK;
}

enum rc answer_held_percentiles(struct answer *a, int64_t from_us, int64_t to_us,
                                struct fail *fail)
{
    struct holding *h = xcalloc(1, sizeof(*h));
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);

    h->a = a;
    h->has_times = a->q->want & LEDGER_WANT_LATENCY &&
                   a->total.sums.requests <= LEDGER_LATENCIES_MAX;
    h->has_corrections = a->total.sums.corrections > 0;
    if (rc == RC_OK && !make_room(h))
        rc = read_too_many(fail, "hold that many costs: ask for fewer requests");
    if (rc == RC_OK)
        rc = take_all(h, from_us, to_us, fail);
    if (rc == RC_OK)
        rc = choose_all(h, fail);
    free(h->parts);
    free(h->cost);
    free(h->ms);
    free(h);
    return rc;
}
