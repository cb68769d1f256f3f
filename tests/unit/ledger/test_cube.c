/*
 * test_cube.c - days that are added up: answers from them are those from the lines, also of
 * what came later; older ledgers get them; deleted days lose them; damage is named.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/cube.h"
#include "metering/ledger/fact.h"

#define US_PER_HOUR (INT64_C(3600) * US_PER_SECOND)

/* Two days that are over, and enough of a third for a block that is all of it. */
enum { DAYS = 3, DAY_RECORDS = 5500, CUBES = 2 * CUBE_KINDS, LATE = 300, WINDOWS = 24 };

/* Adds to the cost of r; of one that had no price: gives it one. */
static void write_correction(struct journal *j, const struct record *r, uint64_t *seed)
{
    struct record c = kit_correction(seed, r);

    c.n_lines = 0;
    c.cost.atto = c.list_cost.atto = (money_int)kit_below(seed, 1000000000) * 1000003;
    assert_int_equal(journal_end(j, &c), RC_OK);
}

/* n records that end on the day, mostly; every hundredth is corrected. */
static void write_day(struct journal *j, struct ledger *l, int day, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        struct record r;

        kit_record(&seed, KIT_START_US + day * US_PER_DAY, US_PER_DAY, &r);
        r.is_repeat = i % 7 == 0;
        r.is_cacheable = i % 5 == 0;
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 100 == 0)
            write_correction(j, &r, &seed);
        if (i % 1000 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    ledger_catch_up(l);
}

static void wait_for_cubes(const struct kit_dir *d, int64_t n)
{
    int64_t until = clock_mono_us() + 600 * US_PER_SECOND;

    while (kit_ask(d, "SELECT count(*) FROM cube_day") < n && clock_mono_us() < until)
        usleep(20000);
    assert_int_equal(kit_ask(d, "SELECT count(*) FROM cube_day"), n);
}

/* Takes what is journalled already, and looks for days at once. */
static void add_up(const struct kit_dir *d, int64_t n)
{
    struct ledger *l = kit_start(d, NULL, NULL);

    wait_for_cubes(d, n);
    ledger_stop(l);
}

/* The same, where some may be there that are to go. */
static void add_up_anew(const struct kit_dir *d, const struct cube_limits *limits)
{
    const int64_t until = clock_mono_us() + 600 * US_PER_SECOND;
    struct ledger_options options = {.path = d->db,
                                     .journal_dir = d->journal,
                                     .sync = SYNC_INTERVAL,
                                     .ingest_interval_ms = 2,
                                     .cube_limits = limits};
    struct fail fail;
    struct ledger *l = ledger_start(&options, NULL, NULL, &fail);

    assert_non_null(l);
    while (kit_ask(d, "SELECT count(*) FROM cube_day WHERE kind NOT IN (1, 5, 6)") < CUBES &&
           clock_mono_us() < until)
        usleep(20000);
    ledger_stop(l);
    assert_int_equal(kit_ask(d, "SELECT count(*) FROM cube_day"), CUBES);
}

static void make_ledger(struct kit_dir *d)
{
    struct ledger *l;
    struct journal *j;

    kit_dir_make(d);
    l = kit_start(d, NULL, NULL);
    j = kit_journal(d, 0);
    for (int day = 0; day < DAYS; day++)
        write_day(j, l, day, DAY_RECORDS, 70 + (uint64_t)day);
    journal_close(j);
    ledger_stop(l);
    add_up(d, CUBES);
}

/* ---- questions -------------------------------------------------------------------------- */

struct asked {
    const char *by[3];
    const char *field; /* a condition on it, or NULL */
    struct strv value[2];
    enum ledger_op op;
    unsigned want;
    enum period grain;
    bool from_cubes;
};

enum { RANKS = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY };

