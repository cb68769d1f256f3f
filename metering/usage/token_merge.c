#include "metering/usage/token_merge.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"

enum { DEAD_WORD_BITS = 64, OVERLAPS = 3 };

static inline size_t token_length(const struct token_tables *t, uint32_t token)
{
    const uint32_t *offsets = merge_table(t, t->offsets_at);

    return offsets[token + 1] - offsets[token];
}

/* ---- whole pieces -------------------------------------------------------------- */

static uint32_t find_short(const struct token_tables *t, const char *p, size_t n)
{
    const uint64_t *keys = merge_table(t, t->keys_at);
    const uint32_t *ranks = merge_table(t, t->ranks_at);
    uint64_t key = token_key(p, n);
    size_t mask = ((size_t)1 << t->key_bits) - 1;
    size_t at = token_place(token_key_hash(key), t->key_bits);

    if (token_is_odd(p, n))
        return TOKEN_NONE;
    for (; keys[at] != 0; at = (at + 1) & mask) {
        if (keys[at] == key)
            return ranks[at];
    }
    return TOKEN_NONE;
}

uint32_t merge_find_longer(const struct token_tables *t, const char *p, size_t n, uint64_t hash)
{
    const uint32_t *table = merge_table(t, t->longer_at);
    const uint32_t *offsets = merge_table(t, t->offsets_at);
    const char *pool = merge_table(t, t->pool_at);
    size_t mask = ((size_t)1 << t->longer_bits) - 1;
    size_t at = token_place(hash, t->longer_bits);

    for (; table[at] != TOKEN_SLOT_EMPTY; at = (at + 1) & mask) {
        uint32_t rank = table[at] & TOKEN_RANK_MASK;

        if (table[at] == token_slot(hash, rank) && offsets[rank + 1] - offsets[rank] == n &&
            memcmp(pool + offsets[rank], p, n) == 0)
            return rank;
    }
    return TOKEN_NONE;
}

uint32_t merge_find(const struct token_tables *t, const char *p, size_t n)
{
    if (n <= TOKEN_SHORT_BYTES)
        return find_short(t, p, n);
    return n <= TOKEN_MAX_BYTES ? merge_find_longer(t, p, n, token_longer_hash(p, n)) : TOKEN_NONE;
}

size_t merge_parts(const struct token_tables *t, const char *p, const char *end,
                   const char **ends, size_t max)
{
    const uint64_t *borders = merge_table(t, t->borders_at);
    uint64_t next = UINT64_MAX; /* what may follow the character before p */
    size_t n = 0;

    while (p < end && n < max - 1) {
        uint32_t index;

        if (!token_begins_char(p)) {
            next = UINT64_MAX;
            p++;
            continue;
        }
        index = token_char_index(p);
        ends[n] = p;
        n += (~next >> token_char_bit(index) & 1) != 0;
        next = borders[index];
        p += TOKEN_CHAR_BYTES;
    }
    if (p == end)
        ends[n++] = end;
    return n;
}

/* ---- neighbours ---------------------------------------------------------------- */

/* What the two join to, TOKEN_NONE where to nothing. */
static inline uint32_t joined(const struct token_tables *t, uint32_t left, uint32_t right)
{
    uint64_t hash = token_pair_hash(left, right);

    return merge_may_join(t, hash) ? merge_pair(t, hash, token_pair(left, right)) : TOKEN_NONE;
}

/* No pair across the border of a and b is ever joined, whatever of the two is taken apart. */
static inline bool never_joined(const struct token_split *a, const struct token_split *b)
{
    return (a->after >> (b->left >> TOKEN_RANK_BITS) & 1) == 0 ||
           (b->before >> (a->right >> TOKEN_RANK_BITS) & 1) == 0;
}

/*
 * Merging left and right alone ends in the two.  Played backwards, from the whole tokens
 * to the two bytes at the border: what was joined last has the higher rank (of equal
 * ones the right one), and is taken apart first.  The border gives way to a pair across it
 * whose rank comes before the next merge that took one of the two away; of equal ranks the
 * leftmost goes first.
 */
