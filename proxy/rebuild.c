#include "proxy/rebuild.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/xalloc.h"
#include "proxy/counters.h"
#include "proxy/owner.h"
#include "proxy/server_int.h"
#include "reports/limit_spent.h"

enum {
    CATCH_UP_MS = 5000, /* for the ledger to take what is journalled */
    MARK_MS = 2000,     /* for the workers to write what they have settled */
    MARK_POLL_US = 1000,
    RETRY_MS = 1000,
    SCOPES_BYTES = 1 << 30, /* of all counters together */
};

struct rebuild {
    struct server *server;
    pthread_t thread;
    bool has_thread;
    bool stopping; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool wanted;
    uint64_t marks; /* asked of the workers so far; by the thread alone, as what follows */
    unsigned nodes;       /* that shared the counters when they were set last */
    bool is_blind;        /* see limit_memory_set_blind */
    bool is_shared_known; /* what Redis had was noted */
};

/* What is to be written. */
struct found {
    struct limit_counter *at;
    size_t n, cap;
    struct arena scopes;
    bool full;
};

/* What is to be set, and as of when. */
struct task {
    struct limiter_options options;
    enum limit_part part;
    int64_t as_of_us, until_us; /* lines that ended at until_us or later are left out */
};

/* Rolling windows that an earlier process left are right: its reservations are settled one by one. */
static bool is_set(const struct config *config, const struct task *task, size_t i)
{
    return task->part == LIMIT_PART_MISSING || !limit_set_at(config->limits, i)->rolling;
}

/* ---- what the ledger says ------------------------------------------------------------------
 */

static void on_spent(const struct limit_counter *c, void *arg)
{
    struct found *f = arg;
    struct strv scope = arena_strv(&f->scopes, c->scope);

    if (!scope.p || f->n == LIMIT_COUNTERS_MAX) {
        f->full = true;
        return;
    }
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 64;
        f->at = xrealloc(f->at, f->cap * sizeof(f->at[0]));
    }
    f->at[f->n] = *c;
    f->at[f->n++].scope = scope;
}

/* A limit whose counters are more than can be kept is passed over: the others still hold. */
static enum rc find_one(const struct limit_spent_question *q, size_t i, struct found *f,
                        struct fail *fail)
{
    bool known;
    enum rc rc = limit_spent(q, i, on_spent, f, &known, fail);
    const char *why = NULL;

    if (rc == RC_LIMIT || f->full)
        why = "more counters than can be kept";
    else if (rc == RC_OK && !known && limit_set_at(q->set, i)->unit != UNIT_CONCURRENT)
        why = "the ledger cannot be asked by so many dimensions";
    if (!why)
        return rc;
    log_line(LOG_ERROR, "rebuild", "a limit counts from zero", "limit=%s reason=\"%s\"",
             limit_set_at(q->set, i)->name, why);
    f->full = false;
    return RC_OK;
}

static enum rc find(const struct config *config, const struct task *task, struct found *f,
                    struct fail *fail)
{
    struct limit_spent_question q = {.set = config->limits,
                                     .zone = config->zone,
                                     .now_us = task->as_of_us,
                                     .until_us = task->until_us};
    enum rc rc = RC_IO;

    q.reader = ledger_read_open(config->ledger_path, fail);
    if (!q.reader)
        return RC_IO;
    rc = ledger_read_begin(q.reader, fail);
    if (rc == RC_OK) {
        for (size_t i = 0; rc == RC_OK && i < limit_set_count(config->limits); i++) {
            if (is_set(config, task, i))
                rc = find_one(&q, i, f, fail);
        }
        ledger_read_end(q.reader);
    }
    ledger_read_close(q.reader);
    return rc;
}

/* ---- the counters
 * ------------------------------------------------------------------------------ */

static bool is_stopping(struct rebuild *r)
{
    bool stopping;

    pthread_mutex_lock(&r->lock);
    stopping = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

/*
 * Everything that workers settled before the call is in their journal files: whether the
 * ledger has a settlement must not depend on which loop turn it is still waiting for.
 */
static enum rc written(struct rebuild *r)
{
    struct server *s = r->server;
    int64_t until = clock_mono_us() + MARK_MS * 1000;

    r->marks++;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post_mark(s->workers[i], r->marks);
    for (unsigned i = 0; i < s->n_workers; i++) {
        while (worker_marked(s->workers[i]) < r->marks) {
            struct timespec pause = {.tv_nsec = MARK_POLL_US * 1000};

            if (clock_mono_us() > until || is_stopping(r))
                return RC_TIMEOUT;
            (void)nanosleep(&pause, NULL);
        }
    }
    return RC_OK;
}

/* ---- counters that the ledger knows nothing of ---------------------------------- */

struct strangers {
    const struct config *config;
    const struct task *task;
    struct found *found;
    size_t n_known; /* of found, sorted */
};

static int counter_order(const void *a, const void *b)
{
    const struct limit_counter *x = a, *y = b;
    size_t n = x->scope.n < y->scope.n ? x->scope.n : y->scope.n;
    int order;

    if (x->limit != y->limit)
        return x->limit < y->limit ? -1 : 1;
    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    order = n > 0 ? memcmp(x->scope.p, y->scope.p, n) : 0;
    return order != 0 ? order : (x->scope.n > y->scope.n) - (x->scope.n < y->scope.n);
}

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct strangers *s = arg;
    struct limit_counter none = *c;

    if (!is_set(s->config, s->task, c->limit) || (s->n_known > 0 && bsearch(c, s->found->at, s->n_known,
                                                    sizeof(s->found->at[0]), counter_order)))
        return;
    none.spent = 0;
    on_spent(&none, s->found);
}

