/*
 * protocol.h - what differs between providers, as table entries.
 *
 * A protocol says which paths it has and what each is, how to read a request,
 * how to frame and read a response, and how its errors look.  Adding a provider
 * is adding an entry with its vectors; the proxy knows none by name.
 */
#ifndef METERING_USAGE_PROTOCOL_H
#define METERING_USAGE_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"
#include "metering/usage/usage.h"

struct shapes;
struct protocol; /* one of a static table: openai, anthropic, gemini, raw, ... */

/* What an endpoint is to the meter. */
enum endpoint_kind {
    ENDPOINT_METERED =
        0,            /* its answer carries usage: body is held and scanned, answer tapped */
    ENDPOINT_FREE,    /* costs nothing by the provider's word (counting, listing, reading) */
    ENDPOINT_FETCHED, /* tells of an answer that another request had made: tapped, counted once */
    ENDPOINT_SOCKET,  /* opens a WebSocket, on which calls are made (live.h) */
    ENDPOINT_UNTOLD,  /* costs what no answer tells (storage, by the day): passes, unknown */
    ENDPOINT_UNKNOWN, /* nothing here can meter it: `unknown_endpoints` decides */
};

struct endpoint {
    const char *name; /* of the record: "chat.completions", "responses", "messages", ... */
    enum endpoint_kind kind;
};

/* Where a request goes within its protocol. */
struct route {
    const struct endpoint *endpoint;
    struct strv
        path_model;   /* model named in the path, still encoded; empty where in the body */
    bool path_stream; /* the path itself says that the answer is a stream */
    bool is_duplex;   /* the request is a stream too, and goes on while the answer comes */
    struct strv region; /* where the path says that the model is served; empty: it does not */
    struct strv path_id; /* of what an ENDPOINT_FETCHED fetches, or a call adds to; else empty */
    bool is_by_path;     /* by that id it was begun, whatever id the answer has of its own */
    bool is_by_name;     /* answers of a batch, each counted by its request's name */
    bool is_session;     /* of an agent that runs by itself: answers tell what it took in all */
    bool is_unnamed;     /* answers that are fetched do not name the model */
    bool openai_path; /* the path is of the provider's OpenAI-compatible form */
    struct strv query; /* where that says what elsewhere the body does; else empty */
};

/* NULL where there is no protocol of that name. */
const struct protocol *protocol_find(struct strv name);
const char *protocol_name(const struct protocol *p);
/*
 * Names of endpoints whose records are no requests to a limit: the connections on which calls are
 * made, and what was written down beside those.  Static; *n of them.
 */
const struct strv *protocol_beside(size_t *n);
/* The nth protocol's name, NULL past the last: for messages that list them. */
const char *protocol_name_at(size_t n);
/* Header in which this protocol's providers take their key, and what stands before the key
 * ("authorization", "Bearer "). */
void protocol_credential(const struct protocol *p, struct strv *header, struct strv *prefix);
/* Header in which a request may ask for a service tier, where its body does not; empty: none. */
struct strv protocol_tier_header(const struct protocol *p);
/* Under which provider of a price book its models are, unless one is told. */
const char *protocol_book(const struct protocol *p);
/*
 * The provider (of the price book) finishes, and bills, a stream whose reader has left.  Others
 * stop it within a few tokens; answers in one piece nobody is known to stop.
 */
bool protocol_goes_on(const struct protocol *p, struct strv provider);
/* The provider (of the price book) does not bill a refusal in which nothing was said; others'
 * word on that is not known. */
bool protocol_spares_refusals(struct strv provider);
/* It charges a call to the account that the request names instead, or refuses it. */
bool protocol_bills_others(struct strv provider);
/* The name in the path says more of the price than the one in the answer (Bedrock's regions and
 * profiles). */
bool protocol_prices_path(const struct protocol *p);

/*
 * Finds the endpoint of METHOD /path (the path after the upstream's name, without
 * query; any version prefix).  Never fails: what is unknown is ENDPOINT_UNKNOWN,
 * reads (GET, HEAD) of unknown paths are ENDPOINT_FREE.
 */
void protocol_route(const struct protocol *p, struct strv method, struct strv path,
                    struct strv query, struct route *out);

/* A segment of a path that is a version of any API here: "v1", "v1beta", "v1alpha2". */
bool protocol_is_version(struct strv segment);

enum { REQUEST_MODEL_MAX_BYTES = 256, REQUEST_OTHERS_MAX = 8 };

/* A model that a request names beside its own. */
enum request_other_kind {
    OTHER_INSTEAD = 0, /* one of them answers, and is charged alone (OpenRouter's models) */
    OTHER_AFTER,       /* it answers where the one before refused, which is charged too */
    OTHER_TOOL,        /* a tool's */
};
struct request_other {
    struct strv text; /* as the body spells it */
    bool escaped;     /* with escapes; see protocol_other_model */
    enum request_other_kind kind;
};

