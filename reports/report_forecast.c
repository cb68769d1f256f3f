/*
 * report_forecast.c - where the period will end, by tags or by budgets.
 *
 * A row's forecast is its own, and the total is theirs added up, so that the teams'
 * forecasts are the company's.  What history cannot know (a launch, a change of price) is
 * imported and stands in rows of its own: the others are the forecast without it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/books.h"
#include "reports/limit_spent.h"
#include "reports/outlook.h"
#include "reports/report_int.h"

enum forecast_column {
    FORECAST_ADJUSTMENT = 0,
    FORECAST_SPENT,
    FORECAST_END,
    FORECAST_LOW,
    FORECAST_HIGH,
    FORECAST_PLAN,
    FORECAST_GAP,
    FORECAST_METHOD,
    FORECAST_ERROR,
    FORECAST_HISTORY,
    FORECAST_UNPRICED,
};

static void forecast_columns(struct sheet *t)
{
    sheet_column(t, "adjustment", "adjustment", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "spent_usd", "spent USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "forecast_usd", "forecast USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "low_usd", "low USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "high_usd", "high USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "plan_usd", "plan USD", COLUMN_MONEY, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "gap_usd", "over plan USD", COLUMN_MONEY, COLUMN_ADDS | COLUMN_SPARSE);
    sheet_column(t, "method", "method", COLUMN_TEXT, 0);
    sheet_column(t, "backtest_error_ratio", "back-test error", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "history_steps", "history", COLUMN_COUNT, 0);
    sheet_column(t, "unpriced_requests", "unpriced", COLUMN_COUNT, COLUMN_ADDS | COLUMN_SPARSE);
}

/* What a team means to spend in the period. */
struct planned {
    struct strv team;
    struct money amount;
    bool is_told; /* its row is there */
};

struct rows {
    struct run *run;
    size_t keys;
    struct money spent, end, low, high;
    uint64_t unpriced;
    size_t silent; /* rows without a forecast */
    size_t told;   /* with one */
    struct planned *plans; /* of teams, where rows are teams */
    size_t n_plans;
    struct money plan, gap;
    enum rc rc;
};

static struct money usd(money_int atto)
{
    return (struct money){atto};
}

static void put_forecast(struct rows *r, const struct outlook *o, struct cell *c)
{
    c[FORECAST_SPENT] = cell_money(usd(o->spent));
    c[FORECAST_HISTORY] = cell_count(o->history);
    c[FORECAST_UNPRICED] = cell_count(o->unpriced);
    r->spent = money_add(r->spent, usd(o->spent));
    r->unpriced += o->unpriced;
    if (!o->has_forecast) {
        r->silent++;
        return;
    }
    r->told++;
    c[FORECAST_END] = cell_money(usd(o->forecast));
    c[FORECAST_LOW] = cell_money(usd(o->low));
    c[FORECAST_HIGH] = cell_money(usd(o->high));
    r->end = money_add(r->end, usd(o->forecast));
    r->low = money_add(r->low, usd(o->low));
    r->high = money_add(r->high, usd(o->high));
    if (o->how.has_error)
        c[FORECAST_ERROR] = cell_ratio((money_int)o->how.error_ppm, 1000000);
}

/* ---- plans ------------------------------------------------------------------------------ */

static void put_plan(struct rows *r, struct planned *plan, struct cell *c)
{
    plan->is_told = true;
    c[FORECAST_PLAN] = cell_money(plan->amount);
    r->plan = money_add(r->plan, plan->amount);
    if (!c[FORECAST_END].known)
        return;
    c[FORECAST_GAP] = cell_money(money_sub(c[FORECAST_END].money, plan->amount));
    r->gap = money_add(r->gap, c[FORECAST_GAP].money);
}

/* Of the row's team, where rows are teams and a plan is known. */
static void plan_of(struct rows *r, struct strv team, struct cell *c)
{
    for (size_t i = 0; i < r->n_plans; i++) {
        if (strv_eq(r->plans[i].team, team)) {
            put_plan(r, &r->plans[i], c);
            return;
        }
    }
}

/* Whether every condition is on the team: plans and adjustments know of nothing else. */
static bool is_of_teams(const struct report_params *p)
{
    for (size_t i = 0; i < p->n_where; i++) {
        if (p->where[i].field.id != FIELD_TEAM)
            return false;
    }
    return true;
}

