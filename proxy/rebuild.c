#include "proxy/rebuild.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/orphans.h"
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
    bool has_orphans; /* of earlier processes, not settled yet; by the thread alone */
    uint64_t marks; /* asked of the workers so far; by the thread alone */
};

/* What is to be written. */
struct found {
    struct limit_counter *at;
    size_t n, cap;
    struct arena scopes;
    bool full;
};

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

static enum rc find(const struct config *config, int64_t now_us, int64_t until_us,
                    struct found *f, struct fail *fail)
{
    struct limit_spent_question q = {
        .set = config->limits, .zone = config->zone, .now_us = now_us, .until_us = until_us};
    enum rc rc = RC_IO;

    q.reader = ledger_read_open(config->ledger_path, fail);
    if (!q.reader)
        return RC_IO;
    rc = ledger_read_begin(q.reader, fail);
    if (rc == RC_OK) {
        for (size_t i = 0; rc == RC_OK && i < limit_set_count(config->limits); i++)
            rc = find_one(&q, i, f, fail);
        ledger_read_end(q.reader);
    }
    ledger_read_close(q.reader);
    return rc;
}

/* ---- the counters
 * ------------------------------------------------------------------------------ */

static struct limiter_options options_of(const struct config *config)
{
    return (struct limiter_options){
        .redis_url = config->counters_redis ? config->redis_url : NULL,
        .name_space = config->counters_namespace,
    };
}

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

    if (c->spent == 0 || (s->n_known > 0 && bsearch(c, s->found->at, s->n_known,
                                                    sizeof(s->found->at[0]), counter_order)))
        return;
    none.spent = 0;
    on_spent(&none, s->found);
}

/* What the ledger says, and zero for shared counters that it says nothing of. */
static enum rc gather(const struct config *config, int64_t now_us, int64_t until_us,
                      struct found *found, struct fail *fail)
{
    struct limiter_options options = options_of(config);
    struct strangers strangers = {.found = found};
    enum rc rc = find(config, now_us, until_us, found, fail);

    if (rc != RC_OK || !config->counters_redis)
        return rc;
    if (found->n > 0)
        qsort(found->at, found->n, sizeof(found->at[0]), counter_order);
    strangers.n_known = found->n;
    return limit_read(&options, NULL, config->limits, now_us, on_counter, &strangers);
}

enum rc rebuild_offline(const struct config *config, size_t *n, struct fail *fail)
{
    struct limiter_options options = options_of(config);
    struct found found = {0};
    int64_t now_us = clock_wall_us();
    enum rc rc;

    arena_init(&found.scopes, SCOPES_BYTES);
    rc = gather(config, now_us, INT64_MAX, &found, fail);
    if (rc == RC_OK)
        rc = limit_write(&options, NULL, config->limits, found.at, found.n, now_us);
    *n = found.n;
    arena_release(&found.scopes);
    free(found.at);
    return rc;
}

/* Workers settle on: what ends at as_of_us or later is theirs to count. */
static enum rc set_counters(struct rebuild *r, const struct config *config, int64_t as_of_us,
                            bool workers_run)
{
    struct limiter_options options = options_of(config);
    struct found found = {0};
    struct fail fail = {0};
    char why[256] = "";
    enum rc rc;

    arena_init(&found.scopes, SCOPES_BYTES);
    rc = ledger_catch_up_within(r->server->ledger, CATCH_UP_MS);
    if (rc == RC_OK)
        rc = gather(config, as_of_us, workers_run ? as_of_us : INT64_MAX, &found, &fail);
    if (rc == RC_OK)
        rc = limit_write(&options, r->server->limit_memory, config->limits, found.at, found.n,
                         as_of_us);
    if (rc == RC_OK) {
        log_line(LOG_INFO, "rebuild", "counters rebuilt from the ledger",
                 "counters=%zu limits=%zu ms=%" PRId64, found.n,
                 limit_set_count(config->limits), (clock_wall_us() - as_of_us) / 1000);
    } else {
        if (fail.rc != RC_OK)
            fail_text(&fail, why, sizeof(why));
        log_line(LOG_ERROR, "rebuild", "counters could not be rebuilt", "rc=%s reason=\"%s\"",
                 rc_name(rc), why);
    }
    arena_release(&found.scopes);
    free(found.at);
    return rc;
}

/* RC_OK: Redis has its counters, from here or from another node. */
static enum rc rebuild_redis(struct rebuild *r, bool workers_run)
{
    struct generation *g = server_generation(r->server);
    struct limiter_options options = options_of(g->config);
    bool mine = false;
    enum rc rc = limit_rebuild_turn(&options, &mine);

    if (rc == RC_OK && mine) {
        int64_t as_of_us;

        /* once for settlements to go one by one, once more for those until then to be on disk */
        if (workers_run)
            rc = written(r);
        as_of_us = clock_wall_us();
        if (rc == RC_OK && workers_run)
            rc = written(r);
        if (rc == RC_OK)
            rc = set_counters(r, g->config, as_of_us, workers_run);
    }
    generation_unref(g);
    return rc;
}

/* ---- the thread
 * ---------------------------------------------------------------------------------- */

/* Waits for ms, or for the end. */
static void rest(struct rebuild *r, int ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
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
        while (!r->stopping && !r->has_orphans && !atomic_load(&r->wanted))
            pthread_cond_wait(&r->wake, &r->lock);
        pthread_mutex_unlock(&r->lock);
        if (is_stopping(r))
            return NULL;
        /* Workers notice within a second that Redis is in order: no second question sooner. */
        if (atomic_exchange(&r->wanted, false) && rebuild_redis(r, true) != RC_OK)
            atomic_store(&r->wanted, true);
        if (r->has_orphans)
            r->has_orphans = orphans_settle(r->server) != RC_OK;
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

struct rebuild *rebuild_start(struct server *server)
{
    const struct config *config = server->current->config;
    struct rebuild *r = xcalloc(1, sizeof(*r));

    r->server = server;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    if (!config->counters_redis) {
        if (limit_set_count(config->limits) > 0 &&
            set_counters(r, config, clock_wall_us(), false) != RC_OK)
            log_line(LOG_ERROR, "rebuild", "limits count from zero", "engine=%s", "memory");
        return r;
    }
    if (rebuild_redis(r, false) != RC_OK)
        atomic_store(&r->wanted, true);
    r->has_orphans = orphans_settle(server) != RC_OK;
    r->has_thread = true;
    ASSERT(pthread_create(&r->thread, NULL, run, r) == 0);
    pthread_setname_np(r->thread, "rebuild");
    return r;
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
