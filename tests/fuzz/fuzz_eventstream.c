/*
 * AWS event streams.  The bytes as they are, and as the payload of a message whose checksums
 * are made to fit: the same whole and in pieces, every byte used once, and the tap with it.  The
 * same as a request's body: each message that is given is one, bare, and of the bytes that came.
 */
#include "tests/fuzz/fuzz_protocol.h"

#include <zlib.h>

#include "metering/usage/eventstream_body.h"

enum { STREAM_MAX = 1 << 20 };

static const char *const PATHS[] = {
    "/model/m/converse-stream", "/model/m/invoke-with-response-stream",
    "/model/us.anthropic.c/invoke-with-response-stream",
    "/model/m/invoke-with-bidirectional-stream"};

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x100000001b3);
}

static uint64_t frame(struct strv bytes, size_t step)
{
    uint64_t hash = 0;
    struct eventstream s;

    eventstream_init(&s);
    for (size_t at = 0; at < bytes.n; at += step) {
        struct strv piece = strv_head(strv_skip(bytes, at), step), data;
        enum eventstream_what what;
        size_t used;

        while ((what = eventstream_next(&s, piece, &used, &data)) != EVENTSTREAM_MORE) {
            ASSERT(used <= piece.n);
            if (what == EVENTSTREAM_BAD) {
                mix(&hash, 1);
                return hash;
            }
            if (what == EVENTSTREAM_DATA) {
                for (size_t i = 0; i < data.n; i++)
                    mix(&hash, (unsigned char)data.p[i]);
            } else {
                mix(&hash, 1000u + what);
                mix(&hash, strv_hash(eventstream_type(&s)) + strv_hash(eventstream_name(&s)));
            }
            piece = strv_skip(piece, used);
        }
        ASSERT(used == piece.n);
    }
    return hash;
}

enum { MESSAGE_MAX = 64 << 10 };

static bool is_one_message(struct strv bytes)
{
    struct eventstream s;
    struct strv data;
    size_t used;

    eventstream_init(&s);
    for (;;) {
        enum eventstream_what what = eventstream_next(&s, bytes, &used, &data);

        bytes = strv_skip(bytes, used);
        if (what == EVENTSTREAM_END)
            return bytes.n == 0 && !s.is_signed;
        if (what == EVENTSTREAM_BAD || what == EVENTSTREAM_MORE)
            return false;
    }
}

/* A body's messages, and whether it ended well. */
static uint64_t take_body(struct strv bytes, size_t step)
{
    uint64_t hash = 0;
    struct eventstream_body b;
    enum rc rc = RC_AGAIN;

    eventstream_body_init(&b, MESSAGE_MAX);
    for (size_t at = 0; at < bytes.n && rc == RC_AGAIN; at += step) {
        struct strv piece = strv_head(strv_skip(bytes, at), step), message;

        while ((rc = eventstream_body_next(&b, &piece, &message)) == RC_OK) {
            ASSERT(message.n <= MESSAGE_MAX && is_one_message(message));
            ASSERT(memmem(bytes.p, bytes.n, message.p, message.n) != NULL);
            mix(&hash, strv_hash(message));
        }
        ASSERT(rc != RC_AGAIN || piece.n == 0);
    }
    mix(&hash, rc == RC_AGAIN ? 2 + eventstream_body_may_end(&b) : 0);
    eventstream_body_release(&b);
    return hash;
}

static void put_u32(struct buf *out, uint32_t n)
{
    const char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

    ASSERT(buf_append(out, bytes, sizeof(bytes)) == RC_OK);
}

static uint32_t crc_from(const struct buf *out, size_t from)
{
    struct strv bytes = strv_skip(buf_view(out), from);

    return (uint32_t)crc32(0, (const unsigned char *)bytes.p, (unsigned)bytes.n);
}

static void put_message(struct buf *out, struct strv headers, struct strv payload)
{
    size_t from = buf_len(out);

    put_u32(out, (uint32_t)(16 + headers.n + payload.n));
    put_u32(out, (uint32_t)headers.n);
    put_u32(out, crc_from(out, from));
    ASSERT(buf_append_strv(out, headers) == RC_OK);
    ASSERT(buf_append_strv(out, payload) == RC_OK);
    put_u32(out, crc_from(out, from));
}

static void check(const char *path, struct strv stream)
{
    static const char TYPE[] = "application/vnd.amazon.eventstream";
    const struct protocol *p = protocol_find(STRV("bedrock"));
    struct tap_result whole, pieces;
    struct route route;

    protocol_route(p, STRV("POST"), strv_z(path), STRV_NONE, &route);
    fuzz_response(p, &route, TYPE, "", stream, stream.n + 1, &whole);
    fuzz_check_result(&whole);
    for (size_t step = 1; step <= 7; step += 3) {
        ASSERT(frame(stream, step) == frame(stream, stream.n + 1));
        ASSERT(take_body(stream, step) == take_body(stream, stream.n + 1));
        fuzz_response(p, &route, TYPE, "", stream, step, &pieces);
        ASSERT(memcmp(&whole.usage, &pieces.usage, sizeof(whole.usage)) == 0);
        ASSERT(whole.end == pieces.end && whole.undecodable == pieces.undecodable);
        ASSERT(whole.output_bytes == pieces.output_bytes);
        ASSERT(strcmp(whole.model, pieces.model) == 0);
    }
}

#define LITERAL(text)                                                                          \
    {                                                                                          \
        text, sizeof(text) - 1                                                                 \
    }

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct strv HEADERS[] = {
        LITERAL("\15:message-type\7\0\5event\13:event-type\7\0\10metadata"),
        LITERAL("\15:message-type\7\0\5event\13:event-type\7\0\5chunk"),
        LITERAL("\15:message-type\7\0\11exception\17:exception-type\7\0\1x"),
        LITERAL("\20:chunk-signature\6\0\1s"),
    };
    struct strv text, part;
    struct buf out;

    if (n < 2 || n > STREAM_MAX / 2)
        return 0;
    text = strv_make((const char *)bytes + 1, n - 1);
    if (bytes[0] & 0x80) { /* a request's body */
        fuzz_protocol("bedrock", PATHS, sizeof(PATHS) / sizeof(PATHS[0]), bytes, n);
        return 0;
    }
    check(PATHS[bytes[0] & 3], text);
    /* Its lines as payloads, which are believed. */
    buf_init(&out, 2 * STREAM_MAX + 64 * n);
    for (unsigned i = bytes[0] >> 2; strv_split(&text, '\n', &part); i++)
        put_message(&out, HEADERS[i % 7 == 6 ? 2 : (bytes[0] & 3) % 2], part);
    check(PATHS[bytes[0] & 3], buf_view(&out));
    if (buf_len(&out) < STREAM_MAX / 2) { /* all of it in an envelope, the last line once more */
        struct buf outer;

        buf_init(&outer, 2 * STREAM_MAX);
        put_message(&outer, HEADERS[3], buf_view(&out));
        put_message(&outer, HEADERS[3], part);
        check(PATHS[bytes[0] & 3], buf_view(&outer));
        buf_release(&outer);
    }
    buf_release(&out);
    return 0;
}
