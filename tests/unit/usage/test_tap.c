/*
 * The tap on the vectors of tests/vectors/usage: each body whole, byte by byte, at
 * every split and compressed; what it says must be the same, and so must every
 * byte that the client sees.
 */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <zlib.h>
#include <zstd.h>

#include "base/xalloc.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"

#define VECTORS "tests/vectors/usage"

enum { BODY_MAX = 1 << 20, PASS_MAX = 1 << 20 };

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool is_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* The vector's body; with keep false its pieces named in "drop" left out. */
static void append_body(const cJSON *vector, bool whole, struct buf *out)
{
    const cJSON *drop = cJSON_GetObjectItemCaseSensitive(vector, "drop"), *piece, *at;
    int i = 0;

    cJSON_ArrayForEach(piece, cJSON_GetObjectItemCaseSensitive(vector, "body"))
    {
        bool dropped = false;

        cJSON_ArrayForEach(at, drop)
        {
            dropped = dropped || (int)at->valuedouble == i;
        }
        if (whole || !dropped)
            assert_int_equal(buf_append_strv(out, strv_z(piece->valuestring)), RC_OK);
        i++;
    }
}

static struct strv header_of(void *arg, struct strv name)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(arg, "headers"))
    {
        if (strv_eq(name, strv_z(item->string)))
            return strv_z(item->valuestring);
    }
    return STRV_NONE;
}

static struct tap *open_tap(const cJSON *vector, const char *coding)
{
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(vector, "status");
    const struct protocol *p = protocol_find(strv_z(text_of(vector, "protocol")));
    struct tap_response head = {
        .status = cJSON_IsNumber(status) ? (int)status->valuedouble : 200,
        .content_type = strv_z(text_of(vector, "content_type")),
        .content_encoding = strv_z(coding),
        .request_id = STRV("req_42"),
        .header = header_of,
        .header_arg = (void *)(uintptr_t)vector, /* which is only read */
    };
    struct strv method = strv_z(text_of(vector, "method")); /* of what is fetched */
    struct route route;
    struct tap *tap;

    assert_non_null(p);
    protocol_route(p, method.n > 0 ? method : STRV("POST"), strv_z(text_of(vector, "path")),
                   STRV_NONE, &route);
    assert_int_equal(route.endpoint->kind, method.n > 0 ? ENDPOINT_FETCHED : ENDPOINT_METERED);
    tap = tap_new(p, &route, is_true(vector, "asked"));
    tap_head(tap, &head);
    return tap;
}

/* Feeds a copy in a block of its own, so that reads past its end are seen. */
static void feed(struct tap *tap, struct strv piece, struct buf *pass)
{
    char *copy = xmalloc(piece.n + (piece.n == 0));

    memcpy(copy, piece.p, piece.n);
    assert_int_equal(tap_feed(tap, strv_make(copy, piece.n), pass), RC_OK);
    if (!tap_rewrites(tap))
        assert_int_equal(buf_append(pass, copy, piece.n), RC_OK);
    free(copy);
}

static void check_parts(const cJSON *vector, const struct tap *tap);
static void check_searches(const cJSON *vector, const struct tap *tap);

/* step 0: two pieces cut at `cut`; else pieces of step bytes. */
static struct tap_result run(const cJSON *vector, struct strv body, const char *coding,
                             size_t cut, size_t step, struct buf *pass)
{
    struct tap *tap = open_tap(vector, coding);
    struct tap_result result;

    buf_clear(pass);
    if (step == 0) {
        feed(tap, strv_head(body, cut), pass);
        feed(tap, strv_skip(body, cut), pass);
    }
    for (size_t at = 0; step > 0 && at < body.n; at += step)
        feed(tap, strv_head(strv_skip(body, at), step), pass);
    assert_int_equal(tap_finish(tap, !is_true(vector, "unclean"), pass), RC_OK);
    result = *tap_result(tap);
    check_parts(vector, tap);
    check_searches(vector, tap);
    tap_free(tap);
    return result;
}

