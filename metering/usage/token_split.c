#include "metering/usage/token_split.h"

#include <stdint.h>

#include "metering/usage/token_block.h"
#include "metering/usage/token_class.h"
#include "metering/usage/token_tables.h"

enum {
    LETTER = CLASS_UPPER | CLASS_LOWER | CLASS_CASELESS,
    BLANK = CLASS_SPACE | CLASS_NEWLINE,
    NO_WORD = CLASS_OTHER | CLASS_MARK,       /* [^\s\p{L}\p{N}] */
    LEAD = NO_WORD | CLASS_SPACE,             /* [^\r\n\p{L}\p{N}] */
    CAPITALS = CLASS_UPPER | CLASS_CASELESS | CLASS_MARK,
    SMALLS = CLASS_LOWER | CLASS_CASELESS | CLASS_MARK,
    NUMBER_CHARS = 3,
};

/* Pages of the class table, then 128 classes a page: see vocab/compile.c. */
extern const unsigned char token_classes[] __attribute__((visibility("hidden")));

#define U CLASS_UPPER
#define L CLASS_LOWER
#define N CLASS_NUMBER
#define S CLASS_SPACE
#define R CLASS_NEWLINE
#define O CLASS_OTHER
/* clang-format off */
static const unsigned char ASCII[128] = {
    O, O, O, O, O, O, O, O, O, S, R, S, S, R, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O,
    O, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
};
/* clang-format on */
#undef U
#undef L
#undef N
#undef S
#undef R
#undef O

static unsigned class_of_code(uint32_t code)
{
    const unsigned char *page = token_classes + (size_t)(code >> CLASS_PAGE_BITS) * 2;
    size_t index = 0;
    uint16_t number;

    memcpy(&number, page, sizeof(number));
    index = (size_t)number << CLASS_PAGE_BITS | (code & ((1u << CLASS_PAGE_BITS) - 1));
    return token_classes[CLASS_PAGES * sizeof(number) + index];
}

static unsigned class_of_wide(const char *p, unsigned *n)
{
    const unsigned char *c = (const unsigned char *)p;

    if (c[0] < 0xe0) {
        *n = 2;
        return class_of_code((c[0] & 0x1fu) << 6 | (c[1] & 0x3fu));
    }
    if (c[0] < 0xf0) {
        *n = 3;
        return class_of_code((c[0] & 0xfu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu));
    }
    *n = 4;
    return class_of_code((c[0] & 0x7u) << 18 | (c[1] & 0x3fu) << 12 | (c[2] & 0x3fu) << 6 |
                         (c[3] & 0x3fu));
}

/* The class of the character at p < end, and its length. */
static inline unsigned class_at(const char *p, unsigned *n)
{
    if ((unsigned char)*p < 0x80) {
        *n = 1;
        return ASCII[(unsigned char)*p];
    }
    return class_of_wide(p, n);
}

/*
 * Behind the characters of Han and syllables of Hangul at p, told from their first two bytes, since
 * text is well-formed.
 */
static inline const char *caseless_run(const char *p, const char *end)
{
    while (p < end) {
        unsigned two = (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];

        if (two - TOKEN_HAN_FIRST > TOKEN_HAN_LAST - TOKEN_HAN_FIRST &&
            two - TOKEN_HANGUL_FIRST > TOKEN_HANGUL_LAST - TOKEN_HANGUL_FIRST)
            break;
        p += TOKEN_CHAR_BYTES;
    }
    return p;
}

/* Behind the characters of these classes. */
static inline const char *run(const char *p, const char *end, unsigned classes)
{
    unsigned n;

    for (;;) {
        if (classes & CLASS_CASELESS)
            p = caseless_run(p, end);
        if (p >= end || (class_at(p, &n) & classes) == 0)
            return p;
        p += n;
    }
}

/* The same; *last is where the last one of `mark` begins, NULL where there is none.  Those without
 * case are among both. */
static inline const char *run_marked(const char *p, const char *end, unsigned classes,
                                     unsigned mark, const char **last)
{
    unsigned n, class;

    *last = NULL;
    for (;; p += n) {
        const char *to = caseless_run(p, end);

        if (to > p)
            *last = to - TOKEN_CHAR_BYTES;
        p = to;
        if (p >= end || ((class = class_at(p, &n)) & classes) == 0)
            return p;
        if (class & mark)
            *last = p;
    }
}

static inline const char *next(const char *p)
{
    unsigned n;

    (void)class_at(p, &n);
    return p + n;
}

/*
 * Behind (?i:'s|'t|'re|'ve|'m|'ll|'d) at p, p where there is none.  Ignoring case, the
 * long s (U+017F) is an s.
 */
static const char *contraction(const char *p, const char *end, bool *open)
{
    char a, b;

    if (p < end && *p != '\'')
        return p;
    if (end - p < 3)
        *open = true;
    if (end - p < 2)
        return p;
    a = (char)(p[1] | 0x20);
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return p + 2;
    if (end - p < 3)
        return p;
    b = (char)(p[2] | 0x20);
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ||
        (p[1] == '\xc5' && p[2] == '\xbf'))
        return p + 3;
    return p;
}

