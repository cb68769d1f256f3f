/*
 * OpenAI's answers: chat completions, completions, embeddings and responses, and
 * those of the many that speak the same.  Usage is taken from wherever it stands;
 * what is repeated is cumulative, so the last counts win and nothing is added up.
 */
#include "metering/usage/reader.h"

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
    N_WRITE_DETAILS,
    N_OUT_DETAILS,
    N_TOOLS_USED,
    N_COST,
    N_COST_TOTAL,
    N_TICKS,
    N_RAW, /* and RAW_COUNT - 1 more */
    N_COUNT = N_RAW + RAW_COUNT,
};

enum { ITEM_NONE = 0, ITEM_SEARCH, ITEM_FILE_SEARCH, ITEM_CODE };

enum { TICK_PLACES = 10 }; /* cost_in_usd_ticks: 10^-10 dollars */

/* Members that a response and an event share. */
#define BODY_EDGES                                                                             \
    JSCAN_EDGE("choices", N_CHOICES), JSCAN_EDGE("usage", N_USAGE),                            \
        JSCAN_EDGE("model", N_MODEL), JSCAN_EDGE("service_tier", N_TIER),                      \
        JSCAN_EDGE("status", N_STATUS), JSCAN_EDGE("error", N_ERROR),                          \
        JSCAN_EDGE("incomplete_details", N_INCOMPLETE), JSCAN_EDGE("output", N_OUTPUT),        \
        JSCAN_EDGE("tool_usage", N_TOOL_USAGE)

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
};
static const struct jscan_edge RESPONSE_EDGES[] = {BODY_EDGES};
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
static const struct jscan_edge TOOL_USAGE_EDGES[] = {JSCAN_EDGE("web_search", N_TOOL_SEARCH)};
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
};
static const struct jscan_edge IN_DETAILS_EDGES[] = {
    JSCAN_EDGE("cached_tokens", N_RAW + RAW_CACHED),
    JSCAN_EDGE("cache_write_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_creation_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_creation_input_tokens", N_RAW + RAW_WRITE),
    JSCAN_EDGE("cache_write_tokens_details", N_WRITE_DETAILS),
    JSCAN_EDGE("audio_tokens", N_RAW + RAW_IN_AUDIO),
    JSCAN_EDGE("image_tokens", N_RAW + RAW_IN_IMAGE),
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
    [N_WRITE_DETAILS] = {JSCAN_EDGES(WRITE_DETAILS_EDGES), 0, 0, 0},
    [N_OUT_DETAILS] = {JSCAN_EDGES(OUT_DETAILS_EDGES), 0, 0, 0},
    [N_TOOLS_USED] = {JSCAN_EDGES(TOOLS_USED_EDGES), 0, 0, 0},
    [N_COST] = {JSCAN_EDGES(COST_EDGES), 0, 0, JSCAN_WANT},
    [N_COST_TOTAL] = {.flags = JSCAN_WANT},
    [N_TICKS] = {.flags = JSCAN_WANT},
#define RAW_NODE(id) [N_RAW + (id)] = {.flags = JSCAN_WANT},
    RAW_COUNTS(RAW_NODE)
#undef RAW_NODE
};

/* An error member that is not null makes a document one of error. */
static void on_error(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER || (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING))
        r->error = r->has_other = true;
}

static enum tap_end finish_of(const struct jscan_event *e)
{
    if (e->type != JSCAN_STRING)
        return TAP_END_NONE;
    if (reading_is(e, "length") || reading_is(e, "max_tokens") ||
        reading_is(e, "model_length") || reading_is(e, "max_output_tokens"))
        return TAP_END_TRUNCATED;
    if (reading_is(e, "content_filter") || reading_is(e, "refusal"))
        return TAP_END_REFUSED;
    if (reading_is(e, "error"))
        return TAP_END_ERROR;
    return TAP_END_COMPLETE;
}

