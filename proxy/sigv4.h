/*
 * sigv4.h - signs a request for AWS: Signature Version 4 in its Authorization header.
 *
 * Pure: takes what is signed, gives the header's value.  It does not know what AWS is
 * called for, chooses no headers and reads no clock.  Written against AWS's published test
 * suite (tests/vectors/sigv4.json).
 */
#ifndef PROXY_SIGV4_H
#define PROXY_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/rc.h"
#include "base/strv.h"
#include "proxy/http1.h"

enum {
    SIGV4_DATE = 17,                 /* "20150830T123600Z", terminated */
    SIGV4_HEADERS_MAX = 64,          /* that are signed */
    SIGV4_PARAMETERS_MAX = 64,       /* of the query */
    SIGV4_CANONICAL_BYTES = 1 << 20, /* the request in its canonical form */
    SIGV4_SECRET_MAX_BYTES = 512,
};

struct sigv4_key {
    struct strv access_key_id;
    struct strv secret; /* at most SIGV4_SECRET_MAX_BYTES */
    struct strv region;
    struct strv service;
};

struct sigv4_request {
    struct strv method;
    /*
     * The path, which is encoded once here.  AWS encodes what stands on the wire once more
     * (all services but S3), so for a request to be sent it is the path as it is sent.
     */
    struct strv path;
    struct strv query; /* as sent; empty: none */
    /* The fields to sign, in any order and letter case; host and x-amz-date among them. */
    const struct http1_header *headers;
    size_t n_headers;
    const unsigned char *body_sha256; /* SHA256_BYTES */
    const char *body_word; /* as in x-amz-content-sha256, in that one's place; NULL: none */
    const char *date;                 /* of sigv4_date, as in x-amz-date */
};

/* The time of a request in the form of x-amz-date. */
void sigv4_date(int64_t wall_us, char out[SIGV4_DATE]);
/*
 * The value of Authorization, in the arena.  RC_LIMIT where a bound above is passed or the
 * arena is full.
 */
enum rc sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *request,
                   struct arena *arena, struct strv *out) RC_MUST;

/*
 * A body that is an event stream (body_word SIGV4_EVENTS): each message is signed by itself,
 * upon the one before, the first upon the head.
 */
#define SIGV4_EVENTS "STREAMING-AWS4-HMAC-SHA256-EVENTS"

struct sigv4_chain {
    char prior[SHA256_HEX];
};

/* authorization: of the head, as sigv4_sign gave it. */
void sigv4_chain_start(struct sigv4_chain *chain, struct strv authorization);
/*
 * The signature of the next message: header is its date in the coding of event streams, for
 * wall_us, payload what the envelope holds.  RC_LIMIT as above.
 */
enum rc sigv4_chain_sign(struct sigv4_chain *chain, const struct sigv4_key *key,
                         int64_t wall_us, struct strv header, struct strv payload,
                         unsigned char out[SHA256_BYTES]) RC_MUST;

#endif
