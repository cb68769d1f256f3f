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
#include "reports/savings.h"

enum { MONTH_DAYS = 30, DECIDED_DAYS_MAX = 16 };

/* What the question groups by, behind the report's fields. */
enum saving_field { Q_UPSTREAM = 0, Q_MODEL, Q_TIER, Q_PRICE, Q_ENVIRONMENT, Q_OUTCOME, Q_FIELDS };

static const enum ledger_field_id question_fields[Q_FIELDS] = {
    FIELD_UPSTREAM, FIELD_MODEL,       FIELD_SERVICE_TIER,
    FIELD_PRICE_ID, FIELD_ENVIRONMENT, FIELD_OUTCOME};

struct saving {
    struct valued valued;
    uint64_t requests;
    struct money cost, saved;
    const struct savings_decision *decision; /* NULL: nobody has said anything */
    bool has_realised;
    struct money realised;
    struct saving_part *parts;
    size_t n_parts;
};

/* The question's fields of rows that a finding is made of. */
struct saving_part {
    struct valued valued; /* the finding's values, then Q_FIELDS */
    struct saving_part *next;
};

/* The requests of one combination of the report's fields. */
struct scope {
    struct valued valued;
    uint64_t requests;
};

/* What is found in one period. */
struct savings {
    struct run *run;
    int64_t from_us, to_us;
    struct by_value found, scopes;
    struct by_value parts; /* combinations that each finding was made of */
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
    SAVING_STATE,
    SAVING_OWNER,
    SAVING_SINCE,
    SAVING_REALISED,
    SAVING_NOTE,
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
    sheet_column(t, "state", "state", COLUMN_TEXT, 0);
    sheet_column(t, "owner", "owner", COLUMN_TEXT, COLUMN_SPARSE);
    sheet_column(t, "since", "since", COLUMN_TIME, COLUMN_SPARSE);
    sheet_column(t, "realised_usd", "realised USD", COLUMN_MONEY, COLUMN_SPARSE);
    sheet_column(t, "note", "note", COLUMN_TEXT, COLUMN_SPARSE);
}

static void add_part(struct savings *s, struct saving *to, const struct strv *field)
{
    struct strv value[PARAMS_BY_MAX + SAVING_KEYS + Q_FIELDS];
    size_t n = s->n_by + SAVING_KEYS, before = s->parts.n;
    struct saving_part *part;

    memcpy(value, to->valued.value, n * sizeof(*value));
    memcpy(value + n, field, Q_FIELDS * sizeof(*value));
    part = by_value_at(&s->parts, value);
    if (!part) {
        s->rc = RC_LIMIT;
    } else if (s->parts.n > before) {
        part->next = to->parts;
        to->parts = part;
        to->n_parts++;
    }
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
    if (keys)
        add_part(s, to, by + s->n_by);
}

/* ---- prices ------------------------------------------------------------------------------------ */

/* What these quantities cost elsewhere; false where the book has no whole price for them. */
static bool cost_of(const struct savings *s, const struct ledger_row *row,
                    const struct strv *field, struct strv model, struct strv tier,
                    const struct quantities *quantities, struct money *out)
{
    struct strv provider, own;
    struct price_query query = {.upstream = field[Q_UPSTREAM],
                                .model = model,
                                .model_requested = model,
                                .tier = tier,
                                .region = STRV(""),
                                .at_us = s->to_us - 1,
                                .quantities = *quantities};
    struct cost *cost;
    bool good;

    if (!rate_card_split(field[Q_PRICE], &provider, &own))
        return false;
    if (query.at_us > s->run->params->now_us)
        query.at_us = s->run->params->now_us;
    query.provider = provider;
    query.model = query.model_requested = model.n ? model : own;
    /* Steps of context are met on average. */
    query.input_total = row->sums.requests ? row->sums.tokens[USAGE_INPUT] / row->sums.requests : 0;
    cost = xcalloc(1, sizeof(*cost));
    price_usage(s->run->sources->book, &query, cost);
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

        if (cost_of(s, row, field, other, field[Q_TIER], &quantities, &cost))
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
        if (cost_of(s, row, field, STRV(""), strv_z(tiers[i]), &quantities, &cost))
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
    if (cost_of(s, row, field, STRV(""), field[Q_TIER], &plain, &before) &&
        cost_of(s, row, field, STRV(""), field[Q_TIER], &cached, &after))
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
    const struct ledger_part_sum *again = &task->part[PART_SUPERSEDED];
    struct savings *s = arg;

    found(s, task->value, "retry", NULL, again->requests, again->cost, again->cost);
    return s->rc == RC_OK;
}

