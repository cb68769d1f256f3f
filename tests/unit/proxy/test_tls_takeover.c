/*
 * test_tls_takeover.c - whole connections of which one end is OpenSSL alone and the other goes on
 * without it.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/held.h"
#include "base/xalloc.h"
#include "proxy/io.h"
#include "proxy/memory.h"
#include "proxy/tls_kdf.h"
#include "proxy/tls_takeover.h"

enum { TURNS_MAX = 20000, TEXT_BYTES = 1 << 20, YEAR_SECONDS = 31536000 };

static void nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

struct pair {
    SSL_CTX *server, *client;
    SSL *peer;
    struct io io;
    struct event_base *base;
    int64_t held;
};

static void ready(void *arg, unsigned what)
{
    (void)arg;
    (void)what;
}

static SSL_SESSION *kept; /* the newest, for a client that is ours */

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    if (!SSL_get_app_data(ssl))
        return 0;
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static void make_contexts(struct pair *p, const char *suite, int version)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    unsigned char tickets[80] = {1};

    assert_true(X509_set_pubkey(certificate, key) && X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
                X509_gmtime_adj(X509_getm_notAfter(certificate), YEAR_SECONDS) &&
                X509_sign(certificate, key, EVP_sha256()));
    p->server = SSL_CTX_new_ex(NULL, tls_kdf_properties(), TLS_server_method());
    p->client = SSL_CTX_new_ex(NULL, tls_kdf_properties(), TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(p->server, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->server, key), 1);
    assert_int_equal(SSL_CTX_set_ciphersuites(p->client, suite), 1);
    SSL_CTX_set_max_proto_version(p->client, version);
    assert_int_equal(SSL_CTX_set_tlsext_ticket_keys(p->server, tickets, sizeof(tickets)), 1);
    SSL_CTX_set_session_cache_mode(p->client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(p->client, keep_session);
    for (int i = 0; i < 2; i++) {
        SSL_CTX_set_mode(i ? p->server : p->client, SSL_MODE_AUTO_RETRY | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void open_pair(struct pair *p, const char *suite, bool is_client, int version)
{
    SSL *ssl;
    int fds[2];

    *p = (struct pair){.held = held_now()};
    make_contexts(p, suite, version);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    nonblocking(fds[0]);
    nonblocking(fds[1]);
    p->base = event_base_new();
    ssl = SSL_new(is_client ? p->client : p->server);
    p->peer = SSL_new(is_client ? p->server : p->client);
    is_client ? SSL_set_connect_state(ssl) : SSL_set_accept_state(ssl);
    is_client ? SSL_set_accept_state(p->peer) : SSL_set_connect_state(p->peer);
    SSL_set_fd(p->peer, fds[1]);
    if (is_client) {
        SSL_set_app_data(ssl, p);
        if (kept)
            SSL_set_session(ssl, kept);
    }
    io_open(&p->io, p->base, fds[0], ssl, ready, NULL);
}

static void connect_pair(struct pair *p, const char *suite, bool is_client, int version)
{
    open_pair(p, suite, is_client, version);
    for (int i = 0; i < 20; i++) {
        enum rc rc = io_handshake(&p->io);

        assert_true(rc == RC_OK || rc == RC_AGAIN);
        (void)SSL_do_handshake(p->peer);
    }
    assert_true(SSL_is_init_finished(p->peer) && io_handshake(&p->io) == RC_OK);
}

static void part_pair(struct pair *p)
{
    io_close(&p->io);
    close(SSL_get_fd(p->peer));
    SSL_free(p->peer);
    SSL_CTX_free(p->server);
    SSL_CTX_free(p->client);
    event_base_free(p->base);
    ERR_clear_error();
    assert_int_equal(held_now(), p->held);
}

/* Both send a text of their own at once, each in pieces of its size; both must arrive whole. */
static void exchange(struct pair *p, size_t piece, size_t room, size_t bytes)
{
    char *text = xmalloc(bytes), *here = xmalloc(bytes), *there = xmalloc(bytes);
    size_t sent = 0, answered = 0, got_here = 0, got_there = 0, n;

    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)(i * 31 + i / 251);
    for (int turn = 0; turn < TURNS_MAX && (got_here < bytes || got_there < bytes); turn++) {
        size_t most = bytes - answered < piece ? bytes - answered : piece;

        if (sent < bytes && SSL_write_ex(p->peer, text + sent, bytes - sent < piece ? bytes - sent : piece, &n) == 1)
            sent += n;
        if (most > 0) {
            enum rc rc = io_write(&p->io, text + answered, most, &n);

            assert_true(rc == RC_OK || rc == RC_AGAIN);
            answered += n;
        }
        if (got_here < bytes) {
            enum rc rc = io_read(&p->io, here + got_here, bytes - got_here < room ? bytes - got_here : room, &n);

            assert_true(rc == RC_OK || rc == RC_AGAIN);
            got_here += rc == RC_OK ? n : 0;
        }
        /* Not every time, so that sockets fill up. */
        if (turn % 3 == 0 && got_there < bytes &&
            SSL_read_ex(p->peer, there + got_there, bytes - got_there, &n) == 1)
            got_there += n;
    }
    assert_int_equal(got_here, bytes);
    assert_int_equal(got_there, bytes);
    assert_memory_equal(here, text, bytes);
    assert_memory_equal(there, text, bytes);
    free(text);
    free(here);
    free(there);
}

static const char *const all_suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                         "TLS_CHACHA20_POLY1305_SHA256"};

static void openssl_understands_what_goes_on_without_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct pair p;

        connect_pair(&p, all_suites[i / 2], i % 2, TLS1_3_VERSION);
        exchange(&p, 100, 4096, 1000);
        assert_non_null(p.io.tls);
        assert_null(p.io.ssl); /* and its memory has gone */
        assert_int_equal(held_now() - p.held, MEMORY_TLS_STREAM_BYTES);
        exchange(&p, 200000, 65536, TEXT_BYTES);
        exchange(&p, 16385, 1000, TEXT_BYTES / 4);
        part_pair(&p);
    }
}

