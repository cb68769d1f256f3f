/*
 * What is said on a WebSocket: messages are understood, answers planned, billed and queued.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "tests/provider/replay.h"
#include "tests/provider/socket_int.h"

enum { QUEUE_MAX = 100000 };

static void queue_text(struct session *s, struct strv text, uint64_t bill, uint64_t output,
                       bool ends_bill)
{
    ASSERT(s->n_queue < QUEUE_MAX);
    s->queue = xrealloc(s->queue, (s->n_queue + 1) * sizeof(*s->queue));
    s->queue[s->n_queue++] = (struct waiting){.text = xmemdupz(text.p, text.n),
                                              .n = text.n,
                                              .bill = bill,
                                              .output = output,
                                              .ends_bill = ends_bill};
}

/* ---- answers ------------------------------------------------------------------------------- */

static void queue_event(struct session *s, struct call *c, struct jsonw *w, uint64_t output,
                        bool ends_bill)
{
    queue_text(s, event_end(c, w), c->reply->bill, output, ends_bill);
}

static void put_usage(struct session *s, struct call *c, struct jsonw *w)
{
    const char *in = s->speech == REALTIME ? "input_token_details" : "input_tokens_details";
    struct strv raw = sim_text(c->r, "Raw-Usage");
    jsonw_key(w, STRV("usage"));
    if (raw.n > 0) {
        jsonw_raw(w, raw);
        return;
    }
    jsonw_object(w);
    put_number(w, "total_tokens", c->counts.input + c->counts.output);
    put_number(w, "input_tokens", c->counts.input);
    put_number(w, "output_tokens", c->counts.output);
    jsonw_key(w, strv_z(in));
    jsonw_object(w);
    put_number(w, "cached_tokens", c->counts.cache_read);
    jsonw_end(w);
    jsonw_end(w);
}

static void put_response(struct session *s, struct call *c, struct jsonw *w, const char *status)
{
    bool done = strcmp(status, "in_progress") != 0;
    jsonw_key(w, STRV("response"));
    jsonw_object(w);
    put_text(w, "id", strv_z(c->response_id));
    put_text(w, "object", s->speech == REALTIME ? STRV("realtime.response") : STRV("response"));
    put_text(w, "status", strv_z(status));
    if (s->speech == RESPONSES) {
        put_text(w, "model", strv_z(c->model));
        jsonw_key(w, STRV("created_at"));
        jsonw_int(w, c->created);
        jsonw_key(w, STRV("parallel_tool_calls"));
        jsonw_bool(w, true);
        put_text(w, "tool_choice", STRV("auto"));
        jsonw_key(w, STRV("tools"));
        jsonw_array(w);
        jsonw_end(w);
    }
    jsonw_key(w, STRV("output"));
    jsonw_array(w);
    jsonw_end(w);
    if (done && !sim_has(c->r, "No-Usage"))
        put_usage(s, c, w);
    else
        put_null(w, "usage");
    jsonw_end(w);
}

static void event_of(struct session *s, struct call *c, struct jsonw *w, const char *type,
                     struct strv lane)
{
    char id[BOOKS_ID_BYTES];
    event_start(c, w);
    put_text(w, "type", strv_z(type));
    if (s->speech == REALTIME) {
        snprintf(id, sizeof(id), "event_%012" PRIx64, books_next());
        put_text(w, "event_id", strv_z(id));
    } else {
        put_number(w, "sequence_number", 0);
    }
    if (lane.n > 0)
        put_text(w, "stream_id", lane);
}

/* What an event adds: words, or so many bytes of sound. */
static void put_delta(const struct session *s, struct jsonw *w, struct strv words)
{
    uint64_t sound = sim_number(s->request, "Sound-Bytes", 0);
    if (sound == 0) {
        put_text(w, "delta", words);
        return;
    }
    char *base64 = xcalloc(1, sound + 1);
    memset(base64, 'A', sound);
    put_text(w, "delta", strv_make(base64, sound));
    free(base64);
}

