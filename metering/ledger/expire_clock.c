#include "metering/ledger/expire_clock.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/datetime.h"
#include "base/log.h"

void expire_clock_set(struct expire_clock *c, int64_t at_us, int64_t mono_us)
{
    *c = (struct expire_clock){.at_us = at_us, .mono_us = mono_us, .is_set = true};
}

static void doubt(struct expire_clock *c, int64_t wall_us, int64_t mono_us)
{
    char wall[DATETIME_TEXT], at[DATETIME_TEXT];

    c->is_doubted = true;
    c->since_us = mono_us;
    c->ahead_us = INT64_MAX;
    datetime_format_s(wall_us, wall);
    datetime_format_s(c->at_us, at);
    log_line(LOG_WARN, "ledger",
             "the clock is ahead of the time by which old lines are deleted: it is believed once "
             "that has lasted",
             "clock=%s time=%s hours=%d", wall, at, EXPIRE_BELIEVE_S / 3600);
}

static void believe(struct expire_clock *c)
{
    char at[DATETIME_TEXT];

    if (!c->is_doubted)
        return;
    c->is_doubted = false;
    datetime_format_s(c->at_us, at);
    log_line(LOG_INFO, "ledger", "the clock is believed, old lines are deleted by it", "time=%s", at);
}

int64_t expire_clock_look(struct expire_clock *c, int64_t wall_us, int64_t mono_us)
{
    int64_t ahead_us;

    ASSERT(c->is_set && mono_us >= c->mono_us);
    c->at_us += mono_us - c->mono_us;
    c->mono_us = mono_us;
    ahead_us = wall_us - c->at_us;
    if (ahead_us <= EXPIRE_JUMP_S * US_PER_SECOND) {
        c->at_us = wall_us;
        believe(c);
        return c->at_us;
    }
    if (!c->is_doubted)
        doubt(c, wall_us, mono_us);
    c->ahead_us = ahead_us < c->ahead_us ? ahead_us : c->ahead_us;
    if (mono_us - c->since_us >= EXPIRE_BELIEVE_S * US_PER_SECOND) {
        c->at_us += c->ahead_us;
        believe(c);
    }
    return c->at_us;
}
