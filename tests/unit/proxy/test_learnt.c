/*
 * test_learnt.c - what calls took: never less than 99 of 100 of them, of late more than of old, and
 * of so many models alone, however many names clients make up.
 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/learnt.h"

enum {
    CALLS = 2000,
    ROUNDS = 50,
    NAMES = 20000,
    KEPT = 1024, /* docs/threat-model.md */
};

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void test_what_99_of_100_took(void **state)
{
    static uint64_t took[CALLS];
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct learnt *l = learnt_new();
        uint64_t most, said;

        for (size_t i = 0; i < CALLS; i++) {
            took[i] = (uint64_t)rand_r(&seed) >> (rand_r(&seed) % 31);
            learnt_note(l, STRV("m"), took[i]);
            said = learnt_output(l, STRV("m"));
            assert_true(i + 1 >= LEARNT_LEAST || said == 0);
        }
        qsort(took, CALLS, sizeof(took[0]), by_size);
        most = took[CALLS - 1 - CALLS / 100];
        said = learnt_output(l, STRV("m"));
        assert_in_range(said, most, most + most / 4 + 1);
        assert_int_equal(learnt_output(l, STRV("other")), 0);
        learnt_free(l);
    }
}

static void test_of_late(void **state)
{
    struct learnt *l = learnt_new();

    (void)state;
    for (int i = 0; i < CALLS; i++)
        learnt_note(l, STRV("m"), 100000);
    for (int i = 0; i < 20 * CALLS; i++)
        learnt_note(l, STRV("m"), 10);
    assert_in_range(learnt_output(l, STRV("m")), 10, 13);
    learnt_free(l);
}

/* Names that nobody else uses cost no more than the bound, and who is called much stays known. */
static void test_bound(void **state)
{
    struct learnt *l = learnt_new();
    char name[32];
    int known = 0;

    (void)state;
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "made-up-%d", i);
        for (int k = 0; k < LEARNT_LEAST; k++) {
            learnt_note(l, strv_z(name), 10);
            learnt_note(l, STRV("real"), 10);
        }
    }
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "made-up-%d", i);
        known += learnt_output(l, strv_z(name)) != 0;
    }
    assert_in_range(known, KEPT / 2, KEPT);
    assert_true(learnt_output(l, STRV("real")) != 0);
    learnt_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_99_of_100_took),
        cmocka_unit_test(test_of_late),
        cmocka_unit_test(test_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
