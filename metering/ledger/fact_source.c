/*
 * fact_source.c - see fact_source.h.
 */
#include "metering/ledger/fact_source.h"

#include "metering/ledger/record_common.h"

enum rc fact_source_open(struct fact_source *s, sqlite3 *db, struct fail *fail)
{
    s->records = db_prepare(db,
                            "SELECT r.seq, " RECORD_COLUMNS " FROM " RECORD_TABLES
                            " WHERE r.seq>?1 ORDER BY r.seq",
                            fail);
    s->line = s->records ? db_prepare(db,
                                      "SELECT attempt, combo, customer, user, task, tagset "
                                      "FROM line WHERE end_us=?1 AND seq=?2",
                                      fail)
                         : NULL;
    s->seq_of = s->line ? db_prepare(db, "SELECT seq FROM record WHERE id=?1", fail) : NULL;
    return s->seq_of ? RC_OK : fail->rc;
}

void fact_source_close(struct fact_source *s)
{
    sqlite3_finalize(s->records);
    sqlite3_finalize(s->line);
    sqlite3_finalize(s->seq_of);
    *s = (struct fact_source){0};
}

static enum rc load_one(struct fact_source *s, struct fact_block *b, struct fail *fail)
{
    struct fact_line line = {.seq = sqlite3_column_int64(s->records, 0)};
    struct record r;
    enum rc rc = RC_OK;
    int code;

    if (record_of_row(s->records, 1, &r) != RC_OK)
        return RC_OK;
    sqlite3_bind_int64(s->line, 1, r.end_us);
    sqlite3_bind_int64(s->line, 2, line.seq);
    code = sqlite3_step(s->line);
    if (code == SQLITE_ROW) {
        line.attempt = sqlite3_column_int64(s->line, 0);
        for (int i = 0; i < 5; i++)
            line.ids[i] = sqlite3_column_int64(s->line, 1 + i);
    } else if (code != SQLITE_DONE) {
        rc = db_failed(sqlite3_db_handle(s->line), fail, "read a line");
    }
    sqlite3_reset(s->line);
    if (rc != RC_OK || code != SQLITE_ROW)
        return rc;
    if (r.is_correction) {
        db_bind_blob(s->seq_of, 1, strv_make((const char *)r.corrects.b, UUID_BYTES));
        rc = db_int(s->seq_of, &line.corrects, fail, "read a record");
        if (rc != RC_OK && rc != RC_STATE)
            return rc;
    }
    fact_block_add(b, &line, &r);
    return RC_OK;
}

enum rc fact_load(struct fact_source *s, int64_t after, struct fact_block *b, struct fail *fail)
{
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    sqlite3_bind_int64(s->records, 1, after);
    while (rc == RC_OK && b->n < FACT_BLOCK && (code = sqlite3_step(s->records)) == SQLITE_ROW)
        rc = load_one(s, b, fail);
    if (rc == RC_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        rc = db_failed(sqlite3_db_handle(s->records), fail, "read records");
    sqlite3_reset(s->records);
    return rc;
}
