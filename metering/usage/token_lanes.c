#include "metering/usage/token_merge.h"

#include <string.h>

#include "base/check.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    FRONT = 0, /* places of the two that nothing is joined to */
    BACK = MERGE_LANE_PLACES - 1,
    NARROW = MERGE_LANE_PLACES / 2,
};

/*
 * A look-up takes three turns of all lanes: its bit of the filter is asked for, then its place in the
 * table, then it is looked at.  No branch where half of all pairs go one way.
 */
static const uint64_t NOWHERE = TOKEN_PAIR_EMPTY;

/* Asks for what the tokens at `at` and at `next`, which is behind it, join to. */
static inline void ask(const struct token_tables *t, struct merge_way *w, uint32_t i,
                       uint32_t at, uint32_t next)
{
    const unsigned char *filter = merge_table(t, t->filter_at);
    uint64_t hash = token_pair_hash(w->tokens[at], w->tokens[next]);

    w->asked[i].hash = hash;
    w->asked[i].pair = token_pair(w->tokens[at], w->tokens[next]);
    w->asked[i].at = at;
    __builtin_prefetch(&filter[token_place(hash, t->filter_bits) / 8]);
}

static inline void go_near(const struct token_tables *t, struct merge_asked *asked)
{
    const uint64_t *table = merge_table(t, t->pairs_at);
    uintptr_t place = (uintptr_t)&table[token_place(asked->hash, t->pair_bits)];
    uintptr_t mask = -(uintptr_t)merge_may_join(t, asked->hash);

    place = (place & mask) | ((uintptr_t)&NOWHERE & ~mask);
    asked->place = (const uint64_t *)place;
    __builtin_prefetch(asked->place);
}

static inline void join_at(struct merge_way *w, uint32_t at, uint32_t token)
{
    w->joined[at] = token << MERGE_AT_BITS | at;
}

/* Bit 63 where x is 0. */
static inline uint64_t zero_bit(uint64_t x)
{
    return (x - 1) & ~x;
}

static inline void look(const struct token_tables *t, struct merge_way *w,
                        const struct merge_asked *asked)
{
    uint64_t slot = *asked->place, other = slot >> TOKEN_RANK_BITS ^ asked->pair;
    uint32_t token = (uint32_t)slot & TOKEN_RANK_MASK; /* of an empty slot TOKEN_NONE */

    if (((zero_bit(other) | zero_bit(slot ^ TOKEN_PAIR_EMPTY)) >> 63) == 0)
        token = merge_pair(t, asked->hash, asked->pair);
    join_at(w, asked->at, token);
}

/* ---- what a piece begins as ------------------------------------------------------------ */

static uint32_t pair_of_bytes(const struct token_tables *t, const char *p)
{
    const uint32_t *pairs = merge_table(t, t->byte_pairs_at);

    return pairs[(unsigned char)p[0] << 8 | (unsigned char)p[1]];
}

/* Not 0 where some token may hold one of the two characters and a part of the other. */
static inline uint32_t torn(uint32_t before, uint32_t behind)
{
    return (before & TOKEN_CHAR_PART_BEHIND) | (behind & TOKEN_CHAR_PART_BEFORE);
}

/* One more token, which nothing is joined to so far. */
static inline void begin_with(struct merge_way *w, uint32_t token)
{
    uint32_t at = FRONT + ++w->lane->tokens;

    w->tokens[at] = token;
    w->begins |= UINT32_C(1) << at;
}

static inline void begin_with_bytes(const struct token_tables *t, struct merge_way *w,
                                    const char *p, uint32_t n)
{
    const uint32_t *bytes = merge_table(t, t->bytes_at);

    for (uint32_t i = 0; i < n; i++) {
        begin_with(w, bytes[(unsigned char)p[i]]);
        if (i + 1 < n)
            join_at(w, FRONT + w->lane->tokens, pair_of_bytes(t, p + i));
    }
}

/*
 * A piece of characters of three bytes: each that is a token, and has no torn border, begins
 * as that, since its bytes are joined to nothing else before.  Returns how many pairs were asked for.
 */
static uint32_t begin_with_chars(const struct token_tables *t, struct merge_way *w)
{
    const uint32_t *chars = merge_table(t, t->chars_at);
    const char *p = w->lane->p, *end = p + w->lane->n;
    uint32_t last = 0, this = chars[token_char_index(p)], n_asked = 0;
    bool after_byte = false;

    for (; p < end; p += TOKEN_CHAR_BYTES) {
        bool is_first = w->lane->tokens == 0, is_last = end - p == TOKEN_CHAR_BYTES;
        uint32_t next = chars[token_char_index(p + TOKEN_CHAR_BYTES)];
        uint32_t before = FRONT + w->lane->tokens;
        uint32_t parts = (is_first ? 0 : torn(last, this)) | (is_last ? 0 : torn(this, next));
        bool whole = parts == 0 && (this & TOKEN_RANK_MASK) != TOKEN_NONE;

        if (whole)
            begin_with(w, this & TOKEN_RANK_MASK);
        else
            begin_with_bytes(t, w, p, TOKEN_CHAR_BYTES);
        if (!is_first && after_byte && !whole)
            join_at(w, before, pair_of_bytes(t, p - 1));
        else if (!is_first)
            ask(t, w, n_asked++, before, before + 1);
        after_byte = !whole;
        last = this;
        this = next;
    }
    return n_asked;
}

