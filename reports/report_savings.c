/*
 * report_savings.c - what could have cost less, each finding with the lines behind it.
 *
 *   model      another model of the book at the same quantities
 *   batch, flex   work of environments that can wait, at the model's price for that tier
 *   cache      prompts whose beginning had just been sent, at the price of cached tokens: at
 *              least RECORD_PREFIX_TOKENS of each
 *   truncated  answers that hit their bound
 *   duplicate  requests that had been answered within a day
 *   retry      attempts that a later one superseded
 *   error      requests that ended in an error and were billed
 * Findings overlap (a duplicate may also be cheaper elsewhere), so there is no total.
 */
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "base/xalloc.h"
#include "reports/by_value.h"
#include "reports/models_like.h"
#include "reports/rate_card.h"
#include "reports/report_int.h"

enum { MONTH_DAYS = 30 };

/* What a finding is keyed by, behind the report's fields. */
enum saving_key {
    KEY_RULE = 0,
    KEY_UPSTREAM,
    KEY_MODEL,
    KEY_OTHER,
    KEY_ENVIRONMENT,
    SAVING_KEYS
};
/* What the question groups by, behind the report's fields. */
enum saving_field { Q_UPSTREAM = 0, Q_MODEL, Q_TIER, Q_PRICE, Q_ENVIRONMENT, Q_OUTCOME, Q_FIELDS };

static const enum ledger_field_id question_fields[Q_FIELDS] = {
    FIELD_UPSTREAM, FIELD_MODEL,       FIELD_SERVICE_TIER,
    FIELD_PRICE_ID, FIELD_ENVIRONMENT, FIELD_OUTCOME};

struct saving {
    struct valued valued;
    uint64_t requests;
    struct money cost, saved;
};

struct savings {
    struct run *run;
    struct by_value found;
    size_t n_by; /* the report's own fields */
    enum rc rc;
};

enum saving_column {
    SAVING_RULE = 0,
    SAVING_UPSTREAM,
    SAVING_MODEL,
    SAVING_OTHER,
    SAVING_ENVIRONMENT,
    SAVING_REQUESTS,
    SAVING_COST,
    SAVING_SAVED,
    SAVING_MONTHLY,
    SAVING_CONFIDENCE,
    SAVING_ACTION,
};

static const struct {
    const char *rule, *confidence, *action;
} rules[] = {
    {"model", "low", "try the other model on this feature and compare completed tasks"},
    {"batch", "medium", "send what can wait through the provider's batch interface"},
    {"flex", "medium", "ask for the flex tier where answers may take longer"},
    {"cache", "medium", "keep the prompt's beginning unchanged and mark it for caching"},
    {"truncated", "low", "raise the output bound or ask for shorter answers"},
    {"duplicate", "high", "keep answers for repeated requests"},
    {"retry", "medium", "find why attempts are repeated"},
    {"error", "medium", "find why billed requests end in errors"},
};

static void saving_columns(struct sheet *t)
{
    sheet_column(t, "rule", "rule", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "upstream", "upstream", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "model", "model", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "alternative", "instead", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "environment", "environment", COLUMN_TEXT, COLUMN_KEY | COLUMN_SPARSE);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, 0);
    sheet_column(t, "cost_usd", "cost USD", COLUMN_MONEY, 0);
    sheet_column(t, "saving_usd", "saving USD", COLUMN_MONEY, 0);
    sheet_column(t, "monthly_saving_usd", "a month USD", COLUMN_MONEY, 0);
    sheet_column(t, "confidence", "confidence", COLUMN_TEXT, COLUMN_KEY);
    sheet_column(t, "action", "what to do", COLUMN_TEXT, COLUMN_KEY);
}

static void found(struct savings *s, const struct strv *by, const char *rule,
                  const struct strv keys[SAVING_KEYS], uint64_t requests, struct money cost,
                  struct money saved)
{
    struct strv value[PARAMS_BY_MAX + SAVING_KEYS];
    struct saving *to;

    if (requests == 0)
        return;
    memcpy(value, by, s->n_by * sizeof(*by));
    for (unsigned k = KEY_UPSTREAM; k < SAVING_KEYS; k++)
        value[s->n_by + k] = keys ? keys[k] : STRV("");
    value[s->n_by + KEY_RULE] = strv_z(rule);
    to = by_value_at(&s->found, value);
    if (!to) {
        s->rc = RC_LIMIT;
        return;
    }
    to->requests += requests;
    to->cost = money_add(to->cost, cost);
    to->saved = money_add(to->saved, saved);
}

