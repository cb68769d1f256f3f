/*
 * digest.h - a team's week in a few numbers: for the report of that name and the weekly
 * message.
 */
#ifndef REPORTS_DIGEST_H
#define REPORTS_DIGEST_H

#include "base/zone.h"
#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"
#include "pricing/price.h"

enum { DIGEST_TOP_TEXT = 200, DIGEST_SAVING_TEXT = 400 };

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
    /*
     * The first row of the report savings over the week that nobody has done or dismissed, as
     * words with its evidence; empty: none.  And what it comes to in a month.
     */
    char saving[DIGEST_SAVING_TEXT];
    struct money saved;
};

struct digest_question {
    struct ledger_reader *reader;   /* within its view */
    const struct limit_set *limits; /* whose budgets are looked at; NULL: none */
    const struct zone *zone;
    int64_t now_us;
    bool wants_savings;
    const struct book *book; /* for these, as struct savings_question */
    const char *state_dir;   /* where decisions about them are; NULL: nowhere */
};

/* Views live during the call. False ends the telling. */
typedef bool digest_fn(const struct digest_row *row, void *arg);

/* One row a team with spend in the two weeks or the month, dearest week first.  Amounts are of
 * priced requests. */
enum rc digest_make(const struct digest_question *q, digest_fn *fn, void *arg,
                    struct fail *fail) RC_MUST;

#endif
