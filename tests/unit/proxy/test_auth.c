#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "proxy/auth.h"
#include "proxy/keys.h"
#include "tests/unit/proxy/request_head.h"

#define NOW INT64_C(1000000)

static struct key_config keys[] = {
    {.name = (char *)(uintptr_t) "first", .expires_us = INT64_MAX},
    {.name = (char *)(uintptr_t) "second", .expires_us = INT64_MAX},
    {.name = (char *)(uintptr_t) "old", .expires_us = NOW},
    {.name = (char *)(uintptr_t) "gone", .expires_us = INT64_MAX, .disabled = true},
    {.name = (char *)(uintptr_t) "odd", .expires_us = INT64_MAX},
    {.name = (char *)(uintptr_t) "long", .expires_us = INT64_MAX},
    {.name = (char *)(uintptr_t) "longer", .expires_us = INT64_MAX},
};
static char long_secret[AUTH_SECRET_MAX_BYTES + 1], longer_secret[AUTH_SECRET_MAX_BYTES + 2];
static const char *const secrets[] = {"tg_first",  "tg_second", "tg_old",     "tg_gone",
                                      "a+b=c/d e", long_secret, longer_secret};
static struct config config;
static struct key_memo *memo;

static int setup(void **state)
{
    (void)state;
    memset(long_secret, 'a', AUTH_SECRET_MAX_BYTES);
    memset(longer_secret, 'a', AUTH_SECRET_MAX_BYTES + 1);
    config.keys = keys;
    config.n_keys = sizeof(keys) / sizeof(keys[0]);
    for (size_t i = 0; i < config.n_keys; i++)
        digest_sha256(strv_z(secrets[i]), keys[i].hash);
    config.key_table = key_table_new(keys, config.n_keys);
    memo = key_memo_new(config.key_table);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    key_memo_free(memo);
    key_table_free(config.key_table);
    return 0;
}

static void test_places(void **state)
{
    static const struct {
        const char *headers, *query;
        enum credentials credentials;
        enum auth_result result;
        const char *key;
    } cases[] = {
        {"authorization: Bearer tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"Authorization: bearer   tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"Authorization: Token tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"authorization: tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"authorization: nobody\n", "", CREDENTIALS_PROXY, AUTH_UNKNOWN, NULL},
        {"authorization: tg_first tg_first\n", "", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"xi-api-key: tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"authorization: Basic tg_first\n", "", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"authorization: AWS4-HMAC-SHA256 Credential=tg_first/20260101/r/bedrock/aws4_request, "
         "SignedHeaders=host, Signature=00\n",
         "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"authorization: AWS4-HMAC-SHA256 SignedHeaders=host,Credential=tg_second\n", "",
         CREDENTIALS_PROXY, AUTH_OK, "second"},
        {"authorization: AWS4-HMAC-SHA256 Credential=AKIA/x\n", "", CREDENTIALS_PROXY,
         AUTH_UNKNOWN, NULL},
        {"authorization: AWS4-HMAC-SHA256\n", "", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"X-Api-Key: tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"api-key: tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"x-goog-api-key: tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"x-tollgate-key: tg_first\n", "", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "key=tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "alt=sse&key=tg%5Ffirst", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "k%65y=tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "access_token=tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "key=a%2bb%3Dc%2Fd%20e", CREDENTIALS_PROXY, AUTH_OK, "odd"},
        {"", "api-key=tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "Authorization=Bearer+tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "authorization=Bearer%20tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "xi-api-key=tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "x%69_api_key=%74g_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "token=tg_first&sample_rate=16000", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "single_use_token=tg_first", CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"", "token=theirs&token=tg_second&key=tg_first", CREDENTIALS_PROXY, AUTH_OK, "second"},
        {"", "token=theirs", CREDENTIALS_PROXY, AUTH_UNKNOWN, NULL},
        {"", "token=tg_gone&key=tg_first", CREDENTIALS_PROXY, AUTH_REVOKED, "gone"},
        {"", "other=tg_first", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"", "key=tg_first%", CREDENTIALS_PROXY, AUTH_UNKNOWN, NULL},
        {"", "key=tg_first%0", CREDENTIALS_PROXY, AUTH_UNKNOWN, NULL},
        {"", "key=", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"", "monkey=tg_first", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"", "", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"x-api-key:\n", "", CREDENTIALS_PROXY, AUTH_MISSING, NULL},
        {"x-api-key: nobody\n", "", CREDENTIALS_PROXY, AUTH_UNKNOWN, NULL},
        /* order, and SDKs that send a filler beside the key */
        {"x-api-key: tg_second\nauthorization: Bearer tg_first\n", "key=tg_second",
         CREDENTIALS_PROXY, AUTH_OK, "first"},
        {"authorization: Bearer filler\nx-api-key: tg_second\n", "", CREDENTIALS_PROXY, AUTH_OK,
         "second"},
        /* a key that is known but not valid decides too */
        {"authorization: Bearer tg_gone\nx-api-key: tg_first\n", "", CREDENTIALS_PROXY,
         AUTH_REVOKED, "gone"},
        {"x-api-key: tg_old\n", "", CREDENTIALS_PROXY, AUTH_EXPIRED, "old"},
        /* with the client's own credential identity comes from one place */
        {"authorization: Bearer tg_first\n", "key=tg_first", CREDENTIALS_CLIENT, AUTH_MISSING,
         NULL},
        {"authorization: Bearer sk-own\nx-tollgate-key: tg_second\n", "", CREDENTIALS_CLIENT,
         AUTH_OK, "second"},
        {"x-tollgate-key: Bearer tg_second\n", "", CREDENTIALS_CLIENT, AUTH_OK, "second"},
    };
    struct http1_head head;
    const struct key_config *key;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum auth_result result;

        request_head(&head, cases[i].headers);
        result =
            auth_find(memo, cases[i].credentials, &head, strv_z(cases[i].query), NOW, &key);
        if (result != cases[i].result)
            print_error("case %zu: %s\n", i, cases[i].headers);
        assert_int_equal(result, cases[i].result);
        if (cases[i].key)
            assert_string_equal(key->name, cases[i].key);
        else
            assert_null(key);
    }
}

