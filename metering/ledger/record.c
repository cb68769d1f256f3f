#include "metering/ledger/record.h"

#include <string.h>

#include "base/check.h"
#include "metering/ledger/wire.h"

/*
 * Tags ascend; the last is END.  A field of its empty value is left out.  Once
 * shipped, a tag keeps its meaning; new ones take new numbers.
 */
enum record_tag {
    TAG_END = 0,
    TAG_ID = 1,
    TAG_START = 2,
    TAG_DURATION = 3, /* end - start */
    TAG_ATTEMPT = 4,
    TAG_DIM = 10, /* ..19: enum dimension */
    TAG_SOURCES = 20,
    TAG_FREE = 21, /* repeated */
    TAG_PROTOCOL = 30,
    TAG_ENDPOINT = 31,
    TAG_METHOD = 32,
    TAG_MODEL_REQUESTED = 33,
    TAG_MODEL = 34,
    TAG_SERVICE_TIER = 35,
    TAG_PROVIDER_REQUEST_ID = 36,
    TAG_STREAM = 37,
    TAG_STATUS = 38,
    TAG_OUTCOME = 39,
    TAG_USAGE = 40,
    TAG_USAGE_SOURCE = 41,
    TAG_PROVIDER_COST = 42, /* there means stated, also where it is 0 */
    TAG_PRICE_STATUS = 43,
    TAG_COST = 44,
    TAG_LIST_COST = 45,
    TAG_LINE = 46, /* repeated */
    TAG_PRICE_ID = 47,
    TAG_PRICE_CONFIDENCE = 48,
    TAG_BOOK = 49,
    TAG_PRICE_MATCH = 50,
    TAG_PRICE_FLAGS = 51,
    TAG_LATENCY = 60,
    TAG_FIRST_BYTE = 61, /* there means that one came, also at 0 */
    TAG_BYTES_IN = 62,
    TAG_BYTES_OUT = 63,
    TAG_NODE = 64,
    TAG_PROMPT = 65,
    TAG_PREFIX = 66,
    TAG_REPEATS = 67, /* bit 0: repeat, bit 1: cacheable */
    TAG_REGION = 70,
    TAG_DETAIL = 71, /* ..74: enum price_detail */
    TAG_PRICED_MODEL = 75,
    TAG_PARTS = 76,
    TAG_CORRECTS = 80,
    TAG_WAS_UNPRICED = 81,
    TAG_REASON = 82,
    TAG_CORRECTED_BY = 83,
};

enum {
    STATUS_MAX = 999,
    FIELD_OVERHEAD = 1 + WIRE_U64_BYTES, /* tag and length */
    LINE_BYTES = 2 * WIRE_U64_BYTES + 2 * WIRE_MONEY_BYTES,
    NUMBERS = 27, /* fields that are one number */
    FIXED_BYTES = NUMBERS * (FIELD_OVERHEAD + WIRE_MONEY_BYTES) + FIELD_OVERHEAD + WIRE_USAGE_BYTES +
                  2 * (FIELD_OVERHEAD + UUID_BYTES) + 2,
};

/* Stored as they are numbered: these enumerations only ever grow at their end. */
_Static_assert(OUTCOME_OK == 0 && OUTCOME_INTERRUPTED == 8, "outcomes are stored by number");
_Static_assert(USAGE_NONE == 0 && USAGE_PROVIDER == 1 && USAGE_PARTIAL == 2 &&
                   USAGE_ESTIMATED == 3,
               "usage sources are stored by number");
_Static_assert(PRICE_OK == 0 && PRICE_PARTIAL == 1 && PRICE_NONE == 2,
               "price statuses are stored by number");
_Static_assert(DETAIL_SEARCH_CTX == 0 && DETAIL_STEPS == 3 && DETAIL_COUNT == 4,
               "details are stored by number");
_Static_assert(MATCH_NONE == 0 && MATCH_EXACT == 1 && MATCH_REGIONAL == 6,
               "price matches are stored by number");
_Static_assert(TAG_SOURCE_NONE == 0 && TAG_SOURCE_DEFAULT == 3,
               "sources are stored in two bits");

static const char *const outcome_names[OUTCOME_COUNT] = {
#define OUTCOME_NAME(id, name) [id] = (name),
    OUTCOMES(OUTCOME_NAME)
#undef OUTCOME_NAME
};

const char *outcome_name(enum outcome o)
{
    return outcome_names[o];
}

bool outcome_parse(struct strv name, enum outcome *o)
{
    for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
        if (strv_eq(name, strv_z(outcome_names[i]))) {
            *o = (enum outcome)i;
            return true;
        }
    }
    return false;
}

