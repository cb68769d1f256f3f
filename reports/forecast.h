/*
 * forecast.h - where a series of amounts will end: methods, back-test, interval.
 *
 * A series is one amount a step (a day, or an hour), complete steps only, oldest
 * first; amounts are whole numbers of any unit (atto-USD, tokens).  Averages and
 * medians are exact, rounded half to even; Holt-Winters and intervals are computed
 * in double and rounded once.  The same series gives the same answer.
 */
#ifndef REPORTS_FORECAST_H
#define REPORTS_FORECAST_H

#include <stdbool.h>
#include <stddef.h>

#include "pricing/money.h"

enum {
    FORECAST_STEPS_MAX = 1200,   /* of history that is looked at */
    FORECAST_HORIZON_MAX = 1200, /* steps ahead */
    FORECAST_ORIGINS = 4,        /* of a back-test */
    FORECAST_SEASONS = 4,        /* of which the median is taken */
};

/* From the simplest on: of two that back-test alike the first one is taken. */
enum forecast_method {
    FORECAST_NONE = 0, /* nothing is known yet */
    FORECAST_RATE,     /* every step as the mean of those seen */
    FORECAST_SEASONAL, /* as the same step of the last season */
    FORECAST_MEDIAN,   /* as the median of the same step in the last four seasons */
    FORECAST_SMOOTH,   /* Holt-Winters */
    FORECAST_METHODS,
};
/* "none", "run-rate", "seasonal-naive", "seasonal-median", "holt-winters" */
const char *forecast_method_name(enum forecast_method method);
/* One sentence for people, of days and weeks. */
const char *forecast_method_says(enum forecast_method method);
/* The least history that a method takes: steps. */
size_t forecast_needs(enum forecast_method method, unsigned season_n);

/* The h steps after x by one method, whose need is met (FORECAST_NONE: zeros). */
void forecast_path(enum forecast_method method, const money_int *x, size_t n, unsigned season_n,
                   size_t h, money_int *out);

struct forecast {
    enum forecast_method method;
    money_int sum; /* of the steps ahead; 0 where the method is NONE */
    bool has_interval;
    money_int low, high; /* 80 % of the sum; not below 0 */
    bool has_error;
    unsigned long long error_ppm; /* weighted absolute error of the back-test, millionths */
    unsigned origins;             /* of the back-test, and how far each looked */
    size_t tested_steps;
};
/*
 * Chooses by rolling-origin back-test, forecasts h steps into path (may be NULL) and
 * adds them up.  season_n 2..HW_SEASON_MAX; n and h up to their maxima (of more
 * history the last FORECAST_STEPS_MAX are taken).
 */
void forecast_make(const money_int *x, size_t n, unsigned season_n, size_t h,
                   struct forecast *out, money_int *path);

#endif
