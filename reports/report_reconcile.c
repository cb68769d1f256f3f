/*
 * report_reconcile.c - the ledger beside the provider's own files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/reconcile.h"
#include "reports/report_int.h"

enum place {
    CELL_DAY = 0,
    CELL_ACCOUNT,
    CELL_MODEL,
    CELL_CLASS,
    CELL_METERED,
    CELL_INVOICED,
    CELL_QUANTITY_GAP,
    CELL_METERED_COST,
    CELL_INVOICED_COST,
    CELL_COST_GAP,
    CELL_GAP_RATIO,
    CELL_REASON,
    CELL_STATUS,
    CELL_UNEXPLAINED,
    CELL_UNPRICED,
};

static void add_columns(struct sheet *t)
{
    sheet_column(t, "day", "day", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "account", "account", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "model", "model", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "token_class", "token class", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "metered_quantity", "metered", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "invoiced_quantity", "invoiced", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "quantity_difference", "difference", COLUMN_RATIO,
                 COLUMN_SPARSE | COLUMN_WHOLE);
    sheet_column(t, "metered_cost_usd", "metered USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "invoiced_cost_usd", "invoiced USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "difference_usd", "difference USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "difference_ratio", "of metered", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "class", "class", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "status", "status", COLUMN_TEXT, 0);
    sheet_column(t, "unexplained_usd", "unexplained USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, COLUMN_SPARSE);
}

static struct money gap_of(const struct reconcile_cell *c)
{
    return c->has_cost ? money_sub(c->invoiced_cost, c->metered_cost) : MONEY_ZERO;
}

static void put_numbers(const struct reconcile_cell *c, struct cell *row)
{
    bool explained = c->class != RECONCILE_UNEXPLAINED;
    struct money gap = gap_of(c);

    row[CELL_METERED] = cell_count((uint64_t)c->metered);
    row[CELL_METERED_COST] = cell_money(c->metered_cost);
    if (c->has_quantity) {
        row[CELL_INVOICED] = cell_count((uint64_t)c->invoiced);
        row[CELL_QUANTITY_GAP] = cell_ratio(c->invoiced - c->metered, 1);
    }
    if (c->has_cost) {
        row[CELL_INVOICED_COST] = cell_money(c->invoiced_cost);
        row[CELL_COST_GAP] = cell_money(gap);
        row[CELL_GAP_RATIO] = cell_ratio(gap.atto, c->metered_cost.atto);
    }
    row[CELL_UNEXPLAINED] = cell_money(explained ? MONEY_ZERO : gap);
    row[CELL_UNPRICED] = cell_count(c->unpriced);
}

static enum rc put_texts(struct sheet *t, const struct reconcile_cell *c, struct cell *row)
{
    bool fine = c->class == RECONCILE_MATCHED || c->class == RECONCILE_ROUNDING ||
                c->class == RECONCILE_BOUNDARY;
    struct strv model = c->what.n ? c->what : c->model;
    struct strv class = c->kind == INVOICE_CREDIT_TAX
                            ? STRV("credit_tax")
                            : strv_z(invoice_class_name(c->token_class));
    char day[DATETIME_TEXT] = "";
    enum rc rc;

    if (c->has_day) {
        datetime_format_s(c->day_us, day);
        day[10] = '\0';
    }
    rc = sheet_text(t, c->has_day ? strv_z(day) : STRV("(period)"), &row[CELL_DAY]);
    if (rc == RC_OK && c->account.n)
        rc = sheet_text(t, c->account, &row[CELL_ACCOUNT]);
    if (rc == RC_OK)
        rc = sheet_text(t, model.n ? model : STRV("(all)"), &row[CELL_MODEL]);
    if (rc == RC_OK)
        rc = sheet_text(t, class.n ? class : STRV("(all)"), &row[CELL_CLASS]);
    if (rc == RC_OK)
        rc = sheet_text(t, strv_z(reconcile_class_name(c->class)), &row[CELL_REASON]);
    if (rc == RC_OK)
        rc = sheet_text(t, fine ? STRV("ok") : STRV("look"), &row[CELL_STATUS]);
    return rc;
}

static void add_up(const struct reconcile *r, struct cell *total)
{
    struct reconcile_cell sum = {.has_quantity = true, .has_cost = true};
    struct money gaps = MONEY_ZERO;

    for (size_t i = 0; i < r->n; i++) {
        const struct reconcile_cell *c = &r->at[i];
        sum.metered += c->metered;
        sum.metered_cost = money_add(sum.metered_cost, c->metered_cost);
        if (c->has_quantity)
            sum.invoiced += c->invoiced;
        if (c->has_cost)
            sum.invoiced_cost = money_add(sum.invoiced_cost, c->invoiced_cost);
        gaps = money_add(gaps, gap_of(c));
    }
    put_numbers(&sum, total);
    total[CELL_COST_GAP] = cell_money(gaps);
    total[CELL_GAP_RATIO] = cell_ratio(gaps.atto, sum.metered_cost.atto);
    total[CELL_UNEXPLAINED] = cell_money(r->by[RECONCILE_UNEXPLAINED]);
    total[CELL_UNPRICED] = cell_null();
}

/* "Difference 1.2 USD = boundary 0.2 + price 1; unexplained 0 USD." */
static enum rc write_note(struct run *run, const struct reconcile *r)
{
    char text[1024], amount[MONEY_TEXT];
    struct money all = MONEY_ZERO;
    struct cell kept;
    int n;
    enum rc rc;

