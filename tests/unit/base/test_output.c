#include "tests/unit/unit.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/uuid7.h"

/* ---- jsonw --------------------------------------------------------------------------- */

static void test_json(void **state)
{
    struct buf b;
    struct jsonw w;

    (void)state;
    buf_init(&b, 4096);
    jsonw_start(&w, &b);
    jsonw_object(&w);
    jsonw_key(&w, STRV("a\"b"));
    jsonw_string(&w, STRV("x\\y\n\x7f\xc3\xa9\xff\xe2\x82z"));
    jsonw_key(&w, STRV("n"));
    jsonw_array(&w);
    jsonw_int(&w, INT64_MIN);
    jsonw_uint(&w, UINT64_MAX);
    jsonw_bool(&w, true);
    jsonw_bool(&w, false);
    jsonw_null(&w);
    jsonw_raw(&w, STRV("{\"r\":1}"));
    jsonw_object(&w);
    jsonw_end(&w);
    jsonw_array(&w);
    jsonw_end(&w);
    jsonw_end(&w);
    jsonw_key(&w, STRV(""));
    jsonw_string(&w, STRV_NONE);
    jsonw_end(&w);
    assert_int_equal(jsonw_finish(&w), RC_OK);
    if (!strv_eq(
            buf_view(&b),
            STRV("{\"a\\\"b\":\"x\\\\y\\u000a\\u007f\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf"
                 "\xbdz\",\"n\":[-9223372036854775808,18446744073709551615,true,false,null,"
                 "{\"r\":1},{},[]],\"\":\"\"}")))
        fail_msg(STRV_FMT, STRV_ARG(buf_view(&b)));
    buf_release(&b);
}

/* Every byte pair as a string is read back by another parser. */
static void test_json_bytes(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    for (int first = 1; first < 256; first++) {
        for (int second = 1; second < 256; second += 3) {
            char text[2] = {(char)first, (char)second};
            struct jsonw w;
            cJSON *read;

            buf_clear(&b);
            jsonw_start(&w, &b);
            jsonw_string(&w, strv_make(text, 2));
            assert_int_equal(jsonw_finish(&w), RC_OK);
            read = cJSON_ParseWithLength(buf_view(&b).p, buf_len(&b));
            assert_true(cJSON_IsString(read));
            if (first < 0x80 && second < 0x80)
                assert_memory_equal(read->valuestring, text, 2);
            cJSON_Delete(read);
        }
    }
    buf_release(&b);
}

static void test_json_bounds(void **state)
{
    struct buf b;
    struct jsonw w;

    (void)state;
    buf_init(&b, 8);
    jsonw_start(&w, &b);
    jsonw_object(&w);
    jsonw_key(&w, STRV("longer"));
    jsonw_string(&w, STRV("than this"));
    jsonw_end(&w);
    assert_int_equal(jsonw_finish(&w), RC_LIMIT);
    buf_release(&b);
    buf_init(&b, 4096);
    for (int depth = JSONW_DEPTH; depth <= JSONW_DEPTH + 1; depth++) {
        buf_clear(&b);
        jsonw_start(&w, &b);
        for (int i = 0; i < depth; i++)
            jsonw_array(&w);
        for (int i = 0; i < depth; i++)
            jsonw_end(&w);
        assert_int_equal(jsonw_finish(&w), depth <= JSONW_DEPTH ? RC_OK : RC_LIMIT);
    }
    buf_release(&b);
}

/* ---- dates --------------------------------------------------------------------------- */

static void test_dates(void **state)
{
    int year = 1600, month = 1, day = 1;
    int64_t days = date_to_days(year, month, day);

    (void)state;
    assert_int_equal(date_to_days(1970, 1, 1), 0);
    assert_int_equal(date_to_days(2000, 3, 1), 11017);
    /* every day of 800 years follows the one before it */
    while (year < 2400) {
        static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        int y, m, d;

        date_from_days(days, &y, &m, &d);
        if (y != year || m != month || d != day || date_to_days(year, month, day) != days)
            fail_msg("%d-%d-%d", year, month, day);
        days++;
        if (++day > length[month - 1] + (month == 2 && leap)) {
            day = 1;
            if (++month > 12) {
                month = 1;
                year++;
            }
        }
    }
    assert_true(date_parse(STRV("2024-02-29"), &year, &month, &day));
    assert_false(date_parse(STRV("2023-02-29"), &year, &month, &day));
    assert_false(date_parse(STRV("1900-02-29"), &year, &month, &day));
    assert_false(date_parse(STRV("2024-13-01"), &year, &month, &day));
    assert_false(date_parse(STRV("2024-00-01"), &year, &month, &day));
    assert_false(date_parse(STRV("2024-01-00"), &year, &month, &day));
    assert_false(date_parse(STRV("2024-1-1"), &year, &month, &day));
    assert_false(date_parse(STRV("2024-01-01 "), &year, &month, &day));
}

