/*
 * check.h - assertions that stay on in release builds.
 *
 * A proxy that bills wrongly is worse than one that restarts.  Input from a
 * peer or a file must never be able to trigger an ASSERT.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

/*
 * Before a function that is called only where something went wrong or is rare: calls of it, and
 * what leads to nothing else, are kept out of the way of the rest.
 */
#define COLD __attribute__((cold))

/* Prints the failed condition with its place on standard error and aborts. */
COLD _Noreturn void check_failed(const char *condition, const char *file, int line);

/*
 * For a large local that is written before it is read, on a path that each request takes: spares
 * it the zeroes that release builds put into every local.
 */
#define UNCLEARED __attribute__((uninitialized))

/* Of one that is written once and compiled for each of a few constant arguments. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

#define ASSERT(condition) \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#endif
