/*
 * siphash.h - SipHash, a keyed hash for short texts (Aumasson and Bernstein 2012): without the
 * key nobody can tell what a text hashes to.
 *
 * SipHash-2-4 of 64 and 128 bits, and the lighter SipHash-1-3 for tables.
 */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stdint.h>

#include "base/strv.h"

struct siphash_key {
    uint64_t k[2];
};

/* A key of random bits. */
struct siphash_key siphash_key_random(void);
/* SipHash-2-4. */
uint64_t siphash(const struct siphash_key *key, struct strv text);
/* SipHash-2-4 of 128 bits, as its authors extended it. */
void siphash_128(const struct siphash_key *key, struct strv text, uint64_t out[2]);
/* SipHash-1-3: for tables, where an answer shows nothing of the hash but time. */
uint64_t siphash_table(const struct siphash_key *key, struct strv text);

#endif
