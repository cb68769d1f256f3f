#include "base/fingerprint.h"

#include <string.h>

#include <xxhash.h>

#include "base/digest.h"

void fingerprint_key_make(struct fingerprint_key *key, struct strv seed)
{
    unsigned char block[SHA256_BYTES];

    for (unsigned i = 0; i < FINGERPRINT_SECRET_BYTES / SHA256_BYTES; i++) {
        char label[] = "tollgate fingerprint secret 0";

        label[sizeof(label) - 2] = (char)('0' + i);
        digest_hmac_sha256(seed, strv_z(label), block);
        memcpy(key->secret + i * SHA256_BYTES, block, SHA256_BYTES);
    }
    digest_hmac_sha256(seed, STRV("tollgate fingerprint key"), block);
    memcpy(key->sip.k, block, sizeof(key->sip.k));
}

uint64_t fingerprint(const struct fingerprint_key *key, struct strv text, uint64_t context)
{
    XXH128_hash_t hash = XXH3_128bits_withSecret(text.n ? text.p : "", text.n, key->secret,
                                                 FINGERPRINT_SECRET_BYTES);
    uint64_t block[2] = {hash.low64, hash.high64 ^ context};
    uint64_t mark = siphash(&key->sip, strv_make((const char *)block, sizeof(block)));

    return mark ? mark : 1;
}
