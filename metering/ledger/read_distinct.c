/*
 * read_distinct.c - how many customers, or users, each group has: from columns, by one bit for
 * each number of a text that occurs.
 *
 * What their requests cost is mostly all that the group cost: where that is added up already,
 * the costs of single requests are read only in blocks where one has no such text, and taken off.
 * Days that are added up by that field (cube.h) are read from their cubes.
 *
 * Sums by that field would say it too, with a row for each value; so they do where columns do
 * not know a condition or a field, and where the bits would take too much memory.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_cube.h"

enum { BITS_BYTES_MAX = 128 << 20 };

/* Columns of a cube's block. */
struct cube_costs {
    int64_t priced[FACT_BLOCK];
    money_int cost[FACT_BLOCK];
};

/* Of a group. */
struct members {
    uint64_t *bits; /* by number of the text */
    uint64_t n;
    uint64_t priced; /* with the next: of requests that have one; of_rest: that have none */
    struct money cost;
};

struct distinct;

/* What one thread has, by number of the group; or by row of the answer, which it is then. */
struct part {
    const struct distinct *d;
    struct fact_pick *p;
    struct cube_costs *costs;
    struct members *of;
    size_t cap, n_sets, sets_max;
    bool is_too_much;
};

struct distinct {
    struct answer a;
    unsigned column;
    enum cube_kind kind; /* of cubes that tell members of groups; CUBE_KINDS: none does */
    size_t words; /* of bits */
    bool of_rest, is_too_much;
    struct members **of; /* by row of the answer */
    struct crew_pieces pieces;
    struct part part[CREW_MAX]; /* the first is the asker's */
};

/* ---- from columns ------------------------------------------------------------------------- */

/* The members of a group; NULL: there is no room. */
static struct members *members_of(struct part *t, uint32_t group)
{
    struct members *m;

    if (group >= t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;

        while (cap <= group)
            cap *= 2;
        t->of = xrealloc(t->of, cap * sizeof(*t->of));
        for (size_t i = t->cap; i < cap; i++)
            t->of[i] = (struct members){0};
        t->cap = cap;
    }
    m = &t->of[group];
    if (m->bits)
        return m;
    if (t->n_sets == t->sets_max) {
        t->is_too_much = true;
        return NULL;
    }
    t->n_sets++;
    m->bits = xcalloc_wide(t->d->words, sizeof(*m->bits));
    return m;
}

static void add_members(struct part *t, const int64_t *subject)
{
    const struct fact_pick *p = t->p;
    struct facts *f = &t->p->facts;

    struct members *m = NULL;
    int32_t row = PICK_NONE; /* whose members m are */

    for (size_t i = 0; subject && i < f->n; i++) {
        int64_t id = subject[i];
        uint64_t bit, *word;

        if (p->row[i] == PICK_NONE || id == 0)
            continue;
        if ((uint64_t)id / 64 >= t->d->words) {
            f->rc = read_damaged(&f->fail);
            return;
        }
        if (p->row[i] != row) {
            row = p->row[i];
            m = members_of(t, (uint32_t)row);
        }
        if (!m)
            return;
        word = &m->bits[(uint64_t)id / 64];
        bit = UINT64_C(1) << ((uint64_t)id & 63);
        m->n += !(*word & bit);
        *word |= bit;
    }
}

/* As sums do: a correction of what was priced adds to the cost alone. */
static void add_costs(struct part *t, const int64_t *subject)
{
    const struct fact_pick *p = t->p;
    struct facts *f = &t->p->facts;
    const int64_t *attempt = facts_number(f, FACT_ATTEMPT);
    const int64_t *flags = facts_number(f, FACT_FLAGS);
    const money_int *cost = facts_amount(f, FACT_COST);

    for (size_t i = 0; f->rc == RC_OK && i < f->n; i++) {
        int64_t number = attempt ? attempt[i] : 0;
        bool is_priced = flags && (flags[i] & FACT_IS_PRICED);
        struct members *m;

        if (p->row[i] == PICK_NONE || (!subject || subject[i] == 0) != t->d->of_rest)
            continue;
        m = members_of(t, (uint32_t)p->row[i]);
        if (!m)
            return;
        m->priced += number < 0 ? number == ATTEMPT_LATE_PRICE : is_priced;
        if (number < 0 || is_priced)
            m->cost = ledger_money_add(m->cost, (struct money){cost ? cost[i] : 0});
    }
}

