/*
 * read_tally.h - of the reader: what tasks came to (tally.h), and which of that holds.
 */
#ifndef METERING_LEDGER_READ_TALLY_H
#define METERING_LEDGER_READ_TALLY_H

#include "metering/ledger/read_fact.h"
#include "metering/ledger/tally.h"

/* Within a view, after facts_look: which blocks there are. */
enum rc tallies_look(struct ledger_reader *r, struct fail *fail) RC_MUST;
/* A block of tallies; NULL where there is none, or it is of lines that are deleted. */
const struct tally_place *tally_find(const struct ledger_reader *r, int64_t block);

/*
 * Tasks whose tally does not say all: they have a line in a later block of facts, or an outcome
 * since.  The same one may be told several times, and tasks that have no tally are too.
 */
typedef void tally_stale_fn(int64_t task, void *arg);
enum rc tallies_stale(struct ledger_reader *r, tally_stale_fn *fn, void *arg,
                      struct fail *fail) RC_MUST;
/* id, closed_us, outcome of the tasks [low, high) that have one; NULL: fail says why. */
sqlite3_stmt *tally_outcomes(struct ledger_reader *r, int64_t low, int64_t high,
                             struct fail *fail);

/* A block of tallies that is read. Columns are valid until the next tally_stand_at. */
struct tally {
    struct ledger_reader *reader;
    int64_t block;
    enum rc rc; /* of what failed first, and how */
    struct fail fail;
    uint64_t got[2], zero[2];
    int64_t *number[TALLY_NUMBERS];
    money_int *amount[TALLY_AMOUNTS];
};
void tally_open(struct tally *t, struct ledger_reader *r);
void tally_close(struct tally *t);
void tally_stand_at(struct tally *t, int64_t block);
/* NULL: zero throughout, or a failure. */
const int64_t *tally_number(struct tally *t, unsigned column);
const money_int *tally_amount(struct tally *t, unsigned which);

#endif
