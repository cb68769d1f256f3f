/*
 * dict.h - from bytes to a number: the hash table of the ledger.
 *
 * Keys are copied and hashed with a secret of the process, since clients choose
 * them.  It holds what it is given; who fills it from a peer's texts clears it at
 * a named maximum.
 */
#ifndef METERING_LEDGER_DICT_H
#define METERING_LEDGER_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

enum { DICT_SHORT_BYTES = 16 }; /* keys of so many are kept in the table itself */

struct dict_slot {
    uint64_t hash; /* 0: free */
    size_t key_n;
    union {
        char *far;
        char near[DICT_SHORT_BYTES];
    } key;
    int64_t value;
};

struct dict {
    struct dict_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t n;
    size_t far_bytes; /* of keys that are not in the table itself */
};

void dict_init(struct dict *d);
void dict_release(struct dict *d);
/* What it holds in memory, in bytes. */
size_t dict_bytes(const struct dict *d);
void dict_clear(struct dict *d);
/* NULL where the key is not in it; valid until the next put, remove or clear. */
int64_t *dict_get(const struct dict *d, struct strv key);
/* Adds the key, or gives it a new value. */
void dict_put(struct dict *d, struct strv key, int64_t value);
/* The value of the key, which is added with the value 0 where it is not in it; as of dict_get. */
int64_t *dict_at(struct dict *d, struct strv key, bool *is_new);
/* False, and nothing changed, where it is in it already. */
bool dict_add(struct dict *d, struct strv key, int64_t value);
/* False where it is not in it. */
bool dict_remove(struct dict *d, struct strv key);
/* The same, and what it was. */
bool dict_take(struct dict *d, struct strv key, int64_t *value);
/* Walks: start with *at = 0; false at the end. The dict is not changed meanwhile. */
bool dict_next(const struct dict *d, size_t *at, struct strv *key, int64_t *value);

#endif
