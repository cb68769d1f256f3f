/*
 * read_fact_tasks.c - what tasks cost, from columns.
 *
 * Tasks are numbered as they appear, so those of some time stand together: they are told in
 * windows of WINDOW ids, each from the blocks that hold any of them.  What a task's row alone
 * knows (one without lines, or whose first lines are deleted) is asked of its row.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_fact_pick.h"
#include "metering/ledger/read_task.h"

enum {
    WINDOW = 1 << 17,
    SCANNED_MAX = 64, /* attempts of a task that are paired without a table */
    RAWS_MAX = 8,     /* fields of a grouping that are none of the combination */
};

/* A line of a task. */
struct piece {
    int64_t start_us, end_us, seq, corrects;
    money_int cost;
    uint32_t task; /* place in the window */
    int32_t combo, attempt;
    uint32_t flags;
    uint32_t raw[RAWS_MAX]; /* of the fields grouped by that are none of the combination */
};

enum task_mark {
    MARK_WANTED = 1, /* of the cohort */
    MARK_SEEN = 2,   /* has a line */
    MARK_OLD = 4,    /* some of its lines may be deleted */
};

struct fact_tasks {
    struct task_reading *g;
    size_t n_tasks; /* ids are below */
    uint8_t *mark;  /* by id */
    uint8_t *outcome;
    int64_t *closed_us; /* 0: open */
    int32_t *place_of;  /* by id of the combination: in reader->combos; -1: not of the filter */
    size_t n_combos;
    struct pick_field *where;
    size_t n_where;
    unsigned raw_column[RAWS_MAX];
    size_t n_raws;

    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    uint32_t *order; /* of the pieces, by task */
    uint32_t *first; /* by place in the window: where its pieces begin in order */
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
    *can &= raws <= RAWS_MAX && !g->filter->by_start;
    return *can ? facts_look(g->reader, can, fail) : RC_OK;
}

/* ---- what the rows say ---------------------------------------------------------------------
 */

static bool is_of(const struct fact_tasks *t, int64_t id)
{
    return id > 0 && (uint64_t)id < t->n_tasks;
}

