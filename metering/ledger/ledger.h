/*
 * ledger.h - the journal's reader: ingest into SQLite, rollups, recovery.
 *
 * The ingest thread tails the segments of all workers and commits batches: rows,
 * rollups and the position in each segment in one transaction; ids are unique, so
 * that a batch may be replayed.  A locked or full database only lets the journal
 * wait.  The schema is metering/ledger/schema.h; questions are asked through
 * ledger_read.h.
 */
#ifndef METERING_LEDGER_LEDGER_H
#define METERING_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "metering/ledger/record.h"

enum ledger_sync { SYNC_ALWAYS = 0, SYNC_INTERVAL, SYNC_NEVER };

struct ledger_options {
    const char *path;        /* of the database */
    const char *journal_dir;
    enum ledger_sync sync;
    int sync_interval_ms;    /* for SYNC_INTERVAL; 200 */
    int ingest_interval_ms;  /* the longest that an entry waits; 50 */
};

/*
 * What an earlier process had begun and not ended, found at start: recorded as
 * `interrupted` with its estimate.  settle is called for each, so that its
 * reservations can be settled.
 */
typedef void ledger_recovered_fn(const struct record *r, void *arg);

struct ledger;

/*
 * Opens or makes the database, migrates it, reads the segments that earlier
 * processes left (torn tails are cut and counted), completes what was interrupted,
 * then starts the ingest thread.  Blocks while it does.
 */
struct ledger *ledger_start(const struct ledger_options *options, ledger_recovered_fn *recovered,
                            void *arg, struct fail *fail);
/* Ingests all that is flushed, then stops the thread and closes. */
void ledger_stop(struct ledger *ledger);
/* Waits until everything flushed before the call is in the database; for tests and reports. */
void ledger_catch_up(struct ledger *ledger);

struct ledger_stats {
    uint64_t ingested, interrupted, torn_tails, torn_bytes, batches, failures;
    uint64_t waiting_bytes; /* journalled, not yet ingested */
    int64_t lag_us;
};
void ledger_stats(struct ledger *ledger, struct ledger_stats *out);

#endif
