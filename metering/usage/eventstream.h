/*
 * eventstream.h - frames a stream of messages in the coding of AWS event streams
 * (application/vnd.amazon.eventstream): lengths, headers, payload, two checksums.
 *
 *   u32 total | u32 headers | u32 CRC of these 8 | headers | payload | u32 CRC of all before
 *
 * Push style, split anywhere; holds no payload.  Numbers are big-endian, the checksums are
 * those of zlib.  It only frames: what a payload says is the caller's, and is not to be
 * believed before the message's end was told.
 */
#ifndef METERING_USAGE_EVENTSTREAM_H
#define METERING_USAGE_EVENTSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum {
    EVENTSTREAM_HEADERS_MAX = 128 << 10, /* bytes; AWS's own bounds */
    EVENTSTREAM_PAYLOAD_MAX = 24 << 20,
    EVENTSTREAM_TEXT_MAX = 64, /* of the headers that are kept; longer values are cut */
};

enum eventstream_what {
    EVENTSTREAM_MORE = 0, /* all bytes are used up */
    EVENTSTREAM_BEGIN,    /* a message's headers are read: see type and name */
    EVENTSTREAM_DATA,     /* a piece of its payload */
    EVENTSTREAM_END,      /* the message is whole and both checksums fit */
    EVENTSTREAM_BAD,      /* it is none: nothing after it can be read */
};

struct eventstream {
    char type[EVENTSTREAM_TEXT_MAX]; /* ":message-type": "event", "exception", "error" */
    char name[EVENTSTREAM_TEXT_MAX]; /* ":event-type", ":exception-type" or ":error-code" */
    uint8_t type_n, name_n;
    bool is_signed; /* ":chunk-signature": the payload is a message of its own, or empty */
    /* private: */
    uint8_t state;
    uint8_t header; /* whose value is being read */
    uint8_t word_n; /* bytes of `word` that are there */
    unsigned char word[12];
    char key[16]; /* a header's name; longer ones are not of those that are kept */
    size_t key_n;
    uint32_t left;         /* bytes of the part being read */
    uint32_t headers_left; /* bytes of headers that follow */
    uint32_t payload_left;
    uint32_t crc;
};

void eventstream_init(struct eventstream *s);
/*
 * Reads on from the start of bytes up to the next thing to tell; *used is how many bytes
 * that took.  *data is set for EVENTSTREAM_DATA.  Call again with the rest, until
 * EVENTSTREAM_MORE or EVENTSTREAM_BAD; the latter stays.
 */
enum eventstream_what eventstream_next(struct eventstream *s, struct strv bytes, size_t *used,
                                       struct strv *data);

/* No message is under way. */
bool eventstream_is_between(const struct eventstream *s);

static inline struct strv eventstream_type(const struct eventstream *s)
{
    return strv_make(s->type, s->type_n);
}
static inline struct strv eventstream_name(const struct eventstream *s)
{
    return strv_make(s->name, s->name_n);
}

#endif
