/*
 * anomaly.h - steps of a series that are far from what was expected.
 *
 * Days: one-step forecasts by Holt-Winters, whose error is measured by a robust z
 * score over the last errors, never finer than a part of the forecast; an anomalous
 * day is taken as its forecast from then on, so that one wild day makes no other; a
 * whole season of them is the new level.
 * Hours: far above what the same hour of the week ever was.  Statistics are in
 * double; amounts that come out are rounded once.  Knows no dates and no ledger.
 */
#ifndef REPORTS_ANOMALY_H
#define REPORTS_ANOMALY_H

#include <stdbool.h>
#include <stddef.h>

#include "pricing/money.h"

enum {
    ANOMALY_ERRORS = 42,     /* last errors that the z score is of */
    ANOMALY_ERRORS_MIN = 14, /* fewer: nothing is said */
    ANOMALY_HOURS_WEEKS = 8, /* same hours of the week that are looked at */
    ANOMALY_HOURS_MIN = 3,
    ANOMALY_HOUR_FACTOR = 2, /* so often their 99th percentile */
};
#define ANOMALY_Z          3.5  /* least |z| */
#define ANOMALY_FLOOR_PART 0.02 /* least scale, of the forecast */
#define ANOMALY_ESD_ALPHA  0.05

struct anomaly {
    size_t step;
    money_int expected, actual;
    bool has_z;
    double z;
    bool confirmed; /* by the generalised ESD test over the same errors */
};

/*
 * Anomalies of a daily series of n complete steps with a season, oldest first; at most
 * max, the number.  Steps before `from` are history only.
 */
size_t anomaly_days(const money_int *x, size_t n, unsigned season_n, size_t from,
                    struct anomaly *out, size_t max);
/* Steps to be looked at before anything can be said. */
size_t anomaly_days_needs(unsigned season_n);

/* The same of an hourly series: hours above ANOMALY_HOUR_FACTOR times the 99th percentile
 * of the same hours of the week before; anomalous hours are no measure for later ones. */
size_t anomaly_hours(const money_int *x, size_t n, size_t from, struct anomaly *out,
                     size_t max);

#endif