/* ---- prices ------------------------------------------------------------------------------------ */

/* What these quantities cost elsewhere; false where the book has no whole price for them. */
static bool cost_of(const struct run *run, const struct ledger_row *row, const struct strv *field,
                    struct strv model, struct strv tier, const struct quantities *quantities,
                    struct money *out)
{
    struct strv provider, own;
    struct price_query query = {.upstream = field[Q_UPSTREAM],
                                .model = model,
                                .model_requested = model,
                                .tier = tier,
                                .region = STRV(""),
                                .at_us = run->params->to_us - 1,
                                .quantities = *quantities};
    struct cost *cost;
    bool good;

    if (!rate_card_split(field[Q_PRICE], &provider, &own))
        return false;
    if (query.at_us > run->params->now_us)
        query.at_us = run->params->now_us;
    query.provider = provider;
    query.model = query.model_requested = model.n ? model : own;
    /* Steps of context are met on average. */
    query.input_total = row->sums.requests ? row->sums.tokens[USAGE_INPUT] / row->sums.requests : 0;
    cost = xcalloc(1, sizeof(*cost));
    price_usage(run->sources->book, &query, cost);
    good = cost->status == PRICE_OK && !(cost->flags & PRICE_FLAG_NO_TIER);
    *out = cost->contracted;
    free(cost);
    return good;
}

static void quantities_of(const struct ledger_row *row, struct quantities *out)
{
    for (unsigned m = 0; m < METER_COUNT; m++)
        out->n[m] = row->meters[m].quantity;
}

/* ---- rules --------------------------------------------------------------------------------------- */

static void other_models(struct savings *s, const struct ledger_row *row,
                         const struct strv *field)
{
    struct models_like like;
    struct quantities quantities;
    struct strv provider, own;

    if (!rate_card_split(field[Q_PRICE], &provider, &own))
        return;
    models_like(s->run->sources->book, provider, own, s->run->params->models, &like);
    quantities_of(row, &quantities);
    for (size_t i = 0; i < like.n; i++) {
        struct strv other = strv_z(like.at[i]);
        const struct strv keys[SAVING_KEYS] = {STRV(""), field[Q_UPSTREAM], field[Q_MODEL], other,
                                              STRV("")};
        struct money cost;

        if (cost_of(s->run, row, field, other, field[Q_TIER], &quantities, &cost))
            found(s, row->value, "model", keys, row->sums.requests, row->sums.cost,
                  money_sub(row->sums.cost, cost));
    }
}

/* Not production: nobody waits for the answer. */
static bool can_wait(struct strv environment)
{
    return environment.n > 0 && !strv_starts(environment, STRV("prod")) &&
           !strv_eq(environment, STRV("live"));
}

static void other_tiers(struct savings *s, const struct ledger_row *row,
                        const struct strv *field)
{
    static const char *const tiers[] = {"batch", "flex"};
    const struct strv keys[SAVING_KEYS] = {STRV(""), field[Q_UPSTREAM], field[Q_MODEL], STRV(""),
                                          field[Q_ENVIRONMENT]};
    struct quantities quantities;

    if (!can_wait(field[Q_ENVIRONMENT]) ||
        usage_priced_tier(field[Q_TIER]).n > 0)
        return;
    quantities_of(row, &quantities);
    for (size_t i = 0; i < sizeof(tiers) / sizeof(*tiers); i++) {
        struct money cost;
        if (cost_of(s->run, row, field, STRV(""), strv_z(tiers[i]), &quantities, &cost))
            found(s, row->value, tiers[i], keys, row->sums.requests, row->sums.cost,
                  money_sub(row->sums.cost, cost));
    }
}

