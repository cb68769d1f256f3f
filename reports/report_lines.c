/*
 * report_lines.c - the lines behind a number, one row a record.
 */
#include <string.h>

#include "reports/lines_pick.h"
#include "reports/report_int.h"

/* Sixteen free tags of a name and a value each, every byte of the value escaped. */
enum { TAGS_MAX_BYTES = FREE_TAGS_MAX * 4096 };

enum line_column {
    LINE_ID = 0,
    LINE_START,
    LINE_END,
    LINE_DIMENSIONS, /* DIM_COUNT of them follow */
    LINE_TAGS = LINE_DIMENSIONS + DIM_COUNT,
    LINE_ATTEMPT,
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
    LINE_BOOK,
    LINE_LATENCY,
    LINE_FIRST_BYTE,
    LINE_REQUESTS,
    LINE_CORRECTS,
    LINE_REASON,
    LINE_QUANTITY, /* both where one price is asked for alone */
    LINE_CHARGED,
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

static void line_columns(struct sheet *t, bool of_one_price)
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
    sheet_column(t, "tags", "tags", COLUMN_TEXT, rare | COLUMN_KEY);
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
    sheet_column(t, "book", "book", COLUMN_TEXT, machine | COLUMN_KEY);
    sheet_column(t, "latency_ms", "ms", COLUMN_COUNT, 0);
    sheet_column(t, "first_byte_ms", "first byte ms", COLUMN_COUNT, machine);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, adds | machine);
    sheet_column(t, "corrects", "corrects", COLUMN_TEXT, rare | COLUMN_KEY);
    sheet_column(t, "reason", "reason", COLUMN_TEXT, rare | COLUMN_KEY);
    if (of_one_price) {
        sheet_column(t, "quantity", "quantity", COLUMN_COUNT, adds);
        sheet_column(t, "charged_usd", "charged USD", COLUMN_MONEY, adds);
    }
}

struct lines {
    struct run *run;
    struct money cost, list; /* of the rows so far */
    uint64_t tokens[LINE_TOKENS];
    uint64_t n, max;
    uint64_t requests, unknown, unpriced;
    struct lines_pick *pick; /* NULL: all that are read */
    bool is_counted;         /* the total is that of the lines read: no sums tell it */
    struct ledger_sums total;
    struct charged charged, all_charged; /* of the rows, of all */
    enum rc rc;
};

/* An absent text is null: unlike a group, a line needs no name for it. */
static void put_text(struct lines *l, struct strv text, struct cell *out)
{
    if (text.n && l->rc == RC_OK)
        l->rc = sheet_text(&l->run->sheet, text, out);
}

/* Free tags as "name=value,name=value", with \, in a value as the word `where` has it. */
static void put_tags(struct lines *l, const struct record *r, struct cell *out)
{
    struct buf text;
    enum rc rc = RC_OK;

    buf_init(&text, TAGS_MAX_BYTES);
    for (unsigned i = 0; rc == RC_OK && i < r->subject.n_free; i++) {
        const struct tag *tag = &r->subject.free[i];

        rc = buf_printf(&text, "%s" STRV_FMT "=", i ? "," : "", STRV_ARG(tag->name));
        for (size_t k = 0; rc == RC_OK && k < tag->value.n; k++) {
            char c = tag->value.p[k];

            if (c == ',' || c == '\\')
                rc = buf_append(&text, "\\", 1);
            if (rc == RC_OK)
                rc = buf_append(&text, &c, 1);
        }
    }
    if (rc == RC_OK)
        put_text(l, buf_view(&text), out);
    else
        l->rc = rc;
    buf_release(&text);
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
    put_tags(l, r, &c[LINE_TAGS]);
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
    put_text(l, r->book, &c[LINE_BOOK]);
    c[LINE_LATENCY] = milliseconds(r->latency_us);
    c[LINE_FIRST_BYTE] = milliseconds(r->first_byte_us);
    if (r->is_correction) {
        uuid_format(&r->corrects, id);
        put_text(l, strv_z(id), &c[LINE_CORRECTS]);
        put_text(l, r->reason, &c[LINE_REASON]);
        c[LINE_LATENCY] = cell_null();
    }
}

