/*
 * Leases: what is taken from them costs Redis nothing, the limit stays hard, and the sums are
 * exact whatever happens to the one who holds them.
 */
#include "tests/unit/limits/redis.h"

#include "metering/limits/limit_redis.h"

enum { WORST = 1000, RUNNING = 64 };

static struct redis_server server;
static struct event_base *base;
static struct zone *utc;
static int64_t shift_us; /* of Redis' clock, as the script is told */

static int64_t shifted_clock(void)
{
    return clock_wall_us() + shift_us;
}

static struct limiter_options options(void)
{
    return (struct limiter_options){
        .redis_url = server.url,
        .timeout_ms = 5000,
        .name_space = "lease",
        .attach = redis_attach,
        .loop = base,
        .on_failure = ON_FAILURE_REFUSE,
        .leases = true,
    };
}

static int set_up(void **state)
{
    (void)state;
    if (server.folder[0] == '\0') {
        print_message("redis-server is not installed: skipped\n");
        skip();
    }
    shift_us = 0;
    base = event_base_new();
    redis_ask(&server, "FLUSHALL");
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

static struct limit_set *budget_of(uint64_t limit)
{
    struct limit_def def = def_of("budget", UNIT_USD, limit, "month");

    return limit_set_new(&def, 1, utc);
}

static void turns(struct limiter *l, int ms)
{
    int64_t until = clock_mono_us() + ms * 1000;

    while (clock_mono_us() < until)
        turn(base, &l, 1);
}

static void until_decided(struct limiter *l, const struct request *r)
{
    for (int i = 0; i < 10000 && r->a.verdict == LIMIT_PENDING; i++)
        turn(base, &l, 1);
    assert_int_not_equal(r->a.verdict, LIMIT_PENDING);
}

static void until_settled(struct limiter *l)
{
    struct limiter_stats stats;

    for (int i = 0; i < 10000; i++) {
        turn(base, &l, 1);
        limiter_stats(l, &stats);
        if (stats.unsettled == 0)
            return;
    }
    fail_msg("%llu settlements are not acknowledged", (unsigned long long)stats.unsettled);
}

/* One request from beginning to end; tells whether it was admitted. */
static bool one(struct limiter *l, const struct limit_set *set, uint64_t worst, uint64_t actual)
{
    struct subject subject = subject_of("search", "k");
    struct limit_amounts took = amounts(actual, 0, 1, 0);
    struct request r;
    bool is_ok;

    request_init(&r, set, &subject, amounts(worst, 0, 1, 1), clock_wall_us());
    limiter_reserve(l, &r.a);
    until_decided(l, &r);
    is_ok = r.a.verdict == LIMIT_OK;
    limiter_settle(l, &r.a, &took);
    request_fini(&r);
    return is_ok;
}

/* So much traffic that there is a lease. */
static uint64_t warm_up(struct limiter *l, const struct limit_set *set)
{
    int64_t until = clock_mono_us() + 4 * LEASE_TICK_MS * 1000;
    struct limiter_stats stats;
    uint64_t spent = 0;

    do {
        assert_true(one(l, set, WORST, 300));
        spent += 300;
        limiter_stats(l, &stats);
        turn(base, &l, 1);
    } while (stats.leased == 0 && clock_mono_us() < until);
    assert_true(stats.leased > 0);
    return spent;
}

static void check_sums(const struct limit_set *set, uint64_t spent)
{
    struct limiter_options o = options();
    struct sum sum = sum_of(&o, NULL, set, 0, clock_wall_us());

    assert_int_equal(sum.spent, spent);
    assert_int_equal(sum.reserved, 0);
    assert_int_equal(redis_ask(&server, "HLEN {lease}:r"), 0);
    assert_int_equal(redis_ask(&server, "ZCARD {lease}:d"), 0);
}

/* Not all of the first requests ask Redis until a tick, nor those after a rest. */
static void test_soon(void **state)
{
    struct limit_set *set = budget_of(UINT64_C(1) << 40);
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    uint64_t spent = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct limiter_stats stats;
        uint64_t before, n = 0;

        limiter_stats(l, &stats);
        before = stats.leased;
        do {
            assert_true(one(l, set, WORST, 300));
            spent += 300;
            limiter_stats(l, &stats);
        } while (stats.leased == before && ++n < UINT64_C(10) * LEASE_START_USES);
        assert_in_range(n, LEASE_START_USES, UINT64_C(2) * LEASE_START_USES);
        turns(l, (LEASE_IDLE_TICKS + 3) * LEASE_TICK_MS);
        check_sums(set, spent);
    }
    limiter_free(l);
    limit_set_free(set);
}

