/*
 * Small ledgers whose every number is known: requests, tasks, budgets.
 */
#include "reports/report.h"

#include "tests/unit/reports/fixture.h"

static struct fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_open(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

/* Dollars as atto. */
static money_int usd(const char *text)
{
    struct money m;

    assert_int_equal(money_parse(strv_z(text), &m), RC_OK);
    return m.atto;
}

#define assert_usd(row, name, want)                                                            \
    do {                                                                                       \
        const cJSON *value = member(row, name);                                                \
        if (!cJSON_IsString(value) || amount(row, name) != usd(want))                          \
            print_error("%s: %s, not %s\n", name,                                              \
                        cJSON_IsString(value) ? value->valuestring : "null", want);            \
        assert_true(cJSON_IsString(value) && amount(row, name) == usd(want));                  \
    } while (0)
#define assert_null_at(row, name)     assert_true(cJSON_IsNull(member(row, name)))
#define assert_count(row, name, want) assert_int_equal((int)amount(row, name), want)

/* ---- requests ------------------------------------------------------------------------------
 */

static void test_percentiles_are_costs_that_were(void **state)
{
    static const int costs[] = {12, 5, 7, 3, 100, 8, 9, 4, 6, 11};
    cJSON *json;
    const cJSON *row;

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        struct record r = fixture_record(at("2026-11-05T10:00:00Z") + (int64_t)i);
        fixture_set_cost(&r, costs[i] * usd("0.01"));
        r.latency_us = (12 - (int64_t)i) * 1000 - 1;
        if (i == 3)
            r.outcome = OUTCOME_PROVIDER_ERROR;
        fixture_add(&f, &r);
    }
    fixture_flush(&f);
    json = fixture_json(&f, "requests", "month=2026-11&by=model");
    row = row_with(json, "model", "model-1");
    assert_count(row, "requests", 10);
    assert_usd(row, "cost_usd", "1.65");
    assert_usd(row, "mean_cost_usd", "0.165");
    assert_usd(row, "p50_cost_usd", "0.07");
    assert_usd(row, "p90_cost_usd", "0.12");
    assert_usd(row, "p95_cost_usd", "1");
    assert_usd(row, "p99_cost_usd", "1");
    assert_usd(row, "min_cost_usd", "0.03");
    assert_usd(row, "max_cost_usd", "1");
    assert_count(row, "errors", 1);
    assert_true(member(row, "error_ratio")->valuedouble == 0.1);
    assert_true(member(row, "tokens_per_request")->valuedouble == 110);
    assert_true(member(row, "mean_latency_ms")->valuedouble == 7.499);
    assert_count(row, "p95_latency_ms", 11);
    cJSON_Delete(json);
}

/* Division is exact to 18 places, half to even. */
static void test_means_are_rounded_once(void **state)
{
    cJSON *json;

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct record r = fixture_record(at("2026-09-05T10:00:00Z") + i);
        fixture_set_cost(&r, i == 0 ? 1 : 0);
        fixture_add(&f, &r);
    }
    for (int i = 0; i < 2; i++) {
        struct record r = fixture_record(at("2026-08-05T10:00:00Z") + i);
        fixture_set_cost(&r, i == 0 ? 3 : 0);
        fixture_add(&f, &r);
    }
    fixture_flush(&f);
    json = fixture_json(&f, "requests", "month=2026-09");
    assert_usd(member(json, "total"), "mean_cost_usd", "0");
    cJSON_Delete(json);
    json = fixture_json(&f, "requests", "month=2026-08");
    assert_usd(member(json, "total"), "mean_cost_usd", "0.000000000000000002");
    cJSON_Delete(json);
}

