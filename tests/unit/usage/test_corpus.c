/*
 * Recorded answers of real providers, where the corpus lies beside the project
 * (../shared/corpus): each is fed through the tap whole, in the recorded network
 * chunks, at random places, byte by byte and compressed, and the counts are
 * compared with what the recording is known to say.
 */
#include "tests/unit/unit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brotli/encode.h>
#include <cjson/cJSON.h>
#include <zlib.h>
#include <zstd.h>

#include "base/xalloc.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"

#define CORPUS "../shared/corpus"

enum {
    FILE_MAX = 8 << 20,
    BYTEWISE_MAX = 24 << 10, /* larger bodies are not fed byte by byte */
    RANDOM_ROUNDS = 4,
};

static struct {
    int cases, runs, free_of_charge, websockets, mismatches, anomalies, known;
} total;

/* Cases whose expectation is not ours, with the reason. */
static const struct {
    const char *id;
    const char *field;
    const char *why;
} KNOWN[] = {
    {"xai/responses/stream/ai--__fixtures__-xai-x-search-tool",
     "output_items.web_search_call:search",
     "the provider's own count says no web search: those items are its searches of X"},
};

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    char *text;

    if (file == NULL)
        return NULL;
    text = xmalloc(FILE_MAX + 1);
    *n = fread(text, 1, FILE_MAX, file);
    text[*n] = '\0';
    fclose(file);
    return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

/* The protocol that serves a provider's recordings; OpenAI's where it has none of its own. */
static const struct protocol *protocol_of(const cJSON *meta)
{
    static const char *const OTHER[][2] = {{"bedrock-mantle", "bedrock"},
                                           {"azure-foundry", "azure-openai"}};
    const char *dialect = text_of(meta, "dialect");
    struct strv provider = strv_z(text_of(meta, "provider"));
    const struct protocol *p = protocol_find(provider);

    for (size_t i = 0; i < sizeof(OTHER) / sizeof(OTHER[0]); i++) {
        if (strv_eq(provider, strv_z(OTHER[i][0])))
            p = protocol_find(strv_z(OTHER[i][1]));
    }
    if (p != NULL)
        return p;
    if (strcmp(dialect, "converse") == 0) /* another gateway's */
        return protocol_find(STRV("bedrock"));
    return protocol_find(strv_z(strcmp(dialect, "gemini") == 0 ? "gemini" : "openai"));
}

/* The recorded path, without what the recording hides of it and what another gateway put before
 * it. */
static struct strv path_of(const cJSON *meta)
{
    struct strv path = strv_z(text_of(meta, "path"));
    bool gateway = strcmp(text_of(meta, "provider"), "pydantic-gateway") == 0;

    path = strv_head(path, strv_find(path, '?'));
    if (path.n > 0 && path.p[0] == '<')
        path = strv_skip(path, strv_find(path, '>') + 1);
    if (gateway && strv_starts(path, STRV("/proxy")))
        path = strv_skip(path, 6);
    if (gateway)
        path = strv_skip(path, 1 + strv_find(strv_skip(path, 1), '/'));
    return path;
}

static const struct protocol *route_of(const cJSON *meta, struct route *route)
{
    const struct protocol *p = protocol_of(meta);

    protocol_route(p, strv_z(text_of(meta, "method")), path_of(meta), STRV_NONE, route);
    return p;
}

struct split {
    enum { WHOLE, CHUNKS, BYTES, RANDOM } how;
    const cJSON *chunks;
    unsigned seed;
};

static size_t next_size(const struct split *split, size_t left, size_t index, unsigned *seed)
{
    size_t n = left;

    switch (split->how) {
    case WHOLE:
        break;
    case CHUNKS:
        if (index < (size_t)cJSON_GetArraySize(split->chunks))
            n = (size_t)cJSON_GetArrayItem(split->chunks, (int)index)->valuedouble;
        break;
    case BYTES:
        n = 1;
        break;
    case RANDOM:
        *seed = *seed * 1103515245u + 12345u;
        n = 1 + (*seed >> 16) % 97;
        break;
    }
    return n == 0 ? 1 : n < left ? n : left;
}

/* A recorded header by its name. */
static struct strv header_of(void *arg, struct strv name)
{
    const cJSON *headers = cJSON_GetObjectItemCaseSensitive(arg, "response_headers"), *header;

    cJSON_ArrayForEach(header, headers)
    {
        if (strv_eq_nocase(strv_z(header->string), name) && cJSON_IsString(header))
            return strv_z(header->valuestring);
    }
    return STRV_NONE;
}

