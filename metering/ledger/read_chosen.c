/*
 * read_chosen.c - see read_chosen.h.
 *
 * Which groups are the dearest is a question of costs alone, over all periods.  Then their rows are
 * asked for, of requests of their customers (users, tasks) alone; and all rows of a period come to what
 * rollups or days say without these.  What is left out is the one less the other, to the last digit: but
 * for what is the least or the most of one request, which is that of all where no chosen row has it.
 * Where one has, the requests of all other customers are asked for.
 */
#include "metering/ledger/read_chosen.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

struct chosen {
    struct ledger_reader *reader;
    const struct ledger_question *q;
    size_t field;               /* of q->by: what the chosen are told apart by */
    size_t place[LEDGER_GROUP_MAX]; /* of a field of the groups: that in q->by */
    struct ledger_rows groups;  /* which are chosen: of one period */
    struct ledger_tuples list;  /* the same by the question's fields, in order */
    struct strv *of_list;
    struct strv *values;        /* of the field, that they have */
    size_t n_values;
    struct ledger_rows rows;    /* of all requests that have one of these */
    struct ledger_rows all;     /* a row a period, without the fields */
    struct ledger_rows others;  /* the same of requests that have none of these */
    struct ledger_rows total;   /* with percentiles */
    struct ledger_rows strays;  /* all rows of these values, where they are looked at */
    struct ledger_sums *taken;  /* by row of all: rows that are chosen */
};

/* ---- questions ------------------------------------------------------------------------------- */

/* Users are more than customers. n_by: by none of them. */
static size_t field_of(const struct ledger_question *q)
{
    static const enum ledger_field_id many[] = {FIELD_TASK, FIELD_USER, FIELD_CUSTOMER};

    for (size_t k = 0; k < sizeof(many) / sizeof(*many); k++) {
        for (size_t i = 0; i < q->n_by; i++) {
            if (q->by[i].id == many[k])
                return i;
        }
    }
    return q->n_by;
}

/*
 * Whether a chosen task has few groups.  None stands for all requests without one: by a free tag, or by
 * users, it would have as many as there are of these.
 */
static bool has_few_groups(const struct ledger_question *q, size_t field)
{
    for (size_t i = 0; i < q->n_by; i++) {
        enum ledger_field_id id = q->by[i].id;

        if (i != field && (id == FIELD_TAG || id == FIELD_USER || id == FIELD_CUSTOMER))
            return false;
    }
    return true;
}

bool chosen_can(const struct answer *a)
{
    const struct ledger_question *q = a->q;
    const bool has_meters = q->want & LEDGER_WANT_METERS;
    const bool has_cube = a->cube_kind != CUBE_KINDS;
    size_t field = field_of(q);
    bool is_task = field < q->n_by && q->by[field].id == FIELD_TASK;

    if (a->top == 0 || field == q->n_by || (is_task && !has_few_groups(q, field)) ||
        a->top > (is_task ? CHOSEN_TASKS_MAX : CHOSEN_VALUES_MAX) ||
        q->filter.n_where == LEDGER_CONDITIONS_MAX || q->want & LEDGER_ALONE)
        return false;
    if (q->grain == PERIOD_TOTAL)
        return !has_cube && (has_meters || !is_task);
    return has_meters || !has_cube || q->by[field].id != FIELD_CUSTOMER;
}

/* The question with other fields and wants, and one more condition, where op says so. */
static enum rc ask(const struct chosen *c, const struct ledger_question *as,
                   const enum ledger_op *op, struct ledger_rows *out, struct fail *fail)
{
    struct ledger_question *q = xmalloc(sizeof(*q));
    enum rc rc = RC_OK;

    *q = *as;
    if (op)
        rc = ledger_filter_add(&q->filter, c->q->by[c->field], *op, c->values, c->n_values);
    if (rc == RC_OK)
        rc = ledger_read_sums(c->reader, q, out, fail);
    else
        *fail = (struct fail){.rc = rc, .doing = "ask for groups with that many conditions"};
    free(q);
    return rc;
}

/* Places of the question's fields as read_costs.h would have them: customers and users are the last. */
static void put_words_last(struct chosen *c)
{
    const struct ledger_question *q = c->q;
    size_t n = 0;

    for (size_t words = 0; words < 2; words++) {
        for (size_t i = 0; i < q->n_by; i++) {
            bool is_word = q->by[i].id == FIELD_CUSTOMER || q->by[i].id == FIELD_USER;

            if (is_word == (words > 0))
                c->place[n++] = i;
        }
    }
}

static enum rc ask_groups(struct chosen *c, struct fail *fail)
{
    struct ledger_question q = *c->q;

    for (size_t i = 0; i < q.n_by; i++)
        q.by[i] = c->q->by[c->place[i]];
    q.grain = PERIOD_TOTAL;
    q.want = (q.want & LEDGER_WANT_REQUESTS) | LEDGER_COST_ALONE | LEDGER_VALUES_ALONE;
    return ask(c, &q, NULL, &c->groups, fail);
}

