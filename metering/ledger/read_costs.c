/*
 * read_costs.c - see read_costs.h.
 *
 * Costs stand in one table: a column for each customer or user (or pair of these) that is met, and a
 * line for what all other fields come to.  So a request's place is known without a search; and where
 * whole pages of it are of groups that are not there, these take no memory.
 */
#include "metering/ledger/read_costs.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_cube.h"

enum {
    AHEAD = 16, /* requests whose groups are fetched before their turn */
    COST_BITS = 90,
    UNIT_BITS = 58, /* 2^31 costs below these do not wrap */
    KEPT_MORE = 4096, /* groups that are kept beside the dearest until they are put in order */
};

/* What one thread adds up. */
struct table {
    struct fact_pick *p;
    money_int *cost;
    size_t lines, columns;
    bool is_full;
    uint64_t n, cube_rows;
    unsigned cost_column; /* of cubes */
    uint32_t at[FACT_BLOCK + AHEAD];
    money_int amount[FACT_BLOCK];
};

struct walk {
    struct fact_pick *p; /* the asker's */
    int64_t from_us, to_us;
    struct crew_pieces days, pieces;
    struct table *table[CREW_MAX];
};

/* A group that may be among the dearest. */
struct dear {
    money_int cost;
    size_t at;
};

/* ---- a table -------------------------------------------------------------------------------- */

static struct table *table_new(struct fact_pick *p)
{
    struct table *t = xcalloc(1, sizeof(*t));
    struct sums_field cost;

    t->p = p;
    if (ledger_sums_amount(0, &cost))
        t->cost_column = cost.number;
    return t;
}

static void table_free(struct table *t)
{
    if (!t)
        return;
    free(t->cost);
    free(t);
}

/* Whether there is room for so many, with the place of what is in no group: no product wraps. */
static bool fits(const struct table *t, size_t lines, size_t columns)
{
    size_t most = t->p->answer->reader->costs_bytes / sizeof(*t->cost);

    return most > 0 && (lines == 0 || columns <= (most - 1) / lines);
}

static void move_to(struct table *t, size_t lines, size_t columns)
{
    money_int *cost = xcalloc_wide(lines * columns + 1, sizeof(*cost));

    for (size_t i = 0; i < t->lines; i++)
        memcpy(cost + i * columns, t->cost + i * t->columns, t->columns * sizeof(*cost));
    free(t->cost);
    t->cost = cost;
    t->lines = lines;
    t->columns = columns;
}

/* False: they take too much.  There is a place of what is in no group then, whatever is met. */
static bool make_room(struct table *t, size_t lines, size_t columns)
{
    size_t more_lines, more_columns;

    if (t->cost && lines <= t->lines && columns <= t->columns)
        return true;
    lines = lines > t->lines ? lines : t->lines;
    columns = columns > t->columns ? columns : t->columns;
    t->is_full = !fits(t, lines, columns);
    if (t->is_full)
        return false;
    /* As much more as there is room for: what is not there yet is not touched. */
    for (size_t part = 1; part <= 16; part *= 2) {
        more_lines = lines > t->lines ? lines + lines / part : lines;
        more_columns = columns > t->columns ? columns + columns / part : columns;
        if (fits(t, more_lines, more_columns)) {
            move_to(t, more_lines, more_columns);
            return true;
        }
    }
    move_to(t, lines, columns);
    return true;
}

/* ---- a block -------------------------------------------------------------------------------- */

/* Places of the groups of its requests; of one that is in none, the one behind them. */
static bool find_places(struct table *t)
{
    const struct fact_pick *p = t->p;
    size_t n = p->facts.n;

    if (!make_room(t, pick_numbers(p), pick_lasts(p)))
        return false;
    for (size_t i = 0; i < n; i++)
        t->at[i] = p->row[i] == PICK_NONE
                       ? (uint32_t)(t->lines * t->columns)
                       : (uint32_t)((size_t)p->row[i] * t->columns + (size_t)p->last[i]);
    for (size_t i = n; i < n + AHEAD; i++)
        t->at[i] = t->at[n - 1];
    return true;
}

static bool is_small(const struct facts_small *cost)
{
    const money_int most = (money_int)1 << COST_BITS;

    return cost && cost->head.least <= most && cost->head.least >= -most &&
           cost->head.unit >> UNIT_BITS == 0;
}

