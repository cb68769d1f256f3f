/*
 * reader.h - what a dialect's answers say, document by document.
 *
 * A reader is a graph for jscan and a function that takes its events.  It collects
 * the provider's own counts as they stand (struct raw_counts) and turns them into
 * struct usage once, by the dialect's arithmetic.  Framing, compression and the
 * client's bytes are the tap's business.  Nothing outside metering/usage includes it.
 */
#ifndef METERING_USAGE_READER_H
#define METERING_USAGE_READER_H

#include "metering/usage/jscan.h"
#include "metering/usage/protocol_int.h"
#include "metering/usage/tap.h"
#include "pricing/money.h"

/* Counts as the wire has them, under whatever name. */
#define RAW_COUNTS(X)                                                                          \
    X(RAW_INPUT)                                                                               \
    X(RAW_OUTPUT)                                                                              \
    X(RAW_TOTAL)                                                                               \
    X(RAW_CACHED)                                                                              \
    X(RAW_WRITE)                                                                               \
    X(RAW_WRITE_5M)                                                                            \
    X(RAW_WRITE_1H)                                                                            \
    X(RAW_IN_AUDIO)                                                                            \
    X(RAW_IN_IMAGE)                                                                            \
    X(RAW_REASONING)                                                                           \
    X(RAW_OUT_AUDIO)                                                                           \
    X(RAW_OUT_IMAGE)                                                                           \
    X(RAW_TOOL_INPUT)                                                                          \
    X(RAW_WEB_SEARCH)                                                                          \
    X(RAW_FILE_SEARCH)                                                                         \
    X(RAW_CODE)                                                                                \
    X(RAW_X_SEARCH)                                                                            \
    X(RAW_MAPS)                                                                                \
    X(RAW_IMAGES)                                                                              \
    X(RAW_AUDIO_MS)                                                                            \
    X(RAW_VIDEO_MS)                                                                            \
    X(RAW_PAGES)                                                                               \
    X(RAW_SEARCH_UNITS)                                                                        \
    X(RAW_IN_VIDEO)                                                                            \
    X(RAW_CITATION)                                                                            \
    X(RAW_CACHED_AUDIO)                                                                        \
    X(RAW_CACHED_IMAGE)                                                                        \
    X(RAW_OUT_VIDEO)                                                                           \
    X(RAW_IN_IMAGES)                                                                           \
    X(RAW_ATTACHMENT)                                                                          \
    X(RAW_SESSION_MS)                                                                          \
    X(RAW_CHARACTERS)

enum raw_count {
#define RAW_ID(id) id,
    RAW_COUNTS(RAW_ID)
#undef RAW_ID
        RAW_COUNT
};

_Static_assert((int)RAW_COUNT <= 32, "a bit each");

struct raw_counts {
    uint64_t n[RAW_COUNT];
    uint32_t has;
    bool odd; /* a count was negative, fractional, a string or too large, and was dropped */
};

static inline bool raw_has(const struct raw_counts *c, enum raw_count id)
{
    return (c->has >> id & 1u) != 0;
}
static inline void raw_set(struct raw_counts *c, enum raw_count id, uint64_t n)
{
    c->n[id] = n;
    c->has |= 1u << id;
}
/* What was told under one name is the count of another. */
static inline void raw_move(struct raw_counts *c, enum raw_count from, enum raw_count to)
{
    if (raw_has(c, from))
        raw_set(c, to, c->n[from]);
    c->n[from] = 0;
    c->has &= ~(1u << from);
}

/* Kinds of documents that matter by themselves. */
enum document_type {
    DOCUMENT_PLAIN = 0, /* no type member, or one that says nothing here */
    DOCUMENT_FINAL,     /* the stream's last word */
    DOCUMENT_TRUNCATED, /* the same, cut short */
    DOCUMENT_FAILED,    /* the same, of a failure */
    DOCUMENT_DELTA,     /* of Anthropic's: running counts */
    DOCUMENT_START,     /* of Anthropic's: output is a placeholder */
    DOCUMENT_COMPLETION, /* of Anthropic's first interface: the last one has its stop reason */
    DOCUMENT_ERROR,
};

