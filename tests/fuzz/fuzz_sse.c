/*
 * The framer of server-sent events: the same events whole and in pieces, every byte
 * used once; and the tap that rewrites: what it passes does not depend on the
 * pieces, and is the stream less at most whole events.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/sse.h"
#include "metering/usage/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { PASS_MAX = 1 << 20 };

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x100000001b3);
}

static uint64_t frame(struct strv bytes, size_t step)
{
    uint64_t hash = 0;
    struct sse s;

    sse_init(&s);
    for (size_t at = 0; at < bytes.n; at += step) {
        struct strv piece = strv_head(strv_skip(bytes, at), step), data;
        enum sse_what what;
        size_t used;

        while ((what = sse_next(&s, piece, &used, &data)) != SSE_MORE) {
            ASSERT(used <= piece.n);
            if (what == SSE_DATA) {
                for (size_t i = 0; i < data.n; i++)
                    mix(&hash, (unsigned char)data.p[i]);
            } else if (what == SSE_EVENT) {
                mix(&hash, 1000u + s.has_data);
                mix(&hash, strv_hash(sse_name(&s)));
            }
            piece = strv_skip(piece, used);
        }
        ASSERT(used == piece.n);
    }
    return hash;
}

static void rewrite(struct strv bytes, size_t step, struct buf *pass, struct tap_result *result)
{
    const struct protocol *p = protocol_find(STRV("openai"));
    struct tap_response head = {.status = 200, .content_type = STRV("text/event-stream")};
    struct route route;
    struct tap *tap;

    protocol_route(p, STRV("POST"), STRV("/v1/chat/completions"), STRV_NONE, &route);
    tap = tap_new(p, &route, true);
    tap_head(tap, &head);
    buf_clear(pass);
    for (size_t at = 0; at < bytes.n; at += step)
        ASSERT(tap_feed(tap, strv_head(strv_skip(bytes, at), step), pass) == RC_OK);
    ASSERT(tap_finish(tap, true, pass) == RC_OK);
    *result = *tap_result(tap);
    tap_free(tap);
}

/* part is a subsequence of whole. */
static bool is_within(struct strv part, struct strv whole)
{
    size_t i = 0;

    for (size_t at = 0; at < whole.n && i < part.n; at++)
        i += whole.p[at] == part.p[i];
    return i == part.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct strv text = strv_make((const char *)bytes, n);
    struct tap_result whole, pieces;
    struct buf a, b;
    uint64_t hash = frame(text, n + 1);

    buf_init(&a, PASS_MAX);
    buf_init(&b, PASS_MAX);
    rewrite(text, n + 1, &a, &whole);
    ASSERT(is_within(buf_view(&a), text));
    if (!whole.has_usage && !whole.inconsistent)
        ASSERT(strv_eq(buf_view(&a), text));
    for (size_t step = 1; step <= 13; step += 3) {
        ASSERT(frame(text, step) == hash);
        rewrite(text, step, &b, &pieces);
        ASSERT(strv_eq(buf_view(&a), buf_view(&b)));
        ASSERT(memcmp(&whole.usage, &pieces.usage, sizeof(whole.usage)) == 0);
        ASSERT(whole.end == pieces.end && whole.output_bytes == pieces.output_bytes);
    }
    buf_release(&a);
    buf_release(&b);
    return 0;
}
