/*
 * The two engines, side by side: random histories of reservations, settlements,
 * extensions and passing time must give the same answers.  LIMITS_SEED and LIMITS_OPS
 * choose another history.
 */
#include "tests/unit/limits/redis.h"

#include "metering/limits/limit_redis.h"

enum { WORKS = 8, SLOTS = 40, TEAMS = 4, KEYS = 3, OPS = 20000, BATCH = 6, PROBE_EVERY = 40, DEFS = 10 };

/* A request of both engines. */
struct pair {
    struct request memory, redis;
    bool is_used;
};

static struct redis_server server;
static int64_t now_us;
static uint64_t random_state;
static struct limit_def defs[DEFS];
static struct limit_set *set, *probes[DEFS];
static struct limiter *memory, *redis;
static struct event_base *base;
static const char *const teams[TEAMS] = {"a", "b", "", "big"};
static const char *const keys[KEYS] = {"k1", "k2", "k,=3"};

static int64_t fake_clock(void)
{
    return now_us;
}

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static void make_defs(void)
{
    static const char *const names[DEFS] = {"month", "day",  "rpm",  "tps",  "parallel",
                                            "total", "hour", "fast", "roll", "big-roll"};

    defs[0] = def_of(names[0], UNIT_USD, 3000, "month");
    defs[1] = def_of(names[1], UNIT_USD, 500, "day");
    defs[1].mode = LIMIT_WARN;
    defs[2] = def_of(names[2], UNIT_REQUESTS, 12, "60s");
    defs[3] = def_of(names[3], UNIT_TOKENS, 5000, "10s");
    defs[4] = def_of(names[4], UNIT_CONCURRENT, 6, NULL);
    defs[5] = def_of(names[5], UNIT_USD, LIMIT_VALUE_MAX, "total");
    defs[6] = def_of(names[6], UNIT_TOKENS, UINT64_C(1) << 60, "hour");
    defs[6].mode = LIMIT_WARN;
    defs[7] = def_of(names[7], UNIT_TOKENS, 3000, "1s");
    defs[8] = def_of(names[8], UNIT_USD, 900, "86400s");
    defs[9] = def_of(names[9], UNIT_USD, UINT64_C(1) << 62, "3600s");
    for (int i = 0; i < DEFS; i++) {
        struct tag team = {STRV("team"), i == 5 || i == 9 ? STRV("big") : STRV("?")};

        if (i != 1 && i != 4 && i != 2)
            defs[i].match[defs[i].n_match++] = team;
        if (i == 2 || i == 4)
            defs[i].per[defs[i].n_per++] = STRV("key");
        else if (i != 1)
            defs[i].per[defs[i].n_per++] = STRV("team");
    }
}

static struct limit_amounts random_amounts(bool is_big)
{
    struct limit_amounts a = {{0}};

    a.n[UNIT_USD] = random_below(4) ? random_below(200) : 0;
    a.n[UNIT_TOKENS] = random_below(1500);
    /* Far beyond 2^53, but no sum beyond LIMIT_VALUE_MAX: there the order of expiry shows. */
    if (is_big && random_below(2))
        a.n[UNIT_USD] = random_state >> (9 + random_below(30));
    if (random_below(60) == 0)
        a.n[UNIT_TOKENS] = random_state;
    a.n[UNIT_REQUESTS] = 1;
    a.n[UNIT_CONCURRENT] = 1;
    return a;
}

static void drain(void)
{
    struct limiter_stats stats;

    while (!list_is_empty(&limiter_redis(redis)->batches) ||
           !list_is_empty(&limiter_redis(redis)->queue))
        turn(base, &redis, 1);
    limiter_stats(redis, &stats);
    assert_int_equal(stats.timeouts, 0);
    assert_int_equal(stats.local_admissions, 0);
}

static void pair_init(struct pair *p, const struct limit_set *of, const struct subject *s,
                      const struct limit_amounts *worst, const struct uuid *id)
{
    request_init(&p->memory, of, s, *worst, now_us);
    request_init(&p->redis, of, s, *worst, now_us);
    p->memory.a.id = *id;
    p->redis.a.id = *id;
    p->is_used = true;
}

static void pair_fini(struct pair *p)
{
    request_fini(&p->memory);
    request_fini(&p->redis);
    p->is_used = false;
}

