/*
 * gate.h - does a cost stay below its bound? For pipelines: a verdict, a table, JUnit.
 *
 * A check looks at one number of each row of a report: what the report is about (cost per
 * completed task, mean cost of a request, cost), or the column that is named.  What is
 * unknown passes no bound.
 */
#ifndef REPORTS_GATE_H
#define REPORTS_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"
#include "pricing/money.h"

enum { GATE_CASES_MAX = 100000 };

enum gate_verdict { GATE_PASS = 0, GATE_FAIL, GATE_UNKNOWN, GATE_NEW, GATE_GONE };

struct gate_case {
    /* The row's keys, told apart whatever their values hold: name, \x1f, value, \x1e, name ...;
     * empty: the total.  The gate's own. */
    char *key;
    bool is_known, had_before;
    struct money value, before, bound;
    enum gate_verdict verdict;
};

struct gate {
    char report[64], column[64];
    struct gate_case *at;
    size_t n;
    bool is_bare; /* no row was looked at: none was there, or none had a task */
};

/* "0.05" bounds the report's own number, "COLUMN:0.05" that column. RC_BAD with a sentence. */
struct gate_bound {
    struct strv column; /* empty: the report's own */
    struct money amount;
};
enum rc gate_bound_parse(struct strv text, struct gate_bound *out, struct buf *error) RC_MUST;

/*
 * Looks at a report's JSON: each row, and the total where there are none.  RC_BAD with a
 * sentence where the report has no such number.  Release it also after a failure.
 */
enum rc gate_against_bound(struct strv report_json, const struct gate_bound *bound,
                           struct gate *out, struct buf *error) RC_MUST;
/*
 * Compares with an earlier report of the same name: a row fails where its number is more
 * than before by more than tolerance_ppm millionths.  A row that is new is told and
 * passes, and so does one that is gone; but where all are gone nothing was compared, and
 * the total is unknown.
 */
enum rc gate_against_report(struct strv report_json, struct strv earlier_json,
                            struct strv column, uint64_t tolerance_ppm, struct gate *out,
                            struct buf *error) RC_MUST;
void gate_release(struct gate *g);

/* Some case failed, or is unknown. */
bool gate_failed(const struct gate *g);
/* A table for people; a file in JUnit's form. */
enum rc gate_table(const struct gate *g, struct buf *out) RC_MUST;
enum rc gate_junit(const struct gate *g, struct buf *out) RC_MUST;

#endif
