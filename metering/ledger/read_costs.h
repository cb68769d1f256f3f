/*
 * read_costs.h - of the reader: which groups cost most, where nothing else is asked of any.
 *
 * Groups may be a million, as users by a free tag are: each takes 16 bytes here of each thread, where
 * sums would take some hundred.
 */
#ifndef METERING_LEDGER_READ_COSTS_H
#define METERING_LEDGER_READ_COSTS_H

#include "metering/ledger/read_int.h"

/*
 * Gives the answer a row, without sums, for each of the a->top groups of its question that cost most
 * of what ended in [from, to), and for those that cost as much as the last of them; the answer has
 * one period.  *known false: groups take more than ledger_read_costs allows, or fewer than a->top
 * cost anything: the answer is as it was.
 */
enum rc answer_dearest(struct answer *a, int64_t from_us, int64_t to_us, bool *known,
                       struct fail *fail) RC_MUST;

#endif
