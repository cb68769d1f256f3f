/*
 * Anomalies of many groups, which several threads (pthread) look for: each group has those that it
 * has alone, in order, and the first of them their causes.
 */
#include "reports/oddities.h"
#include "tests/unit/reports/fixture.h"

enum { USERS = 400, DAYS = 60 };

static struct fixture f;

/* A request of each user a day, of two models; some days of some users are wild. */
static int setup(void **state)
{
    int64_t first_us = at("2026-09-20T12:00:00Z");
    char user[32];

    (void)state;
    fixture_open(&f);
    for (int u = 0; u < USERS; u++) {
        (void)snprintf(user, sizeof(user), "user-%03d", u);
        for (int d = 0; d < DAYS; d++) {
            struct record r = fixture_record(first_us + d * US_PER_DAY + u * 1000000);
            bool wild = (u * 7 + d) % 97 == 0 || (u % 50 == 3 && d > 50);

            r.subject.dim[DIM_USER] = strv_z(user);
            r.subject.dim[DIM_MODEL] = r.model = d % 3 ? STRV("model-1") : STRV("model-2");
            fixture_set_cost(&r, (money_int)(1000 + (d * 31 + u * 17) % 90) *
                                     INT64_C(1000000000000000) * (wild ? 40 : 1));
            fixture_add(&f, &r);
        }
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

static const char *text_of(const cJSON *row, const char *name)
{
    const cJSON *value = member(row, name);

    return cJSON_IsString(value) ? value->valuestring : "";
}

/* All but the causes, which are sought of the first alone. */
static void assert_row(const cJSON *row, const cJSON *alone)
{
    static const char *const names[] = {"user", "start", "end", "kind", "expected_usd",
                                        "actual_usd", "impact_usd", "status", "id"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_string_equal(text_of(row, names[i]), text_of(alone, names[i]));
    if (*text_of(row, "contributors"))
        assert_string_equal(text_of(row, "contributors"), text_of(alone, "contributors"));
}

static void each_has_its_own(void **state)
{
    cJSON *all = fixture_json(&f, "anomalies", "from=2026-09-20&to=2026-11-20&by=user");
    const cJSON *row = rows_of(all)->child;
    int n = 0, caused = 0;

    (void)state;
    for (int u = 0; u < USERS; u++) {
        char query[128];
        cJSON *alone;
        const cJSON *own;

        (void)snprintf(query, sizeof(query),
                       "from=2026-09-20&to=2026-11-20&by=user&where=user=user-%03d", u);
        alone = fixture_json(&f, "anomalies", query);
        cJSON_ArrayForEach(own, rows_of(alone))
        {
            assert_non_null(row);
            assert_row(row, own);
            caused += *text_of(row, "contributors") != 0;
            assert_true((n < ODDITY_CAUSES_MAX) == (*text_of(row, "contributors") != 0) ||
                        !*text_of(own, "contributors"));
            row = row->next;
            n++;
        }
        cJSON_Delete(alone);
    }
    assert_null(row);
    assert_true(n > 2 * ODDITY_CAUSES_MAX && caused > ODDITY_CAUSES_MAX / 2);
    cJSON_Delete(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_own),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
