/*
 * read_rows.c - the rows of an answer: a row for each combination of values in each period.
 *
 * Texts are compared once for each combination of values, however many periods it is met in:
 * a combination has a number, and in the end a place, and all that sorts rows compares places.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_int.h"

enum {
    GROUP_NONE = -1,    /* the filter leaves the combination out */
    GROUP_UNKNOWN = -2, /* not asked yet */
    KEY_BYTES = 64 << 10,
};
#define ANSWER_BYTES ((size_t)4 << 30)

enum rc read_too_many(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_LIMIT, .doing = doing};
    return RC_LIMIT;
}

void answer_init(struct answer *a, struct ledger_reader *r, const struct ledger_question *q)
{
    *a = (struct answer){.reader = r, .q = q, .want = q->want, .cube_kind = CUBE_KINDS};
    if (q->want & LEDGER_WANT_PERCENTILES)
        a->want |= LEDGER_WANT_HISTOGRAM;
    arena_init(&a->arena, ANSWER_BYTES);
    dict_init(&a->groups);
    dict_init(&a->row_of);
    a->combo_group = xcalloc_wide(r->n_combos + 1, sizeof(*a->combo_group));
    for (size_t i = 0; i < r->n_combos; i++)
        a->combo_group[i] = GROUP_UNKNOWN;
}

void answer_free(struct answer *a)
{
    dict_release(&a->groups);
    dict_release(&a->row_of);
    free(a->combo_group);
    free(a->periods);
    free(a->near);
    free(a->group_values);
    free(a->rows);
    arena_release(&a->arena);
}

/* ---- by values and period ------------------------------------------------------------- */

static void *take(struct answer *a, size_t n, struct fail *fail)
{
    void *p = arena_alloc(&a->arena, n);

    if (!p)
        read_too_many(fail, "answer with that many rows");
    return p;
}

enum rc answer_init_row(struct answer *a, struct ledger_row *row, struct fail *fail)
{
    if (a->want & LEDGER_WANT_HISTOGRAM) {
        row->histogram = take(a, sizeof(*row->histogram), fail);
        if (!row->histogram)
            return RC_LIMIT;
    }
    if (a->want & LEDGER_WANT_BANDS) {
        row->bands = take(a, LEDGER_BANDS * sizeof(*row->bands), fail);
        if (!row->bands)
            return RC_LIMIT;
    }
    if (a->want & LEDGER_WANT_METERS) {
        row->meters = take(a, METER_COUNT * sizeof(*row->meters), fail);
        if (!row->meters)
            return RC_LIMIT;
    }
    return RC_OK;
}

/* The values in one text: each with its length before it, or the only one. */
static enum rc group_key(const struct answer *a, const struct strv *values, struct buf *scratch,
                         struct strv *out)
{
    enum rc rc = RC_OK;

    if (a->q->n_by == 1) {
        *out = values[0];
        return RC_OK;
    }
    for (size_t i = 0; i < a->q->n_by && rc == RC_OK; i++) {
        rc = buf_append(scratch, (const char *)&values[i].n, sizeof(values[i].n));
        if (rc == RC_OK)
            rc = buf_append_strv(scratch, values[i]);
    }
    *out = buf_view(scratch);
    return rc;
}

static enum rc new_group(struct answer *a, const struct strv *values, struct fail *fail)
{
    size_t n = a->q->n_by;
    struct strv *kept = take(a, (n + 1) * sizeof(*kept), fail);

    for (size_t i = 0; kept && i < n; i++) {
        kept[i] = arena_strv(&a->arena, values[i]);
        if (!kept[i].p)
            kept = NULL;
    }
    if (!kept || a->n_groups == LEDGER_ROWS_MAX)
        return read_too_many(fail, "answer with that many rows");
    if ((a->n_groups & (a->n_groups - 1)) == 0)
        a->group_values = xrealloc_table(a->group_values, (a->n_groups ? a->n_groups * 2 : 1) *
                                                        sizeof(*a->group_values));
    a->group_values[a->n_groups++] = kept;
    return RC_OK;
}

/* Number of the group with these values; made where it is new and make says so. */
static enum rc group_of(struct answer *a, const struct strv *values, bool make, int64_t *out,
                        struct fail *fail)
{
    struct buf scratch;
    struct strv key;
    bool is_new = false;
    enum rc rc;

    *out = GROUP_NONE;
    buf_init(&scratch, KEY_BYTES);
    rc = group_key(a, values, &scratch, &key);
    if (rc == RC_OK && make) {
        int64_t *number = dict_at(&a->groups, key, &is_new);

        if (is_new)
            *number = (int64_t)a->n_groups;
        *out = *number;
    } else if (rc == RC_OK) {
        const int64_t *known = dict_get(&a->groups, key);

        *out = known ? *known : GROUP_NONE;
    }
    if (rc == RC_OK && is_new)
        rc = new_group(a, values, fail);
    buf_release(&scratch);
    return rc;
}

