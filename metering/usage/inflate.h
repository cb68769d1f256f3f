/*
 * inflate.h - decompresses a body for reading alone: gzip, deflate, brotli, zstd.
 *
 * Output comes in pieces of at most INFLATE_PIECE bytes.  What grows beyond
 * INFLATE_FREE_BYTES + INFLATE_RATIO_MAX times its input is taken for a bomb and
 * given up.
 */
#ifndef METERING_USAGE_INFLATE_H
#define METERING_USAGE_INFLATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/strv.h"

enum {
    INFLATE_PIECE = 16 << 10,
    INFLATE_FREE_BYTES = 1 << 20,
    INFLATE_RATIO_MAX = 256,
    INFLATE_ZSTD_WINDOW_LOG = 23, /* 8 MiB: RFC 9659 */
};

struct inflater;

/* Told of each piece of output. */
typedef void inflate_fn(void *arg, struct strv piece);

/*
 * coding is the Content-Encoding's value.  *identity tells that there is nothing to
 * do; NULL then, and also where the coding is not known.
 */
struct inflater *inflate_new(struct strv coding, bool *identity);
void inflate_free(struct inflater *z);
/* RC_BAD where the bytes are broken, RC_LIMIT where they are a bomb.  The first failure sticks.
 */
enum rc inflate_feed(struct inflater *z, struct strv bytes, inflate_fn *fn, void *arg) RC_MUST;
/* All that was fed is whole: no stream, member or frame lacks its end. */
bool inflate_is_whole(const struct inflater *z);

/*
 * A body in one piece, appended to out, whose maximum bounds it.  RC_STATE where the coding is
 * not known, RC_BAD where it is broken or cut short, RC_LIMIT where it is a bomb or
 * more than out takes.
 */
enum rc inflate_body(struct strv coding, struct strv packed, struct buf *out) RC_MUST;

#endif
