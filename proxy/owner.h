/*
 * owner.h - whose part of the shared counters is this gateway's, and what earlier processes of
 * it left reserved there.
 *
 * An owner is a ledger: what it holds is known to one gateway alone, which sets its own part of
 * each counter and leaves the others' as they are.  A process that is killed leaves what it had
 * reserved: for requests that it had not yet journalled, for those that it journalled and that
 * are `interrupted` now, for those whose settlement was on its way, and leases.  The ledger
 * knows which: what it has a record of is settled by that record, the rest is given back.
 */
#ifndef PROXY_OWNER_H
#define PROXY_OWNER_H

#include <stdint.h>

#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"

struct config;

enum { OWNER_TEXT = 17 };

/* The name of a ledger and its node; the node may be of any length. */
void owner_name(const char *node, int64_t installation, char out[OWNER_TEXT]);
/*
 * For commands: that of the configuration's ledger, and its last start. Blocks.  RC_STATE for books
 * that took in gateways' ledgers: these are nobody's part.
 */
enum rc owner_find(const struct config *config, char out[OWNER_TEXT], int64_t *start,
                   struct fail *fail) RC_MUST;
/*
 * Settles what earlier starts of options.owner left.  All that they journalled must be in the
 * ledger.  Blocks: Redis and the ledger are asked.  RC_IO where one does not answer.
 */
enum rc owner_adopt(const struct config *config, const struct limiter_options *options,
                    struct fail *fail) RC_MUST;

#endif
