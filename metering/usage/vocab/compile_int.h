/*
 * compile_int.h - what the files of the table compiler share: a vocabulary as it was read, its
 * trie, and the image that the tables are placed in.  It runs when the program is built; what
 * is wrong with its input ends it.
 */
#ifndef METERING_USAGE_VOCAB_COMPILE_INT_H
#define METERING_USAGE_VOCAB_COMPILE_INT_H

#include <stdbool.h>

#include "metering/usage/token_tables.h"

/* Says what is wrong and ends the program. */
_Noreturn void stop(const char *what);
/* Zeroed memory; free() it. */
void *get(size_t count, size_t size);
/* The least table of 2^bits that has n places. */
unsigned bits_for(size_t n);

struct vocabulary {
    uint32_t n;
    uint32_t *offsets;
    char *pool;
    uint32_t *by_bytes; /* all tokens by their bytes: rank + 1 */
    unsigned by_bits;
    struct token_split *splits;
    bool *reached; /* merging its bytes ends in it */
};

static inline size_t length_of(const struct vocabulary *v, uint32_t rank)
{
    return v->offsets[rank + 1] - v->offsets[rank];
}

/* The token of these bytes, TOKEN_NONE where there is none. */
uint32_t find(const struct vocabulary *v, const char *p, size_t n);

struct trie {
    struct token_node *nodes;
    uint32_t *token; /* TOKEN_NONE where it is only a prefix */
    uint32_t n;      /* places in use, and 256 behind them */
    uint32_t first_free;
};

/* Of the tokens that merging can reach; its arrays are the caller's. */
void make_trie(const struct vocabulary *v, struct trie *t);

struct image {
    char *bytes;
    size_t n;
};

/* Header and tables of a vocabulary. */
void place_tables(const struct vocabulary *v, const struct trie *trie, struct image *image);

#endif
