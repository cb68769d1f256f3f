/* When a counter of the memory engine may be forgotten. */
#include "metering/limits/limit_counter.h"

#include "tests/unit/limits/util.h"

static const int64_t DAY_US = INT64_C(86400) * 1000000;

static struct counter *window(int64_t end_us, int64_t now_us, int64_t wall_us)
{
    const struct counter_shape shape = {.kind = COUNTER_WINDOW, .end_us = end_us};
    struct counter *c = counter_new(STRV("k"), 1, &shape, now_us, wall_us);

    counter_spend(c, 7, now_us);
    return c;
}

/* Of a window that ends in a day, kept for one more. */
static void test_a_window_is_over_by_both_clocks(void **state)
{
    struct counter *c = window(5 * DAY_US, 0, 4 * DAY_US);

    (void)state;
    assert_false(counter_is_over(c, DAY_US, 5 * DAY_US));
    assert_false(counter_is_over(c, 2 * DAY_US, 6 * DAY_US));
    assert_true(counter_is_over(c, 2 * DAY_US + 1, 6 * DAY_US + 1));
    assert_false(counter_is_over(c, 1, 400 * DAY_US));      /* set ahead */
    assert_false(counter_is_over(c, 3 * DAY_US, 4 * DAY_US)); /* set back */
    counter_free(c);
}

/* Made when its window was over, for what settles late: a day is enough. */
static void test_a_late_one_is_kept_a_day(void **state)
{
    struct counter *c = window(5 * DAY_US, 9 * DAY_US, 8 * DAY_US);

    (void)state;
    assert_false(counter_is_over(c, 10 * DAY_US, 9 * DAY_US));
    assert_true(counter_is_over(c, 10 * DAY_US + 1, 9 * DAY_US));
    counter_free(c);
}

static void test_a_total_is_never_over(void **state)
{
    struct counter *c = window(INT64_MAX, 0, 0);

    (void)state;
    assert_false(counter_is_over(c, 1000 * DAY_US, 1000 * DAY_US));
    counter_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_window_is_over_by_both_clocks),
        cmocka_unit_test(test_a_late_one_is_kept_a_day),
        cmocka_unit_test(test_a_total_is_never_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
