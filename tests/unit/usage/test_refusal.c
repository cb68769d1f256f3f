#include "metering/usage/protocol.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <zlib.h>

#include "tests/unit/unit.h"

enum { BODY_MAX = 64 << 10 };

static const struct strv MESSAGE = {"budget \"a\" has no room\n", 23};

static cJSON *refuse(const char *protocol, enum refusal r, struct refusal_shape *shape)
{
    struct buf body;
    cJSON *json;

    buf_init(&body, BODY_MAX);
    assert_int_equal(protocol_refusal(protocol ? protocol_find(strv_z(protocol)) : NULL, NULL, r,
                                      MESSAGE, STRV("id-1"), r == REFUSE_RATE_LIMITED ? 37250 : 0,
                                      &body, shape),
                     RC_OK);
    json = cJSON_ParseWithLength(buf_view(&body).p, buf_len(&body));
    assert_non_null(json);
    buf_release(&body);
    return json;
}

/* "a.b.0.c" of a document, as text; numbers in decimal. */
static const char *at(const cJSON *json, const char *path, char *number)
{
    struct strv rest = strv_z(path), key;
    char name[64];

    while (json != NULL && strv_split(&rest, '.', &key)) {
        memcpy(name, key.p, key.n);
        name[key.n] = '\0';
        json = cJSON_IsArray(json) ? cJSON_GetArrayItem(json, name[0] - '0')
                                   : cJSON_GetObjectItemCaseSensitive(json, name);
    }
    if (cJSON_IsNumber(json)) {
        snprintf(number, 16, "%d", (int)json->valuedouble);
        return number;
    }
    return cJSON_IsString(json) ? json->valuestring : "(none)";
}

static void test_codes(void **state)
{
    static const struct {
        enum refusal r;
        int status;
        const char *code;
    } ALL[] = {
#define ROW(id, status, code) {id, status, code},
        REFUSALS(ROW)
#undef ROW
    };

    (void)state;
    assert_int_equal(sizeof(ALL) / sizeof(ALL[0]), REFUSAL_COUNT);
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        assert_string_equal(refusal_code(ALL[i].r), ALL[i].code);
        assert_int_equal(refusal_status(ALL[i].r), ALL[i].status);
    }
}

/* Every refusal in every shape: JSON, the message in it, the contract's status. */
static void test_every_shape(void **state)
{
    static const struct {
        const char *protocol, *message, *code;
    } SHAPES[] = {
        {NULL, "error.message", "error.code"},
        {"openai", "error.message", "error.code"},
        {"azure-openai", "error.message", "error.code"},
        {"anthropic", "error.message", "error.details.error_code"},
        {"gemini", "error.message", "error.details.0.reason"},
        {"vertex", "error.message", "error.details.0.reason"},
        {"bedrock", "message", NULL},
        {"cohere", "message", NULL},
        {"mistral", "message", "code"},
        {"ollama", "error", NULL},
        {"elevenlabs", "detail.message", "detail.code"},
        {"deepgram", "err_msg", "err_code"},
        {"assemblyai", "error", "code"},
        {"raw", "error.message", "error.code"},
    };
    char number[16];

    (void)state;
    for (size_t i = 0; i < sizeof(SHAPES) / sizeof(SHAPES[0]); i++) {
        for (int r = 0; r < REFUSAL_COUNT; r++) {
            struct refusal_shape shape;
            cJSON *json = refuse(SHAPES[i].protocol, (enum refusal)r, &shape);
            bool quota = i == 6 && r == REFUSE_BUDGET_EXHAUSTED;

            assert_string_equal(at(json, SHAPES[i].message, number), MESSAGE.p);
            if (SHAPES[i].code != NULL)
                assert_string_equal(at(json, SHAPES[i].code, number),
                                    refusal_code((enum refusal)r));
            assert_int_equal(shape.status, quota ? 400 : refusal_status((enum refusal)r));
            assert_string_equal(shape.content_type, "application/json");
            if (i == 6)
                assert_true(strv_ends(strv_z(shape.extra_header), STRV("Exception\r\n")));
            else
                assert_string_equal(shape.extra_header, "");
            cJSON_Delete(json);
        }
    }
}

static void test_classes(void **state)
{
    static const struct {
        const char *protocol;
        enum refusal r;
        const char *path, *want;
    } CASES[] = {
        {"openai", REFUSE_INVALID_KEY, "error.type", "invalid_request_error"},
        {"openai", REFUSE_BUDGET_EXHAUSTED, "error.type", "insufficient_quota"},
        {"openai", REFUSE_RATE_LIMITED, "error.type", "rate_limit_exceeded"},
        {"openai", REFUSE_UPSTREAM_TIMEOUT, "error.type", "server_error"},
        {"anthropic", REFUSE_INVALID_KEY, "error.type", "authentication_error"},
        {"anthropic", REFUSE_BUDGET_EXHAUSTED, "error.type", "billing_error"},
        {"anthropic", REFUSE_BUDGET_EXHAUSTED, "request_id", "id-1"},
        {"anthropic", REFUSE_BUDGET_EXHAUSTED, "type", "error"},
        {"anthropic", REFUSE_RATE_LIMITED, "error.type", "rate_limit_error"},
        {"anthropic", REFUSE_MODEL_NOT_ALLOWED, "error.type", "permission_error"},
        {"anthropic", REFUSE_BODY_TOO_LARGE, "error.type", "request_too_large"},
        {"anthropic", REFUSE_OVERLOADED, "error.type", "overloaded_error"},
        {"gemini", REFUSE_BUDGET_EXHAUSTED, "error.status", "RESOURCE_EXHAUSTED"},
        {"gemini", REFUSE_BUDGET_EXHAUSTED, "error.code", "402"},
        {"gemini", REFUSE_RATE_LIMITED, "error.details.1.@type",
         "type.googleapis.com/google.rpc.RetryInfo"},
        {"vertex", REFUSE_RATE_LIMITED, "error.details.1.retryDelay", "37.250s"},
        {"gemini", REFUSE_BUDGET_EXHAUSTED, "error.details.1.retryDelay", "(none)"},
        {"gemini", REFUSE_INVALID_KEY, "error.status", "UNAUTHENTICATED"},
        {"bedrock", REFUSE_BUDGET_EXHAUSTED, "__type", "ServiceQuotaExceededException"},
        {"bedrock", REFUSE_RATE_LIMITED, "__type", "ThrottlingException"},
        {"mistral", REFUSE_RATE_LIMITED, "object", "error"},
        {"cohere", REFUSE_RATE_LIMITED, "id", "id-1"},
    };
    char number[16];

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct refusal_shape shape;
        cJSON *json = refuse(CASES[i].protocol, CASES[i].r, &shape);

        assert_string_equal(at(json, CASES[i].path, number), CASES[i].want);
        cJSON_Delete(json);
    }
}

