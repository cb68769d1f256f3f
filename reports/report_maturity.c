/*
 * report_maturity.c - how well spend is looked after: indicators that data tells, each beside
 * what is good.
 *
 * A row is a part of a whole.  What nothing is known of is null, with the reason in its basis;
 * it has no level then.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "reports/outlook.h"
#include "reports/report_int.h"

enum maturity_column {
    MATURITY_INDICATOR = 0,
    MATURITY_VALUE,
    MATURITY_TARGET,
    MATURITY_LEVEL,
    MATURITY_WALK,
    MATURITY_COUNT,
    MATURITY_OF_COUNT,
    MATURITY_COST,
    MATURITY_OF_COST,
    MATURITY_BASIS,
};

enum indicator {
    TEAM_COVERAGE = 0,
    TAG_COVERAGE,
    TEAMS_WITH_BUDGET,
    ALERT_ROUTING,
    FORECAST_ACCURACY,
    PRICE_COVERAGE,
    METERED_USAGE,
    TIME_TO_ACKNOWLEDGE,
    RECONCILED_COST,
    INDICATORS,
};

enum { PER_CENT = 100, PPM = 1000000 };

/*
 * In per cent: from walk on it is "walk", from target on "run", else "crawl".  Of an error the
 * other way round: 12 % is where the FinOps Foundation's survey puts "run"; the others are ours.
 */
static const struct {
    const char *name, *basis;
    unsigned walk, target;
    bool is_error;
} indicators[INDICATORS] = {
    [TEAM_COVERAGE] = {"team_coverage", "cost of requests that name a team, of all cost", 80, 90,
                       false},
    [TAG_COVERAGE] = {"tag_coverage",
                      "cost of requests with team, feature and environment, of all cost", 80, 90,
                      false},
    [TEAMS_WITH_BUDGET] = {"teams_with_budget",
                           "teams with requests that a dollar limit of a day or longer names", 50,
                           90, false},
    [ALERT_ROUTING] = {"alert_routing",
                       "teams with requests whose anomalies are told to some channel", 50, 90,
                       false},
    [FORECAST_ACCURACY] = {"forecast_error",
                           "weighted absolute error of the forecast's back-test, of all spend as "
                           "one; of a period that goes on",
                           15, 12, true},
    [PRICE_COVERAGE] = {"price_coverage", "requests with a price, of all requests", 95, 99,
                        false},
    [METERED_USAGE] = {"metered_usage",
                       "requests with the provider's usage, of those with any usage", 95, 99,
                       false},
    [TIME_TO_ACKNOWLEDGE] = {"time_to_acknowledge",
                             "not known: alerts are acknowledged where they are received", 0, 0,
                             false},
    [RECONCILED_COST] = {"reconciled_cost",
                         "not known: what providers say is compared by the report reconcile, and "
                         "not kept",
                         0, 0, false},
};

static void maturity_columns(struct sheet *t)
{
    sheet_column(t, "indicator", "indicator", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "value", "value", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "target", "target", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "level", "level", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "walk_from", "walk from", COLUMN_RATIO, COLUMN_PER_CENT | COLUMN_MACHINE);
    sheet_column(t, "count", "count", COLUMN_COUNT, COLUMN_SPARSE);
    sheet_column(t, "of_count", "of", COLUMN_COUNT, COLUMN_SPARSE);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, COLUMN_SPARSE);
    sheet_column(t, "of_cost_usd", "of USD", COLUMN_MONEY, COLUMN_SPARSE);
    sheet_column(t, "basis", "measured by", COLUMN_TEXT, COLUMN_KEY);
    t->has_total = false;
}

/* ---- one row ------------------------------------------------------------------------------ */

/* num of den is at least (of an error: at most) so many per cent. */
static bool reaches(money_int num, money_int den, unsigned per_cent, bool is_error)
{
    money_int a, b;

    if (__builtin_mul_overflow(num, (money_int)PER_CENT, &a) ||
        __builtin_mul_overflow(den, (money_int)per_cent, &b)) {
        a = num / PPM * PER_CENT;
        b = den / PPM * per_cent;
    }
    return is_error ? a <= b : a >= b;
}