static void test_unknown_is_never_zero(void **state)
{
    struct record r = fixture_record(at("2026-07-05T10:00:00Z"));
    const cJSON *row;
    cJSON *json;

    (void)state;
    r.subject.dim[DIM_TEAM] = STRV("search");
    r.price_status = PRICE_NONE;
    r.usage = (struct usage){.has = 0};
    r.usage_source = USAGE_NONE;
    fixture_add(&f, &r);
    r = fixture_record(at("2026-07-05T11:00:00Z"));
    r.subject.dim[DIM_TEAM] = STRV("billing");
    fixture_set_cost(&r, 0);
    fixture_add(&f, &r);
    fixture_flush(&f);
    json = fixture_json(&f, "spend", "month=2026-07&by=team");
    row = row_with(json, "team", "search");
    assert_null_at(row, "cost_usd");
    assert_null_at(row, "input_tokens");
    assert_count(row, "unpriced_requests", 1);
    assert_count(row, "unknown_usage_requests", 1);
    row = row_with(json, "team", "billing");
    assert_usd(row, "cost_usd", "0");
    assert_null_at(row, "share"); /* of nothing */
    assert_usd(member(json, "total"), "cost_usd", "0");
    cJSON_Delete(json);
    json = fixture_json(&f, "requests", "month=2026-07&by=team");
    row = row_with(json, "team", "search");
    assert_null_at(row, "mean_cost_usd");
    assert_null_at(row, "p50_cost_usd");
    assert_null_at(row, "tokens_per_request");
    cJSON_Delete(json);
    /* Nothing at all cost nothing. */
    json = fixture_json(&f, "spend", "month=2031-07&by=team");
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 0);
    assert_usd(member(json, "total"), "cost_usd", "0");
    assert_null_at(member(json, "total"), "share");
    cJSON_Delete(json);
}

/* A free tag that has the name of a column is told from it. */
static void test_a_tag_named_like_a_column(void **state)
{
    struct record r = fixture_record(at("2026-06-05T10:00:00Z"));
    cJSON *json;
    const cJSON *row;

    (void)state;
    r.subject.free[0] = (struct tag){STRV("cost_usd"), STRV("9999")};
    r.subject.n_free = 1;
    fixture_set_cost(&r, usd("2"));
    fixture_add(&f, &r);
    fixture_flush(&f);
    json = fixture_json(&f, "spend", "month=2026-06&by=cost_usd");
    row = cJSON_GetArrayItem(rows_of(json), 0);
    assert_string_equal(member(row, "tag:cost_usd")->valuestring, "9999");
    assert_usd(row, "cost_usd", "2");
    cJSON_Delete(json);
}

/* ---- tasks: the set of cases of the accounting rules
 * ------------------------------------------ */

static void line(const char *team, const char *task, const char *end, const char *cost,
                 unsigned attempt, enum outcome outcome)
{
    struct record r = fixture_record(at(end));

    r.subject.dim[DIM_TEAM] = strv_z(team);
    r.subject.dim[DIM_TASK] = strv_z(task);
    r.subject.dim[DIM_TASK_TYPE] = STRV("answer");
    r.attempt = attempt;
    r.outcome = outcome;
    fixture_set_cost(&r, usd(cost));
    fixture_add(&f, &r);
}

