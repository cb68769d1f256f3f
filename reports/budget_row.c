#include "reports/budget_row.h"

#include <stdio.h>
#include <string.h>

#include "base/datetime.h"
#include "reports/limit_spent.h"

enum { SCOPE_ARENA_BYTES = 64 << 10 }; /* the values of one */

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

void budget_columns(struct run *run)
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

/* ---- how near it is -------------------------------------------------------------------- */

static bool spent_is_known(const struct budget *b)
{
    return b->has_counter || b->has_ledger;
}

static uint64_t spent_of(const struct budget *b)
{
    return b->has_counter ? b->spent : b->ledger;
}

int budget_nearer(const struct budget *a, const struct budget *b)
{
    bool has_a = spent_is_known(a) && a->amount > 0, has_b = spent_is_known(b) && b->amount > 0;
    money_int x, y; /* neither takes 64 bits: LIMIT_VALUE_MAX */

    if (!has_a || !has_b)
        return (int)has_b - (int)has_a;
    x = (money_int)spent_of(a) * b->amount;
    y = (money_int)spent_of(b) * a->amount;
    return (y > x) - (y < x);
}

/* ---- cells ----------------------------------------------------------------------------- */

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

enum rc budget_put(struct run *run, const struct budget *b)
{
    bool known = spent_is_known(b);
    uint64_t spent = spent_of(b);
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
