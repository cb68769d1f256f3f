#include "tests/provider/endpoint.h"

#include "base/check.h"
#include "tests/provider/anthropic.h"
#include "tests/provider/bedrock.h"
#include "tests/provider/books.h"
#include "tests/provider/call.h"
#include "tests/provider/gemini.h"
#include "tests/provider/memo.h"
#include "tests/provider/openai.h"
#include "tests/provider/refusal.h"
#include "tests/provider/replay.h"
#include "tests/provider/video.h"

static bool is_secret(const struct settings *settings, struct strv key)
{
    for (size_t i = 0; i < settings->n_secrets; i++)
        if (strv_eq(key, strv_z(settings->secrets[i])))
            return true;
    return settings->n_secrets == 0;
}

static struct strv bearer(const struct request *r)
{
    struct strv value = request_header(r, STRV("authorization"));
    struct strv prefix = STRV("Bearer ");
    return strv_starts_nocase(value, prefix) ? strv_skip(value, prefix.n) : STRV_NONE;
}

/* The credential where the dialect wants it. */
static struct strv credential(const struct request *r, enum dialect dialect)
{
    struct strv key = STRV_NONE;
    if (dialect == DIALECT_ANTHROPIC)
        key = request_header(r, STRV("x-api-key"));
    if (dialect == DIALECT_GEMINI) {
        key = request_header(r, STRV("x-goog-api-key"));
        if (key.n == 0)
            key = request_parameter(r, STRV("key"));
    }
    if (dialect == DIALECT_OPENAI) /* Azure */
        key = request_header(r, STRV("api-key"));
    return key.n ? key : bearer(r);
}

/* A recording may be of any provider: its key stands where that one takes it. */
static struct strv any_credential(const struct request *r)
{
    static const char *const HEADERS[] = {"x-api-key", "api-key", "x-goog-api-key"};
    struct strv key = bearer(r);
    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]) && key.n == 0; i++)
        key = request_header(r, strv_z(HEADERS[i]));
    return key;
}

/* Signed by an account; a bearer or key is looked at elsewhere. */
static bool is_signed(const struct settings *settings, const struct request *r)
{
    for (size_t i = 0; i < settings->n_accounts; i++)
        if (sigv4_is_good(r, &settings->accounts[i]))
            return true;
    return false;
}

/* "M" and "method" of ".../models/M:method". */
static bool split_model_method(struct strv path, struct strv *model, struct strv *method)
{
    struct strv mark = STRV("/models/");
    for (size_t i = 0; i + mark.n < path.n; i++) {
        if (!strv_starts(strv_skip(path, i), mark))
            continue;
        struct strv rest = strv_skip(path, i + mark.n);
        size_t colon = strv_find(rest, ':');
        *model = strv_head(rest, colon);
        *method = strv_skip(rest, colon + 1);
        return model->n > 0 && method->n > 0;
    }
    return false;
}

static enum dialect dialect_of(const struct request *r)
{
    struct strv model;
    struct strv method;
    if (bedrock_split(r->path, &model, &method))
        return DIALECT_BEDROCK;
    if (split_model_method(r->path, &model, &method) && strv_ends(method, STRV("awPredict")))
        return DIALECT_ANTHROPIC;
    if (strv_ends(r->path, STRV("/messages")) || strv_ends(r->path, STRV("/count_tokens")) ||
        request_header(r, STRV("anthropic-version")).n > 0)
        return DIALECT_ANTHROPIC;
    if (split_model_method(r->path, &model, &method) ||
        request_header(r, STRV("x-goog-api-key")).n > 0 ||
        strv_starts(r->path, STRV("/v1beta/")))
        return DIALECT_GEMINI;
    return DIALECT_OPENAI;
}

struct route {
    const char *method;
    const char *suffix;
    void (*answer)(struct call *);
};

static const struct route ROUTES[] = {
    {"POST", "/chat/completions", openai_chat},
    {"POST", "/completions", openai_completions},
    {"POST", "/embeddings", openai_embeddings},
    {"POST", "/responses", openai_responses},
    {"POST", "/messages", anthropic_messages},
    {"POST", "/messages/count_tokens", anthropic_count_tokens},
};
enum { N_ROUTES = sizeof(ROUTES) / sizeof(ROUTES[0]) };

static bool answer_models(struct call *c, enum dialect dialect)
{
    bool read = strv_eq(c->r->method, STRV("GET")) || strv_eq(c->r->method, STRV("HEAD"));
    if (!read || !strv_ends(c->r->path, STRV("/models")))
        return false;
    switch (dialect) {
    case DIALECT_OPENAI:
    case DIALECT_RESPONSES:
    case DIALECT_BEDROCK:
        openai_models(c);
        break;
    case DIALECT_ANTHROPIC:
        anthropic_models(c);
        break;
    case DIALECT_GEMINI:
        gemini_models(c);
        break;
    }
    return true;
}

