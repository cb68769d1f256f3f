/*
 * orphans.h - reservations that an earlier process of this node left in Redis.
 *
 * A process that is killed leaves what it had reserved: for requests that it had not yet
 * journalled, for those that it journalled and that are `interrupted` now, and for those
 * whose settlement was still on its way.  The ledger knows which: what it has a record of
 * is settled by that record, what it has none of was never sent to a provider and is
 * given back.  Ids tell whose they are: they carry a mark of the ledger and of the start.
 */
#ifndef PROXY_ORPHANS_H
#define PROXY_ORPHANS_H

#include <stdint.h>

#include "base/rc.h"

struct server;

/* The mark of this process' ids: 20 bits of node and ledger, 4 of the start. */
uint32_t orphans_mark(const char *node, int64_t installation, int64_t start);
/*
 * Has worker 0 settle what earlier processes of this ledger left.  Blocks: Redis and the
 * ledger are asked.  RC_IO where one does not answer: try again later.
 */
enum rc orphans_settle(struct server *s) RC_MUST;

#endif