/* Digits at p, at most three characters of them. */
static const char *number(const char *p, const char *end, bool *open)
{
    unsigned n;

    for (int i = 0; i < NUMBER_CHARS; i++) {
        if (p == end) {
            *open = true;
            return p;
        }
        if ((class_at(p, &n) & CLASS_NUMBER) == 0)
            return p;
        p += n;
    }
    return p;
}

/* White space at p: \s*[\r\n]+ | \s+(?!\S) | \s+ */
static const char *blanks(const char *p, const char *end, bool *open)
{
    const char *from = p, *line = NULL, *last = p;
    unsigned n, class;

    for (; p < end && ((class = class_at(p, &n)) & BLANK) != 0; p += n) {
        last = p;
        if (class == CLASS_NEWLINE)
            line = p;
    }
    if (p == end)
        *open = true;
    if (line != NULL)
        return line + 1;
    return p == end || last == from ? p : last;
}

/* Behind [^\s\p{L}\p{N}]+ and what may follow it, p where it does not begin with one. */
static inline const char *symbols(const char *p, const char *end, bool slashes, bool *open)
{
    const char *from = p;

    p = run(p, end, NO_WORD);
    if (p > from) {
        while (p < end && (*p == '\n' || *p == '\r' || (slashes && *p == '/')))
            p++;
    }
    if (p == end)
        *open = true;
    return p;
}

/* What is no word and no number. */
static const char *other(const char *p, const char *end, bool slashes, bool *open)
{
    const char *from = p + (*p == ' '), *to;

    if (from == end) {
        *open = true;
        return end;
    }
    to = symbols(from, end, slashes, open);
    return to > from ? to : blanks(p, end, open);
}

/* ---- o200k ------------------------------------------------------------------ */

/* Alternative 1 behind its optional first character: NULL where it does not match. */
static const char *word_small(const char *p, const char *end, bool *open)
{
    const char *both, *to = run_marked(p, end, CAPITALS, CLASS_CASELESS | CLASS_MARK, &both);
    const char *small = run(to, end, SMALLS);

    if (small == end)
        *open = true;
    if (small > to)
        return small;
    return both != NULL ? next(both) : NULL;
}

/* Alternative 2, where alternative 1 did not match: no small letter follows. */
static const char *word_capital(const char *p, const char *end, bool *open)
{
    const char *to = run(p, end, CAPITALS);

    if (to == end)
        *open = true;
    return to > p ? to : NULL;
}

__attribute__((noinline)) static const char *o200k_any(const char *p, const char *end, bool *open)
{
    unsigned n, class = class_at(p, &n);
    const char *to = NULL;

    if (class == CLASS_NUMBER)
        return number(p, end, open);
    if (class & LEAD) {
        to = word_small(p + n, end, open);
        if (to == NULL && class == CLASS_MARK)
            to = word_small(p, end, open);
        if (to == NULL)
            to = word_capital(p + n, end, open);
    } else if (class & LETTER) {
        to = word_small(p, end, open);
        if (to == NULL)
            to = word_capital(p, end, open);
    }
    if (to != NULL)
        return contraction(to, end, open);
    return class == CLASS_NEWLINE ? blanks(p, end, open) : other(p, end, true, open);
}

/* ---- cl100k ----------------------------------------------------------------- */

__attribute__((noinline)) static const char *cl100k_any(const char *p, const char *end, bool *open)
{
    unsigned n, class;
    const char *to = contraction(p, end, open);

    if (*p == '\'' && to > p)
        return to;
    class = class_at(p, &n);
    if (class == CLASS_NUMBER)
        return number(p, end, open);
    if (class & (LEAD | LETTER)) {
        const char *from = class & LETTER ? p : p + n;

        to = run(from, end, LETTER);
        if (to == end)
            *open = true;
        if (to > from)
            return to;
    }
    return class == CLASS_NEWLINE ? blanks(p, end, open) : other(p, end, false, open);
}

/* ---- rows of pieces -------------------------------------------------------------- */

/* The ends of the pieces of a block at p, in order; 0 where it has to be cut by the character. */
static inline size_t cut_block(const char *p, const char *end, bool o200k, const char **ends)
{
    size_t n = 0;
    uint64_t cuts;

    if (end - p < 2 || (((unsigned char)p[0] | (unsigned char)p[1]) & 0x80) != 0)
        return 0;
    for (cuts = token_block_cuts(p, (size_t)(end - p), o200k); cuts != 0; cuts &= cuts - 1)
        ends[n++] = p + __builtin_ctzll(cuts);
    return n;
}

size_t token_split_o200k(const char *p, const char *end, const char **ends, bool *open)
{
    size_t n = cut_block(p, end, true, ends);

    if (n > 0)
        return n;
    ends[0] = o200k_any(p, end, open);
    return 1;
}

size_t token_split_cl100k(const char *p, const char *end, const char **ends, bool *open)
{
    size_t n = cut_block(p, end, false, ends);

    if (n > 0)
        return n;
    ends[0] = cl100k_any(p, end, open);
    return 1;
}
