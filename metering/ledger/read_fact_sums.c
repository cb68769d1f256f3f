/*
 * read_fact_sums.c - sums over single requests, a column at a time.
 *
 * The same fields in the same way as ledger_sums_of and rollup_add_record: the tests hold
 * both to it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_costs.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/read_meters.h"
#include "metering/ledger/read_rank.h"
#include "metering/ledger/wire.h"

enum rc answer_can_use_facts(struct answer *a, struct fail *fail)
{
    const struct ledger_question *q = a->q;
    bool can = !(a->want & LEDGER_WANT_LINES);
    enum rc rc;

    for (size_t i = 0; i < q->n_by; i++)
        can &= pick_knows(&q->by[i]);
    for (size_t i = 0; i < q->filter.n_where; i++)
        can &= pick_knows(&q->filter.where[i].field);
    rc = can ? facts_look(a->reader, &can, fail) : RC_OK;
    a->can_use_facts = can;
    return rc;
}

static inline uint64_t ceil_nano(money_int cost)
{
    int64_t nano;

    if (cost <= 0)
        return 0;
    if (cost < INT64_MAX - ATTO_PER_NANO)
        return ((uint64_t)cost + ATTO_PER_NANO - 1) / ATTO_PER_NANO;
    nano = money_ceil_nano((struct money){cost});
    return nano > 0 ? (uint64_t)nano : 0;
}

/* ---- of a block --------------------------------------------------------------------------- */

/* What the requests of a block are, one byte each. */
struct pick_marks {
    unsigned char is_request[FACT_BLOCK]; /* no correction */
    unsigned char is_late[FACT_BLOCK];    /* a price of a request that had none */
    unsigned char is_priced[FACT_BLOCK];
    unsigned char has_cost[FACT_BLOCK];
    unsigned char outcome[FACT_BLOCK], source[FACT_BLOCK], price[FACT_BLOCK];
    unsigned char some[FACT_BLOCK]; /* those that are added at the moment */
    uint16_t at[FACT_BLOCK + 1];    /* and picked: their places */
    money_int list[FACT_BLOCK];
};

struct adding {
    struct fact_pick *p;
    struct row_sums *sums;
    const int64_t *attempt, *flags;
    const money_int *cost; /* NULL: no cost throughout */
    struct pick_marks *is;
};

static void mark(struct adding *g, const int64_t *combo)
{
    const struct fact_pick *p = g->p;
    struct pick_marks *is = g->is;

    for (size_t i = 0; i < p->facts.n; i++) {
        int64_t attempt = g->attempt ? g->attempt[i] : 0;

        is->is_request[i] = attempt >= 0;
        is->is_late[i] = attempt == ATTEMPT_LATE_PRICE;
        is->is_priced[i] = attempt >= 0 && g->flags && (g->flags[i] & FACT_IS_PRICED) != 0;
        is->has_cost[i] = is->is_priced[i] | !is->is_request[i];
    }
    for (size_t i = 0; i < p->facts.n; i++) {
        const struct combo *c = p->combo_of[combo ? combo[i] : 0];

        if (p->row[i] == PICK_NONE)
            continue;
        is->outcome[i] = (unsigned char)c->outcome;
        is->source[i] = (unsigned char)c->usage_source;
        is->price[i] = (unsigned char)c->price_status;
    }
}

/* Places of those that are marked and picked; how many. The sums of all others stay untouched. */
static size_t find_marked(struct adding *g, const unsigned char *is)
{
    const struct fact_pick *p = g->p;
    uint16_t *at = g->is->at;
    size_t n = 0;

    for (size_t i = 0; i < p->facts.n; i++) {
        at[n] = (uint16_t)i;
        n += is[i] & (p->row[i] != PICK_NONE);
    }
    return n;
}