static struct tap_result run(const cJSON *meta, struct strv body, const char *coding,
                             const struct split *split)
{
    struct route route;
    const struct protocol *p = route_of(meta, &route);
    struct tap *tap = tap_new(p, &route, false);
    struct tap_response head = {
        .status = (int)cJSON_GetObjectItemCaseSensitive(meta, "status")->valuedouble,
        .content_type = strv_z(text_of(meta, "response_content_type")),
        .content_encoding = strv_z(coding),
        .request_id = STRV("req_1"),
        .header = header_of,
        .header_arg = (void *)(uintptr_t)meta,
    };
    struct tap_result result;
    struct buf pass;
    unsigned seed = split->seed;

    total.runs++;
    buf_init(&pass, 16);
    tap_head(tap, &head);
    assert_false(tap_rewrites(tap));
    for (size_t i = 0; body.n > 0; i++) {
        size_t n = next_size(split, body.n, i, &seed);
        char *piece = xmalloc(n); /* a block of its own: reads past it are seen */

        memcpy(piece, body.p, n);
        assert_int_equal(tap_feed(tap, strv_make(piece, n), &pass), RC_OK);
        free(piece);
        body = strv_skip(body, n);
    }
    assert_int_equal(tap_finish(tap, true, &pass), RC_OK);
    assert_int_equal(buf_len(&pass), 0);
    result = *tap_result(tap);
    tap_free(tap);
    buf_release(&pass);
    return result;
}

static void complain(const cJSON *meta, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void complain(const cJSON *meta, const char *field, const char *format, ...)
{
    const char *id = text_of(meta, "id");
    va_list args;

    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++) {
        if (strcmp(KNOWN[i].id, id) == 0 && strcmp(KNOWN[i].field, field) == 0) {
            total.known++;
            return;
        }
    }
    total.mismatches++;
    printf("MISMATCH %s %s: ", id, field);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* What is expected of a member: -1 for null. */
static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

static void check_field(const cJSON *meta, const struct usage *u, enum usage_field field,
                        const char *name, double want)
{
    double got = usage_has(u, field) ? (double)u->n[field] : -1;

    if (got != want)
        complain(meta, name, "want %.0f, got %.0f", want, got);
}

static void check_usage(const cJSON *meta, const struct tap_result *got)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(meta, "expected");
    const cJSON *sums = cJSON_GetObjectItemCaseSensitive(want, "iterations_sum");
    const cJSON *compaction = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(sums, "by_type"), "compaction");
    const struct usage *u = &got->usage;
    const char *dialect = text_of(meta, "dialect");
    bool openai = strcmp(dialect, "chat") == 0 || strcmp(dialect, "responses") == 0 ||
                  strcmp(dialect, "media") == 0;
    double input = number_of(want, "input_total"), output = number_of(want, "output_total");
    double cached = number_of(want, "input_cached_read");

    if (compaction != NULL) {
        input += number_of(compaction, "input");
        output += number_of(compaction, "output");
        cached = number_of(sums, "input_cached_read");
    }
    check_field(meta, u, USAGE_INPUT, "input_total", input);
    check_field(meta, u, USAGE_OUTPUT, "output_total", output);
    check_field(meta, u, USAGE_CACHE_READ, "input_cached_read", cached);
    if (strcmp(dialect, "total") == 0 && input < 0) /* a total of none */
        input = usage_has(u, USAGE_INPUT) ? (double)u->n[USAGE_INPUT] : -1;
    if (openai) { /* one kind of write, which goes with the short-lived */
        check_field(meta, u, USAGE_CACHE_WRITE_5M, "input_cache_write_total",
                    number_of(want, "input_cache_write_total"));
    } else {
        check_field(meta, u, USAGE_CACHE_WRITE_5M, "input_cache_write_5m",
                    number_of(want, "input_cache_write_5m"));
        check_field(meta, u, USAGE_CACHE_WRITE_1H, "input_cache_write_1h",
                    number_of(want, "input_cache_write_1h"));
    }
    check_field(meta, u, USAGE_INPUT_AUDIO, "input_audio", number_of(want, "input_audio"));
    check_field(meta, u, USAGE_INPUT_IMAGE, "input_image", number_of(want, "input_image"));
    check_field(meta, u, USAGE_REASONING, "output_reasoning",
                number_of(want, "output_reasoning"));
    check_field(meta, u, USAGE_OUTPUT_AUDIO, "output_audio", number_of(want, "output_audio"));
    check_field(meta, u, USAGE_OUTPUT_IMAGE, "output_image", number_of(want, "output_image"));
}

