/*
 * What documents of all dialects say alike: how one begins and ends, that it is an error, its
 * model, tier, id, cost.  Under which names they say it is each dialect's own.
 */
#include "metering/usage/reader.h"

#include <string.h>

void reading_begin(struct reading *r)
{
    r->open = true;
    r->documents++;
    r->type = DOCUMENT_PLAIN;
    r->has_counts = false;
    r->id[0] = '\0';
    if (r->reader->begin_document != NULL)
        r->reader->begin_document(r);
}

void reading_end(struct reading *r)
{
    r->open = false;
    r->reader->end_document(r);
}

void reading_root(struct reading *r, const struct jscan_event *e)
{
    if (e->type != JSCAN_OBJECT)
        return;
    if (e->what == JSCAN_AT_ENTER)
        reading_begin(r);
    else
        reading_end(r);
}

void reading_usage(struct reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_ENTER) {
        r->before = r->counts;
        r->counts = (struct raw_counts){.odd = false};
    } else if ((r->counts.has & r->reader->amounts) != 0 || r->counts.odd) {
        r->has_counts = true;
    } else {
        r->counts = r->before;
    }
}

bool reading_error(struct reading *r, const struct jscan_event *e)
{
    bool is = e->what == JSCAN_AT_ENTER ||
              (e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING);

    r->error = r->error || is;
    return is;
}

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

void fact_model(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->result.model, sizeof(r->result.model));
}

void fact_tier(struct reading *r, const struct jscan_event *e)
{
    (void)reading_text(e, r->result.service_tier, sizeof(r->result.service_tier));
}

void fact_type(struct reading *r, const struct jscan_event *e)
{
    r->type = (enum document_type)meaning(r->reader->types, e, r->type);
}

void fact_finish(struct reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_STRING)
        reading_finish(r, (enum tap_end)meaning(r->reader->finishes, e, TAP_END_COMPLETE));
}

void fact_id(struct reading *r, const struct jscan_event *e)
{
    if (reading_text(e, r->id, sizeof(r->id)))
        memcpy(r->result.work_id, r->id, sizeof(r->id));
}

void fact_cost(struct reading *r, const struct jscan_event *e)
{
    reading_cost(r, e, 0);
}

void fact_seconds(struct reading *r, const struct jscan_event *e)
{
    reading_seconds(&r->counts, RAW_AUDIO_MS, e);
    r->has_counts = r->has_counts || raw_has(&r->counts, RAW_AUDIO_MS);
}
