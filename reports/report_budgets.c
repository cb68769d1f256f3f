/*
 * report_budgets.c - budgets and rate caps as they stand now.
 *
 * Each counter of a limit's current window is shown twice: as the live counters have
 * it (through report_sources.counters) and as the ledger's lines add up.  While
 * requests run, or wait in the journal, the two may differ; settled they agree.  The
 * forecast to the window's end is that of the report on forecasts, the last alert what the
 * ledger has of the thresholds that were reached.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "metering/limits/limit.h"
#include "reports/limit_denied.h"
#include "reports/outlook.h"
#include "reports/report_int.h"

enum {
    BUDGET_ROWS_MAX = 100000,
    BUDGET_ARENA_BYTES = 64 << 20,
    SCOPE_ARENA_BYTES = 64 << 10, /* the values of one */
};

/* One counter: a limit's window for a scope. */
struct budget {
    size_t limit;
    const struct limit_def *def;
    struct strv scope;
    int64_t start_us, end_us; /* 0 and 0: rolling */
    bool has_counter, has_ledger;
    uint64_t spent, reserved, ledger;
    uint64_t amount; /* the limit now */
    int64_t now_us;
    bool has_forecast;
    money_int forecast; /* atto-USD, or the limit's unit */
    int64_t alerted_us; /* when the last of its thresholds was reached; 0: none was */
    unsigned alerted_percent;
    bool has_denied;
    uint64_t denied; /* requests that it refused in the window */
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

    if (to)
        to->ledger = c->spent;
}

/* One more of the same counter: merge brings them together. */
static bool on_outlook(const struct outlook *o, void *arg)
{
    struct budgets *b = arg;
    struct budget *to;

    if (!o->has_forecast)
        return true;
    to = add(b, o->limit, o->scope, o->from_us, o->to_us);
    if (!to)
        return false;
    to->has_forecast = true;
    to->forecast = o->forecast;
    return true;
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
            to->forecast += b->at[i].forecast;
            to->has_forecast |= b->at[i].has_forecast;
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

/* ---- rows -------------------------------------------------------------------------------- */

enum budget_column {
    BUDGET_NAME = 0,
    BUDGET_SCOPE,
    BUDGET_UNIT,
    BUDGET_WINDOW,
    BUDGET_MODE,
    BUDGET_START,
    BUDGET_END,
    /* limit, spent, reserved, remaining, ledger: each in USD and as a count, one of them null
     */
    BUDGET_AMOUNTS,
    BUDGET_USED = BUDGET_AMOUNTS + 10,
    BUDGET_FORECAST, /* in USD and as a count */
    BUDGET_FORECAST_RATIO = BUDGET_FORECAST + 2,
    BUDGET_BURN, /* an hour: in USD and as a count */
    BUDGET_RUNS_OUT = BUDGET_BURN + 2,
    BUDGET_STATUS,
    BUDGET_DENIED,
    BUDGET_ALERT, /* the last threshold that was reached */
    BUDGET_ALERT_AT,
};

static void budget_columns(struct run *run)
{
    struct sheet *t = &run->sheet;
    static const char *const names[][4] = {
        {"limit_usd", "limit USD", "limit_count", "limit"},
        {"spent_usd", "spent USD", "spent_count", "spent"},
        {"reserved_usd", "reserved USD", "reserved_count", "reserved"},
        {"remaining_usd", "remaining USD", "remaining_count", "remaining"},
        {"ledger_spent_usd", "ledger USD", "ledger_spent_count", "ledger"},
    };

    sheet_column(t, "budget", "budget", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "scope", "scope", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "unit", "unit", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "window", "window", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "mode", "mode", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "window_start", "from", COLUMN_TIME, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "window_end", "resets", COLUMN_TIME, COLUMN_KEY);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        sheet_column(t, names[i][0], names[i][1], COLUMN_MONEY, COLUMN_SPARSE);
        sheet_column(t, names[i][2], names[i][3], COLUMN_COUNT, COLUMN_SPARSE);
    }
    sheet_column(t, "used_ratio", "used", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "forecast_usd", "forecast USD", COLUMN_MONEY, COLUMN_SPARSE);
    sheet_column(t, "forecast_count", "forecast", COLUMN_COUNT, COLUMN_SPARSE);
    sheet_column(t, "forecast_ratio", "of limit", COLUMN_RATIO,
                 COLUMN_PER_CENT | COLUMN_SPARSE);
    sheet_column(t, "burn_usd_per_hour", "USD/h", COLUMN_MONEY, COLUMN_SPARSE);
    sheet_column(t, "burn_count_per_hour", "an hour", COLUMN_COUNT, COLUMN_SPARSE);
    sheet_column(t, "runs_out", "runs out", COLUMN_TIME, COLUMN_SPARSE);
    sheet_column(t, "status", "status", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "denied_requests", "refused", COLUMN_COUNT, COLUMN_SPARSE);
    sheet_column(t, "last_alert_ratio", "last alert", COLUMN_RATIO,
                 COLUMN_PER_CENT | COLUMN_SPARSE);
    sheet_column(t, "last_alert", "at", COLUMN_TIME, COLUMN_SPARSE);
    drill_column(run);
    t->has_total = false;
}

