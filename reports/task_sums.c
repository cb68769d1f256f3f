/*
 * task_sums.c - see task_sums.h.
 */
#include "reports/task_sums.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"

enum { FIRST_COMPLETED = 16 };

static void part_add(struct part_sums *to, const struct part_sums *from)
{
    to->tasks += from->tasks;
    to->requests += from->requests;
    to->errors += from->errors;
    to->priced += from->priced;
    to->cost = money_add(to->cost, from->cost);
    to->retry = money_add(to->retry, from->retry);
}

static void add_completed(struct task_sums *s, const struct money *cost, size_t n)
{
    if (n == 0)
        return;
    if (s->n_completed + n > s->cap_completed) {
        s->cap_completed = s->cap_completed ? s->cap_completed * 2 : FIRST_COMPLETED;
        if (s->cap_completed < s->n_completed + n)
            s->cap_completed = s->n_completed + n;
        s->completed = xrealloc(s->completed, s->cap_completed * sizeof(*s->completed));
    }
    memcpy(s->completed + s->n_completed, cost, n * sizeof(*cost));
    s->n_completed += n;
}

void task_sums_add(struct task_sums *s, const struct ledger_task_sums *tasks)
{
    const struct part_sums some = {tasks->tasks,  tasks->requests, tasks->errors,
                                   tasks->priced, tasks->cost,     tasks->retry_cost};

    part_add(&s->part[tasks->outcome], &some);
    s->unpriced += tasks->unpriced;
    s->late += tasks->late;
    s->late_cost = money_add(s->late_cost, tasks->late_cost);
    add_completed(s, tasks->each, tasks->n_each);
}

void task_sums_add_lines(struct task_sums *s, const struct ledger_sums *lines)
{
    const struct part_sums one = {0,           lines->requests, lines->errors, lines->priced,
                                  lines->cost, MONEY_ZERO};

    part_add(&s->no_task, &one);
    s->unpriced += lines->unpriced;
}

void task_sums_merge(struct task_sums *to, const struct task_sums *from)
{
    for (unsigned o = 0; o < TASK_OUTCOMES; o++)
        part_add(&to->part[o], &from->part[o]);
    part_add(&to->no_task, &from->no_task);
    to->unpriced += from->unpriced;
    to->late += from->late;
    to->late_cost = money_add(to->late_cost, from->late_cost);
    add_completed(to, from->completed, from->n_completed);
}

void task_sums_release(struct task_sums *s)
{
    free(s->completed);
    s->completed = NULL;
    s->n_completed = s->cap_completed = 0;
}

struct part_sums task_sums_all(const struct task_sums *s)
{
    struct part_sums all = {0};

    for (unsigned o = 0; o < TASK_OUTCOMES; o++)
        part_add(&all, &s->part[o]);
    return all;
}

void task_sums_percentiles(const struct task_sums *s, const unsigned *percents, size_t n,
                           struct money *out)
{
    size_t places[MONEY_PLACES_MAX];

    ASSERT(s->n_completed > 0 && n <= MONEY_PLACES_MAX);
    for (size_t i = 0; i < n; i++) {
        ASSERT(percents[i] >= 1 && percents[i] <= 100);
        places[i] = (s->n_completed * percents[i] + 99) / 100 - 1;
    }
    ledger_money_places(s->completed, s->n_completed, places, n, out);
}

struct task_split task_sums_split(const struct task_sums *s)
{
    const struct part_sums *done = &s->part[TASK_COMPLETED], *failed = &s->part[TASK_FAILED];
    const struct part_sums *left = &s->part[TASK_ABANDONED];
    struct task_split split = {.total = task_sums_all(s).cost};
    struct money sum;

    split.useful = money_sub(done->cost, done->retry);
    split.retry = money_add(done->retry, money_add(failed->retry, left->retry));
    split.failure =
        money_sub(money_add(failed->cost, left->cost), money_add(failed->retry, left->retry));
    split.open = s->part[TASK_OPEN].cost;
    sum = money_add(money_add(split.useful, split.retry), money_add(split.failure, split.open));
    ASSERT(money_cmp(sum, split.total) == 0);
    return split;
}
