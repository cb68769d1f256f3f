/*
 * reader_openai_graph.h - which members of OpenAI's answers say something, under all the names
 * that those have for them who speak the same.  What they say is reader_openai.c's business.
 */
#ifndef METERING_USAGE_READER_OPENAI_GRAPH_H
#define METERING_USAGE_READER_OPENAI_GRAPH_H

#include "metering/usage/reader.h"

enum openai_node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_RESPONSE,
    N_MODEL,
    N_TIER,
    N_TYPE,
    N_STATUS,
    N_OBJECT,
    N_ERROR,
    N_GROQ,
    N_INCOMPLETE,
    N_REASON,
    N_CHOICES,
    N_CHOICE,
    N_FINISH,
    N_DELTA,
    N_CONTENT,
    N_PART_TYPE,
    N_REFUSAL,
    N_CALLS,
    N_OUTPUT,
    N_ITEM,
    N_ITEM_TYPE,
    N_ACTION,
    N_ACTION_TYPE,
    N_TOOL_USAGE,
    N_TOOL_SEARCH,
    N_TOOL_REQUESTS,
    N_OTHER,
    N_USAGE,
    N_IN_DETAILS,
    N_CACHED_DETAILS,
    N_WRITE_DETAILS,
    N_OUT_DETAILS,
    N_TOOLS_USED,
    N_COST,
    N_COST_TOTAL,
    N_TICKS,
    N_SECONDS,
    N_DURATION,
    N_VIDEO,
    N_VIDEO_SECONDS,
    N_VIDEO_SIZE,
    N_REQUEST_ID,
    N_FILE,
    N_FILE_ID,
    N_ID,
    N_KEPT,
    N_DATA,
    N_DATUM,
    N_TOOLS,
    N_TOOL,
    N_TOOL_MODEL,
    N_PERPLEXITY,
    N_SVG,
    N_IMAGE_GEN,
    N_SIDE_MODEL,
    N_SIDE_IN_DETAILS,
    N_SIDE_OUT_DETAILS,
    N_BREAKDOWN,
    N_SHARES,
    N_SHARE,
    N_SHARE_USAGE,
    N_SHARE_IN_DETAILS,
    N_SHARE_OUT_DETAILS,
    N_RAW, /* and RAW_COUNT - 1 more */
    N_SIDE_RAW = N_RAW + RAW_COUNT,
    N_COUNT = N_SIDE_RAW + RAW_COUNT,
};

/* From N_ROOT on; an array of documents is read one by one. */
extern const struct jscan_node OPENAI_NODES[N_COUNT];

#endif
