/*
 * The two engines, side by side: random histories of reservations, growth, settlements,
 * extensions, passing time, edges of windows, changes of summer time and steps of the wall
 * clock must give the same answers; and one of calendar limits with leases, which may
 * reserve otherwise but must admit and count alike.  LIMITS_SEED and LIMITS_OPS choose another
 * history (LIMITS_OPS=1000000 takes some minutes).
 */
#include "tests/unit/limits/redis.h"

#include "metering/limits/limit_redis.h"

enum { WORKS = 8, SLOTS = 40, TEAMS = 4, KEYS = 3, OPS = 20000, BATCH = 6, PROBE_EVERY = 40, DEFS = 10 };

/* A request of both engines. */
struct pair {
    struct request memory, redis;
    bool is_used;
    struct request grown[2]; /* of memory, of redis */
    bool has_grown;
};

/* What a history consisted of. */
static struct {
    unsigned admitted, denied, grown, cut, settled, extended, again, edges, changes, steps,
        overdue;
} did;

static struct redis_server server;
static int64_t now_us;  /* of the engines */
static int64_t skew_us; /* of the wall clock that admissions see */
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
    defs[0].on_exhausted = ON_EXHAUSTED_CUT;
    defs[1].mode = LIMIT_WARN;
    defs[2] = def_of(names[2], UNIT_REQUESTS, 12, "60s");
    defs[3] = def_of(names[3], UNIT_TOKENS, 5000, "10s");
    defs[4] = def_of(names[4], UNIT_CONCURRENT, 6, NULL);
    defs[5] = def_of(names[5], UNIT_USD, LIMIT_VALUE_MAX, "total");
    defs[6] = def_of(names[6], UNIT_TOKENS, UINT64_C(1) << 60, "hour");
    defs[6].mode = LIMIT_WARN;
    defs[3].on_exhausted = ON_EXHAUSTED_CUT;
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
    request_init(&p->memory, of, s, *worst, now_us + skew_us);
    request_init(&p->redis, of, s, *worst, now_us + skew_us);
    p->has_grown = false;
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

