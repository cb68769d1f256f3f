#include "metering/ledger/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/ledger/db.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/schema.h"
#include "metering/ledger/wire.h"

enum { BUSY_MS = 5000, DENIED_KEY = 7 };
/* 9999-12-31T23:59:59Z: later ones cannot be written as a date. */
static const int64_t last_us = INT64_C(253402300799999999);

static const char *const doing = "read the ledger";
static const char *const no_ledger = "read this file: it is no ledger";

/* The tables that are read, and the index that a question goes by. */
static const char *const made_by =
    "SELECT sql FROM sqlite_schema WHERE name=?1 AND type IN ('table', 'index')";
static const char *const read_names[] = {"record", "common", "state", "word",
                                         "task",   "denied", "task_closed"};

struct source {
    sqlite3 *db;
    sqlite3_stmt *find, *records, *outcomes, *denied;
    struct buf bytes; /* of a record, whole */
};

static enum rc damaged(struct fail *fail)
{
    *fail = (struct fail){.rc = RC_BAD, .doing = "read this ledger: it is damaged"};
    return RC_BAD;
}

static enum rc refuse(struct fail *fail, enum rc rc, const char *what)
{
    *fail = (struct fail){.rc = rc, .doing = what};
    return rc;
}

/* A row or the end; what SQLite finds damaged is told as such. */
static enum rc step(sqlite3_stmt *stmt, bool *is_row, struct fail *fail)
{
    int code = sqlite3_step(stmt);
    enum rc rc;

    *is_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return RC_OK;
    if (code == SQLITE_TOOBIG)
        return damaged(fail);
    rc = db_failed(sqlite3_db_handle(stmt), fail, doing);
    return rc == RC_BAD ? damaged(fail) : rc;
}

static bool is_time(int64_t us)
{
    return us >= 0 && us <= last_us;
}

/* ---- opening -------------------------------------------------------------------------- */

static enum rc open_file(struct source *s, const char *path, struct fail *fail)
{
    struct stat st;
    enum rc rc;

    if (stat(path, &st) != 0) {
        *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = "open this ledger"};
        return RC_IO;
    }
    if (!S_ISREG(st.st_mode))
        return refuse(fail, RC_BAD, "read this: it is no file");
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return db_failed(s->db, fail, "open this ledger");
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, SOURCE_VALUE_BYTES);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    (void)sqlite3_busy_timeout(s->db, BUSY_MS);
    rc = db_exec(s->db,
                 "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-8192;"
                 "PRAGMA temp_store=MEMORY",
                 fail, "open this ledger");
    return rc == RC_BAD ? refuse(fail, RC_BAD, no_ledger) : rc;
}

/* How the one of that name was made; false where there is none, or more than one. */
static bool text_of(sqlite3_stmt *find, const char *name, struct strv *out)
{
    sqlite3_reset(find);
    db_bind_text(find, 1, strv_z(name));
    if (sqlite3_step(find) != SQLITE_ROW)
        return false;
    *out = db_column(find, 0);
    return out->n > 0;
}

static enum rc check_same(sqlite3 *ours, sqlite3 *theirs, struct fail *fail)
{
    sqlite3_stmt *a = db_prepare(ours, made_by, fail), *b = db_prepare(theirs, made_by, fail);
    enum rc rc = a && b ? RC_OK : fail->rc;

    for (size_t i = 0; rc == RC_OK && i < sizeof(read_names) / sizeof(*read_names); i++) {
        struct strv made, found;

        if (!text_of(a, read_names[i], &made) || !text_of(b, read_names[i], &found) ||
            !strv_eq(made, found))
            rc = refuse(fail, RC_BAD, "read this ledger: its tables are not those of a ledger");
    }
    sqlite3_finalize(a);
    sqlite3_finalize(b);
    return rc;
}

/* Beside those that this program makes. */
static enum rc check_tables(struct source *s, struct fail *fail)
{
    sqlite3 *ours = NULL;
    enum rc rc = RC_OK;