/* One for each request that is marked: 0 or 1. */
static void count(struct adding *g, size_t offset, const unsigned char *is)
{
    const int32_t *row = g->p->row;
    size_t n = row_sums_spares(g->sums, offset) ? 0 : find_marked(g, is);
    uint64_t *to = n ? row_sums_count(g->sums, offset) : NULL;

    for (size_t k = 0; k < n; k++)
        to[row[g->is->at[k]]] = row_sums_plus(to[row[g->is->at[k]]], 1);
}

/* The amounts of the requests that are marked. */
static void sum(struct adding *g, size_t offset, const unsigned char *is, const money_int *v)
{
    const int32_t *row = g->p->row;
    size_t n = row_sums_spares(g->sums, offset) || !v ? 0 : find_marked(g, is);
    money_int *to = n ? row_sums_amount(g->sums, offset) : NULL;

    for (size_t k = 0; k < n; k++)
        row_sums_add_money(&to[row[g->is->at[k]]], v[g->is->at[k]]);
}

/* A field for each value of what is told apart. */
static void count_each(struct adding *g, size_t offset, unsigned n, const unsigned char *value)
{
    for (unsigned v = 0; v < n; v++) {
        if (row_sums_spares(g->sums, offset + v * sizeof(uint64_t)))
            continue;
        for (size_t i = 0; i < g->p->facts.n; i++)
            g->is->some[i] = g->is->is_request[i] & (value[i] == v);
        count(g, offset + v * sizeof(uint64_t), g->is->some);
    }
}

static void count_flag(struct adding *g, size_t offset, int64_t flag)
{
    if (!g->flags || row_sums_spares(g->sums, offset))
        return;
    for (size_t i = 0; i < g->p->facts.n; i++)
        g->is->some[i] = g->is->is_request[i] & ((g->flags[i] & flag) != 0);
    count(g, offset, g->is->some);
}

/* ---- requests and costs -------------------------------------------------------------------- */

static void add_extremes(struct adding *g, const struct row_extremes *to)
{
    const struct fact_pick *p = g->p;

    for (size_t i = 0; i < p->facts.n; i++) {
        money_int cost = g->cost ? g->cost[i] : 0;
        int32_t row = p->row[i];

        if (row == PICK_NONE || !(g->is->is_priced[i] | g->is->is_late[i]))
            continue;
        if (to->priced[row] == 0 || cost < to->least[row])
            to->least[row] = cost;
        if (to->priced[row] == 0 || cost > to->most[row])
            to->most[row] = cost;
        to->priced[row] = row_sums_plus(to->priced[row], 1);
    }
}

static void add_priced(struct adding *g)
{
    struct row_extremes extremes;
    struct pick_marks *is = g->is;
    size_t n = g->p->facts.n;

    if (row_sums_extremes(g->sums, &extremes)) {
        add_extremes(g, &extremes);
    } else {
        for (size_t i = 0; i < n; i++)
            is->some[i] = is->is_priced[i] | is->is_late[i];
        count(g, offsetof(struct ledger_sums, priced), is->some);
    }
    for (size_t i = 0; i < n; i++)
        is->some[i] = is->is_request[i] & !is->is_priced[i];
    count(g, offsetof(struct ledger_sums, unpriced), is->some);
    for (size_t i = 0; i < n; i++)
        is->some[i] = is->is_priced[i] & (is->price[i] == PRICE_PARTIAL);
    count(g, offsetof(struct ledger_sums, price_partial), is->some);
}

