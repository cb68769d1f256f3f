/*
 * report_lines.c - the lines behind a number, one row a record.
 */
#include <string.h>

#include "reports/report_int.h"

enum line_column {
    LINE_ID = 0,
    LINE_START,
    LINE_END,
    LINE_DIMENSIONS, /* DIM_COUNT of them follow */
    LINE_ATTEMPT = LINE_DIMENSIONS + DIM_COUNT,
    LINE_PROTOCOL,
    LINE_ENDPOINT,
    LINE_MODEL_REQUESTED,
    LINE_SERVICE_TIER,
    LINE_STREAM,
    LINE_STATUS,
    LINE_OUTCOME,
    LINE_USAGE_SOURCE,
    LINE_INPUT,
    LINE_CACHE_READ,
    LINE_CACHE_WRITE_5M,
    LINE_CACHE_WRITE_1H,
    LINE_OUTPUT,
    LINE_REASONING,
    LINE_COST,
    LINE_LIST_COST,
    LINE_PRICE_STATUS,
    LINE_PRICE_ID,
    LINE_LATENCY,
    LINE_FIRST_BYTE,
    LINE_REQUESTS,
    LINE_CORRECTS,
    LINE_REASON,
};

static const struct {
    enum line_column column;
    enum usage_field field;
} line_tokens[] = {
    {LINE_INPUT, USAGE_INPUT},
    {LINE_CACHE_READ, USAGE_CACHE_READ},
    {LINE_CACHE_WRITE_5M, USAGE_CACHE_WRITE_5M},
    {LINE_CACHE_WRITE_1H, USAGE_CACHE_WRITE_1H},
    {LINE_OUTPUT, USAGE_OUTPUT},
    {LINE_REASONING, USAGE_REASONING},
};
enum { LINE_TOKENS = sizeof(line_tokens) / sizeof(line_tokens[0]) };

static void line_columns(struct sheet *t)
{
    const unsigned adds = COLUMN_ADDS, machine = COLUMN_MACHINE;
    const unsigned rare = COLUMN_SPARSE;

    sheet_column(t, "id", "id", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "start", "start", COLUMN_TIME, machine | COLUMN_KEY);
    sheet_column(t, "end", "end", COLUMN_TIME, COLUMN_KEY);
    for (unsigned d = 0; d < DIM_COUNT; d++) {
        const char *name = dimension_name((enum dimension)d);
        sheet_column(t, name, name, COLUMN_TEXT, rare | COLUMN_KEY);
    }
    sheet_column(t, "attempt", "attempt", COLUMN_COUNT, rare | COLUMN_KEY);
    sheet_column(t, "protocol", "protocol", COLUMN_TEXT, machine | COLUMN_KEY);
    sheet_column(t, "endpoint", "endpoint", COLUMN_TEXT, machine | COLUMN_KEY);
    sheet_column(t, "model_requested", "model requested", COLUMN_TEXT, machine | COLUMN_KEY);
    sheet_column(t, "service_tier", "tier", COLUMN_TEXT, rare | COLUMN_KEY);
    sheet_column(t, "stream", "stream", COLUMN_BOOL, machine | COLUMN_KEY);
    sheet_column(t, "status", "status", COLUMN_COUNT, COLUMN_KEY);
    sheet_column(t, "outcome", "outcome", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "usage_source", "usage", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "input_tokens", "input", COLUMN_COUNT, adds);
    sheet_column(t, "cache_read_tokens", "cache read", COLUMN_COUNT, adds | rare);
    sheet_column(t, "cache_write_5m_tokens", "cache write", COLUMN_COUNT, adds | rare);
    sheet_column(t, "cache_write_1h_tokens", "cache write 1h", COLUMN_COUNT, adds | rare);
    sheet_column(t, "output_tokens", "output", COLUMN_COUNT, adds);
    sheet_column(t, "reasoning_tokens", "reasoning", COLUMN_COUNT, adds | rare);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, adds);
    sheet_column(t, "list_cost_usd", "list USD", COLUMN_MONEY, adds | machine);
    sheet_column(t, "price_status", "price", COLUMN_TEXT, machine | COLUMN_KEY);
    sheet_column(t, "price_id", "price id", COLUMN_TEXT, machine | COLUMN_KEY);
    sheet_column(t, "latency_ms", "ms", COLUMN_COUNT, 0);
    sheet_column(t, "first_byte_ms", "first byte ms", COLUMN_COUNT, machine);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, adds | machine);
    sheet_column(t, "corrects", "corrects", COLUMN_TEXT, rare | COLUMN_KEY);
    sheet_column(t, "reason", "reason", COLUMN_TEXT, rare | COLUMN_KEY);
}

struct lines {
    struct run *run;
    struct money cost, list; /* of the rows so far */
    uint64_t tokens[LINE_TOKENS];
    uint64_t n, max;
    uint64_t requests, unknown, unpriced;
    enum rc rc;
};

/* An absent text is null: unlike a group, a line needs no name for it. */
static void put_text(struct lines *l, struct strv text, struct cell *out)
{
    if (text.n && l->rc == RC_OK)
        l->rc = sheet_text(&l->run->sheet, text, out);
}

static struct cell milliseconds(int64_t us)
{
    return us < 0 ? cell_null() : cell_count((uint64_t)us / 1000);
}

