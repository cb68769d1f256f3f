/*
 * journal.h - what happened, on disk before anyone relies on it.
 *
 * Each worker appends to a segment of its own; BEGIN before a request is forwarded,
 * END when it is over.  Entries carry length and CRC-32C.  Appending collects in
 * memory; journal_flush writes all of a loop turn with one write(2), after which a
 * killed process has lost nothing that was flushed.  A thread of the ledger syncs
 * by policy.  Segments rotate at JOURNAL_SEGMENT_BYTES and are removed once ingested.
 *
 * Segment: header "TGJ1" u32 version, u64 created_us, then entries:
 *   u32 length of payload | u32 CRC-32C of kind and payload | u8 kind | payload
 * little endian.  A tail that does not check is cut and counted.
 *
 * The payload of a BEGIN or END is a record whole, which begins with the tag of its id; or
 *   JOURNAL_FORM_PARTS | varint distance | id | what the record does not share
 * where the entry that starts `distance` bytes before this one is a BEGIN of another form:
 *   JOURNAL_FORM_COMMON | what records share
 * which stands in the same segment, at most JOURNAL_COMMON_REACH before.  Versions before these
 * forms take both for records that they do not understand, and keep the file.
 */
#ifndef METERING_LEDGER_JOURNAL_H
#define METERING_LEDGER_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "metering/ledger/record.h"

enum {
    JOURNAL_SEGMENT_BYTES = 64 << 20,
    JOURNAL_ENTRY_MAX_BYTES = 64 << 10,
    JOURNAL_RESERVE_BYTES = 16 << 20, /* free space below which nothing new is admitted */
    JOURNAL_PENDING_BYTES = 64 << 20, /* the most held in memory while the disk is full; nothing
                                         new is admitted above half of it */
    JOURNAL_HEADER_BYTES = 16,
    JOURNAL_ENTRY_OVERHEAD = 9, /* length, CRC, kind */
    JOURNAL_RETRY_MS = 20,      /* between writes while they fail */
    JOURNAL_FORM_COMMON = 0x7e, /* the first byte of a payload; no record begins with them */
    JOURNAL_FORM_PARTS = 0x7f,
    JOURNAL_COMMON_MAX_BYTES = 2 << 10, /* what is longer is not shared */
    JOURNAL_COMMON_REACH = 1 << 20,     /* from the start of the one entry to that of the other */
};

enum journal_kind {
    JOURNAL_BEGIN =
        1,           /* a record with what is known before the call, usage its worst estimate */
    JOURNAL_END = 2, /* the record, complete */
    JOURNAL_OUTCOME = 3, /* a task's outcome */
    JOURNAL_DENIED = 4,  /* counts of refusals since the last: not spend */
    JOURNAL_CROSSED = 5, /* a threshold of a budget was reached */
};

/* PUT /_tollgate/tasks/<id>/outcome */
enum task_outcome { TASK_OPEN = 0, TASK_COMPLETED, TASK_FAILED, TASK_ABANDONED };
/* "open", "completed", "failed", "abandoned" */
const char *task_outcome_name(enum task_outcome o);
/* The three final ones; false for anything else. */
bool task_outcome_parse(struct strv name, enum task_outcome *o);

struct task_note {
    int64_t at_us;
    struct strv team, task, key;
    enum task_outcome outcome;
};

/* Refusals, added up per minute and reason. */
struct denied_note {
    int64_t at_us;
    struct strv code; /* refusal_code */
    struct strv key, team, feature, environment, limit;
    uint64_t count;
};

/*
 * A threshold of a budget was reached: once a window and amount, whoever sees it and however
 * often.  Window, scope and amounts are the limit's own, in its unit (money: nano-USD).
 */
struct crossing_note {
    int64_t at_us; /* when it was seen */
    struct strv limit, scope;
    int64_t start_us, end_us;
    unsigned percent;       /* of amount */
    uint64_t amount, spent; /* what the limit was, and what was spent of it then */
    struct strv teller;     /* the owner (proxy/owner.h) whose alerts tell of it; empty: nobody
                               does yet.  A later note of the same threshold may name one */
};

struct journal;

/*
 * One writer, for worker number `worker`, in dir (made where missing, mode 0700).
 * Opened after ledger_start, which takes what it finds for the past's.  A segment is
 * locked (flock) as long as its writer lives, so that others can tell.
 */
struct journal *journal_open(const char *dir, unsigned worker, struct fail *fail);
/*
 * Drops what was not flushed, for a writer that told its caller that it failed: what an entry has
 * written of itself already is a torn tail then, and no more may be written before journal_close.
 */
void journal_forget(struct journal *j);
/* Flushes and closes; detached from the ledger before. Legal on NULL. */
void journal_close(struct journal *j);

/*
 * True while an admitted request can be journalled to its end: the last write
 * succeeded and the disk has room.  Admission asks this; looks at the disk at
 * most once a second.  now_us: clock_mono_us.
 */
bool journal_is_writable(struct journal *j, int64_t now_us);

/*
 * Collect.  RC_LIMIT where an entry is larger than JOURNAL_ENTRY_MAX_BYTES (a record
 * never is) or JOURNAL_PENDING_BYTES are held: admission closes at half of that, so
 * that the ENDs of what runs find room.
 */
enum rc journal_begin(struct journal *j, const struct record *r) RC_MUST;
enum rc journal_end(struct journal *j, const struct record *r) RC_MUST;
enum rc journal_task(struct journal *j, const struct task_note *note) RC_MUST;
enum rc journal_denied(struct journal *j, const struct denied_note *note) RC_MUST;
enum rc journal_crossed(struct journal *j, const struct crossing_note *note) RC_MUST;
/* Anything collected? */
bool journal_is_dirty(const struct journal *j);
/*
 * One write of all that was collected.  On failure (disk full) the bytes are kept
 * and tried again at the next flush; RC_IO then, and journal_is_writable is false
 * until one succeeds.  Failing writes are repeated no oftener than JOURNAL_RETRY_MS;
 * who gets RC_IO calls again after that, also when nothing else happens.
 */
enum rc journal_flush(struct journal *j, struct fail *fail) RC_MUST;
/* Descriptor of the current segment. */
int journal_fd(const struct journal *j);

/*
 * Durability.  Bytes are counted over all segments of the writer.  The ledger's
 * thread syncs the journals attached to it (ledger_attach); where the policy is
 * SYNC_ALWAYS, a worker that has flushed notes journal_written, calls
 * ledger_sync_soon and lets the request wait until journal_synced has reached the
 * note; journal_sync_event is an eventfd (non-blocking) that becomes readable when it
 * has moved.  Read it to clear it.
 */
uint64_t journal_written(const struct journal *j);
uint64_t journal_synced(const struct journal *j);
int journal_sync_event(const struct journal *j);

/* The payloads of the notes; views look into bytes. RC_BAD for what was not so written. */
enum rc task_note_encode(const struct task_note *note, struct buf *out) RC_MUST;
enum rc task_note_decode(struct strv bytes, struct task_note *out) RC_MUST;
enum rc denied_note_encode(const struct denied_note *note, struct buf *out) RC_MUST;
enum rc denied_note_decode(struct strv bytes, struct denied_note *out) RC_MUST;
enum rc crossing_note_encode(const struct crossing_note *note, struct buf *out) RC_MUST;
enum rc crossing_note_decode(struct strv bytes, struct crossing_note *out) RC_MUST;

#endif
