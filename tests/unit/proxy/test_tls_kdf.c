/*
 * test_tls_kdf.c - the key schedule beside OpenSSL's own, and by RFC 8448's example.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "proxy/tls_kdf.h"

enum { OUT_MAX_BYTES = 255 * 48 + 1, TEXT_MAX_BYTES = 300, ASKS = 3000 };

struct ask {
    int mode;
    const char *digest;
    const unsigned char *key, *salt, *data; /* NULL: not given */
    size_t key_n, salt_n, label_n, data_n, out_n;
    const char *label;
};

static int derive(const char *properties, const struct ask *a, unsigned char *out)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", properties);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[8], *p = params;
    int mode = a->mode, good;

    assert_non_null(context);
    *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    if (a->digest)
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)a->digest, 0);
    if (a->key)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)a->key, a->key_n);
    if (a->salt)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)a->salt, a->salt_n);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)a->label, a->label_n);
    if (a->data)
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, (void *)(uintptr_t)a->data, a->data_n);
    *p = OSSL_PARAM_construct_end();
    good = EVP_KDF_derive(context, out, a->out_n, params);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    ERR_clear_error();
    return good > 0;
}

static void contexts_get_this_one(void **state)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", tls_kdf_properties());

    (void)state;
    assert_non_null(tls_kdf_properties());
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), "tollgate");
    EVP_KDF_free(kdf);
    /* Everything else is whose it was. */
    assert_non_null(kdf = EVP_KDF_fetch(NULL, "HKDF", tls_kdf_properties()));
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), "default");
    EVP_KDF_free(kdf);
}

static void agrees_with_openssl(void **state)
{
    static const char *const digests[] = {"SHA2-256", "SHA256", "SHA2-384", "SHA384"};
    unsigned char text[TEXT_MAX_BYTES];
    unsigned char *ours = malloc(OUT_MAX_BYTES), *theirs = malloc(OUT_MAX_BYTES);
    unsigned refused = 0;

    (void)state;
    for (unsigned i = 0; i < ASKS; i++) {
        size_t size = i % 4 < 2 ? 32 : 48;
        unsigned char at[8];
        struct ask a = {.digest = digests[i % 4], .label = (const char *)text};

        assert_int_equal(RAND_bytes(text, sizeof(text)), 1);
        assert_int_equal(RAND_bytes(at, sizeof(at)), 1);
        a.label_n = i % 100 == 0 ? at[0] % 251u : at[0] % 20u;
        if (i % 3 == 0) {
            a.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
            a.key = at[1] % 4 == 0 ? NULL : text + 1;
            a.key_n = at[2] % 200;
            a.salt = at[3] % 4 == 0 ? NULL : text + 2;
            a.salt_n = size;
            a.out_n = size;
        } else {
            a.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
            a.key = text + 3;
            a.key_n = at[2] % 4 == 0 ? at[3] : size;
            a.data = at[4] % 4 == 0 ? NULL : text + 4;
            a.data_n = i % 50 == 0 ? at[5] : size;
            a.out_n = i % 40 == 1 ? at[6] * 48u + at[7] : 1 + at[6] % 64u;
        }
        if (a.mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY && a.key_n == 0)
            a.key_n = size; /* what OpenSSL makes of an empty key is no case of TLS */
        memset(ours, 0, OUT_MAX_BYTES);
        memset(theirs, 0, OUT_MAX_BYTES);
        if (a.out_n > OUT_MAX_BYTES)
            a.out_n = OUT_MAX_BYTES;
        assert_int_equal(derive(tls_kdf_properties(), &a, ours), derive("provider=default", &a, theirs));
        if (!derive(tls_kdf_properties(), &a, ours))
            refused++;
        else
            assert_memory_equal(ours, theirs, a.out_n);
    }
    assert_true(refused < ASKS / 20);
    free(ours);
    free(theirs);
}

