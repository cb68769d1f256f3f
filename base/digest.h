/*
 * digest.h - SHA-256 and friends, by libcrypto.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strv.h"

enum { SHA256_BYTES = 32, SHA256_HEX = 65 };

void digest_sha256(struct strv bytes, unsigned char out[SHA256_BYTES]);
/* The same over parts one after another. */
void digest_sha256_parts(const struct strv *parts, size_t n, unsigned char out[SHA256_BYTES]);
/* HMAC-SHA-256 (RFC 2104). */
void digest_hmac_sha256(struct strv key, struct strv bytes, unsigned char out[SHA256_BYTES]);
/* Lower-case hex, terminated; out holds 2 n + 1 bytes. */
void digest_hex(const unsigned char *bytes, size_t n, char *out);
/* Equal, in a time that depends on n alone. */
bool digest_equal(const void *a, const void *b, size_t n);
/* n random bytes fit for keys. */
void digest_random(unsigned char *out, size_t n);

#endif
