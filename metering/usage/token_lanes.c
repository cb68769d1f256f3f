#include "metering/usage/token_merge.h"

#include <string.h>

#include "base/check.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * A look-up takes three turns of all lanes: its bit of the filter is asked for, then its place in the
 * table, then it is looked at.  No branch where half of all pairs go one way.
 */
static const uint64_t NOWHERE = TOKEN_PAIR_EMPTY;

/* Asks for what the tokens at `at` and at `next`, which is behind it, join to. */
static inline void ask(const struct token_tables *t, struct merge_way *w, uint32_t at,
                       uint32_t next)
{
    const unsigned char *filter = merge_table(t, t->filter_at);
    uint64_t hash = token_pair_hash(w->tokens[at], w->tokens[next]);
    struct merge_asked *asked = &w->asked[w->n_asked++];

    asked->hash = hash;
    asked->pair = token_pair(w->tokens[at], w->tokens[next]);
    asked->at = at;
    __builtin_prefetch(&filter[token_place(hash, t->filter_bits) / 8]);
}

static inline void go_near(const struct token_tables *t, struct merge_way *w)
{
    const uint64_t *table = merge_table(t, t->pairs_at);

    for (uint32_t i = 0; i < w->n_asked; i++) {
        uint64_t hash = w->asked[i].hash;
        const uint64_t *place = &table[token_place(hash, t->pair_bits)];

        w->asked[i].place = merge_may_join(t, hash) ? place : &NOWHERE;
        __builtin_prefetch(w->asked[i].place);
    }
}

static inline void join_at(struct merge_way *w, uint32_t at, uint32_t token)
{
    w->joined[at] = token << MERGE_AT_BITS | at;
}

static inline void look(const struct token_tables *t, struct merge_way *w)
{
    for (uint32_t i = 0; i < w->n_asked; i++) {
        const struct merge_asked *asked = &w->asked[i];
        uint64_t slot = *asked->place;

        /* That of an empty one is TOKEN_NONE. */
        if ((slot >> TOKEN_RANK_BITS == asked->pair) | (slot == TOKEN_PAIR_EMPTY))
            join_at(w, asked->at, (uint32_t)slot & TOKEN_RANK_MASK);
        else
            join_at(w, asked->at, merge_pair(t, asked->hash, asked->pair));
    }
    w->n_asked = 0;
}

static uint32_t pair_of_bytes(const struct token_tables *t, const char *p)
{
    const uint32_t *pairs = merge_table(t, t->byte_pairs_at);

    return pairs[(unsigned char)p[0] << 8 | (unsigned char)p[1]];
}

/* Some token may hold one of the two characters and a part of the other. */
static inline bool is_torn(uint32_t before, uint32_t behind)
{
    return (before & TOKEN_CHAR_PART_BEHIND) != 0 || (behind & TOKEN_CHAR_PART_BEFORE) != 0;
}

static inline void begin_with(struct merge_way *w, uint32_t at, uint32_t token)
{
    w->tokens[at] = token;
    w->begins |= UINT32_C(1) << at;
    w->lane->tokens++;
}

static inline void begin_with_bytes(const struct token_tables *t, struct merge_way *w,
                                    uint32_t from, uint32_t to)
{
    const uint32_t *bytes = merge_table(t, t->bytes_at);
    const char *p = w->lane->p;

    for (uint32_t at = from; at < to; at++) {
        begin_with(w, at, bytes[(unsigned char)p[at]]);
        if (at + 1 < to)
            join_at(w, at, pair_of_bytes(t, p + at));
    }
}

/*
 * A piece of characters of three bytes: each that is a token, and has no torn border, begins
 * as that, since its bytes are joined to nothing else before.
 */
