/*
 * tls_names.h - several certificates behind one address: which one a client gets.
 *
 * By the name that the client says it wants (SNI, RFC 6066 3) and the DNS names in the
 * certificates (subjectAltName): an exact name before a wildcard, which stands for one
 * label; where several certificates have the name, one of each key type, the first given.
 * A client that names none of them, or nothing, gets the context's own certificate.
 */
#ifndef PROXY_TLS_NAMES_H
#define PROXY_TLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

struct tls_names;

enum { TLS_NAMES_MAX = 10000 }; /* of all certificates of a listener */

struct tls_names *tls_names_new(void);
/* NULL is legal. */
void tls_names_free(struct tls_names *names);
/*
 * Adds what ctx has loaded last: its certificate, chain and key.  False where it has none,
 * or with more names than TLS_NAMES_MAX.
 */
bool tls_names_add(struct tls_names *names, SSL_CTX *ctx);
/* Connections of ctx choose among them; ctx takes names over, and frees them with itself. */
bool tls_names_give(SSL_CTX *ctx, struct tls_names *names);

#endif
