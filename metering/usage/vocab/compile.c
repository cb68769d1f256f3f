/*
 * compile.c - makes the ready-made tables that the binary carries; runs when it is built.
 *
 *     compile vocabulary ENCODING.tokens OUT     see token_tables.h
 *     compile classes classes.txt OUT            page of each 128 code points, then the pages
 *
 * Its input is part of the project.  What token_merge.c relies on is proved here for
 * every token, or the build fails: a token that merging can produce is worth a higher
 * rank than the two that it is joined from.  It follows that ranks never fall while a
 * text is merged, and that no two pairs join to one token.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metering/usage/token_class.h"
#include "metering/usage/token_tables.h"

enum { TOKENS_MAX = TOKEN_NONE, FILE_MAX_BYTES = 8 << 20, NODES_MAX = 1 << 21 };

_Noreturn static void stop(const char *what)
{
    fprintf(stderr, "compile: %s\n", what);
    exit(1);
}

static void *get(size_t count, size_t size)
{
    void *block = calloc(count ? count : 1, size);

    if (block == NULL)
        stop("no memory");
    return block;
}

static unsigned bits_for(size_t n)
{
    unsigned bits = 4;

    while ((size_t)1 << bits < n)
        bits++;
    return bits;
}

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    char *bytes = get(FILE_MAX_BYTES + 16, 1);

    if (file == NULL)
        stop(path);
    *n = fread(bytes, 1, FILE_MAX_BYTES, file);
    if (ferror(file) || !feof(file))
        stop(path);
    fclose(file);
    return bytes;
}

struct vocabulary {
    uint32_t n;
    uint32_t *offsets;
    char *pool;
    uint32_t *by_bytes; /* all tokens by their bytes: rank + 1 */
    unsigned by_bits;
    struct token_split *splits;
    bool *reached; /* merging its bytes ends in it */
};

static size_t length_of(const struct vocabulary *v, uint32_t rank)
{
    return v->offsets[rank + 1] - v->offsets[rank];
}

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t hash = n;

    for (size_t i = 0; i < n; i++)
        hash = token_mix(hash ^ (unsigned char)p[i]);
    return hash;
}

static uint32_t find(const struct vocabulary *v, const char *p, size_t n)
{
    size_t mask = ((size_t)1 << v->by_bits) - 1;
    size_t at = hash_bytes(p, n) & mask;

    for (; v->by_bytes[at] != 0; at = (at + 1) & mask) {
        uint32_t rank = v->by_bytes[at] - 1;

        if (length_of(v, rank) == n && memcmp(v->pool + v->offsets[rank], p, n) == 0)
            return rank;
    }
    return TOKEN_NONE;
}

static void read_tokens(struct vocabulary *v, const char *path)
{
    size_t n, at = 0, used = 0, mask;
    char *bytes = read_file(path, &n);

    v->offsets = get(TOKENS_MAX + 1, sizeof(*v->offsets));
    v->pool = get(n + 16, 1);
    while (at < n) {
        size_t length = (unsigned char)bytes[at++];

        if (length == 0 || length > TOKEN_MAX_BYTES || length > n - at || v->n == TOKENS_MAX)
            stop("a token is empty, too long or one too many");
        memcpy(v->pool + used, bytes + at, length);
        used += length;
        at += length;
        v->offsets[++v->n] = (uint32_t)used;
    }
    free(bytes);
    v->by_bits = bits_for((size_t)v->n * 2);
    v->by_bytes = get((size_t)1 << v->by_bits, sizeof(*v->by_bytes));
    mask = ((size_t)1 << v->by_bits) - 1;
    for (uint32_t rank = 0; rank < v->n; rank++) {
        const char *p = v->pool + v->offsets[rank];
        size_t place = hash_bytes(p, length_of(v, rank)) & mask;

        if (find(v, p, length_of(v, rank)) != TOKEN_NONE)
            stop("a token stands there twice");
        while (v->by_bytes[place] != 0)
            place = (place + 1) & mask;
        v->by_bytes[place] = rank + 1;
    }
}

