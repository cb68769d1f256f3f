/*
 * read_fact_sums.c - sums over single requests, a column at a time.
 *
 * The same fields in the same way as ledger_sums_of and rollup_add_record: the tests hold
 * both to it.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/read_cube.h"
#include "metering/ledger/read_latency.h"
#include "metering/ledger/wire.h"

enum rc answer_can_use_facts(const struct answer *a, bool *can, struct fail *fail)
{
    const struct ledger_question *q = a->q;

    *can = !(a->want & (LEDGER_WANT_LINES | LEDGER_WANT_METERS));
    for (size_t i = 0; i < q->n_by; i++)
        *can &= pick_knows(&q->by[i]);
    for (size_t i = 0; i < q->filter.n_where; i++)
        *can &= pick_knows(&q->filter.where[i].field);
    return *can ? facts_look(a->reader, can, fail) : RC_OK;
}

static inline void add(uint64_t *to, uint64_t n)
{
    if (__builtin_add_overflow(*to, n, to))
        *to = UINT64_MAX;
}

static inline void add_money(struct money *to, money_int n)
{
    money_int sum;

    if (__builtin_add_overflow(to->atto, n, &sum))
        *to = ledger_money_add(*to, (struct money){n});
    else
        to->atto = sum;
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

/* ---- of a request ----------------------------------------------------------------------- */

struct columns {
    const int64_t *attempt, *flags, *bucket;
    const money_int *cost, *list;
};

static void add_extremes(struct ledger_sums *s, money_int cost)
{
    /* priced counts this one already. */
    if (s->priced == 1 || cost < s->cost_min.atto)
        s->cost_min.atto = cost;
    if (s->priced == 1 || cost > s->cost_max.atto)
        s->cost_max.atto = cost;
}

static void add_correction(struct ledger_sums *s, const struct combo *c, bool is_late_price,
                           money_int cost, money_int list)
{
    add(&s->corrections, 1);
    add_money(&s->cost, cost);
    add_money(&s->correction_cost, cost);
    add_money(&s->list, list);
    if (outcome_is_error(c->outcome))
        add_money(&s->error_cost, cost);
    if (c->usage_source == USAGE_PARTIAL || c->usage_source == USAGE_ESTIMATED)
        add_money(&s->estimated_cost, cost);
    if (!is_late_price)
        return;
    add(&s->priced, 1);
    add(&s->late_priced, 1);
    add_extremes(s, cost);
}

static void add_priced(struct ledger_sums *s, const struct combo *c, int64_t flags,
                       money_int cost, money_int list)
{
    add(&s->priced, 1);
    add(&s->price_partial, c->price_status == PRICE_PARTIAL);
    add_money(&s->cost, cost);
    add_money(&s->list, list);
    add(&s->cost_ceil_nano, ceil_nano(cost));
    add_extremes(s, cost);
    if (outcome_is_error(c->outcome))
        add_money(&s->error_cost, cost);
    if (c->usage_source == USAGE_PARTIAL || c->usage_source == USAGE_ESTIMATED)
        add_money(&s->estimated_cost, cost);
    if (flags & FACT_IS_REPEAT)
        add_money(&s->repeat_cost, cost);
}

/* What LEDGER_SPARE_DETAILS leaves. */
static void add_plain(struct fact_pick *p, const struct columns *k)
{
    const int64_t *combo = facts_number(&p->facts, FACT_COMBO);

    for (size_t i = 0; i < p->facts.n; i++) {
        const struct combo *c = p->combo_of[combo ? combo[i] : 0];
        int64_t attempt = k->attempt ? k->attempt[i] : 0;
        bool is_priced = k->flags && k->flags[i] & FACT_IS_PRICED;
        money_int cost = k->cost ? k->cost[i] : 0, list = cost + (k->list ? k->list[i] : 0);
        struct ledger_sums *s;

        if (p->row[i] == PICK_NONE)
            continue;
        s = &p->answer->rows[p->row[i]].sums;
        if (attempt < 0) {
            add(&s->corrections, 1);
            add(&s->priced, attempt == ATTEMPT_LATE_PRICE);
        } else {
            add(&s->requests, 1);
            add(&s->by_usage_source[c->usage_source], 1);
            add(&s->priced, is_priced);
            add(&s->unpriced, !is_priced);
        }
        if (attempt >= 0 && !is_priced)
            continue;
        add_money(&s->cost, cost);
        add_money(&s->list, list);
        if (c->usage_source == USAGE_PARTIAL || c->usage_source == USAGE_ESTIMATED)
            add_money(&s->estimated_cost, cost);
        if (attempt < 0)
            continue;
        add(&s->price_partial, c->price_status == PRICE_PARTIAL);
        add(&s->cost_ceil_nano, ceil_nano(cost));
    }
}

