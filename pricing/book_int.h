/*
 * book_int.h - the loaded price book as the pricing folder's own files see it.
 *
 *   providers -> models -> periods (sorted, apart) -> cards (0: base, then variants)
 *
 * A card has one set of rates for each way it can be charged: tier multiplier x
 * region modifiers x contract rule.  A set is a mask of meters and, in the pool,
 * one integer rate for each bit of it, lowest meter first.  Nothing here changes
 * after load.
 */
#ifndef PRICING_BOOK_INT_H
#define PRICING_BOOK_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/problem.h"
#include "base/strv.h"
#include "base/zone.h"
#include "pricing/exact.h"
#include "pricing/meter.h"
#include "pricing/money.h"
#include "pricing/price.h"

enum {
    BOOK_FILE_MAX = 16 << 20,   /* bytes of one file */
    BOOK_TOTAL_MAX = 64 << 20,  /* bytes of all files */
    BOOK_ARENA_MAX = 512 << 20, /* bytes of everything made of them */
    BOOK_FILES_MAX = 1000,
    BOOK_PROVIDERS_MAX = 1000,
    BOOK_MODELS_MAX = 200000,
    BOOK_PERIODS_MAX = 1000,      /* of a model */
    BOOK_CARDS_MAX = 1000,        /* of a period */
    BOOK_TIERS_MAX = 16,          /* multipliers of a provider */
    BOOK_MODIFIERS_MAX = 8,       /* of a provider */
    BOOK_STAND_INS_MAX = 8,       /* of a provider */
    BOOK_MINIMUM_MAX = 1 << 30,   /* units; seconds of time meters */
    BOOK_MODEL_MODIFIERS_MAX = 3, /* that apply to one model */
    BOOK_WINDOW_SPANS_MAX = 8,    /* of hours */
    BOOK_RULES_MAX = 1000,
    BOOK_SETS_MAX = 1 << 20,
    BOOK_POOL_MAX = 8 << 20, /* rates */
    MODEL_ID_MAX_BYTES = 256,
    PROVIDER_NAME_MAX_BYTES = 64,
    RATE_MAX_USD = 10000, /* for a single unit; for an hour of time meters */
};

enum { MS_PER_SECOND = 1000, MILLION = 1000000 };

struct strv_list {
    struct strv *at;
    size_t n;
};

struct unit {
    bool known;
    bool is_token;
    uint64_t per;
    enum meter falls_to; /* METER_COUNT: none */
    struct strv of;
    struct strv dir;
};

struct source {
    struct strv name;
    struct strv what;
    struct strv published; /* dates as written; may be a month */
    struct strv retrieved;
};

/* Days since 1970-01-01, both ends included. */
struct holiday {
    int64_t first;
    int64_t last;
};

struct calendar {
    struct strv name;
    struct holiday *at;
    size_t n;
};

/* Part of a day: minutes [from, to); from > to goes over midnight. */
struct span {
    int from;
    int to;
};

struct window {
    struct zone *hours_zone; /* NULL: UTC */
    struct zone *days_zone;
    struct span span[BOOK_WINDOW_SPANS_MAX];
    size_t n_spans;
    unsigned days; /* bit 0: Monday */
    const struct calendar *not_on;
    struct strv text; /* for people */
    /* as read, until the calendars of all files are known */
    struct strv not_on_name;
};

struct rate_set {
    uint64_t mask; /* bit m: meter m has a rate of its own */
    uint32_t at;   /* first rate in the pool */
};

/* Rates as written, before compilation. */
struct written {
    uint64_t mask;
    money_int *rate; /* one a bit, per units[m].per */
};

struct card {
    struct strv tier; /* empty: any */
    struct strv_list regions;
    uint64_t ctx_min;
    struct window *window;
    struct strv detail[DETAIL_COUNT]; /* that the query must have; empty: any */
    struct strv details;              /* the same as text for people; empty: none */
    unsigned n_keys;
    struct written written;
    /* sets + (tier x 2^n_modifiers + modifier bits) x (1 + adjustments of the model) +
     * adjustment */
    uint32_t sets;
    uint8_t n_modifiers;
    uint8_t modifier[BOOK_MODEL_MODIFIERS_MAX]; /* index in the provider's */
};

