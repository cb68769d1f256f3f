/*
 * kit.h - what the ledger's tests share: random records, folders of their own.
 */
#ifndef TESTS_UNIT_LEDGER_KIT_H
#define TESTS_UNIT_LEDGER_KIT_H

#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "metering/ledger/journal.h"
#include "metering/ledger/ledger.h"
#include "metering/ledger/ledger_read.h"
#include "metering/ledger/record.h"
#include "metering/ledger/record_common.h"

/* 2026-03-01T00:00:00Z */
#define KIT_START_US (INT64_C(1772323200) * 1000000)

/* Of many questions every so many is asked: under ThreadSanitizer each takes twenty times as long. */
#ifdef __SANITIZE_THREAD__
enum { KIT_EVERY = 3 };
#else
enum { KIT_EVERY = 1 };
#endif

/* xorshift64*: the same numbers for the same seed everywhere. */
static inline uint64_t kit_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static inline uint64_t kit_below(uint64_t *seed, uint64_t n)
{
    return kit_random(seed) % n;
}

/* One of the words, or nothing. */
static inline struct strv kit_word(uint64_t *seed, const char *const *words, size_t n)
{
    size_t i = (size_t)kit_below(seed, n + 1);

    return i < n ? strv_z(words[i]) : STRV_NONE;
}

