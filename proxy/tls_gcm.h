/*
 * tls_gcm.h - AES-GCM as records of TLS 1.3 use it (RFC 5116, 5.1 and 5.2; RFC 8446, 5.2), by
 * Intel's Multi-Buffer Crypto for IPsec (Debian's libipsec-mb) where the program was built with
 * it and the processor has AES and carry-less multiplication.
 *
 * It does 64 bytes an instruction where the processor can, and takes a short record without the
 * envelope that OpenSSL puts around its ciphers.  Before its first key it is asked the same as
 * OpenSSL; if it says anything else, it is not used.  A key made ready takes a kilobyte and a
 * tenth of a microsecond, so that what rests does without.
 */
#ifndef PROXY_TLS_GCM_H
#define PROXY_TLS_GCM_H

#include <stdbool.h>
#include <stddef.h>

enum { TLS_GCM_IV_BYTES = 12, TLS_GCM_TAG_BYTES = 16 };

/* A key, ready for either direction. */
struct tls_gcm;

/* false: not in this build, not on this processor, or it does not agree with OpenSSL: use that. */
bool tls_gcm_is_usable(void);

/* key_bytes: 16 or 32.  The caller frees it.  Only where it is usable. */
struct tls_gcm *tls_gcm_new(const unsigned char *key, size_t key_bytes);
/* Clears the key too. NULL is nothing. */
void tls_gcm_free(struct tls_gcm *g);

/*
 * Seals n bytes at from (0 and more) and `last` behind them, which go to out with the tag behind
 * them: n + 1 + TLS_GCM_TAG_BYTES.  from may be out, and may not overlap it otherwise.  said: the
 * said_n bytes that are authentic and not hidden.  An iv is never used twice with a key.
 */
void tls_gcm_seal(const struct tls_gcm *g, const unsigned char iv[TLS_GCM_IV_BYTES],
                  const unsigned char *said, size_t said_n, const unsigned char *from, size_t n,
                  unsigned char last, unsigned char *out);

/*
 * Opens n bytes at from, with their tag behind them, into out (which does not overlap them).
 * false: they are not what was sealed, and what is in out is nobody's.
 */
bool tls_gcm_open(const struct tls_gcm *g, const unsigned char iv[TLS_GCM_IV_BYTES],
                  const unsigned char *said, size_t said_n, const unsigned char *from, size_t n,
                  unsigned char *out);

#endif
