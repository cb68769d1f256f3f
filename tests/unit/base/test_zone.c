#include <stdio.h>
#include <string.h>

#include <glib.h>

#include "base/zone.h"
#include "tests/unit/unit.h"

static int64_t at(const char *text)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(text), &us));
    return us;
}

struct row {
    const char *zone;
    enum period period;
    const char *time, *start, *end, *label;
};

/* Offsets and days of change as the zones' laws give them. */
static const struct row rows[] = {
    {"UTC", PERIOD_HOUR, "2026-11-21T09:59:59.999999Z", "2026-11-21T09:00:00Z",
     "2026-11-21T10:00:00Z", "2026-11-21T09:00+00:00"},
    {"UTC", PERIOD_DAY, "2024-02-29T12:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z",
     "2024-02-29"},
    {"UTC", PERIOD_MONTH, "2024-02-10T00:00:00Z", "2024-02-01T00:00:00Z",
     "2024-03-01T00:00:00Z", "2024-02"},
    {"UTC", PERIOD_MONTH, "2100-02-28T23:00:00Z", "2100-02-01T00:00:00Z",
     "2100-03-01T00:00:00Z", "2100-02"},
    {"UTC", PERIOD_MONTH, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z",
     "2027-01-01T00:00:00Z", "2026-12"},
    {"UTC", PERIOD_QUARTER, "2026-11-21T00:00:00Z", "2026-10-01T00:00:00Z",
     "2027-01-01T00:00:00Z", "2026-Q4"},
    {"UTC", PERIOD_QUARTER, "2026-03-31T23:59:59Z", "2026-01-01T00:00:00Z",
     "2026-04-01T00:00:00Z", "2026-Q1"},
    {"UTC", PERIOD_YEAR, "2024-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z",
     "2024"},
    /* weeks start on Monday; the label's year is that of the week's Thursday */
    {"UTC", PERIOD_WEEK, "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z",
     "2026-W47"},
    {"UTC", PERIOD_WEEK, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z",
     "2026-W48"},
    {"UTC", PERIOD_WEEK, "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z",
     "2026-W53"},
    {"UTC", PERIOD_WEEK, "2024-12-30T00:00:00Z", "2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z",
     "2025-W01"},
    {"UTC", PERIOD_WEEK, "1969-12-31T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z",
     "1970-W01"},
    /* 23 and 25 hours */
    {"Europe/Berlin", PERIOD_DAY, "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z",
     "2026-03-29T22:00:00Z", "2026-03-29"},
    {"Europe/Berlin", PERIOD_DAY, "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z",
     "2026-10-25T23:00:00Z", "2026-10-25"},
    {"Europe/Berlin", PERIOD_WEEK, "2026-03-29T10:00:00Z", "2026-03-22T23:00:00Z",
     "2026-03-29T22:00:00Z", "2026-W13"},
    {"Europe/Berlin", PERIOD_MONTH, "2026-03-31T22:30:00Z", "2026-03-31T22:00:00Z",
     "2026-04-30T22:00:00Z", "2026-04"},
    {"America/New_York", PERIOD_DAY, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z",
     "2026-03-09T04:00:00Z", "2026-03-08"},
    {"America/New_York", PERIOD_DAY, "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z",
     "2026-11-02T05:00:00Z", "2026-11-01"},
    {"America/New_York", PERIOD_MONTH, "2024-03-01T04:59:59Z", "2024-02-01T05:00:00Z",
     "2024-03-01T05:00:00Z", "2024-02"},
    {"America/New_York", PERIOD_QUARTER, "2026-01-01T04:00:00Z", "2025-10-01T04:00:00Z",
     "2026-01-01T05:00:00Z", "2025-Q4"},
    {"America/New_York", PERIOD_YEAR, "2026-06-01T00:00:00Z", "2026-01-01T05:00:00Z",
     "2027-01-01T05:00:00Z", "2026"},
    {"Asia/Kolkata", PERIOD_DAY, "2026-11-20T18:30:00Z", "2026-11-20T18:30:00Z",
     "2026-11-21T18:30:00Z", "2026-11-21"},
    {"Asia/Kolkata", PERIOD_HOUR, "2026-11-20T18:40:00Z", "2026-11-20T18:30:00Z",
     "2026-11-20T19:30:00Z", "2026-11-21T00:00+05:30"},
    {"Asia/Kathmandu", PERIOD_HOUR, "2026-11-20T18:14:59Z", "2026-11-20T17:15:00Z",
     "2026-11-20T18:15:00Z", "2026-11-20T23:00+05:45"},
    {"Asia/Kathmandu", PERIOD_MONTH, "2024-02-29T18:14:59Z", "2024-01-31T18:15:00Z",
     "2024-02-29T18:15:00Z", "2024-02"},
    /* a local hour that comes twice is two periods */
    {"Europe/Berlin", PERIOD_HOUR, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z",
     "2026-10-25T01:00:00Z", "2026-10-25T02:00+02:00"},
    {"Europe/Berlin", PERIOD_HOUR, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z",
     "2026-10-25T02:00:00Z", "2026-10-25T02:00+01:00"},
    /* half an hour of daylight saving: the hour of the change is cut */
    {"Australia/Lord_Howe", PERIOD_DAY, "2026-04-05T00:00:00Z", "2026-04-04T13:00:00Z",
     "2026-04-05T13:30:00Z", "2026-04-05"},
    {"Australia/Lord_Howe", PERIOD_DAY, "2026-10-04T00:00:00Z", "2026-10-03T13:30:00Z",
     "2026-10-04T13:00:00Z", "2026-10-04"},
    {"Australia/Lord_Howe", PERIOD_HOUR, "2026-10-03T15:40:00Z", "2026-10-03T15:30:00Z",
     "2026-10-03T16:00:00Z", "2026-10-04T02:30+11:00"},
    {"Australia/Lord_Howe", PERIOD_HOUR, "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z",
     "2026-04-04T15:30:00Z", "2026-04-05T01:30+10:30"},
    /* Samoa had no 30 December 2011 */
    {"Pacific/Apia", PERIOD_DAY, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z",
     "2011-12-30T10:00:00Z", "2011-12-29"},
    {"Pacific/Apia", PERIOD_DAY, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z",
     "2011-12-31T10:00:00Z", "2011-12-31"},
    /* midnight skipped: the day begins at 01:00 */
    {"America/Sao_Paulo", PERIOD_DAY, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z",
     "2018-11-05T02:00:00Z", "2018-11-04"},
    /* clocks go back from midnight to 23:00: the old day has 25 hours */
    {"America/Sao_Paulo", PERIOD_DAY, "2019-02-17T02:30:00Z", "2019-02-16T02:00:00Z",
     "2019-02-17T03:00:00Z", "2019-02-16"},
    /* clocks go back from 00:01 to 23:01: one minute of the new day belongs to the old */
    {"America/St_Johns", PERIOD_DAY, "2009-11-01T02:30:30Z", "2009-10-31T02:30:00Z",
     "2009-11-01T03:30:00Z", "2009-10-31"},
    /* midnight comes twice: the day begins at the first */
    {"America/Havana", PERIOD_DAY, "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z",
     "2026-11-02T05:00:00Z", "2026-11-01"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct zone *z = zone_open(r->zone);
        char text[2][DATETIME_TEXT], label[DATETIME_TEXT];
        int64_t start, end;

        assert_non_null(z);
        assert_string_equal(zone_name(z), r->zone);
        zone_period(z, r->period, at(r->time), &start, &end);
        datetime_format_s(start, text[0]);
        datetime_format_s(end, text[1]);
        zone_period_label(z, r->period, start, label);
        if (strcmp(text[0], r->start) != 0 || strcmp(text[1], r->end) != 0 ||
            strcmp(label, r->label) != 0)
            fail_msg("%s %s: [%s, %s) %s, want [%s, %s) %s", r->zone, r->time, text[0], text[1],
                     label, r->start, r->end, r->label);
        zone_close(z);
    }
}

