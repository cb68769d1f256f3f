/*
 * bench_ingest.c - how fast the journal is written, and the ledger takes it in.
 *
 *   bench_ingest [RECORDS [FOLDER]]
 *   bench_ingest month RECORDS [FOLDER]
 *   bench_ingest sums RECORDS [FOLDER]
 *   bench_ingest live RATE SECONDS [FOLDER]
 *   bench_ingest step RECORDS BATCH [FOLDER]
 *
 * Writes RECORDS entries as a busy gateway would (some 200 combinations of tags and
 * models, a task for every tenth request), ingests them, and asks a month's report.
 * Prints one line a figure: name, value, unit.
 *
 * month: the month's traffic alone.  sums: the same in pieces, and once a piece is in its single
 * requests are deleted, as ledger.keep_days does: what stays of any number of them.  live: the ledger runs while RATE requests a second are
 * journalled; what its threads cost a record.  step: BATCH records, wait until they are in, and
 * so on: a fixed number of records a transaction, for instruction counts (callgrind
 * --toggle-collect=ingest_run).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/ledger/ingest.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"
#include "metering/ledger/ledger_read.h"

enum { RECORDS = 1000000, COMBINATIONS = 200, MONTH_DAYS = 30, PIECE = 2000000, FLUSH = 1000 };

/* 2026-03-01T00:00:00Z */
static const int64_t month_us = INT64_C(1772323200) * 1000000;

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

struct texts {
    char team[16], feature[16], key[16], task[32];
};

