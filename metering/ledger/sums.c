#include "metering/ledger/sums.h"

#include <string.h>

#include "base/check.h"
#include "metering/ledger/wire.h"

__extension__ typedef unsigned __int128 money_bits;

/* Sums do not wrap: more than can be is the most that can be. */
static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

struct money ledger_money_add(struct money a, struct money b)
{
    struct money sum;

    if (__builtin_add_overflow(a.atto, b.atto, &sum.atto)) {
        money_bits max = ~(money_bits)0 >> 1;

        sum.atto = a.atto < 0 ? -(money_int)max : (money_int)max;
    }
    return sum;
}

/* ---- the fields, as tables -------------------------------------------------- */

/* How two values of a field become one. */
enum merge { MERGE_ADD, MERGE_MAX };

/* Numbers of the stored form; once shipped, a number keeps its field. */
struct count_field {
    unsigned number;
    size_t offset;
    enum merge merge;
};
#define COUNT(number, field, merge)                                                            \
    {                                                                                          \
        number, offsetof(struct ledger_sums, field), merge                                     \
    }
static const struct count_field count_fields[] = {
    COUNT(1, requests, MERGE_ADD),        COUNT(2, errors, MERGE_ADD),
    COUNT(3, priced, MERGE_ADD),          COUNT(4, price_partial, MERGE_ADD),
    COUNT(5, unpriced, MERGE_ADD),        COUNT(6, cost_ceil_nano, MERGE_ADD),
    COUNT(7, provider_costs, MERGE_ADD),  COUNT(8, retries, MERGE_ADD),
    COUNT(9, streams, MERGE_ADD),         COUNT(10, latency_us, MERGE_ADD),
    COUNT(11, latency_max_us, MERGE_MAX), COUNT(12, first_bytes, MERGE_ADD),
    COUNT(13, first_byte_us, MERGE_ADD),  COUNT(14, first_byte_max_us, MERGE_MAX),
    COUNT(15, bytes_in, MERGE_ADD),       COUNT(16, bytes_out, MERGE_ADD),
    COUNT(17, corrections, MERGE_ADD),    COUNT(18, late_priced, MERGE_ADD),
    COUNT(19, repeats, MERGE_ADD),        COUNT(20, cacheable, MERGE_ADD),
};
#undef COUNT

struct money_field {
    unsigned number;
    size_t offset;
};
#define MONEY(number, field)                                                                   \
    {                                                                                          \
        number, offsetof(struct ledger_sums, field)                                            \
    }
static const struct money_field money_fields[] = {
    MONEY(32, cost),           MONEY(33, list),          MONEY(34, error_cost),
    MONEY(35, estimated_cost), MONEY(36, provider_cost), MONEY(37, correction_cost),
    MONEY(38, repeat_cost),
};
#undef MONEY

enum {
    COUNT_FIELDS = sizeof(count_fields) / sizeof(*count_fields),
    MONEY_FIELDS = sizeof(money_fields) / sizeof(*money_fields),
    /* Numbers of what is more than one value. */
    PART_COST_MIN = 40,
    PART_COST_MAX = 41,
    PART_OUTCOMES = 48, /* ..: enum outcome */
    PART_USAGE_SOURCES = 64,
    PART_USAGE = 72,     /* number of the field, tokens, reported */
    PART_HISTOGRAM = 73, /* bucket, count */
    PART_OLD_BAND = 74,  /* bands of input tokens, no longer kept */
    PART_METER = 75,     /* number of the meter, requests, quantity, amount */
    PART_BAND = 76,      /* band, requests, priced, input, output, cost */
};

/* Numbers in a form by column; fields of the tables above have their own there too. */
enum { COLUMN_TOKENS = 128, COLUMN_REPORTED = 160 };

bool ledger_sums_count(unsigned i, struct sums_field *out)
{
    unsigned usage;

    if (i < COUNT_FIELDS) {
        *out = (struct sums_field){count_fields[i].number, count_fields[i].offset,
                                   count_fields[i].merge == MERGE_MAX};
        return true;
    }
    i -= COUNT_FIELDS;
    if (i < OUTCOME_COUNT) {
        *out = (struct sums_field){
            PART_OUTCOMES + i, offsetof(struct ledger_sums, by_outcome) + i * sizeof(uint64_t),
            false};
        return true;
    }
    i -= OUTCOME_COUNT;
    if (i <= USAGE_ESTIMATED) {
        *out = (struct sums_field){
            PART_USAGE_SOURCES + i,
            offsetof(struct ledger_sums, by_usage_source) + i * sizeof(uint64_t), false};
        return true;
    }
    i -= USAGE_ESTIMATED + 1;
    usage = i % USAGE_COUNT;
    *out = i < USAGE_COUNT
               ? (struct sums_field){COLUMN_TOKENS + (wire_usage((enum usage_field)usage) & 31),
                                     offsetof(struct ledger_sums, tokens) +
                                         usage * sizeof(uint64_t),
                                     false}
               : (struct sums_field){
                     COLUMN_REPORTED + (wire_usage((enum usage_field)usage) & 31),
                     offsetof(struct ledger_sums, reported) + usage * sizeof(uint64_t), false};
    return i < 2 * USAGE_COUNT;
}