/* Admitted in the same breath, and Redis hears of many requests at once. */
static void test_room(void **state)
{
    struct limit_set *set = budget_of(UINT64_C(1) << 40);
    struct subject subject = subject_of("search", "k");
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    struct limiter_stats before, after;
    uint64_t spent = warm_up(l, set);
    unsigned at_once = 0;

    (void)state;
    limiter_stats(l, &before);
    for (int i = 0; i < 1000; i++) {
        struct limit_amounts took = amounts(7, 0, 1, 0);
        struct request r;

        request_init(&r, set, &subject, amounts(WORST, 0, 1, 1), clock_wall_us());
        limiter_reserve(l, &r.a);
        at_once += r.a.verdict == LIMIT_OK;
        until_decided(l, &r);
        assert_int_equal(r.a.verdict, LIMIT_OK);
        limiter_settle(l, &r.a, &took);
        request_fini(&r);
        spent += 7;
        turn(base, &l, 1);
    }
    limiter_stats(l, &after);
    print_message("1000 requests: %u at once, %llu script calls\n", at_once,
                  (unsigned long long)(after.script_calls - before.script_calls));
    assert_true(at_once >= 950);
    assert_true(after.leased - before.leased == at_once);
    assert_true(after.script_calls - before.script_calls < 150);
    assert_true(after.unsettled > 0);
    /* told without any further request, and what is idle is given back */
    turns(l, 2 * LEASE_TICK_MS);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, spent);
    turns(l, (LEASE_IDLE_TICKS + 3) * LEASE_TICK_MS);
    check_sums(set, spent);
    limiter_free(l);
    limit_set_free(set);
}

/* limiter_drain waits for what runs, and gives back the rest at once. */
static void test_drain(void **state)
{
    struct limit_set *set = budget_of(UINT64_C(1) << 40);
    struct subject subject = subject_of("search", "k");
    struct limit_amounts took = amounts(11, 0, 1, 0);
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    uint64_t spent = warm_up(l, set);
    struct limiter_stats stats;
    struct request r;

    (void)state;
    request_init(&r, set, &subject, amounts(WORST, 0, 1, 1), clock_wall_us());
    limiter_reserve(l, &r.a);
    assert_int_equal(r.a.verdict, LIMIT_OK);
    limiter_drain(l);
    turns(l, 50);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).reserved, WORST);
    limiter_stats(l, &stats);
    assert_int_equal(stats.unsettled, 1);
    limiter_settle(l, &r.a, &took);
    request_fini(&r);
    until_settled(l);
    check_sums(set, spent + 11);
    limiter_free(l);
    limit_set_free(set);
}

/* With a limit that cannot be leased among them, a request reserves for itself in all. */
static void test_mixed(void **state)
{
    struct limit_def defs[] = {def_of("budget", UNIT_USD, UINT64_C(1) << 40, "month"),
                               def_of("parallel", UNIT_CONCURRENT, 1000, NULL)};
    struct limit_set *both = limit_set_new(defs, 2, utc), *roomy = limit_set_new(defs, 1, utc);
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    uint64_t spent = warm_up(l, roomy);
    struct limiter_stats before, after;

    (void)state;
    limiter_stats(l, &before);
    for (int i = 0; i < 50; i++)
        assert_true(one(l, i % 2 ? both : roomy, WORST, 5));
    limiter_stats(l, &after);
    assert_int_equal(after.leased - before.leased, 25);
    limiter_drain(l);
    until_settled(l);
    check_sums(roomy, spent + 50 * 5);
    assert_int_equal(sum_of(&o, NULL, both, 1, clock_wall_us()).reserved, 0);
    limiter_free(l);
    limit_set_free(both);
    limit_set_free(roomy);
}

