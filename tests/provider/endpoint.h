/*
 * endpoint.h - from a request that was read whole to the reply: who asks, for what.
 */
#ifndef PROVIDER_ENDPOINT_H
#define PROVIDER_ENDPOINT_H

#include <stdbool.h>

#include "tests/provider/reply.h"
#include "tests/provider/request.h"
#include "tests/provider/sigv4.h"

struct memo;

enum { SECRETS_MAX = 8 };

struct settings {
    const char *secrets[SECRETS_MAX]; /* keys that are let in; none: all are */
    size_t n_secrets;
    struct aws_account accounts[SECRETS_MAX]; /* that may sign requests to Bedrock */
    size_t n_accounts;
    const char *replay_dir; /* NULL: no replay */
};

/* Its key, wherever it is, is one that is let in. */
bool endpoint_lets_in(const struct settings *settings, const struct request *r);
/* True for /_sim/...: the tests' own questions, neither billed nor recorded. */
bool endpoint_is_control(const struct request *r);
/* Answers a control request. */
void endpoint_control(const struct request *r, struct reply *reply);
/* Answers any other; memo: of this thread. */
void endpoint_answer(const struct settings *settings, struct memo *memo, struct request *r,
                     struct reply *reply);

#endif
