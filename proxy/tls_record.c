#include "proxy/tls_record.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "base/check.h"
#include "proxy/tls_gcm.h"

enum {
    SUITES = 3,
    INFO_MAX_BYTES = 32, /* length, label, empty context, counter */
    SMALL_BYTES = 2 << 10, /* up to here a copy is cheaper than sealing the type by itself */
};

static const struct tls_suite suites[SUITES] = {
    {0x1301, "AES-128-GCM", true, 16, 32},
    {0x1302, "AES-256-GCM", true, 32, 48},
    {0x1303, "ChaCha20-Poly1305", false, 32, 32},
};

static EVP_CIPHER *ciphers[SUITES];
static pthread_once_t ciphers_once = PTHREAD_ONCE_INIT;

static void fetch_ciphers(void)
{
    for (size_t i = 0; i < SUITES; i++)
        ciphers[i] = EVP_CIPHER_fetch(NULL, suites[i].cipher, NULL);
}

const struct tls_suite *tls_suite_find(unsigned id)
{
    for (size_t i = 0; i < SUITES; i++) {
        if (suites[i].id == id)
            return &suites[i];
    }
    return NULL;
}

/* HKDF-Expand-Label with an empty context, for no more than one block of the hash. */
static bool expand(const struct tls_suite *suite, const unsigned char *secret, const char *label,
                   unsigned char *out, size_t n)
{
    const EVP_MD *hash = suite->secret_bytes == 48 ? EVP_sha384() : EVP_sha256();
    unsigned char info[INFO_MAX_BYTES], block[EVP_MAX_MD_SIZE];
    size_t label_n = strlen(label), at = 0;
    bool ok;

    ASSERT(n <= suite->secret_bytes && label_n + 11 <= sizeof(info));
    info[at++] = 0;
    info[at++] = (unsigned char)n;
    info[at++] = (unsigned char)(6 + label_n);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, label_n);
    at += 6 + label_n;
    info[at++] = 0; /* context */
    info[at++] = 1; /* HKDF's counter */
    ok = HMAC(hash, secret, (int)suite->secret_bytes, info, at, block, NULL) != NULL;
    if (ok)
        memcpy(out, block, n);
    OPENSSL_cleanse(block, sizeof(block));
    return ok;
}

static bool take_key(struct tls_half *h, const unsigned char *key)
{
    EVP_CIPHER *cipher = ciphers[h->suite - suites];

    if (h->suite->is_gcm && tls_gcm_is_usable()) {
        tls_half_rest(h);
        memcpy(h->key, key, h->suite->key_bytes);
        return true;
    }
    if (!h->cipher)
        h->cipher = EVP_CIPHER_CTX_new();
    return cipher && h->cipher &&
           EVP_CipherInit_ex2(h->cipher, cipher, key, NULL, h->seals, NULL) == 1;
}

static bool set_keys(struct tls_half *h)
{
    unsigned char key[TLS_KEY_MAX_BYTES];
    bool ok;

    ok = expand(h->suite, h->secret, "key", key, h->suite->key_bytes) &&
         expand(h->suite, h->secret, "iv", h->iv, sizeof(h->iv)) && take_key(h, key);
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}

bool tls_half_init(struct tls_half *h, const struct tls_suite *suite, const unsigned char *secret,
                   uint64_t number, bool seals)
{
    pthread_once(&ciphers_once, fetch_ciphers);
    *h = (struct tls_half){.suite = suite, .seals = seals, .number = number};
    memcpy(h->secret, secret, suite->secret_bytes);
    if (set_keys(h))
        return true;
    tls_half_fini(h);
    return false;
}

void tls_half_rest(struct tls_half *h)
{
    tls_gcm_free(h->gcm);
    h->gcm = NULL;
}

void tls_half_fini(struct tls_half *h)
{
    tls_half_rest(h);
    EVP_CIPHER_CTX_free(h->cipher);
    OPENSSL_cleanse(h, sizeof(*h));
}

bool tls_half_turn(struct tls_half *h)
{
    unsigned char next[TLS_SECRET_MAX_BYTES];

    if (!expand(h->suite, h->secret, "traffic upd", next, h->suite->secret_bytes))
        return false;
    memcpy(h->secret, next, h->suite->secret_bytes);
    OPENSSL_cleanse(next, sizeof(next));
    h->number = 0;
    return set_keys(h);
}

/* The key of a direction that may have rested. */
static const struct tls_gcm *ready(struct tls_half *h)
{
    if (!h->gcm)
        h->gcm = tls_gcm_new(h->key, h->suite->key_bytes);
    return h->gcm;
}

