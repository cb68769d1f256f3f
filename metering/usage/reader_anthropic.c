/*
 * Anthropic's messages.  A stream's first event holds the input counts and a
 * placeholder for the output; each later one lays its fields, which are running
 * totals, over what was there.  Nothing is added up but what the totals leave out
 * by the provider's own word: iterations of type compaction.
 */
#include "metering/usage/reader.h"

#include <string.h>

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_MESSAGE,
    N_RESULT,
    N_MODEL,
    N_TYPE,
    N_ERROR,
    N_STOP,
    N_DELTA,
    N_BLOCK,
    N_CONTENT,
    N_USAGE,
    N_CREATION,
    N_OUT_DETAILS,
    N_TOOLS,
    N_TIER,
    N_SPEED,
    N_GEO,
    N_ID,
    N_CREDIT,
    N_CREDIT_STATUS,
    N_CREDIT_TYPE,
    N_ITERATIONS,
    N_ITERATION,
    N_ITERATION_TYPE,
    N_ITERATION_MODEL,
    N_ITERATION_CREATION,
    N_RAW,
    N_ITERATION_RAW = N_RAW + RAW_COUNT,
    N_COUNT = N_ITERATION_RAW + RAW_COUNT,
};

enum { ITERATION_OTHER = 0, ITERATION_COMPACTION, ITERATION_ADVISOR };

#define MESSAGE_EDGES                                                                          \
    JSCAN_EDGE("usage", N_USAGE), JSCAN_EDGE("model", N_MODEL),                                \
        JSCAN_EDGE("stop_reason", N_STOP), JSCAN_EDGE("content", N_BLOCK),                     \
        JSCAN_EDGE("completion", N_CONTENT)

static const struct jscan_edge ROOT_EDGES[] = {
    MESSAGE_EDGES,
    JSCAN_EDGE("type", N_TYPE),
    JSCAN_EDGE("message", N_MESSAGE),
    JSCAN_EDGE("delta", N_DELTA),
    JSCAN_EDGE("content_block", N_BLOCK),
    JSCAN_EDGE("error", N_ERROR),
    JSCAN_EDGE("result", N_RESULT),
    JSCAN_EDGE("id", N_ID),
};
/* A line of a batch's results. */
static const struct jscan_edge RESULT_EDGES[] = {JSCAN_EDGE("message", N_MESSAGE),
                                                 JSCAN_EDGE("error", N_ERROR)};
static const struct jscan_edge MESSAGE_ONLY_EDGES[] = {MESSAGE_EDGES};
static const struct jscan_edge DELTA_EDGES[] = {
    JSCAN_EDGE("stop_reason", N_STOP),
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("thinking", N_CONTENT),
    JSCAN_EDGE("partial_json", N_CONTENT),
};
static const struct jscan_edge BLOCK_EDGES[] = {
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("thinking", N_CONTENT),
    JSCAN_EDGE("input", N_CONTENT),
};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("input_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("cache_creation_input_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_read_input_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_creation", N_CREATION),
    JSCAN_EDGE("output_tokens_details", N_OUT_DETAILS),
    JSCAN_EDGE("server_tool_use", N_TOOLS),
    JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("speed", N_SPEED),
    JSCAN_EDGE("inference_geo", N_GEO),
    JSCAN_EDGE("iterations", N_ITERATIONS),
    JSCAN_EDGE("fallback_credit", N_CREDIT),
};
static const struct jscan_edge CREDIT_EDGES[] = {JSCAN_EDGE("status", N_CREDIT_STATUS)};
static const struct jscan_edge CREDIT_STATUS_EDGES[] = {JSCAN_EDGE("type", N_CREDIT_TYPE)};
static const struct jscan_edge CREATION_EDGES[] = {
    JSCAN_EDGE("ephemeral_5m_input_tokens", N_RAW + RAW_WRITE_5M),
    JSCAN_EDGE("ephemeral_1h_input_tokens", N_RAW + RAW_WRITE_1H),
};
static const struct jscan_edge OUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("thinking_tokens", N_RAW + RAW_REASONING)};
static const struct jscan_edge TOOLS_EDGES[] = {
    JSCAN_EDGE("web_search_requests", N_RAW + RAW_WEB_SEARCH),
    JSCAN_EDGE("code_execution_requests", N_RAW + RAW_CODE),
};
static const struct jscan_edge ITERATION_EDGES[] = {
    JSCAN_EDGE("type", N_ITERATION_TYPE),
    JSCAN_EDGE("model", N_ITERATION_MODEL),
    JSCAN_EDGE("input_tokens", N_ITERATION_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", N_ITERATION_RAW + RAW_OUTPUT),
    JSCAN_EDGE("cache_creation_input_tokens", N_ITERATION_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_read_input_tokens", N_ITERATION_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_creation", N_ITERATION_CREATION),
};
static const struct jscan_edge ITERATION_CREATION_EDGES[] = {
    JSCAN_EDGE("ephemeral_5m_input_tokens", N_ITERATION_RAW + RAW_WRITE_5M),
    JSCAN_EDGE("ephemeral_1h_input_tokens", N_ITERATION_RAW + RAW_WRITE_1H),
};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, 0, JSCAN_ENTER},
    [N_MESSAGE] = {JSCAN_EDGES(MESSAGE_ONLY_EDGES), 0, 0, 0},
    [N_RESULT] = {JSCAN_EDGES(RESULT_EDGES), 0, 0, 0},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_TYPE] = {.flags = JSCAN_WANT},
    [N_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_STOP] = {.flags = JSCAN_WANT},
    [N_DELTA] = {JSCAN_EDGES(DELTA_EDGES), 0, 0, 0},
    [N_BLOCK] = {JSCAN_EDGES(BLOCK_EDGES), 0, N_BLOCK, JSCAN_ENTER},
    [N_CONTENT] = {NULL, 0, N_CONTENT, N_CONTENT, JSCAN_COUNT},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [N_CREATION] = {JSCAN_EDGES(CREATION_EDGES), 0, 0, 0},
    [N_OUT_DETAILS] = {JSCAN_EDGES(OUT_DETAILS_EDGES), 0, 0, 0},
    [N_TOOLS] = {JSCAN_EDGES(TOOLS_EDGES), 0, 0, 0},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_SPEED] = {.flags = JSCAN_WANT},
    [N_GEO] = {.flags = JSCAN_WANT},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_CREDIT] = {JSCAN_EDGES(CREDIT_EDGES), 0, 0, 0},
    [N_CREDIT_STATUS] = {JSCAN_EDGES(CREDIT_STATUS_EDGES), 0, 0, 0},
    [N_CREDIT_TYPE] = {.flags = JSCAN_WANT},
    [N_ITERATIONS] = {.item = N_ITERATION, .flags = JSCAN_ENTER},
    [N_ITERATION] = {JSCAN_EDGES(ITERATION_EDGES), 0, 0, JSCAN_ENTER},
    [N_ITERATION_TYPE] = {.flags = JSCAN_WANT},
    [N_ITERATION_MODEL] = {.flags = JSCAN_WANT},
    [N_ITERATION_CREATION] = {JSCAN_EDGES(ITERATION_CREATION_EDGES), 0, 0, 0},
