/*
 * xchg.h - one exchange: a request, its answer, one record.  Read xchg.c first.
 */
#ifndef PROXY_XCHG_H
#define PROXY_XCHG_H

#include <stdbool.h>

struct conn;
struct worker;
struct xchg;

/* Why an exchange is woken.  A hint: the state looks for itself. */
enum wake {
    WAKE_CLIENT_IN = 1,
    WAKE_CLIENT_OUT = 2,
    WAKE_UPSTREAM_IN = 4,
    WAKE_UPSTREAM_OUT = 8,
    WAKE_POOL = 16,    /* a connection was made, or could not be */
    WAKE_LIMIT = 32,   /* the verdict stands */
    WAKE_JOURNAL = 64, /* what was collected is written */
    WAKE_NO_JOURNAL = 1024, /* it could not be */
    WAKE_TIMEOUT = 128,
    WAKE_STOP = 256, /* the process ends now */
    WAKE_DESK = 2048, /* the desk has answered */
    WAKE_RUN = 512,  /* its own wish, to be fair to others */
};

/* The first bytes of a request are in the connection's buffer. now: run at once, else in
 * this loop turn. */
void xchg_start(struct conn *c, bool now);
void xchg_wake(struct xchg *x, unsigned why);
/* Its client may leave: that ends it, also while nothing is read from there. */
bool xchg_minds_client(const struct xchg *x);

/* ---- for the worker's loop ---------------------------------------------------- */

/* Runs what is on worker->ready. */
void xchg_run_ready(struct worker *w);
/* Once a turn: counts so much of the prompts that wait for it that no stream waits long. */
void xchg_count_prompts(struct worker *w);
/* Wakes those that waited for the journal's write, which went well or not. */
void xchg_journal_written(struct worker *w, bool well);
/* The same for those that wait for the disk. */
void xchg_journal_synced(struct worker *w);
/* Returns ended exchanges to the pool. */
void xchg_reap(struct worker *w);
/* Frees the pool. */
void xchg_pool_free(struct worker *w);
/* The process takes no more, or a configuration is new: WebSockets whose time has come are closed,
 * those on which an answer runs when it has ended. */
void xchg_look_at_sockets(struct worker *w);
/* Every running exchange of the worker: WAKE_STOP. */
void xchg_stop_all(struct worker *w);
/* Wakes those whose deadline has come; false where no exchange runs. */
bool xchg_check_deadlines(struct worker *w);
/* Streams that live long keep their reservations: once a second. */
void xchg_tick(struct worker *w);
/* Redis may have lost what live exchanges reserved, and is about to be put in order. */
void xchg_restore(struct worker *w);

#endif
