/*
 * Amazon Bedrock: Converse, and InvokeModel with whatever the model's vendor answers
 * (Claude alone has a reader of its own).  Converse and Bedrock's own figures (headers,
 * amazon-bedrock-invocationMetrics) count input without what the cache took; OpenAI's models
 * count it with.  Where Bedrock gives figures besides the vendor's, they hold: they are billed.
 */
#include "metering/usage/reader.h"

#include <string.h>

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_MESSAGE,
    N_MODEL,
    N_ERROR,
    N_STOP,
    N_STOP_OBJECT,
    N_DELTA,
    N_BLOCK,
    N_CONTENT,
    N_RESULT,
    N_CHOICE,
    N_END,
    N_TIER_OBJECT,
    N_TIER,
    N_LATENCY_OBJECT,
    N_LATENCY,
    N_TRACE,
    N_ROUTER,
    N_INVOKED,
    N_USAGE,
    N_IN_DETAILS,
    N_OUT_DETAILS,
    N_CREATION,
    N_WRITES,
    N_WRITE,
    N_WRITE_TTL,
    N_WRITE_TOKENS,
    N_METRICS,
    N_GUARD, /* of a trace, and all inside */
    N_GUARD_USAGE,
    N_EVENT, /* Nova Sonic's, and what follows to N_SPEECH_OUT */
    N_STARTED,
    N_SPEECH,
    N_SPEECH_DETAILS,
    N_SPEECH_TOTAL,
    N_SPEECH_IN,
    N_SPEECH_OUT,
    N_RAW,
    N_METERED = N_RAW + RAW_COUNT,
    N_POLICY = N_METERED + RAW_COUNT,
    N_COUNT = N_POLICY + GUARD_COUNT,
};

/* All input, that of the cache included, as OpenAI's models count it. */
#define RAW_PROMPT RAW_TOTAL

#define MESSAGE_EDGES                                                                          \
    JSCAN_EDGE("usage", N_USAGE), JSCAN_EDGE("model", N_MODEL),                                \
        JSCAN_EDGE("content", N_BLOCK), JSCAN_EDGE("stop_reason", N_STOP),                     \
        JSCAN_EDGE("stopReason", N_STOP), JSCAN_EDGE("finish_reason", N_STOP),                 \
        JSCAN_EDGE("text", N_CONTENT)

