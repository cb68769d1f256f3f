/*
 * correction.h - lines that correct the cost of earlier ones, which stay as they are.
 *
 * A correction is a record of its own (record.h): it names the record that it
 * corrects, why and by whom, and holds what is to be added to its cost, its list cost
 * and each meter's amount.  It stands in the same tables and sums as all lines, so
 * that every report's sums include it.  It belongs to the time of the record that it
 * corrects, or, where the books of that time are closed, to the moment at which the
 * open ones begin.  Limits are not told: they counted what was charged when it was.
 *
 * The id of a correction is made of the record and of how many corrections the record has, so
 * that of two that were made of the same charge, by one book or by two, the ledger takes the
 * first alone: both together would be a price of no book.  A correction that changes nothing is
 * not made.
 */
#ifndef METERING_LEDGER_CORRECTION_H
#define METERING_LEDGER_CORRECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "metering/ledger/ledger_read.h"
#include "metering/ledger/record.h"
#include "pricing/price.h"

/* What a record costs with all its corrections so far. */
struct charged {
    bool is_priced;
    struct money cost, list;
    struct money by_meter[METER_COUNT];
    uint64_t corrections;
};

/* Within a view; r is a record of the ledger and no correction. */
enum rc ledger_read_charged(struct ledger_reader *r, const struct record *record,
                            struct charged *out, struct fail *fail) RC_MUST;
/*
 * The line that makes `charged` into `cost`, of that book.  Views are those of the
 * record, the cost and the texts.  Books before closed_us are closed (INT64_MIN: none are).
 * False where it would change nothing, or where
 * the cost is not known (PRICE_NONE): what was charged stays.
 */
bool correction_make(const struct record *record, const struct charged *charged,
                     const struct cost *cost, struct strv book, struct strv reason,
                     struct strv by, int64_t closed_us, struct record *out);

/*
 * Writes corrections: into the database itself where no gateway runs (its lock is held
 * meanwhile), else into the journal of the one that does, which takes them a moment
 * later.  A batch is whole or not there; where the journal took a part of it and failed, some of
 * it may be.  The same again makes what is missing, and changes nothing else.
 */
struct corrector;

/* journal_dir and database as the gateway has them; NULL with fail. */
struct corrector *corrector_open(const char *database, const char *journal_dir,
                                 struct fail *fail);
/* True where a running gateway takes them. */
bool corrector_is_journal(const struct corrector *c);
/* Collects one; writes what was collected when there is much. */
enum rc corrector_add(struct corrector *c, const struct record *r, struct fail *fail) RC_MUST;
/* Writes all that was collected; it is durable then. What failed is dropped. */
enum rc corrector_flush(struct corrector *c, struct fail *fail) RC_MUST;
/* Legal on NULL; what was not flushed is dropped. */
void corrector_close(struct corrector *c);

#endif
