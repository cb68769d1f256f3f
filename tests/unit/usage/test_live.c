/*
 * test_live.c - what the messages of WebSockets say.
 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "metering/usage/live.h"

static void test_asks(void **state)
{
    static const struct {
        enum live_kind kind;
        const char *text;
        enum live_ask_kind want;
        const char *model;
    } CASES[] = {
        {LIVE_REALTIME, "{\"type\":\"response.create\"}", LIVE_CREATES, ""},
        {LIVE_REALTIME, "{\"x\":[1,{}],\"t\\u0079pe\":\"response\\u002ecreate\"}", LIVE_CREATES, ""},
        {LIVE_RESPONSES, "{\"type\":\"response.create\",\"model\":\"m\"}", LIVE_CREATES, "m"},
        {LIVE_REALTIME, "{\"type\":\"session.update\",\"session\":{\"model\":\"m\"}}", LIVE_PASSES,
         "m"},
        {LIVE_REALTIME, "{\"type\":\"input_audio_buffer.append\",\"audio\":\"AA\"}", LIVE_FEEDS,
         ""},
        {LIVE_REALTIME, "{\"type\":\"input_audio_buffer.commit\"}", LIVE_FEEDS, ""},
        {LIVE_REALTIME, "{\"type\":\"x\",\"item\":{\"type\":\"response.create\"}}", LIVE_PASSES,
         ""},
        {LIVE_REALTIME, "{\"type\":\"response.create\",\"type\":\"x\"}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{\"type\":\"x\",\"\\u0074ype\":\"response.create\"}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{\"Type\":\"response.create\",\"type\":\"x\"}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{\"type\":{\"a\":1}}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{\"type\":null}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "[{\"type\":\"response.create\"}]", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{\"type\":\"x\"", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "{\"type\":\"x\"} {}", LIVE_STRANGE, ""},
        {LIVE_REALTIME, "", LIVE_STRANGE, ""},
        {LIVE_RESPONSES, "{\"type\":\"response.create\",\"model\":1}", LIVE_STRANGE, ""},
        {LIVE_GOOGLE, "{\"setup\":{\"model\":\"models/m\"}}", LIVE_PASSES, "models/m"},
        {LIVE_GOOGLE, "{\"client_content\":{\"turns\":[],\"turn_complete\":true}}", LIVE_CREATES,
         ""},
        {LIVE_GOOGLE, "{\"clientContent\":{\"turns\":[],\"turnComplete\":false}}", LIVE_PASSES, ""},
        {LIVE_GOOGLE, "{\"realtimeInput\":{\"audio\":{\"data\":\"AAAA\"}}}", LIVE_FEEDS, ""},
        {LIVE_GOOGLE, "{\"toolResponse\":{}}", LIVE_PASSES, ""},
        {LIVE_GOOGLE, "{\"setup\":{},\"clientContent\":{}}", LIVE_STRANGE, ""},
        {LIVE_GOOGLE, "{\"clientContent\":{\"turnComplete\":true,\"turn_complete\":false}}",
         LIVE_STRANGE, ""},
        {LIVE_GOOGLE, "{\"type\":\"response.create\"}", LIVE_STRANGE, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct live_ask ask;

        live_read_ask(CASES[i].kind, strv_z(CASES[i].text), &ask);
        if (ask.kind != CASES[i].want || (ask.kind != LIVE_STRANGE &&
                                          strcmp(ask.model, CASES[i].model) != 0))
            fail_msg("%s: %d, \"%s\"", CASES[i].text, (int)ask.kind, ask.model);
    }
}

static void test_ask_details(void **state)
{
    struct live_ask ask;

    (void)state;
    live_read_ask(LIVE_REALTIME,
                  STRV("{\"type\":\"response.create\",\"event_id\":\"e\\u0031\",\"response\":{"
                       "\"max_output_tokens\":77,\"instructions\":\"four\"}}"),
                  &ask);
    assert_string_equal(ask.event_id, "e1");
    assert_true(ask.has_max_output && ask.max_output == 77);
    assert_int_equal(ask.text_bytes, 4);
    live_read_ask(LIVE_REALTIME,
                  STRV("{\"type\":\"session.update\",\"session\":{\"max_output_tokens\":\"inf\","
                       "\"audio\":{\"input\":{\"transcription\":{\"model\":\"w\"}}}}}"),
                  &ask);
    assert_true(ask.has_session_max && ask.session_max == 0);
    assert_string_equal(ask.transcriber, "w");
    live_read_ask(LIVE_REALTIME,
                  STRV("{\"type\":\"conversation.item.create\",\"item\":{\"content\":[{\"text\":"
                       "\"abc\"},{\"audio\":\"AAAAAA\"}]}}"),
                  &ask);
    assert_int_equal(ask.audio_bytes, 6);
    assert_in_range(ask.text_bytes, 3, 20);
}

struct word_case {
    enum live_kind kind;
    const char *text;
    enum live_word_kind want;
    const char *id;
    uint64_t input, output;
    bool has_usage;
};

static void check_word(struct live *l, const struct word_case *c, size_t split)
{
    struct strv text = strv_z(c->text);
    const struct live_word *w;
    const struct tap_result *seen;

    live_begin(l);
    live_feed(l, strv_head(text, split));
    live_feed(l, strv_skip(text, split));
    w = live_end(l);
    seen = tap_result(w->tap);
    if (w->kind != c->want || strcmp(w->response_id, c->id) != 0 ||
        (c->want != LIVE_NOTHING && seen->has_usage != c->has_usage) ||
        (c->has_usage && (seen->usage.n[USAGE_INPUT] != c->input ||
                          seen->usage.n[USAGE_OUTPUT] != c->output)))
        fail_msg("%s at %zu: %d \"%s\"", c->text, split, (int)w->kind, w->response_id);
}

static void test_words(void **state)
{
    static const struct word_case CASES[] = {
        {LIVE_REALTIME, "{\"type\":\"response.created\",\"response\":{\"id\":\"r1\",\"status\":"
                        "\"in_progress\",\"usage\":null}}", LIVE_BEGINS, "r1", 0, 0, false},
        {LIVE_REALTIME, "{\"type\":\"response.done\",\"response\":{\"id\":\"r1\",\"status\":"
                        "\"completed\",\"usage\":{\"input_tokens\":5,\"output_tokens\":7,"
                        "\"total_tokens\":12}}}", LIVE_ENDS, "r1", 5, 7, true},
        /* xAI: beside the response, whose own is empty */
        {LIVE_REALTIME, "{\"type\":\"response.done\",\"response\":{\"id\":\"r1\",\"usage\":{}},"
                        "\"usage\":{\"input_tokens\":5,\"output_tokens\":7}}", LIVE_ENDS, "r1", 5,
         7, true},
        {LIVE_REALTIME, "{\"usage\":{\"type\":\"tokens\",\"input_tokens\":26,\"output_tokens\":9},"
                        "\"type\":\"conversation.item.input_audio_transcription.completed\"}",
         LIVE_HEARD, "", 26, 9, true},
        {LIVE_REALTIME, "{\"type\":\"response.output_audio.delta\",\"response_id\":\"r2\","
                        "\"delta\":\"AAAA\"}", LIVE_ADDS, "r2", 0, 0, false},
        {LIVE_REALTIME, "{\"type\":\"response.output_text.done\",\"response_id\":\"r2\"}",
         LIVE_NOTHING, "r2", 0, 0, false},
        {LIVE_REALTIME, "{\"type\":\"response.done\"", LIVE_NOTHING, "", 0, 0, false},
        {LIVE_RESPONSES, "{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{"
                         "\"input_tokens\":5,\"output_tokens\":7}},\"stream_id\":\"a\"}",
         LIVE_ENDS, "r", 5, 7, true},
        {LIVE_RESPONSES, "{\"type\":\"error\",\"status\":400,\"error\":{\"event_id\":\"e\"}}",
         LIVE_FAILS, "", 0, 0, false},
        {LIVE_GOOGLE, "{\"serverContent\":{\"modelTurn\":{\"parts\":[{\"text\":\"abc\"}]}}}",
         LIVE_ADDS, "", 0, 0, false},
        {LIVE_GOOGLE, "{\"serverContent\":{\"turnComplete\":true},\"usageMetadata\":{"
                      "\"promptTokenCount\":5,\"responseTokenCount\":7}}", LIVE_ENDS, "", 5, 7,
         true},
        {LIVE_GOOGLE, "{\"setupComplete\":{}}", LIVE_NOTHING, "", 0, 0, false},
        {LIVE_GOOGLE, "{\"serverContent\":{\"inputTranscription\":{\"text\":\"x\"}}}",
         LIVE_NOTHING, "", 0, 0, false},
    };
    static const struct {
        const char *protocol, *path;
        struct route route;
    } PATHS[] = {[LIVE_RESPONSES] = {.protocol = "openai", .path = "/v1/responses"},
                 [LIVE_REALTIME] = {.protocol = "openai", .path = "/v1/realtime"},
                 [LIVE_GOOGLE] = {.protocol = "gemini", .path = "/ws/x.BidiGenerateContent"}};

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct protocol *p = protocol_find(strv_z(PATHS[CASES[i].kind].protocol));
        const struct live_protocol *its;
        struct route route;
        struct live *l;

        protocol_route(p, STRV("GET"), strv_z(PATHS[CASES[i].kind].path), STRV_NONE, &route);
        assert_int_equal(route.endpoint->kind, ENDPOINT_SOCKET);
        its = live_protocol(route.endpoint);
        assert_int_equal(its->kind, CASES[i].kind);
        route.endpoint = its->answer;
        assert_int_equal(route.endpoint->kind, ENDPOINT_METERED);
        l = live_new(its->kind, p, &route);
        for (size_t at = 0; at <= strlen(CASES[i].text); at++)
            check_word(l, &CASES[i], at);
        live_free(l);
    }
}

