/*
 * report_waste.c - what was paid for nothing: every request of the period in one class
 * (waste.h), so that the rows sum to the ledger.
 */
#include <stdlib.h>
#include <string.h>

#include "reports/by_value.h"
#include "reports/report_int.h"
#include "reports/waste.h"

enum waste_column { WASTE_CLASS = 0, WASTE_REQUESTS, WASTE_COST, WASTE_SHARE, WASTE_UNPRICED };

struct waste_sums {
    uint64_t requests, unpriced;
    struct money cost;
};

struct waste_group {
    struct valued valued;
    struct waste_sums class[WASTE_CLASSES];
};

struct waste {
    struct run *run;
    struct by_value groups;
    enum rc rc;
};

static void waste_columns(struct sheet *t, size_t keys)
{
    sheet_column(t, "class", "class", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_share(t, "share", "share", keys + WASTE_COST);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
}

static void add(struct waste_sums *to, const struct waste_sums *from)
{
    to->requests += from->requests;
    to->unpriced += from->unpriced;
    to->cost = money_add(to->cost, from->cost);
}

/* ---- the questions --------------------------------------------------------------------------- */

static bool on_tasks(const struct ledger_task_sums *tasks, void *arg)
{
    struct waste *w = arg;
    struct waste_group *g = by_value_at(&w->groups, tasks->value);
    struct waste_sums rest = {.cost = tasks->cost};

    if (!g) {
        w->rc = RC_LIMIT;
        return false;
    }
    for (unsigned k = 0; k < LEDGER_PARTS; k++) {
        const struct ledger_part_sum *part = &tasks->part[k];
        const struct waste_sums sums = {part->requests, part->requests - part->priced,
                                        part->cost};

        add(&g->class[waste_in_task((enum ledger_part)k, tasks->outcome)], &sums);
        rest.cost = money_sub(rest.cost, part->cost);
    }
    /* Corrections of attempts that the question does not see. */
    add(&g->class[waste_rest(tasks->outcome)], &rest);
    return true;
}

static enum rc ask_tasks(struct run *run, struct waste *w)
{
    const struct report_params *p = run->params;
    struct ledger_filter filter;
    enum rc rc;

    params_filter(p, &filter);
    rc = ledger_read_task_sums(run->reader, &filter, COHORT_SPEND, p->by, p->n_by,
                               LEDGER_TASK_PARTS, on_tasks, w, &run->fail);
    return w->rc != RC_OK ? w->rc : rc;
}

/* Requests of no task, by outcome. */
static void add_lines(struct waste_group *g, const struct ledger_sums *s, enum outcome outcome)
{
    struct waste_sums repeats = {s->repeats, 0, s->repeat_cost};
    struct waste_sums rest = {s->requests, s->unpriced, s->cost};
    enum waste_class class = waste_of(outcome);

    if (class == WASTE_USEFUL) {
        rest.requests -= repeats.requests;
        /* Sums do not say whose price is missing: repetitions' where all others' are. */
        if (rest.unpriced > rest.requests) {
            repeats.unpriced = rest.unpriced - rest.requests;
            rest.unpriced = rest.requests;
        }
        rest.cost = money_sub(rest.cost, repeats.cost);
        add(&g->class[WASTE_DUPLICATE], &repeats);
    }
    add(&g->class[class], &rest);
}

static enum rc ask_lines(struct run *run, struct waste *w)
{
    static const struct strv none[1] = {{"", 0}};
    const struct report_params *p = run->params;
    struct ledger_question q = {
        .n_by = p->n_by + 1,
        .grain = PERIOD_TOTAL,
        .zone = p->zone,
        .want = LEDGER_SPARE_TOKENS | LEDGER_SPARE_TRANSPORT};
    struct ledger_rows rows;
    enum rc rc;

    params_filter(p, &q.filter);
    memcpy(q.by, p->by, p->n_by * sizeof(q.by[0]));
    q.by[p->n_by] = (struct ledger_field){.id = FIELD_OUTCOME};
    if (ledger_filter_add(&q.filter, (struct ledger_field){.id = FIELD_TASK}, LEDGER_EQ, none,
                          1) != RC_OK)
        return run_refuses(run, "where", "it has one condition too many");
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        struct waste_group *g = by_value_at(&w->groups, rows.at[i].value);
        enum outcome outcome;
        if (!g)
            rc = RC_LIMIT;
        else if (outcome_parse(rows.at[i].value[p->n_by], &outcome))
            add_lines(g, &rows.at[i].sums, outcome);
    }
    ledger_rows_release(&rows);
    return rc;
}

