/*
 * report_journal.c - how what each team owes is booked.
 *
 * A document is one calendar month: a line a team, and one against them all.  Its total is
 * rounded once, half to even, to the currency's smallest coin, and shared out to the teams by
 * largest remainder.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "reports/currency.h"
#include "reports/statement.h"

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

static void journal_columns(struct sheet *t, bool is_dollars)
{
    sheet_column(t, "document", "document", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "line", "line", COLUMN_COUNT, COLUMN_KEY);
    sheet_column(t, "posting_period", "period", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "gl_account", "GL account", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "cost_centre", "cost centre", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "debit_minor", is_dollars ? "debit cents" : "debit coins", COLUMN_COUNT,
                 COLUMN_ADDS);
    sheet_column(t, "credit_minor", is_dollars ? "credit cents" : "credit coins", COLUMN_COUNT,
                 COLUMN_ADDS);
    sheet_column(t, "currency", "currency", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "memo", "memo", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "exact_usd", "exact USD", COLUMN_MONEY, COLUMN_MACHINE);
}

/* What each team owes, in order of name; the last one is the other side of them all. */
struct bill {
    struct strv team; /* as it is named on the statement */
    struct strv gl_account, cost_centre;
    money_int amount;
};
struct bills {
    struct bill *at;
    size_t n; /* without the clearing, which stands at n */
};

static void put_accounts(const struct statement *s, struct strv team, struct bill *b)
{
    b->gl_account = statement_account(&s->accounts, team, "gl_account");
    b->cost_centre = statement_account(&s->accounts, team, "cost_centre");
}

static void bill(struct statement *s, struct bills *out)
{
    money_int total = 0;

    *out = (struct bills){.at = xcalloc(s->n + 1, sizeof(*out->at))};
    statement_sort(s);
    for (size_t i = 0; i < s->n; i++) {
        struct strv team = statement_team(&s->at[i]);
        money_int amount = statement_amount(&s->at[i]).atto;

        if (out->n == 0 || !strv_eq(out->at[out->n - 1].team, team)) {
            out->at[out->n].team = team;
            put_accounts(s, s->at[i].field[0], &out->at[out->n++]);
        }
        out->at[out->n - 1].amount += amount;
        total += amount;
    }
    out->at[out->n] = (struct bill){.team = strv_z(CLEARING), .amount = -total};
    put_accounts(s, strv_z(CLEARING), &out->at[out->n]);
}

/* ---- frozen ------------------------------------------------------------------------------ */

enum bill_column { BILL_TEAM = 0, BILL_ACCOUNT, BILL_COST_CENTRE, BILL_AMOUNT, BILL_COLUMNS };

enum rc journal_bills_sheet(struct statement *s, struct sheet *out)
{
    struct bills bills;
    enum rc rc = RC_OK;

