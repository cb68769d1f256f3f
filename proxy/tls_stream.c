#include "proxy/tls_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/check.h"
#include "base/held.h"
#include "base/xalloc.h"

enum {
    WIRE_RECORD_BYTES = TLS_PLAIN_MAX_BYTES + TLS_ROOM_BYTES, /* a full one of ours */
    IN_LEAST_BYTES = TLS_HEAD_BYTES + TLS_SEALED_MAX_BYTES,
    IN_BYTES = (128 << 10) + IN_LEAST_BYTES,
    NOTE_BYTES = 5 + TLS_ROOM_BYTES, /* a KeyUpdate */
    OUT_BYTES = TLS_BATCH_RECORDS * WIRE_RECORD_BYTES + NOTE_BYTES,
    MESSAGE_HEAD_BYTES = 4,
    MESSAGE_TICKET = 4,
    MESSAGE_KEY_UPDATE = 24,
    ALERT_WARNING = 1,
    ALERT_FATAL = 2,
};

/* Bytes that wait: sealed ones that have come or must go, or open ones. */
struct waiting {
    unsigned char *bytes; /* NULL: none */
    size_t n, at;
};

struct tls_stream {
    struct tls_half in, out;
    struct waiting sealed;  /* come, not opened */
    struct waiting open;    /* come and opened, more than was asked for */
    struct waiting unsent;  /* sealed, not taken by the socket */
    size_t owed;            /* of the caller's bytes that are in unsent */
    unsigned char head[MESSAGE_HEAD_BYTES]; /* of a handshake message */
    size_t head_n;
    uint32_t message_left;
    unsigned silent; /* records in a row that carried nothing, however many reads they took */
    bool is_client;
    bool must_update; /* our keys, before the next record */
    bool was_full;    /* the socket, at the last write */
    bool ended;       /* close_notify came */
};

/* What a call needs and no connection keeps: one for each thread. */
struct scratch {
    unsigned char in[IN_BYTES];
    unsigned char out[OUT_BYTES];
    char open[TLS_SEALED_MAX_BYTES];
};

static _Thread_local struct scratch *mine;
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
    ASSERT(pthread_key_create(&scratch_key, free) == 0);
}

static struct scratch *scratch(void)
{
    if (!mine) {
        pthread_once(&scratch_once, make_key);
        mine = xmalloc(sizeof(*mine));
        ASSERT(pthread_setspecific(scratch_key, mine) == 0);
    }
    return mine;
}

static void keep(struct waiting *w, const void *bytes, size_t n)
{
    ASSERT(!w->bytes);
    if (n == 0)
        return;
    w->bytes = xmalloc(n);
    memcpy(w->bytes, bytes, n);
    w->n = n;
    w->at = 0;
    held_add(n);
}

static void drop(struct waiting *w)
{
    held_sub(w->n);
    free(w->bytes);
    *w = (struct waiting){.bytes = NULL};
}

struct tls_stream *tls_stream_new(const struct tls_suite *suite, const struct tls_secret *in,
                                  const struct tls_secret *out, bool is_client)
{
    struct tls_stream *s = xcalloc(1, sizeof(*s));

    s->is_client = is_client;
    if (tls_half_init(&s->in, suite, in->bytes, in->records, false)) {
        if (tls_half_init(&s->out, suite, out->bytes, out->records, true))
            return s;
        tls_half_fini(&s->in);
    }
    free(s);
    return NULL;
}

void tls_stream_give(struct tls_stream *s, const void *sealed, size_t n)
{
    ASSERT(n <= IN_BYTES - IN_LEAST_BYTES);
    keep(&s->sealed, sealed, n);
}

void tls_stream_free(struct tls_stream *s)
{
    if (!s)
        return;
    drop(&s->sealed);
    drop(&s->open);
    drop(&s->unsent);
    tls_half_fini(&s->in);
    tls_half_fini(&s->out);
    free(s);
}

void tls_stream_rest(struct tls_stream *s)
{
    tls_half_rest(&s->in);
    tls_half_rest(&s->out);
}

/* ---- alerts ------------------------------------------------------------------------------------ */

