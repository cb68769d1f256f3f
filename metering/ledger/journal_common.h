/*
 * journal_common.h - what a writer remembers of what the records of its segment share.
 *
 * A record goes whole where nothing like it was seen lately; from the second one on what is
 * shared is an entry of its own, and the others name it by how far before them it stands.  It
 * is said again in every segment, and after JOURNAL_COMMON_REACH bytes: so a segment is read by
 * itself, and an entry that is damaged costs no more than what stands that close behind it.
 *
 * JOURNAL_COMMONS are remembered; what is new takes the place of one that was seen once, or
 * else of the one that was said longest ago.
 */
#ifndef METERING_LEDGER_JOURNAL_COMMON_H
#define METERING_LEDGER_JOURNAL_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"

enum {
    JOURNAL_COMMONS = 1024,
    JOURNAL_COMMON_PROBES = 8, /* places that one may have among them */
};

struct journal_common {
    uint32_t hash;
    uint32_t n;     /* bytes; 0: a free place */
    uint64_t at;    /* where its entry starts, counted over all segments; 0: not said yet */
    char *bytes;    /* NULL: seen once */
};

struct journal_commons {
    struct journal_common *at; /* JOURNAL_COMMONS, made with the first record */
};

void journal_commons_release(struct journal_commons *c);

/*
 * The place of what a record shares (at least one byte), which is seen now.  NULL: for the
 * first time since long, so that the record goes whole.  Valid until the next call; whoever
 * says it notes where.
 */
struct journal_common *journal_common_seen(struct journal_commons *c, struct strv bytes);

#endif
