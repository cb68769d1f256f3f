/*
 * admin_jobs.c - the report thread: one job after the other; see admin_int.h.
 *
 * The lock is held to move jobs between lists, never while one runs.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/urgency.h"
#include "base/xalloc.h"
#include "proxy/admin_int.h"
#include "proxy/alert.h"
#include "reports/report.h"

enum { READER_KEPT_S = 60 };

void admin_job_free(struct admin_job *job)
{
    buf_release(&job->out);
    buf_release(&job->error);
    params_release(&job->params);
    free(job);
}

static void wake_admin(struct admin *a)
{
    const uint64_t one = 1;
    ssize_t n = write(a->wake_fd, &one, sizeof(one));

    (void)n; /* an eventfd that is full has woken it already */
}

bool admin_jobs_add(struct admin *a, struct admin_job *job)
{
    bool room;

    pthread_mutex_lock(&a->lock);
    room = a->n_jobs < ADMIN_QUEUE_MAX && !a->stopping;
    if (room) {
        a->n_jobs++;
        list_push_back(&a->queue, &job->node);
        pthread_cond_signal(&a->jobs_wake);
    }
    pthread_mutex_unlock(&a->lock);
    return room;
}

void admin_jobs_add_counters(struct admin *a)
{
    struct admin_job *job;

    if (!a->sources.counters)
        return;
    pthread_mutex_lock(&a->lock);
    if (!a->counters_queued && !a->stopping) {
        job = xcalloc(1, sizeof(*job));
        params_init(&job->params);
        job->is_counters = true;
        a->counters_queued = true;
        list_push_back(&a->queue, &job->node);
        pthread_cond_signal(&a->jobs_wake);
    }
    pthread_mutex_unlock(&a->lock);
}

/* ---- gauges ------------------------------------------------------------------------- */

void admin_gauges_release(struct admin *a, struct admin_gauges *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->at[i].scope);
    free(g->at);
    if (g->held)
        a->sources.config_unref(g->held, a->sources.arg);
    *g = (struct admin_gauges){0};
}

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct admin_gauges *g = arg;

    g->total++;
    if (g->n == METRICS_LIMITS_MAX || c->limit >= limit_set_count(g->config->limits))
        return;
    g->at[g->n++] =
        (struct admin_gauge){.limit = c->limit,
                             .scope = xmemdupz(c->scope.n ? c->scope.p : "", c->scope.n),
                             .spent = c->spent,
                             .reserved = c->reserved,
                             .end_us = c->end_us};
}

static void read_counters(struct admin *a)
{
    struct admin_gauges fresh = {0}, old;
    enum rc rc;

    fresh.config = a->sources.config_ref(&fresh.held, a->sources.arg);
    fresh.at = xcalloc(METRICS_LIMITS_MAX, sizeof(*fresh.at));
    rc = a->sources.counters(fresh.config, on_counter, &fresh, a->sources.arg);
    fresh.at_us = clock_mono_us();
    pthread_mutex_lock(&a->lock);
    a->counters_queued = false;
    if (rc == RC_OK) {
        old = a->gauges;
        a->gauges = fresh;
    } else {
        old = fresh; /* what was last known stays, and its age tells */
    }
    pthread_mutex_unlock(&a->lock);
    admin_gauges_release(a, &old);
}

enum rc admin_gauges_render(struct admin *a, struct buf *out)
{
    struct metrics_limit *limits = xcalloc(METRICS_LIMITS_MAX, sizeof(*limits));
    const struct admin_gauges *g = &a->gauges;
    enum rc rc = RC_OK;

    /* The views are good while the lock is held; rendering a thousand of them is quick. */
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < g->n; i++)
        limits[i] = (struct metrics_limit){limit_set_at(g->config->limits, g->at[i].limit),
                                           strv_z(g->at[i].scope), g->at[i].spent,
                                           g->at[i].reserved, g->at[i].end_us};
    if (g->at_us) {
        rc = metrics_limits(limits, g->n, g->total, out);
        if (rc == RC_OK)
            rc = metrics_family(out, "tollgate_limits_age_seconds", "gauge",
                                "Since the gauges of limits were read.");
        if (rc == RC_OK)
            rc = metrics_decimal(out, "tollgate_limits_age_seconds", "",
                                 (uint64_t)(clock_mono_us() - g->at_us), 6);
    }
    pthread_mutex_unlock(&a->lock);
    free(limits);
    return rc;
}

/* ---- reports ---------------------------------------------------------------------------- */

