/*
 * report_variance.c - why this period's cost is not that of another, or of the plan.
 *
 * Two questions to the ledger, each by the report's fields and by model; their answers
 * come in the same order, so one walk pairs them.
 *
 * Every scope is explained, and (other) and the total are sums of their scopes' effects, however many
 * rows are shown.  Only where rows are left out of more than VARIANCE_SCOPES_MAX scopes (users) are
 * those that changed most found by costs alone and asked for by model alone; (other) is one scope
 * then: what all come to by model less what is shown.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "reports/books.h"
#include "reports/report_int.h"
#include "reports/variance.h"

enum {
    MODEL_FIELDS = 3,
    /* Requests, those with a cost, it, and meters. */
    VARIANCE_WANT = LEDGER_WANT_METERS | LEDGER_SPARE | LEDGER_SPARE_CEILING,
};

enum variance_column {
    VARIANCE_BASE_REQUESTS = 0,
    VARIANCE_REQUESTS,
    VARIANCE_BASE,
    VARIANCE_NOW,
    VARIANCE_CHANGE,
    VARIANCE_RATIO,
    VARIANCE_VOLUME,
    VARIANCE_MIX,
    VARIANCE_EFFICIENCY,
    VARIANCE_PRICE,
    VARIANCE_UNEXPLAINED,
};

