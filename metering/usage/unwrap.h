/*
 * unwrap.h - takes a model's own event out of the envelope that Bedrock's InvokeModel
 * streams put it in: {"bytes":"<base64>","p":"<padding>"}.
 *
 * Push style, split anywhere; holds no bytes, whatever their number.  It reads no more of
 * the envelope than it takes to find that one member, and decodes nothing else.
 */
#ifndef METERING_USAGE_UNWRAP_H
#define METERING_USAGE_UNWRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

struct unwrap {
    bool bad; /* the member is no base64: what came of it is not to be believed */
    /* private: */
    bool in_string, escaped, is_key, in_value;
    bool wants_key, wants_value; /* the next string at depth 1 is a member's name, its value */
    bool padded;                 /* "=" was seen */
    uint8_t key_n;
    char key[8];
    unsigned depth;
    uint32_t bits;
    uint8_t bits_n;
};

void unwrap_init(struct unwrap *u);
/* Decodes what bytes hold of the member to out, which has room for bytes.n; how much it was. */
size_t unwrap_feed(struct unwrap *u, struct strv bytes, char *out);

#endif
