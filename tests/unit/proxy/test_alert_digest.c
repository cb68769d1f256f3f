/*
 * When the weekly digest is due, by the clocks of a zone.
 */
#include "base/datetime.h"
#include "proxy/alert_watch.h"
#include "tests/unit/unit.h"

static int64_t at(const char *text)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(text), &us));
    return us;
}

static void test_due(void **state)
{
    static const struct {
        const char *zone;
        int day, hour; /* 1: Monday */
        const char *now, *due;
    } cases[] = {
        {"UTC", 1, 8, "2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"},
        {"UTC", 1, 8, "2026-11-23T07:59:59Z", "2026-11-16T08:00:00Z"},
        {"UTC", 7, 23, "2026-11-22T23:30:00Z", "2026-11-22T23:00:00Z"},
        {"Europe/Berlin", 1, 8, "2026-11-23T07:00:00Z", "2026-11-23T07:00:00Z"},
        /* Clocks are turned on Sundays. */
        {"Europe/Berlin", 7, 8, "2026-03-29T05:59:59Z", "2026-03-22T07:00:00Z"},
        {"Europe/Berlin", 7, 8, "2026-03-29T06:00:00Z", "2026-03-29T06:00:00Z"},
        {"Europe/Berlin", 7, 8, "2026-10-25T06:59:59Z", "2026-10-18T06:00:00Z"},
        {"Europe/Berlin", 7, 8, "2026-10-25T07:00:00Z", "2026-10-25T07:00:00Z"},
        {"Europe/Berlin", 1, 8, "2026-03-30T06:00:00Z", "2026-03-30T06:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config = {.zone = zone_open(cases[i].zone)};

        config.alerts.digest_day = cases[i].day;
        config.alerts.digest_hour = cases[i].hour;
        assert_int_equal(alert_digest_due(&config, at(cases[i].now)), at(cases[i].due));
        zone_close(config.zone);
    }
}

static void test_never(void **state)
{
    struct config config = {.alerts = {.digest_day = 0, .digest_hour = 8}};

    (void)state;
    assert_int_equal(alert_digest_due(&config, at("2026-11-23T08:00:00Z")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
