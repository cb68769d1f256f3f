#include "tests/unit/limits/redis.h"

#include "metering/limits/limit_redis.h"

static struct redis_server server;
static struct event_base *base;
static struct zone *utc;

static struct limiter_options options(void)
{
    return (struct limiter_options){
        .redis_url = server.url,
        .timeout_ms = 200,
        .name_space = "test",
        .attach = redis_attach,
        .loop = base,
    };
}

static void until_decided(struct limiter *l, const struct request *r)
{
    for (int i = 0; i < 5000 && r->a.verdict == LIMIT_PENDING; i++)
        turn(base, &l, 1);
    assert_int_not_equal(r->a.verdict, LIMIT_PENDING);
}

static void until_settled(struct limiter *l)
{
    struct limiter_stats stats;

    for (int i = 0; i < 8000; i++) {
        turn(base, &l, 1);
        limiter_stats(l, &stats);
        if (stats.unsettled == 0)
            return;
    }
    fail_msg("%llu operations are not acknowledged", (unsigned long long)stats.unsettled);
}

static int set_up(void **state)
{
    (void)state;
    base = event_base_new();
    if (server.folder[0] == '\0')
        return 0;
    if (server.pid == 0)
        redis_run(&server);
    redis_ask(&server, "FLUSHALL");
    redis_ask(&server, "SCRIPT FLUSH");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (base)
        event_base_free(base);
    base = NULL;
    return 0;
}

static void need_server(void)
{
    if (server.folder[0] == '\0') {
        print_message("redis-server is not installed: skipped\n");
        skip();
    }
}

static void test_reserve_settle(void **state)
{
    struct limit_def defs[] = {def_of("month", UNIT_USD, 100, "month"),
                               def_of("rpm", UNIT_REQUESTS, 3, "60s"),
                               def_of("parallel", UNIT_CONCURRENT, 2, NULL)};
    struct limit_set *set = limit_set_new(defs, 3, utc);
    struct limiter_options o = options();
    struct limiter *l;
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(25, 0, 1, 1);
    struct request r[3];
    struct sum sum;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    assert_non_null(l);
    for (int i = 0; i < 3; i++) {
        request_init(&r[i], set, &subject, amounts(40, 0, 1, 1), clock_wall_us());
        limiter_reserve(l, &r[i].a);
    }
    for (int i = 0; i < 3; i++)
        until_decided(l, &r[i]);
    assert_int_equal(r[0].a.verdict, LIMIT_OK);
    assert_int_equal(r[1].a.verdict, LIMIT_OK);
    assert_int_equal(r[2].a.verdict, LIMIT_DENIED);
    assert_int_equal(r[0].wakes, 1);
    assert_string_equal(r[2].a.denial.def->name, "month");
    assert_int_equal(r[2].a.denial.reserved, 80);
    assert_int_equal(r[2].a.denial.wanted, 40);
    assert_int_equal(r[2].a.denial.limit, 100);
    assert_int_equal(r[2].a.denial.resets_us, r[2].a.claims[0].end_us);
    limiter_settle(l, &r[0].a, &actual);
    limiter_settle(l, &r[0].a, &actual); /* once */
    limiter_cancel(l, &r[1].a);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 25);
    assert_int_equal(sum.reserved, 0);
    sum = sum_of(&o, NULL, set, 1, clock_wall_us());
    assert_int_equal(sum.spent, 1);
    assert_int_equal(sum.reserved, 0);
    sum = sum_of(&o, NULL, set, 2, clock_wall_us());
    assert_int_equal(sum.counters, 0);
    assert_int_equal(redis_ask(&server, "HLEN {test}:r"), 0);
    assert_int_equal(redis_ask(&server, "ZCARD {test}:d"), 0);
    for (int i = 0; i < 3; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/* All that a turn of the loop asks for is one script call, and all that it settles is another. */
static void test_one_call_a_turn(void **state)
{
    enum { N = 100 };
    struct limit_def defs[] = {def_of("month", UNIT_USD, UINT64_C(1) << 40, "month"),
                               def_of("rpm", UNIT_REQUESTS, N, "60s"),
                               def_of("parallel", UNIT_CONCURRENT, N, NULL)};
    struct limit_set *set = limit_set_new(defs, 3, utc);
    struct limit_amounts actual = amounts(25, 0, 1, 1);
    struct subject subject = subject_of("search", "k");
    struct limiter_stats before, between, after;
    struct limiter_options o = options();
    static struct request r[N];
    struct redis_engine *e;
    struct limiter *l;

    (void)state;
    need_server();
    o.timeout_ms = 5000;
    l = limiter_new(&o, NULL);
    e = limiter_redis(l);
    for (int i = 0; i < 5000 && (e->heartbeat_us == 0 || !list_is_empty(&e->batches)); i++)
        turn(base, &l, 1); /* it has been heard of, and Redis knows the script */
    limiter_stats(l, &before);
    for (int i = 0; i < N; i++) {
        request_init(&r[i], set, &subject, amounts(40, 0, 1, 1), clock_wall_us());
        limiter_reserve(l, &r[i].a);
    }
    until_decided(l, &r[N - 1]);
    limiter_stats(l, &between);
    for (int i = 0; i < N; i++) {
        assert_int_equal(r[i].a.verdict, LIMIT_OK);
        limiter_settle(l, &r[i].a, &actual);
    }
    until_settled(l);
    limiter_stats(l, &after);
    assert_int_equal(between.script_calls - before.script_calls, 1);
    assert_int_equal(after.script_calls - between.script_calls, 1);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, N * 25);
    for (int i = 0; i < N; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/* Everything that one worker has to do with Redis, for a request that is admitted. */
static struct limit_set *budget_of(uint64_t limit, enum on_failure on_failure)
{
    struct limit_def def = def_of("budget", UNIT_USD, limit, "total");

    def.on_failure = on_failure;
    return limit_set_new(&def, 1, utc);
}

enum { PROCESSES = 3, LIMITERS = 2, REQUESTS = 200, BUDGET_REQUESTS = 10 };

/* Asks for REQUESTS on each of LIMITERS and tells how many were admitted. */
static unsigned ask_many(struct limit_set *set)
{
    static struct request requests[LIMITERS][REQUESTS];
    struct limiter *limiters[LIMITERS];
    struct subject subject = subject_of("search", "k");
    struct limiter_options o;
    unsigned admitted = 0, decided = 0;

    base = event_base_new();
    o = options();
    o.timeout_ms = 20000;
    o.on_failure = ON_FAILURE_REFUSE;
    for (int l = 0; l < LIMITERS; l++)
        limiters[l] = limiter_new(&o, NULL);
    for (int i = 0; i < REQUESTS; i++) {
        for (int l = 0; l < LIMITERS; l++) {
            request_init(&requests[l][i], set, &subject, amounts(7, 0, 1, 0), clock_wall_us());
            limiter_reserve(limiters[l], &requests[l][i].a);
        }
        if (i % 3 == 0)
            turn(base, limiters, LIMITERS);
    }
    while (decided < LIMITERS * REQUESTS) {
        turn(base, limiters, LIMITERS);
        decided = admitted = 0;
        for (int l = 0; l < LIMITERS; l++) {
            for (int i = 0; i < REQUESTS; i++) {
                decided += requests[l][i].a.verdict != LIMIT_PENDING;
                admitted += requests[l][i].a.verdict == LIMIT_OK;
            }
        }
    }
    return admitted; /* the process ends with its reservations standing */
}

static void test_concurrent_processes(void **state)
{
    struct limit_set *set = budget_of(7 * BUDGET_REQUESTS + 6, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    unsigned total = 0;
    pid_t children[PROCESSES];

    (void)state;
    need_server();
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            _exit((int)ask_many(set));
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;

        waitpid(children[i], &status, 0);
        assert_true(WIFEXITED(status));
        total += (unsigned)WEXITSTATUS(status);
    }
    print_message("%d processes x %d limiters x %d requests: %u admitted\n", PROCESSES,
                  LIMITERS, REQUESTS, total);
    assert_int_equal(total, BUDGET_REQUESTS);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).reserved, 7 * BUDGET_REQUESTS);
    limit_set_free(set);
}

