#include "metering/ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/urgency.h"
#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/schema.h"

enum { INGEST_INTERVAL_MS = 50, SYNC_INTERVAL_MS = 200, PATIENCE_MS = 10000, OPEN_PAUSE_MS = 50 };

/* ---- opening ------------------------------------------------------------------ */

static enum rc failed(struct fail *fail, enum rc rc, const char *doing)
{
    *fail = (struct fail){.rc = rc, .sys = errno, .doing = doing};
    return rc;
}

/* One ledger a folder: two would each take the other's segments for the past's. */
static enum rc open_folder(struct ledger *l, struct fail *fail)
{
    if (mkdir(l->journal_dir, 0700) != 0 && errno != EEXIST)
        return failed(fail, RC_IO, "make the journal folder");
    l->dir_fd = open(l->journal_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir_fd < 0)
        return failed(fail, RC_IO, "open the journal folder");
    l->lock_fd = openat(l->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->lock_fd < 0)
        return failed(fail, RC_IO, "open the journal folder's lock file");
    while (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return failed(fail, RC_DENIED, "take the journal folder: another process uses it");
        if (errno != EINTR)
            return failed(fail, RC_IO, "take the journal folder's lock");
    }
    return RC_OK;
}

/* ---- the database --------------------------------------------------------------- */

/* Somebody holds the database, or its disk is full: that passes. */
static bool will_pass(const struct fail *fail)
{
    return fail->rc == RC_AGAIN || fail->sys == ENOSPC;
}

/* Its sums are not of one gateway: they would count as this one's part of shared counters. */
static enum rc refuse_books(struct ledger *l, struct fail *fail)
{
    bool is_books = false;
    enum rc rc = schema_is_books(l->in->db, &is_books, fail);

    if (rc != RC_OK || !is_books)
        return rc;
    *fail = (struct fail){.rc = RC_STATE,
                          .doing = "start on a set of books that took in other gateways' ledgers: "
                                   "a gateway has a state_dir of its own"};
    return RC_STATE;
}

/* Opens the database, where that is to be done yet, and completes what earlier processes left. */
static enum rc open_up(struct ledger *l, struct fail *fail)
{
    int64_t last_us = 0;
    enum rc rc;

    if (!l->in)
        l->in = ingest_open(l->path, OPEN_BUSY_MS, fail);
    if (!l->in)
        return fail->rc;
    rc = refuse_books(l, fail);
    if (rc == RC_OK)
        rc = ledger_recover(l, fail);
    if (rc == RC_OK)
        rc = db_query_int(l->in->db, "SELECT coalesce(max(end_us), 0) FROM line", &last_us, fail,
                          "read the ledger");
    if (rc != RC_OK)
        return rc;
    clock_steady_from(last_us);
    dict_clear(&l->past);
    pthread_mutex_lock(&l->lock);
    l->is_open = true;
    pthread_mutex_unlock(&l->lock);
    return RC_OK;
}

/* What is in the way after patience_ms is left to the ingest thread. */
static enum rc open_first(struct ledger *l, int patience_ms, struct fail *fail)
{
    int64_t until_us = clock_mono_us() + patience_ms * INT64_C(1000);
    enum rc rc;

    for (;;) {
        rc = open_up(l, fail);
        if (rc == RC_OK || !will_pass(fail))
            return rc;
        if (clock_mono_us() >= until_us)
            return RC_OK;
        nanosleep(&(struct timespec){.tv_nsec = OPEN_PAUSE_MS * 1000000L}, NULL);
    }
}

/* ---- the ingest thread ---------------------------------------------------------- */

static void tell_failure(struct ledger *l, const struct fail *fail)
{
    char text[256];

    pthread_mutex_lock(&l->lock);
    l->stats.failures++;
    pthread_mutex_unlock(&l->lock);
    if (l->is_failing)
        return;
    l->is_failing = true;
    fail_text(fail, text, sizeof(text));
    log_line(LOG_WARN, "ledger",
             l->is_open ? "the ledger is behind; the journal waits"
                        : "the ledger cannot be opened yet; the journal waits",
             "path=%s reason=\"%s\"", l->path, text);
}