/* Plans of the months that lie wholly in the period. */
static void read_plans(struct rows *r, const struct books_table *t)
{
    const struct report_params *p = r->run->params;

    if (p->n_by != 1 || p->by[0].id != FIELD_TEAM || !is_of_teams(p))
        return;
    r->plans = xcalloc(t->csv.n_rows + 1, sizeof(*r->plans));
    for (size_t i = 0; i < t->csv.n_rows; i++) {
        struct planned plan = {.team = books_field(t, BOOKS_PLAN, i, "team")};
        int64_t from_us, to_us;
        size_t at = 0;

        if (!books_when(p->zone, books_field(t, BOOKS_PLAN, i, "month"), &from_us, &to_us) ||
            from_us < p->from_us || to_us > p->to_us ||
            !run_wants(r->run, FIELD_TEAM, plan.team) ||
            money_parse(books_field(t, BOOKS_PLAN, i, "amount_usd"), &plan.amount) != RC_OK)
            continue;
        while (at < r->n_plans && !strv_eq(r->plans[at].team, plan.team))
            at++;
        if (at == r->n_plans)
            r->plans[r->n_plans++] = plan;
        else
            r->plans[at].amount = money_add(r->plans[at].amount, plan.amount);
    }
}

/* Teams that have a plan, and neither spend nor history. */
static enum rc put_silent_plans(struct rows *r)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && i < r->n_plans; i++) {
        struct cell *c;

        if (r->plans[i].is_told)
            continue;
        rc = sheet_row(&r->run->sheet, &c);
        if (rc == RC_OK)
            rc = run_value(r->run, r->plans[i].team, &c[0]);
        if (rc != RC_OK)
            break;
        r->told++;
        c[r->keys + FORECAST_SPENT] = c[r->keys + FORECAST_END] = cell_money(MONEY_ZERO);
        c[r->keys + FORECAST_LOW] = c[r->keys + FORECAST_HIGH] = cell_money(MONEY_ZERO);
        put_plan(r, &r->plans[i], c + r->keys);
    }
    return rc;
}

/* ---- adjustments ------------------------------------------------------------------------ */

static int64_t days_of(int64_t us)
{
    return (us + US_PER_DAY / 2) / US_PER_DAY; /* days of 23 and 25 hours are days */
}

/* The part of an adjustment in the days of the period that have not begun. */
static bool part_of(const struct report_params *p, const struct books_table *t, size_t i,
                    struct money *out)
{
    struct strv until = books_field(t, BOOKS_ADJUSTMENTS, i, "to");
    int64_t from_us, to_us, day, ignored, start, end;

    if (!books_when(p->zone, books_field(t, BOOKS_ADJUSTMENTS, i, "from"), &from_us, &to_us) ||
        (until.n && !books_when(p->zone, until, &to_us, &ignored)) ||
        money_parse(books_field(t, BOOKS_ADJUSTMENTS, i, "amount_usd"), out) != RC_OK)
        return false;
    zone_period(p->zone, PERIOD_DAY, p->now_us, &day, &start); /* tomorrow on */
    start = from_us > start ? from_us : start;
    end = to_us < p->to_us ? to_us : p->to_us;
    if (start >= end || days_of(to_us - from_us) == 0)
        return false;
    out->atto = scale_even(out->atto, (uint64_t)days_of(end - start),
                           (uint64_t)days_of(to_us - from_us));
    return true;
}

static enum rc put_adjustment(struct rows *r, const struct books_table *t, size_t i,
                              struct money part)
{
    struct run *run = r->run;
    struct strv team = books_field(t, BOOKS_ADJUSTMENTS, i, "team");
    struct cell *row, *c;
    enum rc rc = sheet_row(&run->sheet, &row);

    for (size_t k = 0; rc == RC_OK && k < run->params->n_by; k++) {
        if (run->params->by[k].id == FIELD_TEAM)
            rc = run_value(run, team, &row[k]);
    }
    if (rc != RC_OK)
        return rc;
    c = row + r->keys;
    rc = sheet_text(&run->sheet, books_field(t, BOOKS_ADJUSTMENTS, i, "name"),
                    &c[FORECAST_ADJUSTMENT]);
    r->told++;
    c[FORECAST_SPENT] = cell_money(MONEY_ZERO);
    c[FORECAST_END] = c[FORECAST_LOW] = c[FORECAST_HIGH] = cell_money(part);
    r->end = money_add(r->end, part);
    r->low = money_add(r->low, part);
    r->high = money_add(r->high, part);
    if (r->n_plans) {
        c[FORECAST_GAP] = cell_money(part);
        r->gap = money_add(r->gap, part);
    }
    return rc;
}

static enum rc put_adjustments(struct rows *r)
{
    struct run *run = r->run;
    struct books_table table;
    enum rc rc = books_read(run->sources->state_dir, BOOKS_ADJUSTMENTS, &table, &run->fail);

    for (size_t i = 0; rc == RC_OK && is_of_teams(run->params) && i < table.csv.n_rows; i++) {
        struct money part;

        if (run_wants(run, FIELD_TEAM, books_field(&table, BOOKS_ADJUSTMENTS, i, "team")) &&
            part_of(run->params, &table, i, &part))
            rc = put_adjustment(r, &table, i, part);
    }
    books_release(&table);
    return rc;
}

