/*
 * read_fact.h - of the reader: requests by column (fact.h), for sums over single requests.
 *
 * read_fact.c walks over blocks; read_fact_sums.c adds them up by any field; read_fact_tasks.c
 * by task.
 */
#ifndef METERING_LEDGER_READ_FACT_H
#define METERING_LEDGER_READ_FACT_H

#include "metering/ledger/read_int.h"

/*
 * Within a view, before any walk: which blocks there are.  *known false: records of an older
 * version wait to be made blocks of; the lines must be read.
 */
enum rc facts_look(struct ledger_reader *r, bool *known, struct fail *fail) RC_MUST;

/*
 * Looks at the blocks that the view of r has: RC_OK where those stored that the view of `of` has
 * are among them, which r then has as its blocks, in the same places and without a tail; else
 * RC_STATE.
 */
enum rc facts_share(struct ledger_reader *r, const struct ledger_reader *of,
                    struct fail *fail) RC_MUST;
/*
 * r, which shares the blocks of `of`, has its tail too, until facts_return_tail: before r's view ends,
 * and while that of `of` lasts.
 */
void facts_borrow_tail(struct ledger_reader *r, const struct ledger_reader *of);
void facts_return_tail(struct ledger_reader *r);
/* How many of r's blocks, from the first on, are stored: facts_look has been there. */
size_t facts_stored(const struct ledger_reader *r);

struct crew_pieces;
/* A column as fact_decode_small says. */
struct facts_small {
    struct fact_small head;
    bool is_read, is_small; /* of the block at hand */
    uint32_t d[FACT_BLOCK];
};

__extension__ typedef unsigned __int128 facts_bits;

static inline money_int facts_small_value(const struct facts_small *s, size_t i)
{
    facts_bits more = s->head.is_level ? 0 : (facts_bits)s->d[i] * s->head.unit;

    return (money_int)((facts_bits)s->head.least + more);
}

/* A walk over the blocks that may hold requests that ended in [from, to). */
struct facts {
    struct ledger_reader *reader;
    int64_t from_us, to_us;
    /* Not 0: blocks without a task that may be of these ids are passed over. */
    int64_t least_task, most_task;
    size_t at, end; /* the block to come, of those up to end */
    struct crew_pieces *pieces; /* NULL, or where more of them are taken from */
    enum rc rc; /* of what failed first, and how */
    struct fail fail;

    /* The block at hand. */
    const struct fact_place *place;
    size_t n;
    bool is_inside; /* all of it ended in [from, to) */
    uint64_t got[2], zero[2];
    struct facts_small *small[FACT_COLUMNS]; /* NULL: never asked for */
    int64_t *number[FACT_NUMBERS];
    money_int *amount[FACT_AMOUNTS];
    struct fact_charges *charges; /* of read_fact_charge.c; NULL: not asked for yet */
};

void facts_open(struct facts *f, struct ledger_reader *r, int64_t from_us, int64_t to_us);
/* From now on the walk takes its blocks from there: pieces of facts_stored. */
void facts_take_from(struct facts *f, struct crew_pieces *pieces);
/* How many blocks are of the walk's time. */
size_t facts_within(const struct facts *f);
/* From now on it has those from `at` on. */
void facts_go_to(struct facts *f, size_t at);
void facts_close(struct facts *f);
/* False at the end, and after a failure. */
bool facts_next(struct facts *f);
/* The block at hand becomes this one, which is borrowed. */
void facts_stand_at(struct facts *f, const struct fact_place *place);
/*
 * Room for n values of a column of the block at hand, which has none of its own: who asks writes
 * them.
 */
int64_t *facts_room(struct facts *f, unsigned column);
/* The same: n values, copied. */
void facts_put_number(struct facts *f, unsigned column, const int64_t *values);
/*
 * A column of the block at hand, n values, valid until facts_next; NULL where it is zero
 * throughout, and after a failure.
 */
const int64_t *facts_number(struct facts *f, unsigned column);
const money_int *facts_amount(struct facts *f, enum fact_amount which);
/*
 * Of places at[0..n) of the block at hand alone, where these are few; zeroes where there is no such
 * column, and after a failure.
 */
void facts_pick_number(struct facts *f, unsigned column, const uint16_t *at, size_t n,
                       int64_t *out);
void facts_pick_amount(struct facts *f, enum fact_amount which, const uint16_t *at, size_t n,
                       money_int *out);
/*
 * The same as differences; a column that is zero throughout is level. NULL: they take more than 32
 * bits, or are of no stored block of facts, or after a failure.
 */
const struct facts_small *facts_small(struct facts *f, unsigned column);
/*
 * The same as ids: out[i], n of them; UINT32_MAX for what is no id (below that). False after a
 * failure.
 */
bool facts_ids(struct facts *f, unsigned column, uint32_t *out);

/* ---- what requests were charged for (read_fact_charge.c) ------------------------------- */

/* Of the block at hand: bits by enum meter of those that have columns; 0 after a failure. */
uint64_t facts_meters(struct facts *f);
/* Of one of these, as facts_number says: quantities, and amounts of one unit. */
const int64_t *facts_quantity(struct facts *f, enum meter m);
const money_int *facts_unit(struct facts *f, enum meter m);
void fact_charges_free(struct fact_charges *c);

#endif
