#include "metering/usage/calibration.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

enum { PROMPT_BYTES = 30000, ANSWER_BYTES = 1000 };

/* A whole answer to a prompt of text. */
static void call(struct calibration *c, const char *model, uint64_t input, uint64_t output)
{
    struct request_facts facts = {.choices = 1, .text_bytes = PROMPT_BYTES};
    struct tap_result seen = {.has_usage = true,
                              .usage_is_final = true,
                              .end = TAP_END_COMPLETE,
                              .output_bytes = ANSWER_BYTES};

    usage_set(&seen.usage, USAGE_INPUT, input);
    usage_set(&seen.usage, USAGE_OUTPUT, output);
    calibration_learn(c, STRV("up"), strv_z(model), &facts,
                      estimate_input_tokens(&facts), &seen);
}

static void assert_plain(struct estimate_factors f)
{
    assert_int_equal(f.input, ESTIMATE_ONE);
    assert_int_equal(f.input_high, ESTIMATE_ONE);
    assert_int_equal(f.output, 0);
}

static void test_learns(void **state)
{
    struct request_facts facts = {.choices = 1, .text_bytes = PROMPT_BYTES};
    uint64_t plain = estimate_input_tokens(&facts);
    struct calibration *c = calibration_new();
    struct estimate_factors f;

    (void)state;
    for (int i = 0; i < CALIBRATION_LEAST; i++) {
        assert_plain(calibration_look(c, STRV("up"), STRV("m")));
        call(c, "m", plain * 3 / 2, 250);
    }
    f = calibration_look(c, STRV("up"), STRV("m"));
    assert_in_range(estimate_scaled(plain, f.input), plain * 3 / 2 - 2, plain * 3 / 2 + 2);
    assert_true(f.input_high >= f.input);
    assert_int_equal(estimate_output_tokens(2 * ANSWER_BYTES, f.output, UINT64_MAX), 500);
    assert_plain(calibration_look(c, STRV("other"), STRV("m")));
    assert_plain(calibration_look(c, STRV("up"), STRV("n")));
    /* A tokenizer that changes is followed, and what sways is reserved for. */
    for (int i = 0; i < 100; i++)
        call(c, "m", plain * (i % 2 ? 2 : 3), 250);
    f = calibration_look(c, STRV("up"), STRV("m"));
    assert_in_range(f.input, ESTIMATE_ONE * 9 / 4, ESTIMATE_ONE * 11 / 4);
    assert_true(f.input_high >= ESTIMATE_ONE * 3);
    calibration_free(c);
}

static void test_bounds(void **state)
{
    struct calibration *c = calibration_new();
    struct estimate_factors f;

    (void)state;
    for (int i = 0; i < 100; i++) {
        call(c, "low", 1, 1);
        call(c, "none", 0, 0);
        call(c, "high", USAGE_MAX_COUNT >> 9, USAGE_MAX_COUNT >> 9);
        call(c, "absurd", USAGE_MAX_COUNT, USAGE_MAX_COUNT);
    }
    f = calibration_look(c, STRV("up"), STRV("low"));
    assert_int_equal(f.input, ESTIMATE_ONE / 8);
    assert_int_equal(f.input_high, ESTIMATE_ONE * 3 / 4); /* no history reserves next to nothing */
    f = calibration_look(c, STRV("up"), STRV("high"));
    assert_int_equal(f.input, ESTIMATE_ONE * 8);
    assert_int_equal(f.input_high, ESTIMATE_ONE * 8);
    assert_int_equal(f.output, ESTIMATE_ONE * 16);
    assert_plain(calibration_look(c, STRV("up"), STRV("absurd")));
    /* a server that counts nothing is no experience */
    assert_plain(calibration_look(c, STRV("up"), STRV("none")));
    calibration_free(c);
}

/* What says nothing of text teaches nothing. */
static void test_not_learnt(void **state)
{
    static const struct {
        struct request_facts facts;
        struct tap_result seen;
    } CASES[] = {
        {{.text_bytes = 9000}, {.usage_is_final = true, .end = TAP_END_COMPLETE}},
        {{.text_bytes = 9000}, {.has_usage = true, .end = TAP_END_COMPLETE}},
        {{.text_bytes = 9000}, {.has_usage = true, .usage_is_final = true}},
        {{.text_bytes = 9000},
         {.has_usage = true, .usage_is_final = true, .end = TAP_END_ERROR}},
        {{.text_bytes = 9000, .media_parts = 1},
         {.has_usage = true, .usage_is_final = true, .end = TAP_END_COMPLETE}},
        {{.text_bytes = 9000, .server_state = true},
         {.has_usage = true, .usage_is_final = true, .end = TAP_END_COMPLETE}},
        {{.text_bytes = 3},
         {.has_usage = true, .usage_is_final = true, .end = TAP_END_COMPLETE}},
    };
    struct calibration *c = calibration_new();

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct tap_result seen = CASES[i].seen;

        usage_set(&seen.usage, USAGE_INPUT, 7);
        usage_set(&seen.usage, USAGE_OUTPUT, 7);
        for (int k = 0; k < 2 * CALIBRATION_LEAST; k++)
            calibration_learn(c, STRV("up"), STRV("m"), &CASES[i].facts,
                              estimate_input_tokens(&CASES[i].facts), &seen);
        assert_plain(calibration_look(c, STRV("up"), STRV("m")));
    }
    calibration_free(c);
}

/* Bounded: new models take the places of those least used. */
static void test_many_models(void **state)
{
    struct calibration *c = calibration_new();
    char model[32];

    (void)state;
    for (int i = 0; i < 1000; i++)
        call(c, "busy", PROMPT_BYTES, 100);
    for (int i = 0; i < 20 * CALIBRATION_MODELS; i++) {
        snprintf(model, sizeof(model), "m%d", i);
        call(c, model, 10000, 100);
    }
    assert_true(calibration_look(c, STRV("up"), STRV("busy")).input > ESTIMATE_ONE);
    calibration_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_not_learnt),
        cmocka_unit_test(test_many_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