    if (sqlite3_open(":memory:", &ours) != SQLITE_OK)
        rc = db_failed(ours, fail, doing);
    if (rc == RC_OK)
        rc = schema_migrate(ours, fail);
    if (rc == RC_OK)
        rc = check_same(ours, s->db, fail);
    sqlite3_close(ours);
    return rc;
}

static enum rc prepare_all(struct source *s, struct fail *fail)
{
    s->find = db_prepare(s->db, "SELECT id FROM record WHERE seq=?1", fail);
    s->records = db_prepare(s->db,
                            "SELECT r.seq, " RECORD_COLUMNS " FROM " RECORD_TABLES
                            " WHERE r.seq>?1 AND r.seq<=?2 ORDER BY r.seq LIMIT ?3",
                            fail);
    s->outcomes = db_prepare(s->db,
                             "SELECT t.closed_us, t.outcome, t.id, t.name, t.team, w.text, "
                             "t.closed_by, k.text "
                             "FROM task t LEFT JOIN word w ON w.id=t.team "
                             "LEFT JOIN word k ON k.id=t.closed_by WHERE t.closed_us>=?1 "
                             "ORDER BY t.closed_us, t.outcome, t.id",
                             fail);
    s->denied = db_prepare(
        s->db,
        "SELECT d.bucket, d.code, d.key, d.team, d.feature, d.environment, d.limit_name, d.count, "
        "a.text, b.text, c.text, e.text, f.text, g.text FROM denied d "
        "LEFT JOIN word a ON a.id=d.code LEFT JOIN word b ON b.id=d.key "
        "LEFT JOIN word c ON c.id=d.team LEFT JOIN word e ON e.id=d.feature "
        "LEFT JOIN word f ON f.id=d.environment LEFT JOIN word g ON g.id=d.limit_name "
        "WHERE d.bucket>=?1 ORDER BY d.bucket, d.code, d.key, d.team, d.feature, d.environment, "
        "d.limit_name",
        fail);
    return s->find && s->records && s->outcomes && s->denied ? RC_OK : fail->rc;
}

static enum rc read_state(struct source *s, const char *name, int64_t *out, bool *is_there,
                          struct fail *fail)
{
    sqlite3_stmt *get = db_prepare(s->db, "SELECT value FROM state WHERE name=?1", fail);
    enum rc rc = get ? RC_OK : fail->rc;

    *out = 0;
    if (get) {
        db_bind_text(get, 1, strv_z(name));
        rc = step(get, is_there, fail);
    }
    if (rc == RC_OK && *is_there && sqlite3_column_type(get, 0) != SQLITE_INTEGER)
        rc = damaged(fail);
    if (rc == RC_OK && *is_there)
        *out = sqlite3_column_int64(get, 0);
    sqlite3_finalize(get);
    return rc;
}

/* Within a view. */
static enum rc read_said(struct source *s, struct source_said *out, struct fail *fail)
{
    int64_t now_us = clock_wall_us();
    bool is_books, has_number, has_time, is_kept;
    enum rc rc = schema_is_books(s->db, &is_books, fail);

    if (rc == RC_OK && is_books)
        return refuse(fail, RC_STATE,
                      "take in a set of books: name the gateways' own ledgers instead");
    if (rc == RC_OK)
        rc = read_state(s, "installation", &out->installation, &has_number, fail);
    if (rc == RC_OK && !has_number)
        return refuse(fail, RC_STATE, "take in this ledger: no gateway has started on it");
    if (rc == RC_OK)
        rc = read_state(s, "as_of_us", &out->as_of_us, &has_time, fail);
    if (rc == RC_OK)
        rc = read_state(s, "kept_from_us", &out->kept_from_us, &is_kept, fail);
    if (rc == RC_OK)
        rc = db_query_int(s->db, "SELECT coalesce(max(seq), 0) FROM record", &out->last_seq, fail,
                          doing);
    if (rc != RC_OK)
        return rc == RC_BAD ? damaged(fail) : rc;
    if (!is_time(out->as_of_us) || !is_time(out->kept_from_us) || out->last_seq < 0 ||
        out->last_seq == INT64_MAX)
        return damaged(fail);
    out->as_of_us = out->as_of_us < now_us ? out->as_of_us : now_us;
    return RC_OK;
}

