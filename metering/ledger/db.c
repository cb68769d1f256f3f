#include "metering/ledger/db.h"

#include <errno.h>
#include <pthread.h>

#include "base/log.h"

/*
 * SQLite takes a file that the disk would not give for a damaged one.  What the system said of the
 * database or its log then; 0: they were read.  Once it said so it is believed of what follows too.
 */
static int unread_errno(sqlite3 *db)
{
    sqlite3_file *log = NULL;
    int said = 0;

    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &said);
    if (said == EIO || said == ENXIO)
        return said;
    said = 0;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log &&
        log->pMethods)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &said);
    return said == EIO || said == ENXIO ? said : 0;
}

enum rc db_failed(sqlite3 *db, struct fail *fail, const char *doing)
{
    int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    char text[512];

    *fail = (struct fail){.rc = RC_IO, .doing = doing};
    switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        fail->rc = RC_AGAIN;
        fail->sys = EBUSY;
        break;
    case SQLITE_FULL:
        fail->sys = ENOSPC;
        break;
    case SQLITE_CORRUPT:
        fail->sys = unread_errno(db);
        fail->rc = fail->sys ? RC_IO : RC_BAD;
        break;
    case SQLITE_NOTADB:
        fail->rc = RC_BAD;
        break;
    case SQLITE_READONLY:
        fail->sys = EROFS;
        break;
    default:
        fail->sys = db ? sqlite3_system_errno(db) : ENOMEM;
        break;
    }
    if (fail->rc != RC_AGAIN)
        log_line(LOG_DEBUG, "ledger", doing, "sqlite=%d reason=%s", code,
                 log_quote(strv_z(db ? sqlite3_errmsg(db) : "no memory"), text, sizeof(text)));
    return fail->rc;
}

/* Counting every allocation takes a lock each; nobody asks for the counts. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

void db_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, configure);
}

enum rc db_exec(sqlite3 *db, const char *sql, struct fail *fail, const char *doing)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? RC_OK
                                                                : db_failed(db, fail, doing);
}

sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, struct fail *fail)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK) {
        db_failed(db, fail, "prepare a question to the ledger");
        return NULL;
    }
    return stmt;
}

enum rc db_run(sqlite3_stmt *stmt, struct fail *fail, const char *doing)
{
    int code = sqlite3_step(stmt);
    enum rc rc = code == SQLITE_DONE ? RC_OK : db_failed(sqlite3_db_handle(stmt), fail, doing);

    sqlite3_reset(stmt);
    return rc;
}

enum rc db_int(sqlite3_stmt *stmt, int64_t *out, struct fail *fail, const char *doing)
{
    int code = sqlite3_step(stmt);
    enum rc rc = RC_OK;

    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else if (code == SQLITE_DONE)
        rc = RC_STATE;
    else
        rc = db_failed(sqlite3_db_handle(stmt), fail, doing);
    sqlite3_reset(stmt);
    return rc;
}

enum rc db_query_int(sqlite3 *db, const char *sql, int64_t *out, struct fail *fail,
                     const char *doing)
{
    sqlite3_stmt *stmt = db_prepare(db, sql, fail);
    enum rc rc = stmt ? db_int(stmt, out, fail, doing) : fail->rc;

    sqlite3_finalize(stmt);
    return rc;
}

/* An empty text is a text, not NULL. */
void db_bind_text(sqlite3_stmt *stmt, int at, struct strv s)
{
    sqlite3_bind_text(stmt, at, s.n ? s.p : "", (int)s.n, SQLITE_STATIC);
}

void db_bind_blob(sqlite3_stmt *stmt, int at, struct strv s)
{
    sqlite3_bind_blob(stmt, at, s.n ? s.p : "", (int)s.n, SQLITE_STATIC);
}

struct strv db_column(sqlite3_stmt *stmt, int at)
{
    const void *p = sqlite3_column_blob(stmt, at);

    return strv_make(p, p ? (size_t)sqlite3_column_bytes(stmt, at) : 0);
}
