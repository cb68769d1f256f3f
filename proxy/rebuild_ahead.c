/*
 * rebuild_ahead.c - the limits that a reload brings are set from the ledger before they hold.
 *
 * From some time on (since) workers charge each request that ends to the coming limits as well;
 * what ended before is asked of the ledger and put in beside it.  A request is before or after by
 * the one time that its record and its settlement have, so it is counted once, whichever way.
 */
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/counters.h"
#include "proxy/rebuild_int.h"

enum {
    SLICE_MS = 100,       /* of CATCH_UP_MS, between looks at whether it is over */
    SINCE_FIRST_MS = 50,  /* how far ahead the time is, so that shared counters are told before it */
    SINCE_MAX_MS = 12800, /* the farthest; each try has twice the time of the one before */
};

/* One try. */
struct attempt {
    struct rebuild *r;
    struct generation *g;
    const struct config *config;
    struct limiter_options options;
    struct found shared; /* that Redis had of the new limits */
    struct fail fail;
    int64_t began_us;
};

static bool is_new(const struct find_question *q, size_t i)
{
    return limit_set_is_new(q->config->limits, i);
}

/* Another configuration came, or the end. */
static bool is_over(struct rebuild *r, const void *arg)
{
    const struct generation *g = arg;
    bool over;

    pthread_mutex_lock(&r->lock);
    over = r->stopping || r->coming != g;
    pthread_mutex_unlock(&r->lock);
    return over;
}

/* All workers charge what ends to it, and what they settled before is in their journal files. */
static enum rc tell_workers(struct rebuild *r, struct generation *g)
{
    struct server *s = r->server;
    bool over;

    pthread_mutex_lock(&r->lock); /* not behind the letters of what comes in its place */
    over = r->stopping || r->coming != g;
    r->marks++;
    for (unsigned i = 0; !over && i < s->n_workers; i++)
        worker_post_coming(s->workers[i], generation_ref(g), r->marks);
    pthread_mutex_unlock(&r->lock);
    return over ? RC_TIMEOUT : rebuild_await_mark(r, is_over, g);
}

/* ---- since when ---------------------------------------------------------------------- */

struct reading {
    const struct limit_set *set;
    struct found *found;
};

static void on_shared(const struct limit_counter *c, void *arg)
{
    const struct reading *reading = arg;

    if (limit_set_is_new(reading->set, c->limit))
        found_add(c, reading->found);
}

/* What is in Redis of them: of an earlier configuration, or of other processes. */
static enum rc read_shared(struct attempt *a)
{
    struct reading reading = {a->config->limits, &a->shared};

    found_release(&a->shared);
    found_init(&a->shared);
    return limit_read(&a->options, NULL, a->config->limits, a->began_us, on_shared, &reading);
}

/* Redis is told of the time before it passes; else of a later one. */
static enum rc since_shared(struct attempt *a)
{
    const struct limit_set *set = a->config->limits;
    enum rc rc = RC_OK;

    a->options.owner = server_owner(a->r->server, &a->options.start);
    for (int ms = SINCE_FIRST_MS; rc == RC_OK && ms <= SINCE_MAX_MS; ms *= 2) {
        a->r->since_us = clock_steady_us() + ms * INT64_C(1000);
        limit_set_since(a->config->limits, a->r->since_us);
        rc = limit_part_since(&a->options, set, a->r->since_us);
        if (rc == RC_OK)
            rc = read_shared(a);
        if (rc == RC_OK)
            rc = limit_part_from(&a->options, set, a->shared.at, a->shared.n, a->r->since_us);
        if (rc == RC_OK && clock_steady_us() < a->r->since_us)
            return RC_OK;
    }
    return rc == RC_OK ? RC_TIMEOUT : rc;
}

/* In memory the new limits' counters are theirs alone, and a time once given holds. */
static enum rc since_alone(struct attempt *a)
{
    if (a->r->begun == a->g)
        return RC_OK;
    a->r->begun = a->g;
    a->r->since_us = clock_steady_us() + 1;
    limit_set_since(a->config->limits, a->r->since_us);
    return RC_OK;
}

/* More than once where the steady clock goes slower. */
static void sleep_until(int64_t steady_us)
{
    int64_t left_us;

    while ((left_us = steady_us - clock_steady_us()) > 0 &&
           left_us <= SINCE_MAX_MS * INT64_C(1000)) {
        struct timespec pause = {.tv_sec = left_us / 1000000,
                                 .tv_nsec = left_us % 1000000 * 1000};

        (void)nanosleep(&pause, NULL);
    }
}

/* ---- what was spent before ------------------------------------------------------------- */

static enum rc catch_up(struct attempt *a)
{
    enum rc rc = RC_TIMEOUT;

    for (int ms = 0; rc == RC_TIMEOUT && ms < CATCH_UP_MS && !is_over(a->r, a->g); ms += SLICE_MS)
        rc = ledger_catch_up_within(a->r->server->ledger, SLICE_MS);
    return rc;
}

