/*
 * cycle.c - from the journal to the database: look at the folder, read every segment
 * on, commit, remove what is done.
 *
 * Positions move in memory while entries are read and in the database with the
 * entries' own transaction; a failure sets them back.  A BEGIN only notes that its
 * END is to come: the segment is kept until it has.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/segment_record.h"

/* ---- the folder ------------------------------------------------------------ */

static struct segment *known(struct ledger *l, const char *name)
{
    LIST_FOREACH (at, &l->segments) {
        struct segment *s = LIST_OBJECT(at, struct segment, link);

        if (strcmp(s->name, name) == 0)
            return s;
    }
    return NULL;
}

static void insert(struct ledger *l, struct segment *s)
{
    struct list_node *before = &l->segments;

    LIST_FOREACH (at, &l->segments) {
        if (strcmp(LIST_OBJECT(at, struct segment, link)->name, s->name) > 0) {
            before = at;
            break;
        }
    }
    list_push_back(before, &s->link); /* before the node given */
    l->n_segments++;
}

static enum rc add_segment(struct ledger *l, const char *name, struct fail *fail)
{
    struct segment *s = segment_open(l->dir_fd, name, fail);
    char kept[SEGMENT_BAD_NAME_BYTES];
    enum rc rc;

    /* A writer may take an empty one away; of an earlier process nobody does. */
    if (!s)
        return fail->sys == ENOENT && !dict_get(&l->past, strv_z(name)) ? RC_OK : RC_IO;
    rc = ingest_find_segment(l->in, name, &s->committed, fail);
    if (rc == RC_OK || rc == RC_STATE) {
        ledger_bad_name(name, kept);
        rc = ingest_find_segment(l->in, kept, &s->taken, fail);
    }
    if (rc != RC_OK && rc != RC_STATE) {
        segment_close(s);
        return rc;
    }
    insert(l, s);
    return RC_OK;
}

static enum rc cannot_read(struct fail *fail)
{
    *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "read the journal folder"};
    return RC_IO;
}

