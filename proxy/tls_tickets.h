/*
 * tls_tickets.h - the keys that session tickets of the proxy listener are sealed with.
 *
 * One set for the life of the process: whichever worker gave a ticket, and whatever was
 * reloaded since, a client that comes back resumes.  A new key takes over every
 * TICKET_ROTATE_S; the one before still opens tickets, the one before that is erased a
 * turn later, so that what was recorded of old connections stays closed for good.  Keys
 * are never written anywhere: other nodes and a restarted process make full handshakes.
 */
#ifndef PROXY_TLS_TICKETS_H
#define PROXY_TLS_TICKETS_H

#include <openssl/ssl.h>

struct tls_tickets;

enum {
    TICKET_ROTATE_S = 3600,
    TICKET_LIFE_S = 3600, /* of a session; never outlives the key that opens its ticket */
};

/* With a first key; one reference is the caller's.  NULL where OpenSSL lacks a cipher. */
struct tls_tickets *tls_tickets_new(void);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
/* NULL is legal.  The last one erases all keys. */
void tls_tickets_unref(struct tls_tickets *t);
/*
 * A new key seals from now on.  By one thread at a time, at the earliest a second after the
 * last: the workers read without a lock, and none of them holds a key for so long.
 */
void tls_tickets_rotate(struct tls_tickets *t);
/* Sessions of ctx use these keys; ctx keeps a reference.  1 for success, as OpenSSL has it. */
int tls_tickets_use(SSL_CTX *ctx, struct tls_tickets *t);

#endif
