/*
 * read_distinct.c - how many customers, or users, each group has: from columns, by one bit for
 * each number of a text that occurs.
 *
 * Sums by that field would say it too, with a row for each value; so they do where columns do
 * not know a condition or a field, and where the bits would take too much memory.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_fact_pick.h"

enum { BITS_BYTES_MAX = 128 << 20 };

/* Of a row of the answer. */
struct members {
    uint64_t *bits; /* by number of the text */
    uint64_t n, priced;
    struct money cost;
};

struct distinct {
    struct answer a;
    unsigned column;
    size_t words; /* of bits */
    struct members *of;
    size_t cap, n_sets;
    bool is_too_much;
};

/* ---- from columns ------------------------------------------------------------------------- */

/* The members of a row; NULL: there is no room. */
static struct members *members_of(struct distinct *d, int32_t row)
{
    struct members *m;

    if ((size_t)row >= d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 64;

        while (cap <= (size_t)row)
            cap *= 2;
        d->of = xrealloc(d->of, cap * sizeof(*d->of));
        for (size_t i = d->cap; i < cap; i++)
            d->of[i] = (struct members){0};
        d->cap = cap;
    }
    m = &d->of[row];
    if (m->bits)
        return m;
    if ((d->n_sets + 1) * d->words * sizeof(*m->bits) > BITS_BYTES_MAX) {
        d->is_too_much = true;
        return NULL;
    }
    d->n_sets++;
    m->bits = xcalloc(d->words, sizeof(*m->bits));
    return m;
}

static void add_block(struct distinct *d, struct fact_pick *p)
{
    struct facts *f = &p->facts;
    const int64_t *subject = facts_number(f, d->column);
    const int64_t *attempt = facts_number(f, FACT_ATTEMPT);
    const int64_t *flags = facts_number(f, FACT_FLAGS);
    const money_int *cost = facts_amount(f, FACT_COST);

    for (size_t i = 0; subject && f->rc == RC_OK && i < f->n; i++) {
        int64_t id = subject[i], number = attempt ? attempt[i] : 0;
        bool is_priced = flags && (flags[i] & FACT_IS_PRICED);
        struct members *m;
        uint64_t bit;

        if (p->row[i] == PICK_NONE || id == 0)
            continue;
        if (id < 0 || (uint64_t)id / 64 >= d->words) {
            f->rc = read_damaged(&f->fail);
            return;
        }
        m = members_of(d, p->row[i]);
        if (!m)
            return;
        bit = UINT64_C(1) << id % 64;
        m->n += !(m->bits[id / 64] & bit);
        m->bits[id / 64] |= bit;
        /* As sums do: a correction of what was priced adds to the cost alone. */
        m->priced += number < 0 ? number == ATTEMPT_LATE_PRICE : is_priced;
        if (number < 0 || is_priced)
            m->cost = ledger_money_add(m->cost, (struct money){cost ? cost[i] : 0});
    }
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
    while (!d->is_too_much && pick_next(p))
        add_block(d, p);
    rc = p->facts.rc;
    if (rc != RC_OK)
        *fail = p->facts.fail;
    pick_close(p);
    return rc;
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

static void tell(struct distinct *d, ledger_distinct_fn *fn, void *arg)
{
    size_t *order = xcalloc(d->a.n_rows + 1, sizeof(*order));

    for (size_t i = 0; i < d->a.n_rows; i++)
        order[i] = i;
    if (d->a.n_rows)
        qsort_r(order, d->a.n_rows, sizeof(*order), by_values, d);
    for (size_t k = 0; k < d->a.n_rows; k++) {
        size_t i = order[k];
        struct ledger_distinct told = {.value = d->a.rows[i].value};

        if (i >= d->cap || d->of[i].n == 0)
            continue;
        told.n = d->of[i].n;
        told.priced = d->of[i].priced;
        told.cost = d->of[i].cost;
        if (!fn(&told, arg))
            break;
    }
    free(order);
}

static enum rc from_columns(struct ledger_reader *r, const struct ledger_question *q,
                            const struct ledger_field *field, bool *done,
                            ledger_distinct_fn *fn, void *arg, struct fail *fail)
{
    struct distinct d = {.column = pick_column(field)};
    int64_t most = 0;
    bool can = false;
    enum rc rc;

    *done = false;
    answer_init(&d.a, r, q);
    rc = answer_make_periods(&d.a, fail);
    if (rc == RC_OK)
        rc = answer_can_use_facts(&d.a, &can, fail);
    if (rc == RC_OK && can)
        rc = db_query_int(r->db, "SELECT coalesce(max(id), 0) FROM word", &most, fail,
                          "read the ledger");
    d.words = (size_t)(most < 0 ? 0 : most) / 64 + 1;
    if (rc == RC_OK && can)
        rc = each_block(&d, fail);
    *done = rc == RC_OK && can && !d.is_too_much;
    if (*done)
        tell(&d, fn, arg);
    for (size_t i = 0; i < d.cap; i++)
        free(d.of[i].bits);
    free(d.of);
    answer_free(&d.a);
    return rc;
}

/* ---- from sums ----------------------------------------------------------------------------- */

static bool same_values(const struct strv *a, const struct strv *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strv_eq(a[i], b[i]))
            return false;
    }
    return true;
}

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
    q.want |= LEDGER_SPARE_TOKENS | LEDGER_SPARE_TRANSPORT;
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
    /* Customers are few, and most days of theirs are added up. */
    if (field->id == FIELD_USER && !q->filter.by_start)
        rc = from_columns(r, q, field, &done, fn, arg, fail);
    return rc != RC_OK || done ? rc : from_sums(r, q, field, fn, arg, fail);
}
