#include "metering/usage/reader_openai_graph.h"

/* Members that a response and an event share. */
#define BODY_EDGES                                                                             \
    JSCAN_EDGE("choices", N_CHOICES), JSCAN_EDGE("usage", N_USAGE),                            \
        JSCAN_EDGE("model", N_MODEL), JSCAN_EDGE("service_tier", N_TIER),                      \
        JSCAN_EDGE("status", N_STATUS), JSCAN_EDGE("error", N_ERROR),                          \
        JSCAN_EDGE("incomplete_details", N_INCOMPLETE), JSCAN_EDGE("output", N_OUTPUT),        \
        JSCAN_EDGE("tool_usage", N_TOOL_USAGE), JSCAN_EDGE("tools", N_TOOLS),              \
        JSCAN_EDGE("svg_usage", N_SVG), JSCAN_EDGE("id", N_ID),                            \
        JSCAN_EDGE("background", N_KEPT), JSCAN_EDGE("reasoning", N_REASONING)

static const struct jscan_edge ROOT_EDGES[] = {
    BODY_EDGES,
    JSCAN_EDGE("type", N_TYPE),
    JSCAN_EDGE("delta", N_CONTENT),
    JSCAN_EDGE("response", N_RESPONSE),
    JSCAN_EDGE("object", N_OBJECT),
    JSCAN_EDGE("x_groq", N_GROQ),
    JSCAN_EDGE("usage_breakdown", N_BREAKDOWN),
    /* batches: answers in a list, or in lines; how far they are */
    JSCAN_EDGE("results", N_RESULTS),
    JSCAN_EDGE("custom_id", N_RESULT_NAME),
    JSCAN_EDGE("batch_id", N_ID),
    JSCAN_EDGE("state", N_STATE),
    JSCAN_EDGE("cancel_by_xai_message", N_REJECTED),
    JSCAN_EDGE("message", N_DELTA),
    JSCAN_EDGE("moderation", N_OTHER),
    JSCAN_EDGE("prompt_filter_results", N_OTHER),
    JSCAN_EDGE("data", N_DATA),
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("duration", N_DURATION),
    JSCAN_EDGE("timings", N_TIMINGS),
    JSCAN_EDGE("usage_info", N_USAGE),
    JSCAN_EDGE("seconds", N_VIDEO_SECONDS),
    JSCAN_EDGE("size", N_VIDEO_SIZE),
    JSCAN_EDGE("video", N_VIDEO),
    JSCAN_EDGE("request_id", N_REQUEST_ID),
    JSCAN_EDGE("file", N_FILE),
    JSCAN_EDGE("conversation_id", N_ID),
};
/* A line of a batch holds the answer one level further in. */
static const struct jscan_edge RESPONSE_EDGES[] = {
    BODY_EDGES, JSCAN_EDGE("body", N_RESPONSE), JSCAN_EDGE("data", N_DATA),
    JSCAN_EDGE("video", N_VIDEO)};
/* OpenRouter has the answer where a line has it, xAI in a member named by its endpoint. */
static const struct jscan_edge RESULT_EDGES[] = {
    JSCAN_EDGE("batch_request_id", N_RESULT_NAME), JSCAN_EDGE("custom_id", N_RESULT_NAME),
    JSCAN_EDGE("batch_result", N_BATCH_RESULT), JSCAN_EDGE("response", N_RESPONSE)};
static const struct jscan_edge BATCH_RESULT_EDGES[] = {JSCAN_EDGE("response", N_ANY_ANSWER)};
static const struct jscan_edge STATE_EDGES[] = {JSCAN_EDGE("num_requests", N_STATE_ALL),
                                                JSCAN_EDGE("num_pending", N_STATE_LEFT)};
static const struct jscan_edge FILE_EDGES[] = {JSCAN_EDGE("id", N_FILE_ID)};
/* llama.cpp's own, with how long each took: what was read anew, found in its cache, said. */
static const struct jscan_edge TIMINGS_EDGES[] = {JSCAN_EDGE("prompt_n", N_TIMED_INPUT),
                                                  JSCAN_EDGE("cache_n", N_TIMED_CACHED),
                                                  JSCAN_EDGE("predicted_n", N_TIMED_OUTPUT)};
