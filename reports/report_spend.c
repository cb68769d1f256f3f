/*
 * report_spend.c - who spent what, and when; what a request costs.
 *
 * Both reports are one question to the ledger and one row a group; they differ in
 * their columns.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "reports/report_int.h"

/* What no column of spend, or of requests, is of. */
enum {
    SPEND_SPARES = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS | LEDGER_SPARE_CEILING,
    REQUESTS_SPARES = LEDGER_SPARE_FINE | LEDGER_SPARE_CEILING,
};

enum spend_column {
    SPEND_REQUESTS = 0,
    SPEND_INPUT,
    SPEND_CACHE_READ,
    SPEND_CACHE_WRITE_5M,
    SPEND_CACHE_WRITE_1H,
    SPEND_OUTPUT,
    SPEND_REASONING,
    SPEND_COST,
    SPEND_LIST_COST,
    SPEND_SHARE,
    SPEND_UNPRICED,
    SPEND_PARTIAL,
    SPEND_UNKNOWN,
    SPEND_ESTIMATED,
    SPEND_ESTIMATED_COST,
    /* with the word against */
    SPEND_BEFORE,
    SPEND_CHANGE,
    SPEND_CHANGE_RATIO,
};

static void spend_columns(struct sheet *t)
{
    const unsigned quality = COLUMN_ADDS | COLUMN_SPARSE;
    size_t first = t->n_columns;

    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "input_tokens", "input", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cache_read_tokens", "cache read", COLUMN_COUNT, quality);
    sheet_column(t, "cache_write_5m_tokens", "cache write", COLUMN_COUNT, quality);
    sheet_column(t, "cache_write_1h_tokens", "cache write 1h", COLUMN_COUNT, quality);
    sheet_column(t, "output_tokens", "output", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "reasoning_tokens", "reasoning", COLUMN_COUNT, quality);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "list_cost_usd", "list USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_share(t, "share", "share", first + SPEND_COST);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, quality);
    sheet_column(t, "partly_priced_requests", "partly priced", COLUMN_COUNT, quality);
    sheet_column(t, "unknown_usage_requests", "usage unknown", COLUMN_COUNT, quality);
    sheet_column(t, "estimated_requests", "estimated", COLUMN_COUNT, quality);
    sheet_column(t, "estimated_cost_usd", "estimated USD", COLUMN_MONEY, quality);
}

static void change_columns(struct sheet *t)
{
    sheet_column(t, "previous_cost_usd", "before USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "change_usd", "change USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "change_ratio", "change", COLUMN_RATIO, COLUMN_PER_CENT);
}

static void spend_cells(const struct ledger_sums *s, struct cell *c)
{
    c[SPEND_REQUESTS] = cell_count(s->requests);
    c[SPEND_INPUT] = sums_tokens(s, USAGE_INPUT);
    c[SPEND_CACHE_READ] = sums_tokens(s, USAGE_CACHE_READ);
    c[SPEND_CACHE_WRITE_5M] = sums_tokens(s, USAGE_CACHE_WRITE_5M);
    c[SPEND_CACHE_WRITE_1H] = sums_tokens(s, USAGE_CACHE_WRITE_1H);
    c[SPEND_OUTPUT] = sums_tokens(s, USAGE_OUTPUT);
    c[SPEND_REASONING] = sums_tokens(s, USAGE_REASONING);
    c[SPEND_COST] = sums_cost(s, s->cost);
    c[SPEND_LIST_COST] = sums_cost(s, s->list);
    c[SPEND_UNPRICED] = cell_count(s->unpriced);
    c[SPEND_PARTIAL] = cell_count(s->price_partial);
    c[SPEND_UNKNOWN] = cell_count(s->by_usage_source[USAGE_NONE]);
    c[SPEND_ESTIMATED] =
        cell_count(s->by_usage_source[USAGE_PARTIAL] + s->by_usage_source[USAGE_ESTIMATED]);
    c[SPEND_ESTIMATED_COST] = sums_cost(s, s->estimated_cost);
}

/* Beside what the other period had; null where neither has a price. */
static void change_cells(const struct ledger_sums *now, const struct ledger_sums *before,
                         struct cell *c)
{
    struct money change = money_sub(now->cost, before->cost);

    c[SPEND_BEFORE] = sums_cost(before, before->cost);
    if (!c[SPEND_BEFORE].known && !sums_cost(now, now->cost).known)
        return;
    c[SPEND_CHANGE] = cell_money(change);
    if (before->cost.atto > 0)
        c[SPEND_CHANGE_RATIO] = cell_ratio(change.atto, before->cost.atto);
}

enum request_column {
    REQUEST_REQUESTS = 0,
    REQUEST_COST,
    REQUEST_MEAN,
    REQUEST_MIN,
    REQUEST_P50,
    REQUEST_P90,
    REQUEST_P95,
    REQUEST_P99,
    REQUEST_MAX,
    REQUEST_INPUT,
    REQUEST_OUTPUT,
    REQUEST_TOKENS_EACH,
    REQUEST_ERRORS,
    REQUEST_ERROR_RATIO,
    REQUEST_RETRIES,
    REQUEST_LATENCY,
    REQUEST_LATENCY_P95,
    REQUEST_UNPRICED,
    REQUEST_UNKNOWN,
};

