/*
 * sums.h - what is added up over records: pure, mergeable, exact.
 *
 * The same functions make the rollups when records are ingested and the sums over
 * lines when they are read, so that both agree to the last digit.
 */
#ifndef METERING_LEDGER_SUMS_H
#define METERING_LEDGER_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "metering/ledger/record.h"
#include "metering/usage/usage.h"
#include "pricing/meter.h"
#include "pricing/money.h"

/*
 * Counts and sums of one group.  Counts saturate at UINT64_MAX.  cost and list are
 * those of the priced requests: unpriced ones are counted, not taken as zero.
 */
struct ledger_sums {
    uint64_t requests;
    uint64_t by_outcome[OUTCOME_COUNT];
    uint64_t errors; /* outcomes that outcome_is_error */
    uint64_t by_usage_source[USAGE_ESTIMATED + 1];
    uint64_t priced;                /* cost known, wholly or in part */
    uint64_t price_partial;         /* of those: cost is a lower bound */
    uint64_t unpriced;              /* cost is null */
    uint64_t tokens[USAGE_COUNT];   /* by enum usage_field (audio in ms) */
    uint64_t reported[USAGE_COUNT]; /* requests that reported the field */
    struct money cost, list;
    struct money cost_min, cost_max; /* of one priced request; valid if priced > 0 */
    struct money error_cost;         /* of requests that ended in an error */
    struct money estimated_cost;     /* of requests whose usage is partial or estimated */
    uint64_t cost_ceil_nano; /* each request rounded up to nano-USD: what limits count */
    uint64_t provider_costs; /* requests whose provider stated a cost */
    struct money provider_cost;
    uint64_t retries; /* requests with attempt above 1 */
    uint64_t streams;
    uint64_t repeats; /* requests that a day's memory of answers would have saved */
    struct money repeat_cost;
    uint64_t cacheable; /* requests whose prefix a provider's cache would have held */
    uint64_t latency_us, latency_max_us;
    uint64_t first_bytes; /* requests with a first byte */
    uint64_t first_byte_us, first_byte_max_us;
    uint64_t bytes_in, bytes_out;
    /*
     * Corrections: lines that add to the cost of others.  cost, list, error_cost,
     * estimated_cost and repeat_cost hold them, cost_ceil_nano does not: limits counted what was
     * charged when it was.  One that gives a price to a request without one counts in
     * `priced` (the request itself stays in `unpriced`) and in `late_priced`.
     */
    uint64_t corrections, late_priced;
    struct money correction_cost;
};

/* Ended without a use to the caller by the provider's, the network's or our fault. */
bool outcome_is_error(enum outcome o);

/* a + b; where 128 bits do not hold it, the most that they do. */
struct money ledger_money_add(struct money a, struct money b);
/*
 * The amount that would stand at place k (from 0; k < n) if they were in order; they are
 * moved about.
 */
struct money ledger_money_nth(struct money *values, size_t n, size_t k);
/* The same for several places at once (1..MONEY_PLACES_MAX); values stay where they are. */
enum { MONEY_PLACES_MAX = 8 };
void ledger_money_places(const struct money *values, size_t n, const size_t *places,
                         size_t n_places, struct money *out);
/* Sums of one record. */
void ledger_sums_of(const struct record *r, struct ledger_sums *out);
/* Adds the same. */
void ledger_sums_add_record(struct ledger_sums *to, const struct record *r);
void ledger_sums_add(struct ledger_sums *to, const struct ledger_sums *from);
/*
 * Undoes ledger_sums_add of a part, but for what is the least or the most of all: that
 * stays, and may be of the part.
 */
void ledger_sums_take(struct ledger_sums *from, const struct ledger_sums *part);
bool ledger_sums_equal(const struct ledger_sums *a, const struct ledger_sums *b);

/*
 * The counts and the amounts of the sums one by one, for a form that holds many of them by
 * column: number i of them, from 0; false where there are no more.  cost_min and cost_max,
 * which mean something beside `priced` alone, are none of the amounts.
 */
