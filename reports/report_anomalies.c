/*
 * report_anomalies.c - what was unusual: by tags, or on each budget's own window.
 */
#include <stdio.h>
#include <string.h>

#include "base/datetime.h"
#include "reports/oddities.h"
#include "reports/report_int.h"

enum { ID_MAX_BYTES = 8 << 10 };

enum anomaly_column {
    ANOMALY_START = 0,
    ANOMALY_END,
    ANOMALY_KIND,
    /* expected, actual, impact: each in USD and as a count, one of them null */
    ANOMALY_AMOUNTS,
    ANOMALY_IMPACT_RATIO = ANOMALY_AMOUNTS + 6,
    ANOMALY_SCORE,
    ANOMALY_CONFIRMED,
    ANOMALY_NOTABLE,
    ANOMALY_STATUS,
    ANOMALY_CAUSES,
    ANOMALY_ID,
};

static void anomaly_columns(struct sheet *t)
{
    static const char *const names[][4] = {
        {"expected_usd", "expected USD", "expected_count", "expected"},
        {"actual_usd", "actual USD", "actual_count", "actual"},
        {"impact_usd", "impact USD", "impact_count", "impact"},
    };

    sheet_column(t, "start", "from", COLUMN_TIME, COLUMN_KEY);
    sheet_column(t, "end", "to", COLUMN_TIME, COLUMN_KEY | COLUMN_MACHINE);
    sheet_column(t, "kind", "kind", COLUMN_TEXT, COLUMN_KEY);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        sheet_column(t, names[i][0], names[i][1], COLUMN_MONEY, COLUMN_SPARSE);
        sheet_column(t, names[i][2], names[i][3], COLUMN_RATIO, COLUMN_SPARSE);
    }
    sheet_column(t, "impact_ratio", "of expected", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "z", "z", COLUMN_RATIO, 0);
    sheet_column(t, "confirmed", "confirmed", COLUMN_BOOL, COLUMN_MACHINE);
    sheet_column(t, "notable", "notable", COLUMN_BOOL, 0);
    sheet_column(t, "status", "status", COLUMN_TEXT, 0);
    sheet_column(t, "contributors", "what moved most", COLUMN_TEXT, 0);
    sheet_column(t, "id", "id", COLUMN_TEXT, COLUMN_MACHINE);
    t->has_total = false;
}

struct rows {
    struct run *run;
    const char *unit; /* what is looked at: "day", "hour", "budget" */
    size_t keys;
    enum rc rc;
};

static void put_amount(const struct oddity *o, unsigned which, money_int n, struct cell *c)
{
    struct cell *to = &c[ANOMALY_AMOUNTS + 2 * which];

    if (!o->def || o->def->unit == UNIT_USD)
        to[0] = cell_money((struct money){n});
    else
        to[1] = cell_ratio(n, 1);
}

static void put_numbers(const struct oddity *o, struct cell *c)
{
    c[ANOMALY_START] = cell_time(o->from_us);
    c[ANOMALY_END] = cell_time(o->to_us);
    put_amount(o, 0, o->expected, c);
    put_amount(o, 1, o->actual, c);
    put_amount(o, 2, o->actual - o->expected, c);
    c[ANOMALY_IMPACT_RATIO] = cell_ratio(o->actual - o->expected, o->expected);
    if (o->has_z)
        c[ANOMALY_SCORE] = cell_ratio((money_int)(o->z * 1000), 1000);
    c[ANOMALY_CONFIRMED] = cell_bool(o->confirmed);
    c[ANOMALY_NOTABLE] = cell_bool(o->notable);
}

static enum rc put_keys(struct run *run, const struct oddity *o, struct cell *c)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; rc == RC_OK && !o->def && i < run->params->n_by; i++)
        rc = run_value(run, o->value[i], &c[i]);
    if (rc == RC_OK && o->def)
        rc = sheet_text(&run->sheet, strv_z(o->def->name), &c[0]);
    if (rc == RC_OK && o->def && o->scope.n)
        rc = sheet_text(&run->sheet, o->scope, &c[1]);
    return rc;
}

/* "day:team=search:2026-11-18T00:00:00Z": of teams, what an alert's key ends with. */
static enum rc put_id(struct run *run, const char *unit, const struct oddity *o, struct cell *out)
{
    const struct report_params *p = run->params;
    char from[DATETIME_TEXT];
    struct buf text;
    enum rc rc;

