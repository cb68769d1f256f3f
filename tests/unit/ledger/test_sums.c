/*
 * test_sums.c - sums, distributions and their stored form; the hash table.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/dict.h"
#include "metering/ledger/schema.h"
#include "metering/ledger/sums.h"
#include "metering/ledger/wire.h"

enum { BYTES = 64 << 10 };

static void buckets_meet_without_gaps(void **state)
{
    struct money last = {0}, from, to;

    (void)state;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        cost_histogram_bounds(b, &from, &to);
        if (b > 0)
            assert_int_equal(money_cmp(from, last), 0);
        assert_int_equal(cost_histogram_bucket(from), b);
        assert_int_equal(cost_histogram_bucket((struct money){to.atto - 1}), b);
        if (b >= 2 && b < HISTOGRAM_BUCKETS - 1) /* no wider than an eighth */
            assert_true((to.atto - from.atto) * HISTOGRAM_STEPS <= from.atto);
        last = to;
    }
    assert_int_equal(cost_histogram_bucket(MONEY_ZERO), 0);
    assert_int_equal(cost_histogram_bucket((struct money){-5}), 0);
}

/* The oracle of finops: {12,5,7,3,100,8,9,4,6,11} gives 7, 12, 100, 100. */
static void ranks_are_nearest(void **state)
{
    static const int cents[] = {12, 5, 7, 3, 100, 8, 9, 4, 6, 11};
    static const struct {
        unsigned percent;
        int cents;
    } want[] = {{50, 7}, {90, 12}, {95, 100}, {99, 100}, {100, 100}, {1, 3}};
    static struct cost_histogram h;
    unsigned bucket;

    (void)state;
    assert_false(cost_histogram_rank(&h, 50, &bucket));
    for (size_t i = 0; i < 10; i++)
        h.n[cost_histogram_bucket((struct money){cents[i] * (money_int)10000000000000000})]++;
    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
        assert_true(cost_histogram_rank(&h, want[i].percent, &bucket));
        assert_int_equal(bucket, cost_histogram_bucket((struct money){
                                     want[i].cents * (money_int)10000000000000000}));
    }
}

static void bands_meet_without_gaps(void **state)
{
    struct usage u = {0};
    uint64_t from, to, last = 0;

    (void)state;
    assert_int_equal(ledger_band_of(&u), 0);
    for (unsigned b = 1; b < LEDGER_BANDS; b++) {
        ledger_band_bounds(b, &from, &to);
        assert_int_equal(from, b == 1 ? 0 : last + 1);
        u = (struct usage){.has = 0};
        usage_set(&u, USAGE_INPUT, from);
        assert_int_equal(ledger_band_of(&u), b);
        /* Input and output count alike. */
        usage_set(&u, USAGE_INPUT, to - to / 3);
        usage_set(&u, USAGE_OUTPUT, to / 3);
        assert_int_equal(ledger_band_of(&u), b);
        last = to;
    }
    assert_int_equal(last, UINT64_MAX);
}

struct whole {
    struct rollup r;
    struct cost_histogram histogram;
    struct ledger_band bands[LEDGER_BANDS];
    struct ledger_meter_sum meters[METER_COUNT];
};

static struct whole *whole_new(void)
{
    struct whole *w = xcalloc(1, sizeof(*w));

    w->r = (struct rollup){{0}, &w->histogram, w->bands, w->meters};
    return w;
}

static void assert_encodes_same(const struct whole *a, const struct whole *b)
{
    struct buf x, y;

    buf_init(&x, BYTES);
    buf_init(&y, BYTES);
    assert_int_equal(rollup_encode(&a->r, &x), RC_OK);
    assert_int_equal(rollup_encode(&b->r, &y), RC_OK);
    assert_true(strv_eq(buf_view(&x), buf_view(&y)));
    assert_true(ledger_sums_equal(&a->r.sums, &b->r.sums));
    buf_release(&x);
    buf_release(&y);
}

/* However records are split and merged, the sums are the same. */
static void merging_is_adding(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct whole *all = whole_new(), *merged = whole_new();
        struct whole *part[3] = {whole_new(), whole_new(), whole_new()};

        for (int k = 0; k < 30; k++) {
            struct record r;

            kit_record(&seed, KIT_START_US, US_PER_DAY, &r);
            rollup_add_record(&all->r, &r);
            rollup_add_record(&part[kit_below(&seed, 3)]->r, &r);
        }
        for (int p = 0; p < 3; p++) {
            struct buf bytes;

            buf_init(&bytes, BYTES);
            assert_int_equal(rollup_encode(&part[p]->r, &bytes), RC_OK);
            assert_int_equal(rollup_add_encoded(&merged->r, buf_view(&bytes)), RC_OK);
            buf_release(&bytes);
            free(part[p]);
        }
        assert_encodes_same(all, merged);
        free(all);
        free(merged);
    }
}

