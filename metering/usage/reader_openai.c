/*
 * OpenAI's answers: chat completions, completions, embeddings and responses, and
 * those of the many that speak the same, images, transcriptions and assistants' runs.
 * Usage is taken from wherever it stands; what is repeated is cumulative, so the last
 * counts win and nothing is added up.  What another model did (images that a tool drew,
 * SVG of an image model) is told apart and kept as a part of its own.
 */
#include "metering/usage/reader_openai_graph.h"
#include "metering/usage/reader_openai_int.h"

#include <string.h>

enum { ITEM_NONE = 0, ITEM_SEARCH, ITEM_FILE_SEARCH, ITEM_CODE };

enum { TICK_PLACES = 10 }; /* cost_in_usd_ticks: 10^-10 dollars */

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
    r->beside = (struct raw_counts){.odd = false};
    r->is_step = false;
    r->is_done = false;
    r->is_deferred = false;
}

/* What was read comes to this; last: of a stream's last event. */
static void take_usage(struct reading *r, bool last)
{
    struct tap_result *result = &r->result;

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
    openai_take_timings(r);
    if (r->flags & (ENTRY_LATER | ENTRY_JOB)) /* a batch's sums: its output tells them */
        r->has_counts = false;
    if (r->is_step && r->has_counts) {
        r->counts = r->before;
        r->has_counts = false;
    }
    if (r->is_deferred && !r->has_choices && !r->error)
        result->pending = true;
    if (r->flags & ENTRY_JOB)
        result->work_over = result->work_over || r->is_rejected ||
                            (r->has_left && r->requests_left == 0 && r->requests > 0);
    take_usage(r, last);
}

