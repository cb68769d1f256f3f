#include "metering/ledger/fact.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/sums.h"
#include "metering/ledger/wire.h"

__extension__ typedef unsigned __int128 money_bits;

/* A stored column: how wide, the least value, the divisor (of amounts), the differences. */
enum {
    HEAD_BYTES = 1 + 8,
    AMOUNT_HEAD_BYTES = 1 + 16 + 8,
    WIDEST = 16,
    COLUMN_BYTES = 128 << 10, /* the most that one takes */
};

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

static unsigned width_for(uint64_t most)
{
    return most == 0            ? 0
           : most <= UINT8_MAX  ? 1
           : most <= UINT16_MAX ? 2
           : most <= UINT32_MAX ? 4
                                : 8;
}

static inline void pack(char *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof(value));
}

/* Loops of their own for each width: the compiler makes them wide. */
#define PACK(bits, to_le)                                                                      \
    for (size_t i = 0; i < n; i++) {                                                           \
        uint##bits##_t d = to_le((uint##bits##_t)((uint64_t)v[i] - least));                    \
        memcpy(to + i * sizeof(d), &d, sizeof(d));                                             \
    }
#define AS_IT_IS(x) (x)

/* n differences of `width` bytes each, into as much room. */
static void pack_numbers(char *to, const int64_t *v, size_t n, uint64_t least, unsigned width)
{
    switch (width) {
    case 1:
        PACK(8, AS_IT_IS);
        break;
    case 2:
        PACK(16, htole16);
        break;
    case 4:
        PACK(32, htole32);
        break;
    case 8:
        PACK(64, htole64);
        break;
    default: /* 0: all are the least */
        break;
    }
}
#undef PACK

/* Where n bytes go at its end; NULL: there is no room. */
static char *room(struct buf *out, size_t n)
{
    return buf_reserve(out, n) == RC_OK ? buf_tail(out) : NULL;
}

enum rc fact_encode_numbers(const int64_t *v, size_t n, struct buf *out)
{
    int64_t least = v[0], most = v[0];
    unsigned width;
    char *p;

    for (size_t i = 1; i < n; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    width = width_for((uint64_t)most - (uint64_t)least);
    p = room(out, HEAD_BYTES + n * width);
    if (!p)
        return RC_LIMIT;
    p[0] = (char)width;
    pack(p + 1, (uint64_t)least);
    pack_numbers(p + HEAD_BYTES, v, n, (uint64_t)least, width);
    buf_commit(out, HEAD_BYTES + n * width);
    return RC_OK;
}

/* The greatest divisor of all, for differences that fit 64 bits. */
static uint64_t divisor_of(const money_int *v, size_t n, money_int least)
{
    uint64_t g = 0;

    for (size_t i = 0; i < n && g != 1; i++) {
        uint64_t a = (uint64_t)(v[i] - least), b = g;

        if (g && a % g == 0)
            continue;
        while (b) {
            uint64_t rest = a % b;

            a = b;
            b = rest;
        }
        g = a;
    }
    return g ? g : 1;
}

static void pack_wide(char *to, const money_int *v, size_t n, money_int least)
{
    for (size_t i = 0; i < n; i++, to += WIDEST) {
        money_bits d = (money_bits)v[i] - (money_bits)least;

        pack(to, (uint64_t)d);
        pack(to + 8, (uint64_t)(d >> 64));
    }
}

static void pack_divided(char *to, const money_int *v, size_t n, money_int least,
                         uint64_t divisor, unsigned width)
{
    int64_t parts[FACT_BLOCK] UNCLEARED;

    ASSERT(n <= FACT_BLOCK);
    for (size_t i = 0; i < n; i++)
        parts[i] = (int64_t)((uint64_t)(v[i] - least) / divisor);
    pack_numbers(to, parts, n, 0, width);
}

enum rc fact_encode_amounts(const money_int *v, size_t n, struct buf *out)
{
    money_int least = v[0], most = v[0];
    unsigned width = WIDEST;
    uint64_t divisor = 1;
    char *p;

    for (size_t i = 1; i < n; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    if ((money_bits)most - (money_bits)least <= UINT64_MAX) {
        divisor = divisor_of(v, n, least);
        width = width_for((uint64_t)(most - least) / divisor);
    }
    p = room(out, AMOUNT_HEAD_BYTES + n * width);
    if (!p)
        return RC_LIMIT;
    p[0] = (char)width;
    pack(p + 1, (uint64_t)least);
    pack(p + 9, (uint64_t)((money_bits)least >> 64));
    pack(p + 17, divisor);
    if (width == WIDEST)
        pack_wide(p + AMOUNT_HEAD_BYTES, v, n, least);
    else if (width)
        pack_divided(p + AMOUNT_HEAD_BYTES, v, n, least, divisor, width);
    buf_commit(out, AMOUNT_HEAD_BYTES + n * width);
    return RC_OK;
}

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

static uint64_t unpack(const char *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return le64toh(value);
}

/* Loops of their own for each width: the compiler makes them wide. */
#define UNPACK(bits, from_le, body)                                                            \
    for (size_t i = 0; i < n; i++) {                                                           \
        uint##bits##_t raw;                                                                    \
        memcpy(&raw, p + i * sizeof(raw), sizeof(raw));                                        \
        uint64_t d = from_le(raw);                                                             \
        body;                                                                                  \
    }

enum rc fact_decode_numbers(struct strv bytes, size_t n, int64_t *out)
{
    unsigned width = bytes.n ? (unsigned char)bytes.p[0] : 0;
    const char *p = bytes.p + HEAD_BYTES;
    uint64_t least;

