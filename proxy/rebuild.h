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
 */
#ifndef PROXY_REBUILD_H
#define PROXY_REBUILD_H

#include <stddef.h>

#include "base/rc.h"

struct config;
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
/* NULL is legal. Waits for a rebuild under way; workers may be gone. */
void rebuild_stop(struct rebuild *r);

/*
 * For commands, where no gateway runs: sets this ledger's part of the shared counters.
 * Blocks; *n: counters written.
 */
enum rc rebuild_offline(const struct config *config, size_t *n, struct fail *fail) RC_MUST;

#endif
