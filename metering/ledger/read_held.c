/*
 * read_held.c - see read_held.h.
 *
 * Several threads (read_crew.h) take the costs and times of the requests in rows.  Where other rows
 * were left out, one column says of most requests that they are in none (read_narrow.h).  How many
 * requests each row has is known, and how many of these have a cost: so each row has its part of one
 * array of costs, and of one of milliseconds, in which its ranks are found.
 */
#include "metering/ledger/read_held.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_latency.h"
#include "metering/ledger/read_narrow.h"

static const unsigned percents[LEDGER_PERCENTILES] = {
    [LEDGER_P50] = 50, [LEDGER_P90] = 90, [LEDGER_P95] = 95, [LEDGER_P99] = 99};

/* A row's part of the arrays. */
struct part {
    size_t cost, next_cost, end_cost;
    size_t ms, next_ms, end_ms;
};

/* A request of a row. */
struct held {
    money_int cost;
    int32_t row;
    uint32_t ms;
    bool has_cost, has_time;
};

/* What one thread takes. */
struct taking {
    struct fact_pick *p;
    struct held_rows rows;
    struct held *held;
    size_t n, cap;
    /* Of the block at hand: places that may be in a row, and their values. */
    uint16_t at[FACT_BLOCK];
    int64_t bucket[FACT_BLOCK], us[FACT_BLOCK], attempt[FACT_BLOCK];
    money_int cost[FACT_BLOCK];
    struct fact_place place;
};

struct holding {
    struct answer *a;
    bool has_times, has_corrections;
    struct narrow narrow;
    struct fact_pick *p; /* the asker's */
    struct crew_pieces pieces;
    struct taking *taking[CREW_MAX];

    struct part *parts; /* by row */
    struct money *cost;
    uint32_t *ms;
    size_t n_costs, n_times;
};

/* False where they are more than may be held. */
static bool make_room(struct holding *h)
{
    const struct answer *a = h->a;
    uint64_t costs = 0, times = 0;

    h->parts = xcalloc_wide(a->n_rows + 1, sizeof(*h->parts));
    for (size_t i = 0; i < a->n_rows; i++) {
        const struct ledger_sums *s = &a->rows[i].sums;
        struct part *p = &h->parts[i];

        p->cost = p->next_cost = (size_t)costs;
        p->ms = p->next_ms = (size_t)times;
        if (s->priced > LEDGER_VALUES_MAX - costs || s->requests > LEDGER_VALUES_MAX - times)
            return false;
        costs += s->priced;
        times += h->has_times ? s->requests : 0;
        p->end_cost = (size_t)costs;
        p->end_ms = (size_t)times;
    }
    h->n_costs = (size_t)costs;
    h->n_times = (size_t)times;
    h->cost = xmalloc((h->n_costs + 1) * sizeof(*h->cost));
    h->ms = xmalloc((h->n_times + 1) * sizeof(*h->ms));
    return true;
}

/* ---- which row ------------------------------------------------------------------------------ */

static int32_t find_row(struct fact_pick *p, uint32_t number)
{
    struct strv values[LEDGER_GROUP_MAX];
    uint32_t group;
    int64_t period;
    enum rc rc;

    pick_group(p, number, &group, &period);
    rc = pick_group_values(p, group, values, &p->facts.fail);
    if (rc != RC_OK) {
        p->facts.rc = rc;
        return PICK_NONE;
    }
    return (int32_t)answer_find_row(p->answer, values, period);
}

void held_rows_grow(struct held_rows *rows, size_t n)
{
    size_t cap = rows->cap ? rows->cap : 1024;

    if (n <= rows->cap)
        return;
    while (cap < n)
        cap *= 2;
    rows->of = xrealloc(rows->of, cap * sizeof(*rows->of));
    for (size_t i = rows->cap; i < cap; i++)
        rows->of[i] = PICK_NEW;
    rows->cap = cap;
}