static const struct jscan_edge VIDEO_EDGES[] = {JSCAN_EDGE("duration", N_VIDEO_SECONDS)};
static const struct jscan_edge GROQ_EDGES[] = {JSCAN_EDGE("usage", N_USAGE),
                                               JSCAN_EDGE("error", N_ERROR),
                                               JSCAN_EDGE("usage_breakdown", N_BREAKDOWN)};
/* The usage once more, by the models that a system of several asked: Groq. */
static const struct jscan_edge BREAKDOWN_EDGES[] = {JSCAN_EDGE("models", N_SHARES)};
static const struct jscan_edge SHARE_EDGES[] = {JSCAN_EDGE("model", N_SIDE_MODEL),
                                                JSCAN_EDGE("usage", N_SHARE_USAGE)};
static const struct jscan_edge SHARE_USAGE_EDGES[] = {
    JSCAN_EDGE("prompt_tokens", N_SIDE_RAW + RAW_INPUT),
    JSCAN_EDGE("completion_tokens", N_SIDE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("prompt_tokens_details", N_SHARE_IN_DETAILS),
    JSCAN_EDGE("completion_tokens_details", N_SHARE_OUT_DETAILS),
};
static const struct jscan_edge SHARE_IN_DETAILS_EDGES[] = {
    JSCAN_EDGE("cached_tokens", N_SIDE_RAW + RAW_CACHED)};
static const struct jscan_edge SHARE_OUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("reasoning_tokens", N_SIDE_RAW + RAW_REASONING)};
static const struct jscan_edge REASONING_EDGES[] = {JSCAN_EDGE("mode", N_REASONING_MODE)};
static const struct jscan_edge INCOMPLETE_EDGES[] = {JSCAN_EDGE("reason", N_REASON)};
static const struct jscan_edge CHOICE_EDGES[] = {
    JSCAN_EDGE("delta", N_DELTA),  JSCAN_EDGE("message", N_DELTA),
    JSCAN_EDGE("text", N_CONTENT), JSCAN_EDGE("finish_reason", N_FINISH),
    JSCAN_EDGE("usage", N_USAGE),  JSCAN_EDGE("error", N_ERROR),
};
static const struct jscan_edge DELTA_EDGES[] = {
    JSCAN_EDGE("content", N_CONTENT),   JSCAN_EDGE("reasoning_content", N_CONTENT),
    JSCAN_EDGE("reasoning", N_CONTENT), JSCAN_EDGE("refusal", N_REFUSAL),
    JSCAN_EDGE("tool_calls", N_CALLS),  JSCAN_EDGE("function_call", N_CALLS),
    JSCAN_EDGE("usage", N_USAGE),
};
static const struct jscan_edge CONTENT_EDGES[] = {
    JSCAN_EDGE("type", N_PART_TYPE),
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("thinking", N_CONTENT),
    JSCAN_EDGE("content", N_CONTENT),
    JSCAN_EDGE("value", N_CONTENT),
};
static const struct jscan_edge CALLS_EDGES[] = {
    JSCAN_EDGE("function", N_CALLS),    JSCAN_EDGE("custom", N_CALLS),
    JSCAN_EDGE("arguments", N_CONTENT), JSCAN_EDGE("name", N_CONTENT),
    JSCAN_EDGE("input", N_CONTENT),
};
static const struct jscan_edge ITEM_EDGES[] = {
    JSCAN_EDGE("type", N_ITEM_TYPE),    JSCAN_EDGE("action", N_ACTION),
    JSCAN_EDGE("content", N_CONTENT),   JSCAN_EDGE("summary", N_CONTENT),
    JSCAN_EDGE("arguments", N_CONTENT), JSCAN_EDGE("code", N_CONTENT),
    JSCAN_EDGE("input", N_CONTENT),
};
static const struct jscan_edge ACTION_EDGES[] = {JSCAN_EDGE("type", N_ACTION_TYPE)};
static const struct jscan_edge TOOL_USAGE_EDGES[] = {JSCAN_EDGE("web_search", N_TOOL_SEARCH),
                                                     JSCAN_EDGE("image_gen", N_IMAGE_GEN)};
