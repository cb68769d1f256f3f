#include "metering/usage/eventstream_write.h"

#include <zlib.h>

#include "base/check.h"

enum { VALUE_BYTES = 6, VALUE_STRING = 7, VALUE_TIME = 8 };
enum { LENGTHS_BYTES = 8, PRELUDE_BYTES = 12, CHECKSUM_BYTES = 4, TIME_BYTES = 8 };

static void write_u32(unsigned char *at, size_t n)
{
    at[0] = (unsigned char)(n >> 24);
    at[1] = (unsigned char)(n >> 16);
    at[2] = (unsigned char)(n >> 8);
    at[3] = (unsigned char)n;
}

static enum rc put_name(struct buf *headers, struct strv name, char type)
{
    const char length = (char)name.n;
    enum rc rc;

    ASSERT(name.n > 0 && name.n <= UINT8_MAX);
    rc = buf_append(headers, &length, 1);
    if (rc == RC_OK)
        rc = buf_append_strv(headers, name);
    return rc == RC_OK ? buf_append(headers, &type, 1) : rc;
}

static enum rc put_value(struct buf *headers, struct strv name, char type, struct strv value)
{
    const char length[2] = {(char)(value.n >> 8), (char)value.n};
    enum rc rc = put_name(headers, name, type);

    ASSERT(value.n <= UINT16_MAX);
    if (rc == RC_OK)
        rc = buf_append(headers, length, sizeof(length));
    return rc == RC_OK ? buf_append_strv(headers, value) : rc;
}

enum rc eventstream_put_string(struct buf *headers, struct strv name, struct strv value)
{
    return put_value(headers, name, VALUE_STRING, value);
}

enum rc eventstream_put_bytes(struct buf *headers, struct strv name, struct strv value)
{
    return put_value(headers, name, VALUE_BYTES, value);
}

enum rc eventstream_put_time(struct buf *headers, struct strv name, int64_t ms)
{
    unsigned char value[TIME_BYTES];
    enum rc rc = put_name(headers, name, VALUE_TIME);

    write_u32(value, (size_t)((uint64_t)ms >> 32));
    write_u32(value + 4, (size_t)((uint64_t)ms & UINT32_MAX));
    return rc == RC_OK ? buf_append(headers, (const char *)value, sizeof(value)) : rc;
}

enum rc eventstream_put_message(struct buf *out, struct strv headers, struct strv payload)
{
    unsigned char prelude[PRELUDE_BYTES], checksum[CHECKSUM_BYTES];
    unsigned long sum;
    enum rc rc;

    write_u32(prelude, EVENTSTREAM_FRAME_BYTES + headers.n + payload.n);
    write_u32(prelude + 4, headers.n);
    write_u32(prelude + LENGTHS_BYTES, crc32(0, prelude, LENGTHS_BYTES));
    sum = crc32(0, prelude, sizeof(prelude));
    if (headers.n > 0)
        sum = crc32(sum, (const unsigned char *)headers.p, (unsigned)headers.n);
    if (payload.n > 0)
        sum = crc32(sum, (const unsigned char *)payload.p, (unsigned)payload.n);
    write_u32(checksum, sum);
    rc = buf_append(out, (const char *)prelude, sizeof(prelude));
    if (rc == RC_OK)
        rc = buf_append_strv(out, headers);
    if (rc == RC_OK)
        rc = buf_append_strv(out, payload);
    return rc == RC_OK ? buf_append(out, (const char *)checksum, sizeof(checksum)) : rc;
}
