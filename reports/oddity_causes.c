#include "reports/oddity_causes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
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

struct part {
    size_t field; /* of the question's */
    struct strv value;
    money_int moved;
};

struct causes {
    struct ledger_question q;
    struct ledger_rows rows[WEEKS + 1];
    size_t n_rows;
    struct part *at;
    size_t n, cap;
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

/* Only what belongs to the series. */
static enum rc narrow(const struct series_question *q, const struct series_set *set,
                      const struct series *series, struct ledger_filter *filter)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < set->n_by; i++) {
        bool of_counter = !q->def;
        for (size_t k = 0; q->def && k < q->def->n_per; k++)
            of_counter = of_counter || strv_eq(q->def->per[k], ledger_field_name(&set->by[i]));
        if (of_counter)
            rc = ledger_filter_add(filter, set->by[i], LEDGER_EQ, &series->value[i], 1);
    }
    return rc;
}

static enum rc make_question(const struct series_question *q, const struct series_set *set,
                             const struct series *series, struct ledger_question *out)
{
    *out = (struct ledger_question){.grain = PERIOD_TOTAL, .want = LEDGER_COST_ALONE};
    if (q->def && !limit_question(q->def, 0, 1, out))
        return RC_LIMIT;
    if (!q->def)
        out->filter = *q->filter;
    out->filter.by_start = false;
    out->zone = q->zone;
    out->n_by = 0;
    for (size_t i = 0; i < LOOKED_AT; i++) {
        if (!is_fixed(q, set, looked_at[i]))
            out->by[out->n_by++] = (struct ledger_field){.id = looked_at[i]};
    }
    return narrow(q, set, series, &out->filter);
}

/* Each value of each field of a row moved by its amount, times factor. */
static void add_row(struct causes *c, const struct series_question *q,
                    const struct ledger_row *row, money_int factor)
{
    for (size_t f = 0; f < c->q.n_by; f++) {
        if (c->n == c->cap) {
            c->cap = c->cap ? c->cap * 2 : 256;
            c->at = xrealloc(c->at, c->cap * sizeof(*c->at));
        }
        c->at[c->n++] =
            (struct part){f, row->value[f], factor * series_amount(q->def, &row->sums)};
    }
}

static enum rc ask(struct causes *c, const struct series_question *q,
                   const struct series_set *set, size_t first, size_t last, money_int factor,
                   struct fail *fail)
{
    struct ledger_rows *rows = &c->rows[c->n_rows];
    enum rc rc;

    c->q.filter.from_us = set->start_us[first];
    c->q.filter.to_us = set->start_us[last + 1];
    rc = ledger_read_sums(q->reader, &c->q, rows, fail);
    if (rc != RC_OK)
        return rc;
    c->n_rows++;
    for (size_t i = 0; i < rows->n; i++)
        add_row(c, q, &rows->at[i], factor);
    return RC_OK;
}

static int by_value(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->field != y->field)
        return x->field < y->field ? -1 : 1;
    return strv_cmp(x->value, y->value);
}

static int by_move(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->moved != y->moved)
        return x->moved < y->moved ? 1 : -1;
    return by_value(a, b);
}

static void merge(struct causes *c)
{
    size_t n = 0;

    if (c->n == 0)
        return;
    qsort(c->at, c->n, sizeof(*c->at), by_value);
    for (size_t i = 1; i < c->n; i++) {
        if (by_value(&c->at[n], &c->at[i]) == 0)
            c->at[n].moved += c->at[i].moved;
        else
            c->at[++n] = c->at[i];
    }
    c->n = n + 1;
}

/* A field with one value moved as the whole did: it explains nothing. */
static void drop_lone(struct causes *c)
{
    size_t values[LEDGER_GROUP_MAX] = {0}, n = 0;

    for (size_t i = 0; i < c->n; i++)
        values[c->at[i].field]++;
    for (size_t i = 0; i < c->n; i++) {
        if (values[c->at[i].field] > 1)
            c->at[n++] = c->at[i];
    }
    c->n = n;
}

static void amount_text(const struct limit_def *def, money_int amount, char out[CELL_TEXT])
{
    const money_int dollar = (money_int)NANO_PER_USD * ATTO_PER_NANO;

    if (def && def->unit != UNIT_USD)
        (void)snprintf(out, CELL_TEXT, "%lld", (long long)amount);
    else
        (void)money_format_fixed((struct money){amount}, amount >= dollar ? 2 : 6, out);
}

static void write(const struct causes *c, const struct series_question *q, money_int weeks,
                  bool up, char out[ODDITY_CAUSES_TEXT])
{
    size_t n = 0;

    for (size_t i = 0, told = 0; i < c->n && told < ODDITY_CAUSES; i++) {
        struct strv name = ledger_field_name(&c->q.by[c->at[i].field]);
        struct strv value = c->at[i].value.n ? c->at[i].value : STRV("(untagged)");
        money_int moved = divide_even(c->at[i].moved, weeks);
        char amount[CELL_TEXT];
        int size;
        if (moved <= 0)
            break;
        amount_text(q->def, moved, amount);
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

enum rc oddity_causes(const struct series_question *q, const struct series_set *set,
                      const struct series *series, size_t first, size_t last, bool up,
                      char out[ODDITY_CAUSES_TEXT], struct fail *fail)
{
    size_t week = q->step == PERIOD_DAY ? 7 : 168, weeks = 0;
    struct causes *c = xcalloc(1, sizeof(*c));
    enum rc rc = make_question(q, set, series, &c->q);

    while (weeks < WEEKS && (weeks + 1) * week <= first)
        weeks++;
    for (size_t w = 1; rc == RC_OK && w <= weeks; w++)
        rc = ask(c, q, set, first - w * week, last - w * week, up ? -1 : 1, fail);
    if (weeks == 0)
        weeks = 1;
    if (rc == RC_OK)
        rc = ask(c, q, set, first, last, (money_int)weeks * (up ? 1 : -1), fail);
    if (rc == RC_OK) {
        merge(c);
        drop_lone(c);
        if (c->n)
            qsort(c->at, c->n, sizeof(*c->at), by_move);
        write(c, q, (money_int)weeks, up, out);
    }
    for (size_t i = 0; i < c->n_rows; i++)
        ledger_rows_release(&c->rows[i]);
    free(c->at);
    free(c);
    return rc;
}