/*      id                 member of Bedrock's answers           priced as */
#define GUARD_POLICIES(X)                                                                      \
    X(GUARD_CONTENT, "contentPolicyUnits", "guardrail.content")                                \
    X(GUARD_IMAGE, "contentPolicyImageUnits", "guardrail.image")                               \
    X(GUARD_TOPIC, "topicPolicyUnits", "guardrail.topic")                                      \
    X(GUARD_WORD, "wordPolicyUnits", "guardrail.word")                                         \
    X(GUARD_SENSITIVE, "sensitiveInformationPolicyUnits", "guardrail.sensitive")               \
    X(GUARD_REGEX, "sensitiveInformationPolicyFreeUnits", "guardrail.regex")                   \
    X(GUARD_GROUNDING, "contextualGroundingPolicyUnits", "guardrail.grounding")                \
    X(GUARD_REASONING, "automatedReasoningPolicyUnits", "guardrail.reasoning")

/* A guardrail's policies, each charged by itself. */
enum guard_policy {
#define GUARD_ID(id, member, model) id,
    GUARD_POLICIES(GUARD_ID)
#undef GUARD_ID
        GUARD_COUNT
};

struct reading;

/* The tier of what Bedrock serves with its latency optimized, which is priced as one. */
#define TIER_OPTIMIZED "latency-optimized"

/* A field of a response's head that says what was taken. */
struct reader_header {
    const char *name;
    unsigned count; /* of `metered`: a raw_count; or one of HEADER_ */
};
enum {
    HEADER_TIER = RAW_COUNT, /* the service tier */
    HEADER_LATENCY,          /* the same where it says "optimized" */
};

/* What a word of the wire means: a tap_end of a finish reason, a document_type of a type. */
struct reader_word {
    const char *word;
    uint8_t means;
};

/* Takes what the value of a node says. */
typedef void fact_fn(struct reading *r, const struct jscan_event *e);

struct reader {
    const struct jscan_node *nodes;
    uint8_t root; /* node of a document; its own item, so that an array of them reads as well */
    jscan_fn *on_event;       /* arg is the reading */
    fact_fn *const *facts;    /* by node; NULL: its value says nothing. See reading_fact() */
    uint32_t amounts;         /* bits of raw counts of which a usage object has one; see
                                 reading_usage() */
    void (*begin_document)(struct reading *r); /* NULL: reading_begin() does all */
    /* A document that broke off: take what is whole of it. */
    void (*end_document)(struct reading *r);
    const struct reader_header *headers; /* of answers that are no errors */
    size_t n_headers;
    void (*end_headers)(struct reading *r); /* some of them were there */
    bool head_says_all; /* nothing of a body is read */
    bool has_terminator; /* a stream without its last event broke off, however well it ended */
    /* Each ends on a NULL word. */
    const struct reader_word *finishes; /* any other word: TAP_END_COMPLETE */
    const struct reader_word *types;    /* any other word: DOCUMENT_PLAIN */
    bool cache_is_apart;                /* what was read from it is no part of the input billed */
    bool images_are_inside;             /* their tokens are part of the input that is told */
};

/* What another model than the answer's did for it, at rates of its own. */
enum part_kind {
    PART_ITERATION = 1,
    PART_SVG,
    PART_DRAWING,
    PART_GUARD, /* a guardrail's policy */
    PART_SHARE, /* not beside the usage: all of that is the sum of such parts */
};

enum { PARTS_MAX = 8 }; /* a guardrail has as many policies */
_Static_assert((int)GUARD_COUNT <= (int)PARTS_MAX, "each policy is a part");

struct parts {
    size_t n;
    struct {
        enum part_kind kind;
        char model[TAP_MODEL_MAX_BYTES]; /* "": not said */
        struct usage usage;
    } at[PARTS_MAX];
};

/* Searches that an answer tells of one by one, each by its own id: some answers tell it again. */
enum { SEARCHES_MAX = 128, SEARCH_ID_MAX = 64 };
struct searches {
    size_t n;
    char id[SEARCHES_MAX][SEARCH_ID_MAX]; /* terminated */
};

/* What has been read of one response. */
struct reading {
    const struct reader *reader;
    unsigned flags; /* ENTRY_... of the endpoint */
    struct tap_result result;
    bool is_stream;      /* documents are events */
    bool terminator;     /* the protocol's own end was seen */
    bool error;          /* an error document, or an error among the events */
    bool has_head_tier;  /* the answer's head told the service tier */
    enum tap_end finish; /* the worst of the finish reasons seen, TAP_END_NONE: none */

