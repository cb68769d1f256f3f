/*
 * tls_context.h - OpenSSL contexts for both sides of the gateway, and what went wrong in words.
 *
 * TLS 1.2 with ECDHE and AEAD ciphers, and TLS 1.3; ALPN http/1.1; no compression, no
 * renegotiation, no early data.  Contexts are immutable after they were made and are
 * shared by all workers, so a ticket that one worker gave is honoured by another.  Sockets,
 * handshakes and sessions are the callers'.
 */
#ifndef PROXY_TLS_CONTEXT_H
#define PROXY_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/rc.h"
#include "proxy/config.h"
#include "proxy/tls_tickets.h"

/* Room for every text made here to be whole, but for paths. */
enum { TLS_WHY_BYTES = 512 };

/*
 * For connections that we accept.  listen: its pairs (PEM files: the server's certificate
 * first, then its chain; a key without passphrase that fits it) and what clients must show;
 * its address is not looked at.  tickets (NULL: a key of the context's own) is kept by
 * reference.  Free with SSL_CTX_free.  NULL with the reason in why ("could not read private
 * key \"tls/server.key\": no such file or directory"), always terminated, cut at size.
 * Names paths, never contents.
 * A client that offers ALPN without http/1.1, or h2 where http2_too, is refused (RFC 7301
 * 3.2); h2 comes before http/1.1; one that offers none is served HTTP/1.1.
 */
SSL_CTX *tls_server_context(const struct listen_config *listen, bool http2_too,
                            struct tls_tickets *tickets, char *why, size_t size);

/*
 * SHA-256 of what such a context asks of client certificates and of the authorities that it
 * verifies them against: what was verified under another counts for nothing here.
 */
const unsigned char *tls_trust(const SSL_CTX *ctx);

/*
 * For connections that we make.  ca_file: PEM file of the authorities to trust, instead of
 * the system's; NULL: the system's.  An intermediate or a server's own certificate in it is
 * trusted for what it is.  verify false accepts any certificate.  Otherwise as above.
 */
SSL_CTX *tls_client_context(const char *ca_file, bool verify, char *why, size_t size);

/*
 * The same for Redis: no ALPN, which it does not speak; pair (NULL: none) is what we show of
 * ourselves.  Whoever reads such a connection reads until it has nothing more: no read-ahead.
 */
SSL_CTX *tls_redis_context(const char *ca_file, bool verify, const struct certificate_pair *pair,
                           char *why, size_t size);

/*
 * Before the handshake of a connection to host (a name, or an IP literal, with or without
 * brackets): server name indication for names, and with verify the check that the
 * certificate is the host's (RFC 9110 4.3.4; no wildcards for a part of a label).
 * RC_TLS where OpenSSL refuses the host, RC_BAD where it is none.
 */
enum rc tls_client_prepare(SSL *ssl, const char *host, bool verify) RC_MUST;

/* A time of a certificate as wall time; false where it cannot be read. */
bool tls_time(const ASN1_TIME *when, int64_t *us);

/*
 * Writes "could not DOING: reason" of a TLS failure to out, always terminated.  ssl (may be
 * NULL) tells more where a certificate was refused: "certificate verify failed:
 * certificate has expired".  Falls back on fail_text where TLS says nothing.
 */
void tls_fail_text(const SSL *ssl, const struct fail *fail, char *out, size_t size);

#endif
