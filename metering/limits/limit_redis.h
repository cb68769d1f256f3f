/*
 * limit_redis.h - the Redis engine: operations, batches, one connection; internal.
 *
 * Operations are queued in order and sent in numbered batches, one script call a
 * batch.  The script applies batch n of a limiter only after n - 1 and only once, so
 * that whatever was sent and not acknowledged can be sent again.  Nothing is ever
 * overtaken.
 */
#ifndef METERING_LIMITS_LIMIT_REDIS_H
#define METERING_LIMITS_LIMIT_REDIS_H

#include "metering/limits/limit_int.h"

struct redisAsyncContext;

enum {
    /*
     * What comes while a call is under way goes together in the next: under load calls grow
     * instead of multiplying, which took a quarter off Redis' time a request (make bench).
     */
    BATCHES_ON_WIRE_MAX = 1,
    BATCH_FAULTS_MAX = 5, /* a script that fails so often for one batch loses it */
    BATCH_MAX_BYTES = 16 << 20,
    INSTANCE_TEXT = 33,
    CONNECT_TIMEOUT_MS = 2000,
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    STALL_CLOSE_MS = 3000, /* a connection that answers nothing so long is given up */
    AWAIT_POLL_MS = 100,   /* how often an empty Redis is asked whether it was rebuilt */
    MOVING_POLL_MS = 10,   /* how often a slot that is being moved is asked for */

    LEASE_TICK_MS = 250,     /* how often what was taken from leases is told */
    LEASE_EARLY_MS = 20,     /* the soonest that a lease running low is renewed */
    LEASE_SPAN_MS = 1000,    /* a slice lasts so long at the pace of late */
    LEASE_START_USES = 4,    /* requests between two ticks that make a lease worth its calls */
    LEASE_LEAST_USES = 4,    /* requests that the smallest slice has room for */
    LEASE_IDLE_TICKS = 4,    /* without a request: all is given back */
    LEASE_SHARE = 16,        /* a slice is at most one such part of the room, a process */
    LEASE_DEADLINE_S = 30,   /* of the whole lease in Redis; then it counts as spent */
    LEASE_RENEW_MS = 10000,  /* a lease that changes in nothing is told so often */
    LEASES_MAX = 1 << 16,    /* a limiter; further counters are reserved in one by one */
};

/* A counter's key, shared by the operations that name it. */
struct counter_key {
    struct counter_key *next; /* hash chain */
    uint64_t hash;
    unsigned refs;
    struct counter_shape shape;
    uint64_t batch; /* the batch that it was numbered for, and its number */
    unsigned index;
    struct lease *lease; /* holds a reference; NULL: none */
    size_t n;
    char text[];
};

enum op_type {
    OP_RESERVE = 1,
    OP_FORCE,  /* reserve without asking: was admitted while Redis was away */
    OP_SETTLE, /* with claims for an unknown id, or without */
    OP_EXTEND,
    OP_LEASE, /* tells what was taken from a lease, gives back, asks for more */
    OP_ADOPT, /* what an earlier start left is settled, what is this one's stays reserved */
    OP_SET,   /* one claim: the owner's part of what is spent, or a reset (enforce) */
    OP_CLAIM, /* what was counted of a work */
    OP_FROM,  /* one claim, whose limit is a time: see limit_part_from */
    OP_ADD,   /* the same: see limit_part_add */
};

/* What became of a reservation; called once for each that was not cancelled. */
enum redis_answer { REDIS_ADMITTED = 0, REDIS_DENIED, REDIS_AWAY };
typedef void redis_answer_fn(void *arg, struct admission *a, enum redis_answer answer,
                             unsigned warned, const struct refusal *refusal);

struct op_claim {
    struct counter_key *key;
    uint64_t amount, limit;
    enum limit_unit unit;
    bool enforce;
};

