/*
 * test_take.c - books that take in the ledgers of several gateways say what one ledger would that
 * had had all of their traffic: whatever is repeated, stopped, restored, refused or damaged.
 */
#include "tests/unit/ledger/kit.h"

#include "metering/ledger/correction.h"
#include "metering/ledger/schema.h"
#include "metering/ledger/take.h"

enum { GATEWAYS = 3, RECORDS = 700 };

#define HOUR_US (INT64_C(3600) * 1000000)

struct gateway {
    struct kit_dir d;
    uint64_t n; /* records */
    uint64_t refused;
};

/* ---- traffic ------------------------------------------------------------------------------ */

static void make_correction(uint64_t *seed, struct record *r)
{
    struct uuid of = r->id;

    kit_random_id(seed, r);
    r->is_correction = true;
    r->was_unpriced = r->price_status == PRICE_NONE;
    r->price_status = PRICE_OK;
    r->corrects = of;
    r->reason = STRV("the invoice");
    r->has_provider_cost = false;
    r->latency_us = 0;
    r->first_byte_us = -1;
    r->cost.atto = (money_int)kit_below(seed, 1000000007) - 500000000;
    r->list_cost = r->cost;
    r->n_lines = 0;
}

/* The same to two journals. */
static void to_both(struct journal *a, struct journal *b, const struct record *r)
{
    assert_int_equal(journal_end(a, r), RC_OK);
    assert_int_equal(journal_end(b, r), RC_OK);
}

/* n more records of a gateway, which the one ledger of all gets too; tasks are shared by all. */
static void serve(struct gateway *g, const struct kit_dir *all, uint64_t seed, int n)
{
    const struct kit_dir *dirs[2] = {&g->d, all};
    struct ledger *l[2];
    struct journal *j[2];

    for (int i = 0; i < 2; i++) {
        l[i] = kit_start(dirs[i], NULL, NULL);
        j[i] = kit_journal(dirs[i], 0);
    }
    for (int i = 0; i < n; i++) {
        struct record r;

        kit_record(&seed, clock_wall_us() - 12 * HOUR_US, 11 * HOUR_US, &r);
        to_both(j[0], j[1], &r);
        g->n++;
        if (i % 9 == 0 && r.subject.dim[DIM_TASK].n) {
            struct task_note note = {r.end_us + (int64_t)kit_below(&seed, 5000),
                                     r.subject.dim[DIM_TEAM], r.subject.dim[DIM_TASK], STRV("k1"),
                                     1 + (enum task_outcome)kit_below(&seed, 3)};

            assert_int_equal(journal_task(j[0], &note), RC_OK);
            assert_int_equal(journal_task(j[1], &note), RC_OK);
        }
        if (i % 5 == 0) {
            struct denied_note note = {.at_us = r.end_us,
                                       .code = STRV("budget_exceeded"),
                                       .key = STRV("k1"),
                                       .limit = STRV("day"),
                                       .count = 1 + kit_below(&seed, 4)};

            assert_int_equal(journal_denied(j[0], &note), RC_OK);
            assert_int_equal(journal_denied(j[1], &note), RC_OK);
            g->refused += note.count;
        }
        if (i % 11 == 0) {
            make_correction(&seed, &r);
            to_both(j[0], j[1], &r);
            g->n++;
        }
    }
    for (int i = 0; i < 2; i++) {
        kit_flush(j[i]);
        journal_close(j[i]);
        ledger_stop(l[i]);
    }
}

/* ---- taking ------------------------------------------------------------------------------- */

static bool never_stops(const char *doing, uint64_t done, uint64_t total, void *arg)
{
    (void)doing;
    (void)done;
    (void)total;
    (void)arg;
    return true;
}

/* Stops at a look. */
static bool stops(const char *doing, uint64_t done, uint64_t total, void *arg)
{
    (void)doing;
    (void)done;
    (void)total;
    return --*(int *)arg > 0;
}

