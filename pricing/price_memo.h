/*
 * price_memo.h - which model of a book a query's names mean, where they were asked for before.
 *
 * The same few models are priced all the time, and to find one walks through a provider's
 * prefixes, dates and regions.  One thread's, and of one book, which must outlive it.
 */
#ifndef PRICING_PRICE_MEMO_H
#define PRICING_PRICE_MEMO_H

#include "pricing/price.h"

enum {
    PRICE_MEMO_MODELS = 64,     /* places; names have one, which the next ones may take */
    PRICE_MEMO_NAME_BYTES = 64, /* longer names are looked up each time */
};

struct price_memo;

struct price_memo *price_memo_new(const struct book *book);
void price_memo_free(struct price_memo *memo); /* NULL is none */

/* As price_find, in the memo's book. */
void price_memo_find(struct price_memo *memo, struct price_query *query);

/* Queries that were not looked up, since price_memo_new. */
uint64_t price_memo_hits(const struct price_memo *memo);

#endif