#define KIT_WORD(seed, ...)                                                                    \
    kit_word(seed, (const char *const[]){__VA_ARGS__},                                         \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* One of four rates, and the quantity at that rate. */
static inline void kit_true_price(struct record_line *line)
{
    money_int million = meter_is_time(line->meter) ? 1000000000 : 1000000;
    money_int unit = line->rate.atto / 1000000007 % 4 * 1250000000;

    line->rate.atto = unit * million;
    line->amount.atto = unit * (money_int)line->quantity;
}

static inline void kit_price(uint64_t *seed, struct record *r)
{
    r->price_status = (enum price_status)kit_below(seed, 3);
    if (r->price_status == PRICE_NONE)
        return;
    r->n_lines = (size_t)kit_below(seed, 4);
    for (size_t i = 0; i < r->n_lines; i++) {
        struct record_line *line = &r->lines[i];

        line->meter = (enum meter)kit_below(seed, METER_COUNT);
        line->quantity = kit_below(seed, 100000);
        line->rate.atto = (money_int)kit_below(seed, 1000000000) * 1000000007;
        line->amount.atto = line->rate.atto * (money_int)kit_below(seed, 1000);
        if (r->n_lines != 1) /* as prices make them; else amounts that no rate leads to */
            kit_true_price(line);
        r->cost = money_add(r->cost, line->amount);
    }
    r->list_cost.atto = r->cost.atto + (money_int)kit_below(seed, 1000);
    r->price_id = KIT_WORD(seed, "openai/gpt-4o@2025-01-01", "anthropic/claude@2026-01-01");
    r->price_match = (enum price_match)kit_below(seed, MATCH_REQUESTED + 1);
    r->price_confidence = KIT_WORD(seed, "confirmed", "disputed");
    r->book = STRV("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    r->price_flags = (unsigned)kit_below(seed, 32);
}

/* A record that started in [from, from + span) and lasted up to five minutes. */
static inline void kit_record(uint64_t *seed, int64_t from_us, int64_t span_us,
                              struct record *r)
{
    struct subject *s = &r->subject;

    memset(r, 0, sizeof(*r));
    r->start_us = from_us + (int64_t)kit_below(seed, (uint64_t)span_us);
    r->end_us = r->start_us + (int64_t)kit_below(seed, 300000000);
    for (int i = 0; i < UUID_BYTES; i++)
        r->id.b[i] = (unsigned char)kit_random(seed);
    s->dim[DIM_TEAM] = KIT_WORD(seed, "search", "billing", "h\xc3\xa9las");
    s->dim[DIM_FEATURE] = KIT_WORD(seed, "rank", "summary");
    s->dim[DIM_ENVIRONMENT] = KIT_WORD(seed, "prod", "dev");
    s->dim[DIM_CUSTOMER] = KIT_WORD(seed, "acme", "globex", "initech");
    s->dim[DIM_USER] = KIT_WORD(seed, "u1", "u2");
    s->dim[DIM_TASK] = KIT_WORD(seed, "t1", "t2", "t3", "t4", "t5");
    s->dim[DIM_TASK_TYPE] = KIT_WORD(seed, "index", "answer");
    s->dim[DIM_KEY] = KIT_WORD(seed, "k1", "k2");
    s->dim[DIM_MODEL] = KIT_WORD(seed, "gpt-4o", "claude-4");
    s->dim[DIM_UPSTREAM] = KIT_WORD(seed, "openai", "anthropic");
    for (int i = 0; i < STANDING_TAGS; i++)
        s->source[i] = (enum tag_source)kit_below(seed, 4);
    s->n_free = (unsigned)kit_below(seed, 3);
    for (unsigned i = 0; i < s->n_free; i++)
        s->free[i] =
            (struct tag){i == 0 ? STRV("cell") : STRV("zone"), KIT_WORD(seed, "a", "b", "c")};
    r->attempt = (uint32_t)kit_below(seed, 4);
    r->protocol = KIT_WORD(seed, "openai", "anthropic");
    r->endpoint = KIT_WORD(seed, "chat.completions", "messages");
    r->method = STRV("POST");
    r->model_requested = s->dim[DIM_MODEL];
    r->model = s->dim[DIM_MODEL];
    r->service_tier = KIT_WORD(seed, "priority", "flex");
    r->provider_request_id = KIT_WORD(seed, "req_1", "req_2");
    r->stream = kit_below(seed, 2) != 0;
    r->status = kit_below(seed, 5) ? 200 : 0;
    r->outcome = (enum outcome)kit_below(seed, OUTCOME_COUNT);
    for (int i = 0; i < USAGE_COUNT; i++) {
        if (kit_below(seed, 3) == 0)
            usage_set(&r->usage, (enum usage_field)i, kit_below(seed, 200000));
    }
    r->usage_source = (enum usage_source)kit_below(seed, USAGE_ESTIMATED + 1);
    r->has_provider_cost = kit_below(seed, 4) == 0;
    if (r->has_provider_cost)
        r->provider_cost.atto = (money_int)kit_below(seed, 1000000000) * 1000003;
    kit_price(seed, r);
    r->latency_us = r->end_us - r->start_us;
    r->first_byte_us = kit_below(seed, 3) ? (int64_t)kit_below(seed, 1000000) : -1;
    r->bytes_in = kit_below(seed, 1000000);
    r->bytes_out = kit_below(seed, 1000000);
    r->node = KIT_WORD(seed, "node-1");
}

static inline void kit_random_id(uint64_t *seed, struct record *r)
{
    for (int i = 0; i < UUID_BYTES; i++)
        r->id.b[i] = (unsigned char)kit_random(seed);
}

/* A correction of r, which must outlive it, with an id of its own; the costs are still those of r. */
static inline struct record kit_correction(uint64_t *seed, const struct record *r)
{
    struct record c = *r;

    kit_random_id(seed, &c);
    c.is_correction = true;
    c.corrects = r->id;
    c.was_unpriced = r->price_status == PRICE_NONE;
    c.price_status = PRICE_OK;
    c.reason = STRV("why");
    c.corrected_by = STRV("who");
    return c;
}

/* One of sixty-four kinds of record, as traffic has them, with an id and a time of its own. */
static inline void kit_traffic(uint64_t *seed, struct record *r)
{
    uint64_t kind = 1 + kit_below(seed, 64), start = kit_below(seed, (uint64_t)US_PER_DAY);

    kit_record(&kind, KIT_START_US, 1, r);
    kit_random_id(seed, r);
    r->start_us += (int64_t)start;
    r->end_us += (int64_t)start;
}

/* The same, as large as texts make it. */
static inline void kit_fat_traffic(uint64_t *seed, struct record *r)
{
    static char text[RECORD_TEXT_MAX_BYTES];
    struct strv fat = {text, sizeof(text)};

    memset(text, 'x', sizeof(text));
    kit_traffic(seed, r);
    r->method = r->model_requested = r->model = r->provider_request_id = fat;
    r->book = r->node = r->price_confidence = fat;
}

/* ---- folders ------------------------------------------------------------------ */

struct kit_dir {
    char path[64], db[128], journal[128];
};

/* In memory where the system has such a place: thousands of starts would wait for a disk. */
static inline void kit_dir_make(struct kit_dir *d)
{
    snprintf(d->path, sizeof(d->path), "%s/tollgate-ledger-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(d->path));
    snprintf(d->db, sizeof(d->db), "%s/ledger.db", d->path);
    snprintf(d->journal, sizeof(d->journal), "%s/journal", d->path);
}

static inline void kit_remove_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

static inline void kit_dir_remove(struct kit_dir *d)
{
    kit_remove_files(d->journal);
    rmdir(d->journal);
    kit_remove_files(d->path);
    rmdir(d->path);
}

/* Segments in the journal folder; the first one's path to out. */
static inline unsigned kit_segments(const struct kit_dir *d, char *out, size_t size)
{
    DIR *dir = opendir(d->journal);
    struct dirent *entry;
    unsigned n = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);

        if (len > 4 && strcmp(entry->d_name + len - 4, ".tgj") == 0) {
            if (out && n == 0)
                snprintf(out, size, "%s/%s", d->journal, entry->d_name);
            n++;
        }
    }
    if (dir)
        closedir(dir);
    return n;
}

static inline struct ledger *kit_start(const struct kit_dir *d, ledger_recovered_fn *fn,
                                       void *arg)
{
    struct ledger_options options = {.path = d->db,
                                     .journal_dir = d->journal,
                                     .sync = SYNC_INTERVAL,
                                     .sync_interval_ms = 20,
                                     .ingest_interval_ms = 2};
    struct fail fail;
    struct ledger *l = ledger_start(&options, fn, arg, &fail);
    char text[256];

    if (!l) {
        fail_text(&fail, text, sizeof(text));
        fail_msg("%s", text);
    }
    return l;
}

static inline struct journal *kit_journal(const struct kit_dir *d, unsigned worker)
{
    struct fail fail;
    struct journal *j = journal_open(d->journal, worker, &fail);

    assert_non_null(j);
    return j;
}

static inline void kit_flush(struct journal *j)
{
    struct fail fail;

    assert_int_equal(journal_flush(j, &fail), RC_OK);
}

static inline struct ledger_reader *kit_read(const struct kit_dir *d)
{
    struct fail fail;
    struct ledger_reader *r = ledger_read_open(d->db, &fail);

    assert_non_null(r);
    assert_int_equal(ledger_read_begin(r, &fail), RC_OK);
    return r;
}

static inline void kit_read_end(struct ledger_reader *r)
{
    ledger_read_end(r);
    ledger_read_close(r);
}

static inline bool kit_count_line(uint64_t seq, const struct record *record, void *arg)
{
    (void)seq;
    (void)record;
    ++*(uint64_t *)arg;
    return true;
}

/* What of it does not look into the row. */
static inline bool kit_take_line(uint64_t seq, const struct record *record, void *arg)
{
    struct record *out = arg;

    (void)seq;
    out->start_us = record->start_us;
    out->end_us = record->end_us;
    out->status = record->status;
    out->outcome = record->outcome;
    out->usage_source = record->usage_source;
    out->usage = record->usage;
    out->cost = record->cost;
    return true;
}

static inline uint64_t kit_lines(const struct kit_dir *d)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_filter all;
    struct fail fail;
    uint64_t n = 0;

    ledger_filter_init(&all, INT64_MIN, INT64_MAX);
    assert_int_equal(ledger_read_lines(r, &all, LEDGER_OLDEST, 0, 0, kit_count_line, &n, &fail),
                     RC_OK);
    kit_read_end(r);
    return n;
}

