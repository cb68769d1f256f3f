/*
 * focus_shares.h - who bears the metered spend of pools, for FOCUS' split cost allocation.
 *
 * The ratios are those of the report `allocation` over the same period (allocation.h): a set
 * is a pool in a stretch of time with the same weights, and all rows of a set sum, bearer by
 * bearer, to what that report says, to the last digit.  Imported costs are in no FOCUS file:
 * they are on the files of whom they were paid to.
 */
#ifndef REPORTS_FOCUS_SHARES_H
#define REPORTS_FOCUS_SHARES_H

#include "reports/allocation.h"

enum { FOCUS_SETS_MAX = 1 << 16, FOCUS_SHARED_LINES_MAX = 1 << 26 };

struct focus_bearer {
    struct strv team; /* empty: nobody bears it */
    money_int weight; /* of the set's driver */
    money_int ratio;  /* of the pool, in 10^-12 */
    money_int borne;  /* so far, atto-USD */
};

struct focus_set {
    struct strv pool;
    int64_t from_us, to_us;
    enum allocation_method method;
    enum allocation_driver driver;
    struct focus_bearer *at;
    size_t n;
    money_int total; /* of the weights, above 0 */
    money_int taken; /* atto-USD that were shared out so far */
};

struct focus_shares;

/*
 * Reads pools, weights and who used what in the run's period, and which lines are a pool's; within
 * the reader's view.  NULL where that fails: run->error or run->fail says why.
 */
struct focus_shares *focus_shares_make(struct run *run);
void focus_shares_free(struct focus_shares *s);
/* The set that bears a line of the ledger, from 1; 0: it is in no pool. */
size_t focus_shares_of(const struct focus_shares *s, uint64_t seq);
/* By that number. */
struct focus_set *focus_shares_set(struct focus_shares *s, size_t number);

/* An amount of the set on its bearers: n parts, so that all amounts so far are shared exactly. */
void focus_set_share(struct focus_set *set, struct money amount, money_int *parts);
/* Anything else that adds up, by itself. */
void focus_set_part(const struct focus_set *set, money_int amount, money_int *parts);
/* "direct-tokens": AllocatedMethodId, as docs/reports.md describes them. */
const char *focus_set_method(const struct focus_set *set);
/* UsageUnit of its weights. */
const char *focus_set_unit(const struct focus_set *set);

#endif