static void add_requests(struct adding *g)
{
    struct pick_marks *is = g->is;

    count(g, offsetof(struct ledger_sums, requests), is->is_request);
    count_each(g, offsetof(struct ledger_sums, by_usage_source), USAGE_ESTIMATED + 1, is->source);
    add_priced(g);
    for (size_t i = 0; i < g->p->facts.n; i++)
        is->some[i] = !is->is_request[i];
    count(g, offsetof(struct ledger_sums, corrections), is->some);
    if (row_sums_spares(g->sums, offsetof(struct ledger_sums, errors)))
        return;
    count(g, offsetof(struct ledger_sums, late_priced), is->is_late);
    count_each(g, offsetof(struct ledger_sums, by_outcome), OUTCOME_COUNT, is->outcome);
    for (size_t i = 0; i < g->p->facts.n; i++)
        is->some[i] = is->is_request[i] & outcome_is_error(is->outcome[i]);
    count(g, offsetof(struct ledger_sums, errors), is->some);
    for (size_t i = 0; i < g->p->facts.n; i++)
        is->some[i] = g->attempt && g->attempt[i] > 1;
    count(g, offsetof(struct ledger_sums, retries), is->some);
    count_flag(g, offsetof(struct ledger_sums, streams), FACT_IS_STREAM);
    count_flag(g, offsetof(struct ledger_sums, repeats), FACT_IS_REPEAT);
    count_flag(g, offsetof(struct ledger_sums, cacheable), FACT_IS_CACHEABLE);
}

static void add_ceilings(struct adding *g)
{
    const size_t offset = offsetof(struct ledger_sums, cost_ceil_nano);
    const struct fact_pick *p = g->p;
    uint64_t *to;

    if (!g->cost || row_sums_spares(g->sums, offset))
        return;
    to = row_sums_count(g->sums, offset);
    for (size_t i = 0; i < p->facts.n; i++) {
        if (p->row[i] != PICK_NONE && g->is->is_priced[i])
            to[p->row[i]] = row_sums_plus(to[p->row[i]], ceil_nano(g->cost[i]));
    }
}

static void add_costs(struct adding *g)
{
    const money_int *less = facts_amount(&g->p->facts, FACT_LIST), *list = g->cost;
    struct pick_marks *is = g->is;
    size_t n = g->p->facts.n;

    for (size_t i = 0; less && i < n; i++)
        is->list[i] = (g->cost ? g->cost[i] : 0) + less[i];
    list = less ? is->list : g->cost;
    sum(g, offsetof(struct ledger_sums, cost), is->has_cost, g->cost);
    sum(g, offsetof(struct ledger_sums, list), is->has_cost, list);
    add_ceilings(g);
    for (size_t i = 0; i < n; i++)
        is->some[i] = is->has_cost[i] &
                      ((is->source[i] == USAGE_PARTIAL) | (is->source[i] == USAGE_ESTIMATED));
    sum(g, offsetof(struct ledger_sums, estimated_cost), is->some, g->cost);
    if (row_sums_spares(g->sums, offsetof(struct ledger_sums, error_cost)))
        return;
    for (size_t i = 0; i < n; i++)
        is->some[i] = is->has_cost[i] & outcome_is_error(is->outcome[i]);
    sum(g, offsetof(struct ledger_sums, error_cost), is->some, g->cost);
    for (size_t i = 0; i < n; i++)
        is->some[i] = !is->is_request[i];
    sum(g, offsetof(struct ledger_sums, correction_cost), is->some, g->cost);
    for (size_t i = 0; i < n; i++)
        is->some[i] = is->has_cost[i] & (g->flags && (g->flags[i] & FACT_IS_REPEAT) != 0);
    sum(g, offsetof(struct ledger_sums, repeat_cost), is->some, g->cost);
}

/* ---- columns of their own ------------------------------------------------------------------
 */

