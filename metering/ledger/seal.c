/*
 * seal.c - blocks of facts for the records of a ledger that an older version wrote.
 *
 * A ledger that was always written by this one has its blocks; for another they are made
 * while nothing else is to do, and reports read lines until they are.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/ledger/ledger_int.h"

static const char doing[] = "lay old requests out for reports";

/* False where there is no more to do, or not now. */
static bool step(struct ledger *l)
{
    struct fail fail = {0};
    bool more = false;
    enum rc rc = ingest_seal(l->in, &more, &fail);

    if (rc == RC_AGAIN)
        return false; /* locked: at the next pause */
    if (rc != RC_OK) {
        ledger_put_off(l, &l->seal, doing, &fail);
        return false;
    }
    l->sealed += more;
    l->is_sealed = !more;
    if (l->is_sealed)
        chore_rests(&l->seal, 0, doing);
    if (l->is_sealed && l->sealed > 0)
        log_line(LOG_INFO, "ledger", "old requests are laid out for reports", "blocks=%llu",
                 (unsigned long long)l->sealed);
    return more;
}

void ledger_seal(struct ledger *l, int pause_ms)
{
    int64_t until = clock_mono_us() + pause_ms * INT64_C(1000) / SEAL_SHARE;

    while (!l->is_sealed && chore_is_due(&l->seal) && !ledger_is_wanted(l) && step(l) && clock_mono_us() < until)
        ;
}
