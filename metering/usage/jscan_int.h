/*
 * jscan_int.h - the scanner's states, its inner loops and its look at names and numbers.
 * Nothing but jscan's own files (and repeat.c, which compares what they read) includes it.
 */
#ifndef METERING_USAGE_JSCAN_INT_H
#define METERING_USAGE_JSCAN_INT_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "metering/usage/jscan.h"

enum { JSCAN_SHORT_DIGITS = 15 }; /* so many are below 2^53 */

enum jscan_state {
    ST_VALUE = 0,     /* a value must come */
    ST_ITEM_OR_END,   /* just after [ */
    ST_MEMBER_OR_END, /* just after { */
    ST_MEMBER,        /* a member's name must come */
    ST_COLON,
    ST_AFTER, /* a value ended */
    ST_STRING,
    ST_ESCAPE,
    ST_UNICODE,
    ST_NUMBER,
    ST_LITERAL,
    ST_SKIP, /* loose: inside a container that nobody wants */
    ST_SKIP_STRING,
    ST_SKIP_ESCAPE,
    ST_DONE,
};

enum jscan_literal { JSCAN_LITERAL_TRUE = 0, JSCAN_LITERAL_FALSE, JSCAN_LITERAL_NULL };

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

/* Over bytes that are no quote, backslash or (strict) control character, as far as its steps
 * reach; at most to the first that is. Where the processor has wide vectors, 64 bytes a step. */
const char *jscan_long_run(const char *p, const char *end, bool loose);

enum { LONG_RUN_BYTES = 256 }; /* with so many to go it is worth a call */

/* First quote, backslash or (strict) control character. */
static inline const char *string_run(const char *p, const char *end, bool loose)
{
#ifdef __SSE2__
    const char *near = end - p > LONG_RUN_BYTES ? p + LONG_RUN_BYTES : end;
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
        if (p >= near) {
            p = jscan_long_run(p, end, loose) - 16;
            near = end;
        }
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

/* Where the member of this plain name leads. */
static inline uint8_t jscan_find_plain(struct jscan *s, const struct jscan_node *node,
                                       struct strv key)
{
    uint8_t found;

    if (key.n > JSCAN_KEY_MAX)
        return node->any;
    found = find_edge(node, key);
    if (found != JSCAN_SKIP)
        return found;
    if ((node->flags & JSCAN_FOLD) && jscan_is_folded_edge(node, key))
        s->folded = true;
    return node->any;
}
/* As jscan_string_end, of a string of which the bytes before p are plain. */
const char *jscan_escaped_end(const char *from, const char *p, const char *end,
                              uint64_t *text_bytes);
/*
 * The closing quote of a string whose text begins at from, NULL where there is none, or a
 * control character or a broken escape before it.  *text_bytes is its length decoded.
 */
static inline const char *jscan_string_end(const char *from, const char *end,
                                           uint64_t *text_bytes)
{
    const char *p = string_run(from, end, false);

    if (p == end || *p != '"')
        return jscan_escaped_end(from, p, end, text_bytes);
    *text_bytes = (uint64_t)(p - from);
    return p;
}
/* text follows the grammar of RFC 8259 section 6. */
bool jscan_number_is_valid(struct strv text);

/* ---- jscan_value.c ------------------------------------------------------------- */

static inline bool jscan_in_array(const struct jscan *s)
{
    return (s->arrays[s->depth / 64] >> (s->depth % 64) & 1u) != 0;
}

/* Opens a container of the value now expected, at place `begin`; RC_LIMIT where too deep. */
enum rc jscan_push(struct jscan *s, bool array, uint64_t begin) RC_MUST;
/* Closes the innermost container, which ends before place `end`. */
void jscan_pop(struct jscan *s, uint64_t end);

/* A token begins at place `begin`; capture: its text is wanted. */
void jscan_start_token(struct jscan *s, enum jscan_state state, bool capture, uint64_t begin);
/* n bytes at p of a token that goes on in the next feed; at most JSCAN_TEXT_MAX are kept. */
void jscan_keep_text(struct jscan *s, const char *p, size_t n);
/*
 * The token ended before place at_end; p..end is what of it lies in this feed, of a string
 * without its quotes.  RC_BAD where that is no number.
 */
void jscan_end_string(struct jscan *s, const char *p, const char *end, uint64_t at_end);
enum rc jscan_end_number(struct jscan *s, const char *p, const char *end,
                         uint64_t at_end) RC_MUST;
/* A number that is whole in this feed, of at most JSCAN_SHORT_DIGITS digits alone: value. */
void jscan_end_count(struct jscan *s, struct strv text, uint64_t value, uint64_t begin);
/* s->literal is whole. */
void jscan_end_literal(struct jscan *s, uint64_t at_end);
/* The next byte of s->literal, at place `at`. */
enum rc jscan_step_literal(struct jscan *s, char c, uint64_t at) RC_MUST;

#endif