/* What is longer is not looked at, though there were a key of that name. */
static void test_long_secret(void **state)
{
    static const struct {
        const char *secret;
        enum auth_result result;
    } cases[] = {{long_secret, AUTH_OK}, {longer_secret, AUTH_UNKNOWN}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char header[AUTH_SECRET_MAX_BYTES + 64], query[AUTH_SECRET_MAX_BYTES + 64];
        struct http1_head head;
        const struct key_config *key;

        snprintf(header, sizeof(header), "x-api-key: %s\n", cases[i].secret);
        request_head(&head, header);
        assert_int_equal(auth_find(memo, CREDENTIALS_PROXY, &head, STRV_NONE, NOW, &key),
                         cases[i].result);
        snprintf(query, sizeof(query), "key=%s", cases[i].secret);
        request_head(&head, "");
        assert_int_equal(auth_find(memo, CREDENTIALS_PROXY, &head, strv_z(query), NOW, &key),
                         cases[i].result);
    }
}

static void test_headers(void **state)
{
    static const struct {
        const char *line;
        bool proxy, client;
    } cases[] = {
        {"Authorization: Bearer sk-own", false, true},
        {"Authorization: Bearer tg_first", false, false},
        {"Authorization: Token tg_first", false, false},
        {"Authorization: token r8_own", false, true},
        {"x-api-key: sk-own", false, true},
        {"X-API-KEY: tg_first", false, false},
        {"api-key: k", false, true},
        {"x-goog-api-key: k", false, true},
        {"cookie: a=b", false, false},
        {"cookie:", false, false},
        {"proxy-authorization: Basic x", false, false},
        {"Proxy-Connection: keep-alive", false, false},
        {"X-Tollgate-Team: search", false, false},
        {"x-tollgate-key: tg_first", false, false},
        {"x-tollgate-anything: 1", false, false},
        {"Helicone-Property-App: x", false, false},
        {"helicone-auth: Bearer x", false, false},
        {"x-portkey-metadata: {}", false, false},
        {"x-litellm-tags: a", false, false},
        {"cf-aig-metadata: {}", false, false},
        {"x-stainless-retry-count: 1", false, false},
        {"x-stainless-lang: js", true, true},
        {"X-Forwarded-For: 10.0.0.1", false, false},
        {"forwarded: for=10.0.0.1", false, false},
        {"x-real-ip: 10.0.0.1", false, false},
        {"True-Client-IP: 10.0.0.1", false, false},
        {"x-client-ip: 10.0.0.1", false, false},
        {"cf-connecting-ip: 10.0.0.1", false, false},
        {"cf-aig-authorization: Bearer x", false, false},
        {"x-litellm-api-key: k", false, false},
        {"x-portkey-api-key: k", false, false},
        {"x-portkey-virtual-key: k", false, false},
        {"X-Auth-Token: k", false, true},
        {"Ocp-Apim-Subscription-Key: k", false, true},
        {"ocp-apim-subscription-keys: k", true, true},
        {"proxy: x", true, true},
        {"traceparent: 00-x", true, true},
        {"content-type: application/json", true, true},
        {"anthropic-version: 2023-06-01", true, true},
        {"openai-organization: o", true, true},
        {"user-agent: x", true, true},
        {"x_api_key: k", false, true},
        {"X_Api-Key: tg_first", false, false},
        {"X_Tollgate_Key: k", false, false},
        {"x_forwarded_for: 10.0.0.1", false, false},
        {"X_HTTP_METHOD: PUT", false, false},
        {"x-any: tg_first", false, false},
        {"x-any: tg_", false, false},
        {"x-any: Bearer tg_first", false, false},
        {"referer: https://localhost/?key=tg_first&a=b", false, false},
        {"x-any: {\"key\":\"tg_first\"}", false, false},
        {"x-any: ttg_ g_ t_tgtg_ tg_first", false, false},
        {"x-any: a-tg_first", false, false},
        {"tg_first: 1", false, false},
        {"authorization: Basic tg_first", false, false},
        {"x-any: stg_first", true, true},
        {"x-any: 1tg_first", true, true},
        {"x-any: TG_first", true, true},
        {"x-any: tg-first", true, true},
        {"x-any: tg", true, true},
        {"x-any: _tg", true, true},
    };
    struct http1_head head;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        request_head(&head, cases[i].line);
        if (auth_header_travels(&head.headers[0], CREDENTIALS_PROXY) != cases[i].proxy ||
            auth_header_travels(&head.headers[0], CREDENTIALS_CLIENT) != cases[i].client)
            fail_msg("%s", cases[i].line);
    }
}

