#include "metering/ledger/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/state_file.h"
#include "base/xalloc.h"
#include "metering/ledger/journal_common.h"
#include "metering/ledger/journal_int.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/wire.h"

enum { NAME_BYTES = 64, LOOK_INTERVAL_US = 1000000, OPEN_TRIES = 8 };

struct journal {
    char *dir;
    unsigned worker;
    struct buf pending; /* collected, or left over from a write that was cut short */
    struct buf shared;            /* of the record at hand: what it shares with others */
    struct journal_commons commons;
    uint64_t segment_bytes;
    uint64_t segment_start; /* of all bytes written, those of the segments before */
    bool failed; /* the last write */
    int64_t retry_us;
    bool has_room; /* the disk, at the last look */
    int64_t looked_us;
    struct journal_tail tail;
};

struct journal_tail *journal_tail_of(struct journal *j)
{
    return &j->tail;
}

static void put_u32(char *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (char)(unsigned char)(v >> (8 * i));
}

static void put_u64(char *p, uint64_t v)
{
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

/* ---- segments ---------------------------------------------------------------- */

static enum rc failed(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = doing};
    return RC_IO;
}

/* A signal, or less than was asked, is no failure. */
static enum rc write_header(int fd, struct strv header, struct fail *fail)
{
    while (header.n > 0) {
        ssize_t n = write(fd, header.p, header.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return failed(fail, "write a journal segment");
        }
        header = strv_skip(header, (size_t)n);
    }
    return RC_OK;
}

/* Header and lock first, then the name that the ingest thread looks for. */
static enum rc segment_fill(int dir_fd, int fd, const char *tmp, const char *name,
                            int64_t created_us, struct fail *fail)
{
    char header[JOURNAL_HEADER_BYTES] = "TGJ1";
    int code;

    do {
        code = flock(fd, LOCK_EX | LOCK_NB);
    } while (code != 0 && errno == EINTR);
    if (code != 0)
        return failed(fail, "lock a journal segment");
    put_u32(header + 4, 1);
    put_u64(header + 8, (uint64_t)created_us);
    if (write_header(fd, strv_make(header, sizeof(header)), fail) != RC_OK)
        return RC_IO;
    if (renameat(dir_fd, tmp, dir_fd, name) != 0)
        return failed(fail, "name a journal segment");
    return RC_OK;
}

/* Opens a new segment; its descriptor to *out. */
static enum rc segment_create(struct journal *j, int *out, struct fail *fail)
{
    int64_t now = clock_steady_us(); /* segments are read in this order */
    char name[NAME_BYTES], tmp[NAME_BYTES + sizeof(JOURNAL_TMP_SUFFIX)];
    unsigned char random[4];
    int fd = -1;

    for (int i = 0; i < OPEN_TRIES && fd < 0; i++) {
        digest_random(random, sizeof(random));
        snprintf(name, sizeof(name), "w%04u-%016llx-%02x%02x%02x%02x" JOURNAL_SUFFIX, j->worker,
                 (unsigned long long)now, random[0], random[1], random[2], random[3]);
        snprintf(tmp, sizeof(tmp), "%s" JOURNAL_TMP_SUFFIX, name);
        fd = openat(j->tail.dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC,
                    0600);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0)
        return failed(fail, "make a journal segment");
    state_file_own(fd, j->dir); /* a command's corrections */
    if (segment_fill(j->tail.dir_fd, fd, tmp, name, now, fail) != RC_OK) {
        unlinkat(j->tail.dir_fd, tmp, 0);
        close(fd);
        return RC_IO;
    }
    *out = fd;
    return RC_OK;
}

/* A new segment where the old one is full; where none can be made, the old one grows on. */
static void rotate(struct journal *j)
{
    struct journal_tail *tail = &j->tail;
    struct fail fail = {0};
    int fd, old;

    if (segment_create(j, &fd, &fail) != RC_OK) {
        char text[256];

        fail_text(&fail, text, sizeof(text));
        log_line(LOG_WARN, "journal", text, "worker=%u", j->worker);
        j->segment_bytes -= JOURNAL_SEGMENT_BYTES / 16; /* tried again after that much more */
        return;
    }
    pthread_mutex_lock(&tail->lock);
    old = tail->fd;
    tail->fd = fd;
    tail->generation++;
    if (tail->attached) {
        tail->retired = xrealloc(tail->retired, (tail->n_retired + 1) * sizeof(int));
        tail->retired[tail->n_retired++] = old;
        old = -1;
    }
    pthread_mutex_unlock(&tail->lock);
    if (old >= 0)
        close(old);
    j->segment_bytes = JOURNAL_HEADER_BYTES;
    j->segment_start = journal_written(j);
    atomic_fetch_add_explicit(&tail->written, JOURNAL_HEADER_BYTES, memory_order_release);
}

struct journal *journal_open(const char *dir, unsigned worker, struct fail *fail)
{
    struct journal *j = xcalloc(1, sizeof(*j));

