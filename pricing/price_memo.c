#include "pricing/price_memo.h"

#include <stdlib.h>

#include "base/xalloc.h"

struct known {
    struct strv provider; /* of the book; the empty view: the place is free */
    uint8_t model_n, requested_n;
    char model[PRICE_MEMO_NAME_BYTES];
    char requested[PRICE_MEMO_NAME_BYTES];
    struct price_found found;
};

struct price_memo {
    const struct book *book;
    uint64_t hits;
    struct known at[PRICE_MEMO_MODELS];
};

struct price_memo *price_memo_new(const struct book *book)
{
    struct price_memo *memo = xcalloc(1, sizeof(*memo));

    memo->book = book;
    return memo;
}

void price_memo_free(struct price_memo *memo)
{
    free(memo);
}

uint64_t price_memo_hits(const struct price_memo *memo)
{
    return memo->hits;
}

/* By a name's length and some of its letters: families differ in their ends. */
static unsigned spread(struct strv name)
{
    if (name.n == 0)
        return 0;
    return (unsigned)name.n * 5 + (unsigned char)name.p[0] * 3 +
           (unsigned char)name.p[name.n / 2] * 7 + (unsigned char)name.p[name.n - 1] * 11;
}

static struct known *place(struct price_memo *memo, const struct price_query *query)
{
    return &memo->at[(spread(query->model) + spread(query->model_requested) * 13) %
                     PRICE_MEMO_MODELS];
}

/* The provider is one of the book's names: its place tells it. */
static bool is(const struct known *k, const struct price_query *query)
{
    return k->provider.p == query->provider.p && k->provider.n == query->provider.n &&
           strv_eq(strv_make(k->model, k->model_n), query->model) &&
           strv_eq(strv_make(k->requested, k->requested_n), query->model_requested);
}

void price_memo_find(struct price_memo *memo, struct price_query *query)
{
    struct known *k;

    if (query->provider.n == 0 || query->model.n > PRICE_MEMO_NAME_BYTES ||
        query->model_requested.n > PRICE_MEMO_NAME_BYTES) {
        price_find(memo->book, query);
        return;
    }
    k = place(memo, query);
    if (is(k, query)) {
        memo->hits++;
        query->found = k->found;
        return;
    }
    price_find(memo->book, query);
    k->provider = query->provider;
    k->model_n = (uint8_t)query->model.n;
    k->requested_n = (uint8_t)query->model_requested.n;
    (void)strv_copy(k->model, query->model);
    (void)strv_copy(k->requested, query->model_requested);
    k->found = query->found;
}