static enum rc begin(struct source *s, struct fail *fail)
{
    return db_exec(s->db, "BEGIN", fail, doing);
}

static void end(struct source *s)
{
    (void)sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
}

struct source *source_open(const char *path, struct source_said *out, struct fail *fail)
{
    struct source *s = xcalloc(1, sizeof(*s));
    int64_t application = 0;
    enum rc rc;

    db_init();
    *fail = (struct fail){0};
    *out = (struct source_said){0};
    buf_init(&s->bytes, JOURNAL_ENTRY_MAX_BYTES);
    rc = open_file(s, path, fail);
    if (rc == RC_OK)
        rc = begin(s, fail);
    if (rc == RC_OK) {
        rc = db_query_int(s->db, "PRAGMA application_id", &application, fail, doing);
        if (rc == RC_BAD || (rc == RC_OK && application != SCHEMA_APPLICATION))
            rc = refuse(fail, RC_BAD, no_ledger);
        if (rc == RC_OK)
            rc = schema_check(s->db, fail);
        if (rc == RC_OK)
            rc = check_tables(s, fail);
        if (rc == RC_OK)
            rc = prepare_all(s, fail);
        if (rc == RC_OK)
            rc = read_said(s, out, fail);
        end(s);
    }
    if (rc == RC_OK)
        return s;
    source_close(s);
    return NULL;
}

void source_close(struct source *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->find);
    sqlite3_finalize(s->records);
    sqlite3_finalize(s->outcomes);
    sqlite3_finalize(s->denied);
    sqlite3_close(s->db);
    buf_release(&s->bytes);
    free(s);
}

/* ---- records ---------------------------------------------------------------------------- */

enum rc source_find(struct source *s, int64_t seq, struct uuid *id, bool *is_there,
                    struct fail *fail)
{
    enum rc rc;

    sqlite3_bind_int64(s->find, 1, seq);
    rc = step(s->find, is_there, fail);
    if (rc == RC_OK && *is_there) {
        struct strv found = db_column(s->find, 0);

        if (found.n == UUID_BYTES)
            memcpy(id->b, found.p, UUID_BYTES);
        else
            rc = damaged(fail);
    }
    sqlite3_reset(s->find);
    return rc;
}

/* False for one that no gateway writes. */
static bool is_sane(const struct record *r)
{
    return is_time(r->start_us) && is_time(r->end_us) && r->end_us >= r->start_us &&
           wire_money_is_sane(r->cost) && wire_money_is_sane(r->list_cost);
}

/* Its bytes, whole, to s->bytes. */
static enum rc read_record(struct source *s, struct record *out, struct fail *fail)
{
    struct strv id = db_column(s->records, 1);

    buf_clear(&s->bytes);
    if (id.n != UUID_BYTES || record_bytes_of_row(s->records, 1, &s->bytes) != RC_OK ||
        record_decode(buf_view(&s->bytes), out) != RC_OK || !is_sane(out) ||
        memcmp(out->id.b, id.p, UUID_BYTES) != 0)
        return damaged(fail);
    return RC_OK;
}

enum rc source_records(struct source *s, int64_t after, int64_t to, size_t max,
                       source_record_fn *fn, void *arg, struct fail *fail)
{
    struct record *r = xmalloc(sizeof(*r));
    int64_t last = after;
    bool is_row = true;
    enum rc rc = begin(s, fail);

    sqlite3_bind_int64(s->records, 1, after);
    sqlite3_bind_int64(s->records, 2, to);
    sqlite3_bind_int64(s->records, 3, (int64_t)max);
    while (rc == RC_OK) {
        int64_t seq;

        rc = step(s->records, &is_row, fail);
        if (rc != RC_OK || !is_row)
            break;
        seq = sqlite3_column_int64(s->records, 0);
        rc = seq > last && seq <= to ? read_record(s, r, fail) : damaged(fail);
        if (rc == RC_OK)
            rc = fn(seq, &r->id, buf_view(&s->bytes), arg, fail);
        last = seq;
    }
    sqlite3_reset(s->records);
    end(s);
    free(r);
    return rc;
}

