/*
 * http1_chars.h - the character classes of HTTP syntax, and finding where a run of one ends.
 *
 * Private to the http1 and http_msg files.  Runs of field values and targets are
 * scanned 16 bytes at a time where the machine has SSE2 (every x86-64); never
 * beyond the end that is given.
 */
#ifndef PROXY_HTTP1_CHARS_H
#define PROXY_HTTP1_CHARS_H

#include <stdbool.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/strv.h"

/* tchar of RFC 9110 5.6.2: what methods, field names and extension names are made of. */
static inline bool http1_is_token(char c)
{
    static const uint32_t set[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
    unsigned char u = (unsigned char)c;

    return (set[u >> 5] >> (u & 31) & 1) != 0;
}

/*
 * First byte of [p, end) that is no tchar, or end.  Letters, digits, '-' and '_', of which
 * nearly all names are made, are passed over 16 at a time.
 */
static inline const char *http1_skip_token(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i bit = _mm_set1_epi8(0x20), a = _mm_set1_epi8('a'), zero = _mm_set1_epi8('0'),
                  letters = _mm_set1_epi8('z' - 'a'), digits = _mm_set1_epi8(9),
                  dash = _mm_set1_epi8('-'), underscore = _mm_set1_epi8('_');

    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, bit), a), digit = _mm_sub_epi8(v, zero);
        __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letter, letters), letter),
                                    _mm_cmpeq_epi8(_mm_min_epu8(digit, digits), digit));
        unsigned mask;

        good = _mm_or_si128(good, _mm_cmpeq_epi8(v, dash));
        good = _mm_or_si128(good, _mm_cmpeq_epi8(v, underscore));
        mask = (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;
        if (mask != 0) {
            p += __builtin_ctz(mask);
            break;
        }
        p += 16;
    }
#endif
    while (p < end && http1_is_token(*p))
        p++;
    return p;
}

/* unreserved of RFC 3986 2.3. */
static inline bool http1_is_unreserved(char c)
{
    static const uint32_t set[8] = {0, 0x03ff6000, 0x87fffffe, 0x47fffffe};
    unsigned char u = (unsigned char)c;

    return (set[u >> 5] >> (u & 31) & 1) != 0;
}

/* Value of a hexadecimal digit, or -1. */
static inline int http1_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Field values (RFC 9110 5.5): visible, obs-text, space and tab. */
static inline bool http1_is_value(char c)
{
    unsigned char u = (unsigned char)c;

    return (u >= 0x20 && u != 0x7f) || u == '\t';
}

/* What may stand in a request target: visible ASCII; a fragment is never sent. */
static inline bool http1_is_target(char c)
{
    unsigned char u = (unsigned char)c;

    return u > 0x20 && u < 0x7f && u != '#';
}

/* First byte of [p, end) that is no field value byte, or end. */
static inline const char *http1_skip_value(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i control = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f),
                  tab = _mm_set1_epi8('\t');

    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, control), v);
        __m128i bad =
            _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);

        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && http1_is_value(*p))
        p++;
    return p;
}

/* First byte of [p, end) that is no target byte, or end. */
static inline const char *http1_skip_target(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f),
                  hash = _mm_set1_epi8('#');

    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* Signed: bytes from 0x80 on are negative, so below the space as well. */
        __m128i good =
            _mm_andnot_si128(_mm_cmpeq_epi8(v, hash),
                             _mm_and_si128(_mm_cmpgt_epi8(v, space), _mm_cmplt_epi8(v, del)));
        unsigned mask = (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;

        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && http1_is_target(*p))
        p++;
    return p;
}

/* True where all of s is of the class; the empty view is. */
static inline bool http1_all_value(struct strv s)
{
    return s.n == 0 || http1_skip_value(s.p, s.p + s.n) == s.p + s.n;
}

static inline bool http1_all_target(struct strv s)
{
    return s.n == 0 || http1_skip_target(s.p, s.p + s.n) == s.p + s.n;
}

static inline bool http1_is_name(struct strv s)
{
    return s.n > 0 && http1_skip_token(s.p, s.p + s.n) == s.p + s.n;
}

#endif
