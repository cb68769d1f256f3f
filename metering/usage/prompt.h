/*
 * prompt.h - counts the prompt of a request of OpenAI's with the tokenizer, some bytes a time.
 *
 * For a limit that asks for an exact count before the call.  The body stays where it is
 * (it is held whole until it is forwarded); what this needs besides is bounded by
 * TOKEN_PIECE_MAX_BYTES whatever the body, and mostly 20 KB.
 *
 *     prompt_counter_init(&p, tokenizer, &route, model, body);
 *     while (!prompt_counter_step(&p, PROMPT_STEP_BYTES))
 *         ;                            // in a worker: one step a turn of the loop
 *     tokens = prompt_counter_tokens(&p);
 *     prompt_counter_fini(&p);
 *
 * A step of PROMPT_STEP_BYTES takes well below a millisecond, so that no other stream waits.
 */
#ifndef METERING_USAGE_PROMPT_H
#define METERING_USAGE_PROMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "metering/usage/image.h"
#include "metering/usage/jscan.h"
#include "metering/usage/protocol.h"
#include "metering/usage/token_json.h"
#include "metering/usage/tokenizer.h"

enum {
    PROMPT_STEP_BYTES = 16 << 10,
    PROMPT_SLICE_BYTES = 4 << 10, /* of JSON that is looked at in one piece */
};

struct prompt_counter {
    /*
     * The sum is what the provider will bill: text alone and a vocabulary that is published.
     * Not so with tools (how they are put to a model is not published: their JSON counts),
     * images that are linked, audio and files (counted as an estimate has them), reasoning
     * models' own additions, or history that the provider keeps.
     */
    bool exact;
    /* private: */
    struct jscan scan;
    struct token_counter text;
    struct token_json raw;
    struct strv body, model;
    size_t fed;              /* bytes of the body */
    size_t long_at, long_end; /* a string that is being counted; equal: none */
    uint64_t tokens;
    uint32_t per_message, per_name;
    bool is_chat, broken;
    bool has_image, image_low, image_known; /* of the part that is being read */
    struct image_size image;
    size_t tools_at;
};

/*
 * Borrows all that it is given, until it is done.  body is what protocol_scan_request took.
 * False where prompts of this endpoint are not counted so (another protocol's, or no
 * text): take the estimate.  Nothing is to be freed then.
 */
bool prompt_counter_init(struct prompt_counter *p, struct tokenizer *t,
                         const struct route *route, struct strv model, struct strv body);
void prompt_counter_fini(struct prompt_counter *p);
/* Counts about so many bytes further; true when all is counted. */
bool prompt_counter_step(struct prompt_counter *p, size_t bytes);
/* The sum, once all is counted; at most USAGE_MAX_COUNT. */
uint64_t prompt_counter_tokens(const struct prompt_counter *p);

#endif