enum rc ledger_each_name(struct ledger *l, ledger_name_fn *fn, struct fail *fail)
{
    int fd = openat(l->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    enum rc rc = RC_OK;

    if (!dir) {
        rc = cannot_read(fail);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == RC_OK) {
        errno = 0; /* an end and a failure differ by it alone */
        entry = readdir(dir);
        if (!entry && errno != 0)
            rc = cannot_read(fail);
        if (!entry)
            break;
        rc = fn(l, entry->d_name, fail);
    }
    closedir(dir);
    return rc;
}

static enum rc look_at(struct ledger *l, const char *name, struct fail *fail)
{
    return segment_name_is_valid(name) && !known(l, name) && l->n_segments < SEGMENTS_MAX
               ? add_segment(l, name, fail)
               : RC_OK;
}

enum rc ledger_look(struct ledger *l, struct fail *fail)
{
    return ledger_each_name(l, look_at, fail);
}

/* ---- entries ----------------------------------------------------------------- */

static struct strv bytes_of(const struct uuid *id)
{
    return strv_make((const char *)id->b, UUID_BYTES);
}

/*
 * A stream that grows says its BEGIN again: the newest stands, and its segment stays until the END
 * has come.  stored: all of its parts while recovering.
 */
static void note_begin(struct ledger *l, struct segment *s, const struct record *r,
                       const struct stored_record *stored)
{
    bool is_new;
    int64_t *at;

    if (l->begun && !ledger_keep_begun(l, s, r, stored))
        return;
    at = dict_at(&l->open, bytes_of(&r->id), &is_new);
    if (!is_new)
        ((struct segment *)(intptr_t)*at)->open--;
    *at = (int64_t)(intptr_t)s;
    s->open++;
}

static void note_end(struct ledger *l, const struct record *r)
{
    int64_t at;

    if (!dict_take(&l->open, bytes_of(&r->id), &at))
        return;
    ((struct segment *)(intptr_t)at)->open--;
    if (l->begun && dict_take(l->begun, bytes_of(&r->id), &at))
        free((struct begun *)(intptr_t)at);
}

static void bad_entry(struct ledger *l, struct segment *s, const char *what)
{
    l->batch.bad_entries++;
    if (!s->has_bad)
        log_line(LOG_ERROR, "ledger", "a journal entry is not understood; its file is kept",
                 "segment=%s position=%llu kind=%s", s->name, (unsigned long long)s->position,
                 what);
    s->has_bad = true;
}

static void saw(struct segment *s, int64_t us)
{
    if (us > s->last_us)
        s->last_us = us;
}

static enum rc apply_record(struct ledger *l, struct segment *s, const struct segment_entry *e,
                            bool is_new, struct fail *fail)
{
    bool was_new = false, is_begin = e->kind == JOURNAL_BEGIN;
    struct record *r = &l->record;
    struct stored_record stored;
    enum rc rc;

    /* Of a BEGIN the rest is looked at only where its END never comes: see recover.c. */
    if (is_begin && !l->begun) {
        rc = segment_record_own(e, &stored);
        if (rc == RC_OK)
            rc = record_decode_id_own(&stored, r);
    } else {
        rc = segment_record(s, e, &stored, fail);
        if (rc == RC_OK)
            rc = is_begin || !is_new ? record_decode_stored(&stored, r)
                                     : ingest_decode(l->in, &stored, r);
    }
    if (rc == RC_IO)
        return rc;
    if (rc != RC_OK) {
        /* Of a BEGIN that was read before, what it shares is looked for only now. */
        if (is_new || is_begin)
            bad_entry(l, s, "record");
        return RC_OK;
    }
    if (is_begin) {
        saw(s, r->start_us);
        note_begin(l, s, r, &stored);
        return RC_OK;
    }
    saw(s, r->end_us);
    if (is_new) {
        rc = ingest_decoded(l->in, r, &was_new, fail);
        if (rc != RC_OK)
            return rc;
        l->batch.ingested += was_new;
        l->batch.duplicates += !was_new;
    }
    note_end(l, r);
    return RC_OK;
}

static enum rc apply_note(struct ledger *l, struct segment *s, const struct segment_entry *e,
                          bool is_new, struct fail *fail)
{
    struct task_note task;
    struct denied_note denied;
    struct crossing_note crossing;

    if (e->kind == JOURNAL_OUTCOME && task_note_decode(e->payload, &task) == RC_OK) {
        saw(s, task.at_us);
        return is_new ? ingest_task(l->in, &task, fail) : RC_OK;
    }
    if (e->kind == JOURNAL_DENIED && denied_note_decode(e->payload, &denied) == RC_OK) {
        saw(s, denied.at_us);
        /* All else is known by its id, or its place, where it comes again. */
        return is_new && e->at >= s->taken ? ingest_denied(l->in, &denied, fail) : RC_OK;
    }
    if (e->kind == JOURNAL_CROSSED && crossing_note_decode(e->payload, &crossing) == RC_OK) {
        saw(s, crossing.at_us);
        return is_new ? ingest_crossing(l->in, &crossing, fail) : RC_OK;
    }
    if (is_new)
        bad_entry(l, s, "note");
    return RC_OK;
}

/* is_new: behind the committed position; what is before it is only noted (recovery). */
static enum rc apply(struct ledger *l, struct segment *s, const struct segment_entry *e,
                     bool is_new, struct fail *fail)
{
    enum rc rc = is_new ? ledger_open_batch(l, fail) : RC_OK;

    if (rc != RC_OK)
        return rc;
    if (is_new) {
        l->batch_entries++;
        l->batch_bytes += e->payload.n;
    }
    switch (e->kind) {
    case JOURNAL_BEGIN:
    case JOURNAL_END:
        return apply_record(l, s, e, is_new, fail);
    case JOURNAL_OUTCOME:
    case JOURNAL_DENIED:
    case JOURNAL_CROSSED:
        return apply_note(l, s, e, is_new, fail);
    }
    if (is_new)
        bad_entry(l, s, "newer");
    return RC_OK;
}

/* ---- segments ---------------------------------------------------------------- */

static void torn(struct ledger *l, struct segment *s, uint64_t from, uint64_t bytes)
{
    if (bytes == 0 || from < s->committed)
        return; /* counted by the process that committed it */
    l->batch.torn_tails++;
    l->batch.torn_bytes += bytes;
    log_line(LOG_WARN, "ledger", "cut what does not check in the journal",
             "segment=%s position=%llu bytes=%llu", s->name, (unsigned long long)from,
             (unsigned long long)bytes);
}

/* The writer is gone and nothing whole is left: the rest is torn. */
static enum rc end_segment(struct ledger *l, struct segment *s, struct fail *fail)
{
    uint64_t size = 0, from = s->position;
    enum rc rc = segment_find_size(s, &size, fail);

    if (rc != RC_OK)
        return rc;
    if (size > from) {
        rc = ledger_open_batch(l, fail);
        if (rc != RC_OK)
            return rc;
        torn(l, s, from, size - from);
        s->position = size;
    }
    s->is_ended = true;
    return RC_OK;
}

/* What does not check: more bytes may come from a living writer, else one entry is lost. */
static enum rc pass_bad(struct ledger *l, struct segment *s, bool *passed, struct fail *fail)
{
    int64_t now = clock_mono_us();
    uint64_t from = s->position, bytes;
    enum rc rc;

