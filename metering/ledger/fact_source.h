/*
 * fact_source.h - blocks of requests by column (fact.h) from the tables: records and their lines.
 */
#ifndef METERING_LEDGER_FACT_SOURCE_H
#define METERING_LEDGER_FACT_SOURCE_H

#include "base/rc.h"
#include "metering/ledger/db.h"
#include "metering/ledger/fact.h"

/* Statements of a connection that read records and lines. */
struct fact_source {
    sqlite3_stmt *records, *line, *seq_of;
};
enum rc fact_source_open(struct fact_source *s, sqlite3 *db, struct fail *fail) RC_MUST;
void fact_source_close(struct fact_source *s);
/*
 * Adds the records after number `after`, in order, until the block is full.  A record that
 * has no line or does not decode is passed over: it is in no sum either.
 */
enum rc fact_load(struct fact_source *s, int64_t after, struct fact_block *b,
                  struct fail *fail) RC_MUST;

#endif
