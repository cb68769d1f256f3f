/*
 * read_chosen.h - of the reader: the dearest groups of customers, users or tasks, where much is asked of
 * each.
 */
#ifndef METERING_LEDGER_READ_CHOSEN_H
#define METERING_LEDGER_READ_CHOSEN_H

#include "metering/ledger/read_int.h"

/*
 * Groups that are told apart by more customers, users or tasks than these are read with all others.  Of
 * tasks fewer: every one of the window is compared with each.
 */
enum { CHOSEN_VALUES_MAX = 512, CHOSEN_TASKS_MAX = 64 };

/*
 * Whether it is sooner to ask which groups are the dearest, and then for these alone: the answer may
 * leave rows out (a->top), and has a row a period (of customers, who are fewer: with amounts by
 * meter), or amounts by meter that no day tells.
 */
bool chosen_can(const struct answer *a);
/*
 * As ledger_read_sums says of a question with top.  *known false: there are too many groups alike,
 * and nothing is answered.
 */
enum rc chosen_read(struct ledger_reader *r, const struct ledger_question *q, bool *known,
                    struct ledger_rows *out, struct fail *fail) RC_MUST;

#endif
