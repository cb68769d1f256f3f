/*
 * limit_int.h - what the files of metering/limits share; nobody else includes it.
 *
 * A counter is named by its key ("name:unit:window:start:scope") and has a shape.
 * limit_set.c makes keys, limit_memory.c counts in this process, limiter.c speaks
 * for both engines, limit_redis.c (limit_redis.h) carries operations to Redis in
 * batches, limit_connect.c reads URLs and host names, limit_read.c reads and sets
 * counters.
 */
#ifndef METERING_LIMITS_LIMIT_INT_H
#define METERING_LIMITS_LIMIT_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/list.h"
#include "metering/limits/limit.h"

enum {
    LIMIT_MARKS_MAX_BYTES = 48, /* behind the name: a match's hash, a number of limit_set_follow */
    /* Name, unit and window in a key; a longer name is hashed. */
    LIMIT_PREFIX_MAX_BYTES = 200 + LIMIT_MARKS_MAX_BYTES,
    LIMIT_START_MAX_BYTES = 24,
    LIMIT_SCOPE_MAX_BYTES =
        LIMIT_KEY_MAX_BYTES - LIMIT_PREFIX_MAX_BYTES - LIMIT_START_MAX_BYTES,
    LIMIT_SWEEP_MAX = 64,        /* deadlines that one script call handles */
    LIMIT_WINDOW_KEEP_S = 86400, /* a counter outlives its window: late settlements find it */
    /* An expired reservation may still be settled so long; then it stays spent. */
    LIMIT_EXPIRED_KEEP_S = 7 * 86400,
    LIMIT_NODE_LIVE_S = 20, /* a process not heard of so long has no share */
    LIMIT_HEARTBEAT_S = 5,
    LIMIT_MIRROR_MAX = 1 << 16, /* counters of Redis whose last value is remembered */
    LIMIT_TIMEOUT_DEFAULT_MS = 50,
};

/* Whose part it is where nobody said. */
#define OWNER_NONE "-"

/* ---- counters --------------------------------------------------------------- */

enum counter_kind {
    COUNTER_WINDOW = 0, /* calendar: the key ends with its window */
    COUNTER_ROLLING,    /* buckets that leave one by one */
    COUNTER_RUNNING,    /* concurrent: back to zero when all have settled */
};

struct counter_shape {
    enum counter_kind kind;
    int64_t end_us;    /* WINDOW: end, INT64_MAX never */
    int64_t bucket_us; /* ROLLING: length of a bucket */
    unsigned buckets;  /* ROLLING: that a window spans, the newest not counted */
};

/* When Redis may drop a calendar counter, in seconds; 0: never. */
static inline int64_t counter_expiry_s(const struct counter_shape *shape)
{
    return shape->end_us == INT64_MAX ? 0 : shape->end_us / US_PER_SECOND + LIMIT_WINDOW_KEEP_S;
}

/* One claim as the engines take it; key is borrowed. */
struct claim_ref {
    struct strv key;
    struct counter_shape shape;
    enum limit_unit unit;
    bool enforce;
    bool is_new; /* of a limit that is not LIMIT_KNOWN */
    uint64_t amount;
    uint64_t limit;
};

/* Whether the limit may refuse this admission. */
bool limit_enforces(const struct admission *a, const struct limit_def *def);
/* How well all limits that it touches are known. */
enum limit_state admission_state(const struct admission *a);
bool limit_is_unknown(const struct admission *a, size_t claim);
/* The admission's claims with their worst case. */
void limit_claims(const struct admission *a, struct claim_ref out[LIMIT_CLAIMS_MAX]);
/* Shape and key of a counter of the set as limit_write is given it; false: no such limit. */
bool limit_counter_ref(const struct limit_set *set, const struct limit_counter *c,
                       char key[LIMIT_KEY_MAX_BYTES], struct claim_ref *out);
/* What keys of limit i begin with. */
struct strv limit_set_prefix(const struct limit_set *set, size_t i);
/* The key is of a limit of the set, whatever its window. */
bool limit_key_is_of(const struct limit_set *set, struct strv key);
/*
 * The limit of a key and its window at now_us; scope looks into key.  False where the
 * key is of another set or another window.
 */
bool limit_key_match(const struct limit_set *set, struct strv key, int64_t now_us,
                     struct limit_counter *out);
const struct counter_shape *limit_set_shape(const struct limit_set *set, unsigned i);

/* SipHash-1-3 keyed at random once a process: scopes are chosen by clients. */
uint64_t limit_hash(struct strv key);

static inline uint64_t value_add(uint64_t a, uint64_t b)
{
    return b > LIMIT_VALUE_MAX || a > LIMIT_VALUE_MAX - b ? LIMIT_VALUE_MAX : a + b;
}

