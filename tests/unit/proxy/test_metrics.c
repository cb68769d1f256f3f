#include "proxy/metrics.h"

#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

enum { OUT_MAX = 1 << 20, SAMPLES_MAX = 4000, NAMES_MAX = 200 };

static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, OUT_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&out);
    return 0;
}

/* ---- a reader of the exposition format, as strict as promtool check metrics ----------- */

static bool is_name(struct strv s)
{
    if (s.n == 0 || isdigit((unsigned char)s.p[0]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
            return false;
    }
    return true;
}

static bool is_plain_number(struct strv s)
{
    bool digits = false, dot = false;

    if (strv_eq(s, STRV("+Inf")))
        return true;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && !dot && digits)
            dot = true;
        else if (isdigit((unsigned char)s.p[i]))
            digits = true;
        else
            return false;
    }
    return digits && s.p[s.n - 1] != '.';
}

/* a="b",c="d" with \\, \" and \n escaped. */
static bool are_labels(struct strv s)
{
    size_t i = 0;

    while (i < s.n) {
        size_t start = i;
        while (i < s.n && s.p[i] != '=')
            i++;
        if (!is_name(strv_make(s.p + start, i - start)) || i + 1 >= s.n || s.p[i + 1] != '"')
            return false;
        for (i += 2; i < s.n && s.p[i] != '"'; i++) {
            if (s.p[i] == '\n')
                return false;
            if (s.p[i] == '\\' && (++i == s.n || !strchr("\\\"n", s.p[i])))
                return false;
        }
        if (i == s.n)
            return false;
        i++;
        if (i < s.n && s.p[i++] != ',')
            return false;
    }
    return true;
}

struct family {
    struct strv name, type;
};

static bool in_family(struct strv sample, const struct family *f)
{
    struct strv rest;

    if (!strv_starts(sample, f->name))
        return false;
    rest = strv_skip(sample, f->name.n);
    if (!strv_eq(f->type, STRV("histogram")))
        return rest.n == 0;
    return strv_eq(rest, STRV("_bucket")) || strv_eq(rest, STRV("_sum")) ||
           strv_eq(rest, STRV("_count"));
}

/* HELP, TYPE, then samples of that family, each family once, each series once. */
static size_t check_format(struct strv text)
{
    static struct strv series[SAMPLES_MAX];
    struct family seen[NAMES_MAX], now = {{0}, {0}};
    size_t n_series = 0, n_seen = 0;
    struct strv line;

    assert_true(strv_ends(text, STRV("\n")));
    text.n--;
    while (strv_split(&text, '\n', &line)) {
        if (strv_starts(line, STRV("# HELP "))) {
            struct strv name = strv_skip(line, 7);
            assert_true(strv_find(name, ' ') + 1 < name.n);
            now.name = strv_head(name, strv_find(name, ' '));
            assert_true(is_name(now.name));
            for (size_t i = 0; i < n_seen; i++)
                assert_false(strv_eq(seen[i].name, now.name));
            now.type = STRV_NONE;
        } else if (strv_starts(line, STRV("# TYPE "))) {
            struct strv name = strv_skip(line, 7);
            assert_true(strv_starts(name, now.name));
            now.type = strv_skip(name, now.name.n + 1);
            assert_true(strv_eq(now.type, STRV("counter")) ||
                        strv_eq(now.type, STRV("gauge")) ||
                        strv_eq(now.type, STRV("histogram")));
            assert_int_equal(strv_eq(now.type, STRV("counter")),
                             strv_ends(now.name, STRV("_total")));
            assert_true(n_seen < NAMES_MAX);
            seen[n_seen++] = now;
        } else {
            size_t space = line.n;
            struct strv name, labels = STRV_NONE;
            while (space > 0 && line.p[space - 1] != ' ')
                space--;
            assert_true(space > 0 && is_plain_number(strv_skip(line, space)));
            name = strv_head(line, space - 1);
            assert_true(n_series < SAMPLES_MAX);
            for (size_t i = 0; i < n_series; i++)
                assert_false(strv_eq(series[i], name));
            series[n_series++] = name;
            if (name.p[name.n - 1] == '}') {
                size_t brace = strv_find(name, '{');
                labels = strv_make(name.p + brace + 1, name.n - brace - 2);
                name.n = brace;
            }
            assert_true(now.type.n > 0 && in_family(name, &now) && are_labels(labels));
        }
    }
    return n_series;
}

static struct strv value_of(const char *series)
{
    struct strv text = buf_view(&out), line, name = strv_z(series);

