/*
 * Sums of costs: amounts are exact whatever the lines, and lines of one rate are one.
 */
#include "tests/unit/unit.h"

#include "pricing/price.h"

static struct cost one(enum meter meter, uint64_t quantity, int64_t rate)
{
    struct cost c;

    cost_clear(&c);
    c.status = PRICE_OK;
    c.match = MATCH_EXACT;
    c.price_id = STRV("p");
    c.n_lines = 1;
    c.lines[0] = (struct cost_line){.meter = meter,
                                    .quantity = quantity,
                                    .rate = {rate},
                                    .amount = {rate * (int64_t)quantity}};
    c.contracted = c.list = c.lines[0].amount;
    return c;
}

static void check_sum(const struct cost *c)
{
    struct money sum = MONEY_ZERO;

    for (size_t i = 0; i < c->n_lines; i++)
        sum = money_add(sum, c->lines[i].amount);
    assert_int_equal(money_cmp(sum, c->contracted), 0);
}

static void test_lines_of_one_rate_are_one(void **state)
{
    struct cost sum, part;

    (void)state;
    cost_clear(&sum);
    part = one(METER_IN, 10, 3);
    cost_add(&sum, &part);
    cost_add(&sum, &part);
    assert_int_equal(sum.n_lines, 1);
    assert_int_equal(sum.lines[0].quantity, 20);
    part = one(METER_IN, 10, 4);
    cost_add(&sum, &part);
    part = one(METER_OUT, 1, 3);
    cost_add(&sum, &part);
    assert_int_equal(sum.n_lines, 3);
    assert_int_equal((int64_t)sum.contracted.atto, 60 + 40 + 3);
    assert_int_equal(sum.status, PRICE_OK);
    check_sum(&sum);
}

static void test_what_has_no_price_makes_the_whole_partial(void **state)
{
    const struct cost priced = one(METER_IN, 1, 1);
    struct cost sum, none;

    (void)state;
    cost_clear(&none);
    for (int first = 0; first < 2; first++) { /* whichever of them comes first */
        cost_clear(&sum);
        cost_add(&sum, first ? &none : &priced);
        cost_add(&sum, first ? &priced : &none);
        assert_int_equal(sum.status, PRICE_PARTIAL);
        assert_int_equal(sum.n_lines, 1);
        check_sum(&sum);
    }
}

/* More rates than lines: amounts still add up. */
static void test_lines_are_bounded(void **state)
{
    struct cost sum, part;
    int64_t want = 0;

    (void)state;
    cost_clear(&sum);
    for (int i = 1; i <= 3 * METER_COUNT; i++) {
        part = one(i % 2 ? METER_IN : METER_OUT, 1, i);
        cost_add(&sum, &part);
        want += i;
    }
    assert_int_equal(sum.n_lines, METER_COUNT);
    assert_int_equal((int64_t)sum.contracted.atto, want);
    check_sum(&sum);
}

/* A sum that no amount holds is not wrapped, and says so. */
static void test_what_is_too_large_is_left_out(void **state)
{
    const money_int most = ((money_int)INT64_MAX << 64) + (money_int)UINT64_MAX;
    struct cost sum, part = one(METER_IN, UINT64_MAX, 1);

    (void)state;
    part.contracted.atto = part.list.atto = part.lines[0].amount.atto = most;
    cost_clear(&sum);
    cost_add(&sum, &part);
    assert_int_equal(sum.status, PRICE_OK);
    cost_add(&sum, &part);
    assert_int_equal(sum.status, PRICE_PARTIAL);
    assert_true(sum.flags & PRICE_FLAG_TOO_LARGE);
    assert_true(sum.contracted.atto == most && sum.list.atto == most);
    check_sum(&sum);
    part = one(METER_IN, 1, 0);
    cost_add(&sum, &part);
    assert_true(sum.lines[0].quantity == UINT64_MAX);
    check_sum(&sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_one_rate_are_one),
        cmocka_unit_test(test_what_has_no_price_makes_the_whole_partial),
        cmocka_unit_test(test_lines_are_bounded),
        cmocka_unit_test(test_what_is_too_large_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
