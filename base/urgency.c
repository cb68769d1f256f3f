#include "base/urgency.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE_MOST 19

/* The first form of the kernel's struct sched_attr, which not every C library declares. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

static bool get(struct attributes *a)
{
    *a = (struct attributes){.size = sizeof(*a)};
    return syscall(SYS_sched_getattr, 0, a, sizeof(*a), 0) == 0 && a->policy == SCHED_OTHER;
}

static void set(struct attributes *a)
{
    a->size = sizeof(*a);
    (void)syscall(SYS_sched_setattr, 0, a, 0); /* a hint */
}

void urgency_prompt(void)
{
    struct attributes a;

    if (!get(&a))
        return;
    a.runtime_ns = URGENCY_TURN_NS;
    set(&a);
}

void urgency_patient(void)
{
    struct attributes a;

    if (!get(&a))
        return;
    a.policy = SCHED_BATCH;
    a.runtime_ns = 0;
    a.nice += URGENCY_PATIENT_NICE;
    if (a.nice > NICE_MOST)
        a.nice = NICE_MOST;
    set(&a);
}
