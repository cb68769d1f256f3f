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
    BATCH_OPS_MAX = 256,
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
    AWAIT_POLL_MS = 1000,  /* how often an empty Redis is asked whether it was rebuilt */
};

/* A counter's key, shared by the operations that name it. */
struct counter_key {
    struct counter_key *next; /* hash chain */
    uint64_t hash;
    unsigned refs;
    struct counter_shape shape;
    uint64_t batch; /* the batch that it was numbered for, and its number */
    unsigned index;
    size_t n;
    char text[];
};

enum op_type {
    OP_RESERVE = 1,
    OP_FORCE,  /* reserve without asking: was admitted while Redis was away */
    OP_SETTLE, /* with claims for an unknown id, or without */
    OP_EXTEND,
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

struct limit_op {
    struct list_node node;
    enum op_type type;
    bool is_sent;  /* part of a batch */
    bool is_local; /* SETTLE: also counted by memory, until Redis has it */
    struct uuid id;
    struct admission *a; /* RESERVE: who waits; FORCE: who may settle before it is sent */
    int64_t started_us;  /* of the admission, monotonic */
    int64_t settled_us;  /* wall */
    struct limit_amounts actual;
    /* RESERVE: what the reply said */
    enum redis_answer answer;
    unsigned warned;
    struct refusal refusal;
    unsigned n;
    struct op_claim claims[];
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

enum { WIRE_HEARTBEAT = 1, WIRE_AWAIT = 2 };

struct wire_header {
    const char *instance; /* sequence numbers are this one's */
    const char *node;
    uint64_t seq, base; /* base: the oldest batch that is not acknowledged */
    unsigned flags;     /* WIRE_ */
    int64_t now_us;     /* 0: Redis' own clock; tests only */
};

/* Numbers the batch's counters and appends it as limits.lua reads it. */
enum rc wire_encode(const struct wire_header *header, struct batch *b, struct buf *out) RC_MUST;

enum link_state {
    LINK_DOWN = 0, /* until retry_us */
    LINK_LOOKUP,
    LINK_CONNECTING,
    LINK_UP,
};

/* Where Redis is and the connection to it (limit_link.c). */
struct link {
    struct redis_target target;
    char address[ADDRESS_TEXT];
    limit_attach_fn *attach;
    void *loop;
    enum link_state state;
    struct redisAsyncContext *redis; /* CONNECTING, UP */
    struct lookup *lookup;
    int64_t retry_us;   /* DOWN */
    int64_t started_us; /* CONNECTING */
    int64_t wait_us;    /* the next pause between attempts */
    bool was_up;
    bool has_failed; /* the last attempt did; whoever asks need not wait */
};

struct redis_engine {
    struct link link;
    char *prefix; /* "{name space}:" */
    int64_t timeout_us;
    bool await_rebuild;
    struct limit_memory *memory;
    redis_answer_fn *answer;
    void *arg;
    int64_t (*clock)(void); /* tests only */

    char instance[INSTANCE_TEXT];
    char sha[41]; /* of the script */
    struct counter_key **keys;
    size_t keys_size, n_keys;

    struct list_node queue;   /* operations that are in no batch */
    struct list_node batches; /* not acknowledged, in order */
    struct list_node waiting; /* admissions, the oldest first */
    uint64_t next_seq;
    unsigned on_wire;
    bool must_replay; /* a batch was not applied: nothing new before it */
    bool wants_eval;  /* Redis does not know the script */
    bool is_stalled;  /* an admission timed out and Redis has not answered since */
    int64_t sent_us;  /* when the wire was empty last */
    int64_t replied_us;
    int64_t hold_us; /* nothing is sent before; 0: no hold */
    int64_t heartbeat_us;
    struct buf wire;
    size_t unsettled_bytes;

    _Atomic uint64_t timeouts, reconnects, script_calls, unsettled, lost;
    _Atomic unsigned nodes;
    atomic_bool is_up, is_empty;
};

/* What limiter_new makes it of; target and name_space are copied. */
struct redis_engine *redis_engine_new(const struct limiter_options *options,
                                      const struct redis_target *target,
                                      struct limit_memory *memory, redis_answer_fn *answer,
                                      void *arg);
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

/* For tests: the engine behind a limiter; NULL for the memory engine. */
struct redis_engine *limiter_redis(struct limiter *l);

/* ---- limit_ops.c: operations and their keys ------------------------------------- */

struct limit_op *op_new(struct redis_engine *e, enum op_type type, const struct uuid *id,
                        const struct claim_ref *claims, size_t n);
void op_free(struct redis_engine *e, struct limit_op *op);
/* Moves operations from the queue to a new batch, which may stay empty. */
struct batch *batch_new(struct redis_engine *e);
void batch_free(struct redis_engine *e, struct batch *b);
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

/* ---- limit_redis.c, called by the link ----------------------------------------------- */

/* The connection is gone: what was on the wire will be sent again. */
void engine_on_down(struct redis_engine *e);
/* An attempt failed: those who wait are told. */
void engine_on_failed(struct redis_engine *e);

#endif
