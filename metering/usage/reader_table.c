#include "metering/usage/reader_table.h"

/* What the word of an event means; other for one that is not listed. */
static unsigned meaning(const struct reader_word *words, const struct jscan_event *e,
                        unsigned other)
{
    for (; words->word != NULL; words++) {
        if (reading_is(e, words->word))
            return words->means;
    }
    return other;
}

static void begin_document(struct reading *r)
{
    r->open = true;
    r->documents++;
    r->type = DOCUMENT_PLAIN;
    r->has_counts = false;
    r->id[0] = '\0';
}

static void to_usage(struct reading *r)
{
    const struct raw_counts *c = &r->counts;
    struct usage u = {.has = 0};
    bool fits = true;
    uint64_t room;

    /* Who counts images in tokens here counts them beside the text. */
    if (raw_has(c, RAW_INPUT) || raw_has(c, RAW_IN_IMAGE))
        usage_set(&u, USAGE_INPUT, c->n[RAW_INPUT] + c->n[RAW_IN_IMAGE]);
    if (raw_has(c, RAW_OUTPUT))
        usage_set(&u, USAGE_OUTPUT, c->n[RAW_OUTPUT]);
    room = r->reader->cache_is_apart ? c->n[RAW_CACHED] : u.n[USAGE_INPUT];
    if (raw_has(c, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    fits &= usage_set_modalities(&u, c, u.n[USAGE_INPUT], u.n[USAGE_OUTPUT]);
    usage_set_units(&u, c);
    r->result.usage = u;
    r->result.inconsistent = c->odd || !fits;
    r->result.has_usage = usage_says_amount(&u);
}

void reader_table_end_document(struct reading *r)
{
    bool last = r->type == DOCUMENT_FINAL;

    r->open = false;
    r->error = r->error || r->type == DOCUMENT_ERROR;
    r->terminator = r->terminator || last;
    reading_keep_cost(r);
    if (r->has_counts) {
        to_usage(r);
        reading_keep_id(r);
    }
    r->result.usage_is_final =
        r->result.has_usage && (!r->is_stream || r->terminator || r->finish != TAP_END_NONE);
}

static void on_root(struct reading *r, const struct jscan_event *e)
{
    if (e->type != JSCAN_OBJECT)
        return;
    if (e->what == JSCAN_AT_ENTER)
        begin_document(r);
    else
        reader_table_end_document(r);
}

static void on_finish(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_STRING)
        reading_finish(r, (enum tap_end)meaning(r->reader->finishes, e, TAP_END_COMPLETE));
}

/* An empty list of errors is none. */
static void on_error(struct reading *r, const struct jscan_event *e)
{
    if ((e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT) ||
        (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING))
        r->error = true;
}

static void on_input_item(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER && e->type == JSCAN_OBJECT &&
        r->counts.n[RAW_INPUT] < USAGE_MAX_COUNT) {
        raw_set(&r->counts, RAW_INPUT, r->counts.n[RAW_INPUT] + 1);
        r->has_counts = true;
    }
}

static void on_own(struct reading *r, const struct jscan_event *e)
{
    struct tap_result *result = &r->result;

    switch ((enum reader_node)e->node) {
    case NODE_MODEL:
        (void)reading_text(e, result->model, sizeof(result->model));
        break;
    case NODE_TIER:
        (void)reading_text(e, result->service_tier, sizeof(result->service_tier));
        break;
    case NODE_TYPE:
        r->type = (enum document_type)meaning(r->reader->types, e, r->type);
        break;
    case NODE_FINISH:
        on_finish(r, e);
        break;
    case NODE_DONE:
        if (e->type == JSCAN_TRUE)
            r->type = DOCUMENT_FINAL;
        else if (e->type == JSCAN_FALSE) /* others follow, whatever the answer is labelled */
            r->is_stream = true;
        break;
    case NODE_WHOLE_TEXT:
        if (r->is_stream && e->type == JSCAN_STRING) {
            r->scan.counted_bytes -= e->text_bytes;
            r->whole_text = e->text_bytes > r->whole_text ? e->text_bytes : r->whole_text;
        }
        break;
    case NODE_COST:
        reading_cost(r, e, 0);
        break;
    case NODE_ID:
        reading_id(r, e);
        r->is_kept = true;
        break;
    case NODE_STATUS:
        r->result.pending = reading_is(e, "starting") || reading_is(e, "processing");
        r->error = r->error || reading_is(e, "failed");
        break;
    case NODE_SECONDS:
        reading_seconds(&r->counts, RAW_AUDIO_MS, e);
        r->has_counts = r->has_counts || raw_has(&r->counts, RAW_AUDIO_MS);
        break;
    case NODE_SKIP:
    case NODE_ROOT:
    case NODE_ERROR:
    case NODE_USAGE:
    case NODE_TEXT:
    case NODE_INPUT_ITEM:
    case NODE_OWN:
    case NODE_OWN_MAX:
    case NODE_COUNT:
        break;
    }
}

void reader_table_on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= NODE_RAW) {
        reading_count(&r->counts, (enum raw_count)(e->node - NODE_RAW), e);
        r->has_counts = r->has_counts || e->type != JSCAN_NULL;
    } else if (e->node == NODE_ROOT) {
        on_root(r, e);
    } else if (e->node == NODE_USAGE) {
        if (e->what == JSCAN_AT_ENTER)
            r->counts = (struct raw_counts){.odd = false};
    } else if (e->node == NODE_ERROR) {
        on_error(r, e);
    } else if (e->node == NODE_INPUT_ITEM) {
        on_input_item(r, e);
    } else if (e->what == JSCAN_AT_VALUE) {
        on_own(r, e);
    }
}
