#include "proxy/tls_kdf.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/sha.h>

#include "base/check.h"

enum {
    HASH_MAX_BYTES = SHA384_DIGEST_LENGTH,
    BLOCK_MAX_BYTES = SHA512_CBLOCK,
    VECTOR_MAX_BYTES = 255,                      /* a label with its prefix, a context */
    INFO_MAX_BYTES = 2 + 2 * (1 + VECTOR_MAX_BYTES), /* HkdfLabel */
    ROUNDS_MAX = 255,                            /* RFC 5869, 2.3 */
};

/* ---- HMAC (RFC 2104) ------------------------------------------------------------------------- */

/* The plain functions: an envelope around each is what is saved here; OpenSSL only advises. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

struct hash {
    bool is_384;
    union {
        SHA256_CTX s256;
        SHA512_CTX s384;
    };
};

/* What is cleared of a hash is what it has used. */
static void hash_wipe(struct hash *h)
{
    OPENSSL_cleanse(h->is_384 ? (void *)&h->s384 : (void *)&h->s256,
                    h->is_384 ? sizeof(h->s384) : sizeof(h->s256));
}

static void hash_begin(struct hash *h, bool is_384)
{
    h->is_384 = is_384;
    ASSERT((is_384 ? SHA384_Init(&h->s384) : SHA256_Init(&h->s256)) == 1);
}

static void hash_add(struct hash *h, const void *bytes, size_t n)
{
    ASSERT((h->is_384 ? SHA384_Update(&h->s384, bytes, n) : SHA256_Update(&h->s256, bytes, n)) == 1);
}

static void hash_end(struct hash *h, unsigned char *out)
{
    ASSERT((h->is_384 ? SHA384_Final(out, &h->s384) : SHA256_Final(out, &h->s256)) == 1);
}

#pragma GCC diagnostic pop

static size_t hash_bytes(bool is_384)
{
    return is_384 ? SHA384_DIGEST_LENGTH : SHA256_DIGEST_LENGTH;
}

/* A key that is ready for many texts: the hash behind each pad. */
struct mac {
    struct hash inner, outer;
};

static void mac_wipe(struct mac *m)
{
    hash_wipe(&m->inner);
    hash_wipe(&m->outer);
}

static void mac_key(struct mac *m, bool is_384, const unsigned char *key, size_t n)
{
    size_t block = is_384 ? SHA512_CBLOCK : SHA256_CBLOCK;
    unsigned char pad[BLOCK_MAX_BYTES] = {0};

    if (n > block) {
        hash_begin(&m->inner, is_384);
        hash_add(&m->inner, key, n);
        hash_end(&m->inner, pad);
    } else if (n > 0) {
        memcpy(pad, key, n);
    }
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36;
    hash_begin(&m->inner, is_384);
    hash_add(&m->inner, pad, block);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    hash_begin(&m->outer, is_384);
    hash_add(&m->outer, pad, block);
    OPENSSL_cleanse(pad, block);
}

/* Of before (what the last round gave), text, and a byte behind them where there is one. */
static void mac_of(const struct mac *m, const unsigned char *before, size_t before_n,
                   const unsigned char *text, size_t n, const unsigned char *last,
                   unsigned char *out)
{
    struct hash h = m->inner;

    hash_add(&h, before, before_n);
    hash_add(&h, text, n);
    if (last)
        hash_add(&h, last, 1);
    hash_end(&h, out);
    h = m->outer;
    hash_add(&h, out, hash_bytes(h.is_384));
    hash_end(&h, out);
    hash_wipe(&h);
}

/* ---- HKDF, as TLS 1.3 uses it ------------------------------------------------------------------ */

struct bytes {
    const unsigned char *p; /* NULL: not given */
    size_t n;
};

struct asked {
    int mode;
    bool is_384;
    struct bytes key, salt, prefix, label, data;
};

/* HKDF-Expand-Label (RFC 8446, 7.1). */
static bool expand(const struct asked *a, struct bytes key, struct bytes data, unsigned char *out,
                   size_t n)
{
    size_t size = hash_bytes(a->is_384), label_n = a->prefix.n + a->label.n, at = 0, done = 0;
    unsigned char info[INFO_MAX_BYTES] UNCLEARED;
    unsigned char block[HASH_MAX_BYTES] UNCLEARED;
    struct mac m UNCLEARED;

    if (!key.p || label_n > VECTOR_MAX_BYTES || data.n > VECTOR_MAX_BYTES || n > ROUNDS_MAX * size)
        return false;
    info[at++] = (unsigned char)(n >> 8);
    info[at++] = (unsigned char)n;
    info[at++] = (unsigned char)label_n;
    if (a->prefix.n > 0)
        memcpy(info + at, a->prefix.p, a->prefix.n);
    if (a->label.n > 0)
        memcpy(info + at + a->prefix.n, a->label.p, a->label.n);
    at += label_n;
    info[at++] = (unsigned char)data.n;
    if (data.n > 0)
        memcpy(info + at, data.p, data.n);
    at += data.n;
    mac_key(&m, a->is_384, key.p, key.n);
    for (unsigned char round = 1; done < n; round++) {
        size_t part = n - done < size ? n - done : size;

        mac_of(&m, block, round == 1 ? 0 : size, info, at, &round, block);
        memcpy(out + done, block, part);
        done += part;
    }
    mac_wipe(&m);
    OPENSSL_cleanse(block, size);
    return true;
}

