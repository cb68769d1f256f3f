/*
 * focus_int.h - a charge, between collecting and writing; see focus.h.
 */
#ifndef REPORTS_FOCUS_INT_H
#define REPORTS_FOCUS_INT_H

#include "base/buf.h"
#include "reports/focus.h"
#include "reports/focus_shares.h"

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
    FOCUS_KIND,       /* "delta", "rest", or empty: usage */
    FOCUS_ORIGIN,     /* of a Correction: where its charge period begins, as digits */
    FOCUS_SHARE,      /* which set bears it, as digits; empty: nobody else */
    FOCUS_KEYS,
};

enum focus_kind {
    FOCUS_USAGE = 0,
    FOCUS_DELTA,    /* what a correction adds to a meter's amount; no quantity */
    FOCUS_REST,     /* what a record cost beyond its lines; no SKU */
    FOCUS_PURCHASE, /* of a commitment */
    FOCUS_UNUSED,   /* what is left of one */
};

struct charge {
    struct strv key[FOCUS_KEYS];
    int64_t from_us, to_us; /* charge period */
    int64_t month_us;       /* billing period: its first instant */
    enum meter meter;
    struct money rate, list_rate;
    money_int quantity, requests; /* with so many decimals more than their own */
    unsigned finer;
    struct money amount;
    struct money list; /* of kinds without a quantity */
    struct strv invoice_id;
    enum focus_kind kind;
    const struct commitment *commitment; /* of FOCUS_COMMITMENT; NULL: none */
    const struct focus_set *set;               /* of FOCUS_SHARE; NULL: not split */
    const struct focus_bearer *bearer;         /* whose part of it this is */
};

/* A charge that waits for its period's end. Its key's parts are joined. */
struct held {
    char *key;
    size_t n;
    uint64_t quantity, requests;
    struct money amount, list;
};

struct focus {
    struct focus_options options;
    struct focus_counts counts;
    struct buf key, tags, out;
    int64_t from_us, to_us; /* of what is held */
    struct held *at;
    size_t n, merged, cap;
};
/* Writes what is held of the period. */
enum rc focus_flush(struct focus *f) RC_MUST;
/* Holds one charge of the key in f->key. */
enum rc focus_hold(struct focus *f, const struct held *charge) RC_MUST;
/* The commitment that covers the record, which has then used it; empty: none. */
struct strv focus_cover(struct focus *f, const struct record *r);

/* Columns of a version and what they hold. */
struct focus_column {
    const char *name;
    unsigned versions; /* bit per enum focus_version; FOCUS_IF_…: only in files with that */
    enum focus_type { FOCUS_TEXT = 0, FOCUS_DECIMAL, FOCUS_TIME, FOCUS_JSON } type;
    enum rc (*put)(const struct charge *c, const struct focus_account *a, struct buf *out);
};
enum { FOCUS_IF_COMMITTED = 1 << FOCUS_VERSIONS, FOCUS_IF_SHARED = FOCUS_IF_COMMITTED << 1 };
const struct focus_column *focus_column_at(size_t i); /* NULL past the last */
/* Whether the column is in files of these options. */
bool focus_column_is_of(const struct focus_column *c, const struct focus_options *options);

/* Appends one line with its CRLF. */
enum rc focus_row(const struct focus_options *options, const struct charge *c,
                  const struct focus_account *account, struct buf *out) RC_MUST;
/* rate times quantity, exact: digits and how many of them are decimals. RC_LIMIT: too large. */
enum rc focus_product(const struct charge *c, struct money rate, money_int *digits,
                      unsigned *decimals) RC_MUST;
/* The first instant of the invoice's month, or of the one so many months later; UTC. */
int64_t focus_month(int64_t us, int more);
/* A meter in FOCUS 1.5's words, NULL where it has none: which way tokens go, what the cache did. */
struct focus_meter {
    const char *unit, *words, *direction, *cache, *ttl;
};
const struct focus_meter *focus_meter(enum meter meter);
/* Who sells, or its service: of the price book's provider. */
struct strv focus_seller(struct strv provider, bool service);
/* Unit of a meter's quantity, and the words of its SKU. */
const char *focus_unit(enum meter meter);
const char *focus_meter_words(enum meter meter);

#endif
