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
        from = zone_time_of_day(config->zone, from, config->alerts.digest_hour * 60);
        due = from <= now_us ? from : 0;
    }
    return due;
}

/* out: the digest of a team, or of all where it is empty. */
static void put_digest(const struct alert_watch *w, struct strv team,
                       const struct digest_row *row, struct alert *out)
{
    char week[CELL_TEXT], before[CELL_TEXT], amount[CELL_TEXT];

    alert_init(out, "digest.weekly", SEVERITY_INFO, w->now_us);
    alert_text(out->key, sizeof(out->key), "tollgate:digest:" STRV_FMT ":%lld",
               STRV_ARG(alert_head(team, 120)),
               (long long)(alert_digest_due(w->config, w->now_us) / US_PER_SECOND));
    alert_dollars(row->week.atto, week);
    alert_dollars(row->before.atto, before);
    alert_text(out->title, sizeof(out->title), "Last week" STRV_FMT STRV_FMT ": %s",
               STRV_ARG(team.n ? STRV(" of ") : STRV("")), STRV_ARG(alert_shown(team)),
               week);
    alert_text(out->text, sizeof(out->text),
               "%s in the last seven days, %s in the seven before.", week, before);
    alert_field(out, "Last seven days", "%s", week);
    alert_field(out, "Seven before", "%s", before);
    if (row->before.atto > 0)
        alert_field(
            out, "Change", "%+lld %%",
            (long long)((row->week.atto - row->before.atto) * 100 / row->before.atto));
    alert_dollars(row->month.atto, amount);
    alert_field(out, "This month", "%s", amount);
    alert_dollars(row->forecast.atto, amount);
    if (row->has_forecast)
        alert_field(out, "Projected month end", "%s", amount);
    if (row->top[0])
        alert_field(out, "Moved most", "%s", row->top);
    if (row->budget)
        alert_field(out, "Nearest budget", "%s, %llu %% used", row->budget,
                    (unsigned long long)((money_int)row->budget_spent * 100 /
                                         (money_int)row->budget_limit));
    alert_field(out, "Open anomalies", "%u", row->anomalies);
    alert_dollars(row->saved.atto, amount);
    if (row->saving[0])
        alert_field(out, "Top saving", "%s a month: %s", amount, row->saving);
    alert_fact(out, "team", STRV_FMT, STRV_ARG(team));
    alert_dollars_fact(out, "week_usd", row->week.atto);
    alert_dollars_fact(out, "before_usd", row->before.atto);
    alert_dollars_fact(out, "month_usd", row->month.atto);
    if (row->has_forecast)
        alert_dollars_fact(out, "forecast_usd", row->forecast.atto);
    alert_fact(out, "anomalies_count", "%u", row->anomalies);
    if (row->saving[0])
        alert_dollars_fact(out, "top_saving_usd", row->saved.atto);
    alert_tag(out, STRV("team"), team);
}

struct telling {
    const struct alert_watch *w;
    alert_digest_fn *fn;
    void *arg;
    struct digest_row all;
    bool any;
};

static void add_row(struct digest_row *all, const struct digest_row *row)
{
    all->week = money_add(all->week, row->week);
    all->before = money_add(all->before, row->before);
    all->month = money_add(all->month, row->month);
    all->forecast = money_add(all->forecast, row->forecast);
    all->has_forecast = all->has_forecast || row->has_forecast;
    all->anomalies += row->anomalies;
    if (money_cmp(row->saved, all->saved) > 0) {
        all->saved = row->saved;
        memcpy(all->saving, row->saving, sizeof(all->saving));
    }
}

static bool on_row(const struct digest_row *row, void *arg)
{
    struct telling *t = arg;
    struct alert digest;

    t->any = true;
    add_row(&t->all, row);
    if (row->team.n == 0)
        return true;
    put_digest(t->w, row->team, row, &digest);
    t->fn(&digest, true, t->arg);
    return true;
}

enum rc alert_digests(const struct alert_watch *w, struct ledger_reader *reader,
                      alert_digest_fn *fn, void *arg, struct fail *fail)
{
    const struct digest_question q = {.reader = reader,
                                      .limits = w->config->limits,
                                      .zone = w->config->zone,
                                      .now_us = w->now_us,
                                      .wants_savings = true,
                                      .book = w->config->book,
                                      .state_dir = w->config->state_dir};
    struct telling t = {.w = w, .fn = fn, .arg = arg};
    struct alert digest;
    enum rc rc = digest_make(&q, on_row, &t, fail);

    if (rc != RC_OK || !t.any)
        return rc;
    put_digest(w, STRV_NONE, &t.all, &digest);
    fn(&digest, false, arg);
    return RC_OK;
}