    sheet_column(out, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(out, "gl_account", "GL account", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(out, "cost_centre", "cost centre", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(out, "amount_usd", "amount USD", COLUMN_MONEY, 0);
    bill(s, &bills);
    for (size_t i = 0; rc == RC_OK && i <= bills.n; i++) {
        const struct bill *b = &bills.at[i];
        struct cell *c;

        rc = sheet_row(out, &c);
        if (rc == RC_OK)
            rc = sheet_text(out, b->team, &c[BILL_TEAM]);
        if (rc == RC_OK)
            rc = sheet_text(out, b->gl_account, &c[BILL_ACCOUNT]);
        if (rc == RC_OK)
            rc = sheet_text(out, b->cost_centre, &c[BILL_COST_CENTRE]);
        if (rc == RC_OK)
            c[BILL_AMOUNT] = cell_money((struct money){b->amount});
    }
    free(bills.at);
    return rc;
}

/* What was billed when the month was closed; texts live in the sheet. */
static enum rc read_frozen(struct run *run, const char *month, struct sheet *t,
                           struct bills *out)
{
    enum rc rc = closed_sheet(run->sources->state_dir, month, "bills", t, &run->fail);

    if (rc == RC_STATE) {
        rc = buf_printf(run->error,
                        "currency: %s was closed without a rate: what was frozen then stays as "
                        "it is",
                        month);
        return RC_BAD;
    }
    if (rc != RC_OK)
        return rc;
    if (t->n_rows == 0 || t->n_columns != BILL_COLUMNS) {
        run->fail = (struct fail){.rc = RC_IO, .doing = "read a closed month: it is damaged"};
        return RC_IO;
    }
    *out = (struct bills){.at = xcalloc(t->n_rows, sizeof(*out->at)), .n = t->n_rows - 1};
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct cell *c = sheet_cells(t, i);

        out->at[i] = (struct bill){c[BILL_TEAM].text, c[BILL_ACCOUNT].text,
                                   c[BILL_COST_CENTRE].text, c[BILL_AMOUNT].money.atto};
    }
    return RC_OK;
}

/* ---- the document -------------------------------------------------------------------------- */

static enum rc put_entry(struct run *run, const char *month, const struct bill *b,
                         struct strv currency, money_int minor, size_t line)
{
    bool is_clearing = strv_eq(b->team, strv_z(CLEARING));
    char document[32], memo[64];
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    (void)snprintf(document, sizeof(document), "TG-%s", month);
    (void)snprintf(memo, sizeof(memo),
                   is_clearing ? "Model usage %s, charged out" : "Model usage %s", month);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(document), &c[JOURNAL_DOCUMENT]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(month), &c[JOURNAL_PERIOD]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, b->team, &c[JOURNAL_TEAM]);
    if (rc == RC_OK && b->gl_account.n)
        rc = sheet_text(&run->sheet, b->gl_account, &c[JOURNAL_ACCOUNT]);
    if (rc == RC_OK && b->cost_centre.n)
        rc = sheet_text(&run->sheet, b->cost_centre, &c[JOURNAL_COST_CENTRE]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, currency, &c[JOURNAL_CURRENCY]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(memo), &c[JOURNAL_MEMO]);
    if (rc != RC_OK)
        return rc;
    c[JOURNAL_LINE] = cell_count(line);
    c[JOURNAL_DEBIT] = cell_count(minor > 0 ? (uint64_t)minor : 0);
    c[JOURNAL_CREDIT] = cell_count(minor < 0 ? (uint64_t)-minor : 0);
    c[JOURNAL_EXACT] = cell_money((struct money){b->amount});
    return RC_OK;
}

/* Smallest coins of each, the clearing last. */
static void round_all(const struct bills *bills, const struct currency *c, money_int *minor)
{
    const size_t n = bills->n;
    const money_int total = -bills->at[n].amount;
    money_int *amounts = xcalloc(n + 1, sizeof(*amounts)), all;

    for (size_t i = 0; i < n; i++)
        amounts[i] = bills->at[i].amount;
    all = c ? currency_minor(c, total) : divide_even(total, ATTO_PER_CENT);
    if (c)
        currency_share(c, amounts, n, all, minor);
    else
        round_to_sum(amounts, n, ATTO_PER_CENT, all, minor);
    minor[n] = -all;
    free(amounts);
}

/* c NULL: in dollars. */
static enum rc fill(struct run *run, const char *month, const struct bills *bills,
                    const struct currency *c)
{
    money_int *minor = xcalloc(bills->n + 1, sizeof(*minor));
    struct strv currency = c ? strv_z(c->code) : STRV("USD");
    uint64_t debit = 0, credit = 0;
    size_t line = 0;
    enum rc rc = RC_OK;

    round_all(bills, c, minor);
    journal_columns(&run->sheet, !c);
    for (size_t i = 0; rc == RC_OK && i <= bills->n; i++) {
        if (minor[i] == 0)
            continue;
        rc = put_entry(run, month, &bills->at[i], currency, minor[i], ++line);
        debit += minor[i] > 0 ? (uint64_t)minor[i] : 0;
        credit += minor[i] < 0 ? (uint64_t)-minor[i] : 0;
    }
    run->sheet.total[JOURNAL_DEBIT] = cell_count(debit);
    run->sheet.total[JOURNAL_CREDIT] = cell_count(credit);
    free(minor);
    if (rc == RC_OK && c) {
        currency_columns(run, c);
        rc = currency_note(run, c);
    }
    return rc;
}

/* The frozen journal is in dollars; another currency's is made of what was billed. */
static enum rc fill_frozen(struct run *run)
{
    char month[CLOSED_MONTH_TEXT];
    struct bills bills = {0};
    struct currency c;
    struct sheet t;
    enum rc rc = currency_find(run, &c);

    sheet_init(&t);
    if (rc == RC_OK && statement_month(run, month))
        rc = read_frozen(run, month, &t, &bills);
    if (rc == RC_OK) {
        sheet_clear(&run->sheet);
        rc = fill(run, month, &bills, &c);
    }
    free(bills.at);
    sheet_release(&t);
    return rc;
}

static enum rc fill_open(struct run *run)
{
    struct statement s = {0};
    struct bills bills = {0};
    struct currency c;
    bool is_dollars = run->params->currency.n == 0;
    enum rc rc = statement_make(run, &s);

    if (rc == RC_OK && !s.is_month)
        rc = run_refuses(run, "from and to", "a document is of one calendar month");
    run->note = "The month is open: close it before it is booked (tollgate close).";
    if (rc == RC_OK && !is_dollars)
        rc = currency_find(run, &c);
    if (rc == RC_OK) {
        bill(&s, &bills);
        rc = fill(run, s.month, &bills, is_dollars ? NULL : &c);
    }
    free(bills.at);
    statement_release(&s);
    return rc;
}

enum rc report_journal(struct run *run)
{
    bool done = false;
    enum rc rc = run_team_words(run);

    if (rc == RC_OK && run->params->n_where)
        return run_refuses(run, "where", "a document is booked whole");
    if (rc == RC_OK)
        rc = statement_frozen(run, "journal", &done);
    if (rc != RC_OK)
        return rc;
    if (!done)
        return fill_open(run);
    return run->params->currency.n ? fill_frozen(run) : RC_OK;
}
