#include "metering/usage/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "tests/unit/unit.h"

enum { CHAT_MESSAGE = 3, CHAT_ANSWER = 3, BIG_BYTES = 300000 };

static struct tokenizer *tokenizer;

static int setup(void **state)
{
    (void)state;
    tokenizer = tokenizer_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tokenizer_free(tokenizer);
    return 0;
}

static uint64_t tokens(const char *text)
{
    return tokenizer_count(tokenizer, ENCODING_O200K, strv_z(text));
}

/* Counted in steps of this many bytes; the longest step must not do much more. */
static uint64_t count(const char *path, const char *model, struct strv body, size_t step,
                      bool *exact)
{
    struct prompt_counter p;
    struct route route;
    uint64_t n;

    protocol_route(protocol_find(STRV("openai")), STRV("POST"), strv_z(path), STRV_NONE, &route);
    assert_true(prompt_counter_init(&p, tokenizer, &route, strv_z(model), body));
    while (!prompt_counter_step(&p, step))
        ;
    n = prompt_counter_tokens(&p);
    *exact = p.exact;
    prompt_counter_fini(&p);
    return n;
}

static void check(const char *path, const char *model, const char *body, uint64_t want,
                  bool want_exact)
{
    static const size_t steps[] = {1, 100, PROMPT_STEP_BYTES, 1 << 30};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        bool exact;
        uint64_t n = count(path, model, strv_z(body), steps[i], &exact);

        if (n != want || exact != want_exact)
            fail_msg("%llu tokens%s, wanted %llu: %s", (unsigned long long)n,
                     exact ? " exactly" : "", (unsigned long long)want, body);
    }
}

static void test_chat(void **state)
{
    const char *chat = "/v1/chat/completions", *model = "gpt-4o-mini";
    uint64_t message = CHAT_MESSAGE + tokens("user");

    (void)state;
    check(chat, model, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello, world!\"}]}",
          CHAT_ANSWER + message + tokens("Hello, world!"), true);
    /* Order and white space mean nothing; escapes are what they stand for. */
    check(chat, model,
          "{ \"messages\" : [ {\"content\":\"a\\n\\u4e16\\ud83d\\ude00\\\"\\/\\t\\ud83d.\", "
          "\"role\":\"\\u0075ser\"} ], \"temperature\":1, \"user\":\"not of the prompt\" }",
          CHAT_ANSWER + message + tokens("a\n\u4e16\U0001f600\"/\t\ufffd."), true);
    check(chat, model,
          "{\"messages\":[{\"role\":\"user\",\"name\":\"ann\",\"content\":\"x\"},"
          "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
          "{\"type\":\"text\",\"text\":\"two\"}]}]}",
          CHAT_ANSWER + 2 * message + 1 + tokens("ann") + tokens("x") + tokens("one") +
              tokens("two"),
          true);
    check(chat, "claude-sonnet-4-5",
          "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}",
          CHAT_ANSWER + message + tokens("Hello"), false);
    check(chat, "o3", "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}",
          5 + message + 1 + tokens("Hello"), false);
}

static void test_tools(void **state)
{
    static const char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]";
    char body[512];
    bool exact;

    (void)state;
    snprintf(body, sizeof(body), "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":%s}",
             tools);
    assert_true(count("/v1/chat/completions", "gpt-4o", strv_z(body), 64, &exact) >=
                CHAT_ANSWER + CHAT_MESSAGE + tokens("user") + tokens("x") + tokens(tools));
    assert_false(exact);
}

static void test_others(void **state)
{
    (void)state;
    check("/v1/completions", "gpt-3.5-turbo-instruct", "{\"prompt\":\"Hello, world!\"}",
          tokenizer_count(tokenizer, ENCODING_CL100K, STRV("Hello, world!")), true);
    check("/v1/completions", "gpt-4o", "{\"prompt\":[\"ab\",\"cd e\"]}",
          tokens("ab") + tokens("cd e"), true);
    check("/v1/embeddings", "gpt-4o", "{\"input\":[[1,2,3],[4]]}", 4, true);
    check("/v1/embeddings", "text-embedding-3-small", "{\"input\":\"same\"}",
          tokenizer_count(tokenizer, ENCODING_CL100K, STRV("same")), true);
    check("/v1/responses", "gpt-4o", "{\"input\":\"Hello\",\"instructions\":\"Be brief\"}",
          5 + 2 * 5 + tokens("Hello") + tokens("Be brief"), false);
    check("/v1/responses", "gpt-4o",
          "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"Hi\"}]}]}",
          5 + 4 + tokens("user") + tokens("Hi"), false);
}

