/*
 * record_decode.c - reads records from their stored form (record_int.h).
 *
 * Numbers are read up to the record's end and then held to their own, so that they can be
 * read many bytes at a time.
 */
#include <string.h>

#include "metering/ledger/record.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/record_int.h"
#include "metering/ledger/wire.h"

static inline struct wire_in within(const struct wire_in *in, struct strv value)
{
    return (struct wire_in){(const unsigned char *)value.p, in->end, false};
}

static inline bool is_whole(const struct wire_in *at, struct strv value)
{
    return !at->bad && at->p == (const unsigned char *)value.p + value.n;
}

/* The number that is the whole value, 1..max (0 only where that says something). */
static inline uint64_t number(struct wire_in *in, struct strv value, uint64_t max,
                              bool even_zero)
{
    struct wire_in at = within(in, value);
    uint64_t v = wire_get_u64(&at);

    if (!is_whole(&at, value) || v > max || (v == 0 && !even_zero))
        in->bad = true;
    return in->bad ? 0 : v;
}

static struct money amount(struct wire_in *in, struct strv value, bool even_zero)
{
    struct wire_in at = within(in, value);
    struct money m = wire_get_money(&at);

    if (!is_whole(&at, value) || (money_is_zero(m) && !even_zero))
        in->bad = true;
    return m;
}

static void get_free(struct wire_in *in, struct strv value, struct subject *s)
{
    struct tag *tag = &s->free[s->n_free < FREE_TAGS_MAX ? s->n_free : 0];
    size_t n = value.n ? (unsigned char)value.p[0] : 0;

    if (s->n_free == FREE_TAGS_MAX || n == 0 || n > TAG_NAME_MAX_BYTES || n + 1 > value.n) {
        in->bad = true;
        return;
    }
    tag->name = strv_make(value.p + 1, n);
    tag->value = strv_skip(value, n + 1);
    s->n_free++;
}

static void get_usage(struct wire_in *in, struct strv value, struct usage *u)
{
    struct wire_in at = within(in, value);

    wire_get_usage(&at, u);
    if (!is_whole(&at, value))
        in->bad = true;
}

/* A meter that a newer version counts is left out: the record's cost holds it. */
static void get_line(struct wire_in *in, struct strv value, struct record *r)
{
    struct wire_in at = within(in, value);
    uint64_t meter = wire_get_u64(&at);
    struct record_line line = {.quantity = wire_get_u64(&at)};

    line.rate = wire_get_money(&at);
    line.amount = wire_get_money(&at);
    if (!is_whole(&at, value)) {
        in->bad = true;
        return;
    }
    if (!wire_meter_parse(meter, &line.meter))
        return;
    if (r->n_lines == METER_COUNT) {
        in->bad = true;
        return;
    }
    r->lines[r->n_lines++] = line;
}

static void get_sources(struct wire_in *in, struct strv value, struct subject *s)
{
    uint64_t packed = number(in, value, (1u << (2 * STANDING_TAGS)) - 1, false);

    for (unsigned i = 0; i < STANDING_TAGS; i++)
        s->source[i] = (enum tag_source)(packed >> (2 * i) & 3);
}

/* Where the views of texts stand in a record; 0: the tag is none of a text. */
#define AT(tag, field) [tag] = offsetof(struct record, field)
#define AT_PLACE(tag, at, i)                                                                   \
    [(tag) + (i)] = offsetof(struct record, at) + (i) * sizeof(struct strv)
