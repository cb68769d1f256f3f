#include "proxy/peer.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/xalloc.h"
#include "proxy/tls_context.h"

/* A copy that is a name; empty where the bytes are none (a NUL in them is a forgery). */
static struct strv name_of(const unsigned char *bytes, int n)
{
    if (n <= 0 || n > PEER_NAME_MAX_BYTES || memchr(bytes, '\0', (size_t)n))
        return STRV_NONE;
    return strv_make(xmemdupz((const char *)bytes, (size_t)n), (size_t)n);
}

static void read_names(struct peer *peer, const X509 *certificate)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(all) && peer->n_names < PEER_NAMES_MAX; i++) {
        const GENERAL_NAME *each = sk_GENERAL_NAME_value(all, i);
        struct strv name;

        if (each->type != GEN_DNS && each->type != GEN_URI && each->type != GEN_EMAIL)
            continue;
        name = name_of(ASN1_STRING_get0_data(each->d.ia5), ASN1_STRING_length(each->d.ia5));
        if (name.n > 0)
            peer->names[peer->n_names++] = name;
    }
    GENERAL_NAMES_free(all);
}

static void read_common(struct peer *peer, const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    int n;

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return;
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    peer->common = name_of(text, n);
    OPENSSL_free(text);
}

struct peer *peer_new(SSL *ssl, const unsigned char trust[SHA256_BYTES])
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct peer *peer;
    unsigned n = 0;

    if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK ||
        (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) == 0)
        return NULL;
    peer = xcalloc(1, sizeof(*peer));
    peer->refs = 1;
    memcpy(peer->trust, trust, SHA256_BYTES);
    if (!tls_time(X509_get0_notBefore(certificate), &peer->from_us) ||
        !tls_time(X509_get0_notAfter(certificate), &peer->until_us) ||
        X509_digest(certificate, EVP_sha256(), digest, &n) != 1 || n != SHA256_BYTES) {
        peer_unref(peer);
        peer = NULL;
    } else {
        digest_hex(digest, n, peer->fingerprint);
        read_names(peer, certificate);
        read_common(peer, certificate);
    }
    ERR_clear_error();
    return peer;
}

struct peer *peer_ref(struct peer *peer)
{
    if (peer)
        peer->refs++;
    return peer;
}

static void free_name(struct strv name)
{
    if (name.n > 0)
        free((void *)(uintptr_t)name.p);
}

void peer_unref(struct peer *peer)
{
    if (!peer || --peer->refs > 0)
        return;
    for (size_t i = 0; i < peer->n_names; i++)
        free_name(peer->names[i]);
    free_name(peer->common);
    free(peer);
}

bool peer_is_good(const struct peer *peer, const unsigned char trust[SHA256_BYTES],
                  int64_t now_us)
{
    return peer && memcmp(peer->trust, trust, SHA256_BYTES) == 0 && peer->from_us <= now_us &&
           now_us < peer->until_us;
}
