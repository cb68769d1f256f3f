/*
 * read_rank_time.c - how long 19 of 20 requests of a row took at most, by nearest rank, where
 * days stand in order (read_rank.h).
 *
 * As with costs: first how many requests of each bucket a row has, then the milliseconds of those
 * in the one bucket that holds the rank.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_latency.h"
#include "metering/ledger/read_rank.h"

enum { TIMED_ROWS_MAX = 1 << 15 };

/* Of a row, or the total. */
struct timed {
    unsigned bucket;      /* that holds the rank */
    uint64_t rank;        /* within it, from 1; 0: there is none */
    size_t first, next, end; /* its part of ms */
};

struct timing {
    struct answer *a;
    uint32_t *count; /* by bucket, since days go by it, then row, the total last */
    struct timed *rows;
    uint32_t *ms; /* of the requests in those buckets */
};

static uint32_t *count_of(const struct timing *g, size_t row, unsigned bucket)
{
    return &g->count[(size_t)bucket * (g->a->n_rows + 1) + row];
}

/* ---- how many of each bucket -------------------------------------------------------------- */

static bool add(const struct fact_pick *p, const int64_t *bucket, const int64_t *n, void *arg)
{
    struct timing *g = arg;

    for (size_t i = 0; i < p->facts.n; i++) {
        if (bucket[i] > CUBE_TIME_BUCKETS)
            return false;
        if (p->row[i] != PICK_NONE)
            *count_of(g, (size_t)p->row[i], (unsigned)bucket[i] - 1) += (uint32_t)n[i];
    }
    return true;
}

/* fn for each request of the block at hand, one of columns. */
static void each_request(struct timing *g, struct fact_pick *p,
                         void (*fn)(struct timing *g, size_t row, uint32_t ms, struct facts *f))
{
    const int64_t *attempt = facts_number(&p->facts, FACT_ATTEMPT);
    const int64_t *us = facts_number(&p->facts, FACT_LATENCY);

    for (size_t i = 0; p->facts.rc == RC_OK && i < p->facts.n; i++) {
        if (p->row[i] != PICK_NONE && !(attempt && attempt[i] < 0))
            fn(g, (size_t)p->row[i], latency_ms(us ? us[i] : 0), &p->facts);
    }
}

static void count_one(struct timing *g, size_t row, uint32_t ms, struct facts *f)
{
    (void)f;
    ++*count_of(g, row, cube_time_bucket(ms));
}

static enum rc count_all(struct timing *g, int64_t from_us, int64_t to_us, struct fail *fail)
{
    /* No count wraps: there are LEDGER_LATENCIES_MAX requests at most. */
    struct rank_counting c = {.fn = add,
                              .arg = g,
                              .counts = {.rows = g->a->n_rows + 1,
                                         .buckets = CUBE_TIME_BUCKETS,
                                         .count = g->count}};
    struct fact_pick *p = pick_open(g->a, from_us, to_us, false, fail);

    if (!p)
        return fail->rc;
    p->spares_combo = true;
    ranks_count(p, CUBE_TIMES, from_us, to_us, &c);
    while (p->facts.rc == RC_OK && pick_next(p)) {
        g->a->fact_rows += p->n_picked;
        each_request(g, p, count_one);
    }
    return pick_finish(p, RC_OK, fail);
}

/* ---- which bucket each rank is in ------------------------------------------------------------ */

static enum rc aim(struct timing *g, size_t row, uint64_t requests, size_t *room,
                   struct fail *fail)
{
    struct timed *t = &g->rows[row];
    uint64_t n = 0, rank;

    for (unsigned b = 0; b < CUBE_TIME_BUCKETS; b++)
        n += *count_of(g, row, b);
    if (n != requests)
        return read_damaged(fail);
    t->first = t->next = t->end = *room;
    if (n == 0)
        return RC_OK;
    rank = (n * 95 + 99) / 100;
    while (rank > *count_of(g, row, t->bucket))
        rank -= *count_of(g, row, t->bucket++);
    t->rank = rank;
    t->end += *count_of(g, row, t->bucket);
    *room = t->end;
    return RC_OK;
}

static enum rc aim_all(struct timing *g, struct fail *fail)
{
    const struct answer *a = g->a;
    size_t room = 0;
    enum rc rc = RC_OK;

