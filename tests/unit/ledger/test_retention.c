/*
 * test_retention.c - lines that are too old are deleted; what rollups say stays as it was,
 * and what only lines could say is refused.
 *
 * TOLLGATE_RETENTION_LINES makes a long run by hand, which prints what it measured.
 */
#include "tests/unit/ledger/kit.h"

#include <sqlite3.h>

#include "metering/ledger/ingest.h"
#include "metering/ledger/schema.h"

enum { LINES = 3000, DAYS = 40, KEEP_DAYS = 15, QUESTIONS = 80, WAIT_MS = 30000, MIDNIGHT_US = 60000000,
       STEP_LINES = 500 };

static struct kit_dir shared;
static int64_t from_us, bound_us; /* of the records; of those that are kept */
static unsigned line_count = LINES;

/* ---- what there is ----------------------------------------------------------------------- */

static struct ledger *start(const struct kit_dir *d, int keep_days)
{
    struct ledger_options options = {.path = d->db,
                                     .journal_dir = d->journal,
                                     .sync = SYNC_INTERVAL,
                                     .sync_interval_ms = 20,
                                     .ingest_interval_ms = 2,
                                     .keep_days = keep_days};
    struct fail fail;
    struct ledger *l = ledger_start(&options, NULL, NULL, &fail);

    assert_non_null(l);
    return l;
}

