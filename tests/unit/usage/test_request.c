#include "metering/usage/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/xalloc.h"
#include "metering/usage/jscan.h"
#include "tests/unit/unit.h"

static enum rc scan(const char *protocol, const char *path, struct strv body,
                    struct request_facts *facts)
{
    const struct protocol *p = protocol_find(strv_z(protocol));
    char *copy = xmalloc(body.n + 1); /* a block of its own: reads past it are seen */
    struct route route;
    enum rc rc;

    memcpy(copy, body.p, body.n);
    protocol_route(p, STRV("POST"), strv_z(path), STRV_NONE, &route);
    rc = protocol_scan_request(p, &route, strv_make(copy, body.n), NULL, facts);
    if (rc == RC_OK && facts->model.n > 0 && facts->model.p >= copy &&
        facts->model.p < copy + body.n)
        facts->model.p = body.p + (facts->model.p - copy);
    for (size_t i = 0; rc == RC_OK && i < facts->n_others; i++)
        facts->others[i].text.p = body.p + (facts->others[i].text.p - copy);
    if (rc == RC_OK && facts->service_tier.n > 0 && facts->service_tier.p >= copy &&
        facts->service_tier.p < copy + body.n)
        facts->service_tier.p = body.p + (facts->service_tier.p - copy);
    free(copy);
    return rc;
}

#define CHAT "openai", "/v1/chat/completions"

static void test_chat(void **state)
{
    static const struct strv BODY = {
        "{\"messages\":[{\"role\":\"system\",\"content\":\"abc\"},{\"role\":\"user\","
        "\"content\":["
        "{\"type\":\"text\",\"text\":\"d\\u00e9f\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
        "png;base64,AAAAAAAAAAAA\"}},"
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}}]}],"
        "\"max_tokens\":5,\"max_completion_tokens\":1e2,\"n\":3,\"service_tier\":\"flex\","
        "\"stream\":false,\"model\":\"gpt-x\"}",
        0};
    struct request_facts f;

    (void)state;
    assert_int_equal(scan(CHAT, strv_z(BODY.p), &f), RC_OK);
    assert_true(strv_eq(f.model, STRV("gpt-x")));
    assert_true(strv_eq(f.service_tier, STRV("flex")));
    assert_false(f.stream);
    assert_true(f.has_max_output);
    assert_int_equal(f.max_output_tokens, 100); /* the larger of two bounds */
    assert_int_equal(f.choices, 3);
    assert_int_equal(f.messages, 2);
    assert_int_equal(f.media_parts, 2);
    /* abc, d e-acute f; and the roles and types, which are text of the prompt as well */
    assert_int_equal(f.text_bytes, strlen("system") + 3 + strlen("user") + strlen("text") + 4 +
                                       strlen("image_url") + strlen("input_audio"));
    assert_false(f.can_ask_usage);
    assert_false(f.server_state);
    assert_false(f.embeds);
}

/* What the edit makes of a body must be JSON that asks for usage, and else the same. */
static void test_edits(void **state)
{
    static const struct {
        const char *body, *edited; /* NULL: no edit */
        bool asks;
    } CASES[] = {
        {"{\"model\":\"m\",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}",
         false},
        {" \n{ \"model\":\"m\",\"stream\":true}",
         " \n{\"stream_options\":{\"include_usage\":true}, \"model\":\"m\",\"stream\":true}",
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{ "
         "\"include_obfuscation\":false}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true, "
         "\"include_obfuscation\":false}}",
         false},
        {"{\"stream_options\":{\"a\":{\"include_usage\":true}},\"model\":\"m\",\"stream\":"
         "true}",
         "{\"stream_options\":{\"include_usage\":true,\"a\":{\"include_usage\":true}},"
         "\"model\":\"m\",\"stream\":true}",
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":false}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\": null }}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\": true }}",
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":null}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", NULL,
         true},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":[]}", NULL, false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":1}", NULL, false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":1}}", NULL,
         false},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":{}}}", NULL,
         false},
        {"{\"model\":\"m\",\"stream\":false}", NULL, false},
        {"{\"model\":\"m\"}", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct strv body = strv_z(CASES[i].body);
        struct request_facts f;
        char edited[512];
        cJSON *json;
        int n;

        assert_int_equal(scan(CHAT, body, &f), RC_OK);
        assert_int_equal(f.can_ask_usage, CASES[i].edited != NULL);
        assert_int_equal(f.asks_usage, CASES[i].asks);
        if (CASES[i].edited == NULL)
            continue;
        n = snprintf(edited, sizeof(edited), "%.*s" STRV_FMT "%s", (int)f.edit_at, body.p,
                     STRV_ARG(f.edit_text), body.p + f.edit_at + f.edit_cut);
        assert_string_equal(edited, CASES[i].edited);
        json = cJSON_ParseWithOpts(edited, NULL, true);
        assert_non_null(json);
        cJSON_Delete(json);
        assert_int_equal(scan(CHAT, strv_make(edited, (size_t)n), &f), RC_OK);
        assert_true(f.asks_usage);
        assert_false(f.can_ask_usage);
    }
}

