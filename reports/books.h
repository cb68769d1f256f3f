/*
 * books.h - what finance hands in: business counts, outside costs, pools, weights, plans,
 * accounts, decisions about savings, adjustments of forecasts.
 *
 * Each kind is one canonical table in <state_dir>/books/<kind>.csv, sorted by its key and
 * replaced whole; every file that was taken is kept in books/history.  A file with any
 * fault changes nothing.  The ledger is not touched: imported amounts are never
 * metered ones, and reports show them beside each other.
 */
#ifndef REPORTS_BOOKS_H
#define REPORTS_BOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/rc.h"
#include "base/strv.h"
#include "base/zone.h"
#include "pricing/money.h"
#include "reports/csv.h"

enum books_kind {
    BOOKS_COUNTS = 0, /* business counts: orders, cases, pages */
    BOOKS_COSTS,      /* outside costs, by pool */
    BOOKS_POOLS,      /* how each pool is shared out */
    BOOKS_WEIGHTS,    /* a pool's weight of each team, with dates */
    BOOKS_PLAN,       /* planned cost of each team's month */
    BOOKS_ACCOUNTS,   /* a team's cost centre and GL account; team * is the default */
    BOOKS_DECISIONS,   /* what was made of a finding of the report savings, and by whom */
    BOOKS_ADJUSTMENTS, /* what a forecast cannot know: launches, changes of price */
    BOOKS_INVOICES,    /* number of the invoice of an account's month */
    BOOKS_RATES,       /* how much of a currency a dollar is, by day */
    BOOKS_COMMITMENTS, /* spend that was committed, and paid, beforehand */
    BOOKS_KINDS,
};

enum {
    BOOKS_COLUMNS_MAX = 12,
    BOOKS_ROWS_MAX = 1000000, /* of one kind */
    BOOKS_FAULTS_MAX = 20,    /* told of one file */
};

/* "counts", "costs", ...; and what its columns are, for --help. */
const char *books_kind_name(enum books_kind kind);
bool books_kind_parse(struct strv name, enum books_kind *out);
/* Columns in order, NULL past the last: their name, whether they must be there, what they
 * hold. */
struct books_column {
    const char *name, *help;
    bool is_required, is_key;
    const char *(*check)(struct strv value); /* NULL, or what is wrong: a static text */
};
const struct books_column *books_column_at(enum books_kind kind, size_t i);

struct books_taken {
    size_t added, replaced, same; /* rows of the file */
    size_t rows;                  /* of the kind now */
};

/*
 * Takes a file: its rows replace those of the same key.  RC_BAD with each fault in
 * problems, as "file:line: column N (name): ..."; RC_IO with fail where the folder
 * cannot be read or written; nothing is changed then.  is_dry: only checks.  One
 * import at a time (a lock in the folder); what is written is on disk on return.
 */
enum rc books_import(const char *state_dir, enum books_kind kind, const char *file,
                     struct strv text, bool is_dry, struct problems *problems,
                     struct books_taken *out, struct fail *fail) RC_MUST;

/* A kind's table as it stands: columns as books_column_at, in order. Empty where nothing was
 * imported, and where state_dir is NULL. */
struct books_table {
    struct csv csv;
    char *text; /* owned; n bytes, terminated */
    size_t n;
};
enum rc books_read(const char *state_dir, enum books_kind kind, struct books_table *out,
                   struct fail *fail) RC_MUST;
void books_release(struct books_table *t);
/* Field of a row of books_read; empty where the file gave none. */
struct strv books_field(const struct books_table *t, enum books_kind kind, size_t row,
                        const char *name);

/* A day or month of the zone, as the tables write it: half-open. False for any other text. */
bool books_when(const struct zone *zone, struct strv text, int64_t *from_us, int64_t *to_us);

#endif
