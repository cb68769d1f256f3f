/*
 * meter.h - what is charged for: disjoint quantities, nothing counted twice.
 *
 * The names are those of the price book's schema (tollgate-prices/1).  metering
 * turns a provider's usage into these; pricing multiplies them by rates.
 */
#ifndef PRICING_METER_H
#define PRICING_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"

/*      id                     name                   */
#define METERS(X)                                                                              \
    X(METER_IN, "in")                                                                          \
    X(METER_OUT, "out")                                                                        \
    X(METER_CACHE_READ, "cache_read")                                                          \
    X(METER_CACHE_WRITE, "cache_write")                                                        \
    X(METER_CACHE_WRITE_1H, "cache_write_1h")                                                  \
    X(METER_IN_AUDIO, "in_audio")                                                              \
    X(METER_IN_IMAGE, "in_image")                                                              \
    X(METER_IN_VIDEO, "in_video")                                                              \
    X(METER_CACHE_READ_AUDIO, "cache_read_audio")                                              \
    X(METER_CACHE_READ_IMAGE, "cache_read_image")                                              \
    X(METER_OUT_AUDIO, "out_audio")                                                            \
    X(METER_OUT_IMAGE, "out_image")                                                            \
    X(METER_OUT_VIDEO, "out_video")                                                            \
    X(METER_OUT_REASONING, "out_reasoning")                                                    \
    X(METER_OUT_CITATION, "out_citation")                                                      \
    X(METER_IN_CHAR, "in_char")                                                                \
    X(METER_OUT_CHAR, "out_char")                                                              \
    X(METER_AUDIO_SEC, "audio_sec")                                                            \
    X(METER_VIDEO_SEC, "video_sec")                                                            \
    X(METER_IN_VIDEO_SEC, "in_video_sec")                                                      \
    X(METER_IMAGE, "image")                                                                    \
    X(METER_IN_IMAGE_COUNT, "in_image_count")                                                  \
    X(METER_IMAGE_MEGAPIXEL, "image_megapixel")                                                \
    X(METER_OUT_GPIXEL, "out_gpixel")                                                          \
    X(METER_IN_GPIXEL, "in_gpixel")                                                            \
    X(METER_PAGE, "page")                                                                      \
    X(METER_PAGE_ANNOTATED, "page_annotated")                                                  \
    X(METER_RERANK_SEARCH, "rerank_search")                                                    \
    X(METER_REQUEST, "request")                                                                \
    X(METER_WEB_SEARCH, "web_search")                                                          \
    X(METER_ENTERPRISE_WEB_SEARCH, "enterprise_web_search")                                    \
    X(METER_MAPS_SEARCH, "maps_search")                                                        \
    X(METER_X_SEARCH, "x_search")                                                              \
    X(METER_FILE_SEARCH, "file_search")                                                        \
    X(METER_ATTACHMENT_SEARCH, "attachment_search")                                            \
    X(METER_CODE_CALL, "code_call")                                                            \
    X(METER_CODE_SESSION, "code_session")                                                      \
    X(METER_CODE_SEC, "code_sec")                                                              \
    X(METER_TEXT_MESSAGE, "text_message")                                                      \
    X(METER_CACHE_STORAGE, "cache_storage")                                                    \
    X(METER_VECTOR_STORAGE, "vector_storage")                                                  \
    X(METER_SESSION_SEC, "session_sec")                                                        \
    X(METER_GUARD, "guardrail_unit")

enum meter {
#define METER_ID(id, name) id,
    METERS(METER_ID)
#undef METER_ID
        METER_COUNT
};

/* Meters that count time ("_sec") hold milliseconds, all others whole units. */
struct quantities {
    uint64_t n[METER_COUNT]; /* 0: none */
};

const char *meter_name(enum meter m);
bool meter_parse(struct strv name, enum meter *m);
/* True for the meters whose quantity is in milliseconds. */
bool meter_is_time(enum meter m);

#endif
