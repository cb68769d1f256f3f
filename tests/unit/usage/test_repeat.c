/*
 * Events that are known again (metering/usage/repeat.h): a stream fed byte by byte is
 * scanned in full, the same stream in one piece mostly is not, and both must tell the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/repeat.h"
#include "metering/usage/tap.h"
#include "tests/unit/unit.h"

enum { STREAM_MAX = 16384, ROUNDS = 1500, EVENTS = 14 };

static uint64_t seed = 1;

static unsigned pick(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

#define CHUNK(rest) "data: {\"id\":\"c1\",\"created\":7,\"model\":\"gpt-4o\"," rest "}\n\n"
#define DELTA(text)                                                                            \
    CHUNK("\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},"                    \
          "\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"%s\"")

/* "%s" is a text of its own each time. */
static const char *const OPENAI[] = {
    DELTA("%s"),
    DELTA("%s"),
    DELTA("%s"),
    DELTA("%s"),
    "data: {\"id\":\"c1\", \"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\r\r",
    ": ping\n\ndata: {\"choices\":[{\"delta\":{\"refusal\":\"%s\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning\":\"%s\",\"content\":\"%s\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"x\":\"%s\"}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\n",
    ("data: {\"choices\":[{\"text\":\"%s\"}],\"usage\":{\"prompt_tokens\":5,"
     "\"completion_tokens\":7}}\n\n"),
    "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"\n\n",
    "data: {\"model\":\"%s\",\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
    "event: error\ndata: {\"error\":{\"message\":\"%s\"}}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\ndata: %s\"}}]}\n\n",
    "data: [DONE]\n\n",
    "data:\ndata:\n\n",
};

static const char *const RESPONSES[] = {
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
    "\"sequence_number\":%u,\"delta\":\"%s\",\"obfuscation\":\"%s\"}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
    "\"sequence_number\":%u,\"delta\":\"%s\",\"obfuscation\":\"%s\"}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
    "\"sequence_number\":0%u,\"delta\":\"%s\"}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":"
    "{\"input_tokens\":%u,\"output_tokens\":9}}}\n\n",
    "data: {\"type\":\"response.failed\",\"x\":%u}\n\n",
};

