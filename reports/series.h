/*
 * series.h - what each group of requests took, a step (day or hour) at a time.
 *
 * The bridge from the ledger to forecasts and anomalies: one series a combination of
 * values of the fields asked for, or one a counter of a limit.  A line belongs to the
 * step in which it ended.  Amounts are atto-USD, or a limit's unit (USD: atto).
 */
#ifndef REPORTS_SERIES_H
#define REPORTS_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/zone.h"
#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"

enum {
    SERIES_MAX = 20000,          /* of one answer; more is RC_LIMIT */
    SERIES_CELLS_MAX = 16 << 20, /* series times steps; more is RC_LIMIT */
    SERIES_DAYS = 400,           /* of history */
    SERIES_HOURS = 168 * 9,
};

struct series {
    struct strv key;          /* values joined, or the counter's scope: order and identity */
    const struct strv *value; /* of the fields; of a limit's counter: of one of its rows */
    size_t first;             /* the first step with anything in it */
    money_int *x;             /* n_steps complete steps */
    money_int running;        /* the step that is not over */
    uint64_t unpriced;        /* requests without a price in all of it */
};

struct series_set {
    int64_t *start_us; /* n_steps + 1: the last is the running step's */
    size_t n_steps;
    struct series *at; /* in order of key */
    size_t n;
    struct ledger_field by[LEDGER_GROUP_MAX]; /* fields that were asked for */
    size_t n_by;
    struct ledger_rows rows; /* owns the values */
    struct arena arena;
    money_int *cells;
};

struct series_question {
    struct ledger_reader *reader;       /* within a view */
    const struct ledger_filter *filter; /* its conditions; the period is not looked at */
    const struct ledger_field *by;
    size_t n_by;
    const struct limit_def *def; /* not NULL: its counters instead of filter and by */
    enum period step;            /* PERIOD_DAY or PERIOD_HOUR */
    const struct zone *zone;
    int64_t now_us; /* the running step holds it */
    size_t steps;   /* of history; up to SERIES_DAYS or SERIES_HOURS */
};

/* Release with series_release; on failure there is nothing to release. RC_STATE: the limit is
 * none that the ledger can be asked for. */
enum rc series_read(const struct series_question *q, struct series_set *out,
                    struct fail *fail) RC_MUST;
void series_release(struct series_set *set);
/* The series of that key, or NULL. */
const struct series *series_find(const struct series_set *set, struct strv key);
/* Key of a row's values, in the arena; {NULL, 0} where it is full. */
struct strv series_key(struct arena *arena, const struct strv *value, size_t n);
/* A statistic as an amount: dollars to the nano-USD, since its further digits mean nothing. */
money_int series_tidy(const struct limit_def *def, money_int amount);
/* What sums come to: atto-USD, or of a limit in its unit (USD: atto). */
money_int series_amount(const struct limit_def *def, const struct ledger_sums *s);
/* Steps of a season: a week of days; hours of a week, or of a day while weeks are few. */
unsigned series_season(enum period step, size_t n);

#endif
