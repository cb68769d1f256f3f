/*
 * test_tls_stream.c - records against RFC 8448, and a stream whose peer is hostile and has its keys.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "base/held.h"
#include "proxy/tls_gcm.h"
#include "proxy/tls_stream.h"

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

/* One a read, a byte of data between: those in a row count, whenever they come. */
static void silent_records_are_bounded_over_reads(void **state)
{
    struct rig r;
    char to[8];
    size_t got;

    (void)state;
    raise_rig(&r, false);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < TLS_SILENT_RECORDS; i++) {
            put_record(&r, TLS_TYPE_DATA, "", 0);
            assert_int_equal(get(&r, to, sizeof(to), &got), RC_AGAIN);
        }
        if (round < 2) {
            put_record(&r, TLS_TYPE_DATA, "x", 1);
            expect_text(&r, "x");
        }
    }
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
    if (!r.says.cipher) {
        struct tls_gcm *gcm = tls_gcm_new(r.says.key, r.says.suite->key_bytes);

        tls_gcm_seal(gcm, nonce, record, 5, plain, sizeof(plain) - 1, TLS_TYPE_DATA, record + 5);
        tls_gcm_free(gcm);
    } else {
        assert_int_equal(EVP_EncryptInit_ex2(r.says.cipher, NULL, NULL, nonce, NULL), 1);
        assert_int_equal(EVP_EncryptUpdate(r.says.cipher, NULL, &n, record, 5), 1);
        assert_int_equal(EVP_EncryptUpdate(r.says.cipher, record + 5, &n, plain, sizeof(plain)),
                         1);
        assert_int_equal(EVP_EncryptFinal_ex(r.says.cipher, record + 5 + n, &n), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(r.says.cipher, EVP_CTRL_AEAD_GET_TAG, 16,
                                             record + 5 + sizeof(plain)), 1);
    }
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

/* Between any two records, and as often as one likes; the keys may have turned before. */
static void what_rests_goes_on(void **state)
{
    struct rig r;
    size_t put;

    (void)state;
    raise_rig(&r, false);
    for (int i = 0; i < 6; i++) {
        put_record(&r, TLS_TYPE_DATA, "abc", 3);
        expect_text(&r, "abc");
        tls_stream_rest(r.stream);
        assert_int_equal(tls_stream_write(r.stream, r.ours, "def", 3, &put, &r.fail), RC_OK);
        hear(&r, TLS_TYPE_DATA, "def", 3);
        tls_stream_rest(r.stream);
        tls_stream_rest(r.stream);
        if (i == 3) {
            put_record(&r, TLS_TYPE_HANDSHAKE, "\30\0\0\1\0", 5);
            assert_true(tls_half_turn(&r.says));
        }
    }
    fell_rig(&r);
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
        cmocka_unit_test(silent_records_are_bounded_over_reads),
        cmocka_unit_test(more_than_a_record_may_carry),
        cmocka_unit_test(padding_and_tickets_are_passed_over),
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(little_room_is_enough),
        cmocka_unit_test(keys_turn_before_they_are_worn),
        cmocka_unit_test(what_rests_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
