#include "proxy/tls_context.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/datetime.h"
#include "base/strv.h"
#include "base/xalloc.h"
#include "proxy/tls_kdf.h"
#include "proxy/tls_names.h"

/*
 * Forward secrecy and AEAD only.  AES-128 first: nobody breaks it either, and a long prompt
 * takes less of it than of AES-256, which OpenSSL would put in front.
 */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE+AESGCM:ECDHE+CHACHA20";
static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                             "TLS_CHACHA20_POLY1305_SHA256";
static const unsigned char http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
static const unsigned char http2[] = {2, 'h', '2'};

enum {
    HOST_MAX_BYTES = 253,  /* RFC 1035 2.3.4, as text without the last dot */
    CLIENT_CHAIN_MAX = 4, /* intermediates of a client's certificate */
};

/* The first of the queue is the cause, the others are its consequences.  Empties the queue. */
static void queue_text(char *out, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);

    if (ERR_SYSTEM_ERROR(code)) {
        char text[128];

        snprintf(out, size, "%s", strerror_r(ERR_GET_REASON(code), text, sizeof(text)));
    } else {
        snprintf(out, size, "%s", reason != NULL ? reason : "unknown reason");
    }
    ERR_clear_error();
}

static void explain(char *why, size_t size, const char *doing, const char *path)
{
    char reason[256];

    queue_text(reason, sizeof(reason));
    if (path != NULL)
        snprintf(why, size, "could not %s \"%s\": %s", doing, path, reason);
    else
        snprintf(why, size, "could not %s: %s", doing, reason);
}

/* A key with a passphrase must fail and not ask on the terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static bool is_offered(const unsigned char *wanted, const unsigned char *offered, unsigned int n)
{
    for (unsigned int at = 0; at < n && offered[at] < n - at; at += offered[at] + 1u) {
        if (offered[at] == wanted[0] && memcmp(offered + at + 1, wanted + 1, wanted[0]) == 0)
            return true;
    }
    return false;
}

/* RFC 7301: the first of ours that was offered; arg: HTTP/2 is spoken here (or NULL). */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                           const unsigned char *offered, unsigned int n, void *arg)
{
    const unsigned char *chosen = NULL;

    (void)ssl;
    if (arg && is_offered(http2, offered, n))
        chosen = http2;
    else if (is_offered(http11, offered, n))
        chosen = http11;
    if (!chosen)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen + 1;
    *out_bytes = chosen[0];
    return SSL_TLSEXT_ERR_OK;
}

/* What both sides have in common; NULL with the reason in the queue. */
static SSL_CTX *new_context(const SSL_METHOD *method)
{
    char groups[] = "X25519:P-256:P-384"; /* OpenSSL's macro takes no const */
    SSL_CTX *ctx = SSL_CTX_new_ex(NULL, tls_kdf_properties(), method);

    if (ctx == NULL)
        return NULL;
    /*
     * AUTO_RETRY is needed with read-ahead: a read that meets a session ticket must go on to
     * the data that was fetched behind it, for which no event will come.
     */
    SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Each connection says itself when it gives its buffers back: see io_save_memory. */
    SSL_CTX_clear_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, ciphers) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, suites) != 1 ||
        SSL_CTX_set1_groups_list(ctx, groups) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* The certificate, chain and key of new connections of ctx. */
static bool use_pair(SSL_CTX *ctx, const struct certificate_pair *pair, char *why, size_t size)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, pair->certificate) != 1)
        explain(why, size, "read certificate", pair->certificate);
    else if (SSL_CTX_use_PrivateKey_file(ctx, pair->private_key, SSL_FILETYPE_PEM) != 1)
        explain(why, size, "read private key", pair->private_key);
    else if (SSL_CTX_check_private_key(ctx) != 1)
        explain(why, size, "use private key", pair->private_key);
    else
        return true;
    return false;
}

/* Adds a pair by way of a context of its own, which reads and checks it as any other. */
static bool add_pair(struct tls_names *names, const struct certificate_pair *pair, char *why,
                     size_t size)
{
    SSL_CTX *ctx = new_context(TLS_server_method());
    bool good = false;

    if (!ctx) {
        explain(why, size, "make a TLS context", NULL);
    } else if (use_pair(ctx, pair, why, size)) {
        good = tls_names_add(names, ctx);
        if (!good)
            snprintf(why, size, "could not use certificate \"%s\": the certificates have more "
                                "than %d names", pair->certificate, TLS_NAMES_MAX);
    }
    SSL_CTX_free(ctx);
    return good;
}

