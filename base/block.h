/*
 * block.h - short texts in one register of sixteen bytes, without a look at what stands around them.
 *
 * For tests that hold for each byte by itself: a loop by bytes over a name or a value costs more than
 * the rest of what is asked of it.  Where the processor has no such registers nothing is defined.
 */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#ifdef __SSE2__
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK_BYTES = 16, BLOCK_SHORT_MIN_BYTES = 4 };

static inline __m128i block_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/*
 * The n bytes at p, BLOCK_SHORT_MIN_BYTES to BLOCK_BYTES - 1: the first of them and behind these
 * the last, so that each is in it, some twice.
 */
static inline __m128i block_short(const char *p, size_t n)
{
    uint64_t first, last;
    uint32_t head, tail;

    if (n >= sizeof(first)) {
        memcpy(&first, p, sizeof(first));
        memcpy(&last, p + n - sizeof(last), sizeof(last));
        return _mm_set_epi64x((long long)last, (long long)first);
    }
    memcpy(&head, p, sizeof(head));
    memcpy(&tail, p + n - sizeof(tail), sizeof(tail));
    return _mm_set1_epi64x((long long)((uint64_t)tail << 32 | head));
}

/* Which of the n bytes stands at place i of block_short, the first of its bytes of some kind. */
static inline size_t block_place(size_t n, size_t i)
{
    size_t half = n >= sizeof(uint64_t) ? sizeof(uint64_t) : sizeof(uint32_t);

    return i < half ? i : i + n - 2 * half;
}
#endif

#endif
