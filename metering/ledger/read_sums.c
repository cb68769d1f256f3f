/*
 * read_sums.c - grouped sums: from rollups where they cover a period, from lines at
 * ragged edges and for fields that rollups do not tell apart.
 *
 * The time asked for is cut into periods, each period into whole buckets of the
 * widest level that fits (days within hours within quarters).  What no bucket covers
 * is read from the lines.  Both ways add the same sums.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_bands.h"
#include "metering/ledger/read_chosen.h"
#include "metering/ledger/read_cube.h"

/* Buckets [low, high) of one level. */
struct span {
    enum rollup_level level;
    int64_t low, high;
};

struct plan {
    struct span *spans; /* in order of time */
    size_t n;
};

/* ---- periods ------------------------------------------------------------------- */

/* Bounds of what there is, so that "always" is not cut into periods without end. */
static enum rc data_bounds(struct ledger_reader *r, int64_t *from_us, int64_t *to_us,
                           struct fail *fail)
{
    int64_t first_us, last_us;
    enum rc rc = read_bounds(r, &first_us, &last_us, fail);

    if (rc != RC_OK)
        return rc;
    *from_us =
        first_us < INT64_MIN + LEDGER_LONGEST_US ? INT64_MIN : first_us - LEDGER_LONGEST_US;
    *to_us = last_us == INT64_MAX ? INT64_MAX : last_us + 1;
    return RC_OK;
}

static void add_period(struct answer *a, const struct answer_period *p)
{
    if ((a->n_periods & (a->n_periods - 1)) == 0)
        a->periods =
            xrealloc(a->periods, (a->n_periods ? a->n_periods * 2 : 1) * sizeof(*a->periods));
    a->periods[a->n_periods++] = *p;
}

enum rc answer_make_periods(struct answer *a, struct fail *fail)
{
    const struct ledger_filter *f = &a->q->filter;
    int64_t from_us, to_us, at;
    enum rc rc = data_bounds(a->reader, &from_us, &to_us, fail);

    if (rc != RC_OK)
        return rc;
    from_us = f->from_us > from_us ? f->from_us : from_us;
    to_us = f->to_us < to_us ? f->to_us : to_us;
    if (a->q->grain == PERIOD_TOTAL || !a->q->zone) {
        struct answer_period p = {f->from_us, f->to_us, from_us, to_us};

        if (from_us < to_us)
            add_period(a, &p);
        return RC_OK;
    }
    for (at = from_us; at < to_us;) {
        struct answer_period p;

        zone_period(a->q->zone, a->q->grain, at, &p.start_us, &p.end_us);
        if (p.end_us <= at || a->n_periods == LEDGER_ROWS_MAX)
            return read_too_many(fail, "answer for that many periods");
        p.from_us = at;
        p.to_us = p.end_us < to_us ? p.end_us : to_us;
        add_period(a, &p);
        at = p.end_us;
    }
    return RC_OK;
}

int64_t answer_period_at(const struct answer *a, int64_t us)
{
    size_t low = 0, high = a->n_periods;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (a->periods[middle].to_us <= us)
            low = middle + 1;
        else
            high = middle;
    }
    return low < a->n_periods && a->periods[low].from_us <= us ? (int64_t)low : -1;
}

/* The same, where the one before was that of period *near. */
static int64_t period_of(const struct answer *a, int64_t us, int64_t *near)
{
    if (*near < 0 || us < a->periods[*near].from_us || us >= a->periods[*near].to_us)
        *near = answer_period_at(a, us);
    return *near;
}

/* ---- the plan -------------------------------------------------------------------- */

static void add_span(struct plan *plan, enum rollup_level level, int64_t low, int64_t high)
{
    struct span *last = plan->n ? &plan->spans[plan->n - 1] : NULL;

    if (low >= high)
        return;
    if (last && last->level == level && last->high == low) {
        last->high = high;
        return;
    }
    if ((plan->n & (plan->n - 1)) == 0)
        plan->spans = xrealloc(plan->spans, (plan->n ? plan->n * 2 : 1) * sizeof(*plan->spans));
    plan->spans[plan->n++] = (struct span){level, low, high};
}

