/*
 * test_expire_clock.c - the time by which old lines are deleted follows time that passes, and a clock
 * that is set only once that has lasted.
 */
#include "tests/unit/unit.h"

#include "base/datetime.h"
#include "metering/ledger/expire_clock.h"

#define MINUTE_US  (60 * US_PER_SECOND)
#define JUMP_US    (EXPIRE_JUMP_S * US_PER_SECOND)
#define BELIEVE_US (EXPIRE_BELIEVE_S * US_PER_SECOND)
#define START_US   (20000 * US_PER_DAY)
#define FAR_US     (400 * US_PER_DAY)

/* What there is: a clock that is never set, and how far the wall clock is ahead of its time. */
struct clocks {
    struct expire_clock c;
    int64_t mono_us, ahead_us;
};

static void init(struct clocks *k)
{
    *k = (struct clocks){.mono_us = 77};
    expire_clock_set(&k->c, START_US, k->mono_us);
}

/* The time as it really is. */
static int64_t really(const struct clocks *k)
{
    return START_US + k->mono_us - 77;
}

/* A look after so long: how far what is believed is ahead. */
static int64_t look(struct clocks *k, int64_t after_us)
{
    k->mono_us += after_us;
    return expire_clock_look(&k->c, really(k) + k->ahead_us, k->mono_us) - really(k);
}

static void time_that_passes_is_followed(void **state)
{
    struct clocks k;

    (void)state;
    init(&k);
    for (int i = 0; i < 3 * 24 * 60; i++)
        assert_int_equal(look(&k, MINUTE_US), 0);
    assert_int_equal(look(&k, 9 * US_PER_DAY), 0); /* nobody looked for long */
    assert_int_equal(k.c.at_us, START_US + 12 * US_PER_DAY);
    assert_false(k.c.is_doubted);
}

static void far_ahead_for_a_while_changes_nothing(void **state)
{
    struct clocks k;

    (void)state;
    init(&k);
    for (int i = 0; i < 50; i++) { /* in all far longer than what is believed */
        k.ahead_us = FAR_US + i * US_PER_DAY;
        for (int64_t t = 0; t < BELIEVE_US; t += MINUTE_US)
            assert_int_equal(look(&k, MINUTE_US), 0);
        assert_true(k.c.is_doubted);
        k.ahead_us = 0;
        assert_int_equal(look(&k, MINUTE_US), 0);
        assert_false(k.c.is_doubted);
    }
}

static void what_lasts_is_believed_by_the_least(void **state)
{
    struct clocks k;

    (void)state;
    init(&k);
    k.ahead_us = 3 * US_PER_DAY;
    assert_int_equal(look(&k, 0), 0);
    k.ahead_us = FAR_US;
    assert_int_equal(look(&k, BELIEVE_US - 1), 0);
    assert_int_equal(look(&k, 1), 3 * US_PER_DAY);
    assert_int_equal(look(&k, 0), 3 * US_PER_DAY); /* the rest is in doubt from now on */
    assert_int_equal(look(&k, BELIEVE_US - 1), 3 * US_PER_DAY);
    assert_int_equal(look(&k, 1), FAR_US);
    assert_int_equal(look(&k, MINUTE_US), FAR_US);
    assert_false(k.c.is_doubted);
}

static void a_small_step_is_believed_at_once(void **state)
{
    struct clocks k;

    (void)state;
    init(&k);
    k.ahead_us = JUMP_US;
    assert_int_equal(look(&k, MINUTE_US), JUMP_US);
    k.ahead_us = 2 * JUMP_US + 1;
    assert_int_equal(look(&k, MINUTE_US), JUMP_US);
    assert_true(k.c.is_doubted);
    k.ahead_us = 2 * JUMP_US;
    assert_int_equal(look(&k, MINUTE_US), 2 * JUMP_US);
    assert_false(k.c.is_doubted);
}

static void back_is_believed_at_once(void **state)
{
    struct clocks k;

    (void)state;
    init(&k);
    k.ahead_us = -FAR_US;
    assert_int_equal(look(&k, MINUTE_US), -FAR_US);
    k.ahead_us = 0; /* right again: as any step ahead */
    assert_int_equal(look(&k, MINUTE_US), -FAR_US);
    assert_int_equal(look(&k, BELIEVE_US), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_that_passes_is_followed),
        cmocka_unit_test(far_ahead_for_a_while_changes_nothing),
        cmocka_unit_test(what_lasts_is_believed_by_the_least),
        cmocka_unit_test(a_small_step_is_believed_at_once),
        cmocka_unit_test(back_is_believed_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
