/*
 * tls_kdf.h - TLS 1.3's key schedule (RFC 8446, 7.1), as a provider of OpenSSL's.
 *
 * A handshake derives some twenty secrets.  OpenSSL 3 looks up the derivation, the hash and the
 * MAC by their names for each, which takes several times what the hashing does; a provider may
 * bring a derivation of its own, and this one hashes and nothing else.  It also knows the traffic
 * secrets when they are made, so that a connection can go on without OpenSSL (tls_takeover.h).
 */
#ifndef PROXY_TLS_KDF_H
#define PROXY_TLS_KDF_H

#include <stddef.h>

/*
 * What SSL_CTX_new_ex takes as properties so that the context's keys are derived here.  NULL:
 * OpenSSL does not take the provider; contexts work as ever.
 */
const char *tls_kdf_properties(void);

/* A secret of n bytes was derived under that label ("c ap traffic"); valid during the call. */
typedef void tls_kdf_fn(void *arg, const char *label, size_t label_n, const unsigned char *secret,
                        size_t n);
/* Is told of what this thread derives, until the next call; fn NULL: nobody is. */
void tls_kdf_watch(tls_kdf_fn *fn, void *arg);

#endif
