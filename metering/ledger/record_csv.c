/*
 * record_csv.c - the record as one flat line, for spreadsheets and loaders.
 */
#include <inttypes.h>
#include <string.h>

#include "base/csvw.h"
#include "base/datetime.h"
#include "metering/ledger/record.h"

struct row {
    struct buf *out;
    enum rc rc;
    bool is_header; /* write names instead of values */
    bool is_started;
};

static void put(struct row *row, struct strv s)
{
    if (row->rc == RC_OK)
        row->rc = buf_append_strv(row->out, s);
}

/* A cell of text that is ours or already safe. */
static void cell(struct row *row, const char *name, struct strv value)
{
    if (row->is_started)
        put(row, STRV(","));
    row->is_started = true;
    put(row, row->is_header ? strv_z(name) : value);
}

static void text(struct row *row, const char *name, struct strv value)
{
    cell(row, name, STRV(""));
    if (row->rc == RC_OK && !row->is_header)
        row->rc = csvw_text(row->out, value);
}

static void count(struct row *row, const char *name, uint64_t value, bool is_known)
{
    cell(row, name, STRV(""));
    if (row->rc == RC_OK && is_known && !row->is_header)
        row->rc = buf_printf(row->out, "%" PRIu64, value);
}

static void thousandths(struct row *row, const char *name, uint64_t value, bool is_known)
{
    cell(row, name, STRV(""));
    if (row->rc == RC_OK && is_known && !row->is_header)
        row->rc = buf_printf(row->out, "%" PRIu64 ".%03" PRIu64, value / 1000, value % 1000);
}

static void money(struct row *row, const char *name, struct money m, bool is_known)
{
    char out[MONEY_TEXT];
    size_t n = money_format(m, out);

    cell(row, name, is_known ? strv_make(out, n) : STRV(""));
}

static void when(struct row *row, const char *name, int64_t us)
{
    char out[DATETIME_TEXT];

    datetime_format_us(us, out);
    cell(row, name, strv_z(out));
}

/* "k=v; k2=v2" in one cell. */
static void tags(struct row *row, const struct subject *s)
{
    char joined[FREE_TAGS_MAX * (TAG_NAME_MAX_BYTES + RECORD_TEXT_MAX_BYTES + 4)];
    size_t n = 0;

    for (unsigned i = 0; i < s->n_free; i++) {
        struct strv part[] = {i ? STRV("; ") : STRV(""), s->free[i].name, STRV("="),
                              s->free[i].value};

        for (size_t k = 0; k < 4; k++) {
            size_t room = sizeof(joined) - n;
            size_t take = part[k].n < room ? part[k].n : room;

            if (take)
                memcpy(joined + n, part[k].p, take);
            n += take;
        }
    }
    text(row, "tags", strv_make(joined, n));
}

static void subject(struct row *row, const struct record *r)
{
    static const char *const sources[STANDING_TAGS] = {
        [DIM_TEAM] = "team_source",
        [DIM_FEATURE] = "feature_source",
        [DIM_ENVIRONMENT] = "environment_source",
        [DIM_CUSTOMER] = "customer_source",
        [DIM_USER] = "user_source",
        [DIM_TASK] = "task_source",
        [DIM_TASK_TYPE] = "task_type_source",
    };
    const struct strv *dim = r->subject.dim;

    text(row, "key", dim[DIM_KEY]);
    for (int i = 0; i < STANDING_TAGS; i++)
        text(row, dimension_name((enum dimension)i), dim[i]);
    count(row, "attempt", r->attempt, r->attempt > 0);
    tags(row, &r->subject);
    for (int i = 0; i < STANDING_TAGS; i++)
        cell(row, sources[i], strv_z(tag_source_name(r->subject.source[i])));
}

static void usage(struct row *row, const struct record *r)
{
    for (int i = 0; i < USAGE_COUNT; i++) {
        enum usage_field f = (enum usage_field)i;

        bool is_told = usage_has(&r->usage, f) && !r->is_correction;

        if (usage_is_time(f))
            thousandths(row, usage_field_name(f), r->usage.n[f], is_told);
        else
            count(row, usage_field_name(f), r->usage.n[f], is_told);
    }
    cell(row, "usage_source", strv_z(usage_source_name(r->usage_source)));
}

static enum rc make_row(const struct record *r, bool is_header, struct buf *out)
{
    struct row row = {.out = out, .rc = RC_OK, .is_header = is_header};
    bool is_priced = r->price_status != PRICE_NONE;
    char id[UUID_TEXT];

    uuid_format(&r->id, id);
    cell(&row, "id", strv_z(id));
    when(&row, "start", r->start_us);
    when(&row, "end", r->end_us);
    subject(&row, r);
    text(&row, "upstream", r->subject.dim[DIM_UPSTREAM]);
    text(&row, "protocol", r->protocol);
    text(&row, "endpoint", r->endpoint);
    text(&row, "method", r->method);
    text(&row, "model_requested", r->model_requested);
    text(&row, "model", r->model.n ? r->model : r->subject.dim[DIM_MODEL]);
    text(&row, "service_tier", r->service_tier);
    cell(&row, "stream", r->stream ? STRV("true") : STRV("false"));
    count(&row, "status", (uint64_t)r->status, r->status > 0);
    text(&row, "provider_request_id", r->provider_request_id);
    cell(&row, "outcome", strv_z(outcome_name(r->outcome)));
    usage(&row, r);
    money(&row, "provider_cost_usd", r->provider_cost, r->has_provider_cost);
    money(&row, "cost_usd", r->cost, is_priced);
    money(&row, "list_cost_usd", r->list_cost, is_priced);
    cell(&row, "price_status", strv_z(price_status_name(r->price_status)));
    text(&row, "price_id", r->price_id);
    cell(&row, "price_match",
         r->price_match == MATCH_NONE ? STRV("") : strv_z(price_match_name(r->price_match)));
    text(&row, "price_confidence", r->price_confidence);
    text(&row, "book", r->book);
    thousandths(&row, "latency_ms", (uint64_t)r->latency_us, r->latency_us >= 0);
    thousandths(&row, "first_byte_ms", (uint64_t)r->first_byte_us, r->first_byte_us >= 0);
    count(&row, "bytes_in", r->bytes_in, true);
    count(&row, "bytes_out", r->bytes_out, true);
    text(&row, "node", r->node);
    text(&row, "region", r->region);
    for (unsigned i = 0; i < DETAIL_COUNT; i++)
        text(&row, price_detail_name((enum price_detail)i), r->detail[i]);
    uuid_format(&r->corrects, id);
    cell(&row, "corrects", r->is_correction ? strv_z(id) : STRV(""));
    text(&row, "reason", r->reason);
    text(&row, "corrected_by", r->corrected_by);
    put(&row, STRV("\r\n"));
    return row.rc;
}

enum rc record_csv(const struct record *r, struct buf *out)
{
    return make_row(r, false, out);
}

enum rc record_csv_header(struct buf *out)
{
    static const struct record none;

    return make_row(&none, true, out);
}
