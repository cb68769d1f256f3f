/*
 * report_statement.c - what each team owes, and how it is booked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/statement.h"

/* ---- the statement --------------------------------------------------------------------- */

enum statement_column {
    COL_TEAM = 0,
    COL_COST_CENTRE,
    COL_KIND,
    COL_ITEM,
    COL_FEATURE,
    COL_ENVIRONMENT,
    COL_MODEL,
    COL_REQUESTS,
    COL_INPUT,
    COL_OUTPUT,
    COL_METERED,
    COL_IMPORTED,
    COL_CORRECTION,
    COL_AMOUNT,
    COL_UNPRICED,
    COL_SHARE,
};

static void statement_columns(struct sheet *t)
{
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "cost_centre", "cost centre", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "kind", "kind", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "item", "item", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "feature", "feature", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "environment", "environment", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "model", "model", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "input_tokens", "input", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "output_tokens", "output", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "metered USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "imported_usd", "imported USD", COLUMN_MONEY, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "correction_usd", "correction USD", COLUMN_MONEY,
                 COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "amount_usd", "amount USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT,
                 COLUMN_ADDS | COLUMN_SPARSE);
    sheet_share(t, "share", "share", COL_AMOUNT);
}

struct sums {
    uint64_t requests, unpriced, input, output;
    struct money metered, imported, correction, amount;
};

/* What has no price at all costs nobody knows what, not nothing. */
static void sum_cells(const struct sums *s, struct cell *c)
{
    bool is_unknown = s->requests > 0 && s->unpriced == s->requests;

    c[COL_REQUESTS] = cell_count(s->requests);
    c[COL_INPUT] = cell_count(s->input);
    c[COL_OUTPUT] = cell_count(s->output);
    c[COL_UNPRICED] = cell_count(s->unpriced);
    if (!is_unknown || s->metered.atto != 0)
        c[COL_METERED] = cell_money(s->metered);
    c[COL_IMPORTED] = cell_money(s->imported);
    c[COL_CORRECTION] = cell_money(s->correction);
    if (!is_unknown || s->amount.atto != 0)
        c[COL_AMOUNT] = cell_money(s->amount);
}

static void add_row(struct sums *to, const struct statement_row *row)
{
    to->requests += row->sums.requests;
    to->unpriced += row->sums.unpriced;
    to->input += row->sums.tokens[USAGE_INPUT];
    to->output += row->sums.tokens[USAGE_OUTPUT];
    to->metered = money_add(to->metered, row->metered);
    to->imported = money_add(to->imported, row->imported);
    to->correction = money_add(to->correction, row->correction);
    to->amount = money_add(to->amount, statement_amount(row));
}

static struct strv team_name(const struct statement_row *row)
{
    if (row->is_unallocated)
        return STRV("(unallocated)");
    return row->field[0].n ? row->field[0] : STRV("(untagged)");
}

/* By team, then as the kinds are listed, dearest first. */
static int in_order(const void *a, const void *b)
{
    const struct statement_row *x = a, *y = b;
    int c = strv_cmp(team_name(x), team_name(y));

    if (c == 0)
        c = (x->kind > y->kind) - (x->kind < y->kind);
    if (c == 0)
        c = money_cmp(statement_amount(y), statement_amount(x));
    if (c == 0)
        c = strv_cmp(x->item, y->item);
    for (unsigned i = 1; c == 0 && i < STATEMENT_FIELDS; i++)
        c = strv_cmp(x->field[i], y->field[i]);
    return c;
}

static enum rc put_names(struct run *run, const struct statement *s,
                         const struct statement_row *row, struct cell *c)
{
    static const char *const kinds[] = {"usage", "shared", "correction"};
    struct strv centre = statement_account(&s->accounts, row->field[0], "cost_centre");
    enum rc rc = sheet_text(&run->sheet, team_name(row), &c[COL_TEAM]);

    if (rc == RC_OK && centre.n)
        rc = sheet_text(&run->sheet, centre, &c[COL_COST_CENTRE]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(kinds[row->kind]), &c[COL_KIND]);
    if (rc == RC_OK && row->item.n)
        rc = sheet_text(&run->sheet, row->item, &c[COL_ITEM]);
    if (row->kind == STATEMENT_SHARED)
        return rc;
    for (unsigned i = 1; rc == RC_OK && i < STATEMENT_FIELDS; i++)
        rc = run_value(run, row->field[i], &c[COL_FEATURE + i - 1]);
    return rc;
}