/* Denied by the last of several limits: nothing is reserved in the others. */
static void test_all_or_none(void **state)
{
    struct limit_def defs[] = {
        def_of("a", UNIT_USD, 1000, "day"), def_of("b", UNIT_REQUESTS, 5, "60s"),
        def_of("c", UNIT_CONCURRENT, 5, NULL), def_of("d", UNIT_TOKENS, 10, "hour")};
    struct limit_set *set = limit_set_new(defs, 4, utc);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct request r;
    struct limiter *l;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    request_init(&r, set, &subject, amounts(1, 11, 1, 1), clock_wall_us());
    limiter_reserve(l, &r.a);
    until_decided(l, &r);
    assert_int_equal(r.a.verdict, LIMIT_DENIED);
    assert_string_equal(r.a.denial.def->name, "d");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(sum_of(&o, NULL, set, i, clock_wall_us()).counters, 0);
    request_fini(&r);
    limiter_free(l);
    limit_set_free(set);
}

/* Redis stands still: admissions wait no longer than they may, and all is true afterwards. */
static void test_stopped(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(6, 0, 1, 0);
    struct limiter_stats stats;
    struct request r[30];
    struct limiter *l;
    unsigned admitted = 0;
    struct sum sum;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    for (int i = 0; i < 2; i++) { /* 20 of 100 reserved while Redis answers */
        request_init(&r[i], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &r[i].a);
        until_decided(l, &r[i]);
        admitted += r[i].a.verdict == LIMIT_OK;
    }
    assert_int_equal(admitted, 2);
    kill(server.pid, SIGSTOP);
    for (int i = 2; i < 30; i++) {
        int64_t started = clock_mono_us(), took;

        request_init(&r[i], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &r[i].a);
        until_decided(l, &r[i]);
        took = clock_mono_us() - started;
        assert_true(took < (o.timeout_ms + 150) * 1000);
        if (i > 2) /* known to be away: nobody waits for it any more */
            assert_true(took < 100000);
        admitted += r[i].a.verdict == LIMIT_OK;
    }
    /* The last known counters had room for 80 more, and this is the only process. */
    assert_int_equal(admitted, 10);
    assert_string_equal(r[29].a.denial.def->name, "budget");
    limiter_stats(l, &stats);
    assert_int_equal(stats.local_admissions, 8);
    assert_int_equal(stats.timeouts, 1);
    assert_false(stats.connected);
    for (int i = 0; i < 5; i++)
        limiter_settle(l, &r[i].a, &actual);
    kill(server.pid, SIGCONT);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 30);
    assert_int_equal(sum.reserved, 50); /* what was admitted meanwhile is known to Redis now */
    for (int i = 5; i < 30; i++)
        limiter_settle(l, &r[i].a, &actual);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 60);
    assert_int_equal(sum.reserved, 0);
    assert_int_equal(redis_ask(&server, "HLEN {test}:r"), 0);
    limiter_stats(l, &stats);
    assert_true(stats.connected);
    for (int i = 0; i < 30; i++)
        request_fini(&r[i]);
    /* Once more: what was counted here meanwhile is Redis' again, 40 are left. */
    kill(server.pid, SIGSTOP);
    admitted = 0;
    for (int i = 0; i < 30; i++) {
        request_init(&r[i], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &r[i].a);
        until_decided(l, &r[i]);
        admitted += r[i].a.verdict == LIMIT_OK;
    }
    assert_int_equal(admitted, 4);
    kill(server.pid, SIGCONT);
    for (int i = 0; i < 30; i++) {
        limiter_cancel(l, &r[i].a);
        request_fini(&r[i]);
    }
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 60);
    assert_int_equal(sum.reserved, 0);
    limiter_free(l);
    limit_set_free(set);
}

