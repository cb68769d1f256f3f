/*
 * read_kept.c - what can still be said of lines that are deleted.
 *
 * Rollups say it all of whole quarters of an hour and what they tell apart.  Whatever
 * needs the lines themselves is refused where there were any: a smaller sum would look
 * like the whole.
 */
#include "base/check.h"
#include "metering/ledger/read_int.h"

static const char gone[] =
    "answer from single requests: those of that time are deleted, only their sums are kept";

enum rc read_gone(struct fail *fail)
{
    *fail = (struct fail){.rc = RC_STATE, .doing = gone};
    return RC_STATE;
}

bool ledger_lines_are_gone(const struct fail *fail)
{
    return fail->doing == gone;
}

bool ledger_field_outlives_lines(const struct ledger_field *field)
{
    return field_is_of_combo(field);
}

enum rc read_kept_from(struct ledger_reader *r, struct fail *fail)
{
    enum rc rc;

    db_bind_text(r->state, 1, STRV("kept_from_us"));
    rc = db_int(r->state, &r->kept_from_us, fail, "read the ledger");
    if (rc == RC_STATE)
        r->kept_from_us = INT64_MIN;
    return rc == RC_STATE ? RC_OK : rc;
}

enum rc read_bounds(struct ledger_reader *r, int64_t *first_us, int64_t *last_us,
                    struct fail *fail)
{
    int64_t day = INT64_MAX, width = rollup_width_us(LEVEL_DAY);
    enum rc rc = db_query_int(r->db, "SELECT coalesce(min(end_us), 0) FROM line", first_us,
                              fail, "read the ledger");

    if (rc == RC_OK)
        rc = db_query_int(r->db, "SELECT coalesce(max(end_us), 0) FROM line", last_us, fail,
                          "read the ledger");
    if (rc != RC_OK || r->kept_from_us == INT64_MIN)
        return rc;
    rc = db_query_int(r->db, "SELECT min(bucket) FROM rollup WHERE level=2", &day, fail,
                      "read the ledger");
    if (rc == RC_OK && day < r->kept_from_us / width) /* nothing was deleted elsewhere */
        *first_us = day * width;
    if (*last_us < r->kept_from_us)
        *last_us = r->kept_from_us - 1;
    return rc;
}

/* A rollup of [low, high) that the filter leaves in. */
static enum rc any_rollup(struct ledger_reader *r, const struct ledger_filter *f,
                          enum rollup_level level, int64_t low, int64_t high, bool *found,
                          struct fail *fail)
{
    sqlite3_stmt *stmt;
    int code = SQLITE_DONE;
    enum rc rc = RC_OK;

    if (low >= high || *found)
        return RC_OK;
    stmt = db_prepare(r->db,
                      "SELECT combo FROM rollup WHERE level=?1 AND bucket>=?2 AND bucket<?3",
                      fail);
    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, level);
    sqlite3_bind_int64(stmt, 2, low);
    sqlite3_bind_int64(stmt, 3, high);
    while (rc == RC_OK && !*found && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct combo *c = read_combo(r, sqlite3_column_int64(stmt, 0));

        if (!c)
            rc = read_damaged(fail);
        else
            *found = combo_matches(f, c);
    }
    if (rc == RC_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

enum rc read_kept(struct ledger_reader *r, const struct ledger_filter *f, int64_t from_us,
                  int64_t to_us, struct fail *fail)
{
    int64_t ratio = rollup_width_us(LEVEL_DAY) / rollup_width_us(LEVEL_QUARTER);
    int64_t low, high, day_low, day_high;
    bool found = false;
    enum rc rc;

    if (to_us > r->kept_from_us)
        to_us = r->kept_from_us;
    if (from_us >= to_us)
        return RC_OK;
    low = rollup_bucket(LEVEL_QUARTER, from_us);
    high = rollup_bucket(LEVEL_QUARTER, to_us - 1) + 1;
    day_low = rollup_bucket(LEVEL_DAY, from_us) + 1;
    day_high = rollup_bucket(LEVEL_DAY, to_us);
    if (day_low >= day_high) {
        rc = any_rollup(r, f, LEVEL_QUARTER, low, high, &found, fail);
    } else {
        rc = any_rollup(r, f, LEVEL_DAY, day_low, day_high, &found, fail);
        if (rc == RC_OK)
            rc = any_rollup(r, f, LEVEL_QUARTER, low, day_low * ratio, &found, fail);
        if (rc == RC_OK)
            rc = any_rollup(r, f, LEVEL_QUARTER, day_high * ratio, high, &found, fail);
    }
    return rc == RC_OK && found ? read_gone(fail) : rc;
}

/* ---- windows by start -------------------------------------------------------------------- */

static enum rc take_one(struct answer *a, int64_t from_us, sqlite3_stmt *stmt,
                        struct fail *fail)
{
    const struct combo *c = read_combo(a->reader, sqlite3_column_int64(stmt, 0));
    struct rollup sums = {0};
    struct ledger_row *row;
    enum rc rc;

    if (!c || rollup_add_encoded(&sums, db_column(stmt, 1)) != RC_OK)
        return read_damaged(fail);
    if (!combo_matches(&a->q->filter, c))
        return RC_OK;
    rc = answer_combo_row(a, answer_period_at(a, from_us), c, false, &row, fail);
    if (rc == RC_OK && row)
        ledger_sums_take(&row->sums, &sums.sums);
    return rc;
}

enum rc answer_take_carried(struct answer *a, int64_t from_us, struct fail *fail)
{
    int64_t to_us = from_us + LEDGER_LONGEST_US;
    sqlite3_stmt *stmt;
    int code = SQLITE_DONE;
    enum rc rc = RC_OK;

    if (to_us > a->reader->kept_from_us)
        to_us = a->reader->kept_from_us;
    stmt = db_prepare(a->reader->db,
                      "SELECT combo, body FROM carried WHERE end_us>=?1 AND end_us<?2 AND "
                      "start_us<?1",
                      fail);
    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, from_us);
    sqlite3_bind_int64(stmt, 2, to_us);
    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = take_one(a, from_us, stmt, fail);
    if (rc == RC_OK && code != SQLITE_DONE)
        rc = read_failed(a->reader, fail);
    sqlite3_finalize(stmt);
    return rc;
}
