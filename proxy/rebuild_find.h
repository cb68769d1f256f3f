/*
 * rebuild_find.h - what the ledger says is spent of a configuration's limits, counter by counter.
 */
#ifndef PROXY_REBUILD_FIND_H
#define PROXY_REBUILD_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "metering/limits/limit.h"

struct config;
struct find_question;

/* Whether limit i of the configuration's is asked for. */
typedef bool find_wants_fn(const struct find_question *q, size_t i);

struct find_question {
    const struct config *config;
    int64_t as_of_us;     /* wall: which windows are current */
    int64_t until_us;     /* lines that ended at it or later are left out; INT64_MAX: none */
    find_wants_fn *wants;
    const void *arg;      /* of wants */
};

/* Counters, at most LIMIT_COUNTERS_MAX; their scopes are the arena's. */
struct found {
    struct limit_counter *at;
    size_t n, cap;
    struct arena scopes;
    bool full; /* there were more */
};

void found_init(struct found *f);
void found_release(struct found *f);
/* A limit_counter_fn; arg: the struct found that it is copied to. */
void found_add(const struct limit_counter *c, void *arg);

/*
 * What the ledger says, of the limits that are wanted.  One whose counters are more than can be
 * kept, or that the ledger cannot be asked for, is logged and passed over: it counts from zero, and
 * the others still hold.  Blocks; errors as ledger_read_open and limit_spent.
 */
enum rc find_spent(const struct find_question *q, struct found *found, struct fail *fail) RC_MUST;

/*
 * After it: adds the shared counters of the limits wanted that the ledger says nothing of, with
 * zero spent.  Sorts found.  Blocks; errors as limit_read.
 */
enum rc find_strangers(const struct find_question *q, const struct limiter_options *options,
                       struct found *found) RC_MUST;
/* The same, of counters that were read before. */
void find_strangers_among(const struct found *shared, struct found *found);

#endif
