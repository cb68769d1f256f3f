/*
 * deadline.h - a time at which something must have happened, cheap to move.
 *
 * Moving it later only writes a number; the timer behind it looks, when it fires,
 * whether the time has really come.  So a deadline may be renewed on every read.
 */
#ifndef PROXY_DEADLINE_H
#define PROXY_DEADLINE_H

#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>

typedef void deadline_fn(void *arg);

struct deadline {
    struct event timer;
    int64_t at_us;    /* clock_mono_us; INT64_MAX: none */
    int64_t armed_us; /* when the timer fires; INT64_MAX: not armed */
    deadline_fn *passed;
    void *arg;
};

/* passed is called once each time a deadline that was set has come. */
void deadline_init(struct deadline *d, struct event_base *base, deadline_fn *passed, void *arg);
/* In ms from now_us (clock_mono_us); ms <= 0 clears it. */
void deadline_set(struct deadline *d, int64_t now_us, int64_t ms);
void deadline_clear(struct deadline *d);
/* Must be called before its memory goes. */
void deadline_fini(struct deadline *d);

#endif
