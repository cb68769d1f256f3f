/*
 * xchg_int.h - the inside of an exchange, for the files named xchg*.c alone.
 */
#ifndef PROXY_XCHG_INT_H
#define PROXY_XCHG_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/uuid7.h"
#include "metering/ledger/record.h"
#include "metering/limits/limit.h"
#include "metering/usage/calibration.h"
#include "metering/usage/estimate.h"
#include "metering/usage/links.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"
#include "pricing/price.h"
#include "proxy/conn.h"
#include "proxy/desk.h"
#include "proxy/hold.h"
#include "proxy/http1.h"
#include "proxy/http_msg.h"
#include "proxy/tags.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

enum {
    XCHG_MAGIC = 0x78636867,
    XCHG_ARENA_BYTES = 512 << 10, /* beside the request's head, which may be there twice */
    OUT_SLACK_BYTES = 512 << 10, /* what one read may become: head, chunk heads, held events */
    KEEP_BYTES = 4096, /* buffers up to here are kept: while a stream rests, for the next exchange */
    RESPONSE_HEAD_BYTES = 64 << 10,
    HOLD_RELEASE_MS = 1000, /* an answer that takes longer to arrive is passed on as it comes */
    OUT_BATCH_BYTES = 16 << 10, /* records are collected for one write up to here */
    TURN_READS = 16,        /* reads of one side in one turn; then others have theirs */
    MESSAGE_MAX_BYTES = 512,
    SWITCHING_PROTOCOLS = 101,
};

enum step {
    STEP_AGAIN = 0, /* the state changed: run the new one now */
    STEP_WAIT,      /* nothing to do until one of the state's wakes */
    STEP_DONE,      /* over; the driver releases it */
};

/*      id                    word in the log          */
#define END_REASONS(X)                                   \
    X(END_NONE, "none")                                  \
    X(END_OK, "ok")                                      \
    X(END_OWN_REPLY, "answered")                         \
    X(END_REFUSED, "refused")                            \
    X(END_CLIENT_GONE, "client_gone")                    \
    X(END_CLIENT_SLOW, "client_slow")                    \
    X(END_CONNECT_FAILED, "connect_failed")              \
    X(END_UPSTREAM_GONE, "upstream_gone")                \
    X(END_UPSTREAM_BAD, "upstream_malformed")            \
    X(END_UPSTREAM_TIMEOUT, "upstream_timeout")          \
    X(END_CUT, "cut")                                    \
    X(END_STOPPED, "stopped")

enum end_reason {
#define END_ID(id, name) id,
    END_REASONS(END_ID)
#undef END_ID
};

typedef enum step xchg_state_fn(struct xchg *x);

struct xchg_state {
    const char *name;
    xchg_state_fn *run; /* the only code that runs in this state */
    unsigned wakes;     /* what it may park on; anything else is stale */
    xchg_state_fn *timeout; /* its deadline has passed */
};

struct socket;
struct turn;

extern const struct xchg_state S_HEAD, S_BODY, S_ADMIT, S_PROMPT, S_BEGIN, S_CONNECT, S_RELAY,
    S_COLLECT, S_DRAIN, S_DESK, S_REPLY, S_SETTLE;

/* What RELAY waits for: each has its own deadline. */
enum relay_wait {
    WAIT_NOTHING = 0,
    WAIT_CLIENT_WRITE,
    WAIT_CLIENT_BODY,
    WAIT_FIRST_BYTE,
    WAIT_HELD, /* the rest of an answer that is held: released when it takes long */
    WAIT_MORE,
    WAIT_CLOSE, /* WebSockets: the other side's close */
    WAIT_IDLE,  /* likewise: anything */
};

/* How the body goes to the client. */
enum out_mode {
    OUT_RAW = 0, /* the upstream's bytes, framing included */
    OUT_CHUNKED, /* payload, in chunks of ours */
    OUT_PLAIN,   /* payload until the connection ends */
};

/* What a request on the gateway's own path is. */
enum own_route { OWN_NONE = 0, OWN_HEALTH, OWN_OUTCOME, OWN_BUDGET, OWN_USAGE, OWN_UNKNOWN };

