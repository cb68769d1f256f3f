/*
 * report_units.c - what one of something costs: a request, a customer, a user, or what
 * finance counted (`tollgate import counts`).
 *
 * Rows are of different units, so nothing adds up and there is no total.  Customers and
 * users are those seen in the ledger; their cost is that of the requests that name one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/books.h"
#include "reports/report_int.h"

enum { UNITS_MAX = 400000 };

enum unit_column {
    UNIT_NAME = 0,
    UNIT_SOURCE,
    UNIT_HOW_MANY,
    UNIT_COST,
    UNIT_EACH,
    UNIT_OLD_COUNT,
    UNIT_OLD_EACH,
    UNIT_TREND,
};

struct unit {
    struct strv *value; /* of the fields grouped by */
    struct strv name;
    bool is_imported, is_known; /* known: some of its requests have a price */
    uint64_t count;
    struct money cost;
};

/* Of one period. Texts live in the arena. */
struct units {
    struct run *run;
    struct unit *at;
    size_t n, cap, n_by;
    struct arena arena;
};

static void unit_columns(struct sheet *t)
{
    sheet_column(t, "unit", "unit", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "source", "counted by", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "count", "count", COLUMN_COUNT, 0);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, 0);
    sheet_column(t, "unit_cost_usd", "USD each", COLUMN_MONEY, 0);
    sheet_column(t, "previous_count", "before", COLUMN_COUNT, COLUMN_MACHINE);
    sheet_column(t, "previous_unit_cost_usd", "before USD each", COLUMN_MONEY, 0);
    sheet_column(t, "trend_ratio", "trend", COLUMN_RATIO, COLUMN_PER_CENT);
}

static enum rc add_unit(struct units *u, const struct strv *value, const struct unit *unit)
{
    struct strv *kept = arena_alloc(&u->arena, (u->n_by + 1) * sizeof(*kept));

    if (!kept || u->n == UNITS_MAX)
        return RC_LIMIT;
    for (size_t i = 0; i < u->n_by; i++) {
        kept[i] = arena_strv(&u->arena, value[i]);
        if (!kept[i].p)
            return RC_LIMIT;
    }
    if (u->n == u->cap) {
        u->cap = u->cap ? u->cap * 2 : 64;
        u->at = xrealloc(u->at, u->cap * sizeof(*u->at));
    }
    u->at[u->n] = *unit;
    u->at[u->n++].value = kept;
    return RC_OK;
}

/* ---- counted by the ledger ----------------------------------------------------------------- */

struct counting {
    struct units *u;
    const char *name;
    enum rc rc;
};

static bool on_distinct(const struct ledger_distinct *d, void *arg)
{
    struct counting *c = arg;
    const struct unit unit = {
        .name = strv_z(c->name), .is_known = d->priced > 0, .count = d->n, .cost = d->cost};

    c->rc = add_unit(c->u, d->value, &unit);
    return c->rc == RC_OK;
}

/* Distinct values of a field, with the cost of the requests that have one. */
static enum rc add_distinct(struct units *u, int64_t from_us, int64_t to_us,
                            enum ledger_field_id id, const char *name)
{
    const struct report_params *p = u->run->params;
    const struct ledger_field field = {.id = id};
    struct ledger_question q = {.n_by = p->n_by, .grain = PERIOD_TOTAL};
    struct counting c = {.u = u, .name = name};
    enum rc rc;

    for (size_t i = 0; i < p->n_by; i++) {
        if (p->by[i].id == id) /* asked for already: each is its own */
            return RC_OK;
    }
    params_filter(p, &q.filter);
    q.filter.from_us = from_us;
    q.filter.to_us = to_us;
    memcpy(q.by, p->by, p->n_by * sizeof(q.by[0]));
    rc = ledger_read_distinct(u->run->reader, &q, &field, on_distinct, &c, &u->run->fail);
    return rc == RC_OK ? c.rc : rc;
}

/* ---- counted by finance ----------------------------------------------------------------------- */

/* Scopes that a count may have. */
enum { COUNT_TEAM = 0, COUNT_FEATURE, COUNT_ENVIRONMENT, COUNT_SCOPES };
static const enum ledger_field_id count_fields[COUNT_SCOPES] = {FIELD_TEAM, FIELD_FEATURE,
                                                                FIELD_ENVIRONMENT};

/* A count of the period and conditions asked for. */
struct counted {
    struct strv unit, scope[COUNT_SCOPES];
    uint64_t n;
};

