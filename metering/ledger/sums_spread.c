/*
 * sums_spread.c - how costs and sizes are spread: histogram, bands, places in an order.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/sums.h"

__extension__ typedef unsigned __int128 money_bits;

/* Sums do not wrap: more than can be is the most that can be. */
static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static int compare_amounts(const void *a, const void *b)
{
    return money_cmp(*(const struct money *)a, *(const struct money *)b);
}

static void swap(struct money *a, struct money *b)
{
    struct money t = *a;

    *a = *b;
    *b = t;
}

/* Those below the middle one of three to its left, those above to its right; its place. */
static size_t part(struct money *v, size_t n)
{
    money_int pivot;
    size_t i = 0, k = n - 1;

    if (v[n / 2].atto < v[0].atto)
        swap(&v[n / 2], &v[0]);
    if (v[n - 1].atto < v[0].atto)
        swap(&v[n - 1], &v[0]);
    if (v[n - 1].atto < v[n / 2].atto)
        swap(&v[n - 1], &v[n / 2]);
    pivot = v[n / 2].atto;
    for (;;) {
        while (v[i].atto < pivot)
            i++;
        while (v[k].atto > pivot)
            k--;
        if (i >= k)
            return k;
        swap(&v[i++], &v[k--]);
    }
}

/* Moves those of the bucket in which place *k falls to the front; *n and *k become theirs. */
static void narrow(struct money *values, size_t *n, size_t *k)
{
    size_t count[HISTOGRAM_BUCKETS] = {0}, below = 0, at = 0;
    unsigned bucket = 0;

    for (size_t i = 0; i < *n; i++)
        count[cost_histogram_bucket(values[i])]++;
    while (below + count[bucket] <= *k)
        below += count[bucket++];
    for (size_t i = 0; at < count[bucket]; i++) {
        if (cost_histogram_bucket(values[i]) == bucket)
            swap(&values[at++], &values[i]);
    }
    *n = count[bucket];
    *k -= below;
}

static struct money nth(struct money *values, size_t n, size_t k)
{
    enum { FEW = 32, ROUNDS_MAX = 100 };

    /* Halves, mostly; where the amounts are made so that they are not, sorting bounds it. */
    for (int round = 0; n > FEW && round < ROUNDS_MAX; round++) {
        size_t low = part(values, n) + 1;

        if (k < low) {
            n = low;
        } else {
            values += low;
            k -= low;
            n -= low;
        }
    }
    qsort(values, n, sizeof(*values), compare_amounts);
    return values[k];
}

struct money ledger_money_nth(struct money *values, size_t n, size_t k)
{
    enum { MANY = 4096 };

    if (n > MANY)
        narrow(values, &n, &k);
    return nth(values, n, k);
}

/* Of a bucket that holds a wanted place: its values. */
struct segment {
    unsigned bucket;
    size_t below; /* values of lower buckets */
    size_t n;
    struct money *at;
};

/* The buckets in which the places fall, each once; of[i]: that of place i. */
static size_t find_segments(const size_t *count, const size_t *places, size_t n_places,
                            struct segment *segments, size_t *of)
{
    size_t n = 0;

    for (size_t i = 0; i < n_places; i++) {
        size_t below = 0;
        unsigned bucket = 0;

        while (below + count[bucket] <= places[i])
            below += count[bucket++];
        for (of[i] = 0; of[i] < n && segments[of[i]].bucket != bucket;)
            of[i]++;
        if (of[i] == n)
            segments[n++] = (struct segment){.bucket = bucket, .below = below};
    }
    return n;
}

void ledger_money_places(const struct money *values, size_t n, const size_t *places,
                         size_t n_places, struct money *out)
{
    size_t count[HISTOGRAM_BUCKETS] = {0}, of[MONEY_PLACES_MAX], n_segments;
    struct segment segments[MONEY_PLACES_MAX];
    unsigned char segment_of[HISTOGRAM_BUCKETS] = {0}; /* plus one */
    uint16_t *bucket = xmalloc((n + 1) * sizeof(*bucket));

    ASSERT(n_places > 0 && n_places <= MONEY_PLACES_MAX);
    for (size_t i = 0; i < n; i++) {
        bucket[i] = (uint16_t)cost_histogram_bucket(values[i]);
        count[bucket[i]]++;
    }
    n_segments = find_segments(count, places, n_places, segments, of);
    for (size_t k = 0; k < n_segments; k++) {
        segments[k].at = xcalloc(count[segments[k].bucket], sizeof(*segments[k].at));
        segment_of[segments[k].bucket] = (unsigned char)(k + 1);
    }
    for (size_t i = 0; i < n; i++) {
        unsigned k = segment_of[bucket[i]];

        if (k)
            segments[k - 1].at[segments[k - 1].n++] = values[i];
    }
    for (size_t i = 0; i < n_places; i++) {
        const struct segment *s = &segments[of[i]];

        out[i] = nth(s->at, s->n, places[i] - s->below); /* all of one bucket */
    }
    for (size_t k = 0; k < n_segments; k++)
        free(segments[k].at);
    free(bucket);
}

