/*
 * The digest where teams are many: each has its row.
 */
#include "tests/unit/reports/fixture.h"

enum { TEAMS = 19000 }; /* below what series are bounded by */

static struct fixture f;

static int setup(void **state)
{
    int64_t end_us = at("2026-11-20T12:00:00Z");
    char team[32];

    (void)state;
    fixture_open(&f);
    for (int i = 0; i < TEAMS; i++) {
        struct record r = fixture_record(end_us + i * 1000);

        (void)snprintf(team, sizeof(team), "team-%d", i);
        r.subject.dim[DIM_TEAM] = strv_z(team);
        fixture_set_cost(&r, 1000000 + i);
        fixture_add(&f, &r);
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

static void test_each_team_has_a_row(void **state)
{
    cJSON *json = fixture_json(&f, "digest", "");
    money_int sum = 0, last = INT64_MAX;
    const cJSON *row;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(row, rows_of(json))
    {
        money_int week = amount(row, "week_usd");

        assert_true(week <= last);
        last = week;
        sum += week;
        n++;
    }
    assert_int_equal(n, TEAMS);
    assert_true(sum == amount(member(json, "total"), "week_usd"));
    assert_true(sum == (money_int)TEAMS * 1000000 + (money_int)TEAMS * (TEAMS - 1) / 2);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_team_has_a_row),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
