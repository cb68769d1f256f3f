/*
 * import_csv.h - CSV files of other systems (RFC 4180), with places.
 *
 * LF or CRLF ends a line, a byte order mark is passed over, every line has as many
 * cells as the header.  Cells borrow from the text but for quotes within quotes.
 */
#ifndef REPORTS_IMPORT_CSV_H
#define REPORTS_IMPORT_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/strv.h"

enum { IMPORT_CSV_COLUMNS_MAX = 512 };

struct import_csv {
    struct strv text;
    size_t at;           /* of the next line, or of the fault */
    struct arena *arena; /* of the header, and of cells with quotes in quotes */
    struct strv header[IMPORT_CSV_COLUMNS_MAX];
    size_t n_columns;
    struct strv cell[IMPORT_CSV_COLUMNS_MAX];
    size_t cell_at[IMPORT_CSV_COLUMNS_MAX]; /* their offsets */
    const char *why;                        /* static: what is wrong */
};

/* Reads the header. False with csv->why. */
bool import_csv_open(struct import_csv *csv, struct strv text, struct arena *arena);
/* The next line's cells; false at the end, or with csv->why. Empty lines are passed over. */
bool import_csv_next(struct import_csv *csv);
/* Column of one of these names (but for case; '|' between them), or IMPORT_CSV_COLUMNS_MAX. */
size_t import_csv_column(const struct import_csv *csv, const char *names);
/* The cell of a column, trimmed; empty where there is no such column. */
struct strv import_csv_cell(const struct import_csv *csv, size_t column);

#endif
