/*
 * The tables of a vocabulary, one behind the other (token_tables.h).
 */
#include <stdlib.h>
#include <string.h>

#include "metering/usage/vocab/compile_int.h"

static uint32_t place(struct image *image, const void *bytes, size_t n)
{
    size_t at = (image->n + TOKEN_TABLE_ALIGN - 1) / TOKEN_TABLE_ALIGN * TOKEN_TABLE_ALIGN;

    image->bytes = realloc(image->bytes, at + n);
    if (image->bytes == NULL)
        stop("no memory");
    memset(image->bytes + image->n, 0, at - image->n);
    memcpy(image->bytes + at, bytes, n);
    image->n = at + n;
    return (uint32_t)at;
}

static void place_keys(const struct vocabulary *v, struct image *image, struct token_tables *h)
{
    uint32_t n = 0, *ranks;
    uint64_t *keys;
    size_t mask;

    for (uint32_t rank = 0; rank < v->n; rank++)
        n += length_of(v, rank) <= TOKEN_SHORT_BYTES;
    h->key_bits = bits_for((size_t)n * 3 / 2);
    mask = ((size_t)1 << h->key_bits) - 1;
    keys = get(mask + 1, sizeof(*keys)); /* no key is 0 */
    ranks = get(mask + 1, sizeof(*ranks));
    for (uint32_t rank = 0; rank < v->n; rank++) {
        const char *p = v->pool + v->offsets[rank];
        size_t length = length_of(v, rank), at;

        if (length > TOKEN_SHORT_BYTES)
            continue;
        if (token_is_odd(p, length))
            stop("a token has no key");
        at = token_place(token_key_hash(token_key(p, length)), h->key_bits);
        while (keys[at] != 0)
            at = (at + 1) & mask;
        keys[at] = token_key(p, length);
        ranks[at] = rank;
    }
    h->keys_at = place(image, keys, sizeof(*keys) << h->key_bits);
    h->ranks_at = place(image, ranks, sizeof(*ranks) << h->key_bits);
    free(keys);
    free(ranks);
}

static void put_slot(uint32_t *table, uint32_t bits, uint64_t hash, uint32_t rank)
{
    size_t at = token_place(hash, bits), mask = ((size_t)1 << bits) - 1;

    while (table[at] != TOKEN_SLOT_EMPTY)
        at = (at + 1) & mask;
    table[at] = token_slot(hash, rank);
}

static uint32_t *empty_slots(uint32_t bits)
{
    uint32_t *table = get((size_t)1 << bits, sizeof(*table));

    memset(table, 0xff, sizeof(*table) << bits);
    return table;
}

static void place_longer(const struct vocabulary *v, struct image *image,
                         struct token_tables *h)
{
    uint32_t n = 0, *table;

    for (uint32_t rank = 0; rank < v->n; rank++)
        n += length_of(v, rank) > TOKEN_SHORT_BYTES;
    h->longer_bits = bits_for((size_t)n * 2);
    table = empty_slots(h->longer_bits);
    for (uint32_t rank = 0; rank < v->n; rank++) {
        size_t length = length_of(v, rank);

        if (length > TOKEN_SHORT_BYTES)
            put_slot(table, h->longer_bits,
                     token_longer_hash(v->pool + v->offsets[rank], length), rank);
    }
    h->longer_at = place(image, table, sizeof(*table) << h->longer_bits);
    free(table);
}

/* Ranks rise from a token's parts to itself, so that these are complete when it is looked at. */
static void place_splits(const struct vocabulary *v, struct image *image,
                         struct token_tables *h)
{
    struct token_split *splits = get(v->n, sizeof(*splits));

    memcpy(splits, v->splits, v->n * sizeof(*splits));
    for (uint32_t rank = 0; rank < v->n; rank++) {
        uint32_t left = v->splits[rank].left, right = v->splits[rank].right;

        if (!v->reached[rank] || left == TOKEN_NONE)
            continue;
        splits[left].after |= UINT32_C(1) << token_byte_class(v->pool[v->offsets[right]]);
        splits[right].before |= UINT32_C(1) << token_byte_class(v->pool[v->offsets[left + 1] - 1]);
    }
    for (uint32_t rank = 0; rank < v->n; rank++) {
        struct token_split *split = &splits[rank];

        if (split->left != TOKEN_NONE) {
            split->after |= splits[split->right & TOKEN_RANK_MASK].after;
            split->before |= splits[split->left & TOKEN_RANK_MASK].before;
        }
        split->left |= token_byte_class(v->pool[v->offsets[rank]]) << TOKEN_RANK_BITS;
        split->right |= token_byte_class(v->pool[v->offsets[rank + 1] - 1]) << TOKEN_RANK_BITS;
    }
    h->splits_at = place(image, splits, v->n * sizeof(*splits));
    free(splits);
}

