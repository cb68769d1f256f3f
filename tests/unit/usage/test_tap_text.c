/*
 * Generated text counted by the tap: whatever pieces it comes in, as many tokens as the whole
 * text has; nothing where the provider says what it took.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"

enum { BODY_MAX = 4 << 20, LONG_BYTES = 5 * TAP_TEXT_MAX_BYTES };

#define EVENT "data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""
#define EVENT_END "\"}}]}\n\n"
#define USAGE                                                                                  \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}\n\n"

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

static struct tap *open_tap(const char *path, const char *type)
{
    const struct protocol *p = protocol_find(STRV("openai"));
    struct route route;
    struct tap *tap;

    protocol_route(p, STRV("POST"), strv_z(path), STRV_NONE, &route);
    tap = tap_new(p, &route, false);
    tap_count_text(tap, tokenizer, ENCODING_O200K);
    tap_head(tap, &(struct tap_response){.status = 200, .content_type = strv_z(type)});
    return tap;
}

/* In steps of so many bytes, each from memory of its own. */
static struct tap *read_body(const char *path, const char *type, struct strv body, size_t step)
{
    struct tap *tap = open_tap(path, type);
    struct buf pass;

    buf_init(&pass, BODY_MAX);
    while (body.n > 0) {
        struct strv part = strv_head(body, step);
        char *copy = xmalloc(part.n);

        memcpy(copy, part.p, part.n);
        assert_int_equal(tap_feed(tap, strv_make(copy, part.n), &pass), RC_OK);
        free(copy);
        body = strv_skip(body, part.n);
    }
    assert_int_equal(tap_finish(tap, true, &pass), RC_OK);
    buf_release(&pass);
    return tap;
}

static void add(struct buf *b, const char *text)
{
    assert_int_equal(buf_append(b, text, strlen(text)), RC_OK);
}

static const size_t STEPS[] = {1, 2, 3, 7, 64, 1 << 20};

static void check(const char *path, const char *type, const struct buf *body, const char *text)
{
    uint64_t want = tokenizer_count(tokenizer, ENCODING_O200K, strv_z(text));

    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        struct tap *tap = read_body(path, type, buf_view(body), STEPS[i]);
        const struct tap_result *r = tap_result(tap);

        assert_true(r->text_counted);
        if (r->text_tokens != want)
            fail_msg("%llu tokens in steps of %zu, wanted %llu: %s",
                     (unsigned long long)r->text_tokens, STEPS[i], (unsigned long long)want, text);
        tap_free(tap);
    }
}

/* Deltas cut words and escapes fall anywhere; many are alike, so that they are not parsed. */
static void test_stream(void **state)
{
    static const char *const DELTAS[] = {"The", " fort", "night", "ly", " report", ":\\n", "\\n",
                                         "\\u4e16\\u754c", " \\ud83d\\ude00", " \\ud83d.", "\\\"q",
                                         "uoted\\\"", " and", " so", " on", " an", "ti", "dis",
                                         "establish", "ment", "arian", "ism", "."};
    struct buf body;

    (void)state;
    buf_init(&body, BODY_MAX);
    add(&body, "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n");
    for (size_t i = 0; i < sizeof(DELTAS) / sizeof(DELTAS[0]); i++) {
        add(&body, EVENT);
        add(&body, DELTAS[i]);
        add(&body, EVENT_END);
    }
    check("/v1/chat/completions", "text/event-stream", &body,
          "The fortnightly report:\n\n\u4e16\u754c \U0001f600 \ufffd.\"quoted\" and so on "
          "antidisestablishmentarianism.");
    buf_release(&body);
}

/* A plain answer without usage, also one that broke off within its text. */
static void test_document(void **state)
{
    static const char *const CASES[][2] = {
        {"{\"choices\":[{\"message\":{\"content\":\"Hello \\u00e9 world, how are you?\"}}]}",
         "Hello \u00e9 world, how are you?"},
        {"{\"choices\":[{\"message\":{\"content\":\"Hello world, how are y", "Hello world, how are y"},
        {"{\"choices\":[{\"message\":{\"content\":\"\"}}]}", ""},
    };
    struct buf body;

    (void)state;
    buf_init(&body, BODY_MAX);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        buf_clear(&body);
        add(&body, CASES[i][0]);
        check("/v1/chat/completions", "application/json", &body, CASES[i][1]);
    }
    buf_release(&body);
}

static void test_provider_says(void **state)
{
    struct buf body;
    struct tap *tap;

    (void)state;
    buf_init(&body, BODY_MAX);
    add(&body, EVENT "Hello" EVENT_END EVENT " world" EVENT_END USAGE "data: [DONE]\n\n");
    tap = read_body("/v1/chat/completions", "text/event-stream", buf_view(&body), 100);
    assert_true(tap_result(tap)->usage_is_final);
    assert_false(tap_result(tap)->text_counted);
    tap_free(tap);
    buf_release(&body);
}

/* Beyond the bound: as the text before it. */
static void test_long(void **state)
{
    static const char WORDS[] = "Plain words of a plain text, which go on and on. ";
    uint64_t want, got;
    struct buf body, text;
    struct tap *tap;

    (void)state;
    buf_init(&body, BODY_MAX);
    buf_init(&text, BODY_MAX);
    while (buf_len(&text) < LONG_BYTES) {
        add(&body, EVENT);
        add(&body, WORDS);
        add(&body, EVENT_END);
        add(&text, WORDS);
    }
    want = tokenizer_count(tokenizer, ENCODING_O200K, buf_view(&text));
    tap = read_body("/v1/chat/completions", "text/event-stream", buf_view(&body), 5000);
    got = tap_result(tap)->text_tokens;
    assert_true(tap_result(tap)->text_counted);
    assert_in_range(got, want - want / 1000, want + want / 1000);
    tap_free(tap);
    buf_release(&body);
    buf_release(&text);
}

/* Of a text whose begin has more tokens than its rest, what is beyond the bound was not looked at. */
static void test_bound(void **state)
{
    static const char DENSE[] = "q7 Zx ", WORDS[] = "Plain words of a plain text, which go on. ";
    struct buf body, text;
    uint64_t want, whole;
    struct tap *tap;

    (void)state;
    buf_init(&body, BODY_MAX);
    buf_init(&text, BODY_MAX);
    while (buf_len(&text) < LONG_BYTES) {
        const char *piece = buf_len(&text) < TAP_TEXT_MAX_BYTES ? DENSE : WORDS;

        add(&body, EVENT);
        for (int i = 0; i < 100; i++) {
            add(&body, piece);
            add(&text, piece);
        }
        add(&body, EVENT_END);
    }
    whole = tokenizer_count(tokenizer, ENCODING_O200K, buf_view(&text));
    want = tokenizer_count(tokenizer, ENCODING_O200K,
                           strv_head(buf_view(&text), TAP_TEXT_MAX_BYTES)) *
           buf_len(&text) / TAP_TEXT_MAX_BYTES;
    assert_true(whole < want - want / 4);
    tap = read_body("/v1/chat/completions", "text/event-stream", buf_view(&body), 5000);
    assert_in_range(tap_result(tap)->text_tokens, want - want / 1000, want + want / 1000);
    tap_free(tap);
    buf_release(&body);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_provider_says),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_bound),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
