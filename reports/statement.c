/*
 * statement.c - see statement.h.
 */
#include "reports/statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/period.h"

const enum ledger_field_id statement_fields[STATEMENT_FIELDS] = {FIELD_TEAM, FIELD_FEATURE,
                                                                 FIELD_ENVIRONMENT, FIELD_MODEL};
static const char *const field_names[STATEMENT_FIELDS] = {"team", "feature", "environment",
                                                          "model"};

static enum rc add(struct statement *s, const struct statement_row *row)
{
    if (s->n == STATEMENT_ROWS_MAX)
        return RC_LIMIT;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->at = xrealloc(s->at, s->cap * sizeof(*s->at));
    }
    s->at[s->n++] = *row;
    return RC_OK;
}

struct money statement_amount(const struct statement_row *row)
{
    return money_add(money_add(row->metered, row->imported), row->correction);
}

bool statement_month(const struct run *run, char out[CLOSED_MONTH_TEXT])
{
    const struct report_params *p = run->params;
    const struct zone *zone = run->sources->zone;
    char label[DATETIME_TEXT];
    int64_t start, end;

    zone_period(zone, PERIOD_MONTH, p->from_us, &start, &end);
    if (start != p->from_us || end != p->to_us)
        return false;
    zone_period_label(zone, PERIOD_MONTH, start, label);
    memcpy(out, label, CLOSED_MONTH_TEXT - 1);
    out[CLOSED_MONTH_TEXT - 1] = '\0';
    return true;
}

struct strv statement_account(const struct books_table *accounts, struct strv team,
                              const char *name)
{
    struct strv found = STRV("");
    bool is_team = !strv_starts(team, STRV("(")); /* the other side of a document is none */

    for (size_t r = 0; r < accounts->csv.n_rows; r++) {
        struct strv of = books_field(accounts, BOOKS_ACCOUNTS, r, "team");

        if (is_team && strv_eq(of, STRV("*")))
            found = books_field(accounts, BOOKS_ACCOUNTS, r, name);
        if (team.n && strv_eq(of, team))
            return books_field(accounts, BOOKS_ACCOUNTS, r, name);
    }
    return found;
}

/* ---- usage and shared costs ------------------------------------------------------------- */

static enum rc add_usage(struct run *run, struct statement *s)
{
    struct ledger_question q = {
        .n_by = STATEMENT_FIELDS, .grain = PERIOD_TOTAL, .zone = run->params->zone};
    enum rc rc;

    ledger_filter_init(&q.filter, run->params->from_us, run->params->to_us);
    for (unsigned i = 0; i < STATEMENT_FIELDS; i++)
        q.by[i].id = statement_fields[i];
    rc = allocation_filter(&s->allocation, allocation_pools(&s->allocation), &q.filter);
    if (rc == RC_OK)
        rc = ledger_read_sums(run->reader, &q, &s->usage, &run->fail);
    for (size_t i = 0; rc == RC_OK && i < s->usage.n; i++) {
        struct statement_row row = {.kind = STATEMENT_USAGE,
                                    .item = STRV(""),
                                    .sums = s->usage.at[i].sums,
                                    .metered = s->usage.at[i].sums.cost};
        for (unsigned k = 0; k < STATEMENT_FIELDS; k++)
            row.field[k] = s->usage.at[i].value[k];
        rc = add(s, &row);
    }
    return rc;
}

static enum rc add_shared(struct statement *s)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < s->allocation.n; i++) {
        const struct allocated *a = &s->allocation.at[i];
        struct statement_row row = {.kind = STATEMENT_SHARED,
                                    .item = a->pool,
                                    .is_unallocated = a->is_unallocated,
                                    .metered = a->metered,
                                    .imported = a->imported};
        if (a->method == METHOD_OWN)
            continue;
        for (unsigned k = 0; k < STATEMENT_FIELDS; k++)
            row.field[k] = STRV("");
        row.field[0] = a->team;
        rc = add(s, &row);
    }
    return rc;
}

