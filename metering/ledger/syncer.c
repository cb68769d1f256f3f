#include "metering/ledger/syncer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/journal_int.h"

enum { REFUSED_PAUSE_MS = 1 };

struct syncer {
    enum ledger_sync policy;
    int interval_ms;
    int event_fd;
    pthread_t thread;
    pthread_mutex_t lock;
    struct journal_tail **tails; /* under lock */
    size_t n_tails;
    _Atomic bool is_stopping;
    _Atomic uint64_t syncs, failures;
};

static bool sync_fd(int fd)
{
    int rc;

    do
        rc = fdatasync(fd);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

/* Takes what has to be synced: the rotated descriptors for good, a copy of the current one. */
static int *take(struct journal_tail *t, size_t *n, unsigned *generation)
{
    int *fds, fd;

    pthread_mutex_lock(&t->lock);
    fds = t->retired;
    *n = t->n_retired;
    t->retired = NULL;
    t->n_retired = 0;
    fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 0);
    *generation = t->generation;
    pthread_mutex_unlock(&t->lock);
    fds = xrealloc(fds, (*n + 1) * sizeof(int));
    fds[(*n)++] = fd;
    return fds;
}

/* Rotated ones that could not be synced are tried again: what is in them is not on the disk. */
static void give_back(struct journal_tail *t, int fd)
{
    pthread_mutex_lock(&t->lock);
    t->retired = xrealloc(t->retired, (t->n_retired + 1) * sizeof(int));
    t->retired[t->n_retired++] = fd;
    pthread_mutex_unlock(&t->lock);
}

/* All of them, even where one fails; 0 or an errno. */
static int sync_fds(struct journal_tail *t, const int *fds, size_t n)
{
    int error = 0;

    for (size_t i = 0; i < n; i++) {
        if (fds[i] < 0) {
            error = EMFILE; /* no copy could be made */
        } else if (sync_fd(fds[i])) {
            close(fds[i]);
        } else {
            error = errno;
            if (i + 1 < n)
                give_back(t, fds[i]);
            else
                close(fds[i]);
        }
    }
    return error;
}

/* Where the worker cannot be told now it is told at the next look. */
static void tell(struct syncer *s, struct journal_tail *t)
{
    uint64_t one = 1;

    /* EAGAIN: it is readable already. */
    t->is_told = write(t->event_fd, &one, sizeof(one)) >= 0 || errno == EAGAIN;
    if (!t->is_told)
        atomic_fetch_add(&s->failures, 1);
}

/* What was written before is in a segment that take() gives: a worker writes, then rotates. */
static void sync_tail(struct syncer *s, struct journal_tail *t)
{
    uint64_t written = atomic_load_explicit(&t->written, memory_order_acquire);
    unsigned generation;
    int *fds, error;
    size_t n;

    if (written == atomic_load_explicit(&t->synced, memory_order_relaxed)) {
        if (!t->is_told)
            tell(s, t);
        return;
    }
    fds = take(t, &n, &generation);
    error = sync_fds(t, fds, n);
    free(fds);
    if (error == 0 && generation != t->synced_generation && fsync(t->dir_fd) != 0)
        error = errno;
    if (error == 0) {
        t->synced_generation = generation;
        atomic_fetch_add(&s->syncs, 1);
        atomic_store_explicit(&t->synced, written, memory_order_release);
        tell(s, t);
    } else if (!atomic_load(&t->sync_failed)) {
        log_line(LOG_ERROR, "journal", "could not sync the journal", "reason=\"%s\"",
                 strerror(error));
    }
    if (error != 0)
        atomic_fetch_add(&s->failures, 1);
    atomic_store(&t->sync_failed, error != 0);
}

static void sync_all(struct syncer *s)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_tails; i++)
        sync_tail(s, s->tails[i]);
    pthread_mutex_unlock(&s->lock);
}

/* Until somebody wakes it, the interval at most. */
static void rest(struct syncer *s)
{
    struct pollfd poll_fd = {.fd = s->event_fd, .events = POLLIN};
    uint64_t count;
    int n = poll(&poll_fd, 1, s->interval_ms);

    if (n == 0 || (n > 0 && (read(s->event_fd, &count, sizeof(count)) >= 0 || errno == EAGAIN)))
        return;
    /* The system refuses to wait: syncs go on all the same, and this thread does not spin. */
    nanosleep(&(struct timespec){.tv_nsec = REFUSED_PAUSE_MS * 1000000L}, NULL);
}

static void *run(void *arg)
{
    struct syncer *s = arg;

    while (!atomic_load(&s->is_stopping)) {
        rest(s);
        sync_all(s);
    }
    return NULL;
}

struct syncer *syncer_start(enum ledger_sync policy, int interval_ms, struct fail *fail)
{
    struct syncer *s = xcalloc(1, sizeof(*s));
    int code;

    s->policy = policy;
    s->interval_ms = interval_ms > 0 ? interval_ms : 1;
    pthread_mutex_init(&s->lock, NULL);
    s->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    code = s->event_fd < 0 ? errno : 0;
    if (code == 0 && policy != SYNC_NEVER)
        code = pthread_create(&s->thread, NULL, run, s);
    if (code == 0) {
        if (policy != SYNC_NEVER)
            pthread_setname_np(s->thread, "sync");
        return s;
    }
    *fail = (struct fail){.rc = RC_IO, .sys = code, .doing = "start the journal's sync thread"};
    if (s->event_fd >= 0)
        close(s->event_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void syncer_stop(struct syncer *s)
{
    if (!s)
        return;
    ASSERT(s->n_tails == 0);
    if (s->policy != SYNC_NEVER) {
        atomic_store(&s->is_stopping, true);
        syncer_wake(s);
        pthread_join(s->thread, NULL);
    }
    close(s->event_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->tails);
    free(s);
}

static void set_attached(struct journal_tail *t, bool is_attached)
{
    pthread_mutex_lock(&t->lock);
    t->attached = is_attached;
    pthread_mutex_unlock(&t->lock);
}

void syncer_attach(struct syncer *s, struct journal *j)
{
    struct journal_tail *t = journal_tail_of(j);

    if (s->policy == SYNC_NEVER)
        return;
    pthread_mutex_lock(&s->lock);
    s->tails = xrealloc(s->tails, (s->n_tails + 1) * sizeof(struct journal_tail *));
    s->tails[s->n_tails++] = t;
    set_attached(t, true);
    pthread_mutex_unlock(&s->lock);
}

void syncer_detach(struct syncer *s, struct journal *j)
{
    struct journal_tail *t = journal_tail_of(j);

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_tails; i++) {
        if (s->tails[i] != t)
            continue;
        sync_tail(s, t);
        set_attached(t, false);
        s->tails[i] = s->tails[--s->n_tails];
        break;
    }
    pthread_mutex_unlock(&s->lock);
}

void syncer_wake(struct syncer *s)
{
    uint64_t one = 1;

    if (write(s->event_fd, &one, sizeof(one)) < 0)
        return; /* EAGAIN: it is awake already */
}

void syncer_stats(struct syncer *s, uint64_t *syncs, uint64_t *failures)
{
    *syncs = atomic_load(&s->syncs);
    *failures = atomic_load(&s->failures);
}