static void request_columns(struct sheet *t)
{
    const unsigned quality = COLUMN_ADDS | COLUMN_SPARSE;

    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "mean_cost_usd", "mean USD", COLUMN_MONEY, 0);
    sheet_column(t, "min_cost_usd", "min USD", COLUMN_MONEY, COLUMN_MACHINE);
    sheet_column(t, "p50_cost_usd", "p50 USD", COLUMN_MONEY, 0);
    sheet_column(t, "p90_cost_usd", "p90 USD", COLUMN_MONEY, 0);
    sheet_column(t, "p95_cost_usd", "p95 USD", COLUMN_MONEY, 0);
    sheet_column(t, "p99_cost_usd", "p99 USD", COLUMN_MONEY, 0);
    sheet_column(t, "max_cost_usd", "max USD", COLUMN_MONEY, 0);
    sheet_column(t, "input_tokens", "input", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "output_tokens", "output", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "tokens_per_request", "tokens/request", COLUMN_RATIO, 0);
    sheet_column(t, "errors", "errors", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "error_ratio", "error", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "retries", "retries", COLUMN_COUNT, quality);
    sheet_column(t, "mean_latency_ms", "mean ms", COLUMN_RATIO, 0);
    sheet_column(t, "p95_latency_ms", "p95 ms", COLUMN_COUNT, 0);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, quality);
    sheet_column(t, "unknown_usage_requests", "usage unknown", COLUMN_COUNT, quality);
}

/* row: for its percentiles; NULL where they are not known. */
static void request_cells(const struct ledger_sums *s, const struct ledger_row *row,
                          struct cell *c)
{
    static const enum request_column at[LEDGER_PERCENTILES] = {REQUEST_P50, REQUEST_P90,
                                                               REQUEST_P95, REQUEST_P99};
    uint64_t known = s->requests - s->by_usage_source[USAGE_NONE];

    c[REQUEST_REQUESTS] = cell_count(s->requests);
    c[REQUEST_COST] = sums_cost(s, s->cost);
    c[REQUEST_MEAN] = mean_money(s->cost, s->priced);
    if (s->priced > 0) {
        c[REQUEST_MIN] = cell_money(s->cost_min);
        c[REQUEST_MAX] = cell_money(s->cost_max);
    }
    for (unsigned i = 0; row && s->priced > 0 && i < LEDGER_PERCENTILES; i++)
        c[at[i]] = cell_money(row->percentile[i]);
    c[REQUEST_INPUT] = sums_tokens(s, USAGE_INPUT);
    c[REQUEST_OUTPUT] = sums_tokens(s, USAGE_OUTPUT);
    c[REQUEST_TOKENS_EACH] =
        cell_ratio((money_int)s->tokens[USAGE_INPUT] + s->tokens[USAGE_OUTPUT], known);
    c[REQUEST_ERRORS] = cell_count(s->errors);
    c[REQUEST_ERROR_RATIO] = cell_ratio(s->errors, s->requests);
    c[REQUEST_RETRIES] = cell_count(s->retries);
    c[REQUEST_LATENCY] = cell_ratio(s->latency_us, (money_int)s->requests * 1000);
    if (row && row->has_latency)
        c[REQUEST_LATENCY_P95] = cell_count(row->p95_latency_ms);
    c[REQUEST_UNPRICED] = cell_count(s->unpriced);
    c[REQUEST_UNKNOWN] = cell_count(s->by_usage_source[USAGE_NONE]);
}

/* ---- the question --------------------------------------------------------------------- */

static enum rc fill(struct run *run, bool requests, const struct ledger_rows *rows)
{
    size_t keys = run_key_columns(run);
    struct groups groups;
    enum rc rc = RC_OK;

    if (requests)
        request_columns(&run->sheet);
    else
        spend_columns(&run->sheet);
    drill_column(run);
    groups_of(run, rows, &groups);
    for (size_t i = 0; rc == RC_OK && i < groups.n; i++) {
        const struct group *g = &groups.at[i];
        struct cell *row;
        rc = sheet_row(&run->sheet, &row);
        if (rc == RC_OK)
            rc = group_keys(run, g, row);
        if (rc == RC_OK && requests)
            request_cells(g->sums, g->row, row + keys);
        else if (rc == RC_OK)
            spend_cells(g->sums, row + keys);
        if (rc == RC_OK && run->params->basis == BASIS_LIST)
            row[keys + SPEND_ESTIMATED_COST] = cell_null(); /* known as charged alone */
        if (rc == RC_OK)
            rc = group_link(run, &groups, i, row);
        run->n_others = run->params->grain == PERIOD_TOTAL && !g->row;
    }
    if (requests)
        request_cells(&rows->total.sums, &rows->total, run->sheet.total + keys);
    else
        spend_cells(&rows->total.sums, run->sheet.total + keys);
    if (run->params->basis == BASIS_LIST)
        run->sheet.total[keys + SPEND_ESTIMATED_COST] = cell_null();
    groups_release(&groups);
    return rc == RC_OK ? drill_total(run) : rc;
}