static void begin_with_chars(const struct token_tables *t, struct merge_way *w)
{
    const uint32_t *chars = merge_table(t, t->chars_at);
    const char *p = w->lane->p;
    uint32_t n = w->lane->n, last = 0, this = chars[token_char_index(p)], before = 0;

    for (uint32_t at = 0; at < n; at += TOKEN_CHAR_BYTES) {
        bool is_last = at + TOKEN_CHAR_BYTES == n, after_byte = before + 1 == at;
        uint32_t next = is_last ? 0 : chars[token_char_index(p + at + TOKEN_CHAR_BYTES)];
        bool whole = (this & TOKEN_RANK_MASK) != TOKEN_NONE &&
                     (at == 0 || !is_torn(last, this)) && (is_last || !is_torn(this, next));

        if (whole)
            begin_with(w, at, this & TOKEN_RANK_MASK);
        else
            begin_with_bytes(t, w, at, at + TOKEN_CHAR_BYTES);
        if (at > 0 && after_byte && !whole)
            join_at(w, before, pair_of_bytes(t, p + before));
        else if (at > 0)
            ask(t, w, before, at);
        before = whole ? at : at + TOKEN_CHAR_BYTES - 1;
        last = this;
        this = next;
    }
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

static void begin(const struct token_tables *t, struct merge_way *w, struct merge_lane *lane)
{
    ASSERT(lane->n >= 2 && lane->n <= MERGE_LANE_BYTES);
    w->lane = lane;
    lane->tokens = 0;
    for (uint32_t i = 0; i < MERGE_LANE_PLACES; i++)
        join_at(w, i, TOKEN_NONE);
    w->tokens[MERGE_LANE_BYTES] = TOKEN_NONE;
    w->begins = UINT32_C(1) << MERGE_LANE_BYTES;
    w->n_asked = 0;
    if (is_all_chars(lane->p, lane->n)) {
        begin_with_chars(t, w);
    } else {
        begin_with_bytes(t, w, 0, lane->n);
    }
}

#ifdef __SSE2__
static inline __m128i lesser(__m128i a, __m128i b)
{
    __m128i less = _mm_cmplt_epi32(a, b);

    return _mm_or_si128(_mm_and_si128(less, a), _mm_andnot_si128(less, b));
}

static inline uint32_t least(const uint32_t joined[MERGE_LANE_PLACES])
{
    const __m128i *j = (const __m128i *)(const void *)joined;
    __m128i low = lesser(_mm_load_si128(j), _mm_load_si128(j + 1));
    __m128i all = lesser(low, lesser(_mm_load_si128(j + 2), _mm_load_si128(j + 3)));

    all = lesser(all, _mm_shuffle_epi32(all, _MM_SHUFFLE(1, 0, 3, 2)));
    all = lesser(all, _mm_shuffle_epi32(all, _MM_SHUFFLE(2, 3, 0, 1)));
    return (uint32_t)_mm_cvtsi128_si32(all);
}
#else
static inline uint32_t least(const uint32_t joined[MERGE_LANE_PLACES])
{
    uint32_t best = joined[0];

    for (uint32_t i = 1; i < MERGE_LANE_PLACES; i++)
        best = joined[i] < best ? joined[i] : best;
    return best;
}
#endif

/* Joins the two that come first; false where there are none. */
static inline bool step(const struct token_tables *t, struct merge_way *w)
{
    uint32_t best, at, next, before, behind;

    look(t, w);
    best = least(w->joined); /* of equal ones the leftmost */
    if (best >> MERGE_AT_BITS == TOKEN_NONE)
        return false;
    at = best & (MERGE_LANE_PLACES - 1);
    w->tokens[at] = best >> MERGE_AT_BITS;
    behind = w->begins & ~UINT32_C(1) << at;
    next = (uint32_t)__builtin_ctz(behind);
    w->begins ^= UINT32_C(1) << next;
    join_at(w, next, TOKEN_NONE);
    /* In front of the first and behind the last there is what nothing is joined to. */
    before = w->begins & ((UINT32_C(1) << at) - 1);
    before = before != 0 ? 31u - (uint32_t)__builtin_clz(before) : MERGE_LANE_BYTES;
    ask(t, w, before, at);
    ask(t, w, at, (uint32_t)__builtin_ctz(behind & (behind - 1)));
    w->lane->tokens--;
    return true;
}

void merge_lanes(struct merge *m, struct merge_lane *lanes, size_t n)
{
    const struct token_tables *t = m->tables;
    struct merge_way *busy[MERGE_LANES];
    size_t left = n;

    for (size_t i = 0; i < n; i++) {
        begin(t, &m->ways[i], &lanes[i]);
        busy[i] = &m->ways[i];
    }
    while (left > 0) {
        size_t still = 0;

        for (size_t i = 0; i < left; i++)
            go_near(t, busy[i]);
        for (size_t i = 0; i < left; i++) {
            busy[still] = busy[i];
            still += step(t, busy[i]);
        }
        left = still;
    }
}
