/*
 * cube.h - the requests of a day of UTC, added up by what rollups do not tell apart.
 *
 * Which customers, users and tags a day had, and what they cost, is a few thousand rows
 * where the requests by column are hundreds of thousands.  A cube is made of the columns of
 * a day that is over, once; it says up to which block of columns it looked.  What came later
 * for its day is read from the blocks behind, so a cube is never wrong, and never changed.
 *
 * Its rows are stored as facts are: by column, in blocks of FACT_BLOCK rows, in order of their
 * keys.  What a row is told apart by stands under the numbers of facts, so that a question
 * chooses rows as it chooses requests.
 */
#ifndef METERING_LEDGER_CUBE_H
#define METERING_LEDGER_CUBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/strv.h"
#include "metering/ledger/ledger_read.h"

/*
 * What a cube's rows tell apart.  A question takes the first that knows all it needs.  Stored by
 * other numbers (cube_stored_kind).
 */
enum cube_kind {
    CUBE_CLASS = 0, /* combination, token band, repeat, cacheable, whether of a task */
    CUBE_CUSTOMER,
    CUBE_TEAM_CUSTOMER,
    CUBE_USER,
    CUBE_TAGS,      /* team and set of free tags */
    CUBE_TEAM_USER, /* team and user: CUBE_BASIC alone */
    CUBE_CUSTOMER_USER, /* customer and user: the same */
    CUBE_OUTCOME_CUSTOMER, /* outcome, customer, whether of a task */
    CUBE_OUTCOME_TAGS, /* outcome, team, set of free tags, whether of a task */
    CUBE_BAND_CUSTOMER, /* token band and customer */
    CUBE_CLASS_METERS, /* what CUBE_CLASS tells apart; with meters */
    CUBE_PRICE_CUSTOMER, /* what makes a price (cube_price_fields), and customer; with meters */
    CUBE_PRICE_TAGS,     /* the same, and set of free tags */
    CUBE_COSTS,     /* no sums: the requests in order of what they cost (below) */
    CUBE_TIMES,     /* ... and of how long they took */
    CUBE_KINDS,
};

/* Numbers that stand in the table: for ever. */
static inline int64_t cube_stored_kind(enum cube_kind kind)
{
    static const unsigned char stored[CUBE_KINDS] = {
        [CUBE_CLASS] = 0, [CUBE_USER] = 2,  [CUBE_TAGS] = 3,     [CUBE_TEAM_USER] = 4,
        [CUBE_COSTS] = 7, [CUBE_TIMES] = 8, [CUBE_CUSTOMER] = 9, [CUBE_TEAM_CUSTOMER] = 10,
        [CUBE_PRICE_CUSTOMER] = 11, [CUBE_PRICE_TAGS] = 12, [CUBE_OUTCOME_CUSTOMER] = 13,
        [CUBE_CUSTOMER_USER] = 14, [CUBE_BAND_CUSTOMER] = 15, [CUBE_CLASS_METERS] = 16,
        [CUBE_OUTCOME_TAGS] = 17,
    };

    return stored[kind];
}
/* CUBE_KINDS: none that is read. */
static inline enum cube_kind cube_kind_of(int64_t stored)
{
    int kind = 0;

    while (kind < CUBE_KINDS && cube_stored_kind((enum cube_kind)kind) != stored)
        kind++;
    return (enum cube_kind)kind;
}
/*
 * Of version 9, deleted in pauses: by team and customer in order of customers, and days in order
 * whose lists were columns.
 */
#define CUBE_STORED_BEFORE "(1, 5, 6)"
static inline bool cube_was_stored(int64_t stored)
{
    return stored == 1 || stored == 5 || stored == 6;
}

enum {
    CUBE_ROWS_MAX = 1 << 16, /* of a day; with more there is no cube */
    CUBE_BASIC_ROWS_MAX = 1 << 19, /* of kinds that have CUBE_BASIC alone */
    CUBE_METERS_ROWS_MAX = 1 << 17,
    CUBE_BLOCKS_LEAST = 2,   /* blocks of columns; a day of fewer is read from them */
    CUBE_NUMBERS = 259, /* numbers of columns: of sums_field, cost_min, cost_max, and keys */
    /* With meters: which there are in a block (fact_encode_meters), and their columns (cube_meter). */
    CUBE_METERS = 319,
    CUBE_METER_NUMBERS = CUBE_METERS + 1 + 3 * 128,
    CUBE_COST_MIN = 40,
    CUBE_COST_MAX = 41,
    CUBE_RANKED = 190, /* of a day in order: how many rows its lists have */
    CUBE_RUN = 191,    /* ... how many requests a run has; or a chunk of rank_list.h */
    CUBE_KEY = 192, /* plus enum fact_number, or the column of an amount */
    CUBE_NONE = -1, /* rows of a day that is not worth a cube */
};

