/*
 * test_ledger.c - from the journal to the database, exactly once: torn tails, replays,
 * locks, full disks, killed writers.
 */
#include "tests/unit/ledger/kit.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "metering/ledger/ingest_int.h"

enum { KILL_ROUNDS = 12 };

static void put(struct journal *j, uint64_t *seed, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct record r;

        kit_traffic(seed, &r);
        if (r.outcome == OUTCOME_INTERRUPTED) /* as recovery writes them, and no END says */
            r.outcome = OUTCOME_OK;
        assert_int_equal(journal_begin(j, &r), RC_OK);
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
    kit_flush(j);
}

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *bytes;

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    bytes = xmalloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void ingests_what_is_flushed(void **state)
{
    struct ledger_stats stats;
    struct kit_dir d;
    struct ledger *l;
    struct journal *a, *b;
    struct stat st;
    uint64_t seed = 1;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    assert_int_equal(stat(d.db, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    a = kit_journal(&d, 0);
    b = kit_journal(&d, 1);
    put(a, &seed, 700);
    put(b, &seed, 300);
    ledger_catch_up(l);
    assert_int_equal(kit_lines(&d), 1000);
    ledger_stats(l, &stats);
    assert_int_equal(stats.ingested, 1000);
    assert_int_equal(stats.waiting_bytes, 0);
    put(a, &seed, 5);
    journal_close(a);
    journal_close(b);
    ledger_stop(l);
    assert_int_equal(kit_lines(&d), 1005);
    assert_int_equal(kit_segments(&d, NULL, 0), 0); /* ended and read: removed */
    kit_verify(&d);
    kit_dir_remove(&d);
}

static void one_ledger_a_folder(void **state)
{
    struct kit_dir d;
    struct ledger *l;
    struct fail fail;
    struct ledger_options options = {0};

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    options.path = d.db;
    options.journal_dir = d.journal;
    assert_null(ledger_start(&options, NULL, NULL, &fail));
    assert_int_equal(fail.rc, RC_DENIED);
    ledger_stop(l);
    l = ledger_start(&options, NULL, NULL, &fail);
    assert_non_null(l);
    ledger_stop(l);
    kit_dir_remove(&d);
}

struct recovered {
    unsigned n;
    struct uuid id[64];
};

static void on_recovered(const struct record *r, void *arg)
{
    struct recovered *found = arg;

    assert_int_equal(r->outcome, OUTCOME_INTERRUPTED);
    if (found->n < 64)
        found->id[found->n] = r->id;
    found->n++;
}

/* A segment that is there again, wholly or in part, adds nothing. */
static void replays_change_nothing(void **state)
{
    struct recovered found = {0};
    struct ledger_stats stats;
    char path[512], copy[600];
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 2;
    char *bytes;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    put(j, &seed, 200);
    kit_segments(&d, path, sizeof(path));
    bytes = read_file(path, &n);
    journal_close(j);
    ledger_stop(l);
    snprintf(copy, sizeof(copy), "%s/w0007-0000000000000001-00000000.tgj", d.journal);
    write_file(copy, bytes, n);
    snprintf(copy, sizeof(copy), "%s/w0008-0000000000000001-00000000.tgj", d.journal);
    write_file(copy, bytes, n / 2);
    l = kit_start(&d, on_recovered, &found);
    ledger_stats(l, &stats);
    assert_int_equal(stats.ingested, 0);
    assert_true(stats.duplicates >= 200);
    assert_int_equal(stats.torn_tails, 1);
    assert_int_equal(found.n, 0);
    assert_int_equal(stats.interrupted, 0); /* a BEGIN of the half whose END is known */
    ledger_stop(l);
    assert_int_equal(kit_lines(&d), 200);
    kit_verify(&d);
    free(bytes);
    kit_dir_remove(&d);
}

/* Beside new records, in the same batches, and more than are written at a time. */
static void a_segment_again_while_running(void **state)
{
    enum { RECORDS = INGEST_ROWS_MAX + 88, NEW = 50 };
    struct ledger_stats stats;
    char path[512], copy[600], hidden[600];
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 22;
    char *bytes;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 5);
    put(j, &seed, RECORDS);
    ledger_catch_up(l);
    kit_segments(&d, path, sizeof(path));
    bytes = read_file(path, &n);
    put(j, &seed, NEW);
    snprintf(copy, sizeof(copy), "%s/w0003-0000000000000001-00000000.tgj", d.journal);
    snprintf(hidden, sizeof(hidden), "%s/hidden", d.journal);
    write_file(hidden, bytes, n);
    assert_int_equal(rename(hidden, copy), 0);
    ledger_catch_up(l);
    put(j, &seed, NEW);
    ledger_catch_up(l);
    ledger_stats(l, &stats);
    assert_int_equal(stats.ingested, RECORDS + 2 * NEW);
    assert_int_equal(stats.duplicates, RECORDS);
    assert_int_equal(stats.failures, 0);
    journal_close(j);
    ledger_stop(l);
    assert_int_equal(kit_lines(&d), RECORDS + 2 * NEW);
    kit_verify(&d);
    free(bytes);
    kit_dir_remove(&d);
}

/* Offsets at which entries end, from the format itself. */
static size_t whole_ends_before(const char *bytes, size_t n)
{
    size_t at = JOURNAL_HEADER_BYTES, ends = 0;

    while (at + JOURNAL_ENTRY_OVERHEAD <= n) {
        uint32_t length;

        memcpy(&length, bytes + at, sizeof(length));
        if (at + JOURNAL_ENTRY_OVERHEAD + length > n)
            break;
        ends += bytes[at + 8] == JOURNAL_END;
        at += JOURNAL_ENTRY_OVERHEAD + length;
    }
    return ends;
}

static bool ends_whole(const char *bytes, size_t n)
{
    size_t at = JOURNAL_HEADER_BYTES;

    while (at < n) {
        uint32_t length;

        if (at + JOURNAL_ENTRY_OVERHEAD > n)
            return false;
        memcpy(&length, bytes + at, sizeof(length));
        at += JOURNAL_ENTRY_OVERHEAD + length;
    }
    return at == n;
}

/* Every prefix of a segment: the whole entries are there, the rest is cut and counted. */
static void every_torn_tail_is_cut(void **state)
{
    char path[512];
    struct kit_dir d;
    struct journal *j;
    uint64_t seed = 3;
    char *bytes;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 0);
    put(j, &seed, 1);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    bytes = read_file(path, &n);
    for (size_t cut = 0; cut <= n; cut++) {
        struct ledger_stats stats;
        struct kit_dir one;
        struct ledger *l;
        char copy[600];
        bool begun;

        kit_dir_make(&one);
        mkdir(one.journal, 0700);
        snprintf(copy, sizeof(copy), "%s/w0000-0000000000000001-00000000.tgj", one.journal);
        write_file(copy, bytes, cut);
        l = kit_start(&one, NULL, NULL);
        ledger_stats(l, &stats);
        begun = cut >= JOURNAL_HEADER_BYTES + JOURNAL_ENTRY_OVERHEAD &&
                cut >= (size_t)(unsigned char)bytes[JOURNAL_HEADER_BYTES] +
                           ((size_t)(unsigned char)bytes[JOURNAL_HEADER_BYTES + 1] << 8) +
                           JOURNAL_HEADER_BYTES + JOURNAL_ENTRY_OVERHEAD;
        assert_int_equal(stats.ingested, whole_ends_before(bytes, cut));
        assert_int_equal(stats.interrupted, begun && stats.ingested == 0);
        assert_int_equal(stats.torn_tails,
                         cut > 0 && !(cut >= JOURNAL_HEADER_BYTES && ends_whole(bytes, cut)));
        ledger_stop(l);
        assert_int_equal(kit_segments(&one, NULL, 0), 0);
        kit_dir_remove(&one);
    }
    free(bytes);
    kit_dir_remove(&d);
}

