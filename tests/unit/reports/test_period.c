#include "reports/period.h"

#include "tests/unit/unit.h"

static int64_t at(const char *rfc3339)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(rfc3339), &us));
    return us;
}

static void test_instants(void **state)
{
    static const struct {
        const char *zone, *text, *want; /* NULL: refused */
    } cases[] = {
        {"UTC", "2026-11-21", "2026-11-21T00:00:00Z"},
        {"Europe/Berlin", "2026-11-21", "2026-11-20T23:00:00Z"},
        {"America/New_York", "2026-11-21", "2026-11-21T05:00:00Z"},
        {"Asia/Kathmandu", "2026-11-21", "2026-11-20T18:15:00Z"},
        {"Europe/Berlin", "2026-11-21T09:30:00+02:00", "2026-11-21T07:30:00Z"},
        {"UTC", "2026-11-21T09:30:00.25Z", "2026-11-21T09:30:00.25Z"},
        /* Midnight is skipped there on this day: the day begins at 01:00. */
        {"America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z"},
        {"UTC", "2026-02-30", NULL},
        {"UTC", "2026-11-21T09:30:00", NULL},
        {"UTC", "2026-11", NULL},
        {"UTC", "yesterday", NULL},
        {"UTC", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct zone *zone = zone_open(cases[i].zone);
        int64_t us = 0;
        bool good;
        assert_non_null(zone);
        good = period_parse_instant(zone, strv_z(cases[i].text), &us);
        assert_int_equal(good, cases[i].want != NULL);
        if (good)
            assert_int_equal(us, at(cases[i].want));
        zone_close(zone);
    }
}

static void test_months_have_the_hours_of_their_zone(void **state)
{
    static const struct {
        const char *zone, *month;
        int hours; /* 0: refused */
    } cases[] = {
        {"UTC", "2026-03", 744},
        {"Europe/Berlin", "2026-03", 743},
        {"Europe/Berlin", "2026-10", 745},
        {"America/New_York", "2026-11", 721},
        {"UTC", "2028-02", 29 * 24},
        {"UTC", "2026-12", 744},
        {"UTC", "2026-13", 0},
        {"UTC", "2026-00", 0},
        {"UTC", "2026-1", 0},
        {"UTC", "2026/01", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct zone *zone = zone_open(cases[i].zone);
        int64_t from = 0, to = 0;
        bool good = period_parse_month(zone, strv_z(cases[i].month), &from, &to);
        assert_int_equal(good, cases[i].hours != 0);
        assert_int_equal((to - from) / US_PER_SECOND / 3600, cases[i].hours);
        zone_close(zone);
    }
}

static void test_days_of_a_change_have_23_and_25_hours(void **state)
{
    struct zone *zone = zone_open("Europe/Berlin");
    static const struct {
        const char *from, *to;
        int hours;
    } days[] = {{"2026-03-29", "2026-03-30", 23},
                {"2026-10-25", "2026-10-26", 25},
                {"2026-11-01", "2026-11-02", 24}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct period_words words = {strv_z(days[i].from), strv_z(days[i].to), STRV_NONE,
                                           STRV_NONE};
        int64_t from, to;
        const char *word;
        assert_null(
            period_resolve(zone, &words, at("2027-01-01T00:00:00Z"), &from, &to, &word));
        assert_int_equal((to - from) / US_PER_SECOND, days[i].hours * 3600);
    }
    zone_close(zone);
}

static void test_last(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* 0: refused */
    } cases[] = {{"90m", 5400},   {"24h", 86400},      {"7d", 604800},
                 {"2w", 1209600}, {"0d", 0},           {"d", 0},
                 {"7", 0},        {"7y", 0},           {"-7d", 0},
                 {"1.5h", 0},     {"99999999999d", 0}, {"", 0}};
    const int64_t now = at("2026-11-21T09:30:00Z");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t from = 0, to = 0;
        bool good = period_parse_last(strv_z(cases[i].text), now, &from, &to);
        assert_int_equal(good, cases[i].seconds != 0);
        if (good) {
            assert_int_equal(to, now);
            assert_int_equal(to - from, cases[i].seconds * US_PER_SECOND);
        }
    }
}