static const unsigned short text_at[TAG_LIMIT] = {
    AT_PLACE(TAG_DIM, subject.dim, DIM_TEAM),
    AT_PLACE(TAG_DIM, subject.dim, DIM_FEATURE),
    AT_PLACE(TAG_DIM, subject.dim, DIM_ENVIRONMENT),
    AT_PLACE(TAG_DIM, subject.dim, DIM_CUSTOMER),
    AT_PLACE(TAG_DIM, subject.dim, DIM_USER),
    AT_PLACE(TAG_DIM, subject.dim, DIM_TASK),
    AT_PLACE(TAG_DIM, subject.dim, DIM_TASK_TYPE),
    AT_PLACE(TAG_DIM, subject.dim, DIM_KEY),
    AT_PLACE(TAG_DIM, subject.dim, DIM_MODEL),
    AT_PLACE(TAG_DIM, subject.dim, DIM_UPSTREAM),
    AT_PLACE(TAG_DETAIL, detail, DETAIL_SEARCH_CTX),
    AT_PLACE(TAG_DETAIL, detail, DETAIL_QUALITY),
    AT_PLACE(TAG_DETAIL, detail, DETAIL_SIZE),
    AT_PLACE(TAG_DETAIL, detail, DETAIL_STEPS),
    AT(TAG_PROTOCOL, protocol),
    AT(TAG_ENDPOINT, endpoint),
    AT(TAG_METHOD, method),
    AT(TAG_MODEL_REQUESTED, model_requested),
    AT(TAG_MODEL, model),
    AT(TAG_SERVICE_TIER, service_tier),
    AT(TAG_PROVIDER_REQUEST_ID, provider_request_id),
    AT(TAG_PRICE_ID, price_id),
    AT(TAG_PRICE_CONFIDENCE, price_confidence),
    AT(TAG_BOOK, book),
    AT(TAG_NODE, node),
    AT(TAG_REGION, region),
    AT(TAG_PRICED_MODEL, priced_model),
    AT(TAG_REASON, reason),
    AT(TAG_CORRECTED_BY, corrected_by),
    AT(TAG_PARTS, parts),
};
#undef AT
#undef AT_PLACE
_Static_assert(offsetof(struct record, lines) <= UINT16_MAX, "places fit the table");

static void get_price(struct wire_in *in, uint64_t tag, struct strv value, struct record *r)
{
    switch (tag) {
    case TAG_PROVIDER_COST:
        r->provider_cost = amount(in, value, true);
        r->has_provider_cost = true;
        break;
    case TAG_PRICE_STATUS:
        r->price_status = (enum price_status)number(in, value, PRICE_NONE, false);
        break;
    case TAG_COST:
        r->cost = amount(in, value, false);
        break;
    case TAG_LIST_COST:
        r->list_cost = amount(in, value, false);
        break;
    case TAG_LINE:
        get_line(in, value, r);
        break;
    case TAG_PRICE_MATCH:
        r->price_match = (enum price_match)number(in, value, MATCH_REGIONAL, false);
        break;
    case TAG_PRICE_FLAGS:
        r->price_flags = (unsigned)number(in, value, UINT32_MAX, false);
        break;
    }
}

/* What ties the record to others: the one it corrects, those that it repeats. */
static void get_mark(struct wire_in *in, uint64_t tag, struct strv value, struct record *r)
{
    unsigned flags;

    switch (tag) {
    case TAG_CORRECTS:
        r->is_correction = value.n == UUID_BYTES;
        if (r->is_correction)
            memcpy(r->corrects.b, value.p, UUID_BYTES);
        else
            in->bad = true;
        break;
    case TAG_WAS_UNPRICED:
        r->was_unpriced = number(in, value, 1, false) != 0;
        break;
    case TAG_PROMPT:
        r->prompt_hash = number(in, value, UINT64_MAX, false);
        break;
    case TAG_PREFIX:
        r->prefix_hash = number(in, value, UINT64_MAX, false);
        break;
    case TAG_REPEATS:
        flags = (unsigned)number(in, value, 3, false);
        r->is_repeat = flags & 1;
        r->is_cacheable = flags >> 1;
        break;
    }
}

