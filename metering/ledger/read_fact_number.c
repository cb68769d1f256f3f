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
    p->n_kept = of->n_kept;
    p->only = of->only;
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
    p->fields = xcalloc_wide(p->n_fields + 1, sizeof(*p->fields));
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
    return p->n_fields - p->n_where - p->n_kept;
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

enum rc pick_values(struct fact_pick *p, uint32_t group, uint32_t last, struct strv *values,
                    struct fail *fail)
{
    const struct ledger_question *q = p->answer->q;
    uint32_t of_field[LEDGER_GROUP_MAX];
    size_t k;

    for (k = n_levels(p) + p->n_kept; k > n_levels(p); k--) {
        of_field[k - 1] = p->pairs[k - 1].made[last].b;
        last = p->pairs[k - 1].made[last].a;
    }
    for (; k > 0; k--) {
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

enum rc pick_group_values(struct fact_pick *p, uint32_t group, struct strv *values,
                          struct fail *fail)
{
    return pick_values(p, group, 0, values, fail);
}

/* ---- only some ---------------------------------------------------------------------------- */

enum { ONLY_NEW = 0, ONLY_THIS, ONLY_OTHERS };

static unsigned char ask_only(struct fact_pick *p, uint32_t group)
{
    struct strv values[LEDGER_GROUP_MAX];
    enum rc rc = pick_group_values(p, group, values, &p->facts.fail);

    if (rc != RC_OK)
        p->facts.rc = rc;
    return rc == RC_OK && tuples_have(p->only, values) ? ONLY_THIS : ONLY_OTHERS;
}

bool pick_only(struct fact_pick *p)
{
    size_t n = pick_groups(p), cap = p->cap_only ? p->cap_only : 64, left = 0;

    while (cap < n)
        cap *= 2;
    if (cap > p->cap_only) {
        p->is_only = xrealloc(p->is_only, cap);
        memset(p->is_only + p->cap_only, ONLY_NEW, cap - p->cap_only);
        p->cap_only = cap;
    }
    for (size_t i = 0; i < p->facts.n && p->facts.rc == RC_OK; i++) {
        int32_t group = p->row[i];

        if (group == PICK_NONE)
            continue;
        if (p->is_only[group] == ONLY_NEW)
            p->is_only[group] = ask_only(p, (uint32_t)group);
        if (p->is_only[group] == ONLY_OTHERS)
            p->row[i] = PICK_NONE;
        left += p->row[i] != PICK_NONE;
    }
    return left > 0;
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

/* Of levels [k, end), of which the first stands on n numbers that are the same here. */
static enum rc translate(struct fact_pick *p, const struct fact_pick *from, size_t n, size_t k,
                         size_t end, uint32_t **out, struct fail *fail)
{
    uint32_t *to = xcalloc_wide(n + 1, sizeof(*to));
    enum rc rc = RC_OK;

    for (size_t i = 0; i < n; i++)
        to[i] = (uint32_t)i;
    for (; k < end && rc == RC_OK; k++) {
        struct pick_field *f = &p->fields[p->n_where + k];
        const struct pick_pairs *pairs = &from->pairs[k];
        uint32_t *next = xcalloc_wide(pairs->n + 1, sizeof(*next));

        for (size_t i = 0; i < pairs->n && rc == RC_OK; i++) {
            uint32_t b;

            rc = field_number(p, f, &from->fields[p->n_where + k], pairs->made[i].b, &b, fail);
            if (rc == RC_OK)
                next[i] = pick_fold(&p->pairs[k], to[pairs->made[i].a], b);
        }
        free(to);
        to = next;
    }
    *out = to;
    return rc;
}

size_t pick_lasts(const struct fact_pick *p)
{
    return p->n_kept > 0 ? p->pairs[n_levels(p) + p->n_kept - 1].n : 1;
}

enum rc pick_translate_last(struct fact_pick *p, const struct fact_pick *from, uint32_t **out,
                            struct fail *fail)
{
    return translate(p, from, 1, n_levels(p), n_levels(p) + p->n_kept, out, fail);
}

enum rc pick_translate(struct fact_pick *p, const struct fact_pick *from, uint32_t **out,
                       struct fail *fail)
{
    uint32_t *to;
    enum rc rc = translate(p, from, p->n_classes, 0, n_levels(p), &to, fail);

    if (rc == RC_OK && has_periods(p)) {
        const struct pick_pairs *pairs = &from->pairs[LEDGER_GROUP_MAX];
        uint32_t *next = xcalloc_wide(pairs->n + 1, sizeof(*next));

        for (size_t i = 0; i < pairs->n; i++)
            next[i] = pick_fold(&p->pairs[LEDGER_GROUP_MAX], pairs->made[i].a,
                                to[pairs->made[i].b]);
        free(to);
        to = next;
    }
    *out = to;
    return rc;
}
