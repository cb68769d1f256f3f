#include "metering/usage/jscan.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/unit/unit.h"

enum node { N_SKIP, N_ROOT, N_NAME, N_LIST, N_DEEP, N_TEXT, N_REST, N_COUNT };

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("name", N_NAME), JSCAN_EDGE("list", N_LIST),  JSCAN_EDGE("deep", N_DEEP),
    JSCAN_EDGE("text", N_TEXT), JSCAN_EDGE("tasks", N_SKIP),
};
static const struct jscan_edge DEEP_EDGES[] = {JSCAN_EDGE("name", N_NAME)};
static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_FOLD | JSCAN_ENTER},
    [N_NAME] = {.flags = JSCAN_WANT},
    [N_LIST] = {.item = N_LIST, .flags = JSCAN_WANT | JSCAN_ENTER},
    [N_DEEP] = {JSCAN_EDGES(DEEP_EDGES), N_REST, 0, 0},
    [N_TEXT] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_COUNT},
    [N_REST] = {.flags = JSCAN_WANT},
};

/* What was told, as text: "name=..." and brackets. */
struct told {
    char text[4096];
    size_t n;
};

static void on_event(void *arg, const struct jscan_event *e)
{
    static const char *const NAMES[] = {"skip", "root", "name", "list", "deep", "text", "rest"};
    struct told *t = arg;
    int n = 0;

    if (e->what == JSCAN_AT_VALUE)
        n = snprintf(t->text + t->n, sizeof(t->text) - t->n, "%s:%d:" STRV_FMT "%s@%ju-%ju ",
                     NAMES[e->node], (int)e->type, STRV_ARG(e->text), e->cut ? "..." : "",
                     (uintmax_t)e->begin, (uintmax_t)e->end);
    else
        n = snprintf(t->text + t->n, sizeof(t->text) - t->n, "%s%s%ju ", NAMES[e->node],
                     e->what == JSCAN_AT_ENTER ? "<" : ">",
                     (uintmax_t)(e->what == JSCAN_AT_ENTER ? e->begin : e->end));
    ASSERT(n >= 0);
    t->n += (size_t)n < sizeof(t->text) - t->n ? (size_t)n : 0;
}

static enum rc scan(const char *json, size_t n, bool loose, size_t step, struct told *t,
                    struct jscan *s)
{
    t->n = 0;
    t->text[0] = '\0';
    jscan_start(s, NODES, N_ROOT, loose, on_event, t);
    for (size_t at = 0; at < n; at += step) {
        if (jscan_feed(s, strv_head(strv_make(json + at, n - at), step)) != RC_OK)
            break;
    }
    return jscan_finish(s);
}

static void test_tells_what_was_asked(void **state)
{
    static const struct {
        const char *json, *told;
    } CASES[] = {
        {"{\"name\":\"a\",\"x\":[1,{\"name\":2}],\"deep\":{\"name\":12,\"y\":null}}",
         "root<0 name:2:a@8-11 name:3:12@46-48 rest:6:null@53-57 root>59 "},
        {"{\"list\":[1,[true]]}",
         "root<0 list<8 list:3:1@9-10 list<11 list:4:true@12-16 list>17 list>18 root>19 "},
        {" { } ", "root<1 root>4 "},
        {"{\"n\\u0061me\":\"\\\"\\u00e9\"}", "root<0 name:2:\\\"\\u00e9@13-23 root>24 "},
        {"{\"name\":-0.5e+1,\"name\":\"\"}",
         "root<0 name:3:-0.5e+1@8-15 name:2:@23-25 root>26 "},
        {"{\"nam\":1,\"names\":2,\"\":3}", "root<0 root>24 "},
    };
    struct told t;
    struct jscan s;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        size_t n = strlen(CASES[i].json);

        for (size_t step = 1; step <= n; step++) {
            assert_int_equal(scan(CASES[i].json, n, step % 2, step, &t, &s), RC_OK);
            assert_string_equal(t.text, CASES[i].told);
        }
    }
}

static void test_rejects_what_is_not_json(void **state)
{
    static const char *const BAD[] = {
        "",
        " ",
        "{",
        "[",
        "]",
        "}",
        "{]",
        "[}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "[,1]",
        "{a:1}",
        "{'a':1}",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[1e]",
        "[1e+]",
        "[-]",
        "[--1]",
        "[0x1]",
        "[tru]",
        "[truee]",
        "[nul",
        "[True]",
        "[NaN]",
        "[\"\\x\"]",
        "[\"\\u12g4\"]",
        "[\"\n\"]",
        "[\"\t\"]",
        "[\"abc",
        "[1 2]",
        "[1]]",
        "{} {}",
        "1 2",
        "[1][",
        "{\"a\" 1}",
        "{\"a\"::1}",
        "{1:2}",
        "[1,,2]",
        "//c\n1",
        "[1/**/]",
        "\xef\xbb\xbf{}",
    };
    static const char *const GOOD[] = {
        "0",
        "-0",
        "1.5E-3",
        "\"\"",
        "null",
        "[]",
        "{}",
        "[[],{}]",
        "[\"\\ud800\"]",
        " \r\n\t1 ",
        "[1 , 2]",
        "{\"a\" : [true , false]}",
        "[1e400]",
        "[\"\x7f\xff\"]",
    };
    struct told t;
    struct jscan s;

    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        for (size_t step = 1; step <= 3; step++) {
            if (scan(BAD[i], strlen(BAD[i]), false, step, &t, &s) != RC_BAD) {
                print_error("accepted: %s\n", BAD[i]);
                fail();
            }
        }
    }
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        for (size_t step = 1; step <= 3; step++)
            assert_int_equal(scan(GOOD[i], strlen(GOOD[i]), false, step, &t, &s), RC_OK);
    }
}

