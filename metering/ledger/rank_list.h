/*
 * rank_list.h - how many requests each bucket of a day in order (cube.h) has of what: by team and
 * customer, or by customer alone, a byte each mostly.
 *
 * Rows ascend by team, bucket, customer.  A chunk of them is read on its own: it begins with what
 * its first row is of.  Bytes of it:
 *
 *   dddddnnn         a row: the customer is d (1..31) above the last one, and has n (1..7)
 *   0, d, n          the same of any d and n above 0
 *   1, d             the bucket d above the last one, from no customer (one below 0)
 *   2, team          the next team, from bucket 0; not in a list by customer alone
 *
 * where d, n and team after a byte of 0 to 2 are varints.
 */
#ifndef METERING_LEDGER_RANK_LIST_H
#define METERING_LEDGER_RANK_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "metering/ledger/wire.h"

enum {
    RANK_CHUNK_BYTES = 32 << 10, /* a chunk ends with the row that reaches it */
    RANK_TEAM_BYTES = 256,       /* ... and with a team's last row from here on */
    RANK_ROW_BYTES_MAX = 3 + 4 * WIRE_U64_BYTES, /* with its team and bucket */
};

/* ---- making one ------------------------------------------------------------------------- */

struct rank_chunk {
    size_t end; /* of its bytes */
    int64_t first_team, last_team;
};

struct rank_row {
    int64_t team; /* 0: by customer alone */
    int64_t bucket, customer, n;
};

struct rank_list {
    unsigned char *bytes;
    size_t n, cap;
    struct rank_chunk *chunks;
    size_t n_chunks, cap_chunks;
    struct rank_row next; /* still to be written; n 0: none */
    struct rank_row last; /* of the last chunk; only while it is open */
    bool is_open;
};

/* All zero is an empty one.  Adds to the row that was last where it is the same; rows ascend. */
void rank_list_add(struct rank_list *l, const struct rank_row *row);
/* When all are added. */
void rank_list_end(struct rank_list *l);
struct strv rank_list_chunk(const struct rank_list *l, size_t i);
void rank_list_free(struct rank_list *l);

/* ---- reading one ------------------------------------------------------------------------- */

struct rank_reading {
    struct wire_in in;
    int64_t team, bucket, customer;
};

/* bytes are borrowed. */
void rank_read_begin(struct rank_reading *r, struct strv bytes);
/* By customer: 0 where nobody asks for it.  Those beyond n_asked may be asked for. */
struct rank_asked {
    const int32_t *asked;
    size_t n_asked;
};

/*
 * The next rows that may be asked for, max at most, a column each; none at the end of the chunk.
 * Whatever the bytes are, no value is below 0 or above INT32_MAX, and n is above 0.  False: they are
 * no chunk's.
 */
bool rank_read(struct rank_reading *r, const struct rank_asked *of, size_t max, int64_t *team,
               int64_t *bucket, int64_t *customer, int64_t *n, size_t *rows) RC_MUST;

/* Where rows are counted by customer alone. */
struct rank_counts {
    size_t rows, buckets;
    uint32_t *count; /* by bucket, from 1, then row: places that rows have */
};
enum { RANK_ROW_NEW = -2, RANK_ROW_NONE = -1 };

/*
 * Counts rows of the chunk until its end, or a customer of which row_of (n of them, by customer) says
 * RANK_ROW_NEW or nothing: *more, and the customer, which is read again.  *seen: how many it went
 * through.  False: the bytes are no chunk's, or a bucket or row is beyond what there is.
 */
bool rank_read_counts(struct rank_reading *r, const struct rank_counts *c, const int32_t *row_of,
                      size_t n, bool *more, int64_t *customer, uint64_t *seen) RC_MUST;

#endif