static struct taker *open_books(const struct kit_dir *d, taker_told_fn *told, void *arg)
{
    struct fail fail;
    struct taker *t = taker_open(d->db, d->journal, told, arg, &fail);
    char why[256];

    if (!t) {
        fail_text(&fail, why, sizeof(why));
        fail_msg("%s", why);
    }
    return t;
}

/* All gateways, to the end; what was added to *added. */
static void take_all(const struct kit_dir *books, const struct gateway *g, int n, unsigned flags,
                     struct taken *sum)
{
    struct taker *t = open_books(books, never_stops, NULL);
    struct fail fail;
    int64_t as_of_us;

    *sum = (struct taken){0};
    for (int i = 0; i < n; i++) {
        struct taken taken;

        assert_int_equal(taker_take(t, g[i].d.db, flags, &taken, &fail), RC_OK);
        sum->records += taken.records;
        sum->known += taken.known;
        sum->differing += taken.differing;
        sum->refusals += taken.refusals;
    }
    assert_int_equal(taker_finish(t, true, &as_of_us, &fail), RC_OK);
    assert_true(as_of_us > KIT_START_US);
    taker_close(t);
}

static enum rc take_one(const struct kit_dir *books, const char *path, unsigned flags,
                        struct taken *taken, struct fail *fail)
{
    struct taker *t = open_books(books, never_stops, NULL);
    enum rc rc = taker_take(t, path, flags, taken, fail);

    taker_close(t);
    return rc;
}

/* ---- what both say ------------------------------------------------------------------------ */

static bool add_denied(const struct ledger_denied *d, void *arg)
{
    *(uint64_t *)arg += d->count * (1 + (uint64_t)d->start_us % 1000003);
    return true;
}

struct outcomes {
    uint64_t n, hash;
    struct money cost;
};

static bool add_task(const struct ledger_task *task, void *arg)
{
    struct outcomes *o = arg;

    o->n++;
    o->hash += ((uint64_t)task->outcome + 1) * (1 + task->sums.requests);
    o->cost = money_add(o->cost, task->sums.cost);
    return true;
}

/* By fields of rollups and of lines, tasks with their outcomes, refusals. */
static void assert_same(const struct kit_dir *a, const struct kit_dir *b)
{
    static const enum ledger_field_id fields[] = {FIELD_TEAM, FIELD_MODEL, FIELD_CUSTOMER,
                                                  FIELD_OUTCOME, FIELD_TASK};
    const struct kit_dir *dirs[2] = {a, b};
    struct ledger_reader *r[2];
    struct outcomes o[2] = {{0}};
    uint64_t denied[2] = {0};
    struct ledger_filter all;
    struct fail fail;

    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    for (int i = 0; i < 2; i++)
        r[i] = kit_read(dirs[i]);
    for (size_t f = 0; f < sizeof(fields) / sizeof(*fields); f++) {
        struct ledger_question q = {.n_by = 1, .grain = PERIOD_TOTAL, .filter = all};
        struct ledger_rows rows[2];

        q.by[0].id = fields[f];
        for (int i = 0; i < 2; i++)
            assert_int_equal(ledger_read_sums(r[i], &q, &rows[i], &fail), RC_OK);
        assert_int_equal(rows[0].n, rows[1].n);
        for (size_t i = 0; i < rows[0].n; i++) {
            assert_true(strv_eq(rows[0].at[i].value[0], rows[1].at[i].value[0]));
            assert_true(ledger_sums_equal(&rows[0].at[i].sums, &rows[1].at[i].sums));
        }
        ledger_rows_release(&rows[0]);
        ledger_rows_release(&rows[1]);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            ledger_read_tasks(r[i], &all, COHORT_CLOSED, NULL, 0, 0, add_task, &o[i], &fail),
            RC_OK);
        assert_int_equal(ledger_read_denied(r[i], &all, add_denied, &denied[i], &fail), RC_OK);
        kit_read_end(r[i]);
    }
    assert_int_equal(o[0].n, o[1].n);
    assert_int_equal(o[0].hash, o[1].hash);
    assert_int_equal(money_cmp(o[0].cost, o[1].cost), 0);
    assert_true(denied[0] > 0);
    assert_int_equal(denied[0], denied[1]);
    assert_int_equal(kit_lines(a), kit_lines(b));
    kit_verify(a);
}