/* As above, but nobody waits any more: what Redis reserved late is returned. */
static void test_cancelled(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_REFUSE);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct request r[4];
    struct limiter *l;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    request_init(&r[0], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
    limiter_reserve(l, &r[0].a);
    until_decided(l, &r[0]);
    kill(server.pid, SIGSTOP);
    for (int i = 1; i < 4; i++) {
        request_init(&r[i], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &r[i].a);
    }
    limiter_cancel(l, &r[1].a); /* not sent */
    turn(base, &l, 1);
    limiter_cancel(l, &r[2].a); /* sent */
    until_decided(l, &r[3]);
    assert_int_equal(r[3].a.verdict, LIMIT_UNAVAILABLE);
    assert_int_equal(r[1].wakes + r[2].wakes, 0);
    kill(server.pid, SIGCONT);
    until_settled(l);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).reserved, 10);
    assert_int_equal(redis_ask(&server, "HLEN {test}:r"), 1);
    for (int i = 0; i < 4; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/* Redis dies and comes back empty; settlements are kept and reach it. */
static void test_killed(void **state)
{
    static const enum limit_verdict verdicts[] = {LIMIT_OK, LIMIT_UNAVAILABLE, LIMIT_OK};
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(4, 0, 1, 0);

    (void)state;
    need_server();
    for (int rule = ON_FAILURE_LOCAL; rule <= ON_FAILURE_ALLOW; rule++) {
        struct limit_set *set = budget_of(10, ON_FAILURE_LOCAL);
        struct request before, during, beyond;
        struct limiter *l;
        struct sum sum;

        redis_ask(&server, "FLUSHALL");
        o.on_failure = (enum on_failure)rule;
        l = limiter_new(&o, NULL);
        request_init(&before, set, &subject, amounts(4, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &before.a);
        until_decided(l, &before);
        redis_kill(&server);
        for (int i = 0; i < 20; i++)
            turn(base, &l, 1);
        request_init(&during, set, &subject, amounts(5, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &during.a);
        until_decided(l, &during);
        assert_int_equal(during.a.verdict, verdicts[rule]);
        request_init(&beyond, set, &subject, amounts(5, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &beyond.a);
        until_decided(l, &beyond);
        assert_int_equal(beyond.a.verdict, rule == ON_FAILURE_LOCAL    ? LIMIT_DENIED
                                           : rule == ON_FAILURE_REFUSE ? LIMIT_UNAVAILABLE
                                                                       : LIMIT_OK);
        limiter_settle(l, &before.a, &actual);
        limiter_settle(l, &during.a, &actual);
        redis_run(&server);
        until_settled(l);
        sum = sum_of(&o, NULL, set, 0, clock_wall_us());
        assert_int_equal(sum.spent, rule == ON_FAILURE_REFUSE ? 4 : 8);
        assert_int_equal(sum.reserved, rule == ON_FAILURE_ALLOW ? 5 : 0);
        request_fini(&before);
        request_fini(&during);
        request_fini(&beyond);
        limiter_free(l);
        limit_set_free(set);
    }
}

/* A batch is applied, but its reply is never read. */
static void lose_reply(struct limiter *l)
{
    struct redis_engine *e = limiter_redis(l);

    limiter_run(l);
    usleep(3000);
    link_fail(e, "cut by the test");
    e->link.retry_us = 0;
    e->link.wait_us = RETRY_FIRST_MS * 1000;
    for (int i = 0; i < 200 && !redis_engine_is_up(e); i++)
        turn(base, &l, 1);
}

/* Connections are cut at random moments: each settlement counts exactly once. */
static void test_cut_connections(void **state)
{
    enum { N = 400 };
    struct limit_set *set = budget_of(1000000, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    static struct request r[N];
    struct limiter_stats stats;
    struct limiter *l;
    uint64_t expected = 0;
    struct sum sum;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    for (int i = 0; i < N; i++) {
        request_init(&r[i], set, &subject, amounts(100, 0, 1, 0), clock_wall_us());
        limiter_reserve(l, &r[i].a);
        if (i % 3 == 0)
            limiter_run(l);
        if (i % 40 == 20)
            redis_ask(&server, "CLIENT KILL TYPE normal SKIPME yes");
        if (i % 100 == 50)
            redis_ask(&server, "SCRIPT FLUSH");
        if (i % 60 == 45) /* here some are admitted locally */
            lose_reply(l);
        if (i % 7 == 0)
            turn(base, &l, 1);
    }
    for (int i = 0; i < N; i++) {
        struct limit_amounts actual = amounts((uint64_t)i, 0, 1, 0);

        until_decided(l, &r[i]);
        assert_int_equal(r[i].a.verdict, LIMIT_OK);
        limiter_settle(l, &r[i].a, &actual);
        expected += (uint64_t)i;
        if (i % 30 == 10)
            lose_reply(l);
        if (i % 40 == 30)
            redis_ask(&server, "CLIENT KILL TYPE normal SKIPME yes");
        if (i % 5 == 0)
            turn(base, &l, 1);
    }
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    limiter_stats(l, &stats);
    print_message("%llu reconnects, %llu admitted locally\n",
                  (unsigned long long)stats.reconnects,
                  (unsigned long long)stats.local_admissions);
    assert_true(stats.reconnects > 20 && stats.local_admissions > 0);
    assert_int_equal(sum.spent, expected);
    assert_int_equal(sum.reserved, 0);
    assert_int_equal(stats.lost, 0);
    for (int i = 0; i < N; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/* An emptied Redis admits nothing until it was rebuilt, where that is asked for. */
static void test_await_rebuild(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_REFUSE);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(10, 0, 1, 0);
    struct limit_counter counter = {
        .scope = STRV(""), .start_us = INT64_MIN, .end_us = INT64_MAX, .spent = 85};
    struct limiter_stats stats;
    struct request r[4];
    struct limiter *l;
    struct sum sum;
    enum limit_part part;

    (void)state;
    need_server();
    o.await_rebuild = true;
    assert_int_equal(limit_part_turn(&o, &part), RC_OK); /* a new installation */
    assert_int_equal(part, LIMIT_PART_MISSING);
    assert_int_equal(limit_part_turn(&o, &part), RC_OK); /* again, after a failure */
    assert_int_equal(part, LIMIT_PART_MISSING);
    assert_int_equal(limit_write(&o, NULL, set, NULL, 0, 1), RC_OK);
    l = limiter_new(&o, NULL);
    for (int i = 0; i < 4; i++)
        request_init(&r[i], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
    limiter_reserve(l, &r[0].a);
    until_decided(l, &r[0]);
    assert_int_equal(r[0].a.verdict, LIMIT_OK);
    redis_ask(&server, "FLUSHALL");
    limiter_reserve(l, &r[1].a);
    until_decided(l, &r[1]);
    assert_int_equal(r[1].a.verdict, LIMIT_UNAVAILABLE);
    limiter_stats(l, &stats);
    assert_true(stats.empty);
    limiter_settle(l, &r[0].a, &actual); /* before the rebuild, and in its figures */
    assert_int_equal(limit_part_turn(&o, &part), RC_OK);
    assert_int_equal(part, LIMIT_PART_MISSING);
    usleep(2000);
    assert_int_equal(limit_write(&o, NULL, set, &counter, 1, clock_wall_us()), RC_OK);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 85);
    limiter_reserve(l, &r[2].a);
    until_decided(l, &r[2]);
    assert_int_equal(r[2].a.verdict, LIMIT_OK);
    limiter_reserve(l, &r[3].a);
    until_decided(l, &r[3]);
    assert_int_equal(r[3].a.verdict, LIMIT_DENIED);
    assert_int_equal(r[3].a.denial.spent, 85);
    limiter_stats(l, &stats);
    assert_false(stats.empty);
    assert_int_equal(limit_part_turn(&o, &part), RC_OK);
    assert_int_equal(part, LIMIT_PART_READY);
    for (int i = 0; i < 4; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/*
 * Two workers of one process, and Redis loses everything: the first to find it in order again
 * admits nothing before the other one has told what of its requests runs.
 */
static void test_workers_wait(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_REFUSE);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_memory *memory = limit_memory_new();
    struct limiter_stats stats;
    struct request r[3];
    struct limiter *l[2];

    (void)state;
    need_server();
    o.timeout_ms = 5000;
    o.await_rebuild = true;
    assert_int_equal(limit_write(&o, NULL, set, NULL, 0, 1), RC_OK);
    for (int i = 0; i < 3; i++)
        request_init(&r[i], set, &subject, amounts(40, 0, 1, 0), clock_wall_us());
    for (int i = 0; i < 2; i++) {
        l[i] = limiter_new(&o, memory);
        limiter_reserve(l[i], &r[i].a);
        until_decided(l[i], &r[i]);
        assert_int_equal(r[i].a.verdict, LIMIT_OK);
    }
    redis_ask(&server, "FLUSHALL");
    for (int i = 0; i < 2; i++) {
        limiter_redis(l[i])->heartbeat_us = 0;
        do {
            turn(base, &l[i], 1);
            limiter_stats(l[i], &stats);
        } while (!stats.empty);
        limiter_restore(l[i], &r[i].a);
    }
    assert_int_equal(limit_write(&o, NULL, set, NULL, 0, clock_wall_us()), RC_OK);
    until_settled(l[0]);
    limiter_reserve(l[0], &r[2].a);
    for (int i = 0; i < 50; i++) /* the other one does nothing meanwhile */
        turn(base, &l[0], 1);
    assert_int_equal(r[2].a.verdict, LIMIT_PENDING);
    for (int i = 0; i < 5000 && r[2].a.verdict == LIMIT_PENDING; i++)
        turn(base, l, 2);
    assert_int_equal(r[2].a.verdict, LIMIT_DENIED);
    assert_int_equal(r[2].a.denial.reserved, 80);
    for (int i = 0; i < 2; i++)
        limiter_free(l[i]);
    for (int i = 0; i < 3; i++)
        request_fini(&r[i]);
    limit_memory_free(memory);
    limit_set_free(set);
}

static int64_t script_clock_us;

static int64_t script_clock(void)
{
    return script_clock_us;
}

static enum rc nothing_taken(const struct uuid *id, struct limit_amounts *taken, void *arg)
{
    (void)id;
    (void)taken;
    (void)arg;
    return RC_OK;
}

/*
 * A replica takes over that lacks the last moments: what was reserved in them is reserved
 * again, and what was settled in them is given back soon, since nobody affirms it.
 */
static void test_lost_moments(void **state)
{
    /* What a replica has heard so far, and that it goes on from there. */
    static const char replicate[] =
        "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do "
        "redis.call('HSET', 'replica', k, redis.call('DUMP', k)) n = n + 1 end return n";
    static const char take_over[] =
        "local all = redis.call('HGETALL', 'replica') redis.call('FLUSHALL') "
        "for i = 1, #all, 2 do redis.call('RESTORE', all[i], 0, all[i + 1]) end return #all";
    struct limit_def defs[] = {def_of("budget", UNIT_USD, 1000, "total"),
                               def_of("parallel", UNIT_CONCURRENT, 10, NULL)};
    struct limit_set *set = limit_set_new(defs, 2, utc);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(3, 0, 1, 1);
    struct limit_counter counter = {
        .scope = STRV(""), .start_us = INT64_MIN, .end_us = INT64_MAX, .spent = 3};
    struct request over, live, lost, probe;
    struct limit_memory *memory = limit_memory_new();
    struct limiter *l;
    enum limit_part part;
    struct sum sum;

    (void)state;
    need_server();
    redis_ask(&server, "FLUSHALL");
    o.await_rebuild = true;
    o.owner = "0123456789abcdef";
    o.start = 7;
    assert_int_equal(limit_part_turn(&o, &part), RC_OK);
    assert_int_equal(limit_write(&o, NULL, set, NULL, 0, 1), RC_OK);
    l = limiter_new(&o, memory);
    script_clock_us = clock_wall_us();
    limiter_redis(l)->clock = script_clock;
    request_init(&over, set, &subject, amounts(10, 0, 1, 1), clock_wall_us());
    request_init(&live, set, &subject, amounts(20, 0, 1, 1), clock_wall_us());
    request_init(&lost, set, &subject, amounts(40, 0, 1, 1), clock_wall_us());
    request_init(&probe, set, &subject, amounts(0, 0, 0, 0), clock_wall_us());
    limiter_reserve(l, &over.a);
    limiter_reserve(l, &live.a);
    until_decided(l, &live);
    assert_true(redis_ask(&server, "EVAL %s 0", replicate) > 0);
    limiter_reserve(l, &lost.a);
    until_decided(l, &lost);
    limiter_settle(l, &over.a, &actual);
    until_settled(l);
    assert_true(redis_ask(&server, "EVAL %s 0", take_over) > 0);
    limiter_reserve(l, &probe.a); /* it is noticed */
    until_decided(l, &probe);
    assert_int_equal(limit_part_turn(&o, &part), RC_OK);
    assert_int_equal(part, LIMIT_PART_BEHIND);
    limiter_itemize(l);
    limiter_restore(l, &live.a);
    limiter_restore(l, &lost.a);
    assert_int_equal(limit_adopt(&o, nothing_taken, NULL), RC_OK);
    assert_int_equal(limit_write(&o, memory, set, &counter, 1, clock_wall_us()), RC_OK);
    /* Others, who may reserve from now on, find what runs here before this limiter's next call. */
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.reserved, 10 + 20 + 40);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 3);
    assert_int_equal(sum.reserved, 10 + 20 + 40);
    script_clock_us += (LIMIT_DOUBT_S + 60) * US_PER_SECOND;
    limiter_extend(l, &live.a);
    for (int i = 0; i < 1000 && sum.reserved != 20 + 40; i++) {
        turn(base, &l, 1);
        sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    }
    assert_int_equal(sum.spent, 3);
    assert_int_equal(sum.reserved, 20 + 40);
    assert_int_equal(sum_of(&o, NULL, set, 1, clock_wall_us()).reserved, 2);
    limiter_settle(l, &live.a, &actual);
    limiter_settle(l, &lost.a, &actual);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 9);
    assert_int_equal(sum.reserved, 0);
    request_fini(&over);
    request_fini(&live);
    request_fini(&lost);
    request_fini(&probe);
    limiter_free(l);
    limit_memory_free(memory);
    limit_set_free(set);
}

/* What was admitted locally, sent in vain and settled before the rebuild is in its figures. */
static void test_rebuild_and_replay(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(10, 0, 1, 0);
    struct limit_counter counter = {
        .scope = STRV(""), .start_us = INT64_MIN, .end_us = INT64_MAX, .spent = 10};
    struct limiter_stats stats;
    struct request r;
    struct limiter *l;
    struct sum sum;
    uint64_t calls;

    (void)state;
    need_server();
    o.await_rebuild = true;
    redis_ask(&server, "FLUSHALL");
    l = limiter_new(&o, NULL);
    request_init(&r, set, &subject, amounts(20, 0, 1, 0), clock_wall_us());
    limiter_reserve(l, &r.a);
    until_decided(l, &r);
    assert_int_equal(r.a.verdict, LIMIT_OK);
    assert_true(r.a.local);
    limiter_stats(l, &stats);
    calls = stats.script_calls;
    while (stats.script_calls < calls + 2) { /* asked again: its reservation is in a batch now */
        turn(base, &l, 1);
        limiter_stats(l, &stats);
    }
    limiter_settle(l, &r.a, &actual);
    usleep(2000);
    assert_int_equal(limit_write(&o, NULL, set, &counter, 1, clock_wall_us()), RC_OK);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 10);
    assert_int_equal(sum.reserved, 0);
    request_fini(&r);
    limiter_free(l);
    limit_set_free(set);
}

/* limit_look says of each counter what limit_read says of all. */
static void test_look(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_REFUSE);
    struct limiter_options o = options();
    struct limit_counter at[2] = {
        {.scope = STRV(""), .start_us = INT64_MIN, .end_us = INT64_MAX, .spent = 42}};
    struct limit_memory *memory = limit_memory_new();

    (void)state;
    need_server();
    redis_ask(&server, "FLUSHALL");
    for (int engine = 0; engine < 2; engine++) {
        o.redis_url = engine == 0 ? server.url : NULL;
        assert_int_equal(limit_write(&o, memory, set, at, 1, 0), RC_OK);
        at[1] = at[0];
        at[1].scope = STRV("never seen");
        at[0].spent = at[1].spent = at[0].reserved = at[1].reserved = 7;
        assert_int_equal(limit_look(&o, memory, set, at, 2), RC_OK);
        assert_int_equal(at[0].spent, 42);
        assert_int_equal(at[0].reserved, 0);
        assert_int_equal(at[1].spent, 0);
        assert_int_equal(at[1].reserved, 0);
        at[1].limit = 1;
        assert_int_equal(limit_look(&o, memory, set, at, 2), RC_BAD);
    }
    limit_memory_free(memory);
    limit_set_free(set);
}

/* Two processes: without Redis each takes half of what was left. */
static void test_shares(void **state)
{
    struct limit_set *set = budget_of(100, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limiter *l[2];
    struct limiter_stats stats;
    struct request first[2], r;
    unsigned admitted[2] = {0};

    (void)state;
    need_server();
    for (int i = 0; i < 2; i++)
        l[i] = limiter_new(&o, NULL); /* a memory of its own each: two processes */
    for (int i = 0; i < 2; i++) {
        request_init(&first[i], set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
        limiter_reserve(l[i], &first[i].a);
        until_decided(l[i], &first[i]);
    }
    for (int i = 0; i < 2; i++) {
        limiter_redis(l[i])->heartbeat_us = 0;
        for (int k = 0; k < 30; k++)
            turn(base, &l[i], 1);
        limiter_stats(l[i], &stats);
    }
    assert_int_equal(stats.nodes, 2);
    /* The other one's reservation is seen with the next that this one makes. */
    request_init(&r, set, &subject, amounts(0, 0, 1, 0), clock_wall_us());
    limiter_reserve(l[0], &r.a);
    until_decided(l[0], &r);
    request_fini(&r);
    atomic_store(&limiter_redis(l[0])->nodes, 2);
    redis_kill(&server);
    for (int k = 0; k < 30; k++)
        turn(base, l, 2);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 20; k++) {
            request_init(&r, set, &subject, amounts(10, 0, 1, 0), clock_wall_us());
            limiter_reserve(l[i], &r.a);
            until_decided(l[i], &r);
            admitted[i] += r.a.verdict == LIMIT_OK;
            limiter_settle(l[i], &r.a, &r.a.amounts);
            request_fini(&r);
        }
    }
    assert_int_equal(admitted[0], 4); /* half of 80 */
    assert_int_equal(admitted[1], 4);
    redis_run(&server);
    for (int i = 0; i < 2; i++) {
        until_settled(l[i]);
        limiter_settle(l[i], &first[i].a, &first[i].a.amounts);
        until_settled(l[i]);
        request_fini(&first[i]);
    }
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, 100);
    limiter_free(l[0]);
    limiter_free(l[1]);
    limit_set_free(set);
}

/* A process dies: what it reserved counts as spent, and a late settlement corrects. */
static void test_deadline(void **state)
{
    struct limit_def defs[] = {def_of("budget", UNIT_USD, 100, "total"),
                               def_of("parallel", UNIT_CONCURRENT, 10, NULL)};
    struct limit_set *set = limit_set_new(defs, 2, utc);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts actual = amounts(3, 0, 1, 1);
    struct request dead, live, probe;
    struct limiter *l;
    struct sum sum;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    script_clock_us = clock_wall_us();
    limiter_redis(l)->clock = script_clock;
    request_init(&dead, set, &subject, amounts(10, 0, 1, 1), clock_wall_us());
    request_init(&live, set, &subject, amounts(20, 0, 1, 1), clock_wall_us());
    request_init(&probe, set, &subject, amounts(0, 0, 0, 0), clock_wall_us());
    limiter_reserve(l, &dead.a);
    limiter_reserve(l, &live.a);
    until_decided(l, &live);
    script_clock_us += (LIMIT_DEADLINE_S - 1) * US_PER_SECOND;
    limiter_extend(l, &live.a);
    for (int i = 0; i < 20; i++)
        turn(base, &l, 1);
    script_clock_us += 2 * US_PER_SECOND;
    limiter_reserve(l, &probe.a);
    until_decided(l, &probe);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 10);
    assert_int_equal(sum.reserved, 20);
    assert_int_equal(sum_of(&o, NULL, set, 1, clock_wall_us()).reserved, 1);
    limiter_settle_id(l, &dead.a.id, &actual); /* by the process that came after */
    limiter_settle_id(l, &dead.a.id, &actual);
    limiter_settle(l, &live.a, &actual);
    until_settled(l);
    sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(sum.spent, 6);
    assert_int_equal(sum.reserved, 0);
    assert_int_equal(sum_of(&o, NULL, set, 1, clock_wall_us()).counters, 0);
    request_fini(&dead);
    request_fini(&live);
    request_fini(&probe);
    limiter_free(l);
    limit_set_free(set);
}