static void compare(const struct admission *m, const struct admission *r, unsigned op,
                    bool with_warned)
{
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

static void pair_compare(const struct pair *p, unsigned op, bool with_warned)
{
    compare(&p->memory.a, &p->redis.a, op, with_warned);
}

/* A stream that outgrew what it had reserved: once, to be settled after it. */
static void grow(struct pair *p, unsigned op)
{
    struct limit_amounts extra = {{0}};
    struct uuid id;

    extra.n[UNIT_USD] = random_below(150);
    extra.n[UNIT_TOKENS] = random_below(700);
    uuid7_make(&id, now_us);
    memset(p->grown, 0, sizeof(p->grown));
    admission_grow(&p->grown[0].a, &p->memory.a, &extra, &id);
    admission_grow(&p->grown[1].a, &p->redis.a, &extra, &id);
    limiter_reserve(memory, &p->grown[0].a);
    limiter_reserve(redis, &p->grown[1].a);
    drain();
    compare(&p->grown[0].a, &p->grown[1].a, op, true);
    p->has_grown = p->grown[0].a.verdict == LIMIT_OK;
    did.grown++;
    did.cut += !p->has_grown;
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

/* Just before summer time begins or ends in the zone: the last Sunday of a month, 01:00 UTC. */
static void go_to_change(void)
{
    int64_t hour = 3600 * US_PER_SECOND, day = 24 * hour;
    int64_t at = now_us - now_us % day + hour;

    for (;; at += day) {
        char text[DATETIME_TEXT];
        int dom;

        if (at <= now_us || (at / day + 4) % 7 != 0)
            continue;
        datetime_format_s(at, text);
        dom = (text[8] - '0') * 10 + (text[9] - '0');
        if (dom >= 25 && (memcmp(text + 5, "03", 2) == 0 || memcmp(text + 5, "10", 2) == 0))
            break;
    }
    now_us = at - 1 - (int64_t)random_below(3 * US_PER_SECOND);
    did.changes++;
}

static void go_to_edge(void)
{
    static const int64_t widths_s[] = {1, 10, 60, 3600, 86400};
    int64_t width = widths_s[random_below(5)] * US_PER_SECOND;

    now_us += width - now_us % width - 1 - (int64_t)random_below(2);
    did.edges++;
}

/* Not so far that a window is over for longer than engines keep it. */
static void step_clock(void)
{
    skew_us = ((int64_t)random_below(7) - 3) * 3600 * US_PER_SECOND;
    did.steps++;
}

static void pass_time(void)
{
    static const int64_t steps[] = {
        1000,     20000,     170000,    1000000,    7000000,
        61000000, 400000000, 901000000, 3600000000, INT64_C(30) * 3600000000};
    uint64_t i = random_below(10);

    if (random_below(6) == 0) {
        go_to_edge();
        return;
    }
    if (random_below(300) == 0)
        go_to_change();
    if (random_below(60) == 0)
        step_clock();
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

/* All that it took was told; what it had reserved beyond goes. */
static void settle_grown(struct pair *p)
{
    static const struct limit_amounts none;

    if (!p->has_grown)
        return;
    limiter_settle(memory, &p->grown[0].a, &none);
    limiter_settle(redis, &p->grown[1].a, &none);
    p->has_grown = false;
}

/* By what it took, at most what it reserved, in both. */
static void settle_alike(struct pair *p)
{
    struct limit_amounts actual = p->memory.a.amounts;

    actual.n[UNIT_USD] = random_below(actual.n[UNIT_USD] + 1);
    actual.n[UNIT_TOKENS] = random_below(actual.n[UNIT_TOKENS] + 1);
    limiter_settle(memory, &p->memory.a, &actual);
    limiter_settle(redis, &p->redis.a, &actual);
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
    unsigned n = count ? (unsigned)strtoul(count, NULL, 10) : OPS;
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

            switch (p->is_used ? random_below(5) : 5) {
            case 0:
                limiter_extend(memory, &p->memory.a);
                limiter_extend(redis, &p->redis.a);
                did.extended++;
                break;
            case 1:
            case 2:
                drain(); /* a pending one would be cancelled */
                if (random_below(4) == 0 && now_us - p->memory.a.started_us < US_PER_DAY)
                    hold(p);
                else
                    settle(p);
                settle_grown(p);
                drain();
                did.settled++;
                did.overdue += now_us - p->memory.a.started_us >
                               LIMIT_DEADLINE_S * INT64_C(1000000);
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
                did.again++;
                break;
            case 4:
                drain();
                if (p->memory.a.verdict == LIMIT_OK && !p->has_grown &&
                    now_us - p->memory.a.started_us < US_PER_DAY)
                    grow(p, op);
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
            did.admitted += fresh[f]->memory.a.verdict == LIMIT_OK;
            did.denied += fresh[f]->memory.a.verdict == LIMIT_DENIED;
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
    print_message("%u operations, alike: %u admitted, %u denied, %u grown (%u refused), %u settled "
                  "(%u past their deadline), %u extended, %u asked again, %u edges of windows, %u "
                  "changes of summer time, %u steps of the clock; %llu script calls\n",
                  n, did.admitted, did.denied, did.grown, did.cut, did.settled, did.overdue,
                  did.extended, did.again, did.edges, did.changes, did.steps,
                  (unsigned long long)stat_get(&limiter_redis(redis)->script_calls));
    assert_true(did.admitted > n / 20 && did.denied > n / 20 && did.grown > n / 50);
    assert_true(did.cut > 0 && did.overdue > 0 && did.edges > 0 && did.steps > 0);
    assert_true(n < OPS || did.changes > 0);
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].is_used) {
            settle(&slots[i]);
            settle_grown(&slots[i]);
            drain();
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

/* ---- with leases ------------------------------------------------------------------ */

enum { LEASE_DEFS = 4, LEASE_OPS_PART = 4 };

static void make_lease_defs(struct limit_def *d)
{
    d[0] = def_of("wide", UNIT_USD, 40000000, "month");
    d[1] = def_of("narrow", UNIT_TOKENS, 400000, "hour");
    d[1].per[d[1].n_per++] = STRV("key");
    d[2] = def_of("warned", UNIT_USD, 500, "day");
    d[2].mode = LIMIT_WARN;
    d[3] = def_of("count", UNIT_REQUESTS, 3000, "day");
    d[3].per[d[3].n_per++] = STRV("team");
}

/* What was taken locally is told as time passes. */
static void pass_ticks(void)
{
    static const int64_t steps[] = {500, 3000, 20000, 120000, 300000, 1100000};
    uint64_t i = random_below(40);

    if (i == 0)
        go_to_edge();
    else
        now_us += i == 1 ? 35 * US_PER_SECOND : i == 2 ? 950 * US_PER_SECOND : steps[i % 6];
    turn(base, &redis, 1);
    drain();
}

static void lease_reserve(struct pair *p, const struct limit_set *of, unsigned *early,
                          unsigned *admitted)
{
    struct subject s = subject_of(teams[random_below(2)], keys[random_below(2)]);
    struct limit_amounts worst = {{0}};
    struct uuid id;

    worst.n[UNIT_USD] = random_below(900);
    worst.n[UNIT_TOKENS] = 1 + random_below(500);
    worst.n[UNIT_REQUESTS] = 1;
    uuid7_make(&id, now_us);
    pair_init(p, of, &s, &worst, &id);
    limiter_reserve(memory, &p->memory.a);
    limiter_reserve(redis, &p->redis.a);
    drain();
    if (p->redis.a.verdict == LIMIT_OK) {
        assert_int_equal(p->memory.a.verdict, LIMIT_OK); /* never more than without */
        ++*admitted;
        return;
    }
    /* What lies in a lease may be missed for a moment, near a limit. */
    *early += p->memory.a.verdict == LIMIT_OK;
    limiter_cancel(memory, &p->memory.a);
    pair_fini(p);
}

/* One sender's leases: nothing is admitted that would not have been, all is counted alike. */
static void test_lease_histories(void **state)
{
    static struct pair slots[SLOTS];
    struct limiter_options of_memory = {0},
                           of_redis = {.redis_url = server.url, .timeout_ms = 1000,
                                       .attach = redis_attach, .name_space = "leased",
                                       .leases = true};
    const char *seed = getenv("LIMITS_SEED"), *count = getenv("LIMITS_OPS");
    unsigned n = (count ? (unsigned)strtoul(count, NULL, 10) : OPS) / LEASE_OPS_PART;
    unsigned admitted = 0, early = 0;
    struct limit_memory *m = limit_memory_new();
    struct zone *zone = zone_open("Europe/Berlin");
    struct limit_def d[LEASE_DEFS];
    struct limiter_stats stats;

    (void)state;
    if (server.folder[0] == '\0')
        skip();
    random_state = seed ? strtoull(seed, NULL, 10) : UINT64_C(88172645463325252);
    now_us = time_of("2034-03-25T20:00:00Z");
    skew_us = 0;
    clock_replace(fake_clock);
    make_lease_defs(d);
    set = limit_set_new(d, LEASE_DEFS, zone);
    base = event_base_new();
    of_redis.loop = base;
    memory = limiter_new(&of_memory, m);
    redis = limiter_new(&of_redis, NULL);
    limiter_redis(redis)->clock = fake_clock;
    for (unsigned op = 0; op < n; op++) {
        struct pair *p = &slots[random_below(SLOTS)];

        if (!p->is_used) {
            lease_reserve(p, set, &early, &admitted);
        } else {
            settle_alike(p);
            pair_fini(p);
        }
        if (random_below(3) == 0)
            pass_ticks();
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].is_used) {
            settle_alike(&slots[i]);
            pair_fini(&slots[i]);
        }
    }
    limiter_drain(redis);
    do {
        now_us += 300000;
        turn(base, &redis, 1);
        drain();
        limiter_stats(redis, &stats);
    } while (stats.unsettled > 0);
    for (unsigned i = 0; i < LEASE_DEFS; i++) {
        struct sum a = sum_of(&of_memory, m, set, i, now_us);
        struct sum b = sum_of(&of_redis, NULL, set, i, now_us);

        assert_int_equal(b.reserved, 0);
        assert_int_equal(a.reserved, 0);
        assert_true(a.spent == b.spent);
    }
    print_message("%u operations with leases, alike: %u admitted, %u of them from leases, %u "
                  "refused early\n",
                  n, admitted, (unsigned)stats.leased, early);
    assert_true(stats.leased > admitted / 10 && early <= admitted / 50);
    limiter_free(redis);
    limiter_free(memory);
    limit_memory_free(m);
    event_base_free(base);
    limit_set_free(set);
    zone_close(zone);
    clock_replace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories),
                                       cmocka_unit_test(test_lease_histories)};
    int failed;

    signal(SIGPIPE, SIG_IGN);
    redis_open(&server);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (server.folder[0])
        redis_close(&server);
    return failed;
}