static const char *const zones[] = {
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Casablanca",
};

/* Periods follow each other without gap or overlap, and hold what they say. */
static void test_partition(void **state)
{
    static const struct {
        const char *from, *to;
    } spans[] = {{"2009-09-01T00:00:00Z", "2012-02-01T00:00:00Z"},
                 {"2018-10-01T00:00:00Z", "2019-04-01T00:00:00Z"},
                 {"2024-01-01T00:00:00Z", "2031-01-01T00:00:00Z"}};
    unsigned checked = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        struct zone *z = zone_open(zones[i]);

        assert_non_null(z);
        for (size_t s = 0; s < sizeof(spans) / sizeof(spans[0]); s++) {
            for (int p = PERIOD_HOUR + (s == 2); p < PERIOD_TOTAL; p++) {
                int64_t now = at(spans[s].from), previous = INT64_MIN;

                while (now < at(spans[s].to)) {
                    int64_t start, end, again[2];

                    zone_period(z, (enum period)p, now, &start, &end);
                    assert_true(start <= now && now < end);
                    assert_true(previous == INT64_MIN || start == previous);
                    zone_period(z, (enum period)p, end - 1, &again[0], &again[1]);
                    assert_true(again[0] == start && again[1] == end);
                    previous = end;
                    now = end;
                    checked++;
                }
            }
        }
        zone_close(z);
    }
    print_message("%u periods\n", checked);
}

