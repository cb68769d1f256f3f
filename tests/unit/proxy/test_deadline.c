/*
 * test_deadline.c - deadlines fire when they have come, and moving one costs no timer.
 */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "proxy/deadline.h"

static int fired;

static void on_passed(void *arg)
{
    (void)arg;
    fired++;
}

static void run_ms(struct event_base *base, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_base_loopexit(base, &tv);
    event_base_loop(base, 0);
}

static void test_fires_once(void **state)
{
    struct event_base *base = event_base_new();
    struct deadline d;

    (void)state;
    fired = 0;
    deadline_init(&d, base, on_passed, NULL);
    deadline_set(&d, clock_mono_us(), 10);
    run_ms(base, 60);
    assert_int_equal(fired, 1);
    run_ms(base, 30);
    assert_int_equal(fired, 1);
    deadline_fini(&d);
    event_base_free(base);
}

static void test_moved_and_cleared(void **state)
{
    struct event_base *base = event_base_new();
    struct deadline d;
    int64_t armed;

    (void)state;
    fired = 0;
    deadline_init(&d, base, on_passed, NULL);
    deadline_set(&d, clock_mono_us(), 20);
    armed = d.armed_us;
    deadline_set(&d, clock_mono_us(), 10000); /* later: the timer is left alone */
    assert_true(d.armed_us == armed);
    run_ms(base, 60);
    assert_int_equal(fired, 0);
    deadline_set(&d, clock_mono_us(), 10); /* sooner: it is not */
    assert_true(d.armed_us == d.at_us);
    deadline_clear(&d);
    run_ms(base, 40);
    assert_int_equal(fired, 0);
    deadline_fini(&d);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_once),
        cmocka_unit_test(test_moved_and_cleared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
