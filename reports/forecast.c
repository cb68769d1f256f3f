/*
 * forecast.c - see forecast.h.
 *
 * Double is used for Holt-Winters and for the spread of errors alone.
 */
#include "reports/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "reports/holt_winters.h"
#include "reports/robust.h"
#include "reports/sheet.h"

/* Seasons of history that each method wants. */
enum { SEASONAL_NEEDS = 1, MEDIAN_NEEDS = 3, SMOOTH_NEEDS = 6 };

const char *forecast_method_name(enum forecast_method method)
{
    static const char *const names[FORECAST_METHODS] = {"none", "run-rate", "seasonal-naive",
                                                        "seasonal-median", "holt-winters"};

    return names[method];
}

const char *forecast_method_says(enum forecast_method method)
{
    static const char *const says[FORECAST_METHODS] = {
        "nothing complete to go by yet", "the average of the complete days, extrapolated",
        "each remaining day as the same weekday last week",
        "each remaining day as the median of the last four same weekdays",
        "level, trend and weekday pattern"};

    return says[method];
}

size_t forecast_needs(enum forecast_method method, unsigned season_n)
{
    switch (method) {
    case FORECAST_RATE:
        return 1;
    case FORECAST_SEASONAL:
        return (size_t)season_n * SEASONAL_NEEDS;
    case FORECAST_MEDIAN:
        return (size_t)season_n * MEDIAN_NEEDS;
    case FORECAST_SMOOTH:
        return (size_t)season_n * SMOOTH_NEEDS;
    case FORECAST_NONE:
    case FORECAST_METHODS:
        break;
    }
    return 0;
}

/* ---- methods ---------------------------------------------------------------------------- */

static void path_rate(const money_int *x, size_t n, size_t h, money_int *out)
{
    const money_int large = (money_int)1 << 110; /* times the horizon it still fits */
    money_int sum = 0, before = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    /* What is lost to rounding in one step comes in a later one: sums stay exact. */
    for (size_t j = 0; j < h; j++) {
        money_int upto = sum < large && sum > -large
                             ? divide_even(sum * (money_int)(j + 1), (money_int)n)
                             : divide_even(sum, (money_int)n) * (money_int)(j + 1);
        out[j] = upto - before;
        before = upto;
    }
}

static int by_size(const void *a, const void *b)
{
    money_int x = *(const money_int *)a, y = *(const money_int *)b;

    return (x > y) - (x < y);
}

static money_int median_of(money_int *x, size_t n)
{
    qsort(x, n, sizeof(*x), by_size);
    return n % 2 ? x[n / 2] : divide_even(x[n / 2 - 1] + x[n / 2], 2);
}

/* Of the last `seasons` same steps, as far as there are any. */
static void path_median(const money_int *x, size_t n, unsigned season_n, size_t seasons,
                        size_t h, money_int *out)
{
    for (size_t j = 0; j < h; j++) {
        money_int same[FORECAST_SEASONS];
        size_t at = n - season_n + j % season_n, found = 0;

        if (j >= season_n) {
            out[j] = out[j - season_n];
            continue;
        }
        while (found < seasons) {
            same[found++] = x[at];
            if (at < season_n)
                break;
            at -= season_n;
        }
        out[j] = median_of(same, found);
    }
}

/* Amounts as fractions of their mean: double then holds them whatever their unit is. */
static double *scaled(const money_int *x, size_t n, double *unit)
{
    double *out = xcalloc(n + 1, sizeof(*out)), sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += fabs((double)x[i]);
    *unit = sum > 0 ? sum / (double)n : 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (double)x[i] / *unit;
    return out;
}

/* Spend is never negative; what is larger than any amount is the largest. */
static money_int rounded(double x)
{
    if (!(x > 0))
        return 0;
    return x < 1e36 ? (money_int)nearbyint(x) : (money_int)1e36;
}

static void path_smooth(const money_int *x, size_t n, unsigned season_n, size_t h,
                        money_int *out)
{
    struct hw_rates rates;
    struct hw w;
    double unit, *y = scaled(x, n, &unit);

    (void)hw_fit(&w, &rates, y, n, season_n);
    for (size_t j = 0; j < h; j++)
        out[j] = rounded(hw_forecast(&w, j + 1) * unit);
    free(y);
}

void forecast_path(enum forecast_method method, const money_int *x, size_t n, unsigned season_n,
                   size_t h, money_int *out)
{
    ASSERT(n >= forecast_needs(method, season_n));
    switch (method) {
    case FORECAST_RATE:
        path_rate(x, n, h, out);
        return;
    case FORECAST_SEASONAL:
        path_median(x, n, season_n, 1, h, out);
        return;
    case FORECAST_MEDIAN:
        path_median(x, n, season_n, FORECAST_SEASONS, h, out);
        return;
    case FORECAST_SMOOTH:
        path_smooth(x, n, season_n, h, out);
        return;
    case FORECAST_NONE:
    case FORECAST_METHODS:
        break;
    }
    for (size_t j = 0; j < h; j++)
        out[j] = 0;
}

/* ---- back-test -------------------------------------------------------------------------- */

