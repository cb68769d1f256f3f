/*
 * reconcile_class.c - which class a difference is in; see reconcile.h.
 */
#include <string.h>

#include "base/datetime.h"
#include "reports/reconcile.h"

enum { BOUNDARY_DAYS_MAX = 31 };

const char *reconcile_class_name(enum reconcile_class c)
{
    static const char *const names[RECONCILE_CLASSES] = {
        "matched", "rounding", "boundary",       "missing_in_ledger", "missing_at_provider",
        "price",   "tier",     "unmetered_type", "credit_tax",        "unexplained"};

    return names[c];
}

static money_int quantity_gap(const struct reconcile_cell *c)
{
    return c->has_quantity ? c->invoiced - c->metered : 0;
}

static money_int cost_gap(const struct reconcile_cell *c)
{
    return c->has_cost ? c->invoiced_cost.atto - c->metered_cost.atto : 0;
}

/* What moves over midnight: tokens where the file counts them, else dollars. */
static money_int gap(const struct reconcile_cell *c)
{
    return c->has_quantity ? quantity_gap(c) : cost_gap(c);
}

static bool same_series(const struct reconcile_cell *a, const struct reconcile_cell *b)
{
    return a->kind == INVOICE_USAGE && b->kind == INVOICE_USAGE &&
           a->token_class == b->token_class && strv_eq(a->account, b->account) &&
           strv_eq(a->model, b->model) && a->has_quantity == b->has_quantity;
}

/* The cell of the next day in the same series, or n. */
static size_t next_day(const struct reconcile *r, size_t i)
{
    int64_t day = r->at[i].day_us + US_PER_DAY;

    for (size_t k = i + 1; k < r->n && r->at[k].day_us <= day; k++) {
        if (r->at[k].day_us == day && same_series(&r->at[i], &r->at[k]))
            return k;
    }
    return r->n;
}

/*
 * Days in a row whose differences come to nothing: what one day lacks the next ones have.
 * Both sides must have used the days, else a day of calls past the gateway and one of
 * cancelled ones would cancel too.
 */
static void find_boundaries(struct reconcile *r, bool *done)
{
    for (size_t i = 0; i < r->n; i++) {
        size_t run[BOUNDARY_DAYS_MAX], n = 0, at = i;
        money_int sum = 0;
        if (done[i] || r->at[i].kind != INVOICE_USAGE || !r->at[i].has_day ||
            gap(&r->at[i]) == 0)
            continue;
        do {
            run[n++] = at;
            sum += gap(&r->at[at]);
            at = sum ? next_day(r, at) : r->n;
        } while (at < r->n && n < BOUNDARY_DAYS_MAX && !done[at] && gap(&r->at[at]) != 0);
        for (size_t k = 0; sum == 0 && k < n; k++) {
            r->at[run[k]].class = RECONCILE_BOUNDARY;
            done[run[k]] = true;
        }
    }
}

/* Below n lines times half of what the provider rounds to. */
static bool is_rounding(const struct reconcile *r, const struct reconcile_cell *c)
{
    money_int size = cost_gap(c) < 0 ? -cost_gap(c) : cost_gap(c);

    return size * 2 < r->unit.atto * (money_int)c->lines;
}

static enum reconcile_class class_of(const struct reconcile *r, const struct reconcile_cell *c)
{
    money_int quantity = quantity_gap(c), cost = cost_gap(c);

    if (c->kind == INVOICE_CREDIT_TAX)
        return RECONCILE_CREDIT_TAX;
    if (quantity == 0 && cost == 0 && c->lines > 0)
        return RECONCILE_MATCHED;
    if (c->lines == 0)
        return RECONCILE_MISSING_AT_PROVIDER;
    if (c->kind == INVOICE_UNMETERED || c->token_class == INVOICE_OTHER) {
        if (c->metered_cost.atto == 0)
            return RECONCILE_UNMETERED_TYPE;
        return is_rounding(r, c) ? RECONCILE_ROUNDING : RECONCILE_PRICE;
    }
    if (quantity != 0)
        return quantity > 0 ? RECONCILE_MISSING_IN_LEDGER : RECONCILE_MISSING_AT_PROVIDER;
    if (is_rounding(r, c))
        return RECONCILE_ROUNDING;
    if (c->metered == 0 && c->metered_cost.atto == 0)
        return RECONCILE_MISSING_IN_LEDGER;
    if (!c->has_quantity)
        return RECONCILE_UNEXPLAINED; /* dollars alone do not say why */
    if (c->invoiced_tier.n && !strv_eq(c->metered_tier, c->invoiced_tier))
        return RECONCILE_TIER;
    return RECONCILE_PRICE;
}

void reconcile_classify(struct reconcile *r)
{
    bool *done = arena_alloc(&r->arena, r->n + 1);

    if (!done)
        return;
    memset(r->by, 0, sizeof(r->by));
    for (size_t i = 0; i < r->n; i++) {
        struct reconcile_cell *c = &r->at[i];
        enum reconcile_class class = class_of(r, c);
        done[i] = class == RECONCILE_MATCHED || class == RECONCILE_ROUNDING ||
                  class == RECONCILE_PRICE || class == RECONCILE_TIER;
        c->class = class;
    }
    find_boundaries(r, done);
    for (size_t i = 0; i < r->n; i++)
        r->by[r->at[i].class] =
            money_add(r->by[r->at[i].class], (struct money){cost_gap(&r->at[i])});
}