/* 5.3: the number, padded to the left, over the direction's own iv. */
static bool next_nonce(struct tls_half *h, unsigned char nonce[TLS_IV_BYTES])
{
    uint64_t number = h->number++;

    memcpy(nonce, h->iv, TLS_IV_BYTES);
    for (size_t i = TLS_IV_BYTES; number > 0; number >>= 8)
        nonce[--i] ^= (unsigned char)number;
    return h->number != 0; /* never the same nonce twice */
}

/* The record whose head is at out, by OpenSSL. */
static bool seal(struct tls_half *h, const unsigned char *nonce, unsigned char last,
                 const char *from, size_t n, unsigned char *out)
{
    unsigned char *body = out + TLS_HEAD_BYTES;
    int put = 0;

    if (EVP_EncryptInit_ex2(h->cipher, NULL, NULL, nonce, NULL) != 1 ||
        EVP_EncryptUpdate(h->cipher, NULL, &put, out, TLS_HEAD_BYTES) != 1)
        return false;
    if (n <= SMALL_BYTES) {
        memcpy(body, from, n);
        body[n] = last;
        if (EVP_EncryptUpdate(h->cipher, body, &put, body, (int)n + 1) != 1)
            return false;
    } else if (EVP_EncryptUpdate(h->cipher, body, &put, (const unsigned char *)from, (int)n) != 1 ||
               EVP_EncryptUpdate(h->cipher, body + n, &put, &last, 1) != 1) {
        return false;
    }
    return EVP_EncryptFinal_ex(h->cipher, body + n + 1, &put) == 1 &&
           EVP_CIPHER_CTX_ctrl(h->cipher, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_BYTES, body + n + 1) == 1;
}

bool tls_seal(struct tls_half *h, enum tls_type type, const char *from, size_t n,
              unsigned char *out)
{
    unsigned char nonce[TLS_IV_BYTES];
    size_t sealed = n + 1 + TLS_TAG_BYTES;

    ASSERT(h->seals && n <= TLS_PLAIN_MAX_BYTES);
    out[0] = TLS_TYPE_DATA;
    out[1] = out[2] = 3;
    out[3] = (unsigned char)(sealed >> 8);
    out[4] = (unsigned char)sealed;
    if (!next_nonce(h, nonce))
        return false;
    if (h->cipher)
        return seal(h, nonce, (unsigned char)type, from, n, out);
    tls_gcm_seal(ready(h), nonce, out, TLS_HEAD_BYTES, (const unsigned char *)from, n,
                 (unsigned char)type, out + TLS_HEAD_BYTES);
    return true;
}

/* The n sealed bytes behind a record's head, and the tag behind them, by OpenSSL. */
static bool open_sealed(struct tls_half *h, const unsigned char *nonce, const unsigned char *record,
                        size_t n, unsigned char *to)
{
    const unsigned char *body = record + TLS_HEAD_BYTES;
    unsigned char tag[TLS_TAG_BYTES];
    OSSL_PARAM params[2] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, sizeof(tag)),
        OSSL_PARAM_construct_end()};
    int put = 0, end = 0;

    memcpy(tag, body + n, sizeof(tag));
    return EVP_DecryptInit_ex2(h->cipher, NULL, NULL, nonce, params) == 1 &&
           EVP_DecryptUpdate(h->cipher, NULL, &put, record, TLS_HEAD_BYTES) == 1 &&
           EVP_DecryptUpdate(h->cipher, to, &put, body, (int)n) == 1 &&
           EVP_DecryptFinal_ex(h->cipher, to + n, &end) == 1;
}

bool tls_open(struct tls_half *h, const unsigned char *record, size_t n, char *out, size_t *got,
              unsigned *type)
{
    unsigned char nonce[TLS_IV_BYTES];
    unsigned char *to = (unsigned char *)out;
    bool ok;

    ASSERT(!h->seals && n > TLS_TAG_BYTES && n <= TLS_SEALED_MAX_BYTES);
    n -= TLS_TAG_BYTES;
    if (!next_nonce(h, nonce))
        return false;
    ok = h->cipher ? open_sealed(h, nonce, record, n, to)
                   : tls_gcm_open(ready(h), nonce, record, TLS_HEAD_BYTES,
                                  record + TLS_HEAD_BYTES, n, to);
    if (!ok)
        return false;
    while (n > 0 && to[n - 1] == 0)
        n--;
    if (n == 0)
        return false;
    *type = to[n - 1];
    *got = n - 1;
    return true;
}
