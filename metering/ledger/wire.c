#include "metering/ledger/wire.h"

#include <endian.h>
#include <string.h>

#include "base/check.h"

/* Once shipped, a number is never given to another meter or field. */
enum { METER_NUMBERS = 128, USAGE_NUMBERS = 32 };

static const unsigned char meter_number[METER_COUNT] = {
    [METER_IN] = 1,
    [METER_OUT] = 2,
    [METER_CACHE_READ] = 3,
    [METER_CACHE_WRITE] = 4,
    [METER_CACHE_WRITE_1H] = 5,
    [METER_IN_AUDIO] = 6,
    [METER_IN_IMAGE] = 7,
    [METER_IN_VIDEO] = 8,
    [METER_CACHE_READ_AUDIO] = 9,
    [METER_CACHE_READ_IMAGE] = 10,
    [METER_OUT_AUDIO] = 11,
    [METER_OUT_IMAGE] = 12,
    [METER_OUT_VIDEO] = 13,
    [METER_OUT_REASONING] = 14,
    [METER_OUT_CITATION] = 15,
    [METER_IN_CHAR] = 16,
    [METER_OUT_CHAR] = 17,
    [METER_AUDIO_SEC] = 18,
    [METER_VIDEO_SEC] = 19,
    [METER_IN_VIDEO_SEC] = 20,
    [METER_IMAGE] = 21,
    [METER_IN_IMAGE_COUNT] = 22,
    [METER_IMAGE_MEGAPIXEL] = 23,
    [METER_OUT_GPIXEL] = 24,
    [METER_IN_GPIXEL] = 25,
    [METER_PAGE] = 26,
    [METER_PAGE_ANNOTATED] = 27,
    [METER_RERANK_SEARCH] = 28,
    [METER_REQUEST] = 29,
    [METER_WEB_SEARCH] = 30,
    [METER_ENTERPRISE_WEB_SEARCH] = 31,
    [METER_MAPS_SEARCH] = 32,
    [METER_X_SEARCH] = 33,
    [METER_FILE_SEARCH] = 34,
    [METER_ATTACHMENT_SEARCH] = 35,
    [METER_CODE_CALL] = 36,
    [METER_CODE_SESSION] = 37,
    [METER_CODE_SEC] = 38,
    [METER_TEXT_MESSAGE] = 39,
    [METER_CACHE_STORAGE] = 40,
    [METER_VECTOR_STORAGE] = 41,
    [METER_SESSION_SEC] = 42,
    [METER_GUARD] = 43,
};

/* Bit of the mask, plus one. */
static const unsigned char usage_number[USAGE_COUNT] = {
    [USAGE_INPUT] = 1,          [USAGE_CACHE_READ] = 2,    [USAGE_CACHE_WRITE_5M] = 3,
    [USAGE_CACHE_WRITE_1H] = 4, [USAGE_INPUT_AUDIO] = 5,   [USAGE_INPUT_IMAGE] = 6,
    [USAGE_OUTPUT] = 7,         [USAGE_REASONING] = 8,     [USAGE_OUTPUT_AUDIO] = 9,
    [USAGE_OUTPUT_IMAGE] = 10,  [USAGE_WEB_SEARCH] = 11,   [USAGE_FILE_SEARCH] = 12,
    [USAGE_CODE] = 13,          [USAGE_IMAGES] = 14,       [USAGE_AUDIO_MS] = 15,
    [USAGE_CHARACTERS] = 16,    [USAGE_SEARCH_UNITS] = 17, [USAGE_INPUT_VIDEO] = 18,
    [USAGE_CITATION] = 19,      [USAGE_PAGES] = 20,        [USAGE_X_SEARCH] = 21,
    [USAGE_MAPS] = 22,          [USAGE_VIDEO_MS] = 23,     [USAGE_CACHE_AUDIO] = 24,
    [USAGE_CACHE_IMAGE] = 25,   [USAGE_OUTPUT_VIDEO] = 26, [USAGE_INPUT_IMAGES] = 27,
    [USAGE_ANNOTATED] = 28,     [USAGE_ATTACHMENT] = 29,   [USAGE_ENTERPRISE] = 30,
    [USAGE_SESSION_MS] = 31,   [USAGE_GUARD] = 32,
};

unsigned wire_meter(enum meter m)
{
    return meter_number[m] ? meter_number[m] : METER_NUMBERS + (unsigned)m;
}