static void add_tokens(struct adding *g)
{
    struct fact_pick *p = g->p;
    const int64_t *has = facts_number(&p->facts, FACT_HAS);
    uint64_t any = 0;

    for (size_t i = 0; has && i < p->facts.n; i++)
        any |= (uint64_t)has[i];
    for (unsigned f = 0; f < USAGE_COUNT; f++) {
        const size_t sums = offsetof(struct ledger_sums, tokens) + f * sizeof(uint64_t);
        unsigned number = wire_usage((enum usage_field)f) & 31;
        const int64_t *tokens;
        uint64_t *to;

        if (!(any >> number & 1))
            continue;
        for (size_t i = 0; i < p->facts.n; i++)
            g->is->some[i] = (uint64_t)has[i] >> number & 1;
        count(g, offsetof(struct ledger_sums, reported) + f * sizeof(uint64_t), g->is->some);
        tokens = row_sums_spares(g->sums, sums) ? NULL
                                                : facts_number(&p->facts, FACT_USAGE + number);
        to = tokens ? row_sums_count(g->sums, sums) : NULL;
        for (size_t i = 0; to && i < p->facts.n; i++) {
            if (p->row[i] != PICK_NONE && g->is->some[i])
                to[p->row[i]] = row_sums_plus(to[p->row[i]], (uint64_t)tokens[i]);
        }
    }
}

/* most: of the field that holds the greatest, or the same as sum where there is none. */
static void add_column(struct adding *g, unsigned column, size_t sum_at, size_t most_at)
{
    struct fact_pick *p = g->p;
    const int64_t *v =
        row_sums_spares(g->sums, sum_at) ? NULL : facts_number(&p->facts, column);
    uint64_t *to = v ? row_sums_count(g->sums, sum_at) : NULL;
    uint64_t *most = v && most_at != sum_at ? row_sums_count(g->sums, most_at) : NULL;

    for (size_t i = 0; to && i < p->facts.n; i++) {
        if (p->row[i] != PICK_NONE)
            to[p->row[i]] = row_sums_plus(to[p->row[i]], (uint64_t)v[i]);
    }
    for (size_t i = 0; most && i < p->facts.n; i++) {
        if (p->row[i] != PICK_NONE && (uint64_t)v[i] > most[p->row[i]])
            most[p->row[i]] = (uint64_t)v[i];
    }
}

static void add_transport(struct adding *g)
{
    add_column(g, FACT_LATENCY, offsetof(struct ledger_sums, latency_us),
               offsetof(struct ledger_sums, latency_max_us));
    add_column(g, FACT_FIRST_BYTE, offsetof(struct ledger_sums, first_byte_us),
               offsetof(struct ledger_sums, first_byte_max_us));
    add_column(g, FACT_BYTES_IN, offsetof(struct ledger_sums, bytes_in),
               offsetof(struct ledger_sums, bytes_in));
    add_column(g, FACT_BYTES_OUT, offsetof(struct ledger_sums, bytes_out),
               offsetof(struct ledger_sums, bytes_out));
    if (row_sums_spares(g->sums, offsetof(struct ledger_sums, first_bytes)))
        return;
    count_flag(g, offsetof(struct ledger_sums, first_bytes), FACT_HAS_FIRST_BYTE);
    if (row_sums_spares(g->sums, offsetof(struct ledger_sums, provider_costs)))
        return;
    count_flag(g, offsetof(struct ledger_sums, provider_costs), FACT_HAS_PROVIDER_COST);
    if (g->flags) /* some still says who has one */
        sum(g, offsetof(struct ledger_sums, provider_cost), g->is->some,
            facts_amount(&g->p->facts, FACT_PROVIDER));
}

static void add_histograms(struct fact_pick *p, const int64_t *bucket)
{
    for (size_t i = 0; bucket && i < p->facts.n; i++) {
        if (p->row[i] == PICK_NONE || bucket[i] <= 0)
            continue;
        if (bucket[i] > HISTOGRAM_BUCKETS) {
            p->facts.rc = read_damaged(&p->facts.fail);
            return;
        }
        p->answer->rows[p->row[i]].histogram->n[bucket[i] - 1]++;
    }
}