/* Merges a token's bytes by the book: the lowest rank first, of equals the leftmost. */
static void split_token(struct vocabulary *v, uint32_t rank)
{
    const char *p = v->pool + v->offsets[rank];
    size_t n = length_of(v, rank), ends[TOKEN_MAX_BYTES + 1], parts = n;

    v->splits[rank] = (struct token_split){TOKEN_NONE, TOKEN_NONE, 0, 0};
    for (size_t i = 0; i <= n; i++)
        ends[i] = i;
    while (parts > 2) {
        uint32_t best = TOKEN_NONE;
        size_t best_at = 0;

        for (size_t i = 0; i + 2 <= parts; i++) {
            uint32_t joined = find(v, p + ends[i], ends[i + 2] - ends[i]);

            if (joined < best) {
                best = joined;
                best_at = i;
            }
        }
        if (best == TOKEN_NONE || best == rank)
            return;
        memmove(ends + best_at + 1, ends + best_at + 2,
                (parts - best_at - 1) * sizeof(ends[0]));
        parts--;
    }
    v->reached[rank] = true;
    if (parts == 1)
        return;
    v->splits[rank].left = find(v, p, ends[1]);
    v->splits[rank].right = find(v, p + ends[1], n - ends[1]);
    if (v->splits[rank].left >= rank || v->splits[rank].right >= rank)
        stop("a token is joined from one of a higher rank");
}

/* ---- the trie ---------------------------------------------------------------- */

struct trie {
    struct token_node *nodes;
    uint32_t *token; /* TOKEN_NONE where it is only a prefix */
    uint32_t n;      /* places in use, and 256 behind them */
    uint32_t first_free;
};

struct sorted {
    const struct vocabulary *v;
    uint32_t *ranks;
    uint32_t n;
};

static const struct vocabulary *sorting;

static int compare_tokens(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    size_t nx = length_of(sorting, x), ny = length_of(sorting, y);
    int order = memcmp(sorting->pool + sorting->offsets[x], sorting->pool + sorting->offsets[y],
                       nx < ny ? nx : ny);

    return order != 0 ? order : (nx > ny) - (nx < ny);
}

static unsigned byte_at(const struct sorted *s, uint32_t i, size_t depth)
{
    return (unsigned char)s->v->pool[s->v->offsets[s->ranks[i]] + depth];
}

/* A base at which all n children find room. */
static uint32_t find_base(struct trie *t, const unsigned char *children, unsigned n)
{
    uint32_t place = t->first_free;

    while (t->nodes[t->first_free].check != TOKEN_NODE_FREE)
        t->first_free++;
    for (place = t->first_free > children[0] ? t->first_free : children[0];; place++) {
        uint32_t base = place - children[0];
        unsigned i = 0;

        if (place + 256 >= NODES_MAX)
            stop("the trie is too large");
        while (i < n && t->nodes[base + children[i]].check == TOKEN_NODE_FREE)
            i++;
        if (i == n)
            return base;
    }
}

/* The tokens from..to share `depth` bytes, which lead to `node`. */
static void grow(struct trie *t, const struct sorted *s, uint32_t from, uint32_t to,
                 size_t depth, uint32_t node)
{
    unsigned char children[256];
    uint32_t begin[257], base;
    unsigned n = 0;

    if (length_of(s->v, s->ranks[from]) == depth)
        t->token[node] = s->ranks[from++];
    for (uint32_t i = from; i < to; i++) {
        if (i == from || byte_at(s, i, depth) != byte_at(s, i - 1, depth)) {
            children[n] = (unsigned char)byte_at(s, i, depth);
            begin[n++] = i;
        }
    }
    if (n == 0)
        return;
    begin[n] = to;
    base = find_base(t, children, n);
    t->nodes[node].base = base;
    for (unsigned i = 0; i < n; i++) {
        t->nodes[base + children[i]].check = node;
        if (base + children[i] >= t->n)
            t->n = base + children[i] + 1;
    }
    for (unsigned i = 0; i < n; i++)
        grow(t, s, begin[i], begin[i + 1], depth + 1, base + children[i]);
}

static void make_trie(const struct vocabulary *v, struct trie *t)
{
    struct sorted s = {.v = v, .ranks = get(v->n, sizeof(uint32_t))};

    for (uint32_t rank = 0; rank < v->n; rank++) {
        if (v->reached[rank])
            s.ranks[s.n++] = rank;
    }
    sorting = v;
    qsort(s.ranks, s.n, sizeof(*s.ranks), compare_tokens);
    t->nodes = get(NODES_MAX, sizeof(*t->nodes));
    t->token = get(NODES_MAX, sizeof(*t->token));
    for (size_t i = 0; i < NODES_MAX; i++) {
        t->nodes[i].check = TOKEN_NODE_FREE;
        t->token[i] = TOKEN_NONE;
    }
    t->nodes[TOKEN_NODE_ROOT].check = TOKEN_NODE_ROOT;
    t->n = 1;
    grow(t, &s, 0, s.n, 0, TOKEN_NODE_ROOT);
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->token[i] != TOKEN_NONE)
            t->nodes[i].base |= TOKEN_NODE_ENDS;
    }
    t->n += 256; /* a child's place can be looked at wherever its parent's base is */
    free(s.ranks);
}