static void test_edits_only_where_they_help(void **state)
{
    static const struct strv BODY = {"{\"model\":\"m\",\"stream\":true,\"max_tokens\":1}", 41};
    static const struct {
        const char *protocol, *path;
        bool can;
    } CASES[] = {
        {"openai", "/v1/chat/completions", true},
        {"openai", "/v1/completions", true},
        {"openai", "/v1/responses", false},
        {"openai", "/v1/embeddings", false},
        {"anthropic", "/v1/messages", false},
        {"azure-openai", "/openai/v1/completions", true},
        {"mistral", "/v1/chat/completions", false},
        {"gemini", "/v1/models/g:streamGenerateContent", false},
    };
    struct request_facts f;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(scan(CASES[i].protocol, CASES[i].path, strv_z(BODY.p), &f), RC_OK);
        assert_int_equal(f.can_ask_usage, CASES[i].can);
    }
    assert_int_equal(scan("mistral", "/v1/chat/completions", strv_z(BODY.p), &f), RC_OK);
    assert_true(f.asks_usage); /* it comes unasked */
}

static void test_what_is_refused(void **state)
{
    static const char *const BAD[] = {
        "",
        "null",
        "[]",
        "\"x\"",
        "{\"model\":\"m\"",
        "{\"model\":\"m\"} x",
        "{\"model\":1}",
        "{\"model\":null}",
        "{\"model\":\"\"}",
        "{\"model\":{\"a\":1}}",
        "{\"model\":\"a\\u0000b\"}",
        "{\"model\":\"a\\nb\"}",
        "{\"model\":\"\xff\"}",
        /* could read otherwise elsewhere */
        "{\"model\":\"m\",\"model\":\"n\"}",
        "{\"model\":\"m\",\"m\\u006fdel\":\"n\"}",
        "{\"model\":\"m\",\"stream\":true,\"stream\":false}",
        "{\"model\":\"m\",\"stream_options\":{},\"stream_options\":{}}",
        "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}",
        "{\"model\":\"m\",\"Model\":\"n\"}",
        "{\"model\":\"m\",\"STREAM\":true}",
        "{\"model\":\"m\",\"\xc5\xbftream\":true}",
        "{\"model\":\"m\",\"stream\":\"true\"}",
        "{\"model\":\"m\",\"stream\":1}",
        "{\"model\":\"m\",\"stream\":[]}",
        "{\"model\":\"m\" \"a\":1}",
        "{\"model\":'m'}",
        "{\"model\":\"m\",\"messages\":[01]}",
        "{\"model\":\"m\",/**/\"a\":1}",
    };
    struct request_facts f, zero;

    (void)state;
    memset(&zero, 0, sizeof(zero));
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        if (scan(CHAT, strv_z(BAD[i]), &f) != RC_BAD || memcmp(&f, &zero, sizeof(f)) != 0) {
            print_error("accepted: %s\n", BAD[i]);
            fail();
        }
    }
}

