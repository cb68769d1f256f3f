/*
 * read_tally_tasks.c - tasks as their tallies tell them (tally.h).
 *
 * A tally is of all lines of its task.  So it answers where all of them are asked for: their
 * ends are within the period or do not matter, and the conditions are on what all of them have
 * in common.  All other tasks are made of their lines.
 */
#include "metering/ledger/read_fact_tasks.h"

#include <string.h>

/* ---- which tallies hold -------------------------------------------------------------------- */

/*
 * The column of tallies that stands for a column of facts; TALLY_NUMBERS: the task's number.
 * False where there is none.
 */
static bool column_of(unsigned fact_column, unsigned *out)
{
    static const struct {
        unsigned of_facts, of_tallies;
    } columns[] = {{FACT_CUSTOMER, TALLY_CUSTOMER},
                   {FACT_USER, TALLY_USER},
                   {FACT_TAGSET, TALLY_TAGSET},
                   {FACT_TASK, TALLY_NUMBERS}};

    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
        if (columns[i].of_facts != fact_column)
            continue;
        *out = columns[i].of_tallies;
        return true;
    }
    return false;
}

static bool can_use(const struct fact_tasks *t)
{
    const struct pieces *p = &t->pieces;
    unsigned column;
    bool can = true;

    for (size_t i = 0; i < p->n_where; i++)
        can &= column_of(p->where[i].column, &column);
    for (size_t i = 0; i < p->n_raws; i++)
        can &= column_of(p->raw_column[i], &column);
    return can;
}

static void on_stale(int64_t task, void *arg)
{
    struct fact_tasks *t = arg;

    if (task_is_of(t, task))
        t->mark[task] &= (uint8_t)~MARK_TALLY;
}

enum rc tasks_mark_tallies(struct fact_tasks *t, struct fail *fail)
{
    struct ledger_reader *r = t->g->reader;
    enum rc rc = tallies_look(r, fail);

    if (rc != RC_OK || !can_use(t))
        return rc;
    for (size_t i = 0; i < r->tallies.n; i++) {
        int64_t block = r->tallies.at[i].block, low = block << TALLY_SHIFT;
        int64_t high = low + TALLY_BLOCK;

        if (!tally_find(r, block))
            continue;
        for (int64_t id = low; id < high && id < (int64_t)t->n_tasks; id++)
            t->mark[id] |= MARK_TALLY;
        t->has_tallies = true;
    }
    return t->has_tallies ? tallies_stale(r, on_stale, t, fail) : RC_OK;
}

/* ---- which are told -------------------------------------------------------------------------
 */

/* A column that is not there. */
static const int64_t zeros[TALLY_BLOCK];

/* Columns of the block at hand by which tasks are chosen. */
struct choosing {
    const int64_t *lines, *combo, *first, *last, *state, *closed, *varies;
    const int64_t *superseded; /* NULL: does not matter */
    const int64_t *raw[LEDGER_CONDITIONS_MAX]; /* NULL: the task's own number */
    bool is_id[LEDGER_CONDITIONS_MAX];
    int64_t asked; /* bits of the fields that conditions are on */
};

static const int64_t *column_at(struct tally *y, unsigned column)
{
    const int64_t *v = tally_number(y, column);

    return v ? v : zeros;
}

static int64_t at(const int64_t *column, size_t i)
{
    return column ? column[i] : 0;
}

static void read_columns(struct fact_tasks *t, struct choosing *c)
{
    const struct ledger_filter *f = t->g->filter;
    struct tally *y = &t->tally;

    *c = (struct choosing){.lines = column_at(y, TALLY_LINES),
                           .first = column_at(y, TALLY_FIRST_END),
                           .last = column_at(y, TALLY_LAST_END),
                           .state = column_at(y, TALLY_STATE),
                           .combo = column_at(y, TALLY_COMBO),
                           .closed = zeros,
                           .varies = zeros};
    if (t->g->of_retried)
        c->superseded = column_at(y, TALLY_SUPERSEDED);
    if (t->g->cohort != COHORT_OPEN) /* which looks at no closed one */
        c->closed = column_at(y, TALLY_CLOSED);
    for (size_t i = 0; i < f->n_where; i++)
        c->asked |= INT64_C(1) << (f->where[i].field.id == FIELD_TRAFFIC_CLASS
                                       ? FIELD_ENVIRONMENT /* what it is told by */
                                       : f->where[i].field.id);
    if (c->asked)
        c->varies = column_at(y, TALLY_VARIES);
    for (size_t k = 0; k < t->pieces.n_where; k++) {
        unsigned column = 0;

        (void)column_of(t->pieces.where[k].column, &column); /* can_use has looked */
        c->is_id[k] = column == TALLY_NUMBERS;
        c->raw[k] = c->is_id[k] ? NULL : column_at(y, column);
    }
}

