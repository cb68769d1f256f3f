#include "proxy/memory.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strv.h"

enum {
    PATH_BYTES = 4096,
    NUMBER_BYTES = 32,
    LARGE_BYTES = 1 << 20,  /* blocks from here on are pages of their own, given back at once */
    TRIM_BYTES = 8 << 20,   /* what malloc keeps at the end of a heap */
    SHARE = 2,              /* part of the machine's memory */
};

static const uint64_t LEAST_BYTES = UINT64_C(64) << 20;

void memory_leave(struct memory_share *s)
{
    atomic_fetch_sub_explicit(&s->of->told, s->told, memory_order_relaxed);
    s->told = 0;
}

/* The number in a file of the control group; UINT64_MAX where there is none ("max"). */
static uint64_t group_limit(const char *path)
{
    char line[NUMBER_BYTES];
    FILE *file = fopen(path, "re");
    uint64_t n = 0;
    bool found;

    if (!file)
        return UINT64_MAX;
    found = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    line[found ? strcspn(line, "\n") : 0] = '\0';
    found = found && strv_parse_u64(strv_z(line), UINT64_MAX, &n) && n > 0; /* or "max" */
    return found ? n : UINT64_MAX;
}

/* The least bound of this process's group and of those around it (version 2). */
static uint64_t groups_limit(void)
{
    static const char root[] = "/sys/fs/cgroup";
    char line[PATH_BYTES / 2], path[PATH_BYTES];
    uint64_t least = group_limit("/sys/fs/cgroup/memory.max");
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool found = false;

    if (!file)
        return least;
    while (!found && fgets(line, sizeof(line), file))
        found = strncmp(line, "0::/", 4) == 0;
    fclose(file);
    if (!found)
        return least;
    line[strcspn(line, "\n")] = '\0';
    for (char *group = line + 3, *end = group + strlen(group); end > group;
         end = strrchr(group, '/')) {
        uint64_t limit;

        *end = '\0';
        snprintf(path, sizeof(path), "%s%s/memory.max", root, group);
        limit = group_limit(path);
        least = limit < least ? limit : least;
    }
    return least;
}

uint64_t memory_preset(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
    uint64_t group = groups_limit();
    uint64_t half = (group < machine ? group : machine) / SHARE;

    return half > LEAST_BYTES ? half : LEAST_BYTES;
}

void memory_heap(uint64_t *used, uint64_t *kept)
{
    struct mallinfo2 info = mallinfo2();

    *used = info.uordblks + info.hblkhd;
    *kept = info.fordblks;
}

void memory_setup(void)
{
    /* Left alone, malloc raises the first to 32 MB and keeps what large bodies took. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

void memory_trim(void)
{
    (void)malloc_trim(0);
}

static bool is_calm(const struct memory_share *s, int64_t now_us, int64_t used_us)
{
    return s->ticked_us > 0 &&
           (used_us - s->used_us) * MEMORY_CALM_SHARE <= now_us - s->ticked_us &&
           (atomic_load(&s->of->asked) || s->most - s->lately >= MEMORY_CROWD_BYTES);
}

bool memory_due(struct memory_share *s, int64_t now_us, int64_t used_us)
{
    int64_t last = atomic_load(&s->of->trimmed_us);

    s->most = s->lately > s->most ? s->lately : s->most;
    s->calm = is_calm(s, now_us, used_us) ? s->calm + 1 : 0;
    s->lately = s->told;
    s->ticked_us = now_us;
    s->used_us = used_us;
    if (s->calm < MEMORY_CALM_TICKS || (last > 0 && now_us - last < MEMORY_TRIM_PAUSE_US) ||
        !atomic_compare_exchange_strong(&s->of->trimmed_us, &last, now_us))
        return false;
    s->most = s->told;
    s->calm = 0;
    atomic_store(&s->of->asked, false);
    return true;
}

void memory_tick(struct memory_share *s)
{
    struct timespec used;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0 &&
        memory_due(s, clock_mono_us(), (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000))
        memory_trim();
}
