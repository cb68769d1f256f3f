/*
 * read_fact.c - requests by column, a block at a time: those that are stored, then those
 * after them, which are made from their records.
 *
 * Only the columns that are asked for are read.  Blocks that no request of the time asked
 * for is in are passed over.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/xalloc.h"
#include "metering/ledger/read_crew.h"
#include "metering/ledger/read_fact.h"

/* ---- what there is ------------------------------------------------------------------- */

void fact_index_release(struct fact_index *x)
{
    sqlite3_finalize(x->body);
    fact_source_close(&x->source);
    free(x->blocks);
    free(x->tail);
    *x = (struct fact_index){0};
}

static void add_block(struct fact_index *x, const struct fact_place *place)
{
    if ((x->n & (x->n - 1)) == 0)
        x->blocks = xrealloc(x->blocks, (x->n ? x->n * 2 : 1) * sizeof(*x->blocks));
    x->blocks[x->n++] = *place;
}

static enum rc read_blocks(struct ledger_reader *r, struct fact_index *x, struct fail *fail)
{
    sqlite3_stmt *stmt = db_prepare(r->db,
                                    "SELECT block, last_seq, n, first_us, last_us, first_task, "
                                    "last_task FROM fact_block ORDER BY block",
                                    fail);
    enum rc rc = RC_OK;
    int code;

    if (!stmt)
        return fail->rc;
    x->n = 0;
    x->last_seq = 0;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct fact_place place = {.block = sqlite3_column_int64(stmt, 0),
                                         .n = (size_t)sqlite3_column_int64(stmt, 2),
                                         .first_us = sqlite3_column_int64(stmt, 3),
                                         .last_us = sqlite3_column_int64(stmt, 4),
                                         .first_task = sqlite3_column_int64(stmt, 5),
                                         .last_task = sqlite3_column_int64(stmt, 6)};

        x->last_seq = sqlite3_column_int64(stmt, 1);
        if (place.block <= 0 || place.n == 0 || place.n > FACT_BLOCK)
            break;
        add_block(x, &place);
    }
    if (code != SQLITE_DONE)
        rc = code == SQLITE_ROW ? read_damaged(fail) : read_failed(r, fail);
    sqlite3_finalize(stmt);
    return rc;
}

static void range(const int64_t *v, size_t n, bool skip_zero, int64_t *least, int64_t *most)
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

/* Whether what is behind the last block is less than one; numbers may have gaps. */
static enum rc look_behind(struct ledger_reader *r, struct fact_index *x, int64_t seq,
                           struct fail *fail)
{
    sqlite3_stmt *stmt;
    int64_t n = 0;
    enum rc rc;

    x->is_whole = seq - x->last_seq < FACT_BLOCK;
    if (x->is_whole)
        return RC_OK;
    stmt = db_prepare(
        r->db, "SELECT count(*) FROM (SELECT 1 FROM record WHERE seq>?1 LIMIT ?2)", fail);
    if (!stmt)
        return fail->rc;
    sqlite3_bind_int64(stmt, 1, x->last_seq);
    sqlite3_bind_int64(stmt, 2, FACT_BLOCK);
    rc = db_int(stmt, &n, fail, "read the ledger");
    sqlite3_finalize(stmt);
    x->is_whole = n < FACT_BLOCK;
    return rc;
}

/* What was read of the tail in an earlier view holds: no line ever changes. */
static enum rc read_tail(struct ledger_reader *r, struct fact_index *x, struct fail *fail)
{
    struct fact_place place = {.block = 0};
    int64_t seq = 0;
    enum rc rc = db_query_int(r->db, "SELECT coalesce(max(seq), 0) FROM record", &seq, fail,
                              "read the ledger");

    if (rc == RC_OK)
        rc = look_behind(r, x, seq, fail);
    if (rc != RC_OK || !x->is_whole || seq <= x->last_seq)
        return rc;
    if (!x->tail)
        x->tail = fact_block_new();
    if (x->tail_after != x->last_seq) {
        fact_block_clear(x->tail);
        x->tail_after = x->tail_seq = x->last_seq;
    }
    rc = fact_load(&x->source, x->tail_seq, x->tail, fail);
    if (rc != RC_OK) {
        x->tail_after = -1; /* half read */
        return rc;
    }
    x->tail_seq = seq;
    place.n = x->tail->n;
    if (place.n == 0)
        return RC_OK;
    range(x->tail->number[FACT_END], place.n, false, &place.first_us, &place.last_us);
    range(x->tail->number[FACT_TASK], place.n, true, &place.first_task, &place.last_task);
    add_block(x, &place);
    return RC_OK;
}

