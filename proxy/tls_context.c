#include "proxy/tls_context.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/strv.h"

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

enum { HOST_MAX_BYTES = 253 }; /* RFC 1035 2.3.4, as text without the last dot */

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
    SSL_CTX *ctx = SSL_CTX_new(method);

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

SSL_CTX *tls_server_context(const char *certificate, const char *private_key, bool http2_too,
                            char *why, size_t size)
{
    static const unsigned char session_scope[] = "tollgate";
    static char yes;
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = new_context(TLS_server_method());
    if (ctx == NULL) {
        explain(why, size, "make a TLS context", NULL);
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, http2_too ? &yes : NULL);
    /* Tickets alone resume sessions: a cache would be a lock that all workers share. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_session_id_context(ctx, session_scope, sizeof(session_scope) - 1);

    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1) {
        explain(why, size, "read certificate", certificate);
        goto fail;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, private_key, SSL_FILETYPE_PEM) != 1) {
        explain(why, size, "read private key", private_key);
        goto fail;
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        explain(why, size, "use private key", private_key);
        goto fail;
    }
    return ctx;
fail:
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *tls_client_context(const char *ca_file, bool verify, char *why, size_t size)
{
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = new_context(TLS_client_method());
    /* Unlike its neighbours SSL_CTX_set_alpn_protos returns 0 for success. */
    if (ctx == NULL || SSL_CTX_set_alpn_protos(ctx, http11, sizeof(http11)) != 0) {
        explain(why, size, "make a TLS context", NULL);
        goto fail;
    }
    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (ca_file != NULL) {
        if (SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
            explain(why, size, "read certificate authorities", ca_file);
            goto fail;
        }
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    } else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        explain(why, size, "find the system's certificate authorities", NULL);
        goto fail;
    }
    return ctx;
fail:
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