/* The next of the schedule's three secrets: extracted with what the last one gives as salt. */
static bool extract(const struct asked *a, unsigned char *out, size_t n)
{
    static const unsigned char zeros[HASH_MAX_BYTES];
    size_t size = hash_bytes(a->is_384);
    unsigned char salt[HASH_MAX_BYTES], empty[HASH_MAX_BYTES];
    struct bytes key = a->key.p ? a->key : (struct bytes){zeros, size};
    struct hash nothing UNCLEARED;
    struct mac m UNCLEARED;

    if (n != size)
        return false;
    if (a->salt.p) {
        hash_begin(&nothing, a->is_384);
        hash_end(&nothing, empty);
        if (!expand(a, a->salt, (struct bytes){empty, size}, salt, size))
            return false;
    }
    mac_key(&m, a->is_384, salt, a->salt.p ? size : 0);
    mac_of(&m, NULL, 0, key.p, key.n, NULL, out);
    mac_wipe(&m);
    OPENSSL_cleanse(salt, size);
    return true;
}

/* ---- what OpenSSL asks ------------------------------------------------------------------------- */

static _Thread_local tls_kdf_fn *watcher;
static _Thread_local void *watcher_arg;

void tls_kdf_watch(tls_kdf_fn *fn, void *arg)
{
    watcher = fn;
    watcher_arg = arg;
}

static bool take_digest(const OSSL_PARAM *p, struct asked *a)
{
    static const char *const names[] = {"SHA2-256", "SHA256", "SHA-256",
                                        "SHA2-384", "SHA384", "SHA-384"};

    for (size_t i = 0; p->data && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(p->data, names[i]) == 0) {
            a->is_384 = i >= 3;
            return true;
        }
    }
    return false;
}

static bool take_bytes(const OSSL_PARAM *p, struct bytes *out)
{
    static const unsigned char none;

    if (p->data_type != OSSL_PARAM_OCTET_STRING || (!p->data && p->data_size > 0))
        return false;
    *out = (struct bytes){p->data ? p->data : &none, p->data_size};
    return true;
}

/* One parameter; what is none of the schedule's is passed over. */
static bool take_one(const OSSL_PARAM *p, struct asked *a, bool *has_digest)
{
    static const struct {
        const char *name;
        size_t at;
    } texts[] = {{OSSL_KDF_PARAM_KEY, offsetof(struct asked, key)},
                 {OSSL_KDF_PARAM_SALT, offsetof(struct asked, salt)},
                 {OSSL_KDF_PARAM_PREFIX, offsetof(struct asked, prefix)},
                 {OSSL_KDF_PARAM_LABEL, offsetof(struct asked, label)},
                 {OSSL_KDF_PARAM_DATA, offsetof(struct asked, data)}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        /* Their first letters tell most of them apart, without a call. */
        if (p->key[0] == texts[i].name[0] && strcmp(p->key, texts[i].name) == 0)
            return take_bytes(p, (struct bytes *)(void *)((char *)a + texts[i].at));
    }
    if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
        return OSSL_PARAM_get_int(p, &a->mode) == 1;
    if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0) {
        *has_digest = p->data_type == OSSL_PARAM_UTF8_STRING && take_digest(p, a);
        return *has_digest;
    }
    return true;
}

static bool take(const OSSL_PARAM params[], struct asked *a)
{
    bool has_digest = false;

    *a = (struct asked){.mode = -1};
    for (const OSSL_PARAM *p = params; p && p->key; p++) {
        if (!take_one(p, a, &has_digest))
            return false;
    }
    return has_digest;
}

static int derive(void *context, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
    struct asked a;

    (void)context;
    if (!take(params, &a))
        return 0;
    if (a.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
        return extract(&a, out, n);
    if (a.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !expand(&a, a.key, a.data, out, n))
        return 0;
    if (watcher)
        watcher(watcher_arg, (const char *)a.label.p, a.label.n, out, n);
    return 1;
}

/* Nothing is kept between two calls: a context need only be there. */
static void *new_context(void *provider)
{
    return provider;
}

static void free_context(void *context)
{
    (void)context;
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
    static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_KDF_NEWCTX, (void (*)(void))new_context},
                                              {OSSL_FUNC_KDF_FREECTX, (void (*)(void))free_context},
                                              {OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive},
                                              {0, NULL}};
    static const OSSL_ALGORITHM kdfs[] = {
        {OSSL_KDF_NAME_TLS1_3_KDF, "provider=tollgate", functions, "TLS 1.3 key schedule"},
        {NULL, NULL, NULL, NULL}};

    (void)provider;
    *no_cache = 0;
    return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static int begin(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **provider)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query}, {0, NULL}};
    static char here;

    (void)core;
    (void)in;
    *out = functions;
    *provider = &here;
    return 1;
}

static const char *properties;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    static OSSL_PROVIDER *provider; /* for as long as the process runs */

    /* The others stay what the system's configuration makes them. */
    if (OSSL_PROVIDER_add_builtin(NULL, "tollgate", begin) == 1)
        provider = OSSL_PROVIDER_try_load(NULL, "tollgate", 1);
    if (provider)
        properties = "?provider=tollgate";
    ERR_clear_error();
}

const char *tls_kdf_properties(void)
{
    pthread_once(&once, load);
    return properties;
}
