/*
 * clock.c - a library to be loaded before all others (LD_PRELOAD), which shows a program a wall
 * clock, and a monotonic one, that are ahead of the system's or behind it.
 *
 * The file that TOLLGATE_CLOCK names is mapped by the program and by its test: two numbers of
 * microseconds (tests/integration/kit/clocks.py).  A test that moves the wall clock alone sets the
 * time; one that moves both lets time pass.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t wall_us, mono_us; /* added to what the system says */
};

static struct control *control;

__attribute__((constructor)) static void clock_start(void)
{
    const char *path = getenv("TOLLGATE_CLOCK");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        control = at;
}

#define NEXT(name) ((__typeof__(&(name)))next(#name))

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found)
        abort();
    return found;
}

static void move(struct timespec *t, int64_t us)
{
    int64_t ns = t->tv_nsec + us % 1000000 * 1000;

    t->tv_sec += us / 1000000 + (ns < 0 ? -1 : ns / 1000000000);
    t->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
}

static int64_t ahead_us(clockid_t id)
{
    if (!control)
        return 0;
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return atomic_load(&control->wall_us);
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        return atomic_load(&control->mono_us);
    default:
        return 0;
    }
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    static __typeof__(&clock_gettime) system_gettime;
    int code;

    if (!system_gettime)
        system_gettime = NEXT(clock_gettime);
    code = system_gettime(id, out);
    if (code == 0)
        move(out, ahead_us(id));
    return code;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    *out = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

/*
 * The system waits by its own clocks: until a moment that was read from the monotonic clock here, and
 * is told back.  A wait by the wall clock would be off by as much as that was set.
 */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until)
{
    struct timespec moved = *until;

    move(&moved, -ahead_us(CLOCK_MONOTONIC));
    return NEXT(pthread_cond_timedwait)(cond, lock, &moved);
}
