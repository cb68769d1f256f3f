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
#include "reports/report_int.h"
#include "reports/savings_find.h"

enum { DECIDED_DAYS_MAX = 16 };

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

/* ---- decisions ----------------------------------------------------------------------------------- */

/* The values of the report's fields that a decision is about; false where it is of others. */
static bool scope_of(const struct run *run, const struct savings_decision *d,
                     struct strv *value)
{
    const struct report_params *p = run->params;

    if (d->n_scope != p->n_by)
        return false;
    for (size_t i = 0; i < p->n_by; i++) {
        size_t k = 0;

        while (k < d->n_scope && !strv_eq(ledger_field_name(&p->by[i]),
                                          ledger_field_name(&d->scope[k].field)))
            k++;
        if (k == d->n_scope || (p->by[i].id != FIELD_TAG &&
                                !run_wants(run, p->by[i].id, d->scope[k].value)))
            return false;
        value[i] = d->scope[k].value;
    }
    return true;
}

/* The decision's finding; those that are no longer found are made, with nothing to save. */
static struct saving *decided(const struct run *run, struct savings *s,
                              const struct savings_decision *d)
{
    struct strv value[PARAMS_BY_MAX + SAVING_KEYS];

    if (!scope_of(run, d, value))
        return NULL;
    memcpy(value + s->q.n_by, d->key, sizeof(d->key));
    return by_value_at(&s->found, value);
}

/* What the finding of this key comes to in that period, and the requests of its scope. */
static struct money worth(struct savings *s, const struct strv *value, uint64_t *requests)
{
    struct saving *saving = by_value_at(&s->found, value);
    struct saving_scope *scope = by_value_at(&s->scopes, value);

    *requests = scope ? scope->requests : 0;
    return saving && saving->saved.atto > 0 ? saving->saved : MONEY_ZERO;
}

/* Groups that decisions are about: n of them, n_by values each. */
struct scopes {
    struct strv *value;
    size_t n;
};

/* Of decisions since that day alone, unless it is INT64_MIN; release with free(value). */
static struct scopes scopes_of(const struct run *run, const struct savings_decisions *decisions,
                               int64_t since_us)
{
    const size_t n_by = run->params->n_by;
    struct scopes s = {xcalloc(decisions->n * n_by + 1, sizeof(*s.value)), 0};

    for (size_t i = 0; n_by > 0 && i < decisions->n; i++) {
        const struct savings_decision *d = &decisions->at[i];

        if ((since_us == INT64_MIN || (d->is_done && d->since_us == since_us)) &&
            scope_of(run, d, s.value + s.n * n_by))
            s.n++;
    }
    return s;
}

/*
 * What is found in a period: the first findings and those of the scopes, or (is_of_scopes) these
 * alone.  Release in any case.
 */
static enum rc find(struct run *run, int64_t from_us, int64_t to_us, const struct scopes *scopes,
                    bool is_of_scopes, bool *is_part, struct savings *out)
{
    const struct report_params *p = run->params;
    struct ledger_filter filter;
    struct savings_question q = {.reader = run->reader,
                                 .book = run->sources->book,
                                 .filter = &filter,
                                 .by = p->by,
                                 .n_by = p->n_by,
                                 .models = p->models,
                                 .now_us = p->now_us,
                                 .scope = scopes->n ? scopes->value : NULL,
                                 .n_scopes = scopes->n};
    enum rc rc;

    params_filter(p, &filter);
    filter.from_us = from_us;
    filter.to_us = to_us;
    rc = is_of_scopes ? savings_find(&q, out, &run->fail)
                      : savings_find_first(&q, p->top, out, is_part, &run->fail);
    out->q.filter = NULL;
    out->q.scope = NULL;
    return rc;
}

/* Of everything that was done from that day on. */
static enum rc measure(struct run *run, struct savings *s,
                       const struct savings_decisions *decisions, int64_t since_us)
{
    const struct report_params *p = run->params;
    int64_t known_us = run_known_until(run);
    int64_t to_us = p->to_us < known_us ? p->to_us : known_us;
    struct savings before, after = {.rc = RC_OK};
    struct scopes scopes;
    enum rc rc;

    if (to_us <= since_us)
        return RC_OK;
    scopes = scopes_of(run, decisions, since_us);
    rc = find(run, since_us - SAVINGS_BEFORE_DAYS * US_PER_DAY, since_us, &scopes, true, NULL,
              &before);
    if (rc == RC_OK)
        rc = find(run, since_us, to_us, &scopes, true, NULL, &after);
    free(scopes.value);
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
    savings_release(&before);
    savings_release(&after);
    return rc;
}