/* ---- outcomes and refusals ---------------------------------------------------------------- */

/* A text that a record could have, by its number; false for what is none. */
static bool text_at(sqlite3_stmt *stmt, int number, int at, struct strv *out)
{
    *out = db_column(stmt, at);
    return out->n <= RECORD_TEXT_MAX_BYTES &&
           (sqlite3_column_int64(stmt, number) == 0 || sqlite3_column_type(stmt, at) == SQLITE_TEXT);
}

/* Is it behind the last row?  n numbers from column 0 on, which become the last. */
static bool ascends(sqlite3_stmt *stmt, int n, bool *is_first, int64_t *last)
{
    bool is_more = *is_first;

    for (int i = 0; i < n; i++) {
        int64_t value = sqlite3_column_int64(stmt, i);

        if (!is_more && value < last[i])
            return false;
        is_more |= value > last[i];
        last[i] = value;
    }
    *is_first = false;
    return is_more;
}

static bool outcome_of_row(sqlite3_stmt *row, struct task_note *out)
{
    int64_t outcome = sqlite3_column_int64(row, 1);

    out->at_us = sqlite3_column_int64(row, 0);
    out->outcome = outcome > TASK_OPEN && outcome <= TASK_ABANDONED ? (enum task_outcome)outcome
                                                                    : TASK_OPEN;
    return is_time(out->at_us) && out->outcome != TASK_OPEN && text_at(row, 2, 3, &out->task) &&
           out->task.n > 0 && text_at(row, 4, 5, &out->team) && text_at(row, 6, 7, &out->key);
}

enum rc source_outcomes(struct source *s, int64_t since_us, source_outcome_fn *fn, void *arg,
                        struct fail *fail)
{
    int64_t last[3] = {0};
    bool is_row = true, is_first = true;
    enum rc rc;

    sqlite3_bind_int64(s->outcomes, 1, since_us);
    while ((rc = step(s->outcomes, &is_row, fail)) == RC_OK && is_row) {
        struct task_note note = {0};

        rc = ascends(s->outcomes, 3, &is_first, last) && outcome_of_row(s->outcomes, &note)
                 ? fn(&note, arg, fail)
                 : damaged(fail);
        if (rc != RC_OK)
            break;
    }
    sqlite3_reset(s->outcomes);
    return rc;
}

static bool denied_of_row(sqlite3_stmt *row, struct denied_note *out)
{
    struct strv *texts[] = {&out->code,    &out->key,         &out->team,
                            &out->feature, &out->environment, &out->limit};
    int64_t bucket = sqlite3_column_int64(row, 0), count = sqlite3_column_int64(row, DENIED_KEY);

    for (int i = 0; i < 6; i++) {
        if (!text_at(row, 1 + i, DENIED_KEY + 1 + i, texts[i]))
            return false;
    }
    out->at_us = bucket * rollup_width_us(LEVEL_QUARTER);
    out->count = (uint64_t)count;
    return count >= 0;
}

enum rc source_denied(struct source *s, int64_t since_us, source_denied_fn *fn, void *arg,
                      struct fail *fail)
{
    int64_t last[DENIED_KEY] = {0}, most = rollup_bucket(LEVEL_QUARTER, last_us);
    bool is_row = true, is_first = true;
    enum rc rc;

    sqlite3_bind_int64(s->denied, 1, rollup_bucket(LEVEL_QUARTER, since_us));
    while ((rc = step(s->denied, &is_row, fail)) == RC_OK && is_row) {
        struct denied_note note = {0};

        rc = ascends(s->denied, DENIED_KEY, &is_first, last) && last[0] >= 0 && last[0] <= most &&
                     denied_of_row(s->denied, &note)
                 ? fn(&note, arg, fail)
                 : damaged(fail);
        if (rc != RC_OK)
            break;
    }
    sqlite3_reset(s->denied);
    return rc;
}
