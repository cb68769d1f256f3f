/*
 * refusal.h - what a refusal is called in each error shape.  Nothing outside
 * metering/usage includes it.
 */
#ifndef METERING_USAGE_REFUSAL_H
#define METERING_USAGE_REFUSAL_H

#include "metering/usage/protocol.h"
#include "metering/usage/protocol_int.h"

struct refusal_class {
    const char *openai;
    const char *anthropic;
    const char *google;
    const char *bedrock;        /* exception */
    const char *bedrock_header; /* by which its SDKs tell it */
};

const struct refusal_class *refusal_class(enum refusal r);

struct jsonw;

/*
 * Writes the refusal as one JSON object in that shape; request_id may be empty.  retry_ms: after
 * how many milliseconds trying again makes sense, for shapes that say so themselves; 0: unsaid.
 */
void refusal_write(struct jsonw *w, enum error_shape shape, enum refusal r, struct strv message,
                   struct strv request_id, int64_t retry_ms);

#endif