/* ---- distributions ---------------------------------------------------------- */

/* The bucket of an amount of at least 1 << HISTOGRAM_LOW_BITS, its highest bit at top. */
static inline unsigned bucket_of_top(unsigned top, unsigned step)
{
    return 2 + (top - HISTOGRAM_LOW_BITS) * HISTOGRAM_STEPS + (step & (HISTOGRAM_STEPS - 1));
}

unsigned cost_histogram_bucket(struct money cost)
{
    money_bits v = (money_bits)cost.atto;
    uint64_t low = (uint64_t)v;
    unsigned top;

    if (v >> 64 == 0 && low >> HISTOGRAM_LOW_BITS) { /* nearly all: less than 18 dollars */
        top = 63 - (unsigned)__builtin_clzll(low);
        return bucket_of_top(top, (unsigned)(low >> (top - 3)));
    }
    if (cost.atto <= 0)
        return 0;
    if (v >> HISTOGRAM_HIGH_BITS)
        return HISTOGRAM_BUCKETS - 1;
    if (v >> HISTOGRAM_LOW_BITS == 0)
        return 1;
    top = 127 - (unsigned)__builtin_clzll((uint64_t)(v >> 64));
    return bucket_of_top(top, (unsigned)(v >> (top - 3)));
}

/* Lower bound of bucket 2 and above. */
static struct money bucket_start(unsigned bucket)
{
    unsigned octave = (bucket - 2) / HISTOGRAM_STEPS, step = (bucket - 2) % HISTOGRAM_STEPS;

    return (struct money){(money_int)(HISTOGRAM_STEPS + step)
                          << (HISTOGRAM_LOW_BITS + octave - 3)};
}

void cost_histogram_bounds(unsigned bucket, struct money *from, struct money *to)
{
    money_int far = (money_int)1 << 126;

    from->atto = bucket == 0 ? -far : bucket == 1 ? 1 : bucket_start(bucket).atto;
    to->atto = bucket == 0                       ? 1
               : bucket == HISTOGRAM_BUCKETS - 1 ? far
                                                 : bucket_start(bucket + 1).atto;
}

void cost_histogram_add(struct cost_histogram *to, const struct cost_histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->n[i] = plus(to->n[i], from->n[i]);
}

/* ceil(n * percent / 100) without overflow. */
static uint64_t nearest_rank(uint64_t n, unsigned percent)
{
    return n / 100 * percent + (n % 100 * percent + 99) / 100;
}

uint64_t cost_histogram_nearest(const struct cost_histogram *h, unsigned percent)
{
    uint64_t total = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        total = plus(total, h->n[i]);
    return nearest_rank(total, percent);
}

bool cost_histogram_rank(const struct cost_histogram *h, unsigned percent, unsigned *bucket)
{
    uint64_t below = 0, rank = cost_histogram_nearest(h, percent);

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && rank > 0; i++) {
        below = plus(below, h->n[i]);
        if (below >= rank) {
            *bucket = i;
            return true;
        }
    }
    return false;
}

static const struct {
    const char *name;
    uint64_t most;
} band_table[LEDGER_BANDS] = {
    {"unknown", 0},    {"0-1k", 1000},      {"1-4k", 4000},        {"4-16k", 16000},
    {"16-64k", 64000}, {"64-256k", 256000}, {">256k", UINT64_MAX},
};

unsigned ledger_band_of(const struct usage *usage)
{
    uint64_t n = plus(usage->n[USAGE_INPUT], usage->n[USAGE_OUTPUT]);
    unsigned band = 1;

    if (!usage_has(usage, USAGE_INPUT) && !usage_has(usage, USAGE_OUTPUT))
        return 0;
    while (n > band_table[band].most)
        band++;
    return band;
}

void ledger_band_bounds(unsigned band, uint64_t *least, uint64_t *most)
{
    *least = band < 2 ? 0 : band_table[band - 1].most + 1;
    *most = band_table[band].most;
}

const char *ledger_band_name(unsigned band)
{
    return band_table[band].name;
}