/* One side of the answer that is being relayed. */
struct answer {
    struct buf head_in; /* bytes of a head that has not come whole */
    struct http1_framing framing;
    struct http1_chunked chunked;
    uint64_t left;    /* BODY_LENGTH */
    unsigned interim; /* heads before the final one */
    bool is_last;     /* one of them says that the connection carries no other answer */
    bool has_head;
    bool body_done;   /* all of it was read */
    bool is_stream;   /* the tap sees events */
    bool is_slim;     /* the upstream gave back what the request took of its TLS buffers */
    bool holding;     /* kept whole, for the cost header */
    bool head_sent;   /* the client has (or will have) our head */
    bool encoded;     /* Content-Encoding: nothing can be added to it */
    enum out_mode mode;
    struct buf held;  /* framed body, while holding */
    struct buf pass;  /* what the tap lets pass, when it rewrites */
    uint64_t sent_payload;
    char last[2];     /* last payload bytes sent: is an event complete? */
    struct http1_head head; /* of the final response, once has_head; lines: while it is taken, or held */
};

/* An answer that others may fetch too: who counts it (xchg_collect.c). */
struct collecting {
    bool is_asking;  /* the claim is used */
    bool begun;      /* what is to be counted here is known, and was claimed here */
    bool is_counted; /* by somebody else, or before */
    uint64_t key;    /* of what is claimed; 0: nothing */
    struct work_claim claim;
};

struct xchg {
    uint32_t magic;
    struct worker *worker;
    struct conn *conn; /* NULL once the client is gone and the upstream is drained */
    struct pools *pools;
    const struct config *config;
    struct arena arena;

    /* driver */
    const struct xchg_state *state;
    unsigned pending;
    unsigned woken; /* what the run under way was woken by */
    bool is_ready; /* it stands on worker->ready */
    unsigned stops; /* worker->stops when it was told */
    bool is_hushed; /* the client's bytes are not told of: the state did not want them */
    bool running;
    bool fresh; /* the state was entered and has not run */
    bool upstream_tried; /* the request may have reached the provider */
    int64_t deadline_us; /* of the state, clock_mono_us; INT64_MAX: none. Looked at by a tick */
    struct list_node ready; /* of worker->ready, journal_waiters, dead_xchgs or free_xchgs */
    struct list_node live;  /* of worker's running exchanges */
    enum end_reason end;

    /* the request */
    struct http1_head head; /* views into the arena */
    struct http1_framing framing;
    struct http1_chunked chunked;
    uint64_t body_left;
    bool body_done;     /* all of it was read from the client */
    bool hold_body;     /* needed whole before it is forwarded */
    bool continue_sent; /* 100 (Continue) */
    struct http_target target;
    struct hold body;
    enum own_route own;
    struct desk_job *desk_job; /* asked, not yet answered */

    /* who, where, what */
    struct uuid id;
    char id_text[UUID_TEXT];
    const struct key_config *key;
    struct request_tags tags;
    const struct upstream_config *upstream;
    struct route route;
    struct request_facts facts;
    struct strv model; /* what it is priced and limited as: facts.model, or what is deployed so */
    struct strv deployed; /* likewise, of the deployment that the answer names; empty: none */
    uint64_t prompt_hash, prefix_hash; /* of the body; 0: none */
    bool asked_usage;

    /* admission */
    uint64_t max_output; /* bound of the whole answer, in tokens */
    uint64_t model_max;  /* the model's own, for one answer; 0: not known */
    struct estimate_factors factors; /* as they were when it was admitted */
    uint64_t estimated; /* input tokens of its facts, before the factors */
    struct usage worst_usage;
    struct cost *cost; /* the worst case, from ADMIT to BEGIN; what it was, once counted; else NULL */
    struct usage assumed; /* what its record says, at that cost, where nobody lives to end it */
    struct prompt *prompt; /* that is, or was, counted (xchg_prompt.c); NULL: by its bytes */
    bool reserving; /* a verdict is awaited */
    bool reserved;  /* to be settled */
    uint64_t sync_note; /* of the journal: BEGIN is on disk when it has come so far */
    bool begun;     /* BEGIN is journalled: an END must follow */
    int64_t extend_us; /* when the reservation's deadline is moved next */
    bool is_in_doubt;  /* Redis may have lost it: it is restored then, too */
    struct socket *socket; /* it asked for a WebSocket, or became one; else NULL */
    struct turn *turn;     /* it is a call on one; else NULL */
    struct duplex *duplex; /* its body goes on while the answer comes; else NULL */
    struct growth *growth; /* of a stream without a bound (xchg_grow.c); NULL: none yet */

