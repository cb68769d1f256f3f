/*
 * test_crew.c - walks over blocks that several threads share: answers are those from the lines,
 * whatever the views, and whoever takes part (pthread).
 */
#include "tests/unit/ledger/kit.h"

#include <dlfcn.h>
#include <pthread.h>

#include "metering/ledger/fact.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_fact.h"

#define US_PER_HOUR (INT64_C(3600) * US_PER_SECOND)

enum { BLOCKS = 6, RECORDS = BLOCKS * FACT_BLOCK + 700, MEMBERS = 3, MANY = 24 };

static struct kit_dir shared;

/* ---- who is first --------------------------------------------------------------------------- */

/*
 * A thread that is begun has done all its work before who begins it goes on: walks are so short here
 * that the asker might have all of it.
 */
static bool others_first;

struct begun {
    void *(*run)(void *);
    void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static size_t n_ended;

static void *run_to_its_end(void *arg)
{
    struct begun b = *(struct begun *)arg;
    void *result = b.run(b.arg);

    pthread_mutex_lock(&lock);
    n_ended++;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&lock);
    return result;
}

/* That of the library, which this one stands before. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
    static int (*of_library)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    struct begun begun = {run, arg};
    size_t before;
    int rc;

    if (!of_library)
        *(void **)&of_library = dlsym(RTLD_NEXT, "pthread_create");
    if (!others_first)
        return of_library(thread, attributes, run, arg);
    pthread_mutex_lock(&lock);
    before = n_ended;
    rc = of_library(thread, attributes, run_to_its_end, &begun);
    while (rc == 0 && n_ended == before)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ---- a ledger ------------------------------------------------------------------------------- */

static void write_correction(struct journal *j, const struct record *r, uint64_t *seed)
{
    struct record c = kit_correction(seed, r);

    c.n_lines = 0;
    c.cost.atto = (money_int)kit_below(seed, 1000000000) * 1000003 - 500000000;
    c.list_cost.atto = c.cost.atto + 7;
    assert_int_equal(journal_end(j, &c), RC_OK);
}

