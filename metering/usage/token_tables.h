/*
 * token_tables.h - how the ready-made tables of a vocabulary lie in the binary.
 *
 * vocab/compile_tables.c writes them when the program is built, token_merge.c reads them
 * in place: nothing is loaded, allocated or locked when the program starts.  All
 * numbers are of the machine's own byte order, all parts begin at multiples of 64.
 *
 *   keys    tokens of at most 8 bytes, by their bytes: open addressing; and their ranks
 *   longer  the other tokens, by a hash of their bytes: rank and a check of the hash
 *   nodes   a trie of the tokens that merging can produce, as a double array
 *   pairs   which two tokens merge into a third: exactly one pair a token
 *   filter  a bit by the same hash: where it is zero there is no such pair
 *   borders  of each character of three bytes, which others a token may hold behind it
 *   chars   the tokens of these characters
 *   bytes   the tokens of single bytes, and what each two of them join to
 */
#ifndef METERING_USAGE_TOKEN_TABLES_H
#define METERING_USAGE_TOKEN_TABLES_H

#include <stdbool.h>
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
#define TOKEN_TABLES_MAGIC 0x746b7638u
#define TOKEN_NODE_FREE UINT32_MAX /* check of a place that is no node */

/* Offsets from the header's begin, in bytes. */
struct token_tables {
    uint32_t magic, n_tokens;
    uint32_t key_bits, longer_bits, pair_bits, n_nodes;
    uint32_t keys_at, ranks_at, longer_at, offsets_at, pool_at, nodes_at, node_token_at;
    uint32_t splits_at, pairs_at, filter_at, prefixes_at, size;
    uint32_t filter_bits, bytes_at, byte_pairs_at, borders_at, chars_at;
};

/*
 * The child by byte c of a node s is its base + c, if that one's check is s.  Of a node
 * at which a token ends bit 31 of the base is set.
 */
struct token_node {
    uint32_t base, check;
};
#define TOKEN_NODE_ENDS (UINT32_C(1) << 31)

/*
 * What merging a token joined last; of single bytes both are TOKEN_NONE.  Above the ranks: classes
 * of the token's own first byte (in left) and last byte (in right).
 *
 * Taking a token apart to its right, and what comes of that again, ends in the token's last byte
 * each time; `after` holds a bit for the class of the first byte of every token that the book
 * joins to the right of one of these.  `before` is the same of taking it apart to its left: last
 * bytes of what is joined to the left.
 */
struct token_split {
    uint32_t left, right;
    uint32_t after, before;
};
enum { TOKEN_BYTE_CLASSES = 32 };

static inline unsigned token_byte_class(char c)
{
    return (unsigned char)c % TOKEN_BYTE_CLASSES;
}

/*
 * Characters of three bytes, as most of Asia writes: a word of bits for each index.  The bit of another
 * one is zero if no token holds any bytes of both, where they stand beside each other.
 */
enum { TOKEN_CHARS = 1 << 16, TOKEN_CHAR_BYTES = 3 };

/*
 * Above the rank of a character's token (TOKEN_NONE: it is none): some token holds this character and
 * only a part of the one behind it; or a part of the one before it.  Between two of which
 * neither is so, what is merged across holds both, so that each is a token of its own before.
 */
enum {
    TOKEN_CHAR_PART_BEHIND = 1 << TOKEN_RANK_BITS,
    TOKEN_CHAR_PART_BEFORE = 2 << TOKEN_RANK_BITS,
};

static inline bool token_is_char(const char *p)
{
    return ((unsigned char)p[0] & 0xf0) == 0xe0 && ((unsigned char)p[1] & 0xc0) == 0x80 &&
           ((unsigned char)p[2] & 0xc0) == 0x80;
}

/* The same of a character of well-formed text. */
static inline bool token_begins_char(const char *p)
{
    return ((unsigned char)p[0] & 0xf0) == 0xe0;
}

static inline uint32_t token_char_index(const char *p)
{
    return ((unsigned char)p[0] & 0xfu) << 12 | ((unsigned char)p[1] & 0x3fu) << 6 |
           ((unsigned char)p[2] & 0x3fu);
}

/* Which bit: two of them for all characters that share their first two bytes, behind which some
 * tokens end. */
static inline unsigned token_char_bit(uint32_t index)
{
    return ((index >> 12) * 5 + (index >> 6)) % 32 * 2 + index % 2;
}

/* A slot of `longer` is rank and, above it, a check of the hash; of `pairs` all three ranks. */
#define TOKEN_SLOT_EMPTY UINT32_MAX
#define TOKEN_PAIR_EMPTY UINT64_MAX

static inline uint32_t token_slot(uint64_t hash, uint32_t rank)
{
    return (uint32_t)(hash & 0x3fff) << TOKEN_RANK_BITS | rank;
}

static inline uint64_t token_pair(uint32_t left, uint32_t right)
{
    return (uint64_t)left << TOKEN_RANK_BITS | right;
}

static inline uint64_t token_mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 32;
}

static inline uint64_t token_load8(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/*
 * The key of 1 to 8 bytes at p, of which 8 may be read: the bytes, zeros, and in the last byte the
 * length where it is free.  Two texts share a key only where one has 8 bytes, of which the
 * last is 7 or less: see token_is_odd.
 */
static inline uint64_t token_key(const char *p, size_t n)
{
    uint64_t key = token_load8(p);

    return n == 8 ? key : (key & ((UINT64_C(1) << n * 8) - 1)) | (uint64_t)n << 56;
}

/* Such a text of 8 bytes has no key: no token is one. */
static inline int token_is_odd(const char *p, size_t n)
{
    return n == 8 && (unsigned char)p[7] < 8;
}

static inline uint64_t token_key_hash(uint64_t key)
{
    return (key ^ key >> 29) * UINT64_C(0x9e3779b97f4a7c15);
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
    return token_mix(token_pair(left, right));
}

/* The place of a hash in a table of 2^bits. */
static inline size_t token_place(uint64_t hash, uint32_t bits)
{
    return (size_t)(hash >> (64 - bits));
}

#endif