static void variance_columns(struct sheet *t)
{
    sheet_column(t, "base_requests", "base requests", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "requests", "requests", COLUMN_COUNT, COLUMN_ADDS | COLUMN_MACHINE);
    sheet_column(t, "base_cost_usd", "base USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "cost_usd", "actual USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "variance_usd", "variance USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "variance_ratio", "change", COLUMN_RATIO, COLUMN_PER_CENT);
    sheet_column(t, "volume_usd", "volume USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "mix_usd", "mix USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "efficiency_usd", "efficiency USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "price_usd", "price USD", COLUMN_MONEY, COLUMN_ADDS);
    sheet_column(t, "unexplained_usd", "unexplained USD", COLUMN_MONEY,
                 COLUMN_ADDS | COLUMN_SPARSE);
}

/* One row: a scope with what became of its cost. */
struct scope {
    const struct ledger_row *row; /* of either period, for its values; NULL: (other) */
    uint64_t base_requests, requests;
    struct variance_effects e;
};

static void scope_add(struct scope *to, const struct scope *from)
{
    to->base_requests += from->base_requests;
    to->requests += from->requests;
    to->e.base = money_add(to->e.base, from->e.base);
    to->e.now = money_add(to->e.now, from->e.now);
    to->e.volume = money_add(to->e.volume, from->e.volume);
    to->e.mix = money_add(to->e.mix, from->e.mix);
    to->e.efficiency = money_add(to->e.efficiency, from->e.efficiency);
    to->e.price = money_add(to->e.price, from->e.price);
    to->e.unexplained = money_add(to->e.unexplained, from->e.unexplained);
}

static void scope_cells(const struct scope *s, bool is_plan, struct cell *c)
{
    struct money change = money_sub(s->e.now, s->e.base);

    c[VARIANCE_REQUESTS] = cell_count(s->requests);
    c[VARIANCE_BASE] = cell_money(s->e.base);
    c[VARIANCE_NOW] = cell_money(s->e.now);
    c[VARIANCE_CHANGE] = cell_money(change);
    c[VARIANCE_RATIO] = cell_ratio(change.atto, s->e.base.atto);
    c[VARIANCE_UNEXPLAINED] = cell_money(s->e.unexplained);
    if (is_plan)
        return;
    c[VARIANCE_BASE_REQUESTS] = cell_count(s->base_requests);
    c[VARIANCE_VOLUME] = cell_money(s->e.volume);
    c[VARIANCE_MIX] = cell_money(s->e.mix);
    c[VARIANCE_EFFICIENCY] = cell_money(s->e.efficiency);
    c[VARIANCE_PRICE] = cell_money(s->e.price);
}

/* ---- pairing the two answers --------------------------------------------------------------- */

static int values_cmp(const struct ledger_row *a, const struct ledger_row *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int c = strv_cmp(a->value[i], b->value[i]);
        if (c)
            return c;
    }
    return 0;
}

static struct variance_side side_of(const struct ledger_row *row)
{
    if (!row)
        return (struct variance_side){0};
    return (struct variance_side){row->sums.priced, row->sums.cost, row->meters};
}

struct walk {
    const struct ledger_rows *base, *now;
    size_t b, n, n_by, n_all;
};

/* The next scope: rows of both answers with the same values of the report's fields. */
static bool next_scope(struct walk *w, struct variance_model *models, struct scope *out)
{
    const struct ledger_row *first;
    size_t n_models = 0;

    if (w->b == w->base->n && w->n == w->now->n)
        return false;
    first = w->b < w->base->n ? &w->base->at[w->b] : NULL;
    if (w->n < w->now->n && (!first || values_cmp(&w->now->at[w->n], first, w->n_by) < 0))
        first = &w->now->at[w->n];
    *out = (struct scope){.row = first};
    for (;;) {
        const struct ledger_row *b = w->b < w->base->n ? &w->base->at[w->b] : NULL;
        const struct ledger_row *n = w->n < w->now->n ? &w->now->at[w->n] : NULL;
        int c;

        if (b && values_cmp(b, first, w->n_by) != 0)
            b = NULL;
        if (n && values_cmp(n, first, w->n_by) != 0)
            n = NULL;
        if (!b && !n)
            break;
        c = b && n ? values_cmp(b, n, w->n_all) : b ? -1 : 1;
        b = c <= 0 ? b : NULL;
        n = c >= 0 ? n : NULL;
        models[n_models++] = (struct variance_model){side_of(b), side_of(n)};
        out->base_requests += b ? b->sums.requests : 0;
        out->requests += n ? n->sums.requests : 0;
        w->b += b != NULL;
        w->n += n != NULL;
    }
    variance_of(models, n_models, &out->e);
    return true;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static int by_change(const void *a, const void *b)
{
    const struct scope *x = a, *y = b;
    money_int p = x->e.now.atto - x->e.base.atto, q = y->e.now.atto - y->e.base.atto;

    p = p < 0 ? -p : p;
    q = q < 0 ? -q : q;
    if (p != q)
        return p < q ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

static enum rc put_row(struct run *run, const struct scope *s, size_t keys, bool is_plan)
{
    struct drill d;
    struct cell *c;
    enum rc rc = sheet_row(&run->sheet, &c);

    drill_start(&d, run);
    d.is_exact = s->row != NULL;
    for (size_t i = 0; rc == RC_OK && i < keys; i++) {
        rc = s->row ? run_value(run, s->row->value[i], &c[i])
                    : sheet_text(&run->sheet, STRV("(other)"), &c[i]);
        if (s->row)
            drill_add(&d, run->params->by[i], LEDGER_EQ, s->row->value[i]);
    }
    if (rc != RC_OK)
        return rc;
    scope_cells(s, is_plan, c + keys);
    return drill_cell(run, &d, &c[run->lines]);
}

/* rest: what is left out already, as one scope; NULL: nothing is. */
static enum rc put_rows(struct run *run, struct scope *scopes, size_t n, const struct scope *rest,
                        bool is_plan)
{
    struct scope total = {0}, other = {0};
    size_t keys, top = rest ? 0 : run->params->top;
    enum rc rc = RC_OK;

    keys = run_key_columns(run);
    variance_columns(&run->sheet);
    drill_column(run);
    if (n)
        qsort(scopes, n, sizeof(*scopes), by_change);
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        scope_add(&total, &scopes[i]);
        if (top && keys && i >= top)
            scope_add(&other, &scopes[i]);
        else
            rc = put_row(run, &scopes[i], keys, is_plan);
    }
    if (rest) {
        scope_add(&total, rest);
        other = *rest;
    }
    if (rc == RC_OK && (rest || (top && keys && n > top))) {
        rc = put_row(run, &other, keys, is_plan);
        run->n_others = 1;
    }
    scope_cells(&total, is_plan, run->sheet.total + keys);
    return rc == RC_OK ? drill_total(run) : rc;
}

/* ---- the scopes that changed most ---------------------------------------------------------- */

enum { VARIANCE_VALUES_MAX = 512 }; /* of a condition; scopes of more are read with all others */

/* What a scope's cost changed by. */
struct change {
    const struct ledger_row *row; /* of either period */
    money_int by;
};

struct chosen {
    struct ledger_rows base, now; /* by the report's fields: costs alone */
    struct change *at;            /* those that changed most, in order of their values */
    size_t n, n_by;
    bool leaves_out;        /* there are more, too many to explain each */
    struct strv *values;    /* of one field, that they have */
    size_t n_values, field; /* 0: not to be asked for by these */
};

static int most_first(const void *a, const void *b, void *n_by)
{
    const struct change *x = a, *y = b;
    money_int p = x->by < 0 ? -x->by : x->by, q = y->by < 0 ? -y->by : y->by;

    if (p != q)
        return p < q ? 1 : -1;
    return values_cmp(x->row, y->row, *(const size_t *)n_by);
}

static int by_values(const void *a, const void *b, void *n_by)
{
    return values_cmp(((const struct change *)a)->row, ((const struct change *)b)->row,
                      *(const size_t *)n_by);
}

static void pair_costs(struct chosen *c)
{
    size_t b = 0, n = 0;

    c->at = xcalloc(c->base.n + c->now.n + 1, sizeof(*c->at));
    while (b < c->base.n || n < c->now.n) {
        const struct ledger_row *base = b < c->base.n ? &c->base.at[b] : NULL;
        const struct ledger_row *now = n < c->now.n ? &c->now.at[n] : NULL;
        int order = !base ? 1 : !now ? -1 : values_cmp(base, now, c->n_by);
        struct change *to = &c->at[c->n++];

        *to = (struct change){.row = order > 0 ? now : base};
        if (order <= 0)
            to->by -= c->base.at[b++].sums.cost.atto;
        if (order >= 0)
            to->by += c->now.at[n++].sums.cost.atto;
    }
}

static int text_cmp(const void *a, const void *b)
{
    return strv_cmp(*(const struct strv *)a, *(const struct strv *)b);
}

/* By users there are more scopes than by customers, and by these than by all else. */
static void choose_field(const struct run *run, struct chosen *c)
{
    static const enum ledger_field_id many[] = {FIELD_CUSTOMER, FIELD_USER, FIELD_TASK};
    const struct report_params *p = run->params;

    for (size_t k = 0; k < sizeof(many) / sizeof(*many); k++) {
        for (size_t i = 0; i < p->n_by; i++)
            c->field = p->by[i].id == many[k] ? i : c->field;
    }
    c->values = xcalloc(c->n + 1, sizeof(*c->values));
    for (size_t i = 0; i < c->n; i++)
        c->values[i] = c->at[i].row->value[c->field];
    qsort(c->values, c->n, sizeof(*c->values), text_cmp);
    for (size_t i = 0; i < c->n; i++) {
        if (c->n_values == 0 || !strv_eq(c->values[c->n_values - 1], c->values[i]))
            c->values[c->n_values++] = c->values[i];
    }
    if (c->n_values > VARIANCE_VALUES_MAX || p->n_where == LEDGER_CONDITIONS_MAX)
        c->n_values = 0;
}

static enum rc choose(struct run *run, struct chosen *c)
{
    const struct report_params *p = run->params;
    size_t max = run->sources->variance_scopes;
    enum rc rc = RC_OK;

    *c = (struct chosen){.n_by = p->n_by};
    if (p->top == 0 || p->n_by == 0)
        return RC_OK;
    rc = run_both_sums(run, LEDGER_COST_ALONE, run->against_from_us, run->against_to_us, &c->base,
                       &c->now);
    if (rc != RC_OK)
        return rc;
    pair_costs(c);
    c->leaves_out = c->n > p->top && c->n > (max ? max : VARIANCE_SCOPES_MAX);
    if (!c->leaves_out)
        return RC_OK;
    qsort_r(c->at, c->n, sizeof(*c->at), most_first, &c->n_by);
    c->n = p->top;
    qsort_r(c->at, c->n, sizeof(*c->at), by_values, &c->n_by);
    choose_field(run, c);
    return RC_OK;
}

static void chosen_release(struct chosen *c)
{
    ledger_rows_release(&c->base);
    ledger_rows_release(&c->now);
    free(c->at);
    free(c->values);
}

static bool is_chosen(const struct chosen *c, const struct ledger_row *row)
{
    size_t low = 0, high = c->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = values_cmp(c->at[middle].row, row, c->n_by);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- all the others, as one scope ---------------------------------------------------------- */

static const enum ledger_field_id of_model[MODEL_FIELDS] = {FIELD_UPSTREAM, FIELD_MODEL,
                                                            FIELD_SERVICE_TIER};

/* The row of a model that a row by more fields is of; NULL: none. */
static struct ledger_row *model_of(const struct ledger_rows *all, const struct report_params *p,
                                   const struct ledger_row *row)
{
    for (size_t i = 0; i < all->n; i++) {
        bool is_same = true;

        for (size_t k = 0; k < p->n_by; k++) {
            for (size_t m = 0; m < MODEL_FIELDS; m++)
                is_same &= p->by[k].id != of_model[m] ||
                           strv_eq(row->value[k], all->at[i].value[m]);
        }
        if (is_same)
            return &all->at[i];
    }
    return NULL;
}

/* Takes rows of the chosen scopes out of those of all by model; drops the rows of others. */
static enum rc take_out(struct run *run, const struct chosen *c, struct ledger_rows *rows,
                        struct ledger_rows *all)
{
    size_t n = 0;

    for (size_t i = 0; i < rows->n; i++) {
        const struct ledger_row *row = &rows->at[i];
        struct ledger_row *from;

        if (!is_chosen(c, row))
            continue;
        from = model_of(all, run->params, row);
        if (!from || from->sums.requests < row->sums.requests) {
            run->fail = (struct fail){.rc = RC_STATE, .doing = "add up a damaged ledger"};
            return RC_STATE;
        }
        ledger_sums_take(&from->sums, &row->sums);
        for (unsigned m = 0; m < METER_COUNT; m++) {
            from->meters[m].quantity -= row->meters[m].quantity;
            from->meters[m].amount = money_sub(from->meters[m].amount, row->meters[m].amount);
        }
        rows->at[n++] = *row;
    }
    rows->n = n;
    return RC_OK;
}

/* What is left out: of both periods by model, less what is shown. */
static enum rc rest_of(struct run *run, const struct chosen *c, struct ledger_rows *base,
                       struct ledger_rows *now, struct scope *out)
{
    struct report_params *p = run->params;
    struct ledger_rows all_base = {0}, all_now = {0};
    struct variance_model *models = NULL;
    struct report_params as = *p;
    struct walk walk;
    enum rc rc;

    p->n_by = 0;
    p->n_where -= c->n_values > 0;
    rc = run_also_by(run, of_model, MODEL_FIELDS);
    if (rc == RC_OK)
        rc = run_sums_of(run, VARIANCE_WANT, run->against_from_us, run->against_to_us, &all_base);
    if (rc == RC_OK)
        rc = run_sums(run, VARIANCE_WANT, &all_now);
    *p = as;
    if (rc == RC_OK)
        rc = take_out(run, c, base, &all_base);
    if (rc == RC_OK)
        rc = take_out(run, c, now, &all_now);
    models = xcalloc(all_base.n + all_now.n + 1, sizeof(*models));
    walk = (struct walk){&all_base, &all_now, 0, 0, 0, MODEL_FIELDS};
    *out = (struct scope){.row = NULL};
    if (rc == RC_OK && next_scope(&walk, models, out))
        out->row = NULL;
    free(models);
    ledger_rows_release(&all_base);
    ledger_rows_release(&all_now);
    return rc;
}

/* ---- against another period ------------------------------------------------------------------ */

/* Both periods by the report's fields and model: of the chosen scopes, where others are one. */
static enum rc ask_rows(struct run *run, const struct chosen *c, struct ledger_rows *base,
                        struct ledger_rows *now, struct scope *rest)
{
    struct report_params *p = run->params;
    enum rc rc;

    if (c->n_values)
        p->where[p->n_where++] =
            (struct ledger_condition){p->by[c->field], LEDGER_EQ, c->values, c->n_values};
    rc = run_also_by(run, of_model, MODEL_FIELDS);
    if (rc == RC_OK)
        rc = run_both_sums(run, VARIANCE_WANT, run->against_from_us, run->against_to_us, base, now);
    if (rc == RC_OK && c->leaves_out)
        rc = rest_of(run, c, base, now, rest);
    p->n_where -= c->n_values > 0;
    return rc;
}

static enum rc against_period(struct run *run)
{
    struct report_params *p = run->params;
    size_t n_by = p->n_by, n = 0;
    struct ledger_rows base = {0}, now = {0};
    struct variance_model *models = NULL;
    struct scope *scopes = NULL, scope, rest;
    struct chosen chosen;
    struct walk walk;
    enum rc rc = choose(run, &chosen);

    if (rc == RC_OK)
        rc = ask_rows(run, &chosen, &base, &now, &rest);
    walk = (struct walk){&base, &now, 0, 0, n_by, p->n_by};
    p->n_by = n_by;
    if (rc == RC_OK) {
        models = xcalloc(base.n + now.n + 1, sizeof(*models));
        scopes = xcalloc(base.n + now.n + 1, sizeof(*scopes));
        while (next_scope(&walk, models, &scope))
            scopes[n++] = scope;
        rc = put_rows(run, scopes, n, chosen.leaves_out ? &rest : NULL, false);
    }
    free(models);
    free(scopes);
    ledger_rows_release(&base);
    ledger_rows_release(&now);
    chosen_release(&chosen);
    return rc;
}

/* ---- against the plan --------------------------------------------------------------------------- */

struct planned {
    struct strv team;
    struct money amount;
};

/* Plans of months that lie wholly in the period, of the teams asked for; their number. */
static size_t plans_of(const struct run *run, const struct books_table *t, struct planned *out)
{
    const struct report_params *p = run->params;
    size_t n = 0;

    for (size_t r = 0; r < t->csv.n_rows; r++) {
        struct strv team = books_field(t, BOOKS_PLAN, r, "team");
        struct money amount;
        int64_t from_us, to_us;

        if (!books_when(p->zone, books_field(t, BOOKS_PLAN, r, "month"), &from_us, &to_us) ||
            from_us < p->from_us || to_us > p->to_us || !run_wants(run, FIELD_TEAM, team) ||
            money_parse(books_field(t, BOOKS_PLAN, r, "amount_usd"), &amount) != RC_OK)
            continue;
        out[n++] = (struct planned){team, amount};
    }
    return n;
}

/* Adds the plans to the scopes of their teams; a team that spent nothing is a scope too. */
static size_t add_plans(const struct run *run, const struct planned *plans, size_t n_plans,
                        struct ledger_row *rows, struct strv *names, struct scope *scopes,
                        size_t n)
{
    bool by_team = run->params->n_by > 0;

    for (size_t i = 0; i < n_plans; i++) {
        size_t at = 0;

        while (at < n && by_team && !strv_eq(scopes[at].row->value[0], plans[i].team))
            at++;
        if (at == n) {
            names[i] = plans[i].team;
            rows[i].value = &names[i];
            scopes[n++] = (struct scope){.row = &rows[i]};
        }
        scopes[at].e.base = money_add(scopes[at].e.base, plans[i].amount);
    }
    for (size_t i = 0; i < n; i++)
        scopes[i].e.unexplained = money_sub(scopes[i].e.now, scopes[i].e.base);
    return n;
}

static enum rc plan_words(struct run *run)
{
    const struct report_params *p = run->params;

    if (p->n_by > 1 || (p->n_by == 1 && p->by[0].id != FIELD_TEAM))
        return run_refuses(run, "by", "a plan is by team");
    for (size_t i = 0; i < p->n_where; i++) {
        if (p->where[i].field.id != FIELD_TEAM)
            return run_refuses(run, "where", "a plan is by team");
    }
    return RC_OK;
}

static enum rc against_plan(struct run *run)
{
    struct books_table table = {0};
    struct ledger_rows rows = {0};
    struct ledger_row *extra = NULL;
    struct planned *plans = NULL;
    struct scope *scopes = NULL;
    struct strv *names = NULL;
    size_t n_plans, n = 0;
    enum rc rc = plan_words(run);

    if (rc == RC_OK)
        rc = books_read(run->sources->state_dir, BOOKS_PLAN, &table, &run->fail);
    if (rc == RC_OK)
        rc = run_sums(run, 0, &rows);
    if (rc != RC_OK)
        goto out;
    n_plans = table.csv.n_rows;
    plans = xcalloc(n_plans + 1, sizeof(*plans));
    names = xcalloc(n_plans + 1, sizeof(*names));
    extra = xcalloc(n_plans + 1, sizeof(*extra));
    scopes = xcalloc(rows.n + n_plans + 1, sizeof(*scopes));
    for (size_t i = 0; i < rows.n; i++)
        scopes[n++] = (struct scope){.row = &rows.at[i],
                                     .requests = rows.at[i].sums.requests,
                                     .e.now = rows.at[i].sums.cost};
    n_plans = plans_of(run, &table, plans);
    n = add_plans(run, plans, n_plans, extra, names, scopes, n);
    run->note = "Against the imported plan of the months that lie wholly in the period.";
    rc = put_rows(run, scopes, n, NULL, true);
out:
    free(plans);
    free(names);
    free(extra);
    free(scopes);
    ledger_rows_release(&rows);
    books_release(&table);
    return rc;
}

enum rc report_variance(struct run *run)
{
    bool is_plan = strv_eq(run->params->against, STRV("plan"));
    enum rc rc;

    if (run->params->grain != PERIOD_TOTAL)
        return run_refuses(run, "grain", "it compares two periods as a whole");
    if (run->params->has_cohort)
        return run_refuses(run, "cohort", "it is a word of tasks");
    if (is_plan)
        return against_plan(run);
    rc = run_against(run);
    return rc == RC_OK ? against_period(run) : rc;
}
