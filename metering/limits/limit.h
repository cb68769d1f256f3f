/*
 * limit.h - budgets and rate caps: so much of a unit, in a window, for whom.
 *
 * A limit_set is the compiled configuration (immutable).  For each request it
 * yields claims: the counters that the request touches.  A limiter (one per
 * worker) reserves in all claims of an admission or in none, in one atomic step,
 * and settles the real amounts exactly once, by the admission's id, which is the
 * record's id.  Two engines stand behind the same calls: memory (one process) and
 * Redis (one script call for all that a loop turn produced).
 *
 * Each counter has `spent` and `reserved`.  The window is part of the counter's
 * key, so a boundary needs no reset.  A reservation past its deadline counts as
 * spent until it is settled; a late settlement corrects.
 */
#ifndef METERING_LIMITS_LIMIT_H
#define METERING_LIMITS_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/problem.h"
#include "base/rc.h"
#include "base/strv.h"
#include "base/tag.h"
#include "base/uuid7.h"
#include "base/zone.h"

enum limit_unit {
    UNIT_USD = 0, /* nano-USD, each request rounded up */
    UNIT_TOKENS,  /* input and output */
    UNIT_INPUT_TOKENS,
    UNIT_OUTPUT_TOKENS,
    UNIT_REQUESTS,
    UNIT_CONCURRENT, /* requests now running: settled to 0 */
    UNIT_COUNT,
};

enum limit_mode { LIMIT_ENFORCE = 0, LIMIT_WARN };

enum on_failure { ON_FAILURE_LOCAL = 0, ON_FAILURE_REFUSE, ON_FAILURE_ALLOW };

/* What becomes of a stream that has outgrown its reservation where there is no more room. */
enum on_exhausted { ON_EXHAUSTED_FINISH = 0, ON_EXHAUSTED_CUT };

/* How a prompt is measured before the call: by its bytes, or by its tokens where they are known. */
enum limit_count { LIMIT_COUNT_ESTIMATE = 0, LIMIT_COUNT_EXACT };

enum {
    LIMIT_CLAIMS_MAX = 32,      /* limits that one request may touch */
    LIMIT_KEY_MAX_BYTES = 1072, /* longer scopes are hashed */
    LIMIT_DEADLINE_S = 900,     /* a reservation that nobody extends; streams extend it */
    LIMIT_BUCKETS = 60, /* parts of a rolling window: it moves by one of them at a time */
    LIMIT_ROLLING_MAX_S = 31622400,
    LIMIT_COUNTERS_MAX = 1 << 20, /* that the memory engine keeps; a further one is refused */
    LIMIT_NAME_SPACE_MAX_BYTES = 64,
    LIMIT_BATCH_MAX = 256, /* operations in one script call */
    LIMIT_OWNER_MAX_BYTES = 32,
    LIMIT_DOUBT_S = 30, /* reservations that nobody affirms after a rebuild: see limiter_restore */
    LIMIT_HELD_MAX = 1 << 20, /* reservations that limit_adopt looks at; others end by deadline */
    LIMIT_HOLD_S = 30 * 86400, /* work whose result nobody collects; then its worst case is spent */
    LIMIT_TELLER_KEEP_S = 400 * 86400, /* how long it is known who tells of a threshold */
    LIMIT_SINCE_KEEP_S = 35 * 86400, /* how long late settlements find limit_part_since's time */
    LIMIT_COUNTED_KEEP_S = 35 * 86400, /* how long it is known what was counted of a work */
};

/*
 * The largest limit, amount and counter: some 9.2 billion dollars in nano-USD.
 * Both engines count exactly up to here and stay here beyond it.
 */
#define LIMIT_VALUE_MAX UINT64_C(9223372035999999999)
/* Settlements that one limiter keeps while Redis is away; further ones are lost to the counters
 * (not to the ledger) and counted in limiter_stats.lost. */
#define LIMIT_UNSETTLED_MAX_BYTES ((size_t)256 << 20)

