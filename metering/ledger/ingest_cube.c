/*
 * ingest_cube.c - stores days that are added up (cube.h), and deletes those of deleted lines.
 */
#include "metering/ledger/ingest_int.h"

#include "metering/ledger/cube.h"

struct storing {
    struct ingest *in;
    int64_t first;
};

static enum rc store_column(unsigned number, int64_t at, struct strv bytes, void *arg,
                            struct fail *fail)
{
    struct storing *s = arg;
    sqlite3_stmt *put = s->in->sql[SQL_CUBE_PUT];

    if (bytes.n == 0)
        return RC_OK;
    sqlite3_bind_int64(put, 1, cube_row(number, s->first + at));
    db_bind_blob(put, 2, bytes);
    return db_run(put, fail, "write sums of a day");
}

static enum rc store(struct ingest *in, struct cube_make *m, struct fail *fail)
{
    sqlite3_stmt *put = in->sql[SQL_CUBE_DAY_PUT];
    struct storing s = {.in = in};
    enum rc rc = db_int(in->sql[SQL_CUBE_NEXT], &s.first, fail, "read the ledger");

    if (rc == RC_OK)
        rc = cube_make_columns(m, store_column, &s, fail);
    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(put, 1, cube_make_day(m));
    sqlite3_bind_int64(put, 2, cube_stored_kind(cube_make_kind(m)));
    sqlite3_bind_int64(put, 3, cube_make_through(m));
    sqlite3_bind_int64(put, 4, s.first);
    sqlite3_bind_int64(put, 5, cube_make_rows(m));
    return db_run(put, fail, "write sums of a day");
}

enum rc ingest_cube(struct ingest *in, struct cube_make *m, struct fail *fail)
{
    enum rc rc = ingest_begin(in, fail);

    if (rc != RC_OK)
        return rc;
    return ingest_end(in, store(in, m, fail), fail);
}

static enum rc drop_blocks(struct ingest *in, int64_t kind, int64_t first, int64_t rows,
                           struct fail *fail)
{
    unsigned n = cube_has_meters(cube_kind_of(kind)) ? CUBE_METER_NUMBERS : CUBE_NUMBERS;
    sqlite3_stmt *drop = in->sql[SQL_CUBE_DROP];
    enum rc rc = RC_OK;

    for (int64_t at = 0; at < cube_blocks(rows, FACT_BLOCK); at++) {
        for (unsigned c = 0; rc == RC_OK && c < n; c++) {
            sqlite3_bind_int64(drop, 1, cube_row(c, first + at));
            rc = db_run(drop, fail, "delete sums of a day");
        }
    }
    return rc;
}

/* One day of those before `day`, or of an earlier version. */
static enum rc drop_next(struct ingest *in, int64_t day, bool *any, struct fail *fail)
{
    sqlite3_stmt *old = in->sql[SQL_CUBE_OLD], *drop = in->sql[SQL_CUBE_DAY_DROP];
    int64_t kind, first, rows;
    enum rc rc = RC_OK;
    int code;

    sqlite3_bind_int64(old, 1, day);
    code = sqlite3_step(old);
    day = sqlite3_column_int64(old, 0);
    kind = sqlite3_column_int64(old, 1);
    first = sqlite3_column_int64(old, 2);
    rows = sqlite3_column_int64(old, 3);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rc = db_failed(in->db, fail, "read the ledger");
    sqlite3_reset(old);
    *any = code == SQLITE_ROW;
    if (!*any)
        return rc;
    rc = drop_blocks(in, kind, first, rows, fail);
    sqlite3_bind_int64(drop, 1, day);
    sqlite3_bind_int64(drop, 2, kind);
    return rc == RC_OK ? db_run(drop, fail, "delete sums of a day") : rc;
}

enum rc ingest_drop_cubes(struct ingest *in, int64_t kept_from_us, int64_t max, bool *more,
                          struct fail *fail)
{
    bool any = true;
    enum rc rc = RC_OK;

    for (; rc == RC_OK && any && max > 0; max--)
        rc = drop_next(in, rollup_bucket(LEVEL_DAY, kept_from_us), &any, fail);
    *more = *more || any;
    return rc;
}

enum rc ingest_drop_earlier_cube(struct ingest *in, bool *any, struct fail *fail)
{
    enum rc rc = ingest_begin(in, fail);

    *any = false;
    if (rc != RC_OK)
        return rc;
    return ingest_end(in, drop_next(in, INT64_MIN, any, fail), fail);
}