/* Buckets of a level within finer buckets [low, high): rounded inwards. */
static int64_t inward_low(int64_t low, int64_t ratio)
{
    return low / ratio + (low % ratio > 0);
}
static int64_t inward_high(int64_t high, int64_t ratio)
{
    return high / ratio - (high % ratio < 0);
}

/* [low, high) in buckets of `level`, by wider ones in the middle. */
static void cover_buckets(struct plan *plan, enum rollup_level level, int64_t low, int64_t high)
{
    enum rollup_level wider = (enum rollup_level)(level + 1);
    int64_t ratio, wide_low, wide_high;

    if (low >= high)
        return;
    if (wider == LEVEL_COUNT) {
        add_span(plan, level, low, high);
        return;
    }
    ratio = rollup_width_us(wider) / rollup_width_us(level);
    wide_low = inward_low(low, ratio);
    wide_high = inward_high(high, ratio);
    if (wide_low >= wide_high) {
        add_span(plan, level, low, high);
        return;
    }
    add_span(plan, level, low, wide_low * ratio);
    cover_buckets(plan, wider, wide_low, wide_high);
    add_span(plan, level, wide_high * ratio, high);
}

static void cover(struct plan *plan, int64_t from_us, int64_t to_us)
{
    int64_t width = rollup_width_us(LEVEL_QUARTER);

    cover_buckets(plan, LEVEL_QUARTER, inward_low(from_us, width), inward_high(to_us, width));
}

/* The question's one period began before the lines did, and sums alone are asked for. */
static bool is_carried(const struct answer *a)
{
    return a->q->filter.by_start && a->n_periods == 1 &&
           a->periods[0].from_us < a->reader->kept_from_us && !(a->want & ~(unsigned)LEDGER_SPARE);
}

/*
 * By start, a bucket of ends lies in a period for sure only where it begins later than the
 * period by the longest that a request lasts.  Where lines are deleted it is taken all the
 * same, and answer_take_carried makes it right.
 */
static void cover_by_start(const struct answer *a, struct plan *plan, int64_t from_us,
                           int64_t to_us)
{
    int64_t sure_us = from_us + LEDGER_LONGEST_US, kept_us = a->reader->kept_from_us;

    if (is_carried(a)) {
        cover(plan, from_us, kept_us < to_us ? kept_us : to_us);
        sure_us = sure_us > kept_us ? sure_us : kept_us;
    }
    if (sure_us < to_us)
        cover(plan, sure_us, to_us);
}

static void make_plan(const struct answer *a, struct plan *plan)
{
    const struct ledger_filter *f = &a->q->filter;

    *plan = (struct plan){0};
    if ((a->want & (LEDGER_WANT_LINES | LEDGER_WANT_REQUESTS)) || !filter_is_of_combo(f))
        return;
    for (size_t i = 0; i < a->q->n_by; i++) {
        if (!field_is_of_combo(&a->q->by[i]))
            return;
    }
    for (size_t i = 0; i < a->n_periods; i++) {
        int64_t from_us = a->periods[i].from_us, to_us = a->periods[i].to_us;

        if (f->by_start)
            cover_by_start(a, plan, from_us, to_us);
        else
            cover(plan, from_us, to_us);
    }
}

/* ---- reading ------------------------------------------------------------------------ */

static struct rollup rollup_of(const struct ledger_row *row)
{
    return (struct rollup){row->sums, row->histogram, row->bands, row->meters};
}

