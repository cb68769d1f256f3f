/*
 * report.h - questions to the ledger by name: one engine behind `tollgate report`
 * and the admin listener.
 *
 * A report reads, in one consistent view of the ledger, what its words ask for, makes
 * a table and renders it.  Nothing is written, and no proxy is needed: what only a
 * running gateway knows comes through struct report_sources.
 */
#ifndef REPORTS_REPORT_H
#define REPORTS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/zone.h"
#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"
#include "reports/oddities.h"
#include "reports/params.h"
#include "reports/reconcile.h"

enum {
    REPORT_OUT_MAX_BYTES = 256 << 20, /* a rendered report */
    REPORT_ERROR_MAX_BYTES = 4096,
    REPORT_LINES_MAX = 200000, /* rows of `lines`; more are for `tollgate export` */
    VARIANCE_SCOPES_MAX = 8192, /* of `variance` with `top`: of more (other) is one scope */
};

/* Reads live counters of the set's limits, as limit_read: may block a bounded time. */
typedef enum rc report_counters_fn(limit_counter_fn *fn, void *fn_arg, void *arg);

/* Whether an alert about this team is told to anybody. */
typedef bool report_told_fn(struct strv team, void *arg);

/* What reports draw from. Borrowed for the call. */
struct report_sources {
    const char *ledger_path;
    /* The ledger, open and between two views; NULL: opened for this report alone. */
    struct ledger_reader *reader;
    const struct zone *zone;        /* of days and months where no word says otherwise */
    const char *state_dir;          /* of books and closed months; NULL: none */
    const struct book *book;        /* prices, for what another model would cost; NULL: none */
    const struct limit_set *limits; /* NULL: none */
    report_counters_fn *counters;   /* NULL: only the ledger is asked */
    report_told_fn *is_told;        /* NULL: not known */
    reconcile_upstream_fn *upstream; /* NULL: upstreams are known by name alone */
    void (*catch_up)(
        void *arg); /* called first: what was flushed gets into the ledger; or NULL */
    void *arg;
    int64_t now_us; /* 0: the clock's */
    bool colour;    /* tables */
    struct oddity_floor floor; /* of notable anomalies; per_cent 0: ODDITY_FLOOR */
    size_t variance_scopes;    /* at most so many are all explained; 0: VARIANCE_SCOPES_MAX */
};

struct report_info {
    const char *name, *title;
};
/* The reports there are, in the contract's order; NULL past the last. */
const struct report_info *report_at(size_t i);

/*
 * Runs a report and appends its text to out, in params->format.  What went wrong is
 * appended to error as one sentence:
 *   RC_BAD    words (or the name) are wrong
 *   RC_LIMIT  the answer is larger than a named maximum
 *   RC_DENIED the word strict: not all of it is known
 *   RC_IO     the ledger cannot be read
 * out is then as before.  Takes the time of the question; not for an event loop.
 */
enum rc report_run(struct strv name, struct report_params *params,
                   const struct report_sources *sources, struct buf *out,
                   struct buf *error) RC_MUST;

/* Appends {"reports":[{"name","title"}]}. */
enum rc report_list_json(struct buf *out) RC_MUST;

#endif