    datetime_format_s(o->from_us, from);
    buf_init(&text, ID_MAX_BYTES);
    rc = buf_printf(&text, "%s:", unit);
    if (rc == RC_OK && o->def)
        rc = buf_printf(&text, "%s:" STRV_FMT ":", o->def->name, STRV_ARG(o->scope));
    for (size_t i = 0; rc == RC_OK && !o->def && i < p->n_by; i++) {
        struct strv name = ledger_field_name(&p->by[i]);
        struct strv value = o->value[i].n ? o->value[i] : STRV("(untagged)");

        rc = buf_printf(&text, STRV_FMT "=" STRV_FMT ":", STRV_ARG(name), STRV_ARG(value));
    }
    if (rc == RC_OK)
        rc = buf_append_strv(&text, strv_z(from));
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, buf_view(&text), out);
    buf_release(&text);
    return rc;
}

/* The lines of the days in question. */
static enum rc put_link(struct run *run, const struct oddity *o, struct cell *c)
{
    struct drill d;

    drill_start(&d, run);
    d.from_us = o->from_us;
    d.to_us = o->to_us;
    for (size_t i = 0; i < run->params->n_by; i++)
        drill_add(&d, run->params->by[i], LEDGER_EQ, o->value[i]);
    return drill_cell(run, &d, &c[run->lines]);
}

static bool on_oddity(const struct oddity *o, void *arg)
{
    struct rows *r = arg;
    struct sheet *t = &r->run->sheet;
    struct cell *c;

    r->rc = sheet_row(t, &c);
    if (r->rc == RC_OK)
        r->rc = put_keys(r->run, o, c);
    if (r->rc != RC_OK)
        return false;
    if (!o->def)
        r->rc = put_link(r->run, o, c);
    c += r->keys;
    put_numbers(o, c);
    if (r->rc == RC_OK)
        r->rc = sheet_text(t, o->actual > o->expected ? STRV("spike") : STRV("drop"),
                           &c[ANOMALY_KIND]);
    if (r->rc == RC_OK)
        r->rc = sheet_text(t, o->open ? STRV("open") : STRV("closed"), &c[ANOMALY_STATUS]);
    if (r->rc == RC_OK && o->causes.n)
        r->rc = sheet_text(t, o->causes, &c[ANOMALY_CAUSES]);
    if (r->rc == RC_OK)
        r->rc = put_id(r->run, r->unit, o, &c[ANOMALY_ID]);
    return r->rc == RC_OK;
}

static enum rc refuse_words(struct run *run)
{
    const struct report_params *p = run->params;

    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (p->top)
        return run_refuses(run, "top", "anomalies do not add up");
    if (p->has_grain && p->grain != PERIOD_DAY && p->grain != PERIOD_HOUR)
        return run_refuses(run, "this grain", "anomalies are of days or of hours");
    if (p->scope != SCOPE_BUDGETS)
        return RC_OK;
    if (p->n_by)
        return run_refuses(run, "by", "a row is one counter");
    if (p->n_where)
        return run_refuses(run, "where", "all budgets are looked at");
    return p->has_grain ? run_refuses(run, "grain", "the budget's window says which") : RC_OK;
}

enum rc report_anomalies(struct run *run)
{
    struct report_params *p = run->params;
    bool budgets = p->scope == SCOPE_BUDGETS;
    struct rows r = {.run = run};
    struct ledger_filter filter;
    struct oddity_question q = {
        .reader = run->reader,
        .filter = &filter,
        .by = p->by,
        .n_by = p->n_by,
        .limits = budgets ? run->sources->limits : NULL,
        .step = p->has_grain ? p->grain : PERIOD_DAY,
        .zone = budgets ? run->sources->zone : p->zone,
        .now_us = p->now_us,
        .floor = run->sources->floor.per_cent ? run->sources->floor : ODDITY_FLOOR,
        .causes = true,
    };
    size_t waiting = 0;
    enum rc rc = refuse_words(run);

    if (rc != RC_OK)
        return rc;
    r.unit = budgets ? "budget" : q.step == PERIOD_HOUR ? "hour" : "day";
    params_filter(p, &filter);
    p->grain = PERIOD_TOTAL; /* a row says itself when it was */
    if (budgets) {
        r.keys = sheet_column(&run->sheet, "budget", "budget", COLUMN_TEXT, COLUMN_KEY);
        r.keys = sheet_column(&run->sheet, "scope", "scope", COLUMN_TEXT, COLUMN_KEY) + 1;
    } else {
        r.keys = run_key_columns(run);
    }
    anomaly_columns(&run->sheet);
    if (!budgets)
        drill_column(run);
    if (!budgets || q.limits)
        rc = oddities_find(&q, on_oddity, &r, &waiting, &run->fail);
    if (rc == RC_OK)
        rc = r.rc;
    run->note = waiting ? "Some have too short a history to say what is unusual: three weeks."
                        : "Complete days and hours are looked at; the running one is not.";
    return rc;
}
