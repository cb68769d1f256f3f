/*
 * ingest_int.h - the parts of ingest: records (ingest_common.c), words (ingest_word.c), rows
 * (ingest_rows.c), sums (ingest_sums.c), blocks of facts (ingest_fact.c) and the transaction
 * (ingest.c).
 */
#ifndef METERING_LEDGER_INGEST_INT_H
#define METERING_LEDGER_INGEST_INT_H

#include "base/buf.h"
#include "metering/ledger/cube.h"
#include "metering/ledger/db.h"
#include "metering/ledger/dict.h"
#include "metering/ledger/fact_source.h"
#include "metering/ledger/ingest.h"
#include "metering/ledger/record_common.h"
#include "metering/ledger/schema.h"
#include "metering/ledger/sums.h"

/*      id                    text                                                            */
#define STATEMENTS(X)                                                                          \
    X(SQL_BEGIN, "BEGIN IMMEDIATE")                                                            \
    X(SQL_COMMIT, "COMMIT")                                                                    \
    X(SQL_ROLLBACK, "ROLLBACK")                                                                \
    X(SQL_WORD_FIND, "SELECT id FROM word WHERE text=?1")                                      \
    X(SQL_WORD_ADD, "INSERT INTO word(text) VALUES(?1)")                                       \
    X(SQL_TAGSET_FIND, "SELECT id FROM tagset WHERE body=?1")                                  \
    X(SQL_TAGSET_ADD, "INSERT INTO tagset(body) VALUES(?1)")                                   \
    X(SQL_COMBO_FIND,                                                                          \
      "SELECT id FROM combo WHERE team=?1 AND feature=?2 AND environment=?3 AND "              \
      "task_type=?4 AND key=?5 AND model=?6 AND upstream=?7 AND endpoint=?8 AND protocol=?9 "  \
      "AND service_tier=?10 AND price_id=?11 AND outcome=?12 AND usage_source=?13 AND "        \
      "price_status=?14 AND sources=?15")                                                      \
    X(SQL_COMBO_ADD,                                                                           \
      "INSERT INTO combo(team, feature, environment, task_type, key, model, upstream, "        \
      "endpoint, protocol, service_tier, price_id, outcome, usage_source, price_status, "      \
      "sources) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)")                   \
    X(SQL_COMMON_FIND, "SELECT id, body FROM common WHERE hash=?1")                            \
    X(SQL_COMMON_ADD, "INSERT INTO common(hash, body) VALUES(?1,?2)")                          \
    X(SQL_RECORDS_ADD,                                                                         \
      "INSERT OR ROLLBACK INTO record(seq, id, body, common) "                                 \
      "SELECT seq, id, body, common FROM ingest_rows")                                         \
    X(SQL_RECORDS_APPEND, "INSERT OR ROLLBACK INTO record(id, body, common) "                  \
                          "SELECT id, body, common FROM ingest_rows")                          \
    X(SQL_RECORD_FIND, "SELECT " RECORD_COLUMNS " FROM " RECORD_TABLES " WHERE r.id=?1")       \
    X(SQL_LINES_ADD,                                                                           \
      "INSERT OR ROLLBACK INTO line(end_us, seq, start_us, combo, customer, user, task, "      \
      "tagset, attempt, cost_nano, cost_rest) SELECT end_us, seq, start_us, combo, customer, " \
      "user, task, tagset, attempt, cost_nano, cost_rest FROM ingest_rows")                    \
    X(SQL_ROLLUP_FIND, "SELECT body FROM rollup WHERE level=?1 AND bucket=?2 AND combo=?3")    \
    X(SQL_ROLLUP_PUT,                                                                          \
      "REPLACE INTO rollup(level, bucket, combo, requests, cost_nano, cost_rest, body) "       \
      "VALUES(?1,?2,?3,?4,?5,?6,?7)")                                                          \
    X(SQL_TASK_FIND, "SELECT id FROM task WHERE team=?1 AND name=?2")                          \
    X(SQL_TASK_ADD, "INSERT INTO task(team, name) VALUES(?1,?2)")                              \
    X(SQL_TASK_GET,                                                                            \
      "SELECT body, task_type, first_us, last_us, max_attempt FROM task WHERE id=?1")          \
    X(SQL_TASK_PUT,                                                                            \
      "UPDATE task SET body=?2, task_type=?3, first_us=?4, last_us=?5, max_attempt=?6 "        \
      "WHERE id=?1")                                                                           \
    X(SQL_TASK_CLOSE, "UPDATE task SET outcome=?2, closed_us=?3, closed_by=?4 "                \
                      "WHERE id=?1 AND (closed_us IS NULL OR closed_us>?3)")                   \
    X(SQL_DENIED_ADD,                                                                          \
      "INSERT INTO denied(bucket, code, key, team, feature, environment, limit_name, count) "  \
      "VALUES(?1,?2,?3,?4,?5,?6,?7,?8) ON CONFLICT DO UPDATE SET count=count+excluded.count")  \
    X(SQL_CROSSING_ADD,                                                                        \
      "INSERT INTO crossing(limit_name, scope, teller, start_us, end_us, percent, amount, "    \
      "spent, at_us) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT DO UPDATE SET "            \
      "teller=excluded.teller WHERE teller=0")                                                 \
    X(SQL_CROSSING_DROP, "DELETE FROM crossing WHERE end_us<?1")                               \
    X(SQL_SEGMENT_PUT, "REPLACE INTO segment(name, position) VALUES(?1,?2)")                   \
    X(SQL_SEGMENT_DROP, "DELETE FROM segment WHERE name=?1")                                   \
    X(SQL_SEGMENT_FIND, "SELECT position FROM segment WHERE name=?1")                          \
    X(SQL_SEGMENT_EACH, "SELECT name FROM segment ORDER BY name")                              \
    X(SQL_CORRECTION_ADD, "INSERT INTO correction(record, seq) VALUES(?1,?2)")                 \
    X(SQL_OLD_LINES,                                                                           \
      "SELECT l.end_us, l.seq, l.start_us, l.combo, l.task, l.attempt, " RECORD_COLUMNS        \
      " FROM line l LEFT JOIN record r ON r.seq=l.seq "                                        \
      "LEFT JOIN common c ON c.id=r.common WHERE l.end_us<?1 "                                 \
      "ORDER BY l.end_us, l.seq LIMIT ?2")                                                     \
    X(SQL_CARRIED_ADD,                                                                         \
      "REPLACE INTO carried(end_us, seq, start_us, combo, body) VALUES(?1,?2,?3,?4,?5)")       \
    X(SQL_LINE_DROP, "DELETE FROM line WHERE end_us=?1 AND seq=?2")                            \
    X(SQL_RECORD_DROP, "DELETE FROM record WHERE seq=?1")                                      \
    X(SQL_CORRECTED_DROP, "DELETE FROM correction WHERE record=?1")                            \
    X(SQL_CORRECTION_DROP, "DELETE FROM correction WHERE record=?1 AND seq=?2")                \
    X(SQL_TASK_DROP,                                                                           \
      "DELETE FROM task WHERE id=?1 AND (closed_us IS NULL OR closed_us<?2) AND "              \
      "id<(SELECT max(id) FROM task) AND "                                                     \
      "NOT EXISTS(SELECT 1 FROM line WHERE line.task=?1 AND line.task<>0)")                    \
    X(SQL_CLOSED_DROP,                                                                         \
      "DELETE FROM task WHERE id IN (SELECT id FROM task WHERE closed_us<?1 AND "              \
      "id<(SELECT max(id) FROM task) AND NOT EXISTS(SELECT 1 FROM line WHERE "                 \
      "line.task=task.id AND line.task<>0) ORDER BY closed_us LIMIT ?2)")                      \
    X(SQL_FACT_LAST, "SELECT max(block), max(last_seq) FROM fact_block")                       \
    X(SQL_FACT_PUT, "INSERT INTO fact(id, body) VALUES(?1,?2)")                                \
    X(SQL_FACT_BLOCK_PUT,                                                                      \
      "INSERT INTO fact_block(block, last_seq, n, first_us, last_us, first_task, last_task) "  \
      "VALUES(?1,?2,?3,?4,?5,?6,?7)")                                                          \
    X(SQL_FACT_OLD, "SELECT block FROM fact_block WHERE last_us<?1 LIMIT ?2")                  \
    X(SQL_FACT_DROP, "DELETE FROM fact WHERE id=?1")                                           \
    X(SQL_FACT_BLOCK_DROP, "DELETE FROM fact_block WHERE block=?1")                            \
    X(SQL_FACT_GET, "SELECT body FROM fact WHERE id=?1")                                       \
    X(SQL_FACT_UNCHARGED,                                                                      \
      "SELECT block, n FROM fact_block WHERE block<?1 AND NOT EXISTS(SELECT 1 FROM fact "      \
      "WHERE id=?2+block) ORDER BY block DESC LIMIT 1")                                        \
    X(SQL_CUBE_PUT, "INSERT INTO cube(id, body) VALUES(?1,?2)")                                \
    X(SQL_CUBE_DAY_PUT,                                                                        \
      "INSERT INTO cube_day(day, kind, through, first, n) VALUES(?1,?2,?3,?4,?5)")             \
    X(SQL_CUBE_NEXT,                                                                           \
      "SELECT coalesce(max(first + max(0, n + 4095) / 4096), 1) FROM cube_day")                \
    X(SQL_CUBE_OLD,                                                                            \
      "SELECT day, kind, first, n FROM cube_day WHERE day<?1 OR kind IN " CUBE_STORED_BEFORE   \
      " LIMIT 1")                                                                              \
    X(SQL_CUBE_DROP, "DELETE FROM cube WHERE id=?1")                                           \
    X(SQL_CUBE_DAY_DROP, "DELETE FROM cube_day WHERE day=?1 AND kind=?2")                      \
    X(SQL_TALLY_PUT, "INSERT INTO tally(id, body) VALUES(?1,?2)")                              \
    X(SQL_TALLY_DROP, "DELETE FROM tally WHERE id=?1")                                         \
    X(SQL_TALLY_BLOCK_PUT,                                                                     \
      "REPLACE INTO tally_block(block, through, first_us, last_us, is_none) "                  \
      "VALUES(?1,?2,?3,?4,?5)")                                                                \
    X(SQL_TALLY_BLOCK_DROP, "DELETE FROM tally_block WHERE block=?1")                          \
    X(SQL_TALLY_OLD, "SELECT block FROM tally_block WHERE first_us<?1 LIMIT 1")                \
    X(SQL_TALLY_AGAIN, "INSERT OR IGNORE INTO tally_again(task) VALUES(?1)")                   \
    X(SQL_TALLY_KNOWN, "DELETE FROM tally_again WHERE task>=?1 AND task<?2")                   \
    X(SQL_STATE_RAISE, "INSERT INTO state(name, value) VALUES(?1,?2) "                         \
                       "ON CONFLICT DO UPDATE SET value=max(value, excluded.value)")           \
    X(SQL_STATE_SET, "REPLACE INTO state(name, value) VALUES(?1,?2)")                          \
    X(SQL_STATE_ADD, "INSERT INTO state(name, value) VALUES(?1,?2) "                           \
                     "ON CONFLICT DO UPDATE SET value=value+excluded.value")

