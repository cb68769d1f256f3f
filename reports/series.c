#include "reports/series.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/limit_spent.h"
#include "reports/sheet.h"

enum {
    SERIES_TEXT_BYTES = 64 << 20,
    CLAIM_BYTES = 64 << 10,
    DAYS_OF_WEEK = 7,
    HOURS_OF_DAY = 24,
    HOURS_OF_WEEK = 168,
    WEEKS_OF_HOURS = 3, /* fewer: the season is a day */
};

unsigned series_season(enum period step, size_t n)
{
    if (step == PERIOD_DAY)
        return DAYS_OF_WEEK;
    return n >= (size_t)WEEKS_OF_HOURS * HOURS_OF_WEEK ? HOURS_OF_WEEK : HOURS_OF_DAY;
}

struct strv series_key(struct arena *arena, const struct strv *value, size_t n)
{
    size_t size = 1, at = 0;
    char *text;

    for (size_t i = 0; i < n; i++)
        size += value[i].n + 1;
    text = arena_alloc(arena, size);
    if (!text)
        return STRV_NONE;
    for (size_t i = 0; i < n; i++) {
        if (value[i].n)
            memcpy(text + at, value[i].p, value[i].n);
        at += value[i].n;
        text[at++] = '\x1f'; /* in no value: those are printable */
    }
    return strv_make(text, at);
}

money_int series_amount(const struct limit_def *def, const struct ledger_sums *s)
{
    if (!def)
        return s->cost.atto;
    return (money_int)limit_taken(def, s) * (def->unit == UNIT_USD ? ATTO_PER_NANO : 1);
}

money_int series_tidy(const struct limit_def *def, money_int amount)
{
    if (def && def->unit != UNIT_USD)
        return amount;
    return divide_even(amount, ATTO_PER_NANO) * ATTO_PER_NANO;
}

/* ---- steps ------------------------------------------------------------------------------ */

static void make_steps(const struct series_question *q, struct series_set *set)
{
    int64_t start, end;

    set->n_steps = q->steps;
    set->start_us = xcalloc(q->steps + 1, sizeof(*set->start_us));
    zone_period(q->zone, q->step, q->now_us, &start, &end);
    for (size_t i = q->steps + 1; i-- > 0;) {
        set->start_us[i] = start;
        zone_period(q->zone, q->step, start - 1, &start, &end);
    }
}

/* The step that begins at us; n_steps is the running one, more: none. */
static size_t step_at(const struct series_set *set, int64_t us)
{
    size_t low = 0, high = set->n_steps + 1;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->start_us[middle] < us)
            low = middle + 1;
        else
            high = middle;
    }
    return low <= set->n_steps && set->start_us[low] == us ? low : set->n_steps + 1;
}

/* ---- which series a row is of -------------------------------------------------------------
 */

struct keyed {
    struct strv key;
    const struct ledger_row *row;
};

/* Counters are named by the limiter's own rules. */
static enum rc scope_keys(const struct series_question *q, const struct ledger_question *asked,
                          struct series_set *set, struct keyed *keyed, size_t *n)
{
    static const struct limit_amounts nothing;
    static const struct uuid id;
    struct limit_set *one = limit_set_new(q->def, 1, q->zone);
    struct admission *a = xmalloc(sizeof(*a));
    struct arena claims;
    enum rc rc = RC_OK;

    arena_init(&claims, CLAIM_BYTES);
    for (size_t i = 0; rc == RC_OK && i < set->rows.n; i++) {
        struct subject subject;
        memset(a, 0, sizeof(*a));
        arena_reset(&claims);
        limit_subject(asked, &set->rows.at[i], &subject);
        rc = admission_init(a, one, &subject, &nothing, &id, q->now_us, &claims);
        if (rc != RC_OK || a->n_claims == 0)
            continue;
        keyed[*n].row = &set->rows.at[i];
        keyed[*n].key = arena_strv(&set->arena, a->claims[0].scope);
        rc = keyed[*n].key.p || a->claims[0].scope.n == 0 ? RC_OK : RC_LIMIT;
        ++*n;
    }
    arena_release(&claims);
    limit_set_free(one);
    free(a);
    return rc;
}

