/*
 * rank_make.c - see rank_make.h.
 *
 * What a request is ordered by is one number, so that they are put in order digit by digit;
 * those that are alike stay as they came, so that the audit makes the same again.
 */
#include "metering/ledger/rank_make.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/rank_list.h"
#include "metering/ledger/read_latency.h"

enum {
    CUSTOMER_BITS = 24,
    COMBO_BITS = 30,
    BUCKET_BITS = 10,
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS,
    KEY_BITS = CUSTOMER_BITS + COMBO_BITS + BUCKET_BITS,
    RANKED_FIRST = 4096,
};

/* A request: key is bucket plus one, combination, customer. */
struct ranked {
    uint64_t key;
    uint32_t ms;
    uint32_t cost; /* where it stands in costs */
};

/* Of requests of one bucket and combination. */
struct run {
    uint32_t bucket, combo, n;
};
struct runs {
    struct run *at;
    size_t n, cap;
};

struct rank_make {
    enum cube_kind kind;
    size_t max;
    struct ranked *at;
    money_int *costs; /* of CUBE_COSTS, in the order in which they came */
    size_t n, cap;
    struct runs runs;
    struct rank_list customers, teams;
};

static uint32_t bucket_of(uint64_t key)
{
    return (uint32_t)(key >> (CUSTOMER_BITS + COMBO_BITS));
}
static uint32_t combo_of(uint64_t key)
{
    return (uint32_t)(key >> CUSTOMER_BITS) & ((1U << COMBO_BITS) - 1);
}
static uint32_t customer_of(uint64_t key)
{
    return (uint32_t)key & ((1U << CUSTOMER_BITS) - 1);
}

struct rank_make *rank_make_new(enum cube_kind kind, int64_t max)
{
    struct rank_make *m = xcalloc(1, sizeof(*m));

    m->kind = kind;
    m->max = (size_t)max;
    return m;
}

void rank_make_free(struct rank_make *m)
{
    if (!m)
        return;
    free(m->runs.at);
    rank_list_free(&m->customers);
    rank_list_free(&m->teams);
    free(m->at);
    free(m->costs);
    free(m);
}

/* ---- requests ---------------------------------------------------------------------------- */

static bool put(struct rank_make *m, uint64_t bucket, int64_t combo, int64_t customer, uint32_t ms,
                money_int cost)
{
    if (m->n == m->max || combo <= 0 || combo >> COMBO_BITS || customer < 0 ||
        customer >> CUSTOMER_BITS)
        return false;
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : RANKED_FIRST;
        m->at = xrealloc(m->at, m->cap * sizeof(*m->at));
        if (m->kind == CUBE_COSTS)
            m->costs = xrealloc(m->costs, m->cap * sizeof(*m->costs));
    }
    if (m->kind == CUBE_COSTS)
        m->costs[m->n] = cost;
    m->at[m->n] = (struct ranked){.key = (bucket << COMBO_BITS | (uint64_t)combo) << CUSTOMER_BITS |
                                         (uint64_t)customer,
                                  .ms = ms,
                                  .cost = (uint32_t)m->n};
    m->n++;
    return true;
}

bool rank_make_take(struct rank_make *m, struct facts *f, int64_t from_us, int64_t to_us)
{
    bool of_costs = m->kind == CUBE_COSTS;
    const int64_t *end = facts_number(f, FACT_END), *combo = facts_number(f, FACT_COMBO);
    const int64_t *customer = facts_number(f, FACT_CUSTOMER);
    const int64_t *bucket = of_costs ? facts_number(f, FACT_BUCKET) : NULL;
    const money_int *cost = of_costs ? facts_amount(f, FACT_COST) : NULL;
    const int64_t *attempt = of_costs ? NULL : facts_number(f, FACT_ATTEMPT);
    const int64_t *latency = of_costs ? NULL : facts_number(f, FACT_LATENCY);

    for (size_t i = 0; f->rc == RC_OK && i < f->n; i++) {
        int64_t us = end ? end[i] : 0;
        uint32_t ms = latency_ms(latency ? latency[i] : 0);
        uint64_t at = of_costs ? (uint64_t)(bucket ? bucket[i] : 0) : 1 + cube_time_bucket(ms);

        if (us < from_us || us >= to_us || at == 0 || (attempt && attempt[i] < 0))
            continue;
        if (at > HISTOGRAM_BUCKETS && of_costs) {
            f->rc = read_damaged(&f->fail);
            return true;
        }
        if (!put(m, at, combo ? combo[i] : 0, customer ? customer[i] : 0, ms, cost ? cost[i] : 0))
            return false;
    }
    return true;
}

