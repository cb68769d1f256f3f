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
    struct ledger_meter_sum *at;
};
struct meter_sums;

/* Of so few requests of a block the records are read sooner than its columns. */
enum { METERS_OF_FEW = 12 };

struct meter_sums *meter_sums_new(void);
/* NULL is nothing. */
void meter_sums_free(struct meter_sums *s);
/*
 * The requests that are picked of the block at hand; of those whose columns do not tell it the
 * records are read.  What fails is noted in p->facts.
 */
void meter_sums_add_block(struct meter_sums *s, struct fact_pick *p);
/* The rows of a block of a cube that has meters, and are picked. */
void meter_sums_add_cube(struct meter_sums *s, struct fact_pick *p);
/* What was added of a meter. */
const struct meter_sum_of *meter_sums_of(const struct meter_sums *s, enum meter m);
/*
 * The same from the records of all that are picked, and their sums to `sums`: sooner where these are
 * few (METERS_OF_FEW).
 */
void meter_sums_add_records(struct meter_sums *s, struct fact_pick *p, struct row_sums *sums);
/* How many records were read. */
uint64_t meter_sums_records(const struct meter_sums *s);
/*
 * Adds what the first n rows of `from` have to rows to[0..n) of s, which then has room for cap of
 * them; NULL: to its first n.
 */
void meter_sums_move(struct meter_sums *s, const struct meter_sums *from, const uint32_t *to,
                     size_t n, size_t cap);
/* Adds what is of row i to to[i], METER_COUNT of them, for the first n rows; NULL: to nothing. */
void meter_sums_give_each(const struct meter_sums *s, struct ledger_meter_sum *const *to, size_t n);
/* Adds all of it to the meters of the first n rows. */
void meter_sums_give(const struct meter_sums *s, struct ledger_row *rows, size_t n);

#endif