/* The row that the group had last: most are asked for again. */
static struct near_row *near_of(struct answer *a, size_t group)
{
    size_t cap = a->cap_near ? a->cap_near : 64;

    if (group < a->cap_near)
        return &a->near[group];
    while (cap <= group)
        cap *= 2;
    a->near = xrealloc_table(a->near, cap * sizeof(*a->near));
    memset(a->near + a->cap_near, 0, (cap - a->cap_near) * sizeof(*a->near));
    a->cap_near = cap;
    return &a->near[group];
}

static enum rc row_at(struct answer *a, int64_t group, int64_t period, bool make,
                      struct ledger_row **out, struct fail *fail)
{
    struct near_row *near = near_of(a, (size_t)group);
    int64_t key[2] = {group, period};
    struct strv bytes = strv_make((const char *)key, sizeof(key));
    const int64_t *at;
    struct ledger_row *row;

    if (near->period == period + 1) {
        *out = &a->rows[near->row];
        return RC_OK;
    }
    /* In the only period a group has one row, which is near. */
    at = a->n_periods > 1 ? dict_get(&a->row_of, bytes) : NULL;
    *out = at ? &a->rows[*at] : NULL;
    if (at)
        *near = (struct near_row){period + 1, (size_t)*at};
    if (at || !make)
        return RC_OK;
    if (a->n_rows == LEDGER_ROWS_MAX)
        return read_too_many(fail, "answer with that many rows");
    if (a->n_rows == a->cap_rows) {
        a->cap_rows = a->cap_rows ? a->cap_rows * 2 : 16;
        a->rows = xrealloc_table(a->rows, a->cap_rows * sizeof(*a->rows));
    }
    row = &a->rows[a->n_rows];
    memset(row, 0, sizeof(*row));
    row->start_us = a->periods[period].start_us;
    row->end_us = a->periods[period].end_us;
    row->value = a->group_values[group];
    row->place = (size_t)group; /* until the answer is in order */
    if (answer_init_row(a, row, fail) != RC_OK)
        return RC_LIMIT;
    *near = (struct near_row){period + 1, a->n_rows};
    if (a->n_periods > 1)
        dict_put(&a->row_of, bytes, (int64_t)a->n_rows);
    a->n_rows++;
    *out = row;
    return RC_OK;
}

/* Group of a combination, where grouping asks for nothing else. */
static enum rc combo_group(struct answer *a, const struct combo *c, int64_t *out,
                           struct fail *fail)
{
    int32_t *known = &a->combo_group[c - a->reader->combos];
    struct strv values[LEDGER_GROUP_MAX];
    enum rc rc;

    *out = *known;
    if (*known != GROUP_UNKNOWN)
        return RC_OK;
    for (size_t i = 0; i < a->q->n_by; i++)
        values[i] = combo_value(c, a->q->by[i].id);
    rc = combo_matches(&a->q->filter, c) ? group_of(a, values, true, out, fail) : RC_OK;
    if (*out == GROUP_UNKNOWN)
        *out = GROUP_NONE;
    if (rc == RC_OK)
        *known = (int32_t)*out;
    return rc;
}

enum rc answer_combo_row(struct answer *a, int64_t period, const struct combo *c, bool make,
                         struct ledger_row **out, struct fail *fail)
{
    int64_t group;
    enum rc rc;

    *out = NULL;
    if (period < 0)
        return RC_OK;
    rc = combo_group(a, c, &group, fail);
    return rc == RC_OK && group >= 0 ? row_at(a, group, period, make, out, fail) : rc;
}

enum rc answer_row(struct answer *a, const struct line *line, const struct combo *c, bool make,
                   struct ledger_row **out, struct fail *fail)
{
    int64_t period = answer_period_at(a, a->q->filter.by_start ? line->start_us : line->end_us), group;
    struct strv values[LEDGER_GROUP_MAX];
    bool is_of_combo = true;
    enum rc rc = RC_OK;

    *out = NULL;
    if (period < 0)
        return RC_OK;
    for (size_t i = 0; i < a->q->n_by && rc == RC_OK; i++) {
        is_of_combo &= field_is_of_combo(&a->q->by[i]);
        rc = line_value(a->reader, line, c, &a->q->by[i], &values[i], fail);
    }
    if (rc != RC_OK)
        return rc;
    rc =
        is_of_combo ? combo_group(a, c, &group, fail) : group_of(a, values, make, &group, fail);
    return rc == RC_OK && group >= 0 ? row_at(a, group, period, make, out, fail) : rc;
}

enum rc answer_row_at(struct answer *a, const struct strv *values, int64_t period, bool make,
                      int64_t *out, struct fail *fail)
{
    struct ledger_row *row = NULL;
    int64_t group = GROUP_NONE;
    enum rc rc = period < 0 ? RC_OK : group_of(a, values, make, &group, fail);

    if (rc == RC_OK && group >= 0)
        rc = row_at(a, group, period, make, &row, fail);
    *out = row ? row - a->rows : -1;
    return rc;
}

