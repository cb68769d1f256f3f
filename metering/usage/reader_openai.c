/*
 * OpenAI's answers: chat completions, completions, embeddings and responses, and
 * those of the many that speak the same, images, transcriptions and assistants' runs.
 * Usage is taken from wherever it stands; what is repeated is cumulative, so the last
 * counts win and nothing is added up.  What another model did (images that a tool drew,
 * SVG of an image model) is told apart and kept as a part of its own.
 */
#include "metering/usage/reader_openai_int.h"

enum node {
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
    N_RAW, /* and RAW_COUNT - 1 more */
    N_SIDE_RAW = N_RAW + RAW_COUNT,
    N_COUNT = N_SIDE_RAW + RAW_COUNT,
};

enum { ITEM_NONE = 0, ITEM_SEARCH, ITEM_FILE_SEARCH, ITEM_CODE };

enum { TICK_PLACES = 10 }; /* cost_in_usd_ticks: 10^-10 dollars */

/* Members that a response and an event share. */
#define BODY_EDGES                                                                             \
    JSCAN_EDGE("choices", N_CHOICES), JSCAN_EDGE("usage", N_USAGE),                            \
        JSCAN_EDGE("model", N_MODEL), JSCAN_EDGE("service_tier", N_TIER),                      \
        JSCAN_EDGE("status", N_STATUS), JSCAN_EDGE("error", N_ERROR),                          \
        JSCAN_EDGE("incomplete_details", N_INCOMPLETE), JSCAN_EDGE("output", N_OUTPUT),        \
        JSCAN_EDGE("tool_usage", N_TOOL_USAGE), JSCAN_EDGE("tools", N_TOOLS),              \
        JSCAN_EDGE("svg_usage", N_SVG), JSCAN_EDGE("id", N_ID),                            \
        JSCAN_EDGE("background", N_KEPT)

static const struct jscan_edge ROOT_EDGES[] = {
    BODY_EDGES,
    JSCAN_EDGE("type", N_TYPE),
    JSCAN_EDGE("delta", N_CONTENT),
    JSCAN_EDGE("response", N_RESPONSE),
    JSCAN_EDGE("object", N_OBJECT),
    JSCAN_EDGE("x_groq", N_GROQ),
    JSCAN_EDGE("message", N_DELTA),
    JSCAN_EDGE("moderation", N_OTHER),
    JSCAN_EDGE("prompt_filter_results", N_OTHER),
    JSCAN_EDGE("data", N_DATA),
    JSCAN_EDGE("text", N_CONTENT),
    JSCAN_EDGE("duration", N_DURATION),
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
    BODY_EDGES, JSCAN_EDGE("body", N_RESPONSE), JSCAN_EDGE("data", N_DATA)};
