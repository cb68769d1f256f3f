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
