/*
 * fact_pack.c - see fact_pack.h.
 */
#include "metering/ledger/fact_pack.h"

#include <endian.h>
#include <string.h>

#include "base/check.h"

__extension__ typedef unsigned __int128 money_bits;

/* A stored column: how wide, the least value, the divisor (of amounts), the differences. */
enum {
    HEAD_BYTES = 1 + 8,
    AMOUNT_HEAD_BYTES = 1 + 16 + 8,
    WIDEST = 16,
};

/* ---- packing -------------------------------------------------------------------------- */

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

/* ---- unpacking ------------------------------------------------------------------------ */

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

enum rc fact_decode_small(struct strv bytes, bool is_amount, size_t n, struct fact_small *head,
                          uint32_t *out)
{
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
