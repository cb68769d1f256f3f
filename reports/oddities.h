/*
 * oddities.h - anomalies of an installation's spend: which group, when, how much, why.
 *
 * Runs the detectors of anomaly.h over the ledger's series; days next to each other
 * that are off in the same direction are one anomaly.  What made it up is told by the
 * dimensions that moved most against the same days of the weeks before.  One answer
 * for the report, the digest and alerts.
 */
#ifndef REPORTS_ODDITIES_H
#define REPORTS_ODDITIES_H

#include "metering/ledger/ledger_read.h"
#include "metering/limits/limit.h"
#include "reports/series.h"

enum {
    ODDITY_CAUSES = 3,       /* told of each */
    ODDITY_CAUSES_MAX = 200, /* anomalies of one answer whose causes are sought */
    ODDITY_STEPS_MAX = 2000000, /* anomalous days or hours of one answer; more is RC_LIMIT */
};

/* Floors below which an anomaly is listed, and no alert is sent. */
struct oddity_floor {
    money_int least;   /* |impact|, atto-USD; other units: any */
    unsigned per_cent; /* |impact| of expected; where nothing was expected it always holds */
};
#define ODDITY_FLOOR ((struct oddity_floor){(money_int)10 * NANO_PER_USD * ATTO_PER_NANO, 20})

struct oddity {
    const struct strv *value;    /* of the fields asked for */
    const struct limit_def *def; /* of a budget, else NULL */
    size_t limit;
    struct strv scope;          /* of a budget */
    int64_t from_us, to_us;     /* [from, to) */
    bool open;                  /* the last complete step is one of it */
    money_int expected, actual; /* atto-USD, or the limit's unit (USD: atto) */
    bool has_z;
    double z; /* that of the largest */
    bool confirmed;
    bool notable;       /* above the floors */
    struct strv causes; /* "model gpt-x +12.3, feature chat +4"; empty: not sought */
};

/* Views live during the call. False ends the telling. */
typedef bool oddity_fn(const struct oddity *oddity, void *arg);

struct oddity_question {
    struct ledger_reader *reader;       /* within a view */
    const struct ledger_filter *filter; /* conditions, and the period looked at */
    const struct ledger_field *by;
    size_t n_by;
    const struct limit_set
        *limits;      /* not NULL: their counters instead; hours and days by window */
    enum period step; /* PERIOD_DAY or PERIOD_HOUR; of tags */
    const struct zone *zone;
    int64_t now_us;
    struct oddity_floor floor;
    bool causes;
};

/* In order of series (limits and scopes, or values), then of time.  waiting: series whose
 * history is too short. */
enum rc oddities_find(const struct oddity_question *q, oddity_fn *fn, void *arg,
                      size_t *waiting, struct fail *fail) RC_MUST;

#endif