static void add_requests(struct fact_pick *p, const struct columns *k)
{
    const int64_t *combo = facts_number(&p->facts, FACT_COMBO);

    for (size_t i = 0; i < p->facts.n; i++) {
        const struct combo *c = p->combo_of[combo ? combo[i] : 0];
        int64_t attempt = k->attempt ? k->attempt[i] : 0, flags = k->flags ? k->flags[i] : 0;
        money_int cost = k->cost ? k->cost[i] : 0, list = cost + (k->list ? k->list[i] : 0);
        struct ledger_sums *s;

        if (p->row[i] == PICK_NONE)
            continue;
        s = &p->answer->rows[p->row[i]].sums;
        if (attempt < 0) {
            add_correction(s, c, attempt == ATTEMPT_LATE_PRICE, cost, list);
            continue;
        }
        add(&s->requests, 1);
        add(&s->by_outcome[c->outcome], 1);
        add(&s->errors, outcome_is_error(c->outcome));
        add(&s->by_usage_source[c->usage_source], 1);
        add(&s->retries, attempt > 1);
        add(&s->streams, (flags & FACT_IS_STREAM) != 0);
        add(&s->repeats, (flags & FACT_IS_REPEAT) != 0);
        add(&s->cacheable, (flags & FACT_IS_CACHEABLE) != 0);
        if (flags & FACT_IS_PRICED)
            add_priced(s, c, flags, cost, list);
        else
            add(&s->unpriced, 1);
    }
}

/* ---- columns of their own ------------------------------------------------------------------
 */

static void add_tokens(struct fact_pick *p)
{
    const int64_t *has = facts_number(&p->facts, FACT_HAS);
    uint64_t any = 0;

    for (size_t i = 0; has && i < p->facts.n; i++)
        any |= (uint64_t)has[i];
    for (unsigned f = 0; f < USAGE_COUNT; f++) {
        unsigned number = wire_usage((enum usage_field)f) & 31;
        const int64_t *tokens;

        if (!(any >> number & 1))
            continue;
        tokens = facts_number(&p->facts, FACT_USAGE + number);
        for (size_t i = 0; i < p->facts.n; i++) {
            struct ledger_sums *s;

            if (p->row[i] == PICK_NONE || !((uint64_t)has[i] >> number & 1))
                continue;
            s = &p->answer->rows[p->row[i]].sums;
            add(&s->reported[f], 1);
            if (tokens)
                add(&s->tokens[f], (uint64_t)tokens[i]);
        }
    }
}

static void add_column(struct fact_pick *p, unsigned column, size_t sum, size_t most)
{
    const int64_t *v = facts_number(&p->facts, column);

    for (size_t i = 0; v && i < p->facts.n; i++) {
        char *s;

        if (p->row[i] == PICK_NONE)
            continue;
        s = (char *)&p->answer->rows[p->row[i]].sums;
        add((uint64_t *)(void *)(s + sum), (uint64_t)v[i]);
        if (most != sum && (uint64_t)v[i] > *(uint64_t *)(void *)(s + most))
            *(uint64_t *)(void *)(s + most) = (uint64_t)v[i];
    }
}

