/*
 * Ollama's own interface: chat, generate, embed.  A stream is a document a line; the
 * last says `done` and has the counts.  A prompt that was cached may lack its count.
 */
#include "metering/usage/reader_table.h"

enum { OWN_MESSAGE = NODE_OWN };

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("model", NODE_MODEL),
    JSCAN_EDGE("done", NODE_DONE),
    JSCAN_EDGE("done_reason", NODE_FINISH),
    JSCAN_EDGE("error", NODE_ERROR),
    JSCAN_EDGE("message", OWN_MESSAGE),
    JSCAN_EDGE("response", NODE_TEXT),
    JSCAN_EDGE("thinking", NODE_TEXT),
    JSCAN_EDGE("prompt_eval_count", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("eval_count", NODE_RAW + RAW_OUTPUT),
};
static const struct jscan_edge MESSAGE_EDGES[] = {
    JSCAN_EDGE("content", NODE_TEXT),
    JSCAN_EDGE("thinking", NODE_TEXT),
    JSCAN_EDGE("tool_calls", NODE_TEXT),
};

static const struct jscan_node NODES[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, NODE_ROOT, JSCAN_ENTER},
    [OWN_MESSAGE] = {JSCAN_EDGES(MESSAGE_EDGES), 0, 0, 0},
};

/* "load" and "unload" answer a request that only moved a model. */
static const struct reader_word FINISHES[] = {{"length", TAP_END_TRUNCATED}, {NULL, 0}};
static const struct reader_word TYPES[] = {{NULL, 0}};

const struct reader READER_OLLAMA = {READER_TABLE, .has_terminator = true};
