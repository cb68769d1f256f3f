/*
 * db.h - SQLite as the ledger uses it: the only place that knows its error codes.
 */
#ifndef METERING_LEDGER_DB_H
#define METERING_LEDGER_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"

/* Fills fail from the connection's last error; gives RC_AGAIN for a lock, RC_BAD for a file
 * that is no database, RC_IO for everything else. */
enum rc db_failed(sqlite3 *db, struct fail *fail, const char *doing);

/* Before the first connection: settings of the whole process. */
void db_init(void);

/* Runs statements without results. */
enum rc db_exec(sqlite3 *db, const char *sql, struct fail *fail, const char *doing) RC_MUST;
/* Kept statement; NULL with fail. Finalised by the caller. */
sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, struct fail *fail);
/* Steps a statement that gives no row, and resets it. */
enum rc db_run(sqlite3_stmt *stmt, struct fail *fail, const char *doing) RC_MUST;
/* First column of the first row; RC_STATE where there is none. Resets. */
enum rc db_int(sqlite3_stmt *stmt, int64_t *out, struct fail *fail, const char *doing) RC_MUST;
/* The same for a text of its own, without parameters. */
enum rc db_query_int(sqlite3 *db, const char *sql, int64_t *out, struct fail *fail,
                     const char *doing) RC_MUST;

/* Text or bytes that stay where they are until the statement is reset. */
void db_bind_text(sqlite3_stmt *stmt, int at, struct strv s);
void db_bind_blob(sqlite3_stmt *stmt, int at, struct strv s);
/* View of a column's bytes, until the next step or reset. */
struct strv db_column(sqlite3_stmt *stmt, int at);

#endif