/* ---- rows --------------------------------------------------------------------------------------- */

static void sum_cells(const struct waste_sums *s, struct cell *c)
{
    c[WASTE_REQUESTS] = cell_count(s->requests);
    if (s->requests == 0 || s->unpriced < s->requests || !money_is_zero(s->cost))
        c[WASTE_COST] = cell_money(s->cost);
    c[WASTE_UNPRICED] = cell_count(s->unpriced);
}

static struct money wasted(const struct waste_group *g)
{
    struct money sum = MONEY_ZERO;

    for (unsigned k = 0; k < WASTE_USEFUL; k++)
        sum = money_add(sum, g->class[k].cost);
    return sum;
}

static int by_waste(const void *a, const void *b, void *n_by)
{
    const struct waste_group *x = *(struct waste_group *const *)a;
    const struct waste_group *y = *(struct waste_group *const *)b;
    int c = money_cmp(wasted(y), wasted(x));

    for (size_t i = 0; c == 0 && i < *(const size_t *)n_by; i++)
        c = strv_cmp(x->valued.value[i], y->valued.value[i]);
    return c;
}

/* A class is told by its name, and the group by the values of each task's first line. */
static enum rc put_link(struct run *run, const struct waste_group *g, enum waste_class class,
                        struct cell *row)
{
    const struct strv *const value = g->valued.value;
    struct drill d;

    drill_start(&d, run);
    d.waste = waste_class_name(class);
    d.only = (struct drill_tuples){run->params->by, run->params->n_by, &value, 1};
    return drill_cell(run, &d, &row[run->lines]);
}

static enum rc put_group(struct run *run, const struct waste_group *g, size_t keys)
{
    enum rc rc = RC_OK;

    for (unsigned k = 0; rc == RC_OK && k < WASTE_CLASSES; k++) {
        struct cell *row;
        if (g->class[k].requests == 0 && g->class[k].cost.atto == 0)
            continue;
        rc = sheet_row(&run->sheet, &row);
        for (size_t i = 0; rc == RC_OK && i < keys; i++)
            rc = run_value(run, g->valued.value[i], &row[i]);
        if (rc == RC_OK)
            rc = sheet_text(&run->sheet, strv_z(waste_class_name((enum waste_class)k)), &row[keys + WASTE_CLASS]);
        if (rc != RC_OK)
            break;
        sum_cells(&g->class[k], row + keys);
        rc = put_link(run, g, (enum waste_class)k, row);
    }
    return rc;
}

static enum rc put_rows(struct run *run, struct waste *w)
{
    size_t keys = run_key_columns(run), n_by = run->params->n_by;
    struct waste_sums total = {0};
    enum rc rc = RC_OK;

    waste_columns(&run->sheet, keys);
    drill_column(run);
    if (w->groups.n)
        qsort_r(w->groups.at, w->groups.n, sizeof(struct valued *), by_waste, &n_by);
    for (size_t i = 0; rc == RC_OK && i < w->groups.n; i++) {
        const struct waste_group *g = (const struct waste_group *)w->groups.at[i];
        rc = put_group(run, g, keys);
        for (unsigned k = 0; k < WASTE_CLASSES; k++)
            add(&total, &g->class[k]);
    }
    sum_cells(&total, run->sheet.total + keys);
    return rc == RC_OK ? drill_total(run) : rc;
}

enum rc report_waste(struct run *run)
{
    struct waste w = {.run = run};
    enum rc rc;

    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "a retry is told by the task as a whole");
    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (run->params->top)
        return run_refuses(run, "top", "there are only a few classes");
    by_value_init(&w.groups, run->params->n_by, sizeof(struct waste_group));
    rc = ask_tasks(run, &w);
    if (rc == RC_OK)
        rc = ask_lines(run, &w);
    if (rc == RC_OK)
        rc = put_rows(run, &w);
    run->note = "A request is in the first class that fits; requests of a task in the group of "
                "its first one.";
    by_value_release(&w.groups);
    return rc;
}
