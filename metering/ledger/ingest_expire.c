/*
 * ingest_expire.c - deletes the lines that are too old, and what belongs to them alone.
 *
 * Rollups and refusals stay for ever, words and sets of tags too: rollups use most of
 * them.  A task's row goes with the last of its lines, unless its outcome is newer; a
 * correction with the record that it corrects.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"

/* In one transaction; a block is a few hundred kilobytes. */
enum { FACT_BLOCKS_DROPPED = 64, CUBES_DROPPED = 8, TALLIES_DROPPED = 64 };

struct old_line {
    int64_t end_us, seq, task;
    struct uuid id, corrects; /* corrects: of a correction */
    bool has_record, is_correction;
};

static enum rc carry(struct ingest *in, sqlite3_stmt *from, const struct record *r,
                     struct fail *fail)
{
    sqlite3_stmt *add = in->sql[SQL_CARRIED_ADD];
    struct rollup sums = {0};

    rollup_add_record(&sums, r);
    buf_clear(&in->scratch);
    if (rollup_encode(&sums, &in->scratch) != RC_OK) {
        *fail = (struct fail){.rc = RC_BAD, .doing = "keep the sums of a line"};
        return RC_BAD;
    }
    for (int i = 0; i < 4; i++)
        sqlite3_bind_int64(add, 1 + i, sqlite3_column_int64(from, i));
    db_bind_blob(add, 5, buf_view(&in->scratch));
    return db_run(add, fail, "keep the sums of a line");
}

/* What cannot be decoded goes all the same: its rollups were made when it could. */
static enum rc note_line(struct ingest *in, sqlite3_stmt *from, struct old_line *out,
                         struct fail *fail)
{
    struct strv id = db_column(from, 6);
    int64_t start_us = sqlite3_column_int64(from, 2);
    struct record r;

    *out = (struct old_line){.end_us = sqlite3_column_int64(from, 0),
                             .seq = sqlite3_column_int64(from, 1),
                             .task = sqlite3_column_int64(from, 4)};
    out->has_record = id.n == UUID_BYTES;
    if (!out->has_record || record_of_row(from, 6, &r) != RC_OK)
        return RC_OK;
    out->id = r.id;
    out->is_correction = r.is_correction;
    out->corrects = r.corrects;
    if (rollup_bucket(LEVEL_QUARTER, start_us) == rollup_bucket(LEVEL_QUARTER, out->end_us))
        return RC_OK;
    return carry(in, from, &r, fail);
}

static enum rc note_lines(struct ingest *in, int64_t kept_from_us, size_t max,
                          struct old_line *lines, size_t *n, struct fail *fail)
{
    sqlite3_stmt *old = in->sql[SQL_OLD_LINES];
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    *n = 0;
    sqlite3_bind_int64(old, 1, kept_from_us);
    sqlite3_bind_int64(old, 2, (int64_t)max);
    while (rc == RC_OK && *n < max && (code = sqlite3_step(old)) == SQLITE_ROW)
        rc = note_line(in, old, &lines[(*n)++], fail);
    if (rc == RC_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        rc = db_failed(in->db, fail, "read old lines");
    sqlite3_reset(old);
    return rc;
}

static enum rc drop_corrections(struct ingest *in, const struct old_line *line,
                                struct fail *fail)
{
    sqlite3_stmt *drop =
        in->sql[line->is_correction ? SQL_CORRECTION_DROP : SQL_CORRECTED_DROP];
    const struct uuid *id = line->is_correction ? &line->corrects : &line->id;

    db_bind_blob(drop, 1, strv_make((const char *)id->b, UUID_BYTES));
    if (line->is_correction)
        sqlite3_bind_int64(drop, 2, line->seq);
    return db_run(drop, fail, "delete a correction");
}

static enum rc drop_line(struct ingest *in, const struct old_line *line, int64_t kept_from_us,
                         struct fail *fail)
{
    sqlite3_stmt *drop = in->sql[SQL_LINE_DROP], *record = in->sql[SQL_RECORD_DROP];
    sqlite3_stmt *task = in->sql[SQL_TASK_DROP];
    enum rc rc;