    /* relay */
    struct upstream_wait wait;
    struct upconn *up;
    enum relay_wait waiting;
    bool progress;      /* bytes moved since the deadline was set */
    bool up_reusable;
    struct answer answer;
    struct strv up_pending; /* of body or up_buf, not yet written */
    struct buf up_buf;      /* streamed uploads */
    bool up_done;           /* the whole request is written */
    bool up_broken;         /* it cannot be: an early answer may still come */
    struct tap *tap;      /* NULL: nothing is read from this answer */
    struct tap *used_tap; /* of an exchange before, to be renewed */
    bool tap_done; /* tap_finish was called */
    struct strv link_to; /* what the provider's address in answers becomes; empty: it stays */
    struct links *links; /* in this answer it does; NULL: not */
    struct buf out; /* to the client, not yet written */
    bool client_gone;
    bool client_had_all; /* when it left: only the end of a stream was still to come */
    int64_t drain_until_us;
    uint64_t drain_left;

    /* the reply of our own, and the end */
    enum refusal refusal;
    bool refused;
    bool close_client; /* no other request on this connection */
    int status;        /* what the client was told, 0: nothing */
    int upstream_status;
    struct record_parts *parts; /* of its cost, where that is a sum; NULL: it is none */
    struct upload *upload; /* a file of a batch that goes by; NULL: none does */
    struct batch *batch; /* of the answers that it fetches; NULL: it does not (xchg_count.c) */
    struct pages *pages; /* the same of those that come in pages (xchg_pages.c) */
    struct session *session; /* of an agent that it is about (xchg_session.c); NULL: of none */
    struct noted *noted; /* the model of what it fetches (xchg_noted.c); NULL: the answer tells */
    struct brought *brought; /* the requests of a batch, where its body has them; NULL: none */
    struct collecting collecting;
    bool counted; /* usage and cost stand */
    bool has_asked_tier; /* it broke off before it told its tier, and the one asked for is dearer */
    enum usage_source usage_source;
    struct usage usage;
    char provider_request_id[TAP_ID_MAX_BYTES];

    int64_t start_wall_us, start_us, first_byte_us; /* the latter two monotonic; -1: none */
    uint64_t bytes_in, bytes_out; /* bodies, as the client sent and got them */

    /*
     * The large one, last: zeroing its array for each exchange was a part of its
     * instructions.  xchg_start clears what of it is read before it is written.
     */
    struct admission admission;
};

/* ---- driver (xchg.c) ---- */
/* Goes to a state: "return xchg_go(x, &S_CONNECT);" */
enum step xchg_go(struct xchg *x, const struct xchg_state *state);
/* Ends it; the first reason wins. */
enum step xchg_end(struct xchg *x, enum end_reason reason);
/* The state has so long from now on; a later call moves it. */
void xchg_within(struct xchg *x, int64_t ms);
/*
 * Its cost, to be written: storage of the worker's, which few have at a time.  As it was left, or
 * with nothing in it that was set.
 */
struct cost *xchg_cost(struct xchg *x);
/* Nobody reads it again before it is written anew; harmless where there is none. */
void xchg_cost_rest(struct xchg *x);
/* Run again this turn, after the others. */
void xchg_again(struct xchg *x);
const char *end_reason_name(enum end_reason reason);
/* While nothing is read from the client: did it leave? What it sends ahead is kept. */
bool xchg_client_left(struct xchg *x);
/* A call on the WebSocket that parent is, with the newest configuration: to be filled and woken. */
struct xchg *xchg_start_turn(struct xchg *parent);

/* ---- the request (xchg_request.c) ---- */
/*
 * A head that was parsed from bytes into the worker's lines, of the request or the answer: it and
 * its lines are in the arena from now on.  False where that is full.
 */