static int setup_tasks(void **state)
{
    setup(state);
    /* one clean task */
    line("a", "clean", "2026-11-03T10:00:00Z", "1.00", 1, OUTCOME_OK);
    line("a", "clean", "2026-11-03T10:01:00Z", "0.50", 1, OUTCOME_OK);
    fixture_close_task(&f, "a", "clean", TASK_COMPLETED, at("2026-11-03T10:02:00Z"));
    /* two retries, then success */
    line("a", "retried", "2026-11-04T10:00:00Z", "0.30", 1, OUTCOME_PROVIDER_ERROR);
    line("a", "retried", "2026-11-04T10:01:00Z", "0.20", 2, OUTCOME_CLIENT_ABORT);
    line("a", "retried", "2026-11-04T10:02:00Z", "2.00", 3, OUTCOME_OK);
    fixture_close_task(&f, "a", "retried", TASK_COMPLETED, at("2026-11-04T10:03:00Z"));
    /* failed, with an error among its attempts */
    line("a", "failed", "2026-11-05T10:00:00Z", "0.70", 1, OUTCOME_OK);
    line("a", "failed", "2026-11-05T10:01:00Z", "0.10", 1, OUTCOME_TIMEOUT);
    fixture_close_task(&f, "a", "failed", TASK_FAILED, at("2026-11-05T10:02:00Z"));
    /* abandoned */
    line("a", "left", "2026-11-06T10:00:00Z", "0.40", 0, OUTCOME_OK);
    fixture_close_task(&f, "a", "left", TASK_ABANDONED, at("2026-11-06T11:00:00Z"));
    /* open */
    line("a", "open", "2026-11-07T10:00:00Z", "0.25", 0, OUTCOME_OK);
    /* a late line; the first final outcome wins */
    line("a", "late", "2026-11-08T10:00:00Z", "0.60", 0, OUTCOME_OK);
    fixture_close_task(&f, "a", "late", TASK_COMPLETED, at("2026-11-08T10:01:00Z"));
    fixture_close_task(&f, "a", "late", TASK_FAILED, at("2026-11-08T10:02:00Z"));
    line("a", "late", "2026-11-08T10:05:00Z", "0.05", 0, OUTCOME_OK);
    /* over the end of a month, closed in the second */
    line("a", "over", "2026-10-31T23:59:59Z", "3.00", 0, OUTCOME_OK);
    line("a", "over", "2026-11-01T00:00:00Z", "1.00", 0, OUTCOME_OK);
    fixture_close_task(&f, "a", "over", TASK_COMPLETED, at("2026-11-01T00:10:00Z"));
    /* another team's task of the same id */
    line("b", "clean", "2026-11-09T10:00:00Z", "9.00", 0, OUTCOME_OK);
    fixture_close_task(&f, "b", "clean", TASK_FAILED, at("2026-11-09T10:01:00Z"));
    /* all of it from the cache: a cost, and it is zero */
    line("a", "cached", "2026-11-10T10:00:00Z", "0", 0, OUTCOME_OK);
    fixture_close_task(&f, "a", "cached", TASK_COMPLETED, at("2026-11-10T10:01:00Z"));
    /* no task */
    line("a", "", "2026-11-11T10:00:00Z", "0.15", 0, OUTCOME_OK);
    fixture_flush(&f);
    return 0;
}

static void test_tasks_by_spend(void **state)
{
    cJSON *json = fixture_json(&f, "tasks", "month=2026-11&by=team&cohort=spend");
    const cJSON *a = row_with(json, "team", "a"), *b = row_with(json, "team", "b");
    const cJSON *total = member(json, "total");

    (void)state;
    assert_count(a, "tasks", 8);
    assert_count(a, "completed", 5); /* clean, retried, late, over, cached */
    assert_count(a, "failed", 1);
    assert_count(a, "abandoned", 1);
    assert_count(a, "open", 1);
    assert_count(a, "requests", 13);
    assert_usd(a, "completed_cost_usd", "5.65"); /* 1.5 + 2.5 + 0.65 + 1 + 0 */
    assert_usd(a, "failed_cost_usd", "0.8");
    assert_usd(a, "abandoned_cost_usd", "0.4");
    assert_usd(a, "open_cost_usd", "0.25");
    assert_usd(a, "task_cost_usd", "7.1");
    assert_usd(a, "mean_cost_completed_usd", "1.13");
    assert_usd(a, "cost_per_completed_task_usd", "1.37"); /* (5.65 + 0.8 + 0.4) / 5 */
    assert_usd(a, "p50_completed_usd", "1");              /* 0, 0.65, 1, 1.5, 2.5 */
    assert_usd(a, "p90_completed_usd", "2.5");
    assert_usd(a, "retry_cost_usd", "0.6"); /* 0.3 + 0.2, and the failed task's time-out */
    assert_usd(a, "failure_cost_usd", "1.1");
    assert_usd(a, "useful_cost_usd", "5.15");
    assert_count(a, "late_requests", 1);
    assert_usd(a, "late_cost_usd", "0.05");
    assert_usd(a, "no_task_cost_usd", "0.15");
    assert_usd(a, "cost_usd", "7.25");
    /* Nothing completed: no cost per completed task, and the spend is still there. */
    assert_null_at(b, "cost_per_completed_task_usd");
    assert_null_at(b, "mean_cost_completed_usd");
    assert_null_at(b, "p50_completed_usd");
    assert_usd(b, "failure_cost_usd", "9");
    assert_usd(total, "cost_usd", "16.25");
    assert_usd(total, "cost_per_completed_task_usd", "3.17"); /* (6.85 + 9) / 5 */
    cJSON_Delete(json);
}

