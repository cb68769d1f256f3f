/*
 * The tokenizer against one that is slow and plain: the patterns tried alternative by
 * alternative with all their backtracking, pieces merged by the book.  The same ids,
 * the same count, and the same again in parts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "metering/usage/token_class.h"
#include "metering/usage/token_merge.h"
#include "metering/usage/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { TEXT_MAX = 1400, NO = -1 }; /* the plain way takes the square of it */

extern const unsigned char token_classes[];
extern const char token_tables_o200k[], token_tables_cl100k[];

struct character {
    unsigned code, class;
    int at; /* byte */
};

/* A text as characters; [n] is the end. */
struct chars {
    struct character c[TEXT_MAX + 1];
    int n;
};

static unsigned class_of(unsigned code)
{
    uint16_t page;

    memcpy(&page, token_classes + (size_t)(code >> CLASS_PAGE_BITS) * 2, sizeof(page));
    return token_classes[CLASS_PAGES * 2 + ((size_t)page << CLASS_PAGE_BITS) +
                         (code & ((1u << CLASS_PAGE_BITS) - 1))];
}

/* Well-formed text only. */
static void read_chars(struct chars *t, const char *p, int n)
{
    int at = 0;

    t->n = 0;
    while (at < n) {
        int length = (int)utf8_sequence(strv_make(p + at, (size_t)(n - at)));
        unsigned code = (unsigned char)p[at];

        ASSERT(length > 0);
        if (length > 1)
            code &= 0xffu >> (length + 1);
        for (int i = 1; i < length; i++)
            code = code << 6 | ((unsigned char)p[at + i] & 0x3fu);
        t->c[t->n++] = (struct character){code, class_of(code), at};
        at += length;
    }
    t->c[t->n] = (struct character){0, 0, at};
}

static int is(const struct chars *t, int i, unsigned classes)
{
    return i < t->n && (t->c[i].class & classes) != 0;
}

static int most(const struct chars *t, int i, unsigned classes, int limit)
{
    while (limit-- > 0 && is(t, i, classes))
        i++;
    return i;
}

enum {
    L = CLASS_UPPER | CLASS_LOWER | CLASS_CASELESS,
    BLANK = CLASS_SPACE | CLASS_NEWLINE,
    SYMBOL = CLASS_OTHER | CLASS_MARK,
    LEAD = SYMBOL | CLASS_SPACE,
    UP = CLASS_UPPER | CLASS_CASELESS | CLASS_MARK,
    LOW = CLASS_LOWER | CLASS_CASELESS | CLASS_MARK,
};

static unsigned fold(unsigned c)
{
    return c == 0x17f ? 's' : c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int contraction(const struct chars *t, int i)
{
    static const char *const all[] = {"s", "t", "re", "ve", "m", "ll", "d"};

    if (i >= t->n || t->c[i].code != '\'')
        return NO;
    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        int n = (int)strlen(all[k]), same = 0;

        while (same < n && i + 1 + same < t->n &&
               fold(t->c[i + 1 + same].code) == (unsigned)all[k][same])
            same++;
        if (same == n)
            return i + 1 + n;
    }
    return NO;
}

/* LEAD? a* b+ contraction?, or LEAD? a+ b* contraction? */
static int word(const struct chars *t, int i, int least_a, int least_b)
{
    for (int lead = is(t, i, LEAD); lead >= 0; lead--) {
        int from = i + lead;

        for (int a = most(t, from, UP, TEXT_MAX); a >= from + least_a; a--) {
            int b = most(t, a, LOW, TEXT_MAX);

            if (b >= a + least_b) {
                int more = contraction(t, b);

                return more != NO ? more : b;
            }
        }
    }
    return NO;
}

static int letters(const struct chars *t, int i)
{
    for (int lead = is(t, i, LEAD); lead >= 0; lead--) {
        int to = most(t, i + lead, L, TEXT_MAX);

        if (to > i + lead)
            return to;
    }
    return NO;
}

static int symbols(const struct chars *t, int i, int slashes)
{
    for (int blank = i < t->n && t->c[i].code == ' '; blank >= 0; blank--) {
        int to = most(t, i + blank, SYMBOL, TEXT_MAX);

        if (to == i + blank)
            continue;
        while (to < t->n &&
               (t->c[to].class == CLASS_NEWLINE || (slashes && t->c[to].code == '/')))
            to++;
        return to;
    }
    return NO;
}

static int blanks(const struct chars *t, int i)
{
    int to = most(t, i, BLANK, TEXT_MAX);

    for (int k = to; k > i; k--) {
        if (t->c[k - 1].class == CLASS_NEWLINE)
            return k;
    }
    for (int k = to; k > i; k--) {
        if (k == t->n || is(t, k, BLANK))
            return k;
    }
    return to;
}