static void route(struct call *c, enum dialect dialect)
{
    struct request *r = c->r;
    struct strv model;
    struct strv method;
    if (answer_models(c, dialect))
        return;
    c->json = request_json(r);
    if ((dialect == DIALECT_OPENAI && openai_videos(c)) || gemini_operation(c))
        return;
    if (c->json == NULL && strv_eq(r->method, STRV("POST"))) {
        refuse(c->reply, r, dialect, 400, STRV("the body is not JSON"));
        return;
    }
    if (dialect == DIALECT_BEDROCK && bedrock_split(r->path, &model, &method)) {
        if (!bedrock_call(c, model, method))
            refuse(c->reply, r, dialect, 404, STRV("no such operation"));
        return;
    }
    if (dialect == DIALECT_ANTHROPIC && split_model_method(r->path, &model, &method)) {
        anthropic_predict(c, model, method);
        return;
    }
    if (dialect == DIALECT_GEMINI && split_model_method(r->path, &model, &method)) {
        if (!gemini_call(c, model, method))
            refuse(c->reply, r, dialect, 404, STRV("no such method"));
        return;
    }
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (strv_eq(r->method, strv_z(ROUTES[i].method)) &&
            strv_ends(r->path, strv_z(ROUTES[i].suffix))) {
            ROUTES[i].answer(c);
            return;
        }
    }
    refuse(c->reply, r, dialect, 404, STRV("unknown request URL"));
}

/* The status that the request asks to be refused with, or 0. */
static int asked_status(const struct request *r)
{
    uint64_t status = sim_number(r, "Status", 0);
    uint64_t below = sim_number(r, "Status-Below-Attempt", UINT64_MAX);
    uint64_t attempt = 0;
    if (!strv_parse_u64(request_header(r, STRV("x-stainless-retry-count")), 1000, &attempt))
        attempt = 0;
    return status >= 400 && status < 600 && attempt < below ? (int)status : 0;
}

void endpoint_answer(const struct settings *settings, struct memo *memo, struct request *r,
                     struct reply *reply)
{
    enum dialect dialect = dialect_of(r);
    struct strv replay = sim_text(r, "Replay");
    struct strv key = replay.n > 0 ? any_credential(r) : credential(r, dialect);
    if (!is_secret(settings, key) && !is_signed(settings, r)) {
        books_denied();
        refuse(reply, r, dialect, 401, STRV("Incorrect API key provided."));
        return;
    }
    int status = asked_status(r);
    if (status != 0) {
        refuse(reply, r, dialect, status, STRV("as the request asked"));
        return;
    }
    if (replay.n > 0) {
        if (settings->replay_dir == NULL || !replay_answer(settings->replay_dir, replay, reply))
            refuse(reply, r, dialect, 404, STRV("no such recording"));
        return;
    }
    if (dialect == DIALECT_OPENAI && memo_answer(memo, r, reply))
        return;
    struct call call;
    call_init(&call, r, reply);
    route(&call, dialect);
    if (dialect == DIALECT_OPENAI)
        memo_keep(memo, &call);
    call_free(&call);
}

bool endpoint_lets_in(const struct settings *settings, const struct request *r)
{
    return is_secret(settings, any_credential(r));
}

bool endpoint_is_control(const struct request *r)
{
    return strv_starts(r->path, STRV("/_sim/"));
}

void endpoint_control(const struct request *r, struct reply *reply)
{
    uint64_t last = UINT64_MAX;
    struct strv asked = request_parameter(r, STRV("last"));
    if (asked.n > 0 && !strv_parse_u64(asked, UINT32_MAX, &last))
        last = UINT64_MAX;
    if (strv_eq(r->path, STRV("/_sim/totals"))) {
        books_write_totals(&reply->body);
    } else if (strv_eq(r->path, STRV("/_sim/billed"))) {
        reply->content_type = STRV("application/x-ndjson");
        books_write_billed(&reply->body);
    } else if (strv_eq(r->path, STRV("/_sim/requests"))) {
        books_write_requests(&reply->body, last);
    } else if (strv_eq(r->path, STRV("/_sim/reset")) && strv_eq(r->method, STRV("POST"))) {
        books_reset();
        anthropic_reset();
        ASSERT(buf_append_strv(&reply->body, STRV("{}")) == RC_OK);
    } else {
        reply->status = 404;
        ASSERT(buf_append_strv(&reply->body, STRV("{}")) == RC_OK);
    }
    reply_piece(reply, 0, true);
}
