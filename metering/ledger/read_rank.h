/*
 * read_rank.h - of the reader: days whose requests stand in order (cube.h), for percentiles.
 *
 * Both walks go over the days that lie within [from, to) and within a period each, and note in
 * the pick which requests these are: pick_next gives the others.  What fails is noted in
 * p->facts.
 */
#ifndef METERING_LEDGER_READ_RANK_H
#define METERING_LEDGER_READ_RANK_H

#include "metering/ledger/rank_list.h"
#include "metering/ledger/read_cube.h"

/*
 * Whether the answer's fields and conditions are such that days in order may tell its rows:
 * combination and customer.  Cubes are looked at.
 */
enum rc ranks_can(const struct answer *a, bool *can, struct fail *fail) RC_MUST;
/*
 * Whether lists alone count what is asked for, in one period: by combination, or by customer.  Else
 * requests are counted one by one, or a list by two fields is, which takes longer than a look at the
 * customers of all requests.
 */
bool ranks_are_quick(const struct answer *a);
/* Whether there is any such day in [from, to). */
bool ranks_any(const struct answer *a, enum cube_kind kind, int64_t from_us, int64_t to_us);

/*
 * Requests that p picks rows for, of the block at hand: n[i] of bucket[i] (plus one, above 0) are of
 * p->row[i].  False where there is no such bucket.
 */
typedef bool rank_count_fn(const struct fact_pick *p, const int64_t *bucket, const int64_t *n,
                           void *arg);
/*
 * How many requests of each bucket the rows have, by fn; or, where that is faster and no row is
 * beyond counts->rows, in counts.  counts->count has room for a day more whenever `room` (may be
 * NULL) returns, which is told how many requests the day has.
 */
struct rank_counting {
    rank_count_fn *fn;
    struct rank_counts counts;
    void *arg; /* of fn */
    void (*room)(struct rank_counting *c, uint64_t requests);
    void *room_arg;
};
void ranks_count(struct fact_pick *p, enum cube_kind kind, int64_t from_us, int64_t to_us,
                 struct rank_counting *c);

/* Buckets plus one, as in the column. */
struct rank_buckets {
    uint64_t bits[8];
};
static inline void rank_want(struct rank_buckets *b, unsigned bucket)
{
    b->bits[bucket / 64 % 8] |= UINT64_C(1) << bucket % 64;
}
static inline bool rank_wants(const struct rank_buckets *b, unsigned bucket)
{
    return (b->bits[bucket / 64 % 8] >> bucket % 64 & 1) != 0;
}
/*
 * Requests of the buckets in `any`, a block at a time: rows are picked, the columns of buckets and
 * of what the kind is of are those of facts, but that latencies are milliseconds.
 * fn returns false where it failed.
 */
typedef bool rank_block_fn(struct fact_pick *p, void *arg);
void ranks_each_block(struct fact_pick *p, enum cube_kind kind, const struct rank_buckets *any,
                      int64_t from_us, int64_t to_us, rank_block_fn *fn, void *arg);

#endif
