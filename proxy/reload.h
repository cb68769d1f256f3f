/*
 * reload.h - SIGHUP: a configuration is loaded, its new limits are set from the ledger, then it is
 * in force.  All of it on the main thread.
 */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

struct generation;
struct server;

/* How long a configuration waits for its new limits; then it is in force, and they as unknown as at
 * a start that cannot ask the ledger. */
enum { RELOAD_WAIT_MS = 10000 };

struct reload {
    struct generation *next; /* loaded, and not in force; NULL: none */
    int64_t until_us;        /* clock_mono_us: no longer does it wait */
    bool is_setting;         /* new limits are being set, of next or of what is in force */
    uint64_t loaded;         /* configurations so far: see limit_set_follow */
};

/* Loads the file; takes the place of a reload that is under way, unless it is faulty. */
void reload_begin(struct server *s);
/* Again and again: puts in force what is set, or has waited its time. */
void reload_check(struct server *s);
/* What is not in force never will be. */
void reload_abandon(struct server *s);

#endif
