#include "proxy/alerts.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/datetime.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/urgency.h"
#include "base/xalloc.h"
#include "proxy/alert_calm.h"
#include "proxy/alert_watch.h"
#include "proxy/alerts_int.h"
#include "proxy/counters.h"
#include "proxy/server_int.h"

enum {
    SLOW_EVERY = 5,     /* looks of budgets for one of anomalies */
    CATCH_UP_MS = 2000,
    TICK_MS = 250, /* deliveries are looked at so often */
};


/* ---- routes --------------------------------------------------------------------------------
 */

static void put(struct alerts *a, struct strv name, const struct alert *alert, bool is_fallback,
                bool quiet)
{
    const struct alert_channel *channel = alerts_channel(a->config, name);

    if (!channel || (quiet && channel->kind != ALERT_PAGERDUTY))
        return;
    alert_burst_put(&a->burst[channel - a->config->alerts.channels], &a->store, channel, alert,
                    is_fallback, alert_quiet_until(a->config, alert, a->now_us), a->now_us);
}

/* quiet: for those alone that keep something open until it is resolved. */
static void route(struct alerts *a, const struct alert *alert, bool quiet)
{
    const struct alerts_config *c = &a->config->alerts;
    bool taken = false;

    for (size_t i = 0; i < c->n_routes; i++) {
        if (!alert_matches(alert, &c->routes[i]))
            continue;
        taken = true;
        for (size_t k = 0; k < c->routes[i].n_channels; k++) {
            bool twice = false;
            for (size_t j = 0; j < i && !twice; j++) {
                for (size_t m = 0; m < c->routes[j].n_channels; m++)
                    twice =
                        twice || (alert_matches(alert, &c->routes[j]) &&
                                  strv_eq(c->routes[j].channels[m], c->routes[i].channels[k]));
            }
            if (!twice)
                put(a, c->routes[i].channels[k], alert, false, quiet);
        }
    }
    for (size_t i = 0; !taken && i < c->n_fallback; i++)
        put(a, c->fallback[i], alert, true, quiet);
    if (!quiet)
        log_line(LOG_INFO, "alerts", "told", "event=%s status=%s routed=%d", alert->event,
                 alert->resolved ? "resolved" : "firing", taken || c->n_fallback > 0);
}

/* ---- what is news ---------------------------------------------------------------------------
 */

static bool is_listed(char (*list)[ALERT_KEY_MAX], size_t n, const char *group)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], group) == 0)
            return true;
    }
    return false;
}

static void resolve(struct alerts *a, const struct alert_firing *f, bool quiet)
{
    struct alert over = f->told;
    struct uuid id;

    uuid7_make(&id, a->now_us);
    uuid_format(&id, over.id);
    memcpy(over.opened, f->told.id, sizeof(over.opened));
    over.resolved = true;
    over.at_us = a->now_us;
    if (strcmp(over.event, "anomaly.detected") == 0)
        alert_text(over.event, sizeof(over.event), "anomaly.closed");
    route(a, &over, quiet);
}

static void fire(struct alerts *a, struct alert_firing *f, const struct alert_condition *c)
{
    f->level = c->level;
    f->expires_us = c->expires_us;
    f->told = c->alert;
    f->seen = true;
    a->store.dirty = true;
    route(a, &c->alert, false);
}

static void hold(struct alerts *a, const char *group)
{
    a->holding = xrealloc(a->holding, (a->n_holding + 1) * sizeof(*a->holding));
    memcpy(a->holding[a->n_holding++], group, ALERT_KEY_MAX);
}

/* What was told is lost, but the ledger has that this gateway told it: not again. */
static void remember(struct alerts *a, const struct alert_condition *c)
{
    struct alert_firing *f = alert_store_find(&a->store, c->group);

    if (!f)
        f = alert_store_add(&a->store, c->group);
    if (!f)
        return;
    f->level = c->level;
    f->expires_us = c->expires_us;
    f->told = c->alert;
    f->seen = true;
}

/* Another gateway tells of a level of the same thing: what this one told of it is over. */
static void leave(struct alerts *a, struct alert_firing *f, bool quiet)
{
    resolve(a, f, quiet);
    alert_store_drop(&a->store, (size_t)(f - a->store.firing));
}

static void on_condition(const struct alert_condition *c, void *arg)
{
    struct alerts *a = arg;
    struct alert_firing *f = alert_store_find(&a->store, c->group);

    if (f)
        f->seen = true;
    if (a->config->alerts.n_channels == 0)
        return;
    if (c->told == CROSSING_ELSEWHERE) {
        if (f && f->level != c->level)
            leave(a, f, c->level > f->level);
        return;
    }
    if (alert_is_muted(a->config, &c->alert, a->now_us))
        return; /* what still holds when that ends is told then */
    if (a->store.was_lost && c->told == CROSSING_NOTED && (!f || f->level < c->level)) {
        remember(a, c);
        return;
    }
    if (f) {
        if (c->level > f->level) {
            const struct alert_firing before = *f;
            fire(a, f, c);
            resolve(a, &before, true); /* its incident would stay open for ever */
        } else if (c->level < f->level) {
            /* The budget was raised: what was told no longer holds, and may come again. */
            resolve(a, f, false);
            f->level = c->level;
            f->told = c->alert;
            a->store.dirty = true;
        }
        return;
    }
    if (c->twice && !is_listed(a->pending, a->n_pending, c->group)) {
        hold(a, c->group);
        return;
    }
    f = alert_store_add(&a->store, c->group);
    if (f)
        fire(a, f, c);
}

