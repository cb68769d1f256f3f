/*
 * exact.h - 128-bit arithmetic that says when a result is not whole or does not fit.
 *
 * Multipliers of tiers, regions and contracts are fractions here, applied to
 * rates while a book is loaded.  No rounding but the one named so.
 */
#ifndef PRICING_EXACT_H
#define PRICING_EXACT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "pricing/money.h"

__extension__ typedef unsigned __int128 exact_uint;

enum {
    FACTOR_DECIMALS_MAX = 9,
    FACTOR_MAX = 1000, /* a multiplier above it is a mistake */
};

/* num / den in lowest terms; den is at least 1. */
struct factor {
    uint64_t num;
    uint64_t den;
};

#define FACTOR_ONE ((struct factor){1, 1})

/* a x b; false where it does not fit in 127 bits. */
bool exact_mul(exact_uint a, exact_uint b, exact_uint *out);
/* a / b to the nearest whole number, halves to even; b is not 0. Tells whether it was inexact.
 */
exact_uint exact_div_round(exact_uint a, exact_uint b, bool *inexact);
/*
 * "0.93", ".93", "1": a decimal of 0..FACTOR_MAX with at most FACTOR_DECIMALS_MAX
 * decimals.  RC_BAD for other text or more decimals, RC_LIMIT beyond the maximum.
 */
enum rc factor_parse(struct strv text, struct factor *out) RC_MUST;
/* a x b; false where it does not fit. */
bool factor_mul(struct factor a, struct factor b, struct factor *out);
/* amount x f, amount at least 0; false where the result is not whole or does not fit. */
bool factor_apply(money_int amount, struct factor f, money_int *out);

#endif
