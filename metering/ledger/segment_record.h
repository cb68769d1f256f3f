/*
 * segment_record.h - records of a segment's entries, whole or in parts (journal.h).
 *
 * What records share is read where the first entry names it, by its place in the file, and
 * kept beside the segment: SEGMENT_COMMONS of them, then the memory is emptied.  So nothing
 * depends on what was read before, and what was passed over is not taken for another.
 */
#ifndef METERING_LEDGER_SEGMENT_RECORD_H
#define METERING_LEDGER_SEGMENT_RECORD_H

#include "metering/ledger/record_common.h"
#include "metering/ledger/segment.h"

enum { SEGMENT_COMMONS = 1024, SEGMENT_COMMONS_FULL = 768 };

/*
 * The parts of a BEGIN's or END's record; views live until the next entry is read, and id is
 * empty where it is whole.  RC_BAD: in no form that is known, or what it shares is not where it
 * says; RC_IO with fail: that cannot be read now.
 */
enum rc segment_record(struct segment *s, const struct segment_entry *entry,
                       struct stored_record *out, struct fail *fail) RC_MUST;
/* The same without what it shares, which is not looked for: for record_decode_id_own. */
enum rc segment_record_own(const struct segment_entry *entry, struct stored_record *out) RC_MUST;

#endif
