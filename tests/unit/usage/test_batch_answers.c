/* Answers to batches, in lines, lists and pages: each told once with all it says, however the bytes
 * are split; what broke off tells what was whole. */
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "metering/usage/tap.h"

struct told {
    char text[1024];
};

/* As name=model:input/output, x where there is no usage, then ?searches, &maps, @cost, ! where
 * nothing was said. */
static bool on_answer(void *arg, const struct tap_answer *a)
{
    struct told *told = arg;
    size_t n = strlen(told->text);

    n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "%.*s=%.*s:", (int)a->name.n,
                          a->name.n ? a->name.p : "", (int)a->model.n,
                          a->model.n ? a->model.p : "");
    if (a->usage == NULL)
        n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "x");
    else
        n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "%" PRIu64 "/%" PRIu64,
                              a->usage->n[USAGE_INPUT], a->usage->n[USAGE_OUTPUT]);
    if (a->usage != NULL && usage_has(a->usage, USAGE_WEB_SEARCH))
        n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "?%" PRIu64,
                              a->usage->n[USAGE_WEB_SEARCH]);
    if (a->usage != NULL && usage_has(a->usage, USAGE_MAPS))
        n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "&%" PRIu64,
                              a->usage->n[USAGE_MAPS]);
    if (a->has_cost)
        n += (size_t)snprintf(told->text + n, sizeof(told->text) - n, "@%" PRId64,
                              (int64_t)(a->cost.atto / 100000000)); /* ticks */
    (void)snprintf(told->text + n, sizeof(told->text) - n, "%s ", a->said_nothing ? "!" : "");
    return true;
}

static struct tap_result run(const char *protocol, const char *path, struct strv body, size_t cut,
                             struct told *told)
{
    const struct protocol *p = protocol_find(strv_z(protocol));
    struct tap_response head = {.status = 200, .content_type = STRV("application/json")};
    struct tap_result result;
    struct route route;
    struct buf pass;
    struct tap *tap;

    memset(told, 0, sizeof(*told));
    protocol_route(p, STRV("GET"), strv_z(path), STRV_NONE, &route);
    assert_int_equal(route.endpoint->kind, ENDPOINT_FETCHED);
    tap = tap_new(p, &route, false);
    tap_on_answer(tap, on_answer, told);
    tap_head(tap, &head);
    buf_init(&pass, 1 << 16);
    for (int half = 0; half < 2; half++) {
        struct strv piece = half ? strv_skip(body, cut) : strv_head(body, cut);
        char *copy = xmalloc(piece.n + (piece.n == 0)); /* so that reads past it are seen */

        memcpy(copy, piece.p, piece.n);
        assert_int_equal(tap_feed(tap, strv_make(copy, piece.n), &pass), RC_OK);
        free(copy);
    }
    assert_int_equal(tap_finish(tap, true, &pass), RC_OK);
    result = *tap_result(tap);
    buf_release(&pass);
    tap_free(tap);
    return result;
}

#define CHAT(model, in, out, more)                                                             \
    "{\"id\":\"c\",\"model\":\"" model "\",\"choices\":[],\"usage\":{\"prompt_tokens\":" in     \
    ",\"completion_tokens\":" out more "}}"
#define GROUNDED(model, in, out, queries, chunks)                                              \
    "{\"candidates\":[{\"finishReason\":\"STOP\",\"groundingMetadata\":{\"webSearchQueries\":["  \
    queries "],\"groundingChunks\":[" chunks "]}}],\"modelVersion\":\"" model                  \
    "\",\"usageMetadata\":{\"promptTokenCount\":" in ",\"candidatesTokenCount\":" out "}}"
#define RESULT(name, answer)                                                                   \
    "{\"batch_request_id\":\"" name "\",\"batch_result\":{\"response\":{" answer "}}}"