/* Both ways of naming formats, of sessions and of one answer; a rate; what is no format. */
static void test_sound(void **state)
{
    static const struct {
        const char *session;    /* or all of the message, where it begins so */
        uint64_t hears, speaks; /* what 8,000 bytes come to */
    } CASES[] = {
        {"'input_audio_format':'g711_ulaw'", 48000, 8000},
        {"'output_audio_format':'g711_alaw','input_audio_format':'pcm16'", 8000, 48000},
        {"'audio':{'input':{'format':{'type':'audio/pcmu'}},"
         "'output':{'format':{'type':'audio/pcma'}}}", 48000, 48000},
        {"'audio':{'input':{'format':{'type':'audio/pcm','rate':8000}}}", 24000, 8000},
        {"'audio':{'input':{'format':{'rate':1,'type':'audio/pcm'}},"
         "'output':{'format':{'rate':96000}}}", 192000, 8000},
        {"{'type':'response.create','response':{'audio':{'output':{'format':"
         "{'type':'audio/pcmu'}}}}}", 8000, 48000},
        {"'input_audio_format':'opus'", 8000, 8000},
        {"'input_audio_format':7", 8000, 8000},
    };
    const struct live_sound g711 = {.is_g711 = true}, slow = {.rate = 1001};

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        bool whole = CASES[i].session[0] == '{';
        struct live_ask ask;
        char text[256];

        snprintf(text, sizeof(text), "%s%s%s",
                 whole ? "" : "{'type':'session.update','session':{", CASES[i].session,
                 whole ? "" : "}}");
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        live_read_ask(LIVE_REALTIME, strv_z(text), &ask);
        assert_int_not_equal(ask.kind, LIVE_STRANGE);
        assert_int_equal(live_sound_bytes(&ask.hears, 8000), CASES[i].hears);
        assert_int_equal(live_sound_bytes(&ask.speaks, 8000), CASES[i].speaks);
    }
    assert_true(live_sound_bytes(&g711, UINT64_MAX / 2) == UINT64_MAX);
    assert_true(live_sound_bytes(&slow, UINT64_MAX / 2) == UINT64_MAX);
}