static unsigned level_of(const char *group, void *arg)
{
    struct alerts *a = arg;
    const struct alert_firing *f = alert_store_find(&a->store, group);

    return f ? f->level : 0;
}

/* What was told and holds no more. kind: begins the groups that were looked at. */
static void settle(struct alerts *a, const char *const *kinds)
{
    for (size_t i = a->store.n_firing; i-- > 0;) {
        const struct alert_firing *f = &a->store.firing[i];
        bool looked_at = false, over = f->expires_us && a->now_us >= f->expires_us;
        for (size_t k = 0; kinds[k]; k++) {
            if (strv_starts(strv_z(f->group), strv_z(kinds[k])))
                looked_at = true;
        }
        if (!looked_at || f->seen)
            continue;
        /* A new window begins without a word. */
        resolve(a, f, over);
        alert_store_drop(&a->store, i);
    }
}

/* ---- a look ---------------------------------------------------------------------------------
 */

static const char *const slow_kinds[] = {
    "forecast:", "tollgate:anomaly:", "tollgate:unpriced:", "tollgate:untagged:", NULL};
static const char *const trouble_kinds[] = {"tollgate:trouble:", NULL};
static const char *const budget_kinds[] = {"budget:", NULL};

static void nothing(const struct limit_counter *c, void *arg)
{
    (void)c;
    (void)arg;
}

static void look_for_trouble(struct alerts *a, const struct alert_watch *w)
{
    const struct config *config = a->config;
    struct limiter_options options = counters_options(config);
    struct ledger_stats stats;

    options.timeout_ms = config->counters_timeout_ms;
    if (!config->alerts.trouble)
        return;
    if (config->counters_redis && limit_set_count(config->limits) > 0 &&
        limit_read(&options, NULL, config->limits, a->now_us, nothing, NULL) != RC_OK)
        alert_watch_trouble(
            w, "counters",
            "Redis cannot be read: limits follow counters.on_failure until it can.");
    ledger_stats(a->server->ledger, &stats);
    if (stats.failures > a->ledger_failures)
        alert_watch_trouble(
            w, "ledger",
            "The database takes no records; the journal keeps them until it does.");
    a->ledger_failures = stats.failures;
    settle(a, trouble_kinds);
}

static enum rc look_at_ledger(struct alerts *a, const struct alert_watch *w, bool slow)
{
    int64_t start;
    const char *owner = server_owner(a->server, &start);
    struct fail fail = {.rc = RC_OK};
    struct ledger_reader *reader;
    enum rc rc;

    if (!owner) /* nor is there anything new in it */
        return RC_AGAIN;
    reader = ledger_read_open(a->config->ledger_path, &fail);
    if (!reader)
        return RC_IO;
    rc = ledger_read_begin(reader, &fail);
    if (rc == RC_OK) {
        crossings_begin(a->crossings, a->config, owner, reader, a->now_us);
        rc = alert_watch_budgets(w, reader, slow, &fail);
        if (rc == RC_OK) {
            settle(a, budget_kinds);
            a->store.was_lost = false;
        }
        if (rc == RC_OK && slow)
            rc = alert_watch_anomalies(w, reader, &fail);
        if (rc == RC_OK && slow)
            rc = alert_watch_quality(w, reader, &fail);
        if (rc == RC_OK && slow)
            settle(a, slow_kinds);
        ledger_read_end(reader);
        /* What is told must be in the store before the ledger says that it was. */
        crossings_end(a->crossings, rc == RC_OK && alert_store_save(&a->store) == RC_OK);
    }
    ledger_read_close(reader);
    if (rc != RC_OK)
        log_line(LOG_WARN, "alerts", "could not look at the ledger", "reason=%s", rc_name(rc));
    return rc;
}

/* Teams that a route names get theirs; what no route takes goes to the fallback as a whole. */
static void on_digest(const struct alert *digest, bool of_team, void *arg)
{
    struct alerts *a = arg;
    bool wanted = !of_team;

    for (size_t i = 0; i < a->config->alerts.n_routes && !wanted; i++) {
        const struct alert_route *r = &a->config->alerts.routes[i];
        wanted = r->n_match > 0 && alert_matches(digest, r);
    }
    if (wanted)
        route(a, digest, false);
}

static enum rc send_digests(struct alerts *a, const struct alert_watch *w)
{
    struct fail fail = {.rc = RC_OK};
    struct ledger_reader *reader = ledger_read_open(a->config->ledger_path, &fail);
    enum rc rc = reader ? ledger_read_begin(reader, &fail) : RC_IO;

