#include "reports/savings_find.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/models_like.h"
#include "reports/params.h"
#include "reports/rate_card.h"
#include "reports/sheet.h"

enum { MONTH_DAYS = 30 };

const enum ledger_field_id saving_fields[Q_FIELDS] = {
    FIELD_UPSTREAM, FIELD_MODEL, FIELD_SERVICE_TIER, FIELD_PRICE_ID, FIELD_ENVIRONMENT};

/* Rows differ in their values, and each gives a finding one part: no part comes twice. */
static void add_part(struct savings *s, struct saving *to, const struct strv *field)
{
    const struct valued *tuple = by_value_at(&s->tuples, field);
    struct saving_part *part = arena_alloc(&s->parts, sizeof(*part));

    if (!tuple || !part) {
        s->rc = RC_LIMIT;
        return;
    }
    *part = (struct saving_part){.value = tuple->value, .next = to->parts};
    to->parts = part;
    to->n_parts++;
}

static void found(struct savings *s, const struct strv *by, const char *rule,
                  const struct strv keys[SAVING_KEYS], uint64_t requests, struct money cost,
                  struct money saved)
{
    struct strv value[PARAMS_BY_MAX + SAVING_KEYS];
    struct saving *to;

    if (requests == 0)
        return;
    memcpy(value, by, s->q.n_by * sizeof(*by));
    for (unsigned k = KEY_UPSTREAM; k < SAVING_KEYS; k++)
        value[s->q.n_by + k] = keys ? keys[k] : STRV("");
    value[s->q.n_by + KEY_RULE] = strv_z(rule);
    to = by_value_at(&s->found, value);
    if (!to) {
        s->rc = RC_LIMIT;
        return;
    }
    to->requests += requests;
    to->cost = money_add(to->cost, cost);
    to->saved = money_add(to->saved, saved);
    if (keys)
        add_part(s, to, by + s->q.n_by);
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
                                .at_us = s->q.filter->to_us - 1,
                                .quantities = *quantities};
    struct cost *cost;
    bool good;

    if (!rate_card_split(field[Q_PRICE], &provider, &own))
        return false;
    if (query.at_us > s->q.now_us)
        query.at_us = s->q.now_us;
    query.provider = provider;
    query.model = query.model_requested = model.n ? model : own;
    /* Steps of context are met on average. */
    query.input_total = row->sums.requests ? row->sums.tokens[USAGE_INPUT] / row->sums.requests : 0;
    cost = xcalloc(1, sizeof(*cost));
    price_usage(s->q.book, &query, cost);
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
    models_like(s->q.book, provider, own, s->q.models, &like);
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

static struct money at_most(struct money m, struct money most)
{
    return money_cmp(m, most) > 0 ? most : m;
}

/* At today's prices, and of prompts that may be shorter: no more than was charged. */
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
        found(s, row->value, "cache", keys, row->sums.cacheable,
              at_most(before, row->sums.cost),
              at_most(money_sub(before, after), row->sums.cost));
}

static void look_at(struct savings *s, const struct ledger_row *row)
{
    const struct strv *field = row->value + s->q.n_by;
    const struct strv keys[SAVING_KEYS] = {STRV(""), field[Q_UPSTREAM], field[Q_MODEL], STRV(""),
                                          STRV("")};

    if (s->q.book && row->sums.priced > 0) {
        other_models(s, row, field);
        other_tiers(s, row, field);
        better_cached(s, row, field);
    }
    found(s, row->value, "error", keys, row->sums.errors, row->sums.error_cost,
          row->sums.error_cost);
    found(s, row->value, "duplicate", keys, row->sums.repeats, row->sums.repeat_cost,
          row->sums.repeat_cost);
}

/* Superseded attempts; those that ended in an error are findings of their own. */
static bool on_tasks(const struct ledger_task_sums *tasks, void *arg)
{
    const struct ledger_part_sum *again = &tasks->part[PART_SUPERSEDED];
    struct savings *s = arg;

    if (s->narrow && (s->q.first == 0 || money_cmp(again->cost, s->least) < 0) &&
        !by_value_find(&s->scopes, tasks->value))
        return true;

    found(s, tasks->value, "retry", NULL, again->requests, again->cost, again->cost);
    return s->rc == RC_OK;
}

/* ---- questions ----------------------------------------------------------------------------------- */

/* The values that groups have of the field by which they differ most. */
struct savings_narrow {
    struct strv *value;
    size_t n, field;
};

static int by_text(const void *a, const void *b)
{
    return strv_cmp(*(const struct strv *)a, *(const struct strv *)b);
}

static size_t distinct(struct strv *value, size_t n)
{
    size_t kept = 0;

    qsort(value, n, sizeof(*value), by_text);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !strv_eq(value[kept - 1], value[i]))
            value[kept++] = value[i];
    }
    return kept;
}

