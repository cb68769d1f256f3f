/*
 * Requests of those who speak and listen: sound that is a body, options in the query, forms, and
 * what an endpoint has where its request names nothing.
 */
#include "metering/usage/protocol.h"

#include <string.h>

#include "tests/unit/unit.h"

enum { SECOND_MS = 1000, HOUR_MS = 3600000 };

/* A second of what nobody knows: 4000 bytes. */
static const char NOISE[4000];

static struct route route_of(const char *protocol, const char *path, const char *query)
{
    struct route route;

    protocol_route(protocol_find(strv_z(protocol)), STRV("POST"), strv_z(path), strv_z(query),
                   &route);
    assert_int_equal(route.endpoint->kind, ENDPOINT_METERED);
    return route;
}

static void queries_say_what_bodies_do_elsewhere(void **state)
{
    static const struct {
        const char *query, *model, *quality;
        enum rc rc;
        bool has_extras;
        uint64_t seconds;
    } CASES[] = {
        {"model=nova-3", "nova-3", "monolingual", RC_OK, false, 1},
        {"", "base", "monolingual", RC_OK, false, 1},
        {"&&model=nova%2D3&language=multi", "nova-3", "multilingual", RC_OK, false, 1},
        {"model=nova-3&language=en&multichannel=true", "nova-3", "monolingual", RC_OK, false, 2},
        {"multichannel=false&model=m", "m", "monolingual", RC_OK, false, 1},
        {"model=m&diarize=true", "m", "monolingual", RC_OK, true, 1},
        {"model=m&diarize=false&mip_opt_out=0", "m", "monolingual", RC_OK, false, 1},
        {"model=m&keyterm=a&keyterm=b", "m", "monolingual", RC_OK, true, 1},
        {"model=m&redact=pci", "m", "monolingual", RC_OK, true, 1},
        {"model=m&tag=%6d", "m", "monolingual", RC_OK, false, 1},
        {"multichannel=true&multichannel=false&model=m", "m", "monolingual", RC_OK, false, 2},
        {"model=a&model=b", NULL, NULL, RC_BAD, false, 0},
        {"model=nova-3&language=m%75lti", NULL, NULL, RC_BAD, false, 0},
        {"model=a&mode%6c=b", NULL, NULL, RC_BAD, false, 0},
        {"model=a&mod+l=b", NULL, NULL, RC_BAD, false, 0},
        {"model=%", NULL, NULL, RC_BAD, false, 0},
        {"model=%00", NULL, NULL, RC_BAD, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct route route = route_of("deepgram", "/v1/listen", CASES[i].query);
        struct request_facts f;

        if (protocol_scan_sound(&route, strv_make(NOISE, sizeof(NOISE)), &f) != CASES[i].rc)
            fail_msg("%s", CASES[i].query);
        assert_int_equal(f.audio_ms, CASES[i].seconds * SECOND_MS);
        assert_int_equal(f.has_extras, CASES[i].has_extras);
        if (CASES[i].rc != RC_OK)
            continue;
        assert_true(strv_eq(f.model, strv_z(CASES[i].model)));
        assert_true(strv_eq(f.quality, strv_z(CASES[i].quality)));
        assert_true(f.listens && f.embeds && !f.audio_is_guess);
    }
}

static void bodies_are_sound_where_they_may_be(void **state)
{
    struct route listen = route_of("deepgram", "/v1/listen", "");
    struct route speak = route_of("deepgram", "/v1/speak", "");
    struct request_facts f;

    (void)state;
    assert_true(protocol_is_sound(&listen, STRV("audio/wav")));
    assert_true(protocol_is_sound(&listen, STRV_NONE));
    assert_true(protocol_is_sound(&listen, STRV("multipart/form-data; boundary=b")));
    assert_false(protocol_is_sound(&listen, STRV("Application/JSON; charset=utf-8")));
    /* what names sound is no sound, whatever its type says */
    assert_int_equal(protocol_scan_sound(&listen, STRV("\r\n {\"url\":\"x\"}"), &f), RC_OK);
    assert_int_equal(f.audio_ms, HOUR_MS);
    assert_true(f.audio_is_guess);
    assert_false(protocol_is_sound(&speak, STRV("audio/wav")));
    assert_int_equal(protocol_scan_sound(&listen, STRV_NONE, &f), RC_BAD);
}

static void bodies_name_what_they_are_charged_by(void **state)
{
    static const struct {
        const char *protocol, *path, *query, *body, *model;
        uint64_t characters, audio_ms;
        bool is_guess;
    } CASES[] = {
        {"elevenlabs", "/v1/text-to-speech/v", "", "{\"text\":\"hello\"}",
         "eleven_multilingual_v2", 5, 0, false},
        {"elevenlabs", "/v1/text-to-speech/v", "",
         "{\"text\":\"hello\",\"model_id\":\"eleven_flash_v2_5\"}", "eleven_flash_v2_5", 3, 0,
         false},
        {"elevenlabs", "/v1/text-to-speech/v", "",
         "{\"text\":\"\\ud83d\\udc4d\",\"text\":\"\",\"model_id\":\"eleven_v3\"}", "eleven_v3", 1,
         0, false},
        {"elevenlabs", "/v1/text-to-dialogue", "",
         "{\"inputs\":[{\"text\":\"ab\",\"voice_id\":\"v\"},{\"text\":\"c\"}]}", "eleven_v3", 4,
         0, false},
        {"elevenlabs", "/v1/music", "", "{\"prompt\":\"x\",\"music_length_ms\":30000}",
         "music_v1", 0, 30000, false},
        {"elevenlabs", "/v1/music", "", "{\"prompt\":\"x\"}", "music_v1", 0, 600000, true},
        {"deepgram", "/v1/speak", "model=aura-2-thalia-en",
         "{\"text\":\"hello\",\"model\":\"another\"}", "aura-2-thalia-en", 5, 0, false},
        {"deepgram", "/v1/listen", "model=nova-3", "{\"url\":\"https://a.test/x\"}", "nova-3", 0,
         HOUR_MS, true},
        {"assemblyai", "/v2/transcript", "",
         "{\"audio_url\":\"https://a.test/b/x\",\"speech_models\":[\"one\",\"two\"]}", "one", 0,
         HOUR_MS, true},
        {"assemblyai", "/v2/transcript", "",
         "{\"audio_url\":\"https://a.test/b/x\",\"speech_model\":\"one\"}", "one", 0, HOUR_MS,
         true},
        {"assemblyai", "/v2/transcript", "", "{\"audio_url\":\"x\"}", "best", 0, HOUR_MS, true},
        /* members that mean something elsewhere */
        {"elevenlabs", "/v1/text-to-speech/v", "",
         "{\"text\":\"hello\",\"input\":\"x\",\"model\":\"cheap\",\"model_id\":\"eleven_v3\"}",
         "eleven_v3", 5, 0, false},
        {"elevenlabs", "/v1/text-to-speech/v", "", "{\"text\":\"hello\",\"model\":\"cheap\"}",
         "eleven_multilingual_v2", 5, 0, false},
        {"elevenlabs", "/v1/text-to-dialogue", "",
         "{\"inputs\":[{\"text\":\"abcdefgh\"}],\"text\":\"x\"}", "eleven_v3", 9, 0, false},
        {"elevenlabs", "/v1/audio-isolation", "", "{\"model_id\":\"scribe_v1\"}",
         "audio_isolation", 0, 0, false},
        {"elevenlabs", "/v1/music", "",
         "{\"music_length_ms\":3000,\"composition_plan\":{\"sections\":[{\"duration_ms\":60000},"
         "{\"duration_ms\":30000}]}}",
         "music_v1", 0, 90000, false},
        {"elevenlabs", "/v1/music", "", "{\"music_length_ms\":3000,\"composition_plan\":{}}",
         "music_v1", 0, 600000, true},
        {"deepgram", "/v1/listen", "model=nova-3",
         "{\"url\":\"https://a.test/x\",\"music_length_ms\":1}", "nova-3", 0, HOUR_MS, true},
        {"deepgram", "/v1/read", "", "{\"model\":\"nova-3\",\"text\":\"x\"}",
         "text-intelligence", 0, 0, false},
        {"assemblyai", "/v2/transcript", "",
         "{\"audio_url\":\"x\",\"model\":\"nano\",\"speech_model\":\"one\",\"music_length_ms\":1}",
         "one", 0, HOUR_MS, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct route route = route_of(CASES[i].protocol, CASES[i].path, CASES[i].query);
        const struct protocol *p = protocol_find(strv_z(CASES[i].protocol));
        struct request_facts f;

        assert_int_equal(protocol_scan_request(p, &route, strv_z(CASES[i].body), NULL, &f), RC_OK);
        if (!strv_eq(f.model, strv_z(CASES[i].model)) || f.characters != CASES[i].characters ||
            f.audio_ms != CASES[i].audio_ms || f.audio_is_guess != CASES[i].is_guess)
            fail_msg("%s: " STRV_FMT " %ju %ju", CASES[i].body, STRV_ARG(f.model),
                     (uintmax_t)f.characters, (uintmax_t)f.audio_ms);
        if (strcmp(CASES[i].protocol, "assemblyai") == 0 && strchr(CASES[i].body, '/') != NULL)
            assert_true(strv_eq(f.sound, STRV("https://a.test/b/x")));
    }
}

static void models_that_read_two_ways_are_refused(void **state)
{
    static const char *const BODIES[] = {
        "{\"text\":\"x\",\"model_id\":\"eleven\\u005fv3\"}",
        "{\"text\":\"x\",\"model_id\":\"a\",\"model_id\":\"b\"}",
        "{\"text\":\"x\",\"model_id\":5}",
        "{\"text\":\"x\",\"speech_models\":[\"\\u0061\",\"b\"]}",
        "{\"text\":\"x\",\"speech_models\":[\"a\"],\"speech_model\":\"b\"}",
        "{\"text\":\"x\",\"Model_Id\":\"b\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(BODIES) / sizeof(BODIES[0]); i++) {
        struct route route = route_of("elevenlabs", "/v1/text-to-speech/v", "");
        struct request_facts f;

        if (protocol_scan_request(protocol_find(STRV("elevenlabs")), &route, strv_z(BODIES[i]),
                                  NULL, &f) != RC_BAD)
            fail_msg("%s", BODIES[i]);
    }
}

static void models_beside_the_first_must_be_allowed(void **state)
{
    struct route route = route_of("assemblyai", "/v2/transcript", "");
    struct request_facts f;

    (void)state;
    assert_int_equal(protocol_scan_request(protocol_find(STRV("assemblyai")), &route,
                                           STRV("{\"speech_models\":[\"a\",\"b\",\"c\"]}"), NULL,
                                           &f),
                     RC_OK);
    assert_int_equal(f.n_others, 2);
    assert_true(strv_eq(f.others[0].text, STRV("b")) && strv_eq(f.others[1].text, STRV("c")));
    assert_int_equal(f.others[0].kind, OTHER_INSTEAD);
}

/* What a provider would decode is not left to the endpoint's own model. */
static void models_are_spelled_plainly(void **state)
{
    static const char *const BODIES[] = {
        "{\"text\":\"a\",\"model_id\":\"eleven\\u005fv3\"}",
        "{\"text\":\"a\",\"model_id\":\"eleven_v3\",\"model_id\":\"eleven_v2\"}",
        "{\"text\":\"a\",\"model_id\":\"\"}", "{\"text\":\"a\",\"model_id\":7}",
        "{\"text\":\"a\",\"model_id\":\"\x8e\"}",
        "{\"audio_url\":\"a\",\"speech_models\":[\"\\u0061\",\"b\"]}",
        "{\"audio_url\":\"a\",\"speech_models\":[7,\"b\"]}",
        "{\"audio_url\":\"a\",\"speech_models\":[\"a\"],\"speech_model\":\"b\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(BODIES) / sizeof(BODIES[0]); i++) {
        bool listens = strstr(BODIES[i], "audio") != NULL;
        const char *name = listens ? "assemblyai" : "elevenlabs";
        struct route route = route_of(name, listens ? "/v2/transcript" : "/v1/text-to-speech/v", "");
        struct request_facts f;

        if (protocol_scan_request(protocol_find(strv_z(name)), &route, strv_z(BODIES[i]), NULL,
                                  &f) != RC_BAD)
            fail_msg("%s", BODIES[i]);
    }
}

#define FIELD(name, value)                                                                     \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define SOUND "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n12345678\r\n"

static void forms_do_too(void **state)
{
    static const struct {
        const char *body;
        enum rc rc;
        uint64_t audio_ms;
        bool is_guess, has_extras;
    } CASES[] = {
        {FIELD("model_id", "scribe_v2") SOUND "--b--\r\n", RC_OK, 2, false, false},
        {FIELD("model_id", "scribe_v2") FIELD("source_url", "https://x") "--b--\r\n", RC_OK,
         HOUR_MS, true, false},
        {FIELD("model_id", "scribe_v2") FIELD("use_multi_channel", "true")
                  SOUND "--b--\r\n",
         RC_OK, 10, false, false},
        {FIELD("model_id", "scribe_v2") FIELD("keyterms", "x") SOUND "--b--\r\n", RC_OK, 2,
         false, true},
        {FIELD("model_id", "scribe_v2") FIELD("detect_speaker_roles", "false")
                  FIELD("entity_detection", "null") SOUND "--b--\r\n",
         RC_OK, 2, false, false},
        {FIELD("model", "cheap") FIELD("model_id", "scribe_v2") SOUND "--b--\r\n", RC_OK, 2,
         false, false},
        {FIELD("model_id", "scribe_v2") FIELD("use_multi_channel", "1") SOUND "--b--\r\n", RC_OK,
         10, false, false},
        {FIELD("model_id", "scribe_v2") FIELD("cloud_storage_url", "https://x") SOUND "--b--\r\n",
         RC_OK, HOUR_MS, true, false},
        {FIELD("model_id", "a") FIELD("model_id", "b") SOUND "--b--\r\n", RC_BAD, 0, false,
         false},
        {FIELD("model_id", "") SOUND "--b--\r\n", RC_BAD, 0, false, false},
    };
    struct route route = route_of("elevenlabs", "/v1/speech-to-text", "");

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct request_facts f;

        assert_int_equal(protocol_scan_form(protocol_find(STRV("elevenlabs")), &route,
                                            STRV("multipart/form-data; boundary=b"), strv_z(CASES[i].body),
                                            &f),
                         CASES[i].rc);
        assert_int_equal(f.audio_ms, CASES[i].audio_ms);
        assert_int_equal(f.audio_is_guess, CASES[i].is_guess);
        assert_int_equal(f.has_extras, CASES[i].has_extras);
        if (CASES[i].rc == RC_OK)
            assert_true(strv_eq(f.model, STRV("scribe_v2")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_say_what_bodies_do_elsewhere),
        cmocka_unit_test(bodies_are_sound_where_they_may_be),
        cmocka_unit_test(bodies_name_what_they_are_charged_by),
        cmocka_unit_test(models_that_read_two_ways_are_refused),
        cmocka_unit_test(models_beside_the_first_must_be_allowed),
        cmocka_unit_test(models_are_spelled_plainly),
        cmocka_unit_test(forms_do_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