static bool has_zero(const int64_t *v, size_t n)
{
    bool any = false;

    for (size_t i = 0; i < n; i++)
        any |= v[i] == 0;
    return any;
}

static void add_block(struct part *t)
{
    struct facts *f = &t->p->facts;
    const int64_t *subject = facts_number(f, t->d->column);

    add_members(t, subject);
    if (f->rc != RC_OK || t->is_too_much)
        return;
    if (!t->d->of_rest || !subject || has_zero(subject, f->n))
        add_costs(t, subject);
}

/* The same of rows of a cube. */
static void add_cube_costs(struct part *t, const int64_t *subject)
{
    const struct fact_pick *p = t->p;
    struct facts *f = &t->p->facts;
    struct cube_costs *c = t->costs;
    struct sums_field cost = {0};
    bool has_priced = cube_numbers(f, cube_number(offsetof(struct ledger_sums, priced)), c->priced);
    bool has_cost = ledger_sums_amount(0, &cost) && cube_amounts(f, cost.number, c->cost);

    for (size_t i = 0; f->rc == RC_OK && i < f->n; i++) {
        struct members *m;

        if (p->row[i] == PICK_NONE || (!subject || subject[i] == 0) != t->d->of_rest)
            continue;
        m = members_of(t, (uint32_t)p->row[i]);
        if (!m)
            return;
        m->priced += has_priced ? (uint64_t)c->priced[i] : 0;
        m->cost = ledger_money_add(m->cost, (struct money){has_cost ? c->cost[i] : 0});
    }
}

static void add_cube_block(struct fact_pick *p, void *arg)
{
    struct part *t = arg;
    const int64_t *subject = facts_number(&p->facts, t->d->column);

    if (t->is_too_much)
        return;
    add_members(t, subject);
    if (p->facts.rc != RC_OK || t->is_too_much)
        return;
    if (!t->d->of_rest || !subject || has_zero(subject, p->facts.n))
        add_cube_costs(t, subject);
}

/* ---- a walk that is shared ---------------------------------------------------------------- */

/* sets: how many may be held, by all threads. */
static void part_begin(struct part *t, const struct distinct *d, struct fact_pick *p, size_t sets)
{
    *t = (struct part){.d = d, .p = p, .sets_max = sets, .costs = xcalloc(1, sizeof(*t->costs))};
}

/* But for its pick. */
static void part_release(struct part *t)
{
    for (size_t i = 0; i < t->cap; i++)
        free(t->of[i].bits);
    free(t->of);
    free(t->costs);
    *t = (struct part){0};
}

static void add_blocks(struct part *t)
{
    while (t->p->facts.rc == RC_OK && !t->is_too_much && pick_next(t->p))
        add_block(t);
}

static size_t sets_max(const struct distinct *d, size_t members)
{
    return BITS_BYTES_MAX / (d->words * sizeof(uint64_t)) / members;
}

static void walk_as(struct ledger_reader *r, size_t member, void *arg)
{
    struct distinct *d = arg;
    struct part *t = &d->part[member];

    if (member > 0)
        part_begin(t, d, pick_beside(d->part[0].p, r), d->part[0].sets_max);
    facts_take_from(&t->p->facts, &d->pieces);
    add_blocks(t);
    if (member > 0)
        return;
    facts_go_to(&t->p->facts, facts_stored(r));
    add_blocks(t);
}

static void add_cubes(struct distinct *d, int64_t from_us, int64_t to_us)
{
    struct part *t = &d->part[0];
    struct crew_pieces days;

    crew_cut(&days, answer_leave_cubes_out(t->p, d->kind, from_us, to_us), 1);
    answer_each_cube(t->p, d->kind, &days, from_us, to_us, add_cube_block, t);
}

