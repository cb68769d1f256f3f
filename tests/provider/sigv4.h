/*
 * sigv4.h - checks the signature of a request as AWS would, with code of its own: a provider
 * that signed with the gateway's code would share its mistakes.
 */
#ifndef PROVIDER_SIGV4_H
#define PROVIDER_SIGV4_H

#include <stdbool.h>

#include "tests/provider/request.h"

/* A key of an account: "ID:SECRET:REGION". */
struct aws_account {
    const char *id, *secret, *region;
    size_t id_n, secret_n;
};

/* False where text is not of that form. */
bool aws_account_parse(const char *text, struct aws_account *out);
/*
 * The request is signed by the account for bedrock in its region, within five minutes, over
 * its host, its date and every x-amz field that it has.
 */
bool sigv4_is_good(const struct request *r, const struct aws_account *account);

#endif
