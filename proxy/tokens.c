#include "proxy/tokens.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/xalloc.h"
#include "proxy/fetch.h"
#include "proxy/grant.h"
#include "proxy/server_int.h"

/* One grant, whoever of the upstreams shares it. All but grant under the lock. */
struct source {
    unsigned refs;
    struct grant *grant;
    char *token; /* NULL: none */
    int64_t expires_us, due_us;
    int64_t retry_ms; /* 0: the last try went well */
    bool tried;
};

struct tokens {
    struct server *server;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* the thread: something is due, or it shall stop */
    pthread_cond_t tried; /* the main thread: a source was tried */
    atomic_bool stopping;
    struct generation *generation; /* under lock, as what follows */
    struct source **of;            /* of each of its upstreams; NULL: takes no token */
};

/* ---- sources, under the lock
 * ------------------------------------------------------------------ */

static void source_unref(struct source *s)
{
    if (!s || --s->refs > 0)
        return;
    if (s->token)
        explicit_bzero(s->token, strlen(s->token));
    free(s->token);
    grant_free(s->grant);
    free(s);
}

static size_t count_of(const struct generation *g)
{
    return g ? g->config->n_upstreams : 0;
}

static void release(struct generation *g, struct source **of)
{
    for (size_t i = 0; i < count_of(g); i++)
        source_unref(of[i]);
    free(of);
    generation_unref(g);
}

/* The one of the same grant, among those. */
static struct source *find_same(struct source **of, size_t n, const struct grant *grant)
{
    for (size_t i = 0; i < n; i++) {
        if (of[i] && memcmp(grant_fingerprint(of[i]->grant), grant_fingerprint(grant),
                            SHA256_BYTES) == 0)
            return of[i];
    }
    return NULL;
}

static void post_one(const struct tokens *t, size_t upstream)
{
    const struct source *s = t->of[upstream];

    for (unsigned i = 0; i < t->server->n_workers; i++)
        worker_post_token(t->server->workers[i], t->generation, upstream, s->token,
                          s->expires_us);
}

/* ---- the thread
 * --------------------------------------------------------------------------------- */

static void fetch_token(struct tokens *t, const struct grant *grant, char **token,
                        int64_t *life_s, char why[GRANT_WHY_BYTES])
{
    struct buf form, answer;
    enum rc rc;
    int status = 0;

    *token = NULL;
    buf_init(&form, GRANT_FORM_BYTES);
    buf_init(&answer, FETCH_ANSWER_BYTES);
    rc = grant_form(grant, clock_wall_us(), &form);
    if (rc != RC_OK) {
        snprintf(why, GRANT_WHY_BYTES, "the request for a token cannot be made");
    } else {
        const struct fetch f = {.url = grant_url(grant),
                                .ca_file = grant_ca_file(grant),
                                .form = buf_view(&form),
                                .stop = &t->stopping};

        rc = fetch_post(&f, &status, &answer, why);
    }
    if (rc == RC_OK && grant_answer(status, buf_view(&answer), token, life_s, why) != RC_OK)
        *token = NULL;
    if (buf_len(&form) > 0)
        explicit_bzero((void *)(uintptr_t)buf_view(&form).p, buf_len(&form));
    if (buf_len(&answer) > 0)
        explicit_bzero((void *)(uintptr_t)buf_view(&answer).p, buf_len(&answer));
    buf_release(&form);
    buf_release(&answer);
}

static void take_token(struct source *s, char *token, int64_t life_s)
{
    int64_t now_us = clock_mono_us(), life_us = life_s * 1000000;
    int64_t early_us = life_us / 5 < TOKENS_EARLY_MS * INT64_C(1000)
                           ? life_us / 5
                           : TOKENS_EARLY_MS * INT64_C(1000);

    if (s->token)
        explicit_bzero(s->token, strlen(s->token));
    free(s->token);
    s->token = token;
    s->expires_us = now_us + life_us;
    s->due_us = s->expires_us - early_us;
    s->retry_ms = 0;
}

static void try_later(struct source *s)
{
    s->retry_ms = s->retry_ms == 0 ? TOKENS_RETRY_MS : 2 * s->retry_ms;
    if (s->retry_ms > TOKENS_RETRY_MAX_MS)
        s->retry_ms = TOKENS_RETRY_MAX_MS;
    s->due_us = clock_mono_us() + s->retry_ms * 1000;
}

/* Its name for the log: that of the first upstream that uses it. NULL: nobody does any more. */
static const char *user_of(const struct tokens *t, const struct source *s)
{
    for (size_t i = 0; i < count_of(t->generation); i++) {
        if (t->of[i] == s)
            return t->generation->config->upstreams[i].name;
    }
    return NULL;
}