static void check_usage(const cJSON *vector, const struct usage *u)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(vector, "usage"), *item;
    int named = 0;

    for (unsigned f = 0; f < USAGE_COUNT; f++) {
        item = cJSON_GetObjectItemCaseSensitive(want, usage_field_name(f));
        named += item != NULL;
        if ((item != NULL) != usage_has(u, f) ||
            (item != NULL && (double)u->n[f] != item->valuedouble)) {
            print_error("%s: %s is %s%ju\n", text_of(vector, "about"), usage_field_name(f),
                        usage_has(u, f) ? "" : "absent ", (uintmax_t)u->n[f]);
            fail();
        }
    }
    assert_int_equal(named, cJSON_GetArraySize(want)); /* no misspelt field */
}

/* What the answer took beside its usage. */
static void check_parts(const cJSON *vector, const struct tap *tap)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(vector, "parts"), *part;
    struct tap_part got;
    size_t n = 0;

    cJSON_ArrayForEach(part, want)
    {
        assert_true(tap_part(tap, n++, &got));
        assert_true(strv_eq(got.model, strv_z(text_of(part, "model"))));
        check_usage(part, got.usage);
    }
    assert_false(tap_part(tap, n, &got));
}

/* Which searches it tells of one by one. */
static void check_searches(const cJSON *vector, const struct tap *tap)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(vector, "searches"), *id;
    size_t n = 0;

    cJSON_ArrayForEach(id, want) assert_true(
        strv_eq(tap_search(tap, n++), strv_z(id->valuestring)));
    assert_int_equal(tap_search(tap, n).n, 0);
}

static void check_result(const cJSON *vector, const struct tap_result *got)
{
    static const char *const ENDS[] = {"none", "complete", "truncated", "refused", "error"};
    static const char *const FRAMINGS[] = {"none", "sse", "json-array", "ndjson",
                                           "eventstream"};
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(vector, "usage");
    const cJSON *cost = cJSON_GetObjectItemCaseSensitive(vector, "cost_nano");
    const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(vector, "output_bytes");

    check_usage(vector, &got->usage);
    assert_int_equal(got->has_usage, cJSON_GetArraySize(usage) > 0);
    assert_int_equal(got->usage_is_final, is_true(vector, "final"));
    assert_int_equal(got->inconsistent, is_true(vector, "inconsistent"));
    assert_int_equal(got->undecodable, is_true(vector, "undecodable"));
    assert_string_equal(ENDS[got->end], text_of(vector, "end"));
    assert_int_equal(got->said_nothing, is_true(vector, "said_nothing"));
    if (cJSON_HasObjectItem(vector, "rough"))
        assert_int_equal(got->is_rough, is_true(vector, "rough"));
    if (cJSON_HasObjectItem(vector, "pending"))
        assert_string_equal(got->pending ? got->work_id : "", text_of(vector, "pending"));
    if (cJSON_HasObjectItem(vector, "framing"))
        assert_string_equal(FRAMINGS[got->framing], text_of(vector, "framing"));
    assert_string_equal(got->model, text_of(vector, "model"));
    assert_string_equal(got->service_tier, text_of(vector, "tier"));
    assert_string_equal(got->region, text_of(vector, "region"));
    assert_string_equal(got->request_id, "req_42");
    assert_int_equal(got->output_bytes,
                     cJSON_IsNumber(bytes) ? (uint64_t)bytes->valuedouble : 0);
    assert_int_equal(got->has_provider_cost, cost != NULL);
    if (cost != NULL) {
        const cJSON *rest = cJSON_GetObjectItemCaseSensitive(vector, "cost_rest");

        assert_int_equal(got->provider_cost_atto_hi, (int64_t)cost->valuedouble);
        assert_int_equal(got->provider_cost_atto_lo, (int64_t)rest->valuedouble);
    }
}

static void check_pass(const cJSON *vector, struct strv want, const struct buf *pass)
{
    if (!strv_eq(want, buf_view(pass))) {
        print_error("%s: the client sees\n" STRV_FMT "\nnot\n" STRV_FMT "\n",
                    text_of(vector, "about"), STRV_ARG(buf_view(pass)), STRV_ARG(want));
        fail();
    }
}

static void check_plain(const cJSON *vector, struct strv body, struct strv kept)
{
    struct tap_result got;
    struct buf pass;

    buf_init(&pass, PASS_MAX);
    for (size_t cut = 0; cut <= body.n; cut++) {
        got = run(vector, body, "", cut, 0, &pass);
        check_result(vector, &got);
        check_pass(vector, kept, &pass);
    }
    for (size_t step = 1; step <= 7; step++) {
        got = run(vector, body, "identity", 0, step, &pass);
        check_result(vector, &got);
        check_pass(vector, kept, &pass);
    }
    buf_release(&pass);
}

