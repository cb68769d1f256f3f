/*
 * The trie of the tokens that merging can produce, as a double array (token_tables.h).
 */
#include <stdlib.h>

#include "metering/usage/vocab/compile_int.h"

enum { NODES_MAX = 1 << 21 };

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

void make_trie(const struct vocabulary *v, struct trie *t)
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
