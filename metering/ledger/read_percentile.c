/*
 * read_percentile.c - exact percentiles of cost per request, by nearest rank; beside them,
 * where it is asked for, that of their times (read_latency.c).
 *
 * The histograms already say in which bucket each rank falls.  One pass over the
 * requests collects the costs of just those buckets; sorted, they give the value.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_held.h"
#include "metering/ledger/read_latency.h"
#include "metering/ledger/read_rank.h"

static const unsigned percents[LEDGER_PERCENTILES] = {
    [LEDGER_P50] = 50, [LEDGER_P90] = 90, [LEDGER_P95] = 95, [LEDGER_P99] = 99};

enum { COLLECTING_ROWS_MAX = 4096 };

/* One bucket of one row: every cost that falls in it. */
struct pick {
    unsigned bucket;
    uint64_t rank; /* within the bucket, from 1 */
    uint64_t room; /* costs that the histogram has in it */
    struct money *values;
    size_t n, cap;
    int same_as; /* an earlier percentile of the row collects for this one too, or -1 */
};

struct picking {
    struct answer *answer;
    struct pick *picks; /* LEDGER_PERCENTILES a row; the total's are last */
    size_t held;
    unsigned char *collects; /* by row and bucket: a percentile, or none; NULL: too many rows */
    struct latencies *latencies; /* NULL: not asked for, or too many */
};

static void aim(const struct cost_histogram *h, struct pick *picks)
{
    for (unsigned p = 0; p < LEDGER_PERCENTILES; p++) {
        uint64_t below = 0;

        picks[p] = (struct pick){.same_as = -1};
        if (!cost_histogram_rank(h, percents[p], &picks[p].bucket))
            continue;
        for (unsigned b = 0; b < picks[p].bucket; b++)
            below += h->n[b];
        picks[p].rank = cost_histogram_nearest(h, percents[p]) - below;
        picks[p].room = h->n[picks[p].bucket];
        for (unsigned q = 0; q < p; q++) {
            if (picks[q].bucket == picks[p].bucket && picks[q].same_as < 0)
                picks[p].same_as = (int)q;
        }
    }
}

/* All of the bucket, mostly; a damaged ledger's histogram may say anything. */
static size_t first_room(const struct pick *pick)
{
    enum { ROOM_MAX = 1 << 20 };

    return pick->room > 0 && pick->room <= ROOM_MAX ? (size_t)pick->room : 16;
}

static enum rc take(struct picking *g, struct pick *pick, struct money cost, struct fail *fail)
{
    if (g->held == LEDGER_VALUES_MAX) {
        *fail = (struct fail){.rc = RC_LIMIT,
                              .doing = "hold that many costs: ask for fewer requests"};
        return RC_LIMIT;
    }
    if (pick->n == pick->cap) {
        pick->cap = pick->cap ? pick->cap * 2 : first_room(pick);
        pick->values = xrealloc(pick->values, pick->cap * sizeof(*pick->values));
    }
    pick->values[pick->n++] = cost;
    g->held++;
    return RC_OK;
}

/* A cost of a row, or of the total (row n_rows); of one bucket one pick collects, at most. */
static enum rc offer(struct picking *g, size_t row, struct money cost, unsigned bucket,
                     struct fail *fail)
{
    struct pick *picks = g->picks + row * LEDGER_PERCENTILES;

    if (g->collects) {
        unsigned char p = g->collects[row * HISTOGRAM_BUCKETS + bucket];

        return p < LEDGER_PERCENTILES ? take(g, &picks[p], cost, fail) : RC_OK;
    }
    for (unsigned p = 0; p < LEDGER_PERCENTILES; p++) {
        if (picks[p].bucket == bucket && picks[p].same_as < 0)
            return take(g, &picks[p], cost, fail);
    }
    return RC_OK;
}

/* Which pick of a row a bucket's costs are for, where rows are few. */
static void note_collecting(struct picking *g)
{
    size_t n = g->answer->n_rows + 1;

    if (n > COLLECTING_ROWS_MAX)
        return;
    g->collects = xmalloc(n * HISTOGRAM_BUCKETS);
    memset(g->collects, LEDGER_PERCENTILES, n * HISTOGRAM_BUCKETS);
    for (size_t i = 0; i < n * LEDGER_PERCENTILES; i++) {
        if (g->picks[i].rank > 0 && g->picks[i].same_as < 0)
            g->collects[i / LEDGER_PERCENTILES * HISTOGRAM_BUCKETS + g->picks[i].bucket] =
                (unsigned char)(i % LEDGER_PERCENTILES);
    }
}

static enum rc collect_latency(struct picking *g, const struct line *line, size_t row,
                               struct fail *fail)
{
    struct record record;
    enum rc rc = read_body(g->answer->reader, line->seq, &record, fail);

