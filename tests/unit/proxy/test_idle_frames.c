/*
 * test_idle_frames.c - frames that do nothing: how they are counted, paid for and found in bytes.
 */
#include "tests/unit/unit.h"

#include <string.h>

#include "base/datetime.h"
#include "proxy/idle_frames.h"

#define MINUTE_US (IDLE_FRAMES_SECONDS * US_PER_SECOND)

static void test_bound(void **state)
{
    struct idle_frames f;

    (void)state;
    idle_frames_init(&f, 5);
    idle_frames_count(&f, IDLE_FRAMES_MAX - 1);
    assert_true(idle_frames_good(&f, 6));
    idle_frames_count(&f, 1);
    assert_false(idle_frames_good(&f, 6));
    assert_false(idle_frames_good(&f, 5 + MINUTE_US - 1));
    assert_true(idle_frames_good(&f, 5 + MINUTE_US)); /* and a new minute begins */
    idle_frames_count(&f, IDLE_FRAMES_MAX);
    assert_false(idle_frames_good(&f, 5 + 2 * MINUTE_US - 1));
}

/* Each frame that did something pays for itself and four others, never ahead. */
static void test_payment(void **state)
{
    struct idle_frames f;

    (void)state;
    idle_frames_init(&f, 0);
    for (int i = 0; i < 10 * IDLE_FRAMES_MAX; i++) {
        idle_frames_count(&f, IDLE_FRAMES_PAID + 1);
        idle_frames_pay(&f);
    }
    assert_true(idle_frames_good(&f, 1));
    for (int i = 0; i < 10; i++)
        idle_frames_pay(&f);
    idle_frames_count(&f, IDLE_FRAMES_MAX);
    assert_false(idle_frames_good(&f, 1));
}

/* Lengths of 0, 1 and 70,000 bytes; cut at every byte they are as many. */
static void test_walk(void **state)
{
    static char bytes[3 * 9 + 70001];
    struct h2_walk whole = {0};

    (void)state;
    memset(bytes, 0xff, sizeof(bytes));
    memcpy(bytes, "\0\0\0", 3);
    memcpy(bytes + 9, "\0\0\1", 3);
    memcpy(bytes + 19, "\1\x11\x70", 3);
    assert_int_equal(h2_walk(&whole, strv_make(bytes, sizeof(bytes))), 3);
    assert_int_equal(whole.skip + whole.head_n, 0);
    for (size_t cut = 0; cut <= sizeof(bytes); cut += cut < 40 ? 1 : 997) {
        struct h2_walk w = {0};
        size_t n = h2_walk(&w, strv_make(bytes, cut));

        assert_int_equal(n + h2_walk(&w, strv_make(bytes + cut, sizeof(bytes) - cut)), 3);
        assert_int_equal(w.skip + w.head_n, 0);
    }
    whole.skip = 24; /* a preface is no frame */
    assert_int_equal(h2_walk(&whole, strv_make(bytes, 24 + 8)), 0);
    assert_int_equal(h2_walk(&whole, strv_make(bytes, 1)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_payment),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
