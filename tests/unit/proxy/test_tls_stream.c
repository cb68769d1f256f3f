/*
 * test_tls_stream.c - records against RFC 8448, hostile records, and whole connections of which
 * one end is OpenSSL alone and the other goes on without it.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/held.h"
#include "base/xalloc.h"
#include "proxy/io.h"
#include "proxy/tls_stream.h"
#include "proxy/tls_takeover.h"

enum { TURNS_MAX = 20000, TEXT_BYTES = 1 << 20, YEAR_SECONDS = 31536000 };

/* RFC 8448, 3: the client's traffic secret, its first record of data, and what it says. */
static const unsigned char secret_8448[32] = {
    0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d, 0xc0, 0x5a, 0xf8, 0x88, 0x9b, 0xce, 0x65, 0x52,
    0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf, 0x00, 0x87, 0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5};
static const unsigned char record_8448[72] = {
    0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf, 0xfa,
    0xfe, 0x82, 0x28, 0xba, 0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9, 0x14, 0xaa, 0x66, 0xbc,
    0xab, 0x3f, 0x2b, 0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b, 0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20,
    0x44, 0x1e, 0x2b, 0x62, 0x97, 0x4e, 0x1f, 0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd,
    0x1e, 0x3d, 0xea, 0xe6, 0x3a, 0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4};
enum { SAYS_8448 = 50 }; /* 00 01 02 .. 31 */

static void suites_have_their_numbers(void **state)
{
    (void)state;
    assert_null(tls_suite_find(0x1300));
    assert_null(tls_suite_find(0x1304)); /* CCM: not offered */
    assert_string_equal(tls_suite_find(0x1302)->cipher, "AES-256-GCM");
}

static void record_is_as_rfc_8448_has_it(void **state)
{
    struct tls_half out, in;
    unsigned char record[SAYS_8448 + TLS_ROOM_BYTES];
    char says[SAYS_8448], got[sizeof(record)];
    unsigned type;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(says); i++)
        says[i] = (char)i;
    assert_true(tls_half_init(&out, tls_suite_find(0x1301), secret_8448, 0, true));
    assert_true(tls_seal(&out, TLS_TYPE_DATA, says, sizeof(says), record));
    assert_memory_equal(record, record_8448, sizeof(record));
    assert_true(tls_half_init(&in, tls_suite_find(0x1301), secret_8448, 0, false));
    assert_true(tls_open(&in, record, sizeof(record) - TLS_HEAD_BYTES, got, &n, &type));
    assert_int_equal(type, TLS_TYPE_DATA);
    assert_int_equal(n, sizeof(says));
    assert_memory_equal(got, says, n);
    /* It is the first record and no other. */
    assert_false(tls_open(&in, record, sizeof(record) - TLS_HEAD_BYTES, got, &n, &type));
    tls_half_fini(&in);
    tls_half_fini(&out);
}

static void any_changed_byte_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(record_8448); i++) {
        unsigned char record[sizeof(record_8448)];
        char got[sizeof(record)];
        struct tls_half in;
        unsigned type;
        size_t n;

        memcpy(record, record_8448, sizeof(record));
        record[i] ^= 0x10;
        assert_true(tls_half_init(&in, tls_suite_find(0x1301), secret_8448, 0, false));
        assert_false(tls_open(&in, record, sizeof(record) - TLS_HEAD_BYTES, got, &n, &type));
        tls_half_fini(&in);
    }
}

static void last_number_is_not_used_twice(void **state)
{
    struct tls_half out;
    unsigned char record[1 + TLS_ROOM_BYTES];

    (void)state;
    assert_true(tls_half_init(&out, tls_suite_find(0x1301), secret_8448, UINT64_MAX - 1, true));
    assert_true(tls_seal(&out, TLS_TYPE_DATA, "x", 1, record));
    assert_false(tls_seal(&out, TLS_TYPE_DATA, "x", 1, record));
    tls_half_fini(&out);
}

/* ---- one stream, and a hostile peer that has its keys ---------------------------------------- */

struct rig {
    int ours, theirs;
    struct tls_stream *stream;
    struct tls_half says, hears; /* the peer's */
    struct fail fail;
    int64_t held;
};

static void nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

static void raise_rig_at(struct rig *r, bool is_client, uint64_t sent)
{
    static const unsigned char other[32] = {7};
    struct tls_secret in = {secret_8448, 0}, out = {other, sent};
    int fds[2];

    *r = (struct rig){.held = held_now()};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    nonblocking(r->ours = fds[0]);
    nonblocking(r->theirs = fds[1]);
    r->stream = tls_stream_new(tls_suite_find(0x1301), &in, &out, is_client);
    assert_non_null(r->stream);
    assert_true(tls_half_init(&r->says, tls_suite_find(0x1301), secret_8448, 0, true));
    assert_true(tls_half_init(&r->hears, tls_suite_find(0x1301), other, sent, false));
}

