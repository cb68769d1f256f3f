/*
 * test_percentile.c - percentiles of cost and time are those from the lines, by one thread and by
 * several, held or counted (pthread).
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/cube.h"
#include "metering/ledger/fact.h"

enum {
    DAYS = 3,
    OF_DAY = 2 * FACT_BLOCK + 300,
    RECORDS = DAYS * OF_DAY,
    CUBES = (DAYS - 1) * CUBE_KINDS, /* the last day is not over */
    MEMBERS = 3,
};
enum { RANKS = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY | LEDGER_SPARE_FINE };

static struct kit_dir shared;

/* ---- a ledger ------------------------------------------------------------------------------- */

static void write_correction(struct journal *j, const struct record *r, uint64_t *seed)
{
    struct record c = kit_correction(seed, r);

    c.n_lines = 0;
    c.cost.atto = (money_int)kit_below(seed, 1000000000) * 1000003;
    c.list_cost = c.cost;
    assert_int_equal(journal_end(j, &c), RC_OK);
}

/* Costs and times that many have, that one customer's all have, and one beyond what is counted. */
static void make_special(struct record *r, int i, uint64_t *seed)
{
    static const char *const customers[] = {"tied", "same", "some", "few"};
    unsigned c = (unsigned)kit_below(seed, 40);

    if (i == RECORDS / 2) {
        r->subject.dim[DIM_CUSTOMER] = STRV("once");
        r->latency_us = INT64_C(90000) * US_PER_SECOND;
    } else if (c < 4) {
        r->subject.dim[DIM_CUSTOMER] = strv_z(customers[c]);
    }
    if (c == 0) {
        r->cost.atto = (money_int)(1 + kit_below(seed, 3)) * 1000000000000;
        r->latency_us = (int64_t)(1 + kit_below(seed, 3)) * 1000000;
    } else if (c == 1) {
        r->price_status = PRICE_OK;
        r->cost.atto = (money_int)777 * 1000000000000;
        r->latency_us = 1234567;
    }
}

static int make_shared(void **state)
{
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 77;

    (void)state;
    kit_dir_make(&shared);
    l = kit_start(&shared, NULL, NULL);
    j = kit_journal(&shared, 0);
    for (int i = 0; i < RECORDS; i++) {
        char user[24];
        struct record r;

        kit_record(&seed, KIT_START_US + i / OF_DAY * US_PER_DAY, US_PER_DAY, &r);
        snprintf(user, sizeof(user), "user-%d", (int)kit_below(&seed, 1 + kit_below(&seed, 300)));
        r.subject.dim[DIM_USER] = i % 9 ? strv_z(user) : STRV("");
        make_special(&r, i, &seed);
        r.is_repeat = i % 7 == 0;
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 211 == 0)
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
};

static const struct asked asked[] = {
    {{"cell"}, NULL, NULL, 0, PERIOD_TOTAL},
    {{"token_band"}, NULL, NULL, 0, PERIOD_TOTAL},
    {{"token_band", "team"}, NULL, NULL, 0, PERIOD_TOTAL},
    {{"repeat"}, "customer", "same", LEDGER_EQ, PERIOD_TOTAL},
    {{"repeat"}, "customer", "tied", LEDGER_EQ, PERIOD_TOTAL},
    {{"repeat"}, "customer", "once", LEDGER_EQ, PERIOD_TOTAL},
    {{"repeat"}, "customer", "nobody", LEDGER_EQ, PERIOD_TOTAL},
    {{"cell"}, "user", "user-1*", LEDGER_GLOB, PERIOD_DAY},
    {{"cacheable", "zone"}, "team", "", LEDGER_NE, PERIOD_TOTAL},
    {{"user"}, NULL, NULL, 0, PERIOD_TOTAL},
    {{"user", "model"}, "cell", "", LEDGER_NE, PERIOD_TOTAL},
    {{"user", "customer"}, NULL, NULL, 0, PERIOD_DAY},
    {{"customer"}, NULL, NULL, 0, PERIOD_TOTAL},
    {{"customer"}, NULL, NULL, 0, PERIOD_WEEK},
    {{"customer", "model"}, NULL, NULL, 0, PERIOD_TOTAL},
    {{"model", "customer"}, "repeat", "no", LEDGER_EQ, PERIOD_DAY},
    {{"team"}, "user", "", LEDGER_EQ, PERIOD_TOTAL},
};
enum { ASKED = sizeof(asked) / sizeof(*asked) };