static void better_cached(struct savings *s, const struct ledger_row *row,
                          const struct strv *field)
{
    const struct strv keys[SAVING_KEYS] = {STRV(""), field[Q_UPSTREAM], field[Q_MODEL], STRV(""),
                                          STRV("")};
    uint64_t tokens = row->sums.cacheable * RECORD_PREFIX_TOKENS;
    struct quantities plain = {0}, cached = {0};
    struct money before, after;

    if (tokens == 0)
        return;
    plain.n[METER_IN] = cached.n[METER_CACHE_READ] = tokens;
    if (cost_of(s->run, row, field, STRV(""), field[Q_TIER], &plain, &before) &&
        cost_of(s->run, row, field, STRV(""), field[Q_TIER], &cached, &after))
        found(s, row->value, "cache", keys, row->sums.cacheable, before,
              money_sub(before, after));
}

static void look_at(struct savings *s, const struct ledger_row *row)
{
    const struct strv *field = row->value + s->n_by;
    const struct strv keys[SAVING_KEYS] = {STRV(""), field[Q_UPSTREAM], field[Q_MODEL], STRV(""),
                                          STRV("")};
    enum outcome outcome;

    if (s->run->sources->book && row->sums.priced > 0) {
        other_models(s, row, field);
        other_tiers(s, row, field);
        better_cached(s, row, field);
    }
    if (!outcome_parse(field[Q_OUTCOME], &outcome))
        return;
    if (outcome == OUTCOME_TRUNCATED)
        found(s, row->value, "truncated", keys, row->sums.requests, row->sums.cost,
              row->sums.cost);
    if (outcome_is_error(outcome))
        found(s, row->value, "error", keys, row->sums.requests, row->sums.cost, row->sums.cost);
    found(s, row->value, "duplicate", keys, row->sums.repeats, row->sums.repeat_cost,
          row->sums.repeat_cost);
}

/* Superseded attempts; those that ended in an error are findings of their own. */
static bool on_task(const struct ledger_task *task, void *arg)
{
    struct savings *s = arg;

    for (size_t i = 0; i < task->n_attempts; i++) {
        const struct ledger_attempt *a = &task->attempt[i];
        if (a->is_superseded && !outcome_is_error(a->outcome))
            found(s, task->value, "retry", NULL, 1, a->cost, a->cost);
    }
    return s->rc == RC_OK;
}

static enum rc ask(struct run *run, struct savings *s)
{
    struct report_params *p = run->params;
    struct ledger_question q = {.n_by = s->n_by + Q_FIELDS,
                                .grain = PERIOD_TOTAL,
                                .zone = p->zone,
                                .want = LEDGER_WANT_METERS};
    struct ledger_filter filter;
    struct ledger_rows rows;
    enum rc rc;

    params_filter(p, &q.filter);
    memcpy(q.by, p->by, s->n_by * sizeof(q.by[0]));
    for (unsigned i = 0; i < Q_FIELDS; i++)
        q.by[s->n_by + i] = (struct ledger_field){.id = question_fields[i]};
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < rows.n; i++)
        look_at(s, &rows.at[i]);
    ledger_rows_release(&rows);
    params_filter(p, &filter);
    rc = ledger_read_tasks(run->reader, &filter, COHORT_SPEND, p->by, p->n_by, on_task, s,
                           &run->fail);
    return s->rc != RC_OK ? s->rc : rc;
}

/* ---- rows ------------------------------------------------------------------------------------------- */

static int by_saving(const void *a, const void *b, void *n)
{
    const struct saving *x = *(struct saving *const *)a, *y = *(struct saving *const *)b;
    int c = money_cmp(y->saved, x->saved);

    for (size_t i = 0; c == 0 && i < *(const size_t *)n; i++)
        c = strv_cmp(x->valued.value[i], y->valued.value[i]);
    return c;
}

static enum rc put_link(struct run *run, const struct savings *s, const struct saving *saving,
                        struct cell *row)
{
    const struct strv *key = saving->valued.value + s->n_by;
    struct drill d;

