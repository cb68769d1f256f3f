#include "tests/provider/bedrock.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

#include "base/check.h"
#include "tests/provider/refusal.h"

enum { STRING_TYPE = 7, PRELUDE = 12, CHECKSUM = 4, FRAME_MAX = 256 << 20 };

/* ---- event streams ---------------------------------------------------------------------- */

static void put(struct buf *out, const void *p, size_t n)
{
    ASSERT(n == 0 || buf_append(out, p, n) == RC_OK);
}

static void put_u32(struct buf *out, uint32_t n)
{
    const unsigned char bytes[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16),
                                    (unsigned char)(n >> 8), (unsigned char)n};
    put(out, bytes, sizeof(bytes));
}

static void put_checksum(struct buf *out, size_t from)
{
    struct strv bytes = strv_skip(buf_view(out), from);
    put_u32(out, (uint32_t)crc32(0, (const unsigned char *)bytes.p, (uInt)bytes.n));
}

static void put_header(struct buf *out, const char *name, const char *value)
{
    const unsigned char name_n = (unsigned char)strlen(name);
    const unsigned char type[3] = {STRING_TYPE, 0, (unsigned char)strlen(value)};
    put(out, &name_n, 1);
    put(out, name, name_n);
    put(out, type, sizeof(type));
    put(out, value, strlen(value));
}

void bedrock_message(struct buf *out, const char *type, const char *name, struct strv payload)
{
    struct buf headers;
    size_t from = buf_len(out);
    buf_init(&headers, 4096);
    put_header(&headers, strcmp(type, "event") == 0 ? ":event-type" : ":exception-type", name);
    put_header(&headers, ":content-type", "application/json");
    put_header(&headers, ":message-type", type);
    put_u32(out, (uint32_t)(PRELUDE + buf_len(&headers) + payload.n + CHECKSUM));
    put_u32(out, (uint32_t)buf_len(&headers));
    put_checksum(out, from);
    put(out, buf_view(&headers).p, buf_len(&headers));
    put(out, payload.p, payload.n);
    put_checksum(out, from);
    buf_release(&headers);
}

static void put_base64(struct jsonw *w, struct strv bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf text;
    buf_init(&text, FRAME_MAX);
    for (size_t i = 0; i < bytes.n; i += 3) {
        uint32_t bits = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < bytes.n ? (unsigned char)bytes.p[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            four[k] = k > bytes.n - i ? '=' : digits[bits >> (18 - 6 * k) & 63];
        put(&text, four, 4);
    }
    jsonw_string(w, buf_view(&text));
    buf_release(&text);
}

/* An event of Converse, or the model's own event in its envelope. */
static void send_event(struct call *c, const char *name, struct strv json, uint64_t output)
{
    bedrock_message(&c->reply->body, "event", name, json);
    reply_piece(c->reply, (uint32_t)output, true);
}

static void send_chunk(struct call *c, struct strv json, uint64_t output)
{
    struct buf envelope;
    struct jsonw w;
    buf_init(&envelope, FRAME_MAX);
    jsonw_start(&w, &envelope);
    jsonw_object(&w);
    jsonw_key(&w, STRV("bytes"));
    put_base64(&w, json);
    put_text(&w, "p", STRV("abcdefghijklmnop"));
    jsonw_end(&w);
    ASSERT(jsonw_finish(&w) == RC_OK);
    send_event(c, "chunk", buf_view(&envelope), output);
    buf_release(&envelope);
}

/* ---- what is counted ----------------------------------------------------------------------- */

static uint64_t count_messages(const cJSON *json)
{
    uint64_t words = count_parts(cJSON_GetObjectItemCaseSensitive(json, "system"));
    const cJSON *message;
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(json, "messages")) words +=
        count_parts(cJSON_GetObjectItemCaseSensitive(message, "content"));
    return words;
}

static uint64_t uncached(const struct call *c)
{
    uint64_t aside =
        c->counts.cache_read + c->counts.cache_write_5m + c->counts.cache_write_1h;
    return c->counts.input > aside ? c->counts.input - aside : 0;
}

