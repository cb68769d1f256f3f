/*
 * refusal.h - the provider's own errors, in the shape of each protocol.
 */
#ifndef PROVIDER_REFUSAL_H
#define PROVIDER_REFUSAL_H

#include "tests/provider/reply.h"
#include "tests/provider/request.h"

enum dialect {
    DIALECT_OPENAI,
    DIALECT_RESPONSES,
    DIALECT_ANTHROPIC,
    DIALECT_GEMINI,
    DIALECT_BEDROCK,
};

/*
 * Makes reply an error of that status.  X-Sim-Retry-After adds the header, and
 * X-Sim-Error-Type, -Code and -Message overrule the type, code and text.
 */
void refuse(struct reply *reply, const struct request *r, enum dialect dialect, int status,
            struct strv message);

/* Makes reply->error_event: what a stream of the dialect says when it breaks. */
void refuse_in_stream(struct reply *reply, enum dialect dialect);

#endif