static const struct jscan_edge TOOL_EDGES[] = {JSCAN_EDGE("model", N_TOOL_MODEL)};
static const struct jscan_edge SIDE_EDGES[] = {
    JSCAN_EDGE("model", N_SIDE_MODEL),
    JSCAN_EDGE("input_tokens", N_SIDE_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", N_SIDE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("reasoning_tokens", N_SIDE_RAW + RAW_REASONING),
    JSCAN_EDGE("input_tokens_details", N_SIDE_IN_DETAILS),
    JSCAN_EDGE("output_tokens_details", N_SIDE_OUT_DETAILS),
};
static const struct jscan_edge SIDE_IN_DETAILS_EDGES[] = {
    JSCAN_EDGE("image_tokens", N_SIDE_RAW + RAW_IN_IMAGE),
    JSCAN_EDGE("cached_tokens", N_SIDE_RAW + RAW_CACHED)};
static const struct jscan_edge SIDE_OUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("image_tokens", N_SIDE_RAW + RAW_OUT_IMAGE)};
static const struct jscan_edge TOOL_SEARCH_EDGES[] = {
    JSCAN_EDGE("num_requests", N_TOOL_REQUESTS)};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("prompt_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("input_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("completion_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("output_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("total_tokens", N_RAW + RAW_TOTAL),
    JSCAN_EDGE("prompt_tokens_details", N_IN_DETAILS),
    JSCAN_EDGE("input_tokens_details", N_IN_DETAILS),
    JSCAN_EDGE("prompt_token_details", N_IN_DETAILS),
    JSCAN_EDGE("input_token_details", N_IN_DETAILS),
    JSCAN_EDGE("completion_tokens_details", N_OUT_DETAILS),
    JSCAN_EDGE("output_tokens_details", N_OUT_DETAILS),
    JSCAN_EDGE("output_token_details", N_OUT_DETAILS),
    JSCAN_EDGE("prompt_cache_hit_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cached_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("num_cached_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_read_input_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_creation_input_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("audio_prompt_tokens", N_RAW + RAW_IN_AUDIO),
    JSCAN_EDGE("reasoning_tokens", N_RAW + RAW_REASONING),
    JSCAN_EDGE("server_tool_use", N_TOOLS_USED),
    JSCAN_EDGE("server_tool_use_details", N_TOOLS_USED),
    JSCAN_EDGE("server_side_tool_usage_details", N_TOOLS_USED),
    JSCAN_EDGE("num_search_queries", N_RAW + RAW_WEB_SEARCH),
    JSCAN_EDGE("cost", N_COST),
    JSCAN_EDGE("cost_in_usd_ticks", N_TICKS),
    JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("seconds", N_SECONDS),
    JSCAN_EDGE("image_pixels", N_IMAGE_PIXELS), /* Voyage */
    JSCAN_EDGE("video_pixels", N_VIDEO_PIXELS),
    JSCAN_EDGE("prompt_audio_seconds", N_SECONDS),
    JSCAN_EDGE("pages_processed", N_RAW + RAW_PAGES),
    JSCAN_EDGE("search_units", N_RAW + RAW_SEARCH_UNITS),
    JSCAN_EDGE("citation_tokens", N_RAW + RAW_CITATION),
    JSCAN_EDGE("connector_tokens", N_RAW + RAW_TOOL_INPUT),
    JSCAN_EDGE("search_context_size", N_PERPLEXITY),
    JSCAN_EDGE("connectors", N_TOOLS_USED),
};
static const struct jscan_edge IN_DETAILS_EDGES[] = {
    JSCAN_EDGE("cached_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_write_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_creation_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_creation_input_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_write_tokens_details", N_WRITE_DETAILS),
    JSCAN_EDGE("audio_tokens", N_RAW + RAW_IN_AUDIO),
    JSCAN_EDGE("image_tokens", N_RAW + RAW_IN_IMAGE),
    JSCAN_EDGE("video_tokens", N_RAW + RAW_IN_VIDEO),
    JSCAN_EDGE("cached_tokens_details", N_CACHED_DETAILS),
};
static const struct jscan_edge CACHED_DETAILS_EDGES[] = {
    JSCAN_EDGE("audio_tokens", N_RAW + RAW_CACHED_AUDIO),
    JSCAN_EDGE("image_tokens", N_RAW + RAW_CACHED_IMAGE),
};
static const struct jscan_edge WRITE_DETAILS_EDGES[] = {
    JSCAN_EDGE("ttl_30m_tokens", N_RAW + RAW_WRITE_5M),
    JSCAN_EDGE("ttl_12h_tokens", N_RAW + RAW_WRITE_1H),
};
static const struct jscan_edge OUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("reasoning_tokens", N_RAW + RAW_REASONING),
    JSCAN_EDGE("audio_tokens", N_RAW + RAW_OUT_AUDIO),
    JSCAN_EDGE("image_tokens", N_RAW + RAW_OUT_IMAGE),
};
static const struct jscan_edge TOOLS_USED_EDGES[] = {
    JSCAN_EDGE("web_search_requests", N_RAW + RAW_WEB_SEARCH),
    JSCAN_EDGE("web_search_calls", N_RAW + RAW_WEB_SEARCH),
    JSCAN_EDGE("file_search_calls", N_RAW + RAW_FILE_SEARCH),
    JSCAN_EDGE("code_interpreter_calls", N_RAW + RAW_CODE),
    JSCAN_EDGE("x_search_calls", N_RAW + RAW_X_SEARCH),
    JSCAN_EDGE("document_search_calls", N_RAW + RAW_ATTACHMENT),
    /* Mistral's connectors */
    JSCAN_EDGE("web_search", N_RAW + RAW_WEB_SEARCH),
    JSCAN_EDGE("web_search_premium", N_RAW + RAW_WEB_SEARCH),
    JSCAN_EDGE("code_interpreter", N_RAW + RAW_CODE),
    JSCAN_EDGE("document_library", N_RAW + RAW_FILE_SEARCH),
};
static const struct jscan_edge COST_EDGES[] = {JSCAN_EDGE("total_cost", N_COST_TOTAL)};

const struct jscan_node OPENAI_NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, N_ROOT, JSCAN_ENTER},
    [N_RESPONSE] = {JSCAN_EDGES(RESPONSE_EDGES), 0, 0, 0},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_TYPE] = {.flags = JSCAN_WANT},
    [N_STATUS] = {.flags = JSCAN_WANT},
    [N_OBJECT] = {.flags = JSCAN_WANT},
    [N_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_GROQ] = {JSCAN_EDGES(GROQ_EDGES), 0, 0, 0},
    [N_REASONING] = {JSCAN_EDGES(REASONING_EDGES), 0, 0, 0},
    [N_REASONING_MODE] = {.flags = JSCAN_WANT},
    [N_INCOMPLETE] = {JSCAN_EDGES(INCOMPLETE_EDGES), 0, 0, 0},
    [N_REASON] = {.flags = JSCAN_WANT},
    [N_CHOICES] = {.item = N_CHOICE, .flags = JSCAN_ENTER},
    [N_CHOICE] = {JSCAN_EDGES(CHOICE_EDGES), 0, 0, JSCAN_WANT | JSCAN_ENTER},
    [N_FINISH] = {.flags = JSCAN_WANT},
    [N_DELTA] = {JSCAN_EDGES(DELTA_EDGES), 0, 0, 0},
    [N_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), 0, N_CONTENT, JSCAN_COUNT},
    [N_PART_TYPE] = {.flags = JSCAN_WANT},
    [N_REFUSAL] = {.flags = JSCAN_WANT | JSCAN_COUNT},
    [N_CALLS] = {JSCAN_EDGES(CALLS_EDGES), 0, N_CALLS, 0},
    [N_OUTPUT] = {.item = N_ITEM, .flags = JSCAN_ENTER},
    [N_ITEM] = {JSCAN_EDGES(ITEM_EDGES), 0, 0, JSCAN_ENTER},
    [N_ITEM_TYPE] = {.flags = JSCAN_WANT},
    [N_ACTION] = {JSCAN_EDGES(ACTION_EDGES), 0, 0, 0},
    [N_ACTION_TYPE] = {.flags = JSCAN_WANT},
    [N_TOOL_USAGE] = {JSCAN_EDGES(TOOL_USAGE_EDGES), 0, 0, 0},
    [N_TOOL_SEARCH] = {JSCAN_EDGES(TOOL_SEARCH_EDGES), 0, 0, 0},
    [N_TOOL_REQUESTS] = {.flags = JSCAN_WANT},
    [N_OTHER] = {NULL, 0, N_OTHER, N_OTHER, JSCAN_WANT},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [N_IN_DETAILS] = {JSCAN_EDGES(IN_DETAILS_EDGES), 0, 0, 0},
    [N_CACHED_DETAILS] = {JSCAN_EDGES(CACHED_DETAILS_EDGES), 0, 0, 0},
    [N_WRITE_DETAILS] = {JSCAN_EDGES(WRITE_DETAILS_EDGES), 0, 0, 0},
    [N_OUT_DETAILS] = {JSCAN_EDGES(OUT_DETAILS_EDGES), 0, 0, 0},
    [N_TOOLS_USED] = {JSCAN_EDGES(TOOLS_USED_EDGES), 0, 0, 0},
    [N_COST] = {JSCAN_EDGES(COST_EDGES), 0, 0, JSCAN_WANT},
    [N_COST_TOTAL] = {.flags = JSCAN_WANT},
    [N_TICKS] = {.flags = JSCAN_WANT},
    [N_IMAGE_PIXELS] = {.flags = JSCAN_WANT},
    [N_VIDEO_PIXELS] = {.flags = JSCAN_WANT},
    [N_SECONDS] = {.flags = JSCAN_WANT},
    [N_DURATION] = {.flags = JSCAN_WANT},
    [N_TIMINGS] = {JSCAN_EDGES(TIMINGS_EDGES), 0, 0, 0},
    [N_TIMED_INPUT] = {.flags = JSCAN_WANT},
    [N_TIMED_CACHED] = {.flags = JSCAN_WANT},
    [N_TIMED_OUTPUT] = {.flags = JSCAN_WANT},
    [N_VIDEO] = {JSCAN_EDGES(VIDEO_EDGES), 0, 0, 0},
    [N_VIDEO_SECONDS] = {.flags = JSCAN_WANT},
    [N_VIDEO_SIZE] = {.flags = JSCAN_WANT},
    [N_REQUEST_ID] = {.flags = JSCAN_WANT},
    [N_FILE] = {JSCAN_EDGES(FILE_EDGES), 0, 0, 0},
    [N_FILE_ID] = {.flags = JSCAN_WANT},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_KEPT] = {.flags = JSCAN_WANT},
    [N_DATA] = {.item = N_DATUM},
    [N_DATUM] = {.flags = JSCAN_ENTER},
    [N_TOOLS] = {.item = N_TOOL},
    [N_TOOL] = {JSCAN_EDGES(TOOL_EDGES), 0, 0, 0},
    [N_TOOL_MODEL] = {.flags = JSCAN_WANT},
    [N_PERPLEXITY] = {.flags = JSCAN_WANT},
    [N_SVG] = {JSCAN_EDGES(SIDE_EDGES), 0, 0, JSCAN_ENTER},
    [N_IMAGE_GEN] = {JSCAN_EDGES(SIDE_EDGES), 0, 0, JSCAN_ENTER},
    [N_SIDE_MODEL] = {.flags = JSCAN_WANT},
    [N_SIDE_IN_DETAILS] = {JSCAN_EDGES(SIDE_IN_DETAILS_EDGES), 0, 0, 0},
    [N_SIDE_OUT_DETAILS] = {JSCAN_EDGES(SIDE_OUT_DETAILS_EDGES), 0, 0, 0},
    [N_RESULTS] = {.item = N_RESULT},
    [N_RESULT] = {JSCAN_EDGES(RESULT_EDGES), 0, 0, JSCAN_ENTER},
    [N_RESULT_NAME] = {.flags = JSCAN_WANT},
    [N_BATCH_RESULT] = {JSCAN_EDGES(BATCH_RESULT_EDGES), 0, 0, 0},
    [N_ANY_ANSWER] = {NULL, 0, N_RESPONSE, 0, 0},
    [N_STATE] = {JSCAN_EDGES(STATE_EDGES), 0, 0, 0},
    [N_STATE_ALL] = {.flags = JSCAN_WANT},
    [N_STATE_LEFT] = {.flags = JSCAN_WANT},
    [N_REJECTED] = {.flags = JSCAN_WANT},
    [N_BREAKDOWN] = {JSCAN_EDGES(BREAKDOWN_EDGES), 0, 0, 0},
    [N_SHARES] = {.item = N_SHARE, .flags = JSCAN_ENTER},
    [N_SHARE] = {JSCAN_EDGES(SHARE_EDGES), 0, 0, JSCAN_ENTER},
    [N_SHARE_USAGE] = {JSCAN_EDGES(SHARE_USAGE_EDGES), 0, 0, 0},
    [N_SHARE_IN_DETAILS] = {JSCAN_EDGES(SHARE_IN_DETAILS_EDGES), 0, 0, 0},
    [N_SHARE_OUT_DETAILS] = {JSCAN_EDGES(SHARE_OUT_DETAILS_EDGES), 0, 0, 0},
#define RAW_NODE(id)                                                                           \
    [N_RAW + (id)] = {.flags = JSCAN_WANT}, [N_SIDE_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};
