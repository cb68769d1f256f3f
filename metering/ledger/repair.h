/*
 * repair.h - makes anew what the ledger derives from its records.
 *
 * For a ledger whose audit disagrees: lines, rollups, sums of tasks, columns, days and tasks
 * that were added up.  Records are never changed, nor is what only the ledger knows: outcomes
 * of tasks, refusals, thresholds that were reached, sums of requests that are deleted.
 */
#ifndef METERING_LEDGER_REPAIR_H
#define METERING_LEDGER_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

struct ledger_repair {
    uint64_t records;    /* that all was made of */
    uint64_t unreadable; /* records that do not decode: they stay, and are in no sum */
};
/* Now and then; false: stop, as if it had not begun. */
typedef bool ledger_repair_fn(uint64_t records, void *arg);

/*
 * One transaction: whatever ends it early, the ledger is as before.  RC_DENIED where a gateway
 * runs, RC_EOF where told said stop.  Days and tasks are added up by the next gateway that runs,
 * in its pauses; answers are right before.
 */
enum rc ledger_repair(const char *database, const char *journal_dir, ledger_repair_fn *told,
                      void *arg, struct ledger_repair *out, struct fail *fail) RC_MUST;

#endif
