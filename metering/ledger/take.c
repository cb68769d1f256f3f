#include "metering/ledger/take.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "metering/ledger/folder_lock.h"
#include "metering/ledger/ingest_int.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/source.h"

enum {
    TRIES = 100, /* of a transaction that others' locks end, each as long as INGEST_BUSY_MS */
    NOTES_BATCH = 4096,
    ADD_UP_MS = 100, /* between two looks at whether to go on */
};

static const char writing[] = "write the books";

/* Up to where a ledger was taken in. */
struct place {
    int64_t seq; /* 0: nothing was */
    struct uuid id;
    int64_t as_of_us;
};

struct taker {
    char *database;
    int lock_fd;
    struct ingest *in;
    sqlite3_stmt *place_get, *place_put, *denied_get, *denied_put;
    int64_t as_of_us; /* of the books, as they say so far */
    int64_t least_us; /* of the ledgers that were taken; INT64_MAX: none was */
    taker_told_fn *told;
    void *arg;

    struct source *source;
    struct source_said said;
    struct place at;
    int64_t since_us; /* outcomes and refusals from then on are looked at */
    struct taken *out;
    uint64_t refusals; /* of the open transaction */
    uint64_t done, total;
    struct record record; /* at hand: too large to be made each time */
    struct buf bytes;
};

static bool goes_on(const struct taker *t, const char *doing)
{
    return t->done % SOURCE_LOOK_ROWS != 0 || t->told(doing, t->done, t->total, t->arg);
}

static enum rc refuse(struct fail *fail, enum rc rc, const char *what)
{
    *fail = (struct fail){.rc = rc, .doing = what};
    return rc;
}

/* ---- the books -------------------------------------------------------------------------- */

/* A gateway has started on it.  What is no ledger is told when it is opened. */
static bool is_gateways_own(const char *database)
{
    struct fail ignored;
    sqlite3 *db = NULL;
    int64_t n = 0;

    db_init();
    if (access(database, F_OK) != 0)
        return false;
    if (sqlite3_open_v2(database, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ==
            SQLITE_OK &&
        db_query_int(db, "SELECT count(*) FROM state WHERE name='starts'", &n, &ignored,
                     "read the books") != RC_OK)
        n = 0;
    sqlite3_close(db);
    return n > 0;
}

static enum rc lock_books(struct taker *t, const char *journal_dir, struct fail *fail)
{
    enum rc rc;

    if (mkdir(journal_dir, 0700) != 0 && errno != EEXIST) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "make the journal folder"};
        return RC_IO;
    }
    rc = folder_lock(journal_dir, &t->lock_fd, fail);
    if (rc == RC_OK && t->lock_fd < 0)
        rc = refuse(fail, RC_DENIED, "write these books: another process does");
    return rc;
}

static enum rc open_books(struct taker *t, struct fail *fail)
{
    enum rc rc;

    if (is_gateways_own(t->database))
        return refuse(fail, RC_DENIED,
                      "take ledgers into a gateway's own: books have a state_dir of their own");
    t->in = ingest_open(t->database, LEDGER_OPEN_BUSY_MS, fail);
    rc = t->in ? schema_make_books(t->in->db, fail) : fail->rc;
    if (rc != RC_OK)
        return rc;
    t->place_get = db_prepare(
        t->in->db, "SELECT seq, id, as_of_us FROM taken WHERE installation=?1", fail);
    t->place_put = db_prepare(
        t->in->db, "REPLACE INTO taken(installation, seq, id, as_of_us) VALUES(?1,?2,?3,?4)", fail);
    t->denied_get = db_prepare(
        t->in->db,
        "SELECT count FROM taken_denied WHERE installation=?1 AND bucket=?2 AND code=?3 AND key=?4 "
        "AND team=?5 AND feature=?6 AND environment=?7 AND limit_name=?8",
        fail);
    t->denied_put = db_prepare(
        t->in->db,
        "REPLACE INTO taken_denied(installation, bucket, code, key, team, feature, environment, "
        "limit_name, count) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
        fail);
    if (!t->place_get || !t->place_put || !t->denied_get || !t->denied_put)
        return fail->rc;
    return db_query_int(t->in->db,
                        "SELECT coalesce((SELECT value FROM state WHERE name='as_of_us'), 0)",
                        &t->as_of_us, fail, "read the books");
}

struct taker *taker_open(const char *database, const char *journal_dir, taker_told_fn *told,
                         void *arg, struct fail *fail)
{
    struct taker *t = xcalloc(1, sizeof(*t));

    *fail = (struct fail){0};
    t->database = xstrdup(database);
    t->lock_fd = -1;
    t->least_us = INT64_MAX;
    t->told = told;
    t->arg = arg;
    buf_init(&t->bytes, JOURNAL_ENTRY_MAX_BYTES);
    if (lock_books(t, journal_dir, fail) == RC_OK && open_books(t, fail) == RC_OK)
        return t;
    taker_close(t);
    return NULL;
}

