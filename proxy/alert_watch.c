#include "proxy/alert_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/digest.h"
#include "base/xalloc.h"
#include "reports/limit_spent.h"
#include "reports/oddities.h"
#include "reports/outlook.h"
#include "reports/render.h"

enum {
    FORECAST_FROM_DAYS = 2, /* none in the first two days of a window, nor in the first tenth */
    HYSTERESIS_PERCENT = 2,
    ANOMALY_DAYS = 7,
    ANOMALY_HOURS = 3,
};

static void amount_text(const struct limit_def *def, money_int amount, char out[CELL_TEXT])
{
    if (!def || def->unit == UNIT_USD)
        alert_dollars(amount, out);
    else
        (void)snprintf(out, CELL_TEXT, "%lld %s", (long long)amount,
                       limit_unit_name(def->unit));
}

/* "spent": of dollars "spent_usd", of other units "spent_count". */
static void amount_fact(struct alert *a, const struct limit_def *def, const char *name,
                        money_int amount)
{
    char full[ALERT_NAME_MAX];

    (void)snprintf(full, sizeof(full), "%.40s_%s", name,
                   def->unit == UNIT_USD ? "usd" : "count");
    if (def->unit == UNIT_USD)
        alert_dollars_fact(a, full, amount);
    else
        alert_fact(a, full, "%lld", (long long)amount);
}

static void time_text(int64_t us, char out[DATETIME_TEXT])
{
    datetime_format_s(us, out);
}

/* ---- budgets --------------------------------------------------------------------------------
 */

/* Of an upper- or lower-case hexadecimal digit; 16: none. */
static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* "team=search,feature=x": values as the limiter writes them, %XX for what parts them. */
static void scope_tags(struct alert *a, struct strv scope)
{
    struct strv part;

    while (scope.n && strv_split(&scope, ',', &part)) {
        size_t equals = strv_find(part, '=');
        struct strv value = strv_skip(part, equals + 1);
        char text[ALERT_VALUE_MAX];
        size_t n = 0;
        for (size_t i = 0; i < value.n && n + 1 < sizeof(text); i++) {
            if (value.p[i] == '%' && i + 2 < value.n) {
                unsigned high = hex_value(value.p[i + 1]), low = hex_value(value.p[i + 2]);
                if (high < 16 && low < 16 && high + low > 0) {
                    text[n++] = (char)(high * 16 + low);
                    i += 2;
                    continue;
                }
            }
            text[n++] = value.p[i];
        }
        if (equals < part.n && !strv_eq(value, STRV("(none)")))
            alert_tag(a, strv_head(part, equals), strv_make(text, n));
    }
}

static void budget_tags(struct alert *a, const struct outlook *o)
{
    scope_tags(a, o->scope);
    for (size_t i = 0; i < o->def->n_match; i++) {
        struct strv value = o->def->match[i].value;
        if (strv_find(value, '*') == value.n && strv_find(value, '?') == value.n)
            alert_tag(a, o->def->match[i].name, value);
    }
}

static void budget_fields(struct alert *a, const struct outlook *o)
{
    char amount[CELL_TEXT], at[DATETIME_TEXT];

    amount_text(o->def, o->spent, amount);
    alert_field(a, "Spent", "%s (%lld %%)", amount,
                (long long)(o->amount ? o->spent * 100 / o->amount : 0));
    amount_text(o->def, o->amount, amount);
    alert_field(a, "Budget", "%s", amount);
    if (o->has_forecast) {
        amount_text(o->def, o->forecast, amount);
        alert_field(a, "Projected", "%s by %s", amount, forecast_method_name(o->how.method));
    }
    if (o->runs_out) {
        time_text(o->runs_out_us, at);
        alert_field(a, "Runs out", "%s", at);
    }
    if (o->to_us < INT64_MAX) {
        time_text(o->to_us, at);
        alert_field(a, "Resets", "%s", at);
    }
    if (o->scope.n)
        alert_field(a, "Scope", STRV_FMT, STRV_ARG(o->scope));
}

