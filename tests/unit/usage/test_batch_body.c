/* Batches in the body of a call: every request once, by its own endpoint, in bounded time. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "metering/usage/batch_body.h"

struct seen {
    unsigned n;
    uint64_t bound, text, choices;
    char said[512]; /* model/id: of each */
};

static void on_request(void *arg, const struct request_facts *facts, struct strv id)
{
    struct seen *seen = arg;
    size_t n = strlen(seen->said);

    seen->n++;
    seen->bound += facts->max_output_tokens;
    seen->text += facts->text_bytes;
    seen->choices += facts->choices;
    (void)snprintf(seen->said + n, sizeof(seen->said) - n, "%.*s/%.*s%s ", (int)facts->model.n,
                   facts->model.n ? facts->model.p : "", (int)id.n, id.n ? id.p : "",
                   facts->embeds ? "!" : "");
}

static enum batch_body read_body(const char *protocol, const char *path, struct strv body,
                                 struct seen *seen)
{
    const struct protocol *p = protocol_find(strv_z(protocol));
    struct route route;

    *seen = (struct seen){.n = 0};
    assert_non_null(p);
    protocol_route(p, STRV("POST"), strv_z(path), STRV_NONE, &route);
    assert_int_equal(route.endpoint->kind, ENDPOINT_METERED);
    return batch_body_read(p, &route, body, on_request, seen);
}

static void test_forms(void **state)
{
    static const struct {
        const char *protocol, *path, *body, *said;
        enum batch_body kind;
        uint64_t bound, choices;
    } CASES[] = {
        {"anthropic", "/v1/messages/batches",
         "{\"requests\":[{\"custom_id\":\"a\",\"params\":{\"model\":\"m\",\"max_tokens\":5,"
         "\"messages\":[]}},{\"params\":{\"max_tokens\":7,\"model\":\"o\"},\"custom_id\":\"b\"}]}",
         "m/a o/b ", BATCH_BODY_REQUESTS, 12, 2},
        {"gemini", "/v1beta/models/g:batchGenerateContent",
         "{\"batch\":{\"displayName\":\"d\",\"inputConfig\":{\"requests\":{\"requests\":["
         "{\"request\":{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":3,"
         "\"candidateCount\":2}}},{\"request\":{\"contents\":[]}}]}}}}",
         "g/ g/ ", BATCH_BODY_REQUESTS, 3, 3},
        {"gemini", "/v1beta/models/g:batchGenerateContent",
         "{\"batch\":{\"input_config\":{\"file_name\":\"files/a\"}}}", "", BATCH_BODY_OTHER, 0, 0},
        {"gemini", "/v1beta/models/g:asyncBatchEmbedContent",
         "{\"batch\":{\"inputConfig\":{\"requests\":{\"requests\":[{\"request\":{\"content\":"
         "{\"parts\":[{\"text\":\"x\"}]}}}]}}}}",
         "g/! ", BATCH_BODY_REQUESTS, 0, 1},
        {"openai", "/v1/batches/b/requests",
         "{\"batch_requests\":[{\"batch_request_id\":\"r1\",\"batch_request\":"
         "{\"chat_get_completion\":{\"model\":\"g\",\"max_tokens\":4,\"n\":3}}},"
         "{\"batch_request\":{\"responses\":{\"model\":\"h\",\"max_output_tokens\":6,"
         "\"input\":\"x\"}}}]}",
         "g/r1 h/ ", BATCH_BODY_REQUESTS, 10, 4},
        {"openai", "/v1/batches",
         "{\"endpoint\":\"/v1/embeddings\",\"model\":\"e\",\"requests\":[{\"custom_id\":\"1\","
         "\"body\":{\"input\":\"x\"}},{\"custom_id\":\"2\",\"body\":{\"model\":\"f\","
         "\"input\":\"x\"}}]}",
         "/1! f/2! ", BATCH_BODY_REQUESTS, 0, 2},
        /* What is no request is one by its length. */
        {"openai", "/v1/batches", "{\"requests\":[{},{\"body\":7},{\"body\":[]}]}", "/ / / ",
         BATCH_BODY_REQUESTS, 0, 3},
        {"openai", "/v1/batches", "{\"requests\":[]}", "", BATCH_BODY_OTHER, 0, 0},
        {"openai", "/v1/batches", "{\"name\":\"n\"}", "", BATCH_BODY_EMPTY, 0, 0},
        {"openai", "/v1/batches", "{\"name\":\"n\",\"input_file_id\":\"f\"}", "",
         BATCH_BODY_OTHER, 0, 0},
        {"openai", "/v1/batches", "{\"name\":\"n\",\"input_file_id\":null}", "",
         BATCH_BODY_EMPTY, 0, 0},
        {"openai", "/v1/batches", "{\"input_file_id\":\"f\",\"endpoint\":\"/v1/embeddings\"}", "",
         BATCH_BODY_OTHER, 0, 0},
        {"openai", "/v1/chat/completions", "{\"requests\":[{\"body\":{}}]}", "", BATCH_BODY_OTHER,
         0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct seen seen;
        enum batch_body kind = read_body(CASES[i].protocol, CASES[i].path,
                                         strv_z(CASES[i].body), &seen);

        if (kind != CASES[i].kind || strcmp(seen.said, CASES[i].said) != 0)
            print_message("%s: \"%s\"\n", CASES[i].body, seen.said);
        assert_int_equal(kind, CASES[i].kind);
        assert_string_equal(seen.said, CASES[i].said);
        assert_int_equal(seen.bound, CASES[i].bound);
        assert_int_equal(seen.choices, CASES[i].choices);
    }
}

/* What is beyond the bound is told as one. */
static void test_requests_are_bounded(void **state)
{
    enum { MORE = 7 };
    struct buf body;
    struct seen seen;

    (void)state;
    buf_init(&body, 16 << 20);
    assert_int_equal(buf_append_strv(&body, STRV("{\"requests\":[0")), RC_OK);
    for (int i = 0; i < BATCH_BODY_REQUESTS_MAX + MORE; i++)
        assert_int_equal(buf_append_strv(&body, STRV(",{\"params\":0}")), RC_OK);
    assert_int_equal(buf_append_strv(&body, STRV("]}")), RC_OK);
    assert_int_equal(read_body("anthropic", "/v1/messages/batches", buf_view(&body), &seen),
                     BATCH_BODY_REQUESTS);
    assert_int_equal(seen.n, BATCH_BODY_REQUESTS_MAX + 1);
    assert_int_equal(seen.choices, BATCH_BODY_REQUESTS_MAX + MORE);
    assert_int_equal(seen.text, (BATCH_BODY_REQUESTS_MAX + MORE) * strlen("{\"params\":0}"));
    buf_release(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_requests_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
