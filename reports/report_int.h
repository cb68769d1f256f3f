/*
 * report_int.h - what the reports of this folder share.
 */
#ifndef REPORTS_REPORT_INT_H
#define REPORTS_REPORT_INT_H

#include "metering/ledger/ledger_read.h"
#include "reports/report.h"
#include "reports/sheet.h"

/* One run. */
struct run {
    struct report_params *params;
    const struct report_sources *sources;
    struct ledger_reader *reader; /* within a view */
    struct ledger_as_of as_of;
    struct sheet sheet;
    const char *note;
    size_t n_others; /* rows "(other)" that stay at the end */
    struct buf *error;
    struct fail fail; /* of the ledger */
};

/*
 * A report: fills run->sheet.  RC_BAD and RC_LIMIT with a sentence in run->error;
 * whatever the ledger said, with run->fail.
 */
typedef enum rc report_fn(struct run *run);
report_fn report_spend, report_requests, report_tasks, report_budgets, report_lines;

/* RC_BAD, "WORD does not go with this report: WHY". */
enum rc run_refuses(struct run *run, const char *word, const char *why) RC_MUST;

/* Columns of the period (with a grain) and of the fields grouped by; their number. */
size_t run_key_columns(struct run *run);
/* A value of a field; empty is "(untagged)". */
enum rc run_value(struct run *run, struct strv value, struct cell *out) RC_MUST;

/* Money of n units, rounded half to even at 10^-18; null where n is 0. */
struct cell mean_money(struct money sum, uint64_t n);
/* The priced cost of sums; null where there are requests and none has a price. */
struct cell sums_cost(const struct ledger_sums *s, struct money amount);
/* Tokens of a field; null where no request of these has any usage known. */
struct cell sums_tokens(const struct ledger_sums *s, enum usage_field field);

/*
 * Rows of an answer, kept to the params' top groups: the rest of each period becomes one
 * row named "(other)" whose sums are merged and whose percentiles are unknown.
 */
struct group {
    const struct ledger_row *row; /* NULL: (other) */
    int64_t start_us;
    const struct ledger_sums *sums;
};
struct groups {
    struct group *at;
    size_t n;
    struct ledger_sums *merged; /* owned: those of (other) */
};
/* By period, then by cost (dearest first), then by values; (other) last of its period. */
void groups_of(const struct run *run, const struct ledger_rows *rows, struct groups *out);
void groups_release(struct groups *g);
/* Fills the key columns of a row. */
enum rc group_keys(struct run *run, const struct group *g, struct cell *row) RC_MUST;

#endif
