/*
 * read_task_sums.h - of the reader: tasks added up by values and outcome.
 *
 * Tasks that their tallies tell whole are added a column at a time; all others one by one, as
 * ledger_read_tasks tells them.
 */
#ifndef METERING_LEDGER_READ_TASK_SUMS_H
#define METERING_LEDGER_READ_TASK_SUMS_H

#include "metering/ledger/read_fact_tasks.h"

struct task_totals;

/* Adds every task that is MARK_TELL. */
enum rc totals_add_tallies(struct task_totals *s, struct fact_tasks *t,
                           struct fail *fail) RC_MUST;

#endif
