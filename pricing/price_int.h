/*
 * price_int.h - from a query to its card and set of rates: what pricing a usage
 * (price.c) and bounding a call (price_worst.c) share.
 */
#ifndef PRICING_PRICE_INT_H
#define PRICING_PRICE_INT_H

#include "pricing/book_int.h"

/* A line above it is left out and flagged; 64 lines still fit in 127 bits. */
#define AMOUNT_MAX ((exact_uint)NANO_PER_USD * NANO_PER_USD * NANO_PER_USD * NANO_PER_USD)

/* What a request brings to the choice of a card. */
struct asked {
    struct strv tier; /* empty: standard */
    struct strv region;
    uint64_t input_total;
    bool has_media;
    int64_t at_us;
    const struct strv *detail; /* DETAIL_COUNT of them */
};

/* The model that is priced, by the response's name, else the request's; NULL: none. */
const struct model *card_find_model(const struct book *book, const struct price_query *query,
                                    enum price_match *match);
/* The query as the cards of that model see it: its tier, its region. */
struct asked card_asked(const struct book *book, const struct model *model,
                        const struct price_query *query, enum price_match match);
/* The period that holds then; NULL: none. */
const struct price_period *card_period(const struct model *model, int64_t at_us);
/* The card that applies; `used` has a bit for each meter with a quantity. Adds flags. */
const struct card *card_choose(const struct price_period *period, const struct asked *asked,
                               uint64_t used, unsigned *flags);
/* Whether the card's details hold (or may, where the query does not tell them: *unseen). */
bool card_details_hold(const struct card *card, const struct asked *asked, bool *unseen);
/* The multiplier's number, from 1, for a tier that the card does not name; 0: none. */
size_t card_tier(const struct provider *provider, const struct card *card, struct strv tier);
/* The card's modifiers that hold, a bit each. */
unsigned card_modifiers(const struct provider *provider, const struct card *card,
                        const struct asked *asked);
/* The contract rule for this request; NULL where none holds. */
const struct candidate *card_contract(const struct book *book, const struct model *model,
                                      struct strv upstream, const struct asked *asked);
/* Set of the card at that tier and those modifiers; adjustment 0 is the list. */
const struct rate_set *card_set(const struct book *book, const struct model *model,
                                const struct card *card, size_t tier, unsigned modifiers,
                                uint32_t adjustment);

#endif