static enum rc put_in(struct attempt *a, size_t *n)
{
    const struct find_question q = {.config = a->config,
                                    .as_of_us = a->r->since_us,
                                    .until_us = a->r->since_us,
                                    .wants = is_new};
    struct found found;
    enum rc rc;

    found_init(&found);
    rc = find_spent(&q, &found, &a->fail);
    if (rc == RC_OK && is_over(a->r, a->g))
        rc = RC_TIMEOUT;
    if (rc == RC_OK)
        find_strangers_among(&a->shared, &found);
    if (rc == RC_OK)
        rc = limit_part_add(&a->options, a->r->server->limit_memory, a->config->limits, found.at,
                            found.n, a->r->since_us);
    *n = found.n;
    found_release(&found);
    return rc;
}

static enum rc set(struct attempt *a, size_t *n)
{
    const bool is_shared = a->config->counters_redis;
    enum rc rc;

    if (is_shared) /* nothing is charged until it is told anew */
        limit_set_since(a->config->limits, INT64_MAX);
    rc = tell_workers(a->r, a->g);
    if (rc == RC_OK && !is_shared)
        rc = since_alone(a);
    if (rc == RC_OK && !rebuild_has_ledger(a->r))
        rc = RC_AGAIN;
    if (rc == RC_OK && is_shared)
        rc = since_shared(a);
    if (rc != RC_OK)
        return rc;
    sleep_until(a->r->since_us);
    rc = tell_workers(a->r, a->g); /* what ended before is in the journals */
    if (rc == RC_OK)
        rc = catch_up(a);
    return rc == RC_OK ? put_in(a, n) : rc;
}

/* ---- the thread --------------------------------------------------------------------------- */

static void say_failed(const struct attempt *a, enum rc rc)
{
    char why[256] = "";

    if (a->fail.rc != RC_OK)
        fail_text(&a->fail, why, sizeof(why));
    log_line(LOG_ERROR, "rebuild", "new limits could not be set from the ledger; trying again",
             "rc=%s reason=\"%s\"", rc_name(rc), why);
}

/* Known: by the counters; false where they were lost meanwhile, or another one has come. */
static bool finish(struct attempt *a)
{
    struct rebuild *r = a->r;
    bool is_set;

    pthread_mutex_lock(&r->lock);
    is_set = r->coming == a->g && !atomic_load(&r->wanted);
    if (is_set) {
        limit_note_stop(r->server->limit_memory);
        limit_set_tell(a->config->limits, LIMIT_KNOWN);
        r->is_coming_set = true;
        r->coming = NULL;
        generation_unref(a->g); /* coming's: the caller has its own */
    }
    pthread_mutex_unlock(&r->lock);
    return is_set;
}

static bool note(struct attempt *a)
{
    limit_note_start(a->r->server->limit_memory);
    return rebuild_note_own(a->r, a->config, is_new) == RC_OK;
}

static bool try_once(struct attempt *a)
{
    size_t n = 0;
    enum rc rc;

    found_init(&a->shared);
    rc = set(a, &n);
    found_release(&a->shared);
    if (rc == RC_OK && finish(a)) {
        log_line(LOG_INFO, "rebuild", "new limits set from the ledger",
                 "counters=%zu ms=%" PRId64, n, (clock_steady_us() - a->began_us) / 1000);
        return true;
    }
    if (is_over(a->r, a->g))
        return true;
    if (rc != RC_OK)
        say_failed(a, rc);
    /* As at a start without Redis: `local` holds by what this ledger has. */
    if (rc == RC_IO && a->config->counters_redis && !a->r->is_coming_noted && note(a)) {
        a->r->is_coming_noted = true;
        limit_set_tell(a->config->limits, LIMIT_NOTED);
    }
    return false;
}

bool ahead_attempt(struct rebuild *r)
{
    struct attempt a = {.r = r, .began_us = clock_steady_us()};
    bool is_done;

    pthread_mutex_lock(&r->lock);
    a.g = r->coming ? generation_ref(r->coming) : NULL;
    if (r->is_coming_fresh) {
        r->begun = NULL;
        r->is_coming_noted = false;
    }
    r->is_coming_fresh = false;
    pthread_mutex_unlock(&r->lock);
    if (!a.g)
        return true;
    a.config = a.g->config;
    a.options = counters_options(a.config);
    is_done = try_once(&a);
    generation_unref(a.g);
    return is_done;
}

/* ---- from the main thread ------------------------------------------------------------------ */

bool rebuild_ahead(struct rebuild *r, struct generation *generation)
{
    struct generation *old;

    if (generation && !rebuild_needs_thread(r))
        return false;
    pthread_mutex_lock(&r->lock);
    old = r->coming;
    r->coming = generation ? generation_ref(generation) : NULL;
    r->is_coming_fresh = generation != NULL;
    r->is_coming_set = false;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    generation_unref(old);
    return true;
}

bool rebuild_ahead_is_set(struct rebuild *r)
{
    bool is_set;

    pthread_mutex_lock(&r->lock);
    is_set = r->is_coming_set;
    pthread_mutex_unlock(&r->lock);
    return is_set;
}
