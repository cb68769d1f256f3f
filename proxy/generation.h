/*
 * generation.h - one loaded configuration with what is made from it once: TLS contexts.
 *
 * Immutable and counted: a reload makes a new generation and replaces the old one
 * as a whole; exchanges that run keep theirs until they end.
 */
#ifndef PROXY_GENERATION_H
#define PROXY_GENERATION_H

#include <stdatomic.h>

#include <openssl/ssl.h>

#include "base/problem.h"
#include "proxy/config.h"
#include "proxy/tls_tickets.h"

struct memory;

struct generation {
    atomic_uint refs;
    struct config *config;
    SSL_CTX *server;   /* for the proxy listener */
    struct tls_tickets *tickets; /* of server; all generations of a process have the same */
    SSL_CTX **clients; /* one an upstream, NULL where it is plain */
    struct memory *memory; /* asked to give back what this took once it has gone; NULL: nobody is */
};

/*
 * Loads and checks file; NULL with problems.  One reference is the caller's.  before: what it
 * is to replace (NULL: nothing), whose clients' sessions it resumes.
 */
struct generation *generation_load(const char *file, const struct generation *before,
                                   struct problems *problems);
struct generation *generation_ref(struct generation *g);
/* NULL is legal. */
void generation_unref(struct generation *g);

#endif
