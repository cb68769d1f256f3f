/*
 * digest.h - a team's week in a few numbers: for the report of that name and the weekly
 * message.
 */
#ifndef REPORTS_DIGEST_H
#define REPORTS_DIGEST_H

#include "base/zone.h"
#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"

enum { DIGEST_TOP_TEXT = 200 };

struct digest_row {
    struct strv team;             /* empty: without one */
    struct money week, before;    /* the last seven times 24 hours, and the seven before */
    uint64_t requests;            /* of the week */
    struct money month, forecast; /* this month so far, and its end */
    bool has_forecast;
    unsigned anomalies; /* notable ones of the week */
    char
        top[DIGEST_TOP_TEXT]; /* the model whose spend moved most: "gpt-x +12.3"; empty: none */
    const char *budget;       /* in dollars, of this team, nearest to its limit; NULL: none */
    uint64_t budget_spent, budget_limit; /* nano-USD, by the ledger */
};

/* Views live during the call. False ends the telling. */
typedef bool digest_fn(const struct digest_row *row, void *arg);

/* One row a team with spend in the two weeks or the month, dearest week first.  Amounts are of
 * priced requests.  limits: whose budgets are looked at; NULL: none.  Within the reader's view. */
enum rc digest_make(struct ledger_reader *reader, const struct limit_set *limits,
                    const struct zone *zone, int64_t now_us, digest_fn *fn, void *arg, struct fail *fail) RC_MUST;

#endif