static void test_models(void **state)
{
    struct request_facts f;
    char body[2 * REQUEST_MODEL_MAX_BYTES];

    (void)state;
    assert_int_equal(scan(CHAT, STRV("{}"), &f), RC_OK);
    assert_int_equal(f.model.n, 0);
    assert_int_equal(scan(CHAT, STRV("{\"model\":\"openai\\/gpt-\\u00e9\"}"), &f), RC_OK);
    assert_true(strv_eq(f.model, STRV("openai/gpt-\xc3\xa9")));
    snprintf(body, sizeof(body), "{\"model\":\"%0*d\"}", REQUEST_MODEL_MAX_BYTES, 0);
    assert_int_equal(scan(CHAT, strv_z(body), &f), RC_OK);
    assert_int_equal(f.model.n, REQUEST_MODEL_MAX_BYTES);
    snprintf(body, sizeof(body), "{\"model\":\"%0*d\"}", REQUEST_MODEL_MAX_BYTES + 1, 0);
    assert_int_equal(scan(CHAT, strv_z(body), &f), RC_BAD);
    /* In the path: decoded, and the body needs none. */
    assert_int_equal(
        scan("azure-openai", "/openai/deployments/gpt%2Dx/chat/completions", STRV("{}"), &f),
        RC_OK);
    assert_true(strv_eq(f.model, STRV("gpt-x")));
    assert_int_equal(
        scan("azure-openai", "/openai/deployments/gpt%2/chat/completions", STRV("{}"), &f),
        RC_BAD);
    assert_int_equal(
        scan("azure-openai", "/openai/deployments/gpt%00/chat/completions", STRV("{}"), &f),
        RC_BAD);
}

