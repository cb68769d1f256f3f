#include "tests/provider/anthropic.h"

#include <pthread.h>
#include <string.h>

#include "tests/provider/refusal.h"

enum { CACHE_PLACES = 1 << 14, FNV_SHIFT = 13 };

/* Hashes of prompt prefixes that were written; a place that is taken is overwritten. */
static uint64_t cached[CACHE_PLACES];
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

void anthropic_reset(void)
{
    pthread_mutex_lock(&cache_lock);
    memset(cached, 0, sizeof(cached));
    pthread_mutex_unlock(&cache_lock);
}

static bool cache_has(uint64_t hash)
{
    pthread_mutex_lock(&cache_lock);
    bool has = cached[hash % CACHE_PLACES] == hash;
    pthread_mutex_unlock(&cache_lock);
    return has;
}

static void cache_put(uint64_t hash)
{
    pthread_mutex_lock(&cache_lock);
    cached[hash % CACHE_PLACES] = hash;
    pthread_mutex_unlock(&cache_lock);
}

/* The prompt so far, read block by block. */
struct prompt {
    uint64_t hash;
    uint64_t words; /* all so far */
    uint64_t since; /* of them, behind the last breakpoint */
    struct counts counts;
};

static void add_block(struct prompt *p, struct strv text, const cJSON *cache_control)
{
    uint64_t words = count_words(text);
    p->hash = (p->hash << FNV_SHIFT | p->hash >> (64 - FNV_SHIFT)) ^ strv_hash(text);
    p->words += words;
    p->since += words;
    if (!cJSON_IsObject(cache_control))
        return;
    uint64_t key = p->hash | 1; /* never the empty place */
    if (cache_has(key)) {
        /* All up to here is read; what was to be written before it is part of that. */
        p->counts.cache_read = p->words;
        p->counts.cache_write_5m = 0;
        p->counts.cache_write_1h = 0;
    } else if (strv_eq(json_text(cache_control, "ttl"), STRV("1h"))) {
        p->counts.cache_write_1h += p->since;
    } else {
        p->counts.cache_write_5m += p->since;
    }
    cache_put(key);
    p->since = 0;
}

static void add_content(struct prompt *p, const cJSON *content)
{
    if (cJSON_IsString(content)) {
        add_block(p, strv_z(content->valuestring), NULL);
        return;
    }
    const cJSON *block;
    cJSON_ArrayForEach(block, content) add_block(
        p, json_text(block, "text"), cJSON_GetObjectItemCaseSensitive(block, "cache_control"));
}

static void read_prompt(struct call *c, struct prompt *p)
{
    const cJSON *message;
    memset(p, 0, sizeof(*p));
    p->hash = strv_hash(json_text(c->json, "model"));
    add_content(p, cJSON_GetObjectItemCaseSensitive(c->json, "system"));
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(c->json, "messages"))
        add_content(p, cJSON_GetObjectItemCaseSensitive(message, "content"));
}

static void anthropic_headers(struct call *c)
{
    reply_header(c->reply, "request-id: %s", c->request_id);
    reply_header(c->reply, "anthropic-organization-id: 00000000-0000-4000-8000-000000000000");
    reply_header(c->reply, "anthropic-ratelimit-requests-limit: 4000");
    reply_header(c->reply, "anthropic-ratelimit-requests-remaining: 3999");
}

/* The members of a usage object; output as said so far. */
static void put_usage(struct call *c, struct jsonw *w, uint64_t output, bool start)
{
    struct strv raw = sim_text(c->r, "Raw-Usage");
    struct strv tier = sim_text(c->r, "Service-Tier");
    const struct counts *n = &c->counts;
    uint64_t written = n->cache_write_5m + n->cache_write_1h;
    uint64_t aside = n->cache_read + written;
    jsonw_key(w, STRV("usage"));
    if (raw.n > 0) {
        jsonw_raw(w, raw);
        return;
    }
    jsonw_object(w);
    put_number(w, "input_tokens", n->input > aside ? n->input - aside : 0);
    put_number(w, "cache_creation_input_tokens", written);
    put_number(w, "cache_read_input_tokens", n->cache_read);
    if (start) {
        jsonw_key(w, STRV("cache_creation"));
        jsonw_object(w);
        put_number(w, "ephemeral_5m_input_tokens", n->cache_write_5m);
        put_number(w, "ephemeral_1h_input_tokens", n->cache_write_1h);
        jsonw_end(w);
    }
    put_number(w, "output_tokens", output);
    if (start)
        put_text(w, "service_tier", tier.n ? tier : STRV("standard"));
    jsonw_end(w);
}

static struct strv stop_reason(const struct call *c)
{
    struct strv asked = sim_text(c->r, "Finish-Reason");
    if (asked.n > 0)
        return asked;
    return c->limited ? STRV("max_tokens") : STRV("end_turn");
}

static void put_message_head(struct call *c, struct jsonw *w)
{
    put_text(w, "id", strv_z(c->response_id));
    put_text(w, "type", STRV("message"));
    put_text(w, "role", STRV("assistant"));
    put_text(w, "model", strv_z(c->model));
}

static void make_plain(struct call *c)
{
    struct jsonw w;
    event_start(c, &w);
    put_message_head(c, &w);
    jsonw_key(&w, STRV("content"));
    jsonw_array(&w);
    if (c->visible > 0) {
        jsonw_object(&w);
        put_text(&w, "type", STRV("text"));
        put_text(&w, "text", call_text(c, 0, c->visible));
        jsonw_end(&w);
    }
    jsonw_end(&w);
    put_text(&w, "stop_reason", stop_reason(c));
    put_null(&w, "stop_sequence");
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, &w, c->counts.output, true);
    document_end(c, &w);
}

