/*
 * fuzz_who.c - who calls, and what for: a request's head and query against keys and tags.
 *
 * Holds: who is found is found again, also by a thread that remembers; what may travel upstream
 * carries no virtual key, no credential and no word of ours; a query and a baggage that were
 * cleaned are clean, and have nothing that was not there; tags that are read are tags.
 * The input is a request, its target's query included.
 */
#include "proxy/auth.h"
#include "proxy/http_msg.h"
#include "proxy/tags.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_http1.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { ARENA_BYTES = 256 << 10 };

static const char config_text[] =
    "{\"listen\":{\"proxy\":{\"port\":0,\"certificate\":\"c\",\"private_key\":\"k\"}},"
    "\"upstreams\":[{\"name\":\"o\",\"protocol\":\"openai\",\"base_url\":\"http://127.0.0.1:9\"}],"
    "\"tags\":{\"aliases\":true,\"allowed\":{\"team\":[\"a*\",\"b\"]}},"
    "\"keys\":[{\"name\":\"one\",\"secret\":\"tg_one\",\"tags\":{\"team\":\"a\"},"
    "\"locked\":[\"team\"]},"
    "{\"name\":\"two\",\"secret\":\"tg_two\",\"expires\":\"2020-01-01T00:00:00Z\"}],"
    "\"prices\":{\"book\":[\"pricing/book\"]}}";

static struct config *config;

static void clean_up(void)
{
    config_free(config);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct problems problems;

    (void)argc;
    (void)argv;
    fuzz_folder_make();
    fuzz_write("c.json", config_text, sizeof(config_text) - 1);
    problems_init(&problems);
    config = config_load(fuzz_path("c.json"), &problems);
    for (size_t i = 0; i < problems.n; i++)
        fprintf(stderr, "%s\n", problem_text(&problems.at[i]));
    ASSERT(config != NULL);
    problems_release(&problems);
    atexit(clean_up);
    return 0;
}

/* Every part of the second is one of the first, in the same order. */
static void check_parts(struct strv before, struct strv after, char mark)
{
    struct strv part, of;

    while (strv_split(&after, mark, &part)) {
        bool found = false;

        part = strv_trim(part);
        while (!found && strv_split(&before, mark, &of))
            found = strv_eq(strv_trim(of), part);
        ASSERT(found || part.n == 0);
    }
}

static void check_query(struct strv query, struct arena *arena)
{
    struct strv out, again, part;

    if (auth_clean_query(query, CREDENTIALS_PROXY, arena, &out) == RC_OK) {
        check_parts(query, out, '&');
        ASSERT(auth_clean_query(out, CREDENTIALS_PROXY, arena, &again) != RC_OK ||
               strv_eq(out, again));
        while (strv_split(&out, '&', &part))
            ASSERT(!auth_is_credential_parameter(strv_head(part, strv_find(part, '='))) &&
                   !auth_is_virtual(strv_skip(part, strv_find(part, '=') + 1)));
    }
    if (auth_clean_query(query, CREDENTIALS_CLIENT, arena, &out) == RC_OK) {
        check_parts(query, out, '&');
        while (strv_split(&out, '&', &part))
            ASSERT(!auth_is_virtual(strv_skip(part, strv_find(part, '=') + 1)));
    }
}

static void check_headers(const struct http1_head *head, struct arena *arena)
{
    struct strv out, part;

    for (size_t i = 0; i < head->n_headers; i++) {
        const struct http1_header *h = &head->headers[i];

        if (auth_header_travels(h, CREDENTIALS_PROXY))
            ASSERT(!auth_is_credential_header(h->name) && !auth_is_internal_header(h->name));
        if (auth_header_travels(h, CREDENTIALS_CLIENT) && auth_is_credential_header(h->name))
            ASSERT(!auth_is_virtual(h->value));
        if (!strv_eq_nocase(h->name, STRV("baggage")) ||
            auth_clean_baggage(h->value, arena, &out) != RC_OK)
            continue;
        check_parts(h->value, out, ',');
        while (strv_split(&out, ',', &part))
            ASSERT(!strv_starts(strv_trim(part), STRV("tollgate.")));
    }
}

static void check_tags(const struct key_config *key, const struct http1_head *head,
                       struct arena *arena)
{
    struct request_tags tags;
    struct tags_refusal refusal;

    if (!tags_read(config, key, head, arena, &tags, &refusal)) {
        ASSERT(refusal.message[0] && memchr(refusal.message, 0, sizeof(refusal.message)));
        return;
    }
    ASSERT(tags.attempt <= TAGS_ATTEMPT_MAX);
    ASSERT(strv_eq(tags.subject.dim[DIM_KEY], strv_z(key->name)));
    for (unsigned d = 0; d < STANDING_TAGS; d++)
        ASSERT(tags.subject.dim[d].n == 0 || tag_value_is_valid(tags.subject.dim[d]));
    if (key == &config->keys[0])
        ASSERT(strv_eq(tags.subject.dim[DIM_TEAM], STRV("a"))); /* locked */
    ASSERT(tags.subject.n_free <= FREE_TAGS_MAX);
    for (size_t i = 0; i < tags.subject.n_free; i++)
        ASSERT(tag_name_is_valid(tags.subject.free[i].name) &&
               tag_value_is_valid(tags.subject.free[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct strv input = strv_make((const char *)bytes, n);
    struct http1_header head_lines[HTTP1_HEADERS_MAX];
    struct http1_head head = {.headers = head_lines};
    const struct key_config *key, *again;
    struct http_target target;
    struct arena arena;
    struct key_memo *keys;
    enum auth_result result;

    if (n == 0 || n > 8192 ||
        http1_parse_request(input, n, HTTP1_HEADERS_MAX, &head) != PARSE_DONE ||
        http_split_target(head.origin, &target) != RC_OK)
        return 0;
    arena_init(&arena, ARENA_BYTES);
    keys = key_memo_new(config->key_table);
    result = auth_find(keys, CREDENTIALS_PROXY, &head, target.query, 1, &key);
    ASSERT((result == AUTH_OK) <= (key != NULL));
    for (int i = 0; i < 2; i++) {
        ASSERT(auth_find(keys, CREDENTIALS_PROXY, &head, target.query, 1, &again) == result);
        ASSERT(again == key);
    }
    (void)auth_find(keys, CREDENTIALS_CLIENT, &head, target.query, INT64_MAX, &again);
    check_query(target.query, &arena);
    check_headers(&head, &arena);
    for (size_t i = 0; i < config->n_keys; i++) {
        arena_reset(&arena);
        check_tags(&config->keys[i], &head, &arena);
    }
    key_memo_free(keys);
    arena_release(&arena);
    return 0;
}
