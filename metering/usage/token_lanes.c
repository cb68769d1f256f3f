#include "metering/usage/token_merge.h"

#include <string.h>

#include "base/check.h"

/*
 * A look-up takes three turns of all lanes: its bit of the filter is asked for, then its place in the
 * table, then it is looked at.  No branch where half of all pairs go one way.
 */
static const uint64_t NOWHERE = TOKEN_PAIR_EMPTY;

/* Asks for what the tokens at `at` and behind it join to. */
static inline void ask(const struct token_tables *t, struct merge_way *w, uint32_t at)
{
    const unsigned char *filter = merge_table(t, t->filter_at);
    uint64_t hash = token_pair_hash(w->tokens[at], w->tokens[at + 1]);

    w->asked[w->n_asked].hash = hash;
    w->asked[w->n_asked++].at = at;
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

static inline void look(const struct token_tables *t, struct merge_way *w)
{
    for (uint32_t i = 0; i < w->n_asked; i++) {
        uint32_t at = w->asked[i].at;
        uint64_t pair = token_pair(w->tokens[at], w->tokens[at + 1]);
        uint64_t slot = *w->asked[i].place;

        if ((slot >> TOKEN_RANK_BITS == pair) | (slot == TOKEN_PAIR_EMPTY))
            w->joined[at] = (uint32_t)slot & TOKEN_RANK_MASK; /* which is TOKEN_NONE of an empty one */
        else
            w->joined[at] = merge_pair(t, w->asked[i].hash, pair);
    }
    w->n_asked = 0;
}

static void begin_with_byte(const struct token_tables *t, struct merge_way *w, const char *p)
{
    const uint32_t *bytes = merge_table(t, t->bytes_at);

    w->tokens[w->end++] = bytes[(unsigned char)*p];
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

/*
 * A piece of characters of three bytes: each that is a token, and has no torn border, begins
 * as that, since its bytes are joined to nothing else before.
 */
static void begin_with_chars(const struct token_tables *t, struct merge_way *w, uint32_t n)
{
    const uint32_t *chars = merge_table(t, t->chars_at);
    uint32_t last = 0, this = chars[token_char_index(w->lane->p)];
    bool after_byte = false, is_first = true;

    for (const char *p = w->lane->p; n > 0; n--, p += TOKEN_CHAR_BYTES) {
        uint32_t next = n > 1 ? chars[token_char_index(p + TOKEN_CHAR_BYTES)] : 0;
        bool whole = (this & TOKEN_RANK_MASK) != TOKEN_NONE &&
                     (is_first || !is_torn(last, this)) && (n == 1 || !is_torn(this, next));
        uint32_t at = w->end;

        if (whole) {
            w->tokens[w->end++] = this & TOKEN_RANK_MASK;
        } else {
            for (int i = 0; i < TOKEN_CHAR_BYTES; i++) {
                w->joined[w->end] = i + 1 < TOKEN_CHAR_BYTES ? pair_of_bytes(t, p + i) : TOKEN_NONE;
                begin_with_byte(t, w, p + i);
            }
        }
        if (!is_first && after_byte && !whole)
            w->joined[at - 1] = pair_of_bytes(t, p - 1);
        else if (!is_first)
            ask(t, w, at - 1);
        is_first = false;
        after_byte = !whole;
        last = this;
        this = next;
    }
}

static bool is_all_chars(const char *p, uint32_t n)
{
    if (n % TOKEN_CHAR_BYTES != 0)
        return false;
    for (uint32_t i = 0; i < n; i += TOKEN_CHAR_BYTES) {
        if (!token_is_char(p + i))
            return false;
    }
    return true;
}

static void begin(const struct token_tables *t, struct merge_way *w, struct merge_lane *lane)
{
    ASSERT(lane->n >= 2 && lane->n <= MERGE_LANE_BYTES);
    w->lane = lane;
    for (int i = 0; i < 2 * MERGE_LANE_PLACES; i++) {
        w->tokens[i] = TOKEN_NONE;
        w->joined[i] = TOKEN_NONE;
    }
    w->end = 1;
    w->n_asked = 0;
    if (is_all_chars(lane->p, lane->n)) {
        begin_with_chars(t, w, lane->n / TOKEN_CHAR_BYTES);
        return;
    }
    for (uint32_t i = 0; i + 1 < lane->n; i++) {
        w->joined[i + 1] = pair_of_bytes(t, lane->p + i);
        begin_with_byte(t, w, lane->p + i);
    }
    begin_with_byte(t, w, lane->p + lane->n - 1);
}

/* Joins the two that come first; false where there are none. */
static inline bool step(const struct token_tables *t, struct merge_way *w)
{
    enum { AT_BITS = 4, MOVED = (MERGE_LANE_PLACES - 1) * sizeof(uint32_t) };
    uint32_t best = UINT32_MAX, at;

    look(t, w);
    for (uint32_t i = 0; i < MERGE_LANE_PLACES; i++) {
        uint32_t join = w->joined[i] << AT_BITS | i; /* of equal ones the leftmost */

        best = join < best ? join : best;
    }
    if (best >> AT_BITS == TOKEN_NONE)
        return false;
    at = best & (MERGE_LANE_PLACES - 1);
    w->end--;
    w->tokens[at] = best >> AT_BITS;
    /* Always as many: how many there are is not foretold. */
    memmove(&w->tokens[at + 1], &w->tokens[at + 2], MOVED);
    memmove(&w->joined[at], &w->joined[at + 1], MOVED);
    ask(t, w, at - 1);
    ask(t, w, at);
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
            if (step(t, busy[i]))
                still++;
            else
                busy[i]->lane->tokens = busy[i]->end - 1;
        }
        left = still;
    }
}
