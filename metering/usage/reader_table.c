#include "metering/usage/reader_table.h"

static void to_usage(struct reading *r)
{
    const struct raw_counts *c = &r->counts;
    struct usage u = {.has = 0};
    bool fits = true;
    uint64_t room;

    if (r->reader->images_are_inside && raw_has(c, RAW_INPUT))
        usage_set(&u, USAGE_INPUT, c->n[RAW_INPUT]);
    else if (raw_has(c, RAW_INPUT) || raw_has(c, RAW_IN_IMAGE))
        usage_set(&u, USAGE_INPUT, c->n[RAW_INPUT] + c->n[RAW_IN_IMAGE]);
    else if (raw_has(c, RAW_TOTAL) && !raw_has(c, RAW_OUTPUT)) /* nothing is generated */
        usage_set(&u, USAGE_INPUT, c->n[RAW_TOTAL]);
    if (raw_has(c, RAW_OUTPUT))
        usage_set(&u, USAGE_OUTPUT, c->n[RAW_OUTPUT]);
    room = r->reader->cache_is_apart ? c->n[RAW_CACHED] : u.n[USAGE_INPUT];
    if (raw_has(c, RAW_CACHED))
        fits &= usage_set_part(&u, USAGE_CACHE_READ, c->n[RAW_CACHED], &room);
    if (raw_has(c, RAW_WRITE))
        fits &= usage_set_part(&u, USAGE_CACHE_WRITE_5M, c->n[RAW_WRITE], &room);
    fits &= usage_set_modalities(&u, c, u.n[USAGE_INPUT], u.n[USAGE_OUTPUT]);
    usage_set_units(&u, c);
    r->result.usage = u;
    r->result.inconsistent = c->odd || !fits;
    r->result.has_usage = usage_says_amount(&u);
}

void reader_table_end_document(struct reading *r)
{
    bool last = r->type == DOCUMENT_FINAL;

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

static void on_done(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_TRUE)
        r->type = DOCUMENT_FINAL;
    else if (e->type == JSCAN_FALSE) /* others follow, whatever the answer is labelled */
        r->is_stream = true;
}

static void on_whole_text(struct reading *r, const struct jscan_event *e)
{
    if (r->is_stream && e->type == JSCAN_STRING) {
        r->scan.counted_bytes -= e->text_bytes;
        r->whole_text = e->text_bytes > r->whole_text ? e->text_bytes : r->whole_text;
    }
}

static void on_id(struct reading *r, const struct jscan_event *e)
{
    fact_id(r, e);
    r->is_kept = true;
}

static void on_status(struct reading *r, const struct jscan_event *e)
{
    r->result.pending =
        reading_is(e, "starting") || reading_is(e, "processing") || reading_is(e, "queued");
    r->error = r->error || reading_is(e, "failed") || reading_is(e, "error");
}

static void on_rough(struct reading *r, const struct jscan_event *e)
{
    r->result.is_rough = r->result.is_rough || e->type == JSCAN_TRUE || e->type == JSCAN_STRING;
}

fact_fn *const READER_TABLE_FACTS[NODE_RAW] = {
    [NODE_MODEL] = fact_model,     [NODE_TIER] = fact_tier,
    [NODE_TYPE] = fact_type,       [NODE_FINISH] = fact_finish,
    [NODE_DONE] = on_done,         [NODE_WHOLE_TEXT] = on_whole_text,
    [NODE_COST] = fact_cost,       [NODE_ID] = on_id,
    [NODE_STATUS] = on_status,     [NODE_SECONDS] = fact_seconds,
    [NODE_ROUGH] = on_rough,
};

void reader_table_on_event(void *arg, const struct jscan_event *e)
{
    struct reading *r = arg;

    if (e->node >= NODE_RAW) {
        reading_count(&r->counts, (enum raw_count)(e->node - NODE_RAW), e);
        r->has_counts = r->has_counts || e->type != JSCAN_NULL;
    } else if (e->node == NODE_ROOT) {
        reading_root(r, e);
    } else if (e->node == NODE_USAGE) {
        if (e->what == JSCAN_AT_ENTER)
            r->counts = (struct raw_counts){.odd = false};
    } else if (e->node == NODE_ERROR) {
        on_error(r, e);
    } else if (e->node == NODE_INPUT_ITEM) {
        on_input_item(r, e);
    } else {
        reading_fact(r, e);
    }
}