static void add_small(struct table *t, const struct facts_small *cost)
{
    money_int *to = t->cost, least = cost->head.least;
    size_t n = t->p->facts.n;

    if (cost->head.is_level) {
        for (size_t i = 0; least != 0 && i < n; i++)
            to[t->at[i]] += least;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(&to[t->at[i + AHEAD]], 1);
        to[t->at[i]] += least + (money_int)((facts_bits)cost->d[i] * cost->head.unit);
    }
}

static void add_amounts(struct table *t, const money_int *cost)
{
    for (size_t i = 0; cost && i < t->p->facts.n; i++)
        row_sums_add_money(&t->cost[t->at[i]], cost[i]);
}

static void add_blocks(struct table *t)
{
    struct facts *f = &t->p->facts;

    while (!t->is_full && f->rc == RC_OK && pick_next(t->p)) {
        const struct facts_small *cost = facts_small(f, FACT_AMOUNT_COLUMN + FACT_COST);

        t->n += t->p->n_picked;
        if (f->rc != RC_OK || !find_places(t))
            return;
        if (is_small(cost))
            add_small(t, cost);
        else
            add_amounts(t, facts_amount(f, FACT_COST));
    }
}

static void add_day(struct fact_pick *p, void *arg)
{
    struct table *t = arg;

    t->cube_rows += p->n_picked;
    if (!t->is_full && find_places(t) && cube_amounts(&p->facts, t->cost_column, t->amount))
        add_amounts(t, t->amount);
}

static void add_days(struct table *t, struct walk *w)
{
    answer_each_cube(t->p, w->p->answer->cube_kind, &w->days, w->from_us, w->to_us, add_day, t);
}

/* ---- by several threads --------------------------------------------------------------------- */

static void walk_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct walk *w = arg;
    struct table *t = table_new(member == 0 ? w->p : pick_beside(w->p, r));

    w->table[member] = t;
    add_days(t, w);
    facts_take_from(&t->p->facts, &w->pieces);
    add_blocks(t);
    if (member > 0)
        return;
    facts_go_to(&t->p->facts, facts_stored(r));
    add_blocks(t);
}

static void walk_alone(struct walk *w)
{
    struct table *t = w->table[0] = table_new(w->p);

    w->p->facts.rc = RC_OK;
    crew_cut(&w->days, w->days.n, 1);
    add_days(t, w);
    facts_go_to(&w->p->facts, 0);
    add_blocks(t);
}

static bool is_whole(const struct walk *w)
{
    bool whole = true;

    for (size_t i = 0; i < CREW_MAX; i++)
        whole &= !w->table[i] || w->table[i]->p->facts.rc == RC_OK;
    return whole;
}

static void others_release(struct walk *w)
{
    for (size_t i = 1; i < CREW_MAX; i++) {
        if (w->table[i])
            pick_close(w->table[i]->p);
        table_free(w->table[i]);
        w->table[i] = NULL;
    }
}

static void add_line(money_int *to, const money_int *from, const uint32_t *column, size_t n)
{
    for (size_t b = 0; b < n; b++) {
        if (from[b] != 0)
            row_sums_add_money(&to[column[b]], from[b]);
    }
}

static enum rc merge(struct table *t, const struct table *from, struct fail *fail)
{
    size_t lines = pick_numbers(from->p), columns = pick_lasts(from->p);
    uint32_t *line = NULL, *column = NULL;
    enum rc rc = pick_translate(t->p, from->p, &line, fail);

    lines = lines < from->lines ? lines : from->lines;
    columns = columns < from->columns ? columns : from->columns;
    t->n += from->n;
    t->cube_rows += from->cube_rows;
    t->is_full |= from->is_full;
    if (rc == RC_OK)
        rc = pick_translate_last(t->p, from->p, &column, fail);
    if (rc == RC_OK && make_room(t, pick_numbers(t->p), pick_lasts(t->p))) {
        for (size_t a = 0; a < lines; a++)
            add_line(t->cost + (size_t)line[a] * t->columns, from->cost + a * from->columns,
                     column, columns);
    }
    free(line);
    free(column);
    return rc;
}

