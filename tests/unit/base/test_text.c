#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strv.h"
#include "base/tag.h"
#include "base/utf8.h"
#include "base/xalloc.h"

/* ---- strv ------------------------------------------------------------------------- */

/* Of every length: all of it, and nothing beside it; and no byte may differ but by its case. */
static void test_copies_and_comparisons(void **state)
{
    enum { LONGEST = 2 * STRV_SHORT_BYTES + 9, BESIDE = 16 };
    char from[LONGEST], to[LONGEST + BESIDE];

    (void)state;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (char)(i * 31 + 7);
    for (size_t n = 0; n <= LONGEST; n++) {
        memset(to, '#', sizeof(to));
        assert_ptr_equal(strv_copy(to, strv_make(from, n)), to + n);
        assert_memory_equal(to, from, n);
        for (size_t i = n; i < n + BESIDE; i++)
            assert_int_equal(to[i], '#');
        for (size_t i = 0; i < n; i++) {
            bool is_letter = (from[i] >= 'a' && from[i] <= 'z') || (from[i] >= 'A' && from[i] <= 'Z');

            assert_true(strv_same_nocase(to, from, n));
            to[i] ^= 1;
            assert_false(strv_same_nocase(to, from, n));
            to[i] ^= 1 ^ 0x20;
            assert_true(strv_same_nocase(to, from, n) == is_letter);
            to[i] ^= 0x20;
        }
    }
}

static void test_views(void **state)
{
    struct strv rest, part;

    (void)state;
    assert_int_equal(strv_z(NULL).n, 0);
    assert_true(strv_eq(STRV_NONE, STRV("")));
    assert_true(strv_eq_nocase(STRV("Content-LENGTH"), STRV("content-length")));
    assert_false(strv_eq_nocase(STRV("a"), STRV("ab")));
    assert_false(strv_eq_nocase(STRV("[`"), STRV("{@"))); /* 32 apart, and no letters */
    assert_true(strv_starts(STRV("abc"), STRV("")));
    assert_true(strv_starts(STRV("abc"), STRV("abc")));
    assert_false(strv_starts(STRV("ab"), STRV("abc")));
    assert_true(strv_starts_nocase(STRV("ABc"), STRV("ab")));
    assert_true(strv_ends(STRV("abc"), STRV("bc")));
    assert_false(strv_ends(STRV("c"), STRV("bc")));
    assert_true(strv_eq(strv_skip(STRV("abc"), 2), STRV("c")));
    assert_int_equal(strv_skip(STRV("abc"), 3).n, 0);
    assert_int_equal(strv_skip(STRV("abc"), 99).n, 0);
    assert_true(strv_eq(strv_head(STRV("abc"), 2), STRV("ab")));
    assert_true(strv_eq(strv_head(STRV("abc"), 99), STRV("abc")));
    assert_int_equal(strv_find(STRV("abc"), 'c'), 2);
    assert_int_equal(strv_find(STRV("abc"), 'x'), 3);
    assert_int_equal(strv_find(STRV_NONE, 'x'), 0);
    assert_true(strv_eq(strv_trim(STRV(" \t a b\t ")), STRV("a b")));
    assert_int_equal(strv_trim(STRV(" \t ")).n, 0);
    assert_true(strv_eq(strv_trim(STRV("\na\r")), STRV("\na\r")));

    rest = STRV("a,,b,");
    assert_true(strv_split(&rest, ',', &part) && strv_eq(part, STRV("a")));
    assert_true(strv_split(&rest, ',', &part) && part.n == 0);
    assert_true(strv_split(&rest, ',', &part) && strv_eq(part, STRV("b")));
    assert_true(strv_split(&rest, ',', &part) && part.n == 0);
    assert_false(strv_split(&rest, ',', &part));
    rest = STRV_NONE;
    assert_false(strv_split(&rest, ',', &part));

    assert_true(strv_cmp(STRV("a"), STRV("b")) < 0);
    assert_true(strv_cmp(STRV("ab"), STRV("a")) > 0);
    assert_int_equal(strv_cmp(STRV("ab"), STRV("ab")), 0);
    assert_int_equal(strv_cmp(STRV_NONE, STRV("")), 0);
    assert_true(strv_cmp(STRV("\x7f"), STRV("\x80")) < 0); /* bytes, not signed characters */
    assert_true(strv_hash(STRV("")) == UINT64_C(0xcbf29ce484222325)); /* FNV's offset basis */
    assert_true(strv_hash(STRV("foobar")) ==
                UINT64_C(0x85944171f73967e8)); /* FNV's test suite */
}

