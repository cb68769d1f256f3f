#include "tests/provider/openai.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "tests/provider/refusal.h"

enum { DIMENSIONS_DEFAULT = 8, DIMENSIONS_MAX = 4096, CHOICES_MAX = 16 };

void openai_headers(struct call *c)
{
    reply_header(c->reply, "x-request-id: %s", c->request_id);
    reply_header(c->reply, "openai-organization: org-simulated");
    reply_header(c->reply, "openai-processing-ms: 12");
    reply_header(c->reply, "openai-version: 2020-10-01");
    reply_header(c->reply, "x-ratelimit-limit-requests: 10000");
    reply_header(c->reply, "x-ratelimit-remaining-requests: 9999");
    reply_header(c->reply, "x-ratelimit-reset-requests: 6ms");
}

static void put_usage(struct call *c, struct jsonw *w)
{
    struct strv raw = sim_text(c->r, "Raw-Usage");
    jsonw_key(w, STRV("usage"));
    if (raw.n > 0) {
        jsonw_raw(w, raw);
        return;
    }
    jsonw_object(w);
    put_number(w, "prompt_tokens", c->counts.input);
    put_number(w, "completion_tokens", c->counts.output);
    put_number(w, "total_tokens", c->counts.input + c->counts.output);
    jsonw_key(w, STRV("prompt_tokens_details"));
    jsonw_object(w);
    put_number(w, "cached_tokens", c->counts.cache_read);
    put_number(w, "audio_tokens", 0);
    jsonw_end(w);
    jsonw_key(w, STRV("completion_tokens_details"));
    jsonw_object(w);
    put_number(w, "reasoning_tokens", c->counts.reasoning);
    put_number(w, "audio_tokens", 0);
    put_number(w, "accepted_prediction_tokens", 0);
    put_number(w, "rejected_prediction_tokens", 0);
    jsonw_end(w);
    jsonw_end(w);
}

static struct strv finish_reason(const struct call *c)
{
    struct strv asked = sim_text(c->r, "Finish-Reason");
    if (asked.n > 0)
        return asked;
    return c->limited ? STRV("length") : STRV("stop");
}

static struct strv service_tier(const struct call *c)
{
    struct strv tier = sim_text(c->r, "Service-Tier");
    return tier.n ? tier : STRV("default");
}

static bool include_usage(const struct call *c)
{
    return json_true(cJSON_GetObjectItemCaseSensitive(c->json, "stream_options"),
                     "include_usage");
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t choices_of(const struct call *c)
{
    uint64_t n = json_number(c->json, "n", 1);
    return n == 0 ? 1 : least(n, CHOICES_MAX);
}

/* ---- chat/completions and completions, which differ in names alone ------------------ */

struct flavour {
    bool chat;
    const char *object;
    const char *chunk_object;
    const char *id_prefix;
};

static const struct flavour CHAT = {true, "chat.completion", "chat.completion.chunk",
                                    "chatcmpl-sim"};
static const struct flavour TEXT = {false, "text_completion", "text_completion", "cmpl-sim"};

static void head_members(struct call *c, struct jsonw *w, const char *object)
{
    put_text(w, "id", strv_z(c->response_id));
    put_text(w, "object", strv_z(object));
    jsonw_key(w, STRV("created"));
    jsonw_int(w, c->created);
    put_text(w, "model", strv_z(c->model));
    put_text(w, "service_tier", service_tier(c));
    put_text(w, "system_fingerprint", STRV("fp_simulated"));
}

static void plain_choice(struct call *c, struct jsonw *w, const struct flavour *f, uint64_t i)
{
    struct strv text = call_text(c, 0, c->visible);
    jsonw_object(w);
    put_number(w, "index", i);
    if (f->chat) {
        jsonw_key(w, STRV("message"));
        jsonw_object(w);
        put_text(w, "role", STRV("assistant"));
        put_text(w, "content", text);
        put_null(w, "refusal");
        jsonw_key(w, STRV("annotations"));
        jsonw_array(w);
        jsonw_end(w);
        jsonw_end(w);
    } else {
        put_text(w, "text", text);
    }
    put_null(w, "logprobs");
    put_text(w, "finish_reason", finish_reason(c));
    jsonw_end(w);
}

static void make_plain(struct call *c, const struct flavour *f, uint64_t choices)
{
    struct jsonw w;
    event_start(c, &w);
    head_members(c, &w, f->object);
    jsonw_key(&w, STRV("choices"));
    jsonw_array(&w);
    for (uint64_t i = 0; i < choices; i++)
        plain_choice(c, &w, f, i);
    jsonw_end(&w);
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, &w);
    document_end(c, &w);
}