/* RFC 8448, 3: the early secret, and the secret that is derived of it. */
static void example_of_rfc_8448(void **state)
{
    static const unsigned char early[] = {
        0x33, 0xad, 0x0a, 0x1c, 0x60, 0x7e, 0xc0, 0x3b, 0x09, 0xe6, 0xcd, 0x98, 0x93, 0x68, 0x0c, 0xe2,
        0x10, 0xad, 0xf3, 0x00, 0xaa, 0x1f, 0x26, 0x60, 0xe1, 0xb2, 0x2e, 0x10, 0xf1, 0x70, 0xf9, 0x2a};
    static const unsigned char shared[] = {
        0x8b, 0xd4, 0x05, 0x4f, 0xb5, 0x5b, 0x9d, 0x63, 0xfd, 0xfb, 0xac, 0xf9, 0xf0, 0x4b, 0x9f, 0x0d,
        0x35, 0xe6, 0xd6, 0x3f, 0x53, 0x75, 0x63, 0xef, 0xd4, 0x62, 0x72, 0x90, 0x0f, 0x89, 0x49, 0x2d};
    static const unsigned char handshake[] = {
        0x1d, 0xc8, 0x26, 0xe9, 0x36, 0x06, 0xaa, 0x6f, 0xdc, 0x0a, 0xad, 0xc1, 0x2f, 0x74, 0x1b, 0x01,
        0x04, 0x6a, 0xa6, 0xb9, 0x9f, 0x69, 0x1e, 0xd2, 0x21, 0xa9, 0xf0, 0xca, 0x04, 0x3f, 0xbe, 0xac};
    struct ask a = {.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .digest = "SHA2-256", .label = "derived",
                    .label_n = 7, .out_n = 32};
    unsigned char out[32];

    (void)state;
    assert_true(derive(tls_kdf_properties(), &a, out));
    assert_memory_equal(out, early, sizeof(early));
    a.salt = early;
    a.key = shared;
    a.salt_n = a.key_n = 32;
    assert_true(derive(tls_kdf_properties(), &a, out));
    assert_memory_equal(out, handshake, sizeof(handshake));
}

static void what_makes_no_sense_is_refused(void **state)
{
    static const unsigned char text[TEXT_MAX_BYTES];
    const struct ask good = {.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .digest = "SHA2-256", .key = text,
                             .key_n = 32, .label = "key", .label_n = 3, .out_n = 16};
    unsigned char *out = malloc(OUT_MAX_BYTES);
    struct ask a = good;

    (void)state;
    assert_true(derive(tls_kdf_properties(), &a, out));
    a.digest = "SHA2-512";
    assert_false(derive(tls_kdf_properties(), &a, out));
    a.digest = NULL;
    assert_false(derive(tls_kdf_properties(), &a, out));
    a = good;
    a.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    assert_false(derive(tls_kdf_properties(), &a, out));
    a = good;
    a.key = NULL;
    assert_false(derive(tls_kdf_properties(), &a, out));
    a = good;
    a.label = (const char *)text;
    a.label_n = 249;
    assert_true(derive(tls_kdf_properties(), &a, out));
    a.label_n = 250;
    assert_false(derive(tls_kdf_properties(), &a, out));
    a = good;
    a.data = text;
    a.data_n = 255;
    assert_true(derive(tls_kdf_properties(), &a, out));
    a.data_n = 256;
    assert_false(derive(tls_kdf_properties(), &a, out));
    a = good;
    a.out_n = 255 * 32;
    assert_true(derive(tls_kdf_properties(), &a, out));
    a.out_n++;
    assert_false(derive(tls_kdf_properties(), &a, out));
    a.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    a.out_n = 31;
    assert_false(derive(tls_kdf_properties(), &a, out));
    free(out);
}

static void note(void *arg, const char *label, size_t label_n, const unsigned char *secret, size_t n)
{
    char *seen = arg;

    assert_int_equal(n, 16);
    memcpy(seen, label, label_n);
    memcpy(seen + 32, secret, n);
}

static void watcher_is_told(void **state)
{
    static const unsigned char key[32];
    const struct ask a = {.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .digest = "SHA2-256", .key = key,
                          .key_n = 32, .label = "c ap traffic", .label_n = 12, .out_n = 16};
    unsigned char out[16];
    char seen[48] = "";

    (void)state;
    tls_kdf_watch(note, seen);
    assert_true(derive(tls_kdf_properties(), &a, out));
    assert_string_equal(seen, "c ap traffic");
    assert_memory_equal(seen + 32, out, sizeof(out));
    tls_kdf_watch(NULL, NULL);
    seen[0] = '\0';
    assert_true(derive(tls_kdf_properties(), &a, out));
    assert_string_equal(seen, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_get_this_one),
        cmocka_unit_test(agrees_with_openssl),
        cmocka_unit_test(example_of_rfc_8448),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(watcher_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
