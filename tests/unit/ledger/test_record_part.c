/* Parts of a cost: what is alike is added up, what is not stays apart, and nothing is half
 * kept. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "metering/ledger/record_part.h"

enum { ARENA_BYTES = 1 << 20 };

static struct record_part answer(const char *model, uint64_t input, uint64_t output)
{
    struct record_part part = {.model = strv_z(model),
                               .is_answer = true,
                               .answers = 1,
                               .input_least = input,
                               .input_most = input};

    usage_set(&part.usage, USAGE_INPUT, input);
    usage_set(&part.usage, USAGE_OUTPUT, output);
    return part;
}

static void add(struct record_parts *parts, struct record_part part, struct arena *arena)
{
    record_parts_add(parts, &part, arena);
}

static void test_groups(void **state)
{
    struct record_parts parts = {.n = 0};
    struct record_part part;
    struct arena arena;
    struct strv bytes;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    add(&parts, answer("a", 100, 10), &arena);
    add(&parts, answer("a", 300, 20), &arena);
    add(&parts, answer("b", 100, 10), &arena);
    add(&parts, answer("a", 200001, 1), &arena); /* of another length */
    add(&parts, answer("a", 5, 0), &arena);      /* without output */
    part = answer("a", 100, 10);
    usage_set(&part.usage, USAGE_WEB_SEARCH, 1); /* may be charged once a request */
    add(&parts, part, &arena);
    add(&parts, part, &arena);
    part = answer("a", 100, 10);
    part.is_answer = false; /* beside the record's own */
    add(&parts, part, &arena);
    assert_int_equal(parts.n, 7);
    bytes = record_parts_encode(&parts, &arena);
    for (size_t i = 0; i < parts.n; i++) {
        assert_int_equal(record_parts_next(&bytes, &part), RC_OK);
        assert_true(strv_eq(part.model, parts.at[i].model));
        assert_int_equal(part.answers, i == 0 ? 2 : 1);
        assert_int_equal(part.is_answer, i < 6);
        assert_memory_equal(&part.usage, &parts.at[i].usage, sizeof(part.usage));
        if (i == 0) {
            assert_int_equal(part.usage.n[USAGE_INPUT], 400);
            assert_int_equal(part.input_least, 100);
            assert_int_equal(part.input_most, 300);
        }
    }
    assert_int_equal(record_parts_next(&bytes, &part), RC_STATE);
    arena_release(&arena);
}

static void test_too_many_are_not_kept(void **state)
{
    struct record_parts parts = {.n = 0};
    struct arena arena;
    char model[16];

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    for (int i = 0; i <= RECORD_PARTS_MAX; i++) {
        assert_int_equal(record_parts_encode(&parts, &arena).n > 0, i > 0);
        (void)snprintf(model, sizeof(model), "m%d", i);
        add(&parts, answer(model, 1, 1), &arena);
    }
    assert_int_equal(record_parts_encode(&parts, &arena).n, 0);
    arena_release(&arena);
}

static void test_damaged_bytes(void **state)
{
    struct record_parts parts = {.n = 0};
    struct record_part part;
    struct arena arena;
    struct strv bytes;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    add(&parts, answer("model", 100, 10), &arena);
    bytes = record_parts_encode(&parts, &arena);
    for (size_t n = 1; n < bytes.n; n++) {
        struct strv cut = strv_head(bytes, n);

        assert_int_equal(record_parts_next(&cut, &part), RC_BAD);
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_too_many_are_not_kept),
        cmocka_unit_test(test_damaged_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
