#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t (*replaced)(void);

static int64_t read_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return replaced ? replaced() : read_us(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return replaced ? replaced() : read_us(CLOCK_MONOTONIC);
}

void clock_replace(int64_t (*source)(void))
{
    replaced = source;
}

bool clock_is_replaced(void)
{
    return replaced != NULL;
}
