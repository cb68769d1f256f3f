#include "reports/outlook.h"

#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "reports/limit_spent.h"
#include "reports/sheet.h"

enum {
    PACE_LEAST_PARTS = 10, /* of an hour's window must be over before its pace says anything */
    TEXT_BYTES = 16 << 20,
};

static enum period step_of(int64_t from_us, int64_t to_us)
{
    /* All time has ends that no difference holds. */
    return to_us < INT64_MAX && to_us - from_us <= 2 * US_PER_DAY ? PERIOD_HOUR : PERIOD_DAY;
}

/* Steps from the running one to the end of the period; false where it ends within a step. */
static bool horizon_of(const struct zone *zone, enum period step, int64_t now_us, int64_t to_us,
                       size_t *out)
{
    int64_t start, end;
    size_t n = 0;

    for (int64_t at = now_us; at < to_us; at = end) {
        zone_period(zone, step, at, &start, &end);
        if (end > to_us || n == FORECAST_HORIZON_MAX)
            return false;
        n++;
    }
    *out = n;
    return n > 0;
}

/* ---- one counter ------------------------------------------------------------------------ */

static money_int more_of(money_int a, money_int b)
{
    return a > b ? a : b;
}

/* When the steps ahead, from what is spent on, reach the limit. */
static void find_end(struct outlook *o, const struct series_set *set, const struct zone *zone,
                     const money_int *ahead, size_t h, money_int running)
{
    money_int sum = o->spent;
    int64_t start = set->start_us[set->n_steps], end;

    for (size_t j = 0; j < h; j++) {
        sum += j == 0 ? more_of(0, ahead[0] - running) : ahead[j];
        if (sum >= o->amount) {
            o->runs_out = true;
            o->runs_out_us = start;
            return;
        }
        zone_period(zone, o->step, start, &start, &end);
        start = end;
    }
}

/* Forecast of the period from a history; s may be NULL: none. */
static void look(struct outlook *o, const struct series_set *set, const struct series *s,
                 const struct zone *zone, size_t h)
{
    money_int *ahead = xcalloc(h + 1, sizeof(*ahead)), rest = 0, running = s ? s->running : 0;
    size_t first = s ? s->first : set->n_steps;

    o->history = set->n_steps - first;
    forecast_make(s ? s->x + first : NULL, o->history, series_season(o->step, o->history), h,
                  &o->how, ahead);
    if (o->how.method == FORECAST_NONE)
        goto out;
    rest = more_of(0, ahead[0] - running);
    for (size_t j = 1; j < h; j++)
        rest += ahead[j];
    o->has_forecast = true;
    if (o->how.method == FORECAST_SMOOTH)
        rest = series_tidy(o->def, rest);
    o->forecast = o->spent + rest;
    o->low = o->high = o->forecast;
    if (o->how.has_interval) {
        o->low = more_of(o->spent, o->forecast - series_tidy(o->def, o->how.sum - o->how.low));
        o->high = o->forecast + series_tidy(o->def, o->how.high - o->how.sum);
    }
    if (o->def)
        find_end(o, set, zone, ahead, h, running);
out:
    free(ahead);
}

static size_t history_of(enum period step)
{
    return step == PERIOD_DAY ? SERIES_DAYS : SERIES_HOURS;
}

/* ---- tags ------------------------------------------------------------------------------- */

struct tags {
    const struct zone *zone;
    struct series_set set;
    struct ledger_rows rows;
    struct arena arena;
    size_t n_by, horizon;
    const struct ledger_filter *filter;
    enum period step;
    outlook_fn *fn;
    void *arg;
};

struct spent_row {
    struct strv key;
    const struct ledger_row *row;
};

static int by_key(const void *a, const void *b)
{
    return strv_cmp(((const struct spent_row *)a)->key, ((const struct spent_row *)b)->key);
}

static bool tell_tags(const struct tags *t, const struct spent_row *spent,
                      const struct series *s)
{
    struct outlook o = {.from_us = t->filter->from_us,
                        .to_us = t->filter->to_us,
                        .step = t->step,
                        .value = spent ? spent->row->value : s->value};

    if (spent) {
        o.spent = spent->row->sums.cost.atto;
        o.unpriced = spent->row->sums.unpriced;
    }
    look(&o, &t->set, s, t->zone, t->horizon);
    /* Who stopped long ago has neither. */
    if (!spent && o.forecast == 0)
        return true;
    return t->fn(&o, t->arg);
}