static size_t compress_zlib(struct strv body, int window, char *out, size_t room)
{
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)body.p;
    z.avail_in = (unsigned)body.n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return (size_t)z.total_out;
}

/* Compressed bodies are read for the tap alone: the client sees them as they came. */
static void check_packed(const cJSON *vector, struct strv body)
{
    static const struct {
        const char *coding;
        int window; /* 0: zstd */
    } CODINGS[] = {
        {"gzip", 31}, {"x-gzip", 31}, {"deflate", 15}, {"Deflate", -15}, {"zstd", 0}};
    char *packed = xmalloc(BODY_MAX);
    struct buf pass;

    if (is_true(vector, "unclean")) { /* broken off inside the coding: another matter */
        free(packed);
        return;
    }
    buf_init(&pass, PASS_MAX);
    for (size_t i = 0; i < sizeof(CODINGS) / sizeof(CODINGS[0]); i++) {
        size_t n = CODINGS[i].window ? compress_zlib(body, CODINGS[i].window, packed, BODY_MAX)
                                     : ZSTD_compress(packed, BODY_MAX, body.p, body.n, 3);

        for (size_t step = 1; step <= 64; step *= 8) {
            struct tap_result got =
                run(vector, strv_make(packed, n), CODINGS[i].coding, 0, step, &pass);

            check_result(vector, &got);
            check_pass(vector, strv_make(packed, n), &pass);
        }
    }
    buf_release(&pass);
    free(packed);
}

static int check_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = xcalloc(1, BODY_MAX);
    const cJSON *vector;
    cJSON *vectors;
    int n = 0;

    assert_non_null(file);
    assert_true(fread(text, 1, BODY_MAX - 1, file) > 0);
    fclose(file);
    vectors = cJSON_Parse(text);
    assert_true(cJSON_IsArray(vectors));
    cJSON_ArrayForEach(vector, vectors)
    {
        struct buf body, kept;

        if (getenv("VERBOSE") != NULL)
            print_message("%s: %s\n", path, text_of(vector, "about"));
        buf_init(&body, BODY_MAX);
        buf_init(&kept, BODY_MAX);
        append_body(vector, true, &body);
        append_body(vector, !is_true(vector, "asked"), &kept);
        check_plain(vector, buf_view(&body), buf_view(&kept));
        check_packed(vector, buf_view(&body));
        buf_release(&body);
        buf_release(&kept);
        n++;
    }
    cJSON_Delete(vectors);
    free(text);
    return n;
}

static void test_vectors(void **state)
{
    DIR *dir = opendir(VECTORS);
    const struct dirent *entry;
    int n = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[512];

        if (!strv_ends(strv_z(entry->d_name), STRV(".json")))
            continue;
        snprintf(path, sizeof(path), "%s/%s", VECTORS, entry->d_name);
        n += check_file(path);
    }
    closedir(dir);
    printf("%d vectors\n", n);
    assert_true(n > 0);
}

static struct tap *chat_tap(bool asked, const char *type, const char *coding, int status)
{
    const struct protocol *p = protocol_find(STRV("openai"));
    struct tap_response head = {
        .status = status, .content_type = strv_z(type), .content_encoding = strv_z(coding)};
    struct route route;
    struct tap *tap;

    protocol_route(p, STRV("POST"), STRV("/v1/chat/completions"), STRV_NONE, &route);
    tap = tap_new(p, &route, asked);
    tap_head(tap, &head);
    return tap;
}

