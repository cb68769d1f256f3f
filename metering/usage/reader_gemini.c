/*
 * Google's generateContent, embedContent and interactions.  Usage stands in
 * nearly every event and is cumulative; the last one that has counts holds, whole.
 * Thoughts are counted beside the candidates, tool use beside the prompt.
 */
#include "metering/usage/estimate.h"
#include "metering/usage/reader.h"

#include <string.h>

enum node {
    N_SKIP = JSCAN_SKIP,
    N_ROOT,
    N_MODEL,
    N_ERROR,
    N_RESPONSE_ID,
    N_FEEDBACK,
    N_BLOCK_REASON,
    N_CANDIDATES,
    N_CANDIDATE,
    N_FINISH,
    N_CONTENT,
    N_PARTS,
    N_CALL,
    N_TEXT,
    N_GROUNDING,
    N_QUERIES,
    N_QUERY,
    N_CHUNKS,
    N_CHUNK,
    N_MAPS,
    N_USAGE,
    N_TIER,
    N_TRAFFIC,
    N_IN_DETAILS,
    N_IN_DETAIL,
    N_OUT_DETAILS,
    N_OUT_DETAIL,
    N_CACHE_DETAILS,
    N_CACHE_DETAIL,
    N_MODALITY,
    N_MODALITY_TOKENS,
    N_INTERACTION,
    N_STATUS,
    N_EVENT,
    N_STEP,
    N_GROUNDS,
    N_GROUND,
    N_GROUND_TYPE,
    N_GROUND_COUNT,
    N_ID,
    N_NAME,
    N_BATCH,
    N_ANSWER,
    N_DONE,
    N_VIDEOS,
    N_VIDEO,
    N_VIDEO_RESPONSE,
    N_RAW,
    N_COUNT = N_RAW + RAW_COUNT,
};

enum { MODALITY_OTHER = 0, MODALITY_IMAGE, MODALITY_AUDIO, MODALITY_VIDEO };
enum { GROUND_SEARCH = 0, GROUND_MAPS };

static const struct jscan_edge ROOT_EDGES[] = {
    JSCAN_EDGE("candidates", N_CANDIDATES),   JSCAN_EDGE("usageMetadata", N_USAGE),
    JSCAN_EDGE("modelVersion", N_MODEL),      JSCAN_EDGE("error", N_ERROR),
    JSCAN_EDGE("promptFeedback", N_FEEDBACK), JSCAN_EDGE("responseId", N_RESPONSE_ID),
    /* a line of a batch */
    JSCAN_EDGE("response", N_INTERACTION),
    /* interactions, and the events that carry one */
    JSCAN_EDGE("interaction", N_INTERACTION), JSCAN_EDGE("metadata", N_INTERACTION),
    JSCAN_EDGE("usage", N_USAGE),             JSCAN_EDGE("model", N_MODEL),
    JSCAN_EDGE("status", N_STATUS),           JSCAN_EDGE("service_tier", N_TIER),
    JSCAN_EDGE("event_type", N_EVENT),        JSCAN_EDGE("delta", N_STEP),
    JSCAN_EDGE("id", N_ID),                   JSCAN_EDGE("name", N_NAME),
    JSCAN_EDGE("steps", N_STEP),              JSCAN_EDGE("outputs", N_STEP),
    JSCAN_EDGE("done", N_DONE),
};
static const struct jscan_edge INTERACTION_EDGES[] = {
    JSCAN_EDGE("usage", N_USAGE),           JSCAN_EDGE("total_usage", N_USAGE),
    JSCAN_EDGE("model", N_MODEL),           JSCAN_EDGE("status", N_STATUS),
    JSCAN_EDGE("service_tier", N_TIER),     JSCAN_EDGE("error", N_ERROR),
    JSCAN_EDGE("candidates", N_CANDIDATES), JSCAN_EDGE("usageMetadata", N_USAGE),
    JSCAN_EDGE("modelVersion", N_MODEL),
    JSCAN_EDGE("id", N_ID),
    JSCAN_EDGE("inlinedResponses", N_BATCH),
    /* of an operation that made videos: Gemini's API, and Vertex' */
    JSCAN_EDGE("generateVideoResponse", N_VIDEO_RESPONSE),
    JSCAN_EDGE("generatedVideos", N_VIDEOS),
    JSCAN_EDGE("videos", N_VIDEOS),
};
static const struct jscan_edge VIDEO_RESPONSE_EDGES[] = {
    JSCAN_EDGE("generatedSamples", N_VIDEOS)};