/* Requests and cost stand beside the sums; false where the cost is more than there is room for. */
static bool add_cost_alone(struct ledger_row *row, const struct combo *c, sqlite3_stmt *stmt)
{
    int64_t nano = sqlite3_column_int64(stmt, 4);
    uint64_t requests = (uint64_t)sqlite3_column_int64(stmt, 3);

    if (nano == INT64_MAX || nano == INT64_MIN || requests >= INT64_MAX)
        return false;
    row->sums.requests += requests;
    row->sums.unpriced += c->price_status == PRICE_NONE ? requests : 0;
    row->sums.cost = ledger_money_add(
        row->sums.cost,
        (struct money){(money_int)nano * ATTO_PER_NANO + sqlite3_column_int64(stmt, 5)});
    return true;
}

static enum rc add_rollup_row(struct answer *a, const struct span *span, sqlite3_stmt *stmt,
                              int64_t *period_near, struct fail *fail)
{
    int64_t us = sqlite3_column_int64(stmt, 0) * rollup_width_us(span->level);
    const struct combo *c = read_combo(a->reader, sqlite3_column_int64(stmt, 1));
    int64_t period = period_of(a, us, period_near);
    struct ledger_row *row;
    enum rc rc;

    a->rollup_rows++;
    if (!c)
        return read_damaged(fail);
    if (period < 0) /* by start: the period's bucket begins later than the period */
        return RC_OK;
    rc = answer_combo_row(a, period, c, true, &row, fail);
    if (rc != RC_OK || !row)
        return rc;
    if (want_is_cost_alone(a->want) && add_cost_alone(row, c, stmt))
        return RC_OK;
    if (rollup_add_to(&row->sums, row->histogram, row->bands, row->meters,
                      db_column(stmt, 2)) != RC_OK)
        return read_damaged(fail);
    return RC_OK;
}

static enum rc read_span(struct answer *a, const struct span *span, sqlite3_stmt *stmt,
                         struct fail *fail)
{
    int64_t period_near = -1;
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    sqlite3_bind_int64(stmt, 1, span->level);
    sqlite3_bind_int64(stmt, 2, span->low);
    sqlite3_bind_int64(stmt, 3, span->high);
    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = add_rollup_row(a, span, stmt, &period_near, fail);
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(a->reader, fail);
    sqlite3_reset(stmt);
    return rc;
}

static enum rc add_line(const struct line *line, const struct combo *combo, void *arg,
                        struct fail *fail)
{
    struct answer *a = arg;
    struct ledger_row *row;
    struct record record;
    struct rollup sums;
    enum rc rc = answer_row(a, line, combo, true, &row, fail);

    a->line_rows++;
    if (rc != RC_OK || !row)
        return rc;
    rc = read_body(a->reader, line->seq, &record, fail);
    if (rc != RC_OK)
        return rc;
    sums = rollup_of(row);
    rollup_add_record(&sums, &record);
    row->sums = sums.sums;
    return RC_OK;
}

static enum rc read_requests(struct answer *a, int64_t from_us, int64_t to_us,
                             struct fail *fail)
{
    if (a->can_use_facts)
        return answer_add_facts(a, from_us, to_us, fail);
    return scan_lines(a->reader, &a->q->filter, from_us, to_us, LINES_BY_END, add_line, a, fail);
}

/* A span of days: those that have a cube from it, the others from their rows. */
static enum rc read_days(struct answer *a, const struct span *span, sqlite3_stmt *stmt,
                         struct fail *fail)
{
    int64_t width = rollup_width_us(LEVEL_DAY);
    enum rc rc = RC_OK;

    for (int64_t low = span->low, high; rc == RC_OK && low < span->high; low = high) {
        bool has = answer_has_cube(a, low);
        struct span part = {LEVEL_DAY, low, 0};

        for (high = low + 1; high < span->high && answer_has_cube(a, high) == has; high++)
            ;
        part.high = high;
        rc = has ? read_requests(a, low * width, high * width, fail)
                 : read_span(a, &part, stmt, fail);
    }
    return rc;
}

