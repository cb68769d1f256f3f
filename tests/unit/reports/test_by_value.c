/*
 * test_by_value.c - objects by the values of their fields: each once, whatever bytes and lengths;
 * zeroed; no more than there may be.
 */
#include "reports/by_value.h"

#include <stdio.h>

#include "tests/unit/unit.h"

struct object {
    struct valued valued;
    uint64_t n;
    char odd; /* so that its size is no multiple of anything */
};

/* Two texts of a number, of many lengths; the second may be empty. */
static void values_of(unsigned i, char text[2][32], struct strv *value)
{
    int n = snprintf(text[0], sizeof(text[0]), "%u", i);
    int m = snprintf(text[1], sizeof(text[1]), "%.*s", (int)(i % 20), "abcdefghijklmnopqrst");

    value[0] = strv_make(text[0], (size_t)n);
    value[1] = strv_make(m ? text[1] : NULL, (size_t)m);
}

static void each_has_its_own(void **state)
{
    enum { N = 5000 };
    struct by_value t;
    char text[2][32];
    struct strv value[2];

    (void)state;
    by_value_init(&t, 2, sizeof(struct object));
    values_of(1, text, value);
    assert_null(by_value_find(&t, value));
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < N; i++) {
            struct object *o;

            values_of(i, text, value);
            o = by_value_at(&t, value);
            assert_int_equal(o->n, round ? i : 0);
            assert_int_equal(o->odd, round ? 1 : 0);
            o->n = i;
            o->odd = 1;
            memset(text, 'x', sizeof(text)); /* what is kept is a copy */
            values_of(i, text, value);
            assert_true(strv_eq(o->valued.value[0], value[0]));
            assert_true(strv_eq(o->valued.value[1], value[1]));
            assert_ptr_equal(by_value_find(&t, value), o);
        }
    }
    assert_int_equal(t.n, N);
    /* The same bytes, cut elsewhere, are another's. */
    value[0] = STRV("12");
    value[1] = STRV("3");
    assert_null(by_value_find(&t, value));
    by_value_drop(&t);
    assert_int_equal(t.n, N - 1);
    by_value_release(&t);
}

static void there_is_a_most(void **state)
{
    struct by_value t;
    char text[2][32];
    struct strv value[2];

    (void)state;
    by_value_init(&t, 1, sizeof(struct valued));
    for (unsigned i = 0; i < BY_VALUE_MAX; i++) {
        values_of(i, text, value);
        assert_non_null(by_value_at(&t, value));
    }
    values_of(BY_VALUE_MAX, text, value);
    assert_null(by_value_at(&t, value));
    values_of(BY_VALUE_MAX - 1, text, value);
    assert_non_null(by_value_at(&t, value));
    assert_int_equal(t.n, BY_VALUE_MAX);
    by_value_release(&t);
}

static void none_are_one(void **state)
{
    struct by_value t;
    struct object *o;

    (void)state;
    by_value_init(&t, 0, sizeof(struct object));
    o = by_value_at(&t, NULL);
    assert_non_null(o);
    assert_ptr_equal(by_value_at(&t, NULL), o);
    by_value_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_own),
        cmocka_unit_test(there_is_a_most),
        cmocka_unit_test(none_are_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
