/*
 * holt_winters.h - additive exponential smoothing with a season, in the form of R's
 * stats::HoltWinters (Holt 1957, Winters 1960).
 *
 *   forecast  x^ = l + b + s
 *   level     l' = alpha (y - s) + (1 - alpha)(l + b)
 *   trend     b' = beta (l' - l) + (1 - beta) b
 *   season    s' = gamma (y - l') + (1 - gamma) s        (on the new level)
 *
 * Filtering starts at the second period, the first one gives the start.  Works in
 * double, on numbers that are statistics: amounts come in as dollars and go out
 * rounded once by the caller.  Knows nothing of money, dates or the ledger.
 */
#ifndef REPORTS_HOLT_WINTERS_H
#define REPORTS_HOLT_WINTERS_H

#include <stddef.h>

enum { HW_SEASON_MAX = 168 }; /* hours of a week */

struct hw_rates {
    double alpha, beta, gamma; /* each 0..1 */
};

/* Fit for one step: season[at] is that of the next observation. */
struct hw {
    unsigned season_n; /* 2..HW_SEASON_MAX */
    unsigned at;
    double level, trend;
    double season[HW_SEASON_MAX];
};

/* Start values of R: the classical decomposition of the first two periods; n >= 2 season_n.
 * The state stands before observation season_n. */
void hw_start(struct hw *w, const double *x, unsigned season_n);
/* Start values from the mean of the first period and its step to the second. */
void hw_start_means(struct hw *w, const double *x, unsigned season_n);

/* Takes one observation; gives what was forecast for it. */
double hw_step(struct hw *w, const struct hw_rates *rates, double y);
/* Takes observations season_n to n - 1; gives the sum of squared errors. */
double hw_run(struct hw *w, const struct hw_rates *rates, const double *x, size_t n);
/* h steps ahead, from 1. */
double hw_forecast(const struct hw *w, size_t h);

/*
 * Weight of an error in the forecast j steps later (j >= 1): the variance of the
 * forecast h ahead is that of the errors times 1 + the sum of squares for j below h.
 */
double hw_weight(const struct hw_rates *rates, unsigned season_n, size_t j);

/*
 * The rates of a fixed grid with the least squared error on x, started by hw_start;
 * w is then fit for the step after x.  n >= 2 season_n + 1.  Returns the sum of squares.
 */
double hw_fit(struct hw *w, struct hw_rates *rates, const double *x, size_t n,
              unsigned season_n);

#endif