    sqlite3_bind_int64(drop, 1, line->end_us);
    sqlite3_bind_int64(drop, 2, line->seq);
    rc = db_run(drop, fail, "delete a line");
    if (rc == RC_OK && line->has_record)
        rc = drop_corrections(in, line, fail);
    sqlite3_bind_int64(record, 1, line->seq);
    if (rc == RC_OK)
        rc = db_run(record, fail, "delete a record");
    if (rc != RC_OK || line->task == 0)
        return rc;
    sqlite3_bind_int64(task, 1, line->task);
    sqlite3_bind_int64(task, 2, kept_from_us);
    return db_run(task, fail, "delete a task");
}

/* Tasks whose lines went before they were closed, or that never had one. */
static enum rc drop_closed(struct ingest *in, int64_t kept_from_us, size_t max,
                           struct fail *fail)
{
    sqlite3_stmt *drop = in->sql[SQL_CLOSED_DROP];

    sqlite3_bind_int64(drop, 1, kept_from_us);
    sqlite3_bind_int64(drop, 2, (int64_t)max);
    return db_run(drop, fail, "delete tasks");
}

/* Of windows that are over: few, so all at once. */
static enum rc drop_crossings(struct ingest *in, int64_t kept_from_us, struct fail *fail)
{
    sqlite3_bind_int64(in->sql[SQL_CROSSING_DROP], 1, kept_from_us);
    return db_run(in->sql[SQL_CROSSING_DROP], fail, "delete thresholds of old windows");
}

/* What lines that are deleted leave behind, some of it at once. */
static enum rc drop_what_belonged(struct ingest *in, int64_t kept_from_us, size_t max, bool *more,
                                  struct fail *fail)
{
    enum rc rc = drop_closed(in, kept_from_us, max, fail);

    *more = rc == RC_OK && sqlite3_changes64(in->db) == (int64_t)max;
    if (rc == RC_OK)
        rc = drop_crossings(in, kept_from_us, fail);
    if (rc == RC_OK)
        rc = ingest_drop_facts(in, kept_from_us, FACT_BLOCKS_DROPPED, more, fail);
    if (rc == RC_OK)
        rc = ingest_drop_cubes(in, kept_from_us, CUBES_DROPPED, more, fail);
    return rc == RC_OK ? ingest_drop_tallies(in, kept_from_us, TALLIES_DROPPED, more, fail) : rc;
}

static enum rc raise(struct ingest *in, struct strv name, int64_t value, struct fail *fail)
{
    db_bind_text(in->sql[SQL_STATE_RAISE], 1, name);
    sqlite3_bind_int64(in->sql[SQL_STATE_RAISE], 2, value);
    return db_run(in->sql[SQL_STATE_RAISE], fail, "write the ledger");
}

enum rc ingest_expire(struct ingest *in, int64_t kept_from_us, size_t max, size_t *n,
                      bool *more, struct fail *fail)
{
    struct old_line *lines = xcalloc(max, sizeof(*lines));
    enum rc rc = ingest_begin(in, fail);

    *n = 0;
    *more = false;
    if (rc != RC_OK)
        goto out;
    rc = note_lines(in, kept_from_us, max, lines, n, fail);
    *more = *n == max;
    if (rc == RC_OK && *n > 0)
        rc = raise(in, STRV("kept_from_us"), kept_from_us, fail);
    if (rc == RC_OK && *n > 0)
        rc = raise(in, STRV("last_seq"), in->next_seq - 1, fail);
    for (size_t i = 0; i < *n && rc == RC_OK; i++)
        rc = drop_line(in, &lines[i], kept_from_us, fail);
    if (rc == RC_OK && *n < max)
        rc = drop_what_belonged(in, kept_from_us, max, more, fail);
    rc = ingest_end(in, rc, fail);
    dict_clear(&in->tasks); /* some of them may be gone */
    in->most_seq = 0;       /* (the same) */
out:
    free(lines);
    return rc;
}