static void queue_answer(struct session *s, struct call *c, struct strv lane)
{
    struct jsonw w;
    uint64_t step = call_step(c);
    const char *status = c->limited ? "incomplete" : "completed";
    const char *delta = sim_has(s->request, "Sound-Bytes") ? "response.output_audio.delta"
                                                           : "response.output_text.delta";
    event_of(s, c, &w, "response.created", lane);
    put_response(s, c, &w, "in_progress");
    queue_event(s, c, &w, 0, false);
    for (uint64_t at = 0; at < c->visible; at += step) {
        uint64_t to = at + step < c->visible ? at + step : c->visible;
        event_of(s, c, &w, delta, lane);
        if (s->speech == REALTIME)
            put_text(&w, "response_id", strv_z(c->response_id));
        put_text(&w, "item_id", STRV("item_1"));
        put_number(&w, "output_index", 0);
        put_number(&w, "content_index", 0);
        put_delta(s, &w, call_text(c, at, to));
        if (s->speech == RESPONSES) {
            jsonw_key(&w, STRV("logprobs"));
            jsonw_array(&w);
            jsonw_end(&w);
        }
        queue_event(s, c, &w, to - at, false);
    }
    event_of(s, c, &w,
             s->speech == REALTIME ? "response.done"
             : c->limited          ? "response.incomplete"
                                   : "response.completed",
             lane);
    put_response(s, c, &w, status);
    queue_event(s, c, &w, 0, true);
}

static void queue_google(struct session *s, struct call *c)
{
    struct jsonw w;
    for (uint64_t at = 0; at < c->visible; at++) {
        event_start(c, &w);
        jsonw_key(&w, STRV("serverContent"));
        jsonw_object(&w);
        jsonw_key(&w, STRV("modelTurn"));
        jsonw_object(&w);
        jsonw_key(&w, STRV("parts"));
        jsonw_array(&w);
        jsonw_object(&w);
        put_text(&w, "text", call_text(c, at, at + 1));
        jsonw_end(&w);
        jsonw_end(&w);
        jsonw_end(&w);
        jsonw_end(&w);
        queue_event(s, c, &w, 1, false);
    }
    event_start(c, &w);
    jsonw_key(&w, STRV("serverContent"));
    jsonw_object(&w);
    jsonw_key(&w, STRV("turnComplete"));
    jsonw_bool(&w, true);
    jsonw_end(&w);
    jsonw_key(&w, STRV("usageMetadata"));
    jsonw_object(&w);
    put_number(&w, "promptTokenCount", c->counts.input);
    put_number(&w, "responseTokenCount", c->counts.output);
    put_number(&w, "totalTokenCount", c->counts.input + c->counts.output);
    jsonw_end(&w);
    queue_event(s, c, &w, 0, true);
}

/* One answer: planned, billed, queued. */
static void answer(struct session *s, struct strv model, uint64_t words, uint64_t bound,
                   struct strv lane)
{
    struct reply reply;
    struct call c;
    reply_init(&reply);
    call_init(&c, s->request, &reply);
    c.stream = true;
    c.endpoint = s->speech == RESPONSES  ? STRV("responses.ws")
                 : s->speech == REALTIME ? STRV("realtime")
                                         : STRV("live");
    call_model(&c, model);
    call_ids(&c, "", "resp_ws");
    call_plan(&c, words, bound);
    call_bill(&c, false);
    if (s->speech == GOOGLE)
        queue_google(s, &c);
    else
        queue_answer(s, &c, lane);
    s->words += c.counts.output;
    call_free(&c);
    reply_free(&reply);
}

static void queue_error(struct session *s, struct strv event_id)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"error\",\"event_id\":\"event_x\",\"status\":429,\"error\":{"
                     "\"type\":\"rate_limit_exceeded\",\"code\":\"slow_down\",\"message\":"
                     "\"as the handshake asked\",\"param\":null,\"event_id\":\"" STRV_FMT
                     "\"}}",
                     STRV_ARG(event_id));
    queue_text(s, strv_make(text, (size_t)n), NO_BILL, 0, false);
}

/* What was said is written down: another model, another bill. */
static void queue_heard(struct session *s)
{
    char text[512];
    struct counts counts = {.input = 26, .output = 9};
    if (s->transcriber[0] == 0)
        return;
    uint64_t bill = books_bill(STRV_NONE, STRV("item_heard"), STRV("realtime.transcription"),
                               strv_z(s->transcriber), true, &counts);
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"conversation.item.input_audio_transcription.completed\","
                     "\"item_id\":\"item_heard\",\"transcript\":\"x\",\"usage\":{\"type\":"
                     "\"tokens\",\"total_tokens\":35,\"input_tokens\":26,"
                     "\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":26},"
                     "\"output_tokens\":9}}");
    queue_text(s, strv_make(text, (size_t)n), bill, 0, true);
}

static void queue_session(struct session *s, const char *type)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"%s\",\"event_id\":\"event_s\",\"session\":{\"type\":"
                     "\"realtime\",\"id\":\"sess_1\",\"model\":\"%s\",\"audio\":{\"input\":{"
                     "\"transcription\":%s%s%s}}}}",
                     type, s->model, s->transcriber[0] ? "{\"model\":\"" : "null",
                     s->transcriber, s->transcriber[0] ? "\"}" : "");
    queue_text(s, strv_make(text, (size_t)n), NO_BILL, 0, false);
}

