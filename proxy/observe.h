/*
 * observe.h - what the admin listener shows of a running process: metrics, readiness, counters.
 */
#ifndef PROXY_OBSERVE_H
#define PROXY_OBSERVE_H

struct observe;
struct server;

/* Starts the admin listener. NULL where it cannot listen (logged). */
struct observe *observe_start(struct server *server);
/* After a reload of the configuration: certificate and token anew. */
void observe_reload(struct observe *o);
/* NULL is legal. */
void observe_stop(struct observe *o);
/* The port it listens on. */
int observe_port(const struct observe *o);

#endif
