/*
 * rebuild.h - counters that come back from the ledger before anything is admitted against zero.
 *
 * A new process with counters of its own, and a Redis that is new or was emptied, know
 * nothing of what the current windows have spent; the ledger does.  At start the main
 * thread sets them, before workers run; later a thread of this module does, whenever a
 * worker finds its Redis empty.  Until then Redis admits nothing and counters.on_failure
 * rules.  Reservations of requests that run are not restored: they count once settled.
 */
#ifndef PROXY_REBUILD_H
#define PROXY_REBUILD_H

#include <stddef.h>

#include "base/rc.h"

struct config;
struct rebuild;
struct server;

/*
 * Sets the counters where they are new (memory: always), then starts the thread that
 * Redis may need.  The ledger runs, workers do not yet.  What fails is logged; with Redis
 * the thread tries again.
 */
struct rebuild *rebuild_start(struct server *server);
/* From a worker: its Redis is empty. Cheap, may be called again and again. */
void rebuild_soon(struct rebuild *r);
/* NULL is legal. Waits for a rebuild under way; workers may be gone. */
void rebuild_stop(struct rebuild *r);

/*
 * For commands, where no gateway runs: sets the shared counters from the ledger, and those
 * that it knows nothing of to zero.  Blocks; *n: counters written.
 */
enum rc rebuild_offline(const struct config *config, size_t *n, struct fail *fail) RC_MUST;

#endif