static inline uint64_t value_sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* taken + amount <= limit, without overflow. */
static inline bool value_fits(uint64_t spent, uint64_t reserved, uint64_t amount,
                              uint64_t limit)
{
    return amount == 0 ||
           (spent <= limit && reserved <= limit - spent && amount <= limit - spent - reserved);
}

/* What a unit of an actual usage adds to a counter. */
static inline uint64_t value_settled(const struct limit_amounts *actual, enum limit_unit unit)
{
    return unit == UNIT_CONCURRENT             ? 0
           : actual->n[unit] > LIMIT_VALUE_MAX ? LIMIT_VALUE_MAX
                                               : actual->n[unit];
}

/* ---- memory engine ---------------------------------------------------------- */

/* Why not: which claim, and its counter. */
struct refusal {
    unsigned claim;
    uint64_t spent, reserved;
    int64_t resets_in_us; /* rolling: until there is room; 0 unknown */
};

/*
 * Reserves in all claims or none.  share 0: this engine holds the counters; n: they
 * are Redis' last known ones, and a claim may take one n-th of what was left.
 * LIMIT_UNAVAILABLE: LIMIT_COUNTERS_MAX is reached.
 */
enum limit_verdict memory_reserve(struct limit_memory *m, const struct uuid *id,
                                  const struct claim_ref *claims, size_t n, unsigned share,
                                  unsigned *warned, struct refusal *refusal);
/*
 * Replaces what id holds by actual.  Where it holds nothing, adds actual to the
 * claims (n may be 0), as of started_us (clock_mono_us).  Tells whether it held.
 */
bool memory_settle(struct limit_memory *m, const struct uuid *id,
                   const struct claim_ref *claims, size_t n, const struct limit_amounts *actual,
                   int64_t started_us);
void memory_extend(struct limit_memory *m, const struct uuid *id);
/* Reserves without asking, for LIMIT_HOLD_S; an id that is held already stays as it is. */
void memory_hold(struct limit_memory *m, const struct uuid *id, const struct claim_ref *claims,
                 size_t n, int64_t started_us);

/*
 * Redis' counter as it was at at_us (Redis' clock): spent and reserved together.  Nothing where
 * what it said a little later is known, or where the counter goes by what is known here.
 */
typedef void memory_mirror_fn(struct limit_memory *m, struct strv key,
                              const struct counter_shape *shape, uint64_t taken, int64_t at_us);
memory_mirror_fn memory_mirror;
/* The same, and what the ledger has is in it: of a counter that goes by what is known here as well. */
memory_mirror_fn memory_mirror_whole;
/*
 * The same of a counter that Redis has told nothing of yet, from elsewhere.  Of a new limit,
 * between limit_note_start and limit_note_stop: whatever Redis told, and it goes by that.
 */
void memory_note(struct limit_memory *m, const struct claim_ref *claim, uint64_t taken);
/* The mirrored counter gives back and takes, before Redis can say so. */
void memory_mirror_settle(struct limit_memory *m, const struct claim_ref *claims, size_t n,
                          const struct limit_amounts *actual);
/* Redis has what id holds: it is held no more, unless one of its counters goes by what is known here. */
void memory_told(struct limit_memory *m, const struct uuid *id);
/* Spent locally, and now in Redis' counters as well: no longer counted here, or noted. */
void memory_unspend(struct limit_memory *m, struct strv key, uint64_t amount,
                    int64_t started_us);

/* Identity of the process among those that share a Redis, as text. */
const char *memory_node(const struct limit_memory *m);
/* What runs, for a rebuild (limit_rescue.c): a list of FORCE operations. */
struct rescue {
    pthread_mutex_t lock; /* held for a few instructions */
    struct list_node ops;
};
struct rescue *memory_rescue(struct limit_memory *m);
/* See limit_memory_set_blind. */
bool memory_is_blind(const struct limit_memory *m);
/* How many engines have something that they have not told Redis (limit_untold.c). */
_Atomic unsigned *memory_untold(struct limit_memory *m);
/* The number of limit_note_start's last call; even, and one more, after limit_note_stop. */
_Atomic unsigned *memory_noted(struct limit_memory *m);
/* The counter goes by what is known here, whatever Redis says.  Under its shard's lock. */
struct counter;
bool memory_is_noted(struct limit_memory *m, const struct counter *c);
/* Such a counter goes on with an amount that was counted here until Redis was told. */
void memory_keep(struct limit_memory *m, struct counter *c, uint64_t amount);
/* How often an engine's Redis answered again after it had failed. */
_Atomic unsigned *memory_goods(struct limit_memory *m);

void memory_read(struct limit_memory *m, const struct limit_set *set, int64_t now_us,
                 limit_counter_fn *fn, void *arg);
/* What one counter holds; nothing where it is not there. */
void memory_look(struct limit_memory *m, const struct claim_ref *claim, uint64_t *spent,
                 uint64_t *reserved);