/* Those with spend and those with history, merged in order of key. */
static enum rc tell_all_tags(struct tags *t)
{
    struct spent_row *spent = xcalloc(t->rows.n + 1, sizeof(*spent));
    size_t i = 0, k = 0;
    bool on = true;
    enum rc rc = RC_OK;

    for (size_t n = 0; rc == RC_OK && n < t->rows.n; n++) {
        spent[n].row = &t->rows.at[n];
        spent[n].key = series_key(&t->arena, t->rows.at[n].value, t->n_by);
        rc = spent[n].key.p ? RC_OK : RC_LIMIT;
    }
    if (rc == RC_OK)
        qsort(spent, t->rows.n, sizeof(*spent), by_key);
    while (rc == RC_OK && on && (i < t->rows.n || k < t->set.n)) {
        int c = i == t->rows.n  ? 1
                : k == t->set.n ? -1
                                : strv_cmp(spent[i].key, t->set.at[k].key);
        on = tell_tags(t, c <= 0 ? &spent[i] : NULL, c >= 0 ? &t->set.at[k] : NULL);
        i += c <= 0;
        k += c >= 0;
    }
    free(spent);
    return rc;
}

enum rc outlook_tags(struct ledger_reader *reader, const struct ledger_filter *filter,
                     const struct ledger_field *by, size_t n_by, const struct zone *zone,
                     int64_t now_us, outlook_fn *fn, void *arg, struct fail *fail)
{
    struct tags t = {.zone = zone, .n_by = n_by, .filter = filter, .fn = fn, .arg = arg};
    struct ledger_question *q = xmalloc(sizeof(*q));
    enum period step = step_of(filter->from_us, filter->to_us);
    struct series_question sq = {.reader = reader,
                                 .filter = filter,
                                 .by = by,
                                 .n_by = n_by,
                                 .step = step,
                                 .zone = zone,
                                 .now_us = now_us,
                                 .steps = history_of(step)};
    enum rc rc = RC_BAD;

    t.step = step;
    arena_init(&t.arena, TEXT_BYTES);
    *q = (struct ledger_question){
        .filter = *filter, .n_by = n_by, .grain = PERIOD_TOTAL, .zone = zone,
        .want = LEDGER_COST_ALONE};
    memcpy(q->by, by, n_by * sizeof(q->by[0]));
    if (now_us < filter->from_us || now_us >= filter->to_us ||
        !horizon_of(zone, step, now_us, filter->to_us, &t.horizon))
        goto out;
    rc = ledger_read_sums(reader, q, &t.rows, fail);
    if (rc != RC_OK)
        goto out;
    rc = series_read(&sq, &t.set, fail);
    if (rc == RC_OK) {
        rc = tell_all_tags(&t);
        series_release(&t.set);
    }
    ledger_rows_release(&t.rows);
out:
    arena_release(&t.arena);
    free(q);
    return rc;
}

/* ---- budgets ---------------------------------------------------------------------------- */

struct counters {
    struct arena arena;
    struct outlook_spent *at;
    size_t n, cap;
    bool full;
};

static void on_spent(const struct limit_counter *c, void *arg)
{
    struct counters *list = arg;
    struct strv kept = arena_strv(&list->arena, c->scope);

    if (c->scope.n && !kept.p) {
        list->full = true;
        return;
    }
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->at = xrealloc(list->at, list->cap * sizeof(*list->at));
    }
    list->at[list->n++] = (struct outlook_spent){kept, c->spent};
}

/* An hour is too short for a history of steps: it goes on as it went. */
static void pace(struct outlook *o, int64_t now_us)
{
    int64_t length = o->to_us - o->from_us, gone = now_us - o->from_us;

    if (gone * PACE_LEAST_PARTS < length)
        return;
    o->how.method = FORECAST_RATE;
    o->has_forecast = true;
    o->forecast = o->low = o->high = divide_even(o->spent * length, gone);
    if (o->forecast >= o->amount && o->amount > 0) {
        o->runs_out = true;
        o->runs_out_us =
            o->spent >= o->amount ? now_us : o->from_us + (int64_t)(o->amount * gone / o->spent);
    }
}

struct budget_look {
    struct ledger_reader *reader;
    const struct limit_set *limits;
    const struct zone *zone;
    int64_t now_us;
    unsigned want; /* of enum outlook_want */
    bool is_quick; /* no history of single requests */
    outlook_fn *fn;
    void *arg;
    bool stopped;
};

