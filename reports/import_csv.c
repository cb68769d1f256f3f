#include "reports/import_csv.h"

#include <string.h>

static bool fault(struct import_csv *csv, size_t at, const char *why)
{
    csv->at = at;
    csv->why = why;
    return false;
}

/* A cell in quotes, from the one that opens it. */
static bool quoted(struct import_csv *csv, size_t *at, struct strv *out)
{
    size_t start = *at + 1, end = start, doubled = 0, n = 0;
    char *to;

    for (;; end++) {
        if (end >= csv->text.n)
            return fault(csv, *at, "opens quotes that nothing closes");
        if (csv->text.p[end] != '"')
            continue;
        if (end + 1 >= csv->text.n || csv->text.p[end + 1] != '"')
            break;
        doubled++;
        end++;
    }
    *out = strv_make(csv->text.p + start, end - start);
    *at = end + 1;
    if (doubled == 0)
        return true;
    to = arena_alloc(csv->arena, out->n);
    if (!to)
        return fault(csv, start, "is more than can be read");
    for (size_t i = 0; i < out->n; i++) {
        to[n++] = out->p[i];
        i += out->p[i] == '"';
    }
    *out = strv_make(to, n);
    return true;
}

/* One line's cells, into cell and cell_at. */
static bool read_line(struct import_csv *csv, size_t *n)
{
    size_t at = csv->at;

    for (*n = 0;;) {
        struct strv *cell = &csv->cell[*n];
        size_t start = at;
        if (*n == IMPORT_CSV_COLUMNS_MAX)
            return fault(csv, at, "is one column too many");
        csv->cell_at[(*n)++] = at;
        if (at < csv->text.n && csv->text.p[at] == '"') {
            if (!quoted(csv, &at, cell))
                return false;
        } else {
            while (at < csv->text.n && !memchr(",\r\n\"", csv->text.p[at], 4))
                at++;
            *cell = strv_make(csv->text.p + start, at - start);
        }
        if (at < csv->text.n && csv->text.p[at] == ',') {
            at++;
            continue;
        }
        if (at < csv->text.n && csv->text.p[at] == '\r')
            at++;
        if (at < csv->text.n && csv->text.p[at] != '\n')
            return fault(csv, at, "should be a comma or the line's end");
        csv->at = at < csv->text.n ? at + 1 : at;
        return true;
    }
}

bool import_csv_open(struct import_csv *csv, struct strv text, struct arena *arena)
{
    *csv = (struct import_csv){.text = text, .arena = arena};
    if (strv_starts(text, STRV("\xef\xbb\xbf")))
        csv->at = 3;
    if (!read_line(csv, &csv->n_columns))
        return false;
    for (size_t i = 0; i < csv->n_columns; i++) {
        csv->header[i] = arena_strv(arena, strv_trim(csv->cell[i]));
        for (size_t k = 0; k < i; k++) {
            if (strv_eq_nocase(csv->header[i], csv->header[k]))
                return fault(csv, csv->cell_at[i], "is a column that stands twice");
        }
    }
    return true;
}

bool import_csv_next(struct import_csv *csv)
{
    size_t n, start;

    do {
        if (csv->at >= csv->text.n)
            return false;
        start = csv->at;
        if (!read_line(csv, &n))
            return false;
    } while (n == 1 && csv->cell[0].n == 0);
    if (n != csv->n_columns)
        return fault(csv, n < csv->n_columns ? start : csv->cell_at[csv->n_columns],
                     n < csv->n_columns ? "has fewer cells than the header"
                                        : "has more cells than the header");
    return true;
}

size_t import_csv_column(const struct import_csv *csv, const char *names)
{
    struct strv rest = strv_z(names), name;

    while (strv_split(&rest, '|', &name)) {
        for (size_t i = 0; i < csv->n_columns; i++) {
            if (strv_eq_nocase(csv->header[i], name))
                return i;
        }
    }
    return IMPORT_CSV_COLUMNS_MAX;
}

struct strv import_csv_cell(const struct import_csv *csv, size_t column)
{
    return column < csv->n_columns ? strv_trim(csv->cell[column]) : STRV_NONE;
}
