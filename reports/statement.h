/*
 * statement.h - what a team owes for a period: its usage, its part of shared costs, and
 * corrections of closed months.
 */
#ifndef REPORTS_STATEMENT_H
#define REPORTS_STATEMENT_H

#include "reports/allocation.h"
#include "reports/closed.h"

enum { STATEMENT_ROWS_MAX = 1000000 };

enum statement_kind { STATEMENT_USAGE = 0, STATEMENT_SHARED, STATEMENT_CORRECTION };

/* What usage and corrections are told apart by. */
enum { STATEMENT_FIELDS = 4 };
extern const enum ledger_field_id statement_fields[STATEMENT_FIELDS]; /* team first */

struct statement_row {
    enum statement_kind kind;
    struct strv field[STATEMENT_FIELDS]; /* shared: the team alone */
    struct strv item;                    /* the pool, or the month corrected */
    bool is_unallocated;
    struct ledger_sums sums; /* of usage */
    struct money metered, imported, correction;
};

struct statement {
    struct statement_row *at;
    size_t n, cap;
    struct arena arena;
    struct ledger_rows usage;
    struct allocation allocation;
    struct books_table accounts;
    bool is_month;                  /* a calendar month of the sources' zone */
    char month[CLOSED_MONTH_TEXT];  /* "2026-11" where it is */
};

/* The statement of an open period; release it also after a failure. */
enum rc statement_make(struct run *run, struct statement *out) RC_MUST;
void statement_release(struct statement *s);
struct money statement_amount(const struct statement_row *row);

/* As the statement names a row's team: (unallocated), (untagged). */
struct strv statement_team(const struct statement_row *row);
/* The statement's order: by team, then as kinds are listed, dearest first. */
void statement_sort(struct statement *s);

/* The period as a calendar month of the sources' zone. */
bool statement_month(const struct run *run, char out[CLOSED_MONTH_TEXT]);
/* An account of a team, that of * where it has none, else empty: "cost_centre", "gl_account". */
struct strv statement_account(const struct books_table *accounts, struct strv team,
                              const char *name);

/*
 * Where the period is a closed month, fills the run's sheet with what was frozen of that
 * report, kept to the teams asked for (with the word currency: all teams), and sets *done.
 */
enum rc statement_frozen(struct run *run, const char *name, bool *done) RC_MUST;

/* What the journal books, exact, to be frozen: any currency's journal is made of it. */
enum rc journal_bills_sheet(struct statement *s, struct sheet *out) RC_MUST;

/* Keeps the rows of the teams asked for, and adds what is left up anew. */
void statement_keep_teams(struct run *run);

/* Current sums of a month by statement_fields as a sheet, to be frozen. */
enum rc statement_usage_sheet(struct run *run, struct sheet *out) RC_MUST;
/* The corrections within a statement as a sheet, to be frozen. */
enum rc statement_corrections_sheet(const struct statement *s, struct sheet *out) RC_MUST;

#endif