struct world {
    struct gateway g[GATEWAYS];
    struct kit_dir all, books;
};

static struct kit_dir made_dir(void)
{
    struct kit_dir d;

    kit_dir_make(&d);
    return d;
}

static void make_world(struct world *w, int n)
{
    memset(w, 0, sizeof(*w));
    w->all = made_dir();
    w->books = made_dir();
    for (int i = 0; i < GATEWAYS; i++) {
        w->g[i].d = made_dir();
        serve(&w->g[i], &w->all, (uint64_t)(71 + i), n);
    }
}

static void remove_world(struct world *w)
{
    for (int i = 0; i < GATEWAYS; i++)
        kit_dir_remove(&w->g[i].d);
    kit_dir_remove(&w->all);
    kit_dir_remove(&w->books);
}

static uint64_t records_of(const struct world *w)
{
    return w->g[0].n + w->g[1].n + w->g[2].n;
}

/* ---- the tests ----------------------------------------------------------------------------- */

static void test_all_of_all(void **state)
{
    struct world w;
    struct taken sum;

    (void)state;
    make_world(&w, RECORDS);
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    assert_int_equal(sum.records, records_of(&w));
    assert_int_equal(sum.known, 0);
    assert_int_equal(sum.refusals, w.g[0].refused + w.g[1].refused + w.g[2].refused);
    assert_same(&w.books, &w.all);
    /* nothing is new */
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    assert_int_equal(sum.records + sum.known + sum.refusals, 0);
    /* all of it once more */
    take_all(&w.books, w.g, GATEWAYS, TAKE_AGAIN, &sum);
    assert_int_equal(sum.records + sum.refusals + sum.differing, 0);
    assert_int_equal(sum.known, records_of(&w));
    assert_same(&w.books, &w.all);
    /* more, of one, twice; outcomes that are earlier than those that are known are among it */
    for (int i = 0; i < 2; i++) {
        uint64_t n = w.g[1].n, refused = w.g[1].refused;

        serve(&w.g[1], &w.all, (uint64_t)(171 + i), 90);
        take_all(&w.books, w.g, GATEWAYS, 0, &sum);
        assert_int_equal(sum.records, w.g[1].n - n);
        assert_int_equal(sum.refusals, w.g[1].refused - refused);
        assert_int_equal(sum.known, 0);
        assert_same(&w.books, &w.all);
    }
    remove_world(&w);
}

/* At every look of a run, until one is left alone. */
static void test_stopped_anywhere(void **state)
{
    struct world w;
    int runs = 0;

    (void)state;
    make_world(&w, 500);
    for (bool is_done = false; !is_done; runs++) {
        int looks = runs + 1;
        struct taker *t = open_books(&w.books, stops, &looks);
        struct taken taken;
        struct fail fail;
        int64_t as_of_us;
        enum rc rc = RC_OK;

        for (int i = 0; i < GATEWAYS && rc == RC_OK; i++)
            rc = taker_take(t, w.g[(i + runs) % GATEWAYS].d.db, runs % 2 ? TAKE_AGAIN : 0, &taken,
                            &fail);
        if (rc == RC_OK)
            rc = taker_finish(t, true, &as_of_us, &fail);
        assert_true(rc == RC_OK || rc == RC_EOF);
        is_done = rc == RC_OK;
        taker_close(t);
        if (runs % 8 == 0 && kit_ask(&w.books, "SELECT count(*) FROM record") > 0)
            kit_verify(&w.books);
    }
    assert_true(runs > 10);
    assert_same(&w.books, &w.all);
    remove_world(&w);
}