static enum rc value_keys(const struct series_question *q, struct series_set *set,
                          struct keyed *keyed, size_t *n)
{
    for (size_t i = 0; i < set->rows.n; i++) {
        struct strv key = series_key(&set->arena, set->rows.at[i].value, q->n_by);
        if (!key.p)
            return RC_LIMIT;
        keyed[(*n)++] = (struct keyed){key, &set->rows.at[i]};
    }
    return RC_OK;
}

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int c = strv_cmp(x->key, y->key);

    return c ? c : (x->row > y->row) - (x->row < y->row);
}

/* ---- filling --------------------------------------------------------------------------- */

static void put(const struct series_question *q, struct series_set *set, struct series *to,
                const struct ledger_row *row)
{
    size_t step = step_at(set, row->start_us);

    to->unpriced += row->sums.unpriced;
    if (step < set->n_steps)
        to->x[step] += series_amount(q->def, &row->sums);
    else if (step == set->n_steps)
        to->running += series_amount(q->def, &row->sums);
}

static enum rc fill(const struct series_question *q, struct series_set *set,
                    const struct keyed *keyed, size_t n)
{
    size_t n_series = 0, at = 0;

    for (size_t i = 0; i < n; i++)
        n_series += i == 0 || !strv_eq(keyed[i - 1].key, keyed[i].key);
    if (n_series > SERIES_MAX || n_series * set->n_steps > SERIES_CELLS_MAX)
        return RC_LIMIT;
    set->at = xcalloc(n_series + 1, sizeof(*set->at));
    set->cells = xcalloc(n_series * set->n_steps + 1, sizeof(*set->cells));
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !strv_eq(keyed[i - 1].key, keyed[i].key)) {
            at = set->n++;
            set->at[at].key = keyed[i].key;
            set->at[at].value = keyed[i].row->value;
            set->at[at].x = set->cells + at * set->n_steps;
        }
        put(q, set, &set->at[at], keyed[i].row);
    }
    for (size_t i = 0; i < set->n; i++) {
        struct series *s = &set->at[i];
        while (s->first < set->n_steps && s->x[s->first] == 0)
            s->first++;
    }
    return RC_OK;
}

static bool make_question(const struct series_question *q, const struct series_set *set,
                          struct ledger_question *asked)
{
    int64_t from = set->start_us[0], start, end;

    zone_period(q->zone, q->step, q->now_us, &start, &end);
    if (q->def && !limit_question(q->def, from, end, asked))
        return false;
    if (!q->def) {
        *asked = (struct ledger_question){
            .filter = *q->filter, .n_by = q->n_by, .want = LEDGER_COST_ALONE};
        memcpy(asked->by, q->by, q->n_by * sizeof(asked->by[0]));
        asked->filter.from_us = from;
        asked->filter.to_us = end;
    }
    asked->grain = q->step;
    asked->zone = q->zone;
    return true;
}

enum rc series_read(const struct series_question *q, struct series_set *out, struct fail *fail)
{
    struct ledger_question *asked = xmalloc(sizeof(*asked));
    struct keyed *keyed = NULL;
    size_t n = 0;
    enum rc rc;

    *out = (struct series_set){.n = 0};
    arena_init(&out->arena, SERIES_TEXT_BYTES);
    make_steps(q, out);
    rc = make_question(q, out, asked) ? RC_OK : RC_STATE;
    if (rc == RC_OK) {
        out->n_by = asked->n_by;
        memcpy(out->by, asked->by, asked->n_by * sizeof(out->by[0]));
        rc = ledger_read_sums(q->reader, asked, &out->rows, fail);
    }
    if (rc == RC_OK) {
        keyed = xcalloc(out->rows.n + 1, sizeof(*keyed));
        rc = q->def ? scope_keys(q, asked, out, keyed, &n) : value_keys(q, out, keyed, &n);
    }
    if (rc == RC_OK) {
        qsort(keyed, n, sizeof(*keyed), by_key);
        rc = fill(q, out, keyed, n);
    }
    free(keyed);
    free(asked);
    if (rc != RC_OK)
        series_release(out);
    return rc;
}

void series_release(struct series_set *set)
{
    if (set->rows.memory)
        ledger_rows_release(&set->rows);
    free(set->start_us);
    free(set->at);
    free(set->cells);
    arena_release(&set->arena);
    *set = (struct series_set){.n = 0};
}

const struct series *series_find(const struct series_set *set, struct strv key)
{
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = strv_cmp(set->at[middle].key, key);
        if (c == 0)
            return &set->at[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
