/*
 * read_plain.h - of the reader: sums of requests as nearly all are, side by side by row.
 *
 * Plain is a request with a price as it should be and usage as its provider said, that cost what
 * it lists for: all that is shown of it is one request, its cost and its tokens.  These of a row
 * lie in one line of the processor's cache, and columns are added as they are stored, without a
 * pass for each field.
 */
#ifndef METERING_LEDGER_READ_PLAIN_H
#define METERING_LEDGER_READ_PLAIN_H

#include "metering/ledger/read_fact_pick.h"

struct plain;

/* Whether an answer wants no more than is known of plain requests. */
bool plain_can(unsigned want);
struct plain *plain_new(const struct fact_pick *p, unsigned want);
/* NULL is nothing. */
void plain_free(struct plain *g);
/* Room for rows 0 to cap - 1. */
void plain_make_room(struct plain *g, size_t cap);
/*
 * Adds the plain ones of the requests that are picked, which then are not any more; how many still
 * are: those are to be added one by one.  What fails is noted in p->facts.
 */
size_t plain_take(struct plain *g, struct fact_pick *p);
/* Adds all of it to the first n rows of sums, which has room for them. */
void plain_give(const struct plain *g, struct row_sums *sums, size_t n);

#endif