void record_set_cost(struct record *r, const struct cost *cost, struct strv book)
{
    r->price_status = cost->status;
    r->cost = cost->contracted;
    r->list_cost = cost->list;
    r->n_lines = cost->n_lines < METER_COUNT ? cost->n_lines : METER_COUNT;
    for (size_t i = 0; i < r->n_lines; i++) {
        r->lines[i] = (struct record_line){
            .meter = cost->lines[i].meter,
            .quantity = cost->lines[i].quantity,
            .rate = cost->lines[i].rate,
            .amount = cost->lines[i].amount,
        };
    }
    r->price_id = cost->price_id;
    r->price_confidence = cost->confidence;
    r->price_match = cost->match;
    r->price_flags = cost->flags;
    r->book = book;
}

/* ---- encode ---------------------------------------------------------------- */

static char *put_u64(char *p, uint64_t v)
{
    if (v < 0x80) {
        *p = (char)v;
        return p + 1;
    }
    return p + wire_make_u64(p, v);
}

/* A text as it is stored: cut before the character that would not fit. */
static struct strv cut(struct strv s)
{
    size_t n = RECORD_TEXT_MAX_BYTES;

    if (s.n <= n)
        return s;
    while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return strv_make(s.p, n);
}

static char *put_bytes(char *p, unsigned tag, struct strv s)
{
    *p++ = (char)tag;
    return strv_copy(put_u64(p, s.n), s);
}

static char *put_text(char *p, unsigned tag, struct strv s)
{
    return put_bytes(p, tag, cut(s));
}

static inline char *put_strv(char *p, unsigned tag, struct strv s)
{
    return s.n == 0 ? p : put_text(p, tag, s);
}

/* Values of one varint are short: their length takes one byte. */
static char *put_number(char *p, unsigned tag, uint64_t v, bool even_zero)
{
    size_t n;

    if (v == 0 && !even_zero)
        return p;
    *p++ = (char)tag;
    n = wire_make_u64(p + 1, v);
    *p = (char)n;
    return p + 1 + n;
}

static char *put_money(char *p, unsigned tag, struct money m, bool even_zero)
{
    size_t n;

    if (money_is_zero(m) && !even_zero)
        return p;
    *p++ = (char)tag;
    n = wire_make_money(p + 1, m);
    *p = (char)n;
    return p + 1 + n;
}

static char *put_field(char *p, unsigned tag, const char *value, size_t n)
{
    return put_strv(p, tag, strv_make(value, n));
}

/* What cannot be is stored as the nearest that can: a record is never refused for it. */
static uint64_t clamp(int64_t v, int64_t max)
{
    return (uint64_t)(v < 0 ? 0 : v > max ? max : v);
}

static unsigned pack_sources(const struct subject *s)
{
    unsigned packed = 0;

    for (unsigned i = 0; i < STANDING_TAGS; i++)
        packed |= (unsigned)s->source[i] << (2 * i);
    return packed;
}

static char *put_subject(char *p, const struct subject *s)
{
    for (unsigned i = 0; i < DIM_COUNT; i++)
        p = put_strv(p, TAG_DIM + i, s->dim[i]);
    p = put_number(p, TAG_SOURCES, pack_sources(s), false);
    for (unsigned i = 0; i < s->n_free; i++) {
        struct strv name = s->free[i].name, value = cut(s->free[i].value);

        *p++ = TAG_FREE;
        p = put_u64(p, 1 + name.n + value.n);
        *p++ = (char)name.n;
        memcpy(p, name.p, name.n);
        p += name.n;
        if (value.n)
            memcpy(p, value.p, value.n);
        p += value.n;
    }
    return p;
}

static char *put_usage(char *p, const struct usage *u)
{
    char value[WIRE_USAGE_BYTES];

    return u->has ? put_field(p, TAG_USAGE, value, wire_make_usage(value, u)) : p;
}

static char *put_price(char *p, const struct record *r)
{
    if (r->has_provider_cost)
        p = put_money(p, TAG_PROVIDER_COST, r->provider_cost, true);
    p = put_number(p, TAG_PRICE_STATUS, r->price_status, false);
    p = put_money(p, TAG_COST, r->cost, false);
    p = put_money(p, TAG_LIST_COST, r->list_cost, false);
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];
        char value[LINE_BYTES];
        size_t n = wire_make_u64(value, wire_meter(line->meter));

        n += wire_make_u64(value + n, line->quantity);
        n += wire_make_money(value + n, line->rate);
        n += wire_make_money(value + n, line->amount);
        p = put_field(p, TAG_LINE, value, n);
    }
    p = put_strv(p, TAG_PRICE_ID, r->price_id);
    p = put_strv(p, TAG_PRICE_CONFIDENCE, r->price_confidence);
    p = put_strv(p, TAG_BOOK, r->book);
    p = put_number(p, TAG_PRICE_MATCH, r->price_match, false);
    return put_number(p, TAG_PRICE_FLAGS, r->price_flags, false);
}