enum tally_choice { CHOICE_NOT = 0, CHOICE_TELL, CHOICE_LINES };

static enum tally_choice by_period(const struct fact_tasks *t, int64_t first_us,
                                   int64_t last_us, bool is_closed, int64_t closed_us)
{
    const struct ledger_filter *f = t->g->filter;
    bool first_in = first_us >= f->from_us && first_us < f->to_us;
    bool last_in = last_us >= f->from_us && last_us < f->to_us;

    switch (t->g->cohort) {
    case COHORT_CLOSED:
        if (is_closed)
            return closed_us >= f->from_us && closed_us < f->to_us ? CHOICE_TELL : CHOICE_NOT;
        if (!t->g->with_open)
            return CHOICE_NOT;
        if (first_in || last_in)
            return CHOICE_TELL;
        break;
    case COHORT_SPEND:
        if (first_in && last_in)
            return CHOICE_TELL;
        break;
    case COHORT_OPEN:
        if (is_closed)
            return CHOICE_NOT;
        if (first_in || last_in)
            return CHOICE_TELL;
        break;
    }
    /* Some of its lines may be of the period: some before it ended, some after it began. */
    return first_us < f->to_us && last_us >= f->from_us ? CHOICE_LINES : CHOICE_NOT;
}

/* Given that all lines are alike in what is asked. */
static enum rc by_conditions(struct fact_tasks *t, const struct choosing *c, size_t i,
                             int64_t id, bool *holds, struct fail *fail)
{
    int64_t combo = c->combo[i];
    enum rc rc = RC_OK;

    *holds = false;
    if (combo <= 0 || (uint64_t)combo >= t->pieces.n_combos)
        return read_damaged(fail);
    *holds = t->pieces.place_of[combo] >= 0;
    for (size_t k = 0; rc == RC_OK && *holds && k < t->pieces.n_where; k++)
        rc = pick_holds(t->g->reader, &t->pieces.where[k],
                        c->is_id[k] ? id : c->raw[k][i], holds, fail);
    return rc;
}

static enum rc choose(struct fact_tasks *t, const struct choosing *c, size_t i, int64_t id,
                      enum tally_choice *out, struct fail *fail)
{
    int64_t first_us = c->first[i], last_us = first_us + c->last[i];
    int64_t state = c->state[i], closed_us = state ? last_us + c->closed[i] : 0;
    enum rc rc = RC_OK;
    bool holds;

    if (state < 0 || state > TASK_ABANDONED + 1)
        return read_damaged(fail);
    t->outcome[id] = (uint8_t)(state ? state - 1 : TASK_OPEN);
    t->closed_us[id] = closed_us;
    if (c->lines[i] == 0) { /* its row alone knows whether it is told */
        *out = state && t->g->cohort == COHORT_CLOSED &&
                       closed_us >= t->g->reader->kept_from_us
                   ? CHOICE_LINES
                   : CHOICE_NOT;
        return RC_OK;
    }
    *out = by_period(t, first_us, last_us, state != 0, closed_us);
    if (*out != CHOICE_TELL)
        return RC_OK;
    if (c->combo[i] == 0 || (c->varies[i] & c->asked)) {
        *out = CHOICE_LINES;
        return RC_OK;
    }
    rc = by_conditions(t, c, i, id, &holds, fail);
    if (!holds)
        *out = CHOICE_NOT;
    return rc;
}

static void take_choice(struct fact_tasks *t, int64_t id, enum tally_choice choice)
{
    const struct ledger_filter *f = t->g->filter;

    switch (choice) {
    case CHOICE_NOT:
        break;
    case CHOICE_TELL:
        t->mark[id] |= MARK_TELL;
        break;
    case CHOICE_LINES:
        t->mark[id] &= (uint8_t)~MARK_TALLY;
        if (t->g->cohort == COHORT_CLOSED && t->outcome[id] != TASK_OPEN &&
            t->closed_us[id] >= f->from_us && t->closed_us[id] < f->to_us)
            t->mark[id] |= MARK_WANTED;
        break;
    }
}

static enum rc choose_of_block(struct fact_tasks *t, int64_t block, struct fail *fail)
{
    int64_t low = block << TALLY_SHIFT;
    struct choosing c;
    enum rc rc = RC_OK;

