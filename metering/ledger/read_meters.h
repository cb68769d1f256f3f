/*
 * read_meters.h - of the reader: what requests were charged by meter, by row of an answer, from
 * columns (fact.h).
 */
#ifndef METERING_LEDGER_READ_METERS_H
#define METERING_LEDGER_READ_METERS_H

#include "metering/ledger/read_fact_pick.h"

struct meter_sums;

/* Of so few requests of a block the records are read sooner than its columns. */
enum { METERS_OF_FEW = 12 };

struct meter_sums *meter_sums_new(void);
/* NULL is nothing. */
void meter_sums_free(struct meter_sums *s);
/*
 * The requests that are picked of the block at hand; of those whose columns do not tell it the
 * records are read, and counted in line_rows of the answer.  What fails is noted in p->facts.
 */
void meter_sums_add_block(struct meter_sums *s, struct fact_pick *p);
/*
 * The same, and all else that the answer wants, from the records of the requests that are picked:
 * straight to their rows.
 */
void meters_add_records(struct fact_pick *p);
/* Adds all of it to the meters of the first n rows. */
void meter_sums_give(const struct meter_sums *s, struct ledger_row *rows, size_t n);

#endif
