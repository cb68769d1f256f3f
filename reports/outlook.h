/*
 * outlook.h - where spend will stand when a period ends: of tags, and of budgets.
 *
 * What is spent plus what the history of the same counter forecasts for the rest.
 * The running day counts as what it has, or as its forecast, whichever is more; it is
 * never taken for a whole day.  One answer for the report and for alerts.
 */
#ifndef REPORTS_OUTLOOK_H
#define REPORTS_OUTLOOK_H

#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"
#include "reports/forecast.h"
#include "reports/series.h"

struct outlook {
    const struct strv *value;    /* of the fields; NULL for a budget */
    const struct limit_def *def; /* of a budget, else NULL */
    size_t limit;                /* its place in the set */
    money_int amount;            /* what it is now, raises included; in the unit of spent */
    struct strv scope;
    int64_t from_us, to_us;
    money_int spent; /* atto-USD, or the limit's unit */
    bool has_forecast;
    money_int forecast, low, high; /* of the whole period */
    struct forecast how;
    size_t history; /* complete steps since the first with anything */
    enum period step;
    bool runs_out;       /* a budget's limit is reached before the period ends */
    int64_t runs_out_us; /* the step in which it is; spent already: the running one */
    uint64_t unpriced;
};

/* Views live during the call. False ends the telling. */
typedef bool outlook_fn(const struct outlook *outlook, void *arg);

/*
 * One for each combination of values that has spend in the period or a forecast, in
 * order of values.  filter: conditions and period [from, to), which holds now and
 * ends where a day (of at most two days: an hour) does; RC_BAD otherwise.
 */
enum rc outlook_tags(struct ledger_reader *reader, const struct ledger_filter *filter,
                     const struct ledger_field *by, size_t n_by, const struct zone *zone,
                     int64_t now_us, outlook_fn *fn, void *arg, struct fail *fail) RC_MUST;

/*
 * One for each counter of each limit with a calendar window, in order of limits and
 * scopes, in its current window.  Limits over all time have no forecast; limits that
 * the ledger cannot be asked for are left out.
 */
enum outlook_want {
    OUTLOOK_FORECASTS = 1,   /* else only what is spent, which is much quicker */
    OUTLOOK_WITH_ALERTS = 2, /* limits with alert thresholds alone */
};
enum rc outlook_budgets(struct ledger_reader *reader, const struct limit_set *limits,
                        const struct zone *zone, int64_t now_us, unsigned want, outlook_fn *fn,
                        void *arg, struct fail *fail) RC_MUST;

/* What limit_spent told of a counter: in the limit's unit. */
struct outlook_spent {
    struct strv scope;
    uint64_t spent;
};

/*
 * The same of the n counters of one limit (below limit_set_count) that are given, in that
 * order, with forecasts where sums tell the history, without single requests: for whoever has asked
 * already what they spent.
 */
enum rc outlook_limit(struct ledger_reader *reader, const struct limit_set *limits,
                      const struct zone *zone, int64_t now_us, size_t limit,
                      const struct outlook_spent *at, size_t n, outlook_fn *fn, void *arg,
                      struct fail *fail) RC_MUST;

#endif