struct price_period {
    int64_t from_us; /* INT64_MIN: unbounded */
    int64_t to_us;   /* exclusive; INT64_MAX: unbounded */
    int64_t known_us; /* INT64_MIN: not told */
    struct strv from_text;
    struct strv source; /* of this period alone, may be empty */
    struct strv price_id;
    struct card *cards;
    size_t n_cards;
};

/* A contract rule that fits a model; the first one that holds wins. */
struct candidate {
    uint32_t rule;
    uint32_t adjustment; /* from 1 */
};

struct model {
    uint32_t provider;
    uint32_t file;
    bool gone; /* a later file has replaced it */
    bool per_grounded_prompt;
    bool deprecated;
    struct strv id;
    struct strv kind;
    struct strv_list ids;
    struct strv_list dated;
    struct strv source;
    struct strv source_date;
    struct strv confidence;
    uint64_t max_output;
    struct price_period *periods;
    size_t n_periods;
    uint8_t n_modifiers;
    uint8_t modifier[BOOK_MODEL_MODIFIERS_MAX];
    struct candidate *candidates;
    size_t n_candidates;
    uint32_t *adjustments; /* of the book, distinct */
    size_t n_adjustments;
};

struct tier_factor {
    struct strv name;
    struct factor factor;
};

struct modifier {
    struct strv id;
    struct strv_list regions;
    struct strv tier;
    struct factor factor;
    bool token_only;
    bool has_only;
    struct strv_list only;
};

/* Use of one meter that has no rate is charged as so much of another, once a request. */
struct stand_in {
    enum meter used;
    enum meter charged;
    uint64_t quantity; /* milliseconds of time meters */
};

struct provider {
    struct strv name;
    struct strv_list hosts;
    struct strv_list strip;
    struct strv_list suffixes;
    struct strv_list geo_prefixes;
    struct tier_factor tiers[BOOK_TIERS_MAX];
    size_t n_tiers;
    uint64_t tier_keeps;
    struct modifier *modifiers;
    size_t n_modifiers;
    struct written fees;
    struct calendar *calendars;
    size_t n_calendars;
    uint64_t has_minimum; /* bit m: meter m */
    uint64_t minimum[METER_COUNT];
    struct stand_in stand_ins[BOOK_STAND_INS_MAX];
    size_t n_stand_ins;
};

/* What a contract does to rates. */
struct adjustment {
    struct factor factor;
    bool token_only;      /* the factor leaves other meters alone */
    struct written rates; /* mask 0: the factor */
};

struct rule {
    struct strv upstream; /* globs; empty: any */
    struct strv model;
    struct strv provider;
    struct strv tier; /* as served; empty: any */
    int64_t from_us, to_us;
    uint32_t adjustment;
    struct strv file;
    int line;
};

/* A name by which a model is found; models by index + 1, 0: none. */
struct alias {
    struct strv id; /* lower case */
    uint32_t provider;
    uint32_t model;       /* that has it among its ids */
    uint32_t dated_model; /* that takes it with a date behind */
};

struct book {
    struct arena arena;
    char hash[SHA256_HEX];
    struct strv *files;
    size_t n_files;
    struct unit units[METER_COUNT];
    uint64_t token_mask;
    struct source *sources;
    size_t n_sources;
    struct provider *providers;
    size_t n_providers;
    struct model *models;
    size_t n_models;
    struct zone **zones;
    size_t n_zones;
    struct rule *rules;
    size_t n_rules;
    struct adjustment *adjustments;
    size_t n_adjustments;
    struct alias *aliases;
    size_t n_aliases;
    uint32_t *slots; /* open addressing over aliases, index + 1; 0: free */
    size_t n_slots;  /* a power of two */
    struct rate_set *sets;
    size_t n_sets;
    money_int *pool;
    size_t n_pool;
};

/* One file's text on its way into a book. */
struct book_source {
    const char *name;
    struct strv text;
};

/* Loading: a book that is being made, and where its faults go. */
/* Rates in the pool that stand there side by side. */
struct rate_run {
    uint32_t at, n; /* n 0: a free place */
};

