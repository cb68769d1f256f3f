/*
 * chore.h - work that the ingest thread does in its pauses: when it is looked for again, also where
 * it failed.
 *
 * What failed is made again soon, then later and later, so that a disk that was full for a moment
 * delays nothing and one that is broken fills no log.  Belongs to one thread.
 */
#ifndef METERING_LEDGER_CHORE_H
#define METERING_LEDGER_CHORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

enum { CHORE_AGAIN_MS = 100, CHORE_AGAIN_MAX_MS = 60000 };

struct chore {
    int64_t at_us; /* monotonic: not before */
    int again_ms;  /* what was waited after the last failure; 0: it did not fail last */
};

bool chore_is_due(const struct chore *c);
/* Something is left of it, as far as is known: it was not looked for yet, goes on, or failed. */
bool chore_is_left(const struct chore *c);
/* Nothing is to do for that long; said where it had failed. */
void chore_rests(struct chore *c, int64_t us, const char *what);
/* Puts it off: CHORE_AGAIN_MS, then twice as long each time.  Says so at first, and once a minute. */
void chore_failed(struct chore *c, const char *what, const struct fail *fail);

#endif
