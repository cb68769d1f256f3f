/*
 * params.h - the words of a report, from a command line or a URL.
 *
 * One table of words reads both, so that they cannot differ.  Nothing here asks a
 * ledger.  Every failure names the word, what is wrong with it, and the nearest that
 * is known.
 */
#ifndef REPORTS_PARAMS_H
#define REPORTS_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/zone.h"
#include "metering/ledger/ledger_read.h"

enum {
    PARAMS_BY_MAX = 8,
    PARAMS_WHERE_VALUES_MAX = 256, /* values of one condition */
    PARAMS_TOP_MAX = 1000000,
    PARAMS_IMPORTS_MAX = 64,
    PARAMS_TEXT_MAX_BYTES = 256 << 10, /* all words together */
    PARAMS_PRECISION_EXACT = 18,       /* decimals of a dollar */
};

enum report_format { FORMAT_TABLE = 0, FORMAT_CSV, FORMAT_JSON, FORMAT_HTML, FORMAT_COUNT };
const char *report_format_name(enum report_format format);
/* Its Content-Type. */
const char *report_format_type(enum report_format format);

/* What forecasts and anomalies are of. */
enum report_scope { SCOPE_TAGS = 0, SCOPE_BUDGETS };

/* What a cost is: of dollars at which prices. */
enum cost_basis { BASIS_EFFECTIVE = 0, BASIS_CONTRACTED, BASIS_LIST, BASIS_BILLED };
const char *cost_basis_name(enum cost_basis basis);

/* Views live in the arena. */
struct report_params {
    struct arena arena;
    struct strv from, to, month, last, tz; /* as given, empty where not */
    struct ledger_field by[PARAMS_BY_MAX];
    size_t n_by;
    bool has_grain;
    enum period grain; /* PERIOD_TOTAL where not given */
    struct ledger_condition where[LEDGER_CONDITIONS_MAX];
    size_t n_where;
    bool has_format;
    enum report_format format;
    uint64_t top;              /* 0: all */
    struct strv sort;          /* column, empty: the report's own order */
    bool has_order, ascending; /* "cost_usd:asc" */
    bool has_precision;
    unsigned precision; /* tables and pages: decimals of a dollar */
    struct strv against; /* what variance compares with; empty: the period before */
    struct strv models;  /* what savings compares with; empty: the next smaller ones */
    bool has_cohort;
    enum ledger_cohort cohort; /* COHORT_CLOSED where not given */
    struct strv imports[PARAMS_IMPORTS_MAX]; /* files, terminated; of a command line alone */
    size_t n_imports;
    bool has_scope;
    enum report_scope scope;
    struct ledger_tuples only, except; /* of lines; n 0: not given */
    struct strv waste, charge;         /* of lines; empty: not given */
    struct strv only_text, except_text; /* those two as they were given */
    bool has_time, by_start;           /* of lines: the period is about their start */
    struct strv currency; /* of what is billed: a code of ISO 4217; empty: dollars */
    enum cost_basis basis;
    bool has_bom;   /* CSV begins with the mark by which Excel knows UTF-8 */
    bool total_row; /* CSV has its total, as a row that a column tells from the others */
    bool is_strict; /* no answer over requests whose price or usage is not known */

    uint64_t given; /* words that were set, by bit */

    /* of params_resolve */
    const struct zone *zone;
    struct zone *own_zone;
    int64_t from_us, to_us, now_us;
};

void params_init(struct report_params *p);
void params_release(struct report_params *p);

/*
 * One word: `where`, `team=search`.  RC_BAD with one sentence appended to error
 * where the word is unknown, stands twice, or its value is none.
 */
enum rc params_set(struct report_params *p, struct strv word, struct strv value,
                   struct buf *error) RC_MUST;

/*
 * Reads the option at argv[*at] and moves *at behind it and its value.  RC_STATE
 * where argv[*at] is no option at all (nothing is consumed); RC_BAD as params_set.
 */
enum rc params_argument(struct report_params *p, int argc, char *const *argv, int *at,
                        struct buf *error) RC_MUST;

/* The query of a URL without its '?', form-encoded. RC_BAD as params_set. */
enum rc params_query(struct report_params *p, struct strv query, struct buf *error) RC_MUST;

/*
 * Opens the zone (tz, else fallback, which must outlive p) and finds the period.
 * RC_BAD with error where they cannot be had.
 */
enum rc params_resolve(struct report_params *p, const struct zone *fallback, int64_t now_us,
                       struct buf *error) RC_MUST;

/* The period and conditions as a filter; views borrowed from p, which was resolved. */
void params_filter(const struct report_params *p, struct ledger_filter *out);

/* Appends one line a word, for --help. */
enum rc params_help(struct buf *out) RC_MUST;

/* "hour" ... "total" */
const char *grain_name(enum period grain);

#endif