    *fail = (struct fail){0};
    j->dir = xstrdup(dir);
    j->worker = worker;
    j->tail.fd = j->tail.dir_fd = j->tail.event_fd = -1;
    j->has_room = true;
    buf_init(&j->pending, JOURNAL_PENDING_BYTES);
    buf_init(&j->shared, JOURNAL_ENTRY_MAX_BYTES);
    pthread_mutex_init(&j->tail.lock, NULL);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        failed(fail, "make the journal folder");
        goto out;
    }
    j->tail.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->tail.dir_fd < 0) {
        failed(fail, "open the journal folder");
        goto out;
    }
    j->tail.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (j->tail.event_fd < 0) {
        failed(fail, "make an eventfd");
        goto out;
    }
    if (segment_create(j, &j->tail.fd, fail) != RC_OK)
        goto out;
    j->tail.generation = 1;
    j->segment_bytes = JOURNAL_HEADER_BYTES;
    atomic_store(&j->tail.written, JOURNAL_HEADER_BYTES);
    return j;
out:
    journal_close(j);
    return NULL;
}

void journal_close(struct journal *j)
{
    struct fail fail = {0};

    if (!j)
        return;
    ASSERT(!j->tail.attached);
    j->retry_us = 0;
    if (j->tail.fd >= 0 && journal_flush(j, &fail) != RC_OK) {
        char text[256];

        fail_text(&fail, text, sizeof(text));
        log_line(LOG_ERROR, "journal", text, "worker=%u lost_bytes=%zu", j->worker,
                 buf_len(&j->pending));
    }
    for (size_t i = 0; i < j->tail.n_retired; i++)
        close(j->tail.retired[i]);
    free(j->tail.retired);
    if (j->tail.fd >= 0)
        close(j->tail.fd);
    if (j->tail.event_fd >= 0)
        close(j->tail.event_fd);
    if (j->tail.dir_fd >= 0)
        close(j->tail.dir_fd);
    pthread_mutex_destroy(&j->tail.lock);
    buf_release(&j->pending);
    buf_release(&j->shared);
    journal_commons_release(&j->commons);
    free(j->dir);
    free(j);
}

/* ---- writing ------------------------------------------------------------------ */

bool journal_is_writable(struct journal *j, int64_t now_us)
{
    if (j->failed || buf_len(&j->pending) > JOURNAL_PENDING_BYTES / 2 ||
        atomic_load_explicit(&j->tail.sync_failed, memory_order_relaxed))
        return false;
    if (j->looked_us == 0 || now_us - j->looked_us >= LOOK_INTERVAL_US) {
        struct statvfs disk;

        j->looked_us = now_us;
        /* A file system that does not tell is taken at its writes. */
        j->has_room = fstatvfs(j->tail.fd, &disk) != 0 || disk.f_blocks == 0 ||
                      (uint64_t)disk.f_bavail * disk.f_frsize >= JOURNAL_RESERVE_BYTES;
    }
    return j->has_room;
}

bool journal_is_dirty(const struct journal *j)
{
    return buf_len(&j->pending) > 0;
}

/* An entry's head goes before its payload, which is appended in between. */
static enum rc entry_start(struct journal *j, size_t *at)
{
    char head[JOURNAL_ENTRY_OVERHEAD] = {0};

    *at = buf_len(&j->pending);
    return buf_append(&j->pending, head, sizeof(head));
}

static enum rc entry_end(struct journal *j, size_t at, enum journal_kind kind, enum rc rc)
{
    struct buf *b = &j->pending;
    size_t n = buf_len(b) - at;
    char *entry;

    if (rc == RC_OK && n > JOURNAL_ENTRY_OVERHEAD + (size_t)JOURNAL_ENTRY_MAX_BYTES)
        rc = RC_LIMIT;
    if (rc != RC_OK) {
        b->tail = b->head + at;
        return rc;
    }
    entry = b->data + b->head + at;
    put_u32(entry, (uint32_t)(n - JOURNAL_ENTRY_OVERHEAD));
    entry[8] = (char)kind;
    put_u32(entry + 4, crc32c(0, entry + 8, n - 8));
    return RC_OK;
}

static enum rc put_whole(struct journal *j, enum journal_kind kind, const struct record *r)
{
    size_t at;
    enum rc rc = entry_start(j, &at);

    if (rc == RC_OK)
        rc = record_encode(r, &j->pending);
    return entry_end(j, at, kind, rc);
}

/* Where the next entry starts, of all bytes that are or will be written. */
static uint64_t here(const struct journal *j)
{
    return journal_written(j) + buf_len(&j->pending);
}

/* What j->shared holds, where no entry close enough says it. */
static enum rc say(struct journal *j, struct journal_common *common)
{
    static const char form = JOURNAL_FORM_COMMON;
    uint64_t now = here(j);
    size_t at;
    enum rc rc;

