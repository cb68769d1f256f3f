/*
 * clock.h - the two clocks, replaceable in tests.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Microseconds since 1970-01-01 UTC; may step when the system's time is set. */
int64_t clock_wall_us(void);
/* Microseconds of a clock that never goes back; for deadlines and durations. */
int64_t clock_mono_us(void);

/* Tests only: both clocks give what source() returns; NULL restores the system's. */
void clock_replace(int64_t (*source)(void));

#endif
