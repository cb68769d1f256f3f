#include "proxy/observe.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/admin.h"
#include "proxy/alerts.h"
#include "proxy/cmd.h"
#include "proxy/counters.h"
#include "proxy/metrics.h"
#include "proxy/server_int.h"

enum { CATCH_UP_MS = 2000 };

struct observe {
    struct server *server;
    struct admin *admin;
};

static void show_metrics(struct buf *out, void *arg)
{
    struct server *s = ((struct observe *)arg)->server;
    const struct worker_stats **workers = xcalloc(s->n_workers, sizeof(workers[0]));
    struct limiter_stats *limiters = xcalloc(s->n_workers, sizeof(limiters[0]));
    struct ledger_stats ledger;
    struct alert_stats alerts;
    uint64_t heap_used, heap_kept;

    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = s->workers[i];

        workers[i] = &w->stats;
        pthread_mutex_lock(&w->mailbox_lock);
        limiters[i] = w->limiter_view;
        pthread_mutex_unlock(&w->mailbox_lock);
    }
    ledger_stats(s->ledger, &ledger);
    alerts_stats(s->alerts, &alerts);
    memory_heap(&heap_used, &heap_kept);
    if (metrics_render(&(struct metrics_view){.workers = workers,
                                              .n_workers = s->n_workers,
                                              .limiters = limiters,
                                              .n_limiters = s->n_workers,
                                              .ledger = &ledger,
                                              .alerts = &alerts,
                                              .version = TOLLGATE_VERSION,
                                              .started_us = s->started_us,
                                              .heap_used = heap_used,
                                              .heap_kept = heap_kept,
                                              .reloads = atomic_load(&s->reloads),
                                              .reload_failures =
                                                  atomic_load(&s->reload_failures),
                                              .draining = atomic_load(&s->draining)},
                       out) != RC_OK)
        log_line(LOG_WARN, "observe", "metrics larger than their bound", "bytes=%zu", out->max);
    free(limiters);
    free(workers);
}

static bool is_ready(struct buf *why, void *arg)
{
    struct server *s = ((struct observe *)arg)->server;
    struct strv what = STRV("draining");

    if (!atomic_load(&s->draining)) {
        if (ledger_is_open(s->ledger))
            return true;
        what = STRV("the ledger cannot be opened yet");
    }
    if (buf_append(why, what.p, what.n) != RC_OK)
        log_line(LOG_DEBUG, "observe", "no room", "for=reason");
    return false;
}

static const struct config *config_take(void **held, void *arg)
{
    struct server *s = ((struct observe *)arg)->server;
    struct generation *g = server_generation(s);

    *held = g;
    return g->config;
}

static void config_give(void *held, void *arg)
{
    (void)arg;
    generation_unref(held);
}

static enum rc read_counters(const struct config *config, limit_counter_fn *fn, void *fn_arg,
                             void *arg)
{
    struct server *s = ((struct observe *)arg)->server;
    struct limiter_options options = counters_options(config);

    options.timeout_ms = config->counters_timeout_ms;
    return limit_read(&options, s->limit_memory, config->limits, clock_wall_us(), fn, fn_arg);
}

static void catch_up(void *arg)
{
    struct server *s = ((struct observe *)arg)->server;

    if (ledger_catch_up_within(s->ledger, CATCH_UP_MS) != RC_OK)
        log_line(LOG_WARN, "observe", "a report runs on a ledger that lags", "ms=%d", CATCH_UP_MS);
}

struct observe *observe_start(struct server *server)
{
    struct observe *o = xcalloc(1, sizeof(*o));
    struct fail fail;

    o->server = server;
    o->admin = admin_start(&(struct admin_sources){.metrics = show_metrics,
                                                   .ready = is_ready,
                                                   .config_ref = config_take,
                                                   .config_unref = config_give,
                                                   .counters = read_counters,
                                                   .catch_up = catch_up,
                                                   .arg = o},
                           &fail);
    if (!o->admin) {
        char why[256];

        fail_text(&fail, why, sizeof(why));
        log_line(LOG_ERROR, "admin", "could not start the admin listener", "reason=\"%s\"", why);
        free(o);
        return NULL;
    }
    return o;
}

void observe_reload(struct observe *o)
{
    struct fail fail;
    char why[256];

    if (admin_reload(o->admin, &fail) == RC_OK)
        return;
    fail_text(&fail, why, sizeof(why));
    log_line(LOG_ERROR, "admin", "keeps its old certificate and token", "reason=\"%s\"", why);
}

void observe_stop(struct observe *o)
{
    if (!o)
        return;
    admin_stop(o->admin);
    free(o);
}

int observe_port(const struct observe *o)
{
    return admin_port(o->admin);
}
