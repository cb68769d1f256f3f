/*
 * Indicators of maturity, over requests whose shares can be counted by hand.
 */
#include <sqlite3.h>

#include "metering/limits/limit.h"
#include "tests/unit/reports/fixture.h"

static struct fixture f;

/* Amounts are whole cents. */
#define CENT ((money_int)10000000000000000)

static void spend(const char *team, const char *feature, money_int cents)
{
    struct record r = fixture_record(at("2026-11-05T10:00:00Z"));

    r.subject.dim[DIM_TEAM] = strv_z(team);
    r.subject.dim[DIM_FEATURE] = strv_z(feature);
    r.subject.dim[DIM_ENVIRONMENT] = STRV("prod");
    fixture_set_cost(&r, cents * CENT);
    if (cents < 0) {
        fixture_set_cost(&r, 0);
        r.price_status = PRICE_NONE;
        r.usage_source = USAGE_ESTIMATED;
    }
    fixture_add(&f, &r);
}

static bool tell_some(struct strv team, void *arg)
{
    (void)arg;
    return !strv_eq(team, STRV("c"));
}

static const char *level_of(const cJSON *row)
{
    const cJSON *level = member(row, "level");

    return cJSON_IsString(level) ? level->valuestring : "";
}

static void is(const cJSON *json, const char *name, double value, const char *level)
{
    const cJSON *row = row_with(json, "indicator", name);
    double said = member(row, "value")->valuedouble;

    if (said < value - 1e-6 || said > value + 1e-6 || strcmp(level_of(row), level) != 0)
        print_error("%s: %f %s\n", name, said, level_of(row));
    assert_true(said > value - 1e-6 && said < value + 1e-6);
    assert_string_equal(level_of(row), level);
}

static void is_unknown(const cJSON *json, const char *name)
{
    const cJSON *row = row_with(json, "indicator", name);

    assert_true(cJSON_IsNull(member(row, "value")) && cJSON_IsNull(member(row, "level")));
}

static void is_of_lines(const cJSON *json, const char *name, const char *mine, const char *total)
{
    const cJSON *row = row_with(json, "indicator", name);
    cJSON *lines =
        fixture_json(&f, "lines", strchr(member(row, "lines")->valuestring, '?') + 1);

    assert_true(amount(row, mine) == amount(member(lines, "total"), total));
    cJSON_Delete(lines);
}

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

/* 90 of 100 dollars have a team, 79.99 all three tags; 19 of 20 requests a price. */
static void test_shares(void **state)
{
    cJSON *json;

    (void)state;
    spend("a", "chat", 4000);
    spend("b", "chat", 3999);
    spend("c", "", 1001);
    spend("", "chat", 1000);
    for (size_t i = 0; i < 15; i++)
        spend("a", "chat", 0);
    spend("a", "chat", -1);
    fixture_flush(&f);
    f.sources.is_told = tell_some;
    json = fixture_json(&f, "maturity", "month=2026-11");
    is(json, "team_coverage", 0.9, "run");
    is(json, "tag_coverage", 0.7999, "crawl");
    is(json, "alert_routing", 2.0 / 3, "walk");
    is(json, "price_coverage", 0.95, "walk");
    is(json, "metered_usage", 0.95, "walk");
    is_of_lines(json, "team_coverage", "cost_usd", "cost_usd");
    is_of_lines(json, "tag_coverage", "cost_usd", "cost_usd");
    is_of_lines(json, "price_coverage", "count", "requests");
    is_of_lines(json, "metered_usage", "count", "requests");
    /* Nobody says which budgets there are, and nothing of these is kept. */
    is_unknown(json, "teams_with_budget");
    is_unknown(json, "time_to_acknowledge");
    is_unknown(json, "reconciled_cost");
    cJSON_Delete(json);
    f.sources.is_told = NULL;
    json = fixture_json(&f, "maturity", "month=2026-11&where=team=a,b");
    is(json, "tag_coverage", 1, "run");
    is_unknown(json, "alert_routing");
    cJSON_Delete(json);
}

static void test_nothing_is_not_zero(void **state)
{
    cJSON *json = fixture_json(&f, "maturity", "month=2026-10");
    const cJSON *row;

    (void)state;
    cJSON_ArrayForEach(row, rows_of(json))
    {
        assert_true(cJSON_IsNull(member(row, "value")));
        assert_true(cJSON_IsNull(member(row, "level")));
    }
    assert_int_equal(cJSON_GetArraySize(rows_of(json)), 9);
    cJSON_Delete(json);
}

