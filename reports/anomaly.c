#include "reports/anomaly.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/holt_winters.h"
#include "reports/robust.h"
#include "reports/sheet.h"

enum { HOURS_OF_WEEK = 168, ESD_STEPS = 5 };

/* Slow enough that one day is not the level, quick enough for a step that stays. */
static const struct hw_rates rates = {0.3, 0.05, 0.2};

size_t anomaly_days_needs(unsigned season_n)
{
    size_t start = 2 * (size_t)season_n, errors = season_n + (size_t)ANOMALY_ERRORS_MIN;

    return errors > start ? errors : start;
}

/* ---- days ------------------------------------------------------------------------------- */

struct watch {
    struct hw w;
    double unit;
    double errors[ANOMALY_ERRORS]; /* a ring */
    size_t n_errors;
    int in_a_row; /* anomalies */
};

static double scores(struct watch *s, double said, double miss)
{
    double sorted[ANOMALY_ERRORS], middle, deviation;
    size_t n = s->n_errors < ANOMALY_ERRORS ? s->n_errors : ANOMALY_ERRORS;

    memcpy(sorted, s->errors, n * sizeof(*sorted));
    middle = robust_median(sorted, n);
    deviation = robust_deviation(sorted, n, middle);
    return robust_z(miss, middle, deviation, ANOMALY_FLOOR_PART * fabs(said));
}

/* The error is among the outliers of the last ones. */
static bool esd_agrees(const struct watch *s, double miss)
{
    double all[ANOMALY_ERRORS + 1];
    bool gone[ANOMALY_ERRORS + 1];
    struct esd_step steps[ESD_STEPS];
    size_t n = s->n_errors < ANOMALY_ERRORS ? s->n_errors : ANOMALY_ERRORS, found;

    memcpy(all, s->errors, n * sizeof(*all));
    all[n] = miss;
    found = esd_test(all, n + 1, ANOMALY_ESD_ALPHA, steps, ESD_STEPS, gone);
    for (size_t i = 0; i < found; i++) {
        if (steps[i].index == n)
            return true;
    }
    return false;
}

static money_int whole(double x)
{
    return x > 0 && x < 1e36 ? (money_int)nearbyint(x) : 0;
}

/* One day; true where it is an anomaly. */
static bool watch_day(struct watch *s, money_int amount, struct anomaly *out)
{
    double y = (double)amount / s->unit;
    double said = hw_forecast(&s->w, 1), miss = y - said;
    bool odd = false;

    if (s->n_errors >= ANOMALY_ERRORS_MIN) {
        double z = scores(s, said, miss);
        odd = fabs(z) >= ANOMALY_Z;
        if (odd)
            *out = (struct anomaly){.expected = whole(said * s->unit),
                                    .actual = amount,
                                    .has_z = isfinite(z),
                                    .z = isfinite(z) ? z : 0,
                                    .confirmed = esd_agrees(s, miss)};
    }
    s->in_a_row = odd ? s->in_a_row + 1 : 0;
    (void)hw_step(&s->w, &rates, odd ? said : y);
    if (!odd)
        s->errors[s->n_errors++ % ANOMALY_ERRORS] = miss;
    return odd;
}

/* What stays for a whole season is how it is now; x is its last step. */
static void new_level(struct watch *s, const money_int *x)
{
    double mean = 0;

    for (unsigned i = 0; i < s->w.season_n; i++)
        mean += (double)x[-(ptrdiff_t)i] / s->unit;
    mean /= (double)s->w.season_n;
    s->w.level = mean;
    s->w.trend = 0;
    /* The season's next place is that of the step a season ago: the oldest of these. */
    for (unsigned i = 0; i < s->w.season_n; i++) {
        unsigned at = (s->w.at + s->w.season_n - 1 - i) % s->w.season_n;
        s->w.season[at] = (double)x[-(ptrdiff_t)i] / s->unit - mean;
    }
    s->in_a_row = 0;
}

size_t anomaly_days(const money_int *x, size_t n, unsigned season_n, size_t from,
                    struct anomaly *out, size_t max)
{
    struct watch s = {.n_errors = 0};
    double *start, sum = 0;
    size_t found = 0, first = 2 * (size_t)season_n;

    if (n < anomaly_days_needs(season_n) || max == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)x[i]);
    if (!(sum > 0))
        return 0;
    s.unit = sum / (double)n;
    start = xcalloc(first, sizeof(*start));
    for (size_t i = 0; i < first; i++)
        start[i] = (double)x[i] / s.unit;
    hw_start(&s.w, start, season_n);
    free(start);
    for (size_t t = season_n; t < n && found < max; t++) {
        struct anomaly a;
        bool odd = watch_day(&s, x[t], &a);
        if (s.in_a_row == (int)season_n)
            new_level(&s, &x[t]);
        if (!odd || t < from)
            continue;
        a.step = t;
        out[found++] = a;
    }
    return found;
}

/* ---- hours ------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    money_int x = *(const money_int *)a, y = *(const money_int *)b;

    return (x > y) - (x < y);
}

size_t anomaly_hours(const money_int *x, size_t n, size_t from, struct anomaly *out, size_t max)
{
    bool *odd = xcalloc(n + 1, sizeof(*odd));
    size_t found = 0;

    for (size_t t = 0; t < n && found < max; t++) {
        money_int same[ANOMALY_HOURS_WEEKS], middle, most;
        size_t k = 0;

        for (size_t w = 1; k < ANOMALY_HOURS_WEEKS && w * HOURS_OF_WEEK <= t; w++) {
            if (!odd[t - w * HOURS_OF_WEEK])
                same[k++] = x[t - w * HOURS_OF_WEEK];
        }
        if (k < ANOMALY_HOURS_MIN)
            continue;
        qsort(same, k, sizeof(same[0]), by_size);
        /* Nearest rank: the 99th percentile of so few is the most of them. */
        most = same[k - 1];
        middle = k % 2 ? same[k / 2] : divide_even(same[k / 2 - 1] + same[k / 2], 2);
        odd[t] = x[t] > 0 && x[t] > most * ANOMALY_HOUR_FACTOR;
        if (odd[t] && t >= from)
            out[found++] = (struct anomaly){.step = t, .expected = middle, .actual = x[t]};
    }
    free(odd);
    return found;
}
