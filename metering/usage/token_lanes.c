#include "metering/usage/token_merge.h"

#include "base/check.h"

/* Asks for what the tokens at `at` and behind it join to. */
static inline void ask(const struct token_tables *t, struct merge_way *w, uint32_t at)
{
    const unsigned char *filter = merge_table(t, t->filter_at);
    uint64_t hash = token_pair_hash(w->tokens[at], w->tokens[at + 1]);

    w->joined[at] = TOKEN_NONE;
    w->asked[w->n_asked].hash = hash;
    w->asked[w->n_asked].at = at;
    w->asked[w->n_asked++].is_near = false;
    __builtin_prefetch(&filter[token_place(hash, t->filter_bits) / 8]);
}

/* Looks at what was asked for; false where some of it is still on its way. */
static inline bool look(const struct token_tables *t, struct merge_way *w)
{
    const uint64_t *table = merge_table(t, t->pairs_at);
    uint32_t n = w->n_asked;

    w->n_asked = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = w->asked[i].hash;
        uint32_t at = w->asked[i].at;

        if (w->asked[i].is_near) {
            w->joined[at] =
                merge_pair(t, hash, token_pair(w->tokens[at], w->tokens[at + 1]));
        } else if (merge_may_join(t, hash)) {
            __builtin_prefetch(&table[token_place(hash, t->pair_bits)]);
            w->asked[w->n_asked] = w->asked[i];
            w->asked[w->n_asked++].is_near = true;
        }
    }
    return w->n_asked == 0;
}

/* A piece of nothing but characters of three bytes begins with their tokens, if that is exact. */
static bool begin_with_chars(const struct token_tables *t, struct merge_way *w)
{
    const uint32_t *chars = merge_table(t, t->chars_at);
    const char *p = w->lane->p;
    uint32_t n = w->lane->n / TOKEN_CHAR_BYTES, last = 0;

    if (w->lane->n % TOKEN_CHAR_BYTES != 0)
        return false;
    for (uint32_t i = 0; i < n; i++, p += TOKEN_CHAR_BYTES) {
        uint32_t c;

        if (!token_is_char(p))
            return false;
        c = chars[token_char_index(p)];
        w->tokens[i] = c & TOKEN_RANK_MASK;
        if (w->tokens[i] == TOKEN_NONE || (last & TOKEN_CHAR_PART_BEHIND) != 0 ||
            (i > 0 && (c & TOKEN_CHAR_PART_BEFORE) != 0))
            return false;
        last = c;
    }
    w->n = n;
    for (uint32_t i = 0; i + 1 < n; i++)
        ask(t, w, i);
    return true;
}

static void begin(const struct token_tables *t, struct merge_way *w, struct merge_lane *lane)
{
    const unsigned char *p = (const unsigned char *)lane->p;
    const uint32_t *bytes = merge_table(t, t->bytes_at);
    const uint32_t *pairs = merge_table(t, t->byte_pairs_at);

    ASSERT(lane->n >= 2 && lane->n <= MERGE_LANE_BYTES);
    w->lane = lane;
    w->n_asked = 0;
    if (begin_with_chars(t, w))
        return;
    w->n = lane->n;
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        w->tokens[i] = bytes[p[i]];
        w->joined[i] = pairs[p[i] << 8 | p[i + 1]];
    }
    w->tokens[w->n - 1] = bytes[p[w->n - 1]];
}

/* Joins the two that come first; false where there are none. */
static inline bool step(const struct token_tables *t, struct merge_way *w)
{
    uint32_t best = TOKEN_NONE, at = 0;

    if (!look(t, w))
        return true;
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        bool first = w->joined[i] < best;

        best = first ? w->joined[i] : best;
        at = first ? i : at;
    }
    if (best == TOKEN_NONE)
        return false;
    w->n--;
    w->tokens[at] = best;
    for (uint32_t i = at + 1; i < w->n; i++) {
        w->tokens[i] = w->tokens[i + 1];
        w->joined[i - 1] = w->joined[i];
    }
    if (at > 0)
        ask(t, w, at - 1);
    if (at + 1 < w->n)
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

        for (size_t i = 0; i < left; i++) {
            busy[still] = busy[i];
            if (step(t, busy[i]))
                still++;
            else
                busy[i]->lane->tokens = busy[i]->n;
        }
        left = still;
    }
}