static const struct jscan_edge ROOT_EDGES[] = {
    MESSAGE_EDGES,
    /* Converse: plain, and its events; Nova's own events, each in a member of its name */
    JSCAN_EDGE("output", N_MESSAGE),
    JSCAN_EDGE("delta", N_DELTA),
    JSCAN_EDGE("metrics", N_END),
    JSCAN_EDGE("serviceTier", N_TIER_OBJECT),
    JSCAN_EDGE("performanceConfig", N_LATENCY_OBJECT),
    JSCAN_EDGE("trace", N_TRACE),
    JSCAN_EDGE("contentBlockDelta", N_MESSAGE),
    JSCAN_EDGE("messageStop", N_MESSAGE),
    JSCAN_EDGE("metadata", N_MESSAGE),
    /* InvokeModel */
    JSCAN_EDGE("amazon-bedrock-invocationMetrics", N_METRICS),
    JSCAN_EDGE("amazon-bedrock-trace", N_TRACE),
    JSCAN_EDGE("message", N_MESSAGE),
    JSCAN_EDGE("completion", N_CONTENT),
    JSCAN_EDGE("generation", N_CONTENT),
    JSCAN_EDGE("prompt_token_count", N_RAW + RAW_INPUT),
    JSCAN_EDGE("generation_token_count", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("outputText", N_CONTENT),
    JSCAN_EDGE("inputTextTokenCount", N_RAW + RAW_INPUT),
    JSCAN_EDGE("totalOutputTextTokenCount", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("completionReason", N_STOP),
    JSCAN_EDGE("results", N_RESULT),
    JSCAN_EDGE("generations", N_RESULT),
    JSCAN_EDGE("outputs", N_RESULT),
    JSCAN_EDGE("completions", N_RESULT),
    JSCAN_EDGE("choices", N_CHOICE),
    JSCAN_EDGE("error", N_ERROR),
    /* Nova Sonic, both ways at once: an object of one member, named by what it is */
    JSCAN_EDGE("event", N_EVENT),
};
static const struct jscan_edge MESSAGE_ONLY_EDGES[] = {
    MESSAGE_EDGES,
    JSCAN_EDGE("message", N_MESSAGE),
    JSCAN_EDGE("delta", N_DELTA),
    JSCAN_EDGE("metrics", N_END),
    JSCAN_EDGE("trace", N_TRACE),
};
static const struct jscan_edge DELTA_EDGES[] = {
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("content", N_CONTENT),
    JSCAN_EDGE("thinking", N_CONTENT),
    JSCAN_EDGE("partial_json", N_CONTENT),
    JSCAN_EDGE("reasoning_content", N_CONTENT),
    JSCAN_EDGE("reasoningContent", N_BLOCK),
    JSCAN_EDGE("toolUse", N_BLOCK),
    JSCAN_EDGE("stop_reason", N_STOP),
};
static const struct jscan_edge BLOCK_EDGES[] = {
    JSCAN_EDGE("text", N_CONTENT),           JSCAN_EDGE("thinking", N_CONTENT),
    JSCAN_EDGE("input", N_CONTENT),          JSCAN_EDGE("toolUse", N_BLOCK),
    JSCAN_EDGE("reasoningContent", N_BLOCK), JSCAN_EDGE("reasoningText", N_BLOCK),
};
static const struct jscan_edge RESULT_EDGES[] = {
    JSCAN_EDGE("tokenCount", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("outputText", N_CONTENT),
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("data", N_RESULT),
    JSCAN_EDGE("completionReason", N_STOP),
    JSCAN_EDGE("finish_reason", N_STOP),
    JSCAN_EDGE("stop_reason", N_STOP),
    JSCAN_EDGE("finishReason", N_STOP_OBJECT),
};
static const struct jscan_edge STOP_OBJECT_EDGES[] = {JSCAN_EDGE("reason", N_STOP)};
static const struct jscan_edge CHOICE_EDGES[] = {
    JSCAN_EDGE("message", N_DELTA),    JSCAN_EDGE("delta", N_DELTA),
    JSCAN_EDGE("text", N_CONTENT),     JSCAN_EDGE("finish_reason", N_STOP),
    JSCAN_EDGE("stop_reason", N_STOP),
};
static const struct jscan_edge TIER_EDGES[] = {JSCAN_EDGE("type", N_TIER)};
static const struct jscan_edge LATENCY_EDGES[] = {JSCAN_EDGE("latency", N_LATENCY)};
static const struct jscan_edge TRACE_EDGES[] = {JSCAN_EDGE("promptRouter", N_ROUTER),
                                                JSCAN_EDGE("guardrail", N_GUARD)};
static const struct jscan_edge GUARD_EDGES[] = {JSCAN_EDGE("usage", N_GUARD_USAGE)};
static const struct jscan_edge GUARD_USAGE_EDGES[] = {
#define GUARD_EDGE(id, member, model) JSCAN_EDGE(member, N_POLICY + (id)),
    GUARD_POLICIES(GUARD_EDGE)
#undef GUARD_EDGE
};
static const struct jscan_edge ROUTER_EDGES[] = {JSCAN_EDGE("invokedModelId", N_INVOKED)};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("inputTokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("outputTokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("cacheReadInputTokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cacheReadInputTokenCount", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cacheWriteInputTokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cacheWriteInputTokenCount", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cacheDetails", N_WRITES),
    JSCAN_EDGE("input_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("cache_read_input_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_creation_input_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_creation", N_CREATION),
    JSCAN_EDGE("prompt_tokens", N_RAW + RAW_PROMPT),
    JSCAN_EDGE("completion_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("prompt_tokens_details", N_IN_DETAILS),
    JSCAN_EDGE("completion_tokens_details", N_OUT_DETAILS),
    JSCAN_EDGE("output_tokens_details", N_OUT_DETAILS),
};
static const struct jscan_edge IN_DETAILS_EDGES[] = {
    JSCAN_EDGE("cached_tokens", N_RAW + RAW_CACHED)};
static const struct jscan_edge OUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("reasoning_tokens", N_RAW + RAW_REASONING),
    JSCAN_EDGE("thinking_tokens", N_RAW + RAW_REASONING),
};
static const struct jscan_edge CREATION_EDGES[] = {
    JSCAN_EDGE("ephemeral_5m_input_tokens", N_RAW + RAW_WRITE_5M),
    JSCAN_EDGE("ephemeral_1h_input_tokens", N_RAW + RAW_WRITE_1H),
};
static const struct jscan_edge WRITE_EDGES[] = {
    JSCAN_EDGE("ttl", N_WRITE_TTL),
    JSCAN_EDGE("inputTokens", N_WRITE_TOKENS),
};
static const struct jscan_edge METRICS_EDGES[] = {
    JSCAN_EDGE("inputTokenCount", N_METERED + RAW_INPUT),
    JSCAN_EDGE("outputTokenCount", N_METERED + RAW_OUTPUT),
    JSCAN_EDGE("cacheReadInputTokenCount", N_METERED + RAW_CACHED),
    JSCAN_EDGE("cacheWriteInputTokenCount", N_METERED + RAW_WRITE),
};

/* Sums of the whole session, each time anew; what was added since stands beside `total`. */
static const struct jscan_edge EVENT_EDGES[] = {
    JSCAN_EDGE("usageEvent", N_SPEECH),
    JSCAN_EDGE("completionStart", N_STARTED),
    JSCAN_EDGE("completionEnd", N_END),
};
static const struct jscan_edge SPEECH_EDGES[] = {
    JSCAN_EDGE("totalInputTokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("totalOutputTokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("details", N_SPEECH_DETAILS),
};
static const struct jscan_edge SPEECH_DETAILS_EDGES[] = {
    JSCAN_EDGE("total", N_SPEECH_TOTAL)};
static const struct jscan_edge SPEECH_TOTAL_EDGES[] = {
    JSCAN_EDGE("input", N_SPEECH_IN),
    JSCAN_EDGE("output", N_SPEECH_OUT),
};
static const struct jscan_edge SPEECH_IN_EDGES[] = {
    JSCAN_EDGE("speechTokens", N_RAW + RAW_IN_AUDIO)};
static const struct jscan_edge SPEECH_OUT_EDGES[] = {
    JSCAN_EDGE("speechTokens", N_RAW + RAW_OUT_AUDIO)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER},
    [N_MESSAGE] = {JSCAN_EDGES(MESSAGE_ONLY_EDGES), 0, 0, 0},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_STOP] = {.flags = JSCAN_WANT},
    [N_STOP_OBJECT] = {JSCAN_EDGES(STOP_OBJECT_EDGES), 0, 0, 0},
    [N_DELTA] = {JSCAN_EDGES(DELTA_EDGES), 0, 0, 0},
    [N_BLOCK] = {JSCAN_EDGES(BLOCK_EDGES), 0, N_BLOCK, 0},
    [N_CONTENT] = {NULL, 0, N_CONTENT, N_CONTENT, JSCAN_COUNT},
    [N_RESULT] = {JSCAN_EDGES(RESULT_EDGES), 0, N_RESULT, 0},
    [N_CHOICE] = {JSCAN_EDGES(CHOICE_EDGES), 0, N_CHOICE, 0},
    [N_END] = {.flags = JSCAN_ENTER},
    [N_TIER_OBJECT] = {JSCAN_EDGES(TIER_EDGES), 0, 0, 0},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_LATENCY_OBJECT] = {JSCAN_EDGES(LATENCY_EDGES), 0, 0, 0},
    [N_LATENCY] = {.flags = JSCAN_WANT},
    [N_TRACE] = {JSCAN_EDGES(TRACE_EDGES), 0, 0, 0},
    [N_ROUTER] = {JSCAN_EDGES(ROUTER_EDGES), 0, 0, 0},
    [N_INVOKED] = {.flags = JSCAN_WANT},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, 0},
    [N_IN_DETAILS] = {JSCAN_EDGES(IN_DETAILS_EDGES), 0, 0, 0},
    [N_OUT_DETAILS] = {JSCAN_EDGES(OUT_DETAILS_EDGES), 0, 0, 0},
    [N_CREATION] = {JSCAN_EDGES(CREATION_EDGES), 0, 0, 0},
    [N_WRITES] = {.item = N_WRITE, .flags = JSCAN_ENTER},
    [N_WRITE] = {JSCAN_EDGES(WRITE_EDGES), 0, 0, JSCAN_ENTER},
    [N_WRITE_TTL] = {.flags = JSCAN_WANT},
    [N_WRITE_TOKENS] = {.flags = JSCAN_WANT},
    [N_METRICS] = {JSCAN_EDGES(METRICS_EDGES), 0, 0, JSCAN_ENTER},
    [N_GUARD] = {JSCAN_EDGES(GUARD_EDGES), N_GUARD, N_GUARD, 0},
    [N_GUARD_USAGE] = {JSCAN_EDGES(GUARD_USAGE_EDGES), 0, 0, 0},
    [N_EVENT] = {JSCAN_EDGES(EVENT_EDGES), 0, 0, 0},
    [N_STARTED] = {.flags = JSCAN_ENTER},
    [N_SPEECH] = {JSCAN_EDGES(SPEECH_EDGES), 0, 0, 0},
    [N_SPEECH_DETAILS] = {JSCAN_EDGES(SPEECH_DETAILS_EDGES), 0, 0, 0},
    [N_SPEECH_TOTAL] = {JSCAN_EDGES(SPEECH_TOTAL_EDGES), 0, 0, 0},
    [N_SPEECH_IN] = {JSCAN_EDGES(SPEECH_IN_EDGES), 0, 0, 0},
    [N_SPEECH_OUT] = {JSCAN_EDGES(SPEECH_OUT_EDGES), 0, 0, 0},
#define GUARD_NODE(id, member, model) [N_POLICY + (id)] = {.flags = JSCAN_WANT},
    GUARD_POLICIES(GUARD_NODE)
#undef GUARD_NODE
#define RAW_NODE(id)                                                                           \
    [N_RAW + (id)] = {.flags = JSCAN_WANT}, [N_METERED + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

static const struct reader_word FINISHES[] = {
    {"max_tokens", TAP_END_TRUNCATED},
    {"model_context_window_exceeded", TAP_END_TRUNCATED},
    {"length", TAP_END_TRUNCATED},
    {"LENGTH", TAP_END_TRUNCATED},
    {"MAX_TOKENS", TAP_END_TRUNCATED},
    {"guardrail_intervened", TAP_END_REFUSED},
    {"content_filtered", TAP_END_REFUSED},
    {"content_filter", TAP_END_REFUSED},
    {"CONTENT_FILTERED", TAP_END_REFUSED},
    {"refusal", TAP_END_REFUSED},
    {"ERROR_TOXIC", TAP_END_REFUSED},
    {"ERROR", TAP_END_ERROR},
    {NULL, 0},
};

/* A line of cacheDetails: so many tokens were written to live so long. */
static void on_write(struct reading *r, const struct jscan_event *e)
{
    enum raw_count id = r->write_is_1h ? RAW_WRITE_1H : RAW_WRITE_5M;
    uint64_t n = r->write.n[RAW_WRITE];

    if (e->what == JSCAN_AT_ENTER) {
        r->write = (struct raw_counts){.odd = false};
        r->write_is_1h = false;
        return;
    }
    if (r->write.odd || r->counts.n[id] + n > USAGE_MAX_COUNT)
        r->counts.odd = true;
    else
        raw_set(&r->counts, id, r->counts.n[id] + n);
}

static void on_writes(struct reading *r)
{
    r->counts.n[RAW_WRITE_5M] = r->counts.n[RAW_WRITE_1H] = 0;
    r->counts.has &= ~(1u << RAW_WRITE_5M | 1u << RAW_WRITE_1H);
}

/* What the vendor counted, as Converse would have it: input without what the cache took. */
static struct raw_counts vendors_counts(const struct reading *r)
{
    struct raw_counts c = r->counts;

    if (raw_has(&c, RAW_PROMPT)) {
        uint64_t aside = c.n[RAW_CACHED] + c.n[RAW_WRITE];

        c.odd = c.odd || aside > c.n[RAW_PROMPT];
        raw_set(&c, RAW_INPUT, c.n[RAW_PROMPT] > aside ? c.n[RAW_PROMPT] - aside : 0);
    }
    return c;
}

static void to_usage(struct reading *r)
{
    struct raw_counts c = vendors_counts(r);
    static const enum raw_count METERED[] = {RAW_INPUT, RAW_OUTPUT, RAW_CACHED, RAW_WRITE};
    struct usage u = {.has = 0};
    bool fits;

    for (size_t i = 0; i < sizeof(METERED) / sizeof(METERED[0]); i++) {
        if (raw_has(&r->metered, METERED[i]))
            raw_set(&c, METERED[i], r->metered.n[METERED[i]]);
    }
    fits = usage_from_disjoint(&c, &u);
    r->result.usage = u;
    r->result.inconsistent = !fits || r->metered.odd;
    r->result.has_usage = usage_has(&u, USAGE_INPUT) || usage_has(&u, USAGE_OUTPUT);
    r->result.usage_is_final = r->result.has_usage && (!r->is_stream || r->terminator);
    if (r->is_guarded)
        (void)reading_guard_parts(r, PART_GUARD);
}

static void on_latency(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "optimized"))
        memcpy(r->result.service_tier, TIER_OPTIMIZED, sizeof(TIER_OPTIMIZED));
}

static void on_write_ttl(struct reading *r, const struct jscan_event *e)
{
    r->write_is_1h = reading_is(e, "1h");
}

static void on_write_tokens(struct reading *r, const struct jscan_event *e)
{
    reading_count(&r->write, RAW_WRITE, e);
}

static fact_fn *const FACTS[N_RAW] = {
    [N_MODEL] = fact_model,
    [N_INVOKED] = fact_model, /* by a prompt router */
    [N_STOP] = fact_finish,
    [N_TIER] = fact_tier,
    [N_LATENCY] = on_latency,
    [N_WRITE_TTL] = on_write_ttl,
    [N_WRITE_TOKENS] = on_write_tokens,
};

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;
    bool enter = e->what == JSCAN_AT_ENTER;

    if (e->node >= N_POLICY) {
        reading_guard(r, (enum guard_policy)(e->node - N_POLICY), e);
    } else if (e->node >= N_METERED) {
        reading_count(&r->metered, (enum raw_count)(e->node - N_METERED), e);
    } else if (e->node >= N_RAW) {
        reading_count(&r->counts, (enum raw_count)(e->node - N_RAW), e);
    } else if (e->node == N_ROOT) {
        reading_root(r, e);
    } else if (e->node == N_END || e->node == N_METRICS) {
        r->terminator = true; /* they stand in the last event alone */
    } else if (e->node == N_STARTED) {
        r->terminator = false; /* a session may have several */
    } else if (e->node == N_WRITES && enter) {
        on_writes(r);
    } else if (e->node == N_WRITE) {
        on_write(r, e);
    } else if (e->node == N_ERROR) {
        reading_error(r, e);
    } else {
        reading_fact(r, e);
    }
}

/* InvokeModel's answers; for some models they are all that is said of counts. */
static const struct reader_header HEADERS[] = {
    {"x-amzn-bedrock-input-token-count", RAW_INPUT},
    {"x-amzn-bedrock-output-token-count", RAW_OUTPUT},
    {"x-amzn-bedrock-cache-read-input-token-count", RAW_CACHED},
    {"x-amzn-bedrock-cache-write-input-token-count", RAW_WRITE},
    {"x-amzn-bedrock-service-tier", HEADER_TIER},
    {"x-amzn-bedrock-performanceconfig-latency", HEADER_LATENCY},
};

const struct reader READER_BEDROCK = {.nodes = NODES,
                                      .root = N_ROOT,
                                      .on_event = on_event,
                                      .facts = FACTS,
                                      .end_document = to_usage,
                                      .finishes = FINISHES,
                                      .headers = HEADERS,
                                      .n_headers = sizeof(HEADERS) / sizeof(HEADERS[0]),
                                      .end_headers = to_usage};
