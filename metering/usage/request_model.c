/*
 * Requests: which models the body names, as its own, for its agent, for its tools, after or instead
 * of another.
 */
#include "base/utf8.h"
#include "metering/usage/request_graph.h"
#include "metering/usage/request_reading.h"

void request_on_model(struct request_reading *r, const struct jscan_event *e)
{
    struct request_facts *f = r->facts;
    size_t n;

    if (e->what == JSCAN_AT_LEAVE)
        return;
    reading_once(r, N_MODEL);
    f->model = STRV_NONE;
    if (e->type == JSCAN_NULL || (e->type == JSCAN_STRING && e->text.n == 0))
        return; /* as good as absent; see the end */
    if (r->is_dream && e->type == JSCAN_OBJECT)
        return;
    if (e->type != JSCAN_STRING || e->cut) {
        r->bad = true;
        return;
    }
    if (e->escaped) {
        if (!jscan_unescape(e->text, f->model_text, sizeof(f->model_text), &n)) {
            r->bad = true;
            return;
        }
        f->model = strv_make(f->model_text, n);
    } else {
        f->model = e->text;
    }
    if (f->model.n > REQUEST_MODEL_MAX_BYTES ||
        !(strv_ascii_run(f->model) == f->model.n || utf8_is_printable(f->model)))
        r->bad = true;
}

void request_on_model_of(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what == JSCAN_AT_LEAVE)
        return;
    reading_once(r, N_MODEL_OF);
    r->facts->model = reading_word(e);
    if (r->facts->model.n == 0 || r->facts->model.n > REQUEST_MODEL_MAX_BYTES)
        r->bad = true;
}

/* One that is not spelled plainly, or twice, is read by nobody else as it is here. */
void request_on_model_id(struct request_reading *r, const struct jscan_event *e)
{
    struct strv word = reading_word(e);

    if (e->type == JSCAN_NULL)
        return;
    r->model_id_is_odd = r->model_id_is_odd || r->model_id.n > 0 || word.n == 0 ||
                         word.n > REQUEST_MODEL_MAX_BYTES || !utf8_is_printable(word);
    r->model_id = word;
}

void request_on_job_model(struct request_reading *r, const struct jscan_event *e)
{
    r->job_models = r->job_models || r->job_model.n > 0 || e->what != JSCAN_AT_VALUE;
    r->job_model = reading_word(e);
}

void request_on_agent(struct request_reading *r, const struct jscan_event *e)
{
    if (e->what != JSCAN_AT_LEAVE)
        reading_once(r, N_AGENT);
    if (e->what == JSCAN_AT_VALUE)
        r->model_id = reading_word(e);
}

/* One that is not spelled plainly, or twice, is read by nobody else as it is here. */
void request_on_agent_model(struct request_reading *r, const struct jscan_event *e)
{
    if (e->type == JSCAN_NULL)
        return;
    reading_once(r, N_AGENT_MODEL);
    r->agent_model = reading_word(e);
    if (r->agent_model.n == 0 || r->agent_model.n > REQUEST_MODEL_MAX_BYTES)
        r->bad = true;
}

void request_on_agent_name(struct request_reading *r, const struct jscan_event *e)
{
    reading_once(r, N_AGENT_NAME);
    r->agent_name = reading_word(e);
}

void request_on_agent_tier(struct request_reading *r, const struct jscan_event *e)
{
    r->agent_tier = reading_word(e);
}

/* The requests of a batch name their models themselves; of several, none is the batch's. */
void request_on_batch_model(struct request_reading *r, const struct jscan_event *e)
{
    struct strv model = reading_word(e);

    if (e->what == JSCAN_AT_LEAVE)
        return;
    if (model.n == 0 || model.n > REQUEST_MODEL_MAX_BYTES || !utf8_is_printable(model))
        r->bad = true;
    else if (r->facts->model.n > 0 && !strv_eq(r->facts->model, model))
        r->mixed_models = true;
    else
        r->facts->model = model;
}

/* Whoever may use some models alone must not be answered by others. */
void request_on_other(struct request_reading *r, const struct jscan_event *e)
{
    struct request_facts *f = r->facts;

    if (e->type == JSCAN_NULL)
        return;
    if (e->type != JSCAN_STRING || e->cut || e->text.n > REQUEST_MODEL_MAX_BYTES ||
        f->n_others == REQUEST_OTHERS_MAX) {
        f->others_untold = true;
        return;
    }
    f->others[f->n_others++] = (struct request_other){
        .text = e->text,
        .escaped = e->escaped,
        .kind = e->node == N_MODELS || e->node == N_LISTENERS ? OTHER_INSTEAD
                : e->node == N_FALLBACKS ? OTHER_AFTER
                                         : OTHER_TOOL};
}

void request_on_listener(struct request_reading *r, const struct jscan_event *e)
{
    if (r->listeners++ == 0)
        request_on_model_id(r, e);
    else
        request_on_other(r, e);
}

bool protocol_other_model(const struct request_other *other, char text[REQUEST_MODEL_MAX_BYTES],
                          struct strv *out)
{
    size_t n;

    *out = other->text;
    if (other->escaped) {
        if (!jscan_unescape(other->text, text, REQUEST_MODEL_MAX_BYTES, &n))
            return false;
        *out = strv_make(text, n);
    }
    return out->n > 0;
}
