/*
 * allocation.h - shared costs on the teams that bear them.
 *
 * A pool is a cost that belongs to no single team: outside costs that were imported, and
 * metered spend that a condition chooses (feature=guardrail).  A pool is shared out
 *   direct        by what each team used: cost, requests or tokens
 *   proportional  by imported weights; where they change, the days before and after
 *                 are shared out each by their own
 *   fixed         in equal parts to the teams that have requests in the period
 * in whole 10^-18 dollars, by largest remainder: ties to the larger weight, then to the
 * earlier name.  What a team used itself stands beside it, so that the metered column
 * sums to the ledger.  A cost whose pool has no bearer is told as (unallocated).
 */
#ifndef REPORTS_ALLOCATION_H
#define REPORTS_ALLOCATION_H

#include "reports/books.h"
#include "reports/report_int.h"

enum {
    ALLOCATION_POOLS_MAX = 24, /* with a condition: each is one of the ledger's filter */
    ALLOCATION_ROWS_MAX = 500000,
    ALLOCATION_RATIO_UNITS_LOG10 = 12,
};

enum allocation_method { METHOD_OWN = 0, METHOD_DIRECT, METHOD_PROPORTIONAL, METHOD_FIXED };
enum allocation_driver { DRIVER_COST = 0, DRIVER_REQUESTS, DRIVER_TOKENS, DRIVER_WEIGHT,
                         DRIVER_TEAMS };

struct allocated {
    struct strv pool, team; /* team empty: requests without one; pool empty: its own */
    bool is_unallocated;
    int64_t from_us, to_us;
    enum allocation_method method;
    enum allocation_driver driver;
    money_int quantity, ratio; /* of the driver; of the pool, in 10^-12 */
    struct money metered, imported, remainder;
};

struct allocation {
    struct allocated *at;
    size_t n, cap;
    struct money metered, imported; /* all of them */
    size_t passed_over;             /* imported costs that the period only touches */
    struct books_table pools, costs, weights;
    struct arena arena;
};

/* The pools' conditions: lines in none of them, or in the nth and none before it. */
enum rc allocation_filter(const struct allocation *a, size_t nth, struct ledger_filter *out)
    RC_MUST;
/* Number of pools, for allocation_filter: one past the last chooses lines in none. */
size_t allocation_pools(const struct allocation *a);

/* All teams of the run's period, whatever its conditions. Release it also after a failure. */
enum rc allocation_make(struct run *run, struct allocation *out) RC_MUST;
void allocation_release(struct allocation *a);

const char *allocation_method_name(enum allocation_method method);
const char *allocation_driver_name(enum allocation_driver driver);

#endif