static void test_other_endpoints(void **state)
{
    static const struct {
        const char *protocol, *path, *body;
        bool stream, has_max, state, embeds, background;
        uint64_t max, choices, media, messages;
    } CASES[] = {
        {"openai", "/v1/completions", "{\"model\":\"m\",\"prompt\":\"a\"}", .has_max = true,
         .max = 16, .choices = 1, .messages = 1},
        {"openai", "/v1/completions",
         "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2,\"best_of\":4,\"max_tokens\":"
         "7}",
         .has_max = true, .max = 7, .choices = 12, .messages = 3},
        {"openai", "/v1/completions",
         "{\"model\":\"m\",\"prompt\":[[1,2],[3]],\"max_tokens\":7}", .has_max = true, .max = 7,
         .choices = 2, .messages = 2},
        {"openai", "/v1/completions", "{\"model\":\"m\",\"prompt\":[1,2,3],\"max_tokens\":7}",
         .has_max = true, .max = 7, .choices = 1},
        {"openai", "/v1/embeddings", "{\"input\":[\"a\",\"b\"],\"model\":\"m\"}", .choices = 1,
         .messages = 2, .embeds = true},
        {"openai", "/v1/responses",
         "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_"
         "image\","
         "\"image_url\":\"https://x\"},{\"type\":\"input_file\",\"file_id\":\"f\"}]}],"
         "\"max_output_tokens\":9,\"background\":true,\"stream\":true}",
         .stream = true, .has_max = true, .max = 9, .choices = 1, .media = 2, .messages = 1,
         .background = true},
        {"openai", "/v1/responses", "{\"model\":\"m\",\"previous_response_id\":\"r\"}",
         .state = true, .choices = 1},
        {"openai", "/v1/responses", "{\"model\":\"m\",\"previous_response_id\":null}",
         .choices = 1},
        {"openai", "/v1/responses", "{\"model\":\"m\",\"conversation\":{\"id\":\"r\"}}",
         .state = true, .choices = 1},
        {"openai", "/v1/responses", "{\"model\":\"m\",\"prompt\":{\"id\":\"r\"}}",
         .state = true, .choices = 1},
        {"anthropic", "/v1/messages",
         "{\"model\":\"m\",\"max_tokens\":0,\"stream\":true,\"system\":\"s\",\"messages\":[{"
         "\"role\":"
         "\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":"
         "\"AA\"}},"
         "{\"type\":\"document\",\"source\":{\"data\":\"text\",\"type\":\"text\"}}]}]}",
         .stream = true, .has_max = true, .max = 0, .choices = 1, .media = 1, .messages = 1},
        {"gemini", "/v1/models/g:streamGenerateContent",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\"},{\"inlineData\":{\"data\":\"AA\"}},"
         "{\"file_data\":{\"file_uri\":\"u\"}}]}],\"generationConfig\":{\"maxOutputTokens\":5,"
         "\"candidateCount\":2}}",
         .stream = true, .has_max = true, .max = 5, .choices = 2, .media = 2, .messages = 1},
        {"gemini", "/v1/models/g:generateContent",
         "{\"contents\":{\"parts\":{\"text\":\"a\"}},\"generation_config\":{\"max_output_"
         "tokens\":5}}",
         .has_max = true, .max = 5, .choices = 1, .messages = 1},
        {"gemini", "/v1/models/g:batchEmbedContents",
         "{\"requests\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}", .choices = 1,
         .messages = 2, .embeds = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct request_facts f;

        print_message("%s\n", CASES[i].body);
        assert_int_equal(scan(CASES[i].protocol, CASES[i].path, strv_z(CASES[i].body), &f),
                         RC_OK);
        assert_int_equal(f.stream, CASES[i].stream);
        assert_int_equal(f.has_max_output, CASES[i].has_max);
        assert_int_equal(f.max_output_tokens, CASES[i].max);
        assert_int_equal(f.choices, CASES[i].choices);
        assert_int_equal(f.media_parts, CASES[i].media);
        assert_int_equal(f.messages, CASES[i].messages);
        assert_int_equal(f.server_state, CASES[i].state);
        assert_int_equal(f.embeds, CASES[i].embeds);
        assert_int_equal(f.background, CASES[i].background);
    }
}

static void test_text_of_documents_and_tools_counts(void **state)
{
    struct request_facts without, with;

    (void)state;
    assert_int_equal(scan("anthropic", "/v1/messages",
                          STRV("{\"model\":\"m\",\"messages\":[{\"content\":[{\"source\":{"
                               "\"type\":\"text\",\"data\":\"0123456789\"}}]}]}"),
                          &with),
                     RC_OK);
    assert_int_equal(with.text_bytes, 10);
    assert_int_equal(with.media_parts, 0);
    /* A tool's own members may have any name. */
    assert_int_equal(
        scan(CHAT,
             STRV("{\"model\":\"m\",\"tools\":[{\"file\":\"abc\",\"source\":{\"x\":\"de\"}}]}"),
             &with),
        RC_OK);
    assert_int_equal(with.text_bytes, 5);
    assert_int_equal(with.media_parts, 0);
    assert_int_equal(scan(CHAT, STRV("{\"model\":\"m\",\"user\":\"abc\"}"), &without), RC_OK);
    assert_int_equal(without.text_bytes, 0);
}

/* Other models, and what tools may cost. */
static void test_what_it_may_take(void **state)
{
    static const struct {
        const char *body;
        uint64_t searches;
        size_t n;
        bool untold;
        const char *tier;
    } CASES[] = {
        {"{\"tools\":[{\"type\":\"web_search_20250305\",\"max_uses\":3},"
         "{\"max_uses\":4,\"type\":\"web_search\"},{\"type\":\"web_fetch\",\"max_uses\":5}]}",
         7, 0, false, ""},
        {"{\"tools\":[{\"type\":\"web_search\"}]}", 1, 0, false, ""},
        {"{\"max_tool_calls\":9,\"tools\":[{\"type\":\"web_search\"}]}", 9, 0, false, ""},
        {"{\"max_tool_calls\":9,\"tools\":[{\"type\":\"x\"}]}", 0, 0, false, ""},
        {"{\"tools\":[{\"type\":\"web_search\",\"max_uses\":-1}]}", 1, 0, false, ""},
        {"{\"tools\":[{\"type\":\"web_search\",\"max_uses\":9007199254740992},"
         "{\"type\":\"web_search\",\"x\":{\"max_uses\":8}}]}",
         9007199254740993, 0, false, ""},
        {"{\"tools\":[{\"google_search\":{}},{\"googleSearch\":null}]}", 1, 0, false, ""},
        {"{\"fallbacks\":[{\"model\":\"a\"},\"b\",{\"model\":null}],\"models\":[\"c\",null],"
         "\"tools\":[{\"type\":\"x\",\"model\":\"d\"},{\"function\":{\"model\":\"e\"}}]}",
         0, 4, false, ""},
        {"{\"models\":[\"a\",1]}", 0, 1, true, ""},
        {"{\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]}", 0, 8, false, ""},
        {"{\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", 0, 8, true, ""},
        {"{\"speed\":\"fast\",\"service_tier\":\"auto\"}", 0, 0, false, "fast"},
        {"{\"speed\":\"standard\",\"service_tier\":\"auto\"}", 0, 0, false, "auto"},
    };
    char text[REQUEST_MODEL_MAX_BYTES];
    struct request_facts f;
    struct strv name;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(scan("anthropic", "/v1/messages", strv_z(CASES[i].body), &f), RC_OK);
        assert_int_equal(f.searches, CASES[i].searches);
        assert_int_equal(f.n_others, CASES[i].n);
        assert_int_equal(f.others_untold, CASES[i].untold);
        assert_true(strv_eq(f.service_tier, strv_z(CASES[i].tier)));
    }
    assert_int_equal(scan(CHAT, STRV("{\"models\":[\"a\\/\\u0062\",\"\",\"\\ud800\"]}"), &f), RC_OK);
    assert_true(protocol_other_model(&f.others[0], text, &name) && strv_eq(name, STRV("a/b")));
    assert_false(protocol_other_model(&f.others[1], text, &name));
    assert_true(protocol_other_model(&f.others[2], text, &name));
}

