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
#include "metering/ledger/journal.h"
#include "metering/ledger/record.h"

/* The longest that ledger_stop waits for the database. */
enum { LEDGER_STOP_MS = 5000 };

enum ledger_sync { SYNC_ALWAYS = 0, SYNC_INTERVAL, SYNC_NEVER };

struct cube_limits;
struct ledger_options {
    const char *path; /* of the database */
    const char *journal_dir;
    enum ledger_sync sync;
    int sync_interval_ms;   /* for SYNC_INTERVAL; 200 */
    int ingest_interval_ms; /* the longest that an entry waits, ten times that under load; 50 */
    int keep_days; /* days of UTC after which lines are deleted; 0: never.  Rollups stay */
    int patience_ms; /* the longest that ledger_start waits for a locked or full database; 10 s */
    const struct cube_limits *cube_limits; /* borrowed; NULL: as large as may be (cube.h) */
};

/*
 * What an earlier process had begun and not ended, found at start: recorded as
 * `interrupted` with its estimate.  settle is called for each, so that its
 * reservations can be settled.
 */
typedef void ledger_recovered_fn(const struct record *r, void *arg);

struct ledger;

/*
 * Takes the journal folder for itself (flock on its file `lock`; RC_DENIED where another
 * process has it), opens or makes the database, migrates it, reads the segments that earlier
 * processes left (torn tails are cut and counted), completes what was interrupted,
 * then starts the ingest and the sync thread.  Blocks while it does.  Journals are opened
 * after it.  path and journal_dir are copied.  A recovered record is told only once it is
 * durable, and again at the next start where this process dies before it has told all.
 *
 * A database that somebody holds locked, or whose disk is full, is waited for patience_ms; then
 * the ingest thread does all of the above as soon as it can, and tells from there.  Until
 * then ledger_is_open is false, and the journal waits.
 */
struct ledger *ledger_start(const struct ledger_options *options,
                            ledger_recovered_fn *recovered, void *arg, struct fail *fail);
/*
 * Ingests all that is flushed (what a locked or full database does not take within
 * LEDGER_STOP_MS stays in the journal), then stops the threads and closes.  Journals are
 * detached and closed before.  Legal on NULL.
 */
void ledger_stop(struct ledger *ledger);

/*
 * A writer's segments are synced by policy from now on, until detached. Any thread.  ledger NULL is
 * legal: a writer without a ledger, whose segments nobody syncs.
 */
void ledger_attach(struct ledger *ledger, struct journal *journal);
void ledger_detach(struct ledger *ledger, struct journal *journal);
/* Wakes the sync thread; after journal_flush with SYNC_ALWAYS. Never blocks. */
void ledger_sync_soon(struct ledger *ledger);
/* Waits until everything flushed before the call is in the database; for tests and reports. */
void ledger_catch_up(struct ledger *ledger);
/* The same, for at most timeout_ms; RC_TIMEOUT where the database does not take it. */
enum rc ledger_catch_up_within(struct ledger *ledger, int timeout_ms) RC_MUST;

/* The database is open, and what earlier processes left is in it; then for ever. Any thread. */
bool ledger_is_open(struct ledger *ledger);

/*
 * A random number of this ledger, drawn when it was made, and how often it was started,
 * this time included: two processes of one ledger never have the same pair.  Only once it is open.
 */
void ledger_identity(const struct ledger *ledger, int64_t *installation, int64_t *start);

struct ledger_stats {
    uint64_t ingested;               /* records, by this process */
    uint64_t duplicates;             /* records that were there already */
    uint64_t interrupted;            /* completed at start */
    uint64_t torn_tails, torn_bytes; /* found by this process */
    uint64_t bad_entries;            /* whose CRC holds but whose content does not decode */
    uint64_t batches, failures;      /* transactions committed; attempts that failed */
    uint64_t put_off; /* steps of what is done in pauses that failed: chore.h */
    uint64_t syncs, sync_failures;
    uint64_t segments;      /* files now in the journal folder */
    uint64_t waiting_bytes; /* journalled, not yet ingested */
    uint64_t page_bytes;    /* of the database, in the writer's memory; at most INGEST_PAGES_BYTES */
    uint64_t name_bytes;    /* of texts that it knows the numbers of (INGEST_*_MAX) */
    uint64_t expired;       /* lines deleted for their age, by this process */
    bool has_chores; /* work in pauses is left, as far as is known: adding up, deleting old lines */
    int64_t lag_us; /* since the time up to which all is ingested; 0 where nothing waits */
};
/* Any thread. */
void ledger_stats(struct ledger *ledger, struct ledger_stats *out);

#endif