static void raise_rig(struct rig *r, bool is_client)
{
    raise_rig_at(r, is_client, 0);
}

static void fell_rig(struct rig *r)
{
    tls_stream_free(r->stream);
    tls_half_fini(&r->says);
    tls_half_fini(&r->hears);
    close(r->ours);
    close(r->theirs);
    assert_int_equal(held_now(), r->held);
}

static void put_raw(struct rig *r, const void *bytes, size_t n)
{
    assert_int_equal(write(r->theirs, bytes, n), (ssize_t)n);
}

static void put_record(struct rig *r, unsigned type, const char *bytes, size_t n)
{
    unsigned char record[TLS_PLAIN_MAX_BYTES + TLS_ROOM_BYTES];

    assert_true(tls_seal(&r->says, (enum tls_type)type, bytes, n, record));
    put_raw(r, record, n + TLS_ROOM_BYTES);
}

static enum rc get(struct rig *r, char *to, size_t size, size_t *got)
{
    return tls_stream_read(r->stream, r->ours, to, size, got, &r->fail);
}

static void expect_text(struct rig *r, const char *text)
{
    char to[256];
    size_t got = 0;

    assert_int_equal(get(r, to, sizeof(to), &got), RC_OK);
    assert_int_equal(got, strlen(text));
    assert_memory_equal(to, text, got);
}

/* The last thing that the peer hears is a fatal alert of this kind. */
static void expect_alert(struct rig *r, unsigned what)
{
    unsigned char record[256];
    char alert[256];
    ssize_t n = read(r->theirs, record, sizeof(record));
    unsigned type;
    size_t got;

    assert_int_equal(n, 2 + TLS_ROOM_BYTES);
    assert_true(tls_open(&r->hears, record, (size_t)n - TLS_HEAD_BYTES, alert, &got, &type));
    assert_int_equal(type, TLS_TYPE_ALERT);
    assert_int_equal(got, 2);
    assert_int_equal(alert[0], 2);
    assert_int_equal(alert[1], what);
}

static void expect_refused(struct rig *r, unsigned alert, int reason)
{
    char to[256];
    size_t got = 0;

    assert_int_equal(get(r, to, sizeof(to), &got), RC_TLS);
    assert_int_equal(ERR_GET_REASON(r->fail.tls), reason);
    expect_alert(r, alert);
}

struct bad_record {
    const char *what;
    bool is_client;
    unsigned type;
    const char *bytes;
    size_t n;
    unsigned alert;
    int reason;
};

