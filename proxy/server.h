/*
 * server.h - the process: workers, ledger, counters and admin listener, from start to exit.
 */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/generation.h"

struct addresses;
struct desk;
struct collected;
struct ledger;
struct limit_memory;
struct memory;
struct rebuild;
struct server;

/*
 * Runs until a signal ends it: SIGHUP reloads, SIGTERM and SIGINT drain, a second one
 * stops at once.  Takes over the generation.  Returns the exit status.
 */
int server_run(struct generation *generation);

/* ---- for workers, from any thread ---- */

/* One more client connection, if the bound allows. */
bool server_connections_add(struct server *server, size_t max);
void server_connections_sub(struct server *server);
struct addresses *server_addresses(struct server *server);
struct memory *server_memory(struct server *server);
/* A worker has nothing left to do. */
void server_worker_done(struct server *server);
/* What the process shares between workers. */
struct ledger *server_ledger(struct server *server);
/* What was counted of answers that can be fetched again. */
struct collected *server_collected(struct server *server);
struct limit_memory *server_limit_memory(struct server *server);
struct desk *server_desk(struct server *server);
struct rebuild *server_rebuild(struct server *server);
/*
 * Whose part of shared counters is this gateway's (owner.h), and which start this is; NULL as long
 * as the ledger, which knows, cannot be opened.
 */
const char *server_owner(const struct server *server, int64_t *start);
/* The newest one: a reference that the caller gives back. */
struct generation *server_generation(struct server *server);

#endif
