/*
 * fuzz_protocol.h - what the fuzz targets of the protocols share.  The input's first
 * byte chooses path, content type and what the rest is: a request's body, a response,
 * or a response that is compressed.
 */
#ifndef TESTS_FUZZ_FUZZ_PROTOCOL_H
#define TESTS_FUZZ_FUZZ_PROTOCOL_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "metering/usage/estimate.h"
#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fuzz_response(const struct protocol *p, const struct route *route, const char *type,
                          const char *coding, struct strv body, size_t step,
                          struct tap_result *out)
{
    struct tap_response head = {.status = 200,
                                .content_type = strv_z(type),
                                .content_encoding = strv_z(coding),
                                .request_id = STRV("r")};
    struct tap *tap = tap_new(p, route, false);

    tap_head(tap, &head);
    for (size_t at = 0; at < body.n; at += step) {
        struct strv piece = strv_head(strv_skip(body, at), step);
        char *copy = malloc(piece.n); /* a block of its own: reads past it are seen */

        ASSERT(copy != NULL);
        memcpy(copy, piece.p, piece.n);
        ASSERT(tap_feed(tap, strv_make(copy, piece.n), NULL) == RC_OK);
        free(copy);
    }
    ASSERT(tap_finish(tap, true, NULL) == RC_OK);
    *out = *tap_result(tap);
    tap_free(tap);
}

static void fuzz_check_result(const struct tap_result *r)
{
    struct quantities q;

    for (unsigned f = 0; f < USAGE_COUNT; f++)
        ASSERT(r->usage.n[f] <= USAGE_MAX_COUNT && (usage_has(&r->usage, f) || !r->usage.n[f]));
    if (usage_has(&r->usage, USAGE_INPUT))
        ASSERT(r->usage.n[USAGE_CACHE_READ] + r->usage.n[USAGE_CACHE_WRITE_5M] +
                   r->usage.n[USAGE_CACHE_WRITE_1H] <=
               r->usage.n[USAGE_INPUT]);
    if (usage_has(&r->usage, USAGE_OUTPUT))
        ASSERT(r->usage.n[USAGE_REASONING] <= r->usage.n[USAGE_OUTPUT]);
    ASSERT(memchr(r->model, 0, sizeof(r->model)) != NULL);
    ASSERT(memchr(r->service_tier, 0, sizeof(r->service_tier)) != NULL);
    (void)usage_to_quantities(&r->usage, &q);
}

static void fuzz_check_request(const struct protocol *p, const struct route *route,
                               struct strv body)
{
    struct request_facts f, again;
    struct usage u;
    struct tap_result none = {.has_usage = false};
    struct estimate_factors factors = {UINT32_MAX, UINT32_MAX, (uint32_t)body.n};
    struct buf edited;

    if (protocol_scan_request(p, route, body, NULL, &f) != RC_OK)
        return;
    ASSERT(f.choices >= 1 && f.edit_at + f.edit_cut <= body.n);
    ASSERT(f.model.n <= REQUEST_MODEL_MAX_BYTES);
    ASSERT(estimate_input_tokens(&f) <= USAGE_MAX_COUNT);
    ASSERT(estimate_max_output_tokens(&f, 0) <= USAGE_MAX_COUNT);
    (void)estimate_complete(&f, &none, 200, 0, &factors, &u);
    if (!f.can_ask_usage)
        return;
    /* The edited body is the same request, which asks for usage. */
    buf_init(&edited, body.n + 256);
    ASSERT(buf_append(&edited, body.p, f.edit_at) == RC_OK);
    ASSERT(buf_append_strv(&edited, f.edit_text) == RC_OK);
    ASSERT(buf_append_strv(&edited, strv_skip(body, f.edit_at + f.edit_cut)) == RC_OK);
    ASSERT(protocol_scan_request(p, route, buf_view(&edited), NULL, &again) == RC_OK);
    ASSERT(again.asks_usage && again.stream && strv_eq(again.model, f.model));
    ASSERT(again.max_output_tokens == f.max_output_tokens && again.text_bytes == f.text_bytes);
    buf_release(&edited);
}

static void fuzz_protocol(const char *name, const char *const *paths, size_t n_paths,
                          const uint8_t *bytes, size_t n)
{
    static const char *const TYPES[] = {"application/json", "text/event-stream",
                                        "application/x-ndjson", ""};
    static const char *const CODINGS[] = {"gzip", "deflate", "br", "zstd"};
    const struct protocol *p = protocol_find(strv_z(name));
    struct tap_result whole, pieces;
    struct route route;
    struct strv body;
    uint8_t choice;

    if (n == 0)
        return;
    choice = bytes[0];
    body = strv_make((const char *)bytes + 1, n - 1);
    protocol_route(p, STRV("POST"), strv_z(paths[choice % n_paths]), STRV_NONE, &route);
    if (choice & 0x80) {
        fuzz_check_request(p, &route, body);
        return;
    }
    if ((choice & 0x60) == 0x60) {
        fuzz_response(p, &route, TYPES[0], CODINGS[choice >> 3 & 3], body, n, &whole);
        fuzz_response(p, &route, TYPES[0], CODINGS[choice >> 3 & 3], body, 3, &pieces);
        fuzz_check_result(&whole);
        return; /* a bomb may be noticed sooner in small pieces */
    }
    fuzz_response(p, &route, TYPES[choice >> 5 & 3], "", body, n, &whole);
    fuzz_check_result(&whole);
    for (size_t step = 1; step <= 7; step += 3) {
        fuzz_response(p, &route, TYPES[choice >> 5 & 3], "", body, step, &pieces);
        ASSERT(memcmp(&whole.usage, &pieces.usage, sizeof(whole.usage)) == 0);
        ASSERT(whole.end == pieces.end && whole.output_bytes == pieces.output_bytes);
        ASSERT(whole.undecodable == pieces.undecodable && whole.framing == pieces.framing);
        ASSERT(strcmp(whole.model, pieces.model) == 0);
    }
}

#endif