static void sums_saturate(void **state)
{
    struct ledger_sums a = {.requests = UINT64_MAX, .priced = 1},
                       b = {.requests = 1, .priced = 1};
    money_int most = ((((money_int)1 << 126) - 1) << 1) + 1;

    (void)state;
    a.cost.atto = b.cost.atto = most;
    ledger_sums_add(&a, &b);
    assert_int_equal(a.requests, UINT64_MAX);
    assert_true(a.cost.atto == most);
}

static void unknown_costs_are_not_zero(void **state)
{
    struct record r = {.price_status = PRICE_NONE, .first_byte_us = -1};
    struct ledger_sums s;

    (void)state;
    ledger_sums_of(&r, &s);
    assert_int_equal(s.requests, 1);
    assert_int_equal(s.unpriced, 1);
    assert_int_equal(s.priced, 0);
    assert_int_equal(s.first_bytes, 0);
    assert_int_equal(s.reported[USAGE_INPUT], 0);
    r.price_status = PRICE_OK;
    r.cost.atto = 1;
    ledger_sums_of(&r, &s);
    assert_int_equal(s.cost_ceil_nano, 1); /* what limits count */
}

static void broken_rollups_are_refused(void **state)
{
    static const struct strv cases[] = {
        {"\x02", 1},             /* a number without value */
        {"\x7f\x01", 2},         /* a number that is none */
        {"\x49\xff\x7f\x01", 4}, /* a bucket beyond the last */
        {"\x4c\x7f\x01\x01\x01\x01\x00", 7},
        {"\x4b\x7f\x01\x01\x00", 5},
        {"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03",
         20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct whole *w = whole_new();

        if (rollup_add_encoded(&w->r, cases[i]) != RC_BAD)
            fail_msg("case %zu", i);
        free(w);
    }
}

static void numbers_round_trip(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint64_t v = kit_random(&seed) >> kit_below(&seed, 64);
        struct money m = {(money_int)(kit_random(&seed) >> kit_below(&seed, 64)) *
                          (money_int)(kit_random(&seed) >> (5 + kit_below(&seed, 59)))};
        char bytes[WIRE_MONEY_BYTES + 16];
        struct wire_in in;
        size_t n = wire_make_u64(bytes, v);

        in = wire_in(strv_make(bytes, n));
        assert_int_equal(wire_get_u64(&in), v);
        assert_true(!in.bad && in.p == in.end);
        memset(bytes + n, (int)kit_below(&seed, 256), sizeof(bytes) - n);
        in = wire_in(strv_make(bytes, sizeof(bytes)));
        assert_int_equal(wire_get_u64(&in), v);
        assert_true(!in.bad && in.p == (const unsigned char *)bytes + n);
        if (kit_below(&seed, 2))
            m.atto = -m.atto;
        if (!wire_money_is_sane(m))
            continue;
        n = wire_make_money(bytes, m);
        in = wire_in(strv_make(bytes, n));
        assert_int_equal(money_cmp(wire_get_money(&in), m), 0);
        assert_true(!in.bad && in.p == in.end);
        for (size_t cut = 0; cut < n; cut++) {
            in = wire_in(strv_make(bytes, cut));
            (void)wire_get_money(&in);
            assert_true(in.bad);
        }
    }
}

static void buckets_of_time_round_down(void **state)
{
    (void)state;
    assert_int_equal(rollup_bucket(LEVEL_QUARTER, 0), 0);
    assert_int_equal(rollup_bucket(LEVEL_QUARTER, -1), -1);
    assert_int_equal(rollup_bucket(LEVEL_HOUR, 3599999999), 0);
    assert_int_equal(rollup_bucket(LEVEL_HOUR, 3600000000), 1);
    assert_int_equal(rollup_bucket(LEVEL_DAY, -US_PER_DAY), -1);
    assert_int_equal(rollup_bucket(LEVEL_DAY, -US_PER_DAY - 1), -2);
}