/* Of lines that no sums tell of, the total; false where it is told in (other) alone. */
static bool count(struct lines *l, const struct record *r, const struct charged *charged)
{
    uint64_t top = l->run->params->top;
    struct ledger_sums one;

    ledger_sums_of(r, &one);
    run_basis(l->run, &one);
    ledger_sums_add(&l->total, &one);
    l->all_charged.amount = money_add(l->all_charged.amount, charged->amount);
    l->all_charged.quantity += charged->quantity;
    return top == 0 || l->n < top;
}

static void put_charged(struct lines *l, const struct charged *charged, struct cell *c)
{
    if (l->run->params->charge.n == 0)
        return;
    c[LINE_QUANTITY] = cell_count(charged->quantity);
    c[LINE_CHARGED] = cell_money(charged->amount);
    l->charged.quantity += charged->quantity;
    l->charged.amount = money_add(l->charged.amount, charged->amount);
}

static bool on_line(uint64_t seq, const struct record *r, void *arg)
{
    struct charged charged = {0, MONEY_ZERO};
    struct lines *l = arg;
    struct cell *c;

    (void)seq;
    if (l->pick && !lines_pick_holds(l->pick, r, &charged))
        return true;
    if (l->is_counted && !count(l, r, &charged))
        return true;
    if (l->n == l->max || sheet_row(&l->run->sheet, &c) != RC_OK) {
        l->rc = RC_LIMIT;
        return false;
    }
    l->n++;
    put_names(l, r, c);
    put_charged(l, &charged, c);
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
    c[LINE_COST] = cell_money(l->run->params->basis == BASIS_LIST ? r->list_cost : r->cost);
    c[LINE_LIST_COST] = cell_money(r->list_cost);
    l->cost = money_add(l->cost, c[LINE_COST].money);
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
    if (l->run->params->charge.n) {
        c[LINE_QUANTITY] = cell_count(l->all_charged.quantity - l->charged.quantity);
        c[LINE_CHARGED] = cell_money(money_sub(l->all_charged.amount, l->charged.amount));
    }
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

static bool is_chosen(const struct report_params *p)
{
    return p->only.n || p->except.n || lines_pick_is_asked(p);
}

/* The lines of the filter, and what the rows leave of the total. */
static enum rc put_lines(struct lines *l, const struct ledger_filter *filter,
                         const struct ledger_sums *sums)
{
    struct run *run = l->run;
    const struct report_params *p = run->params;
    enum rc rc = ledger_read_lines(run->reader, filter, order_of(p), l->is_counted ? 0 : p->top,
                                   0, on_line, l, &run->fail);

    if (rc == RC_OK)
        rc = l->rc;
    if (rc == RC_OK && l->n < sums->requests + sums->corrections)
        rc = put_other(l, sums);
    if (rc != RC_OK)
        return rc;
    total_cells(sums, run->sheet.total);
    if (p->charge.n) {
        run->sheet.total[LINE_QUANTITY] = cell_count(l->all_charged.quantity);
        run->sheet.total[LINE_CHARGED] = cell_money(l->all_charged.amount);
    }
    return RC_OK;
}

/* Lines that conditions alone do not choose: each is looked at, and counted. */
static enum rc put_chosen(struct lines *l, struct ledger_filter *filter)
{
    struct report_params *p = l->run->params;
    enum rc rc = lines_pick_new(l->run, &l->pick);

    l->is_counted = true;
    p->only.passes_tasks = p->waste.n > 0;
    filter->only = p->only.n ? &p->only : NULL;
    filter->but = p->except.n ? &p->except : NULL;
    if (rc == RC_OK)
        rc = put_lines(l, filter, &l->total);
    if (rc == RC_OK)
        run_take_quality(l->run, &l->total);
    lines_pick_free(l->pick);
    return rc;
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
    if (p->basis == BASIS_LIST && p->top)
        return run_refuses(run, "top", "lines are chosen by what was charged");
    line_columns(&run->sheet, p->charge.n > 0);
    if (p->by_start && p->waste.n)
        return run_refuses(run, "time", "classes of waste are of what ended in the period");
    params_filter(p, &q.filter);
    q.filter.by_start = p->by_start;
    if (is_chosen(p))
        return put_chosen(&lines, &q.filter);
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    run_take_quality(run, &rows.total.sums);
    run_basis(run, &rows.total.sums);
    rc = put_lines(&lines, &q.filter, &rows.total.sums);
    ledger_rows_release(&rows);
    return rc;
}
