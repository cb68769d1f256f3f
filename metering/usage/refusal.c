/*
 * The gateway's own refusals, in the error shape of each protocol, so that every
 * SDK raises its own exception class.
 */
#include "metering/usage/refusal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/jsonw.h"

static const struct {
    const char *code;
    int status;
} REFUSAL[REFUSAL_COUNT] = {
#define REFUSAL_ROW(id, status, code) [id] = {code, status},
    REFUSALS(REFUSAL_ROW)
#undef REFUSAL_ROW
};

#define AWS(name) name "Exception", "x-amzn-errortype: " name "Exception\r\n"

#define BAD_REQUEST                                                                            \
    {                                                                                          \
        "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT",                  \
            AWS("Validation")                                                                  \
    }
#define FORBIDDEN                                                                              \
    {                                                                                          \
        "invalid_request_error", "permission_error", "PERMISSION_DENIED", AWS("AccessDenied")  \
    }
#define UNAVAILABLE                                                                            \
    {                                                                                          \
        "server_error", "overloaded_error", "UNAVAILABLE", AWS("ServiceUnavailable")           \
    }

static const struct refusal_class CLASS[REFUSAL_COUNT] = {
    [REFUSE_INVALID_TAG] = BAD_REQUEST,
    [REFUSE_MISSING_TAG] = BAD_REQUEST,
    [REFUSE_BAD_REQUEST] = BAD_REQUEST,
    [REFUSE_INVALID_KEY] = {"invalid_request_error", "authentication_error", "UNAUTHENTICATED",
                            AWS("UnrecognizedClient")},
    [REFUSE_BUDGET_EXHAUSTED] = {"insufficient_quota", "billing_error", "RESOURCE_EXHAUSTED",
                                 AWS("ServiceQuotaExceeded")},
    [REFUSE_MODEL_NOT_ALLOWED] = FORBIDDEN,
    [REFUSE_TAG_NOT_ALLOWED] = FORBIDDEN,
    [REFUSE_ENDPOINT_NOT_ALLOWED] = FORBIDDEN,
    [REFUSE_MODEL_NOT_PRICED] = FORBIDDEN,
    [REFUSE_UNKNOWN_UPSTREAM] = {"invalid_request_error", "not_found_error", "NOT_FOUND",
                                 AWS("ResourceNotFound")},
    [REFUSE_REQUEST_TIMEOUT] = {"invalid_request_error", "timeout_error", "DEADLINE_EXCEEDED",
                                AWS("ModelTimeout")},
    [REFUSE_BODY_TOO_LARGE] = {"invalid_request_error", "request_too_large", "INVALID_ARGUMENT",
                               AWS("Validation")},
    [REFUSE_HEADERS_TOO_LARGE] = BAD_REQUEST,
    [REFUSE_RATE_LIMITED] = {"rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED",
                             AWS("Throttling")},
    [REFUSE_UPSTREAM_UNREACHABLE] = {"server_error", "api_error", "UNAVAILABLE",
                                     AWS("ServiceUnavailable")},
    [REFUSE_UPSTREAM_TIMEOUT] = {"server_error", "timeout_error", "DEADLINE_EXCEEDED",
                                 AWS("ModelTimeout")},
    [REFUSE_DRAINING] = UNAVAILABLE,
    [REFUSE_OVERLOADED] = UNAVAILABLE,
    [REFUSE_COUNTERS_UNAVAILABLE] = UNAVAILABLE,
};

/* The status that Bedrock's SDKs do not retry for a quota that is used up. */
enum { BEDROCK_QUOTA_STATUS = 400 };

const char *refusal_code(enum refusal r)
{
    return REFUSAL[r].code;
}

int refusal_status(enum refusal r)
{
    return REFUSAL[r].status;
}

const struct refusal_class *refusal_class(enum refusal r)
{
    return &CLASS[r];
}

static void member(struct jsonw *w, struct strv key, struct strv value)
{
    jsonw_key(w, key);
    jsonw_string(w, value);
}

static void write_openai(struct jsonw *w, enum refusal r, struct strv message)
{
    jsonw_key(w, STRV("error"));
    jsonw_object(w);
    member(w, STRV("message"), message);
    member(w, STRV("type"), strv_z(CLASS[r].openai));
    jsonw_key(w, STRV("param"));
    jsonw_null(w);
    member(w, STRV("code"), strv_z(refusal_code(r)));
    jsonw_end(w);
}

/* An error event of the responses API: its members stand at the top. */
static void write_responses(struct jsonw *w, enum refusal r, struct strv message)
{
    member(w, STRV("type"), STRV("error"));
    member(w, STRV("code"), strv_z(refusal_code(r)));
    member(w, STRV("message"), message);
    jsonw_key(w, STRV("param"));
    jsonw_null(w);
    jsonw_key(w, STRV("sequence_number"));
    jsonw_uint(w, 0);
}

static void write_anthropic(struct jsonw *w, enum refusal r, struct strv message,
                            struct strv request_id)
{
    member(w, STRV("type"), STRV("error"));
    jsonw_key(w, STRV("error"));
    jsonw_object(w);
    member(w, STRV("type"), strv_z(CLASS[r].anthropic));
    member(w, STRV("message"), message);
    jsonw_key(w, STRV("details"));
    jsonw_object(w);
    member(w, STRV("error_code"), strv_z(refusal_code(r)));
    jsonw_end(w);
    jsonw_end(w);
    if (request_id.n > 0)
        member(w, STRV("request_id"), request_id);
}