/* One limit as the configuration has it; strings borrowed until limit_set_new returns. */
struct limit_def {
    const char *name;
    struct tag match[DIM_COUNT + FREE_TAGS_MAX]; /* dimension or free tag = value glob */
    size_t n_match;
    struct strv per[DIM_COUNT + FREE_TAGS_MAX];
    size_t n_per;
    enum limit_unit unit;
    uint64_t limit; /* in the unit; USD in nano; at most LIMIT_VALUE_MAX */
    bool rolling;
    enum period period; /* calendar windows */
    int64_t rolling_s;  /* rolling windows: seconds, 1..LIMIT_ROLLING_MAX_S */
    enum limit_mode mode;
    enum on_failure on_failure; /* other than LOCAL: goes before limiter_options.on_failure */
    enum on_exhausted on_exhausted;
    uint64_t raised;         /* goes before limit until raised_until_us (wall); 0: never */
    int64_t raised_until_us;
    enum limit_count count;
    unsigned alerts[8];         /* per cent thresholds */
    size_t n_alerts;
    int line; /* in the configuration file, for problems */
};

/* What the limit is at a time. */
static inline uint64_t limit_at(const struct limit_def *def, int64_t now_us)
{
    return now_us < def->raised_until_us ? def->raised : def->limit;
}

struct limit_set;

/*
 * Compiles (copies); the zone must live as long.  The definitions are checked ones:
 * a limit over LIMIT_VALUE_MAX counts as that, a name that comes twice gets counters
 * of its own.  Concurrent limits have no window.
 */
struct limit_set *limit_set_new(const struct limit_def *defs, size_t n,
                                const struct zone *zone);
void limit_set_free(struct limit_set *set);
size_t limit_set_count(const struct limit_set *set);
const struct limit_def *limit_set_at(const struct limit_set *set, size_t i);

/* Whether what is spent of a limit is known to the counters. */
enum limit_state {
    LIMIT_KNOWN = 0,
    LIMIT_UNKNOWN, /* nobody is admitted by it but where its on_failure is ALLOW */
    LIMIT_NOTED,   /* limit_note has told: held as `local` holds it */
};

/*
 * set, which nobody has yet, is to take before's place.  A limit that before has too and knows -
 * the same name, unit, window, per and match, and the same window by either zone - goes on with its
 * counters.  The others are new, and UNKNOWN until limit_set_tell; concurrent ones begin at
 * zero.  apart: a number that no set of the process was given, so that in the memory engine new
 * limits have counters of their own; 0 where counters are shared, whose keys are every
 * process' own to make.  Returns how many are to be told.
 */
size_t limit_set_follow(struct limit_set *set, const struct limit_set *before, int64_t now_us,
                        uint64_t apart);
bool limit_set_is_new(const struct limit_set *set, size_t i);
enum limit_state limit_set_state(const struct limit_set *set, size_t i);
/*
 * Of the set's new limits, any thread, workers may have the set: requests that end at since_us
 * (wall) or later are charged to them by admission_late, none before the first call.
 */
void limit_set_since(struct limit_set *set, int64_t since_us);
void limit_set_tell(struct limit_set *set, enum limit_state state);

/* What a request takes, or took, in each unit. */
struct limit_amounts {
    uint64_t n[UNIT_COUNT];
};

/*
 * One counter that a request touches.  Scope: the values of `per`, in order, joined:
 * "team=search,feature=x".  In names and values '%', ',', '=', '(' and controls are
 * written %XX; a value that the request lacks is "(none)" and counted like any other.
 * A scope too long for a key is "sha256=<hex>".
 */
struct limit_claim {
    unsigned limit; /* index in the set */
    struct strv scope;
    struct strv key;          /* the counter's, for the engines; scope is its end */
    int64_t start_us, end_us; /* calendar window; rolling and concurrent: 0 and 0 */
    struct lease *lease;      /* that it was taken from; NULL: reserved by itself */
};

/*
 * The values of def->per that a claim's scope was made of, in that order; def->n_per of them,
 * empty where the request had none, in the arena. RC_BAD: the scope does not tell them, as
 * long ones are hashed, or is no scope of this limit; RC_LIMIT: the arena is full.
 */
enum rc limit_scope_values(const struct limit_def *def, struct strv scope, struct arena *arena,
                           struct strv *values) RC_MUST;

enum limit_verdict {
    LIMIT_PENDING = 0,
    LIMIT_OK,
    LIMIT_DENIED,      /* see denial */
    LIMIT_UNAVAILABLE, /* counters cannot be reached, or are not known, and on_failure does not allow */
};