static void hostile_records_end_it(void **state)
{
    static const struct bad_record bad[] = {
        {"a type that is none", false, 99, "x", 1, 10, SSL_R_UNEXPECTED_RECORD},
        {"ChangeCipherSpec", false, 20, "\1", 1, 10, SSL_R_UNEXPECTED_RECORD},
        {"no type at all", false, 0, "\0\0\0", 3, 20, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC},
        {"an empty handshake record", false, 22, "", 0, 10, SSL_R_UNEXPECTED_RECORD},
        {"an empty alert", false, 21, "", 0, 10, SSL_R_UNEXPECTED_RECORD},
        {"half an alert", false, 21, "\2", 1, 50, SSL_R_BAD_LENGTH},
        {"a ticket from a client", false, 22, "\4\0\0\1x", 5, 10, SSL_R_UNEXPECTED_MESSAGE},
        {"a client's greeting", true, 22, "\1\0\0\1x", 5, 10, SSL_R_UNEXPECTED_MESSAGE},
        {"a certificate request", true, 22, "\15\0\0\1x", 5, 10, SSL_R_UNEXPECTED_MESSAGE},
        {"KeyUpdate of another value", false, 22, "\30\0\0\1\2", 5, 47, SSL_R_BAD_KEY_UPDATE},
        {"KeyUpdate with more behind it", false, 22, "\30\0\0\1\0\30", 6, 10,
         SSL_R_NOT_ON_RECORD_BOUNDARY},
        {"KeyUpdate without its value", false, 22, "\30\0\0\1", 4, 10,
         SSL_R_NOT_ON_RECORD_BOUNDARY},
        {"KeyUpdate that is too long", false, 22, "\30\0\0\2\0\0", 6, 10,
         SSL_R_UNEXPECTED_MESSAGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rig r;

        raise_rig(&r, bad[i].is_client);
        put_record(&r, bad[i].type, bad[i].bytes, bad[i].n);
        expect_refused(&r, bad[i].alert, bad[i].reason);
        fell_rig(&r);
    }
}

static void hostile_heads_end_it(void **state)
{
    static const unsigned char handshake[] = {22, 3, 3, 0, 40}, old[] = {23, 2, 0, 0, 40},
                               huge[] = {23, 3, 3, 0x41, 1}, tiny[] = {23, 3, 3, 0, 16};
    struct rig r;

    (void)state;
    raise_rig(&r, false);
    put_raw(&r, handshake, 5);
    expect_refused(&r, 10, SSL_R_UNEXPECTED_RECORD);
    fell_rig(&r);
    raise_rig(&r, false);
    put_raw(&r, old, 5);
    expect_refused(&r, 10, SSL_R_UNEXPECTED_RECORD);
    fell_rig(&r);
    raise_rig(&r, false);
    put_raw(&r, huge, 5);
    expect_refused(&r, 22, SSL_R_ENCRYPTED_LENGTH_TOO_LONG);
    fell_rig(&r);
    raise_rig(&r, false);
    put_raw(&r, tiny, 5);
    expect_refused(&r, 50, SSL_R_LENGTH_TOO_SHORT);
    fell_rig(&r);
}

static void silent_records_are_bounded(void **state)
{
    struct rig r;

    (void)state;
    raise_rig(&r, false);
    for (int i = 0; i < TLS_SILENT_RECORDS; i++)
        put_record(&r, TLS_TYPE_DATA, "", 0);
    put_record(&r, TLS_TYPE_DATA, "now", 3);
    expect_text(&r, "now");
    for (int i = 0; i <= TLS_SILENT_RECORDS; i++)
        put_record(&r, TLS_TYPE_DATA, "", 0);
    expect_refused(&r, 10, SSL_R_TOO_MANY_WARN_ALERTS);
    fell_rig(&r);
}

static void more_than_a_record_may_carry(void **state)
{
    static unsigned char record[TLS_HEAD_BYTES + TLS_SEALED_MAX_BYTES];
    static unsigned char plain[TLS_PLAIN_MAX_BYTES + 2];
    unsigned char nonce[TLS_IV_BYTES];
    struct rig r;
    int n;

    (void)state;
    raise_rig(&r, false);
    /* By hand, since tls_seal makes none: its cipher holds the key. */
    memset(plain, 'a', sizeof(plain) - 1);
    plain[sizeof(plain) - 1] = TLS_TYPE_DATA;
    memcpy(record, "\x17\3\3", 3);
    record[3] = (unsigned char)((sizeof(plain) + 16) >> 8);
    record[4] = (unsigned char)(sizeof(plain) + 16);
    memcpy(nonce, r.says.iv, sizeof(nonce));
    assert_int_equal(EVP_EncryptInit_ex2(r.says.cipher, NULL, NULL, nonce, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(r.says.cipher, NULL, &n, record, 5), 1);
    assert_int_equal(EVP_EncryptUpdate(r.says.cipher, record + 5, &n, plain, sizeof(plain)), 1);
    assert_int_equal(EVP_EncryptFinal_ex(r.says.cipher, record + 5 + n, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(r.says.cipher, EVP_CTRL_AEAD_GET_TAG, 16,
                                         record + 5 + sizeof(plain)), 1);
    put_raw(&r, record, 5 + sizeof(plain) + 16);
    expect_refused(&r, 22, SSL_R_DATA_LENGTH_TOO_LONG);
    fell_rig(&r);
}

static void padding_and_tickets_are_passed_over(void **state)
{
    struct rig r;
    size_t got;
    char to[64];

    (void)state;
    raise_rig(&r, true);
    put_record(&r, 0, "abc\x17\0\0", 6); /* data, padded */
    expect_text(&r, "abc");
    put_record(&r, TLS_TYPE_HANDSHAKE, "\4", 1); /* a ticket in three parts, and a second one */
    put_record(&r, TLS_TYPE_HANDSHAKE, "\0\0\5he", 5);
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_AGAIN);
    put_record(&r, TLS_TYPE_HANDSHAKE, "llo\4\0\0\1x", 8);
    put_record(&r, TLS_TYPE_DATA, "def", 3);
    expect_text(&r, "def");
    put_record(&r, TLS_TYPE_HANDSHAKE, "\4\0\0\5h", 5);
    put_record(&r, TLS_TYPE_DATA, "ghi", 3); /* within a message */
    expect_refused(&r, 10, SSL_R_UNEXPECTED_RECORD);
    fell_rig(&r);
}

static void ends_are_told_apart(void **state)
{
    struct rig r;
    size_t got = 0;
    char to[64];

    (void)state;
    raise_rig(&r, false);
    put_record(&r, TLS_TYPE_ALERT, "\1\132", 2); /* user_canceled */
    put_record(&r, TLS_TYPE_DATA, "bye", 3);
    put_record(&r, TLS_TYPE_ALERT, "\1\0", 2);
    expect_text(&r, "bye");
    assert_true(tls_stream_has_buffered(r.stream));
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_EOF);
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_EOF);
    fell_rig(&r);

    raise_rig(&r, false);
    put_record(&r, TLS_TYPE_ALERT, "\2\50", 2);
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_TLS);
    assert_int_equal(ERR_GET_REASON(r.fail.tls), SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    fell_rig(&r);

    raise_rig(&r, false);
    put_raw(&r, record_8448, 20); /* and then nothing more */
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_AGAIN);
    assert_false(tls_stream_has_buffered(r.stream));
    shutdown(r.theirs, SHUT_WR);
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_TLS);
    assert_int_equal(ERR_GET_REASON(r.fail.tls), SSL_R_UNEXPECTED_EOF_WHILE_READING);
    fell_rig(&r);
}

