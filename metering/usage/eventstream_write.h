/*
 * eventstream_write.h - writes messages in the coding of AWS event streams (eventstream.h).
 *
 * First the headers, one after another into a buffer of their own, then the message.
 */
#ifndef METERING_USAGE_EVENTSTREAM_WRITE_H
#define METERING_USAGE_EVENTSTREAM_WRITE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"

enum { EVENTSTREAM_FRAME_BYTES = 16 }; /* of a message, beside headers and payload */

/* Each appends a header; a name has at most 255 bytes, a value 65,535. */
enum rc eventstream_put_string(struct buf *headers, struct strv name,
                               struct strv value) RC_MUST;
enum rc eventstream_put_bytes(struct buf *headers, struct strv name, struct strv value) RC_MUST;
/* A time in milliseconds since 1970. */
enum rc eventstream_put_time(struct buf *headers, struct strv name, int64_t ms) RC_MUST;

/* Appends the message of these headers. */
enum rc eventstream_put_message(struct buf *out, struct strv headers,
                                struct strv payload) RC_MUST;

#endif
