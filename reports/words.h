/*
 * words.h - which known word an unknown one was meant to be, and what is said of wrong ones.
 */
#ifndef REPORTS_WORDS_H
#define REPORTS_WORDS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/rc.h"
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

/* Values of callers are cut in messages, and shown printable by whoever prints them. */
struct strv words_shown(struct strv value);
/* RC_BAD, with "WORD \"value\" WHY" in error; a full buffer only cuts the message. */
enum rc words_bad(struct buf *error, const char *word, struct strv value,
                  const char *why) RC_MUST;

#endif
