/*
 * ingest_tally.c - stores what tasks came to (tally.h), notes which of that no longer holds,
 * and deletes what is of deleted lines.
 */
#include "metering/ledger/ingest_int.h"

#include "metering/ledger/tally.h"

static const char doing[] = "write what tasks came to";

struct storing {
    struct ingest *in;
    int64_t block;
};

static enum rc store_column(unsigned column, struct strv bytes, void *arg, struct fail *fail)
{
    struct storing *s = arg;
    sqlite3_stmt *drop = s->in->sql[SQL_TALLY_DROP], *put = s->in->sql[SQL_TALLY_PUT];
    enum rc rc;

    sqlite3_bind_int64(drop, 1, tally_row(column, s->block));
    rc = db_run(drop, fail, doing);
    if (rc != RC_OK || bytes.n == 0)
        return rc;
    sqlite3_bind_int64(put, 1, tally_row(column, s->block));
    db_bind_blob(put, 2, bytes);
    return db_run(put, fail, doing);
}

static enum rc store(struct ingest *in, struct tally_make *m, struct fail *fail)
{
    sqlite3_stmt *put = in->sql[SQL_TALLY_BLOCK_PUT], *known = in->sql[SQL_TALLY_KNOWN];
    struct storing s = {.in = in, .block = tally_make_block(m)};
    enum rc rc = tally_make_columns(m, store_column, &s, fail);

    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(put, 1, s.block);
    sqlite3_bind_int64(put, 2, tally_make_through(m));
    sqlite3_bind_int64(put, 3, tally_make_first_us(m));
    sqlite3_bind_int64(put, 4, tally_make_last_us(m));
    sqlite3_bind_int64(put, 5, tally_make_is_none(m));
    rc = db_run(put, fail, doing);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(known, 1, s.block << TALLY_SHIFT);
    sqlite3_bind_int64(known, 2, (s.block + 1) << TALLY_SHIFT);
    return db_run(known, fail, doing);
}

enum rc ingest_tallies_open(struct ingest *in, struct fail *fail)
{
    enum rc rc = db_query_int(in->db, "SELECT coalesce(max(block) + 1, 0) FROM tally_block",
                              &in->tallied_below, fail, "read the ledger");

    in->tallied_below <<= TALLY_SHIFT;
    return rc;
}

enum rc ingest_tally(struct ingest *in, struct tally_make *m, struct fail *fail)
{
    int64_t below = (tally_make_block(m) + 1) << TALLY_SHIFT;
    enum rc rc = ingest_begin(in, fail);

    if (rc != RC_OK)
        return rc;
    rc = ingest_end(in, store(in, m, fail), fail);
    if (rc == RC_OK)
        in->tallied_below = below > in->tallied_below ? below : in->tallied_below;
    return rc;
}

enum rc ingest_tally_again(struct ingest *in, int64_t task, struct fail *fail)
{
    sqlite3_stmt *again = in->sql[SQL_TALLY_AGAIN];

    if (task >= in->tallied_below)
        return RC_OK;
    sqlite3_bind_int64(again, 1, task);
    return db_run(again, fail, doing);
}

enum rc ingest_drop_tallies(struct ingest *in, int64_t kept_from_us, int64_t max, bool *more,
                            struct fail *fail)
{
    sqlite3_stmt *old = in->sql[SQL_TALLY_OLD], *drop = in->sql[SQL_TALLY_DROP];
    enum rc rc = RC_OK;

    for (; rc == RC_OK && max > 0; max--) {
        int64_t block;

        sqlite3_bind_int64(old, 1, kept_from_us);
        rc = db_int(old, &block, fail, "read the ledger");
        for (unsigned c = 0; rc == RC_OK && c < TALLY_COLUMNS; c++) {
            sqlite3_bind_int64(drop, 1, tally_row(c, block));
            rc = db_run(drop, fail, "delete what tasks came to");
        }
        sqlite3_bind_int64(in->sql[SQL_TALLY_BLOCK_DROP], 1, block);
        if (rc == RC_OK)
            rc = db_run(in->sql[SQL_TALLY_BLOCK_DROP], fail, "delete what tasks came to");
    }
    *more = *more || rc == RC_OK;
    return rc == RC_STATE ? RC_OK : rc;
}
