#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "base/xalloc.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* What most need is in the first block; who needs more keeps a larger one. */
enum { FIRST_BYTES = 2048 - 64, BLOCK_BYTES = 4096 - 64 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

static void block_free(struct arena_block *block)
{
    UNPOISON(block->bytes, block->size);
    held_sub(sizeof(*block) + block->size);
    free(block);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;

    while (a->first) {
        struct arena_block *block = a->first;

        a->first = block->next;
        if (!keep && block->size <= BLOCK_BYTES)
            keep = block; /* the newest of them, which is no smaller */
        else
            block_free(block);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        POISON(keep->bytes, keep->size);
        a->first = keep;
    }
    a->used = 0;
}

void arena_release(struct arena *a)
{
    while (a->first) {
        struct arena_block *block = a->first;

        a->first = block->next;
        block_free(block);
    }
    a->used = 0;
}

void *arena_take(struct arena *a, size_t n)
{
    size_t need = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct arena_block *block = a->first;
    char *p;

    if (need < n || need > a->max - a->used)
        return NULL;
    if (!block || need > block->size - block->used) {
        size_t size = block || need > FIRST_BYTES ? BLOCK_BYTES : FIRST_BYTES;

        if (size < need)
            size = need;
        block = xmalloc(sizeof(*block) + size);
        held_add(sizeof(*block) + size);
        block->size = size;
        block->used = 0;
        block->next = a->first;
        a->first = block;
        POISON(block->bytes, block->size);
    }
    p = block->bytes + block->used;
    UNPOISON(p, need);
    block->used += need;
    a->used += need;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    char *p = arena_take(a, n);

    if (p)
        memset(p, 0, n);
    return p;
}

struct strv arena_strv(struct arena *a, struct strv s)
{
    char *copy;

    if (s.n == 0)
        return STRV("");
    copy = arena_take(a, s.n + 1);
    if (!copy)
        return STRV_NONE;
    *strv_copy(copy, s) = '\0';
    return strv_make(copy, s.n);
}