/* What was decided of the findings, and what that brought. */
static enum rc decide(struct run *run, struct savings *s,
                      const struct savings_decisions *decisions)
{
    int64_t day[DECIDED_DAYS_MAX];
    size_t days = 0;
    enum rc rc = RC_OK;

    for (size_t i = 0; i < decisions->n; i++) {
        const struct savings_decision *d = &decisions->at[i];
        struct saving *saving = decided(run, s, d);
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
        rc = measure(run, s, decisions, day[k]);
    return rc;
}

/* ---- rows ------------------------------------------------------------------------------------------- */

/* Of the outcomes that are errors. */
static void add_errors(struct drill *d, struct strv *names)
{
    size_t n = 0;

    for (unsigned o = 0; o < OUTCOME_COUNT; o++) {
        if (outcome_is_error((enum outcome)o))
            names[n++] = strv_z(outcome_name((enum outcome)o));
    }
    drill_add_any(d, (struct ledger_field){.id = FIELD_OUTCOME}, names, n);
}

/* The combinations that the finding is made of; within them those that the rule is about. */
static enum rc link_parts(struct run *run, const struct savings *s, const struct saving *saving,
                          struct drill *d, struct cell *out)
{
    const struct strv **value = xcalloc(saving->n_parts + 1, sizeof(*value));
    const struct strv *key = saving->valued.value + s->q.n_by;
    struct strv errors[OUTCOME_COUNT];
    struct ledger_field by[Q_FIELDS];
    enum rc rc;

    for (unsigned i = 0; i < Q_FIELDS; i++)
        by[i] = (struct ledger_field){.id = saving_fields[i]};
    for (size_t i = 0; i < s->q.n_by; i++)
        drill_add(d, run->params->by[i], LEDGER_EQ, saving->valued.value[i]);
    if (strv_eq(key[KEY_RULE], STRV("duplicate")))
        drill_add(d, (struct ledger_field){.id = FIELD_REPEAT}, LEDGER_EQ, STRV("yes"));
    if (strv_eq(key[KEY_RULE], STRV("cache")))
        drill_add(d, (struct ledger_field){.id = FIELD_CACHEABLE}, LEDGER_EQ, STRV("yes"));
    if (strv_eq(key[KEY_RULE], STRV("truncated")))
        drill_add(d, (struct ledger_field){.id = FIELD_OUTCOME}, LEDGER_EQ,
                  strv_z(outcome_name(OUTCOME_TRUNCATED)));
    if (strv_eq(key[KEY_RULE], STRV("error")))
        add_errors(d, errors);
    for (const struct saving_part *p = saving->parts; p; p = p->next)
        value[d->only.n++] = p->value;
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
    d.only = (struct drill_tuples){run->params->by, s->q.n_by, &value, 1};
    d.is_exact = strv_eq(value[s->q.n_by + KEY_RULE], STRV("retry"));
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
    const struct strv *key = saving->valued.value + s->q.n_by;
    const struct report_params *p = run->params;
    int64_t known_us = run_known_until(run);
    int64_t end_us = p->to_us < known_us ? p->to_us : known_us;
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
        c[SAVING_MONTHLY] = cell_money(savings_monthly(saving, p->from_us, end_us));
    return rc == RC_OK ? put_link(run, s, saving, row) : rc;
}

/* The requests of groups that were not looked at: what they might save is not known. */
static enum rc put_others(struct run *run, const struct savings *s, size_t keys)
{
    struct ledger_question *q = xcalloc(1, sizeof(*q));
    struct ledger_rows rows;
    struct money cost = MONEY_ZERO;
    uint64_t requests = 0;
    struct cell *row;
    enum rc rc;

    params_filter(run->params, &q->filter);
    q->grain = PERIOD_TOTAL;
    q->want = LEDGER_COST_ALONE;
    rc = ledger_read_sums(run->reader, q, &rows, &run->fail);
    free(q);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < s->scopes.n; i++) {
        const struct saving_scope *scope = (const struct saving_scope *)s->scopes.at[i];

        requests += scope->requests;
        cost = money_add(cost, scope->cost);
    }
    rc = sheet_row(&run->sheet, &row);
    for (size_t i = 0; rc == RC_OK && i < keys; i++)
        rc = sheet_text(&run->sheet, STRV("(other)"), &row[i]);
    if (rc == RC_OK) {
        row[keys + SAVING_REQUESTS] = cell_count(rows.total.sums.requests - requests);
        row[keys + SAVING_COST] = cell_money(money_sub(rows.total.sums.cost, cost));
        run->n_others = 1;
    }
    ledger_rows_release(&rows);
    return rc;
}

enum rc report_savings(struct run *run)
{
    struct savings s = {.rc = RC_OK};
    struct scopes scopes;
    bool is_part = false;
    size_t keys;
    struct savings_decisions decisions;
    enum rc rc;

    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it is about the period as a whole");
    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    rc = savings_decisions_read(run->sources->state_dir, run->params->zone, &decisions,
                                &run->fail);
    scopes = scopes_of(run, &decisions, INT64_MIN);
    if (rc == RC_OK)
        rc = find(run, run->params->from_us, run->params->to_us, &scopes, false, &is_part, &s);
    free(scopes.value);
    if (rc == RC_OK)
        rc = decide(run, &s, &decisions);
    keys = run_key_columns(run);
    saving_columns(&run->sheet);
    drill_column(run);
    run->sheet.has_total = false;
    savings_sort(&s, run->params->top);
    for (size_t i = 0; rc == RC_OK && i < s.found.n; i++)
        rc = put_row(run, &s, (const struct saving *)s.found.at[i], keys);
    if (rc == RC_OK && is_part)
        rc = put_others(run, &s, keys);
    run->note = "Findings overlap: they do not add up. Other models and tiers at the same "
                "quantities and today's prices.";
    savings_release(&s);
    savings_decisions_release(&decisions);
    return rc;
}