/* A slice is never more than a part of what is left, and there is none near the limit. */
static void test_shrinks(void **state)
{
    enum { FIT = 1000, LATE = LEASE_SHARE * LEASE_LEAST_USES / 2 };
    struct limiter_options o = options();
    struct limit_set *set = budget_of(FIT * WORST);
    struct limiter *l = limiter_new(&o, NULL);
    uint64_t spent = 0, leased_late = 0;
    struct limiter_stats stats = {0};

    (void)state;
    while (one(l, set, WORST, WORST)) {
        uint64_t was = stats.leased;

        spent += WORST;
        turn(base, &l, 1);
        limiter_stats(l, &stats);
        if (FIT * WORST - spent < LATE * WORST)
            leased_late += stats.leased - was;
        if (stats.leased == 0 && spent < FIT / 4 * WORST)
            usleep(2000); /* time for leases to begin */
        if (spent / WORST % 8 == 0) {
            struct sum sum = sum_of(&o, NULL, set, 0, clock_wall_us());

            assert_true(sum.spent + sum.reserved <= FIT * WORST);
        }
    }
    print_message("%llu of %d were leased, %llu of the last %d\n",
                  (unsigned long long)stats.leased, FIT, (unsigned long long)leased_late, LATE);
    assert_true(stats.leased > FIT / 10);
    assert_int_equal(leased_late, 0);
    assert_int_equal(spent, FIT * WORST); /* nothing is left unspendable */
    limiter_drain(l);
    until_settled(l);
    check_sums(set, spent);
    limiter_free(l);
    limit_set_free(set);
}

/* A limit that was lowered, or a warning that refuses from a reload on, holds from the next request
 * on: what a lease was given before is not taken, and what is left can be. */
static void check_stricter(struct limit_def before, struct limit_def after, uint64_t room)
{
    struct limit_set *old = limit_set_new(&before, 1, utc), *set;
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    uint64_t spent = warm_up(l, old);

    after.limit = spent + room;
    set = limit_set_new(&after, 1, utc);
    while (room >= WORST) {
        assert_true(one(l, set, WORST, WORST));
        spent += WORST;
        room -= WORST;
    }
    assert_false(one(l, set, WORST, WORST));
    limiter_drain(l);
    until_settled(l);
    check_sums(set, spent);
    limiter_free(l);
    limit_set_free(old);
    limit_set_free(set);
}

static void test_stricter(void **state)
{
    struct limit_def roomy = def_of("budget", UNIT_USD, UINT64_C(1) << 40, "month"), warns = roomy;

    (void)state;
    warns.mode = LIMIT_WARN;
    for (uint64_t room = 0; room <= UINT64_C(2) * WORST; room += WORST / 2) {
        redis_ask(&server, "FLUSHALL");
        check_stricter(roomy, roomy, room);
        redis_ask(&server, "FLUSHALL");
        check_stricter(warns, roomy, room);
    }
}

/* The same where a raise ends by itself, and where the lease had just asked for more. */
static void test_raise_ends(void **state)
{
    struct limit_def def = def_of("budget", UNIT_USD, WORST, "month");
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    struct limit_set *set, *raised;

    (void)state;
    set = limit_set_new(&def, 1, utc);
    def.raised = UINT64_C(1) << 40;
    def.raised_until_us = clock_wall_us() + INT64_C(3600) * US_PER_SECOND;
    raised = limit_set_new(&def, 1, utc);
    (void)warm_up(l, raised);
    for (int i = 0; i < 300; i++) { /* some while the lease asks for more */
        for (int k = 0; k < i % 30; k++)
            assert_true(one(l, raised, WORST, 1));
        assert_false(one(l, set, WORST, WORST));
    }
    limiter_free(l);
    limit_set_free(set);
    limit_set_free(raised);
}

/* ---- many, to the end of one budget ---------------------------------------------------- */

enum { PROCESSES = 4, LIMITERS = 2, DENIALS = 40 };

struct told {
    uint64_t spent, admitted, leased;
};

