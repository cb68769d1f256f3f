#include <pthread.h>
#include <stdio.h>

#include "metering/limits/limit_int.h"
#include "tests/unit/limits/util.h"

static int64_t now_us;
static struct zone *zone;
static struct limit_memory *memory;
static struct limiter *limiter;

static int64_t fake_clock(void)
{
    return now_us;
}

static int set_up(void **state)
{
    struct limiter_options o = {0};

    (void)state;
    now_us = time_of("2026-11-21T12:00:00Z");
    clock_replace(fake_clock);
    zone = zone_open("Europe/Berlin");
    memory = limit_memory_new();
    limiter = limiter_new(&o, memory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    limiter_free(limiter);
    limit_memory_free(memory);
    zone_close(zone);
    clock_replace(NULL);
    return 0;
}

static struct sum sum_now(const struct limit_set *set, unsigned limit)
{
    struct limiter_options o = {0};

    return sum_of(&o, memory, set, limit, now_us);
}

static enum limit_verdict ask(const struct limit_set *set, struct request *r,
                              struct limit_amounts worst)
{
    struct subject s = subject_of("search", "k");

    request_init(r, set, &s, worst, now_us);
    limiter_reserve(limiter, &r->a);
    return r->a.verdict;
}

static void done(struct request *r, struct limit_amounts actual)
{
    limiter_settle(limiter, &r->a, &actual);
    request_fini(r);
}

/* One history, step by step. */
struct step {
    char what; /* r reserve, s settle, c cancel, e extend, w wait, i settle by id */
    int which; /* request, or seconds to wait */
    uint64_t amount;
    enum limit_verdict verdict;
    uint64_t spent, reserved; /* after it */
};

static void play(enum limit_unit unit, const char *window, const struct step *steps, size_t n)
{
    struct limit_def def = def_of("limit", unit, 100, window);
    struct limit_set *set = limit_set_new(&def, 1, zone);
    struct request r[10] = {0};
    struct sum sum;

    for (size_t i = 0; i < n; i++) {
        const struct step *s = &steps[i];
        struct request *q = s->what == 'w' ? NULL : &r[s->which];
        struct limit_amounts a = {{0}};

        a.n[unit] = s->amount;
        switch (s->what) {
        case 'r':
            request_fini(q);
            if (ask(set, q, a) != s->verdict)
                fail_msg("step %zu: verdict %d", i, q->a.verdict);
            break;
        case 's':
            limiter_settle(limiter, &q->a, &a);
            break;
        case 'i':
            limiter_settle_id(limiter, &q->a.id, &a);
            break;
        case 'c':
            limiter_cancel(limiter, &q->a);
            break;
        case 'e':
            limiter_extend(limiter, &q->a);
            break;
        default:
            now_us += s->which * US_PER_SECOND;
            break;
        }
        sum = sum_now(set, 0);
        if (sum.spent != s->spent || sum.reserved != s->reserved)
            fail_msg("step %zu: spent %llu reserved %llu", i, (unsigned long long)sum.spent,
                     (unsigned long long)sum.reserved);
    }
    for (int i = 0; i < 10; i++)
        request_fini(&r[i]);
    limit_set_free(set);
}

static void test_budget(void **state)
{
    static const struct step steps[] = {
        {'r', 0, 60, LIMIT_OK, 0, 60},
        {'r', 1, 41, LIMIT_DENIED, 0, 60},
        {'r', 1, 40, LIMIT_OK, 0, 100},
        {'r', 2, 1, LIMIT_DENIED, 0, 100},
        {'r', 2, 0, LIMIT_OK, 0, 100}, /* a free model is not blocked */
        {'s', 0, 10, 0, 10, 40},
        {'s', 0, 10, 0, 10, 40}, /* once */
        {'i', 0, 10, 0, 10, 40}, /* by id: unknown by now */
        {'c', 1, 0, 0, 10, 0},
        {'s', 1, 5, 0, 10, 0},
        {'r', 3, 90, LIMIT_OK, 10, 90},
        {'s', 3, 95, 0, 105, 0}, /* what was really spent counts, though over the limit */
        {'r', 4, 1, LIMIT_DENIED, 105, 0},
        {'s', 4, 1, 0, 105, 0}, /* denied: nothing to settle */
        {'r', 4, 0, LIMIT_OK, 105, 0},
        {'s', 4, 7, 0, 112, 0},
        {'s', 2, 0, 0, 112, 0},
        {'w', 12 * 3600, 0, 0, 0, 0}, /* the next day */
        {'r', 5, 100, LIMIT_OK, 0, 100},
        {'s', 5, 1, 0, 1, 0},
    };

    (void)state;
    play(UNIT_USD, "day", steps, sizeof(steps) / sizeof(steps[0]));
}

static void test_deadline(void **state)
{
    static const struct step steps[] = {
        {'r', 0, 30, LIMIT_OK, 0, 30},
        {'r', 1, 30, LIMIT_OK, 0, 60},
        {'w', LIMIT_DEADLINE_S - 1, 0, 0, 0, 60},
        {'e', 1, 0, 0, 0, 60},
        {'w', 1, 0, 0, 30, 30}, /* the one that nobody extended counts as spent */
        {'r', 2, 41, LIMIT_DENIED, 30, 30},
        {'e', 0, 0, 0, 30, 30},
        {'i', 0, 4, 0, 4, 30}, /* late, and corrected */
        {'i', 0, 4, 0, 4, 30},
        {'w', LIMIT_DEADLINE_S, 0, 0, 34, 0},
        {'s', 1, 40, 0, 44, 0},
        {'r', 3, 6, LIMIT_OK, 44, 6},
        {'w', LIMIT_EXPIRED_KEEP_S + LIMIT_DEADLINE_S, 0, 0, 50, 0},
        {'i', 3, 1, 0, 50, 0}, /* too late: it stays spent */
    };

    (void)state;
    play(UNIT_USD, "total", steps, sizeof(steps) / sizeof(steps[0]));
}

static void test_concurrent(void **state)
{
    static const struct step steps[] = {
        {'r', 0, 60, LIMIT_OK, 0, 60},
        {'r', 1, 60, LIMIT_DENIED, 0, 60},
        {'s', 0, 60, 0, 0, 0},
        {'r', 1, 60, LIMIT_OK, 0, 60},
        {'w', LIMIT_DEADLINE_S, 0, 0, 0, 0}, /* what is dead runs no more */
        {'s', 1, 60, 0, 0, 0},
    };
    size_t counters, reservations;

    (void)state;
    play(UNIT_CONCURRENT, NULL, steps, sizeof(steps) / sizeof(steps[0]));
    memory_size(memory, &counters, &reservations);
    assert_int_equal(counters, 0);
    assert_int_equal(reservations, 0);
}

static void test_rolling_steps(void **state)
{
    static const struct step steps[] = {
        {'r', 0, 100, LIMIT_OK, 0, 100},
        {'w', 30, 0, 0, 0, 100},
        {'s', 0, 40, 0, 40, 0}, /* stands where it was admitted */
        {'r', 1, 60, LIMIT_OK, 40, 60},
        {'w', 29, 0, 0, 40, 60},
        {'r', 2, 1, LIMIT_DENIED, 40, 60},
        {'w', 2, 0, 0, 0, 60}, /* the first has left */
        {'r', 2, 40, LIMIT_OK, 0, 100},
        {'w', 30, 0, 0, 0, 40}, /* a stream that runs on: its admission has left */
        {'s', 1, 60, 0, 0, 40},
    };

    (void)state;
    now_us -= now_us % (60 * US_PER_SECOND);
    play(UNIT_REQUESTS, "60s", steps, sizeof(steps) / sizeof(steps[0]));
}

/* In any span of the window's length never more than the limit was admitted. */
static void test_rolling_never_more(void **state)
{
    static const int64_t windows[] = {1, 7, 60, 3600};
    static int64_t admitted[100000];
    uint64_t random = 88172645463325252U;

    (void)state;
    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        struct limit_def def = {.name = "r",
                                .unit = UNIT_REQUESTS,
                                .limit = 20,
                                .rolling = true,
                                .rolling_s = windows[w]};
        struct limit_set *set = limit_set_new(&def, 1, zone);
        size_t n = 0, first = 0;
        int64_t span = windows[w] * US_PER_SECOND, waited = 0;

        for (int i = 0; i < 8000; i++) {
            struct request r;

            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            now_us += (int64_t)(random % (uint64_t)(span / 40));
            if (ask(set, &r, amounts(0, 0, 1, 0)) == LIMIT_OK) {
                admitted[n++] = now_us;
                while (admitted[first] <= now_us - span)
                    first++;
                assert_true(n - first <= 20);
            } else {
                assert_true(r.a.denial.resets_us > now_us);
                assert_true(r.a.denial.resets_us <= now_us + span + span / LIMIT_BUCKETS + 1);
                if (i % 50 == 0) { /* and at the time told there is room */
                    struct request again;

                    waited++;
                    now_us = r.a.denial.resets_us;
                    assert_int_equal(ask(set, &again, amounts(0, 0, 1, 0)), LIMIT_OK);
                    admitted[n++] = now_us;
                    done(&again, amounts(0, 0, 1, 0));
                }
            }
            done(&r, amounts(0, 0, 1, 0));
        }
        assert_true(n > 1000 && waited > 5);
        limit_set_free(set);
    }
}