    if (common->at > j->segment_start && now - common->at < JOURNAL_COMMON_REACH)
        return RC_OK;
    rc = entry_start(j, &at);
    if (rc == RC_OK)
        rc = buf_append(&j->pending, &form, 1);
    if (rc == RC_OK)
        rc = buf_append_strv(&j->pending, buf_view(&j->shared));
    rc = entry_end(j, at, JOURNAL_BEGIN, rc);
    if (rc == RC_OK)
        common->at = now;
    return rc;
}

/* The record but for what is said already. */
static enum rc put_parts(struct journal *j, enum journal_kind kind, const struct record *r,
                         const struct journal_common *common)
{
    char head[1 + WIRE_U64_BYTES + UUID_BYTES] = {JOURNAL_FORM_PARTS};
    uint64_t distance = here(j) - common->at;
    size_t at, n = 1 + wire_make_u64(head + 1, distance);
    enum rc rc = entry_start(j, &at);

    memcpy(head + n, r->id.b, UUID_BYTES);
    if (rc == RC_OK)
        rc = buf_append(&j->pending, head, n + UUID_BYTES);
    if (rc == RC_OK)
        rc = record_encode_own(r, &j->pending);
    return entry_end(j, at, kind, rc);
}

static enum rc put_record(struct journal *j, enum journal_kind kind, const struct record *r)
{
    struct journal_common *common = NULL;
    enum rc rc;

    buf_clear(&j->shared);
    rc = record_encode_common(r, &j->shared);
    if (rc == RC_OK && buf_len(&j->shared) > 0 &&
        buf_len(&j->shared) <= JOURNAL_COMMON_MAX_BYTES)
        common = journal_common_seen(&j->commons, buf_view(&j->shared));
    if (!common)
        return put_whole(j, kind, r);
    rc = say(j, common);
    return rc == RC_OK ? put_parts(j, kind, r, common) : rc;
}

enum rc journal_begin(struct journal *j, const struct record *r)
{
    return put_record(j, JOURNAL_BEGIN, r);
}

enum rc journal_end(struct journal *j, const struct record *r)
{
    return put_record(j, JOURNAL_END, r);
}

enum rc journal_task(struct journal *j, const struct task_note *note)
{
    size_t at;
    enum rc rc = entry_start(j, &at);

    if (rc == RC_OK)
        rc = task_note_encode(note, &j->pending);
    return entry_end(j, at, JOURNAL_OUTCOME, rc);
}

enum rc journal_denied(struct journal *j, const struct denied_note *note)
{
    size_t at;
    enum rc rc = entry_start(j, &at);

    if (rc == RC_OK)
        rc = denied_note_encode(note, &j->pending);
    return entry_end(j, at, JOURNAL_DENIED, rc);
}

enum rc journal_crossed(struct journal *j, const struct crossing_note *note)
{
    size_t at;
    enum rc rc = entry_start(j, &at);

    if (rc == RC_OK)
        rc = crossing_note_encode(note, &j->pending);
    return entry_end(j, at, JOURNAL_CROSSED, rc);
}

/*
 * A write that was cut short leaves part of an entry on disk; the rest of it is
 * the first of what the next write appends, so that the entry becomes whole.
 */
enum rc journal_flush(struct journal *j, struct fail *fail)
{
    while (buf_len(&j->pending) > 0) {
        struct strv bytes = buf_view(&j->pending);
        ssize_t n;

        if (j->failed && clock_mono_us() < j->retry_us) {
            *fail = (struct fail){.rc = RC_IO, .doing = "write the journal"};
            return RC_IO;
        }
        n = write(j->tail.fd, bytes.p, bytes.n);
        if (n <= 0) {
            if (n < 0 && errno == EINTR)
                continue;
            j->failed = true;
            j->retry_us = clock_mono_us() + JOURNAL_RETRY_MS * 1000;
            return failed(fail, "write the journal");
        }
        buf_consume(&j->pending, (size_t)n);
        j->segment_bytes += (uint64_t)n;
        atomic_fetch_add_explicit(&j->tail.written, (uint64_t)n, memory_order_release);
    }
    j->failed = false;
    if (j->pending.cap > JOURNAL_SEGMENT_BYTES / 64) /* after a spell without disk */
        buf_release(&j->pending);
    if (j->segment_bytes >= JOURNAL_SEGMENT_BYTES)
        rotate(j);
    return RC_OK;
}

void journal_forget(struct journal *j)
{
    buf_clear(&j->pending);
}

int journal_fd(const struct journal *j)
{
    return j->tail.fd;
}

uint64_t journal_written(const struct journal *j)
{
    return atomic_load_explicit(&j->tail.written, memory_order_relaxed);
}

uint64_t journal_synced(const struct journal *j)
{
    return atomic_load_explicit(&j->tail.synced, memory_order_acquire);
}

int journal_sync_event(const struct journal *j)
{
    return j->tail.event_fd;
}
