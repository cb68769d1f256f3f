#include "metering/usage/route_memo.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

static void check(struct route_memo *memo, const char *protocol, struct strv method,
                  struct strv path)
{
    const struct protocol *p = protocol_find(strv_z(protocol));
    struct route want, got;

    protocol_route(p, method, path, STRV_NONE, &want);
    route_memo_find(memo, p, method, path, STRV_NONE, &got);
    assert_ptr_equal(got.endpoint, want.endpoint);
    assert_true(strv_eq(got.path_model, want.path_model));
    assert_true(strv_eq(got.region, want.region));
    assert_true(strv_eq(got.path_id, want.path_id));
    assert_int_equal(got.path_stream, want.path_stream);
    assert_int_equal(got.is_by_path, want.is_by_path);
    assert_int_equal(got.is_by_name, want.is_by_name);
    assert_int_equal(got.openai_path, want.openai_path);
}

static const struct {
    const char *protocol, *method, *path;
    bool is_kept;
} CASES[] = {
    {"openai", "POST", "/v1/chat/completions", true},
    {"openai", "GET", "/v1/chat/completions", true},
    {"openai", "POST", "/v1/chat/completion", true},
    {"openai", "POST", "/v1/chat/completionz", true},
    {"openai", "POST", "/v1/embeddings", true},
    {"anthropic", "POST", "/v1/messages", true},
    {"mistral", "POST", "/v1/chat/completions", true},
    {"raw", "POST", "/v1/chat/completions", true},
    {"openai", "POST", "", true},
    /* What views the path belongs to it alone. */
    {"gemini", "POST", "/v1beta/models/gemini-2.5-pro:generateContent", false},
    {"gemini", "POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent", false},
    {"bedrock", "POST", "/model/m/converse", false},
    {"openai", "GET", "/v1/batches/batch_1", false},
    {"deepgram", "POST", "/v1/listen", false}, /* nor does what is in a query */
    {"openai", "POST",
     "/v1/a-path-that-is-longer-than-any-that-is-kept-in-the-memory-of-routes", false},
    {"openai", "PROPPATCH", "/v1/chat/completions", false},
};

enum { N_CASES = sizeof(CASES) / sizeof(CASES[0]) };

/* Whatever was asked before, a route is that of the path that is asked for now. */
static void a_path_has_its_own_route(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t k = 0; k < N_CASES; k++) {
            struct route_memo *memo = route_memo_new();

            check(memo, CASES[i].protocol, strv_z(CASES[i].method), strv_z(CASES[i].path));
            check(memo, CASES[k].protocol, strv_z(CASES[k].method), strv_z(CASES[k].path));
            assert_int_equal(route_memo_hits(memo), i == k && CASES[i].is_kept);
            route_memo_free(memo);
        }
    }
}

static void what_is_kept_is_known_and_bounded(void **state)
{
    struct route_memo *memo = route_memo_new();
    char path[32];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < ROUTE_MEMO_MAX; i++) {
            snprintf(path, sizeof(path), "/v1/path%d", i);
            check(memo, "openai", STRV("POST"), strv_z(path));
        }
        assert_int_equal(route_memo_hits(memo), round * ROUTE_MEMO_MAX);
    }
    check(memo, "openai", STRV("POST"), STRV("/v1/one-more"));
    check(memo, "openai", STRV("POST"), STRV("/v1/path1"));
    assert_int_equal(route_memo_hits(memo), 2 * ROUTE_MEMO_MAX + 1);
    check(memo, "openai", STRV("POST"), STRV("/v1/path0")); /* which made room */
    assert_int_equal(route_memo_hits(memo), 2 * ROUTE_MEMO_MAX + 1);
    route_memo_free(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_has_its_own_route),
        cmocka_unit_test(what_is_kept_is_known_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