static const char *const ANTHROPIC[] = {
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"%s\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"%s\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%u,"
    "\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"%s\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
    "\"end_turn\"},\"usage\":{\"output_tokens\":%u}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

static const char *const GEMINI[] = {
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\"}]}}],"
    "\"modelVersion\":\"g\"}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\"}]}}],"
    "\"modelVersion\":\"g\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\"}]}}],\"usageMetadata\":"
    "{\"promptTokenCount\":4,\"candidatesTokenCount\":%u}}\n\n",
    "data: {\"candidates\":[{\"finishReason\":\"STOP\",\"index\":%u}]}\n\n",
};

static const struct {
    const char *protocol, *path;
    const char *const *events;
    unsigned n;
} KINDS[] = {
#define MENU(array) (array), sizeof(array) / sizeof((array)[0])
    {"openai", "/v1/chat/completions", MENU(OPENAI)},
    {"openai", "/v1/responses", MENU(RESPONSES)},
    {"anthropic", "/v1/messages", MENU(ANTHROPIC)},
    {"gemini", "/v1beta/models/g:streamGenerateContent", MENU(GEMINI)},
#undef MENU
};

static const char *const TEXTS[] = {
    "",
    "word",
    " two words",
    "\\n",
    "\\\"quoted\\\"",
    "\\u00e9",
    "\xc3\xa9",
    "\\ud83d\\ude00",
    "broken \\u12",
    "\\x",
    "a\tb",
    "\\\\",
    "a text that is longer than what one look of the scanner takes in",
    "\",\"usage\":{}",
};

/* Writes one event; returns its length. */
static size_t write_event(char *out, size_t room, const char *format)
{
    size_t n = 0;

    for (; *format != '\0'; format++) {
        char number[24];
        const char *text = number;

        if (*format != '%') {
            snprintf(number, sizeof(number), "%c", *format);
        } else if (*++format == 's') {
            text = TEXTS[pick(sizeof(TEXTS) / sizeof(TEXTS[0]))];
        } else {
            snprintf(number, sizeof(number), "%u", pick(200));
        }
        for (; *text != '\0' && n < room; text++)
            out[n++] = *text;
    }
    return n;
}

static size_t write_stream(char *out, unsigned kind)
{
    unsigned likely = pick(KINDS[kind].n);
    size_t n = 0;

    for (unsigned i = 0; i < EVENTS; i++) {
        unsigned event = pick(3) > 0 ? likely : pick(KINDS[kind].n);

        n += write_event(out + n, STREAM_MAX - n, KINDS[kind].events[event]);
    }
    if (pick(3) == 0) /* and whatever a line's noise makes of it */
        out[pick((unsigned)n)] = (char)pick(256);
    return n;
}

static void read_stream(unsigned kind, bool asked, struct strv bytes, size_t step,
                        struct buf *pass, struct tap_result *result)
{
    const struct protocol *p = protocol_find(strv_z(KINDS[kind].protocol));
    struct tap_response head = {.status = 200, .content_type = STRV("text/event-stream")};
    struct route route;
    struct tap *tap;

    protocol_route(p, STRV("POST"), strv_z(KINDS[kind].path), STRV_NONE, &route);
    tap = tap_new(p, &route, asked);
    tap_head(tap, &head);
    buf_clear(pass);
    for (size_t at = 0; at < bytes.n; at += step) {
        struct strv piece = strv_head(strv_skip(bytes, at), step);
        char *copy = malloc(piece.n); /* a block of its own: reads past it are seen */

        assert_non_null(copy);
        memcpy(copy, piece.p, piece.n);
        assert_int_equal(tap_feed(tap, strv_make(copy, piece.n), pass), RC_OK);
        free(copy);
    }
    assert_int_equal(tap_finish(tap, true, pass), RC_OK);
    *result = *tap_result(tap);
    tap_free(tap);
}

static bool same_result(const struct tap_result *a, const struct tap_result *b)
{
    return memcmp(&a->usage, &b->usage, sizeof(a->usage)) == 0 &&
           a->has_usage == b->has_usage && a->usage_is_final == b->usage_is_final &&
           a->inconsistent == b->inconsistent && a->undecodable == b->undecodable &&
           a->end == b->end && a->framing == b->framing && a->output_bytes == b->output_bytes &&
           strcmp(a->model, b->model) == 0 && strcmp(a->service_tier, b->service_tier) == 0;
}

static void test_pieces_and_whole_agree(void **state)
{
    char *stream = malloc(STREAM_MAX);
    struct buf a, b;

    (void)state;
    assert_non_null(stream);
    buf_init(&a, 2 * STREAM_MAX);
    buf_init(&b, 2 * STREAM_MAX);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned kind = pick(sizeof(KINDS) / sizeof(KINDS[0]));
        bool asked = pick(2) == 0;
        struct strv bytes = strv_make(stream, write_stream(stream, kind));
        struct tap_result whole, bytewise, pieces;

        read_stream(kind, asked, bytes, bytes.n, &a, &whole);
        read_stream(kind, asked, bytes, 1, &b, &bytewise);
        if (!same_result(&whole, &bytewise) || !strv_eq(buf_view(&a), buf_view(&b)))
            fail_msg("round %u, kind %u: not the same in one piece:\n" STRV_FMT, i, kind,
                     STRV_ARG(bytes));
        read_stream(kind, asked, bytes, 1 + pick(900), &b, &pieces);
        if (!same_result(&pieces, &bytewise) || !strv_eq(buf_view(&a), buf_view(&b)))
            fail_msg("round %u, kind %u: not the same in pieces:\n" STRV_FMT, i, kind,
                     STRV_ARG(bytes));
    }
    buf_release(&a);
    buf_release(&b);
    free(stream);
}

