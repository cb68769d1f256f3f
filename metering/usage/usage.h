/*
 * usage.h - counts of one exchange, normalised once, in the record's own fields.
 *
 * input_tokens holds all input (cache reads and writes included), output_tokens
 * all output (reasoning included), whatever the provider's own arithmetic.  A
 * count that was not reported is absent, which is not zero.
 */
#ifndef METERING_USAGE_USAGE_H
#define METERING_USAGE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"
#include "pricing/meter.h"

/*      id                          field of the record          */
#define USAGE_FIELDS(X)                                                                        \
    X(USAGE_INPUT, "input_tokens")                                                             \
    X(USAGE_CACHE_READ, "cache_read_tokens")                                                   \
    X(USAGE_CACHE_WRITE_5M, "cache_write_5m_tokens")                                           \
    X(USAGE_CACHE_WRITE_1H, "cache_write_1h_tokens")                                           \
    X(USAGE_INPUT_AUDIO, "input_audio_tokens")                                                 \
    X(USAGE_INPUT_IMAGE, "input_image_tokens")                                                 \
    X(USAGE_OUTPUT, "output_tokens")                                                           \
    X(USAGE_REASONING, "reasoning_tokens")                                                     \
    X(USAGE_OUTPUT_AUDIO, "output_audio_tokens")                                               \
    X(USAGE_OUTPUT_IMAGE, "output_image_tokens")                                               \
    X(USAGE_WEB_SEARCH, "web_search_requests")                                                 \
    X(USAGE_FILE_SEARCH, "file_search_requests")                                               \
    X(USAGE_CODE, "code_execution_requests")                                                   \
    X(USAGE_IMAGES, "images")                                                                  \
    X(USAGE_AUDIO_MS, "audio_seconds") /* kept in milliseconds */                              \
    X(USAGE_CHARACTERS, "characters")                                                          \
    X(USAGE_SEARCH_UNITS, "search_units")                                                      \
    X(USAGE_INPUT_VIDEO, "input_video_tokens")                                                 \
    X(USAGE_CITATION, "citation_tokens")                                                       \
    X(USAGE_PAGES, "pages")                                                                    \
    X(USAGE_X_SEARCH, "x_search_requests")                                                     \
    X(USAGE_MAPS, "maps_requests")                                                             \
    X(USAGE_VIDEO_MS, "video_seconds") /* generated; kept in milliseconds */                   \
    X(USAGE_CACHE_AUDIO, "cache_read_audio_tokens") /* of cache reads and of audio */          \
    X(USAGE_CACHE_IMAGE, "cache_read_image_tokens")                                            \
    X(USAGE_OUTPUT_VIDEO, "output_video_tokens")                                               \
    X(USAGE_INPUT_IMAGES, "input_images")                                                      \
    X(USAGE_ANNOTATED, "annotated_pages") /* of pages */                                       \
    X(USAGE_ATTACHMENT, "attachment_search_requests")                                          \
    X(USAGE_ENTERPRISE, "enterprise_web_search_requests")                                      \
    X(USAGE_SESSION_MS, "session_seconds") /* of an agent at work; kept in milliseconds */      \
    X(USAGE_GUARD, "guardrail_units") /* of text or images, by all policies */

enum usage_field {
#define USAGE_ID(id, name) id,
    USAGE_FIELDS(USAGE_ID)
#undef USAGE_ID
        USAGE_COUNT
};

enum usage_source {
    USAGE_NONE = 0,  /* nothing is known */
    USAGE_PROVIDER,  /* the provider's own final counts */
    USAGE_PARTIAL,   /* what the provider had said before it broke off, completed by estimate */
    USAGE_ESTIMATED, /* ours alone */
};

/* Every count is at most this; a larger one on the wire is not believed. */
#define USAGE_MAX_COUNT (UINT64_C(1) << 53)

struct usage {
    uint64_t n[USAGE_COUNT];
    uint32_t has; /* bit per field: reported */
};

static inline bool usage_has(const struct usage *u, enum usage_field f)
{
    return (u->has >> f & 1u) != 0;
}
static inline void usage_set(struct usage *u, enum usage_field f, uint64_t n)
{
    u->n[f] = n;
    u->has |= 1u << f;
}

/* Adds what part has; a field that would pass USAGE_MAX_COUNT stays as it is. */
void usage_add(struct usage *sum, const struct usage *part);

const char *usage_field_name(enum usage_field f);
/* True for the fields that are told in seconds and kept in milliseconds. */
bool usage_is_time(enum usage_field f);
const char *usage_source_name(enum usage_source s);

/*
 * The tier to price by: what the provider said it served, empty for the ordinary
 * one, which providers name "default", "standard", "on_demand", ...
 */
struct strv usage_priced_tier(struct strv served);

/*
 * The input by whose length a request may be priced.  What a session took is the sum of many
 * requests, whose lengths nobody tells: 0.
 */
uint64_t usage_context(const struct usage *u);

/*
 * The same as disjoint meters: cache, audio, image and reasoning parts are taken
 * out of input and output.  Parts that exceed their whole are clamped; returns false then.
 */
bool usage_to_quantities(const struct usage *u, struct quantities *out);

#endif