/* One damaged entry costs one entry. */
static void damage_in_the_middle_costs_one_entry(void **state)
{
    struct ledger_stats stats;
    char path[512];
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 4;
    char *bytes;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 0);
    for (int i = 0; i < 20; i++) {
        struct record r;

        kit_record(&seed, KIT_START_US, US_PER_DAY, &r);
        assert_int_equal(journal_end(j, &r), RC_OK);
    }
    kit_flush(j);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    bytes = read_file(path, &n);
    bytes[JOURNAL_HEADER_BYTES + JOURNAL_ENTRY_OVERHEAD + 5] ^= 1;
    write_file(path, bytes, n);
    l = kit_start(&d, NULL, NULL);
    ledger_stats(l, &stats);
    assert_int_equal(stats.ingested, 19);
    assert_int_equal(stats.torn_tails, 1);
    ledger_stop(l);
    free(bytes);
    kit_dir_remove(&d);
}

static void what_was_begun_is_interrupted(void **state)
{
    struct recovered found = {0};
    struct ledger_reader *reader;
    struct record r, other, got;
    struct ledger_stats stats;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    struct fail fail;
    uint64_t seed = 5;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    kit_record(&seed, KIT_START_US, 1, &r);
    r.price_status = PRICE_OK;
    usage_set(&r.usage, USAGE_OUTPUT, 777);
    assert_int_equal(journal_begin(j, &r), RC_OK);
    kit_record(&seed, KIT_START_US + US_PER_DAY, 1, &other);
    assert_int_equal(journal_end(j, &other), RC_OK);
    kit_flush(j);
    ledger_catch_up(l);
    journal_close(j);
    ledger_stop(l);
    assert_int_equal(kit_segments(&d, NULL, 0), 1); /* kept for its BEGIN */
    assert_int_equal(kit_lines(&d), 1);

    l = kit_start(&d, on_recovered, &found);
    ledger_stats(l, &stats);
    assert_int_equal(stats.interrupted, 1);
    ledger_stop(l);
    assert_int_equal(found.n, 1);
    assert_memory_equal(found.id[0].b, r.id.b, UUID_BYTES);
    assert_int_equal(kit_lines(&d), 2);
    reader = kit_read(&d);
    assert_int_equal(ledger_read_line(reader, &r.id, kit_take_line, &got, &fail), RC_OK);
    assert_int_equal(got.outcome, OUTCOME_INTERRUPTED);
    assert_int_equal(got.usage_source, USAGE_ESTIMATED);
    assert_int_equal(got.usage.n[USAGE_OUTPUT], 777);
    assert_int_equal(money_cmp(got.cost, r.cost), 0);
    assert_int_equal(got.end_us, other.end_us);
    kit_read_end(reader);
    assert_int_equal(kit_segments(&d, NULL, 0), 0);

    l = kit_start(&d, on_recovered, &found); /* nothing is left to recover */
    ledger_stop(l);
    assert_int_equal(found.n, 1);
    kit_verify(&d);
    kit_dir_remove(&d);
}