/* Why, for the refusal's message; all in the limit's unit. */
struct limit_denial {
    const struct limit_def *def;
    struct strv scope;
    uint64_t limit, spent, reserved, wanted;
    int64_t resets_us; /* when the window ends, or when a rolling one has room; 0 unknown */
};

typedef void limit_wake_fn(void *arg);

/* Embedded in the exchange; all fields but arg and wake belong to the module. */
struct admission {
    struct uuid id;
    struct limit_claim claims[LIMIT_CLAIMS_MAX];
    size_t n_claims;
    int64_t at_us;                /* wall: which limits hold */
    struct limit_amounts amounts; /* the worst case, reserved */
    const struct limit_set *set;
    enum limit_verdict verdict;
    struct limit_denial denial;
    unsigned warned; /* claims of warn limits that were over: bit per claim */
    bool local;      /* admitted without the shared counters */
    bool is_growth;  /* see admission_grow */
    bool is_endless; /* of a call that its client alone ends: budgets hold for its growth, too */
    bool is_owed;    /* what was taken already: reserved whatever room there is. The caller's
                      * to set, after admission_init */
    bool leased;     /* admitted from leases: the counters know no such id */
    bool settled;    /* a second settlement changes nothing */
    limit_wake_fn *wake;
    void *arg;
    int64_t started_us; /* clock_mono_us of limiter_reserve */
    /*
     * clock_steady_us, set by the caller before it settles: when the request ended by its record, so that
     * limit_write's as_of_us divides records and settlements alike.  0: now.
     */
    int64_t ended_us;
    struct list_node queued;
    struct limit_op *op; /* what stands for it in the Redis engine's queue */
};

/*
 * Fills claims for a subject at a time; scopes are copied to the arena, the set is
 * borrowed as long as the admission lives.  arg and wake are left as they are.
 * RC_LIMIT where the request touches more than LIMIT_CLAIMS_MAX limits or the arena
 * is full.  No system or library call but once per calendar period.
 */
enum rc admission_init(struct admission *a, const struct limit_set *set,
                       const struct subject *subject, const struct limit_amounts *worst,
                       const struct uuid *id, int64_t now_us, struct arena *arena) RC_MUST;

/* A limit that the request touches wants its prompt counted; after admission_init. */
bool admission_wants_count(const struct admission *a);
/* A request that starts at now_us (wall) counts in the calendar windows of its claims. */
bool admission_is_of(const struct admission *a, int64_t now_us);

/*
 * Makes `more` a further reservation for the same request, whose stream has outgrown a (which
 * is admitted and not settled): the same counters, in the same windows.  It is refused only by
 * limits whose on_exhausted is CUT; in the others it is reserved even where they have no
 * room.  Settle it with nothing once a was settled with all that was taken.  arg and wake
 * are left as they are.
 */
void admission_grow(struct admission *more, const struct admission *a,
                    const struct limit_amounts *extra, const struct uuid *id);

/* A request that ended, and what it was charged to. */
struct late_request {
    struct uuid id;      /* of nothing that is reserved */
    int64_t start_us;    /* clock_steady_us, as by its record */
    int64_t ended_us;    /* (the same) */
    int64_t started_us;  /* clock_mono_us */
    const struct admission *const *charged;
    size_t n_charged;
};

/*
 * Makes late what the request owes limits of set beside those it was charged to: limits that
 * came after its admission, but for what limit_set_since leaves to the ledger.  True: it is to be
 * settled, with what was really taken; nothing is reserved.  Scopes are in the arena.
 */
bool admission_late(struct admission *late, const struct limit_set *set,
                    const struct subject *subject, const struct late_request *request,
                    struct arena *arena);

struct limiter;

/* hiredis is told where its descriptor lives by the proxy, which owns the event loop. */
struct redisAsyncContext;
typedef int limit_attach_fn(struct redisAsyncContext *redis, void *loop);

/*
 * TLS to Redis, by whoever has certificates and rules: an SSL for a new connection to host, the
 * caller's to free, its handshake not begun; it verifies that host, or whom the configuration names.
 * NULL with why.  Does not block; any thread.
 */
