/*
 * read_top.c - rows of an answer for what was added up by number: of all groups, or of those that
 * cost most, where the others need not be told apart.
 *
 * Sums stand by field still, so that rows that nobody looks at are never made, nor put in order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_fact_pick.h"
#include "metering/ledger/read_meters.h"
#include "metering/ledger/read_row_sums.h"

/* Numbers there are, and room for what was met. */
static size_t numbers(const struct fact_pick *p)
{
    size_t n = pick_numbers(p);

    return n < p->cap_met ? n : p->cap_met;
}

/* ---- which -------------------------------------------------------------------------------- */

/* The dearest of the groups that were met: is_kept says which were, and then which are these. */
static void keep_dearest(const struct answer *a, const struct money *of, size_t n, bool *is_kept)
{
    struct money *met = xcalloc_wide(n + 1, sizeof(*met)), least;
    size_t n_met = 0;

    for (size_t i = 0; i < n; i++) {
        if (is_kept[i])
            met[n_met++] = of[i];
    }
    if (n_met > a->top) {
        least = ledger_money_nth(met, n_met, n_met - a->top);
        for (size_t i = 0; i < n; i++)
            is_kept[i] = is_kept[i] && of[i].atto >= least.atto;
    }
    free(met);
}

/* By group: whether it is among the dearest over all periods. NULL: none is left out. */
static bool *choose(const struct fact_pick *p, const money_int *cost)
{
    const struct answer *a = p->answer;
    size_t n_groups = pick_groups(p), n = numbers(p);
    struct money *of;
    bool *is_kept;

    if (a->top == 0 || !cost)
        return NULL;
    of = xcalloc_wide(n_groups + 1, sizeof(*of));
    is_kept = xcalloc_wide(n_groups + 1, sizeof(*is_kept));
    for (size_t i = 0; i < n; i++) {
        uint32_t group;
        int64_t period;

        if (!p->is_met[i])
            continue;
        pick_group(p, (uint32_t)i, &group, &period);
        is_kept[group] = true;
        row_sums_add_money(&of[group].atto, cost[i]);
    }
    keep_dearest(a, of, n_groups, is_kept);
    free(of);
    return is_kept;
}

/* ---- rows --------------------------------------------------------------------------------- */

static void open_rest(struct answer *a)
{
    a->rest = xcalloc_wide(a->n_periods, sizeof(*a->rest));
}

/* Of a period: takes one more row; one that takes none has no time. */
static struct ledger_rest *rest_of(struct answer *a, int64_t period)
{
    struct ledger_rest *rest = &a->rest[period];

    rest->start_us = a->periods[period].start_us;
    rest->end_us = a->periods[period].end_us;
    return rest;
}

/* Those of nothing go. */
static void close_rest(struct answer *a)
{
    for (size_t i = 0; i < a->n_periods; i++) {
        if (a->rest[i].end_us > a->rest[i].start_us)
            a->rest[a->n_rest++] = a->rest[i];
    }
}

/* By number: the place of its row, where it was met and is kept. */
static enum rc make_rows(struct fact_pick *p, const bool *is_kept, uint32_t *row,
                         struct fail *fail)
{
    for (size_t i = 0; i < numbers(p); i++) {
        struct strv values[LEDGER_GROUP_MAX];
        uint32_t group;
        int64_t period, at = 0;
        enum rc rc;

        pick_group(p, (uint32_t)i, &group, &period);
        if (!p->is_met[i] || (is_kept && !is_kept[group]))
            continue;
        rc = pick_group_values(p, group, values, fail);
        if (rc == RC_OK)
            rc = answer_row_at(p->answer, values, period, true, &at, fail);
        if (rc != RC_OK)
            return rc;
        row[i] = (uint32_t)at;
    }
    return RC_OK;
}

static void give_sums(struct fact_pick *p, const struct row_sums *sums, const bool *is_kept,
                      const uint32_t *row)
{
    struct ledger_sums **to = xcalloc_wide(numbers(p) + 1, sizeof(struct ledger_sums *));
    struct answer *a = p->answer;
    struct ledger_sums none = {0};

    for (size_t i = 0; i < numbers(p); i++) {
        uint32_t group;
        int64_t period;

        pick_group(p, (uint32_t)i, &group, &period);
        to[i] = !p->is_met[i]                ? &none
                : !is_kept || is_kept[group] ? &a->rows[row[i]].sums
                                             : &rest_of(a, period)->sums;
    }
    row_sums_give_each(sums, to, numbers(p));
    free(to);
}

/* Those of rows that are left out go to the total alone. */
static enum rc give_meters(struct fact_pick *p, const struct meter_sums *meters,
                           const bool *is_kept, const uint32_t *row, struct fail *fail)
{
    struct ledger_meter_sum **to;
    struct answer *a = p->answer;

    if (!a->rest_meters)
        a->rest_meters = arena_alloc(&a->arena, METER_COUNT * sizeof(*a->rest_meters));
    if (!a->rest_meters)
        return read_too_many(fail, "answer with that many rows");
    to = xcalloc_wide(numbers(p) + 1, sizeof(*to));
    for (size_t i = 0; i < numbers(p); i++) {
        uint32_t group;
        int64_t period;

        pick_group(p, (uint32_t)i, &group, &period);
        if (p->is_met[i])
            to[i] = !is_kept || is_kept[group] ? a->rows[row[i]].meters : a->rest_meters;
    }
    meter_sums_give_each(meters, to, numbers(p));
    free(to);
    return RC_OK;
}

enum rc answer_give(struct fact_pick *p, const struct row_sums *sums,
                    const struct meter_sums *meters, struct fail *fail)
{
    struct answer *a = p->answer;
    bool *is_kept =
        choose(p, row_sums_got_amount(sums, offsetof(struct ledger_sums, cost)));
    uint32_t *row = xcalloc_wide(numbers(p) + 1, sizeof(*row));
    enum rc rc = make_rows(p, is_kept, row, fail);

    row_sums_give_total(sums, numbers(p), &a->given);
    if (is_kept)
        open_rest(a);
    if (rc == RC_OK)
        give_sums(p, sums, is_kept, row);
    if (rc == RC_OK && meters)
        rc = give_meters(p, meters, is_kept, row, fail);
    if (is_kept)
        close_rest(a);
    free(is_kept);
    free(row);
    return rc;
}