/* Absolute errors over amounts, in millionths; false where nothing was spent. */
static bool back_test(enum forecast_method method, const money_int *x, size_t n,
                      unsigned season_n, size_t h, unsigned long long *ppm)
{
    money_int *said = xcalloc(h, sizeof(*said)), wrong = 0, all = 0;

    for (size_t k = 0; k < FORECAST_ORIGINS; k++) {
        size_t origin = n - h - k;
        forecast_path(method, x, origin, season_n, h, said);
        for (size_t j = 0; j < h; j++) {
            money_int miss = said[j] - x[origin + j];
            wrong += miss < 0 ? -miss : miss;
            all += x[origin + j] < 0 ? -x[origin + j] : x[origin + j];
        }
    }
    free(said);
    if (all == 0)
        return false;
    /* Amounts stay below 10^37: low digits go before the product could overflow. */
    while (wrong > (money_int)1 << 100) {
        wrong >>= 1;
        all >>= 1;
    }
    wrong = divide_even(wrong * 1000000, all ? all : 1);
    *ppm = wrong > 1000000000 ? 1000000000 : (unsigned long long)wrong;
    return true;
}

/* How far a method can be tested: at least a season, or as far as is asked. */
static size_t testable(enum forecast_method method, size_t n, unsigned season_n, size_t h)
{
    size_t needs = forecast_needs(method, season_n) + FORECAST_ORIGINS - 1;
    size_t least = h < season_n ? h : season_n;
    size_t most = n > needs ? n - needs : 0;

    if (most < least || h == 0)
        return 0;
    return most < h ? most : h;
}

static enum forecast_method by_ladder(size_t n, unsigned season_n)
{
    if (n >= forecast_needs(FORECAST_MEDIAN, season_n))
        return FORECAST_MEDIAN;
    if (n >= forecast_needs(FORECAST_SEASONAL, season_n))
        return FORECAST_SEASONAL;
    return n > 0 ? FORECAST_RATE : FORECAST_NONE;
}

static void choose(const money_int *x, size_t n, unsigned season_n, size_t h,
                   struct forecast *out)
{
    size_t tested = h;

    out->method = by_ladder(n, season_n);
    if (out->method < FORECAST_SEASONAL || !testable(out->method, n, season_n, h))
        return;
    for (enum forecast_method m = FORECAST_SEASONAL; m < FORECAST_METHODS; m++) {
        size_t can = testable(m, n, season_n, h);
        tested = can && can < tested ? can : tested;
    }
    for (enum forecast_method m = FORECAST_SEASONAL; m < FORECAST_METHODS; m++) {
        unsigned long long ppm;
        if (!testable(m, n, season_n, h) || !back_test(m, x, n, season_n, tested, &ppm))
            continue;
        if (out->has_error && ppm >= out->error_ppm)
            continue;
        out->has_error = true;
        out->method = m;
        out->error_ppm = ppm;
        out->origins = FORECAST_ORIGINS;
        out->tested_steps = tested;
    }
}

/* ---- interval --------------------------------------------------------------------------- */

/* Root mean square of one-season-ahead errors. */
static double spread_seasonal(const double *y, size_t n, unsigned season_n)
{
    double sum = 0;

    for (size_t t = season_n; t < n; t++)
        sum += (y[t] - y[t - season_n]) * (y[t] - y[t - season_n]);
    return sqrt(sum / (double)(n - season_n));
}

/*
 * The error of the sum: the error of step i stays in step i + j with the method's
 * weight j, so it enters the sum once and again with every weight up to the end.
 */
static double spread_of_sum(double spread, const struct hw_rates *rates, unsigned season_n,
                            size_t h)
{
    double sum = 0, stays = 1;

    for (size_t j = 1; j <= h; j++) {
        sum += stays * stays;
        if (rates)
            stays += hw_weight(rates, season_n, j);
        else if (j % season_n == 0)
            stays += 1;
    }
    return spread * sqrt(sum);
}

static void interval(const money_int *x, size_t n, unsigned season_n, size_t h,
                     struct forecast *out)
{
    struct hw_rates rates;
    struct hw w;
    double unit, *y, spread, part;

    if (out->method < FORECAST_SEASONAL || n <= season_n)
        return;
    y = scaled(x, n, &unit);
    if (out->method == FORECAST_SMOOTH) {
        spread = sqrt(hw_fit(&w, &rates, y, n, season_n) / (double)(n - season_n));
        part = spread_of_sum(spread, &rates, season_n, h);
    } else {
        part = spread_of_sum(spread_seasonal(y, n, season_n), NULL, season_n, h);
    }
    part *= NORMAL_P90 * unit;
    out->has_interval = true;
    out->high = out->sum + rounded(part);
    out->low = out->sum > rounded(part) ? out->sum - rounded(part) : 0;
    free(y);
}

void forecast_make(const money_int *x, size_t n, unsigned season_n, size_t h,
                   struct forecast *out, money_int *path)
{
    money_int *ahead = xcalloc(h + 1, sizeof(*ahead));

    ASSERT(season_n >= 2 && season_n <= HW_SEASON_MAX && h <= FORECAST_HORIZON_MAX);
    if (n > FORECAST_STEPS_MAX) {
        x += n - FORECAST_STEPS_MAX;
        n = FORECAST_STEPS_MAX;
    }
    *out = (struct forecast){.method = FORECAST_NONE};
    choose(x, n, season_n, h, out);
    forecast_path(out->method, x, n, season_n, h, ahead);
    for (size_t j = 0; j < h; j++)
        out->sum += ahead[j];
    interval(x, n, season_n, h, out);
    if (path)
        memcpy(path, ahead, h * sizeof(*path));
    free(ahead);
}