/* ---- corrections ------------------------------------------------------------------------------ */

/* An amount of a closed month, by field. */
struct booked {
    struct strv field[STATEMENT_FIELDS];
    struct money amount;
};

struct bookings {
    struct booked *at;
    size_t n, cap;
};

static void book(struct bookings *b, const struct booked *one, bool is_minus)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        b->at = xrealloc(b->at, b->cap * sizeof(*b->at));
    }
    b->at[b->n] = *one;
    if (is_minus)
        b->at[b->n].amount.atto = -one->amount.atto;
    b->n++;
}

static int by_fields(const void *a, const void *b)
{
    const struct booked *x = a, *y = b;
    int c = 0;

    for (unsigned i = 0; c == 0 && i < STATEMENT_FIELDS; i++)
        c = strv_cmp(x->field[i], y->field[i]);
    return c;
}

/* What the ledger says of the month today. */
static enum rc book_now(struct run *run, struct statement *s, struct strv month,
                        struct bookings *b)
{
    struct ledger_question q = {
        .n_by = STATEMENT_FIELDS, .grain = PERIOD_TOTAL, .zone = run->sources->zone};
    struct ledger_rows rows;
    int64_t from_us, to_us;
    enum rc rc;

    if (!period_parse_month(run->sources->zone, month, &from_us, &to_us))
        return RC_BAD;
    ledger_filter_init(&q.filter, from_us, to_us);
    for (unsigned i = 0; i < STATEMENT_FIELDS; i++)
        q.by[i].id = statement_fields[i];
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        struct booked one = {.amount = rows.at[i].sums.cost};
        for (unsigned k = 0; k < STATEMENT_FIELDS; k++) {
            one.field[k] = arena_strv(&s->arena, rows.at[i].value[k]);
            if (!one.field[k].p)
                rc = RC_LIMIT;
        }
        book(b, &one, false);
    }
    ledger_rows_release(&rows);
    return rc;
}

/* What a frozen sheet billed; of corrections only those of this month. */
static enum rc book_frozen(struct run *run, struct statement *s, const char *closed_in,
                           const char *name, struct strv month, struct bookings *b)
{
    struct sheet t;
    size_t at[STATEMENT_FIELDS], amount, of_month;
    enum rc rc;

    sheet_init(&t);
    rc = closed_sheet(run->sources->state_dir, closed_in, name, &t, &run->fail);
    of_month = sheet_find(&t, STRV("month"));
    amount = sheet_find(&t, STRV("cost_usd"));
    for (unsigned k = 0; k < STATEMENT_FIELDS; k++)
        at[k] = sheet_find(&t, strv_z(field_names[k]));
    if (rc == RC_OK && (amount == t.n_columns || at[3] == t.n_columns))
        rc = RC_BAD;
    for (size_t i = 0; rc == RC_OK && i < t.n_rows; i++) {
        const struct cell *c = sheet_cells(&t, i);
        struct booked one = {.amount = c[amount].money};

        if (of_month < t.n_columns && !strv_eq(c[of_month].text, month))
            continue;
        for (unsigned k = 0; k < STATEMENT_FIELDS; k++) {
            one.field[k] = arena_strv(&s->arena, c[at[k]].known ? c[at[k]].text : STRV(""));
            if (!one.field[k].p)
                rc = RC_LIMIT;
        }
        book(b, &one, true);
    }
    sheet_release(&t);
    return rc;
}

/* What was booked less than the ledger has, or more, as rows. */
static enum rc add_differences(struct statement *s, struct bookings *b, struct strv month)
{
    enum rc rc = RC_OK;

