/*
 * Forecasts and anomalies against numbers that R and NIST's handbook give for the same
 * series.
 */
#include "reports/forecast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/xalloc.h"
#include "reports/anomaly.h"
#include "reports/holt_winters.h"
#include "reports/robust.h"
#include "tests/unit/reports/series_data.h"
#include "tests/unit/unit.h"

enum { DAYS = 84, FITTED = 63 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Equal to the last digit that was printed. */
static void near_to(double got, double want, double last_digit)
{
    if (!(fabs(got - want) <= last_digit * 0.5000001))
        print_error("%.12f, not %.12f\n", got, want);
    assert_true(fabs(got - want) <= last_digit * 0.5000001);
}

/* Twelve weeks of micro-dollars a day with a trend, and two days that are wrong. */
static money_int series[DAYS];

static void make_series(void)
{
    static const int64_t base[7] = {1000000, 1080000, 1100000, 1090000,
                                    1020000, 420000,  380000};
    uint32_t x = 12345;

    for (int t = 0; t < DAYS; t++) {
        int64_t noise;
        x = (1103515245U * x + 12345U) & 0x7fffffffU;
        noise = (int64_t)(x >> 8) % 40001 - 20000;
        series[t] = base[t % 7] * 100 + (int64_t)t * 250000 + noise * 100;
    }
    series[66] += 90000000;
    series[73] -= 70000000;
}

static double *dollars(const money_int *x, size_t n)
{
    double *out = xcalloc(n, sizeof(*out));

    for (size_t i = 0; i < n; i++)
        out[i] = (double)x[i] / 1e6;
    return out;
}

static void test_series_is_the_reference(void **state)
{
    static const char want[] =
        "ef068a68b8fd2e37467e1863fc4ca613157852038fff6f68126cab52cffcfe49";
    char text[DAYS * 12] = "", hex[SHA256_HEX];
    unsigned char digest[SHA256_BYTES];
    size_t n = 0;

    (void)state;
    for (int t = 0; t < DAYS; t++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%lld", t ? "," : "",
                              (long long)series[t]);
    digest_sha256(strv_make(text, n), digest);
    digest_hex(digest, sizeof(digest), hex);
    assert_string_equal(hex, want);
}

static void test_smoothing_as_r(void **state)
{
    static const double want[] = {114.87577276, 123.96216996, 126.10334294, 125.34118839,
                                  117.77173141, 59.45205562,  55.46661680,  116.57249658,
                                  125.65889378, 127.80006676, 127.03791222, 119.46845523,
                                  61.14877944,  57.16334062};
    const struct hw_rates rates = {0.3, 0.05, 0.2};
    double *x = dollars(series, FITTED);
    struct hw w;

    (void)state;
    hw_start_means(&w, x, 7);
    near_to(w.level, 87.81538571428572, 1e-13);
    near_to(w.trend, 0.2522448979591831, 1e-13);
    near_to(hw_run(&w, &rates, x, FITTED), 100.8652633, 1e-7);
    for (size_t h = 1; h <= COUNT(want); h++)
        near_to(hw_forecast(&w, h), want[h - 1], 1e-8);
    free(x);
}

static void test_air_passengers_as_r(void **state)
{
    static const double want[] = {474.457772260, 469.801810919, 513.007326049, 515.453742109,
                                  521.347402389, 564.137815183, 601.806610175, 588.059358232,
                                  521.474488121, 484.515573604, 453.134844822, 493.516599260};
    const struct hw_rates rates = {0.3, 0.1, 0.2};
    struct hw w;

    (void)state;
    hw_start(&w, air_passengers, 12);
    near_to(w.level + w.trend + w.season[0], 110.643162393, 1e-9);
    near_to(w.level, 124.316919192, 1e-9);
    near_to(w.trend, 1.14568764569, 1e-11);
    near_to(w.season[0], -14.8194444444, 1e-10);
    near_to(hw_run(&w, &rates, air_passengers, 144), 98448.9929976, 1e-7);
    near_to(w.level, 495.24769797053, 1e-11);
    near_to(w.trend, 3.18251019946, 1e-11);
    for (size_t h = 1; h <= COUNT(want); h++)
        near_to(hw_forecast(&w, h), want[h - 1], 1e-9);
}

/* R's optimum, whose rates are printed to twelve digits. */
static void test_carbon_dioxide_as_r(void **state)
{
    static const double want[] = {365.107894933, 365.966391338, 366.734329477};
    const struct hw_rates rates = {0.512648443564, 0.00949766904603, 0.472886787995};
    struct hw w;

    (void)state;
    hw_start(&w, mauna_loa, 12);
    near_to(hw_run(&w, &rates, mauna_loa, 468), 43.1298613677, 1e-9);
    for (size_t h = 1; h <= COUNT(want); h++)
        near_to(hw_forecast(&w, h), want[h - 1], 2e-9);
}

static void test_seasonal_naive(void **state)
{
    static const double want[] = {113.9622, 122.7749, 124.2168, 123.9266,
                                  115.5368, 59.1601,  52.7099};
    money_int path[8];
    double *x = dollars(series, FITTED), sum = 0, rms;

    (void)state;
    forecast_path(FORECAST_SEASONAL, series, FITTED, 7, 8, path);
    for (size_t h = 0; h < COUNT(want); h++)
        near_to((double)path[h] / 1e6, want[h], 1e-4);
    for (size_t t = 7; t < FITTED; t++)
        sum += (x[t] - x[t - 7]) * (x[t] - x[t - 7]);
    rms = sqrt(sum / (FITTED - 7));
    near_to(rms, 2.22945431, 1e-8);
    near_to((double)path[0] / 1e6 + NORMAL_P90 * rms, 116.8193607, 1e-7);
    near_to((double)path[7] / 1e6 + NORMAL_P90 * rms * sqrt(2), 118.0028354, 1e-7);
    free(x);
}

/* The interval of one step, and of the two of which one repeats the other's error. */
static void test_interval_of_the_sum(void **state)
{
    money_int flat[21];
    struct forecast f;

    (void)state;
    for (size_t i = 0; i < COUNT(flat); i++)
        flat[i] = 1000000 + (money_int)(i / 7) * 10000;
    forecast_make(flat, 20, 7, 1, &f, NULL);
    assert_int_equal(f.method, FORECAST_SEASONAL);
    near_to((double)(f.high - f.sum), 10000 * NORMAL_P90, 2);
    forecast_make(flat, 20, 7, 8, &f, NULL);
    near_to((double)(f.high - f.sum), 10000 * NORMAL_P90 * sqrt(7 + 4), 2);
    assert_true(f.low < f.sum && f.low >= 0);
}

static money_int spent(size_t from, size_t to)
{
    money_int sum = 0;

    for (size_t i = from; i < to; i++)
        sum += series[i];
    return sum;
}

static money_int month_end(enum forecast_method method, size_t from)
{
    money_int path[14], sum = spent(56, 70);

    forecast_path(method, series + from, 70 - from, 7, 14, path);
    for (size_t i = 0; i < 14; i++)
        sum += path[i];
    return sum;
}

static void test_month_end(void **state)
{
    (void)state;
    assert_true(spent(0, 63) == 5963426400);
    assert_true(spent(0, 84) == 8183181300);
    assert_true(spent(56, 70) == 1527682900);
    assert_true(month_end(FORECAST_RATE, 56) == 3055365800);
    assert_true(month_end(FORECAST_MEDIAN, 0) == 2940803600);
    assert_true(spent(56, 84) == 2932042200);
}

static void test_modified_z(void **state)
{
    static const double x[] = {2.1, 2.3, 1.9, 2.0, 2.2, 2.1, 9.7, 2.0, 2.4, 1.8};
    static const double want[] = {0, .899333,   -.899333, -.449667, .449667,
                                  0, 34.174667, -.449667, 1.349,    -1.349};
    double sorted[COUNT(x)], middle, deviation;

    (void)state;
    memcpy(sorted, x, sizeof(x));
    middle = robust_median(sorted, COUNT(x));
    deviation = robust_deviation(sorted, COUNT(x), middle);
    near_to(middle, 2.1, 1e-12);
    near_to(deviation, 0.15, 1e-12);
    for (size_t i = 0; i < COUNT(x); i++)
        near_to(robust_z(x[i], middle, deviation, 0), want[i], 1e-6);
    assert_true(isinf(robust_z(1, 0, 0, 0)));
    near_to(robust_z(1, 0, 0, 0.6745), 1, 1e-12);
}

static void test_extreme_deviates(void **state)
{
    static const double x[] = {
        -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56,
        1.58,  1.65, 1.69, 1.70, 1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10,
        2.14,  2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40, 2.47, 2.54, 2.62, 2.64, 2.90, 2.92,
        2.92,  2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01};
    static const double r[] = {3.119, 2.943, 3.179, 2.810, 2.816,
                               2.848, 2.279, 2.310, 2.102, 2.067};
    static const double lambda[] = {3.159, 3.151, 3.144, 3.136, 3.128,
                                    3.120, 3.111, 3.103, 3.094, 3.085};
    struct esd_step steps[10];
    bool gone[COUNT(x)];

    (void)state;
    assert_int_equal(esd_test(x, COUNT(x), 0.05, steps, 10, gone), 3);
    for (size_t i = 0; i < 10; i++) {
        near_to(steps[i].r, r[i], 2e-3); /* the handbook cuts where it should round */
        near_to(steps[i].lambda, lambda[i], 2e-3);
    }
    assert_true(x[steps[0].index] == 6.01 && x[steps[1].index] == 5.42);
    assert_true(x[steps[2].index] == 5.34);
    near_to(student_quantile(0.975, 10), 2.228138852, 1e-9);
    near_to(student_quantile(0.05, 1), -6.313751515, 1e-9);
}

/* ---- the choice -----------------------------------------------------------------------------
 */

static void test_ladder(void **state)
{
    static const struct {
        size_t n;
        enum forecast_method method;
    } cases[] = {{0, FORECAST_NONE},     {1, FORECAST_RATE},      {6, FORECAST_RATE},
                 {7, FORECAST_SEASONAL}, {20, FORECAST_SEASONAL}, {21, FORECAST_MEDIAN},
                 {27, FORECAST_MEDIAN}};
    struct forecast f;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        forecast_make(series, cases[i].n, 7, 14, &f, NULL);
        assert_int_equal(f.method, cases[i].method);
        assert_true(f.has_error == (cases[i].n == 20));
    }
}

