#include "reports/holt_winters.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

double hw_step(struct hw *w, const struct hw_rates *rates, double y)
{
    double *s = &w->season[w->at];
    double said = w->level + w->trend + *s;
    double level = rates->alpha * (y - *s) + (1 - rates->alpha) * (w->level + w->trend);

    w->trend = rates->beta * (level - w->level) + (1 - rates->beta) * w->trend;
    *s = rates->gamma * (y - level) + (1 - rates->gamma) * *s;
    w->level = level;
    w->at = (w->at + 1) % w->season_n;
    return said;
}

double hw_run(struct hw *w, const struct hw_rates *rates, const double *x, size_t n)
{
    double sum = 0;

    for (size_t t = w->season_n; t < n; t++) {
        double miss = x[t] - hw_step(w, rates, x[t]);
        sum += miss * miss;
    }
    return sum;
}

double hw_forecast(const struct hw *w, size_t h)
{
    return w->level + (double)h * w->trend + w->season[(w->at + h - 1) % w->season_n];
}

double hw_weight(const struct hw_rates *rates, unsigned season_n, size_t j)
{
    double psi = rates->alpha * (1 + (double)j * rates->beta);

    return j % season_n == 0 ? psi + rates->gamma * (1 - rates->alpha) : psi;
}

/* ---- start ------------------------------------------------------------------------------ */

static double mean(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

void hw_start_means(struct hw *w, const double *x, unsigned season_n)
{
    ASSERT(season_n >= 2 && season_n <= HW_SEASON_MAX);
    *w = (struct hw){.season_n = season_n, .level = mean(x, season_n)};
    w->trend = (mean(x + season_n, season_n) - w->level) / (double)season_n;
    for (unsigned i = 0; i < season_n; i++)
        w->season[i] = x[i] - w->level;
}

/* Moving average of a period around i; an even period has half weights at its ends. */
static double around(const double *x, size_t i, unsigned season_n)
{
    size_t half = season_n / 2;
    double sum = 0;

    for (size_t k = i - half; k <= i + half; k++)
        sum += x[k];
    if (season_n % 2 == 0)
        sum -= (x[i - half] + x[i + half]) / 2;
    return sum / (double)season_n;
}

/* Least squares of y on 1..n. */
static void line_of(const double *y, size_t n, double *at_zero, double *slope)
{
    double middle = ((double)n + 1) / 2, my = mean(y, n), xy = 0, xx = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)(i + 1) - middle;
        xy += d * (y[i] - my);
        xx += d * d;
    }
    *slope = xx > 0 ? xy / xx : 0;
    *at_zero = my - *slope * middle;
}

void hw_start(struct hw *w, const double *x, unsigned season_n)
{
    size_t half = season_n / 2, last = 2 * (size_t)season_n - half;
    double trend[HW_SEASON_MAX + 1];
    unsigned seen[HW_SEASON_MAX] = {0};
    double middle;

    ASSERT(season_n >= 2 && season_n <= HW_SEASON_MAX);
    *w = (struct hw){.season_n = season_n};
    for (size_t i = half; i < last; i++) {
        trend[i - half] = around(x, i, season_n);
        w->season[i % season_n] += x[i] - trend[i - half];
        seen[i % season_n]++;
    }
    for (unsigned i = 0; i < season_n; i++)
        w->season[i] /= (double)seen[i];
    middle = mean(w->season, season_n);
    for (unsigned i = 0; i < season_n; i++)
        w->season[i] -= middle;
    line_of(trend, last - half, &w->level, &w->trend);
}

/* ---- fit -------------------------------------------------------------------------------- */

double hw_fit(struct hw *w, struct hw_rates *rates, const double *x, size_t n,
              unsigned season_n)
{
    static const double alphas[] = {0.1, 0.2, 0.3, 0.5, 0.8};
    static const double betas[] = {0.01, 0.05, 0.2};
    static const double gammas[] = {0.05, 0.2, 0.4};
    double least = HUGE_VAL;
    struct hw start;

    hw_start(&start, x, season_n);
    *w = start;
    *rates = (struct hw_rates){alphas[0], betas[0], gammas[0]};
    for (size_t i = 0; i < sizeof(alphas) / sizeof(alphas[0]) * 9; i++) {
        struct hw_rates r = {alphas[i / 9], betas[i / 3 % 3], gammas[i % 3]};
        struct hw tried = start;
        double sum = hw_run(&tried, &r, x, n);
        if (sum < least) {
            least = sum;
            *w = tried;
            *rates = r;
        }
    }
    return least;
}
