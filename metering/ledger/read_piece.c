/*
 * read_piece.c - see read_piece.h.
 */
#include "metering/ledger/read_piece.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

enum {
    SCANNED_MAX = 64, /* attempts of a task that are paired without a table */
    PIECES_FIRST = 4096,
};

/* ---- of a block -------------------------------------------------------------------------- */

/* Columns of the block at hand. */
struct task_columns {
    const int64_t *task, *combo, *start, *end, *seq, *attempt, *flags, *corrects;
    const int64_t *raw[PIECE_RAWS_MAX];
    const money_int *cost;
};

static int64_t at(const int64_t *column, size_t i)
{
    return column ? column[i] : 0;
}

static enum rc holds(struct pieces *p, struct facts *f, size_t i, bool *out)
{
    *out = true;
    for (size_t k = 0; *out && k < p->n_where; k++) {
        const int64_t *raw = facts_number(f, p->where[k].column);
        enum rc rc = pick_holds(p->g->reader, &p->where[k], at(raw, i), out, &f->fail);

        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static struct piece *new_piece(struct pieces *p)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : PIECES_FIRST;
        p->at = xrealloc(p->at, p->cap * sizeof(*p->at));
    }
    return &p->at[p->n++];
}

static void put(struct pieces *p, const struct task_columns *c, size_t i)
{
    struct piece *to = new_piece(p);
    int64_t end_us = at(c->end, i);

    *to = (struct piece){.end_us = end_us,
                         .start_us = (int64_t)((uint64_t)end_us + (uint64_t)at(c->start, i)),
                         .seq = at(c->seq, i) + (int64_t)i,
                         .corrects = at(c->corrects, i),
                         .cost = c->cost ? c->cost[i] : 0,
                         .task = (uint32_t)(c->task[i] - p->low),
                         .combo = p->place_of[c->combo[i]],
                         .attempt = (int32_t)at(c->attempt, i),
                         .flags = (uint32_t)at(c->flags, i)};
    for (size_t k = 0; k < p->n_raws; k++)
        to->raw[k] = (uint32_t)at(c->raw[k], i);
}

/* Places of the block's lines that are wanted. */
static size_t choose(struct pieces *p, struct facts *f, const int64_t *task, uint16_t *chosen)
{
    const int64_t *end = f->is_inside ? NULL : facts_number(f, FACT_END);
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (task[i] < p->low || task[i] >= p->high ||
            (!f->is_inside && (!end || end[i] < f->from_us || end[i] >= f->to_us)))
            continue;
        if (p->wanted(task[i], p->arg))
            chosen[n++] = (uint16_t)i;
    }
    return n;
}

static void read_columns(struct pieces *p, struct facts *f, struct task_columns *c)
{
    c->combo = facts_number(f, FACT_COMBO);
    c->start = facts_number(f, FACT_START);
    c->end = facts_number(f, FACT_END);
    c->seq = facts_number(f, FACT_SEQ);
    c->attempt = facts_number(f, FACT_ATTEMPT);
    c->flags = facts_number(f, FACT_FLAGS);
    c->corrects = facts_number(f, FACT_CORRECTS);
    c->cost = facts_amount(f, FACT_COST);
    for (size_t k = 0; k < p->n_raws; k++)
        c->raw[k] = facts_number(f, p->raw_column[k]);
}

void pieces_take(struct pieces *p, struct facts *f)
{
    struct task_columns c = {.task = facts_number(f, FACT_TASK)};
    uint16_t chosen[FACT_BLOCK];
    size_t n;

    if (!c.task)
        return;
    n = choose(p, f, c.task, chosen);
    if (n == 0)
        return;
    read_columns(p, f, &c);
    for (size_t k = 0; k < n && f->rc == RC_OK; k++) {
        size_t i = chosen[k];
        bool is;

        if (!c.combo || (uint64_t)c.combo[i] >= p->n_combos) {
            f->rc = read_damaged(&f->fail);
            return;
        }
        if (p->place_of[c.combo[i]] < 0)
            continue;
        f->rc = holds(p, f, i, &is);
        if (f->rc == RC_OK && is)
            put(p, &c, i);
        if (p->n == UINT32_MAX) {
            f->fail = (struct fail){.rc = RC_LIMIT, .doing = "add up that many requests"};
            f->rc = RC_LIMIT;
        }
    }
}

/* ---- by task ------------------------------------------------------------------------------- */

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
void pieces_sort(struct pieces *p)
{
    size_t n_tasks = (size_t)(p->high - p->low);

    memset(p->first, 0, (n_tasks + 1) * sizeof(*p->first));
    p->order = xrealloc(p->order, (p->n + 1) * sizeof(*p->order));
    for (size_t i = 0; i < p->n; i++)
        p->first[p->at[i].task + 1]++;
    for (size_t k = 0; k < n_tasks; k++)
        p->first[k + 1] += p->first[k];
    for (size_t i = 0; i < p->n; i++)
        p->order[p->first[p->at[i].task]++] = (uint32_t)i;
    memmove(p->first + 1, p->first, n_tasks * sizeof(*p->first));
    p->first[0] = 0;
    for (size_t k = 0; k < n_tasks; k++) {
        uint32_t *from = p->order + p->first[k];
        size_t n = p->first[k + 1] - p->first[k];
        bool ordered = true;

        for (size_t i = 1; i < n && ordered; i++)
            ordered = in_order(&p->at[from[i - 1]], &p->at[from[i]]) <= 0;
        if (!ordered)
            qsort_r(from, n, sizeof(*from), by_place, p->at);
    }
}

