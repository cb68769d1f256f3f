/*
 * tls_stream.h - the bytes of a TLS 1.3 connection after its handshake, without OpenSSL's state.
 *
 * OpenSSL shakes hands and hands its two traffic secrets over (tls_takeover.h); from then on
 * records are read and written here: many at a time, from and to the caller's memory, with buffers
 * that the thread's connections share.  A connection keeps bytes only while a record has come or
 * gone in part.
 *
 * Spoken: data, alerts, KeyUpdate both ways, new tickets (passed over).  Whatever else comes ends
 * the connection with an alert, as does a record that is not authentic.
 */
#ifndef PROXY_TLS_STREAM_H
#define PROXY_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "proxy/tls_record.h"

enum {
    TLS_BATCH_RECORDS = 8,   /* sealed for one write to the socket */
    TLS_SILENT_RECORDS = 32, /* in a row that carry nothing for the caller, as OpenSSL takes */
    TLS_KEY_RECORDS = 1 << 24, /* that go under one key, or a batch more (RFC 8446, 5.5) */
};

struct tls_stream;

/* What is known of a direction when it is taken over. */
struct tls_secret {
    const unsigned char *bytes; /* suite->secret_bytes of them */
    uint64_t records;           /* that went under it so far */
};

/* is_client: tickets may come.  NULL: OpenSSL could not. */
struct tls_stream *tls_stream_new(const struct tls_suite *suite, const struct tls_secret *in,
                                  const struct tls_secret *out, bool is_client);
/* What has come behind the records that were opened elsewhere. Before the first read, at most once. */
void tls_stream_give(struct tls_stream *s, const void *sealed, size_t n);
/* Takes NULL. The socket is the caller's. */
void tls_stream_free(struct tls_stream *s);

/*
 * As io_read and io_write say, over the non-blocking socket fd.  On RC_IO and RC_TLS the reason
 * is in *fail (rc, sys, tls), and an alert was tried where one is due; nothing may follow.
 * Whoever was told RC_AGAIN by a write comes again with the same bytes, or more behind them.
 */
enum rc tls_stream_read(struct tls_stream *s, int fd, char *to, size_t size, size_t *got,
                        struct fail *fail) RC_MUST;
enum rc tls_stream_write(struct tls_stream *s, int fd, const char *from, size_t size, size_t *put,
                         struct fail *fail) RC_MUST;
/* Gives back what it can take anew, at a small price: for a connection that rests. */
void tls_stream_rest(struct tls_stream *s);
/* A read would return without asking the socket. */
bool tls_stream_has_buffered(const struct tls_stream *s);
/* close_notify, where it can go at once. */
void tls_stream_shutdown(struct tls_stream *s, int fd);

#endif