static const char *status_of(const struct budget *b, uint64_t spent)
{
    const struct limit_def *def = b->def;
    uint64_t limit = b->amount;

    if (spent > limit)
        return "over";
    if (spent == limit || b->reserved >= limit - spent)
        return "exhausted";
    for (size_t i = 0; i < def->n_alerts; i++) {
        if ((money_int)spent * 100 >= (money_int)limit * def->alerts[i])
            return "alert";
    }
    return "ok";
}

static void put_amount(const struct budget *b, unsigned which, bool known, uint64_t n,
                       struct cell *c)
{
    struct cell *to = &c[BUDGET_AMOUNTS + 2 * which];

    if (!known)
        return;
    if (b->def->unit == UNIT_USD)
        to[0] = cell_money((struct money){(money_int)n * ATTO_PER_NANO});
    else
        to[1] = cell_count(n);
}

static void put_amounts(const struct budget *b, bool known, uint64_t spent, struct cell *c)
{
    uint64_t limit = b->amount;
    uint64_t left = spent < limit ? limit - spent : 0;

    put_amount(b, 0, true, limit, c);
    put_amount(b, 1, b->has_counter, b->spent, c);
    put_amount(b, 2, b->has_counter, b->reserved, c);
    put_amount(b, 3, known, left > b->reserved ? left - b->reserved : 0, c);
    put_amount(b, 4, b->has_ledger, b->ledger, c);
    if (known)
        c[BUDGET_USED] = cell_ratio(spent, limit);
}

static void put_forecast(const struct budget *b, struct cell *c)
{
    bool usd = b->def->unit == UNIT_USD;

    if (!b->has_forecast)
        return;
    if (usd)
        c[BUDGET_FORECAST] = cell_money((struct money){b->forecast});
    else
        c[BUDGET_FORECAST + 1] = cell_count((uint64_t)b->forecast);
    c[BUDGET_FORECAST_RATIO] =
        cell_ratio(b->forecast, (money_int)b->amount * (usd ? ATTO_PER_NANO : 1));
}

/*
 * At the pace of the window so far: what goes in an hour, and when nothing is left, where that
 * is before the window's end.
 */
static void put_pace(const struct budget *b, uint64_t spent, struct cell *c)
{
    const money_int hour_us = (money_int)3600 * US_PER_SECOND;
    int64_t gone_us;
    uint64_t left = spent < b->amount ? b->amount - spent : 0;
    money_int out_us;

    if (b->end_us <= 0 || b->start_us <= 0)
        return; /* a rolling window, or one without a beginning */
    gone_us = b->now_us - b->start_us;
    if (gone_us <= 0)
        return;
    if (b->def->unit == UNIT_USD)
        c[BUDGET_BURN] = cell_money(
            (struct money){(money_int)spent * ATTO_PER_NANO / gone_us * hour_us});
    else
        c[BUDGET_BURN + 1] = cell_count((uint64_t)((money_int)spent * hour_us / gone_us));
    if (spent == 0)
        return;
    out_us = (money_int)left * gone_us / spent + b->now_us;
    if (out_us < b->end_us)
        c[BUDGET_RUNS_OUT] = cell_time((int64_t)out_us);
}

/* The window's lines: a budget holds a request by when it began. */
static void drill_window(const struct budget *b, struct drill *d)
{
    d->by_start = true;
    d->from_us = b->start_us;
    d->to_us = b->end_us;
    if (b->def->rolling)
        d->from_us = b->now_us - b->def->rolling_s * US_PER_SECOND;
    else if (b->end_us == INT64_MAX) /* of all time: no request is older than that */
        d->from_us = 0;
    if (b->def->rolling || b->end_us == INT64_MAX)
        d->to_us = b->now_us + 1;
}

