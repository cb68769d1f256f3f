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
    struct oddity_sought *sought; /* of this set, the first n_sought of its anomalies */
    size_t n_sought, n_told;
    size_t left; /* anomalies whose causes may still be sought */
    bool is_seeking; /* what is found is noted, and not told */
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

/* As told: each amount is tidied by itself. */
static money_int impact_of(const struct search *s, const struct anomaly *a, size_t n)
{
    money_int impact = 0;

    for (size_t i = 0; i < n; i++)
        impact += a[i].actual - series_tidy(s->sq->def, a[i].expected);
    return impact;
}

static void tell(struct search *s, const struct series *series, const struct anomaly *a, size_t n)
{
    const struct oddity_question *q = s->q;
    struct oddity o = {.value = series->value, .def = s->sq->def, .limit = s->limit};
    size_t first = a[0].step, last = a[n - 1].step;

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
    if (s->n_told < s->n_sought)
        o.causes = strv_z(s->sought[s->n_told++].causes);
    s->stopped = !s->fn(&o, s->arg);
}

/* Notes it, while there is room. */
static void seek(struct search *s, const struct series *series, const struct anomaly *a, size_t n)
{
    if (s->n_sought == s->left)
        return;
    s->sought[s->n_sought++] = (struct oddity_sought){.series = series,
                                                      .first = a[0].step,
                                                      .last = a[n - 1].step,
                                                      .up = impact_of(s, a, n) > 0};
}

static void search_one(struct search *s, const struct series *series, size_t from, size_t to)
{
    size_t first = series->first, n = to > first ? to - first : 0, found;
    size_t after = from > first ? from - first : 0;

    if (s->sq->step == PERIOD_DAY) {
        s->waiting += !s->is_seeking && n < anomaly_days_needs(series_season(PERIOD_DAY, n));
        found = anomaly_days(series->x + first, n, series_season(PERIOD_DAY, n), after,
                             s->found, FOUND_MAX);
    } else {
        /* Hours without spend are hours: the week's pattern begins where the ledger does. */
        found = anomaly_hours(series->x + first, n, after, s->found, FOUND_MAX);
    }
    for (size_t i = 0, end; !s->stopped && i < found; i = end) {
        bool up = s->found[i].actual > s->found[i].expected;
        s->found[i].step += first;
        for (end = i + 1;
             end < found && s->found[end].step + first == s->found[end - 1].step + 1 &&
             (s->found[end].actual > s->found[end].expected) == up;
             end++)
            s->found[end].step += first;
        (s->is_seeking ? seek : tell)(s, series, &s->found[i], end - i);
    }
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

/* Of the first anomalies, all at once: what they are is found again when they are told. */
static enum rc seek_causes(struct search *s, size_t from, size_t to)
{
    s->n_sought = s->n_told = 0;
    if (s->left == 0)
        return RC_OK;
    s->is_seeking = true;
    for (size_t i = 0; from < to && s->n_sought < s->left && i < s->set.n; i++)
        search_one(s, &s->set.at[i], from, to);
    s->is_seeking = false;
    s->left -= s->n_sought;
    return oddity_causes(s->sq, &s->set, s->sought, s->n_sought, s->fail);
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
    rc = seek_causes(s, from, to);
    for (size_t i = 0; rc == RC_OK && !s->stopped && from < to && i < s->set.n; i++)
        search_one(s, &s->set.at[i], from, to);
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
    struct search s = {
        .q = q, .left = q->causes ? ODDITY_CAUSES_MAX : 0, .fn = fn, .arg = arg, .fail = fail};
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
    s.sought = xcalloc(s.left + 1, sizeof(*s.sought));
    rc = q->limits ? search_limits(&s) : search_set(&s, &sq);
    free(s.found);
    free(s.sought);
    *waiting = s.waiting;
    return rc;
}
