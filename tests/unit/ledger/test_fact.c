/*
 * test_fact.c - requests by column: what is stored is what was put in, whatever it is; an
 * older ledger gets its columns; damage is named.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/fact.h"
#include "metering/ledger/read_meters.h"

/* Of a rare customer a block has few enough for their records to be read. */
enum { RECORDS = 2 * FACT_BLOCK + 700, RARE = FACT_BLOCK / (METERS_OF_FEW - 2) };

/* ---- the stored form ------------------------------------------------------------------ */

static const int64_t numbers[] = {
    0, 1, -1, 255, 256, 65535, 65536, INT64_C(1) << 32, INT64_MIN, INT64_MAX};
enum { NUMBERS = sizeof(numbers) / sizeof(*numbers) };

/* Some places, in order, as all of them have them. */
static void numbers_are_picked(struct strv bytes, const int64_t *all, size_t n, uint64_t *seed)
{
    int64_t out[FACT_BLOCK];
    uint16_t at[FACT_BLOCK] = {0};
    size_t some = 0;

    for (size_t i = 0; i < n; i++) {
        at[some] = (uint16_t)i;
        some += kit_below(seed, 3) == 0;
    }
    assert_int_equal(fact_pick_numbers(bytes, n, at, some, out), RC_OK);
    for (size_t k = 0; k < some; k++)
        assert_true(out[k] == all[at[k]]);
}

/* As many values as differ by what each width holds, and the widths' bounds. */
static void numbers_come_back(void **state)
{
    struct fact_block *b = fact_block_new();
    int64_t out[FACT_BLOCK];
    uint64_t seed = 5;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 1 << 20);
    for (int round = 0; round < 400; round++) {
        int shift = (int)kit_below(&seed, 64);
        int64_t base = numbers[kit_below(&seed, NUMBERS)];

        b->n = 1 + (size_t)kit_below(&seed, round % 8 ? 50 : FACT_BLOCK);
        for (size_t i = 0; i < b->n; i++)
            b->number[FACT_END][i] =
                round % 3 ? (int64_t)((uint64_t)base + (kit_random(&seed) >> shift))
                          : numbers[kit_below(&seed, NUMBERS)];
        assert_int_equal(fact_encode(b, FACT_END, &bytes), RC_OK);
        assert_int_equal(fact_decode_numbers(buf_view(&bytes), b->n, out), RC_OK);
        assert_memory_equal(out, b->number[FACT_END], b->n * sizeof(out[0]));
        numbers_are_picked(buf_view(&bytes), out, b->n, &seed);
        assert_int_equal(fact_decode_numbers(buf_view(&bytes), b->n + 1, out),
                         buf_len(&bytes) > 9 ? RC_BAD : RC_OK);
    }
    buf_release(&bytes);
    free(b);
}

/* Some places, in order, as all of them have them. */
static void amounts_are_picked(struct strv bytes, const money_int *all, size_t n, uint64_t *seed)
{
    money_int out[FACT_BLOCK];
    uint16_t at[FACT_BLOCK] = {0};
    size_t some = 0;

    for (size_t i = 0; i < n; i++) {
        at[some] = (uint16_t)i;
        some += kit_below(seed, 3) == 0;
    }
    assert_int_equal(fact_pick_amounts(bytes, n, at, some, out), RC_OK);
    for (size_t k = 0; k < some; k++)
        assert_true(out[k] == all[at[k]]);
}

static void amounts_come_back(void **state)
{
    struct fact_block *b = fact_block_new();
    money_int *out = xcalloc(FACT_BLOCK, sizeof(*out));
    uint64_t seed = 6;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 1 << 20);
    for (int round = 0; round < 400; round++) {
        int shift = 20 + (int)kit_below(&seed, 44), high = round % 4 == 0;
        money_int scale = (money_int)numbers[kit_below(&seed, 7)] * 1000003;

        b->n = 1 + (size_t)kit_below(&seed, round % 8 ? 50 : FACT_BLOCK);
        for (size_t i = 0; i < b->n; i++)
            b->amount[FACT_COST][i] =
                (money_int)(kit_random(&seed) >> shift) * scale * (high ? 1000000007 : 1);
        assert_int_equal(fact_encode(b, FACT_AMOUNT_COLUMN + FACT_COST, &bytes), RC_OK);
        assert_int_equal(fact_decode_amounts(buf_view(&bytes), b->n, out), RC_OK);
        assert_memory_equal(out, b->amount[FACT_COST], b->n * sizeof(out[0]));
        amounts_are_picked(buf_view(&bytes), out, b->n, &seed);
    }
    buf_release(&bytes);
    free(out);
    free(b);
}