static void test_tasks_by_closing(void **state)
{
    cJSON *json = fixture_json(&f, "tasks", "month=2026-11&by=team");
    const cJSON *a = row_with(json, "team", "a");

    (void)state;
    assert_count(a, "tasks", 8); /* closed in it, and the open one that spent in it */
    assert_count(a, "completed", 5);
    assert_usd(a, "completed_cost_usd", "8.65"); /* with October's 3.00 */
    /* The bridge to what the period spent: October's part was spent before it. */
    assert_usd(a, "task_cost_usd", "10.1"); /* 9.85, and 0.25 of the open one */
    assert_usd(a, "no_task_cost_usd", "0.15");
    assert_usd(a, "other_periods_cost_usd", "-3");
    assert_usd(a, "cost_usd", "7.25");
    cJSON_Delete(json);
    json = fixture_json(&f, "tasks", "month=2026-10");
    assert_count(member(json, "total"), "tasks", 0);
    cJSON_Delete(json);
    json = fixture_json(&f, "tasks", "month=2026-10&cohort=spend");
    assert_count(member(json, "total"), "tasks", 1);
    assert_usd(member(json, "total"), "cost_usd", "3");
    cJSON_Delete(json);
}

static void test_task_top_keeps_percentiles_of_the_rest(void **state)
{
    cJSON *json = fixture_json(&f, "tasks", "month=2026-11&by=team&cohort=spend&top=1");
    const cJSON *other = row_with(json, "team", "(other)");

    (void)state;
    assert_usd(row_with(json, "team", "b"), "cost_usd", "9");
    assert_usd(other, "p50_completed_usd", "1");
    assert_usd(other, "cost_usd", "7.25");
    cJSON_Delete(json);
}

/* ---- budgets
 * ----------------------------------------------------------------------------------- */

static bool counters_work;

static enum rc counters(limit_counter_fn *fn, void *fn_arg, void *arg)
{
    struct limit_counter c = {.limit = 0, .scope = STRV("team=search"), .reserved = 250000000};

    (void)arg;
    if (!counters_work)
        return RC_IO;
    c.spent = 1500000000;
    c.start_us = at("2026-11-01T00:00:00Z");
    c.end_us = at("2026-12-01T00:00:00Z");
    fn(&c, fn_arg);
    c = (struct limit_counter){.limit = 1, .scope = STRV(""), .spent = 3};
    fn(&c, fn_arg);
    return RC_OK;
}

static const char *budget_at(const cJSON *json, int i)
{
    return member(cJSON_GetArrayItem(rows_of(json), i), "budget")->valuestring;
}

/* The first n by how much is used, as the whole report has them, and no row of others. */
static void check_nearest(int n, const char *const *names)
{
    cJSON *whole = fixture_json(&f, "budgets", "sort=used_ratio"), *json;
    char query[32];

    (void)snprintf(query, sizeof(query), "top=%d", n);
    json = fixture_json(&f, "budgets", query);
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), n);
    for (int i = 0; i < n; i++) {
        assert_string_equal(budget_at(json, i), names[i]);
        assert_true(cJSON_Compare(cJSON_GetArrayItem(rows_of(json), i),
                                  cJSON_GetArrayItem(rows_of(whole), i), true));
    }
    cJSON_Delete(json);
    cJSON_Delete(whole);
    json = fixture_json(&f, "budgets", "top=1&sort=budget");
    assert_string_equal(budget_at(json, 0), names[0]);
    cJSON_Delete(json);
    json = fixture_json(&f, "budgets", "top=6");
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 5);
    cJSON_Delete(json);
}

