/*
 * Maintenance and quiet hours: what is held back, and until when.
 */
#include "proxy/alert_calm.h"

#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "tests/unit/unit.h"

static int64_t at(const char *text)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(text), &us));
    return us;
}

static void test_quiet_hours(void **state)
{
    static const struct {
        int from, to;
        const char *zone, *now, *until; /* NULL: at once */
    } cases[] = {
        {22 * 60, 7 * 60, "UTC", "2026-11-20T21:59:59Z", NULL},
        {22 * 60, 7 * 60, "UTC", "2026-11-20T22:00:00Z", "2026-11-21T07:00:00Z"},
        {22 * 60, 7 * 60, "UTC", "2026-11-21T06:59:59Z", "2026-11-21T07:00:00Z"},
        {22 * 60, 7 * 60, "UTC", "2026-11-21T07:00:00Z", NULL},
        {12 * 60, 13 * 60 + 30, "UTC", "2026-11-21T12:00:00Z", "2026-11-21T13:30:00Z"},
        {12 * 60, 13 * 60 + 30, "UTC", "2026-11-21T11:59:59Z", NULL},
        {12 * 60, 13 * 60 + 30, "UTC", "2026-11-21T13:30:00Z", NULL},
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-11-20T21:30:00Z", "2026-11-21T06:00:00Z"},
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-11-20T20:30:00Z", NULL},
        /* Nights and days of 23 and 25 hours. */
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-03-28T21:30:00Z", "2026-03-29T05:00:00Z"},
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-03-29T05:00:00Z", NULL},
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-03-29T19:59:59Z", NULL},
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-03-29T20:00:00Z", "2026-03-30T05:00:00Z"},
        {22 * 60, 7 * 60, "Europe/Berlin", "2026-10-25T05:59:59Z", "2026-10-25T06:00:00Z"},
        {12 * 60, 13 * 60, "Europe/Berlin", "2026-10-25T11:30:00Z", "2026-10-25T12:00:00Z"},
        {12 * 60, 13 * 60, "Europe/Berlin", "2026-10-25T10:30:00Z", NULL},
        {0, 0, "UTC", "2026-11-20T00:00:00Z", NULL},
    };
    struct alert a;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config = {.zone = zone_open(cases[i].zone)};
        int64_t now = at(cases[i].now);

        config.alerts.quiet_from_min = cases[i].from;
        config.alerts.quiet_to_min = cases[i].to;
        alert_init(&a, "budget.threshold", SEVERITY_INFO, now);
        assert_true(alert_quiet_until(&config, &a, now) ==
                    (cases[i].until ? at(cases[i].until) : 0));
        a.severity = SEVERITY_WARNING; /* what may not wait does not */
        assert_true(alert_quiet_until(&config, &a, now) == 0);
        zone_close((struct zone *)config.zone);
    }
}

static void test_mutes(void **state)
{
    struct strv events[] = {STRV("budget.*")};
    struct tag_value match[] = {{.name = STRV("team"), .value = STRV("search")}};
    struct alert_mute mute = {.what = {.events = events, .n_events = 1, .match = match,
                                       .n_match = 1, .severity = SEVERITY_INFO},
                              .until_us = 1000};
    struct config config = {.alerts = {.mutes = &mute, .n_mutes = 1}};
    struct alert a;

    (void)state;
    alert_init(&a, "budget.threshold", SEVERITY_CRITICAL, 0);
    assert_false(alert_is_muted(&config, &a, 10)); /* another team's */
    alert_tag(&a, STRV("team"), STRV("search"));
    assert_true(alert_is_muted(&config, &a, 999));
    assert_false(alert_is_muted(&config, &a, 1000));
    alert_init(&a, "anomaly.detected", SEVERITY_CRITICAL, 0);
    alert_tag(&a, STRV("team"), STRV("search"));
    assert_false(alert_is_muted(&config, &a, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet_hours),
        cmocka_unit_test(test_mutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
