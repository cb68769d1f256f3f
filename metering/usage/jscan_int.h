/*
 * jscan_int.h - the scanner's inner loops and its look at names and numbers.
 * Nothing but jscan's own files includes it.
 */
#ifndef METERING_USAGE_JSCAN_INT_H
#define METERING_USAGE_JSCAN_INT_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "metering/usage/jscan.h"

enum { JSCAN_SHORT_DIGITS = 15 }; /* so many are below 2^53 */

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* First quote, backslash or (strict) control character. */
static inline const char *string_run(const char *p, const char *end, bool loose)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(loose ? -1 : 0x1f);

    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash));
        int mask;

        if (!loose)
            stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(x, control), x));
        mask = _mm_movemask_epi8(stop);
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (loose || (unsigned char)*p > 0x1f))
        p++;
    return p;
}

/* First quote or bracket. */
static inline const char *bracket_run(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), bit = _mm_set1_epi8(0x20);
    const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');

    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i y = _mm_or_si128(x, bit); /* [ and { differ in this bit alone, ] and } too */
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(y, open));
        int mask = _mm_movemask_epi8(_mm_or_si128(stop, _mm_cmpeq_epi8(y, close)));

        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && *p != '"' && (*p | 0x20) != '{' && (*p | 0x20) != '}')
        p++;
    return p;
}

/* Six bytes \uXXXX stand for so many of UTF-8; each half of a pair for two. */
static inline uint64_t unicode_saves(uint32_t unit)
{
    if (unit < 0x80)
        return 5;
    if (unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff))
        return 4;
    return 3;
}

/* Where the member of this name leads, JSCAN_SKIP where nowhere. */
static inline uint8_t find_edge(const struct jscan_node *node, struct strv key)
{
    const struct jscan_edge *edge = node->edges, *end = edge + node->n_edges;
    uint16_t look = JSCAN_LOOK(key.n > 0 ? key.p[0] : '\0', key.n);

    for (; edge < end; edge++) {
        if (edge->look == look && edge->n == key.n && memcmp(edge->key, key.p, key.n) == 0)
            return edge->node;
    }
    return JSCAN_SKIP;
}

/* The name, of at most JSCAN_KEY_MAX bytes, equals an edge's but for case. */
bool jscan_is_folded_edge(const struct jscan_node *node, struct strv key);
/*
 * The closing quote of a string whose text begins at p, NULL where there is none, or a
 * control character or a broken escape before it.  *text_bytes is its length decoded.
 */
const char *jscan_string_end(const char *p, const char *end, uint64_t *text_bytes);
/* text follows the grammar of RFC 8259 section 6. */
bool jscan_number_is_valid(struct strv text);

#endif
