/*
 * tls_takeover.h - when a TLS 1.3 connection needs OpenSSL no more.
 *
 * A tls_takeover watches a connection's handshake: who derives the traffic secrets (tls_kdf.h)
 * tells it of them, the socket's reader and writer of the bytes, of which it counts the records.
 * Once the first data has been read, so that whatever tickets come with it have been OpenSSL's, the stream goes on
 * without (tls_stream.h).  Where that is not possible (TLS 1.2, keys turned meanwhile, a client that
 * asked for small records) OpenSSL keeps the connection; nothing else depends on which.
 */
#ifndef PROXY_TLS_TAKEOVER_H
#define PROXY_TLS_TAKEOVER_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

struct tls_takeover;
struct tls_stream;

/*
 * Watches ssl, of a context with the properties that tls_kdf.h gives (else there is no takeover).
 * It must not have begun, and no longer reads ahead.  Free before ssl.
 */
struct tls_takeover *tls_takeover_new(SSL *ssl);
/* Takes NULL. */
void tls_takeover_free(struct tls_takeover *t);

/* SSL_do_handshake(3). */
int tls_takeover_shake(struct tls_takeover *t, SSL *ssl);
/* Bytes that OpenSSL was given by the socket, or that the socket took of it. */
void tls_takeover_read(struct tls_takeover *t, const char *bytes, size_t n);
void tls_takeover_wrote(struct tls_takeover *t, const char *bytes, size_t n);

enum takeover {
    TAKEOVER_LATER = 0, /* not at this moment */
    TAKEOVER_NEVER,     /* OpenSSL keeps it, and may read ahead again */
    TAKEOVER_DONE,      /* *stream is whole; ssl may be asked, and freed */
};

/* The handshake is complete: after this only data and what belongs to it is counted. */
void tls_takeover_begin(struct tls_takeover *t, SSL *ssl);
bool tls_takeover_has_begun(const struct tls_takeover *t);
/* After a read that gave data. */
enum takeover tls_takeover_try(struct tls_takeover *t, SSL *ssl, struct tls_stream **stream);

#endif
