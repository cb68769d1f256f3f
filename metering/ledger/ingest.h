/*
 * ingest.h - writes to the ledger's database: one transaction a batch.
 *
 * Between ingest_begin and ingest_commit everything is added once: a record whose
 * id is there already changes nothing.  After any failure the caller rolls back
 * and comes again with the same entries.  Belongs to one thread.
 */
#ifndef METERING_LEDGER_INGEST_H
#define METERING_LEDGER_INGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/record.h"

struct cube_make;
struct ingest;
struct stored_record;
struct tally_make;

enum {
    LEDGER_OPEN_BUSY_MS = 10000, /* the longest wait for the lock when opening */
    INGEST_BUSY_MS = 100,        /* the longest wait for another's lock, then RC_AGAIN */
    /* Held in memory, of each kind; who makes up names fills no more than this. */
    INGEST_WORDS_MAX = 1 << 16,
    INGEST_COMBOS_MAX = 1 << 13,
    INGEST_COMMONS_MAX = 1 << 13,
    INGEST_TASKS_MAX = 1 << 14,
    INGEST_TAGSETS_MAX = 1 << 13,
    INGEST_NAMES_BYTES = 4 << 20,    /* of their texts */
    INGEST_COMMONS_BYTES = 16 << 20, /* of what records share, encoded and decoded */
    INGEST_PAGES_BYTES = 16 << 20,   /* of the database (PRAGMA cache_size) */
    INGEST_ROWS_MAX = 512,           /* collected before they are written */
    INGEST_BODIES_BYTES = 1 << 20,   /* (the same) */
    INGEST_ROLLUPS_MAX = 1024,       /* added up in memory before they are written */
    INGEST_TASK_SUMS_MAX = 4096,
};

/* Opens or makes the database and migrates it; NULL with fail. */
struct ingest *ingest_open(const char *path, int busy_ms, struct fail *fail);
/* Legal on NULL. */
void ingest_close(struct ingest *in);

/* RC_AGAIN: locked by another. */
enum rc ingest_begin(struct ingest *in, struct fail *fail) RC_MUST;
/*
 * Decodes a record of the journal, whole or in parts, for ingest_decoded, in the batch that it
 * is for; of what records share only what is new is read.  Views live until then.  RC_BAD as
 * record_decode.
 */
enum rc ingest_decode(struct ingest *in, const struct stored_record *s,
                      struct record *out) RC_MUST;
/*
 * r as ingest_decode has left it. *is_new: false where the id was there.  That is not looked up
 * but noticed when rows are written: RC_AGAIN then, here or from what comes later in the batch.
 * The caller rolls back as after any failure; the next batch is careful, and tells which
 * records were there.
 */
enum rc ingest_decoded(struct ingest *in, const struct record *r, bool *is_new,
                       struct fail *fail) RC_MUST;
/* The same of a record that is encoded in bytes. */
enum rc ingest_record(struct ingest *in, const struct record *r, struct strv bytes,
                      bool *is_new, struct fail *fail) RC_MUST;
/* The earliest final outcome of a task stands. */
enum rc ingest_task(struct ingest *in, const struct task_note *note, struct fail *fail) RC_MUST;
enum rc ingest_denied(struct ingest *in, const struct denied_note *note,
                      struct fail *fail) RC_MUST;
/* One that is there already stays, but for a teller that it has not. */
enum rc ingest_crossing(struct ingest *in, const struct crossing_note *note,
                        struct fail *fail) RC_MUST;
/* Where a segment has been read to. */
enum rc ingest_position(struct ingest *in, const char *segment, uint64_t position,
                        struct fail *fail) RC_MUST;
/* The file is gone. */
enum rc ingest_forget(struct ingest *in, const char *segment, struct fail *fail) RC_MUST;
/* Adds to a counter of the state table. */
enum rc ingest_count(struct ingest *in, const char *name, uint64_t n,
                     struct fail *fail) RC_MUST;
/* Writes what was added up and commits; everything journalled before as_of_us is in. */
enum rc ingest_commit(struct ingest *in, int64_t as_of_us, struct fail *fail) RC_MUST;
/* The next batch, or this one, looks for each record before it writes it; until a commit. */
bool ingest_is_careful(const struct ingest *in);
/* Undoes all since ingest_begin, and reads the database anew. Legal outside a transaction. */
void ingest_rollback(struct ingest *in);
/* What it holds in memory, in bytes: pages of the database, and names with their numbers. */
void ingest_memory(const struct ingest *in, uint64_t *pages, uint64_t *names);

/*
 * Outside a transaction: deletes, in one of its own, up to max lines that ended before
 * kept_from_us (a bucket's bound at every level), their records, and what belongs to these
 * alone; the rollups stay.  kept_from_us is noted with the first of them and never falls.
 * *n: lines deleted.  *more: there may be others, or what belonged to lines that are deleted; it is
 * to be called again.  RC_AGAIN: locked by another.
 */
enum rc ingest_expire(struct ingest *in, int64_t kept_from_us, size_t max, size_t *n,
                      bool *more, struct fail *fail) RC_MUST;

/* Outside a transaction: a number of the state table. RC_AGAIN: locked by another. */
enum rc ingest_note_state(struct ingest *in, const char *name, int64_t value,
                          struct fail *fail) RC_MUST;

/*
 * Outside a transaction: stores one block of facts (fact.h) where records of an older version
 * wait for it.  *more: there may be another.  RC_AGAIN: locked by another.
 */
enum rc ingest_seal(struct ingest *in, bool *more, struct fail *fail) RC_MUST;
/*
 * The same for the charges of a block that an earlier version wrote: call it until *more is false,
 * then never again.
 */
enum rc ingest_charge(struct ingest *in, bool *more, struct fail *fail) RC_MUST;
/* A transaction of its own: stores a day that is added up (cube.h). RC_AGAIN: locked. */
enum rc ingest_cube(struct ingest *in, struct cube_make *m, struct fail *fail) RC_MUST;
/* Deletes one day that an earlier version added up in another way, in a transaction; *any: there was one. */
enum rc ingest_drop_earlier_cube(struct ingest *in, bool *any, struct fail *fail) RC_MUST;
/*
 * The same of what a block of tasks came to (tally.h).  Nothing may be ingested between the
 * view of its last step and this.
 */
enum rc ingest_tally(struct ingest *in, struct tally_make *m, struct fail *fail) RC_MUST;

/* Outside a transaction: all that was committed reaches the disk, so that its journal may go.
 */
enum rc ingest_sync(struct ingest *in, struct fail *fail) RC_MUST;

/* In a transaction: a number drawn when the ledger was made, and of this start of its writer.
 */
enum rc ingest_number_start(struct ingest *in, int64_t *installation, int64_t *start,
                            struct fail *fail) RC_MUST;
/* Where a segment was read to; RC_STATE: it is not known. */
enum rc ingest_find_segment(struct ingest *in, const char *segment, uint64_t *position,
                            struct fail *fail) RC_MUST;
/* Names of all known segments, one call each. */
enum rc ingest_each_segment(struct ingest *in, void (*fn)(const char *name, void *arg),
                            void *arg, struct fail *fail) RC_MUST;
/* The stored record of an id, appended to out; RC_STATE: none. */
enum rc ingest_find_record(struct ingest *in, const struct uuid *id, struct buf *out,
                           struct fail *fail) RC_MUST;

#endif