/* ---- tags ------------------------------------------------------------------------------- */

static bool on_tags(const struct outlook *o, void *arg)
{
    struct rows *r = arg;
    struct run *run = r->run;
    struct drill d;
    struct cell *c;

    r->rc = sheet_row(&run->sheet, &c);
    for (size_t i = 0; r->rc == RC_OK && i < run->params->n_by; i++)
        r->rc = run_value(run, o->value[i], &c[i]);
    if (r->rc == RC_OK)
        r->rc = sheet_text(&run->sheet, strv_z(forecast_method_name(o->how.method)),
                           &c[r->keys + FORECAST_METHOD]);
    if (r->rc == RC_OK) {
        put_forecast(r, o, c + r->keys);
        plan_of(r, o->value[0], c + r->keys);
        drill_start(&d, run);
        for (size_t i = 0; i < run->params->n_by; i++)
            drill_add(&d, run->params->by[i], LEDGER_EQ, o->value[i]);
        r->rc = drill_cell(run, &d, &c[run->lines]);
    }
    return r->rc == RC_OK;
}

static void put_total(const struct rows *r)
{
    struct cell *total = r->run->sheet.total + r->keys;

    total[FORECAST_SPENT] = cell_money(r->spent);
    if (r->told) { /* else it is unknown, which is not nothing */
        total[FORECAST_END] = cell_money(r->end);
        total[FORECAST_LOW] = cell_money(r->low);
        total[FORECAST_HIGH] = cell_money(r->high);
    }
    if (r->n_plans) {
        total[FORECAST_PLAN] = cell_money(r->plan);
        total[FORECAST_GAP] = cell_money(r->gap);
    }
    total[FORECAST_UNPRICED] = cell_count(r->unpriced);
}

static enum rc tell_tags(struct rows *r)
{
    struct run *run = r->run;
    struct report_params *p = run->params;
    struct ledger_filter filter;
    enum rc rc;

    params_filter(p, &filter);
    rc = outlook_tags(run->reader, &filter, p->by, p->n_by, p->zone, p->now_us, on_tags, r,
                      &run->fail);
    if (rc == RC_BAD && run->fail.rc == RC_OK)
        return run_refuses(run, "the end of this period",
                           "it must be that of a day, or of an hour within two days");
    if (rc == RC_OK)
        rc = r->rc;
    if (rc == RC_OK)
        rc = put_silent_plans(r);
    return rc == RC_OK ? put_adjustments(r) : rc;
}

static enum rc by_tags(struct run *run)
{
    struct report_params *p = run->params;
    struct rows r = {.run = run};
    struct books_table plans;
    enum rc rc;

    if (p->to_us <= p->now_us)
        return run_refuses(run, "a period that is over", "nothing of it is left to forecast");
    if (p->from_us > p->now_us)
        return run_refuses(run, "a period that has not begun", "it is forecast once it has");
    /* Bottom up: a company is the sum of its teams. */
    if (p->n_by == 0)
        p->by[p->n_by++] = (struct ledger_field){.id = FIELD_TEAM};
    r.keys = run_key_columns(run);
    forecast_columns(&run->sheet);
    drill_column(run);
    rc = books_read(run->sources->state_dir, BOOKS_PLAN, &plans, &run->fail);
    if (rc == RC_OK) {
        read_plans(&r, &plans);
        rc = tell_tags(&r);
    }
    put_total(&r);
    run->note = r.silent ? "Rows without a forecast have no complete day yet; the total's "
                           "forecast is that of the others."
                         : "Low and high hold four of five times for a row; their sums are "
                           "wider than the total's own.";
    free(r.plans);
    books_release(&plans);
    return rc == RC_OK ? drill_total(run) : rc;
}

/* ---- budgets ---------------------------------------------------------------------------- */

enum budget_column {
    BUDGET_NAME = 0,
    BUDGET_SCOPE,
    BUDGET_UNIT,
    BUDGET_WINDOW,
    BUDGET_END,
    /* limit, spent, forecast, low, high, gap: each in USD and as a count, one of them null */
    BUDGET_AMOUNTS,
    BUDGET_USED = BUDGET_AMOUNTS + 12,
    BUDGET_RUNS_OUT,
    BUDGET_METHOD,
    BUDGET_ERROR,
    BUDGET_HISTORY,
};