/* The statement that reads a column. */
static enum rc open_body(struct ledger_reader *r, struct fact_index *x, struct fail *fail)
{
    if (!x->body)
        x->body = db_prepare(r->db, "SELECT body FROM fact WHERE id=?1", fail);
    return x->body ? RC_OK : fail->rc;
}

enum rc facts_look(struct ledger_reader *r, bool *known, struct fail *fail)
{
    struct fact_index *x = &r->facts;
    enum rc rc = RC_OK;

    *known = false;
    if (!x->source.records) {
        x->tail_after = -1;
        rc = open_body(r, x, fail);
        if (rc == RC_OK)
            rc = fact_source_open(&x->source, r->db, fail);
    }
    if (rc == RC_OK && !x->is_read) {
        rc = read_blocks(r, x, fail);
        if (rc == RC_OK)
            rc = read_tail(r, x, fail);
        x->is_read = rc == RC_OK;
    }
    *known = rc == RC_OK && x->is_whole;
    return rc;
}

size_t facts_stored(const struct ledger_reader *r)
{
    const struct fact_index *x = &r->facts;

    return x->n > 0 && x->blocks[x->n - 1].block == 0 ? x->n - 1 : x->n;
}

static bool is_same(const struct fact_place *a, const struct fact_place *b)
{
    return a->block == b->block && a->n == b->n && a->first_us == b->first_us &&
           a->last_us == b->last_us && a->first_task == b->first_task &&
           a->last_task == b->last_task;
}

enum rc facts_share(struct ledger_reader *r, const struct ledger_reader *of, struct fail *fail)
{
    struct fact_index *x = &r->facts;
    size_t n = facts_stored(of);
    enum rc rc = open_body(r, x, fail);

    if (rc == RC_OK)
        rc = read_blocks(r, x, fail);
    if (rc == RC_OK && x->n < n)
        rc = RC_STATE;
    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = is_same(&x->blocks[i], &of->facts.blocks[i]) ? RC_OK : RC_STATE;
    x->n = n;
    x->is_read = x->is_whole = rc == RC_OK;
    return rc;
}

void facts_borrow_tail(struct ledger_reader *r, const struct ledger_reader *of)
{
    const struct fact_index *from = &of->facts;

    ASSERT(!r->facts.tail);
    r->facts.tail = from->tail;
    if (facts_stored(of) < from->n)
        add_block(&r->facts, &from->blocks[from->n - 1]);
}

void facts_return_tail(struct ledger_reader *r)
{
    r->facts.n = facts_stored(r);
    r->facts.tail = NULL;
}

/* ---- a walk over blocks --------------------------------------------------------------------
 */

void facts_open(struct facts *f, struct ledger_reader *r, int64_t from_us, int64_t to_us)
{
    ASSERT(r->facts.is_read);
    *f = (struct facts){.reader = r, .from_us = from_us, .to_us = to_us, .end = r->facts.n};
}

void facts_take_from(struct facts *f, struct crew_pieces *pieces)
{
    f->pieces = pieces;
    f->at = f->end = 0;
}

void facts_go_to(struct facts *f, size_t at)
{
    f->pieces = NULL;
    f->at = at;
    f->end = f->reader->facts.n;
}

void facts_close(struct facts *f)
{
    for (size_t c = 0; c < FACT_NUMBERS; c++)
        free(f->number[c]);
    for (size_t c = 0; c < FACT_AMOUNTS; c++)
        free(f->amount[c]);
    fact_charges_free(f->charges);
    for (size_t c = 0; c < FACT_COLUMNS; c++)
        free(f->small[c]);
}

static bool is_of_time(const struct facts *f, const struct fact_place *p)
{
    return p->last_us >= f->from_us && p->first_us < f->to_us;
}

size_t facts_within(const struct facts *f)
{
    const struct fact_index *x = &f->reader->facts;
    size_t n = 0;

    for (size_t i = 0; i < x->n; i++)
        n += is_of_time(f, &x->blocks[i]);
    return n;
}

static bool is_of_tasks(const struct facts *f, const struct fact_place *p)
{
    return f->least_task == 0 ||
           (p->last_task >= f->least_task && p->first_task <= f->most_task);
}