/* What a lease asks for, and what it is given; all in the limit's unit. */
struct lease_order {
    struct lease *lease; /* NULL: it is not waited for */
    uint64_t want;       /* free in all, with what it keeps */
    uint64_t keep;       /* free that it keeps: part of the claim's amount */
    uint64_t least;      /* a smaller slice is none */
    uint64_t spent;      /* settled since the last time */
    uint64_t n_spent;    /* settlements that this is the sum of */
    uint64_t granted;    /* reply: free beyond keep */
    uint64_t most;       /* reply: that it may hold free now; less than least: none */
};

struct limit_op {
    struct list_node node;
    enum op_type type;
    bool is_sent;  /* part of a batch */
    bool is_local; /* SETTLE: also counted by memory, until Redis has it */
    bool is_untold; /* of what runs, or ran, and Redis does not know: see limit_untold.c */
    bool is_parked; /* RESERVE: until other workers have told theirs */
    struct uuid id;
    struct admission *a; /* RESERVE: who waits; FORCE: who may settle before it is sent */
    struct work_claim *claim; /* CLAIM: who waits */
    uint64_t from, to;        /* CLAIM */
    uint64_t known, others;   /* CLAIM, reply: so much is counted; others' stretch ends there */
    int64_t lasts_us;         /* FORCE: how long it is held, unless extended */
    int64_t started_us;  /* of the admission, monotonic */
    int64_t settled_us;  /* clock_steady_us */
    struct limit_amounts actual;
    /* RESERVE: what the reply said */
    enum redis_answer answer;
    unsigned warned;
    struct refusal refusal;
    struct lease_order order; /* LEASE */
    unsigned n;
    struct op_claim claims[]; /* LEASE: one, whose amount is what stays reserved in any case */
};

struct batch {
    struct list_node node;
    uint64_t seq;
    struct list_node ops;
    unsigned n_ops;
    bool on_wire;
    unsigned faults;           /* times that the script failed with it */
    struct counter_key **keys; /* in the order of their number, as the reply tells them */
    unsigned n_keys;
    unsigned keys_max;
};

enum {
    WIRE_HEARTBEAT = 1,
    WIRE_AWAIT = 2,
    WIRE_AWAITED = 4, /* Redis has said that it has no counters, and not yet that it has */
};

struct wire_header {
    const char *instance; /* sequence numbers are this one's */
    const char *node;
    const char *owner; /* whose ledger, and which of its starts */
    int64_t start;
    uint64_t seq, base; /* base: the oldest batch that is not acknowledged */
    unsigned flags;     /* WIRE_ */
    int64_t now_us;     /* 0: Redis' own clock; tests only */
};

/* Numbers the batch's counters and appends it as limits.lua reads it. */
enum rc wire_encode(const struct wire_header *header, struct batch *b, struct buf *out) RC_MUST;

enum link_state {
    LINK_DOWN = 0, /* until retry_us */
    LINK_LOOKUP,
    LINK_CONNECTING, /* until Redis, or a Sentinel, has said who it is */
    LINK_UP,
};

enum {
    LINK_PLACES_MAX = 64,      /* nodes of a cluster that are remembered */
    LINK_REDIRECTS_MAX = 8,    /* in a row, without an answer between them */
    LINK_REFRESH_S = 60,       /* how often a cluster is asked for its nodes */
    LINK_GUIDED_MAX_MS = 1000, /* the longest pause where others say who is the master */
    LINK_NEXT_MS = 20,         /* before the next host of a round is tried */
};

/* Where Redis is and the connection to it (limit_link.c, limit_topology.c). */
struct link {
    struct redis_target target;
    struct redis_place places[LINK_PLACES_MAX]; /* the URL's, then those learnt */
    unsigned n_places;
    unsigned turn;            /* of the places: the next to try */
    struct redis_place told;  /* the master, as a Sentinel or a cluster says; port 0: not known */
    struct redis_place *at;   /* of the attempt or connection; NULL: a unix socket */
    unsigned redirects;
    int64_t refresh_us;
    limit_attach_fn *attach;
    void *loop;
    enum link_state state;
    struct redisAsyncContext *redis; /* CONNECTING, UP */
    struct lookup *lookup;
    int64_t retry_us;   /* DOWN */
    unsigned goods_seen; /* memory_goods when it was looked at last */
    int64_t started_us; /* CONNECTING */
    int64_t wait_us;    /* the next pause between attempts */
    bool in_handshake; /* CONNECTING: TCP stands, TLS does not */
    bool has_answered; /* something came on this connection */
    bool was_up;
    bool has_failed; /* the last attempt did; whoever asks need not wait */
};

