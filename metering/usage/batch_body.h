/*
 * batch_body.h - the requests of a batch that stand in the body of the call that brings them:
 * Anthropic's, Gemini's inline batches, OpenRouter's, xAI's additions to a batch.
 */
#ifndef METERING_USAGE_BATCH_BODY_H
#define METERING_USAGE_BATCH_BODY_H

#include "metering/usage/protocol.h"

/* Anthropic takes so many.  Of more, in a body of many millions, what each would say for itself
 * would keep others waiting. */
enum { BATCH_BODY_REQUESTS_MAX = 100000 };

/* One request: views live for the call.  id: the client's name for it, as the body spells it;
 * empty where it has none. */
typedef void batch_request_fn(void *arg, const struct request_facts *facts, struct strv id);

enum batch_body {
    BATCH_BODY_OTHER = 0, /* it takes no batch, or its requests are elsewhere */
    BATCH_BODY_REQUESTS,  /* some were told */
    BATCH_BODY_EMPTY,     /* xAI: a name alone; requests are added by other calls */
};

/*
 * Tells of each request of a body, in order, as the request that it would be by itself; what is
 * none is told by its length.  What comes after BATCH_BODY_REQUESTS_MAX is told as one, of so
 * many choices and so much text.  The body was read by protocol_scan_request before; nothing
 * is told of a form.
 */
enum batch_body batch_body_read(const struct protocol *p, const struct route *route,
                                struct strv body, batch_request_fn *fn, void *arg);

#endif
