/*
 * oddity_causes.c - see oddity_causes.h.
 *
 * Anomalies of many groups are of few days.  So a step is asked for once, of all groups that look at
 * it, and each of its rows is added to the anomalies of its group.
 */
#include "reports/oddity_causes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/by_value.h"
#include "reports/limit_spent.h"
#include "reports/oddities.h"
#include "reports/render.h"
#include "reports/sheet.h"

enum { WEEKS = 4, VALUE_SHOWN = 48 };

static const enum ledger_field_id looked_at[] = {
    FIELD_TEAM, FIELD_FEATURE, FIELD_ENVIRONMENT, FIELD_TASK_TYPE,
    FIELD_KEY,  FIELD_MODEL,   FIELD_UPSTREAM,
};
enum { LOOKED_AT = sizeof(looked_at) / sizeof(looked_at[0]) };

enum { PART_FIELD = 0, PART_VALUE, PART_KEYS };

/* A value of a field, and what it moved by. */
struct part {
    struct valued valued; /* of the field's number, and the value */
    size_t field;         /* of the question's, behind those of groups */
    money_int moved;
};

static struct strv part_value(const struct part *p)
{
    return p->valued.value[PART_VALUE];
}

/* Steps in a row that an anomaly looks at. */
struct look {
    size_t first, last;
    size_t of; /* which anomaly */
    money_int factor;
};

struct causes {
    const struct series_question *q;
    const struct series_set *set;
    struct oddity_sought *sought;
    size_t n;
    struct ledger_question asked;
    size_t n_group;         /* fields of asked that tell groups apart */
    struct by_value *parts; /* of each anomaly */
    struct look *looks;
    size_t n_looks;
    size_t *first_look; /* of each question: those that are of the same steps; then n_looks */
    struct strv *values; /* room for those of one question for each look and field of groups */
};

static bool is_fixed(const struct series_question *q, const struct series_set *set,
                     enum ledger_field_id id)
{
    for (size_t i = 0; i < set->n_by; i++) {
        if (set->by[i].id == id && !q->def)
            return true;
    }
    return false;
}

/* Of a counter the fields that it is one per. */
static bool is_of_group(const struct series_question *q, const struct ledger_field *field)
{
    bool is = !q->def;

    for (size_t k = 0; q->def && k < q->def->n_per; k++)
        is = is || strv_eq(q->def->per[k], ledger_field_name(field));
    return is;
}

/* By what is looked at, behind what tells groups apart: counters are asked for one by one. */
static enum rc make_question(struct causes *c)
{
    const struct series_question *q = c->q;
    struct ledger_question *out = &c->asked;

    *out = (struct ledger_question){.grain = PERIOD_TOTAL, .want = LEDGER_COST_ALONE};
    if (q->def && !limit_question(q->def, 0, 1, out))
        return RC_LIMIT;
    if (!q->def)
        out->filter = *q->filter;
    out->filter.by_start = false;
    out->zone = q->zone;
    c->n_group = out->n_by = q->def ? 0 : c->set->n_by;
    memcpy(out->by, c->set->by, c->n_group * sizeof(out->by[0]));
    for (size_t i = 0; i < LOOKED_AT; i++) {
        if (is_fixed(q, c->set, looked_at[i]))
            continue;
        if (out->n_by == LEDGER_GROUP_MAX)
            return RC_LIMIT;
        out->by[out->n_by++] = (struct ledger_field){.id = looked_at[i]};
    }
    return RC_OK;
}

/* ---- what is looked at ---------------------------------------------------------------------- */

static int by_steps(const void *a, const void *b)
{
    const struct look *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->last != y->last)
        return x->last < y->last ? -1 : 1;
    return (x->of > y->of) - (x->of < y->of);
}

/* Groups share steps; of one alone all are asked for in one go. */
static void add_looks(struct causes *c, size_t of, size_t back, money_int factor)
{
    const struct oddity_sought *o = &c->sought[of];
    size_t each = c->n_group ? 1 : o->last - o->first + 1;

    for (size_t at = o->first; at <= o->last; at += each) {
        if ((c->n_looks & (c->n_looks - 1)) == 0)
            c->looks =
                xrealloc(c->looks, (c->n_looks ? c->n_looks * 2 : 1) * sizeof(*c->looks));
        c->looks[c->n_looks++] = (struct look){at - back, at - back + each - 1, of, factor};
    }
}