static void get_field(struct wire_in *in, uint64_t tag, struct strv value, struct record *r)
{
    switch (tag) {
    case TAG_PROVIDER_COST:
    case TAG_PRICE_STATUS:
    case TAG_COST:
    case TAG_LIST_COST:
    case TAG_LINE:
    case TAG_PRICE_MATCH:
    case TAG_PRICE_FLAGS:
        get_price(in, tag, value, r);
        break;
    case TAG_ID:
        if (value.n == UUID_BYTES)
            memcpy(r->id.b, value.p, UUID_BYTES);
        else
            in->bad = true;
        break;
    case TAG_START:
        r->start_us = wire_unzigzag(number(in, value, UINT64_MAX, false));
        break;
    case TAG_DURATION: /* still to be added to start */
        r->end_us = wire_unzigzag(number(in, value, UINT64_MAX, false));
        break;
    case TAG_ATTEMPT:
        r->attempt = (uint32_t)number(in, value, UINT32_MAX, false);
        break;
    case TAG_SOURCES:
        get_sources(in, value, &r->subject);
        break;
    case TAG_FREE:
        get_free(in, value, &r->subject);
        break;
    case TAG_STREAM:
        r->stream = number(in, value, 1, false) != 0;
        break;
    case TAG_STATUS:
        r->status = (int)number(in, value, RECORD_STATUS_MAX, false);
        break;
    case TAG_OUTCOME:
        r->outcome = (enum outcome)number(in, value, OUTCOME_COUNT - 1, false);
        break;
    case TAG_USAGE:
        get_usage(in, value, &r->usage);
        break;
    case TAG_USAGE_SOURCE:
        r->usage_source = (enum usage_source)number(in, value, USAGE_ESTIMATED, false);
        break;
    case TAG_LATENCY:
        r->latency_us = (int64_t)number(in, value, INT64_MAX, false);
        break;
    case TAG_FIRST_BYTE:
        r->first_byte_us = (int64_t)number(in, value, INT64_MAX, true);
        break;
    case TAG_BYTES_IN:
        r->bytes_in = number(in, value, UINT64_MAX, false);
        break;
    case TAG_BYTES_OUT:
        r->bytes_out = number(in, value, UINT64_MAX, false);
        break;
    case TAG_CORRECTS:
    case TAG_WAS_UNPRICED:
    case TAG_PROMPT:
    case TAG_PREFIX:
    case TAG_REPEATS:
        get_mark(in, tag, value, r);
        break;
    }
}

/*
 * Fields up to END; is_part: up to the end, and of what a record shares with others.  has_id: it
 * is known, and not among them.
 */
static enum rc get_fields(struct strv bytes, bool has_id, bool is_part, struct record *out)
{
    uint64_t last = has_id ? TAG_ID : TAG_END, tag;
    struct wire_in in = wire_in(bytes);
    struct strv value;

    while (!wire_at_end(&in)) {
        if (!record_next_field(&in, &tag, &value))
            break;
        if (tag == TAG_END)
            return value.n == 0 && in.p == in.end && has_id && !is_part ? RC_OK : RC_BAD;
        if (tag < last || (tag == last && tag != TAG_FREE && tag != TAG_LINE))
            return RC_BAD;
        has_id |= tag == TAG_ID;
        last = tag;
        if (tag >= TAG_LIMIT || text_at[tag] == 0) {
            get_field(&in, tag, value, out);
            continue;
        }
        if (value.n == 0)
            return RC_BAD;
        *(struct strv *)(void *)((char *)out + text_at[tag]) = value;
    }
    return is_part && !in.bad ? RC_OK : RC_BAD;
}

enum rc record_decode_common(struct strv common, struct record *out)
{
    record_clear(out);
    out->first_byte_us = -1;
    return get_fields(common, false, true, out);
}

enum rc record_decode_own(const struct stored_record *s, struct record *out)
{
    bool has_id = s->id.n == UUID_BYTES;
    enum rc rc;

    if (has_id)
        memcpy(out->id.b, s->id.p, UUID_BYTES);
    rc = get_fields(s->own, has_id, false, out);
    if (rc == RC_OK)
        out->end_us = (int64_t)((uint64_t)out->start_us + (uint64_t)out->end_us);
    return rc;
}

enum rc record_decode_stored(const struct stored_record *s, struct record *out)
{
    enum rc rc = record_decode_common(s->common, out);

    return rc == RC_OK ? record_decode_own(s, out) : rc;
}

enum rc record_decode(struct strv bytes, struct record *out)
{
    return record_decode_stored(&(struct stored_record){.own = bytes}, out);
}

enum rc record_decode_id_own(const struct stored_record *s, struct record *out)
{
    struct wire_in in = wire_in(s->own);
    struct strv id = s->id, start;

    out->start_us = 0;
    if (id.n == 0) {
        if (wire_get_u64(&in) != TAG_ID)
            return RC_BAD;
        id = wire_get_bytes(&in, wire_get_u64(&in));
    }
    if (in.bad || id.n != UUID_BYTES)
        return RC_BAD;
    memcpy(out->id.b, id.p, UUID_BYTES);
    if (wire_get_u64(&in) != TAG_START)
        return in.bad ? RC_BAD : RC_OK;
    start = wire_get_bytes(&in, wire_get_u64(&in));
    if (!in.bad)
        out->start_us = wire_unzigzag(number(&in, start, UINT64_MAX, false));
    return in.bad ? RC_BAD : RC_OK;
}

enum rc record_decode_id(struct strv bytes, struct record *out)
{
    return record_decode_id_own(&(struct stored_record){.own = bytes}, out);
}