/* What the ledger says, and zero for shared counters that it says nothing of. */
static enum rc gather(const struct config *config, const struct task *task, struct found *found,
                      struct fail *fail)
{
    struct strangers strangers = {.config = config, .task = task, .found = found};
    enum rc rc = find(config, task, found, fail);

    if (rc != RC_OK || !config->counters_redis)
        return rc;
    if (found->n > 0)
        qsort(found->at, found->n, sizeof(found->at[0]), counter_order);
    strangers.n_known = found->n;
    return limit_read(&task->options, NULL, config->limits, task->as_of_us, on_counter,
                      &strangers);
}

/* Settles what earlier processes left, then sets what is spent. */
static enum rc set_counters(const struct config *config, struct limit_memory *memory,
                            const struct task *task, size_t *n, struct fail *fail)
{
    struct found found = {0};
    enum rc rc = RC_OK;

    arena_init(&found.scopes, SCOPES_BYTES);
    if (config->counters_redis)
        rc = owner_adopt(config, &task->options, fail);
    if (rc == RC_OK)
        rc = gather(config, task, &found, fail);
    if (rc == RC_OK)
        rc = limit_write(&task->options, memory, config->limits, found.at, found.n,
                         task->as_of_us);
    *n = found.n;
    arena_release(&found.scopes);
    free(found.at);
    return rc;
}

enum rc rebuild_offline(const struct config *config, size_t *n, struct fail *fail)
{
    struct task task = {.options = counters_options(config),
                        .as_of_us = clock_wall_us(),
                        .until_us = INT64_MAX};
    char owner[OWNER_TEXT];
    enum rc rc = owner_find(config, owner, &task.options.start, fail);

    task.options.owner = owner;
    if (rc == RC_OK)
        rc = limit_part_turn(&task.options, &task.part);
    return rc == RC_OK ? set_counters(config, NULL, &task, n, fail) : rc;
}

/* What a running or starting gateway sets; workers settle on: what ends at until_us is theirs. */
static enum rc set_and_tell(struct rebuild *r, const struct config *config,
                            const struct task *task)
{
    struct fail fail = {0};
    char why[256] = "";
    size_t n = 0;
    enum rc rc = ledger_catch_up_within(r->server->ledger, CATCH_UP_MS);

    if (rc == RC_OK)
        rc = set_counters(config, r->server->limit_memory, task, &n, &fail);
    if (rc == RC_OK) {
        log_line(LOG_INFO, "rebuild", "counters set from the ledger",
                 "counters=%zu limits=%zu rolling=%s ms=%" PRId64, n,
                 limit_set_count(config->limits),
                 task->part == LIMIT_PART_MISSING ? "too" : "stay",
                 (clock_wall_us() - task->as_of_us) / 1000);
    } else {
        if (fail.rc != RC_OK)
            fail_text(&fail, why, sizeof(why));
        log_line(LOG_ERROR, "rebuild", "counters could not be set", "rc=%s reason=\"%s\"",
                 rc_name(rc), why);
    }
    return rc;
}

/* The most that a worker has heard of, or that there were after the last rebuild. */
static unsigned nodes_known(const struct rebuild *r)
{
    const struct server *s = r->server;
    unsigned most = r->nodes;

    for (unsigned i = 0; i < s->n_workers; i++) {
        unsigned n = worker_nodes(s->workers[i]);

        most = n > most ? n : most;
    }
    return most;
}

/* RC_OK: this ledger's part of Redis' counters is in order. */
static enum rc rebuild_redis(struct rebuild *r, const struct config *config, bool workers_run)
{
    struct task task = {.options = counters_options(config), .until_us = INT64_MAX};
    enum rc rc;

    task.options.owner = server_owner(r->server, &task.options.start);
    task.options.nodes = nodes_known(r);
    rc = limit_part_turn(&task.options, &task.part);
    if (rc == RC_OK && task.part != LIMIT_PART_READY) {
        /* once for settlements to go one by one, once more for those until then to be on disk */
        if (workers_run)
            rc = written(r);
        task.as_of_us = clock_wall_us();
        limit_forget_running(r->server->limit_memory);
        if (rc == RC_OK && workers_run) {
            task.until_us = task.as_of_us;
            rc = written(r);
        }
        if (rc == RC_OK)
            rc = set_and_tell(r, config, &task);
    }
    return rc == RC_OK ? limit_nodes(&task.options, &r->nodes) : rc;
}