/* Growth that the median of a month lags behind is the smoother's. */
static void test_back_test_chooses(void **state)
{
    money_int x[200], flat[200], path[14];
    struct forecast f;

    (void)state;
    for (size_t t = 0; t < COUNT(x); t++) {
        x[t] = 1000000 + (money_int)t * (money_int)t * 200 + (money_int)(t % 7) * 50000;
        flat[t] = 1000000 + (money_int)(t % 7) * 50000;
    }
    forecast_make(x, COUNT(x), 7, 14, &f, path);
    assert_int_equal(f.method, FORECAST_SMOOTH);
    assert_true(f.has_error && f.error_ppm < 20000 && f.origins == FORECAST_ORIGINS);
    assert_true(f.low < f.sum && f.sum < f.high);
    forecast_make(flat, COUNT(flat), 7, 14, &f, path);
    assert_int_equal(f.method, FORECAST_SEASONAL); /* all are right: the simplest */
    assert_true(f.error_ppm == 0);
    assert_true(path[0] == flat[COUNT(flat) - 7]);
}

/* Amounts in atto-USD of the largest company there is. */
static void test_large_amounts(void **state)
{
    money_int x[60], path[30];
    struct forecast f;

    (void)state;
    for (size_t t = 0; t < COUNT(x); t++)
        x[t] = (money_int)1000000000 * 1000000000 * 1000000000 * (money_int)(1 + t % 7);
    forecast_make(x, COUNT(x), 7, 30, &f, path);
    assert_true(path[0] == x[COUNT(x) - 7]);
    for (size_t t = 0; t < COUNT(x); t++)
        x[t] = 0;
    forecast_make(x, COUNT(x), 7, 30, &f, path);
    assert_true(f.sum == 0 && f.high == 0 && !f.has_error);
}