static int by_values(const void *a, const void *b, void *arg)
{
    const struct strv *x = a, *y = b;
    const size_t *n = arg;
    int order = 0;

    for (size_t i = 0; order == 0 && i < *n; i++)
        order = strv_cmp(x[i], y[i]);
    return order;
}

static void make_list(struct chosen *c)
{
    size_t n_by = c->q->n_by;

    c->list = (struct ledger_tuples){.n_by = n_by, .n = c->groups.n};
    memcpy(c->list.by, c->q->by, n_by * sizeof(*c->list.by));
    c->of_list = xcalloc_wide(c->groups.n * n_by + 1, sizeof(*c->of_list));
    for (size_t i = 0; i < c->groups.n; i++) {
        const struct strv *from = c->groups.at[i].value;

        for (size_t k = 0; k < n_by; k++)
            c->of_list[i * n_by + c->place[k]] = from[k];
    }
    qsort_r(c->of_list, c->groups.n, n_by * sizeof(*c->of_list), by_values, &n_by);
    c->list.value = c->of_list;
}

static int by_text(const void *a, const void *b)
{
    return strv_cmp(*(const struct strv *)a, *(const struct strv *)b);
}

static void find_values(struct chosen *c)
{
    c->values = xcalloc_wide(c->groups.n + 1, sizeof(*c->values));
    for (size_t i = 0; i < c->groups.n; i++)
        c->values[i] = c->of_list[i * c->q->n_by + c->field];
    qsort(c->values, c->groups.n, sizeof(*c->values), by_text);
    for (size_t i = 0; i < c->groups.n; i++) {
        if (c->n_values == 0 || !strv_eq(c->values[c->n_values - 1], c->values[i]))
            c->values[c->n_values++] = c->values[i];
    }
}

static enum rc ask_rows(struct chosen *c, struct fail *fail)
{
    static const enum ledger_op one_of = LEDGER_EQ;
    struct ledger_question q = *c->q;

    q.top = 0;
    q.filter.only = &c->list;
    return ask(c, &q, &one_of, &c->rows, fail);
}

/* A row a period; those with percentiles are a question of their own, of the whole time. */
static enum rc ask_all(struct chosen *c, struct fail *fail)
{
    const unsigned of_total = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY;
    struct ledger_question q = *c->q;
    enum rc rc;

    q.n_by = 0;
    q.top = 0;
    q.want &= ~of_total;
    rc = ask(c, &q, NULL, &c->all, fail);
    if (rc != RC_OK || !(c->q->want & of_total))
        return rc;
    q.grain = PERIOD_TOTAL;
    q.want = (c->q->want & (of_total | LEDGER_WANT_REQUESTS)) | LEDGER_SPARE | LEDGER_SPARE_CEILING;
    return ask(c, &q, NULL, &c->total, fail);
}

/* Requests of all other values; and rows of these values, of which some are not chosen. */
static enum rc ask_others(struct chosen *c, struct fail *fail)
{
    const unsigned of_rows = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY | LEDGER_WANT_METERS;
    static const enum ledger_op none_of = LEDGER_NE, one_of = LEDGER_EQ;
    struct ledger_question q = *c->q;
    enum rc rc;

    q.top = 0;
    q.want &= ~of_rows;
    rc = c->q->n_by > 1 ? ask(c, &q, &one_of, &c->strays, fail) : RC_OK;
    q.n_by = 0;
    return rc == RC_OK ? ask(c, &q, &none_of, &c->others, fail) : rc;
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* Keeps the rows that are chosen, in their order; what those of a period come to is noted. */
static enum rc keep_chosen(struct chosen *c, struct fail *fail)
{
    size_t n = 0, period = 0;