/* The same for programs, exact. percent: the threshold, of basis "actual" or "forecast". */
static void budget_facts(struct alert *a, const struct outlook *o, const char *basis,
                         unsigned percent)
{
    char at[DATETIME_TEXT];

    alert_fact(a, "name", "%s", o->def->name);
    alert_fact(a, "scope", STRV_FMT, STRV_ARG(o->scope));
    alert_fact(a, "unit", "%s", limit_unit_name(o->def->unit));
    time_text(o->from_us, at);
    if (o->from_us > INT64_MIN)
        alert_fact(a, "window_start", "%s", at);
    time_text(o->to_us, at);
    if (o->to_us < INT64_MAX)
        alert_fact(a, "window_end", "%s", at);
    alert_fact(a, "basis", "%s", basis);
    alert_fact(a, "threshold_percent", "%u", percent);
    amount_fact(a, o->def, "limit", o->amount);
    amount_fact(a, o->def, "spent", o->spent);
    if (o->has_forecast)
        amount_fact(a, o->def, "forecast", o->forecast);
    time_text(o->runs_out_us, at);
    if (o->runs_out)
        alert_fact(a, "runs_out", "%s", at);
}

/* A value as part of a key: a long one by its digest, so that no two share a key. */
static void key_part(struct strv value, char out[SHA256_HEX])
{
    unsigned char digest[SHA256_BYTES];

    if (value.n < SHA256_HEX) {
        (void)snprintf(out, SHA256_HEX, STRV_FMT, STRV_ARG(value));
        return;
    }
    digest_sha256(value, digest);
    digest_hex(digest, sizeof(digest), out);
}

static void start_budget(const struct outlook *o, const char *kind, struct alert_condition *c)
{
    char name[SHA256_HEX], scope[SHA256_HEX];

    memset(c, 0, sizeof(*c));
    key_part(strv_z(o->def->name), name);
    key_part(o->scope, scope);
    alert_text(c->group, sizeof(c->group), "%s:%s:%s:%lld", kind, name, scope,
               (long long)(o->from_us / US_PER_SECOND));
    c->expires_us = o->to_us < INT64_MAX ? o->to_us : 0;
}

/* tollgate:BUDGET:SCOPE:WINDOW:BASIS:LEVEL */
static void name_level(struct alert_condition *c, const char *basis)
{
    alert_text(c->alert.key, sizeof(c->alert.key), "tollgate%.220s:%s:%u",
               strchr(c->group, ':'), basis, c->level);
}

/* Notes every threshold that is reached, and gives the highest; others: those below it. */
static unsigned note_thresholds(const struct alert_watch *w, const struct outlook *o,
                                char *others, size_t size, enum crossing_told *told)
{
    unsigned level = 0;
    size_t n = 0;

    for (size_t i = 0; i < o->def->n_alerts; i++) {
        if (o->spent * 100 < o->amount * (money_int)o->def->alerts[i])
            continue;
        if (level)
            n += (size_t)snprintf(others + n, size - n, "%s%u %%", n ? ", " : "", level);
        level = o->def->alerts[i];
        *told = crossings_note(w->crossings, o, level);
    }
    return level;
}

static void tell_threshold(const struct alert_watch *w, const struct outlook *o)
{
    struct alert_condition c;
    char spent[CELL_TEXT], limit[CELL_TEXT], others[96] = "";
    bool enforced = o->def->mode == LIMIT_ENFORCE, has_others;

    start_budget(o, "budget", &c);
    c.level = note_thresholds(w, o, others, sizeof(others), &c.told);
    if (c.level == 0)
        return;
    has_others = others[0] != '\0';
    alert_init(&c.alert, c.level >= 100 ? "budget.exhausted" : "budget.threshold",
               c.level >= 100  ? SEVERITY_CRITICAL
               : c.level >= 80 ? SEVERITY_WARNING
                               : SEVERITY_INFO,
               w->now_us);
    name_level(&c, "actual");
    amount_text(o->def, o->spent, spent);
    amount_text(o->def, o->amount, limit);
    alert_text(c.alert.title, sizeof(c.alert.title),
               "%s%s" STRV_FMT "%s at %lld %% of its budget", o->def->name,
               o->scope.n ? " (" : "", STRV_ARG(alert_shown(o->scope)), o->scope.n ? ")" : "",
               (long long)(o->spent * 100 / o->amount));
    alert_text(c.alert.text, sizeof(c.alert.text),
               "%s of %s is spent: %u %% is passed%s%s%s%s.", spent, limit, c.level,
               has_others ? " (and " : "", others, has_others ? ")" : "",
               c.level >= 100 && enforced ? "; further requests are refused" : "");
    budget_fields(&c.alert, o);
    budget_facts(&c.alert, o, "actual", c.level);
    budget_tags(&c.alert, o);
    w->fn(&c, w->arg);
}

