#include "metering/usage/token_merge.h"

enum { LOOK_UPS = 2 };

static void begin(const struct token_tables *t, struct merge_way *w, struct merge_lane *lane)
{
    const unsigned char *p = (const unsigned char *)lane->p;
    const uint32_t *bytes = merge_table(t, t->bytes_at);
    const uint32_t *pairs = merge_table(t, t->byte_pairs_at);

    w->lane = lane;
    w->n = lane->n;
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        w->tokens[i] = bytes[p[i]];
        w->joined[i] = pairs[p[i] << 8 | p[i + 1]];
    }
    w->tokens[w->n - 1] = bytes[p[w->n - 1]];
    w->open[0].hash = 0;
    w->open[1].hash = 0;
}

/* Asks for what the tokens at `at` and behind it join to. */
static inline void ask(const struct token_tables *t, struct merge_way *w, unsigned i, uint32_t at)
{
    const uint64_t *table = merge_table(t, t->pairs_at);
    uint32_t left = w->tokens[at], right = w->tokens[at + 1];
    uint64_t hash = token_pair_hash(left, right);

    w->joined[at] = TOKEN_NONE;
    w->open[i].hash = 0;
    if (!merge_may_join(t, hash))
        return;
    w->open[i].hash = hash;
    w->open[i].pair = token_pair(left, right);
    w->open[i].at = at;
    __builtin_prefetch(&table[token_place(hash, t->pair_bits)]);
}

/* Joins the two that come first; false where there are none. */
static inline bool step(const struct token_tables *t, struct merge_way *w)
{
    uint32_t best = TOKEN_NONE, at = 0;

    for (unsigned i = 0; i < LOOK_UPS; i++) {
        if (w->open[i].hash != 0)
            w->joined[w->open[i].at] = merge_pair(t, w->open[i].hash, w->open[i].pair);
        w->open[i].hash = 0;
    }
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
        ask(t, w, 0, at - 1);
    if (at + 1 < w->n)
        ask(t, w, 1, at);
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
