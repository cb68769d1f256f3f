#include "proxy/tls_gcm.h"

#ifndef HAVE_IPSEC_MB

bool tls_gcm_is_usable(void)
{
    return false;
}

struct tls_gcm *tls_gcm_new(const unsigned char *key, size_t key_bytes)
{
    (void)key;
    (void)key_bytes;
    return NULL;
}

void tls_gcm_free(struct tls_gcm *g)
{
    (void)g;
}

void tls_gcm_seal(const struct tls_gcm *g, const unsigned char iv[TLS_GCM_IV_BYTES],
                  const unsigned char *said, size_t said_n, const unsigned char *from, size_t n,
                  unsigned char last, unsigned char *out)
{
    (void)g, (void)iv, (void)said, (void)said_n, (void)from, (void)n, (void)last, (void)out;
}

bool tls_gcm_open(const struct tls_gcm *g, const unsigned char iv[TLS_GCM_IV_BYTES],
                  const unsigned char *said, size_t said_n, const unsigned char *from, size_t n,
                  unsigned char *out)
{
    (void)g, (void)iv, (void)said, (void)said_n, (void)from, (void)n, (void)out;
    return false;
}

#else

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/check.h"
#include "base/xalloc.h"

enum {
    KEY_ALIGN_BYTES = 64,
    ASKED_BYTES = 1000, /* in one go: more than the widest step, and no multiple of any */
    ASKED_SAID_BYTES = 5,
};

/* What the library does with keys of one length, in the way that suits this processor. */
struct way {
    __typeof__(((IMB_MGR *)0)->gcm128_pre) prepare;
    __typeof__(((IMB_MGR *)0)->gcm128_init) begin;
    __typeof__(((IMB_MGR *)0)->gcm128_enc_update) seal;
    __typeof__(((IMB_MGR *)0)->gcm128_dec_update) open;
    __typeof__(((IMB_MGR *)0)->gcm128_enc_finalize) seal_end;
    __typeof__(((IMB_MGR *)0)->gcm128_dec_finalize) open_end;
};

struct tls_gcm {
    alignas(KEY_ALIGN_BYTES) struct gcm_key_data key;
    const struct way *way;
};

static struct way ways[2]; /* keys of 16 bytes, of 32 */
static bool is_usable;
static pthread_once_t ways_once = PTHREAD_ONCE_INIT;

struct tls_gcm *tls_gcm_new(const unsigned char *key, size_t key_bytes)
{
    struct tls_gcm *g = xaligned(KEY_ALIGN_BYTES, sizeof(*g));

    ASSERT(key_bytes == 16 || key_bytes == 32);
    g->way = &ways[key_bytes == 32];
    g->way->prepare(key, &g->key);
    return g;
}

/* What OpenSSL makes of the same: sealed bytes, then the tag. */
static bool ask_openssl(const unsigned char *key, size_t key_bytes, const unsigned char *iv,
                        const unsigned char *said, const unsigned char *from, size_t n,
                        unsigned char *out)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int put = 0;
    bool ok = cipher &&
              EVP_EncryptInit_ex(cipher, key_bytes == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm(),
                                 NULL, key, iv) == 1 &&
              EVP_EncryptUpdate(cipher, NULL, &put, said, ASKED_SAID_BYTES) == 1 &&
              EVP_EncryptUpdate(cipher, out, &put, from, (int)n) == 1 &&
              EVP_EncryptFinal_ex(cipher, out + n, &put) == 1 &&
              EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TLS_GCM_TAG_BYTES, out + n) == 1;

    EVP_CIPHER_CTX_free(cipher);
    return ok;
}

static bool agrees(size_t key_bytes)
{
    unsigned char text[ASKED_BYTES], key[32], back[ASKED_BYTES];
    unsigned char ours[ASKED_BYTES + TLS_GCM_TAG_BYTES], theirs[ASKED_BYTES + TLS_GCM_TAG_BYTES];
    struct tls_gcm *g;
    bool ok;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (unsigned char)(i * 29 + (i >> 8));
    memcpy(key, text + 100, sizeof(key));
    g = tls_gcm_new(key, key_bytes);
    tls_gcm_seal(g, text + 7, text, ASKED_SAID_BYTES, text, ASKED_BYTES - 1,
                 text[ASKED_BYTES - 1], ours);
    ok = ask_openssl(key, key_bytes, text + 7, text, text, ASKED_BYTES, theirs) &&
         memcmp(ours, theirs, sizeof(ours)) == 0 &&
         tls_gcm_open(g, text + 7, text, ASKED_SAID_BYTES, ours, ASKED_BYTES, back) &&
         memcmp(back, text, sizeof(back)) == 0;
    tls_gcm_free(g);
    return ok;
}

static void find_ways(void)
{
    IMB_MGR *m = alloc_mb_mgr(0);

    if (!m)
        return;
    init_mb_mgr_auto(m, NULL);
    if ((m->features & IMB_FEATURE_AESNI) && (m->features & IMB_FEATURE_PCLMULQDQ) &&
        imb_get_errno(m) == 0) {
        ways[0] = (struct way){.prepare = m->gcm128_pre,
                               .begin = m->gcm128_init,
                               .seal = m->gcm128_enc_update,
                               .open = m->gcm128_dec_update,
                               .seal_end = m->gcm128_enc_finalize,
                               .open_end = m->gcm128_dec_finalize};
        ways[1] = (struct way){.prepare = m->gcm256_pre,
                               .begin = m->gcm256_init,
                               .seal = m->gcm256_enc_update,
                               .open = m->gcm256_dec_update,
                               .seal_end = m->gcm256_enc_finalize,
                               .open_end = m->gcm256_dec_finalize};
        is_usable = agrees(16) && agrees(32);
    }
    free_mb_mgr(m);
}

bool tls_gcm_is_usable(void)
{
    pthread_once(&ways_once, find_ways);
    return is_usable;
}

void tls_gcm_free(struct tls_gcm *g)
{
    if (!g)
        return;
    OPENSSL_cleanse(g, sizeof(*g));
    free(g);
}

void tls_gcm_seal(const struct tls_gcm *g, const unsigned char iv[TLS_GCM_IV_BYTES],
                  const unsigned char *said, size_t said_n, const unsigned char *from, size_t n,
                  unsigned char last, unsigned char *out)
{
    const struct way *way = g->way;
    struct gcm_context_data at;

    way->begin(&g->key, &at, iv, said, said_n);
    if (n > 0)
        way->seal(&g->key, &at, out, from, n);
    way->seal(&g->key, &at, out + n, &last, 1);
    way->seal_end(&g->key, &at, out + n + 1, TLS_GCM_TAG_BYTES);
}

bool tls_gcm_open(const struct tls_gcm *g, const unsigned char iv[TLS_GCM_IV_BYTES],
                  const unsigned char *said, size_t said_n, const unsigned char *from, size_t n,
                  unsigned char *out)
{
    const struct way *way = g->way;
    unsigned char tag[TLS_GCM_TAG_BYTES];
    struct gcm_context_data at;

    way->begin(&g->key, &at, iv, said, said_n);
    way->open(&g->key, &at, out, from, n);
    way->open_end(&g->key, &at, tag, sizeof(tag));
    return CRYPTO_memcmp(tag, from + n, sizeof(tag)) == 0;
}

#endif
