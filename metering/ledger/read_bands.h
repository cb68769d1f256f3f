/*
 * read_bands.h - of the reader: sums by token band where no rollup tells them.
 */
#ifndef METERING_LEDGER_READ_BANDS_H
#define METERING_LEDGER_READ_BANDS_H

#include "metering/ledger/read_int.h"

/*
 * Whether the question's bands are best asked for as rows of their own: rollups do not answer, and
 * of its rows nothing but sums and bands is wanted.
 */
bool bands_are_rows(const struct ledger_question *q);
/* Asks for these, and makes rows of the question of them: as ledger_read_sums says. */
enum rc bands_read(struct ledger_reader *r, const struct ledger_question *q,
                   struct ledger_rows *out, struct fail *fail) RC_MUST;

#endif
