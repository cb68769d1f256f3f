/* thread.h - threads that have a name, and of which it is told when they cannot be. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

/*
 * Runs run(arg) in a thread of that name (at most 15 bytes) and with the caller's signal mask;
 * *out is its caller's, to be joined.  False, logged as an error with that name, where the system
 * gives none: *out is nothing then.
 */
bool thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg);

/*
 * A condition of which pthread_cond_timedwait waits by CLOCK_MONOTONIC, as thread_after_ms has it:
 * to set the system's time makes no wait longer or shorter.
 */
void thread_cond_init(pthread_cond_t *out);
/* So many milliseconds from now (0 or more), for pthread_cond_timedwait on such a condition. */
struct timespec thread_after_ms(int ms);

#endif