/* Too early in a window a forecast says little. */
static bool is_early(const struct alert_watch *w, const struct outlook *o)
{
    int64_t gone = w->now_us - o->from_us, length = o->to_us - o->from_us;

    return length > 3 * US_PER_DAY ? gone < FORECAST_FROM_DAYS * US_PER_DAY
                                   : gone * 10 < length;
}

static void tell_forecast(const struct alert_watch *w, const struct outlook *o)
{
    int percent = w->config->alerts.forecast_percent;
    struct alert_condition c;
    char forecast[CELL_TEXT], limit[CELL_TEXT];
    money_int wanted;

    if (percent == 0 || !o->has_forecast || o->spent >= o->amount || o->to_us == INT64_MAX)
        return;
    start_budget(o, "forecast", &c);
    c.level = (unsigned)percent;
    c.twice = true;
    wanted = percent;
    if (w->level(c.group, w->arg) > 0)
        wanted -= HYSTERESIS_PERCENT; /* what was told stays told */
    else if (is_early(w, o))
        return;
    if (o->forecast * 100 < o->amount * wanted)
        return;
    alert_init(&c.alert, "budget.forecast", SEVERITY_WARNING, w->now_us);
    name_level(&c, "forecast");
    amount_text(o->def, o->forecast, forecast);
    amount_text(o->def, o->amount, limit);
    alert_text(c.alert.title, sizeof(c.alert.title), "%s%s" STRV_FMT "%s will not last",
               o->def->name, o->scope.n ? " (" : "", STRV_ARG(alert_shown(o->scope)),
               o->scope.n ? ")" : "");
    alert_text(c.alert.text, sizeof(c.alert.text), "%s is projected, %s is the budget: %s.",
               forecast, limit, forecast_method_says(o->how.method));
    budget_fields(&c.alert, o);
    budget_facts(&c.alert, o, "forecast", c.level);
    budget_tags(&c.alert, o);
    w->fn(&c, w->arg);
}

static bool on_outlook(const struct outlook *o, void *arg)
{
    const struct alert_watch *w = arg;
    struct outlook all = *o;

    if (o->def->n_alerts == 0 || o->amount == 0)
        return true;
    all.spent += crossings_others(w->crossings, o);
    tell_threshold(w, &all);
    if (w->config->alerts.n_channels > 0)
        tell_forecast(w, o);
    return true;
}

enum rc alert_watch_budgets(const struct alert_watch *w, struct ledger_reader *reader,
                            bool forecasts, struct fail *fail)
{
    unsigned want = OUTLOOK_WITH_ALERTS | (forecasts ? (unsigned)OUTLOOK_FORECASTS : 0U);
    struct alert_watch mine = *w;

    return outlook_budgets(reader, w->config->limits, w->config->zone, w->now_us, want,
                           on_outlook, &mine, fail);
}

/* ---- anomalies ------------------------------------------------------------------------------
 */

struct anomalies {
    const struct alert_watch *w;
    const char *unit;
};

