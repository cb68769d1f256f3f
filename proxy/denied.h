/*
 * denied.h - refusals added up: who was refused what, every ten seconds into the journal.
 *
 * A refusal costs nothing and is no record of spend, but teams ask what blocked
 * them.  One object a worker; the number of distinct rows between two flushes is
 * bounded, the rest is added up under the code alone.
 */
#ifndef PROXY_DENIED_H
#define PROXY_DENIED_H

#include <stdint.h>

#include "base/strv.h"
#include "base/tag.h"
#include "metering/ledger/journal.h"
#include "metering/usage/protocol.h"

enum { DENIED_ROWS_MAX = 1024, DENIED_FLUSH_US = 10 * 1000000 };

struct denied;

struct denied *denied_new(void);
void denied_free(struct denied *d);
/* Counts one. subject may be NULL (unknown caller); limit: the limit's name, or empty. */
void denied_add(struct denied *d, enum refusal code, const struct subject *subject,
                struct strv limit, int64_t now_us);
/* Journals and forgets the rows, if they are DENIED_FLUSH_US old or `now` is asked for. */
void denied_flush(struct denied *d, struct journal *journal, int64_t now_us, bool now);

#endif
