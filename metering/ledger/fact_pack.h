/*
 * fact_pack.h - a column of whole numbers or amounts as it is stored, of whatever it is: blocks of
 * requests (fact.h), days (cube.h), tasks (tally.h).  It knows none of them.
 *
 * A column is the differences from its least value, in 0, 1, 2, 4 or 8 bytes each, behind a byte that
 * says in how many and the least value in 8 bytes, little endian.  Of amounts the least value has 16
 * bytes, and in 8 more stands what divides all differences and has been taken out of them; where they
 * are wider than 64 bits, they have 16 bytes each and nothing is taken out.
 */
#ifndef METERING_LEDGER_FACT_PACK_H
#define METERING_LEDGER_FACT_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"
#include "pricing/money.h"

enum { FACT_BLOCK = 4096 }; /* the most values that a column has */

/* n values (1..FACT_BLOCK), appended to out; RC_LIMIT: it has no room. */
enum rc fact_encode_numbers(const int64_t *v, size_t n, struct buf *out) RC_MUST;
enum rc fact_encode_amounts(const money_int *v, size_t n, struct buf *out) RC_MUST;

/* n values; hostile bytes are RC_BAD. */
enum rc fact_decode_numbers(struct strv bytes, size_t n, int64_t *out) RC_MUST;
enum rc fact_decode_amounts(struct strv bytes, size_t n, money_int *out) RC_MUST;

/* The same, of n places at[0..n) of a block of `of` values alone. */
enum rc fact_pick_numbers(struct strv bytes, size_t of, const uint16_t *at, size_t n,
                          int64_t *out) RC_MUST;
enum rc fact_pick_amounts(struct strv bytes, size_t of, const uint16_t *at, size_t n,
                          money_int *out) RC_MUST;

/* A column as differences that take no more than 32 bits: a value is least + unit * difference. */
struct fact_small {
    money_int least;
    uint64_t unit;
    bool is_level; /* all are the least: there are no differences */
};
/* RC_LIMIT: they take more. */
enum rc fact_decode_small(struct strv bytes, bool is_amount, size_t n, struct fact_small *head,
                          uint32_t *out) RC_MUST;

#endif
