#include "metering/ledger/ingest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"

enum { SCRATCH_BYTES = 128 << 10 };

static const char *const statements[SQL_COUNT] = {
#define STATEMENT_TEXT(id, text) [id] = (text),
    STATEMENTS(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

/* What WAL keeps after a checkpoint is cut to this. */
static const char *const settings = "PRAGMA page_size=8192;" /* of a new database */
                                    "PRAGMA journal_mode=WAL;"
                                    "PRAGMA synchronous=NORMAL;"
                                    "PRAGMA wal_autocheckpoint=4000;"
                                    "PRAGMA journal_size_limit=67108864;"
                                    "PRAGMA cache_size=-16384;"
                                    "PRAGMA temp_store=MEMORY;";
_Static_assert(INGEST_PAGES_BYTES == 16384 << 10, "what the settings say, in KiB");

/* The file is private, and what SQLite puts beside it takes after it. */
static void make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0) /* where not, the opening that follows says why */
        close(fd);
}

struct ingest *ingest_open(const char *path, int busy_ms, struct fail *fail)
{
    struct ingest *in = xcalloc(1, sizeof(*in));

    db_init();
    *fail = (struct fail){0};
    buf_init(&in->scratch, SCRATCH_BYTES);
    buf_init(&in->common, JOURNAL_ENTRY_MAX_BYTES);
    buf_init(&in->own, JOURNAL_ENTRY_MAX_BYTES);
    dict_init(&in->words);
    dict_init(&in->tagsets);
    dict_init(&in->combos);
    dict_init(&in->commons);
    in->known_commons = xcalloc(INGEST_COMMONS_MAX, sizeof(*in->known_commons));
    dict_init(&in->tasks);
    dict_init(&in->rollup_of);
    dict_init(&in->task_sum_of);
    in->rollups = xcalloc(INGEST_ROLLUPS_MAX, sizeof(*in->rollups));
    in->work = xcalloc(1, sizeof(*in->work));
    in->task_sums = xcalloc(INGEST_TASK_SUMS_MAX, sizeof(*in->task_sums));
    make_private(path);
    if (sqlite3_open_v2(path, &in->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        db_failed(in->db, fail, "open the ledger");
        goto out;
    }
    sqlite3_busy_timeout(in->db, busy_ms);
    if (db_exec(in->db, settings, fail, "open the ledger") != RC_OK ||
        schema_migrate(in->db, fail) != RC_OK)
        goto out;
    sqlite3_busy_timeout(in->db, INGEST_BUSY_MS);
    if (ingest_rows_open(in, fail) != RC_OK)
        goto out;
    for (int i = 0; i < SQL_COUNT; i++) {
        in->sql[i] = db_prepare(in->db, statements[i], fail);
        if (!in->sql[i])
            goto out;
    }
    if (ingest_facts_open(in, fail) != RC_OK || ingest_tallies_open(in, fail) != RC_OK)
        goto out;
    return in;
out:
    ingest_close(in);
    return NULL;
}

void ingest_memory(const struct ingest *in, uint64_t *pages, uint64_t *names)
{
    int now = 0, most = 0;

    (void)sqlite3_db_status(in->db, SQLITE_DBSTATUS_CACHE_USED, &now, &most, 0);
    *pages = now > 0 ? (uint64_t)now : 0;
    *names = dict_bytes(&in->words) + dict_bytes(&in->tagsets) + dict_bytes(&in->combos) +
             dict_bytes(&in->tasks) + dict_bytes(&in->commons) + in->common_bytes;
}

void ingest_close(struct ingest *in)
{
    if (!in)
        return;
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(in->sql[i]);
    sqlite3_finalize(in->stays);
    ingest_facts_close(in);
    sqlite3_close(in->db);
    ingest_rows_close(in);
    dict_release(&in->words);
    dict_release(&in->tagsets);
    dict_release(&in->combos);
    ingest_forget_commons(in);
    dict_release(&in->commons);
    dict_release(&in->tasks);
    dict_release(&in->rollup_of);
    dict_release(&in->task_sum_of);
    buf_release(&in->scratch);
    buf_release(&in->common);
    buf_release(&in->own);
    free(in->known_commons);
    free(in->rollups);
    free(in->work);
    free(in->task_sums);
    free(in);
}

enum rc ingest_begin(struct ingest *in, struct fail *fail)
{
    enum rc rc;

