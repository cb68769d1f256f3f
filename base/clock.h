/*
 * clock.h - the two clocks, replaceable in tests.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Microseconds since 1970-01-01 UTC; may step when the system's time is set. */
int64_t clock_wall_us(void);
/* Microseconds of a clock that never goes back; for deadlines and durations. */
int64_t clock_mono_us(void);

/*
 * The wall clock for what has to stay in order: the times at which requests begin and end, and what
 * divides them.  It follows the wall clock ahead at once.  Where that is set back it does not: it
 * goes on at one CLOCK_SLOWER-th of its pace until the wall clock has come up, so that what comes
 * later has a later time.  Only one that is set back by more than CLOCK_BACK_MAX_S is followed at
 * once (the dates of all that comes would be wrong for long), and logged.  Any thread.
 */
enum {
    CLOCK_BACK_MAX_S = 2 * 3600,
    CLOCK_SLOWER = 8,
    CLOCK_APART_US = 50000, /* steps of the wall clock that are smaller are none */
};
int64_t clock_steady_us(void);
/* The same at a moment of clock_mono_us that was read a short while ago, without a look at the wall. */
int64_t clock_steady_at(int64_t mono_us);
/*
 * What was recorded before ended at us: the steady clock is not before that from now on, where the
 * wall clock is behind it by CLOCK_BACK_MAX_S at most.
 */
void clock_steady_from(int64_t us);

/* Tests only: all clocks give what source() returns; NULL restores the system's. */
void clock_replace(int64_t (*source)(void));
bool clock_is_replaced(void);

#endif
