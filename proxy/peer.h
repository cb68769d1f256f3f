/*
 * peer.h - who a client's certificate says it is.
 *
 * Made once a connection, after the handshake, of a certificate whose chain OpenSSL has
 * verified against listen.proxy.client_ca; of any other there is none.  Says names; which
 * virtual key they stand for is config_peer_key's business.
 */
#ifndef PROXY_PEER_H
#define PROXY_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/digest.h"
#include "base/strv.h"

enum {
    PEER_NAMES_MAX = 64,         /* alternative names that are looked at */
    PEER_NAME_MAX_BYTES = 1024,  /* of one; longer ones are none */
};

/* Immutable; counted by the connection and its streams, all of one worker. */
struct peer {
    unsigned refs;
    unsigned char trust[SHA256_BYTES]; /* of the authorities that it was verified against */
    char fingerprint[SHA256_HEX];      /* SHA-256 of the certificate, lower case hex */
    int64_t from_us, until_us;         /* wall time: [from, until) */
    struct strv names[PEER_NAMES_MAX]; /* DNS names, URIs, mail addresses, as written */
    size_t n_names;
    struct strv common; /* the common name; empty where there is none, or several */
};

/*
 * Of a finished handshake; NULL where the client gave no certificate or it was not
 * verified.  trust: tls_trust of the context.
 */
struct peer *peer_new(SSL *ssl, const unsigned char trust[SHA256_BYTES]);
/* NULL is legal, and gives NULL. */
struct peer *peer_ref(struct peer *peer);
void peer_unref(struct peer *peer);
/* Does it still count at that wall time, with these authorities? False for NULL. */
bool peer_is_good(const struct peer *peer, const unsigned char trust[SHA256_BYTES],
                  int64_t now_us);

#endif
