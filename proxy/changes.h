/*
 * changes.h - what operators changed of limits: raises for a time, resets; who and why.
 *
 * state_dir/budget-changes.jsonl, one line a change, only ever appended to: it is the trail of
 * what was done and, read from the top, what holds.  A node reads its own file alone, when
 * its configuration is loaded.
 */
#ifndef PROXY_CHANGES_H
#define PROXY_CHANGES_H

#include <stdint.h>

#include "base/rc.h"
#include "metering/limits/limit.h"

enum {
    CHANGES_MAX_BYTES = 64 << 20,
    CHANGE_WHY_MAX_BYTES = 1000,
};

struct change {
    int64_t at_us;
    const char *action;          /* "raise", "reset" or "rebuild" */
    const char *limit;           /* its name; NULL: all */
    const char *scope;           /* reset: of one counter; NULL: all of the limit */
    const char *amount;          /* raise: as the configuration writes it */
    uint64_t raised;             /* raise: the same in the limit's unit */
    int64_t until_us;            /* raise */
    const char *who, *why;
};

/*
 * Appends a line, on disk when it returns; makes the file (0600) where it is missing.  It is noted
 * in the trail of all changes too (reports/trail.h).
 */
enum rc changes_append(const char *state_dir, const struct change *change,
                       struct fail *fail) RC_MUST;
/* Sets raised and raised_until_us of limits by their names; the last line of each holds. */
void changes_apply(const char *state_dir, struct limit_def *defs, size_t n);
/* Prints the file as it is. */
void changes_print(const char *state_dir);

#endif
