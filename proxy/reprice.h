/*
 * reprice.h - the ledger's lines priced again by the book of today.
 *
 * Reads lines in one view, prices each from what its record kept (quantities, tier,
 * region, time), and adds up old and new by team and model.  What differs becomes a
 * correction where the caller asks for it (metering/ledger/correction.h).  No line
 * changes.
 */
#ifndef PROXY_REPRICE_H
#define PROXY_REPRICE_H

#include <stdbool.h>
#include <stdint.h>

#include "metering/ledger/correction.h"
#include "proxy/config.h"

enum { REPRICE_GROUPS_MAX = 100000 };

/* Sums of a team's requests to a model. */
struct reprice_group {
    struct strv team, model; /* lower than any text: absent */
    uint64_t requests;       /* looked at */
    uint64_t changed;        /* whose cost differs */
    uint64_t late_priced;    /* of those, had no price */
    uint64_t unpriced;       /* have no price now either, or no longer: left as they are */
    struct money before, after;
};

struct reprice {
    const struct config *config;
    struct ledger_reader *reader; /* in a view */
    int64_t closed_us;            /* books before it are closed */
    struct corrector *corrector;  /* NULL: nothing is written */
    struct strv reason, by;
    /* Called now and then; false stops, and what was written stands. May be NULL. */
    bool (*progress)(uint64_t looked_at, void *arg);
    void *arg;

    struct reprice_group *groups; /* in order of team, then model; owned */
    size_t n_groups;
    struct arena arena;
    uint64_t looked_at;
    uint64_t compound;    /* left: priced in parts that the record does not keep apart, or not
                           * so far apart as the book of today does */
    uint64_t corrections; /* made */
    struct uuid last;     /* of the last correction */
    bool is_stopped;
    struct fail fail; /* of what ended it */
};

/* Legal before anything else is. */
void reprice_init(struct reprice *r);
void reprice_release(struct reprice *r);
/* Every line of the filter; RC_OK also where it was stopped. */
enum rc reprice_run(struct reprice *r, const struct ledger_filter *filter) RC_MUST;

/* What a record's own usage asks of the book: false where there is nothing to price. */
bool reprice_query(const struct config *config, const struct record *record,
                   struct price_query *out);

#endif
