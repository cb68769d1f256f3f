/*
 * jsonw.h - writes JSON into a buffer, piece by piece.
 *
 *   struct jsonw w;
 *   jsonw_start(&w, &buf);
 *   jsonw_object(&w); jsonw_key(&w, STRV("id")); jsonw_string(&w, id); jsonw_end(&w);
 *   rc = jsonw_finish(&w);
 *
 * Commas are placed by the writer.  The first failure (the buffer's maximum, a
 * depth over JSONW_DEPTH) sticks and is told by jsonw_finish.  Strings are
 * escaped to ASCII-safe UTF-8; bytes that are not UTF-8 become U+FFFD.
 */
#ifndef BASE_JSONW_H
#define BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { JSONW_DEPTH = 32 };

struct jsonw {
    struct buf *out;
    enum rc rc;
    int depth;
    char close[JSONW_DEPTH];
    bool comma[JSONW_DEPTH + 1]; /* a value stands before this place */
    bool after_key;
};

void jsonw_start(struct jsonw *w, struct buf *out);
void jsonw_object(struct jsonw *w);
void jsonw_array(struct jsonw *w);
/* Ends the innermost object or array. */
void jsonw_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, struct strv key);
void jsonw_string(struct jsonw *w, struct strv s);
void jsonw_int(struct jsonw *w, int64_t value);
void jsonw_uint(struct jsonw *w, uint64_t value);
void jsonw_bool(struct jsonw *w, bool value);
void jsonw_null(struct jsonw *w);
/* Text that already is one JSON value. */
void jsonw_raw(struct jsonw *w, struct strv json);
/* RC_OK, or what went wrong first. Every object and array must have been ended. */
enum rc jsonw_finish(struct jsonw *w) RC_MUST;

#endif