struct sums_field {
    unsigned number; /* of the stored form, below 256; never given to another field */
    size_t offset;   /* in struct ledger_sums: of a uint64_t, or of a struct money */
    bool is_most;    /* two of them become the greater one, not their sum */
};
bool ledger_sums_count(unsigned i, struct sums_field *out);
bool ledger_sums_amount(unsigned i, struct sums_field *out);

/*
 * Requests by cost: bucket 0 holds costs up to nothing, 1 those below 2^30 atto-USD
 * (about a nano-dollar), then eight buckets an octave up to 2^76 (about 75,000 USD),
 * and the last what is above.  Merged by adding; relative width at most 12.5 %.
 */
enum {
    HISTOGRAM_LOW_BITS = 30,
    HISTOGRAM_HIGH_BITS = 76,
    HISTOGRAM_STEPS = 8,
    HISTOGRAM_BUCKETS = 3 + (HISTOGRAM_HIGH_BITS - HISTOGRAM_LOW_BITS) * HISTOGRAM_STEPS,
};
struct cost_histogram {
    uint64_t n[HISTOGRAM_BUCKETS];
};
unsigned cost_histogram_bucket(struct money cost);
/* The bucket's half-open bounds; the lowest begins, and the highest ends, at +-2^126 atto. */
void cost_histogram_bounds(unsigned bucket, struct money *from, struct money *to);
void cost_histogram_add(struct cost_histogram *to, const struct cost_histogram *from);
/* Nearest rank of a percentile (1..100), from 1; 0 where the histogram is empty. */
uint64_t cost_histogram_nearest(const struct cost_histogram *h, unsigned percent);
/* Bucket of the nearest-rank percentile (1..100) of all; false where it is empty. */
bool cost_histogram_rank(const struct cost_histogram *h, unsigned percent, unsigned *bucket);

/*
 * Requests by all their tokens, input and output: band 0 those that reported neither
 * (unknown), then up to 1,000, 4,000, 16,000, 64,000, 256,000 (each bound within its
 * band), and the last with all above.
 */
enum { LEDGER_BANDS = 7 };
struct ledger_band {
    uint64_t requests, priced;
    uint64_t input_tokens, output_tokens;
    struct money cost;
};
void ledger_band_add(struct ledger_band *to, const struct ledger_band *from);
/* Band of a request. */
unsigned ledger_band_of(const struct usage *usage);
/* Lowest and highest count of a band (UINT64_MAX for the last); band 0: 0 and 0. */
void ledger_band_bounds(unsigned band, uint64_t *least, uint64_t *most);
/* "unknown", "0-1k", "1-4k", "4-16k", "16-64k", "64-256k", ">256k". */
const char *ledger_band_name(unsigned band);

/* By meter, from the cost lines. */
struct ledger_meter_sum {
    uint64_t requests; /* with a line of this meter */
    uint64_t quantity; /* time meters: milliseconds */
    struct money amount;
};
void ledger_meter_add(struct ledger_meter_sum *to, const struct ledger_meter_sum *from);
/* Of one record: to METER_COUNT of them. */
void ledger_meters_add_record(struct ledger_meter_sum *to, const struct record *r);

/* All of it: a rollup, a row of an answer. Pointers may be NULL: not kept. */
struct rollup {
    struct ledger_sums sums;
    struct cost_histogram *histogram;
    struct ledger_band *bands;
    struct ledger_meter_sum *meters;
};

void rollup_add_record(struct rollup *to, const struct record *r);
/* Compact form, appended to out; what is zero, or not kept, takes no room. */
enum rc rollup_encode(const struct rollup *r, struct buf *out) RC_MUST;
/* Adds an encoded rollup to those parts of `to` that are there. RC_BAD leaves `to` undefined.
 */
enum rc rollup_add_encoded(struct rollup *to, struct strv bytes) RC_MUST;
/* The same to parts that stand elsewhere. */
enum rc rollup_add_to(struct ledger_sums *sums, struct cost_histogram *histogram,
                      struct ledger_band *bands, struct ledger_meter_sum *meters,
                      struct strv bytes) RC_MUST;

#endif