    for (unsigned b = 0; b < CUBE_TIME_BUCKETS; b++) {
        for (size_t i = 0; i < a->n_rows; i++)
            *count_of(g, a->n_rows, b) += *count_of(g, i, b);
    }
    for (size_t i = 0; rc == RC_OK && i < a->n_rows; i++)
        rc = aim(g, i, a->rows[i].sums.requests, &room, fail);
    if (rc == RC_OK && a->n_rest == 0)
        rc = aim(g, a->n_rows, a->total.sums.requests, &room, fail);
    g->ms = xmalloc((room + 1) * sizeof(*g->ms));
    return rc;
}

/* ---- the milliseconds of those ------------------------------------------------------------- */

static void put(struct timing *g, size_t row, unsigned bucket, uint32_t ms, struct facts *f)
{
    struct timed *t = &g->rows[row];

    if (t->rank == 0 || t->bucket != bucket)
        return;
    if (t->next == t->end)
        f->rc = read_damaged(&f->fail);
    else
        g->ms[t->next++] = ms;
}

static void put_one(struct timing *g, size_t row, uint32_t ms, struct facts *f)
{
    unsigned bucket = cube_time_bucket(ms);

    put(g, row, bucket, ms, f);
    put(g, g->a->n_rows, bucket, ms, f);
}

static bool put_block(struct fact_pick *p, void *arg)
{
    struct timing *g = arg;
    const int64_t *ms = facts_number(&p->facts, FACT_LATENCY);
    const int64_t *bucket = facts_number(&p->facts, FACT_BUCKET);

    for (size_t i = 0; p->facts.rc == RC_OK && i < p->facts.n; i++) {
        uint32_t value = (uint32_t)(ms ? ms[i] : 0);
        unsigned at = (unsigned)bucket[i] - 1;

        if (p->row[i] == PICK_NONE)
            continue;
        put(g, (size_t)p->row[i], at, value, &p->facts);
        put(g, g->a->n_rows, at, value, &p->facts);
    }
    return p->facts.rc == RC_OK;
}

static enum rc put_all(struct timing *g, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct fact_pick *p = pick_open(g->a, from_us, to_us, false, fail);
    struct rank_buckets any = {{0}};

    if (!p)
        return fail->rc;
    p->spares_combo = true;
    for (size_t i = 0; i <= g->a->n_rows; i++) {
        if (g->rows[i].rank)
            rank_want(&any, g->rows[i].bucket + 1);
    }
    ranks_each_block(p, CUBE_TIMES, &any, from_us, to_us, put_block, g);
    while (p->facts.rc == RC_OK && pick_next(p)) {
        g->a->fact_rows += p->n_picked;
        each_request(g, p, put_one);
    }
    return pick_finish(p, RC_OK, fail);
}

static enum rc set_all(struct timing *g, struct fail *fail)
{
    struct answer *a = g->a;

    for (size_t i = 0; i <= a->n_rows; i++) {
        const struct timed *t = &g->rows[i];
        struct ledger_row *row = i < a->n_rows ? &a->rows[i] : &a->total;

        if (t->next != t->end)
            return read_damaged(fail);
        row->has_latency = t->rank > 0;
        if (t->rank)
            row->p95_latency_ms =
                latency_nth(g->ms + t->first, t->end - t->first, t->rank - 1);
    }
    return RC_OK;
}

enum rc answer_can_rank_times(struct answer *a, int64_t from_us, int64_t to_us, bool *can,
                              struct fail *fail)
{
    enum rc rc = ranks_can(a, can, fail);

    *can = rc == RC_OK && *can && a->n_rows <= TIMED_ROWS_MAX &&
           a->total.sums.requests <= LEDGER_LATENCIES_MAX &&
           ranks_any(a, CUBE_TIMES, from_us, to_us);
    return rc;
}

enum rc answer_ranked_times(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct timing g = {.a = a};
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);

    g.count = xcalloc_wide(a->n_rows + 1, CUBE_TIME_BUCKETS * sizeof(*g.count));
    g.rows = xcalloc_wide(a->n_rows + 1, sizeof(*g.rows));
    if (rc == RC_OK)
        rc = count_all(&g, from_us, to_us, fail);
    if (rc == RC_OK)
        rc = aim_all(&g, fail);
    if (rc == RC_OK)
        rc = put_all(&g, from_us, to_us, fail);
    if (rc == RC_OK)
        rc = set_all(&g, fail);
    free(g.count);
    free(g.rows);
    free(g.ms);
    return rc;
}
