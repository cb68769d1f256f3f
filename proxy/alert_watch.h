/*
 * alert_watch.h - what an installation's people should hear of now.
 *
 * Looks at the ledger through the read interface and says which conditions hold; whether
 * that is news is the store's business.  Knows no channel.
 */
#ifndef PROXY_ALERT_WATCH_H
#define PROXY_ALERT_WATCH_H

#include "metering/ledger/ledger_read.h"
#include "proxy/alert.h"
#include "proxy/crossings.h"

/* A condition that holds. */
struct alert_condition {
    char group[ALERT_KEY_MAX]; /* the thing; the alert's key has the level too */
    unsigned level;
    int64_t expires_us; /* when it is over by itself; 0: never */
    bool twice;         /* it must hold at two looks in a row */
    enum crossing_told told; /* of a threshold: whether that is news */
    struct alert alert; /* to tell where it is new */
};
typedef void alert_condition_fn(const struct alert_condition *c, void *arg);

/* The level that was told of a group, 0: none. For thresholds that come back a little later. */
typedef unsigned alert_level_fn(const char *group, void *arg);

struct alert_watch {
    const struct config *config;
    int64_t now_us;
    alert_condition_fn *fn;
    alert_level_fn *level;
    void *arg;
    struct crossings *crossings; /* for alert_watch_budgets */
};

/* Budgets: thresholds (groups "budget:...") and, where asked for, forecasts ("forecast:..."),
 * which are dearer. Within the reader's view, as all of these. */
enum rc alert_watch_budgets(const struct alert_watch *w, struct ledger_reader *reader,
                            bool forecasts, struct fail *fail) RC_MUST;
/* Anomalies of teams, by day and by hour. Dearer than the others. */
enum rc alert_watch_anomalies(const struct alert_watch *w, struct ledger_reader *reader,
                              struct fail *fail) RC_MUST;
/* Models without a price, spend without a team: of the last day. */
enum rc alert_watch_quality(const struct alert_watch *w, struct ledger_reader *reader,
                            struct fail *fail) RC_MUST;
/* What the gateway itself is short of; which: "counters", "ledger". */
void alert_watch_trouble(const struct alert_watch *w, const char *which, const char *says);

/* of_team: of one team, whose tag it has; else of all. */
typedef void alert_digest_fn(const struct alert *digest, bool of_team, void *arg);
/*
 * The weekly digests: of each team with spend in the last two weeks or in the month, dearest
 * first, then of all; none where nothing was spent.  Where it fails, none is told.
 */
enum rc alert_digests(const struct alert_watch *w, struct ledger_reader *reader,
                      alert_digest_fn *fn, void *arg, struct fail *fail) RC_MUST;
/* The hour at which a digest was due last; 0: never. */
int64_t alert_digest_due(const struct config *config, int64_t now_us);

#endif