static void place_pairs(const struct vocabulary *v, struct image *image, struct token_tables *h)
{
    size_t mask, size;
    uint64_t *table;

    h->pair_bits = bits_for((size_t)v->n * 3 / 2);
    size = (size_t)1 << h->pair_bits;
    mask = size - 1;
    table = get(size, sizeof(*table));
    memset(table, 0xff, size * sizeof(*table));
    for (uint32_t rank = 0; rank < v->n; rank++) {
        const struct token_split *split = &v->splits[rank];
        size_t at;

        if (!v->reached[rank] || split->left == TOKEN_NONE)
            continue;
        at = token_place(token_pair_hash(split->left, split->right), h->pair_bits);
        while (table[at] != TOKEN_PAIR_EMPTY)
            at = (at + 1) & mask;
        table[at] = token_pair(split->left, split->right) << TOKEN_RANK_BITS | rank;
    }
    h->pairs_at = place(image, table, size * sizeof(*table));
    free(table);
}

static void place_filter(const struct vocabulary *v, struct image *image,
                         struct token_tables *h)
{
    unsigned char *filter;

    h->filter_bits = bits_for((size_t)v->n * 8);
    filter = get((size_t)1 << (h->filter_bits - 3), 1);
    for (uint32_t rank = 0; rank < v->n; rank++) {
        const struct token_split *split = &v->splits[rank];

        if (v->reached[rank] && split->left != TOKEN_NONE) {
            size_t at = token_place(token_pair_hash(split->left, split->right), h->filter_bits);

            filter[at / 8] = (unsigned char)(filter[at / 8] | 1u << at % 8);
        }
    }
    h->filter_at = place(image, filter, (size_t)1 << (h->filter_bits - 3));
    free(filter);
}

/* Two bytes join to the token of these, for any that merging can produce: it was joined from no other. */
static void place_bytes(const struct vocabulary *v, struct image *image, struct token_tables *h)
{
    enum { BYTES = 256 };
    uint32_t bytes[BYTES], *pairs = get((size_t)BYTES * BYTES, sizeof(*pairs));

    for (unsigned c = 0; c < BYTES; c++) {
        char byte = (char)c;

        bytes[c] = find(v, &byte, 1);
        if (bytes[c] == TOKEN_NONE)
            stop("a byte is no token");
    }
    for (unsigned i = 0; i < BYTES * BYTES; i++) {
        char both[2] = {(char)(i / BYTES), (char)(i % BYTES)};

        pairs[i] = find(v, both, sizeof(both));
    }
    h->bytes_at = place(image, bytes, sizeof(bytes));
    h->byte_pairs_at = place(image, pairs, (size_t)BYTES * BYTES * sizeof(*pairs));
    free(pairs);
}

static bool is_behind_lead(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return false;
    }
    return true;
}

/* What of a character of three bytes is at p, n bytes of it: the indices that it may be. */
static uint32_t index_mask(size_t n)
{
    return n >= TOKEN_CHAR_BYTES ? TOKEN_CHARS - 1 : n == 2 ? 0xffc0 : 0xf000;
}

