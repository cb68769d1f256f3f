/*
 * report_tasks.c - what an outcome costs.
 *
 * A task counts in the group of its first line.  With the cohort `closed` a task's lines
 * count whenever they were, with `spend` those of the period.  Either way what is left
 * to the period's spend stands beside: lines of no task, and what tasks of the cohort
 * spent in other periods and others in this one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/by_value.h"
#include "reports/report_int.h"
#include "reports/task_sums.h"

enum { TASKS_MAX = 5000000 };

enum task_column {
    TASK_TASKS = 0,
    TASK_N_COMPLETED,
    TASK_N_FAILED,
    TASK_N_ABANDONED,
    TASK_N_OPEN,
    TASK_COMPLETION,
    TASK_REQUESTS,
    TASK_REQUESTS_EACH,
    TASK_COST,
    TASK_COMPLETED_COST,
    TASK_FAILED_COST,
    TASK_ABANDONED_COST,
    TASK_MEAN,
    TASK_PER_COMPLETED,
    TASK_P50,
    TASK_P90,
    TASK_P95,
    TASK_USEFUL,
    TASK_RETRY,
    TASK_RETRY_SHARE,
    TASK_FAILURE,
    TASK_OPEN_COST,
    TASK_ERROR_RATIO,
    TASK_LATE,
    TASK_LATE_COST,
    TASK_UNPRICED,
    TASK_NO_TASK_REQUESTS,
    TASK_NO_TASK_COST,
    TASK_ELSEWHERE_COST,
    TASK_PERIOD_COST,
    TASK_COLUMNS,
};

static void task_columns(struct sheet *t)
{
    const unsigned adds = COLUMN_ADDS, rare = COLUMN_ADDS | COLUMN_SPARSE;
    const unsigned machine = COLUMN_ADDS | COLUMN_MACHINE;

    sheet_column(t, "tasks", "tasks", COLUMN_COUNT, adds);
    sheet_column(t, "completed", "completed", COLUMN_COUNT, adds);
    sheet_column(t, "failed", "failed", COLUMN_COUNT, adds);
    sheet_column(t, "abandoned", "abandoned", COLUMN_COUNT, rare);
    sheet_column(t, "open", "open", COLUMN_COUNT, rare);
    sheet_column(t, "completion_ratio", "completed of closed", COLUMN_RATIO,
                 COLUMN_PER_CENT | COLUMN_MACHINE);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, machine);
    sheet_column(t, "requests_per_task", "requests/task", COLUMN_RATIO, 0);
    sheet_column(t, "task_cost_usd", "task cost USD", COLUMN_MONEY, adds);
    sheet_column(t, "completed_cost_usd", "completed USD", COLUMN_MONEY, machine);
    sheet_column(t, "failed_cost_usd", "failed USD", COLUMN_MONEY, machine);
    sheet_column(t, "abandoned_cost_usd", "abandoned USD", COLUMN_MONEY, machine);
    sheet_column(t, "mean_cost_completed_usd", "mean USD", COLUMN_MONEY, 0);
    sheet_column(t, "cost_per_completed_task_usd", "USD/completed", COLUMN_MONEY, 0);
    sheet_column(t, "p50_completed_usd", "p50 USD", COLUMN_MONEY, 0);
    sheet_column(t, "p90_completed_usd", "p90 USD", COLUMN_MONEY, COLUMN_MACHINE);
    sheet_column(t, "p95_completed_usd", "p95 USD", COLUMN_MONEY, 0);
    sheet_column(t, "useful_cost_usd", "useful USD", COLUMN_MONEY, machine);
    sheet_column(t, "retry_cost_usd", "retries USD", COLUMN_MONEY, machine);
    sheet_column(t, "retry_share", "retries", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "failure_cost_usd", "failures USD", COLUMN_MONEY, rare);
    sheet_column(t, "open_cost_usd", "open USD", COLUMN_MONEY, rare);
    sheet_column(t, "error_ratio", "error", COLUMN_RATIO, COLUMN_PER_CENT | COLUMN_MACHINE);
    sheet_column(t, "late_requests", "late", COLUMN_COUNT, rare);
    sheet_column(t, "late_cost_usd", "late USD", COLUMN_MONEY, machine);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, rare);
    sheet_column(t, "no_task_requests", "without task", COLUMN_COUNT, machine);
    sheet_column(t, "no_task_cost_usd", "without task USD", COLUMN_MONEY, rare);
    sheet_column(t, "other_periods_cost_usd", "other periods USD", COLUMN_MONEY, rare);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, adds);
}

/* None of its requests has a price, nor has it corrections of others. */
static bool cost_is_unknown(const struct part_sums *p)
{
    return p->requests > 0 && p->priced == 0 && money_is_zero(p->cost) &&
           money_is_zero(p->retry);
}

