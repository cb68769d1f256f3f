#include "metering/ledger/segment.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/xalloc.h"
#include "metering/ledger/journal_int.h"

enum { ENDS_MAX = 4 }; /* that a file has while its length says that there is more */

_Static_assert(SEGMENT_WINDOW_BYTES >= 2 * (JOURNAL_ENTRY_MAX_BYTES + JOURNAL_ENTRY_OVERHEAD),
               "two entries fit the window");

bool segment_name_is_valid(const char *name)
{
    size_t n = strlen(name), suffix = strlen(JOURNAL_SUFFIX);

    return name[0] == 'w' && n > suffix && n < SEGMENT_NAME_BYTES &&
           strcmp(name + n - suffix, JOURNAL_SUFFIX) == 0;
}

struct segment *segment_open(int dir_fd, const char *name, struct fail *fail)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct segment *s;

    if (fd < 0) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "open a journal segment"};
        return NULL;
    }
    s = xcalloc(1, sizeof(*s));
    list_init(&s->link);
    snprintf(s->name, sizeof(s->name), "%s", name);
    s->fd = fd;
    s->is_live = true;
    return s;
}

void segment_close(struct segment *s)
{
    list_remove(&s->link);
    segment_commons_free(s->commons);
    close(s->fd);
    free(s);
}

