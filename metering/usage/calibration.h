/*
 * calibration.h - what estimates were worth: learnt per upstream and model from calls whose
 * provider gave its final counts.
 *
 * Bytes tell tokens only roughly, and no static table follows tokenizers that are not
 * published, so each such call teaches how much was billed for how much was estimated,
 * and for how much text that came back (thinking that is billed and not shown included).
 * Moving averages in whole numbers (16 bits after the point).  One thread's: no locks, and
 * nothing outlives the process.  What a client sends can bend an average only within the
 * bounds below.
 */
#ifndef METERING_USAGE_CALIBRATION_H
#define METERING_USAGE_CALIBRATION_H

#include <stdint.h>

#include "metering/usage/estimate.h"

enum {
    CALIBRATION_MODELS = 512,   /* remembered at a time; the least used gives way */
    CALIBRATION_LEAST = 8,      /* calls before what was learnt is used */
    CALIBRATION_MIN_TOKENS = 64, /* shorter prompts are mostly overhead, and teach nothing */
    CALIBRATION_MIN_BYTES = 64,
};

struct calibration;

struct calibration *calibration_new(void);
void calibration_free(struct calibration *c);

/* What is known of this model at this upstream; ESTIMATE_PLAIN where too little is. */
struct estimate_factors calibration_look(const struct calibration *c, struct strv upstream,
                                         struct strv model);
/*
 * A call ended that was estimated at so many input tokens (estimate_input_tokens).  Teaches only where the counts are the provider's last word and the prompt was
 * all text and all there (no images, no history kept by the provider).
 */
void calibration_learn(struct calibration *c, struct strv upstream, struct strv model,
                       const struct request_facts *facts, uint64_t estimated,
                       const struct tap_result *seen);

#endif