bool wire_meter_parse(uint64_t number, enum meter *m)
{
    /* Most meters stand one before their number. */
    if (number >= 1 && number <= METER_COUNT && meter_number[number - 1] == number) {
        *m = (enum meter)(number - 1);
        return true;
    }
    for (unsigned i = 0; i < METER_COUNT; i++) {
        if (wire_meter((enum meter)i) == number) {
            *m = (enum meter)i;
            return true;
        }
    }
    return false;
}

unsigned wire_usage(enum usage_field f)
{
    return usage_number[f] ? usage_number[f] - 1u : USAGE_NUMBERS + (unsigned)f;
}

bool wire_usage_parse(uint64_t number, enum usage_field *f)
{
    /* Most fields stand where their number says. */
    if (number < USAGE_COUNT && wire_usage((enum usage_field)number) == number) {
        *f = (enum usage_field)number;
        return true;
    }
    for (unsigned i = 0; i < USAGE_COUNT; i++) {
        if (wire_usage((enum usage_field)i) == number) {
            *f = (enum usage_field)i;
            return true;
        }
    }
    return false;
}

__extension__ typedef unsigned __int128 money_bits;

#define MONEY_SANE_ATTO                                                                        \
    ((money_int)INT64_C(10000000000000000) * INT64_C(1000000000000000) * 1000000)

bool wire_money_is_sane(struct money m)
{
    return m.atto <= MONEY_SANE_ATTO && m.atto >= -MONEY_SANE_ATTO;
}

/* Seven bits in each byte of what a word holds, moved apart in three steps. */
static inline uint64_t spread(uint64_t v)
{
    uint64_t w = (v & UINT64_C(0x000000000fffffff)) | (v & UINT64_C(0x00fffffff0000000)) << 4;

    w = (w & UINT64_C(0x00003fff00003fff)) | (w & UINT64_C(0x0fffc0000fffc000)) << 2;
    return (w & UINT64_C(0x007f007f007f007f)) | (w & UINT64_C(0x3f803f803f803f80)) << 1;
}

static inline void put_word(char *p, uint64_t w)
{
    w = htole64(w);
    memcpy(p, &w, sizeof(w));
}

/* Short ones byte by byte, others eight at a time; what is behind the last byte is zero. */
size_t wire_make_u64(char *p, uint64_t v)
{
    const uint64_t more = UINT64_C(0x8080808080808080);
    size_t n;

    if (v < 1u << 14) {
        p[0] = (char)(unsigned char)v;
        if (v < 0x80)
            return 1;
        p[0] = (char)(unsigned char)(v | 0x80);
        p[1] = (char)(unsigned char)(v >> 7);
        return 2;
    }
    if (v >> 56 == 0) {
        n = (size_t)(64 - __builtin_clzll(v) + 6) / 7;
        put_word(p, spread(v) | (more & ((UINT64_C(1) << 8 * (n - 1)) - 1)));
        return n;
    }
    put_word(p, spread(v) | more);
    v >>= 56;
    if (v < 0x80) {
        p[8] = (char)(unsigned char)v;
        return 9;
    }
    p[8] = (char)(unsigned char)(v | 0x80);
    p[9] = 1;
    return 10;
}

size_t wire_make_money(char *p, struct money m)
{
    money_bits v;
    size_t n = 0;

    if (m.atto >> 62 == 0) /* nearly all: less than four dollars, and not negative */
        return wire_make_u64(p, (uint64_t)m.atto << 1);
    if (!wire_money_is_sane(m))
        m.atto = m.atto < 0 ? -MONEY_SANE_ATTO : MONEY_SANE_ATTO;
    v = ((money_bits)m.atto << 1) ^ (m.atto < 0 ? ~(money_bits)0 : 0);
    while (v >> 63) { /* then 64 bits do, which are faster */
        p[n++] = (char)(unsigned char)(v | 0x80);
        v >>= 7;
    }
    return n + wire_make_u64(p + n, (uint64_t)v);
}

/* What is read at once: a varint of up to 63 bits. */
enum { AT_ONCE = 9 };

/*
 * The length of a varint of up to AT_ONCE bytes, all of which can be read; 0: it is longer, or
 * not the shortest form.  Eight bytes are loaded, cut behind the first that ends a number, and
 * their groups of seven bits moved together in three steps.
 */
