/*
 * Alibaba's own interface, DashScope: texts, images, embeddings, ranking, and tasks that are
 * asked for later.  Each event of a stream repeats the usage so far and, unless the request
 * asks for increments, the whole text so far.
 */
#include "metering/usage/reader_table.h"

enum {
    OWN_OUTPUT = NODE_OWN,
    OWN_CHOICES,
    OWN_CHOICE,
    OWN_MESSAGE,
    OWN_CONTENT,
    OWN_INPUT_DETAILS,
    OWN_OUTPUT_DETAILS,
    OWN_PLUGINS,
    OWN_SEARCH,
    OWN_CODE,
    OWN_TASK,
    OWN_TASK_STATUS,
    OWN_VIDEO,
    OWN_VIDEO_SECONDS,
};

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("output", OWN_OUTPUT),
    JSCAN_EDGE("usage", NODE_USAGE),
    JSCAN_EDGE("code", OWN_CODE),
};
static const struct jscan_edge OUTPUT_EDGES[] = {
    JSCAN_EDGE("text", NODE_WHOLE_TEXT),
    JSCAN_EDGE("finish_reason", NODE_FINISH),
    JSCAN_EDGE("choices", OWN_CHOICES),
    JSCAN_EDGE("task_id", OWN_TASK),
    JSCAN_EDGE("task_status", OWN_TASK_STATUS),
    JSCAN_EDGE("video_url", OWN_VIDEO),
};
static const struct jscan_edge CHOICE_EDGES[] = {JSCAN_EDGE("finish_reason", NODE_FINISH),
                                                 JSCAN_EDGE("message", OWN_MESSAGE)};
static const struct jscan_edge MESSAGE_EDGES[] = {
    JSCAN_EDGE("content", OWN_CONTENT),
    JSCAN_EDGE("reasoning_content", NODE_TEXT),
    JSCAN_EDGE("tool_calls", NODE_TEXT),
};
static const struct jscan_edge CONTENT_EDGES[] = {JSCAN_EDGE("text", NODE_WHOLE_TEXT)};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("input_tokens", NODE_RAW + RAW_INPUT),
    JSCAN_EDGE("output_tokens", NODE_RAW + RAW_OUTPUT),
    JSCAN_EDGE("total_tokens", NODE_RAW + RAW_TOTAL),
    JSCAN_EDGE("image_tokens", NODE_RAW + RAW_IN_IMAGE),
    JSCAN_EDGE("audio_tokens", NODE_RAW + RAW_IN_AUDIO),
    JSCAN_EDGE("video_tokens", NODE_RAW + RAW_IN_VIDEO),
    JSCAN_EDGE("image_count", NODE_RAW + RAW_IMAGES),
    JSCAN_EDGE("output_image_count", NODE_RAW + RAW_IMAGES),
    JSCAN_EDGE("duration", NODE_SECONDS),
    JSCAN_EDGE("video_duration", OWN_VIDEO_SECONDS),
    JSCAN_EDGE("prompt_tokens_details", OWN_INPUT_DETAILS),
    JSCAN_EDGE("input_tokens_details", OWN_INPUT_DETAILS),
    JSCAN_EDGE("output_tokens_details", OWN_OUTPUT_DETAILS),
    JSCAN_EDGE("plugins", OWN_PLUGINS),
};
static const struct jscan_edge INPUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("cached_tokens", NODE_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_creation_input_tokens", NODE_RAW + RAW_WRITE),
    JSCAN_EDGE("image_tokens", NODE_RAW + RAW_IN_IMAGE),
    JSCAN_EDGE("audio_tokens", NODE_RAW + RAW_IN_AUDIO),
    JSCAN_EDGE("video_tokens", NODE_RAW + RAW_IN_VIDEO),
};
static const struct jscan_edge OUTPUT_DETAILS_EDGES[] = {
    JSCAN_EDGE("reasoning_tokens", NODE_RAW + RAW_REASONING),
    JSCAN_EDGE("audio_tokens", NODE_RAW + RAW_OUT_AUDIO),
};
static const struct jscan_edge PLUGINS_EDGES[] = {JSCAN_EDGE("search", OWN_SEARCH)};
static const struct jscan_edge SEARCH_EDGES[] = {
    JSCAN_EDGE("count", NODE_RAW + RAW_WEB_SEARCH)};