static enum rc put_link(struct run *run, const struct statement *s,
                        const struct statement_row *row, struct cell *c)
{
    const struct allocation *a = &s->allocation;
    struct ledger_filter own;
    struct drill d;
    enum rc rc;

    if (row->kind != STATEMENT_USAGE)
        return RC_OK;
    ledger_filter_init(&own, run->params->from_us, run->params->to_us);
    rc = allocation_filter(a, allocation_pools(a), &own);
    drill_start(&d, run);
    for (unsigned i = 0; i < STATEMENT_FIELDS; i++)
        drill_add(&d, (struct ledger_field){.id = statement_fields[i]}, LEDGER_EQ,
                  row->field[i]);
    for (size_t i = 0; i < own.n_where; i++)
        drill_add(&d, own.where[i].field, own.where[i].op, own.where[i].values[0]);
    return rc == RC_OK ? drill_cell(run, &d, &c[run->lines]) : rc;
}

static enum rc fill_statement(struct run *run, struct statement *s)
{
    struct sums total = {0};
    enum rc rc = RC_OK;

    statement_columns(&run->sheet);
    drill_column(run);
    if (s->n)
        qsort(s->at, s->n, sizeof(*s->at), in_order);
    for (size_t i = 0; rc == RC_OK && i < s->n; i++) {
        struct sums one = {0};
        struct cell *c;
        if (!run_wants(run, FIELD_TEAM, s->at[i].field[0]))
            continue;
        add_row(&one, &s->at[i]);
        add_row(&total, &s->at[i]);
        rc = sheet_row(&run->sheet, &c);
        if (rc == RC_OK)
            rc = put_names(run, s, &s->at[i], c);
        if (rc != RC_OK)
            break;
        sum_cells(&one, c);
        rc = put_link(run, s, &s->at[i], c);
    }
    sum_cells(&total, run->sheet.total);
    return rc;
}

enum rc report_statement(struct run *run)
{
    struct statement s = {0};
    bool done = false;
    enum rc rc = run_team_words(run);

    if (rc == RC_OK)
        rc = statement_frozen(run, "statement", &done);
    if (rc != RC_OK || done)
        return rc;
    rc = statement_make(run, &s);
    if (rc == RC_OK)
        rc = fill_statement(run, &s);
    run->note = s.is_month ? "The month is open: amounts may still change."
                           : "No calendar month: corrections of closed months are not in it.";
    statement_release(&s);
    return rc;
}

/* ---- the journal ------------------------------------------------------------------------- */

enum journal_column {
    JOURNAL_DOCUMENT = 0,
    JOURNAL_LINE,
    JOURNAL_PERIOD,
    JOURNAL_TEAM,
    JOURNAL_ACCOUNT,
    JOURNAL_COST_CENTRE,
    JOURNAL_DEBIT,
    JOURNAL_CREDIT,
    JOURNAL_CURRENCY,
    JOURNAL_MEMO,
    JOURNAL_EXACT,
};

/* Whole units of the currency's smallest coin: dollars have cents. */
#define ATTO_PER_CENT ((money_int)ATTO_PER_NANO * NANO_PER_USD / 100)
static const char CLEARING[] = "(clearing)";

static void journal_columns(struct sheet *t)
{
    sheet_column(t, "document", "document", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "line", "line", COLUMN_COUNT, COLUMN_KEY);
    sheet_column(t, "posting_period", "period", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "gl_account", "GL account", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "cost_centre", "cost centre", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "debit_minor", "debit cents", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "credit_minor", "credit cents", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "currency", "currency", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "memo", "memo", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "exact_usd", "exact USD", COLUMN_MONEY, COLUMN_MACHINE);
}

struct billed {
    struct strv team; /* as it is named on the statement */
    struct strv account_team;
    money_int amount;
};

/* What each team owes, in order of name; their number. */
static size_t bill(const struct statement *s, struct billed *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        struct strv team = team_name(&s->at[i]);

        if (n == 0 || !strv_eq(out[n - 1].team, team))
            out[n++] = (struct billed){team, s->at[i].field[0], 0};
        out[n - 1].amount += statement_amount(&s->at[i]).atto;
    }
    return n;
}