bool xchg_keep_head(struct xchg *x, struct http1_head *head, const char *bytes);
/* What the body said outlives it; the model is the one it is priced and limited as. */
void request_keep_facts(struct xchg *x);
/*
 * Sends 100 (Continue), once, where the client waits for it before it sends its body (RFC
 * 9110 10.1.1).  RC_OK, RC_AGAIN (it waits in x->out), RC_EOF.
 */
enum rc request_continue(struct xchg *x) RC_MUST;

enum { REQUEST_UNPACKED_MAX_BYTES = 8 << 20 }; /* what a compressed body may unpack to */
/*
 * The body as its endpoint will read it: the held one, or what is appended to out (which has that
 * maximum) where it came compressed, and *packed says so.
 */
enum rc request_unpack(struct xchg *x, struct buf *out, struct strv *body, bool *packed) RC_MUST;

/* ---- the prompt by its tokens (xchg_prompt.c) ---- */
/* The prompt can be counted, and was not: go to S_PROMPT, which comes back to S_ADMIT. */
bool prompt_begin(struct xchg *x);
/* Its tokens as the provider will bill them, at the least; estimate where it was not counted. */
uint64_t prompt_tokens(const struct xchg *x, uint64_t estimate);
/* Gives back what counting holds; harmless at any time. */
void prompt_end(struct xchg *x);

/* ---- the bytes that go up (xchg_relay.c) ---- */
/* One write of what waits. RC_OK: it went, or nothing waited; RC_AGAIN; else the upstream is gone. */
enum rc relay_flush_up(struct xchg *x) RC_MUST;

/* ---- both sides speak at once (xchg_duplex.c) ---- */
enum {
    /* Of a client's: AWS takes a million bytes in each, which are base64 twice with sound. */
    DUPLEX_MESSAGE_MAX_BYTES = 2 << 20,
};
/* The head is read, and names such an endpoint. */
enum step duplex_begin(struct xchg *x);
/*
 * The next bytes of the client's body: each message that is whole and sound goes to up_buf, as a
 * chunk.  RC_BAD: what came is none; RC_LIMIT: more than a message may be.
 */
enum rc duplex_take(struct xchg *x, struct strv data) RC_MUST;
/* The body has ended.  RC_BAD: within a message. */
enum rc duplex_end(struct xchg *x) RC_MUST;
/* AWS takes messages that are signed: each from now on, beginning with that of the head. */
void duplex_sign(struct xchg *x, struct strv authorization);
/* After duplex_take or duplex_end: tells the client, as far as it can be told. */
enum step duplex_refuse(struct xchg *x, enum rc why);
/* After a reload: its key is looked up anew. */
void duplex_look(struct xchg *x);
/* Its key, or that one's right to the upstream, is gone, and a word of ours may stand here. */
bool duplex_is_stale(struct xchg *x);
enum step duplex_cut(struct xchg *x);
/* Its memory. */
void duplex_release(struct xchg *x);

/* ---- what the provider is shown (xchg_credential.c) ---- */
enum { CREDENTIAL_HEADERS_MAX = 4 };
struct credential {
    struct http1_header headers[CREDENTIAL_HEADERS_MAX]; /* in the arena */
    size_t n;
};
/*
 * The upstream's credential for the request that rw describes (host, path, query; the body is
 * held where it is signed).  RC_DENIED: a token is needed and none is valid; RC_LIMIT.
 */
enum rc credential_make(struct xchg *x, const struct http_request_rewrite *rw,
                        struct credential *out) RC_MUST;

/* ---- addresses in the answer (xchg_links.c) ---- */
/* Before the request goes up: are there to be any, and what do they become?  RC_LIMIT. */
enum rc links_prepare(struct xchg *x) RC_MUST;
/* The head of the answer is here: begins to change its body, where it can be. */
void links_begin(struct xchg *x);

