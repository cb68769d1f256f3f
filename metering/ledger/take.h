/*
 * take.h - a set of books: a ledger that takes in those of several gateways, so that reports,
 * exports and closed months are over all of them.
 *
 * Records, outcomes of tasks, corrections and counts of refusals go through ingest, as they would
 * from a journal: once, by the record's id; rollups, columns and tasks with them.  How far another
 * ledger was taken in stands in the same transaction (`taken`), so that a process may end anywhere
 * and the next run goes on there.  A ledger is read whole, as far as it is new, before anything
 * of it is taken: of one that is damaged nothing is.
 *
 * Books are nobody's part of shared counters: a gateway does not start on them, and a ledger that
 * a gateway has started on is not made books.
 */
#ifndef METERING_LEDGER_TAKE_H
#define METERING_LEDGER_TAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

enum {
    TAKE_BATCH_RECORDS = 20000,              /* of one transaction */
    TAKE_OUTCOMES_BACK_S = 24 * 60 * 60,     /* outcomes and refusals are read again from so long
                                                before what was taken; those are there already */
};

enum take_flags {
    TAKE_AGAIN = 1, /* reads the ledger from its first record, whatever was taken before */
    TAKE_KEPT = 2,  /* also where it has deleted requests that these books never had */
};

/* What is done, how far it is, and of how much (0: not known). False: stop, which gives RC_EOF. */
typedef bool taker_told_fn(const char *doing, uint64_t done, uint64_t total, void *arg);

struct taken {
    uint64_t records;   /* that the books did not have */
    uint64_t known;     /* that were read again, and are there */
    uint64_t differing; /* not taken: their ids are of other records of the books */
    uint64_t refusals;  /* counts that were added */
    int64_t as_of_us;   /* the ledger was complete up to then */
};

struct taker;

/*
 * Opens or makes the books, and holds the lock of their journal folder (made where it is missing;
 * its parent is there).  NULL with fail: RC_DENIED where another process writes them, or where
 * they are a gateway's own ledger.
 */
struct taker *taker_open(const char *database, const char *journal_dir, taker_told_fn *told,
                         void *arg, struct fail *fail);
/*
 * Takes in one ledger.  Refusals as source_open's, RC_BAD for one that is damaged, RC_STATE also
 * for the books themselves, RC_DENIED where it has deleted what the books never had.  *out says
 * what is in the books then, whatever is returned.
 */
enum rc taker_take(struct taker *t, const char *path, unsigned flags, struct taken *out,
                   struct fail *fail) RC_MUST;
/*
 * After the last: adds up days and tasks for reports, and makes all durable.  is_whole: every
 * ledger of these books was taken, so they are complete up to the earliest that one said.
 * *as_of_us: up to when the books are complete.
 */
enum rc taker_finish(struct taker *t, bool is_whole, int64_t *as_of_us, struct fail *fail) RC_MUST;
/* Legal on NULL; what was not committed is undone. */
void taker_close(struct taker *t);

#endif