/* What is there to do, as far as a batch goes. */
static enum rc work(struct ledger *l, bool *more, struct fail *fail)
{
    enum rc rc;

    if (l->is_open)
        return ledger_cycle(l, more, fail);
    rc = open_up(l, fail);
    *more = rc == RC_OK; /* what came meanwhile */
    if (rc != RC_OK)
        ledger_count_unopened(l);
    return rc;
}

static void tell_chores(struct ledger *l)
{
    bool is_any = !l->is_sealed || chore_is_left(&l->add_up) ||
                  (l->keep_days > 0 && chore_is_left(&l->expire));

    pthread_mutex_lock(&l->lock);
    l->stats.has_chores = is_any;
    pthread_mutex_unlock(&l->lock);
}

/* One cycle; how long to wait before the next: 0 at once. */
static int turn(struct ledger *l, int last_wait_ms)
{
    struct fail fail = {0};
    int64_t spent_us;
    int pause_ms;
    bool more;

    if (work(l, &more, &fail) != RC_OK) {
        int wait_ms = l->is_failing ? last_wait_ms * 2 : l->ingest_interval_ms;

        tell_failure(l, &fail);
        if (wait_ms < 1)
            wait_ms = 1;
        return wait_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait_ms;
    }
    if (l->is_failing)
        log_line(LOG_INFO, "ledger", "the ledger takes the journal again", "%s", "");
    l->is_failing = false;
    if (more)
        return 0;
    pause_ms = l->ingest_interval_ms * (l->last_entries >= LOADED_ENTRIES ? LOADED_TIMES : 1);
    spent_us = clock_mono_us();
    ledger_expire(l, pause_ms);
    ledger_seal(l, pause_ms);
    ledger_add_up(l, pause_ms);
    tell_chores(l);
    spent_us = clock_mono_us() - spent_us;
    pause_ms -= (int)(spent_us / 1000);
    return pause_ms > 1 ? pause_ms : 1;
}

