/*
 * read_fact_costs.c - the costs of single requests in whose buckets percentiles are wanted.
 *
 * Of days whose requests stand in order (read_rank.h) only blocks with such a bucket are read.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_latency.h"
#include "metering/ledger/read_rank.h"

/* A bucket of 0 is of those in no histogram: nobody wants these. */
static void want_buckets(struct rank_buckets *set, const uint16_t *wanted)
{
    for (unsigned k = 0; k < LEDGER_PERCENTILES; k++) {
        if (wanted[k] > 0)
            rank_want(set, wanted[k]);
    }
}

/* Of each row: its own and those of the total. */
static struct rank_buckets *wanted_sets(const uint16_t *wanted, size_t n_rows)
{
    struct rank_buckets *sets = xcalloc_wide(n_rows + 1, sizeof(*sets));

    for (size_t i = 0; i < n_rows; i++) {
        want_buckets(&sets[i], wanted + i * LEDGER_PERCENTILES);
        want_buckets(&sets[i], wanted + n_rows * LEDGER_PERCENTILES);
    }
    return sets;
}

/* Places of the requests whose buckets are wanted; how many there are. */
static size_t find_wanted(const struct fact_pick *p, const struct rank_buckets *sets,
                          const int64_t *bucket, uint16_t *at)
{
    size_t n = 0;

    for (size_t i = 0; i < p->facts.n; i++) {
        uint64_t b = (uint64_t)bucket[i];
        bool is = p->row[i] != PICK_NONE && b <= HISTOGRAM_BUCKETS;
        const struct rank_buckets *set = &sets[is ? p->row[i] : 0];

        at[n] = (uint16_t)i;
        b = is ? b : 0; /* nobody wants */
        n += rank_wants(set, (unsigned)b);
    }
    return n;
}

static enum rc each_cost(struct fact_pick *p, const struct rank_buckets *sets,
                         answer_cost_fn *fn, void *arg, struct fail *fail)
{
    const int64_t *bucket = facts_number(&p->facts, FACT_BUCKET);
    const money_int *cost;
    uint16_t at[FACT_BLOCK];
    size_t n = bucket ? find_wanted(p, sets, bucket, at) : 0;
    enum rc rc = RC_OK;

    cost = n ? facts_amount(&p->facts, FACT_COST) : NULL;
    for (size_t k = 0; k < n && rc == RC_OK && p->facts.rc == RC_OK; k++) {
        size_t i = at[k];

        rc = fn((size_t)p->row[i], (struct money){cost ? cost[i] : 0},
                (unsigned)(bucket[i] - 1), arg, fail);
    }
    return rc;
}

struct costs_wanted {
    const struct rank_buckets *sets;
    answer_cost_fn *fn;
    void *arg;
    enum rc rc;
    struct fail *fail;
};

static bool each_ranked(struct fact_pick *p, void *arg)
{
    struct costs_wanted *g = arg;

    g->rc = each_cost(p, g->sets, g->fn, g->arg, g->fail);
    return g->rc == RC_OK;
}

static enum rc each_ranked_cost(struct fact_pick *p, const struct rank_buckets *sets,
                                int64_t from_us, int64_t to_us, answer_cost_fn *fn, void *arg,
                                struct fail *fail)
{
    struct costs_wanted g = {.sets = sets, .fn = fn, .arg = arg, .fail = fail};
    struct rank_buckets any = {{0}};
    bool can;
    enum rc rc = ranks_can(p->answer, &can, fail);

    if (rc != RC_OK || !can)
        return rc;
    for (size_t i = 0; i < p->answer->n_rows; i++) {
        for (size_t k = 0; k < sizeof(any.bits) / sizeof(*any.bits); k++)
            any.bits[k] |= sets[i].bits[k];
    }
    ranks_each_block(p, CUBE_COSTS, &any, from_us, to_us, each_ranked, &g);
    return g.rc;
}

enum rc answer_each_cost(struct answer *a, const uint16_t *wanted, struct latencies *latencies,
                         int64_t from_us, int64_t to_us, answer_cost_fn *fn, void *arg,
                         struct fail *fail)
{
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);
    struct fact_pick *p = rc == RC_OK ? pick_open(a, from_us, to_us, false, fail) : NULL;
    struct rank_buckets *sets;

    if (!p)
        return rc == RC_OK ? fail->rc : rc;
    p->spares_combo = true;
    sets = wanted_sets(wanted, a->n_rows);
    if (!latencies)
        rc = each_ranked_cost(p, sets, from_us, to_us, fn, arg, fail);
    while (rc == RC_OK && p->facts.rc == RC_OK && pick_next(p)) {
        a->fact_rows += p->n_picked;
        rc = each_cost(p, sets, fn, arg, fail);
        if (rc == RC_OK && latencies)
            rc = latencies_add_block(latencies, p, fail);
    }
    free(sets);
    return pick_finish(p, rc, fail);
}