static bool stands_by_splits(const struct token_tables *t, uint32_t left, uint32_t right)
{
    const struct token_split *splits = merge_table(t, t->splits_at);
    uint32_t before = TOKEN_NONE; /* a pair of a lower rank than this gives way */

    for (;;) {
        const struct token_split *a = &splits[left], *b = &splits[right];
        uint32_t inner = a->right & TOKEN_RANK_MASK, outer = b->left & TOKEN_RANK_MASK;
        uint32_t whole;

        if (never_joined(a, b))
            return true;
        whole = joined(t, left, right);
        if (whole != TOKEN_NONE && whole < before)
            return false;
        if (inner != TOKEN_NONE && (left > right || outer == TOKEN_NONE)) {
            before = left;
            left = inner;
        } else if (outer != TOKEN_NONE) {
            before = right + 1;
            right = outer;
        } else {
            return true;
        }
    }
}

/* The same, remembered: a pair and its answer, and bit 63 set. */
static inline bool stands(struct merge *m, uint32_t left, uint32_t right)
{
    const struct token_split *splits = merge_table(m->tables, m->tables->splits_at);
    uint64_t pair = UINT64_C(1) << 63 | (uint64_t)left << 20 | (uint64_t)right << 1;
    uint64_t *slot;
    bool good;

    if (never_joined(&splits[left], &splits[right]))
        return true;
    slot = &m->stands[token_pair_hash(left, right) >> 50];
    if ((*slot & ~UINT64_C(1)) == pair)
        return *slot & 1;
    good = stands_by_splits(m->tables, left, right);
    *slot = pair | good;
    return good;
}

/* ---- rows ------------------------------------------------------------------------ */

/* The longest token that p < end begins with, of *n bytes. */
static inline uint32_t longest(const struct token_tables *t, const char *p, const char *end,
                               size_t *n)
{
    const struct token_node *nodes = merge_table(t, t->nodes_at);
    const uint32_t *tokens = merge_table(t, t->node_token_at);
    uint32_t node = TOKEN_NODE_ROOT, base = nodes[TOKEN_NODE_ROOT].base, best = TOKEN_NODE_ROOT;

    for (const char *at = p; at < end; at++) {
        uint32_t child = (base & ~TOKEN_NODE_ENDS) + (unsigned char)*at;

        if (nodes[child].check != node)
            break;
        node = child;
        base = nodes[node].base;
        if (base & TOKEN_NODE_ENDS) {
            best = node;
            *n = (size_t)(at + 1 - p);
        }
    }
    return tokens[best];
}

/* The next shorter one that begins as token does, of *n bytes. */
static inline uint32_t shorter(const struct token_tables *t, uint32_t token, size_t *n)
{
    const uint32_t *prefixes = merge_table(t, t->prefixes_at);

    token = prefixes[token];
    if (token != TOKEN_NONE)
        *n = token_length(t, token);
    return token;
}

/*
 * The row of the n bytes at p; dead holds a bit for each of n + 1 places, all zero.
 * There always is one: that which merging by the book ends in.
 */
static size_t find_row(struct merge *m, const char *p, size_t n, uint32_t *row, uint64_t *dead)
{
    const struct token_tables *t = m->tables;
    size_t at = 0, count = 0, length = 0;
    uint32_t token = longest(t, p, p + n, &length);

    for (;;) {
        while (token != TOKEN_NONE) {
            size_t to = at + length;

            if ((dead[to / DEAD_WORD_BITS] >> to % DEAD_WORD_BITS & 1) == 0 &&
                (count == 0 || stands(m, row[count - 1], token)))
                break;
            token = shorter(t, token, &length);
        }
        if (token != TOKEN_NONE) {
            row[count++] = token;
            at += length;
            if (at == n)
                return count;
            token = longest(t, p + at, p + n, &length);
        } else {
            ASSERT(count > 0);
            dead[at / DEAD_WORD_BITS] |= UINT64_C(1) << at % DEAD_WORD_BITS;
            token = row[--count];
            at -= token_length(t, token);
            token = shorter(t, token, &length);
        }
    }
}