static const cJSON *member(const cJSON *json, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(json, name);
}

static void keep(char out[CALL_MODEL_BYTES], struct strv text)
{
    text = strv_head(text, CALL_MODEL_BYTES - 1);
    if (text.n > 0)
        memcpy(out, text.p, text.n);
    out[text.n] = 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void take_response_create(struct session *s, const cJSON *json)
{
    uint64_t bound = json_number(json, "max_output_tokens", UINT64_MAX);
    uint64_t words = s->words;
    if (sim_has(s->request, "Fail")) {
        queue_error(s, json_text(json, "event_id"));
        return;
    }
    if (s->speech == RESPONSES) {
        words = count_json_words(member(json, "input"));
        answer(s, json_text(json, "model"), words, bound, json_text(json, "stream_id"));
        return;
    }
    bound = json_number(member(json, "response"), "max_output_tokens", bound);
    answer(s, strv_z(s->model), words, bound, STRV_NONE);
}

static void take_openai(struct session *s, const cJSON *json)
{
    struct strv type = json_text(json, "type");
    uint64_t every = sim_number(s->request, "Vad-Every", 0);
    if (strv_eq(type, STRV("response.create"))) {
        take_response_create(s, json);
    } else if (strv_eq(type, STRV("conversation.item.create"))) {
        s->words += count_parts(member(member(json, "item"), "content"));
        queue_text(s, STRV("{\"type\":\"conversation.item.added\",\"event_id\":\"e\"}"), NO_BILL,
                   0, false);
    } else if (strv_eq(type, STRV("session.update"))) {
        const cJSON *audio = member(member(json, "session"), "audio");
        keep(s->transcriber,
             json_text(member(member(audio, "input"), "transcription"), "model"));
        queue_session(s, "session.updated");
    } else if (strv_eq(type, STRV("input_audio_buffer.append"))) {
        s->appends++;
        s->words += 2;
        if (every > 0 && s->appends % every == 0) {
            answer(s, strv_z(s->model), s->words, UINT64_MAX, STRV_NONE);
            queue_heard(s);
        }
    }
}

/* Google takes both ways of writing a name. */
static const cJSON *either(const cJSON *json, const char *name, const char *other)
{
    const cJSON *found = member(json, name);
    return found ? found : member(json, other);
}

static void take_google(struct session *s, const cJSON *json)
{
    const cJSON *content = either(json, "clientContent", "client_content");
    const cJSON *turn;
    if (member(json, "setup")) {
        struct strv model = json_text(member(json, "setup"), "model");
        const char *slash = model.n ? memrchr(model.p, '/', model.n) : NULL;
        keep(s->model, slash ? strv_z(slash + 1) : model);
        queue_text(s, STRV("{\"setupComplete\":{}}"), NO_BILL, 0, false);
        return;
    }
    cJSON_ArrayForEach(turn, member(content, "turns")) s->words +=
        count_parts(member(turn, "parts"));
    if (json_true(content, "turnComplete") || json_true(content, "turn_complete"))
        answer(s, strv_z(s->model), s->words, UINT64_MAX, STRV_NONE);
}

/* What the recording says next: to send, up to where the client has to speak. */
static void play(struct session *s)
{
    struct strv mark = STRV("\"data\": "), line;
    while (strv_split(&s->script, '\n', &line)) {
        size_t at = 0;
        if (strv_starts(line, STRV("{\"direction\": \"sent\"")))
            return;
        while (at < line.n && !strv_starts(strv_skip(line, at), mark))
            at++;
        if (at + mark.n < line.n) {
            line = strv_skip(line, at + mark.n);
            queue_text(s, strv_head(line, line.n - 1), NO_BILL, 0, false);
        }
    }
}

void speech_take(struct session *s)
{
    struct strv text = buf_view(&s->message);
    books_received(s->number, text);
    if (s->speech == RECORDED) {
        play(s);
        return;
    }
    cJSON *json = cJSON_ParseWithLength(text.n ? text.p : "", text.n);
    if (sim_has(s->request, "Hang")) {
        cJSON_Delete(json);
        return;
    }
    if (s->speech == GOOGLE)
        take_google(s, json);
    else
        take_openai(s, json);
    cJSON_Delete(json);
}

void speech_begin(struct session *s)
{
    keep(s->model, request_parameter(s->request, STRV("model")));
    if (s->speech == RECORDED) {
        ASSERT(s->settings->replay_dir != NULL &&
               replay_answer(s->settings->replay_dir, sim_text(s->request, "Replay"),
                             &s->recording));
        s->script = buf_view(&s->recording.body);
        play(s);
    } else if (s->speech == REALTIME) {
        queue_session(s, "session.created");
    }
}