static enum rc ask(struct savings *s)
{
    struct run *run = s->run;
    struct report_params *p = run->params;
    struct ledger_question q = {.n_by = s->n_by + Q_FIELDS,
                                .grain = PERIOD_TOTAL,
                                .zone = p->zone,
                                .want = LEDGER_WANT_METERS};
    struct ledger_filter filter;
    struct ledger_rows rows;
    enum rc rc;

    by_value_init(&s->found, s->n_by + SAVING_KEYS, sizeof(struct saving));
    by_value_init(&s->scopes, s->n_by, sizeof(struct scope));
    by_value_init(&s->parts, s->n_by + SAVING_KEYS + Q_FIELDS, sizeof(struct saving_part));
    params_filter(p, &filter);
    filter.from_us = s->from_us;
    filter.to_us = s->to_us;
    q.filter = filter;
    memcpy(q.by, p->by, s->n_by * sizeof(q.by[0]));
    for (unsigned i = 0; i < Q_FIELDS; i++)
        q.by[s->n_by + i] = (struct ledger_field){.id = question_fields[i]};
    rc = ledger_read_sums(run->reader, &q, &rows, &run->fail);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < rows.n; i++) {
        struct scope *scope = by_value_at(&s->scopes, rows.at[i].value);
        if (!scope) {
            s->rc = RC_LIMIT;
            break;
        }
        scope->requests += rows.at[i].sums.requests;
        look_at(s, &rows.at[i]);
    }
    ledger_rows_release(&rows);
    rc = ledger_read_tasks(run->reader, &filter, COHORT_SPEND, p->by, p->n_by,
                           LEDGER_TASK_COSTS, on_task, s, &run->fail);
    return s->rc != RC_OK ? s->rc : rc;
}

static void release(struct savings *s)
{
    by_value_release(&s->parts);
    by_value_release(&s->found);
    by_value_release(&s->scopes);
}

/* ---- decisions ----------------------------------------------------------------------------------- */

/* The values of the report's fields that a decision is about; false where it is of others. */
static bool scope_of(const struct savings *s, const struct savings_decision *d,
                     struct strv *value)
{
    const struct report_params *p = s->run->params;

    if (d->n_scope != s->n_by)
        return false;
    for (size_t i = 0; i < s->n_by; i++) {
        size_t k = 0;

        while (k < d->n_scope && !strv_eq(ledger_field_name(&p->by[i]),
                                          ledger_field_name(&d->scope[k].field)))
            k++;
        if (k == d->n_scope || (p->by[i].id != FIELD_TAG &&
                                !run_wants(s->run, p->by[i].id, d->scope[k].value)))
            return false;
        value[i] = d->scope[k].value;
    }
    return true;
}

/* The decision's finding; those that are no longer found are made, with nothing to save. */
static struct saving *decided(struct savings *s, const struct savings_decision *d)
{
    struct strv value[PARAMS_BY_MAX + SAVING_KEYS];

    if (!scope_of(s, d, value))
        return NULL;
    memcpy(value + s->n_by, d->key, sizeof(d->key));
    return by_value_at(&s->found, value);
}

/* What the finding of this key comes to in that period, and the requests of its scope. */
static struct money worth(struct savings *s, const struct strv *value, uint64_t *requests)
{
    struct saving *saving = by_value_at(&s->found, value);
    struct scope *scope = by_value_at(&s->scopes, value);

