/*
 * tally.h - what each task came to, by column: so that a report on tasks need not read their
 * requests.
 *
 * A block is of TALLY_BLOCK tasks by number, and of the blocks of facts up to one, which
 * tally_block.through names.  It is made once its tasks are an hour old.  A task that has a
 * line in a later block of facts, or an outcome since (table tally_again), is asked of its
 * lines as if there were no tally, until its block is made anew: so a tally is never wrong.
 *
 * Columns are stored as those of facts are (fact_pack.h), a task at the place of its number; what is
 * zero throughout is not stored.  Everything is made of facts and of the outcomes of tasks, and
 * is compared with them by the audit.
 */
#ifndef METERING_LEDGER_TALLY_H
#define METERING_LEDGER_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "metering/ledger/fact.h"
#include "metering/ledger/ledger_read.h"

enum {
    TALLY_BLOCK = FACT_BLOCK,
    TALLY_SHIFT = 12,           /* of a task's number: which block */
    TALLY_LINES_MAX = 1 << 20, /* of the tasks of a block; with more there is no tally */
};
/* Tasks whose lines began to come so long before the newest are old enough. */
#define TALLY_SETTLE_US (INT64_C(3600) * 1000000)

/* Whole numbers.  Stored by number: the list only grows at its end, before the parts. */
enum tally_number {
    TALLY_LINES = 0, /* with corrections; 0: it has none, or there is no such task */
    TALLY_COMBO,     /* of the first request, as the next three; 0: of corrections alone */
    TALLY_CUSTOMER,
    TALLY_USER,
    TALLY_TAGSET,
    TALLY_FIRST_END, /* microseconds: the least of all lines */
    TALLY_LAST_END,  /* the most, less the least */
    TALLY_STATE,     /* 0: open; else one more than the outcome */
    TALLY_CLOSED,    /* microseconds, less the most end; 0 of open ones */
    TALLY_VARIES,    /* bits by enum ledger_field_id: lines differ in it */
    TALLY_REQUESTS,
    TALLY_ERRORS,
    TALLY_PRICED,
    TALLY_UNPRICED,
    TALLY_SUPERSEDED,
    TALLY_LATE,
    TALLY_PLAIN,             /* how many there are */
    TALLY_PART_REQUESTS = 32, /* by enum ledger_part */
    TALLY_PART_PRICED = 48,
    TALLY_NUMBERS = 64,
};
/* Amounts. */
enum tally_amount {
    TALLY_COST = 0,
    TALLY_RETRY,
    TALLY_LATE_COST,
    TALLY_AMOUNTS_PLAIN,
    TALLY_PART_COST = 8, /* by enum ledger_part */
    TALLY_AMOUNTS = TALLY_PART_COST + LEDGER_PARTS,
    TALLY_AMOUNT_COLUMN = TALLY_NUMBERS, /* where their columns begin */
    TALLY_COLUMNS = TALLY_NUMBERS + TALLY_AMOUNTS,
};

/* Row of table tally that holds a column of a block. */
static inline int64_t tally_row(unsigned column, int64_t block)
{
    return (int64_t)column << 40 | block;
}
static inline int64_t tally_block_of(int64_t task)
{
    return task >> TALLY_SHIFT;
}

/* ---- making one (tally_make.c) ------------------------------------------------------- */

struct ledger_reader;
struct tally_make;

/* The tallies of a block of tasks, of the blocks of facts up to number `through`. */
struct tally_make *tally_make_new(int64_t block, int64_t through);
void tally_make_free(struct tally_make *m);
/*
 * Within a view: reads `blocks` blocks of facts more; *done: all.  Views may differ from call
 * to call; the outcomes are those of the last one.
 */
enum rc tally_make_step(struct tally_make *m, struct ledger_reader *r, unsigned blocks,
                        bool *done, struct fail *fail) RC_MUST;
int64_t tally_make_block(const struct tally_make *m);
int64_t tally_make_through(const struct tally_make *m);
/* When it is done: the least and the most end of any line, and whether there were too many. */
int64_t tally_make_first_us(const struct tally_make *m);
int64_t tally_make_last_us(const struct tally_make *m);
bool tally_make_is_none(const struct tally_make *m);
/* Every column that there may be, in order; no bytes: zero throughout. */
typedef enum rc tally_column_fn(unsigned column, struct strv bytes, void *arg,
                                struct fail *fail);
enum rc tally_make_columns(struct tally_make *m, tally_column_fn *fn, void *arg,
                           struct fail *fail) RC_MUST;

/* Within a view: what is to be made next; NULL: nothing is. */
enum rc tally_next(struct ledger_reader *r, struct tally_make **out, struct fail *fail) RC_MUST;

#endif
