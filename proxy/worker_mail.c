#include "proxy/worker_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "proxy/conn.h"
#include "proxy/counters.h"
#include "proxy/desk.h"
#include "proxy/h2.h"
#include "proxy/server.h"
#include "proxy/xchg.h"

struct letter {
    struct list_node node;
    enum letter_kind kind;
    struct generation *generation;
    uint64_t mark;
    struct desk_job *job;
    const struct generation *of; /* of a token: compared alone */
    size_t upstream;
    struct upstream_token token;
};

static void post(struct worker *w, struct letter *letter)
{
    uint64_t one = 1;

    pthread_mutex_lock(&w->mailbox_lock);
    list_push_back(&w->mailbox, &letter->node);
    pthread_mutex_unlock(&w->mailbox_lock);
    if (write(w->mailbox_fd, &one, sizeof(one)) < 0)
        log_line(LOG_ERROR, "worker", "could not wake a worker", "errno=%d", errno);
}

void worker_post(struct worker *w, enum letter_kind kind, struct generation *generation)
{
    struct letter *letter = xcalloc(1, sizeof(*letter));

    letter->kind = kind;
    letter->generation = generation;
    post(w, letter);
}

void worker_post_mark(struct worker *w, uint64_t mark)
{
    struct letter *letter = xcalloc(1, sizeof(*letter));

    letter->kind = LETTER_MARK;
    letter->mark = mark;
    post(w, letter);
}

void worker_post_coming(struct worker *w, struct generation *generation, uint64_t mark)
{
    struct letter *letter = xcalloc(1, sizeof(*letter));

    letter->kind = LETTER_COMING;
    letter->generation = generation;
    letter->mark = mark;
    post(w, letter);
}

void worker_post_desk(struct worker *w, struct desk_job *job)
{
    struct letter *letter = xcalloc(1, sizeof(*letter));

    letter->kind = LETTER_DESK;
    letter->job = job;
    post(w, letter);
}

void worker_post_token(struct worker *w, const struct generation *generation, size_t upstream,
                       const char *text, int64_t expires_us)
{
    struct letter *letter = xcalloc(1, sizeof(*letter));

    letter->kind = LETTER_TOKEN;
    letter->of = generation;
    letter->upstream = upstream;
    letter->token.text = xmemdupz(text, strlen(text));
    letter->token.expires_us = expires_us;
    post(w, letter);
}

uint64_t worker_marked(struct worker *w)
{
    return atomic_load(&w->marked);
}

unsigned worker_nodes(struct worker *w)
{
    unsigned nodes;

    pthread_mutex_lock(&w->mailbox_lock);
    nodes = w->limiter_view.nodes;
    pthread_mutex_unlock(&w->mailbox_lock);
    return nodes;
}

/* Connections that carry no request now. */
static void close_idle_conns(struct worker *w)
{
    LIST_FOREACH_SAFE (at, &w->conns) {
        struct conn *c = LIST_OBJECT(at, struct conn, node);

        if (c->h2)
            h2_drain(c);
        else if (!c->xchg)
            conn_close(c);
    }
}

static void tell_owner(struct worker *w)
{
    int64_t start = 0;
    const char *owner = server_owner(w->server, &start);

    limiter_own(w->limiter, owner, start);
}

/* Where Redis is stays as it was at the start; whom to trust and what to show it is as new. */
static void take_counters_tls(struct worker *w)
{
    struct counters_tls *fresh = w->pools->generation->config->counters_tls;

    if (!fresh || !w->counters_tls)
        return;
    limiter_secure(w->limiter, fresh);
    counters_tls_unref(w->counters_tls);
    w->counters_tls = counters_tls_ref(fresh);
}

/* Consumes the reference. */
static void await_coming(struct worker *w, struct generation *coming)
{
    generation_unref(w->coming);
    w->coming = coming;
    limiter_by_item(w->limiter, coming != NULL);
}

static void take_generation(struct worker *w, struct generation *generation)
{
    struct pools *old = w->pools;

    if (w->coming != generation)
        await_coming(w, NULL);
    w->pools = pools_new(w, generation);
    for (size_t i = 0; i < old->generation->config->n_upstreams; i++)
        upstream_pool_retire(old->at[i]);
    pools_unref(old);
    take_counters_tls(w);
    xchg_look_at_sockets(w);
}

static void open_letter(struct worker *w, struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_RELOAD:
        take_generation(w, letter->generation);
        break;
    case LETTER_COMING:
        await_coming(w, letter->generation);
        if (letter->mark > 0)
            w->mark = letter->mark; /* reached with this turn's write */
        break;
    case LETTER_DRAIN:
        w->draining = true;
        worker_stop_listening(w);
        close_idle_conns(w);
        xchg_look_at_sockets(w);
        break;
    case LETTER_STOP:
        w->draining = w->stopping = true;
        worker_stop_listening(w);
        xchg_stop_all(w);
        close_idle_conns(w);
        break;
    case LETTER_MARK:
        limiter_itemize(w->limiter);
        xchg_restore(w);
        w->mark = letter->mark; /* reached with this turn's write */
        break;
    case LETTER_DESK:
        desk_job_deliver(letter->job);
        break;
    case LETTER_OWN:
        tell_owner(w);
        break;
    case LETTER_TOKEN:
        if (w->pools->generation == letter->of) {
            upstream_token_fini(&w->pools->tokens[letter->upstream]);
            w->pools->tokens[letter->upstream] = letter->token;
        } else {
            upstream_token_fini(&letter->token);
        }
        break;
    }
}

void worker_on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct list_node mail;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_line(LOG_ERROR, "worker", "could not read the mailbox", "errno=%d", errno);
    pthread_mutex_lock(&w->mailbox_lock);
    list_move(&w->mailbox, &mail);
    pthread_mutex_unlock(&w->mailbox_lock);
    while (!list_is_empty(&mail)) {
        struct letter *letter = LIST_OBJECT(mail.next, struct letter, node);

        list_remove(&letter->node);
        open_letter(w, letter);
        free(letter);
    }
}

void worker_drop_mail(struct worker *w)
{
    LIST_FOREACH_SAFE (at, &w->mailbox) {
        struct letter *letter = LIST_OBJECT(at, struct letter, node);

        list_remove(at);
        generation_unref(letter->generation);
        if (letter->job)
            desk_job_deliver(letter->job); /* nobody is left to wait: freed */
        upstream_token_fini(&letter->token);
        free(letter);
    }
}
