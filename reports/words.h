/*
 * words.h - which known word an unknown one was meant to be.
 */
#ifndef REPORTS_WORDS_H
#define REPORTS_WORDS_H

#include <stddef.h>

#include "base/strv.h"

enum { WORDS_MAX_BYTES = 40 }; /* longer words are like no other */

/*
 * Edits between two words of at most WORDS_MAX_BYTES: insert, delete, replace, swap
 * neighbours (optimal string alignment).
 */
size_t words_distance(struct strv a, struct strv b);

/*
 * The candidate that is closest to the word, NULL where none is near enough to be
 * meant: one edit, or a third of the word's length.  For messages.
 */
const char *words_nearest(struct strv word, const char *const *candidates, size_t n);

#endif