static void check_tools(const cJSON *meta, const struct tap_result *got)
{
    static const struct {
        const char *name;
        enum usage_field field;
    } TOOLS[] = {
        {"web_search_requests", USAGE_WEB_SEARCH},
        {"search_units", USAGE_SEARCH_UNITS},
        {"output_items.web_search_call", USAGE_WEB_SEARCH},
        {"output_items.web_search_call:search", USAGE_WEB_SEARCH},
        {"grounding.webSearchQueries", USAGE_WEB_SEARCH},
        {"output_items.file_search_call", USAGE_FILE_SEARCH},
        {"output_items.code_interpreter_call", USAGE_CODE},
    };
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(meta, "expected"), "server_tools");

    for (size_t i = 0; i < sizeof(TOOLS) / sizeof(TOOLS[0]); i++) {
        double n = number_of(want, TOOLS[i].name);

        if (n > 0)
            check_field(meta, &got->usage, TOOLS[i].field, TOOLS[i].name, n);
    }
}

static void check_rest(const cJSON *meta, const struct tap_result *got)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(meta, "expected");
    bool reported = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(want, "usage_reported"));
    const cJSON *billable = cJSON_GetObjectItemCaseSensitive(want, "billable");
    double cost = number_of(want, "provider_cost_usd");
    double ticks = number_of(want, "provider_cost_usd_ticks");
    double paid =
        (double)got->provider_cost_atto_hi / 1e9 + (double)got->provider_cost_atto_lo / 1e18;

    if (got->has_usage != reported && !cJSON_IsFalse(billable))
        complain(meta, "usage_reported", "want %d, got %d", reported, got->has_usage);
    if (cJSON_IsFalse(billable) && got->end != TAP_END_ERROR)
        complain(meta, "billable", "an error that ended as %d", (int)got->end);
    if (cJSON_IsTrue(billable) && got->end == TAP_END_ERROR && !got->has_usage)
        complain(meta, "billable", "ended as an error");
    if (cost < 0 && ticks >= 0)
        cost = ticks / 1e10;
    if (cost >= 0 && (!got->has_provider_cost || paid - cost > 1e-15 || cost - paid > 1e-15))
        complain(meta, "provider_cost", "want %.18f, got %.18f", cost, paid);
    if (strcmp(text_of(meta, "model_response"), "") != 0 && got->end != TAP_END_ERROR &&
        strcmp(text_of(meta, "model_response"), got->model) != 0)
        complain(meta, "model", "want %s, got %s", text_of(meta, "model_response"), got->model);
    if (got->undecodable && cJSON_IsTrue(billable))
        complain(meta, "undecodable", "yes");
}

static void check_same(const cJSON *meta, const char *how, const struct tap_result *a,
                       const struct tap_result *b)
{
    if (memcmp(&a->usage, &b->usage, sizeof(a->usage)) != 0 || a->has_usage != b->has_usage ||
        a->usage_is_final != b->usage_is_final || a->inconsistent != b->inconsistent ||
        a->undecodable != b->undecodable || a->end != b->end || a->framing != b->framing ||
        strcmp(a->model, b->model) != 0 || strcmp(a->service_tier, b->service_tier) != 0 ||
        a->output_bytes != b->output_bytes || a->has_provider_cost != b->has_provider_cost ||
        a->provider_cost_atto_lo != b->provider_cost_atto_lo)
        complain(meta, how, "differs from the whole (end %d/%d, output bytes %ju/%ju)",
                 (int)a->end, (int)b->end, (uintmax_t)a->output_bytes,
                 (uintmax_t)b->output_bytes);
}

static char *gzip(struct strv body, size_t *n)
{
    z_stream z = {0};
    size_t room = body.n + body.n / 100 + 128;
    char *out = xmalloc(room);

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)body.p;
    z.avail_in = (unsigned)body.n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *n = z.total_out;
    deflateEnd(&z);
    return out;
}

static char *brotli(struct strv body, size_t *n)
{
    size_t room = BrotliEncoderMaxCompressedSize(body.n) + 64;
    char *out = xmalloc(room);

    assert_true(BrotliEncoderCompress(4, 22, BROTLI_MODE_GENERIC, body.n,
                                      (const uint8_t *)body.p, &room, (uint8_t *)out));
    *n = room;
    return out;
}