/* Four days, of which customers have users of their own and some that all have. */
static void write_some(int n, uint64_t seed)
{
    struct ledger *l = kit_start(&shared, NULL, NULL);
    struct journal *j = kit_journal(&shared, 0);

    for (int i = 0; i < n; i++) {
        char customer[24], user[24], task[24];
        struct record r;
        uint64_t c = kit_below(&seed, 90);

        kit_record(&seed, KIT_START_US, 4 * US_PER_DAY, &r);
        snprintf(customer, sizeof(customer), "customer-%d", (int)c);
        snprintf(user, sizeof(user), "user-%d", (int)(kit_below(&seed, 4) ? c * 5 + kit_below(&seed, 9) : kit_below(&seed, 6)));
        snprintf(task, sizeof(task), "task-%d", (int)kit_below(&seed, 400));
        if (c > 2) {
            r.subject.dim[DIM_CUSTOMER] = strv_z(customer);
            r.subject.dim[DIM_USER] = strv_z(user);
            r.subject.dim[DIM_TASK] = strv_z(task);
        }
        if (i / FACT_BLOCK % 2 == 1) { /* as traffic mostly is */
            r.attempt = 0;
            r.usage_source = USAGE_PROVIDER;
            r.price_status = PRICE_OK;
            r.list_cost = r.cost;
        }
        r.is_repeat = i % 7 == 0;
        r.is_cacheable = i % 5 == 0;
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 97 == 0)
            write_correction(j, &r, &seed);
        if (i % 1000 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    ledger_catch_up(l);
    journal_close(j);
    ledger_stop(l);
}

static int make_shared(void **state)
{
    (void)state;
    kit_dir_make(&shared);
    write_some(RECORDS, 41);
    return 0;
}

static int remove_shared(void **state)
{
    (void)state;
    kit_dir_remove(&shared);
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------ */

struct asked {
    const char *by[3];
    const char *field; /* a condition on it, or NULL */
    const char *value;
    enum ledger_op op;
    enum period grain;
    unsigned want;
};

enum {
    SPEND = LEDGER_SPARE_TRANSPORT | LEDGER_SPARE_DETAILS | LEDGER_SPARE_CEILING,
    /* Of wants: that spare nothing. */
    ALL = LEDGER_WANT_BANDS | LEDGER_WANT_REQUESTS | LEDGER_WANT_METERS,
};

enum { RANKS = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY | LEDGER_SPARE_FINE };

static const struct asked asked[] = {
    {{"customer", "user"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND},
    {{"customer", "model"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND},
    {{"user"}, "customer", "customer-7", LEDGER_EQ, PERIOD_TOTAL, SPEND},
    {{"customer"}, "feature", "rank", LEDGER_EQ, PERIOD_TOTAL, SPEND},
    {{"user", "feature"}, "team", "", LEDGER_NE, PERIOD_DAY, SPEND},
    {{"cell", "customer"}, "user", "user-1*", LEDGER_GLOB, PERIOD_TOTAL, 0},
    {{"task", "zone"}, NULL, NULL, 0, PERIOD_TOTAL, LEDGER_SPARE_TOKENS},
    {{"customer", "outcome", "cell"}, "cacheable", "yes", LEDGER_EQ, PERIOD_HOUR, LEDGER_COST_ALONE},
    {{"token_band", "customer"}, "zone", "a", LEDGER_NE, PERIOD_TOTAL, LEDGER_SPARE_DETAILS},
    {{"repeat", "user"}, NULL, NULL, 0, PERIOD_DAY, LEDGER_SPARE_FINE},
    {{"task_outcome", "customer"}, NULL, NULL, 0, PERIOD_TOTAL, 0},
    {{"customer", "team"}, "model", "gpt*", LEDGER_GLOB, PERIOD_TOTAL, LEDGER_SPARE_CEILING},
    {{"user"}, "customer", "no such", LEDGER_EQ, PERIOD_TOTAL, SPEND},
    {{NULL}, "user", "user-3", LEDGER_EQ, PERIOD_TOTAL, 0},
    {{"customer"}, NULL, NULL, 0, PERIOD_TOTAL, LEDGER_WANT_BANDS | SPEND},
    {{NULL}, "customer", "customer-7", LEDGER_EQ, PERIOD_TOTAL, LEDGER_WANT_BANDS | SPEND},
    {{"cell", "team"}, "user", "", LEDGER_NE, PERIOD_DAY, LEDGER_WANT_BANDS},
    {{"team"}, NULL, NULL, 0, PERIOD_DAY, LEDGER_WANT_BANDS | LEDGER_WANT_REQUESTS | SPEND},
    {{"user", "model"}, NULL, NULL, 0, PERIOD_TOTAL, LEDGER_WANT_METERS},
    {{"customer", "user"}, NULL, NULL, 0, PERIOD_DAY, LEDGER_WANT_METERS | SPEND},
    {{"cell"}, "user", "user-3", LEDGER_EQ, PERIOD_TOTAL, LEDGER_WANT_METERS},
    {{"token_band", "model"}, "task", "", LEDGER_EQ, PERIOD_TOTAL,
     LEDGER_WANT_METERS | LEDGER_SPARE | LEDGER_SPARE_CEILING},
    {{"cell"}, NULL, NULL, 0, PERIOD_TOTAL, RANKS},
    {{"cell"}, NULL, NULL, 0, PERIOD_DAY, RANKS},
    {{"user", "model"}, "team", "", LEDGER_NE, PERIOD_TOTAL, RANKS},
    {{"token_band", "team"}, "user", "user-1*", LEDGER_GLOB, PERIOD_TOTAL, RANKS},
};
enum { ASKED = sizeof(asked) / sizeof(*asked) };

static void make_question(const struct asked *a, const struct zone *zone, struct strv *value,
                          struct ledger_question *q)
{
    *q = (struct ledger_question){.grain = a->grain, .zone = zone, .want = a->want};
    ledger_filter_init(&q->filter, INT64_MIN, INT64_MAX);
    for (size_t i = 0; i < 3 && a->by[i]; i++)
        assert_true(ledger_field_parse(strv_z(a->by[i]), &q->by[q->n_by++]));
    if (a->field) {
        struct ledger_field field;

        *value = strv_z(a->value);
        assert_true(ledger_field_parse(strv_z(a->field), &field));
        assert_int_equal(ledger_filter_add(&q->filter, field, a->op, value, 1), RC_OK);
    }
}

/* Sums that are spared are not looked at: those of the same way are the same anyhow. */
static bool is_equal(const struct ledger_sums *a, const struct ledger_sums *b, unsigned want)
{
    if (a->requests != b->requests || a->unpriced != b->unpriced ||
        money_cmp(a->cost, b->cost) != 0)
        return false;
    if (want & LEDGER_SPARE_DETAILS) {
        bool is_alone = (want & LEDGER_COST_ALONE) == LEDGER_COST_ALONE;

        return is_alone ||
               (memcmp(a->by_usage_source, b->by_usage_source, sizeof(a->by_usage_source)) == 0 &&
                (want & LEDGER_SPARE_TOKENS ||
                 memcmp(a->tokens, b->tokens, sizeof(a->tokens)) == 0) && a->priced == b->priced &&
                a->price_partial == b->price_partial && a->corrections == b->corrections &&
                money_cmp(a->list, b->list) == 0 &&
                money_cmp(a->estimated_cost, b->estimated_cost) == 0);
    }
    return (want & ~(unsigned)ALL) != 0 || ledger_sums_equal(a, b);
}

static bool has_same_ranks(const struct ledger_row *a, const struct ledger_row *b)
{
    return (a->sums.priced == 0 ||
            memcmp(a->percentile, b->percentile, sizeof(a->percentile)) == 0) &&
           a->has_latency == b->has_latency && a->p95_latency_ms == b->p95_latency_ms;
}

static void assert_same_row(const struct ledger_row *a, const struct ledger_row *b, unsigned want)
{
    assert_true(is_equal(&a->sums, &b->sums, want));
    if (want & LEDGER_WANT_BANDS)
        assert_memory_equal(a->bands, b->bands, LEDGER_BANDS * sizeof(*a->bands));
    for (int i = 0; want & LEDGER_WANT_METERS && i < METER_COUNT; i++) {
        assert_int_equal(a->meters[i].requests, b->meters[i].requests);
        assert_int_equal(a->meters[i].quantity, b->meters[i].quantity);
        assert_int_equal(money_cmp(a->meters[i].amount, b->meters[i].amount), 0);
    }
    assert_true(!(want & LEDGER_WANT_PERCENTILES) || has_same_ranks(a, b));
}

static void assert_same(const struct ledger_rows *a, const struct ledger_rows *b, size_t n_by,
                        unsigned want)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_int_equal(a->at[i].start_us, b->at[i].start_us);
        assert_int_equal(a->at[i].end_us, b->at[i].end_us);
        assert_int_equal(a->at[i].place, b->at[i].place);
        for (size_t k = 0; k < n_by; k++)
            assert_true(strv_eq(a->at[i].value[k], b->at[i].value[k]));
        assert_same_row(&a->at[i], &b->at[i], want);
    }
    assert_same_row(&a->total, &b->total, want);
}

/* What is asked while another thread answers. */
struct meanwhile {
    struct ledger_reader *reader;
    const struct ledger_question *q;
    struct ledger_rows rows;
    size_t threads; /* that the reader had */
    enum rc rc;     /* to fail with */
};

static enum rc ask_meanwhile(void *arg, struct fail *fail)
{
    struct meanwhile *m = arg;

    m->threads = m->reader->crew_most;
    if (m->rc != RC_OK) {
        *fail = (struct fail){.rc = m->rc, .doing = "ask meanwhile"};
        return m->rc;
    }
    return ledger_read_sums(m->reader, m->q, &m->rows, fail);
}

/* Two of a question at once: the answers of all threads. */
static void check_beside(struct ledger_reader *r, const struct ledger_question *q,
                         const struct ledger_rows *expected)
{
    struct meanwhile m = {.reader = r, .q = q};
    struct ledger_rows rows;
    struct fail fail;

    ledger_read_crew(r, MEMBERS, 1);
    assert_int_equal(ledger_read_sums_beside(r, q, &rows, ask_meanwhile, &m, &fail), RC_OK);
    assert_int_equal(r->crew_most, MEMBERS);
    assert_int_equal(rows.fact_rows, expected->fact_rows);
    assert_int_equal(rows.line_rows, expected->line_rows);
    assert_same(&rows, expected, q->n_by, q->want);
    assert_same(&m.rows, expected, q->n_by, q->want);
    ledger_rows_release(&rows);
    ledger_rows_release(&m.rows);
    m.rc = RC_TIMEOUT;
    assert_int_equal(ledger_read_sums_beside(r, q, &rows, ask_meanwhile, &m, &fail), RC_TIMEOUT);
    assert_string_equal(fail.doing, "ask meanwhile");
}

struct many {
    const struct ledger_question *q;
    const struct ledger_rows *expected;
    size_t fails_at; /* that many are made, or taken */
    size_t made, taken;
    bool is_taken[MANY];
};

static enum rc make_one(size_t i, struct ledger_question *q, void *arg)
{
    struct many *m = arg;

    assert_true(i < MANY);
    if (m->made++ == m->fails_at)
        return RC_TIMEOUT;
    *q = *m->q;
    return RC_OK;
}

static enum rc take_one(size_t i, const struct ledger_rows *rows, void *arg)
{
    struct many *m = arg;

    assert_false(m->is_taken[i]);
    m->is_taken[i] = true;
    assert_same(rows, m->expected, m->q->n_by, m->q->want);
    return m->taken++ == m->fails_at ? RC_DENIED : RC_OK;
}

/* The same question many times: each answered once, whoever answers it. */
static void check_many(struct ledger_reader *r, const struct ledger_question *q,
                       const struct ledger_rows *expected)
{
    struct many m = {.q = q, .expected = expected, .fails_at = SIZE_MAX};
    struct ledger_many of = {.n = MANY, .make = make_one, .take = take_one, .arg = &m};
    struct fail fail;

    ledger_read_crew(r, MEMBERS, 1);
    assert_int_equal(ledger_read_many(r, &of, &fail), RC_OK);
    assert_int_equal(m.taken, MANY);
    assert_int_equal(r->crew_most, MEMBERS);
    of.n = 2; /* one after the other */
    m = (struct many){.q = q, .expected = expected, .fails_at = SIZE_MAX};
    assert_int_equal(ledger_read_many(r, &of, &fail), RC_OK);
    assert_int_equal(m.taken, 2);
    of.n = 0;
    assert_int_equal(ledger_read_many(r, &of, &fail), RC_OK);
}

/* The first that fails ends it. */
static void many_questions_end(void **state)
{
    struct asked by_user = {{"user"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND};
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_question q;
    struct ledger_rows rows;
    struct strv value;
    struct fail fail;

    (void)state;
    make_question(&by_user, NULL, &value, &q);
    ledger_read_crew(r, MEMBERS, 1);
    assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
    for (size_t at = 0; at < 5; at++) {
        struct many m = {.q = &q, .expected = &rows, .fails_at = at};
        struct ledger_many of = {.n = MANY, .make = make_one, .take = take_one, .arg = &m};
        enum rc rc = ledger_read_many(r, &of, &fail);

        assert_true(rc == RC_TIMEOUT || rc == RC_DENIED);
        assert_true(m.taken < MANY);
    }
    ledger_rows_release(&rows);
    kit_read_end(r);
}

/* The answer of three threads, of one, and from the lines. */
static void check_question(struct ledger_reader *r, const struct ledger_question *q)
{
    struct ledger_question of_lines = *q;
    struct ledger_rows shared_rows, alone, slow;
    struct fail fail;

    of_lines.want |= LEDGER_WANT_LINES;
    ledger_read_crew(r, MEMBERS, 1);
    assert_int_equal(ledger_read_sums(r, q, &shared_rows, &fail), RC_OK);
    ledger_read_crew(r, 1, 1);
    assert_int_equal(ledger_read_sums(r, q, &alone, &fail), RC_OK);
    assert_int_equal(ledger_read_sums(r, &of_lines, &slow, &fail), RC_OK);
    assert_true(shared_rows.fact_rows + shared_rows.line_rows > 0 || shared_rows.n == 0);
    assert_int_equal(shared_rows.fact_rows, alone.fact_rows);
    assert_int_equal(shared_rows.line_rows, alone.line_rows);
    assert_same(&shared_rows, &slow, q->n_by, q->want);
    assert_same(&alone, &slow, q->n_by, q->want);
    if (q->filter.from_us != INT64_MIN && !q->filter.by_start) {
        check_beside(r, q, &alone);
        check_many(r, q, &alone);
    }
    ledger_rows_release(&shared_rows);
    ledger_rows_release(&alone);
    ledger_rows_release(&slow);
}

static bool has_values(const struct ledger_row *a, const struct ledger_row *b, size_t n)
{
    bool same = true;

    for (size_t i = 0; i < n; i++)
        same &= strv_eq(a->value[i], b->value[i]);
    return same;
}

/* The groups that cost most have all that they have among all, and no other costs as much. */
static void check_dearest(const struct asked *a)
{
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_rows all, few;
    struct ledger_question q;
    struct strv value;
    struct money cost;
    struct fail fail;

    make_question(a, NULL, &value, &q);
    ledger_read_crew(r, 1, 1);
    assert_int_equal(ledger_read_sums(r, &q, &all, &fail), RC_OK);
    ledger_read_crew(r, MEMBERS, 1);
    q.top = 20;
    assert_int_equal(ledger_read_sums(r, &q, &few, &fail), RC_OK);
    assert_true(few.n >= 20 && few.n < all.n);
    assert_int_equal(few.n_rest, 1);
    assert_same_row(&few.total, &all.total, q.want);
    cost = few.at[0].sums.cost;
    for (size_t i = 1; i < few.n; i++)
        cost = money_cmp(few.at[i].sums.cost, cost) < 0 ? few.at[i].sums.cost : cost;
    for (size_t i = 0, k = 0; i < few.n; i++, k++) {
        while (k < all.n && !has_values(&all.at[k], &few.at[i], q.n_by)) {
            assert_true(money_cmp(all.at[k].sums.cost, cost) < 0);
            k++;
        }
        assert_true(k < all.n);
        assert_same_row(&few.at[i], &all.at[k], q.want);
    }
    ledger_rows_release(&all);
    ledger_rows_release(&few);
    kit_read_end(r);
}

static int nobody_is_first(void **state)
{
    (void)state;
    others_first = false;
    return 0;
}

/* Also where other threads have found all of them: their costs come to the asker's. */
static void the_dearest_have_their_meters(void **state)
{
    static const struct asked of[] = {
        {{"user", "model"}, NULL, NULL, 0, PERIOD_TOTAL, LEDGER_WANT_METERS},
        {{"user", "token_band"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND},
        {{"team", "user"}, "customer", "customer-7", LEDGER_NE, PERIOD_TOTAL, RANKS},
        {{"customer", "outcome", "user"}, NULL, NULL, 0, PERIOD_TOTAL, LEDGER_WANT_METERS},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(of) / sizeof(*of); i++) {
        others_first = i % 2 == 1;
        check_dearest(&of[i / 2]);
    }
}

/* Another thread is asked where columns answer, and there are enough of them. */
static void two_questions_are_asked_at_once(void **state)
{
    struct asked by_user = {{"user"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND};
    struct asked by_team = {{"team"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND};
    struct asked by_outcome = {{"user", "task_outcome"}, NULL, NULL, 0, PERIOD_TOTAL, SPEND};
    const struct {
        const struct asked *asked;
        size_t blocks_least, threads;
    } cases[] = {{&by_user, 1, 1}, {&by_user, BLOCKS, MEMBERS}, {&by_team, 1, MEMBERS},
                 {&by_outcome, 1, MEMBERS}};
    struct ledger_reader *r = kit_read(&shared);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ledger_question q;
        struct meanwhile m = {.reader = r, .q = &q};
        struct ledger_rows rows;
        struct strv value;
        struct fail fail;

        make_question(cases[i].asked, NULL, &value, &q);
        ledger_read_crew(r, MEMBERS, cases[i].blocks_least);
        assert_int_equal(ledger_read_sums_beside(r, &q, &rows, ask_meanwhile, &m, &fail), RC_OK);
        assert_int_equal(m.threads, cases[i].threads);
        assert_same(&rows, &m.rows, q.n_by, q.want);
        ledger_rows_release(&rows);
        ledger_rows_release(&m.rows);
    }
    kit_read_end(r);
}

static void check_answers(struct ledger_reader *r, size_t first, size_t step)
{
    struct zone *zone = zone_open("Asia/Kathmandu");

    for (size_t i = first; i < ASKED; i += step * KIT_EVERY) {
        struct ledger_question q;
        struct strv value;

        make_question(&asked[i], zone, &value, &q);
        ledger_read_hold(r, i % 2 ? 0 : LEDGER_HELD_MAX); /* one by one, or by buckets */
        ledger_read_count(r, i % 4 == 1 ? 10 : LEDGER_COUNTED_MAX); /* which may be too full */
        check_question(r, &q);
        q.filter.from_us = KIT_START_US + 7 * US_PER_HOUR + 11;
        q.filter.to_us = KIT_START_US + 3 * US_PER_DAY - 5;
        check_question(r, &q);
        q.filter.by_start = true;
        check_question(r, &q);
    }
    zone_close(zone);
}

/* ---- how many there are --------------------------------------------------------------------- */

/* Rows by the groups' fields and one more, from the lines; the next that is not told yet. */
struct by_lines {
    struct ledger_rows rows;
    size_t n_by, at;
};

/* The next group that has any. */
static bool sum_group(struct by_lines *b, struct ledger_distinct *out)
{
    const struct ledger_row *first = NULL;

    *out = (struct ledger_distinct){.n = 0};
    for (; b->at < b->rows.n; b->at++) {
        const struct ledger_row *row = &b->rows.at[b->at];
        bool is_same = true;

        for (size_t k = 0; first && k < b->n_by; k++)
            is_same &= strv_eq(first->value[k], row->value[k]);
        if (!is_same && out->n)
            break;
        if (row->value[b->n_by].n == 0)
            continue;
        first = row;
        out->value = row->value;
        out->n++;
        out->priced += row->sums.priced;
        out->cost = ledger_money_add(out->cost, row->sums.cost);
    }
    return out->n > 0;
}

static bool check_group(const struct ledger_distinct *d, void *arg)
{
    struct by_lines *b = arg;
    struct ledger_distinct of_lines;

    assert_true(sum_group(b, &of_lines));
    for (size_t k = 0; k < b->n_by; k++)
        assert_true(strv_eq(d->value[k], of_lines.value[k]));
    assert_int_equal(d->n, of_lines.n);
    assert_int_equal(d->priced, of_lines.priced);
    assert_int_equal(money_cmp(d->cost, of_lines.cost), 0);
    return true;
}

static void groups_have_as_many_as_the_lines_say(void **state)
{
    static const struct asked groups[] = {
        {{"feature"}, NULL, NULL, 0, PERIOD_TOTAL, 0},
        {{"cell", "model"}, NULL, NULL, 0, PERIOD_TOTAL, 0},
        {{"token_band"}, "feature", "rank", LEDGER_EQ, PERIOD_TOTAL, 0},
        {{NULL}, "model", "gpt*", LEDGER_GLOB, PERIOD_TOTAL, 0},
        {{"outcome", "task"}, "user", "user-1*", LEDGER_GLOB, PERIOD_TOTAL, 0},
    };
    const struct ledger_field fields[] = {{.id = FIELD_USER}, {.id = FIELD_CUSTOMER}};
    struct ledger_reader *r = kit_read(&shared);
    struct fail fail;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(groups) / sizeof(*groups); i++) {
        struct ledger_question q, by;
        struct by_lines b;
        struct strv value;

        make_question(&groups[i / 2], NULL, &value, &q);
        q.filter.from_us = KIT_START_US + 11;
        by = q;
        by.by[by.n_by++] = fields[i % 2];
        by.want |= LEDGER_WANT_LINES;
        b = (struct by_lines){.n_by = q.n_by};
        assert_int_equal(ledger_read_sums(r, &by, &b.rows, &fail), RC_OK);
        for (size_t members = 1; members <= MEMBERS; members += MEMBERS - 1) {
            struct ledger_distinct more;

            ledger_read_crew(r, members, 1);
            b.at = 0;
            assert_int_equal(
                ledger_read_distinct(r, &q, &fields[i % 2], check_group, &b, &fail), RC_OK);
            assert_false(sum_group(&b, &more));
        }
        ledger_rows_release(&b.rows);
    }
    kit_read_end(r);
}

/* ---- who takes part ------------------------------------------------------------------------- */

struct counted {
    struct crew_pieces pieces;
    atomic_uint members; /* a bit each */
    atomic_size_t blocks;
};

static void count(struct ledger_reader *r, size_t member, void *arg)
{
    struct counted *c = arg;
    size_t from, to;

    atomic_fetch_or(&c->members, 1u << member);
    assert_true(facts_stored(r) >= c->pieces.n);
    while (crew_take(&c->pieces, &from, &to))
        atomic_fetch_add(&c->blocks, to - from);
}

/* Bits of those who were called; all blocks are taken, once. */
static unsigned members_of(struct ledger_reader *r)
{
    struct counted c = {.members = 0};
    struct fail fail;
    bool known;

    assert_int_equal(facts_look(r, &known, &fail), RC_OK);
    assert_true(known);
    atomic_init(&c.members, 0);
    atomic_init(&c.blocks, 0);
    crew_cut(&c.pieces, facts_stored(r), MEMBERS);
    crew_run(r, MEMBERS, count, &c);
    assert_int_equal(atomic_load(&c.blocks), facts_stored(r));
    return atomic_load(&c.members);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void answers_equal_lines(void **state)
{
    struct ledger_reader *r = kit_read(&shared);

    (void)state;
    assert_int_equal(members_of(r), (1u << MEMBERS) - 1);
    check_answers(r, 0, 1);
    kit_read_end(r);
}

static void walks_of_few_blocks_are_not_shared(void **state)
{
    struct ledger_reader *r = kit_read(&shared);

    (void)state;
    assert_int_equal(crew_size(r, 2 * CREW_BLOCKS_LEAST - 1), 1);
    ledger_read_crew(r, 64, 0);
    assert_int_equal(crew_size(r, 2 * CREW_BLOCKS_LEAST), 2);
    assert_int_equal(crew_size(r, 1000 * CREW_BLOCKS_LEAST), CREW_MAX);
    ledger_read_crew(r, 1, 1);
    assert_int_equal(crew_size(r, 1000), 1);
    kit_read_end(r);
}

/* A thread's view is taken when it starts: it may have more than the asker's. */
static void later_views_may_have_more(void **state)
{
    struct ledger_reader *r = kit_read(&shared);

    (void)state;
    write_some(FACT_BLOCK, 42);
    assert_int_equal(members_of(r), (1u << MEMBERS) - 1);
    check_answers(r, 1, 3);
    kit_read_end(r);
    r = kit_read(&shared);
    check_answers(r, 2, 3);
    kit_read_end(r);
}

/* ... or less, when blocks were deleted: then the asker walks alone. */
static void blocks_that_went_are_read_by_the_asker(void **state)
{
    struct ledger_reader *r = kit_read(&shared);

    (void)state;
    kit_sql(&shared, "CREATE TABLE c AS SELECT * FROM fact_block WHERE block=1; "
                     "CREATE TABLE f AS SELECT * FROM fact WHERE id & 1099511627775 = 1; "
                     "DELETE FROM fact WHERE id & 1099511627775 = 1; "
                     "DELETE FROM fact_block WHERE block=1");
    assert_int_equal(members_of(r), 1);
    check_answers(r, 0, 4);
    kit_read_end(r);
    kit_sql(&shared, "INSERT INTO fact_block SELECT * FROM c; INSERT INTO fact SELECT * FROM f; "
                     "DROP TABLE c; DROP TABLE f");
}

/* Where no connection can be opened, or no thread be started. */
static void who_cannot_start_is_not_needed(void **state)
{
    struct ledger_reader *r = kit_read(&shared);
    char other[sizeof(shared.db) + 8];
    pthread_attr_t attributes, before;

    (void)state;
    snprintf(other, sizeof(other), "%s.away", shared.db);
    assert_int_equal(rename(shared.db, other), 0);
    assert_int_equal(members_of(r), 1);
    check_answers(r, 0, 5);
    assert_int_equal(rename(other, shared.db), 0);
    assert_int_equal(pthread_getattr_default_np(&before), 0);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, (size_t)1 << 46), 0);
    if (pthread_setattr_default_np(&attributes) == 0) {
        assert_int_equal(members_of(r), 1);
        check_answers(r, 1, 5);
    }
    assert_int_equal(pthread_setattr_default_np(&before), 0);
    pthread_attr_destroy(&attributes);
    pthread_attr_destroy(&before);
    kit_read_end(r);
}

static void damage_is_the_same_for_all(void **state)
{
    static const char *const how[] = {"x'ff'", "x''", "substr(body, 1, 20)", "zeroblob(8201)"};
    struct ledger_question q;
    struct ledger_rows rows;
    struct strv value;
    struct fail fail;

    (void)state;
    make_question(&asked[0], NULL, &value, &q);
    for (size_t i = 0; i < 4; i++) {
        char sql[200];
        struct ledger_reader *r;
        enum rc rc[2];

        snprintf(sql, sizeof(sql), "CREATE TABLE f AS SELECT * FROM fact; "
                 "UPDATE fact SET body=%s WHERE id=%lld", how[i], (long long)fact_row(FACT_AMOUNT_COLUMN + FACT_COST, 4));
        kit_sql(&shared, sql);
        r = kit_read(&shared);
        for (unsigned k = 0; k < 2; k++) {
            ledger_read_crew(r, 1 + k * (MEMBERS - 1), 1);
            rc[k] = ledger_read_sums(r, &q, &rows, &fail);
            if (rc[k] == RC_OK)
                ledger_rows_release(&rows);
        }
        assert_int_equal(rc[0], rc[1]);
        assert_int_equal(rc[0], RC_BAD);
        kit_read_end(r);
        kit_sql(&shared, "DELETE FROM fact; INSERT INTO fact SELECT * FROM f; DROP TABLE f");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_have_as_many_as_the_lines_say),
        cmocka_unit_test(answers_equal_lines),
        cmocka_unit_test_teardown(the_dearest_have_their_meters, nobody_is_first),
        cmocka_unit_test(two_questions_are_asked_at_once),
        cmocka_unit_test(many_questions_end),
        cmocka_unit_test(walks_of_few_blocks_are_not_shared),
        cmocka_unit_test(later_views_may_have_more),
        cmocka_unit_test(blocks_that_went_are_read_by_the_asker),
        cmocka_unit_test(who_cannot_start_is_not_needed),
        cmocka_unit_test(damage_is_the_same_for_all),
    };

    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