static uint64_t random_of(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Asks until nothing has fitted for longer than any lease lives unused. */
static struct told spend_all(const struct limit_set *set, bool leases, uint64_t seed)
{
    static struct request running[LIMITERS][RUNNING];
    static bool is_used[LIMITERS][RUNNING];
    struct subject subject = subject_of("search", "k");
    struct limiter *l[LIMITERS];
    struct limiter_options o;
    struct told told = {0};
    int64_t admitted_us = clock_mono_us();
    int64_t patience_us = (LEASE_IDLE_TICKS + 4) * LEASE_TICK_MS * 1000;
    unsigned n_running = 0;

    base = event_base_new();
    o = options();
    o.leases = leases;
    for (int i = 0; i < LIMITERS; i++)
        l[i] = limiter_new(&o, NULL);
    while (n_running > 0 || clock_mono_us() - admitted_us < patience_us) {
        bool is_over = clock_mono_us() - admitted_us >= patience_us;

        for (int i = 0; i < LIMITERS; i++) {
            int k = (int)(random_of(&seed) % RUNNING);
            struct request *r = &running[i][k];

            if (!is_used[i][k] && !is_over) {
                request_init(r, set, &subject, amounts(1 + random_of(&seed) % WORST, 0, 1, 0),
                             clock_wall_us());
                limiter_reserve(l[i], &r->a);
                is_used[i][k] = true;
                n_running++;
            } else if (is_used[i][k] && r->a.verdict != LIMIT_PENDING) {
                struct limit_amounts took =
                    amounts(r->a.amounts.n[UNIT_USD] * (random_of(&seed) % 5) / 4, 0, 1, 0);

                assert_int_not_equal(r->a.verdict, LIMIT_UNAVAILABLE);
                if (r->a.verdict == LIMIT_OK) {
                    told.spent += took.n[UNIT_USD];
                    told.admitted++;
                    admitted_us = clock_mono_us();
                }
                limiter_settle(l[i], &r->a, &took);
                request_fini(r);
                is_used[i][k] = false;
                n_running--;
            }
        }
        if (random_of(&seed) % 4 == 0)
            turn(base, l, LIMITERS);
        for (int k = 0; is_over && k < RUNNING * LIMITERS; k++) {
            if (is_used[k / RUNNING][k % RUNNING]) {
                turn(base, l, LIMITERS);
                break;
            }
        }
    }
    for (int i = 0; i < LIMITERS; i++) {
        struct limiter_stats stats;

        limiter_stats(l[i], &stats);
        told.leased += stats.leased;
        limiter_drain(l[i]);
        until_settled(l[i]);
        limiter_free(l[i]);
    }
    return told;
}

static void race(bool leases)
{
    uint64_t limit = UINT64_C(6000) * WORST;
    struct limit_set *set = budget_of(limit);
    struct limiter_options o = options();
    struct told sum = {0};
    int pipes[2];

    assert_int_equal(pipe(pipes), 0);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            struct told told = spend_all(set, leases, UINT64_C(88172645463325252) + (uint64_t)i);

            _exit(write(pipes[1], &told, sizeof(told)) == sizeof(told) ? 0 : 1);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        struct told told;
        int status;

        assert_int_equal(read(pipes[0], &told, sizeof(told)), sizeof(told));
        sum.spent += told.spent;
        sum.admitted += told.admitted;
        sum.leased += told.leased;
        wait(&status);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    close(pipes[0]);
    close(pipes[1]);
    print_message("%d processes x %d limiters, leases %s: %llu admitted (%llu from leases), "
                  "%llu of %llu spent, overspent 0\n",
                  PROCESSES, LIMITERS, leases ? "on" : "off", (unsigned long long)sum.admitted,
                  (unsigned long long)sum.leased, (unsigned long long)sum.spent,
                  (unsigned long long)limit);
    assert_true(sum.spent <= limit);
    assert_true(limit - sum.spent < WORST); /* what is left has room for no largest request */
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, sum.spent);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).reserved, 0);
    assert_true(leases ? sum.leased > sum.admitted / 4 : sum.leased == 0);
    limit_set_free(set);
}

