#include "reports/oddities.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/datetime.h"
#include "base/thread.h"
#include "base/xalloc.h"
#include "reports/anomaly.h"
#include "reports/limit_spent.h"
#include "reports/oddity_causes.h"

/* Steps of a series; those that a thread takes at once, and the least for each; threads. */
enum { FOUND_MAX = SERIES_HOURS, TAKEN_AT_ONCE = 16, SERIES_EACH_LEAST = 64, THREADS_MAX = 4 };

/* The anomalous steps of one series. */
struct odd_steps {
    struct anomaly *at;
    size_t n;
};

struct search {
    const struct oddity_question *q;
    const struct series_question *sq;
    struct series_set set;
    size_t limit;
    oddity_fn *fn;
    void *arg;
    struct odd_steps *odd; /* of each series of the set */
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

/* ---- what is odd: of all series, by several threads ---------------------------------------- */

struct finding {
    const struct search *s;
    size_t from, to; /* steps */
    atomic_size_t next, total;
};

static size_t steps_of_series(const struct series *series, size_t to)
{
    return to > series->first ? to - series->first : 0;
}

static void find_one(const struct finding *f, const struct series *series, struct anomaly *found,
                     struct odd_steps *out)
{
    size_t first = series->first, n = steps_of_series(series, f->to);
    size_t after = f->from > first ? f->from - first : 0;

    if (f->s->sq->step == PERIOD_DAY)
        out->n = anomaly_days(series->x + first, n, series_season(PERIOD_DAY, n), after, found,
                              FOUND_MAX);
    else /* Hours without spend are hours: the week's pattern begins where the ledger does. */
        out->n = anomaly_hours(series->x + first, n, after, found, FOUND_MAX);
    for (size_t i = 0; i < out->n; i++)
        found[i].step += first;
    if (out->n == 0)
        return;
    out->at = xcalloc(out->n, sizeof(*found));
    memcpy(out->at, found, out->n * sizeof(*found));
}

static void *find_some(void *arg)
{
    struct finding *f = arg;
    struct anomaly *found = xcalloc(FOUND_MAX, sizeof(*found));
    const size_t n = f->s->set.n;

    for (size_t i = 0; (i = atomic_fetch_add(&f->next, TAKEN_AT_ONCE)) < n;) {
        for (size_t k = i; k < n && k < i + TAKEN_AT_ONCE; k++) {
            if (atomic_load(&f->total) > ODDITY_STEPS_MAX)
                break;
            find_one(f, &f->s->set.at[k], found, &f->s->odd[k]);
            atomic_fetch_add(&f->total, f->s->odd[k].n);
        }
    }
    free(found);
    return NULL;
}

/* Those that begin in [from, to). */
static enum rc find_all(struct search *s, size_t from, size_t to)
{
    struct finding f = {.s = s, .from = from, .to = to};
    size_t threads = s->set.n / SERIES_EACH_LEAST, started = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t thread[THREADS_MAX];

    s->odd = xcalloc(s->set.n + 1, sizeof(*s->odd));
    if (from >= to)
        return RC_OK;
    if (threads > (size_t)cores)
        threads = (size_t)cores;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    while (started + 1 < threads && thread_start(&thread[started], "oddities", find_some, &f))
        started++;
    (void)find_some(&f);
    while (started > 0)
        pthread_join(thread[--started], NULL);
    if (atomic_load(&f.total) <= ODDITY_STEPS_MAX)
        return RC_OK;
    *s->fail = (struct fail){.rc = RC_LIMIT, .doing = "hold so many anomalies"};
    return RC_LIMIT;
}

static void forget_found(struct search *s)
{
    for (size_t i = 0; s->odd && i < s->set.n; i++)
        free(s->odd[i].at);
    free(s->odd);
    s->odd = NULL;
}

/* ---- and told ------------------------------------------------------------------------------ */

/* Steps next to each other that are off in the same direction are one. */
static void search_one(struct search *s, size_t i)
{
    const struct series *series = &s->set.at[i];
    const struct anomaly *a = s->odd[i].at;

    for (size_t from = 0, end; !s->stopped && from < s->odd[i].n; from = end) {
        bool up = a[from].actual > a[from].expected;

        for (end = from + 1; end < s->odd[i].n && a[end].step == a[end - 1].step + 1 &&
                             (a[end].actual > a[end].expected) == up;)
            end++;
        (s->is_seeking ? seek : tell)(s, series, &a[from], end - from);
    }
}

static void count_waiting(struct search *s, size_t to)
{
    for (size_t i = 0; s->sq->step == PERIOD_DAY && i < s->set.n; i++) {
        size_t n = steps_of_series(&s->set.at[i], to);

        s->waiting += n < anomaly_days_needs(series_season(PERIOD_DAY, n));
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

/* Of the first anomalies, all at once. */
static enum rc seek_causes(struct search *s)
{
    s->n_sought = s->n_told = 0;
    if (s->left == 0)
        return RC_OK;
    s->is_seeking = true;
    for (size_t i = 0; s->n_sought < s->left && i < s->set.n; i++)
        search_one(s, i);
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
    rc = find_all(s, from, to);
    if (rc == RC_OK)
        rc = seek_causes(s);
    if (rc == RC_OK && from < to)
        count_waiting(s, to);
    for (size_t i = 0; rc == RC_OK && !s->stopped && i < s->set.n; i++)
        search_one(s, i);
    forget_found(s);
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

    s.sought = xcalloc(s.left + 1, sizeof(*s.sought));
    rc = q->limits ? search_limits(&s) : search_set(&s, &sq);
    free(s.sought);
    *waiting = s.waiting;
    return rc;
}