/* ---- anomalies ----------------------------------------------------------------------------
 */

static void test_reference_anomalies(void **state)
{
    struct anomaly found[DAYS];
    size_t n = anomaly_days(series, DAYS, 7, 0, found, DAYS);

    (void)state;
    assert_int_equal(n, 2);
    assert_int_equal(found[0].step, 66);
    assert_int_equal(found[1].step, 73);
    assert_true(found[0].actual > found[0].expected && found[0].z >= ANOMALY_Z);
    assert_true(found[1].actual < found[1].expected && found[1].z <= -ANOMALY_Z);
    assert_true(found[0].confirmed && found[1].confirmed);
    near_to((double)(found[0].actual - found[0].expected) / 90e6, 1, 0.1);
    assert_int_equal(anomaly_days(series, DAYS, 7, 67, found, DAYS), 1);
    assert_int_equal(anomaly_days(series, 20, 7, 0, found, DAYS), 0);
}

static uint64_t seed = 7;

static double uniform(void)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Twenty years of teams: growth, weekdays, noise, and days that are wrong by a known factor. */
static void test_precision_and_recall(void **state)
{
    enum { YEAR = 365, YEARS = 20, PLANTED = 12 };
    unsigned hits = 0, said = 0, planted = 0;

    (void)state;
    for (int year = 0; year < YEARS; year++) {
        struct anomaly found[YEAR];
        money_int x[YEAR];
        bool wrong[YEAR] = {false};
        size_t n;

        for (int t = 0; t < YEAR; t++) {
            double noise = (uniform() + uniform() + uniform() + uniform() - 2) * 0.05;
            double day = (t % 7 < 5 ? 1.0 : 0.4) * (1 + 0.002 * t) * (1 + noise);
            x[t] = (money_int)(day * 1e9);
        }
        for (int i = 0; i < PLANTED; i++) {
            int t = 40 + (int)(uniform() * (YEAR - 40));
            if (wrong[t])
                continue;
            wrong[t] = true;
            planted++;
            x[t] = (money_int)((double)x[t] * (i % 3 == 2 ? 0.5 : 1.4 + uniform()));
        }
        n = anomaly_days(x, YEAR, 7, 40, found, YEAR);
        said += (unsigned)n;
        for (size_t i = 0; i < n; i++)
            hits += wrong[found[i].step];
    }
    print_message("anomalies over %d years: planted %u, said %u, precision %.3f, recall %.3f\n",
                  YEARS, planted, said, (double)hits / said, (double)hits / planted);
    assert_true((double)hits / said >= 0.9);
    assert_true((double)hits / planted >= 0.95);
}