static size_t counts_of(const struct run *run, const struct books_table *t, int64_t from_us,
                        int64_t to_us, struct counted *out)
{
    static const char *const names[COUNT_SCOPES] = {"team", "feature", "environment"};
    size_t n = 0;

    for (size_t r = 0; r < t->csv.n_rows; r++) {
        struct counted *c = &out[n];
        bool fits = true;
        int64_t start_us, end_us;

        for (size_t s = 0; s < COUNT_SCOPES; s++) {
            c->scope[s] = books_field(t, BOOKS_COUNTS, r, names[s]);
            fits &= run_wants(run, count_fields[s], c->scope[s]);
        }
        c->unit = books_field(t, BOOKS_COUNTS, r, "unit");
        fits &= books_when(run->params->zone, books_field(t, BOOKS_COUNTS, r, "date"), &start_us,
                           &end_us) &&
                start_us >= from_us && end_us <= to_us &&
                strv_parse_u64(books_field(t, BOOKS_COUNTS, r, "count"), INT64_MAX, &c->n);
        n += fits;
    }
    return n;
}

static struct strv scope_of(const struct counted *c, enum ledger_field_id id)
{
    for (size_t s = 0; s < COUNT_SCOPES; s++) {
        if (count_fields[s] == id)
            return c->scope[s];
    }
    return STRV("");
}

/* The counts of a row of the ledger's answer, added to the unit of their name. */
static enum rc add_counts(struct units *u, const struct counted *counts, size_t n,
                          const struct ledger_row *row)
{
    const struct report_params *p = u->run->params;
    size_t first = u->n;

    for (size_t k = 0; k < n; k++) {
        struct unit unit = {.name = counts[k].unit,
                            .is_imported = true,
                            .is_known = row->sums.priced > 0,
                            .cost = row->sums.cost};
        bool fits = true;
        size_t at = first;

        for (size_t i = 0; i < p->n_by; i++)
            fits &= strv_eq(scope_of(&counts[k], p->by[i].id), row->value[i]);
        while (fits && at < u->n && !strv_eq(u->at[at].name, unit.name))
            at++;
        if (fits && at == u->n) {
            unit.name = arena_strv(&u->arena, unit.name);
            if (!unit.name.p || add_unit(u, row->value, &unit) != RC_OK)
                return RC_LIMIT;
        }
        if (fits && __builtin_add_overflow(u->at[at].count, counts[k].n, &u->at[at].count))
            return RC_LIMIT;
    }
    return RC_OK;
}

/* Counts can be given by team, feature and environment: no other grouping splits them. */
static bool can_be_counted(const struct report_params *p)
{
    for (size_t i = 0; i < p->n_by; i++) {
        if (p->by[i].id != FIELD_TEAM && p->by[i].id != FIELD_FEATURE &&
            p->by[i].id != FIELD_ENVIRONMENT)
            return false;
    }
    return true;
}

/* ---- one period ----------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b, void *arg)
{
    const struct unit *x = a, *y = b;
    size_t n_by = *(const size_t *)arg;
    int c = 0;

    for (size_t i = 0; c == 0 && i < n_by; i++)
        c = strv_cmp(x->value[i], y->value[i]);
    if (c == 0)
        c = x->is_imported - y->is_imported;
    return c ? c : strv_cmp(x->name, y->name);
}

static enum rc read_units(struct units *u, const struct books_table *counts, int64_t from_us,
                          int64_t to_us)
{
    struct counted *counted;
    struct ledger_rows rows;
    size_t n;
    enum rc rc = run_sums_of(u->run, LEDGER_SPARE | LEDGER_SPARE_CEILING, from_us, to_us,
                             &rows);

    if (rc != RC_OK)
        return rc;
    counted = xcalloc(counts->csv.n_rows + 1, sizeof(*counted));
    n = can_be_counted(u->run->params) ? counts_of(u->run, counts, from_us, to_us, counted) : 0;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        const struct ledger_sums *s = &rows.at[i].sums;
        const struct unit each = {.name = STRV("request"),
                                  .is_known = s->priced > 0,
                                  .count = s->requests,
                                  .cost = s->cost};
        rc = add_unit(u, rows.at[i].value, &each);
        if (rc == RC_OK)
            rc = add_counts(u, counted, n, &rows.at[i]);
    }
    free(counted);
    ledger_rows_release(&rows);
    if (rc == RC_OK)
        rc = add_distinct(u, from_us, to_us, FIELD_CUSTOMER, "customer");
    if (rc == RC_OK)
        rc = add_distinct(u, from_us, to_us, FIELD_USER, "user");
    if (u->n)
        qsort_r(u->at, u->n, sizeof(*u->at), by_name, &u->n_by);
    return rc;
}

static void units_release(struct units *u)
{
    free(u->at);
    arena_release(&u->arena);
}

/* ---- rows --------------------------------------------------------------------------------- */