    *passed = false;
    if (s->is_live && s->bad_since_us == 0)
        s->bad_since_us = now;
    if (s->is_live && now - s->bad_since_us < BAD_PATIENCE_US)
        return RC_OK;
    rc = ledger_open_batch(l, fail);
    if (rc == RC_OK)
        rc = segment_pass(s, &l->window, &bytes, fail);
    if (rc != RC_OK)
        return rc;
    torn(l, s, from, bytes);
    *passed = bytes > 0;
    return RC_OK;
}

enum rc ledger_read_segment(struct ledger *l, struct segment *s, bool *more, struct fail *fail)
{
    enum rc rc = RC_OK;

    segment_look(s); /* before the last read: what a writer wrote before it went is seen */
    while (!s->is_ended && rc == RC_OK) {
        struct segment_entry entry;
        bool passed = false;

        if (l->batch_entries >= BATCH_ENTRIES || l->batch_bytes >= BATCH_BYTES) {
            *more = true;
            break;
        }
        rc = segment_next(s, &l->window, &entry, fail);
        if (rc == RC_OK) {
            rc = apply(l, s, &entry, entry.at >= s->committed, fail);
            continue;
        }
        if (rc == RC_BAD) {
            rc = pass_bad(l, s, &passed, fail);
            if (rc != RC_OK || passed)
                continue;
        } else if (rc == RC_EOF) {
            rc = RC_OK;
        } else {
            break;
        }
        if (s->is_live)
            break;
        rc = end_segment(l, s, fail);
    }
    return rc;
}

/* ---- transactions --------------------------------------------------------------- */

enum rc ledger_open_batch(struct ledger *l, struct fail *fail)
{
    enum rc rc = l->in_batch ? RC_OK : ingest_begin(l->in, fail);

    if (rc == RC_OK)
        l->in_batch = true;
    return rc;
}

static void end_batch(struct ledger *l)
{
    l->last_entries = l->batch_entries;
    l->in_batch = false;
    l->batch_entries = l->batch_bytes = 0;
    l->batch = (struct ledger_stats){0};
}

void ledger_undo(struct ledger *l)
{
    ingest_rollback(l->in);
    LIST_FOREACH (at, &l->segments) {
        struct segment *s = LIST_OBJECT(at, struct segment, link);

        /* Recovery reads from the start; what it has noted it notes again. */
        s->position = l->begun ? 0 : s->committed;
        s->is_ended = false;
    }
    segment_window_drop(&l->window);
    end_batch(l);
}

static void add_stats(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    l->stats.ingested += l->batch.ingested;
    l->stats.duplicates += l->batch.duplicates;
    l->stats.interrupted += l->batch.interrupted;
    l->stats.torn_tails += l->batch.torn_tails;
    l->stats.torn_bytes += l->batch.torn_bytes;
    l->stats.bad_entries += l->batch.bad_entries;
    l->stats.batches++;
    pthread_mutex_unlock(&l->lock);
}

enum rc ledger_commit(struct ledger *l, int64_t as_of_us, struct fail *fail)
{
    enum rc rc = RC_OK;