/* The table against an array that is searched. */
static void dict_agrees_with_an_array(void **state)
{
    enum { KEYS = 500 };
    int64_t there[KEYS];
    uint64_t seed = 3;
    struct dict d;
    size_t n = 0;

    (void)state;
    dict_init(&d);
    for (int i = 0; i < KEYS; i++)
        there[i] = -1;
    assert_null(dict_get(&d, STRV("x")));
    assert_false(dict_remove(&d, STRV("x")));
    for (int i = 0; i < 100000; i++) {
        uint64_t key = kit_below(&seed, KEYS);
        /* Of every length around that at which keys have storage of their own. */
        char text[2 * DICT_SHORT_BYTES + sizeof(key)] = {0};
        struct strv bytes = strv_make(text, sizeof(key) + key % (2 * DICT_SHORT_BYTES));
        int64_t *at, was;

        memcpy(text, &key, sizeof(key));
        memcpy(text + bytes.n - sizeof(key), &key, sizeof(key));
        at = dict_get(&d, bytes);
        assert_int_equal(at ? *at : -1, there[key]);
        switch (kit_below(&seed, 5)) {
        case 0:
        case 1:
            dict_put(&d, bytes, i);
            n += there[key] < 0;
            there[key] = i;
            break;
        case 2:
            assert_int_equal(dict_add(&d, bytes, i), there[key] < 0);
            n += there[key] < 0;
            there[key] = there[key] < 0 ? i : there[key];
            break;
        case 3:
            assert_int_equal(dict_remove(&d, bytes), there[key] >= 0);
            n -= there[key] >= 0;
            there[key] = -1;
            break;
        case 4:
            was = -1;
            assert_int_equal(dict_take(&d, bytes, &was), there[key] >= 0);
            assert_int_equal(was, there[key]);
            n -= there[key] >= 0;
            there[key] = -1;
            break;
        }
        assert_int_equal(d.n, n);
    }
    for (size_t at = 0, far = 0;;) {
        struct strv key;
        int64_t value;

        if (!dict_next(&d, &at, &key, &value)) {
            assert_int_equal(d.far_bytes, far);
            break;
        }
        far += key.n > DICT_SHORT_BYTES ? key.n : 0;
    }
    dict_release(&d);
}

static int by_amount(const void *a, const void *b)
{
    return money_cmp(*(const struct money *)a, *(const struct money *)b);
}

/* Of few and many, of values that are alike, in order, or the other way round. */
static void the_nth_is_that_of_the_order(void **state)
{
    enum { MOST = 9000 };
    struct money *sorted = xcalloc(MOST, sizeof(*sorted)), *v = xcalloc(MOST, sizeof(*v));
    uint64_t seed = 9;

    (void)state;
    for (int round = 0; round < 300; round++) {
        size_t n = 1 + (size_t)kit_below(&seed, round % 3 ? 80 : MOST);
        size_t k = (size_t)kit_below(&seed, n);
        const size_t places[3] = {k, (size_t)kit_below(&seed, n), n - 1};
        struct money at[3];

        for (size_t i = 0; i < n; i++)
            v[i].atto = round % 5 == 0   ? (money_int)i
                        : round % 5 == 1 ? -(money_int)i
                                         : (money_int)kit_below(&seed, round % 5 == 2 ? 3 : 1u << 31)
                                               << (round % 5 == 3 ? kit_below(&seed, 50) : 0);
        memcpy(sorted, v, n * sizeof(*v));
        qsort(sorted, n, sizeof(*sorted), by_amount);
        ledger_money_places(v, n, places, 3, at);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(money_cmp(at[i], sorted[places[i]]), 0);
        assert_int_equal(money_cmp(ledger_money_nth(v, n, k), sorted[k]), 0);
        qsort(v, n, sizeof(*v), by_amount);
        assert_memory_equal(v, sorted, n * sizeof(*v));
    }
    free(sorted);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_is_that_of_the_order),
        cmocka_unit_test(buckets_meet_without_gaps),
        cmocka_unit_test(ranks_are_nearest),
        cmocka_unit_test(bands_meet_without_gaps),
        cmocka_unit_test(merging_is_adding),
        cmocka_unit_test(sums_saturate),
        cmocka_unit_test(unknown_costs_are_not_zero),
        cmocka_unit_test(broken_rollups_are_refused),
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(buckets_of_time_round_down),
        cmocka_unit_test(dict_agrees_with_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
