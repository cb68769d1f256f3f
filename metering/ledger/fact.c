#include "metering/ledger/fact.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/sums.h"
#include "metering/ledger/wire.h"

enum { COLUMN_BYTES = 128 << 10 }; /* the most that one takes, stored */

/* ---- adding ------------------------------------------------------------------------ */

struct fact_block *fact_block_new(void)
{
    return xcalloc(1, sizeof(struct fact_block));
}

void fact_block_clear(struct fact_block *b)
{
    for (unsigned c = 0; c < FACT_COLUMNS; c++) {
        if (!fact_block_uses(b, c))
            continue;
        if (c < FACT_NUMBERS)
            memset(b->number[c], 0, b->n * sizeof(b->number[c][0]));
        else
            memset(b->amount[c - FACT_NUMBERS], 0, b->n * sizeof(b->amount[0][0]));
    }
    for (unsigned m = 0; m < METER_COUNT; m++) {
        if (!fact_block_uses(b, FACT_QUANTITY_COLUMN + wire_meter((enum meter)m)))
            continue;
        memset(b->quantity[m], 0, b->n * sizeof(b->quantity[0][0]));
        memset(b->unit[m], 0, b->n * sizeof(b->unit[0][0]));
    }
    memset(b->used, 0, sizeof(b->used));
    b->n = 0;
}

static void use(struct fact_block *b, unsigned column)
{
    b->used[column / 64] |= UINT64_C(1) << column % 64;
}

static void put(struct fact_block *b, unsigned column, int64_t value)
{
    if (value == 0)
        return;
    b->number[column][b->n] = value;
    use(b, column);
}

static void put_amount(struct fact_block *b, enum fact_amount which, money_int value)
{
    if (value == 0)
        return;
    b->amount[which][b->n] = value;
    use(b, FACT_AMOUNT_COLUMN + (unsigned)which);
}

static int64_t flags_of(const struct record *r)
{
    return (r->stream ? FACT_IS_STREAM : 0) | (r->is_repeat ? FACT_IS_REPEAT : 0) |
           (r->is_cacheable ? FACT_IS_CACHEABLE : 0) |
           (r->has_provider_cost ? FACT_HAS_PROVIDER_COST : 0) |
           (r->first_byte_us >= 0 ? FACT_HAS_FIRST_BYTE : 0) |
           (r->price_status != PRICE_NONE ? FACT_IS_PRICED : 0);
}

/* A correction counts as no request: its amounts alone are of interest. */
static void put_request(struct fact_block *b, const struct record *r)
{
    uint32_t has = 0;

    for (uint32_t left = r->usage.has; left; left &= left - 1) {
        unsigned f = (unsigned)__builtin_ctz(left), number = wire_usage((enum usage_field)f);

        has |= UINT32_C(1) << (number & 31);
        put(b, FACT_USAGE + (number & 31), (int64_t)r->usage.n[f]);
    }
    put(b, FACT_HAS, has);
    put(b, FACT_LATENCY, r->latency_us < 0 ? 0 : r->latency_us);
    put(b, FACT_FIRST_BYTE, r->first_byte_us < 0 ? 0 : r->first_byte_us);
    put(b, FACT_BYTES_IN, (int64_t)r->bytes_in);
    put(b, FACT_BYTES_OUT, (int64_t)r->bytes_out);
    if (r->has_provider_cost)
        put_amount(b, FACT_PROVIDER, r->provider_cost.atto);
}

/* ---- what was charged for ------------------------------------------------------------ */

enum { MILLION = 1000000, MS_PER_SECOND = 1000 };

static int64_t million_of(enum meter m)
{
    return meter_is_time(m) ? (int64_t)MILLION * MS_PER_SECOND : MILLION;
}

bool fact_line_unit(const struct record_line *line, struct money *unit)
{
    int64_t million = million_of(line->meter);
    money_int amount;

    /* Rates are whole cents of a million as a rule: 64 bits hold most, and divide sooner. */
    if (line->rate.atto >= 0 && line->rate.atto <= INT64_MAX) {
        if ((int64_t)line->rate.atto % million != 0)
            return false;
        unit->atto = (int64_t)line->rate.atto / million;
    } else {
        if (line->rate.atto % million != 0)
            return false;
        unit->atto = line->rate.atto / million;
    }
    return line->quantity > 0 && line->quantity <= INT64_MAX &&
           !__builtin_mul_overflow(unit->atto, (money_int)line->quantity, &amount) &&
           amount == line->amount.atto;
}

struct money fact_unit_rate(enum meter m, struct money unit)
{
    return (struct money){unit.atto * million_of(m)};
}

static bool is_told(const struct record *r, struct money unit[METER_COUNT])
{
    struct money sum = MONEY_ZERO;
    uint64_t seen = 0;

    _Static_assert(METER_COUNT <= 64, "a bit for each meter");
    if (r->price_status == PRICE_NONE && r->n_lines > 0)
        return false;
    for (size_t i = 0; i < r->n_lines; i++) {
        const struct record_line *line = &r->lines[i];

        if (seen >> line->meter & 1 || wire_meter(line->meter) >= FACT_UNIT_COLUMN - FACT_QUANTITY_COLUMN ||
            !fact_line_unit(line, &unit[i]))
            return false;
        seen |= UINT64_C(1) << line->meter;
        sum = ledger_money_add(sum, line->amount);
    }
    return r->price_status == PRICE_NONE || money_cmp(sum, r->cost) == 0;
}

