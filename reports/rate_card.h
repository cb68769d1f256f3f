/*
 * rate_card.h - which prices a period's requests were charged, each with what it charged.
 *
 * Where a model's sums are, to the last digit, what one price of the book makes of its
 * quantities, they need no single request; those of the others are added up by rate.
 */
#ifndef REPORTS_RATE_CARD_H
#define REPORTS_RATE_CARD_H

#include "metering/ledger/ledger_read.h"
#include "pricing/price.h"
#include "reports/by_value.h"
#include "reports/reconcile.h"

/* What makes a price one of a kind, in this order of by_value. */
enum rate_key {
    RATE_UPSTREAM = 0,
    RATE_PRICE_ID, /* "provider/model@start"; empty: requests without a price */
    RATE_TIER,     /* as usage_priced_tier */
    RATE_METER,    /* meter_name; empty: a cost that no line explains, or no price */
    RATE_RATE,     /* decimal of a million units; empty: not told */
    RATE_CLASS,    /* "correction", or empty */
    RATE_KEYS,
};

struct rate {
    struct valued valued; /* RATE_KEYS values */
    uint64_t requests;    /* with a line of it; of corrections their number */
    uint64_t quantity;    /* time meters: milliseconds */
    struct money rate, amount;
};

struct rate_card {
    struct by_value rates;
    uint64_t requests, unpriced; /* of the period */
    struct money cost;
};

struct rate_card_question {
    struct ledger_reader *reader; /* within a view */
    const struct ledger_filter *filter;
    const struct book *book;         /* NULL: single requests tell all */
    reconcile_upstream_fn *upstream; /* NULL: the same */
    void *arg;
};

/* RC_LIMIT: more than BY_VALUE_MAX prices. To be released in any case. */
enum rc rate_card_read(const struct rate_card_question *q, struct rate_card *out,
                       struct fail *fail) RC_MUST;
void rate_card_release(struct rate_card *card);

/* "provider/model@start" taken apart; false for any other text. */
bool rate_card_split(struct strv price_id, struct strv *provider, struct strv *model);

/* What the book's list says beside a price that was charged. */
struct rate_listed {
    bool is_known;           /* the book still gives this rate: list is what it is listed at */
    struct money list;       /* of a million units */
    struct strv region;      /* where that is what makes the price; empty: any */
    uint64_t ctx_min;        /* least input tokens that make it; 0: any */
    bool has_period;         /* the book has the model's period */
    int64_t from_us, to_us;  /* as book_period */
    struct strv source, published, confidence; /* views into the book */
};
/* rate of the report's period [from_us, to_us). */
void rate_card_listed(const struct book *book, const struct rate *rate, int64_t from_us,
                      int64_t to_us, struct rate_listed *out);

#endif
