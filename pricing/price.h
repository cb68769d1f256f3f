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
struct model;

/*
 * A contract rule of the configuration:
 * `{"match":{"upstream":..,"model":..},"multiplier":".93"}`. Gives either a multiplier, for all
 * meters or those of tokens, or rates, for those it names.  Of the rules that fit a request one
 * wins: one that names the tier, then the narrowest model glob (exact text first), then rates
 * before a multiplier, then the narrower upstream, then a named provider, then the one written
 * first.
 */
struct price_rule {
    const char *upstream;   /* glob, NULL: any */
    const char *model;      /* glob on the priced model id, NULL: any */
    const char *provider;   /* book provider, NULL: any */
    const char *tier;       /* as served ("provisioned"), NULL: any */
    const char *multiplier; /* decimal string, or NULL */
    const char *meters;     /* of the multiplier: "all" (NULL too) or "token" */
    const char *from, *to;  /* RFC 3339 validity, NULL: unbounded */
    const char *known_at;   /* when it was agreed or learnt: said for people, NULL: not told */
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
/* The same from texts in memory; name stands for the file in problems. Views need not outlive
 * it. */
struct book_text {
    const char *name;
    struct strv text;
};
struct book *book_parse(const struct book_text *texts, size_t n_texts,
                        const struct price_rule *rules, size_t n_rules,
                        struct problems *problems);
void book_free(struct book *book);
/* SHA-256 over the files and rules that it was made from, hex. */
const char *book_hash(const struct book *book);
size_t book_model_count(const struct book *book);
/* The provider of that name, else the one whose hosts match, else empty. The view lives as long
 * as the book. */
struct strv book_provider(const struct book *book, struct strv name, struct strv host);

enum price_status {
    PRICE_OK = 0,
    PRICE_PARTIAL, /* some quantity has no rate, or the served tier has none and the standard
                    * one was taken: the cost is not the whole truth */
    PRICE_NONE,    /* nothing could be priced: model unknown, no period, no rate, no quantity */
};

/* How the model was found, in the order tried. */
enum price_match {
    MATCH_NONE = 0,
    MATCH_EXACT,
    MATCH_FINE_TUNE, /* ft:BASE:... by its base */
    MATCH_STRIPPED,  /* a provider prefix or suffix removed */
    MATCH_DATED,     /* a date suffix removed */
    MATCH_REQUESTED, /* the response's model is unknown, the request's is not */
    MATCH_REGIONAL,  /* a region before the id ("eu.") removed: priced by what is left */
};

enum {
    PRICE_FLAG_ROUNDED = 1,      /* a time meter was rounded at 10^-18 */
    PRICE_FLAG_TIER_DERIVED = 2, /* tier by the provider's multiplier, not by a card */
    PRICE_FLAG_NO_TIER = 4,      /* the served tier has no price */
    PRICE_FLAG_NO_METER = 8,     /* a quantity has no rate */
    PRICE_FLAG_AMBIGUOUS = 16,   /* two variants fit equally well: the first one was taken */
    PRICE_FLAG_UNSEEN = 32,     /* a variant by image size, quality, steps or search context may
                                 * apply, and the query does not tell; priced by the card
                                 * without */
    PRICE_FLAG_NO_PERIOD = 64,  /* the model is known, but has no price at that time */
    PRICE_FLAG_TOO_LARGE = 128, /* a quantity whose cost does not fit: left out */
    PRICE_FLAG_STAND_IN = 256,  /* a tool was used that is charged by a measure that no answer
                                 * tells: the provider's stand-in for it was charged */
    PRICE_FLAG_NO_REGION = 512, /* the id's region has no price: that without region was used */
    PRICE_FLAG_COMPOUND = 1024, /* a sum of usages that were priced apart: models, answers */
    PRICE_FLAG_NOT_BILLED = 2048, /* the provider charges nothing for it, or somebody else */
    PRICE_FLAGS = 4095,
};

/* What a request may say beside its counts, and prices may depend on. */
#define PRICE_DETAILS(X)                                                                       \
    X(DETAIL_SEARCH_CTX, "search_ctx") /* search context size: low, medium, high */            \
    X(DETAIL_QUALITY, "quality")       /* of images: standard, hd, low, medium, high */        \
    X(DETAIL_SIZE, "size")             /* of images: 1024x1024 */                              \
    X(DETAIL_STEPS, "steps")           /* of images: 50, or max for more */

enum price_detail {
#define DETAIL_ID(id, name) id,
    PRICE_DETAILS(DETAIL_ID)
#undef DETAIL_ID
        DETAIL_COUNT
};

const char *price_detail_name(enum price_detail detail);

/* What a query's names mean in a book: see price_find. */
struct price_found {
    const struct model *model; /* NULL: none of them has a price */
    enum price_match match;
    bool is_known; /* false: nobody has looked yet */
};

struct price_query {
    struct price_found found; /* of this very query; else looked up at each use */
    struct strv provider; /* of book_provider */
    struct strv upstream; /* the configuration's name, for contract rules */
    struct strv model;    /* as the response says; empty: unknown */
    struct strv model_requested;
    struct strv tier;     /* as served; empty, standard, default, auto, on_demand: standard */
    struct strv region;   /* as served; empty: none */
    int64_t at_us;        /* when the provider got the request */
    uint64_t input_total; /* all input tokens, for context steps */
    struct strv detail[DETAIL_COUNT]; /* empty: not known */
    struct quantities quantities;
    bool counted; /* as counted by us, not as billed: the provider's minimums apply */
    bool has_media; /* the prompt is more than text; of price_worst_case alone */
};

/*
 * Looks the query's model up, by the response's name, else the request's, so that what is asked
 * of it next need not.  Afterwards provider, model and model_requested stay as they are, and the
 * book is this one.
 */
void price_find(const struct book *book, struct price_query *query);

/*
 * Counts the pixels of the query's images by their size ("1024x768"; not said: 1024x1024, what is
 * drawn by those who charge by pixels), for cards that have no price by the piece.  After
 * quantities and details are set; nothing where images are charged by tokens.
 */
void price_count_pixels(struct price_query *query);

struct cost_line {
    enum meter meter;
    uint64_t quantity;
    struct money rate; /* contracted, per 1,000,000 units (time meters: per 1,000,000 seconds,
                        * rounded half to even at 10^-18 where not whole) */
    struct money amount;
};

struct cost {
    enum price_status status;
    struct money contracted; /* what we pay */
    struct money list;       /* before contract rules */
    struct cost_line lines[METER_COUNT];
    size_t n_lines;
    struct strv price_id; /* "provider/model@period start", lives as long as the book */
    struct strv
        confidence; /* of the book's entry: confirmed, one-witness, disputed, single-source */
    enum price_match match;
    unsigned flags;
    bool begun; /* something was priced, or could not be: what is added to it is not the first */
};

/* Nothing is priced: PRICE_NONE, no lines, not begun. */
void cost_clear(struct cost *out);
/*
 * Adds what was priced by itself: other answers, another model's part of one.  Lines of one
 * meter and rate become one; past METER_COUNT lines rates are mixed, amounts never.  What one
 * side could not price makes the whole partial.  price_id and match stay those of sum, where
 * it has any.
 */
void cost_add(struct cost *sum, const struct cost *part);
/*
 * Prices one usage.  Never fails: what cannot be priced says so in status.  Allocates
 * nothing.  METER_REQUEST is charged where the model has a fee per request and
 * otherwise free; grounded prompts (web searches of models that charge so, maps and enterprise
 * searches) count once; a counted quantity below the provider's minimum is charged as that;
 * where the same thing is told in two measures (tokens and seconds, images, pages),
 * the one without a rate is not missing.  Where a contract prices what the list does
 * not, list takes the contract's amount.
 */
void price_usage(const struct book *book, const struct price_query *query, struct cost *out);

/* What beside model, tier and region makes the price that a query gets. */
struct price_variant {
    uint64_t ctx_min;   /* least input tokens; 0: any */
    struct strv window; /* time of the day, as text; empty: any */
    struct strv other;  /* conditions on details, as text; empty: none */
};
/* False, and nothing of it, where the book does not price the query. Views of the book. */
bool price_variant_of(const struct book *book, const struct price_query *query,
                      struct price_variant *out);

/*
 * The most that a call can cost: input tokens at the dearest of input and cache
 * write rates, and of those of sound, images and video where the prompt has any, output at the dearest of output rates, over every card that may come
 * to apply (the given tier or standard, batch alone; any region where none is given; context by
 * input_tokens and input_total, whichever is more), with the request's fee and the
 * contract.  False where the model has no price by tokens.
 */
bool price_worst_case(const struct book *book, const struct price_query *query,
                      uint64_t input_tokens, uint64_t output_tokens, struct money *out);
/* The most output of the query's model (`max_output_tokens`) where the book knows it, else 0. */
uint64_t price_max_output(const struct book *book, const struct price_query *query);

/* "none", "exact", "fine-tune", "stripped", "dated", "requested", "regional" */
const char *price_match_name(enum price_match match);
/* "ok", "partial", "unpriced" */
const char *price_status_name(enum price_status status);
/* Name of one flag bit: "rounded-1e-18", "tier-derived", "no-tier", "no-rate", "ambiguous",
 * "unseen-variant", "no-period", "too-large", "stand-in", "no-region", "compound"; NULL for any
 * other bit. */
const char *price_flag_name(unsigned flag);

/* ---- the book as people see it ------------------------------------------------ */

struct book_rate {
    enum meter meter;
    struct money rate; /* for `per` units (time meters: seconds), as the list has it */
    uint64_t per;
};

/* Rates under one condition, with those taken over from the base and the provider's fees. */
struct book_card {
    struct strv tier; /* empty: any */
    const struct strv *regions;
    size_t n_regions;
    uint64_t ctx_min;   /* least input tokens; 0: any */
    struct strv window; /* as text; empty: any time */
    struct strv other;  /* "size=1024x1024 quality=hd": conditions on a query's details */
    const struct book_rate *rates;
    size_t n_rates;
};

struct book_period {
    int64_t from_us, to_us;        /* [from, to); INT64_MIN and INT64_MAX: unbounded */
    int64_t known_us;              /* when the price became known; INT64_MIN: not told */
    struct strv source;            /* of this period alone, where it has its own */
    const struct book_card *cards; /* the base first */
    size_t n_cards;
};

struct book_model {
    struct strv provider, id, kind;
    const struct strv *ids;
    size_t n_ids;
    struct strv source;               /* name in the book's sources */
    struct strv source_what;          /* what that is */
    struct strv published, retrieved; /* dates of the source; empty: unknown */
    struct strv confidence;
    bool is_deprecated;
    uint64_t max_output;               /* tokens of one answer; 0: not known */
    const struct book_period *periods; /* in order of time */
    size_t n_periods;
};

/* Called once a model; the views live for the call. False ends the walk. */
typedef bool book_model_fn(const struct book_model *model, void *arg);
/* Every model in the order of the files. */
void book_each_model(const struct book *book, book_model_fn *fn, void *arg);
/* The model that price_usage would take for that name, called once; false where there is none.
 */
bool book_find_model(const struct book *book, struct strv provider, struct strv model,
                     enum price_match *match, book_model_fn *fn, void *arg);

/*
 * Doubts about a book that loads: rates out of sane bands, a batch or flex rate above
 * the standard one, sources or dates missing, gaps between periods, variants that can
 * fit equally well.  Each goes to warnings with file and line where they are found.
 */
void book_lint(const struct book *book, struct problems *warnings);

#endif
