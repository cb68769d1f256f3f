/*
 * TLS 1.3 after the handshake.  The input is a script for a peer that has the keys: data, empty
 * records, KeyUpdate, tickets, records of any type and content, records with one byte changed,
 * bytes that are no record; in pieces, read in portions of any size; and texts for it to hear,
 * over a socket that fills up.  What is read is what was said, in order, and all of it until
 * something came that must not; nothing after that.  What is heard is what was written.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/held.h"
#include "proxy/tls_stream.h"

enum { OPS_MAX = 64, HEARD_MAX = 1 << 20, SOCKET_BYTES = 32 << 10 };

struct script {
    const uint8_t *at, *end;
};

static unsigned take(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

struct peer {
    int ours, theirs;
    struct tls_stream *stream;
    struct tls_half says, hears;
    size_t portion, piece; /* of a read, of a write */
    uint64_t said, got;    /* bytes of data; the nth is text_at(n) */
    uint64_t written, heard;
    unsigned silent; /* records in a row that carry nothing */
    bool may_fail;   /* something came that must not */
    bool in_message; /* of a handshake, which data must not break */
    bool over;
    unsigned char *wire; /* heard and not opened */
    size_t wire_n;
};

static char text_at(uint64_t n)
{
    return (char)(n * 7 + (n >> 8));
}

/* All that is there. */
static void read_on(struct peer *p)
{
    static char to[64 << 10];

    while (!p->over) {
        struct fail fail;
        size_t got = 0;
        enum rc rc = tls_stream_read(p->stream, p->ours, to, p->portion, &got, &fail);

        if (rc == RC_OK) {
            ASSERT(got > 0 && got <= p->portion && p->got + got <= p->said);
            for (size_t i = 0; i < got; i++)
                ASSERT(to[i] == text_at(p->got + i));
            p->got += got;
        } else if (rc == RC_AGAIN) {
            /* A record that is empty ends a read as well: there may be more. */
            if (!tls_stream_has_buffered(p->stream))
                return;
        } else {
            ASSERT(p->may_fail);
            p->over = true;
        }
    }
}

static void put(struct peer *p, const unsigned char *bytes, size_t n)
{
    while (n > 0 && !p->over) {
        size_t now = n < p->piece ? n : p->piece;
        ssize_t done = write(p->theirs, bytes, now);

        ASSERT(done > 0);
        bytes += done;
        n -= (size_t)done;
        read_on(p);
    }
}

static void say(struct peer *p, unsigned type, const char *bytes, size_t n, unsigned changed)
{
    unsigned char *record = malloc(n + TLS_ROOM_BYTES);

    ASSERT(record && tls_seal(&p->says, (enum tls_type)type, bytes, n, record));
    if (changed > 0) /* not the length: what follows would be a part of it */
        record[changed % (n + TLS_ROOM_BYTES - TLS_HEAD_BYTES) + TLS_HEAD_BYTES] ^=
            (unsigned char)(changed | 1);
    put(p, record, n + TLS_ROOM_BYTES);
    free(record);
}

static void say_data(struct peer *p, size_t n, unsigned changed)
{
    static char text[TLS_PLAIN_MAX_BYTES];

    for (size_t i = 0; i < n; i++)
        text[i] = text_at(p->said + i);
    p->silent = n > 0 ? 0 : p->silent + 1;
    p->may_fail = p->may_fail || changed > 0 || p->in_message || p->silent > TLS_SILENT_RECORDS;
    if (changed == 0)
        p->said += n;
    say(p, TLS_TYPE_DATA, text, n, changed);
}

static void say_message(struct peer *p, const char *bytes, size_t n)
{
    p->may_fail = p->may_fail || p->in_message || ++p->silent > TLS_SILENT_RECORDS;
    say(p, TLS_TYPE_HANDSHAKE, bytes, n, 0);
}

/* What the stream wrote: whole records, opened and compared. */
static void hear(struct peer *p)
{
    for (;;) {
        ssize_t n = read(p->theirs, p->wire + p->wire_n, HEARD_MAX - p->wire_n);
        size_t at = 0;

        if (n <= 0)
            return;
        p->wire_n += (size_t)n;
        while (p->wire_n - at >= TLS_HEAD_BYTES) {
            const unsigned char *record = p->wire + at;
            size_t sealed = (size_t)record[3] << 8 | record[4], got;
            char text[TLS_SEALED_MAX_BYTES];
            unsigned type;

            ASSERT(sealed > TLS_TAG_BYTES && sealed <= TLS_SEALED_MAX_BYTES);
            if (p->wire_n - at - TLS_HEAD_BYTES < sealed)
                break;
            ASSERT(tls_open(&p->hears, record, sealed, text, &got, &type));
            at += TLS_HEAD_BYTES + sealed;
            if (type == TLS_TYPE_HANDSHAKE) {
                ASSERT(got == 5 && text[0] == 24 && text[4] == 0);
                ASSERT(tls_half_turn(&p->hears));
            } else if (type == TLS_TYPE_DATA) {
                for (size_t i = 0; i < got; i++)
                    ASSERT(text[i] == text_at(p->heard + i));
                p->heard += got;
            } else {
                ASSERT(type == TLS_TYPE_ALERT && got == 2);
            }
        }
        memmove(p->wire, p->wire + at, p->wire_n -= at);
    }
}

