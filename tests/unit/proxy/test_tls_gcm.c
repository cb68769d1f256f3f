/*
 * AES-GCM of records beside OpenSSL's: the same bytes at every length around the steps of the
 * widest processor, wherever texts lie; and what was changed is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "proxy/tls_gcm.h"
#include "proxy/tls_record.h"

enum { MOST = TLS_SEALED_MAX_BYTES, SAID = 5, SHIFTS = 64 };

static unsigned char text[MOST + SHIFTS], sealed[MOST + TLS_GCM_TAG_BYTES + SHIFTS];
static unsigned char expected[MOST + TLS_GCM_TAG_BYTES], back[MOST + SHIFTS];

static const unsigned char iv[TLS_GCM_IV_BYTES] = "not so often";
static const unsigned char said[SAID] = {23, 3, 3, 1, 2};

static void by_openssl(const unsigned char *key, size_t key_bytes, const unsigned char *from,
                       size_t n, unsigned char *out)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int put;

    assert_int_equal(EVP_EncryptInit_ex(cipher,
                                        key_bytes == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm(),
                                        NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(cipher, NULL, &put, said, SAID), 1);
    assert_int_equal(EVP_EncryptUpdate(cipher, out, &put, from, (int)n), 1);
    assert_int_equal(EVP_EncryptFinal_ex(cipher, out + n, &put), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, out + n), 1);
    EVP_CIPHER_CTX_free(cipher);
}

/* n bytes (1 and more) of text from `shift` on, there and back. */
static void same(const struct tls_gcm *g, const unsigned char *key, size_t key_bytes, size_t n,
                 size_t shift)
{
    const unsigned char *from = text + shift;
    unsigned char *to = sealed + (SHIFTS - 1 - shift);

    by_openssl(key, key_bytes, from, n, expected);
    tls_gcm_seal(g, iv, said, SAID, from, n - 1, from[n - 1], to);
    assert_memory_equal(to, expected, n + TLS_GCM_TAG_BYTES);
    assert_true(tls_gcm_open(g, iv, said, SAID, to, n, back + shift));
    assert_memory_equal(back + shift, from, n);
}

static void fill(void)
{
    srand(8446);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (unsigned char)rand();
}

/* Skips where it is not in this build, or not for this processor. */
static struct tls_gcm *wanted(const unsigned char *key, size_t key_bytes)
{
    if (!tls_gcm_is_usable())
        skip();
    return tls_gcm_new(key, key_bytes);
}

static void with_key(size_t key_bytes)
{
    static const size_t lengths[] = {4095, 4096, 4097, 16383, 16384, 16385, MOST};
    const unsigned char *key = (const unsigned char *)"a key of thirty-two bytes, or so";
    struct tls_gcm *g = wanted(key, key_bytes);

    fill();
    for (size_t n = 1; n <= 1100; n++)
        same(g, key, key_bytes, n, n % SHIFTS);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        same(g, key, key_bytes, lengths[i], i);
    for (int i = 0; i < 200; i++)
        same(g, key, key_bytes, 1 + (size_t)rand() % MOST, (size_t)rand() % SHIFTS);
    tls_gcm_free(g);
}

static void keys_of_16(void **state)
{
    (void)state;
    with_key(16);
}

static void keys_of_32(void **state)
{
    (void)state;
    with_key(32);
}

static void in_place(void **state)
{
    const unsigned char *key = (const unsigned char *)"sixteen bytes it";
    struct tls_gcm *g = wanted(key, 16);

    (void)state;
    fill();
    for (size_t n = 2; n < 600; n++) {
        by_openssl(key, 16, text, n, expected);
        memcpy(sealed, text, n - 1);
        tls_gcm_seal(g, iv, said, SAID, sealed, n - 1, text[n - 1], sealed);
        assert_memory_equal(sealed, expected, n + TLS_GCM_TAG_BYTES);
    }
    tls_gcm_free(g);
}

static void changes_are_seen(void **state)
{
    enum { N = 700 };
    const unsigned char *key = (const unsigned char *)"a key of thirty-two bytes, or so";
    struct tls_gcm *g = wanted(key, 32);
    unsigned char other_said[SAID], other_iv[TLS_GCM_IV_BYTES];

    (void)state;
    fill();
    tls_gcm_seal(g, iv, said, SAID, text, N - 1, text[N - 1], sealed);
    for (size_t i = 0; i < (N + TLS_GCM_TAG_BYTES) * 8; i++) {
        sealed[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_false(tls_gcm_open(g, iv, said, SAID, sealed, N, back));
        sealed[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    for (size_t i = 0; i < SAID; i++) {
        memcpy(other_said, said, SAID);
        other_said[i] ^= 1;
        assert_false(tls_gcm_open(g, iv, other_said, SAID, sealed, N, back));
    }
    for (size_t i = 0; i < TLS_GCM_IV_BYTES; i++) {
        memcpy(other_iv, iv, sizeof(other_iv));
        other_iv[i] ^= 1;
        assert_false(tls_gcm_open(g, other_iv, said, SAID, sealed, N, back));
    }
    assert_false(tls_gcm_open(g, iv, said, SAID, sealed, N - 1, back));
    assert_true(tls_gcm_open(g, iv, said, SAID, sealed, N, back));
    tls_gcm_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_16),
        cmocka_unit_test(keys_of_32),
        cmocka_unit_test(in_place),
        cmocka_unit_test(changes_are_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