/* A crash after the commit and before the file is gone: told again, recorded once. */
static void recovery_twice_is_recovery_once(void **state)
{
    struct recovered found = {0};
    char path[512];
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    struct record r;
    uint64_t seed = 6;
    char *bytes;
    size_t n;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 0);
    kit_record(&seed, KIT_START_US, 1, &r);
    assert_int_equal(journal_begin(j, &r), RC_OK);
    kit_flush(j);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    bytes = read_file(path, &n);
    for (int i = 1; i <= 3; i++) {
        write_file(path, bytes, n);
        l = kit_start(&d, on_recovered, &found);
        ledger_stop(l);
        assert_int_equal(found.n, i);
        assert_int_equal(kit_lines(&d), 1);
    }
    kit_verify(&d);
    free(bytes);
    kit_dir_remove(&d);
}

/* It says so in the end: on a busy machine its thread waits for its turn first. */
static struct ledger_stats stays_behind(struct ledger *l)
{
    struct ledger_stats stats = {0};

    for (int i = 0; i < 400 && (stats.failures == 0 || stats.waiting_bytes == 0); i++) {
        assert_int_equal(ledger_catch_up_within(l, 50), RC_TIMEOUT);
        ledger_stats(l, &stats);
    }
    assert_true(stats.failures > 0 && stats.waiting_bytes > 0);
    return stats;
}

