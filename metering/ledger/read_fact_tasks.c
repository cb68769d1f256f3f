/*
 * read_fact_tasks.c - what tasks cost, from columns.
 *
 * Tasks whose tally says all are told from it.  The lines of the others are read in windows of
 * WINDOW task numbers, each from the blocks that hold any of them: tasks are numbered as they
 * appear, so those of some time stand together.  What a task's row alone knows (one without
 * lines, or whose first lines are deleted) is asked of its row.
 */
#include "metering/ledger/read_task_sums.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"

enum {
    WINDOW = 1 << 17,
    RUNS_SHARE = 4, /* where fewer than one in so many lack a tally, their rows are sought */
};

enum rc tasks_can_use_facts(struct task_reading *g, bool *can, struct fail *fail)
{
    size_t raws = 0;

    *can = true;
    for (size_t i = 0; i < g->n_by; i++) {
        *can &= pick_knows(&g->by[i]);
        raws += !field_is_of_combo(&g->by[i]);
    }
    for (size_t i = 0; i < g->filter->n_where; i++)
        *can &= pick_knows(&g->filter->where[i].field);
    *can &= raws <= PIECE_RAWS_MAX && !g->filter->by_start;
    return *can ? facts_look(g->reader, can, fail) : RC_OK;
}

/* ---- what the rows say ---------------------------------------------------------------------
 */

static enum rc run(struct fact_tasks *t, sqlite3_stmt *stmt,
                   void (*fn)(struct fact_tasks *t, sqlite3_stmt *stmt), struct fail *fail)
{
    enum rc rc = RC_OK;
    int code;

    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (task_is_of(t, sqlite3_column_int64(stmt, 0)))
            fn(t, stmt);
    }
    if (code != SQLITE_DONE)
        rc = read_failed(t->g->reader, fail);
    sqlite3_reset(stmt);
    return rc;
}

static enum rc each_row(struct fact_tasks *t, const char *sql, int64_t bound,
                        void (*fn)(struct fact_tasks *t, sqlite3_stmt *stmt), struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(t->g->reader->db, sql, fail);
    enum rc rc;

    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, bound);
    rc = run(t, stmt, fn, fail);
    sqlite3_finalize(stmt);
    return rc;
}

static void on_closed(struct fact_tasks *t, sqlite3_stmt *stmt)
{
    int64_t id = sqlite3_column_int64(stmt, 0), outcome = sqlite3_column_int64(stmt, 2);
    const struct ledger_filter *f = t->g->filter;

    if (t->mark[id] & MARK_TALLY)
        return;
    t->closed_us[id] = sqlite3_column_int64(stmt, 1);
    if (outcome >= TASK_OPEN && outcome <= TASK_ABANDONED)
        t->outcome[id] = (uint8_t)outcome;
    if (t->g->cohort == COHORT_CLOSED && t->closed_us[id] >= f->from_us &&
        t->closed_us[id] < f->to_us)
        t->mark[id] |= MARK_WANTED;
}

static void on_old(struct fact_tasks *t, sqlite3_stmt *stmt)
{
    int64_t id = sqlite3_column_int64(stmt, 0);

    t->mark[id] = (uint8_t)((t->mark[id] | MARK_OLD) & ~MARK_TALLY);
}

/* Outcomes of the tasks that have no tally, a run of numbers at a time. */
static enum rc read_runs(struct fact_tasks *t, struct fail *fail)
{
    sqlite3_stmt *stmt = tally_outcomes(t->g->reader, 0, 0, fail);
    enum rc rc = stmt ? RC_OK : fail->rc;

    for (size_t low = 1, high; rc == RC_OK && low < t->n_tasks; low = high) {
        bool has = (t->mark[low] & MARK_TALLY) != 0;

        for (high = low + 1; high < t->n_tasks && ((t->mark[high] & MARK_TALLY) != 0) == has;)
            high++;
        if (has)
            continue;
        sqlite3_bind_int64(stmt, 1, (int64_t)low);
        sqlite3_bind_int64(stmt, 2, (int64_t)high);
        rc = run(t, stmt, on_closed, fail);
    }
    sqlite3_finalize(stmt);
    return rc;
}

static enum rc read_outcomes(struct fact_tasks *t, struct fail *fail)
{
    size_t n = 0;

    for (size_t id = 1; id < t->n_tasks; id++)
        n += !(t->mark[id] & MARK_TALLY);
    if (n < t->n_tasks / RUNS_SHARE)
        return read_runs(t, fail);
    return each_row(t,
                    "SELECT id, closed_us, outcome FROM task WHERE closed_us IS NOT NULL AND "
                    "closed_us>=?1",
                    INT64_MIN, on_closed, fail);
}

static enum rc read_rows(struct fact_tasks *t, struct fail *fail)
{
    struct ledger_reader *r = t->g->reader;
    int64_t most = 0;
    enum rc rc = db_query_int(r->db, "SELECT coalesce(max(id), 0) FROM task", &most, fail,
                              "read the ledger");

