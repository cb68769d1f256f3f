#include "proxy/deadline.h"

#include "base/clock.h"

static void arm(struct deadline *d, int64_t now_us)
{
    int64_t left = d->at_us > now_us ? d->at_us - now_us : 0;
    struct timeval wait = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};

    d->armed_us = d->at_us;
    event_add(&d->timer, &wait);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct deadline *d = arg;
    int64_t now_us = clock_mono_us();

    (void)fd;
    (void)what;
    d->armed_us = INT64_MAX;
    if (d->at_us == INT64_MAX)
        return;
    if (d->at_us > now_us + 500) {
        arm(d, now_us);
        return;
    }
    d->at_us = INT64_MAX;
    d->passed(d->arg);
}

void deadline_init(struct deadline *d, struct event_base *base, deadline_fn *passed, void *arg)
{
    d->at_us = d->armed_us = INT64_MAX;
    d->passed = passed;
    d->arg = arg;
    event_assign(&d->timer, base, -1, EV_TIMEOUT, on_timer, d);
}

void deadline_set(struct deadline *d, int64_t now_us, int64_t ms)
{
    if (ms <= 0) {
        d->at_us = INT64_MAX;
        return;
    }
    d->at_us = now_us + ms * 1000;
    if (d->armed_us > d->at_us)
        arm(d, now_us);
}

void deadline_clear(struct deadline *d)
{
    d->at_us = INT64_MAX;
}

void deadline_fini(struct deadline *d)
{
    event_del(&d->timer);
    d->at_us = d->armed_us = INT64_MAX;
}