static void add_flagged(struct fact_pick *p, const int64_t *attempt, const int64_t *flags)
{
    const money_int *stated = facts_amount(&p->facts, FACT_PROVIDER);

    for (size_t i = 0; flags && i < p->facts.n; i++) {
        struct ledger_sums *s;

        if (p->row[i] == PICK_NONE || (attempt && attempt[i] < 0))
            continue;
        s = &p->answer->rows[p->row[i]].sums;
        add(&s->first_bytes, (flags[i] & FACT_HAS_FIRST_BYTE) != 0);
        if (flags[i] & FACT_HAS_PROVIDER_COST) {
            add(&s->provider_costs, 1);
            add_money(&s->provider_cost, stated ? stated[i] : 0);
        }
    }
}

static void add_transport(struct fact_pick *p, const struct columns *k)
{
    add_column(p, FACT_LATENCY, offsetof(struct ledger_sums, latency_us),
               offsetof(struct ledger_sums, latency_max_us));
    add_column(p, FACT_FIRST_BYTE, offsetof(struct ledger_sums, first_byte_us),
               offsetof(struct ledger_sums, first_byte_max_us));
    add_column(p, FACT_BYTES_IN, offsetof(struct ledger_sums, bytes_in),
               offsetof(struct ledger_sums, bytes_in));
    add_column(p, FACT_BYTES_OUT, offsetof(struct ledger_sums, bytes_out),
               offsetof(struct ledger_sums, bytes_out));
    add_flagged(p, k->attempt, k->flags);
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
        add(&p->answer->rows[p->row[i]].histogram->n[bucket[i] - 1], 1);
    }
}

