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
    size_t lines;    /* the column of drill_column */
    bool has_against; /* of run_against */
    int64_t against_from_us, against_to_us;
    struct sheet_currency currency; /* of currency_find; code empty: dollars */
    bool has_quality; /* of run_take_quality */
    struct sheet_quality quality;
    bool is_closing; /* closed months are not looked up: this one is being closed */
    bool is_frozen;  /* the sheet is that of a closed month */
    char *frozen;    /* what is printed instead of the sheet, or NULL; owned */
    size_t n_frozen;
    struct buf *error;
    struct fail fail; /* of the ledger */
};

/*
 * A report: fills run->sheet.  RC_BAD and RC_LIMIT with a sentence in run->error;
 * whatever the ledger said, with run->fail.
 */
typedef enum rc report_fn(struct run *run);
report_fn report_spend, report_requests, report_tasks, report_budgets, report_lines;
report_fn report_models, report_token_bands, report_untagged, report_waste, report_savings;
report_fn report_unit_economics, report_allocation, report_statement, report_journal;
report_fn report_variance, report_digest;
report_fn report_forecast, report_anomalies, report_reconcile, report_rate_card;
report_fn report_commitments, report_maturity, report_changes;

/* Names, sums and shares of a sheet that was filled. RC_IO with a sentence where it does not add
 * up. */
enum rc run_finish(struct run *run) RC_MUST;
/* The sheet as text. */
enum rc run_render(struct run *run, const char *name, const char *title,
                   enum report_format format, struct buf *out) RC_MUST;

/* What the head says of a run, beside the contract's words; views into it and the sheet. */
enum { ABOUT_WORDS_MAX = 8 };
struct run_about {
    struct sheet_about about;
    struct strv where[LEDGER_CONDITIONS_MAX];
    struct strv words[ABOUT_WORDS_MAX][2];
};
enum rc run_about(struct run *run, struct run_about *out) RC_MUST;
/* Notes how much is not known, from the sums of all lines that the report is of. */
void run_take_quality(struct run *run, const struct ledger_sums *s);
/* Asks for it, where no question of the report has told it; within the view. */
enum rc run_find_quality(struct run *run) RC_MUST;
/*
 * The word strict: RC_DENIED with a sentence where a request of the period, or of the one it
 * is compared with, has no known price or usage, or an estimated one.  Within the view.
 */
enum rc run_check_strict(struct run *run) RC_MUST;

/* Puts the cost of the run's basis in the place of what was charged. */
void run_basis(const struct run *run, struct ledger_sums *s);
/* RC_BAD with a sentence where the ledger cannot know the basis for the period. */
enum rc run_check_basis(struct run *run) RC_MUST;

/* RC_BAD, "WORD does not go with this report: WHY". */
enum rc run_refuses(struct run *run, const char *word, const char *why) RC_MUST;

/*
 * Finds the period that the report's own is compared with: that of the word `against`,
 * else the one before it (the calendar's where the period is one of the calendar's).
 * Of a period that is still running it is the part that has passed here too.
 */
enum rc run_against(struct run *run) RC_MUST;
/*
 * Up to when a period that is still running is known: the ledger's as_of, so that the same
 * ledger gives the same answer whenever it is asked; now where the period is over, or nothing
 * of it is known.
 */
int64_t run_known_until(const struct run *run);
/* Whether the report's conditions on this field hold for a value. */
bool run_wants(const struct run *run, enum ledger_field_id field, struct strv value);

/* RC_BAD where words are given that a report of teams' bills does not know. */
enum rc run_team_words(struct run *run) RC_MUST;

/* Columns of the period (with a grain) and of the fields grouped by; their number. */
size_t run_key_columns(struct run *run);
/* A value of a field; empty is "(untagged)". */
enum rc run_value(struct run *run, struct strv value, struct cell *out) RC_MUST;

