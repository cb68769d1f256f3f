/*
 * tap.h - reads usage from the bytes that pass, holding small bounded state.
 *
 * The proxy feeds it every byte of a response's body as it relays it, split
 * anywhere; nothing waits for the tap.  Compressed bodies are decompressed for the
 * tap alone.  What is not what it claims to be is passed over: the tap then
 * reports no usage and why, and never fails.
 */
#ifndef METERING_USAGE_TAP_H
#define METERING_USAGE_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tokenizer.h"
#include "metering/usage/usage.h"
#include "pricing/money.h"

enum {
    TAP_MODEL_MAX_BYTES = 256,
    TAP_ID_MAX_BYTES = 128,
    TAP_TEXT_MAX_BYTES = 256 << 10, /* of generated text that is counted by its tokens */
};

struct shapes;
struct tap;

/* A header's value by its lower-case name; empty where absent. */
typedef struct strv tap_header_fn(void *arg, struct strv name);

struct tap_response {
    int status;
    struct strv content_type; /* header values, empty where absent */
    struct strv content_encoding;
    struct strv request_id; /* value of the provider's request id header */
    tap_header_fn *header;  /* for what else some providers say there; NULL: nothing */
    void *header_arg;
};

/* How the answer ended, as the protocol itself tells it. */
enum tap_end {
    TAP_END_NONE = 0, /* no terminator seen: broken off, if the protocol has one */
    TAP_END_COMPLETE,
    TAP_END_TRUNCATED, /* hit its output bound */
    TAP_END_REFUSED,   /* by the model */
    TAP_END_ERROR,     /* an error document, or an error inside the stream */
};

struct tap_result {
    struct usage usage;
    bool has_usage;      /* the provider gave counts */
    bool usage_is_final; /* they are its last word (not the placeholder of a stream's start) */
    bool inconsistent;   /* parts exceed wholes, negative or absurd counts: clamped or dropped;
                            or another model took part, whose counts are not in the usage */
    bool broke_off;      /* a stream ended in good order, but without the word that ends it */
    bool undecodable;    /* broken compression, framing or JSON */
    enum tap_end end;
    enum stream_framing framing;
    char model[TAP_MODEL_MAX_BYTES]; /* as served; terminated; "" where not said */
    char service_tier[64];           /* as the provider spells it; see usage_priced_tier */
    char region[32];                 /* "us" where that has a price of its own */
    char request_id[TAP_ID_MAX_BYTES];
    bool has_provider_cost;
    int64_t provider_cost_atto_hi, provider_cost_atto_lo; /* nano and rest: see money_split */
    uint64_t output_bytes; /* bytes of generated text seen: for an estimate */
    bool text_counted;     /* by tap_count_text, the provider having given no last word */
    uint64_t text_tokens;  /* of it; at most USAGE_MAX_COUNT */
    bool pending;          /* the work goes on after this answer: another will tell what it took */
    char work_id[TAP_ID_MAX_BYTES]; /* the answer's own, by which others may fetch it; "": none */
    char kept_id[TAP_ID_MAX_BYTES]; /* of an answer with usage that can be fetched again, which
                                     * tells the same usage again; "": it cannot; of a dream:
                                     * the session in which it runs */
    bool said_nothing;   /* Anthropic's model refused before it had said anything */
    bool work_over;      /* it tells of work of which nothing more will come, done or not */
    char size[16];       /* of a video, where that has its price; "": not said */
    uint64_t videos;     /* that came without their length; usage has the longest they may be */
    char search_ctx[16]; /* how much a search took in, where that has its price; "": not said */
    bool is_rough;       /* by the provider's own word its counts, or the rates known here, are
                          * not what it charges */
    bool guard_told;     /* it tells what a guardrail took for it (Bedrock) */
    /* Of an agent that runs by itself: */
    bool is_session; /* usage and cost are what its session took since it began, so far */
    bool is_at_rest; /* nothing of it runs now, and they tell all */
    bool is_mixed;   /* several models took it, and nothing tells how much each */
    uint64_t session_cents; /* the most that the session may cost; 0: not said */
    char agent_id[TAP_ID_MAX_BYTES]; /* whose it is, or the agent told of; "": not said */
};