static int64_t number(const struct kit_dir *d, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    int64_t n;

    assert_int_equal(sqlite3_open(d->db, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_bind_parameter_count(stmt) > 0)
        sqlite3_bind_int64(stmt, 1, bound_us);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void change(const struct kit_dir *d, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(d->db, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    sqlite3_close(db);
}

/* Runs until nothing is too old. */
static void expire(const struct kit_dir *d, int keep_days)
{
    int64_t until = clock_mono_us() + WAIT_MS * INT64_C(1000);
    struct ledger *l;

    kit_kept_until(d, clock_wall_us());
    l = start(d, keep_days);
    while (number(d, "SELECT count(*) FROM line WHERE end_us<?1") > 0 &&
           clock_mono_us() < until)
        usleep(2000);
    ledger_stop(l);
    assert_int_equal(number(d, "SELECT count(*) FROM line WHERE end_us<?1"), 0);
}

/* By hand: how long transactions as the ledger makes them take. */
static void measure(const struct kit_dir *d)
{
    struct fail fail;
    struct ingest *in = ingest_open(d->db, LEDGER_OPEN_BUSY_MS, &fail);
    int64_t began = clock_mono_us(), most = 0, gone = 0, calls = 0;
    bool more;
    size_t n;

    assert_non_null(in);
    do {
        int64_t at = clock_mono_us();

        assert_int_equal(ingest_expire(in, bound_us, STEP_LINES, &n, &more, &fail), RC_OK);
        at = clock_mono_us() - at;
        most = at > most ? at : most;
        gone += (int64_t)n;
        calls++;
    } while (more);
    began = clock_mono_us() - began;
    print_message("%lld lines in %lld ms: a transaction %lld us, the longest %lld us\n",
                  (long long)gone, (long long)(began / 1000), (long long)(began / calls),
                  (long long)most);
    ingest_close(in);
}

static void add(const struct kit_dir *d, int64_t start_us, int64_t span_us, unsigned n)
{
    struct ledger *l = start(d, 0);
    struct journal *j = kit_journal(d, 0);
    uint64_t seed = 77 + n;

    for (unsigned i = 0; i < n; i++) {
        struct record r;

        kit_record(&seed, start_us, span_us, &r);
        if (i % 7 == 0) /* tasks that end */
            r.subject.dim[DIM_TASK] = i % 2 ? STRV("old") : STRV("older");
        if (i % 7 == 0)
            r.start_us = start_us + r.start_us % US_PER_DAY, r.end_us = r.start_us + 1000000;
        r.latency_us = r.end_us - r.start_us;
        assert_int_equal(journal_end(j, &r), RC_OK);
        if (i % 200 == 0)
            kit_flush(j);
    }
    kit_flush(j);
    journal_close(j);
    ledger_stop(l);
}

static int64_t today_us(void)
{
    return rollup_bucket(LEVEL_DAY, clock_wall_us()) * US_PER_DAY;
}

static int make_shared(void **state)
{
    const char *by_hand = getenv("TOLLGATE_RETENTION_LINES");
    uint64_t n;
    int64_t left_us = today_us() + US_PER_DAY - clock_wall_us();

    (void)state;
    if (left_us < MIDNIGHT_US) /* the bound moves on then */
        usleep((useconds_t)left_us);
    if (by_hand && strv_parse_u64(strv_z(by_hand), UINT32_MAX, &n))
        line_count = (unsigned)n;
    kit_dir_make(&shared);
    from_us = today_us() - DAYS * US_PER_DAY;
    bound_us = today_us() - KEEP_DAYS * US_PER_DAY;
    add(&shared, from_us, DAYS * US_PER_DAY, line_count);
    return 0;
}

static int remove_shared(void **state)
{
    (void)state;
    kit_dir_remove(&shared);
    return 0;
}

/* ---- questions --------------------------------------------------------------------------- */

static const char *const fields[] = {"team", "feature", "model", "key", "outcome", "task_type"};
static const char *const zones[] = {"UTC", "Europe/Berlin", "Asia/Kathmandu"};

static void random_question(uint64_t *seed, const struct zone *zone, struct ledger_question *q)
{
    int64_t quarter = rollup_width_us(LEVEL_QUARTER);
    int64_t low = from_us + (int64_t)kit_below(seed, DAYS * 96) * quarter;
    int64_t high = low + (int64_t)kit_below(seed, DAYS * 96) * quarter, ignored;

    *q = (struct ledger_question){.zone = zone};
    q->filter.by_start = kit_below(seed, 3) == 0;
    q->grain = q->filter.by_start ? PERIOD_TOTAL : (enum period)kit_below(seed, PERIOD_TOTAL);
    if (q->filter.by_start) { /* a window of a limit */
        zone_period(zone, PERIOD_DAY, low, &low, &ignored);
        high = INT64_MAX;
    } else if (kit_below(seed, 4) == 0) {
        low = INT64_MIN;
        high = INT64_MAX;
    }
    ledger_filter_init(&q->filter, low, high);
    q->filter.by_start = high == INT64_MAX && low != INT64_MIN;
    q->n_by = (size_t)kit_below(seed, 3);
    for (size_t i = 0; i < q->n_by; i++)
        assert_true(ledger_field_parse(strv_z(fields[kit_below(seed, 6)]), &q->by[i]));
}

struct answers {
    struct ledger_rows at[QUESTIONS];
};

static void ask_all(struct answers *to)
{
    struct ledger_reader *r = kit_read(&shared);
    uint64_t seed = 5;

    for (int i = 0; i < QUESTIONS; i++) {
        struct zone *zone = zone_open(zones[kit_below(&seed, 3)]);
        struct ledger_question q;
        struct fail fail;

        random_question(&seed, zone, &q);
        assert_int_equal(ledger_read_sums(r, &q, &to->at[i], &fail), RC_OK);
        zone_close(zone);
    }
    kit_read_end(r);
}

static void release_all(struct answers *a)
{
    for (int i = 0; i < QUESTIONS; i++)
        ledger_rows_release(&a->at[i]);
}

/* The least and the most of one request cannot be taken out of a window's sums. */
static void assert_same_sums(const struct ledger_row *a, const struct ledger_row *b)
{
    struct ledger_sums x = a->sums, y = b->sums;

    x.cost_min = y.cost_min;
    x.cost_max = y.cost_max;
    x.latency_max_us = y.latency_max_us;
    x.first_byte_max_us = y.first_byte_max_us;
    assert_true(ledger_sums_equal(&x, &y));
}

static unsigned compare_all(const struct answers *before, const struct answers *after)
{
    unsigned rows = 0;

    for (int i = 0; i < QUESTIONS; i++) {
        const struct ledger_rows *a = &before->at[i], *b = &after->at[i];
        size_t k = 0;

        for (size_t n = 0; n < b->n; n++) {
            if (b->at[n].sums.requests == 0 && k < a->n && a->at[k].sums.requests > 0)
                continue; /* a group that had only what began before the window */
            if (k == a->n) {
                assert_int_equal(b->at[n].sums.requests, 0);
                continue;
            }
            assert_same_sums(&a->at[k++], &b->at[n]);
        }
        assert_int_equal(k, a->n);
        assert_same_sums(&a->total, &b->total);
        rows += (unsigned)k;
    }
    return rows;
}

static enum rc ask_by(const char *by, int64_t low, int64_t high, const char *team,
                      struct ledger_rows *rows, struct fail *fail)
{
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_question q = {.grain = PERIOD_TOTAL, .n_by = 1};
    struct strv value = strv_z(team ? team : "");
    struct ledger_field field;
    enum rc rc;

    assert_true(ledger_field_parse(strv_z(by), &q.by[0]));
    ledger_filter_init(&q.filter, low, high);
    assert_true(ledger_field_parse(STRV("team"), &field));
    if (team)
        assert_int_equal(ledger_filter_add(&q.filter, field, LEDGER_EQ, &value, 1), RC_OK);
    rc = ledger_read_sums(r, &q, rows, fail);
    kit_read_end(r);
    return rc;
}

static bool ignore_task(const struct ledger_task *task, void *arg)
{
    (void)task;
    ++*(unsigned *)arg;
    return true;
}

static bool tasks_are_gone(enum ledger_cohort cohort, int64_t low)
{
    struct ledger_reader *r = kit_read(&shared);
    struct ledger_filter f;
    struct fail fail;
    unsigned n = 0;
    bool gone;

    ledger_filter_init(&f, low, INT64_MAX);
    gone = ledger_read_tasks(r, &f, cohort, NULL, 0, 0, ignore_task, &n, &fail) == RC_STATE &&
           ledger_lines_are_gone(&fail);
    kit_read_end(r);
    return gone;
}

/* ---- tests ------------------------------------------------------------------------------- */

static void sums_stay_and_lines_go(void **state)
{
    struct answers *before = xcalloc(1, sizeof(*before)), *after = xcalloc(1, sizeof(*after));
    int64_t rollups = number(&shared, "SELECT count(*) FROM rollup");
    int64_t kept = number(&shared, "SELECT count(*) FROM line WHERE end_us>=?1");
    struct ledger_rows was, is;
    struct fail fail;

    (void)state;
    ask_all(before);
    assert_int_equal(ask_by("customer", bound_us, INT64_MAX, NULL, &was, &fail), RC_OK);
    if (line_count != LINES)
        measure(&shared);
    expire(&shared, KEEP_DAYS);
    ask_all(after);
    assert_true(compare_all(before, after) > QUESTIONS);
    release_all(before);
    release_all(after);

    assert_int_equal(number(&shared, "SELECT count(*) FROM rollup"), rollups);
    assert_int_equal(number(&shared, "SELECT count(*) FROM line"), kept);
    assert_int_equal(number(&shared, "SELECT count(*) FROM record"), kept);
    assert_true(kept > 0 && kept < (int64_t)line_count);
    kit_verify(&shared);

    assert_int_equal(ask_by("customer", bound_us, INT64_MAX, NULL, &is, &fail), RC_OK);
    assert_int_equal(was.n, is.n);
    for (size_t i = 0; i < is.n; i++)
        assert_true(ledger_sums_equal(&was.at[i].sums, &is.at[i].sums));
    ledger_rows_release(&was);
    ledger_rows_release(&is);
    free(before);
    free(after);
}

static void what_needs_lines_is_refused(void **state)
{
    static const char *const needs[] = {"customer", "user", "task", "cell", "token_band"};
    int64_t low = bound_us - US_PER_DAY;
    struct ledger_reader *r;
    struct ledger_filter f;
    struct ledger_rows rows;
    struct fail fail;
    uint64_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(needs) / sizeof(*needs); i++) {
        assert_int_equal(ask_by(needs[i], low, INT64_MAX, NULL, &rows, &fail), RC_STATE);
        assert_true(ledger_lines_are_gone(&fail));
    }
    /* a ragged edge, as long as there was something in its quarter */
    assert_int_equal(ask_by("team", from_us + 1, bound_us - US_PER_DAY, NULL, &rows, &fail),
                     RC_STATE);
    /* nothing was there: nothing is missing */
    assert_int_equal(ask_by("customer", INT64_MIN, from_us, NULL, &rows, &fail), RC_OK);
    assert_int_equal(rows.n, 0);
    ledger_rows_release(&rows);
    assert_int_equal(ask_by("customer", INT64_MIN, bound_us, "nobody", &rows, &fail), RC_OK);
    ledger_rows_release(&rows);

    r = kit_read(&shared);
    ledger_filter_init(&f, low, INT64_MAX);
    assert_int_equal(
        ledger_read_lines(r, &f, LEDGER_OLDEST, 0, 0, kit_count_line, &n, &fail), RC_STATE);
    assert_int_equal(n, 0);
    ledger_filter_init(&f, bound_us, INT64_MAX);
    assert_int_equal(
        ledger_read_lines(r, &f, LEDGER_OLDEST, 0, 0, kit_count_line, &n, &fail), RC_OK);
    assert_true(n > 0);
    kit_read_end(r);

    assert_true(tasks_are_gone(COHORT_SPEND, low));
    assert_true(tasks_are_gone(COHORT_CLOSED, low));
    assert_true(tasks_are_gone(COHORT_OPEN, low));
    assert_false(tasks_are_gone(COHORT_SPEND, bound_us));
    assert_false(tasks_are_gone(COHORT_CLOSED, bound_us));
    /* t1 to t5 have lines of then and of now: neither half is the whole */
    assert_true(tasks_are_gone(COHORT_OPEN, bound_us));
}

static void tasks_go_with_their_lines(void **state)
{
    (void)state;
    assert_int_equal(number(&shared, "SELECT count(*) FROM task WHERE name LIKE 'old%' AND "
                                     "id<(SELECT max(id) FROM task)"),
                     0);
    assert_true(number(&shared, "SELECT count(*) FROM task WHERE name='t1'") > 0);
    assert_int_equal(number(&shared, "SELECT count(*) FROM line WHERE task<>0 AND task NOT IN "
                                     "(SELECT id FROM task)"),
                     0);
}

/* What comes late is counted, then goes the way of its day; names and numbers are not reused. */
static void late_lines_are_counted(void **state)
{
    struct ledger_rows was, is;
    struct fail fail;
    int64_t seq = number(&shared, "SELECT max(seq) FROM record");

    (void)state;
    assert_int_equal(ask_by("team", INT64_MIN, INT64_MAX, NULL, &was, &fail), RC_OK);
    add(&shared, from_us, US_PER_DAY, 50);
    kit_verify(&shared); /* beside rollups of lines that are gone */
    expire(&shared, KEEP_DAYS);
    kit_verify(&shared);
    assert_int_equal(ask_by("team", INT64_MIN, INT64_MAX, NULL, &is, &fail), RC_OK);
    assert_int_equal(is.total.sums.requests, was.total.sums.requests + 50);
    ledger_rows_release(&was);
    ledger_rows_release(&is);
    assert_true(number(&shared, "SELECT value FROM state WHERE name='last_seq'") >= seq + 50);
    add(&shared, bound_us + US_PER_DAY, US_PER_DAY, 1);
    assert_true(number(&shared, "SELECT max(seq) FROM record") > seq + 50);
    kit_verify(&shared);
}

static void damage_is_still_found(void **state)
{
    struct ledger_reader *r;
    struct ledger_verdict v;
    struct fail fail;

    (void)state;
    change(&shared, "UPDATE rollup SET requests=requests+1 WHERE level=1 AND "
                    "bucket=(SELECT max(bucket) FROM rollup WHERE level=1)");
    r = kit_read(&shared);
    assert_int_equal(ledger_read_verify(r, NULL, NULL, &v, &fail), RC_OK);
    assert_true(v.bad_rollups > 0);
    kit_read_end(r);
}

/* An idle gateway: nothing at all is left, and the next number is the next. */
static void everything_may_go(void **state)
{
    struct ledger_reader *r;
    struct ledger_as_of as_of;
    struct kit_dir d;
    struct fail fail;

    (void)state;
    kit_dir_make(&d);
    add(&d, from_us, US_PER_DAY, 700); /* more than one transaction */
    expire(&d, KEEP_DAYS);
    assert_int_equal(number(&d, "SELECT count(*) FROM record"), 0);
    assert_int_equal(kit_segments(&d, NULL, 0), 0);
    kit_verify(&d);
    r = kit_read(&d);
    assert_int_equal(ledger_read_as_of(r, &as_of, &fail), RC_OK);
    kit_read_end(r);
    assert_int_equal(as_of.seq, 700);
    assert_true(as_of.kept_from_us == bound_us && as_of.first_us == from_us);
    add(&d, bound_us, US_PER_DAY, 1);
    assert_int_equal(number(&d, "SELECT max(seq) FROM record"), 701);
    kit_verify(&d);
    kit_dir_remove(&d);
}

static void put(struct ingest *in, uint64_t *seed, int64_t at_us)
{
    struct fail fail;
    struct record r;
    struct buf bytes;
    bool is_new;

    buf_init(&bytes, JOURNAL_ENTRY_MAX_BYTES);
    kit_record(seed, at_us, 1, &r);
    assert_int_equal(record_encode(&r, &bytes), RC_OK);
    assert_int_equal(ingest_record(in, &r, buf_view(&bytes), &is_new, &fail), RC_OK);
    assert_true(is_new);
    buf_release(&bytes);
}

/*
 * Numbers go on, though their table is empty again or a transaction was undone; who deletes by
 * hand makes the next one be done again, and no more.
 */
static void numbers_go_on(void **state)
{
    uint64_t seed = 91;
    struct ingest *in;
    struct kit_dir d;
    struct fail fail;
    bool more;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    in = ingest_open(d.db, LEDGER_OPEN_BUSY_MS, &fail);
    assert_non_null(in);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ingest_begin(in, &fail), RC_OK);
        put(in, &seed, from_us);
        assert_int_equal(ingest_commit(in, 1, &fail), RC_OK);
    }
    assert_int_equal(ingest_expire(in, bound_us, STEP_LINES, &n, &more, &fail), RC_OK);
    assert_int_equal(n, 3);
    assert_int_equal(number(&d, "SELECT count(*) FROM record"), 0);
    for (int i = 4; i < 7; i++) {
        assert_int_equal(ingest_begin(in, &fail), RC_OK);
        put(in, &seed, bound_us);
        assert_int_equal(ingest_commit(in, 1, &fail), RC_OK);
        assert_int_equal(ingest_begin(in, &fail), RC_OK);
        put(in, &seed, bound_us);
        put(in, &seed, bound_us);
        ingest_rollback(in);
        assert_int_equal(number(&d, "SELECT max(seq) FROM record"), i);
    }
    assert_int_equal(ingest_begin(in, &fail), RC_OK);
    put(in, &seed, bound_us);
    assert_int_equal(ingest_commit(in, 1, &fail), RC_OK);
    change(&d, "DELETE FROM line WHERE seq=7; DELETE FROM record WHERE seq=7");
    assert_int_equal(ingest_begin(in, &fail), RC_OK);
    put(in, &seed, bound_us);
    assert_int_equal(ingest_commit(in, 1, &fail), RC_AGAIN);
    ingest_rollback(in);
    assert_int_equal(ingest_begin(in, &fail), RC_OK);
    put(in, &seed, bound_us);
    assert_int_equal(ingest_commit(in, 1, &fail), RC_OK);
    assert_int_equal(number(&d, "SELECT max(seq) FROM record"), 7);
    ingest_close(in);
    kit_dir_remove(&d);
}

