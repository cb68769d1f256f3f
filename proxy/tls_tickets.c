#include "proxy/tls_tickets.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/digest.h"
#include "base/xalloc.h"

enum { NAME_BYTES = 16, KEY_BYTES = 32, IV_BYTES = 16 };

struct ticket_key {
    unsigned char name[NAME_BYTES]; /* public: begins the ticket */
    unsigned char cipher[KEY_BYTES];
    unsigned char mac[KEY_BYTES];
};

/*
 *      KEYS: a ring.  With `newest` at c:
 *
 *      c      seals and opens
 *      c - 1  opens
 *      c - 2  is read by nobody who looked up `newest` since the last turn: erased at the next
 *      c + 1  empty: the next is made here, out of everybody's sight
 */
enum { KEYS = 4, OPENERS = 2 };

struct tls_tickets {
    atomic_uint refs;
    atomic_uint newest;
    EVP_CIPHER *cipher;
    struct ticket_key keys[KEYS];
};

static void make_key(struct ticket_key *key)
{
    digest_random((unsigned char *)key, sizeof(*key));
}

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t = xcalloc(1, sizeof(*t));

    atomic_init(&t->refs, 1);
    atomic_init(&t->newest, 0);
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!t->cipher) {
        free(t);
        return NULL;
    }
    for (size_t i = 0; i < KEYS; i++) /* names that nobody can know */
        make_key(&t->keys[i]);
    return t;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_tickets_unref(struct tls_tickets *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    EVP_CIPHER_free(t->cipher);
    OPENSSL_cleanse(t->keys, sizeof(t->keys));
    free(t);
}

void tls_tickets_rotate(struct tls_tickets *t)
{
    unsigned next = atomic_load_explicit(&t->newest, memory_order_relaxed) + 1;

    make_key(&t->keys[next % KEYS]);
    OPENSSL_cleanse(&t->keys[(next - OPENERS - 1) % KEYS], sizeof(t->keys[0]));
    atomic_store_explicit(&t->newest, next, memory_order_release);
}

/* RFC 5077 4's recommended form: AES-CBC, then HMAC.  The answers are OpenSSL's. */
static int set_up(const struct tls_tickets *t, const struct ticket_key *key,
                  unsigned char iv[IV_BYTES], EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                  int sealing)
{
    static char digest[] = "SHA256"; /* OpenSSL's parameters take no const */
    unsigned char secret[KEY_BYTES];
    OSSL_PARAM params[3];
    int good;

    memcpy(secret, key->mac, sizeof(secret));
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof(secret));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    good = EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex2(cipher, t->cipher, key->cipher, iv, sealing, NULL) == 1;
    OPENSSL_cleanse(secret, sizeof(secret));
    return good;
}

static int store_index(void);

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int sealing)
{
    const struct tls_tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), store_index());
    unsigned newest = atomic_load_explicit(&t->newest, memory_order_acquire);

    if (sealing) {
        const struct ticket_key *key = &t->keys[newest % KEYS];

        if (RAND_bytes(iv, IV_BYTES) != 1)
            return -1;
        memcpy(name, key->name, NAME_BYTES);
        return set_up(t, key, iv, cipher, mac, 1) ? 1 : -1;
    }
    for (unsigned age = 0; age < OPENERS; age++) {
        const struct ticket_key *key = &t->keys[(newest - age) % KEYS];

        if (CRYPTO_memcmp(name, key->name, NAME_BYTES) != 0)
            continue;
        if (!set_up(t, key, iv, cipher, mac, 0))
            return -1;
        /* 2: and give it a new ticket; of TLS 1.3, each is for one use (RFC 8446 C.4). */
        return age == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
    }
    return 0; /* not ours, or too old: a full handshake */
}

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static int index_of_store = -1;

static void on_context_free(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index,
                            long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    tls_tickets_unref(pointer);
}

static void make_index(void)
{
    index_of_store = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

static int store_index(void)
{
    (void)CRYPTO_THREAD_run_once(&once, make_index);
    return index_of_store;
}

int tls_tickets_use(SSL_CTX *ctx, struct tls_tickets *t)
{
    if (store_index() < 0 || SSL_CTX_set_ex_data(ctx, store_index(), t) != 1)
        return 0;
    (void)tls_tickets_ref(t);
    SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}