/* One of a list of answers to a batch: as if it stood alone. */
static void on_result(struct reading *r, const struct jscan_event *e)
{
    if (r->on_answer == NULL) /* of another kind */
        return;
    if (e->what == JSCAN_AT_ENTER) {
        begin_document(r);
        r->counts = (struct raw_counts){.odd = false};
        r->has_counts = r->has_cost = false;
        r->result.model[0] = r->name[0] = r->id[0] = '\0';
    } else if (e->what == JSCAN_AT_LEAVE) {
        take_usage(r, false);
        r->on_answer(r);
    }
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

/* What one of several models took of the whole. */
static void on_share(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        r->iteration = (struct raw_counts){.odd = false};
        r->iteration_model[0] = '\0';
    } else if (e->what == JSCAN_AT_LEAVE) {
        openai_add_side(r, PART_SHARE);
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

static void on_name(struct reading *r, const struct jscan_event *e)
{
    size_t n = e->type == JSCAN_STRING ? e->text.n : 0; /* as it stands: it is only compared */

    if (n > 0)
        memcpy(r->name, e->text.p, n);
    r->name[n] = '\0';
}

static void on_state_all(struct reading *r, const struct jscan_event *e)
{
    if (e->type != JSCAN_NUMBER || jscan_count(e->text, &r->requests) != JSCAN_COUNT_OK)
        r->requests = 0;
}

static void on_state_left(struct reading *r, const struct jscan_event *e)
{
    r->has_left =
        e->type == JSCAN_NUMBER && jscan_count(e->text, &r->requests_left) == JSCAN_COUNT_OK;
}

static void on_rejected(struct reading *r, const struct jscan_event *e)
{
    r->is_rejected = e->type == JSCAN_STRING && e->text.n > 0;
}

/* "pro" has rates of its own, which no list here has. */
static void on_mode(struct reading *r, const struct jscan_event *e)
{
    r->result.is_rough = reading_is(e, "pro");
}

static void on_timed(struct reading *r, const struct jscan_event *e)
{
    reading_count(&r->beside,
                  e->node == N_TIMED_INPUT    ? RAW_INPUT
                  : e->node == N_TIMED_CACHED ? RAW_CACHED
                                              : RAW_OUTPUT,
                  e);
}

static void on_duration(struct reading *r, const struct jscan_event *e)
{
    reading_seconds(&r->beside, RAW_AUDIO_MS, e);
}

static void on_video_seconds(struct reading *r, const struct jscan_event *e)
{
    if (r->flags & (ENTRY_VIDEO | ENTRY_BATCH))
        reading_seconds(&r->beside, RAW_VIDEO_MS, e);
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

/* Voyage charges images and videos by the pixel, and counts so many as a token of its total. */
static void on_pixels(struct reading *r, const struct jscan_event *e)
{
    enum { IMAGE_PIXELS_PER_TOKEN = 560, VIDEO_PIXELS_PER_TOKEN = 1120 };
    enum raw_count id = e->node == N_IMAGE_PIXELS ? RAW_IN_IMAGE : RAW_IN_VIDEO;
    struct raw_counts pixels = {.odd = false};

    reading_count(&pixels, id, e);
    r->counts.odd = r->counts.odd || pixels.odd;
    if (raw_has(&pixels, id))
        raw_set(&r->counts, id,
                pixels.n[id] / (id == RAW_IN_IMAGE ? (uint64_t)IMAGE_PIXELS_PER_TOKEN
                                                   : (uint64_t)VIDEO_PIXELS_PER_TOKEN));
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
    [N_IMAGE_PIXELS] = on_pixels,
    [N_VIDEO_PIXELS] = on_pixels,
    [N_REASONING_MODE] = on_mode,
    [N_DURATION] = on_duration,
    [N_TIMED_INPUT] = on_timed,
    [N_TIMED_CACHED] = on_timed,
    [N_TIMED_OUTPUT] = on_timed,
    [N_VIDEO_SECONDS] = on_video_seconds,
    [N_VIDEO_SIZE] = on_video_size,
    [N_REQUEST_ID] = on_request_id,
    [N_TOOL_MODEL] = on_tool_model,
    [N_SIDE_MODEL] = on_side_model,
    [N_RESULT_NAME] = on_name,
    [N_STATE_ALL] = on_state_all,
    [N_STATE_LEFT] = on_state_left,
    [N_REJECTED] = on_rejected,
    [N_PERPLEXITY] = on_search_context,
};

/* A node below those of the raw counts. */
static inline void on_node(struct reading *r, const struct jscan_event *e)
{
    switch (e->node) {
    case N_ROOT:
        reading_root(r, e);
        break;
    case N_CHOICES:
        r->has_choices = r->has_choices || e->type == JSCAN_ARRAY;
        break;
    case N_CHOICE:
        r->has_filled_choices = true;
        break;
    case N_OUTPUT:
        if (e->what == JSCAN_AT_ENTER)
            r->items[0] = r->items[1] = r->items[2] = 0;
        break;
    case N_ITEM:
        on_item(r, e);
        break;
    case N_SVG:
    case N_IMAGE_GEN:
        on_side(r, e);
        break;
    case N_RESULT:
        on_result(r, e);
        break;
    case N_SHARE:
        on_share(r, e);
        break;
    case N_SHARES:
        if (e->what == JSCAN_AT_ENTER)
            parts_drop(r, PART_SHARE);
        break;
    case N_DATUM:
        r->data += e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT;
        break;
    case N_USAGE:
        reading_usage(r, e);
        break;
    case N_ERROR:
        on_error(r, e);
        break;
    default:
        reading_fact(r, e);
    }
}

static void on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= N_SIDE_RAW)
        reading_count(&r->iteration, (enum raw_count)(e->node - N_SIDE_RAW), e);
    else if (e->node >= N_RAW)
        on_raw(r, (enum raw_count)(e->node - N_RAW), e);
    else
        on_node(r, e);
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
    .nodes = OPENAI_NODES, .root = N_ROOT, .on_event = on_event, .facts = FACTS, .amounts = AMOUNTS,  \
    .begin_document = begin_document, .end_document = end_document, .finishes = FINISHES,      \
    .types = TYPES, .headers = HEADERS, .n_headers = 1, .end_headers = end_headers

const struct reader READER_OPENAI = {READER};
const struct reader READER_RESPONSES = {READER, .has_terminator = true};
