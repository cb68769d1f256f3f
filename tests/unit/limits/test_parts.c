/*
 * The parts of owners in counters of limits that a reload brings: what each owner's ledger says,
 * and what is settled from a time on, once, whatever is in Redis already and however late it comes.
 */
#include "tests/unit/limits/redis.h"

#include "metering/limits/limit_redis.h"

enum { AHEAD_US = 60000, N_LIMITS = 2, N_TEAMS = 3 };

static struct redis_server server;
static struct event_base *base;
static struct zone *utc;
static struct limit_set *set; /* a calendar and a rolling limit by team, both new */
static const char *const teams[N_TEAMS] = {"a", "b", "c"};

static struct limiter_options options(const char *owner)
{
    return (struct limiter_options){.redis_url = server.url,
                                    .timeout_ms = 5000,
                                    .name_space = "parts",
                                    .attach = redis_attach,
                                    .loop = base,
                                    .on_failure = ON_FAILURE_REFUSE,
                                    .owner = owner,
                                    .start = 1};
}

static int set_up(void **state)
{
    struct limit_def defs[N_LIMITS] = {def_of("day", UNIT_USD, 1 << 30, "total"),
                                       def_of("roll", UNIT_USD, 1 << 30, "3600s")};
    struct limit_set *none;

    (void)state;
    if (server.folder[0] == '\0') {
        print_message("redis-server is not installed: skipped\n");
        skip();
    }
    for (int i = 0; i < N_LIMITS; i++)
        defs[i].per[defs[i].n_per++] = STRV("team");
    none = limit_set_new(NULL, 0, utc);
    set = limit_set_new(defs, N_LIMITS, utc);
    assert_int_equal(limit_set_follow(set, none, clock_wall_us(), 0), N_LIMITS);
    limit_set_tell(set, LIMIT_KNOWN);
    limit_set_free(none);
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
    limit_set_free(set);
    set = NULL;
    return 0;
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
    fail_msg("not settled");
}

/* What a request took is settled, unreserved, as of a time. */
static void settle(struct limiter *l, const char *team, uint64_t took, int64_t ended_us)
{
    struct subject subject = subject_of(team, "k");
    struct limit_amounts actual = amounts(took, 0, 1, 0);
    struct late_request request = {.start_us = clock_wall_us(),
                                   .ended_us = ended_us,
                                   .started_us = clock_mono_us()};
    struct admission late = {0};
    struct arena arena;

    limit_set_since(set, 0);
    arena_init(&arena, 1 << 16);
    digest_random(request.id.b, UUID_BYTES);
    assert_true(admission_late(&late, set, &subject, &request, &arena));
    limiter_settle(l, &late, &actual);
    until_settled(l);
    arena_release(&arena);
}

/* Both limits' counters of all teams. */
static size_t counters_of(uint64_t spent, struct limit_counter out[N_LIMITS * N_TEAMS])
{
    static const char *const scopes[N_TEAMS] = {"team=a", "team=b", "team=c"};

    for (unsigned i = 0; i < N_LIMITS * N_TEAMS; i++)
        out[i] = (struct limit_counter){.limit = i / N_TEAMS,
                                        .scope = strv_z(scopes[i % N_TEAMS]),
                                        .start_us = i < N_TEAMS ? INT64_MIN : 0,
                                        .end_us = i < N_TEAMS ? INT64_MAX : 0,
                                        .spent = spent};
    return N_LIMITS * N_TEAMS;
}

static void check(const char *what, unsigned limit, unsigned team, uint64_t spent)
{
    struct limit_counter at[N_LIMITS * N_TEAMS];
    struct limiter_options o = options("00aa");
    const struct limit_counter *c = &at[limit * N_TEAMS + team];
    size_t n = counters_of(0, at);

    assert_int_equal(limit_look(&o, NULL, set, at, n), RC_OK);
    if (c->spent != spent)
        fail_msg("%s, limit %u of %s: %llu, not %llu", what, limit, teams[team],
                 (unsigned long long)c->spent, (unsigned long long)spent);
}

/* One reload of an owner: figure is what its ledger has of each counter. */
static int64_t begin(const char *owner, const struct limit_counter *there, size_t n)
{
    struct limiter_options o = options(owner);
    int64_t since_us = clock_wall_us() + AHEAD_US;

    assert_int_equal(limit_part_since(&o, set, since_us), RC_OK);
    assert_int_equal(limit_part_from(&o, set, there, n, since_us), RC_OK);
    while (clock_wall_us() < since_us)
        usleep(1000);
    return since_us;
}