void facts_stand_at(struct facts *f, const struct fact_place *p)
{
    f->place = p;
    f->n = p->n;
    f->is_inside = p->first_us >= f->from_us && p->last_us < f->to_us;
    memset(f->got, 0, sizeof(f->got));
    memset(f->zero, 0, sizeof(f->zero));
    for (size_t c = 0; c < FACT_COLUMNS; c++) {
        if (f->small[c])
            f->small[c]->is_read = f->small[c]->is_small = false;
    }
}

static bool has_more(struct facts *f)
{
    return f->at < f->end || (f->pieces && crew_take(f->pieces, &f->at, &f->end));
}

bool facts_next(struct facts *f)
{
    const struct fact_index *x = &f->reader->facts;

    while (f->rc == RC_OK && has_more(f)) {
        const struct fact_place *p = &x->blocks[f->at++];

        if (!is_of_time(f, p) || !is_of_tasks(f, p))
            continue;
        facts_stand_at(f, p);
        return true;
    }
    return false;
}

/* True where the column's values are in place (or it is zero: noted). */
static bool has_got(struct facts *f, unsigned column)
{
    uint64_t bit = UINT64_C(1) << column % 64;
    bool got = (f->got[column / 64] & bit) != 0;

    f->got[column / 64] |= bit;
    return got;
}

static bool is_zero(const struct facts *f, unsigned column)
{
    return (f->zero[column / 64] >> column % 64 & 1) != 0;
}

static sqlite3_stmt *statement(const struct facts *f)
{
    return f->place->is_cube ? f->reader->cubes.body : f->reader->facts.body;
}

static void damaged(struct facts *f)
{
    f->rc = read_damaged(&f->fail);
}

/* The stored bytes of a column; empty: there is none. Until body is reset. */
static struct strv stored(struct facts *f, unsigned column)
{
    sqlite3_stmt *body = statement(f);
    int code;

    sqlite3_bind_int64(body, 1,
                       f->place->is_cube ? cube_row(CUBE_KEY + column, f->place->block)
                                         : fact_row(column, f->place->block));
    code = sqlite3_step(body);
    if (code == SQLITE_ROW) {
        struct strv bytes = db_column(body, 0);

        if (bytes.n == 0)
            damaged(f);
        return bytes;
    }
    f->zero[column / 64] |= UINT64_C(1) << column % 64;
    if (code != SQLITE_DONE)
        f->rc = read_failed(f->reader, &f->fail);
    return STRV("");
}

int64_t *facts_room(struct facts *f, unsigned column)
{
    (void)has_got(f, column);
    f->zero[column / 64] &= ~(UINT64_C(1) << column % 64);
    if (!f->number[column])
        f->number[column] = xcalloc(FACT_BLOCK, sizeof(int64_t));
    return f->number[column];
}

void facts_put_number(struct facts *f, unsigned column, const int64_t *values)
{
    memcpy(facts_room(f, column), values, f->n * sizeof(*values));
}

/* Read already, as differences. */
static const int64_t *widen(struct facts *f, unsigned column)
{
    const struct facts_small *s = f->small[column];
    uint64_t least = (uint64_t)s->head.least;
    int64_t *out = f->number[column];

    for (size_t i = 0; i < f->n; i++)
        out[i] = (int64_t)(least + (s->head.is_level ? 0 : s->d[i]));
    return is_zero(f, column) ? NULL : out;
}

static const money_int *widen_amount(struct facts *f, enum fact_amount which)
{
    unsigned column = FACT_AMOUNT_COLUMN + (unsigned)which;
    const struct facts_small *s = f->small[column];
    money_int *out = f->amount[which];

    for (size_t i = 0; i < f->n; i++)
        out[i] = facts_small_value(s, i);
    return is_zero(f, column) ? NULL : out;
}

const struct facts_small *facts_small(struct facts *f, unsigned column)
{
    struct facts_small *s = f->small[column];
    struct strv bytes;
    enum rc rc;

    if (f->place->block == 0 || f->place->is_cube)
        return NULL;
    if (!s)
        s = f->small[column] = xcalloc(1, sizeof(*s));
    if (!s->is_read) {
        bytes = stored(f, column);
        s->head = (struct fact_small){.unit = 1, .is_level = true};
        rc = bytes.n ? fact_decode_small(bytes, column >= FACT_AMOUNT_COLUMN, f->n, &s->head, s->d)
                     : RC_OK;
        if (rc == RC_BAD)
            damaged(f);
        sqlite3_reset(statement(f));
        s->is_read = true;
        s->is_small = rc == RC_OK && f->rc == RC_OK;
    }
    return s->is_small ? s : NULL;
}

