/*
 * books.c - see books.h: the kinds and their columns, checks, the canonical tables.
 */
#include "reports/books.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/datetime.h"
#include "base/tag.h"
#include "base/xalloc.h"
#include "reports/files.h"
#include "reports/period.h"

/* ---- what a field may hold ---------------------------------------------------------------- */

static const char *check_when(struct strv v)
{
    int year, month, day;
    char date[sizeof("2026-11-01")];

    if (v.n == sizeof("2026-11") - 1) {
        (void)snprintf(date, sizeof(date), STRV_FMT "-01", STRV_ARG(v));
        v = strv_z(date);
    }
    return date_parse(v, &year, &month, &day) ? NULL
                                              : "is neither a month (2026-11) nor a date "
                                                "(2026-11-21)";
}

static const char *check_month(struct strv v)
{
    return v.n == sizeof("2026-11") - 1 && !check_when(v) ? NULL : "is no month (2026-11)";
}

static const char *check_date(struct strv v)
{
    int year, month, day;

    return date_parse(v, &year, &month, &day) ? NULL : "is no date (2026-11-21)";
}

static const char *check_name(struct strv v)
{
    return tag_name_is_valid(v) ? NULL : "is no name ([a-z0-9_.-], at most 64 characters)";
}

static const char *check_value(struct strv v)
{
    return tag_value_is_valid(v) ? NULL : "is no text of 1 to 256 printable bytes";
}

static const char *check_count(struct strv v)
{
    uint64_t n;

    return strv_parse_u64(v, INT64_MAX, &n) ? NULL : "is no whole number";
}

static const char *check_amount(struct strv v)
{
    struct money m;

    return money_parse(v, &m) == RC_OK
               ? NULL
               : "is no amount (1234.56: a point, no thousands, at most 18 decimals)";
}

static const char *check_method(struct strv v)
{
    return strv_eq(v, STRV("direct")) || strv_eq(v, STRV("proportional")) ||
                   strv_eq(v, STRV("fixed"))
               ? NULL
               : "is none of direct, proportional, fixed";
}

static const char *check_driver(struct strv v)
{
    return strv_eq(v, STRV("cost")) || strv_eq(v, STRV("requests")) || strv_eq(v, STRV("tokens"))
               ? NULL
               : "is none of cost, requests, tokens";
}

static const char *check_where(struct strv v)
{
    size_t equals = strv_find(v, '=');

    if (equals == v.n || equals == 0 || !tag_value_is_valid(strv_skip(v, equals + 1)))
        return "is no condition (feature=guardrail)";
    return tag_name_is_valid(strv_head(v, equals)) ||
                   strv_starts(v, STRV("tag:"))
               ? NULL
               : "is no condition (feature=guardrail)";
}

/* ---- the kinds ----------------------------------------------------------------------------- */

#define KEY      true, true
#define WANTED   true, false
#define OPTIONAL false, false
#define SCOPE    false, true

