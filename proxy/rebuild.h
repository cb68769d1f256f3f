/*
 * rebuild.h - counters that come back from the ledger before anything is admitted against zero.
 *
 * An earlier process may have been killed before it told the counters all that it had spent; a
 * process with counters of its own, and a Redis that is new or was emptied, know nothing of it.
 * The ledger does.  At start the main thread settles what earlier processes left reserved and
 * sets this ledger's part of the counters, before workers run; later a thread of this module
 * does, whenever a worker finds that Redis has it not.  Until then Redis admits nothing and
 * counters.on_failure rules.  What Redis had reserved for requests that run is reserved again
 * with it.  Where the ledger cannot be opened yet, nothing is known, and limits that do not allow
 * refuse.
 *
 * A reload is the same for the limits that come with it (rebuild_ahead.c): they are set before the
 * configuration is in force.  Workers have it meanwhile as what is coming: they admit by the old
 * one, and charge what ends to the new limits too.
 */
#ifndef PROXY_REBUILD_H
#define PROXY_REBUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/rc.h"

struct config;
struct generation;
struct rebuild;
struct server;

/*
 * Sets the counters where they are new (memory: always), and notes what `local` goes on with; then
 * starts the thread that Redis may need.  Workers do not run yet.  What fails is logged, and the
 * thread tries again; so too where the ledger cannot be opened yet.  NULL, logged, where the
 * thread is needed and cannot be started.
 */
struct rebuild *rebuild_start(struct server *server);
/* From a worker: Redis waits for this ledger's part. Cheap, may be called again and again. */
void rebuild_soon(struct rebuild *r);
/*
 * From the main thread: sets the new limits of a generation (limit_set_follow) from the ledger, and
 * tries again until it is done, in place of what was given before.  NULL: nothing more is to
 * be set.  A worker's LETTER_RELOAD goes after this call.  False (logged): there is no thread for it.
 */
bool rebuild_ahead(struct rebuild *r, struct generation *generation);
/* What rebuild_ahead was given last is set. */
bool rebuild_ahead_is_set(struct rebuild *r);
/* NULL is legal. Waits for a rebuild under way; workers may be gone. */
void rebuild_stop(struct rebuild *r);

/*
 * For commands, where no gateway runs: sets this ledger's part of the shared counters.
 * Blocks; *n: counters written.
 */
enum rc rebuild_offline(const struct config *config, size_t *n, struct fail *fail) RC_MUST;

#endif
