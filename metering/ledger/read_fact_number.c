/*
 * read_fact_number.c - of read_fact_pick.h: requests by numbers of groups that are no rows yet.
 *
 * A number says what it was folded of, so that several threads may number for themselves, and
 * texts are looked up for the groups that are shown alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_fact_pick.h"

struct fact_pick *pick_beside(const struct fact_pick *of, struct ledger_reader *r)
{
    struct fact_pick *p = xcalloc(1, sizeof(*p));

    p->answer = of->answer;
    p->by_number = p->is_beside = true;
    p->spares_combo = of->spares_combo;
    p->is_one_class = of->is_one_class;
    p->period_at = -1;
    p->class_of = of->class_of;
    p->combo_of = of->combo_of;
    p->combo_of_class = of->combo_of_class;
    p->n_combos = of->n_combos;
    p->n_classes = of->n_classes;
    p->left_out = of->left_out;
    p->n_left_out = of->n_left_out;
    facts_open(&p->facts, r, of->facts.from_us, of->facts.to_us);
    p->n_where = of->n_where;
    p->narrow = of->narrow;
    p->n_fields = of->n_fields;
    p->fields = xcalloc(p->n_fields + 1, sizeof(*p->fields));
    for (size_t i = 0; i < p->n_fields; i++)
        pick_field_init(&p->fields[i], &of->fields[i].field, of->fields[i].condition);
    return p;
}

/* How many numbers level k has: 0 is that of the classes, then a field each. */
static size_t numbers_at(const struct fact_pick *p, size_t k)
{
    return k == 0 ? p->n_classes : p->pairs[k - 1].n;
}

static size_t n_levels(const struct fact_pick *p)
{
    return p->n_fields - p->n_where;
}

static bool has_periods(const struct fact_pick *p)
{
    return p->answer->n_periods > 1;
}

size_t pick_numbers(const struct fact_pick *p)
{
    return has_periods(p) ? p->pairs[LEDGER_GROUP_MAX].n : pick_groups(p);
}

size_t pick_groups(const struct fact_pick *p)
{
    return numbers_at(p, n_levels(p));
}

void pick_group(const struct fact_pick *p, uint32_t number, uint32_t *group, int64_t *period)
{
    const struct pick_pair *made = p->pairs[LEDGER_GROUP_MAX].made;

    *group = has_periods(p) ? made[number].b : number;
    *period = has_periods(p) ? (int64_t)made[number].a : 0;
}

enum rc pick_group_values(struct fact_pick *p, uint32_t group, struct strv *values,
                          struct fail *fail)
{
    const struct ledger_question *q = p->answer->q;
    uint32_t of_field[LEDGER_GROUP_MAX];
    size_t k;

    for (k = n_levels(p); k > 0; k--) {
        of_field[k - 1] = p->pairs[k - 1].made[group].b;
        group = p->pairs[k - 1].made[group].a;
    }
    for (size_t i = 0; i < q->n_by; i++) {
        const struct pick_field *f = &p->fields[p->n_where + k];
        enum rc rc;

        if (field_is_of_combo(&q->by[i])) {
            values[i] = combo_value(p->combo_of_class[group], q->by[i].id);
            continue;
        }
        rc = pick_value(p->facts.reader, &f->field, pick_raw(f, of_field[k++]), &values[i], fail);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* ---- another's ---------------------------------------------------------------------------- */

/* By number of a field's text there: the number here. */
static enum rc field_number(struct fact_pick *p, struct pick_field *f,
                            const struct pick_field *from, uint32_t number, uint32_t *out,
                            struct fail *fail)
{
    *out = number;
    return pick_is_word(f) ? RC_OK
                           : pick_number(p->facts.reader, f, pick_raw(from, number), out, fail);
}

enum rc pick_translate(struct fact_pick *p, const struct fact_pick *from, uint32_t **out,
                       struct fail *fail)
{
    size_t n = p->n_classes;
    uint32_t *to = xcalloc(n + 1, sizeof(*to));
    enum rc rc = RC_OK;

    for (size_t i = 0; i < n; i++)
        to[i] = (uint32_t)i;
    for (size_t k = 0; k < n_levels(p) && rc == RC_OK; k++) {
        struct pick_field *f = &p->fields[p->n_where + k];
        const struct pick_pairs *pairs = &from->pairs[k];
        uint32_t *next = xcalloc(pairs->n + 1, sizeof(*next));

        for (size_t i = 0; i < pairs->n && rc == RC_OK; i++) {
            uint32_t b;

            rc = field_number(p, f, &from->fields[p->n_where + k], pairs->made[i].b, &b, fail);
            if (rc == RC_OK)
                next[i] = pick_fold(&p->pairs[k], to[pairs->made[i].a], b);
        }
        free(to);
        to = next;
    }
    if (rc == RC_OK && has_periods(p)) {
        const struct pick_pairs *pairs = &from->pairs[LEDGER_GROUP_MAX];
        uint32_t *next = xcalloc(pairs->n + 1, sizeof(*next));

        for (size_t i = 0; i < pairs->n; i++)
            next[i] = pick_fold(&p->pairs[LEDGER_GROUP_MAX], pairs->made[i].a,
                                to[pairs->made[i].b]);
        free(to);
        to = next;
    }
    *out = to;
    return rc;
}
