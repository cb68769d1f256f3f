/*
 * price.h - what a usage costs: book and contract rules, compiled; pure after load.
 *
 * The book is JSON in the schema tollgate-prices/1 (docs/prices.md): providers,
 * models with ids and dated suffixes, periods with validity dates, variants by
 * tier, region and context length.  Rates are compiled at load to one integer
 * per card and meter, contract rules included, so that pricing a request
 * multiplies integers once and divides nothing (but time meters, rounded half to
 * even once a line and flagged).
 */
#ifndef PRICING_PRICE_H
#define PRICING_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/problem.h"
#include "base/strv.h"
#include "pricing/meter.h"
#include "pricing/money.h"

struct book;

/* A contract rule of the configuration: `{"match":{"upstream":..,"model":..},"multiplier":".93"}`. */
struct price_rule {
    const char *upstream;   /* glob, NULL: any */
    const char *model;      /* glob on the priced model id, NULL: any */
    const char *provider;   /* book provider, NULL: any */
    const char *multiplier; /* decimal string, or NULL */
    const char *from, *to;  /* RFC 3339 validity, NULL: unbounded */
    /* absolute rates by meter name, per the unit's `per`, decimal strings */
    const char *const *rate_meters;
    const char *const *rate_values;
    size_t n_rates;
    const char *file; /* where it was written, for problems */
    int line;
};

/*
 * Loads files or folders (every *.json in order of name); later ones replace
 * models of the same provider and id.  Faults go to problems (rates that are not
 * whole at 10^-18, overlapping periods, unknown meters, ids twice); NULL if any.
 */
struct book *book_load(const char *const *paths, size_t n_paths, const struct price_rule *rules,
                       size_t n_rules, struct problems *problems);
void book_free(struct book *book);
/* SHA-256 over the files and rules that it was made from, hex. */
const char *book_hash(const struct book *book);
size_t book_model_count(const struct book *book);
/* The provider of that name, else the one whose hosts match, else empty. The view lives as long
 * as the book. */
struct strv book_provider(const struct book *book, struct strv name, struct strv host);

enum price_status {
    PRICE_OK = 0,
    PRICE_PARTIAL, /* some quantity, or the served tier, has no rate: cost is a lower bound */
    PRICE_NONE,    /* the model is not in the book (or there is no quantity to price) */
};

/* How the model was found, in the order tried. */
enum price_match {
    MATCH_NONE = 0,
    MATCH_EXACT,
    MATCH_FINE_TUNE, /* ft:BASE:... by its base */
    MATCH_STRIPPED,  /* a provider prefix or suffix removed */
    MATCH_DATED,     /* a date suffix removed */
    MATCH_REQUESTED, /* the response's model is unknown, the request's is not */
};

enum {
    PRICE_FLAG_ROUNDED = 1,      /* a time meter was rounded at 10^-18 */
    PRICE_FLAG_TIER_DERIVED = 2, /* tier by the provider's multiplier, not by a card */
    PRICE_FLAG_NO_TIER = 4,      /* the served tier has no price */
    PRICE_FLAG_NO_METER = 8,     /* a quantity has no rate */
    PRICE_FLAG_AMBIGUOUS = 16,   /* two variants fit equally well */
};

struct price_query {
    struct strv provider; /* of book_provider */
    struct strv upstream; /* the configuration's name, for contract rules */
    struct strv model;    /* as the response says; empty: unknown */
    struct strv model_requested;
    struct strv tier;   /* as served; empty: standard */
    struct strv region; /* as served; empty: none */
    int64_t at_us;      /* when the provider got the request */
    uint64_t input_total; /* all input tokens, for context steps */
    struct quantities quantities;
};

struct cost_line {
    enum meter meter;
    uint64_t quantity;
    struct money rate; /* contracted, per 1,000,000 units (time meters: per 1,000,000 seconds) */
    struct money amount;
};

struct cost {
    enum price_status status;
    struct money contracted; /* what we pay */
    struct money list;       /* before contract rules */
    struct cost_line lines[METER_COUNT];
    size_t n_lines;
    struct strv price_id;   /* "provider/model@period start", lives as long as the book */
    struct strv confidence; /* of the book's entry: confirmed, one-witness, disputed, single-source */
    enum price_match match;
    unsigned flags;
};

/* Prices one usage. Never fails: what cannot be priced says so in status. */
void price_usage(const struct book *book, const struct price_query *query, struct cost *out);

/*
 * The most that a call can cost: input tokens at the dearest of input and cache
 * write rates, output at the dearest of output rates, at the given tier.  False
 * where the model has no price.
 */
bool price_worst_case(const struct book *book, const struct price_query *query,
                      uint64_t input_tokens, uint64_t output_tokens, struct money *out);
/* The model's own output maximum where the book knows it, else 0. */
uint64_t price_max_output(const struct book *book, struct strv provider, struct strv model);

const char *price_match_name(enum price_match match);
const char *price_status_name(enum price_status status);

#endif