static char *put_correction(char *p, const struct record *r)
{
    p = put_field(p, TAG_CORRECTS, (const char *)r->corrects.b, UUID_BYTES);
    p = put_number(p, TAG_WAS_UNPRICED, r->was_unpriced, false);
    p = put_strv(p, TAG_REASON, r->reason);
    return put_strv(p, TAG_CORRECTED_BY, r->corrected_by);
}

/* The most that the record can take; 0 where it is not one that may be stored. */
static size_t bound(const struct record *r)
{
    const struct strv texts[] = {
        r->protocol,
        r->endpoint,
        r->method,
        r->model_requested,
        r->model,
        r->service_tier,
        r->provider_request_id,
        r->price_id,
        r->price_confidence,
        r->book,
        r->node,
        r->region,
        r->priced_model,
        r->reason,
        r->corrected_by,
    };
    size_t n = FIXED_BYTES;

    if (r->n_lines > METER_COUNT || r->subject.n_free > FREE_TAGS_MAX)
        return 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        n += FIELD_OVERHEAD + cut(texts[i]).n;
    for (unsigned i = 0; i < DIM_COUNT; i++)
        n += FIELD_OVERHEAD + cut(r->subject.dim[i]).n;
    for (unsigned i = 0; i < DETAIL_COUNT; i++)
        n += FIELD_OVERHEAD + cut(r->detail[i]).n;
    for (unsigned i = 0; i < r->subject.n_free; i++) {
        if (r->subject.free[i].name.n == 0 || r->subject.free[i].name.n > TAG_NAME_MAX_BYTES)
            return 0;
        n += FIELD_OVERHEAD + 1 + r->subject.free[i].name.n + cut(r->subject.free[i].value).n;
    }
    n += FIELD_OVERHEAD + r->parts.n;
    return n + r->n_lines * (FIELD_OVERHEAD + LINE_BYTES);
}

enum rc record_encode(const struct record *r, struct buf *out)
{
    size_t most = bound(r);
    char *start, *p;
    enum rc rc;

    if (most == 0)
        return RC_BAD;
    rc = buf_reserve(out, most);
    if (rc != RC_OK)
        return rc;
    start = p = buf_tail(out);
    p = put_field(p, TAG_ID, (const char *)r->id.b, UUID_BYTES);
    p = put_number(p, TAG_START, wire_zigzag(r->start_us), false);
    p = put_number(p, TAG_DURATION,
                   wire_zigzag((int64_t)((uint64_t)r->end_us - (uint64_t)r->start_us)), false);
    p = put_number(p, TAG_ATTEMPT, r->attempt, false);
    p = put_subject(p, &r->subject);
    p = put_strv(p, TAG_PROTOCOL, r->protocol);
    p = put_strv(p, TAG_ENDPOINT, r->endpoint);
    p = put_strv(p, TAG_METHOD, r->method);
    p = put_strv(p, TAG_MODEL_REQUESTED, r->model_requested);
    p = put_strv(p, TAG_MODEL, r->model);
    p = put_strv(p, TAG_SERVICE_TIER, r->service_tier);
    p = put_strv(p, TAG_PROVIDER_REQUEST_ID, r->provider_request_id);
    p = put_number(p, TAG_STREAM, r->stream, false);
    p = put_number(p, TAG_STATUS, clamp(r->status, STATUS_MAX), false);
    p = put_number(p, TAG_OUTCOME, r->outcome, false);
    p = put_usage(p, &r->usage);
    p = put_number(p, TAG_USAGE_SOURCE, r->usage_source, false);
    p = put_price(p, r);
    p = put_number(p, TAG_LATENCY, clamp(r->latency_us, INT64_MAX), false);
    if (r->first_byte_us >= 0)
        p = put_number(p, TAG_FIRST_BYTE, (uint64_t)r->first_byte_us, true);
    p = put_number(p, TAG_BYTES_IN, r->bytes_in, false);
    p = put_number(p, TAG_BYTES_OUT, r->bytes_out, false);
    p = put_strv(p, TAG_NODE, r->node);
    p = put_number(p, TAG_PROMPT, r->prompt_hash, false);
    p = put_number(p, TAG_PREFIX, r->prefix_hash, false);
    p = put_number(p, TAG_REPEATS, (uint64_t)r->is_repeat | (uint64_t)r->is_cacheable << 1, false);
    p = put_strv(p, TAG_REGION, r->region);
    for (unsigned i = 0; i < DETAIL_COUNT; i++)
        p = put_strv(p, TAG_DETAIL + i, r->detail[i]);
    p = put_strv(p, TAG_PRICED_MODEL, r->priced_model);
    if (r->parts.n > 0)
        p = put_bytes(p, TAG_PARTS, r->parts);
    if (r->is_correction)
        p = put_correction(p, r);
    *p++ = TAG_END;
    *p++ = 0;
    ASSERT((size_t)(p - start) <= most);
    buf_commit(out, (size_t)(p - start));
    return RC_OK;
}

