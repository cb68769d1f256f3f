/*
 * conn.h - connections of one event loop: TLS, requests in, timed answers out.
 */
#ifndef PROVIDER_CONN_H
#define PROVIDER_CONN_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "base/list.h"
#include "tests/provider/endpoint.h"

/* One event loop. */
struct worker {
    struct event_base *base;
    SSL_CTX *tls; /* NULL: clear text */
    const struct settings *settings;
    struct memo *memo; /* of this thread alone */
    struct list_node conns;
};

/* Takes over an accepted, non-blocking descriptor. */
void conn_open(struct worker *worker, int fd);
/* Closes every connection of the worker. */
void conn_close_all(struct worker *worker);

#endif
