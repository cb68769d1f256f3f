/*
 * load_tls.h - a connection's TLS once it stands, without OpenSSL's state: the gateway's own records
 * (proxy/tls_stream.h), which take a fraction of the core that the load shares with the provider.
 */
#ifndef BENCH_LOAD_TLS_H
#define BENCH_LOAD_TLS_H

#include <openssl/ssl.h>

#include "proxy/tls_stream.h"

/* Traffic secrets of connections of this context are kept from here on. */
void load_tls_watch(SSL_CTX *tls);
/*
 * Goes on where SSL_connect has just succeeded, of a context that is watched and does not read ahead:
 * nothing has gone under the traffic secrets yet. NULL: OpenSSL keeps it. The caller frees.
 */
struct tls_stream *load_tls_take(SSL *ssl);

#endif
