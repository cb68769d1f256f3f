/*
 * token_merge.h - byte-pair encoding of one piece, exact and in linear time.
 *
 * Merging by the book (the lowest rank first) takes a time that grows with the square
 * of a piece, or a heap.  What it ends in is told without it: two neighbours of the
 * result are such that merging them alone ends in those two again ("they stand beside
 * each other"), and any row of tokens of which that holds for all neighbours is the result of
 * its bytes.  So the row is found from the left, the longest token first, one step
 * back where there is no way on; no place is entered twice.  Whether two tokens stand
 * beside each other follows from how each was joined (see stands in token_merge.c).
 *
 * A long piece goes in windows that overlap: where two windows have a token in common,
 * the rows join there.
 */
#ifndef METERING_USAGE_TOKEN_MERGE_H
#define METERING_USAGE_TOKEN_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metering/usage/token_tables.h"

enum {
    MERGE_WINDOW_BYTES = 4096,
    MERGE_PAD = 16, /* bytes behind a piece that may be read */
    MERGE_STANDS = 16384,
    MERGE_LANES = 32,
    MERGE_LANE_BYTES = 30,
    MERGE_LANE_PLACES = MERGE_LANE_BYTES + 2,
    MERGE_AT_BITS = 5,
    MERGE_LANE_ASKED = MERGE_LANE_BYTES / TOKEN_CHAR_BYTES,
};

/* A piece of 2 to MERGE_LANE_BYTES bytes, and the tokens that it has been merged to so far. */
struct merge_lane {
    const char *p;
    uint32_t n, tokens;
};

/* A pair that is looked up. */
struct merge_asked {
    uint64_t hash, pair;
    const uint64_t *place;
    uint32_t at;
};

/*
 * A piece on its way, by the places of what it began as (its bytes, mostly): the tokens that begin
 * there (a bit each), and what each and the next one join to (ranks above MERGE_AT_BITS of the
 * place).  Before and behind them is one more that is TOKEN_NONE, which nothing is joined to, so that
 * no end has to be looked out for.
 */
struct merge_way {
    _Alignas(16) uint32_t joined[MERGE_LANE_PLACES];
    uint32_t tokens[MERGE_LANE_PLACES];
    struct merge_lane *lane;
    uint32_t begins;
    bool is_wide; /* some are in the second half of the places */
    struct merge_asked asked[MERGE_LANE_ASKED];
};

/* What one thread remembers of one vocabulary, and its room to work; all zero to begin with. */
struct merge {
    const struct token_tables *tables;
    uint64_t stands[MERGE_STANDS];
    uint32_t row[2][MERGE_WINDOW_BYTES];
    uint64_t dead[MERGE_WINDOW_BYTES / 64 + 1];
    struct merge_way ways[MERGE_LANES];
};

static inline const void *merge_table(const struct token_tables *t, uint32_t at)
{
    return (const char *)t + at;
}

/* A bit of the filter: false where the two are never joined. */
static inline bool merge_may_join(const struct token_tables *t, uint64_t hash)
{
    const unsigned char *filter = merge_table(t, t->filter_at);
    size_t at = token_place(hash, t->filter_bits);

    return (filter[at / 8] >> at % 8 & 1) != 0;
}

/* What two tokens of this hash join to, TOKEN_NONE where to nothing. */
static inline uint32_t merge_pair(const struct token_tables *t, uint64_t hash, uint64_t pair)
{
    const uint64_t *table = merge_table(t, t->pairs_at);
    size_t mask = ((size_t)1 << t->pair_bits) - 1;

    for (size_t at = token_place(hash, t->pair_bits); table[at] != TOKEN_PAIR_EMPTY;
         at = (at + 1) & mask) {
        if (table[at] >> TOKEN_RANK_BITS == pair)
            return (uint32_t)table[at] & TOKEN_RANK_MASK;
    }
    return TOKEN_NONE;
}

/* The token of exactly these bytes, TOKEN_NONE where there is none. */
uint32_t merge_find(const struct token_tables *tables, const char *p, size_t n);

/* The same of more than TOKEN_SHORT_BYTES and at most TOKEN_MAX_BYTES, whose token_longer_hash it is. */
uint32_t merge_find_longer(const struct token_tables *tables, const char *p, size_t n,
                           uint64_t hash);

/*
 * Tokens of the piece p, n > 0 bytes, which as a whole is none.  ids: where the ranks go,
 * room for n; or NULL.  Allocates only for a piece beyond a window in which no two
 * windows meet.
 */
size_t merge_row(struct merge *m, const char *p, size_t n, uint32_t *ids);

/*
 * Merges up to MERGE_LANES pieces by the book, all of them side by side: while one waits for its
 * place in the tables the others go on.  Short pieces of small letters are quicker so than from the
 * left, where most of the longest tokens turn out to be wrong.
 */
void merge_lanes(struct merge *m, struct merge_lane *lanes, size_t n);

/*
 * Cuts the piece p..end between characters of three bytes where no token holds bytes of both: merging
 * never passes there, so the parts have the tokens that the whole has.  Parts are short and come
 * again, where a piece is a whole sentence that does not.  The ends of at most max > 1 parts go
 * to ends; returns how many.  The last one is `end` if there was room.
 */
size_t merge_parts(const struct token_tables *tables, const char *p, const char *end,
                   const char **ends, size_t max);

/* Tokens of any piece, and their ranks. */
static inline size_t merge_piece(struct merge *m, const char *p, size_t n, uint32_t *ids)
{
    uint32_t token = merge_find(m->tables, p, n);

    if (token == TOKEN_NONE)
        return merge_row(m, p, n, ids);
    ids[0] = token;
    return 1;
}

#endif
