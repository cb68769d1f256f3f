/*
 * recover.c - completes what earlier processes left in the journal.
 *
 * Their segments are read whole, also what is committed: only so it is known which
 * BEGINs have no END.  For each of those a record is written, under the id that
 * the BEGIN gave, so that a crash in the middle of it, and a second run, changes
 * nothing.  Segments go once all is durable and told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/record_common.h"

static struct strv bytes_of(const struct uuid *id)
{
    return strv_make((const char *)id->b, UUID_BYTES);
}

bool ledger_keep_begun(struct ledger *l, struct segment *s, const struct record *r,
                       const struct stored_record *stored)
{
    size_t n = stored->common.n + stored->own.n;
    bool is_new;
    int64_t *at = dict_at(l->begun, bytes_of(&r->id), &is_new);
    struct begun *begun = is_new ? NULL : (struct begun *)(intptr_t)*at;

    /* Segments may come in another order than they were written in, where the clock was set. */
    if (begun && r->end_us < begun->at_us)
        return false;
    free(begun);
    begun = xmalloc(sizeof(*begun) + n);
    *at = (int64_t)(intptr_t)begun;
    begun->segment = s;
    begun->id = r->id;
    begun->at_us = r->end_us;
    begun->n_common = stored->common.n;
    begun->n_own = stored->own.n;
    (void)strv_copy(strv_copy(begun->parts, stored->common), stored->own);
    return true;
}

/* The record that a BEGIN becomes when nobody ended it. */
static void interrupt(struct record *r, const struct segment *s)
{
    if (r->end_us < s->last_us)
        r->end_us = s->last_us;
    if (r->end_us < r->start_us)
        r->end_us = r->start_us;
    r->outcome = OUTCOME_INTERRUPTED;
    r->usage_source = r->usage.has ? USAGE_ESTIMATED : USAGE_NONE;
    r->latency_us = r->end_us - r->start_us;
    r->first_byte_us = -1;
}

/* What the database knows of a BEGIN's id. */
enum known { KNOWN_NOT = 0, KNOWN_INTERRUPTED, KNOWN_ENDED };

/* Its END may be in the database although the segment that held it is gone. */
static enum rc look_up(struct ledger *l, const struct uuid *id, enum known *out,
                       struct fail *fail)
{
    struct record there;
    struct buf body;
    enum rc rc;

    buf_init(&body, JOURNAL_ENTRY_MAX_BYTES);
    rc = ingest_find_record(l->in, id, &body, fail);
    *out = KNOWN_NOT;
    if (rc == RC_OK)
        *out = record_decode(buf_view(&body), &there) == RC_OK &&
                       there.outcome != OUTCOME_INTERRUPTED
                   ? KNOWN_ENDED
                   : KNOWN_INTERRUPTED;
    buf_release(&body);
    return rc == RC_STATE ? RC_OK : rc;
}

static enum rc store(struct ledger *l, const struct record *r, struct fail *fail)
{
    struct buf body;
    bool is_new = false;
    enum rc rc = ledger_open_batch(l, fail);

    if (rc != RC_OK)
        return rc;
    buf_init(&body, JOURNAL_ENTRY_MAX_BYTES);
    rc = record_encode(r, &body);
    if (rc == RC_OK)
        rc = ingest_record(l->in, r, buf_view(&body), &is_new, fail);
    l->batch.interrupted += is_new;
    buf_release(&body);
    return rc;
}

static enum rc decode(const struct begun *b, struct record *out)
{
    struct stored_record s =
        stored_record(bytes_of(&b->id),
                      strv_make(b->parts, b->n_common),
                      strv_make(b->parts + b->n_common, b->n_own));

    return record_decode_stored(&s, out);
}

/* Of an earlier process: one of this one's, which is written on, may have been rotated meanwhile. */
static bool is_past(const struct ledger *l, const struct segment *s)
{
    return dict_get(&l->past, strv_z(s->name)) != NULL;
}

/*
 * Somebody else may yet end what began there: who holds the segment, or another of the same worker
 * that was there at the start and has not been read.  A process that is just being ended lets go
 * of one after the other.
 */
static bool may_be_ended(const struct ledger *l, const struct segment *s)
{
    bool is_live = s->is_live;

    LIST_FOREACH (at, &l->segments) {
        const struct segment *other = LIST_OBJECT(at, struct segment, link);

        is_live = is_live || (other->is_live && is_past(l, other) &&
                              strncmp(other->name, s->name, SEGMENT_WORKER_BYTES) == 0);
    }
    return is_live;
}

/* One pass over the BEGINs without END: writes them, or tells them. */
static enum rc each_begun(struct ledger *l, ledger_recovered_fn *tell, void *arg,
                          struct fail *fail)
{
    struct strv id;
    int64_t value;
    size_t at = 0;
    enum rc rc = RC_OK;

    while (rc == RC_OK && dict_next(l->begun, &at, &id, &value)) {
        const struct begun *b = (const struct begun *)(intptr_t)value;
        enum known known;
        struct record r;

        if (may_be_ended(l, b->segment) || decode(b, &r) != RC_OK)
            continue;
        interrupt(&r, b->segment);
        rc = look_up(l, &r.id, &known, fail);
        if (rc != RC_OK || known == KNOWN_ENDED)
            continue;
        if (tell)
            tell(&r, arg);
        else if (known == KNOWN_NOT)
            rc = store(l, &r, fail);
    }
    return rc;
}

/* A writer that lives, such as who corrects prices meanwhile, is read as those of this process are. */
static enum rc read_past(struct ledger *l, struct segment *s, bool *more, struct fail *fail)
{
    int error = segment_look(s);

