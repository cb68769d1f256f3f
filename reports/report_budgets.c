/*
 * report_budgets.c - budgets and rate caps as they stand now.
 *
 * Each counter of a limit's current window is shown twice: as the live counters have
 * it (through report_sources.counters) and as the ledger's lines add up.  While
 * requests run, or wait in the journal, the two may differ; settled they agree.  The
 * forecast to the window's end is that of the report on forecasts, the last alert what the
 * ledger has of the thresholds that were reached.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/budget_row.h"
#include "reports/limit_denied.h"
#include "reports/outlook.h"

enum {
    BUDGET_ROWS_MAX = 100000,
    BUDGET_ARENA_BYTES = 64 << 20,
};

struct budgets {
    struct run *run;
    struct arena arena; /* scopes */
    struct budget *at;
    size_t n, cap;
    bool counters; /* could be read */
    bool *asked;   /* a limit's lines could be added up */
    enum rc rc;
};

static struct budget *add(struct budgets *b, size_t limit, struct strv scope, int64_t start_us,
                          int64_t end_us)
{
    const struct limit_def *def = limit_set_at(b->run->sources->limits, limit);
    struct strv kept = arena_strv(&b->arena, scope);

    if (!kept.p || b->n == BUDGET_ROWS_MAX) {
        b->rc = RC_LIMIT;
        return NULL;
    }
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        b->at = xrealloc(b->at, b->cap * sizeof(*b->at));
    }
    b->at[b->n] = (struct budget){.limit = limit,
                                  .def = def,
                                  .amount = limit_at(def, b->run->params->now_us),
                                  .now_us = b->run->params->now_us,
                                  .scope = kept,
                                  .start_us = start_us,
                                  .end_us = end_us};
    return &b->at[b->n++];
}

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct budgets *b = arg;
    struct budget *to;

    if (c->limit >= limit_set_count(b->run->sources->limits))
        return;
    to = add(b, c->limit, c->scope, c->start_us, c->end_us);
    if (!to)
        return;
    to->spent = c->spent;
    to->reserved = c->reserved;
}

/* A limit whose thresholds are read. */
struct crossed {
    struct budgets *budgets;
    size_t limit;
};

/* ---- the ledger's side ----------------------------------------------------------------- */

static void on_spent(const struct limit_counter *c, void *arg)
{
    struct budget *to = add(arg, c->limit, c->scope, c->start_us, c->end_us);

    if (!to)
        return;
    to->has_lines = true;
    to->ledger = c->spent;
}

static bool on_crossing(const struct ledger_crossing *c, void *arg)
{
    struct crossed *crossed = arg;
    struct budget *to =
        add(crossed->budgets, crossed->limit, c->scope, c->start_us, c->end_us);

    if (!to)
        return false;
    to->alerted_us = c->at_us;
    to->alerted_percent = c->percent;
    return true;
}

static void on_denied(size_t limit, struct strv scope, uint64_t count, void *arg)
{
    struct budgets *b = arg;
    struct budget *to;
    int64_t start, end;

    limit_window_at(limit_set_at(b->run->sources->limits, limit), b->run->sources->zone,
                    b->run->params->now_us, &start, &end);
    to = add(b, limit, scope, start, end);
    if (to)
        to->denied = count;
}

static enum rc ask_denied(struct budgets *b)
{
    const struct limit_spent_question q = {.reader = b->run->reader,
                                           .set = b->run->sources->limits,
                                           .zone = b->run->sources->zone,
                                           .now_us = b->run->params->now_us,
                                           .until_us = INT64_MAX};

    return limit_denied(&q, on_denied, b, &b->run->fail);
}

/* The thresholds that were reached in a limit's window of now. */
static enum rc ask_crossings(struct budgets *b, size_t limit)
{
    const struct report_sources *s = b->run->sources;
    const struct limit_def *def = limit_set_at(s->limits, limit);
    struct crossed crossed = {b, limit};
    int64_t start, end;
    enum rc rc;

