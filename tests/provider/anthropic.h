/*
 * anthropic.h - v1/messages and count_tokens, as Anthropic answers them.
 *
 * Prompt caching is real: what stands before a block with cache_control is read from the
 * cache where it was sent before, and written (5 minutes or 1 hour) where not.
 */
#ifndef PROVIDER_ANTHROPIC_H
#define PROVIDER_ANTHROPIC_H

#include "tests/provider/call.h"

void anthropic_messages(struct call *c);
void anthropic_count_tokens(struct call *c);
void anthropic_models(struct call *c);

/* Forgets what was cached. */
void anthropic_reset(void);

/* On Vertex: the model stands in the path, the version in the body; count-tokens as a model. */
void anthropic_predict(struct call *c, struct strv model, struct strv method);

#endif
