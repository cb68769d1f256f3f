#include "metering/usage/token_block.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Bit i: byte i of the block is such a character.  What is none of these is one more sign. */
struct classes {
    uint64_t letter, capital, digit;
    uint64_t blank;   /* ' ' and those of `space` that are no line end */
    uint64_t newline; /* CR, LF */
    uint64_t space;   /* ' ' alone */
    uint64_t quote, slash, wide;
};

#ifdef __SSE2__
enum { LANE_BYTES = 16 };

static inline uint64_t lane(__m128i where, unsigned i)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(where) << (i * LANE_BYTES);
}

static inline __m128i is(__m128i x, char c)
{
    return _mm_cmpeq_epi8(x, _mm_set1_epi8(c));
}

/* From first on, n characters: compared as signed ones, of which -128 is the least. */
static inline __m128i is_within(__m128i x, char first, char n)
{
    return _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char)(-128 - first))),
                          _mm_set1_epi8((char)(-128 + n)));
}

static inline void look_at(const char *p, struct classes *c)
{
    *c = (struct classes){0};
    for (unsigned i = 0; i < TOKEN_BLOCK_BYTES / LANE_BYTES; i++) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + (size_t)i * LANE_BYTES));
        __m128i letter = is_within(_mm_or_si128(x, _mm_set1_epi8(0x20)), 'a', 26);
        __m128i newline = _mm_or_si128(is(x, '\n'), is(x, '\r')), space = is(x, ' ');
        __m128i blank = _mm_or_si128(space, _mm_andnot_si128(newline, is_within(x, '\t', 5)));

        c->letter |= lane(letter, i);
        c->capital |= lane(is_within(x, 'A', 26), i);
        c->digit |= lane(is_within(x, '0', 10), i);
        c->blank |= lane(blank, i);
        c->newline |= lane(newline, i);
        c->space |= lane(space, i);
        c->quote |= lane(is(x, '\''), i);
        c->slash |= lane(is(x, '/'), i);
        c->wide |= lane(x, i);
    }
}
#else
static inline void look_at(const char *p, struct classes *c)
{
    *c = (struct classes){0};
    for (unsigned i = 0; i < TOKEN_BLOCK_BYTES; i++) {
        unsigned x = (unsigned char)p[i];
        bool newline = x == '\n' || x == '\r';

        c->letter |= (uint64_t)((x | 0x20) - 'a' < 26) << i;
        c->capital |= (uint64_t)(x - 'A' < 26) << i;
        c->digit |= (uint64_t)(x - '0' < 10) << i;
        c->blank |= (uint64_t)(x == ' ' || (x - '\t' < 5 && !newline)) << i;
        c->newline |= (uint64_t)newline << i;
        c->space |= (uint64_t)(x == ' ') << i;
        c->quote |= (uint64_t)(x == '\'') << i;
        c->slash |= (uint64_t)(x == '/') << i;
        c->wide |= (uint64_t)(x >> 7) << i;
    }
}
#endif

static inline uint64_t bits_below(unsigned n)
{
    return n < TOKEN_BLOCK_BYTES ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

/* From here on a longer look is needed. */
static inline unsigned first_of(uint64_t bits)
{
    return bits != 0 ? (unsigned)__builtin_ctzll(bits) : TOKEN_BLOCK_BYTES;
}

/*
 * Where blanks follow a line end, they belong to it if another line end is behind them.
 * Then, or if that cannot be seen before `stop`, it is where these blanks begin.
 */
static inline unsigned stop_at_blank_line(const struct classes *c, unsigned stop)
{
    uint64_t blank = c->blank & bits_below(stop), begin = blank & c->newline << 1;
    uint64_t sum = blank + begin, behind = sum & ~blank; /* carried over the blanks */
    uint64_t bad = behind & (c->newline | ~bits_below(stop));

    if (bad != 0)
        begin &= bits_below(first_of(bad));
    else if (sum >= blank)
        return stop;
    return TOKEN_BLOCK_BYTES - 1 - (unsigned)__builtin_clzll(begin);
}

uint64_t token_block_cuts(const char *p, size_t n, bool o200k)
{
    uint64_t letter, digit, digits, blank, newline, sign, cuts, four, stops;
    struct classes c;
    unsigned stop;

    look_at(p, &c);
    letter = c.letter;
    digit = c.digit;
    blank = c.blank;
    newline = c.newline;
    sign = ~(letter | digit | blank | newline | c.wide);
    stops = c.wide | (c.quote & letter >> 1);
    if (o200k) { /* 's belongs to a word; behind the line ends of a row of signs, slashes do */
        stops = c.wide | (c.quote & letter >> 1 & letter << 1) | (c.slash & newline << 1);
    }
    stop = first_of(stops);
    if (n < stop)
        stop = (unsigned)n;
    stop = stop_at_blank_line(&c, stop);
    if (stop < 3)
        return 0;

    /* One sign that no blank and no sign precedes goes with the word behind it; a ' ' with both. */
    cuts = (letter & (digit | newline) << 1) |
           (letter & sign << 1 & (sign << 2 | c.space << 2)) |
           (sign & ~(sign << 1) & ~(c.space << 1));
    if (o200k)
        cuts |= c.capital & (letter & ~c.capital) << 1;
    /* The last of several blanks goes with what is behind them; all of them with a line end. */
    cuts |= (blank & ~(blank << 1)) | (blank & ~((blank | newline) >> 1)) |
            (newline & (letter | digit) << 1);
    digits = digit & ~(digit << 1);
    cuts |= digits;
    four = digit & digit << 1 & digit << 2 & digit << 3;
    for (digits = digits << 3 & four; digits != 0; digits = digits << 3 & four)
        cuts |= digits;
    /* A cut may depend on the character behind it. */
    return cuts & bits_below(stop - 1) & ~UINT64_C(1);
}
