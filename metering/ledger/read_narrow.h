/*
 * read_narrow.h - of the reader: which requests may be in a row at all, told by one column, where the
 * rows are of few customers or users.
 */
#ifndef METERING_LEDGER_READ_NARROW_H
#define METERING_LEDGER_READ_NARROW_H

#include "metering/ledger/read_fact_pick.h"

struct narrow {
    unsigned column;         /* FACT_CUSTOMER or FACT_USER */
    unsigned char *is_asked; /* by the column's value: some row may be of it; NULL: nothing is told */
    size_t n;                /* what is beyond is of no row */
};

/*
 * Of the rows that the answer has: tells something where other rows were left out, and rows are by
 * user or customer.  Looks up their words in the answer's view.  Once begun it is only read, by any
 * number of threads.
 */
enum rc narrow_begin(struct narrow *w, const struct answer *a, struct fail *fail) RC_MUST;
void narrow_end(struct narrow *w);
/*
 * Places of the requests of the block at hand that may be in a row: how many.  *all: nothing is told
 * of this block, at is not written.  What fails is noted in f.
 */
size_t narrow_places(const struct narrow *w, struct facts *f, uint16_t *at, bool *all);
/*
 * The block at hand becomes one of n of its requests, at[0..n): what tells rows apart and periods is
 * there of these, and no other column may be asked for.  *place is written, and must stay as long as
 * the block is at hand.
 */
void narrow_block(struct fact_pick *p, const uint16_t *at, size_t n, struct fact_place *place);

#endif