/* A finished batch that has its answers with it: the list stands in an object of one name. */
static const struct jscan_edge BATCH_EDGES[] = {JSCAN_EDGE("inlinedResponses", N_BATCH)};
static const struct jscan_edge ANSWER_EDGES[] = {JSCAN_EDGE("response", N_INTERACTION)};
static const struct jscan_edge STEP_EDGES[] = {
    JSCAN_EDGE("text", N_TEXT), JSCAN_EDGE("content", N_STEP), JSCAN_EDGE("arguments", N_TEXT)};
static const struct jscan_edge GROUND_EDGES[] = {JSCAN_EDGE("type", N_GROUND_TYPE),
                                                 JSCAN_EDGE("tool", N_GROUND_TYPE),
                                                 JSCAN_EDGE("count", N_GROUND_COUNT)};
static const struct jscan_edge FEEDBACK_EDGES[] = {JSCAN_EDGE("blockReason", N_BLOCK_REASON)};
static const struct jscan_edge CANDIDATE_EDGES[] = {
    JSCAN_EDGE("finishReason", N_FINISH),
    JSCAN_EDGE("content", N_CONTENT),
    JSCAN_EDGE("groundingMetadata", N_GROUNDING),
};
static const struct jscan_edge CONTENT_EDGES[] = {JSCAN_EDGE("parts", N_PARTS)};
static const struct jscan_edge PART_EDGES[] = {
    JSCAN_EDGE("text", N_TEXT),
    JSCAN_EDGE("functionCall", N_CALL),
    JSCAN_EDGE("executableCode", N_TEXT),
};
static const struct jscan_edge GROUNDING_EDGES[] = {JSCAN_EDGE("webSearchQueries", N_QUERIES),
                                                    JSCAN_EDGE("groundingChunks", N_CHUNKS)};