/* Loose: skipped parts are only bracketed; what is wanted is as strict as ever. */
static void test_loose_skips(void **state)
{
    static const struct {
        const char *json;
        enum rc rc;
    } CASES[] = {
        {"{\"x\":[1,garbage,{\"a\"}],\"name\":1}", RC_OK},
        {"{\"x\":{\"]\":[\"}\\\"]\"]},\"name\":1}", RC_OK},
        {"{\"x\":[}],\"name\":1}", RC_BAD},
        {"{\"x\":[[[]],\"name\":1}", RC_BAD},
        {"{\"name\":garbage}", RC_BAD},
    };
    struct told t;
    struct jscan s;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        for (size_t step = 1; step < 40; step++) {
            assert_int_equal(scan(CASES[i].json, strlen(CASES[i].json), true, step, &t, &s),
                             CASES[i].rc);
            if (CASES[i].rc == RC_OK)
                assert_non_null(strstr(t.text, "name:3:1"));
        }
    }
}

static void test_depth_is_bounded(void **state)
{
    char json[2 * JSCAN_DEPTH_MAX + 2];
    struct told t;
    struct jscan s;

    (void)state;
    for (int loose = 0; loose < 2; loose++) {
        memset(json, '[', JSCAN_DEPTH_MAX);
        memset(json + JSCAN_DEPTH_MAX, ']', JSCAN_DEPTH_MAX);
        assert_int_equal(scan(json, (size_t)2 * JSCAN_DEPTH_MAX, loose, 1000, &t, &s), RC_OK);
        memset(json, '[', JSCAN_DEPTH_MAX + 1);
        memset(json + JSCAN_DEPTH_MAX + 1, ']', JSCAN_DEPTH_MAX + 1);
        assert_int_equal(scan(json, sizeof(json), loose, 1000, &t, &s), RC_LIMIT);
    }
}

static void test_long_texts_are_cut(void **state)
{
    char json[2 * JSCAN_TEXT_MAX];
    struct told t;
    struct jscan s;
    int n;

    (void)state;
    n = snprintf(json, sizeof(json), "{\"name\":\"%0*d\"}", JSCAN_TEXT_MAX, 0);
    for (size_t step = 1; step < 2000; step += 97) {
        assert_int_equal(scan(json, (size_t)n, false, step, &t, &s), RC_OK);
        assert_null(strstr(t.text, "..."));
    }
    n = snprintf(json, sizeof(json), "{\"name\":\"%0*d\"}", JSCAN_TEXT_MAX + 1, 0);
    for (size_t step = 1; step < 2000; step += 97) {
        assert_int_equal(scan(json, (size_t)n, false, step, &t, &s), RC_OK);
        assert_non_null(strstr(t.text, "..."));
    }
    n = snprintf(json, sizeof(json), "{\"name\":1%0*d}", JSCAN_TEXT_MAX, 0);
    for (size_t step = 1; step < 2000; step += 97)
        assert_int_equal(scan(json, (size_t)n, false, step, &t, &s), RC_BAD);
}

static void test_counts_decoded_bytes(void **state)
{
    static const struct {
        const char *json;
        uint64_t bytes;
    } CASES[] = {
        {"{\"text\":\"abc\",\"other\":\"def\"}", 3},
        {"{\"text\":[\"a\",{\"k\":\"bc\"},[\"d\",1,null]]}", 4},
        {"{\"text\":\"\\n\\\"\\\\\"}", 3},
        {"{\"text\":\"\\u0041\\u00e9\\u4e2d\\ud83d\\ude00\"}", 1 + 2 + 3 + 4},
    };
    struct told t;
    struct jscan s;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        for (size_t step = 1; step < 50; step++) {
            assert_int_equal(scan(CASES[i].json, strlen(CASES[i].json), true, step, &t, &s),
                             RC_OK);
            assert_int_equal(s.counted_bytes, CASES[i].bytes);
            assert_int_equal(jscan_counted(&s), CASES[i].bytes);
        }
    }
    assert_int_equal(scan("{\"text\":\"abc\\", 13, true, 4, &t, &s), RC_BAD);
    assert_int_equal(jscan_counted(&s), 4); /* still open: the escape's first byte counts */
}

