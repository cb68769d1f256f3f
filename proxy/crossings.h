/*
 * crossings.h - thresholds of budgets: each is noted once a window, in the journal.
 *
 * What is spent is what this gateway's ledger has and what the shared counters say that others
 * spent, so a budget of several gateways reaches its thresholds when their sum does.  The
 * ledger remembers which were reached; Redis decides which gateway tells people.  One thread;
 * may block.  Tells nobody itself.
 */
#ifndef PROXY_CROSSINGS_H
#define PROXY_CROSSINGS_H

#include "metering/ledger/ledger_read.h"
#include "reports/outlook.h"

struct config;

/* Whether that a threshold is reached is news here. */
enum crossing_told {
    CROSSING_NEW = 0,   /* reached since the last look, or nobody told of it yet */
    CROSSING_NOTED,     /* this gateway noted it before, as the one that tells */
    CROSSING_ELSEWHERE, /* another gateway tells of it */
};

struct crossings;

struct crossings *crossings_new(void);
/* Legal on NULL. */
void crossings_free(struct crossings *c);

/*
 * Begins a look: asks the counters what others spent.  owner: this gateway's name (owner.h);
 * all are borrowed until crossings_end.
 */
void crossings_begin(struct crossings *c, const struct config *config, const char *owner,
                     struct ledger_reader *reader, int64_t now_us);
/* What other gateways spent of this counter, in the units of o. */
money_int crossings_others(struct crossings *c, const struct outlook *o);
/* So many per cent of o's amount are spent.  Within the reader's view. */
enum crossing_told crossings_note(struct crossings *c, const struct outlook *o,
                                  unsigned percent);
/*
 * Ends the look: what is new goes to the journal, where keep says so.  What is not written, or
 * not kept, is new again at the next look.
 */
void crossings_end(struct crossings *c, bool keep);

#endif