/* The buckets of the plan, and between them the requests. */
static enum rc read_plan(struct answer *a, const struct plan *plan, struct fail *fail)
{
    const struct ledger_filter *f = &a->q->filter;
    sqlite3_stmt *stmt = db_prepare(a->reader->db,
                                    "SELECT bucket, combo, body, requests, cost_nano, cost_rest "
                                    "FROM rollup WHERE level=?1 AND bucket>=?2 AND bucket<?3",
                                    fail);
    enum rc rc = stmt ? RC_OK : fail->rc;
    int64_t at, to_us;

    filter_end_bounds(f, &at, &to_us);
    for (size_t i = 0; i < plan->n && rc == RC_OK; i++) {
        const struct span *span = &plan->spans[i];
        int64_t width = rollup_width_us(span->level);

        if (at < span->low * width)
            rc = read_requests(a, at, span->low * width, fail);
        if (rc == RC_OK)
            rc = span->level == LEVEL_DAY && a->cube_kind == CUBE_CLASS
                     ? read_days(a, span, stmt, fail)
                     : read_span(a, span, stmt, fail);
        at = span->high * width;
    }
    if (rc == RC_OK && at < to_us)
        rc = read_requests(a, at, to_us, fail);
    if (rc == RC_OK && plan->n > 0 && is_carried(a))
        rc = answer_take_carried(a, a->periods[0].from_us, fail);
    sqlite3_finalize(stmt);
    return rc;
}

/* ---- the answer ------------------------------------------------------------------------ */

static void add_to_total(struct ledger_row *total, const struct ledger_row *row)
{
    if (total->histogram)
        cost_histogram_add(total->histogram, row->histogram);
    for (size_t i = 0; total->bands && i < LEDGER_BANDS; i++)
        ledger_band_add(&total->bands[i], &row->bands[i]);
    for (size_t i = 0; total->meters && i < METER_COUNT; i++)
        ledger_meter_add(&total->meters[i], &row->meters[i]);
}

/* has_given: nothing else was added to rows, so that large ones need not be read for it. */
static enum rc finish(struct answer *a, bool has_given, struct fail *fail)
{
    enum rc rc = answer_init_row(a, &a->total, fail);

    if (rc != RC_OK)
        return rc;
    if (has_given)
        a->total.sums = a->given;
    for (size_t i = 0; !has_given && i < a->n_rows; i++)
        ledger_sums_add(&a->total.sums, &a->rows[i].sums);
    a->total.start_us = a->q->filter.from_us;
    a->total.end_us = a->q->filter.to_us;
    for (size_t i = 0; i < a->n_rows; i++)
        add_to_total(&a->total, &a->rows[i]);
    for (size_t i = 0; a->total.meters && a->rest_meters && i < METER_COUNT; i++)
        ledger_meter_add(&a->total.meters[i], &a->rest_meters[i]);
    if (a->q->want & LEDGER_WANT_PERCENTILES)
        rc = a->ranks_later ? answer_later_percentiles(a, fail) : answer_percentiles(a, fail);
    if (rc == RC_OK)
        answer_put_in_order(a);
    return rc;
}

/* All comes from requests and cubes, and nothing but sums and meters is asked of the rows. */
static bool may_leave_out(const struct answer *a, const struct plan *plan)
{
    const unsigned more = LEDGER_WANT_HISTOGRAM | LEDGER_WANT_BANDS | LEDGER_WANT_PERCENTILES |
                          LEDGER_WANT_LINES;

    return plan->n == 0 && a->can_use_facts && !a->q->filter.by_start && !(a->want & more);
}

/*
 * Percentiles of what comes from requests and cubes alone are found once the sums are there, since
 * these say how many requests the rows have, and which rows nobody looks at.
 */
static void put_ranks_off(struct answer *a, const struct plan *plan)
{
    a->ranks_later = plan->n == 0 && a->can_use_facts && !a->q->filter.by_start &&
                     a->want & LEDGER_WANT_PERCENTILES && !(a->q->want & LEDGER_WANT_HISTOGRAM);
    if (a->ranks_later) /* and how many requests have a cost is looked at, whatever is spared */
        a->want &= ~(unsigned)(LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY |
                               LEDGER_WANT_HISTOGRAM | LEDGER_ALONE);
}

