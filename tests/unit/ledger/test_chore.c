/*
 * test_chore.c - work in pauses: how long what failed is put off, and that it goes on.
 */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "metering/ledger/chore.h"

static const struct fail failing = {.rc = RC_IO, .doing = "write"};

/* Milliseconds until it is due, rounded up. */
static int64_t wait_ms(const struct chore *c)
{
    return (c->at_us - clock_mono_us() + 999) / 1000;
}

static void it_is_made_again_later_and_later(void **state)
{
    struct chore c = {0};
    int expected = CHORE_AGAIN_MS;

    (void)state;
    assert_true(chore_is_due(&c));
    assert_true(chore_is_left(&c));
    for (int i = 0; i < 20; i++) {
        chore_failed(&c, "a test", &failing);
        assert_false(chore_is_due(&c));
        assert_true(chore_is_left(&c));
        assert_int_equal(c.again_ms, expected);
        assert_in_range(wait_ms(&c), expected / 2, expected);
        expected = expected * 2 < CHORE_AGAIN_MAX_MS ? expected * 2 : CHORE_AGAIN_MAX_MS;
    }
    assert_int_equal(c.again_ms, CHORE_AGAIN_MAX_MS);
}

static void what_is_done_rests_as_long_as_is_said(void **state)
{
    struct chore c = {0};

    (void)state;
    chore_failed(&c, "a test", &failing);
    chore_failed(&c, "a test", &failing);
    chore_rests(&c, 5000000, "a test");
    assert_in_range(wait_ms(&c), 4000, 5000);
    assert_false(chore_is_left(&c));
    chore_failed(&c, "a test", &failing);
    assert_int_equal(c.again_ms, CHORE_AGAIN_MS);
    chore_rests(&c, 0, "a test");
    assert_true(chore_is_due(&c));
    assert_true(chore_is_left(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_again_later_and_later),
        cmocka_unit_test(what_is_done_rests_as_long_as_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
