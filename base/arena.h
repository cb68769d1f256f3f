/*
 * arena.h - memory of one lifetime: many small allocations, one release.
 *
 * Holds the views and small objects of an exchange.  Total size is bounded by
 * max; what would go over it returns NULL, which callers must check since a peer
 * drives the sizes.  With AddressSanitizer a reset poisons the blocks.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/strv.h"

struct arena_block;

struct arena {
    struct arena_block *first; /* newest block */
    size_t used;               /* bytes handed out since the last reset */
    size_t max;
};

void arena_init(struct arena *a, size_t max);
/* Everything allocated is gone; keeps one block for the next use. */
void arena_reset(struct arena *a);
void arena_release(struct arena *a);

/* n bytes as they are, aligned for any type; NULL where the arena's maximum is reached. */
void *arena_take(struct arena *a, size_t n);
/* n zeroed bytes, aligned for any type; NULL where the arena's maximum is reached. */
void *arena_alloc(struct arena *a, size_t n);
/* A copy that lives as long as the arena (terminated, the NUL not counted); {NULL,0} when full. */
struct strv arena_strv(struct arena *a, struct strv s);

#endif