static struct cell part_cost(const struct part_sums *p, struct money amount)
{
    return cost_is_unknown(p) ? cell_null() : cell_money(amount);
}

static void count_cells(const struct task_sums *s, const struct part_sums *all, struct cell *c)
{
    uint64_t done = s->part[TASK_COMPLETED].tasks;
    uint64_t closed = all->tasks - s->part[TASK_OPEN].tasks;

    c[TASK_TASKS] = cell_count(all->tasks);
    c[TASK_N_COMPLETED] = cell_count(done);
    c[TASK_N_FAILED] = cell_count(s->part[TASK_FAILED].tasks);
    c[TASK_N_ABANDONED] = cell_count(s->part[TASK_ABANDONED].tasks);
    c[TASK_N_OPEN] = cell_count(s->part[TASK_OPEN].tasks);
    c[TASK_COMPLETION] = cell_ratio(done, closed);
    c[TASK_REQUESTS] = cell_count(all->requests);
    c[TASK_REQUESTS_EACH] = cell_ratio(all->requests, all->tasks);
    c[TASK_ERROR_RATIO] = cell_ratio(all->errors, all->requests);
    c[TASK_LATE] = cell_count(s->late);
    c[TASK_LATE_COST] = cell_money(s->late_cost);
    c[TASK_UNPRICED] = cell_count(s->unpriced);
}

/* Completed tasks bear what failed and abandoned ones cost; open ones are in no denominator. */
static void outcome_cells(const struct task_sums *s, struct cell *c)
{
    const struct part_sums *done = &s->part[TASK_COMPLETED];
    struct part_sums closed = {0};

    for (unsigned o = TASK_COMPLETED; o < TASK_OUTCOMES; o++) {
        closed.requests += s->part[o].requests;
        closed.priced += s->part[o].priced;
        closed.cost = money_add(closed.cost, s->part[o].cost);
    }
    c[TASK_COMPLETED_COST] = part_cost(done, done->cost);
    c[TASK_FAILED_COST] = part_cost(&s->part[TASK_FAILED], s->part[TASK_FAILED].cost);
    c[TASK_ABANDONED_COST] = part_cost(&s->part[TASK_ABANDONED], s->part[TASK_ABANDONED].cost);
    if (!cost_is_unknown(done))
        c[TASK_MEAN] = mean_money(done->cost, done->tasks);
    if (!cost_is_unknown(&closed))
        c[TASK_PER_COMPLETED] = mean_money(closed.cost, done->tasks);
    if (s->n_completed > 0) {
        static const unsigned percents[] = {50, 90, 95};
        struct money at[3];

        task_sums_percentiles(s, percents, 3, at);
        c[TASK_P50] = cell_money(at[0]);
        c[TASK_P90] = cell_money(at[1]);
        c[TASK_P95] = cell_money(at[2]);
    }
}

/* spend: of the period, whoever's; the bridge is what leads there from the tasks' cost. */
static void split_cells(const struct task_sums *s, const struct part_sums *all,
                        const struct part_sums *spend, struct cell *c)
{
    struct task_split split = task_sums_split(s);

    c[TASK_COST] = part_cost(all, all->cost);
    if (!cost_is_unknown(all)) {
        c[TASK_USEFUL] = cell_money(split.useful);
        c[TASK_RETRY] = cell_money(split.retry);
        c[TASK_FAILURE] = cell_money(split.failure);
        c[TASK_OPEN_COST] = cell_money(split.open);
        c[TASK_RETRY_SHARE] = cell_ratio(split.retry.atto, split.total.atto);
    }
    c[TASK_NO_TASK_REQUESTS] = cell_count(s->no_task.requests);
    c[TASK_NO_TASK_COST] = part_cost(&s->no_task, s->no_task.cost);
    c[TASK_ELSEWHERE_COST] =
        cell_money(money_sub(spend->cost, money_add(all->cost, s->no_task.cost)));
    c[TASK_PERIOD_COST] = part_cost(spend, spend->cost);
}

