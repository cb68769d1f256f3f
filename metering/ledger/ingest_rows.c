/*
 * ingest_rows.c - the rows of a batch, given to SQLite by the hundred.
 *
 * A statement costs more to start and end than a row to insert, so rows are collected
 * and SQLite fetches them itself, from a table-valued function that shows what was
 * collected.  Nothing is looked up before: an id that is in the ledger already breaks
 * the insert and the transaction with it, and the batch is done again carefully, row
 * by row.  That happens only where a segment turns up that was taken in before.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"

/* ---- the table that SQLite reads ------------------------------------------- */

enum rows_column {
    ROWS_SEQ = 0,
    ROWS_ID,
    ROWS_BODY,
    ROWS_END,
    ROWS_START,
    ROWS_ATTEMPT,
    ROWS_NANO,
    ROWS_REST,
    ROWS_COMMON,
    ROWS_IDS, /* and the four behind it */
};

struct rows_table {
    sqlite3_vtab base; /* first: SQLite knows only this */
    const struct ingest *in;
};

struct rows_cursor {
    sqlite3_vtab_cursor base; /* first */
    const struct ingest *in;
    size_t at;
};

static int rows_connect(sqlite3 *db, void *arg, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **error)
{
    struct rows_table *t;
    int code = sqlite3_declare_vtab(
        db, "CREATE TABLE x(seq, id, body, end_us, start_us, attempt, cost_nano, cost_rest,"
            " common, combo, customer, user, task, tagset)");

    (void)argc;
    (void)argv;
    (void)error;
    if (code != SQLITE_OK)
        return code;
    t = xcalloc(1, sizeof(*t));
    t->in = arg;
    *out = &t->base;
    return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

static int rows_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = INGEST_ROWS_MAX;
    return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    struct rows_cursor *c = xcalloc(1, sizeof(*c));

    c->in = ((struct rows_table *)(void *)table)->in;
    *out = &c->base;
    return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int rows_filter(sqlite3_vtab_cursor *cursor, int plan, const char *text, int argc,
                       sqlite3_value **argv)
{
    (void)plan;
    (void)text;
    (void)argc;
    (void)argv;
    ((struct rows_cursor *)(void *)cursor)->at = 0;
    return SQLITE_OK;
}

static int rows_next(sqlite3_vtab_cursor *cursor)
{
    ((struct rows_cursor *)(void *)cursor)->at++;
    return SQLITE_OK;
}

static int rows_eof(sqlite3_vtab_cursor *cursor)
{
    const struct rows_cursor *c = (const struct rows_cursor *)(const void *)cursor;

    return c->at >= c->in->n_rows;
}

static void show_cost(sqlite3_context *out, const struct ingest_row *row, int64_t part)
{
    if (row->is_priced)
        sqlite3_result_int64(out, part);
    else
        sqlite3_result_null(out);
}

static int rows_column(sqlite3_vtab_cursor *cursor, sqlite3_context *out, int column)
{
    const struct rows_cursor *c = (const struct rows_cursor *)(const void *)cursor;
    const struct ingest_row *row = &c->in->rows[c->at];

    if (column >= ROWS_IDS) {
        sqlite3_result_int64(out, row->ids[column - ROWS_IDS]);
        return SQLITE_OK;
    }
    switch ((enum rows_column)column) {
    case ROWS_SEQ:
        sqlite3_result_int64(out, row->seq);
        break;
    case ROWS_ID:
        sqlite3_result_blob(out, row->id.b, UUID_BYTES, SQLITE_STATIC);
        break;
    case ROWS_BODY:
        sqlite3_result_blob(out, buf_view(&c->in->bodies).p + row->body_at, (int)row->body_n,
                            SQLITE_STATIC);
        break;
    case ROWS_END:
        sqlite3_result_int64(out, row->end_us);
        break;
    case ROWS_START:
        sqlite3_result_int64(out, row->start_us);
        break;
    case ROWS_ATTEMPT:
        sqlite3_result_int64(out, row->attempt);
        break;
    case ROWS_NANO:
        show_cost(out, row, row->cost_nano);
        break;
    case ROWS_REST:
        show_cost(out, row, row->cost_rest);
        break;
    case ROWS_COMMON:
        sqlite3_result_int64(out, row->common);
        break;
    case ROWS_IDS:
        break;
    }
    return SQLITE_OK;
}

static int rows_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)((struct rows_cursor *)(void *)cursor)->at;
    return SQLITE_OK;
}