enum statement {
#define STATEMENT_ID(id, text) id,
    STATEMENTS(STATEMENT_ID)
#undef STATEMENT_ID
        SQL_COUNT
};

/* Requests of one quarter of an hour and combination, not yet in the rollup table. */
struct rollup_sum {
    int64_t bucket, combo;
    struct rollup rollup;
    struct cost_histogram histogram;
    struct ledger_band bands[LEDGER_BANDS];
    struct ledger_meter_sum meters[METER_COUNT];
};

/* Requests of one task, not yet in its row. */
struct task_sum {
    int64_t task, task_type; /* task_type: word, 0 none */
    int64_t first_us, last_us;
    uint32_t max_attempt;
    struct ledger_sums sums;
};

/* What is known of what records share (record_common.h). */
struct known_common {
    int64_t id, combo;
    void *decoded; /* a record up to its lines, and behind it what its views look at */
};

/* A record and its line, not yet in their tables. */
struct ingest_row {
    struct uuid id;
    int64_t common;
    int64_t seq, end_us, start_us, attempt;
    int64_t ids[5]; /* combo, customer, user, task, tagset: in the order of the columns */
    bool is_priced;
    int64_t cost_nano, cost_rest;
    size_t body_at, body_n; /* in `bodies` */
};

struct ingest {
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT];
    bool is_open;     /* a transaction */
    int64_t next_seq; /* 0: to be asked for */
    int64_t most_seq; /* of a record in the table; 0: none, or not known */
    bool is_repair;   /* records are there already: what is made of them is written */
    int64_t sums_from_us; /* of a repair: earlier requests are in rollups that stay */
    sqlite3_stmt *stays;  /* of a repair: whether task ?1 has deleted lines in its sums */

    bool is_careful; /* a record of this batch is there already: look before each */

    struct ingest_row *rows; /* INGEST_ROWS_MAX of them, made one by one */
    size_t n_rows;
    struct buf bodies;

    struct dict words, tagsets, combos, tasks; /* caches of what is in the database */
    struct dict commons;                       /* the same, by place in known_commons */
    struct known_common *known_commons;        /* INGEST_COMMONS_MAX of them */
    size_t common_bytes;                       /* of what they point to */
    struct buf common, own;                    /* of the record at hand */
    struct stored_record stored;               /* (the same) */
    const struct known_common *known;          /* NULL: what it shares is new */
    struct buf scratch;

    struct rollup_sum *rollups; /* INGEST_ROLLUPS_MAX of them, made one by one */
    size_t n_rollups;
    struct dict rollup_of;   /* bucket and combo: index */
    struct rollup_sum *work; /* for reading, adding, writing one */
    struct task_sum *task_sums;
    size_t n_task_sums;
    struct dict task_sum_of;

    struct fact_source fact_source;
    struct fact_block *facts; /* the records after the last block that is stored */
    int64_t next_block;
    int64_t charged_from; /* blocks from this one on have their charges, or never will */
    bool has_facts;       /* facts holds all of them */
    bool has_facts_begun; /* ... and some of the open transaction */
    bool is_behind;       /* they are more than a block: ingest_seal goes on */
    int64_t tallied_below; /* tasks from here on have no tally */
};