static void keys_turn_whoever_asks(void **state)
{
    static const int asks[] = {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct pair p;

        connect_pair(&p, all_suites[i / 2], i % 2, TLS1_3_VERSION);
        exchange(&p, 100, 4096, 1000);
        assert_non_null(p.io.tls);
        for (int turn = 0; turn < 6; turn++) {
            assert_int_equal(SSL_key_update(p.peer, asks[turn % 2]), 1);
            exchange(&p, 3000, 4096, 100000);
        }
        part_pair(&p);
    }
}

static void keys_that_turned_before_stay_with_openssl(void **state)
{
    struct pair p;

    (void)state;
    connect_pair(&p, all_suites[0], false, TLS1_3_VERSION);
    assert_int_equal(SSL_key_update(p.peer, SSL_KEY_UPDATE_REQUESTED), 1);
    exchange(&p, 3000, 4096, 100000);
    assert_null(p.io.tls);
    assert_null(p.io.takeover);
    assert_non_null(p.io.ssl);
    part_pair(&p);
}

static void older_tls_stays_with_openssl(void **state)
{
    struct pair p;

    (void)state;
    connect_pair(&p, all_suites[0], false, TLS1_2_VERSION);
    exchange(&p, 3000, 4096, 100000);
    assert_null(p.io.tls);
    assert_non_null(p.io.ssl);
    assert_int_equal(held_now() - p.held, MEMORY_TLS_BYTES + MEMORY_TLS_BUFFERS_BYTES);
    io_free_buffers(&p.io);
    assert_int_equal(held_now() - p.held, MEMORY_TLS_BYTES);
    part_pair(&p);
}

static void later_tickets_do_no_harm(void **state)
{
    struct pair p;

    (void)state;
    connect_pair(&p, all_suites[1], true, TLS1_3_VERSION);
    exchange(&p, 100, 4096, 1000);
    assert_non_null(p.io.tls);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SSL_new_session_ticket(p.peer), 1);
        exchange(&p, 3000, 4096, 100000);
    }
    part_pair(&p);
}

static void what_waits_in_openssl_is_not_lost(void **state)
{
    char to[4];
    struct pair p;
    size_t n;

    (void)state;
    connect_pair(&p, all_suites[0], false, TLS1_3_VERSION);
    assert_int_equal(SSL_write_ex(p.peer, "abcdefgh", 8, &n), 1);
    assert_int_equal(io_read(&p.io, to, 4, &n), RC_OK);
    assert_null(p.io.tls); /* half of its first record is still OpenSSL's */
    assert_memory_equal(to, "abcd", n);
    assert_true(io_has_buffered(&p.io));
    assert_int_equal(io_read(&p.io, to, 4, &n), RC_OK);
    assert_memory_equal(to, "efgh", n);
    assert_non_null(p.io.tls);
    part_pair(&p);
}