/* ---- own answers (xchg_reply.c) ---- */
/* Refuses in the protocol's own error shape: message is one sentence. */
COLD enum step xchg_refuse(struct xchg *x, enum refusal refusal, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The budget's or cap's refusal, from admission.denial. */
COLD enum step xchg_refuse_limit(struct xchg *x);
/*
 * The most output tokens with which the request that a limit has just refused would have had
 * room in it; 0 where none would do, or where output does not matter.
 */
uint64_t xchg_output_that_fits(struct xchg *x);
/* An answer of the gateway's own in JSON. */
enum step xchg_answer_json(struct xchg *x, int status, struct strv json);
/* The route below /_tollgate/, its body (if any) is here. */
enum step xchg_answer_own(struct xchg *x);
enum own_route own_route_of(struct strv method, struct strv path);

/* ---- what the desk answers (xchg_desk.c) ---- */
/* OWN_BUDGET and OWN_USAGE. */
enum step xchg_ask_desk(struct xchg *x);

/* ---- the answer on its way to the client (xchg_answer.c) ---- */
/*
 * n bytes came from the upstream, at worker->scratch.  RC_OK; RC_BAD: not HTTP; RC_LIMIT: a
 * bound was passed.  What they hold for the client stands in x->out or was written.
 */
enum rc answer_feed(struct xchg *x, char *bytes, size_t n) RC_MUST;
/* The upstream ended its side, cleanly or not.  True: that was the end of the body. */
bool answer_eof(struct xchg *x, bool clean);
/* The head, as answer.head and answer.mode say, to x->out; whole: what the answer cost is known, and told.
 * Errors are http_build_response's: nothing was said then. */
enum rc answer_send_head(struct xchg *x, bool whole) RC_MUST;
/* Stops holding: what is there goes out, and the rest as it comes. */
enum rc answer_release(struct xchg *x) RC_MUST;
/* A stream ends before its time: an error event in its own form, if it has one. */
void answer_cut(struct xchg *x, enum refusal refusal, const char *message);
/* The answer ends here, before its time: the tap says what it has. Harmless when it is done. */
void answer_abandon(struct xchg *x);
/* Bytes for the client, after what waits in x->out; small ones are collected there. */
enum rc client_put(struct xchg *x, const char *p, size_t n) RC_MUST;
/* RC_OK: nothing is left; RC_AGAIN; RC_EOF: the client is gone. */
enum rc client_flush(struct xchg *x) RC_MUST;

/* ---- answers that others may fetch too (xchg_collect.c) ---- */
/* Before a fetch: what have others counted of it?  A verdict may be awaited (WAKE_LIMIT). */
void collect_ask(struct xchg *x);
/* It is awaited still; what came is taken note of. */
bool collect_is_asking(struct xchg *x);
/*
 * The tap is finished: claims what it saw that may be seen elsewhere.  True: a verdict is
 * awaited; the next call tells whether it still is.
 */
bool collect_claim(struct xchg *x);
/* Nobody waits any more. */
void collect_cancel(struct xchg *x);
/* What was claimed is counted now, here and for good; all of it: nothing is held for it. */
void collect_done(struct xchg *x, bool all);
/* The fetched answer says that nothing more will come of the work: nothing is held for it. */
void collect_failed(struct xchg *x);
/* A number that is remembered of a work (an id that a provider gave) under a name; by this
 * gateway, also after its next start.  collect_noted: 0 where none is known. */
void collect_note(struct xchg *x, struct strv work, const char *what, uint64_t n);
/* Stands for it in what is collected; work is shorter than TAP_ID_MAX_BYTES. */
uint64_t collect_note_key(const struct xchg *x, struct strv work, const char *what);
/* The same, added to what was remembered under that name. */
void collect_note_more(struct xchg *x, struct strv work, const char *what, uint64_t n);
uint64_t collect_noted(const struct xchg *x, struct strv work, const char *what);
/* Instead of a settlement, where the work goes on: its worst case stays reserved. */
bool collect_hold(struct xchg *x);
/* Nothing is held under that id any more; harmless where nothing is. */
void collect_release(struct xchg *x, const struct uuid *work);

/* ---- answers that come in pages (xchg_pages.c) ---- */
enum { PAGES_NAME_BYTES = 1024 };
/* What one of a batch's requests is known by: *text is a view into out, cut if too long. */
void pages_name(struct strv batch, struct strv name, char out[PAGES_NAME_BYTES],
                struct strv *text);
void pages_start(struct xchg *x);
bool pages_on_answer(void *arg, const struct tap_answer *answer);
/* The page is over: claims what it told.  True: a verdict is awaited (WAKE_LIMIT), as may be the
 * next call's. */
bool pages_ask(struct xchg *x);
/* Nobody waits any more; what is known here decides. */
void pages_cancel(struct xchg *x);
/* What was counted, once the verdicts stand; once. */
const struct counted_lines *pages_count(struct xchg *x);
/* The provider's own figure for that; false: it states none. */
bool pages_provider_cost(const struct xchg *x, struct money *out);
/* Legal at any time. */
void pages_release(struct xchg *x);

/* ---- models of works whose answers do not name them (xchg_noted.c) ---- */
/* What is known of one, and the question to Redis where it is not known here. */
struct noted {
    struct work_claim ask;
    bool asked;
    uint64_t note; /* 0: nothing */
};
/* Of a note: the number of a name, and what its user keeps beside it. */
enum { NOTED_NAME_BITS = 32, NOTED_BITS = 38 };
void noted_init(struct noted *n);
/* Of the work of that name: true while Redis is asked (WAKE_LIMIT); then n->note stands. */
bool noted_ask(struct xchg *x, struct noted *n, struct strv name);
/* Nobody waits any more; legal at any time. */
void noted_cancel(struct noted *n);
/* To be known here, also after the next start, and to all who share Redis. */
void noted_tell(struct xchg *x, struct strv name, uint64_t note);
/* The number of a model's name, the same on all nodes and for ever; never 0. */
uint64_t noted_number(struct strv model);
/* The name in the book that has the number in a note; empty: none has. */
struct strv noted_model(const struct xchg *x, uint64_t note);
/* "NAME~what" as the nodes that share Redis know it; false where the name is too long, or none. */
bool noted_work(const struct xchg *x, struct strv name, const char *what, struct uuid *work);
/* Before admission of a fetch whose answer names no model: takes that of the call that began the
 * work.  True: that is asked, and told by WAKE_LIMIT. */
bool noted_learn(struct xchg *x);

/* ---- sessions of agents (xchg_session.c); x->session is set by session_learn ---- */
/* Before admission: which model is it of?  True: that is asked, and told by WAKE_LIMIT. */
bool session_learn(struct xchg *x);
/* The key may set such a session to work. */
bool session_allows(const struct xchg *x);
/* The worst case of a call that does: *most is that of its tokens, where it is priced; false
 * where nobody knows. */
bool session_worst(const struct xchg *x, const struct price_query *tokens, bool priced,
                   struct money *most);
/* In the place of collect_hold. */
bool session_hold(struct xchg *x);
/* The answer is whole: claims what rose since it was counted last.  True: a verdict is awaited
 * (WAKE_LIMIT), as may be the next call's. */
bool session_ask(struct xchg *x);
/* Nobody waits any more; what is known here decides.  Legal at any time. */
void session_cancel(struct xchg *x);
/* Remembers what the answer says of the session. */
void session_note(struct xchg *x);
/* What is to be counted here, once the verdicts stand; once.  False: nothing. */
bool session_count(struct xchg *x, struct usage *out);
/* By how much the provider's own figure rose with it; false: it states none. */
bool session_provider_cost(const struct xchg *x, struct money *out);
/* Where the answer says that the session is at rest nothing is held for it any more. */
void session_rests(struct xchg *x);
/* Several models took what it took. */
bool session_is_mixed(const struct xchg *x);
/* What an answer's own word (told; or empty) leaves open, as it is remembered. */
struct strv session_tier(const struct xchg *x, struct strv told);
struct strv session_region(const struct xchg *x);

/* ---- files of batches (xchg_upload.c) ---- */
/* What the requests of a file may take; sums end at UPLOAD_MAX. */
#define UPLOAD_MAX (UINT64_C(1) << 52)
struct upload_bounds {
    uint64_t requests, input, output; /* tokens */
    uint64_t usd_nano;                /* of those whose lines name a model with a price */
    uint64_t unpriced;                /* the others; not remembered */
};
/* What the body of a call that begins a batch, or adds to one, holds itself. */
struct brought {
    bool is_empty;               /* nothing: other calls add to the batch */
    struct upload_bounds bounds; /* of its requests */
    struct strv name;            /* the client's, of the first of them; empty: it has none */
};
/* Reads them from a body that is not of a form; in the arena, views stay. */
void upload_read_body(struct xchg *x, struct strv body);
/* The next bytes of the request's body, where that may be such a file. */
void upload_feed(struct xchg *x, struct strv bytes);
/* The provider took it, and gave it an id. */
void upload_kept(struct xchg *x, const struct tap_result *seen);
/* Of the file that a batch is begun with; false where it is not known here. */
bool upload_recall(const struct xchg *x, struct upload_bounds *out);
/* How long the sound is that the request names, where that was uploaded through this gateway. */
void upload_recall_sound(struct xchg *x);
/* Legal at any time. */
void upload_release(struct xchg *x);

/* ---- what it took (xchg_count.c) ---- */
/* One answer of a batch, and what several come to. */
struct counted_line {
    struct strv model;
    const struct usage *usage;
    bool said_nothing, has_cost;
    struct money cost; /* as the provider states it */
};
struct counted_lines {
    uint64_t n;
    bool is_billed; /* some of them are */
    bool has_cost;
    struct usage usage;
    struct cost cost;
    struct money provider_cost;
};
/* Priced at the tier of batches; parts beside it are not looked for. */
void count_line(struct xchg *x, const struct counted_line *line, struct counted_lines *sum);
/* Usage and cost from what the tap saw; once. */
void settle_count(struct xchg *x);
/* Which of a batch's answers were counted: all after from, up to to.  False: none. */
bool count_claimed(const struct xchg *x, uint64_t *from, uint64_t *to);
/* The tap is new: where the answer is a batch, its answers are counted as they come. */
void count_answers(struct xchg *x);
/* Likewise: its text is counted by tokens where the model's are known, unless the provider does. */
void count_text(struct xchg *x);
/* The name that an answer is priced by first; served: the answer's own. */
struct strv settle_model(const struct xchg *x, struct strv served);
/* Where it was served: by the answer's word, the configuration's or the path's. */
struct strv settle_region(const struct xchg *x);
/* The tier that it is priced at: as served, or what was asked for where has_asked_tier. */
struct strv settle_tier(const struct xchg *x);
/* What the price may depend on beside counts, as far as request and answer told. */
void settle_details(const struct xchg *x, struct strv out[DETAIL_COUNT]);
/* What the tap has seen, also where there was no tap. */
const struct tap_result *settle_seen(const struct xchg *x);

/* ---- admission (xchg_admit.c) ---- */
/*
 * So much output is reserved for it in all (of a duplex: so much on each side): its BEGIN is
 * journalled anew, and stands for it should nobody live to end it.
 */
void admit_begin_again(struct xchg *x, uint64_t output);
/*
 * The most that so much output beyond what was reserved costs, of whichever model the request lets
 * answer and has a price.
 */
struct money admit_price_output(const struct xchg *x, uint64_t output);

/* ---- a stream that outgrows its reservation (xchg_grow.c) ---- */
/*
 * As the answer passes: reserves more in time.  False: a limit that says so has no more,
 * and all that was reserved is used up.
 */
bool grow_check(struct xchg *x);
/* Ends the stream for a limit's sake, after grow_check gave false. */
enum step grow_cut(struct xchg *x);
/* The deadlines of what was reserved in addition. */
void grow_extend(struct xchg *x);
/* As limiter_restore, for its steps. */
void grow_restore(struct xchg *x);
/* What was reserved in addition goes back: the exchange's own settlement has all. */
void grow_settle(struct xchg *x);

/* ---- limits that came after it (xchg_late.c) ---- */
/* Charges what it took to limits of the newest configurations that its own has not, and to its own
 * where it is owed and nothing was reserved. */
void late_settle(struct xchg *x, int64_t ended_us, const struct limit_amounts *taken);

/* ---- the end (xchg_settle.c) ---- */
void settle_record(struct xchg *x, struct record *r, enum outcome outcome);
enum outcome settle_outcome(const struct xchg *x);

#endif