/* Sums beyond 2^53 are exact to the last unit. */
static void test_large(void **state)
{
    struct limit_set *set = budget_of(LIMIT_VALUE_MAX, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    struct limit_amounts most = amounts(LIMIT_VALUE_MAX - 1, 0, 1, 0);
    struct request r[4];
    struct limiter *l;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    request_init(&r[0], set, &subject, most, clock_wall_us());
    request_init(&r[1], set, &subject, amounts(2, 0, 1, 0), clock_wall_us());
    request_init(&r[2], set, &subject, amounts(1, 0, 1, 0), clock_wall_us());
    request_init(&r[3], set, &subject, amounts(0, 0, 1, 0), clock_wall_us());
    for (int i = 0; i < 4; i++)
        limiter_reserve(l, &r[i].a);
    until_decided(l, &r[3]);
    assert_int_equal(r[0].a.verdict, LIMIT_OK);
    assert_int_equal(r[1].a.verdict, LIMIT_DENIED);
    assert_int_equal(r[1].a.denial.reserved, LIMIT_VALUE_MAX - 1);
    assert_int_equal(r[2].a.verdict, LIMIT_OK);
    assert_int_equal(r[3].a.verdict, LIMIT_OK); /* a free model, though nothing is left */
    limiter_settle(l, &r[0].a, &most);
    limiter_cancel(l, &r[2].a);
    until_settled(l);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, LIMIT_VALUE_MAX - 1);
    for (int i = 0; i < 4; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/* How many reserve-and-settle pairs Redis takes when they come in batches; told, not judged. */
static void test_pace(void **state)
{
    enum { N = 4000, FLIGHT = 200 };
    struct limit_def defs[] = {def_of("a", UNIT_USD, UINT64_C(1) << 50, "month"),
                               def_of("b", UNIT_USD, UINT64_C(1) << 50, "day"),
                               def_of("c", UNIT_REQUESTS, UINT64_C(1) << 50, "60s"),
                               def_of("d", UNIT_TOKENS, UINT64_C(1) << 50, "60s")};
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    struct limiter_options o = options();
    struct limit_amounts actual = amounts(90, 900, 1, 1);
    struct limit_set *set;
    static struct request r[FLIGHT];
    struct limiter *l;
    int64_t started;
    double seconds, cpu[2];
    unsigned done = 0, next = 0;

    (void)state;
    need_server();
    for (int i = 1; i < 4; i++)
        defs[i].per[defs[i].n_per++] = STRV("key");
    set = limit_set_new(defs, 4, utc);
    l = limiter_new(&o, NULL);
    started = clock_mono_us();
    for (int k = 0; k < 2; k++) {
        char path[64], text[512] = "";
        unsigned long user = 0, system = 0;
        FILE *f;

        if (k == 1) {
            for (; next < FLIGHT; next++) {
                struct subject s = subject_of("t", keys[next % 8]);

                request_init(&r[next], set, &s, amounts(100, 1000, 1, 1), clock_wall_us());
                limiter_reserve(l, &r[next].a);
            }
            while (done < N) {
                turn(base, &l, 1);
                for (unsigned i = 0; i < FLIGHT; i++) {
                    struct subject s = subject_of("t", keys[i % 8]);

                    if (r[i].a.verdict == LIMIT_PENDING)
                        continue;
                    assert_int_equal(r[i].a.verdict, LIMIT_OK);
                    limiter_settle(l, &r[i].a, &actual);
                    request_fini(&r[i]);
                    done++;
                    request_init(&r[i], set, &s, amounts(100, 1000, 1, 1), clock_wall_us());
                    limiter_reserve(l, &r[i].a);
                }
            }
        }
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)server.pid);
        f = fopen(path, "r");
        assert_non_null(f);
        assert_non_null(fgets(text, sizeof(text), f));
        fclose(f);
        /* utime and stime: the 12th and 13th after the name */
        {
            char *at = strrchr(text, ')');

            for (int i = 0; at && i < 12; i++)
                at = strchr(at + 1, ' ');
            assert_non_null(at);
            user = strtoul(at + 1, &at, 10);
            system = strtoul(at + 1, NULL, 10);
        }
        cpu[k] = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    seconds = (double)(clock_mono_us() - started) / 1e6;
    print_message("%u pairs of 4 claims in %.2f s; redis %.1f us of CPU a pair\n", done,
                  seconds, (cpu[1] - cpu[0]) / done * 1e6);
    for (unsigned i = 0; i < FLIGHT; i++) {
        limiter_cancel(l, &r[i].a);
        request_fini(&r[i]);
    }
    until_settled(l);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, 90 * (uint64_t)done);
    limiter_free(l);
    limit_set_free(set);
}

