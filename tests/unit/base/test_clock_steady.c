/*
 * test_clock_steady.c - the wall clock that does not go back, over clocks of this test's own: the
 * two of the system, which this file stands in for (clock.c is not linked).
 */
#include "tests/unit/unit.h"

#include "base/clock.h"

#define SECOND_US INT64_C(1000000)
#define HOUR_US   (3600 * SECOND_US)
#define MAX_US    (CLOCK_BACK_MAX_S * SECOND_US)

static int64_t mono_us = 5 * HOUR_US, wall_us = 500000 * HOUR_US;

int64_t clock_wall_us(void)
{
    return wall_us;
}

int64_t clock_mono_us(void)
{
    return mono_us;
}

void clock_replace(int64_t (*source)(void))
{
    (void)source;
}

bool clock_is_replaced(void)
{
    return false;
}

static void pass(int64_t us)
{
    mono_us += us;
    wall_us += us;
}

/* How far it is ahead of the wall clock. */
static int64_t ahead(void)
{
    int64_t us = clock_steady_us();

    assert_int_equal(clock_steady_at(mono_us), us);
    return us - wall_us;
}

/* Until the wall clock has come up with it. */
static void come_up(void)
{
    pass(2 * MAX_US);
    assert_int_equal(ahead(), 0);
}

static void it_is_the_wall_clock(void **state)
{
    (void)state;
    assert_int_equal(ahead(), 0);
    for (int i = 0; i < 1000; i++) {
        pass(i * i);
        assert_int_equal(ahead(), 0);
    }
    assert_int_equal(clock_steady_at(mono_us - 77), wall_us - 77);
    wall_us += 400 * 24 * HOUR_US;
    assert_int_equal(ahead(), 0);
}

static void a_small_step_is_none(void **state)
{
    (void)state;
    wall_us -= CLOCK_APART_US;
    assert_int_equal(ahead(), CLOCK_APART_US);
    pass(HOUR_US);
    assert_int_equal(ahead(), CLOCK_APART_US);
    wall_us += 2 * CLOCK_APART_US;
    assert_int_equal(ahead(), -CLOCK_APART_US);
    wall_us++;
    assert_int_equal(ahead(), 0);
}

/* It waits for a clock that was set back, and goes on meanwhile. */
static void set_back_it_goes_on_slowly(void **state)
{
    const int64_t times = HOUR_US / (CLOCK_SLOWER - 1) / SECOND_US * CLOCK_SLOWER;
    int64_t last = clock_steady_us();

    (void)state;
    wall_us -= HOUR_US;
    assert_int_equal(ahead(), HOUR_US);
    for (int64_t i = 1; i <= times; i++) {
        pass(SECOND_US);
        assert_int_equal(clock_steady_us() - last, SECOND_US / CLOCK_SLOWER);
        last = clock_steady_us();
    }
    assert_in_range(ahead(), 0, CLOCK_SLOWER * SECOND_US);
    for (int i = 0; i < 100; i++) { /* microsecond by microsecond it does not go back */
        pass(1);
        assert_in_range(clock_steady_us() - last, 0, 1);
        last = clock_steady_us();
    }
    pass(2 * CLOCK_SLOWER * SECOND_US);
    assert_int_equal(ahead(), 0);
}

static void set_back_twice_and_ahead_again(void **state)
{
    int64_t before = clock_steady_us();

    (void)state;
    wall_us -= HOUR_US;
    assert_int_equal(clock_steady_us(), before);
    wall_us -= HOUR_US / 2;
    assert_int_equal(clock_steady_us(), before);
    wall_us += 3 * HOUR_US;
    assert_int_equal(clock_steady_us(), before + 3 * HOUR_US / 2);
    assert_int_equal(ahead(), 0);
}

/* Far back: the dates of all that comes would be wrong. */
static void set_far_back_it_follows(void **state)
{
    int64_t before;

    (void)state;
    wall_us -= MAX_US;
    assert_int_equal(ahead(), MAX_US);
    come_up();
    wall_us -= MAX_US + 1;
    assert_int_equal(ahead(), 0);
    before = clock_steady_us();
    wall_us -= HOUR_US;
    assert_int_equal(clock_steady_us(), before);
    wall_us -= HOUR_US + CLOCK_APART_US + 1; /* together too far */
    assert_int_equal(ahead(), 0);
}

static void it_goes_on_from_what_was_recorded(void **state)
{
    (void)state;
    clock_steady_from(wall_us - HOUR_US);
    assert_int_equal(ahead(), 0);
    clock_steady_from(wall_us + MAX_US + 1);
    assert_int_equal(ahead(), 0);
    clock_steady_from(wall_us + MAX_US);
    assert_int_equal(ahead(), MAX_US);
    clock_steady_from(wall_us + HOUR_US);
    assert_int_equal(ahead(), MAX_US);
    come_up();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_wall_clock),
        cmocka_unit_test(a_small_step_is_none),
        cmocka_unit_test(set_back_it_goes_on_slowly),
        cmocka_unit_test(set_back_twice_and_ahead_again),
        cmocka_unit_test(set_far_back_it_follows),
        cmocka_unit_test(it_goes_on_from_what_was_recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
