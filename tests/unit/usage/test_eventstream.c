#include "metering/usage/eventstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"
#include "metering/usage/unwrap.h"
#include "tests/unit/unit.h"

enum { STREAM_MAX = 1 << 20, LOG_MAX = 4096 };

/* ---- making streams ----------------------------------------------------------------- */

static void put(struct buf *out, const void *p, size_t n)
{
    assert_int_equal(buf_append(out, p, n), RC_OK);
}

static void put_u32(struct buf *out, uint32_t n)
{
    const unsigned char bytes[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16),
                                    (unsigned char)(n >> 8), (unsigned char)n};

    put(out, bytes, sizeof(bytes));
}

static uint32_t crc_from(const struct buf *out, size_t from)
{
    struct strv bytes = strv_skip(buf_view(out), from);

    return (uint32_t)crc32(0, (const unsigned char *)bytes.p, (unsigned)bytes.n);
}

/* A message of these header bytes and this payload. */
static void put_message(struct buf *out, struct strv headers, struct strv payload)
{
    size_t from = buf_len(out);

    put_u32(out, (uint32_t)(16 + headers.n + payload.n));
    put_u32(out, (uint32_t)headers.n);
    put_u32(out, crc_from(out, from));
    put(out, headers.p, headers.n);
    put(out, payload.p, payload.n);
    put_u32(out, crc_from(out, from));
}

static void put_header(struct buf *out, const char *name, const char *value)
{
    const unsigned char head[1] = {(unsigned char)strlen(name)};
    const unsigned char type[3] = {7, 0, (unsigned char)strlen(value)};

    put(out, head, 1);
    put(out, name, strlen(name));
    put(out, type, 3);
    put(out, value, strlen(value));
}

static void put_event(struct buf *out, const char *name, const char *payload)
{
    struct buf headers;

    buf_init(&headers, 1024);
    put_header(&headers, ":event-type", name);
    put_header(&headers, ":content-type", "application/json");
    put_header(&headers, ":message-type", "event");
    put_message(out, buf_view(&headers), strv_z(payload));
    buf_release(&headers);
}

static void put_exception(struct buf *out, const char *name)
{
    struct buf headers;

    buf_init(&headers, 1024);
    put_header(&headers, ":message-type", "exception");
    put_header(&headers, ":exception-type", name);
    put_message(out, buf_view(&headers), STRV("{\"message\":\"m\"}"));
    buf_release(&headers);
}

