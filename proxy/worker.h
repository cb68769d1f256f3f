/*
 * worker.h - one thread: an event loop with a listener, pools, counters and a journal of its own.
 *
 * Workers share the generation (immutable, counted) and nothing else; other threads
 * speak to one through its mailbox.  Loop order, in one place (worker_run): wait ->
 * events -> mailbox -> some of a prompt counted -> exchanges that asked to run again -> limiter -> journal write ->
 * exchanges that waited for it -> what was to be freed.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "base/buf.h"
#include "base/list.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"
#include "metering/limits/limit.h"
#include "proxy/denied.h"
#include "proxy/generation.h"
#include "proxy/memory.h"
#include "proxy/metrics.h"
#include "proxy/pools.h"
#include "proxy/upstream.h"

enum {
    SCRATCH_BYTES = 128 << 10, /* one read from either side */
    SPARE_OUT_BYTES = 4096,   /* of a stream's buffer that the next one is given */
    XCHG_POOL_MAX = 64,       /* ended exchanges kept for reuse */
    DEADLINE_TICK_MS = 50,    /* how exact an exchange's deadlines are */
    LINGER_MS = 2000,         /* how long a closing connection may still send */
};

struct desk_job;
struct learnt;
struct route_memo;
struct shapes;
struct tokenizer;
struct server;

struct worker {
    unsigned number;
    struct server *server;
    pthread_t thread;
    struct event_base *base;
    struct evdns_base *dns;
    struct evconnlistener *listener;
    evutil_socket_t listen_fd;
    struct pools *pools; /* of the newest generation */
    struct generation *coming; /* its limits are charged with what ends; NULL: none is coming */
    struct limiter *limiter;
    struct counters_tls *counters_tls; /* the limiter's; NULL: none */
    struct journal *journal;
    bool sync_always;   /* what BEGIN promises must be on disk before a request is forwarded */
    struct denied *denied;
    struct learnt *learnt; /* what calls without a bound take */
    struct calibration *calibration; /* what estimates of its own calls were worth */
    struct shapes *shapes;           /* of the documents that pass */
    struct route_memo *routes;       /* of the paths that are asked for */
    struct tokenizer *tokenizer;     /* NULL until something was counted: worker_tokenizer */
    struct worker_stats stats;
    struct memory_share memory;
    int64_t now_us; /* clock_mono_us when the exchange that runs was woken; for its own times */

    struct list_node conns;   /* all open ones */
    struct list_node live;    /* exchanges that run */
    struct list_node ready;   /* exchanges that run again this turn */
    struct list_node counting; /* exchanges whose prompts are counted: the first one, each turn */
    struct list_node journal_waiters; /* for the write of this turn */
    unsigned taken; /* by the turn since the first of them began to wait: see worker_took */
    struct list_node sync_waiters;    /* for the disk, with "sync": "always" */
    struct list_node h2_told;  /* streams that have something for their exchange */
    struct list_node h2_dirty; /* connections whose frames may wait */
    struct list_node h2_clients; /* to upstreams, that have something to do */
    struct list_node conns_ready; /* whose TLS layer holds bytes, or that have ended: neither makes an event */
    unsigned stops; /* how often all were told that the process ends */
    struct list_node later;   /* upconns to free at the end of the turn */
    struct list_node dead_conns;
    struct list_node dead_xchgs;
    struct list_node free_xchgs; /* kept for reuse */
    size_t n_free_xchgs;
    struct spare_cost *spare_costs; /* at most XCHG_POOL_MAX: see xchg_cost */
    size_t n_spare_costs;
    size_t n_running; /* exchanges */
    size_t n_draining; /* of them, whose client is gone; at most DRAINS_MAX */

    char *scratch; /* SCRATCH_BYTES */
    struct buf spare_out; /* storage for what a stream is about to be sent; none while it is lent */
    struct http1_header *lines; /* HTTP1_HEADERS_MAX: of the head that is being read */
    struct http1_lines *known_lines; /* of heads that were read before */