bool ledger_sums_amount(unsigned i, struct sums_field *out)
{
    if (i >= MONEY_FIELDS)
        return false;
    *out = (struct sums_field){money_fields[i].number, money_fields[i].offset, false};
    return true;
}

static uint64_t *count_of(struct ledger_sums *s, size_t offset)
{
    return (uint64_t *)(void *)((char *)s + offset);
}

static const uint64_t *count_in(const struct ledger_sums *s, size_t offset)
{
    return (const uint64_t *)(const void *)((const char *)s + offset);
}

static struct money *money_of(struct ledger_sums *s, size_t offset)
{
    return (struct money *)(void *)((char *)s + offset);
}

static const struct money *money_in(const struct ledger_sums *s, size_t offset)
{
    return (const struct money *)(const void *)((const char *)s + offset);
}

static void merge_count(uint64_t *to, uint64_t from, enum merge merge)
{
    switch (merge) {
    case MERGE_ADD:
        *to = plus(*to, from);
        break;
    case MERGE_MAX:
        if (from > *to)
            *to = from;
        break;
    }
}

void ledger_sums_add(struct ledger_sums *to, const struct ledger_sums *from)
{
    if (from->priced) {
        if (to->priced == 0 || money_cmp(from->cost_min, to->cost_min) < 0)
            to->cost_min = from->cost_min;
        if (to->priced == 0 || money_cmp(from->cost_max, to->cost_max) > 0)
            to->cost_max = from->cost_max;
    }
    for (size_t i = 0; i < COUNT_FIELDS; i++)
        merge_count(count_of(to, count_fields[i].offset),
                    *count_in(from, count_fields[i].offset), count_fields[i].merge);
    for (size_t i = 0; i < MONEY_FIELDS; i++) {
        struct money *m = money_of(to, money_fields[i].offset);

        *m = ledger_money_add(*m, *money_in(from, money_fields[i].offset));
    }
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        to->by_outcome[i] = plus(to->by_outcome[i], from->by_outcome[i]);
    for (size_t i = 0; i <= USAGE_ESTIMATED; i++)
        to->by_usage_source[i] = plus(to->by_usage_source[i], from->by_usage_source[i]);
    for (size_t i = 0; i < USAGE_COUNT; i++) {
        to->tokens[i] = plus(to->tokens[i], from->tokens[i]);
        to->reported[i] = plus(to->reported[i], from->reported[i]);
    }
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

void ledger_sums_take(struct ledger_sums *from, const struct ledger_sums *part)
{
    for (size_t i = 0; i < COUNT_FIELDS; i++) {
        uint64_t *n = count_of(from, count_fields[i].offset);

        if (count_fields[i].merge == MERGE_ADD)
            *n = less(*n, *count_in(part, count_fields[i].offset));
    }
    for (size_t i = 0; i < MONEY_FIELDS; i++) {
        struct money *m = money_of(from, money_fields[i].offset);

        *m = money_sub(*m, *money_in(part, money_fields[i].offset));
    }
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        from->by_outcome[i] = less(from->by_outcome[i], part->by_outcome[i]);
    for (size_t i = 0; i <= USAGE_ESTIMATED; i++)
        from->by_usage_source[i] = less(from->by_usage_source[i], part->by_usage_source[i]);
    for (size_t i = 0; i < USAGE_COUNT; i++) {
        from->tokens[i] = less(from->tokens[i], part->tokens[i]);
        from->reported[i] = less(from->reported[i], part->reported[i]);
    }
}

bool ledger_sums_equal(const struct ledger_sums *a, const struct ledger_sums *b)
{
    for (size_t i = 0; i < COUNT_FIELDS; i++) {
        if (*count_in(a, count_fields[i].offset) != *count_in(b, count_fields[i].offset))
            return false;
    }
    for (size_t i = 0; i < MONEY_FIELDS; i++) {
        if (money_cmp(*money_in(a, money_fields[i].offset),
                      *money_in(b, money_fields[i].offset)) != 0)
            return false;
    }
    return money_cmp(a->cost_min, b->cost_min) == 0 &&
           money_cmp(a->cost_max, b->cost_max) == 0 &&
           memcmp(a->by_outcome, b->by_outcome, sizeof(a->by_outcome)) == 0 &&
           memcmp(a->by_usage_source, b->by_usage_source, sizeof(a->by_usage_source)) == 0 &&
           memcmp(a->tokens, b->tokens, sizeof(a->tokens)) == 0 &&
           memcmp(a->reported, b->reported, sizeof(a->reported)) == 0;
}

/* ---- rollups ---------------------------------------------------------------- */

void ledger_band_add(struct ledger_band *to, const struct ledger_band *from)
{
    to->requests = plus(to->requests, from->requests);
    to->priced = plus(to->priced, from->priced);
    to->input_tokens = plus(to->input_tokens, from->input_tokens);
    to->output_tokens = plus(to->output_tokens, from->output_tokens);
    to->cost = ledger_money_add(to->cost, from->cost);
}

void ledger_meter_add(struct ledger_meter_sum *to, const struct ledger_meter_sum *from)
{
    to->requests = plus(to->requests, from->requests);
    to->quantity = plus(to->quantity, from->quantity);
    to->amount = ledger_money_add(to->amount, from->amount);
}

/* Longest value of one number: that of PART_BAND. */
enum { PART_BYTES = 6 * WIRE_U64_BYTES + WIRE_MONEY_BYTES };

struct out {
    struct buf *buf;
    enum rc rc;
};

/* Number, then values; money last where there is one. */
static void put(struct out *out, unsigned part, const uint64_t *values, size_t n,
                const struct money *amount)
{
    char bytes[PART_BYTES];
    size_t len = wire_make_u64(bytes, part);

    for (size_t i = 0; i < n; i++)
        len += wire_make_u64(bytes + len, values[i]);
    if (amount)
        len += wire_make_money(bytes + len, *amount);
    if (out->rc == RC_OK)
        out->rc = buf_append(out->buf, bytes, len);
}

static void put_count(struct out *out, unsigned part, uint64_t n)
{
    if (n)
        put(out, part, &n, 1, NULL);
}

static void put_sums(struct out *out, const struct ledger_sums *s)
{
    for (size_t i = 0; i < COUNT_FIELDS; i++)
        put_count(out, count_fields[i].number, *count_in(s, count_fields[i].offset));
    for (size_t i = 0; i < MONEY_FIELDS; i++) {
        const struct money *m = money_in(s, money_fields[i].offset);

        if (!money_is_zero(*m))
            put(out, money_fields[i].number, NULL, 0, m);
    }
    if (s->priced) {
        put(out, PART_COST_MIN, NULL, 0, &s->cost_min);
        put(out, PART_COST_MAX, NULL, 0, &s->cost_max);
    }
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        put_count(out, PART_OUTCOMES + i, s->by_outcome[i]);
    for (unsigned i = 0; i <= USAGE_ESTIMATED; i++)
        put_count(out, PART_USAGE_SOURCES + i, s->by_usage_source[i]);
    for (unsigned i = 0; i < USAGE_COUNT; i++) {
        if (s->reported[i])
            put(out, PART_USAGE,
                (uint64_t[]){wire_usage((enum usage_field)i), s->tokens[i], s->reported[i]}, 3,
                NULL);
    }
}

enum rc rollup_encode(const struct rollup *r, struct buf *out)
{
    struct out w = {out, RC_OK};

    put_sums(&w, &r->sums);
    for (unsigned i = 0; r->histogram && i < HISTOGRAM_BUCKETS; i++) {
        if (r->histogram->n[i])
            put(&w, PART_HISTOGRAM, (uint64_t[]){i, r->histogram->n[i]}, 2, NULL);
    }
    for (unsigned i = 0; r->bands && i < LEDGER_BANDS; i++) {
        const struct ledger_band *b = &r->bands[i];

        if (b->requests || b->priced || !money_is_zero(b->cost))
            put(&w, PART_BAND,
                (uint64_t[]){i, b->requests, b->priced, b->input_tokens, b->output_tokens}, 5,
                &b->cost);
    }
    for (unsigned i = 0; r->meters && i < METER_COUNT; i++) {
        const struct ledger_meter_sum *m = &r->meters[i];

        if (m->requests || m->quantity || !money_is_zero(m->amount))
            put(&w, PART_METER,
                (uint64_t[]){wire_meter((enum meter)i), m->requests, m->quantity}, 3,
                &m->amount);
    }
    return w.rc;
}

/* was_priced: what s had before any of these sums, whose counts come before their amounts. */
static void add_extreme(struct ledger_sums *s, uint64_t part, uint64_t was_priced,
                        struct money cost)
{
    bool is_min = part == PART_COST_MIN;
    struct money *at = is_min ? &s->cost_min : &s->cost_max;
    int order = money_cmp(cost, *at);

    if (s->priced > 0 && (was_priced == 0 || (is_min ? order < 0 : order > 0)))
        *at = cost;
}

static bool add_sums(struct wire_in *in, uint64_t part, uint64_t was_priced,
                     struct ledger_sums *s)
{
    /* Each of the two tables is in order of number, without gaps. */
    uint64_t count = part - count_fields[0].number, amount = part - money_fields[0].number;

    if (count < COUNT_FIELDS) {
        merge_count(count_of(s, count_fields[count].offset), wire_get_u64(in),
                    count_fields[count].merge);
        return true;
    }
    if (amount < MONEY_FIELDS) {
        struct money *to = money_of(s, money_fields[amount].offset);

        *to = ledger_money_add(*to, wire_get_money(in));
        return true;
    }
    if (part == PART_COST_MIN || part == PART_COST_MAX) {
        add_extreme(s, part, was_priced, wire_get_money(in));
        return true;
    }
    if (part >= PART_OUTCOMES && part < PART_OUTCOMES + OUTCOME_COUNT) {
        uint64_t *to = &s->by_outcome[part - PART_OUTCOMES];

        *to = plus(*to, wire_get_u64(in));
        return true;
    }
    if (part >= PART_USAGE_SOURCES && part <= PART_USAGE_SOURCES + USAGE_ESTIMATED) {
        uint64_t *to = &s->by_usage_source[part - PART_USAGE_SOURCES];

        *to = plus(*to, wire_get_u64(in));
        return true;
    }
    if (part == PART_USAGE) {
        uint64_t number = wire_get_u64(in), tokens = wire_get_u64(in), n = wire_get_u64(in);
        enum usage_field f;

        if (!wire_usage_parse(number, &f))
            return false;
        s->tokens[f] = plus(s->tokens[f], tokens);
        s->reported[f] = plus(s->reported[f], n);
        return true;
    }
    return false;
}

static bool get_bucket(struct wire_in *in, struct cost_histogram *h)
{
    uint64_t bucket = wire_get_u64(in), n = wire_get_u64(in);

    if (bucket >= HISTOGRAM_BUCKETS)
        return false;
    if (h)
        h->n[bucket] = plus(h->n[bucket], n);
    return true;
}

static bool skip_old_band(struct wire_in *in)
{
    for (int i = 0; i < 5; i++)
        (void)wire_get_u64(in);
    (void)wire_get_money(in);
    return !in->bad;
}

static bool get_band(struct wire_in *in, struct ledger_band *bands)
{
    uint64_t number = wire_get_u64(in);
    struct ledger_band band = {.requests = wire_get_u64(in)};

    band.priced = wire_get_u64(in);
    band.input_tokens = wire_get_u64(in);
    band.output_tokens = wire_get_u64(in);
    band.cost = wire_get_money(in);
    if (number >= LEDGER_BANDS)
        return false;
    if (bands)
        ledger_band_add(&bands[number], &band);
    return true;
}

static bool get_meter(struct wire_in *in, struct ledger_meter_sum *meters)
{
    uint64_t number = wire_get_u64(in);
    struct ledger_meter_sum sum = {.requests = wire_get_u64(in)};
    enum meter m;

    sum.quantity = wire_get_u64(in);
    sum.amount = wire_get_money(in);
    if (!wire_meter_parse(number, &m))
        return false;
    if (meters)
        ledger_meter_add(&meters[m], &sum);
    return true;
}

enum rc rollup_add_to(struct ledger_sums *sums, struct cost_histogram *histogram,
                      struct ledger_band *bands, struct ledger_meter_sum *meters,
                      struct strv bytes)
{
    bool is_wanted = histogram || bands || meters;
    struct wire_in in = wire_in(bytes);
    uint64_t was_priced = sums->priced;

    while (!wire_at_end(&in)) {
        uint64_t part = wire_get_u64(&in);
        bool known;

        /* The sums come first: what is behind them may be most of the bytes. */
        if (part >= PART_HISTOGRAM && part <= PART_BAND && !is_wanted)
            break;
        if (part == PART_HISTOGRAM)
            known = get_bucket(&in, histogram);
        else if (part == PART_BAND)
            known = get_band(&in, bands);
        else if (part == PART_OLD_BAND)
            known = skip_old_band(&in);
        else if (part == PART_METER)
            known = get_meter(&in, meters);
        else
            known = add_sums(&in, part, was_priced, sums);
        if (!known)
            return RC_BAD;
    }
    return in.bad ? RC_BAD : RC_OK;
}

enum rc rollup_add_encoded(struct rollup *to, struct strv bytes)
{
    return rollup_add_to(&to->sums, to->histogram, to->bands, to->meters, bytes);
}