    c->taken = xcalloc_wide(c->all.n + 1, sizeof(*c->taken));
    for (size_t i = 0; i < c->rows.n; i++) {
        const struct ledger_row *row = &c->rows.at[i];

        while (period < c->all.n && c->all.at[period].start_us != row->start_us)
            period++;
        if (period == c->all.n)
            return read_damaged(fail);
        if (!tuples_have(&c->list, row->value))
            continue;
        ledger_sums_add(&c->taken[period], &row->sums);
        c->rows.at[n++] = *row;
    }
    c->rows.n = n;
    return RC_OK;
}

/* ---- what is left out -------------------------------------------------------------------------- */

/* Whether the least and the most of one request are those of what is left, where they are looked at. */
static bool is_told(unsigned want, const struct ledger_sums *all, const struct ledger_sums *taken)
{
    const bool spares_cost = want & (LEDGER_SPARE_DETAILS | LEDGER_SPARE_RARE | LEDGER_SPARE_UNSAVED);
    const bool spares_time = want & (LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_FINE | LEDGER_SPARE_UNSAVED);
    const bool spares_byte = spares_time || want & LEDGER_SPARE_RARE;

    return (spares_cost || taken->priced == 0 ||
            (money_cmp(all->cost_min, taken->cost_min) < 0 &&
             money_cmp(all->cost_max, taken->cost_max) > 0)) &&
           (spares_time || taken->latency_max_us == 0 ||
            all->latency_max_us > taken->latency_max_us) &&
           (spares_byte || taken->first_byte_max_us == 0 ||
            all->first_byte_max_us > taken->first_byte_max_us);
}

static bool is_any(const struct ledger_sums *s)
{
    return s->requests > 0 || s->corrections > 0;
}

/* The same from requests of all other values; they have a row where they have any. */
static void take_others(const struct chosen *c, size_t period, struct ledger_sums *rest)
{
    int64_t start_us = c->all.at[period].start_us;

    *rest = (struct ledger_sums){0};
    for (size_t i = 0; i < c->strays.n; i++) {
        const struct ledger_row *row = &c->strays.at[i];

        if (row->start_us == start_us && !tuples_have(&c->list, row->value))
            ledger_sums_add(rest, &row->sums);
    }
    for (size_t i = 0; i < c->others.n; i++) {
        if (c->others.at[i].start_us == start_us)
            ledger_sums_add(rest, &c->others.at[i].sums);
    }
}

static enum rc make_rest(struct chosen *c, struct fail *fail)
{
    bool has_others = false;
    enum rc rc = RC_OK;

    c->rows.rest = xcalloc_wide(c->all.n + 1, sizeof(*c->rows.rest));
    for (size_t i = 0; i < c->all.n && rc == RC_OK; i++) {
        const struct ledger_row *all = &c->all.at[i];
        struct ledger_rest rest = {all->start_us, all->end_us, all->sums};

        if (c->taken[i].requests > all->sums.requests ||
            c->taken[i].corrections > all->sums.corrections)
            return read_damaged(fail);
        ledger_sums_take(&rest.sums, &c->taken[i]);
        if (!is_any(&rest.sums))
            continue;
        if (!is_told(c->q->want, &all->sums, &c->taken[i])) {
            rc = has_others ? RC_OK : ask_others(c, fail);
            has_others = true;
            take_others(c, i, &rest.sums);
        }
        c->rows.rest[c->rows.n_rest++] = rest;
    }
    return rc;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void take_total(struct chosen *c)
{
    struct ledger_meter_sum *meters = c->rows.total.meters;
    struct ledger_row *total = &c->rows.total;

    if (meters)
        memcpy(meters, c->all.total.meters, METER_COUNT * sizeof(*meters));
    total->sums = c->all.total.sums;
    if (!(c->q->want & (LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY)))
        return;
    memcpy(total->percentile, c->total.total.percentile, sizeof(total->percentile));
    total->has_latency = c->total.total.has_latency;
    total->p95_latency_ms = c->total.total.p95_latency_ms;
}

static void count_read(struct ledger_rows *to, const struct ledger_rows *from)
{
    to->rollup_rows += from->rollup_rows;
    to->cube_rows += from->cube_rows;
    to->fact_rows += from->fact_rows;
    to->line_rows += from->line_rows;
}

enum rc chosen_read(struct ledger_reader *r, const struct ledger_question *q, bool *known,
                    struct ledger_rows *out, struct fail *fail)
{
    struct chosen *c = xcalloc(1, sizeof(*c));
    enum rc rc;

    *c = (struct chosen){.reader = r, .q = q, .field = field_of(q)};
    put_words_last(c);
    rc = ask_groups(c, fail);
    if (rc == RC_OK) {
        make_list(c);
        find_values(c);
    }
    *known = rc != RC_OK || c->n_values <= CHOSEN_VALUES_MAX;
    if (rc == RC_OK && *known) {
        rc = ask_rows(c, fail);
        if (rc == RC_OK)
            rc = ask_all(c, fail);
        if (rc == RC_OK)
            rc = keep_chosen(c, fail);
        if (rc == RC_OK)
            rc = make_rest(c, fail);
        if (rc == RC_OK)
            take_total(c);
    }
    count_read(&c->rows, &c->groups);
    count_read(&c->rows, &c->all);
    count_read(&c->rows, &c->strays);
    count_read(&c->rows, &c->others);
    count_read(&c->rows, &c->total);
    if (rc == RC_OK && *known)
        *out = c->rows;
    else
        ledger_rows_release(&c->rows);
    ledger_rows_release(&c->groups);
    ledger_rows_release(&c->all);
    ledger_rows_release(&c->strays);
    ledger_rows_release(&c->others);
    ledger_rows_release(&c->total);
    free(c->of_list);
    free(c->values);
    free(c->taken);
    free(c);
    return rc;
}
