/*
 * route_memo.h - routes of paths that were asked for before.
 *
 * Applications call the same few endpoints again and again.  What protocol_route says depends
 * on protocol, method and path alone; where it views nothing of the path it is kept, and said
 * again of a request whose protocol, method and path are the very same bytes.
 *
 * One thread's.  It decides nothing: what it does not know it asks protocol_route.
 */
#ifndef METERING_USAGE_ROUTE_MEMO_H
#define METERING_USAGE_ROUTE_MEMO_H

#include "base/strv.h"
#include "metering/usage/protocol.h"

enum {
    ROUTE_MEMO_MAX = 8,           /* kept; the one kept longest goes first */
    ROUTE_MEMO_PATH_BYTES = 64,   /* longer paths are not kept */
    ROUTE_MEMO_METHOD_BYTES = 8,  /* nor longer methods */
};

struct route_memo;

struct route_memo *route_memo_new(void);
void route_memo_free(struct route_memo *memo); /* NULL is none */

/* As protocol_route. */
void route_memo_find(struct route_memo *memo, const struct protocol *p, struct strv method,
                     struct strv path, struct strv query, struct route *out);

/* Routes that were known, since route_memo_new. */
uint64_t route_memo_hits(const struct route_memo *memo);

#endif