/* False: LIMIT_COUNTERS_MAX is reached. */
bool memory_write(struct limit_memory *m, const struct claim_ref *claim, uint64_t spent);
/* The same, on top of what it holds. */
bool memory_add(struct limit_memory *m, const struct claim_ref *claim, uint64_t spent);
/* Counters and reservations held; for tests. */
void memory_size(struct limit_memory *m, size_t *counters, size_t *reservations);

/* ---- where Redis is --------------------------------------------------------- */

enum {
    ADDRESS_TEXT = 64,
    REDIS_HOST_MAX_BYTES = 255,
    REDIS_SEEDS_MAX = 16, /* hosts that a URL may name */
};

enum redis_kind {
    REDIS_SINGLE = 0, /* one server, or one name that a managed service moves */
    REDIS_CLUSTER,    /* any of its nodes; they tell who has the slot */
    REDIS_SENTINEL,   /* the hosts are Sentinels; they tell who is the master */
};

struct redis_place {
    char host[REDIS_HOST_MAX_BYTES + 1];
    char address[ADDRESS_TEXT]; /* numeric; "": not looked up yet */
    int port;                   /* 0: there is none */
};

/* How a connection's SSL is made: see limiter_options. */
struct secure {
    limit_secure_fn *make; /* NULL: in the clear */
    void *arg;
};

struct redis_target {
    enum redis_kind kind;
    bool is_secure;       /* the URL's rediss: never in the clear */
    struct secure secure; /* the caller's to set */
    char *path; /* unix socket, or NULL: the places */
    struct redis_place places[REDIS_SEEDS_MAX];
    unsigned n_places;
    char *master;          /* SENTINEL: the master's name there */
    char *user, *password; /* NULL: none */
    char *guard_user, *guard_password; /* of the Sentinels */
    int db;
};

/* NULL, or what is wrong with the URL; then target holds nothing. */
const char *redis_target_parse(const char *url, struct redis_target *target);
/* The same of the options' URL, with how its connections are made. */
const char *redis_target_open(const struct limiter_options *options, struct redis_target *target);
void redis_target_release(struct redis_target *t);
/* Fills place; the address where the host is one.  False: not a host, or not a port. */
bool redis_place_set(struct redis_place *place, struct strv host, int64_t port);
/*
 * The place in a "MOVED <slot> <host>:<port>" of asked's; false for any other text.  An empty
 * host is asked's own.
 */
bool redis_moved_parse(struct strv error, const struct redis_place *asked,
                       struct redis_place *out);

struct redisContext;
struct timeval;
/*
 * A connection, logged in, to the server that has the keys which start with prefix; each step
 * blocks for at most timeout, a TLS handshake for SECURE_TIMEOUT_MS.  NULL: it cannot be reached,
 * and why says so.
 */
struct redisContext *redis_find(const struct redis_target *t, const char *prefix,
                                struct timeval timeout, char why[LIMIT_WHY_BYTES]);

/* ---- limit_secure.c: TLS on a connection ------------------------------------- */

enum { SECURE_TIMEOUT_MS = 2000 }; /* of a handshake that is waited for */

#define SECURE_SILENCE \
    "no answer to the TLS handshake: does Redis speak TLS at this port? redis:// is in the clear"
#define SECURE_MISSING                                                                          \
    "TLS to Redis is not in this program, which was built without libhiredis_ssl: build it where " \
    "hiredis 1.1 or newer has it (Debian 13, Ubuntu 24.04), or use redis:// over a private network"

/* TLS to Redis is in this program. */
bool secure_is_built(void);
/*
 * Begins the handshake on a connection that stands and does not block: hiredis goes on with it as it
 * reads and writes, and says in errstr why it failed.  host: whom the certificate must name, unless
 * the configuration says.  False with why: nothing can be sent on it.
 */
bool secure_begin(struct redisContext *redis, const struct secure *by, const char *host,
                  char why[LIMIT_WHY_BYTES]);
/* Begins and ends it on one that blocks, within SECURE_TIMEOUT_MS in all. */
bool secure_wait(struct redisContext *redis, const struct secure *by, const char *host,
                 char why[LIMIT_WHY_BYTES]);
/* Why a connection is no good, after its error or its end. has_answered: something came on it. */
void redis_reason(const struct redisContext *redis, bool is_secure, bool has_answered,
                  char out[LIMIT_WHY_BYTES]);

/* The first address of a host, as text; blocks. False: it has none now. */
bool address_find(const char *host, char out[ADDRESS_TEXT]);
/* The host is an address itself. */
bool address_is_numeric(const char *host);

/* address_find by a thread of its own, which outlives a lookup that is given up. */
struct lookup;
struct lookup *lookup_start(const char *host); /* NULL: no thread to be had */
/* True when it is over; found tells whether out was written. */
bool lookup_poll(struct lookup *l, bool *found, char out[ADDRESS_TEXT]);
void lookup_free(struct lookup *l);

/* A counter of one writer, read by others. */
static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t stat_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
