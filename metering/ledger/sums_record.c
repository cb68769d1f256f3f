/*
 * sums_record.c - adds single records to sums: once a record at ingest, so no more is touched
 * than a record says.
 */
#include <string.h>

#include "metering/ledger/sums.h"

bool outcome_is_error(enum outcome o)
{
    switch (o) {
    case OUTCOME_PROVIDER_ERROR:
    case OUTCOME_UPSTREAM_ABORT:
    case OUTCOME_TIMEOUT:
    case OUTCOME_INTERRUPTED:
        return true;
    case OUTCOME_OK:
    case OUTCOME_TRUNCATED:
    case OUTCOME_REFUSED:
    case OUTCOME_CLIENT_ABORT:
    case OUTCOME_CUT:
    case OUTCOME_COUNT:
        break;
    }
    return false;
}

/* Sums do not wrap: more than can be is the most that can be. */
static void count(uint64_t *to, uint64_t n)
{
    if (__builtin_add_overflow(*to, n, to))
        *to = UINT64_MAX;
}

static void add(struct money *to, struct money m)
{
    *to = ledger_money_add(*to, m);
}

/* One request more whose cost is known. */
static void add_priced(struct ledger_sums *to, struct money cost)
{
    if (to->priced == 0 || money_cmp(cost, to->cost_min) < 0)
        to->cost_min = cost;
    if (to->priced == 0 || money_cmp(cost, to->cost_max) > 0)
        to->cost_max = cost;
    count(&to->priced, 1);
}

/* Of a request or of a correction. */
static void add_cost(struct ledger_sums *to, const struct record *r)
{
    add(&to->cost, r->cost);
    add(&to->list, r->list_cost);
    if (outcome_is_error(r->outcome))
        add(&to->error_cost, r->cost);
    if (r->usage_source == USAGE_PARTIAL || r->usage_source == USAGE_ESTIMATED)
        add(&to->estimated_cost, r->cost);
    if (r->is_repeat)
        add(&to->repeat_cost, r->cost);
}

static void add_correction(struct ledger_sums *to, const struct record *r)
{
    count(&to->corrections, 1);
    add_cost(to, r);
    add(&to->correction_cost, r->cost);
    if (r->was_unpriced) {
        add_priced(to, r->cost);
        count(&to->late_priced, 1);
    }
}

static void add_price(struct ledger_sums *to, const struct record *r)
{
    int64_t ceil_nano;

    if (r->price_status == PRICE_NONE) {
        count(&to->unpriced, 1);
        return;
    }
    ceil_nano = money_ceil_nano(r->cost);
    add_priced(to, r->cost);
    add_cost(to, r);
    count(&to->price_partial, r->price_status == PRICE_PARTIAL);
    count(&to->cost_ceil_nano, ceil_nano > 0 ? (uint64_t)ceil_nano : 0);
}

static void add_times(struct ledger_sums *to, const struct record *r)
{
    uint64_t latency_us = r->latency_us < 0 ? 0 : (uint64_t)r->latency_us, first_us;

    count(&to->latency_us, latency_us);
    if (latency_us > to->latency_max_us)
        to->latency_max_us = latency_us;
    if (r->first_byte_us < 0)
        return;
    first_us = (uint64_t)r->first_byte_us;
    count(&to->first_bytes, 1);
    count(&to->first_byte_us, first_us);
    if (first_us > to->first_byte_max_us)
        to->first_byte_max_us = first_us;
}

void ledger_sums_add_record(struct ledger_sums *to, const struct record *r)
{
    if (r->is_correction) {
        add_correction(to, r);
        return;
    }
    count(&to->requests, 1);
    count(&to->by_outcome[r->outcome], 1);
    count(&to->errors, outcome_is_error(r->outcome));
    count(&to->by_usage_source[r->usage_source], 1);
    for (uint32_t left = r->usage.has; left; left &= left - 1) {
        int f = __builtin_ctz(left);

        count(&to->tokens[f], r->usage.n[f]);
        count(&to->reported[f], 1);
    }
    add_price(to, r);
    count(&to->repeats, r->is_repeat);
    count(&to->cacheable, r->is_cacheable);
    if (r->has_provider_cost) {
        count(&to->provider_costs, 1);
        add(&to->provider_cost, r->provider_cost);
    }
    count(&to->retries, r->attempt > 1);
    count(&to->streams, r->stream);
    add_times(to, r);
    count(&to->bytes_in, r->bytes_in);
    count(&to->bytes_out, r->bytes_out);
}

void ledger_sums_of(const struct record *r, struct ledger_sums *out)
{
    memset(out, 0, sizeof(*out));
    ledger_sums_add_record(out, r);
}

static uint64_t reported(const struct usage *u, enum usage_field f)
{
    return usage_has(u, f) ? u->n[f] : 0;
}

void ledger_meters_add_record(struct ledger_meter_sum *to, const struct record *r)
{
    for (size_t i = 0; i < r->n_lines; i++) {
        bool first = !r->is_correction || r->was_unpriced;

        for (size_t j = 0; j < i; j++)
            first &= r->lines[j].meter != r->lines[i].meter;
        ledger_meter_add(
            &to[r->lines[i].meter],
            &(struct ledger_meter_sum){first, r->lines[i].quantity, r->lines[i].amount});
    }
}

void rollup_add_record(struct rollup *to, const struct record *r)
{
    /* Distributions are of requests: a correction of a price moves nothing in them. */
    bool priced = r->price_status != PRICE_NONE && (!r->is_correction || r->was_unpriced);

    ledger_sums_add_record(&to->sums, r);
    if (to->histogram && priced)
        count(&to->histogram->n[cost_histogram_bucket(r->cost)], 1);
    if (to->bands) {
        struct ledger_band *band = &to->bands[ledger_band_of(&r->usage)];

        count(&band->priced, priced);
        if (r->is_correction || r->price_status != PRICE_NONE)
            add(&band->cost, r->cost);
        if (!r->is_correction) {
            count(&band->requests, 1);
            count(&band->input_tokens, reported(&r->usage, USAGE_INPUT));
            count(&band->output_tokens, reported(&r->usage, USAGE_OUTPUT));
        }
    }
    if (to->meters)
        ledger_meters_add_record(to->meters, r);
}