static void test_times(void **state)
{
    static const struct {
        const char *text, *same; /* NULL: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
        {"2026-11-21T09:30:00.123456Z", "2026-11-21T09:30:00.123456Z"},
        {"2026-11-21t09:30:00.5z", "2026-11-21T09:30:00.500000Z"},
        {"2026-11-21 09:30:00.123456789Z", "2026-11-21T09:30:00.123456Z"},
        {"2026-11-21T09:30:00+01:00", "2026-11-21T08:30:00.000000Z"},
        {"2026-11-21T23:30:00-01:30", "2026-11-22T01:00:00.000000Z"},
        {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
        {"2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000000Z"},
        {"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"},
        {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
        {"", NULL},
        {"2026-11-21", NULL},
        {"2026-11-21T09:30:00", NULL},
        {"2026-11-21T09:30:00.Z", NULL},
        {"2026-11-21T09:30:00.1234567890Z", NULL},
        {"2026-11-21T24:00:00Z", NULL},
        {"2026-11-21T09:60:00Z", NULL},
        {"2026-11-21T09:30:61Z", NULL},
        {"2026-11-31T09:30:00Z", NULL},
        {"2026-11-21T09:30:00Zx", NULL},
        {"2026-11-21T09:30:00+0100", NULL},
        {"2026-11-21T09:30:00+24:00", NULL},
        {"2026-11-21T09:30:00+01:60", NULL},
        {"2026-11-21T9:30:00Z", NULL},
        {"-026-11-21T09:30:00Z", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = 0;
        char text[DATETIME_TEXT];

        if (datetime_parse(strv_z(cases[i].text), &us) != (cases[i].same != NULL))
            fail_msg("%s", cases[i].text);
        if (!cases[i].same)
            continue;
        datetime_format_us(us, text);
        assert_string_equal(text, cases[i].same);
    }
    {
        char text[DATETIME_TEXT];

        datetime_format_s(-1, text);
        assert_string_equal(text, "1969-12-31T23:59:59Z");
        datetime_format_us(INT64_MAX, text);
        assert_string_equal(text, "294247-01-10T04:00:54.775807Z");
        datetime_format_us(INT64_MIN, text);
        assert_string_equal(text, "-290308-12-21T19:59:05.224192Z");
    }
}

/* ---- ids ------------------------------------------------------------------------------ */

static void test_uuid(void **state)
{
    struct uuid id, again;
    char text[UUID_TEXT], last[UUID_TEXT] = "";

    (void)state;
    /* RFC 9562 appendix A.6: the time of the example */
    uuid7_make(&id, INT64_C(1645557742000) * 1000 + 999);
    uuid_format(&id, text);
    assert_memory_equal(text, "017f22e2-79b0-7ffb", 18); /* 999/1000 of 4096 */
    assert_non_null(memchr("89ab", text[19], 4));
    assert_true(uuid_parse(strv_z(text), &again));
    assert_memory_equal(&id, &again, sizeof(id));
    for (int i = 0; i < 3000; i++) {
        uuid7_make(&id, i); /* microseconds, some of which begin a millisecond */
        uuid_format(&id, text);
        assert_true(strcmp(last, text) < 0); /* ids sort by time */
        memcpy(last, text, sizeof(last));
    }
    uuid7_make(&id, 5000);
    uuid7_make(&again, 5000);
    assert_memory_not_equal(&id, &again, sizeof(id));
    uuid7_make(&id, -1);
    uuid_format(&id, text);
    assert_memory_equal(text, "00000000-0000-7", 15);
    assert_true(uuid_parse(STRV("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), &id));
    assert_false(uuid_parse(STRV("017f22e2-79b0-7cc3-98c4-dc0c0c07398"), &id));
    assert_false(uuid_parse(STRV("017f22e2-79b0-7cc3-98c4-dc0c0c07398fa"), &id));
    assert_false(uuid_parse(STRV("017f22e2079b0-7cc3-98c4-dc0c0c07398f"), &id));
    assert_false(uuid_parse(STRV("017f22e2-79b0-7cc3-98c4-dc0c0c07398g"), &id));
}

/* ---- log ------------------------------------------------------------------------------- */

static char lines[32768];

static int64_t fixed_clock(void)
{
    return INT64_C(1795253400123456); /* 2026-11-21T09:30:00.123456Z */
}

/* What log_line writes for one call, in lines. */
#define LOGGED(...)                                                                            \
    do {                                                                                       \
        int ends_[2];                                                                          \
        int kept_ = capture(ends_);                                                            \
        log_line(__VA_ARGS__);                                                                 \
        captured(ends_, kept_);                                                                \
    } while (0)

static int capture(int ends[2])
{
    int kept = dup(STDERR_FILENO);

    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    return kept;
}

static void captured(const int ends[2], int kept)
{
    ssize_t n;

    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    close(ends[1]);
    n = read(ends[0], lines, sizeof(lines) - 1);
    close(ends[0]);
    lines[n > 0 ? n : 0] = '\0';
}

static void test_log(void **state)
{
    char quoted[64];
    static char longer[8000];
    cJSON *read;

    (void)state;
    clock_replace(fixed_clock);
    log_setup(LOG_INFO, LOG_LOGFMT);
    assert_true(log_wants(LOG_INFO));
    assert_false(log_wants(LOG_ACCESS));
    LOGGED(LOG_DEBUG, "c", "not wanted", "a=%d", 1);
    assert_string_equal(lines, "");
    LOGGED(LOG_WARN, "upstream", "could not connect", "host=%s port=%d", "h", 5);
    assert_string_equal(lines, "time=2026-11-21T09:30:00.123456Z level=warn component=upstream "
                               "msg=\"could not connect\" host=h port=5\n");
    LOGGED(LOG_ERROR, "c", "line\nbreak \"x\"", "v=%s",
           log_quote(STRV("a\nb\"c\\"), quoted, sizeof(quoted)));
    assert_string_equal(lines, "time=2026-11-21T09:30:00.123456Z level=error component=c "
                               "msg=\"line\\u000abreak \\\"x\\\"\" v=\"a\\u000ab\\\"c\\\\\"\n");
    log_setup(LOG_DEBUG, LOG_JSON);
    LOGGED(LOG_DEBUG, "c", "m",
           "a=1 b=%s c=", log_quote(STRV("x y\n"), quoted, sizeof(quoted)));
    read = cJSON_Parse(lines);
    assert_non_null(read);
    assert_string_equal(cJSON_GetObjectItem(read, "msg")->valuestring, "m");
    assert_string_equal(cJSON_GetObjectItem(read, "a")->valuestring, "1");
    assert_string_equal(cJSON_GetObjectItem(read, "b")->valuestring, "x y\n");
    assert_string_equal(cJSON_GetObjectItem(read, "c")->valuestring, "");
    cJSON_Delete(read);
    log_setup(LOG_DEBUG, LOG_LOGFMT);
    memset(longer, 'x', sizeof(longer) - 1);
    LOGGED(LOG_INFO, "c", "m", "v=%s", longer);
    assert_true(strlen(lines) <= 4096);
    assert_int_equal(lines[strlen(lines) - 1], '\n');
    log_quote(strv_make(longer, sizeof(longer) - 1), quoted, sizeof(quoted));
    assert_true(strlen(quoted) < sizeof(quoted));
    log_setup(LOG_INFO, LOG_LOGFMT);
    clock_replace(NULL);
}

static void test_clock(void **state)
{
    int64_t before = clock_mono_us();

    (void)state;
    assert_true(clock_mono_us() >= before);
    assert_true(clock_wall_us() > date_to_days(2020, 1, 1) * US_PER_DAY);
    clock_replace(fixed_clock);
    assert_true(clock_wall_us() == fixed_clock() && clock_mono_us() == fixed_clock());
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),        cmocka_unit_test(test_json_bytes),
        cmocka_unit_test(test_json_bounds), cmocka_unit_test(test_dates),
        cmocka_unit_test(test_times),       cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_log),         cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