static void task_cells(const struct task_sums *s, const struct part_sums *spend, struct cell *c)
{
    struct part_sums all = task_sums_all(s);

    count_cells(s, &all, c);
    outcome_cells(s, c);
    split_cells(s, &all, spend, c);
}

/* ---- groups ------------------------------------------------------------------------------ */

struct task_group {
    struct valued valued;
    struct task_sums sums;
    struct part_sums spend; /* of the period, task or none */
};

struct tasks {
    struct run *run;
    struct by_value groups;
    uint64_t n_tasks;
    enum rc rc;
};

static struct task_group *group_of(const struct tasks *t, size_t i)
{
    return (struct task_group *)t->groups.at[i];
}

static void tasks_release(struct tasks *t)
{
    for (size_t i = 0; i < t->groups.n; i++)
        task_sums_release(&group_of(t, i)->sums);
    by_value_release(&t->groups);
}

/* ---- the questions
 * ------------------------------------------------------------------------------- */

static bool on_tasks(const struct ledger_task_sums *tasks, void *arg)
{
    struct tasks *t = arg;
    struct task_group *g = by_value_at(&t->groups, tasks->value);

    t->n_tasks += tasks->tasks;
    if (!g || t->n_tasks > TASKS_MAX) {
        t->rc = RC_LIMIT;
        return false;
    }
    task_sums_add(&g->sums, tasks);
    return true;
}

/* Open tasks are in no denominator, but are shown. */
static enum rc ask_tasks(struct run *run, struct tasks *t)
{
    const struct report_params *p = run->params;
    struct ledger_filter filter;
    enum rc rc;

    params_filter(p, &filter);
    rc = ledger_read_task_sums(run->reader, &filter, p->cohort, p->by, p->n_by,
                               LEDGER_TASK_EACH | LEDGER_TASK_COUNTS | LEDGER_TASK_OPEN,
                               on_tasks, t, &run->fail);
    return t->rc != RC_OK ? t->rc : rc;
}

/* What the period spent, by the fields of each line itself. */
static enum rc ask_spend(struct run *run, struct tasks *t)
{
    struct ledger_rows rows;
    enum rc rc = run_sums(run, LEDGER_SPARE | LEDGER_SPARE_CEILING, &rows);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        struct task_group *g = by_value_at(&t->groups, rows.at[i].value);
        if (!g) {
            rc = RC_LIMIT;
            break;
        }
        g->spend.requests = rows.at[i].sums.requests;
        g->spend.priced = rows.at[i].sums.priced;
        g->spend.cost = rows.at[i].sums.cost;
    }
    ledger_rows_release(&rows);
    return rc;
}

static enum rc ask_no_task(struct run *run, struct tasks *t)
{
    static const struct strv none[1] = {{"", 0}};
    const struct report_params *p = run->params;
    struct ledger_question q = {
        .n_by = p->n_by,
        .grain = PERIOD_TOTAL,
        .zone = p->zone,
        .want = LEDGER_SPARE | LEDGER_SPARE_CEILING};
    struct ledger_rows rows;
    enum rc rc;

    params_filter(p, &q.filter);
    memcpy(q.by, p->by, p->n_by * sizeof(q.by[0]));
    rc = ledger_filter_add(&q.filter, (struct ledger_field){.id = FIELD_TASK}, LEDGER_EQ, none,
                           1);
    if (rc != RC_OK)
        return run_refuses(run, "where", "it has one condition too many");
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; rc == RC_OK && i < rows.n; i++) {
        struct task_group *g = by_value_at(&t->groups, rows.at[i].value);
        if (g)
            task_sums_add_lines(&g->sums, &rows.at[i].sums);
        else
            rc = RC_LIMIT;
    }
    ledger_rows_release(&rows);
    return rc;
}

/* ---- rows
 * ---------------------------------------------------------------------------------------- */

static struct money group_cost(const struct task_group *g)
{
    return money_add(task_sums_all(&g->sums).cost, g->sums.no_task.cost);
}