static void a_locked_database_only_delays(void **state)
{
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    sqlite3 *other;
    uint64_t seed = 7;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    put(j, &seed, 10);
    ledger_catch_up(l);
    assert_int_equal(sqlite3_open(d.db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 10; i++)
        put(j, &seed, 10);
    stays_behind(l);
    assert_true(journal_is_writable(j, clock_mono_us()));
    assert_int_equal(kit_lines(&d), 10);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ledger_catch_up(l);
    assert_int_equal(kit_lines(&d), 110);
    sqlite3_close(other);
    journal_close(j);
    ledger_stop(l);
    kit_verify(&d);
    kit_dir_remove(&d);
}

/*
 * Somebody holds the database while the ledger starts: it opens when that is over.  What an earlier
 * process began is interrupted then; what this one began meanwhile is not, though its segment is closed.
 */
static void a_locked_database_delays_the_start(void **state)
{
    struct recovered found = {0};
    struct ledger_options options = {.sync = SYNC_INTERVAL, .ingest_interval_ms = 2, .patience_ms = 50};
    int64_t installation, start, second;
    struct ledger_stats stats;
    struct record cut, moved;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    sqlite3 *other;
    uint64_t seed = 77;
    struct fail fail;

    (void)state;
    kit_dir_make(&d);
    options.path = d.db;
    options.journal_dir = d.journal;
    l = kit_start(&d, NULL, NULL);
    ledger_identity(l, &installation, &start);
    j = kit_journal(&d, 0);
    put(j, &seed, 10);
    kit_traffic(&seed, &cut);
    assert_int_equal(journal_begin(j, &cut), RC_OK);
    kit_flush(j);
    ledger_catch_up(l);
    journal_close(j);
    ledger_stop(l);
    assert_int_equal(sqlite3_open(d.db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    l = ledger_start(&options, on_recovered, &found, &fail);
    assert_non_null(l);
    assert_false(ledger_is_open(l));
    j = kit_journal(&d, 0);
    put(j, &seed, 20);
    kit_traffic(&seed, &moved);
    assert_int_equal(journal_begin(j, &moved), RC_OK);
    kit_flush(j);
    journal_close(j);
    stats = stays_behind(l);
    assert_true(stats.lag_us > 0);
    assert_false(ledger_is_open(l));
    assert_int_equal(found.n, 0);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ledger_catch_up(l);
    assert_true(ledger_is_open(l));
    assert_int_equal(found.n, 1);
    assert_memory_equal(&found.id[0], &cut.id, sizeof(cut.id));
    assert_int_equal(kit_lines(&d), 31);
    second = installation;
    ledger_identity(l, &installation, &start);
    assert_true(installation == second && start == 2);
    j = kit_journal(&d, 0);
    assert_int_equal(journal_end(j, &moved), RC_OK);
    kit_flush(j);
    ledger_catch_up(l);
    assert_int_equal(kit_lines(&d), 32);
    journal_close(j);
    ledger_stop(l);
    /* It never opened: nothing of it is lost, and the next start has it. */
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    l = ledger_start(&options, on_recovered, &found, &fail);
    assert_non_null(l);
    j = kit_journal(&d, 0);
    put(j, &seed, 5);
    journal_close(j);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ledger_stop(l);
    l = kit_start(&d, NULL, NULL);
    ledger_stats(l, &stats);
    assert_int_equal(stats.interrupted, 0);
    assert_int_equal(kit_lines(&d), 37);
    sqlite3_close(other);
    ledger_stop(l);
    kit_verify(&d);
    kit_dir_remove(&d);
}

/* The database may not grow for a while, as on a full disk. */
static void a_full_disk_only_delays(void **state)
{
    struct rlimit limit;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 8;
    rlim_t old;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    put(j, &seed, 2000);
    ledger_catch_up(l);
    getrlimit(RLIMIT_FSIZE, &limit);
    old = limit.rlim_cur;
    put(j, &seed, 2000);
    limit.rlim_cur = 1 << 16;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(ledger_catch_up_within(l, 200), RC_TIMEOUT);
    limit.rlim_cur = old;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ledger_catch_up(l);
    assert_int_equal(kit_lines(&d), 4000);
    journal_close(j);
    ledger_stop(l);
    kit_verify(&d);
    kit_dir_remove(&d);
}

static void rotated_segments_are_removed(void **state)
{
    struct ledger_stats stats;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 9, n = 0;
    struct record r;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    ledger_attach(l, j);
    kit_record(&seed, KIT_START_US, 1, &r);
    assert_int_equal(journal_begin(j, &r), RC_OK); /* runs on into the next segment */
    while (kit_segments(&d, NULL, 0) == 1) {
        for (int i = 0; i < 500; i++, n++) {
            struct record fat;

            kit_fat_traffic(&seed, &fat);
            assert_int_equal(journal_begin(j, &fat), RC_OK);
            assert_int_equal(journal_end(j, &fat), RC_OK);
        }
        kit_flush(j);
    }
    ledger_catch_up(l);
    ledger_stats(l, &stats);
    assert_int_equal(stats.segments, 2);
    assert_int_equal(journal_end(j, &r), RC_OK);
    kit_flush(j);
    /* The lock goes when the sync thread closes its copy of the descriptor. */
    for (int i = 0; i < 200 && kit_segments(&d, NULL, 0) > 1; i++) {
        ledger_catch_up(l);
        usleep(10000);
    }
    assert_int_equal(kit_segments(&d, NULL, 0), 1);
    ledger_detach(l, j);
    journal_close(j);
    ledger_stop(l);
    assert_int_equal(kit_lines(&d), n + 1);
    kit_dir_remove(&d);
}

/* ---- what is begun again ---- */

static void begin_with(struct kit_dir *d, unsigned worker, const struct record *r)
{
    struct journal *j = kit_journal(d, worker);

    assert_int_equal(journal_begin(j, r), RC_OK);
    kit_flush(j);
    journal_close(j);
}

static void put_end(struct kit_dir *d, const struct record *r)
{
    struct journal *j = kit_journal(d, 0);

    assert_int_equal(journal_end(j, r), RC_OK);
    kit_flush(j);
    journal_close(j);
}

static void check_output(const struct kit_dir *d, const struct uuid *id, uint64_t output)
{
    struct ledger_reader *reader = kit_read(d);
    struct record got;
    struct fail fail;

    assert_int_equal(ledger_read_line(reader, id, kit_take_line, &got, &fail), RC_OK);
    assert_int_equal(got.outcome, OUTCOME_INTERRUPTED);
    assert_int_equal(got.usage_source, USAGE_ESTIMATED);
    assert_int_equal(got.usage.n[USAGE_OUTPUT], output);
    kit_read_end(reader);
}

/* A stream that grew was killed: its newest BEGIN stands, wherever it is and whenever it is read. */
static void the_newest_begin_stands(void **state)
{
    /* Segments are read in order of their workers. */
    static const struct {
        unsigned first, second;
        bool ingests; /* the first is read before the second is written */
    } CASES[] = {{0, 0, true}, {0, 0, false}, {0, 1, true}, {0, 1, false}, {1, 0, false}, {1, 0, true}};
    uint64_t seed = 9;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct recovered found = {0};
        struct ledger_stats stats;
        struct record r;
        struct kit_dir d;
        struct ledger *l = NULL;

        kit_dir_make(&d);
        kit_record(&seed, KIT_START_US, 1, &r);
        usage_set(&r.usage, USAGE_OUTPUT, 100);
        if (CASES[i].ingests)
            l = kit_start(&d, NULL, NULL);
        begin_with(&d, CASES[i].first, &r);
        if (l)
            ledger_catch_up(l);
        r.end_us += 1000;
        usage_set(&r.usage, USAGE_OUTPUT, 200);
        begin_with(&d, CASES[i].second, &r);
        if (l) {
            ledger_catch_up(l);
            ledger_catch_up(l);
            assert_int_equal(kit_segments(&d, NULL, 0), 1); /* that of the newest */
        }
        ledger_stop(l);
        l = kit_start(&d, on_recovered, &found);
        ledger_stats(l, &stats);
        assert_int_equal(stats.interrupted, 1);
        assert_int_equal(found.n, 1);
        check_output(&d, &r.id, 200);
        ledger_stop(l);
        assert_int_equal(kit_lines(&d), 1);
        assert_int_equal(kit_segments(&d, NULL, 0), 0);
        kit_verify(&d);
        kit_dir_remove(&d);
    }
}

/* Its END ends it, however often it was begun. */
static void what_was_begun_again_ends_once(void **state)
{
    uint64_t seed = 11;
    struct ledger_stats stats;
    struct record r;
    struct kit_dir d;
    struct ledger *l;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    kit_record(&seed, KIT_START_US, 1, &r);
    for (int i = 0; i < 3; i++)
        begin_with(&d, 0, &r);
    ledger_catch_up(l);
    put_end(&d, &r);
    ledger_catch_up(l);
    ledger_stop(l);
    assert_int_equal(kit_segments(&d, NULL, 0), 0);
    l = kit_start(&d, NULL, NULL);
    ledger_stats(l, &stats);
    assert_int_equal(stats.interrupted, 0);
    ledger_stop(l);
    assert_int_equal(kit_lines(&d), 1);
    kit_verify(&d);
    kit_dir_remove(&d);
}

/* ---- a writer that is killed --------------------------------------------------- */

/* Ids that the writer says are safe, told through a pipe after each flush. */
struct told {
    struct uuid id;
    int32_t kind;
};

static void writer(const struct kit_dir *d, int out, uint64_t seed)
{
    struct fail fail;
    struct journal *j = journal_open(d->journal, 0, &fail);
    struct record running[16];
    unsigned n = 0;

    while (j) {
        struct told told;

        if (n < 16 && kit_below(&seed, 2)) {
            kit_traffic(&seed, &running[n]);
            told = (struct told){running[n].id, JOURNAL_BEGIN};
            if (journal_begin(j, &running[n++]) != RC_OK)
                _exit(1);
        } else if (n > 0) {
            unsigned i = (unsigned)kit_below(&seed, n);

            told = (struct told){running[i].id, JOURNAL_END};
            if (journal_end(j, &running[i]) != RC_OK)
                _exit(1);
            running[i] = running[--n];
        } else {
            continue;
        }
        if (journal_flush(j, &fail) != RC_OK || write(out, &told, sizeof(told)) != sizeof(told))
            _exit(1);
    }
    _exit(1);
}

static bool outcome_of(uint64_t seq, const struct record *record, void *arg)
{
    (void)seq;
    *(enum outcome *)arg = record->outcome;
    return true;
}

/* Lines of the round's ids: all that was told is there, once, and nothing else. */
static void check_round(struct kit_dir *d, int in, uint64_t before, unsigned interrupted)
{
    struct ledger_reader *reader = kit_read(d);
    uint64_t begun = 0, ended = 0, lines;
    struct told told;
    struct fail fail;

    while (read(in, &told, sizeof(told)) == sizeof(told)) {
        enum outcome outcome = OUTCOME_COUNT;

        assert_int_equal(ledger_read_line(reader, &told.id, outcome_of, &outcome, &fail),
                         RC_OK);
        begun += told.kind == JOURNAL_BEGIN;
        ended += told.kind == JOURNAL_END;
    }
    kit_read_end(reader);
    lines = kit_lines(d) - before;
    /* The last entry may have been flushed and not told. */
    assert_in_range(lines, begun, begun + 1);
    assert_in_range(interrupted, begun > ended ? begun - ended - 1 : 0, begun - ended + 1);
}

static void a_killed_writer_loses_nothing(void **state)
{
    uint64_t seed = (uint64_t)getpid() * 2654435761u + 1;
    struct kit_dir d;

    (void)state;
    kit_dir_make(&d);
    for (int round = 0; round < KILL_ROUNDS; round++) {
        struct recovered found = {0};
        uint64_t before = 0, next = kit_random(&seed);
        struct ledger *l = NULL;
        int pipes[2];
        pid_t child;

        if (round > 0)
            before = kit_lines(&d);
        else
            ledger_stop(kit_start(&d, NULL, NULL));
        /* Half of the rounds with a ledger that ingests while the writer dies. */
        assert_int_equal(pipe(pipes), 0);
        assert_int_equal(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) > 0, 1);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(pipes[0]);
            writer(&d, pipes[1], next);
        }
        close(pipes[1]);
        if (round % 2)
            l = kit_start(&d, NULL, NULL);
        usleep((useconds_t)(2000 + kit_below(&seed, 20000)));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        ledger_stop(l);
        l = kit_start(&d, on_recovered, &found);
        ledger_stop(l);
        check_round(&d, pipes[0], before, found.n);
        close(pipes[0]);
        assert_int_equal(kit_segments(&d, NULL, 0), 0);
    }
    kit_verify(&d);
    kit_dir_remove(&d);
}

