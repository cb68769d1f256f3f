#include "base/strv.h"

#include "base/block.h"

/* A byte repeated. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight bytes at once: where they differ it is in the bit of case, and of a letter. */
static inline bool same_word(uint64_t x, uint64_t y)
{
    uint64_t differ = x ^ y, bits, letters;

    if (differ == 0)
        return true;
    if ((differ & ~EACH(0x20)) != 0)
        return false;
    x |= EACH(0x20);
    bits = x & EACH(0x7f); /* so that no sum carries into the next byte */
    letters = (bits + EACH(0x80 - 'a')) & ~(bits + EACH(0x80 - 'z' - 1)) & ~x;
    return (differ << 2 & ~letters) == 0;
}

/* One to seven bytes, some of them twice. */
static inline uint64_t short_word(const char *p, size_t n)
{
    uint32_t head, tail;

    if (n < sizeof(head))
        return (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 |
               (uint64_t)(unsigned char)p[n - 1] << 16;
    memcpy(&head, p, sizeof(head));
    memcpy(&tail, p + n - sizeof(tail), sizeof(tail));
    return (uint64_t)tail << 32 | head;
}

#ifdef __SSE2__
/* Sixteen bytes at once, as same_word. */
static inline bool same_block(__m128i x, __m128i y)
{
    const __m128i bit = _mm_set1_epi8(0x20), zero = _mm_setzero_si128();
    __m128i letter = _mm_sub_epi8(_mm_or_si128(x, bit), _mm_set1_epi8('a'));
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8('z' - 'a')), letter);
    __m128i differ = _mm_andnot_si128(_mm_and_si128(is_letter, bit), _mm_xor_si128(x, y));

    return _mm_movemask_epi8(_mm_cmpeq_epi8(differ, zero)) == 0xffff;
}

bool strv_same_nocase(const char *a, const char *b, size_t n)
{
    if (n < BLOCK_SHORT_MIN_BYTES)
        return same_word(short_word(a, n), short_word(b, n));
    if (n < BLOCK_BYTES)
        return same_block(block_short(a, n), block_short(b, n));
    for (size_t i = 0; i + BLOCK_BYTES < n; i += BLOCK_BYTES) {
        if (!same_block(block_load(a + i), block_load(b + i)))
            return false;
    }
    /* The last block may overlap the one before. */
    return same_block(block_load(a + n - BLOCK_BYTES), block_load(b + n - BLOCK_BYTES));
}
#else
static inline uint64_t word_at(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

bool strv_same_nocase(const char *a, const char *b, size_t n)
{
    size_t i = 0;

    if (n < sizeof(uint64_t))
        return same_word(short_word(a, n), short_word(b, n));
    for (; i + sizeof(uint64_t) < n; i += sizeof(uint64_t)) {
        if (!same_word(word_at(a + i), word_at(b + i)))
            return false;
    }
    i = n - sizeof(uint64_t); /* the last word may overlap the one before */
    return same_word(word_at(a + i), word_at(b + i));
}
#endif

size_t strv_find(struct strv s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

#ifdef __SSE2__
/* A bit for each byte that is not printable ASCII. */
static inline unsigned not_ascii(__m128i v)
{
    /* Signed: bytes from 0x80 on are negative, so below the space as well. */
    __m128i good = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(0x1f)),
                                 _mm_cmplt_epi8(v, _mm_set1_epi8(0x7f)));

    return (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;
}
#endif

size_t strv_ascii_run(struct strv s)
{
    size_t i = 0;

#ifdef __SSE2__
    for (; s.n - i >= BLOCK_BYTES; i += BLOCK_BYTES) {
        unsigned bad = not_ascii(block_load(s.p + i));

        if (bad != 0)
            return i + (unsigned)__builtin_ctz(bad);
    }
    if (s.n - i >= BLOCK_SHORT_MIN_BYTES) {
        unsigned bad = not_ascii(block_short(s.p + i, s.n - i));

        return bad == 0 ? s.n : i + block_place(s.n - i, (unsigned)__builtin_ctz(bad));
    }
#endif
    while (i < s.n && s.p[i] >= 0x20 && s.p[i] < 0x7f)
        i++;
    return i;
}

bool strv_split(struct strv *rest, char separator, struct strv *part)
{
    size_t at;

    if (rest->p == NULL)
        return false;
    at = strv_find(*rest, separator);
    *part = strv_head(*rest, at);
    if (at == rest->n)
        *rest = STRV_NONE;
    else
        *rest = strv_skip(*rest, at + 1);
    return true;
}

int strv_cmp(struct strv a, struct strv b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

bool strv_parse_u64(struct strv s, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    if (value > max)
        return false;
    *out = value;
    return true;
}

char *strv_put_u64(char *p, uint64_t n)
{
    char *end = p + 1, *at;

    for (uint64_t bound = 10; n >= bound; bound *= 10) {
        end++;
        if (bound > UINT64_MAX / 10) /* there is no larger power */
            break;
    }
    at = end;
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return end;
}

bool strv_glob(struct strv pattern, struct strv text)
{
    size_t p = 0, t = 0;
    size_t star = SIZE_MAX, mark = 0;

    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == text.p[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

uint64_t strv_hash(struct strv s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < s.n; i++) {
        h ^= (unsigned char)s.p[i];
        h *= UINT64_C(0x100000001b3);
    }
    return h;
}