static void test_urls(void **state)
{
    static const struct {
        const char *url;
        enum redis_kind kind;
        unsigned n; /* places; the last of them: */
        const char *host;
        int port;
        const char *path, *user, *password;
        int db;
        const char *master, *guard_user, *guard_password;
    } good[] = {
        {"redis://127.0.0.1:6379/0", 0, 1, "127.0.0.1", 6379, .db = 0},
        {"redis://localhost", 0, 1, "localhost", 6379, .db = 0},
        {"redis://localhost/", 0, 1, "localhost", 6379, .db = 0},
        {"redis://[::1]:7000/3", 0, 1, "::1", 7000, .db = 3},
        {"redis://[::1]", 0, 1, "::1", 6379, .db = 0},
        {"redis://:secret@h:1/12", 0, 1, "h", 1, .password = "secret", .db = 12},
        {"redis://me:p%40ss%2F@h", 0, 1, "h", 6379, .user = "me", .password = "p@ss/"},
        {"redis://me:p@ss@h", 0, 1, "h", 6379, .user = "me", .password = "p@ss"},
        {"unix:///run/redis.sock", 0, 0, NULL, 0, .path = "/run/redis.sock"},
        {"unix://:pw@/run/redis.sock?db=2", 0, 0, NULL, 0, .path = "/run/redis.sock",
         .password = "pw", .db = 2},
        {"redis+cluster://a", REDIS_CLUSTER, 1, "a", 6379, .db = 0},
        {"redis+cluster://u:p@a:1,[::1]:2,c:3", REDIS_CLUSTER, 3, "c", 3, .user = "u",
         .password = "p"},
        {"redis+cluster://a:1,[::1]:2/0", REDIS_CLUSTER, 2, "::1", 2, .db = 0},
        {"redis+sentinel://a/main", REDIS_SENTINEL, 1, "a", 26379, .master = "main"},
        {"redis+sentinel://:p@a:1,b:2,c/my%2Fmain/7?sentinel_user=u&sentinel_password=%26x",
         REDIS_SENTINEL, 3, "c", 26379, .password = "p", .db = 7, .master = "my/main",
         .guard_user = "u", .guard_password = "&x"},
    };
    static const char *const bad[] = {"",
                                      "127.0.0.1:6379",
                                      "http://h",
                                      "rediss://",
                                      "rediss:/h",
                                      "rediss+unix:///s",
                                      "redis+cluster:/h",
                                      "unixs:///s",
                                      "redis://",
                                      "redis://:6379",
                                      "redis://a,b",
                                      "redis+cluster://",
                                      "redis+cluster://a,,b",
                                      "redis+cluster://a:0",
                                      "redis+cluster://a/1",
                                      "redis+cluster://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a",
                                      "redis+sentinel://a",
                                      "redis+sentinel://a/",
                                      "redis+sentinel:///main",
                                      "redis+sentinel://a/main/x",
                                      "redis+sentinel://a/main?x=1",
                                      "redis+sentinel://a/main?sentinel_user=u",
                                      "redis://h:0",
                                      "redis://h:65536",
                                      "redis://h:x",
                                      "redis://h/x",
                                      "redis://h/-1",
                                      "redis://[::1",
                                      "redis://[::1]x",
                                      "redis://me@h",
                                      "redis://:%zz@h",
                                      "redis://:%0@h",
                                      "redis://:%00@h",
                                      "unix://relative",
                                      "unix:///s?x=1",
                                      "unix://"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct redis_target t;
        const char *wrong = redis_target_parse(good[i].url, &t);

        if (wrong)
            fail_msg("%s: %s", good[i].url, wrong);
        assert_int_equal(t.n_places, good[i].n);
        assert_int_equal(t.kind, good[i].kind);
        assert_true(strv_eq(strv_z(t.n_places ? t.places[t.n_places - 1].host : NULL),
                            strv_z(good[i].host)));
        assert_true(strv_eq(strv_z(t.master), strv_z(good[i].master)));
        assert_true(strv_eq(strv_z(t.guard_user), strv_z(good[i].guard_user)));
        assert_true(strv_eq(strv_z(t.guard_password), strv_z(good[i].guard_password)));
        assert_true(strv_eq(strv_z(t.path), strv_z(good[i].path)));
        assert_true(strv_eq(strv_z(t.user), strv_z(good[i].user)));
        assert_true(strv_eq(strv_z(t.password), strv_z(good[i].password)));
        assert_int_equal(t.n_places ? t.places[t.n_places - 1].port : 0, good[i].port);
        assert_int_equal(t.db, good[i].db);
        redis_target_release(&t);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct limiter_options o = {.redis_url = bad[i], .attach = redis_attach};

        if (!limiter_url_check(bad[i]))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_null(limiter_new(&o, NULL));
    }
}

