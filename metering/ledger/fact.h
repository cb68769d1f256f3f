/*
 * fact.h - what sums need of single requests, by column: blocks of FACT_BLOCK records.
 *
 * A question that rollups cannot answer (by customer, user, task, free tag; exact
 * percentiles; ragged ends) reads a few bytes of each request from here, where the
 * record and its line would be some six hundred.  Everything can be made from those two
 * again, and is compared with them by the audit.
 *
 * A block holds records in the order of their numbers, each column packed (fact_pack.h).  What
 * is zero throughout is not stored.
 *
 * What a request was charged for stands in two columns a meter: the quantity, and what one unit of
 * it costs.  FACT_CHARGE says of which requests that is all there is to know; of the others, and of
 * all in blocks that an earlier version wrote, the record tells.
 */
#ifndef METERING_LEDGER_FACT_H
#define METERING_LEDGER_FACT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "metering/ledger/fact_pack.h"
#include "metering/ledger/record.h"

/* Whole numbers.  Stored by number: the list only grows at its end, and usage has its own. */
enum fact_number {
    FACT_SEQ = 0, /* of the record, less its place in the block */
    FACT_END,     /* microseconds */
    FACT_START,   /* the same, less the end */
    FACT_COMBO,   /* ids as in the line */
    FACT_CUSTOMER,
    FACT_USER,
    FACT_TASK,
    FACT_TAGSET,
    FACT_ATTEMPT, /* as in the line: negative of a correction */
    FACT_BUCKET,  /* of the histogram, plus one; 0: in none */
    FACT_FLAGS,   /* of enum fact_flag */
    FACT_HAS,     /* which usage fields were reported, by their stored numbers */
    FACT_BAND,
    FACT_LATENCY,
    FACT_FIRST_BYTE,
    FACT_BYTES_IN,
    FACT_BYTES_OUT,
    FACT_CORRECTS,   /* number of the record that this one corrects; 0: none, or not known */
    FACT_CHARGE,     /* of enum fact_charge */
    FACT_PLAIN,      /* how many there are */
    FACT_USAGE = 32, /* and the 31 behind it: usage fields by wire_usage */
    FACT_NUMBERS = 64,
};
/* Amounts. */
enum fact_amount {
    FACT_COST = 0,
    FACT_LIST, /* less the cost */
    FACT_PROVIDER,
    FACT_AMOUNTS,
    FACT_AMOUNT_COLUMN = FACT_NUMBERS, /* where their columns begin */
    FACT_COLUMNS = FACT_NUMBERS + FACT_AMOUNTS,
};

/* Of meters, by wire_meter (1..127): quantities, then amounts of one unit. */
enum {
    FACT_METERS_COLUMN = 127, /* no column: which meters have one (fact_encode_meters) */
    FACT_QUANTITY_COLUMN,
    FACT_UNIT_COLUMN = 256,
    FACT_STORED_COLUMNS = 384, /* with all that may come */
};

enum fact_charge {
    FACT_CHARGE_UNKNOWN = 0, /* not looked at */
    FACT_CHARGE_TOLD,        /* the lines are those of the columns, and the cost their sum */
    FACT_CHARGE_OTHER,       /* not so */
};

enum fact_flag {
    FACT_IS_STREAM = 1,
    FACT_IS_REPEAT = 2,
    FACT_IS_CACHEABLE = 4,
    FACT_HAS_PROVIDER_COST = 8,
    FACT_HAS_FIRST_BYTE = 16,
    FACT_IS_PRICED = 32,
};

struct fact_block {
    size_t n;
    /* Columns with a value that is not zero; the others are zero throughout. */
    uint64_t used[FACT_STORED_COLUMNS / 64];
    int64_t number[FACT_NUMBERS][FACT_BLOCK];
    money_int amount[FACT_AMOUNTS][FACT_BLOCK];
    int64_t quantity[METER_COUNT][FACT_BLOCK];
    money_int unit[METER_COUNT][FACT_BLOCK];
};

/* What the line says beside the record. */
struct fact_line {
    int64_t seq, attempt, corrects;
    int64_t ids[5]; /* combo, customer, user, task, tagset */
};

/* Empty. A block is large: it is made on the heap, once. */
struct fact_block *fact_block_new(void);
void fact_block_clear(struct fact_block *b);
/* The block has room. */
void fact_block_add(struct fact_block *b, const struct fact_line *line, const struct record *r);
/* The charges alone of the request at a place (0..FACT_BLOCK-1), which has none yet. */
void fact_block_put_charge(struct fact_block *b, size_t at, const struct record *r);
static inline bool fact_block_uses(const struct fact_block *b, unsigned column)
{
    return (b->used[column / 64] >> column % 64 & 1) != 0;
}

/*
 * What a unit of the line's meter costs (of time: a millisecond), where its quantity is one that a
 * column holds and its amount no more and no less than that for each of them; else false.
 */
bool fact_line_unit(const struct record_line *line, struct money *unit);
/* The rate of a million units (of time: seconds) at which one costs so much. */
struct money fact_unit_rate(enum meter m, struct money unit);

/* The stored form of a column that is used; out is emptied first. */
enum rc fact_encode(const struct fact_block *b, unsigned column, struct buf *out) RC_MUST;
/* Which meters have a column of quantities, as bits by enum meter. */
uint64_t fact_block_meters(const struct fact_block *b);
enum { FACT_METERS_BYTES = 16 };
void fact_encode_meters(uint64_t meters, char out[FACT_METERS_BYTES]);
/* Those that a newer version alone knows are passed over. */
enum rc fact_decode_meters(struct strv bytes, uint64_t *meters) RC_MUST;
/* What is to be stored of a block: FACT_METERS_COLUMN, and every column that is used, in order. */
typedef enum rc fact_column_fn(unsigned column, struct strv bytes, void *arg, struct fail *fail);
enum rc fact_each_column(const struct fact_block *b, fact_column_fn *fn, void *arg,
                         struct fail *fail) RC_MUST;

/* Row of table fact that holds a column of a block. */
static inline int64_t fact_row(unsigned column, int64_t block)
{
    return (int64_t)column << 40 | block;
}

#endif