static struct strv stop_reason(const struct call *c)
{
    struct strv asked = sim_text(c->r, "Finish-Reason");
    if (asked.n > 0)
        return asked;
    return c->limited ? STRV("max_tokens") : STRV("end_turn");
}

static void put_usage(struct call *c, struct jsonw *w)
{
    const struct counts *n = &c->counts;
    jsonw_key(w, STRV("usage"));
    jsonw_object(w);
    put_number(w, "inputTokens", uncached(c));
    put_number(w, "outputTokens", n->output);
    put_number(w, "totalTokens", n->input + n->output);
    if (n->cache_read > 0 || n->cache_write_5m > 0 || n->cache_write_1h > 0) {
        put_number(w, "cacheReadInputTokens", n->cache_read);
        put_number(w, "cacheWriteInputTokens", n->cache_write_5m + n->cache_write_1h);
        jsonw_key(w, STRV("cacheDetails"));
        jsonw_array(w);
        jsonw_object(w);
        put_text(w, "ttl", STRV("1h"));
        put_number(w, "inputTokens", n->cache_write_1h);
        jsonw_end(w);
        jsonw_end(w);
    }
    jsonw_end(w);
}

static void put_metrics(struct call *c, struct jsonw *w)
{
    jsonw_key(w, STRV("amazon-bedrock-invocationMetrics"));
    jsonw_object(w);
    put_number(w, "inputTokenCount", uncached(c));
    put_number(w, "outputTokenCount", c->counts.output);
    put_number(w, "invocationLatency", 12);
    put_number(w, "firstByteLatency", 3);
    jsonw_end(w);
}

/* ---- Converse ------------------------------------------------------------------------------ */

static void put_content(struct call *c, struct jsonw *w)
{
    jsonw_key(w, STRV("content"));
    jsonw_array(w);
    jsonw_object(w);
    put_text(w, "text", call_text(c, 0, c->visible));
    jsonw_end(w);
    jsonw_end(w);
}

static void converse_plain(struct call *c)
{
    struct strv tier = sim_text(c->r, "Service-Tier");
    struct jsonw w;
    event_start(c, &w);
    jsonw_key(&w, STRV("metrics"));
    jsonw_object(&w);
    put_number(&w, "latencyMs", 12);
    jsonw_end(&w);
    jsonw_key(&w, STRV("output"));
    jsonw_object(&w);
    jsonw_key(&w, STRV("message"));
    jsonw_object(&w);
    put_content(c, &w);
    put_text(&w, "role", STRV("assistant"));
    jsonw_end(&w);
    jsonw_end(&w);
    put_text(&w, "stopReason", stop_reason(c));
    if (tier.n > 0) {
        jsonw_key(&w, STRV("serviceTier"));
        jsonw_object(&w);
        put_text(&w, "type", tier);
        jsonw_end(&w);
    }
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, &w);
    document_end(c, &w);
}

static void send_delta(struct call *c, uint64_t from, uint64_t to)
{
    struct jsonw w;
    event_start(c, &w);
    put_number(&w, "contentBlockIndex", 0);
    jsonw_key(&w, STRV("delta"));
    jsonw_object(&w);
    put_text(&w, "text", call_text(c, from, to));
    jsonw_end(&w);
    put_text(&w, "p", STRV("abcdef"));
    send_event(c, "contentBlockDelta", event_end(c, &w), to - from);
}

static void make_streaming(struct call *c)
{
    c->reply->stream = true;
    c->reply->content_type = STRV("application/vnd.amazon.eventstream");
    bedrock_message(&c->reply->error_event, "exception", "internalServerException",
                    STRV("{\"message\":\"The system encountered an unexpected error.\"}"));
}

static void converse_stream(struct call *c)
{
    uint64_t step = call_step(c);
    struct jsonw w;
    make_streaming(c);
    send_event(c, "messageStart", STRV("{\"p\":\"abc\",\"role\":\"assistant\"}"), 0);
    for (uint64_t at = 0; at < c->visible; at += step)
        send_delta(c, at, at + step < c->visible ? at + step : c->visible);
    send_event(c, "contentBlockStop", STRV("{\"contentBlockIndex\":0,\"p\":\"ab\"}"), 0);
    event_start(c, &w);
    put_text(&w, "stopReason", stop_reason(c));
    send_event(c, "messageStop", event_end(c, &w), 0);
    event_start(c, &w);
    jsonw_key(&w, STRV("metrics"));
    jsonw_object(&w);
    put_number(&w, "latencyMs", 12);
    jsonw_end(&w);
    if (!sim_has(c->r, "No-Usage"))
        put_usage(c, &w);
    send_event(c, "metadata", event_end(c, &w), 0);
}

