/*
 * read_crossing.c - which thresholds of budgets were reached, and whether they can have been.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/datetime.h"
#include "metering/ledger/read_int.h"

#define CROSSING_COLUMNS                                                                       \
    "limit_name, scope, teller, start_us, end_us, percent, amount, spent, at_us"

static enum rc take_row(struct ledger_reader *r, sqlite3_stmt *stmt,
                        struct ledger_crossing *out, struct fail *fail)
{
    struct strv *const texts[] = {&out->limit, &out->scope, &out->teller};
    enum rc rc = RC_OK;

    for (int i = 0; i < 3 && rc == RC_OK; i++)
        rc = texts_get(r, &r->words, sqlite3_column_int64(stmt, i), texts[i], fail);
    out->start_us = sqlite3_column_int64(stmt, 3);
    out->end_us = sqlite3_column_int64(stmt, 4);
    out->percent = (unsigned)sqlite3_column_int64(stmt, 5);
    out->amount = (uint64_t)sqlite3_column_int64(stmt, 6);
    out->spent = (uint64_t)sqlite3_column_int64(stmt, 7);
    out->at_us = sqlite3_column_int64(stmt, 8);
    return rc;
}

static enum rc each_row(struct ledger_reader *r, sqlite3_stmt *stmt, ledger_crossing_fn *fn,
                        void *arg, struct fail *fail)
{
    struct ledger_crossing c;
    enum rc rc = RC_OK;
    int code = SQLITE_DONE;

    while (rc == RC_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        rc = take_row(r, stmt, &c, fail);
        if (rc == RC_OK && !fn(&c, arg))
            break;
    }
    if (rc == RC_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

static void bind_window(sqlite3_stmt *stmt, struct strv limit, int64_t start_us, int64_t end_us)
{
    db_bind_text(stmt, 1, limit);
    sqlite3_bind_int64(stmt, 2, start_us);
    sqlite3_bind_int64(stmt, 3, end_us);
}

enum rc ledger_read_crossings(struct ledger_reader *r, struct strv limit, int64_t start_us,
                              int64_t end_us, ledger_crossing_fn *fn, void *arg,
                              struct fail *fail)
{
    sqlite3_stmt *stmt;

    ASSERT(r->in_view);
    *fail = (struct fail){0};
    stmt = db_prepare(r->db,
                      limit.n ? "SELECT " CROSSING_COLUMNS " FROM crossing WHERE limit_name="
                                "(SELECT id FROM word WHERE text=?1) AND start_us=?2 AND "
                                "end_us=?3 ORDER BY scope, at_us, percent"
                              : "SELECT " CROSSING_COLUMNS " FROM crossing ORDER BY at_us",
                      fail);
    if (!stmt)
        return fail->rc;
    if (limit.n)
        bind_window(stmt, limit, start_us, end_us);
    return each_row(r, stmt, fn, arg, fail);
}

struct last {
    struct ledger_crossing *out;
    bool found;
};

static bool take_last(const struct ledger_crossing *c, void *arg)
{
    struct last *last = arg;

    *last->out = *c;
    last->found = true;
    return false;
}

enum rc ledger_read_crossed(struct ledger_reader *r, struct strv limit, struct strv scope,
                            int64_t start_us, int64_t end_us, struct ledger_crossing *out,
                            bool *found, struct fail *fail)
{
    struct last last = {.out = out};
    sqlite3_stmt *stmt;
    enum rc rc;

    ASSERT(r->in_view);
    *fail = (struct fail){0};
    *found = false;
    stmt = db_prepare(r->db,
                      "SELECT " CROSSING_COLUMNS " FROM crossing WHERE limit_name="
                      "(SELECT id FROM word WHERE text=?1) AND start_us=?2 AND end_us=?3 AND "
                      "scope=CASE ?4 WHEN '' THEN 0 ELSE (SELECT id FROM word WHERE text=?4) "
                      "END ORDER BY at_us DESC, percent DESC LIMIT 1",
                      fail);
    if (!stmt)
        return fail->rc;
    bind_window(stmt, limit, start_us, end_us);
    db_bind_text(stmt, 4, scope);
    rc = each_row(r, stmt, take_last, &last, fail);
    *found = rc == RC_OK && last.found;
    return rc;
}

/* ---- audit ---------------------------------------------------------------------------- */

static bool verify(const struct ledger_crossing *c, void *arg)
{
    struct ledger_verdict *v = arg;
    char start[DATETIME_TEXT];

    v->crossings++;
    if ((money_int)c->spent * 100 >= (money_int)c->amount * c->percent &&
        c->at_us >= c->start_us && c->at_us < c->end_us)
        return true;
    v->bad_crossings++;
    if (v->first[0])
        return true;
    datetime_format_us(c->start_us, start);
    (void)snprintf(v->first, sizeof(v->first),
                   "%u %% of limit \"" STRV_FMT "\" of \"" STRV_FMT
                   "\", window from %s: reached with %" PRIu64 " of %" PRIu64 " spent",
                   c->percent, STRV_ARG(strv_head(c->limit, 65)),
                   STRV_ARG(strv_head(c->scope, 100)), start, c->spent, c->amount);
    return true;
}

enum rc verify_crossings(struct ledger_reader *r, struct ledger_verdict *v, struct fail *fail)
{
    return ledger_read_crossings(r, STRV_NONE, 0, 0, verify, v, fail);
}