struct live {
    struct admin *a;
    const struct config *config;
};

static enum rc live_counters(limit_counter_fn *fn, void *fn_arg, void *arg)
{
    const struct live *live = arg;

    return live->a->sources.counters(live->config, fn, fn_arg, live->a->sources.arg);
}

static void live_catch_up(void *arg)
{
    const struct live *live = arg;

    live->a->sources.catch_up(live->a->sources.arg);
}

static void live_upstream(struct strv name, struct reconcile_upstream *out, void *arg)
{
    const struct live *live = arg;
    const struct upstream_config *up = config_upstream(live->config, name);

    if (!up)
        return;
    out->provider = up->provider;
    out->account = strv_z(up->sub_account);
    out->billing = strv_z(up->billing_account);
}

static bool live_is_told(struct strv team, void *arg)
{
    const struct live *live = arg;

    return alert_reaches(&live->config->alerts, team);
}

/* ---- the ledger ------------------------------------------------------------------------- */

static void forget_reader(struct admin *a)
{
    ledger_read_close(a->reader);
    free(a->reader_path);
    a->reader = NULL;
    a->reader_path = NULL;
}

/* Where it does not open, the report tries again, and says why. */
static void open_reader(struct admin *a, const char *path)
{
    struct fail ignored;

    if (a->reader && strcmp(a->reader_path, path) != 0)
        forget_reader(a);
    if (a->reader)
        return;
    a->reader = ledger_read_open(path, &ignored);
    if (a->reader)
        a->reader_path = xstrdup(path);
}

/* Under the lock, which is let go: what a reader remembers is not kept for long. */
static void wait_for_job(struct admin *a)
{
    struct timespec until;

    if (!a->reader) {
        pthread_cond_wait(&a->jobs_wake, &a->lock);
        return;
    }
    if (clock_mono_us() - a->reader_used_us < READER_KEPT_S * INT64_C(1000000)) {
        until = thread_after_ms(READER_KEPT_S * 1000);
        (void)pthread_cond_timedwait(&a->jobs_wake, &a->lock, &until);
        return;
    }
    pthread_mutex_unlock(&a->lock);
    forget_reader(a);
    pthread_mutex_lock(&a->lock);
}

static void run_report(struct admin *a, struct admin_job *job)
{
    struct live live = {.a = a};
    struct report_sources sources = {.arg = &live};
    int64_t started = clock_mono_us();
    void *held = NULL;

    live.config = a->sources.config_ref(&held, a->sources.arg);
    open_reader(a, live.config->ledger_path);
    sources.ledger_path = live.config->ledger_path;
    sources.reader = a->reader;
    sources.zone = live.config->zone;
    sources.state_dir = live.config->state_dir;
    sources.book = live.config->book;
    sources.limits = live.config->limits;
    sources.upstream = live_upstream;
    sources.is_told = live_is_told;
    sources.floor = (struct oddity_floor){live.config->alerts.anomaly_usd.atto,
                                          (unsigned)live.config->alerts.anomaly_percent};
    sources.counters = a->sources.counters ? live_counters : NULL;
    sources.catch_up = a->sources.catch_up ? live_catch_up : NULL;
    job->rc = report_run(job->name, &job->params, &sources, &job->out, &job->error);
    a->reader_used_us = clock_mono_us();
    if (job->rc == RC_IO)
        forget_reader(a); /* whatever failed: the next one begins anew */
    a->sources.config_unref(held, a->sources.arg);
    log_line(LOG_DEBUG, "admin", "report done", "report=" STRV_FMT " rc=%s us=%lld",
             STRV_ARG(job->name), rc_name(job->rc), (long long)(clock_mono_us() - started));
}

void *admin_jobs_run(void *admin)
{
    struct admin *a = admin;

    urgency_patient();
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        struct admin_job *job;
        if (list_is_empty(&a->queue)) {
            wait_for_job(a);
            continue;
        }
        job = LIST_OBJECT(a->queue.next, struct admin_job, node);
        list_remove(&job->node);
        pthread_mutex_unlock(&a->lock);
        if (job->is_counters)
            read_counters(a);
        else
            run_report(a, job);
        pthread_mutex_lock(&a->lock);
        if (job->is_counters) {
            admin_job_free(job);
        } else {
            list_push_back(&a->done, &job->node);
            wake_admin(a);
        }
    }
    pthread_mutex_unlock(&a->lock);
    forget_reader(a);
    return NULL;
}