static void budget_columns(struct sheet *t)
{
    static const char *const names[][4] = {
        {"limit_usd", "limit USD", "limit_count", "limit"},
        {"spent_usd", "spent USD", "spent_count", "spent"},
        {"forecast_usd", "forecast USD", "forecast_count", "forecast"},
        {"low_usd", "low USD", "low_count", "low"},
        {"high_usd", "high USD", "high_count", "high"},
        {"gap_usd", "over by USD", "gap_count", "over by"},
    };

    sheet_column(t, "budget", "budget", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "scope", "scope", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "unit", "unit", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "window", "window", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "window_end", "resets", COLUMN_TIME, COLUMN_KEY);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        sheet_column(t, names[i][0], names[i][1], COLUMN_MONEY, COLUMN_SPARSE);
        sheet_column(t, names[i][2], names[i][3], COLUMN_COUNT, COLUMN_SPARSE);
    }
    sheet_column(t, "forecast_ratio", "of limit", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "runs_out", "runs out", COLUMN_TIME, COLUMN_SPARSE);
    sheet_column(t, "method", "method", COLUMN_TEXT, 0);
    sheet_column(t, "backtest_error_ratio", "back-test error", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "history_steps", "history", COLUMN_COUNT, 0);
    t->has_total = false;
}

static void put_amount(const struct outlook *o, unsigned which, money_int n, struct cell *c)
{
    struct cell *to = &c[BUDGET_AMOUNTS + 2 * which];

    if (o->def->unit == UNIT_USD)
        to[0] = cell_money(usd(n));
    else
        to[1] = cell_count(n > 0 ? (uint64_t)n : 0);
}

static void put_budget(const struct outlook *o, struct cell *c)
{
    if (o->to_us < INT64_MAX)
        c[BUDGET_END] = cell_time(o->to_us);
    put_amount(o, 0, o->amount, c);
    put_amount(o, 1, o->spent, c);
    c[BUDGET_HISTORY] = cell_count(o->history);
    if (!o->has_forecast)
        return;
    put_amount(o, 2, o->forecast, c);
    put_amount(o, 3, o->low, c);
    put_amount(o, 4, o->high, c);
    if (o->forecast > o->amount)
        put_amount(o, 5, o->forecast - o->amount, c);
    c[BUDGET_USED] = cell_ratio(o->forecast, o->amount);
    if (o->runs_out)
        c[BUDGET_RUNS_OUT] = cell_time(o->runs_out_us);
    if (o->how.has_error)
        c[BUDGET_ERROR] = cell_ratio((money_int)o->how.error_ppm, 1000000);
}

static bool on_budget(const struct outlook *o, void *arg)
{
    struct rows *r = arg;
    struct run *run = r->run;
    struct sheet *t = &run->sheet;
    char window[DATETIME_TEXT];
    struct cell *c;

    limit_window_text(o->def, window);
    r->rc = sheet_row(t, &c);
    if (r->rc == RC_OK)
        r->rc = sheet_text(t, strv_z(o->def->name), &c[BUDGET_NAME]);
    if (r->rc == RC_OK && o->scope.n)
        r->rc = sheet_text(t, o->scope, &c[BUDGET_SCOPE]);
    if (r->rc == RC_OK)
        r->rc = sheet_text(t, strv_z(limit_unit_name(o->def->unit)), &c[BUDGET_UNIT]);
    if (r->rc == RC_OK)
        r->rc = sheet_text(t, strv_z(window), &c[BUDGET_WINDOW]);
    if (r->rc == RC_OK)
        r->rc = sheet_text(t, strv_z(forecast_method_name(o->how.method)), &c[BUDGET_METHOD]);
    if (r->rc != RC_OK)
        return false;
    put_budget(o, c);
    if (o->to_us < INT64_MAX) {
        if (r->silent++ == 0 || o->from_us < run->params->from_us)
            run->params->from_us = o->from_us;
        if (r->silent == 1 || o->to_us > run->params->to_us)
            run->params->to_us = o->to_us;
    }
    return true;
}

static enum rc by_budgets(struct run *run)
{
    const struct report_sources *s = run->sources;
    const struct report_params *p = run->params;
    struct rows r = {.run = run};
    enum rc rc = RC_OK;

    if (p->from.n || p->to.n || p->month.n || p->last.n)
        return run_refuses(run, "a period", "a budget is forecast to its own window's end");
    if (p->n_by)
        return run_refuses(run, "by", "a row is one counter");
    if (p->n_where)
        return run_refuses(run, "where", "all budgets are shown");
    budget_columns(&run->sheet);
    if (s->limits)
        rc = outlook_budgets(run->reader, s->limits, s->zone, p->now_us, OUTLOOK_FORECASTS,
                             on_budget, &r, &run->fail);
    if (!s->limits || limit_set_count(s->limits) == 0)
        run->note = "There are no limits in the configuration.";
    return rc == RC_OK ? r.rc : rc;
}

enum rc report_forecast(struct run *run)
{
    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (run->params->has_grain)
        return run_refuses(run, "grain", "a row is forecast to the end of the period");
    if (run->params->top)
        return run_refuses(run, "top", "every row has a forecast of its own");
    return run->params->scope == SCOPE_BUDGETS ? by_budgets(run) : by_tags(run);
}
