/*
 * links.h - addresses in an answer that name the provider's own host lead to the gateway instead.
 *
 * Some providers' answers tell where the next one is, as a whole address ("results_url": the
 * result of a batch), and their SDKs go there with the client's key.  The body is fed as it
 * passes, split anywhere; state is bounded, whatever its size.  Only the strings of members that
 * the endpoint's table entry names are looked at, and only what begins with `from` is changed.
 * Every other byte passes as it is, also of what is no JSON.
 */
#ifndef METERING_USAGE_LINKS_H
#define METERING_USAGE_LINKS_H

#include <stdbool.h>

#include "base/buf.h"
#include "metering/usage/protocol.h"

enum {
    LINKS_MAX = 1000,      /* changed in one answer: a page of a list has no more */
    LINKS_TO_MAX_BYTES = 384, /* of `to` */
};

struct links;

/* Answers of this endpoint may hold such addresses. */
bool links_are_in(const struct endpoint *endpoint);
/*
 * For one answer of it.  from: "https://host[:port]/base", to: what stands in its place, both
 * printable ASCII without quote or backslash, neither ends in "/"; borrowed until links_free.
 * NULL where `to` is too long.
 */
struct links *links_new(const struct endpoint *endpoint, struct strv from, struct strv to);
/* NULL is legal. */
void links_free(struct links *links);
/* Appends what may pass; a few hundred bytes are kept back.  RC_LIMIT where pass is full. */
enum rc links_feed(struct links *links, struct strv bytes, struct buf *pass) RC_MUST;
/* The body is over: the rest. */
enum rc links_finish(struct links *links, struct buf *pass) RC_MUST;

#endif
