/*
 * estimate.h - token counts from bytes, where no provider gave them.
 *
 * A reservation before the call, a count after a stream broke off.  Factors that
 * calibration.h learnt make them better.  Bounded: an output estimate is never above the
 * request's own bound, and without experience with the model not above what the bytes
 * seen allow (one token a byte).
 */
#ifndef METERING_USAGE_ESTIMATE_H
#define METERING_USAGE_ESTIMATE_H

#include <stdint.h>

#include "metering/usage/protocol.h"
#include "metering/usage/tap.h"

enum {
    ESTIMATE_MEDIA_TOKENS = 1600,   /* one image or file part: the dearest common case */
    ESTIMATE_VIDEO_MS = 12000,      /* of a video whose request says no length: the longest */
    ESTIMATE_DEFAULT_OUTPUT = 4096, /* output bound where neither request nor book has one */
};

/* What experience says of a model; ESTIMATE_ONE is 1. */
struct estimate_factors {
    uint32_t input;      /* billed over estimate_input_tokens, on the average */
    uint32_t input_high; /* the same on the high side, for reservations */
    uint32_t output;     /* tokens a byte of generated text; 0: not known */
};
enum { ESTIMATE_ONE = 1 << 16 };
#define ESTIMATE_PLAIN {ESTIMATE_ONE, ESTIMATE_ONE, 0}

/* tokens x factor, rounded up. */
uint64_t estimate_scaled(uint64_t tokens, uint32_t factor);

/*
 * Input tokens that the request will be billed, rounded up, with the chat overhead:
 * one for 3 bytes of text, so that a reservation rather errs to the high side.  0 where only
 * characters or seconds are charged.
 */
uint64_t estimate_input_tokens(const struct request_facts *facts);
/*
 * What a call will be charged by besides tokens, as far as the request tells: images,
 * characters, seconds of audio, searches.  False, and nothing in out, where by none.
 */
bool estimate_units(const struct request_facts *facts, struct usage *out);
/*
 * Output tokens reserved: the request's bound (or model_max where that is not 0, or
 * the default) times its choices; 0 where the endpoint generates nothing.
 */
uint64_t estimate_max_output_tokens(const struct request_facts *facts, uint64_t model_max);
/*
 * Output tokens of text_bytes of generated text, at most bound: 2 for 7 bytes where per_byte
 * (see estimate_factors) is 0; rounded up.
 */
uint64_t estimate_output_tokens(uint64_t text_bytes, uint32_t per_byte, uint64_t bound);

/*
 * The provider has not told what the prompt took: it said nothing of it, or zero.  Streams of many
 * begin with zeros that stand for counts to come, and servers that count nothing end with them;
 * no text is generated from nothing.
 */
bool estimate_lacks_input(const struct request_facts *facts, const struct tap_result *seen);
/*
 * Completes what the tap knows into the usage to record: provider's final counts
 * as they are; counts broken off completed (USAGE_PARTIAL); none but text seen
 * (USAGE_ESTIMATED); an answer that costs nothing (status 4xx/5xx without counts)
 * stays USAGE_NONE with no counts.  status 0: the request was sent and no answer
 * came (its input may have been charged; not to be called where nothing was sent).
 * Facts that are all zero (a body that was not read) give USAGE_NONE, and so does work that
 * goes on after the answer: another one will tell what it took.
 */
enum usage_source estimate_complete(const struct request_facts *facts,
                                    const struct tap_result *seen, int status,
                                    uint64_t model_max, const struct estimate_factors *factors,
                                    struct usage *out);

#endif
