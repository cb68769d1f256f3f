/*
 * read_meters.h - of the reader: what requests were charged by meter, by row of an answer, from
 * columns (fact.h).
 */
#ifndef METERING_LEDGER_READ_METERS_H
#define METERING_LEDGER_READ_METERS_H

#include "metering/ledger/read_fact_pick.h"

/* By row of an answer, of one meter. */
struct meter_sum_of {
    size_t cap; /* rows that there is room for; those behind have nothing */
    uint64_t *requests, *quantity;
    money_int *amount;
};
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
/* The rows of a block of a cube that has meters, and are picked. */
void meter_sums_add_cube(struct meter_sums *s, struct fact_pick *p);
/* What was added of a meter. */
const struct meter_sum_of *meter_sums_of(const struct meter_sums *s, enum meter m);
/*
 * As meter_sums_add_block, and all else that the answer wants, from the records of the requests that are picked:
 * straight to their rows.
 */
void meters_add_records(struct fact_pick *p);
/* Adds all of it to the meters of the first n rows. */
void meter_sums_give(const struct meter_sums *s, struct ledger_row *rows, size_t n);

#endif
