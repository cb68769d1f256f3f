#include "metering/usage/usage.h"

#include <string.h>

#include "tests/unit/unit.h"

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(usage_field_name(USAGE_INPUT), "input_tokens");
    for (unsigned i = 0; i < USAGE_COUNT; i++) {
        assert_non_null(usage_field_name(i));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(usage_field_name(i), usage_field_name(j));
    }
    assert_string_equal(usage_source_name(USAGE_NONE), "none");
    assert_string_equal(usage_source_name(USAGE_PROVIDER), "provider");
    assert_string_equal(usage_source_name(USAGE_PARTIAL), "partial");
    assert_string_equal(usage_source_name(USAGE_ESTIMATED), "estimated");
}

static void test_absent_is_not_zero(void **state)
{
    struct usage u = {.has = 0};

    (void)state;
    assert_false(usage_has(&u, USAGE_OUTPUT));
    usage_set(&u, USAGE_OUTPUT, 0);
    assert_true(usage_has(&u, USAGE_OUTPUT));
    assert_false(usage_has(&u, USAGE_REASONING));
}

static void test_tiers(void **state)
{
    static const struct {
        const char *served, *priced;
    } CASES[] = {
        {"", ""},
        {"default", ""},
        {"standard", ""},
        {"on_demand", ""},
        {"auto", ""},
        {"STANDARD", ""},
        {"standard_only", ""},
        {"priority", "priority"},
        {"flex", "flex"},
        {"fast", "fast"},
        {"batch", "batch"},
        {"provisioned", "provisioned"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_true(
            strv_eq(usage_priced_tier(strv_z(CASES[i].served)), strv_z(CASES[i].priced)));
}

static void test_quantities_are_disjoint(void **state)
{
    struct usage u = {.has = 0};
    struct quantities q;

    (void)state;
    usage_set(&u, USAGE_INPUT, 100);
    usage_set(&u, USAGE_CACHE_READ, 10);
    usage_set(&u, USAGE_CACHE_WRITE_5M, 20);
    usage_set(&u, USAGE_CACHE_WRITE_1H, 5);
    usage_set(&u, USAGE_INPUT_AUDIO, 7);
    usage_set(&u, USAGE_INPUT_IMAGE, 8);
    usage_set(&u, USAGE_OUTPUT, 50);
    usage_set(&u, USAGE_REASONING, 30);
    usage_set(&u, USAGE_OUTPUT_AUDIO, 4);
    usage_set(&u, USAGE_OUTPUT_IMAGE, 6);
    usage_set(&u, USAGE_WEB_SEARCH, 3);
    usage_set(&u, USAGE_AUDIO_MS, 1500);
    assert_true(usage_to_quantities(&u, &q));
    assert_int_equal(q.n[METER_IN], 50);
    assert_int_equal(q.n[METER_CACHE_READ], 10);
    assert_int_equal(q.n[METER_CACHE_WRITE], 20);
    assert_int_equal(q.n[METER_CACHE_WRITE_1H], 5);
    assert_int_equal(q.n[METER_IN_AUDIO], 7);
    assert_int_equal(q.n[METER_IN_IMAGE], 8);
    assert_int_equal(q.n[METER_OUT], 10);
    assert_int_equal(q.n[METER_OUT_REASONING], 30);
    assert_int_equal(q.n[METER_OUT_AUDIO], 4);
    assert_int_equal(q.n[METER_OUT_IMAGE], 6);
    assert_int_equal(q.n[METER_WEB_SEARCH], 3);
    assert_int_equal(q.n[METER_AUDIO_SEC], 1500);
}

/* The cached share of sound and pictures has rates of its own. */
static void test_cached_parts(void **state)
{
    struct usage u = {.has = 0};
    struct quantities q;

    (void)state;
    usage_set(&u, USAGE_INPUT, 1000);
    usage_set(&u, USAGE_CACHE_READ, 600);
    usage_set(&u, USAGE_INPUT_AUDIO, 500);
    usage_set(&u, USAGE_INPUT_IMAGE, 90);
    usage_set(&u, USAGE_CACHE_AUDIO, 400);
    usage_set(&u, USAGE_CACHE_IMAGE, 60);
    assert_true(usage_to_quantities(&u, &q));
    assert_int_equal(q.n[METER_CACHE_READ_AUDIO], 400);
    assert_int_equal(q.n[METER_CACHE_READ_IMAGE], 60);
    assert_int_equal(q.n[METER_CACHE_READ], 140);
    assert_int_equal(q.n[METER_IN_AUDIO], 100);
    assert_int_equal(q.n[METER_IN_IMAGE], 30);
    assert_int_equal(q.n[METER_IN], 270);
    usage_set(&u, USAGE_CACHE_AUDIO, 601); /* more of it than there is */
    assert_false(usage_to_quantities(&u, &q));
    assert_int_equal(q.n[METER_CACHE_READ_AUDIO], 600);
    assert_int_equal(q.n[METER_CACHE_READ], 0);
}

/* Whatever the counts: the meters of a side add up to that side. */
static void test_sides_add_up(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct usage u = {.has = 0};
        struct quantities q;
        uint64_t input, output;
        bool fits, must_fit;

        for (unsigned f = 0; f < USAGE_COUNT; f++) {
            seed = seed * 1103515245u + 12345u;
            if ((seed >> 16) % 3 != 0 || f == USAGE_INPUT || f == USAGE_OUTPUT)
                usage_set(&u, f, (seed >> 20) % 100);
        }
        fits = usage_to_quantities(&u, &q);
        input = q.n[METER_IN] + q.n[METER_CACHE_READ] + q.n[METER_CACHE_WRITE] +
                q.n[METER_CACHE_WRITE_1H] + q.n[METER_IN_AUDIO] + q.n[METER_IN_IMAGE] +
                q.n[METER_IN_VIDEO] + q.n[METER_CACHE_READ_AUDIO] + q.n[METER_CACHE_READ_IMAGE];
        output = q.n[METER_OUT] + q.n[METER_OUT_REASONING] + q.n[METER_OUT_AUDIO] +
                 q.n[METER_OUT_IMAGE] + q.n[METER_OUT_VIDEO];
        assert_int_equal(q.n[METER_PAGE] + q.n[METER_PAGE_ANNOTATED], u.n[USAGE_PAGES]);
        assert_int_equal(input, u.n[USAGE_INPUT]);
        assert_int_equal(output, u.n[USAGE_OUTPUT]);
        must_fit =
            u.n[USAGE_CACHE_READ] + u.n[USAGE_CACHE_WRITE_5M] + u.n[USAGE_CACHE_WRITE_1H] <=
                u.n[USAGE_INPUT] &&
            u.n[USAGE_CACHE_AUDIO] + u.n[USAGE_CACHE_IMAGE] <= u.n[USAGE_CACHE_READ] &&
            u.n[USAGE_INPUT_AUDIO] + u.n[USAGE_INPUT_IMAGE] + u.n[USAGE_INPUT_VIDEO] <=
                u.n[USAGE_INPUT] &&
            u.n[USAGE_REASONING] + u.n[USAGE_OUTPUT_AUDIO] + u.n[USAGE_OUTPUT_IMAGE] +
                    u.n[USAGE_OUTPUT_VIDEO] <=
                u.n[USAGE_OUTPUT] &&
            u.n[USAGE_ANNOTATED] <= u.n[USAGE_PAGES];
        assert_int_equal(fits, must_fit);
    }
}

/* What a session took is a sum of many calls: long as it may be, none of them was. */
static void test_sums_have_no_length(void **state)
{
    struct usage u = {.has = 0};
    struct quantities q;

    (void)state;
    usage_set(&u, USAGE_INPUT, 500000);
    assert_int_equal(usage_context(&u), 500000);
    usage_set(&u, USAGE_SESSION_MS, 0);
    assert_int_equal(usage_context(&u), 0);
    usage_set(&u, USAGE_SESSION_MS, 1500);
    assert_true(usage_is_time(USAGE_SESSION_MS) && meter_is_time(METER_SESSION_SEC));
    assert_true(usage_to_quantities(&u, &q));
    assert_int_equal(q.n[METER_SESSION_SEC], 1500);
    assert_int_equal(q.n[METER_IN], 500000);
}

static void test_parts_without_their_whole(void **state)
{
    struct usage u = {.has = 0};
    struct quantities q;

    (void)state;
    usage_set(&u, USAGE_CACHE_READ, 10);
    usage_set(&u, USAGE_REASONING, 3);
    assert_true(usage_to_quantities(&u, &q));
    assert_int_equal(q.n[METER_CACHE_READ], 10);
    assert_int_equal(q.n[METER_IN], 0);
    assert_int_equal(q.n[METER_OUT_REASONING], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_absent_is_not_zero),
        cmocka_unit_test(test_tiers),        cmocka_unit_test(test_quantities_are_disjoint),
        cmocka_unit_test(test_cached_parts),
        cmocka_unit_test(test_sides_add_up), cmocka_unit_test(test_parts_without_their_whole),
        cmocka_unit_test(test_sums_have_no_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