/* ---- one task ------------------------------------------------------------------------------ */

static enum rc take_values(struct pieces *p, const struct piece *piece, struct fail *fail)
{
    struct task_reading *g = p->g;
    size_t raw = 0;

    for (size_t k = 0; k < g->n_by; k++) {
        enum rc rc = RC_OK;

        if (field_is_of_combo(&g->by[k]))
            g->values[k] = combo_value(&g->reader->combos[piece->combo], g->by[k].id);
        else
            rc = pick_value(g->reader, &g->by[k], piece->raw[raw++], &g->values[k], fail);
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

static enum rc add_request(struct pieces *p, const struct piece *piece, bool few,
                           struct fail *fail)
{
    struct task_reading *g = p->g;
    struct ledger_sums *s = &g->task.sums;
    enum outcome outcome = g->reader->combos[piece->combo].outcome;
    bool is_priced = (piece->flags & FACT_IS_PRICED) != 0;
    struct ledger_attempt a = {.number = piece->attempt ? (uint32_t)piece->attempt : 1,
                               .outcome = outcome,
                               .is_priced = is_priced,
                               .is_repeat = (piece->flags & FACT_IS_REPEAT) != 0,
                               .cost = {piece->cost}};
    enum rc rc = task_room(g, fail);

    if (rc == RC_OK && s->requests == 0)
        rc = take_values(p, piece, fail);
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
    if (g->task.closed_us != 0 && piece->end_us > g->task.closed_us) {
        g->task.late++;
        g->task.late_cost = ledger_money_add(g->task.late_cost, a.cost);
    }
    return RC_OK;
}

/* order: of all the task's pieces; its requests are in the order of the attempts. */
static void add_correction(struct pieces *p, const struct piece *piece, const uint32_t *order,
                           size_t n)
{
    struct task_reading *g = p->g;
    size_t attempt = 0;

    g->task.sums.cost = ledger_money_add(g->task.sums.cost, (struct money){piece->cost});
    g->task.sums.priced += piece->attempt == ATTEMPT_LATE_PRICE;
    for (size_t i = 0; i < n && attempt < g->n_attempts; i++) {
        const struct piece *of = &p->at[order[i]];

        if (of->attempt < 0)
            continue;
        if (piece->corrects && of->seq == piece->corrects) {
            struct ledger_attempt *a = &g->attempts[attempt];

            a->cost = ledger_money_add(a->cost, (struct money){piece->cost});
            a->is_priced |= (piece->flags & FACT_IS_PRICED) != 0;
            return;
        }
        attempt++;
    }
}

enum rc pieces_add_up(struct pieces *p, const uint32_t *order, size_t n, struct fail *fail)
{
    enum rc rc = RC_OK;

    p->g->n_attempts = 0;
    if (n > SCANNED_MAX)
        dict_clear(&p->g->open);
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        const struct piece *piece = &p->at[order[i]];

        if (piece->attempt >= 0)
            rc = add_request(p, piece, n <= SCANNED_MAX, fail);
    }
    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        const struct piece *piece = &p->at[order[i]];

        if (piece->attempt < 0)
            add_correction(p, piece, order, n);
    }
    return rc;
}

/* ---- the question ----------------------------------------------------------------------- */

void pieces_learn(struct pieces *p)
{
    const struct ledger_reader *r = p->g->reader;

    p->n_combos = r->n_combos ? (size_t)r->combos[r->n_combos - 1].id + 1 : 1;
    p->place_of = xrealloc(p->place_of, p->n_combos * sizeof(*p->place_of));
    memset(p->place_of, 0xff, p->n_combos * sizeof(*p->place_of));
    for (size_t i = 0; i < r->n_combos; i++) {
        if (combo_matches(p->g->filter, &r->combos[i]))
            p->place_of[r->combos[i].id] = (int32_t)i;
    }
}

void pieces_init(struct pieces *p, struct task_reading *g)
{
    *p = (struct pieces){.g = g};
    p->where = xcalloc_wide(g->filter->n_where + 1, sizeof(*p->where));
    for (size_t i = 0; i < g->filter->n_where; i++) {
        const struct ledger_condition *c = &g->filter->where[i];

        if (!field_is_of_combo(&c->field))
            pick_field_init(&p->where[p->n_where++], &c->field, c);
    }
    for (size_t i = 0; i < g->n_by; i++) {
        if (!field_is_of_combo(&g->by[i]))
            p->raw_column[p->n_raws++] = pick_column(&g->by[i]);
    }
}

void pieces_window(struct pieces *p, int64_t low, int64_t high)
{
    p->low = low;
    p->high = high;
    p->n = 0;
    p->first = xrealloc(p->first, ((size_t)(high - low) + 1) * sizeof(*p->first));
}

void pieces_release(struct pieces *p)
{
    for (size_t i = 0; i < p->n_where; i++)
        pick_field_release(&p->where[i]);
    free(p->where);
    free(p->place_of);
    free(p->at);
    free(p->order);
    free(p->first);
}