struct redis_engine {
    struct link link;
    char *prefix; /* "{name space}:" */
    char *owner;  /* of what is reserved and spent here; NULL: nobody in particular */
    bool is_unowned; /* that is still to be told: nothing is sent before */
    int64_t start;
    int64_t timeout_us;
    bool await_rebuild;
    unsigned batch_max;
    struct limit_memory *memory;
    redis_answer_fn *answer;
    void *arg;
    int64_t (*clock)(void); /* tests only */

    char instance[INSTANCE_TEXT];
    char sha[41]; /* of the script */
    struct counter_key **keys;
    size_t keys_size, n_keys;

    struct list_node queue;   /* operations that are in no batch */
    struct list_node parked;  /* reservations that wait for other workers, in order */
    unsigned n_untold;        /* see limit_untold.c */
    struct list_node batches; /* not acknowledged, in order */
    struct list_node waiting; /* admissions, the oldest first */
    struct list_node asking;  /* work_claims, the oldest first */
    struct list_node leases;  /* all that there are */
    unsigned n_leases;
    int64_t lease_us;         /* the next tick; INT64_MAX: there is nothing to tell */
    bool with_leases, is_draining;
    bool by_item; /* see limiter_by_item */
    uint64_t itemize_seq;     /* see lease_itemize; 0: no more */
    uint64_t next_seq;
    unsigned on_wire;
    bool must_replay; /* a batch was not applied: nothing new before it */
    bool wants_eval;  /* Redis does not know the script */
    bool is_stalled;  /* an admission timed out and Redis has not answered since */
    int64_t sent_us;  /* when the wire was empty last */
    int64_t replied_us;
    int64_t hold_us; /* nothing is sent before; 0: no hold */
    int64_t moving_us; /* since when the hold is for a slot on its way; 0: it is not */
    int64_t heartbeat_us;
    struct buf wire;
    size_t unsettled_bytes;

    _Atomic uint64_t timeouts, reconnects, script_calls, unsettled, lost, leased;
    _Atomic uint64_t leases_held; /* that Redis holds something for, as far as is known */
    _Atomic unsigned nodes;
    atomic_bool is_up, is_empty;
};

/* What limiter_new makes it of; target and name_space are copied. */
struct redis_engine *redis_engine_new(const struct limiter_options *options,
                                      const struct redis_target *target,
                                      struct limit_memory *memory, redis_answer_fn *answer,
                                      void *arg);
/* See limiter_own. */
void redis_engine_own(struct redis_engine *e, const char *owner, int64_t start);
/* Waiting admissions are answered REDIS_AWAY first. */
void redis_engine_free(struct redis_engine *e);
/* True: queued, answer will be called.  False: Redis is known to be away. */
bool redis_engine_reserve(struct redis_engine *e, struct admission *a,
                          const struct claim_ref *claims, size_t n);
/* Takes back a reservation that was queued and not answered. */
void redis_engine_cancel(struct redis_engine *e, struct admission *a);
/* Notes what was admitted without Redis. */
void redis_engine_force(struct redis_engine *e, struct admission *a,
                        const struct claim_ref *claims, size_t n);
/* is_local: memory holds it as spent, until Redis has it. */
void redis_engine_settle(struct redis_engine *e, struct admission *a,
                         const struct claim_ref *claims, size_t n,
                         const struct limit_amounts *actual, bool is_local);
void redis_engine_settle_id(struct redis_engine *e, const struct uuid *id,
                            const struct limit_amounts *actual);