/* Place in a->periods of a row's. */
static size_t period_of(const struct answer *a, int64_t start_us)
{
    size_t low = 0, high = a->n_periods;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (a->periods[middle].start_us < start_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t answer_find_row(const struct answer *a, const struct strv *values, int64_t period)
{
    const int64_t *at = NULL;
    int64_t row = -1;
    struct buf scratch;
    struct strv key;

    buf_init(&scratch, KEY_BYTES);
    if (group_key(a, values, &scratch, &key) == RC_OK)
        at = dict_get(&a->groups, key);
    buf_release(&scratch);
    if (!at || period < 0)
        return -1;
    if (a->n_periods > 1) {
        int64_t of[2] = {*at, period};
        const int64_t *place = dict_get(&a->row_of, strv_make((const char *)of, sizeof(of)));

        row = place ? *place : -1;
    } else if ((size_t)*at < a->cap_near && a->near[*at].period == period + 1) {
        row = (int64_t)a->near[*at].row;
    }
    return row;
}

/* ---- in order ------------------------------------------------------------------------- */

/* A group to be put in order: most differ in the first bytes, which need no look elsewhere. */
struct ordered_group {
    uint64_t head[2]; /* of the first value, the first byte highest */
    size_t group;
};

static int compare_groups(const void *one, const void *other, void *arg)
{
    const struct ordered_group *x = one, *y = other;
    const struct answer *a = arg;
    int order = (x->head[0] > y->head[0]) - (x->head[0] < y->head[0]);

    if (order == 0)
        order = (x->head[1] > y->head[1]) - (x->head[1] < y->head[1]);
    for (size_t i = 0; order == 0 && i < a->q->n_by; i++)
        order = strv_cmp(a->group_values[x->group][i], a->group_values[y->group][i]);
    return order;
}

static void take_head(struct ordered_group *g, struct strv text)
{
    if (text.n)
        memcpy(g->head, text.p, text.n < sizeof(g->head) ? text.n : sizeof(g->head));
    g->head[0] = be64toh(g->head[0]);
    g->head[1] = be64toh(g->head[1]);
}

/* By number of a group: its place. */
static size_t *place_groups(struct answer *a)
{
    struct ordered_group *groups = xcalloc_wide(a->n_groups + 1, sizeof(*groups));
    size_t *place = xcalloc_wide(a->n_groups + 1, sizeof(*place));

    for (size_t i = 0; i < a->n_groups; i++) {
        groups[i].group = i;
        take_head(&groups[i], a->q->n_by ? a->group_values[i][0] : STRV(""));
    }
    if (a->n_groups)
        qsort_r(groups, a->n_groups, sizeof(*groups), compare_groups, a);
    for (size_t i = 0; i < a->n_groups; i++)
        place[groups[i].group] = i;
    free(groups);
    return place;
}

struct ordered_row {
    int64_t start_us;
    size_t place, at;
};

static int compare_rows(const void *one, const void *other)
{
    const struct ordered_row *x = one, *y = other;

    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Each row to where it belongs: rows are large, so each is moved once. */
static void move_rows(struct ledger_row *rows, struct ordered_row *order, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ledger_row first;
        size_t to = i;

        if (order[i].at == i)
            continue;
        first = rows[i];
        while (order[to].at != i) {
            size_t from = order[to].at;

            rows[to] = rows[from];
            order[to].at = to;
            to = from;
        }
        rows[to] = first;
        order[to].at = to;
    }
}

/*
 * In order, without comparing: most groups have a row in most periods, so there is a cell for
 * each that there may be.  False where these would be many more than rows.
 */
static bool order_by_cells(const struct answer *a, struct ordered_row *order)
{
    size_t n_cells = a->n_groups * a->n_periods, n = 0;
    struct ordered_row *cells;

    if (n_cells / 4 > a->n_rows)
        return false;
    cells = xcalloc_wide(n_cells + 1, sizeof(*cells));
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t cell = period_of(a, order[i].start_us) * a->n_groups + order[i].place;

        ASSERT(cell < n_cells);
        cells[cell] = order[i];
        cells[cell].at++; /* 0: no row */
    }
    for (size_t i = 0; i < n_cells; i++) {
        if (cells[i].at == 0)
            continue;
        order[n] = cells[i];
        order[n++].at--;
    }
    free(cells);
    return true;
}

void answer_put_in_order(struct answer *a)
{
    struct ordered_row *order = xcalloc_wide(a->n_rows + 1, sizeof(*order));
    size_t *place = place_groups(a);

    for (size_t i = 0; i < a->n_rows; i++) {
        struct ledger_row *row = &a->rows[i];

        row->place = place[row->place];
        order[i] = (struct ordered_row){row->start_us, row->place, i};
    }
    if (!order_by_cells(a, order))
        qsort(order, a->n_rows, sizeof(*order), compare_rows);
    move_rows(a->rows, order, a->n_rows);
    free(place);
    free(order);
}