/* It has looked for old lines, and has nothing left to do. */
static void until_looked(struct ledger *l)
{
    int64_t until = clock_mono_us() + WAIT_MS * INT64_C(1000);
    struct ledger_stats stats;

    do {
        usleep(2000);
        ledger_stats(l, &stats);
    } while (stats.has_chores && clock_mono_us() < until);
    assert_false(stats.has_chores);
}

/*
 * The clock says that all is too old, and nothing else does: as after a long stop, or where it is
 * wrong. Each process goes on from what the last one believed, also with lines of that clock.
 */
static void a_clock_alone_deletes_nothing(void **state)
{
    struct kit_dir d;

    (void)state;
    kit_dir_make(&d);
    add(&d, from_us, US_PER_DAY, 50);
    for (unsigned i = 0; i < 3; i++) {
        struct ledger *l = start(&d, KEEP_DAYS);
        int64_t believed_us;

        until_looked(l);
        ledger_stop(l);
        assert_int_equal(number(&d, "SELECT count(*) FROM line WHERE end_us<?1"), 50);
        believed_us = number(&d, "SELECT value FROM state WHERE name='expire_us'");
        assert_in_range(believed_us, from_us, from_us + 2 * US_PER_DAY);
        add(&d, today_us(), 1, 5 + i); /* of another seed each time */
    }
    expire(&d, KEEP_DAYS);
    assert_int_equal(number(&d, "SELECT count(*) FROM line"), 5 + 6 + 7);
    kit_dir_remove(&d);
}