/* google.rpc.RetryInfo: whole seconds, or thousandths. */
static void write_retry_info(struct jsonw *w, int64_t retry_ms)
{
    char delay[32];
    int n = snprintf(delay, sizeof(delay), "%" PRId64, retry_ms / 1000);

    if (retry_ms % 1000 != 0)
        n += snprintf(delay + n, sizeof(delay) - (size_t)n, ".%03d", (int)(retry_ms % 1000));
    (void)snprintf(delay + n, sizeof(delay) - (size_t)n, "s");
    jsonw_object(w);
    member(w, STRV("@type"), STRV("type.googleapis.com/google.rpc.RetryInfo"));
    member(w, STRV("retryDelay"), strv_z(delay));
    jsonw_end(w);
}

static void write_google(struct jsonw *w, enum refusal r, struct strv message, int64_t retry_ms)
{
    jsonw_key(w, STRV("error"));
    jsonw_object(w);
    jsonw_key(w, STRV("code"));
    jsonw_int(w, refusal_status(r));
    member(w, STRV("message"), message);
    member(w, STRV("status"), strv_z(CLASS[r].google));
    jsonw_key(w, STRV("details"));
    jsonw_array(w);
    jsonw_object(w);
    member(w, STRV("@type"), STRV("type.googleapis.com/google.rpc.ErrorInfo"));
    member(w, STRV("reason"), strv_z(refusal_code(r)));
    member(w, STRV("domain"), STRV("tollgate"));
    jsonw_end(w);
    if (retry_ms > 0)
        write_retry_info(w, retry_ms);
    jsonw_end(w);
    jsonw_end(w);
}

static void write_mistral(struct jsonw *w, enum refusal r, struct strv message)
{
    member(w, STRV("object"), STRV("error"));
    member(w, STRV("message"), message);
    member(w, STRV("type"), strv_z(CLASS[r].openai));
    jsonw_key(w, STRV("param"));
    jsonw_null(w);
    member(w, STRV("code"), strv_z(refusal_code(r)));
}

/* The end of a stream of Cohere's chat, whose delta says why. */
static void write_cohere_event(struct jsonw *w, struct strv message)
{
    member(w, STRV("type"), STRV("message-end"));
    jsonw_key(w, STRV("delta"));
    jsonw_object(w);
    member(w, STRV("finish_reason"), STRV("ERROR"));
    member(w, STRV("error"), message);
    jsonw_end(w);
}

static void write_elevenlabs(struct jsonw *w, enum refusal r, struct strv message,
                             struct strv request_id)
{
    jsonw_key(w, STRV("detail"));
    jsonw_object(w);
    member(w, STRV("type"), strv_z(CLASS[r].anthropic));
    member(w, STRV("code"), strv_z(refusal_code(r)));
    member(w, STRV("status"), strv_z(refusal_code(r)));
    member(w, STRV("message"), message);
    if (request_id.n > 0)
        member(w, STRV("request_id"), request_id);
    jsonw_end(w);
}

static void write_deepgram(struct jsonw *w, enum refusal r, struct strv message,
                           struct strv request_id)
{
    member(w, STRV("err_code"), strv_z(refusal_code(r)));
    member(w, STRV("err_msg"), message);
    if (request_id.n > 0)
        member(w, STRV("request_id"), request_id);
}

void refusal_write(struct jsonw *w, enum error_shape shape, enum refusal r, struct strv message,
                   struct strv request_id, int64_t retry_ms)
{
    jsonw_object(w);
    switch (shape) {
    case SHAPE_OPENAI:
        write_openai(w, r, message);
        break;
    case SHAPE_RESPONSES:
        write_responses(w, r, message);
        break;
    case SHAPE_ANTHROPIC:
        write_anthropic(w, r, message, request_id);
        break;
    case SHAPE_GOOGLE:
        write_google(w, r, message, retry_ms);
        break;
    case SHAPE_BEDROCK:
        member(w, STRV("message"), message);
        member(w, STRV("__type"), strv_z(CLASS[r].bedrock));
        break;
    case SHAPE_COHERE:
        if (request_id.n > 0)
            member(w, STRV("id"), request_id);
        member(w, STRV("message"), message);
        break;
    case SHAPE_COHERE_EVENT:
        write_cohere_event(w, message);
        break;
    case SHAPE_MISTRAL:
        write_mistral(w, r, message);
        break;
    case SHAPE_OLLAMA:
        member(w, STRV("error"), message);
        break;
    case SHAPE_DASHSCOPE:
        member(w, STRV("code"), strv_z(refusal_code(r)));
        member(w, STRV("message"), message);
        if (request_id.n > 0)
            member(w, STRV("request_id"), request_id);
        break;
    case SHAPE_ELEVENLABS:
        write_elevenlabs(w, r, message, request_id);
        break;
    case SHAPE_DEEPGRAM:
        write_deepgram(w, r, message, request_id);
        break;
    case SHAPE_ASSEMBLYAI:
        member(w, STRV("error"), message);
        member(w, STRV("code"), strv_z(refusal_code(r)));
        break;
    }
    jsonw_end(w);
}

enum rc protocol_refusal(const struct protocol *p, const struct route *route, enum refusal r,
                         struct strv message, struct strv request_id, int64_t retry_ms,
                         struct buf *body, struct refusal_shape *shape)
{
    enum error_shape errors = shape_of(p, route, false);
    struct jsonw w;

    *shape = (struct refusal_shape){
        .status = refusal_status(r), .content_type = "application/json", .extra_header = ""};
    if (errors == SHAPE_BEDROCK) {
        shape->extra_header = CLASS[r].bedrock_header;
        if (r == REFUSE_BUDGET_EXHAUSTED)
            shape->status = BEDROCK_QUOTA_STATUS;
    }
    jsonw_start(&w, body);
    refusal_write(&w, errors, r, message, request_id, retry_ms);
    return jsonw_finish(&w);
}
