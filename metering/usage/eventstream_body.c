#include "metering/usage/eventstream_body.h"

#include <string.h>

enum { CHECKSUM_BYTES = 4 }; /* behind a message's payload */

void eventstream_body_init(struct eventstream_body *b, size_t max)
{
    memset(b, 0, sizeof(*b));
    eventstream_init(&b->stream);
    buf_init(&b->message, max);
}

void eventstream_body_release(struct eventstream_body *b)
{
    buf_release(&b->message);
}

bool eventstream_body_may_end(const struct eventstream_body *b)
{
    return eventstream_is_between(&b->stream);
}

/* Bytes that are one whole message, not in an envelope. */
static bool is_message(struct strv bytes)
{
    struct eventstream stream;

    eventstream_init(&stream);
    while (bytes.n > 0) {
        struct strv data;
        size_t used;
        enum eventstream_what what = eventstream_next(&stream, bytes, &used, &data);

        bytes = strv_skip(bytes, used);
        if (what == EVENTSTREAM_END)
            return bytes.n == 0 && !stream.is_signed;
        if (what == EVENTSTREAM_BAD)
            return false;
    }
    return false;
}

/* One is whole; RC_AGAIN where nothing is in it. */
static enum rc give(struct eventstream_body *b, struct strv *message)
{
    struct strv whole = buf_view(&b->message);

    b->given = true;
    if (b->ended)
        return RC_BAD;
    *message = whole;
    if (!b->stream.is_signed)
        return RC_OK;
    *message = strv_skip(strv_head(whole, whole.n - CHECKSUM_BYTES), b->payload_at);
    b->ended = message->n == 0;
    if (b->ended)
        return RC_AGAIN;
    return is_message(*message) ? RC_OK : RC_BAD;
}

enum rc eventstream_body_next(struct eventstream_body *b, struct strv *bytes,
                              struct strv *message)
{
    while (bytes->n > 0) {
        struct strv piece;
        size_t used;
        enum eventstream_what what = eventstream_next(&b->stream, *bytes, &used, &piece);
        enum rc rc;

        if (what == EVENTSTREAM_BAD)
            return RC_BAD;
        if (b->given)
            buf_clear(&b->message);
        b->given = false;
        rc = buf_append_strv(&b->message, strv_head(*bytes, used));
        if (rc != RC_OK)
            return rc;
        *bytes = strv_skip(*bytes, used);
        if (what == EVENTSTREAM_BEGIN)
            b->payload_at = buf_len(&b->message);
        if (what != EVENTSTREAM_END)
            continue;
        rc = give(b, message);
        if (rc != RC_AGAIN)
            return rc;
    }
    if (b->given) /* while nothing comes, nothing is held */
        buf_release(&b->message);
    return RC_AGAIN;
}