    if (rc == RC_OK) {
        rc = alert_digests(w, reader, on_digest, a, &fail);
        ledger_read_end(reader);
    }
    if (reader)
        ledger_read_close(reader);
    if (rc != RC_OK)
        log_line(LOG_WARN, "alerts", "could not make the digest", "reason=%s", rc_name(rc));
    return rc;
}

static void look_for_digest(struct alerts *a, const struct alert_watch *w)
{
    int64_t due = alert_digest_due(a->config, a->now_us);

    if (due == 0 || due <= a->store.digest_us)
        return;
    /* The first one after the installation is the next one that falls due. */
    if (a->store.digest_us != 0 && send_digests(a, w) != RC_OK)
        return;
    a->store.digest_us = due;
    a->store.dirty = true;
}

static void look(struct alerts *a)
{
    struct alert_watch w = {.config = a->config,
                            .now_us = a->now_us,
                            .fn = on_condition,
                            .level = level_of,
                            .arg = a,
                            .crossings = a->crossings};
    bool slow;

    a->burst = xcalloc(a->config->alerts.n_channels + 1, sizeof(*a->burst));
    for (size_t i = 0; i < a->store.n_firing; i++)
        a->store.firing[i].seen = false;
    a->n_holding = 0;
    if (ledger_catch_up_within(a->server->ledger, CATCH_UP_MS) != RC_OK)
        log_line(LOG_DEBUG, "alerts", "looks at a ledger that lags", "ms=%d", CATCH_UP_MS);
    look_for_trouble(a, &w);
    slow = a->config->alerts.n_channels > 0 && a->looks++ % SLOW_EVERY == 0;
    if (look_at_ledger(a, &w, slow) == RC_OK && a->config->alerts.n_channels > 0)
        look_for_digest(a, &w);
    /* Forecasts are not looked at each time: what held at their last look still waits. */
    for (size_t i = 0; !slow && i < a->n_pending; i++) {
        if (strv_starts(strv_z(a->pending[i]), STRV("forecast:")))
            hold(a, a->pending[i]);
    }
    free(a->pending);
    a->pending = a->holding;
    a->n_pending = a->n_holding;
    a->holding = NULL;
    free(a->burst);
    a->burst = NULL;
}

/* ---- the thread
 * ------------------------------------------------------------------------------- */

/* For alerts_stats. */
static void publish(struct alerts *a)
{
    pthread_mutex_lock(&a->lock);
    a->shown = a->counts;
    a->shown.firing = a->store.n_firing;
    a->shown.waiting = a->store.n_waiting;
    pthread_mutex_unlock(&a->lock);
}

void alerts_stats(struct alerts *a, struct alert_stats *out)
{
    *out = (struct alert_stats){.firing = 0};
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    *out = a->shown;
    pthread_mutex_unlock(&a->lock);
}

static bool rest(struct alerts *a)
{
    struct timespec until = thread_after_ms(TICK_MS);
    bool stopping;

    pthread_mutex_lock(&a->lock);
    if (!a->stopping)
        (void)pthread_cond_timedwait(&a->wake, &a->lock, &until);
    stopping = a->stopping;
    pthread_mutex_unlock(&a->lock);
    return !stopping;
}

static bool has_thresholds(const struct config *config)
{
    for (size_t i = 0; i < limit_set_count(config->limits); i++) {
        if (limit_set_at(config->limits, i)->n_alerts > 0)
            return true;
    }
    return false;
}

static void *run(void *arg)
{
    struct alerts *a = arg;
    int64_t next = 0;
    sigset_t all;

    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    urgency_patient();
    while (rest(a)) {
        struct generation *g = server_generation(a->server);
        a->config = g->config;
        a->now_us = clock_wall_us();
        /* Without a channel thresholds are noted, nobody is told, and nothing is as told. */
        if ((a->config->alerts.n_channels > 0 || has_thresholds(a->config)) &&
            clock_mono_us() >= next) {
            next = clock_mono_us() + a->config->alerts.every_s * US_PER_SECOND;
            look(a);
        }
        alerts_deliver(a);
        publish(a);
        if (alert_store_save(&a->store) != RC_OK)
            log_line(LOG_ERROR, "alerts", "could not keep what was told", "path=%s",
                     a->store.path);
        generation_unref(g);
    }
    return NULL;
}

static void destroy(struct alerts *a)
{
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    alert_store_close(&a->store);
    crossings_free(a->crossings);
    free(a->pending);
    free(a);
}

struct alerts *alerts_start(struct server *server)
{
    struct alerts *a = xcalloc(1, sizeof(*a));
    char *path = xasprintf("%s/alerts.json", server->current->config->state_dir);

    a->server = server;
    alert_store_open(&a->store, path);
    free(path);
    a->crossings = crossings_new();
    pthread_mutex_init(&a->lock, NULL);
    thread_cond_init(&a->wake);
    if (thread_start(&a->thread, "alerts", run, a))
        return a;
    destroy(a);
    return NULL;
}

void alerts_stop(struct alerts *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    destroy(a);
}
