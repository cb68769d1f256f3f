/*
 * Addresses in answers: the same comes out however the bytes are split, and but for the addresses
 * that were changed it is what went in.  The first byte says how long the pieces are, its lowest
 * bit whose answer it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/links.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define FROM "https://a.example"
#define TO "https://gate:1/p"

static void rewrite(const struct endpoint *endpoint, struct strv text, size_t step,
                    struct buf *out)
{
    struct links *links = links_new(endpoint, STRV(FROM), STRV(TO));

    ASSERT(links != NULL);
    while (text.n > 0) {
        struct strv piece = strv_head(text, step);
        char *copy = malloc(piece.n); /* of its own: a read past its end is seen */

        ASSERT(copy != NULL);
        memcpy(copy, piece.p, piece.n);
        ASSERT(links_feed(links, strv_make(copy, piece.n), out) == RC_OK);
        free(copy);
        text = strv_skip(text, piece.n);
    }
    ASSERT(links_finish(links, out) == RC_OK);
    links_free(links);
}

/* Text that has neither escapes nor what addresses become: each that became it was FROM. */
static void check_the_rest(struct strv in, struct strv out)
{
    while (out.n > 0) {
        bool changed = !strv_starts(in, STRV(TO)) && strv_starts(out, STRV(TO));

        ASSERT(in.n > 0 && (changed ? strv_starts(in, STRV(FROM "/")) : *in.p == *out.p));
        in = strv_skip(in, changed ? sizeof(FROM) - 1 : 1);
        out = strv_skip(out, changed ? sizeof(TO) - 1 : 1);
    }
    ASSERT(in.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const PATHS[][2] = {{"anthropic", "/v1/messages/batches"},
                                           {"openai", "/v1/predictions"}};
    struct buf whole, parts;
    struct route route;
    struct strv text;

    if (n < 1)
        return 0;
    text = strv_make((const char *)bytes + 1, n - 1);
    protocol_route(protocol_find(strv_z(PATHS[bytes[0] & 1][0])), STRV("GET"),
                   strv_z(PATHS[bytes[0] & 1][1]), STRV_NONE, &route);
    ASSERT(links_are_in(route.endpoint));
    buf_init(&whole, 4 * n + (LINKS_MAX + 1) * LINKS_TO_MAX_BYTES);
    buf_init(&parts, 4 * n + (LINKS_MAX + 1) * LINKS_TO_MAX_BYTES);
    rewrite(route.endpoint, text, SIZE_MAX, &whole);
    rewrite(route.endpoint, text, 1 + (bytes[0] >> 1) % 61, &parts);
    ASSERT(strv_eq(buf_view(&whole), buf_view(&parts)));
    if (text.n > 0 && !memchr(text.p, '\\', text.n) &&
        !memmem(text.p, text.n, TO, sizeof(TO) - 1))
        check_the_rest(text, buf_view(&whole));
    buf_release(&whole);
    buf_release(&parts);
    return 0;
}
