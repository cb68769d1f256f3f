/*
 * percent.h - percent-encoding (RFC 3986 section 2.1).
 *
 * Decodes only; "+" is an ordinary byte here, as in URIs and W3C baggage.
 */
#ifndef PROXY_PERCENT_H
#define PROXY_PERCENT_H

#include "base/arena.h"
#include "base/rc.h"
#include "base/strv.h"

/*
 * The bytes that text stands for, to out (size bytes, not terminated).  RC_BAD
 * where a '%' is not followed by two hex digits, RC_LIMIT where out is too small.
 */
enum rc percent_decode(struct strv text, char *out, size_t size, size_t *n) RC_MUST;
/* The same to an arena; text itself where it has no '%'. */
enum rc percent_decode_arena(struct strv text, struct arena *arena, struct strv *out) RC_MUST;

#endif