    if (error != 0) {
        *fail = (struct fail){
            .rc = RC_IO, .sys = error, .doing = "learn whether a journal segment is written on"};
        return RC_IO;
    }
    return s->is_live ? RC_OK : ledger_read_segment(l, s, more, fail);
}

/* All that can be read, in as many transactions as it takes. */
static enum rc read_all(struct ledger *l, struct fail *fail)
{
    bool more = true;
    enum rc rc = ledger_look(l, fail);

    while (rc == RC_OK && more) {
        more = false;
        LIST_FOREACH (at, &l->segments) {
            struct segment *s = LIST_OBJECT(at, struct segment, link);

            if (rc == RC_OK && is_past(l, s))
                rc = read_past(l, s, &more, fail);
        }
        if (rc == RC_OK && more)
            rc = ledger_commit(l, l->as_of_us, fail);
    }
    return rc;
}

struct names {
    char **at;
    size_t n;
};

static void collect(const char *name, void *arg)
{
    struct names *names = arg;

    names->at = xrealloc(names->at, (names->n + 1) * sizeof(char *));
    names->at[names->n++] = xstrdup(name);
}

static bool is_in_folder(struct ledger *l, const char *name)
{
    LIST_FOREACH (at, &l->segments) {
        if (strcmp(LIST_OBJECT(at, struct segment, link)->name, name) == 0)
            return true;
    }
    return false;
}

void ledger_bad_name(const char *name, char out[SEGMENT_BAD_NAME_BYTES])
{
    snprintf(out, SEGMENT_BAD_NAME_BYTES, "%s" JOURNAL_BAD_SUFFIX, name);
}

enum rc ledger_forget(struct ledger *l, const char *name, bool is_kept, struct fail *fail)
{
    char kept[SEGMENT_BAD_NAME_BYTES];
    uint64_t position = 0, before = 0;
    enum rc rc = RC_OK;

    ledger_bad_name(name, kept);
    if (is_kept) {
        rc = ingest_find_segment(l->in, name, &position, fail);
        if (rc == RC_OK || rc == RC_STATE)
            rc = ingest_find_segment(l->in, kept, &before, fail);
        if (rc == RC_OK || rc == RC_STATE)
            rc = ingest_position(l->in, kept, position > before ? position : before, fail);
    }
    return rc == RC_OK ? ingest_forget(l->in, name, fail) : rc;
}

/* It was set aside by a process that did not live to note it; or the file is there and cannot be seen. */
static bool is_kept(const struct ledger *l, const char *name)
{
    char kept[SEGMENT_BAD_NAME_BYTES];

    ledger_bad_name(name, kept);
    return faccessat(l->dir_fd, kept, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* Positions of files that are gone. */
static enum rc forget_gone(struct ledger *l, struct fail *fail)
{
    struct names names = {0};
    enum rc rc = ingest_each_segment(l->in, collect, &names, fail);

    for (size_t i = 0; i < names.n; i++) {
        if (rc == RC_OK && segment_name_is_valid(names.at[i]) &&
            !is_in_folder(l, names.at[i])) {
            rc = ledger_open_batch(l, fail);
            if (rc == RC_OK)
                rc = ledger_forget(l, names.at[i], is_kept(l, names.at[i]), fail);
        }
        free(names.at[i]);
    }
    free(names.at);
    return rc;
}

static enum rc attempt(struct ledger *l, struct fail *fail)
{
    int64_t started_us = clock_wall_us();
    enum rc rc = read_all(l, fail);

    if (rc == RC_OK)
        rc = each_begun(l, NULL, NULL, fail);
    if (rc == RC_OK)
        rc = forget_gone(l, fail);
    if (rc == RC_OK)
        rc = ledger_open_batch(l, fail); /* says as of when, also where nothing was found */
    if (rc == RC_OK)
        rc = ingest_number_start(l->in, &l->installation, &l->start, fail);
    if (rc == RC_OK)
        rc = ledger_commit(l, started_us, fail);
    if (rc == RC_OK && l->sync != SYNC_NEVER)
        rc = ingest_sync(l->in, fail);
    return rc;
}

static void forget_begun(struct ledger *l)
{
    struct strv id;
    int64_t value;
    size_t at = 0;

    while (dict_next(l->begun, &at, &id, &value)) {
        struct begun *b = (struct begun *)(intptr_t)value;

        if (!may_be_ended(l, b->segment)) {
            b->segment->open--;
            dict_remove(&l->open, id);
        }
        free(b);
    }
    dict_release(l->begun);
    l->begun = NULL;
}

/* Segments that never got their name had nothing in them. */
static enum rc note_past(struct ledger *l, const char *name, struct fail *fail)
{
    (void)fail;
    if (strv_ends(strv_z(name), STRV(JOURNAL_SUFFIX JOURNAL_TMP_SUFFIX)))
        unlinkat(l->dir_fd, name, 0);
    else if (segment_name_is_valid(name))
        dict_put(&l->past, strv_z(name), 1);
    return RC_OK;
}

enum rc ledger_note_past(struct ledger *l, struct fail *fail)
{
    return ledger_each_name(l, note_past, fail);
}

enum rc ledger_recover(struct ledger *l, struct fail *fail)
{
    struct dict begun;
    enum rc rc;

    dict_init(&begun);
    l->begun = &begun;
    rc = attempt(l, fail);
    if (rc == RC_OK && l->recovered)
        rc = each_begun(l, l->recovered, l->recovered_arg, fail);
    if (rc != RC_OK)
        ledger_undo(l);
    if (rc == RC_OK && begun.n)
        log_line(LOG_WARN, "ledger", "completed what an earlier process had begun",
                 "requests=%zu", begun.n);
    forget_begun(l);
    if (rc == RC_OK)
        ledger_remove_done(l);
    return rc;
}
