#include "metering/ledger/repair.h"

#include <unistd.h>

#include "metering/ledger/folder_lock.h"
#include "metering/ledger/ingest_int.h"

enum { TELL_RECORDS = 64 };

/*
 * What is derived, but for what deleted lines left behind: rollups of their time, and tasks
 * that began then.
 */
static const char *const drop_all =
    "DELETE FROM fact; DELETE FROM fact_block; DELETE FROM cube; DELETE FROM cube_day;"
    "DELETE FROM tally; DELETE FROM tally_block; DELETE FROM tally_again;"
    "DELETE FROM line; DELETE FROM correction;";
static const char *const drop_rollups = "DELETE FROM rollup WHERE level=?1 AND bucket>=?2";
static const char *const drop_tasks =
    "UPDATE task SET body=x'', task_type=0, first_us=NULL, last_us=NULL, max_attempt=0 "
    "WHERE id NOT IN (SELECT id FROM temp.stays)";
static const char *const find_stays = "INSERT INTO temp.stays SELECT id FROM task WHERE first_us<?1";

static enum rc run_bound(struct ingest *in, const char *sql, const int64_t *values, int n,
                         struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(in->db, sql, fail);
    enum rc rc;

    if (!stmt)
        return fail->rc;
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(stmt, i + 1, values[i]);
    rc = db_run(stmt, fail, "delete what is derived");
    sqlite3_finalize(stmt);
    return rc;
}

static enum rc drop_derived(struct ingest *in, int64_t kept_from_us, struct fail *fail)
{
    enum rc rc = db_exec(in->db, drop_all, fail, "delete what is derived");

    for (int i = 0; rc == RC_OK && i < LEVEL_COUNT; i++) {
        const int64_t values[] = {i, rollup_bucket((enum rollup_level)i, kept_from_us)};

        rc = run_bound(in, drop_rollups, values, 2, fail);
    }
    if (rc == RC_OK)
        rc = db_exec(in->db, "CREATE TEMP TABLE stays(id INTEGER PRIMARY KEY)", fail,
                     "note tasks");
    if (rc == RC_OK)
        rc = run_bound(in, find_stays, &kept_from_us, 1, fail);
    if (rc == RC_OK)
        rc = db_exec(in->db, drop_tasks, fail, "delete what is derived");
    if (rc == RC_OK) {
        in->stays = db_prepare(in->db, "SELECT id FROM temp.stays WHERE id=?1", fail);
        rc = in->stays ? RC_OK : fail->rc;
    }
    ingest_restart_facts(in);
    return rc;
}

static enum rc make_all(struct ingest *in, ledger_repair_fn *told, void *arg,
                        struct ledger_repair *out, struct fail *fail)
{
    sqlite3_stmt *each = db_prepare(
        in->db, "SELECT r.seq, " RECORD_COLUMNS " FROM " RECORD_TABLES " ORDER BY r.seq", fail);
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    if (!each)
        return fail->rc;
    while (rc == RC_OK && (code = sqlite3_step(each)) == SQLITE_ROW) {
        struct record r;

        if (record_of_row(each, 1, &r) == RC_OK) {
            rc = ingest_record_again(in, &r, sqlite3_column_int64(each, 0), fail);
            out->records++;
        } else {
            out->unreadable++;
        }
        if (rc == RC_OK && out->records % TELL_RECORDS == 0 && !told(out->records, arg))
            rc = RC_EOF;
    }
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = db_failed(in->db, fail, "read the records");
    sqlite3_finalize(each);
    return rc;
}

static enum rc repair(struct ingest *in, ledger_repair_fn *told, void *arg,
                      struct ledger_repair *out, struct fail *fail)
{
    int64_t as_of_us = 0, kept_from_us = INT64_MIN;
    enum rc rc = ingest_begin(in, fail);

    if (rc == RC_OK)
        rc = db_query_int(in->db,
                          "SELECT coalesce((SELECT value FROM state WHERE name='as_of_us'), 0)",
                          &as_of_us, fail, "read the ledger");
    if (rc == RC_OK)
        rc = db_query_int(in->db,
                          "SELECT coalesce((SELECT value FROM state WHERE name='kept_from_us'), "
                          "-9223372036854775807 - 1)",
                          &kept_from_us, fail, "read the ledger");
    if (rc == RC_OK)
        rc = drop_derived(in, kept_from_us, fail);
    in->sums_from_us = kept_from_us;
    if (rc == RC_OK)
        rc = make_all(in, told, arg, out, fail);
    if (rc == RC_OK)
        rc = ingest_commit(in, as_of_us, fail);
    if (rc != RC_OK)
        ingest_rollback(in);
    return rc == RC_OK ? ingest_sync(in, fail) : rc;
}

enum rc ledger_repair(const char *database, const char *journal_dir, ledger_repair_fn *told,
                      void *arg, struct ledger_repair *out, struct fail *fail)
{
    struct ingest *in;
    int lock;
    enum rc rc;

    *out = (struct ledger_repair){0};
    *fail = (struct fail){0};
    if (access(database, F_OK) != 0) {
        *fail = (struct fail){.rc = RC_STATE, .doing = "open the ledger: there is none"};
        return RC_STATE;
    }
    rc = folder_lock(journal_dir, &lock, fail);
    if (rc == RC_OK && lock < 0) {
        *fail = (struct fail){.rc = RC_DENIED,
                              .doing = "repair a ledger while its gateway runs: stop it first"};
        return RC_DENIED;
    }
    if (rc != RC_OK)
        return rc;
    in = ingest_open(database, LEDGER_OPEN_BUSY_MS, fail);
    rc = in ? repair(in, told, arg, out, fail) : fail->rc;
    ingest_close(in);
    close(lock);
    return rc;
}