struct ssl_st;
enum { LIMIT_WHY_BYTES = 256 }; /* why Redis cannot be reached */
typedef struct ssl_st *limit_secure_fn(void *arg, const char *host, char why[LIMIT_WHY_BYTES]);

/* Strings are copied by limiter_new. */
struct limiter_options {
    const char *redis_url; /* see limiter_url_check; NULL: memory engine */
    limit_secure_fn *secure; /* of a URL with rediss; its arg lives as long as a limiter has it */
    void *secure_arg;
    char *why; /* calls that block: LIMIT_WHY_BYTES, filled where they return RC_IO as Redis
                * cannot be reached, else ""; NULL: it is not asked for */
    int timeout_ms;        /* the longest that an admission waits; 0: 50 */
    enum on_failure on_failure;
    const char *name_space; /* prefix and hash tag of the keys; NULL: "tollgate" */
    limit_attach_fn *attach;
    void *loop;
    /*
     * A Redis without counters (new, or emptied) admits nothing until limit_write
     * was called; on_failure rules until then.  False: counters start at zero.
     */
    bool await_rebuild;
    /*
     * owner and start are not known yet: Redis is told and asked nothing before limiter_own, and
     * on_failure rules until then.
     */
    bool await_owner;
    /*
     * Redis: the ledger in which is recorded what is spent here, at most LIMIT_OWNER_MAX_BYTES
     * of hexadecimal digits, and which start of it this is (rising). NULL: nobody's.
     */
    const char *owner;
    int64_t start;
    unsigned nodes; /* limit_write: processes that were alive when last heard of */
    /* Redis: slices of roomy limits are reserved ahead and spent here (limit_lease.c). */
    bool leases;
    unsigned batch; /* Redis: operations in one script call at the most; 0: LIMIT_BATCH_MAX */
};

/*
 * "redis://[[user]:password@]host[:port][/db]" or "unix://[[user]:password@]/path[?db=n]",
 * user and password percent-encoded; "redis+cluster://", "redis+sentinel://" likewise, and "rediss"
 * for "redis" where TLS is spoken.  NULL where it is well-formed and can be reached by this
 * program, else what is wrong with it.
 */
const char *limiter_url_check(const char *url);
/* Such a URL wants TLS. */
bool limiter_url_is_secure(const char *url);

/* The memory engine's counters, shared by the workers of a process. */
struct limit_memory;
struct limit_memory *limit_memory_new(void);
void limit_memory_free(struct limit_memory *memory);
/*
 * What was spent before this process began is not known here: as long as it is not, nothing is
 * admitted by the memory engine, nor by `local`, as if nothing had been; what `allow` lets pass
 * passes, all else is LIMIT_UNAVAILABLE.  Any thread.
 */
void limit_memory_set_blind(struct limit_memory *memory, bool is_blind);

/*
 * One per worker.  memory is the engine itself, or the Redis engine's local fallback:
 * the workers of a process share one; NULL: one of its own.  A host name is looked
 * up here, blocking; later again, when Redis cannot be reached, by a thread that
 * ends by itself.  SIGPIPE must be ignored.  NULL where limiter_url_check finds fault with the
 * URL, or it wants TLS and options.secure is not there.
 */
struct limiter *limiter_new(const struct limiter_options *options, struct limit_memory *memory);
/*
 * Pending admissions are answered as unavailable without their wake; what is unsettled
 * and unsent is given up to the deadline rule: at an end, first call limiter_drain, then
 * limiter_run until limiter_stats.unsettled is 0.  Never from a wake.
 */
void limiter_free(struct limiter *l);

/* Redis by TLS: arg takes the place of options.secure_arg for further connections. */
void limiter_secure(struct limiter *l, void *arg);

/* Redis: what await_owner waits for; the name is copied.  Nothing where it is known. */
void limiter_own(struct limiter *l, const char *owner, int64_t start);

/*
 * Starts the reservation; the verdict may stand at once (no claims; memory
 * engine), else wake is called once, from limiter_run or the event loop, when it does.
 */
void limiter_reserve(struct limiter *l, struct admission *a);
/* The same for a caller who has just read the clock: now_us is clock_mono_us. */
void limiter_reserve_at(struct limiter *l, struct admission *a, int64_t now_us);
/* The caller no longer waits: no wake after this; what may have been reserved is returned. */
void limiter_cancel(struct limiter *l, struct admission *a);
/*
 * Replaces the reservation by what was really taken (0 returns it whole).  Fire
 * and forget: the module keeps its own copy until the counters have it, through
 * reconnects.  The admission may be freed at once.
 */
