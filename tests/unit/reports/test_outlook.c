/*
 * The reports forecast and anomalies over ledgers whose days are known.
 */
#include "reports/books.h"
#include "reports/forecast.h"
#include "reports/report.h"
#include "tests/unit/reports/fixture.h"

enum { DAYS = 84, TODAY = 70 };
#define MICRO ((money_int)1000000000000)

static struct fixture f;
static money_int series[DAYS];
static int64_t day_zero;

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

static void spend(int64_t at_us, const char *team, const char *model, money_int atto)
{
    struct record r = fixture_record(at_us);

    r.subject.dim[DIM_TEAM] = strv_z(team);
    r.subject.dim[DIM_MODEL] = r.model = strv_z(model);
    fixture_set_cost(&r, atto);
    fixture_add(&f, &r);
}

/* Team search: the reference series; team new: three days; team gone: long ago. */
static int setup(void **state)
{
    (void)state;
    make_series();
    fixture_open(&f);
    day_zero = at("2026-08-03T00:00:00Z");
    for (int t = 0; t < DAYS; t++) {
        int64_t noon = day_zero + t * US_PER_DAY + US_PER_DAY / 2;
        money_int planted = t == 66 ? 90000000 * MICRO : 0;
        spend(noon, "search", "model-1", series[t] * MICRO - planted);
        if (planted)
            spend(noon + 5000000, "search", "loop-model", planted);
        if (t < 20)
            spend(noon, "gone", "model-1", 1000000 * MICRO);
        if (t >= TODAY - 3 && t < TODAY)
            spend(noon, "new", "model-1", 2000000 * MICRO);
    }
    fixture_flush(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static const char month[] = "from=2026-09-28&to=2026-10-26"; /* days 56 to 83 */

static void test_month_end_of_teams(void **state)
{
    money_int path[14], spent = 0;
    struct forecast want;
    const cJSON *row, *total;
    cJSON *json;

    (void)state;
    f.sources.now_us = day_zero + TODAY * US_PER_DAY + 3600 * US_PER_SECOND;
    json = fixture_json(&f, "forecast", month);
    row = row_with(json, "team", "search");
    for (int t = 56; t < 84; t++)
        spent += series[t] * MICRO; /* the ledger has the future here: spend is by period */
    forecast_make(series, TODAY, 7, 14, &want, path);
    assert_true(amount(row, "spent_usd") == spent);
    assert_string_equal(member(row, "method")->valuestring, forecast_method_name(want.method));
    assert_true(want.has_error && member(row, "backtest_error_ratio")->valuedouble > 0);
    assert_int_equal((int)amount(row, "history_steps"), TODAY);
    row = row_with(json, "team", "new");
    assert_string_equal(member(row, "method")->valuestring, "run-rate");
    assert_true(amount(row, "forecast_usd") == (money_int)2000000 * 17 * MICRO);
    cJSON_ArrayForEach(row, rows_of(json))
        assert_string_not_equal(member(row, "team")->valuestring, "gone");
    total = member(json, "total");
    assert_true(amount(total, "spent_usd") == spent + (money_int)6000000 * MICRO);
    cJSON_Delete(json);
}

/* A ledger that ends today: spent, the running day and what is to come. */
static void test_running_day(void **state)
{
    money_int path[14], spent = 0;
    int64_t zero = at("2026-08-03T00:00:00Z");
    struct forecast want;
    struct fixture of_search = f;
    const cJSON *row;
    cJSON *json;

    (void)state;
    fixture_open(&f);
    f.sources.now_us = zero + TODAY * US_PER_DAY + US_PER_DAY / 2;
    for (int t = 0; t < TODAY; t++)
        spend(zero + t * US_PER_DAY + 60, "search", "m", series[t] * MICRO);
    spend(f.sources.now_us - 5, "search", "m", 7 * MICRO);
    fixture_flush(&f);
    forecast_make(series, TODAY, 7, 14, &want, path);
    for (int t = 56; t < TODAY; t++)
        spent += series[t];
    json = fixture_json(&f, "forecast", month);
    row = row_with(json, "team", "search");
    assert_true(amount(row, "spent_usd") == (spent + 7) * MICRO);
    if (want.method != FORECAST_SMOOTH)
        assert_true(amount(row, "forecast_usd") == (spent + want.sum) * MICRO);
    assert_true(amount(row, "low_usd") < amount(row, "forecast_usd"));
    assert_true(amount(row, "high_usd") > amount(row, "forecast_usd"));
    cJSON_Delete(json);
    /* A running day that is already dearer than its forecast counts as it is. */
    spend(f.sources.now_us - 4, "search", "m", 1000000000 * MICRO);
    fixture_flush(&f);
    json = fixture_json(&f, "forecast", month);
    row = row_with(json, "team", "search");
    if (want.method != FORECAST_SMOOTH)
        assert_true(amount(row, "forecast_usd") ==
                    (spent + 1000000007 + want.sum - path[0]) * MICRO);
    cJSON_Delete(json);
    fixture_close(&f);
    f = of_search;
}

static void must_import(enum books_kind kind, const char *text)
{
    struct books_taken taken;
    struct problems problems;
    struct fail fail;

    problems_init(&problems);
    assert_int_equal(
        books_import(f.dir, kind, "b.csv", strv_z(text), false, &problems, &taken, &fail),
        RC_OK);
    problems_release(&problems);
}

static const cJSON *adjustment(const cJSON *json, const char *name)
{
    const cJSON *row;

    cJSON_ArrayForEach(row, rows_of(json))
    {
        const cJSON *is = member(row, "adjustment");
        if (cJSON_IsString(is) && strcmp(is->valuestring, name) == 0)
            return row;
    }
    return NULL;
}

/* What is imported adds exactly, row by row, and leaves the rows of history as they were. */
static void test_named_adjustments_and_plans(void **state)
{
    const money_int usd = 1000000 * MICRO;
    const cJSON *row, *total;
    cJSON *before, *json;
    money_int gap = 0;

    (void)state;
    f.sources.now_us = day_zero + TODAY * US_PER_DAY + 3600 * US_PER_SECOND; /* 2026-10-12 */
    f.sources.state_dir = f.dir;
    before = fixture_json(&f, "forecast", "month=2026-10");
    must_import(BOOKS_ADJUSTMENTS, "name,team,from,to,amount_usd\n"
                                   "launch,search,2026-10-20,2026-10-24,400\n"
                                   "price-cut,,2026-10-30,2026-11-09,-50\n"
                                   "evaluation,labs,2026-10-05,2026-10-15,100\n"
                                   "party,,2026-10-31,,7\n"
                                   "over,,2026-10-01,2026-10-13,1000\n"
                                   "later,,2026-11-01,,1000\n");
    json = fixture_json(&f, "forecast", "month=2026-10");
    assert_true(amount(adjustment(json, "launch"), "forecast_usd") == 400 * usd);
    assert_true(amount(adjustment(json, "price-cut"), "forecast_usd") == -10 * usd);
    assert_true(amount(adjustment(json, "evaluation"), "forecast_usd") == 20 * usd);
    assert_true(amount(adjustment(json, "party"), "forecast_usd") == 7 * usd);
    assert_null(adjustment(json, "over"));
    assert_null(adjustment(json, "later"));
    assert_string_equal(member(adjustment(json, "launch"), "team")->valuestring, "search");
    total = member(json, "total");
    assert_true(amount(total, "forecast_usd") ==
                amount(member(before, "total"), "forecast_usd") + (400 - 10 + 20 + 7) * usd);
    assert_true(amount(total, "spent_usd") == amount(member(before, "total"), "spent_usd"));
    for (int i = 0; i < cJSON_GetArraySize(rows_of(before)); i++)
        assert_true(cJSON_Compare(cJSON_GetArrayItem(rows_of(before), i),
                                  cJSON_GetArrayItem(rows_of(json), i), true));
    cJSON_Delete(json);
    json = fixture_json(&f, "forecast", "month=2026-10&by=model&where=team=search");
    assert_non_null(adjustment(json, "launch"));
    assert_null(adjustment(json, "price-cut"));
    cJSON_Delete(json);
    json = fixture_json(&f, "forecast", "month=2026-10&where=model=model-1");
    assert_null(adjustment(json, "launch")); /* nobody said of which model */
    cJSON_Delete(json);

    must_import(BOOKS_PLAN, "month,team,amount_usd\n2026-10,search,3000\n2026-10,ghost,5\n"
                            "2026-11,search,9\n");
    json = fixture_json(&f, "forecast", "month=2026-10");
    row = row_with(json, "team", "search");
    assert_true(amount(row, "plan_usd") == 3000 * usd);
    assert_true(amount(row, "gap_usd") == amount(row, "forecast_usd") - 3000 * usd);
    assert_true(amount(row_with(json, "team", "ghost"), "gap_usd") == -5 * usd);
    assert_true(amount(member(json, "total"), "plan_usd") == 3005 * usd);
    cJSON_ArrayForEach(row, rows_of(json)) gap += amount(row, "gap_usd");
    assert_true(gap == amount(member(json, "total"), "gap_usd"));
    cJSON_Delete(json);
    cJSON_Delete(before);
    f.sources.state_dir = NULL;
}

static void test_forecast_refusals(void **state)
{
    static const struct {
        const char *query, *says;
    } cases[] = {
        {"month=2026-08", "over"},
        {"from=2026-12-01&to=2027-01-01", "not begun"},
        {"from=2026-10-01&to=2026-10-26T13:00:00Z", "end of this period"},
        {"grain=day", "grain"},
        {"top=3", "top"},
        {"scope=budgets&by=team", "one counter"},
        {"scope=everything", "it is one of tags, budgets"},
    };

    (void)state;
    f.sources.now_us = day_zero + TODAY * US_PER_DAY;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(fixture_run(&f, "forecast", cases[i].query), RC_BAD);
        if (!fixture_error_says(&f, cases[i].says))
            print_error("%s: " STRV_FMT "\n", cases[i].query, STRV_ARG(buf_view(&f.error)));
        assert_true(fixture_error_says(&f, cases[i].says));
    }
    assert_int_equal(fixture_run(&f, "spend", "scope=budgets"), RC_BAD);
}

static struct limit_def budget(const char *name, const char *usd, enum period period)
{
    struct limit_def def = {.name = name, .unit = UNIT_USD, .period = period};
    struct money m;

    assert_int_equal(money_parse(strv_z(usd), &m), RC_OK);
    def.limit = (uint64_t)money_ceil_nano(m);
    return def;
}

/* The report on budgets has the very forecast that the report on forecasts has. */
static void same_in_budgets(const cJSON *forecasts, const char *query, size_t wanted)
{
    static const char *const names[] = {"forecast_usd", "forecast_count", "forecast_ratio"};
    cJSON *budgets = fixture_json(&f, "budgets", query);
    size_t told = 0;
    const cJSON *row;

    cJSON_ArrayForEach(row, rows_of(budgets))
    {
        const char *budget = member(row, "budget")->valuestring;
        const cJSON *other = row_with(forecasts, "budget", budget);

        for (size_t i = 0; i < 3; i++) {
            const cJSON *is = member(row, names[i]);

            /* Those of a customer need single requests, which this report does not read. */
            assert_true(strcmp(budget, "customers") == 0
                            ? cJSON_IsNull(is)
                            : cJSON_Compare(is, member(other, names[i]), true));
            told += !cJSON_IsNull(is);
        }
    }
    assert_int_equal(told, wanted);
    cJSON_Delete(budgets);
}

static void test_budgets_to_their_own_windows(void **state)
{
    struct limit_def defs[] = {
        budget("month", "2000", PERIOD_MONTH), budget("teams", "150", PERIOD_WEEK),
        budget("tokens", "1", PERIOD_MONTH), budget("ever", "1000000", PERIOD_TOTAL),
        budget("customers", "9", PERIOD_MONTH)};
    struct limit_set *limits;
    const cJSON *row;
    cJSON *json;

    (void)state;
    defs[1].per[defs[1].n_per++] = STRV("team");
    defs[2].unit = UNIT_TOKENS;
    defs[2].limit = 100000;
    f.sources.now_us = day_zero + (DAYS - 5) * US_PER_DAY + 3600 * US_PER_SECOND;
    defs[4].per[defs[4].n_per++] = STRV("customer");
    f.sources.limits = limits = limit_set_new(defs, 5, f.utc);
    json = fixture_json(&f, "forecast", "scope=budgets");
    row = row_with(json, "budget", "month");
    assert_string_equal(member(row, "window_end")->valuestring, "2026-11-01T00:00:00.000000Z");
    assert_true(amount(row, "forecast_usd") > amount(row, "limit_usd"));
    assert_true(amount(row, "gap_usd") ==
                amount(row, "forecast_usd") - amount(row, "limit_usd"));
    assert_true(cJSON_IsString(member(row, "runs_out")));
    row = row_with(json, "budget", "teams");
    assert_string_equal(member(row, "scope")->valuestring, "team=search");
    row = row_with(json, "budget", "tokens");
    assert_true(cJSON_IsNull(member(row, "forecast_usd")));
    assert_true(amount(row, "forecast_count") >= amount(row, "spent_count"));
    row = row_with(json, "budget", "ever");
    assert_true(cJSON_IsNull(member(row, "forecast_usd")));
    assert_true(amount(row, "spent_usd") > 0);
    same_in_budgets(json, "", 6); /* month, teams, tokens: an amount and its ratio each */
    same_in_budgets(json, "top=3", 4); /* customers are nearest, and have none */
    cJSON_Delete(json);
    limit_set_free(limits);
    f.sources.limits = NULL;
}

/* A budget that is raised for a time lasts as long as what it is raised to. */
static void test_raised_budget(void **state)
{
    struct limit_def def = budget("month", "2000", PERIOD_MONTH);
    struct limit_set *limits;
    const cJSON *row;
    cJSON *json;

    (void)state;
    f.sources.now_us = day_zero + (DAYS - 5) * US_PER_DAY + 3600 * US_PER_SECOND;
    def.raised = 1000 * def.limit;
    for (int over = 0; over < 2; over++) {
        def.raised_until_us = f.sources.now_us + (over ? 0 : 1);
        f.sources.limits = limits = limit_set_new(&def, 1, f.utc);
        json = fixture_json(&f, "forecast", "scope=budgets");
        row = row_with(json, "budget", "month");
        assert_true(amount(row, "limit_usd") == (money_int)(over ? 2000 : 2000000) * 1000000 * MICRO);
        assert_true(cJSON_IsString(member(row, "runs_out")) == (over == 1));
        cJSON_Delete(json);
        limit_set_free(limits);
    }
    f.sources.limits = NULL;
}

/* ---- anomalies ----------------------------------------------------------------------------
 */

static void check_days(const cJSON *json)
{
    const cJSON *first = cJSON_GetArrayItem(rows_of(json), 0);
    const cJSON *second = cJSON_GetArrayItem(rows_of(json), 1);

    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 2);
    assert_string_equal(member(first, "start")->valuestring, "2026-10-08T00:00:00.000000Z");
    assert_string_equal(member(first, "end")->valuestring, "2026-10-09T00:00:00.000000Z");
    assert_string_equal(member(first, "kind")->valuestring, "spike");
    assert_string_equal(member(second, "start")->valuestring, "2026-10-15T00:00:00.000000Z");
    assert_string_equal(member(second, "kind")->valuestring, "drop");
    assert_true(amount(first, "impact_usd") ==
                amount(first, "actual_usd") - amount(first, "expected_usd"));
    assert_true(amount(second, "impact_usd") < 0);
    assert_true(member(first, "z")->valuedouble >= 3.5);
    assert_true(cJSON_IsTrue(member(first, "notable")));
    assert_true(cJSON_IsTrue(member(first, "confirmed")));
    assert_non_null(
        strstr(member(first, "contributors")->valuestring, "model loop-model +90.00"));
    assert_non_null(strstr(member(second, "contributors")->valuestring, "model model-1 -"));
}

