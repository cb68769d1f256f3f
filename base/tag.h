/*
 * tag.h - what a request is for: the dimensions that records, limits and reports share.
 *
 * One table of names, so that `"per": ["team"]`, `--by team` and the record's
 * field are the same word everywhere.
 */
#ifndef BASE_TAG_H
#define BASE_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/strv.h"

enum dimension {
    DIM_TEAM = 0,
    DIM_FEATURE,
    DIM_ENVIRONMENT,
    DIM_CUSTOMER,
    DIM_USER, /* a keyed hash, never the caller's text */
    DIM_TASK,
    DIM_TASK_TYPE,
    DIM_KEY,
    DIM_MODEL,
    DIM_UPSTREAM,
    DIM_COUNT,
};

enum {
    STANDING_TAGS = DIM_TASK_TYPE + 1, /* dimensions that are tags; they come first */
    TAG_NAME_MAX_BYTES = 64,
    TAG_VALUE_MAX_BYTES = 256,
    FREE_TAGS_MAX = 16,
};

/* Where a standing tag's value came from. */
enum tag_source { TAG_SOURCE_NONE = 0, TAG_SOURCE_KEY, TAG_SOURCE_HEADER, TAG_SOURCE_DEFAULT };

struct tag {
    struct strv name;
    struct strv value;
};

/* Who and what for, complete: the subject of limits and the head of a record. */
struct subject {
    struct strv dim[DIM_COUNT]; /* empty: not given */
    enum tag_source source[STANDING_TAGS];
    unsigned n_free;
    /* n_free of them, names unique, in order of name; the others are never looked at. */
    struct tag free[FREE_TAGS_MAX];
};

static inline void subject_copy(struct subject *to, const struct subject *from)
{
    memcpy(to, from, offsetof(struct subject, free) + from->n_free * sizeof(from->free[0]));
}

/* "team", "feature", ... */
const char *dimension_name(enum dimension d);
struct strv dimension_view(enum dimension d);
/* False where no dimension has that name (it may then be a free tag's). */
bool dimension_parse(struct strv name, enum dimension *d);
/* "none", "key", "header", "default" */
const char *tag_source_name(enum tag_source source);
/* [a-z0-9_.-]{1,64} */
bool tag_name_is_valid(struct strv name);
/* 1..256 bytes of printable UTF-8: no control characters, no broken sequences. */
bool tag_value_is_valid(struct strv value);
/* The subject's value for a dimension or free tag name; empty where it has none. */
struct strv subject_value(const struct subject *s, struct strv name);

#endif