static enum rc rebuild_memory(struct rebuild *r, const struct config *config)
{
    struct task task = {.part = LIMIT_PART_MISSING,
                        .as_of_us = clock_wall_us(),
                        .until_us = INT64_MAX};

    return limit_set_count(config->limits) > 0 ? set_and_tell(r, config, &task) : RC_OK;
}

/* ---- what `local` goes on with --------------------------------------------------- */

/* All that is in Redis: a limit that nobody has asked for since the start is known as well. */
static enum rc note_shared(struct rebuild *r, const struct config *config)
{
    const struct limiter_options options = counters_options(config);
    struct found found = {0};
    enum rc rc;

    arena_init(&found.scopes, SCOPES_BYTES);
    rc = limit_read(&options, NULL, config->limits, clock_wall_us(), on_spent, &found);
    if (rc == RC_OK)
        rc = limit_note(r->server->limit_memory, config->limits, found.at, found.n);
    arena_release(&found.scopes);
    free(found.at);
    return rc;
}

/* Redis is away and has told nothing since the start: what this ledger has is spent at least. */
static enum rc note_own(struct rebuild *r, const struct config *config)
{
    const struct task task = {.part = LIMIT_PART_MISSING,
                              .as_of_us = clock_wall_us(),
                              .until_us = INT64_MAX};
    struct found found = {0};
    struct fail fail;
    enum rc rc = ledger_catch_up_within(r->server->ledger, CATCH_UP_MS);

    arena_init(&found.scopes, SCOPES_BYTES);
    if (rc == RC_OK)
        rc = find(config, &task, &found, &fail);
    if (rc == RC_OK)
        rc = limit_note(r->server->limit_memory, config->limits, found.at, found.n);
    arena_release(&found.scopes);
    free(found.at);
    return rc;
}

/* After an attempt at the shared counters; until there is something to go on with, none does. */
static enum rc note_counters(struct rebuild *r, const struct config *config, enum rc attempt)
{
    enum rc rc = attempt;

    if (attempt == RC_OK && !r->is_shared_known) {
        rc = note_shared(r, config);
        r->is_shared_known = rc == RC_OK;
    }
    if (r->is_blind && (r->is_shared_known || note_own(r, config) == RC_OK)) {
        r->is_blind = false;
        limit_memory_set_blind(r->server->limit_memory, false);
    }
    return rc;
}

/* ---- from the ledger ----------------------------------------------------------------- */

/* It is open; workers are told whose part is theirs. */
static bool has_ledger(struct rebuild *r)
{
    struct server *s = r->server;
    int64_t start;

    if (server_owner(s, &start))
        return true;
    if (!server_adopt_ledger(s))
        return false;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post(s->workers[i], LETTER_OWN, NULL);
    return true;
}

static enum rc rebuild(struct rebuild *r, bool workers_run)
{
    struct generation *g;
    enum rc rc;

    if (!has_ledger(r))
        return RC_AGAIN;
    g = server_generation(r->server);
    if (g->config->counters_redis) {
        rc = note_counters(r, g->config, rebuild_redis(r, g->config, workers_run));
    } else {
        rc = rebuild_memory(r, g->config);
        r->is_blind = rc != RC_OK;
        limit_memory_set_blind(r->server->limit_memory, r->is_blind);
    }
    generation_unref(g);
    return rc;
}

/* ---- the thread
 * ---------------------------------------------------------------------------------- */

/* Waits for ms, or for the end. */
static void rest(struct rebuild *r, int ms)
{
    struct timespec until = thread_after_ms(ms);

    pthread_mutex_lock(&r->lock);
    while (!r->stopping && pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&r->lock);
}

static void *run(void *arg)
{
    struct rebuild *r = arg;
    sigset_t all;

    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (;;) {
        pthread_mutex_lock(&r->lock);
        while (!r->stopping && !atomic_load(&r->wanted))
            pthread_cond_wait(&r->wake, &r->lock);
        pthread_mutex_unlock(&r->lock);
        if (is_stopping(r))
            return NULL;
        /* Workers notice within a second that Redis is in order: no second question sooner. */
        if (atomic_exchange(&r->wanted, false) && rebuild(r, true) != RC_OK)
            atomic_store(&r->wanted, true);
        rest(r, RETRY_MS);
    }
}

void rebuild_soon(struct rebuild *r)
{
    if (atomic_load_explicit(&r->wanted, memory_order_relaxed))
        return;
    atomic_store(&r->wanted, true);
    pthread_mutex_lock(&r->lock);
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void rebuild_stop(struct rebuild *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (r->has_thread)
        pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct rebuild *rebuild_start(struct server *server)
{
    struct rebuild *r = xcalloc(1, sizeof(*r));

    r->server = server;
    r->is_blind = true;
    limit_memory_set_blind(server->limit_memory, true);
    pthread_mutex_init(&r->lock, NULL);
    thread_cond_init(&r->wake);
    if (rebuild(r, false) != RC_OK)
        atomic_store(&r->wanted, true);
    else if (!server->current->config->counters_redis)
        return r;
    r->has_thread = thread_start(&r->thread, "rebuild", run, r);
    if (r->has_thread)
        return r;
    rebuild_stop(r);
    return NULL;
}
