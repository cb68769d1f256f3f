/*
 * savings_first.c - the first findings of many groups, without looking at all of them.
 *
 * A finding is of a group and a model, and saves no more than these cost (but where corrections took
 * back what was charged), so that findings of the dearest pairs that save as much as the least dear
 * of these costs cannot be outdone by any other's.  Retries are of a group alone: they are told of
 * all groups.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/params.h"
#include "reports/savings_find.h"

/* Which groups are looked at. */
struct choice {
    const struct savings_question *q;
    size_t most; /* the dearest pairs that are asked for */
    struct ledger_field by[LEDGER_GROUP_MAX]; /* what pairs are told by: */
    size_t n_by;
    size_t at[LEDGER_GROUP_MAX];    /* a field of the question's, then of PAIR_FIELDS: that in by */
    struct ledger_rows rows;        /* the dearest pairs */
    struct strv *scope;             /* groups of these, then those of q->scope */
};

/* The field's place among those that pairs are told by; put there where it is not. */
static size_t place_of(struct choice *c, const struct ledger_field *field)
{
    for (size_t i = 0; i < c->n_by; i++) {
        if (c->by[i].id == field->id && strv_eq(c->by[i].tag, field->tag))
            return i;
    }
    c->by[c->n_by] = *field;
    return c->n_by++;
}

/* Customers and users are told last: sums of days and columns know them so. */
static void find_places(struct choice *c)
{
    const size_t n_by = c->q->n_by;
    struct ledger_field field[PARAMS_BY_MAX + PAIR_FIELDS] = {0};

    memcpy(field, c->q->by, n_by * sizeof(*field));
    field[n_by + PAIR_UPSTREAM] = (struct ledger_field){.id = FIELD_UPSTREAM};
    field[n_by + PAIR_MODEL] = (struct ledger_field){.id = FIELD_MODEL};
    for (unsigned words = 0; words < 2; words++) {
        for (size_t i = 0; i < n_by + PAIR_FIELDS; i++) {
            if ((field[i].id == FIELD_CUSTOMER || field[i].id == FIELD_USER) == (words > 0))
                c->at[i] = place_of(c, &field[i]);
        }
    }
}

static enum rc ask_dearest(struct choice *c, struct fail *fail)
{
    struct ledger_question *q = xcalloc(1, sizeof(*q));
    enum rc rc;

    find_places(c);
    q->filter = *c->q->filter;
    memcpy(q->by, c->by, sizeof(c->by));
    q->n_by = c->n_by;
    q->grain = PERIOD_TOTAL;
    q->want = LEDGER_COST_ALONE | LEDGER_VALUES_ALONE;
    q->top = c->most;
    rc = ledger_read_sums(c->q->reader, q, &c->rows, fail);
    free(q);
    return rc;
}

static void put_scopes(struct choice *c)
{
    const struct savings_question *q = c->q;
    size_t n_by = q->n_by;

    c->scope = xcalloc((c->rows.n + q->n_scopes) * n_by + 1, sizeof(*c->scope));
    for (size_t i = 0; i < c->rows.n; i++) {
        for (size_t k = 0; k < n_by; k++)
            c->scope[i * n_by + k] = c->rows.at[i].value[c->at[k]];
    }
    if (q->n_scopes)
        memcpy(c->scope + c->rows.n * n_by, q->scope, q->n_scopes * n_by * sizeof(*c->scope));
}

/* All pairs that are not looked at cost less than each of the dearest. */
static bool are_the_first(const struct choice *c, const struct savings *s, size_t top)
{
    const struct money least = savings_least_of_first(s, top);

    for (size_t i = 0; i < c->rows.n; i++) {
        struct strv value[PARAMS_BY_MAX + PAIR_FIELDS];
        const struct saving_scope *pair;

        for (size_t k = 0; k < c->q->n_by + PAIR_FIELDS; k++)
            value[k] = c->rows.at[i].value[c->at[k]];
        pair = by_value_find(&s->pairs, value);
        if (pair && money_cmp(pair->cost, least) <= 0)
            return true;
    }
    return false;
}

/* *is_all: there are no more pairs than may be chosen, or too many that cost the same. */
static enum rc find_among(struct choice *c, size_t top, struct savings *out, bool *is_all,
                          bool *is_certain, struct fail *fail)
{
    struct savings_question q = *c->q;
    enum rc rc = ask_dearest(c, fail);

    *out = (struct savings){.rc = rc};
    *is_all = *is_certain = false;
    if (rc != RC_OK)
        return rc;
    if (c->rows.n < c->most || c->rows.n > (size_t)2 * SAVINGS_PAIRS_MANY) {
        *is_all = true;
    } else {
        put_scopes(c);
        q.scope = c->scope;
        q.n_scopes += c->rows.n;
        q.first = top;
        rc = savings_find(&q, out, fail);
        out->q.scope = NULL;
        *is_certain = rc == RC_OK && are_the_first(c, out, top);
    }
    free(c->scope);
    ledger_rows_release(&c->rows);
    return rc;
}

/* Fields that mostly have too many values for all groups to be looked at. */
static bool has_many_groups(const struct savings_question *q)
{
    for (size_t i = 0; i < q->n_by; i++) {
        enum ledger_field_id id = q->by[i].id;

        if (id == FIELD_USER || id == FIELD_CUSTOMER || id == FIELD_TASK || id == FIELD_PROMPT)
            return true;
    }
    return false;
}

static enum rc find_whole(const struct savings_question *q, struct savings *out, struct fail *fail)
{
    struct savings_question whole = *q;

    whole.scope = NULL;
    whole.n_scopes = 0;
    return savings_find(&whole, out, fail);
}

/* RC_STATE: not among the dearest pairs; *has_part: *out holds what they have. */
static enum rc find_in_steps(const struct savings_question *q, size_t top, struct savings *out,
                             bool *has_part, struct fail *fail)
{
    static const size_t most[] = {SAVINGS_PAIRS_FEW, SAVINGS_PAIRS_MANY};
    bool is_all = false, is_certain = false;
    enum rc rc = RC_OK;

    *has_part = false;
    *out = (struct savings){.rc = RC_OK};
    for (size_t i = 0; rc == RC_OK && !is_all && !is_certain && i < sizeof(most) / sizeof(*most);
         i++) {
        struct choice c = {.q = q, .most = most[i]};

        if (top > most[i] / 4)
            continue;
        savings_release(out);
        rc = find_among(&c, top, out, &is_all, &is_certain, fail);
        *has_part = rc == RC_OK && !is_all;
    }
    return rc == RC_OK && !is_certain ? RC_STATE : rc;
}

enum rc savings_find_first(const struct savings_question *q, size_t top, struct savings *out,
                           bool *is_part, struct fail *fail)
{
    const bool may_choose = top > 0 && q->n_by > 0, is_many = has_many_groups(q);
    struct savings part = {.rc = RC_OK};
    bool has_part = false;
    enum rc rc;

    *is_part = false;
    if (may_choose && is_many) {
        rc = find_in_steps(q, top, &part, &has_part, fail);
        if (rc != RC_STATE) {
            *out = part;
            return rc;
        }
    }
    rc = find_whole(q, out, fail);
    if (rc == RC_LIMIT && may_choose && !is_many)
        rc = find_in_steps(q, top, &part, &has_part, fail) == RC_OK ? RC_OK : RC_LIMIT;
    else if (rc != RC_LIMIT)
        has_part = false;
    if (!has_part) {
        savings_release(&part);
        return rc;
    }
    savings_release(out);
    *out = part;
    *is_part = rc == RC_LIMIT;
    return RC_OK;
}
