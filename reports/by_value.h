/*
 * by_value.h - a hash table from the values of some fields to an object each.
 */
#ifndef REPORTS_BY_VALUE_H
#define REPORTS_BY_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum { BY_VALUE_MAX = 1 << 19 };

/* First member of the caller's object. */
struct valued {
    struct strv *value; /* copies, in one piece with the object */
    uint64_t hash;
};

struct by_value {
    size_t n_by, object_bytes;
    struct valued **at; /* in order of first appearance; the caller may reorder them at the end */
    size_t n;
    struct valued **slot;
    size_t n_slots; /* a power of two, at least twice n */
};

void by_value_init(struct by_value *t, size_t n_by, size_t object_bytes);
/* The object of these values, made (zeroed) where it is new; NULL beyond BY_VALUE_MAX. */
void *by_value_at(struct by_value *t, const struct strv *value);
/* The object of these values, or NULL: nothing is made. */
void *by_value_find(const struct by_value *t, const struct strv *value);
/* Frees the last object, once they are in the order of the caller: no more are made then. */
void by_value_drop(struct by_value *t);
/* Frees the objects too; what they own is the caller's. */
void by_value_release(struct by_value *t);

#endif
