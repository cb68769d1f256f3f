/*
 * http1_chars.h - the character classes of HTTP syntax, and finding where a run of one ends.
 *
 * Private to the http1 and http_msg files.  Runs are scanned 16 bytes at a time where the
 * machine has SSE2 (every x86-64), those that are shorter at once (base/block.h); never
 * beyond the end that is given.
 */
#ifndef PROXY_HTTP1_CHARS_H
#define PROXY_HTTP1_CHARS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/block.h"
#include "base/strv.h"

/* tchar of RFC 9110 5.6.2: what methods, field names and extension names are made of. */
static inline bool http1_is_token(char c)
{
    static const uint32_t set[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
    unsigned char u = (unsigned char)c;

    return (set[u >> 5] >> (u & 31) & 1) != 0;
}

#ifdef __SSE2__
/* Letters, digits, '-' and '_', of which nearly all names are made: those bytes are all ones. */
static inline __m128i http1_word_bytes(__m128i v)
{
    __m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));
    __m128i good =
        _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8('z' - 'a')), letter),
                     _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));

    good = _mm_or_si128(good, _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
    return _mm_or_si128(good, _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
}

/* A bit for each byte that may be none of a token. */
static inline unsigned http1_odd_in_token(__m128i v)
{
    return (unsigned)_mm_movemask_epi8(http1_word_bytes(v)) ^ 0xffffu;
}

/* A bit for each byte that is not unreserved. */
static inline unsigned http1_bad_in_unreserved(__m128i v)
{
    __m128i good = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('.')),
                                _mm_cmpeq_epi8(v, _mm_set1_epi8('~')));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(good, http1_word_bytes(v))) ^ 0xffffu;
}

/* A bit for each byte that is no field value byte. */
static inline unsigned http1_bad_in_value(__m128i v)
{
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);

    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), low),
                     _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))));
}

/* A bit for each byte that is no target byte. */
static inline unsigned http1_bad_in_target(__m128i v)
{
    /* Signed: bytes from 0x80 on are negative, so below the space as well. */
    __m128i good = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(0x20)),
                                 _mm_cmplt_epi8(v, _mm_set1_epi8(0x7f)));

    good = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('#')), good);
    return (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;
}

/* The first byte of [p, end) whose bit is set by `bad`, or end, or where fewer bytes than a short
 * block has are left. */
static ALWAYS_INLINE const char *http1_skip_blocks(const char *p, const char *end,
                                                   unsigned (*bad)(__m128i))
{
    unsigned mask;
    size_t n;

    for (; end - p >= BLOCK_BYTES; p += BLOCK_BYTES) {
        mask = bad(block_load(p));
        if (mask != 0)
            return p + __builtin_ctz(mask);
    }
    n = (size_t)(end - p);
    if (n < BLOCK_SHORT_MIN_BYTES)
        return p;
    mask = bad(block_short(p, n));
    return mask == 0 ? end : p + block_place(n, (unsigned)__builtin_ctz(mask));
}
#endif

/* First byte of [p, end) that is no tchar, or end. */
static inline const char *http1_skip_token(const char *p, const char *end)
{
#ifdef __SSE2__
    p = http1_skip_blocks(p, end, http1_odd_in_token);
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

/* First byte of [p, end) that is not unreserved, or end. */
static inline const char *http1_skip_unreserved(const char *p, const char *end)
{
#ifdef __SSE2__
    p = http1_skip_blocks(p, end, http1_bad_in_unreserved);
#endif
    while (p < end && http1_is_unreserved(*p))
        p++;
    return p;
}

/* First byte of [p, end) that is no field value byte, or end. */
static inline const char *http1_skip_value(const char *p, const char *end)
{
#ifdef __SSE2__
    p = http1_skip_blocks(p, end, http1_bad_in_value);
#endif
    while (p < end && http1_is_value(*p))
        p++;
    return p;
}

/* First byte of [p, end) that is no target byte, or end. */
static inline const char *http1_skip_target(const char *p, const char *end)
{
#ifdef __SSE2__
    p = http1_skip_blocks(p, end, http1_bad_in_target);
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
