/*
 * What the ledger says of limits, against counters that a memory engine kept of the same
 * requests.
 */
#include "metering/limits/limit.h"
#include "reports/limit_spent.h"
#include "tests/unit/reports/fixture.h"

enum { RECORDS = 300 };

static struct fixture f;

enum { LIMITS = 5, ROLLING = 3, RUNNING = 4, ROLLING_S = 7200 };

static struct limit_set *make_set(void)
{
    const struct limit_def defs[LIMITS] = {
        {.name = "day", .unit = UNIT_USD, .limit = LIMIT_VALUE_MAX, .period = PERIOD_DAY},
        {.name = "month",
         .per = {STRV("team"), STRV("customer")},
         .n_per = 2,
         .unit = UNIT_TOKENS,
         .limit = LIMIT_VALUE_MAX,
         .period = PERIOD_MONTH},
        /* Rows differ by environment, the counter does not. */
        {.name = "prod",
         .match = {{STRV("environment"), STRV("prod*")}},
         .n_match = 1,
         .per = {STRV("squad")},
         .n_per = 1,
         .unit = UNIT_REQUESTS,
         .limit = LIMIT_VALUE_MAX,
         .period = PERIOD_TOTAL},
        {.name = "rolling",
         .unit = UNIT_OUTPUT_TOKENS,
         .limit = LIMIT_VALUE_MAX,
         .rolling = true,
         .rolling_s = ROLLING_S},
        {.name = "running", .unit = UNIT_CONCURRENT, .limit = 5},
    };

    return limit_set_new(defs, LIMITS, f.utc);
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

struct seen {
    struct limit_counter at[64];
    char scope[64][LIMIT_KEY_MAX_BYTES];
    size_t n;
};

static void on_counter(const struct limit_counter *c, void *arg)
{
    struct seen *s = arg;

    assert_true(s->n < 64);
    assert_true(c->scope.n < LIMIT_KEY_MAX_BYTES);
    s->at[s->n] = *c;
    memcpy(s->scope[s->n], c->scope.p ? c->scope.p : "", c->scope.n);
    s->at[s->n].scope = strv_make(s->scope[s->n], c->scope.n);
    s->n++;
}

static uint64_t spent_of(const struct seen *s, unsigned limit, struct strv scope)
{
    uint64_t spent = 0;
    unsigned times = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (s->at[i].limit == limit && strv_eq(s->at[i].scope, scope)) {
            spent = s->at[i].spent;
            times++;
        }
    }
    assert_true(times <= 1); /* one for each */
    return spent;
}

static void ask(const struct limit_set *set, int64_t now_us, int64_t until_us, struct seen *out)
{
    struct limit_spent_question q = {
        .set = set, .zone = f.utc, .now_us = now_us, .until_us = until_us};
    struct fail fail = {0};
    bool known;

    out->n = 0;
    q.reader = ledger_read_open(f.path, &fail);
    assert_non_null(q.reader);
    assert_int_equal(ledger_read_begin(q.reader, &fail), RC_OK);
    for (size_t i = 0; i < limit_set_count(set); i++) {
        assert_int_equal(limit_spent(&q, i, on_counter, out, &known, &fail), RC_OK);
        assert_int_equal(known, i != RUNNING);
    }
    ledger_read_end(q.reader);
    ledger_read_close(q.reader);
}

static struct record record_of(unsigned i, int64_t now_us)
{
    const struct strv teams[] = {STRV("a"), STRV("b=,%"), STRV("")};
    const struct strv environments[] = {STRV("prod"), STRV("production"), STRV("dev")};
    const struct strv squads[] = {STRV("x"), STRV("y")};
    /* Some end just after what they are asked about: within the last seconds. */
    struct record r =
        fixture_record(now_us - (int64_t)(RECORDS - i) * 700 * US_PER_SECOND / 10);

    r.subject.dim[DIM_TEAM] = teams[i % 3];
    r.subject.dim[DIM_CUSTOMER] = i % 5 ? STRV("c") : STRV("");
    r.subject.dim[DIM_ENVIRONMENT] = environments[i % 7 % 3];
    if (i % 4)
        r.subject.free[r.subject.n_free++] = (struct tag){STRV("squad"), squads[i % 2]};
    fixture_set_cost(&r, (money_int)i * 1000000007 + 1); /* never whole nano-dollars */
    return r;
}

/* The limiter counts the same request. */
static void count(struct limiter *l, const struct limit_set *set, const struct record *r)
{
    int64_t nano = money_ceil_nano(r->cost);
    struct limit_amounts worst = {.n = {0}}, actual = {.n = {[UNIT_REQUESTS] = 1}};
    struct arena arena;
    struct admission *a = xcalloc(1, sizeof(*a));

    actual.n[UNIT_USD] = (uint64_t)nano;
    actual.n[UNIT_TOKENS] = r->usage.n[USAGE_INPUT] + r->usage.n[USAGE_OUTPUT];
    actual.n[UNIT_OUTPUT_TOKENS] = r->usage.n[USAGE_OUTPUT];
    arena_init(&arena, 64 << 10);
    assert_int_equal(admission_init(a, set, &r->subject, &worst, &r->id, r->start_us, &arena),
                     RC_OK);
    limiter_reserve(l, a);
    assert_int_equal(a->verdict, LIMIT_OK);
    limiter_settle(l, a, &actual);
    arena_release(&arena);
    free(a);
}

static void test_equals_the_counters(void **state)
{
    int64_t now_us = at("2026-11-21T04:00:00Z"), until_us = now_us - 1000 * US_PER_SECOND;
    const int64_t untils[] = {INT64_MAX, until_us};
    struct limit_set *set = make_set();
    struct seen *ledger = xcalloc(1, sizeof(*ledger)), *kept = xcalloc(1, sizeof(*kept));

    (void)state;
    for (unsigned i = 0; i < RECORDS; i++) {
        struct record r = record_of(i, now_us);
        fixture_add(&f, &r);
    }
    fixture_flush(&f);
    for (unsigned u = 0; u < 2; u++) {
        struct limit_memory *memory = limit_memory_new();
        struct limiter *l = limiter_new(&(struct limiter_options){.timeout_ms = 50}, memory);
        uint64_t output = 0;

        for (unsigned i = 0; i < RECORDS; i++) {
            struct record r = record_of(i, now_us);

            if (r.end_us >= untils[u])
                continue;
            count(l, set, &r);
            if (r.start_us >= now_us - ROLLING_S * US_PER_SECOND)
                output += r.usage.n[USAGE_OUTPUT];
        }
        kept->n = 0;
        assert_int_equal(
            limit_read(&(struct limiter_options){0}, memory, set, now_us, on_counter, kept),
            RC_OK);
        ask(set, now_us, untils[u], ledger);
        assert_true(ledger->n > 8);
        for (size_t i = 0; i < kept->n; i++) {
            if (kept->at[i].limit != ROLLING) /* its engine's clock is not the test's */
                assert_int_equal(spent_of(ledger, kept->at[i].limit, kept->at[i].scope),
                                 kept->at[i].spent);
        }
        for (size_t i = 0; i < ledger->n; i++) {
            if (ledger->at[i].limit != ROLLING)
                assert_int_equal(spent_of(kept, ledger->at[i].limit, ledger->at[i].scope),
                                 ledger->at[i].spent);
        }
        assert_int_equal(spent_of(ledger, ROLLING, STRV("")), output);
        limiter_free(l);
        limit_memory_free(memory);
    }
    free(ledger);
    free(kept);
    limit_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_equals_the_counters, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