static void test_rewrites_only_plain_streams(void **state)
{
    static const struct {
        bool asked;
        const char *type, *coding;
        int status;
        bool rewrites;
    } CASES[] = {
        {true, "text/event-stream", "", 200, true},
        {true, "Text/Event-Stream;charset=utf-8", "identity", 200, true},
        {false, "text/event-stream", "", 200, false},
        {true, "text/event-stream", "gzip", 200, false},
        {true, "text/event-stream", "", 429, false},
        {true, "application/json", "", 200, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct tap *tap =
            chat_tap(CASES[i].asked, CASES[i].type, CASES[i].coding, CASES[i].status);

        assert_int_equal(tap_rewrites(tap), CASES[i].rewrites);
        tap_free(tap);
    }
    tap_free(NULL);
}

/* An event too large to hold goes through, even where it is the one to drop. */
/* Beyond its bound an answer's searches are not told. */
static void test_searches_are_bounded(void **state)
{
    enum { MOST = 128 };
    struct tap_response head = {.status = 200, .content_type = STRV("application/json")};
    const struct protocol *p = protocol_find(STRV("openai"));
    struct route route;
    struct tap *tap;
    char text[128];

    (void)state;
    protocol_route(p, STRV("GET"), STRV("/v1/agents/sessions/s/items"), STRV_NONE, &route);
    tap = tap_new(p, &route, false);
    tap_head(tap, &head);
    assert_int_equal(tap_feed(tap, STRV("{\"object\":\"list\",\"data\":[{}"), NULL), RC_OK);
    for (int i = 0; i <= MOST; i++) {
        int n = snprintf(text, sizeof(text),
                         ",{\"id\":\"ws_%d\",\"type\":\"web_search_call\",\"status\":"
                         "\"completed\"}", i);

        assert_int_equal(tap_feed(tap, strv_make(text, (size_t)n), NULL), RC_OK);
    }
    assert_int_equal(tap_feed(tap, STRV("]}"), NULL), RC_OK);
    assert_int_equal(tap_finish(tap, true, NULL), RC_OK);
    assert_true(strv_eq(tap_search(tap, MOST - 1), STRV("ws_127")));
    assert_int_equal(tap_search(tap, MOST).n, 0);
    tap_free(tap);
}

static void test_hold_is_bounded(void **state)
{
    static const char HEAD[] = "data: {\"choices\":[],\"pad\":\"",
                      TAIL[] =
                          "\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
    struct tap *tap = chat_tap(true, "text/event-stream", "", 200);
    size_t sent = sizeof(HEAD) - 1 + sizeof(TAIL) - 1;
    struct buf pass;
    char pad[1000];

    (void)state;
    memset(pad, 'x', sizeof(pad));
    buf_init(&pass, PASS_MAX);
    assert_int_equal(tap_feed(tap, STRV("data: {}\n\n"), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 10);
    assert_int_equal(tap_feed(tap, strv_make(HEAD, sizeof(HEAD) - 1), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 10); /* held */
    for (size_t n = 0; n <= TAP_HOLD_MAX_BYTES; n += sizeof(pad), sent += sizeof(pad))
        assert_int_equal(tap_feed(tap, strv_make(pad, sizeof(pad)), &pass), RC_OK);
    assert_true(buf_len(&pass) > TAP_HOLD_MAX_BYTES);
    assert_int_equal(tap_feed(tap, strv_make(TAIL, sizeof(TAIL) - 1), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 10 + sent);
    /* The next one is dropped as ever. */
    assert_int_equal(tap_feed(tap, strv_make(HEAD, sizeof(HEAD) - 1), &pass), RC_OK);
    assert_int_equal(tap_feed(tap, strv_make(TAIL, sizeof(TAIL) - 1), &pass), RC_OK);
    assert_int_equal(tap_finish(tap, true, &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 10 + sent);
    assert_int_equal(tap_result(tap)->usage.n[USAGE_INPUT], 3);
    tap_free(tap);
    buf_release(&pass);
}

/* Complete events go on at once, comments too, before their event is known. */
static void test_rewriting_holds_no_more_than_it_must(void **state)
{
    struct tap *tap = chat_tap(true, "text/event-stream", "", 200);
    struct buf pass;

    (void)state;
    buf_init(&pass, PASS_MAX);
    assert_int_equal(tap_feed(tap, STRV(": keep-"), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 7);
    assert_int_equal(tap_feed(tap, STRV("alive\n"), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 13);
    assert_int_equal(tap_feed(tap, STRV("data: {\"choices\":[1]}\n\nd"), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 13 + 23);
    assert_int_equal(tap_finish(tap, false, &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 13 + 24);
    /* Bytes after the end go nowhere. */
    assert_int_equal(tap_feed(tap, STRV("x"), &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 13 + 24);
    tap_free(tap);
    buf_release(&pass);
}

static void test_full_pass_buffer_is_told(void **state)
{
    struct tap *tap = chat_tap(true, "text/event-stream", "", 200);
    struct buf pass;

    (void)state;
    buf_init(&pass, 4);
    assert_int_equal(tap_feed(tap, STRV("data: {}\n\n"), &pass), RC_LIMIT);
    tap_free(tap);
    buf_release(&pass);
}

/* 32 MiB of zeros in a few KiB: given up, with no more memory than a piece. */
static void test_bomb_is_given_up(void **state)
{
    static const size_t SIZE = 32 << 20;
    char *zeros = xcalloc(1, SIZE), *packed = xmalloc(SIZE / 64);
    size_t n = ZSTD_compress(packed, SIZE / 64, zeros, SIZE, 3);
    struct tap *tap = chat_tap(false, "application/json", "zstd", 200);

    (void)state;
    assert_false(ZSTD_isError(n));
    assert_int_equal(tap_feed(tap, strv_make(packed, n), NULL), RC_OK);
    assert_true(tap_result(tap)->undecodable);
    assert_int_equal(tap_finish(tap, true, NULL), RC_OK);
    tap_free(tap);
    free(packed);
    free(zeros);
}

static void test_codings_that_cannot_be_read(void **state)
{
    static const char *const CODINGS[] = {"compress", "gzip, br", "gzip", "br", "zstd"};

    (void)state;
    for (size_t i = 0; i < sizeof(CODINGS) / sizeof(CODINGS[0]); i++) {
        struct tap *tap = chat_tap(true, "application/json", CODINGS[i], 200);

        assert_int_equal(tap_feed(tap, STRV("\x7f not compressed at all"), NULL), RC_OK);
        assert_true(tap_result(tap)->undecodable);
        assert_int_equal(tap_finish(tap, true, NULL), RC_OK);
        assert_false(tap_result(tap)->has_usage);
        tap_free(tap);
    }
}

/* A brotli stream of one stored block (RFC 7932): 16 bits of window, then the bytes as they
 * are. */
static void test_brotli(void **state)
{
    static const char BODY[] = "{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}";
    enum { N = sizeof(BODY) - 1 };
    /* WBITS 0 (1 bit); ISLAST 0, MNIBBLES 00, MLEN-1 (16 bits), ISUNCOMPRESSED 1; at the
     * end 11. */
    const uint32_t bits = (uint32_t)(N - 1) << 4 | 1u << 20;
    struct tap *tap = chat_tap(false, "application/json", "br", 200);
    char stream[3 + N + 1];

    (void)state;
    stream[0] = (char)bits;
    stream[1] = (char)(bits >> 8);
    stream[2] = (char)(bits >> 16);
    memcpy(stream + 3, BODY, N);
    stream[3 + N] = 3;
    for (size_t i = 0; i < sizeof(stream); i++)
        assert_int_equal(tap_feed(tap, strv_make(stream + i, 1), NULL), RC_OK);
    assert_int_equal(tap_finish(tap, true, NULL), RC_OK);
    assert_int_equal(tap_result(tap)->usage.n[USAGE_INPUT], 3);
    assert_int_equal(tap_result(tap)->usage.n[USAGE_OUTPUT], 4);
    assert_int_equal(tap_result(tap)->end, TAP_END_COMPLETE);
    tap_free(tap);
}

/* Two gzip members after each other are one body. */
static void test_gzip_members(void **state)
{
    struct tap *tap = chat_tap(false, "application/json", "gzip", 200);
    char packed[512];
    size_t n = compress_zlib(STRV("{\"usage\":{\"prompt_tokens\":3,"), 31, packed, 256);

    (void)state;
    n += compress_zlib(STRV("\"completion_tokens\":4}}"), 31, packed + n, 256);
    assert_int_equal(tap_feed(tap, strv_make(packed, n), NULL), RC_OK);
    assert_int_equal(tap_finish(tap, true, NULL), RC_OK);
    assert_int_equal(tap_result(tap)->usage.n[USAGE_OUTPUT], 4);
    tap_free(tap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_rewrites_only_plain_streams),
        cmocka_unit_test(test_searches_are_bounded),
        cmocka_unit_test(test_hold_is_bounded),
        cmocka_unit_test(test_rewriting_holds_no_more_than_it_must),
        cmocka_unit_test(test_full_pass_buffer_is_told),
        cmocka_unit_test(test_bomb_is_given_up),
        cmocka_unit_test(test_codings_that_cannot_be_read),
        cmocka_unit_test(test_brotli),
        cmocka_unit_test(test_gzip_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