    while (strv_split(&text, '\n', &line)) {
        if (strv_starts(line, name) && line.n > name.n && line.p[name.n] == ' ')
            return strv_skip(line, name.n + 1);
    }
    return STRV("absent");
}

#define assert_value(series, want)                                                             \
    do {                                                                                       \
        if (!strv_eq(value_of(series), strv_z(want)))                                          \
            print_error("%s: %.*s\n", series, STRV_ARG(value_of(series)));                     \
        assert_true(strv_eq(value_of(series), strv_z(want)));                                  \
    } while (0)

/* ---- tests --------------------------------------------------------------------------------
 */

static void test_workers_are_one_process(void **state)
{
    struct worker_stats *stats = calloc(3, sizeof(*stats));
    const struct worker_stats *workers[3] = {&stats[0], &stats[1], &stats[2]};
    struct limiter_stats limiters[2] = {{.reserves = 3, .connected = true}, {.reserves = 4}};
    struct ledger_stats ledger = {.ingested = 9, .lag_us = 1500000};
    struct metrics_view view = {.workers = workers,
                                .n_workers = 3,
                                .limiters = limiters,
                                .n_limiters = 2,
                                .ledger = &ledger,
                                .version = "1\"2\\3\n4",
                                .started_us = 1793491200000001};
    struct money cost;

    (void)state;
    assert_int_equal(money_parse(STRV("0.000000000600000001"), &cost), RC_OK);
    for (int i = 0; i < 3; i++) {
        stat_add(&stats[i].requests, 5);
        stat_response(&stats[i], 200);
        stat_response(&stats[i], 402);
        stat_response(&stats[i], 0);
        stat_add(&stats[i].refused[REFUSE_BUDGET_EXHAUSTED], 2);
        stat_add(&stats[i].outcomes[OUTCOME_CLIENT_ABORT], 1);
        stat_cost(&stats[i], cost);
        stat_observe(&stats[i].duration, 1000);
        stat_observe(&stats[i].duration, 1001);
        stat_observe(&stats[i].first_byte, INT64_MAX);
    }
    stat_add(&stats[0].connections_open, 3);
    stat_sub(&stats[0].connections_open, 1);
    stat_cost(&stats[0], (struct money){-1});
    buf_clear(&out);
    assert_int_equal(metrics_render(&view, &out), RC_OK);
    assert_true(check_format(buf_view(&out)) > 100);
    assert_value("tollgate_requests_total", "15");
    assert_value("tollgate_connections_open", "2");
    assert_value("tollgate_responses_total{class=\"4xx\"}", "3");
    assert_value("tollgate_responses_total{class=\"none\"}", "3");
    assert_value("tollgate_refused_total{code=\"budget_exhausted\"}", "6");
    assert_value("tollgate_outcomes_total{outcome=\"client_abort\"}", "3");
    assert_value("tollgate_cost_usd_total", "0.000000001800000003");
    assert_value("tollgate_request_duration_seconds_bucket{le=\"0.001\"}", "3");
    assert_value("tollgate_request_duration_seconds_bucket{le=\"0.002\"}", "6");
    assert_value("tollgate_request_duration_seconds_bucket{le=\"+Inf\"}", "6");
    assert_value("tollgate_request_duration_seconds_count", "6");
    assert_value("tollgate_request_duration_seconds_sum", "0.006003");
    assert_value("tollgate_time_to_first_byte_seconds_bucket{le=\"1048.576\"}", "0");
    assert_value("tollgate_time_to_first_byte_seconds_bucket{le=\"+Inf\"}", "3");
    assert_value("tollgate_limiter_reserves_total", "7");
    assert_value("tollgate_limiter_connected", "0");
    assert_value("tollgate_ledger_ingested_total", "9");
    assert_value("tollgate_ledger_lag_seconds", "1.5");
    assert_value("process_start_time_seconds", "1793491200.000001");
    assert_value("tollgate_build_info{version=\"1\\\"2\\\\3\\n4\"}", "1");
    free(stats);
}

static void test_no_scientific_notation(void **state)
{
    struct worker_stats *stats = calloc(1, sizeof(*stats));
    const struct worker_stats *worker = stats;
    struct metrics_view view = {.workers = &worker, .n_workers = 1};

    (void)state;
    stat_add(&stats->bytes_in_client, UINT64_MAX);
    stat_add(&stats->cost_nano_usd, UINT64_C(9000000000000000001));
    buf_clear(&out);
    assert_int_equal(metrics_render(&view, &out), RC_OK);
    check_format(buf_view(&out));
    assert_value("tollgate_bytes_total{side=\"client\",direction=\"in\"}",
                 "18446744073709551615");
    assert_value("tollgate_cost_usd_total", "9000000000.000000001");
    free(stats);
}

