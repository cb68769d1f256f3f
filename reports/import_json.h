/*
 * import_json.h - JSON files of other systems, with exact numbers and places.
 *
 * A number keeps its text, since amounts of money come as JSON numbers and no double
 * holds them; every value keeps where it stood, for messages.  Depth and size are bounded.
 */
#ifndef REPORTS_IMPORT_JSON_H
#define REPORTS_IMPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/strv.h"

enum { IMPORT_JSON_DEPTH_MAX = 32 };

enum import_type {
    IMPORT_NULL = 0,
    IMPORT_FALSE,
    IMPORT_TRUE,
    IMPORT_NUMBER, /* text: as written */
    IMPORT_STRING, /* text: unescaped */
    IMPORT_ARRAY,
    IMPORT_OBJECT,
};

struct import_value {
    enum import_type type;
    struct strv key;  /* member of an object */
    struct strv text; /* of numbers and strings */
    size_t at;        /* offset in the file */
    struct import_value *child, *next;
};

/*
 * Reads the next value at *at and moves behind it; *out is NULL at the end of the text.
 * False with a static reason and *at at the fault; values live in the arena and borrow
 * from text.
 */
bool import_json(struct strv text, size_t *at, struct arena *arena, struct import_value **out,
                 const char **why);
/* The member of that name, or NULL. */
const struct import_value *import_member(const struct import_value *object, const char *name);
/* Line and column (from 1, in bytes) of an offset. */
void import_place(struct strv text, size_t at, unsigned long *line, unsigned long *column);

#endif