static size_t weeks_before(const struct causes *c, const struct oddity_sought *o)
{
    size_t week = c->q->step == PERIOD_DAY ? 7 : 168, weeks = o->first / week;

    return weeks < WEEKS ? weeks : WEEKS;
}

static void choose_looks(struct causes *c)
{
    size_t week = c->q->step == PERIOD_DAY ? 7 : 168;

    for (size_t i = 0; i < c->n; i++) {
        size_t weeks = weeks_before(c, &c->sought[i]);
        money_int sign = c->sought[i].up ? 1 : -1;

        for (size_t w = 1; w <= weeks; w++)
            add_looks(c, i, w * week, -sign);
        add_looks(c, i, 0, sign * (money_int)(weeks ? weeks : 1));
    }
    if (c->n_looks)
        qsort(c->looks, c->n_looks, sizeof(*c->looks), by_steps);
}

/* ---- adding up --------------------------------------------------------------------------------- */

/* Only what belongs to the groups of these looks; values: room for theirs. */
static enum rc narrow(struct causes *c, const struct look *looks, size_t n, struct strv *values,
                      struct ledger_filter *filter)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < c->set->n_by; i++) {
        size_t n_values = 0;

        if (!is_of_group(c->q, &c->set->by[i]))
            continue;
        for (size_t k = 0; k < n; k++) {
            struct strv value = c->sought[looks[k].of].series->value[i];
            size_t at = 0;

            while (at < n_values && !strv_eq(values[at], value))
                at++;
            if (at == n_values)
                values[n_values++] = value;
        }
        rc = ledger_filter_add(filter, c->set->by[i], LEDGER_EQ, values, n_values);
        values += n_values;
    }
    return rc;
}

static bool is_of(const struct causes *c, const struct look *look, const struct strv *value)
{
    const struct strv *own = c->sought[look->of].series->value;
    bool is = true;

    for (size_t i = 0; is && i < c->n_group; i++)
        is = strv_eq(own[i], value[i]);
    return is;
}

/* Each value of each field of the rows moved by its amount, times factor. */
static enum rc add_rows(struct causes *c, const struct look *look, const struct ledger_row *rows,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        money_int moved = look->factor * series_amount(c->q->def, &rows[i].sums);

        for (size_t f = c->n_group; f < c->asked.n_by; f++) {
            const char number = (char)f;
            const struct strv value[PART_KEYS] = {strv_make(&number, 1), rows[i].value[f]};
            struct part *part = by_value_at(&c->parts[look->of], value);

            if (!part)
                return RC_LIMIT;
            part->field = f;
            part->moved += moved;
        }
    }
    return RC_OK;
}

/* Rows of a group follow each other. */
static size_t group_end(const struct causes *c, const struct ledger_rows *rows, size_t from)
{
    size_t end = from + 1;

    for (bool is = true; is && end < rows->n; end += is) {
        for (size_t i = 0; is && i < c->n_group; i++)
            is = strv_eq(rows->at[from].value[i], rows->at[end].value[i]);
    }
    return end;
}

/* The looks at the same steps. */
static enum rc make(size_t i, struct ledger_question *q, void *arg)
{
    struct causes *c = arg;
    size_t from = c->first_look[i], n = c->first_look[i + 1] - from;

    *q = c->asked;
    q->filter.from_us = c->set->start_us[c->looks[from].first];
    q->filter.to_us = c->set->start_us[c->looks[from].last + 1];
    return narrow(c, &c->looks[from], n, c->values + from * c->set->n_by, &q->filter);
}

static enum rc take(size_t i, const struct ledger_rows *rows, void *arg)
{
    struct causes *c = arg;
    enum rc rc = RC_OK;

    for (size_t at = 0, end; rc == RC_OK && at < rows->n; at = end) {
        end = group_end(c, rows, at);
        for (size_t k = c->first_look[i]; rc == RC_OK && k < c->first_look[i + 1]; k++) {
            if (is_of(c, &c->looks[k], rows->at[at].value))
                rc = add_rows(c, &c->looks[k], &rows->at[at], end - at);
        }
    }
    return rc;
}

static enum rc add_up(struct causes *c, struct fail *fail)
{
    struct ledger_many many = {.make = make, .take = take, .arg = c};