static void put_chunk(struct buf *out, const char *inner)
{
    static const char DIGITS[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[2048] = "{\"p\":\"abc\\\"\",\"bytes\":\"";
    size_t n = strlen(text), len = strlen(inner);

    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = 0;

        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < len ? (unsigned char)inner[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            text[n++] = k > len - i ? '=' : DIGITS[bits >> (18 - 6 * k) & 63];
    }
    memcpy(text + n, "\"}", 3);
    put_event(out, "chunk", text);
}

/* ---- framing -------------------------------------------------------------------------- */

/* What is told, as text: type/name{payload}; ends with "!" where it is bad. */
static void frame(struct strv bytes, size_t first, size_t step, char *out)
{
    struct eventstream s;
    size_t n = 0;

    eventstream_init(&s);
    out[0] = '\0';
    for (size_t at = 0; at < bytes.n;) {
        struct strv whole = strv_head(strv_skip(bytes, at), at == 0 ? first : step), data;
        char *copy = xmalloc(whole.n); /* a block of its own: reads past it are seen */
        struct strv piece = strv_make(copy, whole.n);
        enum eventstream_what what;
        size_t used;

        memcpy(copy, whole.p, whole.n);
        at += whole.n;
        while ((what = eventstream_next(&s, piece, &used, &data)) != EVENTSTREAM_MORE) {
            piece = strv_skip(piece, used);
            assert_true(n < LOG_MAX / 2);
            if (what == EVENTSTREAM_BEGIN)
                n += (size_t)snprintf(out + n, LOG_MAX - n, STRV_FMT "/" STRV_FMT "{",
                                      STRV_ARG(eventstream_type(&s)),
                                      STRV_ARG(eventstream_name(&s)));
            else if (what == EVENTSTREAM_DATA)
                n += (size_t)snprintf(out + n, LOG_MAX - n, STRV_FMT, STRV_ARG(data));
            else if (what == EVENTSTREAM_END)
                n += (size_t)snprintf(out + n, LOG_MAX - n, "}");
            else
                break;
        }
        free(copy);
        if (what == EVENTSTREAM_BAD) {
            (void)snprintf(out + n, LOG_MAX - n, "!");
            return;
        }
    }
}

/* Whole, at every split, byte by byte. */
static void check_frames(struct strv bytes, const char *want)
{
    char log[LOG_MAX];

    frame(bytes, bytes.n, 1, log);
    assert_string_equal(log, want);
    frame(bytes, 1, 1, log);
    assert_string_equal(log, want);
    for (size_t at = 1; at < bytes.n; at++) {
        frame(bytes, at, bytes.n, log);
        assert_string_equal(log, want);
    }
}

static void test_frames(void **state)
{
    static const char TYPES[] = "\1a\0\1b\1\1c\2X\1d\3XX\1e\4XXXX\1f\5XXXXXXXX\1g\6\0\2YY"
                                "\1h\7\0\0\1i\10ZZZZZZZZ\1j\11ZZZZZZZZZZZZZZZZ";
    struct buf out;

    (void)state;
    buf_init(&out, STREAM_MAX);
    put_event(&out, "messageStart", "{\"role\":1}");
    put_event(&out, "x", "");
    put_exception(&out, "throttlingException");
    put_message(&out, STRV_NONE, STRV("bare"));
    put_message(&out, STRV_NONE, STRV_NONE);
    put_message(&out, strv_make(TYPES, sizeof(TYPES) - 1), STRV("t"));
    check_frames(buf_view(&out), "event/messageStart{{\"role\":1}}event/x{}exception/"
                                 "throttlingException{{\"message\":\"m\"}}/{bare}/{}/{t}");
    buf_release(&out);
}

/* The published example of one message: 16 bytes without headers and payload. */
static void test_known(void **state)
{
    static const unsigned char EMPTY[] = {0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
                                          0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff};

    (void)state;
    check_frames(strv_make((const char *)EMPTY, sizeof(EMPTY)), "/{}");
}

/* Every bit of a message matters: any flip makes it bad, and what came before stays. */
static void test_flips(void **state)
{
    struct buf out;
    char *bytes, log[LOG_MAX];
    size_t first, n;

    (void)state;
    buf_init(&out, STREAM_MAX);
    put_event(&out, "a", "{}");
    first = buf_len(&out);
    put_event(&out, "b", "{\"n\":1}");
    n = buf_len(&out);
    bytes = xmalloc(n);
    for (size_t i = first; i < n; i++) {
        memcpy(bytes, buf_view(&out).p, n);
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
        frame(strv_make(bytes, n), n, 1, log);
        assert_true(strncmp(log, "event/a{{}}", 11) == 0);
        assert_true(log[11] == '\0' || log[strlen(log) - 1] == '!');
        assert_null(strstr(log + 11, "}}"));
    }
    free(bytes);
    buf_release(&out);
}

#define LITERAL(text)                                                                          \
    {                                                                                          \
        text, sizeof(text) - 1                                                                 \
    }

static void test_bad(void **state)
{
    static const struct {
        uint32_t total, headers;
    } LENGTHS[] = {{15, 0},
                   {0, 0},
                   {16, 1},
                   {20, UINT32_MAX},
                   {UINT32_MAX, 0},
                   {16 + EVENTSTREAM_PAYLOAD_MAX + 1, 0},
                   {17 + EVENTSTREAM_HEADERS_MAX, EVENTSTREAM_HEADERS_MAX + 1}};
    static const struct strv HEADERS[] = {
        LITERAL("\0"),          /* a header without a name */
        LITERAL("\1a\12"),      /* a type that there is not */
        LITERAL("\1a"),         /* a name and no value */
        LITERAL("\5a\0"),       /* a name beyond the headers */
        LITERAL("\1a\7\0"),     /* half a length */
        LITERAL("\1a\7\0\5xx"), /* a value beyond the headers */
        LITERAL("\1a\4xx"),     /* likewise */
        LITERAL("\15:message-type\7\0\1e\15:message-type\7\0\1f"), /* said twice */
    };
    struct buf out;

    (void)state;
    buf_init(&out, STREAM_MAX);
    for (size_t i = 0; i < sizeof(LENGTHS) / sizeof(LENGTHS[0]); i++) {
        buf_clear(&out);
        put_u32(&out, LENGTHS[i].total);
        put_u32(&out, LENGTHS[i].headers);
        put_u32(&out, crc_from(&out, 0));
        check_frames(buf_view(&out), "!");
    }
    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]); i++) {
        buf_clear(&out);
        put_message(&out, HEADERS[i], STRV("{}"));
        check_frames(buf_view(&out), "!");
    }
    buf_release(&out);
}

/* ---- the envelope ----------------------------------------------------------------------- */

