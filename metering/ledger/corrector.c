/*
 * corrector.c - corrections on their way into the ledger.
 *
 * The ledger has one writer.  Where a gateway runs, that is its ingest thread, and
 * corrections go through the journal as everything does.  Where none runs, the lock of
 * the journal folder is held here meanwhile, so that none starts, and they go into the
 * database at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/correction.h"
#include "metering/ledger/folder_lock.h"
#include "metering/ledger/ingest.h"

enum {
    BATCH_RECORDS = 1000,
    BATCH_MAX_BYTES = 8 << 20,
    CORRECTOR_WORKER = 999, /* in the name of its segments */
    TRIES = 100,            /* of a batch, each as long as INGEST_BUSY_MS */
};

struct corrector {
    int lock_fd;
    struct journal *journal; /* NULL: into the database */
    struct ingest *in;
    int64_t as_of_us;
    struct buf bytes;
    size_t at[BATCH_RECORDS + 1]; /* where each begins in bytes, and where the last ends */
    size_t n;
};

static enum rc failed(struct fail *fail, const char *doing)
{
    *fail = (struct fail){.rc = RC_IO, .sys = errno, .doing = doing};
    return RC_IO;
}

/*
 * What the ledger says it is complete to: corrections change nothing in it.  Books are refused: a
 * gateway's own correction of the same record would come on top.
 */
static enum rc read_as_of(const char *database, int64_t *us, struct fail *fail)
{
    struct ledger_reader *r = ledger_read_open(database, fail);
    struct ledger_as_of as_of = {0};
    bool is_books = false;
    enum rc rc = r ? ledger_read_begin(r, fail) : fail->rc;

    if (rc == RC_OK) {
        rc = ledger_read_as_of(r, &as_of, fail);
        if (rc == RC_OK)
            rc = ledger_read_is_books(r, &is_books, fail);
        ledger_read_end(r);
    }
    ledger_read_close(r);
    *us = as_of.us;
    if (rc != RC_OK || !is_books)
        return rc;
    *fail = (struct fail){.rc = RC_STATE,
                          .doing = "correct books that were taken from gateways' ledgers: correct "
                                   "those, and import them again"};
    return RC_STATE;
}

struct corrector *corrector_open(const char *database, const char *journal_dir,
                                 struct fail *fail)
{
    struct corrector *c = xcalloc(1, sizeof(*c));

    *fail = (struct fail){0};
    c->lock_fd = -1;
    buf_init(&c->bytes, BATCH_MAX_BYTES + JOURNAL_ENTRY_MAX_BYTES);
    if (read_as_of(database, &c->as_of_us, fail) != RC_OK ||
        folder_lock(journal_dir, &c->lock_fd, fail) != RC_OK)
        goto out;
    if (c->lock_fd < 0) {
        c->journal = journal_open(journal_dir, CORRECTOR_WORKER, fail);
        if (!c->journal)
            goto out;
        return c;
    }
    c->in = ingest_open(database, LEDGER_OPEN_BUSY_MS, fail);
    if (!c->in || read_as_of(database, &c->as_of_us, fail) != RC_OK)
        goto out;
    return c;
out:
    corrector_close(c);
    return NULL;
}

bool corrector_is_journal(const struct corrector *c)
{
    return c->journal != NULL;
}

static enum rc to_journal(struct corrector *c, struct fail *fail)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < c->n && rc == RC_OK; i++) {
        struct strv bytes = buf_view(&c->bytes);
        struct record r;

        bytes = strv_head(strv_skip(bytes, c->at[i]), c->at[i + 1] - c->at[i]);
        rc = record_decode(bytes, &r);
        if (rc == RC_OK)
            rc = journal_end(c->journal, &r);
    }
    if (rc != RC_OK) {
        *fail = (struct fail){.rc = rc, .doing = "journal a correction"};
        return rc;
    }
    rc = journal_flush(c->journal, fail);
    if (rc == RC_OK && fdatasync(journal_fd(c->journal)) != 0)
        rc = failed(fail, "sync the journal");
    return rc;
}

/* One try of the batch; RC_AGAIN: locked, or an id was there already. */
static enum rc batch(struct corrector *c, struct fail *fail)
{
    enum rc rc = ingest_begin(c->in, fail);

    for (size_t i = 0; i < c->n && rc == RC_OK; i++) {
        struct strv bytes = buf_view(&c->bytes);
        struct record r;
        bool is_new;

        bytes = strv_head(strv_skip(bytes, c->at[i]), c->at[i + 1] - c->at[i]);
        rc = record_decode(bytes, &r);
        if (rc == RC_OK)
            rc = ingest_record(c->in, &r, bytes, &is_new, fail);
    }
    if (rc == RC_OK)
        rc = ingest_commit(c->in, c->as_of_us, fail);
    if (rc != RC_OK)
        ingest_rollback(c->in);
    return rc;
}

static enum rc to_database(struct corrector *c, struct fail *fail)
{
    enum rc rc = RC_AGAIN;

    for (int i = 0; i < TRIES && rc == RC_AGAIN; i++)
        rc = batch(c, fail);
    return rc == RC_OK ? ingest_sync(c->in, fail) : rc;
}

enum rc corrector_flush(struct corrector *c, struct fail *fail)
{
    enum rc rc;

    if (c->n == 0)
        return RC_OK;
    rc = c->journal ? to_journal(c, fail) : to_database(c, fail);
    if (rc != RC_OK && c->journal)
        journal_forget(c->journal);
    buf_clear(&c->bytes);
    c->n = 0;
    return rc;
}

enum rc corrector_add(struct corrector *c, const struct record *r, struct fail *fail)
{
    enum rc rc;

    ASSERT(r->is_correction);
    if (c->n == BATCH_RECORDS || buf_len(&c->bytes) >= BATCH_MAX_BYTES) {
        rc = corrector_flush(c, fail);
        if (rc != RC_OK)
            return rc;
    }
    rc = record_encode(r, &c->bytes);
    if (rc != RC_OK) {
        *fail = (struct fail){.rc = rc, .doing = "keep a correction"};
        return rc;
    }
    c->at[++c->n] = buf_len(&c->bytes);
    return RC_OK;
}

void corrector_close(struct corrector *c)
{
    if (!c)
        return;
    journal_close(c->journal);
    ingest_close(c->in);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    buf_release(&c->bytes);
    free(c);
}