static void hostile_bytes_are_refused(void **state)
{
    static const uint16_t at[] = {0, 1, 2, 3};
    static const char widths[] = {3, 5, 9, 17, 127, (char)255};
    money_int amount[4];
    int64_t number[4];
    char bytes[25 + 4 * 16];

    (void)state;
    memset(bytes, 1, sizeof(bytes));
    assert_int_equal(fact_decode_numbers(STRV(""), 4, number), RC_BAD);
    assert_int_equal(fact_decode_amounts(STRV(""), 4, amount), RC_BAD);
    for (size_t i = 0; i < sizeof(widths); i++) {
        bytes[0] = widths[i];
        for (size_t n = 0; n <= sizeof(bytes); n++) {
            assert_int_equal(fact_decode_numbers(strv_make(bytes, n), 4, number), RC_BAD);
            assert_int_equal(fact_decode_amounts(strv_make(bytes, n), 4, amount), RC_BAD);
            assert_int_equal(fact_pick_numbers(strv_make(bytes, n), 4, at, 4, number), RC_BAD);
            assert_int_equal(fact_pick_amounts(strv_make(bytes, n), 4, at, 4, amount), RC_BAD);
        }
    }
    bytes[0] = 16; /* of amounts alone */
    assert_int_equal(fact_decode_numbers(strv_make(bytes, 9 + 64), 4, number), RC_BAD);
    assert_int_equal(fact_decode_amounts(strv_make(bytes, sizeof(bytes)), 4, amount), RC_OK);
    bytes[0] = 1;
    for (size_t n = 0; n < 13; n++)
        assert_int_equal(fact_decode_numbers(strv_make(bytes, n), 4, number), RC_BAD);
    assert_int_equal(fact_decode_numbers(strv_make(bytes, 13), 4, number), RC_OK);
}

/* ---- ledgers ------------------------------------------------------------------------------
 */

static void write_records(struct kit_dir *d, int n, uint64_t seed)
{
    struct ledger *l = kit_start(d, NULL, NULL);
    struct journal *j = kit_journal(d, 0);

    for (int i = 0; i < n; i++) {
        struct record r;

        kit_record(&seed, KIT_START_US, 3 * US_PER_DAY, &r);
        if (i % RARE == 0)
            r.subject.dim[DIM_CUSTOMER] = STRV("rare");
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 500 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

static struct ledger_rows by_customer(struct ledger_reader *r, unsigned want)
{
    struct ledger_question q = {.n_by = 1, .want = want | LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY};
    struct ledger_rows rows;
    struct fail fail;

    q.by[0].id = FIELD_CUSTOMER;
    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
    return rows;
}

/* From columns where `from_facts`, else from lines, and right in either case. */
static void check_answer(const struct kit_dir *d, bool from_facts)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_rows a = by_customer(r, 0), b = by_customer(r, LEDGER_WANT_LINES);

    assert_int_equal(a.fact_rows > 0, from_facts);
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        assert_true(strv_eq(a.at[i].value[0], b.at[i].value[0]));
        assert_true(ledger_sums_equal(&a.at[i].sums, &b.at[i].sums));
        assert_memory_equal(a.at[i].percentile, b.at[i].percentile, sizeof(a.at[i].percentile));
        assert_true(a.at[i].has_latency && b.at[i].has_latency);
        assert_int_equal(a.at[i].p95_latency_ms, b.at[i].p95_latency_ms);
    }
    ledger_rows_release(&a);
    ledger_rows_release(&b);
    kit_read_end(r);
}

/* Amounts by meter, from columns but where these do not tell, or from the records; with bands of all. */
static struct ledger_rows meters_by_customer(struct ledger_reader *r, const struct strv *customer,
                                             unsigned want)
{
    struct ledger_question q = {.n_by = 2, .want = want | LEDGER_WANT_METERS};
    struct ledger_rows rows;
    struct fail fail;

    q.by[0].id = FIELD_CUSTOMER;
    q.by[1].id = FIELD_MODEL;
    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    if (customer)
        assert_int_equal(ledger_filter_add(&q.filter, q.by[0], LEDGER_EQ, customer, 1), RC_OK);
    else
        q.want |= LEDGER_WANT_BANDS;
    assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
    return rows;
}

