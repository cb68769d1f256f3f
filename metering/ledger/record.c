#include "metering/ledger/record.h"

#include <string.h>

#include "base/check.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/record_int.h"
#include "metering/ledger/wire.h"

enum {
    FIELD_OVERHEAD = 1 + WIRE_U64_BYTES, /* tag and length */
    LINE_BYTES = 2 * WIRE_U64_BYTES + 2 * WIRE_MONEY_BYTES,
    NUMBERS = 27,                          /* fields that are one number */
    TEXTS = 16 + DIM_COUNT + DETAIL_COUNT, /* and one text, with the parts of a cost */
    FIXED_BYTES = NUMBERS * (FIELD_OVERHEAD + WIRE_MONEY_BYTES) + TEXTS * FIELD_OVERHEAD +
                  FIELD_OVERHEAD + WIRE_USAGE_BYTES + 2 * (FIELD_OVERHEAD + UUID_BYTES) + 2,
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

/* Nearly all are short: their length takes one byte. */
static char *put_text(char *p, unsigned tag, struct strv s)
{
    if (s.n >= 0x80)
        return put_bytes(p, tag, cut(s));
    p[0] = (char)tag;
    p[1] = (char)s.n;
    return strv_copy(p + 2, s);
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

static inline char *put_free(char *p, const struct subject *s)
{
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
    char value[WIRE_USAGE_BYTES] UNCLEARED;

    return u->has ? put_field(p, TAG_USAGE, value, wire_make_usage(value, u)) : p;
}

static char *put_lines(char *p, const struct record *r)
{
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];
        char *value = p + 2;
        size_t n = wire_make_u64(value, wire_meter(line->meter));

        n += wire_make_u64(value + n, line->quantity);
        n += wire_make_money(value + n, line->rate);
        n += wire_make_money(value + n, line->amount);
        p[0] = TAG_LINE;
        p[1] = (char)n;
        p = value + n;
    }
    return p;
}

static char *put_correction(char *p, const struct record *r)
{
    p = put_field(p, TAG_CORRECTS, (const char *)r->corrects.b, UUID_BYTES);
    p = put_number(p, TAG_WAS_UNPRICED, r->was_unpriced, false);
    p = put_strv(p, TAG_REASON, r->reason);
    return put_strv(p, TAG_CORRECTED_BY, r->corrected_by);
}

static inline size_t most(struct strv s)
{
    return s.n < RECORD_TEXT_MAX_BYTES ? s.n : RECORD_TEXT_MAX_BYTES;
}

/* What of a record is written: what it shares with others (record_common.h), the rest, the id. */
enum part { PART_COMMON = 1, PART_OWN = 2, PART_ID = 4, PART_ALL = 7 };

/* Those that is_common of record_common.c names. */
static inline size_t bound_common(const struct record *r)
{
    const struct strv *dim = r->subject.dim;

    return FIXED_BYTES + most(dim[DIM_TEAM]) + most(dim[DIM_FEATURE]) +
           most(dim[DIM_ENVIRONMENT]) + most(dim[DIM_TASK_TYPE]) + most(dim[DIM_KEY]) +
           most(dim[DIM_MODEL]) + most(dim[DIM_UPSTREAM]) + most(r->protocol) +
           most(r->endpoint) + most(r->method) + most(r->model_requested) + most(r->model) +
           most(r->service_tier) + most(r->price_id) + most(r->price_confidence) +
           most(r->book) + most(r->node) + most(r->region) + most(r->priced_model);
}

/* 0 where the record is not one that may be stored. */
static inline size_t bound_own(const struct record *r)
{
    const struct strv *dim = r->subject.dim;
    size_t n = FIXED_BYTES + most(dim[DIM_CUSTOMER]) + most(dim[DIM_USER]) +
               most(dim[DIM_TASK]) + most(r->provider_request_id) + most(r->reason) +
               most(r->corrected_by) + r->parts.n;

    if (r->n_lines > METER_COUNT || r->subject.n_free > FREE_TAGS_MAX)
        return 0;
    for (unsigned i = 0; i < DETAIL_COUNT; i++)
        n += most(r->detail[i]);
    for (unsigned i = 0; i < r->subject.n_free; i++) {
        const struct tag *tag = &r->subject.free[i];

        if (tag->name.n == 0 || tag->name.n > TAG_NAME_MAX_BYTES)
            return 0;
        n += FIELD_OVERHEAD + 1 + tag->name.n + most(tag->value);
    }
    return n + r->n_lines * (FIELD_OVERHEAD + LINE_BYTES);
}

/*
 * The fields of these parts, in order of their tags: one list for all forms, of which the
 * compiler makes one function a form.
 */
