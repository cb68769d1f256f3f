/* Amounts, factors and meters: text to integers and back, bounds, rounding. */
#include "pricing/money.h"

#include <string.h>

#include "pricing/exact.h"
#include "pricing/meter.h"
#include "tests/unit/unit.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static void decimals_come_back_shortest(void **state)
{
    static const struct {
        const char *text, *back;
    } rows[] = {
        {"0", "0"},
        {"-0", "0"},
        {"+1", "1"},
        {"00012", "12"},
        {"1.500", "1.5"},
        {"0.00042", "0.00042"},
        {"-3.5", "-3.5"},
        {"-12.000000000000000001", "-12.000000000000000001"},
        {"0.000000000000000001", "0.000000000000000001"},
        {"0.0000000000000000010000", "0.000000000000000001"},
        {"10000000000000000000", "10000000000000000000"},
        {"-10000000000000000000", "-10000000000000000000"},
        {"9999999999999999999.999999999999999999", "9999999999999999999.999999999999999999"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct money m, again;
        char text[MONEY_TEXT];

        assert_int_equal(money_parse(strv_z(rows[i].text), &m), RC_OK);
        assert_int_equal(money_format(m, text), strlen(rows[i].back));
        assert_string_equal(text, rows[i].back);
        assert_int_equal(money_parse(strv_z(text), &again), RC_OK);
        assert_int_equal(money_cmp(m, again), 0);
    }
}

static void what_is_no_decimal_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum rc rc;
    } rows[] = {
        {"", RC_BAD},
        {"-", RC_BAD},
        {".", RC_BAD},
        {".5", RC_BAD},
        {"5.", RC_BAD},
        {"1e3", RC_BAD},
        {"1,5", RC_BAD},
        {" 1", RC_BAD},
        {"1 ", RC_BAD},
        {"--1", RC_BAD},
        {"+-1", RC_BAD},
        {"0x1", RC_BAD},
        {"1.2.3", RC_BAD},
        {"nan", RC_BAD},
        {"0.0000000000000000001", RC_BAD}, /* 19 decimals */
        {"10000000000000000000.000000000000000001", RC_LIMIT},
        {"10000000000000000001", RC_LIMIT},
        {"-99999999999999999999999999999999999999999999999999999999", RC_LIMIT},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct money m = {42};

        assert_int_equal(money_parse(strv_z(rows[i].text), &m), rows[i].rc);
        assert_true(m.atto == 42); /* written only where it is good */
    }
}

static struct money atto(int64_t high, uint64_t low)
{
    return (struct money){(money_int)high * ((money_int)1 << 64) + (money_int)low};
}

static void products_say_when_they_do_not_fit(void **state)
{
    struct money out = MONEY_ZERO;

    (void)state;
    assert_int_equal(money_mul((struct money){400000000000}, 10000000, &out), RC_OK);
    assert_true(out.atto == (money_int)4 * NANO_PER_USD * ATTO_PER_NANO);
    assert_int_equal(money_mul((struct money){-7}, 6, &out), RC_OK);
    assert_true(out.atto == -42);
    assert_int_equal(money_mul(atto(INT64_MAX, UINT64_MAX), 1, &out), RC_OK);
    assert_int_equal(money_mul(atto(INT64_MAX, UINT64_MAX), 0, &out), RC_OK);
    assert_true(money_is_zero(out));
    assert_int_equal(money_mul(atto(INT64_MAX, UINT64_MAX), 2, &out), RC_LIMIT);
    assert_int_equal(money_mul(atto(1, 0), UINT64_MAX, &out), RC_LIMIT);
    assert_int_equal(money_mul(atto(0, UINT64_MAX), UINT64_MAX, &out), RC_LIMIT);
    assert_int_equal(money_mul(atto(0, INT64_MAX), UINT64_MAX, &out), RC_OK);
}