/* customer NULL: all. Records that were read: those whose charges no column tells, and those of few. */
static uint64_t check_meters(const struct kit_dir *d, const struct strv *customer)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_rows a = meters_by_customer(r, customer, 0);
    struct ledger_rows b = meters_by_customer(r, customer, LEDGER_WANT_LINES);
    uint64_t n = a.line_rows;

    assert_true(ledger_sums_equal(&a.total.sums, &b.total.sums));
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        assert_true(ledger_sums_equal(&a.at[i].sums, &b.at[i].sums));
        if (!customer)
            assert_memory_equal(a.at[i].bands, b.at[i].bands,
                                LEDGER_BANDS * sizeof(*a.at[i].bands));
        for (size_t m = 0; m < METER_COUNT; m++) {
            const struct ledger_meter_sum *x = &a.at[i].meters[m], *y = &b.at[i].meters[m];

            assert_int_equal(x->requests, y->requests);
            assert_int_equal(x->quantity, y->quantity);
            assert_true(x->amount.atto == y->amount.atto);
        }
    }
    ledger_rows_release(&a);
    ledger_rows_release(&b);
    kit_read_end(r);
    return n;
}

/* What version 3 had, of what version 7 has; its records are the same. */
static const char *const as_version_3 =
    "DROP TABLE tally; DROP TABLE tally_block; DROP TABLE tally_again;"
    "DROP TABLE crossing; DROP TABLE cube; DROP TABLE cube_day;"
    "DROP TABLE fact; DROP TABLE fact_block; DROP INDEX task_closed; DROP INDEX task_first;"
    "CREATE INDEX task_closed ON task(closed_us) WHERE closed_us IS NOT NULL;"
    "PRAGMA user_version=3";

static void an_older_ledger_gets_columns(void **state)
{
    int64_t until = clock_mono_us() + 600 * US_PER_SECOND;
    struct kit_dir d;
    struct ledger *l;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, RECORDS, 41);
    assert_int_equal(kit_ask(&d, "SELECT count(*) FROM fact_block"), 2);
    check_answer(&d, true);
    kit_make_version_7(&d);
    kit_sql(&d, as_version_3);
    l = kit_start(&d, NULL, NULL);
    while (kit_ask(&d, "SELECT count(*) FROM fact_block") < 2 && clock_mono_us() < until)
        usleep(10000);
    ledger_stop(l);
    assert_int_equal(kit_ask(&d, "SELECT count(*) FROM fact_block"), 2);
    kit_verify(&d);
    check_answer(&d, true);
    write_records(&d, FACT_BLOCK, 42); /* those that were behind, and new ones */
    assert_int_equal(kit_ask(&d, "SELECT count(*) FROM fact_block"), 3);
    kit_verify(&d);
    check_answer(&d, true);
    kit_sql(&d, "DELETE FROM fact; DELETE FROM fact_block");
    check_answer(&d, false);
    kit_dir_remove(&d);
}

/*
 * What version 10 wrote of blocks: their charges come in pauses, also where records are gone, and
 * are read from the records until then.
 */
static void blocks_of_version_10_get_charges(void **state)
{
    int64_t until = clock_mono_us() + 600 * US_PER_SECOND, columns;
    const struct strv rare = STRV("rare");
    const char *const marks = "SELECT count(*) FROM fact WHERE id>>40=127";
    struct kit_dir d;
    struct ledger *l;
    uint64_t other;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, RECORDS, 44);
    columns = kit_ask(&d, "SELECT count(*) FROM fact");
    assert_int_equal(kit_ask(&d, marks), 2);
    other = check_meters(&d, NULL);
    assert_true(other > 0 && other < RECORDS / 2);
    assert_int_equal(check_meters(&d, &rare), kit_ask(&d, "SELECT count(*) FROM line WHERE customer="
                                                     "(SELECT id FROM word WHERE text='rare')"));
    kit_sql(&d, "DELETE FROM fact WHERE id>>40=18 OR id>>40>=127; PRAGMA user_version=10");
    kit_sql(&d, "PRAGMA user_version=14"); /* as a gateway leaves it that has just started */
    assert_true(check_meters(&d, NULL) >= 2 * FACT_BLOCK);
    kit_verify(&d);
    kit_sql(&d, "PRAGMA user_version=10");
    l = kit_start(&d, NULL, NULL);
    while (kit_ask(&d, marks) < 2 && clock_mono_us() < until)
        usleep(10000);
    ledger_stop(l);
    assert_int_equal(kit_ask(&d, "SELECT count(*) FROM fact"), columns);
    assert_int_equal(check_meters(&d, NULL), other);
    kit_verify(&d);
    kit_dir_remove(&d);
}

