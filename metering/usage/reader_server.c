/*
 * What servers of open models answer on paths of their own: text generation inference
 * (generate, generate_stream), SGLang (generate), llama.cpp (completion), and hosts that
 * spell the same few facts their own way.  No two give one member two meanings, so one
 * graph serves them all.
 */
#include "metering/usage/reader_table.h"

enum {
    OWN_DETAILS = NODE_OWN,
    OWN_META,
    OWN_META_FINISH,
    OWN_TOKEN,
    OWN_PREFILL,
    OWN_TIMINGS,
    OWN_RESULTS,
    OWN_RESULT,
    OWN_METRICS,
    OWN_PREDICT_TIME,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("error", NODE_ERROR),
    JSCAN_EDGE("model", NODE_MODEL),
    JSCAN_EDGE("generated_text", NODE_WHOLE_TEXT),
    JSCAN_EDGE("token", OWN_TOKEN),
    JSCAN_EDGE("details", OWN_DETAILS),
    /* SGLang */
    JSCAN_EDGE("text", NODE_WHOLE_TEXT),
    JSCAN_EDGE("meta_info", OWN_META),
    /* llama.cpp */
    JSCAN_EDGE("content", NODE_TEXT),
    JSCAN_EDGE("stop", NODE_DONE),
    JSCAN_EDGE("stop_type", NODE_FINISH),
    JSCAN_EDGE("tokens_evaluated", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("tokens_predicted", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("timings", OWN_TIMINGS),
    /* Aleph Alpha */
    JSCAN_EDGE("completions", OWN_RESULTS),
    JSCAN_EDGE("model_version", NODE_MODEL),
    JSCAN_EDGE("num_tokens_prompt_total", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("num_tokens_generated", NODE_RAW + RAW_OUTPUT),
    /* watsonx */
    JSCAN_EDGE("results", OWN_RESULTS),
    JSCAN_EDGE("model_id", NODE_MODEL),
    /* Replicate */
    JSCAN_EDGE("output", NODE_TEXT),
    JSCAN_EDGE("status", NODE_STATUS),
    JSCAN_EDGE("id", NODE_ID),
    JSCAN_EDGE("metrics", OWN_METRICS),
};
static const struct jscan_edge TOKEN_EDGES[] = {JSCAN_EDGE("text", NODE_TEXT)};
static const struct jscan_edge DETAILS_EDGES[] = {
    JSCAN_EDGE("finish_reason", NODE_FINISH),
    JSCAN_EDGE("generated_tokens", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("input_length", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("prefill", OWN_PREFILL),
};
static const struct jscan_edge META_EDGES[] = {
    JSCAN_EDGE("prompt_tokens", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("completion_tokens", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("cached_tokens", NODE_RAW + RAW_CACHED),
    JSCAN_EDGE("finish_reason", OWN_META_FINISH),
};
static const struct jscan_edge META_FINISH_EDGES[] = {JSCAN_EDGE("type", NODE_FINISH)};
static const struct jscan_edge TIMINGS_EDGES[] = {
    JSCAN_EDGE("cache_n", NODE_RAW + RAW_CACHED)};
static const struct jscan_edge RESULT_EDGES[] = {
    JSCAN_EDGE("completion", NODE_TEXT),
    JSCAN_EDGE("generated_text", NODE_TEXT),
    JSCAN_EDGE("finish_reason", NODE_FINISH),
    JSCAN_EDGE("stop_reason", NODE_FINISH),
    JSCAN_EDGE("generated_token_count", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("input_token_count", NODE_RAW + RAW_INPUT),
};
static const struct jscan_edge METRICS_EDGES[] = {
    JSCAN_EDGE("input_token_count", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("output_token_count", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("predict_time", OWN_PREDICT_TIME),
};

static const struct jscan_node NODES[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, NODE_ROOT, JSCAN_ENTER},
    [OWN_DETAILS] = {JSCAN_EDGES(DETAILS_EDGES), 0, 0, 0},
    [OWN_META] = {JSCAN_EDGES(META_EDGES), 0, 0, 0},
    [OWN_META_FINISH] = {JSCAN_EDGES(META_FINISH_EDGES), 0, 0, 0},
    [OWN_TOKEN] = {JSCAN_EDGES(TOKEN_EDGES), 0, 0, 0},
    [OWN_PREFILL] = {.item = NODE_INPUT_ITEM},
    [OWN_TIMINGS] = {JSCAN_EDGES(TIMINGS_EDGES), 0, 0, 0},
    [OWN_RESULTS] = {.item = OWN_RESULT},
    [OWN_RESULT] = {JSCAN_EDGES(RESULT_EDGES), 0, 0, 0},
    [OWN_METRICS] = {JSCAN_EDGES(METRICS_EDGES), 0, 0, 0},
    [OWN_PREDICT_TIME] = {.flags = JSCAN_WANT},
};

static const struct reader_word FINISHES[] = {
    {"length", TAP_END_TRUNCATED},     {"limit", TAP_END_TRUNCATED},
    {"max_tokens", TAP_END_TRUNCATED}, {"maximum_tokens", TAP_END_TRUNCATED},
    {"abort", TAP_END_ERROR},          {"error", TAP_END_ERROR},
    {"none", TAP_END_NONE},            {"not_finished", TAP_END_NONE},
    {NULL, 0}};
static const struct reader_word TYPES[] = {{NULL, 0}};

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node == OWN_PREDICT_TIME)
        reading_seconds(&r->beside, RAW_SESSION_MS, e);
    else
        reader_table_on_event(arg, e);
}

static void begin_document(struct reading *r)
{
    r->beside = (struct raw_counts){.odd = false};
}

/* Replicate charges for the time that a machine worked where it does not count tokens. */
static void end_document(struct reading *r)
{
    if (!r->has_counts && raw_has(&r->beside, RAW_SESSION_MS)) {
        r->counts = r->beside;
        r->has_counts = true;
    }
    reader_table_end_document(r);
}

const struct reader READER_SERVER = {
    .nodes = NODES, .root = NODE_ROOT, .on_event = on_event, .facts = READER_TABLE_FACTS,
    .begin_document = begin_document, .end_document = end_document, .finishes = FINISHES,
    .types = TYPES};
