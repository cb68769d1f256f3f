/*
 * xalloc.h - allocation for sizes that we choose: never returns NULL, aborts.
 *
 * Sizes that a peer or a file drives are bounded by a named maximum before they
 * come here.  Free with free().
 */
#ifndef BASE_XALLOC_H
#define BASE_XALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
/* All zero; of a large block only what is touched takes memory. */
void *xcalloc(size_t count, size_t size);
/*
 * The same in pages as wide as the system has: for some megabytes of which much is touched, by threads
 * that may wait for a page.  A page that is read before it is written is taken twice, the second time
 * with a word to the cores of all other threads: of wide ones there are few.
 */
void *xcalloc_wide(size_t count, size_t size);
/*
 * All zero, and all of it is touched at once, in wide pages too: a table that is met all over.
 */
void *xcalloc_table(size_t count, size_t size);
void *xrealloc(void *block, size_t size);
char *xstrdup(const char *text);
/* xrealloc of a table that grows to many megabytes, and is touched all over: in wide pages. */
void *xrealloc_table(void *block, size_t size);
/* At a multiple of align, a power of two and a multiple of a pointer's size. */
void *xaligned(size_t align, size_t size);
/* A terminated copy of n bytes. */
char *xmemdupz(const char *bytes, size_t n);
/* printf into a new string. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
