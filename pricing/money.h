/*
 * money.h - amounts and rates of US dollars, exact.
 *
 * An amount is a whole number of atto-USD (10^-18 dollars) in 128 bits: every
 * list, tier, region and contract rate is a whole number at that scale and at no
 * coarser one.  Stored as two 64-bit integers (nano-USD and the atto-USD below),
 * written as a decimal string.  No floating point anywhere.
 */
#ifndef PRICING_MONEY_H
#define PRICING_MONEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"

__extension__ typedef __int128 money_int;

struct money {
    money_int atto;
};

enum { MONEY_TEXT = 48 }; /* any amount as text, terminator included */

#define MONEY_ZERO    ((struct money){0})
#define ATTO_PER_NANO INT64_C(1000000000)
#define NANO_PER_USD  INT64_C(1000000000)

static inline struct money money_add(struct money a, struct money b)
{
    return (struct money){a.atto + b.atto};
}
static inline struct money money_sub(struct money a, struct money b)
{
    return (struct money){a.atto - b.atto};
}
static inline int money_cmp(struct money a, struct money b)
{
    return (a.atto > b.atto) - (a.atto < b.atto);
}
static inline bool money_is_zero(struct money a)
{
    return a.atto == 0;
}

/* rate x n; RC_LIMIT where the product does not fit. */
enum rc money_mul(struct money rate, uint64_t n, struct money *out) RC_MUST;

/*
 * "-12.000000000000000001": optional sign, digits, optional fraction.  RC_BAD
 * for anything else and for more than 18 significant decimals (trailing zeros do
 * not count); RC_LIMIT beyond +-10^19 dollars.
 */
enum rc money_parse(struct strv text, struct money *out) RC_MUST;
/* Shortest exact decimal: "0", "0.00042", "-3.5". Returns its length. */
size_t money_format(struct money m, char out[MONEY_TEXT]);

/* As two integers: nano floored, 0 <= rest < 10^9 atto. Fits for |m| < 9.2 billion dollars and
 * saturates beyond. */
void money_split(struct money m, int64_t *nano, int64_t *rest);
struct money money_join(int64_t nano, int64_t rest);
/* Whole nano-USD, rounded up: what a limit counts. Saturates at INT64_MAX. */
int64_t money_ceil_nano(struct money m);

#endif
