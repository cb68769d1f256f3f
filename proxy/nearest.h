/*
 * nearest.h - the known word closest to one that is not known, for messages.
 */
#ifndef PROXY_NEAREST_H
#define PROXY_NEAREST_H

#include <stddef.h>

#include "base/strv.h"

enum { NEAREST_MAX_BYTES = 64 }; /* longer words are compared by their start */

/* Levenshtein's distance: insertions, deletions and replacements of bytes. */
size_t nearest_distance(struct strv a, struct strv b);

#endif