void limiter_settle(struct limiter *l, struct admission *a, const struct limit_amounts *actual);
/* A live stream: its reservations' deadlines move LIMIT_DEADLINE_S ahead. */
void limiter_extend(struct limiter *l, const struct admission *a);
/*
 * The shared counters may have lost a live request's reservation, or have one whose settlement
 * they lost: it is made anew where it is not there, and affirmed where it is.  For every
 * request that was admitted, after limiter_itemize: what limit_adopt finds of this start and
 * nobody affirms within LIMIT_DOUBT_S is given back.
 */
void limiter_restore(struct limiter *l, const struct admission *a);
/* Settlement of a reservation that an earlier process left behind (see recovery in ledger.h).
 */
void limiter_settle_id(struct limiter *l, const struct uuid *id,
                       const struct limit_amounts *actual);

/* ---- work that goes on after its request -------------------------------------- */

/*
 * The request is over, but what it began is not: in the limiter's place of limiter_settle.
 * The request counts and is no more running; all else that it reserved stays reserved, under
 * the work's id, until limiter_settle_id of that (by any process), at most LIMIT_HOLD_S, and
 * is spent then.  A work that is held already stays as it is.  The id is not of version 7.
 */
void limiter_hold(struct limiter *l, struct admission *a, const struct uuid *work);

enum work_verdict {
    WORK_PENDING = 0,
    WORK_MINE,   /* this process counts it */
    WORK_OTHERS, /* another has counted: see known */
    WORK_AWAY,   /* the shared counters do not answer: what is known here decides */
};

/*
 * How much of a work (its answers, in their order) is counted, among all processes that
 * share the counters.  Embedded in the exchange; the first three are the caller's.
 */
struct work_claim {
    struct uuid work;
    uint64_t from, to; /* what was counted here: all after from, up to to; to 0: asks only */
    limit_wake_fn *wake;
    void *arg;
    enum work_verdict verdict;
    uint64_t known; /* so much of it is counted; set unless AWAY */
    /* OTHERS: up to there others have counted what begins at `from`; what lies beyond may be
     * this process' own. */
    uint64_t others;
    int64_t started_us;
    struct list_node queued;
    struct limit_op *op;
};

/*
 * Claims, or asks.  The verdict may stand at once (memory engine; Redis away), else wake is
 * called once, after timeout_ms at the latest.  A claim is told to Redis in any case, when
 * it comes back: two processes that both counted while it was away are then found and logged.
 */
void limiter_claim(struct limiter *l, struct work_claim *c);
/* Nobody waits for the verdict any more: no wake after this. Harmless when it stands. */
void limiter_claim_cancel(struct work_claim *c);

/*
 * Once a loop turn: sends what is queued in one script call, ends waits past
 * their time-out, reconnects.  Gives the wall-independent time (clock_mono_us) at
 * which it wants to be called again, INT64_MAX for never.
 */
int64_t limiter_run(struct limiter *l);

/*
 * Whoever is to rebuild the counters takes the time after this, for limit_write's as_of_us:
 * what was settled before is on its way with a time before, what is settled later goes with
 * its own until Redis has its counters again.
 */
void limiter_itemize(struct limiter *l);

/*
 * Redis: each settlement is told with its own time, not as part of a lease's sum: what was
 * settled before the call goes with a time before, until it is switched off.
 */
void limiter_by_item(struct limiter *l, bool is_on);

/*
 * Leases are given back and what was settled against them is sent, from now on at once:
 * before an end.  limiter_stats.unsettled counts what still stands.
 */
void limiter_drain(struct limiter *l);

struct limiter_stats {
    uint64_t reserves, denials, settles, timeouts, reconnects, local_admissions, script_calls;
    uint64_t leased;    /* reservations that a lease had room for */
    uint64_t unsettled; /* settlements not yet acknowledged; after limiter_drain also leases */
    uint64_t lost;      /* settlements that found no room, or that Redis could not take */
    unsigned nodes;     /* live processes that share the counters, this one included */
    bool connected;     /* Redis answers */
    bool empty;         /* Redis waits for limit_write (await_rebuild) */
};
void limiter_stats(const struct limiter *l, struct limiter_stats *out);