/*
 * Drill-down: the query of the report `lines` whose total is a row's.  Conditions are
 * those of the report's words and those added here.
 */
enum { DRILL_MAX = 16 };
struct drill {
    int64_t from_us, to_us;
    struct {
        struct ledger_field field;
        enum ledger_op op;
        struct strv value; /* borrowed; or one of n_values */
        const struct strv *values;
        size_t n_values; /* 0: value alone */
    } at[DRILL_MAX];
    size_t n;
    /* Lines of none of the combinations of these fields, or (only) of one of them. */
    struct drill_tuples {
        const struct ledger_field *by;
        size_t n_by;
        const struct strv *const *value; /* n of them: n_by values each */
        size_t n;
    } only, except;
    const char *waste;  /* of this class of the report on waste, by tasks' first lines; or NULL */
    struct strv charge; /* what this price charged; or empty */
    bool by_start;      /* lines that began in the period, not those that ended in it */
    bool is_exact; /* false: no query shows just these lines */
};
/* The report's whole period, no further condition. */
void drill_start(struct drill *d, const struct run *run);
/* Narrows it to the part of the period within [start, end). */
void drill_period(struct drill *d, int64_t start_us, int64_t end_us);
/* One more condition of one value; more than DRILL_MAX make it inexact. */
void drill_add(struct drill *d, struct ledger_field field, enum ledger_op op,
               struct strv value);
/* One of several values; these are borrowed. */
void drill_add_any(struct drill *d, struct ledger_field field, const struct strv *values, size_t n);
/* The link as a cell: null where there is no such query. */
enum rc drill_cell(struct run *run, const struct drill *d, struct cell *out) RC_MUST;
/* Adds the column `lines`, the last one. */
void drill_column(struct run *run);
/* The link of the total: all lines of the report's words. */
enum rc drill_total(struct run *run) RC_MUST;
/* The link of a row of the ledger's answer, grouped by these fields. */
enum rc drill_row(struct run *run, const struct ledger_row *row, const struct ledger_field *by,
                  size_t n_by, struct cell *cells) RC_MUST;

/* Asks for sums over the report's period and conditions; release the rows. */
enum rc run_sums(struct run *run, unsigned want, struct ledger_rows *rows) RC_MUST;
/* The same for groups_of alone: what the word top drops may be left out of the rows already. */
enum rc run_top_sums(struct run *run, unsigned want, struct ledger_rows *rows) RC_MUST;
/* The same over another period. */
enum rc run_sums_of(struct run *run, unsigned want, int64_t from_us, int64_t to_us,
                    struct ledger_rows *rows) RC_MUST;
/* Over another period and the report's own, at once.  Release both; on failure there is nothing to release. */
enum rc run_both_sums(struct run *run, unsigned want, int64_t from_us, int64_t to_us,
                      struct ledger_rows *then, struct ledger_rows *now) RC_MUST;
/* By fields of the report's own, over its period as a whole. */
enum rc run_sums_by(struct run *run, const enum ledger_field_id *fields, size_t n, unsigned want,
                    struct ledger_rows *rows) RC_MUST;
/* Fields that the report groups by in any case, after those asked for; RC_BAD where there are
 * too many. */
enum rc run_also_by(struct run *run, const enum ledger_field_id *fields, size_t n) RC_MUST;

/* Money of n units, rounded half to even at 10^-18; null where n is 0. */
struct cell mean_money(struct money sum, uint64_t n);
/* What a million of a quantity cost, rounded as mean_money; null where the quantity is 0. */
struct cell per_million(struct money sum, uint64_t quantity);
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
    int64_t start_us, end_us;
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
/* Fills the column `lines` of row i of these. */
enum rc group_link(struct run *run, const struct groups *g, size_t i, struct cell *row) RC_MUST;
/* Fills the key columns of a row. */
enum rc group_keys(struct run *run, const struct group *g, struct cell *row) RC_MUST;

#endif
