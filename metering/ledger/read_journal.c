/*
 * read_journal.c - the journal against the ledger: every entry that was taken in is there.
 *
 * Reads what segments are left, beside a gateway that writes on; what is behind the
 * position that the ledger has reached waits and is not compared.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "metering/ledger/read_int.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/segment_record.h"

struct auditing {
    struct ledger_reader *reader;
    struct ledger_journal_verdict *verdict;
    struct segment_window window;
    sqlite3_stmt *position, *body;
    struct buf bytes; /* of the record at hand as the ledger has it */
    struct buf whole; /* as the journal does */
};

__attribute__((format(printf, 4, 5))) static void
say_bad(struct auditing *a, const struct segment *s, uint64_t at, const char *format, ...)
{
    char *to = a->verdict->first;
    va_list args;
    int n;

    if (a->verdict->bad++ > 0)
        return;
    n = snprintf(to, LEDGER_FIRST_BYTES, "journal %s at byte %llu: ", s->name,
                 (unsigned long long)at);
    va_start(args, format);
    if (n > 0 && n < LEDGER_FIRST_BYTES)
        vsnprintf(to + n, (size_t)(LEDGER_FIRST_BYTES - n), format, args);
    va_end(args);
}

/* A segment may outlive lines in it: some request of it runs still. */
static bool is_deleted(const struct auditing *a, const struct stored_record *stored)
{
    struct record r;

    return record_decode_stored(stored, &r) == RC_OK && r.end_us < a->reader->kept_from_us;
}

static bool is_same(struct auditing *a, const struct stored_record *stored)
{
    buf_clear(&a->bytes);
    buf_clear(&a->whole);
    return record_bytes_of_row(a->body, 0, &a->bytes) == RC_OK &&
           record_join(stored, &a->whole) == RC_OK &&
           strv_eq(buf_view(&a->bytes), buf_view(&a->whole));
}

static enum rc compare_record(struct auditing *a, struct segment *s,
                              const struct segment_entry *entry, struct fail *fail)
{
    struct stored_record stored;
    uint64_t at = entry->at;
    char id[UUID_TEXT];
    struct record r;
    enum rc rc = segment_record(s, entry, &stored, fail);
    int code;

    if (rc == RC_IO)
        return rc;
    if (rc != RC_OK || record_decode_id_own(&stored, &r) != RC_OK) {
        say_bad(a, s, at, "a record that is not understood");
        return RC_OK;
    }
    uuid_format(&r.id, id);
    a->verdict->compared++;
    db_bind_blob(a->body, 1, strv_make((const char *)r.id.b, UUID_BYTES));
    code = sqlite3_step(a->body);
    if (code == SQLITE_DONE && !is_deleted(a, &stored))
        say_bad(a, s, at, "record %s is not in the ledger", id);
    else if (code == SQLITE_DONE)
        a->verdict->compared--;
    else if (code != SQLITE_ROW)
        rc = read_failed(a->reader, fail);
    else if (!is_same(a, &stored))
        say_bad(a, s, at, "record %s is another one in the ledger", id);
    sqlite3_reset(a->body);
    return rc;
}

struct sought {
    const struct crossing_note *note;
    bool found;
};

static bool is_sought(const struct ledger_crossing *c, void *arg)
{
    struct sought *sought = arg;

    sought->found = c->percent == sought->note->percent &&
                    c->amount == sought->note->amount &&
                    strv_eq(c->scope, sought->note->scope);
    return !sought->found;
}

static enum rc compare_crossing(struct auditing *a, const struct segment *s, uint64_t at,
                                struct strv payload, struct fail *fail)
{
    struct crossing_note note;
    struct sought sought = {.note = &note};
    enum rc rc;

    if (crossing_note_decode(payload, &note) != RC_OK) {
        say_bad(a, s, at, "a threshold that is not understood");
        return RC_OK;
    }
    rc = ledger_read_crossings(a->reader, note.limit, note.start_us, note.end_us, is_sought,
                               &sought, fail);
    if (rc == RC_OK && !sought.found && note.end_us >= a->reader->kept_from_us)
        say_bad(a, s, at, "%u %% of limit \"" STRV_FMT "\" is not in the ledger", note.percent,
                STRV_ARG(strv_head(note.limit, 65)));
    return rc;
}