/* TLS is wanted by the scheme alone, and is never left out. */
static void test_secure_urls(void **state)
{
    static const struct {
        const char *url;
        bool is_secure;
        enum redis_kind kind;
    } cases[] = {
        {"redis://h", false, REDIS_SINGLE},
        {"redis://rediss:p@h", false, REDIS_SINGLE},
        {"unix:///rediss", false, REDIS_SINGLE},
        {"redis+cluster://rediss", false, REDIS_CLUSTER},
        {"rediss://u:p@h:1/2", true, REDIS_SINGLE},
        {"rediss+cluster://a,b", true, REDIS_CLUSTER},
        {"rediss+sentinel://a,b/m", true, REDIS_SENTINEL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct limiter_options o = {.redis_url = cases[i].url, .attach = redis_attach};
        bool can = !cases[i].is_secure || secure_is_built();
        struct redis_target t;

        assert_int_equal(limiter_url_is_secure(cases[i].url), cases[i].is_secure);
        assert_int_equal(limiter_url_check(cases[i].url) == NULL, can);
        assert_int_equal(redis_target_parse(cases[i].url, &t) == NULL, can);
        if (can) {
            assert_int_equal(t.is_secure, cases[i].is_secure);
            assert_int_equal(t.kind, cases[i].kind);
        } else {
            assert_non_null(strstr(limiter_url_check(cases[i].url), "libhiredis_ssl"));
        }
        redis_target_release(&t);
        /* Without whoever makes its connections there is none. */
        if (cases[i].is_secure)
            assert_null(limiter_new(&o, NULL));
    }
}

static void test_moved(void **state)
{
    static const struct {
        const char *error, *host;
        int port;
    } cases[] = {
        {"MOVED 3999 127.0.0.1:6381", "127.0.0.1", 6381},
        {"MOVED 0 ::1:6381", "::1", 6381},
        {"MOVED 16383 :7", "asked", 7},
        {"MOVED 1 node-3.example:7000", "node-3.example", 7000},
        {"MOVED 1 h:0", NULL, 0},
        {"MOVED 1 h:65536", NULL, 0},
        {"MOVED 1 h", NULL, 0},
        {"MOVED 1", NULL, 0},
        {"MOVED ", NULL, 0},
        {"MOVED", NULL, 0},
        {"ASK 1 h:1", NULL, 0},
        {"ERR MOVED 1 h:1", NULL, 0},
    };
    struct redis_place asked, out;
    char long_host[REDIS_HOST_MAX_BYTES + 32];

    (void)state;
    assert_true(redis_place_set(&asked, STRV("asked"), 1));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool is_moved = redis_moved_parse(strv_z(cases[i].error), &asked, &out);

        assert_int_equal(is_moved, cases[i].host != NULL);
        if (is_moved) {
            assert_string_equal(out.host, cases[i].host);
            assert_int_equal(out.port, cases[i].port);
        }
    }
    for (size_t n = REDIS_HOST_MAX_BYTES; n <= REDIS_HOST_MAX_BYTES + 1; n++) {
        snprintf(long_host, sizeof(long_host), "MOVED 1 %0*d:1", (int)n, 7);
        assert_int_equal(redis_moved_parse(strv_z(long_host), &asked, &out),
                         n == REDIS_HOST_MAX_BYTES);
    }
}