static void write_text(struct peer *p, size_t n)
{
    char *text = malloc(n + 1), *at = text;
    struct fail fail;

    ASSERT(text);
    for (size_t i = 0; i < n; i++)
        text[i] = text_at(p->written + i);
    p->written += n;
    while (n > 0) {
        size_t done;
        enum rc rc = tls_stream_write(p->stream, p->ours, at, n, &done, &fail);

        ASSERT(rc == RC_OK || rc == RC_AGAIN);
        ASSERT(done <= n && (rc == RC_AGAIN || done == n));
        at += done;
        n -= done;
        hear(p);
    }
    free(text);
    ASSERT(p->heard == p->written);
}

static void step(struct peer *p, struct script *s, bool is_client)
{
    char bytes[256], update[5] = {24, 0, 0, 1, 0};
    unsigned op = take(s), n = take(s);

    switch (op & 7) {
    case 0:
        say_data(p, n * (1u + (op >> 3)) * 2, 0);
        break;
    case 1:
        say_data(p, n, 0);
        break;
    case 2:
        write_text(p, n * (1u + (op >> 3) * (op >> 3)));
        break;
    case 3: /* a record of any kind */
        for (unsigned i = 0; i < n; i++) {
            bytes[i] = (char)take(s);
            bytes[i] = bytes[i] == TLS_TYPE_DATA ? 1 : bytes[i]; /* behind it comes padding */
        }
        p->may_fail = true;
        say(p, op >> 3 & 1 ? 20u + (op >> 4) % 3 : op >> 3, bytes, n, 0);
        break;
    case 4:
        update[4] = (char)(n & 1);
        say_message(p, update, sizeof(update));
        ASSERT(tls_half_turn(&p->says));
        break;
    case 5: { /* a ticket, perhaps in parts; other sides send none */
        const char ticket[] = {4, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
        size_t first = n % sizeof(ticket);

        p->may_fail = p->may_fail || !is_client;
        if (first > 0) {
            say_message(p, ticket, first);
            p->in_message = (op & 8) != 0;
            if (p->in_message)
                break;
        }
        say_message(p, ticket + first, sizeof(ticket) - first);
        break;
    }
    case 6:
        say_data(p, n * 16, op | 1u << 8);
        break;
    default: /* no record */
        for (unsigned i = 0; i < n; i++)
            bytes[i] = (char)take(s);
        p->may_fail = true;
        put(p, (const unsigned char *)bytes, n);
        break;
    }
    if (!p->over && !p->may_fail)
        ASSERT(p->got == p->said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char in[TLS_SECRET_MAX_BYTES] = {1}, out[TLS_SECRET_MAX_BYTES] = {2};
    const struct tls_secret in_secret = {in, 0}, out_secret = {out, 0};
    struct script s = {data, data + size};
    unsigned first = take(&s), portion = take(&s), piece = take(&s);
    const struct tls_suite *suite = tls_suite_find(0x1301 + first % 3);
    bool is_client = (first & 64) != 0;
    int bytes = SOCKET_BYTES, fds[2];
    struct peer p = {.portion = 1 + portion * portion, .piece = 1 + piece * piece * 2};
    int64_t held = held_now();

    ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    p.ours = fds[0];
    p.theirs = fds[1];
    (void)setsockopt(p.ours, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    ASSERT(fcntl(p.ours, F_SETFL, O_NONBLOCK) == 0 && fcntl(p.theirs, F_SETFL, O_NONBLOCK) == 0);
    p.wire = malloc(HEARD_MAX);
    p.stream = tls_stream_new(suite, &in_secret, &out_secret, is_client);
    ASSERT(p.wire && p.stream && tls_half_init(&p.says, suite, in, 0, true) &&
           tls_half_init(&p.hears, suite, out, 0, false));
    for (int i = 0; i < OPS_MAX && s.at < s.end && !p.over; i++)
        step(&p, &s, is_client);
    tls_stream_shutdown(p.stream, p.ours);
    hear(&p);
    tls_stream_free(p.stream);
    tls_half_fini(&p.says);
    tls_half_fini(&p.hears);
    free(p.wire);
    close(p.ours);
    close(p.theirs);
    ASSERT(held_now() == held);
    return 0;
}
