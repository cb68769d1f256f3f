/*
 * counters.h - how the shared counters are reached: by workers, by threads that may block, by
 * commands.
 */
#ifndef PROXY_COUNTERS_H
#define PROXY_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "metering/limits/limit.h"
#include "proxy/config.h"

/*
 * What TLS to Redis takes: authorities, certificate, whom to verify.  Counted; any thread may make
 * connections with it.  Its files are read once, by counters_tls_load or for the first connection.
 */
struct counters_tls;

/* Strings are copied; certificate and private_key both or neither; others of them may be NULL. */
struct counters_tls *counters_tls_new(const struct config *config);
struct counters_tls *counters_tls_ref(struct counters_tls *tls);
/* NULL is legal. */
void counters_tls_unref(struct counters_tls *tls);
/* Reads the files where that was not done; false with the reason as tls_client_context says it. */
bool counters_tls_load(struct counters_tls *tls, char *why, size_t size);

/*
 * The configuration's part of what a limiter, and what reads its counters, is told: where Redis is,
 * how it is spoken to, and the keys' prefix.  Borrows from config.
 */
struct limiter_options counters_options(const struct config *config);
/* The same for a command: from now on a Redis that hangs up is an error, not the process's end. */
struct limiter_options counters_options_of_command(const struct config *config);

#endif
