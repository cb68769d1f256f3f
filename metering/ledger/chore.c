#include "metering/ledger/chore.h"

#include "base/clock.h"
#include "base/log.h"

bool chore_is_due(const struct chore *c)
{
    return clock_mono_us() >= c->at_us;
}

bool chore_is_left(const struct chore *c)
{
    return c->again_ms > 0 || chore_is_due(c);
}

void chore_rests(struct chore *c, int64_t us, const char *what)
{
    if (c->again_ms > 0)
        log_line(LOG_INFO, "ledger", "what had failed is done", "what=\"%s\"", what);
    *c = (struct chore){.at_us = clock_mono_us() + us};
}

void chore_failed(struct chore *c, const char *what, const struct fail *fail)
{
    int last_ms = c->again_ms;
    char text[256];

    c->again_ms = last_ms == 0 ? CHORE_AGAIN_MS : last_ms * 2;
    if (c->again_ms > CHORE_AGAIN_MAX_MS)
        c->again_ms = CHORE_AGAIN_MAX_MS;
    c->at_us = clock_mono_us() + c->again_ms * INT64_C(1000);
    if (last_ms > 0 && last_ms < CHORE_AGAIN_MAX_MS)
        return;
    fail_text(fail, text, sizeof(text));
    log_line(LOG_WARN, "ledger", "could not be done now; it is tried again", "what=\"%s\" reason=\"%s\"",
             what, text);
}
