/*
 * The event that ends a stream which the gateway cuts, or whose provider died:
 * some SDKs take a silent end for success.
 */
#include <string.h>

#include <zlib.h>

#include "base/jsonw.h"
#include "metering/usage/refusal.h"

/* Of an AWS event stream: sizes in bytes. */
enum { FRAME_PRELUDE = 8, FRAME_CRC = 4, FRAME_STRING = 7 };

static enum rc append_json(struct buf *out, enum error_shape shape, enum refusal r,
                           struct strv message)
{
    struct jsonw w;

    jsonw_start(&w, out);
    refusal_write(&w, shape, r, message, STRV_NONE);
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

static void put_u32(unsigned char *at, size_t n)
{
    at[0] = (unsigned char)(n >> 24);
    at[1] = (unsigned char)(n >> 16);
    at[2] = (unsigned char)(n >> 8);
    at[3] = (unsigned char)n;
}

/* One header of type string. */
static enum rc put_header(struct buf *out, const char *name, const char *value)
{
    size_t name_n = strlen(name), value_n = strlen(value);
    const char first[1] = {(char)name_n};
    const char type[3] = {FRAME_STRING, (char)(value_n >> 8), (char)value_n};
    enum rc rc = buf_append(out, first, sizeof(first));

    if (rc == RC_OK)
        rc = buf_append(out, name, name_n);
    if (rc == RC_OK)
        rc = buf_append(out, type, sizeof(type));
    return rc == RC_OK ? buf_append(out, value, value_n) : rc;
}

/* An exception frame of an AWS event stream (application/vnd.amazon.eventstream). */
static enum rc append_frame(struct buf *out, enum refusal r, struct strv message)
{
    enum { FRAME_MAX = 64 << 10 };
    const char *exception = refusal_class(r)->bedrock;
    char name[64];
    unsigned char prelude[FRAME_PRELUDE + FRAME_CRC], crc[FRAME_CRC];
    struct buf headers, payload;
    unsigned long sum;
    enum rc rc;

    /* Modelled exceptions are named in lower camel case on the wire. */
    memcpy(name, exception, strlen(exception) + 1);
    name[0] = (char)(name[0] | 0x20);
    buf_init(&headers, FRAME_MAX);
    buf_init(&payload, FRAME_MAX);
    rc = put_header(&headers, ":message-type", "exception");
    if (rc == RC_OK)
        rc = put_header(&headers, ":exception-type", name);
    if (rc == RC_OK)
        rc = put_header(&headers, ":content-type", "application/json");
    if (rc == RC_OK)
        rc = append_json(&payload, SHAPE_BEDROCK, r, message);
    if (rc != RC_OK)
        goto out;
    put_u32(prelude, sizeof(prelude) + buf_len(&headers) + buf_len(&payload) + FRAME_CRC);
    put_u32(prelude + 4, buf_len(&headers));
    put_u32(prelude + FRAME_PRELUDE, crc32(0, prelude, FRAME_PRELUDE));
    sum = crc32(0, prelude, sizeof(prelude));
    sum = crc32(sum, (const unsigned char *)buf_view(&headers).p, (unsigned)buf_len(&headers));
    sum = crc32(sum, (const unsigned char *)buf_view(&payload).p, (unsigned)buf_len(&payload));
    put_u32(crc, sum);
    rc = buf_append(out, (const char *)prelude, sizeof(prelude));
    if (rc == RC_OK)
        rc = buf_append_strv(out, buf_view(&headers));
    if (rc == RC_OK)
        rc = buf_append_strv(out, buf_view(&payload));
    if (rc == RC_OK)
        rc = buf_append(out, (const char *)crc, sizeof(crc));
out:
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