/* One chunk: of the role (first), of text, or of the reason it ended (last). */
static void send_chunk(struct call *c, const struct flavour *f, uint64_t choice, bool first,
                       bool last, struct strv text, uint64_t tokens)
{
    struct jsonw w;
    event_start(c, &w);
    head_members(c, &w, f->chunk_object);
    jsonw_key(&w, STRV("choices"));
    jsonw_array(&w);
    jsonw_object(&w);
    put_number(&w, "index", choice);
    if (f->chat) {
        jsonw_key(&w, STRV("delta"));
        jsonw_object(&w);
        if (first) {
            put_text(&w, "role", STRV("assistant"));
            put_null(&w, "refusal");
        }
        if (!last)
            put_text(&w, "content", text);
        jsonw_end(&w);
    } else {
        put_text(&w, "text", text);
    }
    put_null(&w, "logprobs");
    if (last)
        put_text(&w, "finish_reason", finish_reason(c));
    else
        put_null(&w, "finish_reason");
    jsonw_end(&w);
    jsonw_end(&w);
    if (include_usage(c) && !sim_has(c->r, "No-Usage"))
        put_null(&w, "usage");
    if (f->chat)
        put_text(&w, "obfuscation", STRV("aB3dE"));
    send_sse(c, STRV_NONE, event_end(c, &w), tokens);
}

static void send_usage_chunk(struct call *c, const struct flavour *f)
{
    struct jsonw w;
    event_start(c, &w);
    head_members(c, &w, f->chunk_object);
    jsonw_key(&w, STRV("choices"));
    jsonw_array(&w);
    jsonw_end(&w);
    put_usage(c, &w);
    if (f->chat)
        put_text(&w, "obfuscation", STRV("xYz"));
    send_sse(c, STRV_NONE, event_end(c, &w), 0);
}

static void make_stream(struct call *c, const struct flavour *f, uint64_t choices)
{
    uint64_t step = call_step(c);
    c->reply->stream = true;
    c->reply->content_type = STRV("text/event-stream; charset=utf-8");
    for (uint64_t i = 0; i < choices; i++) {
        if (f->chat)
            send_chunk(c, f, i, true, false, STRV(""), 0);
        for (uint64_t at = 0; at < c->visible; at += step) {
            uint64_t to = least(at + step, c->visible);
            send_chunk(c, f, i, false, false, call_text(c, at, to), to - at);
        }
        send_chunk(c, f, i, false, true, STRV(""), 0);
    }
    if (include_usage(c) && !sim_has(c->r, "No-Usage"))
        send_usage_chunk(c, f);
    reply_sse(c->reply, &c->reply->body, STRV_NONE, STRV("[DONE]"));
    reply_piece(c->reply, 0, true);
    refuse_in_stream(c->reply, DIALECT_OPENAI);
}

static void generate(struct call *c, const struct flavour *f, uint64_t words, uint64_t bound)
{
    struct strv model = json_text(c->json, "model");
    if (model.n == 0) {
        refuse(c->reply, c->r, DIALECT_OPENAI, 400, STRV("you must provide a model parameter"));
        return;
    }
    uint64_t choices = choices_of(c);
    call_model(c, model);
    call_ids(c, "req_sim_", f->id_prefix);
    call_plan(c, words, bound);
    c->counts.output *= choices;
    c->counts.reasoning *= choices;
    c->stream = json_true(c->json, "stream");
    call_bill(c, !c->stream);
    openai_headers(c);
    if (c->stream)
        make_stream(c, f, choices);
    else
        make_plain(c, f, choices);
}

void openai_chat(struct call *c)
{
    uint64_t words = 0;
    const cJSON *message;
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(c->json, "messages");
    if (!cJSON_IsArray(messages)) {
        refuse(c->reply, c->r, DIALECT_OPENAI, 400,
               STRV("Missing required parameter: "
                    "'messages'."));
        return;
    }
    cJSON_ArrayForEach(message, messages) words +=
        count_parts(cJSON_GetObjectItemCaseSensitive(message, "content"));
    uint64_t bound = json_number(c->json, "max_completion_tokens", UINT64_MAX);
    bound = least(bound, json_number(c->json, "max_tokens", UINT64_MAX));
    c->endpoint = STRV("chat/completions");
    generate(c, &CHAT, words, bound);
}

void openai_completions(struct call *c)
{
    c->endpoint = STRV("completions");
    generate(c, &TEXT, count_parts(cJSON_GetObjectItemCaseSensitive(c->json, "prompt")),
             json_number(c->json, "max_tokens", OUTPUT_DEFAULT));
}