/* Runs of bytes are read by the word, by 16 and by 64: whatever ends one is seen at every place. */
static void test_long_texts_end_where_they_end(void **state)
{
    enum { MOST = 700 };
    static const char before[] = "{\"text\":\"";
    char json[sizeof(before) + MOST + 8];
    struct told t;
    struct jscan s;

    (void)state;
    for (size_t n = 0; n < MOST; n++) {
        size_t at = sizeof(before) - 1 + n, end;

        memcpy(json, before, sizeof(before) - 1);
        memset(json + sizeof(before) - 1, n % 2 ? 'x' : '\xe4', MOST);
        end = at + (size_t)snprintf(json + at, sizeof(json) - at, "\"}");
        assert_int_equal(scan(json, end, false, end, &t, &s), RC_OK);
        assert_int_equal(s.counted_bytes, n);
        end = at + (size_t)snprintf(json + at, sizeof(json) - at, "\\n!\"}");
        assert_int_equal(scan(json, end, true, end, &t, &s), RC_OK);
        assert_int_equal(s.counted_bytes, n + 2);
        end = at + (size_t)snprintf(json + at, sizeof(json) - at, "\x1f\"}");
        assert_int_equal(scan(json, end, false, end, &t, &s), RC_BAD);
        end = at + (size_t)snprintf(json + at, sizeof(json) - at, " ~\x7f\"}");
        assert_int_equal(scan(json, end, true, end, &t, &s), RC_OK);
        assert_int_equal(s.counted_bytes, n + 3);
        /* Of what nobody wants only where it ends is looked at. */
        memcpy(json, "[[\"_____", sizeof(before) - 1);
        end = at + (size_t)snprintf(json + at, sizeof(json) - at, "\x1f\"]]");
        assert_int_equal(scan(json, end, true, end, &t, &s), RC_OK);
    }
}

static void test_names_in_other_case_are_noticed(void **state)
{
    static const struct {
        const char *json;
        bool folded;
    } CASES[] = {
        {"{\"name\":1}", false},
        {"{\"Name\":1}", true},
        {"{\"\\u004eAME\":1}", true},
        {"{\"ta\xc5\xbfks\":1}", true},
        {"{\"tas\xe2\x84\xaas\":1}", true},
        {"{\"namf\":1}", false},
        {"{\"x\":{\"NAME\":1}}", false},
    };
    struct told t;
    struct jscan s;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(scan(CASES[i].json, strlen(CASES[i].json), false, 1, &t, &s), RC_OK);
        assert_int_equal(s.folded, CASES[i].folded);
    }
}

static void test_counts(void **state)
{
    static const struct {
        const char *text;
        enum jscan_number kind;
        uint64_t n;
    } CASES[] = {
        {"0", JSCAN_COUNT_OK, 0},
        {"-0", JSCAN_COUNT_OK, 0},
        {"0.000e9", JSCAN_COUNT_OK, 0},
        {"17", JSCAN_COUNT_OK, 17},
        {"17.0", JSCAN_COUNT_OK, 17},
        {"1.7e1", JSCAN_COUNT_OK, 17},
        {"1700e-2", JSCAN_COUNT_OK, 17},
        {"0.0000000000000000000000017e25", JSCAN_COUNT_OK, 17},
        {"9007199254740992", JSCAN_COUNT_OK, UINT64_C(1) << 53},
        {"9007199254740993", JSCAN_COUNT_HUGE, 0},
        {"1e99999999999", JSCAN_COUNT_HUGE, 0},
        {"123456789012345678901234567890", JSCAN_COUNT_HUGE, 0},
        {"-1", JSCAN_COUNT_NEGATIVE, 0},
        {"-0.5", JSCAN_COUNT_NEGATIVE, 0},
        {"1.5", JSCAN_COUNT_FRACTION, 0},
        {"1e-99999999999", JSCAN_COUNT_FRACTION, 0},
        {"17.00000000000000000000000001", JSCAN_COUNT_FRACTION, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        uint64_t n = 0;

        if (jscan_count(strv_z(CASES[i].text), &n) != CASES[i].kind || n != CASES[i].n) {
            print_error("%s reads as %ju\n", CASES[i].text, (uintmax_t)n);
            fail();
        }
    }
}

static void test_unescape(void **state)
{
    static const struct {
        const char *text, *decoded; /* NULL: broken */
    } CASES[] = {
        {"plain", "plain"},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"\\u0041\\u00e9\\u4E2d", "A\xc3\xa9\xe4\xb8\xad"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"\\ud83dx", "\xef\xbf\xbdx"},
        {"\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\\x", NULL},
        {"\\", NULL},
        {"\\u12", NULL},
    };
    char out[32];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        bool good = jscan_unescape(strv_z(CASES[i].text), out, sizeof(out), &n);

        assert_int_equal(good, CASES[i].decoded != NULL);
        if (good)
            assert_true(strv_eq(strv_make(out, n), strv_z(CASES[i].decoded)));
    }
    assert_true(jscan_unescape(STRV("ab"), out, 2, &n));
    assert_false(jscan_unescape(STRV("abc"), out, 2, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_what_was_asked),
        cmocka_unit_test(test_rejects_what_is_not_json),
        cmocka_unit_test(test_loose_skips),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_counts_decoded_bytes),
        cmocka_unit_test(test_long_texts_end_where_they_end),
        cmocka_unit_test(test_names_in_other_case_are_noticed),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_unescape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