    if (rc != RC_OK)
        return rc;
    if (most < 0 || most >= READ_TEXTS_MAX) {
        *fail = (struct fail){.rc = RC_LIMIT, .doing = "answer for that many tasks"};
        return RC_LIMIT;
    }
    t->n_tasks = (size_t)most + 1;
    t->mark = xcalloc_wide(t->n_tasks, sizeof(*t->mark));
    t->outcome = xcalloc_wide(t->n_tasks, sizeof(*t->outcome));
    t->closed_us = xcalloc_wide(t->n_tasks, sizeof(*t->closed_us));
    rc = tasks_mark_tallies(t, fail);
    if (rc == RC_OK && r->kept_from_us != INT64_MIN)
        rc =
            each_row(t, "SELECT id FROM task WHERE first_us<?1", r->kept_from_us, on_old, fail);
    if (rc == RC_OK && !t->g->of_retried)
        rc = read_outcomes(t, fail);
    return rc == RC_OK ? tasks_choose_tallies(t, fail) : rc;
}

/* Columns of deleted lines stay for a while: they are none. */
static int64_t kept(const struct fact_tasks *t, int64_t from_us)
{
    int64_t kept_us = t->g->reader->kept_from_us;

    return from_us > kept_us ? from_us : kept_us;
}

static bool is_of_time(const struct facts *f, const int64_t *end, size_t i)
{
    return f->is_inside || (end && end[i] >= f->from_us && end[i] < f->to_us);
}

/* The least and the most of the tasks whose lines are needed; false where there is none. */
static bool bounds(const struct fact_tasks *t, int64_t low, int64_t high, uint8_t mask,
                   uint8_t is, int64_t *least, int64_t *most)
{
    *least = *most = 0;
    for (int64_t id = low; id < high; id++) {
        if ((t->mark[id] & mask) != is)
            continue;
        *least = *least ? *least : id;
        *most = id;
    }
    return *least != 0;
}

/* Open tasks are of the cohort where they have a line in the period. */
static enum rc mark_open(struct fact_tasks *t, struct fail *fail)
{
    const struct ledger_filter *f = t->g->filter;
    struct facts facts;
    enum rc rc;

    facts_open(&facts, t->g->reader, kept(t, f->from_us), f->to_us);
    if (!bounds(t, 1, (int64_t)t->n_tasks, MARK_TALLY, 0, &facts.least_task,
                &facts.most_task))
        return RC_OK;
    while (facts_next(&facts)) {
        const int64_t *task = facts_number(&facts, FACT_TASK);
        const int64_t *end = task && !facts.is_inside ? facts_number(&facts, FACT_END) : NULL;

        for (size_t i = 0; task && i < facts.n; i++) {
            if (task_is_of(t, task[i]) && t->closed_us[task[i]] == 0 &&
                !(t->mark[task[i]] & MARK_TALLY) && is_of_time(&facts, end, i))
                t->mark[task[i]] |= MARK_WANTED;
        }
    }
    rc = facts.rc;
    if (rc != RC_OK)
        *fail = facts.fail;
    facts_close(&facts);
    return rc;
}

/* Nothing is superseded but by a later attempt. */
static enum rc mark_retried(struct fact_tasks *t, struct fail *fail)
{
    const struct ledger_filter *f = t->g->filter;
    struct facts facts;
    enum rc rc;

    facts_open(&facts, t->g->reader, kept(t, f->from_us), f->to_us);
    if (!bounds(t, 1, (int64_t)t->n_tasks, MARK_TALLY, 0, &facts.least_task,
                &facts.most_task))
        return RC_OK;
    while (facts_next(&facts)) {
        const int64_t *attempt = facts_number(&facts, FACT_ATTEMPT);
        const int64_t *task = attempt ? facts_number(&facts, FACT_TASK) : NULL;

        for (size_t i = 0; task && i < facts.n; i++) {
            if (attempt[i] > 1 && task_is_of(t, task[i]))
                t->mark[task[i]] |= MARK_RETRIED;
        }
    }
    rc = facts.rc;
    if (rc != RC_OK)
        *fail = facts.fail;
    facts_close(&facts);
    return rc;
}

/* ---- the tasks of a window ---------------------------------------------------------------- */

/* A line of the time, of a task of the window. */
static bool is_wanted(int64_t id, void *arg)
{
    struct fact_tasks *t = arg;

    if (t->mark[id] & MARK_TALLY || (t->g->of_retried && !(t->mark[id] & MARK_RETRIED)))
        return false;
    t->mark[id] |= MARK_SEEN;
    if (t->g->cohort == COHORT_SPEND)
        return true;
    return (t->mark[id] & (MARK_WANTED | MARK_OLD)) == MARK_WANTED;
}

static enum rc tell(struct fact_tasks *t, int64_t id, const uint32_t *order, size_t n,
                    struct fail *fail)
{
    struct task_reading *g = t->g;
    enum rc rc;

