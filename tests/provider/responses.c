/* The Responses endpoint of openai.h: one document, or a run of named events. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/provider/openai.h"
#include "tests/provider/refusal.h"

static void put_usage(struct call *c, struct jsonw *w)
{
    struct strv raw = sim_text(c->r, "Raw-Usage");
    jsonw_key(w, STRV("usage"));
    if (raw.n > 0) {
        jsonw_raw(w, raw);
        return;
    }
    jsonw_object(w);
    put_number(w, "input_tokens", c->counts.input);
    jsonw_key(w, STRV("input_tokens_details"));
    jsonw_object(w);
    put_number(w, "cached_tokens", c->counts.cache_read);
    jsonw_end(w);
    put_number(w, "output_tokens", c->counts.output);
    jsonw_key(w, STRV("output_tokens_details"));
    jsonw_object(w);
    put_number(w, "reasoning_tokens", c->counts.reasoning);
    jsonw_end(w);
    put_number(w, "total_tokens", c->counts.input + c->counts.output);
    jsonw_end(w);
}

static void put_item_id(struct call *c, struct jsonw *w, const char *name)
{
    char id[BOOKS_ID_BYTES + 8];
    snprintf(id, sizeof(id), "msg_%s", c->response_id);
    put_text(w, name, strv_z(id));
}

/* A content part "output_text" with the tokens up to n. */
static void put_part(struct call *c, struct jsonw *w, uint64_t n)
{
    jsonw_object(w);
    put_text(w, "type", STRV("output_text"));
    jsonw_key(w, STRV("annotations"));
    jsonw_array(w);
    jsonw_end(w);
    jsonw_key(w, STRV("logprobs"));
    jsonw_array(w);
    jsonw_end(w);
    put_text(w, "text", call_text(c, 0, n));
    jsonw_end(w);
}

static void put_item(struct call *c, struct jsonw *w, bool done)
{
    jsonw_object(w);
    put_item_id(c, w, "id");
    put_text(w, "type", STRV("message"));
    put_text(w, "status", done ? STRV("completed") : STRV("in_progress"));
    put_text(w, "role", STRV("assistant"));
    jsonw_key(w, STRV("content"));
    jsonw_array(w);
    if (done)
        put_part(c, w, c->visible);
    jsonw_end(w);
    jsonw_end(w);
}

/* Members of the response object: as it starts (no output, no usage) or as it ended. */
static void response_members(struct call *c, struct jsonw *w, bool done)
{
    struct strv tier = sim_text(c->r, "Service-Tier");
    struct strv status = !done        ? STRV("in_progress")
                         : c->limited ? STRV("incomplete")
                                      : STRV("completed");
    put_text(w, "id", strv_z(c->response_id));
    put_text(w, "object", STRV("response"));
    jsonw_key(w, STRV("created_at"));
    jsonw_int(w, c->created);
    put_text(w, "status", status);
    put_null(w, "error");
    if (done && c->limited) {
        jsonw_key(w, STRV("incomplete_details"));
        jsonw_object(w);
        put_text(w, "reason", STRV("max_output_tokens"));
        jsonw_end(w);
    } else {
        put_null(w, "incomplete_details");
    }
    put_null(w, "instructions");
    put_text(w, "model", strv_z(c->model));
    jsonw_key(w, STRV("output"));
    jsonw_array(w);
    if (done)
        put_item(c, w, true);
    jsonw_end(w);
    jsonw_key(w, STRV("parallel_tool_calls"));
    jsonw_bool(w, true);
    put_text(w, "service_tier", tier.n ? tier : STRV("default"));
    put_text(w, "tool_choice", STRV("auto"));
    jsonw_key(w, STRV("tools"));
    jsonw_array(w);
    jsonw_end(w);
    if (done && !sim_has(c->r, "No-Usage"))
        put_usage(c, w);
    else
        put_null(w, "usage");
    jsonw_key(w, STRV("metadata"));
    jsonw_object(w);
    jsonw_end(w);
}

static void start_event(struct call *c, struct jsonw *w, const char *type, uint64_t *sequence)
{
    event_start(c, w);
    put_text(w, "type", strv_z(type));
    put_number(w, "sequence_number", (*sequence)++);
}

