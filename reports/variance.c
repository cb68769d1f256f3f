/*
 * variance.c - see variance.h.
 *
 * Each effect is the difference of two neighbours in a row of totals that leads from the
 * base to now, so they add up whatever is rounded on the way.
 */
#include "reports/variance.h"

#include "base/check.h"
#include "reports/sheet.h"

/* The model's quantities of now at the prices of the base. */
static money_int at_base_prices(const struct variance_model *m)
{
    money_int sum = 0;

    for (unsigned i = 0; m->now.meters && i < METER_COUNT; i++) {
        const struct ledger_meter_sum *now = &m->now.meters[i];
        const struct ledger_meter_sum *base = m->base.meters ? &m->base.meters[i] : NULL;

        if (base && base->quantity > 0)
            sum += scale_even(base->amount.atto, now->quantity, base->quantity);
        else
            sum += now->amount.atto;
    }
    return sum;
}

static money_int by_lines(const struct variance_side *s)
{
    money_int sum = 0;

    for (unsigned i = 0; s->meters && i < METER_COUNT; i++)
        sum += s->meters[i].amount.atto;
    return sum;
}

void variance_of(const struct variance_model *models, size_t n, struct variance_effects *out)
{
    uint64_t requests_base = 0, requests_now = 0;
    money_int base = 0, now = 0, scaled, mixed = 0, used = 0, priced = 0;

    for (size_t i = 0; i < n; i++) {
        const struct variance_model *m = &models[i];

        requests_base += m->base.requests;
        requests_now += m->now.requests;
        base += m->base.cost.atto;
        now += m->now.cost.atto;
        mixed += m->base.requests
                     ? scale_even(m->base.cost.atto, m->now.requests, m->base.requests)
                     : m->now.cost.atto;
        used += m->base.requests ? at_base_prices(m) : by_lines(&m->now);
        priced += by_lines(&m->now);
    }
    *out = (struct variance_effects){.base = {base}, .now = {now}};
    if (requests_base == 0 || requests_now == 0) {
        out->volume.atto = now - base;
        return;
    }
    scaled = scale_even(base, requests_now, requests_base);
    out->volume.atto = scaled - base;
    out->mix.atto = mixed - scaled;
    out->efficiency.atto = used - mixed;
    out->price.atto = priced - used;
    out->unexplained.atto = now - priced;
    ASSERT(out->volume.atto + out->mix.atto + out->efficiency.atto + out->price.atto +
               out->unexplained.atto ==
           now - base);
}
