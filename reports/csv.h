/*
 * csv.h - reading comma-separated tables that people hand in: strict, bounded.
 *
 * RFC 4180 with a header line; CRLF or LF; UTF-8, a byte-order mark is passed over.
 * Every row has as many fields as the header.  What a file means is for its caller.
 */
#ifndef REPORTS_CSV_H
#define REPORTS_CSV_H

#include <stddef.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/strv.h"

enum {
    CSV_MAX_BYTES = 64 << 20,
    CSV_COLUMNS_MAX = 256,
    CSV_ROWS_MAX = 2000000,
    CSV_FIELD_MAX_BYTES = 64 << 10,
};

/* Views look into the text that was parsed, or into the arena. */
struct csv {
    struct strv *names;   /* n_columns: the header */
    struct strv *fields;  /* n_rows x n_columns */
    size_t *lines;        /* of each row, from 1 */
    size_t n_columns, n_rows;
    struct arena arena;
};

/* Where a table is wrong. */
struct csv_fault {
    size_t line, column; /* from 1; column counts fields; 0: the line as a whole */
    const char *why;     /* static */
};

/*
 * RC_BAD with the first fault: a bare quote, an open quote, text behind a closing
 * quote, another number of fields than the header's, an empty or double name, bytes
 * that are no UTF-8, a control character; RC_LIMIT with one of the maxima above.  What
 * was parsed lives until csv_release, which is legal after a failure too.
 */
enum rc csv_parse(struct strv text, struct csv *out, struct csv_fault *fault) RC_MUST;
void csv_release(struct csv *c);

/* Index of the column of that name, n_columns where there is none. */
size_t csv_column(const struct csv *c, const char *name);
static inline struct strv csv_field(const struct csv *c, size_t row, size_t column)
{
    return c->fields[row * c->n_columns + column];
}

#endif