/* What another model took for the answer at rates of its own: beside its usage, or of it. */
struct tap_part {
    struct strv model; /* empty: not said */
    const struct usage *usage;
    bool is_share; /* of the usage, which is the sum of such parts and no model's own */
};

/*
 * One answer of a batch: the nth of its list, from 0.  Returns false where it was counted
 * before: it then is no part of the result's usage.  Called while tap_feed and tap_finish run.
 */
struct tap_answer {
    uint64_t n;
    const struct usage *usage; /* NULL: it has none; told only where it has a name */
    struct strv model;
    bool said_nothing; /* as of tap_result; its parts are those of tap_part, while it is told */
    struct strv name;  /* the client's for its request, else the answer's id; or empty */
    bool has_cost;     /* as the provider states it */
    struct money cost;
};
typedef bool tap_answer_fn(void *arg, const struct tap_answer *answer);

/* For one response. asked_usage: the proxy itself asked for the usage event, which is dropped.
 */
struct tap *tap_new(const struct protocol *p, const struct route *route, bool asked_usage);
/* Its response is over: keeps its own memory alone.  Only tap_renew and tap_free may follow. */
void tap_rest(struct tap *tap);
/* tap_new in the memory of `used`, which rests; NULL: in new memory. */
struct tap *tap_renew(struct tap *used, const struct protocol *p, const struct route *route,
                      bool asked_usage);
void tap_free(struct tap *tap);
/* Before tap_head: answers that are like earlier ones are read by comparing; shape.h.  Borrowed. */
void tap_know(struct tap *tap, struct shapes *known);
/* The final response head (not 1xx). */
void tap_head(struct tap *tap, const struct tap_response *head);

/*
 * n bytes of the body, as they came.  With asked_usage and an uncompressed SSE
 * stream the client sees what tap_feed appended to pass instead (bytes of an
 * incomplete event are held back, at most TAP_HOLD_MAX_BYTES); otherwise pass is
 * left alone and the client sees the same n bytes.  tap_rewrites says which.
 */
enum { TAP_HOLD_MAX_BYTES = 64 << 10 };
bool tap_rewrites(const struct tap *tap);
enum rc tap_feed(struct tap *tap, struct strv bytes, struct buf *pass) RC_MUST;
/* The body ended (clean: by its framing). Held bytes are appended to pass. */
enum rc tap_finish(struct tap *tap, bool clean, struct buf *pass) RC_MUST;

/*
 * False where the client has a part of something that only its rest can make whole: a frame
 * of an AWS event stream.  Nothing of the gateway's own may then follow.
 */
bool tap_is_between(const struct tap *tap);
/*
 * Generated text is to be counted with this vocabulary where the provider gives no last word;
 * before tap_head.  Borrows t until tap_finish or tap_rest.  Holds at most TOKEN_BUFFER_BYTES of
 * text (four times that for one word), and counts nothing of a shorter answer whose provider
 * says what it took.
 */
void tap_count_text(struct tap *tap, struct tokenizer *t, enum token_encoding e);
/* Tokens of the text so far, the last few of them estimated; false where they are not counted. */
bool tap_text_so_far(struct tap *tap, uint64_t *tokens);
/* Of a route whose answer is a batch of answers; before tap_head. */
void tap_on_answer(struct tap *tap, tap_answer_fn *fn, void *arg);

/* The ith part, once the tap is finished; false past the last. */
bool tap_part(const struct tap *tap, size_t i, struct tap_part *out);

/* The id of the ith search that is told of by itself, in its order; empty past the last. */
struct strv tap_search(const struct tap *tap, size_t i);

/* What is known so far; `end` is set by tap_finish alone. Lives as long as the tap. */
const struct tap_result *tap_result(const struct tap *tap);

#endif