static bool use_pairs(SSL_CTX *ctx, const struct listen_config *listen, char *why, size_t size)
{
    struct tls_names *names;

    if (!use_pair(ctx, &listen->pairs[0], why, size))
        return false;
    if (listen->n_pairs == 1)
        return true;
    names = tls_names_new();
    for (size_t i = 0; i < listen->n_pairs; i++) {
        if (!add_pair(names, &listen->pairs[i], why, size)) {
            tls_names_free(names);
            return false;
        }
    }
    if (tls_names_give(ctx, names))
        return true;
    explain(why, size, "use several certificates", NULL);
    return false;
}

/* The authorities' own certificates, one after the other, in *bio.  False where there is none. */
static bool write_authorities(X509_STORE *store, BIO *bio)
{
    STACK_OF(X509) *all = X509_STORE_get1_all_certs(store);
    bool good = sk_X509_num(all) > 0;

    for (int i = 0; good && i < sk_X509_num(all); i++)
        good = i2d_X509_bio(bio, sk_X509_value(all, i)) == 1;
    sk_X509_pop_free(all, X509_free);
    return good;
}

static CRYPTO_ONCE trust_once = CRYPTO_ONCE_STATIC_INIT;
static int index_of_trust = -1;

static void on_context_free(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index,
                            long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    free(pointer);
}

static void make_trust_index(void)
{
    index_of_trust = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

static int trust_index(void)
{
    (void)CRYPTO_THREAD_run_once(&trust_once, make_trust_index);
    return index_of_trust;
}

/*
 * Sessions are resumed only where this is the same (RFC 8446 4.2.11 leaves that to us): what
 * one set of authorities verified means nothing under another.
 */
static bool set_scope(SSL_CTX *ctx, const struct listen_config *listen)
{
    static const char *const words[] = {[CLIENT_CERTIFICATES_OFF] = "tollgate off ",
                                        [CLIENT_CERTIFICATES_OPTIONAL] = "tollgate optional ",
                                        [CLIENT_CERTIFICATES_REQUIRED] = "tollgate required "};
    unsigned char scope[SHA256_BYTES];
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    bool good = bio && BIO_puts(bio, words[listen->client_certificates]) > 0;
    long n;

    if (good && listen->client_certificates != CLIENT_CERTIFICATES_OFF)
        good = write_authorities(SSL_CTX_get_cert_store(ctx), bio);
    n = good ? BIO_get_mem_data(bio, &bytes) : 0;
    if (n > 0)
        digest_sha256(strv_make(bytes, (size_t)n), scope);
    BIO_free(bio);
    return n > 0 && SSL_CTX_set_session_id_context(ctx, scope, sizeof(scope)) == 1 &&
           SSL_CTX_set_ex_data(ctx, trust_index(), xmemdupz((const char *)scope, sizeof(scope))) == 1;
}

/* What clients must show of themselves. */
static bool use_authorities(SSL_CTX *ctx, const struct listen_config *listen, char *why,
                            size_t size)
{
    STACK_OF(X509_NAME) *names = NULL;

    if (listen->client_certificates != CLIENT_CERTIFICATES_OFF) {
        names = SSL_load_client_CA_file(listen->client_ca);
        if (!names || SSL_CTX_load_verify_file(ctx, listen->client_ca) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            explain(why, size, "read certificate authorities", listen->client_ca);
            return false;
        }
        SSL_CTX_set_client_CA_list(ctx, names); /* takes them over */
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
        SSL_CTX_set_verify_depth(ctx, CLIENT_CHAIN_MAX);
        SSL_CTX_set_verify(ctx,
                           SSL_VERIFY_PEER |
                               (listen->client_certificates == CLIENT_CERTIFICATES_REQUIRED
                                    ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                    : 0),
                           NULL);
    }
    if (set_scope(ctx, listen))
        return true;
    explain(why, size, "use certificate authorities", listen->client_ca);
    return false;
}

SSL_CTX *tls_server_context(const struct listen_config *listen, bool http2_too,
                            struct tls_tickets *tickets, char *why, size_t size)
{
    static char yes;
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = new_context(TLS_server_method());
    if (ctx == NULL || (tickets && tls_tickets_use(ctx, tickets) != 1)) {
        explain(why, size, "make a TLS context", NULL);
        goto fail;
    }
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, http2_too ? &yes : NULL);
    /* Tickets alone resume sessions: a cache would be a lock that all workers share. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    if (use_pairs(ctx, listen, why, size) && use_authorities(ctx, listen, why, size))
        return ctx;
fail:
    SSL_CTX_free(ctx);
    return NULL;
}

const unsigned char *tls_trust(const SSL_CTX *ctx)
{
    return SSL_CTX_get_ex_data(ctx, trust_index());
}

/* Whom we trust of those that we connect to. */
static bool use_trust(SSL_CTX *ctx, const char *ca_file, bool verify, char *why, size_t size)
{
    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (ca_file != NULL) {
        if (SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
            explain(why, size, "read certificate authorities", ca_file);
            return false;
        }
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    } else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        explain(why, size, "find the system's certificate authorities", NULL);
        return false;
    }
    return true;
}