static char *zstd(struct strv body, size_t *n)
{
    size_t room = ZSTD_compressBound(body.n);
    char *out = xmalloc(room + 1);

    *n = ZSTD_compress(out, room, body.p, body.n, 3);
    assert_false(ZSTD_isError(*n));
    return out;
}

/* The same in every coding that clients offer. */
static void check_codings(const cJSON *meta, struct strv body, const struct tap_result *whole)
{
    static const struct {
        const char *name;
        char *(*pack)(struct strv body, size_t *n);
    } CODINGS[] = {{"gzip", gzip}, {"br", brotli}, {"zstd", zstd}};

    for (size_t i = 0; i < sizeof(CODINGS) / sizeof(CODINGS[0]); i++) {
        struct tap_result other;
        size_t n;
        char *packed = CODINGS[i].pack(body, &n);

        other = run(meta, strv_make(packed, n), CODINGS[i].name,
                    &(struct split){.how = RANDOM, .seed = 7});
        check_same(meta, CODINGS[i].name, whole, &other);
        free(packed);
    }
}

/* What an answer of a free endpoint says is nobody's charge. */
static void check_free(const cJSON *meta)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(meta, "expected");

    total.free_of_charge++;
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(want, "billable")) &&
        cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(want, "usage_reported")))
        complain(meta, "billable", "its endpoint is free here");
}

static void check_case(const cJSON *meta, struct strv body)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(meta, "expected");
    const cJSON *chunks = cJSON_GetObjectItemCaseSensitive(meta, "chunk_sizes");
    struct tap_result whole, other;
    struct route route;

    total.cases++;
    (void)route_of(meta, &route);
    if (route.endpoint->kind == ENDPOINT_UNKNOWN) {
        complain(meta, "path", "no route for %s %s", text_of(meta, "method"),
                 text_of(meta, "path"));
        return;
    }
    if (route.endpoint->kind == ENDPOINT_FREE) {
        check_free(meta);
        return;
    }
    whole = run(meta, body, "", &(struct split){.how = WHOLE});
    if (cJSON_HasObjectItem(want, "anomalies")) {
        total.anomalies++;
    } else {
        if (whole.end != TAP_END_ERROR || whole.has_usage)
            check_usage(meta, &whole);
        check_tools(meta, &whole);
    }
    check_rest(meta, &whole);
    if (cJSON_IsArray(chunks)) {
        other = run(meta, body, "", &(struct split){.how = CHUNKS, .chunks = chunks});
        check_same(meta, "chunks", &whole, &other);
    }
    if (body.n <= BYTEWISE_MAX) {
        other = run(meta, body, "", &(struct split){.how = BYTES});
        check_same(meta, "bytes", &whole, &other);
    }
    for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
        other = run(meta, body, "", &(struct split){.how = RANDOM, .seed = i});
        check_same(meta, "random", &whole, &other);
    }
    check_codings(meta, body, &whole);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
    char body_path[1024];
    size_t n;
    char *text, *body;
    cJSON *meta;

    (void)st;
    if (type != FTW_F || strcmp(path + at->base, "meta.json") != 0)
        return 0;
    text = read_file(path, &n);
    meta = cJSON_Parse(text);
    assert_non_null(meta);
    snprintf(body_path, sizeof(body_path), "%.*s%s", at->base, path, "response.body");
    body = read_file(body_path, &n);
    if (strcmp(text_of(meta, "dialect"), "realtime") == 0)
        total.websockets++;
    else if (body != NULL)
        check_case(meta, strv_make(body, n));
    else
        complain(meta, "body", "there is none");
    free(body);
    cJSON_Delete(meta);
    free(text);
    return 0;
}

static void test_corpus(void **state)
{
    (void)state;
    if (access(CORPUS "/INDEX.md", R_OK) != 0) {
        printf("no recorded traffic at " CORPUS ": skipped\n");
        skip();
    }
    assert_int_equal(nftw(CORPUS, visit, 16, FTW_PHYS), 0);
    printf("%d cases, %d of them free of charge, %d runs, %d with anomalies, %d known, %d "
           "mismatches\n%d not run: WebSocket frames, no HTTP exchange\n",
           total.cases, total.free_of_charge, total.runs, total.anomalies, total.known,
           total.mismatches, total.websockets);
    assert_true(total.cases > 0);
    assert_int_equal(total.mismatches, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