static void budget_is_of(const struct limit_def *def, double share)
{
    struct limit_set *limits = limit_set_new(def, 1, f.utc);
    cJSON *json;

    f.sources.limits = limits;
    json = fixture_json(&f, "maturity", "month=2026-11");
    is(json, "teams_with_budget", share, share > 0.9 ? "run" : share < 0.5 ? "crawl" : "walk");
    cJSON_Delete(json);
    f.sources.limits = NULL;
    limit_set_free(limits);
}

/* Which limits are budgets of a team: in dollars, of a day or longer, of all it spends. */
static void test_budgets_of_teams(void **state)
{
    const struct limit_def each = {
        .name = "n", .unit = UNIT_USD, .limit = 1, .period = PERIOD_MONTH, .per = {STRV("team")}, .n_per = 1};
    struct limit_def def = each;

    (void)state;
    budget_is_of(&def, 1);
    def.period = PERIOD_DAY;
    budget_is_of(&def, 1);
    def.period = PERIOD_HOUR;
    budget_is_of(&def, 0);
    def = each;
    def.rolling = true;
    def.rolling_s = 86400;
    budget_is_of(&def, 1);
    def.rolling_s = 86399;
    budget_is_of(&def, 0);
    def = each;
    def.unit = UNIT_TOKENS;
    budget_is_of(&def, 0);
    def = each;
    def.n_per = 0;
    budget_is_of(&def, 0); /* of all teams together */
    def.match[def.n_match++] = (struct tag){STRV("team"), STRV("[ab]")};
    budget_is_of(&def, 0);
    def.match[0].value = STRV("a*");
    budget_is_of(&def, 1.0 / 3);
    def.match[def.n_match++] = (struct tag){STRV("environment"), STRV("dev")};
    budget_is_of(&def, 0);
}

/* That of `forecast`, where all spend is one series; none of a period that is over. */
static void test_forecast_error(void **state)
{
    cJSON *json, *forecast;
    const cJSON *row;

    (void)state;
    for (int day = 1; day < 21; day++) {
        char text[32];
        struct record r;

        (void)snprintf(text, sizeof(text), "2026-11-%02dT12:00:00Z", day);
        r = fixture_record(at(text));
        r.subject.dim[DIM_TEAM] = STRV("a");
        fixture_set_cost(&r, (1000 + day % 3 * 40) * CENT);
        fixture_add(&f, &r);
    }
    fixture_flush(&f);
    json = fixture_json(&f, "maturity", "month=2026-11");
    forecast = fixture_json(&f, "forecast", "month=2026-11&by=upstream");
    row = cJSON_GetArrayItem(rows_of(forecast), 0);
    assert_true(member(row, "backtest_error_ratio")->valuedouble > 0);
    is(json, "forecast_error", member(row, "backtest_error_ratio")->valuedouble,
       member(row, "backtest_error_ratio")->valuedouble <= 0.12 ? "run" : "crawl");
    cJSON_Delete(forecast);
    cJSON_Delete(json);
    json = fixture_json(&f, "maturity", "month=2026-10");
    is_unknown(json, "forecast_error");
    cJSON_Delete(json);
    json = fixture_json(&f, "maturity", "from=2026-11-01&to=2026-11-25T12:30:00Z");
    is_unknown(json, "forecast_error");
    cJSON_Delete(json);
}

/* The forecast of a customer wants lines of months before: without them all else is said. */
static void test_a_history_that_is_gone(void **state)
{
    static const char *const days[] = {"2026-10-05T10:00:00Z", "2026-11-05T10:00:00Z"};
    char sql[128];
    sqlite3 *db;
    cJSON *json;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct record r = fixture_record(at(days[i]));

        r.subject.dim[DIM_TEAM] = STRV("a");
        r.subject.dim[DIM_CUSTOMER] = STRV("acme");
        fixture_set_cost(&r, CENT);
        fixture_add(&f, &r);
    }
    fixture_flush(&f);
    (void)snprintf(sql, sizeof(sql), "REPLACE INTO state(name, value) VALUES('kept_from_us', %lld)",
                   (long long)at("2026-11-01T00:00:00Z"));
    assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    json = fixture_json(&f, "maturity", "month=2026-11&where=customer=acme");
    is_unknown(json, "forecast_error");
    is(json, "price_coverage", 1, "run");
    cJSON_Delete(json);
}

static void test_words(void **state)
{
    static const char *const words[] = {"by=team", "grain=day", "top=3", "cohort=spend"};

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        assert_int_equal(fixture_run(&f, "maturity", words[i]), RC_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_nothing_is_not_zero),
        cmocka_unit_test(test_budgets_of_teams),
        cmocka_unit_test(test_forecast_error),
        cmocka_unit_test(test_a_history_that_is_gone),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
