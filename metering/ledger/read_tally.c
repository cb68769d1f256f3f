/*
 * read_tally.c - see read_tally.h; and which block of tallies is to be made next.
 */
#include "metering/ledger/read_tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

/* ---- what there is --------------------------------------------------------------------- */

void tally_index_release(struct tally_index *x)
{
    sqlite3_finalize(x->body);
    free(x->at);
    free(x->again);
    *x = (struct tally_index){0};
}

static enum rc read_blocks(struct ledger_reader *r, struct tally_index *x, struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(
        r->db, "SELECT block, through, first_us, last_us, is_none FROM tally_block ORDER BY block",
        fail);
    enum rc rc = RC_OK;
    int code;

    if (!stmt)
        return fail->rc;
    x->n = 0;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if ((x->n & (x->n - 1)) == 0)
            x->at = xrealloc(x->at, (x->n ? x->n * 2 : 1) * sizeof(*x->at));
        x->at[x->n++] = (struct tally_place){.block = sqlite3_column_int64(stmt, 0),
                                             .through = sqlite3_column_int64(stmt, 1),
                                             .first_us = sqlite3_column_int64(stmt, 2),
                                             .last_us = sqlite3_column_int64(stmt, 3),
                                             .is_none = sqlite3_column_int(stmt, 4) != 0};
    }
    if (code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

static enum rc read_again(struct ledger_reader *r, struct tally_index *x, struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(r->db, "SELECT task FROM tally_again ORDER BY task", fail);
    enum rc rc = RC_OK;
    int code;

    if (!stmt)
        return fail->rc;
    x->n_again = 0;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if ((x->n_again & (x->n_again - 1)) == 0)
            x->again = xrealloc(x->again,
                                (x->n_again ? x->n_again * 2 : 1) * sizeof(*x->again));
        x->again[x->n_again++] = sqlite3_column_int64(stmt, 0);
    }
    if (code != SQLITE_DONE)
        rc = read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

enum rc tallies_look(struct ledger_reader *r, struct fail *fail)
{
    struct tally_index *x = &r->tallies;
    enum rc rc;

    if (x->is_read)
        return RC_OK;
    if (!x->body)
        x->body = db_prepare(r->db, "SELECT body FROM tally WHERE id=?1", fail);
    if (!x->body)
        return fail->rc;
    rc = read_blocks(r, x, fail);
    if (rc == RC_OK)
        rc = read_again(r, x, fail);
    x->is_read = rc == RC_OK;
    return rc;
}

/* The first place that is not before the block. */
static size_t place_from(const struct tally_index *x, int64_t block)
{
    size_t low = 0, high = x->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (x->at[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct tally_place *find(const struct tally_index *x, int64_t block)
{
    size_t i = place_from(x, block);

    return i < x->n && x->at[i].block == block ? &x->at[i] : NULL;
}

const struct tally_place *tally_find(const struct ledger_reader *r, int64_t block)
{
    const struct tally_place *p = find(&r->tallies, block);

    return p && !p->is_none && p->first_us >= r->kept_from_us ? p : NULL;
}

sqlite3_stmt *tally_outcomes(struct ledger_reader *r, int64_t low, int64_t high,
                             struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(r->db,
                                    "SELECT id, closed_us, outcome FROM task WHERE id>=?1 AND "
                                    "id<?2 AND +closed_us IS NOT NULL",
                                    fail);

    if (stmt) {
        sqlite3_bind_int64(stmt, 1, low);
        sqlite3_bind_int64(stmt, 2, high);
    }
    return stmt;
}

/* ---- what holds ------------------------------------------------------------------------- */

/* The block of facts came after this block of tallies was made. */
static bool is_later(const struct fact_place *f, const struct tally_place *p)
{
    return f->block == 0 || f->block > p->through;
}

static bool may_be_stale(const struct tally_index *x, const struct fact_place *f)
{
    if (f->last_task == 0)
        return false;
    for (size_t i = place_from(x, tally_block_of(f->first_task));
         i < x->n && x->at[i].block <= tally_block_of(f->last_task); i++) {
        if (is_later(f, &x->at[i]))
            return true;
    }
    return false;
}

static void stale_of_block(const struct tally_index *x, struct facts *f, tally_stale_fn *fn,
                           void *arg)
{
    const int64_t *task = facts_number(f, FACT_TASK);
    const struct tally_place *p = NULL;

    for (size_t i = 0; task && i < f->n; i++) {
        int64_t block = tally_block_of(task[i]);

        if (task[i] == 0)
            continue;
        if (!p || p->block != block)
            p = find(x, block);
        if (p && is_later(f->place, p))
            fn(task[i], arg);
    }
}

enum rc tallies_stale(struct ledger_reader *r, tally_stale_fn *fn, void *arg,
                      struct fail *fail)
{
    const struct tally_index *x = &r->tallies;
    struct facts f;
    enum rc rc;

    facts_open(&f, r, INT64_MIN, INT64_MAX);
    while (facts_next(&f)) {
        if (may_be_stale(x, f.place))
            stale_of_block(x, &f, fn, arg);
    }
    rc = f.rc;
    if (rc != RC_OK)
        *fail = f.fail;
    facts_close(&f);
    for (size_t i = 0; rc == RC_OK && i < x->n_again; i++)
        fn(x->again[i], arg);
    return rc;
}

/* ---- columns --------------------------------------------------------------------------- */

void tally_open(struct tally *t, struct ledger_reader *r)
{
    *t = (struct tally){.reader = r};
}

void tally_close(struct tally *t)
{
    for (size_t c = 0; c < TALLY_NUMBERS; c++)
        free(t->number[c]);
    for (size_t c = 0; c < TALLY_AMOUNTS; c++)
        free(t->amount[c]);
}

void tally_stand_at(struct tally *t, int64_t block)
{
    t->block = block;
    memset(t->got, 0, sizeof(t->got));
    memset(t->zero, 0, sizeof(t->zero));
}

/* True: it is known already. */
static bool has_got(struct tally *t, unsigned column)
{
    uint64_t bit = UINT64_C(1) << column % 64;
    bool got = (t->got[column / 64] & bit) != 0;

    t->got[column / 64] |= bit;
    return got;
}

static bool is_zero(const struct tally *t, unsigned column)
{
    return (t->zero[column / 64] >> column % 64 & 1) != 0;
}

/* The stored bytes; empty: there are none. Until body is reset. */
static struct strv stored(struct tally *t, unsigned column)
{
    sqlite3_stmt *body = t->reader->tallies.body;
    int code;

    sqlite3_bind_int64(body, 1, tally_row(column, t->block));
    code = sqlite3_step(body);
    if (code == SQLITE_ROW)
        return db_column(body, 0);
    t->zero[column / 64] |= UINT64_C(1) << column % 64;
    if (code != SQLITE_DONE)
        t->rc = read_failed(t->reader, &t->fail);
    return STRV("");
}

const int64_t *tally_number(struct tally *t, unsigned column)
{
    if (!has_got(t, column)) {
        struct strv bytes = stored(t, column);

        if (!t->number[column])
            t->number[column] = xcalloc(TALLY_BLOCK, sizeof(int64_t));
        if (bytes.n && fact_decode_numbers(bytes, TALLY_BLOCK, t->number[column]) != RC_OK)
            t->rc = read_damaged(&t->fail);
        sqlite3_reset(t->reader->tallies.body);
    }
    return is_zero(t, column) || t->rc != RC_OK ? NULL : t->number[column];
}

const money_int *tally_amount(struct tally *t, unsigned which)
{
    unsigned column = TALLY_AMOUNT_COLUMN + which;

    if (!has_got(t, column)) {
        struct strv bytes = stored(t, column);

        if (!t->amount[which])
            t->amount[which] = xcalloc(TALLY_BLOCK, sizeof(money_int));
        if (bytes.n && fact_decode_amounts(bytes, TALLY_BLOCK, t->amount[which]) != RC_OK)
            t->rc = read_damaged(&t->fail);
        sqlite3_reset(t->reader->tallies.body);
    }
    return is_zero(t, column) || t->rc != RC_OK ? NULL : t->amount[which];
}

/* ---- what is to be made ------------------------------------------------------------------ */

struct counting {
    const struct tally_index *x;
    uint32_t *n; /* of each place: tasks told */
};

static void count_stale(int64_t task, void *arg)
{
    struct counting *c = arg;
    size_t i = place_from(c->x, tally_block_of(task));

    if (i < c->x->n && c->x->at[i].block == tally_block_of(task))
        c->n[i]++;
}

/* Blocks of facts that are older than TALLY_SETTLE_US: the last of them, and its tasks. */
struct settled {
    int64_t block, task, last; /* last: block of all */
};

static struct settled settled(const struct fact_index *x)
{
    struct settled s = {0};
    int64_t newest = INT64_MIN;

    for (size_t i = 0; i < x->n; i++) {
        if (x->blocks[i].block && x->blocks[i].last_us > newest)
            newest = x->blocks[i].last_us;
    }
    for (size_t i = 0; i < x->n; i++) {
        const struct fact_place *f = &x->blocks[i];

        if (!f->block)
            continue;
        s.last = f->block;
        if (f->last_us >= newest - TALLY_SETTLE_US)
            continue;
        s.block = f->block > s.block ? f->block : s.block;
        s.task = f->last_task > s.task ? f->last_task : s.task;
    }
    return s;
}

/* The newest block of settled tasks that is not there. */
static int64_t missing(const struct tally_index *x, int64_t task)
{
    for (int64_t b = tally_block_of(task + 1) - 1; b >= 0; b--) {
        if (!find(x, b))
            return b;
    }
    return -1;
}

/* One that does not say all, and was made long ago. */
static enum rc outdated(struct ledger_reader *r, const struct settled *s, int64_t *block,
                        struct fail *fail)
{
    const struct tally_index *x = &r->tallies;
    struct counting c = {.x = x, .n = xcalloc_wide(x->n + 1, sizeof(*c.n))};
    enum rc rc = tallies_stale(r, count_stale, &c, fail);

    for (size_t i = 0; rc == RC_OK && i < x->n && *block < 0; i++) {
        if (c.n[i] > 0 && !x->at[i].is_none && x->at[i].through <= s->block &&
            x->at[i].through < s->last)
            *block = x->at[i].block;
    }
    free(c.n);
    return rc;
}

enum rc tally_next(struct ledger_reader *r, struct tally_make **out, struct fail *fail)
{
    struct settled s;
    int64_t block;
    bool known;
    enum rc rc = facts_look(r, &known, fail);

    *out = NULL;
    if (rc == RC_OK)
        rc = tallies_look(r, fail);
    if (rc != RC_OK || !known)
        return rc;
    s = settled(&r->facts);
    if (s.task == 0)
        return RC_OK;
    block = missing(&r->tallies, s.task);
    if (block < 0)
        rc = outdated(r, &s, &block, fail);
    if (rc == RC_OK && block >= 0)
        *out = tally_make_new(block, s.last);
    return rc;
}