static inline void kit_verify(const struct kit_dir *d)
{
    struct ledger_reader *r = kit_read(d);
    struct ledger_verdict v;
    struct fail fail;

    assert_int_equal(ledger_read_verify(r, NULL, NULL, &v, &fail), RC_OK);
    assert_int_equal(v.bad_lines, 0);
    assert_int_equal(v.bad_rollups, 0);
    assert_int_equal(v.bad_tasks, 0);
    assert_int_equal(v.bad_facts, 0);
    assert_int_equal(v.bad_cubes, 0);
    assert_int_equal(v.bad_tallies, 0);
    assert_int_equal(money_cmp(v.lines_cost, v.rollups_cost), 0);
    kit_read_end(r);
}

/* ---- the tables, behind the ledger's back ----------------------------------------- */

static inline sqlite3 *kit_open_db(const struct kit_dir *d)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(d->db, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000); /* a ledger that runs writes too */
    return db;
}

/* The one number that is the answer. */
static inline int64_t kit_ask(const struct kit_dir *d, const char *sql)
{
    sqlite3 *db = kit_open_db(d);
    sqlite3_stmt *stmt;
    int64_t n;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static inline void kit_sql(const struct kit_dir *d, const char *sql)
{
    sqlite3 *db = kit_open_db(d);
    char *error = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s", error);
    sqlite3_close(db);
}

/* A gateway deleted old lines by the clock until us: the next one goes on from there. */
static inline void kit_kept_until(const struct kit_dir *d, int64_t us)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "REPLACE INTO state(name, value) VALUES('expire_us', %lld)",
             (long long)us);
    kit_sql(d, sql);
}

/* As version 7 had it: every record whole. Ledgers of before then are made of this by SQL. */
static inline void kit_make_version_7(const struct kit_dir *d)
{
    sqlite3 *db = kit_open_db(d);
    sqlite3_stmt *each, *put;
    struct buf bytes;

    buf_init(&bytes, JOURNAL_ENTRY_MAX_BYTES);
    assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT r.seq, " RECORD_COLUMNS " FROM " RECORD_TABLES
                                        " ORDER BY r.seq",
                                        -1, &each, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "UPDATE record SET body=?2, common=NULL WHERE seq=?1",
                                        -1, &put, NULL),
                     SQLITE_OK);
    while (sqlite3_step(each) == SQLITE_ROW) {
        buf_clear(&bytes);
        assert_int_equal(record_bytes_of_row(each, 1, &bytes), RC_OK);
        sqlite3_bind_int64(put, 1, sqlite3_column_int64(each, 0));
        db_bind_blob(put, 2, buf_view(&bytes));
        assert_int_equal(sqlite3_step(put), SQLITE_DONE);
        sqlite3_reset(put);
    }
    sqlite3_finalize(each);
    sqlite3_finalize(put);
    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE record DROP COLUMN common; DROP TABLE common;"
                                  "PRAGMA user_version=7; COMMIT",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    buf_release(&bytes);
}

#endif