static void others_release(struct distinct *d)
{
    for (size_t i = 1; i < CREW_MAX; i++) {
        if (d->part[i].p)
            pick_close(d->part[i].p);
        part_release(&d->part[i]);
    }
}

static bool is_whole(const struct distinct *d)
{
    bool is = true;

    for (size_t i = 0; i < CREW_MAX; i++)
        is &= !d->part[i].p || (d->part[i].p->facts.rc == RC_OK && !d->part[i].is_too_much);
    return is;
}

/* What another thread has becomes the asker's. */
static enum rc merge(struct distinct *d, const struct part *from, struct fail *fail)
{
    struct part *to = &d->part[0];
    uint32_t *number = NULL;
    enum rc rc = pick_translate(to->p, from->p, &number, fail);

    to->sets_max = sets_max(d, 1);
    for (size_t i = 0; rc == RC_OK && !to->is_too_much && i < from->cap; i++) {
        const struct members *other = &from->of[i];
        struct members *m = other->bits ? members_of(to, number[i]) : NULL;

        if (!m)
            continue;
        m->n = 0;
        for (size_t w = 0; w < d->words; w++) {
            m->bits[w] |= other->bits[w];
            m->n += (uint64_t)__builtin_popcountll(m->bits[w]);
        }
        m->priced += other->priced;
        m->cost = ledger_money_add(m->cost, other->cost);
    }
    free(number);
    return rc;
}

/* By one thread, as if there had been no other. */
static void walk_alone(struct distinct *d, const struct answer_period *whole)
{
    struct part *t = &d->part[0];
    struct fact_pick *p = t->p;

    part_release(t);
    part_begin(t, d, p, sets_max(d, 1));
    p->facts.rc = RC_OK;
    facts_go_to(&p->facts, 0);
    add_cubes(d, whole->from_us, whole->to_us);
    add_blocks(t);
}

/* Rows of the answer for the groups that have any. */
static enum rc make_rows(struct distinct *d, struct fail *fail)
{
    const struct part *t = &d->part[0];
    enum rc rc = RC_OK;

    d->of = xcalloc_wide((t->cap > d->a.n_rows ? t->cap : d->a.n_rows) + 1, sizeof(*d->of));

    for (size_t i = 0; rc == RC_OK && i < t->cap; i++) {
        struct strv values[LEDGER_GROUP_MAX];
        int64_t row = (int64_t)i;

        if (!t->of[i].bits)
            continue;
        if (!t->p->by_number) {
            d->of[row] = &t->of[i];
            continue;
        }
        rc = pick_group_values(t->p, (uint32_t)i, values, fail);
        if (rc == RC_OK)
            rc = answer_row_at(&d->a, values, 0, true, &row, fail);
        if (rc == RC_OK)
            d->of[row] = &t->of[i];
    }
    return rc;
}
/* Days that are added up are few rows; else the walk is shared. */
static enum rc walk(struct distinct *d, const struct answer_period *whole, struct fail *fail)
{
    struct ledger_reader *r = d->a.reader;
    struct fact_pick *p = d->part[0].p;
    size_t members = d->kind < CUBE_KINDS ? 1 : crew_size(r, facts_within(&p->facts));
    enum rc rc = RC_OK;

    p->by_number = d->kind == CUBE_KINDS;
    if (members > 1) {
        part_begin(&d->part[0], d, p, sets_max(d, members));
        crew_cut(&d->pieces, facts_stored(r), members);
        crew_run(r, members, walk_as, d);
    }
    if (members == 1 || !is_whole(d)) {
        others_release(d);
        walk_alone(d, whole);
    }
    for (size_t i = 1; i < CREW_MAX && rc == RC_OK; i++) {
        if (d->part[i].p)
            rc = merge(d, &d->part[i], fail);
    }
    others_release(d);
    d->is_too_much = d->part[0].is_too_much;
    if (rc == RC_OK && p->facts.rc == RC_OK && !d->is_too_much)
        rc = make_rows(d, fail);
    return rc;
}