/* A host name is looked up without holding up the loop; Redis is not there. */
static void test_unreachable(void **state)
{
    struct limit_set *set = budget_of(10, ON_FAILURE_LOCAL);
    struct limiter_options o = options();
    struct subject subject = subject_of("search", "k");
    static const char *const urls[] = {"redis://localhost:1", "redis://127.0.0.1:1",
                                       "redis://name.invalid:6379", "unix:///nowhere/s"};

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct sum sum = {0};
        struct limiter *l;
        struct request r;

        o.redis_url = urls[i];
        l = limiter_new(&o, NULL);
        assert_non_null(l);
        for (int k = 0; k < 3; k++) {
            request_init(&r, set, &subject, amounts(4, 0, 1, 0), clock_wall_us());
            limiter_reserve(l, &r.a);
            until_decided(l, &r);
            assert_int_equal(r.a.verdict, k < 2 ? LIMIT_OK : LIMIT_DENIED);
            limiter_settle(l, &r.a, &r.a.amounts);
            request_fini(&r);
            for (int turns = 0; turns < 100; turns++)
                turn(base, &l, 1);
        }
        assert_int_equal(limit_read(&o, NULL, set, clock_wall_us(), sum_counter, &sum), RC_IO);
        limiter_free(l);
    }
    limit_set_free(set);
}

