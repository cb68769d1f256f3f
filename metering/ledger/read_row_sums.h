/*
 * read_row_sums.h - sums by row of an answer, a field at a time.
 *
 * Fields of one row fill a kilobyte, and requests of one block belong to thousands of rows: a
 * field of all rows is an array of its own while blocks are added, and is given to the rows at
 * the end.
 */
#ifndef METERING_LEDGER_READ_ROW_SUMS_H
#define METERING_LEDGER_READ_ROW_SUMS_H

#include "metering/ledger/ledger_read.h"

struct row_sums;

/* want: of enum ledger_want. */
struct row_sums *row_sums_new(unsigned want);
/* NULL is nothing. */
void row_sums_free(struct row_sums *g);
/* Room for rows 0 to cap - 1; arrays that were asked for before may have moved. */
void row_sums_make_room(struct row_sums *g, size_t cap);
/* Whether nobody looks at the field at this offset of struct ledger_sums. */
bool row_sums_spares(const struct row_sums *g, size_t offset);
/*
 * By row, of the field at this offset of struct ledger_sums; NULL where the answer spares it.
 * What is added must not wrap (row_sums_plus).
 */
uint64_t *row_sums_count(struct row_sums *g, size_t offset);
money_int *row_sums_amount(struct row_sums *g, size_t offset);

/* By row; least and most mean something where priced is not 0, which `priced` is to count. */
struct row_extremes {
    uint64_t *priced;
    money_int *least, *most;
};
/* False where the answer spares them: `priced` is a count as any other then. */
bool row_sums_extremes(struct row_sums *g, struct row_extremes *out);

/* Adds the sums of some to a row that there is room for, but for what is spared. */
void row_sums_add(struct row_sums *g, size_t row, const struct ledger_sums *some);

/* What was added of a field, by row; NULL: nothing was, or it is spared. */
const uint64_t *row_sums_got_count(const struct row_sums *g, size_t offset);
const money_int *row_sums_got_amount(const struct row_sums *g, size_t offset);
struct row_extremes row_sums_got_extremes(const struct row_sums *g);

/*
 * Adds what the first n rows of `from` have to rows to[0..n) of g, which has room for them; NULL: to
 * its first n.
 */
void row_sums_move(struct row_sums *g, const struct row_sums *from, const uint32_t *to, size_t n);
/* Adds all of it to the first n rows. */
void row_sums_give(const struct row_sums *g, struct ledger_row *rows, size_t n);
/* Adds what is of row i to *to[i], for the first n rows. */
void row_sums_give_each(const struct row_sums *g, struct ledger_sums *const *to, size_t n);
/* Adds the same to what is of all of them. */
void row_sums_give_total(const struct row_sums *g, size_t n, struct ledger_sums *total);

static inline uint64_t row_sums_plus(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static inline void row_sums_add_money(money_int *to, money_int n)
{
    money_int sum;

    *to = __builtin_add_overflow(*to, n, &sum)
              ? ledger_money_add((struct money){*to}, (struct money){n}).atto
              : sum;
}

#endif
