/*
 * task_sums.h - what the report of tasks adds up: pure, without a ledger.
 *
 * Cost of tasks is split without remainder:
 *   useful + retry + failure + open = total
 * retry: of closed tasks, attempts that another superseded or that ended in an error;
 * failure: what else failed and abandoned tasks cost; useful: what else completed
 * ones cost; open: all that open ones cost.
 */
#ifndef REPORTS_TASK_SUMS_H
#define REPORTS_TASK_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "metering/ledger/ledger_read.h"
#include "pricing/money.h"

enum { TASK_OUTCOMES = TASK_ABANDONED + 1 };

/* Of tasks with one outcome, or of lines without a task. */
struct part_sums {
    uint64_t tasks, requests, errors, priced;
    struct money cost, retry;
};

struct task_sums {
    struct part_sums part[TASK_OUTCOMES]; /* by enum task_outcome */
    struct part_sums no_task;
    uint64_t unpriced, late;
    struct money late_cost;
    struct money *completed; /* cost of each completed task whose cost is known; owned */
    size_t n_completed, cap_completed;
};

/* With LEDGER_TASK_EACH. */
void task_sums_add(struct task_sums *s, const struct ledger_task_sums *tasks);
/* Lines of no task. */
void task_sums_add_lines(struct task_sums *s, const struct ledger_sums *lines);
void task_sums_merge(struct task_sums *to, const struct task_sums *from);
void task_sums_release(struct task_sums *s);

/* All tasks as one part. */
struct part_sums task_sums_all(const struct task_sums *s);
/* Nearest ranks, 1..MONEY_PLACES_MAX of them, of 1..100 per cent each; n_completed > 0. */
void task_sums_percentiles(const struct task_sums *s, const unsigned *percents, size_t n,
                           struct money *out);

struct task_split {
    struct money useful, retry, failure, open, total;
};
/* The four sum to the total (asserted). */
struct task_split task_sums_split(const struct task_sums *s);

#endif