static void test_queries(void **state)
{
    static const struct {
        const char *query, *proxy, *client;
    } cases[] = {
        {"", "", ""},
        {"alt=sse", "alt=sse", "alt=sse"},
        {"key=tg_first", "", ""},
        {"key=own", "", "key=own"},
        {"alt=sse&key=tg_first", "alt=sse", "alt=sse"},
        {"key=tg_first&alt=sse", "alt=sse", "alt=sse"},
        {"a=1&key=tg_first&b=2&&c", "a=1&b=2&&c", "a=1&b=2&&c"},
        {"%6bey=tg_first&x=%6bey", "x=%6bey", "x=%6bey"},
        {"access_token=t&x", "x", "access_token=t&x"},
        {"key=%74g_first&x", "x", "x"},
        {"key", "", "key"},
        {"keys=1&Key=2", "keys=1", "keys=1&Key=2"},
        {"token=theirs&Authorization=Bearer+x&api-key=k", "", "token=theirs&Authorization=Bearer+x&api-key=k"},
        {"xi-api-key=tg_x&xi_api_key=%74%67%5F&single_use_token=t", "", "single_use_token=t"},
        {"Authorization=Bearer+tg_x&authorization=bearer%20tg_x&a=token%2btg_x&b=+tg_x", "", ""},
        {"any=tg_x&page_token=1", "page_token=1", "page_token=1"},
        {"a=tg_x%&b=%&c=%zztg_&d=xtg_&e=tg&f", "b=%&c=%zztg_&d=xtg_&e=tg&f", "b=%&c=%zztg_&d=xtg_&e=tg&f"},
    };
    struct arena arena;
    struct strv out;

    (void)state;
    arena_init(&arena, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        arena_reset(&arena);
        assert_int_equal(
            auth_clean_query(strv_z(cases[i].query), CREDENTIALS_PROXY, &arena, &out), RC_OK);
        if (!strv_eq(out, strv_z(cases[i].proxy)))
            fail_msg("%s: got " STRV_FMT, cases[i].query, STRV_ARG(out));
        assert_int_equal(
            auth_clean_query(strv_z(cases[i].query), CREDENTIALS_CLIENT, &arena, &out), RC_OK);
        if (!strv_eq(out, strv_z(cases[i].client)))
            fail_msg("%s (client): got " STRV_FMT, cases[i].query, STRV_ARG(out));
    }
    arena_release(&arena);
    arena_init(&arena, 4);
    assert_int_equal(
        auth_clean_query(STRV("a=1&key=tg_x&b=2"), CREDENTIALS_PROXY, &arena, &out), RC_LIMIT);
    arena_release(&arena);
}

static void test_baggage(void **state)
{
    static const struct {
        const char *value, *left;
    } cases[] = {
        {"tollgate.team=a", ""},
        {"userId=alice", "userId=alice"},
        {"a=1 , Tollgate.team=x;p=1,b=2;q", "a=1,b=2;q"},
        {"", ""},
        {",,", ""},
    };
    struct arena arena;
    struct strv out;

    (void)state;
    arena_init(&arena, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(auth_clean_baggage(strv_z(cases[i].value), &arena, &out), RC_OK);
        if (!strv_eq(out, strv_z(cases[i].left)))
            fail_msg("%s: got " STRV_FMT, cases[i].value, STRV_ARG(out));
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),  cmocka_unit_test(test_long_secret),
        cmocka_unit_test(test_headers), cmocka_unit_test(test_queries),
        cmocka_unit_test(test_baggage),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
