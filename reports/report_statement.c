/*
 * report_statement.c - what each team owes.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "reports/currency.h"
#include "reports/statement.h"

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

struct strv statement_team(const struct statement_row *row)
{
    if (row->is_unallocated)
        return STRV("(unallocated)");
    return row->field[0].n ? row->field[0] : STRV("(untagged)");
}

/* By team, then as the kinds are listed, dearest first. */
static int in_order(const void *a, const void *b)
{
    const struct statement_row *x = a, *y = b;
    int c = strv_cmp(statement_team(x), statement_team(y));

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

void statement_sort(struct statement *s)
{
    if (s->n)
        qsort(s->at, s->n, sizeof(*s->at), in_order);
}

static enum rc put_names(struct run *run, const struct statement *s,
                         const struct statement_row *row, struct cell *c)
{
    static const char *const kinds[] = {"usage", "shared", "correction"};
    struct strv centre = statement_account(&s->accounts, row->field[0], "cost_centre");
    enum rc rc = sheet_text(&run->sheet, statement_team(row), &c[COL_TEAM]);

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
    statement_sort(s);
    for (size_t i = 0; rc == RC_OK && i < s->n; i++) {
        struct sums one = {0};
        struct cell *c;
        /* In another currency the whole document is converted, then narrowed. */
        if (!run->params->currency.n && !run_wants(run, FIELD_TEAM, s->at[i].field[0]))
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

/* ---- in another currency ---------------------------------------------------------------- */

/* The rows of one team after another: what each has of the document, in smallest coins. */
static void share_out(const struct sheet *t, const struct currency *c, size_t amount,
                      money_int *out)
{
    const size_t team = COL_TEAM, n = t->n_rows;
    money_int *usd = xcalloc(n + 1, sizeof(*usd)), *teams = xcalloc(n + 1, sizeof(*teams));
    money_int *minor = xcalloc(n + 1, sizeof(*minor)), total = 0;
    size_t n_teams = 0, k = 0;

    for (size_t i = 0; i < n; i++) {
        const struct cell *row = sheet_cells(t, i);

        if (i == 0 || !strv_eq(row[team].text, sheet_cells(t, i - 1)[team].text))
            n_teams++;
        usd[i] = row[amount].known ? row[amount].money.atto : 0;
        teams[n_teams - 1] += usd[i];
        total += usd[i];
    }
    currency_share(c, teams, n_teams, currency_minor(c, total), minor);
    for (size_t i = 0, end; i < n; i = end, k++) {
        end = i + 1;
        while (end < n && strv_eq(sheet_cells(t, i)[team].text, sheet_cells(t, end)[team].text))
            end++;
        currency_share(c, usd + i, end - i, minor[k], out + i);
    }
    free(usd);
    free(teams);
    free(minor);
}

/*
 * Adds what each row comes to in the currency asked for.  The document is shared out to teams
 * first, as the journal does, then each team's part to its rows: both say the same of a team.
 */
static enum rc convert(struct run *run)
{
    struct sheet *t = &run->sheet;
    char name[sizeof("amount_eur")], title[sizeof("amount EUR")];
    struct strv kept_name, kept_title;
    size_t amount = sheet_find(t, STRV("amount_usd")), at;
    struct currency c;
    money_int *minor, sum = 0;
    enum rc rc = currency_find(run, &c);

    if (rc != RC_OK)
        return rc;
    if (amount == t->n_columns || t->n_columns + 4 > SHEET_COLUMNS_MAX)
        return RC_LIMIT;
    (void)snprintf(name, sizeof(name), "amount_%s", c.code);
    (void)snprintf(title, sizeof(title), "amount %s", c.code);
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    kept_name = arena_strv(&t->arena, strv_z(name));
    kept_title = arena_strv(&t->arena, strv_z(title));
    if (!kept_name.p || !kept_title.p)
        return RC_LIMIT;
    minor = xcalloc(t->n_rows + 1, sizeof(*minor));
    share_out(t, &c, amount, minor);
    at = sheet_append(t, kept_name.p, kept_title.p, COLUMN_MONEY, COLUMN_ADDS);
    t->columns[at].has_decimals = true;
    t->columns[at].decimals = c.exponent;
    for (size_t i = 0; i < t->n_rows; i++) {
        struct cell *row = sheet_cells(t, i);

        sum += minor[i];
        if (row[amount].known)
            row[at] = cell_money((struct money){minor[i] * currency_coin(&c)});
    }
    if (t->total[amount].known)
        t->total[at] = cell_money((struct money){sum * currency_coin(&c)});
    free(minor);
    currency_columns(run, &c);
    statement_keep_teams(run);
    return currency_note(run, &c);
}

enum rc report_statement(struct run *run)
{
    struct statement s = {0};
    bool done = false;
    enum rc rc = run_team_words(run);

    if (rc == RC_OK)
        rc = statement_frozen(run, "statement", &done);
    if (rc != RC_OK || done)
        return rc == RC_OK && run->params->currency.n ? convert(run) : rc;
    rc = statement_make(run, &s);
    if (rc == RC_OK)
        rc = fill_statement(run, &s);
    run->note = s.is_month ? "The month is open: amounts may still change."
                           : "No calendar month: corrections of closed months are not in it.";
    statement_release(&s);
    return rc == RC_OK && run->params->currency.n ? convert(run) : rc;
}
