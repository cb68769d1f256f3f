#include "base/xalloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

/* From here on a block's pages are given back and come anew, zero, when they are touched. */
#define LARGE_BYTES (64u << 10)

/* A huge page, where there are any (x86-64, arm64 with pages of 4 KiB). */
#define WIDE_PAGE_BYTES ((size_t)2 << 20)

void *xmalloc(size_t size)
{
    void *block = malloc(size ? size : 1);

    ASSERT(block != NULL);
    return block;
}

/* Of a block of many such pages, those that lie wholly in it. */
static void want_wide(void *block, size_t bytes)
{
    size_t skip = (WIDE_PAGE_BYTES - (uintptr_t)block % WIDE_PAGE_BYTES) % WIDE_PAGE_BYTES;

    if (bytes >= 2 * WIDE_PAGE_BYTES)
        (void)madvise((char *)block + skip,
                      (bytes - skip) / WIDE_PAGE_BYTES * WIDE_PAGE_BYTES, MADV_HUGEPAGE);
}

/* Not calloc: where malloc has a hole for the block, that zeroes, and so touches, all of it. */
static void *large_zeroed(size_t bytes)
{
    char *block = xmalloc(bytes);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t front = (page - (uintptr_t)block % page) % page, whole = (bytes - front) / page * page;

    if (front + page > bytes ||
        madvise(block + front, whole, MADV_DONTNEED) != 0)
        return memset(block, 0, bytes);
    memset(block, 0, front);
    memset(block + front + whole, 0, bytes - front - whole);
    return block;
}

void *xcalloc(size_t count, size_t size)
{
    size_t bytes;

    ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    if (bytes >= LARGE_BYTES)
        return large_zeroed(bytes);
    /* malloc and memset: glibc's calloc passes its fast lists by. */
    return memset(xmalloc(bytes), 0, bytes);
}

void *xcalloc_wide(size_t count, size_t size)
{
    void *block = xcalloc(count, size);

    want_wide(block, count * size); /* which xcalloc has looked at */
    return block;
}

void *xcalloc_table(size_t count, size_t size)
{
    size_t bytes;
    void *block;

    ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    if (bytes < WIDE_PAGE_BYTES)
        return memset(xmalloc(bytes), 0, bytes);
    block = xaligned(WIDE_PAGE_BYTES, bytes);
    want_wide(block, bytes);
    return memset(block, 0, bytes);
}

void *xrealloc(void *block, size_t size)
{
    void *moved = realloc(block, size ? size : 1);

    ASSERT(moved != NULL);
    return moved;
}

void *xaligned(size_t align, size_t size)
{
    void *block = NULL;

    ASSERT(posix_memalign(&block, align, size) == 0);
    return block;
}

void *xrealloc_table(void *block, size_t size)
{
    void *moved = xrealloc(block, size);

    want_wide(moved, size);
    return moved;
}

char *xstrdup(const char *text)
{
    return xmemdupz(text, strlen(text));
}

char *xmemdupz(const char *bytes, size_t n)
{
    char *copy = xmalloc(n + 1);

    if (n > 0)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int n;

    va_start(args, format);
    n = vasprintf(&text, format, args);
    va_end(args);
    ASSERT(n >= 0);
    return text;
}
