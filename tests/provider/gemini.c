#include "tests/provider/gemini.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/provider/refusal.h"
#include "tests/provider/video.h"

enum { VECTOR_VALUES = 8 };

static uint64_t count_contents(const cJSON *contents)
{
    uint64_t words = 0;
    const cJSON *content;
    if (cJSON_IsObject(contents))
        return count_parts(cJSON_GetObjectItemCaseSensitive(contents, "parts"));
    cJSON_ArrayForEach(content, contents) words +=
        count_parts(cJSON_GetObjectItemCaseSensitive(content, "parts"));
    return words;
}

static uint64_t count_prompt(const cJSON *json)
{
    const cJSON *system = cJSON_GetObjectItemCaseSensitive(json, "systemInstruction");
    if (system == NULL)
        system = cJSON_GetObjectItemCaseSensitive(json, "system_instruction");
    return count_contents(cJSON_GetObjectItemCaseSensitive(json, "contents")) +
           (system ? count_contents(system) : 0);
}

static void gemini_headers(struct call *c)
{
    reply_header(c->reply, "vary: X-Origin");
    reply_header(c->reply, "server: scaffolding on HTTPServer2");
    reply_header(c->reply, "server-timing: gfet4t7; dur=12");
}

/* usageMetadata with the answer's tokens said so far. */
static void put_usage(struct call *c, struct jsonw *w, uint64_t candidates)
{
    struct strv raw = sim_text(c->r, "Raw-Usage");
    const struct counts *n = &c->counts;
    jsonw_key(w, STRV("usageMetadata"));
    if (raw.n > 0) {
        jsonw_raw(w, raw);
        return;
    }
    jsonw_object(w);
    put_number(w, "promptTokenCount", n->input);
    if (n->cache_read > 0)
        put_number(w, "cachedContentTokenCount", n->cache_read);
    if (candidates > 0)
        put_number(w, "candidatesTokenCount", candidates);
    if (n->reasoning > 0)
        put_number(w, "thoughtsTokenCount", n->reasoning);
    put_number(w, "totalTokenCount", n->input + n->reasoning + candidates);
    jsonw_key(w, STRV("promptTokensDetails"));
    jsonw_array(w);
    jsonw_object(w);
    put_text(w, "modality", STRV("TEXT"));
    put_number(w, "tokenCount", n->input);
    jsonw_end(w);
    jsonw_end(w);
    jsonw_end(w);
}

/* A GenerateContentResponse with tokens from..to. */
static void write_response(struct call *c, struct jsonw *w, uint64_t from, uint64_t to,
                           bool last)
{
    struct strv reason = sim_text(c->r, "Finish-Reason");
    event_start(c, w);
    jsonw_key(w, STRV("candidates"));
    jsonw_array(w);
    jsonw_object(w);
    jsonw_key(w, STRV("content"));
    jsonw_object(w);
    jsonw_key(w, STRV("parts"));
    jsonw_array(w);
    jsonw_object(w);
    put_text(w, "text", call_text(c, from, to));
    jsonw_end(w);
    jsonw_end(w);
    put_text(w, "role", STRV("model"));
    jsonw_end(w);
    if (last)
        put_text(w, "finishReason",
                 reason.n     ? reason
                 : c->limited ? STRV("MAX_TOKENS")
                              : STRV("STOP"));
    put_number(w, "index", 0);
    jsonw_end(w);
    jsonw_end(w);
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, w, to);
    put_text(w, "modelVersion", strv_z(c->model));
    put_text(w, "responseId", strv_z(c->response_id));
}

static void send_event(struct call *c, struct strv json, bool sse, bool first, bool last,
                       uint64_t tokens)
{
    struct buf *body = &c->reply->body;
    if (sse) {
        send_sse(c, STRV_NONE, json, tokens);
        return;
    }
    ASSERT(buf_append_strv(body, first ? STRV("[") : STRV(",\r\n")) == RC_OK);
    ASSERT(buf_append_strv(body, json) == RC_OK);
    if (last)
        ASSERT(buf_append_strv(body, STRV("\n]")) == RC_OK);
    reply_piece(c->reply, (uint32_t)tokens, true);
}

static void make_stream(struct call *c, bool sse)
{
    uint64_t step = call_step(c);
    uint64_t at = 0;
    c->reply->stream = true;
    if (sse) {
        c->reply->content_type = STRV("text/event-stream");
        if (sim_text(c->r, "Newline").n == 0)
            c->reply->newline = STRV("\r\n");
    } else {
        c->reply->content_type = STRV("application/json; charset=UTF-8");
    }
    do {
        struct jsonw w;
        uint64_t to = at + step < c->visible ? at + step : c->visible;
        bool last = to == c->visible;
        write_response(c, &w, at, to, last);
        send_event(c, event_end(c, &w), sse, at == 0, last, to - at);
        at = to;
    } while (at < c->visible);
    if (sse)
        refuse_in_stream(c->reply, DIALECT_GEMINI);
    else
        ASSERT(buf_append_strv(&c->reply->error_event,
                               STRV(",\r\n{\"error\":{\"code\":503,\"message\":\"The model is "
                                    "overloaded.\",\"status\":\"UNAVAILABLE\"}}\n]")) == RC_OK);
}

