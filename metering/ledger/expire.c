/*
 * expire.c - lines that are older than they are to be kept, deleted while nothing else is
 * to do.
 *
 * Only what is behind in the journal comes first: the bound moves on when all of it is
 * in.  Readers never wait, since each keeps its view; what is journalled meanwhile waits
 * for one transaction at most.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/schema.h"

/* Whole days, so that every rollup lies on one side. */
static int64_t bound_us(const struct ledger *l)
{
    int64_t day_us = rollup_width_us(LEVEL_DAY);

    return (rollup_bucket(LEVEL_DAY, clock_wall_us()) - l->keep_days) * day_us;
}

bool ledger_is_wanted(struct ledger *l)
{
    bool wanted;

    pthread_mutex_lock(&l->lock);
    wanted = l->is_stopping || l->asked > l->done;
    pthread_mutex_unlock(&l->lock);
    return wanted;
}

static void tell(struct ledger *l)
{
    if (l->expired > 0)
        log_line(LOG_INFO, "ledger", "old lines are deleted, their sums are kept",
                 "lines=%llu keep_days=%d", (unsigned long long)l->expired, l->keep_days);
    l->expired = 0;
}

/* False where there is no more to do, or not now. */
static bool step(struct ledger *l, int64_t from_us)
{
    struct fail fail = {0};
    char text[256];
    size_t n = 0;
    enum rc rc = ingest_expire(l->in, from_us, EXPIRE_LINES, &n, &fail);

    if (rc == RC_OK) {
        l->expired += n;
        pthread_mutex_lock(&l->lock);
        l->stats.expired += n;
        pthread_mutex_unlock(&l->lock);
        if (n == EXPIRE_LINES)
            return true;
        tell(l);
    } else if (rc == RC_AGAIN) {
        return false; /* locked: at the next pause */
    } else {
        fail_text(&fail, text, sizeof(text));
        log_line(LOG_WARN, "ledger", "old lines could not be deleted", "reason=\"%s\"", text);
    }
    l->expire_at_us = clock_mono_us() + EXPIRE_LOOK_US;
    return false;
}

void ledger_expire(struct ledger *l, int pause_ms)
{
    int64_t until = clock_mono_us() + pause_ms * INT64_C(1000) / EXPIRE_SHARE;

    if (l->keep_days == 0 || clock_mono_us() < l->expire_at_us)
        return;
    while (!ledger_is_wanted(l) && step(l, bound_us(l)) && clock_mono_us() < until)
        ;
}
