/*
 * test_repair.c - whatever derived is damaged, a repair makes it as it was; records, outcomes of
 * tasks and sums of deleted lines stay.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/fact.h"
#include "metering/ledger/repair.h"
#include "metering/ledger/schema.h"

/*
 * Two blocks and more are of one day, so that it is worth adding up, and one is of the day after
 * alone, so that it is over.
 */
enum { RECORDS = 4 * FACT_BLOCK + 700, OLD = 2000, OF_A_DAY = 2 * FACT_BLOCK + 1000, DAYS = 12,
       WAIT_MS = 60000 };

static int64_t bound_us; /* lines that ended before are deleted */

/* Traffic of three days within a week, tasks with outcomes among it. */
static void write_records(const struct kit_dir *d, int64_t from_us)
{
    struct ledger *l = kit_start(d, NULL, NULL);
    struct journal *j = kit_journal(d, 0);
    uint64_t seed = 61;

    for (int i = 0; i < RECORDS; i++) {
        int day = i < OLD ? 0 : i < OLD + OF_A_DAY ? 5 : 6;
        struct record r;

        kit_record(&seed, from_us + day * US_PER_DAY, US_PER_DAY - 600 * US_PER_SECOND, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 700 == 0 && r.subject.dim[DIM_TASK].n) {
            struct task_note note = {r.end_us, r.subject.dim[DIM_TEAM], r.subject.dim[DIM_TASK],
                                     STRV("k1"), TASK_COMPLETED};

            assert_int_equal(journal_task(j, &note), RC_OK);
        }
        if (i % 500 == 0) {
            kit_flush(j);
            ledger_catch_up(l);
        }
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

static const char *const old_lines =
    "SELECT coalesce((SELECT count(*) FROM line WHERE end_us<value), 0) FROM state "
    "WHERE name='kept_from_us' UNION ALL SELECT 1 LIMIT 1";

/* Runs until days are added up (and old lines gone). */
static void run_a_while(const struct kit_dir *d, int keep_days)
{
    struct ledger_options options = {.path = d->db,
                                     .journal_dir = d->journal,
                                     .sync = SYNC_NEVER,
                                     .sync_interval_ms = 20,
                                     .ingest_interval_ms = 2,
                                     .keep_days = keep_days};
    int64_t until = clock_mono_us() + WAIT_MS * INT64_C(1000);
    struct fail fail;
    struct ledger *l = ledger_start(&options, NULL, NULL, &fail);

    assert_non_null(l);
    while ((kit_ask(d, "SELECT count(*) FROM cube") == 0 ||
            (keep_days && kit_ask(d, old_lines) != 0)) &&
           clock_mono_us() < until)
        usleep(5000);
    ledger_stop(l);
    assert_true(kit_ask(d, "SELECT count(*) FROM cube") > 0);
}

/* ---- what is asked before and after ---------------------------------------------------- */

struct answers {
    struct ledger_rows by_team, by_customer;
    uint64_t closed, lines;
    struct money tasks_cost;
};

static bool add_task(const struct ledger_task *task, void *arg)
{
    struct answers *a = arg;

    a->closed += task->outcome != TASK_OPEN;
    a->tasks_cost = money_add(a->tasks_cost, task->sums.cost);
    return true;
}

/* Customers, and tasks, of requests from then on; tasks at all of all requests alone. */
static struct answers ask(const struct kit_dir *d, int64_t from_us)
{
    enum ledger_cohort cohort = from_us == INT64_MIN ? COHORT_CLOSED : COHORT_SPEND;
    struct ledger_reader *r = kit_read(d);
    struct ledger_question q = {.n_by = 1, .grain = PERIOD_TOTAL};
    struct answers a = {.lines = (uint64_t)kit_ask(d, "SELECT count(*) FROM line")};
    struct fail fail;

    q.by[0].id = FIELD_TEAM;
    ledger_filter_init(&q.filter, INT64_MIN, INT64_MAX);
    assert_int_equal(ledger_read_sums(r, &q, &a.by_team, &fail), RC_OK);
    q.by[0].id = FIELD_CUSTOMER;
    q.filter.from_us = from_us;
    assert_int_equal(ledger_read_sums(r, &q, &a.by_customer, &fail), RC_OK);
    assert_int_equal(ledger_read_tasks(r, &q.filter, cohort, NULL, 0, 0, add_task, &a, &fail),
                     RC_OK);
    kit_read_end(r);
    return a;
}

static void assert_same_rows(const struct ledger_rows *a, const struct ledger_rows *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_true(strv_eq(a->at[i].value[0], b->at[i].value[0]));
        assert_true(ledger_sums_equal(&a->at[i].sums, &b->at[i].sums));
    }
}

static void release(struct answers *a)
{
    ledger_rows_release(&a->by_team);
    ledger_rows_release(&a->by_customer);
}

static void assert_same(struct answers *a, struct answers *b)
{
    assert_same_rows(&a->by_team, &b->by_team);
    assert_same_rows(&a->by_customer, &b->by_customer);
    assert_int_equal(a->closed, b->closed);
    assert_int_equal(a->lines, b->lines);
    assert_int_equal(money_cmp(a->tasks_cost, b->tasks_cost), 0);
    release(a);
    release(b);
}

/* ---- damages ------------------------------------------------------------------------------- */

static bool go_on(uint64_t records, void *arg)
{
    (void)records;
    (void)arg;
    return true;
}

static bool stop(uint64_t records, void *arg)
{
    (void)arg;
    return records < RECORDS / 2;
}

static void check(const struct kit_dir *d)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_verdict v;
    struct fail fail;
    char text[256];

    if (ledger_read_verify(r, NULL, NULL, &v, &fail) != RC_OK) {
        fail_text(&fail, text, sizeof(text));
        fail_msg("%s", text);
    }
    if (v.first[0])
        fail_msg("%s", v.first);
    kit_read_end(r);
}

