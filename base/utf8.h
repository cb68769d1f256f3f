/*
 * utf8.h - checks on UTF-8 text (RFC 3629).
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>

#include "base/strv.h"

/*
 * Length of the well-formed sequence at the start of s, 1..4; 0 where there is
 * none (empty, overlong, surrogate, beyond U+10FFFF, cut short).
 */
size_t utf8_sequence(struct strv s);

/* Well-formed throughout; the empty text is. */
bool utf8_is_text(struct strv s);

/* Well-formed, and without C0 and C1 control characters, DEL, U+2028 and U+2029. */
bool utf8_is_printable(struct strv s);

#endif