    for (unsigned c = 0; c < RECONCILE_CLASSES; c++)
        all = money_add(all, r->by[c]);
    money_format(all, amount);
    n = snprintf(text, sizeof(text), "Difference %s USD:", amount);
    for (unsigned c = RECONCILE_ROUNDING; c < RECONCILE_CLASSES; c++) {
        if (money_is_zero(r->by[c]) && c != RECONCILE_UNEXPLAINED)
            continue;
        money_format(r->by[c], amount);
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %s %s",
                      c == RECONCILE_UNEXPLAINED ? ";" : "",
                      reconcile_class_name((enum reconcile_class)c), amount);
    }
    rc = sheet_text(&run->sheet, strv_make(text, (size_t)n), &kept);
    if (rc == RC_OK)
        run->note = kept.text.p;
    return rc;
}

static enum rc refuse_words(struct run *run)
{
    const struct report_params *p = run->params;
    enum rc rc;

    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (p->n_by || p->has_grain)
        return run_refuses(run, "by or grain", "rows are as fine as the provider's files");
    if (p->top)
        return run_refuses(run, "top", "every difference is shown");
    if (p->n_imports)
        return RC_OK;
    rc = buf_printf(run->error, "there is nothing to compare the ledger with: name the provider's "
                                "files on the command line with --import FILE");
    return rc == RC_OK ? RC_BAD : rc;
}

/* The requests of a cell's day, account and model, of whatever token class. */
static enum rc put_lines(struct run *run, const struct reconcile *r,
                         const struct reconcile_cell *c, struct cell *out)
{
    static const struct ledger_field by[] = {{.id = FIELD_MODEL}, {.id = FIELD_UPSTREAM}};
    const struct strv **values = xcalloc(r->n_sources + 1, sizeof(*values));
    struct strv(*pairs)[2] = xcalloc(r->n_sources + 1, sizeof(*pairs));
    bool has_any = c->metered > 0 || !money_is_zero(c->metered_cost);
    bool is_of_model = c->kind == INVOICE_USAGE && r->by_model;
    struct drill d;
    size_t n = 0;
    enum rc rc = RC_OK;

    for (size_t i = 0; has_any && i < r->n_sources; i++) {
        const struct reconcile_source *s = &r->sources[i];
        if (!strv_eq(s->account, c->account) || (is_of_model && !strv_eq(s->model, c->model)))
            continue;
        pairs[n][0] = s->own_model;
        pairs[n][1] = s->upstream;
        values[n] = pairs[n];
        n++;
    }
    drill_start(&d, run);
    if (c->has_day)
        drill_period(&d, c->day_us, c->day_us + US_PER_DAY);
    d.only = (struct drill_tuples){.by = by, .n_by = 2, .value = values, .n = n};
    if (n > 0)
        rc = drill_cell(run, &d, out);
    free(pairs);
    free(values);
    return rc;
}

static enum rc fill(struct run *run, const struct reconcile *r)
{
    enum rc rc = RC_OK;

    add_columns(&run->sheet);
    drill_column(run);
    for (size_t i = 0; rc == RC_OK && i < r->n; i++) {
        struct cell *row;
        rc = sheet_row(&run->sheet, &row);
        if (rc == RC_OK)
            rc = put_texts(&run->sheet, &r->at[i], row);
        if (rc == RC_OK)
            put_numbers(&r->at[i], row);
        if (rc == RC_OK)
            rc = put_lines(run, r, &r->at[i], &row[run->lines]);
    }
    add_up(r, run->sheet.total);
    return rc == RC_OK ? write_note(run, r) : rc;
}

enum rc report_reconcile(struct run *run)
{
    struct ledger_filter filter;
    struct invoice invoice;
    struct reconcile r = {.n = 0};
    struct reconcile_question q = {.reader = run->reader,
                                   .filter = &filter,
                                   .invoice = &invoice,
                                   .upstream = run->sources->upstream,
                                   .arg = run->sources->arg};
    enum rc rc = refuse_words(run);

    if (rc != RC_OK)
        return rc;
    invoice_init(&invoice, run->error);
    params_filter(run->params, &filter);
    for (size_t i = 0; rc == RC_OK && i < run->params->n_imports; i++)
        rc = invoice_read(&invoice, run->params->imports[i].p);
    if (rc == RC_OK) {
        rc = reconcile_run(&q, &r, &run->fail);
        if (rc == RC_OK)
            rc = fill(run, &r);
        reconcile_release(&r);
    }
    invoice_release(&invoice);
    return rc;
}