static bool on_oddity(const struct oddity *o, void *arg)
{
    const struct anomalies *all = arg;
    const struct alert_watch *w = all->w;
    struct strv team = o->value[0].n ? o->value[0] : STRV("(untagged)");
    char actual[CELL_TEXT], expected[CELL_TEXT], from[DATETIME_TEXT], key[SHA256_HEX];
    struct alert_condition c;
    bool spike = o->actual > o->expected;

    if (!o->notable || !o->open)
        return true;
    memset(&c, 0, sizeof(c));
    c.level = 1;
    time_text(o->from_us, from);
    key_part(team, key);
    alert_text(c.group, sizeof(c.group), "tollgate:anomaly:%s:team=%s:%s", all->unit, key,
               from);
    alert_init(&c.alert, "anomaly.detected", SEVERITY_WARNING, w->now_us);
    alert_text(c.alert.key, sizeof(c.alert.key), "%s", c.group);
    alert_dollars(o->actual, actual);
    alert_dollars(o->expected, expected);
    alert_text(c.alert.title, sizeof(c.alert.title), "Unusual spend: " STRV_FMT " %s %s",
               STRV_ARG(alert_shown(team)), spike ? "up to" : "down to", actual);
    alert_text(c.alert.text, sizeof(c.alert.text),
               STRV_FMT " spent %s since %s where %s was expected.", STRV_ARG(team), actual,
               from, expected);
    alert_field(&c.alert, "Expected", "%s", expected);
    alert_field(&c.alert, "Actual", "%s", actual);
    if (o->causes.n)
        alert_field(&c.alert, "What moved most", STRV_FMT,
                    STRV_ARG(alert_head(o->causes, 250)));
    alert_fact(&c.alert, "team", STRV_FMT, STRV_ARG(o->value[0]));
    alert_fact(&c.alert, "grain", "%s", all->unit);
    alert_fact(&c.alert, "start", "%s", from);
    alert_dollars_fact(&c.alert, "expected_usd", o->expected);
    alert_dollars_fact(&c.alert, "actual_usd", o->actual);
    alert_dollars_fact(&c.alert, "impact_usd", o->actual - o->expected);
    alert_fact(&c.alert, "contributors", STRV_FMT, STRV_ARG(alert_head(o->causes, 250)));
    alert_tag(&c.alert, STRV("team"), o->value[0]);
    w->fn(&c, w->arg);
    return true;
}

static enum rc find_anomalies(const struct alert_watch *w, struct ledger_reader *reader,
                              enum period step, int64_t since_us, struct fail *fail)
{
    static const struct ledger_field team = {.id = FIELD_TEAM};
    struct anomalies all = {w, step == PERIOD_DAY ? "day" : "hour"};
    struct ledger_filter filter;
    struct oddity_question q = {
        .reader = reader,
        .filter = &filter,
        .by = &team,
        .n_by = 1,
        .step = step,
        .zone = w->config->zone,
        .now_us = w->now_us,
        .floor = {w->config->alerts.anomaly_usd.atto,
                  (unsigned)w->config->alerts.anomaly_percent},
        .causes = true,
    };
    size_t waiting;

    ledger_filter_init(&filter, since_us, w->now_us);
    return oddities_find(&q, on_oddity, &all, &waiting, fail);
}

enum rc alert_watch_anomalies(const struct alert_watch *w, struct ledger_reader *reader,
                              struct fail *fail)
{
    enum rc rc =
        find_anomalies(w, reader, PERIOD_DAY, w->now_us - ANOMALY_DAYS * US_PER_DAY, fail);

    if (rc == RC_OK)
        rc = find_anomalies(w, reader, PERIOD_HOUR,
                            w->now_us - ANOMALY_HOURS * 3600 * US_PER_SECOND, fail);
    return rc;
}

/* ---- what is in the records
 * ------------------------------------------------------------------ */

static void tell_unpriced(const struct alert_watch *w, const struct ledger_row *row)
{
    char upstream[SHA256_HEX], model[SHA256_HEX];
    struct alert_condition c;

    memset(&c, 0, sizeof(c));
    c.level = 1;
    key_part(row->value[1], upstream);
    key_part(row->value[0], model);
    alert_text(c.group, sizeof(c.group), "tollgate:unpriced:%s/%s", upstream, model);
    alert_init(&c.alert, "data_quality.unpriced", SEVERITY_WARNING, w->now_us);
    alert_text(c.alert.key, sizeof(c.alert.key), "%s", c.group);
    alert_text(c.alert.title, sizeof(c.alert.title), "No price for model " STRV_FMT,
               STRV_ARG(alert_head(row->value[0], 100)));
    alert_text(c.alert.text, sizeof(c.alert.text),
               "%llu requests of the last day went to it through upstream " STRV_FMT
               "; their cost is unknown, and budgets in dollars do not see them.",
               (unsigned long long)row->sums.unpriced, STRV_ARG(row->value[1]));
    alert_fact(&c.alert, "model", STRV_FMT, STRV_ARG(row->value[0]));
    alert_fact(&c.alert, "upstream", STRV_FMT, STRV_ARG(row->value[1]));
    alert_fact(&c.alert, "requests_count", "%llu", (unsigned long long)row->sums.unpriced);
    alert_tag(&c.alert, STRV("model"), row->value[0]);
    alert_tag(&c.alert, STRV("upstream"), row->value[1]);
    w->fn(&c, w->arg);
}