/* ---- InvokeModel: Claude ---------------------------------------------------------------------- */

static void put_claude_usage(struct call *c, struct jsonw *w, uint64_t output)
{
    jsonw_key(w, STRV("usage"));
    jsonw_object(w);
    put_number(w, "input_tokens", uncached(c));
    put_number(w, "cache_creation_input_tokens",
               c->counts.cache_write_5m + c->counts.cache_write_1h);
    put_number(w, "cache_read_input_tokens", c->counts.cache_read);
    put_number(w, "output_tokens", output);
    jsonw_end(w);
}

static void put_claude_head(struct call *c, struct jsonw *w)
{
    put_text(w, "id", strv_z(c->response_id));
    put_text(w, "type", STRV("message"));
    put_text(w, "role", STRV("assistant"));
    put_text(w, "model", STRV("claude-of-bedrock"));
}

static void claude_plain(struct call *c)
{
    struct jsonw w;
    event_start(c, &w);
    put_claude_head(c, &w);
    jsonw_key(&w, STRV("content"));
    jsonw_array(&w);
    jsonw_object(&w);
    put_text(&w, "type", STRV("text"));
    put_text(&w, "text", call_text(c, 0, c->visible));
    jsonw_end(&w);
    jsonw_end(&w);
    put_text(&w, "stop_reason", stop_reason(c));
    put_null(&w, "stop_sequence");
    put_claude_usage(c, &w, c->counts.output);
    document_end(c, &w);
}

static void claude_delta(struct call *c, uint64_t from, uint64_t to)
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
    send_chunk(c, event_end(c, &w), to - from);
}

static void claude_stream(struct call *c)
{
    uint64_t step = call_step(c);
    struct jsonw w;
    make_streaming(c);
    event_start(c, &w);
    put_text(&w, "type", STRV("message_start"));
    jsonw_key(&w, STRV("message"));
    jsonw_object(&w);
    put_claude_head(c, &w);
    jsonw_key(&w, STRV("content"));
    jsonw_array(&w);
    jsonw_end(&w);
    put_null(&w, "stop_reason");
    put_null(&w, "stop_sequence");
    put_claude_usage(c, &w, 1);
    jsonw_end(&w);
    send_chunk(c, event_end(c, &w), 0);
    send_chunk(c,
               STRV("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
                    "\"text\",\"text\":\"\"}}"),
               0);
    for (uint64_t at = 0; at < c->visible; at += step)
        claude_delta(c, at, at + step < c->visible ? at + step : c->visible);
    send_chunk(c, STRV("{\"type\":\"content_block_stop\",\"index\":0}"), 0);
    event_start(c, &w);
    put_text(&w, "type", STRV("message_delta"));
    jsonw_key(&w, STRV("delta"));
    jsonw_object(&w);
    put_text(&w, "stop_reason", stop_reason(c));
    put_null(&w, "stop_sequence");
    jsonw_end(&w);
    jsonw_key(&w, STRV("usage"));
    jsonw_object(&w);
    put_number(&w, "output_tokens", c->counts.output);
    jsonw_end(&w);
    send_chunk(c, event_end(c, &w), 0);
    event_start(c, &w);
    put_text(&w, "type", STRV("message_stop"));
    put_metrics(c, &w);
    send_chunk(c, event_end(c, &w), 0);
}

/* ---- InvokeModel: a vendor that counts in headers and metrics alone ------------------------------- */