/* ---- notes ------------------------------------------------------------------------ */

static bool take_task(const struct ledger_task *task, void *arg)
{
    struct ledger_task *out = arg;

    out->outcome = task->outcome;
    out->closed_us = task->closed_us;
    out->late = task->late;
    out->sums.requests += task->sums.requests;
    return true;
}

static void the_first_outcome_stands(void **state)
{
    static const enum task_outcome order[] = {TASK_FAILED, TASK_COMPLETED, TASK_ABANDONED};
    struct ledger_reader *reader;
    struct ledger_task task = {0};
    struct ledger_filter filter;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    struct fail fail;

    (void)state;
    kit_dir_make(&d);
    l = kit_start(&d, NULL, NULL);
    j = kit_journal(&d, 0);
    for (int i = 0; i < 3; i++) {
        struct task_note note = {KIT_START_US + 10 - (i == 1 ? 5 : -i), STRV("search"),
                                 STRV("t"), STRV("k"), order[i]};

        assert_int_equal(journal_task(j, &note), RC_OK);
        kit_flush(j);
        ledger_catch_up(l);
    }
    journal_close(j);
    ledger_stop(l);
    reader = kit_read(&d);
    ledger_filter_init(&filter, KIT_START_US, KIT_START_US + 100);
    assert_int_equal(
        ledger_read_tasks(reader, &filter, COHORT_CLOSED, NULL, 0, 0, take_task, &task, &fail),
        RC_OK);
    assert_int_equal(task.outcome, TASK_COMPLETED); /* the earliest, though told second */
    assert_int_equal(task.closed_us, KIT_START_US + 5);
    kit_read_end(reader);
    kit_dir_remove(&d);
}

