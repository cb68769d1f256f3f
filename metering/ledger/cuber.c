/*
 * cuber.c - adds up days that are over (cube.h), while nothing else is to do.
 *
 * It reads by a connection of its own, some blocks of columns at a time, and writes a cube in
 * one transaction.  Until a day has its cubes, reports read its requests by column.
 */
#include "base/clock.h"
#include "base/log.h"
#include "metering/ledger/cube.h"
#include "metering/ledger/ledger_int.h"
#include "metering/ledger/ledger_read.h"

enum {
    CUBE_LOOK_US = 60000000, /* while there is nothing to add up */
    CUBE_STEP_BLOCKS = 16,   /* added up between two looks at the clock */
};

void ledger_forget_cube(struct ledger *l)
{
    cube_make_free(l->cube);
    ledger_read_close(l->cube_reader);
    l->cube = NULL;
    l->cube_reader = NULL;
}

static enum rc add_up(struct ledger *l, bool *more, struct fail *fail)
{
    bool done = false;
    enum rc rc;

    *more = false;
    if (!l->cube_reader)
        l->cube_reader = ledger_read_open(l->path, fail);
    rc = l->cube_reader ? ledger_read_begin(l->cube_reader, fail) : fail->rc;
    if (rc != RC_OK)
        return rc;
    if (!l->cube)
        rc = cube_next(l->cube_reader, &l->cube, fail);
    *more = rc == RC_OK && l->cube;
    if (*more)
        rc = cube_make_step(l->cube, l->cube_reader, CUBE_STEP_BLOCKS, &done, fail);
    ledger_read_end(l->cube_reader);
    if (rc != RC_OK || !done)
        return rc;
    rc = ingest_cube(l->in, l->cube, fail);
    if (rc != RC_OK)
        return rc;
    cube_make_free(l->cube);
    l->cube = NULL;
    l->cubes++;
    return RC_OK;
}

/* False where there is no more to do, or not now. */
static bool step(struct ledger *l)
{
    struct fail fail = {0};
    char text[256];
    bool more = false;
    enum rc rc = add_up(l, &more, &fail);

    if (rc == RC_AGAIN)
        return false; /* locked: at the next pause */
    if (rc != RC_OK) {
        fail_text(&fail, text, sizeof(text));
        log_line(LOG_WARN, "ledger", "days could not be added up for reports", "reason=\"%s\"",
                 text);
        more = false;
    }
    if (more)
        return true;
    if (rc == RC_OK && l->cubes > 0)
        log_line(LOG_INFO, "ledger", "days are added up for reports", "cubes=%llu",
                 (unsigned long long)l->cubes);
    l->cubes = 0;
    l->cube_at_us = clock_mono_us() + CUBE_LOOK_US;
    ledger_forget_cube(l);
    return false;
}

void ledger_add_up(struct ledger *l, int pause_ms)
{
    int64_t now = clock_mono_us(), until = now + pause_ms * INT64_C(1000) / SEAL_SHARE;

    if (!l->is_sealed || now < l->cube_at_us)
        return;
    while (!ledger_is_wanted(l) && step(l) && clock_mono_us() < until)
        ;
}