static const struct jscan_edge FILE_EDGES[] = {JSCAN_EDGE("id", N_FILE_ID)};
static const struct jscan_edge VIDEO_EDGES[] = {JSCAN_EDGE("duration", N_VIDEO_SECONDS)};
static const struct jscan_edge GROQ_EDGES[] = {JSCAN_EDGE("usage", N_USAGE),
                                               JSCAN_EDGE("error", N_ERROR)};
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

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, N_ROOT, JSCAN_ENTER},
    [N_RESPONSE] = {JSCAN_EDGES(RESPONSE_EDGES), 0, 0, 0},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_TYPE] = {.flags = JSCAN_WANT},
    [N_STATUS] = {.flags = JSCAN_WANT},
    [N_OBJECT] = {.flags = JSCAN_WANT},
    [N_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_GROQ] = {JSCAN_EDGES(GROQ_EDGES), 0, 0, 0},
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
    [N_SECONDS] = {.flags = JSCAN_WANT},
    [N_DURATION] = {.flags = JSCAN_WANT},
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
#define RAW_NODE(id)                                                                           \
    [N_RAW + (id)] = {.flags = JSCAN_WANT}, [N_SIDE_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

/* An error member that is not null makes a document one of error. */
static void on_error(struct reading *r, const struct jscan_event *e)
{
    if (reading_error(r, e))
        r->has_other = true;
}

static const struct reader_word FINISHES[] = {
    {"length", TAP_END_TRUNCATED},       {"max_tokens", TAP_END_TRUNCATED},
    {"model_length", TAP_END_TRUNCATED}, {"max_output_tokens", TAP_END_TRUNCATED},
    {"content_filter", TAP_END_REFUSED}, {"refusal", TAP_END_REFUSED},
    {"error", TAP_END_ERROR},            {NULL, 0},
};

/* The last words of streams: of responses, images, transcriptions, speech. */
static const struct reader_word TYPES[] = {
    {"response.completed", DOCUMENT_FINAL},
    {"response.incomplete", DOCUMENT_TRUNCATED},
    {"response.failed", DOCUMENT_FAILED},
    {"image_generation.completed", DOCUMENT_FINAL},
    {"image_edit.completed", DOCUMENT_FINAL},
    {"transcript.text.done", DOCUMENT_FINAL},
    {"speech.audio.done", DOCUMENT_FINAL},
    {"error", DOCUMENT_ERROR},
    {NULL, 0},
};

static void on_type(struct reading *r, const struct jscan_event *e)
{
    fact_type(r, e);
    if (reading_is(e, "image_generation.completed") || reading_is(e, "image_edit.completed"))
        r->drawn++;
}

/* Of a batch: OpenAI's words, and Mistral's. */
static void on_job_status(struct reading *r, const struct jscan_event *e)
{
    static const char *const LAST[] = {"completed", "failed", "expired",          "cancelled",
                                       "SUCCESS",   "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"};

    for (size_t i = 0; i < sizeof(LAST) / sizeof(LAST[0]); i++)
        r->result.work_over = r->result.work_over || reading_is(e, LAST[i]);
}

/* Of a response, plain or inside an event. */
static void on_status(struct reading *r, const struct jscan_event *e)
{
    if (r->flags & ENTRY_JOB) {
        on_job_status(r, e);
        return;
    }
    r->result.pending = reading_is(e, "queued") || reading_is(e, "in_progress") ||
                 reading_is(e, "requires_action");
    if (reading_is(e, "failed") || reading_is(e, "FAILED")) /* Perplexity */
        r->error = true;
    else if (reading_is(e, "incomplete"))
        reading_finish(r, TAP_END_TRUNCATED);
    else if (reading_is(e, "completed"))
        reading_finish(r, TAP_END_COMPLETE);
    if (r->flags & ENTRY_VIDEO) {
        r->is_done = reading_is(e, "completed") || reading_is(e, "done");
        r->result.pending = r->result.pending || reading_is(e, "pending");
        r->error = r->error || reading_is(e, "expired") || reading_is(e, "cancelled");
    }
}

static void on_item_type(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "web_search_call"))
        r->item_kind = ITEM_SEARCH;
    else if (reading_is(e, "file_search_call"))
        r->item_kind = ITEM_FILE_SEARCH;
    else if (reading_is(e, "code_interpreter_call"))
        r->item_kind = ITEM_CODE;
}

static void on_item(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        r->item_kind = ITEM_NONE;
        r->item_no_search = false;
    } else if (r->item_kind != ITEM_NONE &&
               !(r->item_kind == ITEM_SEARCH && r->item_no_search)) {
        r->items[r->item_kind - 1]++;
    }
}

/* Where a count goes that several members may spell: the largest of them. */
static void on_raw(struct reading *r, enum raw_count id, const struct jscan_event *e)
{
    bool had = raw_has(&r->counts, id);
    uint64_t before = r->counts.n[id];

    reading_count(&r->counts, id, e);
    if (had && r->counts.n[id] < before)
        r->counts.n[id] = before;
}

static void begin_document(struct reading *r)
{
    r->has_choices = r->has_filled_choices = r->has_other = r->is_usage_event = false;
    r->has_searches = false;
    r->items[0] = r->items[1] = r->items[2] = 0;
    r->data = 0;
    r->duration = (struct raw_counts){.odd = false};
    r->is_step = false;
    r->is_done = false;
    r->is_deferred = false;
}

