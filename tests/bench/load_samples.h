/*
 * load_samples.h - durations that were measured, and their quantiles.
 *
 * Keeps every one of them, up to a maximum: quantiles are exact.
 */
#ifndef BENCH_LOAD_SAMPLES_H
#define BENCH_LOAD_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
    int64_t *ns;
    size_t n;
    size_t cap;
};

/* One more; beyond the maximum (8 million) it is dropped. */
void sample_add(struct samples *s, int64_t ns);

/*
 * Prints `, "<name>p50": ..., "<name>p99": ..., "<name>max": ...` in microseconds, nothing
 * where there are none.  Sorts them.
 */
void samples_print(const char *name, struct samples *s);

/* Prints `, "each": [...]`, every one in microseconds, for who takes the quantiles of several runs together. */
void samples_print_each(const struct samples *s);

#endif
