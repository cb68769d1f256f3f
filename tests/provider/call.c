#include "tests/provider/call.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "tests/provider/wire.h"

/*
 * What the answers are made of: besides plain words, bytes that a careless reader of the
 * stream stumbles over (quotes, braces, an event's own marks, several bytes a character).
 */
static const char *const VOCABULARY[] = {
    "the",        "naïve",         "gateway",
    "\"quoted\"", "\\back\\slash", "{\"usage\":{\"total_tokens\":9}}",
    "日本語",     "data:",         "[DONE]",
    "counts",     "🧮",          "every",
    "event:",     "token",         "}]}",
    "once",
};
enum { N_VOCABULARY = sizeof(VOCABULARY) / sizeof(VOCABULARY[0]) };

uint64_t count_words(struct strv text)
{
    uint64_t n = 0;
    bool inside = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        n += !blank && !inside;
        inside = !blank;
    }
    return n;
}

uint64_t count_json_words(const cJSON *string)
{
    return cJSON_IsString(string) ? count_words(strv_z(string->valuestring)) : 0;
}

uint64_t count_parts(const cJSON *content)
{
    if (!cJSON_IsArray(content))
        return count_json_words(content);
    uint64_t n = 0;
    const cJSON *part;
    cJSON_ArrayForEach(part, content)
    {
        if (cJSON_IsString(part))
            n += count_json_words(part);
        else
            n += count_json_words(cJSON_GetObjectItemCaseSensitive(part, "text"));
    }
    return n;
}

struct strv json_text(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? strv_z(item->valuestring) : STRV_NONE;
}

bool json_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

uint64_t json_number(const cJSON *object, const char *name, uint64_t otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > 1e12)
        return otherwise;
    return (uint64_t)item->valuedouble;
}

void call_init(struct call *c, struct request *r, struct reply *reply)
{
    memset(c, 0, sizeof(*c));
    c->r = r;
    c->reply = reply;
    c->created = (int64_t)time(NULL);
    buf_init(&c->text, EVENT_MAX_BYTES);
    buf_init(&c->event, EVENT_MAX_BYTES);
    struct strv newline = sim_text(r, "Newline");
    if (strv_eq(newline, STRV("crlf")))
        reply->newline = STRV("\r\n");
    if (strv_eq(newline, STRV("cr")))
        reply->newline = STRV("\r");
}

void call_free(struct call *c)
{
    buf_release(&c->text);
    buf_release(&c->event);
}

void call_model(struct call *c, struct strv asked)
{
    struct strv served = sim_text(c->r, "Served-Model");
    struct strv model = served.n ? served : asked;
    size_t n = model.n < sizeof(c->model) - 1 ? model.n : sizeof(c->model) - 1;
    if (n > 0)
        memcpy(c->model, model.p, n);
    c->model[n] = 0;
}

void call_id_digits(uint64_t number, char digits[CALL_ID_DIGITS])
{
    for (size_t i = CALL_ID_DIGITS; i-- > 0; number >>= 4)
        digits[i] = "0123456789abcdef"[number & 15];
}

void call_ids(struct call *c, const char *request_prefix, const char *response_prefix)
{
    char digits[CALL_ID_DIGITS];
    call_id_digits(books_next(), digits);
    if (request_prefix[0] != 0) /* some send no such header */
        snprintf(c->request_id, sizeof(c->request_id), "%s%.*s", request_prefix, CALL_ID_DIGITS,
                 digits);
    snprintf(c->response_id, sizeof(c->response_id), "%s%.*s", response_prefix, CALL_ID_DIGITS,
             digits);
}

void call_plan(struct call *c, uint64_t input_words, uint64_t output_bound)
{
    const struct request *r = c->r;
    uint64_t visible = sim_number(r, "Output-Tokens", OUTPUT_DEFAULT);
    uint64_t reasoning = sim_number(r, "Reasoning-Tokens", 0);
    if (visible > OUTPUT_MAX)
        visible = OUTPUT_MAX;
    uint64_t output = visible + reasoning;
    c->limited = output > output_bound;
    if (c->limited)
        output = output_bound;
    c->counts.input = sim_number(r, "Input-Tokens", input_words);
    c->counts.cache_read = sim_number(r, "Cached-Tokens", c->counts.cache_read);
    c->counts.cache_write_5m = sim_number(r, "Cache-Write-5m", c->counts.cache_write_5m);
    c->counts.cache_write_1h = sim_number(r, "Cache-Write-1h", c->counts.cache_write_1h);
    c->counts.output = output;
    c->counts.reasoning = reasoning < output ? reasoning : output;
    c->visible = output - c->counts.reasoning;
}

void call_bill(struct call *c, bool output_now)
{
    struct counts counts = c->counts;
    if (!output_now)
        counts.output = counts.reasoning; /* the thoughts come before the first word */
    c->reply->bill = books_bill(strv_z(c->request_id), strv_z(c->response_id), c->endpoint,
                                strv_z(c->model), c->stream, &counts);
}

struct strv call_text(struct call *c, uint64_t from, uint64_t to)
{
    buf_clear(&c->text);
    for (uint64_t i = from; i < to; i++) {
        if (i > 0)
            ASSERT(buf_append(&c->text, " ", 1) == RC_OK);
        ASSERT(buf_append_strv(&c->text, strv_z(VOCABULARY[i % N_VOCABULARY])) == RC_OK);
    }
    uint64_t pad = sim_number(c->r, "Pad-Bytes", 0);
    if (pad > PAD_MAX_BYTES)
        pad = PAD_MAX_BYTES;
    if (pad > 0) {
        ASSERT(buf_reserve(&c->text, (size_t)pad) == RC_OK);
        memset(buf_tail(&c->text), 'x', (size_t)pad);
        buf_commit(&c->text, (size_t)pad);
    }
    if (sim_has(c->r, "Stamp"))
        ASSERT(buf_append_strv(&c->text, strv_z(WIRE_STAMP)) == RC_OK);
    return buf_view(&c->text);
}

uint64_t call_step(const struct call *c)
{
    uint64_t n = sim_number(c->r, "Tokens-Per-Event", 1);
    return n ? n : 1;
}

void put_text(struct jsonw *w, const char *name, struct strv value)
{
    jsonw_key(w, strv_z(name));
    jsonw_string(w, value);
}

void put_number(struct jsonw *w, const char *name, uint64_t value)
{
    jsonw_key(w, strv_z(name));
    jsonw_uint(w, value);
}

void put_null(struct jsonw *w, const char *name)
{
    jsonw_key(w, strv_z(name));
    jsonw_null(w);
}

void event_start(struct call *c, struct jsonw *w)
{
    buf_clear(&c->event);
    jsonw_start(w, &c->event);
    jsonw_object(w);
}

struct strv event_end(struct call *c, struct jsonw *w)
{
    jsonw_end(w);
    ASSERT(jsonw_finish(w) == RC_OK);
    return buf_view(&c->event);
}

void document_end(struct call *c, struct jsonw *w)
{
    struct strv json = event_end(c, w);
    ASSERT(buf_append_strv(&c->reply->body, json) == RC_OK);
    reply_piece(c->reply, 0, true);
}

void send_sse(struct call *c, struct strv name, struct strv json, uint64_t output)
{
    reply_sse(c->reply, &c->reply->body, name, json);
    reply_piece(c->reply, (uint32_t)output, true);
}