static int by_cost(const void *a, const void *b, void *n_by)
{
    const struct task_group *x = *(struct task_group *const *)a;
    const struct task_group *y = *(struct task_group *const *)b;
    int c = money_cmp(group_cost(y), group_cost(x));

    for (size_t i = 0; c == 0 && i < *(const size_t *)n_by; i++)
        c = strv_cmp(x->valued.value[i], y->valued.value[i]);
    return c;
}

/* The period's lines of the group, by their own fields; g NULL: of none that is shown. */
static enum rc put_link(struct run *run, const struct tasks *t, const struct task_group *g,
                        struct cell *row)
{
    const struct report_params *p = run->params;
    const struct strv **value = xcalloc(t->groups.n + 1, sizeof(*value));
    struct drill d;
    enum rc rc;

    drill_start(&d, run);
    for (size_t i = 0; g && i < p->n_by; i++)
        drill_add(&d, p->by[i], LEDGER_EQ, g->valued.value[i]);
    for (; !g && d.except.n < p->top; d.except.n++)
        value[d.except.n] = t->groups.at[d.except.n]->value;
    d.except.by = p->by;
    d.except.n_by = p->n_by;
    d.except.value = value;
    rc = drill_cell(run, &d, &row[run->lines]);
    free(value);
    return rc;
}

static enum rc put_row(struct run *run, const struct tasks *t, const struct task_group *g,
                       const struct task_sums *sums, const struct part_sums *spend,
                       size_t keys)
{
    struct cell *row;
    enum rc rc = sheet_row(&run->sheet, &row);

    for (size_t i = 0; rc == RC_OK && i < keys; i++)
        rc = g ? run_value(run, g->valued.value[i], &row[i])
               : sheet_text(&run->sheet, STRV("(other)"), &row[i]);
    if (rc != RC_OK)
        return rc;
    task_cells(sums, spend, row + keys);
    return put_link(run, t, g, row);
}

static void add_spend(struct part_sums *to, const struct part_sums *from)
{
    to->requests += from->requests;
    to->priced += from->priced;
    to->cost = money_add(to->cost, from->cost);
}

static enum rc put_rows(struct run *run, struct tasks *t)
{
    size_t keys = run_key_columns(run), top = run->params->top;
    size_t n = t->groups.n, n_by = run->params->n_by;
    size_t shown = top && keys && top < n ? top : n;
    struct task_sums total = {0}, other = {0};
    struct part_sums spend = {0}, other_spend = {0};
    enum rc rc = RC_OK;

    task_columns(&run->sheet);
    drill_column(run);
    if (n)
        qsort_r(t->groups.at, n, sizeof(struct valued *), by_cost, &n_by);
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        struct task_group *g = group_of(t, i);
        if (n > 1)
            task_sums_merge(&total, &g->sums);
        add_spend(&spend, &g->spend);
        if (i < shown) {
            rc = put_row(run, t, g, &g->sums, &g->spend, keys);
        } else {
            task_sums_merge(&other, &g->sums);
            add_spend(&other_spend, &g->spend);
        }
    }
    if (rc == RC_OK && shown < n) {
        rc = put_row(run, t, NULL, &other, &other_spend, keys);
        run->n_others = 1;
    }
    if (n == 1 && rc == RC_OK) /* the total is that row */
        memcpy(run->sheet.total + keys, sheet_cells(&run->sheet, 0) + keys,
               TASK_COLUMNS * sizeof(struct cell));
    else
        task_cells(&total, &spend, run->sheet.total + keys);
    task_sums_release(&total);
    task_sums_release(&other);
    return rc == RC_OK ? drill_total(run) : rc;
}

enum rc report_tasks(struct run *run)
{
    struct tasks t = {.run = run};
    enum rc rc;

    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "a task belongs to one period as a whole");
    by_value_init(&t.groups, run->params->n_by, sizeof(struct task_group));
    rc = ask_tasks(run, &t);
    if (rc == RC_OK)
        rc = ask_no_task(run, &t);
    if (rc == RC_OK)
        rc = ask_spend(run, &t);
    if (rc == RC_OK)
        rc = put_rows(run, &t);
    run->params->has_cohort = true; /* the head says which, asked for or not */
    run->note = run->params->cohort == COHORT_SPEND
                    ? "Tasks with requests in the period, by their spend in it."
                    : "Tasks closed in the period, and open ones with requests in it, with all "
                      "their spend whenever it was.";
    tasks_release(&t);
    return rc;
}