static void test_race_with(void **state)
{
    (void)state;
    race(true);
}

static void test_race_without(void **state)
{
    (void)state;
    race(false);
}

/* ---- what may happen to the one who holds them --------------------------------------------- */

/*
 * Ids are of version 7 (requests) or 4 (leases): those of version 8 are work that goes on, which
 * the next process of an owner leaves as it is.
 */
static void check_versions(void)
{
    static const char script[] =
        "local ids, n = redis.call('HKEYS', '{lease}:r'), 0 "
        "for _, id in ipairs(ids) do "
        "local version = math.floor(string.byte(id, 7) / 16) "
        "if version ~= 4 and version ~= 7 then n = n + 1 end "
        "end "
        "return #ids > 0 and n or -1";

    assert_int_equal(redis_ask(&server, "EVAL %s 0", script), 0);
}

/* It died: all that it held counts as spent from the deadline on, and nobody gets over the limit. */
static void test_dead(void **state)
{
    uint64_t limit = UINT64_C(900) * WORST, left;
    struct limit_set *set = budget_of(limit);
    struct limiter_options o = options();
    struct limiter *dead = limiter_new(&o, NULL), *l;
    uint64_t spent = warm_up(dead, set);
    struct sum before, after;

    (void)state;
    before = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_true(before.reserved > 0);
    check_versions();
    limiter_free(dead); /* without a drain: nothing is told */
    l = limiter_new(&o, NULL);
    limiter_redis(l)->clock = shifted_clock;
    shift_us = (LEASE_DEADLINE_S + 1) * US_PER_SECOND;
    assert_true(one(l, set, WORST, 0));
    until_settled(l);
    after = sum_of(&o, NULL, set, 0, clock_wall_us());
    assert_int_equal(after.reserved, 0);
    assert_int_equal(after.spent, before.spent + before.reserved);
    assert_true(after.spent >= spent);
    left = limit - after.spent;
    while (one(l, set, left < WORST ? left : WORST, left < WORST ? left : WORST)) {
        left -= left < WORST ? left : WORST;
        if (left == 0)
            break;
    }
    limiter_drain(l);
    until_settled(l);
    assert_int_equal(sum_of(&o, NULL, set, 0, clock_wall_us()).spent, limit);
    limiter_free(l);
    limit_set_free(set);
}

/* It was stopped past its deadline, and goes on: the next message makes the sums exact. */
static void test_late(void **state)
{
    struct limit_set *set = budget_of(UINT64_C(1) << 40);
    struct subject subject = subject_of("search", "k");
    struct limit_amounts took = amounts(33, 0, 1, 0);
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL), *other = limiter_new(&o, NULL);
    uint64_t spent = warm_up(l, set);
    struct request r;

    (void)state;
    limiter_redis(l)->clock = limiter_redis(other)->clock = shifted_clock;
    request_init(&r, set, &subject, amounts(WORST, 0, 1, 1), clock_wall_us());
    limiter_reserve(l, &r.a);
    assert_int_equal(r.a.verdict, LIMIT_OK);
    assert_non_null(r.a.claims[0].lease);
    shift_us = (LEASE_DEADLINE_S + 1) * US_PER_SECOND;
    assert_true(one(other, set, 1, 1)); /* sweeps what is past its deadline */
    until_settled(other);
    assert_true(sum_of(&o, NULL, set, 0, clock_wall_us()).spent >= spent + WORST + 1);
    limiter_settle(l, &r.a, &took);
    request_fini(&r);
    limiter_drain(l);
    until_settled(l);
    check_sums(set, spent + 33 + 1);
    limiter_free(l);
    limiter_free(other);
    limit_set_free(set);
}

