/*
 * variance.h - why a cost is not what it was: pure, without a ledger.
 *
 * The change from a base period is split without remainder:
 *   volume      more or fewer requests, at the base's mix, tokens and prices
 *   mix         other models, at the base's cost per request of each; a model that the
 *               base lacks is mix throughout
 *   efficiency  other quantities per request (tokens, searches), at the base's prices;
 *               a meter that the model's base lacks is efficiency throughout
 *   price       other prices for the same quantities
 *   unexplained what no cost line of the requests accounts for
 * Requests are those that have a price.  Where the base has none of a scope, all is
 * volume.
 */
#ifndef REPORTS_VARIANCE_H
#define REPORTS_VARIANCE_H

#include <stddef.h>
#include <stdint.h>

#include "metering/ledger/sums.h"
#include "pricing/money.h"

/* What a model was used for in one period; all zero where it was not. */
struct variance_side {
    uint64_t requests; /* priced */
    struct money cost;
    const struct ledger_meter_sum *meters; /* METER_COUNT of them; NULL: not used */
};

struct variance_model {
    struct variance_side base, now;
};

struct variance_effects {
    struct money base, now;
    struct money volume, mix, efficiency, price, unexplained; /* sum to now - base (asserted) */
};

/* Of one scope: all its models, in either period. */
void variance_of(const struct variance_model *models, size_t n, struct variance_effects *out);

#endif