    if (b->n)
        qsort(b->at, b->n, sizeof(*b->at), by_fields);
    for (size_t i = 0, end; rc == RC_OK && i < b->n; i = end) {
        struct statement_row row = {.kind = STATEMENT_CORRECTION,
                                    .item = arena_strv(&s->arena, month)};
        for (end = i; end < b->n && by_fields(&b->at[i], &b->at[end]) == 0; end++)
            row.correction = money_add(row.correction, b->at[end].amount);
        memcpy(row.field, b->at[i].field, sizeof(row.field));
        if (row.correction.atto)
            rc = row.item.p ? add(s, &row) : RC_LIMIT;
    }
    return rc;
}

/* The month after the last closed one bears all corrections. */
static bool bears_corrections(const struct run *run, const struct closed_months *closed)
{
    int64_t from_us, to_us;

    return closed->n > 0 &&
           period_parse_month(run->sources->zone, strv_z(closed->at[closed->n - 1]), &from_us,
                              &to_us) &&
           to_us == run->params->from_us;
}

static enum rc add_corrections(struct run *run, struct statement *s)
{
    struct closed_months closed;
    enum rc rc = closed_list(run->sources->state_dir, &closed, &run->fail);

    if (rc != RC_OK || !bears_corrections(run, &closed))
        return rc;
    for (size_t i = 0; rc == RC_OK && i < closed.n; i++) {
        struct strv month = strv_z(closed.at[i]);
        struct bookings b = {0};

        rc = book_now(run, s, month, &b);
        if (rc == RC_OK)
            rc = book_frozen(run, s, closed.at[i], "usage", month, &b);
        for (size_t k = i + 1; rc == RC_OK && k < closed.n; k++)
            rc = book_frozen(run, s, closed.at[k], "corrections", month, &b);
        if (rc == RC_OK)
            rc = add_differences(s, &b, month);
        free(b.at);
    }
    return rc;
}

enum rc statement_make(struct run *run, struct statement *out)
{
    enum rc rc;

    *out = (struct statement){0};
    arena_init(&out->arena, SHEET_TEXT_MAX_BYTES);
    out->is_month = statement_month(run, out->month);
    rc = books_read(run->sources->state_dir, BOOKS_ACCOUNTS, &out->accounts, &run->fail);
    if (rc == RC_OK)
        rc = allocation_make(run, &out->allocation);
    if (rc == RC_OK)
        rc = add_usage(run, out);
    if (rc == RC_OK)
        rc = add_shared(out);
    if (rc == RC_OK && out->is_month)
        rc = add_corrections(run, out);
    return rc;
}

void statement_release(struct statement *s)
{
    allocation_release(&s->allocation);
    books_release(&s->accounts);
    ledger_rows_release(&s->usage);
    arena_release(&s->arena);
    free(s->at);
    s->at = NULL;
    s->n = 0;
}

/* ---- what is frozen --------------------------------------------------------------------------- */

static size_t put_field_columns(struct sheet *t)
{
    for (unsigned k = 0; k < STATEMENT_FIELDS; k++)
        sheet_column(t, field_names[k], field_names[k], COLUMN_TEXT, COLUMN_KEY);
    return sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
}

enum rc statement_usage_sheet(struct run *run, struct sheet *out)
{
    struct statement s = {0};
    struct bookings b = {0};
    struct money total = MONEY_ZERO;
    char month[CLOSED_MONTH_TEXT];
    size_t amount = put_field_columns(out);
    enum rc rc = statement_month(run, month) ? RC_OK : RC_BAD;

    arena_init(&s.arena, SHEET_TEXT_MAX_BYTES);
    if (rc == RC_OK)
        rc = book_now(run, &s, strv_z(month), &b);
    for (size_t i = 0; rc == RC_OK && i < b.n; i++) {
        struct cell *c;
        rc = sheet_row(out, &c);
        for (unsigned k = 0; rc == RC_OK && k < STATEMENT_FIELDS; k++)
            rc = sheet_text(out, b.at[i].field[k], &c[k]);
        if (rc == RC_OK)
            c[amount] = cell_money(b.at[i].amount);
        total = money_add(total, b.at[i].amount);
    }
    out->total[amount] = cell_money(total);
    free(b.at);
    arena_release(&s.arena);
    return rc;
}