    /* of the document being read */
    bool open;
    enum document_type type;
    bool has_choices, has_filled_choices,
        has_other; /* what an added usage event has or has not */
    bool is_usage_event;
    bool has_counts;   /* `counts` were given in this document */
    unsigned items[3]; /* searches, file searches, code runs among its output items */
    uint64_t searches; /* that it gives beside its usage */
    bool has_searches;
    uint64_t queries; /* the most searches that any document had */
    uint8_t item_kind;
    bool is_done;        /* it says that the work is */
    bool item_no_search; /* a web search item that opened or read a page */

    struct raw_counts counts; /* of the last usage object, or laid over each other */
    struct raw_counts before; /* the same before the usage object being read */
    bool has_cost;
    money_int cost_atto;
    /* Anthropic: what each kind of iteration took that the totals leave out */
    struct raw_counts compaction;
    uint8_t iteration_kind;
    /* Bedrock: its own figures beside the vendor's; one line of what was written to the cache
     */
    struct raw_counts metered, write;
    bool write_is_1h;
    uint64_t guard[GUARD_COUNT]; /* units that a guardrail's policies looked at */
    bool is_guarded;             /* some of that was told */
    bool fast;
    bool has_blocks;  /* it has some content */
    bool is_credited; /* what it wrote to the cache is charged as if it had been read */
    /* OpenAI's */
    uint64_t drawn;     /* images that came as events */
    bool is_perplexity; /* whose reasoning is beside its output */
    bool is_step;       /* the document tells of a step of a run, which tells of all */
    bool is_kept;       /* the provider keeps it, for requests that fetch it */
    bool is_deferred;   /* the document names a request and may hold no more: xAI */
    uint64_t whole_text; /* bytes of text that each event repeats from its beginning */
    /* Google: one line of a list of modalities */
    uint64_t modality_tokens;
    uint8_t modality;
    bool has_modality_tokens;
    bool has_maps; /* some of what it says stands on a place of Google Maps */

    /* What each document changes; all above changes by what documents say alone (repeat.h). */
    uint64_t documents;
    /* Nor does it matter when these are set again to what they are. */
    struct parts *parts; /* NULL: none */
    struct searches *named; /* NULL: none */
    struct raw_counts iteration; /* what is being read of a part */
    struct raw_counts beside;    /* what a document tells beside its usage: lengths, timings */
    uint64_t data;              /* items of a document's list of results */
    char id[TAP_ID_MAX_BYTES];  /* of the document's answer */
    /* of a batch: how far it is */
    uint64_t requests, requests_left; /* the latter where has_left */
    bool has_left, is_rejected;
    /* One answer of a batch was read; NULL: there are none. */
    void (*on_answer)(struct reading *r);
    struct jscan scan;
    /* Texts, which are begun as empty and not cleared. */
    char iteration_model[TAP_MODEL_MAX_BYTES];
    char tool_model[TAP_MODEL_MAX_BYTES]; /* OpenAI's, that draws */
    char name[JSCAN_TEXT_MAX + 1]; /* in a batch: the client's for the request of an answer */
};

/* Of what a route answers; NULL where that carries no usage. */
const struct reader *reader_find(const struct route *route);

extern const struct reader READER_OPENAI;
extern const struct reader READER_RESPONSES;
extern const struct reader READER_ANTHROPIC;
extern const struct reader READER_GEMINI;
extern const struct reader READER_BEDROCK;
extern const struct reader READER_PREDICT;
extern const struct reader READER_COHERE;
extern const struct reader READER_OLLAMA;
extern const struct reader READER_SERVER;
extern const struct reader READER_SESSION;
extern const struct reader READER_AGENTS;
extern const struct reader READER_GUARD;
extern const struct reader READER_DASHSCOPE;
extern const struct reader READER_CREDITS;
extern const struct reader READER_SCRIBE;
extern const struct reader READER_DEEPGRAM;
extern const struct reader READER_AURA;
extern const struct reader READER_ASSEMBLYAI;