/* ---- the whole ----------------------------------------------------------------- */

struct image {
    char *bytes;
    size_t n;
};

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

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(bytes, 1, n, file) != n || fclose(file) != 0)
        stop(path);
}

static void compile_vocabulary(const char *source, const char *target)
{
    struct vocabulary v = {0};
    struct token_tables h = {.magic = TOKEN_TABLES_MAGIC};
    struct image image = {0};
    struct trie trie = {0};

    read_tokens(&v, source);
    v.splits = get(v.n, sizeof(*v.splits));
    v.reached = get(v.n, sizeof(*v.reached));
    for (uint32_t rank = 0; rank < v.n; rank++)
        split_token(&v, rank);
    make_trie(&v, &trie);
    h.n_tokens = v.n;
    h.n_nodes = trie.n;
    (void)place(&image, &h, sizeof(h));
    place_keys(&v, &image, &h);
    place_longer(&v, &image, &h);
    h.offsets_at = place(&image, v.offsets, (v.n + 1) * sizeof(*v.offsets));
    h.pool_at = place(&image, v.pool, v.offsets[v.n] + 16);
    h.nodes_at = place(&image, trie.nodes, trie.n * sizeof(*trie.nodes));
    h.node_token_at = place(&image, trie.token, trie.n * sizeof(*trie.token));
    place_splits(&v, &image, &h);
    place_pairs(&v, &image, &h);
    place_filter(&v, &image, &h);
    place_prefixes(&v, &image, &h);
    place_bytes(&v, &image, &h);
    place_borders(&v, &image, &h);
    h.size = (uint32_t)image.n;
    memcpy(image.bytes, &h, sizeof(h));
    write_file(target, image.bytes, image.n);
    free(image.bytes);
    free(trie.nodes);
    free(trie.token);
    free(v.offsets);
    free(v.pool);
    free(v.by_bytes);
    free(v.splits);
    free(v.reached);
}

/* ---- classes ------------------------------------------------------------------- */

static unsigned char class_named(char name)
{
    switch (name) {
    case 'U':
        return CLASS_UPPER;
    case 'l':
        return CLASS_LOWER;
    case 'o':
        return CLASS_CASELESS;
    case 'm':
        return CLASS_MARK;
    case 'n':
        return CLASS_NUMBER;
    case 's':
        return CLASS_SPACE;
    case 'r':
        return CLASS_NEWLINE;
    default:
        stop("a class that is none");
    }
}

static void compile_classes(const char *source, const char *target)
{
    enum { PAGE = 1 << CLASS_PAGE_BITS };
    static unsigned char all[0x110000];
    static unsigned char image[CLASS_PAGES * 2 + sizeof(all)];
    FILE *file = fopen(source, "r");
    unsigned first, last, n_pages = 0;
    uint16_t page_of[CLASS_PAGES];
    char line[128], name;
    size_t n = sizeof(page_of);

    if (file == NULL)
        stop(source);
    memset(all, CLASS_OTHER, sizeof(all));
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] == '#')
            continue;
        if (sscanf(line, "%x %x %c", &first, &last, &name) != 3 || /* allow: sscanf, our own file */
            first > last || last >= sizeof(all))
            stop(source);
        memset(all + first, class_named(name), last - first + 1);
    }
    fclose(file);
    for (unsigned i = 0; i < CLASS_PAGES; i++) {
        unsigned page = 0;

        while (page < n_pages && memcmp(image + n + page * PAGE, all + i * PAGE, PAGE) != 0)
            page++;
        if (page == n_pages)
            memcpy(image + n + n_pages++ * PAGE, all + i * PAGE, PAGE);
        page_of[i] = (uint16_t)page;
    }
    memcpy(image, page_of, sizeof(page_of));
    write_file(target, image, n + (size_t)n_pages * PAGE);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "vocabulary") == 0)
        compile_vocabulary(argv[2], argv[3]);
    else if (argc == 4 && strcmp(argv[1], "classes") == 0)
        compile_classes(argv[2], argv[3]);
    else
        stop("vocabulary|classes SOURCE TARGET");
    return 0;
}
