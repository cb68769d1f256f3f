/*
 * Cohere's own interface, versions 1 and 2: chat, generate, embed, rerank, classify.
 * What is billed are `billed_units`; `tokens` are what the model processed, of which
 * the reasoning alone is told nowhere else.
 */
#include "metering/usage/reader_table.h"

enum {
    OWN_DELTA = NODE_OWN,
    OWN_RESPONSE,
    OWN_BILLED,
    OWN_TOKENS,
    OWN_MESSAGE,
    OWN_CONTENT,
    OWN_GENERATIONS,
    OWN_GENERATION,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("usage", NODE_USAGE),           JSCAN_EDGE("meta", NODE_USAGE),
    JSCAN_EDGE("model", NODE_MODEL),           JSCAN_EDGE("type", NODE_TYPE),
    JSCAN_EDGE("event_type", NODE_TYPE),       JSCAN_EDGE("delta", OWN_DELTA),
    JSCAN_EDGE("response", OWN_RESPONSE),      JSCAN_EDGE("message", OWN_MESSAGE),
    JSCAN_EDGE("text", NODE_TEXT),             JSCAN_EDGE("finish_reason", NODE_FINISH),
    JSCAN_EDGE("generations", OWN_GENERATIONS), JSCAN_EDGE("error", NODE_ERROR),
};
/* The whole answer, repeated in the last event of a version 1 stream: its text was counted. */
static const struct jscan_edge RESPONSE_EDGES[] = {
    JSCAN_EDGE("meta", NODE_USAGE), JSCAN_EDGE("finish_reason", NODE_FINISH)};
static const struct jscan_edge DELTA_EDGES[] = {
    JSCAN_EDGE("usage", NODE_USAGE), JSCAN_EDGE("finish_reason", NODE_FINISH),
    JSCAN_EDGE("error", NODE_ERROR), JSCAN_EDGE("message", OWN_MESSAGE),
};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("billed_units", OWN_BILLED),
    JSCAN_EDGE("tokens", OWN_TOKENS),
    JSCAN_EDGE("cached_tokens", NODE_RAW + RAW_CACHED),
};
static const struct jscan_edge BILLED_EDGES[] = {
    JSCAN_EDGE("input_tokens", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("image_tokens", NODE_RAW + RAW_IN_IMAGE),
    JSCAN_EDGE("images", NODE_RAW + RAW_IN_IMAGES),
    JSCAN_EDGE("search_units", NODE_RAW + RAW_SEARCH_UNITS),
    JSCAN_EDGE("pages", NODE_RAW + RAW_PAGES),
};
static const struct jscan_edge TOKENS_EDGES[] = {
    JSCAN_EDGE("reasoning_tokens", NODE_RAW + RAW_REASONING)};
static const struct jscan_edge MESSAGE_EDGES[] = {
    JSCAN_EDGE("content", OWN_CONTENT),
    JSCAN_EDGE("tool_plan", NODE_TEXT),
    JSCAN_EDGE("tool_calls", NODE_TEXT),
};
static const struct jscan_edge CONTENT_EDGES[] = {JSCAN_EDGE("text", NODE_TEXT),
                                                  JSCAN_EDGE("thinking", NODE_TEXT)};
static const struct jscan_edge GENERATION_EDGES[] = {JSCAN_EDGE("text", NODE_TEXT),
                                                     JSCAN_EDGE("finish_reason", NODE_FINISH)};

static const struct jscan_node NODES[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, NODE_ROOT, JSCAN_ENTER},
    [NODE_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [OWN_DELTA] = {JSCAN_EDGES(DELTA_EDGES), 0, 0, 0},
    [OWN_RESPONSE] = {JSCAN_EDGES(RESPONSE_EDGES), 0, 0, 0},
    [OWN_BILLED] = {JSCAN_EDGES(BILLED_EDGES), 0, 0, 0},
    [OWN_TOKENS] = {JSCAN_EDGES(TOKENS_EDGES), 0, 0, 0},
    [OWN_MESSAGE] = {JSCAN_EDGES(MESSAGE_EDGES), 0, 0, 0},
    [OWN_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), 0, OWN_CONTENT, 0},
    [OWN_GENERATIONS] = {.item = OWN_GENERATION},
    [OWN_GENERATION] = {JSCAN_EDGES(GENERATION_EDGES), 0, 0, 0},
};

static const struct reader_word FINISHES[] = {
    {"MAX_TOKENS", TAP_END_TRUNCATED}, {"max_tokens", TAP_END_TRUNCATED},
    {"ERROR_TOXIC", TAP_END_REFUSED},  {"ERROR", TAP_END_ERROR},
    {"error", TAP_END_ERROR},          {"ERROR_LIMIT", TAP_END_TRUNCATED},
    {NULL, 0}};
static const struct reader_word TYPES[] = {
    {"message-end", DOCUMENT_FINAL}, {"stream-end", DOCUMENT_FINAL}, {NULL, 0}};

const struct reader READER_COHERE = {
    READER_TABLE, .has_terminator = true, .cache_is_apart = true};
