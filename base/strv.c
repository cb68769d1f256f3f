#include "base/strv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* A byte repeated. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Eight bytes at once: where they differ it is in the bit of case, and of a letter. */
static bool same_word(const char *a, const char *b)
{
    uint64_t x, y, differ, bits, letters;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    differ = x ^ y;
    if (differ == 0)
        return true;
    if ((differ & ~EACH(0x20)) != 0)
        return false;
    x |= EACH(0x20);
    bits = x & EACH(0x7f); /* so that no sum carries into the next byte */
    letters = (bits + EACH(0x80 - 'a')) & ~(bits + EACH(0x80 - 'z' - 1)) & ~x;
    return (differ << 2 & ~letters) == 0;
}

bool strv_same_nocase(const char *a, const char *b, size_t n)
{
    size_t i = 0;

    if (n < sizeof(uint64_t)) {
        for (; i < n; i++) {
            if (lower(a[i]) != lower(b[i]))
                return false;
        }
        return true;
    }
    for (; i + sizeof(uint64_t) < n; i += sizeof(uint64_t)) {
        if (!same_word(a + i, b + i))
            return false;
    }
    i = n - sizeof(uint64_t); /* the last word may overlap the one before */
    return same_word(a + i, b + i);
}

size_t strv_find(struct strv s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
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
    char digits[STRV_U64_BYTES];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return strv_copy(p, strv_make(digits + at, sizeof(digits) - at));
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