static bool is_all_chars(const char *p, uint32_t n)
{
    if (n % TOKEN_CHAR_BYTES != 0)
        return false;
    for (uint32_t i = 0; i < n; i += TOKEN_CHAR_BYTES) {
        if (!token_begins_char(p + i))
            return false;
    }
    return true;
}

/* Returns how many pairs were asked for. */
static uint32_t begin(const struct token_tables *t, struct merge_way *w, struct merge_lane *lane)
{
    uint32_t n_asked = 0;

    ASSERT(lane->n >= 2 && lane->n <= MERGE_LANE_BYTES);
    w->lane = lane;
    for (uint32_t i = 0; i < MERGE_LANE_PLACES; i++)
        join_at(w, i, TOKEN_NONE);
    w->tokens[FRONT] = w->tokens[BACK] = TOKEN_NONE;
    w->begins = UINT32_C(1) << FRONT | UINT32_C(1) << BACK;
    lane->tokens = 0;
    if (is_all_chars(lane->p, lane->n))
        n_asked = begin_with_chars(t, w);
    else
        begin_with_bytes(t, w, lane->p, lane->n);
    w->is_wide = FRONT + lane->tokens >= NARROW;
    return n_asked;
}

/* ---- merging ----------------------------------------------------------------------------- */

#ifdef __SSE2__
static inline __m128i lesser(__m128i a, __m128i b)
{
    __m128i less = _mm_cmplt_epi32(a, b);

    return _mm_or_si128(_mm_and_si128(less, a), _mm_andnot_si128(less, b));
}

/* The least of NARROW numbers below 2^31. */
static inline uint32_t least_of_some(const uint32_t *joined)
{
    const __m128i *j = (const __m128i *)(const void *)joined;
    __m128i low = lesser(_mm_load_si128(j), _mm_load_si128(j + 1));
    __m128i all = lesser(low, lesser(_mm_load_si128(j + 2), _mm_load_si128(j + 3)));

    all = lesser(all, _mm_shuffle_epi32(all, _MM_SHUFFLE(1, 0, 3, 2)));
    all = lesser(all, _mm_shuffle_epi32(all, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(all);
}
#else
static inline uint32_t least_of_some(const uint32_t *joined)
{
    uint32_t best = joined[0];

    for (uint32_t i = 1; i < NARROW; i++)
        best = joined[i] < best ? joined[i] : best;
    return best;
}
#endif

static inline uint32_t least(const struct merge_way *w)
{
    uint32_t best = least_of_some(w->joined), high;

    if (!w->is_wide)
        return best;
    high = least_of_some(w->joined + NARROW);
    return high < best ? high : best;
}

/* Joins the two that come first, and asks for the pairs that are new; false where there are none. */
static inline bool step(const struct token_tables *t, struct merge_way *w)
{
    uint32_t best = least(w), at, next, before, behind; /* of equal ones the leftmost */

    if (best >> MERGE_AT_BITS == TOKEN_NONE)
        return false;
    at = best % MERGE_LANE_PLACES;
    w->tokens[at] = best >> MERGE_AT_BITS;
    behind = w->begins & ~UINT32_C(1) << at;
    next = (uint32_t)__builtin_ctz(behind);
    w->begins ^= UINT32_C(1) << next;
    join_at(w, next, TOKEN_NONE);
    before = 31u - (uint32_t)__builtin_clz(w->begins & ((UINT32_C(1) << at) - 1));
    ask(t, w, 0, before, at);
    ask(t, w, 1, at, (uint32_t)__builtin_ctz(behind & (behind - 1)));
    w->lane->tokens--;
    return true;
}

void merge_lanes(struct merge *m, struct merge_lane *lanes, size_t n)
{
    const struct token_tables *t = m->tables;
    struct merge_way *busy[MERGE_LANES];
    uint32_t asked[MERGE_LANES];
    size_t left = 0;

    for (size_t i = 0; i < n; i++)
        asked[i] = begin(t, &m->ways[i], &lanes[i]);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < asked[i]; k++)
            go_near(t, &m->ways[i].asked[k]);
    }
    for (size_t i = 0; i < n; i++) {
        busy[left] = &m->ways[i];
        for (uint32_t k = 0; k < asked[i]; k++)
            look(t, busy[left], &busy[left]->asked[k]);
        left += step(t, busy[left]);
    }
    while (left > 0) {
        size_t still = 0;

        for (size_t i = 0; i < left; i++) {
            go_near(t, &busy[i]->asked[0]);
            go_near(t, &busy[i]->asked[1]);
        }
        for (size_t i = 0; i < left; i++) {
            busy[still] = busy[i];
            look(t, busy[i], &busy[i]->asked[0]);
            look(t, busy[i], &busy[i]->asked[1]);
            still += step(t, busy[i]);
        }
        left = still;
    }
}