static void pair_compare(const struct pair *p, unsigned op, bool with_warned)
{
    const struct admission *m = &p->memory.a, *r = &p->redis.a;

    if (m->verdict != r->verdict || (with_warned && m->warned != r->warned))
        fail_msg("op %u: verdict %d warned %x in memory, %d %x in redis", op, m->verdict,
                 m->warned, r->verdict, r->warned);
    if (m->verdict != LIMIT_DENIED)
        return;
    if (strcmp(m->denial.def->name, r->denial.def->name) != 0 ||
        m->denial.spent != r->denial.spent || m->denial.reserved != r->denial.reserved ||
        m->denial.wanted != r->denial.wanted || m->denial.resets_us != r->denial.resets_us ||
        !strv_eq(m->denial.scope, r->denial.scope))
        fail_msg("op %u: %s spent %llu reserved %llu resets %lld in memory, "
                 "%s %llu %llu %lld in redis",
                 op, m->denial.def->name, (unsigned long long)m->denial.spent,
                 (unsigned long long)m->denial.reserved, (long long)m->denial.resets_us,
                 r->denial.def->name, (unsigned long long)r->denial.spent,
                 (unsigned long long)r->denial.reserved, (long long)r->denial.resets_us);
}

/* A reservation that cannot fit tells what a counter holds. */
static void probe(unsigned op)
{
    for (int i = 0; i < DEFS; i++) {
        struct subject s = subject_of(teams[random_below(TEAMS)], keys[random_below(KEYS)]);
        struct limit_amounts all = {
            {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
        struct uuid id;
        struct pair p;

        if (i == 5 || i == 9)
            s.dim[DIM_TEAM] = STRV("big");
        uuid7_make(&id, now_us);
        pair_init(&p, probes[i], &s, &all, &id);
        limiter_reserve(memory, &p.memory.a);
        limiter_reserve(redis, &p.redis.a);
        drain();
        pair_compare(&p, op, true);
        if (p.memory.a.n_claims > 0)
            assert_int_equal(p.memory.a.verdict, LIMIT_DENIED);
        pair_fini(&p);
    }
}

static void pass_time(void)
{
    static const int64_t steps[] = {
        1000,     20000,     170000,    1000000,    7000000,
        61000000, 400000000, 901000000, 3600000000, INT64_C(30) * 3600000000};
    uint64_t i = random_below(10);

    if (i == 9 && random_below(4) == 0)
        now_us += INT64_C(8) * US_PER_DAY;
    now_us += steps[i] + (int64_t)random_below(1000);
}

static void reserve(struct pair *p, unsigned op)
{
    const char *team = teams[random_below(TEAMS)];
    struct subject s = subject_of(team, keys[random_below(KEYS)]);
    struct limit_amounts worst = random_amounts(strcmp(team, "big") == 0);
    struct uuid id;

    (void)op;
    uuid7_make(&id, now_us);
    pair_init(p, set, &s, &worst, &id);
    limiter_reserve(memory, &p->memory.a);
    limiter_reserve(redis, &p->redis.a);
}

/* The same id asks again, as after a lost answer: the answer is the same, nothing is added. */
static void reserve_again(struct pair *p, unsigned op)
{
    struct pair again = *p;

    again.memory.a.verdict = LIMIT_PENDING;
    again.redis.a.verdict = LIMIT_PENDING;
    again.redis.a.arg = &again.redis;
    again.redis.a.warned = 0;
    again.memory.a.warned = 0;
    list_init(&again.redis.a.queued);
    limiter_reserve(memory, &again.memory.a);
    limiter_reserve(redis, &again.redis.a);
    drain();
    pair_compare(&again, op, true);
}

static void settle(struct pair *p)
{
    struct limit_amounts actual = random_amounts(false);

    if (random_below(3) == 0)
        actual = p->memory.a.amounts;
    if (random_below(5) == 0)
        actual = (struct limit_amounts){{0}};
    if (random_below(4) == 0) { /* by id alone; then the admission's own is the second */
        limiter_settle_id(memory, &p->memory.a.id, &actual);
        limiter_settle_id(redis, &p->redis.a.id, &actual);
        if (random_below(2))
            return;
    }
    limiter_settle(memory, &p->memory.a, &actual);
    limiter_settle(redis, &p->redis.a, &actual);
}

/* What a request began goes on; an id that comes twice is held once; some are collected. */
static void hold(struct pair *p)
{
    static const struct limit_amounts nothing;
    struct uuid work = {{(unsigned char)random_below(WORKS)}};

    if (random_below(3) == 0) {
        limiter_settle_id(memory, &work, &nothing);
        limiter_settle_id(redis, &work, &nothing);
    }
    limiter_hold(memory, &p->memory.a, &work);
    limiter_hold(redis, &p->redis.a, &work);
}

static void compare_reads(const struct limiter_options *o, struct limit_memory *m, unsigned op)
{
    static const unsigned calendar[] = {0, 1, 4, 5, 6};
    struct limiter_options of_memory = {0};

    probe(op); /* what is overdue ends with the next script call */
    drain();
    for (size_t i = 0; i < sizeof(calendar) / sizeof(calendar[0]); i++) {
        struct sum a = sum_of(&of_memory, m, set, calendar[i], now_us);
        struct sum b = sum_of(o, NULL, set, calendar[i], now_us);

        if (a.spent != b.spent || a.reserved != b.reserved || a.counters != b.counters)
            fail_msg("op %u, %s: %u counters, spent %llu reserved %llu in memory, %u, %llu, "
                     "%llu in redis",
                     op, defs[calendar[i]].name, a.counters, (unsigned long long)a.spent,
                     (unsigned long long)a.reserved, b.counters, (unsigned long long)b.spent,
                     (unsigned long long)b.reserved);
    }
}

static void test_histories(void **state)
{
    static struct pair slots[SLOTS];
    struct limiter_options of_memory = {0}, of_redis = {.redis_url = server.url,
                                                        .timeout_ms = 1000,
                                                        .attach = redis_attach};
    const char *seed = getenv("LIMITS_SEED"), *count = getenv("LIMITS_OPS");
    unsigned n = count ? (unsigned)strtoul(count, NULL, 10) : OPS, verdicts[4] = {0};
    struct limit_memory *m = limit_memory_new();
    struct zone *zone = zone_open("Europe/Berlin");

    (void)state;
    if (server.folder[0] == '\0') {
        print_message("redis-server is not installed: skipped\n");
        skip();
    }
    random_state = seed ? strtoull(seed, NULL, 10) : UINT64_C(88172645463325252);
    print_message("LIMITS_SEED=%llu LIMITS_OPS=%u\n", (unsigned long long)random_state, n);
    now_us = time_of("2034-02-20T12:00:00Z"); /* Redis drops nothing before its time */
    clock_replace(fake_clock);
    make_defs();
    set = limit_set_new(defs, DEFS, zone);
    for (int i = 0; i < DEFS; i++) {
        struct limit_def one = defs[i];

        one.mode = LIMIT_ENFORCE;
        probes[i] = limit_set_new(&one, 1, zone);
    }
    base = event_base_new();
    of_redis.loop = base;
    memory = limiter_new(&of_memory, m);
    redis = limiter_new(&of_redis, NULL);
    limiter_redis(redis)->clock = fake_clock;
    for (unsigned op = 0; op < n;) {
        struct pair *fresh[BATCH];
        unsigned n_fresh = 0;

        for (uint64_t k = 1 + random_below(BATCH); k > 0; k--, op++) {
            struct pair *p = &slots[random_below(SLOTS)];

            switch (p->is_used ? random_below(4) : 4) {
            case 0:
                limiter_extend(memory, &p->memory.a);
                limiter_extend(redis, &p->redis.a);
                break;
            case 1:
            case 2:
                drain(); /* a pending one would be cancelled */
                if (random_below(4) == 0 && now_us - p->memory.a.started_us < US_PER_DAY)
                    hold(p);
                else
                    settle(p);
                drain();
                for (unsigned f = 0; f < n_fresh; f++) {
                    if (fresh[f] == p)
                        fresh[f] = fresh[--n_fresh];
                }
                pair_fini(p);
                break;
            case 3:
                drain();
                /* not in a window whose counter is forgotten by now */
                if (p->memory.a.verdict == LIMIT_OK &&
                    now_us - p->memory.a.started_us < US_PER_DAY)
                    reserve_again(p, op);
                break;
            default:
                reserve(p, op);
                fresh[n_fresh++] = p;
                break;
            }
        }
        drain();
        for (unsigned f = 0; f < n_fresh; f++) {
            pair_compare(fresh[f], op, true);
            verdicts[fresh[f]->memory.a.verdict]++;
            if (fresh[f]->memory.a.verdict != LIMIT_OK)
                pair_fini(fresh[f]);
        }
        if (random_below(3) == 0)
            pass_time();
        if (random_below(PROBE_EVERY) == 0)
            probe(op);
        if (random_below(PROBE_EVERY * 5) == 0)
            compare_reads(&of_redis, m, op);
    }
    print_message("%u operations: %u admitted, %u denied; %llu script calls\n", n,
                  verdicts[LIMIT_OK], verdicts[LIMIT_DENIED],
                  (unsigned long long)stat_get(&limiter_redis(redis)->script_calls));
    assert_true(verdicts[LIMIT_OK] > n / 20 && verdicts[LIMIT_DENIED] > n / 20);
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].is_used) {
            settle(&slots[i]);
            pair_fini(&slots[i]);
        }
    }
    drain();
    probe(n);
    limiter_free(redis);
    limiter_free(memory);
    limit_memory_free(m);
    event_base_free(base);
    for (int i = 0; i < DEFS; i++)
        limit_set_free(probes[i]);
    limit_set_free(set);
    zone_close(zone);
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories)};
    int failed;

    signal(SIGPIPE, SIG_IGN);
    redis_open(&server);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (server.folder[0])
        redis_close(&server);
    return failed;
}
