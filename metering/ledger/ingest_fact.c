/*
 * ingest_fact.c - stores requests by column, a block at a time (fact.h).
 *
 * Records are collected as they come, in memory, and are a block once they are
 * FACT_BLOCK: that costs a few hundredths of a record.  What is collected is lost with
 * the process and read from the tables again.
 */
#include <stdlib.h>

#include "metering/ledger/ingest_int.h"

enum rc ingest_facts_open(struct ingest *in, struct fail *fail)
{
    in->facts = fact_block_new();
    in->charged_from = INT64_MAX;
    return fact_source_open(&in->fact_source, in->db, fail);
}

void ingest_facts_close(struct ingest *in)
{
    fact_source_close(&in->fact_source);
    free(in->facts);
}

void ingest_forget_facts(struct ingest *in)
{
    if (in->has_facts_begun)
        in->has_facts = false;
    in->has_facts_begun = false;
}

/* Fills in->facts from the tables; full: there may be more. */
static enum rc load(struct ingest *in, struct fail *fail)
{
    sqlite3_stmt *last = in->sql[SQL_FACT_LAST];
    int64_t after;

    if (sqlite3_step(last) != SQLITE_ROW) {
        enum rc rc = db_failed(in->db, fail, "read the ledger");

        sqlite3_reset(last);
        return rc;
    }
    in->next_block = sqlite3_column_int64(last, 0) + 1; /* NULL is 0 */
    after = sqlite3_column_int64(last, 1);
    sqlite3_reset(last);
    fact_block_clear(in->facts);
    return fact_load(&in->fact_source, after, in->facts, fail);
}

/*
 * What no record is behind needs no look: the first batch of a new ledger.  Where
 * records wait for several blocks the batch goes in without them.
 */
enum rc ingest_facts_begin(struct ingest *in, struct fail *fail)
{
    enum rc rc = RC_OK;

    if (!in->has_facts && !in->is_behind) {
        rc = load(in, fail);
        in->is_behind = in->facts->n == FACT_BLOCK;
        in->has_facts = rc == RC_OK && !in->is_behind;
    }
    in->has_facts_begun = false;
    return rc;
}

void ingest_restart_facts(struct ingest *in)
{
    fact_block_clear(in->facts);
    in->next_block = 1;
    in->has_facts = in->has_facts_begun = true;
    in->is_behind = false;
}

static void bounds(const int64_t *v, size_t n, bool skip_zero, int64_t *least, int64_t *most)
{
    bool any = false;

    *least = *most = 0;
    for (size_t i = 0; i < n; i++) {
        if (skip_zero && v[i] == 0)
            continue;
        *least = !any || v[i] < *least ? v[i] : *least;
        *most = !any || v[i] > *most ? v[i] : *most;
        any = true;
    }
}

static enum rc store_column(unsigned column, struct strv bytes, void *arg, struct fail *fail)
{
    struct ingest *in = arg;
    sqlite3_stmt *put = in->sql[SQL_FACT_PUT];

    sqlite3_bind_int64(put, 1, fact_row(column, in->next_block));
    db_bind_blob(put, 2, bytes);
    return db_run(put, fail, "write facts");
}

/* A full block goes into its tables, the next begins. */
static enum rc store(struct ingest *in, struct fail *fail)
{
    sqlite3_stmt *put = in->sql[SQL_FACT_BLOCK_PUT];
    const struct fact_block *b = in->facts;
    int64_t first, last;
    enum rc rc = fact_each_column(b, store_column, in, fail);

    if (rc != RC_OK)
        return rc;
    sqlite3_bind_int64(put, 1, in->next_block);
    sqlite3_bind_int64(put, 2, b->number[FACT_SEQ][b->n - 1] + (int64_t)b->n - 1);
    sqlite3_bind_int64(put, 3, (int64_t)b->n);
    bounds(b->number[FACT_END], b->n, false, &first, &last);
    sqlite3_bind_int64(put, 4, first);
    sqlite3_bind_int64(put, 5, last);
    bounds(b->number[FACT_TASK], b->n, true, &first, &last);
    sqlite3_bind_int64(put, 6, first);
    sqlite3_bind_int64(put, 7, last);
    rc = db_run(put, fail, "write facts");
    if (rc == RC_OK) {
        in->next_block++;
        fact_block_clear(in->facts);
    }
    return rc;
}

/* The record that this one corrects may be among the rows that wait. */
static enum rc find_corrected(struct ingest *in, const struct record *r, int64_t *seq,
                              struct fail *fail)
{
    sqlite3_stmt *find = in->fact_source.seq_of;
    enum rc rc = ingest_write_rows(in, fail);

    if (rc != RC_OK)
        return rc;
    db_bind_blob(find, 1, strv_make((const char *)r->corrects.b, UUID_BYTES));
    rc = db_int(find, seq, fail, "read a record");
    return rc == RC_STATE ? RC_OK : rc;
}

enum rc ingest_add_fact(struct ingest *in, const struct ingest_row *row, const struct record *r,
                        struct fail *fail)
{
    struct fact_line line = {.seq = row->seq, .attempt = row->attempt};
    enum rc rc = RC_OK;

    if (!in->has_facts)
        return RC_OK;
    in->has_facts_begun = true;
    for (int i = 0; i < 5; i++)
        line.ids[i] = row->ids[i];
    if (r->is_correction)
        rc = find_corrected(in, r, &line.corrects, fail);
    if (rc != RC_OK)
        return rc;
    fact_block_add(in->facts, &line, r);
    return in->facts->n == FACT_BLOCK ? store(in, fail) : RC_OK;
}

enum rc ingest_seal(struct ingest *in, bool *more, struct fail *fail)
{
    enum rc rc;

    *more = false;
    if (in->has_facts)
        return RC_OK;
    in->is_behind = true; /* so that the transaction does not look too */
    rc = ingest_begin(in, fail);
    if (rc != RC_OK)
        return rc;
    in->has_facts_begun = true;
    rc = load(in, fail);
    if (rc == RC_OK && in->facts->n == FACT_BLOCK) {
        *more = true;
        rc = store(in, fail);
    } else if (rc == RC_OK) {
        in->has_facts = true;
        in->is_behind = false;
    }
    rc = ingest_end(in, rc, fail);
    if (rc == RC_OK)
        in->has_facts_begun = false;
    return rc;
}

enum rc ingest_drop_facts(struct ingest *in, int64_t kept_from_us, int64_t max, bool *more,
                          struct fail *fail)
{
    sqlite3_stmt *old = in->sql[SQL_FACT_OLD], *drop = in->sql[SQL_FACT_DROP];
    sqlite3_stmt *drop_block = in->sql[SQL_FACT_BLOCK_DROP];
    enum rc rc = RC_OK;

    for (; rc == RC_OK && max > 0; max--) {
        int64_t block;

        sqlite3_bind_int64(old, 1, kept_from_us);
        sqlite3_bind_int64(old, 2, 1);
        rc = db_int(old, &block, fail, "read the ledger");
        for (unsigned c = 0; rc == RC_OK && c < FACT_STORED_COLUMNS; c++) {
            sqlite3_bind_int64(drop, 1, fact_row(c, block));
            rc = db_run(drop, fail, "delete facts");
        }
        sqlite3_bind_int64(drop_block, 1, block);
        if (rc == RC_OK)
            rc = db_run(drop_block, fail, "delete facts");
    }
    *more = *more || rc == RC_OK;
    return rc == RC_STATE ? RC_OK : rc;
}
