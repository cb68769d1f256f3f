/*
 * report_models.c - which model, at which price, with what quality signals; and which
 * sizes of request cost most.
 */
#include <string.h>

#include "reports/report_int.h"

/* ---- models ------------------------------------------------------------------------------ */

enum model_column {
    MODEL_REQUESTS = 0,
    MODEL_INPUT,
    MODEL_CACHE_READ,
    MODEL_CACHE_WRITE_5M,
    MODEL_CACHE_WRITE_1H,
    MODEL_OUTPUT,
    MODEL_REASONING,
    MODEL_COST,
    MODEL_LIST_COST,
    MODEL_SHARE,
    MODEL_PER_MILLION,
    MODEL_IN_RATE,
    MODEL_CACHE_READ_RATE,
    MODEL_CACHE_WRITE_RATE,
    MODEL_OUT_RATE,
    MODEL_CACHE_SHARE,
    MODEL_OUT_PER_IN,
    MODEL_GOOD,
    MODEL_PER_GOOD,
    MODEL_ERRORS,
    MODEL_ERROR_RATIO,
    MODEL_TRUNCATED,
    MODEL_LATENCY,
    MODEL_LATENCY_MAX,
    MODEL_FIRST_BYTE,
    MODEL_UNPRICED,
    MODEL_UNKNOWN,
};

static void model_columns(struct sheet *t)
{
    const unsigned rare = COLUMN_ADDS | COLUMN_SPARSE;
    size_t first = t->n_columns;

    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "input_tokens", "input", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cache_read_tokens", "cache read", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "cache_write_5m_tokens", "cache write", COLUMN_COUNT,
                 COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "cache_write_1h_tokens", "cache write 1h", COLUMN_COUNT,
                 COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "output_tokens", "output", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "reasoning_tokens", "reasoning", COLUMN_COUNT, rare);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "list_cost_usd", "list USD", COLUMN_MONEY, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_share(t, "share", "share", first + MODEL_COST);
    sheet_column(t, "cost_per_million_tokens_usd", "USD/1M", COLUMN_MONEY, 0);
    sheet_column(t, "input_per_million_usd", "in USD/1M", COLUMN_MONEY, COLUMN_MACHINE);
    sheet_column(t, "cache_read_per_million_usd", "cache read USD/1M", COLUMN_MONEY,
                 COLUMN_MACHINE);
    sheet_column(t, "cache_write_per_million_usd", "cache write USD/1M", COLUMN_MONEY,
                 COLUMN_MACHINE);
    sheet_column(t, "output_per_million_usd", "out USD/1M", COLUMN_MONEY, COLUMN_MACHINE);
    sheet_column(t, "cache_read_share", "cached", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "output_per_input", "out/in", COLUMN_RATIO, 0);
    sheet_column(t, "ok_requests", "ok", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "cost_per_ok_usd", "USD/ok", COLUMN_MONEY, 0);
    sheet_column(t, "errors", "errors", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "error_ratio", "error", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "truncated_requests", "truncated", COLUMN_COUNT, rare);
    sheet_column(t, "mean_latency_ms", "mean ms", COLUMN_RATIO, 0);
    sheet_column(t, "max_latency_ms", "max ms", COLUMN_COUNT, COLUMN_MACHINE);
    sheet_column(t, "mean_first_byte_ms", "first byte ms", COLUMN_RATIO, COLUMN_SPARSE);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, rare);
    sheet_column(t, "unknown_usage_requests", "usage unknown", COLUMN_COUNT, rare);
}

/* What a million of some meters cost on average; null where none was used. */
static struct cell rate_of(const struct ledger_meter_sum *m, const enum meter *meters, size_t n)
{
    struct money amount = MONEY_ZERO;
    uint64_t quantity = 0;

    for (size_t i = 0; i < n; i++) {
        amount = ledger_money_add(amount, m[meters[i]].amount);
        quantity += m[meters[i]].quantity;
    }
    return per_million(amount, quantity);
}

static void rate_cells(const struct ledger_meter_sum *m, struct cell *c)
{
    static const enum meter in[] = {METER_IN, METER_IN_AUDIO, METER_IN_IMAGE, METER_IN_VIDEO};
    static const enum meter read[] = {METER_CACHE_READ, METER_CACHE_READ_AUDIO,
                                      METER_CACHE_READ_IMAGE};
    static const enum meter write[] = {METER_CACHE_WRITE, METER_CACHE_WRITE_1H};
    static const enum meter out[] = {METER_OUT, METER_OUT_AUDIO, METER_OUT_IMAGE,
                                     METER_OUT_VIDEO, METER_OUT_REASONING};

    c[MODEL_IN_RATE] = rate_of(m, in, sizeof(in) / sizeof(*in));
    c[MODEL_CACHE_READ_RATE] = rate_of(m, read, sizeof(read) / sizeof(*read));
    c[MODEL_CACHE_WRITE_RATE] = rate_of(m, write, sizeof(write) / sizeof(*write));
    c[MODEL_OUT_RATE] = rate_of(m, out, sizeof(out) / sizeof(*out));
}

