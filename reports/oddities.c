#include "reports/oddities.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "reports/anomaly.h"
#include "reports/limit_spent.h"
#include "reports/oddity_causes.h"

enum { FOUND_MAX = SERIES_HOURS };

struct search {
    const struct oddity_question *q;
    const struct series_question *sq;
    struct series_set set;
    size_t limit;
    oddity_fn *fn;
    void *arg;
    struct anomaly *found;
    size_t sought; /* causes */
    size_t waiting;
    bool stopped;
    struct fail *fail;
};

static bool is_notable(const struct oddity_floor *floor, const struct oddity *o)
{
    money_int impact = o->actual - o->expected, size = impact < 0 ? -impact : impact;

    if ((!o->def || o->def->unit == UNIT_USD) && size < floor->least)
        return false;
    /* Amounts are below 10^36: a hundred times fits. */
    return size * 100 >= o->expected * (money_int)floor->per_cent;
}

static enum rc tell(struct search *s, const struct series *series, const struct anomaly *a,
                    size_t n)
{
    const struct oddity_question *q = s->q;
    struct oddity o = {.value = series->value, .def = s->sq->def, .limit = s->limit};
    size_t first = a[0].step, last = a[n - 1].step;
    char causes[ODDITY_CAUSES_TEXT];
    enum rc rc = RC_OK;

    if (o.def)
        o.scope = series->key;
    o.from_us = s->set.start_us[first];
    o.to_us = s->set.start_us[last + 1];
    o.open = last + 1 == s->set.n_steps;
    for (size_t i = 0; i < n; i++) {
        o.expected += series_tidy(o.def, a[i].expected);
        o.actual += a[i].actual;
        o.confirmed = o.confirmed || a[i].confirmed;
        if (a[i].has_z && (!o.has_z || fabs(a[i].z) > fabs(o.z))) {
            o.has_z = true;
            o.z = a[i].z;
        }
    }
    o.notable = is_notable(&q->floor, &o);
    if (q->causes && s->sought < ODDITY_CAUSES_MAX) {
        s->sought++;
        rc = oddity_causes(s->sq, &s->set, series, first, last, o.actual > o.expected, causes,
                           s->fail);
        o.causes = rc == RC_OK ? strv_z(causes) : STRV_NONE;
    }
    if (rc == RC_OK)
        s->stopped = !s->fn(&o, s->arg);
    return rc;
}

static enum rc search_one(struct search *s, const struct series *series, size_t from, size_t to)
{
    size_t first = series->first, n = to > first ? to - first : 0, found;
    size_t after = from > first ? from - first : 0;
    enum rc rc = RC_OK;

    if (s->sq->step == PERIOD_DAY) {
        s->waiting += n < anomaly_days_needs(series_season(PERIOD_DAY, n));
        found = anomaly_days(series->x + first, n, series_season(PERIOD_DAY, n), after,
                             s->found, FOUND_MAX);
    } else {
        /* Hours without spend are hours: the week's pattern begins where the ledger does. */
        found = anomaly_hours(series->x + first, n, after, s->found, FOUND_MAX);
    }
    for (size_t i = 0, end; rc == RC_OK && !s->stopped && i < found; i = end) {
        bool up = s->found[i].actual > s->found[i].expected;
        s->found[i].step += first;
        for (end = i + 1;
             end < found && s->found[end].step + first == s->found[end - 1].step + 1 &&
             (s->found[end].actual > s->found[end].expected) == up;
             end++)
            s->found[end].step += first;
        rc = tell(s, series, &s->found[i], end - i);
    }
    return rc;
}

/* The complete steps that begin in the period asked about. */
static void bounds(const struct search *s, size_t *from, size_t *to)
{
    *from = 0;
    *to = s->set.n_steps;
    while (*from < s->set.n_steps && s->set.start_us[*from] < s->q->filter->from_us)
        ++*from;
    while (*to > *from && s->set.start_us[*to - 1] >= s->q->filter->to_us)
        --*to;
}

static enum rc search_set(struct search *s, const struct series_question *sq)
{
    size_t from, to;
    enum rc rc = series_read(sq, &s->set, s->fail);

    if (rc == RC_STATE)
        return RC_OK; /* a limit that the ledger cannot be asked for */
    if (rc != RC_OK)
        return rc;
    s->sq = sq;
    bounds(s, &from, &to);
    for (size_t i = 0; rc == RC_OK && !s->stopped && from < to && i < s->set.n; i++)
        rc = search_one(s, &s->set.at[i], from, to);
    series_release(&s->set);
    return rc;
}

/* All that is kept of history: the period asked about lies somewhere in it. */
static size_t steps_of(enum period step)
{
    return step == PERIOD_DAY ? SERIES_DAYS : SERIES_HOURS;
}

static enum rc search_limits(struct search *s)
{
    const struct oddity_question *q = s->q;
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && !s->stopped && i < limit_set_count(q->limits); i++) {
        const struct limit_def *def = limit_set_at(q->limits, i);
        bool hours = def->rolling || def->period == PERIOD_HOUR || def->period == PERIOD_DAY;
        struct series_question sq = {.reader = q->reader,
                                     .def = def,
                                     .step = hours ? PERIOD_HOUR : PERIOD_DAY,
                                     .zone = q->zone,
                                     .now_us = q->now_us};
        /* Of a cap by the minute the hours say nothing. */
        if (def->rolling || def->unit == UNIT_CONCURRENT)
            continue;
        sq.steps = steps_of(sq.step);
        s->limit = i;
        rc = search_set(s, &sq);
    }
    return rc;
}

enum rc oddities_find(const struct oddity_question *q, oddity_fn *fn, void *arg,
                      size_t *waiting, struct fail *fail)
{
    struct search s = {.q = q, .fn = fn, .arg = arg, .fail = fail};
    struct series_question sq = {.reader = q->reader,
                                 .filter = q->filter,
                                 .by = q->by,
                                 .n_by = q->n_by,
                                 .step = q->step,
                                 .zone = q->zone,
                                 .now_us = q->now_us,
                                 .steps = steps_of(q->step)};
    enum rc rc;

    s.found = xcalloc(FOUND_MAX, sizeof(*s.found));
    rc = q->limits ? search_limits(&s) : search_set(&s, &sq);
    free(s.found);
    *waiting = s.waiting;
    return rc;
}
