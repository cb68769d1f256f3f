#include "metering/usage/token_count.h"

#include <string.h>

enum {
    KNOWN_BYTES = 15,
    KNOWN_LENGTH_SHIFT = 60,
    KNOWN_TOKENS_SHIFT = 56,
    KNOWN_TOKENS_MAX = 15,
};
#define KNOWN_TOKENS ((uint64_t)KNOWN_TOKENS_MAX << KNOWN_TOKENS_SHIFT)

#define ONES(n) (UINT64_MAX >> (64 - 8 * (n)))
#define ALL     UINT64_MAX
/* The first n bytes. */
static const struct count_known MASKS[KNOWN_BYTES + 1] = {
    {0, 0},         {ONES(1), 0},   {ONES(2), 0},   {ONES(3), 0},
    {ONES(4), 0},   {ONES(5), 0},   {ONES(6), 0},   {ONES(7), 0},
    {ALL, 0},       {ALL, ONES(1)}, {ALL, ONES(2)}, {ALL, ONES(3)},
    {ALL, ONES(4)}, {ALL, ONES(5)}, {ALL, ONES(6)}, {ALL, ONES(7)},
};
#undef ONES
#undef ALL

static inline struct count_known piece_of(const char *p, size_t n)
{
    return (struct count_known){token_load8(p) & MASKS[n].low,
                                (token_load8(p + 8) & MASKS[n].high) |
                                    (uint64_t)n << KNOWN_LENGTH_SHIFT};
}

/* The first of the slots that such a piece may be in. */
static inline struct count_known *place_of(struct count *c, const struct count_known *piece)
{
    uint64_t hash = (piece->low ^ piece->high * UINT64_C(0x9fb21c651e98df25)) *
                    UINT64_C(0x9e3779b97f4a7c15);

    return &c->known[(hash >> 32) * (COUNT_KNOWN / COUNT_KNOWN_WAYS) >> 32 << 1];
}

static inline bool same(const struct count_known *known, const struct count_known *piece)
{
    return ((known->low ^ piece->low) | ((known->high ^ piece->high) & ~KNOWN_TOKENS)) == 0;
}

static inline unsigned tokens_of(const struct count_known *known)
{
    return (unsigned)(known->high >> KNOWN_TOKENS_SHIFT) & KNOWN_TOKENS_MAX;
}

/* In the second place: the first one is for what has been met again. */
static void remember(struct count *c, const struct count_waiting *w, uint32_t tokens)
{
    struct count_known *place;

    if (w->n > KNOWN_BYTES)
        return;
    place = place_of(c, &w->piece);
    place[1] = w->piece;
    place[1].high |= (uint64_t)tokens << KNOWN_TOKENS_SHIFT;
}

/* ---- what is not known ------------------------------------------------------------- */

static bool is_short_token(const struct token_tables *t, const struct count_waiting *w)
{
    const uint64_t *keys = merge_table(t, t->keys_at);
    uint64_t key = token_key(w->p, w->n);
    size_t mask = ((size_t)1 << t->key_bits) - 1;

    for (size_t at = token_place(w->hash, t->key_bits); keys[at] != 0; at = (at + 1) & mask) {
        if (keys[at] == key)
            return !token_is_odd(w->p, w->n);
    }
    return false;
}

static bool is_token(const struct token_tables *t, const struct count_waiting *w)
{
    if (w->n <= TOKEN_SHORT_BYTES)
        return is_short_token(t, w);
    return w->n <= TOKEN_MAX_BYTES && merge_find_longer(t, w->p, w->n, w->hash) != TOKEN_NONE;
}

uint64_t count_rest(struct count *c)
{
    struct merge_lane lanes[MERGE_LANES];
    struct count_waiting *of_lane[MERGE_LANES];
    size_t n_lanes = 0;
    uint64_t tokens = 0;

    for (size_t i = 0; i < c->n_waiting; i++) {
        struct count_waiting *w = &c->waiting[i];

        if (is_token(c->merge.tables, w)) {
            tokens++;
            remember(c, w, 1);
        } else if (w->n <= MERGE_LANE_BYTES) {
            of_lane[n_lanes] = w;
            lanes[n_lanes++] = (struct merge_lane){w->p, (uint32_t)w->n, 0};
        } else {
            tokens += merge_row(&c->merge, w->p, w->n, NULL);
        }
    }
    merge_lanes(&c->merge, lanes, n_lanes);
    for (size_t i = 0; i < n_lanes; i++) {
        tokens += lanes[i].tokens;
        remember(c, of_lane[i], lanes[i].tokens);
    }
    c->n_waiting = 0;
    return tokens;
}

/* Asks for the place in the tables of a piece that is to wait. */
static void expect(const struct token_tables *t, struct count_waiting *w)
{
    if (w->n <= TOKEN_SHORT_BYTES) {
        const uint64_t *keys = merge_table(t, t->keys_at);

        w->hash = token_key_hash(token_key(w->p, w->n));
        __builtin_prefetch(&keys[token_place(w->hash, t->key_bits)]);
    } else if (w->n <= TOKEN_MAX_BYTES) {
        const uint32_t *longer = merge_table(t, t->longer_at);

        w->hash = token_longer_hash(w->p, w->n);
        __builtin_prefetch(&longer[token_place(w->hash, t->longer_bits)]);
    }
}

static uint64_t put_off(struct count *c, const char *p, size_t n, const struct count_known *piece)
{
    struct count_waiting *w = &c->waiting[c->n_waiting++];

    w->p = p;
    w->n = n;
    w->piece = *piece;
    expect(c->merge.tables, w);
    return c->n_waiting == COUNT_WAITING ? count_rest(c) : 0;
}

/* What is met again is looked for first from now on. */
static inline void swap(struct count_known known[COUNT_KNOWN_WAYS])
{
    struct count_known first = known[0];

    known[0] = known[1];
    known[1] = first;
}

uint64_t count_pieces(struct count *c, const char *p, const char *const *ends, size_t n)
{
    uint64_t tokens = 0;
    const char *from = p;

    for (size_t i = 0; i < n; i++) {
        size_t length = (size_t)(ends[i] - from);

        if (length <= KNOWN_BYTES) {
            c->pieces[i] = piece_of(from, length);
            c->places[i] = place_of(c, &c->pieces[i]);
            __builtin_prefetch(c->places[i]);
        }
        from = ends[i];
    }
    from = p;
    for (size_t i = 0; i < n; i++) {
        size_t length = (size_t)(ends[i] - from);
        const struct count_known *piece = &c->pieces[i];
        struct count_known *known = c->places[i];

        if (length > KNOWN_BYTES) {
            tokens += put_off(c, from, length, piece);
        } else if (same(&known[0], piece)) {
            tokens += tokens_of(&known[0]);
        } else if (same(&known[1], piece)) {
            swap(known);
            tokens += tokens_of(&known[0]);
        } else {
            tokens += put_off(c, from, length, piece);
        }
        from = ends[i];
    }
    return tokens;
}