/* A gateway is given the backup of an hour ago, and goes on: numbers are given again. */
static void test_restored(void **state)
{
    struct world w;
    struct gateway twin;
    struct taken sum;
    char sql[256];

    (void)state;
    make_world(&w, 100);
    kit_dir_make(&twin.d);
    snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", twin.d.db);
    kit_sql(&w.g[0].d, sql); /* the backup */
    twin.n = w.g[0].n;
    twin.refused = 0;
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    serve(&w.g[0], &w.all, 501, 60); /* goes on, is taken, and is lost */
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    twin.n = 0;
    serve(&twin, &w.all, 502, 90); /* from the backup, under the same numbers */
    take_all(&w.books, &twin, 1, 0, &sum);
    assert_int_equal(sum.records, twin.n);
    assert_int_equal(sum.differing, 0);
    /* Refusals have no ids: of the same quarter of an hour only what is more is counted. */
    assert_int_equal(kit_lines(&w.books), kit_lines(&w.all));
    kit_verify(&w.books);
    kit_dir_remove(&twin.d);
    remove_world(&w);
}

static void assert_refused(const struct kit_dir *books, const char *path, enum rc wanted,
                           const char *why)
{
    int64_t before = kit_ask(books, "SELECT count(*) FROM record");
    struct taken taken;
    struct fail fail;
    char text[256];

    assert_int_equal(take_one(books, path, 0, &taken, &fail), wanted);
    fail_text(&fail, text, sizeof(text));
    if (!strstr(text, why))
        fail_msg("\"%s\" is not in \"%s\"", why, text);
    assert_int_equal(taken.records, 0);
    assert_int_equal(kit_ask(books, "SELECT count(*) FROM record"), before);
}

static const char *version_text(int version, char out[256])
{
    snprintf(out, 256, "PRAGMA user_version=%d", version);
    return out;
}