static inline size_t read_at_once(const unsigned char *p, uint64_t *v)
{
    uint64_t w, ends, top = 0;
    size_t n = AT_ONCE;

    memcpy(&w, p, sizeof(w));
    w = le64toh(w);
    ends = ~w & UINT64_C(0x8080808080808080);
    if (ends) {
        n = (size_t)__builtin_ctzll(ends) / 8 + 1;
        w &= UINT64_MAX >> (64 - 8 * n);
    } else if (p[8] < 0x80) {
        top = (uint64_t)p[8] << 56;
    } else {
        return 0;
    }
    if (p[n - 1] == 0 && n > 1)
        return 0;
    w = (w & UINT64_C(0x007f007f007f007f)) | (w & UINT64_C(0x7f007f007f007f00)) >> 1;
    w = (w & UINT64_C(0x00003fff00003fff)) | (w & UINT64_C(0x3fff00003fff0000)) >> 2;
    w = (w & UINT64_C(0x000000000fffffff)) | (w & UINT64_C(0x0fffffff00000000)) >> 4;
    *v = w | top;
    return n;
}

static uint64_t get_any_u64(struct wire_in *in)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte;

        if (in->p == in->end)
            break;
        byte = *in->p++;
        if (shift == 63 && byte > 1)
            break;
        v |= (byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            if (byte == 0 && shift > 0)
                break;
            return v;
        }
    }
    in->bad = true;
    in->p = in->end;
    return 0;
}

uint64_t wire_get_long_u64(struct wire_in *in)
{
    uint64_t v;
    size_t n = in->end - in->p >= AT_ONCE ? read_at_once(in->p, &v) : 0;

    if (n == 0)
        return get_any_u64(in);
    in->p += n;
    return v;
}

/* Also beyond 63 bits: those above some nine dollars. */
static struct money get_any_money(struct wire_in *in)
{
    money_bits v = 0;

    for (unsigned shift = 0; shift < 128; shift += 7) {
        money_bits byte;
        struct money m;

        if (in->p == in->end)
            break;
        byte = *in->p++;
        if (shift == 126 && byte > 3)
            break;
        v |= (byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        if (byte == 0 && shift > 0)
            break;
        m.atto = (money_int)((v >> 1) ^ (v & 1 ? ~(money_bits)0 : 0));
        if (!wire_money_is_sane(m))
            break;
        return m;
    }
    in->bad = true;
    in->p = in->end;
    return MONEY_ZERO;
}

struct money wire_get_money(struct wire_in *in)
{
    uint64_t v;
    size_t n = in->end - in->p >= AT_ONCE ? read_at_once(in->p, &v) : 0;

    if (n == 0)
        return get_any_money(in);
    in->p += n;
    return (struct money){wire_unzigzag(v)};
}

_Static_assert(USAGE_COUNT <= 32, "a bit for each field");
#define FIELDS ((uint32_t)((UINT64_C(1) << USAGE_COUNT) - 1))

size_t wire_make_usage(char *p, const struct usage *u)
{
    uint64_t counts[64] UNCLEARED, mask = 0;
    size_t n;

    for (uint32_t rest = u->has & FIELDS; rest; rest &= rest - 1) {
        enum usage_field f = (enum usage_field)__builtin_ctz(rest);
        unsigned bit = wire_usage(f);

        mask |= UINT64_C(1) << bit;
        counts[bit] = u->n[f] < USAGE_MAX_COUNT ? u->n[f] : USAGE_MAX_COUNT;
    }
    n = wire_make_u64(p, mask);
    for (uint64_t rest = mask; rest; rest &= rest - 1)
        n += wire_make_u64(p + n, counts[__builtin_ctzll(rest)]);
    return n;
}

void wire_get_usage(struct wire_in *in, struct usage *u)
{
    uint64_t mask = wire_get_u64(in);

    if (mask == 0)
        in->bad = true;
    for (uint64_t rest = mask; rest && !in->bad; rest &= rest - 1) {
        uint64_t n = wire_get_u64(in);
        enum usage_field f;

        if (n > USAGE_MAX_COUNT)
            in->bad = true;
        else if (!in->bad && wire_usage_parse((uint64_t)__builtin_ctzll(rest), &f))
            usage_set(u, f, n);
    }
}