static void model_cells(const struct ledger_sums *s, const struct ledger_meter_sum *meters,
                        struct cell *c)
{
    uint64_t tokens = s->tokens[USAGE_INPUT] + s->tokens[USAGE_OUTPUT];

    c[MODEL_REQUESTS] = cell_count(s->requests);
    c[MODEL_INPUT] = sums_tokens(s, USAGE_INPUT);
    c[MODEL_CACHE_READ] = sums_tokens(s, USAGE_CACHE_READ);
    c[MODEL_CACHE_WRITE_5M] = sums_tokens(s, USAGE_CACHE_WRITE_5M);
    c[MODEL_CACHE_WRITE_1H] = sums_tokens(s, USAGE_CACHE_WRITE_1H);
    c[MODEL_OUTPUT] = sums_tokens(s, USAGE_OUTPUT);
    c[MODEL_REASONING] = sums_tokens(s, USAGE_REASONING);
    c[MODEL_COST] = sums_cost(s, s->cost);
    c[MODEL_LIST_COST] = sums_cost(s, s->list);
    if (s->priced > 0)
        c[MODEL_PER_MILLION] = per_million(s->cost, tokens);
    if (meters)
        rate_cells(meters, c);
    c[MODEL_CACHE_SHARE] =
        cell_ratio((money_int)s->tokens[USAGE_CACHE_READ], s->tokens[USAGE_INPUT]);
    c[MODEL_OUT_PER_IN] =
        cell_ratio((money_int)s->tokens[USAGE_OUTPUT], s->tokens[USAGE_INPUT]);
    c[MODEL_GOOD] = cell_count(s->by_outcome[OUTCOME_OK]);
    if (s->priced > 0)
        c[MODEL_PER_GOOD] = mean_money(s->cost, s->by_outcome[OUTCOME_OK]);
    c[MODEL_ERRORS] = cell_count(s->errors);
    c[MODEL_ERROR_RATIO] = cell_ratio((money_int)s->errors, s->requests);
    c[MODEL_TRUNCATED] = cell_count(s->by_outcome[OUTCOME_TRUNCATED]);
    c[MODEL_LATENCY] = cell_ratio((money_int)s->latency_us, (money_int)s->requests * 1000);
    c[MODEL_LATENCY_MAX] = cell_count(s->latency_max_us / 1000);
    c[MODEL_FIRST_BYTE] =
        cell_ratio((money_int)s->first_byte_us, (money_int)s->first_bytes * 1000);
    c[MODEL_UNPRICED] = cell_count(s->unpriced);
    c[MODEL_UNKNOWN] = cell_count(s->by_usage_source[USAGE_NONE]);
}

enum rc report_models(struct run *run)
{
    static const enum ledger_field_id own[] = {FIELD_UPSTREAM, FIELD_MODEL};
    struct ledger_rows rows;
    struct groups groups;
    size_t keys;
    enum rc rc;

    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    rc = run_also_by(run, own, sizeof(own) / sizeof(*own));
    if (rc == RC_OK)
        rc = run_top_sums(run, LEDGER_WANT_METERS | LEDGER_SPARE_CEILING | LEDGER_SPARE_RARE,
                          &rows);
    if (rc != RC_OK)
        return rc;
    keys = run_key_columns(run);
    model_columns(&run->sheet);
    drill_column(run);
    groups_of(run, &rows, &groups);
    for (size_t i = 0; rc == RC_OK && i < groups.n; i++) {
        const struct group *g = &groups.at[i];
        struct cell *row;
        rc = sheet_row(&run->sheet, &row);
        if (rc == RC_OK)
            rc = group_keys(run, g, row);
        if (rc == RC_OK)
            model_cells(g->sums, g->row ? g->row->meters : NULL, row + keys);
        if (rc == RC_OK)
            rc = group_link(run, &groups, i, row);
        run->n_others = run->params->grain == PERIOD_TOTAL && !g->row;
    }
    model_cells(&rows.total.sums, rows.total.meters, run->sheet.total + keys);
    if (rc == RC_OK)
        rc = drill_total(run);
    groups_release(&groups);
    ledger_rows_release(&rows);
    return rc;
}

/* ---- token bands --------------------------------------------------------------------------- */