static void test_what_is_refused(void **state)
{
    struct world w;
    struct taken sum;
    struct fail fail;
    char path[256];
    FILE *file;

    (void)state;
    make_world(&w, 40);
    take_all(&w.books, w.g, 1, 0, &sum);
    assert_refused(&w.books, w.books.db, RC_STATE, "they are the ones that take");
    snprintf(path, sizeof(path), "%s/link.db", w.books.path);
    assert_int_equal(link(w.books.db, path), 0);
    assert_refused(&w.books, path, RC_STATE, "they are the ones that take");
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "VACUUM INTO '%s/copy.db'", w.books.path);
    kit_sql(&w.books, path);
    snprintf(path, sizeof(path), "%s/copy.db", w.books.path);
    assert_refused(&w.books, path, RC_STATE, "a set of books");
    assert_refused(&w.books, w.books.path, RC_BAD, "no file");
    assert_refused(&w.books, "/nowhere/ledger.db", RC_IO, "open this ledger");
    snprintf(path, sizeof(path), "%s/text", w.books.path);
    file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 3000; i++)
        assert_true(fputs("not a ledger at all\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_refused(&w.books, path, RC_BAD, "no ledger");
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_refused(&w.books, path, RC_BAD, "no ledger");
    /* versions */
    kit_sql(&w.g[1].d, version_text(SCHEMA_VERSION + 1, path));
    assert_refused(&w.books, w.g[1].d.db, RC_STATE, "newer version");
    kit_sql(&w.g[1].d, version_text(SCHEMA_VERSION - 1, path));
    assert_refused(&w.books, w.g[1].d.db, RC_STATE, "earlier version");
    kit_sql(&w.g[1].d, version_text(SCHEMA_VERSION, path));
    kit_sql(&w.g[1].d, "DELETE FROM state WHERE name='installation'");
    assert_refused(&w.books, w.g[1].d.db, RC_STATE, "no gateway has started");
    /* a gateway's own is not made books, and is as it was */
    assert_null(taker_open(w.g[2].d.db, w.g[2].d.journal, never_stops, NULL, &fail));
    assert_int_equal(fail.rc, RC_DENIED);
    assert_int_equal(kit_ask(&w.g[2].d, "SELECT count(*) FROM sqlite_schema WHERE name='taken'"),
                     0);
    remove_world(&w);
}

/* Books are nobody's part of a budget, and are corrected where they come from. */
static void test_books_are_no_gateways(void **state)
{
    struct world w;
    struct ledger_options options = {0};
    struct taker *first, *second;
    struct taken sum;
    struct fail fail;
    char why[256];

    (void)state;
    make_world(&w, 40);
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    options.path = w.books.db;
    options.journal_dir = w.books.journal;
    assert_null(ledger_start(&options, NULL, NULL, &fail));
    fail_text(&fail, why, sizeof(why));
    assert_non_null(strstr(why, "set of books"));
    assert_null(corrector_open(w.books.db, w.books.journal, &fail));
    assert_int_equal(fail.rc, RC_STATE);
    first = open_books(&w.books, never_stops, NULL);
    second = taker_open(w.books.db, w.books.journal, never_stops, NULL, &fail);
    assert_null(second);
    assert_int_equal(fail.rc, RC_DENIED);
    taker_close(first);
    assert_same(&w.books, &w.all);
    remove_world(&w);
}

/* Requests that are gone before they were taken are not passed over in silence. */
static void test_deleted_requests(void **state)
{
    struct world w;
    struct taken taken;
    struct fail fail;

    (void)state;
    make_world(&w, 40);
    kit_sql(&w.g[0].d, "INSERT INTO state(name, value) VALUES('kept_from_us', 1772409600000000)");
    take_all(&w.books, w.g + 1, 2, 0, &taken);
    assert_refused(&w.books, w.g[0].d.db, RC_DENIED, "never had");
    assert_int_equal(take_one(&w.books, w.g[0].d.db, TAKE_KEPT, &taken, &fail), RC_OK);
    assert_int_equal(taken.records, w.g[0].n);
    /* the first is complete beyond then, so nothing is missed from now on */
    assert_int_equal(take_one(&w.books, w.g[0].d.db, 0, &taken, &fail), RC_OK);
    assert_same(&w.books, &w.all);
    remove_world(&w);
}

/* An id that the books have for something else. */
static void test_differing(void **state)
{
    struct world w;
    struct gateway forged;
    struct taken sum;
    char sql[256];

    (void)state;
    make_world(&w, 40);
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    kit_dir_make(&forged.d);
    snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", forged.d.db);
    kit_sql(&w.g[0].d, sql);
    kit_sql(&forged.d, "UPDATE state SET value=5 WHERE name='installation';"
                       "UPDATE record SET id=x'0102030405060708090a0b0c0d0e0f10' WHERE seq=1;"
                       "UPDATE record SET body=(SELECT body FROM record WHERE seq=3),"
                       " common=(SELECT common FROM record WHERE seq=3) WHERE seq=2");
    take_all(&w.books, &forged, 1, 0, &sum);
    assert_int_equal(sum.records, 1); /* the new id */
    assert_int_equal(sum.differing, 1);
    assert_int_equal(sum.known, w.g[0].n - 2);
    kit_verify(&w.books);
    kit_dir_remove(&forged.d);
    remove_world(&w);
}

/* Each is done to a copy: it must be refused, and nothing taken of it. */
static const char *const forgeries[] = {
    "ALTER TABLE record RENAME TO r2; CREATE VIEW record AS WITH RECURSIVE x(seq) AS (SELECT 1 "
    "UNION ALL SELECT seq+1 FROM x) SELECT seq, x'' AS id, x'' AS body, 1 AS common FROM x",
    "DROP TABLE denied",
    "DROP TABLE word; CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, "
    "evil TEXT AS (zeroblob(1000000000)))",
    "UPDATE record SET body=zeroblob(2000000) WHERE seq=7",
    "UPDATE record SET body=zeroblob(200000) WHERE seq=7",
    "UPDATE record SET body=x'' WHERE seq=7",
    "UPDATE record SET common=1000000 WHERE seq=7",
    "UPDATE record SET id=x'01' WHERE seq=7",
    "UPDATE record SET seq=-5 WHERE seq=7; UPDATE record SET body=1.5 WHERE seq=9",
    "UPDATE task SET closed_us=-1 WHERE closed_us IS NOT NULL",
    "UPDATE task SET closed_us=9223372036854775807 WHERE closed_us IS NOT NULL",
    "UPDATE task SET outcome=77 WHERE closed_us IS NOT NULL",
    "UPDATE task SET team=1000000 WHERE id=(SELECT min(id) FROM task WHERE closed_us IS NOT NULL)",
    "UPDATE task SET name=printf('%.*c', 5000, 'x') "
    "WHERE id=(SELECT min(id) FROM task WHERE closed_us IS NOT NULL)",
    "UPDATE denied SET count=-1",
    "UPDATE denied SET code=1000000",
    "UPDATE denied SET bucket=bucket+9000000000000000",
    "UPDATE state SET value='text' WHERE name='installation'",
    "UPDATE state SET value=9223372036854775807 WHERE name='as_of_us'",
    "UPDATE state SET value=-1 WHERE name='as_of_us'",
    "INSERT INTO record(seq, id, body) VALUES(9223372036854775807, zeroblob(16), x'')",
};

static void test_forged(void **state)
{
    struct world w;
    struct taken sum;

    (void)state;
    make_world(&w, 40);
    take_all(&w.books, w.g + 1, 2, 0, &sum);
    for (size_t i = 0; i < sizeof(forgeries) / sizeof(*forgeries); i++) {
        struct gateway copy;
        char sql[256];

        kit_dir_make(&copy.d);
        snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", copy.d.db);
        kit_sql(&w.g[0].d, sql);
        kit_sql(&copy.d, forgeries[i]);
        assert_refused(&w.books, copy.d.db, RC_BAD, "ledger");
        kit_dir_remove(&copy.d);
    }
    take_all(&w.books, w.g, GATEWAYS, 0, &sum);
    assert_same(&w.books, &w.all);
    remove_world(&w);
}

/* Bytes of any page are turned: it is refused with nothing taken, or what is taken is whole. */
static void test_damaged_pages(void **state)
{
    enum { ROUNDS = 150 };
    struct world w;
    struct taken sum;
    uint64_t seed = 9, refused = 0;

    (void)state;
    make_world(&w, 60);
    take_all(&w.books, w.g + 1, 2, 0, &sum);
    for (int i = 0; i < ROUNDS; i++) {
        struct gateway copy;
        int64_t before = kit_ask(&w.books, "SELECT count(*) FROM record");
        struct taken taken;
        struct fail fail;
        struct stat st;
        char sql[256];
        enum rc rc;
        int fd;

        kit_dir_make(&copy.d);
        snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", copy.d.db);
        kit_sql(&w.g[0].d, sql);
        fd = open(copy.d.db, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        for (int k = 0; k < 24; k++) {
            unsigned char byte = (unsigned char)kit_random(&seed);
            off_t at = (off_t)kit_below(&seed, k % 3 ? (uint64_t)st.st_size : 8192);

            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        if (i % 7 == 0)
            assert_int_equal(ftruncate(fd, (off_t)kit_below(&seed, (uint64_t)st.st_size)), 0);
        close(fd);
        rc = take_one(&w.books, copy.d.db, TAKE_KEPT, &taken, &fail);
        assert_int_equal(kit_ask(&w.books, "SELECT count(*) FROM record"),
                         before + (int64_t)taken.records);
        if (rc != RC_OK)
            assert_int_equal(taken.records, 0);
        refused += rc != RC_OK;
        kit_dir_remove(&copy.d);
    }
    assert_true(refused > ROUNDS / 4);
    kit_verify(&w.books);
    remove_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_all),      cmocka_unit_test(test_stopped_anywhere),
        cmocka_unit_test(test_restored),        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_books_are_no_gateways), cmocka_unit_test(test_deleted_requests),
        cmocka_unit_test(test_differing),       cmocka_unit_test(test_forged),
        cmocka_unit_test(test_damaged_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