/* A view is whole or not there at all. */
static void test_too_small_a_buffer_changes_nothing(void **state)
{
    struct worker_stats *stats = calloc(1, sizeof(*stats));
    const struct worker_stats *worker = stats;
    struct metrics_view view = {.workers = &worker, .n_workers = 1};

    (void)state;
    for (size_t max = 16; max < 12000; max += 613) {
        struct buf small;
        buf_init(&small, max);
        assert_int_equal(buf_append(&small, "before\n", 7), RC_OK);
        if (metrics_render(&view, &small) != RC_OK)
            assert_true(strv_eq(buf_view(&small), STRV("before\n")));
        buf_release(&small);
    }
    free(stats);
}

static void test_limits(void **state)
{
    const struct limit_def usd = {.name = "month", .unit = UNIT_USD, .limit = 500000000000};
    const struct limit_def rpm = {.name = "rpm", .unit = UNIT_REQUESTS, .limit = 600};
    const struct metrics_limit limits[] = {
        {&usd, STRV("team=search"), 1500000000, 1, 1796083200000000},
        {&rpm, STRV("key=\"a\\b\nc\xff"), 7, 0, 0},
    };

    (void)state;
    buf_clear(&out);
    assert_int_equal(metrics_limits(limits, 2, 2, &out), RC_OK);
    check_format(buf_view(&out));
    assert_value("tollgate_limit_limit{limit=\"month\",scope=\"team=search\",unit=\"usd\"}",
                 "500");
    assert_value("tollgate_limit_spent{limit=\"month\",scope=\"team=search\",unit=\"usd\"}",
                 "1.5");
    assert_value("tollgate_limit_reserved{limit=\"month\",scope=\"team=search\",unit=\"usd\"}",
                 "0.000000001");
    assert_value("tollgate_limit_reset_timestamp_seconds{limit=\"month\",scope=\"team=search\","
                 "unit=\"usd\"}",
                 "1796083200");
    assert_value("tollgate_limit_spent{limit=\"rpm\",scope=\"key=\\\"a\\\\b\\nc?\","
                 "unit=\"requests\"}",
                 "7");
    assert_value("tollgate_series_dropped", "0");
}

/* However many scopes there are, series stay bounded, and what is left out is told. */
static void test_scopes_are_capped(void **state)
{
    enum { MANY = 10000 };
    const struct limit_def def = {.name = "key-rpm", .unit = UNIT_REQUESTS, .limit = 600};
    struct metrics_limit *limits = calloc(MANY, sizeof(*limits));
    char(*names)[32] = calloc(MANY, sizeof(*names));

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "key=k%zu", i);
        limits[i] = (struct metrics_limit){&def, strv_z(names[i]), i, 0, 0};
    }
    buf_clear(&out);
    assert_int_equal(metrics_limits(limits, MANY, MANY, &out), RC_OK);
    assert_value("tollgate_series_dropped", "9000");
    assert_value("tollgate_limit_spent{limit=\"key-rpm\",scope=\"key=k999\",unit=\"requests\"}",
                 "999");
    assert_value(
        "tollgate_limit_spent{limit=\"key-rpm\",scope=\"key=k1000\",unit=\"requests\"}",
        "absent");
    free(limits);
    free(names);
}

/* ---- counters never go back while workers count and a reader reads -------------------------
 */

enum { COUNTS = 200000 };

static void *count(void *arg)
{
    struct worker_stats *stats = arg;

    for (int i = 0; i < COUNTS; i++)
        stat_add(&stats->requests, 1);
    return NULL;
}

static void test_counters_are_monotonic(void **state)
{
    struct worker_stats *stats = calloc(2, sizeof(*stats));
    const struct worker_stats *workers[2] = {&stats[0], &stats[1]};
    struct metrics_view view = {.workers = workers, .n_workers = 2};
    pthread_t threads[2];
    uint64_t before = 0, now = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &stats[i]), 0);
    for (int i = 0; i < 20; i++) {
        buf_clear(&out);
        assert_int_equal(metrics_render(&view, &out), RC_OK);
        assert_true(strv_parse_u64(value_of("tollgate_requests_total"), UINT64_MAX, &now));
        assert_true(now >= before);
        before = now;
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    buf_clear(&out);
    assert_int_equal(metrics_render(&view, &out), RC_OK);
    assert_value("tollgate_requests_total", "400000");
    free(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_are_one_process),
        cmocka_unit_test(test_no_scientific_notation),
        cmocka_unit_test(test_too_small_a_buffer_changes_nothing),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_scopes_are_capped),
        cmocka_unit_test(test_counters_are_monotonic),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