    *requests = scope ? scope->requests : 0;
    return saving && saving->saved.atto > 0 ? saving->saved : MONEY_ZERO;
}

/* Of everything that was done from that day on. */
static enum rc measure(struct savings *s, int64_t since_us)
{
    const struct report_params *p = s->run->params;
    struct savings before = {.run = s->run, .n_by = s->n_by}, after = before;
    enum rc rc = RC_OK;

    before.from_us = since_us - SAVINGS_BEFORE_DAYS * US_PER_DAY;
    before.to_us = after.from_us = since_us;
    after.to_us = p->to_us < p->now_us ? p->to_us : p->now_us;
    if (after.to_us <= since_us)
        return RC_OK;
    rc = ask(&before);
    if (rc == RC_OK)
        rc = ask(&after);
    for (size_t i = 0; rc == RC_OK && i < s->found.n; i++) {
        struct saving *saving = (struct saving *)s->found.at[i];
        uint64_t n_before, n_after;
        struct money was, is;

        if (!saving->decision || !saving->decision->is_done ||
            saving->decision->since_us != since_us)
            continue;
        was = worth(&before, saving->valued.value, &n_before);
        is = worth(&after, saving->valued.value, &n_after);
        saving->has_realised =
            savings_realised(was, n_before, is, n_after, &saving->realised);
    }
    release(&before);
    release(&after);
    return rc;
}

/* What was decided of the findings, and what that brought. */
static enum rc decide(struct savings *s, const struct savings_decisions *decisions)
{
    int64_t day[DECIDED_DAYS_MAX];
    size_t days = 0;
    enum rc rc = RC_OK;

    for (size_t i = 0; i < decisions->n; i++) {
        const struct savings_decision *d = &decisions->at[i];
        struct saving *saving = decided(s, d);
        size_t k = 0;

        if (!saving)
            continue;
        saving->decision = d;
        while (k < days && day[k] != d->since_us)
            k++;
        if (d->is_done && k == days && days < DECIDED_DAYS_MAX)
            day[days++] = d->since_us;
    }
    for (size_t k = 0; rc == RC_OK && k < days; k++)
        rc = measure(s, day[k]);
    return rc;
}

/* ---- rows ------------------------------------------------------------------------------------------- */

static bool is_told(const struct saving *saving)
{
    return saving->saved.atto > 0 || saving->decision;
}

static int by_saving(const void *a, const void *b, void *n)
{
    const struct saving *x = *(struct saving *const *)a, *y = *(struct saving *const *)b;
    int c = is_told(y) - is_told(x);

    if (c == 0)
        c = money_cmp(y->saved, x->saved);

    for (size_t i = 0; c == 0 && i < *(const size_t *)n; i++)
        c = strv_cmp(x->valued.value[i], y->valued.value[i]);
    return c;
}

/* The combinations that the finding is made of; cacheable and repeated ones within them. */
static enum rc link_parts(struct run *run, const struct savings *s, const struct saving *saving,
                          struct drill *d, struct cell *out)
{
    const struct strv **value = xcalloc(saving->n_parts + 1, sizeof(*value));
    const struct strv *key = saving->valued.value + s->n_by;
    struct ledger_field by[Q_FIELDS];
    enum rc rc;

    for (unsigned i = 0; i < Q_FIELDS; i++)
        by[i] = (struct ledger_field){.id = question_fields[i]};
    for (size_t i = 0; i < s->n_by; i++)
        drill_add(d, run->params->by[i], LEDGER_EQ, saving->valued.value[i]);
    if (strv_eq(key[KEY_RULE], STRV("duplicate")))
        drill_add(d, (struct ledger_field){.id = FIELD_REPEAT}, LEDGER_EQ, STRV("yes"));
    if (strv_eq(key[KEY_RULE], STRV("cache")))
        drill_add(d, (struct ledger_field){.id = FIELD_CACHEABLE}, LEDGER_EQ, STRV("yes"));
    for (const struct saving_part *p = saving->parts; p; p = p->next)
        value[d->only.n++] = p->valued.value + s->n_by + SAVING_KEYS;
    d->only.by = by;
    d->only.n_by = Q_FIELDS;
    d->only.value = value;
    rc = drill_cell(run, d, out);
    free(value);
    return rc;
}

