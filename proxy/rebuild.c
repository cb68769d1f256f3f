#include "proxy/rebuild_int.h"

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
#include "proxy/rebuild_find.h"

/* What is to be set, and as of when. */
struct task {
    struct limiter_options options;
    enum limit_part part;
    int64_t as_of_us, until_us; /* lines that ended at until_us or later are left out */
};

/* Rolling windows that an earlier process left are right: its reservations are settled one by one. */
static bool is_set(const struct find_question *q, size_t i)
{
    const struct limit_set *set = q->config->limits;
    const struct task *task = q->arg;

    return limit_set_state(set, i) == LIMIT_KNOWN &&
           (task->part == LIMIT_PART_MISSING || !limit_set_at(set, i)->rolling);
}

static struct find_question question_of(const struct config *config, const struct task *task)
{
    return (struct find_question){.config = config,
                                  .as_of_us = task->as_of_us,
                                  .until_us = task->until_us,
                                  .wants = is_set,
                                  .arg = task};
}

/* ---- the counters
 * ------------------------------------------------------------------------------ */

bool rebuild_is_stopping(struct rebuild *r)
{
    bool stopping;

    pthread_mutex_lock(&r->lock);
    stopping = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

enum rc rebuild_await_mark(struct rebuild *r, rebuild_over_fn *is_over, const void *arg)
{
    struct server *s = r->server;
    int64_t until = clock_mono_us() + MARK_MS * 1000;

    for (unsigned i = 0; i < s->n_workers; i++) {
        while (worker_marked(s->workers[i]) < r->marks) {
            struct timespec pause = {.tv_nsec = MARK_POLL_US * 1000};

            if (clock_mono_us() > until || is_over(r, arg))
                return RC_TIMEOUT;
            (void)nanosleep(&pause, NULL);
        }
    }
    return RC_OK;
}

static bool is_over(struct rebuild *r, const void *arg)
{
    (void)arg;
    return rebuild_is_stopping(r);
}

/*
 * Everything that workers settled before the call is in their journal files: whether the
 * ledger has a settlement must not depend on which loop turn it is still waiting for.
 */
static enum rc written(struct rebuild *r)
{
    struct server *s = r->server;

    r->marks++;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post_mark(s->workers[i], r->marks);
    return rebuild_await_mark(r, is_over, NULL);
}

/* What the ledger says, and zero for shared counters that it says nothing of. */
static enum rc gather(const struct config *config, const struct task *task, struct found *found,
                      struct fail *fail)
{
    const struct find_question q = question_of(config, task);
    enum rc rc = find_spent(&q, found, fail);

    if (rc != RC_OK || !config->counters_redis)
        return rc;
    return find_strangers(&q, &task->options, found);
}

/* Settles what earlier processes left, then sets what is spent. */
static enum rc set_counters(const struct config *config, struct limit_memory *memory,
                            const struct task *task, size_t *n, struct fail *fail)
{
    struct found found;
    enum rc rc = RC_OK;

    found_init(&found);
    if (config->counters_redis)
        rc = owner_adopt(config, &task->options, fail);
    if (rc == RC_OK)
        rc = gather(config, task, &found, fail);
    if (rc == RC_OK)
        rc = limit_write(&task->options, memory, config->limits, found.at, found.n,
                         task->as_of_us);
    *n = found.n;
    found_release(&found);
    return rc;
}

enum rc rebuild_offline(const struct config *config, size_t *n, struct fail *fail)
{
    struct task task = {.options = counters_options(config),
                        .as_of_us = clock_steady_us(),
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
                 (clock_steady_us() - task->as_of_us) / 1000);
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
        task.as_of_us = clock_steady_us();
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
                        .as_of_us = clock_steady_us(),
                        .until_us = INT64_MAX};

    return limit_set_count(config->limits) > 0 ? set_and_tell(r, config, &task) : RC_OK;
}

/* ---- what `local` goes on with --------------------------------------------------- */

/* All that is in Redis: a limit that nobody has asked for since the start is known as well. */
static enum rc note_shared(struct rebuild *r, const struct config *config)
{
    const struct limiter_options options = counters_options(config);
    struct found found;
    enum rc rc;

    found_init(&found);
    rc = limit_read(&options, NULL, config->limits, clock_steady_us(), found_add, &found);
    if (rc == RC_OK)
        rc = limit_note(r->server->limit_memory, config->limits, found.at, found.n);
    found_release(&found);
    return rc;
}

static bool is_known(const struct find_question *q, size_t i)
{
    return limit_set_state(q->config->limits, i) == LIMIT_KNOWN;
}

enum rc rebuild_note_own(struct rebuild *r, const struct config *config, find_wants_fn *wants)
{
    const struct find_question q = {.config = config,
                                    .as_of_us = clock_steady_us(),
                                    .until_us = INT64_MAX,
                                    .wants = wants};
    struct found found;
    struct fail fail;
    enum rc rc = ledger_catch_up_within(r->server->ledger, CATCH_UP_MS);

    found_init(&found);
    if (rc == RC_OK)
        rc = find_spent(&q, &found, &fail);
    if (rc == RC_OK)
        rc = limit_note(r->server->limit_memory, config->limits, found.at, found.n);
    found_release(&found);
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
    if (r->is_blind && (r->is_shared_known || rebuild_note_own(r, config, is_known) == RC_OK)) {
        r->is_blind = false;
        limit_memory_set_blind(r->server->limit_memory, false);
    }
    return rc;
}

/* ---- from the ledger ----------------------------------------------------------------- */

/* It is open; workers are told whose part is theirs. */
bool rebuild_has_ledger(struct rebuild *r)
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

    if (!rebuild_has_ledger(r))
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

/* Waits for ms, or for the end, or for a configuration that nobody has looked at. */
static void rest(struct rebuild *r, int ms)
{
    struct timespec until = thread_after_ms(ms);

    pthread_mutex_lock(&r->lock);
    while (!r->stopping && !r->is_coming_fresh &&
           pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
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
        bool is_done;

        pthread_mutex_lock(&r->lock);
        while (!r->stopping && !atomic_load(&r->wanted) && !r->coming)
            pthread_cond_wait(&r->wake, &r->lock);
        pthread_mutex_unlock(&r->lock);
        if (rebuild_is_stopping(r))
            return NULL;
        is_done = !atomic_exchange(&r->wanted, false);
        /* Workers notice within a second that Redis is in order: no second question sooner. */
        if (!is_done && rebuild(r, true) != RC_OK)
            atomic_store(&r->wanted, true);
        is_done = ahead_attempt(r) && is_done;
        if (!is_done)
            rest(r, RETRY_MS);
    }
}

bool rebuild_needs_thread(struct rebuild *r)
{
    if (!r->has_thread)
        r->has_thread = thread_start(&r->thread, "rebuild", run, r);
    return r->has_thread;
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
    generation_unref(r->coming);
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
    if (rebuild_needs_thread(r))
        return r;
    rebuild_stop(r);
    return NULL;
}
