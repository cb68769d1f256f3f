/*
 * tls_record.h - one direction of a TLS 1.3 connection: records sealed or opened with its keys
 * (RFC 8446, 5.2, 5.3, 7.1 to 7.3).
 *
 * The ciphers are OpenSSL's, or tls_gcm.h's where it has them; what is here is what stands around
 * them: keys from a traffic secret, the nonce from the record's number, the type and the padding
 * inside a record.  No socket.
 */
#ifndef PROXY_TLS_RECORD_H
#define PROXY_TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

enum {
    TLS_HEAD_BYTES = 5,          /* type, version, length */
    TLS_TAG_BYTES = 16,
    TLS_IV_BYTES = 12,
    TLS_PLAIN_MAX_BYTES = 1 << 14, /* what a record may carry */
    TLS_SEALED_MAX_BYTES = TLS_PLAIN_MAX_BYTES + 256, /* behind its head, as a peer may pad it */
    TLS_ROOM_BYTES = TLS_HEAD_BYTES + 1 + TLS_TAG_BYTES, /* what a record adds: head, type, tag */
    TLS_SECRET_MAX_BYTES = 48,
    TLS_KEY_MAX_BYTES = 32,
};

enum tls_type {
    TLS_TYPE_ALERT = 21,
    TLS_TYPE_HANDSHAKE = 22,
    TLS_TYPE_DATA = 23,
};

struct tls_gcm;

/* A cipher suite of TLS 1.3 that is spoken here. */
struct tls_suite {
    unsigned id; /* as on the wire: 0x1301 .. 0x1303 */
    const char *cipher;
    bool is_gcm;
    size_t key_bytes;
    size_t secret_bytes; /* of its hash */
};

/* The suite of that number; NULL: none that is known here. */
const struct tls_suite *tls_suite_find(unsigned id);

struct tls_half {
    const struct tls_suite *suite;
    EVP_CIPHER_CTX *cipher; /* NULL: key and gcm, by tls_gcm.h */
    struct tls_gcm *gcm;    /* NULL: rests, the next record makes it */
    bool seals;
    uint64_t number; /* of the next record */
    unsigned char iv[TLS_IV_BYTES];
    unsigned char secret[TLS_SECRET_MAX_BYTES];
    unsigned char key[TLS_KEY_MAX_BYTES];
};

/*
 * Keys from a traffic secret (suite->secret_bytes of it); number: records that went under it
 * before.  false: OpenSSL could not; h holds nothing then.
 */
bool tls_half_init(struct tls_half *h, const struct tls_suite *suite, const unsigned char *secret,
                   uint64_t number, bool seals);
void tls_half_fini(struct tls_half *h);
/* Gives back what the next record can make anew. */
void tls_half_rest(struct tls_half *h);
/* The keys that follow these (7.2). false: OpenSSL could not, and nothing more may go. */
bool tls_half_turn(struct tls_half *h);

/*
 * One record of n bytes (at most TLS_PLAIN_MAX_BYTES) to out, which has room for n +
 * TLS_ROOM_BYTES; from may not overlap it.  false: OpenSSL could not, and nothing more may go.
 */
bool tls_seal(struct tls_half *h, enum tls_type type, const char *from, size_t n,
              unsigned char *out);

/*
 * Opens the record whose head is at record and behind it n sealed bytes (TLS_TAG_BYTES + 1 ..
 * TLS_SEALED_MAX_BYTES).  out has room for n - TLS_TAG_BYTES; *got of them are content.  false:
 * it is not authentic or has no type, and what is in out is nobody's.
 */
bool tls_open(struct tls_half *h, const unsigned char *record, size_t n, char *out, size_t *got,
              unsigned *type);

#endif
