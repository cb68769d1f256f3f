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

enum {
    TOKEN_SPLIT_PAD = 64,
    TOKEN_SPLIT_MAX = 64, /* pieces that are cut at once */
    TOKEN_ROW_MAX = 3 * TOKEN_SPLIT_MAX, /* and counted */
};

/* The first two bytes of Han (U+4E00 to 9FBF) and Hangul (U+AC00 to D77F): letters without case. */
enum {
    TOKEN_HAN_FIRST = 0xe4b8,
    TOKEN_HAN_LAST = 0xe9be,
    TOKEN_HANGUL_FIRST = 0xeab0,
    TOKEN_HANGUL_LAST = 0xed9d,
};

/*
 * Cuts the text at p < end, at which a piece begins: the ends of one piece or some that follow
 * each other go to ends[TOKEN_SPLIT_MAX]; returns how many.  *open is set (never cleared)
 * where text behind `end` could move the end of a single one.
 */
typedef size_t token_split_fn(const char *p, const char *end, const char **ends, bool *open);

token_split_fn token_split_o200k;
token_split_fn token_split_cl100k;

#endif
