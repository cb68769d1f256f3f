/*
 * read_held.h - of the reader: percentiles of rows whose sums are there, from columns.
 */
#ifndef METERING_LEDGER_READ_HELD_H
#define METERING_LEDGER_READ_HELD_H

#include "metering/ledger/read_fact_pick.h"

/*
 * Fills percentiles of the rows, and of the total where no row is left out: one pass over the
 * columns takes costs and times of all their requests, at most LEDGER_VALUES_MAX (RC_LIMIT).
 */
enum rc answer_held_percentiles(struct answer *a, int64_t from_us, int64_t to_us,
                                struct fail *fail) RC_MUST;

#endif