static void add_bands(struct adding *g, const int64_t *bucket)
{
    struct fact_pick *p = g->p;
    const int64_t *band = facts_number(&p->facts, FACT_BAND);
    const int64_t *input = facts_number(&p->facts, FACT_USAGE + (wire_usage(USAGE_INPUT) & 31));
    const int64_t *output =
        facts_number(&p->facts, FACT_USAGE + (wire_usage(USAGE_OUTPUT) & 31));

    for (size_t i = 0; i < p->facts.n; i++) {
        const struct ledger_band one = {
            .requests = g->is->is_request[i],
            .priced = bucket && bucket[i] > 0,
            .input_tokens = input ? (uint64_t)input[i] : 0,
            .output_tokens = output ? (uint64_t)output[i] : 0,
            .cost = {g->cost ? g->cost[i] : 0},
        };
        int64_t number = band ? band[i] : 0;

        if (p->row[i] == PICK_NONE)
            continue;
        if (number < 0 || number >= LEDGER_BANDS) {
            p->facts.rc = read_damaged(&p->facts.fail);
            return;
        }
        ledger_band_add(&p->answer->rows[p->row[i]].bands[number], &one);
    }
}

void answer_add_block(struct fact_pick *p, struct row_sums *sums)
{
    struct facts *f = &p->facts;
    const struct answer *a = p->answer;
    struct adding g = {.p = p,
                       .sums = sums,
                       .attempt = facts_number(f, FACT_ATTEMPT),
                       .flags = facts_number(f, FACT_FLAGS),
                       .cost = facts_amount(f, FACT_COST)};
    const int64_t *bucket = a->want & (LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS)
                                ? facts_number(f, FACT_BUCKET)
                                : NULL;

    if (!p->marks)
        p->marks = xcalloc(1, sizeof(*p->marks));
    g.is = p->marks;
    row_sums_make_room(sums, pick_cap(p));
    if (f->rc != RC_OK)
        return;
    mark(&g, facts_number(f, FACT_COMBO));
    add_requests(&g);
    add_costs(&g);
    add_tokens(&g);
    add_transport(&g);
    if (f->rc == RC_OK && a->want & LEDGER_WANT_HISTOGRAM && !a->has_histograms)
        add_histograms(p, bucket);
    if (f->rc == RC_OK && a->want & LEDGER_WANT_BANDS)
        add_bands(&g, bucket);
}

/*
 * Counts of days that go by bucket, so that those of one bucket stand side by side: the histograms
 * of thousands of rows are too far apart for the processor's caches.
 */
struct ranked {
    struct answer *a;
    uint64_t n; /* requests that are counted since histograms were given any */
};

static bool add_ranked(const struct fact_pick *p, const int64_t *bucket, const int64_t *n,
                       void *arg)
{
    const struct rank_counting *c = arg;
    const struct rank_counts *to = &c->counts;
    struct ledger_row *rows = p->answer->rows;

    for (size_t i = 0; i < p->facts.n; i++) {
        size_t row = (size_t)p->row[i];

        if (bucket[i] > HISTOGRAM_BUCKETS)
            return false;
        if (p->row[i] == PICK_NONE)
            continue;
        if (row < to->rows)
            to->count[(size_t)(bucket[i] - 1) * to->rows + row] += (uint32_t)n[i];
        else
            rows[row].histogram->n[bucket[i] - 1] += (uint64_t)n[i];
    }
    return true;
}

/* A histogram after the other would be as far apart again: some of them at a time. */
static void give_counts(struct answer *a, struct rank_counts *c)
{
    enum { TILE = 16 };

    for (size_t from = 0; from < c->rows; from += TILE) {
        size_t end = c->rows - from < TILE ? c->rows : from + TILE;

        for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++) {
            for (size_t row = from; row < end; row++)
                a->rows[row].histogram->n[b] += c->count[b * c->rows + row];
        }
    }
    memset(c->count, 0, c->rows * HISTOGRAM_BUCKETS * sizeof(*c->count));
}