static uint64_t bad(const struct kit_dir *d)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_verdict v;
    struct fail fail;
    enum rc rc = ledger_read_verify(r, NULL, NULL, &v, &fail);

    kit_read_end(r);
    return rc == RC_OK ? v.bad_lines + v.bad_rollups + v.bad_tasks + v.bad_facts + v.bad_cubes +
                             v.bad_tallies
                       : 1;
}

/* Each together, as repairs take their time. */
static const char *const damages[] = {
    "UPDATE rollup SET cost_nano=cost_nano+1 WHERE level=2;"
    "UPDATE rollup SET body=x'00' WHERE level=0;"
    "DELETE FROM rollup WHERE level=1 AND bucket=(SELECT max(bucket) FROM rollup WHERE level=1);"
    "UPDATE task SET body=x'' WHERE name='t1' AND first_us>0;"
    "UPDATE fact SET body=x'ff' WHERE id>>40=4",
    "UPDATE line SET cost_nano=7, combo=1 WHERE seq>16000;"
    "DELETE FROM line WHERE seq BETWEEN 8000 AND 8100;"
    "UPDATE OR IGNORE combo SET team=feature WHERE id>(SELECT max(id)-20 FROM combo);"
    "DELETE FROM fact_block WHERE block=2; UPDATE cube SET body=x'ff'",
};

static void whatever_is_damaged_is_as_before(void **state)
{
    struct kit_dir d;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, KIT_START_US);
    run_a_while(&d, 0);
    check(&d);
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        struct answers before = ask(&d, INT64_MIN), after;
        struct ledger_repair made;
        struct fail fail;

        kit_sql(&d, damages[i]);
        if (bad(&d) == 0)
            fail_msg("no damage: %s", damages[i]);
        assert_int_equal(ledger_repair(d.db, d.journal, go_on, NULL, &made, &fail), RC_OK);
        assert_int_equal(made.records, RECORDS);
        assert_int_equal(made.unreadable, 0);
        check(&d);
        after = ask(&d, INT64_MIN);
        assert_same(&before, &after);
        if (i + 1 < sizeof(damages) / sizeof(*damages))
            run_a_while(&d, 0); /* days are added up anew */
    }
    kit_dir_remove(&d);
}

static void a_repair_that_is_stopped_changes_nothing(void **state)
{
    struct ledger_repair made;
    struct answers before, after;
    struct kit_dir d;
    struct fail fail;
    struct ledger *l;

    (void)state;
    kit_dir_make(&d);
    assert_int_equal(ledger_repair(d.db, d.journal, go_on, NULL, &made, &fail), RC_STATE);
    write_records(&d, KIT_START_US);
    before = ask(&d, INT64_MIN);
    assert_int_equal(ledger_repair(d.db, d.journal, stop, NULL, &made, &fail), RC_EOF);
    after = ask(&d, INT64_MIN);
    assert_same(&before, &after);
    check(&d);
    l = kit_start(&d, NULL, NULL);
    assert_int_equal(ledger_repair(d.db, d.journal, go_on, NULL, &made, &fail), RC_DENIED);
    ledger_stop(l);
    kit_sql(&d, "UPDATE record SET body=x'0102' WHERE seq=9");
    assert_int_equal(ledger_repair(d.db, d.journal, go_on, NULL, &made, &fail), RC_OK);
    assert_int_equal(made.unreadable, 1);
    assert_int_equal(made.records, RECORDS - 1);
    assert_true(bad(&d) > 0); /* a record without a line */
    kit_dir_remove(&d);
}

static void sums_of_deleted_lines_stay(void **state)
{
    int64_t today_us = rollup_bucket(LEVEL_DAY, clock_wall_us()) * US_PER_DAY;
    struct ledger_repair made;
    struct answers before, after;
    struct kit_dir d;
    struct fail fail;

    (void)state;
    kit_dir_make(&d);
    write_records(&d, today_us - DAYS * US_PER_DAY);
    kit_kept_until(&d, clock_wall_us());
    run_a_while(&d, DAYS - 3);
    bound_us = kit_ask(&d, "SELECT value FROM state WHERE name='kept_from_us'");
    assert_true(kit_ask(&d, "SELECT count(*) FROM line") < RECORDS);
    before = ask(&d, bound_us);
    kit_sql(&d, "UPDATE rollup SET body=x'00' WHERE level=0 AND bucket=(SELECT max(bucket) FROM "
                "rollup WHERE level=0)");
    assert_true(bad(&d) > 0);
    assert_int_equal(ledger_repair(d.db, d.journal, go_on, NULL, &made, &fail), RC_OK);
    check(&d);
    after = ask(&d, bound_us);
    assert_same(&before, &after);
    kit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_damaged_is_as_before),
        cmocka_unit_test(a_repair_that_is_stopped_changes_nothing),
        cmocka_unit_test(sums_of_deleted_lines_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
