#include "metering/usage/estimate.h"

#include <string.h>

#include "tests/unit/unit.h"

static const struct estimate_factors PLAIN = ESTIMATE_PLAIN;

static void test_input(void **state)
{
    struct request_facts f = {.choices = 1};
    uint64_t base = estimate_input_tokens(&f), one;

    (void)state;
    f.text_bytes = 1;
    one = estimate_input_tokens(&f);
    assert_int_equal(one, base + 1); /* rounded up */
    f.text_bytes = 3000;
    assert_int_equal(estimate_input_tokens(&f), base + 1000);
    f.media_parts = 2;
    assert_int_equal(estimate_input_tokens(&f), base + 1000 + 2 * ESTIMATE_MEDIA_TOKENS);
    f.messages = 1;
    assert_true(estimate_input_tokens(&f) > base + 1000 + 2 * ESTIMATE_MEDIA_TOKENS);
    f.text_bytes = f.media_parts = f.messages = UINT64_MAX;
    assert_int_equal(estimate_input_tokens(&f), USAGE_MAX_COUNT);
}

/* What a model is told beside the request: read from bodies, so that both ends are tried. */
static void test_families(void **state)
{
    static const struct {
        const char *protocol, *path, *body;
        unsigned more; /* than the same text of no family's, without tools and images */
    } CASES[] = {
        {"openai", "/v1/chat/completions", "{\"model\":\"m\"}", 0},
        {"openai", "/v1/chat/completions", "{\"model\":\"m\",\"tools\":[]}", 0},
        {"openai", "/v1/chat/completions", "{\"model\":\"m\",\"tools\":[{}]}", 24},
        {"openai", "/v1/chat/completions", "{\"model\":\"gpt-5.1-codex\",\"functions\":[{}]}",
         103},
        {"openai", "/v1/chat/completions", "{\"model\":\"deepseek/deepseek-v4\",\"tools\":[{}]}",
         142},
        {"openai", "/v1/chat/completions", "{\"model\":\"qwen3-max\",\"tools\":[{}]}", 245},
        {"mistral", "/v1/chat/completions", "{\"model\":\"mistral-large\",\"tools\":[{}]}", 60},
        {"openai", "/v1/chat/completions", "{\"model\":\"grok-4-fast\"}", 683},
        {"anthropic", "/v1/messages", "{\"model\":\"claude-sonnet-4-5\"}", 0},
        {"anthropic", "/v1/messages", "{\"model\":\"claude-sonnet-4-5\",\"tools\":[{}]}", 549},
        {"anthropic", "/v1/messages",
         "{\"model\":\"claude-opus-5\",\"tools\":[{\"type\":\"computer_20250124\"}]}", 549 + 4500},
        {"bedrock", "/model/us.anthropic.claude-haiku-4-5/converse",
         "{\"toolConfig\":{\"tools\":[{}]}}", 549},
    };
    const uint64_t plain = estimate_input_tokens(&(struct request_facts){.choices = 1});

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct protocol *p = protocol_find(strv_z(CASES[i].protocol));
        struct request_facts f;
        struct route route;

        protocol_route(p, STRV("POST"), strv_z(CASES[i].path), STRV_NONE, &route);
        assert_int_equal(protocol_scan_request(p, &route, strv_z(CASES[i].body), NULL, &f), RC_OK);
        f.text_bytes = 0;
        assert_int_equal(estimate_input_tokens(&f), plain + CASES[i].more);
    }
}

static void test_max_output(void **state)
{
    struct request_facts f = {.choices = 1};

    (void)state;
    assert_int_equal(estimate_max_output_tokens(&f, 0), ESTIMATE_DEFAULT_OUTPUT);
    assert_int_equal(estimate_max_output_tokens(&f, 100), 100);
    f.has_max_output = true;
    f.max_output_tokens = 7;
    assert_int_equal(estimate_max_output_tokens(&f, 100), 7);
    f.choices = 3;
    assert_int_equal(estimate_max_output_tokens(&f, 100), 21);
    f.choices = f.max_output_tokens = UINT64_MAX;
    assert_int_equal(estimate_max_output_tokens(&f, 100), USAGE_MAX_COUNT);
    f.embeds = true;
    assert_int_equal(estimate_max_output_tokens(&f, 100), 0);
    f = (struct request_facts){.has_max_output = true, .choices = 1};
    assert_int_equal(estimate_max_output_tokens(&f, 100), 0); /* a bound of none */
}