/* Connections are cut all the time; each message counts once. */
static void test_cut_connections(void **state)
{
    struct limit_set *set = budget_of(UINT64_C(1) << 40);
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    struct limiter_stats stats;
    uint64_t spent = 0;

    (void)state;
    o.on_failure = ON_FAILURE_LOCAL;
    for (int i = 0; i < 1500; i++) {
        if (one(l, set, WORST, (uint64_t)i))
            spent += (uint64_t)i;
        if (i % 100 == 50)
            redis_ask(&server, "CLIENT KILL TYPE normal");
        turn(base, &l, 1);
    }
    limiter_stats(l, &stats);
    assert_true(stats.leased > 200 && stats.reconnects > 5);
    limiter_drain(l);
    until_settled(l);
    check_sums(set, spent);
    limiter_free(l);
    limit_set_free(set);
}

/* The part of the ledger that has so much is set anew, as a gateway does it. */
static void rebuild(const struct limiter_options *o, struct limiter *l,
                    const struct limit_set *set, uint64_t spent)
{
    struct limit_counter counter = {.scope = STRV(""), .spent = spent};
    struct subject subject = subject_of("search", "k");
    enum limit_part part;
    struct request r;

    request_init(&r, set, &subject, amounts(0, 0, 0, 0), clock_wall_us());
    counter.start_us = r.a.claims[0].start_us;
    counter.end_us = r.a.claims[0].end_us;
    request_fini(&r);
    assert_int_equal(limit_part_turn(o, &part), RC_OK);
    assert_int_not_equal(part, LIMIT_PART_READY);
    limiter_itemize(l);
    usleep(2000);
    assert_int_equal(limit_write(o, NULL, set, &counter, 1, clock_wall_us()), RC_OK);
}

/* Redis says so before a lease that changes in nothing would be told again. */
static void until_sum(struct limiter *l, const struct limit_set *set, uint64_t spent,
                      uint64_t reserved)
{
    int64_t until = clock_mono_us() + LEASE_RENEW_MS / 2 * 1000;
    struct limiter_options o = options();
    struct sum sum;

    do {
        turns(l, 20);
        sum = sum_of(&o, NULL, set, 0, clock_wall_us());
    } while ((sum.spent != spent || sum.reserved != reserved) && clock_mono_us() < until);
    assert_int_equal(sum.spent, spent);
    assert_int_equal(sum.reserved, reserved);
}

static void until_empty(struct limiter *l)
{
    struct limiter_stats stats;

    redis_ask(&server, "FLUSHALL");
    limiter_redis(l)->heartbeat_us = 0;
    do {
        turn(base, &l, 1);
        limiter_stats(l, &stats);
    } while (!stats.empty);
    turns(l, 2 * LEASE_TICK_MS);
}

/*
 * Redis loses everything while requests run on a lease: they are reserved again, and once they
 * have ended, one by one since sums are not told then, nothing of the lease is left.
 */