static enum rc put_link(struct run *run, const struct savings *s, const struct saving *saving,
                        struct cell *row)
{
    const struct strv *const value = saving->valued.value;
    struct drill d;

    drill_start(&d, run);
    if (saving->n_parts)
        return link_parts(run, s, saving, &d, &row[run->lines]);
    /* By tasks' first lines; of what was decided and is not found there are no lines. */
    d.waste = "superseded";
    d.only = (struct drill_tuples){run->params->by, s->n_by, &value, 1};
    d.is_exact = strv_eq(value[s->n_by + KEY_RULE], STRV("retry"));
    return drill_cell(run, &d, &row[run->lines]);
}

static enum rc put_decision(struct run *run, const struct saving *saving, struct cell *c)
{
    const struct savings_decision *d = saving->decision;
    enum rc rc = sheet_text(&run->sheet, d ? d->state : STRV("open"), &c[SAVING_STATE]);

    if (!d)
        return rc;
    if (rc == RC_OK && d->owner.n)
        rc = sheet_text(&run->sheet, d->owner, &c[SAVING_OWNER]);
    if (rc == RC_OK && d->note.n)
        rc = sheet_text(&run->sheet, d->note, &c[SAVING_NOTE]);
    c[SAVING_SINCE] = cell_time(d->since_us);
    if (saving->has_realised)
        c[SAVING_REALISED] = cell_money(saving->realised);
    return rc;
}

static enum rc put_row(struct run *run, const struct savings *s, const struct saving *saving,
                       size_t keys)
{
    const struct strv *key = saving->valued.value + s->n_by;
    const struct report_params *p = run->params;
    int64_t end_us = p->to_us < p->now_us ? p->to_us : p->now_us;
    const struct savings_rule *rule;
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
    rule = savings_rule(key[KEY_RULE]);
    if (rc == RC_OK && rule)
        rc = sheet_text(&run->sheet, strv_z(rule->confidence), &c[SAVING_CONFIDENCE]);
    if (rc == RC_OK && rule)
        rc = sheet_text(&run->sheet, strv_z(rule->action), &c[SAVING_ACTION]);
    if (rc == RC_OK)
        rc = put_decision(run, saving, c);
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
    struct savings s = {.run = run,
                        .n_by = run->params->n_by,
                        .from_us = run->params->from_us,
                        .to_us = run->params->to_us};
    size_t n_values = s.n_by + SAVING_KEYS, keys, shown;
    struct savings_decisions decisions;
    enum rc rc;

    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    rc = savings_decisions_read(run->sources->state_dir, run->params->zone, &decisions,
                                &run->fail);
    if (rc == RC_OK)
        rc = ask(&s);
    if (rc == RC_OK)
        rc = decide(&s, &decisions);
    keys = run_key_columns(run);
    saving_columns(&run->sheet);
    drill_column(run);
    run->sheet.has_total = false;
    if (s.found.n)
        qsort_r(s.found.at, s.found.n, sizeof(struct valued *), by_saving, &n_values);
    while (s.found.n && !is_told((const struct saving *)s.found.at[s.found.n - 1]))
        by_value_drop(&s.found);
    shown = run->params->top && run->params->top < s.found.n ? run->params->top : s.found.n;
    for (size_t i = 0; rc == RC_OK && i < shown; i++)
        rc = put_row(run, &s, (const struct saving *)s.found.at[i], keys);
    run->note = "Findings overlap: they do not add up. Other models and tiers at the same "
                "quantities and today's prices.";
    release(&s);
    savings_decisions_release(&decisions);
    return rc;
}
