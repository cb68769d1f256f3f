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

#include <stddef.h>
#include <stdint.h>

#include "metering/usage/token_tables.h"

enum {
    MERGE_WINDOW_BYTES = 4096,
    MERGE_PAD = 16, /* bytes behind a piece that may be read */
    MERGE_PIECES = 4096,
    MERGE_PIECE_BYTES = 24,
    MERGE_STANDS = 16384,
};

/* A piece of at most 24 bytes and its count. */
struct merge_piece {
    uint64_t word[3];
    uint32_t n, tokens;
};

/* What one thread remembers of one vocabulary, and its room to work; all zero to begin with. */
struct merge {
    const struct token_tables *tables;
    struct merge_piece pieces[MERGE_PIECES];
    uint64_t stands[MERGE_STANDS];
    uint32_t row[2][MERGE_WINDOW_BYTES];
    uint64_t dead[MERGE_WINDOW_BYTES / 64 + 1];
};

/* The token of exactly these bytes, TOKEN_NONE where there is none. */
uint32_t merge_find(const struct token_tables *tables, const char *p, size_t n);

/*
 * Tokens of the piece p, n > 0 bytes, which as a whole is none.  ids: where the ranks go,
 * room for n; or NULL.  Allocates only for a piece beyond a window in which no two
 * windows meet.
 */
size_t merge_row(struct merge *m, const char *p, size_t n, uint32_t *ids);

/*
 * A piece that will be counted soon.  Its place in the tables is asked for while others are cut:
 * the tables are larger than caches, and waiting for one place after another was half the time
 * of counting ordinary text.
 */
struct merge_want {
    const char *p;
    size_t n;
    uint64_t hash;
};

static inline void merge_expect(const struct token_tables *t, struct merge_want *want,
                                const char *p, size_t n)
{
    const char *tables = (const char *)t;

    want->p = p;
    want->n = n;
    if (n <= TOKEN_SHORT_BYTES) {
        want->hash = token_key_hash(token_key(p, n));
        __builtin_prefetch(tables + t->keys_at +
                           token_place(want->hash, t->key_bits) * sizeof(uint64_t));
    } else if (n <= TOKEN_MAX_BYTES) {
        want->hash = token_longer_hash(p, n);
        __builtin_prefetch(tables + t->longer_at +
                           token_place(want->hash, t->longer_bits) * sizeof(uint32_t));
    }
}

/* Tokens of a piece that was expected. */
size_t merge_count(struct merge *m, const struct merge_want *want);

/* Tokens of any piece. */
static inline size_t merge_piece(struct merge *m, const char *p, size_t n, uint32_t *ids)
{
    uint32_t token = merge_find(m->tables, p, n);

    if (token == TOKEN_NONE)
        return merge_row(m, p, n, ids);
    if (ids != NULL)
        ids[0] = token;
    return 1;
}

#endif