    if (!l->in_batch)
        return RC_OK;
    LIST_FOREACH (at, &l->segments) {
        const struct segment *s = LIST_OBJECT(at, struct segment, link);

        if (rc == RC_OK && s->position > s->committed)
            rc = ingest_position(l->in, s->name, s->position, fail);
    }
    if (rc == RC_OK)
        rc = ingest_count(l->in, "torn_tails", l->batch.torn_tails, fail);
    if (rc == RC_OK)
        rc = ingest_count(l->in, "torn_bytes", l->batch.torn_bytes, fail);
    if (rc == RC_OK)
        rc = ingest_count(l->in, "interrupted", l->batch.interrupted, fail);
    if (rc == RC_OK)
        rc = ingest_commit(l->in, as_of_us, fail);
    if (rc != RC_OK)
        return rc;
    LIST_FOREACH (at, &l->segments) {
        struct segment *s = LIST_OBJECT(at, struct segment, link);

        if (s->position > s->committed)
            s->committed = s->position;
    }
    l->as_of_us = as_of_us;
    add_stats(l);
    end_batch(l);
    return RC_OK;
}

static bool is_removable(const struct segment *s)
{
    return s->is_ended && s->open == 0 && s->committed >= s->position;
}

/* True: its file is gone, or has another name. */
static bool take_away(const struct ledger *l, const struct segment *s)
{
    char kept[SEGMENT_BAD_NAME_BYTES];
    int gone;

    ledger_bad_name(s->name, kept);
    gone = s->has_bad ? renameat(l->dir_fd, s->name, l->dir_fd, kept)
                      : unlinkat(l->dir_fd, s->name, 0);
    return gone == 0 || errno == ENOENT;
}

/*
 * All in one transaction: where locks fail SQLite tries ten seconds for each, and a crash may leave
 * many.  Where this fails the rows stay until the next start.
 */
static void forget_gone(struct ledger *l)
{
    struct fail ignored;
    enum rc rc = ingest_begin(l->in, &ignored);

    if (rc != RC_OK)
        return;
    LIST_FOREACH_SAFE (at, &l->segments) {
        const struct segment *s = LIST_OBJECT(at, struct segment, link);

        if (s->is_gone && rc == RC_OK)
            rc = ledger_forget(l, s->name, s->has_bad, &ignored);
    }
    if (rc == RC_OK)
        rc = ingest_commit(l->in, l->as_of_us, &ignored);
    if (rc != RC_OK)
        ingest_rollback(l->in);
}

void ledger_remove_done(struct ledger *l)
{
    bool is_synced = l->sync == SYNC_NEVER, is_any = false;
    struct fail fail;

    LIST_FOREACH_SAFE (at, &l->segments) {
        struct segment *s = LIST_OBJECT(at, struct segment, link);

        if (!is_removable(s))
            continue;
        if (!is_synced && ingest_sync(l->in, &fail) != RC_OK)
            return;
        is_synced = true;
        s->is_gone = take_away(l, s);
        is_any |= s->is_gone;
    }
    if (!is_any)
        return;
    forget_gone(l);
    segment_window_drop(&l->window);
    LIST_FOREACH_SAFE (at, &l->segments) {
        struct segment *s = LIST_OBJECT(at, struct segment, link);

        if (!s->is_gone)
            continue;
        segment_close(s);
        l->n_segments--;
    }
}

static void tell_waiting(struct ledger *l, uint64_t waiting, uint64_t segments, int64_t since_us)
{
    int64_t now_us = clock_wall_us();

    pthread_mutex_lock(&l->lock);
    l->stats.waiting_bytes = waiting;
    l->stats.segments = segments;
    l->stats.lag_us = waiting && now_us > since_us ? now_us - since_us : 0;
    pthread_mutex_unlock(&l->lock);
}

static enum rc count_unopened(struct ledger *l, const char *name, struct fail *fail)
{
    struct stat about;

    (void)fail;
    if (!segment_name_is_valid(name) ||
        fstatat(l->dir_fd, name, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return RC_OK;
    l->unopened.segments++;
    if (about.st_size > JOURNAL_HEADER_BYTES)
        l->unopened.waiting_bytes += (uint64_t)about.st_size;
    return RC_OK;
}

void ledger_count_unopened(struct ledger *l)
{
    struct fail ignored;

    l->unopened = (struct ledger_stats){0};
    if (ledger_each_name(l, count_unopened, &ignored) == RC_OK)
        tell_waiting(l, l->unopened.waiting_bytes, l->unopened.segments, l->started_us);
}

static void count_held(struct ledger *l)
{
    uint64_t waiting = 0, pages, names;

    LIST_FOREACH (at, &l->segments) {
        const struct segment *s = LIST_OBJECT(at, struct segment, link);
        uint64_t size = segment_size(s);

        /* A header alone waits for nothing. */
        if (size > s->committed && size > JOURNAL_HEADER_BYTES)
            waiting += size - s->committed;
    }
    ingest_memory(l->in, &pages, &names);
    tell_waiting(l, waiting, l->n_segments, l->as_of_us);
    pthread_mutex_lock(&l->lock);
    l->stats.page_bytes = pages;
    l->stats.name_bytes = names;
    pthread_mutex_unlock(&l->lock);
}

enum rc ledger_cycle(struct ledger *l, bool *more, struct fail *fail)
{
    int64_t started_us = clock_wall_us();
    bool was_careful = ingest_is_careful(l->in);
    enum rc rc = ledger_look(l, fail);

    *more = false;
    l->last_entries = 0;
    LIST_FOREACH (at, &l->segments) {
        if (rc == RC_OK)
            rc = ledger_read_segment(l, LIST_OBJECT(at, struct segment, link), more, fail);
    }
    /* Where the clock was set back, at once: what it said is not yet so. */
    if (rc == RC_OK && !*more &&
        (started_us < l->as_of_us || started_us - l->as_of_us >= AS_OF_IDLE_US))
        rc = ledger_open_batch(l, fail);
    if (rc == RC_OK)
        rc = ledger_commit(l, *more ? l->as_of_us : started_us, fail);
    if (rc != RC_OK)
        ledger_undo(l);
    else
        ledger_remove_done(l);
    if (rc == RC_AGAIN && !was_careful && ingest_is_careful(l->in)) { /* no failure */
        *more = true;
        rc = RC_OK;
    }
    count_held(l);
    return rc;
}