size_t held_rows_find(struct held_rows *rows, struct fact_pick *p)
{
    size_t n = 0;

    held_rows_grow(rows, pick_numbers(p));
    for (size_t i = 0; i < p->facts.n; i++) {
        int32_t number = p->row[i];

        if (number == PICK_NONE)
            continue;
        if (rows->of[number] == PICK_NEW)
            rows->of[number] = find_row(p, (uint32_t)number);
        p->row[i] = rows->of[number];
        n += p->row[i] != PICK_NONE;
    }
    return n;
}

/* ---- costs and times of a block ------------------------------------------------------------- */

static void read_values(const struct holding *h, struct taking *t, size_t n)
{
    struct facts *f = &t->p->facts;

    facts_pick_number(f, FACT_BUCKET, t->at, n, t->bucket);
    facts_pick_amount(f, FACT_COST, t->at, n, t->cost);
    if (h->has_times)
        facts_pick_number(f, FACT_LATENCY, t->at, n, t->us);
    if (h->has_times && h->has_corrections)
        facts_pick_number(f, FACT_ATTEMPT, t->at, n, t->attempt);
}

/* What has a bucket has a cost; corrections have no time. */
static void keep(const struct holding *h, struct taking *t, size_t k, int32_t row)
{
    const struct ledger_sums *all = &h->a->total.sums;
    bool is_correction = h->has_times && h->has_corrections && t->attempt[k] < 0;

    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : FACT_BLOCK;
        t->held = xrealloc(t->held, t->cap * sizeof(*t->held));
    }
    t->held[t->n++] = (struct held){.cost = t->cost[k],
                                    .row = row,
                                    .ms = h->has_times ? latency_ms(t->us[k]) : 0,
                                    .has_cost = t->bucket[k] > 0,
                                    .has_time = h->has_times && !is_correction};
    if (t->n > all->requests + all->corrections) /* in a ledger that is whole they are no more */
        t->p->facts.rc = read_damaged(&t->p->facts.fail);
}

/* Values first: then rows of these requests alone are looked for. */
static void take_narrow(const struct holding *h, struct taking *t, size_t n)
{
    struct fact_pick *p = t->p;

    read_values(h, t, n);
    narrow_block(p, t->at, n, &t->place);
    if (p->facts.rc != RC_OK || !pick_here(p))
        return;
    (void)held_rows_find(&t->rows, p);
    for (size_t k = 0; k < n && p->facts.rc == RC_OK; k++) {
        if (p->row[k] != PICK_NONE)
            keep(h, t, k, p->row[k]);
    }
}

static void take_whole(const struct holding *h, struct taking *t)
{
    struct fact_pick *p = t->p;
    size_t n = 0;

    if (!pick_here(p))
        return;
    (void)held_rows_find(&t->rows, p);
    for (size_t i = 0; i < p->facts.n; i++) {
        t->at[n] = (uint16_t)i;
        n += p->row[i] != PICK_NONE;
    }
    if (n > 0 && p->facts.rc == RC_OK)
        read_values(h, t, n);
    for (size_t k = 0; k < n && p->facts.rc == RC_OK; k++)
        keep(h, t, k, p->row[t->at[k]]);
}

static void take_blocks(const struct holding *h, struct taking *t)
{
    struct facts *f = &t->p->facts;

    while (f->rc == RC_OK && facts_next(f)) {
        bool all;
        size_t n = narrow_places(&h->narrow, f, t->at, &all);

        if (all)
            take_whole(h, t);
        else if (n > 0)
            take_narrow(h, t, n);
        f->place = NULL;
    }
}

/* ---- by several threads --------------------------------------------------------------------- */

static struct taking *taking_new(struct fact_pick *p)
{
    struct taking *t = xcalloc(1, sizeof(*t));

    t->p = p;
    return t;
}