static void test_unwrap(void **state)
{
    static const struct {
        const char *envelope, *inner;
        bool bad;
    } CASES[] = {
        {"{\"bytes\":\"e30=\",\"p\":\"ab\"}", "{}", false},
        {"{\"p\":\"bytes\",\"x\":{\"bytes\":\"AAAA\"},\"bytes\":\"e30\"}", "{}", false},
        {" { \"p\" : [\"bytes\", 1] , \"bytes\" :\n\"YT8\\/\" } ", "a??", false},
        {"{\"bytesx\":\"AAAA\",\"byte\":\"AAAA\",\"bytes\":\"\"}", "", false},
        {"{\"b\\u0079tes\":\"AAAA\"}", "", false},
        {"{\"bytes\":\"e30=e30=\"}", "{}", true},
        {"{\"bytes\":\"e\\u0033\"}", "", true},
        {"{\"bytes\":\"e!\"}", "", true},
        {"{\"bytes\":7,\"e30=\":1}", "", false},
        {"[\"bytes\",\"e30=\"]", "", false},
        {"}}]]{\"bytes\":\"e30=\"}", "{}", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv text = strv_z(CASES[i].envelope);

        for (size_t step = 1; step <= text.n; step++) {
            struct unwrap u;
            char out[64];
            size_t n = 0;

            unwrap_init(&u);
            for (size_t at = 0; at < text.n; at += step)
                n += unwrap_feed(&u, strv_head(strv_skip(text, at), step), out + n);
            assert_int_equal(u.bad, CASES[i].bad);
            if (!u.bad)
                assert_true(strv_eq(strv_make(out, n), strv_z(CASES[i].inner)));
        }
    }
}

/* ---- what the tap makes of it --------------------------------------------------------------
 */

static struct tap_result read_stream(const char *path, struct strv body, size_t step,
                                     bool *between)
{
    const struct protocol *p = protocol_find(STRV("bedrock"));
    struct tap_response head = {.status = 200,
                                .content_type = STRV("application/vnd.amazon.eventstream")};
    struct tap_result result;
    struct route route;
    struct tap *tap;

    protocol_route(p, STRV("POST"), strv_z(path), STRV_NONE, &route);
    tap = tap_new(p, &route, false);
    tap_head(tap, &head);
    for (size_t at = 0; at < body.n; at += step)
        assert_int_equal(tap_feed(tap, strv_head(strv_skip(body, at), step), NULL), RC_OK);
    *between = tap_is_between(tap);
    assert_int_equal(tap_finish(tap, true, NULL), RC_OK);
    result = *tap_result(tap);
    tap_free(tap);
    return result;
}

#define CONVERSE "/model/m/converse-stream"
#define INVOKE   "/model/m/invoke-with-response-stream"
#define CLAUDE   "/model/eu.anthropic.c/invoke-with-response-stream"

static void start_converse(struct buf *out)
{
    put_event(out, "messageStart", "{\"p\":\"abc\",\"role\":\"assistant\"}");
    put_event(out, "contentBlockDelta",
              "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"four\"},\"p\":\"abc\"}");
}

static void check_stream(const char *path, const struct buf *out, enum tap_end end,
                         uint64_t input, uint64_t output, bool is_final)
{
    for (size_t step = 1; step <= buf_len(out); step = step < 40 ? step + 1 : step * 2) {
        bool between;
        struct tap_result r = read_stream(path, buf_view(out), step, &between);

        assert_int_equal(r.framing, FRAMING_EVENTSTREAM);
        assert_int_equal(r.end, end);
        assert_int_equal(r.usage.n[USAGE_INPUT], input);
        assert_int_equal(r.usage.n[USAGE_OUTPUT], output);
        assert_int_equal(r.has_usage, input > 0);
        assert_int_equal(r.usage_is_final, is_final);
    }
}

static void test_converse(void **state)
{
    struct buf out;
    struct tap_result r;
    bool between;

    (void)state;
    buf_init(&out, STREAM_MAX);
    start_converse(&out);
    check_stream(CONVERSE, &out, TAP_END_NONE, 0, 0, false);
    put_event(&out, "messageStop", "{\"stopReason\":\"max_tokens\"}");
    check_stream(CONVERSE, &out, TAP_END_NONE, 0, 0, false);
    put_event(&out, "metadata",
              "{\"metrics\":{\"latencyMs\":5},\"serviceTier\":{\"type\":\"flex\"},\"usage\":{"
              "\"inputTokens\":7,\"outputTokens\":3,\"cacheReadInputTokens\":2,"
              "\"cacheWriteInputTokens\":9,\"cacheDetails\":[{\"ttl\":\"5m\",\"inputTokens\":5}"
              ",{\"inputTokens\":4,\"ttl\":\"1h\"}]},\"trace\":{\"promptRouter\":"
              "{\"invokedModelId\":\"arn:x\"}}}");
    check_stream(CONVERSE, &out, TAP_END_TRUNCATED, 18, 3, true);
    r = read_stream(CONVERSE, buf_view(&out), SIZE_MAX, &between);
    assert_true(between);
    assert_int_equal(r.usage.n[USAGE_CACHE_READ], 2);
    assert_int_equal(r.usage.n[USAGE_CACHE_WRITE_5M], 5);
    assert_int_equal(r.usage.n[USAGE_CACHE_WRITE_1H], 4);
    assert_string_equal(r.service_tier, "flex");
    assert_string_equal(r.model, "arn:x");
    assert_int_equal(r.output_bytes, 4);
    buf_release(&out);
}

static void test_exception(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, STREAM_MAX);
    start_converse(&out);
    put_exception(&out, "modelStreamErrorException");
    check_stream(CONVERSE, &out, TAP_END_ERROR, 0, 0, false);
    buf_release(&out);
}

