/*
 * openai.h - chat/completions, completions, embeddings and responses, as OpenAI answers
 * them. A reply is made whole or, with "stream", as events in reply->body.
 */
#ifndef PROVIDER_OPENAI_H
#define PROVIDER_OPENAI_H

#include "tests/provider/call.h"

/* Each reads c->json and makes c->reply; a request that lacks what it must have gets 400. */
void openai_chat(struct call *c);
void openai_completions(struct call *c);
void openai_embeddings(struct call *c);
void openai_responses(struct call *c);
/* GET /models. */
void openai_models(struct call *c);

/* The headers that OpenAI sends with everything. */
void openai_headers(struct call *c);

#endif