static enum rc each_block(struct distinct *d, struct fail *fail)
{
    const struct answer_period *whole = d->a.periods;
    enum rc rc = d->a.n_periods
                     ? read_kept(d->a.reader, &d->a.q->filter, whole->from_us, whole->to_us, fail)
                     : RC_OK;
    struct fact_pick *p;

    if (rc != RC_OK || d->a.n_periods == 0)
        return rc;
    p = pick_open(&d->a, whole->from_us, whole->to_us, true, fail);
    if (!p)
        return fail->rc;
    d->part[0].p = p;
    return pick_finish(p, walk(d, whole, fail), fail);
}

static int by_values(const void *one, const void *other, void *arg)
{
    const struct distinct *d = arg;
    const struct ledger_row *a = &d->a.rows[*(const size_t *)one];
    const struct ledger_row *b = &d->a.rows[*(const size_t *)other];
    int order = 0;

    for (size_t i = 0; order == 0 && i < d->a.q->n_by; i++)
        order = strv_cmp(a->value[i], b->value[i]);
    return order;
}

static bool same_values(const struct strv *a, const struct strv *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strv_eq(a[i], b[i]))
            return false;
    }
    return true;
}

/* What the group cost in all, less what is of the rest; rows are in order, as the groups are. */
static enum rc less_rest(const struct distinct *d, const struct ledger_rows *all, size_t *at,
                         struct ledger_distinct *told, struct fail *fail)
{
    while (*at < all->n && !same_values(all->at[*at].value, told->value, d->a.q->n_by))
        ++*at;
    if (*at == all->n || all->at[*at].sums.priced < told->priced)
        return read_damaged(fail);
    told->priced = all->at[*at].sums.priced - told->priced;
    told->cost = money_sub(all->at[*at].sums.cost, told->cost);
    return RC_OK;
}

/* all: sums of the groups, where costs are of the rest. */
static enum rc tell(struct distinct *d, const struct ledger_rows *all, ledger_distinct_fn *fn,
                    void *arg, struct fail *fail)
{
    size_t *order = xcalloc_wide(d->a.n_rows + 1, sizeof(*order)), at = 0;
    enum rc rc = RC_OK;

    for (size_t i = 0; i < d->a.n_rows; i++)
        order[i] = i;
    if (d->a.n_rows)
        qsort_r(order, d->a.n_rows, sizeof(*order), by_values, d);
    for (size_t k = 0; rc == RC_OK && k < d->a.n_rows; k++) {
        size_t i = order[k];
        struct ledger_distinct told = {.value = d->a.rows[i].value};

        if (!d->of[i] || d->of[i]->n == 0)
            continue;
        told.n = d->of[i]->n;
        told.priced = d->of[i]->priced;
        told.cost = d->of[i]->cost;
        if (d->of_rest)
            rc = less_rest(d, all, &at, &told, fail);
        if (rc == RC_OK && !fn(&told, arg))
            break;
    }
    free(order);
    return rc;
}

/* Whether what the groups cost in all is added up already. */
static enum rc is_added_up(struct answer *a, bool *out, struct fail *fail)
{
    enum cube_kind kind;
    enum rc rc = answer_cube_kind(a, &kind, fail);

    *out = rc == RC_OK && kind < CUBE_KINDS;
    return rc;
}

/* The kind of cubes that tells the groups' members. */
static enum rc find_kind(struct distinct *d, const struct ledger_field *field, struct fail *fail)
{
    const struct ledger_question *asked = d->a.q;
    struct ledger_question q = *asked;
    enum rc rc;

    q.by[q.n_by++] = *field;
    d->a.q = &q;
    d->a.want |= LEDGER_SPARE | LEDGER_SPARE_CEILING;
    rc = answer_cube_kind(&d->a, &d->kind, fail);
    d->a.q = asked;
    return rc;
}