static int waits_in_socket(const struct pair *p)
{
    int n = -1;

    assert_int_equal(ioctl(p->io.fd, FIONREAD, &n), 0);
    return n;
}

/* All but the last byte of three records come with the end of the client's handshake. */
static void what_comes_with_the_handshake_is_read_at_once(void **state)
{
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    unsigned char wire[IO_AHEAD_BYTES];
    char to[100];
    size_t n;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int all;
        struct pair p;

        open_pair(&p, all_suites[0], false, versions[i]);
        while (!SSL_is_init_finished(p.peer)) {
            (void)SSL_do_handshake(p.peer);
            if (!SSL_is_init_finished(p.peer))
                assert_true(io_handshake(&p.io) <= RC_AGAIN);
        }
        assert_int_equal(SSL_write_ex(p.peer, "abcdefgh", 8, &n), 1);
        assert_int_equal(SSL_write_ex(p.peer, "ijkl", 4, &n), 1);
        assert_int_equal(SSL_write_ex(p.peer, "mnop", 4, &n), 1);
        all = (int)recv(p.io.fd, wire, sizeof(wire), 0);
        assert_true(all > 0);
        assert_int_equal(send(SSL_get_fd(p.peer), wire, (size_t)all - 1, 0), all - 1);
        assert_int_equal(io_handshake(&p.io), RC_OK);
        assert_true(io_has_buffered(&p.io) || versions[i] == TLS1_2_VERSION);
        assert_int_equal(waits_in_socket(&p), versions[i] == TLS1_2_VERSION ? all - 1 : 0);
        assert_int_equal(io_read(&p.io, to, sizeof(to), &n), RC_OK);
        assert_memory_equal(to, "abcdefgh", n);
        assert_int_equal(waits_in_socket(&p), 0);
        assert_true((p.io.tls != NULL) == (i == 0));
        assert_true(io_has_buffered(&p.io));
        assert_int_equal(io_read(&p.io, to, sizeof(to), &n), RC_OK);
        assert_memory_equal(to, "ijkl", n);
        assert_int_equal(io_read(&p.io, to, sizeof(to), &n), RC_AGAIN);
        assert_int_equal(send(SSL_get_fd(p.peer), wire + all - 1, 1, 0), 1);
        assert_int_equal(io_read(&p.io, to, sizeof(to), &n), RC_OK);
        assert_memory_equal(to, "mnop", n);
        part_pair(&p);
    }
}

static void goodbyes_are_said_both_ways(void **state)
{
    char to[16];
    struct pair p;
    size_t n;

    (void)state;
    connect_pair(&p, all_suites[0], false, TLS1_3_VERSION);
    exchange(&p, 100, 4096, 1000);
    io_shutdown_write(&p.io);
    assert_int_equal(SSL_read_ex(p.peer, to, sizeof(to), &n), 0);
    assert_int_equal(SSL_get_error(p.peer, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(SSL_shutdown(p.peer), 1);
    assert_int_equal(io_read(&p.io, to, sizeof(to), &n), RC_EOF);
    part_pair(&p);
}

/* A ticket that came before a takeover resumes the next connection: its end was a good one. */
static void session_survives(void **state)
{
    struct pair p;

    (void)state;
    SSL_SESSION_free(kept);
    kept = NULL;
    connect_pair(&p, all_suites[0], true, TLS1_3_VERSION);
    exchange(&p, 100, 4096, 500);
    assert_null(p.io.ssl);
    part_pair(&p);
    assert_non_null(kept);
    connect_pair(&p, all_suites[0], true, TLS1_3_VERSION);
    assert_int_equal(SSL_session_reused(p.io.ssl), 1);
    exchange(&p, 100, 4096, 500);
    part_pair(&p);
    SSL_SESSION_free(kept);
    kept = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssl_understands_what_goes_on_without_it),
        cmocka_unit_test(keys_turn_whoever_asks),
        cmocka_unit_test(keys_that_turned_before_stay_with_openssl),
        cmocka_unit_test(older_tls_stays_with_openssl),
        cmocka_unit_test(later_tickets_do_no_harm),
        cmocka_unit_test(what_waits_in_openssl_is_not_lost),
        cmocka_unit_test(what_comes_with_the_handshake_is_read_at_once),
        cmocka_unit_test(goodbyes_are_said_both_ways),
        cmocka_unit_test(session_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