    ASSERT(!in->is_open);
    rc = db_run(in->sql[SQL_BEGIN], fail, "lock the ledger");
    if (rc != RC_OK)
        return rc;
    in->is_open = true;
    if (in->next_seq == 0) {
        /* A number is never given twice, also where its record is deleted. */
        rc = db_query_int(in->db,
                          "SELECT 1 + max(coalesce((SELECT max(seq) FROM record), 0), "
                          "coalesce((SELECT value FROM state WHERE name='last_seq'), 0))",
                          &in->next_seq, fail, "read the ledger");
    }
    if (rc == RC_OK)
        rc = ingest_facts_begin(in, fail);
    if (rc != RC_OK)
        ingest_rollback(in);
    return rc;
}

/* Of a batch done again: what is collected must be in the table for that. */
static enum rc look_for(struct ingest *in, const struct uuid *id, bool *is_there,
                        struct fail *fail)
{
    sqlite3_stmt *find = in->sql[SQL_RECORD_FIND];
    enum rc rc = ingest_write_rows(in, fail);
    int code;

    if (rc != RC_OK)
        return rc;
    db_bind_blob(find, 1, strv_make((const char *)id->b, UUID_BYTES));
    code = sqlite3_step(find);
    *is_there = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rc = db_failed(in->db, fail, "read a record");
    sqlite3_reset(find);
    return rc;
}

static int64_t attempt_column(const struct record *r)
{
    if (!r->is_correction)
        return r->attempt;
    return r->was_unpriced ? ATTEMPT_LATE_PRICE : ATTEMPT_CORRECTION;
}

static enum rc add_correction(struct ingest *in, const struct record *r, int64_t seq,
                              struct fail *fail)
{
    sqlite3_stmt *add = in->sql[SQL_CORRECTION_ADD];

    db_bind_blob(add, 1, strv_make((const char *)r->corrects.b, UUID_BYTES));
    sqlite3_bind_int64(add, 2, seq);
    return db_run(add, fail, "write a correction");
}

/* All that is made of a record, and unless of a repair the record itself. */
static enum rc write_record(struct ingest *in, const struct record *r, int64_t seq,
                            struct fail *fail)
{
    const struct strv *dim = r->subject.dim;
    struct ingest_row row = {.id = r->id,
                             .seq = seq,
                             .end_us = r->end_us,
                             .start_us = r->start_us,
                             .attempt = attempt_column(r),
                             .is_priced = r->price_status != PRICE_NONE};
    enum rc rc;

    if (row.is_priced)
        ingest_split(r->cost, &row.cost_nano, &row.cost_rest);
    rc = in->is_repair ? ingest_combo(in, r, &row.ids[0], fail)
                       : ingest_common(in, r, &row.common, &row.ids[0], fail);
    if (rc == RC_OK)
        rc = ingest_word(in, dim[DIM_CUSTOMER], &row.ids[1], fail);
    if (rc == RC_OK)
        rc = ingest_word(in, dim[DIM_USER], &row.ids[2], fail);
    if (rc == RC_OK)
        rc = ingest_task_id(in, dim[DIM_TEAM], dim[DIM_TASK], &row.ids[3], fail);
    if (rc == RC_OK)
        rc = ingest_tagset(in, &r->subject, &row.ids[4], fail);
    if (rc == RC_OK)
        rc = ingest_add_row(in, &row, in->is_repair ? STRV_NONE : in->stored.own, fail);
    if (rc == RC_OK && r->is_correction)
        rc = add_correction(in, r, row.seq, fail);
    if (rc == RC_OK)
        rc = ingest_add_sums(in, r, row.ids[0], row.ids[3], fail);
    if (rc == RC_OK)
        rc = ingest_add_fact(in, &row, r, fail);
    return rc;
}

enum rc ingest_decoded(struct ingest *in, const struct record *r, bool *is_new,
                       struct fail *fail)
{
    bool is_there = false;
    enum rc rc = in->is_careful ? look_for(in, &r->id, &is_there, fail) : RC_OK;

    ASSERT(in->is_open);
    *is_new = !is_there;
    if (rc != RC_OK || is_there)
        return rc;
    rc = write_record(in, r, in->next_seq, fail);
    if (rc == RC_OK)
        in->next_seq++;
    return rc;
}

enum rc ingest_record_again(struct ingest *in, const struct record *r, int64_t seq,
                            struct fail *fail)
{
    ASSERT(in->is_open);
    in->is_repair = true;
    return write_record(in, r, seq, fail);
}

enum rc ingest_task(struct ingest *in, const struct task_note *note, struct fail *fail)
{
    sqlite3_stmt *close = in->sql[SQL_TASK_CLOSE];
    int64_t task, key;
    enum rc rc = ingest_task_id(in, note->team, note->task, &task, fail);