void taker_close(struct taker *t)
{
    if (!t)
        return;
    sqlite3_finalize(t->place_get);
    sqlite3_finalize(t->place_put);
    sqlite3_finalize(t->denied_get);
    sqlite3_finalize(t->denied_put);
    ingest_close(t->in);
    if (t->lock_fd >= 0)
        close(t->lock_fd);
    buf_release(&t->bytes);
    free(t->database);
    free(t);
}

/* ---- where to go on ----------------------------------------------------------------------- */

static enum rc get_place(struct taker *t, struct place *out, struct fail *fail)
{
    sqlite3_stmt *get = t->place_get;
    enum rc rc = RC_OK;
    int code;

    *out = (struct place){0};
    sqlite3_bind_int64(get, 1, t->said.installation);
    code = sqlite3_step(get);
    if (code == SQLITE_ROW) {
        struct strv id = db_column(get, 1);

        out->seq = sqlite3_column_int64(get, 0);
        out->as_of_us = sqlite3_column_int64(get, 2);
        if (id.n == UUID_BYTES)
            memcpy(out->id.b, id.p, UUID_BYTES);
    } else if (code != SQLITE_DONE) {
        rc = db_failed(t->in->db, fail, "read the books");
    }
    sqlite3_reset(get);
    return rc;
}

/* In a transaction. */
static enum rc put_place(struct taker *t, const struct place *place, struct fail *fail)
{
    sqlite3_bind_int64(t->place_put, 1, t->said.installation);
    sqlite3_bind_int64(t->place_put, 2, place->seq);
    db_bind_blob(t->place_put, 3, strv_make((const char *)place->id.b, UUID_BYTES));
    sqlite3_bind_int64(t->place_put, 4, place->as_of_us);
    return db_run(t->place_put, fail, writing);
}

/* Requests are gone that were never taken.  Of a first time that was ended it was asked already. */
static bool has_gap(const struct taker *t)
{
    return t->said.kept_from_us > t->at.as_of_us && (t->at.as_of_us > 0 || t->at.seq == 0);
}

/* A ledger that was restored gives numbers again, so the record must be the one that was taken. */
static enum rc find_place(struct taker *t, unsigned flags, struct fail *fail)
{
    struct uuid id;
    bool is_there = false;
    enum rc rc = get_place(t, &t->at, fail);

    if (rc != RC_OK)
        return rc;
    if (has_gap(t) && !(flags & TAKE_KEPT))
        return refuse(fail, RC_DENIED,
                      "take in this ledger: it has deleted requests that these books never had");
    if (t->at.seq > 0)
        rc = source_find(t->source, t->at.seq, &id, &is_there, fail);
    if (rc == RC_OK && ((flags & TAKE_AGAIN) || !is_there ||
                        memcmp(id.b, t->at.id.b, UUID_BYTES) != 0))
        t->at = (struct place){0};
    t->since_us = t->at.as_of_us - TAKE_OUTCOMES_BACK_S * INT64_C(1000000);
    t->done = 0;
    t->total = (uint64_t)(t->said.last_seq > t->at.seq ? t->said.last_seq - t->at.seq : 0);
    return rc;
}

/* ---- is it whole? ------------------------------------------------------------------------- */

static enum rc look_at_record(int64_t seq, const struct uuid *id, struct strv bytes, void *arg,
                              struct fail *fail)
{
    struct taker *t = arg;

    (void)id;
    (void)bytes;
    (void)fail;
    t->at.seq = seq;
    t->done++;
    return goes_on(t, "check") ? RC_OK : RC_EOF;
}

static enum rc look_at_outcome(const struct task_note *note, void *arg, struct fail *fail)
{
    struct taker *t = arg;

    (void)note;
    (void)fail;
    t->done++;
    return goes_on(t, "check tasks") ? RC_OK : RC_EOF;
}

static enum rc look_at_denied(const struct denied_note *note, void *arg, struct fail *fail)
{
    struct taker *t = arg;

    (void)note;
    (void)fail;
    t->done++;
    return goes_on(t, "check refusals") ? RC_OK : RC_EOF;
}

/* Reads what is new, and takes nothing. */
static enum rc look_through(struct taker *t, struct fail *fail)
{
    struct place from = t->at;
    uint64_t total = t->total, last;
    enum rc rc = RC_OK;

    do {
        last = t->done;
        rc = source_records(t->source, t->at.seq, t->said.last_seq, TAKE_BATCH_RECORDS,
                            look_at_record, t, fail);
    } while (rc == RC_OK && t->done > last);
    t->at = from;
    t->done = t->total = 0;
    if (rc == RC_OK)
        rc = source_outcomes(t->source, t->since_us, look_at_outcome, t, fail);
    t->done = 0;
    if (rc == RC_OK)
        rc = source_denied(t->source, t->since_us, look_at_denied, t, fail);
    t->done = 0;
    t->total = total;
    return rc;
}