/* With the lock, which is given back meanwhile. */
static void renew(struct tokens *t, struct source *s)
{
    char why[GRANT_WHY_BYTES] = "", quoted[2 * GRANT_WHY_BYTES];
    const char *user;
    char *token;
    int64_t life_s = 0;

    s->refs++;
    pthread_mutex_unlock(&t->lock);
    fetch_token(t, s->grant, &token, &life_s, why);
    pthread_mutex_lock(&t->lock);
    user = user_of(t, s);
    if (token)
        take_token(s, token, life_s);
    else
        try_later(s);
    if (token && user)
        log_line(LOG_INFO, "tokens", "token in force", "upstream=%s seconds=%" PRId64, user,
                 life_s);
    else if (user && !atomic_load(&t->stopping))
        log_line(LOG_WARN, "tokens", "no token", "upstream=%s retry_ms=%" PRId64 " reason=%s",
                 user, s->retry_ms, log_quote(strv_z(why), quoted, sizeof(quoted)));
    for (size_t i = 0; token && i < count_of(t->generation); i++) {
        if (t->of[i] == s)
            post_one(t, i);
    }
    s->tried = true;
    pthread_cond_broadcast(&t->tried);
    source_unref(s);
}

static struct source *most_due(const struct tokens *t)
{
    struct source *found = NULL;

    for (size_t i = 0; i < count_of(t->generation); i++) {
        if (t->of[i] && (!found || t->of[i]->due_us < found->due_us))
            found = t->of[i];
    }
    return found;
}

static struct timespec at_us(int64_t mono_us)
{
    return (struct timespec){.tv_sec = mono_us / 1000000, .tv_nsec = mono_us % 1000000 * 1000};
}

static void *run(void *arg)
{
    struct tokens *t = arg;
    sigset_t all;

    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_mutex_lock(&t->lock);
    while (!atomic_load(&t->stopping)) {
        struct source *s = most_due(t);

        if (!s) {
            pthread_cond_wait(&t->wake, &t->lock);
        } else if (s->due_us > clock_mono_us()) {
            struct timespec until = at_us(s->due_us);

            pthread_cond_timedwait(&t->wake, &t->lock, &until);
        } else {
            renew(t, s);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- the main thread
 * ------------------------------------------------------------------------------ */

struct tokens *tokens_start(struct server *server)
{
    struct tokens *t = xcalloc(1, sizeof(*t));

    t->server = server;
    atomic_init(&t->stopping, false);
    pthread_mutex_init(&t->lock, NULL);
    thread_cond_init(&t->wake); /* as clock_mono_us */
    thread_cond_init(&t->tried);
    return t;
}

/* The source of one upstream of a new generation: an old one, or of one before it, or new. */
static struct source *source_for(struct tokens *t, const struct upstream_config *up,
                                 struct source **of, size_t n)
{
    char why[GRANT_WHY_BYTES] = "", quoted[2 * GRANT_WHY_BYTES];
    struct grant *grant = grant_new(up, why);
    struct source *s;

    if (!grant) { /* told when the configuration was checked; the file has changed since */
        log_line(LOG_ERROR, "tokens", "no token", "upstream=%s reason=%s", up->name,
                 log_quote(strv_z(why), quoted, sizeof(quoted)));
        return NULL;
    }
    s = find_same(of, n, grant);
    if (!s)
        s = find_same(t->of, count_of(t->generation), grant);
    if (s) {
        grant_free(grant);
    } else {
        s = xcalloc(1, sizeof(*s));
        s->grant = grant;
    }
    s->refs++;
    return s;
}

static bool all_tried(const struct tokens *t)
{
    for (size_t i = 0; i < count_of(t->generation); i++) {
        if (t->of[i] && !t->of[i]->tried)
            return false;
    }
    return true;
}

/* The thread, where some upstream needs it. Under the lock. */
static bool has_thread_for(struct tokens *t, const struct config *config)
{
    bool is_needed = false;

    for (size_t i = 0; i < config->n_upstreams; i++)
        is_needed |= upstream_takes_token(&config->upstreams[i]);
    if (is_needed && !t->has_thread)
        t->has_thread = thread_start(&t->thread, "tokens", run, t);
    return t->has_thread || !is_needed;
}

bool tokens_adopt(struct tokens *t, struct generation *generation)
{
    size_t n = count_of(generation);
    struct source **of;
    struct timespec until = at_us(clock_mono_us() + TOKENS_WAIT_MS * INT64_C(1000));
    struct generation *old;
    struct source **old_of;

    pthread_mutex_lock(&t->lock);
    if (!has_thread_for(t, generation->config)) {
        pthread_mutex_unlock(&t->lock);
        return false;
    }
    of = xcalloc(n, sizeof(struct source *));
    for (size_t i = 0; i < n; i++) {
        const struct upstream_config *up = &generation->config->upstreams[i];

        if (upstream_takes_token(up))
            of[i] = source_for(t, up, of, i);
    }
    old = t->generation;
    old_of = t->of;
    t->generation = generation_ref(generation);
    t->of = of;
    release(old, old_of);
    pthread_cond_signal(&t->wake);
    while (!all_tried(t) && pthread_cond_timedwait(&t->tried, &t->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&t->lock);
    return true;
}

void tokens_publish(struct tokens *t)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < count_of(t->generation); i++) {
        if (t->of[i] && t->of[i]->token)
            post_one(t, i);
    }
    pthread_mutex_unlock(&t->lock);
}

void tokens_stop(struct tokens *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stopping, true);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    if (t->has_thread)
        pthread_join(t->thread, NULL);
    release(t->generation, t->of);
    pthread_cond_destroy(&t->wake);
    pthread_cond_destroy(&t->tried);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