static const struct asked asked[] = {
    {{"team"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, true},
    {{"team", "model", "outcome"}, NULL, {{0}}, 0, LEDGER_WANT_BANDS, PERIOD_DAY, true},
    {{"token_band", "repeat"}, "cacheable", {{"yes", 3}}, LEDGER_EQ, 0, PERIOD_TOTAL, true},
    {{"team"}, "task", {{"", 0}}, LEDGER_EQ, LEDGER_WANT_BANDS, PERIOD_TOTAL, true},
    {{"team"}, "task", {{"", 0}}, LEDGER_NE, 0, PERIOD_TOTAL, true},
    {{"team"}, "task", {{"t*", 2}}, LEDGER_GLOB, 0, PERIOD_TOTAL, false},
    {{"customer"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, true},
    {{"customer", "team"}, "team", {{"search", 6}, {"", 0}}, LEDGER_EQ, 0, PERIOD_DAY, true},
    {{"team"}, "customer", {{"acme", 4}, {"", 0}}, LEDGER_NE, 0, PERIOD_TOTAL, true},
    {{"customer"}, "model", {{"gpt*", 4}}, LEDGER_GLOB, 0, PERIOD_TOTAL, true},
    {{"customer"}, NULL, {{0}}, 0, LEDGER_WANT_PERCENTILES, PERIOD_TOTAL, true},
    {{"customer"}, NULL, {{0}}, 0, LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY, PERIOD_TOTAL, true},
    {{NULL}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
    {{"team"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
    {{"team", "outcome"}, NULL, {{0}}, 0, RANKS, PERIOD_DAY, true},
    {{"model"}, "team", {{"search", 6}}, LEDGER_NE, RANKS | LEDGER_SPARE_FINE, PERIOD_TOTAL, true},
    {{"team"}, "customer", {{"acme", 4}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, true},
    {{"customer"}, "team", {{"search", 6}}, LEDGER_EQ, RANKS, PERIOD_DAY, true},
    {{"customer", "model"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
    {{"team", "customer"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
    {{"customer"}, "team", {{"search", 6}, {"", 0}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, true},
    {{"customer"}, NULL, {{0}}, 0, RANKS, PERIOD_DAY, true},
    {{"team"}, "customer", {{"acme", 4}}, LEDGER_NE, RANKS, PERIOD_TOTAL, true},
    {{"feature"}, "customer", {{"", 0}}, LEDGER_NE, LEDGER_WANT_PERCENTILES | LEDGER_SPARE_FINE,
     PERIOD_TOTAL, true},
    {{"user"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
    {{"cell"}, NULL, {{0}}, 0, RANKS | LEDGER_SPARE_FINE, PERIOD_TOTAL, true},
    {{"user"}, NULL, {{0}}, 0, LEDGER_SPARE_TOKENS, PERIOD_TOTAL, true},
    {{"user"}, NULL, {{0}}, 0, LEDGER_SPARE_TRANSPORT, PERIOD_DAY, true},
    {{"user", "team"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, false},
    {{"user", "team"}, NULL, {{0}}, 0, CUBE_BASIC, PERIOD_TOTAL, true},
    {{"user"}, "team", {{"search", 6}, {"", 0}}, LEDGER_EQ, CUBE_BASIC, PERIOD_DAY, true},
    {{"team"}, "user", {{"u1", 2}}, LEDGER_EQ, LEDGER_SPARE | LEDGER_SPARE_CEILING, PERIOD_TOTAL,
     true},
    {{"user"}, "team", {{"search", 6}}, LEDGER_NE, LEDGER_COST_ALONE, PERIOD_TOTAL, true},
    {{"user"}, "team", {{"search", 6}}, LEDGER_NE, CUBE_BASIC | LEDGER_WANT_HISTOGRAM,
     PERIOD_TOTAL, true},
    {{"customer", "user"}, NULL, {{0}}, 0, CUBE_BASIC, PERIOD_TOTAL, true},
    {{"user", "customer"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, false},
    {{"customer"}, "user", {{"u1", 2}}, LEDGER_NE, LEDGER_COST_ALONE, PERIOD_DAY, true},
    {{"user"}, "customer", {{"acme", 4}, {"", 0}}, LEDGER_EQ, CUBE_BASIC, PERIOD_TOTAL, true},
    {{"token_band"}, "customer", {{"acme", 4}}, LEDGER_EQ, 0, PERIOD_TOTAL, true},
    {{"token_band", "customer"}, NULL, {{0}}, 0, LEDGER_SPARE_FINE, PERIOD_DAY, true},
    {{"customer"}, "token_band", {{"0-1k", 4}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, true},
    {{"token_band", "repeat"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_TOTAL, true},
    {{"team", "model"}, "token_band", {{"0-1k", 4}}, LEDGER_NE, LEDGER_WANT_METERS | LEDGER_SPARE,
     PERIOD_DAY, true},
    {{"price_id"}, "task", {{"", 0}}, LEDGER_EQ, LEDGER_WANT_METERS, PERIOD_TOTAL, true},
    {{"customer", "model"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_SPARE_RARE, PERIOD_TOTAL,
     true},
    {{"user"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_SPARE_RARE, PERIOD_TOTAL, false},
    {{"customer", "price_id"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_SPARE_UNSAVED,
     PERIOD_TOTAL, true},
    {{"user", "model"}, NULL, {{0}}, 0, LEDGER_SPARE_UNSAVED, PERIOD_DAY, false},
    {{"token_band"}, NULL, {{0}}, 0, LEDGER_SPARE_UNSAVED, PERIOD_TOTAL, true},
    {{"customer", "token_band"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_TOTAL, false},
    {{"cell"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, true},
    {{"cell", "outcome"}, "task", {{"", 0}}, LEDGER_EQ, 0, PERIOD_TOTAL, true},
    {{"outcome", "cell", "team"}, NULL, {{0}}, 0, LEDGER_SPARE_FINE, PERIOD_DAY, true},
    {{"cell"}, "outcome", {{"error", 5}}, LEDGER_NE, 0, PERIOD_TOTAL, true},
    {{"team", "tier"}, "task", {{"", 0}}, LEDGER_NE, LEDGER_COST_ALONE, PERIOD_DAY, true},
    {{"team", "outcome"}, "cell", {{"", 0}}, LEDGER_NE, RANKS, PERIOD_TOTAL, true},
    {{"cell", "outcome", "feature"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, false},
    {{"cell", "team"}, "tier", {{"", 0}}, LEDGER_EQ, 0, PERIOD_MONTH, true},
    {{"customer"}, NULL, {{0}}, 0, LEDGER_SPARE, PERIOD_DAY, true},
    {{"model"}, "customer", {{"acme", 4}}, LEDGER_EQ, LEDGER_WANT_METERS, PERIOD_TOTAL, true},
    {{"customer", "price_id", "service_tier"}, "upstream", {{"openai", 6}}, LEDGER_NE,
     LEDGER_WANT_METERS, PERIOD_DAY, true},
    {{"cell", "environment", "outcome"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_TOTAL, true},
    {{"cell"}, "zone", {{"a", 1}}, LEDGER_EQ, LEDGER_WANT_METERS | LEDGER_SPARE, PERIOD_TOTAL, true},
    {{"customer", "team"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_TOTAL, false},
    {{"customer", "model"}, NULL, {{0}}, 0, LEDGER_COST_ALONE, PERIOD_TOTAL, true},
    {{"customer", "model"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_WANT_BANDS, PERIOD_DAY,
     false},
    {{"team", "model"}, NULL, {{0}}, 0, LEDGER_SPARE_DETAILS | LEDGER_SPARE_CEILING,
     PERIOD_TOTAL, true},
    {{"user", "cell"}, NULL, {{0}}, 0, LEDGER_SPARE_DETAILS, PERIOD_DAY, false},
    {{"team"}, NULL, {{0}}, 0, LEDGER_COST_ALONE, PERIOD_TOTAL, true},
    {{"team", "price_status"}, NULL, {{0}}, 0, LEDGER_COST_ALONE, PERIOD_HOUR, false},
    {{"user"}, "user", {{"u1", 2}}, LEDGER_NE, LEDGER_COST_ALONE, PERIOD_DAY, true},
    {{"customer"}, "task", {{"", 0}}, LEDGER_EQ, CUBE_BASIC, PERIOD_TOTAL, true},
    {{"customer", "outcome"}, "task", {{"", 0}}, LEDGER_NE, 0, PERIOD_DAY, true},
    {{"outcome"}, "customer", {{"acme", 4}}, LEDGER_EQ, LEDGER_SPARE, PERIOD_TOTAL, true},
    {{"customer"}, "task", {{"", 0}, {"t1", 2}}, LEDGER_EQ, CUBE_BASIC, PERIOD_TOTAL, false},
    {{"user"}, "task", {{"", 0}}, LEDGER_EQ, CUBE_BASIC, PERIOD_TOTAL, false},
};
enum { ASKED = sizeof(asked) / sizeof(*asked), OF_CUSTOMERS = 6 };

static struct ledger_field field(const char *name)
{
    struct ledger_field f;

    assert_true(ledger_field_parse(strv_z(name), &f));
    return f;
}

static void make_question(const struct asked *a, const struct zone *zone, int64_t from_us,
                          int64_t to_us, struct ledger_question *q)
{
    *q = (struct ledger_question){.grain = a->grain, .zone = zone, .want = a->want};
    ledger_filter_init(&q->filter, from_us, to_us);
    for (size_t i = 0; i < 3 && a->by[i]; i++)
        q->by[q->n_by++] = field(a->by[i]);
    if (a->field)
        assert_int_equal(ledger_filter_add(&q->filter, field(a->field), a->op, a->value,
                                           a->value[1].p ? 2 : 1),
                         RC_OK);
}

/* What is spared may be anything. */
static void forget_spared(struct ledger_sums *s, unsigned want)
{
    const struct ledger_sums cost = {
        .requests = s->requests, .unpriced = s->unpriced, .cost = s->cost};

    if ((want & LEDGER_COST_ALONE) == LEDGER_COST_ALONE)
        *s = cost;
    if (want & LEDGER_SPARE_TOKENS) {
        memset(s->tokens, 0, sizeof(s->tokens));
        memset(s->reported, 0, sizeof(s->reported));
    }
    if (want & LEDGER_SPARE_TRANSPORT) {
        s->provider_costs = s->latency_us = s->latency_max_us = s->first_bytes = 0;
        s->first_byte_us = s->first_byte_max_us = s->bytes_in = s->bytes_out = 0;
        s->provider_cost = MONEY_ZERO;
    }
    if (want & LEDGER_SPARE_CEILING)
        s->cost_ceil_nano = 0;
    if (want & LEDGER_SPARE_DETAILS) {
        memset(s->by_outcome, 0, sizeof(s->by_outcome));
        memset(s->reported, 0, sizeof(s->reported));
        s->errors = s->retries = s->streams = s->repeats = s->cacheable = s->late_priced = 0;
        s->error_cost = s->repeat_cost = s->correction_cost = MONEY_ZERO;
        s->cost_min = s->cost_max = MONEY_ZERO;
    }
    if (want & LEDGER_SPARE_RARE) {
        s->retries = s->streams = s->repeats = s->cacheable = s->late_priced = 0;
        s->provider_costs = s->bytes_in = s->bytes_out = s->first_byte_max_us = 0;
        s->error_cost = s->repeat_cost = s->correction_cost = s->provider_cost = MONEY_ZERO;
        s->cost_min = s->cost_max = MONEY_ZERO;
    }
    if (want & LEDGER_SPARE_UNSAVED) {
        const struct ledger_sums saved = {
            .requests = s->requests, .corrections = s->corrections, .priced = s->priced,
            .unpriced = s->unpriced, .errors = s->errors, .repeats = s->repeats,
            .cacheable = s->cacheable, .cost = s->cost, .error_cost = s->error_cost,
            .repeat_cost = s->repeat_cost,
            .by_outcome[OUTCOME_TRUNCATED] = s->by_outcome[OUTCOME_TRUNCATED],
            .tokens[USAGE_INPUT] = s->tokens[USAGE_INPUT]};

        *s = saved;
    }
    if (want & LEDGER_SPARE_FINE) {
        memset(s->by_outcome, 0, sizeof(s->by_outcome));
        memset(s->reported, 0, sizeof(s->reported));
        s->provider_costs = s->latency_max_us = s->first_bytes = s->first_byte_us = 0;
        s->first_byte_max_us = s->bytes_in = s->bytes_out = 0;
        s->streams = s->repeats = s->cacheable = s->late_priced = 0;
        s->provider_cost = s->error_cost = s->repeat_cost = s->correction_cost = MONEY_ZERO;
    }
}

static void assert_same(struct ledger_row *a, struct ledger_row *b, size_t n_by, unsigned want)
{
    forget_spared(&a->sums, want);
    forget_spared(&b->sums, want);
    assert_int_equal(a->start_us, b->start_us);
    for (size_t i = 0; i < n_by; i++)
        assert_true(strv_eq(a->value[i], b->value[i]));
    assert_true(ledger_sums_equal(&a->sums, &b->sums));
    if (want & LEDGER_WANT_BANDS)
        assert_memory_equal(a->bands, b->bands, LEDGER_BANDS * sizeof(*a->bands));
    for (int i = 0; want & LEDGER_WANT_METERS && i < METER_COUNT; i++) {
        assert_int_equal(a->meters[i].requests, b->meters[i].requests);
        assert_int_equal(a->meters[i].quantity, b->meters[i].quantity);
        assert_int_equal(money_cmp(a->meters[i].amount, b->meters[i].amount), 0);
    }
    if (want & LEDGER_WANT_HISTOGRAM)
        assert_memory_equal(a->histogram, b->histogram, sizeof(*a->histogram));
    if (want & LEDGER_WANT_PERCENTILES && a->sums.priced > 0)
        assert_memory_equal(a->percentile, b->percentile, sizeof(a->percentile));
    if (want & LEDGER_WANT_LATENCY) {
        assert_int_equal(a->has_latency, b->has_latency);
        assert_int_equal(a->p95_latency_ms, b->p95_latency_ms);
    }
}

/*
 * Rows of cubes that answered where no request is held for percentiles; the answer is that from the
 * lines, and the same where they are held, and by several threads.
 */
static uint64_t compare(struct ledger_reader *r, const struct ledger_question *q)
{
    static const uint64_t held[] = {LEDGER_HELD_MAX, LEDGER_HELD_MAX, 0, 0};
    struct ledger_question of_lines = *q;
    struct ledger_rows fast, slow;
    struct fail fail;
    uint64_t n = 0;

    of_lines.want |= LEDGER_WANT_LINES;
    assert_int_equal(ledger_read_sums(r, &of_lines, &slow, &fail), RC_OK);
    assert_int_equal(slow.cube_rows, 0);
    for (int h = 0; h < (q->want & LEDGER_WANT_PERCENTILES ? 4 : 1); h++) {
        ledger_read_hold(r, held[h]);
        ledger_read_crew(r, h % 2 ? 1 : 3, 1);
        assert_int_equal(ledger_read_sums(r, q, &fast, &fail), RC_OK);
        assert_int_equal(fast.n, slow.n);
        for (size_t i = 0; i < fast.n; i++)
            assert_same(&fast.at[i], &slow.at[i], q->n_by, q->want);
        assert_same(&fast.total, &slow.total, 0, q->want);
        n = fast.cube_rows;
        ledger_rows_release(&fast);
    }
    ledger_read_hold(r, LEDGER_HELD_MAX);
    ledger_read_crew(r, 0, 0);
    ledger_rows_release(&slow);
    return n;
}

static void check_question(struct ledger_reader *r, const struct asked *a, bool has_cubes,
                           const struct zone *zone, bool is_utc)
{
    bool fits = is_utc || a->grain != PERIOD_DAY; /* days of other zones are none of UTC */
    struct ledger_question q;

    make_question(a, zone, INT64_MIN, INT64_MAX, &q);
    assert_int_equal(compare(r, &q) > 0, has_cubes && a->from_cubes && fits);
}

/* Each `step`th question from `first` on; the lines are slow. */
static void check_answers(const struct kit_dir *d, size_t first, size_t step, bool has_cubes)
{
    struct zone *utc = zone_open("UTC");
    struct ledger_reader *r = kit_read(d);

    for (size_t i = first; i < ASKED; i += step)
        check_question(r, &asked[i], has_cubes, utc, true);
    kit_read_end(r);
    zone_close(utc);
}

/* ---- how many there are ------------------------------------------------------------------ */

struct told {
    size_t n;
    struct ledger_distinct at[64];
};

static bool keep(const struct ledger_distinct *d, void *arg)
{
    struct told *t = arg;

    assert_true(t->n < 64);
    t->at[t->n++] = *d;
    return true;
}

/* As rows by the field say them, from the lines. */
static void check_distinct(struct ledger_reader *r, const struct ledger_question *q,
                           const struct ledger_field *of)
{
    struct ledger_question by = *q;
    struct told told = {.n = 0};
    struct ledger_rows rows;
    struct fail fail;
    size_t at = 0;

    by.by[by.n_by++] = *of;
    by.want |= LEDGER_WANT_LINES;
    assert_int_equal(ledger_read_sums(r, &by, &rows, &fail), RC_OK);
    assert_int_equal(ledger_read_distinct(r, q, of, keep, &told, &fail), RC_OK);
    for (size_t i = 0, end; i < rows.n; i = end) {
        uint64_t n = 0, priced = 0;
        struct money cost = MONEY_ZERO;

        for (end = i; end < rows.n && (q->n_by == 0 || strv_eq(rows.at[i].value[0],
                                                                rows.at[end].value[0]));
             end++) {
            if (rows.at[end].value[q->n_by].n == 0)
                continue;
            n++;
            priced += rows.at[end].sums.priced;
            cost = money_add(cost, rows.at[end].sums.cost);
        }
        if (n == 0)
            continue;
        assert_true(at < told.n);
        assert_int_equal(told.at[at].n, n);
        assert_int_equal(told.at[at].priced, priced);
        assert_int_equal(money_cmp(told.at[at++].cost, cost), 0);
    }
    assert_int_equal(at, told.n);
    ledger_rows_release(&rows);
}

/* Users by team: of all, of one team, of all but one user. */
static void check_users(const struct kit_dir *d)
{
    static const struct asked of[] = {
        {{NULL}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, true},
        {{"team"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, true},
        {{"team"}, "team", {{"search", 6}}, LEDGER_NE, 0, PERIOD_TOTAL, true},
        {{"team"}, "user", {{"u1", 2}}, LEDGER_NE, 0, PERIOD_TOTAL, true},
        {{"team"}, "customer", {{"acme", 4}}, LEDGER_EQ, 0, PERIOD_TOTAL, false},
    };
    struct ledger_reader *r = kit_read(d);
    struct ledger_field user = field("user");

    for (size_t i = 0; i < sizeof(of) / sizeof(*of); i++) {
        struct ledger_question q;

        make_question(&of[i], NULL, KIT_START_US + (i % 2 ? 5 * US_PER_HOUR + 3 : 0), INT64_MAX, &q);
        check_distinct(r, &q, &user);
    }
    kit_read_end(r);
}

/* ---- tests ---------------------------------------------------------------------------- */

static struct kit_dir shared;

static int make_shared(void **state)
{
    (void)state;
    make_ledger(&shared);
    return 0;
}

static int remove_shared(void **state)
{
    (void)state;
    kit_dir_remove(&shared);
    return 0;
}

static void cubes_equal_lines(void **state)
{
    (void)state;
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n>0"), CUBES);
    check_answers(&shared, 0, 1, true);
    check_users(&shared);
    kit_verify(&shared);
}

/* Of the two days one is whole, or none is. */
static void ragged_ends_are_read_from_columns(void **state)
{
    struct zone *zone = zone_open("Asia/Kathmandu");
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_question q;

    (void)state;
    assert_non_null(zone);
    make_question(&asked[OF_CUSTOMERS], zone, KIT_START_US + 3 * US_PER_HOUR + 7,
                  KIT_START_US + 2 * US_PER_DAY + 5 * US_PER_HOUR + 11, &q);
    assert_true(compare(r, &q) > 0);
    q.grain = PERIOD_DAY;
    assert_int_equal(compare(r, &q), 0);
    kit_read_end(r);
    zone_close(zone);
}

/*
 * Windows of limits hold requests by when they began: also from cubes and rollups, where what
 * they leave out is not looked at.
 */
static void windows_by_start_are_exact(void **state)
{
    static const char *const fields[] = {"team", "customer", "user", "cell", "model"};
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 31, from_cubes = 0;

    (void)state;
    for (int i = 0; i < WINDOWS; i++) {
        int64_t from = KIT_START_US - US_PER_DAY / 2 +
                       (int64_t)kit_below(&seed, (DAYS + 1) * US_PER_DAY);
        int64_t to = from + (int64_t)kit_below(&seed, 2 * US_PER_DAY);
        unsigned tokens = kit_below(&seed, 2) ? LEDGER_SPARE_TOKENS : 0;
        struct ledger_question q = {
            .grain = PERIOD_TOTAL,
            .want = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS | tokens};

        ledger_filter_init(&q.filter, i % 5 ? from : INT64_MIN,
                           i % 4 ? to : INT64_MAX);
        q.filter.by_start = true;
        for (uint64_t n = kit_below(&seed, 3); n > 0; n--)
            q.by[q.n_by++] = field(fields[kit_below(&seed, 5)]);
        from_cubes += compare(r, &q);
    }
    assert_true(from_cubes > 0);
    kit_read_end(r);
}

/* Behind the block up to which a cube looked: in part of a block, and of whole ones. */
static void what_comes_late_is_added(void **state)
{
    struct ledger *l = kit_start(&shared, NULL, NULL);
    struct journal *j = kit_journal(&shared, 0);

    (void)state;
    write_day(j, l, 0, LATE, 80);
    check_answers(&shared, 0, 6, true);
    write_day(j, l, 1, FACT_BLOCK, 81);
    journal_close(j);
    ledger_stop(l);
    check_answers(&shared, 1, 5, true);
    check_users(&shared);
    kit_verify(&shared);
}

static void an_older_ledger_gets_cubes(void **state)
{
    (void)state;
    kit_make_version_7(&shared);
    kit_sql(&shared, "DROP TABLE tally; DROP TABLE tally_block; DROP TABLE tally_again;"
                     "DROP TABLE crossing; DROP TABLE cube; DROP TABLE cube_day;"
                     "PRAGMA user_version=4");
    add_up(&shared, CUBES);
    check_answers(&shared, 3, 8, true);
    kit_sql(&shared, "DELETE FROM cube; DELETE FROM cube_day");
    check_answers(&shared, 6, 20, false);
}

/* Days in order of version 9 are deleted, with all of their columns, and made anew. */
static void version_9_gets_other_orders(void **state)
{
    int64_t columns = kit_ask(&shared, "SELECT count(*) FROM cube");

    (void)state;
    kit_sql(&shared,
            "CREATE TABLE one AS SELECT c.id FROM cube c, cube_day d WHERE d.kind=9 AND"
            " (c.id & 17592186044415)=d.first;"
            "DELETE FROM cube WHERE id IN (SELECT id FROM one); DROP TABLE one;"
            "DELETE FROM cube_day WHERE kind=9;"
            "UPDATE cube_day SET kind=5 WHERE kind=7; UPDATE cube_day SET kind=6 WHERE kind=8;"
            "UPDATE cube_day SET kind=1 WHERE kind=10;"
            "PRAGMA user_version=9");
    add_up_anew(&shared, NULL);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE kind IN (1, 5, 6)"), 0);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n>0"), CUBES);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube"), columns);
    check_answers(&shared, 2, 7, true);
    kit_verify(&shared);
}

/* As large as may be, and one more: such a day is noted, and answers come from columns. */
static void days_that_are_too_large_have_none(void **state)
{
    struct cube_limits limits = {
        .rows = kit_ask(&shared, "SELECT max(n) FROM cube_day WHERE kind NOT IN (4, 7, 8, 14)"),
        .basic_rows = kit_ask(&shared, "SELECT max(n) FROM cube_day WHERE kind IN (4, 14)"),
        .ranked = kit_ask(&shared, "SELECT max(n) FROM (SELECT count(*) AS n FROM line WHERE "
                                   "attempt>=0 AND end_us/86400000000 IN (SELECT day FROM "
                                   "cube_day) GROUP BY end_us/86400000000)"),
    };

    (void)state;
    kit_sql(&shared, "DELETE FROM cube; DELETE FROM cube_day");
    add_up_anew(&shared, &limits);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n>0"), CUBES);
    limits.rows--;
    limits.basic_rows--;
    limits.ranked--;
    kit_sql(&shared, "DELETE FROM cube; DELETE FROM cube_day");
    add_up_anew(&shared, &limits);
    assert_true(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n=-1 AND kind NOT IN (4, 7, 8, 14)") > 0);
    assert_true(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n=-1 AND kind IN (4, 14)") > 0);
    assert_true(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n=-1 AND kind=8") > 0);
    kit_verify(&shared);
    limits = (struct cube_limits){1, 1, 1};
    kit_sql(&shared, "DELETE FROM cube; DELETE FROM cube_day");
    add_up_anew(&shared, &limits);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube_day WHERE n=-1"), CUBES);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube"), 0);
    check_answers(&shared, 0, 3, false);
    kit_sql(&shared, "DELETE FROM cube_day");
    add_up_anew(&shared, NULL);
}

/* Of a column, of a key, of the number of rows. */
static const char *const damages[] = {
    "DELETE FROM cube WHERE id=(SELECT min(id) FROM cube WHERE id>>44=32)",
    "UPDATE cube SET body=x'ff' WHERE id>>44=196",
    "UPDATE cube_day SET n=n-1",
    "UPDATE cube SET body=x'ff' WHERE id>>44=190",
    "DELETE FROM cube WHERE id>>44=191",
    "UPDATE cube SET body=zeroblob(length(body)) WHERE id>>44 IN (205, 256)",
};

static void damage_is_named(void **state)
{
    (void)state;
    kit_sql(&shared, "CREATE TABLE c AS SELECT * FROM cube;"
                     "CREATE TABLE d AS SELECT * FROM cube_day");
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        struct ledger_verdict v;
        struct ledger_reader *r;
        struct fail fail;

        kit_sql(&shared, damages[i]);
        r = kit_read(&shared);
        assert_int_equal(ledger_read_verify(r, NULL, NULL, &v, &fail), RC_OK);
        assert_true(v.bad_cubes > 0);
        assert_true(v.bad_cubes <= v.cubes);
        assert_non_null(strstr(v.first, "the sums of day "));
        assert_int_equal(v.bad_lines + v.bad_rollups + v.bad_tasks + v.bad_facts, 0);
        kit_read_end(r);
        kit_sql(&shared,
                "DELETE FROM cube; DELETE FROM cube_day;"
                "INSERT INTO cube SELECT * FROM c; INSERT INTO cube_day SELECT * FROM d");
    }
}

static bool same_values(const struct ledger_row *a, const struct ledger_row *b, size_t n_by)
{
    for (size_t i = 0; i < n_by; i++) {
        if (!strv_eq(a->value[i], b->value[i]))
            return false;
    }
    return a->start_us == b->start_us;
}

/* Each row of `some` is one of all; the others of a period come to its rest. */
static void check_rest(struct ledger_rows *all, struct ledger_rows *some,
                       const struct ledger_question *q)
{
    const size_t n_by = q->n_by;
    struct ledger_sums *rest = xcalloc(some->n_rest + 1, sizeof(*rest));
    size_t at = 0, r = 0, left = 0;

    for (size_t i = 0; i < all->n; i++) {
        if (at < some->n && same_values(&all->at[i], &some->at[at], n_by)) {
            assert_same(&all->at[i], &some->at[at++], n_by, q->want);
            continue;
        }
        while (r < some->n_rest && some->rest[r].start_us < all->at[i].start_us)
            r++;
        assert_true(r < some->n_rest);
        assert_int_equal(some->rest[r].start_us, all->at[i].start_us);
        assert_int_equal(some->rest[r].end_us, all->at[i].end_us);
        ledger_sums_add(&rest[r], &all->at[i].sums);
        left = r + 1;
    }
    assert_int_equal(at, some->n);
    assert_int_equal(left, some->n_rest);
    for (size_t i = 0; i < some->n_rest; i++) {
        forget_spared(&rest[i], q->want);
        forget_spared(&some->rest[i].sums, q->want);
        assert_true(ledger_sums_equal(&rest[i], &some->rest[i].sums));
    }
    assert_same(&all->total, &some->total, 0, q->want);
    free(rest);
}

/* The dearest, whatever the grain: those that are left out cost no more over all periods. */
static void the_dearest_are_those_of_all(void **state)
{
    static const struct asked of[] = {
        {{"user"}, NULL, {{0}}, 0, 0, PERIOD_TOTAL, true},
        {{"customer"}, NULL, {{0}}, 0, 0, PERIOD_DAY, true},
        {{"customer", "user"}, NULL, {{0}}, 0, LEDGER_SPARE_DETAILS, PERIOD_DAY, false},
        {{"user", "team"}, "team", {{"search", 6}}, LEDGER_NE, CUBE_BASIC, PERIOD_HOUR, true},
        {{"cell"}, NULL, {{0}}, 0, LEDGER_COST_ALONE, PERIOD_TOTAL, true},
        {{"team"}, NULL, {{0}}, 0, 0, PERIOD_DAY, true}, /* rollups: all rows are there */
        {{"user"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
        {{"user"}, NULL, {{0}}, 0, RANKS, PERIOD_HOUR, true},
        {{"customer"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
        {{"customer", "model"}, NULL, {{0}}, 0, RANKS, PERIOD_DAY, true},
        {{"customer", "user"}, "team", {{"search", 6}}, LEDGER_NE, RANKS, PERIOD_TOTAL, true},
        {{"cell"}, "customer", {{"acme", 4}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, true},
        {{"token_band"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
        /* The dearest are asked for alone; the others are what all come to without them. */
        {{"user"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_SPARE_RARE, PERIOD_TOTAL, false},
        {{"user", "model"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_DAY, false},
        {{"user"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_SPARE_UNSAVED, PERIOD_TOTAL, false},
        {{"model", "task"}, NULL, {{0}}, 0, LEDGER_WANT_METERS | LEDGER_SPARE, PERIOD_TOTAL, false},
        {{"user", "cell"}, "user", {{"u1", 2}, {"", 0}}, LEDGER_NE, LEDGER_SPARE_FINE, PERIOD_DAY,
         false},
        {{"customer", "model"}, "customer", {{"acme", 4}}, LEDGER_NE, LEDGER_WANT_METERS, PERIOD_HOUR,
         true},
        {{"user"}, NULL, {{0}}, 0, RANKS | LEDGER_SPARE_DETAILS, PERIOD_DAY, true},
        /* ... by what is no day's: costs of all groups are held, or all of their sums. */
        {{"user", "cell"}, NULL, {{0}}, 0, LEDGER_SPARE_FINE, PERIOD_TOTAL, false},
        {{"cell", "user"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, false},
        {{"customer", "cell"}, NULL, {{0}}, 0, LEDGER_SPARE_RARE, PERIOD_DAY, false},
        {{"customer", "cell"}, "user", {{"u1", 2}}, LEDGER_NE, RANKS, PERIOD_TOTAL, false},
        {{"user", "token_band", "team"}, "cell", {{"", 0}}, LEDGER_NE, 0, PERIOD_TOTAL, false},
        {{"customer", "outcome", "user"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_DAY, false},
        {{"user", "cell", "customer"}, NULL, {{0}}, 0, CUBE_BASIC, PERIOD_HOUR, false},
        {{"user", "outcome"}, "team", {{"search", 6}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, false},
        {{"customer", "user"}, NULL, {{0}}, 0, LEDGER_WANT_METERS, PERIOD_TOTAL, false},
        /* Rows that cost nothing, all alike: none is left out. */
        {{"user", "team"}, "price_status", {{"none", 4}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, true},
    };
    enum { OF = sizeof(of) / sizeof(*of) };
    struct zone *zone = zone_open("UTC");
    struct ledger_reader *r = kit_read(&shared);
    size_t left_out = 0;

    (void)state;
    for (size_t i = 0; i < (size_t)OF * 3 * 4; i++) {
        static const size_t costs[] = {LEDGER_COSTS_BYTES, LEDGER_COSTS_BYTES, 1000, 0};
        struct ledger_rows all, some;
        struct ledger_question q;
        struct fail fail;

        ledger_read_hold(r, i / 3 % 2 ? LEDGER_HELD_MAX : 0);
        ledger_read_costs(r, costs[i / 3 % 4]);
        ledger_read_crew(r, i / 3 % 2 ? 3 : 1, 1);
        make_question(&of[i / 12], zone, KIT_START_US + 5 * US_PER_HOUR, INT64_MAX, &q);
        assert_int_equal(ledger_read_sums(r, &q, &all, &fail), RC_OK);
        q.top = 1 + i % 3;
        assert_int_equal(ledger_read_sums(r, &q, &some, &fail), RC_OK);
        assert_int_equal(all.n_rest, 0);
        check_rest(&all, &some, &q);
        left_out += some.n_rest;
        ledger_rows_release(&all);
        ledger_rows_release(&some);
    }
    assert_true(left_out > 400);
    kit_read_end(r);
    zone_close(zone);
}

/* Columns of days in order: each as it may not be, and questions that read them. */
static void damaged_orders_are_no_answers(void **state)
{
    static const struct asked of[] = {
        {{"team"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
        {{"customer"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
        {{"customer", "model"}, NULL, {{0}}, 0, RANKS, PERIOD_TOTAL, true},
        {{"customer"}, "team", {{"search", 6}}, LEDGER_EQ, RANKS, PERIOD_TOTAL, true},
    };
    static const char *const columns[] = {"190", "191", "195", "196", "201", "205", "256"};
    static const char *const how[] = {
        "UPDATE cube SET body=x'ff'", "UPDATE cube SET body=zeroblob(length(body))",
        ("UPDATE cube SET body=cast(substr(body, 1, 1) || x'7fffffffffffffff' || substr(body, 10) "
         "AS BLOB)"),
        "DELETE FROM cube"};
    size_t refused = 0;

    (void)state;
    for (size_t i = 0; i < 7 * 4 * 4; i++) {
        const struct asked *a = &of[i % 4];
        struct ledger_reader *r;
        struct ledger_rows rows;
        struct ledger_question q;
        struct fail fail;
        char sql[400];
        enum rc rc;

        snprintf(sql, sizeof(sql),
                 "%s WHERE id>>44=%s AND (id & 17592186044415) >= "
                 "(SELECT min(first) FROM cube_day WHERE kind IN (7, 8) AND n>0)",
                 how[i / 4 % 4], columns[i / 16]);
        kit_sql(&shared, "CREATE TABLE c AS SELECT * FROM cube");
        kit_sql(&shared, sql);
        r = kit_read(&shared);
        ledger_read_hold(r, 0);
        make_question(a, NULL, INT64_MIN, INT64_MAX, &q);
        rc = ledger_read_sums(r, &q, &rows, &fail);
        assert_true(rc == RC_OK || rc == RC_BAD || rc == RC_LIMIT);
        if (rc == RC_OK)
            ledger_rows_release(&rows);
        refused += rc != RC_OK;
        kit_read_end(r);
        kit_sql(&shared, "DELETE FROM cube; INSERT INTO cube SELECT * FROM c; DROP TABLE c");
    }
    assert_true(refused > 7 * 4 * 4 / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cubes_equal_lines),
        cmocka_unit_test(ragged_ends_are_read_from_columns),
        cmocka_unit_test(windows_by_start_are_exact),
        cmocka_unit_test(version_9_gets_other_orders),
        cmocka_unit_test(days_that_are_too_large_have_none),
        cmocka_unit_test(what_comes_late_is_added),
        cmocka_unit_test(the_dearest_are_those_of_all),
        cmocka_unit_test(damaged_orders_are_no_answers),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(an_older_ledger_gets_cubes),
    };

    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