static void *ingest_run(void *arg)
{
    struct ledger *l = arg;
    int64_t stop_by_us = 0;
    int wait_ms = 0;

    urgency_patient();
    pthread_mutex_lock(&l->lock);
    for (;;) {
        uint64_t asked = l->asked;
        bool stopping = l->is_stopping;

        pthread_mutex_unlock(&l->lock);
        wait_ms = turn(l, wait_ms);
        pthread_mutex_lock(&l->lock);
        if (wait_ms > 0 && !l->is_failing && l->done < asked) {
            l->done = asked;
            pthread_cond_broadcast(&l->told);
        }
        if (stopping && stop_by_us == 0)
            stop_by_us = clock_mono_us() + LEDGER_STOP_MS * INT64_C(1000);
        if (stopping && wait_ms > 0 && (!l->is_failing || clock_mono_us() >= stop_by_us))
            break;
        if (wait_ms > 0 && l->asked == asked && (l->is_stopping == stopping)) {
            struct timespec until = thread_after_ms(wait_ms);

            pthread_cond_timedwait(&l->wake, &l->lock, &until);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the public face ------------------------------------------------------------- */

static void release(struct ledger *l)
{
    syncer_stop(l->syncer);
    LIST_FOREACH_SAFE (at, &l->segments)
        segment_close(LIST_OBJECT(at, struct segment, link));
    ledger_forget_cube(l);
    ingest_close(l->in);
    dict_release(&l->open);
    dict_release(&l->past);
    segment_window_release(&l->window);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    pthread_cond_destroy(&l->told);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l->journal_dir);
    free(l->path);
    free(l);
}

struct ledger *ledger_start(const struct ledger_options *options,
                            ledger_recovered_fn *recovered, void *arg, struct fail *fail)
{
    struct ledger *l = xcalloc(1, sizeof(*l));
    int interval_ms =
        options->sync_interval_ms > 0 ? options->sync_interval_ms : SYNC_INTERVAL_MS;
    int code;

    *fail = (struct fail){0};
    l->path = xstrdup(options->path);
    l->journal_dir = xstrdup(options->journal_dir);
    l->sync = options->sync;
    l->ingest_interval_ms =
        options->ingest_interval_ms > 0 ? options->ingest_interval_ms : INGEST_INTERVAL_MS;
    l->keep_days = options->keep_days;
    l->cube_limits = options->cube_limits;
    l->dir_fd = l->lock_fd = -1;
    list_init(&l->segments);
    dict_init(&l->open);
    dict_init(&l->past);
    l->recovered = recovered;
    l->recovered_arg = arg;
    l->started_us = clock_wall_us();
    l->stats.has_chores = true;
    segment_window_init(&l->window);
    pthread_mutex_init(&l->lock, NULL);
    thread_cond_init(&l->wake);
    thread_cond_init(&l->told);
    if (open_folder(l, fail) != RC_OK || ledger_note_past(l, fail) != RC_OK ||
        open_first(l, options->patience_ms > 0 ? options->patience_ms : PATIENCE_MS, fail) != RC_OK)
        goto out;
    l->syncer = syncer_start(options->sync, interval_ms, fail);
    if (!l->syncer)
        goto out;
    code = pthread_create(&l->thread, NULL, ingest_run, l);
    if (code != 0) {
        *fail = (struct fail){.rc = RC_IO, .sys = code, .doing = "start the ingest thread"};
        goto out;
    }
    l->has_thread = true;
    pthread_setname_np(l->thread, "ingest");
    return l;
out:
    release(l);
    return NULL;
}

void ledger_stop(struct ledger *ledger)
{
    if (!ledger)
        return;
    pthread_mutex_lock(&ledger->lock);
    ledger->is_stopping = true;
    pthread_cond_broadcast(&ledger->wake);
    pthread_mutex_unlock(&ledger->lock);
    if (ledger->has_thread)
        pthread_join(ledger->thread, NULL);
    release(ledger);
}

void ledger_attach(struct ledger *ledger, struct journal *journal)
{
    if (ledger)
        syncer_attach(ledger->syncer, journal);
}

void ledger_detach(struct ledger *ledger, struct journal *journal)
{
    if (ledger)
        syncer_detach(ledger->syncer, journal);
}

void ledger_sync_soon(struct ledger *ledger)
{
    syncer_wake(ledger->syncer);
}

/* timeout_ms < 0: as long as it takes. */
static enum rc catch_up(struct ledger *l, int timeout_ms)
{
    struct timespec until = thread_after_ms(timeout_ms > 0 ? timeout_ms : 0);
    enum rc rc = RC_OK;
    uint64_t ticket;

    pthread_mutex_lock(&l->lock);
    ticket = ++l->asked;
    pthread_cond_broadcast(&l->wake);
    while (l->done < ticket && rc == RC_OK) {
        if (timeout_ms < 0)
            pthread_cond_wait(&l->told, &l->lock);
        else if (pthread_cond_timedwait(&l->told, &l->lock, &until) == ETIMEDOUT)
            rc = RC_TIMEOUT;
    }
    if (l->done >= ticket)
        rc = RC_OK;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

void ledger_catch_up(struct ledger *ledger)
{
    if (catch_up(ledger, -1) != RC_OK)
        return; /* cannot be: it waits for ever */
}

enum rc ledger_catch_up_within(struct ledger *ledger, int timeout_ms)
{
    return catch_up(ledger, timeout_ms < 0 ? 0 : timeout_ms);
}

bool ledger_is_open(struct ledger *ledger)
{
    bool is_open;

    pthread_mutex_lock(&ledger->lock);
    is_open = ledger->is_open;
    pthread_mutex_unlock(&ledger->lock);
    return is_open;
}

void ledger_identity(const struct ledger *ledger, int64_t *installation, int64_t *start)
{
    *installation = ledger->installation;
    *start = ledger->start;
}

void ledger_stats(struct ledger *ledger, struct ledger_stats *out)
{
    pthread_mutex_lock(&ledger->lock);
    *out = ledger->stats;
    pthread_mutex_unlock(&ledger->lock);
    syncer_stats(ledger->syncer, &out->syncs, &out->sync_failures);
}