/* What a cube with meters tells of one, by wire_meter: as struct ledger_meter_sum has it. */
enum cube_of_meter { CUBE_METER_REQUESTS = 0, CUBE_METER_QUANTITY, CUBE_METER_AMOUNT };
static inline unsigned cube_meter(unsigned wire, enum cube_of_meter which)
{
    return CUBE_METERS + 1 + 3 * wire + (unsigned)which;
}
static inline bool cube_has_meters(enum cube_kind kind)
{
    return kind == CUBE_PRICE_CUSTOMER || kind == CUBE_PRICE_TAGS || kind == CUBE_CLASS_METERS;
}
/* Of a combination, what cubes with meters tell apart. */
enum { CUBE_PRICE_FIELDS = 6 };
extern const enum ledger_field_id cube_price_fields[CUBE_PRICE_FIELDS];

/*
 * What is in no cube by user and team, or customer, whose rows may be nearly as many as the
 * requests.
 */
enum { CUBE_BASIC = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS | LEDGER_SPARE_CEILING };
static inline bool cube_is_basic(enum cube_kind kind)
{
    return kind == CUBE_TEAM_USER || kind == CUBE_CUSTOMER_USER;
}
/* Of a class: combination, token band, repeat, cacheable, whether of a task. */
static inline bool cube_is_of_class(enum cube_kind kind)
{
    return kind == CUBE_CLASS || kind == CUBE_CLASS_METERS;
}

/*
 * A day in order, of which percentiles are made: what has a cost (a place in the histogram), by
 * bucket of it; or requests, by bucket of their milliseconds (cube_time_bucket).  Within a bucket
 * by combination, then customer.  Four lists, each from a block of its own on:
 *
 *   requests: customer, and the cost, or milliseconds in the column of latencies;
 *   runs of them of one bucket and combination: these, and how many;
 *   how many of each bucket and customer (rank_list.h): a chunk a block;
 *   the same by team: beside each chunk its first and its last team, by combination.
 *
 * Buckets are stored plus one, as those of facts.  A day's n are the rows that its blocks have
 * room for; how many each list has (rows, or chunks) stands in the first block's CUBE_RANKED.
 */
enum cube_list { RANKED_REQUESTS = 0, RANKED_COMBOS, RANKED_CUSTOMERS, RANKED_TEAMS, RANKED_LISTS };
enum {
    CUBE_RANKED_MAX = 1 << 21, /* requests of a day; with more there is no such cube */
    CUBE_TIME_BUCKETS = 16 + 28 * 16,
};

/* How large a cube may be; a day with more has none. */
struct cube_limits {
    int64_t rows, basic_rows, ranked; /* CUBE_..._MAX, or fewer */
};

static inline bool cube_is_ranked(enum cube_kind kind)
{
    return kind == CUBE_COSTS || kind == CUBE_TIMES;
}

/* Bucket of milliseconds: each of its own below 16, then 16 an octave. */
static inline unsigned cube_time_bucket(uint32_t ms)
{
    unsigned bits = ms < 16 ? 4 : 31 - (unsigned)__builtin_clz(ms);

    return ms < 16 ? ms : 16 + (bits - 4) * 16 + (ms >> (bits - 4) & 15);
}

static inline int64_t cube_rows_max(enum cube_kind kind)
{
    if (cube_is_ranked(kind))
        return (int64_t)2 * RANKED_LISTS * CUBE_RANKED_MAX;
    if (cube_has_meters(kind))
        return CUBE_METERS_ROWS_MAX;
    return cube_is_basic(kind) ? CUBE_BASIC_ROWS_MAX : CUBE_ROWS_MAX;
}

/* Row of table cube that holds a column of a block of rows. */
static inline int64_t cube_row(unsigned number, int64_t block)
{
    return (int64_t)number << 44 | block;
}
static inline int64_t cube_blocks(int64_t rows, int64_t per_block)
{
    return rows > 0 ? (rows + per_block - 1) / per_block : 0;
}

/* ---- making one (cube_make.c) -------------------------------------------------------- */

struct cube_make;

/*
 * The cube of a kind of a day, of the blocks of columns up to number `through`.  limits NULL:
 * CUBE_..._MAX.
 */
struct cube_make *cube_make_new(enum cube_kind kind, int64_t day, int64_t through,
                                const struct cube_limits *limits);
void cube_make_free(struct cube_make *m);
/* Within a view: adds up `blocks` blocks more; *done: all. Views may differ from call to call.
 */
enum rc cube_make_step(struct cube_make *m, struct ledger_reader *r, unsigned blocks,
                       bool *done, struct fail *fail) RC_MUST;
/* When it is done: rows, or CUBE_NONE. */
int64_t cube_make_rows(const struct cube_make *m);
enum cube_kind cube_make_kind(const struct cube_make *m);
int64_t cube_make_day(const struct cube_make *m);
int64_t cube_make_through(const struct cube_make *m);
/* A column of block `at` (from 0) of the rows; no bytes: zero throughout. */
typedef enum rc cube_column_fn(unsigned number, int64_t at, struct strv bytes, void *arg,
                               struct fail *fail);
/* Every column that there may be, in order of block and number. */
enum rc cube_make_columns(struct cube_make *m, cube_column_fn *fn, void *arg,
                          struct fail *fail) RC_MUST;

/*
 * Within a view: the newest day that is over and has no cube of a kind yet; false where there
 * is none.
 */
enum rc cube_next(struct ledger_reader *r, const struct cube_limits *limits,
                  struct cube_make **out, struct fail *fail) RC_MUST;

#endif