static size_t row_of_window(struct merge *m, const char *p, size_t n, uint32_t *row)
{
    for (size_t i = 0; i <= n / DEAD_WORD_BITS; i++)
        m->dead[i] = 0;
    return find_row(m, p, n, row, m->dead);
}

/* ---- long pieces -------------------------------------------------------------------- */

struct row {
    uint32_t *tokens;
    size_t n, at; /* at: where it begins in the piece */
};

/*
 * Where the two rows, the second of which begins at token *i of the first, have a token
 * in common, which is *i of the first and *j of the second.
 */
static bool rows_meet(const struct token_tables *t, const struct row *a, const struct row *b,
                      size_t *i, size_t *j)
{
    size_t at_a = b->at, at_b = b->at;

    for (*j = 0; *i < a->n && *j < b->n;) {
        if (at_a == at_b && a->tokens[*i] == b->tokens[*j])
            return true;
        if (at_a <= at_b)
            at_a += token_length(t, a->tokens[(*i)++]);
        else
            at_b += token_length(t, b->tokens[(*j)++]);
    }
    return false;
}

static void keep(uint32_t **ids, const struct row *row, size_t from, size_t to)
{
    if (*ids == NULL)
        return;
    memcpy(*ids, row->tokens + from, (to - from) * sizeof(**ids));
    *ids += to - from;
}

/* Without windows. */
static size_t row_of_all(struct merge *m, const char *p, size_t n, uint32_t *ids)
{
    uint32_t *tokens = xcalloc(n, sizeof(*tokens));
    uint64_t *dead = xcalloc(n / DEAD_WORD_BITS + 1, sizeof(*dead));
    size_t count = find_row(m, p, n, tokens, dead);

    if (ids != NULL)
        memcpy(ids, tokens, count * sizeof(*ids));
    free(tokens);
    free(dead);
    return count;
}

/* The next window begins at a token of a, some way before its end; *i is the first of a's
 * tokens that b has instead, *j where b goes on from. */
static bool next_window(struct merge *m, const char *p, size_t n, const struct row *a,
                        struct row *b, size_t *i, size_t *j)
{
    static const size_t overlaps[OVERLAPS] = {128, 1024, MERGE_WINDOW_BYTES - 512};

    for (int k = 0; k < OVERLAPS; k++) {
        size_t back = 0;

        *i = a->n;
        while (*i > 0 && back < overlaps[k])
            back += token_length(m->tables, a->tokens[--*i]);
        b->at = a->at + MERGE_WINDOW_BYTES - back;
        b->n = n - b->at < MERGE_WINDOW_BYTES ? n - b->at : MERGE_WINDOW_BYTES;
        b->n = row_of_window(m, p + b->at, b->n, b->tokens);
        if (rows_meet(m->tables, a, b, i, j))
            return true;
    }
    return false;
}

static size_t merge_long(struct merge *m, const char *p, size_t n, uint32_t *all_ids)
{
    uint32_t *ids = all_ids;
    struct row a = {.tokens = m->row[0]}, b = {.tokens = m->row[1]}, swap;
    size_t count = 0, from = 0, i, j;

    a.n = row_of_window(m, p, MERGE_WINDOW_BYTES, a.tokens);
    while (a.at + MERGE_WINDOW_BYTES < n) {
        if (!next_window(m, p, n, &a, &b, &i, &j) || i < from)
            return row_of_all(m, p, n, all_ids);
        keep(&ids, &a, from, i);
        count += i - from;
        from = j;
        swap = a;
        a = b;
        b = swap;
    }
    keep(&ids, &a, from, a.n);
    return count + a.n - from;
}

size_t merge_row(struct merge *m, const char *p, size_t n, uint32_t *ids)
{
    size_t count;

    if (n > MERGE_WINDOW_BYTES)
        return merge_long(m, p, n, ids);
    count = row_of_window(m, p, n, m->row[0]);
    if (ids != NULL)
        memcpy(ids, m->row[0], count * sizeof(*ids));
    return count;
}