static void send_response(struct call *c, const char *type, uint64_t *sequence, bool done)
{
    struct jsonw w;
    start_event(c, &w, type, sequence);
    jsonw_key(&w, STRV("response"));
    jsonw_object(&w);
    response_members(c, &w, done);
    jsonw_end(&w);
    send_sse(c, strv_z(type), event_end(c, &w), 0);
}

static void send_item(struct call *c, const char *type, uint64_t *sequence, bool done)
{
    struct jsonw w;
    start_event(c, &w, type, sequence);
    put_number(&w, "output_index", 0);
    jsonw_key(&w, STRV("item"));
    put_item(c, &w, done);
    send_sse(c, strv_z(type), event_end(c, &w), 0);
}

static void send_part(struct call *c, const char *type, uint64_t *sequence, uint64_t n)
{
    struct jsonw w;
    start_event(c, &w, type, sequence);
    put_item_id(c, &w, "item_id");
    put_number(&w, "output_index", 0);
    put_number(&w, "content_index", 0);
    jsonw_key(&w, STRV("part"));
    put_part(c, &w, n);
    send_sse(c, strv_z(type), event_end(c, &w), 0);
}

static void send_text(struct call *c, const char *type, const char *member, uint64_t *sequence,
                      uint64_t from, uint64_t to, uint64_t tokens)
{
    struct jsonw w;
    start_event(c, &w, type, sequence);
    put_item_id(c, &w, "item_id");
    put_number(&w, "output_index", 0);
    put_number(&w, "content_index", 0);
    put_text(&w, member, call_text(c, from, to));
    jsonw_key(&w, STRV("logprobs"));
    jsonw_array(&w);
    jsonw_end(&w);
    send_sse(c, strv_z(type), event_end(c, &w), tokens);
}

static void make_stream(struct call *c)
{
    uint64_t sequence = 0;
    uint64_t step = call_step(c);
    c->reply->stream = true;
    c->reply->content_type = STRV("text/event-stream; charset=utf-8");
    send_response(c, "response.created", &sequence, false);
    send_response(c, "response.in_progress", &sequence, false);
    send_item(c, "response.output_item.added", &sequence, false);
    send_part(c, "response.content_part.added", &sequence, 0);
    for (uint64_t at = 0; at < c->visible; at += step) {
        uint64_t to = at + step < c->visible ? at + step : c->visible;
        send_text(c, "response.output_text.delta", "delta", &sequence, at, to, to - at);
    }
    send_text(c, "response.output_text.done", "text", &sequence, 0, c->visible, 0);
    send_part(c, "response.content_part.done", &sequence, c->visible);
    send_item(c, "response.output_item.done", &sequence, true);
    send_response(c, c->limited ? "response.incomplete" : "response.completed", &sequence,
                  true);
    refuse_in_stream(c->reply, DIALECT_RESPONSES);
}

void openai_responses(struct call *c)
{
    struct strv model = json_text(c->json, "model");
    const cJSON *input = cJSON_GetObjectItemCaseSensitive(c->json, "input");
    uint64_t words =
        count_json_words(cJSON_GetObjectItemCaseSensitive(c->json, "instructions"));
    const cJSON *item;
    if (model.n == 0 || input == NULL) {
        refuse(c->reply, c->r, DIALECT_OPENAI, 400, STRV("model and input are required"));
        return;
    }
    words += count_json_words(input);
    if (cJSON_IsArray(input))
        cJSON_ArrayForEach(item, input) words +=
            count_parts(cJSON_GetObjectItemCaseSensitive(item, "content"));
    c->endpoint = STRV("responses");
    call_model(c, model);
    call_ids(c, "req_sim_", "resp_sim");
    call_plan(c, words, json_number(c->json, "max_output_tokens", UINT64_MAX));
    c->stream = json_true(c->json, "stream");
    call_bill(c, !c->stream);
    openai_headers(c);
    if (c->stream) {
        make_stream(c);
        return;
    }
    struct jsonw w;
    event_start(c, &w);
    response_members(c, &w, true);
    document_end(c, &w);
}