/* All limits of a request or none, and the refusal says which and why. */
static void test_all_or_none(void **state)
{
    struct limit_def defs[] = {
        def_of("usd", UNIT_USD, 100, "month"), def_of("warn", UNIT_USD, 10, "day"),
        def_of("rpm", UNIT_REQUESTS, 2, "60s"), def_of("parallel", UNIT_CONCURRENT, 9, NULL)};
    struct limit_set *set;
    struct request r[4];

    (void)state;
    defs[1].mode = LIMIT_WARN;
    defs[2].per[defs[2].n_per++] = STRV("key");
    set = limit_set_new(defs, 4, zone);
    assert_int_equal(ask(set, &r[0], amounts(10, 0, 1, 1)), LIMIT_OK);
    assert_int_equal(r[0].a.warned, 0);
    assert_int_equal(ask(set, &r[1], amounts(10, 0, 1, 1)), LIMIT_OK);
    assert_int_equal(r[1].a.warned, 2);
    assert_int_equal(ask(set, &r[2], amounts(10, 0, 1, 1)), LIMIT_DENIED);
    assert_string_equal(r[2].a.denial.def->name, "rpm");
    assert_true(strv_eq(r[2].a.denial.scope, STRV("key=k")));
    assert_int_equal(r[2].a.denial.limit, 2);
    assert_int_equal(r[2].a.denial.reserved, 2);
    assert_int_equal(r[2].a.denial.wanted, 1);
    assert_true(r[2].a.denial.resets_us > now_us + 59 * US_PER_SECOND &&
                r[2].a.denial.resets_us <= now_us + 61 * US_PER_SECOND);
    assert_int_equal(sum_now(set, 0).reserved, 20);
    assert_int_equal(sum_now(set, 1).reserved, 20);
    assert_int_equal(sum_now(set, 3).reserved, 2);
    assert_int_equal(ask(set, &r[3], amounts(81, 0, 0, 1)), LIMIT_DENIED);
    assert_string_equal(r[3].a.denial.def->name, "usd");
    assert_int_equal(r[3].a.denial.resets_us, time_of("2026-11-30T23:00:00Z"));
    for (int i = 0; i < 4; i++)
        done(&r[i], amounts(1, 0, 1, 1));
    assert_int_equal(sum_now(set, 0).spent, 2);
    assert_int_equal(sum_now(set, 3).counters, 0);
    limit_set_free(set);
}

