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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metering/usage/token_class.h"
#include "metering/usage/vocab/compile_int.h"

enum { TOKENS_MAX = TOKEN_NONE, FILE_MAX_BYTES = 8 << 20 };

_Noreturn void stop(const char *what)
{
    fprintf(stderr, "compile: %s\n", what);
    exit(1);
}

void *get(size_t count, size_t size)
{
    void *block = calloc(count ? count : 1, size);

    if (block == NULL)
        stop("no memory");
    return block;
}

unsigned bits_for(size_t n)
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

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t hash = n;

    for (size_t i = 0; i < n; i++)
        hash = token_mix(hash ^ (unsigned char)p[i]);
    return hash;
}

uint32_t find(const struct vocabulary *v, const char *p, size_t n)
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

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(bytes, 1, n, file) != n || fclose(file) != 0)
        stop(path);
}

static void compile_vocabulary(const char *source, const char *target)
{
    struct vocabulary v = {0};
    struct image image = {0};
    struct trie trie = {0};

    read_tokens(&v, source);
    v.splits = get(v.n, sizeof(*v.splits));
    v.reached = get(v.n, sizeof(*v.reached));
    for (uint32_t rank = 0; rank < v.n; rank++)
        split_token(&v, rank);
    make_trie(&v, &trie);
    place_tables(&v, &trie, &image);
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
