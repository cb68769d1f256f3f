/*
 * fuzz_live.c - what the messages of a WebSocket say (metering/usage/live.h).
 *
 * Holds: a client's message is read within bounds and says the same twice, and what refuses it
 * is JSON that carries its ids; a server's message says the same however it is split, and
 * after any other message; counts are counts.  The first byte chooses protocol and side.
 * A server's messages are divided by a line feed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/check.h"
#include "metering/usage/live.h"
#include "metering/usage/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { INPUT_MAX_BYTES = 64 << 10, EVENT_MAX_BYTES = 64 << 10 };

static bool is_text(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

/* What we answer with what the client said. */
static void check_refusal(enum live_kind kind, const struct live_ask *ask)
{
    struct buf event;
    cJSON *json, *error;
    enum rc rc;

    buf_init(&event, EVENT_MAX_BYTES);
    rc = live_refusal(kind, REFUSE_RATE_LIMITED, STRV("no"), STRV("id"), ask->event_id,
                      ask->lane, &event);
    ASSERT((rc == RC_STATE) == (kind == LIVE_GOOGLE));
    if (rc == RC_OK) {
        json = cJSON_ParseWithLength(buf_view(&event).p, buf_len(&event));
        ASSERT(json != NULL);
        error = cJSON_GetObjectItemCaseSensitive(json, "error");
        ASSERT(cJSON_IsObject(error));
        ASSERT((ask->event_id[0] != 0) ==
               (cJSON_GetObjectItemCaseSensitive(error, "event_id") != NULL));
        cJSON_Delete(json);
    }
    buf_clear(&event);
    if (live_cancel(kind, ask->event_id, &event) == RC_OK) {
        json = cJSON_ParseWithLength(buf_view(&event).p, buf_len(&event));
        ASSERT(json != NULL);
        cJSON_Delete(json);
    }
    buf_release(&event);
}

static void check_ask(enum live_kind kind, struct strv message)
{
    struct live_ask ask, again;
    char text[REQUEST_MODEL_MAX_BYTES];
    struct strv model;

    memset(&ask, 0, sizeof(ask));
    memset(&again, 0, sizeof(again));
    live_read_ask(kind, message, &ask);
    live_read_ask(kind, message, &again);
    ASSERT(ask.kind == again.kind && ask.text_bytes == again.text_bytes &&
           ask.audio_bytes == again.audio_bytes && ask.max_output == again.max_output &&
           strcmp(ask.model, again.model) == 0 && strcmp(ask.event_id, again.event_id) == 0);
    ASSERT(is_text(ask.event_id, sizeof(ask.event_id)) && is_text(ask.lane, sizeof(ask.lane)));
    ASSERT(is_text(ask.model, sizeof(ask.model)) &&
           is_text(ask.transcriber, sizeof(ask.transcriber)));
    ASSERT(ask.audio_bytes <= message.n);
    check_refusal(kind, &ask);
    if (live_query_model(message, text, &model))
        ASSERT(model.n <= sizeof(text) && model.n <= message.n);
}

/* What a word says, apart from its tap. */
static bool is_same(const struct live_word *a, const struct live_word *b)
{
    return a->kind == b->kind && strcmp(a->response_id, b->response_id) == 0 &&
           strcmp(a->lane, b->lane) == 0 && strcmp(a->event_id, b->event_id) == 0 &&
           a->status == b->status && strcmp(a->model, b->model) == 0 &&
           strcmp(a->transcriber, b->transcriber) == 0 && a->text_bytes == b->text_bytes &&
           a->audio_bytes == b->audio_bytes;
}

static const struct live_word *say(struct live *l, struct strv message, size_t step)
{
    live_begin(l);
    for (size_t at = 0; at < message.n; at += step) {
        struct strv piece = strv_head(strv_skip(message, at), step);
        char *copy = malloc(piece.n); /* a block of its own: reads past it are seen */

        ASSERT(copy != NULL);
        memcpy(copy, piece.p, piece.n);
        live_feed(l, strv_make(copy, piece.n));
        free(copy);
    }
    return live_end(l);
}

static void check_words(enum live_kind kind, struct strv messages)
{
    static const char *const NAMES[] = {"openai", "openai", "openai", "gemini"};
    static const char *const PATHS[] = {"", "/v1/responses", "/v1/realtime",
                                        "/v1beta/models/g:generateContent"};
    const struct protocol *p = protocol_find(strv_z(NAMES[kind]));
    struct live *whole, *pieces;
    struct route route;
    struct strv message;

    protocol_route(p, STRV("POST"), strv_z(PATHS[kind]), STRV_NONE, &route);
    whole = live_new(kind, p, &route);
    pieces = live_new(kind, p, &route);
    for (size_t step = 1; strv_split(&messages, '\n', &message); step = step % 7 + 2) {
        const struct live_word *a = say(whole, message, message.n + 1);
        const struct live_word *b = say(pieces, message, step);

        ASSERT(is_same(a, b));
        ASSERT(is_text(a->response_id, sizeof(a->response_id)) &&
               is_text(a->model, sizeof(a->model)));
        ASSERT(memcmp(&tap_result(a->tap)->usage, &tap_result(b->tap)->usage,
                      sizeof(struct usage)) == 0);
        ASSERT(a->text_bytes <= message.n && a->audio_bytes <= message.n);
        for (unsigned f = 0; f < USAGE_COUNT; f++)
            ASSERT(tap_result(a->tap)->usage.n[f] <= USAGE_MAX_COUNT);
        (void)live_input_audio_tokens(kind, a->audio_bytes);
        (void)live_output_audio_tokens(kind, a->audio_bytes);
    }
    live_free(whole);
    live_free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const enum live_kind KINDS[] = {LIVE_RESPONSES, LIVE_REALTIME, LIVE_GOOGLE};
    enum live_kind kind;

    if (n < 1 || n > INPUT_MAX_BYTES)
        return 0;
    kind = KINDS[bytes[0] % 3];
    if (bytes[0] & 0x80)
        check_ask(kind, strv_make((const char *)bytes + 1, n - 1));
    else
        check_words(kind, strv_make((const char *)bytes + 1, n - 1));
    return 0;
}