    return rc == RC_OK ? latencies_add(g->latencies, row, record.latency_us, fail) : rc;
}

static enum rc collect(const struct line *line, const struct combo *combo, void *arg,
                       struct fail *fail)
{
    struct picking *g = arg;
    struct answer *a = g->answer;
    struct ledger_row *row;
    struct money cost;
    bool has_cost = line->is_priced && (!line->is_correction || line->is_late_price);
    bool has_latency = g->latencies && !line->is_correction;
    unsigned bucket;
    enum rc rc;

    a->line_rows++;
    if (!has_cost && !has_latency)
        return RC_OK;
    rc = answer_row(a, line, combo, false, &row, fail);
    if (rc == RC_OK && row && has_latency)
        rc = collect_latency(g, line, (size_t)(row - a->rows), fail);
    if (rc != RC_OK || !row || !has_cost)
        return rc;
    rc = line_cost(a->reader, line, &cost, fail);
    if (rc != RC_OK)
        return rc;
    bucket = cost_histogram_bucket(cost);
    rc = offer(g, (size_t)(row - a->rows), cost, bucket, fail);
    if (rc == RC_OK)
        rc = offer(g, a->n_rows, cost, bucket, fail);
    return rc;
}

/* The same from facts. */
static enum rc collect_cost(size_t row, struct money cost, unsigned bucket, void *arg,
                            struct fail *fail)
{
    struct picking *g = arg;
    enum rc rc = offer(g, row, cost, bucket, fail);

    if (rc == RC_OK)
        rc = offer(g, g->answer->n_rows, cost, bucket, fail);
    return rc;
}

static enum rc collect_costs(struct picking *g, int64_t from_us, int64_t to_us,
                             struct fail *fail)
{
    size_t n = g->answer->n_rows + 1;
    uint16_t *wanted = xcalloc_wide(n * LEDGER_PERCENTILES, sizeof(*wanted));
    enum rc rc;

    for (size_t i = 0; i < n * LEDGER_PERCENTILES; i++) {
        if (g->picks[i].rank > 0)
            wanted[i] = (uint16_t)(g->picks[i].bucket + 1);
    }
    rc = answer_each_cost(g->answer, wanted, g->latencies, from_us, to_us, collect_cost, g, fail);
    free(wanted);
    return rc;
}

static enum rc choose(struct ledger_row *row, struct pick *picks, struct fail *fail)
{
    if (row->sums.priced == 0)
        return RC_OK;
    for (unsigned p = 0; p < LEDGER_PERCENTILES; p++) {
        const struct pick *from = picks[p].same_as >= 0 ? &picks[picks[p].same_as] : &picks[p];

        if (picks[p].rank == 0 || picks[p].rank > from->n)
            return read_damaged(fail);
        row->percentile[p] =
            ledger_money_nth(from->values, from->n, (size_t)picks[p].rank - 1);
    }
    return RC_OK;
}

/* The total's only where no row is left out. */
static enum rc find_costs(struct answer *a, struct latencies *latencies, int64_t from_us,
                          int64_t to_us, struct fail *fail)
{
    size_t n = a->n_rows + 1;
    struct picking g = {.answer = a,
                        .latencies = latencies,
                        .picks = xcalloc_wide(n * LEDGER_PERCENTILES, sizeof(*g.picks))};
    enum rc rc;

    for (size_t i = 0; i < a->n_rows; i++)
        aim(a->rows[i].histogram, g.picks + i * LEDGER_PERCENTILES);
    if (a->n_rest == 0)
        aim(a->total.histogram, g.picks + a->n_rows * LEDGER_PERCENTILES);
    note_collecting(&g);
    rc = a->can_use_facts ? collect_costs(&g, from_us, to_us, fail)
                          : scan_lines(a->reader, &a->q->filter, from_us, to_us, LINES_BY_END,
                                       collect, &g, fail);
    for (size_t i = 0; i < a->n_rows && rc == RC_OK; i++)
        rc = choose(&a->rows[i], g.picks + i * LEDGER_PERCENTILES, fail);
    if (rc == RC_OK && a->n_rest == 0)
        rc = choose(&a->total, g.picks + a->n_rows * LEDGER_PERCENTILES, fail);
    free(g.collects);
    for (size_t i = 0; i < n * LEDGER_PERCENTILES; i++)
        free(g.picks[i].values);
    free(g.picks);
    return rc;
}