/* Without xCreate: the table is there without being made, and cannot be made. */
static const sqlite3_module rows_module = {
    .iVersion = 1,
    .xConnect = rows_connect,
    .xBestIndex = rows_best_index,
    .xDisconnect = rows_disconnect,
    .xOpen = rows_open,
    .xClose = rows_close,
    .xFilter = rows_filter,
    .xNext = rows_next,
    .xEof = rows_eof,
    .xColumn = rows_column,
    .xRowid = rows_rowid,
};

/* ---- collecting and writing -------------------------------------------------- */

enum rc ingest_rows_open(struct ingest *in, struct fail *fail)
{
    buf_init(&in->bodies, INGEST_BODIES_BYTES);
    in->rows = xcalloc(INGEST_ROWS_MAX, sizeof(*in->rows));
    if (sqlite3_create_module(in->db, "ingest_rows", &rows_module, in) != SQLITE_OK)
        return db_failed(in->db, fail, "open the ledger");
    return RC_OK;
}

void ingest_rows_close(struct ingest *in)
{
    buf_release(&in->bodies);
    free(in->rows);
}

void ingest_forget_rows(struct ingest *in)
{
    in->n_rows = 0;
    buf_clear(&in->bodies);
}

static enum rc insert(struct ingest *in, enum statement what, struct fail *fail)
{
    sqlite3_stmt *add = in->sql[what];
    int code = sqlite3_step(add);
    enum rc rc = RC_OK;

    if (code == SQLITE_CONSTRAINT) {
        rc = in->is_careful ? RC_BAD : RC_AGAIN;
        in->is_careful = true;
        *fail = (struct fail){.rc = rc, .doing = "take a record in twice"};
    } else if (code != SQLITE_DONE) {
        rc = db_failed(in->db, fail, "write records");
    }
    sqlite3_reset(add);
    return rc;
}

/*
 * Behind the greatest number SQLite gives the next ones itself, without a search for each.  The
 * first records after a start, a rollback and deletions say theirs.
 */
static enum rc insert_records(struct ingest *in, struct fail *fail)
{
    int64_t first = in->rows[0].seq, last = in->rows[in->n_rows - 1].seq;
    bool is_next = in->most_seq > 0 && first == in->most_seq + 1;
    enum rc rc;

    ASSERT(last - first == (int64_t)in->n_rows - 1);
    rc = insert(in, is_next ? SQL_RECORDS_APPEND : SQL_RECORDS_ADD, fail);
    if (rc != RC_OK)
        return rc;
    in->most_seq = last;
    if (sqlite3_last_insert_rowid(in->db) == last)
        return RC_OK;
    *fail = (struct fail){.rc = RC_AGAIN, .doing = "number records: others deleted some"};
    return RC_AGAIN;
}

enum rc ingest_write_rows(struct ingest *in, struct fail *fail)
{
    enum rc rc;

    if (in->n_rows == 0)
        return RC_OK;
    rc = in->is_repair ? RC_OK : insert_records(in, fail);
    if (rc == RC_OK)
        rc = insert(in, SQL_LINES_ADD, fail);
    ingest_forget_rows(in);
    return rc;
}

enum rc ingest_add_row(struct ingest *in, const struct ingest_row *row, struct strv body,
                       struct fail *fail)
{
    struct ingest_row *to;
    enum rc rc = RC_OK;

    ASSERT(body.n <= JOURNAL_ENTRY_MAX_BYTES);
    if (in->n_rows == INGEST_ROWS_MAX || buf_len(&in->bodies) + body.n > INGEST_BODIES_BYTES)
        rc = ingest_write_rows(in, fail);
    if (rc != RC_OK)
        return rc;
    to = &in->rows[in->n_rows];
    *to = *row;
    to->body_at = buf_len(&in->bodies);
    to->body_n = body.n;
    rc = buf_append_strv(&in->bodies, body);
    if (rc != RC_OK) {
        *fail = (struct fail){.rc = rc, .doing = "collect records"};
        return rc;
    }
    in->n_rows++;
    return RC_OK;
}