    c->first_look = xcalloc(c->n_looks + 1, sizeof(*c->first_look));
    c->values = xcalloc(c->n_looks * c->set->n_by + 1, sizeof(*c->values));
    for (size_t i = 0, end; i < c->n_looks; i = end) {
        for (end = i + 1; end < c->n_looks && c->looks[end].first == c->looks[i].first &&
                          c->looks[end].last == c->looks[i].last;
             end++)
            ;
        c->first_look[many.n++] = i;
    }
    c->first_look[many.n] = c->n_looks;
    return ledger_read_many(c->q->reader, &many, fail);
}

/* ---- what is told ------------------------------------------------------------------------------ */

static int by_move(const void *a, const void *b)
{
    const struct part *x = *(struct part *const *)a, *y = *(struct part *const *)b;

    if (x->moved != y->moved)
        return x->moved < y->moved ? 1 : -1;
    if (x->field != y->field)
        return x->field < y->field ? -1 : 1;
    return strv_cmp(part_value(x), part_value(y));
}

static struct part *part_at(const struct by_value *parts, size_t i)
{
    return (struct part *)parts->at[i];
}

static void amount_text(const struct limit_def *def, money_int amount, char out[CELL_TEXT])
{
    const money_int dollar = (money_int)NANO_PER_USD * ATTO_PER_NANO;

    if (def && def->unit != UNIT_USD)
        (void)snprintf(out, CELL_TEXT, "%lld", (long long)amount);
    else
        (void)money_format_fixed((struct money){amount}, amount >= dollar ? 2 : 6, out);
}

/* A field with one value moved as the whole did: it explains nothing. */
static void write(const struct causes *c, const struct by_value *parts, money_int weeks, bool up,
                  char out[ODDITY_CAUSES_TEXT])
{
    size_t values[LEDGER_GROUP_MAX] = {0}, n = 0;

    for (size_t i = 0; i < parts->n; i++)
        values[part_at(parts, i)->field]++;
    for (size_t i = 0, told = 0; i < parts->n && told < ODDITY_CAUSES; i++) {
        const struct part *part = part_at(parts, i);
        struct strv name = ledger_field_name(&c->asked.by[part->field]);
        struct strv value = part_value(part).n ? part_value(part) : STRV("(untagged)");
        money_int moved = divide_even(part->moved, weeks);
        char amount[CELL_TEXT];
        int size;

        if (values[part->field] == 1)
            continue;
        if (moved <= 0)
            break;
        amount_text(c->q->def, moved, amount);
        value = strv_head(value, VALUE_SHOWN);
        while (value.n && ((unsigned char)value.p[value.n - 1] & 0x80))
            value.n--; /* no half characters */
        size =
            snprintf(out + n, ODDITY_CAUSES_TEXT - n, "%s" STRV_FMT " " STRV_FMT " %s%s",
                     told ? ", " : "", STRV_ARG(name), STRV_ARG(value), up ? "+" : "-", amount);
        if (size < 0 || (size_t)size >= ODDITY_CAUSES_TEXT - n)
            break;
        n += (size_t)size;
        told++;
    }
    out[n] = '\0';
}

/* Anomalies that are asked for together. */
static enum rc find(const struct series_question *q, const struct series_set *set,
                    struct oddity_sought *sought, size_t n, struct fail *fail)
{
    struct causes *c = xcalloc(1, sizeof(*c));
    enum rc rc;

    *c = (struct causes){.q = q, .set = set, .sought = sought, .n = n};
    c->parts = xcalloc(n + 1, sizeof(*c->parts));
    for (size_t i = 0; i < n; i++)
        by_value_init(&c->parts[i], PART_KEYS, sizeof(struct part));
    rc = make_question(c);
    if (rc == RC_OK) {
        choose_looks(c);
        rc = add_up(c, fail);
    }
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        size_t weeks = weeks_before(c, &sought[i]);

        if (c->parts[i].n)
            qsort(c->parts[i].at, c->parts[i].n, sizeof(struct valued *), by_move);
        write(c, &c->parts[i], (money_int)(weeks ? weeks : 1), sought[i].up, sought[i].causes);
    }
    for (size_t i = 0; i < n; i++)
        by_value_release(&c->parts[i]);
    free(c->parts);
    free(c->looks);
    free(c->first_look);
    free(c->values);
    free(c);
    return rc;
}

enum rc oddity_causes(const struct series_question *q, const struct series_set *set,
                      struct oddity_sought *sought, size_t n, struct fail *fail)
{
    size_t together = q->def || set->n_by == 0 ? 1 : n;
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < n; i += together)
        rc = find(q, set, &sought[i], together, fail);
    return rc;
}
