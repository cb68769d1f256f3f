/*
 * bedrock.h - Amazon Bedrock: Converse, InvokeModel (Claude, and Nova for all else), their
 * event streams, and counting.
 */
#ifndef PROVIDER_BEDROCK_H
#define PROVIDER_BEDROCK_H

#include "tests/provider/call.h"

/* Is it a path of Bedrock: .../model/MODEL/METHOD? */
bool bedrock_split(struct strv path, struct strv *model, struct strv *method);
/* False where there is no such method. */
bool bedrock_call(struct call *c, struct strv model, struct strv method);
/* Appends one message of an event stream: type "event" or "exception", its name, its payload. */
void bedrock_message(struct buf *out, const char *type, const char *name, struct strv payload);

#endif