/* A ledger of which nobody noted the time goes by its newest line. */
static void the_newest_line_tells_the_first_time(void **state)
{
    struct kit_dir d;
    struct ledger *l;

    (void)state;
    kit_dir_make(&d);
    add(&d, from_us, US_PER_DAY, 50);
    add(&d, clock_wall_us() - 2 * US_PER_SECOND, 1, 1);
    l = start(&d, KEEP_DAYS);
    until_looked(l);
    ledger_stop(l);
    assert_int_equal(number(&d, "SELECT count(*) FROM line"), 1);
    kit_dir_remove(&d);
}

/* A reader keeps its view, whoever deletes meanwhile; without keep_days nothing goes. */
static void views_hold(void **state)
{
    struct ledger_reader *r;
    struct ledger_filter all;
    struct kit_dir d;
    struct fail fail;
    uint64_t n = 0;

    (void)state;
    kit_dir_make(&d);
    add(&d, from_us, US_PER_DAY, 300);
    ledger_stop(start(&d, 0));
    r = kit_read(&d);
    expire(&d, KEEP_DAYS);
    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    assert_int_equal(
        ledger_read_lines(r, &all, LEDGER_OLDEST, 0, 0, kit_count_line, &n, &fail), RC_OK);
    assert_int_equal(n, 300);
    kit_read_end(r);
    kit_dir_remove(&d);
}