static bool add_denied(const struct ledger_denied *denied, void *arg)
{
    *(uint64_t *)arg += denied->count;
    assert_true(strv_eq(denied->code, STRV("budget_exhausted")));
    return true;
}

static void refusals_are_counted_once(void **state)
{
    const struct strv search = STRV("search");
    struct ledger_filter filter;
    struct ledger_field field;
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    struct fail fail;
    uint64_t n = 0;

    (void)state;
    kit_dir_make(&d);
    for (int run = 0; run < 2; run++) {
        l = kit_start(&d, NULL, NULL);
        j = kit_journal(&d, 0);
        for (unsigned i = 0; i < 100; i++) {
            struct denied_note note = {KIT_START_US + i * INT64_C(60000000),
                                       STRV("budget_exhausted"),
                                       STRV("k"),
                                       i % 2 ? STRV("search") : STRV("billing"),
                                       STRV("f"),
                                       STRV("prod"),
                                       STRV("month"),
                                       i};
            struct record r;
            uint64_t seed = i + 1;

            assert_int_equal(journal_denied(j, &note), RC_OK);
            /* A BEGIN that stays open makes the next start read the segment again. */
            kit_record(&seed, KIT_START_US, 1, &r);
            if (i == 0)
                assert_int_equal(journal_begin(j, &r), RC_OK);
            kit_flush(j);
        }
        ledger_catch_up(l);
        journal_close(j);
        ledger_stop(l);
    }
    l = kit_start(&d, NULL, NULL);
    ledger_stop(l);
    {
        struct ledger_reader *reader = kit_read(&d);

        ledger_filter_init(&filter, INT64_MIN, INT64_MAX);
        assert_int_equal(ledger_read_denied(reader, &filter, add_denied, &n, &fail), RC_OK);
        assert_int_equal(n, 2 * 99 * 100 / 2);
        n = 0;
        assert_true(ledger_field_parse(STRV("team"), &field));
        assert_int_equal(ledger_filter_add(&filter, field, LEDGER_EQ, &search, 1), RC_OK);
        assert_int_equal(ledger_read_denied(reader, &filter, add_denied, &n, &fail), RC_OK);
        assert_int_equal(n, 2 * 50 * 50); /* the odd ones: 1 + 3 + ... + 99 */
        assert_true(ledger_field_parse(STRV("model"), &field));
        assert_int_equal(ledger_filter_add(&filter, field, LEDGER_EQ, &search, 1), RC_OK);
        assert_int_equal(ledger_read_denied(reader, &filter, add_denied, &n, &fail), RC_BAD);
        kit_read_end(reader);
    }
    kit_dir_remove(&d);
}

static uint64_t denied_in(const struct kit_dir *d)
{
    struct ledger_reader *reader = kit_read(d);
    struct ledger_filter filter;
    struct fail fail;
    uint64_t n = 0;

    ledger_filter_init(&filter, INT64_MIN, INT64_MAX);
    assert_int_equal(ledger_read_denied(reader, &filter, add_denied, &n, &fail), RC_OK);
    kit_read_end(reader);
    return n;
}

static void put_denied(struct journal *j, uint64_t *seed, uint64_t count)
{
    const struct denied_note note = {KIT_START_US,   STRV("budget_exhausted"), STRV("k"),
                                     STRV("search"), STRV("f"),                STRV("prod"),
                                     STRV("month"),  count};

    assert_int_equal(journal_denied(j, &note), RC_OK);
    put(j, seed, 5);
    kit_flush(j);
}

/* A whole entry of a kind that this version does not know. */
static void put_newer(const char *path)
{
    char *bytes;
    char entry[JOURNAL_ENTRY_OVERHEAD] = {0};
    uint32_t crc;
    size_t n;

    entry[8] = 99;
    crc = crc32c(0, entry + 8, 1);
    for (unsigned i = 0; i < 4; i++)
        entry[4 + i] = (char)(unsigned char)(crc >> (8 * i));
    bytes = read_file(path, &n);
    bytes = xrealloc(bytes, n + sizeof(entry));
    memcpy(bytes + n, entry, sizeof(entry));
    write_file(path, bytes, n + sizeof(entry));
    free(bytes);
}

/* A file that was set aside and is put back, whole or mended, as often as one likes. */
static void what_is_put_back_counts_once(void **state)
{
    static const char *const died = /* after it had renamed the file, before it noted that */
        "UPDATE segment SET name=substr(name, 1, length(name) - 4) WHERE name LIKE '%.bad'";
    char path[512], kept[520];
    struct kit_dir d;
    struct ledger *l;
    struct journal *j;
    uint64_t seed = 3;

    (void)state;
    kit_dir_make(&d);
    j = kit_journal(&d, 0);
    put_denied(j, &seed, 3);
    put_denied(j, &seed, 4);
    kit_segments(&d, path, sizeof(path));
    journal_close(j);
    put_newer(path);
    snprintf(kept, sizeof(kept), "%s.bad", path);
    ledger_stop(kit_start(&d, NULL, NULL));
    for (int round = 0; round < 4; round++) {
        assert_int_equal(denied_in(&d), 7);
        assert_int_equal(kit_lines(&d), 10);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(access(kept, F_OK), 0);
        if (round == 1) { /* no start knows less */
            kit_sql(&d, died);
            ledger_stop(kit_start(&d, NULL, NULL));
        }
        if (round == 2) {
            ledger_stop(kit_start(&d, NULL, NULL));
            l = kit_start(&d, NULL, NULL); /* put back beside it */
            assert_int_equal(rename(kept, path), 0);
            ledger_catch_up(l);
            ledger_catch_up(l);
            ledger_stop(l);
        } else {
            assert_int_equal(rename(kept, path), 0);
            ledger_stop(kit_start(&d, NULL, NULL));
        }
    }
    /* Another file of that writer is another. */
    j = kit_journal(&d, 0);
    put_denied(j, &seed, 100);
    journal_close(j);
    ledger_stop(kit_start(&d, NULL, NULL));
    assert_int_equal(denied_in(&d), 107);
    assert_int_equal(kit_lines(&d), 15);
    kit_verify(&d);
    kit_dir_remove(&d);
}

