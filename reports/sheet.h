/*
 * sheet.h - the answer of a report: typed columns, rows, a total.
 *
 * Cells hold exact values; rounding is for rendering alone.  A column that adds up
 * must: sheet_finish compares the sum of its rows with its total.  Text of cells is
 * borrowed from the sheet's own arena (sheet_text copies).
 */
#ifndef REPORTS_SHEET_H
#define REPORTS_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/strv.h"
#include "pricing/money.h"

struct zone;

enum {
    SHEET_COLUMNS_MAX = 64,
    SHEET_ROWS_MAX = 2000000,
    SHEET_TEXT_MAX_BYTES = 1 << 30,
};

enum column_type {
    COLUMN_TEXT = 0,
    COLUMN_TIME,  /* microseconds UTC */
    COLUMN_COUNT, /* whole number */
    COLUMN_MONEY, /* name ends in _usd */
    COLUMN_RATIO, /* num / den, null where den is 0 */
    COLUMN_SHARE, /* of the total of another column: shares add up to 1 */
    COLUMN_BOOL,
};

enum column_flags {
    COLUMN_ADDS = 1,     /* rows sum to the total */
    COLUMN_KEY = 2,      /* names the row: no value in the total */
    COLUMN_SPARSE = 4,   /* tables for people leave it out where it is null or 0 everywhere */
    COLUMN_PER_CENT = 8, /* a ratio that people read in per cent */
    COLUMN_MACHINE = 16, /* tables for people leave it out always */
    COLUMN_FINE = 64,    /* a ratio that machine formats give with 12 decimals */
    COLUMN_WHOLE = 128,  /* a ratio over one: a whole number that may be below zero */
    COLUMN_LINK = 32,    /* a path of the admin listener: a member of JSON, a link of pages */
};

struct column {
    const char *name;  /* snake_case: key of JSON, header of CSV */
    const char *title; /* for people */
    enum column_type type;
    unsigned flags;
    size_t of; /* COLUMN_SHARE: the column whose share it is */
    bool has_decimals; /* COLUMN_MONEY: people see this many, whatever else is said */
    unsigned decimals;
};

struct ratio {
    money_int num, den; /* sizes below 10^30: see cell_ratio */
};

struct cell {
    bool known; /* false: null */
    union {
        struct strv text;
        int64_t time_us;
        uint64_t count;
        struct money money;
        struct ratio ratio;
        bool yes;
    };
};

struct sheet {
    struct arena arena;
    struct column columns[SHEET_COLUMNS_MAX];
    size_t n_columns;
    struct cell *cells; /* n_rows x n_columns */
    size_t n_rows, cap_rows;
    struct cell total[SHEET_COLUMNS_MAX];
    bool has_total; /* false: rows of different units, nothing adds up */
};

/* Requests of which not all is known. */
struct sheet_quality {
    uint64_t requests, unpriced, partly_priced, unknown_usage, estimated;
};

/* The currency that a document was converted to. */
struct sheet_currency {
    struct strv code, rate, date, source;
};

/* What machine formats say of a report beside its period: what was asked, and of what. */
struct sheet_about {
    const char *grain;
    const struct strv *where; /* conditions as the word `where` has them */
    size_t n_where;
    struct strv (*words)[2]; /* other words that choose lines, by name */
    size_t n_words;
    const char *cost_basis;
    uint64_t ledger_seq;
    const char *book;          /* hash of the price book; NULL: none */
    const char *period_status; /* "open", "closed"; NULL: not known */
    const struct sheet_currency *currency; /* NULL: dollars */
    const struct sheet_quality *quality; /* NULL: not known, or nothing to be known */
};