static void test_budgets(void **state)
{
    const struct limit_def defs[] = {
        {.name = "month",
         .per = {STRV("team")},
         .n_per = 1,
         .unit = UNIT_USD,
         .limit = 2000000000,
         .period = PERIOD_MONTH,
         .alerts = {50, 80},
         .n_alerts = 2},
        {.name = "rpm", .unit = UNIT_REQUESTS, .limit = 3, .rolling = true, .rolling_s = 60},
        {.name = "prod-day",
         .match = {{STRV("environment"), STRV("prod*")}},
         .n_match = 1,
         .unit = UNIT_TOKENS,
         .limit = 200,
         .period = PERIOD_DAY,
         .mode = LIMIT_WARN},
    };
    struct limit_set *set = limit_set_new(defs, 3, f.utc);
    struct record r = fixture_record(at("2026-11-21T08:00:00Z"));
    const cJSON *row;
    cJSON *json;

    (void)state;
    r.subject.dim[DIM_TEAM] = STRV("search");
    r.subject.dim[DIM_ENVIRONMENT] = STRV("production");
    fixture_set_cost(&r, usd("1.25") + 1);
    fixture_add(&f, &r);
    r = fixture_record(at("2026-11-20T08:00:00Z"));
    r.subject.dim[DIM_TEAM] = STRV("ads, \"x\"=y");
    r.subject.dim[DIM_ENVIRONMENT] = STRV("prod");
    fixture_set_cost(&r, usd("0.5"));
    fixture_add(&f, &r);
    fixture_flush(&f);
    f.sources.limits = set;
    f.sources.counters = counters;
    counters_work = true;
    json = fixture_json(&f, "budgets", "");
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 5); /* one for requests without team */
    row = row_with(json, "scope", "team=search");
    assert_usd(row, "limit_usd", "2");
    assert_usd(row, "spent_usd", "1.5");
    assert_usd(row, "reserved_usd", "0.25");
    assert_usd(row, "remaining_usd", "0.25");
    assert_usd(row, "ledger_spent_usd", "1.250000001"); /* each request rounded up */
    assert_true(member(row, "used_ratio")->valuedouble == 0.75);
    assert_string_equal(member(row, "status")->valuestring, "alert");
    assert_string_equal(member(row, "window_end")->valuestring, "2026-12-01T00:00:00.000000Z");
    assert_null_at(row, "limit_count");
    row = row_with(json, "budget", "rpm");
    assert_count(row, "spent_count", 3);
    assert_count(row, "remaining_count", 0);
    assert_string_equal(member(row, "status")->valuestring, "exhausted");
    assert_string_equal(member(row, "window")->valuestring, "60s");
    row = row_with(json, "budget", "prod-day");
    assert_string_equal(member(row, "mode")->valuestring, "warn");
    assert_count(row, "ledger_spent_count", 110); /* today's alone */
    assert_count(row, "spent_count", 0);
    cJSON_Delete(json);
    check_nearest(2, (const char *const[]){"rpm", "month"});
    /* Without counters the ledger answers. */
    counters_work = false;
    json = fixture_json(&f, "budgets", "");
    row = row_with(json, "scope", "team=search");
    assert_null_at(row, "spent_usd");
    assert_null_at(row, "reserved_usd");
    assert_usd(row, "ledger_spent_usd", "1.250000001");
    assert_usd(row, "remaining_usd", "0.749999999");
    cJSON_Delete(json);
    check_nearest(3, (const char *const[]){"month", "month", "prod-day"});
    f.sources.limits = NULL;
    f.sources.counters = NULL;
    limit_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_costs_that_were),
        cmocka_unit_test(test_means_are_rounded_once),
        cmocka_unit_test(test_unknown_is_never_zero),
        cmocka_unit_test(test_a_tag_named_like_a_column),
        cmocka_unit_test(test_budgets),
    };
    const struct CMUnitTest tasks[] = {
        cmocka_unit_test(test_tasks_by_spend),
        cmocka_unit_test(test_tasks_by_closing),
        cmocka_unit_test(test_task_top_keeps_percentiles_of_the_rest),
    };
    int failed = cmocka_run_group_tests_name("accounts", tests, setup, teardown);

    return failed + cmocka_run_group_tests_name("tasks", tasks, setup_tasks, teardown);
}