/* ---- reading counters, outside the request path; may block ------------------ */

struct limit_counter {
    unsigned limit;
    struct strv scope;
    int64_t start_us, end_us;
    uint64_t spent, reserved;
    uint64_t own; /* calendar: spent by options.owner, as if nothing had been reset */
};
typedef void limit_counter_fn(const struct limit_counter *c, void *arg);

/*
 * Calls fn for every counter of the set's current windows that is not at zero; the
 * counter's scope is borrowed.  Redis: opens its own connection, waits at most
 * timeout_ms (0: 1000) for each answer; RC_IO where it cannot be reached.  memory may
 * be NULL (another process): then RC_STATE for the memory engine; RC_AGAIN while it is blind.
 */
enum rc limit_read(const struct limiter_options *options, struct limit_memory *memory,
                   const struct limit_set *set, int64_t now_us, limit_counter_fn *fn,
                   void *arg) RC_MUST;

/*
 * Fills spent and reserved of n counters whose limit, scope, start_us and end_us stand; one
 * that is not there holds nothing.  Looks at these alone, where limit_read looks at all.
 * Blocks and fails as limit_read; RC_BAD for a limit that the set has not.
 */
enum rc limit_look(const struct limiter_options *options, struct limit_memory *memory,
                   const struct limit_set *set, struct limit_counter *counters,
                   size_t n) RC_MUST;

/*
 * Who tells that so many per cent of amount are spent in a counter: out is the owner of the
 * first of the processes sharing Redis that asked, whoever asks later.  Kept until a day after
 * the window's end, at most LIMIT_TELLER_KEEP_S.  Memory engine: options.owner.  Blocks and
 * fails as limit_look; out is options.owner then too.
 */
enum rc limit_teller(const struct limiter_options *options, const struct limit_set *set,
                     const struct limit_counter *counter, uint64_t amount, unsigned percent,
                     int64_t now_us, char out[LIMIT_OWNER_MAX_BYTES + 1]) RC_MUST;

/*
 * What limiter_itemize and limiter_restore have left in memory until now, for limit_write, is
 * out of date.  Any thread.
 */
void limit_forget_running(struct limit_memory *memory);

/*
 * What is known of n shared counters, for `local`, that Redis has told this process nothing of
 * yet: spent and reserved, as in limit_read.  Those that it has are left as they are.  RC_BAD for a
 * limit that the set has not.  Any thread; never blocks.
 */
enum rc limit_note(struct limit_memory *memory, const struct limit_set *set,
                   const struct limit_counter *counters, size_t n) RC_MUST;

/*
 * From limit_note_start on, counters of new limits (limit_set_follow) that are noted, or that
 * somebody is admitted to without Redis, go by that: by what was noted and what this process
 * admitted since.  What Redis says of them is but a part, until limit_note_stop, which comes after
 * limit_part_add.  One thread calls them; they never block.
 */
void limit_note_start(struct limit_memory *memory);
void limit_note_stop(struct limit_memory *memory);

/*
 * Sets what is spent in n counters; n may be 0.  Reservations stay; concurrent limits have
 * nothing spent and are passed over.  Scope, start_us and end_us as in limit_claim; reserved
 * is not read.  Blocks; errors as limit_read, RC_BAD for a limit that the set has not,
 * RC_LIMIT where memory is full.
 *
 * as_of_us 0, a reset by an operator: the figure is the counter's, and what each owner's part
 * loses is kept, so that it stays lost until limit_rebuild_ask.
 *
 * Else, with Redis: the figures are options.owner's part, whole (a counter that is not among
 * them keeps what it had), and hold all that it settled before as_of_us (clock_steady_us): a
 * settlement from before it only gives back what is reserved for it.  What limiters left in memory
 * (which may be NULL) of what runs is reserved with it.  Redis then admits for
 * this owner, once the parts of options.nodes owners are there: but for LIMIT_REBUILD_MS at the
 * most, and only where this owner is the first.
 */
enum rc limit_write(const struct limiter_options *options, struct limit_memory *memory,
                    const struct limit_set *set, const struct limit_counter *counters, size_t n,
                    int64_t as_of_us) RC_MUST;