static void test_anomalies_of_teams(void **state)
{
    const struct limit_def def = budget("month", "2000", PERIOD_MONTH);
    struct limit_set *limits;
    cJSON *json;

    (void)state;
    f.sources.now_us = day_zero + DAYS * US_PER_DAY + 5;
    json = fixture_json(&f, "anomalies", "by=team&month=2026-10");
    check_days(json);
    cJSON_Delete(json);
    json = fixture_json(&f, "anomalies", "where=team=search&month=2026-10");
    check_days(json);
    cJSON_Delete(json);
    f.sources.limits = limits = limit_set_new(&def, 1, f.utc);
    json = fixture_json(&f, "anomalies", "scope=budgets&month=2026-10");
    assert_true(cJSON_GetArraySize(rows_of(json)) >= 2);
    assert_string_equal(member(cJSON_GetArrayItem(rows_of(json), 0), "budget")->valuestring,
                        "month");
    cJSON_Delete(json);
    limit_set_free(limits);
    f.sources.limits = NULL;
    json = fixture_json(&f, "anomalies", "by=team&where=team=search&month=2026-09");
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 0);
    cJSON_Delete(json);
    assert_int_equal(fixture_run(&f, "anomalies", "grain=week"), RC_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_month_end_of_teams),
        cmocka_unit_test(test_running_day),
        cmocka_unit_test(test_named_adjustments_and_plans),
        cmocka_unit_test(test_forecast_refusals),
        cmocka_unit_test(test_budgets_to_their_own_windows),
        cmocka_unit_test(test_raised_budget),
        cmocka_unit_test(test_anomalies_of_teams),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
