/*
 * clock_steady.c - the wall clock, but never back.
 *
 * Both of the system's clocks run at one pace, so how far they are apart changes where the wall clock
 * is set, and then alone.  A course says how far apart the steady clock and the monotonic one are:
 * from_us at since_us, then less and less until it is what the wall clock says.  It is written
 * rarely, under a lock, and read by all without one: what was read while it was written is read
 * again.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

enum { LOOKS = 5, LOOK_US = 1000 }; /* at both clocks at once: so many attempts, so close */

struct course {
    int64_t since_us, from_us, wall_us; /* monotonic; ahead of that: then, and the wall clock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned version; /* odd: it is written; 0: never was */
static _Atomic int64_t since, from, wall;

static struct course read_course(void)
{
    struct course c;
    unsigned before;

    do {
        before = atomic_load(&version);
        c = (struct course){atomic_load(&since), atomic_load(&from), atomic_load(&wall)};
    } while (before % 2 != 0 || atomic_load(&version) != before);
    return c;
}

static void write_course(const struct course *c)
{
    atomic_fetch_add(&version, 1);
    atomic_store(&since, c->since_us);
    atomic_store(&from, c->from_us);
    atomic_store(&wall, c->wall_us);
    atomic_fetch_add(&version, 1);
}

/* How far it is ahead of the monotonic clock. */
static int64_t ahead_us(const struct course *c, int64_t mono_us)
{
    int64_t passed_us = mono_us > c->since_us ? mono_us - c->since_us : 0;
    int64_t us = c->from_us - passed_us + passed_us / CLOCK_SLOWER;

    return us > c->wall_us ? us : c->wall_us;
}

static bool is_set_apart(const struct course *c, int64_t wall_us)
{
    int64_t us = wall_us - c->wall_us;

    return us > CLOCK_APART_US || us < -CLOCK_APART_US;
}

/* A thread that was held up between its two readings saw no step. */
static int64_t wall_ahead_us(int64_t *mono_us)
{
    int64_t us;
    int tries = 0;

    do {
        *mono_us = clock_mono_us();
        us = clock_wall_us() - *mono_us;
    } while (clock_mono_us() - *mono_us > LOOK_US && ++tries < LOOKS);
    return us;
}

/* Under the lock. */
static void follow(void)
{
    struct course c = read_course();
    int64_t mono_us, us = wall_ahead_us(&mono_us), back_us;

    if (atomic_load(&version) != 0 && !is_set_apart(&c, us))
        return;
    back_us = ahead_us(&c, mono_us) - us;
    c = (struct course){.since_us = mono_us, .from_us = us, .wall_us = us};
    if (atomic_load(&version) != 0 && back_us > 0 && back_us <= CLOCK_BACK_MAX_S * INT64_C(1000000))
        c.from_us = us + back_us;
    else if (atomic_load(&version) != 0 && back_us > 0)
        log_line(LOG_WARN, "clock",
                 "the clock was set far back: shared budgets may lack requests until they are "
                 "rebuilt",
                 "seconds=%" PRId64, back_us / 1000000);
    write_course(&c);
}

int64_t clock_steady_at(int64_t mono_us)
{
    struct course c;

    if (clock_is_replaced())
        return mono_us;
    if (atomic_load(&version) == 0)
        return clock_steady_us() - (clock_mono_us() - mono_us);
    c = read_course();
    return mono_us + ahead_us(&c, mono_us);
}

int64_t clock_steady_us(void)
{
    int64_t mono_us = clock_mono_us();
    struct course c = read_course();

    if (clock_is_replaced())
        return mono_us;
    if (atomic_load(&version) == 0 || is_set_apart(&c, clock_wall_us() - mono_us)) {
        pthread_mutex_lock(&lock);
        follow();
        pthread_mutex_unlock(&lock);
        c = read_course();
    }
    return mono_us + ahead_us(&c, mono_us);
}

void clock_steady_from(int64_t us)
{
    int64_t now_us = clock_steady_us(), mono_us = clock_mono_us();
    struct course c;

    pthread_mutex_lock(&lock);
    c = read_course();
    if (!clock_is_replaced() && us > now_us &&
        us - mono_us - c.wall_us <= CLOCK_BACK_MAX_S * INT64_C(1000000)) {
        c.since_us = mono_us;
        c.from_us = us - mono_us;
        write_course(&c);
    }
    pthread_mutex_unlock(&lock);
}
