/*
 * alerts_int.h - what alerts.c and alert_deliver.c share.
 */
#ifndef PROXY_ALERTS_INT_H
#define PROXY_ALERTS_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/alert_burst.h"
#include "proxy/alert_store.h"
#include "proxy/alerts.h"

struct alerts {
    struct server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* under lock */
    struct alert_store store;
    struct crossings *crossings;
    const struct config *config; /* of this look */
    int64_t now_us;
    char (*pending)[ALERT_KEY_MAX]; /* groups that held at the last look, and must twice */
    size_t n_pending;
    char (*holding)[ALERT_KEY_MAX]; /* those of this look */
    size_t n_holding;
    struct alert_burst *burst; /* of this look, by channel */
    uint64_t looks, ledger_failures;
    struct alert_stats counts, shown; /* shown: under lock */
};

/* The configuration's channel of that name, or NULL. */
const struct alert_channel *alerts_channel(const struct config *config, struct strv name);
/* Tries what is due, and keeps what came of it. */
void alerts_deliver(struct alerts *a);

#endif