/* One call is one transaction of so many lines; another's lock makes it wait, not fail. */
static void transactions_are_bounded(void **state)
{
    struct ingest *in;
    sqlite3 *other;
    struct kit_dir d;
    struct fail fail;
    bool more;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    add(&d, from_us, US_PER_DAY, 25);
    in = ingest_open(d.db, LEDGER_OPEN_BUSY_MS, &fail);
    assert_non_null(in);
    assert_int_equal(ingest_expire(in, bound_us, 10, &n, &more, &fail), RC_OK);
    assert_int_equal(n, 10);
    assert_true(more);
    assert_int_equal(number(&d, "SELECT count(*) FROM line"), 15);
    kit_verify(&d);
    assert_int_equal(sqlite3_open(d.db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(ingest_expire(in, bound_us, 10, &n, &more, &fail), RC_AGAIN);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(ingest_expire(in, bound_us, 100, &n, &more, &fail), RC_OK);
    assert_int_equal(n, 15);
    ingest_close(in);
    kit_dir_remove(&d);
}

/* Sums of old days go a few a transaction, and in one go: not a few a look. */
static void all_that_belonged_goes(void **state)
{
    enum { OLD_DAYS = 30 };
    sqlite3 *db;
    struct ingest *in;
    struct kit_dir d;
    struct fail fail;
    bool more = true;
    size_t n, calls;

    (void)state;
    kit_dir_make(&d);
    add(&d, from_us, US_PER_DAY, 25);
    assert_int_equal(sqlite3_open(d.db, &db), SQLITE_OK);
    for (int i = 0; i < OLD_DAYS; i++) {
        char sql[128];

        snprintf(sql, sizeof(sql),
                 "INSERT INTO cube_day(kind, day, through, first, n) VALUES(0, %d, 0, 0, -1)",
                 100 + i);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    }
    sqlite3_close(db);
    in = ingest_open(d.db, LEDGER_OPEN_BUSY_MS, &fail);
    assert_non_null(in);
    for (calls = 0; more && calls < OLD_DAYS; calls++)
        assert_int_equal(ingest_expire(in, bound_us, STEP_LINES, &n, &more, &fail), RC_OK);
    assert_false(more);
    assert_true(calls > 2);
    assert_int_equal(number(&d, "SELECT count(*) FROM cube_day WHERE day<1000"), 0);
    ingest_close(in);
    kit_dir_remove(&d);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_stay_and_lines_go),   cmocka_unit_test(what_needs_lines_is_refused),
        cmocka_unit_test(tasks_go_with_their_lines), cmocka_unit_test(late_lines_are_counted),
        cmocka_unit_test(damage_is_still_found),    cmocka_unit_test(everything_may_go),
        cmocka_unit_test(numbers_go_on),            cmocka_unit_test(views_hold),
        cmocka_unit_test(transactions_are_bounded), cmocka_unit_test(a_clock_alone_deletes_nothing),
        cmocka_unit_test(the_newest_line_tells_the_first_time),
        cmocka_unit_test(all_that_belonged_goes),
    };

    return cmocka_run_group_tests(tests, make_shared, remove_shared);
}