enum band_column {
    BAND_NAME = 0,
    BAND_LEAST,
    BAND_MOST,
    BAND_REQUESTS,
    BAND_REQUEST_SHARE,
    BAND_INPUT,
    BAND_OUTPUT,
    BAND_COST,
    BAND_SHARE,
    BAND_EACH,
    BAND_PER_MILLION,
};

static void band_columns(struct sheet *t)
{
    size_t first = t->n_columns;

    sheet_column(t, "band", "tokens", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "tokens_from", "from", COLUMN_COUNT, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "tokens_to", "to", COLUMN_COUNT, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_share(t, "request_share", "of requests", first + BAND_REQUESTS);
    sheet_column(t, "input_tokens", "input", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "output_tokens", "output", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_share(t, "share", "of cost", first + BAND_COST);
    sheet_column(t, "cost_per_request_usd", "USD/request", COLUMN_MONEY, 0);
    sheet_column(t, "cost_per_million_tokens_usd", "USD/1M", COLUMN_MONEY, 0);
}

static void band_cells(const struct ledger_band *b, struct cell *c)
{
    c[BAND_REQUESTS] = cell_count(b->requests);
    c[BAND_INPUT] = cell_count(b->input_tokens);
    c[BAND_OUTPUT] = cell_count(b->output_tokens);
    if (b->requests > 0 && b->priced == 0 && money_is_zero(b->cost))
        return;
    c[BAND_COST] = cell_money(b->cost);
    c[BAND_EACH] = mean_money(b->cost, b->priced);
    c[BAND_PER_MILLION] = per_million(b->cost, b->input_tokens + b->output_tokens);
}

/* The bands of one row of the ledger's answer that have requests. */
static enum rc put_bands(struct run *run, const struct ledger_row *from, size_t keys)
{
    const struct report_params *p = run->params;
    struct group group = {from, from->start_us, from->end_us, &from->sums};
    enum rc rc = RC_OK;

    for (unsigned b = 0; rc == RC_OK && b < LEDGER_BANDS; b++) {
        uint64_t least, most;
        struct drill d;
        struct cell *row;

        if (from->bands[b].requests == 0 && from->bands[b].cost.atto == 0)
            continue;
        rc = sheet_row(&run->sheet, &row);
        if (rc == RC_OK)
            rc = group_keys(run, &group, row);
        if (rc == RC_OK)
            rc = sheet_text(&run->sheet, strv_z(ledger_band_name(b)), &row[keys + BAND_NAME]);
        if (rc != RC_OK)
            break;
        ledger_band_bounds(b, &least, &most);
        if (b > 0)
            row[keys + BAND_LEAST] = cell_count(least);
        if (b > 0 && most != UINT64_MAX)
            row[keys + BAND_MOST] = cell_count(most);
        band_cells(&from->bands[b], row + keys);
        drill_start(&d, run);
        drill_period(&d, from->start_us, from->end_us);
        for (size_t i = 0; i < p->n_by; i++)
            drill_add(&d, p->by[i], LEDGER_EQ, from->value[i]);
        drill_add(&d, (struct ledger_field){.id = FIELD_TOKEN_BAND}, LEDGER_EQ,
                  strv_z(ledger_band_name(b)));
        rc = drill_cell(run, &d, &row[run->lines]);
    }
    return rc;
}

static uint64_t banded(const struct ledger_rows *rows)
{
    uint64_t n = 0;

    for (unsigned b = 0; b < LEDGER_BANDS; b++)
        n += rows->total.bands[b].requests;
    return n;
}

enum rc report_token_bands(struct run *run)
{
    const unsigned want = LEDGER_WANT_BANDS | LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS |
                          LEDGER_SPARE_CEILING;
    struct ledger_band total = {0};
    struct ledger_rows rows;
    size_t keys;
    enum rc rc;

    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (run->params->top)
        return run_refuses(run, "top", "there are only a few bands");
    rc = run_sums(run, want, &rows);
    /* Rollups of an earlier version have no such bands: the requests have. */
    if (rc == RC_OK && banded(&rows) != rows.total.sums.requests) {
        ledger_rows_release(&rows);
        rc = run_sums(run, want | LEDGER_WANT_REQUESTS, &rows);
    }
    if (rc != RC_OK)
        return rc;
    keys = run_key_columns(run);
    band_columns(&run->sheet);
    drill_column(run);
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++)
        rc = put_bands(run, &rows.at[i], keys);
    for (unsigned b = 0; b < LEDGER_BANDS; b++)
        ledger_band_add(&total, &rows.total.bands[b]);
    band_cells(&total, run->sheet.total + keys);
    if (rc == RC_OK)
        rc = drill_total(run);
    run->note = "By all tokens of a request, input and output.";
    ledger_rows_release(&rows);
    return rc;
}
