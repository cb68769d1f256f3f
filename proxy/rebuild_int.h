/*
 * rebuild_int.h - what rebuild.c and rebuild_ahead.c share.
 */
#ifndef PROXY_REBUILD_INT_H
#define PROXY_REBUILD_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "proxy/rebuild.h"
#include "proxy/rebuild_find.h"
#include "proxy/server_int.h"

enum {
    CATCH_UP_MS = 5000, /* for the ledger to take what is journalled */
    MARK_MS = 2000,     /* for the workers to write what they have settled */
    MARK_POLL_US = 1000,
    RETRY_MS = 1000,
};

struct rebuild {
    struct server *server;
    pthread_t thread;
    bool has_thread; /* by the main thread alone */
    bool stopping;   /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool wanted;
    struct generation *coming; /* under lock, as the next two: what rebuild_ahead was given */
    bool is_coming_fresh;      /* the thread has not looked at it */
    bool is_coming_set;        /* rebuild_ahead_is_set */
    uint64_t marks; /* asked of the workers so far; by the thread alone, as what follows */
    unsigned nodes;       /* that shared the counters when they were set last */
    bool is_blind;        /* see limit_memory_set_blind */
    bool is_shared_known; /* what Redis had was noted */
    const struct generation *begun; /* coming's limits have a time from which they are charged: */
    int64_t since_us;
    bool is_coming_noted; /* rebuild_note_own did: what is spent since is held beside it */
};

bool rebuild_is_stopping(struct rebuild *r);
/* The thread runs, or is started; from the main thread.  False: it cannot be. */
bool rebuild_needs_thread(struct rebuild *r);
/* Whether the ledger is open; workers are told whose part is theirs. */
bool rebuild_has_ledger(struct rebuild *r);

/* Whether what the mark was asked for is wanted no more. */
typedef bool rebuild_over_fn(struct rebuild *r, const void *arg);
/* All workers have reached r->marks.  RC_TIMEOUT: not within MARK_MS, or it is over. */
enum rc rebuild_await_mark(struct rebuild *r, rebuild_over_fn *is_over, const void *arg) RC_MUST;

/*
 * Redis is away and has told nothing of the limits wanted: what this ledger has is spent at least,
 * and noted for `local`.
 */
enum rc rebuild_note_own(struct rebuild *r, const struct config *config,
                         find_wants_fn *wants) RC_MUST;

/* By the thread: tries to set what rebuild_ahead was given.  False: to be tried again. */
bool ahead_attempt(struct rebuild *r);

#endif