static void add_bands(struct fact_pick *p, const struct columns *k)
{
    const int64_t *band = facts_number(&p->facts, FACT_BAND);
    const int64_t *input = facts_number(&p->facts, FACT_USAGE + (wire_usage(USAGE_INPUT) & 31));
    const int64_t *output =
        facts_number(&p->facts, FACT_USAGE + (wire_usage(USAGE_OUTPUT) & 31));

    for (size_t i = 0; i < p->facts.n; i++) {
        const struct ledger_band one = {
            .requests = !k->attempt || k->attempt[i] >= 0,
            .priced = k->bucket && k->bucket[i] > 0,
            .input_tokens = input ? (uint64_t)input[i] : 0,
            .output_tokens = output ? (uint64_t)output[i] : 0,
            .cost = {k->cost ? k->cost[i] : 0},
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

void answer_add_block(struct fact_pick *p)
{
    struct facts *f = &p->facts;
    const unsigned want = p->answer->want;
    const struct columns k = {.attempt = facts_number(f, FACT_ATTEMPT),
                              .flags = facts_number(f, FACT_FLAGS),
                              .bucket = want & (LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS)
                                            ? facts_number(f, FACT_BUCKET)
                                            : NULL,
                              .cost = facts_amount(f, FACT_COST),
                              .list = facts_amount(f, FACT_LIST)};

    if (f->rc == RC_OK && want & LEDGER_SPARE_DETAILS)
        add_plain(p, &k);
    else if (f->rc == RC_OK)
        add_requests(p, &k);
    if (f->rc == RC_OK && !(want & LEDGER_SPARE_TOKENS))
        add_tokens(p);
    if (f->rc == RC_OK && !(want & LEDGER_SPARE_TRANSPORT))
        add_transport(p, &k);
    if (f->rc == RC_OK && want & LEDGER_WANT_HISTOGRAM && !p->answer->has_histograms)
        add_histograms(p, k.bucket);
    if (f->rc == RC_OK && want & LEDGER_WANT_BANDS)
        add_bands(p, &k);
}

/* Of the days that cubes have added: histograms are in none. */
static enum rc add_all_histograms(struct answer *a, int64_t from_us, int64_t to_us,
                                  struct fail *fail)
{
    struct fact_pick *p = pick_open(a, from_us, to_us, true, fail);
    enum rc rc;

    if (!p)
        return fail->rc;
    while (pick_next(p)) {
        a->fact_rows += p->n_picked;
        add_histograms(p, facts_number(&p->facts, FACT_BUCKET));
    }
    rc = p->facts.rc;
    if (rc != RC_OK)
        *fail = p->facts.fail;
    pick_close(p);
    return rc;
}

static enum rc add_facts(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    struct fact_pick *p = pick_open(a, from_us, to_us, true, fail);
    enum rc rc = RC_OK;

    if (!p)
        return fail->rc;
    if (a->cube_kind < CUBE_KINDS)
        rc = answer_add_cubes(p, from_us, to_us, fail);
    while (rc == RC_OK && pick_next(p)) {
        a->fact_rows += p->n_picked;
        answer_add_block(p);
    }
    rc = p->facts.rc;
    if (rc != RC_OK)
        *fail = p->facts.fail;
    pick_close(p);
    return rc;
}

enum rc answer_add_facts(struct answer *a, int64_t from_us, int64_t to_us, struct fail *fail)
{
    bool apart = a->cube_kind < CUBE_KINDS && a->want & LEDGER_WANT_HISTOGRAM;
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);

    if (rc == RC_OK && apart)
        rc = add_all_histograms(a, from_us, to_us, fail);
    if (rc != RC_OK)
        return rc;
    a->has_histograms = apart;
    rc = add_facts(a, from_us, to_us, fail);
    a->has_histograms = false;
    return rc;
}

/* ---- costs
 * ------------------------------------------------------------------------------------ */

/* By the column's bucket, which is 0 for those in no histogram: nobody wants these. */
struct bucket_set {
    uint64_t bits[(HISTOGRAM_BUCKETS + 1 + 63) / 64];
};

static void want_buckets(struct bucket_set *set, const uint16_t *wanted)
{
    for (unsigned k = 0; k < LEDGER_PERCENTILES; k++) {
        if (wanted[k] > 0)
            set->bits[wanted[k] / 64] |= UINT64_C(1) << wanted[k] % 64;
    }
}

/* Of each row: its own and those of the total. */
static struct bucket_set *wanted_sets(const uint16_t *wanted, size_t n_rows)
{
    struct bucket_set *sets = xcalloc(n_rows + 1, sizeof(*sets));

    for (size_t i = 0; i < n_rows; i++) {
        want_buckets(&sets[i], wanted + i * LEDGER_PERCENTILES);
        want_buckets(&sets[i], wanted + n_rows * LEDGER_PERCENTILES);
    }
    return sets;
}

static enum rc each_cost(struct fact_pick *p, const struct bucket_set *sets,
                         answer_cost_fn *fn, void *arg, struct fail *fail)
{
    const int64_t *bucket = facts_number(&p->facts, FACT_BUCKET);
    const money_int *cost = NULL;
    enum rc rc = RC_OK;

    for (size_t i = 0; bucket && rc == RC_OK && i < p->facts.n; i++) {
        if (p->row[i] == PICK_NONE || bucket[i] < 0 || bucket[i] > HISTOGRAM_BUCKETS ||
            !(sets[p->row[i]].bits[bucket[i] / 64] >> bucket[i] % 64 & 1))
            continue;
        if (!cost)
            cost = facts_amount(&p->facts, FACT_COST);
        if (p->facts.rc != RC_OK)
            break;
        rc = fn((size_t)p->row[i], (struct money){cost ? cost[i] : 0},
                (unsigned)(bucket[i] - 1), arg, fail);
    }
    return rc;
}

enum rc answer_each_cost(struct answer *a, const uint16_t *wanted, struct latencies *latencies,
                         int64_t from_us, int64_t to_us, answer_cost_fn *fn, void *arg,
                         struct fail *fail)
{
    enum rc rc = read_kept(a->reader, &a->q->filter, from_us, to_us, fail);
    struct fact_pick *p = rc == RC_OK ? pick_open(a, from_us, to_us, false, fail) : NULL;

    struct bucket_set *sets;

    if (!p)
        return rc == RC_OK ? fail->rc : rc;
    p->spares_combo = true;
    sets = wanted_sets(wanted, a->n_rows);
    while (rc == RC_OK && pick_next(p)) {
        a->fact_rows += p->n_picked;
        rc = each_cost(p, sets, fn, arg, fail);
        if (rc == RC_OK && latencies)
            rc = latencies_add_block(latencies, p, fail);
    }
    if (rc == RC_OK && p->facts.rc != RC_OK) {
        rc = p->facts.rc;
        *fail = p->facts.fail;
    }
    free(sets);
    pick_close(p);
    return rc;
}
