/*
 * limit_spent.h - what the ledger says is spent of a limit now.
 *
 * One answer for the report on budgets and for counters that are set anew from the
 * ledger, so that both always agree.  Scopes are those of the limiter's own rules.
 * Knows nothing of live counters or reservations.
 */
#ifndef REPORTS_LIMIT_SPENT_H
#define REPORTS_LIMIT_SPENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/datetime.h"
#include "base/rc.h"
#include "base/zone.h"
#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"

enum {
    LIMIT_SPENT_COUNTERS_MAX = LIMIT_COUNTERS_MAX, /* of one limit; more is RC_LIMIT */
    LIMIT_SPENT_ARENA_BYTES = 256 << 20,           /* their scopes; more is RC_LIMIT */
};

struct limit_spent_question {
    struct ledger_reader *reader; /* within a view */
    const struct limit_set *set;
    const struct zone *zone; /* of calendar windows */
    int64_t now_us;          /* which windows are current */
    int64_t until_us;        /* lines that ended at or after it are left out; INT64_MAX: none */
};

/* The limit's window at now_us, as in limit_claim: rolling and concurrent ones 0 and 0. */
void limit_window_at(const struct limit_def *def, const struct zone *zone, int64_t now_us,
                     int64_t *start_us, int64_t *end_us);

/* "day", "60s", "running": the window as reports show it. */
void limit_window_text(const struct limit_def *def, char out[DATETIME_TEXT]);

/*
 * The question whose rows are of what a limit counts in [from, to), by when requests
 * ended: its matches are conditions, its matches and `per` the fields.  False where the ledger
 * cannot be asked (concurrent, or too many fields).  Views look into def.
 */
bool limit_question(const struct limit_def *def, int64_t from_us, int64_t to_us,
                    struct ledger_question *q);
/* Who a row of such an answer is of; views look into the row. */
void limit_subject(const struct ledger_question *q, const struct ledger_row *row,
                   struct subject *out);
/* What requests of these sums took of a limit, in its unit. */
uint64_t limit_taken(const struct limit_def *def, const struct ledger_sums *s);

/*
 * Calls fn once for each counter of limit i (below limit_set_count) that lines of its
 * current window touch, in order of scope: spent is in the limit's unit (USD: each request
 * rounded up to nano), reserved is 0, the scope is borrowed for the call.  A line belongs
 * to the window in which it started, as its reservation did.  known: false where the ledger
 * cannot be asked for this limit (concurrent, or too many dimensions); fn is not called then.
 * RC_LIMIT: more counters or rows than the maxima; else as ledger_read_sums.  On failure fn
 * was not called.
 */
enum rc limit_spent(const struct limit_spent_question *q, size_t i, limit_counter_fn *fn,
                    void *arg, bool *known, struct fail *fail) RC_MUST;

#endif