static void end_document(struct reading *r)
{
    struct tap_result *result = &r->result;
    bool last = r->type == DOCUMENT_FINAL || r->type == DOCUMENT_TRUNCATED ||
                r->type == DOCUMENT_FAILED;

    if (r->type == DOCUMENT_FAILED || r->type == DOCUMENT_ERROR)
        r->error = true;
    if (r->type == DOCUMENT_TRUNCATED)
        reading_finish(r, TAP_END_TRUNCATED);
    else if (last)
        reading_finish(r, TAP_END_COMPLETE);
    r->terminator = r->terminator || last;
    r->is_usage_event =
        r->has_choices && !r->has_filled_choices && r->has_counts && !r->has_other;
    if (r->flags & (ENTRY_LATER | ENTRY_JOB)) /* a batch's sums: its output tells them */
        r->has_counts = false;
    if (r->is_step && r->has_counts) {
        r->counts = r->before;
        r->has_counts = false;
    }
    if (r->is_deferred && !r->has_choices && !r->error)
        result->pending = true;
    reading_keep_cost(r);
    openai_to_usage(r);
    if (!r->has_counts)
        return;
    reading_keep_id(r);
    result->has_usage = usage_says_amount(&result->usage);
    /* Running counts beside text are not the last word. */
    result->usage_is_final =
        !r->is_stream || last || !r->has_filled_choices || r->finish != TAP_END_NONE;
    if (result->has_usage && (last || !r->is_stream))
        openai_add_tools(r);
}

static void on_side(struct reading *r, const struct jscan_event *e)
{
    enum part_kind kind = e->node == N_SVG ? PART_SVG : PART_DRAWING;

    if (e->what == JSCAN_AT_ENTER) {
        r->iteration = (struct raw_counts){.odd = false};
        r->iteration_model[0] = '\0';
        parts_drop(r, kind);
    } else if (e->what == JSCAN_AT_LEAVE) {
        openai_add_side(r, kind);
    }
}

static void on_object(struct reading *r, const struct jscan_event *e)
{
    r->error = r->error || reading_is(e, "error");
    r->is_step = reading_is(e, "thread.run.step");
}

static void on_kept(struct reading *r, const struct jscan_event *e)
{
    r->is_kept = r->is_kept || e->type == JSCAN_TRUE;
}

static void on_incomplete(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "content_filter"))
        reading_finish(r, TAP_END_REFUSED);
}

static void on_part_type(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "refusal"))
        reading_finish(r, TAP_END_REFUSED);
}

static void on_refusal(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_STRING && e->text_bytes > 0)
        reading_finish(r, TAP_END_REFUSED);
}

static void on_action_type(struct reading *r, const struct jscan_event *e)
{
    r->item_no_search = !reading_is(e, "search");
}

static void on_tool_requests(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &r->searches) == JSCAN_COUNT_OK)
        r->has_searches = true;
}

static void on_other(struct reading *r, const struct jscan_event *e)
{
    r->has_other = r->has_other || e->type != JSCAN_NULL;
}

static void on_ticks(struct reading *r, const struct jscan_event *e)
{
    reading_cost(r, e, TICK_PLACES);
}

static void on_duration(struct reading *r, const struct jscan_event *e)
{
    reading_seconds(&r->duration, RAW_AUDIO_MS, e);
}

static void on_video_seconds(struct reading *r, const struct jscan_event *e)
{
    if (r->flags & ENTRY_VIDEO)
        reading_seconds(&r->duration, RAW_VIDEO_MS, e);
}

static void on_video_size(struct reading *r, const struct jscan_event *e)
{
    if (r->flags & ENTRY_VIDEO)
        (void)reading_text(e, r->result.size, sizeof(r->result.size));
}

/* xAI's name for what is worked on: a video, or a chat that was deferred. */
static void on_request_id(struct reading *r, const struct jscan_event *e)
{
    if (!(r->flags & (ENTRY_VIDEO | ENTRY_EDIT)))
        return;
    fact_id(r, e);
    r->is_deferred = (r->flags & ENTRY_EDIT) && e->type == JSCAN_STRING;
}

/* Of what was uploaded in parts the file's id counts, not the upload's. */
static void on_id(struct reading *r, const struct jscan_event *e)
{
    if (!(r->flags & ENTRY_JOINED))
        fact_id(r, e);
}