static void on_type(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "response.completed"))
        r->type = DOCUMENT_FINAL;
    else if (reading_is(e, "response.incomplete"))
        r->type = DOCUMENT_TRUNCATED;
    else if (reading_is(e, "response.failed"))
        r->type = DOCUMENT_FAILED;
    else if (reading_is(e, "error"))
        r->type = DOCUMENT_ERROR;
}

/* Of a response, plain or inside an event. */
static void on_status(struct reading *r, const struct jscan_event *e)
{
    if (reading_is(e, "failed"))
        r->error = true;
    else if (reading_is(e, "incomplete"))
        reading_finish(r, TAP_END_TRUNCATED);
    else if (reading_is(e, "completed"))
        reading_finish(r, TAP_END_COMPLETE);
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

/* One usage object; of several in a document the last that has counts wins. */
static void on_usage(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        r->before = r->counts;
        r->counts = (struct raw_counts){.odd = false};
    } else if (raw_has(&r->counts, RAW_INPUT) || raw_has(&r->counts, RAW_OUTPUT) ||
               raw_has(&r->counts, RAW_TOTAL) || r->counts.odd) {
        r->has_counts = true;
    } else {
        r->counts = r->before;
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

/*
 * Some providers count a part beside its whole; their own total gives it away.
 * xAI's chat: reasoning beside completion.  Mistral: audio beside the prompt.
 * Google's compatible form: thoughts in the total alone.
 */
static void add_outsiders(const struct raw_counts *c, uint64_t *input, uint64_t *output,
                          bool *odd)
{
    uint64_t extra = 0, reasoning = c->n[RAW_REASONING];

    if (raw_has(c, RAW_TOTAL) && raw_has(c, RAW_INPUT) && raw_has(c, RAW_OUTPUT) &&
        c->n[RAW_TOTAL] > *input + *output)
        extra = c->n[RAW_TOTAL] - *input - *output;
    if (extra > 0 && extra == reasoning) {
        *output += reasoning;
    } else if (extra > 0 && extra == c->n[RAW_IN_AUDIO]) {
        *input += extra;
    } else if (extra > 0 && !raw_has(c, RAW_REASONING) && !raw_has(c, RAW_CACHED) &&
               !raw_has(c, RAW_IN_AUDIO)) {
        *output += extra;
    } else if (raw_has(c, RAW_OUTPUT) && reasoning > *output) {
        *output += reasoning; /* a part cannot be the larger: it must stand beside */
        *odd = true;
    }
}

/* Cache writes: by time to live where that is told, else as short ones. */
static bool set_writes(const struct raw_counts *c, struct usage *u, uint64_t *room)
{
    uint64_t rest = c->n[RAW_WRITE];
    bool fits = true;

    if (raw_has(c, RAW_WRITE_1H)) {
        fits &= usage_set_part(u, USAGE_CACHE_WRITE_1H, c->n[RAW_WRITE_1H], room);
        rest -= u->n[USAGE_CACHE_WRITE_1H] < rest ? u->n[USAGE_CACHE_WRITE_1H] : rest;
    }
    if (raw_has(c, RAW_WRITE_5M) && c->n[RAW_WRITE_5M] > rest)
        rest = c->n[RAW_WRITE_5M];
    if (raw_has(c, RAW_WRITE) || raw_has(c, RAW_WRITE_5M))
        fits &= usage_set_part(u, USAGE_CACHE_WRITE_5M, rest, room);
    return fits;
}

static void to_usage(struct reading *r)
{
    const struct raw_counts *c = &r->counts;
    uint64_t input = c->n[RAW_INPUT], output = c->n[RAW_OUTPUT], room;
    struct usage u = {.has = 0};
    bool odd = c->odd, fits = true;

    add_outsiders(c, &input, &output, &odd);
    if (raw_has(c, RAW_INPUT))
        usage_set(&u, USAGE_INPUT, input);
    else if (raw_has(c, RAW_TOTAL) && !raw_has(c, RAW_OUTPUT)) /* embeddings of some */
        usage_set(&u, USAGE_INPUT, input = c->n[RAW_TOTAL]);
    if (raw_has(c, RAW_OUTPUT))
        usage_set(&u, USAGE_OUTPUT, output);
    room = input;
    if (raw_has(c, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    fits &= set_writes(c, &u, &room);
    room = input; /* modalities cut across the cache */
    if (raw_has(c, RAW_IN_AUDIO))
        fits &= usage_set_part(&u, USAGE_INPUT_AUDIO, c->n[RAW_IN_AUDIO], &room);
    if (raw_has(c, RAW_IN_IMAGE))
        fits &= usage_set_part(&u, USAGE_INPUT_IMAGE, c->n[RAW_IN_IMAGE], &room);
    room = output;
    if (raw_has(c, RAW_REASONING))
        fits &= usage_set_part(&u, USAGE_REASONING, c->n[RAW_REASONING], &room);
    room = output;
    if (raw_has(c, RAW_OUT_AUDIO))
        fits &= usage_set_part(&u, USAGE_OUTPUT_AUDIO, c->n[RAW_OUT_AUDIO], &room);
    if (raw_has(c, RAW_OUT_IMAGE))
        fits &= usage_set_part(&u, USAGE_OUTPUT_IMAGE, c->n[RAW_OUT_IMAGE], &room);
    if (raw_has(c, RAW_WEB_SEARCH))
        usage_set(&u, USAGE_WEB_SEARCH, c->n[RAW_WEB_SEARCH]);
    if (raw_has(c, RAW_FILE_SEARCH))
        usage_set(&u, USAGE_FILE_SEARCH, c->n[RAW_FILE_SEARCH]);
    if (raw_has(c, RAW_CODE))
        usage_set(&u, USAGE_CODE, c->n[RAW_CODE]);
    r->result.usage = u;
    r->result.inconsistent = odd || !fits;
}

/* Tools that the provider ran: its own count, else what lies in the output. */
static void add_tools(struct reading *r)
{
    static const enum usage_field FIELDS[] = {USAGE_WEB_SEARCH, USAGE_FILE_SEARCH, USAGE_CODE};
    struct usage *u = &r->result.usage;

    if (r->has_searches && !usage_has(u, USAGE_WEB_SEARCH))
        usage_set(u, USAGE_WEB_SEARCH, r->searches);
    for (unsigned i = 0; i < 3; i++) {
        if (r->items[i] > 0 && !usage_has(u, FIELDS[i]))
            usage_set(u, FIELDS[i], r->items[i]);
    }
}

static void begin_document(struct reading *r)
{
    r->open = true;
    r->documents++;
    r->type = DOCUMENT_PLAIN;
    r->has_choices = r->has_filled_choices = r->has_other = r->is_usage_event = false;
    r->has_counts = r->has_searches = false;
    r->items[0] = r->items[1] = r->items[2] = 0;
}

static void end_document(struct reading *r)
{
    struct tap_result *result = &r->result;
    bool last = r->type == DOCUMENT_FINAL || r->type == DOCUMENT_TRUNCATED ||
                r->type == DOCUMENT_FAILED;

    r->open = false;
    if (r->type == DOCUMENT_FAILED || r->type == DOCUMENT_ERROR)
        r->error = true;
    if (r->type == DOCUMENT_TRUNCATED)
        reading_finish(r, TAP_END_TRUNCATED);
    else if (last)
        reading_finish(r, TAP_END_COMPLETE);
    r->terminator = r->terminator || last;
    r->is_usage_event =
        r->has_choices && !r->has_filled_choices && r->has_counts && !r->has_other;
    if (!r->has_counts)
        return;
    to_usage(r);
    result->has_usage =
        usage_has(&result->usage, USAGE_INPUT) || usage_has(&result->usage, USAGE_OUTPUT);
    /* Running counts beside text are not the last word. */
    result->usage_is_final =
        !r->is_stream || last || !r->has_filled_choices || r->finish != TAP_END_NONE;
    if (result->has_usage && (last || !r->is_stream))
        add_tools(r);
    reading_keep_cost(r);
}

static void on_root(struct reading *r, const struct jscan_event *e)
{
    if (e->type != JSCAN_OBJECT)
        return;
    if (e->what == JSCAN_AT_ENTER)
        begin_document(r);
    else
        end_document(r);
}

static void on_scalar(struct reading *r, const struct jscan_event *e)
{
    switch ((enum node)e->node) {
    case N_MODEL:
        (void)reading_text(e, r->result.model, sizeof(r->result.model));
        break;
    case N_TIER:
        (void)reading_text(e, r->result.service_tier, sizeof(r->result.service_tier));
        break;
    case N_TYPE:
        on_type(r, e);
        break;
    case N_STATUS:
        on_status(r, e);
        break;
    case N_OBJECT:
        r->error = r->error || reading_is(e, "error");
        break;
    case N_REASON:
        if (reading_is(e, "content_filter"))
            reading_finish(r, TAP_END_REFUSED);
        break;
    case N_FINISH:
        reading_finish(r, finish_of(e));
        break;
    case N_PART_TYPE:
        if (reading_is(e, "refusal"))
            reading_finish(r, TAP_END_REFUSED);
        break;
    case N_REFUSAL:
        if (e->type == JSCAN_STRING && e->text_bytes > 0)
            reading_finish(r, TAP_END_REFUSED);
        break;
    case N_ITEM_TYPE:
        on_item_type(r, e);
        break;
    case N_ACTION_TYPE:
        r->item_no_search = !reading_is(e, "search");
        break;
    case N_TOOL_REQUESTS:
        if (e->type == JSCAN_NUMBER && jscan_count(e->text, &r->searches) == JSCAN_COUNT_OK)
            r->has_searches = true;
        break;
    case N_OTHER:
        r->has_other = r->has_other || e->type != JSCAN_NULL;
        break;
    case N_COST:
    case N_COST_TOTAL:
        reading_cost(r, e, 0);
        break;
    case N_TICKS:
        reading_cost(r, e, TICK_PLACES);
        break;
    case N_SKIP:
    case N_ROOT:
    case N_RESPONSE:
    case N_ERROR:
    case N_GROQ:
    case N_INCOMPLETE:
    case N_CHOICES:
    case N_CHOICE:
    case N_DELTA:
    case N_CONTENT:
    case N_CALLS:
    case N_OUTPUT:
    case N_ITEM:
    case N_ACTION:
    case N_TOOL_USAGE:
    case N_TOOL_SEARCH:
    case N_USAGE:
    case N_IN_DETAILS:
    case N_WRITE_DETAILS:
    case N_OUT_DETAILS:
    case N_TOOLS_USED:
    case N_RAW:
    case N_COUNT:
        break;
    }
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_RAW)
        on_raw(r, (enum raw_count)(e->node - N_RAW), e);
    else if (e->node == N_ROOT)
        on_root(r, e);
    else if (e->node == N_CHOICES)
        r->has_choices = r->has_choices || e->type == JSCAN_ARRAY;
    else if (e->node == N_CHOICE)
        r->has_filled_choices = true;
    else if (e->node == N_OUTPUT && e->what == JSCAN_AT_ENTER)
        r->items[0] = r->items[1] = r->items[2] = 0;
    else if (e->node == N_ITEM)
        on_item(r, e);
    else if (e->node == N_USAGE)
        on_usage(r, e);
    else if (e->node == N_ERROR)
        on_error(r, e);
    else if (e->what == JSCAN_AT_VALUE)
        on_scalar(r, e);
}

const struct reader READER_OPENAI = {
    .nodes = NODES, .root = N_ROOT, .on_event = on_event, .end_document = end_document};
