/*
 * expire_clock.h - the time by which old lines are deleted: what is deleted is gone for good, so the
 * system's clock alone is not believed.
 *
 * The time that is believed goes on by the clock that is never set.  The wall clock moves it where
 * the two are at most EXPIRE_JUMP_S apart, and back at once, however far: that deletes nothing.  One
 * that is further ahead is in doubt, and moves it only when it was so at every look for
 * EXPIRE_BELIEVE_S, by the least that it was ahead in that time.  A process goes on from what the
 * last one believed (expire.c), so that a start believes no more than a look.
 */
#ifndef METERING_LEDGER_EXPIRE_CLOCK_H
#define METERING_LEDGER_EXPIRE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EXPIRE_JUMP_S = 3600,        /* a gateway that was stopped, a machine that slept */
    EXPIRE_BELIEVE_S = 6 * 3600, /* of the clock that is never set */
};

struct expire_clock {
    int64_t at_us, mono_us; /* what was believed at the last look, and when that was */
    bool is_set;
    bool is_doubted;  /* the rest while it is */
    int64_t since_us; /* monotonic */
    int64_t ahead_us; /* the least since then */
};

/* Begins at at_us (wall), believed at mono_us (clock_mono_us). */
void expire_clock_set(struct expire_clock *c, int64_t at_us, int64_t mono_us);
/*
 * The time to go by where the clocks say wall_us and mono_us; the latter never falls.  Logs when a
 * doubt begins and when the clock is believed again.
 */
int64_t expire_clock_look(struct expire_clock *c, int64_t wall_us, int64_t mono_us);

#endif
