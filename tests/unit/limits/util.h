/* util.h - limits, subjects and admissions for the tests of metering/limits. */
#ifndef TESTS_UNIT_LIMITS_UTIL_H
#define TESTS_UNIT_LIMITS_UTIL_H

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/digest.h"
#include "metering/limits/limit.h"
#include "tests/unit/unit.h"

/* A request: the admission with what it needs around it. */
struct request {
    struct arena arena;
    struct admission a;
    unsigned wakes;
};

static inline void count_wake(void *arg)
{
    struct request *r = arg;

    r->wakes++;
}

static inline struct limit_amounts amounts(uint64_t usd, uint64_t tokens, uint64_t requests,
                                           uint64_t concurrent)
{
    struct limit_amounts a = {{0}};

    a.n[UNIT_USD] = usd;
    a.n[UNIT_TOKENS] = tokens;
    a.n[UNIT_REQUESTS] = requests;
    a.n[UNIT_CONCURRENT] = concurrent;
    return a;
}

static inline void request_init(struct request *r, const struct limit_set *set,
                                const struct subject *subject, struct limit_amounts worst,
                                int64_t now_us)
{
    struct uuid id;

    memset(r, 0, sizeof(*r));
    arena_init(&r->arena, 1 << 20);
    digest_random(id.b, UUID_BYTES); /* also after a fork, which uuid7_make does not expect */
    id.b[6] = (unsigned char)(0x70 | (id.b[6] & 15)); /* of a request: work that goes on has version 8 */
    r->a.wake = count_wake;
    r->a.arg = r;
    assert_int_equal(admission_init(&r->a, set, subject, &worst, &id, now_us, &r->arena),
                     RC_OK);
}

static inline void request_fini(struct request *r)
{
    arena_release(&r->arena);
}

static inline struct subject subject_of(const char *team, const char *key)
{
    struct subject s = {0};

    s.dim[DIM_TEAM] = strv_z(team);
    s.dim[DIM_KEY] = strv_z(key);
    return s;
}

static inline struct limit_def def_of(const char *name, enum limit_unit unit, uint64_t limit,
                                      const char *window)
{
    struct limit_def d = {.name = name, .unit = unit, .limit = limit};

    if (window)
        assert_true(limit_window_parse(strv_z(window), &d.rolling, &d.period, &d.rolling_s));
    else
        d.period = PERIOD_TOTAL;
    return d;
}

static inline int64_t time_of(const char *text)
{
    int64_t us;

    assert_true(datetime_parse(strv_z(text), &us));
    return us;
}

/* The sum over a limit's counters. */
struct sum {
    unsigned limit;
    uint64_t spent, reserved;
    unsigned counters;
};

static inline void sum_counter(const struct limit_counter *c, void *arg)
{
    struct sum *sum = arg;

    if (c->limit != sum->limit)
        return;
    sum->spent += c->spent;
    sum->reserved += c->reserved;
    sum->counters++;
}

static inline struct sum sum_of(const struct limiter_options *o, struct limit_memory *m,
                                const struct limit_set *set, unsigned limit, int64_t now_us)
{
    struct sum sum = {.limit = limit};

    assert_int_equal(limit_read(o, m, set, now_us, sum_counter, &sum), RC_OK);
    return sum;
}

#endif