/* What was counted: the limit's matches, and the scope's values. */
static enum rc put_lines(struct run *run, const struct budget *b, struct cell *out)
{
    const struct limit_def *def = b->def;
    struct strv values[DIM_COUNT + FREE_TAGS_MAX];
    struct ledger_field field;
    struct arena arena;
    struct drill d;
    enum rc rc;

    if (!b->has_ledger)
        return RC_OK;
    drill_start(&d, run);
    drill_window(b, &d);
    arena_init(&arena, SCOPE_ARENA_BYTES);
    rc = limit_scope_values(def, b->scope, &arena, values);
    for (size_t i = 0; rc == RC_OK && i < def->n_match; i++) {
        if (ledger_field_parse(def->match[i].name, &field))
            drill_add(&d, field, LEDGER_GLOB, def->match[i].value);
    }
    for (size_t i = 0; rc == RC_OK && i < def->n_per; i++) {
        if (ledger_field_parse(def->per[i], &field))
            drill_add(&d, field, LEDGER_EQ, values[i]);
    }
    if (rc == RC_OK)
        rc = drill_cell(run, &d, out);
    arena_release(&arena);
    return rc == RC_BAD ? RC_OK : rc; /* hashed, or not touched yet: no lines can be named */
}

static enum rc put_row(struct run *run, const struct budget *b)
{
    bool known = b->has_counter || b->has_ledger;
    uint64_t spent = b->has_counter ? b->spent : b->ledger;
    struct sheet *t = &run->sheet;
    char window[DATETIME_TEXT];
    struct cell *c;
    enum rc rc = sheet_row(t, &c);

    limit_window_text(b->def, window);
    if (rc == RC_OK)
        rc = sheet_text(t, strv_z(b->def->name), &c[BUDGET_NAME]);
    if (rc == RC_OK && b->scope.n)
        rc = sheet_text(t, b->scope, &c[BUDGET_SCOPE]);
    if (rc == RC_OK)
        rc = sheet_text(t, strv_z(limit_unit_name(b->def->unit)), &c[BUDGET_UNIT]);
    if (rc == RC_OK)
        rc = sheet_text(t, strv_z(window), &c[BUDGET_WINDOW]);
    if (rc == RC_OK)
        rc = sheet_text(t, b->def->mode == LIMIT_ENFORCE ? STRV("enforce") : STRV("warn"),
                        &c[BUDGET_MODE]);
    if (rc == RC_OK)
        rc = sheet_text(t, strv_z(known ? status_of(b, spent) : "unknown"), &c[BUDGET_STATUS]);
    if (rc != RC_OK)
        return rc;
    /* Rolling windows have no ends, and that of all time has none that can be written. */
    if (b->end_us > 0 && b->end_us < INT64_MAX) {
        c[BUDGET_START] = cell_time(b->start_us);
        c[BUDGET_END] = cell_time(b->end_us);
    }
    put_amounts(b, known, spent, c);
    put_forecast(b, c);
    if (b->has_denied)
        c[BUDGET_DENIED] = cell_count(b->denied);
    if (b->alerted_us > 0) {
        c[BUDGET_ALERT] = cell_ratio(b->alerted_percent, 100);
        c[BUDGET_ALERT_AT] = cell_time(b->alerted_us);
    }
    if (known)
        put_pace(b, spent, c);
    return put_lines(run, b, &c[run->lines]);
}

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
    if (p->top)
        return run_refuses(run, "top", "budgets do not add up");
    return p->has_cohort ? run_refuses(run, "cohort", "it is a word of tasks") : RC_OK;
}

static enum rc ask_all(struct budgets *b, size_t n)
{
    struct run *run = b->run;
    const struct report_sources *s = run->sources;
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
    if (rc == RC_OK && n)
        rc = outlook_budgets(run->reader, s->limits, s->zone, run->params->now_us,
                             OUTLOOK_FORECASTS | OUTLOOK_QUICK, on_outlook, b, &run->fail);
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
        cover(run, &b);
    }
    for (size_t i = 0; rc == RC_OK && i < b.n; i++)
        rc = put_row(run, &b.at[i]);
    free(b.at);
    free(b.asked);
    arena_release(&b.arena);
    return rc;
}