bool facts_ids(struct facts *f, unsigned column, uint32_t *out)
{
    const struct facts_small *s = facts_small(f, column);
    const int64_t *wide;

    if (s && s->head.least >= 0 && s->head.least < INT32_MAX) {
        uint32_t least = (uint32_t)s->head.least;

        for (size_t i = 0; i < f->n; i++) {
            uint32_t id = least + (s->head.is_level ? 0 : s->d[i]);

            out[i] = id < least ? UINT32_MAX : id;
        }
        return true;
    }
    wide = facts_number(f, column);
    for (size_t i = 0; i < f->n; i++)
        out[i] = !wide ? 0 : wide[i] >= 0 && wide[i] < UINT32_MAX ? (uint32_t)wide[i] : UINT32_MAX;
    return f->rc == RC_OK;
}

const int64_t *facts_number(struct facts *f, unsigned column)
{
    const struct fact_block *tail = f->reader->facts.tail;
    struct strv bytes;

    if (f->place->block == 0)
        return fact_block_uses(tail, column) ? tail->number[column] : NULL;
    if (!has_got(f, column)) {
        if (!f->number[column])
            f->number[column] = xcalloc(FACT_BLOCK, sizeof(int64_t));
        if (f->small[column] && f->small[column]->is_small)
            return widen(f, column);
        bytes = stored(f, column);
        if (bytes.n && fact_decode_numbers(bytes, f->n, f->number[column]) != RC_OK)
            damaged(f);
        sqlite3_reset(statement(f));
    }
    return is_zero(f, column) || f->rc != RC_OK ? NULL : f->number[column];
}

const money_int *facts_amount(struct facts *f, enum fact_amount which)
{
    unsigned column = FACT_AMOUNT_COLUMN + (unsigned)which;
    const struct fact_block *tail = f->reader->facts.tail;
    struct strv bytes;

    if (f->place->block == 0)
        return fact_block_uses(tail, column) ? tail->amount[which] : NULL;
    if (!has_got(f, column)) {
        if (!f->amount[which])
            f->amount[which] = xcalloc(FACT_BLOCK, sizeof(money_int));
        if (f->small[column] && f->small[column]->is_small)
            return widen_amount(f, which);
        bytes = stored(f, column);
        if (bytes.n && fact_decode_amounts(bytes, f->n, f->amount[which]) != RC_OK)
            damaged(f);
        sqlite3_reset(statement(f));
    }
    return is_zero(f, column) || f->rc != RC_OK ? NULL : f->amount[which];
}

/* ---- some places of a column --------------------------------------------------------------- */

/* Whether the column's values, or that there are none, are known without a look at what is stored. */
static bool is_known(const struct facts *f, unsigned column)
{
    return f->place->block == 0 || (f->got[column / 64] >> column % 64 & 1) != 0;
}

void facts_pick_number(struct facts *f, unsigned column, const uint16_t *at, size_t n,
                       int64_t *out)
{
    if (is_known(f, column)) {
        const int64_t *all = facts_number(f, column);

        for (size_t k = 0; k < n; k++)
            out[k] = all ? all[at[k]] : 0;
        return;
    }
    struct strv bytes = stored(f, column);

    if (bytes.n && fact_pick_numbers(bytes, f->n, at, n, out) != RC_OK)
        damaged(f);
    if (!bytes.n || f->rc != RC_OK)
        memset(out, 0, n * sizeof(*out));
    sqlite3_reset(statement(f));
}

void facts_pick_amount(struct facts *f, enum fact_amount which, const uint16_t *at, size_t n,
                       money_int *out)
{
    unsigned column = FACT_AMOUNT_COLUMN + (unsigned)which;

    if (is_known(f, column)) {
        const money_int *all = facts_amount(f, which);

        for (size_t k = 0; k < n; k++)
            out[k] = all ? all[at[k]] : 0;
        return;
    }
    struct strv bytes = stored(f, column);

    if (bytes.n && fact_pick_amounts(bytes, f->n, at, n, out) != RC_OK)
        damaged(f);
    if (!bytes.n || f->rc != RC_OK)
        memset(out, 0, n * sizeof(*out));
    sqlite3_reset(statement(f));
}