/* ingest_word.c: numbers of texts and of what is made of them; 0 for what is absent. */
enum rc ingest_word(struct ingest *in, struct strv text, int64_t *id,
                    struct fail *fail) RC_MUST;
enum rc ingest_combo(struct ingest *in, const struct record *r, int64_t *id,
                     struct fail *fail) RC_MUST;
enum rc ingest_tagset(struct ingest *in, const struct subject *s, int64_t *id,
                      struct fail *fail) RC_MUST;
enum rc ingest_task_id(struct ingest *in, struct strv team, struct strv task, int64_t *id,
                       struct fail *fail) RC_MUST;
/* What the caches hold may be gone from the database. */
void ingest_forget_words(struct ingest *in);

/*
 * ingest_common.c: of the record at hand, number of what it shares, which is stored where it is
 * new, and of the combination that this tells.
 */
enum rc ingest_common(struct ingest *in, const struct record *r, int64_t *id, int64_t *combo,
                      struct fail *fail) RC_MUST;
void ingest_forget_commons(struct ingest *in);

/*
 * ingest_rows.c.  RC_AGAIN: also where an id is in the ledger already; the transaction
 * is gone, and the next one looks before it writes.
 */
enum rc ingest_rows_open(struct ingest *in, struct fail *fail) RC_MUST;
void ingest_rows_close(struct ingest *in);
enum rc ingest_add_row(struct ingest *in, const struct ingest_row *row, struct strv body,
                       struct fail *fail) RC_MUST;