/*
 * A set's new limits (limit_set_follow), in steps; others' counters are not touched.  Counters as for
 * limit_write, and blocks and fails like it.
 *
 * limit_part_since, Redis only: in counters that are made from now on, settlements of
 * options.owner from before since_us (clock_steady_us) count nothing.
 * limit_part_from, Redis only, for all counters that are there after that: likewise, and what the
 * owner's part holds is not to count once limit_part_add is called.  It is too late where
 * since_us has passed when it returns: again, with a later one.  Rolling: where other owners
 * have put in something too, what this one has cannot be told apart and stays.
 *
 * limit_part_add: puts in what the ledger says of requests that ended before since_us, beside
 * what was settled since; Redis: less what an operator took off, and memory (which may be NULL) hears
 * what its counters are with it.  Rolling: as if it were of now, and
 * what could not be told apart is raised to it.
 */
enum rc limit_part_since(const struct limiter_options *options, const struct limit_set *set,
                         int64_t since_us) RC_MUST;
enum rc limit_part_from(const struct limiter_options *options, const struct limit_set *set,
                        const struct limit_counter *counters, size_t n, int64_t since_us) RC_MUST;
enum rc limit_part_add(const struct limiter_options *options, struct limit_memory *memory,
                       const struct limit_set *set, const struct limit_counter *counters, size_t n,
                       int64_t since_us) RC_MUST;

/*
 * Drops memory's counters of limits that set has not and nothing is reserved in.  Any thread;
 * no lock is held for more than LIMIT_FORGET_RUN of them.
 */
enum { LIMIT_FORGET_RUN = 256 };
void limit_forget(struct limit_memory *memory, const struct limit_set *set);

enum { LIMIT_REBUILD_MS = 10000 }; /* how long known owners are waited for */

/* How it stands with options.owner's part of the counters in Redis. */
enum limit_part {
    LIMIT_PART_READY = 0,
    LIMIT_PART_BEHIND, /* an earlier start set it: rolling windows are right, others perhaps not */
    LIMIT_PART_MISSING,
};

/*
 * What is to be done before Redis admits with await_rebuild: unless READY, limit_adopt and
 * limit_write (BEHIND: calendar windows alone).  From now on earlier starts change nothing any
 * more, and this one neither until then.  Blocks; RC_IO where Redis cannot be reached, RC_STATE
 * for the memory engine, whose owner knows whether it is new.
 */
enum rc limit_part_turn(const struct limiter_options *options, enum limit_part *part) RC_MUST;

/*
 * Goes through what Redis holds reserved for options.owner: what an earlier start left is
 * settled by what fn fills in (zero for a request that the ledger has no record of; fn's
 * failure ends it), leases are given back; what this start holds is reserved for LIMIT_DOUBT_S
 * (limiter_restore), also where it had expired.  Blocks and fails as limit_part_turn.
 */
typedef enum rc limit_taken_fn(const struct uuid *id, struct limit_amounts *taken, void *arg);
enum rc limit_adopt(const struct limiter_options *options, limit_taken_fn *fn,
                    void *arg) RC_MUST;

/*
 * Asks the processes that share this Redis to set their parts of its counters anew, as if it had
 * come back empty, and marks options.owner's own as missing.  What owners that are not alive
 * spent stays in calendar windows and goes in rolling ones.  *nodes: how many are alive.
 * Blocks; errors as limit_part_turn.
 */
enum rc limit_rebuild_ask(const struct limiter_options *options, unsigned *nodes) RC_MUST;
/* Processes that share the counters and were heard of lately.  Blocks and fails as limit_read. */
enum rc limit_nodes(const struct limiter_options *options, unsigned *nodes) RC_MUST;
/* Whether all parts that are waited for are there. Blocks; errors as limit_part_turn. */
enum rc limit_is_ready(const struct limiter_options *options, bool *ready) RC_MUST;

const char *limit_unit_name(enum limit_unit unit);
bool limit_unit_parse(struct strv name, enum limit_unit *unit);
/* "hour" ... "total", or "<n>s": false for anything else. */
bool limit_window_parse(struct strv text, bool *rolling, enum period *period, int64_t *seconds);

#endif