/* What the answer is made of. */
struct making {
    const struct ledger_question *q, *by_end; /* by_end: which stands in for it, or NULL */
    const struct plan *plan;
};

static enum rc make_answer(struct answer *a, void *arg, struct fail *fail)
{
    const struct making *m = arg;
    enum rc rc = read_plan(a, m->plan, fail);

    a->q = m->q;
    if (rc == RC_OK && m->by_end)
        rc = answer_mend_ends(a, fail);
    if (rc == RC_OK)
        rc = finish(a, !m->q->filter.by_start && a->rollup_rows == 0 && a->line_rows == 0, fail);
    return rc;
}

struct owned {
    struct arena arena;
    struct strv **group_values;
};

void *rows_memory(struct ledger_rows *rows, size_t bytes)
{
    struct owned *memory = rows->memory;

    return arena_alloc(&memory->arena, bytes);
}

static void answer_to_rows(const struct answer *a, struct owned *memory, struct ledger_rows *out)
{
    memory->arena = a->arena;
    memory->group_values = a->group_values;
    *out = (struct ledger_rows){.at = a->rows,
                                .n = a->n_rows,
                                .total = a->total,
                                .rest = a->rest,
                                .n_rest = a->n_rest,
                                .rollup_rows = a->rollup_rows,
                                .cube_rows = a->cube_rows,
                                .fact_rows = a->fact_rows,
                                .line_rows = a->line_rows + a->record_rows,
                                .memory = memory};
}

enum rc ledger_read_sums(struct ledger_reader *r, const struct ledger_question *q,
                         struct ledger_rows *out, struct fail *fail)
{
    struct ledger_question *by_end = NULL;
    struct plan plan = {0};
    struct ledger_rows own;
    struct owned *memory;
    struct answer a;
    bool known = false; /* by way of the groups that are chosen */
    enum rc rc;

    ASSERT(r->in_view && q->n_by <= LEDGER_GROUP_MAX);
    if (bands_are_rows(q))
        return bands_read(r, q, out, fail);
    *fail = (struct fail){0};
    memory = xcalloc(1, sizeof(*memory));
    answer_init(&a, r, q);
    rc = answer_make_periods(&a, fail);
    if (rc == RC_OK)
        rc = answer_can_use_facts(&a, fail);
    if (rc == RC_OK && answer_is_by_ends(&a)) {
        by_end = answer_by_end(&a);
        a.q = by_end;
    }
    if (rc == RC_OK) {
        make_plan(&a, &plan);
        put_ranks_off(&a, &plan);
        rc = answer_cube_kind(&a, &a.cube_kind, fail);
    }
    if (rc == RC_OK) {
        a.top = may_leave_out(&a, &plan) ? q->top : 0;
        if (chosen_can(&a))
            rc = chosen_read(r, q, &known, out, fail);
    }
    if (rc == RC_OK && !known) {
        struct making m = {.q = q, .by_end = by_end, .plan = &plan};

        rc = answer_and_total(&a, make_answer, &m, fail);
    }
    free(by_end);
    free(plan.spans);
    dict_release(&a.groups);
    dict_release(&a.row_of);
    free(a.combo_group);
    free(a.periods);
    free(a.near);
    answer_to_rows(&a, memory, &own);
    if (rc != RC_OK || known)
        ledger_rows_release(&own);
    if (rc != RC_OK || !known)
        *out = own;
    return rc;
}

void ledger_rows_release(struct ledger_rows *rows)
{
    struct owned *memory = rows->memory;

    if (memory) {
        arena_release(&memory->arena);
        free(memory->group_values);
        free(memory);
    }
    free(rows->at);
    free(rows->rest);
    *rows = (struct ledger_rows){0};
}
