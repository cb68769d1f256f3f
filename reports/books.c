/*
 * books.c - see books.h: files are checked row by row, tables replaced whole.
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
#include "base/csvw.h"
#include "base/datetime.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "reports/files.h"
#include "reports/period.h"
#include "reports/trail.h"

static size_t column_count(enum books_kind kind)
{
    size_t n = 0;

    while (books_column_at(kind, n))
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
    const struct books_column *column;

    for (size_t i = 0; (column = books_column_at(kind, i)); i++) {
        int c = column->is_key ? strv_cmp(a->field[i], b->field[i]) : 0;
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
    const struct books_column *columns = books_column_at(g->kind, 0);
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
    const struct books_column *columns = books_column_at(g->kind, 0);

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
                         books_column_at(g->kind, 0)->name, g->rows[i - 1].line);
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

static enum rc put_table(const struct taking *g, struct buf *out)
{
    const struct books_column *columns = books_column_at(g->kind, 0);
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && columns[i].name; i++)
        rc = buf_printf(out, "%s%s", i ? "," : "", columns[i].name);
    for (size_t r = 0; rc == RC_OK && r < g->n; r++) {
        rc = buf_append(out, "\n", 1);
        for (size_t i = 0; rc == RC_OK && columns[i].name; i++) {
            if (i)
                rc = buf_append(out, ",", 1);
            if (rc == RC_OK)
                rc = csvw_raw(out, g->rows[r].field[i]);
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

static void note_import(const char *state_dir, const struct taking *g, const struct books_table *old,
                        struct strv table)
{
    char object[32], before[SHA256_HEX], after[SHA256_HEX];

    (void)snprintf(object, sizeof(object), "books/%s", books_kind_name(g->kind));
    trail_hash(table, after);
    if (old->text)
        trail_hash(strv_make(old->text, old->n), before);
    trail_note(state_dir, &(struct trail_change){.action = "import",
                                                 .object = object,
                                                 .detail = g->file,
                                                 .before = old->text ? before : NULL,
                                                 .after = after});
}

static enum rc store(const char *state_dir, const struct taking *g,
                     const struct books_table *old, struct strv text, struct fail *fail)
{
    struct buf table;
    enum rc rc;

    buf_init(&table, (size_t)4 * CSV_MAX_BYTES);
    rc = put_table(g, &table);
    if (rc != RC_OK)
        *fail = (struct fail){.rc = rc, .doing = "write a table of that size"};
    if (rc == RC_OK)
        rc = files_keep_history(state_dir, books_kind_name(g->kind), text, fail);
    if (rc == RC_OK)
        rc = files_replace(state_dir, "books", books_kind_name(g->kind), ".csv", buf_view(&table),
                           fail);
    if (rc == RC_OK)
        note_import(state_dir, g, old, buf_view(&table));
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
        rc = store(state_dir, &g, &old, text, fail);
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
    enum rc rc;

    *out = (struct books_table){0};
    *fail = (struct fail){0};
    if (!state_dir)
        return RC_OK;
    rc = files_read(state_dir, "books", books_kind_name(kind), ".csv", &out->text, &out->n, fail);
    if (rc == RC_STATE)
        return RC_OK; /* nothing of the kind was imported */
    if (rc != RC_OK)
        return rc;
    rc = csv_parse(strv_make(out->text, out->n), &out->csv, &fault);
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
    const struct books_column *column;

    for (size_t i = 0; (column = books_column_at(kind, i)); i++) {
        if (strcmp(column->name, name) == 0)
            return csv_field(&t->csv, row, i);
    }
    return STRV("");
}