/* No count wraps. */
static void make_room(struct rank_counting *c, uint64_t requests)
{
    struct ranked *r = c->room_arg;

    if (r->n + requests > UINT32_MAX) {
        give_counts(r->a, &c->counts);
        r->n = 0;
    }
    r->n += requests;
}

static void add_all_ranked(struct fact_pick *p, int64_t from_us, int64_t to_us)
{
    enum { ROWS_MAX = 1 << 13 };
    struct answer *a = p->answer;
    struct ranked r = {.a = a};
    struct rank_counting c = {
        .fn = add_ranked,
        .counts = {.rows = a->n_rows < ROWS_MAX ? a->n_rows : ROWS_MAX, .buckets = HISTOGRAM_BUCKETS},
        .room = make_room,
        .room_arg = &r};

    c.arg = &c;
    c.counts.count = xcalloc_wide(c.counts.rows + 1, HISTOGRAM_BUCKETS * sizeof(*c.counts.count));
    ranks_count(p, CUBE_COSTS, from_us, to_us, &c);
    give_counts(a, &c.counts);
    free(c.counts.count);
}

/* Of the days that cubes have added: histograms are in none of these, but in those in order. */
enum rc answer_add_histograms(struct answer *a, int64_t from_us, int64_t to_us,
                              struct fail *fail)
{
    struct fact_pick *p = pick_open(a, from_us, to_us, false, fail);
    bool has_ranks = false;
    enum rc rc;

    if (!p)
        return fail->rc;
    rc = ranks_can(a, &has_ranks, fail);
    if (rc == RC_OK && has_ranks)
        add_all_ranked(p, from_us, to_us);
    while (rc == RC_OK && p->facts.rc == RC_OK && pick_next(p)) {
        a->fact_rows += p->n_picked;
        add_histograms(p, facts_number(&p->facts, FACT_BUCKET));
    }
    return pick_finish(p, rc, fail);
}

enum rc answer_add_requests(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct crew_pieces days;
    struct meter_sums *meters;
    struct row_sums *sums;
    struct fact_pick *p;
    bool known = false;
    enum rc rc = RC_OK;

    if (a->want & LEDGER_VALUES_ALONE && a->top > 0)
        rc = answer_dearest(a, from_us, to_us, &known, fail);
    if (rc != RC_OK || known)
        return rc;
    p = pick_open(a, from_us, to_us, true, fail);
    if (!p)
        return fail->rc;
    if (!(a->want & (LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS)))
        return pick_finish(p, answer_walk(p, from_us, to_us, fail), fail);
    meters = a->want & LEDGER_WANT_METERS ? meter_sums_new() : NULL;
    sums = row_sums_new(a->want);
    crew_cut(&days, answer_leave_cubes_out(p, a->cube_kind, from_us, to_us), 1);
    a->cube_rows += answer_add_cubes(p, sums, meters, &days, from_us, to_us);
    while (p->facts.rc == RC_OK && pick_next(p)) {
        a->fact_rows += p->n_picked;
        answer_add_block(p, sums);
        if (meters)
            meter_sums_add_block(meters, p);
    }
    if (meters) {
        meter_sums_give(meters, a->rows, a->n_rows);
        a->record_rows += meter_sums_records(meters);
    }
    row_sums_give_total(sums, a->n_rows, &a->given);
    row_sums_give(sums, a->rows, a->n_rows);
    row_sums_free(sums);
    meter_sums_free(meters);
    return pick_finish(p, RC_OK, fail);
}

enum rc answer_add_facts(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    bool apart = a->cube_kind < CUBE_KINDS && a->want & LEDGER_WANT_HISTOGRAM;
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);

    if (rc != RC_OK)
        return rc;
    a->has_histograms = apart;
    rc = answer_add_requests(a, from_us, to_us, fail);
    a->has_histograms = false;
    /* Rows are there by now, so that counts of one bucket stand side by side. */
    return rc == RC_OK && apart ? answer_add_histograms(a, from_us, to_us, fail) : rc;
}
