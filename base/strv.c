#include "base/strv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

static inline uint64_t word_at(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
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

size_t strv_find(struct strv s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

/* Eight printable bytes: what borrows or carries into its neighbour has its own high bit set. */
static inline bool is_ascii_word(uint64_t w)
{
    return (((w - EACH(0x20)) | (w + EACH(1)) | w) & EACH(0x80)) == 0;
}

size_t strv_ascii_run(struct strv s)
{
    size_t i = 0;

#ifdef __SSE2__
    const __m128i low = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);

    for (; s.n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i));
        /* Signed: bytes from 0x80 on are negative, so below the space as well. */
        __m128i good = _mm_and_si128(_mm_cmpgt_epi8(v, low), _mm_cmplt_epi8(v, del));
        unsigned bad = (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;

        if (bad != 0)
            return i + (unsigned)__builtin_ctz(bad);
    }
#endif
    while (s.n - i >= sizeof(uint64_t) && is_ascii_word(word_at(s.p + i)))
        i += sizeof(uint64_t);
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