void redis_engine_extend(struct redis_engine *e, const struct uuid *id);
int64_t redis_engine_run(struct redis_engine *e);
/* Redis answers, as far as is known. */
bool redis_engine_is_up(const struct redis_engine *e);
/* A reservation that is asked for now would be waited for. */
bool redis_engine_can_wait(const struct redis_engine *e);

/* Reserves again what may be lost, or affirms it. */
void redis_engine_restore(struct redis_engine *e, const struct admission *a,
                          const struct claim_ref *claims, size_t n);
/* Keeps a work's worst case reserved; started_us: of the request that began it. */
void redis_engine_hold(struct redis_engine *e, const struct uuid *work,
                       const struct claim_ref *claims, size_t n, int64_t started_us);

/* ---- limit_untold.c: what other workers have not told Redis yet ------------------- */

enum { UNTOLD_LOOK_MS = 1 }; /* how often parked reservations look whether they may go */

/* Something runs, or ran, of which Redis does not know: no other worker reserves before it does. */
void untold_begin(struct redis_engine *e);
/* One such thing was told and answered, or given up. */
void untold_done(struct redis_engine *e);
/* Another worker has something that Redis does not know. */
bool untold_by_others(const struct redis_engine *e);
/* Parks the reservation where another worker has something untold; false: it may go. */
bool untold_park(struct redis_engine *e, struct limit_op *op);
/* Queues what was parked where all is told; returns when to look again, INT64_MAX: never. */
int64_t untold_run(struct redis_engine *e, int64_t now_us);

/* ---- limit_rescue.c: what runs, for whoever makes counters anew -------------------- */

/* An operation of no engine: its keys are its own. */
struct limit_op *op_alone(enum op_type type, const struct uuid *id, const struct claim_ref *claims,
                          size_t n);
void op_alone_free(struct limit_op *op);

void rescue_init(struct rescue *r);
void rescue_fini(struct rescue *r);
/* Something that runs, and how long it is held unless extended. Any thread, as the next two. */
void rescue_add(struct rescue *r, const struct uuid *id, const struct claim_ref *claims, size_t n,
                int64_t started_us, int64_t lasts_us);
/* Moves the operations to out, which they are freed from by op_alone_free. */
void rescue_take(struct rescue *r, struct list_node *out);
void rescue_clear(struct rescue *r);
/* Leaves there what leases hold for requests that run. */
void lease_rescue(struct redis_engine *e);

/* ---- limit_reply.c: what the script answered ----------------------------------- */

struct redisReply;
/* An array of integers that is read from its start. */
struct reply_numbers {
    const struct redisReply *reply;
    size_t at;
    bool is_bad; /* it ended too soon, or an element was none */
};
int64_t reply_number(struct reply_numbers *n);
/* What it says of the batch's counters, each given to mirror; they are its last. */
void reply_counters(struct limit_memory *m, const struct batch *b, struct reply_numbers *n,
                    int64_t at_us, memory_mirror_fn *mirror);
/* The batch is applied, and freed; at_us: when, by Redis' clock.  Wakes may reserve, settle and
 * cancel, which only queues. */
void reply_finish(struct redis_engine *e, struct batch *b, struct reply_numbers *n,
                  int64_t at_us);

/* ---- limit_work.c: what was counted of a work ---------------------------------- */

/* Queues the claim; it waits for the verdict where Redis can be waited for. */
void work_ask(struct redis_engine *e, struct work_claim *c);
/* The reply's verdict: who waits is told, and who no longer does is warned of. */
void work_answer(struct limit_op *op, bool is_mine);
/* All who wait are told that Redis is away; the claims stay queued. */
void work_all_away(struct redis_engine *e);
/* Likewise those that waited their time; returns when the next will have, INT64_MAX: none. */
int64_t work_end_waits(struct redis_engine *e, int64_t now_us);

/* For tests: the engine behind a limiter; NULL for the memory engine. */
struct redis_engine *limiter_redis(struct limiter *l);

/* ---- limit_lease.c: slices reserved ahead ---------------------------------------- */

