/*
 * focus_int.h - a charge, between collecting and writing; see focus.h.
 */
#ifndef REPORTS_FOCUS_INT_H
#define REPORTS_FOCUS_INT_H

#include "reports/focus.h"

/* What makes a charge one of a kind, in the order of rows. */
enum focus_key {
    FOCUS_UPSTREAM = 0,
    FOCUS_PROVIDER, /* of the price book */
    FOCUS_MODEL,    /* the book's id: it names the SKU */
    FOCUS_METER,
    FOCUS_TIER,
    FOCUS_RATE, /* atto-USD a million, as digits */
    FOCUS_LIST_RATE,
    FOCUS_LIST_SOURCE, /* "book", "contracted" */
    FOCUS_COST_SOURCE, /* "metered", "estimated" */
    FOCUS_TEAM,
    FOCUS_FEATURE,
    FOCUS_ENVIRONMENT,
    FOCUS_CREDENTIAL,
    FOCUS_SERVED_MODEL,
    FOCUS_PRICE_ID,
    FOCUS_TAGS,       /* JSON */
    FOCUS_REQUEST_ID, /* of grain request */
    FOCUS_CLASS,      /* "Correction", or empty */
    FOCUS_REGION,     /* as served; empty: not told */
    FOCUS_CONTEXT,    /* least input tokens of its price, as digits; empty: any */
    FOCUS_VARIANT,    /* what else makes its price; empty: nothing */
    FOCUS_COMMITMENT, /* what covers it; empty: nothing */
    FOCUS_KEYS,
};

enum focus_kind { FOCUS_USAGE = 0, FOCUS_PURCHASE, FOCUS_UNUSED };

struct charge {
    struct strv key[FOCUS_KEYS];
    int64_t from_us, to_us; /* charge period */
    enum meter meter;
    struct money rate, list_rate;
    uint64_t quantity, requests;
    struct money amount;
    struct strv invoice_id;
    enum focus_kind kind;
    const struct focus_commitment *commitment; /* of FOCUS_COMMITMENT; NULL: none */
};

/* Columns of a version and what they hold. */
struct focus_column {
    const char *name;
    unsigned versions; /* bit per enum focus_version; FOCUS_IF_COMMITTED: only with commitments */
    enum focus_type { FOCUS_TEXT = 0, FOCUS_DECIMAL, FOCUS_TIME, FOCUS_JSON } type;
    enum rc (*put)(const struct charge *c, const struct focus_account *a, struct buf *out);
};
enum { FOCUS_IF_COMMITTED = 1 << FOCUS_VERSIONS };
const struct focus_column *focus_column_at(size_t i); /* NULL past the last */
/* Whether the column is in files of the version, where commitments are known or not. */
bool focus_column_is_of(const struct focus_column *c, enum focus_version version,
                        bool has_commitments);

/* Appends one line with its CRLF. */
enum rc focus_row(enum focus_version version, bool has_commitments, const struct charge *c,
                  const struct focus_account *account, struct buf *out) RC_MUST;
/* rate times quantity, exact: digits and how many of them are decimals. RC_LIMIT: too large. */
enum rc focus_product(struct money rate, uint64_t quantity, enum meter meter, money_int *digits,
                      unsigned *decimals) RC_MUST;
/* The first instant of the invoice's month, or of the one so many months later; UTC. */
int64_t focus_month(int64_t us, int more);
/* Unit of a meter's quantity, and the words of its SKU. */
const char *focus_unit(enum meter meter);
const char *focus_meter_words(enum meter meter);

#endif