static enum rc ask_and_fill(struct run *run, bool requests)
{
    struct ledger_rows rows;
    enum rc rc;

    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    rc = run_top_sums(run,
                      requests ? LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY | REQUESTS_SPARES
                               : SPEND_SPARES,
                      &rows);
    if (rc != RC_OK)
        return rc;
    rc = fill(run, requests, &rows);
    ledger_rows_release(&rows);
    return rc;
}

/* ---- against another period ------------------------------------------------------------- */

static const struct ledger_sums nothing;

/* Groups of both periods, in order of values: those that are gone have sums of nothing. */
struct both {
    struct ledger_row *row;
    const struct ledger_sums **before;
    size_t n;
};

static int values_cmp(const struct ledger_row *a, const struct ledger_row *b, size_t n_by)
{
    int c = 0;

    for (size_t i = 0; c == 0 && i < n_by; i++)
        c = strv_cmp(a->value[i], b->value[i]);
    return c;
}

static void join(const struct ledger_rows *now, const struct ledger_rows *before, size_t n_by,
                 struct both *out)
{
    size_t i = 0, k = 0;

    *out = (struct both){.row = xcalloc(now->n + before->n + 1, sizeof(*out->row)),
                         .before = xcalloc(now->n + before->n + 1, sizeof(*out->before))};
    while (i < now->n || k < before->n) {
        int c = i == now->n      ? 1
                : k == before->n ? -1
                                 : values_cmp(&now->at[i], &before->at[k], n_by);
        struct ledger_row *row = &out->row[out->n];

        out->before[out->n++] = c >= 0 ? &before->at[k].sums : &nothing;
        if (c <= 0)
            *row = now->at[i];
        else
            *row = (struct ledger_row){.start_us = now->total.start_us,
                                       .end_us = now->total.end_us,
                                       .value = before->at[k].value};
        row->place = out->n - 1;
        i += c <= 0;
        k += c >= 0;
    }
}

/* (other) had what the period had and no shown row. */
static enum rc fill_both(struct run *run, const struct ledger_rows *now,
                         const struct ledger_rows *before)
{
    size_t keys = run_key_columns(run);
    struct ledger_sums rest = before->total.sums;
    struct ledger_rows rows = *now;
    struct groups groups;
    struct both both;
    enum rc rc = RC_OK;

    join(now, before, run->params->n_by, &both);
    rows.at = both.row;
    rows.n = both.n;
    spend_columns(&run->sheet);
    change_columns(&run->sheet);
    drill_column(run);
    groups_of(run, &rows, &groups);
    for (size_t i = 0; rc == RC_OK && i < groups.n; i++) {
        const struct group *g = &groups.at[i];
        const struct ledger_sums *was = g->row ? both.before[g->row - both.row] : &rest;
        struct cell *row;

        rc = sheet_row(&run->sheet, &row);
        if (rc == RC_OK)
            rc = group_keys(run, g, row);
        if (rc != RC_OK)
            break;
        spend_cells(g->sums, row + keys);
        change_cells(g->sums, was, row + keys);
        if (g->row)
            ledger_sums_take(&rest, was);
        rc = group_link(run, &groups, i, row);
        run->n_others = !g->row;
    }
    spend_cells(&now->total.sums, run->sheet.total + keys);
    change_cells(&now->total.sums, &before->total.sums, run->sheet.total + keys);
    groups_release(&groups);
    free(both.row);
    free(both.before);
    return rc == RC_OK ? drill_total(run) : rc;
}

static enum rc spend_against(struct run *run)
{
    struct ledger_rows now, before;
    enum rc rc;

    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "against compares periods as a whole");
    if (run->params->basis == BASIS_LIST)
        return run_refuses(run, "against", "periods are compared by what was charged");
    if (strv_eq(run->params->against, STRV("plan")))
        return run_refuses(run, "against=plan", "the report variance has it");
    rc = run_against(run);
    if (rc == RC_OK)
        rc = run_sums(run, SPEND_SPARES, &now);
    if (rc != RC_OK)
        return rc;
    rc = run_sums_of(run, SPEND_SPARES, run->against_from_us, run->against_to_us, &before);
    if (rc == RC_OK) {
        rc = fill_both(run, &now, &before);
        ledger_rows_release(&before);
    }
    ledger_rows_release(&now);
    return rc;
}

enum rc report_spend(struct run *run)
{
    return run->params->against.n ? spend_against(run) : ask_and_fill(run, false);
}

enum rc report_requests(struct run *run)
{
    return ask_and_fill(run, true);
}