static void test_full_buffer(void **state)
{
    struct refusal_shape shape;
    struct buf body;

    (void)state;
    buf_init(&body, 20);
    assert_int_equal(protocol_refusal(NULL, NULL, REFUSE_DRAINING, MESSAGE, STRV_NONE, 0, &body,
                                      &shape),
                     RC_LIMIT);
    buf_release(&body);
}

static void test_stream_errors(void **state)
{
    static const struct {
        const char *protocol, *path;
        enum stream_framing framing;
        const char *before, *behind; /* around the object */
        const char *member, *want;
    } CASES[] = {
        {"openai", "/v1/chat/completions", FRAMING_SSE, "\n\ndata: ", "\n\n", "error.code",
         "budget_exhausted"},
        {"openai", "/v1/responses", FRAMING_SSE, "\n\nevent: error\ndata: ", "\n\n", "code",
         "budget_exhausted"},
        {"openai", "/v1/responses", FRAMING_SSE, "\n\nevent: error\ndata: ", "\n\n", "type",
         "error"},
        {"anthropic", "/v1/messages", FRAMING_SSE, "\n\nevent: error\ndata: ", "\n\n",
         "error.type", "billing_error"},
        {"gemini", "/v1/models/g:streamGenerateContent", FRAMING_SSE,
         "\r\n\r\ndata: ", "\r\n\r\n", "error.code", "402"},
        {"gemini", "/v1/models/g:streamGenerateContent", FRAMING_JSON_ARRAY, ",\r\n", "\r\n]",
         "error.status", "RESOURCE_EXHAUSTED"},
        {"gemini", "/v1beta/openai/chat/completions", FRAMING_SSE, "\n\ndata: ", "\n\n",
         "error.type", "insufficient_quota"},
        {"ollama", "/api/chat", FRAMING_NDJSON, "\n", "\n", "error", "m"},
    };
    char number[16];

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct protocol *p = protocol_find(strv_z(CASES[i].protocol));
        struct strv before = strv_z(CASES[i].before), behind = strv_z(CASES[i].behind), text;
        struct route route;
        struct buf out;
        cJSON *json;

        buf_init(&out, BODY_MAX);
        protocol_route(p, STRV("POST"), strv_z(CASES[i].path), STRV_NONE, &route);
        assert_int_equal(protocol_stream_error(p, &route, CASES[i].framing,
                                               REFUSE_BUDGET_EXHAUSTED, STRV("m"), &out),
                         RC_OK);
        text = buf_view(&out);
        assert_true(strv_starts(text, before));
        assert_true(strv_ends(text, behind));
        json = cJSON_ParseWithLength(text.p + before.n, text.n - before.n - behind.n);
        assert_string_equal(at(json, CASES[i].member, number), CASES[i].want);
        cJSON_Delete(json);
        assert_int_equal(protocol_stream_error(p, &route, FRAMING_NONE, REFUSE_BUDGET_EXHAUSTED,
                                               STRV("m"), &out),
                         RC_STATE);
        buf_release(&out);
    }
}

static uint32_t u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;

    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void test_exception_frame(void **state)
{
    const struct protocol *p = protocol_find(STRV("bedrock"));
    struct route route;
    struct buf out;
    const char *f;
    size_t n;

    (void)state;
    buf_init(&out, BODY_MAX);
    protocol_route(p, STRV("POST"), STRV("/model/m/converse-stream"), STRV_NONE, &route);
    assert_int_equal(protocol_stream_error(p, &route, FRAMING_EVENTSTREAM, REFUSE_RATE_LIMITED,
                                           STRV("m"), &out),
                     RC_OK);
    f = buf_view(&out).p;
    n = buf_len(&out);
    if (f == NULL) { /* assert_non_null does not tell the compiler */
        fail();
        return;
    }
    assert_int_equal(u32(f), n);
    assert_int_equal(u32(f + 8), crc32(0, (const unsigned char *)f, 8));
    assert_int_equal(u32(f + n - 4), crc32(0, (const unsigned char *)f, (unsigned)n - 4));
    assert_non_null(
        memmem(f + 12, u32(f + 4), ":exception-type\x07\0\x13throttlingException", 37));
    assert_int_equal(f[12 + u32(f + 4)], '{');
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),         cmocka_unit_test(test_every_shape),
        cmocka_unit_test(test_classes),       cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_stream_errors), cmocka_unit_test(test_exception_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
