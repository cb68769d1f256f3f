/*
 * eventstream_body.h - takes the messages out of a request's body that is an AWS event stream,
 * one by one, and each out of the envelope in which a client signed it, if it did.
 *
 * Push style, split anywhere; holds one message, as far as it has come.  A message is given
 * when it is whole and both its checksums fit.  Signatures are nobody's here.
 */
#ifndef METERING_USAGE_EVENTSTREAM_BODY_H
#define METERING_USAGE_EVENTSTREAM_BODY_H

#include "base/buf.h"
#include "base/rc.h"
#include "metering/usage/eventstream.h"

struct eventstream_body {
    struct eventstream stream;
    struct buf message; /* with its envelope, not whole yet; or what was given last */
    size_t payload_at;
    bool given; /* message was */
    bool ended; /* an empty envelope came: the client's last */
};

/* max: bytes of a message, envelope included. */
void eventstream_body_init(struct eventstream_body *b, size_t max);
void eventstream_body_release(struct eventstream_body *b);

/*
 * Reads on from the start of *bytes, of which it takes what it has read.  RC_OK: *message is the
 * next one, bare, until the next call; RC_AGAIN: all is used up; RC_BAD: the body is no such
 * stream, or goes on behind its end; RC_LIMIT: a message is larger than max.  The latter two are
 * the end of it.
 */
enum rc eventstream_body_next(struct eventstream_body *b, struct strv *bytes,
                              struct strv *message) RC_MUST;

/* The body may end here: no message is under way. */
bool eventstream_body_may_end(const struct eventstream_body *b);

#endif