int segment_look(struct segment *s)
{
    int rc;

    if (!s->is_live)
        return 0;
    do
        rc = flock(s->fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return errno == EWOULDBLOCK ? 0 : errno;
    s->is_live = false;
    flock(s->fd, LOCK_UN);
    return 0;
}

uint64_t segment_size(const struct segment *s)
{
    struct stat st;

    return fstat(s->fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static enum rc cannot_read(struct fail *fail, int error)
{
    *fail = (struct fail){.rc = RC_IO, .sys = error, .doing = "read the journal"};
    return RC_IO;
}

enum rc segment_find_size(const struct segment *s, uint64_t *size, struct fail *fail)
{
    struct stat st;

    if (fstat(s->fd, &st) != 0)
        return cannot_read(fail, errno);
    *size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return RC_OK;
}

void segment_window_init(struct segment_window *w)
{
    *w = (struct segment_window){.bytes = xmalloc(SEGMENT_WINDOW_BYTES)};
}

void segment_window_release(struct segment_window *w)
{
    free(w->bytes);
    *w = (struct segment_window){0};
}

void segment_window_drop(struct segment_window *w)
{
    w->of = NULL;
    w->n = 0;
}

static uint32_t get_u32(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

/*
 * Up to `most` bytes, fewer than `least` only where the file ends before.  What is taken for torn
 * is lost, so its end is believed only where its length says the same.
 */
static enum rc read_at(const struct segment *s, uint64_t at, char *to, size_t least, size_t most,
                       size_t *n, struct fail *fail)
{
    uint64_t size = 0;
    int ends = 0;

    *n = 0;
    while (*n < least) { /* less than was asked is not yet the end */
        ssize_t got = pread(s->fd, to + *n, most - *n, (off_t)(at + *n));

        if (got > 0) {
            *n += (size_t)got;
        } else if (got < 0 && errno != EINTR) {
            return cannot_read(fail, errno);
        } else if (got == 0) {
            if (segment_find_size(s, &size, fail) != RC_OK)
                return RC_IO;
            if (size <= at + *n)
                break;
            if (++ends == ENDS_MAX) /* more than a writer that has just added to it */
                return cannot_read(fail, EIO);
        }
    }
    return RC_OK;
}

/* The bytes at a place, at least `want` of them unless the file ends before. */
static enum rc look_at(const struct segment *s, struct segment_window *w, uint64_t at,
                       size_t want, struct strv *out, struct fail *fail)
{
    if (w->of != s || at < w->start || at + want > w->start + w->n) {
        segment_window_drop(w);
        w->start = at;
        if (read_at(s, at, w->bytes, want, SEGMENT_WINDOW_BYTES, &w->n, fail) != RC_OK) {
            segment_window_drop(w);
            return RC_IO;
        }
        w->of = s;
    }
    *out = strv_make(w->bytes + (at - w->start), w->n - (size_t)(at - w->start));
    return RC_OK;
}

static bool is_whole(struct strv entry)
{
    return crc32c(0, entry.p + 8, entry.n - 8) == get_u32(entry.p + 4);
}

static struct strv payload_of(struct strv entry)
{
    return strv_skip(entry, JOURNAL_ENTRY_OVERHEAD);
}

static bool is_common(unsigned kind, struct strv payload)
{
    return kind == JOURNAL_BEGIN && payload.n > 1 && payload.p[0] == JOURNAL_FORM_COMMON;
}

/* An entry that starts at a place. RC_EOF, RC_BAD as segment_next. */
static enum rc entry_at(const struct segment *s, struct segment_window *w, uint64_t at,
                        struct segment_entry *out, uint64_t *next, struct fail *fail)
{
    struct strv bytes;
    uint32_t length;
    size_t whole;
    enum rc rc = look_at(s, w, at, JOURNAL_ENTRY_OVERHEAD, &bytes, fail);

    if (rc != RC_OK)
        return rc;
    if (bytes.n < JOURNAL_ENTRY_OVERHEAD)
        return RC_EOF;
    length = get_u32(bytes.p);
    if (length > JOURNAL_ENTRY_MAX_BYTES)
        return RC_BAD;
    whole = JOURNAL_ENTRY_OVERHEAD + (size_t)length;
    rc = look_at(s, w, at, whole, &bytes, fail);
    if (rc != RC_OK)
        return rc;
    if (bytes.n < whole)
        return RC_EOF;
    bytes.n = whole;
    if (!is_whole(bytes))
        return RC_BAD;
    out->kind = (enum journal_kind)(unsigned char)bytes.p[8];
    out->payload = payload_of(bytes);
    out->at = at;
    *next = at + whole;
    return RC_OK;
}

static enum rc header(struct segment *s, struct segment_window *w, struct fail *fail)
{
    struct strv bytes;
    enum rc rc = look_at(s, w, 0, JOURNAL_HEADER_BYTES, &bytes, fail);

    if (rc != RC_OK)
        return rc;
    if (bytes.n < JOURNAL_HEADER_BYTES)
        return RC_EOF;
    if (memcmp(bytes.p, "TGJ1", 4) != 0 || get_u32(bytes.p + 4) != 1)
        return RC_BAD;
    s->position = JOURNAL_HEADER_BYTES;
    return RC_OK;
}

enum rc segment_next(struct segment *s, struct segment_window *w, struct segment_entry *out,
                     struct fail *fail)
{
    enum rc rc = RC_OK;

    if (s->position < JOURNAL_HEADER_BYTES)
        rc = header(s, w, fail);
    do {
        if (rc == RC_OK)
            rc = entry_at(s, w, s->position, out, &s->position, fail);
    } while (rc == RC_OK && is_common((unsigned)out->kind, out->payload));
    if (rc == RC_OK)
        s->bad_since_us = 0;
    else
        segment_window_drop(w); /* there may be more, or better, bytes next time */
    return rc;
}

enum rc segment_pass(struct segment *s, struct segment_window *w, uint64_t *bytes,
                     struct fail *fail)
{
    struct segment_entry entry;
    struct strv there;
    uint64_t next, after, size, from = s->position;
    enum rc rc;

    *bytes = 0;
    if (from < JOURNAL_HEADER_BYTES)
        return RC_OK;
    rc = look_at(s, w, from, JOURNAL_ENTRY_OVERHEAD, &there, fail);
    if (rc == RC_OK)
        rc = segment_find_size(s, &size, fail);
    if (rc != RC_OK || there.n < JOURNAL_ENTRY_OVERHEAD ||
        get_u32(there.p) > JOURNAL_ENTRY_MAX_BYTES)
        return rc;
    next = from + JOURNAL_ENTRY_OVERHEAD + get_u32(there.p);
    if (next > size)
        return RC_OK;
    if (next < size) {
        rc = entry_at(s, w, next, &entry, &after, fail);
        if (rc != RC_OK)
            return rc == RC_IO ? rc : RC_OK;
    }
    s->position = next;
    s->bad_since_us = 0;
    segment_window_drop(w);
    *bytes = next - from;
    return RC_OK;
}

enum rc segment_read_common(const struct segment *s, uint64_t at, char *bytes, struct strv *out,
                            struct fail *fail)
{
    struct strv entry = {bytes, 0};
    size_t n;
    enum rc rc = read_at(s, at, bytes, SEGMENT_COMMON_ENTRY_BYTES, SEGMENT_COMMON_ENTRY_BYTES,
                         &n, fail);

    if (rc != RC_OK)
        return rc;
    if (n < JOURNAL_ENTRY_OVERHEAD)
        return RC_BAD;
    entry.n = JOURNAL_ENTRY_OVERHEAD + (size_t)get_u32(bytes);
    if (entry.n > n || !is_whole(entry) ||
        !is_common((unsigned char)bytes[8], payload_of(entry)))
        return RC_BAD;
    *out = strv_skip(payload_of(entry), 1);
    return RC_OK;
}