/* Words to a period, or to the word that is wrong. */
static void test_resolve(void **state)
{
    static const struct {
        const char *from, *to, *month, *last; /* NULL: not given */
        const char *want_from, *want_to, *wrong;
    } cases[] = {
        {NULL, NULL, NULL, NULL, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", NULL},
        {"2026-11-02", "2026-11-04", NULL, NULL, "2026-11-02T00:00:00Z", "2026-11-04T00:00:00Z",
         NULL},
        {"2026-11-02", NULL, NULL, NULL, "2026-11-02T00:00:00Z", "2026-11-21T09:30:00Z", NULL},
        {NULL, "2026-10-01", NULL, NULL, "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z", NULL},
        {NULL, NULL, "2026-02", NULL, "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", NULL},
        {NULL, NULL, NULL, "24h", "2026-11-20T09:30:00Z", "2026-11-21T09:30:00Z", NULL},
        {"2026-11-04", "2026-11-04", NULL, NULL, NULL, NULL, "to"},
        {"2027-11-04", NULL, NULL, NULL, NULL, NULL, "from"},
        {"x", NULL, NULL, NULL, NULL, NULL, "from"},
        {NULL, "x", NULL, NULL, NULL, NULL, "to"},
        {NULL, NULL, "x", NULL, NULL, NULL, "month"},
        {NULL, NULL, NULL, "x", NULL, NULL, "last"},
        {"2026-11-02", NULL, "2026-11", NULL, NULL, NULL, "month"},
        {"2026-11-02", NULL, NULL, "7d", NULL, NULL, "last"},
        {NULL, NULL, "2026-11", "7d", NULL, NULL, "month"},
    };
    struct zone *zone = zone_open("UTC");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct period_words words = {strv_z(cases[i].from), strv_z(cases[i].to),
                                           strv_z(cases[i].month), strv_z(cases[i].last)};
        const char *word = "", *why;
        int64_t from, to;
        why = period_resolve(zone, &words, at("2026-11-21T09:30:00Z"), &from, &to, &word);
        assert_int_equal(why != NULL, cases[i].wrong != NULL);
        if (why) {
            assert_string_equal(word, cases[i].wrong);
        } else {
            assert_int_equal(from, at(cases[i].want_from));
            assert_int_equal(to, at(cases[i].want_to));
        }
    }
    zone_close(zone);
}

static void test_format_says_the_offset(void **state)
{
    static const struct {
        const char *zone, *us, *want;
    } cases[] = {
        {"UTC", "2026-11-21T09:30:00Z", "2026-11-21T09:30:00Z"},
        {"Europe/Berlin", "2026-11-21T09:30:00Z", "2026-11-21T10:30:00+01:00"},
        {"Europe/Berlin", "2026-07-21T09:30:59Z", "2026-07-21T11:30:59+02:00"},
        {"America/New_York", "2026-11-21T02:30:00Z", "2026-11-20T21:30:00-05:00"},
        {"Asia/Kathmandu", "2026-11-21T09:30:00Z", "2026-11-21T15:15:00+05:45"},
        {"America/St_Johns", "2026-11-21T09:30:00Z", "2026-11-21T06:00:00-03:30"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct zone *zone = zone_open(cases[i].zone);
        char text[DATETIME_TEXT];
        period_format(zone, at(cases[i].us), text);
        assert_string_equal(text, cases[i].want);
        zone_close(zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instants),
        cmocka_unit_test(test_months_have_the_hours_of_their_zone),
        cmocka_unit_test(test_days_of_a_change_have_23_and_25_hours),
        cmocka_unit_test(test_last),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_format_says_the_offset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