static enum rc each_row(struct fact_tasks *t, const char *sql, int64_t bound,
                        void (*fn)(struct fact_tasks *t, sqlite3_stmt *stmt), struct fail *fail)
{
    struct ledger_reader *r = t->g->reader;
    sqlite3_stmt *stmt = db_prepare(r->db, sql, fail);
    enum rc rc = RC_OK;
    int code;

    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, bound);
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (is_of(t, sqlite3_column_int64(stmt, 0)))
            fn(t, stmt);
    }
    if (code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

static void on_closed(struct fact_tasks *t, sqlite3_stmt *stmt)
{
    int64_t id = sqlite3_column_int64(stmt, 0), outcome = sqlite3_column_int64(stmt, 2);
    const struct ledger_filter *f = t->g->filter;

    t->closed_us[id] = sqlite3_column_int64(stmt, 1);
    if (outcome >= TASK_OPEN && outcome <= TASK_ABANDONED)
        t->outcome[id] = (uint8_t)outcome;
    if (t->g->cohort == COHORT_CLOSED && t->closed_us[id] >= f->from_us &&
        t->closed_us[id] < f->to_us)
        t->mark[id] |= MARK_WANTED;
}

static void on_old(struct fact_tasks *t, sqlite3_stmt *stmt)
{
    t->mark[sqlite3_column_int64(stmt, 0)] |= MARK_OLD;
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
    t->mark = xcalloc(t->n_tasks, sizeof(*t->mark));
    t->outcome = xcalloc(t->n_tasks, sizeof(*t->outcome));
    t->closed_us = xcalloc(t->n_tasks, sizeof(*t->closed_us));
    rc = each_row(t,
                  "SELECT id, closed_us, outcome FROM task WHERE closed_us IS NOT NULL AND "
                  "closed_us>=?1",
                  INT64_MIN, on_closed, fail);
    if (rc == RC_OK && r->kept_from_us != INT64_MIN)
        rc =
            each_row(t, "SELECT id FROM task WHERE first_us<?1", r->kept_from_us, on_old, fail);
    return rc;
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

/* Open tasks are of the cohort where they have a line in the period. */
static enum rc mark_open(struct fact_tasks *t, struct fail *fail)
{
    const struct ledger_filter *f = t->g->filter;
    struct facts facts;
    enum rc rc;

    facts_open(&facts, t->g->reader, kept(t, f->from_us), f->to_us);
    while (facts_next(&facts)) {
        const int64_t *task = facts_number(&facts, FACT_TASK);
        const int64_t *end = task && !facts.is_inside ? facts_number(&facts, FACT_END) : NULL;

        for (size_t i = 0; task && i < facts.n; i++) {
            if (is_of(t, task[i]) && t->closed_us[task[i]] == 0 && is_of_time(&facts, end, i))
                t->mark[task[i]] |= MARK_WANTED;
        }
    }
    rc = facts.rc;
    if (rc != RC_OK)
        *fail = facts.fail;
    facts_close(&facts);
    return rc;
}

/* ---- the pieces of a window
 * ------------------------------------------------------------------- */

/* Columns of the block at hand. */
struct task_columns {
    const int64_t *task, *combo, *start, *end, *seq, *attempt, *flags, *corrects;
    const int64_t *raw[RAWS_MAX];
    const money_int *cost;
};

static int64_t at(const int64_t *column, size_t i)
{
    return column ? column[i] : 0;
}

static enum rc holds(struct fact_tasks *t, struct facts *f, size_t i, bool *out)
{
    *out = true;
    for (size_t k = 0; *out && k < t->n_where; k++) {
        const int64_t *raw = facts_number(f, t->where[k].column);
        enum rc rc = pick_holds(t->g->reader, &t->where[k], at(raw, i), out, &f->fail);

        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static struct piece *new_piece(struct fact_tasks *t)
{
    if (t->n_pieces == t->cap_pieces) {
        t->cap_pieces = t->cap_pieces ? t->cap_pieces * 2 : 4096;
        t->pieces = xrealloc(t->pieces, t->cap_pieces * sizeof(*t->pieces));
    }
    return &t->pieces[t->n_pieces++];
}

static void put_piece(struct fact_tasks *t, const struct task_columns *c, size_t i, int64_t low)
{
    struct piece *p = new_piece(t);
    int64_t end_us = at(c->end, i);

    *p = (struct piece){.end_us = end_us,
                        .start_us = (int64_t)((uint64_t)end_us + (uint64_t)at(c->start, i)),
                        .seq = at(c->seq, i) + (int64_t)i,
                        .corrects = at(c->corrects, i),
                        .cost = c->cost ? c->cost[i] : 0,
                        .task = (uint32_t)(c->task[i] - low),
                        .combo = t->place_of[c->combo[i]],
                        .attempt = (int32_t)at(c->attempt, i),
                        .flags = (uint32_t)at(c->flags, i)};
    for (size_t k = 0; k < t->n_raws; k++)
        p->raw[k] = (uint32_t)at(c->raw[k], i);
}

/* Line i is of a task of the window that is asked for. */
static bool is_wanted(struct fact_tasks *t, const struct facts *f, const struct task_columns *c,
                      size_t i, int64_t low, int64_t high)
{
    int64_t id = c->task[i];

    if (id < low || id >= high || !is_of_time(f, c->end, i))
        return false;
    t->mark[id] |= MARK_SEEN;
    if (t->g->cohort == COHORT_SPEND)
        return true;
    return (t->mark[id] & (MARK_WANTED | MARK_OLD)) == MARK_WANTED;
}

static void take_block(struct fact_tasks *t, struct facts *f, int64_t low, int64_t high)
{
    struct task_columns c = {.task = facts_number(f, FACT_TASK)};

    if (!c.task)
        return;
    c.combo = facts_number(f, FACT_COMBO);
    c.start = facts_number(f, FACT_START);
    c.end = facts_number(f, FACT_END);
    c.seq = facts_number(f, FACT_SEQ);
    c.attempt = facts_number(f, FACT_ATTEMPT);
    c.flags = facts_number(f, FACT_FLAGS);
    c.corrects = facts_number(f, FACT_CORRECTS);
    c.cost = facts_amount(f, FACT_COST);
    for (size_t k = 0; k < t->n_raws; k++)
        c.raw[k] = facts_number(f, t->raw_column[k]);
    for (size_t i = 0; i < f->n && f->rc == RC_OK; i++) {
        bool is;

        if (!is_wanted(t, f, &c, i, low, high))
            continue;
        if (!c.combo || (uint64_t)c.combo[i] >= t->n_combos) {
            f->rc = read_damaged(&f->fail);
            return;
        }
        if (t->place_of[c.combo[i]] < 0)
            continue;
        f->rc = holds(t, f, i, &is);
        if (f->rc == RC_OK && is)
            put_piece(t, &c, i, low);
        if (t->n_pieces == UINT32_MAX) {
            f->fail = (struct fail){.rc = RC_LIMIT, .doing = "add up that many requests"};
            f->rc = RC_LIMIT;
        }
    }
}

static int in_order(const struct piece *a, const struct piece *b)
{
    if (a->start_us != b->start_us)
        return a->start_us < b->start_us ? -1 : 1;
    if (a->end_us != b->end_us)
        return a->end_us < b->end_us ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

static int by_place(const void *a, const void *b, void *arg)
{
    const struct piece *pieces = arg;

    return in_order(&pieces[*(const uint32_t *)a], &pieces[*(const uint32_t *)b]);
}

/* By task, and within it by start, end, number: mostly they are so already. */
static void sort_pieces(struct fact_tasks *t)
{
    memset(t->first, 0, (WINDOW + 1) * sizeof(*t->first));
    t->order = xrealloc(t->order, (t->n_pieces + 1) * sizeof(*t->order));
    for (size_t i = 0; i < t->n_pieces; i++)
        t->first[t->pieces[i].task + 1]++;
    for (size_t k = 0; k < WINDOW; k++)
        t->first[k + 1] += t->first[k];
    for (size_t i = 0; i < t->n_pieces; i++)
        t->order[t->first[t->pieces[i].task]++] = (uint32_t)i;
    memmove(t->first + 1, t->first, WINDOW * sizeof(*t->first));
    t->first[0] = 0;
    for (size_t k = 0; k < WINDOW; k++) {
        uint32_t *from = t->order + t->first[k];
        size_t n = t->first[k + 1] - t->first[k];
        bool ordered = true;

        for (size_t i = 1; i < n && ordered; i++)
            ordered = in_order(&t->pieces[from[i - 1]], &t->pieces[from[i]]) <= 0;
        if (!ordered)
            qsort_r(from, n, sizeof(*from), by_place, t->pieces);
    }
}

/* ---- one task
 * ---------------------------------------------------------------------------------- */

static enum rc take_values(struct fact_tasks *t, const struct piece *p, struct fail *fail)
{
    struct task_reading *g = t->g;
    size_t raw = 0;

    for (size_t k = 0; k < g->n_by; k++) {
        enum rc rc = RC_OK;

        if (field_is_of_combo(&g->by[k]))
            g->values[k] = combo_value(&g->reader->combos[p->combo], g->by[k].id);
        else
            rc = pick_value(g->reader, &g->by[k], p->raw[raw++], &g->values[k], fail);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* As task_pair, of the attempts that are few. */
static void pair_few(struct task_reading *g, const struct ledger_attempt *a)
{
    for (size_t i = g->n_attempts; a->number > 1 && i-- > 0;) {
        if (g->attempts[i].number == a->number - 1 && !g->attempts[i].is_superseded) {
            g->attempts[i].is_superseded = true;
            return;
        }
    }
}

static enum rc add_request(struct fact_tasks *t, const struct piece *p, bool few,
                           struct fail *fail)
{
    struct task_reading *g = t->g;
    struct ledger_sums *s = &g->task.sums;
    enum outcome outcome = g->reader->combos[p->combo].outcome;
    bool is_priced = (p->flags & FACT_IS_PRICED) != 0;
    struct ledger_attempt a = {.number = p->attempt ? (uint32_t)p->attempt : 1,
                               .outcome = outcome,
                               .is_priced = is_priced,
                               .is_repeat = (p->flags & FACT_IS_REPEAT) != 0,
                               .cost = {p->cost}};
    enum rc rc = task_room(g, fail);

    if (rc == RC_OK && s->requests == 0)
        rc = take_values(t, p, fail);
    if (rc != RC_OK)
        return rc;
    if (few)
        pair_few(g, &a);
    else
        task_pair(g, &a);
    g->attempts[g->n_attempts++] = a;
    s->requests++;
    s->errors += outcome_is_error(outcome);
    s->priced += is_priced;
    s->unpriced += !is_priced;
    s->cost = ledger_money_add(s->cost, a.cost);
    if (g->task.closed_us != 0 && p->end_us > g->task.closed_us) {
        g->task.late++;
        g->task.late_cost = ledger_money_add(g->task.late_cost, a.cost);
    }
    return RC_OK;
}

/* seq: of the requests, in the order of the attempts. */
static void add_correction(struct fact_tasks *t, const struct piece *p, const uint32_t *order,
                           size_t n)
{
    struct task_reading *g = t->g;
    size_t attempt = 0;

    g->task.sums.cost = ledger_money_add(g->task.sums.cost, (struct money){p->cost});
    g->task.sums.priced += p->attempt == ATTEMPT_LATE_PRICE;
    for (size_t i = 0; i < n && attempt < g->n_attempts; i++) {
        const struct piece *of = &t->pieces[order[i]];

        if (of->attempt < 0)
            continue;
        if (p->corrects && of->seq == p->corrects) {
            struct ledger_attempt *a = &g->attempts[attempt];

            a->cost = ledger_money_add(a->cost, (struct money){p->cost});
            a->is_priced |= (p->flags & FACT_IS_PRICED) != 0;
            return;
        }
        attempt++;
    }
}

static enum rc tell(struct fact_tasks *t, int64_t id, const uint32_t *order, size_t n,
                    struct fail *fail)
{
    struct task_reading *g = t->g;
    enum rc rc = RC_OK;

    g->id = id;
    g->n_attempts = 0;
    memset(&g->task, 0, sizeof(g->task));
    for (size_t k = 0; k < g->n_by; k++)
        g->values[k] = STRV("");
    g->task.value = g->values;
    g->task.outcome = (enum task_outcome)t->outcome[id];
    g->task.closed_us = t->closed_us[id];
    if (n > SCANNED_MAX)
        dict_clear(&g->open);
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        const struct piece *p = &t->pieces[order[i]];

        if (p->attempt >= 0)
            rc = add_request(t, p, n <= SCANNED_MAX, fail);
    }
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        const struct piece *p = &t->pieces[order[i]];

        if (p->attempt < 0)
            add_correction(t, p, order, n);
    }
    if (rc == RC_OK && (g->task.sums.requests > 0 || g->cohort == COHORT_SPEND))
        task_give(g);
    else if (rc == RC_OK && g->cohort == COHORT_CLOSED)
        rc = task_whole(g, id, fail); /* of corrections alone */
    return rc;
}

static enum rc tell_window(struct fact_tasks *t, int64_t low, int64_t high, struct fail *fail)
{
    struct task_reading *g = t->g;
    enum rc rc = RC_OK;

    sort_pieces(t);
    for (int64_t id = low; id < high && rc == RC_OK && !g->is_ended; id++) {
        size_t k = (size_t)(id - low), n = t->first[k + 1] - t->first[k];
        unsigned mark = t->mark[id];

        if (n > 0)
            rc = tell(t, id, t->order + t->first[k], n, fail);
        else if (g->cohort != COHORT_SPEND && (mark & MARK_WANTED) &&
                 (!(mark & MARK_SEEN) || (mark & MARK_OLD)))
            rc = task_whole(g, id, fail);
    }
    return rc;
}

static enum rc read_window(struct fact_tasks *t, int64_t low, int64_t high, struct fail *fail)
{
    const struct ledger_filter *f = t->g->filter;
    bool of_period = t->g->cohort == COHORT_SPEND;
    struct facts facts;
    enum rc rc;

    t->n_pieces = 0;
    facts_open(&facts, t->g->reader, kept(t, of_period ? f->from_us : INT64_MIN),
               of_period ? f->to_us : INT64_MAX);
    facts.least_task = low;
    facts.most_task = high - 1;
    while (facts_next(&facts))
        take_block(t, &facts, low, high);
    rc = facts.rc;
    if (rc != RC_OK)
        *fail = facts.fail;
    facts_close(&facts);
    return rc == RC_OK ? tell_window(t, low, high, fail) : rc;
}

/* ---- the question
 * ------------------------------------------------------------------------------- */

static void init(struct fact_tasks *t)
{
    const struct task_reading *g = t->g;
    const struct ledger_reader *r = g->reader;

    t->n_combos = r->n_combos ? (size_t)r->combos[r->n_combos - 1].id + 1 : 1;
    t->place_of = xmalloc(t->n_combos * sizeof(*t->place_of));
    memset(t->place_of, 0xff, t->n_combos * sizeof(*t->place_of));
    for (size_t i = 0; i < r->n_combos; i++) {
        if (combo_matches(g->filter, &r->combos[i]))
            t->place_of[r->combos[i].id] = (int32_t)i;
    }
    t->where = xcalloc(g->filter->n_where + 1, sizeof(*t->where));
    for (size_t i = 0; i < g->filter->n_where; i++) {
        const struct ledger_condition *c = &g->filter->where[i];

        if (!field_is_of_combo(&c->field))
            pick_field_init(&t->where[t->n_where++], &c->field, c);
    }
    for (size_t i = 0; i < g->n_by; i++) {
        if (!field_is_of_combo(&g->by[i]))
            t->raw_column[t->n_raws++] = pick_column(&g->by[i]);
    }
    t->first = xcalloc(WINDOW + 1, sizeof(*t->first));
}

static void release(struct fact_tasks *t)
{
    for (size_t i = 0; i < t->n_where; i++)
        pick_field_release(&t->where[i]);
    free(t->where);
    free(t->place_of);
    free(t->mark);
    free(t->outcome);
    free(t->closed_us);
    free(t->pieces);
    free(t->order);
    free(t->first);
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
    init(&t);
    rc = read_rows(&t, fail);
    if (rc == RC_OK && g->cohort == COHORT_OPEN)
        rc = mark_open(&t, fail);
    for (int64_t low = 1; rc == RC_OK && low < (int64_t)t.n_tasks && !g->is_ended;
         low += WINDOW) {
        int64_t high = low + WINDOW < (int64_t)t.n_tasks ? low + WINDOW : (int64_t)t.n_tasks;
        bool any = g->cohort == COHORT_SPEND;

        for (int64_t id = low; id < high && !any; id++)
            any = (t.mark[id] & MARK_WANTED) != 0;
        if (any)
            rc = read_window(&t, low, high, fail);
    }
    release(&t);
    return rc;
}