static void send_start(struct call *c)
{
    struct jsonw w;
    event_start(c, &w);
    put_text(&w, "type", STRV("message_start"));
    jsonw_key(&w, STRV("message"));
    jsonw_object(&w);
    put_message_head(c, &w);
    jsonw_key(&w, STRV("content"));
    jsonw_array(&w);
    jsonw_end(&w);
    put_null(&w, "stop_reason");
    put_null(&w, "stop_sequence");
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, &w, 1, true);
    jsonw_end(&w);
    send_sse(c, STRV("message_start"), event_end(c, &w), 0);
}

static void send_delta(struct call *c, uint64_t from, uint64_t to)
{
    struct jsonw w;
    event_start(c, &w);
    put_text(&w, "type", STRV("content_block_delta"));
    put_number(&w, "index", 0);
    jsonw_key(&w, STRV("delta"));
    jsonw_object(&w);
    put_text(&w, "type", STRV("text_delta"));
    put_text(&w, "text", call_text(c, from, to));
    jsonw_end(&w);
    send_sse(c, STRV("content_block_delta"), event_end(c, &w), to - from);
}

static void send_message_delta(struct call *c)
{
    struct jsonw w;
    event_start(c, &w);
    put_text(&w, "type", STRV("message_delta"));
    jsonw_key(&w, STRV("delta"));
    jsonw_object(&w);
    put_text(&w, "stop_reason", stop_reason(c));
    put_null(&w, "stop_sequence");
    jsonw_end(&w);
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, &w, c->counts.output, false);
    send_sse(c, STRV("message_delta"), event_end(c, &w), 0);
}

static void make_stream(struct call *c)
{
    uint64_t step = call_step(c);
    c->reply->stream = true;
    c->reply->content_type = STRV("text/event-stream; charset=utf-8");
    send_start(c);
    send_sse(c, STRV("content_block_start"),
             STRV("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
                  "{\"type\":\"text\",\"text\":\"\"}}"),
             0);
    send_sse(c, STRV("ping"), STRV("{\"type\": \"ping\"}"), 0);
    for (uint64_t at = 0; at < c->visible; at += step)
        send_delta(c, at, at + step < c->visible ? at + step : c->visible);
    send_sse(c, STRV("content_block_stop"),
             STRV("{\"type\":\"content_block_stop\",\"index\":0}"), 0);
    send_message_delta(c);
    send_sse(c, STRV("message_stop"), STRV("{\"type\":\"message_stop\"}"), 0);
    refuse_in_stream(c->reply, DIALECT_ANTHROPIC);
}

/* 400 where the request lacks what every message must have. */
static bool check_request(struct call *c, bool bound)
{
    struct strv problem = STRV_NONE;
    if (c->model[0] == 0 && json_text(c->json, "model").n == 0)
        problem = STRV("model: Field required");
    else if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(c->json, "messages")))
        problem = STRV("messages: Field required");
    else if (bound && json_number(c->json, "max_tokens", UINT64_MAX) == UINT64_MAX)
        problem = STRV("max_tokens: Field required");
    else if (request_header(c->r, STRV("anthropic-version")).n == 0 &&
             json_text(c->json, "anthropic_version").n == 0)
        problem = STRV("anthropic-version: header is required");
    if (problem.n > 0)
        refuse(c->reply, c->r, DIALECT_ANTHROPIC, 400, problem);
    return problem.n == 0;
}

void anthropic_messages(struct call *c)
{
    struct prompt prompt;
    if (!check_request(c, true))
        return;
    read_prompt(c, &prompt);
    c->endpoint = STRV("messages");
    c->counts = prompt.counts;
    if (c->model[0] == 0)
        call_model(c, json_text(c->json, "model"));
    call_ids(c, "req_sim_", "msg_sim_");
    call_plan(c, prompt.words, json_number(c->json, "max_tokens", UINT64_MAX));
    c->stream = json_true(c->json, "stream");
    call_bill(c, !c->stream);
    anthropic_headers(c);
    if (c->stream)
        make_stream(c);
    else
        make_plain(c);
}

void anthropic_count_tokens(struct call *c)
{
    struct prompt prompt;
    struct jsonw w;
    if (!check_request(c, false))
        return;
    read_prompt(c, &prompt);
    call_ids(c, "req_sim_", "");
    anthropic_headers(c);
    event_start(c, &w);
    put_number(&w, "input_tokens", prompt.words);
    document_end(c, &w);
}

void anthropic_predict(struct call *c, struct strv model, struct strv method)
{
    if (strv_eq(model, STRV("count-tokens"))) {
        anthropic_count_tokens(c);
        return;
    }
    call_model(c, model);
    anthropic_messages(c);
    (void)method; /* the body says whether it streams, as the SDK leaves it there */
}

void anthropic_models(struct call *c)
{
    call_ids(c, "req_sim_", "");
    anthropic_headers(c);
    struct strv body =
        STRV("{\"data\":[{\"type\":\"model\",\"id\":\"claude-sonnet-4-5\",\"display_name\":"
             "\"Claude Sonnet 4.5\",\"created_at\":\"2025-09-29T00:00:00Z\"}],"
             "\"has_more\":false,\"first_id\":\"claude-sonnet-4-5\","
             "\"last_id\":\"claude-sonnet-4-5\"}");
    if (buf_append_strv(&c->reply->body, body) == RC_OK)
        reply_piece(c->reply, 0, true);
}
