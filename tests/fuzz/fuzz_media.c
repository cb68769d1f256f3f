/*
 * fuzz_media.c - what is measured of other things than text: sound, pictures, packed bodies,
 * envelopes; and prompts counted by tokens, some bytes a time.
 *
 * Holds: a length and a size are within their bounds; a body that is unpacked in pieces is the
 * one that is unpacked whole, and no larger than its bound; an envelope gives the same however it
 * is split; a prompt has as many tokens in small steps as in large ones.
 * The first byte chooses.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "metering/usage/audio.h"
#include "metering/usage/image.h"
#include "metering/usage/inflate.h"
#include "metering/usage/prompt.h"
#include "metering/usage/unwrap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { INPUT_MAX_BYTES = 16 << 10, OUT_MAX_BYTES = 8 << 20 };

static struct tokenizer *tokenizer;

static void on_piece(void *arg, struct strv piece)
{
    ASSERT(piece.n <= INFLATE_PIECE);
    (void)!buf_append_strv(arg, piece); /* as much as there is room for */
}

static enum rc unpack(struct strv coding, struct strv packed, size_t step, struct buf *out)
{
    bool identity;
    struct inflater *z = inflate_new(coding, &identity);
    enum rc rc = RC_OK;

    ASSERT(z != NULL);
    for (size_t at = 0; at < packed.n && rc == RC_OK; at += step)
        rc = inflate_feed(z, strv_head(strv_skip(packed, at), step), on_piece, out);
    if (rc == RC_OK && !inflate_is_whole(z))
        rc = RC_EOF;
    inflate_free(z);
    return rc;
}

static void check_packed(struct strv packed, unsigned which)
{
    static const char *const CODINGS[] = {"gzip", "deflate", "br", "zstd"};
    struct strv coding = strv_z(CODINGS[which % 4]);
    struct buf whole, pieces, body;
    enum rc rc, in_pieces;

    buf_init(&whole, OUT_MAX_BYTES);
    buf_init(&pieces, OUT_MAX_BYTES);
    buf_init(&body, OUT_MAX_BYTES);
    rc = unpack(coding, packed, packed.n + 1, &whole);
    in_pieces = unpack(coding, packed, 1 + which % 13, &pieces);
    ASSERT(buf_len(&whole) <= INFLATE_FREE_BYTES + INFLATE_RATIO_MAX * packed.n + INFLATE_PIECE);
    if (rc == RC_OK || in_pieces == RC_OK) {
        ASSERT(strv_eq(buf_view(&whole), buf_view(&pieces)));
        ASSERT(rc == in_pieces);
    }
    if (inflate_body(coding, packed, &body) == RC_OK)
        ASSERT(rc == RC_OK && strv_eq(buf_view(&whole), buf_view(&body)));
    else
        ASSERT(rc != RC_OK || packed.n == 0);
    buf_release(&whole);
    buf_release(&pieces);
    buf_release(&body);
}

static void check_envelope(struct strv bytes)
{
    struct unwrap whole, pieces;
    char *a = malloc(bytes.n + 1), *b = malloc(bytes.n + 1);
    size_t n, at = 0;

    ASSERT(a && b);
    unwrap_init(&whole);
    n = unwrap_feed(&whole, bytes, a);
    ASSERT(n <= bytes.n);
    for (size_t step = 1; step <= 5; step += 2) {
        unwrap_init(&pieces);
        at = 0;
        for (size_t from = 0; from < bytes.n; from += step)
            at += unwrap_feed(&pieces, strv_head(strv_skip(bytes, from), step), b + at);
        ASSERT(at == n && pieces.bad == whole.bad && memcmp(a, b, n) == 0);
    }
    free(a);
    free(b);
}

static uint64_t count(const struct route *route, struct strv body, size_t step)
{
    struct prompt_counter p;
    uint64_t tokens;

    if (!prompt_counter_init(&p, tokenizer, route, STRV("gpt-4o"), body))
        return UINT64_MAX;
    for (size_t steps = 0; !prompt_counter_step(&p, step); steps++)
        ASSERT(steps <= 4 * body.n + 16);
    tokens = prompt_counter_tokens(&p);
    prompt_counter_fini(&p);
    return tokens;
}

static void check_prompt(struct strv body)
{
    const struct protocol *p = protocol_find(STRV("openai"));
    struct request_facts facts;
    struct route route;

    protocol_route(p, STRV("POST"), STRV("/v1/chat/completions"), STRV_NONE, &route);
    if (protocol_scan_request(p, &route, body, NULL, &facts) != RC_OK)
        return;
    if (!tokenizer)
        tokenizer = tokenizer_new();
    ASSERT(count(&route, body, PROMPT_STEP_BYTES) == count(&route, body, 7));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct image_size size;
    struct strv input;
    char *copy;

    if (n < 1 || n > INPUT_MAX_BYTES)
        return 0;
    copy = malloc(n); /* exactly as long as it is: a read behind it is seen */
    ASSERT(copy != NULL);
    memcpy(copy, bytes + 1, n - 1);
    input = strv_make(copy, n - 1);
    switch (bytes[0] % 5) {
    case 0:
        ASSERT((audio_length_ms(input) > 0) == (input.n > 0));
        break;
    case 1:
        if (image_size_of_url(input, &size)) {
            ASSERT(size.width >= 1 && size.width <= IMAGE_SIDE_MAX);
            ASSERT(size.height >= 1 && size.height <= IMAGE_SIDE_MAX);
            (void)image_tokens(STRV("gpt-4o"), &size, false);
        }
        break;
    case 2:
        check_packed(input, bytes[0] / 5);
        break;
    case 3:
        check_envelope(input);
        break;
    case 4:
        check_prompt(input);
        break;
    }
    free(copy);
    return 0;
}
