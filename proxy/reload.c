#include "proxy/reload.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/config_trail.h"
#include "proxy/observe.h"
#include "proxy/rebuild.h"
#include "proxy/server_int.h"
#include "proxy/tokens.h"

static void fail(struct server *s, const char *what)
{
    atomic_fetch_add(&s->reload_failures, 1);
    log_line(LOG_ERROR, "reload", what, "file=%s", s->current->config->file);
}

static void say_problems(struct problems *problems)
{
    for (size_t i = 0; i < problems->n; i++) {
        char *text = problem_text(&problems->at[i]);
        char quoted[1024];

        log_line(LOG_ERROR, "reload", "fault", "at=%s",
                 log_quote(strv_z(text), quoted, sizeof(quoted)));
        free(text);
    }
}

/* Consumes next. */
static void put_in_force(struct server *s, struct generation *next)
{
    next->memory = &s->memory;
    if (!tokens_adopt(s->tokens, next)) {
        fail(s, "no tokens could be got; the old configuration stays");
        reload_abandon(s);
        generation_unref(next);
        return;
    }
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post(s->workers[i], LETTER_RELOAD, generation_ref(next));
    tokens_publish(s->tokens);
    pthread_mutex_lock(&s->lock);
    generation_unref(s->current);
    s->current = next;
    pthread_mutex_unlock(&s->lock);
    limit_forget(s->limit_memory, next->config->limits);
    observe_reload(s->observe);
    config_note(next->config, "reload");
    atomic_fetch_add(&s->reloads, 1);
    log_line(LOG_INFO, "reload", "configuration in force", "keys=%zu limits=%zu book=%s",
             next->config->n_keys, limit_set_count(next->config->limits),
             book_hash(next->config->book));
}

/* Beside what is in force. */
static void stop_charging(struct server *s)
{
    s->reload.is_setting = false;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post(s->workers[i], LETTER_COMING, NULL);
}

void reload_abandon(struct server *s)
{
    struct reload *r = &s->reload;

    if (!r->is_setting)
        return;
    (void)rebuild_ahead(s->rebuild, NULL);
    stop_charging(s);
    generation_unref(r->next);
    r->next = NULL;
}

void reload_begin(struct server *s)
{
    struct reload *r = &s->reload;
    struct problems problems;
    struct generation *next;
    const struct config *config;
    size_t n;

    problems_init(&problems);
    next = generation_load(s->current->config->file, s->current, &problems);
    say_problems(&problems);
    problems_release(&problems);
    if (!next) {
        fail(s, "configuration refused; the old one stays");
        return;
    }
    reload_abandon(s);
    config = next->config;
    if (config_keep_started(next->config, s->current->config))
        log_line(LOG_WARN, "reload", "where limits are counted and the ledger is changes at a start",
                 "file=%s", config->file);
    n = limit_set_follow(config->limits, s->current->config->limits, clock_wall_us(),
                         config->counters_redis ? 0 : ++r->loaded);
    if (n == 0) {
        put_in_force(s, next);
        return;
    }
    if (!rebuild_ahead(s->rebuild, next)) {
        fail(s, "new limits cannot be set; the old configuration stays");
        generation_unref(next);
        return;
    }
    log_line(LOG_INFO, "reload", "new limits are set from the ledger first", "new=%zu", n);
    r->next = next;
    r->until_us = clock_mono_us() + RELOAD_WAIT_MS * INT64_C(1000);
    r->is_setting = true;
}

void reload_check(struct server *s)
{
    struct reload *r = &s->reload;
    struct generation *next = r->next;
    bool is_set = r->is_setting && rebuild_ahead_is_set(s->rebuild);

    if (next && (is_set || clock_mono_us() >= r->until_us)) {
        r->next = NULL;
        if (!is_set)
            log_line(LOG_WARN, "reload",
                     "new limits are not set yet: they admit nothing but what on_failure lets pass",
                     "seconds=%d", RELOAD_WAIT_MS / 1000);
        put_in_force(s, next);
    }
    if (is_set)
        stop_charging(s);
}
