/*
 * report_digest.c - what each team should look at before it plans its week.
 */
#include "reports/digest.h"
#include "reports/report_int.h"

enum digest_column {
    DIGEST_TEAM = 0,
    DIGEST_REQUESTS,
    DIGEST_WEEK,
    DIGEST_BEFORE,
    DIGEST_CHANGE,
    DIGEST_CHANGE_RATIO,
    DIGEST_MONTH,
    DIGEST_FORECAST,
    DIGEST_TOP,
    DIGEST_BUDGET,
    DIGEST_BUDGET_USED,
    DIGEST_ANOMALIES,
    DIGEST_SAVING,
    DIGEST_SAVED,
};

static void digest_columns(struct sheet *t)
{
    sheet_column(t, "team", "team", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "week_usd", "last 7 days USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "week_before_usd", "7 before USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "change_usd", "change USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "change_ratio", "change", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "month_usd", "this month USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "forecast_usd", "month end USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "moved_most", "moved most", COLUMN_TEXT, 0);
    sheet_column(t, "budget", "nearest budget", COLUMN_TEXT, 0);
    sheet_column(t, "budget_used_ratio", "used", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "anomalies", "anomalies", COLUMN_COUNT, COLUMN_ADDS);
    sheet_column(t, "top_saving", "top saving", COLUMN_TEXT, COLUMN_SPARSE);
    sheet_column(t, "top_saving_usd", "a month USD", COLUMN_MONEY, COLUMN_SPARSE);
}

struct rows {
    struct run *run;
    struct digest_row sum;
    enum rc rc;
};

static void put_numbers(const struct digest_row *row, struct cell *c)
{
    c[DIGEST_REQUESTS] = cell_count(row->requests);
    c[DIGEST_WEEK] = cell_money(row->week);
    c[DIGEST_BEFORE] = cell_money(row->before);
    c[DIGEST_CHANGE] = cell_money(money_sub(row->week, row->before));
    c[DIGEST_CHANGE_RATIO] = cell_ratio(row->week.atto - row->before.atto, row->before.atto);
    c[DIGEST_MONTH] = cell_money(row->month);
    if (row->has_forecast)
        c[DIGEST_FORECAST] = cell_money(row->forecast);
    if (row->budget)
        c[DIGEST_BUDGET_USED] = cell_ratio((money_int)row->budget_spent,
                                           (money_int)row->budget_limit);
    c[DIGEST_ANOMALIES] = cell_count(row->anomalies);
}

/* The lines of the last seven days. */
static enum rc link_week(struct run *run, const struct strv *team, struct cell *out)
{
    static const struct ledger_field field = {.id = FIELD_TEAM};
    struct drill d;

    drill_start(&d, run);
    d.from_us = run->params->now_us - 7 * US_PER_DAY;
    d.to_us = run->params->now_us;
    if (team)
        drill_add(&d, field, LEDGER_EQ, *team);
    return drill_cell(run, &d, out);
}

static bool on_row(const struct digest_row *row, void *arg)
{
    struct rows *r = arg;
    struct cell *c;

    r->rc = sheet_row(&r->run->sheet, &c);
    if (r->rc == RC_OK)
        r->rc = run_value(r->run, row->team, &c[DIGEST_TEAM]);
    if (r->rc == RC_OK && row->top[0])
        r->rc = sheet_text(&r->run->sheet, strv_z(row->top), &c[DIGEST_TOP]);
    if (r->rc == RC_OK && row->saving[0]) {
        c[DIGEST_SAVED] = cell_money(row->saved);
        r->rc = sheet_text(&r->run->sheet, strv_z(row->saving), &c[DIGEST_SAVING]);
    }
    if (r->rc == RC_OK)
        r->rc = link_week(r->run, &row->team, &c[r->run->lines]);
    if (r->rc == RC_OK && row->budget)
        r->rc = sheet_text(&r->run->sheet, strv_z(row->budget), &c[DIGEST_BUDGET]);
    if (r->rc != RC_OK)
        return false;
    put_numbers(row, c);
    r->sum.requests += row->requests;
    r->sum.week = money_add(r->sum.week, row->week);
    r->sum.before = money_add(r->sum.before, row->before);
    r->sum.month = money_add(r->sum.month, row->month);
    r->sum.forecast = money_add(r->sum.forecast, row->forecast);
    r->sum.anomalies += row->anomalies;
    return true;
}

enum rc report_digest(struct run *run)
{
    const struct report_params *p = run->params;
    const struct digest_question q = {.reader = run->reader,
                                      .limits = run->sources->limits,
                                      .zone = p->zone,
                                      .now_us = p->now_us,
                                      .wants_savings = true,
                                      .book = run->sources->book,
                                      .state_dir = run->sources->state_dir};
    struct rows r = {.run = run, .sum = {.has_forecast = true}};
    enum rc rc;

    if (p->from.n || p->to.n || p->month.n || p->last.n)
        return run_refuses(run, "a period", "it is of the two weeks before now");
    if (p->n_by || p->has_grain)
        return run_refuses(run, "by or grain", "a row is a team");
    if (p->n_where || p->top)
        return run_refuses(run, "where or top", "all teams are in it");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    digest_columns(&run->sheet);
    drill_column(run);
    rc = digest_make(&q, on_row, &r, &run->fail);
    put_numbers(&r.sum, run->sheet.total);
    run->params->from_us = p->now_us - 14 * US_PER_DAY;
    run->params->to_us = p->now_us;
    if (rc == RC_OK)
        rc = r.rc;
    return rc == RC_OK ? link_week(run, NULL, &run->sheet.total[run->lines]) : rc;
}
