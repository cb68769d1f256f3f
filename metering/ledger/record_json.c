/*
 * record_json.c - the record as the contract's JSON object (section "The record of a
 * request"), field by field and in its order.
 */
#include <stdio.h>

#include "base/datetime.h"
#include "base/jsonw.h"
#include "metering/ledger/record.h"
#include "metering/ledger/record_part.h"

static void text(struct jsonw *w, const char *key, struct strv value)
{
    if (value.n == 0)
        return;
    jsonw_key(w, strv_z(key));
    jsonw_string(w, value);
}

static void count(struct jsonw *w, const char *key, uint64_t value)
{
    jsonw_key(w, strv_z(key));
    jsonw_uint(w, value);
}

static void when(struct jsonw *w, const char *key, int64_t us)
{
    char out[DATETIME_TEXT];

    datetime_format_us(us, out);
    text(w, key, strv_z(out));
}

static void money(struct jsonw *w, const char *key, struct money m)
{
    char out[MONEY_TEXT];
    size_t n = money_format(m, out);

    text(w, key, strv_make(out, n));
}

/* A number with up to three decimals: thousandths as 12, 12.5 or 12.345. */
static void thousandths(struct jsonw *w, const char *key, uint64_t value)
{
    char out[32];
    int n = snprintf(out, sizeof(out), "%llu.%03llu", (unsigned long long)(value / 1000),
                     (unsigned long long)(value % 1000));

    while (out[n - 1] == '0')
        n--;
    if (out[n - 1] == '.')
        n--;
    jsonw_key(w, strv_z(key));
    jsonw_raw(w, strv_make(out, (size_t)n));
}

static void subject(struct jsonw *w, const struct record *r)
{
    static const enum dimension order[] = {DIM_KEY,      DIM_TEAM, DIM_FEATURE, DIM_ENVIRONMENT,
                                           DIM_CUSTOMER, DIM_USER, DIM_TASK,    DIM_TASK_TYPE};

    for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
        text(w, dimension_name(order[i]), r->subject.dim[order[i]]);
    if (r->attempt)
        count(w, "attempt", r->attempt);
    if (r->subject.n_free) {
        jsonw_key(w, STRV("tags"));
        jsonw_object(w);
        for (unsigned i = 0; i < r->subject.n_free; i++) {
            jsonw_key(w, r->subject.free[i].name);
            jsonw_string(w, r->subject.free[i].value);
        }
        jsonw_end(w);
    }
    jsonw_key(w, STRV("tag_source"));
    jsonw_object(w);
    for (int i = 0; i < STANDING_TAGS; i++)
        text(w, dimension_name((enum dimension)i),
             strv_z(tag_source_name(r->subject.source[i])));
    jsonw_end(w);
}

static void usage_object(struct jsonw *w, const struct usage *u)
{
    jsonw_key(w, STRV("usage"));
    jsonw_object(w);
    for (int i = 0; i < USAGE_COUNT; i++) {
        enum usage_field f = (enum usage_field)i;

        if (!usage_has(u, f))
            continue;
        if (usage_is_time(f))
            thousandths(w, usage_field_name(f), u->n[f]);
        else
            count(w, usage_field_name(f), u->n[f]);
    }
    jsonw_end(w);
}

static void usage(struct jsonw *w, const struct record *r)
{
    if (r->usage.has)
        usage_object(w, &r->usage);
    text(w, "usage_source", strv_z(usage_source_name(r->usage_source)));
}

/* What the cost is the sum of, where it is one. */
static void parts(struct jsonw *w, const struct record *r)
{
    struct strv rest = r->parts;
    struct record_part part;

    if (rest.n == 0)
        return;
    jsonw_key(w, STRV("parts"));
    jsonw_array(w);
    while (record_parts_next(&rest, &part) == RC_OK) {
        jsonw_object(w);
        text(w, "model", part.model);
        text(w, "service_tier", part.is_answer ? STRV("batch") : r->service_tier);
        count(w, "answers", part.answers);
        usage_object(w, &part.usage);
        jsonw_end(w);
    }
    jsonw_end(w);
}