/*
 * What admission must know of a request.  Views look into the body or path given,
 * or into the facts themselves (model_text, size_text): do not copy the struct by value.
 */
struct request_facts {
    struct strv model;                        /* decoded; empty where the endpoint takes none */
    char model_text[REQUEST_MODEL_MAX_BYTES]; /* holds it where the body spells it with escapes
                                               */
    bool stream;
    bool has_max_output;
    uint64_t max_output_tokens; /* per choice */
    uint64_t choices;           /* n, candidateCount, best_of x prompts; at least 1 */
    uint64_t text_bytes;        /* bytes of prompt text: what an estimate starts from */
    uint64_t media_parts;       /* images, audio, files in the prompt */
    uint64_t messages;          /* messages, turns or inputs in the prompt */
    uint64_t tool_tokens;    /* of tools that the provider describes itself, by their names */
    bool has_tools;
    uint64_t carried_tokens;    /* what a connection has said before, which this call reads too */
    struct strv service_tier;
    bool server_state; /* history kept by the provider: the prompt cannot be estimated from here
                        */
    bool background;   /* answered at once, worked on later: the answer carries no usage */
    bool embeds;       /* the endpoint generates nothing: there is no output to bound */
    bool draws;        /* it generates images: `choices` of them */
    bool speaks;       /* it speaks `characters` of text */
    bool listens;      /* it writes down `audio_ms` of sound */
    bool ranks;        /* it is charged by the search */
    bool later;        /* only accepted: other answers tell what it took */
    bool guards;       /* text is looked at by a guardrail, alone */
    bool guarded;      /* a guardrail looks at the call and its answer, too */
    bool films;        /* it generates videos: `choices` of them, of video_ms each */
    bool enterprise_search; /* searches are of Google's kind for enterprises */
    bool annotates;         /* documents are read with annotations */
    bool bills_others; /* asks the provider to charge a customer's account instead */
    bool sets_to_work; /* of a session: it may run from then on, and take what no bound tells */
    struct strv agent; /* of a session: whose it is to be; empty: not said */
    bool names_model;  /* of a session: the body itself names the model */
    bool may_mix;      /* of a session: for all that the body says other models may work too */
    uint64_t session_cents; /* of a session: the most that it may cost; 0: not said */
    uint64_t characters;
    uint64_t video_ms;             /* 0: not said */
    uint64_t audio_ms;             /* as far as the file tells its length, else by its size */
    bool audio_is_guess;           /* nobody tells: audio_ms is what the table reserves */
    bool has_extras;               /* it asks for more than its model's own price covers */
    struct strv sound; /* the address of the sound that it names */
    struct strv size, quality;     /* of images and videos; empty: not said */
    char size_text[24];            /* holds it where the body has two numbers */
    struct strv input_file;        /* of a batch: the file of its requests; empty: none */
    struct strv search_ctx;        /* how much a search is to take in; empty: not said */
    uint64_t searches;         /* that tools may make, at a fee each; as far as it says so */
    /* Other models that it names; others_untold: and some that are not here. */
    struct request_other others[REQUEST_OTHERS_MAX];
    size_t n_others;
    bool others_untold;
    bool asks_usage;   /* stream_options.include_usage is true already */
    /* How to ask for usage: replace [edit_at, edit_at + edit_cut) by edit_text. */
    bool can_ask_usage;
    size_t edit_at, edit_cut;
    struct strv edit_text; /* static */
};

/*
 * Reads a whole request body, in one forward pass.  RC_BAD where it is not what
 * the endpoint takes (no JSON object, model not a string) or could read
 * as another request to the provider (model, stream or stream_options twice, or
 * spelled in another case); facts are then zero.  RC_LIMIT where nesting passes
 * JSCAN_DEPTH_MAX.  known (NULL: none): bodies read before, see shape.h.
 */
enum rc protocol_scan_request(const struct protocol *p, const struct route *route,
                              struct strv body, struct shapes *known,
                              struct request_facts *out) RC_MUST;

/* The name of such a model, in *out, which may look into text; false where it is none. */
bool protocol_other_model(const struct request_other *other, char text[REQUEST_MODEL_MAX_BYTES],
                          struct strv *out);

/* Where files are uploaded that may hold the requests of a batch (batch_file.h). */
enum upload_kind {
    UPLOAD_NONE = 0,
    UPLOAD_FILE,   /* in one piece; the answer's id is the file's */
    UPLOAD_PART,   /* a piece of what the path names */
    UPLOAD_JOINED, /* what the path names is a file now; the answer has the file's id */
    UPLOAD_SOUND,  /* sound that another request will name by the address in the answer */
};
enum upload_kind protocol_upload_kind(const struct route *route);

/* The same of a request whose body nobody reads: what its path says. RC_BAD where that is no
 * model's name. */