static bool is_letter(unsigned c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Every pair of bytes, at every place of names that end inside, at and behind a word. */
static void test_case(void **state)
{
    enum { LONGEST = 19 };
    char a[LONGEST], b[LONGEST];

    (void)state;
    for (size_t n = 1; n <= LONGEST; n++) {
        for (size_t at = 0; at < n; at++) {
            memset(a, 'x', n);
            memset(b, 'X', n);
            for (unsigned i = 0; i<256 * 256; i += n> 8 ? 7 : 1) {
                unsigned x = i >> 8, y = i & 255;
                bool same = x == y || ((x ^ y) == 0x20 && is_letter(x));

                a[at] = (char)x;
                b[at] = (char)y;
                if (strv_eq_nocase(strv_make(a, n), strv_make(b, n)) != same)
                    fail_msg("%#x and %#x at %zu of %zu", x, y, at, n);
            }
        }
    }
}

static void test_ascii(void **state)
{
    enum { LONGEST = 35 };
    char text[LONGEST];

    (void)state;
    for (size_t n = 0; n <= LONGEST; n++) {
        memset(text, 'x', sizeof(text));
        assert_int_equal(strv_ascii_run(strv_make(text, n)), n);
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_int_equal(strv_ascii_run(strv_make(text, n)),
                                 c >= 0x20 && c < 0x7f ? n : at);
            }
            text[at] = 'x';
        }
    }
}

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max, value;
        bool good;
    } cases[] = {
        {"0", 0, 0, true},
        {"007", 10, 7, true},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, true},
        {"18446744073709551616", UINT64_MAX, 0, false},
        {"99999999999999999999", UINT64_MAX, 0, false},
        {"11", 10, 0, false},
        {"10", 10, 10, true},
        {"", 10, 0, false},
        {"+1", 10, 0, false},
        {"-1", 10, 0, false},
        {" 1", 10, 0, false},
        {"1 ", 10, 0, false},
        {"0x1", 10, 0, false},
        {"1.0", 10, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t value = 77;

        if (strv_parse_u64(strv_z(cases[i].text), cases[i].max, &value) != cases[i].good)
            fail_msg("\"%s\"", cases[i].text);
        assert_true(value == (cases[i].good ? cases[i].value : 77));
    }
}

static void test_numbers_written(void **state)
{
    enum { POWERS = 20 };
    uint64_t numbers[3 * POWERS + 2], power = 1;

    (void)state;
    for (size_t i = 0; i < POWERS; i++, power *= 10) {
        numbers[3 * i] = power - 1;
        numbers[3 * i + 1] = power;
        numbers[3 * i + 2] = power + 1;
    }
    numbers[3 * POWERS] = UINT64_MAX - 1;
    numbers[3 * POWERS + 1] = UINT64_MAX;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[STRV_U64_BYTES], expected[32];
        size_t n = (size_t)(strv_put_u64(text, numbers[i]) - text);

        assert_int_equal(snprintf(expected, sizeof(expected), "%" PRIu64, numbers[i]), n);
        assert_memory_equal(text, expected, n);
    }
}

static void test_globs(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"a*", "abc", true},
        {"a*", "bac", false},
        {"*c", "abc", true},
        {"*c", "abcd", false},
        {"a*c", "abbbc", true},
        {"a*c", "ac", true},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"?", "", false},
        {"**a**", "xay", true},
        {"*a*b*", "xxaxxbxx", true},
        {"*a*b*", "xxbxxa", false},
        {"gpt-4o*", "gpt-4o-mini", true},
        {"gpt-4o*", "GPT-4o", false},
        {"a.c", "abc", false},
        {"*ab", "aab", true},
        {"*aab", "aaaab", true},
    };
    static char text[20001], pattern[2001];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strv_glob(strv_z(cases[i].pattern), strv_z(cases[i].text)) != cases[i].matches)
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
    }
    /* what makes a backtracking matcher exponential ends at once */
    memset(text, 'a', sizeof(text) - 1);
    for (size_t i = 0; i < sizeof(pattern) - 1; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof(pattern) - 2] = 'b';
    assert_false(strv_glob(strv_z(pattern), strv_z(text)));
}

/* ---- UTF-8 -------------------------------------------------------------------------- */

/* RFC 3629's definition, the slow way: encode every code point and compare. */
static size_t encode(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 63));
        out[2] = (char)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 63));
    out[2] = (char)(0x80 | (point >> 6 & 63));
    out[3] = (char)(0x80 | (point & 63));
    return 4;
}