static void make_question(const struct asked *a, const struct zone *zone, struct strv *value,
                          struct ledger_question *q)
{
    *q = (struct ledger_question){.grain = a->grain, .zone = zone, .want = RANKS};
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

static void assert_same_ranks(const struct ledger_row *a, const struct ledger_row *b)
{
    assert_int_equal(a->sums.requests, b->sums.requests);
    assert_int_equal(a->sums.priced, b->sums.priced);
    if (a->sums.priced > 0)
        assert_memory_equal(a->percentile, b->percentile, sizeof(a->percentile));
    assert_int_equal(a->has_latency, b->has_latency);
    assert_int_equal(a->p95_latency_ms, b->p95_latency_ms);
}

static bool is_row(const struct ledger_row *a, const struct ledger_row *b, size_t n_by)
{
    bool is = a->start_us == b->start_us;

    for (size_t k = 0; k < n_by; k++)
        is &= strv_eq(a->value[k], b->value[k]);
    return is;
}

/* Each row, of all or of the dearest alone, is that of the lines; so is the total. */
static void assert_some_of(const struct ledger_rows *some, const struct ledger_rows *all,
                           size_t n_by)
{
    size_t k = 0;

    for (size_t i = 0; i < some->n; i++, k++) {
        while (k < all->n && !is_row(&all->at[k], &some->at[i], n_by))
            k++;
        assert_true(k < all->n);
        assert_same_ranks(&some->at[i], &all->at[k]);
    }
    assert_true(some->n_rest > 0 || some->n == all->n);
    assert_same_ranks(&some->total, &all->total);
}

/* How percentiles are found: held whole, counted, counted but too many; of the dearest alone. */
static const struct {
    uint64_t held, counted;
    size_t members, top;
} ways[] = {
    {LEDGER_HELD_MAX, LEDGER_COUNTED_MAX, MEMBERS, 7}, {LEDGER_HELD_MAX, LEDGER_COUNTED_MAX, 1, 7},
    {LEDGER_HELD_MAX, LEDGER_COUNTED_MAX, MEMBERS, 0}, {0, LEDGER_COUNTED_MAX, MEMBERS, 0},
    {0, LEDGER_COUNTED_MAX, 1, 7},                     {0, 10, MEMBERS, 0},
};
enum { WAYS = sizeof(ways) / sizeof(*ways) };

static void check_question(struct ledger_reader *r, struct ledger_question *q, size_t *left_out)
{
    struct ledger_question of_lines = *q;
    struct ledger_rows lines, rows;
    struct fail fail;

    of_lines.want |= LEDGER_WANT_LINES;
    assert_int_equal(ledger_read_sums(r, &of_lines, &lines, &fail), RC_OK);
    for (size_t w = 0; w < WAYS; w++) {
        ledger_read_hold(r, ways[w].held);
        ledger_read_count(r, ways[w].counted);
        ledger_read_crew(r, ways[w].members, 1);
        q->top = ways[w].top;
        assert_int_equal(ledger_read_sums(r, q, &rows, &fail), RC_OK);
        assert_some_of(&rows, &lines, q->n_by);
        *left_out += rows.n_rest > 0;
        ledger_rows_release(&rows);
    }
    ledger_rows_release(&lines);
}

static void percentiles_equal_lines(void **state)
{
    struct zone *zone = zone_open("UTC");
    struct ledger_reader *r = kit_read(&shared);
    size_t left_out = 0;

    (void)state;
    for (size_t i = 0; i < ASKED; i += KIT_EVERY) {
        struct ledger_question q;
        struct strv value;

        make_question(&asked[i], zone, &value, &q);
        check_question(r, &q, &left_out);
        if (i % 2 == 0)
            continue;
        q.filter.from_us = KIT_START_US + US_PER_DAY / 3 + 11;
        q.filter.to_us = KIT_START_US + 2 * US_PER_DAY - 5;
        check_question(r, &q, &left_out);
    }
    assert_true(left_out > 20 / KIT_EVERY); /* of three ways for each that has more than 7 rows */
    kit_read_end(r);
    zone_close(zone);
}

/* The same once days are added up and stand in order. */
static void so_they_do_once_days_are_in_order(void **state)
{
    const int64_t until = clock_mono_us() + 600 * US_PER_SECOND;
    struct ledger *l = kit_start(&shared, NULL, NULL);

    while (kit_ask(&shared, "SELECT count(*) FROM cube_day") < CUBES && clock_mono_us() < until)
        usleep(20000);
    ledger_stop(l);
    assert_int_equal(kit_ask(&shared, "SELECT count(*) FROM cube_day"), CUBES);
    percentiles_equal_lines(state);
}

/* Dearer than all others: of no bucket that holds a rank, so that only counts tell of them. */
static void write_dear(int n)
{
    struct ledger *l = kit_start(&shared, NULL, NULL);
    struct journal *j = kit_journal(&shared, 0);
    uint64_t seed = 78;

    for (int i = 0; i < n; i++) {
        struct record r;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &r);
        r.price_status = PRICE_OK;
        r.cost.atto = (money_int)4000 * 1000000000000000000;
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
    kit_flush(j);
    ledger_catch_up(l);
    journal_close(j);
    ledger_stop(l);
}

/*
 * Who finds the percentiles of all while the rows are added up has a later view: with what came
 * since they are not those of these rows.
 */
static void a_later_total_is_not_taken(void **state)
{
    const struct asked by_user = {{"user"}, NULL, NULL, 0, PERIOD_TOTAL};
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_question q;
    size_t left_out = 0;
    struct strv value;

    (void)state;
    write_dear(40);
    make_question(&by_user, NULL, &value, &q);
    q.want &= ~(unsigned)LEDGER_WANT_LATENCY;
    check_question(r, &q, &left_out);
    assert_true(left_out > 0);
    kit_read_end(r);
}

/* A row whose buckets have more costs than may be taken is found another way. */
static void the_bound_is_kept(void **state)
{
    struct asked by_band = {{"token_band"}, NULL, NULL, 0, PERIOD_TOTAL};
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_question q;
    struct strv value;
    struct fail fail;
    uint64_t rows[2];

    (void)state;
    make_question(&by_band, NULL, &value, &q);
    ledger_read_hold(r, 0);
    for (int i = 0; i < 2; i++) {
        struct ledger_rows counted;

        ledger_read_count(r, i ? LEDGER_COUNTED_MAX : 10);
        assert_int_equal(ledger_read_sums(r, &q, &counted, &fail), RC_OK);
        rows[i] = counted.fact_rows;
        ledger_rows_release(&counted);
    }
    assert_true(rows[0] > rows[1]); /* the first walk was for nothing */
    kit_read_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_equal_lines),
        cmocka_unit_test(the_bound_is_kept),
        cmocka_unit_test(so_they_do_once_days_are_in_order),
        cmocka_unit_test(a_later_total_is_not_taken),
    };

    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
