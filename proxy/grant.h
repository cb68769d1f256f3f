/*
 * grant.h - what is shown to an authorization server for an access token (OAuth 2.0): a
 * signed statement of a Google service account (RFC 7523), a refresh token of a Google user, or
 * an application's secret at Microsoft Entra (RFC 6749 section 4.4).  And what it answers.
 *
 * Does not speak to anybody: tokens.h does.
 */
#ifndef PROXY_GRANT_H
#define PROXY_GRANT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/rc.h"
#include "proxy/config.h"

enum {
    GRANT_FILE_BYTES = 64 << 10, /* of a key file */
    GRANT_FORM_BYTES = 32 << 10,
    GRANT_TOKEN_BYTES = 16 << 10, /* a longer token is refused */
    GRANT_LIFE_S = 3600,          /* of a statement; Google's own bound */
    GRANT_LIFE_MAX_S = 86400,     /* a token is not believed to live longer */
    GRANT_WHY_BYTES = 256,
};

struct grant; /* holds secrets; wiped when freed */

/* Of an upstream that takes tokens.  NULL with a reason that names no secret. */
struct grant *grant_new(const struct upstream_config *up, char why[GRANT_WHY_BYTES]);
/* NULL is legal. */
void grant_free(struct grant *g);

/* Where to post, and with whose certificates; they live as long as the grant. */
const char *grant_url(const struct grant *g);
const char *grant_ca_file(const struct grant *g);
/* Two grants of the same fingerprint get the same tokens. */
const unsigned char *grant_fingerprint(const struct grant *g);
/* Appends the form to post at that time. RC_BAD where it cannot be signed; RC_LIMIT. */
enum rc grant_form(const struct grant *g, int64_t wall_us, struct buf *out) RC_MUST;

/*
 * Takes the token and its life in seconds (at least 1) from an answer: status 200 and JSON
 * with access_token and expires_in.  Else RC_BAD with a reason: the server's "error" word, if
 * it says one.  *token is the caller's to wipe and free.
 */
enum rc grant_answer(int status, struct strv body, char **token, int64_t *life_s,
                     char why[GRANT_WHY_BYTES]) RC_MUST;

#endif