static void narrow(struct savings *s)
{
    const struct savings_question *q = &s->q;
    struct strv *value = xcalloc(q->n_scopes + 1, sizeof(*value));

    s->narrow = xcalloc(1, sizeof(*s->narrow));
    for (size_t k = 0; k < q->n_by; k++) {
        size_t n;

        for (size_t i = 0; i < q->n_scopes; i++)
            value[i] = q->scope[i * q->n_by + k];
        n = distinct(value, q->n_scopes);
        if (s->narrow->value && n <= s->narrow->n)
            continue;
        free(s->narrow->value);
        *s->narrow = (struct savings_narrow){.value = value, .n = n, .field = k};
        value = xcalloc(q->n_scopes + 1, sizeof(*value));
    }
    free(value);
    for (size_t i = 0; i < q->n_scopes; i++) {
        if (!by_value_at(&s->scopes, q->scope + i * q->n_by))
            s->rc = RC_LIMIT;
    }
}

/* With as many conditions as there may be, rows of all groups are told. */
static enum rc add_narrow(const struct savings *s, struct ledger_filter *filter)
{
    const struct savings_narrow *n = s->narrow;

    if (!n || filter->n_where == LEDGER_CONDITIONS_MAX)
        return RC_OK;
    return ledger_filter_add(filter, s->q.by[n->field], LEDGER_EQ, n->value, n->n);
}

/* By the fields asked for and those of prices; of one outcome, where it is no OUTCOME_COUNT. */
static enum rc ask(const struct savings *s, enum outcome outcome, unsigned want,
                   struct ledger_rows *rows, struct fail *fail)
{
    struct ledger_question *q = xcalloc(1, sizeof(*q));
    size_t n_by = s->q.n_by;
    struct strv name;
    enum rc rc = RC_OK;

    q->filter = *s->q.filter;
    q->n_by = n_by + Q_FIELDS;
    q->grain = PERIOD_TOTAL;
    q->want = want;
    memcpy(q->by, s->q.by, n_by * sizeof(q->by[0]));
    for (unsigned i = 0; i < Q_FIELDS; i++)
        q->by[n_by + i] = (struct ledger_field){.id = saving_fields[i]};
    if (outcome != OUTCOME_COUNT) {
        name = strv_z(outcome_name(outcome));
        q->by[q->n_by++] = (struct ledger_field){.id = FIELD_OUTCOME};
        /* With as many conditions as there may be, rows of all outcomes are told. */
        if (q->filter.n_where < LEDGER_CONDITIONS_MAX)
            rc = ledger_filter_add(&q->filter, q->by[q->n_by - 1], LEDGER_EQ, &name, 1);
    }
    if (rc == RC_OK)
        rc = add_narrow(s, &q->filter);
    if (rc == RC_OK)
        rc = ledger_read_sums(s->q.reader, q, rows, fail);
    free(q);
    return rc;
}

static void add_to(struct saving_scope *scope, const struct ledger_row *row)
{
    if (!scope)
        return;
    scope->requests += row->sums.requests;
    scope->cost = money_add(scope->cost, row->sums.cost);
}

/* NULL, and RC_LIMIT, where these are too many. */
static struct saving_scope *pair_of(struct savings *s, const struct ledger_row *row)
{
    struct strv value[PARAMS_BY_MAX + PAIR_FIELDS];
    struct saving_scope *pair;

    memcpy(value, row->value, s->q.n_by * sizeof(*value));
    value[s->q.n_by + PAIR_UPSTREAM] = row->value[s->q.n_by + Q_UPSTREAM];
    value[s->q.n_by + PAIR_MODEL] = row->value[s->q.n_by + Q_MODEL];
    pair = by_value_at(&s->pairs, value);
    if (!pair)
        s->rc = RC_LIMIT;
    return pair;
}

static enum rc ask_sums(struct savings *s, bool *any_truncated, struct fail *fail)
{
    struct ledger_rows rows;
    enum rc rc = ask(s, OUTCOME_COUNT,
                     LEDGER_WANT_METERS | LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_CEILING |
                         LEDGER_SPARE_UNSAVED, &rows,
                     fail);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < rows.n; i++) {
        struct saving_scope *scope = s->narrow ? by_value_find(&s->scopes, rows.at[i].value)
                                               : by_value_at(&s->scopes, rows.at[i].value);

        if (!scope && s->narrow)
            continue;
        if (!scope) {
            s->rc = RC_LIMIT;
            break;
        }
        add_to(scope, &rows.at[i]);
        if (s->narrow)
            add_to(pair_of(s, &rows.at[i]), &rows.at[i]);
        look_at(s, &rows.at[i]);
    }
    *any_truncated = rows.total.sums.by_outcome[OUTCOME_TRUNCATED] > 0;
    ledger_rows_release(&rows);
    return s->rc;
}

static bool is_asked(const struct savings *s, const struct strv *by)
{
    return !s->narrow || by_value_find(&s->scopes, by);
}