static void test_depth(void **state)
{
    char body[2 * JSCAN_DEPTH_MAX + 64];
    struct request_facts f;
    size_t n = (size_t)snprintf(body, sizeof(body), "{\"model\":\"m\",\"x\":");

    (void)state;
    memset(body + n, '[', JSCAN_DEPTH_MAX);
    assert_int_equal(scan(CHAT, strv_make(body, n + JSCAN_DEPTH_MAX), &f), RC_LIMIT);
}

/* Bedrock's own bodies: the model stands in the path, bounds under many names. */
static void test_bedrock(void **state)
{
    static const struct {
        const char *path, *body, *model, *tier;
        uint64_t bound, text, media, messages;
    } CASES[] = {
        {"/model/us.m-v1%3A0/converse",
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"abc\"},{\"image\":{"
         "\"source\":{\"bytes\":\"AAAAAAAAAAAA\"}}},{\"cachePoint\":{\"type\":\"default\"}}]}],"
         "\"inferenceConfig\":{\"maxTokens\":7},\"serviceTier\":{\"type\":\"flex\"}}",
         "us.m-v1:0", "flex", 7, 7, 1, 1},
        {"/model/arn%3Aaws%3Abedrock%3Ar%3A1%3Ainference-profile%2Fus.x/converse-stream",
         "{\"messages\":[],\"system\":[{\"text\":\"ab\"}]}",
         "arn:aws:bedrock:r:1:inference-profile/us.x", "", 0, 2, 0, 0},
        {"/model/meta.x/invoke", "{\"prompt\":\"abc\",\"max_gen_len\":9}", "meta.x", "", 9, 3,
         0, 1},
        {"/model/amazon.x/invoke",
         "{\"inputText\":\"abcd\",\"textGenerationConfig\":{\"maxTokenCount\":5}}", "amazon.x",
         "", 5, 4, 0, 1},
        {"/model/amazon.nova/invoke",
         "{\"messages\":[{\"content\":[{\"text\":\"a\"}]}],\"inferenceConfig\":{"
         "\"max_new_tokens\":3}}",
         "amazon.nova", "", 3, 1, 0, 1},
        {"/model/cohere.command/invoke", "{\"message\":\"abc\",\"max_tokens\":4}",
         "cohere.command", "", 4, 3, 0, 1},
        {"/model/cohere.embed/invoke", "{\"texts\":[\"ab\",\"c\"]}", "cohere.embed", "", 0, 3,
         0, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct request_facts f;

        assert_int_equal(scan("bedrock", CASES[i].path, strv_z(CASES[i].body), &f), RC_OK);
        assert_true(strv_eq(f.model, strv_z(CASES[i].model)));
        assert_true(strv_eq(f.service_tier, strv_z(CASES[i].tier)));
        assert_int_equal(f.has_max_output, CASES[i].bound > 0);
        assert_int_equal(f.max_output_tokens, CASES[i].bound);
        assert_int_equal(f.text_bytes, CASES[i].text);
        assert_int_equal(f.media_parts, CASES[i].media);
        assert_int_equal(f.messages, CASES[i].messages);
        assert_int_equal(f.stream, strstr(CASES[i].path, "stream") != NULL);
    }
}

static void test_predict(void **state)
{
    struct request_facts f;

    (void)state;
    assert_int_equal(
        scan("vertex", "/v1/projects/p/locations/l/publishers/google/models/e:predict",
             STRV("{\"instances\":[{\"content\":\"abcd\"},{\"image\":{\"bytesBase64Encoded\":"
                  "\"AAAAAAAA\"}}]}"),
             &f),
        RC_OK);
    assert_true(f.embeds);
    assert_int_equal(f.text_bytes, 4);
    assert_int_equal(f.media_parts, 1);
}

static void test_sessions(void **state)
{
    static const char EVENTS[] = "[{\"type\":\"user.message\",\"content\":[{\"type\":"
                                 "\"text\",\"text\":\"abcdefgh\"}]}]";
    static const struct {
        const char *path, *body;
        enum rc rc;
        const char *agent, *model;
        bool works;
        uint64_t cents;
    } CASES[] = {
        {"sessions", "{\"agent\":\"a1\"}", RC_OK, "a1", "", false, 0},
        {"sessions", "{\"agent\":\"a1\",\"model\":\"m\"}", RC_BAD, "", "", false, 0},
        {"sessions", "{\"agent\":{\"id\":\"a1\",\"model\":\"m\"}}", RC_OK, "a1", "m", false, 0},
        {"sessions", "{\"agent\":{\"id\":\"a1\",\"model\":{\"id\":\"m\",\"speed\":\"fast\"}}}",
         RC_OK, "a1", "m", false, 0},
        {"sessions", "{\"agent\":{\"id\":\"a1\",\"model\":null}}", RC_OK, "a1", "", false, 0},
        {"sessions", "{\"agent\":{\"model\":\"m\",\"model\":\"n\"}}", RC_BAD, "", "", false, 0},
        {"sessions", "{\"agent\":{\"model\":\"\\u006d\"}}", RC_BAD, "", "", false, 0},
        {"sessions", "{\"agent\":{\"model\":7}}", RC_BAD, "", "", false, 0},
        {"sessions", "{\"agent\":\"a1\",\"agent\":\"a2\"}", RC_BAD, "", "", false, 0},
        {"sessions", "{\"agent\":\"a1\",\"budget\":{\"type\":\"limit\",\"max_list_cost\":"
                     "{\"amount\":\"2500\",\"currency\":\"USD\"}},\"initial_events\":%s}",
         RC_OK, "a1", "", true, 2500},
        {"sessions", "{\"agent\":\"a1\",\"initial_events\":[]}", RC_OK, "a1", "", false, 0},
        {"dreams", "{\"model\":\"m\",\"inputs\":[{\"type\":\"memory_store\"}]}", RC_OK, "", "m",
         true, 0},
        {"dreams", "{\"model\":{\"id\":\"m\",\"speed\":\"standard\"}}", RC_OK, "", "m", true, 0},
        {"dreams", "{\"model\":{\"id\":\"m\",\"id\":\"n\"}}", RC_BAD, "", "", false, 0},
        {"dreams", "{\"model\":{\"id\":\"m\"},\"model\":\"n\"}", RC_BAD, "", "", false, 0},
        {"dreams", "{\"model\":{\"id\":\"\\u006d\"}}", RC_BAD, "", "", false, 0},
        {"dreams", "{\"model\":{\"id\":{\"id\":\"m\"}}}", RC_BAD, "", "", false, 0},
        {"messages", "{\"model\":{\"id\":\"m\"}}", RC_BAD, "", "", false, 0},
        {"sessions/s1/events", "{\"events\":%s}", RC_OK, "", "", true, 0},
        {"sessions/s1/events", "{}", RC_OK, "", "", true, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const char *hole = strstr(CASES[i].body, "%s");
        struct request_facts f;
        char body[1024];

        if (hole != NULL)
            (void)snprintf(body, sizeof(body), "%.*s%s%s", (int)(hole - CASES[i].body),
                           CASES[i].body, EVENTS, hole + 2);
        else
            (void)snprintf(body, sizeof(body), "%s", CASES[i].body);
        assert_int_equal(scan("anthropic", CASES[i].path, strv_z(body), &f), CASES[i].rc);
        if (CASES[i].rc != RC_OK)
            continue;
        assert_int_equal(f.agent.n, strlen(CASES[i].agent));
        assert_true(strv_eq(f.model, strv_z(CASES[i].model)));
        assert_int_equal(f.names_model, CASES[i].model[0] != '\0');
        assert_int_equal(f.sets_to_work, CASES[i].works);
        assert_int_equal(f.session_cents, CASES[i].cents);
        assert_int_equal(f.service_tier.n, 0); /* of a batch it is none */
        assert_true(f.later && f.server_state);
        if (hole != NULL)
            assert_true(f.text_bytes >= strlen("abcdefgh"));
    }
}

static void test_agents_sessions(void **state)
{
    static const struct {
        const char *path, *body;
        enum rc rc;
        const char *agent, *model, *tier;
        bool works, mixes;
        uint64_t cents;
    } CASES[] = {
        {"", "{\"environment\":{\"type\":\"none\",\"model\":\"x\"},\"agent\":{\"model\":\"m\"},"
             "\"input\":\"abcdefgh\"}", RC_OK, "", "m", "", true, false, 0},
        {"", "{\"agent\":{\"model\":\"m\",\"service_tier\":\"flex\"},\"input\":[{\"role\":"
             "\"user\",\"content\":\"abc\"}]}", RC_OK, "", "m", "flex", true, false, 0},
        {"", "{\"agent_id\":\"a1\",\"input\":null}", RC_OK, "a1", "", "", false, true, 0},
        {"", "{\"agent_id\":\"a1\",\"agent\":{\"model\":\"m\"},\"spend_control\":"
             "{\"limit\":250}}", RC_OK, "a1", "m", "", false, true, 250},
        {"", "{\"agent_id\":\"a1\",\"agent\":{\"model\":\"m\",\"multi_agent\":"
             "{\"enabled\":false}}}", RC_OK, "a1", "m", "", false, false, 0},
        {"", "{\"agent\":{\"model\":\"m\",\"multi_agent\":{\"enabled\":true}}}", RC_OK, "",
         "m", "", false, true, 0},
        {"", "{\"agent\":{\"model\":\"m\",\"multi_agent\":{\"enabled\":false},"
             "\"multi_agent\":{\"enabled\":true}}}", RC_BAD, "", "", "", false, false, 0},
        {"", "{\"agent_id\":\"a1\",\"agent_id\":\"a2\"}", RC_BAD, "", "", "", false, false, 0},
        {"", "{\"agent\":{\"model\":\"m\"},\"spend_control\":{\"limit\":-5}}", RC_OK, "", "m",
         "", false, false, 0},
        {"/s1/events", "{\"events\":[{\"type\":\"agent.session.input.cancel\"}]}", RC_OK, "",
         "", "", true, false, 0},
        {"/s1", "{\"metadata\":{\"model\":\"x\"}}", RC_OK, "", "", "", false, false, 0},
        {"/s1", "{\"agent\":{\"model\":\"n\"}}", RC_OK, "", "n", "", false, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct request_facts f;
        char path[64];

        (void)snprintf(path, sizeof(path), "agents/sessions%s", CASES[i].path);
        assert_int_equal(scan("openai", path, strv_z(CASES[i].body), &f), CASES[i].rc);
        if (CASES[i].rc != RC_OK)
            continue;
        assert_int_equal(f.agent.n, strlen(CASES[i].agent));
        assert_true(strv_eq(f.model, strv_z(CASES[i].model)));
        assert_int_equal(f.service_tier.n, strlen(CASES[i].tier));
        assert_int_equal(f.names_model, CASES[i].model[0] != '\0');
        assert_int_equal(f.sets_to_work, CASES[i].works);
        assert_int_equal(f.may_mix, CASES[i].mixes);
        assert_int_equal(f.session_cents, CASES[i].cents);
        assert_true(f.server_state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_edits_only_where_they_help),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_other_endpoints),
        cmocka_unit_test(test_text_of_documents_and_tools_counts),
        cmocka_unit_test(test_what_it_may_take),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_bedrock),
        cmocka_unit_test(test_predict),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_agents_sessions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