#define RAW_NODE(id)                                                                           \
    [N_RAW + (id)] = {.flags = JSCAN_WANT}, [N_ITERATION_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

static const struct reader_word FINISHES[] = {
    {"max_tokens", TAP_END_TRUNCATED},
    {"model_context_window_exceeded", TAP_END_TRUNCATED},
    {"refusal", TAP_END_REFUSED},
    {NULL, 0},
};
static const struct reader_word TYPES[] = {
    {"message_start", DOCUMENT_START}, {"message_delta", DOCUMENT_DELTA},
    {"message_stop", DOCUMENT_FINAL},  {"completion", DOCUMENT_COMPLETION},
    {"error", DOCUMENT_ERROR},         {NULL, 0},
};

static void add_counts(struct raw_counts *sum, const struct raw_counts *part)
{
    for (unsigned i = 0; i < RAW_COUNT; i++) {
        if (!raw_has(part, i))
            continue;
        if (sum->n[i] + part->n[i] > USAGE_MAX_COUNT)
            sum->odd = true;
        else
            raw_set(sum, i, sum->n[i] + part->n[i]);
    }
    sum->odd = sum->odd || part->odd;
}

/* Counts as usage; false where some did not fit. */
static bool usage_of(const struct raw_counts *c, struct usage *out)
{
    struct usage u = {.has = 0};
    bool fits = usage_from_disjoint(c, &u);

    usage_set_units(&u, c);
    *out = u;
    return fits;
}

/*
 * A pass that the totals leave out.  Compaction runs on the answer's own model and is
 * added to its counts, unless it names another; an advisor is another model with other
 * rates, and stays apart.
 */
static void on_iteration(struct reading *r, const struct jscan_event *e)
{
    const struct raw_counts *c = &r->iteration;
    bool other = r->iteration_kind == ITERATION_ADVISOR ||
                 (r->iteration_model[0] != '\0' &&
                  strcmp(r->iteration_model, r->result.model) != 0);
    struct usage u;

    if (e->what == JSCAN_AT_ENTER) {
        r->iteration = (struct raw_counts){.odd = false};
        r->iteration_kind = ITERATION_OTHER;
        r->iteration_model[0] = '\0';
        return;
    }
    if (r->iteration_kind == ITERATION_OTHER)
        return;
    if (!other) {
        add_counts(&r->compaction, c);
    } else if (c->n[RAW_INPUT] + c->n[RAW_OUTPUT] + c->n[RAW_CACHED] + c->n[RAW_WRITE] > 0) {
        if (!usage_of(c, &u))
            r->result.inconsistent = true;
        parts_add(r, PART_ITERATION, r->iteration_model, &u);
    }
}

/* The provider takes back what the write to another model's cache cost beyond a read. */
static void credit_writes(struct raw_counts *c)
{
    uint64_t split = c->n[RAW_WRITE_5M] + c->n[RAW_WRITE_1H];
    uint64_t written = raw_has(c, RAW_WRITE) ? c->n[RAW_WRITE] : split;

    if (c->n[RAW_CACHED] + written > USAGE_MAX_COUNT) {
        c->odd = true;
        return;
    }
    raw_set(c, RAW_CACHED, c->n[RAW_CACHED] + written);
    raw_set(c, RAW_WRITE, 0);
    raw_set(c, RAW_WRITE_5M, 0);
    raw_set(c, RAW_WRITE_1H, 0);
}

static void to_usage(struct reading *r)
{
    struct raw_counts c = r->counts;

    if (r->is_credited)
        credit_writes(&c);
    add_counts(&c, &r->compaction);
    r->result.inconsistent = !usage_of(&c, &r->result.usage);
    r->result.has_usage = usage_says_amount(&r->result.usage);
}

static void end_document(struct reading *r)
{
    if (r->type == DOCUMENT_ERROR)
        r->error = true;
    r->terminator = r->terminator || r->type == DOCUMENT_FINAL ||
                    (r->type == DOCUMENT_COMPLETION && r->finish != TAP_END_NONE);
    if (r->has_counts)
        to_usage(r);
    if (!r->is_stream)
        r->result.usage_is_final = r->result.has_usage;
    else if (r->type == DOCUMENT_FINAL || (r->type == DOCUMENT_DELTA && r->has_counts))
        r->result.usage_is_final = r->result.has_usage && r->finish != TAP_END_NONE;
    r->result.said_nothing = r->finish == TAP_END_REFUSED && !r->has_blocks &&
                             r->compaction.has == 0 && (r->parts == NULL || r->parts->n == 0);
}

static void on_raw(struct reading *r, const struct jscan_event *e)
{
    if (e->node >= N_ITERATION_RAW)
        reading_count(&r->iteration, (enum raw_count)(e->node - N_ITERATION_RAW), e);
    else
        reading_count(&r->counts, (enum raw_count)(e->node - N_RAW), e);
}

/* Bedrock serves in tiers of its own, which its head tells, whatever the body says. */
static void on_tier(struct reading *r, const struct jscan_event *e)
{
    if (!r->fast && !r->has_head_tier)
        fact_tier(r, e);
}

static void on_speed(struct reading *r, const struct jscan_event *e)
{
    if (e->type != JSCAN_STRING) /* null: as it was */
        return;
    r->fast = reading_is(e, "fast"); /* priced as a tier of its own */
    if (r->fast)
        memcpy(r->result.service_tier, "fast", sizeof("fast"));
}

static void on_credit(struct reading *r, const struct jscan_event *e)
{
    r->is_credited = reading_is(e, "redeemed");
}

static void on_geo(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "us")) /* anything else has no price of its own */
        memcpy(r->result.region, "us", sizeof("us"));
}

