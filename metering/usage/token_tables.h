/*
 * token_tables.h - how the ready-made tables of a vocabulary lie in the binary.
 *
 * vocab/compile.c writes them when the program is built, token_merge.c reads them
 * in place: nothing is loaded, allocated or locked when the program starts.  All
 * numbers are of the machine's own byte order, all parts begin at multiples of 64.
 *
 *   short   tokens of at most 8 bytes, by their bytes: open addressing
 *   longer  the other tokens, by a hash of their bytes: rank and a check of the hash
 *   nodes   a trie of the tokens that merging can produce, as a double array
 *   pairs   which two tokens merge into a third: exactly one pair a token
 */
#ifndef METERING_USAGE_TOKEN_TABLES_H
#define METERING_USAGE_TOKEN_TABLES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    TOKEN_SHORT_BYTES = 8,
    TOKEN_MAX_BYTES = 128, /* of the longest token in either vocabulary */
    TOKEN_RANK_BITS = 18,
    TOKEN_RANK_MASK = (1 << TOKEN_RANK_BITS) - 1,
    TOKEN_NONE = TOKEN_RANK_MASK, /* no token has this rank */
    TOKEN_TABLE_ALIGN = 64,
    TOKEN_NODE_ROOT = 0,
    CLASS_PAGE_BITS = 7, /* code points of a page of the class table: 2^7 */
    CLASS_PAGES = 0x110000 >> CLASS_PAGE_BITS,
};
#define TOKEN_TABLES_MAGIC 0x746b7631u
#define TOKEN_NODE_FREE UINT32_MAX /* check of a place that is no node */

/* Offsets from the header's begin, in bytes. */
struct token_tables {
    uint32_t magic, n_tokens;
    uint32_t short_bits, longer_bits, pair_bits, n_nodes;
    uint32_t short_at, longer_at, offsets_at, pool_at, nodes_at, node_token_at;
    uint32_t splits_at, pairs_at, prefixes_at, size;
};

/* n 0: empty. */
struct token_short {
    uint64_t key; /* the bytes, then zeros */
    uint32_t rank, n;
};

/* The child by byte c of a node s is base + c, if that one's check is s. */
struct token_node {
    uint32_t base, check;
};

/* What merging a token joined last; of single bytes both TOKEN_NONE. */
struct token_split {
    uint32_t left, right;
};

/* A slot of `longer` or `pairs` is rank and, above it, a check of the hash; TOKEN_SLOT_EMPTY
 * where there is none. */
#define TOKEN_SLOT_EMPTY UINT32_MAX

static inline uint32_t token_slot(uint64_t hash, uint32_t rank)
{
    return (uint32_t)(hash & 0x3fff) << TOKEN_RANK_BITS | rank;
}

static inline uint64_t token_mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 32;
}

static inline uint64_t token_short_hash(uint64_t key, size_t n)
{
    return (key ^ (uint64_t)n << 59) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint64_t token_load8(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* Of more than 8 bytes: every byte counts, the last 8 may overlap those before. */
static inline uint64_t token_longer_hash(const char *p, size_t n)
{
    uint64_t hash = n;

    for (size_t i = 0; i + 8 < n; i += 8)
        hash = token_mix(hash ^ token_load8(p + i));
    return token_mix(hash ^ token_load8(p + n - 8));
}

static inline uint64_t token_pair_hash(uint32_t left, uint32_t right)
{
    return token_mix((uint64_t)left << TOKEN_RANK_BITS | right);
}

/* The place of a hash in a table of 2^bits. */
static inline size_t token_place(uint64_t hash, uint32_t bits)
{
    return (size_t)(hash >> (64 - bits));
}

#endif