/* What a message said whose checksum does not fit was never said. */
static void test_broken_message(void **state)
{
    struct buf out;
    struct tap_result r;
    bool between;
    size_t n;
    char *bytes;

    (void)state;
    buf_init(&out, STREAM_MAX);
    start_converse(&out);
    put_event(&out, "metadata",
              "{\"usage\":{\"inputTokens\":7,\"outputTokens\":3},\"metrics\":{}}");
    n = buf_len(&out);
    bytes = xmemdupz(buf_view(&out).p, n);
    bytes[n - 1] = (char)(bytes[n - 1] ^ 1);
    for (size_t step = 1; step <= n; step *= 2) {
        r = read_stream(CONVERSE, strv_make(bytes, n), step, &between);
        assert_false(r.has_usage);
        assert_int_equal(r.usage.n[USAGE_INPUT], 0);
        assert_true(r.undecodable);
        assert_false(between);
        assert_int_equal(r.end, TAP_END_NONE);
        assert_int_equal(r.output_bytes, 4);
    }
    /* Cut short: the same, and a frame is open with the client. */
    r = read_stream(CONVERSE, strv_head(buf_view(&out), n - 1), SIZE_MAX, &between);
    assert_false(r.has_usage);
    assert_false(between);
    free(bytes);
    buf_release(&out);
}

static void test_invoke(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, STREAM_MAX);
    put_chunk(&out, "{\"generation\":\"a\",\"prompt_token_count\":10,"
                    "\"generation_token_count\":1,\"stop_reason\":null}");
    check_stream(INVOKE, &out, TAP_END_NONE, 10, 1, false);
    put_chunk(&out, "{\"generation\":\".\",\"prompt_token_count\":null,"
                    "\"generation_token_count\":2,\"stop_reason\":\"stop\","
                    "\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":11,"
                    "\"outputTokenCount\":4,\"cacheReadInputTokenCount\":5}}");
    check_stream(INVOKE, &out, TAP_END_COMPLETE, 16, 4, true);
    buf_clear(&out);
    put_chunk(&out, "{\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"usage\":{"
                    "\"input_tokens\":5,\"output_tokens\":1,\"cache_read_input_tokens\":3}}}");
    put_chunk(&out, "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
                    "\"usage\":{\"output_tokens\":9}}");
    check_stream(CLAUDE, &out, TAP_END_NONE, 8, 9, true);
    put_chunk(&out, "{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{"
                    "\"inputTokenCount\":5,\"outputTokenCount\":7}}");
    check_stream(CLAUDE, &out, TAP_END_COMPLETE, 8, 9, true);
    buf_release(&out);
}

/* The gateway's own frame is one that this reader takes for an exception. */
static void test_own_frame(void **state)
{
    const struct protocol *p = protocol_find(STRV("bedrock"));
    char log[LOG_MAX];
    struct route route;
    struct buf out;

    (void)state;
    buf_init(&out, STREAM_MAX);
    protocol_route(p, STRV("POST"), STRV(CONVERSE), STRV_NONE, &route);
    assert_int_equal(protocol_stream_error(p, &route, FRAMING_EVENTSTREAM,
                                           REFUSE_UPSTREAM_TIMEOUT, STRV("late"), &out),
                     RC_OK);
    frame(buf_view(&out), 7, 5, log);
    assert_string_equal(log, "exception/modelTimeoutException{{\"message\":\"late\",\"__type\":"
                             "\"ModelTimeoutException\"}}");
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),    cmocka_unit_test(test_known),
        cmocka_unit_test(test_flips),     cmocka_unit_test(test_bad),
        cmocka_unit_test(test_unwrap),    cmocka_unit_test(test_converse),
        cmocka_unit_test(test_exception), cmocka_unit_test(test_broken_message),
        cmocka_unit_test(test_invoke),    cmocka_unit_test(test_own_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