static void generate(struct call *c, bool stream)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(c->json, "generationConfig");
    if (cJSON_GetObjectItemCaseSensitive(c->json, "contents") == NULL) {
        refuse(c->reply, c->r, DIALECT_GEMINI, 400,
               STRV("* GenerateContentRequest.contents: contents is not specified"));
        return;
    }
    call_plan(c, count_prompt(c->json), json_number(config, "maxOutputTokens", UINT64_MAX));
    c->stream = stream;
    /* An abort is the client's affair alone here: the whole answer is charged. */
    call_bill(c, true);
    gemini_headers(c);
    if (stream) {
        make_stream(c, strv_eq(request_parameter(c->r, STRV("alt")), STRV("sse")));
        for (size_t i = 0; i < c->reply->n_pieces; i++)
            c->reply->pieces[i].output = 0;
        return;
    }
    struct jsonw w;
    write_response(c, &w, 0, c->visible, true);
    document_end(c, &w);
}

static void put_vector(struct jsonw *w, uint64_t vector)
{
    jsonw_object(w);
    jsonw_key(w, STRV("values"));
    jsonw_array(w);
    for (uint64_t i = 0; i < VECTOR_VALUES; i++) {
        char text[32];
        double value = (double)((vector * 31 + i * 7) % 200) / 100.0 - 1.0;
        int n = snprintf(text, sizeof(text), "%.3f", value);
        jsonw_raw(w, strv_make(text, (size_t)n));
    }
    jsonw_end(w);
    jsonw_end(w);
}

static void embed(struct call *c, bool batch)
{
    struct jsonw w;
    uint64_t words = 0;
    uint64_t n = 0;
    const cJSON *request;
    if (batch) {
        cJSON_ArrayForEach(request, cJSON_GetObjectItemCaseSensitive(c->json, "requests"))
        {
            words += count_contents(cJSON_GetObjectItemCaseSensitive(request, "content"));
            n++;
        }
    } else {
        words = count_contents(cJSON_GetObjectItemCaseSensitive(c->json, "content"));
    }
    call_plan(c, words, 0);
    call_bill(c, true);
    gemini_headers(c);
    event_start(c, &w);
    jsonw_key(&w, batch ? STRV("embeddings") : STRV("embedding"));
    if (batch) {
        jsonw_array(&w);
        for (uint64_t i = 0; i < n; i++)
            put_vector(&w, i);
        jsonw_end(&w);
    } else {
        put_vector(&w, 0);
    }
    if (!sim_has(c->r, "No-Usage")) {
        jsonw_key(&w, STRV("usageMetadata"));
        jsonw_object(&w);
        put_number(&w, "promptTokenCount", c->counts.input);
        put_number(&w, "totalTokenCount", c->counts.input);
        jsonw_end(&w);
    }
    document_end(c, &w);
}

static void count_tokens(struct call *c)
{
    struct jsonw w;
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(c->json, "generateContentRequest");
    gemini_headers(c);
    event_start(c, &w);
    put_number(&w, "totalTokens", count_prompt(inner ? inner : c->json));
    document_end(c, &w);
}

bool gemini_call(struct call *c, struct strv model, struct strv method)
{
    call_model(c, model);
    call_ids(c, "", "simresp");
    c->endpoint = method;
    if (strv_eq(method, STRV("generateContent")))
        generate(c, false);
    else if (strv_eq(method, STRV("streamGenerateContent")))
        generate(c, true);
    else if (strv_eq(method, STRV("embedContent")))
        embed(c, false);
    else if (strv_eq(method, STRV("batchEmbedContents")))
        embed(c, true);
    else if (strv_eq(method, STRV("countTokens")))
        count_tokens(c);
    else if (strv_eq(method, STRV("predictLongRunning")) ||
             strv_eq(method, STRV("fetchPredictOperation")))
        gemini_video(c, model, strv_eq(method, STRV("predictLongRunning")));
    else
        return false;
    return true;
}

void gemini_models(struct call *c)
{
    gemini_headers(c);
    struct strv body =
        STRV("{\"models\":[{\"name\":\"models/gemini-2.5-flash\",\"version\":\"001\","
             "\"displayName\":\"Gemini 2.5 Flash\"}]}");
    if (buf_append_strv(&c->reply->body, body) == RC_OK)
        reply_piece(c->reply, 0, true);
}
