/*
 * schema.h - the ledger's tables, their versions and how one becomes the next.
 *
 * docs/internals/ledger.md describes the tables; only ingest writes them.
 */
#ifndef METERING_LEDGER_SCHEMA_H
#define METERING_LEDGER_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

struct sqlite3;

enum {
    SCHEMA_VERSION = 14,
    SCHEMA_APPLICATION = 1414481740, /* "TOLL", which the file says of itself */
};

/* The column `attempt` of lines that are corrections: of a record that was priced, or was not. */
enum { ATTEMPT_CORRECTION = -1, ATTEMPT_LATE_PRICE = -2 };

/* Rollups are kept at three widths; the finest divides every zone's offset in use since 1972.
 */
enum rollup_level { LEVEL_QUARTER = 0, LEVEL_HOUR, LEVEL_DAY, LEVEL_COUNT };

/* Microseconds of one bucket of the level. */
int64_t rollup_width_us(enum rollup_level level);
/* Bucket that holds us: us / width, rounded down. */
int64_t rollup_bucket(enum rollup_level level, int64_t us);

/* Makes the tables, or migrates older ones, in one transaction. RC_STATE: newer than this
 * program. */
enum rc schema_migrate(struct sqlite3 *db, struct fail *fail) RC_MUST;
/* RC_STATE where the database is not of SCHEMA_VERSION. */
enum rc schema_check(struct sqlite3 *db, struct fail *fail) RC_MUST;

/* Makes a set of books of the ledger (take.h): tables of what was taken in from where. */
enum rc schema_make_books(struct sqlite3 *db, struct fail *fail) RC_MUST;
/* Was it made one? */
enum rc schema_is_books(struct sqlite3 *db, bool *is_books, struct fail *fail) RC_MUST;

#endif
