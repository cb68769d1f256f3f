#include "tests/bench/load_tls.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/strv.h"

struct secret {
    size_t n;
    unsigned char bytes[TLS_SECRET_MAX_BYTES];
};

/* Of the connection whose handshake has ended last. */
static const SSL *owner;
static struct secret client_secret, server_secret;

static unsigned digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

/* "NAME random secret", hexadecimal, as OpenSSL writes it. */
static void on_key_line(const SSL *ssl, const char *line)
{
    struct strv rest = strv_z(line), name, random;
    if (!strv_split(&rest, ' ', &name) || !strv_split(&rest, ' ', &random))
        return;
    struct secret *to = strv_eq(name, STRV("CLIENT_TRAFFIC_SECRET_0"))   ? &client_secret
                        : strv_eq(name, STRV("SERVER_TRAFFIC_SECRET_0")) ? &server_secret
                                                                         : NULL;
    if (to == NULL || rest.n > 2 * sizeof(to->bytes))
        return;
    owner = ssl;
    to->n = rest.n / 2;
    for (size_t i = 0; i < to->n; i++)
        to->bytes[i] = (unsigned char)(digit(rest.p[2 * i]) << 4 | digit(rest.p[2 * i + 1]));
}

void load_tls_watch(SSL_CTX *tls)
{
    SSL_CTX_set_keylog_callback(tls, on_key_line);
}

struct tls_stream *load_tls_take(SSL *ssl)
{
    const struct tls_suite *suite =
        tls_suite_find(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
    struct tls_secret in = {.bytes = server_secret.bytes}, out = {.bytes = client_secret.bytes};
    bool known = owner == ssl && suite != NULL && server_secret.n == suite->secret_bytes &&
                 client_secret.n == suite->secret_bytes;
    owner = NULL;
    return known ? tls_stream_new(suite, &in, &out, true) : NULL;
}
