/*
 * replay.h - answers that were recorded: DIR/<case>/meta.json and response.body.
 */
#ifndef PROVIDER_REPLAY_H
#define PROVIDER_REPLAY_H

#include <stdbool.h>

#include "base/strv.h"
#include "tests/provider/reply.h"

/*
 * Makes reply the recorded answer: its status, content type, kept headers, and the body
 * in the recorded network pieces where these are known.  False where there is none.
 */
bool replay_answer(const char *dir, struct strv name, struct reply *reply);

#endif