static void test_utf8(void **state)
{
    static const char *const broken[] = {
        "\x80",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2\x41",
        "\xe2\x28\xa1",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
    };

    (void)state;
    for (uint32_t point = 0; point <= 0x110000 + 1000; point++) {
        char text[4];
        size_t n = encode(point, text);
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        bool control = point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 ||
                       point == 0x2029;
        size_t expected = surrogate || point > 0x10ffff ? 0 : n;

        if (utf8_sequence(strv_make(text, n)) != expected)
            fail_msg("U+%04X", point);
        if (n > 1 && utf8_sequence(strv_make(text, n - 1)) != 0)
            fail_msg("U+%04X cut short", point);
        if (utf8_is_text(strv_make(text, n)) != (expected > 0))
            fail_msg("U+%04X text", point);
        if (utf8_is_printable(strv_make(text, n)) != (expected > 0 && !control))
            fail_msg("U+%04X printable", point);
    }
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        assert_int_equal(utf8_sequence(strv_z(broken[i])), 0);
    assert_true(utf8_is_printable(STRV_NONE));
    assert_true(utf8_is_text(STRV_NONE));
    for (size_t at = 0; at < 19; at++) { /* wherever it stands among eights of ASCII */
        char text[20] = "0123456789abcdefghi";

        assert_true(utf8_is_text(strv_make(text, 19)));
        text[at] = (char)0x80;
        assert_false(utf8_is_text(strv_make(text, 19)));
    }
    assert_true(utf8_is_text(STRV("1234567\xc3\xa9 12345678\xf0\x9f\x98\x80")));
    assert_false(utf8_is_text(STRV("1234567\xc3")));
    assert_false(utf8_is_printable(STRV("a\xff")));
}

/* ---- tags ----------------------------------------------------------------------------- */

static void test_tag_names(void **state)
{
    char text[TAG_VALUE_MAX_BYTES + 1];
    enum dimension d;

    (void)state;
    for (int i = 0; i < DIM_COUNT; i++) {
        assert_true(dimension_parse(strv_z(dimension_name((enum dimension)i)), &d));
        assert_int_equal(d, i);
        assert_true(tag_name_is_valid(strv_z(dimension_name((enum dimension)i))));
    }
    assert_false(dimension_parse(STRV("Team"), &d));
    assert_false(dimension_parse(STRV_NONE, &d));
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool valid = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                     c == '-';

        assert_int_equal(tag_name_is_valid(strv_make(&byte, 1)), valid);
    }
    memset(text, 'a', sizeof(text));
    assert_false(tag_name_is_valid(STRV_NONE));
    assert_true(tag_name_is_valid(strv_make(text, TAG_NAME_MAX_BYTES)));
    assert_false(tag_name_is_valid(strv_make(text, TAG_NAME_MAX_BYTES + 1)));
    assert_false(tag_value_is_valid(STRV_NONE));
    assert_true(tag_value_is_valid(strv_make(text, TAG_VALUE_MAX_BYTES)));
    assert_false(tag_value_is_valid(strv_make(text, TAG_VALUE_MAX_BYTES + 1)));
    assert_false(tag_value_is_valid(STRV("a\nb")));
    assert_string_equal(tag_source_name(TAG_SOURCE_NONE), "none");
    assert_string_equal(tag_source_name(TAG_SOURCE_KEY), "key");
    assert_string_equal(tag_source_name(TAG_SOURCE_HEADER), "header");
    assert_string_equal(tag_source_name(TAG_SOURCE_DEFAULT), "default");
}

static void test_subjects(void **state)
{
    struct subject s = {.n_free = 1}, copy;

    (void)state;
    s.dim[DIM_MODEL] = STRV("m");
    s.free[0] = (struct tag){STRV("zone"), STRV("eu")};
    assert_true(strv_eq(subject_value(&s, STRV("model")), STRV("m")));
    assert_true(strv_eq(subject_value(&s, STRV("zone")), STRV("eu")));
    assert_int_equal(subject_value(&s, STRV("team")).n, 0);
    assert_int_equal(subject_value(&s, STRV("other")).n, 0);
    memset(&copy, '#', sizeof(copy));
    subject_copy(&copy, &s);
    assert_int_equal(copy.n_free, 1);
    assert_true(strv_eq(subject_value(&copy, STRV("model")), STRV("m")));
    assert_true(strv_eq(subject_value(&copy, STRV("zone")), STRV("eu")));
    assert_int_equal(subject_value(&copy, STRV("team")).n, 0);
}

/* Each byte of texts of each length makes a difference, and none beside them. */
static void test_same(void **state)
{
    enum { LONGEST = 70 };

    (void)state;
    for (size_t n = 0; n <= LONGEST; n++) {
        char *a = xmalloc(n + 1), *b = xmalloc(n + 1); /* of exact size, behind one byte */

        memset(a, 'x', n + 1);
        memset(b, 'x', n + 1);
        a[0] = 'y';
        assert_true(strv_same(a + 1, b + 1, n));
        for (size_t at = 0; at < n; at++) {
            a[1 + at] = 'X';
            assert_false(strv_same(a + 1, b + 1, n));
            a[1 + at] = 'x';
        }
        free(a);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_and_comparisons),
        cmocka_unit_test(test_views),     cmocka_unit_test(test_case),
        cmocka_unit_test(test_ascii),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_numbers_written),
        cmocka_unit_test(test_globs),     cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_tag_names), cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