static enum rc put_entry(struct run *run, const struct statement *s, const struct billed *b,
                         money_int cents, size_t line)
{
    bool is_clearing = strv_eq(b->team, strv_z(CLEARING));
    char document[32], memo[64];
    struct strv account, centre;
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    account = statement_account(&s->accounts, b->account_team, "gl_account");
    centre = statement_account(&s->accounts, b->account_team, "cost_centre");
    (void)snprintf(document, sizeof(document), "TG-%s", s->month);
    (void)snprintf(memo, sizeof(memo), is_clearing ? "Model usage %s, charged out"
                                                   : "Model usage %s", s->month);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(document), &c[JOURNAL_DOCUMENT]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(s->month), &c[JOURNAL_PERIOD]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, b->team, &c[JOURNAL_TEAM]);
    if (rc == RC_OK && account.n)
        rc = sheet_text(&run->sheet, account, &c[JOURNAL_ACCOUNT]);
    if (rc == RC_OK && centre.n)
        rc = sheet_text(&run->sheet, centre, &c[JOURNAL_COST_CENTRE]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, STRV("USD"), &c[JOURNAL_CURRENCY]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(memo), &c[JOURNAL_MEMO]);
    if (rc != RC_OK)
        return rc;
    c[JOURNAL_LINE] = cell_count(line);
    c[JOURNAL_DEBIT] = cell_count(cents > 0 ? (uint64_t)cents : 0);
    c[JOURNAL_CREDIT] = cell_count(cents < 0 ? (uint64_t)-cents : 0);
    c[JOURNAL_EXACT] = cell_money((struct money){b->amount});
    return RC_OK;
}

/* The document's total is rounded once, half to even, and shared out by largest remainder. */
static enum rc fill_journal(struct run *run, struct statement *s)
{
    struct billed *billed = xcalloc(s->n + 2, sizeof(*billed)), clearing = {0};
    money_int *amounts = xcalloc(s->n + 2, sizeof(*amounts));
    money_int *cents = xcalloc(s->n + 2, sizeof(*cents)), total = 0, all;
    uint64_t debit = 0, credit = 0;
    size_t n, line = 0;
    enum rc rc = RC_OK;

    if (s->n)
        qsort(s->at, s->n, sizeof(*s->at), in_order);
    n = bill(s, billed);
    for (size_t i = 0; i < n; i++)
        total += amounts[i] = billed[i].amount;
    all = divide_even(total, ATTO_PER_CENT);
    round_to_sum(amounts, n, ATTO_PER_CENT, all, cents);
    clearing = (struct billed){strv_z(CLEARING), strv_z(CLEARING), -total};
    billed[n] = clearing;
    cents[n] = -all;
    journal_columns(&run->sheet);
    for (size_t i = 0; rc == RC_OK && i <= n; i++) {
        if (cents[i] == 0)
            continue;
        rc = put_entry(run, s, &billed[i], cents[i], ++line);
        debit += cents[i] > 0 ? (uint64_t)cents[i] : 0;
        credit += cents[i] < 0 ? (uint64_t)-cents[i] : 0;
    }
    run->sheet.total[JOURNAL_DEBIT] = cell_count(debit);
    run->sheet.total[JOURNAL_CREDIT] = cell_count(credit);
    free(billed);
    free(amounts);
    free(cents);
    return rc;
}

enum rc report_journal(struct run *run)
{
    struct statement s = {0};
    bool done = false;
    enum rc rc = run_team_words(run);

    if (rc == RC_OK && run->params->n_where)
        return run_refuses(run, "where", "a document is booked whole");
    if (rc == RC_OK)
        rc = statement_frozen(run, "journal", &done);
    if (rc != RC_OK || done)
        return rc;
    rc = statement_make(run, &s);
    if (rc == RC_OK && !s.is_month)
        rc = run_refuses(run, "from and to", "a document is of one calendar month");
    if (rc == RC_OK)
        rc = fill_journal(run, &s);
    run->note = "The month is open: close it before it is booked (tollgate close).";
    statement_release(&s);
    return rc;
}