static void little_room_is_enough(void **state)
{
    char text[600], to[7];
    size_t at = 0, got;
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    raise_rig(&r, false);
    put_record(&r, TLS_TYPE_DATA, text, 300);
    put_record(&r, TLS_TYPE_DATA, text + 300, 5);
    put_record(&r, TLS_TYPE_DATA, text + 305, 295);
    while (at < sizeof(text)) {
        assert_true(at == 0 || tls_stream_has_buffered(r.stream));
        assert_int_equal(get(&r, to, sizeof(to), &got), RC_OK);
        assert_true(got > 0 && at + got <= sizeof(text));
        assert_memory_equal(to, text + at, got);
        at += got;
    }
    assert_false(tls_stream_has_buffered(r.stream));
    assert_int_equal(get(&r, to, sizeof(to), &got), RC_AGAIN);
    fell_rig(&r);
}

/* The next record that the peer hears. */
static void hear(struct rig *r, unsigned type, const char *bytes, size_t n)
{
    unsigned char record[256];
    char got[256];
    unsigned heard;
    size_t got_n;

    assert_int_equal(read(r->theirs, record, n + TLS_ROOM_BYTES), n + TLS_ROOM_BYTES);
    assert_true(tls_open(&r->hears, record, n + TLS_ROOM_BYTES - TLS_HEAD_BYTES, got, &got_n, &heard));
    assert_int_equal(heard, type);
    assert_int_equal(got_n, n);
    assert_memory_equal(got, bytes, n);
}

static void keys_turn_before_they_are_worn(void **state)
{
    struct rig r;
    size_t put;

    (void)state;
    raise_rig_at(&r, false, TLS_KEY_RECORDS - 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tls_stream_write(r.stream, r.ours, "abc", 3, &put, &r.fail), RC_OK);
    hear(&r, TLS_TYPE_DATA, "abc", 3);
    hear(&r, TLS_TYPE_HANDSHAKE, "\30\0\0\1\0", 5); /* and it need not turn its own */
    assert_true(tls_half_turn(&r.hears));
    hear(&r, TLS_TYPE_DATA, "abc", 3);
    fell_rig(&r);
}

/* ---- one end is OpenSSL alone ------------------------------------------------------------------ */

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
    p->server = SSL_CTX_new(TLS_server_method());
    p->client = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(p->server, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->server, key), 1);
    assert_int_equal(SSL_CTX_set_ciphersuites(p->client, suite), 1);
    SSL_CTX_set_max_proto_version(p->client, version);
    assert_int_equal(SSL_CTX_set_tlsext_ticket_keys(p->server, tickets, sizeof(tickets)), 1);
    SSL_CTX_set_session_cache_mode(p->client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(p->client, keep_session);
    for (int i = 0; i < 2; i++) {
        tls_takeover_context(i ? p->server : p->client);
        SSL_CTX_set_mode(i ? p->server : p->client, SSL_MODE_AUTO_RETRY | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void connect_pair(struct pair *p, const char *suite, bool is_client, int version)
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
        cmocka_unit_test(suites_have_their_numbers),
        cmocka_unit_test(record_is_as_rfc_8448_has_it),
        cmocka_unit_test(any_changed_byte_is_seen),
        cmocka_unit_test(last_number_is_not_used_twice),
        cmocka_unit_test(hostile_records_end_it),
        cmocka_unit_test(hostile_heads_end_it),
        cmocka_unit_test(silent_records_are_bounded),
        cmocka_unit_test(more_than_a_record_may_carry),
        cmocka_unit_test(padding_and_tickets_are_passed_over),
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(little_room_is_enough),
        cmocka_unit_test(keys_turn_before_they_are_worn),
        cmocka_unit_test(openssl_understands_what_goes_on_without_it),
        cmocka_unit_test(keys_turn_whoever_asks),
        cmocka_unit_test(keys_that_turned_before_stay_with_openssl),
        cmocka_unit_test(older_tls_stays_with_openssl),
        cmocka_unit_test(later_tickets_do_no_harm),
        cmocka_unit_test(what_waits_in_openssl_is_not_lost),
        cmocka_unit_test(goodbyes_are_said_both_ways),
        cmocka_unit_test(session_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
