/*
 * read_fact_when.c - which requests of a block the times of a question leave, and in which period
 * they are.
 */
#include "base/xalloc.h"
#include "metering/ledger/read_fact_pick.h"

static bool find_period(struct fact_pick *p, int64_t us)
{
    if (p->period_at >= 0 && us >= p->period.from_us && us < p->period.to_us)
        return true;
    p->period_at = answer_period_at(p->answer, us);
    if (p->period_at < 0)
        return false;
    p->period = p->answer->periods[p->period_at];
    return true;
}

/* ---- days that are left out --------------------------------------------------------------- */

void pick_leave_out(struct fact_pick *p, const struct cube_place *day)
{
    if ((p->n_left_out & (p->n_left_out - 1)) == 0)
        p->left_out = xrealloc(p->left_out, (p->n_left_out ? p->n_left_out * 2 : 1) *
                                                sizeof(*p->left_out));
    p->left_out[p->n_left_out++] = *day;
}

/* The first of the days left out that is not before `day`, or NULL. */
static const struct cube_place *left_out_from(const struct fact_pick *p, int64_t day)
{
    size_t low = 0, high = p->n_left_out;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (p->left_out[middle].day < day)
            low = middle + 1;
        else
            high = middle;
    }
    return low < p->n_left_out ? &p->left_out[low] : NULL;
}

static bool is_left_out(const struct fact_pick *p, int64_t us)
{
    int64_t day = rollup_bucket(LEVEL_DAY, us);
    const struct cube_place *c = left_out_from(p, day);

    return c && c->day == day && p->facts.place->block <= c->through;
}

/* Some requests of the block at hand may be of days left out. */
static bool may_leave_out(const struct fact_pick *p)
{
    const struct fact_place *at = p->facts.place;
    int64_t first = rollup_bucket(LEVEL_DAY, at->first_us);
    int64_t last = rollup_bucket(LEVEL_DAY, at->last_us);
    const struct cube_place *end = p->left_out + p->n_left_out;

    if (at->block == 0 || at->is_cube || p->n_left_out == 0)
        return false;
    for (const struct cube_place *c = left_out_from(p, first); c && c < end && c->day <= last;
         c++) {
        if (at->block <= c->through)
            return true;
    }
    return false;
}

/* Every request of the block at hand is of a day left out. */
bool pick_is_left_out(const struct fact_pick *p)
{
    const struct fact_place *at = p->facts.place;

    return may_leave_out(p) &&
           rollup_bucket(LEVEL_DAY, at->first_us) == rollup_bucket(LEVEL_DAY, at->last_us);
}

/* All of the block is in one period, and every end is asked for. */
bool pick_is_of_one_period(struct fact_pick *p)
{
    const struct fact_place *at = p->facts.place;

    return p->facts.is_inside && !may_leave_out(p) && !p->answer->q->filter.by_start &&
           find_period(p, at->first_us) && at->last_us < p->period.to_us;
}

void pick_by_time(struct fact_pick *p)
{
    const struct ledger_filter *f = &p->answer->q->filter;
    struct pick_pairs *pairs = &p->pairs[LEDGER_GROUP_MAX];
    const int64_t *end = facts_number(&p->facts, FACT_END);
    const int64_t *start = f->by_start ? facts_number(&p->facts, FACT_START) : NULL;
    bool leaves_out = may_leave_out(p);

    for (size_t i = 0; i < p->facts.n; i++) {
        int64_t us = end ? end[i] : 0;

        if (p->row[i] == PICK_NONE)
            continue;
        if (us < p->facts.from_us || us >= p->facts.to_us ||
            (leaves_out && is_left_out(p, us))) {
            p->row[i] = PICK_NONE;
            continue;
        }
        if (start)
            us = (int64_t)((uint64_t)us + (uint64_t)start[i]);
        if ((f->by_start && (us < f->from_us || us >= f->to_us)) || !find_period(p, us))
            p->row[i] = PICK_NONE;
        else if (p->answer->n_periods > 1)
            p->row[i] = (int32_t)pick_fold(pairs, (uint32_t)p->period_at, (uint32_t)p->row[i]);
    }
}

void pick_fold_period(struct fact_pick *p)
{
    struct pick_pairs *pairs = &p->pairs[LEDGER_GROUP_MAX];

    if (p->answer->n_periods <= 1)
        return;
    for (size_t i = 0; i < p->facts.n; i++) {
        if (p->row[i] != PICK_NONE)
            p->row[i] = (int32_t)pick_fold(pairs, (uint32_t)p->period_at, (uint32_t)p->row[i]);
    }
}
