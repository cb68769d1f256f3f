/*
 * uuid7.h - UUID version 7 (RFC 9562 section 5.7): 48 bits of milliseconds, 12 of their fraction
 * (section 6.2, method 3), then random.  So ids are in order of time to the microsecond, and an
 * index of them grows at its end.
 */
#ifndef BASE_UUID7_H
#define BASE_UUID7_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"

enum { UUID_BYTES = 16, UUID_TEXT = 37 };

struct uuid {
    unsigned char b[UUID_BYTES];
};

/*
 * A new id for wall time us.  The random part comes from the kernel in blocks
 * kept per thread, so that ids of one thread cost no system call each.
 */
void uuid7_make(struct uuid *id, int64_t us);
/* The canonical lower-case text, terminated. */
void uuid_format(const struct uuid *id, char out[UUID_TEXT]);
bool uuid_parse(struct strv text, struct uuid *id);

#endif