    limit_window_at(def, s->zone, b->run->params->now_us, &start, &end);
    rc = ledger_read_crossings(b->run->reader, strv_z(def->name), start, end, on_crossing,
                               &crossed, &b->run->fail);
    return rc == RC_OK ? b->rc : rc;
}

static enum rc ask_ledger(struct budgets *b, size_t limit)
{
    const struct run *run = b->run;
    struct limit_spent_question q = {.reader = run->reader,
                                     .set = run->sources->limits,
                                     .zone = run->sources->zone,
                                     .now_us = run->params->now_us,
                                     .until_us = INT64_MAX};
    enum rc rc = limit_spent(&q, limit, on_spent, b, &b->asked[limit], &b->run->fail);

    return rc == RC_OK ? b->rc : rc;
}

/* A limit that nothing has touched yet is shown too. */
static void add_untouched(struct budgets *b, size_t limit)
{
    const struct limit_def *def = limit_set_at(b->run->sources->limits, limit);
    int64_t start, end;

    for (size_t i = 0; i < b->n; i++) {
        if (b->at[i].limit == limit)
            return;
    }
    limit_window_at(def, b->run->sources->zone, b->run->params->now_us, &start, &end);
    (void)add(b, limit, def->n_per ? STRV("*") : STRV(""), start, end);
}

static int by_limit(const void *a, const void *b)
{
    const struct budget *x = a, *y = b;

    if (x->limit != y->limit)
        return x->limit < y->limit ? -1 : 1;
    return strv_cmp(x->scope, y->scope);
}

/* The later of two; of those reached at one moment the higher. */
static void keep_last_alert(struct budget *to, const struct budget *from)
{
    if (from->alerted_us < to->alerted_us ||
        (from->alerted_us == to->alerted_us && from->alerted_percent <= to->alerted_percent))
        return;
    to->alerted_us = from->alerted_us;
    to->alerted_percent = from->alerted_percent;
}

/*
 * One row a counter: what the counters and the ledger's rows said of it comes together.
 * A counter that is not there holds nothing, where counters could be read at all.
 */
static void merge(struct budgets *b)
{
    size_t n = 0;

    if (b->n == 0)
        return;
    qsort(b->at, b->n, sizeof(*b->at), by_limit);
    for (size_t i = 0; i < b->n; i++) {
        struct budget *to = &b->at[n];
        if (n && by_limit(&b->at[n - 1], &b->at[i]) == 0) {
            to = &b->at[n - 1];
            to->spent += b->at[i].spent;
            to->reserved += b->at[i].reserved;
            to->ledger += b->at[i].ledger;
            to->has_lines |= b->at[i].has_lines;
            to->denied += b->at[i].denied;
            keep_last_alert(to, &b->at[i]);
            continue;
        }
        *to = b->at[i];
        to->has_counter = b->counters;
        to->has_ledger = b->asked[to->limit];
        to->has_denied = limit_denied_knows(to->def);
        n++;
    }
    b->n = n;
}

/* ---- forecasts --------------------------------------------------------------------------- */

/* One limit's. */
struct ahead {
    struct budget **of; /* what was asked of, in that order */
    size_t next;
};

static bool on_outlook(const struct outlook *o, void *arg)
{
    struct ahead *ahead = arg;
    struct budget *to = ahead->of[ahead->next++];

    to->has_forecast = o->has_forecast;
    to->forecast = o->forecast;
    return true;
}

/* Of counters that have lines, of the limits that have any: merged, so no counter is there twice. */
static enum rc ask_forecasts(struct budgets *b)
{
    const struct report_sources *s = b->run->sources;
    struct outlook_spent *spent = xcalloc(b->n + 1, sizeof(*spent));
    struct budget **of = xcalloc(b->n + 1, sizeof(*of));
    size_t n_limits = s->limits ? limit_set_count(s->limits) : 0;
    enum rc rc = RC_OK;