    if (rc == RC_OK)
        rc = ingest_word(in, note->key, &key, fail);
    if (rc != RC_OK || task == 0 || note->outcome == TASK_OPEN)
        return rc;
    sqlite3_bind_int64(close, 1, task);
    sqlite3_bind_int64(close, 2, note->outcome);
    sqlite3_bind_int64(close, 3, note->at_us);
    sqlite3_bind_int64(close, 4, key);
    rc = db_run(close, fail, "write a task's outcome");
    return rc == RC_OK && sqlite3_changes(in->db) > 0 ? ingest_tally_again(in, task, fail) : rc;
}

enum rc ingest_denied(struct ingest *in, const struct denied_note *note, struct fail *fail)
{
    const struct strv texts[] = {note->code,    note->key,         note->team,
                                 note->feature, note->environment, note->limit};
    sqlite3_stmt *add = in->sql[SQL_DENIED_ADD];

    for (int i = 0; i < 6; i++) {
        int64_t word;
        enum rc rc = ingest_word(in, texts[i], &word, fail);

        if (rc != RC_OK)
            return rc;
        sqlite3_bind_int64(add, 2 + i, word);
    }
    sqlite3_bind_int64(add, 1, rollup_bucket(LEVEL_QUARTER, note->at_us));
    sqlite3_bind_int64(add, 8, note->count > UINT32_MAX ? UINT32_MAX : (int64_t)note->count);
    return db_run(add, fail, "write a count of refusals");
}

enum rc ingest_crossing(struct ingest *in, const struct crossing_note *note, struct fail *fail)
{
    const struct strv texts[] = {note->limit, note->scope, note->teller};
    sqlite3_stmt *add = in->sql[SQL_CROSSING_ADD];

    for (int i = 0; i < 3; i++) {
        int64_t word;
        enum rc rc = ingest_word(in, texts[i], &word, fail);

        if (rc != RC_OK)
            return rc;
        sqlite3_bind_int64(add, 1 + i, word);
    }
    sqlite3_bind_int64(add, 4, note->start_us);
    sqlite3_bind_int64(add, 5, note->end_us);
    sqlite3_bind_int64(add, 6, note->percent);
    sqlite3_bind_int64(add, 7, (int64_t)note->amount);
    sqlite3_bind_int64(add, 8, (int64_t)note->spent);
    sqlite3_bind_int64(add, 9, note->at_us);
    return db_run(add, fail, "write a threshold that was reached");
}

enum rc ingest_position(struct ingest *in, const char *segment, uint64_t position,
                        struct fail *fail)
{
    sqlite3_stmt *put = in->sql[SQL_SEGMENT_PUT];

    db_bind_text(put, 1, strv_z(segment));
    sqlite3_bind_int64(put, 2, (int64_t)position);
    return db_run(put, fail, "write a journal position");
}

enum rc ingest_forget(struct ingest *in, const char *segment, struct fail *fail)
{
    db_bind_text(in->sql[SQL_SEGMENT_DROP], 1, strv_z(segment));
    return db_run(in->sql[SQL_SEGMENT_DROP], fail, "write a journal position");
}

enum rc ingest_count(struct ingest *in, const char *name, uint64_t n, struct fail *fail)
{
    if (n == 0)
        return RC_OK;
    db_bind_text(in->sql[SQL_STATE_ADD], 1, strv_z(name));
    sqlite3_bind_int64(in->sql[SQL_STATE_ADD], 2, (int64_t)(n & INT64_MAX));
    return db_run(in->sql[SQL_STATE_ADD], fail, "write a counter");
}

/*
 * In WAL mode a commit reaches the disk only with synchronous=FULL; all before it
 * in the log then do too.  Until a segment is removed that is not needed: the
 * journal can say it all again.
 */
enum rc ingest_sync(struct ingest *in, struct fail *fail)
{
    enum rc rc = db_exec(in->db, "PRAGMA synchronous=FULL", fail, "sync the ledger"), back;
    struct fail ignored;

    ASSERT(!in->is_open);
    if (rc == RC_OK)
        rc = db_exec(in->db, "REPLACE INTO state(name, value) VALUES('durable', 1)", fail,
                     "sync the ledger");
    back = db_exec(in->db, "PRAGMA synchronous=NORMAL", rc == RC_OK ? fail : &ignored,
                   "sync the ledger");
    return rc == RC_OK ? back : rc;
}

enum rc ingest_commit(struct ingest *in, int64_t as_of_us, struct fail *fail)
{
    sqlite3_stmt *set = in->sql[SQL_STATE_SET];
    enum rc rc;

