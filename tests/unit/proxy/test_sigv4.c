/*
 * Signatures that AWS published, and those of requests to Bedrock by AWS's own SDK:
 * tests/vectors/sigv4.json.
 */
#include "proxy/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/xalloc.h"
#include "metering/usage/eventstream_write.h"
#include "tests/unit/unit.h"

#define VECTORS "tests/vectors/sigv4.json"

enum { FILE_MAX = 1 << 20, HEADERS_MAX = 8 };

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = xmalloc(FILE_MAX + 1);

    assert_non_null(file);
    text[fread(text, 1, FILE_MAX, file)] = '\0';
    fclose(file);
    return text;
}

static struct strv text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    assert_true(cJSON_IsString(item));
    return strv_z(item->valuestring);
}

static struct sigv4_key key_of(const cJSON *suite)
{
    return (struct sigv4_key){.access_key_id = text_of(suite, "access_key_id"),
                              .secret = text_of(suite, "secret"),
                              .region = text_of(suite, "region"),
                              .service = text_of(suite, "service")};
}

/* The case's headers in an order of their own, to see that ours does not matter. */
static size_t read_headers(const cJSON *item, bool backwards, struct http1_header *out,
                           const char **date)
{
    size_t n = 0;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(item, "headers"), *header;

    cJSON_ArrayForEach(header, list)
    {
        size_t at = backwards ? (size_t)cJSON_GetArraySize(list) - 1 - n : n;

        out[at].name = strv_z(cJSON_GetArrayItem(header, 0)->valuestring);
        out[at].value = strv_z(cJSON_GetArrayItem(header, 1)->valuestring);
        if (strv_eq_nocase(out[at].name, STRV("x-amz-date")))
            *date = out[at].value.p;
        n++;
    }
    return n;
}

static struct strv sign(const cJSON *suite, const cJSON *item, bool backwards,
                        struct arena *arena)
{
    struct sigv4_key key = key_of(suite);
    struct http1_header headers[HEADERS_MAX];
    unsigned char hash[SHA256_BYTES];
    const char *date = NULL;
    struct sigv4_request request = {.method = text_of(item, "method"),
                                    .path = text_of(item, "path"),
                                    .query = text_of(item, "query"),
                                    .headers = headers,
                                    .body_sha256 = hash};
    struct strv out;

    request.n_headers = read_headers(item, backwards, headers, &date);
    request.date = date;
    digest_sha256(text_of(item, "body"), hash);
    assert_int_equal(sigv4_sign(&key, &request, arena, &out), RC_OK);
    return out;
}

static void check_case(const cJSON *suite, const cJSON *item)
{
    struct strv want = text_of(item, "signature"), credential = text_of(suite, "access_key_id");
    struct strv prefix = STRV("AWS4-HMAC-SHA256 Credential=");

    for (int backwards = 0; backwards < 2; backwards++) {
        struct arena arena;
        struct strv got;

        arena_init(&arena, 1 << 20);
        got = sign(suite, item, backwards, &arena);
        if (!strv_ends(got, want))
            print_error("%s: " STRV_FMT "\n", text_of(item, "name").p, STRV_ARG(got));
        assert_true(strv_ends(got, want));
        assert_true(strv_starts(got, prefix));
        assert_true(strv_starts(strv_skip(got, prefix.n), credential));
        arena_release(&arena);
    }
}

static void test_vectors(void **state)
{
    char *text = read_file(VECTORS);
    cJSON *suites = cJSON_Parse(text);
    const cJSON *suite, *item;
    int n = 0;

    (void)state;
    assert_non_null(suites);
    cJSON_ArrayForEach(suite, suites)
    {
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(suite, "cases"))
        {
            check_case(suite, item);
            n++;
        }
    }
    printf("%d signatures\n", n);
    assert_true(n > 15);
    cJSON_Delete(suites);
    free(text);
}

static void test_date(void **state)
{
    char out[SIGV4_DATE];

    (void)state;
    sigv4_date(INT64_C(1440938160) * 1000000 + 999999, out);
    assert_string_equal(out, "20150830T123600Z");
}