static int piece(const struct chars *t, int i, enum token_encoding e)
{
    int to;

    if (e == ENCODING_O200K) {
        if ((to = word(t, i, 0, 1)) != NO || (to = word(t, i, 1, 0)) != NO)
            return to;
    } else if ((to = contraction(t, i)) != NO || (to = letters(t, i)) != NO) {
        return to;
    }
    to = most(t, i, CLASS_NUMBER, 3);
    if (to > i || (to = symbols(t, i, e == ENCODING_O200K)) != NO)
        return to;
    return blanks(t, i);
}

/* ---- merging ---------------------------------------------------------------- */

struct plain {
    const char *pool;
    const uint32_t *offsets;
    uint32_t *sorted;
    uint32_t n;
};

static struct plain plain[ENCODING_COUNT];
static const struct plain *sorting;

static int compare(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);

    return order ? order : (na > nb) - (na < nb);
}

static int compare_ranks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const uint32_t *at = sorting->offsets;

    return compare(sorting->pool + at[x], at[x + 1] - at[x], sorting->pool + at[y],
                   at[y + 1] - at[y]);
}

static void prepare(struct plain *v, const char *image)
{
    struct token_tables head;

    memcpy(&head, image, sizeof(head));
    v->pool = image + head.pool_at;
    v->offsets = (const uint32_t *)(const void *)(image + head.offsets_at);
    v->n = head.n_tokens;
    v->sorted = xmalloc(v->n * sizeof(*v->sorted));
    for (uint32_t i = 0; i < v->n; i++)
        v->sorted[i] = i;
    sorting = v;
    qsort(v->sorted, v->n, sizeof(*v->sorted), compare_ranks);
}

static uint32_t rank_of(const struct plain *v, const char *p, size_t n)
{
    uint32_t low = 0, high = v->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2, rank = v->sorted[mid];
        int order = compare(v->pool + v->offsets[rank],
                            v->offsets[rank + 1] - v->offsets[rank], p, n);

        if (order == 0)
            return rank;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return TOKEN_NONE;
}

static size_t merge(const struct plain *v, const char *p, size_t n, uint32_t *ids)
{
    static size_t ends[TEXT_MAX + 1];
    size_t parts = n;

    if ((ids[0] = rank_of(v, p, n)) != TOKEN_NONE)
        return 1;
    for (size_t i = 0; i <= n; i++)
        ends[i] = i;
    for (;;) {
        uint32_t best = TOKEN_NONE;
        size_t at = 0;

        for (size_t i = 0; i + 2 <= parts; i++) {
            uint32_t rank = rank_of(v, p + ends[i], ends[i + 2] - ends[i]);

            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == TOKEN_NONE)
            break;
        memmove(ends + at + 1, ends + at + 2, (parts - at - 1) * sizeof(ends[0]));
        parts--;
    }
    for (size_t i = 0; i < parts; i++)
        ids[i] = rank_of(v, p + ends[i], ends[i + 1] - ends[i]);
    return parts;
}

/* ---- both --------------------------------------------------------------------- */

static void check_parts(struct tokenizer *t, enum token_encoding e, struct strv text,
                        uint64_t want)
{
    struct token_counter c;

    token_counter_init(&c, t, e, 0);
    for (size_t step = 1; step < 40; step += 13) {
        for (size_t at = 0; at < text.n; at += step)
            token_counter_feed(&c, strv_head(strv_skip(text, at), step));
        ASSERT(token_counter_finish(&c) == want);
    }
    token_counter_fini(&c);
}

static size_t well_formed(const uint8_t *bytes, size_t n, char *out)
{
    size_t used = 0, length;

    for (size_t at = 0; at < n; at += length) {
        length = utf8_sequence(strv_make((const char *)bytes + at, n - at));
        if (length == 0)
            length = 1;
        else
            memcpy(out + used, bytes + at, length);
        used += utf8_sequence(strv_make((const char *)bytes + at, n - at)) ? length : 0;
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct tokenizer *t;
    static struct chars chars;
    static uint32_t ids[TEXT_MAX * 3 + 1], want[TEXT_MAX + 1];
    static char text[TEXT_MAX];

    if (t == NULL) {
        t = tokenizer_new();
        prepare(&plain[ENCODING_O200K], token_tables_o200k);
        prepare(&plain[ENCODING_CL100K], token_tables_cl100k);
    }
    n = n < TEXT_MAX ? n : TEXT_MAX;
    for (enum token_encoding e = 0; e < ENCODING_COUNT; e++) {
        struct strv raw = strv_make((const char *)bytes, n), good;
        size_t count = 0, got;

        check_parts(t, e, raw, tokenizer_count(t, e, raw));
        good = strv_make(text, well_formed(bytes, n, text));
        read_chars(&chars, good.p, (int)good.n);
        for (int i = 0; i < chars.n;) {
            int to = piece(&chars, i, e);

            ASSERT(to > i);
            count += merge(&plain[e], text + chars.c[i].at,
                           (size_t)(chars.c[to].at - chars.c[i].at), want + count);
            i = to;
        }
        got = tokenizer_encode(t, e, good, ids);
        ASSERT(got == count && memcmp(ids, want, count * sizeof(*ids)) == 0);
        check_parts(t, e, good, count);
    }
    return 0;
}