    ASSERT(in->is_open);
    rc = ingest_write_rows(in, fail);
    if (rc == RC_OK)
        rc = ingest_write_sums(in, fail);
    if (rc != RC_OK)
        return rc;
    db_bind_text(set, 1, STRV("as_of_us"));
    sqlite3_bind_int64(set, 2, as_of_us);
    rc = db_run(set, fail, "write the ledger");
    if (rc == RC_OK)
        rc = db_run(in->sql[SQL_COMMIT], fail, "commit to the ledger");
    if (rc != RC_OK)
        return rc;
    in->is_open = in->is_careful = false;
    return RC_OK;
}

enum rc ingest_end(struct ingest *in, enum rc rc, struct fail *fail)
{
    if (rc == RC_OK)
        rc = db_run(in->sql[SQL_COMMIT], fail, "commit to the ledger");
    if (rc == RC_OK)
        in->is_open = false;
    else
        ingest_rollback(in);
    return rc;
}

enum rc ingest_note_state(struct ingest *in, const char *name, int64_t value, struct fail *fail)
{
    sqlite3_stmt *set = in->sql[SQL_STATE_SET];
    enum rc rc = ingest_begin(in, fail);

    if (rc != RC_OK)
        return rc;
    db_bind_text(set, 1, strv_z(name));
    sqlite3_bind_int64(set, 2, value);
    return ingest_end(in, db_run(set, fail, "write the ledger"), fail);
}

bool ingest_is_careful(const struct ingest *in)
{
    return in->is_careful;
}

void ingest_rollback(struct ingest *in)
{
    struct fail ignored;

    ingest_forget_sums(in);
    ingest_forget_rows(in);
    ingest_forget_facts(in);
    in->most_seq = 0;
    if (in->is_open) {
        in->is_open = false;
        in->next_seq = 0;
        ingest_forget_words(in);
        /* Some failures have rolled back already: then this one has nothing to do. */
        if (!sqlite3_get_autocommit(in->db) &&
            db_run(in->sql[SQL_ROLLBACK], &ignored, "roll back") != RC_OK)
            sqlite3_exec(in->db, "ROLLBACK", NULL, NULL, NULL);
    }
    /* What a disk gave wrongly is not to be believed until the process ends. */
    sqlite3_db_release_memory(in->db);
}

enum rc ingest_number_start(struct ingest *in, int64_t *installation, int64_t *start,
                            struct fail *fail)
{
    static const char *const doing = "number this start";
    enum rc rc = db_exec(in->db,
                         "INSERT OR IGNORE INTO state(name, value) "
                         "VALUES('installation', random());"
                         "INSERT INTO state(name, value) VALUES('starts', 1) "
                         "ON CONFLICT DO UPDATE SET value=value+1",
                         fail, doing);

    ASSERT(in->is_open);
    if (rc == RC_OK)
        rc = db_query_int(in->db, "SELECT value FROM state WHERE name='installation'",
                          installation, fail, doing);
    if (rc == RC_OK)
        rc = db_query_int(in->db, "SELECT value FROM state WHERE name='starts'", start, fail,
                          doing);
    return rc;
}

enum rc ingest_find_segment(struct ingest *in, const char *segment, uint64_t *position,
                            struct fail *fail)
{
    int64_t found = 0;
    enum rc rc;

    db_bind_text(in->sql[SQL_SEGMENT_FIND], 1, strv_z(segment));
    rc = db_int(in->sql[SQL_SEGMENT_FIND], &found, fail, "read a journal position");
    if (rc == RC_OK)
        *position = (uint64_t)found;
    return rc;
}

enum rc ingest_each_segment(struct ingest *in, void (*fn)(const char *name, void *arg),
                            void *arg, struct fail *fail)
{
    sqlite3_stmt *each = in->sql[SQL_SEGMENT_EACH];
    enum rc rc = RC_OK;
    int code;

    while ((code = sqlite3_step(each)) == SQLITE_ROW) {
        struct strv name = db_column(each, 0);
        char *text = xmemdupz(name.p, name.n);

        fn(text, arg);
        free(text);
    }
    if (code != SQLITE_DONE)
        rc = db_failed(in->db, fail, "read the journal positions");
    sqlite3_reset(each);
    return rc;
}

enum rc ingest_find_record(struct ingest *in, const struct uuid *id, struct buf *out,
                           struct fail *fail)
{
    sqlite3_stmt *find = in->sql[SQL_RECORD_FIND];
    enum rc rc = ingest_write_rows(in, fail);
    int code;

    if (rc != RC_OK)
        return rc;
    rc = RC_STATE;
    db_bind_blob(find, 1, strv_make((const char *)id->b, UUID_BYTES));
    code = sqlite3_step(find);
    if (code == SQLITE_ROW)
        rc = record_bytes_of_row(find, 0, out);
    else if (code != SQLITE_DONE)
        rc = db_failed(in->db, fail, "read a record");
    sqlite3_reset(find);
    return rc;
}