static void on_iteration_type(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "compaction"))
        r->iteration_kind = ITERATION_COMPACTION;
    else if (reading_is(e, "advisor_message"))
        r->iteration_kind = ITERATION_ADVISOR;
}

static void on_iteration_model(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->iteration_model, sizeof(r->iteration_model));
}

static fact_fn *const FACTS[N_RAW] = {
    [N_MODEL] = fact_model,
    [N_TYPE] = fact_type,
    [N_STOP] = fact_finish,
    [N_TIER] = on_tier,
    [N_SPEED] = on_speed,
    [N_GEO] = on_geo,
    [N_ID] = fact_id, /* of a batch, at its making */
    [N_CREDIT_TYPE] = on_credit,
    [N_ITERATION_TYPE] = on_iteration_type,
    [N_ITERATION_MODEL] = on_iteration_model,
};

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_RAW) {
        on_raw(r, e);
    } else if (e->node == N_ROOT) {
        reading_root(r, e);
    } else if (e->node == N_USAGE) {
        r->has_counts = true;
    } else if (e->node == N_BLOCK) {
        r->has_blocks = r->has_blocks || (e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT);
    } else if (e->node == N_ITERATIONS && e->what == JSCAN_AT_ENTER) {
        r->compaction = (struct raw_counts){.odd = false};
        parts_drop(r, PART_ITERATION);
    } else if (e->node == N_ITERATION) {
        on_iteration(r, e);
    } else if (e->node == N_ERROR) {
        reading_error(r, e);
    } else {
        reading_fact(r, e);
    }
}

/* Of Claude on Bedrock, by InvokeModel. */
static const struct reader_header HEADERS[] = {
    {"x-amzn-bedrock-service-tier", HEADER_TIER},
    {"x-amzn-bedrock-performanceconfig-latency", HEADER_LATENCY},
};

static void end_headers(struct reading *r)
{
    (void)r;
}

const struct reader READER_ANTHROPIC = {.nodes = NODES,
                                        .root = N_ROOT,
                                        .on_event = on_event,
                                        .facts = FACTS,
                                        .end_document = end_document,
                                        .finishes = FINISHES,
                                        .types = TYPES,
                                        .headers = HEADERS,
                                        .n_headers = sizeof(HEADERS) / sizeof(HEADERS[0]),
                                        .end_headers = end_headers,
                                        .has_terminator = true};
