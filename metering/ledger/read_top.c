/*
 * read_top.c - the rows of an answer that cost most, where the others need not be told apart.
 *
 * Sums stand by field still, so that rows that nobody looks at are never filled, nor put in order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_int.h"
#include "metering/ledger/read_row_sums.h"

/* By number of a group: whether it is among the dearest over all periods; how many are. */
static size_t choose(const struct answer *a, const money_int *cost, bool *is_kept)
{
    struct money *of = xcalloc(a->n_groups + 1, sizeof(*of));
    struct money *moved = xcalloc(a->n_groups + 1, sizeof(*moved));
    struct money least;
    size_t n = 0;

    for (size_t i = 0; i < a->n_rows; i++)
        row_sums_add_money(&of[a->rows[i].place].atto, cost[i]);
    memcpy(moved, of, a->n_groups * sizeof(*of));
    least = ledger_money_nth(moved, a->n_groups, a->n_groups - a->top);
    for (size_t i = 0; i < a->n_groups; i++) {
        is_kept[i] = of[i].atto >= least.atto;
        n += is_kept[i];
    }
    free(of);
    free(moved);
    return n;
}

/* The rest of the row's period. */
static struct ledger_rest *rest_of(struct answer *a, const struct ledger_row *row)
{
    struct ledger_rest *rest = &a->rest[answer_period_at(a, row->start_us < a->periods[0].from_us
                                                                ? a->periods[0].from_us
                                                                : row->start_us)];

    rest->start_us = row->start_us;
    rest->end_us = row->end_us;
    rest->rows++;
    return rest;
}

/* Those of nothing go. */
static void close_rest(struct answer *a)
{
    for (size_t i = 0; i < a->n_periods; i++) {
        if (a->rest[i].rows)
            a->rest[a->n_rest++] = a->rest[i];
    }
}

void answer_keep_top(struct answer *a, const struct row_sums *sums)
{
    const money_int *cost = row_sums_got_amount(sums, offsetof(struct ledger_sums, cost));
    struct ledger_sums **to;
    size_t *number, n = 0, n_kept = 0;
    bool *is_kept;

    if (!cost || a->n_groups <= a->top || a->n_periods == 0) {
        row_sums_give(sums, a->rows, a->n_rows);
        return;
    }
    to = xcalloc(a->n_rows + 1, sizeof(struct ledger_sums *));
    number = xcalloc(a->n_groups + 1, sizeof(*number));
    is_kept = xcalloc(a->n_groups + 1, sizeof(*is_kept));
    a->rest = xcalloc(a->n_periods, sizeof(*a->rest));
    choose(a, cost, is_kept);
    for (size_t i = 0; i < a->n_groups; i++) {
        number[i] = n_kept;
        if (is_kept[i])
            a->group_values[n_kept++] = a->group_values[i];
    }
    for (size_t i = 0; i < a->n_rows; i++) {
        const struct ledger_row *row = &a->rows[i];

        if (!is_kept[row->place]) {
            to[i] = &rest_of(a, row)->sums;
            continue;
        }
        if (n != i)
            a->rows[n] = *row;
        a->rows[n].place = number[row->place];
        to[i] = &a->rows[n++].sums;
    }
    row_sums_give_each(sums, to, a->n_rows);
    a->n_rows = n;
    a->n_groups = n_kept;
    close_rest(a);
    answer_find_anew(a);
    free(to);
    free(number);
    free(is_kept);
}
