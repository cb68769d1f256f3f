#include "tests/provider/refusal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "tests/provider/books.h"

struct wording {
    int status;
    const char *openai; /* type, also the code */
    const char *anthropic;
    const char *gemini;
    const char *bedrock;
};

static const struct wording WORDINGS[] = {
    {400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT", "Validation"},
    {401, "invalid_api_key", "authentication_error", "UNAUTHENTICATED", "UnrecognizedClient"},
    {402, "insufficient_quota", "billing_error", "RESOURCE_EXHAUSTED", "ServiceQuotaExceeded"},
    {403, "permission_denied", "permission_error", "PERMISSION_DENIED", "AccessDenied"},
    {404, "not_found", "not_found_error", "NOT_FOUND", "ResourceNotFound"},
    {408, "timeout", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeout"},
    {413, "request_too_large", "request_too_large", "INVALID_ARGUMENT", "Validation"},
    {429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED", "Throttling"},
    {500, "server_error", "api_error", "INTERNAL", "InternalServer"},
    {502, "server_error", "api_error", "UNAVAILABLE", "ServiceUnavailable"},
    {503, "server_error", "overloaded_error", "UNAVAILABLE", "ServiceUnavailable"},
    {504, "server_error", "timeout_error", "DEADLINE_EXCEEDED", "ModelTimeout"},
    {529, "server_error", "overloaded_error", "UNAVAILABLE", "ServiceUnavailable"},
};
enum { N_WORDINGS = sizeof(WORDINGS) / sizeof(WORDINGS[0]) };

static const struct wording *wording_of(int status)
{
    for (size_t i = 0; i < N_WORDINGS; i++)
        if (WORDINGS[i].status == status)
            return &WORDINGS[i];
    return status < 500 ? &WORDINGS[0] : &WORDINGS[8];
}

static void key_text(struct jsonw *w, struct strv key, struct strv value)
{
    jsonw_key(w, key);
    jsonw_string(w, value);
}

static struct strv or_else(struct strv asked, const char *otherwise)
{
    return asked.n ? asked : strv_z(otherwise);
}

static void write_openai(struct jsonw *w, const struct request *r, const struct wording *word,
                         struct strv message)
{
    bool of_request = word->status == 401 || word->status == 404;
    jsonw_key(w, STRV("error"));
    jsonw_object(w);
    key_text(w, STRV("message"), message);
    key_text(w, STRV("type"),
             or_else(sim_text(r, "Error-Type"),
                     of_request ? "invalid_request_error" : word->openai));
    jsonw_key(w, STRV("param"));
    jsonw_null(w);
    key_text(w, STRV("code"), or_else(sim_text(r, "Error-Code"), word->openai));
    jsonw_end(w);
}

static void write_anthropic(struct jsonw *w, const struct request *r,
                            const struct wording *word, struct strv message, struct strv id)
{
    key_text(w, STRV("type"), STRV("error"));
    jsonw_key(w, STRV("error"));
    jsonw_object(w);
    key_text(w, STRV("type"), or_else(sim_text(r, "Error-Type"), word->anthropic));
    key_text(w, STRV("message"), message);
    jsonw_end(w);
    key_text(w, STRV("request_id"), id);
}

static void write_gemini(struct jsonw *w, const struct request *r, const struct wording *word,
                         int status, struct strv message)
{
    struct strv after = sim_text(r, "Retry-After");
    jsonw_key(w, STRV("error"));
    jsonw_object(w);
    jsonw_key(w, STRV("code"));
    jsonw_int(w, status);
    key_text(w, STRV("message"), message);
    key_text(w, STRV("status"), or_else(sim_text(r, "Error-Type"), word->gemini));
    if (after.n > 0) {
        char delay[32];
        snprintf(delay, sizeof(delay), STRV_FMT "s", STRV_ARG(after));
        jsonw_key(w, STRV("details"));
        jsonw_array(w);
        jsonw_object(w);
        key_text(w, STRV("@type"), STRV("type.googleapis.com/google.rpc.RetryInfo"));
        key_text(w, STRV("retryDelay"), strv_z(delay));
        jsonw_end(w);
        jsonw_end(w);
    }
    jsonw_end(w);
}

void refuse(struct reply *reply, const struct request *r, enum dialect dialect, int status,
            struct strv message)
{
    const struct wording *word = wording_of(status);
    char id[BOOKS_ID_BYTES];
    struct jsonw w;
    reply_clear(reply);
    reply->status = status;
    snprintf(id, sizeof(id), "req_sim_%012" PRIx64, books_next());
    struct strv said = sim_text(r, "Error-Message");
    if (said.n > 0)
        message = said;
    jsonw_start(&w, &reply->body);
    jsonw_object(&w);
    switch (dialect) {
    case DIALECT_OPENAI:
    case DIALECT_RESPONSES:
        reply_header(reply, "x-request-id: %s", id);
        write_openai(&w, r, word, message);
        break;
    case DIALECT_ANTHROPIC:
        reply_header(reply, "request-id: %s", id);
        write_anthropic(&w, r, word, message, strv_z(id));
        break;
    case DIALECT_GEMINI:
        write_gemini(&w, r, word, status, message);
        break;
    case DIALECT_BEDROCK:
        reply_header(reply, "x-amzn-requestid: %s", id);
        reply_header(reply, "x-amzn-errortype: %sException:http://internal.amazon.com/coral/",
                     word->bedrock);
        key_text(&w, STRV("message"), message);
        break;
    }
    struct strv after = sim_text(r, "Retry-After");
    if (after.n > 0 && dialect != DIALECT_GEMINI)
        reply_header(reply, "retry-after: " STRV_FMT, STRV_ARG(after));
    jsonw_end(&w);
    ASSERT(jsonw_finish(&w) == RC_OK);
    reply_piece(reply, 0, true);
}

void refuse_in_stream(struct reply *reply, enum dialect dialect)
{
    struct buf *out = &reply->error_event;
    switch (dialect) {
    case DIALECT_OPENAI:
        reply_sse(reply, out, STRV_NONE,
                  STRV("{\"error\":{\"message\":\"The server had an error while processing "
                       "your request.\",\"type\":\"server_error\",\"param\":null,"
                       "\"code\":\"server_error\"}}"));
        break;
    case DIALECT_RESPONSES:
        reply_sse(reply, out, STRV("error"),
                  STRV("{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"The server "
                       "had an error.\",\"param\":null,\"sequence_number\":99}"));
        break;
    case DIALECT_ANTHROPIC:
        reply_sse(reply, out, STRV("error"),
                  STRV("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                       "\"message\":\"Overloaded\"}}"));
        break;
    case DIALECT_GEMINI:
        reply_sse(reply, out, STRV_NONE,
                  STRV("{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\","
                       "\"status\":\"UNAVAILABLE\"}}"));
        break;
    case DIALECT_BEDROCK: /* a frame, which its own file makes */
        break;
    }
}
