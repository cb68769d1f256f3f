/*
 * fingerprint.h - keyed 64-bit hashes of long texts, at memory speed.
 *
 * Two equal texts have the same fingerprint under one key, different ones practically
 * never; without the key nothing about a text can be had from its fingerprint, not even
 * whether a guess is right.  XXH3 (libxxhash) over the text with a secret of its own, then
 * SipHash-2-4 over its 128 bits.
 */
#ifndef BASE_FINGERPRINT_H
#define BASE_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/strv.h"

enum { FINGERPRINT_SECRET_BYTES = 192 };

/* Never changes once it is made: many threads may use it. */
struct fingerprint_key {
    unsigned char secret[FINGERPRINT_SECRET_BYTES];
    struct siphash_key sip;
};

/* Derived from a seed that is itself secret (HMAC-SHA-256). */
void fingerprint_key_make(struct fingerprint_key *key, struct strv seed);
/* Never 0, which stands for "none". context tells texts apart that are alike. */
uint64_t fingerprint(const struct fingerprint_key *key, struct strv text, uint64_t context);

#endif