enum rc statement_corrections_sheet(const struct statement *s, struct sheet *out)
{
    struct money total = MONEY_ZERO;
    size_t amount = put_field_columns(out);
    size_t month = sheet_column(out, "month", "month", COLUMN_TEXT, COLUMN_KEY);
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < s->n; i++) {
        struct cell *c;
        if (s->at[i].kind != STATEMENT_CORRECTION)
            continue;
        rc = sheet_row(out, &c);
        for (unsigned k = 0; rc == RC_OK && k < STATEMENT_FIELDS; k++)
            rc = sheet_text(out, s->at[i].field[k], &c[k]);
        if (rc == RC_OK)
            rc = sheet_text(out, s->at[i].item, &c[month]);
        if (rc == RC_OK)
            c[amount] = cell_money(s->at[i].correction);
        total = money_add(total, s->at[i].correction);
    }
    out->total[amount] = cell_money(total);
    return rc;
}

/* ---- closed months ------------------------------------------------------------------------------ */

void statement_keep_teams(struct run *run)
{
    struct sheet *t = &run->sheet;
    size_t team = sheet_find(t, STRV("team")), n = 0;

    if (run->params->n_where == 0 || team == t->n_columns)
        return;
    for (size_t i = 0; i < t->n_rows; i++) {
        struct strv name = sheet_cells(t, i)[team].text;

        if (strv_eq(name, STRV("(untagged)")))
            name = STRV("");
        if (!sheet_cells(t, i)[team].known || !run_wants(run, FIELD_TEAM, name))
            continue;
        if (n != i)
            memcpy(sheet_cells(t, n), sheet_cells(t, i), t->n_columns * sizeof(struct cell));
        n++;
    }
    t->n_rows = n;
    for (size_t c = 0; c < t->n_columns; c++) {
        struct cell *total = &t->total[c];

        if (!(t->columns[c].flags & COLUMN_ADDS))
            continue;
        *total = t->columns[c].type == COLUMN_MONEY ? cell_money(MONEY_ZERO) : cell_count(0);
        total->known = n == 0;
        for (size_t i = 0; i < n; i++) {
            const struct cell *cell = sheet_cells(t, i) + c;
            if (!cell->known)
                continue;
            total->known = true;
            if (t->columns[c].type == COLUMN_MONEY)
                total->money = money_add(total->money, cell->money);
            else
                total->count += cell->count;
        }
    }
}

/* The very bytes that were rendered when the month was closed, where nothing narrows them. */
static enum rc take_text(struct run *run, const char *month, const char *name)
{
    const struct report_params *p = run->params;
    char file[32];

    if (p->n_where || p->sort.n || p->total_row || p->currency.n || (p->format != FORMAT_CSV && p->format != FORMAT_JSON))
        return RC_OK;
    (void)snprintf(file, sizeof(file), "%s.%s", name, report_format_name(p->format));
    return closed_read(run->sources->state_dir, month, file, &run->frozen, &run->n_frozen,
                       &run->fail);
}

enum rc statement_frozen(struct run *run, const char *name, bool *done)
{
    struct closed_months closed;
    char month[CLOSED_MONTH_TEXT];
    enum rc rc;

    *done = false;
    if (run->is_closing || !statement_month(run, month))
        return RC_OK;
    rc = closed_list(run->sources->state_dir, &closed, &run->fail);
    if (rc != RC_OK || !closed_has(&closed, month))
        return rc;
    rc = closed_sheet(run->sources->state_dir, month, name, &run->sheet, &run->fail);
    if (rc == RC_OK)
        rc = closed_as_of(run->sources->state_dir, month, &run->as_of.us, &run->as_of.seq,
                          &run->fail);
    if (rc == RC_OK)
        rc = take_text(run, month, name);
    if (!run->params->currency.n)
        statement_keep_teams(run);
    run->is_frozen = true;
    run->note = "The month is closed: this is what was frozen then.";
    *done = true;
    return rc;
}