static void test_emptied(void **state)
{
    enum { N = 5 };
    struct limit_set *set = budget_of(UINT64_C(1) << 40);
    struct subject subject = subject_of("search", "k");
    struct limit_amounts took = amounts(40, 0, 1, 0);
    struct limiter_options o = options();
    struct request r[N];
    struct limiter *l;
    uint64_t spent;

    (void)state;
    o.await_rebuild = true;
    o.owner = "0123456789abcdef";
    o.start = 1;
    l = limiter_new(&o, NULL);
    rebuild(&o, l, set, 0);
    spent = warm_up(l, set);
    for (int i = 0; i < N; i++) {
        request_init(&r[i], set, &subject, amounts(WORST, 0, 1, 1), clock_wall_us());
        limiter_reserve(l, &r[i].a);
        assert_int_equal(r[i].a.verdict, LIMIT_OK);
        assert_true(r[i].a.leased);
    }
    until_sum(l, set, spent, N * WORST); /* what is idle was given back */
    until_empty(l);
    limiter_settle(l, &r[0].a, &took); /* before the rebuild, and in its figures */
    spent += 40;
    rebuild(&o, l, set, spent);
    until_sum(l, set, spent, (N - 1) * WORST);
    until_empty(l);
    rebuild(&o, l, set, spent);
    for (int i = 1; i < N; i++) /* after it, before Redis has heard that they run */
        limiter_settle(l, &r[i].a, &took);
    spent += (N - 1) * 40;
    until_sum(l, set, spent, 0);
    check_sums(set, spent);
    for (int i = 0; i < N; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
}

/* A lease is of one window: the next one begins with its own. */
static void test_window_edge(void **state)
{
    struct limit_def def = def_of("budget", UNIT_USD, 2000 * WORST, "hour");
    struct limit_set *set = limit_set_new(&def, 1, utc);
    struct subject subject = subject_of("search", "k");
    struct limiter_options o = options();
    struct limiter *l = limiter_new(&o, NULL);
    int64_t now = clock_wall_us(), hour = 3600 * US_PER_SECOND;
    int64_t first = now - now % hour + hour - 1, second = first + 1;
    uint64_t spent[2] = {0, 0};

    (void)state;
    for (int i = 0; i < 1200; i++) {
        struct limit_amounts took = amounts((uint64_t)(i % 900), 0, 1, 0);
        int w = i < 400 ? 0 : i < 800 ? i % 2 : 1;
        struct request r;

        request_init(&r, set, &subject, amounts(WORST, 0, 1, 1), w ? second : first);
        limiter_reserve(l, &r.a);
        until_decided(l, &r);
        assert_int_equal(r.a.verdict, LIMIT_OK);
        spent[w] += took.n[UNIT_USD];
        limiter_settle(l, &r.a, &took);
        request_fini(&r);
        turn(base, &l, 1);
    }
    limiter_drain(l);
    until_settled(l);
    assert_int_equal(sum_of(&o, NULL, set, 0, first).spent, spent[0]);
    assert_int_equal(sum_of(&o, NULL, set, 0, second).spent, spent[1]);
    assert_int_equal(sum_of(&o, NULL, set, 0, first).reserved, 0);
    assert_int_equal(sum_of(&o, NULL, set, 0, second).reserved, 0);
    limiter_free(l);
    limit_set_free(set);
}

/* Limits that came with a reload: what was settled against a lease is on one side of the time. */
static void test_by_item(void **state)
{
    struct limit_set *none = limit_set_new(NULL, 0, utc), *set = budget_of(UINT64_C(1) << 40);
    struct subject subject = subject_of("search", "k");
    struct limiter_options o = options();
    struct limit_amounts before = amounts(11, 0, 1, 0), after = amounts(400, 0, 1, 0);
    struct limit_counter counter = {0};
    struct limiter *l;
    struct request r[2];
    int64_t since_us;

    (void)state;
    o.owner = "00aa";
    o.start = 1;
    l = limiter_new(&o, NULL);
    warm_up(l, set);
    assert_int_equal(limit_set_follow(set, none, clock_wall_us(), 0), 1);
    limit_set_tell(set, LIMIT_KNOWN); /* an earlier set admitted */
    for (int i = 0; i < 2; i++) {
        request_init(&r[i], set, &subject, amounts(WORST, 0, 1, 1), clock_wall_us());
        counter.start_us = r[i].a.claims[0].start_us;
        counter.end_us = r[i].a.claims[0].end_us;
        limiter_reserve(l, &r[i].a);
        assert_true(r[i].a.leased);
    }
    limiter_by_item(l, true);
    limiter_settle(l, &r[0].a, &before);
    since_us = clock_wall_us() + 50000;
    counter.spent = 5;
    assert_int_equal(limit_part_since(&o, set, since_us), RC_OK);
    assert_int_equal(limit_part_from(&o, set, &counter, 1, since_us), RC_OK);
    while (clock_wall_us() < since_us)
        turn(base, &l, 1);
    limiter_settle(l, &r[1].a, &after);
    limiter_by_item(l, false);
    limiter_drain(l);
    until_settled(l);
    assert_int_equal(limit_part_add(&o, NULL, set, &counter, 1, since_us), RC_OK);
    check_sums(set, 5 + 400);
    for (int i = 0; i < 2; i++)
        request_fini(&r[i]);
    limiter_free(l);
    limit_set_free(set);
    limit_set_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_soon, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mixed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shrinks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stricter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_raise_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_race_with, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_race_without, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_emptied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_window_edge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_item, set_up, tear_down),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);
    utc = zone_open("UTC");
    redis_open(&server);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (server.folder[0])
        redis_close(&server);
    zone_close(utc);
    return failed;
}
