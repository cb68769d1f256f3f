/*
 * cuber.c - adds up tasks (tally.h) and days that are over (cube.h), while nothing else is to
 * do.
 *
 * Days that an earlier version made in another way are deleted first, and its blocks of columns get
 * their charges.
 *
 * It reads by a connection of its own, some blocks of columns at a time, and writes a cube, or
 * the tallies of a block of tasks, in one transaction.  Until they are there, reports read
 * requests by column.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/ledger/cube.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/ledger_read.h"
#include "metering/ledger/tally.h"

enum {
    CUBE_LOOK_US = 60000000, /* while there is nothing to add up */
    CUBE_STEP_BLOCKS = 16,   /* added up between two looks at the clock */
};

static const char doing[] = "add days and tasks up for reports";

void ledger_forget_cube(struct ledger *l)
{
    cube_make_free(l->cube);
    tally_make_free(l->tally);
    ledger_read_close(l->cube_reader);
    l->cube = NULL;
    l->tally = NULL;
    l->cube_reader = NULL;
}

/* Within a view. */
static enum rc read_some(struct ledger *l, bool *done, struct fail *fail)
{
    enum rc rc = RC_OK;

    if (!l->cube && !l->tally)
        rc = tally_next(l->cube_reader, &l->tally, fail);
    if (rc == RC_OK && !l->cube && !l->tally)
        rc = cube_next(l->cube_reader, l->cube_limits, &l->cube, fail);
    if (rc == RC_OK && l->tally)
        rc = tally_make_step(l->tally, l->cube_reader, CUBE_STEP_BLOCKS, done, fail);
    else if (rc == RC_OK && l->cube)
        rc = cube_make_step(l->cube, l->cube_reader, CUBE_STEP_BLOCKS, done, fail);
    return rc;
}

static enum rc store(struct ledger *l, struct fail *fail)
{
    enum rc rc = l->tally ? ingest_tally(l->in, l->tally, fail)
                          : ingest_cube(l->in, l->cube, fail);

    if (rc != RC_OK)
        return rc;
    l->tallies += l->tally != NULL;
    l->cubes += l->cube != NULL;
    tally_make_free(l->tally);
    cube_make_free(l->cube);
    l->tally = NULL;
    l->cube = NULL;
    return RC_OK;
}

static enum rc add_up(struct ledger *l, bool *more, struct fail *fail)
{
    bool done = false;
    enum rc rc;

    *more = false;
    if (!l->has_no_earlier_cubes) {
        rc = ingest_drop_earlier_cube(l->in, more, fail);
        l->has_no_earlier_cubes = rc == RC_OK && !*more;
        if (rc != RC_OK || *more)
            return rc;
    }
    if (!l->is_charged) {
        rc = ingest_charge(l->in, more, fail);
        l->is_charged = rc == RC_OK && !*more;
        l->charged += rc == RC_OK && *more;
        if (rc != RC_OK || *more)
            return rc;
    }
    if (!l->cube_reader)
        l->cube_reader = ledger_read_open(l->path, fail);
    rc = l->cube_reader ? ledger_read_begin(l->cube_reader, fail) : fail->rc;
    if (rc != RC_OK)
        return rc;
    rc = read_some(l, &done, fail);
    ledger_read_end(l->cube_reader);
    *more = rc == RC_OK && (l->cube || l->tally);
    return *more && done ? store(l, fail) : rc;
}

/* False where there is no more to do, or not now. */
static bool step(struct ledger *l)
{
    struct fail fail = {0};
    bool more = false;
    enum rc rc = add_up(l, &more, &fail);

    if (rc == RC_AGAIN)
        return false; /* locked: at the next pause */
    if (rc == RC_OK && more)
        return true;
    if (rc == RC_OK && l->cubes + l->tallies + l->charged > 0)
        log_line(LOG_INFO, "ledger", "days and tasks are added up for reports",
                 "cubes=%llu tallies=%llu charges=%llu", (unsigned long long)l->cubes,
                 (unsigned long long)l->tallies, (unsigned long long)l->charged);
    if (rc == RC_OK) {
        l->cubes = l->tallies = l->charged = 0;
        chore_rests(&l->add_up, CUBE_LOOK_US, doing);
    } else {
        ledger_put_off(l, &l->add_up, doing, &fail);
    }
    ledger_forget_cube(l);
    return false;
}

void ledger_add_up(struct ledger *l, int pause_ms)
{
    int64_t now = clock_mono_us(), until = now + pause_ms * INT64_C(1000) / SEAL_SHARE;

    if (!l->is_sealed || !chore_is_due(&l->add_up))
        return;
    while (!ledger_is_wanted(l) && step(l) && clock_mono_us() < until)
        ;
}
