#include "reports/robust.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double robust_median(double *x, size_t n)
{
    if (n == 0)
        return 0;
    qsort(x, n, sizeof(*x), by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

double robust_deviation(double *x, size_t n, double middle)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fabs(x[i] - middle);
    return robust_median(x, n);
}

double robust_z(double x, double median, double deviation, double least_deviation)
{
    double scale = deviation > least_deviation ? deviation : least_deviation;

    if (scale > 0)
        return ROBUST_Z_FACTOR * (x - median) / scale;
    return x > median ? HUGE_VAL : x < median ? -HUGE_VAL : 0;
}

/* ---- Student's t ------------------------------------------------------------------------ */

/* Continued fraction of the incomplete beta function (Lentz's method). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), f;

    d = 1 / (fabs(d) < tiny ? tiny : d);
    f = d;
    for (int m = 1; m <= 400; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step;

        d = 1 + even * d;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + even / c;
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        d = 1 + odd * d;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + odd / c;
        c = fabs(c) < tiny ? tiny : c;
        step = d * c;
        f *= step;
        if (fabs(step - 1) < 1e-15)
            break;
    }
    return f;
}

/* lgamma writes a global. */
static double log_gamma(double x)
{
    int sign;

    return lgamma_r(x, &sign);
}

/* Regularised incomplete beta function. */
static double beta_inc(double a, double b, double x)
{
    double front;

    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* The part above t >= 0. */
static double student_above(double t, double df)
{
    return beta_inc(df / 2, 0.5, df / (df + t * t)) / 2;
}

double student_quantile(double p, double df)
{
    double tail = p < 0.5 ? p : 1 - p, low = 0, high = 1;

    while (student_above(high, df) > tail && high < 1e12)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;

        if (middle <= low || middle >= high)
            break; /* no number is between */
        if (student_above(middle, df) > tail)
            low = middle;
        else
            high = middle;
    }
    return p < 0.5 ? -high : high;
}

/* ---- extreme Studentised deviate ------------------------------------------------------------
 */

/* The value farthest from the mean of those that are left. */
static struct esd_step farthest(const double *x, size_t n, const bool *gone, size_t n_left)
{
    struct esd_step out = {0};
    double mean = 0, square = 0, most = -1, sigma;

    for (size_t i = 0; i < n; i++)
        mean += gone[i] ? 0 : x[i];
    mean /= (double)n_left;
    for (size_t i = 0; i < n; i++) {
        double d = gone[i] ? 0 : fabs(x[i] - mean);
        square += d * d;
        if (!gone[i] && d > most) {
            most = d;
            out.index = i;
        }
    }
    sigma = sqrt(square / (double)(n_left - 1));
    out.r = sigma > 0 ? most / sigma : 0;
    return out;
}

/* Of tests over few values, which are many, each quantile is found once by a thread. */
static double esd_quantile(size_t left, double alpha)
{
    enum { KEPT = 64 };
    static _Thread_local double kept_alpha, kept[KEPT]; /* 0: not found yet */
    const double p = 1 - alpha / (2 * (double)left), df = (double)left - 2;

    if (left >= KEPT)
        return student_quantile(p, df);
    if (alpha < kept_alpha || alpha > kept_alpha) {
        memset(kept, 0, sizeof(kept));
        kept_alpha = alpha;
    }
    if (!(kept[left] > 0))
        kept[left] = student_quantile(p, df);
    return kept[left];
}

size_t esd_test(const double *x, size_t n, double alpha, struct esd_step *steps, size_t n_steps,
                bool *scratch)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        scratch[i] = false;
    for (size_t i = 0; i < n_steps; i++) {
        double left = (double)(n - i);
        double t = esd_quantile(n - i, alpha);

        steps[i] = farthest(x, n, scratch, n - i);
        steps[i].lambda = (left - 1) * t / sqrt((left - 2 + t * t) * left);
        scratch[steps[i].index] = true;
        if (steps[i].r > steps[i].lambda)
            found = i + 1;
    }
    return found;
}