/* The token holds the `before` bytes in front of p and the `behind` bytes at p. */
static void put_border(uint64_t *borders, uint32_t *chars, const char *p, size_t before,
                       size_t behind)
{
    char first[TOKEN_CHAR_BYTES] = {0}, second[TOKEN_CHAR_BYTES] = {0};
    uint32_t mask = before == 3 ? TOKEN_CHARS - 1 : before == 2 ? 0xfff : 0x3f;
    uint64_t bits = 0;

    memcpy(first + TOKEN_CHAR_BYTES - before, p - before, before);
    memcpy(second, p, behind);
    for (uint32_t i = 0; i < TOKEN_CHARS; i++) {
        if (((i ^ token_char_index(second)) & index_mask(behind)) != 0)
            continue;
        bits |= UINT64_C(1) << token_char_bit(i);
        chars[i] |= before < TOKEN_CHAR_BYTES ? TOKEN_CHAR_PART_BEFORE : 0;
    }
    for (uint32_t i = 0; i < TOKEN_CHARS; i++) {
        if (((i ^ token_char_index(first)) & mask) != 0)
            continue;
        borders[i] |= bits;
        chars[i] |= behind < TOKEN_CHAR_BYTES ? TOKEN_CHAR_PART_BEHIND : 0;
    }
}

/* For each place in each token that may be the border of two characters of three bytes. */
static void place_borders(const struct vocabulary *v, struct image *image,
                          struct token_tables *h)
{
    uint64_t *borders = get(TOKEN_CHARS, sizeof(*borders));
    uint32_t *chars = get(TOKEN_CHARS, sizeof(*chars));

    for (uint32_t i = 0; i < TOKEN_CHARS; i++) {
        char p[TOKEN_CHAR_BYTES] = {(char)(0xe0 | i >> 12), (char)(0x80 | (i >> 6 & 0x3f)),
                                    (char)(0x80 | (i & 0x3f))};

        chars[i] = find(v, p, sizeof(p));
    }
    for (uint32_t rank = 0; rank < v->n; rank++) {
        const char *p = v->pool + v->offsets[rank];
        size_t n = length_of(v, rank);

        for (size_t i = 1; i < n; i++) {
            size_t before = i < TOKEN_CHAR_BYTES ? i : TOKEN_CHAR_BYTES;
            size_t behind = n - i < TOKEN_CHAR_BYTES ? n - i : TOKEN_CHAR_BYTES;

            if (((unsigned char)p[i] & 0xf0) != 0xe0 || !is_behind_lead(p + i + 1, behind - 1))
                continue;
            if (before == TOKEN_CHAR_BYTES ? token_is_char(p + i - before)
                                           : is_behind_lead(p, before))
                put_border(borders, chars, p + i, before, behind);
        }
    }
    h->borders_at = place(image, borders, TOKEN_CHARS * sizeof(*borders));
    h->chars_at = place(image, chars, TOKEN_CHARS * sizeof(*chars));
    free(chars);
    free(borders);
}

/* Of each token the longest one that it begins with. */
static void place_prefixes(const struct vocabulary *v, struct image *image,
                           struct token_tables *h)
{
    uint32_t *prefixes = get(v->n, sizeof(*prefixes));

    for (uint32_t rank = 0; rank < v->n; rank++) {
        prefixes[rank] = TOKEN_NONE;
        for (size_t n = length_of(v, rank) - 1; n > 0; n--) {
            uint32_t prefix = find(v, v->pool + v->offsets[rank], n);

            if (prefix != TOKEN_NONE && v->reached[prefix]) {
                prefixes[rank] = prefix;
                break;
            }
        }
    }
    h->prefixes_at = place(image, prefixes, v->n * sizeof(*prefixes));
    free(prefixes);
}

void place_tables(const struct vocabulary *v, const struct trie *trie, struct image *image)
{
    struct token_tables h = {
        .magic = TOKEN_TABLES_MAGIC, .n_tokens = v->n, .n_nodes = trie->n};

    (void)place(image, &h, sizeof(h));
    place_keys(v, image, &h);
    place_longer(v, image, &h);
    h.offsets_at = place(image, v->offsets, (v->n + 1) * sizeof(*v->offsets));
    h.pool_at = place(image, v->pool, v->offsets[v->n] + 16);
    h.nodes_at = place(image, trie->nodes, trie->n * sizeof(*trie->nodes));
    h.node_token_at = place(image, trie->token, trie->n * sizeof(*trie->token));
    place_splits(v, image, &h);
    place_pairs(v, image, &h);
    place_filter(v, image, &h);
    place_prefixes(v, image, &h);
    place_bytes(v, image, &h);
    place_borders(v, image, &h);
    h.size = (uint32_t)image->n;
    memcpy(image->bytes, &h, sizeof(h));
}
