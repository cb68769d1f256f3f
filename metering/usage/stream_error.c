/*
 * The event that ends a stream which the gateway cuts, or whose provider died:
 * some SDKs take a silent end for success.
 */
#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "metering/usage/eventstream_write.h"
#include "metering/usage/refusal.h"

static enum rc append_json(struct buf *out, enum error_shape shape, enum refusal r,
                           struct strv message)
{
    struct jsonw w;

    jsonw_start(&w, out);
    refusal_write(&w, shape, r, message, STRV_NONE, 0);
    return jsonw_finish(&w);
}

/* Text before and behind the object. */
static enum rc append_wrapped(struct buf *out, struct strv before, enum error_shape shape,
                              enum refusal r, struct strv message, struct strv behind)
{
    enum rc rc = buf_append_strv(out, before);

    if (rc == RC_OK)
        rc = append_json(out, shape, r, message);
    return rc == RC_OK ? buf_append_strv(out, behind) : rc;
}

/* An exception frame of an AWS event stream (application/vnd.amazon.eventstream). */
static enum rc append_frame(struct buf *out, enum refusal r, struct strv message)
{
    enum { FRAME_MAX = 64 << 10 };
    const char *exception = refusal_class(r)->bedrock;
    char name[64];
    struct buf headers, payload;
    enum rc rc;

    /* Modelled exceptions are named in lower camel case on the wire. */
    memcpy(name, exception, strlen(exception) + 1);
    name[0] = (char)(name[0] | 0x20);
    buf_init(&headers, FRAME_MAX);
    buf_init(&payload, FRAME_MAX);
    rc = eventstream_put_string(&headers, STRV(":message-type"), STRV("exception"));
    if (rc == RC_OK)
        rc = eventstream_put_string(&headers, STRV(":exception-type"), strv_z(name));
    if (rc == RC_OK)
        rc = eventstream_put_string(&headers, STRV(":content-type"), STRV("application/json"));
    if (rc == RC_OK)
        rc = append_json(&payload, SHAPE_BEDROCK, r, message);
    if (rc == RC_OK)
        rc = eventstream_put_message(out, buf_view(&headers), buf_view(&payload));
    buf_release(&payload);
    buf_release(&headers);
    return rc;
}

enum rc protocol_stream_error(const struct protocol *p, const struct route *route,
                              enum stream_framing framing, enum refusal r, struct strv message,
                              struct buf *out)
{
    enum error_shape shape = shape_of(p, route, true);

    switch (framing) {
    case FRAMING_NONE:
        return RC_STATE;
    case FRAMING_SSE:
        /* Blank lines first: the stream may have stopped inside an event, and its rest
         * must not become part of ours. */
        if (shape == SHAPE_RESPONSES || shape == SHAPE_ANTHROPIC)
            return append_wrapped(out, STRV("\n\nevent: error\ndata: "), shape, r, message,
                                  STRV("\n\n"));
        if (shape == SHAPE_GOOGLE)
            return append_wrapped(out, STRV("\r\n\r\ndata: "), shape, r, message,
                                  STRV("\r\n\r\n"));
        if (shape == SHAPE_DASHSCOPE) {
            char head[64];
            int n = snprintf(head, sizeof(head), "\n\nevent:error\nstatus:%d\ndata:", refusal_status(r));

            return append_wrapped(out, strv_make(head, (size_t)n), shape, r, message,
                                  STRV("\n\n"));
        }
        return append_wrapped(out, STRV("\n\ndata: "), shape, r, message, STRV("\n\n"));
    case FRAMING_JSON_ARRAY:
        return append_wrapped(out, STRV(",\r\n"), shape, r, message, STRV("\r\n]"));
    case FRAMING_NDJSON:
        return append_wrapped(out, STRV("\n"), shape, r, message, STRV("\n"));
    case FRAMING_EVENTSTREAM:
        return append_frame(out, r, message);
    }
    return RC_STATE;
}