/* What these cost is in no sum of requests of all outcomes. */
static enum rc ask_truncated(struct savings *s, struct fail *fail)
{
    const struct strv truncated = strv_z(outcome_name(OUTCOME_TRUNCATED));
    struct ledger_rows rows;
    enum rc rc = ask(s, OUTCOME_TRUNCATED, LEDGER_COST_ALONE, &rows, fail);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < rows.n; i++) {
        const struct ledger_row *row = &rows.at[i];
        const struct strv *field = row->value + s->q.n_by;
        const struct strv keys[SAVING_KEYS] = {STRV(""), field[Q_UPSTREAM], field[Q_MODEL],
                                              STRV(""), STRV("")};

        if (strv_eq(field[Q_FIELDS], truncated) && is_asked(s, row->value))
            found(s, row->value, "truncated", keys, row->sums.requests, row->sums.cost,
                  row->sums.cost);
    }
    ledger_rows_release(&rows);
    return s->rc;
}

struct money savings_least_of_first(const struct savings *s, size_t top)
{
    struct money *saved = xcalloc(s->found.n + 1, sizeof(*saved)), least = MONEY_ZERO;
    size_t n = 0;

    for (size_t i = 0; i < s->found.n; i++) {
        const struct saving *saving = (const struct saving *)s->found.at[i];

        if (saving->saved.atto > 0)
            saved[n++] = saving->saved;
    }
    if (n >= top)
        least = ledger_money_nth(saved, n, n - top);
    free(saved);
    return least;
}

enum rc savings_find(const struct savings_question *q, struct savings *out, struct fail *fail)
{
    bool any_truncated = false;
    enum rc rc;

    *out = (struct savings){.q = *q};
    by_value_init(&out->found, q->n_by + SAVING_KEYS, sizeof(struct saving));
    by_value_init(&out->scopes, q->n_by, sizeof(struct saving_scope));
    by_value_init(&out->pairs, q->n_by + PAIR_FIELDS, sizeof(struct saving_scope));
    by_value_init(&out->tuples, Q_FIELDS, sizeof(struct valued));
    arena_init(&out->parts, q->parts_bytes ? q->parts_bytes : SAVING_PARTS_BYTES);
    if (q->scope)
        narrow(out);
    rc = ask_sums(out, &any_truncated, fail);
    if (rc == RC_OK && any_truncated)
        rc = ask_truncated(out, fail);
    if (rc == RC_OK && q->first)
        out->least = savings_least_of_first(out, q->first);
    if (rc == RC_OK)
        rc = ledger_read_task_sums(q->reader, q->filter, COHORT_SPEND, q->by, q->n_by,
                                   LEDGER_TASK_AGAIN | LEDGER_TASK_RETRIED, on_tasks, out, fail);
    return out->rc != RC_OK ? out->rc : rc;
}

void savings_release(struct savings *s)
{
    if (s->narrow)
        free(s->narrow->value);
    free(s->narrow);
    s->narrow = NULL;
    arena_release(&s->parts);
    by_value_release(&s->tuples);
    by_value_release(&s->found);
    by_value_release(&s->scopes);
    by_value_release(&s->pairs);
}

/* ---- order ------------------------------------------------------------------------------- */

static bool is_told(const struct saving *saving)
{
    return saving->saved.atto > 0 || saving->decision;
}

static int by_saving(const void *a, const void *b, void *n)
{
    const struct saving *x = *(struct saving *const *)a, *y = *(struct saving *const *)b;
    int c = money_cmp(y->saved, x->saved);

    for (size_t i = 0; c == 0 && i < *(const size_t *)n; i++)
        c = strv_cmp(x->valued.value[i], y->valued.value[i]);
    return c;
}

/* What is told and saves no less (NULL: whatever it saves); the others go. */
static void keep_told(struct by_value *found, const struct money *least)
{
    size_t n = 0;

    for (size_t i = 0; i < found->n; i++) {
        struct valued *one = found->at[i];
        const struct saving *saving = (const struct saving *)one;

        if (!is_told(saving) || (least && money_cmp(saving->saved, *least) < 0))
            continue;
        found->at[i] = found->at[n];
        found->at[n++] = one;
    }
    while (found->n > n)
        by_value_drop(found);
}

void savings_sort(struct savings *s, size_t top)
{
    size_t n_values = s->q.n_by + SAVING_KEYS;

    keep_told(&s->found, NULL);
    if (top && s->found.n > top) {
        struct money *saved = xcalloc(s->found.n, sizeof(*saved)), least;

        for (size_t i = 0; i < s->found.n; i++)
            saved[i] = ((const struct saving *)s->found.at[i])->saved;
        least = ledger_money_nth(saved, s->found.n, s->found.n - top);
        keep_told(&s->found, &least);
        free(saved);
    }
    if (s->found.n)
        qsort_r(s->found.at, s->found.n, sizeof(struct valued *), by_saving, &n_values);
    while (top && s->found.n > top)
        by_value_drop(&s->found);
}

struct money savings_monthly(const struct saving *saving, int64_t from_us, int64_t to_us)
{
    return (struct money){scale_even(saving->saved.atto, (uint64_t)(MONTH_DAYS * US_PER_DAY),
                                     (uint64_t)(to_us - from_us))};
}
