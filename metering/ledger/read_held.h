/*
 * read_held.h - of the reader: percentiles of rows whose sums are there, from columns.
 */
#ifndef METERING_LEDGER_READ_HELD_H
#define METERING_LEDGER_READ_HELD_H

#include "metering/ledger/read_fact_pick.h"

/*
 * Fills percentiles of the rows, and of the total where no row is left out: one pass over the
 * columns, by several threads, takes costs and times of all their requests, at most
 * LEDGER_VALUES_MAX (RC_LIMIT).
 */
enum rc answer_held_percentiles(struct answer *a, int64_t from_us, int64_t to_us,
                                struct fail *fail) RC_MUST;

/*
 * The answer's rows by number of what a pick, by number, met; PICK_NEW where it was not asked.  All
 * zero is empty; who has it frees `of`.
 */
struct held_rows {
    int32_t *of;
    size_t cap;
};
/* Room for n numbers. */
void held_rows_grow(struct held_rows *rows, size_t n);
/*
 * Of the block at hand, which was picked: rows in place of numbers, PICK_NONE where the answer has
 * none.  How many are in a row.  What fails is in p->facts.
 */
size_t held_rows_find(struct held_rows *rows, struct fact_pick *p);

/*
 * read_counted.c: the same where rows are few, whose requests may be many; answer_can_count says
 * whether they are.
 */
bool answer_can_count(const struct answer *a);
/* *done false: the buckets that hold a rank have too many requests, and nothing was found. */
enum rc answer_counted_percentiles(struct answer *a, int64_t from_us, int64_t to_us, bool *done,
                                   struct fail *fail) RC_MUST;

#endif
