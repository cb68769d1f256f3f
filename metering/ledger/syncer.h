/*
 * syncer.h - the thread that brings the journal to the disk, by policy.
 *
 * Its lock guards the list of journals and is held while one is synced, so that a
 * journal which has been detached is no longer touched.  No worker takes it but to
 * attach and detach.
 */
#ifndef METERING_LEDGER_SYNCER_H
#define METERING_LEDGER_SYNCER_H

#include <stdint.h>

#include "base/rc.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"

struct syncer;

/* NULL with fail where the thread or its eventfd cannot be made. */
struct syncer *syncer_start(enum ledger_sync policy, int interval_ms, struct fail *fail);
/* Syncs once more, then ends the thread. Every journal has been detached. Legal on NULL. */
void syncer_stop(struct syncer *s);
void syncer_attach(struct syncer *s, struct journal *j);
void syncer_detach(struct syncer *s, struct journal *j);
/* Does not block. */
void syncer_wake(struct syncer *s);
void syncer_stats(struct syncer *s, uint64_t *syncs, uint64_t *failures);

#endif