/* To the end of what is whole. */
static enum rc audit_segment(struct auditing *a, struct segment *s, uint64_t taken,
                             struct fail *fail)
{
    enum rc rc = RC_OK;

    segment_look(s);
    a->verdict->live += s->is_live;
    while (rc == RC_OK) {
        struct segment_entry entry;
        uint64_t passed;

        rc = segment_next(s, &a->window, &entry, fail);
        if (rc == RC_BAD && s->position < taken) {
            say_bad(a, s, s->position, "an entry that does not check");
            rc = segment_pass(s, &a->window, &passed, fail);
            if (rc == RC_OK && passed == 0)
                rc = RC_EOF;
            continue;
        }
        if (rc != RC_OK)
            break;
        a->verdict->entries++;
        if (entry.at >= taken)
            a->verdict->waiting++;
        else if (entry.kind == JOURNAL_END)
            rc = compare_record(a, s, &entry, fail);
        else if (entry.kind == JOURNAL_CROSSED)
            rc = compare_crossing(a, s, entry.at, entry.payload, fail);
    }
    if (rc == RC_BAD || rc == RC_EOF) {
        uint64_t size = segment_size(s);

        if (!s->is_live && size > s->position && s->position >= taken)
            a->verdict->torn_bytes += size - s->position;
        rc = RC_OK;
    }
    return rc;
}

static enum rc audit_file(struct auditing *a, int dir_fd, const char *name, struct fail *fail)
{
    struct segment *s = segment_open(dir_fd, name, fail);
    int64_t taken = 0;
    enum rc rc;

    if (!s) /* taken in whole and removed meanwhile */
        return fail->sys == ENOENT ? RC_OK : RC_IO;
    a->verdict->segments++;
    db_bind_text(a->position, 1, strv_z(name));
    rc = db_int(a->position, &taken, fail, "read the ledger");
    if (rc == RC_STATE) /* nothing of it is in yet */
        rc = RC_OK;
    if (rc == RC_OK)
        rc = audit_segment(a, s, (uint64_t)taken, fail);
    segment_window_drop(&a->window);
    segment_close(s);
    return rc;
}

enum rc ledger_read_journal(struct ledger_reader *r, const char *journal_dir,
                            struct ledger_journal_verdict *out, struct fail *fail)
{
    struct auditing a = {.reader = r, .verdict = out};
    int fd = open(journal_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    enum rc rc = RC_OK;

    ASSERT(r->in_view);
    *out = (struct ledger_journal_verdict){0};
    *fail = (struct fail){0};
    if (!dir) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "read the journal folder"};
        if (fd >= 0)
            close(fd);
        return fail->sys == ENOENT ? RC_OK : RC_IO;
    }
    segment_window_init(&a.window);
    buf_init(&a.bytes, JOURNAL_ENTRY_MAX_BYTES);
    buf_init(&a.whole, JOURNAL_ENTRY_MAX_BYTES);
    a.position = db_prepare(r->db, "SELECT position FROM segment WHERE name=?1", fail);
    a.body = db_prepare(r->db, "SELECT " RECORD_COLUMNS " FROM " RECORD_TABLES " WHERE r.id=?1",
                        fail);
    if (!a.position || !a.body)
        rc = RC_IO;
    while (rc == RC_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        if (segment_name_is_valid(entry->d_name))
            rc = audit_file(&a, fd, entry->d_name, fail);
    }
    if (rc == RC_OK && errno != 0) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "read the journal folder"};
        rc = RC_IO;
    }
    sqlite3_finalize(a.position);
    sqlite3_finalize(a.body);
    segment_window_release(&a.window);
    buf_release(&a.bytes);
    buf_release(&a.whole);
    closedir(dir);
    return rc;
}
