/*
 * Texts that jscan came across: names compared, strings decoded.
 */
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "metering/usage/jscan.h"
#include "metering/usage/jscan_int.h"

#ifdef __x86_64__
__attribute__((target("avx2"))) static const char *run_by_avx2(const char *p, const char *end,
                                                               bool loose)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\');
    /* Of what is below a blank: the lesser of it and this is itself. Loose: of nothing. */
    const __m256i control = _mm256_set1_epi8(0x1f), wanted = _mm256_set1_epi8(loose ? 0 : -1);

    for (; end - p >= 64; p += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
        __m256i low = _mm256_min_epu8(a, b);
        __m256i stop = _mm256_and_si256(
            _mm256_cmpeq_epi8(_mm256_min_epu8(low, control), low), wanted);

        stop = _mm256_or_si256(stop, _mm256_or_si256(_mm256_cmpeq_epi8(a, quote),
                                                     _mm256_cmpeq_epi8(b, quote)));
        stop = _mm256_or_si256(stop, _mm256_or_si256(_mm256_cmpeq_epi8(a, slash),
                                                     _mm256_cmpeq_epi8(b, slash)));
        if (!_mm256_testz_si256(stop, stop))
            break;
    }
    return p;
}
#endif

const char *jscan_long_run(const char *p, const char *end, bool loose)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return run_by_avx2(p, end, loose);
#endif
    (void)end;
    (void)loose;
    return p;
}

/*
 * Folds a name as the most lenient parsers in use do: ASCII case, and the two
 * letters beyond ASCII whose simple case folding is ASCII (U+212A k, U+017F s).
 */
static struct strv fold_key(struct strv key, char out[JSCAN_KEY_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];

        if (c >= 'A' && c <= 'Z') {
            c = (unsigned char)(c + ('a' - 'A'));
        } else if (c == 0xe2 && key.n - i >= 3 && memcmp(key.p + i, "\xe2\x84\xaa", 3) == 0) {
            c = 'k';
            i += 2;
        } else if (c == 0xc5 && key.n - i >= 2 && memcmp(key.p + i, "\xc5\xbf", 2) == 0) {
            c = 's';
            i += 1;
        }
        out[n++] = (char)c;
    }
    return strv_make(out, n);
}

bool jscan_is_folded_edge(const struct jscan_node *node, struct strv key)
{
    char folded[JSCAN_KEY_MAX], edge[JSCAN_KEY_MAX];
    struct strv name = fold_key(key, folded);

    for (unsigned i = 0; i < node->n_edges; i++) {
        struct strv wanted = strv_make(node->edges[i].key, node->edges[i].n);

        if (strv_eq(fold_key(wanted, edge), name))
            return true;
    }
    return false;
}

static bool read_unit(struct strv t, size_t at, uint32_t *unit)
{
    *unit = 0;
    if (t.n - at < 4)
        return false;
    for (size_t i = at; i < at + 4; i++) {
        char c = t.p[i];
        uint32_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
        *unit = *unit << 4 | digit;
    }
    return true;
}

/* What a backslash may stand before, 'u' aside. */
static inline bool is_escape(char c)
{
    return c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' ||
           c == 't';
}

const char *jscan_escaped_end(const char *from, const char *p, const char *end,
                              uint64_t *text_bytes)
{
    uint64_t saved = 0;
    uint32_t unit;

    for (;; p = string_run(p, end, false)) {
        if (p == end)
            return NULL;
        if (*p == '"') {
            *text_bytes = (uint64_t)(p - from) - saved;
            return p;
        }
        if (*p != '\\' || end - p < 2)
            return NULL;
        if (p[1] == 'u') {
            if (!read_unit(strv_make(p, (size_t)(end - p)), 2, &unit))
                return NULL;
            saved += unicode_saves(unit);
            p += 6;
        } else {
            if (!is_escape(p[1]))
                return NULL;
            saved++;
            p += 2;
        }
    }
}

static size_t encode_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The code point of the \u escape whose digits start at *at; moves behind it. */
static bool read_code_point(struct strv t, size_t *at, uint32_t *c)
{
    uint32_t low;

    if (!read_unit(t, *at, c))
        return false;
    *at += 4;
    if (*c < 0xd800 || *c > 0xdfff)
        return true;
    if (*c <= 0xdbff && t.n - *at >= 6 && t.p[*at] == '\\' && t.p[*at + 1] == 'u' &&
        read_unit(t, *at + 2, &low) && low >= 0xdc00 && low <= 0xdfff) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
        return true;
    }
    *c = 0xfffd;
    return true;
}

bool jscan_unescape(struct strv text, char *out, size_t size, size_t *n)
{
    static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
    size_t used = 0, i = 0;

    while (i < text.n) {
        char unit[4];
        size_t length = 1;

        unit[0] = text.p[i++];
        if (unit[0] == '\\') {
            const char *escape;
            uint32_t c;

            if (i == text.n)
                return false;
            if (text.p[i] == 'u') {
                i++;
                if (!read_code_point(text, &i, &c))
                    return false;
                length = encode_utf8(c, unit);
            } else {
                escape = memchr(FROM, text.p[i++], sizeof(FROM) - 1);
                if (escape == NULL)
                    return false;
                unit[0] = TO[escape - FROM];
            }
        }
        if (length > size - used)
            return false;
        memcpy(out + used, unit, length);
        used += length;
    }
    *n = used;
    return true;
}