/* Of the book so far, what is not said again (book_share.c). */
struct build_share {
    struct strv *texts; /* open addressing */
    size_t n_texts, n_text_slots;
    char *room; /* for the next texts, of the book's arena */
    size_t left;
    struct rate_run *runs; /* open addressing */
    size_t n_runs, n_run_slots;
    size_t pool_room;
};

struct build {
    struct book *book;
    struct problems *problems;
    const struct book_source *files;
    const struct book_source *file; /* the one that is being looked at; NULL: none */
    uint32_t file_index;
    bool is_full; /* the arena's maximum was reached; said once */
    size_t models_room, providers_room, sources_room, zones_room;
    struct build_share share;
};

/* n zeroed bytes of the book's arena; NULL (and a problem, once) where it is full. */
void *build_alloc(struct build *b, size_t n);
/*
 * The text, ended by a zero, as long as the book lives: the place where it stands already, or a new
 * one.  STRV_NONE where it is empty, and (with a problem) where the book is full.
 */
struct strv build_strv(struct build *b, struct strv s);
/* Where in the pool these n rates (0..METER_COUNT) stand, of old or from now on. */
uint32_t build_rates(struct build *b, const money_int *rates, size_t n);
/* Once nothing is added any more. */
void build_share_release(struct build *b);
/* One more element at the end of a growing array, zeroed. */
void *build_grow(void *array, size_t *n, size_t *room, size_t size);
/* A problem at the place where `word` stands in the current file, behind provider and model. */
void build_problem(struct build *b, struct strv provider, struct strv model, const char *word,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
/*
 * Line of the first `word` behind the model's entry within the provider's section;
 * 0 where the text has none.  A search over text, good for people only.
 */
int text_line(struct strv text, struct strv provider, struct strv model, const char *word);

/* Reads one file into the book (book_read.c). */
void book_read(struct build *b, const struct book_source *file, uint32_t index);
struct cJSON;
struct place;
/* One member of `providers`, and one of a provider's `models`, into the book. */
void read_provider(const struct place *at, const struct cJSON *value);
void read_model(const struct place *at, const struct cJSON *value, uint32_t provider);
/* Periods with their cards (book_read_card.c). */
void read_periods(struct build *b, struct model *model, struct strv provider,
                  const struct cJSON *array);
void read_written(struct build *b, struct strv provider, struct strv model,
                  const struct cJSON *object, struct written *out);
/* Resolves names, builds the tables and compiles all rates (book_compile.c). */
void book_compile(struct build *b, const struct price_rule *rules, size_t n_rules);
/* Contract rules, and which of them fit which model (book_rules.c). */
void rules_read(struct build *b, const struct price_rule *rules, size_t n_rules);
void rules_assign(struct build *b);

/* False where the window does not hold at that time. */
bool window_holds(const struct window *w, int64_t at_us);

static inline unsigned mask_slot(uint64_t mask, unsigned m)
{
    return (unsigned)__builtin_popcountll(mask & ((UINT64_C(1) << m) - 1));
}

static inline uint64_t meter_bit(enum meter m)
{
    return UINT64_C(1) << (unsigned)m;
}

/* The meter whose rate meter m has in this set, along falls_to; METER_COUNT: none. */
static inline enum meter mask_find(const struct book *book, uint64_t mask, enum meter m)
{
    while (m != METER_COUNT && (mask >> (unsigned)m & 1) == 0)
        m = book->units[m].falls_to;
    return m;
}

static inline bool list_has_nocase(const struct strv_list *list, struct strv s)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strv_eq_nocase(list->at[i], s))
            return true;
    }
    return false;
}

/* The alias of that provider and lower-case id, or NULL. */
const struct alias *book_alias(const struct book *book, uint32_t provider, struct strv id);
/* The model of that name (match.c), lower-cased here; NULL and MATCH_NONE where there is none.
 */
const struct model *match_model(const struct book *book, uint32_t provider, struct strv name,
                                enum price_match *match);
/* The region that a name begins with ("eu" of "eu.model"), behind what is stripped; or empty. */
struct strv match_region(const struct provider *provider, struct strv name);
/* Index of the provider, or n_providers. */
size_t book_provider_index(const struct book *book, struct strv name);
const struct source *book_source_find(const struct book *book, struct strv name);

#endif
