/*
 * alerts.h - tells people: looks, decides what is news, delivers; on a thread of its own.
 *
 * Edge-triggered: a condition is told when it begins to hold and when it ends, once a
 * window; what waits to be delivered and what was told survive a restart.  Workers
 * never wait for it.
 */
#ifndef PROXY_ALERTS_H
#define PROXY_ALERTS_H

struct alerts;
struct server;

/* Starts the thread; the configuration of each moment is followed. */
struct alerts *alerts_start(struct server *server);
/* NULL is legal. Waits for a delivery under way, at most some seconds. */
void alerts_stop(struct alerts *a);

#endif