    for (size_t limit = 0; rc == RC_OK && limit < n_limits; limit++) {
        struct ahead ahead = {of, 0};
        size_t n = 0;

        for (size_t i = 0; i < b->n; i++) {
            if (b->at[i].limit != limit || !b->at[i].has_lines)
                continue;
            of[n] = &b->at[i];
            spent[n++] = (struct outlook_spent){b->at[i].scope, b->at[i].ledger};
        }
        rc = outlook_limit(b->run->reader, s->limits, s->zone, b->run->params->now_us, limit,
                           spent, n, on_outlook, &ahead, &b->run->fail);
    }
    free(spent);
    free(of);
    return rc;
}

/* ---- the report ------------------------------------------------------------------------- */

/* The head says which stretch of time the windows cover. */
static void cover(struct run *run, const struct budgets *b)
{
    bool any = false;

    for (size_t i = 0; i < b->n; i++) {
        const struct budget *at = &b->at[i];
        if (at->end_us <= 0 || at->end_us == INT64_MAX)
            continue;
        if (!any || at->start_us < run->params->from_us)
            run->params->from_us = at->start_us;
        if (!any || at->end_us > run->params->to_us)
            run->params->to_us = at->end_us;
        any = true;
    }
}

static enum rc refuse_words(struct run *run)
{
    const struct report_params *p = run->params;
    static const char now[] = "a budget is shown as it stands now";

    if (p->from.n || p->to.n || p->month.n || p->last.n)
        return run_refuses(run, "a period", now);
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", now);
    if (p->n_by)
        return run_refuses(run, "by", "a row is one counter");
    if (p->n_where)
        return run_refuses(run, "where", "all budgets are shown");
    return p->has_cohort ? run_refuses(run, "cohort", "it is a word of tasks") : RC_OK;
}

static int by_nearness(const void *a, const void *b)
{
    int c = budget_nearer(a, b);

    return c ? c : by_limit(a, b);
}

/* Those that are shown alone, in that order: no other of them is looked at further. */
static void keep_nearest(struct budgets *b)
{
    size_t top = b->run->params->top;

    if (!top || b->n == 0)
        return;
    qsort(b->at, b->n, sizeof(*b->at), by_nearness);
    if (b->n > top)
        b->n = top;
}

static enum rc ask_all(struct budgets *b, size_t n)
{
    enum rc rc = RC_OK;

    if (n)
        rc = ask_denied(b);
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        rc = ask_ledger(b, i);
        if (rc == RC_OK)
            rc = ask_crossings(b, i);
        if (rc == RC_OK)
            add_untouched(b, i);
        if (rc == RC_OK)
            rc = b->rc;
    }
    return rc == RC_OK ? b->rc : rc;
}

enum rc report_budgets(struct run *run)
{
    const struct report_sources *s = run->sources;
    struct budgets b = {.run = run};
    size_t n = s->limits ? limit_set_count(s->limits) : 0;
    enum rc rc = refuse_words(run);

    if (rc != RC_OK)
        return rc;
    arena_init(&b.arena, BUDGET_ARENA_BYTES);
    b.asked = xcalloc(n + 1, sizeof(*b.asked));
    budget_columns(run);
    if (n && s->counters)
        b.counters = s->counters(on_counter, &b, s->arg) == RC_OK;
    if (n && !b.counters)
        run->note = "The live counters could not be read: spent is what the ledger has.";
    if (n == 0)
        run->note = "There are no limits in the configuration.";
    rc = ask_all(&b, n);
    if (rc == RC_OK) {
        merge(&b);
        keep_nearest(&b);
        cover(run, &b);
        rc = ask_forecasts(&b);
    }
    for (size_t i = 0; rc == RC_OK && i < b.n; i++)
        rc = budget_put(run, &b.at[i]);
    free(b.at);
    free(b.asked);
    arena_release(&b.arena);
    return rc;
}