/* The row of an indicator; den 0: it is not known. */
static enum rc put_row(struct run *run, enum indicator which, money_int num, money_int den,
                       struct cell **out)
{
    const unsigned walk = indicators[which].walk, target = indicators[which].target;
    const bool is_error = indicators[which].is_error;
    const char *level = "crawl";
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(indicators[which].name), &c[MATURITY_INDICATOR]);
    if (rc == RC_OK)
        rc = sheet_text(&run->sheet, strv_z(indicators[which].basis), &c[MATURITY_BASIS]);
    if (rc != RC_OK)
        return rc;
    *out = c;
    if (target) {
        c[MATURITY_TARGET] = cell_ratio(target, PER_CENT);
        c[MATURITY_WALK] = cell_ratio(walk, PER_CENT);
    }
    c[MATURITY_VALUE] = cell_ratio(num, den);
    if (den == 0 || !target)
        return RC_OK;
    if (reaches(num, den, target, is_error))
        level = "run";
    else if (reaches(num, den, walk, is_error))
        level = "walk";
    return sheet_text(&run->sheet, strv_z(level), &c[MATURITY_LEVEL]);
}

static enum rc put_counts(struct run *run, enum indicator which, uint64_t n, uint64_t of,
                          const struct drill *lines)
{
    struct cell *c;
    enum rc rc = put_row(run, which, (money_int)n, (money_int)of, &c);

    if (rc != RC_OK)
        return rc;
    c[MATURITY_COUNT] = cell_count(n);
    c[MATURITY_OF_COUNT] = cell_count(of);
    return lines ? drill_cell(run, lines, &c[run->lines]) : RC_OK;
}

static enum rc put_costs(struct run *run, enum indicator which, struct money cost,
                         const struct ledger_sums *of, const struct drill *lines)
{
    struct cell *c;
    enum rc rc = put_row(run, which, cost.atto, of->cost.atto, &c);

    if (rc != RC_OK)
        return rc;
    c[MATURITY_COST] = sums_cost(of, cost);
    c[MATURITY_OF_COST] = sums_cost(of, of->cost);
    return drill_cell(run, lines, &c[run->lines]);
}

/* ---- teams -------------------------------------------------------------------------------- */

/* Whether a limit is a budget in dollars of this team, and of nothing narrower. */
static bool is_budget_of(const struct limit_def *def, struct strv team)
{
    const struct strv name = STRV("team");
    bool is_named = false;

    if (def->unit != UNIT_USD ||
        (def->rolling ? def->rolling_s * US_PER_SECOND < US_PER_DAY : def->period < PERIOD_DAY))
        return false;
    for (size_t i = 0; i < def->n_match; i++) {
        if (!strv_eq(def->match[i].name, name) || !strv_glob(def->match[i].value, team))
            return false;
        is_named = true;
    }
    for (size_t i = 0; i < def->n_per; i++)
        is_named = is_named || strv_eq(def->per[i], name);
    return is_named;
}

struct teams {
    uint64_t n, with_budget, told;
};

static void count_team(const struct run *run, struct strv team, struct teams *out)
{
    const struct report_sources *s = run->sources;
    bool has_budget = false;

    out->n++;
    for (size_t i = 0; s->limits && !has_budget && i < limit_set_count(s->limits); i++)
        has_budget = is_budget_of(limit_set_at(s->limits, i), team);
    out->with_budget += has_budget;
    out->told += s->is_told && s->is_told(team, s->arg);
}

static enum rc put_teams(struct run *run, const struct teams *teams)
{
    bool is_known = run->sources->limits != NULL;
    enum rc rc = put_counts(run, TEAMS_WITH_BUDGET, teams->with_budget, is_known ? teams->n : 0,
                            NULL);

    is_known = run->sources->is_told != NULL;
    return rc == RC_OK ? put_counts(run, ALERT_ROUTING, teams->told, is_known ? teams->n : 0, NULL)
                       : rc;
}

/* ---- requests ----------------------------------------------------------------------------- */

/* The lines that have all of the first n standing tags. */
static void tagged_lines(const struct run *run, const enum ledger_field_id *tags, size_t n,
                         struct drill *out)
{
    drill_start(out, run);
    for (size_t i = 0; i < n; i++)
        drill_add(out, (struct ledger_field){.id = tags[i]}, LEDGER_NE, STRV(""));
}

static enum rc put_quality(struct run *run, const struct ledger_sums *s)
{
    const uint64_t metered = s->by_usage_source[USAGE_PROVIDER];
    const uint64_t any =
        metered + s->by_usage_source[USAGE_PARTIAL] + s->by_usage_source[USAGE_ESTIMATED];
    struct drill priced, provided;
    enum rc rc;