/* Dates as GLib's calendar sees them in the middle of the day. */
static void test_against_glib(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        struct zone *z = zone_open(zones[i]);
        GTimeZone *tz = g_time_zone_new_identifier(zones[i]);

        for (int64_t us = at("2023-12-20T00:00:00Z"); us < at("2027-03-01T00:00:00Z");
             us += US_PER_DAY / 3) {
            GDateTime *utc = g_date_time_new_from_unix_utc(us / US_PER_SECOND);
            GDateTime *local = g_date_time_to_timezone(utc, tz);
            int64_t start, end;
            char label[DATETIME_TEXT], *text;

            zone_period(z, PERIOD_DAY, us, &start, &end);
            zone_period_label(z, PERIOD_DAY, start, label);
            text = g_date_time_format(local, "%Y-%m-%d");
            assert_string_equal(label, text);
            g_free(text);
            assert_int_equal(start, zone_date_start(z, g_date_time_get_year(local),
                                                    g_date_time_get_month(local),
                                                    g_date_time_get_day_of_month(local)));
            zone_period(z, PERIOD_WEEK, us, &start, &end);
            zone_period_label(z, PERIOD_WEEK, start, label);
            text = g_date_time_format(local, "%G-W%V");
            assert_string_equal(label, text);
            g_free(text);
            g_date_time_unref(local);
            g_date_time_unref(utc);
        }
        g_time_zone_unref(tz);
        zone_close(z);
    }
}

static void test_names(void **state)
{
    static const char *const bad[] = {"",        "Europe/Nowhere",       "+05:30",
                                      "EST5",    "/etc/passwd",          "../zoneinfo/UTC",
                                      "Europe/", "Europe/Berlin\nExtra", "<+03>-3"};
    char longest[200];

    (void)state;
    assert_null(zone_open(NULL));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct zone *z = zone_open(bad[i]);

        if (z)
            fail_msg("zone \"%s\" was opened", bad[i]);
    }
    memset(longest, 'A', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_null(zone_open(longest));
    zone_close(NULL);
}

static void test_extremes(void **state)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN / 2, -1, 0, INT64_MAX / 2, INT64_MAX};
    struct zone *z = zone_open("Europe/Berlin");
    int64_t start, end;
    char label[DATETIME_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        for (int p = PERIOD_HOUR; p <= PERIOD_TOTAL; p++) {
            zone_period(z, (enum period)p, times[i], &start, &end);
            assert_true(start < end);
            zone_period_label(z, (enum period)p, start, label);
        }
    }
    assert_true(start == INT64_MIN && end == INT64_MAX);
    assert_string_equal(label, "total");
    zone_close(z);
}

/* The day is that of `in`; clocks show hour:minute at `is`. */
static void test_time_of_day(void **state)
{
    static const struct {
        const char *zone, *in;
        int hour, minute;
        const char *is;
    } cases[] = {
        {"UTC", "2026-11-21T12:00:00Z", 0, 0, "2026-11-21T00:00:00Z"},
        {"UTC", "2026-11-21T12:00:00Z", 23, 59, "2026-11-21T23:59:00Z"},
        {"Asia/Kathmandu", "2026-11-21T12:00:00Z", 8, 30, "2026-11-21T02:45:00Z"},
        /* 2:00 is 3:00 */
        {"Europe/Berlin", "2026-03-29T12:00:00Z", 1, 59, "2026-03-29T00:59:00Z"},
        {"Europe/Berlin", "2026-03-29T12:00:00Z", 2, 0, "2026-03-29T01:00:00Z"},
        {"Europe/Berlin", "2026-03-29T12:00:00Z", 2, 30, "2026-03-29T01:00:00Z"},
        {"Europe/Berlin", "2026-03-29T12:00:00Z", 3, 0, "2026-03-29T01:00:00Z"},
        {"Europe/Berlin", "2026-03-29T12:00:00Z", 8, 0, "2026-03-29T06:00:00Z"},
        {"Europe/Berlin", "2026-03-29T12:00:00Z", 23, 59, "2026-03-29T21:59:00Z"},
        /* 3:00 is 2:00 */
        {"Europe/Berlin", "2026-10-25T12:00:00Z", 2, 30, "2026-10-25T00:30:00Z"},
        {"Europe/Berlin", "2026-10-25T12:00:00Z", 3, 0, "2026-10-25T02:00:00Z"},
        {"Europe/Berlin", "2026-10-25T12:00:00Z", 8, 0, "2026-10-25T07:00:00Z"},
        /* half an hour; a midnight that is none; a day that there was not */
        {"Australia/Lord_Howe", "2026-10-03T20:00:00Z", 2, 15, "2026-10-03T15:30:00Z"},
        {"America/Sao_Paulo", "2018-11-04T12:00:00Z", 0, 30, "2018-11-04T03:00:00Z"},
        {"America/Sao_Paulo", "2018-11-04T12:00:00Z", 1, 30, "2018-11-04T03:30:00Z"},
        {"Pacific/Apia", "2011-12-31T00:00:00Z", 8, 0, "2011-12-30T18:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct zone *z = zone_open(cases[i].zone);
        int64_t day, next;

        zone_period(z, PERIOD_DAY, at(cases[i].in), &day, &next);
        assert_int_equal(zone_time_of_day(z, day, cases[i].hour * 60 + cases[i].minute),
                         at(cases[i].is));
        zone_close(z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_partition),
        cmocka_unit_test(test_against_glib), cmocka_unit_test(test_names),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_time_of_day),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