/* ---- records ------------------------------------------------------------------------------ */

/* One batch: what it has taken is told when it is committed. */
struct batch {
    struct taker *t;
    struct place at;
    uint64_t n, known, differing;
};

static enum rc compare(struct batch *b, const struct uuid *id, struct strv bytes,
                       struct fail *fail)
{
    struct taker *t = b->t;
    enum rc rc;

    buf_clear(&t->bytes);
    rc = ingest_find_record(t->in, id, &t->bytes, fail);
    if (rc != RC_OK)
        return rc;
    if (strv_eq(bytes, buf_view(&t->bytes)))
        b->known++;
    else
        b->differing++;
    return RC_OK;
}

static enum rc take_record(int64_t seq, const struct uuid *id, struct strv bytes, void *arg,
                           struct fail *fail)
{
    struct batch *b = arg;
    struct taker *t = b->t;
    const struct stored_record whole = {.own = bytes};
    bool is_new;
    enum rc rc = ingest_decode(t->in, &whole, &t->record);

    if (rc != RC_OK)
        return refuse(fail, RC_BAD, "take in a record of this form");
    rc = ingest_decoded(t->in, &t->record, &is_new, fail);
    if (rc == RC_OK && !is_new)
        rc = compare(b, id, bytes, fail);
    if (rc != RC_OK)
        return rc;
    b->at.seq = seq;
    b->at.id = *id;
    b->n++;
    t->done++;
    return goes_on(t, "take in") ? RC_OK : RC_EOF;
}

static enum rc take_batch(struct taker *t, bool *more, struct fail *fail)
{
    struct batch b = {.t = t, .at = t->at};
    uint64_t done = t->done;
    enum rc rc = ingest_begin(t->in, fail);

    *more = true;
    if (rc == RC_OK)
        rc = source_records(t->source, t->at.seq, t->said.last_seq, TAKE_BATCH_RECORDS,
                            take_record, &b, fail);
    if (rc == RC_OK && b.n > 0)
        rc = put_place(t, &b.at, fail);
    if (rc == RC_OK)
        rc = ingest_commit(t->in, t->as_of_us, fail);
    if (rc != RC_OK) {
        ingest_rollback(t->in);
        t->done = done;
        return rc;
    }
    t->at = b.at;
    t->out->records += b.n - b.known - b.differing;
    t->out->known += b.known;
    t->out->differing += b.differing;
    *more = b.n > 0;
    return RC_OK;
}

/* A batch is done again where another held the books, and carefully where a record was there. */
static enum rc take_records(struct taker *t, struct fail *fail)
{
    enum rc rc = RC_OK;
    bool more = true;
    int tries = 0;

    while (rc == RC_OK && more) {
        rc = take_batch(t, &more, fail);
        tries = rc == RC_AGAIN ? tries + 1 : 0;
        if (rc == RC_AGAIN && tries < TRIES)
            rc = RC_OK;
    }
    return rc;
}

/* ---- outcomes and refusals ---------------------------------------------------------------- */

static enum rc commit_notes(struct taker *t, struct fail *fail)
{
    enum rc rc = ingest_commit(t->in, t->as_of_us, fail);

    t->out->refusals += rc == RC_OK ? t->refusals : 0;
    t->refusals = 0;
    return rc;
}

/* After each: now and then commits and begins again. */
static enum rc between(struct taker *t, const char *doing, struct fail *fail)
{
    enum rc rc;

    t->done++;
    if (!goes_on(t, doing))
        return RC_EOF;
    if (t->done % NOTES_BATCH != 0)
        return RC_OK;
    rc = commit_notes(t, fail);
    return rc == RC_OK ? ingest_begin(t->in, fail) : rc;
}

static enum rc take_outcome(const struct task_note *note, void *arg, struct fail *fail)
{
    struct taker *t = arg;
    enum rc rc = ingest_task(t->in, note, fail);

    return rc == RC_OK ? between(t, "take in tasks", fail) : rc;
}

/* What the ledger has more of a row than was taken of it before. */
static enum rc take_denied(const struct denied_note *note, void *arg, struct fail *fail)
{
    struct taker *t = arg;
    const struct strv texts[] = {note->code,    note->key,         note->team,
                                 note->feature, note->environment, note->limit};
    sqlite3_stmt *const both[] = {t->denied_get, t->denied_put};
    struct denied_note more = *note;
    int64_t ids[6], had = 0;
    enum rc rc = RC_OK;