static const struct jscan_node NODES[NODE_COUNT] = {
    READER_TABLE_NODES
    [NODE_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, NODE_ROOT, JSCAN_ENTER},
    [NODE_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [OWN_OUTPUT] = {JSCAN_EDGES(OUTPUT_EDGES), 0, 0, 0},
    [OWN_CHOICES] = {.item = OWN_CHOICE},
    [OWN_CHOICE] = {JSCAN_EDGES(CHOICE_EDGES), 0, 0, 0},
    [OWN_MESSAGE] = {JSCAN_EDGES(MESSAGE_EDGES), 0, 0, 0},
    [OWN_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), 0, OWN_CONTENT, JSCAN_WANT | JSCAN_COUNT},
    [OWN_INPUT_DETAILS] = {JSCAN_EDGES(INPUT_DETAILS_EDGES), 0, 0, 0},
    [OWN_OUTPUT_DETAILS] = {JSCAN_EDGES(OUTPUT_DETAILS_EDGES), 0, 0, 0},
    [OWN_PLUGINS] = {JSCAN_EDGES(PLUGINS_EDGES), 0, 0, 0},
    [OWN_SEARCH] = {JSCAN_EDGES(SEARCH_EDGES), 0, 0, 0},
    [OWN_CODE] = {.flags = JSCAN_WANT},
    [OWN_TASK] = {.flags = JSCAN_WANT},
    [OWN_TASK_STATUS] = {.flags = JSCAN_WANT},
    [OWN_VIDEO] = {.flags = JSCAN_WANT},
    [OWN_VIDEO_SECONDS] = {.flags = JSCAN_WANT},
};

/* An answer that went well may name no fault, or an empty one. */
static void on_code(struct reading *r, const struct jscan_event *e)
{
    r->error = r->error || (e->type == JSCAN_STRING && e->text.n > 0);
}

static void on_task_status(struct reading *r, const struct jscan_event *e)
{
    r->result.pending = reading_is(e, "PENDING") || reading_is(e, "RUNNING") ||
                        reading_is(e, "SUSPENDED");
    r->error = r->error || reading_is(e, "FAILED") || reading_is(e, "CANCELED");
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node < NODE_OWN || e->node >= NODE_RAW || e->what != JSCAN_AT_VALUE)
        reader_table_on_event(arg, e);
    else if (e->node == OWN_CONTENT)
        READER_TABLE_FACTS[NODE_WHOLE_TEXT](r, e);
    else if (e->node == OWN_CODE)
        on_code(r, e);
    else if (e->node == OWN_TASK)
        READER_TABLE_FACTS[NODE_ID](r, e);
    else if (e->node == OWN_TASK_STATUS)
        on_task_status(r, e);
    else if (e->node == OWN_VIDEO)
        r->data++;
    else if (e->node == OWN_VIDEO_SECONDS) {
        reading_seconds(&r->counts, RAW_VIDEO_MS, e);
        r->has_counts = r->has_counts || raw_has(&r->counts, RAW_VIDEO_MS);
    }
}

static void begin_document(struct reading *r)
{
    r->data = 0;
}

/* The same names say how long a sound was, or a video; how many images were taken, or made. */
static void end_document(struct reading *r)
{
    struct raw_counts *c = &r->counts;

    if (r->has_counts && r->data > 0)
        raw_move(c, RAW_AUDIO_MS, RAW_VIDEO_MS);
    if (r->has_counts && (r->flags & ENTRY_EMBEDS))
        raw_move(c, RAW_IMAGES, RAW_IN_IMAGES);
    reader_table_end_document(r);
}

static const struct reader_word FINISHES[] = {
    {"length", TAP_END_TRUNCATED}, {"null", TAP_END_NONE}, {NULL, 0}};
static const struct reader_word TYPES[] = {{NULL, 0}};

const struct reader READER_DASHSCOPE = {
    .nodes = NODES, .root = NODE_ROOT, .on_event = on_event, .facts = READER_TABLE_FACTS,
    .begin_document = begin_document, .end_document = end_document, .finishes = FINISHES,
    .types = TYPES, .images_are_inside = true};