void fact_block_put_charge(struct fact_block *b, size_t at, const struct record *r)
{
    struct money unit[METER_COUNT] UNCLEARED;

    use(b, FACT_CHARGE);
    if (!is_told(r, unit)) {
        b->number[FACT_CHARGE][at] = FACT_CHARGE_OTHER;
        return;
    }
    b->number[FACT_CHARGE][at] = FACT_CHARGE_TOLD;
    for (size_t i = 0; i < r->n_lines; i++) {
        enum meter m = r->lines[i].meter;

        b->quantity[m][at] = (int64_t)r->lines[i].quantity;
        b->unit[m][at] = unit[i].atto;
        use(b, FACT_QUANTITY_COLUMN + wire_meter(m));
        if (unit[i].atto != 0)
            use(b, FACT_UNIT_COLUMN + wire_meter(m));
    }
}

void fact_block_add(struct fact_block *b, const struct fact_line *line, const struct record *r)
{
    bool is_priced = r->price_status != PRICE_NONE;

    ASSERT(b->n < FACT_BLOCK);
    put(b, FACT_SEQ, line->seq - (int64_t)b->n);
    put(b, FACT_END, r->end_us);
    put(b, FACT_START, (int64_t)((uint64_t)r->start_us - (uint64_t)r->end_us));
    for (unsigned i = 0; i < 5; i++)
        put(b, FACT_COMBO + i, line->ids[i]);
    put(b, FACT_ATTEMPT, line->attempt);
    put(b, FACT_FLAGS, flags_of(r));
    put(b, FACT_BAND, ledger_band_of(&r->usage));
    put(b, FACT_CORRECTS, line->corrects);
    fact_block_put_charge(b, b->n, r);
    if (!r->is_correction)
        put_request(b, r);
    if (is_priced || r->is_correction) {
        put_amount(b, FACT_COST, r->cost.atto);
        put_amount(b, FACT_LIST, money_sub(r->list_cost, r->cost).atto);
    }
    if (is_priced && (!r->is_correction || r->was_unpriced))
        put(b, FACT_BUCKET, 1 + (int64_t)cost_histogram_bucket(r->cost));
    b->n++;
}

/* ---- stored form -------------------------------------------------------------------- */

enum rc fact_encode(const struct fact_block *b, unsigned column, struct buf *out)
{
    bool is_unit = column >= FACT_UNIT_COLUMN, is_known;
    enum meter m = METER_COUNT;

    ASSERT(b->n > 0 && column < FACT_STORED_COLUMNS);
    buf_clear(out);
    if (column < FACT_NUMBERS)
        return fact_encode_numbers(b->number[column], b->n, out);
    if (column < FACT_COLUMNS)
        return fact_encode_amounts(b->amount[column - FACT_NUMBERS], b->n, out);
    ASSERT(column >= FACT_QUANTITY_COLUMN);
    is_known = wire_meter_parse(column - (is_unit ? FACT_UNIT_COLUMN : FACT_QUANTITY_COLUMN), &m);
    ASSERT(is_known);
    return is_unit ? fact_encode_amounts(b->unit[m], b->n, out)
                   : fact_encode_numbers(b->quantity[m], b->n, out);
}

uint64_t fact_block_meters(const struct fact_block *b)
{
    uint64_t meters = 0;

    for (unsigned m = 0; m < METER_COUNT; m++) {
        if (fact_block_uses(b, FACT_QUANTITY_COLUMN + wire_meter((enum meter)m)))
            meters |= UINT64_C(1) << m;
    }
    return meters;
}

void fact_encode_meters(uint64_t meters, char out[FACT_METERS_BYTES])
{
    memset(out, 0, FACT_METERS_BYTES);
    for (; meters; meters &= meters - 1) {
        unsigned number = wire_meter((enum meter)__builtin_ctzll(meters));

        out[number / 8] = (char)((unsigned char)out[number / 8] | 1u << number % 8);
    }
}

enum rc fact_decode_meters(struct strv bytes, uint64_t *meters)
{
    *meters = 0;
    if (bytes.n != FACT_METERS_BYTES)
        return RC_BAD;
    for (unsigned number = 0; number < 8 * FACT_METERS_BYTES; number++) {
        enum meter m;

        if ((unsigned char)bytes.p[number / 8] >> number % 8 & 1 && wire_meter_parse(number, &m))
            *meters |= UINT64_C(1) << m;
    }
    return RC_OK;
}

enum rc fact_each_column(const struct fact_block *b, fact_column_fn *fn, void *arg,
                         struct fail *fail)
{
    char meters[FACT_METERS_BYTES];
    struct buf bytes;
    enum rc rc = RC_OK;

    buf_init(&bytes, COLUMN_BYTES);
    for (unsigned c = 0; rc == RC_OK && c < FACT_STORED_COLUMNS; c++) {
        if (c == FACT_METERS_COLUMN) {
            fact_encode_meters(fact_block_meters(b), meters);
            rc = fn(c, strv_make(meters, sizeof(meters)), arg, fail);
        } else if (fact_block_uses(b, c)) {
            rc = fact_encode(b, c, &bytes);
            ASSERT(rc == RC_OK);
            rc = fn(c, buf_view(&bytes), arg, fail);
        }
    }
    buf_release(&bytes);
    return rc;
}
