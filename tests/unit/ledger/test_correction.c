/* Corrections: in all sums, never twice, and the lines stay as they are. */
#include "metering/ledger/correction.h"

#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/ledger/kit.h"

enum { LINES = 600, ROUNDS = 4 };

static struct record records[LINES];

static void write_lines(struct kit_dir *d, uint64_t seed)
{
    struct ledger *l;
    struct journal *j;

    kit_dir_make(d);
    l = kit_start(d, NULL, NULL);
    j = kit_journal(d, 0);
    for (int i = 0; i < LINES; i++) {
        kit_record(&seed, KIT_START_US, 5 * US_PER_DAY, &records[i]);
        assert_int_equal(journal_end(j, &records[i]), RC_OK);
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

/* Some price, of up to three meters; PRICE_NONE now and then. */
static void random_cost(uint64_t *seed, struct cost *cost)
{
    cost_clear(cost);
    if (kit_below(seed, 5) == 0)
        return;
    cost->status = PRICE_OK;
    cost->price_id = STRV("made/model@start");
    for (size_t i = 0; i < 3; i++) {
        struct cost_line *line = &cost->lines[cost->n_lines++];

        line->meter = (enum meter)(i * 3 + kit_below(seed, 3));
        line->quantity = kit_below(seed, 1000);
        line->rate.atto = (money_int)kit_below(seed, 1000) * 1000000;
        line->amount = (struct money){(money_int)kit_below(seed, 4) * 123456789012345};
        cost->contracted = money_add(cost->contracted, line->amount);
    }
    cost->list = money_add(cost->contracted, (struct money){(money_int)kit_below(seed, 3)});
}

struct pass {
    struct ledger_reader *reader;
    struct corrector *corrector;
    uint64_t seed;
    int64_t closed_us;
    struct money want;   /* sum of what every line should cost */
    struct money meters; /* the same by meters, of lines whose cost was made here */
    uint64_t made, seen;
    char book[2];
};

static bool correct_line(uint64_t seq, const struct record *r, void *arg)
{
    static struct record made;
    struct pass *p = arg;
    struct charged charged;
    struct cost cost;
    struct fail fail;
    bool differs;

    (void)seq;
    if (r->is_correction)
        return true;
    p->seen++;
    assert_int_equal(ledger_read_charged(p->reader, r, &charged, &fail), RC_OK);
    random_cost(&p->seed, &cost);
    differs = cost.status != PRICE_NONE &&
              (!charged.is_priced || money_cmp(charged.cost, cost.contracted) != 0 ||
               money_cmp(charged.list, cost.list) != 0);
    assert_int_equal(correction_make(r, &charged, &cost, strv_z(p->book), STRV("why"),
                                     STRV("ann"), p->closed_us, &made),
                     differs);
    p->want = money_add(p->want, cost.status == PRICE_NONE ? charged.cost : cost.contracted);
    if (!differs)
        return true;
    p->made++;
    assert_true(made.is_correction);
    assert_memory_equal(made.corrects.b, r->id.b, UUID_BYTES);
    assert_true(made.end_us == (r->end_us < p->closed_us ? p->closed_us : r->end_us));
    assert_int_equal(corrector_add(p->corrector, &made, &fail), RC_OK);
    return true;
}

/* The same numbers each time that it is called with the same seed. */
static struct pass correct_all(struct kit_dir *d, uint64_t seed, const char *book,
                               int64_t closed_us)
{
    struct pass p = {.reader = kit_read(d), .seed = seed, .closed_us = closed_us};
    struct ledger_filter all;
    struct fail fail;

    p.book[0] = book[0];
    p.corrector = corrector_open(d->db, d->journal, &fail);
    assert_non_null(p.corrector);
    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    assert_int_equal(
        ledger_read_lines(p.reader, &all, LEDGER_OLDEST, 0, 0, correct_line, &p, &fail), RC_OK);
    assert_int_equal(corrector_flush(p.corrector, &fail), RC_OK);
    corrector_close(p.corrector);
    kit_read_end(p.reader);
    assert_int_equal(p.seen, LINES);
    return p;
}

/* Costs of corrections are in percentiles where they are a price; times are of requests alone. */
static void check_percentiles(struct kit_dir *d)
{
    struct ledger_question q = {.want = LEDGER_WANT_PERCENTILES | LEDGER_WANT_LATENCY};
    struct ledger_reader *r = kit_read(d);
    struct ledger_rows rows, lines;
    struct fail fail;

    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    q.by[q.n_by++].id = FIELD_TEAM;
    assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
    q.want |= LEDGER_WANT_LINES;
    assert_int_equal(ledger_read_sums(r, &q, &lines, &fail), RC_OK);
    assert_true(rows.fact_rows > 0);
    assert_int_equal(lines.fact_rows, 0);
    assert_int_equal(rows.n, lines.n);
    for (size_t i = 0; i <= rows.n; i++) {
        const struct ledger_row *a = i < rows.n ? &rows.at[i] : &rows.total;
        const struct ledger_row *b = i < rows.n ? &lines.at[i] : &lines.total;

        assert_memory_equal(a->percentile, b->percentile, sizeof(a->percentile));
        assert_int_equal(a->has_latency, b->has_latency);
        assert_int_equal(a->p95_latency_ms, b->p95_latency_ms);
    }
    ledger_rows_release(&rows);
    ledger_rows_release(&lines);
    kit_read_end(r);
}

/* Rollups and lines say the same, and it is what is wanted. */
static void check_sums(struct kit_dir *d, struct money want, uint64_t corrections)
{
    static const unsigned wants[] = {LEDGER_WANT_METERS | LEDGER_WANT_BANDS,
                                     LEDGER_WANT_METERS | LEDGER_WANT_BANDS |
                                         LEDGER_WANT_LINES | LEDGER_WANT_PERCENTILES};
    struct ledger_question q = {.grain = PERIOD_TOTAL};
    struct ledger_reader *r = kit_read(d);
    struct fail fail;

    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    q.by[q.n_by++].id = FIELD_TEAM;
    for (size_t i = 0; i < 2; i++) {
        struct money bands = MONEY_ZERO;
        struct ledger_rows rows;

        q.want = wants[i];
        assert_int_equal(ledger_read_sums(r, &q, &rows, &fail), RC_OK);
        assert_int_equal(rows.total.sums.requests, LINES);
        assert_int_equal(rows.total.sums.corrections, corrections);
        assert_true(money_cmp(rows.total.sums.cost, want) == 0);
        for (unsigned b = 0; b < LEDGER_BANDS; b++)
            bands = money_add(bands, rows.total.bands[b].cost);
        assert_true(money_cmp(bands, want) == 0);
        ledger_rows_release(&rows);
    }
    kit_read_end(r);
    check_percentiles(d);
}

static bool lines_are_unchanged(uint64_t seq, const struct record *r, void *arg)
{
    (void)arg;
    if (r->is_correction)
        return true;
    assert_true(seq >= 1 && seq <= LINES);
    assert_memory_equal(r->id.b, records[seq - 1].id.b, UUID_BYTES);
    assert_true(money_cmp(r->cost, records[seq - 1].cost) == 0);
    return true;
}

static void corrections_are_in_all_sums(void **state)
{
    uint64_t corrections = 0, before;
    struct ledger_filter all;
    struct ledger_reader *r;
    struct kit_dir d;
    struct fail fail;

    (void)state;
    write_lines(&d, 77);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        int64_t closed_us = round % 2 ? KIT_START_US + 3 * US_PER_DAY : INT64_MIN;
        struct pass p = correct_all(&d, 1000 + round, "b", closed_us);

        assert_true(p.made > LINES / 4);
        corrections += p.made;
        kit_verify(&d);
        check_sums(&d, p.want, corrections);
        before = kit_lines(&d);
        p = correct_all(&d, 1000 + round, "b", closed_us); /* the same again */
        assert_int_equal(p.made, 0);
        assert_int_equal(kit_lines(&d), before);
    }
    r = kit_read(&d);
    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    assert_int_equal(
        ledger_read_lines(r, &all, LEDGER_OLDEST, 0, 0, lines_are_unchanged, NULL, &fail),
        RC_OK);
    kit_read_end(r);
    kit_dir_remove(&d);
}

/* Two that start from the same ledger make the same lines: the second adds none. */
static void the_same_correction_twice_is_one_line(void **state)
{
    struct corrector *twice[2];
    struct kit_dir d;
    struct fail fail;
    struct ledger *l;

    (void)state;
    write_lines(&d, 78);
    /* While a gateway has the ledger, both go through its journal. */
    l = kit_start(&d, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        struct pass p = {
            .reader = kit_read(&d), .seed = 5, .closed_us = INT64_MIN, .book = "c"};
        struct ledger_filter all;

        p.corrector = twice[i] = corrector_open(d.db, d.journal, &fail);
        assert_non_null(p.corrector);
        assert_true(corrector_is_journal(p.corrector));
        ledger_filter_init(&all, INT64_MIN, INT64_MAX);
        assert_int_equal(
            ledger_read_lines(p.reader, &all, LEDGER_OLDEST, 0, 0, correct_line, &p, &fail),
            RC_OK);
        kit_read_end(p.reader);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(corrector_flush(twice[i], &fail), RC_OK);
        corrector_close(twice[i]);
        ledger_catch_up(l);
        if (i == 0)
            assert_true(kit_lines(&d) > LINES);
    }
    ledger_stop(l);
    kit_verify(&d);
    {
        uint64_t n = kit_lines(&d);
        struct pass p = correct_all(&d, 5, "c", INT64_MIN);

        assert_int_equal(p.made, 0);
        assert_int_equal(kit_lines(&d), n);
        check_sums(&d, p.want, n - LINES);
    }
    kit_dir_remove(&d);
}

/* A command that said that it could not write leaves nothing to be written when it ends. */
static void what_failed_is_not_written_later(void **state)
{
    enum { ROOM_BYTES = 700 };
    struct pass p = {.seed = 6, .closed_us = INT64_MIN, .book = "c"};
    struct rlimit before, least;
    struct ledger_filter all;
    struct kit_dir d;
    struct fail fail;
    struct ledger *l;

    (void)state;
    write_lines(&d, 79);
    l = kit_start(&d, NULL, NULL);
    p.reader = kit_read(&d);
    p.corrector = corrector_open(d.db, d.journal, &fail);
    assert_non_null(p.corrector);
    assert_true(corrector_is_journal(p.corrector));
    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    assert_int_equal(
        ledger_read_lines(p.reader, &all, LEDGER_OLDEST, 0, 0, correct_line, &p, &fail), RC_OK);
    kit_read_end(p.reader);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    least = before;
    least.rlim_cur = ROOM_BYTES;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &least), 0);
    assert_int_equal(corrector_flush(p.corrector, &fail), RC_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    corrector_close(p.corrector);
    ledger_catch_up(l);
    assert_true(kit_lines(&d) < LINES + ROOM_BYTES / 100);

    /* The same again makes the rest. */
    (void)correct_all(&d, 6, "c", INT64_MIN);
    ledger_catch_up(l);
    ledger_stop(l);
    kit_verify(&d);
    {
        uint64_t n = kit_lines(&d);

        assert_int_equal(n, LINES + p.made);
        p = correct_all(&d, 6, "c", INT64_MIN);
        assert_int_equal(p.made, 0);
        check_sums(&d, p.want, n - LINES);
    }
    kit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corrections_are_in_all_sums),
        cmocka_unit_test(the_same_correction_twice_is_one_line),
        cmocka_unit_test(what_failed_is_not_written_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
