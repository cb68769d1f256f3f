/*
 * encode.h - content codings for replies: gzip, deflate, br, zstd, flushed piece by piece.
 */
#ifndef PROVIDER_ENCODE_H
#define PROVIDER_ENCODE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/strv.h"

struct encoder;

/* NULL for a coding that is not known. */
struct encoder *encoder_new(struct strv coding);
void encoder_free(struct encoder *e);
/* Appends bytes to out, encoded and flushed, so that a reader can decode all so far. */
void encoder_put(struct encoder *e, struct strv bytes, bool last, struct buf *out);

#endif
