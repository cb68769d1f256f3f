/*
 * limit_denied.h - how many requests each counter of a limit refused in its window, by the ledger.
 *
 * The ledger counts refusals by key, team, feature and environment: of counters by other
 * fields nothing is known.
 */
#ifndef REPORTS_LIMIT_DENIED_H
#define REPORTS_LIMIT_DENIED_H

#include "reports/limit_spent.h"

/* Whether refusals of a limit are known by its counters: a calendar window, by known fields. */
bool limit_denied_knows(const struct limit_def *def);

typedef void limit_denied_fn(size_t limit, struct strv scope, uint64_t count, void *arg);
/*
 * Once for each counter that refused any in its current window; the scope is borrowed for the
 * call.  A refusal is in the ledger within some ten seconds.
 */
enum rc limit_denied(const struct limit_spent_question *q, limit_denied_fn *fn, void *arg,
                     struct fail *fail) RC_MUST;

#endif
