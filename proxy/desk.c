#include "proxy/desk.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/held.h"
#include "base/thread.h"
#include "base/xalloc.h"
#include "proxy/server_int.h"
#include "proxy/xchg.h"

struct desk {
    struct server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list_node queue; /* under lock, as what follows */
    size_t n;
    bool stopping;
};

struct desk_job {
    struct list_node node;
    enum desk_question question;
    struct worker *worker;
    struct generation *generation;
    struct arena arena;
    struct subject subject;
    int64_t now_us;
    struct buf json; /* these two by the desk, until it is delivered */
    enum rc rc;
    struct xchg *xchg; /* these two by the worker alone; NULL: it left */
    bool done;
};

/* Worker and desk both add to it: it counts for neither. */
static void job_free(struct desk_job *job)
{
    int64_t held = held_now();

    generation_unref(job->generation);
    arena_release(&job->arena);
    buf_release(&job->json);
    held_set(held);
    free(job);
}

/* ---- the worker's side --------------------------------------------------------------------- */

static bool copy(struct desk_job *job, struct strv *s)
{
    *s = arena_strv(&job->arena, *s);
    return s->p != NULL;
}

static bool copy_subject(struct desk_job *job, const struct subject *from)
{
    bool well = true;

    job->subject = *from;
    for (int i = 0; i < DIM_COUNT; i++)
        well = copy(job, &job->subject.dim[i]) && well;
    for (unsigned i = 0; i < from->n_free; i++)
        well = copy(job, &job->subject.free[i].name) &&
               copy(job, &job->subject.free[i].value) && well;
    return well;
}

struct desk_job *desk_ask(struct desk *d, const struct desk_ask *ask)
{
    struct desk_job *job;
    int64_t held = held_now();
    bool taken;

    if (!d)
        return NULL;
    job = xcalloc(1, sizeof(*job));
    job->question = ask->question;
    job->worker = ask->worker;
    job->xchg = ask->xchg;
    job->generation = generation_ref(ask->generation);
    job->now_us = ask->now_us;
    arena_init(&job->arena, DESK_JOB_ARENA_BYTES);
    buf_init(&job->json, DESK_ANSWER_BYTES);
    taken = copy_subject(job, ask->subject);
    held_set(held);
    pthread_mutex_lock(&d->lock);
    taken = taken && d->n < DESK_QUEUE_MAX && !d->stopping;
    if (taken) {
        list_push_back(&d->queue, &job->node);
        d->n++;
        pthread_cond_signal(&d->wake);
    }
    pthread_mutex_unlock(&d->lock);
    if (taken)
        return job;
    job_free(job);
    return NULL;
}

bool desk_job_done(const struct desk_job *job, enum rc *rc, struct strv *json)
{
    if (!job->done)
        return false;
    *rc = job->rc;
    *json = buf_view(&job->json);
    return true;
}

void desk_job_leave(struct desk_job *job)
{
    job->xchg = NULL;
    if (job->done)
        job_free(job);
}

void desk_job_deliver(struct desk_job *job)
{
    job->done = true;
    if (job->xchg)
        xchg_wake(job->xchg, WAKE_DESK);
    else
        job_free(job);
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void answer(struct desk *d, struct desk_job *job)
{
    switch (job->question) {
    case DESK_BUDGET:
        job->rc = desk_budget(d->server, job->generation, &job->subject, job->now_us,
                              &job->arena, &job->json);
        break;
    case DESK_USAGE:
        job->rc = desk_usage(d->server, job->generation, &job->subject, job->now_us,
                             &job->json);
        break;
    }
    if (job->rc != RC_OK)
        log_line(LOG_WARN, "desk", "could not answer", "question=%s rc=%s",
                 job->question == DESK_BUDGET ? "budget" : "usage", rc_name(job->rc));
}

static void *run(void *arg)
{
    struct desk *d = arg;
    sigset_t all;

    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (;;) {
        struct desk_job *job = NULL;

        pthread_mutex_lock(&d->lock);
        while (!d->stopping && list_is_empty(&d->queue))
            pthread_cond_wait(&d->wake, &d->lock);
        if (!d->stopping) {
            job = LIST_OBJECT(d->queue.next, struct desk_job, node);
            list_remove(&job->node);
            d->n--;
        }
        pthread_mutex_unlock(&d->lock);
        if (!job)
            return NULL;
        answer(d, job);
        worker_post_desk(job->worker, job);
    }
}

static void destroy(struct desk *d)
{
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

struct desk *desk_start(struct server *server)
{
    struct desk *d = xcalloc(1, sizeof(*d));

    d->server = server;
    list_init(&d->queue);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    if (thread_start(&d->thread, "desk", run, d))
        return d;
    destroy(d);
    return NULL;
}

void desk_stop(struct desk *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    LIST_FOREACH_SAFE (at, &d->queue) /* whose askers have left with their workers */
        job_free(LIST_OBJECT(at, struct desk_job, node));
    destroy(d);
}