/* ---- embeddings ------------------------------------------------------------------------ */

/* Inputs of an embeddings request: texts, or lists of token numbers. */
static uint64_t count_inputs(const cJSON *input, uint64_t *words)
{
    uint64_t n = 0;
    const cJSON *item;
    if (cJSON_IsString(input)) {
        *words = count_json_words(input);
        return 1;
    }
    if (cJSON_IsNumber(input ? input->child : NULL)) {
        *words = (uint64_t)cJSON_GetArraySize(input);
        return 1;
    }
    cJSON_ArrayForEach(item, input)
    {
        n++;
        *words +=
            cJSON_IsArray(item) ? (uint64_t)cJSON_GetArraySize(item) : count_json_words(item);
    }
    return n;
}

static float component(uint64_t vector, uint64_t i)
{
    return (float)((vector * 31 + i * 7) % 200) / 100.0F - 1.0F;
}

static void put_vector_base64(struct jsonw *w, uint64_t vector, uint64_t dimensions)
{
    size_t bytes = dimensions * sizeof(float);
    unsigned char *raw = xmalloc(bytes);
    for (uint64_t i = 0; i < dimensions; i++) {
        float value = component(vector, i);
        memcpy(raw + i * sizeof(float), &value, sizeof(value));
    }
    char *text = xmalloc(bytes / 3 * 4 + 8);
    int n = EVP_EncodeBlock((unsigned char *)text, raw, (int)bytes);
    put_text(w, "embedding", strv_make(text, (size_t)n));
    free(text);
    free(raw);
}

static void put_vector(struct jsonw *w, uint64_t vector, uint64_t dimensions)
{
    jsonw_key(w, STRV("embedding"));
    jsonw_array(w);
    for (uint64_t i = 0; i < dimensions; i++) {
        char text[32];
        int n = snprintf(text, sizeof(text), "%.2f", (double)component(vector, i));
        jsonw_raw(w, strv_make(text, (size_t)n));
    }
    jsonw_end(w);
}

void openai_embeddings(struct call *c)
{
    struct strv model = json_text(c->json, "model");
    uint64_t words = 0;
    uint64_t n = count_inputs(cJSON_GetObjectItemCaseSensitive(c->json, "input"), &words);
    if (model.n == 0 || n == 0) {
        refuse(c->reply, c->r, DIALECT_OPENAI, 400, STRV("model and input are required"));
        return;
    }
    uint64_t dimensions =
        least(json_number(c->json, "dimensions", DIMENSIONS_DEFAULT), DIMENSIONS_MAX);
    bool base64 = strv_eq(json_text(c->json, "encoding_format"), STRV("base64"));
    c->endpoint = STRV("embeddings");
    call_model(c, model);
    call_ids(c, "req_sim_", "emb-sim");
    call_plan(c, words, 0);
    call_bill(c, true);
    openai_headers(c);
    struct jsonw w;
    event_start(c, &w);
    put_text(&w, "object", STRV("list"));
    jsonw_key(&w, STRV("data"));
    jsonw_array(&w);
    for (uint64_t i = 0; i < n; i++) {
        jsonw_object(&w);
        put_text(&w, "object", STRV("embedding"));
        put_number(&w, "index", i);
        if (base64)
            put_vector_base64(&w, i, dimensions);
        else
            put_vector(&w, i, dimensions);
        jsonw_end(&w);
    }
    jsonw_end(&w);
    put_text(&w, "model", strv_z(c->model));
    if (!sim_has(c->r, "No-Usage")) {
        jsonw_key(&w, STRV("usage"));
        jsonw_object(&w);
        put_number(&w, "prompt_tokens", c->counts.input);
        put_number(&w, "total_tokens", c->counts.input);
        jsonw_end(&w);
    }
    document_end(c, &w);
}

void openai_models(struct call *c)
{
    static const char *const models[] = {"gpt-4o", "gpt-4o-mini", "text-embedding-3-small"};
    struct jsonw w;
    call_ids(c, "req_sim_", "");
    openai_headers(c);
    event_start(c, &w);
    put_text(&w, "object", STRV("list"));
    jsonw_key(&w, STRV("data"));
    jsonw_array(&w);
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        jsonw_object(&w);
        put_text(&w, "id", strv_z(models[i]));
        put_text(&w, "object", STRV("model"));
        put_number(&w, "created", 1715367049);
        put_text(&w, "owned_by", STRV("system"));
        jsonw_end(&w);
    }
    jsonw_end(&w);
    document_end(c, &w);
}