/* What stands above the rows. Strings are borrowed. */
struct sheet_head {
    const char *report, *title;
    int64_t from_us, to_us;
    const struct zone *zone;
    int64_t as_of_us; /* 0: unknown */
    const struct strv *by;
    size_t n_by;
    bool has_precision;
    unsigned precision; /* decimals of a dollar where people read; else chosen by size */
    const char *note;   /* one line for people; NULL: none */
    bool has_against;   /* compared with [against_from, against_to) */
    int64_t against_from_us, against_to_us;
    const struct sheet_about *about; /* NULL: not said */
};

void sheet_init(struct sheet *t);
void sheet_release(struct sheet *t);
/* Empty again, without columns; texts that were copied to it stay. */
void sheet_clear(struct sheet *t);

/* Adds a column, before any row; returns its index. */
size_t sheet_column(struct sheet *t, const char *name, const char *title, enum column_type type,
                    unsigned flags);
/* A column whose cells are the shares of another: filled by sheet_finish. */
size_t sheet_share(struct sheet *t, const char *name, const char *title, size_t of);

/* A last column, after the rows: its cells are null. Cells of rows move. */
size_t sheet_append(struct sheet *t, const char *name, const char *title, enum column_type type,
                    unsigned flags);

/* A new row of null cells, valid until the next; RC_LIMIT beyond SHEET_ROWS_MAX. */
enum rc sheet_row(struct sheet *t, struct cell **out) RC_MUST;
static inline struct cell *sheet_cells(const struct sheet *t, size_t row)
{
    return t->cells + row * t->n_columns;
}
/* Index of the column of that name, or n_columns. */
size_t sheet_find(const struct sheet *t, struct strv name);

struct cell cell_null(void);
/* The text is copied to the sheet; RC_LIMIT where it holds SHEET_TEXT_MAX_BYTES. */
enum rc sheet_text(struct sheet *t, struct strv text, struct cell *out) RC_MUST;
struct cell cell_count(uint64_t n);
struct cell cell_money(struct money m);
struct cell cell_time(int64_t us);
struct cell cell_bool(bool yes);
/* Null where den is 0; larger operands lose the same low digits. */
struct cell cell_ratio(money_int num, money_int den);

/* Stable order of the first n rows by a column; null last. */
void sheet_sort(struct sheet *t, size_t n, size_t column, bool ascending);

/* Fills shares. Columns that add up are compared with the total: RC_STATE where they
 * disagree, and *wrong is the column's name. */
enum rc sheet_finish(struct sheet *t, const char **wrong) RC_MUST;

/* num / den rounded half to even; den > 0. */
money_int divide_even(money_int num, money_int den);
/*
 * a x num / den rounded down, and what of num / den is left; exact at any size; a not below 0,
 * den > 0.  What does not fit becomes the most that does.
 */
money_int scale_floor(money_int a, uint64_t num, uint64_t den, uint64_t *rest);
/* a x num / den rounded half to even, exact at any size; den > 0.  What does not fit becomes
 * the most that does. */
money_int scale_even(money_int a, uint64_t num, uint64_t den);

/*
 * Largest remainder: whole units for each weight so that they sum to units.  Weight i
 * gets weight x units / total rounded down or up; ties go to the larger weight,
 * then to the earlier.  total is the weights' sum; all zero where it is 0.
 * Weights up to 10^37 in size; those whose product overflows lose low digits.
 */
void apportion(const money_int *weights, size_t n, money_int total, money_int units,
               money_int *out);

/*
 * Rounds weights to multiples of unit (out counts them) so that they sum to units,
 * which is the weights' sum over unit, rounded either way: largest remainder, ties as
 * apportion.  unit > 0; exact at any size.
 */
void round_to_sum(const money_int *weights, size_t n, money_int unit, money_int units,
                  money_int *out);

/*
 * Largest remainder without any loss, at any size: amount in parts by weight that sum to
 * it.  Weights from 0, total their sum and above 0, below 2^126; ties go to the larger
 * weight, then to the earlier.  extra (or NULL) tells who got a unit beyond its exact part.
 */
void share_exactly(const money_int *weights, size_t n, money_int total, money_int amount,
                   money_int *out, bool *extra);

#endif