/* Takes a count from a scalar; null leaves it as it was. */
void reading_count(struct raw_counts *counts, enum raw_count id, const struct jscan_event *e);
/* The same from a number of seconds, kept in milliseconds, rounded up. */
void reading_seconds(struct raw_counts *counts, enum raw_count id, const struct jscan_event *e);
/* Copies a string of printable text, terminated; false (and out untouched) for anything else.
 */
bool reading_text(const struct jscan_event *e, char *out, size_t size);
/* The event's string is this, escapes aside. */
static inline bool reading_is(const struct jscan_event *e, const char *text)
{
    return e->what == JSCAN_AT_VALUE && e->type == JSCAN_STRING && !e->cut && e->text.n > 0 &&
           e->text.p[0] == text[0] && strv_eq(e->text, strv_z(text));
}
/* A finish reason was seen; the worst stays. */
void reading_finish(struct reading *r, enum tap_end finish);
/* A cost in units of 10^-scale dollars, from a number or a string that holds one. */
void reading_cost(struct reading *r, const struct jscan_event *e, int scale);

/* Keeps a part beside the usage; more than PARTS_MAX make the result inconsistent. */
void parts_add(struct reading *r, enum part_kind kind, const char *model,
               const struct usage *usage);
/* Forgets those of one kind: what follows replaces them. */
void parts_drop(struct reading *r, enum part_kind kind);
/*
 * The usage is whole: shares that do not add up to it say nothing (Groq's streams tell of the
 * whole under each model's name), and the result is inconsistent.
 */
void parts_check_shares(struct reading *r);

/* Takes what a policy of a guardrail looked at; of several guardrails, or looks, the sum. */
void reading_guard(struct reading *r, enum guard_policy policy, const struct jscan_event *e);
/* What they took as parts of that kind, in the place of those before; returns their sum. */
uint64_t reading_guard_parts(struct reading *r, enum part_kind kind);

/* The answer whose counts were read has an id, by which it may be fetched and told again. */
void reading_keep_id(struct reading *r);

/* A document's own object begins; what is known of the one before is forgotten. */
void reading_begin(struct reading *r);
/* It ends, or breaks off: what is whole of it is taken. */
void reading_end(struct reading *r);
/* Either of them, at the brackets of a document. */
void reading_root(struct reading *r, const struct jscan_event *e);
/* The brackets of a usage object; of several in a document the last that has an amount holds. */
void reading_usage(struct reading *r, const struct jscan_event *e);
/* The member for errors; true, and the answer is one, where it is a string or has brackets. */
bool reading_error(struct reading *r, const struct jscan_event *e);

/* The value of a node, which is below those of the raw counts, by the reader's table. */
static inline void reading_fact(struct reading *r, const struct jscan_event *e)
{
    fact_fn *take = r->reader->facts[e->node];

    if (take != NULL && e->what == JSCAN_AT_VALUE)
        take(r, e);
}

fact_fn fact_model;   /* of the answer */
fact_fn fact_tier;    /* of service */
fact_fn fact_type;    /* of the document, by the reader's words */
fact_fn fact_finish;  /* why it ended, by the reader's words */
fact_fn fact_id;      /* of the document's answer */
fact_fn fact_cost;    /* in dollars */
fact_fn fact_seconds; /* of audio */

/* The provider's cost as far as it is known goes to the result. */
void reading_keep_cost(struct reading *r);

/*
 * Counts whose input holds neither cache reads nor writes, as usage that holds them.  Writes
 * with one hour to live are told apart; the rest, told or not, lives five minutes.  False
 * where some did not fit and were clamped or dropped.
 */
bool usage_from_disjoint(const struct raw_counts *c, struct usage *u);

/* Sets field to part, at most *room, from which it is taken; false where it had to be clamped.
 */
bool usage_set_part(struct usage *u, enum usage_field field, uint64_t part, uint64_t *room);
/* The modalities of input and output and the reasoning, as far as they were given. Modalities
 * cut across the cache, so each kind of part has its whole to itself. False where one had to be
 * clamped. */
bool usage_set_modalities(struct usage *u, const struct raw_counts *c, uint64_t input,
                          uint64_t output);
/* Counted units: searches, images, seconds, pages, ... as far as they were given. */
void usage_set_units(struct usage *u, const struct raw_counts *c);
/* Some of them are what is charged, not only added to tokens. */
bool usage_says_amount(const struct usage *u);

#endif