static void tell_untagged(const struct alert_watch *w, money_int without, money_int all)
{
    struct alert_condition c;
    char part[CELL_TEXT], whole[CELL_TEXT];

    memset(&c, 0, sizeof(c));
    c.level = 1;
    alert_text(c.group, sizeof(c.group), "tollgate:untagged:team");
    alert_init(&c.alert, "data_quality.untagged", SEVERITY_WARNING, w->now_us);
    alert_text(c.alert.key, sizeof(c.alert.key), "%s", c.group);
    alert_dollars(without, part);
    alert_dollars(all, whole);
    alert_text(c.alert.title, sizeof(c.alert.title), "%lld %% of spend has no team",
               (long long)(without * 100 / all));
    alert_text(c.alert.text, sizeof(c.alert.text),
               "%s of the last day's %s has no team: see the report untagged.", part, whole);
    alert_dollars_fact(&c.alert, "untagged_usd", without);
    alert_dollars_fact(&c.alert, "total_usd", all);
    w->fn(&c, w->arg);
}

enum rc alert_watch_quality(const struct alert_watch *w, struct ledger_reader *reader,
                            struct fail *fail)
{
    struct ledger_question *q = xcalloc(1, sizeof(*q));
    struct ledger_rows rows;
    money_int without = 0;
    enum rc rc;

    ledger_filter_init(&q->filter, w->now_us - US_PER_DAY, INT64_MAX);
    q->grain = PERIOD_TOTAL;
    q->by[0].id = FIELD_MODEL;
    q->by[1].id = FIELD_UPSTREAM;
    q->by[2].id = FIELD_PRICE_STATUS;
    q->n_by = 3;
    rc = ledger_read_sums(reader, q, &rows, fail);
    for (size_t i = 0; rc == RC_OK && w->config->alerts.unpriced && i < rows.n; i++) {
        if (rows.at[i].sums.unpriced > 0)
            tell_unpriced(w, &rows.at[i]);
    }
    if (rc == RC_OK)
        ledger_rows_release(&rows);
    if (rc == RC_OK && w->config->alerts.untagged_percent > 0) {
        q->by[0].id = FIELD_TEAM;
        q->n_by = 1;
        rc = ledger_read_sums(reader, q, &rows, fail);
        for (size_t i = 0; rc == RC_OK && i < rows.n; i++)
            without += rows.at[i].value[0].n ? 0 : rows.at[i].sums.cost.atto;
        if (rc == RC_OK && without > 0 &&
            without * 100 > rows.total.sums.cost.atto * w->config->alerts.untagged_percent)
            tell_untagged(w, without, rows.total.sums.cost.atto);
        if (rc == RC_OK)
            ledger_rows_release(&rows);
    }
    free(q);
    return rc;
}

void alert_watch_trouble(const struct alert_watch *w, const char *which, const char *says)
{
    struct alert_condition c;

    memset(&c, 0, sizeof(c));
    c.level = 1;
    c.twice = true;
    alert_text(c.group, sizeof(c.group), "tollgate:trouble:%s:%s", w->config->node, which);
    alert_init(&c.alert, "gateway.trouble", SEVERITY_CRITICAL, w->now_us);
    alert_text(c.alert.key, sizeof(c.alert.key), "%s", c.group);
    alert_text(c.alert.title, sizeof(c.alert.title), "Gateway %s: trouble with its %s",
               w->config->node, which);
    alert_text(c.alert.text, sizeof(c.alert.text), "%s", says);
    alert_fact(&c.alert, "trouble_with", "%s", which);
    w->fn(&c, w->arg);
}