SSL_CTX *tls_client_context(const char *ca_file, bool verify, char *why, size_t size)
{
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = new_context(TLS_client_method());
    /* Unlike its neighbours SSL_CTX_set_alpn_protos returns 0 for success. */
    if (ctx == NULL || SSL_CTX_set_alpn_protos(ctx, http11, sizeof(http11)) != 0)
        explain(why, size, "make a TLS context", NULL);
    else if (use_trust(ctx, ca_file, verify, why, size))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *tls_redis_context(const char *ca_file, bool verify, const struct certificate_pair *pair,
                           char *why, size_t size)
{
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = new_context(TLS_client_method());
    if (ctx == NULL) {
        explain(why, size, "make a TLS context", NULL);
        return NULL;
    }
    SSL_CTX_set_read_ahead(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (use_trust(ctx, ca_file, verify, why, size) &&
        (pair == NULL || use_pair(ctx, pair, why, size)))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* The host as certificates name it: without brackets and without the dot of the root. */
static bool plain_host(const char *host, char out[HOST_MAX_BYTES + 1])
{
    struct strv s = strv_z(host);

    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = strv_head(strv_skip(s, 1), s.n - 2);
    else if (s.n > 1 && s.p[s.n - 1] == '.')
        s.n--;
    if (s.n == 0 || s.n > HOST_MAX_BYTES)
        return false;
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

static bool is_address(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}

enum rc tls_client_prepare(SSL *ssl, const char *host, bool verify)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    char name[HOST_MAX_BYTES + 1];
    int good = 1;

    if (!plain_host(host, name))
        return RC_BAD;
    ERR_clear_error();
    if (is_address(name)) { /* RFC 6066 3: an address is no server name */
        if (verify)
            good = X509_VERIFY_PARAM_set1_ip_asc(param, name);
    } else {
        good = SSL_set_tlsext_host_name(ssl, name) == 1;
        if (good == 1 && verify) {
            X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            good = X509_VERIFY_PARAM_set1_host(param, name, 0);
        }
    }
    ERR_clear_error();
    return good == 1 ? RC_OK : RC_TLS;
}

bool tls_time(const ASN1_TIME *when, int64_t *us)
{
    struct tm parts;

    if (!when || ASN1_TIME_to_tm(when, &parts) != 1)
        return false;
    *us = (date_to_days(parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday) * US_PER_DAY) +
          ((int64_t)parts.tm_hour * 3600 + parts.tm_min * 60 + parts.tm_sec) * US_PER_SECOND;
    return true;
}

void tls_fail_text(const SSL *ssl, const struct fail *fail, char *out, size_t size)
{
    const char *reason = fail->tls != 0 ? ERR_reason_error_string(fail->tls) : NULL;
    long verdict = ssl != NULL ? SSL_get_verify_result(ssl) : X509_V_OK;

    if (reason == NULL)
        fail_text(fail, out, size);
    else if (verdict != X509_V_OK &&
             ERR_GET_REASON(fail->tls) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        snprintf(out, size, "could not %s: %s: %s", fail->doing, reason,
                 X509_verify_cert_error_string(verdict));
    else
        snprintf(out, size, "could not %s: %s", fail->doing, reason);
}