    drill_start(&priced, run);
    drill_add(&priced, (struct ledger_field){.id = FIELD_PRICE_STATUS}, LEDGER_NE,
              strv_z(price_status_name(PRICE_NONE)));
    drill_start(&provided, run);
    drill_add(&provided, (struct ledger_field){.id = FIELD_USAGE_SOURCE}, LEDGER_EQ,
              strv_z(usage_source_name(USAGE_PROVIDER)));
    rc = put_counts(run, PRICE_COVERAGE, s->requests - s->unpriced, s->requests, &priced);
    return rc == RC_OK ? put_counts(run, METERED_USAGE, metered, any, &provided) : rc;
}

/* ---- forecast ----------------------------------------------------------------------------- */

static bool take_error(const struct outlook *outlook, void *arg)
{
    if (outlook->how.has_error)
        *(struct cell *)arg = cell_ratio((money_int)outlook->how.error_ppm, PPM);
    return true;
}

/* As `forecast` states it, of the spend of all as one series. */
static enum rc put_forecast(struct run *run)
{
    const struct report_params *p = run->params;
    struct cell error = cell_null(), *c;
    struct ledger_filter filter;
    enum rc rc = RC_OK;

    params_filter(p, &filter);
    if (p->from_us <= p->now_us && p->now_us < p->to_us)
        rc = outlook_tags(run->reader, &filter, p->by, 0, p->zone, p->now_us, take_error, &error,
                          &run->fail);
    if (rc == RC_STATE && ledger_lines_are_gone(&run->fail)) { /* all else can be said */
        run->fail = (struct fail){0};
        rc = RC_OK;
    }
    if (rc != RC_OK && (rc != RC_BAD || run->fail.rc != RC_OK)) /* a period that ends within a day */
        return rc;
    return put_row(run, FORECAST_ACCURACY, error.known ? error.ratio.num : 0,
                   error.known ? error.ratio.den : 0, &c);
}

/* ---- the report --------------------------------------------------------------------------- */

static enum rc put_rows(struct run *run, const enum ledger_field_id *tags, size_t n_tags,
                        const struct ledger_rows *rows)
{
    struct money of_team = MONEY_ZERO, tagged = MONEY_ZERO;
    struct teams teams = {.n = 0};
    struct drill lines;
    struct cell *c;
    enum rc rc;

    for (size_t i = 0; i < rows->n; i++) {
        const struct ledger_row *row = &rows->at[i];

        if (row->value[0].n == 0)
            continue;
        of_team = money_add(of_team, row->sums.cost);
        if (i == 0 || !strv_eq(row->value[0], rows->at[i - 1].value[0]))
            count_team(run, row->value[0], &teams);
        if (row->value[1].n && row->value[2].n)
            tagged = money_add(tagged, row->sums.cost);
    }
    tagged_lines(run, tags, 1, &lines);
    rc = put_costs(run, TEAM_COVERAGE, of_team, &rows->total.sums, &lines);
    tagged_lines(run, tags, n_tags, &lines);
    if (rc == RC_OK)
        rc = put_costs(run, TAG_COVERAGE, tagged, &rows->total.sums, &lines);
    if (rc == RC_OK)
        rc = put_teams(run, &teams);
    if (rc == RC_OK)
        rc = put_forecast(run);
    if (rc == RC_OK)
        rc = put_quality(run, &rows->total.sums);
    if (rc == RC_OK)
        rc = put_row(run, TIME_TO_ACKNOWLEDGE, 0, 0, &c);
    return rc == RC_OK ? put_row(run, RECONCILED_COST, 0, 0, &c) : rc;
}

enum rc report_maturity(struct run *run)
{
    static const enum ledger_field_id tags[] = {FIELD_TEAM, FIELD_FEATURE, FIELD_ENVIRONMENT};
    enum { TAGS = sizeof(tags) / sizeof(tags[0]) };
    const struct report_params *p = run->params;
    struct ledger_rows rows;
    enum rc rc;

    if (p->n_by)
        return run_refuses(run, "by", "it has a row for each indicator");
    if (p->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (p->top)
        return run_refuses(run, "top", "it has all indicators");
    if (p->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    rc = run_sums_by(run, tags, TAGS, LEDGER_SPARE_TOKENS | LEDGER_SPARE_TRANSPORT, &rows);
    if (rc != RC_OK)
        return rc;
    maturity_columns(&run->sheet);
    drill_column(run);
    rc = put_rows(run, tags, TAGS, &rows);
    run->note = "Crawl below, walk from a lower bound on, run from the target on; what data does "
                "not tell is left open.";
    ledger_rows_release(&rows);
    return rc;
}