/* A new level is said for a week and then taken as it is. */
static void test_new_level(void **state)
{
    struct anomaly found[200];
    money_int x[200];
    size_t n;

    (void)state;
    for (size_t t = 0; t < COUNT(x); t++)
        x[t] = (t < 100 ? 1000000 : 3000000) + (money_int)(t * 7919 % 13) * 1000;
    n = anomaly_days(x, COUNT(x), 7, 0, found, COUNT(found));
    assert_int_equal(n, 7);
    assert_int_equal(found[0].step, 100);
}

static void test_hours(void **state)
{
    enum { HOURS = 168 * 6 };
    struct anomaly found[16];
    money_int *x = xcalloc(HOURS, sizeof(*x));

    (void)state;
    for (int t = 0; t < HOURS; t++)
        x[t] = t % 24 < 8 ? 100 : 1000 + t % 24;
    x[900] *= 3;
    x[168] = 10000; /* too early to say */
    assert_int_equal(anomaly_hours(x, HOURS, 0, found, 16), 1);
    assert_int_equal(found[0].step, 900);
    assert_true(found[0].actual == 3 * found[0].expected && !found[0].has_z);
    assert_int_equal(anomaly_hours(x, HOURS, 901, found, 16), 0);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_is_the_reference),
        cmocka_unit_test(test_smoothing_as_r),
        cmocka_unit_test(test_air_passengers_as_r),
        cmocka_unit_test(test_carbon_dioxide_as_r),
        cmocka_unit_test(test_seasonal_naive),
        cmocka_unit_test(test_interval_of_the_sum),
        cmocka_unit_test(test_month_end),
        cmocka_unit_test(test_modified_z),
        cmocka_unit_test(test_extreme_deviates),
        cmocka_unit_test(test_ladder),
        cmocka_unit_test(test_back_test_chooses),
        cmocka_unit_test(test_large_amounts),
        cmocka_unit_test(test_reference_anomalies),
        cmocka_unit_test(test_precision_and_recall),
        cmocka_unit_test(test_new_level),
        cmocka_unit_test(test_hours),
    };

    make_series();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