struct claimed {
    struct work_claim claim;
    unsigned wakes;
};

static void on_claim(void *arg)
{
    struct claimed *c = arg;

    c->wakes++;
}

static void claim(struct limiter *l, struct claimed *c, unsigned char work, uint64_t from,
                  uint64_t to)
{
    *c = (struct claimed){.claim = {.work = {{work}}, .from = from, .to = to,
                                    .wake = on_claim, .arg = c}};
    limiter_claim(l, &c->claim);
}

/* Two processes: who counts what, in the order of asking. */
static void test_claims(void **state)
{
    static const struct {
        int who;
        unsigned char work;
        uint64_t from, to;
        enum work_verdict verdict;
        uint64_t known, others;
    } STEPS[] = {
        {0, 1, 0, 0, WORK_OTHERS, 0, 0}, /* asked: nobody has counted */
        {0, 1, 0, 1, WORK_MINE, 1, 0},
        {1, 1, 0, 1, WORK_OTHERS, 1, 1},
        {0, 1, 0, 1, WORK_MINE, 1, 0}, /* its own workers agree by themselves */
        {1, 1, 0, 0, WORK_OTHERS, 1, 1},
        {1, 1, 1, 20, WORK_MINE, 20, 0},
        {0, 1, 1, 30, WORK_OTHERS, 20, 20},
        {0, 1, 20, 30, WORK_MINE, 30, 0},
        {1, 2, 0, 7, WORK_MINE, 7, 0},
        {1, 1, 0, UINT64_C(1) << 53, WORK_OTHERS, 30, 1},
        /* The second of its workers is heard first: what others counted stays theirs. */
        {0, 4, 0, 100, WORK_MINE, 100, 0},
        {1, 4, 100, 120, WORK_MINE, 120, 0},
        {1, 4, 0, 100, WORK_OTHERS, 120, 100},
        {0, 5, 0, 30, WORK_MINE, 30, 0},
        {1, 5, 50, 80, WORK_MINE, 80, 0},
        {1, 5, 0, 50, WORK_OTHERS, 80, 30},
        {1, 5, 30, 50, WORK_MINE, 80, 0},
        {0, 5, 80, 90, WORK_MINE, 90, 0},
        {1, 5, 30, 50, WORK_MINE, 90, 0},
        {0, 5, 0, 30, WORK_MINE, 90, 0},
    };
    struct limiter_options o = options();
    struct limiter *l[2];
    struct claimed c;

    (void)state;
    need_server();
    for (int i = 0; i < 2; i++)
        l[i] = limiter_new(&o, NULL);
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        claim(l[STEPS[i].who], &c, STEPS[i].work, STEPS[i].from, STEPS[i].to);
        for (int t = 0; t < 5000 && c.claim.verdict == WORK_PENDING; t++)
            turn(base, &l[STEPS[i].who], 1);
        if (c.claim.verdict != STEPS[i].verdict || c.claim.known != STEPS[i].known ||
            (STEPS[i].verdict == WORK_OTHERS && c.claim.others != STEPS[i].others))
            fail_msg("step %zu: verdict %d, known %llu", i, c.claim.verdict,
                     (unsigned long long)c.claim.known);
        assert_int_equal(c.wakes, 1);
    }
    claim(l[0], &c, 3, 0, 1);
    limiter_claim_cancel(&c.claim);
    until_settled(l[0]); /* told all the same */
    assert_int_equal(c.wakes, 0);
    claim(l[1], &c, 3, 0, 1);
    until_settled(l[1]);
    assert_int_equal(c.claim.verdict, WORK_OTHERS);
    limiter_free(l[0]);
    limiter_free(l[1]);
}

/* Redis does not answer: the verdict comes in time, the claim later. */
static void test_claim_while_away(void **state)
{
    struct limiter_options o = options();
    struct limiter *l, *other;
    struct claimed c;
    int64_t began_us;

    (void)state;
    need_server();
    l = limiter_new(&o, NULL);
    claim(l, &c, 9, 0, 0);
    until_settled(l);
    kill(server.pid, SIGSTOP);
    claim(l, &c, 9, 0, 1);
    began_us = clock_mono_us();
    while (c.claim.verdict == WORK_PENDING)
        turn(base, &l, 1);
    assert_int_equal(c.claim.verdict, WORK_AWAY);
    assert_true(clock_mono_us() - began_us < 2000000);
    claim(l, &c, 9, 0, 0); /* known to be away: at once, and without a wake */
    assert_int_equal(c.claim.verdict, WORK_AWAY);
    assert_int_equal(c.wakes, 0);
    kill(server.pid, SIGCONT);
    until_settled(l);
    other = limiter_new(&o, NULL);
    claim(other, &c, 9, 0, 1);
    until_settled(other);
    assert_int_equal(c.claim.verdict, WORK_OTHERS);
    limiter_free(l);
    limiter_free(other);
}

static void group_down(void)
{
    if (server.folder[0])
        redis_close(&server);
    zone_close(utc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_call_a_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reserve_settle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_concurrent_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_or_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_await_rebuild, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_workers_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_moments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rebuild_and_replay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_claims, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_claim_while_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_urls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_secure_urls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_moved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreachable, set_up, tear_down),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);
    utc = zone_open("UTC");
    redis_open(&server);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    group_down();
    return failed;
}