static const struct jscan_edge CHUNK_EDGES[] = {JSCAN_EDGE("maps", N_MAPS)};
static const struct jscan_edge USAGE_EDGES[] = {
    JSCAN_EDGE("promptTokenCount", N_RAW + RAW_INPUT),
    JSCAN_EDGE("candidatesTokenCount", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("responseTokenCount", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("totalTokenCount", N_RAW + RAW_TOTAL),
    JSCAN_EDGE("cachedContentTokenCount", N_RAW + RAW_CACHED),
    JSCAN_EDGE("thoughtsTokenCount", N_RAW + RAW_REASONING),
    JSCAN_EDGE("toolUsePromptTokenCount", N_RAW + RAW_TOOL_INPUT),
    JSCAN_EDGE("promptTokensDetails", N_IN_DETAILS),
    JSCAN_EDGE("promptTokenDetails", N_IN_DETAILS),
    JSCAN_EDGE("cacheTokensDetails", N_CACHE_DETAILS),
    JSCAN_EDGE("candidatesTokensDetails", N_OUT_DETAILS),
    JSCAN_EDGE("responseTokensDetails", N_OUT_DETAILS),
    JSCAN_EDGE("serviceTier", N_TIER),
    JSCAN_EDGE("trafficType", N_TRAFFIC),
    JSCAN_EDGE("total_input_tokens", N_RAW + RAW_INPUT),
    JSCAN_EDGE("total_output_tokens", N_RAW + RAW_OUTPUT),
    JSCAN_EDGE("total_tokens", N_RAW + RAW_TOTAL),
    JSCAN_EDGE("total_cached_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("total_thought_tokens", N_RAW + RAW_REASONING),
    JSCAN_EDGE("total_tool_use_tokens", N_RAW + RAW_TOOL_INPUT),
    JSCAN_EDGE("input_tokens_by_modality", N_IN_DETAILS),
    JSCAN_EDGE("cached_tokens_by_modality", N_CACHE_DETAILS),
    JSCAN_EDGE("output_tokens_by_modality", N_OUT_DETAILS),
    JSCAN_EDGE("grounding_tool_count", N_GROUNDS),
};
static const struct jscan_edge DETAIL_EDGES[] = {JSCAN_EDGE("modality", N_MODALITY),
                                                 JSCAN_EDGE("tokenCount", N_MODALITY_TOKENS),
                                                 JSCAN_EDGE("tokens", N_MODALITY_TOKENS)};

static const struct jscan_node NODES[N_COUNT] = {
    [N_ROOT] = {JSCAN_EDGES(ROOT_EDGES), 0, N_ROOT, JSCAN_ENTER},
    [N_MODEL] = {.flags = JSCAN_WANT},
    [N_RESPONSE_ID] = {.flags = JSCAN_WANT},
    [N_ERROR] = {.flags = JSCAN_WANT | JSCAN_ENTER},
    [N_FEEDBACK] = {JSCAN_EDGES(FEEDBACK_EDGES), 0, 0, 0},
    [N_BLOCK_REASON] = {.flags = JSCAN_WANT},
    [N_CANDIDATES] = {.item = N_CANDIDATE},
    [N_CANDIDATE] = {JSCAN_EDGES(CANDIDATE_EDGES), 0, 0, 0},
    [N_FINISH] = {.flags = JSCAN_WANT},
    [N_CONTENT] = {JSCAN_EDGES(CONTENT_EDGES), 0, 0, 0},
    [N_PARTS] = {JSCAN_EDGES(PART_EDGES), 0, N_PARTS, 0},
    [N_CALL] = {NULL, 0, N_TEXT, 0, 0},
    [N_TEXT] = {NULL, 0, N_TEXT, N_TEXT, JSCAN_COUNT},
    [N_GROUNDING] = {JSCAN_EDGES(GROUNDING_EDGES), 0, 0, 0},
    [N_QUERIES] = {.item = N_QUERY},
    [N_QUERY] = {.flags = JSCAN_WANT},
    [N_CHUNKS] = {.item = N_CHUNK},
    [N_CHUNK] = {JSCAN_EDGES(CHUNK_EDGES), 0, 0, 0},
    [N_MAPS] = {.flags = JSCAN_ENTER},
    [N_USAGE] = {JSCAN_EDGES(USAGE_EDGES), 0, 0, JSCAN_ENTER},
    [N_TIER] = {.flags = JSCAN_WANT},
    [N_TRAFFIC] = {.flags = JSCAN_WANT},
    [N_IN_DETAILS] = {.item = N_IN_DETAIL},
    [N_IN_DETAIL] = {JSCAN_EDGES(DETAIL_EDGES), 0, 0, JSCAN_ENTER},
    [N_OUT_DETAILS] = {.item = N_OUT_DETAIL},
    [N_OUT_DETAIL] = {JSCAN_EDGES(DETAIL_EDGES), 0, 0, JSCAN_ENTER},
    [N_CACHE_DETAILS] = {.item = N_CACHE_DETAIL},
    [N_CACHE_DETAIL] = {JSCAN_EDGES(DETAIL_EDGES), 0, 0, JSCAN_ENTER},
    [N_MODALITY] = {.flags = JSCAN_WANT},
    [N_MODALITY_TOKENS] = {.flags = JSCAN_WANT},
    [N_INTERACTION] = {JSCAN_EDGES(INTERACTION_EDGES), 0, 0, 0},
    [N_STATUS] = {.flags = JSCAN_WANT},
    [N_EVENT] = {.flags = JSCAN_WANT},
    [N_STEP] = {JSCAN_EDGES(STEP_EDGES), 0, N_STEP, 0},
    [N_GROUNDS] = {.item = N_GROUND},
    [N_GROUND] = {JSCAN_EDGES(GROUND_EDGES), 0, 0, JSCAN_ENTER},
    [N_GROUND_TYPE] = {.flags = JSCAN_WANT},
    [N_GROUND_COUNT] = {.flags = JSCAN_WANT},
    [N_ID] = {.flags = JSCAN_WANT},
    [N_NAME] = {.flags = JSCAN_WANT},
    [N_BATCH] = {JSCAN_EDGES(BATCH_EDGES), 0, N_ANSWER, 0},
    [N_ANSWER] = {JSCAN_EDGES(ANSWER_EDGES), 0, 0, JSCAN_ENTER},
    [N_DONE] = {.flags = JSCAN_WANT},
    [N_VIDEOS] = {.item = N_VIDEO},
    [N_VIDEO] = {.flags = JSCAN_ENTER},
    [N_VIDEO_RESPONSE] = {JSCAN_EDGES(VIDEO_RESPONSE_EDGES), 0, 0, 0},
#define RAW_NODE(id) [N_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

/* Enums come by name, or as their number where the client asked for that. */
static bool is_enum(const struct jscan_event *e, const char *name, const char *number)
{
    return reading_is(e, name) || (e->type == JSCAN_NUMBER && strv_eq(e->text, strv_z(number)));
}

static void on_finish(struct reading *r, const struct jscan_event *e)
{
    static const struct {
        const char *name, *number;
        enum tap_end end;
    } REASONS[] = {
        {"FINISH_REASON_UNSPECIFIED", "0", TAP_END_NONE},
        {"MAX_TOKENS", "2", TAP_END_TRUNCATED},
        {"SAFETY", "3", TAP_END_REFUSED},
        {"RECITATION", "4", TAP_END_REFUSED},
        {"LANGUAGE", "6", TAP_END_REFUSED},
        {"BLOCKLIST", "7", TAP_END_REFUSED},
        {"PROHIBITED_CONTENT", "8", TAP_END_REFUSED},
        {"SPII", "9", TAP_END_REFUSED},
        {"IMAGE_SAFETY", "11", TAP_END_REFUSED},
    };
    enum tap_end end = TAP_END_COMPLETE;

    if (e->type != JSCAN_STRING && e->type != JSCAN_NUMBER)
        return;
    for (size_t i = 0; i < sizeof(REASONS) / sizeof(REASONS[0]); i++) {
        if (is_enum(e, REASONS[i].name, REASONS[i].number))
            end = REASONS[i].end;
    }
    reading_finish(r, end);
}

/* What of the traffic has a price of its own; the rest is the ordinary tier. */
static void on_traffic(struct reading *r, const struct jscan_event *e)
{
    static const struct {
        const char *name, *number, *tier;
    } TYPES[] = {{"PROVISIONED_THROUGHPUT", "2", "provisioned"},
                 {"ON_DEMAND_PRIORITY", "3", "priority"},
                 {"ON_DEMAND_FLEX", "4", "flex"},
                 {"ON_DEMAND_OFFPEAK", "", "offpeak"}};

    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        if (is_enum(e, TYPES[i].name, TYPES[i].number))
            memcpy(r->result.service_tier, TYPES[i].tier, strlen(TYPES[i].tier) + 1);
    }
}

/* Of one line of a list of modalities; cached video is not told apart. */
static enum raw_count count_of(uint8_t modality, enum node detail)
{
    static const enum raw_count INPUT[] = {RAW_COUNT, RAW_IN_IMAGE, RAW_IN_AUDIO, RAW_IN_VIDEO};
    static const enum raw_count OUTPUT[] = {RAW_COUNT, RAW_OUT_IMAGE, RAW_OUT_AUDIO,
                                            RAW_OUT_VIDEO};
    static const enum raw_count CACHED[] = {RAW_COUNT, RAW_CACHED_IMAGE, RAW_CACHED_AUDIO,
                                            RAW_COUNT};

    return detail == N_IN_DETAIL      ? INPUT[modality]
           : detail == N_CACHE_DETAIL ? CACHED[modality]
                                      : OUTPUT[modality];
}

static void on_detail(struct reading *r, const struct jscan_event *e)
{
    enum raw_count id = count_of(r->modality, (enum node)e->node);

    if (e->what == JSCAN_AT_ENTER) {
        r->modality = MODALITY_OTHER;
        r->has_modality_tokens = false;
        return;
    }
    if (id == RAW_COUNT || !r->has_modality_tokens)
        return;
    if (r->counts.n[id] + r->modality_tokens > USAGE_MAX_COUNT)
        r->counts.odd = true;
    else
        raw_set(&r->counts, id, r->counts.n[id] + r->modality_tokens);
}

/* How often a tool was asked that grounds an answer: searches, or maps. */
static void on_ground(struct reading *r, const struct jscan_event *e)
{
    enum raw_count id = r->modality == GROUND_MAPS ? RAW_MAPS : RAW_WEB_SEARCH;

    if (e->what == JSCAN_AT_ENTER) {
        r->modality = GROUND_SEARCH;
        r->has_modality_tokens = false;
    } else if (r->has_modality_tokens &&
               r->counts.n[id] + r->modality_tokens <= USAGE_MAX_COUNT) {
        raw_set(&r->counts, id, r->counts.n[id] + r->modality_tokens);
    }
}

static void on_status(struct reading *r, const struct jscan_event *e)
{
    r->result.pending = reading_is(e, "in_progress") || reading_is(e, "queued");
    if (reading_is(e, "completed") || reading_is(e, "requires_action"))
        reading_finish(r, TAP_END_COMPLETE);
    else if (reading_is(e, "incomplete"))
        reading_finish(r, TAP_END_TRUNCATED);
    else if (reading_is(e, "failed"))
        r->error = true;
}

static void to_usage(struct reading *r)
{
    const struct raw_counts *c = &r->counts;
    uint64_t input = c->n[RAW_INPUT] + c->n[RAW_TOOL_INPUT], room;
    uint64_t output = c->n[RAW_OUTPUT] + c->n[RAW_REASONING];
    struct usage u = {.has = 0};
    bool fits = input <= USAGE_MAX_COUNT && output <= USAGE_MAX_COUNT;

    input = fits ? input : c->n[RAW_INPUT];
    output = fits ? output : c->n[RAW_OUTPUT];
    if (raw_has(c, RAW_INPUT))
        usage_set(&u, USAGE_INPUT, input);
    if (raw_has(c, RAW_OUTPUT) || raw_has(c, RAW_REASONING))
        usage_set(&u, USAGE_OUTPUT, output);
    room = input;
    if (raw_has(c, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    fits &= usage_set_modalities(&u, c, input, output);
    usage_set_units(&u, c);
    r->result.usage = u;
    r->result.inconsistent = c->odd || !fits;
    r->result.has_usage = usage_says_amount(&u);
}

static void begin_document(struct reading *r)
{
    r->searches = 0;
    r->data = 0;
    r->is_done = false;
}

/* An operation says how many videos it made, not how long they are; of none that is charged
 * the work has failed. */
static void end_videos(struct reading *r)
{
    if (!(r->flags & ENTRY_VIDEO) || !r->is_done || r->error)
        return;
    if (r->data == 0) {
        r->error = true;
        return;
    }
    r->result.videos = r->data;
    usage_set(&r->result.usage, USAGE_VIDEO_MS, r->data * ESTIMATE_VIDEO_MS);
    r->result.has_usage = r->result.usage_is_final = true;
    reading_keep_id(r);
}

/* Queries come with some event, usage with all: the most that one event had holds. */
static void take_grounds(struct reading *r)
{
    if (r->searches > 0 && (!r->has_searches || r->searches > r->queries)) {
        r->has_searches = true;
        r->queries = r->searches;
    }
    if (r->has_searches)
        usage_set(&r->result.usage, USAGE_WEB_SEARCH, r->queries);
    if (r->has_maps && !usage_has(&r->result.usage, USAGE_MAPS))
        usage_set(&r->result.usage, USAGE_MAPS, 1); /* charged by the prompt */
}

static void end_document(struct reading *r)
{
    r->terminator = r->terminator || r->type == DOCUMENT_FINAL;
    if (r->has_counts) {
        to_usage(r);
        reading_keep_id(r);
    }
    take_grounds(r);
    r->result.usage_is_final =
        r->result.has_usage && (!r->is_stream || r->finish != TAP_END_NONE);
    end_videos(r);
}

static void on_modality(struct reading *r, const struct jscan_event *e)
{
    if (is_enum(e, "AUDIO", "4") || reading_is(e, "audio"))
        r->modality = MODALITY_AUDIO;
    else if (is_enum(e, "IMAGE", "2") || reading_is(e, "image"))
        r->modality = MODALITY_IMAGE;
    else if (is_enum(e, "VIDEO", "3") || reading_is(e, "video"))
        r->modality = MODALITY_VIDEO;
    else
        r->modality = MODALITY_OTHER;
}

static void on_response_id(struct reading *r, const struct jscan_event *e)
{
    struct tap_result *result = &r->result;

    if (result->request_id[0] == '\0') /* Google sends no id of the request in a header */
        (void)reading_text(e, result->request_id, sizeof(result->request_id));
}

static void on_block_reason(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_STRING || e->type == JSCAN_NUMBER)
        reading_finish(r, TAP_END_REFUSED);
}

static void on_query(struct reading *r, const struct jscan_event *e)
{
    (void)e;
    r->searches++;
}

static void on_interaction_event(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "interaction.completed"))
        r->type = DOCUMENT_FINAL;
    r->error = r->error || reading_is(e, "error");
}

static void on_done(struct reading *r, const struct jscan_event *e)
{
    r->is_done = e->type == JSCAN_TRUE;
}

static void on_ground_type(struct reading *r, const struct jscan_event *e)
{
    r->modality = reading_is(e, "google_maps") ? GROUND_MAPS : GROUND_SEARCH;
}

/* Of one line of a list: of modalities, or of tools. */
static void on_line_count(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_NUMBER && jscan_count(e->text, &r->modality_tokens) == JSCAN_COUNT_OK)
        r->has_modality_tokens = true;
    else
        r->counts.odd = true;
}

static fact_fn *const FACTS[N_RAW] = {
    [N_MODEL] = fact_model,
    [N_RESPONSE_ID] = on_response_id,
    [N_TIER] = fact_tier,
    [N_TRAFFIC] = on_traffic,
    [N_BLOCK_REASON] = on_block_reason,
    [N_FINISH] = on_finish,
    [N_QUERY] = on_query,
    [N_MODALITY] = on_modality,
    [N_MODALITY_TOKENS] = on_line_count,
    [N_STATUS] = on_status,
    [N_ID] = fact_id,
    [N_NAME] = fact_id, /* of a batch or an operation, by its path */
    [N_EVENT] = on_interaction_event,
    [N_DONE] = on_done,
    [N_GROUND_TYPE] = on_ground_type,
    [N_GROUND_COUNT] = on_line_count,
};

/* One of the answers that came with a batch. */
static void on_answer(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        r->counts = (struct raw_counts){.odd = false};
        r->has_counts = false;
        r->searches = 0;
    } else if (r->on_answer != NULL) {
        if (r->has_counts)
            to_usage(r);
        take_grounds(r);
        r->has_counts = false;
        r->searches = 0;
        r->on_answer(r);
    }
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_RAW) {
        reading_count(&r->counts, (enum raw_count)(e->node - N_RAW), e);
    } else if (e->node == N_ROOT) {
        reading_root(r, e);
    } else if (e->node == N_USAGE) {
        reading_usage(r, e);
    } else if (e->node == N_IN_DETAIL || e->node == N_CACHE_DETAIL ||
               e->node == N_OUT_DETAIL) {
        on_detail(r, e);
    } else if (e->node == N_GROUND) {
        on_ground(r, e);
    } else if (e->node == N_MAPS) {
        r->has_maps = r->has_maps || e->what == JSCAN_AT_ENTER;
    } else if (e->node == N_VIDEO) {
        r->data += e->what == JSCAN_AT_ENTER;
    } else if (e->node == N_ANSWER) {
        on_answer(r, e);
    } else if (e->node == N_ERROR) {
        reading_error(r, e);
    } else {
        reading_fact(r, e);
    }
}

/* The served tier, which the body of some answers leaves out. */
static const struct reader_header HEADERS[] = {{"x-gemini-service-tier", HEADER_TIER}};

static void end_headers(struct reading *r)
{
    (void)r;
}

const struct reader READER_GEMINI = {
    .nodes = NODES,
    .root = N_ROOT,
    .on_event = on_event,
    .facts = FACTS,
    .amounts = 1u << RAW_INPUT | 1u << RAW_OUTPUT | 1u << RAW_REASONING,
    .begin_document = begin_document,
    .end_document = end_document,
    .headers = HEADERS,
    .n_headers = sizeof(HEADERS) / sizeof(HEADERS[0]),
    .end_headers = end_headers,
};