/* ---- in order ---------------------------------------------------------------------------- */

/* By one digit of the keys; false where it is the same throughout. */
static bool order_by_digit(const struct ranked *from, struct ranked *to, size_t n, unsigned shift)
{
    size_t place[DIGITS] = {0}, sum = 0;

    for (size_t i = 0; i < n; i++)
        place[from[i].key >> shift & (DIGITS - 1)]++;
    if (n == 0 || place[from[0].key >> shift & (DIGITS - 1)] == n)
        return false;
    for (size_t d = 0; d < DIGITS; d++) {
        size_t here = place[d];

        place[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < n; i++)
        to[place[from[i].key >> shift & (DIGITS - 1)]++] = from[i];
    return true;
}

static void add_to_run(struct runs *runs, uint32_t bucket, uint32_t combo)
{
    struct run *last = runs->n ? &runs->at[runs->n - 1] : NULL;

    if (last && last->bucket == bucket && last->combo == combo) {
        last->n++;
        return;
    }
    if (runs->n == runs->cap) {
        runs->cap = runs->cap ? runs->cap * 2 : RANKED_FIRST;
        runs->at = xrealloc(runs->at, runs->cap * sizeof(*runs->at));
    }
    runs->at[runs->n++] = (struct run){bucket, combo, 1};
}

/* The lowest `bits` of the keys count; *spare has room for as many, and may become *at. */
static void order_by_keys(struct ranked **at, struct ranked **spare, size_t n, unsigned bits)
{
    for (unsigned shift = 0; shift < bits; shift += DIGIT_BITS) {
        struct ranked *was = *at;

        if (!order_by_digit(was, *spare, n, shift))
            continue;
        *at = *spare;
        *spare = was;
    }
}

static void list_keys(const struct ranked *at, size_t n, struct rank_list *list)
{
    for (size_t i = 0; i < n; i++) {
        const struct rank_row row = {
            .team = (int64_t)(at[i].key >> (BUCKET_BITS + CUSTOMER_BITS)),
            .bucket = (int64_t)(at[i].key >> CUSTOMER_BITS & ((1U << BUCKET_BITS) - 1)),
            .customer = customer_of(at[i].key),
            .n = 1};

        rank_list_add(list, &row);
    }
    rank_list_end(list);
}

bool rank_make_order(struct rank_make *m, const int64_t *team_combo, size_t n_combos)
{
    struct ranked *spare = xmalloc((m->n + 1) * sizeof(*spare));
    struct ranked *other = xmalloc((m->n + 1) * sizeof(*other));
    bool is_known = true;

    order_by_keys(&m->at, &spare, m->n, KEY_BITS);
    m->cap = m->n;
    for (size_t i = 0; i < m->n; i++) {
        uint64_t key = m->at[i].key;

        add_to_run(&m->runs, bucket_of(key), combo_of(key));
        other[i].key = (uint64_t)bucket_of(key) << CUSTOMER_BITS | customer_of(key);
    }
    order_by_keys(&other, &spare, m->n, CUSTOMER_BITS + BUCKET_BITS);
    list_keys(other, m->n, &m->customers);
    for (size_t i = 0; is_known && i < m->n; i++) {
        uint64_t key = m->at[i].key, combo = combo_of(key);

        is_known = combo < n_combos && team_combo[combo] > 0;
        other[i].key = ((is_known ? (uint64_t)team_combo[combo] : 0) << BUCKET_BITS | bucket_of(key))
                           << CUSTOMER_BITS |
                       customer_of(key);
    }
    order_by_keys(&other, &spare, m->n, KEY_BITS);
    if (is_known)
        list_keys(other, m->n, &m->teams);
    free(other);
    free(spare);
    return is_known;
}

/* ---- columns ----------------------------------------------------------------------------- */

static int64_t blocks_of(size_t rows)
{
    return cube_blocks((int64_t)rows, FACT_BLOCK);
}

int64_t rank_make_rows(const struct rank_make *m)
{
    return (blocks_of(m->n) + blocks_of(m->runs.n) +
            (int64_t)(m->customers.n_chunks + m->teams.n_chunks)) *
           FACT_BLOCK;
}

static enum rc give_head(const struct rank_make *m, struct cube_giving *g, struct fail *fail)
{
    g->n = RANKED_LISTS;
    g->number[RANKED_REQUESTS] = (int64_t)m->n;
    g->number[RANKED_COMBOS] = (int64_t)m->runs.n;
    g->number[RANKED_CUSTOMERS] = (int64_t)m->customers.n_chunks;
    g->number[RANKED_TEAMS] = (int64_t)m->teams.n_chunks;
    return cube_give_numbers(g, CUBE_RANKED, fail);
}

static enum rc give_requests(const struct rank_make *m, struct cube_giving *g, struct fail *fail)
{
    enum rc rc = RC_OK;

    for (size_t from = 0; rc == RC_OK && from < m->n; from += FACT_BLOCK) {
        if (from == 0)
            rc = give_head(m, g, fail);
        g->n = m->n - from < FACT_BLOCK ? m->n - from : FACT_BLOCK;
        for (size_t i = 0; i < g->n; i++) {
            g->number[i] = m->at[from + i].ms;
            g->amount[i] = m->costs ? m->costs[m->at[from + i].cost] : 0;
        }
        if (rc == RC_OK)
            rc = m->costs ? cube_give_amounts(g, CUBE_KEY + FACT_AMOUNT_COLUMN + FACT_COST, fail)
                          : cube_give_numbers(g, CUBE_KEY + FACT_LATENCY, fail);
        for (size_t i = 0; i < g->n; i++)
            g->number[i] = customer_of(m->at[from + i].key);
        if (rc == RC_OK)
            rc = cube_give_numbers(g, CUBE_KEY + FACT_CUSTOMER, fail);
        g->at++;
    }
    return rc;
}

static enum rc give_runs(const struct runs *runs, struct cube_giving *g, struct fail *fail)
{
    const unsigned columns[] = {CUBE_KEY + FACT_BUCKET, CUBE_KEY + FACT_COMBO, CUBE_RUN};
    enum rc rc = RC_OK;

    for (size_t from = 0; rc == RC_OK && from < runs->n; from += FACT_BLOCK) {
        g->n = runs->n - from < FACT_BLOCK ? runs->n - from : FACT_BLOCK;
        for (unsigned k = 0; rc == RC_OK && k < 3; k++) {
            for (size_t i = 0; i < g->n; i++) {
                const struct run *run = &runs->at[from + i];

                g->number[i] = k == 0 ? run->bucket : k == 1 ? run->combo : run->n;
            }
            rc = cube_give_numbers(g, columns[k], fail);
        }
        g->at++;
    }
    return rc;
}

static enum rc give_list(const struct rank_list *list, struct cube_giving *g, struct fail *fail)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < list->n_chunks; i++) {
        const struct rank_chunk *chunk = &list->chunks[i];

        rc = g->fn(CUBE_RUN, g->at, rank_list_chunk(list, i), g->arg, fail);
        g->n = 2;
        g->number[0] = chunk->first_team;
        g->number[1] = chunk->last_team;
        if (rc == RC_OK)
            rc = cube_give_numbers(g, CUBE_KEY + FACT_COMBO, fail);
        g->at++;
    }
    return rc;
}

enum rc rank_make_columns(const struct rank_make *m, struct cube_giving *g, struct fail *fail)
{
    enum rc rc = give_requests(m, g, fail);

    if (rc == RC_OK)
        rc = give_runs(&m->runs, g, fail);
    if (rc == RC_OK)
        rc = give_list(&m->customers, g, fail);
    return rc == RC_OK ? give_list(&m->teams, g, fail) : rc;
}
