/*
 * record_common.h - a record in parts: its id, what it shares with many others, and the rest.
 *
 * Requests of one key, model and price differ in times, counts and cost; what else their
 * stored form holds, more than half of it, is the same bytes.  Those stand once: in the ledger
 * in the table `common`, and record.common names them, in the journal in an entry that others
 * name (segment_record.h).  A record without it is whole: those of ledgers of before version 8,
 * and of the journal those that share nothing.
 */
#ifndef METERING_LEDGER_RECORD_COMMON_H
#define METERING_LEDGER_RECORD_COMMON_H

#include "base/buf.h"
#include "base/rc.h"
#include "metering/ledger/db.h"
#include "metering/ledger/record.h"

/* All borrowed. */
struct stored_record {
    struct strv id;     /* empty: own begins with it */
    struct strv common; /* empty: nothing is shared */
    struct strv own;
};

/* As the tables have them: a whole record holds its id itself. */
struct stored_record stored_record(struct strv id, struct strv common, struct strv own);

/*
 * The parts of a record as record_split would give them, without the whole; appended to out.
 * What is shared has at least one byte where any text or number of it is not empty.  As
 * record_encode.
 */
enum rc record_encode_common(const struct record *r, struct buf *out) RC_MUST;
enum rc record_encode_own(const struct record *r, struct buf *out) RC_MUST;

/*
 * The parts of a record; common and own are emptied and hold them, but the id, which stays in
 * bytes.  Two with the same common part are of one combination.  RC_BAD where fields are not in
 * order, or the first is no id, or the last not END; otherwise the record decodes if and only
 * if its parts do.  RC_LIMIT where a buffer has no room.
 */
enum rc record_split(struct strv bytes, struct buf *common, struct buf *own,
                     struct stored_record *out) RC_MUST;
/* The bytes that were split, appended to out. RC_BAD: no such parts; RC_LIMIT: no room. */
enum rc record_join(const struct stored_record *s, struct buf *out) RC_MUST;

/* As record_decode; views look into all parts. */
enum rc record_decode_stored(const struct stored_record *s, struct record *out) RC_MUST;
/* The same in two steps, of which the first may be kept; it sets no line. */
enum rc record_decode_common(struct strv common, struct record *out) RC_MUST;
enum rc record_decode_own(const struct stored_record *s, struct record *out) RC_MUST;
/* As record_decode_id; what is shared is not looked at. */
enum rc record_decode_id_own(const struct stored_record *s, struct record *out) RC_MUST;

/* What a question selects, and from where, to have records: three columns, of r and c. */
#define RECORD_COLUMNS  "r.id, r.body, iif(r.common IS NULL, x'', c.body)"
#define RECORD_TABLES "record r LEFT JOIN common c ON c.id=r.common"
/*
 * The record whose parts stand from column `at` on; views live as long as the row.  RC_BAD
 * where it does not decode, or what it shares is not there.
 */
enum rc record_of_row(sqlite3_stmt *row, int at, struct record *out) RC_MUST;
/* Its stored form as it was before it was split, appended to out. */
enum rc record_bytes_of_row(sqlite3_stmt *row, int at, struct buf *out) RC_MUST;

#endif