enum rc ingest_write_rows(struct ingest *in, struct fail *fail) RC_MUST;
void ingest_forget_rows(struct ingest *in);

/* ingest_sums.c */
enum rc ingest_add_sums(struct ingest *in, const struct record *r, int64_t combo, int64_t task,
                        struct fail *fail) RC_MUST;
enum rc ingest_write_sums(struct ingest *in, struct fail *fail) RC_MUST;
void ingest_forget_sums(struct ingest *in);

/*
 * ingest_fact.c: the records since the last stored block are held in memory, and stored when
 * they are a block.  Where they are more than one, as in the ledger of an older version, they
 * are not held: ingest_seal stores them, a block at a time.
 */
enum rc ingest_facts_open(struct ingest *in, struct fail *fail) RC_MUST;
void ingest_facts_close(struct ingest *in);
/* At the start of a transaction. */
enum rc ingest_facts_begin(struct ingest *in, struct fail *fail) RC_MUST;
enum rc ingest_add_fact(struct ingest *in, const struct ingest_row *row, const struct record *r,
                        struct fail *fail) RC_MUST;
/* In a transaction that has deleted all blocks: the next record is the first of block 1. */
void ingest_restart_facts(struct ingest *in);
/* Undone: what was added since ingest_facts_begin. */
void ingest_forget_facts(struct ingest *in);
/* Blocks of which every line is deleted, max of them; *more is set where there may be others. */
enum rc ingest_drop_facts(struct ingest *in, int64_t kept_from_us, int64_t max, bool *more,
                          struct fail *fail) RC_MUST;

/*
 * ingest.c: all that ingest_record writes but the record itself, which is there under this
 * number.  Of a request before sums_from_us neither rollups nor its task, where that began then.
 */
enum rc ingest_record_again(struct ingest *in, const struct record *r, int64_t seq,
                            struct fail *fail) RC_MUST;

/*
 * ingest.c: ends a transaction of what is done in pauses: commits where rc is RC_OK, else undoes
 * it all.  rc, or how the commit failed.
 */
enum rc ingest_end(struct ingest *in, enum rc rc, struct fail *fail) RC_MUST;

/*
 * ingest_cube.c: sums of days whose lines are deleted, and those that an earlier version made in
 * another way, max of them; *more is set where there may be others.
 */
enum rc ingest_drop_cubes(struct ingest *in, int64_t kept_from_us, int64_t max, bool *more,
                          struct fail *fail) RC_MUST;

/*
 * ingest_tally.c: which tasks have a tally; that one has an outcome since; blocks of tasks of
 * which a line is deleted, max of them: they are made anew of what is left; *more is set where there
 * may be others.
 */
enum rc ingest_tallies_open(struct ingest *in, struct fail *fail) RC_MUST;
enum rc ingest_tally_again(struct ingest *in, int64_t task, struct fail *fail) RC_MUST;
enum rc ingest_drop_tallies(struct ingest *in, int64_t kept_from_us, int64_t max, bool *more,
                            struct fail *fail) RC_MUST;

/* An amount as the two integers of a column; beyond their range the nearest that fits. */
void ingest_split(struct money m, int64_t *nano, int64_t *rest);

#endif