/* Without Redis the process knows of the counter what is in it. */
static void check_told(struct limit_memory *m, const struct limit_counter *c)
{
    struct limit_counter look = *c;
    struct limiter_options o = options("00aa");
    char key[LIMIT_KEY_MAX_BYTES];
    struct claim_ref claim;
    struct refusal refusal;
    struct uuid id = {.b = {1}};
    unsigned warned;

    assert_int_equal(limit_look(&o, NULL, set, &look, 1), RC_OK);
    assert_true(limit_counter_ref(set, c, key, &claim));
    claim.limit = look.spent;
    claim.amount = 1;
    assert_int_equal(memory_reserve(m, &id, &claim, 1, 1, &warned, &refusal), LIMIT_DENIED);
    assert_int_equal(refusal.spent, look.spent);
}

static void add(const char *owner, uint64_t figure, int64_t since_us)
{
    struct limiter_options o = options(owner);
    struct limit_counter at[N_LIMITS * N_TEAMS];
    struct limit_memory *told = limit_memory_new();
    size_t n = counters_of(figure, at);

    assert_int_equal(limit_part_add(&o, told, set, at, n, since_us), RC_OK);
    for (size_t i = 0; i < n; i++)
        check_told(told, &at[i]);
    limit_memory_free(told);
}

static void test_parts(void **state)
{
    struct limit_counter all[N_LIMITS * N_TEAMS];
    struct limiter_options ox = options("00aa"), oy = options("00bb");
    struct limiter *x = limiter_new(&ox, NULL), *y = limiter_new(&oy, NULL);
    int64_t since_us;

    (void)state;
    counters_of(0, all);
    settle(x, "a", 100, clock_wall_us()); /* a: both owners; b: x alone; c: nobody */
    settle(x, "b", 100, clock_wall_us());
    settle(y, "a", 30, clock_wall_us());
    since_us = begin("00aa", all, 2);    /* the calendar counters that are there */
    since_us = begin("00aa", all, 5);    /* too late: again, the rolling ones too */
    for (int i = 0; i < N_TEAMS; i++) {
        settle(x, teams[i], 1000, since_us - 1); /* late: the ledger has it */
        settle(x, teams[i], 7, since_us);
        settle(y, teams[i], 2, since_us - 1); /* another's is its own */
    }
    add("00aa", 55, since_us);
    check("both", 0, 0, 30 + 2 + 7 + 55);
    check("own", 0, 1, 2 + 7 + 55);
    check("nobody", 0, 2, 2 + 7 + 55);
    check("own, rolling", 1, 1, 2 + 7 + 55);
    check("nobody, rolling", 1, 2, 2 + 7 + 55);
    /* Both, rolling: 55 of x and 32 of y are among the 139. */
    check("both, rolling", 1, 0, 100 + 30 + 2 + 7);
    /* Again, as after an answer that was lost: the same. */
    since_us = begin("00aa", all, N_LIMITS * N_TEAMS);
    add("00aa", 62, since_us);
    check("again", 0, 0, 30 + 2 + 62);
    check("again", 0, 1, 2 + 62);
    check("again, a new one", 0, 2, 2 + 62);
    limiter_free(x);
    limiter_free(y);
}

/* Where neither can be told apart the counter has the ledger's figure at least. */
static void test_mixed(void **state)
{
    struct limit_counter all[N_LIMITS * N_TEAMS];
    struct limiter_options ox = options("00aa"), oy = options("00bb");
    struct limiter *x = limiter_new(&ox, NULL), *y = limiter_new(&oy, NULL);
    int64_t since_us;

    (void)state;
    counters_of(0, all);
    settle(x, "a", 10, clock_wall_us());
    settle(y, "a", 30, clock_wall_us());
    since_us = begin("00aa", all, N_LIMITS * N_TEAMS);
    add("00aa", 500, since_us);
    check("raised", 1, 0, 500);
    check("parts", 0, 0, 530);
    limiter_free(x);
    limiter_free(y);
}

/* What an operator took off stays off. */
static void test_reset(void **state)
{
    struct limit_counter all[N_LIMITS * N_TEAMS];
    struct limiter_options o = options("00aa");
    struct limiter *x = limiter_new(&o, NULL);
    int64_t since_us;

    (void)state;
    counters_of(0, all);
    settle(x, "a", 100, clock_wall_us());
    assert_int_equal(limit_write(&o, NULL, set, all, 1, 0), RC_OK);
    settle(x, "a", 3, clock_wall_us());
    since_us = begin("00aa", all, N_LIMITS * N_TEAMS);
    add("00aa", 103, since_us);
    check("reset", 0, 0, 3);
    limiter_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mixed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reset, set_up, tear_down),
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