/* The same, as a server tells of its session. */
static void test_sound_of_server(void **state)
{
    static const char *const TEXTS[] = {
        "{\"type\":\"session.created\",\"session\":{\"input_audio_format\":\"g711_ulaw\","
        "\"output_audio_format\":\"pcm16\"}}",
        "{\"type\":\"session.updated\",\"session\":{\"audio\":{\"input\":{\"format\":{"
        "\"type\":\"audio/pcma\"}},\"output\":{\"format\":{\"type\":\"audio/pcm\"}}}}}"};
    const struct protocol *p = protocol_find(STRV("openai"));
    const struct live_word *word;
    struct route route;
    struct live *l;

    (void)state;
    protocol_route(p, STRV("GET"), STRV("/v1/realtime"), STRV_NONE, &route);
    route.endpoint = live_protocol(route.endpoint)->answer;
    l = live_new(LIVE_REALTIME, p, &route);
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        live_begin(l);
        live_feed(l, strv_z(TEXTS[i]));
        word = live_end(l);
        assert_true(word->hears.is_said && word->hears.is_g711);
        assert_true(word->speaks.is_said && !word->speaks.is_g711);
    }
    live_free(l);
}

static void test_query(void **state)
{
    static const struct {
        const char *query, *want;
    } CASES[] = {{"model=gpt-realtime", "gpt-realtime"},
                 {"a=b&model=a%2Fb", "a/b"},
                 {"deployment=d&api-version=1", "d"},
                 {"x=1", ""},
                 {"model=a&model=b", NULL},
                 {"model=%0a", NULL},
                 {"model=%4", NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char text[REQUEST_MODEL_MAX_BYTES];
        struct strv model;
        bool good = live_query_model(strv_z(CASES[i].query), text, &model);

        assert_int_equal(good, CASES[i].want != NULL);
        if (good)
            assert_true(strv_eq(model, strv_z(CASES[i].want)));
    }
}

static void test_own_words(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(live_refusal(LIVE_RESPONSES, REFUSE_BUDGET_EXHAUSTED, STRV("no"), STRV("id"),
                                  "e", "lane", &out), RC_OK);
    assert_true(strv_eq(buf_view(&out),
                        STRV("{\"type\":\"error\",\"event_id\":\"id\",\"status\":402,"
                             "\"stream_id\":\"lane\",\"error\":{\"type\":\"insufficient_quota\","
                             "\"code\":\"budget_exhausted\",\"message\":\"no\",\"param\":null,"
                             "\"event_id\":\"e\"}}")));
    buf_clear(&out);
    assert_int_equal(live_refusal(LIVE_GOOGLE, REFUSE_DRAINING, STRV("no"), STRV("id"), "", "",
                                  &out), RC_STATE);
    assert_int_equal(live_cancel(LIVE_REALTIME, "r1", &out), RC_OK);
    assert_true(strv_eq(buf_view(&out),
                        STRV("{\"type\":\"response.cancel\",\"response_id\":\"r1\"}")));
    assert_int_equal(live_cancel(LIVE_RESPONSES, "r1", &out), RC_STATE);
    assert_int_equal(live_input_audio_tokens(LIVE_REALTIME, 64000), 10);
    assert_int_equal(live_output_audio_tokens(LIVE_REALTIME, 64000), 20);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks), cmocka_unit_test(test_ask_details),
        cmocka_unit_test(test_words), cmocka_unit_test(test_sound),
        cmocka_unit_test(test_sound_of_server), cmocka_unit_test(test_query),
        cmocka_unit_test(test_own_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
