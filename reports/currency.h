/*
 * currency.h - other currencies as views of what is billed in dollars.
 *
 * The ledger is in dollars.  A document's total is converted at one recorded rate, rounded
 * once, half to even, to the currency's smallest coin, and shared out by largest remainder:
 * no line is ever converted on its own.
 */
#ifndef REPORTS_CURRENCY_H
#define REPORTS_CURRENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "pricing/money.h"
#include "reports/report_int.h"

enum {
    CURRENCY_CODE = 4,               /* with its terminator */
    CURRENCY_RATE_DIGITS_MAX = 18,   /* of a rate, all of them */
    CURRENCY_RATE_DECIMALS_MAX = 9,
    CURRENCY_RATE_AGE_MAX_DAYS = 31, /* before the period begins; an older rate is none */
};

/* Decimals of its smallest coin by ISO 4217 (JPY 0, USD 2, KWD 3); false: no such currency. */
bool currency_exponent(struct strv code, unsigned *out);
/* The known code that is nearest to a wrong one; NULL: none. */
const char *currency_nearest(struct strv code);

/* "0.9214": how much of it a dollar is, above 0, as num / den. */
struct currency_rate {
    uint64_t num, den; /* num below 10^18, den a power of ten up to 10^9 */
};
bool currency_rate_parse(struct strv text, struct currency_rate *out);

/* A currency, and the rate that a document of the run's period is converted at. */
struct currency {
    char code[CURRENCY_CODE];
    unsigned exponent;
    struct currency_rate rate;
    struct strv rate_text, date, source; /* live as long as the run's sheet */
};
/*
 * That of the word `currency` with the recorded rate of the newest day before the period ends
 * (at most CURRENCY_RATE_AGE_MAX_DAYS before it begins); of a closed month the rate that was
 * frozen with it.  RC_BAD with a sentence where there is none.
 */
enum rc currency_find(struct run *run, struct currency *out) RC_MUST;
/* The rates of a month that is being closed, one a currency, to be frozen as "rates". */
enum rc currency_rates_sheet(struct run *run, struct sheet *out) RC_MUST;

/* An amount of dollars (size below 10^30 atto) in whole smallest coins, rounded half to even. */
money_int currency_minor(const struct currency *c, money_int atto_usd);
/*
 * Smallest coins for each of n amounts of dollars that sum to minor, which is their sum in
 * the currency rounded either way: largest remainder, ties as round_to_sum.
 */
void currency_share(const struct currency *c, const money_int *atto_usd, size_t n,
                    money_int minor, money_int *out);
/* Atto-units of the currency in its smallest coin. */
money_int currency_coin(const struct currency *c);

/* Columns exchange_rate, rate_date and rate_source, the same in every row; after all others. */
void currency_columns(struct run *run, const struct currency *c);
/* The run's note, and the rate after it. */
enum rc currency_note(struct run *run, const struct currency *c) RC_MUST;

#endif
