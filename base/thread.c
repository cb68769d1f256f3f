#include "base/thread.h"

#include <string.h>

#include "base/log.h"

bool thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg)
{
    int error = pthread_create(out, NULL, run, arg);

    if (error != 0) {
        log_line(LOG_ERROR, "server", "could not start a thread", "name=%s reason=\"%s\"", name,
                 strerror(error));
        return false;
    }
    pthread_setname_np(*out, name);
    return true;
}

void thread_cond_init(pthread_cond_t *out)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(out, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct timespec thread_after_ms(int ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}