    if (width > 8 || bytes.n != HEAD_BYTES + n * width || n > FACT_BLOCK)
        return RC_BAD;
    least = unpack(bytes.p + 1);
    switch (width) {
    case 0:
        for (size_t i = 0; i < n; i++)
            out[i] = (int64_t)least;
        return RC_OK;
    case 1:
        UNPACK(8, AS_IT_IS, out[i] = (int64_t)(least + d));
        return RC_OK;
    case 2:
        UNPACK(16, le16toh, out[i] = (int64_t)(least + d));
        return RC_OK;
    case 4:
        UNPACK(32, le32toh, out[i] = (int64_t)(least + d));
        return RC_OK;
    case 8:
        UNPACK(64, le64toh, out[i] = (int64_t)(least + d));
        return RC_OK;
    default:
        return RC_BAD;
    }
}

enum rc fact_decode_amounts(struct strv bytes, size_t n, money_int *out)
{
    unsigned width = bytes.n ? (unsigned char)bytes.p[0] : 0;
    const char *p = bytes.p + AMOUNT_HEAD_BYTES;
    money_bits least;
    uint64_t divisor;

    if (bytes.n != AMOUNT_HEAD_BYTES + n * width || n > FACT_BLOCK)
        return RC_BAD;
    least = (money_bits)unpack(bytes.p + 9) << 64 | unpack(bytes.p + 1);
    divisor = unpack(bytes.p + 17);
    switch (width) {
    case 0:
        for (size_t i = 0; i < n; i++)
            out[i] = (money_int)least;
        return RC_OK;
    case 1:
        UNPACK(8, AS_IT_IS, out[i] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case 2:
        UNPACK(16, le16toh, out[i] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case 4:
        UNPACK(32, le32toh, out[i] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case 8:
        UNPACK(64, le64toh, out[i] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case WIDEST:
        for (size_t i = 0; i < n; i++)
            out[i] = (money_int)(least + ((money_bits)unpack(p + i * WIDEST + 8) << 64 |
                                          unpack(p + i * WIDEST)));
        return RC_OK;
    default:
        return RC_BAD;
    }
}

/* The whole number of `width` bytes at place i. */
static inline uint64_t unpack_at(const char *p, size_t i, unsigned width)
{
    uint64_t value = 0;

    memcpy(&value, p + i * width, width);
    return le64toh(value);
}

#define PICK(width, body)                                                                      \
    for (size_t k = 0; k < n; k++) {                                                           \
        uint64_t d = unpack_at(p, at[k], width);                                               \
        body;                                                                                  \
    }

enum rc fact_pick_numbers(struct strv bytes, size_t of, const uint16_t *at, size_t n,
                          int64_t *out)
{
    unsigned width = bytes.n ? (unsigned char)bytes.p[0] : 0;
    const char *p = bytes.p + HEAD_BYTES;
    uint64_t least;

    if (width > 8 || bytes.n != HEAD_BYTES + of * width || of > FACT_BLOCK)
        return RC_BAD;
    least = unpack(bytes.p + 1);
    switch (width) {
    case 0:
    case 1:
        PICK(width, out[k] = (int64_t)(least + d));
        return RC_OK;
    case 2:
        PICK(2, out[k] = (int64_t)(least + d));
        return RC_OK;
    case 4:
        PICK(4, out[k] = (int64_t)(least + d));
        return RC_OK;
    case 8:
        PICK(8, out[k] = (int64_t)(least + d));
        return RC_OK;
    default:
        return RC_BAD;
    }
}

enum rc fact_pick_amounts(struct strv bytes, size_t of, const uint16_t *at, size_t n,
                          money_int *out)
{
    unsigned width = bytes.n ? (unsigned char)bytes.p[0] : 0;
    const char *p = bytes.p + AMOUNT_HEAD_BYTES;
    money_bits least;
    uint64_t divisor;

    if (bytes.n != AMOUNT_HEAD_BYTES + of * width || of > FACT_BLOCK)
        return RC_BAD;
    least = (money_bits)unpack(bytes.p + 9) << 64 | unpack(bytes.p + 1);
    divisor = unpack(bytes.p + 17);
    switch (width) {
    case 0:
    case 1:
        PICK(width, out[k] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case 2:
        PICK(2, out[k] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case 4:
        PICK(4, out[k] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case 8:
        PICK(8, out[k] = (money_int)(least + (money_bits)d * divisor));
        return RC_OK;
    case WIDEST:
        for (size_t k = 0; k < n; k++)
            out[k] = (money_int)(least + ((money_bits)unpack(p + at[k] * WIDEST + 8) << 64 |
                                          unpack(p + at[k] * WIDEST)));
        return RC_OK;
    default:
        return RC_BAD;
    }
}

/* Differences as they are stored. */
static enum rc unpack_small(const char *p, unsigned width, size_t n, uint32_t *out)
{
    switch (width) {
    case 0:
        return RC_OK;
    case 1:
        UNPACK(8, AS_IT_IS, out[i] = (uint32_t)d);
        return RC_OK;
    case 2:
        UNPACK(16, le16toh, out[i] = (uint32_t)d);
        return RC_OK;
    case 4:
        UNPACK(32, le32toh, out[i] = (uint32_t)d);
        return RC_OK;
    default:
        return width == 8 || width == WIDEST ? RC_LIMIT : RC_BAD;
    }
}

enum rc fact_decode_small(struct strv bytes, unsigned column, size_t n, struct fact_small *head,
                          uint32_t *out)
{
    bool is_amount = column >= FACT_AMOUNT_COLUMN;
    size_t at = is_amount ? AMOUNT_HEAD_BYTES : HEAD_BYTES;
    unsigned width = bytes.n ? (unsigned char)bytes.p[0] : 0;

    if (width > WIDEST || bytes.n != at + n * width || n > FACT_BLOCK)
        return RC_BAD;
    *head = (struct fact_small){.least = (int64_t)unpack(bytes.p + 1), .unit = 1};
    if (is_amount) {
        head->least = (money_int)((money_bits)unpack(bytes.p + 9) << 64 | unpack(bytes.p + 1));
        head->unit = unpack(bytes.p + 17);
    }
    head->is_level = width == 0;
    return unpack_small(bytes.p + at, width, n, out);
}

/* ---- from the tables ------------------------------------------------------------------ */

enum rc fact_source_open(struct fact_source *s, sqlite3 *db, struct fail *fail)
{
    s->records = db_prepare(db,
                            "SELECT r.seq, " RECORD_COLUMNS " FROM " RECORD_TABLES
                            " WHERE r.seq>?1 ORDER BY r.seq",
                            fail);
    s->line = s->records ? db_prepare(db,
                                      "SELECT attempt, combo, customer, user, task, tagset "
                                      "FROM line WHERE end_us=?1 AND seq=?2",
                                      fail)
                         : NULL;
    s->seq_of = s->line ? db_prepare(db, "SELECT seq FROM record WHERE id=?1", fail) : NULL;
    return s->seq_of ? RC_OK : fail->rc;
}

void fact_source_close(struct fact_source *s)
{
    sqlite3_finalize(s->records);
    sqlite3_finalize(s->line);
    sqlite3_finalize(s->seq_of);
    *s = (struct fact_source){0};
}

static enum rc load_one(struct fact_source *s, struct fact_block *b, struct fail *fail)
{
    struct fact_line line = {.seq = sqlite3_column_int64(s->records, 0)};
    struct record r;
    enum rc rc = RC_OK;
    int code;

    if (record_of_row(s->records, 1, &r) != RC_OK)
        return RC_OK;
    sqlite3_bind_int64(s->line, 1, r.end_us);
    sqlite3_bind_int64(s->line, 2, line.seq);
    code = sqlite3_step(s->line);
    if (code == SQLITE_ROW) {
        line.attempt = sqlite3_column_int64(s->line, 0);
        for (int i = 0; i < 5; i++)
            line.ids[i] = sqlite3_column_int64(s->line, 1 + i);
    } else if (code != SQLITE_DONE) {
        rc = db_failed(sqlite3_db_handle(s->line), fail, "read a line");
    }
    sqlite3_reset(s->line);
    if (rc != RC_OK || code != SQLITE_ROW)
        return rc;
    if (r.is_correction) {
        db_bind_blob(s->seq_of, 1, strv_make((const char *)r.corrects.b, UUID_BYTES));
        rc = db_int(s->seq_of, &line.corrects, fail, "read a record");
        if (rc != RC_OK && rc != RC_STATE)
            return rc;
    }
    fact_block_add(b, &line, &r);
    return RC_OK;
}

enum rc fact_load(struct fact_source *s, int64_t after, struct fact_block *b, struct fail *fail)
{
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    sqlite3_bind_int64(s->records, 1, after);
    while (rc == RC_OK && b->n < FACT_BLOCK && (code = sqlite3_step(s->records)) == SQLITE_ROW)
        rc = load_one(s, b, fail);
    if (rc == RC_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        rc = db_failed(sqlite3_db_handle(s->records), fail, "read records");
    sqlite3_reset(s->records);
    return rc;
}