static void test_output(void **state)
{
    (void)state;
    assert_int_equal(estimate_output_tokens(0, 0, 100), 0);
    assert_int_equal(estimate_output_tokens(1, 0, 100), 1);
    assert_int_equal(estimate_output_tokens(7, 0, 100), 2);
    assert_int_equal(estimate_output_tokens(8, 0, 100), 3);
    assert_int_equal(estimate_output_tokens(7000, 0, 100), 100);
    for (uint64_t n = 0; n < 50; n++)
        assert_true(estimate_output_tokens(n, 0, UINT64_MAX) <= n);
}

struct outcome {
    enum usage_source source;
    int64_t input, output; /* -1: absent */
};

static struct outcome complete(const struct request_facts *f, const struct tap_result *seen,
                               int status)
{
    struct usage u;
    struct outcome o;

    o.source = estimate_complete(f, seen, status, 1000, &PLAIN, &u);
    o.input = usage_has(&u, USAGE_INPUT) ? (int64_t)u.n[USAGE_INPUT] : -1;
    o.output = usage_has(&u, USAGE_OUTPUT) ? (int64_t)u.n[USAGE_OUTPUT] : -1;
    return o;
}

static void test_complete(void **state)
{
    static const struct {
        const char *about;
        struct request_facts facts;
        int status;
        bool final, has_in, has_out; /* in 50, out 5 */
        uint64_t bytes;
        enum tap_end end;
        enum usage_source source;
        int64_t input, output; /* -2: the estimate of the facts */
    } CASES[] = {
        {"final counts",
         {.choices = 1},
         200,
         true,
         true,
         true,
         700,
         TAP_END_COMPLETE,
         USAGE_PROVIDER,
         50,
         5},
        {"placeholder completed",
         {.choices = 1},
         200,
         false,
         true,
         true,
         700,
         TAP_END_NONE,
         USAGE_PARTIAL,
         50,
         200},
        {"running count ahead of the text",
         {.choices = 1},
         200,
         false,
         true,
         true,
         7,
         TAP_END_NONE,
         USAGE_PARTIAL,
         50,
         5},
        {"bounded by the request",
         {.choices = 1, .has_max_output = true, .max_output_tokens = 9},
         200,
         false,
         true,
         true,
         700,
         TAP_END_NONE,
         USAGE_PARTIAL,
         50,
         9},
        {"bounded by the model",
         {.choices = 1},
         200,
         false,
         true,
         true,
         70000,
         TAP_END_NONE,
         USAGE_PARTIAL,
         50,
         1000},
        {"final without output",
         {.choices = 1},
         200,
         true,
         true,
         false,
         70,
         TAP_END_COMPLETE,
         USAGE_PARTIAL,
         50,
         20},
        {"blocked prompt",
         {.choices = 1},
         200,
         true,
         true,
         false,
         0,
         TAP_END_REFUSED,
         USAGE_PROVIDER,
         50,
         -1},
        {"final without input",
         {.choices = 1},
         200,
         true,
         false,
         true,
         70,
         TAP_END_COMPLETE,
         USAGE_PARTIAL,
         -2,
         5},
        {"embedding",
         {.choices = 1, .embeds = true},
         200,
         true,
         true,
         false,
         0,
         TAP_END_COMPLETE,
         USAGE_PROVIDER,
         50,
         -1},
        {"embedding without counts",
         {.choices = 1, .embeds = true},
         200,
         false,
         false,
         false,
         0,
         TAP_END_COMPLETE,
         USAGE_ESTIMATED,
         -2,
         -1},
        {"text and no counts",
         {.choices = 1, .text_bytes = 300},
         200,
         false,
         false,
         false,
         70,
         TAP_END_NONE,
         USAGE_ESTIMATED,
         -2,
         20},
        {"no answer came",
         {.choices = 1},
         0,
         false,
         false,
         false,
         0,
         TAP_END_NONE,
         USAGE_ESTIMATED,
         -2,
         0},
        {"refused by the provider",
         {.choices = 1},
         429,
         false,
         false,
         false,
         0,
         TAP_END_ERROR,
         USAGE_NONE,
         -1,
         -1},
        {"error in a 200",
         {.choices = 1},
         200,
         false,
         false,
         false,
         0,
         TAP_END_ERROR,
         USAGE_NONE,
         -1,
         -1},
        {"error after text",
         {.choices = 1},
         200,
         false,
         false,
         false,
         70,
         TAP_END_ERROR,
         USAGE_ESTIMATED,
         -2,
         20},
        {"error with counts",
         {.choices = 1},
         500,
         true,
         true,
         true,
         0,
         TAP_END_ERROR,
         USAGE_PROVIDER,
         50,
         5},
        {"begun in the background",
         {.choices = 1, .background = true},
         200,
         false,
         false,
         false,
         0,
         TAP_END_COMPLETE,
         USAGE_ESTIMATED,
         -2,
         1000},
        {"never read as a call",
         {.choices = 0},
         200,
         false,
         false,
         false,
         0,
         TAP_END_COMPLETE,
         USAGE_NONE,
         -1,
         -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct tap_result seen = {.output_bytes = CASES[i].bytes,
                                  .end = CASES[i].end,
                                  .usage_is_final = CASES[i].final,
                                  .has_usage = CASES[i].has_in || CASES[i].has_out};
        struct outcome got;

        if (CASES[i].has_in)
            usage_set(&seen.usage, USAGE_INPUT, 50);
        if (CASES[i].has_out)
            usage_set(&seen.usage, USAGE_OUTPUT, 5);
        got = complete(&CASES[i].facts, &seen, CASES[i].status);
        print_message("%s\n", CASES[i].about);
        assert_int_equal(got.source, CASES[i].source);
        assert_int_equal(got.input, CASES[i].input == -2
                                        ? (int64_t)estimate_input_tokens(&CASES[i].facts)
                                        : CASES[i].input);
        assert_int_equal(got.output, CASES[i].output);
    }
}

/* Zeros that stand for counts to come, or for none at all, are not counts. */
static void test_zeros(void **state)
{
    static const struct {
        struct request_facts facts;
        bool final, has_out;
        uint64_t in, out, bytes;
        enum usage_source source;
        int64_t input, output; /* -2: the estimate of the facts; -1: absent */
    } CASES[] = {
        /* A stream's beginning, broken off: with text and without. */
        {{.choices = 1, .text_bytes = 300}, false, true, 0, 0, 70, USAGE_PARTIAL, -2, 20},
        {{.choices = 1, .text_bytes = 300}, false, true, 0, 0, 0, USAGE_PARTIAL, -2, 0},
        /* The last word of a server that counts nothing, or only what it generates. */
        {{.choices = 1, .text_bytes = 300}, true, true, 0, 0, 70, USAGE_PARTIAL, -2, 20},
        {{.choices = 1, .text_bytes = 300}, true, true, 0, 5, 70, USAGE_PARTIAL, -2, 5},
        {{.choices = 1, .text_bytes = 300}, true, false, 0, 0, 70, USAGE_PARTIAL, -2, 20},
        /* Nothing was generated: zero it may be. */
        {{.choices = 1, .text_bytes = 300}, true, true, 0, 0, 0, USAGE_PROVIDER, 0, 0},
        /* The prompt echoed, and nothing beside. */
        {{.choices = 1, .text_bytes = 300}, true, true, 9, 0, 70, USAGE_PROVIDER, 9, 0},
        /* Charged by another measure. */
        {{.choices = 1, .embeds = true}, true, false, 0, 0, 0, USAGE_PROVIDER, 0, -1},
        {{.choices = 1, .listens = true}, true, true, 0, 0, 70, USAGE_PROVIDER, 0, 0},
        {{.choices = 1, .draws = true}, true, true, 0, 7, 0, USAGE_PROVIDER, 0, 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct tap_result seen = {.output_bytes = CASES[i].bytes,
                                  .end = CASES[i].final ? TAP_END_COMPLETE : TAP_END_NONE,
                                  .usage_is_final = CASES[i].final,
                                  .has_usage = true};
        struct outcome got;

        usage_set(&seen.usage, USAGE_INPUT, CASES[i].in);
        if (CASES[i].has_out)
            usage_set(&seen.usage, USAGE_OUTPUT, CASES[i].out);
        got = complete(&CASES[i].facts, &seen, 200);
        print_message("%zu\n", i);
        assert_int_equal(got.source, CASES[i].source);
        assert_int_equal(got.input, CASES[i].input == -2
                                        ? (int64_t)estimate_input_tokens(&CASES[i].facts)
                                        : CASES[i].input);
        assert_int_equal(got.output, CASES[i].output);
        assert_int_equal(estimate_lacks_input(&CASES[i].facts, &seen), CASES[i].input == -2);
    }
}

/* What is charged by other measures than text: from the request, where no answer tells. */
static void test_media(void **state)
{
    static const struct {
        const char *about;
        struct request_facts facts;
        struct tap_result seen;
        enum usage_source source;
        int64_t images, audio_ms, characters, searches, input, output;
    } CASES[] = {
        {"images that came", {.choices = 2, .draws = true},
         {.usage = {.n = {[USAGE_IMAGES] = 1}, .has = 1u << USAGE_IMAGES}, .end = TAP_END_COMPLETE},
         USAGE_ESTIMATED, 1, -1, -1, -1, -1, -1},
        {"images that broke off", {.choices = 2, .draws = true}, {.end = TAP_END_NONE},
         USAGE_ESTIMATED, 2, -1, -1, -1, -1, -1},
        {"speech", {.choices = 1, .speaks = true, .characters = 30, .text_bytes = 33},
         {.end = TAP_END_COMPLETE}, USAGE_ESTIMATED, -1, -1, 30, -1, 27, 40},
        {"a transcript as text", {.choices = 1, .listens = true, .audio_ms = 2000, .media_parts = 1},
         {.end = TAP_END_COMPLETE, .output_bytes = 7}, USAGE_ESTIMATED, -1, 2000, -1, -1, 36, 2},
        {"speech by the character alone",
         {.choices = 1, .speaks = true, .embeds = true, .characters = 30, .text_bytes = 33},
         {.end = TAP_END_COMPLETE}, USAGE_ESTIMATED, -1, -1, 30, -1, -1, -1},
        {"sound by its length alone",
         {.choices = 1, .listens = true, .embeds = true, .audio_ms = 2000},
         {.end = TAP_END_COMPLETE, .output_bytes = 7}, USAGE_ESTIMATED, -1, 2000, -1, -1, -1, -1},
        {"sound whose length nobody tells",
         {.choices = 1, .listens = true, .embeds = true, .audio_ms = 2000, .audio_is_guess = true},
         {.end = TAP_END_COMPLETE}, USAGE_NONE, -1, -1, -1, -1, -1, -1},
        {"a ranking", {.choices = 1, .ranks = true, .embeds = true, .text_bytes = 3},
         {.end = TAP_END_COMPLETE}, USAGE_ESTIMATED, -1, -1, -1, 1, 17, -1},
        {"seconds alone, from the provider", {.choices = 1, .listens = true, .audio_ms = 9000},
         {.usage = {.n = {[USAGE_AUDIO_MS] = 7000}, .has = 1u << USAGE_AUDIO_MS},
          .has_usage = true, .usage_is_final = true, .end = TAP_END_COMPLETE},
         USAGE_PROVIDER, -1, 7000, -1, -1, -1, -1},
        {"work that goes on", {.choices = 1, .background = true, .text_bytes = 300},
         {.end = TAP_END_COMPLETE, .pending = true}, USAGE_NONE, -1, -1, -1, -1, -1, -1},
        {"a batch that was made", {.choices = 1, .later = true, .text_bytes = 300},
         {.end = TAP_END_COMPLETE}, USAGE_NONE, -1, -1, -1, -1, -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct {
            enum usage_field field;
            int64_t want;
        } FIELDS[] = {{USAGE_IMAGES, CASES[i].images},   {USAGE_AUDIO_MS, CASES[i].audio_ms},
                      {USAGE_CHARACTERS, CASES[i].characters},
                      {USAGE_SEARCH_UNITS, CASES[i].searches},
                      {USAGE_INPUT, CASES[i].input},     {USAGE_OUTPUT, CASES[i].output}};
        struct usage u;

        assert_int_equal(estimate_complete(&CASES[i].facts, &CASES[i].seen, 200, 0, &PLAIN, &u),
                         CASES[i].source);
        for (size_t f = 0; f < sizeof(FIELDS) / sizeof(FIELDS[0]); f++) {
            int64_t got = usage_has(&u, FIELDS[f].field) ? (int64_t)u.n[FIELDS[f].field] : -1;

            if (got != FIELDS[f].want) {
                print_error("%s: %s is %jd\n", CASES[i].about,
                            usage_field_name(FIELDS[f].field), (intmax_t)got);
                fail();
            }
        }
    }
}

/* Who charges characters or seconds has no tokens that a limit could be of. */
static void sound_alone_takes_no_tokens(void **state)
{
    struct request_facts f = {.choices = 1, .embeds = true, .speaks = true, .characters = 900,
                              .text_bytes = 900};

    (void)state;
    assert_int_equal(estimate_input_tokens(&f) + estimate_max_output_tokens(&f, 4096), 0);
    f = (struct request_facts){.choices = 1, .embeds = true, .listens = true, .audio_ms = 3600000};
    assert_int_equal(estimate_input_tokens(&f) + estimate_max_output_tokens(&f, 4096), 0);
    f.embeds = false;
    assert_true(estimate_input_tokens(&f) > 0 && estimate_max_output_tokens(&f, 4096) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_alone_takes_no_tokens),
        cmocka_unit_test(test_media),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_max_output),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