/* ---- decode ---------------------------------------------------------------- */

/* The number that is the whole value, 1..max (0 only where that says something). */
static uint64_t number(struct wire_in *in, struct strv value, uint64_t max, bool even_zero)
{
    struct wire_in at = wire_in(value);
    uint64_t v = wire_get_u64(&at);

    if (at.bad || at.p != at.end || v > max || (v == 0 && !even_zero))
        in->bad = true;
    return in->bad ? 0 : v;
}

static struct money amount(struct wire_in *in, struct strv value, bool even_zero)
{
    struct wire_in at = wire_in(value);
    struct money m = wire_get_money(&at);

    if (at.bad || at.p != at.end || (money_is_zero(m) && !even_zero))
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
    struct wire_in at = wire_in(value);

    wire_get_usage(&at, u);
    if (at.bad || at.p != at.end)
        in->bad = true;
}

/* A meter that a newer version counts is left out: the record's cost holds it. */
static void get_line(struct wire_in *in, struct strv value, struct record *r)
{
    struct wire_in at = wire_in(value);
    uint64_t meter = wire_get_u64(&at);
    struct record_line line = {.quantity = wire_get_u64(&at)};

    line.rate = wire_get_money(&at);
    line.amount = wire_get_money(&at);
    if (at.bad || at.p != at.end) {
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

static struct strv *text_field(struct record *r, uint64_t tag)
{
    if (tag >= TAG_DIM && tag < TAG_DIM + DIM_COUNT)
        return &r->subject.dim[tag - TAG_DIM];
    if (tag >= TAG_DETAIL && tag < TAG_DETAIL + DETAIL_COUNT)
        return &r->detail[tag - TAG_DETAIL];
    switch (tag) {
    case TAG_PROTOCOL:
        return &r->protocol;
    case TAG_ENDPOINT:
        return &r->endpoint;
    case TAG_METHOD:
        return &r->method;
    case TAG_MODEL_REQUESTED:
        return &r->model_requested;
    case TAG_MODEL:
        return &r->model;
    case TAG_SERVICE_TIER:
        return &r->service_tier;
    case TAG_PROVIDER_REQUEST_ID:
        return &r->provider_request_id;
    case TAG_PRICE_ID:
        return &r->price_id;
    case TAG_PRICE_CONFIDENCE:
        return &r->price_confidence;
    case TAG_BOOK:
        return &r->book;
    case TAG_NODE:
        return &r->node;
    case TAG_REGION:
        return &r->region;
    case TAG_PRICED_MODEL:
        return &r->priced_model;
    case TAG_REASON:
        return &r->reason;
    case TAG_CORRECTED_BY:
        return &r->corrected_by;
    case TAG_PARTS:
        return &r->parts;
    }
    return NULL;
}

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

static void get_field(struct wire_in *in, uint64_t tag, struct strv value, struct record *r)
{
    struct strv *text = text_field(r, tag);
    unsigned flags;

    if (text) {
        *text = value;
        if (value.n == 0)
            in->bad = true;
        return;
    }
    switch (tag) {
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
        r->status = (int)number(in, value, STATUS_MAX, false);
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
    get_price(in, tag, value, r);
}

enum rc record_decode(struct strv bytes, struct record *out)
{
    struct wire_in in = wire_in(bytes);
    uint64_t last = TAG_END;
    bool has_id = false;

    memset(out, 0, sizeof(*out));
    out->first_byte_us = -1;
    while (!wire_at_end(&in)) {
        uint64_t tag = wire_get_u64(&in);
        struct strv value = wire_get_bytes(&in, wire_get_u64(&in));

        if (in.bad)
            break;
        if (tag == TAG_END) {
            if (value.n != 0 || in.p != in.end || !has_id)
                return RC_BAD;
            out->end_us = (int64_t)((uint64_t)out->start_us + (uint64_t)out->end_us);
            return RC_OK;
        }
        if (tag < last || (tag == last && tag != TAG_FREE && tag != TAG_LINE))
            return RC_BAD;
        has_id |= tag == TAG_ID;
        last = tag;
        get_field(&in, tag, value, out);
    }
    return RC_BAD;
}

enum rc record_decode_id(struct strv bytes, struct record *out)
{
    struct wire_in in = wire_in(bytes);
    struct strv id, start;

    out->start_us = 0;
    if (wire_get_u64(&in) != TAG_ID)
        return RC_BAD;
    id = wire_get_bytes(&in, wire_get_u64(&in));
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
