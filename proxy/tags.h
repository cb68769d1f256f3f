/*
 * tags.h - what a request is for: from headers, key and configuration to a subject.
 *
 * Which value wins: a tag locked on the key, then the caller's word, then the
 * key's default, then the configuration's.  The caller's word, best first: the
 * tag's own X-Tollgate-* field, X-Tollgate-Tags, W3C baggage (tollgate.<tag>),
 * other gateways' names (`"aliases": true`), and for the task the trace id of
 * traceparent.  Two differing values of one rank are a fault, since neither is
 * certain.  Model and upstream of the subject are set by the proxy, which knows
 * them later.
 */
#ifndef PROXY_TAGS_H
#define PROXY_TAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/tag.h"
#include "metering/usage/protocol.h"
#include "proxy/config.h"
#include "proxy/http1.h"

enum {
    TAGS_MESSAGE_MAX_BYTES = 320,
    TAGS_ATTEMPT_MAX = 1000000,
    TAGS_HEADER_MAX_BYTES = 8192, /* of one list of tags: baggage's own bound */
    TAGS_USER_HEX_BYTES = 32,     /* length of a user's keyed hash as text */
};

struct request_tags {
    struct subject subject; /* DIM_KEY set; DIM_MODEL and DIM_UPSTREAM left empty */
    uint32_t attempt;       /* from 1; 0: not said */
};

/* Why a request's tags are refused. */
struct tags_refusal {
    enum refusal code; /* REFUSE_INVALID_TAG, _MISSING_TAG, _TAG_NOT_ALLOWED */
    char message[TAGS_MESSAGE_MAX_BYTES]; /* one sentence that names the tag, terminated */
};

/*
 * Fills *out; every string is a copy in arena or lives as long as config.  False
 * with *refusal set where a tag is invalid, missing or not allowed, or where the
 * arena is full (as an invalid tag).
 */
bool tags_read(const struct config *config, const struct key_config *key,
               const struct http1_head *head, struct arena *arena, struct request_tags *out,
               struct tags_refusal *refusal);

/* May a header of that name say a tag, or which attempt it is?  Its value decides, and whether
 * other gateways' names count (`"aliases"`). */
bool tags_is_said_by(struct strv name);

/* The keyed hash that stands for a user in every record: 32 hex characters, terminated. */
void tags_hash_user(const unsigned char salt[SHA256_BYTES], struct strv user,
                    char out[TAGS_USER_HEX_BYTES + 1]);

/* May the key use this model (any of its globs matches, or it has none)? An empty model is
 * allowed only where the key has no list. */
bool key_allows_model(const struct key_config *key, struct strv model);
/* May the key use this upstream? */
bool key_allows_upstream(const struct key_config *key, struct strv name);

#endif
