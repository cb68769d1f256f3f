/*
 * ingest_charge.c - columns of charges (fact.h) for blocks that an earlier version wrote.
 *
 * A block a transaction, the newest first, of the records that are still there.  Until a block
 * has them, what asks for charges reads its records.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "metering/ledger/ingest_int.h"
#include "metering/ledger/record_common.h"

static const char doing[] = "write facts";

struct charging {
    struct ingest *in;
    int64_t block;
    bool is_damaged;         /* what is read of it */
    struct fact_block *made; /* charges alone */
    int64_t seq[FACT_BLOCK];
};

static enum rc find_block(struct ingest *in, struct charging *c, struct fail *fail)
{
    sqlite3_stmt *next = in->sql[SQL_FACT_UNCHARGED];
    enum rc rc = RC_OK;
    int code;

    sqlite3_bind_int64(next, 1, in->charged_from);
    sqlite3_bind_int64(next, 2, fact_row(FACT_METERS_COLUMN, 0));
    code = sqlite3_step(next);
    if (code == SQLITE_ROW) {
        c->block = sqlite3_column_int64(next, 0);
        c->made->n = (size_t)sqlite3_column_int64(next, 1);
        if (c->block <= 0 || c->made->n == 0 || c->made->n > FACT_BLOCK)
            rc = RC_BAD;
    } else if (code != SQLITE_DONE) {
        rc = db_failed(in->db, fail, "read the ledger");
    }
    sqlite3_reset(next);
    return rc;
}

static enum rc read_numbers(struct ingest *in, struct charging *c, struct fail *fail)
{
    sqlite3_stmt *get = in->sql[SQL_FACT_GET];
    enum rc rc = RC_OK;
    int code;

    sqlite3_bind_int64(get, 1, fact_row(FACT_SEQ, c->block));
    code = sqlite3_step(get);
    if (code == SQLITE_ROW)
        rc = fact_decode_numbers(db_column(get, 0), c->made->n, c->seq);
    else
        rc = code == SQLITE_DONE ? RC_BAD : db_failed(in->db, fail, "read the ledger");
    sqlite3_reset(get);
    for (size_t i = 0; rc == RC_OK && i < c->made->n; i++)
        c->seq[i] += (int64_t)i;
    return rc;
}

/* Both are in order; records that were deleted since stay unknown. */
static enum rc read_records(struct ingest *in, struct charging *c, struct fail *fail)
{
    sqlite3_stmt *records = in->fact_source.records;
    int64_t last = c->seq[c->made->n - 1];
    struct record r;
    size_t i = 0;
    int code;

    sqlite3_bind_int64(records, 1, c->seq[0] - 1);
    while ((code = sqlite3_step(records)) == SQLITE_ROW) {
        int64_t seq = sqlite3_column_int64(records, 0);

        if (seq > last)
            break;
        while (i < c->made->n && c->seq[i] < seq)
            i++;
        if (i < c->made->n && c->seq[i] == seq && record_of_row(records, 1, &r) == RC_OK)
            fact_block_put_charge(c->made, i, &r);
    }
    sqlite3_reset(records);
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? RC_OK
               : db_failed(in->db, fail, "read records");
}

static enum rc store_column(unsigned column, struct strv bytes, void *arg, struct fail *fail)
{
    struct charging *c = arg;
    sqlite3_stmt *put = c->in->sql[SQL_FACT_PUT];

    sqlite3_bind_int64(put, 1, fact_row(column, c->block));
    db_bind_blob(put, 2, bytes);
    return db_run(put, fail, doing);
}

/* What is damaged stays without (is_damaged): the audit names it. */
static enum rc charge_next(struct ingest *in, struct charging *c, struct fail *fail)
{
    enum rc rc = find_block(in, c, fail);

    if (rc == RC_OK && c->block == 0)
        return RC_OK;
    if (rc == RC_OK)
        rc = read_numbers(in, c, fail);
    if (rc == RC_OK)
        rc = read_records(in, c, fail);
    c->is_damaged = rc == RC_BAD;
    if (rc == RC_OK)
        rc = fact_each_column(c->made, store_column, c, fail);
    return rc;
}

enum rc ingest_charge(struct ingest *in, bool *more, struct fail *fail)
{
    struct charging *c;
    enum rc rc = ingest_begin(in, fail);

    *more = false;
    if (rc != RC_OK)
        return rc;
    c = xcalloc(1, sizeof(*c));
    c->in = in;
    c->made = fact_block_new();
    rc = ingest_end(in, charge_next(in, c, fail), fail);
    if (rc == RC_BAD && c->is_damaged)
        rc = RC_OK; /* nothing of the block was written */
    if (rc == RC_OK) {
        in->charged_from = c->block;
        *more = c->block != 0;
    }
    free(c->made);
    free(c);
    return rc;
}