static enum rc tell_all(struct distinct *d, ledger_distinct_fn *fn, void *arg, struct fail *fail)
{
    struct ledger_question q = *d->a.q;
    struct ledger_rows all = {.n = 0};
    enum rc rc = RC_OK;

    q.want |= LEDGER_SPARE | LEDGER_SPARE_CEILING;
    if (d->of_rest)
        rc = ledger_read_sums(d->a.reader, &q, &all, fail);
    if (rc != RC_OK)
        return rc;
    rc = tell(d, &all, fn, arg, fail);
    if (d->of_rest)
        ledger_rows_release(&all);
    return rc;
}

static enum rc from_columns(struct ledger_reader *r, const struct ledger_question *q,
                            const struct ledger_field *field, bool *done,
                            ledger_distinct_fn *fn, void *arg, struct fail *fail)
{
    struct distinct *d = xcalloc(1, sizeof(*d));
    int64_t most = 0;
    bool can = false;
    enum rc rc;

    *done = false;
    d->column = pick_column(field);
    d->kind = CUBE_KINDS;
    answer_init(&d->a, r, q);
    rc = answer_make_periods(&d->a, fail);
    if (rc == RC_OK)
        rc = answer_can_use_facts(&d->a, fail);
    can = d->a.can_use_facts;
    if (rc == RC_OK && can)
        rc = db_query_int(r->db, "SELECT coalesce(max(id), 0) FROM word", &most, fail,
                          "read the ledger");
    d->words = (size_t)(most < 0 ? 0 : most) / 64 + 1;
    if (rc == RC_OK && can)
        rc = is_added_up(&d->a, &d->of_rest, fail);
    if (rc == RC_OK && can)
        rc = find_kind(d, field, fail);
    if (rc == RC_OK && can)
        rc = each_block(d, fail);
    *done = rc == RC_OK && can && !d->is_too_much;
    if (*done)
        rc = tell_all(d, fn, arg, fail);
    part_release(&d->part[0]);
    free(d->of);
    answer_free(&d->a);
    free(d);
    return rc;
}

/* ---- from sums ----------------------------------------------------------------------------- */

static enum rc from_sums(struct ledger_reader *r, const struct ledger_question *question,
                         const struct ledger_field *field, ledger_distinct_fn *fn, void *arg,
                         struct fail *fail)
{
    struct ledger_question q = *question;
    size_t n_by = q.n_by;
    struct ledger_rows rows;
    bool more = true;
    enum rc rc;

    q.by[q.n_by++] = *field;
    q.want |= LEDGER_SPARE | LEDGER_SPARE_CEILING;
    rc = ledger_read_sums(r, &q, &rows, fail);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0, end; more && i < rows.n; i = end) {
        struct ledger_distinct told = {.value = rows.at[i].value};

        for (end = i;
             end < rows.n && same_values(rows.at[i].value, rows.at[end].value, n_by); end++) {
            if (rows.at[end].value[n_by].n == 0)
                continue;
            told.n++;
            told.priced += rows.at[end].sums.priced;
            told.cost = ledger_money_add(told.cost, rows.at[end].sums.cost);
        }
        if (told.n)
            more = fn(&told, arg);
    }
    ledger_rows_release(&rows);
    return RC_OK;
}

enum rc ledger_read_distinct(struct ledger_reader *r, const struct ledger_question *q,
                             const struct ledger_field *field, ledger_distinct_fn *fn,
                             void *arg, struct fail *fail)
{
    bool done = false;
    enum rc rc = RC_OK;

    ASSERT(r->in_view && q->grain == PERIOD_TOTAL && q->n_by < LEDGER_GROUP_MAX);
    *fail = (struct fail){0};
    if ((field->id == FIELD_USER || field->id == FIELD_CUSTOMER) && !q->filter.by_start)
        rc = from_columns(r, q, field, &done, fn, arg, fail);
    return rc != RC_OK || done ? rc : from_sums(r, q, field, fn, arg, fail);
}