    tally_stand_at(&t->tally, block);
    read_columns(t, &c);
    for (size_t i = 0; t->tally.rc == RC_OK && rc == RC_OK && i < TALLY_BLOCK; i++) {
        int64_t id = low + (int64_t)i;
        enum tally_choice choice = CHOICE_NOT;

        if (!task_is_of(t, id) || !(t->mark[id] & MARK_TALLY))
            continue;
        if (t->g->cohort == COHORT_OPEN && c.state[i] > 0)
            continue; /* most of them */
        if (c.superseded && c.superseded[i] == 0)
            continue; /* nor is anything of some of its lines */
        rc = choose(t, &c, i, id, &choice, fail);
        if (rc == RC_OK)
            take_choice(t, id, choice);
    }
    if (t->tally.rc == RC_OK)
        return rc;
    *fail = t->tally.fail;
    return t->tally.rc;
}

enum rc tasks_choose_tallies(struct fact_tasks *t, struct fail *fail)
{
    const struct tally_index *x = &t->g->reader->tallies;
    enum rc rc = RC_OK;

    for (size_t i = 0; t->has_tallies && rc == RC_OK && i < x->n; i++) {
        if (tally_find(t->g->reader, x->at[i].block))
            rc = choose_of_block(t, x->at[i].block, fail);
    }
    t->tally.block = -1;
    return rc;
}

/* ---- one task ----------------------------------------------------------------------------- */

static struct money amount_at(struct tally *y, unsigned which, size_t i)
{
    const money_int *v = tally_amount(y, which);

    return (struct money){v ? v[i] : 0};
}

static uint64_t count_at(struct tally *y, unsigned column, size_t i)
{
    return (uint64_t)at(tally_number(y, column), i);
}

unsigned tally_column(const struct ledger_field *field)
{
    unsigned column = TALLY_COLUMNS;

    if (!field_is_of_combo(field))
        (void)column_of(pick_column(field), &column); /* can_use has looked */
    return column;
}

enum rc task_tally_values(struct fact_tasks *t, size_t i, int64_t id, struct fail *fail)
{
    struct task_reading *g = t->g;
    int64_t combo = at(tally_number(&t->tally, TALLY_COMBO), i);
    enum rc rc = RC_OK;

    if (combo <= 0 || (uint64_t)combo >= t->pieces.n_combos ||
        t->pieces.place_of[combo] < 0)
        return read_damaged(fail);
    for (size_t k = 0; rc == RC_OK && k < g->n_by; k++) {
        unsigned column = tally_column(&g->by[k]);

        if (column == TALLY_COLUMNS) {
            g->values[k] = combo_value(&g->reader->combos[t->pieces.place_of[combo]],
                                       g->by[k].id);
            continue;
        }
        rc = pick_value(g->reader, &g->by[k],
                        column == TALLY_NUMBERS ? id : at(tally_number(&t->tally, column), i),
                        &g->values[k], fail);
    }
    return rc;
}

static void take_parts(struct fact_tasks *t, size_t i)
{
    struct ledger_task *to = &t->g->task;

    for (unsigned k = 0; k < LEDGER_PARTS; k++)
        to->part[k] = (struct ledger_part_sum){count_at(&t->tally, TALLY_PART_REQUESTS + k, i),
                                               count_at(&t->tally, TALLY_PART_PRICED + k, i),
                                               amount_at(&t->tally, TALLY_PART_COST + k, i)};
}

enum rc task_tell_tally(struct fact_tasks *t, int64_t id, struct fail *fail)
{
    struct task_reading *g = t->g;
    struct ledger_task *to = &g->task;
    struct tally *y = &t->tally;
    size_t i = (size_t)(id & (TALLY_BLOCK - 1));
    enum rc rc;

    if (y->block != tally_block_of(id))
        tally_stand_at(y, tally_block_of(id));
    rc = task_tally_values(t, i, id, fail);
    if (rc != RC_OK)
        return rc;
    g->id = id;
    to->value = g->values;
    to->outcome = (enum task_outcome)t->outcome[id];
    to->closed_us = t->closed_us[id];
    to->sums.requests = count_at(y, TALLY_REQUESTS, i);
    to->sums.errors = count_at(y, TALLY_ERRORS, i);
    to->sums.priced = count_at(y, TALLY_PRICED, i);
    to->sums.unpriced = count_at(y, TALLY_UNPRICED, i);
    to->sums.cost = amount_at(y, TALLY_COST, i);
    to->superseded = count_at(y, TALLY_SUPERSEDED, i);
    to->retry_cost = amount_at(y, TALLY_RETRY, i);
    to->late = count_at(y, TALLY_LATE, i);
    to->late_cost = amount_at(y, TALLY_LATE_COST, i);
    if (g->cohort == COHORT_SPEND)
        take_parts(t, i);
    if (y->rc != RC_OK) {
        *fail = y->fail;
        return y->rc;
    }
    if (!g->fn(to, g->arg))
        g->is_ended = true;
    return RC_OK;
}