/* The pick is the asker's for member 0. */
static void taking_free(struct taking *t, bool is_askers)
{
    if (!t)
        return;
    if (!is_askers)
        pick_close(t->p);
    free(t->rows.of);
    free(t->held);
    free(t);
}

static void release(struct holding *h)
{
    for (size_t i = 0; i < CREW_MAX; i++) {
        taking_free(h->taking[i], i == 0);
        h->taking[i] = NULL;
    }
}

static void take_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct holding *h = arg;
    struct taking *t = taking_new(member == 0 ? h->p : pick_beside(h->p, r));

    h->taking[member] = t;
    facts_take_from(&t->p->facts, &h->pieces);
    take_blocks(h, t);
    if (member > 0)
        return;
    facts_go_to(&t->p->facts, facts_stored(r));
    take_blocks(h, t);
}

static bool is_whole(const struct holding *h)
{
    bool whole = true;

    for (size_t i = 0; i < CREW_MAX; i++)
        whole &= !h->taking[i] || h->taking[i]->p->facts.rc == RC_OK;
    return whole;
}

static enum rc take_all(struct holding *h, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct ledger_reader *r = h->a->reader;
    size_t members;

    h->p = pick_open(h->a, from_us, to_us, false, fail);
    if (!h->p)
        return fail->rc;
    h->p->spares_combo = h->p->by_number = true;
    members = crew_size(r, facts_within(&h->p->facts));
    if (members > 1) {
        crew_cut(&h->pieces, facts_stored(r), members);
        crew_run(r, members, take_as, h);
    }
    if (members == 1 || !is_whole(h)) { /* as if there had been no other */
        release(h);
        h->p->facts.rc = RC_OK;
        facts_go_to(&h->p->facts, 0);
        h->taking[0] = taking_new(h->p);
        take_blocks(h, h->taking[0]);
    }
    return pick_finish(h->p, RC_OK, fail);
}

/* Each to the part of its row. */
static enum rc put_all(struct holding *h, struct fail *fail)
{
    for (size_t i = 0; i < CREW_MAX; i++) {
        const struct taking *t = h->taking[i];

        for (size_t k = 0; t && k < t->n; k++) {
            const struct held *v = &t->held[k];
            struct part *p = &h->parts[v->row];

            if ((v->has_cost && p->next_cost == p->end_cost) ||
                (v->has_time && p->next_ms == p->end_ms))
                return read_damaged(fail);
            if (v->has_cost)
                h->cost[p->next_cost++].atto = v->cost;
            if (v->has_time)
                h->ms[p->next_ms++] = v->ms;
        }
        h->a->fact_rows += t ? t->n : 0;
    }
    for (size_t i = 0; i < h->a->n_rows; i++) {
        const struct part *p = &h->parts[i];

        if (p->next_cost != p->end_cost || p->next_ms != p->end_ms)
            return read_damaged(fail);
    }
    return RC_OK;
}

/* ---- choosing ------------------------------------------------------------------------------- */

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

static void choose_all(struct holding *h)
{
    struct answer *a = h->a;

    for (size_t i = 0; i < a->n_rows; i++) {
        const struct part *p = &h->parts[i];

        choose_costs(h->cost + p->cost, p->end_cost - p->cost, &a->rows[i]);
        choose_time(h->ms + p->ms, p->end_ms - p->ms, &a->rows[i]);
    }
    if (a->n_rest > 0)
        return;
    choose_costs(h->cost, h->n_costs, &a->total);
    choose_time(h->ms, h->n_times, &a->total);
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
        rc = narrow_begin(&h->narrow, a, fail);
    if (rc == RC_OK)
        rc = take_all(h, from_us, to_us, fail);
    if (rc == RC_OK)
        rc = put_all(h, fail);
    if (rc == RC_OK)
        choose_all(h);
    release(h);
    narrow_end(&h->narrow);
    free(h->parts);
    free(h->cost);
    free(h->ms);
    free(h);
    return rc;
}