static const struct books_column counts[] = {
    {"date", "day or month that the count is of", KEY, check_when},
    {"unit", "what was counted: order, case, page", KEY, check_name},
    {"team", "whose it is; empty: everybody's", SCOPE, check_value},
    {"feature", "", SCOPE, check_value},
    {"environment", "", SCOPE, check_value},
    {"count", "how many", WANTED, check_count},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column costs[] = {
    {"date", "day or month of the cost", KEY, check_when},
    {"pool", "what it belongs to: vector-db, support", KEY, check_name},
    {"item", "tells several amounts of a pool and date apart", SCOPE, check_value},
    {"amount_usd", "dollars; below zero for a credit", WANTED, check_amount},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column pools[] = {
    {"pool", "its name, as in costs", KEY, check_name},
    {"method", "direct (by use), proportional (by weights), fixed (equal parts)", WANTED,
     check_method},
    {"driver", "direct: by cost (default), requests or tokens", OPTIONAL, check_driver},
    {"where", "metered spend that is shared out too: feature=guardrail", OPTIONAL, check_where},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column weights[] = {
    {"pool", "of a proportional pool", KEY, check_name},
    {"team", "who bears it", KEY, check_value},
    {"from", "first day that the weight holds", KEY, check_date},
    {"to", "first day that it no longer does; empty: until another from", OPTIONAL, check_date},
    {"weight", "whole number: heads, revenue", WANTED, check_count},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column plan[] = {
    {"month", "the month planned", KEY, check_month},
    {"team", "whose plan; empty: spend without a team", SCOPE, check_value},
    {"amount_usd", "planned dollars", WANTED, check_amount},
    {NULL, NULL, false, false, NULL},
};
static const struct books_column accounts[] = {
    {"team", "the team; * for all that have no line", KEY, check_value},
    {"cost_centre", "", WANTED, check_value},
    {"gl_account", "account that is debited", WANTED, check_value},
    {NULL, NULL, false, false, NULL},
};

static const struct {
    const char *name;
    const struct books_column *columns;
} kinds[BOOKS_KINDS] = {
    [BOOKS_COUNTS] = {"counts", counts},   [BOOKS_COSTS] = {"costs", costs},
    [BOOKS_POOLS] = {"pools", pools},      [BOOKS_WEIGHTS] = {"weights", weights},
    [BOOKS_PLAN] = {"plan", plan},         [BOOKS_ACCOUNTS] = {"accounts", accounts},
};

const char *books_kind_name(enum books_kind kind)
{
    return kinds[kind].name;
}

bool books_kind_parse(struct strv name, enum books_kind *out)
{
    for (unsigned i = 0; i < BOOKS_KINDS; i++) {
        if (strv_eq(name, strv_z(kinds[i].name))) {
            *out = (enum books_kind)i;
            return true;
        }
    }
    return false;
}

const struct books_column *books_column_at(enum books_kind kind, size_t i)
{
    return kinds[kind].columns[i].name ? &kinds[kind].columns[i] : NULL;
}

static size_t column_count(enum books_kind kind)
{
    size_t n = 0;

    while (kinds[kind].columns[n].name)
        n++;
    return n;
}

bool books_when(const struct zone *zone, struct strv text, int64_t *from_us, int64_t *to_us)
{
    int year, month, day;

    if (period_parse_month(zone, text, from_us, to_us))
        return true;
    if (!date_parse(text, &year, &month, &day))
        return false;
    *from_us = zone_date_start(zone, year, month, day);
    date_from_days(date_to_days(year, month, day) + 1, &year, &month, &day);
    *to_us = zone_date_start(zone, year, month, day);
    return true;
}

/* ---- rows in the kind's own order of columns -------------------------------------------------- */

struct row {
    struct strv field[BOOKS_COLUMNS_MAX];
    size_t line;  /* of the file that is taken; 0: of the table */
};

static int key_cmp(const struct row *a, const struct row *b, enum books_kind kind)
{
    for (size_t i = 0; kinds[kind].columns[i].name; i++) {
        int c = kinds[kind].columns[i].is_key ? strv_cmp(a->field[i], b->field[i]) : 0;
        if (c)
            return c;
    }
    return 0;
}

/* In order of key; of the same key what is taken comes after what stands. */
static int row_cmp(const void *a, const void *b, void *arg)
{
    const struct row *x = a, *y = b;
    int c = key_cmp(x, y, *(const enum books_kind *)arg);

    return c ? c : (x->line > y->line) - (x->line < y->line);
}

struct taking {
    enum books_kind kind;
    const char *file;
    struct problems *problems;
    struct row *rows;
    size_t n, cap;
};

static void take_row(struct taking *g, const struct row *row)
{
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 64;
        g->rows = xrealloc(g->rows, g->cap * sizeof(*g->rows));
    }
    g->rows[g->n++] = *row;
}

static void complain(struct taking *g, size_t line, size_t column, const char *name,
                     struct strv value, const char *why)
{
    problems_add(g->problems, g->file, (int)line, "column %zu (%s): \"" STRV_FMT "\" %s", column,
                 name, STRV_ARG(strv_head(value, 80)), why);
}

/* Where each of the kind's columns stands in the file; false where the header is wrong. */
static bool map_columns(struct taking *g, const struct csv *csv, size_t *at)
{
    const struct books_column *columns = kinds[g->kind].columns;
    bool good = true;

    for (size_t i = 0; columns[i].name; i++) {
        at[i] = csv_column(csv, columns[i].name);
        if (at[i] == csv->n_columns && columns[i].is_required) {
            problems_add(g->problems, g->file, 1, "column \"%s\" is missing: %s", columns[i].name,
                         columns[i].help);
            good = false;
        }
    }
    for (size_t c = 0; c < csv->n_columns; c++) {
        bool known = false;
        for (size_t i = 0; columns[i].name; i++)
            known |= at[i] == c;
        if (!known) {
            complain(g, 1, c + 1, "header", csv->names[c], "is no column of this kind");
            good = false;
        }
    }
    return good;
}

static void take_rows(struct taking *g, const struct csv *csv, const size_t *at)
{
    const struct books_column *columns = kinds[g->kind].columns;

    for (size_t r = 0; r < csv->n_rows && g->problems->total < BOOKS_FAULTS_MAX; r++) {
        struct row row = {.line = csv->lines[r]};

        for (size_t i = 0; columns[i].name; i++) {
            struct strv value = at[i] < csv->n_columns ? csv_field(csv, r, at[i]) : STRV("");
            const char *why = NULL;

            if (value.n)
                why = columns[i].check(value);
            else if (columns[i].is_required)
                why = "is missing";
            if (why)
                complain(g, row.line, at[i] + 1, columns[i].name, value, why);
            row.field[i] = value;
        }
        take_row(g, &row);
    }
}

/* The same key twice in one file: which of them is meant? */
static void check_double(struct taking *g)
{
    if (g->n)
        qsort_r(g->rows, g->n, sizeof(*g->rows), row_cmp, &g->kind);
    for (size_t i = 1; i < g->n && g->problems->total < BOOKS_FAULTS_MAX; i++) {
        if (key_cmp(&g->rows[i - 1], &g->rows[i], g->kind) == 0)
            problems_add(g->problems, g->file, (int)g->rows[i].line,
                         "column 1 (%s): says the same again as line %zu",
                         kinds[g->kind].columns[0].name, g->rows[i - 1].line);
    }
}

static enum rc read_file(struct taking *g, struct strv text, struct csv *csv)
{
    struct csv_fault fault;
    size_t at[BOOKS_COLUMNS_MAX];

    if (csv_parse(text, csv, &fault) != RC_OK) {
        problems_add(g->problems, g->file, (int)fault.line, "column %zu %s", fault.column,
                     fault.why);
        return RC_BAD;
    }
    if (!map_columns(g, csv, at))
        return RC_BAD;
    take_rows(g, csv, at);
    if (g->problems->total == 0)
        check_double(g);
    return g->problems->total == 0 ? RC_OK : RC_BAD;
}

/* ---- the canonical table --------------------------------------------------------------------- */

static enum rc put_field(struct strv text, struct buf *out)
{
    bool quoted = false;
    enum rc rc;

    for (size_t i = 0; !quoted && i < text.n; i++)
        quoted = memchr(",\"\r\n", text.p[i], 4) != NULL;
    if (!quoted)
        return buf_append_strv(out, text);
    rc = buf_append(out, "\"", 1);
    for (size_t i = 0; rc == RC_OK && i < text.n; i++) {
        rc = buf_append(out, &text.p[i], 1);
        if (rc == RC_OK && text.p[i] == '"')
            rc = buf_append(out, "\"", 1);
    }
    return rc == RC_OK ? buf_append(out, "\"", 1) : rc;
}

static enum rc put_table(const struct taking *g, struct buf *out)
{
    const struct books_column *columns = kinds[g->kind].columns;
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && columns[i].name; i++)
        rc = buf_printf(out, "%s%s", i ? "," : "", columns[i].name);
    for (size_t r = 0; rc == RC_OK && r < g->n; r++) {
        rc = buf_append(out, "\n", 1);
        for (size_t i = 0; rc == RC_OK && columns[i].name; i++) {
            if (i)
                rc = buf_append(out, ",", 1);
            if (rc == RC_OK)
                rc = put_field(g->rows[r].field[i], out);
        }
    }
    return rc == RC_OK ? buf_append(out, "\n", 1) : rc;
}

/* What is taken replaces what stands, key by key. */
static void merge(struct taking *g, const struct books_table *old, struct books_taken *out)
{
    size_t n_columns = column_count(g->kind), n = 0;

    for (size_t r = 0; r < old->csv.n_rows; r++) {
        struct row row = {.line = 0};
        for (size_t i = 0; i < n_columns; i++)
            row.field[i] = csv_field(&old->csv, r, i);
        take_row(g, &row);
    }
    *out = (struct books_taken){0};
    if (g->n)
        qsort_r(g->rows, g->n, sizeof(*g->rows), row_cmp, &g->kind);
    for (size_t i = 0; i < g->n; i++) {
        bool again = n > 0 && key_cmp(&g->rows[n - 1], &g->rows[i], g->kind) == 0;

        if (again) {
            bool same = true;
            for (size_t c = 0; c < n_columns; c++)
                same &= strv_eq(g->rows[n - 1].field[c], g->rows[i].field[c]);
            out->same += same;
            out->replaced += !same;
            g->rows[n - 1] = g->rows[i];
        } else {
            out->added += g->rows[i].line > 0;
            g->rows[n++] = g->rows[i];
        }
    }
    g->n = out->rows = n;
}

static enum rc store(const char *state_dir, const struct taking *g, struct strv text,
                     struct fail *fail)
{
    struct buf table;
    enum rc rc;

    buf_init(&table, (size_t)4 * CSV_MAX_BYTES);
    rc = put_table(g, &table);
    if (rc != RC_OK)
        *fail = (struct fail){.rc = rc, .doing = "write a table of that size"};
    if (rc == RC_OK)
        rc = files_keep_history(state_dir, kinds[g->kind].name, text, fail);
    if (rc == RC_OK)
        rc = files_replace(state_dir, "books", kinds[g->kind].name, ".csv", buf_view(&table),
                           fail);
    buf_release(&table);
    return rc;
}

enum rc books_import(const char *state_dir, enum books_kind kind, const char *file,
                     struct strv text, bool is_dry, struct problems *problems,
                     struct books_taken *out, struct fail *fail)
{
    struct taking g = {.kind = kind, .file = file, .problems = problems};
    struct books_table old = {0};
    struct csv csv;
    int lock = -1;
    enum rc rc = read_file(&g, text, &csv);

    *fail = (struct fail){0};
    if (rc != RC_OK)
        goto out;
    rc = files_lock(state_dir, "books", &lock, fail);
    if (rc == RC_OK)
        rc = books_read(state_dir, kind, &old, fail);
    if (rc != RC_OK)
        goto out;
    merge(&g, &old, out);
    if (g.n > BOOKS_ROWS_MAX) {
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "keep more than 1000000 lines of a kind"};
        rc = RC_LIMIT;
    }
    if (rc == RC_OK && !is_dry)
        rc = store(state_dir, &g, text, fail);
out:
    if (lock >= 0)
        (void)close(lock);
    free(g.rows);
    books_release(&old);
    csv_release(&csv);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------------ */

enum rc books_read(const char *state_dir, enum books_kind kind, struct books_table *out,
                   struct fail *fail)
{
    struct csv_fault fault;
    size_t n = 0;
    enum rc rc;

    *out = (struct books_table){0};
    *fail = (struct fail){0};
    if (!state_dir)
        return RC_OK;
    rc = files_read(state_dir, "books", kinds[kind].name, ".csv", &out->text, &n, fail);
    if (rc == RC_STATE)
        return RC_OK; /* nothing of the kind was imported */
    if (rc != RC_OK)
        return rc;
    rc = csv_parse(strv_make(out->text, n), &out->csv, &fault);
    if (rc == RC_OK && out->csv.n_columns == column_count(kind))
        return RC_OK;
    books_release(out);
    *fail = (struct fail){.rc = RC_IO, .doing = "read an imported table: it is damaged"};
    return RC_IO;
}

void books_release(struct books_table *t)
{
    if (t->text)
        csv_release(&t->csv);
    free(t->text);
    *t = (struct books_table){0};
}

struct strv books_field(const struct books_table *t, enum books_kind kind, size_t row,
                        const char *name)
{
    for (size_t i = 0; kinds[kind].columns[i].name; i++) {
        if (strcmp(kinds[kind].columns[i].name, name) == 0)
            return csv_field(&t->csv, row, i);
    }
    return STRV("");
}