static void make_record(uint64_t i, int64_t step_us, struct texts *t, struct record *r)
{
    uint64_t kind = i * UINT64_C(2654435761) % COMBINATIONS;

    memset(r, 0, sizeof(*r));
    snprintf(t->team, sizeof(t->team), "team-%u", (unsigned)(kind % 10));
    snprintf(t->feature, sizeof(t->feature), "feature-%u", (unsigned)(kind % 40));
    snprintf(t->key, sizeof(t->key), "key-%u", (unsigned)(kind % 20));
    r->start_us = month_us + (int64_t)i * step_us;
    r->end_us = r->start_us + 1500000;
    uuid7_make(&r->id, r->start_us);
    r->subject.dim[DIM_TEAM] = strv_z(t->team);
    r->subject.dim[DIM_FEATURE] = strv_z(t->feature);
    r->subject.dim[DIM_ENVIRONMENT] = STRV("prod");
    r->subject.dim[DIM_KEY] = strv_z(t->key);
    r->subject.dim[DIM_UPSTREAM] = STRV("openai");
    r->subject.dim[DIM_MODEL] = kind % 2 ? STRV("gpt-4o-2024-08-06") : STRV("gpt-4o-mini");
    if (i % 10 == 0) {
        snprintf(t->task, sizeof(t->task), "task-%" PRIu64, i / 50);
        r->subject.dim[DIM_TASK] = strv_z(t->task);
    }
    r->protocol = STRV("openai");
    r->endpoint = STRV("chat.completions");
    r->method = STRV("POST");
    r->model_requested = r->model = r->subject.dim[DIM_MODEL];
    r->provider_request_id = STRV("req_0123456789abcdef0123456789abcdef");
    r->status = 200;
    usage_set(&r->usage, USAGE_INPUT, 1000 + i % 5000);
    usage_set(&r->usage, USAGE_CACHE_READ, i % 1000);
    usage_set(&r->usage, USAGE_OUTPUT, i % 700);
    r->usage_source = USAGE_PROVIDER;
    r->n_lines = 3;
    for (size_t k = 0; k < r->n_lines; k++) {
        static const enum meter meters[] = {METER_IN, METER_CACHE_READ, METER_OUT};

        r->lines[k].meter = meters[k];
        r->lines[k].quantity = 1 + i % 1000;
        r->lines[k].rate.atto = (money_int)2500000000 * 1000000000;
        r->lines[k].amount.atto = r->lines[k].rate.atto / 1000000 * (money_int)(1 + i % 1000);
        r->cost = money_add(r->cost, r->lines[k].amount);
    }
    r->list_cost = r->cost;
    r->price_id = STRV("openai/gpt-4o@2024-08-06");
    r->price_confidence = STRV("confirmed");
    r->book = STRV("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    r->price_match = MATCH_EXACT;
    r->latency_us = 1500000;
    r->first_byte_us = 300000;
    r->bytes_in = 20000;
    r->bytes_out = 3000;
    r->node = STRV("node-1");
}

static void print(const char *name, int64_t value, const char *unit)
{
    printf("%-28s %12" PRId64 " %s\n", name, value, unit);
}

static void die(const struct fail *fail)
{
    char text[256];

    fail_text(fail, text, sizeof(text));
    fprintf(stderr, "bench_ingest: %s\n", text);
    exit(1);
}

/* A flush every ten requests, as a loop turn. */
static void write_journal(const char *dir, uint64_t n, int64_t step_us)
{
    struct fail fail;
    struct journal *j = journal_open(dir, 0, &fail);
    int64_t cpu;

    if (!j)
        die(&fail);
    cpu = cpu_us();
    for (uint64_t i = 0; i < n; i++) {
        struct texts texts;
        struct record r;

        make_record(i, step_us, &texts, &r);
        if (journal_begin(j, &r) != RC_OK || journal_end(j, &r) != RC_OK ||
            (i % 10 == 9 && journal_flush(j, &fail) != RC_OK))
            die(&fail);
    }
    cpu = cpu_us() - cpu;
    print("journal", cpu * 1000 / (int64_t)n, "ns CPU a request (BEGIN, END, a write in ten)");
    print("journal size", (int64_t)(journal_written(j) / n), "bytes a request");
    journal_close(j);
}

static void ask(const char *db, const char *name, struct ledger_question *q)
{
    struct fail fail = {0};
    struct ledger_reader *r = ledger_read_open(db, &fail);
    struct ledger_rows rows;
    int64_t start = clock_mono_us();

    if (!r || ledger_read_begin(r, &fail) != RC_OK ||
        ledger_read_sums(r, q, &rows, &fail) != RC_OK)
        die(&fail);
    print(name, clock_mono_us() - start, "us");
    printf("    rows %zu, from rollups %" PRIu64 ", from lines %" PRIu64 "\n", rows.n,
           rows.rollup_rows, rows.line_rows);
    ledger_rows_release(&rows);
    ledger_read_end(r);
    ledger_read_close(r);
}

static struct ledger_question question_of(const struct zone *zone)
{
    struct ledger_question q = {.zone = zone};

    ledger_filter_init(&q.filter, month_us - 3600000000, month_us + INT64_C(40) * 86400000000);
    q.n_by = 2;
    q.by[0].id = FIELD_TEAM;
    q.by[1].id = FIELD_FEATURE;
    return q;
}

static void ask_sums(const char *db)
{
    struct zone *zone = zone_open("Europe/Berlin");
    struct ledger_question q = question_of(zone);

    q.grain = PERIOD_MONTH;
    ask(db, "month by team, feature", &q);
    q.grain = PERIOD_DAY;
    ask(db, "days by team, feature", &q);
    q.grain = PERIOD_HOUR;
    q.n_by = 1;
    ask(db, "hours by team", &q);
    zone_close(zone);
}

static void ask_reports(const char *db)
{
    struct zone *zone = zone_open("Europe/Berlin");
    struct ledger_question q = question_of(zone);

    ask_sums(db);
    q.n_by = 1;
    q.grain = PERIOD_TOTAL;
    q.want = LEDGER_WANT_PERCENTILES;
    ask(db, "percentiles by team", &q);
    q.want = LEDGER_WANT_LINES;
    ask(db, "all over lines", &q);
    zone_close(zone);
}

/* Journal to ledger, in a folder of its own; db is its name. */
static void ingest(const char *folder, const char *name, uint64_t n, int64_t span_us, char *db,
                   size_t size)
{
    struct ledger_options options = {.sync = SYNC_INTERVAL, .path = db};
    struct ledger_stats stats;
    struct fail fail = {0};
    char journal[256];
    struct ledger *l;
    int64_t wall, cpu;
    struct stat st;

    snprintf(db, size, "%s/%s.db", folder, name);
    snprintf(journal, sizeof(journal), "%s/%s", folder, name);
    printf("%s: %" PRIu64 " records in %" PRId64 " s of traffic\n", name, n, span_us / 1000000);
    write_journal(journal, n, span_us / (int64_t)n);
    options.journal_dir = journal;
    wall = clock_mono_us();
    cpu = cpu_us();
    l = ledger_start(&options, NULL, NULL, &fail);
    if (!l)
        die(&fail);
    wall = clock_mono_us() - wall;
    cpu = cpu_us() - cpu;
    ledger_stats(l, &stats);
    ledger_stop(l);
    print("ingest", (int64_t)(stats.ingested * 1000000 / (uint64_t)(wall ? wall : 1)),
          "records/s of wall time");
    print("ingest on one core", (int64_t)(stats.ingested * 1000000 / (uint64_t)(cpu ? cpu : 1)),
          "records/s of CPU time");
    if (stat(db, &st) == 0)
        print("ledger size", (int64_t)((uint64_t)st.st_size / n), "bytes a record");
}

static void write_some(struct journal *j, uint64_t from, uint64_t n, int64_t step_us)
{
    struct fail fail;

    for (uint64_t i = from; i < from + n; i++) {
        struct texts texts;
        struct record r;

        make_record(i, step_us, &texts, &r);
        if (journal_begin(j, &r) != RC_OK || journal_end(j, &r) != RC_OK)
            die(&fail);
    }
    if (journal_flush(j, &fail) != RC_OK)
        die(&fail);
}

static void change(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    bool is_done = sqlite3_open(path, &db) == SQLITE_OK &&
                   sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;

    if (!is_done)
        fprintf(stderr, "bench_ingest: %s\n", db ? sqlite3_errmsg(db) : "no memory");
    sqlite3_close(db);
    if (!is_done)
        exit(1);
}

/* The sums stay, and numbers are not given twice. */
static const char *const drop_requests =
    "PRAGMA synchronous=OFF; BEGIN IMMEDIATE;"
    "REPLACE INTO state(name, value) SELECT 'last_seq', max(seq) FROM record;"
    "DELETE FROM record; DELETE FROM line; DELETE FROM fact; DELETE FROM fact_block; COMMIT";

/* That they are gone is known: all days of the month are older than what is kept. */
static void say_dropped(const char *path)
{
    char sql[128];

    snprintf(sql, sizeof(sql),
             "REPLACE INTO state(name, value) VALUES('kept_from_us', %" PRId64 ")",
             month_us + (MONTH_DAYS + 1) * INT64_C(86400000000));
    change(path, sql);
}

/* A month of n requests, of which the sums alone are kept. */
static void ingest_sums(const char *folder, uint64_t n, char *db, size_t size)
{
    int64_t step_us = MONTH_DAYS * INT64_C(86400000000) / (int64_t)n, wall = 0, cpu = 0;
    struct ledger_options options = {.sync = SYNC_NEVER, .path = db};
    struct fail fail = {0};
    char journal[256];
    struct stat st;

    snprintf(db, size, "%s/sums.db", folder);
    snprintf(journal, sizeof(journal), "%s/sums", folder);
    options.journal_dir = journal;
    for (uint64_t done = 0; done < n; done += PIECE) {
        struct journal *j = journal_open(journal, 0, &fail);
        struct ledger *l;

        if (!j)
            die(&fail);
        for (uint64_t at = done; at < n && at < done + PIECE; at += FLUSH)
            write_some(j, at, at + FLUSH < n ? FLUSH : n - at, step_us);
        journal_close(j);
        wall -= clock_mono_us();
        cpu -= cpu_us();
        l = ledger_start(&options, NULL, NULL, &fail);
        if (!l)
            die(&fail);
        ledger_catch_up(l);
        ledger_stop(l);
        wall += clock_mono_us();
        cpu += cpu_us();
        change(db, drop_requests);
        fprintf(stderr, "\r%" PRIu64 " records", done + PIECE < n ? done + PIECE : n);
    }
    fprintf(stderr, "\r");
    say_dropped(db);
    print("records", (int64_t)n, "");
    print("ingest", (int64_t)(n * 1000000 / (uint64_t)wall), "records/s of wall time");
    print("ingest on one core", (int64_t)(n * 1000000 / (uint64_t)cpu), "records/s of CPU time");
    if (stat(db, &st) == 0)
        print("ledger of sums", (int64_t)(st.st_size >> 20), "MiB");
}

static int64_t thread_cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* What the process has handed to write(2) and its like, in bytes. */
static int64_t written_bytes(void)
{
    FILE *f = fopen("/proc/self/io", "re");
    uint64_t n = 0;
    char line[128];

    while (f && fgets(line, sizeof(line), f)) {
        struct strv value = strv_head(strv_z(line), strcspn(line, "\n"));

        if (strv_starts(value, STRV("wchar: ")))
            (void)strv_parse_u64(strv_skip(value, 7), INT64_MAX, &n);
    }
    if (f)
        fclose(f);
    return (int64_t)n;
}

/* What the kernel spent for the process, but for this thread. */
static int64_t others_kernel_us(void)
{
    struct rusage all, own;

    getrusage(RUSAGE_SELF, &all);
    getrusage(RUSAGE_THREAD, &own);
    return (all.ru_stime.tv_sec - own.ru_stime.tv_sec) * INT64_C(1000000) +
           all.ru_stime.tv_usec - own.ru_stime.tv_usec;
}

/* step_records 0: at `rate` a second, for so long as n takes; else in steps, each waited for.
 */
static void run_live(const char *folder, uint64_t n, uint64_t rate, uint64_t step_records)
{
    char db[256], dir[256];
    struct ledger_options options = {.sync = SYNC_INTERVAL, .path = db, .journal_dir = dir};
    struct ledger_stats stats;
    struct fail fail = {0};
    struct journal *j = NULL;
    struct ledger *l;
    uint64_t done = 0, piece = step_records ? step_records : rate / 200 + 1;
    int64_t start, cpu, kernel, written;

    snprintf(db, sizeof(db), "%s/live.db", folder);
    snprintf(dir, sizeof(dir), "%s/live", folder);
    l = ledger_start(&options, NULL, NULL, &fail);
    if (l)
        j = journal_open(dir, 0, &fail);
    if (!j)
        die(&fail);
    ledger_attach(l, j);
    start = clock_mono_us();
    cpu = cpu_us() - thread_cpu_us();
    kernel = others_kernel_us();
    written = written_bytes();
    while (done < n) {
        int64_t late = (int64_t)(done * 1000000 / rate) - (clock_mono_us() - start);

        if (step_records == 0 && late > 0) {
            usleep((useconds_t)late);
            continue;
        }
        write_some(j, done, piece, INT64_C(1000000) / (int64_t)rate);
        done += piece;
        if (step_records)
            ledger_catch_up(l);
    }
    ledger_catch_up(l);
    cpu = cpu_us() - thread_cpu_us() - cpu;
    kernel = others_kernel_us() - kernel;
    written = written_bytes() - written - (int64_t)journal_written(j);
    ledger_stats(l, &stats);
    ledger_detach(l, j);
    journal_close(j);
    ledger_stop(l);
    print("records", (int64_t)stats.ingested, "");
    print("batches", (int64_t)stats.batches, "");
    print("ingest and sync", cpu * 1000 / (int64_t)stats.ingested, "ns CPU a record");
    print("of it the kernel", kernel * 1000 / (int64_t)stats.ingested, "ns CPU a record");
    print("written beside the journal", written / (int64_t)stats.ingested, "bytes a record");
}

/* The exit code. */
static int live(int argc, char **argv, const char *folder)
{
    bool in_steps = strcmp(argv[1], "step") == 0;
    uint64_t a, b;

    if (argc < 4 || !strv_parse_u64(strv_z(argv[2]), UINT64_C(1000000000), &a) ||
        !strv_parse_u64(strv_z(argv[3]), 1000000, &b) || a == 0 || b == 0)
        return 2;
    if (in_steps)
        run_live(folder, a, 12000, b);
    else
        run_live(folder, a * b, a, 0);
    return 0;
}

int main(int argc, char **argv)
{
    bool is_live = argc > 1 && (strcmp(argv[1], "live") == 0 || strcmp(argv[1], "step") == 0);
    bool is_sums = argc > 2 && strcmp(argv[1], "sums") == 0;
    bool is_month = is_sums || (argc > 2 && strcmp(argv[1], "month") == 0);
    int folder_at = is_live ? 4 : is_month ? 3 : 2, code = 0;
    uint64_t n = RECORDS;
    char folder[128] = "/tmp/tollgate-bench-XXXXXX", db[256], command[300];

    if (argc > 1 && !is_live &&
        !strv_parse_u64(strv_z(argv[is_month ? 2 : 1]), UINT64_C(1000000000), &n))
        return 2;
    if (argc > folder_at)
        snprintf(folder, sizeof(folder), "%s/tollgate-bench-XXXXXX", argv[folder_at]);
    if (n == 0 || !mkdtemp(folder))
        return 2;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (is_live) {
        code = live(argc, argv, folder);
    } else if (is_sums) {
        ingest_sums(folder, n, db, sizeof(db));
        ask_sums(db);
    } else {
        if (!is_month)
            ingest(folder, "hour", n, INT64_C(3600000000), db, sizeof(db));
        ingest(folder, "month", n, MONTH_DAYS * INT64_C(86400000000), db, sizeof(db));
        ask_reports(db);
    }
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command) == 0 ? code : 1;
}
