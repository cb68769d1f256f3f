/*
 * read_latency.h - of the reader: how long 19 of 20 requests of a row took at most.
 */
#ifndef METERING_LEDGER_READ_LATENCY_H
#define METERING_LEDGER_READ_LATENCY_H

#include "metering/ledger/read_fact_pick.h"

struct latencies;

enum { LATENCY_ROWS_COUNTED = 64 }; /* rows whose times are counted by millisecond */

/* What would stand at place k (from 0; k < n) in order; they may be moved about. */
uint32_t latency_nth(uint32_t *ms, size_t n, uint64_t k);

/* Whole milliseconds, as they are shown. */
static inline uint32_t latency_ms(int64_t us)
{
    uint64_t whole = us > 0 ? (uint64_t)us / 1000 : 0;

    return whole < UINT32_MAX ? (uint32_t)whole : UINT32_MAX;
}

/*
 * For the rows that the answer has, and its total, whose requests are counted.  NULL where
 * they are more than LEDGER_LATENCIES_MAX: theirs stay unknown.
 */
struct latencies *latencies_new(const struct answer *a);
/* NULL is nothing. */
void latencies_free(struct latencies *l);
/* One request of a row.  RC_BAD where the row has more than it counts. */
enum rc latencies_add(struct latencies *l, size_t row, int64_t us, struct fail *fail) RC_MUST;
/* The requests of the block at hand that are picked; corrections are none. */
enum rc latencies_add_block(struct latencies *l, struct fact_pick *p, struct fail *fail) RC_MUST;
/* Adds what another of the same answer counted; both are of at most LATENCY_ROWS_COUNTED rows. */
void latencies_take(struct latencies *l, const struct latencies *from);
/* Fills rows and total.  RC_BAD where a row has fewer than it counts. */
enum rc latencies_finish(struct latencies *l, struct answer *a, struct fail *fail) RC_MUST;

#endif
