/*
 * alerts.h - tells people: looks, decides what is news, delivers; on a thread of its own.
 *
 * Edge-triggered: a condition is told when it begins to hold and when it ends, once a
 * window; what waits to be delivered and what was told survive a restart.  Workers
 * never wait for it.
 */
#ifndef PROXY_ALERTS_H
#define PROXY_ALERTS_H

#include <stddef.h>
#include <stdint.h>

struct alerts;
struct server;

enum alert_count { ALERT_COUNT_SENT = 0, ALERT_COUNT_RETRIED, ALERT_COUNT_LOST, ALERT_COUNTS };
enum { ALERT_CHANNEL_KINDS = 4 }; /* enum alert_channel_kind */

struct alert_stats {
    uint64_t by[ALERT_CHANNEL_KINDS][ALERT_COUNTS]; /* deliveries since the start */
    size_t firing;                                 /* told and not over */
    size_t waiting;                                /* to be delivered */
};

/* Starts the thread; the configuration of each moment is followed. NULL, logged, where it cannot. */
struct alerts *alerts_start(struct server *server);
/* NULL is legal. Waits for a delivery under way, at most some seconds. */
void alerts_stop(struct alerts *a);
/* As of the last quarter of a second, from any thread. NULL: nothing. */
void alerts_stats(struct alerts *a, struct alert_stats *out);

#endif