static void other_plain(struct call *c)
{
    struct jsonw w;
    reply_header(c->reply, "x-amzn-bedrock-input-token-count: %llu",
                 (unsigned long long)uncached(c));
    reply_header(c->reply, "x-amzn-bedrock-output-token-count: %llu",
                 (unsigned long long)c->counts.output);
    event_start(c, &w);
    put_text(&w, "text", call_text(c, 0, c->visible));
    put_text(&w, "finish_reason", STRV("COMPLETE"));
    document_end(c, &w);
}

static void other_stream(struct call *c)
{
    uint64_t step = call_step(c);
    struct jsonw w;
    make_streaming(c);
    for (uint64_t at = 0; at < c->visible; at += step) {
        uint64_t to = at + step < c->visible ? at + step : c->visible;
        event_start(c, &w);
        put_text(&w, "text", call_text(c, at, to));
        if (to == c->visible) {
            put_text(&w, "finish_reason", STRV("COMPLETE"));
            put_metrics(c, &w);
        }
        send_chunk(c, event_end(c, &w), to - at);
    }
}

/* ---- routes ------------------------------------------------------------------------------------------ */

bool bedrock_split(struct strv path, struct strv *model, struct strv *method)
{
    struct strv mark = STRV("/model/");
    for (size_t i = 0; i + mark.n < path.n; i++) {
        if (!strv_starts(strv_skip(path, i), mark))
            continue;
        struct strv rest = strv_skip(path, i + mark.n);
        size_t slash = strv_find(rest, '/');
        *model = strv_head(rest, slash);
        *method = strv_skip(rest, slash + 1);
        return model->n > 0 && method->n > 0;
    }
    return false;
}

/* The model as it is called: without the coding of its colons and slashes. */
static struct strv decoded(struct strv model, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < model.n && n < size; i++) {
        struct strv code = strv_head(strv_skip(model, i), 3);
        bool colon = strv_eq_nocase(code, STRV("%3a"));
        out[n++] = colon ? ':' : strv_eq_nocase(code, STRV("%2f")) ? '/' : model.p[i];
        if (out[n - 1] != model.p[i])
            i += 2;
    }
    return strv_make(out, n);
}

static uint64_t bound_of(const cJSON *json)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(json, "inferenceConfig");
    return json_number(config ? config : json, config ? "maxTokens" : "max_tokens", UINT64_MAX);
}

static void answer(struct call *c, bool converse, bool stream)
{
    bool claude = strstr(c->model, "anthropic.") != NULL;
    c->stream = stream;
    call_plan(c, count_messages(c->json) + count_json_words(cJSON_GetObjectItemCaseSensitive(
                                               c->json, "prompt")),
              bound_of(c->json));
    call_bill(c, true); /* generation runs on, whoever hangs up */
    reply_header(c->reply, "x-amzn-requestid: %s", c->request_id);
    if (converse)
        (stream ? converse_stream : converse_plain)(c);
    else if (claude)
        (stream ? claude_stream : claude_plain)(c);
    else
        (stream ? other_stream : other_plain)(c);
    for (size_t i = 0; stream && i < c->reply->n_pieces; i++)
        c->reply->pieces[i].output = 0;
}

static void count_tokens(struct call *c)
{
    const cJSON *input = cJSON_GetObjectItemCaseSensitive(c->json, "input");
    struct jsonw w;
    reply_header(c->reply, "x-amzn-requestid: %s", c->request_id);
    event_start(c, &w);
    put_number(&w, "inputTokens",
               count_messages(cJSON_GetObjectItemCaseSensitive(input, "converse")));
    document_end(c, &w);
}

bool bedrock_call(struct call *c, struct strv model, struct strv method)
{
    char name[CALL_MODEL_BYTES];
    call_model(c, decoded(model, name, sizeof(name)));
    call_ids(c, "amzn-sim-", "msg_bdrk_");
    c->endpoint = method;
    if (strv_eq(method, STRV("converse")))
        answer(c, true, false);
    else if (strv_eq(method, STRV("converse-stream")))
        answer(c, true, true);
    else if (strv_eq(method, STRV("invoke")))
        answer(c, false, false);
    else if (strv_eq(method, STRV("invoke-with-response-stream")))
        answer(c, false, true);
    else if (strv_eq(method, STRV("count-tokens")))
        count_tokens(c);
    else
        return false;
    return true;
}