#define COMMON(put) (parts & PART_COMMON ? (put) : p)
#define OWN(put)    (parts & PART_OWN ? (put) : p)
static ALWAYS_INLINE char *put_start(char *p, const struct record *r, unsigned parts)
{
    const struct strv *dim = r->subject.dim;

    if (parts & PART_ID)
        p = put_field(p, TAG_ID, (const char *)r->id.b, UUID_BYTES);
    p = OWN(put_number(p, TAG_START, wire_zigzag(r->start_us), false));
    p = OWN(put_number(p, TAG_DURATION,
                       wire_zigzag((int64_t)((uint64_t)r->end_us - (uint64_t)r->start_us)),
                       false));
    p = OWN(put_number(p, TAG_ATTEMPT, r->attempt, false));
    for (unsigned i = 0; i < DIM_COUNT; i++) {
        bool is_own = i == DIM_CUSTOMER || i == DIM_USER || i == DIM_TASK;

        if (parts & (is_own ? PART_OWN : PART_COMMON))
            p = put_strv(p, TAG_DIM + i, dim[i]);
    }
    p = COMMON(put_number(p, TAG_SOURCES, pack_sources(&r->subject), false));
    p = OWN(put_free(p, &r->subject));
    p = COMMON(put_strv(p, TAG_PROTOCOL, r->protocol));
    p = COMMON(put_strv(p, TAG_ENDPOINT, r->endpoint));
    p = COMMON(put_strv(p, TAG_METHOD, r->method));
    p = COMMON(put_strv(p, TAG_MODEL_REQUESTED, r->model_requested));
    p = COMMON(put_strv(p, TAG_MODEL, r->model));
    p = COMMON(put_strv(p, TAG_SERVICE_TIER, r->service_tier));
    p = OWN(put_strv(p, TAG_PROVIDER_REQUEST_ID, r->provider_request_id));
    p = COMMON(put_number(p, TAG_STREAM, r->stream, false));
    p = COMMON(put_number(p, TAG_STATUS, clamp(r->status, RECORD_STATUS_MAX), false));
    return COMMON(put_number(p, TAG_OUTCOME, r->outcome, false));
}

static ALWAYS_INLINE char *put_price(char *p, const struct record *r, unsigned parts)
{
    p = OWN(put_usage(p, &r->usage));
    p = COMMON(put_number(p, TAG_USAGE_SOURCE, r->usage_source, false));
    if (r->has_provider_cost)
        p = OWN(put_money(p, TAG_PROVIDER_COST, r->provider_cost, true));
    p = COMMON(put_number(p, TAG_PRICE_STATUS, r->price_status, false));
    p = OWN(put_money(p, TAG_COST, r->cost, false));
    p = OWN(put_money(p, TAG_LIST_COST, r->list_cost, false));
    p = OWN(put_lines(p, r));
    p = COMMON(put_strv(p, TAG_PRICE_ID, r->price_id));
    p = COMMON(put_strv(p, TAG_PRICE_CONFIDENCE, r->price_confidence));
    p = COMMON(put_strv(p, TAG_BOOK, r->book));
    p = COMMON(put_number(p, TAG_PRICE_MATCH, r->price_match, false));
    return COMMON(put_number(p, TAG_PRICE_FLAGS, r->price_flags, false));
}

static ALWAYS_INLINE char *put_rest(char *p, const struct record *r, unsigned parts)
{
    p = OWN(put_number(p, TAG_LATENCY, clamp(r->latency_us, INT64_MAX), false));
    if (r->first_byte_us >= 0)
        p = OWN(put_number(p, TAG_FIRST_BYTE, (uint64_t)r->first_byte_us, true));
    p = OWN(put_number(p, TAG_BYTES_IN, r->bytes_in, false));
    p = OWN(put_number(p, TAG_BYTES_OUT, r->bytes_out, false));
    p = COMMON(put_strv(p, TAG_NODE, r->node));
    p = OWN(put_number(p, TAG_PROMPT, r->prompt_hash, false));
    p = OWN(put_number(p, TAG_PREFIX, r->prefix_hash, false));
    p = OWN(put_number(p, TAG_REPEATS,
                       (uint64_t)r->is_repeat | (uint64_t)r->is_cacheable << 1, false));
    p = COMMON(put_strv(p, TAG_REGION, r->region));
    for (unsigned i = 0; i < DETAIL_COUNT; i++)
        p = OWN(put_strv(p, TAG_DETAIL + i, r->detail[i]));
    p = COMMON(put_strv(p, TAG_PRICED_MODEL, r->priced_model));
    if (r->parts.n > 0)
        p = OWN(put_bytes(p, TAG_PARTS, r->parts));
    if (r->is_correction)
        p = OWN(put_correction(p, r));
    if (parts & PART_OWN) {
        *p++ = TAG_END;
        *p++ = 0;
    }
    return p;
}
#undef COMMON
#undef OWN

static ALWAYS_INLINE enum rc encode(const struct record *r, struct buf *out, size_t room,
                                    unsigned parts)
{
    enum rc rc = buf_reserve(out, room);
    char *start, *p;

    if (rc != RC_OK)
        return rc;
    start = buf_tail(out);
    p = put_start(start, r, parts);
    p = put_price(p, r, parts);
    p = put_rest(p, r, parts);
    ASSERT((size_t)(p - start) <= room);
    buf_commit(out, (size_t)(p - start));
    return RC_OK;
}

enum rc record_encode(const struct record *r, struct buf *out)
{
    size_t own = bound_own(r);

    return own == 0 ? RC_BAD : encode(r, out, own + bound_common(r), PART_ALL);
}

enum rc record_encode_common(const struct record *r, struct buf *out)
{
    return encode(r, out, bound_common(r), PART_COMMON);
}

enum rc record_encode_own(const struct record *r, struct buf *out)
{
    size_t room = bound_own(r);

    return room == 0 ? RC_BAD : encode(r, out, room, PART_OWN);
}
