/*
 * alert_digest.c - the weekly digest as an alert; see alert_watch.h.
 */
#include <string.h>

#include "base/datetime.h"
#include "proxy/alert_watch.h"
#include "reports/digest.h"
#include "reports/render.h"

int64_t alert_digest_due(const struct config *config, int64_t now_us)
{
    int64_t start, end, due = 0;
    int day = config->alerts.digest_day;

    if (day == 0)
        return 0;
    /* Of this week or, where that is to come, of the last one; days have 23 to 25 hours. */
    for (int64_t at = now_us; due == 0; at = start - 1) {
        int64_t from, to;
        zone_period(config->zone, PERIOD_WEEK, at, &start, &end);
        from = start;
        for (int i = 0; i < day; i++) {
            zone_period(config->zone, PERIOD_DAY, i ? to : from, &from, &to);
        }
        from += (int64_t)config->alerts.digest_hour * 3600 * US_PER_SECOND;
        due = from <= now_us ? from : 0;
    }
    return due;
}

struct one_team {
    struct strv team; /* NULL: all */
    struct digest_row row;
    bool any;
};

static bool pick_team(const struct digest_row *row, void *arg)
{
    struct one_team *t = arg;

    if (t->team.n == 0) {
        t->row.week = money_add(t->row.week, row->week);
        t->row.before = money_add(t->row.before, row->before);
        t->row.month = money_add(t->row.month, row->month);
        t->row.forecast = money_add(t->row.forecast, row->forecast);
        t->row.has_forecast = t->row.has_forecast || row->has_forecast;
        t->row.anomalies += row->anomalies;
        if (money_cmp(row->saved, t->row.saved) > 0) {
            t->row.saved = row->saved;
            memcpy(t->row.saving, row->saving, sizeof(t->row.saving));
        }
        t->any = true;
        return true;
    }
    if (!strv_eq(row->team, t->team))
        return true;
    t->row = *row;
    t->any = true;
    return false;
}

enum rc alert_digest(const struct alert_watch *w, struct ledger_reader *reader,
                     struct strv team, struct alert *out, bool *any, struct fail *fail)
{
    struct one_team t = {.team = team};
    char week[CELL_TEXT], before[CELL_TEXT], amount[CELL_TEXT];
    const struct digest_question q = {.reader = reader,
                                      .limits = w->config->limits,
                                      .zone = w->config->zone,
                                      .now_us = w->now_us,
                                      .wants_savings = true,
                                      .book = w->config->book,
                                      .state_dir = w->config->state_dir,
                                      .team = team};
    enum rc rc = digest_make(&q, pick_team, &t, fail);

    *any = rc == RC_OK && t.any;
    if (!*any)
        return rc;
    alert_init(out, "digest.weekly", SEVERITY_INFO, w->now_us);
    alert_text(out->key, sizeof(out->key), "tollgate:digest:" STRV_FMT ":%lld",
               STRV_ARG(alert_head(team, 120)),
               (long long)(alert_digest_due(w->config, w->now_us) / US_PER_SECOND));
    alert_dollars(t.row.week.atto, week);
    alert_dollars(t.row.before.atto, before);
    alert_text(out->title, sizeof(out->title), "Last week" STRV_FMT STRV_FMT ": %s",
               STRV_ARG(team.n ? STRV(" of ") : STRV("")), STRV_ARG(alert_shown(team)),
               week);
    alert_text(out->text, sizeof(out->text),
               "%s in the last seven days, %s in the seven before.", week, before);
    alert_field(out, "Last seven days", "%s", week);
    alert_field(out, "Seven before", "%s", before);
    if (t.row.before.atto > 0)
        alert_field(
            out, "Change", "%+lld %%",
            (long long)((t.row.week.atto - t.row.before.atto) * 100 / t.row.before.atto));
    alert_dollars(t.row.month.atto, amount);
    alert_field(out, "This month", "%s", amount);
    alert_dollars(t.row.forecast.atto, amount);
    if (t.row.has_forecast)
        alert_field(out, "Projected month end", "%s", amount);
    if (t.row.top[0])
        alert_field(out, "Moved most", "%s", t.row.top);
    if (t.row.budget)
        alert_field(out, "Nearest budget", "%s, %llu %% used", t.row.budget,
                    (unsigned long long)((money_int)t.row.budget_spent * 100 /
                                         (money_int)t.row.budget_limit));
    alert_field(out, "Open anomalies", "%u", t.row.anomalies);
    alert_dollars(t.row.saved.atto, amount);
    if (t.row.saving[0])
        alert_field(out, "Top saving", "%s a month: %s", amount, t.row.saving);
    alert_fact(out, "team", STRV_FMT, STRV_ARG(team));
    alert_dollars_fact(out, "week_usd", t.row.week.atto);
    alert_dollars_fact(out, "before_usd", t.row.before.atto);
    alert_dollars_fact(out, "month_usd", t.row.month.atto);
    if (t.row.has_forecast)
        alert_dollars_fact(out, "forecast_usd", t.row.forecast.atto);
    alert_fact(out, "anomalies_count", "%u", t.row.anomalies);
    if (t.row.saving[0])
        alert_dollars_fact(out, "top_saving_usd", t.row.saved.atto);
    alert_tag(out, STRV("team"), team);
    return RC_OK;
}

struct team_list {
    struct arena *arena;
    struct strv *at;
    size_t n, max;
};

static bool list_team(const struct digest_row *row, void *arg)
{
    struct team_list *list = arg;

    if (row->team.n == 0)
        return true;
    if (list->n == list->max)
        return false;
    list->at[list->n] = arena_strv(list->arena, row->team);
    list->n += list->at[list->n].p != NULL;
    return true;
}

enum rc alert_digest_teams(const struct alert_watch *w, struct ledger_reader *reader,
                           struct arena *arena, struct strv *out, size_t max, size_t *n,
                           struct fail *fail)
{
    struct team_list list = {arena, out, 0, max};
    const struct digest_question q = {
        .reader = reader, .zone = w->config->zone, .now_us = w->now_us};
    enum rc rc = digest_make(&q, list_team, &list, fail);

    *n = list.n;
    return rc;
}