/*
 * Takes all claims from leases, or none; what is missing is noted, so that the next
 * tick asks for it.  Notes in the admission's claims whence they were taken.
 */
bool lease_take(struct redis_engine *e, struct admission *a);
/* Of an admission that lease_take admitted. */
void lease_settle(struct redis_engine *e, struct admission *a,
                  const struct limit_amounts *actual);
/* Queues what is to be told; returns when it wants to be called again. */
int64_t lease_run(struct redis_engine *e, int64_t now_us);
/* The batch was applied: order has the reply's numbers. */
void lease_answer(struct redis_engine *e, struct limit_op *op);
/* The operation goes without an answer. */
void lease_forget_op(struct limit_op *op);
/*
 * Redis has lost, or may have lost, what was reserved ahead: there are no leases, and each
 * settlement is told with its own time, until a batch that comes after this is applied.
 */
void lease_itemize(struct redis_engine *e);
/* See limiter_by_item. */
void lease_by_item(struct redis_engine *e, bool is_on);
void lease_free_all(struct redis_engine *e);

/* ---- limit_ops.c: operations and their keys ------------------------------------- */

/* NULL: no operation and no lease names it. */
struct counter_key *key_find(struct redis_engine *e, struct strv text, uint64_t hash);
struct counter_key *key_ref(struct redis_engine *e, const struct claim_ref *claim);
void key_unref(struct redis_engine *e, struct counter_key *key);

struct limit_op *op_new(struct redis_engine *e, enum op_type type, const struct uuid *id,
                        const struct claim_ref *claims, size_t n);
void op_free(struct redis_engine *e, struct limit_op *op);
/* Moves operations from the queue to a new batch, which may stay empty. */
struct batch *batch_new(struct redis_engine *e);
void batch_free(struct redis_engine *e, struct batch *b);
/* Queues the return of what was perhaps reserved for an id that nobody waits for. */
void op_push_return(struct redis_engine *e, const struct uuid *id);
/* A SETTLE or FORCE is queued; false, and freed, where LIMIT_UNSETTLED_MAX_BYTES are. */
bool op_keep(struct redis_engine *e, struct limit_op *op);
/* Redis has it, or nobody wants it: no longer counted as unsettled. */
void op_unkeep(struct redis_engine *e, const struct limit_op *op);

/* ---- limit_link.c ------------------------------------------------------------------ */

/* Starts to connect. Looks a host name up, blocking, the first time. */
void link_open(struct redis_engine *e);
void link_close(struct redis_engine *e);
/* Moves on by time; returns when it wants to be called again. */
int64_t link_run(struct redis_engine *e, int64_t now_us);
/* The connection is no good: closes it, tries again after a pause. */
void link_fail(struct redis_engine *e, const char *why);
/* Redis answered: the next pause is short again. */
void link_good(struct redis_engine *e);
/* The connection is ended, and there is another one to where `told` says. */
void link_follow(struct redis_engine *e);
/* The connection is to who has the keys. */
void link_up(struct redis_engine *e);

/* ---- limit_topology.c: who has the keys ------------------------------------------------ */

/*
 * Connected and logged in: asks what is to be asked first, then calls link_up, link_follow or
 * link_fail.  False: could not send.
 */
bool topology_check(struct redis_engine *e);
/* Of a new connection: what comes on it unasked ends it (limit_unasked.c). */
void redis_end_unasked(struct redisAsyncContext *redis);
/* Of a connection that is up: learns a cluster's nodes. */
bool topology_refresh(struct redis_engine *e);
/* An error of the script says that the keys are elsewhere: follows, and returns true. */
bool topology_moved(struct redis_engine *e, struct strv error);
/* The keys are on their way from one node to another, and in part on either. */
bool topology_is_moving(const struct redis_engine *e, struct strv error);

/* ---- limit_redis.c, called by the link ----------------------------------------------- */

/* The connection is gone: what was on the wire will be sent again. */
void engine_on_down(struct redis_engine *e);
/* An attempt failed: those who wait are told. */
void engine_on_failed(struct redis_engine *e);

#endif