/* Another protocol's prompts are not counted so. */
static void test_not_ours(void **state)
{
    struct prompt_counter p;
    struct route route;

    (void)state;
    protocol_route(protocol_find(STRV("anthropic")), STRV("POST"), STRV("/v1/messages"),
                   STRV_NONE, &route);
    assert_false(prompt_counter_init(&p, tokenizer, &route, STRV("m"), STRV("{}")));
}

/* A string of many slices; each step does what it was asked, and little more. */
static void test_long(void **state)
{
    char *body = xmalloc(BIG_BYTES + 100), *text = xmalloc(BIG_BYTES);
    size_t head = (size_t)sprintf(body, "{\"prompt\":\""), steps = 0; /* allow: sprintf, its own */
    struct prompt_counter p;
    struct route route;

    (void)state;
    for (size_t i = 0; i < BIG_BYTES; i++)
        text[i] = "the quick brown fox "[i % 20];
    memcpy(body + head, text, BIG_BYTES);
    memcpy(body + head + BIG_BYTES, "\"}", 2);
    protocol_route(protocol_find(STRV("openai")), STRV("POST"), STRV("/v1/completions"),
                   STRV_NONE, &route);
    assert_true(prompt_counter_init(&p, tokenizer, &route, STRV("gpt-4o"),
                                    strv_make(body, head + BIG_BYTES + 2)));
    while (!prompt_counter_step(&p, PROMPT_STEP_BYTES))
        steps++;
    assert_in_range(steps, 2 * BIG_BYTES / PROMPT_STEP_BYTES - 2, 2 * BIG_BYTES / PROMPT_STEP_BYTES + 2);
    assert_int_equal(prompt_counter_tokens(&p),
                     tokenizer_count(tokenizer, ENCODING_O200K, strv_make(text, BIG_BYTES)));
    assert_true(p.exact);
    prompt_counter_fini(&p);
    free(body);
    free(text);
}

static void test_image_sizes(void **state)
{
    static const struct {
        const char *url;
        bool known;
        uint32_t width, height;
    } CASES[] = {
        {"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAIAAAA", true, 1024, 768},
        {"data:image\\/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAIAAAA", true, 1024, 768},
        {"data:image/gif;base64,R0lGODlhQAHwAIAAAA", true, 320, 240},
        /* VP8X of 400 x 300 */
        {"data:image/webp;base64,UklGRhoAAABXRUJQVlA4WAoAAAAAAAAAjwEAKwEA", true, 400, 300},
        /* a comment, then SOF0 of 640 x 480 */
        {"data:image/jpeg;base64,/9j//gAEaGn/wAARCAHgAoADASIAAhEB", true, 640, 480},
        {"data:image/jpeg;base64,/9j//gAEaGn/wAAR", false, 0, 0},
        {"data:image/png;base64,iVBORw0KGgo", false, 0, 0},
        {"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAAAAAMACAIAAAA", false, 0, 0},
        {"https://example.com/a.png", false, 0, 0},
        {"data:", false, 0, 0},
        {"", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct image_size size = {0, 0};

        if (image_size_of_url(strv_z(CASES[i].url), &size) != CASES[i].known ||
            (CASES[i].known &&
             (size.width != CASES[i].width || size.height != CASES[i].height)))
            fail_msg("%s: %u x %u", CASES[i].url, size.width, size.height);
    }
}

static void test_image_tokens(void **state)
{
    static const struct {
        const char *model;
        struct image_size size;
        bool low;
        uint64_t want;
    } CASES[] = {
        {"gpt-4o", {1024, 1024}, false, 765},  {"gpt-4o", {2048, 4096}, false, 1105},
        {"gpt-4o", {4096, 8192}, true, 85},    {"gpt-4o", {1, 1}, false, 255},
        {"gpt-4o-mini", {1, 1}, false, 8500},  {"gpt-5", {1024, 1024}, false, 630},
        {"gpt-5-mini", {1024, 1024}, false, 1229}, {"gpt-4.1-mini", {32, 33}, false, 4},
        {"gpt-4o", {IMAGE_SIDE_MAX, 1}, false, 85 + 4 * 170},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_int_equal(image_tokens(strv_z(CASES[i].model), &CASES[i].size, CASES[i].low),
                         CASES[i].want);
    assert_int_equal(image_tokens(STRV("gpt-4o"), NULL, false), 85 + 8 * 170);
    check("/v1/chat/completions", "gpt-4o",
          "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
          "\"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAIAAAA\"}}]}]}",
          CHAT_ANSWER + CHAT_MESSAGE + tokens("user") + 765, true);
    check("/v1/chat/completions", "gpt-4o",
          "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
          "\"https://x\",\"detail\":\"low\"}}]}]}",
          CHAT_ANSWER + CHAT_MESSAGE + tokens("user") + 85, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat),        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_others),      cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_long),        cmocka_unit_test(test_image_sizes),
        cmocka_unit_test(test_image_tokens),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