/* A window's end under load: what was reserved before it is settled in it. */
static void test_window_edges(void **state)
{
    static const struct {
        const char *zone, *window, *before, *after;
    } rows[] = {
        {"Europe/Berlin", "day", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"},
        {"Europe/Berlin", "day", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"},
        {"America/New_York", "month", "2024-03-01T04:59:59Z", "2024-03-01T05:00:00Z"},
        {"America/New_York", "week", "2026-11-02T04:59:59Z", "2026-11-02T05:00:00Z"},
        {"Asia/Kathmandu", "month", "2026-10-31T18:14:59Z", "2026-10-31T18:15:00Z"},
        {"Asia/Kolkata", "year", "2026-12-31T18:29:59Z", "2026-12-31T18:30:00Z"},
        {"UTC", "quarter", "2026-09-30T23:59:59Z", "2026-10-01T00:00:00Z"},
        {"UTC", "hour", "2026-09-30T22:59:59Z", "2026-09-30T23:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct zone *z = zone_open(rows[i].zone);
        struct limit_def def = def_of(rows[i].zone, UNIT_USD, 10, rows[i].window);
        struct limit_set *set = limit_set_new(&def, 1, z);
        struct request r[3];

        now_us = time_of(rows[i].before);
        assert_int_equal(ask(set, &r[0], amounts(10, 0, 0, 0)), LIMIT_OK);
        assert_int_equal(ask(set, &r[1], amounts(1, 0, 0, 0)), LIMIT_DENIED);
        assert_int_equal(r[1].a.denial.resets_us, time_of(rows[i].after));
        request_fini(&r[1]);
        now_us = time_of(rows[i].after);
        assert_int_equal(ask(set, &r[1], amounts(10, 0, 0, 0)), LIMIT_OK);
        assert_int_equal(ask(set, &r[2], amounts(1, 0, 0, 0)), LIMIT_DENIED);
        done(&r[0], amounts(3, 0, 0, 0));
        done(&r[1], amounts(4, 0, 0, 0));
        request_fini(&r[2]);
        assert_int_equal(sum_now(set, 0).spent, 4);
        now_us -= US_PER_SECOND;
        assert_int_equal(sum_now(set, 0).spent, 3);
        limit_set_free(set);
        zone_close(z);
    }
}

/* Sums stay exact to the maximum and stop there. */
static void test_large(void **state)
{
    struct limit_def defs[] = {def_of("most", UNIT_USD, UINT64_MAX, "total"),
                               def_of("warn", UNIT_TOKENS, 1, "total")};
    struct limit_set *set;
    struct request r[4];

    (void)state;
    defs[1].mode = LIMIT_WARN;
    set = limit_set_new(defs, 2, zone);
    assert_int_equal(ask(set, &r[0], amounts(LIMIT_VALUE_MAX - 1, UINT64_MAX, 0, 0)), LIMIT_OK);
    assert_int_equal(ask(set, &r[1], amounts(2, UINT64_MAX, 0, 0)), LIMIT_DENIED);
    assert_int_equal(ask(set, &r[2], amounts(UINT64_MAX, 0, 0, 0)), LIMIT_DENIED);
    assert_int_equal(ask(set, &r[3], amounts(1, UINT64_MAX, 0, 0)), LIMIT_OK);
    assert_int_equal(sum_now(set, 0).reserved, LIMIT_VALUE_MAX);
    assert_int_equal(sum_now(set, 1).reserved, LIMIT_VALUE_MAX);
    for (int i = 0; i < 4; i++)
        done(&r[i], amounts(UINT64_MAX, UINT64_MAX, 0, 0));
    assert_int_equal(sum_now(set, 0).spent, LIMIT_VALUE_MAX);
    limit_set_free(set);
}

/* Scopes that a client makes up: the memory that they take is given back, and bounded. */
static void test_bounded(void **state)
{
    struct limit_def defs[] = {def_of("hour", UNIT_USD, 1000, "hour"),
                               def_of("minute", UNIT_USD, 1000, "60s"),
                               def_of("parallel", UNIT_CONCURRENT, 1000, NULL)};
    struct limit_set *set;
    size_t counters, reservations;

    (void)state;
    for (int i = 0; i < 3; i++)
        defs[i].per[defs[i].n_per++] = STRV("task");
    set = limit_set_new(defs, 3, zone);
    for (int i = 0; i < 100000; i++) {
        struct subject s = {0};
        char task[32];
        struct request r;

        s.dim[DIM_TASK] = strv_make(task, (size_t)snprintf(task, sizeof(task), "task-%d", i));
        request_init(&r, set, &s, amounts(5, 0, 1, 1), now_us);
        limiter_reserve(limiter, &r.a);
        assert_int_equal(r.a.verdict, LIMIT_OK);
        done(&r, amounts(5, 0, 1, 1));
        now_us += 10 * US_PER_SECOND; /* some 9,000 hours-counters are kept for a day */
    }
    memory_size(memory, &counters, &reservations);
    assert_int_equal(reservations, 0);
    print_message("%zu counters after 100,000 scopes\n", counters);
    assert_true(counters < 20000);
    limit_set_free(set);
}

static void test_full(void **state)
{
    struct limit_def def = def_of("total", UNIT_USD, 1000, "total");
    struct limit_set *set;
    size_t counters, reservations;
    unsigned refused = 0;

    (void)state;
    def.per[def.n_per++] = STRV("task");
    set = limit_set_new(&def, 1, zone);
    for (uint64_t i = 0; i < LIMIT_COUNTERS_MAX + 50000 && refused < 20; i++) {
        struct subject s = {0};
        char task[32];
        struct request r;

        s.dim[DIM_TASK] = strv_make(
            task, (size_t)snprintf(task, sizeof(task), "%llu", (unsigned long long)i));
        request_init(&r, set, &s, amounts(5, 0, 1, 1), now_us);
        limiter_reserve(limiter, &r.a);
        refused += r.a.verdict == LIMIT_UNAVAILABLE;
        done(&r, amounts(5, 0, 1, 1));
    }
    assert_int_equal(refused, 20);
    memory_size(memory, &counters, &reservations);
    assert_true(counters <= LIMIT_COUNTERS_MAX);
    limit_set_free(set);
}

static void test_write(void **state)
{
    struct limit_def defs[] = {def_of("month", UNIT_USD, 100, "month"),
                               def_of("rolling", UNIT_USD, 100, "3600s")};
    struct limit_set *set = limit_set_new(defs, 2, zone);
    struct limiter_options o = {0};
    struct limit_counter c[2] = {{.limit = 0, .scope = STRV(""), .spent = 95},
                                 {.limit = 1, .scope = STRV(""), .spent = 7}};
    struct request r;

    (void)state;
    zone_period(zone, PERIOD_MONTH, now_us, &c[0].start_us, &c[0].end_us);
    assert_int_equal(ask(set, &r, amounts(3, 0, 0, 0)), LIMIT_OK);
    assert_int_equal(limit_write(&o, memory, set, c, 2, 0), RC_OK);
    assert_int_equal(sum_now(set, 0).spent, 95);
    assert_int_equal(sum_now(set, 0).reserved, 3);
    assert_int_equal(sum_now(set, 1).spent, 7);
    done(&r, amounts(2, 0, 0, 0));
    assert_int_equal(sum_now(set, 0).spent, 97);
    c[0].spent = 0; /* a reset */
    assert_int_equal(limit_write(&o, memory, set, c, 1, 0), RC_OK);
    assert_int_equal(sum_now(set, 0).spent, 0);
    now_us += 3700 * US_PER_SECOND;
    assert_int_equal(sum_now(set, 1).spent, 0);
    c[0].limit = 2;
    assert_int_equal(limit_write(&o, memory, set, c, 1, 0), RC_BAD);
    assert_int_equal(limit_write(&o, NULL, set, c, 1, 0), RC_STATE);
    assert_int_equal(limit_read(&o, NULL, set, now_us, sum_counter, NULL), RC_STATE);
    limit_set_free(set);
}

/* ---- threads ---------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 2000, ROOM = 10 };

struct worker {
    pthread_t thread;
    const struct limit_set *set;
    unsigned admitted;
    bool settles;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct limiter_options o = {0};
    struct limiter *l = limiter_new(&o, memory);
    struct limit_amounts actual = amounts(1, 0, 1, 1);

    for (int i = 0; i < EACH; i++) {
        struct subject s = subject_of("t", i % 2 ? "a" : "b");
        struct request r;

        request_init(&r, w->set, &s, amounts(7, 0, 1, 1), 1700000000000000);
        limiter_reserve(l, &r.a);
        w->admitted += r.a.verdict == LIMIT_OK;
        if (w->settles)
            limiter_settle(l, &r.a, &actual);
        request_fini(&r);
    }
    limiter_free(l);
    return NULL;
}

static void test_threads(void **state)
{
    struct limiter_options o = {0};

    (void)state;
    clock_replace(NULL);
    for (int settles = 0; settles < 2; settles++) {
        struct limit_def defs[] = {def_of(settles ? "s" : "n", UNIT_USD, 7 * ROOM + 6, "total"),
                                   def_of("rpm", UNIT_REQUESTS, 1000000, "60s"),
                                   def_of("parallel", UNIT_CONCURRENT, 1000, NULL)};
        struct worker workers[THREADS] = {0};
        unsigned admitted = 0;
        struct limit_set *set;

        defs[1].per[defs[1].n_per++] = STRV("key");
        if (settles)
            defs[0].limit = 1000000;
        set = limit_set_new(defs, 3, zone);
        for (int i = 0; i < THREADS; i++) {
            workers[i].set = set;
            workers[i].settles = settles;
            pthread_create(&workers[i].thread, NULL, work, &workers[i]);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(workers[i].thread, NULL);
            admitted += workers[i].admitted;
        }
        assert_int_equal(admitted, settles ? THREADS * EACH : ROOM);
        assert_int_equal(sum_of(&o, memory, set, 0, 1700000000000000).spent,
                         settles ? THREADS * EACH : 0);
        assert_int_equal(sum_of(&o, memory, set, 2, 1700000000000000).reserved, ROOM);
        limit_set_free(set);
    }
}

/* What Redis said later stands, whichever worker hears of it first. */
static void test_mirror_order(void **state)
{
    static const struct {
        int64_t at_us;
        uint64_t taken;
        enum limit_verdict verdict; /* of 30 out of 100 then */
    } said[] = {
        {2000000, 80, LIMIT_DENIED}, {1999999, 10, LIMIT_DENIED}, {2000000, 70, LIMIT_OK},
        {2000001, 71, LIMIT_DENIED}, {9000000, 90, LIMIT_DENIED}, {3999999, 10, LIMIT_OK},
    };
    struct limit_memory *m = limit_memory_new();
    struct claim_ref claim = {.key = STRV("k"),
                              .shape = {.kind = COUNTER_WINDOW, .end_us = INT64_MAX},
                              .unit = UNIT_USD,
                              .enforce = true,
                              .amount = 30,
                              .limit = 100};
    struct limit_amounts nothing = {.n = {0}};
    struct refusal refusal;
    unsigned warned;

    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        struct uuid id = {.b = {(unsigned char)(i + 1)}};

        memory_mirror(m, claim.key, &claim.shape, said[i].taken, said[i].at_us);
        assert_int_equal(memory_reserve(m, &id, &claim, 1, 1, &warned, &refusal),
                         said[i].verdict);
        if (said[i].verdict == LIMIT_OK)
            (void)memory_settle(m, &id, NULL, 0, &nothing, 0);
    }
    limit_memory_free(m);
}

/* What is left of a limit that Redis counts, as this process knows it. */
static uint64_t left_of(struct limit_memory *m, const struct claim_ref *like)
{
    struct claim_ref claim = *like;
    struct limit_amounts nothing = {.n = {0}};
    struct refusal refusal;
    unsigned warned;

    for (claim.amount = claim.limit; claim.amount > 0; claim.amount--) {
        struct uuid id = {.b = {0xff}};

        if (memory_reserve(m, &id, &claim, 1, 1, &warned, &refusal) == LIMIT_OK) {
            (void)memory_settle(m, &id, NULL, 0, &nothing, 0);
            return claim.amount;
        }
    }
    return 0;
}

static void take(struct limit_memory *m, unsigned char number, const struct claim_ref *claim)
{
    struct uuid id = {.b = {number}};
    struct refusal refusal;
    unsigned warned;

    assert_int_equal(memory_reserve(m, &id, claim, 1, 1, &warned, &refusal), LIMIT_OK);
}

/* Redis is told of a request before and after it ended: it took 20. */
static void tell(struct limit_memory *m, unsigned char number, const struct claim_ref *claim)
{
    struct limit_amounts took = {.n = {[UNIT_USD] = 20}};
    struct uuid id = {.b = {number}};

    memory_told(m, &id);
    if (memory_settle(m, &id, NULL, 0, &took, 0))
        memory_unspend(m, claim->key, 20, 0);
}

/* A new limit's counters go by what is known here until Redis has all of them. */
static void test_noted(void **state)
{
    struct claim_ref seen = {.key = STRV("seen"),
                             .shape = {.kind = COUNTER_WINDOW, .end_us = INT64_MAX},
                             .unit = UNIT_USD,
                             .enforce = true,
                             .is_new = true,
                             .amount = 30,
                             .limit = 100};
    struct claim_ref fresh = seen, old = seen;
    struct limit_memory *m = limit_memory_new();
    struct uuid work = {.b = {9}};

    (void)state;
    fresh.key = STRV("fresh"); /* nothing was noted of it */
    old.key = STRV("old");
    old.is_new = false;
    memory_mirror(m, seen.key, &seen.shape, 10, 1000000);
    limit_note_start(m);
    memory_note(m, &seen, 60);
    for (unsigned char i = 1; i < 4; i++) {
        const struct claim_ref *claims[] = {&seen, &fresh, &old};

        take(m, i, claims[i - 1]);
        memory_mirror(m, claims[i - 1]->key, &seen.shape, 5, 2000000); /* a part */
    }
    assert_int_equal(left_of(m, &seen), 100 - 60 - 30);
    assert_int_equal(left_of(m, &fresh), 100 - 30);
    assert_int_equal(left_of(m, &old), 100 - 5 - 30);
    tell(m, 1, &seen);
    tell(m, 2, &fresh);
    tell(m, 3, &old);
    assert_int_equal(left_of(m, &seen), 100 - 60 - 20);
    assert_int_equal(left_of(m, &fresh), 100 - 20);
    assert_int_equal(left_of(m, &old), 100 - 5); /* Redis says so: it has the 20 */
    memory_hold(m, &work, &fresh, 1, clock_mono_us());
    memory_told(m, &work); /* nobody settles it here */
    assert_int_equal(left_of(m, &fresh), 100 - 20 - 30);
    memory_mirror_whole(m, seen.key, &seen.shape, 90, 3000000);
    memory_mirror_whole(m, fresh.key, &seen.shape, 7, 3000000); /* before it was told the rest */
    assert_int_equal(left_of(m, &seen), 100 - 90);
    assert_int_equal(left_of(m, &fresh), 100 - 20 - 30);
    limit_note_stop(m);
    memory_mirror(m, seen.key, &seen.shape, 5, 2900000); /* late: of the part */
    assert_int_equal(left_of(m, &seen), 100 - 90);
    memory_mirror(m, seen.key, &seen.shape, 85, 3100000);
    memory_mirror(m, fresh.key, &seen.shape, 45, 3100000);
    assert_int_equal(left_of(m, &seen), 100 - 85);
    assert_int_equal(left_of(m, &fresh), 100 - 45);
    limit_memory_free(m);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_budget),
        TEST(test_deadline),
        TEST(test_concurrent),
        TEST(test_rolling_steps),
        TEST(test_rolling_never_more),
        TEST(test_all_or_none),
        TEST(test_window_edges),
        TEST(test_large),
        TEST(test_bounded),
        TEST(test_full),
        TEST(test_write),
        TEST(test_mirror_order),
        TEST(test_noted),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
