/*
 * robust.h - statistics that a few wild values do not move: median, median deviation,
 * modified z scores, the generalised extreme Studentised deviate test.
 *
 * Works in double, on numbers that are statistics and never booked.  Memory is the
 * caller's; inputs are finite.
 */
#ifndef REPORTS_ROBUST_H
#define REPORTS_ROBUST_H

#include <stdbool.h>
#include <stddef.h>

/* A median deviation times this estimates the standard deviation of normal values. */
#define ROBUST_SIGMA_PER_MAD 1.482602218505602
/* The modified z score's factor (Iglewicz and Hoaglin 1993). */
#define ROBUST_Z_FACTOR 0.6745
/* Two-sided 80 %: the normal distribution's 90th percentile. */
#define NORMAL_P90 1.2815515655446004

/* Median of n values, which are put in order; 0 where n is 0. */
double robust_median(double *x, size_t n);
/* Median of |x - middle|; x is overwritten. */
double robust_deviation(double *x, size_t n, double middle);
/*
 * 0.6745 (x - median) / deviation, where the deviation is at least least_deviation:
 * a series that never moves has none of its own.  Infinite where both are 0.
 */
double robust_z(double x, double median, double deviation, double least_deviation);

/* Quantile p (0 < p < 1) of Student's t with df degrees of freedom (df >= 1). */
double student_quantile(double p, double df);

struct esd_step {
    size_t index;     /* of the value removed in this step */
    double r, lambda; /* test statistic and critical value */
};
/*
 * Rosner's test (1983) for at most n_steps outliers among n values at level alpha:
 * the number found, whose indices are those of the first steps.  n >= 3,
 * n_steps <= n - 2; scratch has room for n.
 */
size_t esd_test(const double *x, size_t n, double alpha, struct esd_step *steps, size_t n_steps,
                bool *scratch);

#endif
