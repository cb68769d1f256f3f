#include "proxy/tls_names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/strv.h"
#include "base/xalloc.h"

enum { NAME_MAX_BYTES = 253 }; /* RFC 1035 2.3.4, as text */

struct pair {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};

struct name {
    char *text; /* "a.example", "*.example" */
    size_t pair;
};

struct tls_names {
    struct pair *pairs;
    size_t n_pairs;
    struct name *at; /* in order, by text and then by pair, once given to a context */
    size_t n;
};

struct tls_names *tls_names_new(void)
{
    return xcalloc(1, sizeof(struct tls_names));
}

void tls_names_free(struct tls_names *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->n_pairs; i++) {
        X509_free(names->pairs[i].certificate);
        EVP_PKEY_free(names->pairs[i].key);
        sk_X509_pop_free(names->pairs[i].chain, X509_free);
    }
    for (size_t i = 0; i < names->n; i++)
        free(names->at[i].text);
    free(names->pairs);
    free(names->at);
    free(names);
}

static bool add_name(struct tls_names *names, const ASN1_STRING *dns)
{
    struct strv text = strv_make((const char *)ASN1_STRING_get0_data(dns),
                                 (size_t)ASN1_STRING_length(dns));

    if (text.n == 0 || text.n > NAME_MAX_BYTES || memchr(text.p, '\0', text.n))
        return true; /* no name that a client could ask for */
    if (names->n == TLS_NAMES_MAX)
        return false;
    names->at = xrealloc(names->at, (names->n + 1) * sizeof(names->at[0]));
    names->at[names->n++] = (struct name){
        .text = xmemdupz(text.p, text.n), .pair = names->n_pairs - 1};
    return true;
}

bool tls_names_add(struct tls_names *names, SSL_CTX *ctx)
{
    X509 *certificate = SSL_CTX_get0_certificate(ctx);
    EVP_PKEY *key = SSL_CTX_get0_privatekey(ctx);
    STACK_OF(X509) *chain = NULL;
    GENERAL_NAMES *all;
    bool good = true;

    if (!certificate || !key)
        return false;
    (void)SSL_CTX_get0_chain_certs(ctx, &chain);
    names->pairs = xrealloc(names->pairs, (names->n_pairs + 1) * sizeof(names->pairs[0]));
    names->pairs[names->n_pairs++] = (struct pair){
        .certificate = certificate, .key = key, .chain = chain ? X509_chain_up_ref(chain) : NULL};
    X509_up_ref(certificate);
    EVP_PKEY_up_ref(key);
    all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; good && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *each = sk_GENERAL_NAME_value(all, i);

        if (each->type == GEN_DNS)
            good = add_name(names, each->d.dNSName);
    }
    GENERAL_NAMES_free(all);
    return good;
}

static int order(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int by_text = strcasecmp(x->text, y->text);

    return by_text ? by_text : (x->pair > y->pair) - (x->pair < y->pair);
}

/* The first of that name; names->n where there is none. */
static size_t find(const struct tls_names *names, const char *text)
{
    size_t low = 0, high = names->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcasecmp(names->at[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < names->n && strcasecmp(names->at[low].text, text) == 0 ? low : names->n;
}

/* With "*" in the place of its first label; where it has but one, what no name is. */
static size_t find_wildcard(const struct tls_names *names, const char *text)
{
    const char *rest = strchr(text, '.');
    char pattern[NAME_MAX_BYTES + 2];

    if (!rest || rest == text || strlen(rest) >= sizeof(pattern) - 1)
        return names->n;
    pattern[0] = '*';
    memcpy(pattern + 1, rest, strlen(rest) + 1);
    return find(names, pattern);
}

/* OpenSSL asks this once it has read the client's hello. 1: go on. */
static int choose(SSL *ssl, void *arg)
{
    const struct tls_names *names = arg;
    const char *wanted = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char text[NAME_MAX_BYTES + 1];
    size_t n = wanted ? strlen(wanted) : 0;
    size_t at;

    if (n > 1 && wanted[n - 1] == '.')
        n--;
    if (n == 0 || n > NAME_MAX_BYTES)
        return 1;
    memcpy(text, wanted, n);
    text[n] = '\0';
    at = find(names, text);
    if (at == names->n)
        at = find_wildcard(names, text);
    if (at == names->n)
        return 1;
    SSL_certs_clear(ssl);
    for (size_t i = at; i < names->n && strcasecmp(names->at[i].text, names->at[at].text) == 0;
         i++) {
        const struct pair *pair = &names->pairs[names->at[i].pair];

        /* Refused where one of its key type is there: the first given counts. */
        if (SSL_use_cert_and_key(ssl, pair->certificate, pair->key, pair->chain, 0) != 1)
            ERR_clear_error();
    }
    return 1;
}

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static int index_of_names = -1;

static void on_context_free(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index,
                            long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    tls_names_free(pointer);
}

static void make_index(void)
{
    index_of_names = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

bool tls_names_give(SSL_CTX *ctx, struct tls_names *names)
{
    if (CRYPTO_THREAD_run_once(&once, make_index) != 1 || index_of_names < 0 ||
        SSL_CTX_set_ex_data(ctx, index_of_names, names) != 1) {
        tls_names_free(names);
        return false;
    }
    if (names->n > 0)
        qsort(names->at, names->n, sizeof(names->at[0]), order);
    SSL_CTX_set_cert_cb(ctx, choose, names);
    return true;
}