static const struct {
    const char *protocol, *path, *body, *told;
    uint64_t input, output;
    bool work_over;
} CASES[] = {
    {"openai", "/v1/batches/b/results",
     "{\"results\":[" RESULT("a", "\"chat_get_completion\":" CHAT(
         "g", "5", "7", ",\"cost_in_usd_ticks\":30")) ",\n" RESULT(
         "b\\\"/c", "\"responses\":{\"model\":\"h\",\"usage\":{\"input_tokens\":2,"
                    "\"output_tokens\":3}}") ",{\"batch_request_id\":\"d\",\"batch_result\":"
     "{\"error\":\"no\"}}],\"pagination_token\":\"d\"}",
     "a=g:5/7@30 b\\\"/c=h:2/3 d=:x ", 7, 10, false},
    /* Without a name, the answer's own. */
    {"openai", "/v1/batches/b/results",
     "{\"results\":[{\"batch_result\":{\"response\":{\"chat_get_completion\":" CHAT(
         "g", "5", "7", "") "}}},{\"batch_result\":{}},{},[],1]}",
     "c=g:5/7 ", 5, 7, false},
    {"openai", "/v1/batches/b/results", "{\"results\":[],\"pagination_token\":null}", "", 0, 0,
     false},
    {"openai", "/v1/batches/b/results", "{\"results\":{\"usage\":{\"prompt_tokens\":5}}}", "", 0, 0,
     false},
    {"openai", "/v1/batches/b",
     "{\"id\":\"b\",\"status\":\"completed\",\"usage\":{\"prompt_tokens\":9,"
     "\"completion_tokens\":9},\"results\":[{\"custom_id\":\"1\",\"response\":{\"status_code\":200,"
     "\"body\":" CHAT("m", "4", "1", "") "},\"error\":null},{\"custom_id\":\"2\",\"response\":null,"
     "\"error\":{\"message\":\"no\"}}]}",
     "=m:4/1 ", 4, 1, true},
    {"openai", "/v1/batches/b",
     "{\"id\":\"b\",\"status\":\"in_progress\",\"usage\":{\"prompt_tokens\":9}}", "", 0, 0, false},
    {"openai", "/v1/batches/b",
     "{\"batch_id\":\"b\",\"cancel_by_xai_message\":null,\"state\":{\"num_requests\":4,"
     "\"num_pending\":0}}",
     "", 0, 0, true},
    {"openai", "/v1/batches/b",
     "{\"batch_id\":\"b\",\"state\":{\"num_requests\":0,\"num_pending\":0}}", "", 0, 0, false},
    {"openai", "/v1/batches/b",
     "{\"batch_id\":\"b\",\"cancel_by_xai_message\":\"bad\",\"state\":{\"num_requests\":0,"
     "\"num_pending\":0}}",
     "", 0, 0, true},
    {"openai", "/v1/files/f/content",
     "{\"custom_id\":\"1\",\"response\":{\"body\":" CHAT("m", "4", "1", "") "}}\n"
     "{\"custom_id\":\"2\",\"response\":{\"body\":" CHAT("n", "6", "2", ",\"cost\":0.5") "}}\n",
     "=m:4/1 =n:6/2@5000000000 ", 10, 3, false},
    {"anthropic", "/v1/messages/batches/b/results",
     "{\"custom_id\":\"1\",\"result\":{\"type\":\"succeeded\",\"message\":{\"model\":\"m\","
     "\"content\":[],\"stop_reason\":\"refusal\",\"usage\":{\"input_tokens\":4,"
     "\"output_tokens\":1}}}}\n"
     "{\"custom_id\":\"2\",\"result\":{\"type\":\"succeeded\",\"message\":{\"model\":\"m\","
     "\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"stop_reason\":\"refusal\",\"usage\":"
     "{\"input_tokens\":5,\"output_tokens\":2}}}}\n"
     "{\"custom_id\":\"3\",\"result\":{\"type\":\"succeeded\",\"message\":{\"model\":\"m\","
     "\"content\":[],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":6,"
     "\"output_tokens\":3}}}}",
     "=m:4/1! =m:5/2 =m:6/3 ", 15, 6, false},
    /* Each answer's own searches and places, in a list or in lines. */
    {"gemini", "/v1beta/batches/b",
     "{\"name\":\"batches/b\",\"done\":true,\"response\":{\"inlinedResponses\":"
     "{\"inlinedResponses\":[{\"response\":" GROUNDED("m", "4", "1", "\"a\",\"b\"", "") "},"
     "{\"response\":" GROUNDED("m", "5", "2", "", "{\"maps\":{}}") "},"
     "{\"error\":{\"code\":3}},{\"response\":" GROUNDED("m", "6", "3", "", "") "}]}}}",
     "=m:4/1?2 =m:5/2&1 =m:6/3 ", 15, 6, false},
    {"gemini", "/v1beta/files/f:download",
     "{\"key\":\"1\",\"response\":" GROUNDED("m", "4", "1", "\"a\",\"b\"", "") "}\n"
     "{\"key\":\"2\",\"response\":" GROUNDED("m", "6", "3", "", "") "}\n",
     "=m:4/1?2 =m:6/3 ", 10, 4, false},
};

static void test_told_at_every_split(void **state)
{
    struct told told;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv body = strv_z(CASES[i].body);

        for (size_t cut = 0; cut <= body.n; cut++) {
            struct tap_result r = run(CASES[i].protocol, CASES[i].path, body, cut, &told);

            if (strcmp(told.text, CASES[i].told) != 0)
                print_message("%zu at %zu: \"%s\"\n", i, cut, told.text);
            assert_string_equal(told.text, CASES[i].told);
            assert_int_equal(r.usage.n[USAGE_INPUT], CASES[i].input);
            assert_int_equal(r.usage.n[USAGE_OUTPUT], CASES[i].output);
            assert_int_equal(r.work_over, CASES[i].work_over);
            assert_false(r.undecodable);
        }
    }
}

/* Of an answer that breaks off anywhere only what was whole is told, and in its order. */
static void test_broken_off(void **state)
{
    struct told told;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv body = strv_z(CASES[i].body);

        for (size_t n = 0; n < body.n; n++) {
            run(CASES[i].protocol, CASES[i].path, strv_head(body, n), n / 2, &told);
            assert_int_equal(strncmp(told.text, CASES[i].told, strlen(told.text)), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_at_every_split),
        cmocka_unit_test(test_broken_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