/* What does not fit is refused, and nothing is left behind. */
static void test_bounds(void **state)
{
    static char many[SIGV4_PARAMETERS_MAX * 2 + 3], large[SIGV4_CANONICAL_BYTES];
    struct http1_header headers[SIGV4_HEADERS_MAX + 1];
    unsigned char hash[SHA256_BYTES] = {0};
    struct sigv4_key key = {STRV("A"), STRV("S"), STRV("r"), STRV("s")};
    struct sigv4_request request = {.method = STRV("GET"),
                                    .path = STRV("/"),
                                    .headers = headers,
                                    .n_headers = SIGV4_HEADERS_MAX,
                                    .body_sha256 = hash,
                                    .date = "20150830T123600Z"};
    struct arena arena;
    struct strv out;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i <= SIGV4_HEADERS_MAX; i++)
        headers[i] = (struct http1_header){.name = STRV("x-a"), .value = STRV("v")};
    assert_int_equal(sigv4_sign(&key, &request, &arena, &out), RC_OK);
    request.n_headers++;
    assert_int_equal(sigv4_sign(&key, &request, &arena, &out), RC_LIMIT);
    request.n_headers = 1;
    for (size_t i = 0; i < sizeof(many) - 1; i++)
        many[i] = i % 2 ? '&' : 'a';
    request.query = strv_make(many, SIGV4_PARAMETERS_MAX * 2 - 1);
    assert_int_equal(sigv4_sign(&key, &request, &arena, &out), RC_OK);
    request.query = strv_make(many, SIGV4_PARAMETERS_MAX * 2 + 1);
    assert_int_equal(sigv4_sign(&key, &request, &arena, &out), RC_LIMIT);
    request.query = STRV_NONE;
    memset(large, 'a', sizeof(large));
    request.path = strv_make(large, sizeof(large));
    assert_int_equal(sigv4_sign(&key, &request, &arena, &out), RC_LIMIT);
    request.path = STRV("/");
    key.secret = strv_make(large, SIGV4_SECRET_MAX_BYTES + 1);
    assert_int_equal(sigv4_sign(&key, &request, &arena, &out), RC_LIMIT);
    arena_release(&arena);
}

/* A message in the coding of event streams, of one header at most. */
static void put_message(struct buf *out, const char *header, const char *value,
                        const char *payload)
{
    struct buf headers;

    buf_init(&headers, 1 << 10);
    if (header)
        assert_int_equal(eventstream_put_string(&headers, strv_z(header), strv_z(value)), RC_OK);
    assert_int_equal(eventstream_put_message(out, buf_view(&headers), strv_z(payload)), RC_OK);
    buf_release(&headers);
}

static void check_link(struct sigv4_chain *chain, const struct sigv4_key *key, int64_t at_s,
                       struct strv payload, const char *want)
{
    unsigned char mac[SHA256_BYTES];
    char hex[SHA256_HEX];
    struct buf header;

    buf_init(&header, 1 << 10);
    assert_int_equal(eventstream_put_time(&header, STRV(":date"), at_s * 1000), RC_OK);
    assert_int_equal(
        sigv4_chain_sign(chain, key, at_s * 1000000, buf_view(&header), payload, mac), RC_OK);
    digest_hex(mac, sizeof(mac), hex);
    assert_string_equal(hex, want);
    assert_string_equal(chain->prior, want);
    buf_release(&header);
}

/* What AWS's own SDKs test their signers with (Rust, Kotlin, Swift: one message; Java: a chain of
 * four, the last without payload). */
static void test_events(void **state)
{
    static const char *const CHAIN[][2] = {
        {"A", "4d6dc4197ca9045f693131a8321bffd3f0b5308835a2770c980551d2fd4b2e56"},
        {"B", "75342279dd941fef5a494cc4b234545ee95be35805d5489ffb24959a9601d6ed"},
        {"C", "c83a5b9f19bc3fe8247eec6d4a5d7806f4b47a6457559c58055c7017c6f3ce3e"},
        {"", "8b01a16c997aa5692d552b0b6cc4f308743882a0a035d9841ba0738a53420bef"},
    };
    struct sigv4_key key = {STRV("fake access key"), STRV("fake secret key"), STRV("us-east-1"),
                            STRV("testservice")};
    unsigned char hash[SHA256_BYTES];
    struct sigv4_chain chain;
    struct buf message;

    (void)state;
    buf_init(&message, 1 << 10);
    digest_sha256(STRV("last message sts"), hash);
    digest_hex(hash, sizeof(hash), chain.prior);
    put_message(&message, "some-header", "value", "test payload");
    check_link(&chain, &key, 123456789, buf_view(&message),
               "1ea04a4f6becd85ae3e38e379ffaf4bb95042603f209512476cc6416868b31ee");
    key = (struct sigv4_key){STRV("access"), STRV("secret"), STRV("us-west-2"), STRV("demo")};
    sigv4_chain_start(&chain, STRV("AWS4-HMAC-SHA256 Credential=access/, SignedHeaders=, "
                                   "Signature=e1d8e8c8815e60969f2a34765c9a15945ffc0badbaa4b7e3b"
                                   "163ea19131e949b"));
    for (size_t i = 0; i < sizeof(CHAIN) / sizeof(CHAIN[0]); i++) {
        buf_clear(&message);
        put_message(&message, NULL, NULL, CHAIN[i][0]);
        check_link(&chain, &key, 1768545000 + (int64_t)i, buf_view(&message), CHAIN[i][1]);
    }
    key.secret = STRV_NONE;
    assert_int_equal(sigv4_chain_sign(&chain, &key, 0, STRV_NONE, STRV_NONE, hash), RC_LIMIT);
    buf_release(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