static void two_integers_hold_an_amount(void **state)
{
    static const struct {
        const char *text;
        int64_t nano, rest, ceiling;
    } rows[] = {
        {"0", 0, 0, 0},
        {"0.000000001", 1, 0, 1},
        {"0.000000000000000001", 0, 1, 1},
        {"0.000000001000000001", 1, 1, 2},
        {"0.000000001999999999", 1, 999999999, 2},
        {"-0.000000000000000001", -1, 999999999, 0},
        {"-0.000000001", -1, 0, -1},
        {"-0.0000000015", -2, 500000000, -1},
        {"9000000000", 9000000000000000000, 0, 9000000000000000000},
        {"9223372036.854775807", INT64_MAX, 0, INT64_MAX},
        {"9223372036.854775806000000001", INT64_MAX - 1, 1, INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct money m;
        int64_t nano, rest;

        assert_int_equal(money_parse(strv_z(rows[i].text), &m), RC_OK);
        money_split(m, &nano, &rest);
        assert_true(nano == rows[i].nano);
        assert_true(rest == rows[i].rest);
        assert_int_equal(money_cmp(money_join(nano, rest), m), 0);
        assert_true(money_ceil_nano(m) == rows[i].ceiling);
    }
}

static void beyond_two_integers_it_saturates(void **state)
{
    struct money much, little;
    int64_t nano, rest;

    (void)state;
    assert_int_equal(money_parse(STRV("10000000000000000000"), &much), RC_OK);
    assert_int_equal(money_parse(STRV("-10000000000000000000"), &little), RC_OK);
    assert_true(money_ceil_nano(much) == INT64_MAX);
    assert_true(money_ceil_nano(little) == INT64_MIN);
    money_split(much, &nano, &rest);
    assert_true(nano == INT64_MAX && rest == ATTO_PER_NANO - 1);
    money_split(little, &nano, &rest);
    assert_true(nano == INT64_MIN && rest == 0);
    assert_int_equal(money_parse(STRV("9223372036.854775807000000001"), &much), RC_OK);
    assert_true(money_ceil_nano(much) == INT64_MAX);
}

static void factors_are_fractions(void **state)
{
    static const struct {
        const char *text;
        enum rc rc;
        uint64_t num, den;
    } rows[] = {
        {"1", RC_OK, 1, 1},
        {"0", RC_OK, 0, 1},
        {"0.5", RC_OK, 1, 2},
        {".93", RC_OK, 93, 100},
        {"0.930", RC_OK, 93, 100},
        {"1.1", RC_OK, 11, 10},
        {"1000", RC_OK, 1000, 1},
        {"0.123456789", RC_OK, 123456789, 1000000000},
        {"0.1234567891", RC_BAD, 0, 0},
        {"1000.1", RC_LIMIT, 0, 0},
        {"18446744073709551617", RC_LIMIT, 0, 0},
        {"", RC_BAD, 0, 0},
        {".", RC_BAD, 0, 0},
        {"1.", RC_BAD, 0, 0},
        {"-1", RC_BAD, 0, 0},
        {"7%", RC_BAD, 0, 0},
        {"1e1", RC_BAD, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct factor f = {0, 0};

        assert_int_equal(factor_parse(strv_z(rows[i].text), &f), rows[i].rc);
        assert_true(f.num == rows[i].num && f.den == rows[i].den);
    }
}

static void factors_apply_exactly_or_not_at_all(void **state)
{
    struct factor f = {0, 0};
    money_int out = 0;

    (void)state;
    assert_true(factor_mul((struct factor){1, 2}, (struct factor){11, 10}, &f));
    assert_true(f.num == 11 && f.den == 20);
    assert_true(factor_mul((struct factor){0, 1}, (struct factor){11, 10}, &f));
    assert_true(f.num == 0);
    assert_false(factor_mul((struct factor){1, UINT64_MAX}, (struct factor){1, 3}, &f));
    assert_true(factor_apply(20, (struct factor){11, 20}, &out));
    assert_true(out == 11);
    assert_false(factor_apply(21, (struct factor){11, 20}, &out));
    assert_true(factor_apply(0, (struct factor){11, 20}, &out));
    assert_true(out == 0);
    assert_false(factor_apply(atto(INT64_MAX, UINT64_MAX).atto, (struct factor){2, 1}, &out));
}

static void halves_go_to_even(void **state)
{
    static const struct {
        unsigned a, b, want;
        bool inexact;
    } rows[] = {
        {0, 2, 0, false}, {1, 2, 0, true}, {2, 2, 1, false}, {3, 2, 2, true},  {5, 2, 2, true},
        {7, 2, 4, true},  {1, 3, 0, true}, {2, 3, 1, true},  {9, 1, 9, false},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        bool inexact;

        assert_true(exact_div_round(rows[i].a, rows[i].b, &inexact) == rows[i].want);
        assert_int_equal(inexact, rows[i].inexact);
    }
}

static void meters_have_names(void **state)
{
    enum meter m;
    unsigned times = 0;

    (void)state;
    for (unsigned i = 0; i < METER_COUNT; i++) {
        assert_true(meter_parse(strv_z(meter_name((enum meter)i)), &m));
        assert_int_equal(m, i);
        times += meter_is_time((enum meter)i);
        assert_int_equal(meter_is_time((enum meter)i),
                         strv_ends(strv_z(meter_name((enum meter)i)), STRV("_sec")));
    }
    assert_int_equal(times, 5);
    assert_false(meter_parse(STRV("inn"), &m));
    assert_false(meter_parse(STRV(""), &m));
    assert_false(meter_parse(STRV("IN"), &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimals_come_back_shortest),
        cmocka_unit_test(what_is_no_decimal_is_refused),
        cmocka_unit_test(products_say_when_they_do_not_fit),
        cmocka_unit_test(two_integers_hold_an_amount),
        cmocka_unit_test(beyond_two_integers_it_saturates),
        cmocka_unit_test(factors_are_fractions),
        cmocka_unit_test(factors_apply_exactly_or_not_at_all),
        cmocka_unit_test(halves_go_to_even),
        cmocka_unit_test(meters_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