/* Histograms, which no row has yet. */
static enum rc count_costs(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    unsigned want = a->want;
    enum rc rc = RC_OK;

    a->want = LEDGER_WANT_HISTOGRAM;
    for (size_t i = 0; rc == RC_OK && i < a->n_rows; i++)
        rc = answer_init_row(a, &a->rows[i], fail);
    if (rc == RC_OK)
        rc = answer_init_row(a, &a->total, fail);
    a->want = want;
    if (rc == RC_OK)
        rc = answer_add_histograms(a, from_us, to_us, fail);
    for (size_t i = 0; rc == RC_OK && i < a->n_rows; i++)
        cost_histogram_add(a->total.histogram, a->rows[i].histogram);
    return rc;
}

/* ---- costs and times, by two threads ------------------------------------------------------- */

struct both {
    struct answer *a, times; /* times: the same answer for the other thread */
    bool counts_first;       /* rows have no histograms yet */
    int64_t from_us, to_us;
    enum rc rc; /* of costs */
    struct fail *fail;
    bool has_times; /* they are found */
};

static void find_both_costs(struct both *b, struct latencies *latencies)
{
    b->rc = b->counts_first ? count_costs(b->a, b->from_us, b->to_us, b->fail) : RC_OK;
    if (b->rc == RC_OK)
        b->rc = find_costs(b->a, latencies, b->from_us, b->to_us, b->fail);
}

/* What fails is told by the asker, who finds times again. */
static void find_times_beside(struct both *b, struct ledger_reader *r)
{
    struct fail ignored;

    b->times.reader = r;
    facts_borrow_tail(r, b->a->reader);
    b->has_times = answer_ranked_times(&b->times, b->from_us, b->to_us, &ignored) == RC_OK;
    facts_return_tail(r);
}

static void find_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct both *b = arg;

    if (member == 0)
        find_both_costs(b, NULL);
    else
        find_times_beside(b, r);
}

/*
 * Both read what the answer has; each writes its own fields of the rows.  Which rows were near last
 * is noted by each for itself.
 */
static void find_both(struct both *b)
{
    struct answer *a = b->a, *t = &b->times;

    *t = *a;
    t->near = xmalloc((a->cap_near + 1) * sizeof(*t->near));
    if (a->cap_near > 0)
        memcpy(t->near, a->near, a->cap_near * sizeof(*t->near));
    t->cube_rows = t->fact_rows = 0;
    crew_run(a->reader, 2, find_as, b);
    free(t->near);
    if (!b->has_times)
        return;
    a->total.has_latency = t->total.has_latency;
    a->total.p95_latency_ms = t->total.p95_latency_ms;
    a->cube_rows += t->cube_rows;
    a->fact_rows += t->fact_rows;
}

static enum rc find_percentiles(struct answer *a, bool counts_first, struct fail *fail)
{
    struct both b = {.a = a, .counts_first = counts_first, .fail = fail};
    struct latencies *latencies = NULL;
    bool ranks_times = false;
    enum rc rc = RC_OK;

    filter_end_bounds(&a->q->filter, &b.from_us, &b.to_us);
    if (a->q->want & LEDGER_WANT_LATENCY) {
        rc = answer_can_rank_times(a, b.from_us, b.to_us, &ranks_times, fail);
        if (rc != RC_OK)
            return rc;
        latencies = ranks_times ? NULL : latencies_new(a);
    }
    if (ranks_times && crew_size(a->reader, a->total.sums.requests / FACT_BLOCK) > 1)
        find_both(&b);
    else
        find_both_costs(&b, latencies);
    rc = b.rc;
    if (rc == RC_OK && ranks_times && !b.has_times)
        rc = answer_ranked_times(a, b.from_us, b.to_us, fail);
    if (rc == RC_OK && latencies)
        rc = latencies_finish(latencies, a, fail);
    latencies_free(latencies);
    return rc;
}

enum rc answer_percentiles(struct answer *a, struct fail *fail)
{
    return find_percentiles(a, false, fail);
}

/* ---- when the sums are there ---------------------------------------------------------------- */

enum rc answer_later_percentiles(struct answer *a, struct fail *fail)
{
    uint64_t requests = 0;
    int64_t from_us, to_us;
    bool by_ranks = false, done = false;
    enum rc rc = ranks_can(a, &by_ranks, fail);

    filter_end_bounds(&a->q->filter, &from_us, &to_us);
    for (size_t i = 0; i < a->n_rows; i++)
        requests += a->rows[i].sums.requests;
    if (rc == RC_OK && !(by_ranks && ranks_are_quick(a)) && requests <= a->reader->held_max) {
        done = true;
        rc = answer_held_percentiles(a, from_us, to_us, fail);
    }
    if (rc == RC_OK && !done && !by_ranks && answer_can_count(a))
        rc = answer_counted_percentiles(a, from_us, to_us, &done, fail);
    if (rc == RC_OK && !done)
        rc = find_percentiles(a, true, fail);
    return rc;
}
