#include "base/digest.h"

#include <pthread.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/check.h"

static EVP_MD *sha256_method; /* never changes once it is there */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256_method = EVP_MD_fetch(NULL, "SHA256", NULL);
    ASSERT(sha256_method != NULL);
}

/* EVP_sha256() would be looked up among the providers for every digest. */
static const EVP_MD *sha256(void)
{
    ASSERT(pthread_once(&sha256_once, fetch_sha256) == 0);
    return sha256_method;
}

/*
 * Every request has its key looked up by its digest.  The plain functions take a quarter of
 * what EVP_Digest takes for a text this short; OpenSSL 3 only advises against them.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
void digest_sha256(struct strv bytes, unsigned char out[SHA256_BYTES])
{
    SHA256_CTX sum;

    ASSERT(SHA256_Init(&sum) == 1 && SHA256_Update(&sum, bytes.p, bytes.n) == 1 &&
           SHA256_Final(out, &sum) == 1);
    OPENSSL_cleanse(&sum, sizeof(sum));
}
#pragma GCC diagnostic pop

void digest_sha256_parts(const struct strv *parts, size_t n, unsigned char out[SHA256_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    ASSERT(context != NULL && EVP_DigestInit_ex(context, sha256(), NULL) == 1);
    for (size_t i = 0; i < n; i++)
        ASSERT(EVP_DigestUpdate(context, parts[i].p, parts[i].n) == 1);
    ASSERT(EVP_DigestFinal_ex(context, out, NULL) == 1);
    EVP_MD_CTX_free(context);
}

void digest_hmac_sha256(struct strv key, struct strv bytes, unsigned char out[SHA256_BYTES])
{
    unsigned int n = 0;

    ASSERT(HMAC(sha256(), key.p, (int)key.n, (const unsigned char *)bytes.p, bytes.n, out,
                &n) != NULL);
    ASSERT(n == SHA256_BYTES);
}

void digest_hex(const unsigned char *bytes, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

bool digest_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void digest_random(unsigned char *out, size_t n)
{
    ASSERT(RAND_bytes(out, (int)n) == 1);
}