    drill_start(&d, run);
    for (size_t i = 0; i < s->n_by; i++)
        drill_add(&d, run->params->by[i], LEDGER_EQ, saving->valued.value[i]);
    drill_add(&d, (struct ledger_field){.id = FIELD_UPSTREAM}, LEDGER_EQ, key[KEY_UPSTREAM]);
    drill_add(&d, (struct ledger_field){.id = FIELD_MODEL}, LEDGER_EQ, key[KEY_MODEL]);
    if (key[KEY_ENVIRONMENT].n)
        drill_add(&d, (struct ledger_field){.id = FIELD_ENVIRONMENT}, LEDGER_EQ,
                  key[KEY_ENVIRONMENT]);
    if (strv_eq(key[KEY_RULE], STRV("truncated")))
        drill_add(&d, (struct ledger_field){.id = FIELD_OUTCOME}, LEDGER_EQ, key[KEY_RULE]);
    if (strv_eq(key[KEY_RULE], STRV("duplicate")))
        drill_add(&d, (struct ledger_field){.id = FIELD_REPEAT}, LEDGER_EQ, STRV("yes"));
    if (strv_eq(key[KEY_RULE], STRV("cache")))
        drill_add(&d, (struct ledger_field){.id = FIELD_CACHEABLE}, LEDGER_EQ, STRV("yes"));
    for (unsigned o = 0; strv_eq(key[KEY_RULE], STRV("error")) && o < OUTCOME_COUNT; o++) {
        if (!outcome_is_error((enum outcome)o))
            drill_add(&d, (struct ledger_field){.id = FIELD_OUTCOME}, LEDGER_NE,
                      strv_z(outcome_name((enum outcome)o)));
    }
    d.is_exact &= !strv_eq(key[KEY_RULE], STRV("retry"));
    return drill_cell(run, &d, &row[run->lines]);
}

static enum rc put_row(struct run *run, const struct savings *s, const struct saving *saving,
                       size_t keys)
{
    const struct strv *key = saving->valued.value + s->n_by;
    const struct report_params *p = run->params;
    int64_t end_us = p->to_us < p->now_us ? p->to_us : p->now_us;
    struct cell *row, *c;
    enum rc rc = sheet_row(&run->sheet, &row);

    for (size_t i = 0; rc == RC_OK && i < keys; i++)
        rc = run_value(run, saving->valued.value[i], &row[i]);
    if (rc != RC_OK)
        return rc;
    c = row + keys;
    for (unsigned k = 0; rc == RC_OK && k < SAVING_KEYS; k++) {
        if (key[k].n)
            rc = sheet_text(&run->sheet, key[k], &c[SAVING_RULE + k]);
    }
    for (size_t i = 0; rc == RC_OK && i < sizeof(rules) / sizeof(*rules); i++) {
        if (!strv_eq(key[KEY_RULE], strv_z(rules[i].rule)))
            continue;
        rc = sheet_text(&run->sheet, strv_z(rules[i].confidence), &c[SAVING_CONFIDENCE]);
        if (rc == RC_OK)
            rc = sheet_text(&run->sheet, strv_z(rules[i].action), &c[SAVING_ACTION]);
    }
    c[SAVING_REQUESTS] = cell_count(saving->requests);
    c[SAVING_COST] = cell_money(saving->cost);
    c[SAVING_SAVED] = cell_money(saving->saved);
    if (end_us > p->from_us)
        c[SAVING_MONTHLY] = cell_money((struct money){scale_even(
            saving->saved.atto, (uint64_t)(MONTH_DAYS * US_PER_DAY),
            (uint64_t)(end_us - p->from_us))});
    return rc == RC_OK ? put_link(run, s, saving, row) : rc;
}

enum rc report_savings(struct run *run)
{
    struct savings s = {.run = run, .n_by = run->params->n_by};
    size_t n_values = s.n_by + SAVING_KEYS, keys, shown;
    enum rc rc;

    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    by_value_init(&s.found, n_values, sizeof(struct saving));
    rc = ask(run, &s);
    keys = run_key_columns(run);
    saving_columns(&run->sheet);
    drill_column(run);
    run->sheet.has_total = false;
    if (s.found.n)
        qsort_r(s.found.at, s.found.n, sizeof(struct valued *), by_saving, &n_values);
    while (s.found.n && ((const struct saving *)s.found.at[s.found.n - 1])->saved.atto <= 0)
        by_value_drop(&s.found);
    shown = run->params->top && run->params->top < s.found.n ? run->params->top : s.found.n;
    for (size_t i = 0; rc == RC_OK && i < shown; i++)
        rc = put_row(run, &s, (const struct saving *)s.found.at[i], keys);
    run->note = "Findings overlap: they do not add up. Other models and tiers at the same "
                "quantities and today's prices.";
    by_value_release(&s.found);
    return rc;
}