static void meters_come_back(void **state)
{
    char bytes[FACT_METERS_BYTES];
    uint64_t seed = 9, meters;

    (void)state;
    for (int round = 0; round < 200; round++) {
        uint64_t some = kit_random(&seed) & ((UINT64_C(1) << METER_COUNT) - 1);

        fact_encode_meters(some, bytes);
        assert_int_equal(fact_decode_meters(strv_make(bytes, sizeof(bytes)), &meters), RC_OK);
        assert_int_equal(meters, some);
        assert_int_equal(fact_decode_meters(strv_make(bytes, sizeof(bytes) - 1), &meters), RC_BAD);
    }
    memset(bytes, 0xff, sizeof(bytes)); /* of a newer version */
    assert_int_equal(fact_decode_meters(strv_make(bytes, sizeof(bytes)), &meters), RC_OK);
    assert_int_equal(meters, (UINT64_C(1) << METER_COUNT) - 1);
}

/* What a unit costs, to the last digit, or nothing. */
static void lines_that_are_no_product_have_no_unit(void **state)
{
    static const money_int most = ((money_int)1 << 126) - 1;
    const struct {
        enum meter meter;
        uint64_t quantity;
        money_int rate, amount;
        bool is;
    } lines[] = {
        {METER_IN, 3, 2000000, 6, true},
        {METER_IN, 3, 0, 0, true},
        {METER_IN, 0, 2000000, 0, false},
        {METER_IN, 3, 2000001, 6, false},
        {METER_IN, 3, 2000000, 7, false},
        {METER_IN, 3, -2000000, -6, true},
        {METER_AUDIO_SEC, 5, 2000000000, 10, true},
        {METER_AUDIO_SEC, 5, 2000000, 10, false},
        {METER_OUT, INT64_MAX, 1000000, INT64_MAX, true},
        {METER_OUT, (uint64_t)INT64_MAX + 1, 1000000, (money_int)INT64_MAX + 1, false},
        {METER_OUT, INT64_MAX, most / 1000000 * 1000000, most, false},
        {METER_OUT, 2, (money_int)INT64_MAX * 1000000, (money_int)INT64_MAX * 2, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        const struct record_line line = {lines[i].meter, lines[i].quantity, {lines[i].rate},
                                         {lines[i].amount}};
        struct money unit;

        assert_int_equal(fact_line_unit(&line, &unit), lines[i].is);
        if (lines[i].is)
            assert_true(fact_unit_rate(line.meter, unit).atto == line.rate.atto);
    }
}

/* Of a column, of a row of it, of a whole block, and of its end. */
static const char *const damages[] = {
    "DELETE FROM fact WHERE id=(SELECT min(id) FROM fact WHERE id>>40=11)",
    "UPDATE fact SET body=x'' WHERE id>>40=10",
    "UPDATE fact SET body=x'ff' WHERE id>>40=64",
    "DELETE FROM fact_block WHERE block=1",
    "UPDATE fact SET body=(SELECT body FROM fact WHERE id>>40=129 AND id&3=1) WHERE id>>40=129",
    "UPDATE fact SET body=x'00' WHERE id>>40=257",
    "UPDATE fact SET body=x'01' WHERE id>>40=127",
    ("UPDATE fact SET body=(SELECT body FROM fact WHERE id>>40=4 AND id&3=1) "
     "WHERE id>>40=4 AND id&3=2"),
};

static void damage_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        struct ledger_verdict v;
        struct ledger_reader *r;
        struct kit_dir d;
        struct fail fail;

        kit_dir_make(&d);
        write_records(&d, RECORDS, 43);
        kit_sql(&d, damages[i]);
        r = kit_read(&d);
        assert_int_equal(ledger_read_verify(r, NULL, NULL, &v, &fail), RC_OK);
        assert_true(v.bad_facts > 0);
        assert_non_null(strstr(v.first, "the columns of line "));
        assert_int_equal(v.bad_lines + v.bad_rollups + v.bad_tasks, 0);
        kit_read_end(r);
        kit_dir_remove(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(amounts_come_back),
        cmocka_unit_test(hostile_bytes_are_refused),
        cmocka_unit_test(meters_come_back),
        cmocka_unit_test(lines_that_are_no_product_have_no_unit),
        cmocka_unit_test(an_older_ledger_gets_columns),
        cmocka_unit_test(blocks_of_version_10_get_charges),
        cmocka_unit_test(damage_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
