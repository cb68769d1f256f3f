/*
 * gemini.h - generateContent, streamGenerateContent, countTokens and embedContent, as the
 * Gemini API answers them.
 */
#ifndef PROVIDER_GEMINI_H
#define PROVIDER_GEMINI_H

#include "tests/provider/call.h"

/*
 * model and method are the parts of the last path segment, "M:method".  False where
 * there is no such method.
 */
bool gemini_call(struct call *c, struct strv model, struct strv method);
void gemini_models(struct call *c);

#endif