static void lines(struct jsonw *w, const struct record *r)
{
    if (r->n_lines == 0)
        return;
    jsonw_key(w, STRV("cost_lines"));
    jsonw_array(w);
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];

        jsonw_object(w);
        text(w, "unit", strv_z(meter_name(line->meter)));
        if (meter_is_time(line->meter)) /* seconds, which the rate is for */
            thousandths(w, "quantity", line->quantity);
        else
            count(w, "quantity", line->quantity);
        money(w, "rate_usd_per_million", line->rate);
        money(w, "cost_usd", line->amount);
        jsonw_end(w);
    }
    jsonw_end(w);
}

static void price(struct jsonw *w, const struct record *r)
{
    if (r->has_provider_cost)
        money(w, "provider_cost_usd", r->provider_cost);
    if (r->price_status == PRICE_NONE) {
        jsonw_key(w, STRV("cost_usd"));
        jsonw_null(w);
        jsonw_key(w, STRV("list_cost_usd"));
        jsonw_null(w);
    } else {
        money(w, "cost_usd", r->cost);
        money(w, "list_cost_usd", r->list_cost);
    }
    text(w, "price_status", strv_z(price_status_name(r->price_status)));
    lines(w, r);
    text(w, "price_id", r->price_id);
    if (r->price_match != MATCH_NONE)
        text(w, "price_match", strv_z(price_match_name(r->price_match)));
    text(w, "price_confidence", r->price_confidence);
    text(w, "book", r->book);
}

/* The tokens are those of the line that it corrects, and not once more its own. */
static void correction(struct jsonw *w, const struct record *r)
{
    char id[UUID_TEXT];

    uuid_format(&r->corrects, id);
    text(w, "corrects", strv_z(id));
    text(w, "reason", r->reason);
    text(w, "corrected_by", r->corrected_by);
}

enum rc record_json(const struct record *r, struct buf *out)
{
    char id[UUID_TEXT];
    struct jsonw w;

    jsonw_start(&w, out);
    jsonw_object(&w);
    uuid_format(&r->id, id);
    text(&w, "id", strv_z(id));
    when(&w, "start", r->start_us);
    when(&w, "end", r->end_us);
    subject(&w, r);
    text(&w, "upstream", r->subject.dim[DIM_UPSTREAM]);
    text(&w, "protocol", r->protocol);
    text(&w, "endpoint", r->endpoint);
    text(&w, "method", r->method);
    text(&w, "model_requested", r->model_requested);
    text(&w, "model", r->model.n ? r->model : r->subject.dim[DIM_MODEL]);
    text(&w, "priced_model", r->priced_model);
    text(&w, "service_tier", r->service_tier);
    text(&w, "region", r->region);
    for (unsigned i = 0; i < DETAIL_COUNT; i++)
        text(&w, price_detail_name((enum price_detail)i), r->detail[i]);
    jsonw_key(&w, STRV("stream"));
    jsonw_bool(&w, r->stream);
    if (r->status)
        count(&w, "status", (uint64_t)r->status);
    text(&w, "provider_request_id", r->provider_request_id);
    text(&w, "outcome", strv_z(outcome_name(r->outcome)));
    if (r->is_correction)
        correction(&w, r);
    else
        usage(&w, r);
    parts(&w, r);
    price(&w, r);
    thousandths(&w, "latency_ms", (uint64_t)(r->latency_us < 0 ? 0 : r->latency_us));
    if (r->first_byte_us >= 0)
        thousandths(&w, "first_byte_ms", (uint64_t)r->first_byte_us);
    count(&w, "bytes_in", r->bytes_in);
    count(&w, "bytes_out", r->bytes_out);
    text(&w, "node", r->node);
    jsonw_end(&w);
    return jsonw_finish(&w);
}