struct reached {
    unsigned n;
};

static bool add_reached(const struct ledger_crossing *c, void *arg)
{
    struct reached *r = arg;

    r->n++;
    assert_true(c->spent * 100 >= c->amount * c->percent);
    return true;
}

static struct reached reached_of(struct ledger_reader *reader, struct strv limit,
                                 int64_t start_us, int64_t end_us)
{
    struct reached r = {0};
    struct fail fail;

    assert_int_equal(
        ledger_read_crossings(reader, limit, start_us, end_us, add_reached, &r, &fail), RC_OK);
    return r;
}

/* Whoever says it and however often, also from a segment that is read again. */
static void thresholds_are_reached_once(void **state)
{
    const int64_t day = 24 * 3600 * INT64_C(1000000), start = KIT_START_US / day * day;
    struct ledger_crossing last;
    struct ledger_verdict verdict;
    sqlite3 *db;
    struct ledger_reader *reader;
    struct kit_dir d;
    struct fail fail;
    bool found;

    (void)state;
    kit_dir_make(&d);
    for (int run = 0; run < 2; run++) {
        struct ledger *l = kit_start(&d, NULL, NULL);
        struct journal *j = kit_journal(&d, 0);
        uint64_t seed = 1 + (unsigned)run;
        struct record open;

        kit_record(&seed, KIT_START_US, 1, &open);
        assert_int_equal(journal_begin(j, &open), RC_OK);
        for (unsigned percent = 50; percent <= 100; percent += 25) {
            struct crossing_note note = {.at_us = start + percent + run,
                                         .limit = STRV("day"),
                                         .scope = STRV("team=search"),
                                         .start_us = start,
                                         .end_us = start + day,
                                         .percent = percent,
                                         .amount = 200,
                                         .spent = 2 * percent,
                                         .teller = STRV("me")};

            assert_int_equal(journal_crossed(j, &note), RC_OK);
            assert_int_equal(journal_crossed(j, &note), RC_OK);
            note.scope = STRV_NONE;
            if (percent == 50)
                assert_int_equal(journal_crossed(j, &note), RC_OK);
        }
        kit_flush(j);
        ledger_catch_up(l);
        journal_close(j);
        ledger_stop(l);
    }
    reader = kit_read(&d);
    assert_int_equal(reached_of(reader, STRV("day"), start, start + day).n, 4);
    assert_int_equal(reached_of(reader, STRV("day"), start - day, start).n, 0);
    assert_int_equal(reached_of(reader, STRV("month"), start, start + day).n, 0);
    assert_int_equal(reached_of(reader, STRV_NONE, 0, 0).n, 4);
    assert_int_equal(ledger_read_crossed(reader, STRV("day"), STRV("team=search"), start,
                                         start + day, &last, &found, &fail),
                     RC_OK);
    assert_true(found && last.percent == 100 && last.at_us == start + 100 && last.spent == 200);
    assert_true(strv_eq(last.teller, STRV("me")));
    assert_int_equal(ledger_read_crossed(reader, STRV("day"), STRV_NONE, start, start + day,
                                         &last, &found, &fail),
                     RC_OK);
    assert_true(found && last.percent == 50);
    assert_int_equal(ledger_read_crossed(reader, STRV("day"), STRV("team=other"), start,
                                         start + day, &last, &found, &fail),
                     RC_OK);
    assert_false(found);
    assert_int_equal(ledger_read_verify(reader, NULL, NULL, &verdict, &fail), RC_OK);
    assert_int_equal(verdict.crossings, 4);
    assert_int_equal(verdict.bad_crossings, 0);
    kit_read_end(reader);
    assert_int_equal(sqlite3_open(d.db, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "UPDATE crossing SET spent=99 WHERE percent=50 AND scope<>0",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    reader = kit_read(&d);
    assert_int_equal(ledger_read_verify(reader, NULL, NULL, &verdict, &fail), RC_OK);
    assert_int_equal(verdict.bad_crossings, 1);
    assert_non_null(strstr(verdict.first, "50 % of limit \"day\" of \"team=search\""));
    kit_read_end(reader);
    kit_dir_remove(&d);
}

static void foreign_and_newer_files_are_refused(void **state)
{
    struct ledger_options options = {0};
    struct kit_dir d;
    struct fail fail;
    sqlite3 *db;

    (void)state;
    kit_dir_make(&d);
    options.path = d.db;
    options.journal_dir = d.journal;
    assert_int_equal(sqlite3_open(d.db, &db), SQLITE_OK);
    sqlite3_exec(db, "CREATE TABLE mine(a)", NULL, NULL, NULL);
    assert_null(ledger_start(&options, NULL, NULL, &fail));
    assert_int_equal(fail.rc, RC_STATE);
    sqlite3_exec(db, "PRAGMA user_version=1", NULL, NULL, NULL);
    assert_null(ledger_read_open(d.db, &fail));
    assert_int_equal(fail.rc, RC_STATE);
    assert_non_null(strstr(fail.doing, "earlier version"));
    sqlite3_exec(db, "PRAGMA user_version=0", NULL, NULL, NULL);
    assert_null(ledger_read_open(d.db, &fail));
    assert_non_null(strstr(fail.doing, "no ledger yet"));
    sqlite3_exec(db, "DROP TABLE mine; PRAGMA user_version=99", NULL, NULL, NULL);
    assert_null(ledger_start(&options, NULL, NULL, &fail));
    assert_int_equal(fail.rc, RC_STATE);
    assert_null(ledger_read_open(d.db, &fail));
    assert_int_equal(fail.rc, RC_STATE);
    sqlite3_close(db);
    assert_null(ledger_read_open("/nonexistent/ledger.db", &fail));
    assert_int_equal(fail.rc, RC_IO);
    kit_dir_remove(&d);
}

static int64_t number_of(const struct kit_dir *d, const char *sql)
{
    struct fail fail;
    int64_t n = -1;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(d->db, &db), SQLITE_OK);
    assert_int_equal(db_query_int(db, sql, &n, &fail, "read the ledger"), RC_OK);
    sqlite3_close(db);
    return n;
}

/* Names that clients make up, as long as they may be: caches let go of them, tables do not. */
static void made_up_names_fill_no_more_than_their_caches(void **state)
{
    enum { RECORDS = 1200, NAMES = 4 };
    char text[NAMES][RECORD_TEXT_MAX_BYTES];
    uint64_t seed = 31;
    size_t most = 0;
    struct ingest *in;
    struct fail fail;
    struct buf body;
    struct kit_dir d;

    (void)state;
    kit_dir_make(&d);
    in = ingest_open(d.db, LEDGER_OPEN_BUSY_MS, &fail);
    assert_non_null(in);
    buf_init(&body, JOURNAL_ENTRY_MAX_BYTES);
    assert_int_equal(ingest_begin(in, &fail), RC_OK);
    for (uint64_t i = 0; i < RECORDS; i++) {
        bool is_new;
        struct record r;

        kit_traffic(&seed, &r);
        for (uint64_t k = 0; k < NAMES; k++) {
            int n = snprintf(text[k], sizeof(text[k]), "%" PRIu64 ".%" PRIu64 " ", i, k);

            memset(text[k] + n, 'x', sizeof(text[k]) - (size_t)n);
            r.subject.dim[DIM_FEATURE + k] = strv_make(text[k], sizeof(text[k]));
        }
        r.subject.dim[DIM_TASK] = r.subject.dim[DIM_FEATURE];
        buf_clear(&body);
        assert_int_equal(record_encode(&r, &body), RC_OK);
        assert_int_equal(ingest_record(in, &r, buf_view(&body), &is_new, &fail), RC_OK);
        assert_true(in->words.far_bytes <= INGEST_NAMES_BYTES);
        assert_true(in->combos.far_bytes <= INGEST_NAMES_BYTES);
        assert_true(in->commons.far_bytes + in->common_bytes <= INGEST_COMMONS_BYTES);
        assert_true(in->tasks.far_bytes <= INGEST_NAMES_BYTES);
        most = in->words.n > most ? in->words.n : most;
    }
    assert_int_equal(ingest_commit(in, KIT_START_US, &fail), RC_OK);
    assert_true(in->words.n < most && most < (size_t)RECORDS * NAMES);
    ingest_close(in);
    buf_release(&body);
    assert_int_equal(kit_lines(&d), RECORDS);
    assert_int_equal(number_of(&d, "SELECT count(*) FROM word WHERE length(text)=1024"),
                     RECORDS * NAMES);
    kit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ingests_what_is_flushed),
        cmocka_unit_test(one_ledger_a_folder),
        cmocka_unit_test(replays_change_nothing),
        cmocka_unit_test(a_segment_again_while_running),
        cmocka_unit_test(every_torn_tail_is_cut),
        cmocka_unit_test(damage_in_the_middle_costs_one_entry),
        cmocka_unit_test(what_was_begun_is_interrupted),
        cmocka_unit_test(the_newest_begin_stands),
        cmocka_unit_test(what_was_begun_again_ends_once),
        cmocka_unit_test(recovery_twice_is_recovery_once),
        cmocka_unit_test(a_locked_database_only_delays),
        cmocka_unit_test(a_locked_database_delays_the_start),
        cmocka_unit_test(a_full_disk_only_delays),
        cmocka_unit_test(rotated_segments_are_removed),
        cmocka_unit_test(a_killed_writer_loses_nothing),
        cmocka_unit_test(the_first_outcome_stands),
        cmocka_unit_test(refusals_are_counted_once),
        cmocka_unit_test(what_is_put_back_counts_once),
        cmocka_unit_test(thresholds_are_reached_once),
        cmocka_unit_test(foreign_and_newer_files_are_refused),
        cmocka_unit_test(made_up_names_fill_no_more_than_their_caches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