    g->id = id;
    memset(&g->task, 0, sizeof(g->task));
    for (size_t k = 0; k < g->n_by; k++)
        g->values[k] = STRV("");
    g->task.value = g->values;
    g->task.outcome = (enum task_outcome)t->outcome[id];
    g->task.closed_us = t->closed_us[id];
    rc = pieces_add_up(&t->pieces, order, n, fail);
    if (rc == RC_OK && (g->task.sums.requests > 0 || g->cohort == COHORT_SPEND))
        task_give(g);
    else if (rc == RC_OK && g->cohort == COHORT_CLOSED && t->outcome[id] != TASK_OPEN)
        rc = task_whole(g, id, fail); /* of corrections alone */
    return rc;
}

static enum rc tell_window(struct fact_tasks *t, int64_t low, int64_t high, struct fail *fail)
{
    struct task_reading *g = t->g;
    enum rc rc = RC_OK;

    pieces_sort(&t->pieces);
    for (int64_t id = low; id < high && rc == RC_OK && !g->is_ended; id++) {
        const uint32_t *order;
        size_t n = pieces_of(&t->pieces, id, &order);
        unsigned mark = t->mark[id];

        if ((mark & MARK_TOLD) == MARK_TOLD)
            rc = g->totals ? RC_OK : task_tell_tally(t, id, fail);
        else if (n > 0)
            rc = tell(t, id, order, n, fail);
        else if (g->cohort != COHORT_SPEND && (mark & MARK_WANTED) &&
                 (!(mark & MARK_SEEN) || (mark & MARK_OLD)))
            rc = task_whole(g, id, fail);
    }
    return rc;
}

/* Lines of all tasks that have no tally, or of those of the cohort. */
static enum rc read_window(struct fact_tasks *t, int64_t low, int64_t high, struct fail *fail)
{
    const struct ledger_filter *f = t->g->filter;
    bool of_period = t->g->cohort == COHORT_SPEND;
    const uint8_t wanted = t->g->of_retried ? MARK_RETRIED : of_period ? 0 : MARK_WANTED;
    struct facts facts;
    enum rc rc;

    pieces_window(&t->pieces, low, high);
    facts_open(&facts, t->g->reader, kept(t, of_period ? f->from_us : INT64_MIN),
               of_period ? f->to_us : INT64_MAX);
    if (bounds(t, low, high, (uint8_t)(MARK_TALLY | wanted), wanted, &facts.least_task,
               &facts.most_task)) {
        while (facts_next(&facts))
            pieces_take(&t->pieces, &facts);
    }
    rc = facts.rc;
    if (rc != RC_OK)
        *fail = facts.fail;
    facts_close(&facts);
    return rc == RC_OK ? tell_window(t, low, high, fail) : rc;
}

/* Whether any task of the window is told: from its lines, its row, or one by one. */
static bool is_worth_reading(const struct fact_tasks *t, int64_t low, int64_t high)
{
    bool of_period = t->g->cohort == COHORT_SPEND;

    for (int64_t id = low; id < high; id++) {
        unsigned mark = t->mark[id];

        if (t->g->of_retried && !(mark & MARK_RETRIED))
            continue;

        if ((mark & MARK_TOLD) == MARK_TOLD ? !t->g->totals
            : of_period                     ? !(mark & MARK_TALLY)
                                            : (mark & MARK_WANTED) != 0)
            return true;
    }
    return false;
}

/* ---- the question ----------------------------------------------------------------------- */

static void release(struct fact_tasks *t)
{
    pieces_release(&t->pieces);
    tally_close(&t->tally);
    free(t->mark);
    free(t->outcome);
    free(t->closed_us);
}

enum rc tasks_from_facts(struct task_reading *g, struct fail *fail)
{
    const struct ledger_filter *f = g->filter;
    int64_t kept_us = g->reader->kept_from_us;
    struct fact_tasks t = {.g = g};
    /* Rows are deleted too: of tasks that were closed, and of lines that ended, by then. */
    enum rc rc =
        read_kept(g->reader, f,
                  g->cohort == COHORT_CLOSED && f->from_us < kept_us ? INT64_MIN : f->from_us,
                  f->to_us, fail);

    if (rc != RC_OK)
        return rc;
    pieces_init(&t.pieces, g);
    pieces_learn(&t.pieces);
    t.pieces.wanted = is_wanted;
    t.pieces.arg = &t;
    tally_open(&t.tally, g->reader);
    rc = read_rows(&t, fail);
    if (rc == RC_OK && (g->cohort == COHORT_OPEN || g->with_open))
        rc = mark_open(&t, fail);
    if (rc == RC_OK && g->of_retried)
        rc = mark_retried(&t, fail);
    g->has_open = g->with_open;
    if (rc == RC_OK && g->totals)
        rc = totals_add_tallies(g->totals, &t, fail);
    for (int64_t low = 1; rc == RC_OK && low < (int64_t)t.n_tasks && !g->is_ended;
         low += WINDOW) {
        int64_t high = low + WINDOW < (int64_t)t.n_tasks ? low + WINDOW : (int64_t)t.n_tasks;

        if (is_worth_reading(&t, low, high))
            rc = read_window(&t, low, high, fail);
    }
    release(&t);
    return rc;
}