static void tell_limit(struct budget_look *b, size_t limit, const struct outlook_spent *at,
                       size_t n, const struct series_set *set, size_t horizon)
{
    const struct limit_def *def = limit_set_at(b->limits, limit);
    money_int scale = def->unit == UNIT_USD ? ATTO_PER_NANO : 1;

    for (size_t i = 0; i < n && !b->stopped; i++) {
        struct outlook o = {.def = def, .limit = limit, .scope = at[i].scope};

        limit_window_at(def, b->zone, b->now_us, &o.from_us, &o.to_us);
        o.step = step_of(o.from_us, o.to_us);
        o.spent = (money_int)at[i].spent * scale;
        o.amount = (money_int)limit_at(def, b->now_us) * scale;
        if (set)
            look(&o, set, series_find(set, o.scope), b->zone, horizon);
        else if (def->period == PERIOD_HOUR && (b->want & OUTLOOK_FORECASTS))
            pace(&o, b->now_us);
        b->stopped = !b->fn(&o, b->arg);
    }
}

static bool wants_history(const struct budget_look *b, const struct limit_def *def)
{
    struct ledger_question q;

    if (!(b->want & OUTLOOK_FORECASTS) || def->period == PERIOD_HOUR ||
        def->period == PERIOD_TOTAL)
        return false;
    if (!b->is_quick || !limit_question(def, 0, 0, &q))
        return true;
    for (size_t i = 0; i < q.n_by; i++) {
        if (!ledger_field_outlives_lines(&q.by[i]))
            return false;
    }
    return true;
}

static bool has_outlook(const struct budget_look *b, const struct limit_def *def)
{
    return !def->rolling && def->unit != UNIT_CONCURRENT &&
           (def->n_alerts > 0 || !(b->want & OUTLOOK_WITH_ALERTS));
}

/* Counters of which is known what they spent. */
static enum rc look_ahead(struct budget_look *b, size_t limit, const struct outlook_spent *at,
                          size_t n, struct fail *fail)
{
    const struct limit_def *def = limit_set_at(b->limits, limit);
    struct series_question sq = {
        .reader = b->reader, .def = def, .zone = b->zone, .now_us = b->now_us};
    struct series_set set;
    int64_t start, end;
    size_t horizon = 0;
    enum rc rc;

    if (!wants_history(b, def)) {
        tell_limit(b, limit, at, n, NULL, 0);
        return RC_OK;
    }
    limit_window_at(def, b->zone, b->now_us, &start, &end);
    sq.step = step_of(start, end);
    sq.steps = history_of(sq.step);
    if (!horizon_of(b->zone, sq.step, b->now_us, end, &horizon))
        return RC_LIMIT;
    rc = series_read(&sq, &set, fail);
    if (rc != RC_OK)
        return rc;
    tell_limit(b, limit, at, n, &set, horizon);
    series_release(&set);
    return RC_OK;
}

static enum rc look_at_limit(struct budget_look *b, size_t limit, struct fail *fail)
{
    struct limit_spent_question q = {.reader = b->reader,
                                     .set = b->limits,
                                     .zone = b->zone,
                                     .now_us = b->now_us,
                                     .until_us = INT64_MAX};
    struct counters list = {.n = 0};
    bool known = false;
    enum rc rc;

    if (!has_outlook(b, limit_set_at(b->limits, limit)))
        return RC_OK;
    arena_init(&list.arena, TEXT_BYTES);
    rc = limit_spent(&q, limit, on_spent, &list, &known, fail);
    if (rc == RC_OK && list.full)
        rc = RC_LIMIT;
    if (rc == RC_OK && known && list.n > 0)
        rc = look_ahead(b, limit, list.at, list.n, fail);
    free(list.at);
    arena_release(&list.arena);
    return rc;
}

enum rc outlook_budgets(struct ledger_reader *reader, const struct limit_set *limits,
                        const struct zone *zone, int64_t now_us, unsigned want, outlook_fn *fn,
                        void *arg, struct fail *fail)
{
    struct budget_look b = {reader, limits, zone, now_us, want, false, fn, arg, false};
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && !b.stopped && i < limit_set_count(limits); i++)
        rc = look_at_limit(&b, i, fail);
    return rc;
}

enum rc outlook_limit(struct ledger_reader *reader, const struct limit_set *limits,
                      const struct zone *zone, int64_t now_us, size_t limit,
                      const struct outlook_spent *at, size_t n, outlook_fn *fn, void *arg,
                      struct fail *fail)
{
    struct budget_look b = {
        reader, limits, zone, now_us, OUTLOOK_FORECASTS, true, fn, arg, false};

    if (n == 0 || !has_outlook(&b, limit_set_at(limits, limit)))
        return RC_OK;
    return look_ahead(&b, limit, at, n, fail);
}
