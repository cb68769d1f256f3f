/*
 * desk.h - what a key may ask about itself: budgets left and usage so far.
 *
 * Counters and ledger are read by a thread of its own, since both may block; workers
 * hand it jobs through a bounded queue and get them back through their mailbox.  A job
 * belongs to the worker that asked: whoever asked may leave at any time.
 */
#ifndef PROXY_DESK_H
#define PROXY_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/rc.h"
#include "base/tag.h"

enum {
    DESK_QUEUE_MAX = 64,            /* jobs that wait; more are refused */
    DESK_ANSWER_BYTES = 256 << 10,  /* an answer; at most LIMIT_CLAIMS_MAX limits fit easily */
    DESK_JOB_ARENA_BYTES = 128 << 10,
    DESK_WAIT_MS = 10000, /* the longest that an exchange waits for one */
};

enum desk_question { DESK_BUDGET = 0, DESK_USAGE };

struct desk;
struct desk_job;
struct generation;
struct server;
struct worker;
struct xchg;

/* NULL, logged, where its thread cannot be started. */
struct desk *desk_start(struct server *server);
/* NULL is legal. Waits for the job under way; workers have ended, their mailboxes are there. */
void desk_stop(struct desk *d);

/* What is asked; copied. */
struct desk_ask {
    enum desk_question question;
    struct worker *worker;
    struct xchg *xchg;             /* is woken with WAKE_DESK */
    struct generation *generation; /* one more reference is taken */
    const struct subject *subject; /* of the request: key and tags, perhaps model and upstream */
    int64_t now_us;
};
/* From a worker. NULL where the queue is full or the subject too large, or where d is NULL. */
struct desk_job *desk_ask(struct desk *d, const struct desk_ask *ask);

/* ---- for the worker that asked, in its thread ---- */

/* False: not yet. rc RC_OK with the answer's JSON, borrowed until desk_job_leave. */
bool desk_job_done(const struct desk_job *job, enum rc *rc, struct strv *json);
/* The asker leaves, answered or not; the job must not be used after. */
void desk_job_leave(struct desk_job *job);
/* The worker's letter with an answered job. */
void desk_job_deliver(struct desk_job *job);

/* ---- the answers (desk_answer.c), in the desk's thread ---- */

/*
 * Appends one JSON object: what the subject may still take of each limit that it
 * touches.  RC_IO where the counters cannot be read.  arena: for the scopes.
 */
enum rc desk_budget(struct server *server, const struct generation *generation,
                    const struct subject *subject, int64_t now_us, struct arena *arena,
                    struct buf *out) RC_MUST;
/* Appends one JSON object: what the subject's key used today and this month. */
enum rc desk_usage(struct server *server, const struct generation *generation,
                   const struct subject *subject, int64_t now_us, struct buf *out) RC_MUST;

#endif