    for (int i = 0; i < 6 && rc == RC_OK; i++)
        rc = ingest_word(t->in, texts[i], &ids[i], fail);
    if (rc != RC_OK)
        return rc;
    for (int s = 0; s < 2; s++) {
        sqlite3_bind_int64(both[s], 1, t->said.installation);
        sqlite3_bind_int64(both[s], 2, rollup_bucket(LEVEL_QUARTER, note->at_us));
        for (int i = 0; i < 6; i++)
            sqlite3_bind_int64(both[s], 3 + i, ids[i]);
    }
    rc = db_int(t->denied_get, &had, fail, "read the books");
    if (rc != RC_OK && rc != RC_STATE)
        return rc;
    if (note->count <= (uint64_t)had)
        return between(t, "take in refusals", fail);
    more.count = note->count - (uint64_t)had;
    more.count = more.count < UINT32_MAX ? more.count : UINT32_MAX;
    sqlite3_bind_int64(t->denied_put, 9, had + (int64_t)more.count);
    rc = db_run(t->denied_put, fail, writing);
    if (rc == RC_OK)
        rc = ingest_denied(t->in, &more, fail);
    t->refusals += more.count;
    return rc == RC_OK ? between(t, "take in refusals", fail) : rc;
}

/* One try of both; what was committed of it is passed over by the next. */
static enum rc take_notes_once(struct taker *t, struct fail *fail)
{
    struct place place = t->at;
    enum rc rc = ingest_begin(t->in, fail);

    t->done = t->total = t->refusals = 0;
    if (rc == RC_OK)
        rc = source_outcomes(t->source, t->since_us, take_outcome, t, fail);
    if (rc == RC_OK)
        rc = source_denied(t->source, t->since_us, take_denied, t, fail);
    place.as_of_us = t->said.as_of_us;
    if (rc == RC_OK)
        rc = put_place(t, &place, fail);
    if (rc == RC_OK)
        rc = commit_notes(t, fail);
    if (rc != RC_OK)
        ingest_rollback(t->in);
    else
        t->at = place;
    return rc;
}

static enum rc take_notes(struct taker *t, struct fail *fail)
{
    enum rc rc = RC_AGAIN;

    for (int i = 0; i < TRIES && rc == RC_AGAIN; i++)
        rc = take_notes_once(t, fail);
    return rc;
}

/* ---- a ledger ----------------------------------------------------------------------------- */

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum rc taker_take(struct taker *t, const char *path, unsigned flags, struct taken *out,
                   struct fail *fail)
{
    enum rc rc;

    *out = (struct taken){0};
    *fail = (struct fail){0};
    if (is_same_file(path, t->database))
        return refuse(fail, RC_STATE, "take in these books: they are the ones that take");
    t->out = out;
    t->source = source_open(path, &t->said, fail);
    rc = t->source ? find_place(t, flags, fail) : fail->rc;
    if (rc == RC_OK)
        rc = look_through(t, fail);
    if (rc == RC_OK)
        rc = take_records(t, fail);
    if (rc == RC_OK)
        rc = take_notes(t, fail);
    if (rc == RC_OK) {
        out->as_of_us = t->said.as_of_us;
        t->least_us = t->least_us < out->as_of_us ? t->least_us : out->as_of_us;
    }
    source_close(t->source);
    t->source = NULL;
    return rc;
}

/* ---- the end ------------------------------------------------------------------------------ */

/* What a gateway's ingest thread does in its pauses. */
static enum rc add_up(struct taker *t)
{
    struct ledger *l = xcalloc(1, sizeof(*l));
    enum rc rc = RC_OK;

    l->path = t->database;
    l->in = t->in;
    pthread_mutex_init(&l->lock, NULL);
    t->done = t->total = 0;
    while (rc == RC_OK && chore_is_due(l->is_sealed ? &l->add_up : &l->seal)) {
        ledger_seal(l, ADD_UP_MS);
        ledger_add_up(l, ADD_UP_MS);
        if (!t->told("add up days and tasks", t->done++, 0, t->arg))
            rc = RC_EOF;
    }
    ledger_forget_cube(l);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return rc;
}

enum rc taker_finish(struct taker *t, bool is_whole, int64_t *as_of_us, struct fail *fail)
{
    bool is_later = is_whole && t->least_us != INT64_MAX && t->least_us > t->as_of_us;
    enum rc rc = RC_AGAIN;

    if (is_later)
        t->as_of_us = t->least_us;
    for (int i = 0; i < TRIES && rc == RC_AGAIN; i++) {
        rc = ingest_begin(t->in, fail);
        if (rc == RC_OK)
            rc = ingest_commit(t->in, t->as_of_us, fail);
        if (rc != RC_OK)
            ingest_rollback(t->in);
    }
    if (rc == RC_OK)
        rc = ingest_sync(t->in, fail);
    if (rc == RC_OK)
        rc = add_up(t);
    *as_of_us = t->as_of_us;
    return rc;
}
