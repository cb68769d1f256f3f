/*
 * token_split.h - cuts text into the pieces that are merged apart from each other.
 *
 * The two published patterns (see vocab/README.md) as scanners: leftmost alternative
 * first, as a backtracking expression matches, but in one pass.  Text is well-formed
 * UTF-8; TOKEN_SPLIT_PAD bytes behind its end may be read (and mean nothing).
 */
#ifndef METERING_USAGE_TOKEN_SPLIT_H
#define METERING_USAGE_TOKEN_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

enum { TOKEN_SPLIT_PAD = 32 };

/*
 * The end of the piece that begins at p < end.  *open is set (never cleared) where text
 * behind `end` could move it.
 */
typedef const char *token_split_fn(const char *p, const char *end, bool *open);

token_split_fn token_split_o200k;
token_split_fn token_split_cl100k;

#endif
