/*
 * expire.c - lines that are older than they are to be kept, deleted while nothing else is
 * to do.
 *
 * Only what is behind in the journal comes first: the bound moves on when all of it is
 * in.  What day it is says expire_clock.h.  Readers never wait, since each keeps its view; what is journalled meanwhile waits
 * for one transaction at most.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/ledger/db.h"
#include "metering/ledger/ingest_int.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/schema.h"

#define EXPIRE_STATE "expire_us"

static const char doing[] = "delete old lines";

/* Whole days, so that every rollup lies on one side. */
static int64_t bound_us(const struct ledger *l)
{
    int64_t day_us = rollup_width_us(LEVEL_DAY);

    return (rollup_bucket(LEVEL_DAY, l->expire_clock.at_us) - l->keep_days) * day_us;
}

/*
 * What the last process believed; the first goes by the newest line, whose time somebody may have
 * set, but no more than the clock has it. INT64_MIN: there is none, and nothing to delete.
 */
static enum rc last_believed(struct ledger *l, int64_t *us, struct fail *fail)
{
    static const char sql[] =
        "SELECT coalesce((SELECT value FROM state WHERE name='" EXPIRE_STATE "'), "
        "(SELECT max(end_us) FROM line), -9223372036854775808)";
    int64_t now_us = clock_wall_us();
    enum rc rc = db_query_int(l->in->db, sql, us, fail, doing);

    if (rc == RC_OK && *us > now_us)
        *us = now_us;
    return rc;
}

/* The time to go by; the next process goes on from it. */
static enum rc look_at_clock(struct ledger *l, struct fail *fail)
{
    struct expire_clock *c = &l->expire_clock;
    int64_t us, apart_us;
    enum rc rc = RC_OK;

    if (!c->is_set) {
        rc = last_believed(l, &us, fail);
        if (rc != RC_OK || us == INT64_MIN)
            return rc;
        expire_clock_set(c, us, clock_mono_us());
    }
    us = expire_clock_look(c, clock_wall_us(), clock_mono_us());
    apart_us = us - l->expire_noted_us;
    if (apart_us >= 0 && apart_us < EXPIRE_LOOK_US)
        return RC_OK;
    rc = ingest_note_state(l->in, EXPIRE_STATE, us, fail);
    if (rc == RC_OK)
        l->expire_noted_us = us;
    return rc;
}

bool ledger_is_wanted(struct ledger *l)
{
    bool wanted;

    pthread_mutex_lock(&l->lock);
    wanted = l->is_stopping || l->asked > l->done;
    pthread_mutex_unlock(&l->lock);
    return wanted;
}

void ledger_put_off(struct ledger *l, struct chore *c, const char *what, const struct fail *fail)
{
    pthread_mutex_lock(&l->lock);
    l->stats.put_off++;
    pthread_mutex_unlock(&l->lock);
    ingest_rollback(l->in);
    chore_failed(c, what, fail);
}

static void tell(struct ledger *l)
{
    if (l->expired > 0)
        log_line(LOG_INFO, "ledger", "old lines are deleted, their sums are kept",
                 "lines=%llu keep_days=%d", (unsigned long long)l->expired, l->keep_days);
    if (l->expired > 0 && l->add_up.again_ms == 0)
        l->add_up.at_us = 0; /* tasks with a line less are added up anew */
    l->expired = 0;
}

/* False where there is no more to do, or not now. */
static bool step(struct ledger *l, int64_t from_us)
{
    struct fail fail = {0};
    size_t n = 0;
    bool more = false;
    enum rc rc = ingest_expire(l->in, from_us, EXPIRE_LINES, &n, &more, &fail);

    if (rc == RC_OK) {
        l->expired += n;
        pthread_mutex_lock(&l->lock);
        l->stats.expired += n;
        pthread_mutex_unlock(&l->lock);
        if (more)
            return true;
        tell(l);
    } else if (rc == RC_AGAIN) {
        return false; /* locked: at the next pause */
    } else {
        ledger_put_off(l, &l->expire, doing, &fail);
        return false;
    }
    chore_rests(&l->expire, EXPIRE_LOOK_US, doing);
    return false;
}

void ledger_expire(struct ledger *l, int pause_ms)
{
    int64_t until = clock_mono_us() + pause_ms * INT64_C(1000) / EXPIRE_SHARE;
    struct fail fail = {0};
    enum rc rc;

    if (l->keep_days == 0 || !chore_is_due(&l->expire))
        return;
    rc = look_at_clock(l, &fail);
    if (rc != RC_OK && rc != RC_AGAIN) /* locked: at the next pause */
        ledger_put_off(l, &l->expire, doing, &fail);
    if (rc == RC_OK && !l->expire_clock.is_set)
        chore_rests(&l->expire, EXPIRE_LOOK_US, doing);
    if (rc != RC_OK || !l->expire_clock.is_set)
        return;
    while (!ledger_is_wanted(l) && step(l, bound_us(l)) && clock_mono_us() < until)
        ;
}
