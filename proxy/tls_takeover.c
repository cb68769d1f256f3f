#include "proxy/tls_takeover.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/xalloc.h"
#include "proxy/tls_kdf.h"
#include "proxy/tls_stream.h"

/* Records that passed one way, counted by their heads. */
struct passed {
    unsigned char head[TLS_HEAD_BYTES];
    size_t head_n;
    size_t left; /* of the record that is under way */
    uint64_t records;
};

struct tls_takeover {
    unsigned char client[TLS_SECRET_MAX_BYTES], server[TLS_SECRET_MAX_BYTES];
    size_t client_n, server_n;
    struct passed in, out;
    bool begun;  /* the handshake is complete */
    bool turned; /* keys were: the secrets are old */
};

/* tls_kdf.h: a secret that the handshake derives. */
static void on_secret(void *arg, const char *label, size_t label_n, const unsigned char *secret,
                      size_t n)
{
    static const char client[] = "c ap traffic", server[] = "s ap traffic";
    struct tls_takeover *t = arg;

    if (label_n != sizeof(client) - 1 || n > TLS_SECRET_MAX_BYTES)
        return;
    if (memcmp(label, client, label_n) == 0) {
        memcpy(t->client, secret, n);
        t->client_n = n;
    } else if (memcmp(label, server, label_n) == 0) {
        memcpy(t->server, secret, n);
        t->server_n = n;
    }
}

static void on_message(int is_write, int version, int type, const void *bytes, size_t n, SSL *ssl,
                       void *arg)
{
    struct tls_takeover *t = arg;

    (void)is_write;
    (void)version;
    (void)ssl;
    if (type == SSL3_RT_HANDSHAKE && n > 0 && *(const unsigned char *)bytes == SSL3_MT_KEY_UPDATE)
        t->turned = true;
}

struct tls_takeover *tls_takeover_new(SSL *ssl)
{
    struct tls_takeover *t = xcalloc(1, sizeof(*t));

    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, t);
    SSL_set_read_ahead(ssl, 0); /* else records that nobody has asked for would be its own */
    /* Between two flights nothing is in its buffers: many that shake hands share a few places. */
    SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    return t;
}

void tls_takeover_free(struct tls_takeover *t)
{
    if (!t)
        return;
    OPENSSL_cleanse(t, sizeof(*t));
    free(t);
}

int tls_takeover_shake(struct tls_takeover *t, SSL *ssl)
{
    int result;

    tls_kdf_watch(on_secret, t);
    result = SSL_do_handshake(ssl);
    tls_kdf_watch(NULL, NULL);
    return result;
}

static void count(struct passed *p, const char *bytes, size_t n)
{
    while (n > 0) {
        size_t skip = n < p->left ? n : p->left;

        p->left -= skip;
        bytes += skip;
        n -= skip;
        if (n == 0)
            break;
        p->head[p->head_n++] = (unsigned char)*bytes++;
        n--;
        if (p->head_n == TLS_HEAD_BYTES) {
            p->left = (size_t)p->head[3] << 8 | p->head[4];
            p->head_n = 0;
            p->records++;
        }
    }
}

static bool is_between(const struct passed *p)
{
    return p->left == 0 && p->head_n == 0;
}

void tls_takeover_read(struct tls_takeover *t, const char *bytes, size_t n)
{
    count(&t->in, bytes, n);
    if (!t->begun)
        t->out.records = 0; /* a server's tickets come after all that it reads */
}

void tls_takeover_wrote(struct tls_takeover *t, const char *bytes, size_t n)
{
    count(&t->out, bytes, n);
}

void tls_takeover_begin(struct tls_takeover *t, SSL *ssl)
{
    t->begun = true;
    t->in.records = 0;
    if (!SSL_is_server(ssl))
        t->out.records = 0; /* its last one still went under the handshake's keys */
}

bool tls_takeover_has_begun(const struct tls_takeover *t)
{
    return t->begun;
}

/*
 * The client asked for records of at most 512 to 4,096 bytes (RFC 6066, 4) and would refuse a
 * larger one; OpenSSL keeps to it.
 */
static bool has_small_records(const SSL *ssl)
{
    const SSL_SESSION *session = SSL_get_session(ssl);

    return session &&
           SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED;
}

enum takeover tls_takeover_try(struct tls_takeover *t, SSL *ssl, struct tls_stream **stream)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    const struct tls_suite *suite = cipher ? tls_suite_find(SSL_CIPHER_get_protocol_id(cipher)) : NULL;
    bool is_client = !SSL_is_server(ssl);
    struct tls_secret in = {is_client ? t->server : t->client, t->in.records};
    struct tls_secret out = {is_client ? t->client : t->server, t->out.records};

    if (SSL_version(ssl) == TLS1_3_VERSION && suite && !t->turned && !has_small_records(ssl) &&
        t->client_n == suite->secret_bytes && t->server_n == suite->secret_bytes) {
        if (SSL_has_pending(ssl) || !is_between(&t->in) || !is_between(&t->out))
            return TAKEOVER_LATER;
        *stream = tls_stream_new(suite, &in, &out, is_client);
        if (*stream)
            return TAKEOVER_DONE;
    }
    SSL_set_msg_callback(ssl, NULL);
    SSL_set_read_ahead(ssl, 1);
    SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    return TAKEOVER_NEVER;
}