    pthread_mutex_t mailbox_lock;
    struct list_node mailbox;
    int mailbox_fd;
    struct event *mailbox_event;
    struct event *sync_event;
    struct event *limiter_timer;
    int64_t limiter_due_us; /* of that timer, clock_mono_us; INT64_MAX: it does not run */
    struct event *deadline_tick; /* while exchanges run: a timer each would be dearer */
    bool expecting;              /* it is armed */
    struct event *tick;         /* once a second: refusal counts, extended reservations */
    struct event *accept_again; /* after the process ran out of descriptors */

    struct limiter_stats limiter_view; /* a copy for other threads, under mailbox_lock */
    uint64_t mark;           /* asked for by worker_post_mark */
    _Atomic uint64_t marked; /* reached */
    bool draining; /* no new requests */
    bool stopping; /* end what runs, now */
};

/* What other threads may ask. */
enum letter_kind {
    LETTER_RELOAD = 0,
    LETTER_COMING,
    LETTER_DRAIN,
    LETTER_STOP,
    LETTER_MARK,
    LETTER_DESK,
    LETTER_TOKEN,
    LETTER_OWN
};

/* Takes the listening socket; holds a reference of its own. NULL where the journal or what wakes
 * the worker cannot be opened (logged). */
struct worker *worker_new(struct server *server, unsigned number, evutil_socket_t listen_fd,
                          struct generation *generation, const char *journal_dir);
/* Starts the thread; it ends by itself once drained or stopped. False (logged): there is none. */
bool worker_start(struct worker *w);
void worker_join(struct worker *w);
/* One turn of the loop, in the thread that owns it; wait: for something to do, if there is nothing. */
void worker_turn(struct worker *w, bool wait);
void worker_free(struct worker *w);

/*
 * From any thread. generation: a reference that the worker takes over; LETTER_RELOAD: it is in
 * force, and nothing is coming but perhaps the same; LETTER_COMING, NULL: nothing is.
 */
void worker_post(struct worker *w, enum letter_kind kind, struct generation *generation);

/*
 * From any thread: worker_marked gives mark (above 0, rising) once all that was settled before
 * the call is in the journal's file; not while the journal cannot be written.  The worker also
 * tells the counters each settlement with its own time from then on (limiter_itemize).
 */
void worker_post_mark(struct worker *w, uint64_t mark);
uint64_t worker_marked(struct worker *w);
/*
 * From any thread: charges what ends to the new limits of that generation too (a reference that
 * the worker takes over), and tells the counters each settlement by itself.  mark as above.
 */
void worker_post_coming(struct worker *w, struct generation *generation, uint64_t mark);
/* From any thread: processes that share the counters, when it last heard; 0: never yet. */
unsigned worker_nodes(struct worker *w);

/* From the desk: a job of this worker's is answered. */
void worker_post_desk(struct worker *w, struct desk_job *job);

/*
 * From any thread: the token of an upstream of that generation, copied.  Nothing where the
 * worker has another one by then.
 */
void worker_post_token(struct worker *w, const struct generation *generation, size_t upstream,
                       const char *text, int64_t expires_us);

/* Some exchange has a deadline: the tick that looks at them runs until none runs. */
void worker_expect(struct worker *w);

/* What is held, against bounds.memory_bytes of the newest generation. */
static inline enum memory_level worker_memory(const struct worker *w)
{
    return memory_level(&w->memory, w->pools->generation->config->bounds.memory_bytes);
}

/* ---- for the objects of this worker ---------------------------------------------- */

/*
 * Who waits for the turn's write of the journal waits for all that the turn has still to do: with a
 * thousand requests, streams or handshakes at once that would be milliseconds.  So the turn ends
 * after so much more, and what else is ready has the next one.
 */
enum {
    TURN_FULL = 32,     /* wakes of exchanges */
    HANDSHAKE_TOOK = 8, /* as many as one step of a client's handshake takes */
};
static inline bool worker_turn_is_full(const struct worker *w)
{
    return w->taken >= TURN_FULL;
}
/* n more were done, of which TURN_FULL are a turn. */
static inline void worker_took(struct worker *w, unsigned n)
{
    if (list_is_empty(&w->journal_waiters))
        return;
    w->taken += n;
    if (worker_turn_is_full(w))
        event_base_loopbreak(w->base);
}

struct tokenizer *worker_tokenizer(struct worker *w);

#endif