/* Table 0 has all of it then, where none is full. */
static enum rc walk(struct walk *w, struct fail *fail)
{
    struct ledger_reader *r = w->p->facts.reader;
    size_t members = crew_size(r, facts_within(&w->p->facts));
    size_t days = answer_leave_cubes_out(w->p, w->p->answer->cube_kind, w->from_us, w->to_us);
    enum rc rc = RC_OK;

    crew_cut(&w->days, days, members);
    if (members > 1) {
        crew_cut(&w->pieces, facts_stored(r), members);
        crew_run(r, members, walk_as, w);
    }
    if (members == 1 || !is_whole(w)) { /* as if there had been no other */
        others_release(w);
        table_free(w->table[0]);
        walk_alone(w);
    }
    for (size_t i = 1; i < CREW_MAX && rc == RC_OK && w->p->facts.rc == RC_OK; i++) {
        if (w->table[i] && !w->table[0]->is_full)
            rc = merge(w->table[0], w->table[i], fail);
    }
    others_release(w);
    return rc;
}

/* ---- the dearest ---------------------------------------------------------------------------- */

static int by_cost_down(const void *one, const void *other)
{
    const struct dear *a = one, *b = other;

    return (a->cost < b->cost) - (a->cost > b->cost);
}

/* Leaves the first `top` of them, and what costs as much as the last. */
static size_t leave(struct dear *of, size_t n, size_t top)
{
    qsort(of, n, sizeof(*of), by_cost_down);
    if (n <= top)
        return n;
    while (top < n && of[top].cost == of[top - 1].cost)
        top++;
    return top;
}

/*
 * The dearest of those that cost anything, *of to be freed: how many.  0: they are fewer than top, or
 * more than can be kept cost the same.
 */
static size_t choose(const struct table *t, size_t top, struct dear **of)
{
    size_t most = top + KEPT_MORE, n = 0;
    money_int least = 1;

    *of = xmalloc(most * sizeof(**of));
    for (size_t i = 0; i < t->lines * t->columns; i++) {
        if (t->cost[i] < least)
            continue;
        if (n == most) {
            n = leave(*of, n, top);
            if (n == most)
                return 0;
            least = (*of)[n - 1].cost;
            if (t->cost[i] < least)
                continue;
        }
        (*of)[n++] = (struct dear){t->cost[i], i};
    }
    n = leave(*of, n, top);
    return n < top ? 0 : n;
}

static enum rc make_rows(const struct table *t, const struct dear *of, size_t n, struct fail *fail)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < n && rc == RC_OK; i++) {
        struct strv values[LEDGER_GROUP_MAX];
        int64_t row;

        rc = pick_values(t->p, (uint32_t)(of[i].at / t->columns), (uint32_t)(of[i].at % t->columns),
                         values, fail);
        if (rc == RC_OK)
            rc = answer_row_at(t->p->answer, values, 0, true, &row, fail);
    }
    return rc;
}

/* Customers and users, which have columns. */
static size_t words_of(const struct ledger_question *q)
{
    size_t n = 0;

    while (n < q->n_by && (q->by[q->n_by - 1 - n].id == FIELD_CUSTOMER ||
                           q->by[q->n_by - 1 - n].id == FIELD_USER))
        n++;
    return n;
}

enum rc answer_dearest(struct answer *a, int64_t from_us, int64_t to_us, bool *known,
                       struct fail *fail)
{
    struct walk *w = xcalloc(1, sizeof(*w));
    struct dear *of = NULL;
    size_t n = 0;
    enum rc rc;

    *w = (struct walk){.p = pick_open(a, from_us, to_us, false, fail),
                       .from_us = from_us,
                       .to_us = to_us};
    *known = false;
    if (!w->p) {
        free(w);
        return fail->rc;
    }
    w->p->by_number = w->p->spares_combo = true;
    w->p->n_kept = words_of(a->q);
    rc = walk(w, fail);
    if (rc == RC_OK && w->p->facts.rc == RC_OK && !w->table[0]->is_full)
        n = choose(w->table[0], a->top, &of);
    *known = n > 0;
    if (rc == RC_OK && *known) {
        a->fact_rows += w->table[0]->n;
        a->cube_rows += w->table[0]->cube_rows;
        rc = make_rows(w->table[0], of, n, fail);
    }
    table_free(w->table[0]);
    rc = pick_finish(w->p, rc, fail);
    free(of);
    free(w);
    return rc;
}