static void put_names(struct lines *l, const struct record *r, struct cell *c)
{
    char id[UUID_TEXT];

    uuid_format(&r->id, id);
    put_text(l, strv_z(id), &c[LINE_ID]);
    c[LINE_START] = cell_time(r->start_us);
    c[LINE_END] = cell_time(r->end_us);
    for (unsigned d = 0; d < DIM_COUNT; d++)
        put_text(l, r->subject.dim[d], &c[LINE_DIMENSIONS + d]);
    if (r->attempt)
        c[LINE_ATTEMPT] = cell_count(r->attempt);
    put_text(l, r->protocol, &c[LINE_PROTOCOL]);
    put_text(l, r->endpoint, &c[LINE_ENDPOINT]);
    put_text(l, r->model_requested, &c[LINE_MODEL_REQUESTED]);
    put_text(l, r->service_tier, &c[LINE_SERVICE_TIER]);
    c[LINE_STREAM] = cell_bool(r->stream);
    if (r->status > 0)
        c[LINE_STATUS] = cell_count((uint64_t)r->status);
    put_text(l, strv_z(outcome_name(r->outcome)), &c[LINE_OUTCOME]);
    put_text(l, strv_z(usage_source_name(r->usage_source)), &c[LINE_USAGE_SOURCE]);
    put_text(l, strv_z(price_status_name(r->price_status)), &c[LINE_PRICE_STATUS]);
    put_text(l, r->price_id, &c[LINE_PRICE_ID]);
    c[LINE_LATENCY] = milliseconds(r->latency_us);
    c[LINE_FIRST_BYTE] = milliseconds(r->first_byte_us);
    if (r->is_correction) {
        uuid_format(&r->corrects, id);
        put_text(l, strv_z(id), &c[LINE_CORRECTS]);
        put_text(l, r->reason, &c[LINE_REASON]);
        c[LINE_LATENCY] = cell_null();
    }
}

static bool on_line(uint64_t seq, const struct record *r, void *arg)
{
    struct lines *l = arg;
    struct cell *c;

    (void)seq;
    if (l->n == l->max || sheet_row(&l->run->sheet, &c) != RC_OK) {
        l->rc = RC_LIMIT;
        return false;
    }
    l->n++;
    put_names(l, r, c);
    for (unsigned i = 0; i < LINE_TOKENS; i++) {
        if (!usage_has(&r->usage, line_tokens[i].field) || r->is_correction)
            continue;
        c[line_tokens[i].column] = cell_count(r->usage.n[line_tokens[i].field]);
        l->tokens[i] += r->usage.n[line_tokens[i].field];
    }
    l->requests += !r->is_correction;
    l->unknown += r->usage_source == USAGE_NONE && !r->is_correction;
    c[LINE_REQUESTS] = cell_count(!r->is_correction);
    if (r->price_status == PRICE_NONE) {
        l->unpriced++;
        return l->rc == RC_OK;
    }
    c[LINE_COST] = cell_money(r->cost);
    c[LINE_LIST_COST] = cell_money(r->list_cost);
    l->cost = money_add(l->cost, r->cost);
    l->list = money_add(l->list, r->list_cost);
    return l->rc == RC_OK;
}

static void total_cells(const struct ledger_sums *s, struct cell *c)
{
    for (unsigned i = 0; i < LINE_TOKENS; i++)
        c[line_tokens[i].column] = sums_tokens(s, line_tokens[i].field);
    c[LINE_COST] = sums_cost(s, s->cost);
    c[LINE_LIST_COST] = sums_cost(s, s->list);
    c[LINE_REQUESTS] = cell_count(s->requests);
}

/* What the rows left out of the total. */
static enum rc put_other(struct lines *l, const struct ledger_sums *s)
{
    struct ledger_sums rest = {0};
    struct cell *c;
    enum rc rc = sheet_row(&l->run->sheet, &c);

    if (rc != RC_OK)
        return rc;
    l->run->n_others = 1;
    rest.requests = s->requests - l->requests;
    rest.unpriced = s->unpriced - l->unpriced;
    rest.priced = rest.requests - rest.unpriced;
    rest.by_usage_source[USAGE_NONE] = s->by_usage_source[USAGE_NONE] - l->unknown;
    rest.cost = money_sub(s->cost, l->cost);
    rest.list = money_sub(s->list, l->list);
    for (unsigned i = 0; i < LINE_TOKENS; i++)
        rest.tokens[line_tokens[i].field] = s->tokens[line_tokens[i].field] - l->tokens[i];
    total_cells(&rest, c);
    return sheet_text(&l->run->sheet, STRV("(other)"), &c[LINE_ID]);
}

static enum ledger_order order_of(const struct report_params *p)
{
    if (strv_eq(p->sort, STRV("cost_usd")) && !p->ascending)
        return LEDGER_DEAREST;
    if ((strv_eq(p->sort, STRV("end")) || strv_eq(p->sort, STRV("start"))) && p->has_order &&
        !p->ascending)
        return LEDGER_NEWEST;
    return LEDGER_OLDEST;
}

enum rc report_lines(struct run *run)
{
    const struct report_params *p = run->params;
    struct ledger_question q = {
        .grain = PERIOD_TOTAL, .zone = p->zone, .want = LEDGER_SPARE_TRANSPORT};
    struct lines lines = {.run = run, .max = REPORT_LINES_MAX};
    struct ledger_rows rows;
    enum rc rc;

    if (p->n_by)
        return run_refuses(run, "by", "a line is one record");
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "a line is one record");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    params_filter(p, &q.filter);
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    line_columns(&run->sheet);
    rc = ledger_read_lines(run->reader, &q.filter, order_of(p), p->top, 0, on_line, &lines,
                           &run->fail);
    if (rc == RC_OK)
        rc = lines.rc;
    if (rc == RC_OK && lines.n < rows.total.sums.requests + rows.total.sums.corrections)
        rc = put_other(&lines, &rows.total.sums);
    if (rc == RC_OK)
        total_cells(&rows.total.sums, run->sheet.total);
    ledger_rows_release(&rows);
    return rc;
}