static void send_alert(struct tls_stream *s, int fd, unsigned level, unsigned what)
{
    const char alert[2] = {(char)level, (char)what};
    unsigned char record[sizeof(alert) + TLS_ROOM_BYTES];

    if (s->unsent.bytes || !tls_seal(&s->out, TLS_TYPE_ALERT, alert, sizeof(alert), record))
        return;
    /* In part or not at all: the connection ends either way. */
    (void)!send(fd, record, sizeof(record), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void tls_stream_shutdown(struct tls_stream *s, int fd)
{
    send_alert(s, fd, ALERT_WARNING, SSL_AD_CLOSE_NOTIFY);
}

static enum rc broken(enum rc rc, int sys, int reason, struct fail *fail)
{
    *fail = (struct fail){
        .rc = rc, .sys = sys, .tls = reason ? ERR_PACK(ERR_LIB_SSL, 0, (unsigned)reason) : 0};
    return rc;
}

/* The peer broke the protocol. */
static enum rc refuse(struct tls_stream *s, int fd, unsigned alert, int reason, struct fail *fail)
{
    send_alert(s, fd, ALERT_FATAL, alert);
    return broken(RC_TLS, 0, reason, fail);
}

/* ---- what comes ---------------------------------------------------------------------------------- */

static enum rc take_alert(struct tls_stream *s, int fd, const unsigned char *alert, size_t n,
                          struct fail *fail)
{
    if (n != 2)
        return refuse(s, fd, SSL_AD_DECODE_ERROR, SSL_R_BAD_LENGTH, fail);
    if (alert[1] == SSL_AD_CLOSE_NOTIFY) {
        s->ended = true;
        return RC_EOF;
    }
    if (alert[1] == SSL_AD_USER_CANCELLED)
        return RC_OK; /* close_notify follows */
    return broken(RC_TLS, 0, SSL_AD_REASON_OFFSET + alert[1], fail);
}

/* One whole KeyUpdate: new keys for what comes, and for what goes if the peer asks. */
static enum rc take_key_update(struct tls_stream *s, int fd, const unsigned char *body, size_t n,
                               struct fail *fail)
{
    if (n != 1) /* no record may have more under the old keys */
        return refuse(s, fd, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_NOT_ON_RECORD_BOUNDARY, fail);
    if (body[0] > 1)
        return refuse(s, fd, SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_KEY_UPDATE, fail);
    if (!tls_half_turn(&s->in))
        return refuse(s, fd, SSL_AD_INTERNAL_ERROR, SSL_R_BAD_KEY_UPDATE, fail);
    s->must_update = s->must_update || body[0] == 1;
    return RC_OK;
}

/* A record of handshake messages, whole or in parts. */
static enum rc take_messages(struct tls_stream *s, int fd, const unsigned char *at, size_t n,
                             struct fail *fail)
{
    while (n > 0) {
        size_t skip = n < s->message_left ? n : s->message_left;

        s->message_left -= (uint32_t)skip;
        at += skip;
        n -= skip;
        if (n == 0)
            break;
        s->head[s->head_n++] = *at++;
        n--;
        if (s->head_n < MESSAGE_HEAD_BYTES)
            continue;
        s->head_n = 0;
        s->message_left = (uint32_t)s->head[1] << 16 | (uint32_t)s->head[2] << 8 | s->head[3];
        if (s->head[0] == MESSAGE_KEY_UPDATE && s->message_left == 1) {
            s->message_left = 0;
            return take_key_update(s, fd, at, n, fail);
        }
        if (s->head[0] != MESSAGE_TICKET || !s->is_client)
            return refuse(s, fd, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE, fail);
    }
    return RC_OK;
}

/* A record that carries no data. */
static enum rc take_other(struct tls_stream *s, int fd, unsigned type, const char *bytes, size_t n,
                          struct fail *fail)
{
    if (n == 0 || (type != TLS_TYPE_ALERT && type != TLS_TYPE_HANDSHAKE))
        return refuse(s, fd, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, fail);
    return type == TLS_TYPE_ALERT ? take_alert(s, fd, (const unsigned char *)bytes, n, fail)
                                  : take_messages(s, fd, (const unsigned char *)bytes, n, fail);
}

/* Bytes that a record has behind its head; 0: the head is not whole. */
static size_t sealed_bytes(const unsigned char *at, size_t n)
{
    return n < TLS_HEAD_BYTES ? 0 : (size_t)at[3] << 8 | at[4];
}

static bool has_record(const unsigned char *at, size_t n)
{
    size_t sealed = sealed_bytes(at, n);

    return n >= TLS_HEAD_BYTES && n - TLS_HEAD_BYTES >= sealed;
}

static enum rc check_head(struct tls_stream *s, int fd, const unsigned char *at, size_t n,
                          struct fail *fail)
{
    size_t sealed = sealed_bytes(at, n);

    if (n < TLS_HEAD_BYTES)
        return RC_OK;
    if (at[0] != TLS_TYPE_DATA || at[1] != 3)
        return refuse(s, fd, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, fail);
    if (sealed > TLS_SEALED_MAX_BYTES)
        return refuse(s, fd, SSL_AD_RECORD_OVERFLOW, SSL_R_ENCRYPTED_LENGTH_TOO_LONG, fail);
    if (sealed <= TLS_TAG_BYTES)
        return refuse(s, fd, SSL_AD_DECODE_ERROR, SSL_R_LENGTH_TOO_SHORT, fail);
    return RC_OK;
}

/*
 * Opens whole records at the start of the n bytes at `at` into to, as many as it has room for;
 * the first one goes aside if it has not.  *used of them are done with.
 */
static enum rc open_records(struct tls_stream *s, int fd, const unsigned char *at, size_t n,
                            size_t *used, char *to, size_t size, size_t *got, struct fail *fail)
{
    *used = *got = 0;
    for (;;) {
        const unsigned char *record = at + *used;
        size_t sealed = sealed_bytes(record, n - *used), data;
        enum rc rc = check_head(s, fd, record, n - *used, fail);
        unsigned type;
        bool aside;
        char *place;

        if (rc != RC_OK)
            return rc;
        aside = sealed > TLS_TAG_BYTES + (size - *got);
        if (!has_record(record, n - *used) || (aside && *got > 0))
            return RC_OK;
        place = aside ? scratch()->open : to + *got;
        if (!tls_open(&s->in, record, sealed, place, &data, &type))
            return refuse(s, fd, SSL_AD_BAD_RECORD_MAC,
                          SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, fail);
        *used += TLS_HEAD_BYTES + sealed;
        if (data > TLS_PLAIN_MAX_BYTES)
            return refuse(s, fd, SSL_AD_RECORD_OVERFLOW, SSL_R_DATA_LENGTH_TOO_LONG, fail);
        if (type == TLS_TYPE_DATA && (s->head_n > 0 || s->message_left > 0))
            return refuse(s, fd, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, fail);
        if (type != TLS_TYPE_DATA) {
            rc = take_other(s, fd, type, place, data, fail);
            if (rc == RC_EOF && *got > 0)
                return RC_OK; /* said by the next read */
            if (rc != RC_OK)
                return rc;
            data = 0;
        } else if (aside) {
            size_t now = data < size ? data : size;

            memcpy(to, place, now);
            keep(&s->open, place + now, data - now);
            data = now;
        }
        *got += data;
        s->silent = data > 0 ? 0 : s->silent + 1;
        if (s->silent > TLS_SILENT_RECORDS)
            return refuse(s, fd, SSL_AD_UNEXPECTED_MESSAGE, SSL_R_TOO_MANY_WARN_ALERTS, fail);
        if (aside && *got > 0)
            return RC_OK;
    }
}

static size_t take_open(struct tls_stream *s, char *to, size_t size)
{
    struct waiting *w = &s->open;
    size_t n = w->n - w->at < size ? w->n - w->at : size;

    memcpy(to, w->bytes + w->at, n);
    w->at += n;
    if (w->at == w->n)
        drop(w);
    return n;
}

static ssize_t receive(int fd, unsigned char *to, size_t size)
{
    ssize_t n;

    do
        n = recv(fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

enum rc tls_stream_read(struct tls_stream *s, int fd, char *to, size_t size, size_t *got,
                        struct fail *fail)
{
    unsigned char *in = scratch()->in;
    size_t want = size < IN_LEAST_BYTES ? IN_LEAST_BYTES : size, n = s->sealed.n, used;
    enum rc rc = RC_OK;
    ssize_t more;

    if (s->open.bytes) {
        *got = take_open(s, to, size);
        return RC_OK;
    }
    if (s->ended)
        return RC_EOF;
    want = want < IN_BYTES ? want : IN_BYTES;
    if (n > 0) {
        memcpy(in, s->sealed.bytes, n);
        drop(&s->sealed);
        rc = open_records(s, fd, in, n, &used, to, size, got, fail);
        if (rc != RC_OK)
            return rc;
        n -= used;
        memmove(in, in + used, n);
        if (*got > 0) {
            keep(&s->sealed, in, n);
            return RC_OK;
        }
    }
    /* What is left is less than a record, so there is room. */
    more = receive(fd, in + n, want - n);
    if (more <= 0) {
        if (more < 0 && errno == EAGAIN) {
            keep(&s->sealed, in, n);
            return RC_AGAIN;
        }
        return more < 0 ? broken(RC_IO, errno, 0, fail)
                        : broken(RC_TLS, 0, SSL_R_UNEXPECTED_EOF_WHILE_READING, fail);
    }
    n += (size_t)more;
    rc = open_records(s, fd, in, n, &used, to, size, got, fail);
    if (rc != RC_OK)
        return rc;
    keep(&s->sealed, in + used, n - used);
    return *got > 0 ? RC_OK : RC_AGAIN;
}

bool tls_stream_has_buffered(const struct tls_stream *s)
{
    return s->open.bytes || s->ended || (s->sealed.n > 0 && has_record(s->sealed.bytes, s->sealed.n));
}

/* ---- what goes ------------------------------------------------------------------------------------ */

/* RC_OK: all n; RC_AGAIN: *sent of them. */
static enum rc send_all(int fd, const unsigned char *bytes, size_t n, int flags, size_t *sent,
                        struct fail *fail)
{
    *sent = 0;
    while (*sent < n) {
        ssize_t put = send(fd, bytes + *sent, n - *sent, MSG_NOSIGNAL | flags);

        if (put >= 0)
            *sent += (size_t)put;
        else if (errno == EAGAIN)
            return RC_AGAIN;
        else if (errno != EINTR)
            return broken(RC_IO, errno, 0, fail);
    }
    return RC_OK;
}

static enum rc send_unsent(struct tls_stream *s, int fd, struct fail *fail)
{
    struct waiting *w = &s->unsent;
    size_t sent;
    enum rc rc;

    if (!w->bytes)
        return RC_OK;
    rc = send_all(fd, w->bytes + w->at, w->n - w->at, 0, &sent, fail);
    w->at += sent;
    if (rc == RC_OK)
        drop(w);
    return rc;
}

/* Seals what the keys ask for, then up to n bytes of from; *sealed of them, *note bytes before. */
static bool seal_batch(struct tls_stream *s, const char *from, size_t n, unsigned char *out,
                       size_t *note, size_t *bytes)
{
    static const char updated[5] = {MESSAGE_KEY_UPDATE, 0, 0, 1, 0};

    *note = 0;
    if (s->must_update || s->out.number >= TLS_KEY_RECORDS) {
        if (!tls_seal(&s->out, TLS_TYPE_HANDSHAKE, updated, sizeof(updated), out) ||
            !tls_half_turn(&s->out))
            return false;
        *note = sizeof(updated) + TLS_ROOM_BYTES;
        s->must_update = false;
    }
    *bytes = *note;
    while (n > 0) {
        size_t one = n < TLS_PLAIN_MAX_BYTES ? n : TLS_PLAIN_MAX_BYTES;

        if (!tls_seal(&s->out, TLS_TYPE_DATA, from, one, out + *bytes))
            return false;
        *bytes += one + TLS_ROOM_BYTES;
        from += one;
        n -= one;
    }
    return true;
}

enum rc tls_stream_write(struct tls_stream *s, int fd, const char *from, size_t size, size_t *put,
                         struct fail *fail)
{
    unsigned char *out = scratch()->out;
    enum rc rc = send_unsent(s, fd, fail);

    *put = 0;
    if (rc != RC_OK)
        return rc;
    if (s->owed > size)
        return broken(RC_TLS, 0, SSL_R_BAD_WRITE_RETRY, fail);
    *put = s->owed;
    s->owed = 0;
    while (*put < size) {
        size_t most = s->was_full ? TLS_PLAIN_MAX_BYTES : TLS_BATCH_RECORDS * TLS_PLAIN_MAX_BYTES;
        size_t n = size - *put < most ? size - *put : most, note, bytes, sent, whole;

        if (!seal_batch(s, from + *put, n, out, &note, &bytes))
            return broken(RC_TLS, 0, ERR_R_INTERNAL_ERROR, fail);
        /* Batches of a long text wait for each other in the kernel: see docs/performance.md. */
        rc = send_all(fd, out, bytes, size - *put > n ? MSG_MORE : 0, &sent, fail);
        s->was_full = rc == RC_AGAIN;
        if (rc == RC_OK) {
            *put += n;
            continue;
        }
        if (rc != RC_AGAIN)
            return rc;
        whole = sent > note ? (sent - note) / WIRE_RECORD_BYTES * TLS_PLAIN_MAX_BYTES : 0;
        *put += whole;
        s->owed = n - whole;
        keep(&s->unsent, out + sent, bytes - sent);
        return rc;
    }
    return RC_OK;
}