static enum rc put_link(struct run *run, const struct unit *unit, struct cell *row)
{
    const struct report_params *p = run->params;
    struct drill d;

    drill_start(&d, run);
    for (size_t i = 0; i < p->n_by; i++)
        drill_add(&d, p->by[i], LEDGER_EQ, unit->value[i]);
    if (!unit->is_imported && strv_eq(unit->name, STRV("customer")))
        drill_add(&d, (struct ledger_field){.id = FIELD_CUSTOMER}, LEDGER_NE, STRV(""));
    if (!unit->is_imported && strv_eq(unit->name, STRV("user")))
        drill_add(&d, (struct ledger_field){.id = FIELD_USER}, LEDGER_NE, STRV(""));
    return drill_cell(run, &d, &row[run->lines]);
}

static enum rc put_unit(struct run *run, const struct unit *unit, const struct unit *old,
                        size_t keys)
{
    struct cell *row, *c;
    enum rc rc = sheet_row(&run->sheet, &row);

    for (size_t i = 0; rc == RC_OK && i < keys; i++)
        rc = run_value(run, unit->value[i], &row[i]);
    if (rc != RC_OK)
        return rc;
    c = row + keys;
    rc = sheet_text(&run->sheet, unit->name, &c[UNIT_NAME]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, unit->is_imported ? STRV("import") : STRV("ledger"),
                        &c[UNIT_SOURCE]);
    c[UNIT_HOW_MANY] = cell_count(unit->count);
    if (unit->is_known) {
        c[UNIT_COST] = cell_money(unit->cost);
        c[UNIT_EACH] = mean_money(unit->cost, unit->count);
    }
    if (old) {
        c[UNIT_OLD_COUNT] = cell_count(old->count);
        if (old->is_known)
            c[UNIT_OLD_EACH] = mean_money(old->cost, old->count);
    }
    if (c[UNIT_EACH].known && c[UNIT_OLD_EACH].known)
        c[UNIT_TREND] = cell_ratio(money_sub(c[UNIT_EACH].money, c[UNIT_OLD_EACH].money).atto,
                                   c[UNIT_OLD_EACH].money.atto);
    return rc == RC_OK ? put_link(run, unit, row) : rc;
}

static enum rc put_units(struct run *run, const struct units *now, const struct units *old)
{
    size_t keys = run_key_columns(run);
    enum rc rc = RC_OK;

    run->sheet.has_total = false;
    unit_columns(&run->sheet);
    drill_column(run);
    for (size_t i = 0, k = 0; rc == RC_OK && i < now->n; i++) {
        size_t n_by = now->n_by;
        while (k < old->n && by_name(&old->at[k], &now->at[i], &n_by) < 0)
            k++;
        rc = put_unit(run, &now->at[i],
                      k < old->n && by_name(&old->at[k], &now->at[i], &n_by) == 0 ? &old->at[k]
                                                                                  : NULL,
                      keys);
    }
    return rc;
}

enum rc report_unit_economics(struct run *run)
{
    const struct report_params *p = run->params;
    struct units now = {.run = run, .n_by = p->n_by}, old = {.run = run, .n_by = p->n_by};
    struct books_table counts = {0};
    enum rc rc;

    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it compares two periods as a whole");
    if (p->top)
        return run_refuses(run, "top", "rows are of different units");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    arena_init(&now.arena, SHEET_TEXT_MAX_BYTES);
    arena_init(&old.arena, SHEET_TEXT_MAX_BYTES);
    rc = run_against(run);
    if (rc == RC_OK)
        rc = books_read(run->sources->state_dir, BOOKS_COUNTS, &counts, &run->fail);
    if (rc == RC_OK)
        rc = read_units(&now, &counts, p->from_us, p->to_us);
    if (rc == RC_OK)
        rc = read_units(&old, &counts, run->against_from_us, run->against_to_us);
    if (rc == RC_OK)
        rc = put_units(run, &now, &old);
    run->note = "Imported counts of days and months that lie wholly in the period.";
    books_release(&counts);
    units_release(&now);
    units_release(&old);
    return rc;
}