/* ---- the comparison itself ---------------------------------------------------------- */

static const char EVENT[] = "data: {\"id\":\"a1\",\"n\":12,\"text\":\"hello\"}\n\n";

/* EVENT as learnt: gaps are the values of id, n and text, the last of them counted. */
static void learn(struct repeat *r)
{
    struct jscan_gap at[] = {
        {.begin = 7, .end = 9, .kind = JSCAN_GAP_STRING},
        {.begin = 15, .end = 17, .kind = JSCAN_GAP_NUMBER},
        {.begin = 26, .end = 31, .text_bytes = 5, .kind = JSCAN_GAP_COUNTED},
    };
    struct jscan_gaps gaps = {.n = 3, .max = 3, .at = at};

    r->n = 0;
    repeat_learn(r, strv_z(EVENT), 6, &gaps, 5);
}

static void test_match(void **state)
{
    static const struct {
        const char *bytes;
        bool matches;
        unsigned counted;
    } CASES[] = {
        {EVENT, true, 5},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"\"}\n\nmore", true, 0},
        {"data: {\"id\":\"\",\"n\":-3.5e2,\"text\":\"a\\n\\u00e9\"}\n\n", true, 4},
        {"data: {\"id\":\"a1\",\"n\":012,\"text\":\"hello\"}\n\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":,\"text\":\"hello\"}\n\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"hello\"}\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"hel", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"h\\xo\"}\n\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"h\\u12\"}\n\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"h\no\"}\n\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"test\":\"hello\"}\n\n", false, 0},
        {"data: {\"id\":\"a1\",\"n\":12,\"text\":\"hello\",\"x\":1}\n\n", false, 0},
        {"", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv bytes = strv_z(CASES[i].bytes);
        struct repeat r;
        size_t used = 0;
        uint64_t counted = 0;

        learn(&r);
        if (repeat_match(&r, bytes, &used, &counted, NULL) != CASES[i].matches)
            fail_msg("case %zu: %s", i, CASES[i].bytes);
        if (!CASES[i].matches)
            continue;
        assert_int_equal(counted, CASES[i].counted);
        assert_int_equal(used, strv_ends(bytes, STRV("more")) ? bytes.n - 4 : bytes.n);
    }
}

static void test_narrows_to_what_changes(void **state)
{
    struct strv next = STRV("data: {\"id\":\"a1\",\"n\":13,\"text\":\"hello\"}\n\n");
    struct strv other = STRV("data: {\"id\":\"b2\",\"n\":14,\"text\":\"bye\"}\n\n");
    struct repeat r;
    uint64_t counted;
    size_t used;

    (void)state;
    learn(&r);
    assert_true(repeat_match(&r, next, &used, &counted, NULL));
    assert_int_equal(r.n_gaps, 2); /* id is the same; text always may differ */
    assert_false(repeat_match(&r, other, &used, &counted, NULL));
    learn(&r);
    assert_true(repeat_match(&r, other, &used, &counted, NULL));
    assert_int_equal(r.n_gaps, 3);
}

static void test_bounds(void **state)
{
    char event[REPEAT_TEXT_MAX + 1];
    struct jscan_gaps none = {.n = 0};
    struct repeat r = {.n = 0};
    uint64_t counted;
    size_t used;

    (void)state;
    memset(event, 'x', sizeof(event));
    repeat_learn(&r, strv_make(event, sizeof(event)), 0, &none, 0);
    assert_false(repeat_match(&r, strv_make(event, sizeof(event)), &used, &counted, NULL));
    repeat_learn(&r, strv_make(event, REPEAT_TEXT_MAX), 0, &none, 3);
    assert_true(repeat_match(&r, strv_make(event, sizeof(event)), &used, &counted, NULL));
    assert_int_equal(used, REPEAT_TEXT_MAX);
    assert_int_equal(counted, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_and_whole_agree),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_narrows_to_what_changes),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