enum rc protocol_path_facts(const struct route *route, struct request_facts *out) RC_MUST;

/*
 * The same of a form (multipart/form-data, RFC 7578): its fields are read, its files only
 * measured.  content_type is the header's value, which names the boundary.  RC_BAD also
 * where the parts could be told apart in another way.
 */
enum rc protocol_scan_form(const struct protocol *p, const struct route *route,
                           struct strv content_type, struct strv body,
                           struct request_facts *out) RC_MUST;
/*
 * The same of a body that is sound itself: all else stands in the path and its query.  RC_BAD
 * where that is no request.
 */
enum rc protocol_scan_sound(const struct route *route, struct strv body,
                            struct request_facts *out) RC_MUST;
/*
 * By what name a file of sound is remembered: its whole address, since another host may call its
 * files alike, without the slashes behind which a name would be taken to begin (collected.h).
 * False where size bytes of text, which *name is a view of, do not hold it.
 */
bool protocol_sound_name(struct strv address, char *text, size_t size, struct strv *name);
/* Bodies of that type are sound there. */
bool protocol_is_sound(const struct route *route, struct strv content_type);
/* The value of a Content-Type that is such a form. */
bool protocol_is_form(struct strv content_type);

/* The gateway's own refusals; each knows its HTTP status and its place in every error shape. */
#define REFUSALS(X)                                                                            \
    X(REFUSE_INVALID_TAG, 400, "invalid_tag")                                                  \
    X(REFUSE_MISSING_TAG, 400, "missing_tag")                                                  \
    X(REFUSE_BAD_REQUEST, 400, "bad_request")                                                  \
    X(REFUSE_INVALID_KEY, 401, "invalid_key")                                                  \
    X(REFUSE_BUDGET_EXHAUSTED, 402, "budget_exhausted")                                        \
    X(REFUSE_MODEL_NOT_ALLOWED, 403, "model_not_allowed")                                      \
    X(REFUSE_TAG_NOT_ALLOWED, 403, "tag_not_allowed")                                          \
    X(REFUSE_ENDPOINT_NOT_ALLOWED, 403, "endpoint_not_allowed")                                \
    X(REFUSE_MODEL_NOT_PRICED, 403, "model_not_priced")                                        \
    X(REFUSE_UNKNOWN_UPSTREAM, 404, "unknown_upstream")                                        \
    X(REFUSE_REQUEST_TIMEOUT, 408, "request_timeout")                                          \
    X(REFUSE_BODY_TOO_LARGE, 413, "body_too_large")                                            \
    X(REFUSE_HEADERS_TOO_LARGE, 431, "headers_too_large")                                      \
    X(REFUSE_RATE_LIMITED, 429, "rate_limited")                                                \
    X(REFUSE_UPSTREAM_UNREACHABLE, 502, "upstream_unreachable")                                \
    X(REFUSE_UPSTREAM_TIMEOUT, 504, "upstream_timeout")                                        \
    X(REFUSE_DRAINING, 503, "draining")                                                        \
    X(REFUSE_OVERLOADED, 503, "overloaded")                                                    \
    X(REFUSE_COUNTERS_UNAVAILABLE, 503, "counters_unavailable")

enum refusal {
#define REFUSAL_ID(id, status, code) id,
    REFUSALS(REFUSAL_ID)
#undef REFUSAL_ID
        REFUSAL_COUNT
};

const char *refusal_code(enum refusal r);
int refusal_status(enum refusal r);

struct refusal_shape {
    int status; /* as this protocol's SDKs expect it; mostly refusal_status */
    const char *content_type;
    const char *extra_header; /* "name: value\r\n..." this shape needs besides, or "" */
};

/*
 * Appends the refusal's body in the error shape of the endpoint that was called (route NULL,
 * or without an endpoint: the protocol's own; p NULL: plain JSON).  message is for a human,
 * one sentence; request_id is the record's id; retry_ms: after how many milliseconds trying
 * again makes sense, where the shape has a place for it (Google's), 0: it does not.
 */
enum rc protocol_refusal(const struct protocol *p, const struct route *route, enum refusal r,
                         struct strv message, struct strv request_id, int64_t retry_ms, struct buf *body,
                         struct refusal_shape *shape) RC_MUST;

/*
 * Appends an error event in the form that ends a stream of this endpoint (SSE
 * event, element of a JSON array, NDJSON line), so that no SDK takes the end for
 * success.  framing is what the tap saw (see tap.h).
 */
enum stream_framing {
    FRAMING_NONE = 0, /* not a stream */
    FRAMING_SSE,
    FRAMING_JSON_ARRAY,
    FRAMING_NDJSON,
    FRAMING_EVENTSTREAM,
};
enum rc protocol_stream_error(const struct protocol *p, const struct route *route,
                              enum stream_framing framing, enum refusal r, struct strv message,
                              struct buf *out) RC_MUST;

#endif