static void on_file_id(struct reading *r, const struct jscan_event *e)
{
    if (r->flags & ENTRY_JOINED)
        fact_id(r, e);
}

static void on_tool_model(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->tool_model, sizeof(r->tool_model));
}

static void on_side_model(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->iteration_model, sizeof(r->iteration_model));
}

static void on_search_context(struct reading *r, const struct jscan_event *e)
{
    r->is_perplexity = r->is_perplexity || e->type == JSCAN_STRING;
    (void)reading_text(e, r->result.search_ctx, sizeof(r->result.search_ctx));
}

static fact_fn *const FACTS[N_RAW] = {
    [N_MODEL] = fact_model,
    [N_TIER] = fact_tier,
    [N_TYPE] = on_type,
    [N_STATUS] = on_status,
    [N_OBJECT] = on_object,
    [N_ID] = on_id,
    [N_FILE_ID] = on_file_id,
    [N_KEPT] = on_kept,
    [N_REASON] = on_incomplete,
    [N_FINISH] = fact_finish,
    [N_PART_TYPE] = on_part_type,
    [N_REFUSAL] = on_refusal,
    [N_ITEM_TYPE] = on_item_type,
    [N_ACTION_TYPE] = on_action_type,
    [N_TOOL_REQUESTS] = on_tool_requests,
    [N_OTHER] = on_other,
    [N_COST] = fact_cost,
    [N_COST_TOTAL] = fact_cost,
    [N_TICKS] = on_ticks,
    [N_SECONDS] = fact_seconds,
    [N_DURATION] = on_duration,
    [N_VIDEO_SECONDS] = on_video_seconds,
    [N_VIDEO_SIZE] = on_video_size,
    [N_REQUEST_ID] = on_request_id,
    [N_TOOL_MODEL] = on_tool_model,
    [N_SIDE_MODEL] = on_side_model,
    [N_PERPLEXITY] = on_search_context,
};

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_SIDE_RAW)
        reading_count(&r->iteration, (enum raw_count)(e->node - N_SIDE_RAW), e);
    else if (e->node >= N_RAW)
        on_raw(r, (enum raw_count)(e->node - N_RAW), e);
    else if (e->node == N_ROOT)
        reading_root(r, e);
    else if (e->node == N_CHOICES)
        r->has_choices = r->has_choices || e->type == JSCAN_ARRAY;
    else if (e->node == N_CHOICE)
        r->has_filled_choices = true;
    else if (e->node == N_OUTPUT && e->what == JSCAN_AT_ENTER)
        r->items[0] = r->items[1] = r->items[2] = 0;
    else if (e->node == N_ITEM)
        on_item(r, e);
    else if (e->node == N_SVG || e->node == N_IMAGE_GEN)
        on_side(r, e);
    else if (e->node == N_DATUM)
        r->data += e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT;
    else if (e->node == N_USAGE)
        reading_usage(r, e);
    else if (e->node == N_ERROR)
        on_error(r, e);
    else
        reading_fact(r, e);
}

/* What a usage object says that is one. */
enum {
    AMOUNTS = 1 << RAW_INPUT | 1 << RAW_OUTPUT | 1 << RAW_TOTAL | 1 << RAW_AUDIO_MS |
              1 << RAW_PAGES | 1 << RAW_SEARCH_UNITS,
};

/* Fireworks' count of what it read from its cache. */
static const struct reader_header HEADERS[] = {{"fireworks-cached-prompt-tokens", RAW_CACHED}};

static void end_headers(struct reading *r)
{
    (void)r;
}

#define READER                                                                                 \
    .nodes = NODES, .root = N_ROOT, .on_event = on_event, .facts = FACTS, .amounts = AMOUNTS,  \
    .begin_document = begin_document, .end_document = end_document, .finishes = FINISHES,      \
    .types = TYPES, .headers = HEADERS, .n_headers = 1, .end_headers = end_headers

const struct reader READER_OPENAI = {READER};
const struct reader READER_RESPONSES = {READER, .has_terminator = true};
